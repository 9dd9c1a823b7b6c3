//! Grace: which failing checks are not judged yet, since the service is still starting.

use super::Time;
use super::spec::{CheckId, TrackCheck};

/// Which of the tracked checks are excused.
#[derive(Clone, Debug, Default)]
pub(super) struct Grace {
    /// Parallel to the tracked checks; empty when none is excused.
    excused: Vec<bool>,
    /// When the acquire ended.
    acquired_at: Option<Time>,
}

impl Grace {
    /// From here until the first success or the end of their grace, failing checks with a grace
    /// are not judged: the service is about to be started.
    pub(super) fn begin(&mut self, tracked: &[TrackCheck]) {
        let excused = tracked.iter().map(|track| !track.grace.is_zero()).collect();
        *self = Self { excused, acquired_at: None };
    }

    /// The storage is there: their time runs.
    pub(super) const fn acquired(&mut self, now: Time) {
        self.acquired_at = Some(now);
    }

    /// A check has succeeded: what is tracked by it is judged from now on.
    pub(super) fn check_succeeded(&mut self, check: CheckId, tracked: &[TrackCheck]) {
        for (excused, track) in self.excused.iter_mut().zip(tracked) {
            *excused &= track.check != check || self.acquired_at.is_none();
        }
    }

    /// Is the check that is tracked at this place not judged yet?
    pub(super) fn is_excused(&self, place: usize) -> bool {
        self.excused.get(place).copied().unwrap_or(false)
    }

    /// When the last check loses its grace. One deadline for all is enough: who needs a minute
    /// gives every check that minute.
    pub(super) fn ends_at(&self, tracked: &[TrackCheck]) -> Option<Time> {
        let since = self.acquired_at?;
        let excused = tracked.iter().zip(&self.excused);
        excused.filter(|&(_, &is)| is).map(|(track, _)| since + track.grace).max()
    }

    /// Every check is judged.
    pub(super) fn end(&mut self) {
        self.excused.clear();
    }
}
