//! The trailer of signed adverts (`auth_hmac`, keepalived 2.4, draft-cassen-vrrp-auth-hmac): 28 bytes
//! behind the VRRP message, of either version and family.
//!
//! It proves that the sender has the key, that nothing in the message was changed, and, by a
//! sequence that grows, that the advert is a new one.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of the trailer.
pub const TRAILER_BYTES: usize = 28;
/// What of it is signed: everything but the digest.
const SIGNED_BYTES: usize = 12;
/// The first half of SHA-256's 32 bytes.
const DIGEST_BYTES: usize = 16;
/// HMAC-SHA256, the only scheme there is.
const TYPE_HMAC_SHA256: u8 = 1;
/// Where the checksum of a VRRP message is; it counts as zero, since IPv6's is made later.
const CHECKSUM_AT: std::ops::Range<usize> = 6..8;

/// A key that adverts are signed with. It never shows what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; Self::BYTES_MAX]);

impl Key {
    /// The shortest key, in bytes.
    pub const BYTES_MIN: usize = 32;
    /// The longest key, in bytes: a block of SHA-256.
    pub const BYTES_MAX: usize = 64;

    /// A key of 32 to 64 bytes; nothing of any other length.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        // HMAC fills a short key up with zeros (RFC 2104, 2).
        let mut key = [0; Self::BYTES_MAX];
        key.get_mut(..bytes.len())?.copy_from_slice(bytes);
        (bytes.len() >= Self::BYTES_MIN).then_some(Self(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(********)")
    }
}

/// A place in the growing row of a sender's adverts: seconds of UTC, 2^-16 seconds, a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence(pub u64);

impl Sequence {
    /// That of a moment, by UTC since 1970. The seconds wrap in 2106.
    pub fn at(utc: Duration) -> Self {
        let fraction = (u64::from(utc.subsec_nanos()) << 16) / 1_000_000_000;
        Self((utc.as_secs() & u64::from(u32::MAX)) << 32 | fraction << 16)
    }

    /// Its seconds of UTC, of which the upper bits are lost.
    pub const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// How many seconds this moment is after it, by a clock that may wrap (RFC 1982).
    pub const fn age(self, utc: Duration) -> i32 {
        (utc.as_secs() as u32).wrapping_sub(self.seconds()).cast_signed()
    }

    /// Does it come after the other one (RFC 1982)?
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// The one after it. The counter carries into the time.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A trailer that was received: well-formed, and nothing more has been judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Which key its sender says it was signed with.
    pub key_id: u8,
    /// Its place in the row.
    pub sequence: Sequence,
    digest: [u8; DIGEST_BYTES],
}

impl Trailer {
    /// Reads a trailer; nothing if its length or type is another, or what is reserved is not zero.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TRAILER_BYTES] = bytes.try_into().ok()?;
        let [TYPE_HMAC_SHA256, key_id, 0, 0, ..] = *bytes else { return None };
        let sequence = Sequence(u64::from_be_bytes(*bytes.get(4..)?.first_chunk()?));
        Some(Self { key_id, sequence, digest: *bytes.last_chunk()? })
    }

    /// Is it that of this VRRP message from this sender, made with this key? Takes the same time
    /// whatever is wrong.
    pub fn is_right(&self, key: &Key, source: IpAddr, message: &[u8]) -> bool {
        mac(key, source, message, &head(self.key_id, self.sequence))
            .verify_truncated_left(&self.digest)
            .is_ok()
    }
}

/// The trailer of a VRRP message (whatever its checksum is) that is sent from `source`.
pub fn sign(
    key: &Key,
    key_id: u8,
    sequence: Sequence,
    source: IpAddr,
    message: &[u8],
) -> [u8; TRAILER_BYTES] {
    let head = head(key_id, sequence);
    let digest = mac(key, source, message, &head).finalize().into_bytes();
    let mut trailer = [0; TRAILER_BYTES];
    for (to, from) in trailer.iter_mut().zip(head.iter().chain(&digest)) {
        *to = *from;
    }
    trailer
}

/// The trailer up to its digest.
fn head(key_id: u8, sequence: Sequence) -> [u8; SIGNED_BYTES] {
    let [a, b, c, d, e, f, g, h] = sequence.0.to_be_bytes();
    [TYPE_HMAC_SHA256, key_id, 0, 0, a, b, c, d, e, f, g, h]
}

/// Over a pseudo header, the message, the head of the trailer, and zeros in place of the digest. The
/// pseudo header ties it to family, version, virtual router and sender, but not to the destination:
/// all unicast peers get the same.
fn mac(key: &Key, source: IpAddr, message: &[u8], head: &[u8; SIGNED_BYTES]) -> Hmac<Sha256> {
    let family = if source.is_ipv4() { 4 } else { 6 };
    let (version, vrid) = match message {
        [first, vrid, ..] => (first >> 4, *vrid),
        _ => (0, 0),
    };
    let mut address = [0; 16];
    match source {
        IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => address = ip.octets(),
    }
    let mut message = message.to_vec();
    message.iter_mut().take(CHECKSUM_AT.end).skip(CHECKSUM_AT.start).for_each(|byte| *byte = 0);
    let mut mac = Hmac::<Sha256>::new(&key.0.into());
    mac.update(&[family, version, vrid, 0]);
    mac.update(&address);
    mac.update(&message);
    mac.update(head);
    mac.update(&[0; DIGEST_BYTES]);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vrrp::{Advert, GROUP, Packet, TTL};
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn key() -> Key {
        let bytes: Vec<u8> = (0..32).collect();
        Key::new(&bytes).expect("32 bytes")
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    const SEQUENCE: Sequence = Sequence(0x6800_0000_8000_0000);

    fn advert(address: IpAddr) -> Advert {
        Advert {
            version: 3,
            vrid: 51,
            priority: 200,
            auth_type: 0,
            interval: 100,
            addresses: vec![address],
            auth_data: [0; 8],
        }
    }

    #[test]
    fn ipv4_vector() {
        let source = Ipv4Addr::new(198, 51, 100, 10);
        let advert = advert(Ipv4Addr::new(192, 0, 2, 100).into());
        let trailer = sign(&key(), 1, SEQUENCE, source.into(), &advert.emit_v6());
        let packet = advert.emit_signed(1, TTL, source, GROUP, true, &trailer);
        let expected = "3133c80100644402c0000264 010100006800000080000000 \
                        1b84bc4e8e43892dc6d98448f8ee2265";
        assert_eq!(packet[20..], hex(expected));
        let (read, rest) = Packet::new_v4(&packet).expect("long enough").split_trailer();
        assert!(read.is_checksum_right());
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
        assert_eq!(read.total_bytes(), read.received_bytes());
        let trailer = Trailer::read(rest.expect("a trailer")).expect("well-formed");
        assert_eq!((trailer.key_id, trailer.sequence), (1, SEQUENCE));
        assert!(trailer.is_right(&key(), read.source(), read.message()));
    }

    #[test]
    fn ipv6_vector() {
        let message = hex("3133c8010064a2e9fe800000000000000000000000000100");
        let trailer = hex("010100006800000080000000 c8c56146ebfd66ee10ec4d8186461b78");
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10);
        let made = sign(&key(), 1, SEQUENCE, source.into(), &message);
        assert_eq!(made.as_slice(), trailer);
        let whole = [message.clone(), trailer].concat();
        let to = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x20);
        let packet = Packet::new_v6(&whole, source, to, 255).expect("long enough");
        let (read, rest) = packet.split_trailer();
        assert_eq!(read.message(), message);
        let trailer = Trailer::read(rest.expect("a trailer")).expect("well-formed");
        assert!(trailer.is_right(&key(), source.into(), &message));
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let source = IpAddr::from([198, 51, 100, 10]);
        let message = advert(Ipv4Addr::new(192, 0, 2, 100).into()).emit_v6();
        let trailer = sign(&key(), 1, SEQUENCE, source, &message);
        let is_right = |trailer: &[u8], source: IpAddr, message: &[u8]| {
            Trailer::read(trailer).is_some_and(|t| t.is_right(&key(), source, message))
        };
        assert!(is_right(&trailer, source, &message));
        for at in 0..trailer.len() {
            let mut other = trailer;
            other[at] ^= 1;
            assert!(!is_right(&other, source, &message), "byte {at} of the trailer");
        }
        for at in 0..message.len() {
            let mut other = message.clone();
            other[at] ^= 1;
            let is_checksum = (6..8).contains(&at);
            assert_eq!(is_right(&trailer, source, &other), is_checksum, "byte {at}");
        }
        assert!(!is_right(&trailer, [198, 51, 100, 11].into(), &message));
        let mapped = Ipv4Addr::new(198, 51, 100, 10).to_ipv6_mapped();
        assert!(!is_right(&trailer, mapped.into(), &message));
        let other = Key::new(&[7; 32]).expect("32 bytes");
        assert!(!Trailer::read(&trailer).expect("good").is_right(&other, source, &message));
    }

    #[test]
    fn version_2_keeps_its_authentication_bytes() {
        let source = Ipv4Addr::new(10, 9, 0, 1);
        let mut advert = advert(Ipv4Addr::new(10, 9, 0, 70).into());
        (advert.version, advert.interval) = (2, 1);
        let trailer = sign(&key(), 9, SEQUENCE, source.into(), &advert.emit_v6());
        let packet = advert.emit_signed(1, TTL, source, GROUP, false, &trailer);
        assert_eq!(packet.len(), 20 + 8 + 4 + 8 + TRAILER_BYTES);
        let (read, rest) = Packet::new_v4(&packet).expect("long enough").split_trailer();
        assert!(read.is_checksum_right());
        let trailer = Trailer::read(rest.expect("a trailer")).expect("well-formed");
        assert!(trailer.is_right(&key(), read.source(), read.message()));
    }

    #[test]
    fn keys_have_32_to_64_bytes_and_stay_secret() {
        for (length, is_key) in [(0, false), (31, false), (32, true), (64, true), (65, false)] {
            assert_eq!(Key::new(&vec![1; length]).is_some(), is_key, "{length}");
        }
        assert_eq!(format!("{:?}", key()), "Key(********)");
    }

    #[test]
    fn sequences_grow_with_the_clock_and_over_its_end() {
        let at = |secs, nanos| Sequence::at(Duration::new(secs, nanos));
        assert_eq!(at(0x6800_0000, 500_000_000), SEQUENCE);
        assert!(at(5, 16_000).is_after(at(5, 0)) && at(6, 0).is_after(at(5, 999_999_999)));
        assert!(!at(5, 0).is_after(at(5, 0)));
        assert!(at(1 << 32, 0).is_after(at((1 << 32) - 1, 0)));
        assert_eq!(at((1 << 32) - 2, 0).age(Duration::from_secs((1 << 32) + 1)), 3);
        assert_eq!(at(9, 0).age(Duration::from_secs(7)), -2);
        assert_eq!(Sequence(0x1_ffff_ffff).next().seconds(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let any = Ipv6Addr::LOCALHOST;
            for packet in [Packet::new_v4(&bytes), Packet::new_v6(&bytes, any, any, 1)] {
                let Ok(packet) = packet else { continue };
                let (packet, rest) = packet.split_trailer();
                let trailer = Trailer::read(rest.unwrap_or(&bytes));
                let is_right = |t: Trailer| t.is_right(&key(), any.into(), packet.message());
                prop_assert!(!trailer.is_some_and(is_right));
            }
        }
    }
}
