//! Virtual addresses, routes and rules that shall be put or taken away: the queue of wishes.
//!
//! Pure; [`crate::shell::kernel::link::Links`] sends what comes out of it to the kernel.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::conf::{Route, Rule, VirtualAddress};
use crate::core::spec::LinkId;
use crate::shell::kernel::route::{FindIndex, route_request, rule_request};
use crate::shell::kernel::rtnl::{self, Wish};

/// Overtaken wishes that may lie in the queue beyond those that count.
const OVERTAKEN_COUNT_MAX: usize = 1000;

/// Something that is put and taken.
#[derive(Clone, Debug, PartialEq)]
pub enum Thing {
    /// An address, on its interface.
    Address(LinkId, Arc<VirtualAddress>),
    /// A route.
    Route(Arc<Route>),
    /// A rule.
    Rule(Arc<Rule>),
}

/// What the kernel takes for the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An address, on its interface.
    Address(LinkId, IpAddr, u8),
    /// A route.
    Route(Arc<Route>),
    /// A rule.
    Rule(Arc<Rule>),
}

impl Thing {
    /// What tells it apart from others.
    pub fn key(&self) -> Key {
        match self {
            Self::Address(link, address) => Key::Address(*link, address.ip, address.prefix_len),
            Self::Route(route) => Key::Route(Arc::clone(route)),
            Self::Rule(rule) => Key::Rule(Arc::clone(rule)),
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(_, address) => write!(f, "{}/{}", address.ip, address.prefix_len),
            Self::Route(route) => write!(f, "route {route}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
        }
    }
}

/// A place in the queue: everything that was wished for up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What came of a request.
#[derive(Debug)]
pub struct Outcome {
    /// What it was for.
    pub what: Thing,
    /// What was to become of it.
    pub wish: Wish,
    /// It should have been so already.
    pub restores: bool,
    /// The kernel had to do something for it.
    pub has_changed: bool,
    /// Why it is not so; none if it is.
    pub error: Option<io::Error>,
}

/// What could not be done with it.
pub(in crate::shell) fn refusal(what: &Thing, wish: Wish) -> String {
    let done = match (what, wish) {
        (Thing::Address(..), Wish::Put) => "put on its interface",
        (Thing::Address(..), Wish::Take) => "taken off its interface",
        (Thing::Route(_) | Thing::Rule(_), Wish::Put) => "set",
        (Thing::Route(_) | Thing::Rule(_), Wish::Take) => "removed",
    };
    format!("{what} could not be {done}")
}

/// One wish for one thing.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::shell) struct Request {
    pub what: Thing,
    pub wish: Wish,
    /// It should be there already.
    pub restores: bool,
    ticket: Ticket,
}

impl Request {
    /// The netlink request; none if an interface is not there.
    pub fn bytes(
        &self,
        own: impl Fn(LinkId) -> Option<u32>,
        index: FindIndex<'_>,
        sequence: u32,
    ) -> Option<Vec<u8>> {
        match &self.what {
            Thing::Address(link, address) => {
                // A link that no configuration has any more is still known by its name.
                let index = own(*link).or_else(|| index(&address.interface))?;
                Some(address_request(address, self.wish, index, sequence))
            }
            Thing::Route(route) => route_request(route, self.wish, index, sequence),
            Thing::Rule(rule) => Some(rule_request(rule, self.wish, sequence)),
        }
    }

    /// Does this answer mean that the wish is not fulfilled? An address that is there already, one
    /// that is not, and an interface that took its addresses with it, are as wished.
    pub fn is_refused(&self, errno: i32) -> bool {
        match (self.wish, &self.what) {
            (Wish::Put, _) => !matches!(errno, 0 | libc::EEXIST),
            (Wish::Take, Thing::Address(..)) => {
                !matches!(errno, 0 | libc::EADDRNOTAVAIL | libc::ENODEV)
            }
            // What the kernel would never have taken is not there either.
            (Wish::Take, Thing::Route(_) | Thing::Rule(_)) => !matches!(
                errno,
                0 | libc::ESRCH
                    | libc::ENOENT
                    | libc::ENODEV
                    | libc::EINVAL
                    | libc::EOPNOTSUPP
                    | libc::EAFNOSUPPORT
            ),
        }
    }

    /// What the kernel's answer makes of it.
    pub fn outcome(self, errno: i32) -> Outcome {
        let is_refused = self.is_refused(errno);
        let error = is_refused.then(|| io::Error::from_raw_os_error(errno));
        let Self { what, wish, restores, .. } = self;
        Outcome { what, wish, restores, has_changed: errno == 0, error }
    }
}

fn address_request(address: &VirtualAddress, wish: Wish, index: u32, sequence: u32) -> Vec<u8> {
    let message = message(address, wish, index);
    match wish {
        Wish::Put => {
            let what = RouteNetlinkMessage::NewAddress(message);
            rtnl::request(what, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sequence)
        }
        Wish::Take => rtnl::request(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK, sequence),
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
    let other_end = address.peer.unwrap_or(ip);
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(other_end)];
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
    flags.set(AddressFlags::Nodad, !is_ipv4 && !address.flags.detect_duplicates);
    flags.set(AddressFlags::Homeaddress, !is_ipv4 && address.flags.home);
    flags.set(AddressFlags::Managetempaddr, !is_ipv4 && address.flags.make_temporary);
    flags.set(AddressFlags::Mcautojoin, address.flags.join);
    let flags = (!flags.is_empty()).then_some(AddressAttribute::Flags(flags));
    let lifetime = address.preferred_lft.filter(|_| !is_ipv4).map(|seconds| {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = seconds;
        lifetime.ifa_valid = u32::MAX;
        AddressAttribute::CacheInfo(lifetime)
    });
    [broadcast, label, flags, lifetime].into_iter().flatten()
}

/// The wishes that are not carried out yet, in their order. The newest for a thing counts;
/// those it overtook are never sent.
#[derive(Debug, Default)]
pub(in crate::shell) struct Wishes {
    queue: VecDeque<Request>,
    newest: HashMap<Key, (Ticket, Wish)>,
    issued: u64,
}

impl Wishes {
    /// Adds a wish at the end.
    pub fn add(&mut self, what: Thing, wish: Wish, restores: bool) {
        self.issued += 1;
        let ticket = Ticket(self.issued);
        let request = Request { what, wish, restores, ticket };
        self.newest.insert(request.what.key(), (ticket, wish));
        self.queue.push_back(request);
        if self.queue.len() > 2 * self.newest.len() + OVERTAKEN_COUNT_MAX {
            let Self { queue, newest, .. } = self;
            let newest = |request: &Request| newest.get(&request.what.key()).map(|of| of.0);
            queue.retain(|request| newest(request) == Some(request.ticket));
        }
    }

    /// Takes back the wish that a thing be there, if that is the newest for it.
    pub fn forgo(&mut self, key: &Key) {
        if self.newest.get(key).is_some_and(|&(_, wish)| wish == Wish::Put) {
            self.newest.remove(key);
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
            let key = request.what.key();
            if self.newest.get(&key).is_some_and(|of| of.0 == request.ticket) {
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
            peer: None,
            flags: Default::default(),
            preferred_lft: None,
            text: String::new(),
            span: Span::default(),
        }
    }

    fn drained(wishes: &mut Wishes) -> Vec<(u8, Wish)> {
        let last = |what| match what {
            Thing::Address(_, address) => match address.ip {
                IpAddr::V4(ip) => ip.octets()[3],
                IpAddr::V6(_) => 0,
            },
            _ => 0,
        };
        std::iter::from_fn(|| wishes.next()).map(|r| (last(r.what), r.wish)).collect()
    }

    fn on(link: usize, last: u8) -> Thing {
        Thing::Address(LinkId(link), Arc::new(address(last)))
    }

    #[test]
    fn the_newest_wish_wins_and_order_is_kept() {
        let mut wishes = Wishes::default();
        for (last, wish) in
            [(1, Wish::Put), (2, Wish::Put), (3, Wish::Put), (1, Wish::Take), (2, Wish::Take)]
        {
            wishes.add(on(0, last), wish, false);
        }
        wishes.add(on(0, 2), Wish::Put, false);
        assert_eq!(drained(&mut wishes), [(3, Wish::Put), (1, Wish::Take), (2, Wish::Put)]);
    }

    #[test]
    fn the_same_address_on_two_interfaces_is_two_addresses() {
        let mut wishes = Wishes::default();
        wishes.add(on(0, 1), Wish::Put, false);
        wishes.add(on(1, 1), Wish::Take, false);
        assert_eq!(drained(&mut wishes), [(1, Wish::Put), (1, Wish::Take)]);
    }

    #[test]
    fn what_is_taken_back_is_not_put_and_what_is_to_go_goes() {
        let mut wishes = Wishes::default();
        for (last, wish) in [(1, Wish::Put), (2, Wish::Take), (3, Wish::Put)] {
            wishes.add(on(0, last), wish, false);
        }
        for last in [1, 2] {
            wishes.forgo(&on(0, last).key());
        }
        assert_eq!(drained(&mut wishes), [(2, Wish::Take), (3, Wish::Put)]);
        wishes.add(on(0, 1), Wish::Put, false);
        assert_eq!(drained(&mut wishes), [(1, Wish::Put)], "until it is wished again");
        assert!(wishes.is_done(wishes.ticket()));
    }

    #[test]
    fn a_ticket_is_done_when_all_before_it_is() {
        let mut wishes = Wishes::default();
        assert!(wishes.is_done(wishes.ticket()));
        wishes.add(on(0, 1), Wish::Take, false);
        let first = wishes.ticket();
        wishes.add(on(0, 2), Wish::Put, false);
        assert!(!wishes.is_done(first));
        wishes.next();
        assert!(wishes.is_done(first));
        assert!(!wishes.is_done(wishes.ticket()));
    }

    #[test]
    fn flapping_does_not_grow_the_queue() {
        let mut wishes = Wishes::default();
        for _ in 0..10 * OVERTAKEN_COUNT_MAX {
            wishes.add(on(0, 1), Wish::Put, false);
            wishes.add(on(0, 1), Wish::Take, false);
        }
        assert!(wishes.len() <= OVERTAKEN_COUNT_MAX + 2);
        assert_eq!(drained(&mut wishes), [(1, Wish::Take)]);
    }

    #[test]
    fn answers_that_mean_as_wished() {
        let mut wishes = Wishes::default();
        wishes.add(on(0, 1), Wish::Put, false);
        let put = wishes.next().unwrap();
        wishes.add(on(0, 1), Wish::Take, false);
        let take = wishes.next().unwrap();
        assert!(!put.is_refused(0) && !put.is_refused(libc::EEXIST));
        assert!(put.is_refused(libc::EADDRNOTAVAIL) && put.is_refused(libc::ENODEV));
        assert!(!take.is_refused(libc::EADDRNOTAVAIL) && !take.is_refused(libc::ENODEV));
        assert!(take.is_refused(libc::EEXIST) && take.is_refused(libc::EPERM));
    }
}
