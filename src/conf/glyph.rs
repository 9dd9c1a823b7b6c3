//! Characters that know where they stand, and what is cut from them: comments, words.

use super::diagnostic::Span;
use super::statement::Word;

/// A character of a line, and the place it came from.
///
/// A substituted character has the place of the whole reference it stands for, so that a caret
/// points at something that is in the file.
#[derive(Clone, Copy, Debug)]
pub struct Glyph {
    /// The character.
    pub ch: char,
    /// Its place; of length 1, or that of the reference.
    pub span: Span,
}

/// The glyphs of a line of a file, without its comment.
///
/// As in keepalived, `#` and `!` begin a comment anywhere outside double quotes; behind a backslash
/// they are themselves, and the backslash goes.
pub fn line_of(text: &str, file: u32, line: u32) -> Vec<Glyph> {
    let mut glyphs: Vec<Glyph> = Vec::with_capacity(text.len());
    let mut quoted = false;
    for (index, ch) in text.chars().enumerate() {
        let column = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let glyph = Glyph { ch, span: Span { file, line, column, length: 1 } };
        match ch {
            '"' => quoted = !quoted,
            '#' | '!' if !quoted => match glyphs.last_mut() {
                Some(last) if last.ch == '\\' => {
                    // One caret for the pair.
                    *last = Glyph { ch, span: Span { length: 2, ..last.span } };
                    continue;
                }
                _ => break,
            },
            _ => {}
        }
        glyphs.push(glyph);
    }
    trim_end(&mut glyphs);
    glyphs
}

/// The glyphs of a substituted text: all of them where the reference stands.
pub fn substituted(text: &str, span: Span) -> Vec<Glyph> {
    text.chars().map(|ch| Glyph { ch, span }).collect()
}

/// The characters alone.
pub fn text_of(glyphs: &[Glyph]) -> String {
    glyphs.iter().map(|glyph| glyph.ch).collect()
}

/// Drops blanks at the end.
pub fn trim_end(glyphs: &mut Vec<Glyph>) {
    while glyphs.last().is_some_and(|glyph| glyph.ch.is_ascii_whitespace()) {
        glyphs.pop();
    }
}

/// The glyphs from `start` on, blanks at the beginning left out.
pub fn from(glyphs: &[Glyph], start: usize) -> Vec<Glyph> {
    let rest = glyphs.get(start..).unwrap_or_default();
    rest.iter().copied().skip_while(|glyph| glyph.ch.is_ascii_whitespace()).collect()
}

/// How many glyphs precede the first blank.
pub fn word_len(glyphs: &[Glyph]) -> usize {
    glyphs.iter().position(|glyph| glyph.ch.is_ascii_whitespace()).unwrap_or(glyphs.len())
}

/// From the first of them to the last, if both stand in one line; else where the first stands.
pub fn span_of(glyphs: &[Glyph]) -> Span {
    let (Some(first), Some(last)) = (glyphs.first(), glyphs.last()) else {
        return Span::default();
    };
    let (first, last) = (first.span, last.span);
    let end = last.column.saturating_add(last.length);
    if (first.file, first.line) == (last.file, last.line) && end > first.column {
        Span { length: end - first.column, ..first }
    } else {
        first
    }
}

/// The words of a line, how far the first reaches, and whether every quote is closed.
///
/// As in keepalived, a word ends at a blank or at a double quote, and a closing quote ends its
/// word: `a"b c"d` is three.
pub fn words_of(glyphs: &[Glyph]) -> (Vec<Word>, usize, bool) {
    let (mut words, mut first_end, mut closed) = (Vec::new(), 0, true);
    let mut at = 0;
    while let Some(glyph) = glyphs.get(at) {
        if glyph.ch.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let quoted = glyph.ch == '"';
        let inside = glyphs.get(at + usize::from(quoted)..).unwrap_or_default();
        let ends = |glyph: &Glyph| glyph.ch == '"' || (!quoted && glyph.ch.is_ascii_whitespace());
        let found = inside.iter().position(ends);
        let text = inside.get(..found.unwrap_or(inside.len())).unwrap_or_default();
        closed &= !quoted || found.is_some();
        let length = (text.len() + if quoted { 2 } else { 0 }).min(glyphs.len() - at);
        let whole = glyphs.get(at..at + length).unwrap_or_default();
        words.push(Word { text: text_of(text), span: span_of(whole) });
        at += length;
        if words.len() == 1 {
            first_end = at;
        }
    }
    (words, first_end, closed)
}
