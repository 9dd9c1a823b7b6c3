//! Saying that the storage is free: priority 0, repeated, since one lost packet would cost the
//! peer its whole wait.

use std::time::Duration;

use super::Time;
use super::phase::Goal;

/// How often a priority 0 of a gated instance is sent in all.
const REPEATS: u32 = 3;
/// Pause between the repeats when the daemon stops.
const STOP_PAUSE: Duration = Duration::from_millis(100);

/// The repeats that are still to come.
#[derive(Clone, Debug)]
pub struct Farewell {
    left: u32,
    every: Duration,
    sent_at: Time,
    /// The next repeat.
    pub(super) next_at: Time,
    /// It acknowledges a release to somebody who is already master. Then only an advert that
    /// comes at once can be the answer; others come anyway.
    is_acknowledgement: bool,
}

impl Farewell {
    /// The first priority 0 is due at once, the others an advert interval apart.
    pub(super) fn new(goal: Goal, is_acknowledgement: bool, interval: Duration, now: Time) -> Self {
        let every = if goal == Goal::Stop { STOP_PAUSE } else { interval };
        Self { left: REPEATS, every, sent_at: now, next_at: now, is_acknowledgement }
    }

    /// What follows when the repeat that was due is sent now: the next one, if it was not the last.
    pub(super) fn after_repeat(self, now: Time) -> Option<Self> {
        let left = self.left - 1;
        (left > 0).then_some(Self { left, sent_at: now, next_at: now + self.every, ..self })
    }

    /// A master was heard: does it know? Never a reason to send one, or two nodes would answer each
    /// other for ever.
    pub(super) fn is_answered(&self, now: Time) -> bool {
        !self.is_acknowledgement || now.since(self.sent_at) <= self.every / 10
    }
}
