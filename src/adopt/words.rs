//! The words of a shell script: quotes, variables, what commands print.

use super::library::{base, folder};
use super::read::{Read, Reader, fail};
use super::tree::{Change, Part, Word};

/// Ends a word where it is not quoted.
fn ends_word(byte: u8) -> bool {
    b" \t\n;&|()<>".contains(&byte)
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn begins_name(byte: u8) -> bool {
    is_name_byte(byte) || b"@*#?$!-".contains(&byte)
}

impl Reader<'_> {
    /// The word that begins here.
    pub(super) fn word(&mut self) -> Read<Word> {
        self.word_until(ends_word)
    }

    /// A word up to a byte that ends it.
    fn word_until(&mut self, ends: impl Fn(u8) -> bool) -> Read<Word> {
        let start = self.at;
        let mut word = Word::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' if self.take("\\\n") => {}
                b'\\' => {
                    self.at += 1;
                    push(&mut word, &self.take_char(), true);
                }
                b'\'' => push(&mut word, self.single_quoted()?, true),
                b'"' => self.double_quoted(&mut word)?,
                b'$' => self.dollar(&mut word, false)?,
                b'`' => word.parts.push(self.backquoted()?),
                // A process is given as a file.
                b'<' | b'>' if self.at == start && self.peek_at(1) == Some(b'(') => {
                    self.at += 2;
                    word.parts.extend([Part::Output(self.list_in_parentheses()?), Part::Opaque]);
                }
                byte if ends(byte) => break,
                _ => push(&mut word, &self.take_char(), false),
            }
        }
        word.place = self.place_from(start);
        Ok(word)
    }

    fn take_char(&mut self) -> String {
        let c = self.rest().chars().next();
        self.at += c.map_or(0, char::len_utf8);
        c.map(String::from).unwrap_or_default()
    }

    fn single_quoted(&mut self) -> Read<&str> {
        let start = self.at + 1;
        let rest = self.text.get(start..self.end).unwrap_or_default();
        let Some((text, _)) = rest.split_once('\'') else {
            return fail(self.line(), "a ' is never closed");
        };
        self.at = start + text.len() + 1;
        Ok(text)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Read<()> {
        let line = self.line();
        self.at += 1;
        // An empty one is a word, too.
        push(word, "", true);
        loop {
            match self.peek() {
                None => return fail(line, "a \" is never closed"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') if self.take("\\\n") => {}
                Some(b'\\') if self.peek_at(1).is_some_and(|byte| b"$`\"\\".contains(&byte)) => {
                    self.at += 1;
                    push(word, &self.take_char(), true);
                }
                Some(b'$') => self.dollar(word, true)?,
                Some(b'`') => word.parts.push(self.backquoted()?),
                Some(_) => push(word, &self.take_char(), true),
            }
        }
    }

    /// What begins with `$`.
    fn dollar(&mut self, word: &mut Word, is_quoted: bool) -> Read<()> {
        let line = self.line();
        self.at += 1;
        if self.take("((") {
            self.skip_arithmetic(line)?;
            word.parts.push(Part::Number);
        } else if self.take("(") {
            word.parts.push(Part::Output(self.list_in_parentheses()?));
        } else if self.take("{") {
            word.parts.push(self.braced(line, is_quoted)?);
        } else {
            match self.peek() {
                // Escapes as in C, and translated text.
                Some(b'\'') if !is_quoted => {
                    let text = self.single_quoted()?;
                    let is_plain = !text.contains('\\');
                    if is_plain { push(word, text, true) } else { word.parts.push(Part::Opaque) }
                }
                Some(b'"') if !is_quoted => self.double_quoted(word)?,
                Some(byte) if begins_name(byte) => {
                    let name = self.name();
                    word.parts.push(Part::Variable { name, change: Change::None, is_quoted });
                }
                _ => push(word, "$", true),
            }
        }
        Ok(())
    }

    /// The name of a variable, one digit, or one of the special ones.
    fn name(&mut self) -> String {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let is_long = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let length = if is_long { length.unwrap_or(rest.len()) } else { 1 };
        let name = rest.get(..length).unwrap_or_default().to_owned();
        self.at += name.len();
        name
    }

    /// `${...}` behind its brace.
    fn braced(&mut self, line: usize, is_quoted: bool) -> Read<Part> {
        let mut name =
            if self.peek().is_some_and(begins_name) { self.name() } else { String::new() };
        // Of more than one digit.
        while name.bytes().all(|byte| byte.is_ascii_digit())
            && self.peek().is_some_and(|byte| byte.is_ascii_digit())
        {
            name.push_str(&self.take_char());
        }
        let fixed: [(&str, Change); 8] = [
            ("}", Change::None),
            ("[@]}", Change::Elements),
            ("[*]}", Change::Elements),
            ("%/*}", Change::Text(folder)),
            ("##*/}", Change::Text(|text| Some(base(text).to_owned()))),
            (",,}", Change::Text(|text| Some(text.to_lowercase()))),
            ("^^}", Change::Text(|text| Some(text.to_uppercase()))),
            (":?}", Change::Required),
        ];
        for (text, change) in fixed {
            if !name.is_empty() && self.take(text) {
                return Ok(Part::Variable { name, change, is_quoted });
            }
        }
        let mut operators =
            [":-", ":=", "-", "=", ":?", "?"].into_iter().filter(|_| !name.is_empty());
        let Some(operator) = operators.find(|text| self.take(text)) else {
            self.skip_braces(line)?;
            return Ok(Part::Opaque);
        };
        let value = self.nested(|reader| reader.word_until(|byte| byte == b'}'))?;
        if !self.take("}") {
            return fail(line, "a ${ is never closed");
        }
        let change = if operator.ends_with('?') {
            Change::Required
        } else {
            Change::Default(operator.starts_with(':'), value)
        };
        Ok(Part::Variable { name, change, is_quoted })
    }

    /// To behind the brace that closes.
    fn skip_braces(&mut self, line: usize) -> Read<()> {
        let mut depth = 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => self.at += 1,
                // In double quotes it is a mere apostrophe.
                b'\'' if self.single_quoted().is_ok() => continue,
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            self.take_char();
            if depth == 0 {
                return Ok(());
            }
        }
        fail(line, "a ${ is never closed")
    }

    /// To behind the two parentheses that close.
    pub(super) fn skip_arithmetic(&mut self, line: usize) -> Read<&str> {
        let start = self.at;
        let mut depth = 2;
        while let Some(byte) = self.peek() {
            depth += i32::from(byte == b'(') - i32::from(byte == b')');
            self.take_char();
            if depth == 0 {
                return Ok(self.text.get(start..self.at.saturating_sub(2)).unwrap_or_default());
            }
        }
        fail(line, "a (( is never closed")
    }

    /// What stands in backquotes. Where backslashes are in it, they mean something else inside: it is
    /// not looked into.
    fn backquoted(&mut self) -> Read<Part> {
        let (line, start) = (self.line(), self.at + 1);
        self.at = start;
        let mut is_plain = true;
        loop {
            match self.peek() {
                None => return fail(line, "a ` is never closed"),
                Some(b'`') => break,
                Some(b'\\') => {
                    is_plain = false;
                    self.at += 1;
                }
                Some(_) => {}
            }
            self.take_char();
        }
        let close = self.at;
        let part = if is_plain {
            let end = std::mem::replace(&mut self.end, close);
            self.at = start;
            let list = self.nested(Self::whole)?;
            self.end = end;
            Part::Output(list)
        } else {
            Part::Opaque
        };
        self.at = close + 1;
        Ok(part)
    }
}

/// Adds text to a word; what is alike goes together.
fn push(word: &mut Word, text: &str, quoted: bool) {
    if let Some(Part::Text { text: last, is_quoted }) = word.parts.last_mut()
        && *is_quoted == quoted
    {
        last.push_str(text);
    } else {
        word.parts.push(Part::Text { text: text.to_owned(), is_quoted: quoted });
    }
}
