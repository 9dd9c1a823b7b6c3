//! `$NAME` and `${NAME}`: where references stand and what they stand for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use super::Context;
use super::diagnostic::Span;
use super::glyph::{self, Glyph};

/// The longest name of a variable, arguments of a predefined one included.
pub const NAME_CHARS_MAX: usize = 128;

/// The variables that are defined, each with the lines of its value.
#[derive(Debug, Default)]
pub struct Variables {
    values: BTreeMap<String, Rc<Vec<String>>>,
}

/// A reference that can be replaced.
#[derive(Debug)]
pub struct Reference {
    /// Its place in the line, from `$` on.
    pub range: Range<usize>,
    /// The lines that replace it; one unless it was defined with `\`.
    pub value: Rc<Vec<String>>,
    /// What there is to say of it.
    pub remark: Remark,
}

/// What there is to say of a reference.
#[derive(Debug, PartialEq, Eq)]
pub enum Remark {
    /// Nothing.
    None,
    /// It is `${_RANDOM}`.
    Random,
    /// It is `${_ENV NAME}`, and there is no such variable in the environment.
    NoEnvironment(String),
}

/// What predefined variables are made from.
pub struct Surroundings<'a> {
    /// What the language is told from outside.
    pub context: &'a Context,
    /// The folder of the current file.
    pub folder: &'a str,
    /// Where the reference stands.
    pub span: Span,
}

impl Variables {
    /// Sets a variable to the lines of a value.
    pub fn define(&mut self, name: String, lines: Vec<String>) {
        self.values.insert(name, Rc::new(lines));
    }

    /// The reference that begins at `at`, if it is one and is defined; otherwise the text stays.
    ///
    /// As in keepalived, `$NAME` counts only in front of a blank or the end of the line.
    pub fn reference(
        &self,
        line: &[Glyph],
        at: usize,
        around: &Surroundings<'_>,
    ) -> Option<Reference> {
        let (text, end) = named(line, at)?;
        let range = at..end;
        let (name, arguments) =
            text.split_once([' ', '\t']).map_or((text.as_str(), ""), |(n, a)| (n, a.trim()));
        if let Some((value, remark)) = predefined(name, arguments, around) {
            return Some(Reference { range, value: Rc::new(vec![value]), remark });
        }
        let value = self.values.get(text.as_str())?.clone();
        Some(Reference { range, value, remark: Remark::None })
    }
}

/// Whether it can be the name of a variable.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The name of a definition `$NAME=` and where its value begins, if the line is one.
pub fn definition(line: &[Glyph]) -> Option<(String, usize)> {
    if line.first()?.ch != '$' {
        return None;
    }
    let end = line.iter().take(NAME_CHARS_MAX + 2).position(|glyph| glyph.ch == '=')?;
    let name = glyph::text_of(line.get(1..end)?);
    is_name(&name).then_some((name, end + 1))
}

/// What stands in a reference at `at`, and where it ends.
fn named(line: &[Glyph], at: usize) -> Option<(String, usize)> {
    let rest = line.get(at + 1..)?;
    let rest = rest.get(..NAME_CHARS_MAX + 2).unwrap_or(rest);
    if rest.first()?.ch == '{' {
        let close = rest.iter().position(|glyph| matches!(glyph.ch, '}' | '"'))?;
        let closed = rest.get(close).is_some_and(|glyph| glyph.ch == '}');
        return closed
            .then(|| (glyph::text_of(rest.get(1..close).unwrap_or_default()), at + close + 2));
    }
    if !rest.first().is_some_and(|glyph| glyph.ch.is_ascii_alphabetic() || glyph.ch == '_') {
        return None;
    }
    let length = glyph::word_len(rest);
    let name = glyph::text_of(rest.get(..length)?);
    (length <= NAME_CHARS_MAX && is_name(&name)).then_some((name, at + 1 + length))
}

/// The names that begin with an underscore and are always defined.
fn predefined(name: &str, arguments: &str, around: &Surroundings<'_>) -> Option<(String, Remark)> {
    let plain = |text: &str| arguments.is_empty().then(|| (text.to_owned(), Remark::None));
    match name {
        "_PWD" => plain(around.folder),
        "_INSTANCE" => plain(&around.context.config_id),
        "_HASH" => plain("#"),
        "_BANG" => plain("!"),
        "_RANDOM" => Some((random(arguments, around)?, Remark::Random)),
        "_ENV" if !arguments.is_empty() => match around.context.environment.get(arguments) {
            Some(value) => Some((value.clone(), Remark::None)),
            None => Some((String::new(), Remark::NoEnvironment(arguments.to_owned()))),
        },
        _ => None,
    }
}

/// A number that differs between nodes and places, but stays the same from start to start: a
/// reload of an unchanged file must not change anything.
fn random(arguments: &str, around: &Surroundings<'_>) -> Option<String> {
    let mut bounds = arguments.split_ascii_whitespace().map(|text| text.parse::<u32>().ok());
    let min = bounds.next().unwrap_or(Some(0))?;
    let max = bounds.next().unwrap_or(Some(32_767))?;
    if bounds.next().is_some() || max < min {
        return None;
    }
    let place = [around.span.file, around.span.line, around.span.column];
    let bytes =
        around.context.config_id.bytes().chain(place.into_iter().flat_map(u32::to_le_bytes));
    // FNV-1a, 64 bits; its upper half is the better mixed one.
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Some((u64::from(min) + (hash >> 32) % (u64::from(max - min) + 1)).to_string())
}
