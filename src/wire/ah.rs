//! The IP authentication header (RFC 2402) of `auth_type AH`, between the IPv4 header and the advert,
//! with HMAC-MD5-96 (RFC 2403), as keepalived sends it.
//!
//! Its security parameters index is the sender's address, and its sequence number is one row that all
//! nodes of a virtual router share. keepalived differs from the RFC in one thing: the time to live of
//! multicast, which may be 255 only, is authenticated.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::vrrp::{self, checksum};

/// IP protocol number of the header.
pub const PROTOCOL: u8 = 51;
/// Length of the header.
pub const HEADER_BYTES: usize = 24;
/// The value that proves it: the first 96 bits of the HMAC.
const ICV_BYTES: usize = 12;
/// The header's own idea of its length: in words, without the first two.
const PAYLOAD_LENGTH: u8 = 4;
const IP_HEADER_BYTES: usize = 20;
/// A block of MD5.
const BLOCK_BYTES: usize = 64;
/// Behind the IP header: sequence number and the value that proves it.
const SEQUENCE_AT: usize = 8;
const ICV_AT: usize = 12;

/// A password: up to eight bytes, padded with zeros.
pub type Key = [u8; 8];

/// Puts a header into a whole IPv4 packet of VRRP whose own header has no options; anything else
/// stays as it is.
pub fn protect(packet: &mut Vec<u8>, key: &Key, sequence: u32) {
    if packet.len() < IP_HEADER_BYTES || packet[0] != 0x45 || packet[9] != vrrp::PROTOCOL {
        return;
    }
    let mut header = vec![vrrp::PROTOCOL, PAYLOAD_LENGTH, 0, 0];
    header.extend(&packet[12..16]);
    header.extend(sequence.to_be_bytes());
    header.extend([0; ICV_BYTES]);
    packet.splice(IP_HEADER_BYTES..IP_HEADER_BYTES, header);
    packet[9] = PROTOCOL;
    let total = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[10..12].fill(0);
    let sum = checksum(&packet[..IP_HEADER_BYTES]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let icv = icv(packet, IP_HEADER_BYTES, key).finalize().into_bytes();
    let at = IP_HEADER_BYTES + ICV_AT;
    packet[at..at + ICV_BYTES].copy_from_slice(&icv[..ICV_BYTES]);
}

/// The header of a received packet, not judged yet.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// The whole packet; there is room for the header behind that of IP.
    packet: &'a [u8],
    ip_bytes: usize,
}

impl<'a> Header<'a> {
    /// The header of a packet whose IP header has this length; nothing if it is too short, or its
    /// header has another length or holds no VRRP.
    pub fn read(packet: &'a [u8], ip_bytes: usize) -> Option<Self> {
        let header = packet.get(ip_bytes..ip_bytes + HEADER_BYTES)?;
        let is_known =
            ip_bytes >= IP_HEADER_BYTES && header[..2] == [vrrp::PROTOCOL, PAYLOAD_LENGTH];
        is_known.then_some(Self { packet, ip_bytes })
    }

    fn bytes(&self) -> &'a [u8] {
        &self.packet[self.ip_bytes..self.ip_bytes + HEADER_BYTES]
    }

    /// Is the security parameters index the sender's address, as keepalived wants it?
    pub fn is_of_sender(&self) -> bool {
        self.bytes()[4..8] == self.packet[12..16]
    }

    /// Its place in the row.
    pub fn sequence(&self) -> u32 {
        let bytes = self.bytes()[SEQUENCE_AT..ICV_AT].first_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(bytes)
    }

    /// Was the packet made with this key, and not changed since?
    pub fn is_right(&self, key: &Key) -> bool {
        // In constant time.
        icv(self.packet, self.ip_bytes, key).verify_truncated_left(&self.bytes()[ICV_AT..]).is_ok()
    }
}

/// What proves a packet: the HMAC over all of it, with zeros where routers write and where the value
/// itself stands (RFC 2402, 3.3.3.1).
fn icv(packet: &[u8], ip_bytes: usize, key: &Key) -> Hmac<Md5> {
    let mut packet = packet.to_vec();
    let is_multicast = packet[16] & 0xf0 == 0xe0;
    packet[1] = 0;
    packet[6..8].fill(0);
    if !is_multicast {
        packet[8] = 0;
    }
    packet[10..12].fill(0);
    packet[ip_bytes + ICV_AT..ip_bytes + HEADER_BYTES].fill(0);
    // HMAC fills a short key up with zeros (RFC 2104, 2).
    let mut block = [0; BLOCK_BYTES];
    block[..key.len()].copy_from_slice(key);
    let mut hmac = Hmac::<Md5>::new(&block.into());
    hmac.update(&packet);
    hmac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vrrp::{Advert, GROUP, Packet, TTL};
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};

    const KEY: Key = *b"abcdefgh";

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    /// Two addresses, priority and addresses as below.
    fn packet(priority: u8, id: u16, ttl: u8, from: u8, to: Ipv4Addr, sequence: u32) -> Vec<u8> {
        let addresses = [70, 71].map(|last| IpAddr::from([10, 9, 0, last])).to_vec();
        let advert = Advert {
            version: 2,
            vrid: 10,
            priority,
            auth_type: 2,
            interval: 1,
            addresses,
            auth_data: [0; 8],
        };
        let mut packet = advert.emit_packet(id, ttl, Ipv4Addr::new(10, 9, 0, from), to, false);
        protect(&mut packet, &KEY, sequence);
        packet
    }

    /// What keepalived 2.2.7 sent with this password, as captured: to the group and to a peer with
    /// a time to live of 64.
    #[test]
    fn an_advert_is_what_keepalived_sends() {
        let to_group = "45c0 0044 0001 0000 ff33 d0a8 0a09 0002 e000 0012 7004 0000 0a09 0002 \
                        0000 0001 179c a673 0a7c 4fa6 ef88 9afd 210a 6402 0201 6453 0a09 0046 \
                        0a09 0047 0000 0000 0000 0000";
        assert_eq!(packet(100, 1, TTL, 2, GROUP, 1), hex(to_group));
        let to_peer = "45c0 0044 0002 0000 4033 65b1 0a09 0001 0a09 0002 7004 0000 0a09 0001 \
                       0000 0002 fee5 f05f 834f 369d cbda 2862 210a 9602 0201 3253 0a09 0046 \
                       0a09 0047 0000 0000 0000 0000";
        assert_eq!(packet(150, 2, 64, 1, Ipv4Addr::new(10, 9, 0, 2), 2), hex(to_peer));
    }

    #[test]
    fn what_routers_write_may_change_and_nothing_else() {
        let sent = packet(150, 2, 64, 1, Ipv4Addr::new(10, 9, 0, 2), 2);
        for at in 0..sent.len() {
            let mut other = sent.clone();
            other[at] ^= 0x01;
            let is_right = Header::read(&other, 20).is_some_and(|header| header.is_right(&KEY));
            // Type of service, fragment, time to live, checksum.
            let may_change = [1, 6, 7, 8, 10, 11].contains(&at);
            assert_eq!(is_right, may_change, "byte {at}");
        }
        assert!(!Header::read(&sent, 20).expect("there").is_right(b"abcdefgi"));
        let mut to_group = packet(150, 2, TTL, 1, GROUP, 2);
        to_group[8] -= 1;
        assert!(!Header::read(&to_group, 20).expect("there").is_right(&KEY), "time to live");
    }

    #[test]
    fn the_packet_within_is_the_one_that_was_protected() {
        let sent = packet(150, 7, TTL, 1, GROUP, 0xffff_fffe);
        let read = Packet::new_v4(&sent).expect("long enough");
        assert_eq!((read.priority(), read.vrid(), read.auth_type()), (150, 10, 2));
        assert_eq!(read.received_bytes(), read.expected_bytes());
        assert_eq!(read.received_bytes(), read.total_bytes());
        assert!(read.is_checksum_right());
        let header = read.ah().expect("a header");
        assert!(header.is_of_sender() && header.is_right(&KEY));
        assert_eq!(header.sequence(), 0xffff_fffe);
        for length in 0..20 + HEADER_BYTES + 8 {
            assert!(Packet::new_v4(&sent[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_no_vrrp_of_ipv4_stays_as_it_is() {
        for bytes in [vec![], vec![0x45; 19], vec![0x46; 40], vec![0x45; 40]] {
            let mut packet = bytes.clone();
            protect(&mut packet, &KEY, 1);
            assert_eq!(packet, bytes);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100), ip_bytes in 0usize..70,
        ) {
            if let Some(header) = Header::read(&bytes, ip_bytes) {
                let _ = (header.sequence(), header.is_of_sender(), header.is_right(&KEY));
            }
            let mut bytes = bytes;
            protect(&mut bytes, &KEY, 1);
        }
    }
}
