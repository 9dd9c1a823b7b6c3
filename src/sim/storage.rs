//! The one disk that all nodes see, and what keeps two of them from writing to it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::Time;

/// After so long a mounter whose MMP block was overwritten notices, and stops writing.
pub const MMP_INTERVAL: Duration = Duration::from_secs(5);

/// What keeps the second node out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// ext4 multiple mount protection: a mounter refuses while another one writes its block.
    Mmp,
    /// A SCSI-3 persistent reservation: an acquirer preempts, which fences the other node.
    Pr,
    /// Nothing: a mount succeeds, wherever else the disk is mounted.
    None,
}

/// A mount of the disk on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The hook has seen, after the mount, that it is alone.
    pub is_verified: bool,
    /// Its writes fail from then on: fenced, or its MMP block overwritten.
    pub lost_at: Option<Time>,
    /// Its host was frozen as a whole, or cut off from the disk, when that happened.
    pub was_away: bool,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its guard.
    pub guard: Guard,
    /// Per node: is it mounted there?
    pub mounts: Vec<Option<Mount>>,
    /// Per node: can it write to the disk? Not while it is off, frozen as a whole, or cut off.
    pub is_reachable: Vec<bool>,
    /// MMP: who wrote the block last, unless it is marked clean.
    pub owner: Option<usize>,
    /// MMP: changes when somebody writes a new name or mark, or when a mounter stops to write.
    pub sequence: u64,
    /// SCSI: whose keys are registered.
    pub keys: BTreeSet<usize>,
}

impl Disk {
    /// A disk that nobody uses.
    pub fn new(guard: Guard, nodes: usize) -> Self {
        Self {
            guard,
            mounts: vec![None; nodes],
            is_reachable: vec![true; nodes],
            owner: None,
            sequence: 0,
            keys: BTreeSet::new(),
        }
    }

    /// Does this node hold the disk so that it can write to it?
    pub fn is_held(&self, node: usize, now: Time) -> bool {
        let Some(mount) = self.mounts[node] else { return false };
        match (mount.lost_at, self.guard) {
            (None, _) => true,
            // Nobody uses a mount that is not verified, and one who was away finds the foreign
            // block when he comes back.
            (Some(at), Guard::Mmp) => {
                mount.is_verified && !mount.was_away && now.since(at) < MMP_INTERVAL
            }
            (Some(_), Guard::Pr | Guard::None) => false,
        }
    }

    /// Is it mounted, found to be alone, and not taken away?
    pub fn is_verified(&self, node: usize) -> bool {
        self.mounts[node].is_some_and(|mount| mount.is_verified && mount.lost_at.is_none())
    }

    /// Is it held, and nobody can have interfered?
    pub fn is_exclusive(&self, node: usize) -> bool {
        let is_whole = self.mounts[node].is_some_and(|mount| mount.lost_at.is_none());
        is_whole
            && self.is_reachable[node]
            && match self.guard {
                Guard::Mmp => self.owner == Some(node),
                Guard::Pr => self.keys.contains(&node),
                Guard::None => true,
            }
    }

    /// MMP: does the one whose name stands in the block write it again and again?
    pub fn is_written(&self) -> bool {
        self.owner.is_some_and(|owner| {
            self.is_reachable[owner]
                && self.mounts[owner].is_some_and(|mount| mount.lost_at.is_none())
        })
    }

    /// The node can write to the disk from now on, or cannot.
    pub fn reach(&mut self, node: usize, is_reachable: bool) {
        if !is_reachable && self.owner == Some(node) && self.is_written() {
            self.sequence += 1;
        }
        self.is_reachable[node] = is_reachable;
    }

    /// MMP: what happens to those who have it mounted now, no guard can help.
    pub fn excuse_all(&mut self) {
        self.mounts.iter_mut().flatten().for_each(|mount| mount.was_away = true);
    }

    /// MMP: writes this node's name into the block.
    pub fn claim(&mut self, node: usize, now: Time) -> u64 {
        let others = self.mounts.iter_mut().zip(&self.is_reachable).enumerate();
        for (place, (mount, is_reachable)) in others {
            if let Some(mount) = mount
                && place != node
                && mount.lost_at.is_none()
            {
                mount.lost_at = Some(now);
                mount.was_away |= !is_reachable;
            }
        }
        self.owner = Some(node);
        self.sequence += 1;
        self.sequence
    }

    /// SCSI: registers this node's key and throws out all others.
    pub fn preempt(&mut self, node: usize, now: Time) {
        for (place, mount) in self.mounts.iter_mut().enumerate() {
            if let Some(mount) = mount
                && place != node
                && mount.lost_at.is_none()
            {
                mount.lost_at = Some(now);
            }
        }
        self.keys = BTreeSet::from([node]);
    }

    /// Another node's key is registered.
    pub fn has_foreign_key(&self, node: usize) -> bool {
        self.keys.iter().any(|&key| key != node)
    }

    /// Mounts it.
    pub fn mount(&mut self, node: usize, now: Time) {
        if self.guard == Guard::Mmp {
            self.claim(node, now);
        }
        self.mounts[node] = Some(Mount { is_verified: false, lost_at: None, was_away: false });
    }

    /// Unmounts it in order, and gives up the guard.
    pub fn unmount(&mut self, node: usize) {
        let was_whole = self.mounts[node].take().is_some_and(|mount| mount.lost_at.is_none());
        if was_whole && self.owner == Some(node) && self.is_reachable[node] {
            self.owner = None;
            self.sequence += 1;
        }
        self.keys.remove(&node);
    }

    /// The node loses its power: the mount is gone, what it has written into the guard stays.
    pub fn lose(&mut self, node: usize) {
        self.reach(node, false);
        self.mounts[node] = None;
    }
}
