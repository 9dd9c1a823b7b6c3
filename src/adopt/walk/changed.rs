//! What a loop may change on its way.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::super::tree::{Assignable, Command, Kind, List, Part, Simple, Word};
use super::super::value::{Val, Value};
use super::{COPIES_A_STEP, Walker};

impl Walker<'_, '_> {
    /// Whatever a loop may change on its way is unknown in it.
    pub(super) fn taint(&mut self, lists: &[&List]) {
        let mut changed = Changed::default();
        lists.iter().for_each(|list| changed.list(list));
        let bodies: Vec<Rc<Command>> =
            self.functions.values().map(|(_, body)| Rc::clone(body)).collect();
        bodies.iter().for_each(|body| changed.command(body));
        self.steps += changed.seen / COPIES_A_STEP;
        for name in changed.counted {
            self.variables.set(&name, Value::One(Val::Unknown { itself: true }));
        }
        for name in changed.names {
            self.variables.forget(&name);
        }
        if changed.all {
            self.variables.lose();
        }
        if changed.given {
            self.given = None;
        }
    }
}

/// The names of variables in a text.
pub(super) fn names(text: &str) -> impl Iterator<Item = String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !is_part(c))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        .map(str::to_owned)
}

/// What commands may change.
#[derive(Default)]
struct Changed {
    names: BTreeSet<String>,
    /// Only counted up or down.
    counted: BTreeSet<String>,
    all: bool,
    given: bool,
    /// So many commands were looked at.
    seen: usize,
}

impl Changed {
    fn list(&mut self, list: &List) {
        for chain in &list.0 {
            let joined = chain.rest.iter().map(|joined| &joined.pipeline);
            for pipeline in std::iter::once(&chain.first).chain(joined) {
                pipeline.commands.iter().for_each(|command| self.command(command));
            }
        }
    }

    fn command(&mut self, command: &Command) {
        self.seen += 1;
        match &command.kind {
            Kind::Simple(simple) => self.simple(simple),
            Kind::Group(list) | Kind::Subshell(list) => self.list(list),
            Kind::If(arms, otherwise) => {
                for (condition, body) in arms {
                    self.list(condition);
                    self.list(body);
                }
                otherwise.iter().for_each(|list| self.list(list));
            }
            Kind::Loop(condition, body) => {
                self.list(condition);
                self.list(body);
            }
            Kind::For(name, _, body) => {
                self.names.insert(name.clone());
                self.list(body);
            }
            Kind::Case(_, arms) => arms.iter().for_each(|arm| self.list(&arm.body)),
            Kind::Function(_, body) => self.command(body),
            Kind::Test(_) => {}
            Kind::Arithmetic(text) => self.counted.extend(names(text)),
        }
    }

    fn simple(&mut self, simple: &Simple) {
        for one in &simple.assigned {
            let is_number = |value: &Assignable| match value {
                Assignable::Word(word) => {
                    matches!(word.parts.as_slice(), [Part::Number])
                        || word.bare().is_some_and(|text| text.parse::<i64>().is_ok())
                }
                Assignable::Array(_) => false,
            };
            if is_number(&one.value) {
                self.counted.insert(one.name.clone());
            } else {
                self.names.insert(one.name.clone());
            }
        }
        match simple.words.first().and_then(Word::bare) {
            Some(
                "read" | "export" | "local" | "declare" | "typeset" | "readonly" | "getopts"
                | "mapfile" | "readarray" | "unset" | "printf",
            ) => {
                for word in simple.words.iter().skip(1) {
                    for part in &word.parts {
                        if let Part::Text { text, .. } = part {
                            self.names.extend(names(text));
                        }
                    }
                }
            }
            Some("let") => {
                for word in simple.words.iter().skip(1) {
                    for part in &word.parts {
                        if let Part::Text { text, .. } = part {
                            self.counted.extend(names(text));
                        }
                    }
                }
            }
            Some("eval" | "." | "source") => self.all = true,
            Some("shift" | "set") => self.given = true,
            _ => {}
        }
    }
}
