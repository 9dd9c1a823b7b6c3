//! Another master is heard: how often it is answered, how often that is told, and how long one who gave
//! way waits before the next claim.

use std::net::IpAddr;
use std::time::Duration;

use super::Time;

/// The least pause between two answers to other nodes' claims.
const ANSWER_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Another master is told to the notify hook again after so long without one.
const CONFLICT_PAUSE: Duration = Duration::from_secs(10);

/// What was answered and told so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conflict {
    /// When somebody else's claim was answered last.
    answered_at: Option<Time>,
    /// So many claims of worse masters were answered since none was heard for a while.
    insisted: u64,
    /// When another master was heard last while this node was master.
    heard_at: Option<Time>,
    /// So many claims in a row were given up for another's without a master coming of it, and when the
    /// last one was.
    back_offs: u32,
    backed_off_at: Option<Time>,
}

impl Conflict {
    /// It is master itself, and has answered nobody as that.
    pub(super) const fn end(&mut self) {
        (self.insisted, self.back_offs) = (0, 0);
    }

    /// With storage, two nodes may both insist, and answers to answers would go on at wire speed;
    /// without, somebody who floods would have each of his packets answered (keepalived does). One in
    /// a while says all there is to say: the first at once.
    pub(super) fn may_answer(&mut self, interval: Duration, now: Time) -> bool {
        let pause = ANSWER_PAUSE_MAX.min(interval / 4);
        if self.answered_at.is_some_and(|at| now.since(at) < pause) {
            return false;
        }
        self.answered_at = Some(now);
        true
    }

    /// A worse master is told that it is worse, unless that was just done: how often so far. Whoever
    /// goes on for long, or floods, must not fill the log, so the number counts from the last quiet
    /// while.
    pub(super) fn insist(&mut self, interval: Duration, now: Time) -> Option<u64> {
        let was_quiet = self.answered_at.is_none_or(|at| now.since(at) >= CONFLICT_PAUSE);
        if !self.may_answer(interval, now) {
            return None;
        }
        self.insisted = if was_quiet { 1 } else { self.insisted + 1 };
        Some(self.insisted)
    }

    /// Gives up a claim for another's.
    pub(super) fn back_off(&mut self, now: Time) {
        self.back_offs = self.back_offs.saturating_add(1);
        self.backed_off_at = Some(now);
    }

    /// Follows a master. One that is heard only as long as claims cross each other is none.
    pub(super) fn follow(&mut self, interval: Duration, now: Time) {
        if self.backed_off_at.is_none_or(|at| now.since(at) > interval / 2) {
            self.back_offs = 0;
        }
    }

    /// How much longer than its timer this node waits before it claims again. Among three sync groups
    /// the order of their claims need not lead to one that goes before all others, and who backs off
    /// together claims together: from the second time on, each node waits for a time of its own, and
    /// for another one each time.
    pub(super) fn pause(&self, node: Option<IpAddr>, interval: Duration) -> Duration {
        let Some(node) = node.filter(|_| self.back_offs > 1) else { return Duration::ZERO };
        let address = match node {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits() as u64,
        };
        let mixed = (address ^ u64::from(self.back_offs)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slot = u32::try_from(mixed >> 61).unwrap_or(0);
        interval / 2 * slot
    }

    /// Another master was heard. True if that is news: none was for a while.
    pub(super) fn is_news(&mut self, now: Time) -> bool {
        let before = self.heard_at.replace(now);
        before.is_none_or(|at| now.since(at) > CONFLICT_PAUSE)
    }
}
