//! Other hosts that use our virtual addresses: heard by their ARP.

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::wire::arp::ETHERTYPE_ARP;

/// The filter's jumps reach no farther; further addresses are not watched.
const ADDRESSES_MAX: usize = 200;
/// So many frames are looked at in one turn of the loop.
const FRAMES_PER_TURN_MAX: usize = 64;

/// Hears the ARP of others that concerns our addresses; the kernel lets nothing else through.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which address they say is theirs.
    pub ip: Ipv4Addr,
    /// Their hardware address.
    pub mac: [u8; 6],
}

impl Watch {
    /// Watches for these addresses, on all interfaces.
    ///
    /// # Errors
    /// The kernel's: CAP_NET_RAW is needed.
    pub fn open(addresses: &[Ipv4Addr]) -> io::Result<Self> {
        let protocol = i32::from(ETHERTYPE_ARP.to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol)))?;
        socket.attach_filter(&filter(addresses))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// The descriptor to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What was heard, and whether there may be more.
    pub fn read(&mut self) -> (Vec<Heard>, bool) {
        let mut heard = Vec::new();
        let mut frame = [0; 64];
        for _ in 0..FRAMES_PER_TURN_MAX {
            match (&self.socket).read(&mut frame) {
                Ok(length) => heard.extend(frame.get(..length).and_then(sender)),
                Err(_) => return (heard, false),
            }
        }
        (heard, true)
    }
}

/// The sender of an ARP packet for IPv4 on Ethernet: who says that an address is theirs.
fn sender(frame: &[u8]) -> Option<Heard> {
    let mac = frame.get(22..28)?.try_into().ok()?;
    let ip: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    Some(Heard { ip: ip.into(), mac })
}

/// A program for the kernel: ARP whose sender address is one of these.
fn filter(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
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
    let mut program = vec![load(libc::BPF_H, 12), equal(u32::from(ETHERTYPE_ARP), 0, count + 1)];
    program.push(load(libc::BPF_W, 28));
    for (place, ip) in addresses.iter().enumerate() {
        program.push(equal(u32::from(*ip), count - place, 0));
    }
    program.extend([give(0), give(u32::MAX)]);
    program
}
