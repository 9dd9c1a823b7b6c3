//! The phases of an instance, each with its own data.

use std::net::IpAddr;
use std::time::Duration;

use super::Time;
use super::event::NotifyState;

/// Where an instance is. What VRRP sees is only backup or master; what a node holds is finer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Silent: the interface or a check has not been heard of, or a former run is cleaned up.
    Init,
    /// Listens.
    Backup {
        /// Master down timer: nobody has been master for too long.
        down_at: Time,
    },
    /// Adverts as master, without addresses, while the storage is being taken.
    Acquiring(Acquiring),
    /// Silent, until the mount hook has told whether the storage is held, and proven that it is
    /// held by nobody else.
    Probing(Probing),
    /// Holds everything.
    Master {
        /// The next advert.
        advert_at: Time,
        /// A better claim that is being answered and not yet yielded to.
        better: Option<Claim>,
    },
    /// Addresses are gone, the storage is being given back.
    Releasing(Releasing),
    /// Silent, and would not take over.
    Fault,
    /// Silent, and nobody knows whether the storage is still held.
    Stuck(Stuck),
    /// The daemon ends.
    Stopped,
}

/// An acquire in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquiring {
    /// How it came about.
    pub how: How,
    /// The old master's release is proven.
    pub is_proven: bool,
    /// How far it is.
    pub step: Step,
    /// The next advert.
    pub advert_at: Time,
    /// A worse claim that was answered, and since when.
    pub worse: Option<Claim>,
    /// The node was frozen meanwhile: it is silent, and a success is probed.
    pub is_lapsed: bool,
}

/// A probe whose answer decides about mastership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probing {
    /// What made it necessary.
    pub why: Doubt,
    /// Somebody else claims to be master meanwhile.
    pub has_heard: bool,
    /// Held, but not proven to be held by nobody else: master only if nobody is heard until then.
    pub listen_until: Option<Time>,
    /// Something is due at least once an interval, so that a freeze is noticed here too.
    pub heartbeat_at: Time,
    /// A probe that was running before the doubt arose does not answer it.
    pub is_stale: bool,
}

/// Why it is not known whether the storage is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The daemon starts, and nobody knows what was mounted before.
    Start,
    /// The daemon starts, and its former run held the storage.
    Resume,
    /// The node was frozen.
    Lapse,
}

/// How far an acquire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Waits for the acknowledgement of a living master that is being preempted.
    AwaitingRelease {
        /// Then it goes on without.
        until: Time,
    },
    /// Has claimed and listens for the answer of a holder.
    Listening {
        /// Then the hook starts.
        until: Time,
    },
    /// The hook runs.
    Running {
        /// Deadline of all tries together.
        until: Time,
    },
    /// Another member of its sync group, the leader, runs the hook.
    Following,
    /// The hook asked for another try.
    Pausing {
        /// When to try again.
        retry_at: Time,
        /// Deadline of all tries together.
        until: Time,
    },
}

/// Somebody else's claim to be master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub from: IpAddr,
    /// When it was first heard.
    pub since: Time,
    /// When it was last heard.
    pub heard_at: Time,
}

/// A release in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Releasing {
    /// What comes after it.
    pub goal: Goal,
    /// We may tell the others that the storage is free: we held it, or began with proof.
    pub may_vouch: bool,
    /// The next advert at our own priority, unless we fell silent.
    pub advert_at: Option<Time>,
}

/// A release that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// What comes after it.
    pub goal: Goal,
    /// As in [`Releasing`].
    pub may_vouch: bool,
    /// The next try.
    pub retry_at: Time,
    /// The pause before it, doubled each time.
    pub delay: Duration,
}

/// What an instance becomes when it has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A backup, or a fault if there is a cause.
    Backup,
    /// A fault, until its causes and its hold-down are gone.
    Fault,
    /// Nothing any more.
    Stop,
}

/// How an acquire came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The master's priority 0 was seen.
    Released,
    /// The master is alive and worse.
    Preempting,
    /// Its adverts stopped: it may be dead, cut off or frozen.
    Silent,
    /// No master was heard since the start.
    Cold,
    /// A person gave the proof.
    Person,
}

impl How {
    /// The word in a hook's event.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Preempting => "preempting",
            Self::Silent => "silent",
            Self::Cold => "cold",
            Self::Person => "person",
        }
    }
}

impl Phase {
    /// The word in events and in the log.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup { .. } => "backup",
            Self::Acquiring(_) => "acquiring",
            Self::Probing(_) => "probing",
            Self::Master { .. } => "master",
            Self::Releasing(_) => "releasing",
            Self::Fault => "fault",
            Self::Stuck(_) => "stuck",
            Self::Stopped => "stopped",
        }
    }

    /// What VRRP and keepalived call it.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Init => "INIT",
            Self::Backup { .. } => "BACKUP",
            Self::Probing(Probing { why: Doubt::Start | Doubt::Resume, .. }) => "INIT",
            Self::Acquiring(_) | Self::Probing(_) | Self::Master { .. } => "MASTER",
            Self::Releasing(Releasing { goal, .. }) => goal.state(),
            Self::Fault | Self::Stuck(_) => "FAULT",
            Self::Stopped => "STOP",
        }
    }
}

impl Phase {
    /// What notify scripts are told of it, if anything.
    pub(super) const fn notify_state(&self) -> Option<NotifyState> {
        match self {
            Self::Backup { .. } => Some(NotifyState::Backup),
            Self::Master { .. } => Some(NotifyState::Master),
            Self::Fault => Some(NotifyState::Fault),
            Self::Stopped => Some(NotifyState::Stop),
            Self::Init
            | Self::Acquiring(_)
            | Self::Probing(_)
            | Self::Releasing(_)
            | Self::Stuck(_) => None,
        }
    }

    /// May the virtual addresses be there? At the start they are not: what a former run has left was
    /// taken off, unless it held the storage.
    pub const fn may_have_addresses(&self) -> bool {
        match self {
            Self::Master { .. } => true,
            Self::Probing(probing) => !matches!(probing.why, Doubt::Start),
            Self::Init
            | Self::Backup { .. }
            | Self::Acquiring(_)
            | Self::Releasing(_)
            | Self::Fault
            | Self::Stuck(_)
            | Self::Stopped => false,
        }
    }

    /// Are no adverts sent while the storage is given back? Then somebody else is master already.
    pub(super) const fn is_silent(&self) -> bool {
        !matches!(self, Self::Releasing(Releasing { advert_at: Some(_), .. }))
    }

    /// Is it letting go for good?
    pub(super) const fn is_leaving(&self) -> bool {
        match self {
            Self::Stopped => true,
            Self::Releasing(Releasing { goal, .. }) | Self::Stuck(Stuck { goal, .. }) => {
                matches!(goal, Goal::Stop)
            }
            Self::Init
            | Self::Backup { .. }
            | Self::Acquiring(_)
            | Self::Probing(_)
            | Self::Master { .. }
            | Self::Fault => false,
        }
    }
}

impl Acquiring {
    /// Has the mount hook been started for it, so that there may be something to give back?
    pub(super) const fn has_begun(&self) -> bool {
        match self.step {
            Step::AwaitingRelease { .. } | Step::Listening { .. } | Step::Following => false,
            Step::Running { .. } | Step::Pausing { .. } => true,
        }
    }
}

impl Goal {
    const fn state(self) -> &'static str {
        self.notify_state().word()
    }

    /// What notify scripts are told when it is reached.
    pub const fn notify_state(self) -> NotifyState {
        match self {
            Self::Backup => NotifyState::Backup,
            Self::Fault => NotifyState::Fault,
            Self::Stop => NotifyState::Stop,
        }
    }
}
