//! The pauses between tries.

use std::time::Duration;

use crate::core::Time;

/// When something that fails is tried again: after a second, and then each time after twice as long.
#[derive(Debug, Default)]
pub(in crate::shell) struct Backoff {
    /// Then, if it has failed.
    pub at: Option<Time>,
    wait: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    const LAST: Duration = Duration::from_secs(30);

    /// It has been tried, whenever it was.
    pub fn note(&mut self, has_failed: bool, now: Time) {
        self.wait = if has_failed {
            (self.wait * 2).clamp(Self::FIRST, Self::LAST)
        } else {
            Duration::ZERO
        };
        self.at = has_failed.then(|| now + self.wait);
    }
}
