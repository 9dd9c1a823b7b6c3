//! What words stand for, as far as the script itself says it.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Part, Word};

/// A longer value is not followed.
const LENGTH_MAX: usize = 512;
/// So many variables are followed.
const VARIABLES_MAX: usize = 1000;

/// A longer test is not answered.
const TEST_WORDS_MAX: usize = 60;

/// What a word stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Val {
    /// This text.
    Known(String),
    /// The script does not say it.
    Unknown {
        /// It tells only of the thing itself that is done or left alone: the status of a mount, the
        /// number of a process. So it decides nothing else.
        itself: bool,
    },
}

/// What the script does not say.
pub const UNKNOWN: Val = Val::Unknown { itself: false };
/// What tells only of the thing itself.
pub const ITSELF: Val = Val::Unknown { itself: true };

impl Val {
    /// This text.
    pub fn of(text: &str) -> Self {
        Self::Known(text.to_owned())
    }

    /// Its text.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Unknown { .. } => None,
        }
    }

    pub(super) const fn is_itself(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Unknown { itself: true })
    }

    /// Both, one behind the other.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Known(mut text), Self::Known(more)) if text.len() + more.len() <= LENGTH_MAX => {
                text.push_str(&more);
                Self::Known(text)
            }
            (a, b) => Self::Unknown { itself: a.is_itself() && b.is_itself() },
        }
    }
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    One(Val),
    Many(Vec<Val>),
}

impl Value {
    /// Its only one.
    pub(super) fn one(&self) -> Option<&Val> {
        match self {
            Self::One(val) => Some(val),
            Self::Many(vals) => vals.first().filter(|_| vals.len() == 1),
        }
    }
}

/// The variables of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variables {
    /// What is not in it is unknown.
    all: BTreeMap<String, Value>,
}

impl Variables {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.all.get(name)
    }

    pub(super) fn set(&mut self, name: &str, val: Val) {
        self.restore(name, Some(Value::One(val)));
    }

    /// Has a variable as it was before.
    pub(super) fn restore(&mut self, name: &str, value: Option<Value>) {
        match value {
            Some(value) if self.all.len() < VARIABLES_MAX || self.all.contains_key(name) => {
                self.all.insert(name.to_owned(), value);
            }
            Some(_) => {}
            None => {
                self.all.remove(name);
            }
        }
    }

    /// Something may have changed any of them.
    pub(super) fn lose(&mut self) {
        self.all.clear();
    }

    /// What is known whichever of the two it is.
    pub(super) fn join(mut self, other: &Self) -> Self {
        // What is counted up or down is nothing but a number.
        let is_itself = |value: Option<&Value>| match value {
            Some(Value::One(Val::Known(text))) => text.parse::<i64>().is_ok(),
            Some(Value::One(val)) => val.is_itself(),
            _ => false,
        };
        let names: BTreeSet<String> = self.all.keys().chain(other.all.keys()).cloned().collect();
        for name in names {
            let (one, another) = (self.all.get(&name), other.all.get(&name));
            if one != another {
                let itself = is_itself(one) && is_itself(another);
                self.all.insert(name, Value::One(Val::Unknown { itself }));
            }
        }
        self
    }
}

/// Does a text match a pattern of `case`? None if that cannot be said.
pub(super) fn matches(
    text: &str,
    pattern: &Word,
    value: &dyn Fn(&str) -> Option<String>,
) -> Option<bool> {
    // Each character, and whether it is a sign.
    let mut signs: Vec<(char, bool)> = Vec::new();
    for part in &pattern.parts {
        match part {
            Part::Text { text, is_quoted: false } if text.contains('[') => return None,
            Part::Text { text, is_quoted } => {
                signs.extend(text.chars().map(|c| (c, !is_quoted && matches!(c, '*' | '?'))));
            }
            Part::Variable { name, .. } => signs.extend(value(name)?.chars().map(|c| (c, false))),
            _ => return None,
        }
    }
    let text: Vec<char> = text.chars().collect();
    // The last `*`, and how far it reaches.
    let (mut at, mut sign, mut many) = (0, 0, None);
    while let Some(&c) = text.get(at) {
        match signs.get(sign) {
            Some(('*', true)) => {
                many = Some((sign, at));
                sign += 1;
            }
            Some(&(wanted, is_sign)) if is_sign || wanted == c => (at, sign) = (at + 1, sign + 1),
            _ => {
                let Some((star, reach)) = many.as_mut() else { return Some(false) };
                *reach += 1;
                (at, sign) = (*reach, *star + 1);
            }
        }
    }
    signs.get(sign..).map(|rest| rest.iter().all(|sign| *sign == ('*', true)))
}

/// Is a `[` true? Operators that ask for files are not answered.
pub(super) fn test(words: &[Val]) -> Option<bool> {
    if words.len() > TEST_WORDS_MAX {
        return None;
    }
    let is_sign = |at: usize, sign: &str| words.get(at).and_then(Val::known) == Some(sign);
    // Or before and, as the looser one; what decides it, whatever the other side is.
    for (sign, option, decides) in [("|", "-o", true), ("&", "-a", false)] {
        for at in 1..words.len() {
            let is_doubled = is_sign(at, sign) && is_sign(at + 1, sign);
            let length = if is_doubled { 2 } else { usize::from(is_sign(at, option)) };
            if length == 0 {
                continue;
            }
            let sides = [test(words.get(..at)?), test(words.get(at + length..)?)];
            return if sides.contains(&Some(decides)) {
                Some(decides)
            } else {
                sides.iter().all(Option::is_some).then_some(!decides)
            };
        }
    }
    let known: Vec<Option<&str>> = words.iter().map(Val::known).collect();
    match known.as_slice() {
        [Some("!"), ..] => test(words.get(1..)?).map(|truth| !truth),
        [Some("-z"), Some(text)] => Some(text.is_empty()),
        [Some("-n"), Some(text)] | [Some(text)] => Some(!text.is_empty()),
        [Some(a), Some("=" | "=="), Some(b)] => Some(a == b),
        [Some(a), Some("!="), Some(b)] => Some(a != b),
        [Some(a), Some(sign), Some(b)] => {
            let order = a.parse::<i64>().ok()?.cmp(&b.parse().ok()?);
            match *sign {
                "-eq" => Some(order.is_eq()),
                "-ne" => Some(order.is_ne()),
                "-lt" => Some(order.is_lt()),
                "-le" => Some(order.is_le()),
                "-gt" => Some(order.is_gt()),
                "-ge" => Some(order.is_ge()),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vals(text: &str) -> Vec<Val> {
        let val = |word: &str| match word {
            "UNKNOWN" => Val::Unknown { itself: false },
            "EMPTY" => Val::Known(String::new()),
            word => Val::Known(word.to_owned()),
        };
        text.split(' ').map(val).collect()
    }

    #[test]
    fn tests_are_answered_where_the_script_answers_them() {
        for (text, truth) in [
            ("a = a", Some(true)),
            ("a == b", Some(false)),
            ("a != b", Some(true)),
            ("! a = a", Some(false)),
            ("-z EMPTY", Some(true)),
            ("-n EMPTY", Some(false)),
            ("2 -lt 10", Some(true)),
            ("a = UNKNOWN", None),
            ("-f /etc/x", None),
            ("a = b -o a = a", Some(true)),
            ("a = a -a a = b", Some(false)),
            ("a = b | | UNKNOWN = b", None),
            ("a = b & & UNKNOWN = b", Some(false)),
            ("a =~ b", None),
        ] {
            assert_eq!(test(&vals(text)), truth, "{text}");
        }
    }

    #[test]
    fn patterns_match_as_in_a_case() {
        let word = |text: &str| Word {
            parts: vec![Part::Text { text: text.into(), is_quoted: false }],
            ..Word::default()
        };
        let matched = |text, pattern: &str| matches(text, &word(pattern), &|_| None);
        assert_eq!(matched("MASTER", "MASTER"), Some(true));
        assert_eq!(matched("MASTER", "M*R"), Some(true));
        assert_eq!(matched("MASTER", "*"), Some(true));
        assert_eq!(matched("MASTER", "M?S*"), Some(true));
        assert_eq!(matched("MASTER", "BACKUP"), Some(false));
        assert_eq!(matched("", ""), Some(true));
        assert_eq!(matched("MASTER", "[M]*"), None);
        let quoted = Word {
            parts: vec![Part::Text { text: "*".into(), is_quoted: true }],
            ..Word::default()
        };
        assert_eq!(matches("MASTER", &quoted, &|_| None), Some(false));
    }
}
