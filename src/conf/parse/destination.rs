//! The lines that say how adverts travel: version, family, group, peers, source.

use std::net::IpAddr;

use super::super::diagnostic::Severity;
use super::super::lex::{Statement, Word};
use super::{At, Ending, InstanceRaw, Reader, value};
use crate::core::spec::{Family, UnicastPeer, Version};

pub(super) const fn family_of(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

impl InstanceRaw {
    /// Whether an address is of the instance's family, which the first one decides.
    fn takes(&mut self, ip: IpAddr) -> bool {
        *self.family.get_or_insert(family_of(ip)) == family_of(ip)
    }

    /// A keyword was used that only means something to unicast.
    fn speaks_of_unicast(&mut self, statement: &Statement) {
        let keyword = statement.words.first().map(|word| word.span);
        self.unicast = self.unicast.or(keyword);
    }
}

/// `version`. The first one holds, and after IPv6 addresses it can only be 3.
pub(super) fn version(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(At { value, span }) = reader.version(statement) else { return };
    let deduced = (instance.family == Some(Family::V6)).then_some(Version::V3);
    match instance.version.map(|at| at.value).or(deduced) {
        Some(other) if other != value => {
            let message = format!(
                "({}) vrrp_version {} conflicts with configured or deduced version {}; ignoring.",
                instance.name,
                number(value),
                number(other)
            );
            reader.fault(span, message);
        }
        _ => instance.version = Some(At { value, span }),
    }
}

const fn number(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

/// `native_ipv6`: IPv6, and version 3 with it.
pub(super) fn native_ipv6(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = statement.words.first() else { return };
    reader.flag(statement);
    if instance.family == Some(Family::V4) {
        let message = format!("({}) Cannot specify native_ipv6 with IPv4 addresses", instance.name);
        reader.fault(word.span, message);
        return;
    }
    let message = "native_ipv6: not needed, the addresses say it themselves";
    reader.say(Severity::Note, word.span, message);
    instance.family = Some(Family::V6);
    instance.version.get_or_insert(At { value: Version::V3, span: word.span });
}

/// `virtual_ipaddress`.
pub(super) fn addresses(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    for line in reader.lines(statement) {
        let Some(address) = reader.address(line) else { continue };
        if instance.takes(address.ip) {
            instance.addresses.push(address);
            continue;
        }
        let message = format!(
            "({}): address family must match VRRP instance [{}] - ignoring",
            instance.name, address.ip
        );
        reader.fault(address.span, message);
    }
}

/// `mcast_src_ip`; what follows a slash has no meaning.
pub(super) fn source(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = reader.value(statement) else { return };
    let bare = word.text.split_once('/').map_or(word.text.as_str(), |(bare, _)| bare);
    let wrong = match bare.parse::<IpAddr>() {
        Ok(value) if instance.takes(value) => {
            if bare.len() < word.text.len() {
                let message = "a source is one address: what follows the slash has no meaning";
                reader.say(Severity::Warning, word.span, message);
            }
            instance.source = Some(At { value, span: word.span });
            return;
        }
        Ok(_) => format!("and src address[{}] MUST be of the same family !!!", word.text),
        Err(_) => format!("malformed src address[{}].", word.text),
    };
    let message =
        format!("Configuration error: VRRP instance[{}] {wrong} Skipping...", instance.name);
    reader.fault(word.span, message);
    // One that came before is gone, as with keepalived.
    instance.source = None;
}

/// `unicast_src_ip`.
pub(super) fn unicast_source(
    reader: &mut Reader,
    statement: &Statement,
    instance: &mut InstanceRaw,
) {
    instance.speaks_of_unicast(statement);
    source(reader, statement, instance);
}

/// `mcast_dst_ip`: any IPv4 group, or one of IPv6 that does not leave the link.
pub(super) fn group(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = reader.value(statement) else { return };
    let name = instance.name.clone();
    let message = match word.text.parse::<IpAddr>() {
        Err(_) => format!("({name}) malformed mcast dest address {}. Skipping...", word.text),
        Ok(ip) if !instance.takes(ip) => {
            format!("({name}) mcast dest address {ip} MUST match VRRP instance family. Skipping...")
        }
        Ok(ip @ IpAddr::V4(_)) if !ip.is_multicast() => {
            format!("({name}) mcast_dst_ip {ip} not multicast. Skipping...")
        }
        Ok(ip) if !stays_on_link(ip) => {
            format!("({name}) mcast_dst_ip {ip} not link-local multicast. Skipping...")
        }
        Ok(value) => {
            instance.group = Some(At { value, span: word.span });
            return;
        }
    };
    reader.fault(word.span, message);
    instance.group = None;
}

/// An IPv6 group within the link (RFC 4291, 2.7); those of IPv4 are not asked.
fn stays_on_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.octets().starts_with(&[0xff, 0x02]),
    }
}

/// `unicast_peer`.
pub(super) fn peers(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    instance.speaks_of_unicast(statement);
    for line in reader.lines(statement) {
        let Some((first, options)) = line.words.split_first() else { continue };
        let Some(ip) = reader.peer_address(first, instance) else { continue };
        let mut peer = UnicastPeer { ip, min_ttl: None, max_ttl: None };
        reader.ttl_limits(options, &mut peer);
        let (min, max) = (peer.min_ttl.unwrap_or(0), peer.max_ttl.unwrap_or(u8::MAX));
        if min > max {
            let message = format!(
                "({}) min_ttl {min} > max_ttl {max} - all packets will be discarded",
                instance.name
            );
            reader.fault(first.span, message);
        }
        instance.check_source |= peer.min_ttl.is_some() || peer.max_ttl.is_some();
        instance.peers.push(At { value: peer, span: first.span });
    }
}

/// `check_unicast_src`.
pub(super) fn check_source(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    instance.speaks_of_unicast(statement);
    instance.check_source = reader.flag(statement);
}

/// `old_unicast_checksum [never]`: the checksum of keepalived up to 1.3.6, or never that one.
pub(super) fn old_checksum(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(keyword) = statement.words.first() else { return };
    instance.speaks_of_unicast(statement);
    match statement.words.get(1) {
        None => instance.old_checksum = Some(keyword.span),
        Some(mode) if mode.text == "never" => instance.old_checksum = None,
        Some(mode) => {
            let message = format!(
                "({}) Unknown old_unicast_chksum mode {} - ignoring",
                instance.name, mode.text
            );
            reader.fault(mode.span, message);
        }
    }
}

impl Reader {
    /// A VRRP version.
    pub(super) fn version(&mut self, statement: &Statement) -> Option<At<Version>> {
        let At { value, span } = self.setting(statement, 2..=3, Ending::Strict)?;
        let value = if value == 2 { Version::V2 } else { Version::V3 };
        Some(At { value, span })
    }

    /// `vrrp_mcast_group4` and `vrrp_mcast_group6`.
    pub(super) fn global_group(&mut self, statement: &Statement, family: Family) -> Option<IpAddr> {
        let keyword = statement.words.first()?;
        let word = self.value(statement)?;
        let which = format!("{} [{}]", keyword.text, word.text);
        let Ok(ip) = word.text.parse::<IpAddr>() else {
            self.fault(word.span, format!("Can't parse {which}. Skipping"));
            return None;
        };
        if family_of(ip) != family {
            let family = if family == Family::V4 { "IPv4" } else { "IPv6" };
            self.fault(word.span, format!("{which} is not {family}. Skipping"));
            return None;
        }
        if !ip.is_multicast() {
            self.fault(word.span, format!("{which} is not multicast. Skipping"));
            return None;
        }
        if !stays_on_link(ip) {
            self.fault(word.span, format!("{which} should be link-local multicast."));
        }
        Some(ip)
    }

    /// The address of a peer; what follows a slash has no meaning.
    fn peer_address(&mut self, word: &Word, instance: &mut InstanceRaw) -> Option<IpAddr> {
        let bare = word.text.split_once('/').map_or(word.text.as_str(), |(bare, _)| bare);
        let wrong = match bare.parse::<IpAddr>() {
            Ok(ip) if instance.takes(ip) => {
                if bare.len() < word.text.len() {
                    let message =
                        "a unicast peer is one address: what follows the slash has no meaning";
                    self.say(Severity::Warning, word.span, message);
                }
                return Some(ip);
            }
            Ok(_) => format!("and unicast peer address[{}] MUST be of the same family !!!", bare),
            Err(_) => format!("malformed unicast peer address[{}].", word.text),
        };
        let message =
            format!("Configuration error: VRRP instance[{}] {wrong} Skipping...", instance.name);
        self.fault(word.span, message);
        None
    }

    /// `[min_ttl n] [max_ttl n]`; keepalived reads words in pairs.
    fn ttl_limits(&mut self, options: &[Word], peer: &mut UnicastPeer) {
        for pair in options.chunks(2) {
            let (option, value) = match pair {
                [option, value] => (option, value),
                [option] => {
                    let message = format!("({}) {} is missing a value", self.scope, option.text);
                    self.fault(option.span, message);
                    continue;
                }
                _ => continue,
            };
            let limit = match option.text.as_str() {
                "min_ttl" => &mut peer.min_ttl,
                "max_ttl" => &mut peer.max_ttl,
                other => {
                    let message = format!("({}) unknown unicast_peer option {other}", self.scope);
                    self.fault(option.span, message);
                    continue;
                }
            };
            match value::number(&value.text, &(0..=255)) {
                Ok(number) => *limit = u8::try_from(number).ok(),
                Err(what) => {
                    self.fault(value.span, format!("{what}; '{}' is ignored", option.text));
                }
            }
        }
    }
}
