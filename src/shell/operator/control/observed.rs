//! How hooks have ended, for those who ask.

use std::collections::BTreeMap;
use std::time::Duration;

use super::status::{Clocks, Ran as Told, millis};
use crate::core::Time;
use crate::core::event::{HookEnd, MountAction};
use crate::core::spec::{CheckId, InstanceId};

/// The last run of each check and of each action of a mount hook.
#[derive(Debug, Default)]
pub struct Observed {
    checks: BTreeMap<CheckId, Ran>,
    mounts: BTreeMap<(InstanceId, &'static str), Ran>,
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    end: HookEnd,
    at: Time,
    took: Duration,
}

impl Observed {
    /// A check has ended; was the one before of the other kind, or the first a failure?
    pub fn check_ended(&mut self, id: CheckId, end: &HookEnd, took: Duration, at: Time) -> bool {
        let is_success = end.is_success();
        let before = self.checks.insert(id, Ran { end: end.clone(), at, took });
        before.is_none_or(|before| before.end.is_success()) != is_success
    }

    /// A mount hook has ended; is it worth a record? A routine probe is when it says something new.
    pub fn mount_ended(
        &mut self,
        id: InstanceId,
        action: MountAction,
        end: &HookEnd,
        took: Duration,
        at: Time,
    ) -> bool {
        let before = self.mounts.insert((id, action.word()), Ran { end: end.clone(), at, took });
        action != MountAction::Probe || before.is_none_or(|before| before.end != *end)
    }

    /// The last run of a check.
    pub fn check(&self, id: CheckId) -> Option<&Ran> {
        self.checks.get(&id)
    }

    /// The last run of a mount hook for an action.
    pub fn mount(&self, id: InstanceId, action: MountAction) -> Option<&Ran> {
        self.mounts.get(&(id, action.word()))
    }

    /// Nothing is known of checks any more: they may be others now.
    pub fn forget_checks(&mut self) {
        self.checks.clear();
    }
}

impl Ran {
    pub(super) fn told(&self, clocks: Clocks) -> Told {
        Told {
            time: clocks.text(self.at),
            end: self.end.to_string(),
            success: self.end.is_success(),
            took_ms: millis(self.took),
        }
    }
}
