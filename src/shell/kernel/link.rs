//! Interfaces and their addresses, as the kernel has them: read once, kept in step by its
//! notifications, read again when notifications were lost. And the way back: virtual addresses are
//! put and taken here.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::RouteNetlinkMessage;

use crate::conf::VirtualAddress;
use crate::core::event::LinkState;
use crate::core::spec::LinkId;
use crate::shell::kernel::address::{Key, Outcome, Request, Thing, Ticket, Wishes};
use crate::shell::kernel::rtnl::{self, Address, Gone, Macvlan, Message, Socket, Wish};

/// Datagrams read in one call, before others get their turn.
const DATAGRAMS_PER_READ_MAX: usize = 512;
/// Requests carried out in one call of [`Links::work`].
const REQUESTS_PER_WORK_MAX: usize = 200;
/// Time after which such a call sends no more. With 10,000 addresses on an interface the kernel
/// takes 0.5 ms to add one.
const WORK_TIME_MAX: Duration = Duration::from_millis(5);
/// Requests sent at once, which cannot be interrupted; their answers fit into the socket's buffer.
const REQUESTS_PER_SEND_MAX: usize = 10;

static ABSENT: LinkState = LinkState { present: false, up: false, addresses: Vec::new() };

/// An interface.
#[derive(Clone, Debug, Default, PartialEq)]
struct Interface {
    name: String,
    up: bool,
    mac: Option<[u8; 6]>,
    mtu: u32,
    macvlan: Option<Macvlan>,
    ipv4: Vec<Address>,
    ipv6: Vec<Address>,
}

impl Interface {
    const fn of_family(&mut self, address: &Address) -> &mut Vec<Address> {
        if address.ip.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 }
    }
}

/// All interfaces of the host by index. All, and not only those that are watched: one may be
/// given a watched name at any time, and then brings its addresses along. And the index of each
/// by its name.
#[derive(Debug, Default)]
struct Table(BTreeMap<u32, Interface>, BTreeMap<String, u32>);

impl Table {
    /// From a dump, whose order of addresses is the kernel's.
    fn from_dump(dump: Vec<Message>) -> Self {
        let mut table = Self::default();
        for message in dump {
            if let Message::Address { index, address } = message {
                if let Some(interface) = table.0.get_mut(&index) {
                    interface.of_family(&address).push(address);
                }
            } else {
                table.apply(message);
            }
        }
        table
    }

    /// Takes in a notification. Applying some again that a dump has seen already does no harm.
    fn apply(&mut self, message: Message) {
        match message {
            Message::Link { index, name, up, mac, mtu, macvlan } => {
                let interface = self.0.entry(index).or_default();
                if interface.name != name {
                    forget(&mut self.1, &interface.name, index);
                    self.1.insert(name.clone(), index);
                    interface.name = name;
                }
                interface.up = up;
                interface.mac = mac;
                interface.mtu = mtu;
                interface.macvlan = macvlan;
            }
            Message::LinkGone { index } => {
                if let Some(interface) = self.0.remove(&index) {
                    forget(&mut self.1, &interface.name, index);
                }
            }
            Message::Address { index, address } => {
                if let Some(interface) = self.0.get_mut(&index) {
                    insert(interface.of_family(&address), address);
                }
            }
            Message::AddressGone { index, address } => {
                if let Some(interface) = self.0.get_mut(&index) {
                    interface.of_family(&address).retain(|other| !is_same(other, &address));
                }
            }
            Message::RouteGone(_)
            | Message::Answer { .. }
            | Message::Done { .. }
            | Message::Interrupted
            | Message::Overrun => {}
        }
    }
}

/// A name may have gone to another interface meanwhile.
fn forget(names: &mut BTreeMap<String, u32>, name: &str, index: u32) {
    if names.get(name) == Some(&index) {
        names.remove(name);
    }
}

/// What the kernel takes for the same address.
fn is_same(one: &Address, other: &Address) -> bool {
    (one.ip, one.peer, one.prefix_len) == (other.ip, other.peer, other.prefix_len)
}

/// Puts an address where the kernel's list of its family has it.
///
/// IPv4: a secondary one last, a primary one behind the last primary one whose scope is not
/// narrower. IPv6: before the first whose scope is not wider, and for ever.
fn insert(addresses: &mut Vec<Address>, address: Address) {
    if let Some(place) = addresses.iter().position(|other| is_same(other, &address)) {
        if let Some(old) = addresses.get_mut(place)
            && (*old == address || address.ip.is_ipv6())
        {
            *old = address;
            return;
        }
        addresses.remove(place);
    }
    let place = if address.ip.is_ipv6() {
        let is_behind = |other: &Address| other.scope >= address.scope;
        addresses.iter().position(is_behind).unwrap_or(addresses.len())
    } else if address.secondary {
        addresses.len()
    } else {
        let before = |other: &Address| !other.secondary && other.scope >= address.scope;
        addresses.iter().rposition(before).map_or(0, |last| last + 1)
    };
    addresses.insert(place, address);
}

/// An address on its interface as a thing that is put and taken.
fn thing((link, address): &(LinkId, VirtualAddress)) -> Thing {
    Thing::Address(*link, Arc::new(address.clone()))
}

/// What is known of a watched interface.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    index: Option<u32>,
    mac: Option<[u8; 6]>,
    mtu: u32,
    state: LinkState,
}

impl Known {
    fn of(index: u32, interface: &Interface) -> Self {
        let addresses = interface.ipv4.iter().chain(&interface.ipv6);
        let usable = addresses.filter(|a| !a.tentative);
        let addresses = usable.map(|a| (a.ip, a.prefix_len)).collect();
        Self {
            index: Some(index),
            mac: interface.mac,
            mtu: interface.mtu,
            state: LinkState { present: true, up: interface.up, addresses },
        }
    }

    /// What an instance without an interface sees, whose adverts go where the routing table says:
    /// always up, with the addresses of all interfaces. The kernel's index for that is 0.
    fn anywhere<'a>(all: impl Iterator<Item = &'a Interface>) -> Self {
        let addresses = all.flat_map(|interface| Self::of(0, interface).state.addresses).collect();
        Self {
            index: Some(0),
            mac: None,
            mtu: 0,
            state: LinkState { present: true, up: true, addresses },
        }
    }
}

/// An interface, watched or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub index: u32,
    /// It is up and running.
    pub up: bool,
    /// Its hardware address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// The longest packet it carries, in bytes.
    pub mtu: u32,
    /// What it stands on, if it is a macvlan.
    pub macvlan: Option<Macvlan>,
}

/// The outcome of [`Links::read`]: news that are told once.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The interfaces of which anything is different now, their index included.
    pub changed: Vec<LinkId>,
    /// Routes and rules that are gone.
    pub gone: Vec<Gone>,
    /// Routes may be gone without a word: an interface came up or lost an address, which takes
    /// routes along, or messages were lost.
    pub disturbed: bool,
    /// There may be more to read: register the descriptor again, since its readiness is told once.
    pub more: bool,
}

impl Read {
    /// Later news are added to these.
    pub fn add(&mut self, later: Self) {
        self.changed.extend(later.changed);
        self.gone.extend(later.gone);
        self.disturbed |= later.disturbed;
        self.more = later.more;
    }
}

/// The interfaces that the configuration refers to. An empty name is none in particular: see
/// [`crate::core::spec::InstanceSpec::link`].
#[derive(Debug)]
pub struct Links {
    names: Vec<String>,
    known: Vec<Known>,
    table: Table,
    /// What those that are polled say of their carriers; see [`Links::set_carriers`].
    carriers: BTreeMap<LinkId, bool>,
    monitor: Socket,
    requests: Socket,
    /// Notifications were lost: the table is not to be relied on before it is read anew.
    stale: bool,
    hears_routes: bool,
    wishes: Wishes,
    outcomes: Vec<Outcome>,
    gone: Vec<Gone>,
    disturbed: bool,
    /// The number of the last request.
    sequence: u32,
}

impl Links {
    /// Learns all there is to know of the interfaces with these names, which are the places of
    /// their [`LinkId`]s.
    ///
    /// # Errors
    /// No netlink socket could be opened, or the kernel did not answer.
    pub fn open(names: &[String]) -> io::Result<Self> {
        Self::open_for(names, false)
    }

    /// The same, and hears of routes and rules that are removed, if they are of interest.
    ///
    /// # Errors
    /// As [`Links::open`].
    pub fn open_for(names: &[String], routes: bool) -> io::Result<Self> {
        // First listen, then look: a change in between is then heard.
        let groups = if routes { rtnl::CHANGES | rtnl::ROUTES } else { rtnl::CHANGES };
        let monitor = Socket::open(groups)?;
        let requests = Socket::open(0)?;
        let mut links = Self {
            names: names.to_vec(),
            known: vec![Known::default(); names.len()],
            table: Table::from_dump(rtnl::dump()?),
            carriers: BTreeMap::new(),
            monitor,
            requests,
            stale: false,
            hears_routes: routes,
            wishes: Wishes::default(),
            outcomes: Vec::new(),
            gone: Vec::new(),
            disturbed: false,
            sequence: 0,
        };
        links.compare();
        Ok(links)
    }

    /// Goes over to more names, and to hearing of routes and rules if they are of interest now. True if
    /// there is another descriptor to wait on.
    ///
    /// # Errors
    /// As [`Links::open`]; everything stays as it was then.
    pub fn follow(&mut self, names: &[String], routes: bool) -> io::Result<bool> {
        let is_other = routes && !self.hears_routes;
        if is_other {
            self.monitor = Socket::open(rtnl::CHANGES | rtnl::ROUTES)?;
            self.hears_routes = true;
            // What the old one had not told yet is found by reading everything.
            self.stale = true;
        }
        self.names = names.to_vec();
        self.known.resize_with(names.len(), Known::default);
        Ok(is_other)
    }

    /// The descriptor to wait on before [`Links::read`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.monitor.fd()
    }

    /// Takes in the notifications that wait, at most some hundred.
    ///
    /// After an overrun it reads everything anew; if that fails it is tried again at the next call,
    /// see [`Links::is_stale`].
    pub fn read(&mut self) -> Read {
        let more = self.drain();
        if self.stale && !more {
            match rtnl::dump() {
                Ok(dump) => {
                    self.table = Table::from_dump(dump);
                    self.stale = false;
                    self.disturbed = true;
                    log::info!("Netlink messages were lost; all interfaces have been read anew");
                }
                Err(error) => log::error!("Cannot read the interfaces from the kernel: {error}"),
            }
        }
        Read {
            changed: self.compare(),
            gone: std::mem::take(&mut self.gone),
            disturbed: std::mem::take(&mut self.disturbed),
            more,
        }
    }

    /// Was something lost, and could not be read anew? Then call [`Links::read`] again after a while.
    pub const fn is_stale(&self) -> bool {
        self.stale
    }

    /// From now on an interface is up only if it has a carrier by these answers, too. True if that is
    /// news, of which [`Links::read`] tells.
    pub fn set_carriers(&mut self, carriers: BTreeMap<LinkId, bool>) -> bool {
        let is_news = self.carriers != carriers;
        self.carriers = carriers;
        is_news
    }

    /// Takes in what a request of ours has brought about; [`Links::read`] tells of it.
    pub fn read_now(&mut self) {
        self.drain();
    }

    /// Reads until nothing waits (false) or the bound is met (true).
    ///
    /// Once messages are lost those behind the gap are thrown away: a dump is newer than all of
    /// them, and applied after it they would bring back what is gone.
    fn drain(&mut self) -> bool {
        for _ in 0..DATAGRAMS_PER_READ_MAX {
            match self.monitor.receive() {
                Ok(None) => return false,
                Ok(Some(messages)) => messages.into_iter().for_each(|m| self.take_in(m)),
                Err(_) => self.stale = true,
            }
        }
        true
    }

    fn take_in(&mut self, message: Message) {
        match &message {
            Message::Overrun => self.stale = true,
            Message::RouteGone(gone) => self.gone.push(gone.clone()),
            Message::AddressGone { .. } => self.disturbed = true,
            Message::Link { index, up: true, .. } => {
                self.disturbed |= !self.table.0.get(index).is_some_and(|known| known.up);
            }
            _ => {}
        }
        if !self.stale {
            self.table.apply(message);
        }
    }

    /// Brings what is known in line with the table, and tells of which interfaces it differed.
    fn compare(&mut self) -> Vec<LinkId> {
        if self.stale {
            return Vec::new();
        }
        let by_name: BTreeMap<&str, (u32, &Interface)> =
            self.table.0.iter().map(|(index, i)| (i.name.as_str(), (*index, i))).collect();
        let mut changed = Vec::new();
        let anywhere = || Known::anywhere(self.table.0.values());
        for (place, (name, known)) in self.names.iter().zip(&mut self.known).enumerate() {
            let mut now = match by_name.get(name.as_str()) {
                Some((index, interface)) => Known::of(*index, interface),
                None if name.is_empty() => anywhere(),
                None => Known::default(),
            };
            now.state.up &= self.carriers.get(&LinkId(place)) != Some(&false);
            if *known != now {
                *known = now;
                changed.push(LinkId(place));
            }
        }
        changed
    }

    fn known(&self, link: LinkId) -> Option<&Known> {
        self.known.get(link.0)
    }

    /// What is known of an interface.
    pub fn state(&self, link: LinkId) -> &LinkState {
        self.known(link).map_or(&ABSENT, |known| &known.state)
    }

    /// The name of an interface.
    pub fn name(&self, link: LinkId) -> &str {
        self.names.get(link.0).map_or("", String::as_str)
    }

    /// Its number, while it exists. One that is deleted and made anew gets another.
    pub fn index(&self, link: LinkId) -> Option<u32> {
        self.known(link)?.index
    }

    /// The number of any interface of the host.
    fn index_of(&self, name: &str) -> Option<u32> {
        self.table.1.get(name).copied()
    }

    /// Its hardware address, if it has one of six bytes.
    pub fn mac(&self, link: LinkId) -> Option<[u8; 6]> {
        self.known(link)?.mac
    }

    /// What is known of any interface of the host, by its name.
    pub fn look(&self, name: &str) -> Option<Seen> {
        let index = *self.table.1.get(name)?;
        let Interface { up, mac, mtu, macvlan, .. } = *self.table.0.get(&index)?;
        Some(Seen { index, up, mac, mtu, macvlan })
    }

    /// Has any interface of the host, by its number, this address?
    pub fn has_address(&self, index: u32, ip: IpAddr) -> bool {
        let interface = self.table.0.get(&index);
        interface.is_some_and(|i| i.ipv4.iter().chain(&i.ipv6).any(|address| address.ip == ip))
    }

    /// All interfaces of the host: name, what is known of it, and its first address of each family.
    pub fn all(&self) -> impl Iterator<Item = (&str, Seen, [Option<IpAddr>; 2])> {
        self.table.0.iter().map(|(&index, interface)| {
            let Interface { name, up, mac, mtu, macvlan, ipv4, ipv6 } = interface;
            let seen = Seen { index, up: *up, mac: *mac, mtu: *mtu, macvlan: *macvlan };
            let first = |all: &[Address]| all.first().map(|address| address.ip);
            (name.as_str(), seen, [first(ipv4), first(ipv6)])
        })
    }

    /// The name of the interface that frames of this one really go through: what a macvlan stands
    /// on, otherwise itself.
    pub fn base_name(&self, link: LinkId) -> &str {
        let interface = self.index(link).and_then(|index| self.table.0.get(&index));
        let base = interface.and_then(|i| i.macvlan?.base).and_then(|base| self.table.0.get(&base));
        base.map_or_else(|| self.name(link), |base| base.name.as_str())
    }

    /// Has the kernel do something with an interface, at once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn request(&mut self, what: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.requests.send(&rtnl::request(what, NLM_F_ACK | flags, self.sequence))?;
        while let Some(messages) = self.requests.receive()? {
            for message in messages {
                match message {
                    Message::Answer { sequence, errno: 0 } if sequence == self.sequence => {
                        return Ok(());
                    }
                    Message::Answer { sequence, errno } if sequence == self.sequence => {
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    _ => {}
                }
            }
        }
        Err(io::Error::other("the kernel did not answer"))
    }

    /// Queues the wish that these addresses be on their interfaces, whether or not they are. The
    /// newest wish for an address replaces an older one that still waits.
    pub fn put(&mut self, addresses: &[(LinkId, VirtualAddress)]) -> Ticket {
        self.wish(addresses.iter().map(thing), Wish::Put)
    }

    /// The same for things of any kind.
    pub fn put_things(&mut self, things: impl IntoIterator<Item = Thing>) -> Ticket {
        self.wish(things, Wish::Put)
    }

    /// Queues the wish that these be there, which they should be already: whether they were is told
    /// by [`Links::outcomes`].
    pub fn restore(&mut self, things: impl IntoIterator<Item = Thing>) {
        things.into_iter().for_each(|thing| self.wishes.add(thing, Wish::Put, true));
    }

    /// What came of requests since this was last asked.
    pub fn outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Queues the wish that these addresses not be on their interfaces.
    pub fn take(&mut self, addresses: &[(LinkId, VirtualAddress)]) -> Ticket {
        self.wish(addresses.iter().map(thing), Wish::Take)
    }

    /// The same for things of any kind.
    pub fn take_things(&mut self, things: impl IntoIterator<Item = Thing>) -> Ticket {
        self.wish(things, Wish::Take)
    }

    fn wish(&mut self, things: impl IntoIterator<Item = Thing>, wish: Wish) -> Ticket {
        things.into_iter().for_each(|thing| self.wishes.add(thing, wish, false));
        self.wishes.ticket()
    }

    /// Takes back the wishes that these be there, if they wait.
    pub fn forgo(&mut self, keys: &[&Key]) -> Ticket {
        keys.iter().for_each(|key| self.wishes.forgo(key));
        self.wishes.ticket()
    }

    /// Is everything up to this wish carried out (or refused, or overtaken by a newer one)?
    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.wishes.is_done(ticket)
    }

    /// Carries out the next of the queued wishes, at most 200, for a few milliseconds. True if some
    /// are left.
    pub fn work(&mut self) -> bool {
        let start = Instant::now();
        let mut budget = REQUESTS_PER_WORK_MAX;
        while budget > 0 && self.wishes.len() > 0 && start.elapsed() < WORK_TIME_MAX {
            let size = budget.min(REQUESTS_PER_SEND_MAX);
            let batch: Vec<_> = std::iter::from_fn(|| self.wishes.next()).take(size).collect();
            budget -= size;
            self.carry_out(batch);
        }
        self.wishes.len() > 0
    }

    /// Carries out what is queued, all of it unless it takes longer than this; false if it did.
    /// For the end of the daemon, when nothing else has to be done in between.
    pub fn finish(&mut self, at_most: Duration) -> bool {
        let start = Instant::now();
        while self.work() {
            if start.elapsed() > at_most {
                return false;
            }
        }
        true
    }

    fn carry_out(&mut self, batch: Vec<Request>) {
        let mut bytes = Vec::new();
        let mut waiting = BTreeMap::new();
        for request in batch {
            let sequence = self.sequence.wrapping_add(1);
            let by_name = |name: &str| self.index_of(name);
            match request.bytes(|link| self.index(link), &by_name, sequence) {
                Some(own) => {
                    self.sequence = sequence;
                    bytes.extend(own);
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                    waiting.insert(self.sequence, request);
                }
                None => self.judge(request, libc::ENODEV),
            }
        }
        if waiting.is_empty() {
            return;
        }
        let outcome = self.requests.send(&bytes).and_then(|()| self.collect(&mut waiting));
        let error = outcome.err().and_then(|error| error.raw_os_error()).unwrap_or(libc::EIO);
        for request in waiting.into_values() {
            self.judge(request, error);
        }
    }

    /// Reads the answers. What is left in `waiting` had none.
    fn collect(&mut self, waiting: &mut BTreeMap<u32, Request>) -> io::Result<()> {
        while !waiting.is_empty() {
            let Some(messages) = self.requests.receive()? else { break };
            for message in messages {
                if let Message::Answer { sequence, errno } = message
                    && let Some(request) = waiting.remove(&sequence)
                {
                    self.judge(request, errno);
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, request: Request, errno: i32) {
        self.outcomes.push(request.outcome(errno));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(last: u8, scope: u8, secondary: bool) -> Address {
        let ip = IpAddr::from([10, 9, 0, last]);
        Address { ip, peer: ip, prefix_len: 24, scope, secondary, tentative: false }
    }

    fn ipv6(last: u16, scope: u8, tentative: bool) -> Address {
        let ip = IpAddr::from([0xfd00, 9, 0, 0, 0, 0, 0, last]);
        Address { ip, peer: ip, prefix_len: 64, scope, secondary: false, tentative }
    }

    fn link_e0() -> Message {
        let name = "e0".into();
        Message::Link { index: 3, name, up: true, mac: None, mtu: 1500, macvlan: None }
    }

    fn order(addresses: &[Address]) -> Vec<u8> {
        let last = |address: &Address| match address.ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        addresses.iter().map(last).collect()
    }

    #[test]
    fn addresses_stand_in_the_kernels_order() {
        let mut addresses = Vec::new();
        for new in [
            address(1, 0, false),
            address(2, 0, true),
            address(3, 253, false),
            address(4, 0, false),
            address(5, 0, true),
            address(6, 254, false),
        ] {
            insert(&mut addresses, new);
        }
        assert_eq!(order(&addresses), [6, 3, 1, 4, 2, 5]);
        insert(&mut addresses, address(5, 0, false));
        assert_eq!(order(&addresses), [6, 3, 1, 4, 5, 2], "a secondary one is promoted");
        insert(&mut addresses, address(1, 0, false));
        assert_eq!(order(&addresses), [6, 3, 1, 4, 5, 2], "nothing new");
    }

    #[test]
    fn ipv6_addresses_stand_in_the_kernels_order_and_stay_there() {
        let mut addresses = Vec::new();
        for (last, scope) in [(1, 253), (2, 0), (3, 254), (4, 0), (5, 253)] {
            insert(&mut addresses, ipv6(last, scope, true));
        }
        assert_eq!(order(&addresses), [4, 2, 5, 1, 3]);
        insert(&mut addresses, ipv6(2, 0, false));
        assert_eq!(order(&addresses), [4, 2, 5, 1, 3]);
        assert!(!addresses[1].tentative);
    }

    #[test]
    fn ipv4_comes_first_and_what_is_tentative_is_left_out() {
        let link = link_e0();
        let mut table = Table::from_dump(vec![link]);
        for address in [ipv6(1, 0, false), ipv6(2, 0, true), address(3, 0, false)] {
            table.apply(Message::Address { index: 3, address });
        }
        let known = Known::of(3, &table.0[&3]);
        let expected = [("10.9.0.3", 24), ("fd00:9::1", 64)];
        let expected = expected.map(|(ip, len)| (ip.parse::<IpAddr>().expect("address"), len));
        assert_eq!(known.state.addresses, expected);
    }

    #[test]
    fn notifications_that_a_dump_has_seen_do_no_harm() {
        let link = link_e0();
        let one = Message::Address { index: 3, address: address(1, 0, false) };
        let gone = Message::AddressGone { index: 3, address: address(1, 0, false) };
        let mut table = Table::from_dump(vec![link.clone(), one.clone()]);
        for message in [link, gone, one] {
            table.apply(message);
        }
        assert_eq!(order(&table.0[&3].ipv4), [1]);
    }

    #[test]
    fn an_interface_is_found_by_the_name_it_has_now() {
        let named = |index: u32, name: &str| {
            let name = name.to_owned();
            Message::Link { index, name, up: true, mac: None, mtu: 1500, macvlan: None }
        };
        let mut table = Table::from_dump(vec![named(3, "e0"), named(4, "e1")]);
        for (message, expected) in [
            (named(3, "e2"), vec![("e1", 4), ("e2", 3)]),
            (named(4, "e0"), vec![("e0", 4), ("e2", 3)]),
            (named(5, "e2"), vec![("e0", 4), ("e2", 5)]),
            (Message::LinkGone { index: 3 }, vec![("e0", 4), ("e2", 5)]),
            (Message::LinkGone { index: 5 }, vec![("e0", 4)]),
        ] {
            table.apply(message);
            let names: Vec<_> =
                table.1.iter().map(|(name, index)| (name.as_str(), *index)).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn addresses_of_an_unknown_interface_are_left_out() {
        let mut table = Table::default();
        table.apply(Message::Address { index: 9, address: address(1, 0, false) });
        assert!(table.0.is_empty());
    }
}
