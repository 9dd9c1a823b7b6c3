//! What `global_defs` and the top level say of the daemon's own process: named pipes, scripts of
//! start and stop, names, places, mail.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::daemon::{EDGE_TIMEOUT, Edge, Fifo};
use super::super::lex::Statement;
use super::super::{Rights, Script, User};
use super::{At, Reader};

/// A name is a part of file names.
const NAME_BYTES_MAX: usize = 255;

/// Settings of the daemon's own process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DaemonRaw {
    /// `instance`.
    pub instance: Option<At<String>>,
    /// `net_namespace`.
    pub net_namespace: Option<At<String>>,
    /// `notify_fifo`.
    pub fifo: FifoRaw,
    /// `vrrp_notify_fifo`.
    pub vrrp_fifo: FifoRaw,
    /// `startup_script`.
    pub startup: EdgeRaw,
    /// `shutdown_script`.
    pub shutdown: EdgeRaw,
}

/// A named pipe and what reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FifoRaw {
    path: Option<At<PathBuf>>,
    owner: Option<User>,
    script: Option<Script>,
}

/// A script of start or stop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EdgeRaw {
    script: Option<Script>,
    pub(super) timeout: Option<Duration>,
}

impl DaemonRaw {
    /// All scripts.
    pub fn scripts(&self) -> impl Iterator<Item = &Script> {
        let fifos = [&self.fifo, &self.vrrp_fifo].map(|fifo| fifo.script.as_ref());
        let edges = [&self.startup, &self.shutdown].map(|edge| edge.script.as_ref());
        fifos.into_iter().chain(edges).flatten()
    }
}

impl FifoRaw {
    /// The pipe, if there is one.
    pub fn get(&self, keyword: &'static str) -> Option<Fifo> {
        let path = self.path.as_ref()?.value.clone();
        let (owner, script) = (self.owner.clone(), self.script.clone());
        Some(Fifo { keyword, path, owner, owner_rights: Rights::default(), script })
    }

    /// Where its path stands.
    pub const fn path(&self) -> Option<&At<PathBuf>> {
        self.path.as_ref()
    }

    /// Where a script stands that has no pipe to read.
    pub fn idle_script(&self) -> Option<&Script> {
        self.script.as_ref().filter(|_| self.path.is_none())
    }
}

impl EdgeRaw {
    /// The script, if there is one.
    pub fn get(&self) -> Option<Edge> {
        let timeout = self.timeout.unwrap_or(EDGE_TIMEOUT);
        Some(Edge { script: self.script.clone()?, timeout })
    }
}

pub(super) fn fifo(reader: &mut Reader, statement: &Statement, fifo: &mut FifoRaw) {
    let Some(keyword) = statement.words.first() else { return };
    let Some(word) = statement.words.get(1) else {
        reader.missing(keyword, 2);
        return;
    };
    if let Some(before) = &fifo.path {
        let message = format!(
            "{} {} already specified - ignoring {}",
            keyword.text,
            before.value.display(),
            word.text
        );
        reader.fault(word.span, message);
        return;
    }
    let Some(path) = reader.absolute(statement) else { return };
    fifo.path = Some(At { value: path, span: word.span });
    fifo.owner = statement.words.get(2).map(|user| User {
        user: user.text.clone(),
        group: statement.words.get(3).map(|group| group.text.clone()),
        span: user.span,
    });
}

pub(super) fn fifo_script(reader: &mut Reader, statement: &Statement, fifo: &mut FifoRaw) {
    let keyword = statement.words.first().map_or("", |word| word.text.as_str());
    once(reader, statement, &mut fifo.script, keyword);
}

pub(super) fn edge(reader: &mut Reader, statement: &Statement, edge: &mut EdgeRaw, what: &str) {
    once(reader, statement, &mut edge.script, what);
    if let (None, Some(word)) = (&edge.script, statement.words.get(1)) {
        reader.fault(word.span, format!("Invalid {what}"));
    }
}

/// The first script counts.
fn once(reader: &mut Reader, statement: &Statement, script: &mut Option<Script>, what: &str) {
    let Some(keyword) = statement.words.first() else { return };
    if script.is_none() {
        *script = reader.command(statement);
        return;
    }
    let ignored = statement.words.get(1).map_or("", |word| word.text.as_str());
    reader.fault(keyword.span, format!("{what} already specified - ignoring {ignored}"));
}

/// `instance NAME`, `net_namespace NAME`: the first counts. A name is a part of paths.
pub(super) fn name(reader: &mut Reader, statement: &Statement, name: &mut Option<At<String>>) {
    let Some(keyword) = statement.words.first() else { return };
    let Some(word) = statement.words.get(1) else {
        reader.fault(keyword.span, format!("{} name missing - ignoring", keyword.text));
        return;
    };
    if name.is_some() {
        let message = format!("Duplicate {} definition {} - ignoring", keyword.text, word.text);
        reader.fault(word.span, message);
        return;
    }
    if !is_name(&word.text) {
        let message = format!("{} {}: not a name: it is a part of paths", keyword.text, word.text);
        reader.error(word.span, message);
        return;
    }
    *name = Some(At { value: word.text.clone(), span: word.span });
}

/// Can it stand as a part of a path without leading elsewhere?
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && !text.contains('/')
        && !text.starts_with('.')
}

/// `reload_file [PATH]`.
pub(super) fn reload_file(reader: &mut Reader, statement: &Statement, path: &mut Option<PathBuf>) {
    *path = match statement.words.get(1) {
        Some(_) => reader.absolute(statement).or(path.take()),
        None => Some(PathBuf::new()),
    };
}

impl Reader {
    /// The daemon's working directory is another than that of who wrote it.
    pub(super) fn absolute(&mut self, statement: &Statement) -> Option<PathBuf> {
        let (keyword, word) = (statement.words.first()?, statement.words.get(1)?);
        if Path::new(&word.text).is_absolute() {
            return Some(word.text.clone().into());
        }
        let message = format!("{} {}: not an absolute path - ignoring", keyword.text, word.text);
        self.fault(word.span, message);
        None
    }
}
