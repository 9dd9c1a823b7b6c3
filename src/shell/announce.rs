//! Gratuitous ARP, in bursts that are spread over as many calls as they need.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::link::Links;
use super::sys;
use crate::core::Time;
use crate::core::spec::{InstanceId, LinkId};
use crate::wire::arp::{ETHERTYPE_ARP, Garp};

/// Frames sent in one call of [`Announcer::work`].
const FRAMES_PER_WORK_MAX: usize = 200;
/// Wait when the socket's send buffer is full.
const FULL_RETRY: Duration = Duration::from_millis(1);
/// Such waits in a row, after which the frame is given up.
const FULL_RETRIES_MAX: u32 = 100;

/// What is left to announce for one instance.
#[derive(Debug)]
struct Burst {
    instance: InstanceId,
    addresses: Vec<(LinkId, Ipv4Addr)>,
    /// The next of them in this round.
    next: usize,
    /// Rounds that are left, this one included.
    rounds: u32,
    interval: Duration,
}

/// One frame of a burst.
#[derive(Clone, Copy, Debug)]
struct Turn {
    link: LinkId,
    ip: Ipv4Addr,
    interval: Duration,
}

impl Burst {
    fn turn(&self) -> Option<Turn> {
        let (link, ip) = *self.addresses.get(self.next)?;
        Some(Turn { link, ip, interval: self.interval })
    }
}

/// The bursts, in the order of their turns.
#[derive(Debug, Default)]
struct Bursts {
    queue: VecDeque<Burst>,
    /// When an interface may send again, if its last frame asked for a pause.
    free_at: BTreeMap<LinkId, Time>,
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

    /// When the link may send again.
    fn free_at(&self, link: LinkId) -> Time {
        self.free_at.get(&link).copied().unwrap_or(Time::ZERO)
    }

    /// Hands at most [`FRAMES_PER_WORK_MAX`] announcements to `send`, and tells when it wants to be
    /// called again. A send that would block is tried again later; another failure is not.
    fn work(
        &mut self,
        now: Time,
        mut send: impl FnMut(LinkId, Ipv4Addr) -> io::Result<()>,
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
            if !turn.interval.is_zero() {
                self.free_at.insert(turn.link, now + turn.interval);
            }
            self.advance(place);
        }
        self.next_at().map(|at| at.max(now))
    }

    /// The first burst whose next frame may be sent now, and that frame.
    fn turn(&self, now: Time) -> Option<(usize, Turn)> {
        let turns = self.queue.iter().map(Burst::turn).enumerate();
        turns
            .filter_map(|(place, turn)| Some((place, turn?)))
            .find(|(_, turn)| self.free_at(turn.link) <= now)
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
        self.queue.iter().filter_map(Burst::turn).map(|turn| self.free_at(turn.link)).min()
    }
}

/// The socket's buffer or the interface's queue has no room now.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Sends gratuitous ARP for the addresses of instances.
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

    /// Queues an announcement of each of these addresses, `rounds` times: a whole round before the
    /// next, with a pause of `interval` between two frames on an interface.
    ///
    /// What still waits for the instance is replaced, but never by fewer rounds.
    pub fn announce(
        &mut self,
        instance: InstanceId,
        addresses: &[(LinkId, Ipv4Addr)],
        rounds: u32,
        interval: Duration,
    ) {
        let addresses = addresses.to_vec();
        self.bursts.add(Burst { instance, addresses, next: 0, rounds, interval });
    }

    /// Forgets what still waits for the instance.
    pub fn stop(&mut self, instance: InstanceId) {
        self.bursts.remove(instance);
    }

    /// Sends what is due, at most 200 frames, and tells when to be called again: `now` if more is
    /// due already, nothing if nothing waits. Interfaces that are gone are left out.
    pub fn work(&mut self, now: Time, links: &Links) -> Option<Time> {
        let Self { socket, bursts } = self;
        bursts.work(now, |link, ip| send(socket, links, link, ip))
    }
}

fn send(socket: &Socket, links: &Links, link: LinkId, ip: Ipv4Addr) -> io::Result<()> {
    let (Some(index), Some(mac)) = (links.index(link), links.mac(link)) else { return Ok(()) };
    let frame = Garp { mac, ip }.emit();
    let outcome = socket.send_to(&frame, &sys::ethernet_broadcast(index, ETHERTYPE_ARP));
    if let Err(error) = &outcome
        && !is_full(error)
    {
        log::debug!("No gratuitous ARP on {} for {ip}: {error}", links.name(link));
    }
    outcome.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1000);

    fn burst(instance: usize, lasts: &[u8], rounds: u32, interval_ms: u64) -> Burst {
        let addresses =
            lasts.iter().map(|last| (LinkId(0), Ipv4Addr::new(10, 9, 0, *last))).collect();
        let interval = Duration::from_millis(interval_ms);
        Burst { instance: InstanceId(instance), addresses, next: 0, rounds, interval }
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
            sent.push(ip.octets()[3]);
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
