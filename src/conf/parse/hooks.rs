//! `hooks NAME { }`: glha's own block. A line that does not hold is an error here: keepalived
//! never reads it, and a default in its place would not be what was meant.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::Script;
use super::super::diagnostic::Span;
use super::super::lex::{Statement, Word};
use super::{At, Blame, Keyword, Raw, Reader, line, value};
use crate::core::spec::{Preempt, Weight};

/// A `hooks` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HooksRaw {
    /// The instance it names.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// `dir`.
    pub dir: Option<String>,
    /// `mount`.
    pub mount: Option<MountRaw>,
    /// `check`.
    pub check: Option<CheckRaw>,
    /// `notify`.
    pub notify: Option<NotifyRaw>,
    /// `env`.
    pub env: Vec<(String, String)>,
    /// `handover_wait`.
    pub handover_wait: Option<At<Duration>>,
    /// `preempt`.
    pub preempt: Option<At<Preempt>>,
    /// `peers glha` (true) or `mixed`.
    pub peers_glha: Option<At<bool>>,
    /// The number behind `peers glha`: of all nodes, this one included.
    pub nodes: Option<At<usize>>,
    /// `release_failure reboot`.
    pub reboot: Option<At<bool>>,
    /// `legacy_mount accept`.
    pub accept_legacy_mount: bool,
}

/// `mount`.
#[derive(Clone, Debug, PartialEq)]
pub struct MountRaw {
    /// Another path than `DIR/mount.sh`.
    pub path: Option<String>,
    /// Deadline of `acquire` and `release`.
    pub timeout: Duration,
    /// Period of `probe`.
    pub probe: Option<Duration>,
    /// Where it stands.
    pub span: Span,
}

/// `check`.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckRaw {
    /// Another path than `DIR/check.sh`.
    pub path: Option<String>,
    /// From start to start.
    pub interval: Duration,
    /// After this a run has failed.
    pub timeout: Duration,
    /// Failures that count.
    pub fall: u32,
    /// Successes that count.
    pub rise: u32,
    /// For so long after an acquire failures do not count.
    pub grace: Duration,
    /// What its result does to the priority.
    pub weight: Weight,
    /// Where it stands.
    pub span: Span,
}

/// `notify`.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyRaw {
    /// Another path than `DIR/notify.sh`.
    pub path: Option<String>,
    /// Its deadline.
    pub timeout: Duration,
    /// Where it stands.
    pub span: Span,
}

/// Where the hooks lie unless `dir` says otherwise.
pub const DIR: &str = "/etc/glha/hooks";

impl HooksRaw {
    /// The command of a hook: its own path, or `file` in the folder of the hooks.
    pub fn script(&self, path: Option<&str>, file: &str, span: Span) -> Script {
        let dir = self.dir.as_deref().unwrap_or(DIR).trim_end_matches('/');
        let program = match path {
            Some(path) if path.starts_with('/') => path.to_owned(),
            Some(path) => format!("{dir}/{path}"),
            None => format!("{dir}/{file}"),
        };
        Script::new(vec![program], None, span)
    }
}

pub(super) const KEYWORDS: &[Keyword<HooksRaw>] = &[
    line("dir", dir),
    line("mount", mount),
    line("check", check),
    line("notify", notify),
    line("env", env),
    line("handover_wait", |reader, statement, hooks| {
        let Some(word) = reader.value(statement) else { return };
        let value = reader.seconds(word, 0..=HOOK_SECONDS_MAX);
        hooks.handover_wait = Some(At { value, span: word.span });
    }),
    line("preempt", |reader, statement, hooks| {
        let words = [
            ("weakened", Preempt::Weakened),
            ("never", Preempt::Never),
            ("always", Preempt::Always),
        ];
        hooks.preempt = reader.choice(statement, &words);
    }),
    line("peers", peers),
    line("release_failure", |reader, statement, hooks| {
        hooks.reboot = reader.choice(statement, &[("stay", false), ("reboot", true)]);
    }),
    line("legacy_mount", |reader, statement, hooks| {
        hooks.accept_legacy_mount = reader.choice(statement, &[("accept", ())]).is_some();
    }),
];

/// A day: longer times of a hook are a mistake.
const HOOK_SECONDS_MAX: u64 = 86_400;

/// As many nodes as VRRP has priorities for.
const NODES_MAX: i64 = 255;
/// More results in a row than this are a mistake.
const COUNT_MAX: i64 = 1000;

pub(super) fn hooks(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(keyword) = statement.words.first() else { return };
    let (Some(name), None) = (statement.words.get(1), statement.words.get(2)) else {
        let message = "hooks must have one name, that of a vrrp_instance: hooks VI_1 { ... }";
        reader.error(keyword.span, message);
        return;
    };
    if raw.hooks.iter().any(|other| other.name == name.text) {
        reader.error(name.span, format!("hooks {} already defined", name.text));
        return;
    }
    let mut hooks = HooksRaw { name: name.text.clone(), span: name.span, ..Default::default() };
    reader.read_block(statement, KEYWORDS, Blame::Glha, &mut hooks);
    raw.hooks.push(hooks);
}

fn dir(reader: &mut Reader, statement: &Statement, hooks: &mut HooksRaw) {
    let Some(word) = reader.value(statement) else { return };
    if word.text.starts_with('/') {
        hooks.dir = Some(word.text.clone());
    } else {
        reader.error(word.span, format!("dir '{}' must be an absolute path", word.text));
    }
}

/// The words after `mount`, `check` or `notify`: a path, then options with a value each.
struct Options<'s> {
    path: Option<String>,
    pairs: Vec<(&'s Word, &'s Word)>,
    span: Span,
}

fn mount(reader: &mut Reader, statement: &Statement, hooks: &mut HooksRaw) {
    let Some(options) = reader.options(statement, &["timeout", "probe"], hooks.mount.is_some())
    else {
        return;
    };
    let timeout = Duration::from_secs(60);
    let mut mount = MountRaw { path: options.path, timeout, probe: None, span: options.span };
    for (option, word) in options.pairs {
        let time = reader.seconds(word, 1..=HOOK_SECONDS_MAX);
        if option.text == "timeout" {
            mount.timeout = time;
        } else {
            mount.probe = Some(time);
        }
    }
    hooks.mount = Some(mount);
}

fn check(reader: &mut Reader, statement: &Statement, hooks: &mut HooksRaw) {
    let known = ["interval", "timeout", "fall", "rise", "grace", "weight"];
    let Some(options) = reader.options(statement, &known, hooks.check.is_some()) else { return };
    let mut check = CheckRaw {
        path: options.path,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        fall: 2,
        rise: 2,
        grace: Duration::from_secs(60),
        weight: Weight { value: 0, reverse: false },
        span: options.span,
    };
    for (option, word) in options.pairs {
        match option.text.as_str() {
            "interval" => check.interval = reader.seconds(word, 1..=HOOK_SECONDS_MAX),
            "timeout" => check.timeout = reader.seconds(word, 1..=HOOK_SECONDS_MAX),
            "grace" => check.grace = reader.seconds(word, 0..=HOOK_SECONDS_MAX),
            "fall" => check.fall = reader.own_number(word, 1..=COUNT_MAX).unwrap_or(1),
            "rise" => check.rise = reader.own_number(word, 1..=COUNT_MAX).unwrap_or(1),
            _ => check.weight.value = reader.own_number(word, -253..=253).unwrap_or(0),
        }
    }
    hooks.check = Some(check);
}

fn notify(reader: &mut Reader, statement: &Statement, hooks: &mut HooksRaw) {
    let Some(options) = reader.options(statement, &["timeout"], hooks.notify.is_some()) else {
        return;
    };
    let timeout = Duration::from_secs(30);
    let mut notify = NotifyRaw { path: options.path, timeout, span: options.span };
    for (_, word) in options.pairs {
        notify.timeout = reader.seconds(word, 1..=HOOK_SECONDS_MAX);
    }
    hooks.notify = Some(notify);
}

/// `peers mixed`, or `peers glha [NODES]`.
fn peers(reader: &mut Reader, statement: &Statement, hooks: &mut HooksRaw) {
    let [keyword, word, number] = statement.words.as_slice() else {
        hooks.peers_glha = reader.choice(statement, &[("mixed", false), ("glha", true)]);
        return;
    };
    if word.text != "glha" {
        reader.error(number.span, format!("{} {} has no number", keyword.text, word.text));
        return;
    }
    hooks.peers_glha = Some(At { value: true, span: word.span });
    let value = reader.own_number(number, 2..=NODES_MAX);
    hooks.nodes = value.map(|value| At { value, span: number.span });
}

/// `env KEY VALUE`, the value being the rest of the line; quotes around all of it fall away.
fn env(reader: &mut Reader, statement: &Statement, hooks: &mut HooksRaw) {
    let [keyword, key, rest @ ..] = statement.words.as_slice() else {
        let Some(keyword) = statement.words.first() else { return };
        reader.missing_own(keyword, "env KEY VALUE");
        return;
    };
    let value = match rest {
        [] => {
            reader.missing_own(keyword, "env KEY VALUE (\"\" for an empty one)");
            return;
        }
        [value] => value.text.clone(),
        _ => match statement.rest.trim().strip_prefix(key.text.as_str()) {
            Some(value) => value.trim().to_owned(),
            None => rest.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
        },
    };
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let name = key.text.as_str();
    let valid = name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    if !valid {
        let message = format!("env: '{name}' is no name of a variable (letters, digits, _)");
        reader.error(key.span, message);
    } else if name.starts_with("GLHA_") {
        reader.error(key.span, format!("env: '{name}': the names GLHA_* are set by glha"));
    } else {
        hooks.env.retain(|(other, _)| other != name);
        hooks.env.push((name.to_owned(), value));
    }
}

impl Reader {
    fn missing_own(&mut self, keyword: &Word, form: &str) {
        self.error(keyword.span, format!("'{}' lacks a value: {form}", keyword.text));
    }

    fn options<'s>(
        &mut self,
        statement: &'s Statement,
        known: &[&str],
        again: bool,
    ) -> Option<Options<'s>> {
        let (keyword, mut words) = statement.words.split_first()?;
        if again {
            self.error(keyword.span, format!("'{}' already specified", keyword.text));
            return None;
        }
        let mut path = None;
        if let Some((word, rest)) = words.split_first()
            && (word.text.contains('/') || word.text.ends_with(".sh"))
        {
            path = Some(word.text.clone());
            words = rest;
        }
        let mut pairs = Vec::new();
        for pair in words.chunks(2) {
            match pair {
                [option, value] if known.contains(&option.text.as_str()) => {
                    pairs.push((option, value));
                }
                [option] if known.contains(&option.text.as_str()) => {
                    self.missing_own(option, &format!("{} N", option.text));
                }
                [option, ..] => {
                    let message = format!(
                        "'{}' has no option '{}'; it takes a path, then {}",
                        keyword.text,
                        option.text,
                        known.join(", ")
                    );
                    self.error(option.span, message);
                    if let Some(last) = self.diagnostics.last_mut() {
                        let near = super::suggest::nearest(&option.text, known.iter().copied());
                        last.suggestion = near.map(str::to_owned);
                    }
                    break;
                }
                [] => {}
            }
        }
        Some(Options { path, pairs, span: keyword.span })
    }

    /// A number of glha's own blocks, where a wrong one is no fault that could be lived with.
    pub(super) fn own_number<T: TryFrom<i64>>(
        &mut self,
        word: &Word,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        match value::number(&word.text, &range) {
            Ok(number) => T::try_from(number).ok(),
            Err(what) => {
                self.error(word.span, what);
                None
            }
        }
    }

    /// A time of a hook; one second, with an error, if it does not hold.
    fn seconds(&mut self, word: &Word, range: RangeInclusive<u64>) -> Duration {
        let micros = range.start() * 1_000_000..=range.end() * 1_000_000;
        match value::timer(&word.text, &micros) {
            Ok(time) => time,
            Err(what) => {
                self.error(word.span, format!("{what} (seconds)"));
                Duration::from_secs(1)
            }
        }
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        statement: &Statement,
        choices: &[(&'static str, T)],
    ) -> Option<At<T>> {
        let keyword = statement.words.first()?;
        let word = self.value(statement)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.text) {
            return Some(At { value: *value, span: word.span });
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message =
            format!("'{}' is not {}, but '{}'", keyword.text, names.join(" or "), word.text);
        self.error(word.span, message);
        None
    }
}
