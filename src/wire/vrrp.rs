//! VRRP version 2 advertisements (RFC 2338 and 3768, as keepalived sends them) in IPv4.

use std::fmt;
use std::net::Ipv4Addr;

/// IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// Time to live of every multicast advert; anything less has been forwarded (RFC 3768, 5.2.3).
pub const TTL: u8 = 255;
/// The multicast group of VRRP over IPv4.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// DSCP CS6, network control.
const TOS: u8 = 0xc0;
const IP_HEADER_BYTES: usize = 20;
const VERSION: u8 = 2;
const TYPE_ADVERTISEMENT: u8 = 1;
const HEADER_BYTES: usize = 8;
const ADDRESS_BYTES: usize = 4;
const AUTH_BYTES: usize = 8;

/// One advertisement, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Virtual router id.
    pub vrid: u8,
    /// Priority; 0 says that the sender gives up.
    pub priority: u8,
    /// Authentication type: 0 none, 1 PASS.
    pub auth_type: u8,
    /// Interval in seconds.
    pub interval_s: u8,
    /// The advertised addresses, in order; at most 255.
    pub addresses: Vec<Ipv4Addr>,
    /// The password, padded with zeros; zeros without one. Always on the wire in version 2.
    pub auth_data: [u8; AUTH_BYTES],
}

impl Advert {
    /// The message without its IP header. The checksum covers the password and no pseudo header.
    pub fn emit(&self) -> Vec<u8> {
        let addresses = self.addresses.get(..usize::from(u8::MAX)).unwrap_or(&self.addresses);
        let length = HEADER_BYTES + ADDRESS_BYTES * addresses.len() + AUTH_BYTES;
        let mut out = Vec::with_capacity(length);
        out.extend([VERSION << 4 | TYPE_ADVERTISEMENT, self.vrid, self.priority]);
        out.extend([addresses.len() as u8, self.auth_type, self.interval_s, 0, 0]);
        for address in addresses {
            out.extend(address.octets());
        }
        out.extend(self.auth_data);
        let sum = checksum(&out).to_be_bytes();
        out[6..8].copy_from_slice(&sum);
        out
    }

    /// The whole IPv4 packet. `id` is the identification, which the kernel chooses if it is 0.
    pub fn emit_packet(&self, id: u16, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let message = self.emit();
        let total = (IP_HEADER_BYTES + message.len()) as u16;
        let mut out = Vec::with_capacity(usize::from(total));
        out.extend([0x45, TOS]);
        out.extend(total.to_be_bytes());
        out.extend(id.to_be_bytes());
        out.extend([0, 0, TTL, PROTOCOL, 0, 0]);
        out.extend(source.octets());
        out.extend(destination.octets());
        let sum = checksum(&out).to_be_bytes();
        out[10..12].copy_from_slice(&sum);
        out.extend(message);
        out
    }
}

/// A received packet of protocol 112: enough was there to read its headers, and nothing more has
/// been judged. The accessors give what it says, right or wrong.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    ip: &'a [u8],
    message: &'a [u8],
}

/// The packet is too short for its own headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

impl<'a> Packet<'a> {
    /// Looks at an IPv4 packet from its IP header on.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Truncated> {
        let first = bytes.first().ok_or(Truncated)?;
        let header = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || header < IP_HEADER_BYTES || bytes.len() < header + HEADER_BYTES {
            return Err(Truncated);
        }
        let (ip, message) = bytes.split_at(header);
        Ok(Self { ip, message })
    }

    /// Source address of the IP header.
    pub fn source(&self) -> Ipv4Addr {
        address_at(self.ip, 12)
    }

    /// Destination address of the IP header.
    pub fn destination(&self) -> Ipv4Addr {
        address_at(self.ip, 16)
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.ip[8]
    }

    /// IP protocol.
    pub fn protocol(&self) -> u8 {
        self.ip[9]
    }

    /// Length of the whole packet as the IP header says it, in bytes.
    pub fn total_bytes(&self) -> usize {
        usize::from(u16::from_be_bytes([self.ip[2], self.ip[3]]))
    }

    /// Length of the whole packet as it was received, in bytes.
    pub fn received_bytes(&self) -> usize {
        self.ip.len() + self.message.len()
    }

    /// Length that a packet with this header and this number of addresses has, in bytes.
    pub fn expected_bytes(&self) -> usize {
        let auth = if self.version() == VERSION { AUTH_BYTES } else { 0 };
        self.ip.len() + HEADER_BYTES + ADDRESS_BYTES * usize::from(self.count()) + auth
    }

    /// VRRP version.
    pub fn version(&self) -> u8 {
        self.message[0] >> 4
    }

    /// Type of the message; 1 is an advertisement, and there is no other.
    pub fn kind(&self) -> u8 {
        self.message[0] & 0x0f
    }

    /// Virtual router id.
    pub fn vrid(&self) -> u8 {
        self.message[1]
    }

    /// Priority.
    pub fn priority(&self) -> u8 {
        self.message[2]
    }

    /// Number of addresses.
    pub fn count(&self) -> u8 {
        self.message[3]
    }

    /// Authentication type.
    pub fn auth_type(&self) -> u8 {
        self.message[4]
    }

    /// Interval in seconds.
    pub fn interval_s(&self) -> u8 {
        self.message[5]
    }

    /// Is the checksum right?
    pub fn is_checksum_right(&self) -> bool {
        checksum(self.message) == 0
    }

    /// The addresses, as many as are really there.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        let all = &self.message[HEADER_BYTES..];
        all.chunks_exact(ADDRESS_BYTES)
            .take(usize::from(self.message[3]))
            .map(|bytes| address_at(bytes, 0))
    }

    /// The password, if the packet is long enough for one.
    pub fn auth_data(&self) -> Option<[u8; AUTH_BYTES]> {
        let start = HEADER_BYTES + ADDRESS_BYTES * usize::from(self.count());
        self.message.get(start..start + AUTH_BYTES)?.try_into().ok()
    }
}

impl fmt::Display for Packet<'_> {
    /// One line, as a packet dump would show it; never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} > {}: VRRPv{}, vrid {}, prio {}, auth {}, intvl {}s, ttl {}, addrs(",
            self.source(),
            self.destination(),
            self.version(),
            self.vrid(),
            self.priority(),
            self.auth_type(),
            self.interval_s(),
            self.ttl(),
        )?;
        for (i, address) in self.addresses().enumerate() {
            write!(f, "{}{address}", if i == 0 { "" } else { " " })?;
        }
        f.write_str(")")
    }
}

/// An address in a slice known to be long enough: 0.0.0.0 if it is not.
fn address_at(bytes: &[u8], at: usize) -> Ipv4Addr {
    let octets = bytes.get(at..at + ADDRESS_BYTES).and_then(|b| <[u8; 4]>::try_from(b).ok());
    octets.unwrap_or_default().into()
}

/// The internet checksum (RFC 1071). Over bytes that hold a right checksum it gives 0.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn advert() -> Advert {
        Advert {
            vrid: 10,
            priority: 100,
            auth_type: 1,
            interval_s: 1,
            addresses: vec![
                Ipv4Addr::new(10, 9, 0, 71),
                Ipv4Addr::new(10, 9, 0, 70),
                Ipv4Addr::new(10, 9, 0, 72),
            ],
            auth_data: *b"1111\0\0\0\0",
        }
    }

    #[test]
    fn an_advert_is_what_keepalived_sends() {
        let expected = [
            0x21, 10, 100, 3, 1, 1, 0xf8, 0x9e, 10, 9, 0, 71, 10, 9, 0, 70, 10, 9, 0, 72, b'1',
            b'1', b'1', b'1', 0, 0, 0, 0,
        ];
        assert_eq!(advert().emit(), expected);
    }

    #[test]
    fn a_packet_has_keepalived_s_ip_header() {
        let packet = advert().emit_packet(1, Ipv4Addr::new(10, 9, 0, 1), GROUP);
        assert_eq!(packet[..12], [0x45, 0xc0, 0, 48, 0, 1, 0, 0, 255, 112, packet[10], packet[11]]);
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(packet.len(), 48);
    }

    #[test]
    fn nothing_shorter_than_its_headers_is_looked_at() {
        let packet = advert().emit_packet(1, Ipv4Addr::LOCALHOST, GROUP);
        for length in 0..28 {
            assert!(Packet::new(&packet[..length]).is_err(), "{length}");
        }
        for length in 28..packet.len() {
            let cut = Packet::new(&packet[..length]).expect("headers are there");
            assert_ne!(cut.expected_bytes(), cut.received_bytes());
            let _ = (cut.to_string(), cut.auth_data(), cut.is_checksum_right());
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(
            vrid in 1u8.., priority: u8, interval_s in 1u8.., auth_data: [u8; 8],
            octets in prop::collection::vec(any::<[u8; 4]>(), 0..255),
        ) {
            let addresses: Vec<Ipv4Addr> = octets.into_iter().map(Ipv4Addr::from).collect();
            let sent = Advert { vrid, priority, auth_type: 1, interval_s, addresses, auth_data };
            let bytes = sent.emit_packet(7, Ipv4Addr::LOCALHOST, GROUP);
            let read = Packet::new(&bytes).expect("long enough");
            prop_assert!(read.is_checksum_right());
            prop_assert_eq!(read.received_bytes(), read.expected_bytes());
            prop_assert_eq!(read.received_bytes(), read.total_bytes());
            prop_assert_eq!((read.vrid(), read.priority()), (vrid, priority));
            prop_assert_eq!(read.auth_data(), Some(auth_data));
            prop_assert_eq!(read.addresses().collect::<Vec<_>>(), sent.addresses);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::new(&bytes) {
                let _ = (packet.to_string(), packet.auth_data(), packet.is_checksum_right());
                let _ = (packet.expected_bytes(), packet.total_bytes(), packet.kind());
            }
        }
    }
}
