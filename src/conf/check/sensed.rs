//! Tracked processes and files: who tracks what, with which weight.

use super::super::diagnostic::{Diagnostic, Severity};
use super::super::parse::{FileRaw, InstanceRaw, TrackRaw};
use super::super::{FileConf, suggest};
use super::{Checker, NO_WEIGHT};
use crate::core::spec::{FileId, FileSpec, ProcessId, ProcessSpec, Weight};

/// The weight of a file whose block gives none.
const FILE_WEIGHT: Weight = Weight { value: 1, reverse: false };

impl Checker<'_> {
    pub(super) fn track_processes(
        &mut self,
        raw: &InstanceRaw,
        priority: u8,
    ) -> Vec<(ProcessId, Weight)> {
        let mut found = Vec::new();
        for track in &raw.track_processes {
            let names = self.raw.processes.iter().map(|process| process.name.as_str());
            let Some(place) = names.clone().position(|name| name == track.name) else {
                self.unknown(&raw.name, "process", track, names.collect());
                continue;
            };
            let default = self.raw.processes[place].weight.unwrap_or(NO_WEIGHT);
            if let Some(weight) = self.owner_weight(raw, "process", track, default, priority) {
                found.push((self.process(place), weight));
            }
        }
        found
    }

    pub(super) fn track_files(&mut self, raw: &InstanceRaw, priority: u8) -> Vec<(FileId, Weight)> {
        let mut found = Vec::new();
        for track in &raw.track_files {
            let names = self.raw.files.iter().map(|file| file.name.as_str());
            let Some(place) = names.clone().position(|name| name == track.name) else {
                self.unknown(&raw.name, "file", track, names.collect());
                continue;
            };
            let default = self.raw.files[place].weight.unwrap_or(FILE_WEIGHT);
            if let Some(weight) = self.owner_weight(raw, "file", track, default, priority) {
                found.extend(self.file(place).map(|id| (id, weight)));
            }
        }
        found
    }

    /// The weight that holds; none for the owner of the addresses, whose priority never changes.
    pub(super) fn owner_weight(
        &mut self,
        raw: &InstanceRaw,
        what: &str,
        track: &TrackRaw,
        default: Weight,
        priority: u8,
    ) -> Option<Weight> {
        let weight = track.weight.unwrap_or(default);
        if priority != 255 || weight.value == 0 {
            return Some(weight);
        }
        let message = format!(
            "({}) ignoring tracked {what} {} with weight {} due to address owner",
            raw.name, track.name, weight.value
        );
        self.fault(track.span, message);
        None
    }

    /// The tracked process at this place of the raw ones, made when it is first tracked.
    fn process(&mut self, place: usize) -> ProcessId {
        let raw = &self.raw.processes[place];
        let processes = &mut self.config.spec.processes;
        if let Some(known) = processes.find(|process| process.name == raw.name) {
            return known;
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
        id
    }

    /// The tracked file at this place of the raw ones, made when it is first tracked.
    fn file(&mut self, place: usize) -> Option<FileId> {
        let raw = &self.raw.files[place];
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

    /// keepalived goes on without it. Where that switches a fault off unseen, it is an error here.
    pub(super) fn unknown(
        &mut self,
        instance: &str,
        what: &str,
        track: &TrackRaw,
        names: Vec<&str>,
    ) {
        let is_weighted = track.weight.is_some_and(|weight| weight.value != 0);
        let (severity, message) = if is_weighted {
            let message =
                format!("({instance}) track {what} {} not found, ignoring...", track.name);
            (Severity::Fault, message)
        } else {
            let message = format!(
                "({instance}) track {what} {} not found: keepalived would go on without it; \
                 define it or remove the line",
                track.name
            );
            (Severity::Error, message)
        };
        let suggestion = suggest::nearest(&track.name, names).map(str::to_owned);
        self.diagnostics.push(Diagnostic { span: track.span, severity, message, suggestion });
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
        for place in 0..raw.files.len() {
            if raw.files.get(place).is_some_and(is_written) {
                self.file(place);
            }
        }
    }
}
