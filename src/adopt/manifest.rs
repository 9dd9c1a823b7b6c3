//! The list of what was written: one line a file, its checksum and its path, as sha256sum(1) has it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The name of the list, beside the configuration.
pub const NAME: &str = "glha-adopt.manifest";

/// A file that was written, and its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: PathBuf,
    /// SHA-256, hexadecimal.
    pub sum: String,
}

/// SHA-256, hexadecimal.
pub fn sum(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Can a file have been written by `glha adopt`, by its name?
pub fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == super::CONF
        || name.ends_with(".glha")
        || (name.starts_with("glha-") && name.ends_with(".fstab"))
}

/// The text of a list.
pub fn render(entries: &[Entry]) -> String {
    let line = |entry: &Entry| format!("{}  {}\n", entry.sum, entry.path.display());
    entries.iter().map(line).collect()
}

/// Reads a list.
///
/// # Errors
///
/// The number of a line that is none of a list.
pub fn parse(text: &str) -> Result<Vec<Entry>, usize> {
    let is_sum = |sum: &str| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    let entry = |(at, line): (usize, &str)| {
        let (sum, path) = line.split_once("  ").ok_or(at + 1)?;
        let path = Path::new(path);
        if !is_sum(sum) || !path.is_absolute() || !is_ours(path) {
            return Err(at + 1);
        }
        Ok(Entry { path: path.to_owned(), sum: sum.to_owned() })
    };
    text.lines().enumerate().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let entries = vec![
            Entry { path: "/etc/a b.glha".into(), sum: sum(b"x") },
            Entry { path: "/glha.conf".into(), sum: sum(b"") },
        ];
        assert_eq!(parse(&render(&entries)), Ok(entries));
        assert_eq!(parse(""), Ok(Vec::new()));
        let of = |path: &str| format!("{}  {path}", sum(b""));
        for bad in ["x", "00  /a.glha", &of("a.glha"), &of(" /a.glha"), &of("/etc/passwd")] {
            assert_eq!(parse(bad), Err(1), "{bad}");
        }
    }
}
