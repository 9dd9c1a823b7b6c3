//! Values of one word: numbers, times, switches.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::diagnostic::Severity;
use super::super::lex::{Statement, Word};
use super::{At, Ending, Reader};

/// Microseconds in a second: the resolution of keepalived's timers.
const MICROS: u64 = 1_000_000;

/// Keywords that keepalived leaves out when they have no value, or that 2.2.7 does not know.
const SURVIVED: [&str; 21] = [
    "default_interface",
    "file",
    "json_dump_file",
    "json_file_location",
    "notify_fifo",
    "notify_fifo_script",
    "reload_time_file",
    "script_user",
    "shutdown_script",
    "shutdown_script_timeout",
    "startup_script",
    "startup_script_timeout",
    "state_dump_file",
    "state_file_location",
    "stats_dump_file",
    "stats_file_location",
    "vrrp_delay_after_boot",
    "vrrp_notify_fifo",
    "vrrp_notify_fifo_script",
    "vrrp_priority",
    "vrrp_rt_priority",
];

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

    /// keepalived ends at once when a value is missing, but for these keywords.
    pub(super) fn missing(&mut self, keyword: &Word, position: usize) {
        let message = format!("{0} without a value: '{0}' is ignored", keyword.text);
        match keyword.text.as_str() {
            "script" | "param_match" => {
                return self.say(Severity::Warning, keyword.span, message);
            }
            survived if SURVIVED.contains(&survived) => return self.fault(keyword.span, message),
            _ => {}
        }
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

    /// The same where keepalived names what is no number, and uses the number that it begins with.
    pub(super) fn leading_number(
        &mut self,
        word: &Word,
        range: RangeInclusive<i64>,
        otherwise: &str,
    ) -> Option<i64> {
        let used = leading(&word.text);
        match number(&word.text, &range) {
            Err(what) if what.starts_with("invalid") && range.contains(&used) => {
                self.fault(word.span, format!("{what}; {used} is used"));
                Some(used)
            }
            _ => self.number(word, range, otherwise),
        }
    }

    /// The number after the keyword, within `range`.
    pub(super) fn setting(
        &mut self,
        statement: &Statement,
        range: RangeInclusive<i64>,
        ending: Ending,
    ) -> Option<At<i64>> {
        let word = self.value(statement)?;
        let value = match ending {
            Ending::Strict => self.number(word, range, &ignored(statement)),
            Ending::Loose => self.leading_number(word, range, &ignored(statement)),
            Ending::Reset => self.leading_number(word, range, &reset(statement)).or(Some(0)),
        }?;
        Some(At { value, span: word.span })
    }

    /// A number of rounds; zero becomes one.
    pub(super) fn rounds(&mut self, statement: &Statement) -> Option<u32> {
        let range = 0..=i64::from(u32::MAX);
        let At { value, span } = self.setting(statement, range, Ending::Loose)?;
        if let (0, Some(keyword)) = (value, statement.words.first()) {
            let message = format!("{} must be greater than 0, setting to 1", keyword.text);
            self.fault(span, message);
        }
        u32::try_from(value.max(1)).ok()
    }

    /// A time in seconds with up to six decimals, within `range` (microseconds).
    pub(super) fn timer(
        &mut self,
        word: &Word,
        range: RangeInclusive<u64>,
        otherwise: &str,
    ) -> Option<Duration> {
        match timer(&word.text, &range) {
            Ok(span) => {
                if is_too_fine(&word.text) {
                    let message = format!(
                        "number '{}' has too many decimal places; it is rounded to six",
                        word.text
                    );
                    self.fault(word.span, message);
                }
                Some(span)
            }
            Err(what) => {
                self.fault(word.span, format!("{what}; {otherwise}"));
                None
            }
        }
    }

    /// The time after the keyword, within `range` (microseconds).
    pub(super) fn time_setting(
        &mut self,
        statement: &Statement,
        range: RangeInclusive<u64>,
    ) -> Option<At<Duration>> {
        let word = self.value(statement)?;
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
    format!("'{}' is ignored", keyword(statement))
}

fn reset(statement: &Statement) -> String {
    format!("'{}' is 0", keyword(statement))
}

fn keyword(statement: &Statement) -> &str {
    statement.words.first().map_or("the line", |word| word.text.as_str())
}

/// A decimal whole number as C's strtol reads it: blanks may stand before it, and nothing at all is
/// zero. The error is keepalived's.
pub fn number(text: &str, range: &RangeInclusive<i64>) -> Result<i64, String> {
    let number = text.trim_start_matches(is_blank);
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    if (digits.is_empty() && !text.is_empty()) || !digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(format!("invalid number '{text}'"));
    }
    if number.starts_with('-') && *range.start() >= 0 {
        return Err(format!("negative number '{text}'"));
    }
    let number = if text.is_empty() { "0" } else { number };
    // Too many digits for the type are out of every range, too.
    match number.parse::<i64>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("number '{text}' outside range [{}, {}]", range.start(), range.end())),
    }
}

/// The whole number that a text begins with, as C's strtol has it; 0 if it begins with none.
pub fn leading(text: &str) -> i64 {
    let text = text.trim_start_matches(is_blank);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.bytes().map_while(|byte| byte.is_ascii_digit().then(|| byte - b'0'));
    let shifted = |sum: i64, digit: u8| sum.saturating_mul(10).saturating_add(digit.into());
    sign * digits.fold(0i64, shifted)
}

/// What C takes for blank.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Seconds with decimals, where keepalived too takes no digits at all for zero; the error is its own.
/// The seventh decimal rounds.
pub fn timer(text: &str, range: &RangeInclusive<u64>) -> Result<Duration, String> {
    let number = text.trim_start_matches(is_blank);
    let unsigned = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return Err(format!("invalid number '{text}'"));
    }
    if number.starts_with('-') {
        return Err(format!("negative number '{text}'"));
    }
    let fraction: String = decimals.chars().chain("000000".chars()).take(6).collect();
    let rounds_up = decimals.as_bytes().get(6).is_some_and(|&digit| digit >= b'5');
    let whole = if whole.is_empty() { "0" } else { whole };
    let micros = match (whole.parse::<u64>(), fraction.parse::<u64>()) {
        (Ok(seconds), Ok(micros)) => seconds
            .checked_mul(MICROS)
            .and_then(|sum| sum.checked_add(micros + u64::from(rounds_up))),
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

/// Has a time more decimals than keepalived keeps?
fn is_too_fine(text: &str) -> bool {
    text.split_once('.').is_some_and(|(_, decimals)| decimals.len() > 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_bounded() {
        assert_eq!(number("51", &(1..=255)), Ok(51));
        assert_eq!(number("+5", &(1..=255)), Ok(5));
        assert_eq!(number("-3", &(-253..=253)), Ok(-3));
        assert_eq!(number(" 7", &(1..=255)), Ok(7));
        assert_eq!(number("", &(-253..=253)), Ok(0));
        for (text, what) in [
            ("300", "number '300' outside range [1, 255]"),
            ("99999999999999999999", "number '99999999999999999999' outside range [1, 255]"),
            ("abc", "invalid number 'abc'"),
            ("", "number '' outside range [1, 255]"),
            ("1.5", "invalid number '1.5'"),
            ("5 ", "invalid number '5 '"),
            ("12x", "invalid number '12x'"),
            ("-", "invalid number '-'"),
            ("-1", "negative number '-1'"),
        ] {
            assert_eq!(number(text, &(1..=255)), Err(what.to_owned()));
        }
    }

    #[test]
    fn a_text_may_begin_with_a_number() {
        for (text, number) in [("9x", 9), ("1.5", 1), (" -5 ", -5), ("+7", 7), ("x9", 0), ("", 0)] {
            assert_eq!(leading(text), number, "{text}");
        }
        assert_eq!(leading("-99999999999999999999"), -i64::MAX);
    }

    #[test]
    fn timers_have_decimals() {
        let range = 10_000..=255 * MICROS;
        assert_eq!(timer("1", &range), Ok(Duration::from_secs(1)));
        assert_eq!(timer("0.25", &range), Ok(Duration::from_millis(250)));
        assert_eq!(timer("1.", &range), Ok(Duration::from_secs(1)));
        assert_eq!(timer(".5", &range), Ok(Duration::from_millis(500)));
        let nothing = 0..=MICROS;
        for text in ["", ".", "+", "0.0000004"] {
            assert_eq!(timer(text, &nothing), Ok(Duration::ZERO), "{text}");
        }
        assert_eq!(timer("0.0000005", &nothing), Ok(Duration::from_micros(1)));
        for (text, what) in [
            ("0", "number '0' outside range [0.010000, 255.000000]"),
            ("255.4", "number '255.4' outside range [0.010000, 255.000000]"),
            ("-1", "negative number '-1'"),
            ("1e1", "invalid number '1e1'"),
            (".", "number '.' outside range [0.010000, 255.000000]"),
            ("5 ", "invalid number '5 '"),
            (
                "99999999999999999999",
                "number '99999999999999999999' outside range [0.010000, 255.000000]",
            ),
        ] {
            assert_eq!(timer(text, &range), Err(what.to_owned()));
        }
    }
}
