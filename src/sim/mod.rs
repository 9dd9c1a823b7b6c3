//! A simulated cluster: real cores, a simulated wire, simulated hooks and storage, and a clock
//! that only the world moves. The same events in the same order, for ever.
//!
//! Nothing here does any input or output, and nothing reads a clock: [`World`] serves tests, and
//! anything else that wants to see what nodes would do.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::core::event::{Action, Datagram, Event, Facts, HookEnd, MountAction, Received};
use crate::core::spec::{CheckId, InstanceId, LinkId, Spec};
use crate::core::{Phase, Role, Time};
use crate::wire::vrrp::Packet;
use crate::work;

mod check;
mod fault;
mod hook;
mod node;
mod plan;
mod rng;
mod storage;
mod wire;

pub use check::{Invariant, Violation};
pub use fault::Fault;
pub use hook::{Hook, MountHook};
pub use node::{Daemon, Node};
pub use plan::{Outcome, Plan, group_spec, node_spec};
pub use rng::Rng;
pub use storage::{Disk, Guard, Mount};
pub use wire::{Quality, Wire};

use check::name;
use hook::{DIES, Next, Run, Told, UNKILLABLE_AFTER};

/// What a check takes.
const CHECK_TAKES: Duration = Duration::from_millis(10);
/// After so long the kernel has told of an address that was put or taken.
const NETLINK_TAKES: Duration = Duration::from_millis(1);
/// From a node's reset of itself until its daemon is there again.
const REBOOT_TAKES: Duration = Duration::from_secs(60);
/// So many events without time passing are a loop.
const EVENTS_AT_ONCE_MAX: usize = 10_000;

/// Some nodes on one wire, in front of one storage. Every node has one instance on one link, or a
/// sync group of two.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub now: Time,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The wire between them.
    pub wire: Wire,
    /// The disk they share.
    pub disk: Disk,
    /// What happened, in order.
    pub trace: Vec<Line>,
    /// What hooks were told, in order, if a trace is kept; without an action it was notify.
    pub told: Vec<(Option<MountAction>, Facts)>,
    /// Keep a trace; it costs most of the time.
    pub is_tracing: bool,
    /// The first promise that was broken; from then on nothing happens any more.
    pub violation: Option<Violation>,
    agenda: BTreeMap<(Time, u64), Due>,
    count: u64,
}

/// What a hook is told by an action.
fn told_by(action: &Action) -> Option<(Option<MountAction>, Facts)> {
    match action {
        Action::RunMount { action, facts, .. } => Some((Some(*action), (**facts).clone())),
        Action::Notify { facts, .. } | Action::Tell { facts, .. } => {
            Some((None, (**facts).clone()))
        }
        _ => None,
    }
}

/// One line of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Time,
    /// On which node.
    pub node: usize,
    /// What.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.at, name(self.node), self.text)
    }
}

#[derive(Debug)]
enum Due {
    Deliver { to: usize, link: LinkId, bytes: Vec<u8> },
    Datagram { to: usize, datagram: Datagram },
    Netlink { node: usize, link: LinkId },
    Moved { node: usize, life: u64, instance: InstanceId, number: u64, is_put: bool },
    CheckEnded { node: usize, life: u64, check: CheckId },
    HookStep { node: usize, run: u64 },
    HookDeadline { node: usize, run: u64, life: u64 },
    HookDies { node: usize, run: u64 },
    HookSurvives { node: usize, run: u64, life: u64 },
    Start { node: usize, life: u64 },
    Fault(Fault),
}

impl World {
    /// Nodes with these configurations, all switched on now. Node 0 has 10.0.0.1, node 1 10.0.0.2
    /// and so on. The disk is clean and guarded by MMP.
    pub fn new(specs: Vec<Spec>) -> Self {
        Self::with_guard(specs, Guard::Mmp)
    }

    /// The same with another guard.
    pub fn with_guard(specs: Vec<Spec>, guard: Guard) -> Self {
        let mut world = Self {
            now: Time::from_millis(1000),
            nodes: Vec::new(),
            wire: Wire::new(0),
            disk: Disk::new(guard, specs.len()),
            trace: Vec::new(),
            told: Vec::new(),
            is_tracing: true,
            violation: None,
            agenda: BTreeMap::new(),
            count: 0,
        };
        for (place, spec) in specs.into_iter().enumerate() {
            let address = node::own_address(place, LinkId(0));
            let node = Node::new(spec, address, world.now);
            world.nodes.push(node);
        }
        for place in 0..world.nodes.len() {
            world.greet(place);
        }
        world
    }

    /// Tells a new core of its link, as the daemon does at start.
    fn greet(&mut self, place: usize) {
        let links = (0..self.nodes[place].spec.links.len()).map(LinkId);
        let events = links.map(|link| self.nodes[place].link_event(link)).collect();
        self.hand_in(place, events);
    }

    /// Hands an event to a node and carries out what it answers.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn tell(&mut self, place: usize, event: Event) {
        self.notice(place, event);
        self.assert_kept();
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn run(&mut self, span: Duration) {
        self.advance(span);
        self.assert_kept();
    }

    fn assert_kept(&self) {
        if let Some(violation) = &self.violation {
            panic!("{violation}\n{}", self.story());
        }
    }

    /// Lets time pass, until a promise is broken.
    pub fn advance(&mut self, span: Duration) {
        let until = self.now + span;
        let mut at_once = 0;
        while self.violation.is_none() {
            let tick_at =
                self.nodes.iter().filter(|n| n.is_awake()).filter_map(|n| n.core.deadline()).min();
            let due_at = self.agenda.first_key_value().map(|(&(at, _), _)| at);
            let next = tick_at.into_iter().chain(due_at).min().filter(|at| *at <= until);
            let Some(next) = next else {
                self.now = until;
                return;
            };
            at_once = if next > self.now { 0 } else { at_once + 1 };
            if at_once > EVENTS_AT_ONCE_MAX {
                self.violate(Invariant::NoRest, "the nodes answer each other without end".into());
            }
            self.now = self.now.max(next);
            // What has arrived is read before timers are looked at, as the daemon does.
            if due_at.is_some_and(|at| at <= self.now) {
                if let Some((_, due)) = self.agenda.pop_first() {
                    self.happen(due);
                }
            } else {
                for place in 0..self.nodes.len() {
                    let deadline = self.nodes[place].core.deadline();
                    if self.nodes[place].is_awake() && deadline.is_some_and(|at| at <= self.now) {
                        self.hand_in(place, vec![]);
                    }
                }
            }
            self.look();
        }
    }

    /// The daemon learns of something: now, or when it wakes.
    fn notice(&mut self, place: usize, event: Event) {
        let node = &mut self.nodes[place];
        if node.is_awake() {
            self.hand_in(place, vec![event]);
        } else if node.is_asleep() {
            match event {
                Event::Packet { link, packet: Received::V4(bytes) } => node.store(link, bytes),
                event => node.unnoticed.push(event),
            }
        }
    }

    /// One turn of the daemon's loop: what has come in, then the timers, then the work.
    fn hand_in(&mut self, place: usize, events: Vec<Event>) {
        let now = self.now;
        let has_lapsed = self.nodes[place].has_lapsed(now);
        if has_lapsed {
            self.nodes[place].watch.lapse();
        }
        let is_lost = self.disk.guard == Guard::Pr
            && self.disk.mounts[place].is_some_and(|mount| mount.lost_at.is_some());
        let mut actions = Vec::new();
        for event in events {
            let node = &mut self.nodes[place];
            let is_packet = matches!(event, Event::Packet { .. });
            if let Event::Link { link: LinkId(1), state } = &event {
                let before = node.second_out_at;
                node.second_out_at = (!state.up).then(|| before.unwrap_or(now));
            }
            node.watch.must_hear_master &= !is_masters_advert(&event);
            node.watch.was_fenced &= !is_packet && !is_good_acquire(&event);
            let is_fenced =
                is_lost && matches!(node.phase(), Phase::Master { .. } | Phase::Probing(_));
            node.watch.was_fenced |= is_fenced && is_bad_probe(&event);
            node.core.handle(event, now);
            if is_packet {
                // More wait perhaps.
                node.core.handle(Event::Backlog, now);
            }
            let wanted = node.core.take_actions();
            self.look_at_silence(place, &wanted);
            if is_packet && has_lapsed {
                self.look_at_reading(place, &wanted);
            }
            actions.extend(wanted);
        }
        let core = &mut self.nodes[place].core;
        if core.deadline().is_some_and(|at| at <= now) {
            core.handle(Event::Tick, now);
        }
        let wanted = core.take_actions();
        self.look_at_silence(place, &wanted);
        actions.extend(wanted);
        self.work(place, actions);
    }

    /// The daemon wakes, and reads what has come in meanwhile before it looks at anything else.
    fn wake(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if node.daemon == Daemon::Starting {
            return self.start(place);
        }
        if !node.is_awake() {
            return;
        }
        // One for a member that a reload has taken out of the group tells nobody anything, nor does a
        // signed one that was overtaken.
        let is_heard = |link: LinkId, packet: &Packet| {
            let mut backups = node.core.instances().iter();
            backups.any(|i| {
                let is_for_it = i.spec.link == link && i.spec.vrid == packet.vrid();
                is_for_it && i.spec.hmac.is_none() && matches!(i.phase, Phase::Backup { .. })
            })
        };
        let is_master_alive = matches!(node.phase(), Phase::Backup { .. })
            && node.inbox.last().is_some_and(|(link, bytes)| {
                Packet::new_v4(bytes).is_ok_and(|p| p.priority() > 0 && is_heard(*link, &p))
            });
        let packets = std::mem::take(&mut node.inbox).into_iter();
        let packets =
            packets.map(|(link, bytes)| Event::Packet { link, packet: Received::V4(bytes) });
        let events = packets.chain(std::mem::take(&mut node.unnoticed)).collect();
        self.hand_in(place, events);
        if is_master_alive {
            self.look_at_waking(place);
        }
        let now = self.now;
        if self.nodes[place].run.as_ref().is_some_and(|run| run.deadline_at <= now) {
            self.end_hook(place, HookEnd::TimedOut);
        }
    }

    /// Has the executor put what the core wants into its order, and carries out what may be.
    fn work(&mut self, place: usize, actions: Vec<Action>) {
        let now = self.now;
        let mut actions = actions;
        loop {
            self.look_at_actions(place, &actions);
            self.nodes[place].executor.submit(actions);
            while let Some(action) = self.nodes[place].executor.next_soon() {
                if !self.survives(place) {
                    return;
                }
                self.carry_out(place, action);
            }
            while let Some(next) = self.nodes[place].executor.next_late() {
                if !self.survives(place) {
                    return;
                }
                match next {
                    work::Next::Do(action) => self.carry_out(place, action),
                    work::Next::Tell(event) => self.nodes[place].core.handle(event, now),
                }
            }
            actions = self.nodes[place].core.take_actions();
            self.look_at_silence(place, &actions);
            if actions.is_empty() {
                break;
            }
        }
        self.look_at_promises(place);
        if let Some(run) = &mut self.nodes[place].run {
            // The daemon writes down the process at the end of the turn that has started it.
            run.is_noted = true;
        }
        let node = &self.nodes[place];
        if node.core.is_stopped() && node.daemon == Daemon::Runs {
            self.nodes[place].daemon = Daemon::Gone;
            self.nodes[place].life += 1;
            self.note(place, || "the daemon has ended".into());
        }
        self.look();
    }

    /// Does the daemon live on, or is this where it is killed in the middle of its work?
    fn survives(&mut self, place: usize) -> bool {
        if !self.nodes[place].is_on {
            // What it did last was to power off.
            return false;
        }
        let Some(left) = &mut self.nodes[place].dies_after else { return true };
        if *left == 0 {
            self.kill(place, Some(Duration::from_millis(100)));
            return false;
        }
        *left -= 1;
        true
    }

    /// The kernel is asked to put or take the addresses of an instance, which takes it a while if it
    /// is slow. The newest request counts.
    fn move_addresses(&mut self, place: usize, instance: InstanceId, is_put: bool) {
        self.count += 1;
        let number = self.count;
        let node = &mut self.nodes[place];
        node.moves.insert(instance, number);
        if is_put {
            node.wants.insert(instance)
        } else {
            node.wants.remove(&instance)
        };
        let (after, life) = (node.kernel, node.life);
        if after.is_zero() {
            return self.addresses_moved(place, instance, is_put);
        }
        self.at(after, Due::Moved { node: place, life, instance, number, is_put });
    }

    /// The kernel is asked for no more of the addresses of an instance.
    fn keep_addresses(&mut self, place: usize, instance: InstanceId) {
        let node = &mut self.nodes[place];
        node.moves.remove(&instance);
        node.wants.remove(&instance);
        node.executor.arrived(instance);
    }

    /// The daemon puts back what somebody has taken off, and says so to the core.
    fn restore(&mut self, place: usize) {
        let node = &self.nodes[place];
        if !node.is_awake() {
            return;
        }
        let is_lost = |id: &InstanceId| {
            node.wants.contains(id)
                && !node.executor.moving().any(|other| other == *id)
                && !node.addresses[member(*id)]
        };
        for instance in node.wants.iter().filter(|id| is_lost(id)).copied().collect::<Vec<_>>() {
            self.nodes[place].addresses[member(instance)] = true;
            self.look_at_addresses(place);
            self.note(place, || format!("addresses{} put back", which(instance)));
            let addresses = vec![Ipv4Addr::new(10, 0, 0, 70).into()];
            self.notice(place, Event::Restored { instance, addresses });
        }
    }

    /// The addresses of an instance are where they were wanted.
    fn addresses_moved(&mut self, place: usize, instance: InstanceId, is_put: bool) {
        let node = &mut self.nodes[place];
        node.executor.arrived(instance);
        let had = std::mem::replace(&mut node.addresses[member(instance)], is_put);
        if is_put {
            self.look_at_addresses(place);
            self.note(place, || format!("addresses{} up", which(instance)));
        } else if had {
            self.look_at_taking(place);
            self.note(place, || format!("addresses{} down", which(instance)));
        } else {
            return;
        }
        let link = self.nodes[place].spec.instances[InstanceId(member(instance))].link;
        self.at(NETLINK_TAKES, Due::Netlink { node: place, link });
    }

    /// The daemon is killed; a supervisor starts it again after so long, if at all.
    fn kill(&mut self, place: usize, again: Option<Duration>) {
        let node = &mut self.nodes[place];
        node.dies_after = None;
        if matches!(node.daemon, Daemon::Gone) || !node.is_on {
            return;
        }
        node.daemon = Daemon::Gone;
        node.life += 1;
        node.inbox.clear();
        node.unnoticed.clear();
        // What it was told and died of before it had written it down, nobody knows.
        node.watch.was_fenced &= node.memory.lost;
        let life = node.life;
        self.note(place, || "the daemon is killed".into());
        if let Some(span) = again {
            self.at(span, Due::Start { node: place, life });
        }
    }

    /// The daemon is started. It first ends a hook that its predecessor has left running.
    fn start(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if !node.is_on || !matches!(node.daemon, Daemon::Gone | Daemon::Starting) {
            return;
        }
        node.daemon = Daemon::Starting;
        node.life += 1;
        if node.is_frozen {
            return;
        }
        if node.run.as_ref().is_some_and(|run| run.is_noted) {
            return self.end_hook(place, HookEnd::Ended);
        }
        node.is_alone = false;
        node.begin(self.now);
        node.watch.begin();
        self.note(place, || "the daemon starts".into());
        self.greet(place);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Deliver { to, link, bytes } => {
                if self.nodes[to].is_up(link) && self.nodes[to].is_on {
                    self.notice(to, Event::Packet { link, packet: Received::V4(bytes) });
                }
            }
            Due::Datagram { to, datagram } => {
                if self.nodes[to].is_up(LinkId(0)) && self.nodes[to].is_on {
                    self.notice(to, Event::Bfd { datagram });
                }
            }
            Due::Netlink { node, link } => {
                let event = self.nodes[node].link_event(link);
                self.notice(node, event);
                self.restore(node);
            }
            Due::Moved { node, life, instance, number, is_put } => {
                let of = &self.nodes[node];
                if of.life != life || of.moves.get(&instance) != Some(&number) {
                    return;
                }
                if !of.is_awake() {
                    // The daemon hands its requests to the kernel piece by piece.
                    let due = Due::Moved { node, life, instance, number, is_put };
                    return self.at(NETLINK_TAKES * 100, due);
                }
                self.addresses_moved(node, instance, is_put);
                self.work(node, vec![]);
            }
            Due::CheckEnded { node, life, check } => {
                if self.nodes[node].life == life {
                    let is_good = self.nodes[node].checks.get(check.0).copied().unwrap_or(true);
                    let end = HookEnd::Exited(i32::from(!is_good));
                    self.notice(node, Event::CheckEnded { check, end });
                }
            }
            Due::HookStep { node, run } => self.hook_step(node, run),
            Due::HookDies { node, run } => self.hook_dies(node, run),
            Due::HookDeadline { node, run, life } => self.hook_deadline(node, run, life),
            Due::HookSurvives { node, run, life } => self.hook_survives(node, run, life),
            Due::Start { node, life } => {
                if self.nodes[node].life == life {
                    self.start(node);
                }
            }
            Due::Fault(fault) => self.apply(fault),
        }
    }

    fn carry_out(&mut self, place: usize, action: Action) {
        if self.is_tracing {
            self.told.extend(told_by(&action));
        }
        match action {
            Action::Send { instance, to, bytes, .. } => self.send(place, instance, to, &bytes),
            Action::SendBfd { to, port, bytes, .. } => self.send_bfd(place, to, port, bytes),
            Action::PutAddresses { instance } => self.move_addresses(place, instance, true),
            Action::TakeAddresses { instance } => self.move_addresses(place, instance, false),
            Action::KeepAddresses { instance } => self.keep_addresses(place, instance),
            Action::RunCheck { check } => {
                let life = self.nodes[place].life;
                self.at(CHECK_TAKES, Due::CheckEnded { node: place, life, check });
            }
            Action::RunMount { action, timeout, facts, .. } => {
                self.run_mount(place, action, timeout, Told::new(&facts));
            }
            Action::StopMount { .. } => self.end_hook(place, HookEnd::Ended),
            Action::Notify { instance, state, .. } => {
                // Who was taken out of the group, or is forgotten meanwhile, is told what it is; the
                // storage is the group's.
                let roles = self.nodes[place].core.instances().get(instance);
                if roles.is_some_and(|instance| instance.role() != Role::Orphan) {
                    self.look_at_notify(place, state);
                }
                if instance == InstanceId(0) {
                    self.nodes[place].notified.push(state);
                }
                self.note(place, || format!("notify{} {}", which(instance), state.word()));
            }
            Action::NotifyGroup { state, .. } => {
                self.look_at_notify(place, state);
                self.note(place, || format!("notify the group {}", state.word()));
            }
            Action::Report(report) => self.note(place, || report.text),
            Action::Remember { instance, memory } => {
                // Who follows has nothing to write down.
                assert_eq!(instance, InstanceId(0), "a follower remembers {memory:?}");
                self.nodes[place].memory = memory;
            }
            Action::Reboot { .. } => {
                self.power_off(place);
                self.at(REBOOT_TAKES, Due::Fault(Fault::Boot(place)));
            }
            Action::Announce { .. }
            | Action::AnnounceSome { .. }
            | Action::StopAnnouncing { .. }
            | Action::TellPriority { .. }
            | Action::StopChecks
            | Action::Entered { .. }
            | Action::AnnounceSource { .. }
            | Action::Tell { .. } => {}
        }
    }

    fn send(&mut self, from: usize, instance: InstanceId, address: IpAddr, bytes: &[u8]) {
        if let Ok(packet) = Packet::new_v4(bytes) {
            let priority = packet.priority();
            self.note(from, || format!("advert{} {priority}", which(instance)));
            self.look_at_send(from, instance, priority);
        }
        let Some(link) = self.nodes[from].core.instances().get(instance).map(|i| i.spec.link)
        else {
            return;
        };
        if !self.nodes[from].is_up(link) {
            return;
        }
        let is_meant = |to: &usize| {
            *to != from && (address.is_multicast() || self.nodes[*to].own_address(link) == address)
        };
        for to in (0..self.nodes.len()).filter(is_meant).collect::<Vec<_>>() {
            let is_cut = link.0 > 0 && self.wire.second_cuts.contains(&(from, to));
            for after in self.wire.arrivals(from, to).filter(|_| !is_cut) {
                self.at(after, Due::Deliver { to, link, bytes: bytes.to_vec() });
            }
        }
    }

    /// BFD's packets go over the first link, like the adverts of every first instance.
    fn send_bfd(&mut self, from: usize, destination: IpAddr, port: u16, bytes: Vec<u8>) {
        let link = LinkId(0);
        let is_meant = |node: &Node| IpAddr::from(node.own_address(link)) == destination;
        let Some(to) = self.nodes.iter().position(is_meant) else { return };
        if !self.nodes[from].is_up(link) {
            return;
        }
        let source = self.nodes[from].own_address(link).into();
        for after in self.wire.arrivals(from, to) {
            let bytes = bytes.clone();
            let datagram = Datagram { source, destination, ttl: u8::MAX, port, bytes };
            self.at(after, Due::Datagram { to, datagram });
        }
    }

    fn run_mount(&mut self, place: usize, action: MountAction, timeout: Duration, told: Told) {
        self.count += 1;
        let id = self.count;
        let hook = self.nodes[place].hook(action);
        let mut run = Run::new(id, action, hook, told, self.now + timeout);
        self.look_at_run(place, &run);
        self.note(place, || format!("{} starts", action.word()));
        if let Some(after) = run.first_step() {
            self.at(after, Due::HookStep { node: place, run: id });
        }
        let life = self.nodes[place].life;
        self.nodes[place].run = Some(run);
        self.at(timeout, Due::HookDeadline { node: place, run: id, life });
    }

    /// The run of this number, if it is not over and its host runs; otherwise its time comes when
    /// the host goes on.
    fn live_run(&mut self, node: usize, run: u64) -> Option<&mut Run> {
        self.nodes[node].run.as_mut().filter(|r| r.id == run)
    }

    fn hook_step(&mut self, place: usize, id: u64) {
        if self.nodes[place].is_frozen {
            return self.at(NETLINK_TAKES * 100, Due::HookStep { node: place, run: id });
        }
        let now = self.now;
        let was_held: Vec<bool> =
            (0..self.nodes.len()).map(|other| self.disk.is_verified(other)).collect();
        let Some(run) = self.nodes[place].run.as_mut().filter(|run| run.id == id) else { return };
        match run.go_on(place, &mut self.disk, now) {
            Next::After(span) => self.at(span, Due::HookStep { node: place, run: id }),
            Next::Ended(status) => self.hook_over(place, HookEnd::Exited(status)),
            Next::Never => {}
        }
        let is_doomed = |run: &mut Run| run.sentence.is_some() && !run.is_in_kernel;
        if self.live_run(place, id).is_some_and(is_doomed) {
            self.hook_over(place, HookEnd::Ended);
        }
        for (other, was_held) in was_held.into_iter().enumerate() {
            if was_held && other != place && !self.disk.is_verified(other) {
                self.note(place, || format!("takes the storage from {}", name(other)));
            }
        }
    }

    /// It is over, with every process of its group.
    fn hook_over(&mut self, place: usize, end: HookEnd) {
        let node = &mut self.nodes[place];
        let Some(run) = node.run.take() else { return };
        let action = run.action;
        let end = run.sentence.unwrap_or(end);
        node.hook_ended(action, end.is_success());
        node.executor.mount_over(InstanceId(0));
        self.note(place, || format!("{} {end}", action.word()));
        if self.nodes[place].daemon == Daemon::Starting {
            self.start(place);
        } else {
            self.notice(place, Event::MountEnded { instance: InstanceId(0), action, end });
        }
    }

    /// The daemon ends the hook: TERM, then KILL, then it says that nothing helps.
    fn end_hook(&mut self, place: usize, end: HookEnd) {
        let node = &mut self.nodes[place];
        let life = node.life;
        let Some(run) = node.run.as_mut().filter(|run| run.sentence.is_none()) else { return };
        run.sentence = Some(end);
        let id = run.id;
        self.at(DIES, Due::HookDies { node: place, run: id });
        self.at(UNKILLABLE_AFTER, Due::HookSurvives { node: place, run: id, life });
    }

    fn hook_dies(&mut self, place: usize, id: u64) {
        if self.nodes[place].is_frozen {
            return self.at(NETLINK_TAKES * 100, Due::HookDies { node: place, run: id });
        }
        if self.live_run(place, id).is_some_and(|run| !run.is_in_kernel) {
            self.hook_over(place, HookEnd::Ended);
        }
    }

    fn hook_deadline(&mut self, place: usize, id: u64, life: u64) {
        if self.nodes[place].life != life || self.live_run(place, id).is_none() {
            return;
        }
        if self.nodes[place].is_awake() {
            self.end_hook(place, HookEnd::TimedOut);
        }
    }

    fn hook_survives(&mut self, place: usize, id: u64, life: u64) {
        if self.nodes[place].life != life {
            return;
        }
        let Some(run) = self.live_run(place, id) else { return };
        let action = run.action;
        self.notice(place, Event::MountUnkillable { instance: InstanceId(0), action });
    }

    fn at(&mut self, after: Duration, due: Due) {
        self.count += 1;
        self.agenda.insert((self.now + after, self.count), due);
    }

    fn note(&mut self, node: usize, text: impl FnOnce() -> String) {
        if self.is_tracing {
            self.trace.push(Line { at: self.now, node, text: text() });
        }
    }

    /// The trace as text.
    pub fn story(&self) -> String {
        self.trace.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The nodes that are master, addresses and all.
    pub fn masters(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&place| self.nodes[place].is_master()).collect()
    }

    /// When a line with this text was first noted on a node, after `since`.
    pub fn when(&self, node: usize, text: &str, since: Time) -> Option<Time> {
        let is_it =
            |line: &&Line| line.node == node && line.at >= since && line.text.contains(text);
        self.trace.iter().find(is_it).map(|line| line.at)
    }
}

/// Which member of a group, in a trace: the first is the node's instance, as where there is no
/// group.
fn which(instance: InstanceId) -> String {
    match member(instance) {
        0 => String::new(),
        place => format!(" of member {}", place + 1),
    }
}

/// The place of a member in its group: the second one is another instance each time it comes back.
fn member(instance: InstanceId) -> usize {
    instance.0.min(1)
}

fn is_masters_advert(event: &Event) -> bool {
    let Event::Packet { packet: Received::V4(bytes), .. } = event else { return false };
    Packet::new_v4(bytes).is_ok_and(|packet| packet.priority() > 0)
}

fn is_good_acquire(event: &Event) -> bool {
    matches!(event, Event::MountEnded { action: MountAction::Acquire, end, .. } if end.is_success())
}

fn is_bad_probe(event: &Event) -> bool {
    matches!(event, Event::MountEnded { action: MountAction::Probe, end, .. } if !end.is_success())
}
