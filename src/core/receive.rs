//! Which adverts count: keepalived's checks of a received packet, in its order.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::ah::Flaw;
use super::hmac::Mistrust;
use super::spec::{Auth, Destination, InstanceSpec, UnicastPeer, Version};
use crate::wire::vrrp::{Packet, TTL};

/// An advert that passed the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it.
    pub from: IpAddr,
    /// With which priority; 0 says that it gives up.
    pub priority: u8,
    /// The interval of its adverts, which version 3 learns from the master.
    pub interval: Duration,
    /// Its list of addresses is not ours. keepalived up to 2.3.2 drops such an advert, which
    /// makes two masters of a configuration changed on one node only; since 2.3.3 it is logged
    /// and used, and so it is here.
    pub addresses_differ: Option<Difference>,
}

/// How the address list of an advert differs from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It has another number of addresses.
    Count {
        /// What it has.
        theirs: u8,
        /// What we have.
        ours: usize,
    },
    /// One of ours is not among them.
    Missing(IpAddr),
}

/// Why a packet does not count. It is ignored and does not refresh the master down timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// Its length is not that of an advert with so many addresses.
    Length {
        /// Bytes received.
        received: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// It was forwarded: its time to live is not 255.
    Ttl(u8),
    /// Another VRRP version.
    Version {
        /// What it has.
        theirs: u8,
        /// What we have.
        ours: u8,
    },
    /// An authentication type that does not exist.
    AuthType(u8),
    /// Another authentication type than ours.
    AuthMismatch {
        /// What it has.
        theirs: u8,
        /// What we have.
        ours: u8,
    },
    /// A wrong password.
    Password,
    /// An authentication header that is not believed.
    Ah(Flaw),
    /// A signature that is not believed.
    Signature(Mistrust),
    /// Another advert interval.
    Interval {
        /// Seconds, theirs.
        theirs: u8,
        /// Seconds, ours.
        ours: u8,
    },
    /// Not an advertisement.
    Kind(u8),
    /// The IP header names another length than was received.
    TotalLength {
        /// What the header says.
        header: usize,
        /// What came.
        received: usize,
    },
    /// The checksum is wrong.
    Checksum,
    /// It comes from a node that is not among the peers.
    NotAPeer,
    /// It was forwarded more often, or less, than its peer's limits allow.
    PeerTtl(u8),
}

/// Judges a packet for an instance whose VRID it carries.
///
/// # Errors
/// The first of keepalived's checks that fails.
pub fn check(
    spec: &InstanceSpec,
    packet: &Packet<'_>,
    last_sender: Option<IpAddr>,
) -> Result<Heard, Discard> {
    let (received, expected) = (packet.received_bytes(), packet.expected_bytes());
    if received != expected {
        return Err(Discard::Length { received, expected });
    }
    let is_multicast = matches!(spec.destination, Destination::Group(_));
    if is_multicast && packet.ttl() != TTL {
        return Err(Discard::Ttl(packet.ttl()));
    }
    let ours = version(spec);
    if packet.version() != ours {
        return Err(Discard::Version { theirs: packet.version(), ours });
    }
    if spec.version == Version::V2 {
        check_auth(spec.auth, packet)?;
        let ours = u8::try_from(interval_field(spec)).unwrap_or(u8::MAX);
        if packet.interval_s() != ours {
            return Err(Discard::Interval { theirs: packet.interval_s(), ours });
        }
    }
    if packet.kind() != 1 {
        return Err(Discard::Kind(packet.kind()));
    }
    if packet.total_bytes() != received {
        return Err(Discard::TotalLength { header: packet.total_bytes(), received });
    }
    if !packet.is_checksum_right() {
        return Err(Discard::Checksum);
    }
    check_peer(spec, packet)?;
    let from = packet.source();
    let is_known = spec.skip_check_adv_addr && last_sender == Some(from);
    let addresses_differ = if is_known { None } else { difference(spec, packet) };
    let interval = match spec.version {
        Version::V2 => spec.advert_interval,
        Version::V3 => Duration::from_millis(u64::from(packet.interval_cs().max(1)) * 10),
    };
    Ok(Heard { from, priority: packet.priority(), interval, addresses_differ })
}

/// The version field of our adverts.
pub const fn version(spec: &InstanceSpec) -> u8 {
    match spec.version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

/// The interval field of our adverts: seconds, or centiseconds in version 3.
pub fn interval_field(spec: &InstanceSpec) -> u16 {
    let field = match spec.version {
        Version::V2 => u128::from(spec.advert_interval.as_secs()),
        Version::V3 => spec.advert_interval.as_millis() / 10,
    };
    u16::try_from(field).unwrap_or(u16::MAX)
}

/// keepalived looks at who sends unicast only where it is told to, or where a peer has limits.
fn check_peer(spec: &InstanceSpec, packet: &Packet<'_>) -> Result<(), Discard> {
    let Destination::Peers { peers, check_source: true, .. } = &spec.destination else {
        return Ok(());
    };
    let is_sender = |peer: &&UnicastPeer| peer.ip == packet.source();
    let peer = peers.iter().find(is_sender).ok_or(Discard::NotAPeer)?;
    let least = peer.min_ttl.unwrap_or(0);
    let greatest = peer.max_ttl.unwrap_or(u8::MAX);
    if (least..=greatest).contains(&packet.ttl()) {
        Ok(())
    } else {
        Err(Discard::PeerTtl(packet.ttl()))
    }
}

/// The authentication type and data of our adverts.
pub const fn auth_fields(auth: Auth) -> (u8, [u8; 8]) {
    match auth {
        Auth::None => (0, [0; 8]),
        Auth::Pass(password) => (1, password),
        // The key is in no advert.
        Auth::Ah(_) => (2, [0; 8]),
    }
}

fn check_auth(auth: Auth, packet: &Packet<'_>) -> Result<(), Discard> {
    let (ours, password) = auth_fields(auth);
    let theirs = packet.auth_type();
    if theirs > 2 {
        return Err(Discard::AuthType(theirs));
    }
    if theirs != ours {
        return Err(Discard::AuthMismatch { theirs, ours });
    }
    if ours == 1 && packet.auth_data() != Some(password) {
        return Err(Discard::Password);
    }
    Ok(())
}

/// Compares the address lists; their order is free.
fn difference(spec: &InstanceSpec, packet: &Packet<'_>) -> Option<Difference> {
    let ours = spec.addresses.len();
    if usize::from(packet.count()) != ours {
        return Some(Difference::Count { theirs: packet.count(), ours });
    }
    let is_missing = |ip: &IpAddr| !packet.addresses().any(|theirs| theirs == *ip);
    spec.addresses.iter().map(|a| a.ip).find(is_missing).map(Difference::Missing)
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { received, expected } => {
                let word = if received > expected { "long" } else { "short" };
                write!(f, "vrrp packet too {word}, length {received} and expect {expected}")
            }
            Self::Ttl(ttl) => write!(f, "invalid TTL/HL. Received {ttl} and expect {TTL}"),
            Self::Version { theirs, ours } => {
                write!(f, "wrong version. Received {theirs} and expect {ours}")
            }
            Self::AuthType(theirs) => write!(f, "Invalid auth type: {theirs}"),
            Self::AuthMismatch { theirs, ours } => {
                write!(f, "received a {theirs} auth, expecting {ours}!")
            }
            Self::Password => f.write_str("received an invalid passwd!"),
            Self::Ah(flaw) => flaw.fmt(f),
            Self::Signature(mistrust) => mistrust.fmt(f),
            Self::Interval { theirs, ours } => {
                write!(f, "advertisement interval mismatch mine={ours} sec rcv'd={theirs} sec")
            }
            Self::Kind(theirs) => write!(f, "Invalid packet type. {theirs} and expect 1"),
            Self::TotalLength { header, received } => {
                write!(
                    f,
                    "ip_tot_len mismatch against received length. {header} and received {received}"
                )
            }
            Self::Checksum => f.write_str("Invalid VRRP checksum"),
            Self::NotAPeer => f.write_str("unicast source address not a unicast peer"),
            Self::PeerTtl(ttl) => write!(f, "TTL {ttl} outside the limits of its unicast peer"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { theirs, ours } => {
                write!(f, "received an unexpected ip number count {theirs}, expected {ours}!")
            }
            Self::Missing(ip) => write!(f, "expected ip address {ip} not present in advert"),
        }
    }
}
