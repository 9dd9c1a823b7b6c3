//! What lines of routes and rules have in common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::diagnostic::{Severity, Span};
use super::super::lex::{Statement, Word};
use super::super::route::Net;
use super::{Reader, names};
use crate::core::spec::Family;

/// keepalived's least round trip time, in milliseconds.
const TIME_MIN: u32 = 200;

/// The words of a line that are still to be read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'s> {
    words: &'s [Word],
    place: usize,
}

impl<'s> Cursor<'s> {
    pub(super) fn new(statement: &'s Statement) -> Self {
        Self { words: &statement.words, place: 0 }
    }

    pub(super) fn next(&mut self) -> Option<&'s Word> {
        let word = self.words.get(self.place)?;
        self.place += 1;
        Some(word)
    }

    pub(super) fn peek(&self) -> Option<&'s str> {
        self.words.get(self.place).map(|word| word.text.as_str())
    }

    /// The next word, if it is this one.
    pub(super) fn skip(&mut self, text: &str) -> bool {
        let found = self.peek() == Some(text);
        self.place += usize::from(found);
        found
    }
}

/// The line does not hold, and that has been said.
pub(super) struct Dropped;

pub(super) type Outcome = Result<(), Dropped>;

impl Reader {
    /// Both in one line contradict each other.
    pub(super) fn either(
        &mut self,
        span: Span,
        is_static: bool,
        no_track: bool,
        group: &mut Option<String>,
        what: &str,
    ) {
        if is_static && no_track && group.take().is_some() {
            let message =
                format!("Static {what} has both track_group and no_track set - not tracking");
            self.say(Severity::Warning, span, message);
        }
    }

    pub(super) fn track_group(
        &mut self,
        words: &mut Cursor<'_>,
        word: &Word,
        group: &mut Option<String>,
    ) -> Outcome {
        let value = self.parameter(words, word)?;
        if group.is_some() {
            self.fault(word.span, format!("track_group {} is a duplicate", value.text));
        } else {
            *group = Some(value.text.clone());
        }
        Ok(())
    }

    /// The value of a keyword. keepalived ends at once when it is missing.
    pub(super) fn parameter<'s>(
        &mut self,
        words: &mut Cursor<'s>,
        keyword: &Word,
    ) -> Result<&'s Word, Dropped> {
        words.next().ok_or_else(|| {
            let first = words.words.first().map_or("", |word| word.text.as_str());
            let message = format!(
                "Configuration line starting `{first}` is missing a parameter after keyword `{}` \
                 at word position {}",
                keyword.text,
                words.words.len() + 1
            );
            self.error(keyword.span, message);
            Dropped
        })
    }

    /// Says what is wrong and that the line is left out.
    pub(super) fn dropped(&mut self, word: &Word, message: String) -> Outcome {
        self.fault(word.span, message);
        Err(Dropped)
    }

    pub(super) fn unsupported(&mut self, word: &Word, what: &str) -> Outcome {
        let message =
            format!("not supported yet: {what}; glha does not start rather than ignore it");
        self.error(word.span, message);
        Err(Dropped)
    }

    /// An address with a prefix; the inner is none for `default`, `any` and `all`.
    pub(super) fn net(&mut self, word: &Word) -> Option<Option<Net>> {
        if matches!(word.text.as_str(), "default" | "any" | "all") {
            return Some(None);
        }
        self.bare_address(word).map(|address| Some((address.ip, address.prefix_len)))
    }

    /// An address without a prefix.
    pub(super) fn plain_ip(&mut self, word: &Word, what: &str) -> Result<IpAddr, Dropped> {
        word.text.parse().map_err(|_| {
            let message = format!(
                "VRRP parsed invalid IP {0}. skipping IP...; invalid {what} address {0}",
                word.text
            );
            self.fault(word.span, message);
            Dropped
        })
    }

    /// Set on another interface or on none it would lead elsewhere.
    pub(super) fn device(&mut self, word: &Word) -> Result<String, Dropped> {
        let name = self.interface_name(word, Severity::Error);
        name.map(|at| at.value).ok_or(Dropped)
    }

    /// A differentiated services field, by name or as a number.
    pub(super) fn field(&mut self, word: &Word) -> Result<u8, Dropped> {
        let found = names::find(&self.names.fields, &word.text, 255);
        found.and_then(|number| u8::try_from(number).ok()).ok_or_else(|| {
            self.fault(word.span, format!("TOS value {} is invalid", word.text));
            Dropped
        })
    }

    /// `SOURCE/DESTINATION` or `DESTINATION`.
    pub(super) fn realms(&self, text: &str) -> Option<u32> {
        let one = |text: &str| names::find(&self.names.realms, text, 0xffff);
        match text.split_once('/') {
            Some((source, destination)) => Some(one(source)? << 16 | one(destination)?),
            None => one(text),
        }
    }

    pub(super) fn bounded(
        &mut self,
        word: &Word,
        max: u32,
        what: &str,
        of: &str,
    ) -> Result<u32, Dropped> {
        match super::value::number(&word.text, &(0..=i64::from(max))) {
            Ok(number) => Ok(u32::try_from(number).unwrap_or(max)),
            Err(why) => {
                self.fault(word.span, format!("{why}; Invalid {what} {} {of}", word.text));
                Err(Dropped)
            }
        }
    }

    /// A time: `2s`, `0.25s`, `250ms`, or a number in the kernel's units, of which there are `units`
    /// in a millisecond. keepalived knows none below 200 ms.
    pub(super) fn round_trip(
        &mut self,
        word: &Word,
        what: &str,
        units: u32,
    ) -> Result<u32, Dropped> {
        let text = word.text.as_str();
        let (digits, micros) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(digits), _) => (digits, Some(1_000)),
            (None, Some(digits)) => (digits, Some(1_000_000)),
            (None, None) => (text, None),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = whole.parse::<u64>().ok().filter(|_| !whole.starts_with('+'));
        let fraction =
            decimals.bytes().take(6).try_fold((0u64, 1_000_000u64), |(sum, weight), digit| {
                let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
                Some((sum + digit * weight / 10, weight / 10))
            });
        let (Some(whole), Some((fraction, _))) = (whole, fraction) else {
            let message = format!("invalid number '{text}'; Invalid {what} {text} for route");
            self.fault(word.span, message);
            return Err(Dropped);
        };
        let units = u64::from(units);
        let value = match micros {
            // The fraction is in millionths.
            Some(micros) => (whole.saturating_mul(1_000_000) + fraction)
                .saturating_mul(micros)
                .saturating_mul(units)
                .div_ceil(1_000_000_000),
            None if !decimals.is_empty() => {
                self.fault(word.span, format!("number '{text}' has too many decimal places"));
                0
            }
            None => whole,
        };
        let least = u64::from(TIME_MIN) * units;
        if value < least {
            let message = format!(
                "{what} value {text} below minimum {TIME_MIN}ms, resetting, as keepalived does"
            );
            self.say(Severity::Warning, word.span, message);
        }
        Ok(u32::try_from(value.max(least)).unwrap_or(u32::MAX))
    }
}

/// All addresses of a family.
pub(super) const fn everything(family: Family) -> Net {
    match family {
        Family::V4 => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        Family::V6 => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}
