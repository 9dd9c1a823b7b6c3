//! The other nodes of a virtual router, as far as they were heard.

use std::net::IpAddr;
use std::time::Duration;

use super::Time;
use super::event::PeerFacts;

/// More senders than this are forgotten, oldest first: a flood of forged sources must not grow us.
const PEERS_MAX: usize = 16;

/// Everybody whose adverts were accepted.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    all: Vec<Peer>,
    /// Highest priorities known from before a restart, of nodes not heard since.
    remembered: Vec<(IpAddr, u8)>,
    /// The sender of the last advert that was not a priority 0: the master we follow.
    pub followed: Option<IpAddr>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The source address of its adverts.
    pub address: IpAddr,
    /// The priority of its last advert that was not 0.
    pub priority: u8,
    /// The highest priority it ever advertised.
    pub highest: u8,
    /// When its last advert was heard, priority 0 included.
    pub heard_at: Time,
    /// When it gave up by a priority 0, if no advert of it came after.
    pub released_at: Option<Time>,
}

impl Peers {
    /// Nobody heard yet, but the highest priorities of some are known.
    pub fn remembering(remembered: Vec<(IpAddr, u8)>) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// Takes in an advert that was accepted as valid; returns what is known of its sender.
    pub fn heard(&mut self, from: IpAddr, priority: u8, now: Time) -> Peer {
        let place = match self.all.iter().position(|peer| peer.address == from) {
            Some(place) => place,
            None => self.add(from, now),
        };
        let peer = &mut self.all[place];
        peer.heard_at = now;
        if priority > 0 {
            peer.priority = priority;
            peer.highest = peer.highest.max(priority);
            peer.released_at = None;
        }
        *peer
    }

    /// What is to be remembered over a restart, also of those who were not heard since the last one.
    pub fn highest(&self) -> Vec<(IpAddr, u8)> {
        let heard = self.all.iter().map(|peer| (peer.address, peer.highest));
        let known = |address: &IpAddr| self.all.iter().any(|peer| peer.address == *address);
        let remembered = self.remembered.iter().filter(|(address, _)| !known(address));
        heard.chain(remembered.copied()).take(PEERS_MAX).collect()
    }

    /// Is the master we follow the only other node that was ever heard, before a restart as well? Nodes
    /// are never forgotten for being silent: one that is may hold the storage. (A node that changed its
    /// address counts as two until a person says otherwise.)
    pub fn are_a_pair(&self) -> bool {
        let mut all = self.all.iter().map(|peer| peer.address);
        let mut remembered = self.remembered.iter().map(|(address, _)| *address);
        let is_followed = |address: IpAddr| Some(address) == self.followed;
        self.followed.is_some() && all.all(is_followed) && remembered.all(is_followed)
    }

    /// Forgets everybody but the master we follow.
    pub fn forget_others(&mut self) {
        let followed = self.followed;
        self.all.retain(|peer| Some(peer.address) == followed);
        self.remembered.retain(|(address, _)| Some(*address) == followed);
    }

    /// Notes that the master we follow gave up.
    pub fn followed_released(&mut self, now: Time) {
        let followed = self.followed;
        if let Some(peer) = self.all.iter_mut().find(|peer| Some(peer.address) == followed) {
            peer.released_at = Some(now);
        }
    }

    /// The master we follow.
    pub fn master(&self) -> Option<&Peer> {
        self.all.iter().find(|peer| Some(peer.address) == self.followed)
    }

    /// Whoever was heard last.
    pub fn latest(&self) -> Option<&Peer> {
        self.all.iter().max_by_key(|peer| peer.heard_at)
    }

    /// The master, if it has not given up and was heard within this time.
    pub(super) fn living_master(&self, within: Duration, now: Time) -> Option<&Peer> {
        let lives = |peer: &&Peer| peer.released_at.is_none() && now.since(peer.heard_at) < within;
        self.master().filter(lives)
    }

    /// Was any other node ever heard, before a restart as well?
    pub const fn are_known(&self) -> bool {
        !self.all.is_empty() || !self.remembered.is_empty()
    }

    /// All of them, in the order in which they were first heard.
    pub fn all(&self) -> &[Peer] {
        &self.all
    }

    /// How many other nodes there are.
    pub const fn count(&self) -> usize {
        self.all.len()
    }

    fn add(&mut self, address: IpAddr, now: Time) -> usize {
        if self.all.len() >= PEERS_MAX {
            let oldest = self.all.iter().enumerate().min_by_key(|(_, peer)| peer.heard_at);
            if let Some((place, _)) = oldest {
                self.all.remove(place);
            }
        }
        let known = self.remembered.iter().find(|(of, _)| *of == address);
        let highest = known.map_or(0, |&(_, highest)| highest);
        self.all.push(Peer { address, priority: 0, highest, heard_at: now, released_at: None });
        self.all.len() - 1
    }
}

impl Peer {
    /// What hooks are told of it.
    pub fn facts(&self, now: Time) -> PeerFacts {
        PeerFacts {
            address: self.address,
            priority: self.priority,
            last_seen: now.since(self.heard_at),
        }
    }
}
