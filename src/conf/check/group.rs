//! Sync groups: who is a member, what the group tracks on behalf of its members, and the `hooks`
//! block of a group.

use super::super::diagnostic::{Severity, Span};
use super::super::parse::{HooksRaw, InstanceRaw, SyncGroupRaw, TrackRaw};
use super::super::{CheckConf, GroupConf, Hooks, Tracked};
use super::{Checker, NO_WEIGHT, either, priority};
use crate::core::spec::{CheckSpec, GroupId, GroupSpec, InstanceId, Preempt, TrackCheck};

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
            self.group_tracks(&mut group);
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
    fn group_tracks(&mut self, group: &mut SyncGroupRaw) {
        let raw = self.raw;
        let is_member = |instance: &&InstanceRaw| {
            let mut members = group.members.iter().flatten();
            members.any(|member| member.value == instance.name)
        };
        let has_owner = raw.instances.iter().filter(is_member).any(|one| priority(one) == 255);
        let name = group.name.clone();
        let mut said: Vec<(Span, String)> = Vec::new();
        group.tracks.retain_mut(|track| {
            let Some(default) = track.what.default_weight(raw, &track.name) else {
                let message =
                    format!("({name}) track {} {} not found, ignoring...", track.what, track.name);
                said.push((track.span, message));
                return false;
            };
            let weight = track.weight.unwrap_or(default);
            if has_owner && weight.value != 0 {
                let message = format!(
                    "({name}) Cannot have weighted track {} '{}' with member having priority 255 - \
                     clearing weight",
                    track.what, track.name
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
        if !group.keeps_weights {
            self.own_weights(&mut instance);
        }
        self.join_tracks(&mut instance, group);
        instance
    }

    /// In a group weights would let the members' priorities drift apart; so they do not hold,
    /// unless the group says so.
    fn own_weights(&mut self, instance: &mut InstanceRaw) {
        let raw = self.raw;
        let name = &instance.name;
        let mut said: Vec<(Span, String)> = Vec::new();
        instance.tracks.retain_mut(|track| {
            let (what, of) = (track.what, &track.name);
            let default = what.default_weight(raw, of).unwrap_or(NO_WEIGHT);
            let weight = track.weight.unwrap_or(default).value;
            if weight == 0 || what == Tracked::Process {
                return true;
            }
            let message = match what {
                Tracked::Interface => {
                    format!("({name}) ignoring {of} tracked interface weight due to SYNC group")
                }
                Tracked::Script => {
                    format!("({name}) ignoring tracked script {of} with weights due to SYNC group")
                }
                Tracked::Process | Tracked::File | Tracked::Bfd => format!(
                    "({name}) ignoring tracked {what} {of} with weight {weight} due to SYNC group"
                ),
            };
            said.push((track.span, message));
            track.weight = Some(NO_WEIGHT);
            what == Tracked::Interface
        });
        said.into_iter().for_each(|(span, message)| self.fault(span, message));
    }

    /// What the instance tracks itself it tracks as it says.
    fn join_tracks(&mut self, instance: &mut InstanceRaw, group: &SyncGroupRaw) {
        let interface = instance.interface.as_ref().map(|at| &at.value);
        for track in &group.tracks {
            let is_same = |other: &TrackRaw| other.what == track.what && other.name == track.name;
            let is_link = track.what == Tracked::Interface;
            let is_own = is_link && interface == Some(&track.name);
            if !is_own && !instance.tracks.iter().any(is_same) {
                instance.tracks.push(track.clone());
                continue;
            }
            let or_group = if is_link { " or sync group" } else { "" };
            let message = format!(
                "({}) track_{} {} is configured on VRRP instance and sync group. Remove vrrp \
                 instance{or_group} config",
                instance.name, track.what, track.name
            );
            if track.what != Tracked::Process {
                self.fault(track.span, message);
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
            let global = &self.raw.global;
            let weighed =
                |track: TrackRaw| (track.what, track.name, track.weight.unwrap_or(NO_WEIGHT));
            self.config.groups.push(GroupConf {
                tracks: raw.tracks.into_iter().map(weighed).collect(),
                smtp_alert: either(raw.smtp_alert, global.smtp_alert_vrrp.or(global.smtp_alert)),
                notify_priority_changes: either(
                    raw.notify_priority_changes,
                    global.notify_priority_changes,
                ),
                span: raw.span,
                ..raw.conf
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
        self.check_hook(raw, &members);
        let hooks = Hooks { group: Some(raw.name.clone()), ..Self::hooks_conf(raw) };
        if let Some(conf) = self.config.groups.get_mut(place) {
            conf.hooks = Some(Box::new(hooks));
        }
    }

    /// The check hook of an instance, or of all members of a group.
    pub(super) fn check_hook(&mut self, raw: &HooksRaw, members: &[InstanceId]) {
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
