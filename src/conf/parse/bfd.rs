//! `bfd_instance` blocks.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::diagnostic::{Severity, Span};
use super::super::lex::Statement;
use super::{At, Blame, Keyword, Raw, Reader, flag, line, number};
use crate::core::spec::Weight;

/// A `bfd_instance` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BfdRaw {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// `neighbor_ip`, or `neighbour_ip`.
    pub neighbor: Option<At<IpAddr>>,
    /// A neighbour that is no address was given: the block is none.
    is_malformed: bool,
    /// `source_ip`.
    pub source: Option<At<IpAddr>>,
    /// `min_rx`.
    pub min_rx: Option<Duration>,
    /// `min_tx`.
    pub min_tx: Option<Duration>,
    /// `idle_tx`.
    pub idle_tx: Option<Duration>,
    /// `multiplier`.
    pub multiplier: Option<At<u8>>,
    /// `passive`.
    pub passive: bool,
    /// `ttl`, or `hoplimit`.
    pub ttl: Option<At<u8>>,
    /// `max_hops`; -1 and 255 are any number.
    pub max_hops: Option<At<i16>>,
    /// `weight`.
    pub weight: Option<Weight>,
    /// `vrrp`.
    pub for_vrrp: bool,
    /// `checker`.
    pub for_checker: bool,
}

impl BfdRaw {
    /// May instances track it? Not if it is for keepalived's checkers only.
    pub const fn is_for_vrrp(&self) -> bool {
        self.for_vrrp || !self.for_checker
    }
}

/// keepalived keeps no more of a name.
const NAME_BYTES_MAX: usize = 31;
/// An interval in microseconds has 32 bits on the wire.
const INTERVAL_MS_MAX: u64 = 4_294_967;
/// Beyond this keepalived doubts that it is meant.
const INTERVAL_SENSIBLE: Duration = Duration::from_secs(10);
/// keepalived's largest weight of a BFD session.
const WEIGHT_MAX: i64 = 253;

pub(super) const KEYWORDS: &[Keyword<BfdRaw>] = &[
    line("neighbor_ip", neighbor),
    line("neighbour_ip", neighbor),
    line("source_ip", |reader, statement, bfd| {
        let Some(word) = reader.value(statement) else { return };
        match word.text.parse() {
            Ok(value) => bfd.source = Some(At { value, span: word.span }),
            Err(_) => {
                let message = format!(
                    "Configuration error: BFD instance {} has malformed source address {}, ignoring",
                    bfd.name, word.text
                );
                reader.fault(word.span, message);
            }
        }
    }),
    line("min_rx", |reader, statement, bfd| {
        bfd.min_rx = reader.interval(statement, 1..=INTERVAL_MS_MAX).or(bfd.min_rx);
    }),
    line("min_tx", |reader, statement, bfd| {
        bfd.min_tx = reader.interval(statement, 1..=INTERVAL_MS_MAX).or(bfd.min_tx);
    }),
    line("idle_tx", |reader, statement, bfd| {
        bfd.idle_tx = reader.interval(statement, 1000..=INTERVAL_MS_MAX).or(bfd.idle_tx);
    }),
    number("multiplier", 1..=255, |bfd| &mut bfd.multiplier),
    flag("passive", |bfd| &mut bfd.passive),
    number("ttl", 1..=255, |bfd| &mut bfd.ttl),
    number("hoplimit", 1..=255, |bfd| &mut bfd.ttl),
    number("max_hops", -1..=255, |bfd| &mut bfd.max_hops),
    line("weight", |reader, statement, bfd| {
        let Some(keyword) = statement.words.first() else { return };
        let words = statement.words.get(1..).unwrap_or_default();
        if words.is_empty() {
            return reader.missing(keyword, 2);
        }
        bfd.weight = reader.weight_within(words, "BFD instance", WEIGHT_MAX).or(bfd.weight);
    }),
    flag("vrrp", |bfd| &mut bfd.for_vrrp),
    flag("checker", |bfd| &mut bfd.for_checker),
];

pub(super) fn bfd_instance(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(name) = reader.block_name(statement) else { return };
    let mut bfd = BfdRaw { name: name.text.clone(), span: name.span, ..BfdRaw::default() };
    name.text.clone_into(&mut reader.scope);
    reader.read_block(statement, KEYWORDS, Blame::Keepalived, &mut bfd);
    if let Some(message) = flaw(&bfd, &raw.bfds) {
        reader.fault(bfd.span, message);
        return;
    }
    raw.bfds.push(bfd);
}

/// Why keepalived does without this one, in its words.
fn flaw(bfd: &BfdRaw, others: &[BfdRaw]) -> Option<String> {
    let name = &bfd.name;
    if name.len() > NAME_BYTES_MAX {
        return Some(format!(
            "Configuration error: BFD instance {name} name too long (maximum length is \
             {NAME_BYTES_MAX} characters) - ignoring"
        ));
    }
    if others.iter().any(|other| other.name == *name) {
        return Some(format!(
            "Configuration error: BFD instance {name} already configured - ignoring"
        ));
    }
    let of = format!("Configuration error: BFD instance {name}");
    let Some(neighbor) = bfd.neighbor else {
        // What is wrong with the one that was given has been said.
        let has_none = !bfd.is_malformed;
        return Some(if has_none {
            format!("{of} has no neighbor address set, disabling instance")
        } else {
            format!("{of} is ignored")
        });
    };
    if let Some(source) = bfd.source
        && source.value.is_ipv4() != neighbor.value.is_ipv4()
    {
        return Some(format!(
            "{of} source address {} and neighbor address {} are not of the same family, disabling \
             instance",
            source.value, neighbor.value
        ));
    }
    let address = |bfd: &BfdRaw| {
        (bfd.neighbor.map(|address| address.value), bfd.source.map(|address| address.value))
    };
    if others.iter().any(|other| address(other) == address(bfd)) {
        let neighbor = neighbor.value;
        return Some(match bfd.source {
            Some(source) => format!(
                "{of} has duplicate source/neighbor address {}/{neighbor}, ignoring instance",
                source.value
            ),
            None => format!("{of} has duplicate neighbor address {neighbor}, ignoring instance"),
        });
    }
    None
}

fn neighbor(reader: &mut Reader, statement: &Statement, bfd: &mut BfdRaw) {
    let Some(word) = reader.value(statement) else { return };
    match word.text.parse() {
        Ok(value) => bfd.neighbor = Some(At { value, span: word.span }),
        Err(_) => {
            bfd.is_malformed = true;
            let message = format!(
                "Configuration error: BFD instance {} has malformed neighbor address {}, ignoring \
                 instance",
                bfd.name, word.text
            );
            reader.fault(word.span, message);
        }
    }
}

impl Reader {
    /// Milliseconds with up to three decimals.
    fn interval(&mut self, statement: &Statement, range: RangeInclusive<u64>) -> Option<Duration> {
        let word = self.value(statement)?;
        let keyword = statement.words.first().map_or("", |word| word.text.as_str());
        let range = range.start() * 1_000_000..=range.end() * 1_000_000;
        // A number with decimals, a thousand times too large.
        let interval = self.timer(word, range, &format!("'{keyword}' is ignored"))? / 1000;
        if interval > INTERVAL_SENSIBLE {
            let message = format!(
                "BFD instance {} {keyword} value {} is larger than max sensible ({})",
                self.scope,
                word.text,
                INTERVAL_SENSIBLE.as_millis()
            );
            self.say(Severity::Warning, word.span, message);
        }
        Some(interval)
    }
}
