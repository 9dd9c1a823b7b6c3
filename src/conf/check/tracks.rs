//! Who tracks what, whatever its kind, and with which weight.

use std::iter;
use std::time::Duration;

use super::super::diagnostic::{Diagnostic, Severity};
use super::super::parse::{InstanceRaw, Raw, TrackRaw};
use super::super::{Tracked, suggest};
use super::{Checker, NO_WEIGHT};
use crate::core::spec::{BfdId, FileId, LinkId, ProcessId, TrackCheck, Weight};

/// The weight of a file whose block gives none.
const FILE_WEIGHT: Weight = Weight { value: 1, reverse: false };

impl Tracked {
    /// Everything of this kind that there is, with the weight that holds where a line gives none.
    fn all(self, raw: &Raw) -> Box<dyn Iterator<Item = (&str, Weight)> + '_> {
        let none = NO_WEIGHT;
        match self {
            // They are not defined.
            Self::Interface => Box::new(iter::empty()),
            Self::Script => Box::new(
                raw.scripts.iter().map(move |one| (&*one.name, one.weight.unwrap_or(none))),
            ),
            Self::Process => Box::new(
                raw.processes.iter().map(move |one| (&*one.name, one.weight.unwrap_or(none))),
            ),
            Self::File => Box::new(
                raw.files.iter().map(|one| (&*one.name, one.weight.unwrap_or(FILE_WEIGHT))),
            ),
            Self::Bfd => {
                let known = raw.bfds.iter().filter(|bfd| bfd.is_for_vrrp());
                Box::new(known.map(move |one| (&*one.name, one.weight.unwrap_or(none))))
            }
        }
    }

    /// The weight that holds where a line gives none; none if there is nothing of that name.
    pub(super) fn default_weight(self, raw: &Raw, name: &str) -> Option<Weight> {
        match self {
            Self::Interface => Some(NO_WEIGHT),
            _ => self.all(raw).find(|&(known, _)| known == name).map(|(_, weight)| weight),
        }
    }
}

impl Checker<'_> {
    pub(super) fn track_links(
        &mut self,
        raw: &InstanceRaw,
        own: &str,
        priority: u8,
    ) -> Vec<(LinkId, Weight)> {
        for track in raw.tracked(Tracked::Interface).filter(|track| track.name == own) {
            let message =
                format!("({}) Ignoring track_interface {own} since own interface", raw.name);
            self.fault(track.span, message);
        }
        let others = raw.tracked(Tracked::Interface).filter(|track| track.name != own);
        let others = self.weighed(&raw.name, others, priority).into_iter();
        others.map(|(track, weight)| (self.link(&track.name), weight)).collect()
    }

    pub(super) fn track_checks(&mut self, raw: &InstanceRaw, priority: u8) -> Vec<TrackCheck> {
        let found = self.weighed(&raw.name, raw.tracked(Tracked::Script), priority);
        let mut checks = Vec::new();
        for (track, weight) in found {
            match self.check(&track.name) {
                Some(check) => checks.push(TrackCheck { check, weight, grace: Duration::ZERO }),
                None => self.unknown(&raw.name, track),
            }
        }
        checks
    }

    pub(super) fn track_processes(
        &mut self,
        raw: &InstanceRaw,
        priority: u8,
    ) -> Vec<(ProcessId, Weight)> {
        let found = self.weighed(&raw.name, raw.tracked(Tracked::Process), priority);
        found
            .into_iter()
            .filter_map(|(track, weight)| Some((self.process(&track.name)?, weight)))
            .collect()
    }

    pub(super) fn track_files(&mut self, raw: &InstanceRaw, priority: u8) -> Vec<(FileId, Weight)> {
        let found = self.weighed(&raw.name, raw.tracked(Tracked::File), priority);
        found
            .into_iter()
            .filter_map(|(track, weight)| Some((self.file(&track.name)?, weight)))
            .collect()
    }

    pub(super) fn track_bfds(&mut self, raw: &InstanceRaw, priority: u8) -> Vec<(BfdId, Weight)> {
        let found = self.weighed(&raw.name, raw.tracked(Tracked::Bfd), priority);
        let id = |name: &str| self.config.spec.bfds.find(|spec| spec.name == name);
        found.into_iter().filter_map(|(track, weight)| Some((id(&track.name)?, weight))).collect()
    }

    /// What of these is there, with the weight that holds. The owner of the addresses tracks nothing
    /// with a weight: its priority never changes.
    fn weighed<'r>(
        &mut self,
        instance: &str,
        tracks: impl Iterator<Item = &'r TrackRaw>,
        priority: u8,
    ) -> Vec<(&'r TrackRaw, Weight)> {
        let mut found = Vec::new();
        for track in tracks {
            let what = track.what;
            let Some(default) = what.default_weight(self.raw, &track.name) else {
                self.unknown(instance, track);
                continue;
            };
            let weight = track.weight.unwrap_or(default);
            if priority != 255 || weight.value == 0 {
                found.push((track, weight));
                continue;
            }
            let of = &track.name;
            let what = match what {
                Tracked::Interface => {
                    format!("ignoring {of} tracked interface due to address owner")
                }
                Tracked::Script => {
                    format!("ignoring tracked script {of} with weights due to address_owner")
                }
                Tracked::Process | Tracked::File | Tracked::Bfd => {
                    let value = weight.value;
                    format!("ignoring tracked {what} {of} with weight {value} due to address owner")
                }
            };
            self.fault(track.span, format!("({instance}) {what}"));
        }
        found
    }

    /// As keepalived, goes on without: a cluster that runs with such a file shall run on. Nothing is
    /// checked then, so the message says that; a process, a file or a session without a weight, whose
    /// loss would switch a fault off unseen, is an error here.
    fn unknown(&mut self, instance: &str, track: &TrackRaw) {
        let is_weighted = track.weight.is_some_and(|weight| weight.value != 0);
        let (severity, rest) = match track.what {
            Tracked::Script => (
                Severity::Fault,
                ", ignoring... (so nothing is checked: define it, or remove the line)",
            ),
            _ if is_weighted => (Severity::Fault, ", ignoring..."),
            _ => (
                Severity::Error,
                ": keepalived would go on without it; define it or remove the line",
            ),
        };
        let message = format!("({instance}) track {} {} not found{rest}", track.what, track.name);
        let names = track.what.all(self.raw).map(|(name, _)| name);
        let suggestion = suggest::nearest(&track.name, names.filter(|name| *name != track.name));
        let suggestion = suggestion.map(str::to_owned);
        self.diagnostics.push(Diagnostic { span: track.span, severity, message, suggestion });
    }
}
