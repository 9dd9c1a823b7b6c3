//! File name patterns as `include` takes them: `*`, `?`, `[...]` and csh's braces.

use std::path::{Path, PathBuf};

use super::Files;

/// The most patterns that braces may expand to.
pub const ALTERNATIVES_MAX: usize = 256;
/// The most files a pattern may match.
pub const MATCHES_MAX: usize = 4_096;

/// The patterns that braces stand for, in their order: `a{b,c}` is `ab` and `ac`.
///
/// Braces without a partner stand for themselves. More than [`ALTERNATIVES_MAX`] are an error.
pub fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    // Last in, first out: what is pushed in reverse comes out in order.
    let mut pending = vec![(pattern.to_owned(), 0)];
    while let Some((text, from)) = pending.pop() {
        if done.len() + pending.len() >= ALTERNATIVES_MAX {
            return Err(format!("its braces stand for more than {ALTERNATIVES_MAX} file names"));
        }
        let open = text.get(from..).and_then(|rest| rest.find('{')).map(|at| from + at);
        let Some(open) = open else {
            done.push(text);
            continue;
        };
        match members(&text, open) {
            None => pending.push((text, open + 1)),
            Some((parts, _)) if parts.len() > ALTERNATIVES_MAX => {
                return Err(format!(
                    "its braces stand for more than {ALTERNATIVES_MAX} file names"
                ));
            }
            Some((parts, end)) => {
                let (head, tail) = (text.get(..open), text.get(end..));
                for part in parts.iter().rev() {
                    let joined = [head.unwrap_or(""), part, tail.unwrap_or("")].concat();
                    pending.push((joined, open));
                }
            }
        }
    }
    Ok(done)
}

/// The members of the brace that opens at `open`, and where the text behind it begins.
fn members(text: &str, open: usize) -> Option<(Vec<&str>, usize)> {
    let (mut depth, mut start, mut parts) = (0_usize, open + 1, Vec::new());
    for (at, ch) in text.char_indices().skip_while(|(at, _)| *at < open) {
        match ch {
            '{' => depth += 1,
            ',' if depth == 1 => {
                parts.push(text.get(start..at)?);
                start = at + 1;
            }
            '}' if depth == 1 => {
                parts.push(text.get(start..at)?);
                return Some((parts, at + 1));
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether it has `*`, `?` or `[`.
pub fn is_wild(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The paths that a pattern without braces matches, sorted. A pattern without wildcards is its
/// own only match, whether it exists or not.
pub fn find(folder: &Path, pattern: &str, files: &mut Files<'_>) -> Result<Vec<PathBuf>, String> {
    let start = if pattern.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() };
    if !is_wild(pattern) {
        return Ok(vec![start.join(pattern)]);
    }
    let mut found = vec![start];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for place in found {
            if !is_wild(part) {
                next.push(place.join(part));
                continue;
            }
            // A folder that is missing or cannot be read matches nothing.
            let listed = if place.as_os_str().is_empty() { Path::new(".") } else { &place };
            let mut names: Vec<String> = (files.list)(listed)
                .unwrap_or_default()
                .into_iter()
                .filter_map(|name| name.into_string().ok())
                .filter(|name| matches(part, name))
                .collect();
            names.sort();
            next.extend(names.iter().map(|name| place.join(name)));
            if next.len() > MATCHES_MAX {
                return Err(format!("it matches more than {MATCHES_MAX} files"));
            }
        }
        found = next;
    }
    Ok(found)
}

/// Whether a name matches a pattern; a dot in front must be matched by a dot.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from) = (0, 0);
    // Where to try again: behind the last star, with that star taking one character more.
    let mut again: Option<(usize, usize)> = None;
    loop {
        if let Some('*') = pattern.get(at) {
            again = Some((at + 1, from));
            at += 1;
            continue;
        }
        let step = match (pattern.get(at), name.get(from)) {
            (None, None) => return true,
            (Some(_), Some(ch)) => one(&pattern, at, *ch),
            _ => None,
        };
        match (step, again) {
            (Some(next), _) => (at, from) = (next, from + 1),
            (None, Some((star, taken))) if taken < name.len() => {
                again = Some((star, taken + 1));
                (at, from) = (star, taken + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one character; returns where the pattern goes on.
fn one(pattern: &[char], at: usize, ch: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (*pattern.get(at + 1)? == ch).then_some(at + 2),
        '[' => match set(pattern, at, ch) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            // Without its end it is an ordinary character.
            None => (ch == '[').then_some(at + 1),
        },
        other => (*other == ch).then_some(at + 1),
    }
}

/// Whether a set like `[a-c]` or `[!x]` holds a character, and where the pattern goes on.
fn set(pattern: &[char], at: usize, ch: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(at + 1), Some('!' | '^'));
    let start = at + 1 + usize::from(negated);
    // A bracket right at the beginning is a member.
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let mut members = pattern.get(start..end)?;
    let mut held = false;
    loop {
        match members {
            [low, '-', high, rest @ ..] => {
                held |= (*low..=*high).contains(&ch);
                members = rest;
            }
            [member, rest @ ..] => {
                held |= *member == ch;
                members = rest;
            }
            [] => return Some((held != negated, end + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (pattern, name, want) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*.conf", "a.conf~", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "ü", true),
            ("??", "a", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("**", "abc", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn braces() {
        for (pattern, want) in [
            ("a", "a"),
            ("a{b,c}d", "abd acd"),
            ("{foo/{,cat,dog},bar}", "foo/ foo/cat foo/dog bar"),
            ("{a,b}{c,d}", "ac ad bc bd"),
            ("a{b", "a{b"),
            ("a{b{c,d}", "a{bc a{bd"),
            ("a}b", "a}b"),
        ] {
            assert_eq!(
                alternatives(pattern).map(|a| a.join(" ")),
                Ok(want.to_owned()),
                "{pattern}"
            );
        }
        assert!(alternatives(&"{a,b}".repeat(40)).is_err());
    }
}
