//! What is wrong with a configuration, where, and what to do.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::printable;

/// A place in a configuration: file, line and column, the latter two counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Which of [`Sources`].
    pub file: u32,
    /// Line, from 1; 0 means the file as a whole.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length in characters, at least 1 where a caret is drawn.
    pub length: u32,
}

/// The files a configuration was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// In the order they were opened.
    pub files: Vec<Source>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, absolute.
    pub path: PathBuf,
    text: String,
    /// Where each line begins, in bytes: there may be as many messages as lines.
    starts: Vec<usize>,
}

impl Source {
    /// A file with its text.
    pub fn new(path: PathBuf, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { path, text, starts }
    }

    /// A line, counted from 1.
    pub fn line(&self, number: u32) -> Option<&str> {
        let start = *self.starts.get((number as usize).checked_sub(1)?)?;
        self.text.get(start..)?.lines().next()
    }
}

/// How bad it is; decides the exit status of `-t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// glha's own advice; keepalived has nothing to say. Does not change the exit status.
    Note,
    /// glha differs or something has no effect here, and keepalived has nothing to say.
    Warning,
    /// keepalived reports a configuration error here and runs all the same; so does glha. Status 5.
    /// Shown as a warning.
    Fault,
    /// glha does not start with this. Status 4.
    Error,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub span: Span,
    /// How bad.
    pub severity: Severity,
    /// What, and the remedy.
    pub message: String,
    /// The word that was perhaps meant.
    pub suggestion: Option<String>,
}

impl Sources {
    /// `FILE:LINE:COLUMN` of a place.
    pub fn locate(&self, span: Span) -> String {
        let path = self
            .files
            .get(span.file as usize)
            .map_or_else(|| "configuration".to_owned(), |file| file.path.display().to_string());
        match span.line {
            0 => path,
            line => format!("{path}:{line}:{}", span.column),
        }
    }

    /// The diagnostic as people read it: place, severity, message, source line, caret.
    pub fn render(&self, diagnostic: &Diagnostic) -> String {
        let span = diagnostic.span;
        let mut out =
            format!("{}: {}: {}", self.locate(span), diagnostic.severity, diagnostic.message);
        if let Some(word) = &diagnostic.suggestion {
            let _ = write!(out, "; did you mean '{word}'?");
        }
        if let Cow::Owned(shown) = printable(&out) {
            out = shown;
        }
        let line = self.files.get(span.file as usize).and_then(|file| file.line(span.line));
        if let Some(line) = line {
            // Tabs stay tabs in front of the caret, so that it stands below its word.
            if holds_secret(line) {
                return out;
            }
            let shown = printable(line);
            let before: String =
                line.chars().take((span.column as usize).saturating_sub(1)).collect();
            let before = printable(&before);
            let indent: String =
                before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let carets = "~".repeat((span.length as usize).saturating_sub(1));
            let _ = write!(out, "\n    {shown}\n    {indent}^{carets}");
        }
        out
    }
}

/// So many further places of one cause are named.
const PLACES_MAX: usize = 10;

impl Sources {
    /// All of them as people read them, one for each cause: what is said in the same words of several
    /// instances stands at the first of its places, and names the others.
    pub fn render_all<'a>(
        &self,
        diagnostics: impl IntoIterator<Item = &'a Diagnostic>,
    ) -> Vec<(Severity, String)> {
        let mut causes: Vec<(&Diagnostic, Vec<Span>)> = Vec::new();
        let mut known: HashMap<_, usize> = HashMap::new();
        for diagnostic in diagnostics {
            let words = without_instance(&diagnostic.message);
            let cause = (diagnostic.severity, &diagnostic.suggestion, words);
            let place = *known.entry(cause).or_insert(causes.len());
            match causes.get_mut(place) {
                Some((_, others)) => others.push(diagnostic.span),
                None => causes.push((diagnostic, Vec::new())),
            }
        }
        let show = |(diagnostic, others): (&Diagnostic, Vec<Span>)| {
            let mut one = diagnostic.clone();
            one.message += &self.likewise(&others);
            (one.severity, self.render(&one))
        };
        causes.into_iter().map(show).collect()
    }

    /// `; likewise at FILE:LINE:COLUMN, ... and COUNT more`
    fn likewise(&self, places: &[Span]) -> String {
        if places.is_empty() {
            return String::new();
        }
        let named: Vec<String> =
            places.iter().take(PLACES_MAX).map(|span| self.locate(*span)).collect();
        let more = match places.len().saturating_sub(PLACES_MAX) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        format!("; likewise at {}{more}", named.join(", "))
    }
}

/// A message without the instance or group that it begins with, in parentheses, or that keepalived
/// names in `for vrrp_instance NAME`.
fn without_instance(message: &str) -> (&str, &str) {
    let named = message.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let message = named.map_or(message, |(_, rest)| rest);
    let Some((before, rest)) = message.split_once(" for vrrp_instance ") else {
        return (message, "");
    };
    (before, rest.split_once(' ').map_or("", |(_, rest)| rest))
}

/// Does a line have a key or a password in it, or its definition? Such a line is not shown: the place
/// has to do.
pub fn holds_secret(line: &str) -> bool {
    let keyword = line.split_whitespace().next().unwrap_or_default();
    matches!(keyword, "key" | "auth_pass") || line.contains("hex:")
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning | Self::Fault => "warning",
            Self::Error => "error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(messages: &[&str]) -> Vec<String> {
        let file = Source::new("a".into(), String::new());
        let sources = Sources { files: vec![file] };
        let one = |(place, message): (usize, &&str)| Diagnostic {
            span: Span { file: 0, line: place as u32 + 1, column: 2, length: 1 },
            severity: Severity::Warning,
            message: (*message).to_owned(),
            suggestion: None,
        };
        let all: Vec<_> = messages.iter().enumerate().map(one).collect();
        sources.render_all(&all).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn one_message_a_cause_with_its_places() {
        let found = shown(&["(A) x is odd", "(A) y is odd", "(B) x is odd", "x", "(C) x is odd"]);
        let wanted = [
            "a:1:2: warning: (A) x is odd; likewise at a:3:2, a:5:2",
            "a:2:2: warning: (A) y is odd",
            "a:4:2: warning: x",
        ];
        assert_eq!(found, wanted);
        let missing = ["interface e0 for vrrp_instance A is gone; make it"; 3];
        let found = shown(&[missing[0], &missing[1].replace(" A ", " B "), "interface e1 is gone"]);
        assert_eq!(found.len(), 2, "{found:?}");
        let found = shown(&["again"; 2000]);
        assert!(found.len() == 1 && found[0].ends_with(", a:11:2 and 1989 more"), "{found:?}");
    }
}
