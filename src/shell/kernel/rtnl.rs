//! rtnetlink: a socket, and the few messages glha needs as values.
//!
//! Of each message only the attributes that are used are read: one that a newer kernel added or
//! changed must not cost us the state of an interface.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    ErrorBuffer, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_OVERRUN, NetlinkBuffer, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::address::{AddressFlags, AddressHeader, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::route::{RouteFlags, RouteHeader};
use netlink_packet_route::rule::RuleHeader;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{
    AddressFamily as Family, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind,
    recvmsg, send, setsockopt, socket, sockopt,
};

use crate::conf::route::{Net, PROTOCOL};

/// Multicast groups of changes to links and to addresses (RTMGRP_LINK, RTMGRP_IPV4_IFADDR,
/// RTMGRP_IPV6_IFADDR).
pub const CHANGES: u32 = 0x01 | 0x10 | 0x100;
/// Those of changes to routes and rules (RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE, RTMGRP_IPV6_ROUTE,
/// and RTNLGRP_IPV6_RULE, which is number 19). A router may have many of them.
pub const ROUTES: u32 = 0x40 | 0x80 | 0x400 | 1 << 18;

/// Larger than any datagram that the kernel makes (32 KiB for a dump).
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Room for some 5,000 notifications while the daemon is stalled.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Attempts at a dump that is not disturbed by a change in its middle.
const DUMP_ATTEMPTS_MAX: usize = 10;

// rtnetlink(7)
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_DELROUTE: u16 = 25;
const RTM_DELRULE: u16 = 33;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_PRIVATE: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const RTA_DST: u16 = 1;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const FRA_PRIORITY: u16 = 6;

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address itself (IFA_LOCAL).
    pub ip: IpAddr,
    /// The other end of a point-to-point link, otherwise the address itself (IFA_ADDRESS).
    pub peer: IpAddr,
    /// Length of its prefix, 0 to 32 or 128.
    pub prefix_len: u8,
    /// Its scope, as the kernel's number.
    pub scope: u8,
    /// IPv4: another address of the same subnet was there first.
    pub secondary: bool,
    /// Nothing can be sent from it: duplicate address detection (IPv6) is under way without the
    /// optimism of RFC 4429, or has found another owner.
    pub tentative: bool,
}

/// An interface on top of another one: with a MAC address of its own, or an IPVLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macvlan {
    /// The number of the interface below, if that is in the same network namespace.
    pub base: Option<u32>,
    /// It is in private mode: it exchanges nothing with its like on the same interface.
    pub is_private: bool,
    /// It is an IPVLAN.
    pub is_ipvlan: bool,
}

/// What the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An interface is new or has changed.
    Link {
        /// Its number, which is never given twice while the interface exists.
        index: u32,
        /// Its name.
        name: String,
        /// It is up and running (IFF_UP and IFF_RUNNING).
        up: bool,
        /// Its hardware address, if that has six bytes.
        mac: Option<[u8; 6]>,
        /// The longest packet it carries, in bytes.
        mtu: u32,
        /// What it stands on, if it is a macvlan.
        macvlan: Option<Macvlan>,
    },
    /// An interface is gone.
    LinkGone {
        /// Its number.
        index: u32,
    },
    /// An address is new or has changed.
    Address {
        /// The number of its interface.
        index: u32,
        /// The address.
        address: Address,
    },
    /// An address is gone.
    AddressGone {
        /// The number of its interface.
        index: u32,
        /// The address.
        address: Address,
    },
    /// A route or a rule is gone.
    RouteGone(Gone),
    /// The answer to a request.
    Answer {
        /// The request's number.
        sequence: u32,
        /// The kernel's error number, 0 for success.
        errno: i32,
    },
    /// A dump is complete.
    Done {
        /// The kernel's error number, 0 for success.
        errno: i32,
    },
    /// Something changed while a dump ran, so it may contradict itself.
    Interrupted,
    /// Messages were lost.
    Overrun,
}

/// Something that is gone from the kernel's tables: enough of it to tell whether it may be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A route of keepalived's protocol.
    Route {
        /// IPv6.
        is_v6: bool,
        /// Where it led to.
        destination: Net,
        /// Its table.
        table: u32,
        /// Its metric.
        metric: u32,
        /// Its type.
        kind: u8,
    },
    /// A rule.
    Rule {
        /// IPv6.
        is_v6: bool,
        /// Its priority.
        priority: u32,
    },
}

/// What shall become of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It shall be on its interface.
    Put,
    /// It shall not.
    Take,
}

/// The messages of a datagram. What is malformed, or of no interest, is left out.
pub fn parse(datagram: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while let Ok(buffer) = NetlinkBuffer::new_checked(rest) {
        if buffer.flags() & NLM_F_DUMP_INTR != 0 {
            messages.push(Message::Interrupted);
        }
        messages.extend(parse_one(&buffer));
        let padded = (buffer.length() as usize).next_multiple_of(4);
        rest = rest.get(padded..).unwrap_or_default();
    }
    messages
}

fn parse_one(buffer: &NetlinkBuffer<&[u8]>) -> Option<Message> {
    let payload = buffer.payload();
    match buffer.message_type() {
        RTM_NEWLINK => parse_link(payload),
        RTM_DELLINK => {
            let header = link_header(payload)?;
            Some(Message::LinkGone { index: header.index })
        }
        RTM_NEWADDR => {
            let (index, address) = parse_address(payload)?;
            Some(Message::Address { index, address })
        }
        RTM_DELADDR => {
            let (index, address) = parse_address(payload)?;
            Some(Message::AddressGone { index, address })
        }
        RTM_DELROUTE => parse_route(payload).map(Message::RouteGone),
        RTM_DELRULE => parse_rule(payload).map(Message::RouteGone),
        NLMSG_ERROR => {
            Some(Message::Answer { sequence: buffer.sequence_number(), errno: errno(payload)? })
        }
        NLMSG_DONE => Some(Message::Done { errno: errno(payload).unwrap_or(0) }),
        NLMSG_OVERRUN => Some(Message::Overrun),
        _ => None,
    }
}

/// The error number at the start of an answer, which the kernel writes negated.
fn errno(payload: &[u8]) -> Option<i32> {
    let buffer = ErrorBuffer::new_checked(payload).ok()?;
    Some(buffer.code().map_or(0, |code| code.get().saturating_neg()))
}

/// The header of a message about an interface itself: those of family AF_BRIDGE speak of a bridge
/// port only, and an RTM_DELLINK among them does not mean that the interface is gone.
fn link_header(payload: &[u8]) -> Option<LinkHeader> {
    let header = LinkHeader::parse(payload).ok()?;
    (header.interface_family == AddressFamily::Unspec).then_some(header)
}

fn parse_link(payload: &[u8]) -> Option<Message> {
    let header = link_header(payload)?;
    let attributes = payload.get(16..)?;
    let name = attribute(attributes, IFLA_IFNAME)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    Some(Message::Link {
        index: header.index,
        name: String::from_utf8_lossy(name).into_owned(),
        up: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        mac: attribute(attributes, IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()),
        mtu: number(attributes, IFLA_MTU).unwrap_or(0),
        macvlan: parse_macvlan(attributes),
    })
}

fn parse_macvlan(attributes: &[u8]) -> Option<Macvlan> {
    let info = attribute(attributes, IFLA_LINKINFO)?;
    let kind = attribute(info, IFLA_INFO_KIND)?;
    let is_ipvlan = match kind.strip_suffix(&[0]).unwrap_or(kind) {
        b"macvlan" => false,
        b"ipvlan" => true,
        _ => return None,
    };
    let mode = number(attribute(info, IFLA_INFO_DATA)?, IFLA_MACVLAN_MODE).filter(|_| !is_ipvlan);
    let is_here = attribute(attributes, IFLA_LINK_NETNSID).is_none();
    Some(Macvlan {
        base: number(attributes, IFLA_LINK).filter(|_| is_here),
        is_private: mode == Some(MACVLAN_MODE_PRIVATE),
        is_ipvlan,
    })
}

fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_ne_bytes(attribute(attributes, kind)?.try_into().ok()?))
}

fn parse_address(payload: &[u8]) -> Option<(u32, Address)> {
    let header = AddressHeader::parse(payload).ok()?;
    let attributes = payload.get(8..)?;
    let ip = |kind| ip_address(header.family, attribute(attributes, kind)?);
    let peer = ip(IFA_ADDRESS);
    let ip = ip(IFA_LOCAL).or(peer)?;
    let flags = attribute(attributes, IFA_FLAGS)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(u32::from(header.flags.bits()), u32::from_ne_bytes);
    let flags = AddressFlags::from_bits_retain(flags);
    let address = Address {
        ip,
        peer: peer.unwrap_or(ip),
        prefix_len: header.prefix_len,
        scope: header.scope.into(),
        // The same bit says of an IPv6 address that it is a temporary one.
        secondary: ip.is_ipv4() && flags.contains(AddressFlags::Secondary),
        tentative: flags.contains(AddressFlags::Dadfailed)
            || flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic),
    };
    Some((header.index, address))
}

fn parse_route(payload: &[u8]) -> Option<Gone> {
    let header = RouteHeader::parse(payload).ok()?;
    let protocol: u8 = header.protocol.into();
    // A router has many others; one that is tracked is always of this protocol.
    if protocol != PROTOCOL || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let attributes = payload.get(12..)?;
    let is_v6 = header.address_family == AddressFamily::Inet6;
    let unset: IpAddr =
        if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let destination = match attribute(attributes, RTA_DST) {
        Some(bytes) => ip_address(header.address_family, bytes)?,
        None => unset,
    };
    Some(Gone::Route {
        is_v6,
        destination: (destination, header.destination_prefix_length),
        table: number(attributes, RTA_TABLE).unwrap_or_else(|| header.table.into()),
        metric: number(attributes, RTA_PRIORITY).unwrap_or(0),
        kind: header.kind.into(),
    })
}

fn parse_rule(payload: &[u8]) -> Option<Gone> {
    let header = RuleHeader::parse(payload).ok()?;
    let priority = number(payload.get(12..)?, FRA_PRIORITY).unwrap_or(0);
    Some(Gone::Rule { is_v6: header.family == AddressFamily::Inet6, priority })
}

fn ip_address(family: AddressFamily, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// The value of the first attribute of this kind.
fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(attributes).map_while(Result::ok).find(|a| a.kind() == kind)?;
    let length = usize::from(found.length());
    found.into_inner().get(4..length)
}

/// A netlink socket that never waits.
///
/// The kernel carries out a request, and writes its answers, before `send` returns: whatever
/// answers a request is there to be received at once.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket that hears these multicast groups ([`CHANGES`], or 0 for requests).
    pub fn open(groups: u32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(Family::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// The descriptor, to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The messages of the next datagram that waits; none if nothing waits.
    ///
    /// # Errors
    /// ENOBUFS: messages were lost.
    pub fn receive(&mut self) -> io::Result<Option<Vec<Message>>> {
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut parts, None, flags) {
            Ok(got) => {
                let from_kernel = got.address.is_some_and(|address| address.pid() == 0);
                let length = if from_kernel { got.bytes } else { 0 };
                Ok(Some(parse(self.buffer.get(..length).unwrap_or_default())))
            }
            Err(nix::Error::EAGAIN) => Ok(None),
            Err(nix::Error::EINTR) => Ok(Some(Vec::new())),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends requests, one or many.
    pub fn send(&self, requests: &[u8]) -> io::Result<()> {
        loop {
            match send(self.fd.as_raw_fd(), requests, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// All interfaces, then all addresses, in the kernel's order.
pub fn dump() -> io::Result<Vec<Message>> {
    // Of no particular family: a kernel without IPv6 would answer a question for it with all others.
    let get_address = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut all = dump_one(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    all.append(&mut dump_one(get_address)?);
    Ok(all)
}

fn dump_one(what: RouteNetlinkMessage) -> io::Result<Vec<Message>> {
    let request = request(what, NLM_F_DUMP, 1);
    for _ in 0..DUMP_ATTEMPTS_MAX {
        // A socket for each, so that no remainder of an earlier one is taken for this one.
        let mut socket = Socket::open(0)?;
        socket.send(&request)?;
        if let Some(messages) = collect(&mut socket)? {
            return Ok(messages);
        }
    }
    Err(io::Error::other("the interfaces change faster than they can be read"))
}

/// What answers a dump, or nothing if it was disturbed.
fn collect(socket: &mut Socket) -> io::Result<Option<Vec<Message>>> {
    let mut messages = Vec::new();
    let mut interrupted = false;
    while let Some(datagram) = socket.receive()? {
        for message in datagram {
            match message {
                Message::Done { errno: 0 } => return Ok((!interrupted).then_some(messages)),
                Message::Done { errno } | Message::Answer { errno, .. } => {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Message::Interrupted => interrupted = true,
                other => messages.push(other),
            }
        }
    }
    Err(io::Error::other("the kernel broke off the list of interfaces"))
}

/// The bytes of a request.
pub fn request(what: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut message = NetlinkMessage::new(Default::default(), NetlinkPayload::from(what));
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::address::AddressAttribute;
    use netlink_packet_route::link::{
        InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkInfo, MacVlanMode,
    };
    use proptest::prelude::*;

    use super::*;

    fn link(name: &str, family: AddressFamily) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.interface_family = family;
        message.header.index = 7;
        message.header.flags = LinkFlags::Up | LinkFlags::Running;
        message.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Link(3),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
            ]),
        ];
        message
    }

    fn address() -> AddressMessage {
        let ip = Ipv4Addr::new(10, 9, 0, 71);
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 24;
        message.header.index = 7;
        message.attributes = vec![
            AddressAttribute::Address(ip.into()),
            AddressAttribute::Local(ip.into()),
            AddressAttribute::Flags(AddressFlags::Secondary | AddressFlags::Noprefixroute),
        ];
        message
    }

    fn notification(what: RouteNetlinkMessage) -> Vec<u8> {
        let mut bytes = request(what, 0, 0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn reads_several_messages_of_a_datagram() {
        let mut bytes =
            notification(RouteNetlinkMessage::NewLink(link("e0", AddressFamily::Unspec)));
        bytes.extend(notification(RouteNetlinkMessage::NewAddress(address())));
        let ip = IpAddr::from([10, 9, 0, 71]);
        let expected = vec![
            Message::Link {
                index: 7,
                name: "e0".into(),
                up: true,
                mac: Some([2, 0, 0, 0, 0, 9]),
                mtu: 1500,
                macvlan: Some(Macvlan { base: Some(3), is_private: true, is_ipvlan: false }),
            },
            Message::Address {
                index: 7,
                address: Address {
                    ip,
                    peer: ip,
                    prefix_len: 24,
                    scope: 0,
                    secondary: true,
                    tentative: false,
                },
            },
        ];
        assert_eq!(parse(&bytes), expected);
    }

    #[test]
    fn an_ipv6_address_counts_once_it_is_known_to_be_unique() {
        let tentative = |flags: AddressFlags| {
            let mut message = AddressMessage::default();
            message.header.family = AddressFamily::Inet6;
            message.header.prefix_len = 64;
            message.attributes = vec![
                AddressAttribute::Address("fd00:9::71".parse().expect("address")),
                AddressAttribute::Flags(flags),
            ];
            match parse(&notification(RouteNetlinkMessage::NewAddress(message))).pop() {
                Some(Message::Address { address, .. }) => address.tentative,
                other => panic!("{other:?}"),
            }
        };
        assert!(!tentative(AddressFlags::Permanent));
        assert!(tentative(AddressFlags::Tentative));
        assert!(!tentative(AddressFlags::Tentative | AddressFlags::Optimistic));
        assert!(tentative(AddressFlags::Dadfailed));
    }

    #[test]
    fn a_bridge_port_that_leaves_is_not_an_interface_that_is_gone() {
        let port = link("e0", AddressFamily::Bridge);
        assert_eq!(parse(&notification(RouteNetlinkMessage::DelLink(port))), vec![]);
    }

    #[test]
    fn an_attribute_nobody_knows_costs_nothing() {
        let mut message = link("e0", AddressFamily::Unspec);
        // IFLA_MTU with a length that no kernel writes.
        let odd = netlink_packet_core::DefaultNla::new(4, vec![1]);
        message.attributes.insert(0, LinkAttribute::Other(odd));
        assert_eq!(parse(&notification(RouteNetlinkMessage::NewLink(message))).len(), 1);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn broken_messages_do_no_harm(cut in 0..200usize, place in 0..200usize, value: u8) {
            let mut bytes =
                notification(RouteNetlinkMessage::NewLink(link("e0", AddressFamily::Unspec)));
            bytes.extend(notification(RouteNetlinkMessage::NewAddress(address())));
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
            bytes.truncate(cut);
            let _ = parse(&bytes);
        }
    }
}
