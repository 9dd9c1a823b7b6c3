//! A reader of shell scripts: what sh, dash and bash take, as far as people write it in notify scripts.
//!
//! It says which commands there are and how they hang together, and runs nothing. Where it loses the
//! thread it says so with the line, and the script is left to a person as a whole.

use std::rc::Rc;

use super::tree::{
    Arm, Assignable, Assigned, Chain, Command, Joined, Kind, List, Part, Pipeline, Simple, Word,
};

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

impl Unreadable {
    pub(super) fn new(line: usize, why: &str) -> Self {
        Self { line, why: why.to_owned() }
    }
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
    /// Where the last word of a simple command ends.
    word_end: usize,
    /// Here-documents whose text begins with the next line: the word that ends it, and whether tabs
    /// in front of it are cut.
    awaited: Vec<(String, bool)>,
    /// Their texts, of the command that is being read.
    documents: String,
}

/// The commands of a script.
///
/// # Errors
///
/// The line where it stops to be a shell script.
pub fn read(text: &str) -> Result<List, Unreadable> {
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut reader = Reader {
        text,
        at: 0,
        end: text.len(),
        lines,
        depth: 0,
        word_end: 0,
        awaited: Vec::new(),
        documents: String::new(),
    };
    reader.whole()
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

    pub(super) fn line(&self) -> usize {
        self.line_of(self.at)
    }

    pub(super) fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|&begin| begin <= at)
    }

    pub(super) fn deeper(&mut self) -> Result<(), Unreadable> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Unreadable::new(self.line(), "it is nested too deeply"));
        }
        Ok(())
    }

    pub(super) const fn shallower(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn fail<T>(&self, why: &str) -> Result<T, Unreadable> {
        Err(Unreadable::new(self.line(), why))
    }

    /// Everything up to the end.
    pub(super) fn whole(&mut self) -> Result<List, Unreadable> {
        let list = self.list()?;
        match self.peek() {
            None => Ok(list),
            Some(_) => {
                let word: String = self.rest().chars().take_while(|c| !c.is_whitespace()).collect();
                self.fail(&format!("'{word}' is not expected here"))
            }
        }
    }

    /// A list, and the byte that closes it.
    pub(super) fn list_until(&mut self, close: u8) -> Result<List, Unreadable> {
        let line = self.line();
        self.deeper()?;
        let list = self.list()?;
        self.shallower();
        if self.peek() != Some(close) {
            let why = format!("no '{}' closes it", char::from(close));
            return Err(Unreadable::new(line, &why));
        }
        self.at += 1;
        Ok(list)
    }

    /// Blanks, continued lines and comments.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => self.at += 2,
                Some(b'#') => self.skip_line(),
                // How a comment looks that was pasted from a page.
                Some(b'\\') if self.peek_at(1) == Some(b'#') && self.is_line_start() => {
                    self.skip_line();
                }
                _ => return,
            }
        }
    }

    fn is_line_start(&self) -> bool {
        let begin = self.lines.get(self.line().saturating_sub(1)).copied().unwrap_or_default();
        self.text.get(begin..self.at).is_some_and(|before| before.trim().is_empty())
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    /// The end of a line, and the here-documents that begin behind it.
    fn newline(&mut self) {
        self.at += 1;
        for (end, cuts_tabs) in std::mem::take(&mut self.awaited) {
            while self.at < self.end {
                let length = self.rest().find('\n').unwrap_or(self.rest().len());
                let line = self.rest().get(..length).unwrap_or_default().to_owned();
                self.at = (self.at + length + 1).min(self.end);
                let compared = if cuts_tabs { line.trim_start_matches('\t') } else { &line };
                if compared == end {
                    break;
                }
                self.documents.push_str(&line);
                self.documents.push('\n');
            }
        }
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

    /// Takes a keyword that must be here.
    fn expect(&mut self, keyword: &str, begin: usize) -> Result<(), Unreadable> {
        self.skip_lines();
        if self.keyword() != keyword {
            return Err(Unreadable::new(
                begin,
                &format!("no '{keyword}' follows what begins here"),
            ));
        }
        self.at += keyword.len();
        Ok(())
    }

    /// Commands up to something that none begins with.
    fn list(&mut self) -> Result<List, Unreadable> {
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
                (Some(b';'), Some(b';' | b'&')) => return Ok(List(chains)),
                (Some(b';' | b'&'), _) => self.at += 1,
                (Some(b'\n'), _) => self.newline(),
                (None | Some(b')'), _) => return Ok(List(chains)),
                _ => return self.fail("this does not end where a command ends"),
            }
        }
    }

    fn chain(&mut self) -> Result<Chain, Unreadable> {
        let start = self.at;
        let first = self.pipeline()?;
        let (mut rest, mut end) = (Vec::new(), first.place.end);
        loop {
            self.skip_blanks();
            let is_and = match (self.peek(), self.peek_at(1)) {
                (Some(b'&'), Some(b'&')) => true,
                (Some(b'|'), Some(b'|')) => false,
                _ => break,
            };
            let joint = self.at;
            self.at += 2;
            self.skip_lines();
            let pipeline = self.pipeline()?;
            end = pipeline.place.end;
            rest.push(Joined { is_and, joint, pipeline });
        }
        let mut place = self.place_from(start);
        place.end = end;
        Ok(Chain { first, rest, place })
    }

    fn pipeline(&mut self) -> Result<Pipeline, Unreadable> {
        let start = self.at;
        let mut is_negated = false;
        while matches!(self.keyword(), "!" | "time") {
            is_negated ^= self.keyword() == "!";
            self.at += self.keyword().len();
            self.skip_blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'|') || self.peek_at(1) == Some(b'|') {
                break;
            }
            self.at += if self.peek_at(1) == Some(b'&') { 2 } else { 1 };
            self.skip_lines();
            commands.push(self.command()?);
        }
        let mut place = self.place_from(start);
        place.end = commands.last().map_or(place.end, |last| last.place.end);
        Ok(Pipeline { is_negated, commands, place })
    }

    fn command(&mut self) -> Result<Command, Unreadable> {
        let (start, line) = (self.at, self.line());
        let before = std::mem::take(&mut self.documents);
        self.deeper()?;
        let keyword = self.keyword().to_owned();
        let kind = match keyword.as_str() {
            "if" => self.conditional(line)?,
            "while" | "until" => self.loops(line, keyword.len())?,
            "for" | "select" => self.counted(line, keyword.len())?,
            "case" => self.case(line)?,
            "function" => {
                self.at += keyword.len();
                self.skip_blanks();
                let name = self.word()?;
                let name = name.bare().unwrap_or_default().to_owned();
                self.skip_blanks();
                if self.peek() == Some(b'(') {
                    self.parentheses()?;
                }
                self.function(name)?
            }
            "{" => {
                self.at += 1;
                let list = self.list()?;
                self.expect("}", line)?;
                Kind::Group(list)
            }
            "[[" => self.double_test(line)?,
            _ if self.rest().starts_with("((") => {
                self.at += 2;
                Kind::Arithmetic(self.skip_arithmetic(line)?.to_owned())
            }
            _ if self.peek() == Some(b'(') => {
                self.at += 1;
                Kind::Subshell(self.list_until(b')')?)
            }
            _ => self.simple()?,
        };
        self.shallower();
        let mut place = self.place_from(start);
        if !matches!(kind, Kind::Simple(_) | Kind::Function(..)) {
            // What stands behind a compound command.
            let mut behind = Simple::default();
            loop {
                self.skip_blanks();
                if !self.redirection(&mut behind)? {
                    break;
                }
                place.end = self.at;
            }
        } else if let Kind::Simple(_) = &kind {
            place.end = self.word_end;
        }
        self.documents = before;
        Ok(Command { place, kind })
    }

    fn conditional(&mut self, line: usize) -> Result<Kind, Unreadable> {
        self.at += 2;
        let mut arms = Vec::new();
        loop {
            let condition = self.list()?;
            self.expect("then", line)?;
            let body = self.list()?;
            arms.push((condition, body));
            self.skip_lines();
            match self.keyword() {
                "elif" => self.at += 4,
                "else" => {
                    self.at += 4;
                    let otherwise = self.list()?;
                    self.expect("fi", line)?;
                    return Ok(Kind::If(arms, Some(otherwise)));
                }
                _ => {
                    self.expect("fi", line)?;
                    return Ok(Kind::If(arms, None));
                }
            }
        }
    }

    fn loops(&mut self, line: usize, length: usize) -> Result<Kind, Unreadable> {
        self.at += length;
        let condition = self.list()?;
        let body = self.body(line)?;
        Ok(Kind::Loop(condition, body))
    }

    fn body(&mut self, line: usize) -> Result<List, Unreadable> {
        self.expect("do", line)?;
        let body = self.list()?;
        self.expect("done", line)?;
        Ok(body)
    }

    fn counted(&mut self, line: usize, length: usize) -> Result<Kind, Unreadable> {
        self.at += length;
        self.skip_blanks();
        if self.rest().starts_with("((") {
            self.at += 2;
            let text = self.skip_arithmetic(line)?;
            let name: String =
                text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            self.skip_blanks();
            if self.peek() == Some(b';') {
                self.at += 1;
            }
            let body = self.body(line)?;
            return Ok(Kind::For(name, None, body));
        }
        let name = self.word()?.bare().unwrap_or_default().to_owned();
        self.skip_lines();
        let mut words = None;
        if self.keyword() == "in" {
            self.at += 2;
            words = Some(self.words()?);
        }
        self.skip_blanks();
        if self.peek() == Some(b';') {
            self.at += 1;
        }
        let body = self.body(line)?;
        Ok(Kind::For(name, words, body))
    }

    /// Words up to the end of the command.
    fn words(&mut self) -> Result<Vec<Word>, Unreadable> {
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(b'\n' | b';' | b')' | b'&' | b'|' | b'(') => return Ok(words),
                Some(_) => {
                    let word = self.word()?;
                    if word.place.start == word.place.end {
                        return self.fail("this is no word");
                    }
                    words.push(word);
                }
            }
        }
    }

    fn case(&mut self, line: usize) -> Result<Kind, Unreadable> {
        self.at += 4;
        self.skip_blanks();
        let subject = self.word()?;
        self.expect("in", line)?;
        let mut arms = Vec::new();
        loop {
            self.skip_lines();
            if self.keyword() == "esac" {
                self.at += 4;
                return Ok(Kind::Case(subject, arms));
            }
            if self.peek().is_none() {
                return Err(Unreadable::new(line, "no 'esac' follows what begins here"));
            }
            if self.peek() == Some(b'(') {
                self.at += 1;
            }
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                patterns.push(self.word()?);
                self.skip_blanks();
                match self.peek() {
                    Some(b'|') => self.at += 1,
                    Some(b')') => break,
                    _ => return self.fail("this is no pattern of a 'case'"),
                }
            }
            self.at += 1;
            let body = self.list()?;
            let mut falls = false;
            if self.peek() == Some(b';') {
                falls = self.rest().starts_with(";&") || self.rest().starts_with(";;&");
                let is_end = |c: char| !matches!(c, ';' | '&');
                self.at += self.rest().find(is_end).unwrap_or(self.rest().len());
            }
            arms.push(Arm { patterns, body, falls });
        }
    }

    fn parentheses(&mut self) -> Result<(), Unreadable> {
        self.at += 1;
        self.skip_blanks();
        if self.peek() != Some(b')') {
            return self.fail("this is no function");
        }
        self.at += 1;
        Ok(())
    }

    fn function(&mut self, name: String) -> Result<Kind, Unreadable> {
        self.skip_lines();
        let body = self.command()?;
        Ok(Kind::Function(name, Rc::new(body)))
    }

    fn double_test(&mut self, line: usize) -> Result<Kind, Unreadable> {
        self.at += 2;
        let mut words = Vec::new();
        loop {
            self.skip_lines();
            match self.peek() {
                None => return Err(Unreadable::new(line, "no ']]' follows what begins here")),
                // Operators, and the parts of a regular expression.
                Some(b'&' | b'|' | b'(' | b')' | b'<' | b'>' | b';') => {
                    let start = self.at;
                    self.at += 1;
                    let text = self.text.get(start..self.at).unwrap_or_default().to_owned();
                    let parts = vec![Part::Text { text, is_quoted: false }];
                    words.push(Word { parts, place: self.place_from(start) });
                }
                Some(_) => {
                    let word = self.word()?;
                    if word.bare() == Some("]]") {
                        return Ok(Kind::Test(words));
                    }
                    words.push(word);
                }
            }
        }
    }

    fn simple(&mut self) -> Result<Kind, Unreadable> {
        let mut simple = Simple::default();
        let start = self.at;
        let mut end = start;
        loop {
            self.skip_blanks();
            if self.redirection(&mut simple)? {
                end = self.at;
                continue;
            }
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|' | b')') => break,
                // `local NAME=(WORDS)`
                Some(b'(') if self.text.get(..self.at).is_some_and(|t| t.ends_with('=')) => {
                    self.array()?;
                    end = self.at;
                    if let Some(word) = simple.words.last_mut() {
                        word.parts.push(Part::Opaque);
                        word.place.end = end;
                    }
                    continue;
                }
                Some(b'(') => {
                    let name = match simple.words.as_slice() {
                        [name] if simple.assigned.is_empty() => name.bare(),
                        _ => None,
                    };
                    let Some(name) = name.map(str::to_owned) else {
                        return self.fail("a parenthesis is not expected here");
                    };
                    self.parentheses()?;
                    return self.function(name);
                }
                Some(_) => {}
            }
            if simple.words.is_empty() && self.assignment(&mut simple)? {
                end = self.at;
                continue;
            }
            let word = self.word()?;
            if word.place.start == word.place.end {
                break;
            }
            end = self.at;
            simple.words.push(word);
        }
        self.word_end = end;
        if end == start {
            return self.fail("a command is expected here");
        }
        if !self.awaited.is_empty() {
            // Its text follows behind the line; a part of the command may, too.
            let at = self.at;
            let awaited = self.awaited.clone();
            self.skip_line();
            if self.peek() == Some(b'\n') {
                self.newline();
            }
            simple.document = Some(std::mem::take(&mut self.documents));
            (self.at, self.awaited) = (at, awaited);
        }
        Ok(Kind::Simple(simple))
    }

    /// `NAME=VALUE`, if there is one here.
    fn assignment(&mut self, simple: &mut Simple) -> Result<bool, Unreadable> {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(0);
        let name = rest.get(..length).unwrap_or_default().to_owned();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(false);
        }
        let after = rest.get(length..).unwrap_or_default();
        let appends = after.starts_with("+=");
        if !appends && !after.starts_with('=') {
            return Ok(false);
        }
        self.at += length + if appends { 2 } else { 1 };
        let value = if self.peek() == Some(b'(') {
            Assignable::Array(self.array()?)
        } else {
            Assignable::Word(self.word()?)
        };
        simple.assigned.push(Assigned { name, appends, value });
        Ok(true)
    }

    /// `(WORDS)`
    fn array(&mut self) -> Result<Vec<Word>, Unreadable> {
        let line = self.line();
        self.at += 1;
        let mut words = Vec::new();
        loop {
            self.skip_lines();
            match self.peek() {
                Some(b')') => {
                    self.at += 1;
                    return Ok(words);
                }
                None => return Err(Unreadable::new(line, "no ')' closes it")),
                Some(_) => {
                    let word = self.word()?;
                    if word.place.start == word.place.end {
                        return self.fail("this is no word");
                    }
                    words.push(word);
                }
            }
        }
    }

    /// A redirection, if there is one here.
    fn redirection(&mut self, simple: &mut Simple) -> Result<bool, Unreadable> {
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
        let target = self.word()?;
        if target.place.start == target.place.end {
            return self.fail("nothing follows a redirection");
        }
        if matches!(operator, "<<" | "<<-") {
            if self.awaited.len() >= DEPTH_MAX {
                return self.fail("so many here-documents on one line are not followed");
            }
            let text = |part: &Part| match part {
                Part::Text { text, .. } => text.clone(),
                _ => String::new(),
            };
            self.awaited.push((target.parts.iter().map(text).collect(), operator == "<<-"));
        } else {
            simple.targets.push(target);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let list = read(text).expect(text);
        let mut out = Vec::new();
        for chain in &list.0 {
            for pipeline in
                std::iter::once(&chain.first).chain(chain.rest.iter().map(|j| &j.pipeline))
            {
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
