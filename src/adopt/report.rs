//! A plan as a person reads it.

use std::fmt::Write as _;
use std::time::Duration;

use similar::TextDiff;

use super::{New, Plan, Told};
use crate::conf::diagnostic::holds_secret;
use crate::conf::printable;

/// A diff that takes longer is not the shortest one.
const DIFF_TIME: Duration = Duration::from_secs(1);

impl Plan {
    /// The report: unified diffs, and what else there is to do and to know.
    pub fn report(&self) -> String {
        let mut out = String::new();
        for new in &self.files {
            out.push_str(&new.diff());
        }
        if self.files.is_empty() {
            let is_calm = self.left.is_empty();
            let why = if is_calm { "No script mounts anything" } else { "No mount is understood" };
            let _ = writeln!(out, "{why}: there is nothing to write.");
        }
        if !self.steps.is_empty() {
            out.push_str("\nOnce:\n");
            self.steps.iter().for_each(|step| {
                let _ = writeln!(out, "  {step}");
            });
        }
        section(&mut out, "Good to know:", &self.notes);
        section(&mut out, "Left to you:", &self.left);
        printable(&out).into_owned()
    }
}

fn section(out: &mut String, heading: &str, all: &[Told]) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{heading}");
    for told in all {
        let place = match told.line {
            0 => told.path.display().to_string(),
            line => format!("{}:{line}", told.path.display()),
        };
        let _ = writeln!(out, "  {place}: {}", told.why);
        if !told.text.is_empty() {
            let _ = writeln!(out, "      {}", told.text);
        }
    }
}

impl New {
    /// What it changes, or all of it if it is new.
    pub fn diff(&self) -> String {
        let old =
            self.like.as_ref().map_or_else(|| "/dev/null".to_owned(), |p| p.display().to_string());
        let new = self.path.display().to_string();
        let (before, after) = (shown(&self.old), shown(&self.text));
        // A shortest one of texts that no person wrote is not worth the wait.
        let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(&before, &after);
        diff.unified_diff().header(&old, &new).to_string()
    }
}

/// A text whose passwords and keys are not shown.
fn shown(text: &str) -> String {
    let line = |line: &str| match line.split_whitespace().next() {
        Some(word) if holds_secret(line) => {
            let blanks = line.len() - line.trim_start().len();
            format!("{}{word} (not shown)\n", line.get(..blanks).unwrap_or_default())
        }
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}
