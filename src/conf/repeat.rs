//! `~SEQ`, `~SEQx` and `~LST`: a line repeated with one or more variables set anew each time.

use super::glyph::Glyph;

/// The most values one `~SEQ` may run through.
pub const SEQUENCE_VALUES_MAX: u64 = 65_536;

/// The rest of a line, and the values still to come.
#[derive(Debug)]
pub struct Repeat {
    /// What is repeated.
    pub rest: Vec<Glyph>,
    names: Vec<String>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Sequence { next: i64, step: i64, left: u64, hex: bool },
    List(std::vec::IntoIter<Vec<String>>),
}

impl Iterator for Repeat {
    /// The variables of the next round with their values.
    type Item = Vec<(String, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match &mut self.values {
            Values::Sequence { left: 0, .. } => return None,
            Values::Sequence { next, step, left, hex } => {
                let text = if *hex { format!("{next:x}") } else { next.to_string() };
                *left -= 1;
                *next = next.saturating_add(*step);
                vec![text]
            }
            Values::List(rows) => rows.next()?,
        };
        let row = row.into_iter().chain(std::iter::repeat(String::new()));
        Some(self.names.iter().cloned().zip(row).collect())
    }
}

/// Reads `~SEQ(...)`, `~SEQx(...)` or `~LST(...)` (`spec`, up to and with the parenthesis), which
/// repeats `rest`. The error says what is wrong.
pub fn parse(spec: &str, rest: Vec<Glyph>) -> Result<Repeat, String> {
    let inner = spec.strip_suffix(')').unwrap_or(spec);
    let (kind, inner) = inner.split_once('(').unwrap_or((inner, ""));
    let (names, values) = match kind.trim_end() {
        "~SEQ" => sequence(inner, false)?,
        "~SEQx" => sequence(inner, true)?,
        "~LST" => list(inner)?,
        other => return Err(format!("'{other}' is not ~SEQ, ~SEQx or ~LST")),
    };
    Ok(Repeat { rest, names, values })
}

fn sequence(inner: &str, hex: bool) -> Result<(Vec<String>, Values), String> {
    let mut parts = inner.split(',').map(str::trim);
    let name = variable(parts.next().unwrap_or_default())?;
    let numbers: Vec<i64> = parts.map(number).collect::<Result<_, _>>()?;
    let (start, step, end) = match numbers.as_slice() {
        [end] => (if *end > 0 { 1 } else { -1 }, None, *end),
        [start, end] => (*start, None, *end),
        [start, step, end] => (*start, Some(*step), *end),
        _ => {
            return Err("~SEQ takes (VARIABLE, START, STEP, END), (VARIABLE, START, END) or \
                         (VARIABLE, END)"
                .to_owned());
        }
    };
    let step = step.unwrap_or(if end >= start { 1 } else { -1 });
    if step == 0 || (end > start && step < 0) || (end < start && step > 0) {
        return Err(format!("~SEQ never gets from {start} to {end} in steps of {step}"));
    }
    let left = start.abs_diff(end) / step.unsigned_abs() + 1;
    if left > SEQUENCE_VALUES_MAX {
        return Err(format!("~SEQ has {left} values; at most {SEQUENCE_VALUES_MAX} are allowed"));
    }
    Ok((vec![name], Values::Sequence { next: start, step, left, hex }))
}

/// A whole number as C writes it: decimal, 0x or 0 in front.
fn number(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (lower.as_str(), 8),
        None => (lower.as_str(), 10),
    };
    let parsed = i64::from_str_radix(&format!("{sign}{digits}"), radix);
    // 32 bits are more than any address or number of a configuration needs.
    match parsed {
        Ok(value) if i32::try_from(value).is_ok() && !digits.starts_with(['+', '-']) => Ok(value),
        _ => Err(format!("'{text}' is not a whole number of at most 32 bits")),
    }
}

fn list(inner: &str) -> Result<(Vec<String>, Values), String> {
    let mut rows = rows(inner)?.into_iter();
    let names = rows.next().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| variable(name)).collect::<Result<_, _>>()?;
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return Err("~LST has no values".to_owned());
    }
    if let Some(row) = rows.iter().find(|row| row.len() > names.len()) {
        return Err(format!(
            "~LST has too many values in '{}': there are {} variables",
            row.join(","),
            names.len()
        ));
    }
    Ok((names, Values::List(rows.into_iter())))
}

/// The comma-separated members of a list; a member in braces has several parts.
fn rows(inner: &str) -> Result<Vec<Vec<String>>, String> {
    let mut rows = Vec::new();
    let mut rest = inner.trim();
    loop {
        let (member, after) = match rest.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("~LST lacks a '}'")?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        let parts = member.split(',').map(|part| part.trim().to_owned());
        let row: Vec<String> = parts.collect();
        if let Some(bad) = row.iter().find(|part| part.contains([' ', '\t', '"', '{', '}'])) {
            return Err(format!(
                "~LST cannot hold '{bad}': blanks, quotes and braces are not allowed"
            ));
        }
        rows.push(row);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(rows),
            None => return Err(format!("~LST needs a ',' before '{after}'")),
        }
    }
}

fn variable(name: &str) -> Result<String, String> {
    if super::subst::is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(format!("'{name}' is not a variable name: use letters, digits and '_'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(spec: &str) -> Result<Vec<String>, String> {
        let rounds = parse(spec, Vec::new())?;
        Ok(rounds
            .map(|round| {
                round.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
            })
            .collect())
    }

    #[test]
    fn values() {
        for (spec, want) in [
            ("~SEQ(I,0,3)", "I=0;I=1;I=2;I=3"),
            ("~SEQ(I,3,0)", "I=3;I=2;I=1;I=0"),
            ("~SEQ(I, 3)", "I=1;I=2;I=3"),
            ("~SEQ(I,-2)", "I=-1;I=-2"),
            ("~SEQ(I,1,2,5)", "I=1;I=3;I=5"),
            ("~SEQ(I,1,2,6)", "I=1;I=3;I=5"),
            ("~SEQ (I,1,1)", "I=1"),
            ("~SEQx(I,0x90,0x10,0xb0)", "I=90;I=a0;I=b0"),
            ("~SEQx(I,0x0b,-1,9)", "I=b;I=a;I=9"),
            ("~LST(L,a,b)", "L=a;L=b"),
            ("~LST({M, N}, {10,1},{20,4},{5})", "M=10 N=1;M=20 N=4;M=5 N="),
        ] {
            assert_eq!(texts(spec).map(|t| t.join(";")), Ok(want.to_owned()), "{spec}");
        }
    }

    #[test]
    fn refused() {
        for spec in [
            "~SEQ(I,5,1,1)",
            "~SEQ(I,1,0,3)",
            "~SEQ(I,a,b)",
            "~SEQ(I)",
            "~SEQ(1,2)",
            "~SEQ()",
            "~SEQ(I,0,70000)",
            "~SEQ(I,1,1,1,1)",
            "~SEQ(I,--1)",
            "~LST(O)",
            "~LST(L,a b)",
            "~LST({M,N},{1,2,3})",
            "~LST({M,N},{1,2)",
            "~LST({M,N}{1,2})",
            "~LSTx(P,z)",
            "~X(P,z)",
            "~SEQ(I,99999999999999999999)",
        ] {
            assert!(texts(spec).is_err(), "{spec}");
        }
    }
}
