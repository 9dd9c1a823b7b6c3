//! The order of work: from what the core wants to what is done next. Pure, and used by the daemon and
//! by the simulator alike, so that what is simulated is what runs.

#![forbid(unsafe_code)]

mod executor;
mod queue;

pub use executor::{Executor, Next};
pub use queue::{NotifyQueue, QUEUED_RUNS_MAX};

use crate::core::spec::{CheckId, GroupId, InstanceId};

/// Whose process it is. Each has at most one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A check.
    Check(CheckId),
    /// The mount hook of an instance.
    Mount(InstanceId),
    /// The notify scripts of an instance, one after the other.
    Notify(InstanceId),
    /// What reads a notify FIFO, by its keyword.
    Fifo(&'static str),
    /// A script of start or stop.
    Edge,
    /// The notify scripts of a sync group.
    Group(GroupId),
}
