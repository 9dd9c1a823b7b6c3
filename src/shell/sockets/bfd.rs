//! The UDP sockets of BFD (RFC 5881, 4 and 5; RFC 5883, 5): one for each port and family to hear on,
//! and one for each session to send from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::core::Table;
use crate::core::event::Datagram;
use crate::core::spec::{BfdId, BfdSpec};
use crate::wire::bfd::{MULTIHOP_PORT, PORT, SOURCE_PORTS};

/// How many tokens the sockets that hear are registered under.
pub const TOKENS: usize = EARS.len();

/// What is heard: the port, over IPv4 or IPv6.
const EARS: [(u16, bool); 4] =
    [(PORT, true), (PORT, false), (MULTIHOP_PORT, true), (MULTIHOP_PORT, false)];
/// Network control, as for adverts.
const TOS: u32 = 0xc0;
/// So many datagrams of one socket are read in one turn: about as many as its buffer holds.
const PER_TURN_MAX: usize = 1024;
/// A packet has 24 bytes; one that is authenticated, and is discarded, has some more.
const DATAGRAM_BYTES_MAX: usize = 256;

/// What makes a socket of a session the one it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    is_v4: bool,
    source: Option<IpAddr>,
    ttl: u8,
}

impl Way {
    fn of(spec: &BfdSpec) -> Self {
        Self { is_v4: spec.neighbor.is_ipv4(), source: spec.source, ttl: spec.ttl_sent() }
    }
}

/// The sockets that are open.
#[derive(Debug)]
pub struct Sockets {
    ears: [Option<Socket>; TOKENS],
    mouths: BTreeMap<BfdId, (Way, Socket)>,
    base: usize,
    /// The source port that is tried next.
    next_port: u16,
    /// Ears with datagrams that were not read yet.
    unread: BTreeSet<Token>,
    /// What could not be opened, as far as it was said.
    failures: Vec<String>,
}

impl Sockets {
    /// None are open. [`TOKENS`] tokens from `base` on are used to register them.
    pub fn new(base: Token) -> Self {
        Self {
            ears: [const { None }; TOKENS],
            mouths: BTreeMap::new(),
            base: base.0,
            next_port: *SOURCE_PORTS.start(),
            unread: BTreeSet::new(),
            failures: Vec::new(),
        }
    }

    /// Opens what these sessions need, and closes the ears that none of them needs any more. True
    /// if nothing is missing: what could not be opened is said once, and tried again at the next call.
    pub fn sync(&mut self, sessions: &Table<BfdId, BfdSpec>, registry: &Registry) -> bool {
        let mut failures = Vec::new();
        for (place, (port, is_v4)) in EARS.into_iter().enumerate() {
            let is_wanted = sessions.iter().any(|spec| {
                spec.neighbor.is_ipv4() == is_v4 && (port == PORT || spec.is_multihop())
            });
            let Some(ear) = self.ears.get_mut(place) else { continue };
            if !is_wanted {
                // Closing the descriptor takes it out of the poll.
                *ear = None;
            } else if ear.is_none() {
                match open_ear(port, is_v4, Token(self.base + place), registry) {
                    Ok(socket) => *ear = Some(socket),
                    Err(error) => {
                        let family = if is_v4 { "IPv4" } else { "IPv6" };
                        failures.push(format!("BFD is not heard on {family} port {port}: {error}"));
                    }
                }
            }
        }
        for (id, spec) in sessions.entries() {
            let way = Way::of(spec);
            if self.mouths.get(&id).is_some_and(|(open, _)| *open == way) {
                continue;
            }
            match self.open_mouth(way) {
                Ok(socket) => drop(self.mouths.insert(id, (way, socket))),
                Err(error) => {
                    failures.push(format!("BFD instance {} cannot send: {error}", spec.name));
                }
            }
        }
        for failure in failures.iter().filter(|failure| !self.failures.contains(failure)) {
            log::error!("{failure}; it is tried again");
        }
        self.failures = failures;
        self.failures.is_empty()
    }

    /// Closes what sessions sent from that are not there any more, once their last packet is out.
    pub fn sweep(&mut self, is_there: impl Fn(BfdId) -> bool) {
        self.mouths.retain(|id, _| is_there(*id));
    }

    /// A source port that is free on this host; each session has its own, for as long as it lasts
    /// (RFC 5881, 4).
    fn open_mouth(&mut self, way: Way) -> io::Result<Socket> {
        let any: IpAddr =
            if way.is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let source = way.source.unwrap_or(any);
        let domain = if way.is_v4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // An own address may come later, or come back.
        if way.is_v4 {
            socket.set_freebind_v4(true)?;
            socket.set_ttl_v4(way.ttl.into())?;
            socket.set_tos_v4(TOS)?;
        } else {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(way.ttl.into())?;
            setsockopt(&socket, sockopt::Ipv6TClass, &(TOS as libc::c_int))?;
        }
        for _ in SOURCE_PORTS {
            let port = self.next_port;
            self.next_port =
                if port == *SOURCE_PORTS.end() { *SOURCE_PORTS.start() } else { port + 1 };
            match socket.bind(&SocketAddr::new(source, port).into()) {
                Ok(()) => return Ok(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Sends a packet of a session.
    ///
    /// # Errors
    /// NotConnected if the session has no socket; otherwise the kernel's.
    pub fn send(&self, id: BfdId, to: IpAddr, port: u16, bytes: &[u8]) -> io::Result<()> {
        let (_, socket) = self.mouths.get(&id).ok_or(io::ErrorKind::NotConnected)?;
        socket.send_to(bytes, &SocketAddr::new(to, port).into()).map(|_| ())
    }

    /// Must the loop go on at once? What is left of a flood waits for the next turn.
    pub fn is_urgent(&self) -> bool {
        !self.unread.is_empty()
    }

    /// The datagrams that wait, those of these tokens and what was left of the last turn.
    #[must_use]
    pub fn read(&mut self, tokens: &[Token]) -> Vec<Datagram> {
        let mut unread = std::mem::take(&mut self.unread);
        unread.extend(tokens);
        let mut all = Vec::new();
        for token in unread {
            let last = all.len() + PER_TURN_MAX;
            loop {
                match self.receive(token) {
                    Ok(Some(datagram)) => all.push(datagram),
                    Ok(None) => break,
                    Err(error) => {
                        log::debug!("receiving BFD: {error}");
                        break;
                    }
                }
                if all.len() >= last {
                    self.unread.insert(token);
                    break;
                }
            }
        }
        all
    }

    /// The next datagram of the socket that has this token; nothing if none waits.
    fn receive(&self, token: Token) -> io::Result<Option<Datagram>> {
        let place = token.0.wrapping_sub(self.base);
        let (Some(Some(ear)), Some(&(port, _))) = (self.ears.get(place), EARS.get(place)) else {
            return Ok(None);
        };
        match receive(ear, port) {
            Ok(datagram) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn open_ear(port: u16, is_v4: bool, token: Token, registry: &Registry) -> io::Result<Socket> {
    let domain = if is_v4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let any: IpAddr = if is_v4 {
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        Ipv6Addr::UNSPECIFIED.into()
    };
    socket.bind(&SocketAddr::new(any, port).into())?;
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
    Ok(socket)
}

fn receive(socket: &Socket, port: u16) -> io::Result<Datagram> {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let mut control = cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo, libc::c_int);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_raw_fd();
    let got = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)?;
    let (mut destination, mut ttl): (Option<IpAddr>, _) = (None, None);
    for message in got.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                destination = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            ControlMessageOwned::Ipv4Ttl(limit) | ControlMessageOwned::Ipv6HopLimit(limit) => {
                ttl = u8::try_from(limit).ok();
            }
            _ => {}
        }
    }
    let source: Option<IpAddr> = got.address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    });
    let length = got.bytes;
    let (Some(source), Some(destination), Some(ttl)) = (source, destination, ttl) else {
        return Err(io::Error::other("the kernel did not tell the header of a BFD packet"));
    };
    let bytes = buffer.get(..length).unwrap_or_default().to_vec();
    Ok(Datagram { source, destination, ttl, port, bytes })
}
