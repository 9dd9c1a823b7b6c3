//! A shell script, taken apart.

use std::ops::Range;
use std::rc::Rc;

/// Where something stands in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its first byte.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// Commands, one after the other.
#[derive(Clone, Debug, Default)]
pub struct List(pub Vec<Chain>);

/// Pipelines joined by `&&` and `||`; never empty.
#[derive(Clone, Debug)]
pub struct Chain {
    /// One after the other.
    pub parts: Vec<Pipeline>,
    /// From the first word to the last one, without what ends it.
    pub place: Place,
}

/// Commands joined by `|`.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// It stands behind `||`; else behind `&&`, or first.
    pub is_or: bool,
    /// Where that stands, or where the first one begins.
    pub joint: usize,
    /// It begins with `!`.
    pub is_negated: bool,
    /// The commands; never empty.
    pub commands: Vec<Command>,
    /// All of it.
    pub place: Place,
}

/// A command with its redirections.
#[derive(Clone, Debug)]
pub struct Command {
    /// All of it.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a command is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Words, with what is assigned in front of them.
    Simple(Simple),
    /// `{ LIST; }`
    Group(List),
    /// `( LIST )`
    Subshell(List),
    /// `if`, with each condition and what it leads to, and the list behind `else`, if need be empty.
    If(Vec<(List, List)>, List),
    /// `while` and `until`: condition and body.
    Loop(List, List),
    /// `for` and `select`: the variable, its values if they are given, and the body.
    For(String, Option<Vec<Word>>, List),
    /// `case`: the subject, and each arm.
    Case(Word, Vec<Arm>),
    /// A function that is defined here.
    Function(String, Rc<Command>),
    /// `[[ WORDS ]]`
    Test(Vec<Word>),
    /// `(( TEXT ))`
    Arithmetic(String),
}

/// A branch of `case`.
#[derive(Clone, Debug)]
pub struct Arm {
    /// What the subject is compared with.
    pub patterns: Vec<Word>,
    /// What is done then.
    pub body: List,
    /// It goes on into the next arm (`;&`, `;;&`).
    pub falls: bool,
}

/// A simple command.
#[derive(Clone, Debug, Default)]
pub struct Simple {
    /// What is assigned before its first word.
    pub assigned: Vec<Assigned>,
    /// Its words.
    pub words: Vec<Word>,
    /// What redirections name.
    pub targets: Vec<Word>,
    /// The text of its here-documents.
    pub document: Option<String>,
}

/// `NAME=VALUE`
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The variable.
    pub name: String,
    /// `+=`
    pub appends: bool,
    /// It is an array.
    pub is_array: bool,
    /// Its values; one unless it is an array.
    pub values: Vec<Word>,
}

/// A word as it is written.
#[derive(Clone, Debug, Default)]
pub struct Word {
    /// Its parts; none for an empty word in quotes.
    pub parts: Vec<Part>,
    /// Where it stands.
    pub place: Place,
}

/// A part of a word.
#[derive(Clone, Debug)]
pub enum Part {
    /// Text; quoted text is no pattern and no keyword.
    Text {
        /// What it says.
        text: String,
        /// In quotes, or behind a backslash.
        is_quoted: bool,
    },
    /// `$NAME` and `${NAME...}`
    Variable {
        /// The name, a number, or one of `@*#?$!-`.
        name: String,
        /// What is done with its value.
        change: Change,
        /// In double quotes.
        is_quoted: bool,
    },
    /// `$(LIST)` and its older form
    Output(List),
    /// `$((...))`
    Number,
    /// What this reader cannot say anything of.
    Opaque,
}

/// What is done with the value of a variable.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// `${NAME[@]}`
    Elements,
    /// `${NAME:-WORD}` and `${NAME:=WORD}`; the flag: also if it is empty.
    Default(bool, Word),
    /// `${NAME:?WORD}`: nothing, or it ends.
    Required,
    /// What is made of its text, if anything: `${NAME%/*}`, `${NAME,,}` and their like.
    Text(fn(&str) -> Option<String>),
}

impl Place {
    /// Its bytes.
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl Pipeline {
    /// The only command of it, if there is but one.
    pub fn only(&self) -> Option<&Command> {
        self.commands.first().filter(|_| self.commands.len() == 1)
    }
}

impl Word {
    /// Its text, if it is nothing but unquoted text: what a keyword is.
    pub fn bare(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text { text, is_quoted: false }] => Some(text),
            _ => None,
        }
    }
}
