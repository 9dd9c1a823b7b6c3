//! Tracked processes and files.

use super::super::FileConf;
use super::super::diagnostic::Severity;
use super::super::parse::FileRaw;
use super::Checker;
use crate::core::spec::{FileId, FileSpec, ProcessId, ProcessSpec};

impl Checker<'_> {
    /// The tracked process of that name, made when it is first tracked.
    pub(super) fn process(&mut self, name: &str) -> Option<ProcessId> {
        let raw = self.raw.processes.iter().find(|process| process.name == name)?;
        let processes = &mut self.config.spec.processes;
        if let Some(known) = processes.find(|process| process.name == raw.name) {
            return Some(known);
        }
        // A maximum alone, be it 0, has no minimum beside it that it could fall below.
        let max = raw.quorum_max.map(|at| at.value);
        let quorum = match (raw.quorum, max) {
            (Some(quorum), _) => quorum.value,
            (None, Some(0)) => 0,
            (None, _) => 1,
        };
        let id = self.config.ids.process(&raw.name);
        let spec = ProcessSpec {
            name: raw.name.clone(),
            quorum,
            quorum_max: max,
            fork_delay: raw.fork_delay,
            terminate_delay: raw.terminate_delay,
        };
        processes.insert(id, spec);
        self.config.processes.insert(id, raw.process.clone());
        Some(id)
    }

    /// The tracked file of that name, made when it is first tracked.
    pub(super) fn file(&mut self, name: &str) -> Option<FileId> {
        let raw = self.raw.files.iter().find(|file| file.name == name)?;
        let files = &mut self.config.spec.files;
        if let Some(known) = files.find(|file| file.name == raw.name) {
            return Some(known);
        }
        let path = raw.path.clone()?;
        let id = self.config.ids.file(&raw.name);
        files.insert(id, FileSpec { name: raw.name.clone() });
        self.config.files.insert(id, FileConf { path, init: raw.init });
        Some(id)
    }

    /// Says which are tracked by nobody. A file that has an `init_file` gets its number all the same,
    /// as with keepalived: somebody else may read it.
    pub(super) fn unused_senses(&mut self) {
        let (raw, spec) = (self.raw, &self.config.spec);
        let is_written = |raw: &FileRaw| raw.init.is_some();
        let processes = raw
            .processes
            .iter()
            .filter(|raw| !spec.processes.iter().any(|process| process.name == raw.name));
        let files =
            raw.files.iter().filter(|raw| !spec.files.iter().any(|file| file.name == raw.name));
        let unused: Vec<_> = processes
            .map(|raw| ("vrrp_track_process", &raw.name, raw.span))
            .map(|(what, name, span)| (what, name, span, "has no effect"))
            .chain(files.map(|raw| {
                let effect = if is_written(raw) { "is only written once" } else { "has no effect" };
                ("track_file", &raw.name, raw.span, effect)
            }))
            .collect();
        for (what, name, span, effect) in unused {
            let message = format!("{what} {name} is tracked by no instance and {effect}");
            self.say(Severity::Note, span, message);
        }
        for file in raw.files.iter().filter(|file| is_written(file)) {
            self.file(&file.name);
        }
    }
}
