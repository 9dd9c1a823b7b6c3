//! Other hosts that use our virtual addresses: heard by their ARP, and for IPv6 by their neighbour
//! advertisements and their detection of duplicates (RFC 4861, section 4.4; RFC 4862, section 5.4).

use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::wire::arp::ETHERTYPE_ARP;
use crate::wire::ndp::{ETHERTYPE_IPV6, claimed};

/// The filter's jumps reach no farther; further addresses of a family are not watched.
const ADDRESSES_MAX: usize = 200;
/// So many frames are looked at in one turn of the loop.
const FRAMES_PER_TURN_MAX: usize = 64;
/// Beginning of a frame, with all of a neighbour message but further options.
const FRAME_BYTES_MAX: usize = 128;

/// Hears the packets of others that concern our addresses; the kernel lets little else through.
#[derive(Debug)]
pub struct Watch {
    sockets: Vec<Ear>,
}

/// A socket of one family.
#[derive(Debug)]
struct Ear {
    socket: Socket,
    /// What a frame says.
    read: fn(&[u8]) -> Option<Heard>,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which address they say is theirs.
    pub ip: IpAddr,
    /// Their hardware address.
    pub mac: [u8; 6],
}

impl Watch {
    /// Watches for these addresses, on all interfaces.
    ///
    /// # Errors
    /// The kernel's: CAP_NET_RAW is needed.
    pub fn open(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut numbers = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(ip) => numbers.0.push(ip.to_bits()),
                // The low half of a word decides for the kernel, the whole address afterwards.
                IpAddr::V6(ip) => numbers.1.push(ip.to_bits() as u32),
            }
        }
        numbers.1.sort_unstable();
        numbers.1.dedup();
        let mut sockets = vec![Ear::open(ETHERTYPE_ARP, 28, &numbers.0, sender)?];
        if !numbers.1.is_empty() {
            sockets.push(Ear::open(ETHERTYPE_IPV6, 74, &numbers.1, neighbour)?);
        }
        Ok(Self { sockets })
    }

    /// The descriptors to wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(|ear| ear.socket.as_fd())
    }

    /// What was heard, and whether there may be more.
    pub fn read(&mut self) -> (Vec<Heard>, bool) {
        let mut heard = Vec::new();
        let mut is_more = false;
        for ear in &self.sockets {
            is_more |= ear.read(&mut heard);
        }
        (heard, is_more)
    }
}

impl Ear {
    fn open(
        ethertype: u16,
        at: u32,
        numbers: &[u32],
        read: fn(&[u8]) -> Option<Heard>,
    ) -> io::Result<Self> {
        let protocol = i32::from(ethertype.to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol)))?;
        socket.attach_filter(&filter(ethertype, at, numbers))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, read })
    }

    /// True if there may be more.
    fn read(&self, heard: &mut Vec<Heard>) -> bool {
        let mut frame = [0; FRAME_BYTES_MAX];
        for _ in 0..FRAMES_PER_TURN_MAX {
            match (&self.socket).read(&mut frame) {
                Ok(length) => heard.extend(frame.get(..length).and_then(self.read)),
                Err(_) => return false,
            }
        }
        true
    }
}

/// The sender of an ARP packet for IPv4 on Ethernet: who says that an address is theirs.
fn sender(frame: &[u8]) -> Option<Heard> {
    let mac = frame.get(22..28)?.try_into().ok()?;
    let ip: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    Some(Heard { ip: ip.into(), mac })
}

/// Who says by a neighbour message that an address is theirs.
fn neighbour(frame: &[u8]) -> Option<Heard> {
    let (ip, mac): (Ipv6Addr, _) = claimed(frame)?;
    Some(Heard { ip: ip.into(), mac })
}

/// A program for the kernel: frames of this type with one of these numbers, of four bytes, at this
/// place.
fn filter(ethertype: u16, at: u32, addresses: &[u32]) -> Vec<SockFilter> {
    let addresses = addresses.get(..ADDRESSES_MAX).unwrap_or(addresses);
    let load = |size: u32, at: u32| {
        SockFilter::new((libc::BPF_LD | libc::BPF_ABS | size) as u16, 0, 0, at)
    };
    let equal = |value: u32, yes: usize, no: usize| {
        let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        SockFilter::new(code, yes as u8, no as u8, value)
    };
    let give = |bytes: u32| SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes);
    let count = addresses.len();
    // The last two instructions are: nothing, everything.
    let mut program = vec![load(libc::BPF_H, 12), equal(u32::from(ethertype), 0, count + 1)];
    program.push(load(libc::BPF_W, at));
    for (place, ip) in addresses.iter().enumerate() {
        program.push(equal(*ip, count - place, 0));
    }
    program.extend([give(0), give(u32::MAX)]);
    program
}
