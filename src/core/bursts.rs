//! Announcements that are still to come while an instance is master.

use std::time::Duration;

use super::Time;
use super::spec::GarpSpec;

/// When each is due.
#[derive(Clone, Debug, Default)]
pub(super) struct Bursts {
    /// The second burst after becoming master.
    pub(super) second_at: Option<Time>,
    /// The second burst after a lower-priority advert.
    pub(super) lower_prio_at: Option<Time>,
    /// The periodic one.
    pub(super) refresh_at: Option<Time>,
    /// The next of those on interfaces that adverts are not sent on.
    pub(super) extra_at: Option<Time>,
}

impl Bursts {
    /// Those of a new master; what is configured as zero never comes.
    pub(super) fn of_new_master(garp: &GarpSpec, has_extra: bool, now: Time) -> Self {
        let after = |span: Duration| (!span.is_zero()).then(|| now + span);
        Self {
            second_at: after(garp.delay),
            lower_prio_at: None,
            refresh_at: after(garp.refresh),
            extra_at: after(garp.extra).filter(|_| has_extra),
        }
    }
}
