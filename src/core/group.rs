//! Sync groups: instances that change state together.
//!
//! Without storage the members are equals, as in keepalived: whoever changes first pulls the
//! others. With storage the first member leads. It alone has a gate and decides; the others tell it
//! what they hear and what their interfaces and checks are like, and go from phase to phase with
//! it. So every rule about the storage stands in one place, and holds for the group as a whole.

use std::cmp::Reverse;
use std::mem::discriminant;
use std::net::IpAddr;

use super::event::{Action, Level, NotifyState, Reason, Report};
use super::instance::{Ctx, Instance};
use super::phase::{Acquiring, Doubt, Goal, Phase, Probing, Releasing, Step};
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

/// What an instance is among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// In no group.
    #[default]
    Alone,
    /// In a group without storage.
    Member(GroupId),
    /// The first member of a group with storage.
    Leader(GroupId),
    /// Another one.
    Follower(GroupId),
    /// It followed until a reload took it out of its group.
    Orphan,
}

/// What ties an instance to its group.
#[derive(Clone, Debug, Default)]
pub(super) struct Bond {
    pub(super) role: Role,
    /// The group's name.
    pub(super) group: Option<String>,
    /// It would be master, if the others would, too: its master down timer has run out.
    pub(super) is_due: bool,
    /// Why another member must not be master, as far as this one must know: with its name.
    pub(super) others_cause: Option<(Reason, String)>,
    /// Everything is known that decides about the start of the others.
    pub(super) are_others_unready: bool,
    /// A living master that another member hears.
    pub(super) others_master: Option<(IpAddr, u8)>,
    /// What a follower has to tell its leader.
    pub(super) calls: Calls,
    /// A leader has let go and may say so, on its way to this.
    pub(super) vouched: Option<Goal>,
}

/// What a follower has to tell its leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// Somebody was heard, so the storage may be fought for again.
    pub(super) has_heard: bool,
    /// Somebody claims to be master.
    pub(super) is_claimed: bool,
    /// The storage should be looked at.
    pub(super) wants_probe: bool,
    /// A better master is to be yielded to.
    pub(super) yields: Option<String>,
    /// Another claim goes first.
    pub(super) backs_off: Option<String>,
}

impl Bond {
    pub(super) const fn is_follower(&self) -> bool {
        matches!(self.role, Role::Follower(_))
    }

    /// Does it wait for others before it becomes master?
    pub(super) const fn is_bound(&self) -> bool {
        matches!(self.role, Role::Member(_) | Role::Leader(_) | Role::Follower(_))
    }
}

/// What a leader's followers need to know of it.
struct Lead {
    phase: Phase,
    reason: Reason,
    detail: String,
    vouched: Option<Goal>,
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
                        instance.join_hold();
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
        let (links, checks, senses, wall) = (&self.links, &self.checks, &self.senses, self.wall);
        let ctx = Ctx { now, wall, links, checks, senses, out: &mut Vec::new() };
        let members = &self.groups[group].spec.members;
        let others =
            || members.iter().filter(|other| **other != id).map(|other| &self.instances()[*other]);
        // A new one that is not there yet keeps nobody from being what he is.
        let has_begun = !matches!(instance.phase, Phase::Init);
        let counts = |other: &&Instance| !(has_begun && matches!(other.phase, Phase::Init));
        let cause = others().filter(counts).find_map(|other| {
            let (reason, detail) = other.own_cause(&ctx)?;
            Some((reason, format!("{}: {detail}", other.spec.name)))
        });
        let are_unready = !others().all(|other| other.is_ready(resumes, &ctx));
        let master = others().find_map(|other| other.living_master(now));
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
        let mut states = group.spec.members.iter().map(|id| self.instances()[*id].notify_state());
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

impl Instance {
    /// Its role among others.
    pub const fn role(&self) -> Role {
        self.bond.role
    }

    /// The name of its sync group.
    pub fn group(&self) -> Option<&str> {
        self.bond.group.as_deref()
    }

    /// The master down timer has run out. A member of a group becomes master only with the others,
    /// and waits for as long as theirs may take.
    pub(super) fn wait_for_others(&mut self, ctx: &mut Ctx<'_>) {
        self.report(Level::Detail, "Receive advertisement timeout".into(), ctx);
        self.bond.is_due = true;
        self.phase = Phase::Backup { down_at: ctx.now + self.master_down_interval() };
    }

    /// A group without storage goes down: a master says so once, where the first one to go says it
    /// twice (keepalived).
    fn follow_down(&mut self, goal: Goal, detail: &str, ctx: &mut Ctx<'_>) {
        if matches!(self.phase, Phase::Master { .. }) {
            if goal == Goal::Fault {
                self.send_priority_zero(ctx);
            }
            self.take_addresses(ctx);
        }
        self.settle(goal, Reason::Group, detail.to_owned(), ctx);
    }

    /// What notify scripts are told of where it is, if anything.
    const fn notify_state(&self) -> Option<NotifyState> {
        match self.phase {
            Phase::Backup { .. } => Some(NotifyState::Backup),
            Phase::Master { .. } => Some(NotifyState::Master),
            Phase::Fault => Some(NotifyState::Fault),
            Phase::Stopped => Some(NotifyState::Stop),
            Phase::Init
            | Phase::Acquiring(_)
            | Phase::Probing(_)
            | Phase::Releasing(_)
            | Phase::Stuck(_) => None,
        }
    }

    /// A leader hears what a follower has to say.
    fn answer_calls(&mut self, calls: Calls, ctx: &mut Ctx<'_>) {
        if calls.has_heard {
            self.lost = false;
        }
        if calls.is_claimed {
            self.has_person_s_word = false;
            self.resign_hears_master();
            self.hear_in_doubt(ctx);
        }
        if calls.wants_probe && matches!(self.phase, Phase::Master { .. }) {
            self.has_met_conflict = true;
            self.probe_soon(ctx.now);
        }
        if let (Some(detail), Phase::Master { .. }) = (calls.yields, &self.phase) {
            self.yield_to(Reason::BetterMaster, detail, ctx);
        }
        if let (Some(detail), Phase::Acquiring(acquiring)) = (calls.backs_off, &self.phase) {
            let acquiring = acquiring.clone();
            self.abandon(acquiring, Goal::Backup, Reason::BackedOff, detail, ctx);
        }
    }

    /// A follower goes where its leader is.
    fn follow_leader(&mut self, lead: &Lead, ctx: &mut Ctx<'_>) {
        if discriminant(&self.phase) == discriminant(&lead.phase) {
            return self.keep_step(&lead.phase);
        }
        if matches!(self.phase, Phase::Init) {
            if !self.is_ready(true, ctx) {
                return;
            }
            self.source = ctx.links[self.spec.link.0].source(&self.spec, self.source);
        }
        let (reason, detail) = (lead.reason, lead.detail.clone());
        let interval = self.spec.advert_interval;
        let has_addresses = matches!(self.phase, Phase::Master { .. })
            || matches!(&self.phase, Phase::Probing(probing) if probing.has_addresses);
        let was_init = matches!(self.phase, Phase::Init);
        match &lead.phase {
            Phase::Acquiring(acquiring) => {
                self.farewell = None;
                self.begin_grace();
                let advert_at = ctx.now + interval;
                let step = Step::Following;
                let acquiring = Acquiring { step, advert_at, worse: None, ..acquiring.clone() };
                self.enter(Phase::Acquiring(acquiring), reason, detail, ctx);
                self.send_advert(ctx);
            }
            Phase::Master { .. } => {
                let advert_at = match &self.phase {
                    Phase::Acquiring(acquiring) if !acquiring.is_lapsed => acquiring.advert_at,
                    _ => {
                        self.send_advert(ctx);
                        ctx.now + interval
                    }
                };
                self.become_master(advert_at, reason, detail, ctx);
            }
            Phase::Releasing(releasing) => {
                // The others hear from those who can still speak that nobody may take over yet.
                let is_aloud = releasing.may_vouch && reason != Reason::BetterMaster;
                let advert_at = match &self.phase {
                    Phase::Master { advert_at, .. } => Some(*advert_at),
                    Phase::Acquiring(acquiring) => Some(acquiring.advert_at),
                    _ => None,
                };
                let advert_at = advert_at.filter(|_| is_aloud && self.can_send(ctx));
                let releasing = Releasing { advert_at, ..*releasing };
                self.enter(Phase::Releasing(releasing), reason, detail, ctx);
                if has_addresses || was_init {
                    self.take_addresses(ctx);
                }
            }
            Phase::Probing(probing) => {
                self.bursts = super::instance::Bursts::default();
                ctx.out.push(Action::StopAnnouncing { instance: self.id });
                if was_init && probing.why == Doubt::Start {
                    ctx.out.push(Action::TakeAddresses { instance: self.id });
                }
                // What a former run has put is taken off if the storage is not ours any more.
                let has_addresses = has_addresses || probing.why == Doubt::Resume;
                let (heartbeat_at, listen_until) = (ctx.now + interval, None);
                let probing =
                    Probing { has_addresses, heartbeat_at, listen_until, ..probing.clone() };
                self.enter(Phase::Probing(probing), reason, detail, ctx);
            }
            Phase::Stuck(stuck) => {
                let stuck = *stuck;
                if has_addresses {
                    self.take_addresses(ctx);
                }
                self.enter(Phase::Stuck(stuck), reason, detail, ctx);
            }
            Phase::Backup { .. } | Phase::Fault | Phase::Stopped => {
                self.arrive(lead, has_addresses || was_init, ctx);
            }
            Phase::Init => {}
        }
    }

    /// The group has let go.
    fn arrive(&mut self, lead: &Lead, has_addresses: bool, ctx: &mut Ctx<'_>) {
        let is_acknowledgement =
            !matches!(&self.phase, Phase::Releasing(Releasing { advert_at: Some(_), .. }));
        if has_addresses {
            self.take_addresses(ctx);
        }
        if let Some(goal) = lead.vouched {
            self.say_farewell(goal, is_acknowledgement, ctx);
        }
        let (reason, detail) = (lead.reason, lead.detail.clone());
        match lead.phase {
            Phase::Backup { .. } => self.enter_backup(reason, detail, ctx),
            Phase::Stopped => self.settle(Goal::Stop, reason, detail, ctx),
            _ => {
                self.enter(Phase::Fault, reason, detail, ctx);
                self.notify(NotifyState::Fault, ctx);
            }
        }
    }

    /// In the same phase as its leader, a follower takes over what may change within it.
    fn keep_step(&mut self, lead: &Phase) {
        match (&mut self.phase, lead) {
            (Phase::Acquiring(own), Phase::Acquiring(lead)) => {
                (own.is_lapsed, own.is_proven) = (lead.is_lapsed, lead.is_proven);
            }
            (Phase::Releasing(own), Phase::Releasing(lead)) => own.goal = lead.goal,
            _ => {}
        }
    }

    /// It was taken out of its group: its addresses go. It says nothing, since only the group knows
    /// whether the storage is free.
    pub(super) fn drop_out(&mut self, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        self.farewell = None;
        self.take_addresses(ctx);
        self.settle(Goal::Stop, reason, detail, ctx);
    }

    /// The master that it hears, while it is alive.
    fn living_master(&self, now: Time) -> Option<(IpAddr, u8)> {
        let master = self.peers.master().filter(|master| master.released_at.is_none())?;
        let is_alive = now.since(master.heard_at) < self.master_down_interval();
        is_alive.then_some((master.address, master.priority))
    }
}
