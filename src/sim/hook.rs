//! The mount hook as a process of a host: what it does, step by step, and how it ends.
//!
//! It goes on while only the daemon is frozen or dead, and stands still with its host.

use std::time::Duration;

use super::storage::{Disk, Guard};
use crate::core::Time;
use crate::core::event::{Facts, HookEnd, MountAction};

/// Between mount(8) reading the MMP block and writing it.
const MMP_WINDOW: Duration = Duration::from_millis(10);
/// How soon a live writer of the MMP block is noticed, and how often the hook looks whether the block
/// has been marked clean.
const MMP_GLANCE: Duration = Duration::from_secs(2);
/// How long mount(8) watches a block that is not marked clean before it claims it, and how long
/// it then waits for others who do the same.
const MMP_WATCH: Duration = Duration::from_secs(11);
/// How often a system call that hangs in the kernel for want of the disk looks for it.
const KERNEL_RETRY: Duration = Duration::from_secs(1);
/// From the signal to the end of a process that minds it.
pub(super) const DIES: Duration = Duration::from_millis(20);
/// From the signal to the report that it is of no use.
pub(super) const UNKILLABLE_AFTER: Duration = Duration::from_secs(4);
/// Asks for another try (EX_TEMPFAIL).
const RETRY: i32 = 75;

/// The mount hook of a node.
#[derive(Clone, Debug)]
pub struct MountHook {
    /// Its `acquire`.
    pub acquire: Hook,
    /// Its `release`.
    pub release: Hook,
    /// Its `probe`.
    pub probe: Hook,
}

/// What a hook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// It ends by itself. With status 0 it has done its work, if the guard let it; otherwise it
    /// fails before it has done anything.
    Ends {
        /// After so long.
        after: Duration,
        /// With this status.
        status: i32,
    },
    /// It does its work, and fails then.
    Late {
        /// After so long.
        after: Duration,
        /// With this status.
        status: i32,
    },
    /// It hangs, before it has done anything, until it is killed.
    Hangs,
    /// It hangs after it has done its work, until it is killed.
    HangsAfter(Duration),
    /// It cannot be killed.
    Unkillable,
    /// It hangs in the kernel for so long, where it cannot be killed; then its work is done.
    InKernel(Duration),
}

impl Hook {
    /// It succeeds after so many milliseconds.
    pub const fn succeeds(millis: u64) -> Self {
        Self::Ends { after: Duration::from_millis(millis), status: 0 }
    }

    /// It fails after so many milliseconds.
    pub const fn fails(millis: u64, status: i32) -> Self {
        Self::Ends { after: Duration::from_millis(millis), status }
    }
}

/// What the hook was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub is_released: bool,
    pub is_by_person: bool,
    pub has_lost: bool,
    pub must_prove: bool,
}

impl Told {
    pub(super) fn new(facts: &Facts) -> Self {
        let is_by_person = facts.how == Some("person");
        let must_prove = matches!(facts.reason, "resume" | "lapse" | "conflict");
        Self { is_released: facts.released, is_by_person, has_lost: facts.lost, must_prove }
    }
}

/// What the next step of a run is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Ask the guard.
    Guard,
    /// Look at the MMP block: is it clean, or does the block change?
    Look { since: Time, sequence: u64 },
    /// Wait for others who claim a block that stood still.
    Claimed { sequence: u64 },
    /// Mount what was clean a moment ago.
    Mount { read_at: Time },
    /// Mount, unmount or look.
    Work,
    /// Look whether we are alone.
    Verify,
    /// End.
    End(i32),
    /// Nothing ever comes after this.
    Never,
}

/// A run of the hook.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub id: u64,
    pub action: MountAction,
    pub told: Told,
    hook: Hook,
    step: Step,
    /// It cannot be killed now.
    pub is_in_kernel: bool,
    /// It was told to end: what the daemon will say of it.
    pub sentence: Option<HookEnd>,
    pub deadline_at: Time,
    /// A daemon that is started later knows of it.
    pub is_noted: bool,
}

/// What a step leads to.
pub(super) enum Next {
    After(Duration),
    Ended(i32),
    Never,
}

impl Run {
    pub(super) fn new(
        id: u64,
        action: MountAction,
        hook: Hook,
        told: Told,
        deadline_at: Time,
    ) -> Self {
        let is_in_kernel = matches!(hook, Hook::Unkillable);
        let step = Step::Guard;
        // The shell writes the process down in the turn in which it starts it; that a crash falls
        // between the two is accepted.
        let is_noted = true;
        Self { id, action, told, hook, step, is_in_kernel, sentence: None, deadline_at, is_noted }
    }

    /// When its first step is due.
    pub(super) fn first_step(&mut self) -> Option<Duration> {
        let is_acquire = self.action == MountAction::Acquire;
        match self.hook {
            Hook::Ends { after, status } if status != 0 => {
                self.step = Step::End(status);
                Some(after)
            }
            Hook::Ends { after, .. } | Hook::Late { after, .. } | Hook::HangsAfter(after) => {
                self.step = if is_acquire { Step::Guard } else { Step::Work };
                Some(if is_acquire { after / 2 } else { after })
            }
            Hook::InKernel(after) => {
                self.is_in_kernel = true;
                self.step = if is_acquire { Step::Guard } else { Step::Work };
                Some(after)
            }
            Hook::Hangs | Hook::Unkillable => None,
        }
    }

    /// Takes the next step.
    pub(super) fn go_on(&mut self, node: usize, disk: &mut Disk, now: Time) -> Next {
        match self.action {
            MountAction::Acquire => self.acquire(node, disk, now),
            MountAction::Release => self.release(node, disk),
            MountAction::Probe => self.probe(node, disk),
        }
    }

    fn then(&mut self, step: Step, after: Duration) -> Next {
        self.step = step;
        Next::After(after)
    }

    /// A quarter of what the whole would take undisturbed.
    const fn quarter(&self) -> Duration {
        match self.hook {
            Hook::Ends { after, .. }
            | Hook::Late { after, .. }
            | Hook::HangsAfter(after)
            | Hook::InKernel(after) => Duration::from_nanos((after.as_nanos() / 4) as u64),
            Hook::Hangs | Hook::Unkillable => Duration::ZERO,
        }
    }

    /// The work is done.
    fn done(&mut self) -> Next {
        match self.hook {
            Hook::HangsAfter(_) => {
                self.step = Step::Never;
                Next::Never
            }
            Hook::Late { status, .. } => Next::Ended(status),
            Hook::Ends { .. } | Hook::InKernel(_) | Hook::Hangs | Hook::Unkillable => {
                Next::Ended(0)
            }
        }
    }

    fn acquire(&mut self, node: usize, disk: &mut Disk, now: Time) -> Next {
        if !disk.is_reachable[node] {
            return Next::Ended(1);
        }
        match (self.step, disk.guard) {
            (Step::Guard, guard) => self.ask_guard(guard, node, disk, now),
            (Step::Look { since, sequence }, _) => {
                if disk.owner.is_none() {
                    // Given back in order meanwhile: the hook ends the wait and mounts.
                    return self.then(Step::Mount { read_at: now }, MMP_WINDOW);
                }
                if disk.sequence != sequence || disk.is_written() {
                    return Next::Ended(RETRY);
                }
                let rest = MMP_WATCH.saturating_sub(now.since(since));
                if !rest.is_zero() {
                    return self.then(Step::Look { since, sequence }, rest.min(MMP_GLANCE));
                }
                let sequence = disk.claim(node, now);
                self.then(Step::Claimed { sequence }, MMP_WATCH)
            }
            (Step::Claimed { sequence }, _) if disk.sequence != sequence => Next::Ended(RETRY),
            (Step::Work, Guard::Pr) if !disk.keys.contains(&node) => Next::Ended(1),
            (Step::Claimed { .. } | Step::Mount { .. } | Step::Work, _) => {
                if let Step::Mount { read_at } = self.step
                    && now.since(read_at) > MMP_WINDOW
                {
                    // The host was frozen as a whole in just this window: MMP cannot help then.
                    disk.excuse_all();
                }
                if disk.mounts[node].is_none() {
                    disk.mount(node, now);
                } else if !disk.is_exclusive(node) {
                    return Next::Ended(1);
                }
                self.is_in_kernel = false;
                let after = match disk.guard {
                    Guard::Mmp => {
                        (self.quarter() * 2).saturating_sub(MMP_WINDOW).max(MMP_WINDOW * 5)
                    }
                    Guard::Pr | Guard::None => self.quarter(),
                };
                self.then(Step::Verify, after)
            }
            (Step::Verify, _) => {
                if !disk.is_exclusive(node) {
                    disk.unmount(node);
                    return Next::Ended(1);
                }
                if let Some(mount) = &mut disk.mounts[node] {
                    mount.is_verified = true;
                }
                self.done()
            }
            (Step::End(status), _) => Next::Ended(status),
            (Step::Never, _) => Next::Never,
        }
    }

    fn ask_guard(&mut self, guard: Guard, node: usize, disk: &mut Disk, now: Time) -> Next {
        match guard {
            Guard::None if !self.told.is_released && !self.told.is_by_person => Next::Ended(1),
            Guard::Pr if self.told.has_lost && disk.has_foreign_key(node) => Next::Ended(1),
            Guard::Pr => {
                disk.preempt(node, now);
                self.then(Step::Work, self.quarter())
            }
            Guard::Mmp if disk.owner.is_some() && disk.mounts[node].is_none() => {
                let sequence = disk.sequence;
                self.then(Step::Look { since: now, sequence }, MMP_GLANCE)
            }
            // From here on mount(8) has read a clean block, and somebody else may have, too.
            Guard::Mmp => self.then(Step::Mount { read_at: now }, MMP_WINDOW),
            Guard::None => self.then(Step::Work, self.quarter()),
        }
    }

    fn release(&mut self, node: usize, disk: &mut Disk) -> Next {
        if let Step::End(status) = self.step {
            return Next::Ended(status);
        }
        let hangs = disk.mounts[node].is_some() && !disk.is_reachable[node];
        self.is_in_kernel = hangs;
        if hangs {
            // Dirty pages cannot be written.
            return Next::After(KERNEL_RETRY);
        }
        disk.unmount(node);
        self.done()
    }

    fn probe(&self, node: usize, disk: &Disk) -> Next {
        if let Step::End(status) = self.step {
            return Next::Ended(status);
        }
        let status = match (disk.mounts[node].is_some(), disk.guard) {
            (false, _) => 1,
            (true, Guard::None) if self.told.must_prove && disk.is_exclusive(node) => 2,
            (true, _) if disk.is_exclusive(node) => 0,
            (true, _) => 3,
        };
        Next::Ended(status)
    }
}
