//! The words of a shell script: quotes, variables, what commands print.

use super::read::{Reader, Unreadable};
use super::tree::{Change, List, Part, Place, Word};

/// Ends a word where it is not quoted.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl Reader<'_> {
    /// The word that begins here.
    pub(super) fn word(&mut self) -> Result<Word, Unreadable> {
        self.word_until(ends_word)
    }

    /// A word up to a byte that ends it.
    fn word_until(&mut self, ends: impl Fn(u8) -> bool) -> Result<Word, Unreadable> {
        let start = self.at;
        let mut word = Word::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => match self.peek_at(1) {
                    Some(b'\n') => self.at += 2,
                    Some(_) => {
                        self.at += 1;
                        let text = self.take_char();
                        push(&mut word, &text, true);
                    }
                    None => self.at += 1,
                },
                b'\'' => {
                    let text = self.single_quoted()?;
                    push(&mut word, text, true);
                }
                b'"' => self.double_quoted(&mut word)?,
                b'$' => self.dollar(&mut word, false)?,
                b'`' => word.parts.push(self.backquoted()?),
                // A process is given as a file.
                b'<' | b'>' if self.at == start && self.peek_at(1) == Some(b'(') => {
                    self.at += 2;
                    let list = self.list_until(b')')?;
                    word.parts.extend([Part::Output(list), Part::Opaque]);
                }
                byte if ends(byte) => break,
                _ => {
                    let text = self.take_char();
                    push(&mut word, &text, false);
                }
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

    fn single_quoted(&mut self) -> Result<&str, Unreadable> {
        let line = self.line();
        let start = self.at + 1;
        let length = self.text.get(start..self.end).and_then(|rest| rest.find('\''));
        let length = length.ok_or_else(|| Unreadable::new(line, "a ' is never closed"))?;
        self.at = start + length + 1;
        Ok(self.text.get(start..start + length).unwrap_or_default())
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), Unreadable> {
        let line = self.line();
        self.at += 1;
        // An empty one is a word, too.
        push(word, "", true);
        loop {
            match self.peek() {
                None => return Err(Unreadable::new(line, "a \" is never closed")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'\n') => self.at += 1,
                        Some(b'$' | b'`' | b'"' | b'\\') => {
                            let text = self.take_char();
                            push(word, &text, true);
                        }
                        _ => push(word, "\\", true),
                    }
                }
                Some(b'$') => self.dollar(word, true)?,
                Some(b'`') => {
                    let part = self.backquoted()?;
                    word.parts.push(part);
                }
                Some(_) => {
                    let text = self.take_char();
                    push(word, &text, true);
                }
            }
        }
    }

    /// What begins with `$`.
    fn dollar(&mut self, word: &mut Word, is_quoted: bool) -> Result<(), Unreadable> {
        let line = self.line();
        self.at += 1;
        match self.peek() {
            Some(b'(') if self.peek_at(1) == Some(b'(') => {
                self.at += 2;
                self.skip_arithmetic(line)?;
                word.parts.push(Part::Number);
            }
            Some(b'(') => {
                self.at += 1;
                let list = self.list_until(b')')?;
                word.parts.push(Part::Output(list));
            }
            Some(b'{') => {
                self.at += 1;
                let part = self.braced(line, is_quoted)?;
                word.parts.push(part);
            }
            // Escapes as in C, and translated text.
            Some(b'\'') if !is_quoted => {
                let text = self.single_quoted()?.to_owned();
                let is_plain = !text.contains('\\');
                if is_plain { push(word, &text, true) } else { word.parts.push(Part::Opaque) }
            }
            Some(b'"') if !is_quoted => self.double_quoted(word)?,
            Some(byte) if is_name_byte(byte) || b"@*#?$!-".contains(&byte) => {
                let name = self.name();
                word.parts.push(Part::Variable { name, change: Change::None, is_quoted });
            }
            _ => push(word, "$", true),
        }
        Ok(())
    }

    /// The name of a variable, one digit, or one of the special ones.
    fn name(&mut self) -> String {
        let start = self.at;
        match self.peek() {
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => {
                while self.peek().is_some_and(is_name_byte) {
                    self.at += 1;
                }
            }
            Some(_) => self.at += 1,
            None => {}
        }
        self.text.get(start..self.at).unwrap_or_default().to_owned()
    }

    /// `${...}` behind its brace.
    fn braced(&mut self, line: usize, is_quoted: bool) -> Result<Part, Unreadable> {
        let mut name = match self.peek() {
            Some(byte) if is_name_byte(byte) || b"@*#?$!-".contains(&byte) => self.name(),
            _ => String::new(),
        };
        // Of more than one digit.
        while name.bytes().all(|byte| byte.is_ascii_digit())
            && self.peek().is_some_and(|byte| byte.is_ascii_digit())
        {
            name.push_str(&self.take_char());
        }
        let rest = self.rest();
        let variable = |change| Part::Variable { name: name.clone(), change, is_quoted };
        let fixed: [(&str, Change); 8] = [
            ("}", Change::None),
            ("[@]}", Change::Elements),
            ("[*]}", Change::Elements),
            ("%/*}", Change::Folder),
            ("##*/}", Change::Base),
            (",,}", Change::Lower),
            ("^^}", Change::Upper),
            (":?}", Change::Required),
        ];
        if name.is_empty() {
            self.skip_braces(line)?;
            return Ok(Part::Opaque);
        }
        for (text, change) in fixed {
            if rest.starts_with(text) {
                let part = variable(change);
                self.at += text.len();
                return Ok(part);
            }
        }
        let operators =
            [(":-", true), (":=", true), ("-", false), ("=", false), (":?", true), ("?", false)];
        let found = operators.into_iter().find(|(text, _)| rest.starts_with(text));
        let Some((operator, also_empty)) = found else {
            self.skip_braces(line)?;
            return Ok(Part::Opaque);
        };
        let part = name.clone();
        self.at += operator.len();
        self.deeper()?;
        let value = self.word_until(|byte| byte == b'}')?;
        self.shallower();
        if self.peek() != Some(b'}') {
            return Err(Unreadable::new(line, "a ${ is never closed"));
        }
        self.at += 1;
        let change = if operator.ends_with('?') {
            Change::Required
        } else {
            Change::Default(also_empty, value)
        };
        Ok(Part::Variable { name: part, change, is_quoted })
    }

    /// To behind the brace that closes.
    fn skip_braces(&mut self, line: usize) -> Result<(), Unreadable> {
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
        Err(Unreadable::new(line, "a ${ is never closed"))
    }

    /// To behind the two parentheses that close.
    pub(super) fn skip_arithmetic(&mut self, line: usize) -> Result<&str, Unreadable> {
        let start = self.at;
        let mut depth = 2;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            self.take_char();
            if depth == 0 {
                return Ok(self.text.get(start..self.at.saturating_sub(2)).unwrap_or_default());
            }
        }
        Err(Unreadable::new(line, "a (( is never closed"))
    }

    /// What stands in backquotes. Where backslashes are in it, they mean something else inside: it is
    /// not looked into.
    fn backquoted(&mut self) -> Result<Part, Unreadable> {
        let line = self.line();
        let start = self.at + 1;
        let mut at = start;
        let mut is_plain = true;
        let close = loop {
            match self.text.as_bytes().get(at).filter(|_| at < self.end) {
                None => return Err(Unreadable::new(line, "a ` is never closed")),
                Some(b'`') => break at,
                Some(b'\\') => {
                    is_plain = false;
                    at += 2;
                }
                Some(_) => at += 1,
            }
        };
        if !is_plain {
            self.at = close + 1;
            return Ok(Part::Opaque);
        }
        let list = self.inside(start, close)?;
        self.at = close + 1;
        Ok(Part::Output(list))
    }

    /// The commands between two places.
    fn inside(&mut self, start: usize, end: usize) -> Result<List, Unreadable> {
        let before = self.end;
        (self.at, self.end) = (start, end);
        self.deeper()?;
        let list = self.whole();
        self.shallower();
        self.end = before;
        list
    }

    /// From there to here.
    pub(super) fn place_from(&self, start: usize) -> Place {
        Place { start, end: self.at, line: self.line_of(start) }
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
