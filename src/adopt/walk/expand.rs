//! What words become.

use super::super::library::{base, folder};
use super::super::tree::{Change, Kind, List, Part, Word};
use super::super::value::{ITSELF, UNKNOWN, Val, Value};
use super::{STEPS_MAX, Walker};

impl Walker<'_, '_> {
    /// What a word stands for where it is not split.
    pub(super) fn one(&mut self, word: &Word) -> Val {
        self.steps += word.parts.len();
        let mut all = Val::of("");
        for (at, part) in word.parts.iter().enumerate() {
            let value = self.value(part, at);
            all = all.and(value.one().cloned().unwrap_or(UNKNOWN));
        }
        self.readable(all)
    }

    /// A value; one with bytes of an encoding that nobody knows is none.
    fn readable(&self, val: Val) -> Val {
        let is_narrow = self.library.files.get(self.file).is_some_and(|file| file.text.is_bytes);
        if is_narrow && val.known().is_some_and(|text| !text.is_ascii()) { UNKNOWN } else { val }
    }

    fn value(&mut self, part: &Part, at: usize) -> Value {
        Value::One(match part {
            Part::Text { text, is_quoted: false } if at == 0 && text.starts_with('~') => UNKNOWN,
            Part::Text { text, .. } => Val::of(text),
            Part::Variable { name, change, .. } => return self.changed(name, change),
            Part::Output(list) => self.output(list),
            Part::Number => ITSELF,
            Part::Opaque => UNKNOWN,
        })
    }

    /// The words that a word becomes.
    pub(super) fn expand(&mut self, word: &Word) -> Vec<Val> {
        let mut done: Vec<Val> = Vec::new();
        let mut open: Option<Val> = None;
        for (at, part) in word.parts.iter().enumerate() {
            let mut value = self.value(part, at);
            let (mut begins, mut ends) = (false, false);
            match (part, &value) {
                (Part::Text { text, is_quoted: false }, _)
                    if text != "[" && text != "[[" && text != "{" && text.contains(GLOB) =>
                {
                    value = Value::One(UNKNOWN);
                }
                (Part::Variable { is_quoted: false, .. }, Value::One(Val::Known(text))) => {
                    begins = text.starts_with(char::is_whitespace);
                    ends = text.ends_with(char::is_whitespace);
                    let is_glob = |piece: &str| piece.contains(['*', '?', '[']);
                    let piece = |piece| if is_glob(piece) { UNKNOWN } else { Val::of(piece) };
                    value = Value::Many(text.split_whitespace().map(piece).collect());
                }
                _ => {}
            }
            let pieces = match value {
                Value::One(val) => vec![val],
                Value::Many(vals) => vals,
            };
            for (at, piece) in pieces.into_iter().enumerate() {
                if begins || at > 0 {
                    done.extend(open.take());
                }
                open = Some(open.take().map_or(piece.clone(), |before| before.and(piece)));
                begins = false;
            }
            if ends {
                done.extend(open.take());
            }
            if done.len() > STEPS_MAX || self.steps > STEPS_MAX {
                return vec![UNKNOWN];
            }
        }
        done.extend(open);
        self.steps += word.parts.len() + done.len();
        done.into_iter().map(|val| self.readable(val)).collect()
    }

    pub(super) fn variable(&self, name: &str) -> Option<Value> {
        let given = self.given.as_ref();
        Some(match name {
            "0" => Value::One(Val::Known(self.name.display().to_string())),
            "@" | "*" => Value::Many(given?.clone()),
            "#" => Value::One(Val::Known(given?.len().to_string())),
            // A number that nobody goes by; as a name it is one that no configuration takes.
            "$" => Value::One(Val::of("$$")),
            "?" => Value::One(ITSELF),
            _ => match name.parse::<usize>() {
                Ok(number) => {
                    let val = given?.get(number.wrapping_sub(1)).cloned();
                    Value::One(val.unwrap_or_else(|| Val::of("")))
                }
                Err(_) => self.variables.get(name)?.clone(),
            },
        })
    }

    fn changed(&mut self, name: &str, change: &Change) -> Value {
        let Some(value) = self.variable(name) else { return Value::One(UNKNOWN) };
        let text = match &value {
            Value::One(val) => val.known(),
            Value::Many(_) => None,
        };
        let found = match (change, text) {
            (Change::Elements, _) => return value,
            (Change::None, _) => match value {
                // The first one.
                Value::Many(all) if !matches!(name, "@" | "*") => all.into_iter().next(),
                value => return value,
            },
            (_, None) => None,
            (Change::Required, Some(text)) => Some(text).filter(|t| !t.is_empty()).map(Val::of),
            (Change::Text(change), Some(text)) => change(text).map(Val::Known),
            (Change::Default(also_empty, word), Some(""))
                if *also_empty || !self.is_given(name) =>
            {
                Some(self.one(word))
            }
            (Change::Default(..), Some(text)) => Some(Val::of(text)),
        };
        Value::One(found.unwrap_or(UNKNOWN))
    }

    /// Is it a number of a word that was given?
    fn is_given(&self, name: &str) -> bool {
        let number = name.parse().unwrap_or(0);
        number > 0 && self.given.as_ref().is_some_and(|given| number <= given.len())
    }

    /// What commands print.
    fn output(&mut self, list: &List) -> Val {
        let is_itself = self.asks_itself(list);
        let printed = self.printed(list);
        self.inside(|walker| walker.list(list));
        printed.unwrap_or(Val::Unknown { itself: is_itself })
    }

    /// `dirname "$0"`, `basename "$0"` and `echo "$0"`
    fn printed(&mut self, list: &List) -> Option<Val> {
        let [chain] = list.0.as_slice() else { return None };
        let [pipeline] = chain.parts.as_slice() else { return None };
        let Kind::Simple(simple) = &pipeline.only()?.kind else { return None };
        let [program, word] = simple.words.as_slice() else { return None };
        let path = self.quietly(|walker| walker.one(word));
        let path = path.known()?;
        match program.bare()? {
            "dirname" => folder(path).filter(|folder| !folder.is_empty()).map(Val::Known),
            "basename" => Some(Val::of(base(path))),
            "echo" => Some(Val::of(path)),
            _ => None,
        }
    }
}

/// What makes a pattern of a word.
const GLOB: [char; 4] = ['*', '?', '{', '['];
