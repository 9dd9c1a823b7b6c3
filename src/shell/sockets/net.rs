//! The sockets that adverts are sent and heard on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, recvmmsg,
    recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use crate::core::event::Received;
use crate::core::spec::{Family, LinkId};
use crate::shell::host::sys;
use crate::shell::kernel::link::Links;
use crate::shell::sockets::vmac_receive;

/// The IP protocol number of VRRP.
const VRRP: i32 = 112;
/// Room for some 5,000 adverts: a daemon that was stalled must find those of the living master.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Type of service, as keepalived sets it; that of an IPv4 packet is in its own header.
const TOS: u32 = 0xc0;
/// Hop limit of adverts to an IPv6 group.
const GROUP_HOP_LIMIT: u32 = 255;
/// Where the checksum is in a VRRP message.
const CHECKSUM_OFFSET: i32 = 6;

/// What adverts are heard for: those that arrive at the interface, sent to this address, of this IP
/// protocol. The address is a group, or the own source address of an instance with unicast peers;
/// the protocol is VRRP's, or that of authentication headers.
pub type Want = (LinkId, IpAddr, u8);

#[derive(Debug)]
struct Receiver {
    socket: Socket,
    index: u32,
    /// Its token, from the base on.
    place: usize,
}

#[derive(Debug)]
struct Sender {
    socket: Socket,
    index: u32,
}

/// A socket that could not be opened.
#[derive(Debug)]
pub struct Failure {
    /// For what.
    pub want: Want,
    /// Why.
    pub error: io::Error,
}

/// What was read from a socket at a time.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// So many packets, whether they are for us or not.
    pub count: usize,
    /// Nothing waits any more.
    pub is_last: bool,
}

/// So many packets are read with one system call, where that is possible: fewer are the last.
const BATCH_MAX: usize = 8;
/// The longest packet worth reading: 255 addresses and all headers.
const PACKET_BYTES_MAX: usize = 2048;

/// A receiving socket for each interface and address, and a sending one for each interface and
/// family.
#[derive(Debug)]
pub struct Ports {
    receivers: BTreeMap<Want, Receiver>,
    senders: BTreeMap<(LinkId, Family), Sender>,
    /// Interfaces with a virtual MAC address.
    vmacs: BTreeSet<LinkId>,
    base: usize,
    /// What each token from the base on is used for.
    tokens: Vec<Option<Want>>,
    buffers: Box<[[u8; PACKET_BYTES_MAX]; BATCH_MAX]>,
}

impl Ports {
    /// No ports yet. Tokens from `base` on are used to register them, as many as there are wants;
    /// nothing else may use those.
    pub fn new(base: Token) -> Self {
        Self {
            receivers: BTreeMap::new(),
            senders: BTreeMap::new(),
            vmacs: BTreeSet::new(),
            base: base.0,
            tokens: Vec::new(),
            buffers: Box::new([[0; PACKET_BYTES_MAX]; BATCH_MAX]),
        }
    }

    /// Says which interfaces have a virtual MAC address; to be called before anything is opened
    /// on them. What arrives there is heard without joining a group, and what is sent there over
    /// IPv6 may have an address of the interface below.
    pub fn set_vmacs(&mut self, vmacs: BTreeSet<LinkId>) {
        self.vmacs = vmacs;
    }

    /// Opens what is wanted and not open, closes what is not wanted, or not possible any more: a
    /// socket stays bound to the interface it was opened on, not to its name.
    ///
    /// Returns what could not be opened. It is tried again at the next call, so call it whenever an
    /// interface has changed. (An own address need not be there yet.)
    pub fn sync(
        &mut self,
        links: &Links,
        wanted: &BTreeSet<Want>,
        registry: &Registry,
    ) -> Vec<Failure> {
        self.close(links, wanted, registry);
        let mut failures = Vec::new();
        for &want in wanted {
            let (link, ..) = want;
            if let Some(index) = links.index(link)
                && let Err(error) = self.open(want, index, links.name(link), registry)
            {
                failures.push(Failure { want, error });
            }
        }
        failures
    }

    fn close(&mut self, links: &Links, wanted: &BTreeSet<Want>, registry: &Registry) {
        self.receivers.retain(|want, receiver| {
            let keep = wanted.contains(want) && links.index(want.0) == Some(receiver.index);
            if !keep {
                // Closing the descriptor would do; the error would change nothing.
                let _ = registry.deregister(&mut SourceFd(&receiver.socket.as_raw_fd()));
                if let Some(place) = self.tokens.get_mut(receiver.place) {
                    *place = None;
                }
            }
            keep
        });
        let needed: BTreeSet<_> = wanted.iter().map(|(link, ip, _)| (*link, family(*ip))).collect();
        self.senders.retain(|place, sender| {
            needed.contains(place) && links.index(place.0) == Some(sender.index)
        });
    }

    fn open(&mut self, want: Want, index: u32, name: &str, registry: &Registry) -> io::Result<()> {
        let (link, address, protocol) = want;
        let is_vmac = self.vmacs.contains(&link);
        if let Entry::Vacant(place) = self.senders.entry((link, family(address))) {
            let socket = match family(address) {
                Family::V4 => open_sender_v4(name)?,
                Family::V6 => open_sender_v6(name)?,
            };
            if is_vmac && address.is_ipv6() {
                socket.set_freebind_v6(true)?;
            }
            place.insert(Sender { socket, index });
        }
        if !self.receivers.contains_key(&want) {
            let place = self.tokens.iter().position(Option::is_none).unwrap_or(self.tokens.len());
            let socket = if is_vmac {
                vmac_receive::open(index, address, protocol)?
            } else {
                open_receiver(name, index, address, protocol)?
            };
            if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
                socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
            }
            let token = Token(self.base + place);
            registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
            self.tokens.resize(self.tokens.len().max(place + 1), None);
            self.tokens[place] = Some(want);
            self.receivers.insert(want, Receiver { socket, index, place });
        }
        Ok(())
    }

    /// What is heard on the socket that has this token.
    pub fn want(&self, token: Token) -> Option<Want> {
        *self.tokens.get(token.0.checked_sub(self.base)?)?
    }

    /// Is everything open that this needs?
    pub fn is_open(&self, want: Want) -> bool {
        let sender = (want.0, family(want.1));
        self.receivers.contains_key(&want) && self.senders.contains_key(&sender)
    }

    /// Takes the next packets that wait on a socket, what is longer than any advert cut off. One socket
    /// after the other: a flood on one must not hide the other family's adverts.
    ///
    /// # Errors
    /// What the socket reports; the next call may succeed.
    pub fn receive(&mut self, want: Want, take: impl FnMut(Received)) -> io::Result<Batch> {
        let (link, address, _) = want;
        let nothing = Batch { count: 0, is_last: true };
        let Some(Receiver { socket, .. }) = self.receivers.get(&want) else {
            return Ok(nothing);
        };
        let [buffer, ..] = &mut *self.buffers;
        let outcome = if self.vmacs.contains(&link) {
            vmac_receive::receive(socket, address, buffer)
        } else if family(address) == Family::V6 {
            recv_v6(socket, buffer).map(Some)
        } else {
            return match recv_v4(socket, &mut self.buffers, take) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(nothing),
                outcome => outcome,
            };
        };
        match outcome {
            Ok(packet) => {
                packet.into_iter().for_each(take);
                Ok(Batch { count: 1, is_last: false })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(nothing),
            Err(error) => Err(error),
        }
    }

    /// Sends an advert out of an interface, to a group or a node.
    ///
    /// Over IPv4 `bytes` is the whole packet, whose total length and header checksum the kernel
    /// fills in. Over IPv6 it is the message, whose checksum the kernel fills in; `source` has to be
    /// an address of this host, and `hop_limit` counts for a node (otherwise the kernel's).
    ///
    /// # Errors
    /// NotConnected if the interface has no socket, InvalidInput if the addresses are not of one
    /// family; otherwise the kernel's.
    pub fn send(
        &self,
        link: LinkId,
        (source, to): (IpAddr, IpAddr),
        hop_limit: Option<u8>,
        bytes: &[u8],
    ) -> io::Result<()> {
        let sender = self.senders.get(&(link, family(to))).ok_or(io::ErrorKind::NotConnected)?;
        match (source, to) {
            (IpAddr::V4(_), IpAddr::V4(to)) => send_v4(&sender.socket, to, bytes),
            (IpAddr::V6(source), IpAddr::V6(to)) => {
                let hop_limit = hop_limit.filter(|_| !to.is_multicast());
                send_v6(sender, source, to, hop_limit, bytes)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

const fn family(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// Several at a time: where fewer wait than asked for, nobody has to look whether there are more.
fn recv_v4(
    socket: &Socket,
    buffers: &mut [[u8; PACKET_BYTES_MAX]; BATCH_MAX],
    mut take: impl FnMut(Received),
) -> io::Result<Batch> {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH_MAX, None);
    let mut parts = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
    let flags = MsgFlags::MSG_DONTWAIT;
    let got = recvmmsg(socket.as_raw_fd(), &mut headers, &mut parts, flags, None)?;
    let mut count = 0;
    for packet in got {
        count += 1;
        take(Received::V4(packet.iovs().next().unwrap_or_default().to_vec()));
    }
    Ok(Batch { count, is_last: count < BATCH_MAX })
}

/// The header is not handed over with the message; what is needed of it comes along.
fn recv_v6(socket: &Socket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = cmsg_space!(libc::in6_pktinfo, libc::c_int);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_raw_fd();
    let got = recvmsg::<SockaddrIn6>(fd, &mut parts, Some(&mut control), flags)?;
    let mut destination = None;
    let mut hop_limit = None;
    for message in got.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
            _ => {}
        }
    }
    let source = got.address.map(|address| address.ip());
    let length = got.bytes;
    let (Some(source), Some(destination), Some(hop_limit)) = (source, destination, hop_limit)
    else {
        return Err(io::Error::other("the kernel did not tell the header of an IPv6 packet"));
    };
    let message = buffer.get(..length).unwrap_or_default().to_vec();
    Ok(Received::V6 { message, source, destination, hop_limit })
}

/// A group is never further away than the link; the way to a node is the routing table's affair.
fn send_v4(socket: &Socket, to: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
    let flags = if to.is_multicast() { libc::MSG_DONTROUTE } else { 0 };
    socket.send_to_with_flags(packet, &SocketAddrV4::new(to, 0).into(), flags).map(|_| ())
}

fn send_v6(
    sender: &Sender,
    source: Ipv6Addr,
    to: Ipv6Addr,
    hop_limit: Option<u8>,
    message: &[u8],
) -> io::Result<()> {
    let info = libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
        ipi6_ifindex: sender.index,
    };
    let limit = hop_limit.map(libc::c_int::from);
    let mut control = vec![ControlMessage::Ipv6PacketInfo(&info)];
    control.extend(limit.as_ref().map(ControlMessage::Ipv6HopLimit));
    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, scope_id(to, sender.index)));
    let (fd, parts) = (sender.socket.as_raw_fd(), [IoSlice::new(message)]);
    sendmsg(fd, &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}

/// An address of the link means nothing without the link.
fn scope_id(ip: Ipv6Addr, index: u32) -> u32 {
    if ip.is_unicast_link_local() || ip.is_multicast() { index } else { 0 }
}

/// A socket that receives what of the protocol is sent to the address and arrives at the interface,
/// nothing else.
fn open_receiver(name: &str, index: u32, address: IpAddr, protocol: u8) -> io::Result<Socket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
    // A raw socket receives from the moment it exists. Until it is bound, let nothing in, and
    // then throw away what came before the filter.
    close_ears(&socket)?;
    socket.set_nonblocking(true)?;
    bind_device(&socket, name)?;
    match address {
        IpAddr::V4(ip) => aim_v4(&socket, index, ip)?,
        IpAddr::V6(ip) => aim_v6(&socket, index, ip)?,
    }
    while (&socket).read(&mut [0]).is_ok() {}
    socket.detach_filter()?;
    Ok(socket)
}

fn aim_v4(socket: &Socket, index: u32, ip: Ipv4Addr) -> io::Result<()> {
    // An own address may come later, or come back.
    socket.set_freebind_v4(true)?;
    socket.bind(&SocketAddrV4::new(ip, 0).into())?;
    // Otherwise groups that another process has joined would be heard too.
    socket.set_multicast_all_v4(false)?;
    if ip.is_multicast() {
        socket.join_multicast_v4_n(&ip, &InterfaceIndexOrAddress::Index(index))?;
    }
    Ok(())
}

fn aim_v6(socket: &Socket, index: u32, ip: Ipv6Addr) -> io::Result<()> {
    socket.set_freebind_v6(true)?;
    let to = SocketAddrV6::new(ip, 0, 0, scope_id(ip, index));
    socket.bind(&SocketAddr::V6(to).into())?;
    socket.set_multicast_all_v6(false)?;
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true)?;
    sys::set_ipv6_checksum(socket.as_fd(), CHECKSUM_OFFSET)?;
    if ip.is_multicast() {
        socket.join_multicast_v6(&ip, index)?;
    }
    Ok(())
}

/// Binds to an interface, if it is one.
fn bind_device(socket: &Socket, name: &str) -> io::Result<()> {
    if name.is_empty() { Ok(()) } else { socket.bind_device(Some(name.as_bytes())) }
}

/// Lets nothing in any more.
fn close_ears(socket: &Socket) -> io::Result<()> {
    socket.attach_filter(&[SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0)])
}

/// A socket that sends whole packets out of the interface.
///
/// Being bound to it, it needs no IP_MULTICAST_IF. IPPROTO_RAW, because one of protocol 112 would
/// receive a copy of every advert.
fn open_sender_v4(name: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    socket.set_nonblocking(true)?;
    socket.set_header_included_v4(true)?;
    bind_device(&socket, name)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_tos_v4(TOS)?;
    Ok(socket)
}

/// A socket that sends messages out of the interface. Protocol 112, because IPPROTO_RAW would want
/// whole packets, with a checksum.
fn open_sender_v6(name: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(VRRP)))?;
    close_ears(&socket)?;
    socket.set_nonblocking(true)?;
    bind_device(&socket, name)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_hops_v6(GROUP_HOP_LIMIT)?;
    setsockopt(&socket, sockopt::Ipv6TClass, &(TOS as libc::c_int))?;
    sys::set_ipv6_checksum(socket.as_fd(), CHECKSUM_OFFSET)?;
    Ok(socket)
}
