//! Reading a configuration from the disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::audit::audit;
use crate::conf::{self, Context, Files, Loaded};

/// Which configuration, and what its language is told.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What the language is told.
    pub context: Context,
}

/// Reads and judges a configuration: its text, and what it says of this machine.
pub fn load(source: &Source) -> Loaded {
    let mut read = |path: &Path| fs::read(path);
    let mut list = |path: &Path| {
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    };
    let mut files = Files { read: &mut read, list: &mut list };
    let mut loaded = conf::load(&source.path, &mut files, &source.context);
    loaded.diagnostics.extend(audit(&loaded.config));
    loaded
}
