//! A reader of shell scripts: what sh, dash and bash take, as far as people write it in notify scripts.
//!
//! It says which commands there are and how they hang together, and runs nothing. Where it loses the
//! thread it says so with the line, and the script is left to a person as a whole.

use std::rc::Rc;

use super::tree::{Arm, Assigned, Chain, Command, Kind, List, Part, Pipeline, Place, Simple, Word};

/// Nobody nests deeper by hand.
const DEPTH_MAX: usize = 40;

/// A script that cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// What was read, or why it could not be.
pub(super) type Read<T> = Result<T, Unreadable>;

/// Says why a script is none, with the line.
pub(super) fn fail<T>(line: usize, why: impl Into<String>) -> Read<T> {
    Err(Unreadable { line, why: why.into() })
}

/// A place in a script that is being read.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    /// The next byte; always between two characters.
    pub(super) at: usize,
    /// The byte where what is read ends.
    pub(super) end: usize,
    /// Where lines begin.
    lines: Vec<usize>,
    depth: usize,
    /// Where the line behind this one begins, if here-documents lie between them.
    behind_documents: usize,
}

/// The commands of a script.
///
/// # Errors
///
/// The line where it stops to be a shell script.
pub fn read(text: &str) -> Result<List, Unreadable> {
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    Reader { text, at: 0, end: text.len(), lines, depth: 0, behind_documents: 0 }.whole()
}

impl Reader<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<u8> {
        let at = self.at + ahead;
        self.text.as_bytes().get(at).copied().filter(|_| at < self.end)
    }

    pub(super) fn rest(&self) -> &str {
        self.text.get(self.at..self.end).unwrap_or_default()
    }

    /// Goes behind a text, if it stands here.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let is_here = self.rest().starts_with(text);
        self.at += if is_here { text.len() } else { 0 };
        is_here
    }

    pub(super) fn line(&self) -> usize {
        self.line_of(self.at)
    }

    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|&begin| begin <= at)
    }

    /// From there to here.
    pub(super) fn place_from(&self, start: usize) -> Place {
        Place { start, end: self.at, line: self.line_of(start) }
    }

    /// Reads something that may have itself inside.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return fail(self.line(), "it is nested too deeply");
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Everything up to the end.
    pub(super) fn whole(&mut self) -> Read<List> {
        let list = self.list()?;
        if self.peek().is_none() {
            return Ok(list);
        }
        let word: String = self.rest().chars().take_while(|c| !c.is_whitespace()).collect();
        fail(self.line(), format!("'{word}' is not expected here"))
    }

    /// A list, and the parenthesis that closes it.
    pub(super) fn list_in_parentheses(&mut self) -> Read<List> {
        let line = self.line();
        let list = self.nested(Self::list)?;
        if self.take(")") { Ok(list) } else { fail(line, "no ')' closes it") }
    }

    /// Blanks, continued lines and comments.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => self.at += 2,
                // Also as a comment looks that was pasted from a page.
                Some(b'#') => self.at = self.line_end(),
                Some(b'\\') if self.peek_at(1) == Some(b'#') && self.is_line_start() => {
                    self.at = self.line_end();
                }
                _ => return,
            }
        }
    }

    fn is_line_start(&self) -> bool {
        let begin = self.lines.get(self.line().saturating_sub(1)).copied().unwrap_or_default();
        self.text.get(begin..self.at).is_some_and(|before| before.trim().is_empty())
    }

    fn line_end(&self) -> usize {
        self.at + self.rest().find('\n').unwrap_or(self.rest().len())
    }

    /// The end of a line, and the here-documents that begin behind it.
    fn newline(&mut self) {
        self.at = self.behind_documents.max(self.at + 1).min(self.end);
    }

    fn skip_lines(&mut self) {
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'\n') => self.newline(),
                _ => return,
            }
        }
    }

    /// The word at a place where a keyword may stand; empty if there is none.
    fn keyword(&self) -> &str {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_!{}[]".contains(c);
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let after = rest.as_bytes().get(length);
        let ends = after.is_none_or(|byte| b" \t\n;&|()<>".contains(byte));
        rest.get(..length).filter(|_| ends).unwrap_or_default()
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        self.keyword() == keyword && self.take(keyword)
    }

    /// Takes a keyword that must be here.
    fn expect(&mut self, keyword: &str, begin: usize) -> Read<()> {
        self.skip_lines();
        if self.take_keyword(keyword) {
            return Ok(());
        }
        fail(begin, format!("no '{keyword}' follows what begins here"))
    }

    /// Commands up to something that none begins with.
    fn list(&mut self) -> Read<List> {
        let mut chains = Vec::new();
        loop {
            self.skip_lines();
            let closes = matches!(
                self.keyword(),
                "then" | "fi" | "elif" | "else" | "do" | "done" | "esac" | "}"
            );
            if closes || matches!(self.peek(), None | Some(b')' | b';')) {
                return Ok(List(chains));
            }
            chains.push(self.chain()?);
            self.skip_blanks();
            match (self.peek(), self.peek_at(1)) {
                // The end of an arm.
                (Some(b';'), Some(b';' | b'&')) | (None | Some(b')'), _) => {
                    return Ok(List(chains));
                }
                (Some(b';' | b'&'), _) => self.at += 1,
                (Some(b'\n'), _) => self.newline(),
                _ => return fail(self.line(), "this does not end where a command ends"),
            }
        }
    }

    fn chain(&mut self) -> Read<Chain> {
        let mut place = self.place_from(self.at);
        let mut parts: Vec<Pipeline> = Vec::new();
        let (mut is_or, mut joint) = (false, self.at);
        loop {
            let pipeline = self.pipeline(is_or, joint)?;
            place.end = pipeline.place.end;
            parts.push(pipeline);
            self.skip_blanks();
            joint = self.at;
            is_or = self.take("||");
            if !is_or && !self.take("&&") {
                return Ok(Chain { parts, place });
            }
            self.skip_lines();
        }
    }

    fn pipeline(&mut self, is_or: bool, joint: usize) -> Read<Pipeline> {
        let mut place = self.place_from(self.at);
        let mut is_negated = false;
        while matches!(self.keyword(), "!" | "time") {
            is_negated ^= self.take("!") || !self.take("time");
            self.skip_blanks();
        }
        let mut commands = Vec::new();
        loop {
            let command = self.nested(Self::command)?;
            place.end = command.place.end;
            commands.push(command);
            self.skip_blanks();
            if self.rest().starts_with("||") || !self.take("|") {
                return Ok(Pipeline { is_or, joint, is_negated, commands, place });
            }
            self.take("&");
            self.skip_lines();
        }
    }

    fn command(&mut self) -> Read<Command> {
        let (start, line) = (self.at, self.line());
        let keyword = self.keyword().to_owned();
        let is_compound = matches!(
            keyword.as_str(),
            "if" | "while" | "until" | "for" | "select" | "case" | "function" | "{" | "[["
        );
        self.at += if is_compound { keyword.len() } else { 0 };
        let kind = match keyword.as_str() {
            "if" => self.conditional(line)?,
            "while" | "until" => Kind::Loop(self.list()?, self.body(line)?),
            "for" | "select" => self.counted(line)?,
            "case" => self.case(line)?,
            "function" => {
                self.skip_blanks();
                let name = self.word()?.bare().unwrap_or_default().to_owned();
                self.skip_blanks();
                if self.take("(") {
                    self.close_function()?;
                }
                self.function(name)?
            }
            "{" => {
                let list = self.list()?;
                self.expect("}", line)?;
                Kind::Group(list)
            }
            "[[" => self.double_test(line)?,
            _ if self.take("((") => Kind::Arithmetic(self.skip_arithmetic(line)?.to_owned()),
            _ if self.take("(") => Kind::Subshell(self.list_in_parentheses()?),
            _ => return self.simple(),
        };
        let mut place = self.place_from(start);
        // What stands behind a compound command.
        if !matches!(kind, Kind::Function(..)) {
            self.skip_blanks();
            while self.redirection(&mut Simple::default())? {
                place.end = self.at;
                self.skip_blanks();
            }
        }
        Ok(Command { place, kind })
    }

    fn conditional(&mut self, line: usize) -> Read<Kind> {
        let mut arms = Vec::new();
        loop {
            let condition = self.list()?;
            self.expect("then", line)?;
            arms.push((condition, self.list()?));
            self.skip_lines();
            if !self.take_keyword("elif") {
                let otherwise =
                    if self.take_keyword("else") { self.list()? } else { List::default() };
                self.expect("fi", line)?;
                return Ok(Kind::If(arms, otherwise));
            }
        }
    }

    fn body(&mut self, line: usize) -> Read<List> {
        self.expect("do", line)?;
        let body = self.list()?;
        self.expect("done", line)?;
        Ok(body)
    }

    fn counted(&mut self, line: usize) -> Read<Kind> {
        self.skip_blanks();
        let (name, mut words) = if self.take("((") {
            let text = self.skip_arithmetic(line)?.trim_start();
            let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
            (text.chars().take_while(is_part).collect(), None)
        } else {
            (self.word()?.bare().unwrap_or_default().to_owned(), None)
        };
        self.skip_lines();
        if self.take_keyword("in") {
            words = Some(self.words()?);
        }
        self.skip_blanks();
        self.take(";");
        Ok(Kind::For(name, words, self.body(line)?))
    }

    /// Words up to the end of the command.
    fn words(&mut self) -> Read<Vec<Word>> {
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'\n' | b';' | b')' | b'&' | b'|' | b'(') => return Ok(words),
                Some(_) => words.push(self.some_word("this is no word")?),
            }
        }
    }

    /// The word that has to be here.
    fn some_word(&mut self, why: &str) -> Read<Word> {
        let word = self.word()?;
        if word.place.range().is_empty() { fail(self.line(), why) } else { Ok(word) }
    }

    fn case(&mut self, line: usize) -> Read<Kind> {
        self.skip_blanks();
        let subject = self.word()?;
        self.expect("in", line)?;
        let mut arms = Vec::new();
        loop {
            self.skip_lines();
            if self.peek().is_none() || self.keyword() == "esac" {
                self.expect("esac", line)?;
                return Ok(Kind::Case(subject, arms));
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                patterns.push(self.word()?);
                self.skip_blanks();
                if self.take(")") {
                    break;
                }
                if !self.take("|") {
                    return fail(self.line(), "this is no pattern of a 'case'");
                }
            }
            let body = self.list()?;
            let end = self.rest();
            let length = end.find(|c| !matches!(c, ';' | '&')).unwrap_or(end.len());
            let falls = end.get(..length).is_some_and(|end| end.ends_with(";&"));
            self.at += if end.starts_with(';') { length } else { 0 };
            arms.push(Arm { patterns, body, falls });
        }
    }

    /// The other parenthesis of a function.
    fn close_function(&mut self) -> Read<()> {
        self.skip_blanks();
        if self.take(")") { Ok(()) } else { fail(self.line(), "this is no function") }
    }

    fn function(&mut self, name: String) -> Read<Kind> {
        self.skip_lines();
        Ok(Kind::Function(name, Rc::new(self.nested(Self::command)?)))
    }

    fn double_test(&mut self, line: usize) -> Read<Kind> {
        let mut words = Vec::new();
        loop {
            self.skip_lines();
            let start = self.at;
            let Some(byte) = self.peek() else {
                return fail(line, "no ']]' follows what begins here");
            };
            // Operators, and the parts of a regular expression.
            let word = if b"&|()<>;".contains(&byte) {
                self.at += 1;
                let text = char::from(byte).to_string();
                let parts = vec![Part::Text { text, is_quoted: false }];
                Word { parts, place: self.place_from(start) }
            } else {
                self.word()?
            };
            if word.bare() == Some("]]") {
                return Ok(Kind::Test(words));
            }
            words.push(word);
        }
    }

    fn simple(&mut self) -> Read<Command> {
        let mut simple = Simple::default();
        let mut place = self.place_from(self.at);
        loop {
            self.skip_blanks();
            if self.redirection(&mut simple)? {
                place.end = self.at;
                continue;
            }
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|' | b')') => break,
                // `local NAME=(WORDS)`
                Some(b'(') if self.text.get(..self.at).is_some_and(|t| t.ends_with('=')) => {
                    self.array()?;
                    if let Some(word) = simple.words.last_mut() {
                        word.parts.push(Part::Opaque);
                        word.place.end = self.at;
                    }
                }
                Some(b'(') => {
                    let name = match simple.words.as_slice() {
                        [name] if simple.assigned.is_empty() => name.bare(),
                        _ => None,
                    };
                    let Some(name) = name.map(str::to_owned) else {
                        return fail(self.line(), "a parenthesis is not expected here");
                    };
                    self.take("(");
                    self.close_function()?;
                    let kind = self.function(name)?;
                    return Ok(Command { place: self.place_from(place.start), kind });
                }
                Some(_) if simple.words.is_empty() && self.assignment(&mut simple)? => {}
                Some(_) => {
                    let word = self.word()?;
                    if word.place.range().is_empty() {
                        break;
                    }
                    simple.words.push(word);
                }
            }
            place.end = self.at;
        }
        if place.range().is_empty() {
            return fail(self.line(), "a command is expected here");
        }
        Ok(Command { place, kind: Kind::Simple(simple) })
    }

    /// `NAME=VALUE`, if there is one here.
    fn assignment(&mut self, simple: &mut Simple) -> Read<bool> {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(0);
        let (name, after) = rest.split_at(length);
        let appends = after.starts_with("+=");
        let is_name = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name || !appends && !after.starts_with('=') {
            return Ok(false);
        }
        let name = name.to_owned();
        self.at += length + if appends { 2 } else { 1 };
        let is_array = self.peek() == Some(b'(');
        let values = if is_array { self.array()? } else { vec![self.word()?] };
        simple.assigned.push(Assigned { name, appends, is_array, values });
        Ok(true)
    }

    /// `(WORDS)`
    fn array(&mut self) -> Read<Vec<Word>> {
        let line = self.line();
        self.at += 1;
        let mut words = Vec::new();
        loop {
            self.skip_lines();
            if self.take(")") {
                return Ok(words);
            }
            if self.peek().is_none() {
                return fail(line, "no ')' closes it");
            }
            words.push(self.some_word("this is no word")?);
        }
    }

    /// A redirection, if there is one here.
    fn redirection(&mut self, simple: &mut Simple) -> Read<bool> {
        const OPERATORS: [&str; 12] =
            ["&>>", "&>", "<<<", "<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">"];
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let rest = self.rest().get(digits..).unwrap_or_default();
        if rest.starts_with("<(") || rest.starts_with(">(") {
            return Ok(false);
        }
        let Some(operator) = OPERATORS.into_iter().find(|text| rest.starts_with(text)) else {
            return Ok(false);
        };
        self.at += digits + operator.len();
        self.skip_blanks();
        let target = self.some_word("nothing follows a redirection")?;
        if matches!(operator, "<<" | "<<-") {
            let text = |part: &Part| match part {
                Part::Text { text, .. } => text.clone(),
                _ => String::new(),
            };
            let end: String = target.parts.iter().map(text).collect();
            self.document(&end, operator == "<<-", simple.document.get_or_insert_default());
        } else {
            simple.targets.push(target);
        }
        Ok(true)
    }

    /// A here-document up to a line, perhaps behind tabs; it begins behind this line, or behind another one.
    fn document(&mut self, end: &str, cuts_tabs: bool, document: &mut String) {
        let is_first = self.behind_documents <= self.at;
        let mut at = if is_first { self.line_end() + 1 } else { self.behind_documents };
        for line in self.text.get(at..self.end).unwrap_or_default().split_inclusive('\n') {
            at += line.len();
            let text = line.strip_suffix('\n').unwrap_or(line);
            if (if cuts_tabs { text.trim_start_matches('\t') } else { text }) == end {
                break;
            }
            document.push_str(line);
        }
        self.behind_documents = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let list = read(text).expect(text);
        let mut out = Vec::new();
        for chain in &list.0 {
            for pipeline in &chain.parts {
                out.extend(pipeline.commands.iter().map(|command| {
                    text.get(command.place.start..command.place.end).expect("a place").to_owned()
                }));
            }
        }
        out
    }

    #[test]
    fn commands_have_their_places() {
        assert_eq!(
            words("#!/bin/sh\nmount /dev/a /b >>log 2>&1 && x || y # no\n\\# pasted\nz\\\n 1"),
            ["mount /dev/a /b >>log 2>&1", "x", "y", "z\\\n 1"]
        );
        assert_eq!(words("a; b & c | d\n"), ["a", "b", "c", "d"]);
        assert_eq!(words("cat <<EOF | b\nmount\nEOF\nc"), ["cat <<EOF", "b", "c"]);
        assert_eq!(words("x=`umount \"/b\"`; y='a;b'"), ["x=`umount \"/b\"`", "y='a;b'"]);
        assert_eq!(words("if a; then b; fi >log; c"), ["if a; then b; fi >log", "c"]);
        assert_eq!(
            words("f() { a; }\nfunction g { b; }\nf"),
            ["f() { a; }", "function g { b; }", "f"]
        );
        assert_eq!(words("case $3 in\n(A|\"B\") x;;\n*) y\nesac\nz").len(), 2);
        assert_eq!(words("while read a; do b; done < f; for i in 1 2; do c; done").len(), 2);
        assert_eq!(
            words("[[ $a =~ ^(b|c)$ && x < y ]] && z"),
            ["[[ $a =~ ^(b|c)$ && x < y ]]", "z"]
        );
        assert_eq!(
            words("((i++)); a=(1 \"2 3\") local b=(1); echo ${a[@]} ${#a} ${b//x/y} $((1+(2)))")
                .len(),
            3
        );
        assert_eq!(words("diff <(a) <(b); time ! c").len(), 2);
    }

    #[test]
    fn what_is_no_script_is_named_with_its_line() {
        let line = |text: &str| read(text).expect_err(text).line;
        for (text, expected) in [
            ("a\nif b; then\nc\n", 2),
            ("a\n'b\n", 2),
            ("a\n\n\"b", 3),
            ("x $(a\nb", 1),
            ("fi", 1),
            ("case a in\nb c) d;; esac", 2),
            ("a\n)", 2),
            ("a ( b", 1),
            ("a ${b", 1),
            ("{ a", 1),
            ("a >", 1),
            ("a &&", 1),
        ] {
            assert_eq!(line(text), expected, "{text:?}");
        }
        let deep = "$(".repeat(10_000);
        assert!(read(&deep).expect_err("deep").why.contains("nested"));
        let deep = "if ".repeat(10_000);
        assert!(read(&deep).expect_err("deep").why.contains("nested"));
    }
}
