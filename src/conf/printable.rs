//! Text of others on a terminal: what stands in a configuration, or in the output of a script, must not
//! move the cursor, colour the screen or turn the line round.

use std::borrow::Cow;

/// The text with what cannot be seen as escapes, like `\u{1b}`; line feeds and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Controls, and the format characters that hide text or change its direction (Unicode Technical
/// Report 36, section 2.10).
fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_shown() {
        for (text, shown) in [
            ("plain\n\ttext, grüße 中文", "plain\n\ttext, grüße 中文"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\rb\u{7}\u{9b}", "a\\u{d}b\\u{7}\\u{9b}"),
            ("evil\u{202e}txt", "evil\\u{202e}txt"),
            ("no\u{200b}break\u{feff}", "no\\u{200b}break\\u{feff}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
