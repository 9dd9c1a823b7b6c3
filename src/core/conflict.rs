//! Another master is heard: how often it is answered, and how often that is told.

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
}

impl Conflict {
    /// A new master has answered nobody.
    pub(super) const fn forget_insisted(&mut self) {
        self.insisted = 0;
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

    /// Another master was heard. True if that is news: none was for a while.
    pub(super) fn is_news(&mut self, now: Time) -> bool {
        let before = self.heard_at.replace(now);
        before.is_none_or(|at| now.since(at) > CONFLICT_PAUSE)
    }
}
