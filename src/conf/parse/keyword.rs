//! The tables: a keyword of a block, and where its value goes.
//!
//! A plain keyword is one line that says its name, what values it takes and the setting that it is.
//! A value that does not hold is named, and what was there before stays, as with keepalived, unless
//! the line says otherwise. What differs has a function of its own.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::super::diagnostic::{Severity, Span};
use super::super::lex::Statement;
use super::super::{Script, Tracked, User};
use super::{At, Reader, TrackRaw};

/// A keyword of a block that is read into a `T`.
pub(super) struct Keyword<T> {
    pub name: &'static str,
    pub fate: Fate<T>,
}

/// What becomes of a keyword's line.
pub(super) enum Fate<T> {
    /// Read into one setting.
    Plain(Plain<T>),
    /// Read.
    Line(Read<T>),
    /// Read, with the block that must follow.
    Block(Read<T>),
    /// Read, whether a block follows or not.
    Either(Read<T>),
    /// A block of what is tracked.
    Tracks(Tracked, fn(&mut T) -> &mut Vec<TrackRaw>),
    /// Accepted; said once per kind.
    Idle(Idle),
    /// Accepted: the keyword cannot matter here.
    Silent,
}

type Read<T> = fn(&mut Reader, &Statement, &mut T);

/// What a plain keyword takes, and its setting.
pub(super) enum Plain<T> {
    /// No value.
    Flag(fn(&mut T) -> &mut bool),
    /// No value; where it stands is kept.
    Mark(fn(&mut T) -> &mut Option<Span>),
    /// On, off or nothing.
    Switch(fn(&mut T) -> &mut Option<bool>),
    /// A whole number, and whether that which a text begins with is one.
    Number(RangeInclusive<i64>, Ending, fn(&mut T) -> &mut dyn Setting<i64>),
    /// A number of rounds: zero becomes one.
    Rounds(fn(&mut T) -> &mut Option<u32>),
    /// Seconds with decimals; its range is in microseconds.
    Time(RangeInclusive<u64>, fn(&mut T) -> &mut dyn Setting<Duration>),
    /// The name of an interface.
    Interface(fn(&mut T) -> &mut Option<At<String>>),
    /// An absolute path.
    Path(fn(&mut T) -> &mut Option<PathBuf>),
    /// A user, perhaps with a group.
    User(fn(&mut T) -> &mut Option<User>),
    /// A command that is told of transitions; the first one counts.
    Notify(fn(&mut T) -> &mut Option<Box<Script>>),
}

/// What keepalived makes of a number with something behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is none.
    Strict,
    /// It is named, and the number is used.
    Loose,
    /// The same, and what is out of range becomes zero, whatever was there before.
    Reset,
}

/// What a value is stored in.
pub(super) trait Setting<V> {
    fn set(&mut self, value: V, span: Span);
}

impl<V> Setting<V> for V {
    fn set(&mut self, value: V, _: Span) {
        *self = value;
    }
}

impl<V> Setting<V> for Option<V> {
    fn set(&mut self, value: V, _: Span) {
        *self = Some(value);
    }
}

impl<V> Setting<V> for Option<At<V>> {
    fn set(&mut self, value: V, span: Span) {
        *self = Some(At { value, span });
    }
}

/// Numbers are stored in what is as wide as the range of their keyword.
macro_rules! narrow {
    ($($number:ty)*) => {$(
        impl Setting<i64> for Option<$number> {
            fn set(&mut self, value: i64, _: Span) {
                *self = value.try_into().ok();
            }
        }

        impl Setting<i64> for Option<At<$number>> {
            fn set(&mut self, value: i64, span: Span) {
                *self = At { value, span }.narrow();
            }
        }
    )*};
}

narrow!(i8 u8 i16 u32);

/// Whole seconds.
impl Setting<i64> for Option<Duration> {
    fn set(&mut self, value: i64, _: Span) {
        *self = value.try_into().ok().map(Duration::from_secs);
    }
}

/// Why a keyword has no effect; said once for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    Mail,
    ChildWait,
    Lvs,
    Checkers,
    Names,
    Scheduling,
    Buffers,
    Snmp,
    Dbus,
    Firewall,
    Files,
    Unused,
}

impl Idle {
    pub const fn text(self) -> (Severity, &'static str) {
        use Severity::{Note, Warning};
        match self {
            Self::Mail => (
                Note,
                "glha sends no mail itself: the notify hook is told these settings and can send it",
            ),
            Self::ChildWait => {
                (Note, "no effect: a stop waits for the hooks as long as their own timeouts say")
            }
            Self::Lvs => (Warning, "LVS is not glha's: run `keepalived -C` beside it for this"),
            Self::Checkers => {
                (Warning, "no effect: it belongs to keepalived's checker and BFD processes")
            }
            Self::Names => (Warning, "no effect: glha is one process and keeps its name"),
            Self::Scheduling => (Warning, "no effect: not carried out by glha"),
            Self::Buffers => (Warning, "no effect: glha sizes its socket buffers itself"),
            Self::Snmp => (Warning, "no effect: glha has no SNMP agent"),
            Self::Dbus => (Warning, "no effect: glha has no D-Bus interface"),
            Self::Firewall => (Warning, "no effect: glha uses nftables, without ipsets"),
            Self::Files => (Warning, "no effect: glha keeps its files in its own places"),
            Self::Unused => (Warning, "no effect: nothing that glha carries out depends on it"),
        }
    }
}

pub(super) const fn line<T>(name: &'static str, read: Read<T>) -> Keyword<T> {
    Keyword { name, fate: Fate::Line(read) }
}

pub(super) const fn block<T>(name: &'static str, read: Read<T>) -> Keyword<T> {
    Keyword { name, fate: Fate::Block(read) }
}

pub(super) const fn either<T>(name: &'static str, read: Read<T>) -> Keyword<T> {
    Keyword { name, fate: Fate::Either(read) }
}

pub(super) const fn idle<T>(name: &'static str, why: Idle) -> Keyword<T> {
    Keyword { name, fate: Fate::Idle(why) }
}

pub(super) const fn silent<T>(name: &'static str) -> Keyword<T> {
    Keyword { name, fate: Fate::Silent }
}

pub(super) const fn tracks<T>(
    name: &'static str,
    what: Tracked,
    to: fn(&mut T) -> &mut Vec<TrackRaw>,
) -> Keyword<T> {
    Keyword { name, fate: Fate::Tracks(what, to) }
}

const fn plain<T>(name: &'static str, plain: Plain<T>) -> Keyword<T> {
    Keyword { name, fate: Fate::Plain(plain) }
}

pub(super) const fn flag<T>(name: &'static str, to: fn(&mut T) -> &mut bool) -> Keyword<T> {
    plain(name, Plain::Flag(to))
}

pub(super) const fn mark<T>(name: &'static str, to: fn(&mut T) -> &mut Option<Span>) -> Keyword<T> {
    plain(name, Plain::Mark(to))
}

pub(super) const fn switch<T>(
    name: &'static str,
    to: fn(&mut T) -> &mut Option<bool>,
) -> Keyword<T> {
    plain(name, Plain::Switch(to))
}

pub(super) const fn number<T>(
    name: &'static str,
    range: RangeInclusive<i64>,
    to: fn(&mut T) -> &mut dyn Setting<i64>,
) -> Keyword<T> {
    plain(name, Plain::Number(range, Ending::Strict, to))
}

pub(super) const fn loose<T>(
    name: &'static str,
    range: RangeInclusive<i64>,
    to: fn(&mut T) -> &mut dyn Setting<i64>,
) -> Keyword<T> {
    plain(name, Plain::Number(range, Ending::Loose, to))
}

pub(super) const fn reset<T>(
    name: &'static str,
    range: RangeInclusive<i64>,
    to: fn(&mut T) -> &mut dyn Setting<i64>,
) -> Keyword<T> {
    plain(name, Plain::Number(range, Ending::Reset, to))
}

pub(super) const fn rounds<T>(
    name: &'static str,
    to: fn(&mut T) -> &mut Option<u32>,
) -> Keyword<T> {
    plain(name, Plain::Rounds(to))
}

pub(super) const fn time<T>(
    name: &'static str,
    range: RangeInclusive<u64>,
    to: fn(&mut T) -> &mut dyn Setting<Duration>,
) -> Keyword<T> {
    plain(name, Plain::Time(range, to))
}

pub(super) const fn interface<T>(
    name: &'static str,
    to: fn(&mut T) -> &mut Option<At<String>>,
) -> Keyword<T> {
    plain(name, Plain::Interface(to))
}

pub(super) const fn path<T>(
    name: &'static str,
    to: fn(&mut T) -> &mut Option<PathBuf>,
) -> Keyword<T> {
    plain(name, Plain::Path(to))
}

pub(super) const fn user<T>(name: &'static str, to: fn(&mut T) -> &mut Option<User>) -> Keyword<T> {
    plain(name, Plain::User(to))
}

pub(super) const fn notify<T>(
    name: &'static str,
    to: fn(&mut T) -> &mut Option<Box<Script>>,
) -> Keyword<T> {
    plain(name, Plain::Notify(to))
}

impl Reader {
    /// Reads the value of a plain keyword into its setting, which a value that does not hold leaves
    /// as it is.
    pub(super) fn plain<T>(&mut self, statement: &Statement, plain: &Plain<T>, target: &mut T) {
        match plain {
            Plain::Flag(to) => *to(target) = self.flag(statement),
            Plain::Mark(to) => {
                self.flag(statement);
                *to(target) = statement.words.first().map(|word| word.span);
            }
            Plain::Switch(to) => keep(to(target), self.switch(statement)),
            Plain::Number(range, ending, to) => {
                if let Some(At { value, span }) = self.setting(statement, range.clone(), *ending) {
                    to(target).set(value, span);
                }
            }
            Plain::Rounds(to) => keep(to(target), self.rounds(statement)),
            Plain::Time(range, to) => {
                if let Some(At { value, span }) = self.time_setting(statement, range.clone()) {
                    to(target).set(value, span);
                }
            }
            Plain::Interface(to) => {
                let word = self.value(statement);
                let name = word.and_then(|word| self.interface_name(word, Severity::Fault));
                keep(to(target), name);
            }
            Plain::Path(to) => {
                let word = self.value(statement);
                keep(to(target), word.and_then(|_| self.absolute(statement)));
            }
            Plain::User(to) => keep(to(target), self.user(statement)),
            Plain::Notify(to) => self.notify(statement, to(target)),
        }
    }
}

/// The new value, if there is one.
fn keep<V>(setting: &mut Option<V>, value: Option<V>) {
    if value.is_some() {
        *setting = value;
    }
}
