//! A machine: its host, its daemon, and what survives the end of either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::check::Watch;
use super::hook::{Hook, MountHook, Run};
use crate::core::event::{Event, LinkState, Memory, MountAction, NotifyState};
use crate::core::spec::{InstanceId, LinkId, Spec};
use crate::core::{Core, Phase, Time};
use crate::work::Executor;

/// What a socket buffer of the usual size takes of VRRP packets; more are lost.
const SOCKET_PACKETS_MAX: usize = 270;

/// How the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// It runs.
    Runs,
    /// It is stopped (SIGSTOP), its hooks are not.
    Frozen,
    /// It is not there.
    Gone,
    /// It was started, and waits for the end of a hook that its predecessor has left.
    Starting,
}

/// A machine with a daemon on it. Every node has one instance on one link, or a sync group whose
/// second member is on a second link.
#[derive(Debug)]
pub struct Node {
    /// Its core; nothing reaches that of a daemon that is gone.
    pub core: Core,
    /// Its configuration.
    pub spec: Spec,
    /// It has power.
    pub is_on: bool,
    /// The whole host stands still.
    pub is_frozen: bool,
    /// Its daemon.
    pub daemon: Daemon,
    /// Its cable is in.
    pub has_link: bool,
    /// So is that of its second interface, which only a sync group uses.
    pub has_second_link: bool,
    /// Since when its daemon knows that it is not.
    pub(super) second_out_at: Option<Time>,
    /// Of each instance: its virtual addresses are set.
    pub addresses: Vec<bool>,
    /// What its mount hook does.
    pub mount: MountHook,
    /// What each check says.
    pub checks: Vec<bool>,
    /// The second member was taken out of its sync group.
    pub is_alone: bool,
    /// So often it came back, as another one each time.
    pub(super) joins: usize,
    /// Its own address.
    pub address: Ipv4Addr,
    /// What its notify scripts were told.
    pub notified: Vec<NotifyState>,
    /// It can get at the disk, if its host runs.
    pub has_disk: bool,
    /// Its daemon is killed in the middle of its work, after so many more actions.
    pub dies_after: Option<u32>,
    /// What its daemon has written down for the next one.
    pub memory: Memory,
    /// A person has put it on hold; that is kept even over a boot.
    pub is_held: bool,
    /// How long its kernel takes to put or take addresses.
    pub kernel: Duration,
    /// The number of the newest request to move the addresses of each instance.
    pub(super) moves: BTreeMap<InstanceId, u64>,
    /// The instances whose addresses its daemon wants to be set.
    pub(super) wants: BTreeSet<InstanceId>,
    /// What its daemon does next.
    pub(super) executor: Executor<NotifyState>,
    pub(super) run: Option<Run>,
    /// Packets that the daemon has not read.
    pub(super) inbox: Vec<(LinkId, Vec<u8>)>,
    /// Everything else that the daemon has not noticed.
    pub(super) unnoticed: Vec<Event>,
    /// Counts the daemons: what belongs to an earlier one is void.
    pub(super) life: u64,
    pub(super) watch: Watch,
}

impl Node {
    pub(super) fn new(spec: Spec, address: Ipv4Addr, now: Time) -> Self {
        let checks = vec![true; spec.checks.len()];
        let addresses = vec![false; spec.instances.len()];
        Self {
            core: Core::new(spec.clone(), Duration::ZERO, vec![], now),
            spec,
            is_on: true,
            is_frozen: false,
            daemon: Daemon::Runs,
            has_link: true,
            has_second_link: true,
            second_out_at: None,
            addresses,
            mount: MountHook::good(),
            checks,
            is_alone: false,
            joins: 0,
            address,
            notified: Vec::new(),
            has_disk: true,
            dies_after: None,
            memory: Memory::default(),
            is_held: false,
            kernel: Duration::ZERO,
            moves: BTreeMap::new(),
            wants: BTreeSet::new(),
            executor: Executor::default(),
            run: None,
            inbox: Vec::new(),
            unnoticed: Vec::new(),
            life: 0,
            watch: Watch::default(),
        }
    }

    /// A new daemon: all it knows is what was written down.
    pub(super) fn begin(&mut self, now: Time) {
        let memories = vec![self.memory.clone()];
        self.core = Core::new(self.daemon_spec(), Duration::ZERO, memories, now);
        self.core.seed(self.life, now);
        self.daemon = Daemon::Runs;
        self.executor = Executor::default();
        self.wants.clear();
        if self.is_held {
            self.core.handle(Event::Hold { instance: InstanceId(0), is_on: true }, now);
        }
    }

    /// The phase of its instance, or of the first one, which leads its group.
    ///
    /// # Panics
    /// If the node has no instance.
    pub fn phase(&self) -> &Phase {
        &self.core.instances()[InstanceId(0)].phase
    }

    /// What its daemon is configured to be now.
    pub(super) fn daemon_spec(&self) -> Spec {
        let mut spec = self.spec.clone();
        let second = InstanceId(1 + self.joins);
        let places = spec.instances.into_iter().enumerate();
        let named = places.map(|(place, (id, i))| (if place == 0 { id } else { second }, i));
        spec.instances = named.filter(|(id, _)| !self.is_alone || id.0 == 0).collect();
        for group in &mut spec.groups {
            group.members = spec.instances.ids().collect();
        }
        spec
    }

    /// It is master, for all it knows.
    pub fn is_master(&self) -> bool {
        let has_daemon = !matches!(self.daemon, Daemon::Gone | Daemon::Starting);
        self.is_on && has_daemon && matches!(self.phase(), Phase::Master { .. })
    }

    pub(super) fn is_gated(&self) -> bool {
        self.spec.instances.first().is_some_and(|instance| instance.gate.is_some())
    }

    /// The daemon sees what happens, as it happens.
    pub(super) fn is_awake(&self) -> bool {
        self.is_on && !self.is_frozen && self.daemon == Daemon::Runs
    }

    /// The daemon is there, and will see later what happens now.
    pub(super) fn is_asleep(&self) -> bool {
        let has_daemon = matches!(self.daemon, Daemon::Runs | Daemon::Frozen);
        self.is_on && has_daemon && !self.is_awake()
    }

    /// The host runs, so its processes do.
    pub(super) const fn host_runs(&self) -> bool {
        self.is_on && !self.is_frozen
    }

    /// What netlink would say.
    pub(super) fn link_event(&self, link: LinkId) -> Event {
        let instances = self.spec.instances.iter().zip(&self.addresses);
        let there = instances.filter(|(instance, is_set)| instance.link == link && **is_set);
        let virtual_ones = there.flat_map(|(i, _)| i.addresses.iter().chain(&i.excluded));
        let set = virtual_ones.map(|a| (a.ip, a.prefix_len));
        let addresses = std::iter::once((self.own_address(link).into(), 24)).chain(set).collect();
        Event::Link { link, state: LinkState { present: true, up: self.is_up(link), addresses } }
    }

    /// Its own address on a link.
    pub(super) fn own_address(&self, link: LinkId) -> Ipv4Addr {
        let [a, b, _, d] = self.address.octets();
        Ipv4Addr::new(a, b, link.0 as u8, d)
    }

    /// The cable of this link is in.
    pub(super) const fn is_up(&self, link: LinkId) -> bool {
        if link.0 == 0 { self.has_link } else { self.has_second_link }
    }

    /// Any of its virtual addresses is set.
    pub fn has_addresses(&self) -> bool {
        self.addresses.contains(&true)
    }

    /// A packet has arrived that the daemon cannot read now.
    pub(super) fn store(&mut self, link: LinkId, bytes: Vec<u8>) {
        if self.inbox.len() < SOCKET_PACKETS_MAX {
            self.inbox.push((link, bytes));
        }
    }

    pub(super) const fn hook(&self, action: MountAction) -> Hook {
        match action {
            MountAction::Acquire => self.mount.acquire,
            MountAction::Release => self.mount.release,
            MountAction::Probe => self.mount.probe,
        }
    }
}

/// The address on a link of the node at this place.
pub(super) const fn own_address(place: usize, link: LinkId) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, link.0 as u8, place as u8 + 1)
}

impl MountHook {
    /// A hook that works.
    pub const fn good() -> Self {
        Self {
            acquire: Hook::succeeds(200),
            release: Hook::succeeds(100),
            probe: Hook::succeeds(50),
        }
    }
}
