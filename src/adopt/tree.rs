//! A shell script, taken apart.

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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List(pub Vec<Chain>);

/// Pipelines joined by `&&` and `||`.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The first one.
    pub first: Pipeline,
    /// The others, each with what joins it to those before it.
    pub rest: Vec<Joined>,
    /// From the first word to the last one, without what ends it.
    pub place: Place,
}

/// A pipeline behind `&&` or `||`.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// It stands behind `&&`, and not behind `||`.
    pub is_and: bool,
    /// Where that stands.
    pub joint: usize,
    /// What is joined.
    pub pipeline: Pipeline,
}

/// Commands joined by `|`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// It begins with `!`.
    pub is_negated: bool,
    /// The commands; never empty.
    pub commands: Vec<Command>,
    /// All of it.
    pub place: Place,
}

/// A command with its redirections.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// All of it.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a command is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Words, with what is assigned in front of them.
    Simple(Simple),
    /// `{ LIST; }`
    Group(List),
    /// `( LIST )`
    Subshell(List),
    /// `if`, with each condition and what it leads to, and the list behind `else`.
    If(Vec<(List, List)>, Option<List>),
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
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// What the subject is compared with.
    pub patterns: Vec<Word>,
    /// What is done then.
    pub body: List,
    /// It goes on into the next arm (`;&`, `;;&`).
    pub falls: bool,
}

/// A simple command.
#[derive(Clone, Debug, Default, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The variable.
    pub name: String,
    /// `+=`
    pub appends: bool,
    /// Its value.
    pub value: Assignable,
}

/// The right side of an assignment.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignable {
    /// One word.
    Word(Word),
    /// An array.
    Array(Vec<Word>),
}

/// A word as it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word {
    /// Its parts; none for an empty word in quotes.
    pub parts: Vec<Part>,
    /// Where it stands.
    pub place: Place,
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// `${NAME[@]}`
    Elements,
    /// `${NAME:-WORD}` and `${NAME:=WORD}`; the flag: also if it is empty.
    Default(bool, Word),
    /// `${NAME:?WORD}`: nothing, or it ends.
    Required,
    /// `${NAME%/*}`
    Folder,
    /// `${NAME##*/}`
    Base,
    /// `${NAME,,}`
    Lower,
    /// `${NAME^^}`
    Upper,
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
