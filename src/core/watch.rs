//! When a holder looks at its storage: now and then, and at once when another master was heard.

use std::time::Duration;

use super::Time;

/// A look because another master was heard comes at most so often.
const PAUSE: Duration = Duration::from_secs(1);

/// The looks at storage that is held.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// The next one.
    pub(super) next_at: Option<Time>,
    /// The last one.
    last_at: Option<Time>,
    /// Another master was heard while we hold the storage: the next look has to prove that it is ours
    /// alone, since a machine that stood still with all its clocks knows nothing of it.
    has_met_conflict: bool,
    /// The look that is under way is that one.
    proves_conflict: bool,
}

impl Watch {
    /// The storage was taken: looked at from now on, so often.
    pub(super) fn begin(&mut self, period: Option<Duration>, now: Time) {
        self.next_at = period.map(|period| now + period);
        self.last_at = None;
    }

    /// It is held no more.
    pub(super) const fn end(&mut self) {
        self.next_at = None;
    }

    /// Another master was heard.
    pub(super) const fn meet_conflict(&mut self) {
        self.has_met_conflict = true;
    }

    /// Looks at once, but not all the time.
    pub(super) fn soon(&mut self, now: Time) {
        let earliest = self.last_at.map_or(now, |last| last + PAUSE).max(now);
        self.next_at = Some(self.next_at.map_or(earliest, |planned| planned.min(earliest)));
    }

    /// Looks now; the next time after that is then. Has this look to prove that the storage is ours
    /// alone?
    pub(super) fn look(&mut self, period: Option<Duration>, now: Time) -> bool {
        self.next_at = period.map(|period| now + period);
        self.last_at = Some(now);
        self.proves_conflict = std::mem::take(&mut self.has_met_conflict);
        self.proves_conflict
    }

    /// The look has ended: had it to prove that?
    pub(super) const fn ended(&mut self) -> bool {
        std::mem::replace(&mut self.proves_conflict, false)
    }
}
