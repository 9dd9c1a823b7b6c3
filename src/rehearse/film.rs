//! A scene as it was played: what each node showed, when, and what that meant for the service.

use std::time::Duration;

use super::cast::Role;
use crate::core::event::NotifyState;
use crate::core::{Phase, Time};
use crate::sim::{Daemon, Line, Node, World};

/// Between two looks at the stage: nothing shorter matters to a client.
const FRAME: Duration = Duration::from_millis(10);

/// What a person would see of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Without power.
    Off,
    /// The whole host stands still.
    Frozen,
    /// Without a daemon.
    NoDaemon,
    /// With a daemon in this phase.
    In(&'static str),
}

/// What a node shows for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shot {
    pub seen: Seen,
    /// It has the virtual addresses.
    pub address: bool,
    /// It has the disk mounted.
    pub disk: bool,
}

/// A line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Since the scene began.
    pub at: Duration,
    /// On which node, if on one.
    pub node: Option<usize>,
    pub text: String,
}

/// A scene.
#[derive(Clone, Debug)]
pub(super) struct Film {
    pub title: String,
    pub notes: Vec<Note>,
    /// Per node: since when it showed what.
    pub lanes: Vec<Vec<(Duration, Shot)>>,
    /// Since when clients were served, or not.
    pub service: Vec<(Duration, bool)>,
    /// How long the addresses were on two nodes.
    pub doubled: Duration,
    /// How long two nodes could write to the disk.
    pub shared: Duration,
    /// A promise that the rules broke: a mistake in glha itself.
    pub broken: Option<String>,
    pub length: Duration,
    /// When it began, on the world's clock.
    began: Time,
    /// So many lines of the world's trace were read.
    read: usize,
}

/// What a scene meant for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// How long clients were not served, all in all.
    pub away: Duration,
    /// They were at the end.
    pub is_back: bool,
    /// Nothing was in two places, and no promise was broken.
    pub is_sound: bool,
}

impl Outcome {
    pub(super) const fn is_good(self) -> bool {
        self.is_back && self.is_sound
    }
}

impl Film {
    /// A scene that begins now.
    pub(super) fn new(title: &str, world: &World) -> Self {
        Self {
            began: world.now,
            read: world.trace.len(),
            title: title.to_owned(),
            notes: Vec::new(),
            lanes: vec![Vec::new(); world.nodes.len()],
            service: Vec::new(),
            doubled: Duration::ZERO,
            shared: Duration::ZERO,
            broken: None,
            length: Duration::ZERO,
        }
    }

    /// Something that the director did, or that concerns everybody.
    pub(super) fn tell(&mut self, node: Option<usize>, text: impl Into<String>) {
        self.notes.push(Note { at: self.length, node, text: text.into() });
    }

    /// Lets the world go on for a while and looks on.
    pub(super) fn roll(&mut self, world: &mut World, roles: &[Role<'_>], span: Duration) {
        let mut left = span;
        while !left.is_zero() && self.broken.is_none() {
            world.advance(FRAME.min(left));
            left = left.saturating_sub(FRAME);
            self.length = world.now.since(self.began);
            for line in world.trace.get(self.read..).unwrap_or_default() {
                let (at, node) = (line.at.since(self.began), Some(line.node));
                self.notes.extend(notes(line, world, roles).map(|text| Note { at, node, text }));
            }
            self.read = world.trace.len();
            self.look(world);
            self.broken = world.violation.as_ref().map(ToString::to_string);
        }
    }

    fn look(&mut self, world: &World) {
        let shots: Vec<Shot> = (0..world.nodes.len()).map(|place| shot(world, place)).collect();
        for (lane, shot) in self.lanes.iter_mut().zip(&shots) {
            if lane.last().map(|(_, last)| last) != Some(shot) {
                lane.push((self.length, *shot));
            }
        }
        let serves = |place: usize| serves(world, place, shots[place]);
        let served = (0..shots.len()).any(serves);
        if self.service.last().map(|&(_, last)| last) != Some(served) {
            self.service.push((self.length, served));
        }
        if shots.iter().filter(|shot| shot.address).count() > 1 {
            self.doubled += FRAME;
        }
        let writes = |place: &usize| {
            world.disk.is_reachable[*place] && world.disk.is_held(*place, world.now)
        };
        if (0..shots.len()).filter(writes).count() > 1 {
            self.shared += FRAME;
        }
    }

    /// What it meant.
    pub(super) fn outcome(&self) -> Outcome {
        let ends = self.service.iter().skip(1).map(|&(at, _)| at).chain([self.length]);
        let spans = self.service.iter().zip(ends);
        let away = spans
            .filter(|((_, served), _)| !served)
            .map(|((from, _), to)| to.saturating_sub(*from));
        let is_sound = self.shared.is_zero() && self.broken.is_none();
        Outcome {
            away: away.sum(),
            is_back: self.service.last().is_some_and(|&(_, served)| served),
            is_sound,
        }
    }

    /// The last moment in which anything happened.
    pub(super) fn last_event(&self) -> Duration {
        let lanes = self.lanes.iter().filter_map(|lane| lane.last()).map(|&(at, _)| at);
        let notes = self.notes.last().map(|note| note.at);
        lanes.chain(notes).chain(self.service.last().map(|&(at, _)| at)).max().unwrap_or_default()
    }
}

fn shot(world: &World, place: usize) -> Shot {
    let node = &world.nodes[place];
    let seen = if !node.is_on {
        Seen::Off
    } else if node.is_frozen {
        Seen::Frozen
    } else if matches!(node.daemon, Daemon::Gone | Daemon::Starting) {
        Seen::NoDaemon
    } else {
        Seen::In(node.phase().word())
    };
    let address = node.is_on && node.has_addresses();
    Shot { seen, address, disk: world.disk.mounts[place].is_some() }
}

/// Clients are served where the address is, if the host and the service live and the data are
/// there.
fn serves(world: &World, place: usize, shot: Shot) -> bool {
    let node = &world.nodes[place];
    let is_gated = node.core.instances().first().is_some_and(|i| i.spec.gate.is_some());
    shot.address
        && node.has_link
        && !node.is_frozen
        && node.checks.iter().all(|&is_good| is_good)
        && (!is_gated || world.disk.is_held(place, world.now))
}

/// What a line of the simulator's trace says to a person.
fn notes(line: &Line, world: &World, roles: &[Role<'_>]) -> impl Iterator<Item = String> {
    let (node, role) = (&world.nodes[line.node], &roles[line.node]);
    let text = line.text.as_str();
    let mut said = Vec::new();
    if let Some(priority) = text.strip_prefix("advert ") {
        if priority == "0" {
            said.push("says priority 0: I leave".to_owned());
        }
    } else if let Some(state) = text.strip_prefix("notify ") {
        use NotifyState::{Backup, Deleted, Fault, LowerPriority, Master, Stop};
        let state = [Master, Backup, Fault, Stop, Deleted, LowerPriority]
            .into_iter()
            .find(|known| known.word() == state);
        let commands = state.map(|state| role.notify_commands(state, priority(node)));
        said.extend(commands.into_iter().flatten().map(|command| format!("runs {command}")));
    } else if let Some(action) = text.strip_suffix(" starts")
        && ["acquire", "release", "probe"].contains(&action)
    {
        // A routine look at what is held is no news.
        if action != "probe" || !matches!(node.phase(), Phase::Master { .. }) {
            said.push(format!("runs {}", role.mount_command(action)));
        }
    } else if !is_noise(text, node) {
        said.push(with_names(text, roles));
    }
    said.into_iter()
}

fn priority(node: &Node) -> u8 {
    node.core.instances().first().map_or(0, crate::core::Instance::priority)
}

/// Said by the director already, or of no use to a person.
fn is_noise(text: &str, node: &Node) -> bool {
    text.starts_with("---")
        || text.starts_with("Netlink reports")
        || matches!(text, "power off" | "boots" | "the daemon is killed")
        || (text.starts_with("probe ") && matches!(node.phase(), Phase::Master { .. }))
}

/// The nodes by the names that the reader knows: the stage calls them A, B and 10.0.0.1, 10.0.0.2.
fn with_names(text: &str, roles: &[Role<'_>]) -> String {
    let mut text = text.to_owned();
    for (place, role) in roles.iter().enumerate() {
        let letter = char::from(b'A' + place as u8);
        if let Some(who) = text.strip_suffix(&format!("from {letter}")) {
            text = format!("{who}from {}", role.name);
        }
        text = text.replace(&format!("10.0.0.{}", place + 1), role.name);
    }
    text
}
