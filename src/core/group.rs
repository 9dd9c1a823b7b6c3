//! Sync groups: instances that change state together.
//!
//! Without storage the members are equals, as in keepalived: whoever changes first pulls the
//! others. With storage the first member leads. It alone has a gate and decides; the others tell it
//! what they hear and what their interfaces and checks are like, and go from phase to phase with
//! it. So every rule about the storage stands in one place, and holds for the group as a whole.

use std::cmp::Reverse;
use std::mem::discriminant;

use super::bond::{Calls, Lead, Role};
use super::event::{Action, NotifyState, Report};
use super::instance::Instance;
use super::phase::{Goal, Phase};
use super::spec::{GroupId, GroupSpec, InstanceId};
use super::{Core, Table, Time};

/// A sync group of a running core.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it is configured to be.
    pub spec: GroupSpec,
    /// What its notify scripts were told last.
    pub told: Option<NotifyState>,
}

impl Group {
    pub(super) const fn new(spec: GroupSpec) -> Self {
        Self { spec, told: None }
    }
}

impl Core {
    /// All sync groups.
    pub const fn groups(&self) -> &Table<GroupId, Group> {
        &self.groups
    }

    /// Who decides about the storage of an instance: itself, or the first member of its group.
    pub fn leader_of(&self, id: InstanceId) -> InstanceId {
        match self.instances().get(id).map(|instance| instance.bond.role) {
            Some(Role::Follower(group)) => self.groups[group].spec.members[0],
            _ => id,
        }
    }

    /// An instance and those that change state with it, in the order of their group.
    pub fn company_of(&self, id: InstanceId) -> Vec<InstanceId> {
        match self.instances().get(id).map(|instance| instance.bond.role) {
            Some(Role::Member(group) | Role::Leader(group) | Role::Follower(group)) => {
                self.groups[group].spec.members.clone()
            }
            Some(Role::Alone | Role::Orphan) | None => vec![id],
        }
    }

    /// Tells every instance which group it is in. One that is in none any more and followed is left
    /// alone with its addresses.
    pub(super) fn bind(&mut self) {
        self.instances.change_each(|instance| {
            let bond = &mut instance.bond;
            let was_follower = matches!(bond.role, Role::Follower(_) | Role::Orphan);
            bond.role = if was_follower { Role::Orphan } else { Role::Alone };
            (bond.group, bond.others_cause, bond.are_others_unready) = (None, None, false);
        });
        for (id, group) in self.groups.entries() {
            let all = self.instances.all();
            let members = &group.spec.members;
            let is_held = members.iter().any(|id| all.get(*id).is_some_and(Instance::is_held));
            for (rank, member) in members.iter().enumerate() {
                self.instances.change(*member, |instance| {
                    if is_held {
                        instance.hold.is_on = true;
                    }
                    instance.bond.group = Some(group.spec.name.clone());
                    instance.bond.role = match (group.spec.is_gated, rank) {
                        (false, _) => Role::Member(id),
                        (true, 0) => Role::Leader(id),
                        (true, _) => Role::Follower(id),
                    };
                });
            }
        }
    }

    /// Tells a member what it must know of the others.
    pub(super) fn meet(&mut self, id: InstanceId, now: Time) {
        let Some(instance) = self.instances().get(id) else { return };
        let (Role::Member(group) | Role::Leader(group)) = instance.bond.role else { return };
        let resumes = instance.resumes();
        for member in &self.groups[group].spec.members {
            let links = &self.links;
            self.instances.change(*member, |other| {
                if matches!(other.phase, Phase::Init) {
                    // It has not looked for itself yet.
                    other.source = links[other.spec.link.0].source(&other.spec, other.source);
                }
            });
        }
        let instance = &self.instances()[id];
        let world = self.world();
        let members = &self.groups[group].spec.members;
        let others =
            || members.iter().filter(|other| **other != id).map(|other| &self.instances()[*other]);
        // A new one that is not there yet keeps nobody from being what he is.
        let has_begun = !matches!(instance.phase, Phase::Init);
        let counts = |other: &&Instance| !(has_begun && matches!(other.phase, Phase::Init));
        let cause = others().filter(counts).find_map(|other| {
            let (reason, detail) = other.tracked(world).cause()?;
            Some((reason, format!("{}: {detail}", other.spec.name)))
        });
        let are_unready = !others().all(|other| other.tracked(world).is_known(resumes));
        let master = others().find_map(|other| {
            let master = other.peers.living_master(other.master_down_interval(), now)?;
            Some((master.address, master.priority))
        });
        self.instances.change(id, |instance| {
            let bond = &mut instance.bond;
            (bond.others_cause, bond.are_others_unready, bond.others_master) =
                (cause, are_unready, master);
        });
    }

    /// After something has happened to an instance: brings its group in line with it.
    pub(super) fn sync(&mut self, member: InstanceId, was_master: bool, now: Time) {
        let Some(role) = self.instances().get(member).map(|instance| instance.bond.role) else {
            return;
        };
        let group = match role {
            Role::Alone | Role::Orphan => return,
            Role::Member(group) => {
                self.sync_equals(group, member, was_master, now);
                group
            }
            Role::Leader(group) | Role::Follower(group) => {
                self.sync_followers(group, member, now);
                group
            }
        };
        self.tell_group(group, member, now);
    }

    /// Without storage: keepalived's rules.
    fn sync_equals(&mut self, group: GroupId, member: InstanceId, was_master: bool, now: Time) {
        if self.is_stopping {
            return;
        }
        let is_due = self.instances()[member].bond.is_due;
        match self.instances()[member].phase {
            Phase::Fault => {
                let detail = self.why(member);
                self.pull(group, member, Goal::Fault, &detail, now);
            }
            Phase::Backup { .. } if is_due => {
                let is_willing = |id: &InstanceId| {
                    let other = &self.instances()[*id];
                    other.bond.is_due || matches!(other.phase, Phase::Master { .. })
                };
                let members = &self.groups[group].spec.members;
                if members.iter().all(is_willing) {
                    // Whoever has to stay backup keeps the others with it.
                    let is_kept = |id: &&InstanceId| self.instances()[**id].is_kept_backup();
                    let first = members.iter().find(is_kept).map_or(member, |kept| *kept);
                    self.alone(first, now, Instance::take_over);
                    self.rise(group, first, now);
                }
            }
            Phase::Backup { .. } => {
                if was_master {
                    let detail = self.why(member);
                    self.pull(group, member, Goal::Backup, &detail, now);
                }
                self.leave_fault(group, member, now);
            }
            Phase::Init
            | Phase::Acquiring(_)
            | Phase::Probing(_)
            | Phase::Master { .. }
            | Phase::Releasing(_)
            | Phase::Stuck(_)
            | Phase::Stopped => {}
        }
    }

    /// What a member pulls the others by.
    fn why(&self, member: InstanceId) -> String {
        let instance = &self.instances()[member];
        match instance.detail.as_str() {
            "" => format!("with {}", instance.spec.name),
            detail => format!("with {}: {detail}", instance.spec.name),
        }
    }

    /// The others of a group.
    fn others(&self, group: GroupId, member: InstanceId) -> Vec<InstanceId> {
        let members = self.groups[group].spec.members.iter().copied();
        members.filter(|&other| other != member).collect()
    }

    /// Takes the others along, down to backup or to fault.
    fn pull(&mut self, group: GroupId, member: InstanceId, goal: Goal, detail: &str, now: Time) {
        let mut is_first = true;
        for other in self.others(group, member) {
            let is_below = match self.instances()[other].phase {
                Phase::Master { .. } => false,
                Phase::Backup { .. } => goal == Goal::Backup,
                _ => true,
            };
            if is_below {
                continue;
            }
            if std::mem::take(&mut is_first) {
                self.say_sync(group, goal.notify_state());
            }
            self.meet(other, now);
            self.alone(other, now, |instance, ctx| instance.follow_down(goal, detail, ctx));
        }
    }

    /// Takes the others along to master.
    fn rise(&mut self, group: GroupId, member: InstanceId, now: Time) {
        if !matches!(self.instances()[member].phase, Phase::Master { .. }) {
            return;
        }
        self.say_sync(group, NotifyState::Master);
        for other in self.others(group, member) {
            if matches!(self.instances()[other].phase, Phase::Backup { .. }) {
                self.alone(other, now, Instance::take_over);
            }
        }
    }

    /// Takes the others along out of the fault, if nothing keeps them there.
    fn leave_fault(&mut self, group: GroupId, member: InstanceId, now: Time) {
        let mut is_first = true;
        for other in self.others(group, member) {
            if !matches!(self.instances()[other].phase, Phase::Fault) {
                continue;
            }
            if std::mem::take(&mut is_first) {
                self.say_sync(group, NotifyState::Backup);
            }
            self.meet(other, now);
            self.alone(other, now, Instance::review);
        }
    }

    /// keepalived's line.
    fn say_sync(&mut self, group: GroupId, state: NotifyState) {
        let name = &self.groups[group].spec.name;
        let text = format!("VRRP_Group({name}) Syncing instances to {} state", state.word());
        self.actions.push(Action::Report(Report::of_node(text)));
    }

    /// With storage: the leader hears what the others have to say, and they go where it goes.
    fn sync_followers(&mut self, group: GroupId, member: InstanceId, now: Time) {
        let members = self.groups[group].spec.members.clone();
        let Some((&leader, followers)) = members.split_first() else { return };
        if member != leader {
            self.meet(leader, now);
            for &follower in followers {
                let mut calls = Calls::default();
                self.instances
                    .change(follower, |instance| calls = std::mem::take(&mut instance.bond.calls));
                self.alone(leader, now, |instance, ctx| instance.answer_calls(calls, ctx));
            }
            self.alone(leader, now, Instance::review);
        }
        if members.iter().all(|&member| self.instances()[member].bond.is_due) {
            self.meet(leader, now);
            self.alone(leader, now, Instance::take_over);
        }
        let mut vouched = None;
        self.instances.change(leader, |instance| vouched = instance.bond.vouched.take());
        let instance = &self.instances()[leader];
        let phase = instance.phase.clone();
        let (reason, detail) = (instance.reason, instance.detail.clone());
        let lead = Lead { phase, reason, detail, vouched };
        let mut is_first = true;
        for &follower in followers {
            let instance = &self.instances()[follower];
            let moves = discriminant(&instance.phase) != discriminant(&lead.phase);
            if moves && std::mem::take(&mut is_first) {
                match lead.phase {
                    Phase::Master { .. } => self.say_sync(group, NotifyState::Master),
                    Phase::Backup { .. } => self.say_sync(group, NotifyState::Backup),
                    Phase::Fault => self.say_sync(group, NotifyState::Fault),
                    _ => {}
                }
            }
            self.alone(follower, now, |instance, ctx| instance.follow_leader(&lead, ctx));
        }
        self.take_in_reverse(&members);
    }

    /// Addresses that are taken off in this turn go in the reverse order of the members.
    fn take_in_reverse(&mut self, members: &[InstanceId]) {
        let rank = |action: &Action| match action {
            Action::TakeAddresses { instance } => members.iter().position(|m| m == instance),
            _ => None,
        };
        let places: Vec<usize> =
            (0..self.actions.len()).filter(|&at| rank(&self.actions[at]).is_some()).collect();
        let mut takes: Vec<Action> = places.iter().map(|&at| self.actions[at].clone()).collect();
        takes.sort_by_key(|action| Reverse(rank(action)));
        for (place, action) in places.into_iter().zip(takes) {
            self.actions[place] = action;
        }
    }

    /// Tells the group's notify scripts, when all members have arrived at a state. At the start
    /// they are told first, unless a member has waited for a check, as with keepalived.
    fn tell_group(&mut self, id: GroupId, member: InstanceId, now: Time) {
        let group = &self.groups[id];
        let mut states =
            group.spec.members.iter().map(|id| self.instances()[*id].phase.notify_state());
        let Some(state) = states.next().flatten() else { return };
        if group.told == Some(state) || !states.all(|other| other == Some(state)) {
            return;
        }
        let mut facts = self.instances()[member].facts(now);
        facts.instance = String::new();
        let members = group.spec.members.clone();
        let facts = Box::new(facts);
        let action = Action::NotifyGroup { group: id, members, state, facts };
        let is_member_s = |action: &Action| matches!(action, Action::Notify { instance, .. } if group.spec.members.contains(instance));
        let first = self.actions.iter().position(is_member_s);
        let has_waited = group.spec.members.iter().any(|id| {
            let checks = &self.instances()[*id].spec.track_checks;
            checks.iter().any(|track| track.weight.value == 0)
        });
        let is_first = group.told.is_none() && !has_waited;
        let place = first.filter(|_| is_first).unwrap_or(self.actions.len());
        self.actions.insert(place, action);
        self.groups[id].told = Some(state);
    }
}
