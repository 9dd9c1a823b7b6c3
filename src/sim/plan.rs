//! A whole world from one number: who is in it, and what goes wrong when. First faults, and
//! nothing may go wrong for good; then everything is healed, and everything must be well soon.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::check::{Invariant, Violation};
use super::fault::Fault;
use super::hook::Hook;
use super::node::{Daemon, Node, own_address};
use super::rng::Rng;
use super::storage::Guard;
use super::wire::{Quality, Wire};
use super::{MountHook, World};
use crate::core::event::{Facts, MountAction};
use crate::core::spec::{
    Address, AntiReplay, Auth, BfdSpec, CheckId, CheckSpec, Destination, Family, GarpSpec,
    GateSpec, GroupSpec, HmacMode, HmacSpec, InstanceId, InstanceSpec, LinkId, Preempt, Spec,
    TrackCheck, UnicastPeer, Version, Weight,
};
use crate::core::{Phase, Time};
use crate::wire::trailer::Key;

/// After the healing, one node must be master before so long, all hold-downs included.
const SETTLES_WITHIN: Duration = Duration::from_secs(900);
/// And everything stays as it is for so long.
const STABLE_FOR: Duration = Duration::from_secs(60);
/// After so long a person gives the proof that no guard can give.
const PERSON_AFTER: Duration = Duration::from_secs(60);
/// After so long a person takes off the hold of a node that has fenced all others.
const UNHOLD_AFTER: Duration = Duration::from_secs(500);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A partition lasts so long at least, in milliseconds.
const PARTITION_MS_MIN: u64 = 4000;

/// The longest interval of an advert.
const INTERVAL_MAX: Duration = Duration::from_secs(3);

/// What will happen in a world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it comes from; also the seed of what happens to single packets.
    pub seed: u64,
    /// The nodes.
    pub specs: Vec<Spec>,
    /// What their hooks do while nothing else is said.
    pub hooks: Vec<MountHook>,
    /// The guard of their disk.
    pub guard: Guard,
    /// What goes wrong, and when.
    pub faults: Vec<(Time, Fault)>,
    /// When everything is healed.
    pub heals_at: Time,
}

/// How it came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened, if a trace was wanted.
    pub story: String,
    /// What hooks were told, in order, if a trace was wanted; without an action it was notify.
    pub told: Vec<(Option<MountAction>, Facts)>,
    /// How long the healed nodes took to agree.
    pub settled_after: Option<Duration>,
}

impl Plan {
    /// The world of a seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let guard = match rng.below(100) {
            0..40 => Guard::Mmp,
            40..80 => Guard::Pr,
            _ => Guard::None,
        };
        let mut count = if guard != Guard::None && rng.chance(250) { 3 } else { 2 };
        let mut shape = Shape::from(&mut rng, guard);
        if guard == Guard::None && Rng::new(seed.rotate_left(16)).chance(250) {
            // A third one that was never heard may hold it: nothing but a person's word is proof.
            count = 3;
        }
        shape.gate.is_pair = count == 2;
        let mut specs: Vec<Spec> = (0..count).map(|_| shape.spec(&mut rng)).collect();
        sign(&mut specs, seed);
        let hooks = (0..count).map(|_| hooks(&mut rng)).collect();
        let faulty_ms = 20_000 + rng.below(180_000);
        let mut plan = Self {
            seed,
            specs,
            hooks,
            guard,
            faults: Vec::new(),
            heals_at: Time::from_millis(faulty_ms + 30_000),
        };
        // One world in twenty has nothing but its configuration against it.
        let faults = if rng.chance(50) { 0 } else { 1 + rng.below(12) };
        for _ in 0..faults {
            let at = Time::from_millis(1000 + rng.below(faulty_ms));
            plan.add_fault(at, &mut rng);
        }
        if guard == Guard::None {
            // Somebody has to begin.
            plan.faults.push((Time::from_millis(8000), Fault::Person(0)));
        }
        if rng.chance(350) {
            plan.group(faulty_ms, &mut rng);
        }
        plan.disturb(faulty_ms);
        vary(&mut plan.specs, seed);
        watch_neighbours(&mut plan.specs, seed);
        plan.faults.sort_by_key(|&(at, _)| at);
        plan
    }

    /// The same world with a sync group on each node, and what can go wrong with one member.
    fn group(&mut self, faulty_ms: u64, rng: &mut Rng) {
        for spec in &mut self.specs {
            *spec = group_spec(spec.clone());
            let follows = rng.chance(300);
            if follows && spec.instances.contains(InstanceId(1)) {
                // A check that only one of them tracks.
                let checks = std::mem::take(&mut spec.instances[InstanceId(0)].track_checks);
                spec.instances[InstanceId(1)].track_checks = checks;
            }
        }
        for _ in 0..rng.below(6) {
            let at = Time::from_millis(1000 + rng.below(faulty_ms));
            let node = rng.below(self.specs.len() as u64) as usize;
            let other = (node + 1) % self.specs.len();
            let until = at + rng.millis(100, 40_000);
            let (from, to) = match rng.below(4) {
                0 => (Fault::CutSecond(node, other), Fault::MendSecond(node, other)),
                1 => (Fault::Member(node, false), Fault::Member(node, true)),
                _ => (Fault::SecondCable(node, false), Fault::SecondCable(node, true)),
            };
            self.faults.push((at, from));
            self.faults.push((until, to));
        }
    }

    /// What an administrator and a busy kernel do at bad moments: reloads whenever something else goes
    /// on, other names, addresses that take their time. Drawn apart, so that the worlds are otherwise
    /// what they were.
    fn disturb(&mut self, faulty_ms: u64) {
        let mut rng = Rng::new(!self.seed.rotate_left(32));
        if rng.chance(300) {
            let node = rng.below(self.specs.len() as u64) as usize;
            let at = Time::from_millis(1000 + rng.below(faulty_ms));
            let until = at + rng.millis(1000, 60_000);
            self.faults.push((at, Fault::Kernel(node, rng.millis(1, 3000))));
            self.faults.push((until, Fault::Kernel(node, Duration::ZERO)));
        }
        if rng.chance(300) {
            let disturbs = |fault: &Fault| {
                matches!(
                    fault,
                    Fault::Stop(_)
                        | Fault::Resign(..)
                        | Fault::Checks(..)
                        | Fault::Kernel(..)
                        | Fault::Reload(..)
                )
            };
            let moments: Vec<_> =
                self.faults.iter().filter(|(_, f)| disturbs(f)).cloned().collect();
            for (at, fault) in moments {
                let Some(node) = fault.node() else { continue };
                let instance = &self.specs[node].instances[InstanceId(0)];
                let reload = Fault::Reload(node, instance.priority, instance.preempt);
                self.faults.push((at + rng.millis(1, 3000), reload));
                if matches!(fault, Fault::Stop(_)) && !self.specs[node].groups.is_empty() {
                    self.faults.push((at, Fault::Member(node, false)));
                    self.faults.push((at + rng.millis(1, 3000), Fault::Member(node, true)));
                }
            }
        }
        for _ in 0..if rng.chance(200) { 1 + rng.below(3) } else { 0 } {
            let node = rng.below(self.specs.len() as u64) as usize;
            self.faults.push((Time::from_millis(1000 + rng.below(faulty_ms)), Fault::Rename(node)));
        }
    }

    fn add_fault(&mut self, at: Time, rng: &mut Rng) {
        let node = rng.below(self.specs.len() as u64) as usize;
        let other = (node + 1 + rng.below(self.specs.len() as u64 - 1) as usize) % self.specs.len();
        let short = rng.millis(100, 5000);
        let long = rng.millis(PARTITION_MS_MIN, 60_000);
        let either = if rng.chance(500) { short } else { long };
        let mut put = |after: Duration, fault| self.faults.push((at + after, fault));
        let mut span = |from: Fault, to: Fault, lasts: Duration| {
            put(Duration::ZERO, from);
            put(lasts, to);
        };
        match rng.below(21) {
            0 => span(Fault::Cut(node, other), Fault::Mend(node, other), long),
            1 | 2 => {
                span(Fault::Cut(node, other), Fault::Mend(node, other), long);
                span(Fault::Cut(other, node), Fault::Mend(other, node), long);
            }
            3 => span(Fault::Wire(bad_wire(rng)), Fault::Wire(Quality::GOOD), long),
            4 => span(Fault::Cable(node, false), Fault::Cable(node, true), either),
            5 => span(Fault::Path(node, false), Fault::Path(node, true), either),
            6 | 7 => span(Fault::FreezeDaemon(node), Fault::ThawDaemon(node), either),
            8 | 9 => span(Fault::FreezeHost(node), Fault::ThawHost(node), either),
            10 => put(Duration::ZERO, Fault::Kill(node, Some(rng.millis(100, 1500)))),
            11 => put(Duration::ZERO, Fault::KillAfter(node, rng.below(12) as u32)),
            12 => span(Fault::Kill(node, None), Fault::Start(node), long),
            13 => span(Fault::PowerOff(node), Fault::Boot(node), long),
            14 => span(Fault::Stop(node), Fault::Start(node), long),
            15 => {
                let priority = priority(rng);
                put(Duration::ZERO, Fault::Reload(node, priority, preempt(rng)));
            }
            16 => span(Fault::Checks(node, false), Fault::Checks(node, true), long),
            17 | 18 => span(Fault::Hold(node, true), Fault::Hold(node, false), long),
            19 => {
                put(Duration::ZERO, Fault::Resign(node, rng.chance(400)));
                if rng.chance(300) {
                    put(long, Fault::CancelResign(node));
                }
            }
            _ => {
                let (action, good) = match rng.below(3) {
                    0 => (MountAction::Acquire, self.hooks[node].acquire),
                    1 => (MountAction::Release, self.hooks[node].release),
                    _ => (MountAction::Probe, self.hooks[node].probe),
                };
                let from = Fault::Hook(node, action, bad_hook(action, rng));
                self.faults.push((at, from));
                self.faults.push((at + long, Fault::Hook(node, action, good)));
            }
        }
    }

    /// Runs it.
    pub fn run(&self, is_tracing: bool) -> Outcome {
        let mut world = self.world(is_tracing);
        world.advance(self.heals_at.since(world.now));
        let mut settled_after = None;
        if world.violation.is_none() {
            world.heal();
            // Three nodes without a guard are refused by `-t`: no rule can tell them who is free. Only
            // that they never mount twice is looked at.
            let is_refused = self.guard == Guard::None && self.specs.len() > 2;
            settled_after = if is_refused { None } else { settle(&mut world) };
        }
        let story = world.story();
        Outcome { violation: world.violation, story, told: world.told, settled_after }
    }

    /// The world before anything has happened.
    pub fn world(&self, is_tracing: bool) -> World {
        let mut world = World::with_guard(self.specs.clone(), self.guard);
        world.is_tracing = is_tracing;
        world.wire = Wire::new(self.seed);
        for (node, hooks) in world.nodes.iter_mut().zip(&self.hooks) {
            node.mount = hooks.clone();
        }
        for (at, fault) in &self.faults {
            world.plan(*at, fault.clone());
        }
        world
    }

    /// The same with as few faults as still break the same promise.
    pub fn shrink(&self, invariant: Invariant) -> Self {
        let mut small = self.clone();
        let mut place = 0;
        while place < small.faults.len() {
            let mut next = small.clone();
            next.faults.remove(place);
            let found = next.run(false).violation;
            if found.is_some_and(|violation| violation.invariant == invariant) {
                small = next;
            } else {
                place += 1;
            }
        }
        small
    }

    /// The plan in words.
    pub fn describe(&self) -> String {
        let mut text = format!("seed {}, guard {:?}\n", self.seed, self.guard);
        for (place, spec) in self.specs.iter().enumerate() {
            let (instance, hooks) = (&spec.instances[InstanceId(0)], &self.hooks[place]);
            let _ = writeln!(
                text,
                "node {}: priority {} {:?}, interval {:?}, {:?}, checks {:?}, sessions {:?}, {hooks:?}",
                super::check::name(place),
                instance.priority,
                instance.preempt,
                instance.advert_interval,
                instance.gate,
                instance.track_checks,
                spec.bfds,
            );
        }
        for (at, fault) in &self.faults {
            let _ = writeln!(text, "{at:?} {fault:?}");
        }
        let _ = writeln!(text, "{:?} heals", self.heals_at);
        text
    }
}

/// Waits until the same node has been the one master for long enough, and everybody else a
/// backup.
fn settle(world: &mut World) -> Option<Duration> {
    let healed_at = world.now;
    let mut before = None;
    let mut since = world.now;
    while world.violation.is_none() {
        world.advance(LOOK_EVERY);
        for place in 0..world.nodes.len() {
            // One that was still stopping.
            if world.nodes[place].daemon == Daemon::Gone {
                world.apply(Fault::Start(place));
            }
        }
        let state: Vec<u64> = world
            .nodes
            .iter()
            .map(|node| node.core.instances()[InstanceId(0)].transition)
            .collect();
        let masters = world.masters();
        let waited = world.now.since(healed_at);
        if world.disk.guard == Guard::None && waited >= PERSON_AFTER && masters.is_empty() {
            // Without a guard only a person can know that nobody has it.
            let is_backup =
                |node: &Node| matches!(node.phase(), Phase::Backup { .. }) && !node.is_held;
            let place = world.nodes.iter().position(is_backup).unwrap_or(0);
            world.apply(Fault::Person(place));
        }
        if world.disk.guard == Guard::Pr && waited >= UNHOLD_AFTER && masters.is_empty() {
            // Who was fenced by the node that is on hold must not fence it back.
            (0..world.nodes.len()).for_each(|place| world.apply(Fault::Hold(place, false)));
        }
        let is_calm = world.nodes.iter().all(|node| {
            let mut sessions = node.core.bfds().all().iter();
            matches!(node.phase(), Phase::Master { .. } | Phase::Backup { .. })
                && sessions.all(|session| session.counts_as_up)
        });
        if !is_calm || masters.len() != 1 || before.as_ref() != Some(&state) {
            since = world.now;
        }
        before = Some(state);
        if world.now.since(since) >= STABLE_FOR {
            return Some(since.since(healed_at));
        }
        if world.now.since(healed_at) > SETTLES_WITHIN + STABLE_FOR {
            let phases: Vec<_> = world.nodes.iter().map(|node| node.phase().word()).collect();
            let session = |node: &Node| node.core.bfds().all().iter().map(|s| s.state).collect();
            let sessions: Vec<Vec<_>> = world.nodes.iter().map(session).collect();
            let detail = format!("at last the nodes are {phases:?}, their sessions {sessions:?}");
            world.violate(Invariant::Liveness, detail);
        }
    }
    None
}

/// What all nodes of a world have in common.
struct Shape {
    interval: Duration,
    gate: GateSpec,
    preempt: Option<Preempt>,
    priority: Option<u8>,
    check: Option<(i16, Duration)>,
}

impl Shape {
    fn from(rng: &mut Rng, guard: Guard) -> Self {
        let interval = rng.pick(&[1, 1, 1, 1, 2, 3]).unwrap_or(1);
        let gate = GateSpec {
            timeout: Duration::from_secs(30 + rng.below(60)),
            probe: (!rng.chance(200)).then(|| rng.millis(5000, 15_000)),
            // A holder may keep a claimant waiting for four intervals, and then releases.
            handover_wait: Duration::from_secs(interval * 4) + rng.millis(12_000, 30_000),
            peers_glha: guard == Guard::None || rng.chance(700),
            is_pair: true,
            reboot_on_failure: rng.chance(150),
        };
        let check = rng.chance(500).then(|| {
            let weight = rng.pick(&[0, 0, -20, 20]).unwrap_or(0);
            (weight, if rng.chance(500) { Duration::ZERO } else { Duration::from_secs(30) })
        });
        Self {
            interval: Duration::from_secs(interval),
            gate,
            preempt: (!rng.chance(200)).then(|| preempt(rng)),
            priority: rng.chance(400).then_some(100),
            check,
        }
    }

    fn spec(&self, rng: &mut Rng) -> Spec {
        let mut spec = node_spec(self.priority.unwrap_or_else(|| priority(rng)), self.interval);
        let instance = &mut spec.instances[InstanceId(0)];
        instance.gate = Some(self.gate.clone());
        instance.preempt = self.preempt.unwrap_or_else(|| preempt(rng));
        if let Some((value, grace)) = self.check {
            let weight = Weight { value, reverse: false };
            instance.track_checks.push(TrackCheck { check: CheckId(0), weight, grace });
            spec.checks.push(CheckSpec {
                name: "chk".into(),
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(2),
                rise: 1 + rng.below(2) as u32,
                fall: 1 + rng.below(2) as u32,
                init_fail: false,
            });
        }
        spec
    }
}

/// In one world of three adverts are signed. Drawn apart, so that the worlds are otherwise what they
/// were.
fn sign(specs: &mut [Spec], seed: u64) {
    let mut rng = Rng::new(seed ^ u64::MAX);
    let key = Key::new(&[7; Key::BYTES_MIN]).filter(|_| rng.chance(333));
    let Some(key) = key else { return };
    let window = 5 + rng.below(5) as u16;
    let is_timed = rng.chance(667);
    let anti_replay = if is_timed { AntiReplay::Time { window } } else { AntiReplay::Monotonic };
    let mode = HmacMode::Enforce;
    for instance in specs.iter_mut().flat_map(|spec| &mut spec.instances) {
        instance.auth = Auth::None;
        instance.hmac =
            Some(HmacSpec { keys: [(1, key)].into(), active_key: 1, anti_replay, mode });
    }
}

/// In one world of five adverts go to named peers, and in one of five to VRRP version 3 each node has an
/// interval of its own. Drawn apart like the signatures.
fn vary(specs: &mut [Spec], seed: u64) {
    let mut rng = Rng::new(seed.rotate_left(48) ^ u64::MAX);
    if rng.chance(200) {
        let check_source = rng.chance(500);
        let nodes = specs.len();
        for (place, spec) in specs.iter_mut().enumerate() {
            for instance in spec.instances.iter_mut() {
                let others = (0..nodes).filter(|&other| other != place);
                let peers = others.map(|other| UnicastPeer {
                    ip: own_address(other, instance.link).into(),
                    min_ttl: None,
                    max_ttl: None,
                });
                let peers = peers.collect();
                instance.destination = Destination::Peers { peers, ttl: None, check_source };
            }
        }
    }
    if rng.chance(200) {
        for spec in specs {
            let interval =
                Duration::from_millis(rng.pick(&[500, 1000, 1000, 2000, 3000]).unwrap_or(1000));
            for instance in spec.instances.iter_mut().filter(|instance| instance.hmac.is_none()) {
                (instance.version, instance.auth) = (Version::V3, Auth::None);
                instance.advert_interval = interval;
                if let Some(gate) = &mut instance.gate {
                    // Of whoever holds it then.
                    gate.handover_wait += INTERVAL_MAX * 4;
                }
            }
        }
    }
}

/// In one world of six every node has a BFD session with each other one, which its instances track.
/// Drawn apart as well.
fn watch_neighbours(specs: &mut [Spec], seed: u64) {
    let mut rng = Rng::new(seed.rotate_left(8) ^ u64::MAX);
    if !rng.chance(167) {
        return;
    }
    let nodes = specs.len();
    let value = rng.pick(&[0, 0, -20, 20]).unwrap_or(0);
    // The other way round a session that is well would be a fault.
    let weight = Weight { value, reverse: value != 0 && rng.chance(200) };
    for (place, spec) in specs.iter_mut().enumerate() {
        let interval = rng.millis(50, 400);
        for other in (0..nodes).filter(|&other| other != place) {
            let id = spec.bfds.push(BfdSpec {
                name: format!("to {other}"),
                neighbor: own_address(other, LinkId(0)).into(),
                source: None,
                min_rx: interval,
                min_tx: interval,
                idle_tx: Duration::from_secs(1),
                multiplier: 2 + rng.below(4) as u8,
                // Two that both wait never begin.
                passive: place == 0 && rng.chance(300),
                ttl: None,
                max_hops: 0,
            });
            for instance in spec.instances.iter_mut() {
                instance.track_bfds.push((id, weight));
            }
        }
    }
}

fn priority(rng: &mut Rng) -> u8 {
    rng.pick(&[90, 100, 100, 101, 110, 150, 254]).unwrap_or(100)
}

fn preempt(rng: &mut Rng) -> Preempt {
    let choice = [Preempt::Weakened, Preempt::Weakened, Preempt::Always, Preempt::Never];
    rng.pick(&choice).unwrap_or(Preempt::Weakened)
}

fn hooks(rng: &mut Rng) -> MountHook {
    let mut takes = |most| Hook::Ends { after: rng.millis(40, most), status: 0 };
    MountHook { acquire: takes(6000), release: takes(8000), probe: takes(1000) }
}

fn bad_wire(rng: &mut Rng) -> Quality {
    Quality { loss: rng.below(500), twice: rng.below(200), delay_ms: rng.below(900) }
}

fn bad_hook(action: MountAction, rng: &mut Rng) -> Hook {
    let after = rng.millis(10, 5000);
    // A probe that fails does not say that nothing is held.
    let failure = if action == MountAction::Probe { 3 } else { 1 };
    match rng.below(7) {
        0 => Hook::Ends { after, status: failure },
        1 => Hook::Ends { after, status: 75 },
        2 => Hook::Late { after, status: failure },
        3 => Hook::Hangs,
        4 => Hook::HangsAfter(after),
        5 => Hook::InKernel(rng.millis(1000, 200_000)),
        _ => Hook::Ends { after: rng.millis(5000, 40_000), status: 0 },
    }
}

/// The same node with a second instance like its first one, on a second link, and both in a sync
/// group.
pub fn group_spec(mut spec: Spec) -> Spec {
    let link = LinkId(1);
    let mut second = spec.instances[InstanceId(0)].clone();
    let ip = Ipv4Addr::new(10, 0, 1, 70).into();
    (second.name, second.link, second.vrid) = ("VI_2".into(), link, 52);
    second.addresses = vec![Address { ip, prefix_len: 32, link, no_track: false }];
    let is_gated = second.gate.is_some();
    spec.instances.push(second);
    spec.links.push("eth1".into());
    let members = vec![InstanceId(0), InstanceId(1)];
    spec.groups.push(GroupSpec { name: "G".into(), members, is_gated });
    spec
}

/// A node with one instance of one address on one link, without storage.
pub fn node_spec(priority: u8, interval: Duration) -> Spec {
    let link = LinkId(0);
    let vip =
        Address { ip: Ipv4Addr::new(10, 0, 0, 70).into(), prefix_len: 32, link, no_track: false };
    let instance = InstanceSpec {
        name: "VI_1".into(),
        link,
        xmit: None,
        vmacs: vec![],
        vrid: 51,
        priority,
        advert_interval: interval,
        down_timer_adverts: 3,
        auth: Auth::Pass(*b"1111\0\0\0\0"),
        hmac: None,
        version: Version::V2,
        family: Family::V4,
        destination: Destination::default(),
        v3_checksum_as_v2: false,
        source: None,
        track_source: false,
        wants_master: false,
        addresses: vec![vip],
        excluded: vec![],
        preempt: Preempt::Always,
        preempt_delay: Duration::ZERO,
        garp: GarpSpec::default(),
        dont_track_primary: false,
        track_links: vec![],
        needs_links: vec![],
        track_checks: vec![],
        track_processes: vec![],
        track_files: vec![],
        track_bfds: vec![],
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_adv_addr: false,
        owner_ignores_adverts: false,
        late_backup: None,
        notifies_deleted: false,
        gate: None,
    };
    Spec { links: vec!["eth0".into()], instances: vec![instance.into()].into(), ..Spec::default() }
}
