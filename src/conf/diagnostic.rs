//! What is wrong with a configuration, where, and what to do.

use std::borrow::Cow;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
