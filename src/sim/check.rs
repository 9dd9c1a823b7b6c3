//! What must hold whatever happens, looked at after every step.

use std::fmt;
use std::time::Duration;

use super::World;
use super::hook::Run;
use super::node::{Daemon, Node};
use super::storage::Guard;
use crate::core::event::{Action, MountAction, NotifyState, Report};
use crate::core::spec::InstanceId;
use crate::core::{Acquiring, How, Instance, Phase, Role, Time};

/// How long a claim is made at least before guard work starts without proof.
const LISTEN: Duration = Duration::from_millis(300);
/// An advert may be late by so much.
const LATE: Duration = Duration::from_millis(1);
/// More actions in answer to one event than this are a flood.
const ACTIONS_MAX: usize = 64;
/// More adverts than this within a second are a storm.
const ADVERTS_MAX: u32 = 40;
/// More senders than this nobody remembers.
const PEERS_MAX: usize = 16;
/// For so long, besides its probe's period, a node may serve from a disk that was taken from it.
const UNNOTICED_MAX: Duration = Duration::from_secs(20);

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When.
    pub at: Time,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.invariant.word(), self.at, self.detail)
    }
}

/// The promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// At most one node can write to the storage.
    StorageOnTwo,
    /// Addresses only where an acquire has finished and the storage is.
    AddressWithoutStorage,
    /// Addresses go up only where the storage has not been taken away long ago, and do not stay.
    AddressOnLostStorage,
    /// Addresses go first, all of them, and the storage is moved then.
    AddressWhileMoving,
    /// The members of a group with storage are where their leader is, and go in order.
    GroupApart,
    /// No priority 0 while the storage is held or unknown.
    ZeroWhileHeld,
    /// No priority 0 by a node that neither held the storage nor had proof.
    ZeroWithoutVouching,
    /// Never two mount hooks at once on a node.
    TwoHooks,
    /// No guard work before a claim could be answered.
    AcquireBeforeListening,
    /// Who was fenced does not fence before it has heard anybody.
    FencePingPong,
    /// Who does not know whether it holds the storage is silent.
    StuckSpeaks,
    /// Notify scripts are told what is.
    NotifyLies,
    /// Every transition is reported with its reason.
    SilentTransition,
    /// A hook never delays an advert.
    LateAdvert,
    /// After a lapse nothing but `probe` before everything that waits is read.
    ActsBeforeReading,
    /// Nor does a backup claim while a live master's adverts wait to be read.
    ClaimsBeforeReading,
    /// Nothing grows without bound.
    Grows,
    /// Nodes do not answer each other without end.
    NoRest,
    /// Nor as fast as the wire can carry it.
    Storm,
    /// When everything is healed there is one master before long.
    Liveness,
    /// And then it stays the same.
    Flapping,
    /// A node on hold takes over, or gives up for its checks.
    HoldBroken,
    /// Who has resigned is master all the same, or becomes it before its time.
    ResignBroken,
    /// A mount hook that is awaited runs, or will.
    HookLost,
}

impl Invariant {
    /// Its name, for tests and people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::StorageOnTwo => "storage-on-two",
            Self::AddressWithoutStorage => "address-without-storage",
            Self::AddressOnLostStorage => "address-on-lost-storage",
            Self::AddressWhileMoving => "address-while-moving",
            Self::GroupApart => "group-apart",
            Self::ZeroWhileHeld => "zero-while-held",
            Self::ZeroWithoutVouching => "zero-without-vouching",
            Self::TwoHooks => "two-hooks",
            Self::AcquireBeforeListening => "acquire-before-listening",
            Self::FencePingPong => "fence-ping-pong",
            Self::StuckSpeaks => "stuck-speaks",
            Self::NotifyLies => "notify-lies",
            Self::SilentTransition => "silent-transition",
            Self::LateAdvert => "late-advert",
            Self::ActsBeforeReading => "acts-before-reading",
            Self::ClaimsBeforeReading => "claims-before-reading",
            Self::Grows => "grows",
            Self::NoRest => "no-rest",
            Self::Storm => "storm",
            Self::Liveness => "liveness",
            Self::Flapping => "flapping",
            Self::HoldBroken => "hold-broken",
            Self::ResignBroken => "resign-broken",
            Self::HookLost => "hook-lost",
        }
    }
}

/// What the checks remember of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// The last mount hook that ended did so with the storage taken, or proven to be there.
    pub has_acquired: bool,
    /// It held the storage, or began to take it with proof, since it last vouched or began anew.
    pub may_vouch: bool,
    /// The first advert of its claim.
    claimed_at: Option<Time>,
    /// The running second, and the adverts sent in it.
    adverts: (Time, u32),
    /// Its last advert.
    advert_at: Option<Time>,
    /// The same, or the moment since which one is due.
    advert_since: Option<Time>,
    /// The same of the second member of a group.
    second_advert_since: Option<Time>,
    /// It was forced to resign, and has heard no master since.
    pub must_hear_master: bool,
    /// Its probe told it that it was fenced, and it has heard nothing since.
    pub was_fenced: bool,
    /// The daemon has been awake with addresses on a lost disk since.
    serves_lost_since: Option<Time>,
    /// The transition that was looked at last, and the phase after it.
    transition: u64,
    phase: &'static str,
}

impl Watch {
    /// It was away for so long that nobody counts its claim any more.
    pub(super) const fn lapse(&mut self) {
        self.claimed_at = None;
    }

    /// A new daemon: nothing was said by it.
    pub(super) fn begin(&mut self) {
        (self.transition, self.phase) = (0, "");
        (self.claimed_at, self.advert_since) = (None, None);
        self.second_advert_since = None;
        self.must_hear_master = false;
    }
}

impl World {
    pub(super) fn violate(&mut self, invariant: Invariant, detail: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, at: self.now, detail });
        }
    }

    /// Looks at everything, after each step.
    pub(super) fn look(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let found = self
            .look_at_disk()
            .or_else(|| (0..self.nodes.len()).find_map(|place| self.look_at_node(place)));
        if let Some((invariant, detail)) = found {
            self.violate(invariant, detail);
        }
    }

    fn look_at_disk(&self) -> Option<(Invariant, String)> {
        let held = |place: &usize| self.disk.is_held(*place, self.now);
        let holders: Vec<usize> = (0..self.nodes.len()).filter(held).collect();
        (holders.len() > 1).then(|| {
            let names: Vec<String> = holders.iter().map(|&place| name(place).to_string()).collect();
            (Invariant::StorageOnTwo, format!("nodes {} can write to it", names.join(" and ")))
        })
    }

    fn look_at_node(&mut self, place: usize) -> Option<(Invariant, String)> {
        let now = self.now;
        let is_mounted = self.disk.mounts[place].is_some();
        let lost_at = self.disk.mounts[place].and_then(|mount| mount.lost_at);
        // A blip that began while it followed another node is measured by that one's interval.
        let interval = |node: &Node| node.spec.instances[InstanceId(0)].advert_interval;
        let longest = self.nodes.iter().map(interval).max().unwrap_or_default();
        let node = &mut self.nodes[place];
        node.watch.may_vouch |= is_mounted;
        let has_all = is_mounted && node.watch.has_acquired;
        if let Some(detail) = node.group_apart(longest * 2 + LATE, now) {
            return Some((Invariant::GroupApart, format!("{}: {detail}", name(place))));
        }
        if node.is_on && node.is_gated() && node.has_addresses() && !has_all {
            let what = if is_mounted { "no acquire has finished" } else { "nothing is mounted" };
            return Some((Invariant::AddressWithoutStorage, format!("on {}: {what}", name(place))));
        }
        let serves_lost = node.has_addresses() && lost_at.is_some() && node.is_awake();
        let since = node.watch.serves_lost_since.take().unwrap_or(now);
        node.watch.serves_lost_since = serves_lost.then_some(since);
        if serves_lost && let Some(period) = node.probe_period() {
            let timeout = node.spec.instances[InstanceId(0)]
                .gate
                .as_ref()
                .map_or(period, |gate| gate.timeout);
            if now.since(since) > period + timeout + UNNOTICED_MAX {
                let detail = format!("{} has served from it since {since:?}", name(place));
                return Some((Invariant::AddressOnLostStorage, detail));
            }
        }
        if node.core.instances().iter().any(|i| i.peers.count() > PEERS_MAX) {
            return Some((Invariant::Grows, format!("peers of {}", name(place))));
        }
        node.late_advert(now)
            .or_else(|| node.late_second_advert(now))
            .map(|detail| (Invariant::LateAdvert, format!("{}: {detail}", name(place))))
    }

    /// Looks at what a node wants to do.
    pub(super) fn look_at_actions(&mut self, place: usize, actions: &[Action]) {
        // A line in the log for each advert that waited while the node was frozen is as it should be, and
        // so is an answer to each of a BFD neighbour's polls (RFC 5880, 6.8.6).
        let is_wanted =
            |action: &&Action| !matches!(action, Action::Report(_) | Action::SendBfd { .. });
        let count = actions.iter().filter(is_wanted).count();
        if count > ACTIONS_MAX * self.nodes[place].spec.instances.len() {
            let detail = format!("{} wants {count} things at once", name(place));
            self.violate(Invariant::Grows, detail);
        }
        let node = &mut self.nodes[place];
        let Some(instance) = node.core.instances().first() else { return };
        let (transition, phase) = (instance.transition, instance.phase.word());
        let reason = instance.reason.word();
        let had = std::mem::replace(&mut node.watch.transition, transition);
        let was = std::mem::replace(&mut node.watch.phase, phase);
        let claims = was != phase && phase == "acquiring";
        let gives_up = ["acquiring", "probing", "master"].contains(&was) && phase == "releasing";
        if node.is_held && (claims || gives_up && reason == "check_failed") {
            let detail = format!("{} from {was} to {phase}", name(place));
            return self.violate(Invariant::HoldBroken, detail);
        }
        if claims && node.watch.must_hear_master {
            let detail = format!("{} claims, and has heard no master since", name(place));
            return self.violate(Invariant::ResignBroken, detail);
        }
        if had == transition && was != phase && !was.is_empty() {
            let detail = format!("{} from {was} to {phase}", name(place));
            self.violate(Invariant::SilentTransition, detail);
        } else if had != transition {
            let says = |report: &Report| report.text.contains(reason) || reason == "start";
            let is_told =
                actions.iter().any(|a| matches!(a, Action::Report(report) if says(report)));
            if !is_told {
                let detail = format!("{} to {phase}, nothing says {reason}", name(place));
                self.violate(Invariant::SilentTransition, detail);
            }
        }
    }

    pub(super) fn look_at_send(&mut self, place: usize, instance: InstanceId, priority: u8) {
        let (is_mounted, now) = (self.disk.mounts[place].is_some(), self.now);
        let node = &mut self.nodes[place];
        let is_first = instance == InstanceId(0);
        if is_first {
            (node.watch.advert_since, node.watch.advert_at) = (Some(now), Some(now));
        } else {
            node.watch.second_advert_since = Some(now);
        }
        let adverts = &mut node.watch.adverts;
        *adverts = match *adverts {
            (since, count) if now.since(since) < Duration::from_secs(1) => (since, count + 1),
            _ => (now, 1),
        };
        if adverts.1 > ADVERTS_MAX * node.spec.instances.len() as u32 {
            let detail = format!("{} sends {} adverts within a second", name(place), adverts.1);
            return self.violate(Invariant::Storm, detail);
        }
        if !node.is_gated() {
            return;
        }
        let is_unknown = is_mounted || node.run.is_some();
        if is_first && priority > 0 && node.watch.claimed_at.is_none() {
            node.watch.claimed_at = Some(now);
            node.watch.may_vouch = is_mounted;
        }
        let may_vouch = node.watch.may_vouch;
        let who = name(place);
        if priority == 0 && is_unknown {
            let what = if is_mounted { "it is mounted" } else { "a hook runs" };
            self.violate(Invariant::ZeroWhileHeld, format!("{who}: {what}"));
        } else if priority == 0 && !may_vouch {
            let detail = format!("{who} neither held the storage nor had proof");
            self.violate(Invariant::ZeroWithoutVouching, detail);
        }
    }

    /// Looks at what one event has made a node want: who is stuck by then is silent. (What it had
    /// wanted to say before is sent later in the same turn.)
    pub(super) fn look_at_silence(&mut self, place: usize, wanted: &[Action]) {
        let node = &self.nodes[place];
        let is_stuck = node.is_gated() && matches!(node.phase(), Phase::Stuck(_));
        if is_stuck && wanted.iter().any(|action| matches!(action, Action::Send { .. })) {
            self.violate(Invariant::StuckSpeaks, format!("{}", name(place)));
        }
    }

    /// Looks whether everything that the core waits for will come.
    pub(super) fn look_at_promises(&mut self, place: usize) {
        let node = &self.nodes[place];
        let is_lost = |instance: &&Instance| {
            let wanted = instance.mount_running();
            wanted.is_some() && node.executor.mount_promised(instance.id) != wanted
        };
        if let Some(instance) = node.core.instances().iter().find(is_lost) {
            let detail = format!("{} waits for {:?}", name(place), instance.mount_running());
            self.violate(Invariant::HookLost, detail);
        }
    }

    /// Looks at what a node wants while it reads what has waited for longer than a lapse.
    pub(super) fn look_at_reading(&mut self, place: usize, actions: &[Action]) {
        let is_early = |action: &&Action| match action {
            Action::Send { .. }
            | Action::PutAddresses { .. }
            | Action::Announce { .. }
            | Action::AnnounceSome { .. } => true,
            Action::RunMount { action, .. } => *action == MountAction::Acquire,
            _ => false,
        };
        if let Some(action) = actions.iter().find(is_early) {
            let detail = format!("{} wants {action:?}", name(place));
            self.violate(Invariant::ActsBeforeReading, detail);
        }
    }

    /// A backup has woken and read all; the last packet was an advert of a master.
    pub(super) fn look_at_waking(&mut self, place: usize) {
        let is_blind = |acquiring: &Acquiring| matches!(acquiring.how, How::Silent | How::Cold);
        if matches!(self.nodes[place].phase(), Phase::Acquiring(acquiring) if is_blind(acquiring)) {
            let detail = format!("{} has heard a master in its sleep", name(place));
            self.violate(Invariant::ClaimsBeforeReading, detail);
        }
    }

    /// The addresses of the first member are put first and taken last.
    pub(super) fn look_at_taking(&mut self, place: usize) {
        let is_out_of_order = matches!(*self.nodes[place].addresses, [false, true]);
        if is_out_of_order && self.nodes[place].is_gated() {
            let detail = format!("{} takes the addresses of its leader first", name(place));
            self.violate(Invariant::GroupApart, detail);
        }
    }

    pub(super) fn look_at_addresses(&mut self, place: usize) {
        let interval = self.nodes[place].spec.instances[InstanceId(0)].advert_interval;
        let lost_at = self.disk.mounts[place].and_then(|mount| mount.lost_at);
        let is_gated = self.nodes[place].is_gated();
        // A member that joins a group that serves already adds nothing to that.
        let serves_already =
            self.nodes[place].addresses.iter().filter(|is_set| **is_set).count() > 1;
        if let Some(at) = lost_at
            && is_gated
            && !serves_already
            && self.now.since(at) > interval * 3
        {
            let detail = format!("{} puts addresses; its disk was lost at {at:?}", name(place));
            self.violate(Invariant::AddressOnLostStorage, detail);
        }
    }

    pub(super) fn look_at_run(&mut self, place: usize, run: &Run) {
        let (now, who) = (self.now, name(place));
        let has_foreign_key = self.disk.has_foreign_key(place);
        let node = &mut self.nodes[place];
        let interval = node.spec.instances[InstanceId(0)].advert_interval;
        let keeps_addresses = run.action != MountAction::Probe && node.has_addresses();
        let watch = &mut node.watch;
        let has_run = node.run.is_some();
        if run.action == MountAction::Release {
            watch.has_acquired = false;
        }
        let is_acquire = run.action == MountAction::Acquire;
        let listens_since = watch.claimed_at;
        watch.may_vouch |= is_acquire && run.told.is_released;
        let is_too_soon = is_acquire
            && !run.told.is_released
            && listens_since.is_none_or(|at| now.since(at) < LISTEN.min(interval));
        let fences_back = is_acquire
            && watch.was_fenced
            && !run.told.has_lost
            && has_foreign_key
            && self.disk.guard == Guard::Pr;
        if keeps_addresses {
            let detail = format!("{who}: {} with addresses set", run.action.word());
            self.violate(Invariant::AddressWhileMoving, detail);
        } else if has_run {
            self.violate(Invariant::TwoHooks, format!("{who}: {}", run.action.word()));
        } else if is_too_soon {
            let detail = format!("{who} claims since {listens_since:?}");
            self.violate(Invariant::AcquireBeforeListening, detail);
        } else if fences_back {
            let detail = format!("{who} was fenced, has heard nobody, and fences");
            self.violate(Invariant::FencePingPong, detail);
        }
    }

    pub(super) fn look_at_notify(&mut self, place: usize, state: NotifyState) {
        let is_mounted = self.disk.mounts[place].is_some();
        let node = &self.nodes[place];
        if !node.is_gated() {
            return;
        }
        let is_true = match state {
            // It may have given up within the same turn of the daemon's loop.
            NotifyState::Master => !node.is_master() || node.has_addresses() && is_mounted,
            NotifyState::Backup | NotifyState::Fault => !node.has_addresses() && !is_mounted,
            // A daemon that has tried in vain stops all the same, loudly.
            NotifyState::Stop | NotifyState::Deleted => !node.has_addresses(),
            NotifyState::LowerPriority => true,
        };
        if !is_true {
            let detail = format!("{} is told {}", name(place), state.word());
            self.violate(Invariant::NotifyLies, detail);
        }
    }
}

impl Node {
    /// A member of a group with storage that is not where its leader is. One that is new waits until
    /// its interface is known, and a blip of its second one may last so long.
    fn group_apart(&self, blip: Duration, now: Time) -> Option<String> {
        if !self.is_awake() || !self.is_gated() || self.core.groups().is_empty() {
            return None;
        }
        let (leader, others) = self.core.instances().as_slice().split_first()?;
        let is_apart = |other: &&Instance| {
            matches!(other.role(), Role::Follower(_))
                && !matches!(other.phase, Phase::Init)
                && other.phase.word() != leader.phase.word()
        };
        let is_out = self.second_out_at.is_some_and(|at| now.since(at) > blip);
        if matches!(leader.phase, Phase::Master { .. })
            && is_out
            && others.iter().any(|other| matches!(other.role(), Role::Follower(_)))
        {
            return Some("it serves without its second interface".to_owned());
        }
        let other = others.iter().find(is_apart)?;
        Some(format!("its leader is {}, a member {}", leader.phase.word(), other.phase.word()))
    }

    /// The second member is late in the same way.
    fn late_second_advert(&mut self, now: Time) -> Option<String> {
        let instance = self.core.instances().as_slice().get(1)?;
        let claims = match &instance.phase {
            Phase::Acquiring(acquiring) => !acquiring.is_lapsed,
            Phase::Releasing(releasing) => releasing.advert_at.is_some(),
            Phase::Master { .. } => true,
            _ => false,
        };
        if !claims || !self.is_awake() || !self.has_second_link {
            self.watch.second_advert_since = None;
            return None;
        }
        let since = *self.watch.second_advert_since.get_or_insert(now);
        let interval = instance.spec.advert_interval;
        (now.since(since) > interval + LATE)
            .then(|| format!("last advert of its second member at {since:?}"))
    }

    fn probe_period(&self) -> Option<Duration> {
        self.spec.instances.first()?.gate.as_ref()?.probe
    }

    /// It holds the storage or takes it, and has not sent an advert for three of its intervals.
    pub(super) fn has_lapsed(&self, now: Time) -> bool {
        let claims = matches!(self.phase(), Phase::Acquiring(_) | Phase::Master { .. });
        let interval = self.spec.instances.first().map(|instance| instance.advert_interval);
        let since = self.watch.advert_at.zip(interval);
        self.is_gated() && claims && since.is_some_and(|(at, span)| now.since(at) >= span * 3)
    }

    /// The mount hook has ended with this status.
    pub(super) const fn hook_ended(&mut self, action: MountAction, is_success: bool) {
        match action {
            MountAction::Acquire | MountAction::Probe if is_success => {
                self.watch.has_acquired = true;
            }
            MountAction::Acquire | MountAction::Probe => {}
            MountAction::Release => self.watch.has_acquired = false,
        }
    }

    /// The claim is over when the phase is none in which adverts are sent.
    fn late_advert(&mut self, now: Time) -> Option<String> {
        let releases_aloud = match self.phase() {
            Phase::Releasing(releasing) => releasing.advert_at.is_some(),
            _ => false,
        };
        let claims = match self.phase() {
            Phase::Acquiring(acquiring) => !acquiring.is_lapsed,
            Phase::Master { .. } => true,
            _ => false,
        };
        let is_due = (claims || releases_aloud) && self.is_awake() && self.has_link;
        let still_claims = claims
            || matches!(
                self.phase(),
                Phase::Acquiring(_) | Phase::Probing(_) | Phase::Releasing(_)
            );
        if !still_claims && self.daemon != Daemon::Starting {
            self.watch.claimed_at = None;
        }
        if !is_due {
            self.watch.advert_since = None;
            return None;
        }
        let since = *self.watch.advert_since.get_or_insert(now);
        let interval = self.spec.instances[InstanceId(0)].advert_interval;
        (now.since(since) > interval + LATE).then(|| format!("last advert at {since:?}"))
    }
}

/// What a node is called in a trace.
pub(super) fn name(place: usize) -> char {
    char::from(b'A' + (place % 26) as u8)
}
