//! Hold-down: a node does not try again at once what has just failed.

use std::time::Duration;

use super::Time;
use super::event::Reason;

/// After a failed acquire; doubled each time.
const HOLD_DOWN_MIN: Duration = Duration::from_secs(10);
const HOLD_DOWN_MAX: Duration = Duration::from_secs(300);
/// Who gives the storage up because of a check so soon after taking it is held down.
const FLAP_WITHIN: Duration = Duration::from_secs(60);
/// Who held it for so long begins anew with the shortest hold-down.
const STABLE_AFTER: Duration = Duration::from_secs(600);

/// Keeps a node from trying again at once what has just failed.
#[derive(Clone, Debug, Default)]
pub(super) struct HoldDown {
    /// Until when it stays down.
    pub(super) until: Option<Time>,
    last: Duration,
}

impl HoldDown {
    /// After a failure: twice as long as the last time.
    pub(super) fn begin(&mut self, now: Time) -> Duration {
        self.last = (self.last * 2).clamp(HOLD_DOWN_MIN, HOLD_DOWN_MAX);
        self.until = Some(now + self.last);
        self.last
    }

    /// After an acquire that a living holder has refused: as after a first failure, however often it
    /// comes. The disk is fine, and waiting longer each time would only prolong the outage when the
    /// holder dies.
    pub(super) fn begin_refused(&mut self, now: Time) -> Duration {
        self.until = Some(now + HOLD_DOWN_MIN);
        HOLD_DOWN_MIN
    }

    /// After a long time without trouble.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Has it just ended? Told once, so that no deadline lies in the past.
    pub(super) fn ends(&mut self, now: Time) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// Is there none, or is it over?
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// A holder of storage gives it up, which it held for so long. Storage is not moved to and fro:
    /// a node whose check fails soon after it took it stays down for a while, longer each time, until
    /// it has held it for long.
    pub(super) fn holder_lets_go(&mut self, reason: Reason, held_for: Duration, now: Time) {
        if reason == Reason::StorageFailed {
            // That has begun one of its own.
        } else if held_for >= STABLE_AFTER {
            self.forget();
        } else if held_for < FLAP_WITHIN && reason == Reason::CheckFailed {
            self.begin(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_a_living_holder_does_not_double() {
        let mut hold_down = HoldDown::default();
        for _ in 0..5 {
            assert_eq!(hold_down.begin_refused(Time::from_millis(1000)), HOLD_DOWN_MIN);
        }
        assert_eq!(hold_down.begin(Time::from_millis(1000)), HOLD_DOWN_MIN, "a first failure");
        assert_eq!(hold_down.begin_refused(Time::from_millis(1000)), HOLD_DOWN_MIN);
        assert_eq!(hold_down.begin(Time::from_millis(1000)), HOLD_DOWN_MIN * 2, "a second one");
        assert!(!hold_down.is_over(Time::from_millis(1000) + HOLD_DOWN_MIN));
    }
}
