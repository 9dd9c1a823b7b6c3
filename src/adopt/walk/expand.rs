//! What words become.

use super::super::library::base;
use super::super::tree::{Change, Kind, List, Part, Word};
use super::super::value::{Val, Value};
use super::{STEPS_MAX, Walker};

impl Walker<'_, '_> {
    /// What a word stands for where it is not split.
    pub(super) fn one(&mut self, word: &Word) -> Val {
        self.steps += word.parts.len();
        let mut all = Val::Known(String::new());
        for (at, part) in word.parts.iter().enumerate() {
            let val = match part {
                Part::Text { text, is_quoted: false } if at == 0 && text.starts_with('~') => {
                    Val::Unknown { itself: false }
                }
                Part::Text { text, .. } => Val::Known(text.clone()),
                Part::Variable { name, change, .. } => match self.changed(name, change) {
                    Value::One(val) => val,
                    Value::Many(vals) => match vals.as_slice() {
                        [one] => one.clone(),
                        _ => Val::Unknown { itself: false },
                    },
                },
                Part::Output(list) => self.output(list),
                Part::Number => Val::Unknown { itself: true },
                Part::Opaque => Val::Unknown { itself: false },
            };
            all = all.and(val);
        }
        if self.is_narrow() { no_bytes(all) } else { all }
    }

    /// The file's characters are bytes of a text that nobody knows.
    pub(super) fn is_narrow(&self) -> bool {
        self.library.files.get(self.file).is_some_and(|file| file.text.is_bytes)
    }

    /// The words that a word becomes.
    pub(super) fn expand(&mut self, word: &Word) -> Vec<Val> {
        let mut done: Vec<Val> = Vec::new();
        let mut open: Option<Val> = None;
        let unknown = || Val::Unknown { itself: false };
        let add = |open: &mut Option<Val>, val: Val| {
            *open = Some(match open.take() {
                Some(before) => before.and(val),
                None => val,
            });
        };
        for (at, part) in word.parts.iter().enumerate() {
            match part {
                Part::Text { text, is_quoted } => {
                    let is_special = !is_quoted
                        && (text.contains(['*', '?', '{'])
                            || (text.contains('[') && !matches!(text.as_str(), "[" | "[["))
                            || (at == 0 && text.starts_with('~')));
                    let val = if is_special && text != "{" {
                        unknown()
                    } else {
                        Val::Known(text.clone())
                    };
                    add(&mut open, val);
                }
                Part::Variable { name, change, is_quoted } => {
                    let value = self.changed(name, change);
                    match (value, *is_quoted) {
                        (Value::One(Val::Known(text)), false) => {
                            let mut pieces = text.split_whitespace().peekable();
                            if text.starts_with(char::is_whitespace) {
                                done.extend(open.take());
                            }
                            while let Some(piece) = pieces.next() {
                                let is_glob = piece.contains(['*', '?', '[']);
                                let val =
                                    if is_glob { unknown() } else { Val::Known(piece.to_owned()) };
                                add(&mut open, val);
                                if pieces.peek().is_some() || text.ends_with(char::is_whitespace) {
                                    done.extend(open.take());
                                }
                            }
                        }
                        (Value::One(val), _) => add(&mut open, val),
                        (Value::Many(vals), _) => {
                            let mut vals = vals.into_iter().peekable();
                            while let Some(val) = vals.next() {
                                add(&mut open, val);
                                if vals.peek().is_some() {
                                    done.extend(open.take());
                                }
                            }
                        }
                    }
                }
                Part::Output(list) => {
                    let val = self.output(list);
                    add(&mut open, val);
                }
                Part::Number => add(&mut open, Val::Unknown { itself: true }),
                Part::Opaque => add(&mut open, unknown()),
            }
            if done.len() > STEPS_MAX || self.steps > STEPS_MAX {
                return vec![unknown()];
            }
        }
        done.extend(open);
        self.steps += word.parts.len() + done.len();
        if self.is_narrow() {
            done = done.into_iter().map(no_bytes).collect();
        }
        done
    }

    pub(super) fn variable(&self, name: &str) -> Option<Value> {
        match name {
            "0" => Some(Value::One(Val::Known(self.name.display().to_string()))),
            "@" | "*" => self.given.clone().map(Value::Many),
            "#" => self.given.as_ref().map(|all| Value::One(Val::Known(all.len().to_string()))),
            // A number that nobody goes by; as a name it is one that no configuration takes.
            "$" => Some(Value::One(Val::Known("$$".into()))),
            "?" => Some(Value::One(Val::Unknown { itself: true })),
            _ => match name.parse::<usize>() {
                Ok(number) => {
                    let given = self.given.as_ref()?;
                    let val = number.checked_sub(1).and_then(|at| given.get(at)).cloned();
                    Some(Value::One(val.unwrap_or(Val::Known(String::new()))))
                }
                Err(_) => self.variables.get(name).cloned(),
            },
        }
    }

    pub(super) fn changed(&mut self, name: &str, change: &Change) -> Value {
        let unknown = Value::One(Val::Unknown { itself: false });
        let value = self.variable(name);
        let text = |value: &Option<Value>| match value {
            Some(Value::One(Val::Known(text))) => Some(text.clone()),
            _ => None,
        };
        match change {
            Change::None => match value {
                // The first one.
                Some(Value::Many(all)) if !matches!(name, "@" | "*") => {
                    all.first().cloned().map_or(unknown, Value::One)
                }
                value => value.unwrap_or(unknown),
            },
            Change::Elements => value.unwrap_or(unknown),
            Change::Required => match text(&value) {
                Some(text) if !text.is_empty() => Value::One(Val::Known(text)),
                _ => unknown,
            },
            Change::Default(also_empty, word) => {
                let is_given = name.parse::<usize>().is_ok_and(|number| {
                    self.given.as_ref().is_some_and(|given| number > 0 && number <= given.len())
                });
                match text(&value) {
                    Some(text) if text.is_empty() && (*also_empty || !is_given) => {
                        Value::One(self.one(word))
                    }
                    Some(text) => Value::One(Val::Known(text)),
                    None => unknown,
                }
            }
            Change::Folder => text(&value)
                .and_then(|text| text.rsplit_once('/').map(|(folder, _)| folder.to_owned()))
                .map_or(unknown, |folder| Value::One(Val::Known(folder))),
            Change::Base => {
                text(&value).map_or(unknown, |text| Value::One(Val::Known(base(&text).to_owned())))
            }
            Change::Lower => {
                text(&value).map_or(unknown, |text| Value::One(Val::Known(text.to_lowercase())))
            }
            Change::Upper => {
                text(&value).map_or(unknown, |text| Value::One(Val::Known(text.to_uppercase())))
            }
        }
    }

    /// What commands print.
    pub(super) fn output(&mut self, list: &List) -> Val {
        let is_itself = self.asks_itself(list);
        let folder = self.folder_of(list);
        let was = self.begin_inner();
        self.list(list);
        self.end_inner(was);
        folder.unwrap_or(Val::Unknown { itself: is_itself })
    }

    /// `dirname "$0"` and `basename "$0"`
    pub(super) fn folder_of(&mut self, list: &List) -> Option<Val> {
        let [chain] = list.0.as_slice() else { return None };
        let [command] = chain.first.commands.as_slice() else { return None };
        let Kind::Simple(simple) = &command.kind else { return None };
        let [program, path] = simple.words.as_slice() else { return None };
        if !chain.rest.is_empty() {
            return None;
        }
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        let path = self.one(path);
        self.is_quiet = was_quiet;
        let path = path.known()?;
        match program.bare()? {
            "dirname" => {
                Some(Val::Known(path.rsplit_once('/').filter(|(f, _)| !f.is_empty())?.0.into()))
            }
            "basename" => Some(Val::Known(base(path).to_owned())),
            "echo" => Some(Val::Known(path.to_owned())),
            _ => None,
        }
    }
}

/// A value with bytes of an unknown encoding is none.
fn no_bytes(val: Val) -> Val {
    match val {
        Val::Known(text) if !text.is_ascii() => Val::Unknown { itself: false },
        val => val,
    }
}
