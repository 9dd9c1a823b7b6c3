//! The core: what a node does, as a pure function of what happens and when.
//!
//! Call [`Core::handle`] with each event and the time, carry out [`Core::take_actions`] in order,
//! and hand in an [`Event::Tick`] at [`Core::deadline`]. A spurious tick does nothing. Results of
//! actions come back as events; the core never assumes that something worked.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

mod ah;
pub mod bfd;
mod bond;
mod bursts;
mod cause;
mod conflict;
mod context;
pub mod event;
mod farewell;
mod grace;
pub mod group;
mod hear;
mod hmac;
mod hold;
mod hold_down;
mod instance;
mod link;
mod peers;
mod phase;
pub mod receive;
mod reload;
mod resign;
mod roster;
pub mod sense;
pub mod sessions;
mod shared;
mod speak;
pub mod spec;
pub mod stats;
mod storage;
mod table;
mod time;
mod track;
mod transition;
mod watch;
mod why;

pub use bond::Role;
pub use cause::Troubles;
pub use group::Group;
pub use hear::HOLDER_YIELDS_AFTER;
pub use instance::Instance;
pub use peers::{Peer, Peers};
pub use phase::{Acquiring, Doubt, Goal, How, Phase, Probing, Releasing, Step, Stuck};
pub use shared::Shared;
pub use table::Table;
pub use time::{Time, WallClock};
pub use track::{Check, Part};

use crate::wire::vrrp::{PROTOCOL, Packet, Truncated};
use context::{Ctx, World};
use event::{Action, Event, Level, Memory, Reason, Received, Report};
use link::{Delays, Link};
use roster::Roster;
use sense::Senses;
use sessions::Sessions;
use spec::{CheckId, Family, GroupId, InstanceId, LinkDelay, LinkId, Spec};

/// All instances and checks of a node.
#[derive(Clone, Debug)]
pub struct Core {
    instances: Roster,
    groups: Table<GroupId, Group>,
    checks: Table<CheckId, Check>,
    links: Vec<Link>,
    link_delays: Vec<LinkDelay>,
    senses: Senses,
    wall: WallClock,
    by_vrid: BTreeMap<(LinkId, Family, u8), Vec<InstanceId>>,
    actions: Vec<Action>,
    is_stopping: bool,
}

impl Core {
    /// A core that has seen nothing yet. `startup_delay` lengthens the first master down timer;
    /// `memories` is what a former run wrote down, by instance; what is missing is nothing.
    pub fn new(spec: Spec, startup_delay: Duration, memories: Vec<Memory>, now: Time) -> Self {
        let memories = memories.into_iter().chain(std::iter::repeat_with(Memory::default));
        let mut checks: Table<CheckId, Check> =
            spec.checks.into_iter().map(|(id, check)| (id, Check::new(check, now))).collect();
        let links = spec.links.into_iter().map(Link::new).collect();
        let bfds = Sessions::new(spec.bfds, 0, now);
        let senses = Senses::new(spec.processes, spec.files, bfds);
        let instances: Vec<Instance> = spec
            .instances
            .into_iter()
            .zip(memories)
            .map(|((id, spec), memory)| Instance::new(id, spec, startup_delay, memory))
            .collect();
        let by_vrid = index(&instances);
        find_unused(&mut checks, &instances);
        let groups = spec.groups.into_iter().map(|(id, spec)| (id, Group::new(spec))).collect();
        let instances = Roster::new(instances);
        let wall = WallClock::default();
        let (actions, is_stopping) = (Vec::new(), false);
        let link_delays = spec.link_delays;
        let mut core = Self {
            instances,
            groups,
            checks,
            links,
            link_delays,
            senses,
            wall,
            by_vrid,
            actions,
            is_stopping,
        };
        core.bind();
        core.tell_virtual_ones();
        core
    }

    /// Tells every interface which addresses are virtual. An owner's are the host's own.
    fn tell_virtual_ones(&mut self) {
        let others = self.instances().iter().filter(|i| i.spec.priority != u8::MAX);
        let addresses = others.flat_map(|i| i.spec.addresses.iter().chain(&i.spec.excluded));
        let all = Arc::new(addresses.map(|address| address.ip).collect());
        self.links.iter_mut().for_each(|link| link.know_virtual_ones(&all));
    }

    /// Tells what the clock on the wall shows; wanted in every turn, since it may be set. Only
    /// signed adverts have a use for it.
    pub fn set_wall_clock(&mut self, wall: WallClock) {
        self.wall = wall;
    }

    /// Takes in an event.
    pub fn handle(&mut self, event: Event, now: Time) {
        self.notice_lapses(now);
        match event {
            Event::Tick => self.tick(now),
            Event::Backlog => {
                for id in self.instances.due(now) {
                    self.one(id, now, Instance::advert_in_time);
                }
            }
            Event::Packet { link, packet } => self.packet(link, &packet, now),
            Event::Bfd { datagram } => {
                if self.senses.bfds.receive(&datagram, now, &mut self.actions) {
                    self.each(now, Instance::review);
                }
            }
            Event::Link { link, state } => {
                let delays = self.delays(link);
                let Some(known) = self.links.get_mut(link.0) else { return };
                let before = known.holds_back();
                if let Some(is_up) = known.describe(state, delays, now) {
                    report_link(&known.name, is_up, &mut self.actions);
                } else if let Some(at) = known.holds_back().filter(|_| before.is_none()) {
                    let held = at.since(now).as_secs_f64();
                    let text = format!("{}: a change is held back for {held:.3} s", known.name);
                    self.actions.push(Action::Report(Report::of_node(text)));
                }
                self.review_by_link(link, now);
            }
            Event::CheckEnded { check, end } => {
                let Some(known) = self.checks.get_mut(check) else { return };
                known.ended(&end, &mut self.actions);
                let is_success = end.is_success();
                self.each(now, |instance, ctx| {
                    if is_success {
                        instance.check_succeeded(check);
                    }
                    instance.review(ctx);
                });
            }
            Event::ProcessesCounted { process, count } => {
                self.senses.counted(process, count, now, &mut self.actions);
                self.each(now, Instance::review);
            }
            Event::FileRead { file, value } => {
                self.senses.read(file, value);
                self.each(now, Instance::review);
            }
            Event::MountEnded { instance, action, end } => {
                self.one(instance, now, |i, ctx| i.mount_ended(action, &end, ctx));
                self.let_the_new_begin(now);
            }
            Event::MountUnkillable { instance, action } => {
                self.one(instance, now, |i, ctx| i.mount_unkillable(action, ctx));
            }
            Event::ForeignOwner { ip, mac } => {
                self.each(now, |instance, ctx| instance.foreign_owner(ip, mac, ctx));
            }
            Event::StaticMissing { instance, what } => {
                self.one(instance, now, |i, ctx| {
                    i.troubles.static_missing = what;
                    i.review(ctx);
                });
            }
            Event::NoSocket { instance, why } => {
                self.one(instance, now, |i, ctx| {
                    i.troubles.no_socket = why;
                    i.review(ctx);
                });
            }
            Event::Mute { instance, why } => {
                self.instances.change(instance, |instance| instance.troubles.mute = why);
            }
            Event::Unset { instance, what } => {
                self.instances.change(instance, |instance| instance.troubles.unset = what);
            }
            Event::Restored { instance, addresses } => {
                self.one(instance, now, |i, ctx| i.addresses_restored(&addresses, ctx));
            }
            Event::Released { instance } => {
                self.one(self.leader_of(instance), now, Instance::released_by_person);
                self.let_the_new_begin(now);
            }
            Event::Hold { instance, is_on } => {
                for member in self.company_of(instance) {
                    self.one(member, now, |i, ctx| i.put_on_hold(is_on, ctx));
                }
            }
            Event::Resign { instance, is_forced } => self.resign(instance, is_forced, now),
            Event::ResignCancelled { instance } => {
                for member in self.company_of(instance) {
                    self.one(member, now, Instance::cancel_resignation);
                }
            }
            Event::Stop => self.stop(now),
        }
    }

    /// What is to be done, in order; leaves nothing.
    #[must_use]
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When the next tick is wanted.
    pub fn deadline(&self) -> Option<Time> {
        let checks = self.checks.iter().filter(|_| !self.is_stopping).filter_map(Check::deadline);
        let senses = self.senses.deadline().filter(|_| !self.is_stopping);
        let links = self.links.iter().filter_map(Link::deadline);
        let bfds = self.senses.bfds.deadline();
        let instances = self.instances.deadline().into_iter();
        instances.chain(checks).chain(senses).chain(bfds).chain(links).min()
    }

    /// Everything was let go of after [`Event::Stop`]; only hooks may still run.
    pub fn is_stopped(&self) -> bool {
        let is_done = |i: &Instance| matches!(i.phase, Phase::Stopped) && i.farewell.is_none();
        self.is_stopping && self.instances().iter().all(is_done)
    }

    /// It was told to stop.
    pub const fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// All instances, in the order of the configuration; last those that it does not have any more.
    pub const fn instances(&self) -> &Table<InstanceId, Instance> {
        self.instances.all()
    }

    /// All checks.
    pub const fn checks(&self) -> &Table<CheckId, Check> {
        &self.checks
    }

    /// All BFD sessions.
    pub const fn bfds(&self) -> &Sessions {
        &self.senses.bfds
    }

    /// Begins the BFD sessions, which have done nothing yet, from this seed: neighbours tell a new run of
    /// the daemon by its discriminators, and nobody else is to guess them.
    pub fn seed(&mut self, seed: u64, now: Time) {
        self.senses.bfds.seed(seed, now);
    }

    /// Sets the counters of all instances to zero.
    pub fn clear_stats(&mut self) {
        self.instances.change_each(|instance| instance.stats = stats::Stats::default());
    }

    fn tick(&mut self, now: Time) {
        self.turn_links(now);
        // To the end: a neighbour that tracks us is to see us hand over first.
        if self.senses.bfds.tick(now, &mut self.actions) {
            self.each(now, Instance::review);
        }
        for id in self.instances.due(now) {
            self.one(id, now, Instance::tick);
        }
        if !self.is_stopping {
            for (id, check) in self.checks.entries_mut() {
                check.tick(id, now, &mut self.actions);
            }
            if self.senses.tick(now, &mut self.actions) {
                self.each(now, Instance::review);
            }
        }
    }

    fn packet(&mut self, link: LinkId, received: &Received, now: Time) {
        let Ok((family, packet)) = look_at(received) else { return };
        if packet.protocol() != PROTOCOL {
            return;
        }
        let Some(ids) = self.by_vrid.get(&(link, family, packet.vrid())) else { return };
        let to = packet.destination();
        let instances = self.instances.all();
        let is_for = |&&id: &&InstanceId| instances.get(id).is_some_and(|i| i.is_for(to));
        // What is for none of them is judged, and counted, by the first.
        let Some(&id) = ids.iter().find(is_for).or(ids.first()) else { return };
        self.one(id, now, |instance, ctx| instance.packet(&packet, ctx));
    }

    /// How long changes of an interface are held back: as configured, or for a blip, but never for so
    /// long that another node would be through with its master down timer.
    fn delays(&self, link: LinkId) -> Delays {
        let tracks = |i: &&Instance| i.spec.track_links.iter().any(|&(tracked, _)| tracked == link);
        let needs = |i: &&Instance| i.spec.link == link || i.spec.needs_links.contains(&link);
        let users = || self.instances().iter().filter(|i| needs(i) || tracks(i));
        let most = users().map(Instance::link_delay_max).min().unwrap_or(Duration::MAX);
        // Who was told to track it wants to know at once.
        let is_told = users().any(|i| tracks(&i));
        let blip = users().map(Instance::blip_max).min().filter(|_| !is_told).unwrap_or_default();
        let configured = self.link_delays.iter().find(|delay| delay.link == link);
        let (down, up) = configured.map_or((blip, Duration::ZERO), |delay| (delay.down, delay.up));
        Delays { down: down.min(most), up: up.min(most), blip }
    }

    /// Lets held back changes of interfaces count whose time has come.
    fn turn_links(&mut self, now: Time) {
        let mut has_changed = false;
        for link in &mut self.links {
            has_changed |= link.miss(now);
            if let Some(is_up) = link.turn(now) {
                report_link(&link.name, is_up, &mut self.actions);
                has_changed = true;
            }
        }
        if has_changed {
            self.each(now, Instance::review);
        }
    }

    fn stop(&mut self, now: Time) {
        if std::mem::replace(&mut self.is_stopping, true) {
            return;
        }
        self.actions.push(Action::StopChecks);
        self.each(now, |instance, ctx| {
            let detail = "the daemon was told to stop".to_owned();
            instance.let_go(Goal::Stop, Reason::Stop, detail, ctx);
        });
    }

    /// Who resigns if this one does. The storage of a group is its leader's affair.
    fn resigning(&self, id: InstanceId) -> Vec<InstanceId> {
        let leader = self.leader_of(id);
        match self.instances().get(leader).map(Instance::role) {
            Some(Role::Leader(_)) => vec![leader],
            _ => self.company_of(id),
        }
    }

    /// Why an instance does not resign, in words for the person who asked; nothing if it does. A
    /// group resigns as a whole or not at all.
    pub fn resign_refusal(&self, id: InstanceId, is_forced: bool, now: Time) -> Option<String> {
        self.resigning(id).into_iter().find_map(|member| {
            let instance = self.instances().get(member)?;
            let why = instance.resign_refusal(is_forced, now)?;
            let name = &instance.spec.name;
            Some(if member == id { why } else { format!("{name}, of the same group: {why}") })
        })
    }

    /// All members say so before their group moves, so that none of them just falls silent.
    fn resign(&mut self, id: InstanceId, is_forced: bool, now: Time) {
        if let Some(why) = self.resign_refusal(id, is_forced, now) {
            return self.one(id, now, |i, ctx| {
                i.report(Level::Warning, format!("resign: refused, {why}"), ctx);
            });
        }
        let mut members = self.resigning(id);
        let last = members.pop();
        for member in members {
            self.alone(member, now, |i, ctx| i.resign(is_forced, ctx));
        }
        if let Some(last) = last {
            self.one(last, now, |i, ctx| i.resign(is_forced, ctx));
        }
    }

    /// Whose own interface it is goes first, and may pull its group; at the start nobody.
    fn review_by_link(&mut self, link: LinkId, now: Time) {
        let is_own = |id: &InstanceId| {
            let instance = &self.instances()[*id];
            instance.spec.link == link && !matches!(instance.phase, Phase::Init)
        };
        let (own, others): (Vec<_>, Vec<_>) = self.instances().ids().partition(is_own);
        for id in own.into_iter().chain(others) {
            self.one(id, now, Instance::review);
        }
    }

    /// Notices a freeze, before anything else is done with an event.
    fn notice_lapses(&mut self, now: Time) {
        for id in self.instances.punctual() {
            self.alone(id, now, Instance::notice_lapse);
            if matches!(self.instances()[id].role(), Role::Leader(_)) {
                self.sync(id, false, now);
            }
        }
    }

    fn each(&mut self, now: Time, mut what: impl FnMut(&mut Instance, &mut Ctx<'_>)) {
        let ids: Vec<InstanceId> = self.instances().ids().collect();
        for id in ids {
            self.one(id, now, &mut what);
        }
    }

    /// Something happens to an instance, and then to its group.
    fn one(&mut self, id: InstanceId, now: Time, what: impl FnOnce(&mut Instance, &mut Ctx<'_>)) {
        let Some(instance) = self.instances().get(id) else { return };
        let was_master = matches!(instance.phase, Phase::Master { .. });
        self.meet(id, now);
        self.alone(id, now, what);
        self.sync(id, was_master, now);
    }

    fn alone(&mut self, id: InstanceId, now: Time, what: impl FnOnce(&mut Instance, &mut Ctx<'_>)) {
        let (links, checks, senses) = (&self.links, &self.checks, &self.senses);
        let world = World { links, checks, senses };
        let mut ctx = Ctx { now, wall: self.wall, world, out: &mut self.actions };
        self.instances.change(id, |instance| what(instance, &mut ctx));
    }

    /// What is known of the host.
    fn world(&self) -> World<'_> {
        World { links: &self.links, checks: &self.checks, senses: &self.senses }
    }
}

fn look_at(received: &Received) -> Result<(Family, Packet<'_>), Truncated> {
    match received {
        Received::V4(bytes) => Ok((Family::V4, Packet::new_v4(bytes)?)),
        Received::V6 { message, source, destination, hop_limit } => {
            Ok((Family::V6, Packet::new_v6(message, *source, *destination, *hop_limit)?))
        }
    }
}

/// Tells the checks which of them anybody tracks.
fn find_unused<'a>(
    checks: &mut Table<CheckId, Check>,
    instances: impl IntoIterator<Item = &'a Instance>,
) {
    let tracked = instances.into_iter().flat_map(|instance| &instance.spec.track_checks);
    let tracked: BTreeSet<CheckId> = tracked.map(|track| track.check).collect();
    for (id, check) in checks.entries_mut() {
        check.set_used(tracked.contains(&id));
    }
}

/// Where the instances of each virtual router are; more than one only with different destinations.
fn index<'a>(
    instances: impl IntoIterator<Item = &'a Instance>,
) -> BTreeMap<(LinkId, Family, u8), Vec<InstanceId>> {
    let mut by_vrid: BTreeMap<_, Vec<InstanceId>> = BTreeMap::new();
    for i in instances {
        by_vrid.entry((i.spec.link, i.spec.family, i.spec.vrid)).or_default().push(i.id);
    }
    by_vrid
}

fn report_link(name: &str, is_up: bool, out: &mut Vec<Action>) {
    let word = if is_up { "up" } else { "down" };
    out.push(Action::Report(Report::of_node(format!("Netlink reports {name} {word}"))));
}
