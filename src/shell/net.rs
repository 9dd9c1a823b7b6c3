//! The sockets that adverts are sent and heard on.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::link::Links;
use crate::core::spec::LinkId;

/// The IP protocol number of VRRP.
const VRRP: i32 = 112;
/// Room for some 5,000 adverts: a daemon that was stalled must find those of the living master.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Type of service of the socket, as keepalived sets it; that of a packet is in its own header.
const TOS: u32 = 0xc0;

type Group = (LinkId, Ipv4Addr);

#[derive(Debug)]
struct Receiver {
    socket: Socket,
    index: u32,
    token: Token,
}

#[derive(Debug)]
struct Sender {
    socket: Socket,
    index: u32,
}

/// A socket that could not be opened.
#[derive(Debug)]
pub struct Failure {
    /// On which interface.
    pub link: LinkId,
    /// For which group.
    pub group: Ipv4Addr,
    /// Why.
    pub error: io::Error,
}

/// A receiving socket for each interface and group, and a sending one for each interface.
#[derive(Debug)]
pub struct Ports {
    receivers: BTreeMap<Group, Receiver>,
    senders: BTreeMap<LinkId, Sender>,
    base: usize,
}

impl Ports {
    /// No ports yet. Tokens from `base` on are used to register them, as many as there are groups;
    /// nothing else may use those.
    pub fn new(base: Token) -> Self {
        Self { receivers: BTreeMap::new(), senders: BTreeMap::new(), base: base.0 }
    }

    /// Opens what is wanted and not open, closes what is not wanted, or not possible any more: a
    /// socket stays bound to the interface it was opened on, not to its name.
    ///
    /// Returns what could not be opened. It is tried again at the next call, so call it whenever an
    /// interface has changed.
    pub fn sync(&mut self, links: &Links, wanted: &[Group], registry: &Registry) -> Vec<Failure> {
        self.close(links, wanted, registry);
        let mut failures = Vec::new();
        for (link, group) in wanted {
            if let Some(index) = links.index(*link)
                && let Err(error) = self.open(*link, *group, index, links.name(*link), registry)
            {
                failures.push(Failure { link: *link, group: *group, error });
            }
        }
        failures
    }

    fn close(&mut self, links: &Links, wanted: &[Group], registry: &Registry) {
        self.receivers.retain(|key, receiver| {
            let keep = wanted.contains(key) && links.index(key.0) == Some(receiver.index);
            if !keep {
                // Closing the descriptor would do; the error would change nothing.
                let _ = registry.deregister(&mut SourceFd(&receiver.socket.as_raw_fd()));
            }
            keep
        });
        self.senders.retain(|link, sender| {
            wanted.iter().any(|(wanted, _)| wanted == link)
                && links.index(*link) == Some(sender.index)
        });
    }

    fn open(
        &mut self,
        link: LinkId,
        group: Ipv4Addr,
        index: u32,
        name: &str,
        registry: &Registry,
    ) -> io::Result<()> {
        if let Entry::Vacant(place) = self.senders.entry(link) {
            place.insert(Sender { socket: open_sender(name)?, index });
        }
        if !self.receivers.contains_key(&(link, group)) {
            let token = self.free_token();
            let socket = open_receiver(name, index, group)?;
            registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
            self.receivers.insert((link, group), Receiver { socket, index, token });
        }
        Ok(())
    }

    fn free_token(&self) -> Token {
        let mut token = Token(self.base);
        while self.receivers.values().any(|receiver| receiver.token == token) {
            token.0 += 1;
        }
        token
    }

    /// The interface whose socket has this token.
    pub fn link(&self, token: Token) -> Option<LinkId> {
        let mut all = self.receivers.iter();
        all.find(|(_, receiver)| receiver.token == token).map(|((link, _), _)| *link)
    }

    /// Is there a socket for this group on this interface?
    pub fn is_open(&self, link: LinkId, group: Ipv4Addr) -> bool {
        self.receivers.contains_key(&(link, group)) && self.senders.contains_key(&link)
    }

    fn receivers_of(&self, link: LinkId) -> impl Iterator<Item = &Receiver> {
        let of_link = (link, Ipv4Addr::UNSPECIFIED)..=(link, Ipv4Addr::BROADCAST);
        self.receivers.range(of_link).map(|(_, receiver)| receiver)
    }

    /// Receives the next packet, from its IP header on, that waits at an interface; nothing if none
    /// does. A longer packet than `buffer` is cut off.
    ///
    /// # Errors
    /// What the socket reports; the next call may succeed.
    pub fn recv(&self, link: LinkId, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        for receiver in self.receivers_of(link) {
            match (&receiver.socket).read(buffer) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Makes the sockets of an interface report their readiness again, which mio otherwise tells
    /// only once: for a caller that has stopped before [`Ports::recv`] returned nothing.
    pub fn rearm(&self, link: LinkId, registry: &Registry) -> io::Result<()> {
        for receiver in self.receivers_of(link) {
            let fd = receiver.socket.as_raw_fd();
            registry.reregister(&mut SourceFd(&fd), receiver.token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Sends a whole IPv4 packet to a group. The kernel fills in its total length and header
    /// checksum.
    ///
    /// # Errors
    /// NotConnected if the interface has no socket; otherwise the kernel's.
    pub fn send(&self, link: LinkId, group: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        let sender = self.senders.get(&link).ok_or(io::ErrorKind::NotConnected)?;
        let to = SocketAddrV4::new(group, 0).into();
        sender.socket.send_to_with_flags(packet, &to, libc::MSG_DONTROUTE).map(|_| ())
    }
}

/// A socket that receives what is sent to the group and arrives at the interface, nothing else.
fn open_receiver(name: &str, index: u32, group: Ipv4Addr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP)))?;
    // A raw socket receives from the moment it exists. Until it is bound, let nothing in, and
    // then throw away what came before the filter.
    socket.attach_filter(&[SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)])?;
    socket.set_nonblocking(true)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    socket.bind_device(Some(name.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(group, 0).into())?;
    // Otherwise groups that another process has joined would be heard too.
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
    while (&socket).read(&mut [0]).is_ok() {}
    socket.detach_filter()?;
    Ok(socket)
}

/// A socket that sends whole packets out of the interface.
///
/// Being bound to it, it needs no IP_MULTICAST_IF. IPPROTO_RAW, because one of protocol 112 would
/// receive a copy of every advert.
fn open_sender(name: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    socket.set_nonblocking(true)?;
    socket.set_header_included_v4(true)?;
    socket.bind_device(Some(name.as_bytes()))?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_tos_v4(TOS)?;
    Ok(socket)
}
