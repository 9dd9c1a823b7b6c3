//! The state of everything, as it is told to a client.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Control, Running};
use crate::core::bfd::Session;
use crate::core::event::{Held, MountAction};
use crate::core::spec::{InstanceId, Weight};
use crate::core::{Core, Instance, Phase, Time};
use crate::shell::kernel::assigned::Placed;

/// The schema of a status.
pub const STATUS: &str = "glha.status/1";

/// The state of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `glha.status/1`.
    pub schema: String,
    /// When it was asked for; RFC 3339, UTC.
    pub time: String,
    /// `router_id`, or else the host name.
    pub node: String,
    /// Of the program.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// When it was started.
    pub since: String,
    /// Its configuration file.
    pub config: String,
    /// It was told to stop.
    pub stopping: bool,
    /// The last reload was refused; the configuration before goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_reload: Option<Refusal>,
    /// Something else that a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The instances, in the order of the configuration.
    pub instances: Vec<InstanceStatus>,
    /// The BFD sessions, in the order of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bfd: Vec<BfdStatus>,
}

/// The state of a BFD session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdStatus {
    /// Its name.
    pub name: String,
    /// With whom.
    pub neighbor: String,
    /// `AdminDown`, `Down`, `Init` or `Up`.
    pub state: String,
    /// Why, in the words of RFC 5880.
    pub diag: String,
    /// Since when.
    pub since: String,
    /// The same as a span, in milliseconds.
    pub for_ms: u64,
    /// Of whom tracks it: it counts as up.
    pub good: bool,
    /// It takes so many microseconds to notice that the neighbour is gone; nothing before it was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_us: Option<u64>,
}

/// A reload that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    pub time: String,
    /// What is wrong, each with its place.
    pub diagnostics: Vec<String>,
}

/// The state of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub instance: String,
    /// Its sync group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What VRRP calls its state.
    pub state: String,
    /// Its phase.
    pub phase: String,
    /// Since when it has that phase.
    pub since: String,
    /// The same as a span, in milliseconds; a clock that is set does not change it.
    pub for_ms: u64,
    /// Why it has that phase, in one word.
    pub reason: String,
    /// The same in words.
    pub detail: String,
    /// Why it is there at this moment, in sentences; the most important first.
    pub now: Vec<String>,
    /// Number of that transition, counted from the daemon's start.
    pub transition: u64,
    /// The interface of its adverts.
    pub interface: String,
    /// Virtual router id.
    pub vrid: u8,
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// Where its adverts come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What its priority is made of.
    pub priority: Priority,
    /// Its addresses, as written.
    pub addresses: Vec<String>,
    /// How many of them are on their interfaces.
    pub addresses_set: usize,
    /// What of its addresses, routes and rules is not set although it is master, and why.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The other nodes that were heard.
    pub peers: Vec<Peer>,
    /// If it has a mount hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The checks it tracks.
    pub checks: Vec<Check>,
    /// A person has put it on hold.
    pub hold: bool,
    /// Since when, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_since: Option<String>,
    /// A person has made it resign.
    pub resigned: bool,
    /// It is held down after a failure for so many milliseconds more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_down_ms: Option<u64>,
}

/// A priority and its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Priority {
    /// The one in adverts.
    pub effective: u8,
    /// The one of the configuration.
    pub base: u8,
    /// What is added to it.
    pub parts: Vec<Part>,
}

/// A part of a priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `interface`, `check`, `process`, `file` or `bfd`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its weight; 0: a failure is a fault.
    pub weight: i16,
    /// It counts the other way round.
    pub reverse: bool,
    /// What it says, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<bool>,
    /// What it adds now.
    pub adds: i32,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where its adverts come from.
    pub address: String,
    /// The priority of the last one that was not 0.
    pub priority: u8,
    /// The highest it ever had.
    pub highest: u8,
    /// How long ago it was heard, in milliseconds.
    pub last_heard_ms: u64,
    /// It is the master that is followed, or was the last one.
    pub followed: bool,
    /// It has said that it leaves, and nothing since.
    pub released: bool,
}

/// The storage of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// As it is written down: `free`, `acquiring`, `held` or `releasing`.
    pub held: String,
    /// `GUARD` of the `hooks` block, if it is set there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<String>,
    /// The action that the mount hook is running for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// It was lost to a fence or a failure, and no master was heard since.
    pub lost: bool,
    /// The last runs of the mount hook, by action.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub last: BTreeMap<String, Ran>,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// When it ended.
    pub time: String,
    /// How, in words.
    pub end: String,
    /// It succeeded.
    pub success: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// A check script that an instance tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What it says, with `rise` and `fall`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<bool>,
    /// Its last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Ran>,
}

/// Two clocks at one moment.
#[derive(Clone, Copy)]
pub(super) struct Clocks {
    now: Time,
    wall: SystemTime,
}

impl Clocks {
    pub(super) fn read(now: Time) -> Self {
        Self { now, wall: SystemTime::now() }
    }

    /// What the clock on the wall showed at that time, unless somebody has set it.
    pub(super) fn text(self, at: Time) -> String {
        let wall = self.wall.checked_sub(self.now.since(at)).unwrap_or(SystemTime::UNIX_EPOCH);
        humantime::format_rfc3339_millis(wall).to_string()
    }
}

impl Control {
    /// The state of all instances, or of these.
    pub(super) fn status(&self, running: &Running<'_>, only: Option<&[InstanceId]>) -> Status {
        let now = running.now;
        let clocks = Clocks::read(now);
        let ids = running.core.instances().ids();
        let ids = ids.filter(|id| only.is_none_or(|only| only.contains(id)));
        let control = self;
        Status {
            schema: STATUS.into(),
            time: clocks.text(now),
            node: running.config.global.router_id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            since: clocks.text(control.started_at),
            config: running.config_path.display().to_string(),
            stopping: running.core.is_stopping(),
            refused_reload: control.refused.clone(),
            warnings: control.holds.doubt().map(doubt).into_iter().chain(replaced()).collect(),
            instances: ids.filter_map(|id| self.instance_status(running, id, clocks)).collect(),
            bfd: running.core.bfds().all().iter().map(|session| bfd(session, clocks)).collect(),
        }
    }

    pub(super) fn instance_status(
        &self,
        running: &Running<'_>,
        id: InstanceId,
        clocks: Clocks,
    ) -> Option<InstanceStatus> {
        let instance = running.core.instances().get(id)?;
        let conf = running.config.instances.get(id)?;
        let now = clocks.now;
        let since = instance.entered_at.unwrap_or(self.started_at);
        let links = running.links;
        let is_set =
            |(link, a): &&Placed| links.state(*link).addresses.contains(&(a.ip, a.prefix_len));
        let name = &instance.spec.name;
        let down_until = instance.held_down_until(now);
        Some(InstanceStatus {
            instance: name.clone(),
            group: instance.group().map(Into::into),
            state: instance.phase.state().into(),
            phase: instance.phase.word().into(),
            since: clocks.text(since),
            for_ms: millis(now.since(since)),
            reason: instance.reason.word().into(),
            detail: instance.detail.clone(),
            now: running.core.explain(id, now),
            transition: instance.transition,
            interface: running.config.spec.links.get(instance.spec.link.0).cloned()?,
            vrid: instance.spec.vrid,
            version: match instance.spec.version {
                crate::core::spec::Version::V2 => 2,
                crate::core::spec::Version::V3 => 3,
            },
            source: instance.source.map(|ip| ip.to_string()),
            priority: priority(running.core, instance),
            addresses: conf.addresses.iter().map(|address| address.text.clone()).collect(),
            addresses_set: running.addresses.of(id).iter().filter(is_set).count(),
            missing: instance
                .troubles
                .unset
                .iter()
                .chain(&instance.troubles.mute)
                .cloned()
                .collect(),
            peers: peers(instance, now),
            storage: self.storage(running, instance, clocks),
            checks: self.checks(running, instance, clocks),
            hold: instance.is_held(),
            hold_since: self.holds.since(name).map(Into::into),
            // With storage a group resigns by its first member.
            resigned: running.core.instances()[running.core.leader_of(id)].has_resigned(),
            hold_down_ms: down_until.map(|until| millis(until.since(now))),
        })
    }

    fn storage(
        &self,
        running: &Running<'_>,
        instance: &Instance,
        clocks: Clocks,
    ) -> Option<Storage> {
        instance.spec.gate.as_ref()?;
        let hooks = running.config.gating_hooks(instance.id);
        let env = hooks.map_or(&[][..], |hooks| &hooks.env);
        let guard = env.iter().rev().find(|(key, _)| key == "GUARD");
        let running = running.executor.mount(instance.id);
        let last = [MountAction::Acquire, MountAction::Release, MountAction::Probe]
            .into_iter()
            .filter_map(|action| {
                let ran = self.observed.mount(instance.id, action)?;
                Some((action.word().to_owned(), ran.told(clocks)))
            });
        Some(Storage {
            held: match instance.held() {
                Held::Free => "free",
                Held::Acquiring => "acquiring",
                Held::Held => "held",
                Held::Releasing => "releasing",
            }
            .into(),
            guard: guard.map(|(_, value)| value.clone()),
            running: running.map(|action| action.word().into()),
            lost: instance.has_lost_storage(),
            last: last.collect(),
        })
    }

    fn checks(&self, running: &Running<'_>, instance: &Instance, clocks: Clocks) -> Vec<Check> {
        let check = |id: crate::core::spec::CheckId| {
            let known = running.core.checks().get(id)?;
            let last = self.observed.check(id).map(|ran| ran.told(clocks));
            Some(Check { name: known.spec.name.clone(), good: known.is_good, last })
        };
        instance.spec.track_checks.iter().filter_map(|track| check(track.check)).collect()
    }
}

/// One line for `systemctl status`.
pub fn summary(core: &Core) -> String {
    const NAMED_MAX: usize = 4;
    let instances = core.instances();
    if instances.len() <= NAMED_MAX {
        let each = instances.iter().map(|i| format!("{} {}", i.spec.name, i.phase.word()));
        return each.collect::<Vec<_>>().join(", ");
    }
    let mut counts = BTreeMap::new();
    for instance in instances {
        *counts.entry(instance.phase.word()).or_insert(0) += 1;
    }
    let mut text: Vec<String> =
        counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let bad = |i: &&Instance| matches!(i.phase, Phase::Fault | Phase::Stuck(_));
    text.extend(
        instances
            .iter()
            .find(bad)
            .map(|i| format!("{} is {} ({})", i.spec.name, i.phase.word(), i.reason.word())),
    );
    text.join(", ")
}

/// The kernel says of a program's file that it is gone, as it is after an upgrade.
fn replaced() -> Option<String> {
    let file = std::fs::read_link("/proc/self/exe").ok()?;
    let file = file.to_str()?.strip_suffix(" (deleted)")?.to_owned();
    let now = if std::path::Path::new(&file).exists() { "was replaced" } else { "is gone" };
    Some(format!(
        "this daemon is still glha {}, but its file {file} {now}: a restart is due, see Upgrading in \
         glha(8)",
        env!("CARGO_PKG_VERSION")
    ))
}

fn doubt(why: &str) -> String {
    format!("{why}; until glha hold or glha unhold writes it anew, every instance is on hold")
}

fn bfd(session: &Session, clocks: Clocks) -> BfdStatus {
    BfdStatus {
        name: session.spec.name.clone(),
        neighbor: session.spec.neighbor.to_string(),
        state: session.state.word().into(),
        diag: session.diag.to_string(),
        since: clocks.text(session.since),
        for_ms: millis(clocks.now.since(session.since)),
        good: session.counts_as_up,
        detection_us: session
            .detection_time()
            .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
    }
}

fn priority(core: &Core, instance: &Instance) -> Priority {
    let part = |part: crate::core::Part| {
        let Weight { value, reverse } = part.weight;
        Part {
            kind: part.kind.into(),
            name: part.name.to_owned(),
            weight: value,
            reverse,
            good: part.is_good,
            adds: part.adds,
        }
    };
    Priority {
        effective: instance.priority(),
        base: instance.spec.priority,
        parts: core.parts(instance.id).into_iter().map(part).collect(),
    }
}

fn peers(instance: &Instance, now: Time) -> Vec<Peer> {
    let peer = |peer: &crate::core::Peer| Peer {
        address: peer.address.to_string(),
        priority: peer.priority,
        highest: peer.highest,
        last_heard_ms: millis(now.since(peer.heard_at)),
        followed: instance.peers.followed == Some(peer.address),
        released: peer.released_at.is_some(),
    };
    instance.peers.all().iter().map(peer).collect()
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
