//! VRRP advertisements: version 2 (RFC 2338 and 3768) in IPv4, version 3 (RFC 5798) in IPv4 and
//! IPv6, as keepalived sends them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ah;
use super::trailer::TRAILER_BYTES;

/// IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// Time to live of every multicast advert; anything less has been forwarded (RFC 3768, 5.2.3).
pub const TTL: u8 = 255;
/// The multicast group of VRRP over IPv4.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// DSCP CS6, network control.
const TOS: u8 = 0xc0;
const IP_HEADER_BYTES: usize = 20;
const TYPE_ADVERTISEMENT: u8 = 1;
const HEADER_BYTES: usize = 8;
const AUTH_BYTES: usize = 8;
/// The interval field of version 3 has twelve bits.
const INTERVAL_CS_MAX: u16 = 0x0fff;

/// One advertisement, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// 2 or 3.
    pub version: u8,
    /// Virtual router id.
    pub vrid: u8,
    /// Priority; 0 says that the sender gives up.
    pub priority: u8,
    /// Authentication type: 0 none, 1 PASS, 2 AH. Version 2 only.
    pub auth_type: u8,
    /// Interval: seconds in version 2, centiseconds (at most 4095) in version 3.
    pub interval: u16,
    /// The advertised addresses, in order, all of one family; at most 255.
    pub addresses: Vec<IpAddr>,
    /// The password, padded with zeros; zeros without one. Always on the wire in version 2, never
    /// in version 3.
    pub auth_data: [u8; AUTH_BYTES],
}

impl Advert {
    /// The message with a checksum of zero.
    fn message(&self) -> Vec<u8> {
        let addresses = self.addresses.get(..usize::from(u8::MAX)).unwrap_or(&self.addresses);
        let mut out = vec![self.version << 4 | TYPE_ADVERTISEMENT, self.vrid, self.priority];
        out.push(addresses.len() as u8);
        if self.version == 2 {
            out.extend([self.auth_type, self.interval.min(255) as u8]);
        } else {
            out.extend(self.interval.min(INTERVAL_CS_MAX).to_be_bytes());
        }
        out.extend([0, 0]);
        for address in addresses {
            match address {
                IpAddr::V4(ip) => out.extend(ip.octets()),
                IpAddr::V6(ip) => out.extend(ip.octets()),
            }
        }
        if self.version == 2 {
            out.extend(self.auth_data);
        }
        out
    }

    /// The message for IPv6; the kernel fills in the checksum. That of IPv4, too, with a checksum of
    /// zero, is what a trailer signs.
    pub fn emit_v6(&self) -> Vec<u8> {
        self.message()
    }

    /// The whole IPv4 packet. `id` is the identification, which the kernel chooses if it is 0.
    ///
    /// The checksum of version 2 covers the message with its password; that of version 3 also a
    /// pseudo header, unless `is_plain_sum`.
    pub fn emit_packet(
        &self,
        id: u16,
        ttl: u8,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        is_plain_sum: bool,
    ) -> Vec<u8> {
        self.emit_signed(id, ttl, source, destination, is_plain_sum, &[])
    }

    /// The same with a trailer behind the message, which its checksum does not cover.
    pub fn emit_signed(
        &self,
        id: u16,
        ttl: u8,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        is_plain_sum: bool,
        trailer: &[u8],
    ) -> Vec<u8> {
        let mut message = self.message();
        let has_pseudo = self.version == 3 && !is_plain_sum;
        let pseudo = if has_pseudo { pseudo_v4(source, destination, &message) } else { Vec::new() };
        let sum = checksum(&[pseudo, message.clone()].concat()).to_be_bytes();
        message[6..8].copy_from_slice(&sum);
        let total = (IP_HEADER_BYTES + message.len() + trailer.len()) as u16;
        let mut out = Vec::with_capacity(usize::from(total));
        out.extend([0x45, TOS]);
        out.extend(total.to_be_bytes());
        out.extend(id.to_be_bytes());
        out.extend([0, 0, ttl, PROTOCOL, 0, 0]);
        out.extend(source.octets());
        out.extend(destination.octets());
        let sum = checksum(&out).to_be_bytes();
        out[10..12].copy_from_slice(&sum);
        out.extend(message);
        out.extend(trailer);
        out
    }
}

/// What stands before an IPv4 message when its checksum is made (RFC 5798, 5.2.8, as keepalived
/// reads it). All lengths here are even, so it can simply be put in front.
fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u16).to_be_bytes();
    [&source.octets()[..], &destination.octets(), &[0, PROTOCOL], &length].concat()
}

/// A received packet of protocol 112, or of 51 with such a one in it: enough was there to read its headers, and nothing more has
/// been judged. The accessors give what it says, right or wrong.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    protocol: u8,
    /// Length of the headers that came before it, and the packet's length as that of IP says it.
    header_bytes: usize,
    total_bytes: usize,
    ah: Option<ah::Header<'a>>,
    message: &'a [u8],
}

/// The packet is too short for its own headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

impl<'a> Packet<'a> {
    /// Looks at an IPv4 packet from its IP header on.
    ///
    /// # Errors
    /// It is too short for its headers.
    pub fn new_v4(bytes: &'a [u8]) -> Result<Self, Truncated> {
        let first = bytes.first().ok_or(Truncated)?;
        let ip_bytes = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || ip_bytes < IP_HEADER_BYTES || bytes.len() < ip_bytes + HEADER_BYTES {
            return Err(Truncated);
        }
        let (ip, rest) = bytes.split_at(ip_bytes);
        let (ah, message) = if ip[9] == ah::PROTOCOL {
            let header = ah::Header::read(bytes, ip_bytes).ok_or(Truncated)?;
            (Some(header), rest.get(ah::HEADER_BYTES..).ok_or(Truncated)?)
        } else {
            (None, rest)
        };
        if message.len() < HEADER_BYTES {
            return Err(Truncated);
        }
        let header_bytes = bytes.len() - message.len();
        let total_bytes = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let (source, destination) = (address_at(ip, 12, false), address_at(ip, 16, false));
        let (ttl, protocol) = (ip[8], if ah.is_some() { PROTOCOL } else { ip[9] });
        Ok(Self { source, destination, ttl, protocol, header_bytes, total_bytes, ah, message })
    }

    /// Looks at the payload of an IPv6 packet.
    ///
    /// # Errors
    /// It is too short for its header.
    pub fn new_v6(
        message: &'a [u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
        hop_limit: u8,
    ) -> Result<Self, Truncated> {
        if message.len() < HEADER_BYTES {
            return Err(Truncated);
        }
        Ok(Self {
            source: source.into(),
            destination: destination.into(),
            ttl: hop_limit,
            protocol: PROTOCOL,
            header_bytes: 0,
            total_bytes: message.len(),
            ah: None,
            message,
        })
    }

    /// Source address.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Destination address.
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// Time to live, or hop limit.
    pub fn ttl(&self) -> u8 {
        self.ttl
    }

    /// IP protocol of the message.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The authentication header before the message, if there is one.
    pub fn ah(&self) -> Option<ah::Header<'a>> {
        self.ah
    }

    /// Length of the whole packet as the IP header says it, in bytes.
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// Length of the whole packet as it was received, in bytes.
    pub fn received_bytes(&self) -> usize {
        self.header_bytes + self.message.len()
    }

    /// Length that a packet with this header and this number of addresses has, in bytes.
    pub fn expected_bytes(&self) -> usize {
        let auth = if self.version() == 2 { AUTH_BYTES } else { 0 };
        self.header_bytes + HEADER_BYTES + self.address_bytes() * usize::from(self.count()) + auth
    }

    /// The VRRP message, from its first byte on.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Takes a trailer off (`auth_hmac`), if the packet has one: it is longer than its header says
    /// by just as much.
    #[must_use]
    pub fn split_trailer(mut self) -> (Self, Option<&'a [u8]>) {
        if self.received_bytes() != self.expected_bytes() + TRAILER_BYTES {
            return (self, None);
        }
        let (message, trailer) = self.message.split_at(self.message.len() - TRAILER_BYTES);
        self.message = message;
        self.total_bytes = self.total_bytes.saturating_sub(TRAILER_BYTES);
        (self, Some(trailer))
    }

    fn address_bytes(&self) -> usize {
        if self.source.is_ipv6() { 16 } else { 4 }
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

    /// Authentication type; version 2 only.
    pub fn auth_type(&self) -> u8 {
        self.message[4]
    }

    /// Interval in seconds; version 2 only.
    pub fn interval_s(&self) -> u8 {
        self.message[5]
    }

    /// Interval in centiseconds; version 3 only. Reserved bits are ignored.
    pub fn interval_cs(&self) -> u16 {
        u16::from_be_bytes([self.message[4], self.message[5]]) & INTERVAL_CS_MAX
    }

    /// Is the checksum right? In version 3 over IPv4 some leave out the pseudo header, as RFC 9568
    /// does, and old keepalived puts the group into it also in unicast; both are right too. In IPv6
    /// the kernel has seen to it.
    pub fn is_checksum_right(&self) -> bool {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            return true;
        };
        let with = |destination| {
            checksum(
                &[pseudo_v4(source, destination, self.message), self.message.to_vec()].concat(),
            ) == 0
        };
        checksum(self.message) == 0 || self.version() == 3 && (with(destination) || with(GROUP))
    }

    /// The addresses, as many as are really there.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let is_v6 = self.source.is_ipv6();
        self.message[HEADER_BYTES..]
            .chunks_exact(self.address_bytes())
            .take(usize::from(self.message[3]))
            .map(move |bytes| address_at(bytes, 0, is_v6))
    }

    /// The password, if the packet is long enough for one.
    pub fn auth_data(&self) -> Option<[u8; AUTH_BYTES]> {
        let start = HEADER_BYTES + self.address_bytes() * usize::from(self.count());
        self.message.get(start..start + AUTH_BYTES)?.try_into().ok()
    }
}

impl fmt::Display for Packet<'_> {
    /// One line, as a packet dump would show it; never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version();
        write!(
            f,
            "{} > {}: VRRPv{version}, vrid {}, prio {}, ",
            self.source,
            self.destination,
            self.vrid(),
            self.priority(),
        )?;
        match version {
            3 => write!(f, "intvl {}cs, ttl {}, addrs(", self.interval_cs(), self.ttl)?,
            _ => {
                let (auth, interval) = (self.auth_type(), self.interval_s());
                write!(f, "auth {auth}, intvl {interval}s, ttl {}, addrs(", self.ttl)?;
            }
        }
        for (i, address) in self.addresses().enumerate() {
            write!(f, "{}{address}", if i == 0 { "" } else { " " })?;
        }
        f.write_str(")")
    }
}

/// An address in a slice known to be long enough; unspecified if it is not.
fn address_at(bytes: &[u8], at: usize, is_v6: bool) -> IpAddr {
    let octets = bytes.get(at..).unwrap_or_default();
    if is_v6 {
        let octets = octets.first_chunk::<16>().copied().unwrap_or_default();
        return Ipv6Addr::from(octets).into();
    }
    Ipv4Addr::from(octets.first_chunk::<4>().copied().unwrap_or_default()).into()
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

    fn v4(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 9, 0, last).into()
    }

    fn advert() -> Advert {
        Advert {
            version: 2,
            vrid: 10,
            priority: 100,
            auth_type: 1,
            interval: 1,
            addresses: vec![v4(71), v4(70), v4(72)],
            auth_data: *b"1111\0\0\0\0",
        }
    }

    #[test]
    fn an_advert_is_what_keepalived_sends() {
        let expected = [
            0x21, 10, 100, 3, 1, 1, 0xf8, 0x9e, 10, 9, 0, 71, 10, 9, 0, 70, 10, 9, 0, 72, b'1',
            b'1', b'1', b'1', 0, 0, 0, 0,
        ];
        let packet = advert().emit_packet(1, TTL, Ipv4Addr::new(10, 9, 0, 1), GROUP, false);
        assert_eq!(packet[20..], expected);
    }

    #[test]
    fn a_packet_has_keepalived_s_ip_header() {
        let packet = advert().emit_packet(1, TTL, Ipv4Addr::new(10, 9, 0, 1), GROUP, false);
        assert_eq!(packet[..12], [0x45, 0xc0, 0, 48, 0, 1, 0, 0, 255, 112, packet[10], packet[11]]);
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(packet.len(), 48);
    }

    #[test]
    fn version_3_has_centiseconds_and_a_pseudo_header() {
        // The message of the IPv4 vector of auth_hmac's draft, whose checksum is of the message only.
        let advert = Advert {
            version: 3,
            vrid: 51,
            priority: 200,
            auth_type: 0,
            interval: 100,
            addresses: vec![Ipv4Addr::new(192, 0, 2, 100).into()],
            auth_data: [0; 8],
        };
        let source = Ipv4Addr::new(198, 51, 100, 10);
        let plain = advert.emit_packet(1, TTL, source, GROUP, true);
        let expected = [0x31, 0x33, 0xc8, 1, 0, 100, 0x44, 0x02, 192, 0, 2, 100];
        assert_eq!(plain[20..], expected);
        let with = advert.emit_packet(1, TTL, source, GROUP, false);
        assert_ne!(with[26..28], plain[26..28]);
        for packet in [plain, with] {
            let read = Packet::new_v4(&packet).expect("long enough");
            assert!(read.is_checksum_right());
            assert_eq!((read.interval_cs(), read.expected_bytes()), (100, 32));
        }
    }

    #[test]
    fn nothing_shorter_than_its_headers_is_looked_at() {
        let packet = advert().emit_packet(1, TTL, Ipv4Addr::LOCALHOST, GROUP, false);
        for length in 0..28 {
            assert!(Packet::new_v4(&packet[..length]).is_err(), "{length}");
        }
        for length in 28..packet.len() {
            let cut = Packet::new_v4(&packet[..length]).expect("headers are there");
            assert_ne!(cut.expected_bytes(), cut.received_bytes());
            let _ = (cut.to_string(), cut.auth_data(), cut.is_checksum_right());
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(
            vrid in 1u8.., priority: u8, interval in 1u16..255, auth_data: [u8; 8],
            octets in prop::collection::vec(any::<[u8; 4]>(), 0..255), is_v3: bool,
        ) {
            let addresses: Vec<IpAddr> = octets.into_iter().map(IpAddr::from).collect();
            let version = if is_v3 { 3 } else { 2 };
            let sent =
                Advert { version, vrid, priority, auth_type: 1, interval, addresses, auth_data };
            let bytes = sent.emit_packet(7, TTL, Ipv4Addr::LOCALHOST, GROUP, false);
            let read = Packet::new_v4(&bytes).expect("long enough");
            prop_assert!(read.is_checksum_right());
            prop_assert_eq!(read.received_bytes(), read.expected_bytes());
            prop_assert_eq!(read.received_bytes(), read.total_bytes());
            prop_assert_eq!((read.vrid(), read.priority()), (vrid, priority));
            if is_v3 {
                prop_assert_eq!(read.interval_cs(), interval);
            } else {
                prop_assert_eq!(read.auth_data(), Some(auth_data));
                prop_assert_eq!(u16::from(read.interval_s()), interval);
            }
            prop_assert_eq!(read.addresses().collect::<Vec<_>>(), sent.addresses);
        }

        #[test]
        fn version_6_round_trip(octets in prop::collection::vec(any::<[u8; 16]>(), 0..100)) {
            let addresses: Vec<IpAddr> = octets.into_iter().map(IpAddr::from).collect();
            let sent = Advert {
                version: 3, vrid: 1, priority: 9, auth_type: 0, interval: 25, addresses,
                auth_data: [0; 8],
            };
            let bytes = sent.emit_v6();
            let any = Ipv6Addr::LOCALHOST;
            let read = Packet::new_v6(&bytes, any, any, 255).expect("long enough");
            prop_assert_eq!(read.received_bytes(), read.expected_bytes());
            prop_assert_eq!(read.addresses().collect::<Vec<_>>(), sent.addresses);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let any = Ipv6Addr::LOCALHOST;
            let both = [Packet::new_v4(&bytes), Packet::new_v6(&bytes, any, any, 1)];
            for packet in both.into_iter().flatten() {
                let _ = (packet.to_string(), packet.auth_data(), packet.is_checksum_right());
                let _ = (packet.expected_bytes(), packet.total_bytes(), packet.kind());
            }
        }
    }
}
