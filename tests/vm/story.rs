//! What the consoles of both guests say of addresses, service, disk and priority 0, in order.

use super::guest::{Guest, Line};
use std::collections::BTreeSet;
use std::time::Instant;

/// Stands in a console when its machine has gone.
pub const WITHOUT_POWER: &str = "<without power>";

/// Units that use a disk, as systemd names them.
const SERVICES: &[&str] = &["gitlab-runsvdir", "register@"];
/// What the kernel says of the device of a file system that it mounts.
const MOUNTS: &[(&str, &str)] = &[
    ("EXT4-fs (", "): mounted filesystem"),
    ("XFS (", "): Mounting V5 Filesystem"),
    ("BTRFS info (device ", "): using crc32c"),
];
/// And of one that it unmounts. It says nothing of btrfs: see [`is_free`].
const UNMOUNTS: &[(&str, &str)] =
    &[("EXT4-fs (", "): unmounting filesystem"), ("XFS (", "): Unmounting Filesystem")];
/// The guest's own.
const ROOT: &str = "nvme0n1";

/// The device that stands in one of these sentences.
fn file_system<'a>(text: &'a str, sentences: &[(&str, &str)]) -> Option<&'a str> {
    let of = |(before, after): &(&str, &str)| {
        let rest = &text[text.find(before)? + before.len()..];
        let device = &rest[..rest.find(')')?];
        (rest[device.len()..].starts_with(after) && device != ROOT).then_some(device)
    };
    sentences.iter().find_map(of)
}

/// The mount hook has given everything back.
fn is_free(text: &str) -> bool {
    text.contains(" mount release: ") && text.ends_with(" is free")
}

/// What happened on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The virtual address came.
    Address,
    /// It went.
    NoAddress,
    /// The service that uses the disk was started.
    Service,
    /// It was stopped.
    NoService,
    /// The disk was mounted.
    Disk,
    /// It was unmounted.
    NoDisk,
    /// The daemon has said that it leaves.
    PriorityZero,
    /// The network's service was stopped.
    NoNetwork,
    /// A kernel starts: nothing of before holds any more.
    Boot,
    /// The machine is off.
    Off,
}

impl What {
    fn of(text: &str) -> Option<Self> {
        let is_address = text.contains("addresses[") && text.contains(" inet 10.20.0.70/");
        Some(if is_address && text.contains("Deleted") {
            Self::NoAddress
        } else if is_address {
            Self::Address
        } else if SERVICES.iter().any(|name| text.contains(&format!("Started {name}"))) {
            Self::Service
        } else if SERVICES.iter().any(|name| text.contains(&format!("Stopped {name}"))) {
            Self::NoService
        } else if file_system(text, MOUNTS).is_some() {
            Self::Disk
        } else if file_system(text, UNMOUNTS).is_some() || is_free(text) {
            Self::NoDisk
        } else if text.contains("sent 0 priority") {
            Self::PriorityZero
        } else if text.contains("Stopped systemd-networkd.service") {
            Self::NoNetwork
        } else if text.contains("] Linux version ") {
            Self::Boot
        } else if text == WITHOUT_POWER {
            Self::Off
        } else {
            return None;
        })
    }

    fn words(self) -> &'static str {
        match self {
            Self::Address => "+address",
            Self::NoAddress => "-address",
            Self::Service => "+service",
            Self::NoService => "-service",
            Self::Disk => "+disk",
            Self::NoDisk => "-disk",
            Self::PriorityZero => "priority 0",
            Self::NoNetwork => "-network",
            Self::Boot => "boot",
            Self::Off => "off",
        }
    }
}

/// Something that happened on the node of that number.
#[derive(Clone, Debug)]
pub struct Event {
    /// When the host read of it.
    pub at: Instant,
    /// 1 or 2.
    pub node: usize,
    /// What it was.
    pub what: What,
    /// Of a disk that was mounted or unmounted; empty stands for all.
    pub device: String,
}

/// All of both guests since then, in order.
pub fn since(guests: &[Guest; 2], since: Instant) -> Vec<Event> {
    let of = |guest: &Guest| {
        let node = guest.number;
        let event = move |line: Line| {
            let device = file_system(&line.text, MOUNTS);
            let device = device.or_else(|| file_system(&line.text, UNMOUNTS)).unwrap_or_default();
            let (at, device) = (line.at, device.to_owned());
            What::of(&line.text).map(|what| Event { at, node, what, device })
        };
        guest.said_since(since).into_iter().filter_map(event).collect::<Vec<_>>()
    };
    let mut all: Vec<Event> = guests.iter().flat_map(of).collect();
    all.sort_by_key(|event| event.at);
    all
}

/// In few words: `1 -address -service -disk, 2 +disk +service +address`. What repeats itself is said once.
pub fn told(events: &[Event]) -> String {
    let mut text = String::new();
    let mut last: Option<&Event> = None;
    for event in events {
        match last {
            Some(last) if last.node == event.node && last.what == event.what => continue,
            Some(last) if last.node == event.node => {}
            Some(_) => text += &format!(", {}:", event.node),
            None => text += &format!("{}:", event.node),
        }
        text += " ";
        text += event.what.words();
        last = Some(event);
    }
    text
}

/// Fails unless these happened on the node, in this order; others may stand between.
#[track_caller]
pub fn in_order(events: &[Event], node: usize, expected: &[What]) {
    let mut own = events.iter().filter(|event| event.node == node).map(|event| event.what);
    for wanted in expected {
        let is_there = own.any(|what| what == *wanted);
        assert!(
            is_there,
            "node{node}: no {wanted:?} in its place of {expected:?}: {}",
            told(events)
        );
    }
}

/// Fails if both had a disk mounted at some moment.
#[track_caller]
pub fn never_two(events: &[Event]) {
    let mut mounted = [BTreeSet::new(), BTreeSet::new()];
    for (n, event) in events.iter().enumerate() {
        let own = &mut mounted[event.node - 1];
        match event.what {
            What::Disk => {
                own.insert(&event.device);
            }
            What::NoDisk if !event.device.is_empty() => {
                own.remove(&event.device);
            }
            What::NoDisk | What::Boot | What::Off => own.clear(),
            _ => {}
        }
        let on_both = mounted.iter().all(|devices| !devices.is_empty());
        assert!(!on_both, "mounted on both: {}", told(&events[..=n]));
    }
}
