//! What is said of interfaces themselves: `interface_up_down_delays` and `garp_group`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::diagnostic::{Severity, Span};
use super::super::lex::{Statement, Word};
use super::super::{BeatKind, GarpGroup};
use super::{At, Blame, Keyword, Raw, Reader, block, line, time};

/// A line of `interface_up_down_delays`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDelayRaw {
    /// The interface.
    pub name: String,
    /// How long it has to be down.
    pub down: Duration,
    /// How long it has to be up.
    pub up: Duration,
    /// Where it stands.
    pub span: Span,
}

/// keepalived's longest delay, in microseconds.
const DELAY_MICROS_MAX: u64 = 255_000_000;

/// `interface_up_down_delays { INTERFACE DOWN [UP] }`; the last line of an interface holds.
pub(super) fn up_down_delays(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    for line in reader.lines(statement) {
        let [interface, down, rest @ ..] = line.words.as_slice() else {
            if let Some(name) = line.words.first() {
                let message = format!("No timeouts specified for {} up/down delays", name.text);
                reader.fault(name.span, message);
            }
            continue;
        };
        let Some(name) = reader.interface_name(interface, Severity::Fault) else { continue };
        raw.global.conf.interfaces.push(name.clone());
        let range = || 0..=DELAY_MICROS_MAX;
        let otherwise = format!("changes of {} are not held back", name.value);
        let Some(down) = reader.timer(down, range(), &otherwise) else { continue };
        let up = match rest.first() {
            None => down,
            Some(up) => {
                let otherwise = format!("Invalid up delay {} for {}", up.text, name.value);
                let Some(up) = reader.timer(up, range(), &otherwise) else { continue };
                up
            }
        };
        raw.global.link_delays.retain(|other| other.name != name.value);
        raw.global.link_delays.push(LinkDelayRaw {
            name: name.value,
            down,
            up,
            span: interface.span,
        });
    }
}

/// `linkbeat_interfaces { INTERFACE [MII | ETHTOOL | IOCTL] }`; the last line of an interface holds.
pub(super) fn linkbeats(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    for line in reader.lines(statement) {
        let Some((interface, rest)) = line.words.split_first() else { continue };
        let Some(name) = reader.interface_name(interface, Severity::Fault) else { continue };
        let kind = match rest.first().map(|word| word.text.as_str()) {
            Some("MII") => Some(BeatKind::Mii),
            Some("ETHTOOL") => Some(BeatKind::Ethtool),
            Some("IOCTL") => Some(BeatKind::Flags),
            Some(other) => {
                let message = format!("'{other}' is no way to poll {}, any will do", name.value);
                reader.fault(rest[0].span, message);
                None
            }
            None => None,
        };
        raw.global.linkbeats.retain(|(other, _)| other.value != name.value);
        raw.global.linkbeats.push((name, kind));
    }
}

/// A `garp_group` block while it is read.
#[derive(Debug, Default)]
pub(super) struct GroupRaw {
    interval: Option<Duration>,
    na_interval: Option<Duration>,
    interfaces: Vec<At<String>>,
    /// What other groups have already.
    taken: Vec<String>,
}

pub(super) const GARP_GROUP: &[Keyword<GroupRaw>] = &[
    time("garp_interval", PAUSE_MICROS, |group| &mut group.interval),
    time("gna_interval", PAUSE_MICROS, |group| &mut group.na_interval),
    line("interface", |reader, statement, group| {
        if let Some(word) = reader.value(statement) {
            group.add(reader, word);
        }
    }),
    block("interfaces", |reader, statement, group| {
        for line in reader.lines(statement) {
            for word in &line.words {
                group.add(reader, word);
            }
        }
    }),
];

impl GroupRaw {
    fn add(&mut self, reader: &mut Reader, word: &Word) {
        let Some(name) = reader.interface_name(word, Severity::Fault) else { return };
        if self.taken.contains(&name.value) {
            let message = format!("garp_group already specified for {} - ignoring", name.value);
            return reader.fault(word.span, message);
        }
        self.taken.push(name.value.clone());
        self.interfaces.push(name);
    }
}

/// keepalived's longest pause of a group.
const PAUSE_MICROS: RangeInclusive<u64> = 0..=i32::MAX as u64;

/// `garp_group`: without an interval it says nothing and is left out.
pub(super) fn garp_group(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(keyword) = statement.words.first() else { return };
    let taken =
        raw.global.conf.garp_groups.iter().flat_map(|group| group.interfaces.clone()).collect();
    let mut group = GroupRaw { taken, ..GroupRaw::default() };
    reader.read_block(statement, GARP_GROUP, Blame::Keepalived, &mut group);
    raw.global.conf.interfaces.extend(group.interfaces.iter().cloned());
    if group.interval.is_none() && group.na_interval.is_none() {
        let message = "garp group does not have any delay set - removing";
        reader.fault(keyword.span, message);
        return;
    }
    raw.global.conf.garp_groups.push(GarpGroup {
        interfaces: group.interfaces.into_iter().map(|at| at.value).collect(),
        interval: group.interval.unwrap_or_default(),
        na_interval: group.na_interval.unwrap_or_default(),
    });
}
