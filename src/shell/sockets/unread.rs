//! Sockets on which packets wait that no turn of the loop has read yet.
//!
//! A backup that stood still must have read what its master sent before it takes it for silent; a master
//! under a flood must not let that keep it from sending. So a turn reads some milliseconds' worth, and
//! timers count when everything is read, or as much as can have waited.

use crate::shell::sockets::net::Want;

/// So many packets of one socket are read in one turn.
pub const PACKETS_PER_TURN_MAX: usize = 512;
/// So many are read before a timer counts, if there is no end of them: as many as a socket's buffer holds.
const PACKETS_BEFORE_TIMERS_MAX: usize = 8192;

/// The sockets, and how many packets were read of each since it had no more, or timers counted.
#[derive(Debug, Default)]
pub struct Unread(Vec<(Want, usize)>);

impl Unread {
    /// Is everything read?
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has each of these and of those that are ready now read, by what tells whether that was all.
    pub fn read(
        &mut self,
        ready: impl Iterator<Item = Want>,
        mut reads_all: impl FnMut(Want) -> bool,
    ) {
        for want in ready {
            if !self.0.iter().any(|(left, _)| *left == want) {
                self.0.push((want, 0));
            }
        }
        self.0.retain_mut(|(want, count)| {
            *count += PACKETS_PER_TURN_MAX;
            !reads_all(*want)
        });
    }

    /// Do timers count now? Then it begins to count anew.
    pub fn lets_timers_count(&mut self) -> bool {
        let is_enough = |&(_, count): &(Want, usize)| count >= PACKETS_BEFORE_TIMERS_MAX;
        let counts = self.0.iter().all(is_enough);
        if counts {
            self.0.iter_mut().for_each(|(_, count)| *count = 0);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::core::spec::LinkId;

    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));

    #[test]
    fn timers_count_when_all_is_read_or_a_buffer_full() {
        let (one, other) = ((LinkId(0), GROUP, 1), (LinkId(1), GROUP, 1));
        let mut unread = Unread::default();
        assert!(unread.lets_timers_count());
        // One that is flooded, and one that had a few.
        unread.read([one, other].into_iter(), |want| want == other);
        assert!(!unread.is_empty() && !unread.lets_timers_count());
        let turns = PACKETS_BEFORE_TIMERS_MAX / PACKETS_PER_TURN_MAX;
        for _ in 2..turns {
            unread.read([one].into_iter(), |_| false);
            assert!(!unread.lets_timers_count());
        }
        unread.read([].into_iter(), |_| false);
        assert!(unread.lets_timers_count());
        assert!(!unread.lets_timers_count(), "it counts anew");
        unread.read([].into_iter(), |_| true);
        assert!(unread.is_empty() && unread.lets_timers_count());
    }
}
