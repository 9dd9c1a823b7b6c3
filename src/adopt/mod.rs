//! The change from keepalived: what the present configuration and its scripts do about storage becomes a
//! `glha.conf` with `hooks` blocks, and scripts without the lines that belong to mount.sh from then on.
//!
//! Texts go in, a [`Plan`] comes out: nothing here runs, reads or writes anything. The caller hands over a
//! [`Reach`] with which scripts are read and disks are looked at.
//!
//! [`read`] takes a script apart ([`tree`]), [`walk`] follows it for every state that it is called for,
//! [`meaning`] says what each command means, [`gather`] what they do together. Nothing is guessed: what is
//! about storage and is not understood stays, and is named with its line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gather::{Gathered, gather};
use library::{Library, Text};
use rename::{rename, renamed};

use crate::conf::diagnostic::holds_secret;
use crate::conf::{Loaded, Severity, Span};

mod edit;
mod entry;
mod gather;
mod library;
pub mod manifest;
mod meaning;
pub mod read;
mod rename;
mod report;
mod settings;
pub mod tree;
mod value;
mod walk;
mod words;

pub use library::MISSING;
pub use settings::{Disk, Facts};

/// How scripts and disks are reached; functions, so that tests need neither.
pub struct Reach<'a> {
    /// Reads a whole file that may be a script, or says why not: [`MISSING`], or something else.
    pub read: &'a mut dyn FnMut(&Path) -> Result<Vec<u8>, String>,
    /// Looks at a device.
    pub disk: &'a mut dyn FnMut(&str) -> Disk,
    /// The text of fstab(5), for a `mount` that names only one of device and folder.
    pub fstab: String,
}

/// What would be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The new `glha.conf`; it is among [`Self::files`], unless no script mounts anything.
    pub conf: PathBuf,
    /// What would be written.
    pub files: Vec<New>,
    /// What is run once, and on which node.
    pub steps: Vec<String>,
    /// What a person should know.
    pub notes: Vec<Told>,
    /// What is left to a person.
    pub left: Vec<Told>,
}

/// A file that would be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New {
    /// Where.
    pub path: PathBuf,
    /// The file that it is made from, whose owner and mode it has; none for one that is new.
    pub like: Option<PathBuf>,
    /// What stands there.
    pub bytes: Vec<u8>,
    /// The same as it is shown.
    pub text: String,
    /// What stands in the file that it is made from, as it is shown.
    pub old: String,
}

/// A remark of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What it is about.
    pub why: String,
    /// The line as it reads.
    pub text: String,
}

/// The name of what is made, beside the configuration.
const CONF: &str = "glha.conf";

/// Makes the plan for the configuration at `path`, an absolute path.
///
/// # Errors
///
/// Why there can be none: it is glha's own configuration already.
pub fn plan(path: &Path, loaded: &Loaded, reach: &mut Reach<'_>) -> Result<Plan, String> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let conf = folder.join(CONF);
    let mut library = Library::new(reach.read);
    let entries = entry::enter(&loaded.config, &mut library);
    if let Some(owner) = entries.owners.iter().find(|owner| owner.has_mount) {
        return Err(format!("{} has a hooks block with mount already", owner.name));
    }
    if path == conf {
        return Err(format!("the new configuration would be {} itself", path.display()));
    }
    let names: Vec<String> = entries.owners.iter().map(|owner| owner.name.clone()).collect();
    let gathered = gather(&entries.ways, &names, &gather::fstab(&reach.fstab));
    let mut plan = Plan { conf: conf.clone(), ..Plan::default() };
    let mut told = Teller { library: &mut library, loaded, plan: &mut plan };
    told.trouble();
    entries.left.iter().for_each(|(span, why)| told.left_in_conf(*span, why));
    let has_storage = gathered.storages.iter().any(Option::is_some);
    let changed = if has_storage { told.scripts(&entries, &gathered) } else { BTreeSet::new() };
    gathered.left.iter().for_each(|(file, line, why)| told.left(*file, *line, why));
    gathered.notes.iter().for_each(|(file, line, why)| told.note(*file, *line, why));
    if !has_storage {
        plan.finish();
        return Ok(plan);
    }
    let include = told.configuration(path, &entries, &changed);
    let mut text = format!(
        "# Made by glha adopt from {}; see glha(8).\ninclude {}\n",
        path.display(),
        include.display()
    );
    for (name, storage) in names.iter().zip(&gathered.storages) {
        let Some(storage) = storage else { continue };
        let table = folder.join(format!("glha-{}.fstab", plain_name(name)));
        let block = settings::block(name, storage, &table.display().to_string(), reach.disk);
        let _ = write!(text, "\n{}", block.text);
        for (from, why) in &block.left {
            told.left(from.0, from.1, why);
        }
        told.plan.steps.extend(block.steps);
        if let Some((path, text)) = block.table {
            told.plan.files.push(New::fresh(path.into(), text));
        }
    }
    plan.files.insert(0, New::fresh(conf, text));
    plan.finish();
    Ok(plan)
}

/// A name that can be part of a file's.
fn plain_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

impl New {
    fn fresh(path: PathBuf, text: String) -> Self {
        Self { path, like: None, bytes: text.clone().into_bytes(), text, old: String::new() }
    }

    fn from(path: &Path, old: &Text, text: String) -> Self {
        Self {
            path: renamed(path),
            like: Some(path.to_owned()),
            bytes: old.bytes(&text),
            text,
            old: old.text.clone(),
        }
    }
}

impl Plan {
    fn finish(&mut self) {
        for told in [&mut self.left, &mut self.notes] {
            told.sort();
            told.dedup();
        }
        let mut known = BTreeSet::new();
        self.steps.retain(|step| known.insert(step.clone()));
    }
}

/// Who adds to a plan what is to be said and written.
struct Teller<'a, 'b> {
    library: &'a mut Library<'b>,
    loaded: &'a Loaded,
    plan: &'a mut Plan,
}

impl Teller<'_, '_> {
    fn told(&self, file: usize, line: usize, why: &str) -> Option<Told> {
        let file = self.library.files.get(file)?;
        let text = line.checked_sub(1).and_then(|at| file.text.text.lines().nth(at));
        Some(Told::new(&file.path, line, why, text.unwrap_or_default()))
    }

    fn left(&mut self, file: usize, line: usize, why: &str) {
        self.plan.left.extend(self.told(file, line, why));
    }

    fn note(&mut self, file: usize, line: usize, why: &str) {
        self.plan.notes.extend(self.told(file, line, why));
    }

    fn left_in_conf(&mut self, span: Span, why: &str) {
        if let Some(file) = self.loaded.sources.files.get(span.file as usize) {
            let text = file.line(span.line).unwrap_or_default();
            self.plan.left.push(Told::new(&file.path, span.line as usize, why, text));
        }
    }

    /// A configuration that nothing starts with.
    fn trouble(&mut self) {
        let diagnostics = &self.loaded.diagnostics;
        let errors: Vec<(Span, String)> = diagnostics
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .map(|one| (one.span, format!("glha does not start with it: {}", one.message)))
            .collect();
        errors.iter().for_each(|(span, why)| self.left_in_conf(*span, why));
    }

    /// The scripts that change, by their places, and what becomes of them.
    fn scripts(&mut self, entries: &entry::Entries, gathered: &Gathered) -> BTreeSet<usize> {
        let mut changed: BTreeSet<usize> =
            gathered.verdicts.keys().map(|(file, _)| *file).collect();
        // Who names a script that changes, changes.
        let names: BTreeSet<(usize, tree::Place, usize)> =
            entries.ways.iter().flat_map(|way| way.trail.names.iter().copied()).collect();
        loop {
            let callers = names.iter().filter(|(.., called)| changed.contains(called));
            let more: BTreeSet<usize> = callers
                .map(|(caller, ..)| *caller)
                .filter(|caller| !changed.contains(caller))
                .collect();
            if more.is_empty() {
                break;
            }
            changed.extend(more);
        }
        let mut made = BTreeSet::new();
        for &at in &changed {
            let Some(file) = self.library.files.get(at).cloned() else { continue };
            let Ok(list) = &file.list else { continue };
            let mut edits = Vec::new();
            for (_, place, called) in names.iter().filter(|(caller, ..)| *caller == at) {
                let Some(called) =
                    self.library.files.get(*called).filter(|_| changed.contains(called))
                else {
                    continue;
                };
                let command = file.text.text.get(place.start..place.end).unwrap_or_default();
                match end_of_path(command, &called.path) {
                    Some(found) => {
                        let end = place.start + found;
                        edits.push((end..end, ".glha".to_owned()));
                    }
                    None => {
                        let new = renamed(&called.path);
                        let why = format!("it has to name {} by hand", new.display());
                        self.left(at, place.line, &why);
                    }
                }
            }
            let is_check = entries.ways.iter().any(|way| {
                way.trail
                    .visits
                    .iter()
                    .any(|visit| visit.file == at && visit.when == walk::When::Check)
            });
            let lines = line_starts(&file.text.text);
            let line_of = |at: usize| lines.partition_point(|&begin| begin <= at);
            let begin = (at, 0, String::new());
            let left = gathered.left.range(begin..).take_while(|(file, ..)| *file == at);
            let left: BTreeSet<usize> = left.map(|(_, line, _)| *line).collect();
            let script = edit::Script {
                text: &file.text.text,
                list,
                is_check,
                verdict: &|start| gathered.verdicts.get(&(at, start)).copied(),
                is_left: &|range| {
                    left.range(line_of(range.start)..=line_of(range.end)).next().is_some()
                },
            };
            match edit::edit(&script, edits) {
                Ok(Some(text)) => {
                    for line in own_name(&text) {
                        let why = "it goes by its own name ($0), which ends in .glha now";
                        let shown = text.lines().nth(line - 1).unwrap_or_default();
                        self.plan.left.push(Told::new(&renamed(&file.path), line, why, shown));
                    }
                    self.plan.files.push(New::from(&file.path, &file.text, text));
                    made.insert(at);
                }
                Ok(None) => {}
                Err(why) => self.left(at, 0, &why),
            }
        }
        made
    }

    /// The configuration that names the new scripts; its path, or that of the present one if nothing in
    /// it changes.
    fn configuration(
        &mut self,
        path: &Path,
        entries: &entry::Entries,
        changed: &BTreeSet<usize>,
    ) -> PathBuf {
        let scripts: Vec<(Span, PathBuf)> = entries
            .named
            .iter()
            .filter(|named| changed.contains(&named.file))
            .filter_map(|named| {
                Some((named.span, self.library.files.get(named.file)?.path.clone()))
            })
            .collect();
        let mut texts: BTreeMap<PathBuf, Text> = BTreeMap::new();
        for file in &self.loaded.sources.files {
            if let Some(text) = self.library.plain(&file.path) {
                texts.insert(file.path.clone(), text);
            }
        }
        let plain = texts.iter().map(|(path, text)| (path.clone(), text.text.clone())).collect();
        let (new, left) = rename(&self.loaded.sources, &plain, &scripts);
        for (path, line, why) in left {
            let text =
                texts.get(&path).and_then(|text| text.text.lines().nth(line.checked_sub(1)?));
            self.plan.left.push(Told::new(&path, line, &why, text.unwrap_or_default()));
        }
        let is_changed = new.contains_key(path);
        for (path, text) in new {
            if let Some(old) = texts.get(&path) {
                self.plan.files.push(New::from(&path, old, text));
            }
        }
        if is_changed { renamed(path) } else { path.to_owned() }
    }
}

impl Told {
    fn new(path: &Path, line: usize, why: &str, text: &str) -> Self {
        let text = if holds_secret(text) { "" } else { text.trim() };
        let text: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
        Self { path: path.to_owned(), line, why: why.to_owned(), text }
    }
}

/// Where a command that names a script ends to name it: its whole path, or its last part behind a folder
/// that is known otherwise.
fn end_of_path(command: &str, path: &Path) -> Option<usize> {
    let whole = path.display().to_string();
    if let Some(at) = command.find(&whole) {
        return Some(at + whole.len());
    }
    let last = format!("/{}", path.file_name()?.to_str()?);
    let mut found = command.match_indices(&last).map(|(at, _)| at + last.len());
    let end = found.next().filter(|_| found.next().is_none())?;
    let is_part = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    (!command.get(end..)?.starts_with(is_part)).then_some(end)
}

/// The lines that look at the name of their script, but for what it says of itself and where it lies.
fn own_name(text: &str) -> impl Iterator<Item = usize> {
    let looks = |line: &str| {
        let line = line.trim_start();
        (line.contains("$0") || line.contains("${0"))
            && !line.contains("dirname")
            && !line.starts_with(['#', '\\'])
            && !line.contains("echo")
            && !line.contains("printf")
            && !line.contains("logger")
            && !line.contains("awk")
    };
    text.lines().enumerate().filter(move |(_, line)| looks(line)).map(|(at, _)| at + 1)
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}
