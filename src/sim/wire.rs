//! The links between the nodes, and what goes wrong on them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rng::Rng;

/// Time on a healthy wire.
const DELAY: Duration = Duration::from_micros(100);

/// How good the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Packets lost, of a thousand.
    pub loss: u64,
    /// Packets that arrive twice, of a thousand.
    pub twice: u64,
    /// The longest delay of a packet, ms. Those that are sent later may arrive sooner.
    pub delay_ms: u64,
}

impl Quality {
    /// A healthy wire.
    pub const GOOD: Self = Self { loss: 0, twice: 0, delay_ms: 0 };
}

/// Two segments that all nodes are on; the second is for the second member of a sync group.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Directions in which nothing gets through: from, to.
    pub cuts: BTreeSet<(usize, usize)>,
    /// The same on the second segment alone.
    pub second_cuts: BTreeSet<(usize, usize)>,
    /// What happens to the packets that do get through.
    pub quality: Quality,
    rng: Rng,
}

impl Wire {
    /// A healthy wire; what goes wrong on it is drawn from this seed.
    pub const fn new(seed: u64) -> Self {
        Self {
            cuts: BTreeSet::new(),
            second_cuts: BTreeSet::new(),
            quality: Quality::GOOD,
            rng: Rng::new(seed),
        }
    }

    /// Nothing gets through between these two nodes any more.
    pub fn part(&mut self, one: usize, other: usize) {
        self.cuts.extend([(one, other), (other, one)]);
    }

    /// When the copies of one packet arrive, from now: none, one or two.
    pub fn arrivals(&mut self, from: usize, to: usize) -> impl Iterator<Item = Duration> + use<> {
        let Quality { loss, twice, delay_ms } = self.quality;
        let gets_through = !(self.cuts.contains(&(from, to)) || loss > 0 && self.rng.chance(loss));
        let is_doubled = gets_through && twice > 0 && self.rng.chance(twice);
        let mut delay = || match delay_ms {
            0 => DELAY,
            most => DELAY + self.rng.millis(0, most),
        };
        let first = gets_through.then(&mut delay);
        let second = is_doubled.then(&mut delay);
        first.into_iter().chain(second)
    }
}
