//! `include` and its stricter variants: which files are meant, and what is wrong if there are none.

use std::path::{Component, Path, PathBuf};

use super::diagnostic::Severity;
use super::{Files, glob};

/// What `include_check` and the variants of `include` ask for; each failing is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// A match must be a readable file.
    pub readable: bool,
    /// There must be a match, unless the name has wildcards.
    pub matched: bool,
    /// There must be a match even so.
    pub wildcard: bool,
    /// Each alternative in braces must have a match.
    pub brace: bool,
}

impl Checks {
    /// All of them: `includea`, `include_check` without a word, `-e`.
    pub const ALL: Self = Self { readable: true, matched: true, wildcard: true, brace: true };

    /// What a keyword asks for beyond `self`; `None` if it is not one of the family.
    pub fn with(self, keyword: &str) -> Option<Self> {
        match keyword {
            "include" => Some(self),
            "includer" => Some(Self { readable: true, ..self }),
            "includem" => Some(Self { readable: true, matched: true, ..self }),
            "includew" => Some(Self { readable: true, wildcard: true, ..self }),
            "includeb" => Some(Self { readable: true, brace: true, ..self }),
            "includea" => Some(Self::ALL),
            _ => None,
        }
    }

    /// Follows the words of `include_check`; the error is the word that is none of its options.
    ///
    /// Words without a sign replace the setting, `+` adds and `-` takes away.
    pub fn set<'a>(self, options: impl Iterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut checks = Self::ALL;
        for (index, option) in options.enumerate() {
            let (name, on) = match (option.strip_prefix('+'), option.strip_prefix('-')) {
                (Some(name), _) => (name, true),
                (_, Some(name)) => (name, false),
                _ => (option, true),
            };
            if index == 0 {
                checks = if name.len() == option.len() { Self::default() } else { self };
            }
            match name {
                "readable" => checks.readable = on,
                "match" => checks.matched = on,
                "wildcard_match" => checks.wildcard = on,
                "brace_match" => checks.brace = on,
                _ => return Err(option),
            }
        }
        // The other three look at readable files only.
        checks.readable |= checks.matched || checks.wildcard || checks.brace;
        Ok(checks)
    }

    /// How bad it is that a file cannot be read: keepalived only logs it for a plain `include`.
    pub fn unreadable(self) -> Severity {
        if self.readable { Severity::Error } else { Severity::Warning }
    }
}

/// A file that was found and read.
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Reads the files a pattern names, relative to `folder`; what is wrong goes to `complain`.
pub fn read(
    folder: &Path,
    pattern: &str,
    checks: Checks,
    files: &mut Files<'_>,
    complain: &mut dyn FnMut(Severity, String),
) -> Vec<Found> {
    let alternatives = match glob::alternatives(pattern) {
        Ok(alternatives) => alternatives,
        Err(why) => {
            complain(Severity::Error, format!("cannot include '{pattern}': {why}"));
            return Vec::new();
        }
    };
    let braced = alternatives.len() > 1;
    let (mut found, mut missing, mut unreadable) = (Vec::new(), Vec::new(), false);
    for alternative in &alternatives {
        let before = found.len();
        let paths = glob::find(folder, alternative, files).unwrap_or_else(|why| {
            complain(Severity::Error, format!("cannot include '{alternative}': {why}"));
            Vec::new()
        });
        for path in paths {
            match (files.read)(&path) {
                Ok(bytes) => found.push(Found { path, bytes }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    unreadable = true;
                    let text = format!("cannot read '{}': {error}; it is left out", path.display());
                    complain(checks.unreadable(), text);
                }
            }
        }
        if found.len() == before && !unreadable {
            missing.push(alternative.as_str());
        }
    }
    let wild = glob::is_wild(pattern);
    let nothing = found.is_empty() && !unreadable;
    if nothing && (!wild || checks.wildcard) {
        let strict = checks.wildcard || (braced && checks.brace) || (!braced && checks.matched);
        let remedy = "correct the name, create the file, or remove the line";
        complain(severity(strict), format!("no file to include matches '{pattern}': {remedy}"));
    } else if braced && !missing.is_empty() && (checks.brace || !wild) {
        let text = format!("no file to include matches '{}' of '{pattern}'", missing.join("', '"));
        complain(severity(checks.brace), text);
    }
    found
}

fn severity(strict: bool) -> Severity {
    if strict { Severity::Error } else { Severity::Warning }
}

/// The path with `.` and `..` resolved as far as its text allows, to recognise a file again.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(plain.components().next_back(), Some(Component::Normal(_))) =>
            {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_options() {
        let set = |text: &'static str, old: Checks| old.set(text.split_ascii_whitespace());
        assert_eq!(set("", Checks::default()), Ok(Checks::ALL));
        let matched = Checks { readable: true, matched: true, ..Checks::default() };
        assert_eq!(set("match", Checks::ALL), Ok(matched));
        assert_eq!(set("+match", Checks::default()), Ok(matched));
        let without = Checks { wildcard: false, ..Checks::ALL };
        assert_eq!(set("-wildcard_match", Checks::ALL), Ok(without));
        assert_eq!(set("match foo", Checks::ALL), Err("foo"));
    }

    #[test]
    fn plain_paths() {
        for (path, want) in [("a/./b/../c", "a/c"), ("../a", "../a"), ("/a/../../b", "/../b")] {
            assert_eq!(plain(Path::new(path)), PathBuf::from(want));
        }
    }
}
