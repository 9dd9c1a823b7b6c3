//! Settings of the kernel's network code that virtual MAC addresses need, and what they were before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

/// Where they are.
const FOLDER: &str = "/proc/sys/net/";

/// Reads a setting, named as below `/proc/sys/net/`; nothing if the kernel does not have it.
pub fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("{FOLDER}{name}")).ok().map(|text| text.trim().to_owned())
}

/// Sets one. One that the kernel does not have (IPv6 may be missing) needs not be set.
///
/// # Errors
/// The kernel's: not root, or /proc/sys is read-only.
pub fn write(name: &str, value: &str) -> io::Result<()> {
    match fs::write(format!("{FOLDER}{name}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Sets one; says what it means if that fails.
pub fn set(name: &str, value: &str) {
    if let Err(error) = write(name, value) {
        let shown = name.replace('/', ".");
        log::warn!(
            "net.{shown} cannot be set to {value}: {error}; other hosts may be told a wrong MAC \
             address for virtual addresses"
        );
    }
}

/// The interfaces that have settings of IPv4, `all` and `default` included.
pub fn ipv4_interfaces() -> Vec<String> {
    let Ok(folder) = fs::read_dir(format!("{FOLDER}ipv4/conf")) else { return Vec::new() };
    folder.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The values that were there before ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Originals(pub BTreeMap<String, String>);

impl Originals {
    /// Notes what is there now, unless something of an earlier time is noted already.
    pub fn note(&mut self, name: &str) {
        if !self.0.contains_key(name)
            && let Some(value) = read(name)
        {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Puts everything back that is not in `but`.
    pub fn restore(&mut self, but: &BTreeSet<String>) {
        self.0.retain(|name, value| {
            let keep = but.contains(name);
            if !keep {
                set(name, value);
            }
            keep
        });
    }
}
