//! Gratuitous ARP: the frame that tells a network where an address lives now.

use std::net::Ipv4Addr;

/// Length of a gratuitous ARP frame on Ethernet, without padding.
pub const GARP_BYTES: usize = 42;

/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;

/// The Ethernet address of everybody.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// EtherType, then what is the same in every ARP request for IPv4 over Ethernet (RFC 826):
/// hardware type 1, protocol type 0x0800, lengths 6 and 4, operation 1 (request).
const FIXED: [u8; 10] = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01];

/// An announcement that `ip` is found at `mac`.
///
/// As keepalived sends it: a request whose sender and target address are both `ip`, whose target
/// hardware address is all ones, broadcast. (RFC 826 leaves that field of a request open.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garp {
    /// Hardware address of the interface that has the address.
    pub mac: [u8; 6],
    /// The address.
    pub ip: Ipv4Addr,
}

impl Garp {
    /// The Ethernet frame, without padding and frame check sequence.
    pub fn emit(&self) -> [u8; GARP_BYTES] {
        let ip = self.ip.octets();
        let parts: [&[u8]; 7] = [&BROADCAST, &self.mac, &FIXED, &self.mac, &ip, &BROADCAST, &ip];
        let mut frame = [0; GARP_BYTES];
        for (byte, value) in frame.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *value;
        }
        frame
    }

    /// Reads a frame, with or without padding. `None` if it is anything but an announcement in
    /// the form of [`Garp::emit`].
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (destination, rest) = frame.split_first_chunk::<6>()?;
        let (source, rest) = rest.split_first_chunk::<6>()?;
        let (fixed, rest) = rest.split_first_chunk::<10>()?;
        let (sender_mac, rest) = rest.split_first_chunk::<6>()?;
        let (sender_ip, rest) = rest.split_first_chunk::<4>()?;
        let (target_mac, rest) = rest.split_first_chunk::<6>()?;
        let target_ip = rest.first_chunk::<4>()?;
        let garp = *destination == BROADCAST
            && *fixed == FIXED
            && *target_mac == BROADCAST
            && source == sender_mac
            && sender_ip == target_ip;
        garp.then(|| Self { mac: *sender_mac, ip: Ipv4Addr::from(*sender_ip) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Captured from keepalived 2.2.7 announcing 10.9.0.71.
    const GOLDEN: [u8; GARP_BYTES] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe6, 0xe2, 0x7b, 0x2b, 0x63, 0x22, 0x08, 0x06, 0x00,
        0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0xe6, 0xe2, 0x7b, 0x2b, 0x63, 0x22, 0x0a, 0x09,
        0x00, 0x47, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0a, 0x09, 0x00, 0x47,
    ];
    const ANNOUNCED: Garp =
        Garp { mac: [0xe6, 0xe2, 0x7b, 0x2b, 0x63, 0x22], ip: Ipv4Addr::new(10, 9, 0, 71) };

    #[test]
    fn emits_what_keepalived_emits() {
        assert_eq!(ANNOUNCED.emit(), GOLDEN);
    }

    #[test]
    fn reads_padded_frames_and_refuses_short_ones() {
        let mut padded = GOLDEN.to_vec();
        padded.resize(60, 0);
        assert_eq!(Garp::parse(&padded), Some(ANNOUNCED));
        for length in 0..GARP_BYTES {
            assert_eq!(Garp::parse(&GOLDEN[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn round_trip(mac: [u8; 6], ip: u32) {
            let garp = Garp { mac, ip: Ipv4Addr::from(ip) };
            prop_assert_eq!(Garp::parse(&garp.emit()), Some(garp));
        }

        #[test]
        fn any_changed_byte_is_seen(place in 0..GARP_BYTES, flip in 1..=255u8) {
            let mut frame = GOLDEN;
            frame[place] ^= flip;
            prop_assert_eq!(Garp::parse(&frame), None);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
            let _ = Garp::parse(&bytes);
        }
    }
}
