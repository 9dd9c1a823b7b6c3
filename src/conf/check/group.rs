//! Sync groups: who is a member, what the group tracks on behalf of its members, and the `hooks`
//! block of a group.

use super::super::diagnostic::{Severity, Span};
use super::super::parse::{HooksRaw, InstanceRaw, Raw, SyncGroupRaw, TrackRaw};
use super::super::{CheckConf, GroupConf, Hooks};
use super::{Checker, NO_WEIGHT, priority};
use crate::core::spec::{CheckSpec, GroupId, GroupSpec, InstanceId, Preempt, TrackCheck, Weight};

/// The weight of a file whose block gives none.
const FILE_WEIGHT: Weight = Weight { value: 1, reverse: false };

/// What can be tracked, with the words of keepalived's messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Interface,
    Script,
    Process,
    File,
    Bfd,
}

const ALL: [What; 5] = [What::Interface, What::Script, What::Process, What::File, What::Bfd];

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Script => "script",
            Self::Process => "process",
            Self::File => "file",
            Self::Bfd => "bfd",
        }
    }

    fn of_group(self, group: &mut SyncGroupRaw) -> &mut Vec<TrackRaw> {
        match self {
            Self::Interface => &mut group.track_interfaces,
            Self::Script => &mut group.track_scripts,
            Self::Process => &mut group.track_processes,
            Self::File => &mut group.track_files,
            Self::Bfd => &mut group.track_bfds,
        }
    }

    fn of_instance(self, instance: &mut InstanceRaw) -> &mut Vec<TrackRaw> {
        match self {
            Self::Interface => &mut instance.track_interfaces,
            Self::Script => &mut instance.track_scripts,
            Self::Process => &mut instance.track_processes,
            Self::File => &mut instance.track_files,
            Self::Bfd => &mut instance.track_bfds,
        }
    }

    /// The weight that holds where a line gives none; none if there is nothing of that name.
    fn default_weight(self, raw: &Raw, name: &str) -> Option<Weight> {
        match self {
            Self::Interface => Some(NO_WEIGHT),
            Self::Script => {
                let script = raw.scripts.iter().find(|script| script.name == name)?;
                Some(script.weight.unwrap_or(NO_WEIGHT))
            }
            Self::Process => {
                let process = raw.processes.iter().find(|process| process.name == name)?;
                Some(process.weight.unwrap_or(NO_WEIGHT))
            }
            Self::File => {
                let file = raw.files.iter().find(|file| file.name == name)?;
                Some(file.weight.unwrap_or(FILE_WEIGHT))
            }
            Self::Bfd => {
                let mut known = raw.bfds.iter().filter(|bfd| bfd.is_for_vrrp());
                Some(known.find(|bfd| bfd.name == name)?.weight.unwrap_or(NO_WEIGHT))
            }
        }
    }
}

impl Checker<'_> {
    /// The groups with those of their members that there are, each in one group only; what they
    /// track has its weight.
    pub(super) fn groups(&mut self) -> Vec<SyncGroupRaw> {
        let mut taken: Vec<String> = Vec::new();
        let mut groups = Vec::new();
        for group in &self.raw.groups {
            let mut group = group.clone();
            if !self.members(&mut group, &mut taken) {
                continue;
            }
            for what in ALL {
                self.group_tracks(&mut group, what);
            }
            groups.push(group);
        }
        groups
    }

    /// False if there is no group without members.
    fn members(&mut self, group: &mut SyncGroupRaw, taken: &mut Vec<String>) -> bool {
        let name = &group.name;
        let Some(members) = &mut group.members else {
            let message = format!("Sync group {name} has no virtual router(s). removing");
            self.fault(group.span, message);
            return false;
        };
        let is_there = |name: &str| self.raw.instances.iter().any(|other| other.name == name);
        let mut said = Vec::new();
        members.retain(|member| {
            let message = if !is_there(&member.value) {
                format!(
                    "Virtual router {} specified in sync group {name} doesn't exist - ignoring",
                    member.value
                )
            } else if taken.contains(&member.value) {
                format!(
                    "Virtual router {} cannot exist in more than one sync group; ignoring {name}",
                    member.value
                )
            } else {
                taken.push(member.value.clone());
                return true;
            };
            said.push((member.span, message));
            false
        });
        let count = members.len();
        said.into_iter().for_each(|(span, message)| self.fault(span, message));
        if count == 0 {
            let message = format!(
                "Sync group {name}, no matching virtual router found in group declaration - removing"
            );
            self.fault(group.span, message);
        } else if count == 1 {
            let message = format!(
                "Sync group {name} has only 1 virtual router(s) - this probably isn't what you want"
            );
            self.fault(group.span, message);
        }
        count > 0
    }

    /// Gives every tracked thing its weight; none has one where a member owns its addresses.
    fn group_tracks(&mut self, group: &mut SyncGroupRaw, what: What) {
        let raw = self.raw;
        let is_member = |instance: &&InstanceRaw| {
            let mut members = group.members.iter().flatten();
            members.any(|member| member.value == instance.name)
        };
        let has_owner = raw.instances.iter().filter(is_member).any(|one| priority(one) == 255);
        let name = group.name.clone();
        let mut said: Vec<(Span, String)> = Vec::new();
        what.of_group(group).retain_mut(|track| {
            let Some(default) = what.default_weight(raw, &track.name) else {
                let (word, of) = (what.word(), &track.name);
                let message = format!("({name}) track {word} {of} not found, ignoring...");
                said.push((track.span, message));
                return false;
            };
            let weight = track.weight.unwrap_or(default);
            if has_owner && weight.value != 0 {
                let message = format!(
                    "({name}) Cannot have weighted track {} '{}' with member having priority 255 - \
                     clearing weight",
                    what.word(),
                    track.name
                );
                said.push((track.span, message));
            }
            track.weight = Some(if has_owner { NO_WEIGHT } else { weight });
            true
        });
        said.into_iter().for_each(|(span, message)| self.fault(span, message));
    }

    /// An instance with what its group tracks on its behalf.
    pub(super) fn grouped(&mut self, raw: &InstanceRaw, groups: &[SyncGroupRaw]) -> InstanceRaw {
        let mut instance = raw.clone();
        let is_in = |group: &&SyncGroupRaw| {
            group.members.iter().flatten().any(|member| member.value == raw.name)
        };
        let Some(group) = groups.iter().find(is_in) else { return instance };
        let mut group = group.clone();
        for what in ALL {
            self.own_weights(&mut instance, &group, what);
            self.join_tracks(&mut instance, &mut group, what);
        }
        instance
    }

    /// In a group weights would let the members' priorities drift apart; so they do not hold,
    /// unless the group says so.
    fn own_weights(&mut self, instance: &mut InstanceRaw, group: &SyncGroupRaw, what: What) {
        if group.keeps_weights || what == What::Process {
            return;
        }
        let raw = self.raw;
        let name = instance.name.clone();
        let mut said: Vec<(Span, String)> = Vec::new();
        what.of_instance(instance).retain_mut(|track| {
            let default = what.default_weight(raw, &track.name).unwrap_or(NO_WEIGHT);
            let weight = track.weight.unwrap_or(default).value;
            if weight == 0 {
                return true;
            }
            let of = &track.name;
            let message = match what {
                What::Interface => {
                    format!("({name}) ignoring {of} tracked interface weight due to SYNC group")
                }
                What::Script => {
                    format!("({name}) ignoring tracked script {of} with weights due to SYNC group")
                }
                What::Process | What::File | What::Bfd => format!(
                    "({name}) ignoring tracked {} {of} with weight {weight} due to SYNC group",
                    what.word()
                ),
            };
            said.push((track.span, message));
            track.weight = Some(NO_WEIGHT);
            what == What::Interface
        });
        said.into_iter().for_each(|(span, message)| self.fault(span, message));
    }

    /// What the instance tracks itself it tracks as it says.
    fn join_tracks(&mut self, instance: &mut InstanceRaw, group: &mut SyncGroupRaw, what: What) {
        let name = instance.name.clone();
        let interface = instance.interface.as_ref().map(|at| at.value.clone());
        for track in std::mem::take(what.of_group(group)) {
            let own = what.of_instance(instance);
            let is_doubled = own.iter().any(|other| other.name == track.name)
                || what == What::Interface && interface.as_ref() == Some(&track.name);
            if !is_doubled {
                own.push(track);
                continue;
            }
            let remedy = match what {
                What::Interface => "Remove vrrp instance or sync group config",
                What::Script | What::Process | What::File | What::Bfd => {
                    "Remove vrrp instance config"
                }
            };
            let message = format!(
                "({name}) track_{} {} is configured on VRRP instance and sync group. {remedy}",
                what.word(),
                track.name
            );
            match what {
                What::Process => {}
                What::Interface | What::Script | What::File | What::Bfd => {
                    self.fault(track.span, message);
                }
            }
        }
    }

    /// Puts the groups into the configuration, once the instances are there.
    pub(super) fn put_groups(&mut self, groups: Vec<SyncGroupRaw>) {
        for raw in groups {
            let instances = &self.config.spec.instances;
            let place = |name: &str| instances.find(|one| one.name == name);
            let members = raw.members.iter().flatten();
            let members: Vec<InstanceId> =
                members.filter_map(|member| place(&member.value)).collect();
            // Members that were left out for an error of their own have been named.
            if members.is_empty() {
                continue;
            }
            self.config.spec.groups.push(GroupSpec {
                name: raw.name.clone(),
                members,
                is_gated: false,
            });
            let daemon = &self.raw.global.daemon;
            let text = |tracks: &[TrackRaw], comma: &str| -> Vec<String> {
                let one = |track: &TrackRaw| {
                    let weight = track.weight.unwrap_or(NO_WEIGHT);
                    let reverse = if weight.reverse { " reverse" } else { "" };
                    format!("{}{comma} weight {}{reverse}", track.name, weight.value)
                };
                tracks.iter().map(one).collect()
            };
            self.config.groups.push(GroupConf {
                track_interfaces: text(&raw.track_interfaces, ""),
                track_scripts: text(&raw.track_scripts, ""),
                track_files: text(&raw.track_files, ","),
                track_processes: text(&raw.track_processes, ","),
                track_bfds: text(&raw.track_bfds, ":"),
                smtp_alert: raw
                    .smtp_alert
                    .or(daemon.smtp_alert_vrrp)
                    .or(daemon.smtp_alert)
                    .unwrap_or(false),
                notify_priority_changes: raw
                    .notify_priority_changes
                    .unwrap_or(daemon.notify_priority_changes),
                notify_master: raw.notify_master,
                notify_backup: raw.notify_backup,
                notify_fault: raw.notify_fault,
                notify_stop: raw.notify_stop,
                notify: raw.notify,
                hooks: None,
                span: raw.span,
            });
        }
    }

    /// A `hooks` block that names a group: its storage is the group's.
    pub(super) fn group_hooks(&mut self, raw: &HooksRaw, place: GroupId) {
        let Some(members) = self.config.spec.groups.get(place).map(|group| group.members.clone())
        else {
            return;
        };
        if raw.mount.is_some() {
            for member in &members {
                self.gate(raw, *member);
            }
            if let Some(group) = self.config.spec.groups.get_mut(place) {
                group.is_gated = true;
            }
        } else {
            self.ungated(raw);
        }
        self.group_check(raw, &members);
        let hooks = Hooks { group: Some(raw.name.clone()), ..Self::hooks_conf(raw) };
        if let Some(conf) = self.config.groups.get_mut(place) {
            conf.hooks = Some(Box::new(hooks));
        }
    }

    fn group_check(&mut self, raw: &HooksRaw, members: &[InstanceId]) {
        let Some(check) = &raw.check else { return };
        let spec = &mut self.config.spec;
        let is_owner = |id: &InstanceId| spec.instances[*id].priority == 255;
        if check.weight.value != 0 && members.iter().any(is_owner) {
            let message = format!(
                "({}) the check hook is left out: weights never change priority 255",
                raw.name
            );
            return self.say(Severity::Warning, check.span, message);
        }
        let name = format!("{}.check", raw.name);
        let id = self.config.ids.check(&name);
        for member in members {
            let (weight, grace) = (check.weight, check.grace);
            let track = TrackCheck { check: id, weight, grace };
            spec.instances[*member].track_checks.push(track);
        }
        let spec_of_check = CheckSpec {
            name,
            interval: check.interval,
            timeout: check.timeout,
            rise: check.rise,
            fall: check.fall,
            init_fail: false,
        };
        spec.checks.insert(id, spec_of_check);
        let conf = CheckConf {
            script: raw.script(check.path.as_deref(), "check.sh", check.span),
            weight: check.weight,
            timeout: Some(check.timeout),
            hook_of: members.first().copied(),
        };
        self.config.checks.insert(id, conf);
    }

    /// The storage of one member would have to move with the whole group.
    pub(super) fn storage_within_groups(&mut self) {
        let mut found = Vec::new();
        for group in &self.config.spec.groups {
            for member in &group.members {
                let name = &self.config.spec.instances[*member].name;
                let hooks = self.config.instances[*member].hooks.as_ref();
                if let Some(mount) = hooks.and_then(|hooks| hooks.mount.as_ref()) {
                    let message = format!(
                        "mount: {name} is in the sync group {0}, so its storage moves with the whole \
                         group: write it in `hooks {0}`",
                        group.name
                    );
                    found.push((mount.script.span, message));
                }
            }
        }
        found.into_iter().for_each(|(span, message)| self.error(span, message));
    }

    /// With storage nobody preempts otherwise than the block says.
    pub(super) const fn gated_preempt(raw: &HooksRaw) -> Preempt {
        match raw.preempt {
            Some(at) => at.value,
            None => Preempt::Weakened,
        }
    }
}
