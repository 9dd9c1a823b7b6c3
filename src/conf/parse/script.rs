//! `vrrp_script` blocks, and the commands of all keywords that run something.

use std::time::Duration;

use super::super::command::{readable, script_words};
use super::super::diagnostic::{Severity, Span};
use super::super::lex::{Statement, Word};
use super::super::{Script, Tracked, User};
use super::{Blame, Keyword, Raw, Reader, flag, line, user, value};
use crate::core::spec::Weight;

/// A `vrrp_script` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScriptRaw {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// `script`.
    pub script: Option<Script>,
    /// `interval`.
    pub interval: Option<Duration>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `weight`.
    pub weight: Option<Weight>,
    /// `rise`.
    pub rise: Option<u32>,
    /// `fall`.
    pub fall: Option<u32>,
    /// `init_fail`.
    pub init_fail: bool,
    /// `user`.
    pub user: Option<User>,
}

pub(super) const KEYWORDS: &[Keyword<ScriptRaw>] = &[
    line("script", |reader, statement, script| {
        script.script = reader.command(statement).or(script.script.take());
    }),
    line("interval", interval),
    line("timeout", timeout),
    line("weight", weight),
    line("rise", |reader, statement, script| script.rise = reader.count(statement)),
    line("fall", |reader, statement, script| script.fall = reader.count(statement)),
    user("user", |script| &mut script.user),
    flag("init_fail", |script| &mut script.init_fail),
];

pub(super) fn vrrp_script(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(name) = reader.block_name(statement) else { return };
    let mut script = ScriptRaw { name: name.text.clone(), span: name.span, ..Default::default() };
    name.text.clone_into(&mut reader.scope);
    reader.read_block(statement, KEYWORDS, Blame::Keepalived, &mut script);
    if raw.scripts.iter().any(|other| other.name == script.name) {
        let message = format!(
            "vrrp_script {} is already defined: the first definition is used, as in keepalived",
            script.name
        );
        reader.say(Severity::Warning, script.span, message);
        return;
    }
    if script.script.is_none() {
        let message = format!("No script set for vrrp_script {} - removing", script.name);
        reader.fault(script.span, message);
    }
    reader.define(Tracked::Script, &script.name);
    raw.scripts.push(script);
}

/// The largest weight of scripts and interfaces.
pub(super) const SCRIPT_WEIGHT_MAX: i64 = 253;

/// keepalived's longest interval or timeout of a script, in seconds.
const SCRIPT_SECONDS_MAX: u64 = 4294;

fn interval(reader: &mut Reader, statement: &Statement, script: &mut ScriptRaw) {
    if let Some(time) = script_time(reader, statement) {
        let whole = time.subsec_nanos() == 0;
        if let (false, Some(word)) = (whole, statement.words.get(1)) {
            let message = "keepalived before 2.3.2 takes whole seconds only and would use 1";
            reader.say(Severity::Note, word.span, message);
        }
        script.interval = Some(time);
    }
}

fn timeout(reader: &mut Reader, statement: &Statement, script: &mut ScriptRaw) {
    script.timeout = script_time(reader, statement).or(script.timeout);
}

fn script_time(reader: &mut Reader, statement: &Statement) -> Option<Duration> {
    let keyword = statement.words.first()?;
    let word = reader.value(statement)?;
    let range = 0..=SCRIPT_SECONDS_MAX * 1_000_000;
    let time = match value::timer(&word.text, &range) {
        Ok(time) => time,
        Err(what) => {
            // keepalived names what is no number, and uses the number that it begins with.
            let used = u64::try_from(value::leading(&word.text)).ok();
            let used =
                used.filter(|used| what.starts_with("invalid") && *used <= SCRIPT_SECONDS_MAX);
            let otherwise = match used {
                Some(used) => format!("'{}' is {}", keyword.text, used.max(1)),
                None => format!("'{}' is ignored", keyword.text),
            };
            reader.fault(word.span, format!("{what}; {otherwise}"));
            return used.map(|used| Duration::from_secs(used.max(1)));
        }
    };
    if !time.is_zero() {
        return Some(time);
    }
    let message = format!(
        "({}): vrrp script {} must be greater than 0, setting to 1",
        reader.scope, keyword.text
    );
    reader.fault(word.span, message);
    Some(Duration::from_secs(1))
}

fn weight(reader: &mut Reader, statement: &Statement, script: &mut ScriptRaw) {
    let Some(keyword) = statement.words.first() else { return };
    if statement.words.len() < 2 {
        reader.missing(keyword, 2);
        return;
    }
    let words = statement.words.get(1..).unwrap_or_default();
    let most = SCRIPT_WEIGHT_MAX;
    let beyond = words.first().map(|word| value::leading(&word.text));
    script.weight = match beyond.filter(|number| number.abs() > most) {
        // keepalived says so and uses it all the same; more than this makes no difference.
        Some(number) => {
            let message =
                format!("vrrp_script {} weight {number} must be in [-{most}, {most}]", script.name);
            reader.fault(keyword.span, message);
            let value = number.clamp(-most, most) as i16;
            Some(Weight { value, reverse: words.iter().any(|word| word.text == "reverse") })
        }
        None => reader.own_weight(words, "vrrp_script", most).or(script.weight),
    };
}

impl Reader {
    /// `N [reverse]` where the weight is defined, from `-max` to `max`. Only those that track it know
    /// `noreverse`; what stands behind has no meaning.
    pub(super) fn own_weight(&mut self, words: &[Word], what: &str, max: i64) -> Option<Weight> {
        let words = words.get(..2).unwrap_or(words);
        if let Some(word) = words.get(1).filter(|word| word.text == "noreverse") {
            let message = format!("{what} {}: unknown weight option noreverse", self.scope);
            self.fault(word.span, message);
        }
        self.weight_within(words, what, max)
    }

    /// `N [reverse|noreverse]`, the words after `weight`.
    pub(super) fn weight_within(&mut self, words: &[Word], what: &str, max: i64) -> Option<Weight> {
        let (number, options) = words.split_first()?;
        let number = self.leading_number(number, -max..=max, "the weight is ignored")?;
        let mut weight = Weight { value: i16::try_from(number).ok()?, reverse: false };
        for option in options {
            match option.text.as_str() {
                "reverse" => weight.reverse = true,
                "noreverse" => weight.reverse = false,
                other => {
                    let message = format!("{what} {}: unknown weight option {other}", self.scope);
                    self.fault(option.span, message);
                }
            }
        }
        Some(weight)
    }

    /// A number of consecutive results.
    fn count(&mut self, statement: &Statement) -> Option<u32> {
        let keyword = statement.words.first()?;
        let word = self.value(statement)?;
        let otherwise = format!("'{}' is 1", keyword.text);
        let number = self.leading_number(word, 1..=i64::from(i32::MAX), &otherwise);
        Some(number.and_then(|number| u32::try_from(number).ok()).unwrap_or(1))
    }

    /// `USER [GROUP]`.
    pub(super) fn user(&mut self, statement: &Statement) -> Option<User> {
        let keyword = statement.words.first()?;
        let Some(user) = statement.words.get(1) else {
            self.missing(keyword, 2);
            return None;
        };
        if let Some(extra) = statement.words.get(3) {
            let message =
                format!("only a user and a group may be given: '{}' is ignored", extra.text);
            self.say(Severity::Warning, extra.span, message);
        }
        Some(User {
            user: user.text.clone(),
            group: statement.words.get(2).map(|group| group.text.clone()),
            span: user.span,
        })
    }

    /// The command of a line: the first word as a shell would split it, then a user and a group.
    pub(super) fn command(&mut self, statement: &Statement) -> Option<Script> {
        let keyword = statement.words.first()?;
        if statement.words.len() < 2 {
            self.missing(keyword, 2);
            return None;
        }
        let command = match script_words(statement) {
            Ok(command) => command,
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                return None;
            }
        };
        // Only notify scripts have their user behind them; behind a check it means nothing.
        let (is_check, following) = (keyword.text == "script", command.following.first());
        if let Some(word) = following.filter(|_| is_check) {
            let message = format!(
                "'{}' and what follows is ignored, as in keepalived: arguments go inside the quotes \
                 of the command, a user into a line `user`",
                word.text
            );
            self.say(Severity::Warning, word.span, message);
        } else if let Some((word, remedy)) = command.stray_word() {
            let message = format!(
                "'{}' is no part of the command: what follows it is its user and group; {remedy}",
                word.text
            );
            self.say(Severity::Warning, word.span, message);
        }
        if let Some(word) = command.shell_word() {
            let program = command.argv.first().map_or("", String::as_str);
            let message = format!(
                "'{word}' is given to {program} as an argument, since no shell reads this line: do \
                 that inside the script, or write \"/bin/sh -c '...'\" for a check"
            );
            self.say(Severity::Note, command.span, message);
        }
        // `script "</path"` asks whether the file can be opened.
        let argv = match command.argv.as_slice() {
            [redirection, path] if redirection == "<" => readable(path),
            [word] => match word.strip_prefix('<').filter(|path| !path.is_empty()) {
                Some(path) => readable(path),
                None => command.argv,
            },
            _ => command.argv,
        };
        let mut following = command.following.into_iter().filter(|_| !is_check);
        let user = following.next().map(|user| User {
            user: user.text,
            group: following.next().map(|group| group.text),
            span: user.span,
        });
        Some(Script::new(argv, user, command.span))
    }
}
