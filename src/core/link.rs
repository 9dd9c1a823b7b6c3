//! What the core knows of an interface, prepared for quick questions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Time;
use super::event::LinkState;
use super::spec::{Address, Destination, Family, InstanceSpec};

/// For how long changes of an interface do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// That it went down.
    pub down: Duration,
    /// That it came up.
    pub up: Duration,
    /// That it is gone, or one of its addresses is (design 11, blips).
    pub blip: Duration,
}

/// An interface as it was last described to the core.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// It has been described at least once.
    pub is_known: bool,
    /// It is present and up and running, as far as that counts.
    pub is_up: bool,
    /// A change that is being held back, and when it counts.
    change: Option<(bool, Time)>,
    /// Addresses that are gone, and until when that does not count.
    missed: BTreeMap<IpAddr, Time>,
    /// Virtual addresses of whichever instance that is no owner: no adverts are sent from them.
    virtual_ones: Arc<BTreeSet<IpAddr>>,
    /// Its addresses, in the kernel's order.
    ordered: Vec<IpAddr>,
    set: BTreeSet<(IpAddr, u8)>,
}

impl Link {
    /// An interface of which nothing is known.
    pub fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// Takes in a new description; returns whether it came up or went down with it. A change waits
    /// for the delay of its direction; the first description counts at once.
    pub fn describe(&mut self, state: LinkState, delays: Delays, now: Time) -> Option<bool> {
        let is_up = state.present && state.up;
        let is_first = !std::mem::replace(&mut self.is_known, true);
        let delay = match (is_up, state.present) {
            (true, _) => delays.up,
            (false, true) => delays.down,
            // Configured delays are for interfaces that are there (keepalived).
            (false, false) => delays.blip,
        };
        let before = std::mem::take(&mut self.ordered);
        self.ordered = state.addresses.iter().map(|&(ip, _)| ip).collect();
        let there: BTreeSet<IpAddr> = self.ordered.iter().copied().collect();
        self.missed.retain(|ip, _| !there.contains(ip));
        if !delays.blip.is_zero() {
            let gone = before.into_iter().filter(|ip| !there.contains(ip));
            self.missed.extend(gone.map(|ip| (ip, now + delays.blip)));
        }
        self.set = state.addresses.into_iter().collect();
        if is_first {
            self.is_up = is_up;
            return None;
        }
        if self.is_up == is_up {
            self.change = None;
            return None;
        }
        if self.change.is_none_or(|(to, _)| to != is_up) || delay.is_zero() {
            self.change = Some((is_up, now + delay));
        }
        self.turn(now)
    }

    /// When the next change that is being held back counts.
    pub fn deadline(&self) -> Option<Time> {
        self.change.map(|(_, at)| at).into_iter().chain(self.missed.values().copied()).min()
    }

    /// Is a change to up or down being held back?
    pub const fn holds_back(&self) -> Option<Time> {
        match self.change {
            Some((_, at)) => Some(at),
            None => None,
        }
    }

    /// Forgets addresses that have been gone for too long; true if there were any.
    pub fn miss(&mut self, now: Time) -> bool {
        let count = self.missed.len();
        self.missed.retain(|_, until| *until > now);
        self.missed.len() < count
    }

    /// Lets a change count whose time has come; returns it.
    pub fn turn(&mut self, now: Time) -> Option<bool> {
        let (is_up, _) = self.change.take_if(|(_, at)| *at <= now)?;
        self.is_up = is_up;
        Some(is_up)
    }

    /// Is this virtual address set?
    pub fn has(&self, address: &Address) -> bool {
        self.set.contains(&(address.ip, address.prefix_len))
    }

    /// Is there an address like that, whatever its prefix, or was there one a moment ago?
    pub(super) fn has_ip(&self, ip: IpAddr) -> bool {
        self.set.range((ip, 0)..=(ip, u8::MAX)).next().is_some() || self.missed.contains_key(&ip)
    }

    /// Tells which addresses are virtual ones of instances that do not own them.
    pub(super) fn know_virtual_ones(&mut self, all: &Arc<BTreeSet<IpAddr>>) {
        self.virtual_ones = Arc::clone(all);
    }

    /// The source address of an instance's adverts: the configured one; otherwise the one used so
    /// far while it is there; otherwise the first that is no virtual address, be it of another instance:
    /// a peer that takes that over would hear its own address and drop the adverts. Multicast over IPv6
    /// has a link-local one.
    pub fn source(&self, spec: &InstanceSpec, last: Option<IpAddr>) -> Option<IpAddr> {
        if spec.source.is_some() {
            return spec.source;
        }
        let is_kept = |&last: &IpAddr| self.has_ip(last) && !self.virtual_ones.contains(&last);
        if let Some(last) = last.filter(is_kept) {
            return Some(last);
        }
        let own: BTreeSet<IpAddr> =
            spec.addresses.iter().chain(&spec.excluded).map(|a| a.ip).collect();
        let is_multicast = matches!(spec.destination, Destination::Group(_));
        let fits = |ip: &IpAddr| match (spec.family, ip) {
            (Family::V4, IpAddr::V4(_)) => true,
            (Family::V6, IpAddr::V6(ip)) => !is_multicast || ip.is_unicast_link_local(),
            (Family::V4 | Family::V6, _) => false,
        };
        let is_own = |ip: &IpAddr| !own.contains(ip) && !self.virtual_ones.contains(ip);
        self.ordered.iter().copied().find(|ip| fits(ip) && is_own(ip))
    }

    /// Why the instance cannot send from this interface, if it cannot: no address at all, or not
    /// the one that is configured and tracked.
    pub fn lacks_source(&self, spec: &InstanceSpec, source: Option<IpAddr>) -> bool {
        match source {
            None => true,
            Some(ip) => spec.track_source && !self.has_ip(ip),
        }
    }
}
