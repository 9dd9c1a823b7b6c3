//! A simulated cluster: real cores, a simulated wire, simulated hooks and storage, and a clock
//! that only the world moves. The same events in the same order, for ever.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::core::event::{Action, Event, HookEnd, LinkState, MountAction, NotifyState, Received};
use crate::core::spec::{CheckId, InstanceId, LinkId, Spec};
use crate::core::{Core, Phase, Time};
use crate::wire::vrrp::Packet;

/// Time on the wire.
const DELAY: Duration = Duration::from_micros(100);
/// What a check takes.
const CHECK_TAKES: Duration = Duration::from_millis(10);
/// A step that does not come to rest after so many events is a loop.
const EVENTS_PER_STEP_MAX: usize = 100_000;

/// Some nodes on one wire, in front of one storage. Every node has one instance on one link.
#[derive(Debug)]
pub struct World {
    /// The time.
    pub now: Time,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What happened, in order.
    pub trace: Vec<Line>,
    /// Directions in which nothing gets through: from, to.
    pub cuts: BTreeSet<(usize, usize)>,
    agenda: BTreeMap<(Time, u64), Due>,
    count: u64,
}

/// A machine with a daemon on it.
#[derive(Debug)]
pub struct Node {
    /// Its core; nothing reaches that of a node that is off.
    pub core: Core,
    /// It has power.
    pub is_on: bool,
    /// Its virtual addresses are set.
    pub has_addresses: bool,
    /// Its mount hook has taken the storage and not given it back.
    pub has_storage: bool,
    /// What `acquire` and `release` do.
    pub mount: Mount,
    /// What each check says.
    pub checks: Vec<bool>,
    /// Its own address.
    pub address: Ipv4Addr,
    /// What its notify scripts were told.
    pub notified: Vec<NotifyState>,
    running: Option<(MountAction, u64)>,
}

/// The mount hook of a node.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its `acquire`.
    pub acquire: Hook,
    /// Its `release`.
    pub release: Hook,
}

/// What a hook does.
#[derive(Clone, Debug)]
pub enum Hook {
    /// It ends by itself.
    Ends {
        /// After so long.
        after: Duration,
        /// With this status.
        status: i32,
    },
    /// It hangs until it is killed.
    Hangs,
    /// It cannot be killed.
    Unkillable,
}

impl Hook {
    /// It succeeds after so many milliseconds.
    pub const fn succeeds(millis: u64) -> Self {
        Self::Ends { after: Duration::from_millis(millis), status: 0 }
    }

    /// It fails after so many milliseconds.
    pub const fn fails(millis: u64, status: i32) -> Self {
        Self::Ends { after: Duration::from_millis(millis), status }
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
        write!(f, "{:?} {} {}", self.at, char::from(b'A' + self.node as u8), self.text)
    }
}

#[derive(Debug)]
enum Due {
    Deliver { to: usize, bytes: Vec<u8> },
    CheckEnded { node: usize, check: CheckId },
    MountEnded { node: usize, run: u64, end: HookEnd },
    MountUnkillable { node: usize, run: u64 },
}

impl World {
    /// Nodes with these configurations, all switched on now. Node 0 has 10.0.0.1, node 1 10.0.0.2
    /// and so on.
    pub fn new(specs: Vec<Spec>) -> Self {
        let mut world = Self {
            now: Time::from_millis(1000),
            nodes: Vec::new(),
            trace: Vec::new(),
            cuts: BTreeSet::new(),
            agenda: BTreeMap::new(),
            count: 0,
        };
        for (place, spec) in specs.into_iter().enumerate() {
            let address = Ipv4Addr::new(10, 0, 0, place as u8 + 1);
            let node = Node::new(spec, address, world.now);
            world.nodes.push(node);
            world.boot(place);
        }
        world
    }

    /// Tells a node of its link, as the daemon does at start.
    fn boot(&mut self, place: usize) {
        let addresses = vec![(self.nodes[place].address.into(), 24)];
        let state = LinkState { present: true, up: true, addresses };
        self.tell(place, Event::Link { link: LinkId(0), state });
        self.tell(place, Event::Tick);
    }

    /// Cuts the power of a node: addresses and storage are gone with it.
    pub fn power_off(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        (node.is_on, node.has_addresses, node.has_storage) = (false, false, false);
        node.running = None;
        self.note(place, "power off".into());
    }

    /// Hands an event to a node and carries out what it answers.
    pub fn tell(&mut self, place: usize, event: Event) {
        if !self.nodes[place].is_on {
            return;
        }
        self.nodes[place].core.handle(event, self.now);
        for action in self.nodes[place].core.take_actions() {
            self.carry_out(place, action);
        }
        self.assert_safe();
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// When something that must never be is so, or when the nodes answer each other without end.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..EVENTS_PER_STEP_MAX {
            let on = self.nodes.iter().filter(|node| node.is_on);
            let tick_at = on.filter_map(|node| node.core.deadline()).min();
            let due_at = self.agenda.first_key_value().map(|(&(at, _), _)| at);
            let Some(next) = tick_at.into_iter().chain(due_at).min().filter(|at| *at <= until)
            else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            // What has arrived is read before timers are looked at, as the daemon does.
            if due_at.is_some_and(|at| at <= self.now) {
                if let Some((_, due)) = self.agenda.pop_first() {
                    self.happen(due);
                }
            } else {
                for place in 0..self.nodes.len() {
                    self.tell(place, Event::Tick);
                }
            }
        }
        panic!("no rest within {span:?}\n{}", self.story());
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Deliver { to, bytes } => {
                let packet = Received::V4(bytes);
                self.tell(to, Event::Packet { link: LinkId(0), packet });
            }
            Due::CheckEnded { node, check } => {
                let is_good = self.nodes[node].checks.get(check.0).copied().unwrap_or(true);
                let end = HookEnd::Exited(i32::from(!is_good));
                self.tell(node, Event::CheckEnded { check, end });
            }
            Due::MountEnded { node, run, end } => {
                let Some((action, _)) = self.take_run(node, run) else { return };
                match (action, end.is_success()) {
                    (MountAction::Acquire, true) => self.nodes[node].has_storage = true,
                    (MountAction::Release, true) => self.nodes[node].has_storage = false,
                    _ => {}
                }
                self.note(node, format!("{} {end}", action.word()));
                self.tell(node, Event::MountEnded { instance: InstanceId(0), action, end });
            }
            Due::MountUnkillable { node, run } => {
                if let Some((action, of)) = self.nodes[node].running
                    && of == run
                {
                    self.tell(node, Event::MountUnkillable { instance: InstanceId(0), action });
                }
            }
        }
    }

    fn take_run(&mut self, node: usize, run: u64) -> Option<(MountAction, u64)> {
        let running = &mut self.nodes[node].running;
        if running.is_some_and(|(_, of)| of == run) { running.take() } else { None }
    }

    fn carry_out(&mut self, place: usize, action: Action) {
        match action {
            Action::Send { bytes, .. } => self.send(place, &bytes),
            Action::PutAddresses { .. } => {
                self.nodes[place].has_addresses = true;
                self.note(place, "addresses up".into());
            }
            Action::TakeAddresses { .. } => {
                if std::mem::take(&mut self.nodes[place].has_addresses) {
                    self.note(place, "addresses down".into());
                }
            }
            Action::RunCheck { check } => {
                self.at(CHECK_TAKES, Due::CheckEnded { node: place, check });
            }
            Action::RunMount { action, timeout, .. } => self.run_mount(place, action, timeout),
            Action::StopMount { .. } => {
                if let Some((_, run)) = self.nodes[place].running {
                    let end = HookEnd::Ended;
                    self.at(DELAY, Due::MountEnded { node: place, run, end });
                }
            }
            Action::Notify { state, .. } => {
                self.nodes[place].notified.push(state);
                self.note(place, format!("notify {}", state.word()));
            }
            Action::Report(report) => self.note(place, report.text),
            Action::Announce { .. }
            | Action::StopAnnouncing { .. }
            | Action::StopChecks
            | Action::Remember { .. }
            | Action::Reboot { .. }
            | Action::Tell { .. } => {}
        }
    }

    fn send(&mut self, from: usize, bytes: &[u8]) {
        if let Ok(packet) = Packet::new_v4(bytes) {
            self.note(from, format!("advert {}", packet.priority()));
            let is_free = self.nodes[from].mount_is_over() && !self.nodes[from].has_storage;
            let is_gated = self.nodes[from].is_gated();
            assert!(
                packet.priority() > 0 || !is_gated || is_free,
                "priority 0 while the storage is held or unknown\n{}",
                self.story()
            );
        }
        for to in 0..self.nodes.len() {
            if to != from && !self.cuts.contains(&(from, to)) {
                self.at(DELAY, Due::Deliver { to, bytes: bytes.to_vec() });
            }
        }
    }

    fn run_mount(&mut self, place: usize, action: MountAction, timeout: Duration) {
        let story_if_two = self.nodes[place].running.is_some();
        assert!(!story_if_two, "two mount hooks at once\n{}", self.story());
        self.count += 1;
        let run = self.count;
        let node = &mut self.nodes[place];
        node.running = Some((action, run));
        let hook = match action {
            MountAction::Acquire => node.mount.acquire.clone(),
            MountAction::Release => node.mount.release.clone(),
            MountAction::Probe => Hook::fails(10, i32::from(!node.has_storage)),
        };
        self.note(place, format!("{} starts", action.word()));
        match hook {
            Hook::Ends { after, status } if after < timeout => {
                let end = HookEnd::Exited(status);
                self.at(after, Due::MountEnded { node: place, run, end });
            }
            Hook::Ends { .. } | Hook::Hangs => {
                let end = HookEnd::TimedOut;
                self.at(timeout, Due::MountEnded { node: place, run, end });
            }
            Hook::Unkillable => self.at(timeout, Due::MountUnkillable { node: place, run }),
        }
    }

    fn at(&mut self, after: Duration, due: Due) {
        self.count += 1;
        self.agenda.insert((self.now + after, self.count), due);
    }

    fn note(&mut self, node: usize, text: String) {
        self.trace.push(Line { at: self.now, node, text });
    }

    /// What must hold whatever happens.
    fn assert_safe(&self) {
        let holders = self.nodes.iter().filter(|node| node.has_storage).count();
        assert!(holders <= 1, "storage on two nodes\n{}", self.story());
        for node in &self.nodes {
            let is_bad = node.is_gated() && node.has_addresses && !node.has_storage;
            assert!(!is_bad, "addresses without storage\n{}", self.story());
        }
    }

    /// The trace as text.
    pub fn story(&self) -> String {
        self.trace.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The nodes that are master, addresses and all.
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |node: &&Node| matches!(node.phase(), Phase::Master { .. }) && node.is_on;
        let place = |node: &Node| usize::from(node.address.octets()[3]) - 1;
        self.nodes.iter().filter(is_master).map(place).collect()
    }

    /// When a line with this text was first noted on a node, after `since`.
    pub fn when(&self, node: usize, text: &str, since: Time) -> Option<Time> {
        let is_it =
            |line: &&Line| line.node == node && line.at >= since && line.text.contains(text);
        self.trace.iter().find(is_it).map(|line| line.at)
    }
}

impl Node {
    fn new(spec: Spec, address: Ipv4Addr, now: Time) -> Self {
        let checks = vec![true; spec.checks.len()];
        Self {
            core: Core::new(spec, Duration::ZERO, Vec::new(), now),
            is_on: true,
            has_addresses: false,
            has_storage: false,
            mount: Mount { acquire: Hook::succeeds(200), release: Hook::succeeds(100) },
            checks,
            address,
            notified: Vec::new(),
            running: None,
        }
    }

    /// The phase of its instance.
    ///
    /// # Panics
    /// If the node has no instance.
    pub fn phase(&self) -> &Phase {
        &self.core.instances()[0].phase
    }

    fn is_gated(&self) -> bool {
        self.core.instances().first().is_some_and(|instance| instance.spec.gate.is_some())
    }

    const fn mount_is_over(&self) -> bool {
        self.running.is_none()
    }
}
