//! The literal blocks of the manual pages and the README, each with what it is.

use std::fmt;
use std::fs;
use std::path::PathBuf;

/// A literal block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The file it stands in, without folder.
    pub file: String,
    /// Its line there.
    pub line: usize,
    /// The section or subsection around it.
    pub section: String,
    /// Its text, as a reader sees it.
    pub text: String,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole script for sh.
    Sh,
    /// A whole program in Python.
    Python,
    /// Functions for the head of notify.sh.
    Notify,
    /// What is typed; `# ` is root's prompt.
    Commands,
    /// A configuration, perhaps without the instance that it is for.
    Conf,
    /// Lines of a `hooks` block.
    InHooks,
    /// Lines of a `vrrp_instance`.
    InInstance,
    /// A JSON object on each line.
    Json,
    /// What `glha rehearse` prints.
    Rehearsal,
    /// Looked at by other tests, or nothing that could be wrong by itself: log lines, the grammar,
    /// files of other programs, pictures.
    Other,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({})", self.file, self.line, self.section)
    }
}

impl Block {
    /// What it is. Panics if that is not known: a new kind of example needs a test.
    pub fn kind(&self) -> Kind {
        let first = self.text.lines().next().unwrap_or_default();
        let word = first.split_whitespace().next().unwrap_or_default();
        let is_inside = first.starts_with("    ");
        match word {
            // Each a part of mount.sh, or a file of another program; tests/mount_layers.rs runs the guard.
            "#" if first.starts_with("# shellcheck") => Kind::Other,
            "defaults" => Kind::Other,
            word if word.starts_with("/dev/mapper/") => Kind::Other,
            "#!/bin/sh" => Kind::Sh,
            "#!/usr/bin/env" => Kind::Python,
            "on_master()" => Kind::Notify,
            "hooks" | "global_defs" | "include" | "vrrp_instance" | "vrrp_script" => Kind::Conf,
            "check" | "env" | "mount" if is_inside => Kind::InHooks,
            "notify" => Kind::InInstance,
            "#" | "glha" | "make" | "systemctl" | "tune2fs" => Kind::Commands,
            word if word.starts_with("seen=") => Kind::Commands,
            word if word.starts_with("{\"") => Kind::Json,
            _ if self.section == "GRAMMAR" || self.section == "LANGUAGE" => Kind::Other,
            "1.00" => Kind::Rehearsal,
            // `pass` is a line of snmpd.conf, see tests/snmp.rs.
            "pass" | "(VI_1)" | "[nfsd]" | "time" | "src/core" | "\"MASTER\")" => Kind::Other,
            // What `glha status`, `why`, `events` and `metrics` print.
            "VI_1" | "INSTANCE" => Kind::Other,
            word if word.starts_with("2026-") || word.starts_with("glha_") => Kind::Other,
            _ => panic!(
                "{self}: what is this example? Say it in Block::kind, and test it if it can be wrong\n{}",
                self.text
            ),
        }
    }

    /// What of it is typed: where there are prompts, only what follows one, to the end of the command.
    pub fn commands(&self) -> String {
        if self.kind() == Kind::Sh || !self.text.starts_with("# ") {
            return self.text.clone();
        }
        let (mut typed, mut goes_on) = (String::new(), false);
        for line in self.text.lines() {
            let command = line.strip_prefix("# ");
            if let Some(command) = command.or_else(|| goes_on.then_some(line)) {
                typed.push_str(&format!("{command}\n"));
                goes_on = command.ends_with('\\');
            }
        }
        typed
    }

    /// The blocks of a page in mdoc: `.Bd -literal`, and `.Dl` with a command.
    pub fn of_page(file: &str, page: &str) -> Vec<Self> {
        let mut blocks: Vec<Self> = Vec::new();
        let (mut section, mut is_inside) = (String::new(), false);
        for (index, line) in page.lines().enumerate() {
            let heading = line.strip_prefix(".Sh ").or_else(|| line.strip_prefix(".Ss "));
            if let Some(heading) = heading {
                section = heading.to_owned();
            }
            let mut begin = |text: String| {
                let (file, section) = (file.to_owned(), section.clone());
                blocks.push(Self { file, line: index + 1, section, text });
            };
            if line.starts_with(".Bd -literal") {
                is_inside = true;
                begin(String::new());
            } else if line == ".Ed" {
                is_inside = false;
            } else if let Some(command) = line.strip_prefix(".Dl ").filter(|_| !is_inside) {
                if command.starts_with("glha ") || command.starts_with("systemctl ") {
                    begin(plain(command));
                }
            } else if is_inside && !line.starts_with(".\\\"") {
                assert!(!line.starts_with('.'), "{file}:{}: {line}", index + 1);
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(&plain(line));
                }
            }
        }
        blocks
    }

    /// The indented blocks of a text in Markdown.
    pub fn of_markdown(file: &str, text: &str) -> Vec<Self> {
        let mut blocks: Vec<Self> = Vec::new();
        let (mut section, mut indent, mut is_after_blank, mut blanks) =
            (String::new(), None, true, 0);
        for (index, line) in text.lines().enumerate() {
            let spaces = line.len() - line.trim_start().len();
            if line.trim().is_empty() {
                (is_after_blank, blanks) = (true, blanks + 1);
                continue;
            }
            if let Some(heading) = line.strip_prefix('#') {
                section = heading.trim_start_matches('#').trim().to_owned();
            }
            match indent {
                Some(indent) if spaces >= indent => {
                    if let Some(block) = blocks.last_mut() {
                        block.text.push_str(&"\n".repeat(blanks));
                        block.text.push_str(&format!("{}\n", &line[indent..]));
                    }
                }
                _ if spaces >= 4 && is_after_blank => {
                    // In a list a block stands further in.
                    let in_list = if spaces >= 7 { 7 } else { 4 };
                    let is_picture = line.trim_start().starts_with("time ");
                    let cut = if is_picture { 4 } else { in_list };
                    indent = Some(cut);
                    blocks.push(Self {
                        file: file.to_owned(),
                        line: index + 1,
                        section: section.clone(),
                        text: format!("{}\n", &line[cut..]),
                    });
                }
                _ => indent = None,
            }
            (is_after_blank, blanks) = (false, 0);
        }
        blocks
    }
}

/// A line of a literal block as a reader sees it.
fn plain(line: &str) -> String {
    format!("{}\n", line.replace("\\&", "").replace("\\-", "-").replace("\\e", "\\"))
}

/// Every block there is.
pub fn all() -> Vec<Block> {
    let pages = ["glha.8", "glha.conf.5", "glha-hooks.7"];
    let read = |path: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut blocks: Vec<Block> =
        pages.iter().flat_map(|page| Block::of_page(page, &read(&format!("man/{page}")))).collect();
    blocks.extend(Block::of_markdown("README.md", &read("README.md")));
    blocks
}

/// The block of a section, counted from 0.
pub fn find(file: &str, section: &str, index: usize) -> Block {
    let mut found = all().into_iter().filter(|b| b.file == file && b.section == section);
    found.nth(index).unwrap_or_else(|| panic!("{file}: {section} has no example {index}"))
}
