//! Gratuitous ARP and unsolicited neighbour advertisements, in bursts that are spread over as many calls as they need.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::conf::Config;
use crate::core::Time;
use crate::core::spec::{Family, InstanceId, LinkId};
use crate::shell::host::sys;
use crate::shell::kernel::link::Links;
use crate::wire::arp::{BROADCAST, ETHERTYPE_ARP, Garp};
use crate::wire::ndp::{ALL_NODES_MAC, Advertisement, ETHERTYPE_IPV6};

/// Frames sent in one call of [`Announcer::work`].
const FRAMES_PER_WORK_MAX: usize = 200;
/// Wait when the socket's send buffer is full.
const FULL_RETRY: Duration = Duration::from_millis(1);
/// Such waits in a row, after which the frame is given up.
const FULL_RETRIES_MAX: u32 = 100;

/// Pauses between two frames on one interface; zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Between two gratuitous ARPs (`garp_interval`).
    pub arp: Duration,
    /// Between two neighbour advertisements (`gna_interval`).
    pub na: Duration,
}

/// What is left to announce for one instance.
#[derive(Debug)]
struct Burst {
    instance: InstanceId,
    addresses: Vec<(LinkId, IpAddr)>,
    /// The next of them in this round.
    next: usize,
    /// Rounds that are left, this one included.
    rounds: u32,
    /// For interfaces that are in no group.
    pauses: Pauses,
}

/// Interfaces that keep pauses of their own, and keep them together: a pause on one of them is one
/// on all (`garp_group`).
pub type Group = (Vec<LinkId>, Pauses);

/// One frame of a burst.
#[derive(Clone, Copy, Debug)]
struct Turn {
    link: LinkId,
    ip: IpAddr,
    pause: Duration,
    lane: Lane,
}

/// What a pause is kept between: frames of one family on one interface, or on those of one group,
/// which are named by the first of them.
type Lane = (LinkId, Family);

impl Burst {
    fn turn(&self, groups: &[Group]) -> Option<Turn> {
        let (link, ip) = *self.addresses.get(self.next)?;
        let group = groups.iter().find(|(links, _)| links.contains(&link));
        let pauses = group.map_or(self.pauses, |(_, pauses)| *pauses);
        let first = group.and_then(|(links, _)| links.first()).copied().unwrap_or(link);
        let (family, pause) = match ip {
            IpAddr::V4(_) => (Family::V4, pauses.arp),
            IpAddr::V6(_) => (Family::V6, pauses.na),
        };
        Some(Turn { link, ip, pause, lane: (first, family) })
    }
}

/// The bursts, in the order of their turns.
#[derive(Debug, Default)]
struct Bursts {
    queue: VecDeque<Burst>,
    /// When the next frame may be sent, if the last one asked for a pause.
    free_at: BTreeMap<Lane, Time>,
    groups: Vec<Group>,
    full_count: u32,
}

impl Bursts {
    fn add(&mut self, mut burst: Burst) {
        let old = self.queue.iter().find(|old| old.instance == burst.instance);
        burst.rounds = burst.rounds.max(old.map_or(0, |old| old.rounds));
        self.remove(burst.instance);
        if burst.rounds > 0 && !burst.addresses.is_empty() {
            self.queue.push_back(burst);
        }
    }

    fn remove(&mut self, instance: InstanceId) {
        self.queue.retain(|burst| burst.instance != instance);
    }

    /// When this frame may be sent.
    fn free_at(&self, turn: &Turn) -> Time {
        self.free_at.get(&turn.lane).copied().unwrap_or(Time::ZERO)
    }

    /// Hands at most [`FRAMES_PER_WORK_MAX`] announcements to `send`, and tells when it wants to be
    /// called again. A send that would block is tried again later; another failure is not.
    fn work(
        &mut self,
        now: Time,
        mut send: impl FnMut(LinkId, IpAddr) -> io::Result<()>,
    ) -> Option<Time> {
        for _ in 0..FRAMES_PER_WORK_MAX {
            let Some((place, turn)) = self.turn(now) else { return self.next_at() };
            let outcome = send(turn.link, turn.ip);
            let is_full = outcome.is_err_and(|error| is_full(&error));
            if is_full && self.full_count < FULL_RETRIES_MAX {
                self.full_count += 1;
                return Some(now + FULL_RETRY);
            }
            self.full_count = 0;
            if !turn.pause.is_zero() {
                self.free_at.insert(turn.lane, now + turn.pause);
            }
            self.advance(place);
        }
        self.next_at().map(|at| at.max(now))
    }

    /// The first burst whose next frame may be sent now, and that frame.
    fn turn(&self, now: Time) -> Option<(usize, Turn)> {
        let turns = self.queue.iter().map(|burst| burst.turn(&self.groups)).enumerate();
        turns
            .filter_map(|(place, turn)| Some((place, turn?)))
            .find(|(_, turn)| self.free_at(turn) <= now)
    }

    /// The frame of this burst is dealt with. After a whole round the others get their turn.
    fn advance(&mut self, place: usize) {
        let Some(burst) = self.queue.get_mut(place) else { return };
        burst.next += 1;
        if burst.next < burst.addresses.len() {
            return;
        }
        burst.next = 0;
        burst.rounds -= 1;
        let left = burst.rounds;
        if let Some(burst) = self.queue.remove(place)
            && left > 0
        {
            self.queue.push_back(burst);
        }
    }

    /// When the first burst may go on; nothing if there is none.
    fn next_at(&self) -> Option<Time> {
        let turns = self.queue.iter().filter_map(|burst| burst.turn(&self.groups));
        turns.map(|turn| self.free_at(&turn)).min()
    }
}

/// The socket's buffer or the interface's queue has no room now.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Announces the addresses of instances.
#[derive(Debug)]
pub struct Announcer {
    socket: Socket,
    bursts: Bursts,
}

impl Announcer {
    /// Opens the packet socket.
    ///
    /// # Errors
    /// The kernel's: root's CAP_NET_RAW is needed.
    pub fn open() -> io::Result<Self> {
        // Protocol 0: it receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, bursts: Bursts::default() })
    }

    /// Takes note of the groups of interfaces that keep pauses of their own.
    pub fn set_groups(&mut self, groups: Vec<Group>) {
        self.bursts.groups = groups;
        self.bursts.free_at.clear();
    }

    /// Queues an announcement of each of these addresses, `rounds` times: a whole round before the
    /// next.
    ///
    /// What still waits for the instance is replaced, but never by fewer rounds.
    pub fn announce(
        &mut self,
        instance: InstanceId,
        addresses: &[(LinkId, IpAddr)],
        rounds: u32,
        pauses: Pauses,
    ) {
        let addresses = addresses.to_vec();
        self.bursts.add(Burst { instance, addresses, next: 0, rounds, pauses });
    }

    /// Does anything still wait for the instance?
    pub fn is_busy(&self, instance: InstanceId) -> bool {
        self.bursts.queue.iter().any(|burst| burst.instance == instance)
    }

    /// Forgets what still waits for the instance.
    pub fn stop(&mut self, instance: InstanceId) {
        self.bursts.remove(instance);
    }

    /// Sends what is due, at most 200 frames, and tells when to be called again: `now` if more is
    /// due already, nothing if nothing waits. Interfaces that are gone are left out.
    pub fn work(&mut self, now: Time, links: &Links) -> Option<Time> {
        let Self { socket, bursts } = self;
        let mut routers = BTreeMap::new();
        let mut is_router =
            |link| *routers.entry(link).or_insert_with(|| forwards_ipv6(links.base_name(link)));
        bursts.work(now, |link, ip| send_to(socket, links, link, ip, &mut is_router))
    }

    /// Announces one address now, past all pauses. A frame that cannot be sent is left out.
    pub fn announce_once(&self, link: LinkId, ip: IpAddr, links: &Links) {
        let mut is_router = |link| forwards_ipv6(links.base_name(link));
        if let Err(error) = send_to(&self.socket, links, link, ip, &mut is_router) {
            log::debug!("announcing {ip} on {}: {error}", links.name(link));
        }
    }
}

fn send_to(
    socket: &Socket,
    links: &Links,
    link: LinkId,
    ip: IpAddr,
    is_router: &mut impl FnMut(LinkId) -> bool,
) -> io::Result<()> {
    let (Some(index), Some(mac)) = (links.index(link), links.mac(link)) else {
        return Ok(());
    };
    let outcome = match ip {
        IpAddr::V4(ip) => send(socket, index, &Garp { mac, ip }),
        IpAddr::V6(ip) => send_v6(socket, index, mac, ip, is_router(link)),
    };
    if let Err(error) = &outcome
        && !is_full(error)
    {
        log::debug!("No announcement on {} of {ip}: {error}", links.name(link));
    }
    outcome
}

fn send(socket: &Socket, index: u32, garp: &Garp) -> io::Result<()> {
    let to = sys::ethernet(index, ETHERTYPE_ARP, BROADCAST);
    socket.send_to(&garp.emit(), &to).map(|_| ())
}

fn send_v6(
    socket: &Socket,
    index: u32,
    mac: [u8; 6],
    ip: Ipv6Addr,
    is_router: bool,
) -> io::Result<()> {
    let frame = Advertisement { mac, ip, is_router }.emit();
    let to = sys::ethernet(index, ETHERTYPE_IPV6, ALL_NODES_MAC);
    socket.send_to(&frame, &to).map(|_| ())
}

/// Is this host a router on the interface, for IPv6? What cannot be read is taken as no.
fn forwards_ipv6(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

/// The `garp_group` blocks, by the places of their interfaces.
pub fn groups(config: &Config) -> Vec<Group> {
    let place = |name: &String| config.spec.links.iter().position(|link| link == name).map(LinkId);
    let groups = config.global.garp_groups.iter();
    groups
        .map(|group| {
            let links = group.interfaces.iter().filter_map(place).collect();
            (links, Pauses { arp: group.interval, na: group.na_interval })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1000);

    fn burst(instance: usize, lasts: &[u8], rounds: u32, interval_ms: u64) -> Burst {
        let addresses = lasts.iter().map(|last| (LinkId(0), [10, 9, 0, *last].into())).collect();
        let arp = Duration::from_millis(interval_ms);
        let pauses = Pauses { arp, ..Pauses::default() };
        Burst { instance: InstanceId(instance), addresses, next: 0, rounds, pauses }
    }

    fn bursts(all: impl IntoIterator<Item = Burst>) -> Bursts {
        let mut bursts = Bursts::default();
        all.into_iter().for_each(|burst| bursts.add(burst));
        bursts
    }

    /// One call, what it sent, and when it wants the next.
    fn work(bursts: &mut Bursts, now: Time) -> (Vec<u8>, Option<Time>) {
        let mut sent = Vec::new();
        let next = bursts.work(now, |_, ip| {
            sent.push(match ip {
                IpAddr::V4(ip) => ip.octets()[3],
                IpAddr::V6(ip) => ip.octets()[15],
            });
            Ok(())
        });
        (sent, next)
    }

    #[test]
    fn a_round_covers_all_addresses_before_the_next() {
        let mut bursts = bursts([burst(0, &[1, 2, 3], 2, 0)]);
        assert_eq!(work(&mut bursts, NOW), (vec![1, 2, 3, 1, 2, 3], None));
        assert_eq!(work(&mut bursts, NOW), (vec![], None));
    }

    #[test]
    fn instances_take_turns_round_by_round() {
        let mut bursts = bursts([burst(0, &[1, 2], 2, 0), burst(1, &[3], 2, 0)]);
        assert_eq!(work(&mut bursts, NOW).0, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn one_call_is_bounded_and_asks_for_another() {
        let mut bursts = bursts([burst(0, &[1; 150], 2, 0)]);
        let (sent, next) = work(&mut bursts, NOW);
        assert_eq!((sent.len(), next), (FRAMES_PER_WORK_MAX, Some(NOW)));
        let (sent, next) = work(&mut bursts, NOW);
        assert_eq!((sent.len(), next), (100, None));
    }

    #[test]
    fn the_interval_is_kept_on_an_interface_across_instances() {
        let mut bursts = bursts([burst(0, &[1], 1, 10), burst(1, &[2], 1, 10)]);
        let later = NOW + Duration::from_millis(10);
        assert_eq!(work(&mut bursts, NOW), (vec![1], Some(later)));
        assert_eq!(work(&mut bursts, NOW), (vec![], Some(later)));
        assert_eq!(work(&mut bursts, later), (vec![2], None));
    }

    #[test]
    fn another_interface_does_not_wait() {
        let mut other = burst(1, &[2], 1, 10);
        other.addresses[0].0 = LinkId(1);
        let mut bursts = bursts([burst(0, &[1, 1], 1, 10), other]);
        assert_eq!(work(&mut bursts, NOW).0, [1, 2]);
    }

    #[test]
    fn a_group_keeps_one_pause_for_all_its_interfaces() {
        let mut other = burst(1, &[2], 1, 0);
        other.addresses[0].0 = LinkId(1);
        let mut third = burst(2, &[3], 1, 10);
        third.addresses[0].0 = LinkId(2);
        let mut bursts = bursts([burst(0, &[1], 1, 0), other, third]);
        let pauses = Pauses { arp: Duration::from_millis(50), ..Pauses::default() };
        bursts.groups = vec![(vec![LinkId(0), LinkId(1)], pauses)];
        let later = NOW + Duration::from_millis(50);
        assert_eq!(work(&mut bursts, NOW), (vec![1, 3], Some(later)));
        assert_eq!(work(&mut bursts, later), (vec![2], None));
    }

    #[test]
    fn each_family_has_its_own_pause() {
        let mut mixed = burst(0, &[1, 2], 2, 10);
        mixed.addresses[1].1 = Ipv6Addr::from(2).into();
        mixed.pauses.na = Duration::from_millis(30);
        let mut bursts = bursts([mixed, burst(1, &[3], 1, 0)]);
        let (arp_at, na_at) = (NOW + Duration::from_millis(10), NOW + Duration::from_millis(30));
        assert_eq!(work(&mut bursts, NOW), (vec![1, 2], Some(arp_at)));
        assert_eq!(work(&mut bursts, arp_at), (vec![3, 1], Some(na_at)));
        assert_eq!(work(&mut bursts, na_at), (vec![2], None));
    }

    #[test]
    fn stopped_and_replaced() {
        let mut bursts = bursts([burst(0, &[1], 5, 0), burst(1, &[2], 5, 0)]);
        bursts.remove(InstanceId(0));
        bursts.add(burst(1, &[3], 1, 0));
        assert_eq!(work(&mut bursts, NOW), (vec![3; 5], None), "never by fewer rounds");
        bursts.add(burst(0, &[], 5, 0));
        bursts.add(burst(0, &[1], 0, 0));
        assert_eq!(work(&mut bursts, NOW), (vec![], None));
    }

    #[test]
    fn a_full_queue_is_tried_again_but_not_for_ever() {
        let mut bursts = bursts([burst(0, &[1], 1, 0)]);
        let mut tries = 0;
        loop {
            tries += 1;
            let full = |_, _| Err(io::ErrorKind::WouldBlock.into());
            match bursts.work(NOW, full) {
                Some(at) => assert_eq!(at, NOW + FULL_RETRY),
                None => break,
            }
        }
        assert_eq!(tries, FULL_RETRIES_MAX + 1);
    }
}
