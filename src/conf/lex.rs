//! From text to statements: comments, quotes, braces, includes, conditions and substitutions.

use std::path::{Path, PathBuf};

use super::bytes;
use super::diagnostic::{Diagnostic, Severity, Source, Sources, Span};
use super::glyph::{self, Glyph};
use super::include::{self, Checks, Found};
use super::repeat::{self, Repeat};
pub use super::statement::{Statement, Word};
use super::subst::{self, Reference, Remark, Surroundings, Variables};
use super::tree::{BLOCK_DEPTH_MAX, Tree};
use super::{Context, Files};

/// The longest line, before and after substitution; keepalived's is 1024.
pub const LINE_CHARS_MAX: usize = 16_384;
/// How deep files may include files.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// The most files of a configuration, each counted as often as it is included.
pub const SOURCES_MAX: usize = 1_024;
/// The most text of a configuration, all files together.
pub const SOURCE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most substitutions in one line; more mean that a variable refers to itself.
pub const LINE_SUBSTITUTIONS_MAX: u32 = 1_000;
/// How deep definitions of several lines may stand in each other.
pub const DEFINITION_DEPTH_MAX: u32 = 32;
/// The most text that substitution and repetition may make.
pub const EXPANDED_CHARS_MAX: usize = 4 * 1024 * 1024;
/// The most statements; a pair of nodes with every virtual router id has a few thousand.
pub const STATEMENTS_MAX: usize = 100_000;
/// The most problems that are listed.
pub const DIAGNOSTICS_MAX: usize = 1_000;

/// The outcome: statements as far as they could be made, and what there is to say.
#[derive(Clone, Debug, Default)]
pub struct Lexed {
    /// The lines of the top level.
    pub statements: Vec<Statement>,
    /// What is wrong with the language; keywords are not looked at here.
    pub diagnostics: Vec<Diagnostic>,
    /// Every file that was read.
    pub sources: Sources,
}

/// Reads a configuration file, which may be a pattern as `include` takes it, and all it includes.
///
/// A file that cannot be read, and a bound that is reached, are diagnostics of
/// [`Severity::Error`]; the statements are then those up to there.
pub fn lex(path: &Path, files: &mut Files<'_>, context: &Context) -> Lexed {
    let checks = if context.all_includes { Checks::ALL } else { Checks::default() };
    let mut lexer = Lexer {
        files,
        context,
        checks,
        sources: Sources::default(),
        diagnostics: Vec::new(),
        tree: Tree::default(),
        variables: Variables::default(),
        collecting: None,
        continued: false,
        folder: String::new(),
        open: Vec::new(),
        bytes: 0,
        chars: 0,
        statements: 0,
        stopped: false,
    };
    for found in lexer.main_files(path) {
        lexer.file(found, Span::default());
    }
    lexer.finish()
}

struct Lexer<'a, 'f> {
    files: &'a mut Files<'f>,
    context: &'a Context,
    checks: Checks,
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    tree: Tree,
    variables: Variables,
    /// A definition whose last line ended in a backslash.
    collecting: Option<(String, Vec<String>)>,
    /// The current line of the file ends in a backslash.
    continued: bool,
    /// The folder of the current file.
    folder: String,
    /// The files that are being read, outermost first.
    open: Vec<PathBuf>,
    bytes: usize,
    chars: usize,
    statements: usize,
    /// A bound was reached; nothing more is read.
    stopped: bool,
}

/// A line on its way to become statements.
struct Line {
    glyphs: Vec<Glyph>,
    /// How many definitions of several lines it came through.
    depth: u32,
    substitutions: u32,
    /// Its `@` has been seen.
    conditional: bool,
}

impl Line {
    fn new(glyphs: Vec<Glyph>, depth: u32) -> Self {
        Self { glyphs, depth, substitutions: 0, conditional: false }
    }
}

/// What is still to be done of a line; the last is next.
enum Item {
    Line(Line),
    Repeat(Repeat, u32),
}

/// Where the search through a line stopped.
enum Stop {
    Reference(Reference),
    Brace(usize),
    End,
}

impl Lexer<'_, '_> {
    fn report(&mut self, severity: Severity, span: Span, message: impl Into<String>) {
        if self.stopped {
            return;
        }
        let diagnostic = Diagnostic { span, severity, message: message.into(), suggestion: None };
        self.diagnostics.push(diagnostic);
        if self.diagnostics.len() >= DIAGNOSTICS_MAX {
            self.stop(span, format!("{DIAGNOSTICS_MAX} problems: the rest is not read"));
        }
    }

    /// Reports a bound that is reached, and reads nothing more.
    fn stop(&mut self, span: Span, message: String) {
        if !self.stopped {
            let severity = Severity::Error;
            self.diagnostics.push(Diagnostic { span, severity, message, suggestion: None });
        }
        self.stopped = true;
    }

    /// Counts text that substitution makes or moves.
    fn spend(&mut self, chars: usize, span: Span) {
        self.chars = self.chars.saturating_add(chars);
        if self.chars > EXPANDED_CHARS_MAX {
            self.stop(span, format!(
                "variables and repetitions make more than {EXPANDED_CHARS_MAX} characters of this \
                 configuration: shorten its ~SEQ, ~LST or nested definitions"
            ));
        }
    }

    fn main_files(&mut self, path: &Path) -> Vec<Found> {
        let error = match (self.files.read)(path) {
            Ok(bytes) => return vec![Found { path: path.to_owned(), bytes }],
            Err(error) => error,
        };
        let shown = path.display();
        let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[', '{']));
        let mut found = Vec::new();
        if let Some(pattern) = pattern {
            let mut complaints = Vec::new();
            let mut complain = |severity, text| complaints.push((severity, text));
            found = include::read(Path::new(""), pattern, self.checks, self.files, &mut complain);
            for (severity, text) in complaints {
                self.report(severity, Span::default(), text);
            }
        }
        if found.is_empty() {
            self.sources.files.push(Source::new(path.to_owned(), String::new()));
            self.report(
                Severity::Error,
                Span::default(),
                format!(
                    "cannot read the configuration file '{shown}': {error}; create it, or name \
                 another with -f FILE"
                ),
            );
        }
        found
    }

    /// Reads the lines of a file that `span` includes.
    fn file(&mut self, found: Found, span: Span) {
        let Found { path, bytes } = found;
        let plain = include::plain(&path);
        let shown = path.display();
        if self.open.contains(&plain) {
            let message = format!("'{shown}' includes itself here: remove one of the includes");
            return self.report(Severity::Error, span, message);
        }
        if self.open.len() >= INCLUDE_DEPTH_MAX {
            return self.report(Severity::Error, span, format!(
                "'{shown}' is included {INCLUDE_DEPTH_MAX} files deep, which is the limit: include \
                 it from a file further up"
            ));
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.sources.files.len() >= SOURCES_MAX || self.bytes > SOURCE_BYTES_MAX {
            return self.stop(span, format!(
                "the configuration has more than {SOURCES_MAX} files or {SOURCE_BYTES_MAX} bytes"
            ));
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let folder = std::mem::replace(&mut self.folder, folder);
        let (checks, collecting) = (self.checks, self.collecting.take());
        self.open.push(plain);
        let number = u32::try_from(self.sources.files.len()).unwrap_or(u32::MAX);
        let text = self.decode(&bytes, number);
        self.sources.files.push(Source::new(path, text.clone()));
        self.lines(&text, number);
        self.open.pop();
        (self.folder, self.checks, self.collecting) = (folder, checks, collecting);
    }

    /// The text of a file, without byte order mark; what is not UTF-8 is replaced.
    fn decode(&mut self, bytes: &[u8], file: u32) -> String {
        let place = |line: usize| Span {
            file,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: 1,
            length: 1,
        };
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if text.len() < bytes.len() {
            self.report(
                Severity::Fault,
                place(1),
                "the file begins with a byte order mark, which keepalived takes for a part of the \
                 first word: save the file without it",
            );
        }
        let invalid = text
            .split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| std::str::from_utf8(line).is_err())
            .map(|(index, _)| index + 1);
        let lines: Vec<String> = invalid.take(4).map(|line| line.to_string()).collect();
        if let Some(first) = lines.first() {
            let more = if lines.len() > 3 { " and others" } else { "" };
            let shown = lines.get(..lines.len().min(3)).unwrap_or_default().join(", ");
            self.report(
                Severity::Warning,
                place(first.parse().unwrap_or(1)),
                format!(
                    "not UTF-8 in line {shown}{more}: shown as '\u{fffd}'; an error in a value, no harm \
                     in a comment"
                ),
            );
        }
        String::from_utf8_lossy(text).into_owned()
    }

    fn lines(&mut self, text: &str, file: u32) {
        for (index, line) in text.split('\n').enumerate() {
            if self.stopped {
                return;
            }
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            if line.chars().nth(LINE_CHARS_MAX).is_some() {
                let span = Span { file, line: number, column: 1, length: 1 };
                self.report(
                    Severity::Error,
                    span,
                    format!("the line is longer than {LINE_CHARS_MAX} characters: break it up"),
                );
                continue;
            }
            let glyphs = glyph::line_of(line, file, number);
            // As in keepalived, a backslash counts behind a comment too.
            self.continued = line.trim_end().ends_with('\\');
            if self.collecting.is_some() {
                // Comments and blanks do not end a definition, an empty line does.
                if !glyphs.is_empty() || line.trim_end_matches('\r').is_empty() {
                    self.collect(&glyphs);
                }
            } else {
                self.run(Line::new(glyphs, 0));
            }
        }
        self.define_collected();
    }

    /// Takes a further line of a definition; a line without a backslash at its end is the last.
    fn collect(&mut self, glyphs: &[Glyph]) {
        let text = glyph::text_of(glyphs);
        let text = text.trim();
        let Some((_, lines)) = &mut self.collecting else { return };
        if self.continued {
            lines.push(text.strip_suffix('\\').unwrap_or(text).trim_end().to_owned());
        } else {
            lines.push(text.to_owned());
            self.define_collected();
        }
    }

    fn define_collected(&mut self) {
        if let Some((name, mut lines)) = self.collecting.take() {
            lines.retain(|line| !line.is_empty());
            if lines.is_empty() {
                lines.push(String::new());
            }
            self.variables.define(name, lines);
        }
    }

    fn run(&mut self, line: Line) {
        let mut pending = vec![Item::Line(line)];
        while let Some(item) = pending.pop() {
            if self.stopped {
                return;
            }
            match item {
                Item::Line(line) => self.line(line, &mut pending),
                Item::Repeat(repeat, depth) => self.repeat(repeat, depth, &mut pending),
            }
        }
    }

    fn repeat(&mut self, mut repeat: Repeat, depth: u32, pending: &mut Vec<Item>) {
        let Some(round) = repeat.next() else { return };
        for (name, value) in round {
            self.variables.define(name, vec![value]);
        }
        let glyphs = repeat.rest.clone();
        self.spend(glyphs.len() + 1, glyph::span_of(&glyphs));
        pending.push(Item::Repeat(repeat, depth));
        pending.push(Item::Line(Line::new(glyphs, depth)));
    }

    /// Follows a line to its end: from one reference or brace to the next.
    fn line(&mut self, mut line: Line, pending: &mut Vec<Item>) {
        let mut at = 0;
        while !self.stopped {
            if at == 0 && !self.beginning(&mut line, pending) {
                return;
            }
            match self.search(&line.glyphs, at, true) {
                Stop::Reference(reference) => {
                    at = reference.range.start;
                    self.splice(&mut line, reference, pending);
                }
                Stop::Brace(brace) => {
                    self.emit(line.glyphs.get(..brace).unwrap_or_default());
                    if let Some(glyph) = line.glyphs.get(brace) {
                        self.brace(*glyph);
                    }
                    let rest = glyph::from(&line.glyphs, brace + 1);
                    self.spend(rest.len() / 16, glyph::span_of(&rest));
                    line = Line { glyphs: rest, conditional: false, ..line };
                    at = 0;
                }
                Stop::End => return self.emit(&line.glyphs),
            }
        }
    }

    /// Finds the next reference or, if asked for, brace outside quotes.
    fn search(&self, glyphs: &[Glyph], start: usize, braces: bool) -> Stop {
        let before = glyphs.get(..start).unwrap_or_default();
        let mut quoted = before.iter().filter(|glyph| glyph.ch == '"').count() % 2 == 1;
        for (at, glyph) in glyphs.iter().enumerate().skip(start) {
            match glyph.ch {
                '"' => quoted = !quoted,
                '$' => {
                    let (context, folder) = (self.context, self.folder.as_str());
                    let around = Surroundings { context, folder, span: glyph.span };
                    if let Some(found) = self.variables.reference(glyphs, at, &around) {
                        return Stop::Reference(found);
                    }
                }
                '{' | '}' if braces && !quoted => return Stop::Brace(at),
                _ => {}
            }
        }
        Stop::End
    }

    /// Puts the value in the place of a reference; further lines of it wait in `pending`.
    fn splice(&mut self, line: &mut Line, reference: Reference, pending: &mut Vec<Item>) {
        let Reference { range, value, remark } = reference;
        let span = glyph::span_of(line.glyphs.get(range.clone()).unwrap_or_default());
        line.substitutions += 1;
        if line.substitutions > LINE_SUBSTITUTIONS_MAX || line.depth > DEFINITION_DEPTH_MAX {
            return self.stop(
                span,
                "this variable refers to itself, directly or through others: \
                 remove the circle from the definitions"
                    .to_owned(),
            );
        }
        self.remark(remark, span);
        let tail = line.glyphs.split_off(range.end.min(line.glyphs.len()));
        line.glyphs.truncate(range.start);
        let made: usize = value.iter().map(String::len).sum();
        self.spend(1 + made + (range.start + tail.len()) / 16, span);
        let (first, further) = value.split_first().map_or(("", [].as_slice()), |(f, r)| (f, r));
        line.glyphs.extend(glyph::substituted(first, span));
        if let Some((last, middle)) = further.split_last() {
            let depth = line.depth + 1;
            let mut glyphs = glyph::substituted(last, span);
            glyphs.extend(tail);
            pending.push(Item::Line(Line::new(glyphs, depth)));
            for text in middle.iter().rev() {
                pending.push(Item::Line(Line::new(glyph::substituted(text, span), depth)));
            }
        } else {
            line.glyphs.extend(tail);
        }
        if line.glyphs.len() > LINE_CHARS_MAX {
            self.stop(
                span,
                format!(
                    "with its variables the line is longer than {LINE_CHARS_MAX} \
                 characters: break it up"
                ),
            );
        }
    }

    fn remark(&mut self, remark: Remark, span: Span) {
        match remark {
            Remark::None => {}
            Remark::Random => self.report(
                Severity::Note,
                span,
                "the number is made from the configuration id and the place in the file: it stays \
                 the same until one of them changes",
            ),
            Remark::NoEnvironment(name) => self.report(
                Severity::Warning,
                span,
                format!("the environment has no variable '{name}': nothing is put in its place"),
            ),
        }
    }

    /// Handles what counts only at the beginning of a line. False: the line is done.
    fn beginning(&mut self, line: &mut Line, pending: &mut Vec<Item>) -> bool {
        loop {
            if line.glyphs.first().is_some_and(|glyph| glyph.ch.is_ascii_whitespace()) {
                line.glyphs = glyph::from(&line.glyphs, 0);
            }
            let Some(first) = line.glyphs.first() else { return false };
            match first.ch {
                '@' if !line.conditional => {
                    let end = glyph::word_len(&line.glyphs);
                    let word = glyph::text_of(line.glyphs.get(1..end).unwrap_or_default());
                    if !holds(&word, &self.context.config_id) {
                        return false;
                    }
                    line.glyphs = glyph::from(&line.glyphs, end);
                    line.conditional = true;
                }
                '$' => match subst::definition(&line.glyphs) {
                    Some((name, value)) => {
                        self.define(name, glyph::from(&line.glyphs, value), line.depth);
                        return false;
                    }
                    None => return true,
                },
                '~' => return self.repetition(line, pending),
                'i' => return self.included(line, pending),
                _ => return true,
            }
        }
    }

    fn define(&mut self, name: String, mut value: Vec<Glyph>, depth: u32) {
        // Lines of a definition lost their backslashes when they were collected.
        let further = depth == 0 && self.continued;
        if further && value.last().is_some_and(|glyph| glyph.ch == '\\') {
            value.pop();
        }
        glyph::trim_end(&mut value);
        let lines = vec![glyph::text_of(&value)];
        if further {
            self.collecting = Some((name, lines));
        } else {
            self.variables.define(name, lines);
        }
    }

    /// A line that begins with `~SEQ(` or its like. True: it is an ordinary line.
    fn repetition(&mut self, line: &mut Line, pending: &mut Vec<Item>) -> bool {
        let start: String = line.glyphs.iter().take(4).map(|glyph| glyph.ch).collect();
        if start != "~SEQ" && start != "~LST" {
            return true;
        }
        // Variables may stand in the specification; those of the rest wait for their round.
        let end = loop {
            let end = line.glyphs.iter().position(|glyph| glyph.ch == ')');
            let Some(end) = end else { break None };
            let spec = line.glyphs.get(..=end).unwrap_or_default();
            match self.search(spec, 0, false) {
                Stop::Reference(reference) => self.splice(line, reference, pending),
                _ => break Some(end),
            }
            if self.stopped {
                return false;
            }
        };
        let span = glyph::span_of(line.glyphs.get(..=end.unwrap_or(3)).unwrap_or_default());
        let Some(end) = end else {
            self.report(
                Severity::Fault,
                span,
                format!("{start} lacks its ')': the line is ignored"),
            );
            return false;
        };
        let spec = glyph::text_of(line.glyphs.get(..=end).unwrap_or_default());
        match repeat::parse(&spec, glyph::from(&line.glyphs, end + 1)) {
            Ok(repeat) => pending.push(Item::Repeat(repeat, line.depth)),
            Err(why) => self.report(Severity::Fault, span, format!("{why}; the line is ignored")),
        }
        false
    }

    /// A line that begins with `include` or its like. True: it is an ordinary line.
    fn included(&mut self, line: &mut Line, pending: &mut Vec<Item>) -> bool {
        let end = glyph::word_len(&line.glyphs);
        let keyword = glyph::text_of(line.glyphs.get(..end).unwrap_or_default());
        let Some(checks) = self.checks.with(&keyword) else { return true };
        // The rest of the line is the name of the file, braces and all.
        while let Stop::Reference(reference) = self.search(&line.glyphs, end, false) {
            self.splice(line, reference, pending);
            if self.stopped {
                return false;
            }
        }
        let mut name = glyph::from(&line.glyphs, end);
        glyph::trim_end(&mut name);
        if name.is_empty() {
            return true;
        }
        let (pattern, span) = (glyph::text_of(&name), glyph::span_of(&name));
        if bytes::is_replaced(&pattern) {
            self.report(Severity::Error, span, bytes::NOT_TEXT);
        }
        let mut complaints = Vec::new();
        let mut complain = |severity, text| complaints.push((severity, text));
        let folder = PathBuf::from(&self.folder);
        let found = include::read(&folder, &pattern, checks, self.files, &mut complain);
        for (severity, text) in complaints {
            self.report(severity, span, text);
        }
        for found in found {
            self.file(found, span);
        }
        false
    }

    fn brace(&mut self, glyph: Glyph) {
        if glyph.ch == '{' {
            if !self.tree.begin(glyph.span) {
                self.stop(
                    glyph.span,
                    format!(
                        "blocks stand more than {BLOCK_DEPTH_MAX} deep in each other: remove a '{{'"
                    ),
                );
            }
            self.count(glyph.span);
        } else if !self.tree.end() {
            self.report(Severity::Fault, glyph.span, "extra '}': no block is open here, remove it");
        }
    }

    fn count(&mut self, span: Span) {
        self.statements += 1;
        if self.statements > STATEMENTS_MAX {
            self.stop(span, format!("the configuration has more than {STATEMENTS_MAX} lines"));
        }
    }

    /// Makes a statement of a line without braces.
    fn emit(&mut self, glyphs: &[Glyph]) {
        let (words, first_end, closed) = glyph::words_of(glyphs);
        let Some(span) = words.first().map(|word| word.span) else { return };
        if !closed {
            let span = words.last().map_or(span, |word| word.span);
            self.report(
                Severity::Fault,
                span,
                "the '\"' is never closed: it reaches to the end of the line; add the missing '\"'",
            );
        }
        if words.first().is_some_and(|word| word.text == "include_check")
            && self.tree.only_block() == Some("global_defs")
        {
            return self.include_check(&words);
        }
        let mut rest = glyph::from(glyphs, first_end);
        glyph::trim_end(&mut rest);
        self.count(span);
        self.tree.add(Statement { words, rest: glyph::text_of(&rest), block: None, span });
    }

    fn include_check(&mut self, words: &[Word]) {
        let options = words.iter().skip(1).map(|word| word.text.as_str());
        match self.checks.set(options) {
            Ok(checks) => self.checks = checks,
            Err(bad) => {
                let span = words.iter().find(|word| word.text == bad).map(|word| word.span);
                self.report(
                    Severity::Fault,
                    span.unwrap_or_default(),
                    format!(
                        "include_check knows readable, match, wildcard_match and \
                     brace_match, not '{bad}'"
                    ),
                );
            }
        }
        if self.context.all_includes {
            self.checks = Checks::ALL;
        }
    }

    fn finish(mut self) -> Lexed {
        let (statements, mut unclosed) = std::mem::take(&mut self.tree).finish();
        unclosed.reverse();
        for (name, span) in unclosed {
            let name = if name.is_empty() { "this block".to_owned() } else { format!("'{name}'") };
            self.report(
                Severity::Fault,
                span,
                format!("{name} is never closed: a '}}' is missing"),
            );
        }
        Lexed { statements, diagnostics: self.diagnostics, sources: self.sources }
    }
}

/// Whether the word behind `@` lets its line stand.
fn holds(word: &str, config_id: &str) -> bool {
    match word.strip_prefix('^') {
        Some(other) => other != config_id,
        None => word == config_id,
    }
}
