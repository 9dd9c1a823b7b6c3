//! The scripts that were read, each once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::read;
use super::tree::List;

/// Interpreters whose language is read here.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "busybox"];

/// A larger one was not written by a person.
const SCRIPT_BYTES_MAX: usize = 256 * 1024;

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path.
    pub path: PathBuf,
    /// Its text; empty if it cannot be read.
    pub text: Text,
    /// Its commands, or why there are none: the line, 0 for the file as a whole, and the reason.
    pub list: Result<Rc<List>, (usize, String)>,
}

/// A text whose bytes come back as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// What it says.
    pub text: String,
    /// It is not UTF-8: each character stands for a byte.
    pub is_bytes: bool,
}

impl Text {
    /// The text of a file; none if it is no text.
    pub fn of(bytes: Vec<u8>) -> Option<Self> {
        if bytes.contains(&0) {
            return None;
        }
        Some(match String::from_utf8(bytes) {
            Ok(text) => Self { text, is_bytes: false },
            Err(error) => {
                let text = error.into_bytes().into_iter().map(char::from).collect();
                Self { text, is_bytes: true }
            }
        })
    }

    /// The bytes of a text that was made from this one.
    pub fn bytes(&self, text: &str) -> Vec<u8> {
        let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
        if self.is_bytes { text.chars().map(byte).collect() } else { text.as_bytes().to_vec() }
    }
}

/// Files by the order in which they were met.
pub struct Library<'a> {
    /// All of them.
    pub files: Vec<File>,
    places: BTreeMap<PathBuf, usize>,
    /// How much of them was followed so far.
    pub steps: usize,
    /// Reads one.
    reader: &'a mut dyn FnMut(&Path) -> Result<Vec<u8>, String>,
}

impl<'a> Library<'a> {
    /// None yet.
    pub fn new(reader: &'a mut dyn FnMut(&Path) -> Result<Vec<u8>, String>) -> Self {
        Self { files: Vec::new(), places: BTreeMap::new(), steps: 0, reader }
    }

    /// The place of a script among [`Self::files`].
    pub fn script(&mut self, path: &Path) -> usize {
        if let Some(at) = self.places.get(path) {
            return *at;
        }
        let too_large = || format!("it is larger than {SCRIPT_BYTES_MAX} bytes: hardly a script");
        let text = match (self.reader)(path).map(Text::of) {
            Err(why) => Err(why),
            Ok(None) => Err(BINARY.to_owned()),
            Ok(Some(text)) if text.text.len() > SCRIPT_BYTES_MAX => Err(too_large()),
            Ok(Some(text)) => Ok(text),
        };
        let list = text.as_ref().map_or_else(|why| Err((0, why.clone())), |t| commands(&t.text));
        self.places.insert(path.to_owned(), self.files.len());
        let text = text.unwrap_or_default();
        self.files.push(File { path: path.to_owned(), text, list });
        self.files.len() - 1
    }

    /// The text of a file that is no script.
    pub fn plain(&mut self, path: &Path) -> Option<Text> {
        (self.reader)(path).ok().and_then(Text::of)
    }
}

/// Why a file that is not there has none.
pub const MISSING: &str = "there is no such file";

/// Why a program has no commands to read.
pub const BINARY: &str = "it is a program, not a script";

fn commands(text: &str) -> Result<Rc<List>, (usize, String)> {
    let first = text.lines().next().unwrap_or_default().trim_start_matches('\\');
    if let Some(interpreter) = first.strip_prefix("#!") {
        let mut words = interpreter.split_whitespace();
        let mut name = words.next().unwrap_or_default();
        if base(name) == "env" {
            name = words.find(|word| !word.starts_with('-')).unwrap_or_default();
        }
        if !SHELLS.contains(&base(name)) {
            return Err((1, format!("it is a script for {}, not for a shell", base(name))));
        }
    }
    if let Some(line) = text.split('\n').position(|line| line.ends_with('\r')) {
        let why =
            "it has the line endings of Windows, and no shell runs it so: sed -i 's/\\r$//' on it";
        return Err((line + 1, why.to_owned()));
    }
    read::read(text).map(Rc::new).map_err(|error| (error.line, error.why))
}

/// Is a program one of the shells that are given scripts?
pub fn is_shell(program: &str) -> bool {
    matches!(base(program), "sh" | "bash" | "dash")
}

/// A path without its last part.
pub fn folder(path: &str) -> Option<String> {
    path.rsplit_once('/').map(|(folder, _)| folder.to_owned())
}

/// The last part of a path.
pub fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_for_a_shell_have_commands() {
        let mut read = |path: &Path| match path.to_str() {
            Some("/bin") => Ok(b"\x7fELF\0".to_vec()),
            Some("/python") => Ok(b"#!/usr/bin/env python3\nimport os\n".to_vec()),
            Some("/crlf") => Ok(b"#!/bin/sh\r\nmount a b\r\n".to_vec()),
            Some("/pasted") => Ok(b"\\#!/bin/bash\nmount a b\n".to_vec()),
            Some("/latin") => Ok(b"# \xe9\nx\n".to_vec()),
            _ => Err("there is no such file".to_owned()),
        };
        let mut library = Library::new(&mut read);
        let mut why = |path: &str| {
            let at = library.script(Path::new(path));
            library.files[at].list.clone().err().map(|(line, why)| format!("{line}: {why}"))
        };
        assert_eq!(why("/bin").as_deref(), Some("0: it is a program, not a script"));
        assert_eq!(
            why("/python").as_deref(),
            Some("1: it is a script for python3, not for a shell")
        );
        assert!(why("/crlf").is_some_and(|why| why.starts_with("1: it has the line endings")));
        assert_eq!(why("/none").as_deref(), Some("0: there is no such file"));
        assert_eq!((why("/pasted"), why("/latin")), (None, None));
        let latin = library.files.last().expect("a file").text.clone();
        assert_eq!(latin.bytes(&latin.text), b"# \xe9\nx\n");
    }
}
