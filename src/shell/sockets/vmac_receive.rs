//! Adverts that arrive at an interface with a virtual MAC address.
//!
//! A macvlan in private mode takes every frame whose sender has its own address, and only it: what
//! a master with the same virtual MAC address sends never reaches the interface below. To hear that
//! with an ordinary socket the group would have to be joined on the macvlan; its membership reports
//! would then leave a backup with the virtual MAC address, and switches would send the master's
//! traffic there. (keepalived has nftables reroute those.) A packet socket hears without joining.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::{Domain, SockFilter, Socket, Type};

use crate::core::event::Received;
use crate::shell::host::sys;
use crate::wire::arp::BROADCAST;
use crate::wire::ndp::ETHERTYPE_IPV6;
use crate::wire::vrrp::{PROTOCOL, checksum};

const ETHERTYPE_IPV4: u16 = 0x0800;
/// Of an IPv4 header: where its protocol is, and its addresses.
const V4_PROTOCOL: usize = 9;
const V4_DESTINATION: usize = 16;
/// The same of an IPv6 header, and its length.
const V6_NEXT_HEADER: usize = 6;
const V6_BYTES: usize = 40;

/// A socket that receives what of an IP protocol is sent to the group and arrives at the interface.
///
/// # Errors
/// The kernel's: CAP_NET_RAW is needed.
pub fn open(index: u32, group: IpAddr, protocol: u8) -> io::Result<Socket> {
    // Protocol 0: it receives nothing before it is bound.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    let (ethertype, at) = match group {
        IpAddr::V4(_) => (ETHERTYPE_IPV4, V4_PROTOCOL),
        IpAddr::V6(_) => (ETHERTYPE_IPV6, V6_NEXT_HEADER),
    };
    let code = |code: u32| code as u16;
    socket.attach_filter(&[
        SockFilter::new(code(libc::BPF_LD | libc::BPF_ABS | libc::BPF_B), 0, 0, at as u32),
        SockFilter::new(
            code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K),
            0,
            1,
            u32::from(protocol),
        ),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
    ])?;
    socket.bind(&sys::ethernet(index, ethertype, BROADCAST))?;
    Ok(socket)
}

/// Receives the next packet; nothing if it is not for the group.
///
/// # Errors
/// What the socket reports, `WouldBlock` if none waits; the next call may succeed.
pub fn receive(
    mut socket: &Socket,
    group: IpAddr,
    buffer: &mut [u8],
) -> io::Result<Option<Received>> {
    let length = socket.read(buffer)?;
    let packet = buffer.get(..length).unwrap_or_default();
    Ok(match group {
        IpAddr::V4(group) => v4(packet, group),
        IpAddr::V6(group) => v6(packet, group),
    })
}

/// The packet without what fills up a short frame, if it goes to the group. Its header is checked
/// as the kernel does for other sockets.
fn v4(packet: &[u8], group: Ipv4Addr) -> Option<Received> {
    let total = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let destination: [u8; 4] = packet.get(V4_DESTINATION..V4_DESTINATION + 4)?.try_into().ok()?;
    let header = usize::from(packet.first()? & 0xf) * 4;
    let is_sound = packet.get(..header).is_some_and(|header| checksum(header) == 0);
    let packet = packet.get(..total)?;
    (is_sound && Ipv4Addr::from(destination) == group).then(|| Received::V4(packet.to_vec()))
}

/// The message, if it goes to the group and its checksum is right (RFC 8200, 8.1).
fn v6(packet: &[u8], group: Ipv6Addr) -> Option<Received> {
    let (header, rest) = packet.split_at_checked(V6_BYTES)?;
    let length = u16::from_be_bytes([header[4], header[5]]);
    let message = rest.get(..usize::from(length))?.to_vec();
    let address = |at: usize| {
        let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets))
    };
    let (source, destination) = (address(8)?, address(24)?);
    let pseudo = [&header[8..40], &u32::from(length).to_be_bytes(), &[0, 0, 0, PROTOCOL]].concat();
    let is_sound = checksum(&[pseudo, message.clone()].concat()) == 0;
    let received = Received::V6 { message, source, destination, hop_limit: header[7] };
    (is_sound && destination == group).then_some(received)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::vrrp::Advert;

    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

    fn advert() -> Advert {
        Advert {
            version: 2,
            vrid: 51,
            priority: 100,
            auth_type: 0,
            interval: 1,
            addresses: vec![IpAddr::from([10, 0, 0, 71])],
            auth_data: [0; 8],
        }
    }

    fn with_header_checksum(mut packet: Vec<u8>) -> Vec<u8> {
        let length = u16::try_from(packet.len()).expect("short");
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    #[test]
    fn what_fills_up_a_frame_is_cut_off() {
        let packet = advert().emit_packet(1, 255, Ipv4Addr::LOCALHOST, GROUP, false);
        let packet = with_header_checksum(packet);
        let mut frame = packet.clone();
        frame.resize(60, 0);
        assert_eq!(v4(&frame, GROUP), Some(Received::V4(packet.clone())));
        assert_eq!(v4(&frame, Ipv4Addr::new(224, 0, 0, 19)), None);
        let mut broken = packet;
        broken[8] ^= 1;
        assert_eq!(v4(&broken, GROUP), None);
    }

    #[test]
    fn an_ipv6_message_needs_its_checksum() {
        let (source, group) = ("fe80::1".parse().expect("ip"), "ff02::12".parse().expect("ip"));
        let mut message =
            Advert { version: 3, addresses: vec!["fe80::71".parse().expect("ip")], ..advert() }
                .emit_v6();
        let length = u16::try_from(message.len()).expect("short");
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([PROTOCOL, 255]);
        packet.extend(Ipv6Addr::octets(&source));
        packet.extend(Ipv6Addr::octets(&group));
        let pseudo = [&packet[8..40], &u32::from(length).to_be_bytes(), &[0, 0, 0, PROTOCOL]];
        message[6..8].fill(0);
        let sum = checksum(&[pseudo.concat(), message.clone()].concat());
        message[6..8].copy_from_slice(&sum.to_be_bytes());
        packet.extend(&message);
        let expected = Received::V6 { message, source, destination: group, hop_limit: 255 };
        assert_eq!(v6(&packet, group), Some(expected));
        packet[45] ^= 1;
        assert_eq!(v6(&packet, group), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (v4(&bytes, GROUP), v6(&bytes, Ipv6Addr::UNSPECIFIED));
        }
    }
}
