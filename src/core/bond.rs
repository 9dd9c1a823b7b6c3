//! What ties an instance to its sync group: its role, what it must know of the others, and what it
//! has to tell its leader.

use std::net::IpAddr;

use super::event::Reason;
use super::phase::{Goal, Phase};
use super::spec::GroupId;

/// What an instance is among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// In no group.
    #[default]
    Alone,
    /// In a group without storage.
    Member(GroupId),
    /// The first member of a group with storage.
    Leader(GroupId),
    /// Another one.
    Follower(GroupId),
    /// It followed until a reload took it out of its group.
    Orphan,
}

/// What ties an instance to its group.
#[derive(Clone, Debug, Default)]
pub(super) struct Bond {
    pub(super) role: Role,
    /// The group's name.
    pub(super) group: Option<String>,
    /// It would be master, if the others would, too: its master down timer has run out.
    pub(super) is_due: bool,
    /// Why another member must not be master, as far as this one must know: with its name.
    pub(super) others_cause: Option<(Reason, String)>,
    /// Everything is known that decides about the start of the others.
    pub(super) are_others_unready: bool,
    /// A living master that another member hears.
    pub(super) others_master: Option<(IpAddr, u8)>,
    /// What a follower has to tell its leader.
    pub(super) calls: Calls,
    /// A leader has let go and may say so, on its way to this.
    pub(super) vouched: Option<Goal>,
}

/// What a follower has to tell its leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// Somebody was heard, so the storage may be fought for again.
    pub(super) has_heard: bool,
    /// Somebody claims to be master.
    pub(super) is_claimed: bool,
    /// The storage should be looked at.
    pub(super) wants_probe: bool,
    /// A better master is to be yielded to.
    pub(super) yields: Option<String>,
    /// Another claim goes first.
    pub(super) backs_off: Option<String>,
}

impl Bond {
    pub(super) const fn is_follower(&self) -> bool {
        matches!(self.role, Role::Follower(_))
    }

    /// Does it wait for others before it becomes master?
    pub(super) const fn is_bound(&self) -> bool {
        matches!(self.role, Role::Member(_) | Role::Leader(_) | Role::Follower(_))
    }
}

/// What a leader's followers need to know of it.
pub(super) struct Lead {
    pub(super) phase: Phase,
    pub(super) reason: Reason,
    pub(super) detail: String,
    /// It has let go and says so, on its way to this.
    pub(super) vouched: Option<Goal>,
}
