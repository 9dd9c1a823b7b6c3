//! Unsolicited neighbour advertisements: the frame that tells a network where an IPv6 address
//! lives now.

use std::net::Ipv6Addr;

use super::vrrp::checksum;

/// Length of the Ethernet frame, without frame check sequence.
pub const ADVERTISEMENT_BYTES: usize = ETHERNET_BYTES + IP_HEADER_BYTES + MESSAGE_BYTES;

/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The Ethernet address of [`ALL_NODES`] (RFC 2464, section 7).
pub const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// Everybody on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERNET_BYTES: usize = 14;
const IP_HEADER_BYTES: usize = 40;
/// The advertisement and its one option.
const MESSAGE_BYTES: usize = 32;

/// EtherType, then what is the same in every IPv6 header here: version 6, class 0, flow label 0,
/// payload length, next header 58 (ICMPv6), hop limit 255.
const FIXED: [u8; 10] = [0x86, 0xdd, 0x60, 0, 0, 0, 0, MESSAGE_BYTES as u8, ICMPV6, 255];
const ICMPV6: u8 = 58;

const TYPE_ADVERTISEMENT: u8 = 136;
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
/// Option 2, target link-layer address, one unit of eight bytes.
const OPTION: [u8; 2] = [2, 1];

const TYPE_SOLICITATION: u8 = 135;
/// Where the payload of an IPv6 packet begins in a frame.
const MESSAGE_AT: usize = ETHERNET_BYTES + IP_HEADER_BYTES;

/// The address that the sender of a frame says is its own, and its hardware address: by a neighbour
/// advertisement, or by a solicitation from nobody, which looks whether anybody else has the address
/// (RFC 4862, section 5.4.2). `None` if it is something else, or has come through a router (RFC 4861,
/// section 7.1). The checksum is not looked at: the kernel does not, of what it only passes on.
pub fn claimed(frame: &[u8]) -> Option<(Ipv6Addr, [u8; 6])> {
    let is_neighbours = frame.get(14)? >> 4 == 6 && frame.get(20..22)? == [ICMPV6, 255];
    let mac = frame.get(6..12)?.try_into().ok()?;
    let from_nobody = frame.get(22..38)?.iter().all(|byte| *byte == 0);
    let is_claim = match *frame.get(MESSAGE_AT)? {
        TYPE_ADVERTISEMENT => true,
        TYPE_SOLICITATION => from_nobody,
        _ => false,
    };
    let target: [u8; 16] = frame.get(MESSAGE_AT + 8..MESSAGE_AT + 24)?.try_into().ok()?;
    (is_neighbours && is_claim).then(|| (target.into(), mac))
}

/// An announcement that `ip` is found at `mac` (RFC 4861, section 7.2.6).
///
/// As keepalived sends it: from the announced address itself to all nodes, with the flag that
/// overrides what they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Hardware address of the interface that has the address.
    pub mac: [u8; 6],
    /// The address.
    pub ip: Ipv6Addr,
    /// The interface forwards packets. Whoever is told otherwise strikes it from its list of
    /// routers.
    pub is_router: bool,
}

impl Advertisement {
    /// The Ethernet frame, without frame check sequence.
    pub fn emit(&self) -> Vec<u8> {
        let message = self.message();
        let mut frame = Vec::with_capacity(ADVERTISEMENT_BYTES);
        frame.extend(ALL_NODES_MAC);
        frame.extend(self.mac);
        frame.extend(FIXED);
        frame.extend(self.ip.octets());
        frame.extend(ALL_NODES.octets());
        frame.extend(message);
        frame
    }

    fn message(&self) -> Vec<u8> {
        let flags = OVERRIDE | if self.is_router { ROUTER } else { 0 };
        let sum = self.checksum(flags).to_be_bytes();
        self.message_with(flags, sum)
    }

    fn message_with(&self, flags: u8, sum: [u8; 2]) -> Vec<u8> {
        let mut message = Vec::with_capacity(MESSAGE_BYTES);
        message.extend([TYPE_ADVERTISEMENT, 0, sum[0], sum[1], flags, 0, 0, 0]);
        message.extend(self.ip.octets());
        message.extend(OPTION);
        message.extend(self.mac);
        message
    }

    /// Over the message and the pseudo header (RFC 8200, section 8.1).
    fn checksum(&self, flags: u8) -> u16 {
        let mut bytes = Vec::with_capacity(IP_HEADER_BYTES + MESSAGE_BYTES);
        bytes.extend(self.ip.octets());
        bytes.extend(ALL_NODES.octets());
        bytes.extend((MESSAGE_BYTES as u32).to_be_bytes());
        bytes.extend([0, 0, 0, ICMPV6]);
        bytes.extend(self.message_with(flags, [0, 0]));
        checksum(&bytes)
    }

    /// Reads a frame. `None` if it is anything but an announcement in the form of
    /// [`Advertisement::emit`].
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
        let ip: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
        let flags = frame.get(ETHERNET_BYTES + IP_HEADER_BYTES + 4)?;
        let read = Self { mac, ip: ip.into(), is_router: flags & ROUTER != 0 };
        (read.emit() == frame).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Captured from keepalived 2.2.7 announcing fd00:9::71.
    const GOLDEN: [u8; ADVERTISEMENT_BYTES] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0xbe, 0xc4, 0xf1, 0x73, 0x6d, 0x02, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0xfd, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x71, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88, 0x00, 0x3e, 0x6f, 0x20, 0x00,
        0x00, 0x00, 0xfd, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x71, 0x02, 0x01, 0xbe, 0xc4, 0xf1, 0x73, 0x6d, 0x02,
    ];
    const ANNOUNCED: Advertisement = Advertisement {
        mac: [0xbe, 0xc4, 0xf1, 0x73, 0x6d, 0x02],
        ip: Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 0x71),
        is_router: false,
    };
    /// What is different in the same capture where forwarding is on: checksum and flags.
    const GOLDEN_OF_ROUTER: [(usize, u8); 3] = [(56, 0xbe), (57, 0x6e), (58, 0xa0)];

    #[test]
    fn emits_what_keepalived_emits() {
        assert_eq!(ANNOUNCED.emit(), GOLDEN);
        assert_eq!(Advertisement::parse(&GOLDEN), Some(ANNOUNCED));
    }

    #[test]
    fn a_router_says_so() {
        let mut golden = GOLDEN;
        for (place, value) in GOLDEN_OF_ROUTER {
            golden[place] = value;
        }
        let announced = Advertisement { is_router: true, ..ANNOUNCED };
        assert_eq!(announced.emit(), golden);
        assert_eq!(Advertisement::parse(&golden), Some(announced));
    }

    #[test]
    fn who_claims_an_address_is_known() {
        let claim = Some((ANNOUNCED.ip, ANNOUNCED.mac));
        assert_eq!(claimed(&GOLDEN), claim);
        let with = |changes: &[(usize, u8)]| {
            let mut frame = GOLDEN;
            changes.iter().for_each(|(place, value)| frame[*place] = *value);
            claimed(&frame)
        };
        assert_eq!(with(&[(14, 0x6c)]), claim, "whatever its traffic class");
        assert_eq!(with(&[(21, 254)]), None, "it has come through a router");
        assert_eq!(with(&[(20, 17)]), None, "it is no ICMP");
        assert_eq!(with(&[(54, 135)]), None, "somebody asks where it is");
        assert_eq!(with(&[(54, 134)]), None, "a router");
        let mut looking = GOLDEN;
        looking[54] = 135;
        looking[22..38].fill(0);
        assert_eq!(claimed(&looking), claim, "somebody looks whether it may have it");
        for length in 0..MESSAGE_AT + 24 {
            assert_eq!(claimed(&GOLDEN[..length]), None);
        }
    }

    #[test]
    fn refuses_short_frames() {
        for length in 0..ADVERTISEMENT_BYTES {
            assert_eq!(Advertisement::parse(&GOLDEN[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn round_trip(mac: [u8; 6], ip: u128, is_router: bool) {
            let announced = Advertisement { mac, ip: ip.into(), is_router };
            prop_assert_eq!(Advertisement::parse(&announced.emit()), Some(announced));
        }

        #[test]
        fn any_changed_byte_is_seen(place in 0..ADVERTISEMENT_BYTES, flip in 1..=255u8) {
            let mut frame = GOLDEN;
            frame[place] ^= flip;
            prop_assert_eq!(Advertisement::parse(&frame), None);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = Advertisement::parse(&bytes);
            let _ = claimed(&bytes);
        }
    }
}
