//! The `auth_hmac` block of an instance.
//!
//! keepalived 2.2.7 does not know it. What is not understood here is an error: a line of it that were
//! dropped would leave adverts unsigned, or believe what should not be believed. No message shows a
//! key, nor do those that show the line.

use std::path::PathBuf;

use super::super::diagnostic::Span;
use super::super::lex::{Statement, Word};
use super::{At, Blame, InstanceRaw, Keyword, Reader, line, value};
use crate::core::spec::HmacMode;
use crate::wire::trailer::Key;

/// An `auth_hmac` block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HmacRaw {
    /// Where it begins.
    pub span: Span,
    /// `key`, by its id.
    pub keys: Vec<(At<u8>, KeyRaw)>,
    /// `active_key`.
    pub active_key: Option<At<u8>>,
    /// `anti_replay monotonic` (true) or `time`.
    pub monotonic: Option<At<bool>>,
    /// `time_window`, seconds.
    pub time_window: Option<At<u16>>,
    /// `mode`.
    pub mode: Option<At<HmacMode>>,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRaw {
    /// Here.
    Inline(Key),
    /// In a file, which the shell reads.
    File(PathBuf),
}

pub(super) const KEYWORDS: &[Keyword<HmacRaw>] = &[
    line("key", key),
    line("active_key", |reader, statement, hmac| {
        hmac.active_key = reader.hmac_number(statement, 1..=255).or(hmac.active_key);
    }),
    line("anti_replay", |reader, statement, hmac| {
        hmac.monotonic = reader.choice(statement, &[("time", false), ("monotonic", true)]);
    }),
    line("time_window", |reader, statement, hmac| {
        hmac.time_window = reader.hmac_number(statement, 1..=300).or(hmac.time_window);
    }),
    line("mode", |reader, statement, hmac| {
        let words = [
            ("enforce", HmacMode::Enforce),
            ("permissive", HmacMode::Permissive),
            ("receive-only", HmacMode::ReceiveOnly),
        ];
        hmac.mode = reader.choice(statement, &words);
    }),
];

pub(super) fn auth_hmac(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(keyword) = statement.words.first() else { return };
    if statement.block.is_none() {
        return reader.error(keyword.span, "auth_hmac must have a block: auth_hmac { key ... }");
    }
    if instance.hmac.is_some() {
        reader.error(keyword.span, format!("({}) auth_hmac already defined", instance.name));
        return;
    }
    let mut hmac = HmacRaw { span: keyword.span, ..HmacRaw::default() };
    reader.read_block(statement, KEYWORDS, Blame::Glha, &mut hmac);
    instance.hmac = Some(hmac);
}

/// `key ID hex:DIGITS`, `key ID file:PATH` or `key ID TEXT`.
fn key(reader: &mut Reader, statement: &Statement, hmac: &mut HmacRaw) {
    let [_, id, text] = statement.words.as_slice() else {
        let message = "key takes an id and a value: key 1 hex:..., key 1 file:/PATH, or key 1 TEXT";
        return reader.error(statement.span, message);
    };
    let Some(number) = reader.hmac_id(id) else { return };
    if hmac.keys.iter().any(|(other, _)| other.value == number.value) {
        return reader.error(id.span, format!("key {} already defined", number.value));
    }
    let key = match text.text.strip_prefix("file:") {
        Some(path) if path.starts_with('/') => Ok(KeyRaw::File(path.into())),
        Some(_) => Err("the path of a key file must be absolute: file:/PATH".to_owned()),
        None => read_key(text.text.as_bytes()).map(KeyRaw::Inline),
    };
    match key {
        Ok(key) => hmac.keys.push((number, key)),
        Err(what) => reader.error(text.span, format!("key {}: {what}", number.value)),
    }
}

/// Makes a key of what was written: `hex:` and digits, or the bytes themselves.
///
/// # Errors
/// What is wrong with it, without showing any of it.
pub fn read_key(text: &[u8]) -> Result<Key, String> {
    let bytes = match text.strip_prefix(b"hex:") {
        Some(digits) => hex(digits).ok_or("`hex:` is followed by pairs of the digits 0 to f")?,
        None if text.iter().any(|byte| !(b' '..=b'~').contains(byte)) => {
            return Err("a key is `hex:` and hexadecimal digits, or plain ASCII text".to_owned());
        }
        None => text.to_vec(),
    };
    Key::new(&bytes).ok_or_else(|| {
        format!(
            "it has {} bytes; a key has {} to {}; `openssl rand -hex 32` makes one, to be written \
             behind `hex:`",
            bytes.len(),
            Key::BYTES_MIN,
            Key::BYTES_MAX
        )
    })
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

impl Reader {
    fn hmac_id(&mut self, word: &Word) -> Option<At<u8>> {
        match value::number(&word.text, &(1..=255)).map(u8::try_from) {
            Ok(Ok(value)) => Some(At { value, span: word.span }),
            // The word may be a key whose id was forgotten: it is not shown.
            _ => {
                self.error(word.span, "the id of a key is a number from 1 to 255");
                None
            }
        }
    }

    /// A number of this block, where a wrong one is no fault that could be lived with.
    fn hmac_number<T: TryFrom<i64>>(
        &mut self,
        statement: &Statement,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<At<T>> {
        let word = self.value(statement)?;
        let value = self.own_number(word, range)?;
        Some(At { value, span: word.span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_text_or_hexadecimal() {
        let bytes: Vec<u8> = (0..32).collect();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(read_key(format!("hex:{digits}").as_bytes()).ok(), Key::new(&bytes));
        assert_eq!(read_key(&[b'k'; 40]).ok(), Key::new(&[b'k'; 40]));
        for bad in ["", "hex:", "hex:00", "short", "hex:0", &"hex:zz".repeat(20), &"é".repeat(20)]
        {
            let what = read_key(bad.as_bytes()).expect_err("no key");
            assert!(bad.is_empty() || !what.contains(bad) || bad == "hex:", "{what}");
        }
        assert!(read_key(&[b'k'; 65]).is_err());
    }
}
