//! What the capture leaves open: adverts of both versions and families with their IP headers, and
//! unsolicited neighbour advertisements.

use super::Frame;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The protocol number of VRRP.
const VRRP: u8 = 112;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// An advert of version 2 or 3 over IPv4 or IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// 2 or 3.
    pub version: u8,
    /// Virtual router id.
    pub vrid: u8,
    /// 0 on leaving.
    pub priority: u8,
    /// The advert interval, in hundredths of a second.
    pub hundredths: u16,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// In the order of the packet.
    pub addresses: Vec<IpAddr>,
    /// What stands behind the addresses: the password of version 2.
    pub rest: Vec<u8>,
}

/// The parts of an IP packet that matter here.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    protocol: u8,
    payload: &'a [u8],
}

fn v4(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).ok().map(|b| Ipv4Addr::from(b).into())
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(bytes).ok().map(|b| Ipv6Addr::from(b).into())
}

fn ip(frame: &Frame) -> Option<Ip<'_>> {
    let packet = frame.bytes.get(14..)?;
    match frame.bytes.get(12..14)? {
        [8, 0] => Some(Ip {
            source: v4(packet.get(12..16)?)?,
            destination: v4(packet.get(16..20)?)?,
            ttl: *packet.get(8)?,
            protocol: *packet.get(9)?,
            payload: packet.get(usize::from(packet.first()? & 15) * 4..)?,
        }),
        [0x86, 0xdd] => Some(Ip {
            source: v6(packet.get(8..24)?)?,
            destination: v6(packet.get(24..40)?)?,
            ttl: *packet.get(7)?,
            protocol: *packet.get(6)?,
            payload: packet.get(40..)?,
        }),
        _ => None,
    }
}

impl Frame {
    /// The advert of whatever version and family, if it is one.
    pub fn sent(&self) -> Option<Sent> {
        let ip = ip(self).filter(|ip| ip.protocol == VRRP)?;
        let message = ip.payload;
        let version = message.first()? >> 4;
        let interval = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
        let size = if ip.source.is_ipv4() { 4 } else { 16 };
        let end = 8 + size * usize::from(*message.get(3)?);
        let address = |bytes: &[u8]| v4(bytes).or_else(|| v6(bytes));
        Some(Sent {
            version,
            vrid: *message.get(1)?,
            priority: *message.get(2)?,
            hundredths: if version == 2 { (interval & 0xff) * 100 } else { interval & 0xfff },
            source: ip.source,
            destination: ip.destination,
            ttl: ip.ttl,
            addresses: message.get(8..end)?.chunks(size).filter_map(address).collect(),
            rest: message.get(end..)?.to_vec(),
        })
    }

    /// The address whose neighbours are told without having asked, if it is such a telling.
    pub fn tells(&self) -> Option<Ipv6Addr> {
        let ip = ip(self).filter(|ip| ip.protocol == ICMPV6)?;
        let is_meant = ip.payload.first() == Some(&NEIGHBOUR_ADVERTISEMENT)
            && ip.destination == IpAddr::V6(Ipv6Addr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]));
        match v6(ip.payload.get(8..24)?)? {
            IpAddr::V6(target) if is_meant => Some(target),
            _ => None,
        }
    }
}
