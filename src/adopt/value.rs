//! What words stand for, as far as the script itself says it.

use std::collections::BTreeMap;

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

impl Val {
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

    pub(super) fn set(&mut self, name: &str, value: Value) {
        if self.all.len() < VARIABLES_MAX || self.all.contains_key(name) {
            self.all.insert(name.to_owned(), value);
        }
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.set(name, Value::One(Val::Unknown { itself: false }));
    }

    /// Has a variable as it was before.
    pub(super) fn restore(&mut self, name: &str, value: Option<Value>) {
        match value {
            Some(value) => self.set(name, value),
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
        let names: Vec<String> = self.all.keys().chain(other.all.keys()).cloned().collect();
        for name in names {
            if self.all.get(&name) != other.all.get(&name) {
                let is_itself = |value: Option<&Value>| match value {
                    Some(Value::One(val)) => val.is_itself(),
                    _ => false,
                };
                let itself = is_itself(self.all.get(&name)) && is_itself(other.all.get(&name));
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
    /// A character, or one of the two signs.
    enum Sign {
        Char(char),
        Any,
        Many,
    }
    let mut signs = Vec::new();
    for part in &pattern.parts {
        match part {
            Part::Text { text, is_quoted: true } => signs.extend(text.chars().map(Sign::Char)),
            Part::Text { text, is_quoted: false } => {
                for c in text.chars() {
                    signs.push(match c {
                        '*' => Sign::Many,
                        '?' => Sign::Any,
                        '[' => return None,
                        c => Sign::Char(c),
                    });
                }
            }
            Part::Variable { name, .. } => signs.extend(value(name)?.chars().map(Sign::Char)),
            _ => return None,
        }
    }
    // All the places in the pattern where one can be after so many characters.
    let step = |places: &mut Vec<bool>| {
        for at in 0..signs.len() {
            if places.get(at) == Some(&true) && matches!(signs.get(at), Some(Sign::Many)) {
                places[at + 1] = true;
            }
        }
    };
    let mut places = vec![false; signs.len() + 1];
    places[0] = true;
    step(&mut places);
    for c in text.chars() {
        let mut next = vec![false; signs.len() + 1];
        for (at, sign) in signs.iter().enumerate() {
            if !places[at] {
                continue;
            }
            match sign {
                Sign::Many => next[at] = true,
                Sign::Any => next[at + 1] = true,
                Sign::Char(wanted) if *wanted == c => next[at + 1] = true,
                Sign::Char(_) => {}
            }
        }
        step(&mut next);
        places = next;
    }
    places.last().copied()
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
            let (a, b): (i64, i64) = (a.parse().ok()?, b.parse().ok()?);
            match *sign {
                "-eq" => Some(a == b),
                "-ne" => Some(a != b),
                "-lt" => Some(a < b),
                "-le" => Some(a <= b),
                "-gt" => Some(a > b),
                "-ge" => Some(a >= b),
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
