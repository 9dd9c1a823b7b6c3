//! Values of one word: numbers, times, switches.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::diagnostic::Severity;
use super::super::lex::{Statement, Word};
use super::{At, Reader};

/// Microseconds in a second: the resolution of keepalived's timers.
const MICROS: u64 = 1_000_000;

impl Reader {
    /// The word after the keyword; an error if there is none. More words have no meaning.
    pub(super) fn value<'s>(&mut self, statement: &'s Statement) -> Option<&'s Word> {
        let keyword = statement.words.first()?;
        let Some(value) = statement.words.get(1) else {
            self.missing(keyword, 2);
            return None;
        };
        if let Some(extra) = statement.words.get(2) {
            let message = format!(
                "'{}' takes one value: '{}' and what follows on the line is ignored",
                keyword.text, extra.text
            );
            self.say(Severity::Warning, extra.span, message);
        }
        Some(value)
    }

    /// keepalived ends at once when a value is missing.
    pub(super) fn missing(&mut self, keyword: &Word, position: usize) {
        let message = format!(
            "Configuration line starting `{}` is missing a parameter at word position {position}",
            keyword.text
        );
        self.error(keyword.span, message);
    }

    /// A whole number within `range`. `otherwise` says what becomes of the setting if it is not.
    pub(super) fn number(
        &mut self,
        word: &Word,
        range: RangeInclusive<i64>,
        otherwise: &str,
    ) -> Option<i64> {
        match number(&word.text, &range) {
            Ok(number) => Some(number),
            Err(what) => {
                self.fault(word.span, format!("{what}; {otherwise}"));
                None
            }
        }
    }

    /// The number after the keyword, within `range`.
    pub(super) fn setting<T: TryFrom<i64>>(
        &mut self,
        statement: &Statement,
        range: RangeInclusive<i64>,
    ) -> Option<At<T>> {
        let word = self.value(statement)?;
        let number = self.number(word, range, &ignored(statement))?;
        T::try_from(number).ok().map(|value| At { value, span: word.span })
    }

    /// A time in seconds with up to six decimals, within `range` (microseconds).
    pub(super) fn timer(
        &mut self,
        word: &Word,
        range: RangeInclusive<u64>,
        otherwise: &str,
    ) -> Option<Duration> {
        match timer(&word.text, &range) {
            Ok(span) => Some(span),
            Err(what) => {
                self.fault(word.span, format!("{what}; {otherwise}"));
                None
            }
        }
    }

    /// The time after the keyword, within `range` (seconds).
    pub(super) fn time_setting(
        &mut self,
        statement: &Statement,
        range: RangeInclusive<u64>,
    ) -> Option<At<Duration>> {
        let word = self.value(statement)?;
        let range = range.start() * MICROS..=range.end() * MICROS;
        let value = self.timer(word, range, &ignored(statement))?;
        Some(At { value, span: word.span })
    }

    /// A keyword that takes no value: it is on, whatever else stands on its line.
    pub(super) fn flag(&mut self, statement: &Statement) -> bool {
        if let [keyword, extra, ..] = statement.words.as_slice() {
            let message = format!(
                "'{}' takes no value: it is on, and '{}' is ignored",
                keyword.text, extra.text
            );
            self.say(Severity::Warning, extra.span, message);
        }
        true
    }

    /// A switch: on if it stands by itself.
    pub(super) fn switch(&mut self, statement: &Statement) -> Option<bool> {
        let keyword = statement.words.first()?;
        let Some(word) = statement.words.get(1) else { return Some(true) };
        match word.text.as_str() {
            "on" | "true" | "yes" => Some(true),
            "off" | "false" | "no" => Some(false),
            other => {
                let message = format!(
                    "Invalid value '{other}' for {} specified; on/off, true/false or yes/no, in \
                     small letters",
                    keyword.text
                );
                self.fault(word.span, message);
                None
            }
        }
    }
}

fn ignored(statement: &Statement) -> String {
    let keyword = statement.words.first().map_or("the line", |word| word.text.as_str());
    format!("'{keyword}' is ignored")
}

/// A decimal whole number; the error is keepalived's.
pub fn number(text: &str, range: &RangeInclusive<i64>) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("invalid number '{text}'"));
    }
    if text.starts_with('-') && *range.start() >= 0 {
        return Err(format!("negative number '{text}'"));
    }
    // Too many digits for the type are out of every range, too.
    match text.parse::<i64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("number '{text}' outside range [{}, {}]", range.start(), range.end())),
    }
}

/// Seconds with decimals; the error is keepalived's. More than six decimals are cut.
pub fn timer(text: &str, range: &RangeInclusive<u64>) -> Result<Duration, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + decimals.len() == 0 || !digits(whole) || !digits(decimals) {
        return Err(format!("invalid number '{text}'"));
    }
    if text.starts_with('-') {
        return Err(format!("negative number '{text}'"));
    }
    let fraction: String = decimals.chars().chain("000000".chars()).take(6).collect();
    let micros = match (whole, fraction.parse::<u64>()) {
        ("", Ok(micros)) => Some(micros),
        (whole, Ok(micros)) => whole
            .parse::<u64>()
            .ok()
            .and_then(|seconds| seconds.checked_mul(MICROS)?.checked_add(micros)),
        _ => None,
    };
    match micros {
        Some(micros) if range.contains(&micros) => Ok(Duration::from_micros(micros)),
        _ => {
            let show = |micros: u64| format!("{}.{:06}", micros / MICROS, micros % MICROS);
            let (from, to) = (show(*range.start()), show(*range.end()));
            Err(format!("number '{text}' outside range [{from}, {to}]"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_bounded() {
        assert_eq!(number("51", &(1..=255)), Ok(51));
        assert_eq!(number("+5", &(1..=255)), Ok(5));
        assert_eq!(number("-3", &(-253..=253)), Ok(-3));
        for (text, what) in [
            ("300", "number '300' outside range [1, 255]"),
            ("99999999999999999999", "number '99999999999999999999' outside range [1, 255]"),
            ("abc", "invalid number 'abc'"),
            ("1.5", "invalid number '1.5'"),
            ("12x", "invalid number '12x'"),
            ("-", "invalid number '-'"),
            ("-1", "negative number '-1'"),
        ] {
            assert_eq!(number(text, &(1..=255)), Err(what.to_owned()));
        }
    }

    #[test]
    fn timers_have_decimals() {
        let range = 10_000..=255 * MICROS;
        assert_eq!(timer("1", &range), Ok(Duration::from_secs(1)));
        assert_eq!(timer("0.25", &range), Ok(Duration::from_millis(250)));
        assert_eq!(timer("1.", &range), Ok(Duration::from_secs(1)));
        assert_eq!(timer(".5", &range), Ok(Duration::from_millis(500)));
        for (text, what) in [
            ("0", "number '0' outside range [0.010000, 255.000000]"),
            ("255.4", "number '255.4' outside range [0.010000, 255.000000]"),
            ("-1", "negative number '-1'"),
            ("1e1", "invalid number '1e1'"),
            (".", "invalid number '.'"),
            (
                "99999999999999999999",
                "number '99999999999999999999' outside range [0.010000, 255.000000]",
            ),
        ] {
            assert_eq!(timer(text, &range), Err(what.to_owned()));
        }
    }
}
