//! Virtual addresses that shall be put on interfaces or taken away: the queue of wishes.
//!
//! Pure; [`super::link::Links`] sends what comes out of it to the kernel.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::rtnl;
use crate::conf::VirtualAddress;
use crate::core::spec::LinkId;

/// Overtaken wishes that may lie in the queue beyond those that count.
const OVERTAKEN_COUNT_MAX: usize = 1000;

/// What shall become of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It shall be on its interface.
    Put,
    /// It shall not.
    Take,
}

/// A place in the queue: everything that was wished for up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A wish that the kernel refused.
#[derive(Debug)]
pub struct Failure {
    /// The interface.
    pub link: LinkId,
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// What was to become of it.
    pub wish: Wish,
    /// Why it did not.
    pub error: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.wish {
            Wish::Put => "put on its interface",
            Wish::Take => "taken off its interface",
        };
        write!(f, "{}/{} could not be {what}: {}", self.ip, self.prefix_len, self.error)
    }
}

/// One wish for one address.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub link: LinkId,
    pub address: VirtualAddress,
    pub wish: Wish,
    ticket: Ticket,
}

type Key = (LinkId, IpAddr, u8);

impl Request {
    fn key(&self) -> Key {
        (self.link, self.address.ip, self.address.prefix_len)
    }

    /// The netlink request for the interface with this index.
    pub fn bytes(&self, index: u32, sequence: u32) -> Vec<u8> {
        let message = message(&self.address, self.wish, index);
        match self.wish {
            Wish::Put => {
                let what = RouteNetlinkMessage::NewAddress(message);
                rtnl::request(what, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sequence)
            }
            Wish::Take => {
                rtnl::request(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK, sequence)
            }
        }
    }

    /// Does this answer mean that the wish is not fulfilled? An address that is there already, one
    /// that is not, and an interface that took its addresses with it, are as wished.
    pub fn is_refused(&self, errno: i32) -> bool {
        match self.wish {
            Wish::Put => !matches!(errno, 0 | libc::EEXIST),
            Wish::Take => !matches!(errno, 0 | libc::EADDRNOTAVAIL | libc::ENODEV),
        }
    }

    pub fn failed(self, error: io::Error) -> Failure {
        let Self { link, address, wish, .. } = self;
        Failure { link, ip: address.ip, prefix_len: address.prefix_len, wish, error }
    }
}

/// As `ip address add` and `del` would say it. No label is the interface's name; no broadcast
/// address is none (keepalived's defaults). IPv6 has neither, and its scope is the kernel's affair.
fn message(address: &VirtualAddress, wish: Wish, index: u32) -> AddressMessage {
    let ip = address.ip;
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix_len;
    message.header.scope = address.scope.into();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    if wish == Wish::Put {
        message.attributes.extend(extras(address));
    }
    message
}

fn extras(address: &VirtualAddress) -> impl Iterator<Item = AddressAttribute> {
    let is_ipv4 = address.ip.is_ipv4();
    let broadcast = address.broadcast.filter(|_| is_ipv4).map(AddressAttribute::Broadcast);
    let label = address.label.clone().filter(|_| is_ipv4).map(AddressAttribute::Label);
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, address.no_prefix_route);
    // The old master may still have it for a moment; nobody is to wait for the detection of that.
    flags.set(AddressFlags::Nodad, !is_ipv4);
    let flags = (!flags.is_empty()).then_some(AddressAttribute::Flags(flags));
    let lifetime = address.preferred_lft.map(|seconds| {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = seconds;
        lifetime.ifa_valid = u32::MAX;
        AddressAttribute::CacheInfo(lifetime)
    });
    [broadcast, label, flags, lifetime].into_iter().flatten()
}

/// The wishes that are not carried out yet, in their order. The newest for an address counts;
/// those it overtook are never sent.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    queue: VecDeque<Request>,
    newest: HashMap<Key, Ticket>,
    issued: u64,
}

impl Wishes {
    /// Adds a wish at the end.
    pub fn add(&mut self, link: LinkId, address: &VirtualAddress, wish: Wish) {
        self.issued += 1;
        let ticket = Ticket(self.issued);
        let request = Request { link, address: address.clone(), wish, ticket };
        self.newest.insert(request.key(), ticket);
        self.queue.push_back(request);
        if self.queue.len() > 2 * self.newest.len() + OVERTAKEN_COUNT_MAX {
            let Self { queue, newest, .. } = self;
            queue.retain(|request| newest.get(&request.key()) == Some(&request.ticket));
        }
    }

    /// The place of the wish that was added last.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.issued)
    }

    /// Is everything up to this place carried out, or overtaken?
    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.queue.front().is_none_or(|request| request.ticket > ticket)
    }

    /// How many are left, at most.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes out the next wish that counts.
    pub fn next(&mut self) -> Option<Request> {
        loop {
            let request = self.queue.pop_front()?;
            let key = request.key();
            if self.newest.get(&key) == Some(&request.ticket) {
                self.newest.remove(&key);
                return Some(request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Span;

    fn address(last: u8) -> VirtualAddress {
        VirtualAddress {
            ip: [10, 9, 0, last].into(),
            prefix_len: 32,
            interface: "e0".into(),
            base: None,
            use_vmac: false,
            broadcast: None,
            label: None,
            scope: 0,
            no_prefix_route: false,
            preferred_lft: None,
            text: String::new(),
            span: Span::default(),
        }
    }

    fn drained(wishes: &mut Wishes) -> Vec<(u8, Wish)> {
        let last = |ip| match ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        std::iter::from_fn(|| wishes.next()).map(|r| (last(r.address.ip), r.wish)).collect()
    }

    #[test]
    fn the_newest_wish_wins_and_order_is_kept() {
        let mut wishes = Wishes::default();
        for (last, wish) in
            [(1, Wish::Put), (2, Wish::Put), (3, Wish::Put), (1, Wish::Take), (2, Wish::Take)]
        {
            wishes.add(LinkId(0), &address(last), wish);
        }
        wishes.add(LinkId(0), &address(2), Wish::Put);
        assert_eq!(drained(&mut wishes), [(3, Wish::Put), (1, Wish::Take), (2, Wish::Put)]);
    }

    #[test]
    fn the_same_address_on_two_interfaces_is_two_addresses() {
        let mut wishes = Wishes::default();
        wishes.add(LinkId(0), &address(1), Wish::Put);
        wishes.add(LinkId(1), &address(1), Wish::Take);
        assert_eq!(drained(&mut wishes), [(1, Wish::Put), (1, Wish::Take)]);
    }

    #[test]
    fn a_ticket_is_done_when_all_before_it_is() {
        let mut wishes = Wishes::default();
        assert!(wishes.is_done(wishes.ticket()));
        wishes.add(LinkId(0), &address(1), Wish::Take);
        let first = wishes.ticket();
        wishes.add(LinkId(0), &address(2), Wish::Put);
        assert!(!wishes.is_done(first));
        wishes.next();
        assert!(wishes.is_done(first));
        assert!(!wishes.is_done(wishes.ticket()));
    }

    #[test]
    fn flapping_does_not_grow_the_queue() {
        let mut wishes = Wishes::default();
        for _ in 0..10 * OVERTAKEN_COUNT_MAX {
            wishes.add(LinkId(0), &address(1), Wish::Put);
            wishes.add(LinkId(0), &address(1), Wish::Take);
        }
        assert!(wishes.len() <= OVERTAKEN_COUNT_MAX + 2);
        assert_eq!(drained(&mut wishes), [(1, Wish::Take)]);
    }

    #[test]
    fn answers_that_mean_as_wished() {
        let mut wishes = Wishes::default();
        wishes.add(LinkId(0), &address(1), Wish::Put);
        let put = wishes.next().unwrap();
        wishes.add(LinkId(0), &address(1), Wish::Take);
        let take = wishes.next().unwrap();
        assert!(!put.is_refused(0) && !put.is_refused(libc::EEXIST));
        assert!(put.is_refused(libc::EADDRNOTAVAIL) && put.is_refused(libc::ENODEV));
        assert!(!take.is_refused(libc::EADDRNOTAVAIL) && !take.is_refused(libc::ENODEV));
        assert!(take.is_refused(libc::EEXIST) && take.is_refused(libc::EPERM));
    }
}
