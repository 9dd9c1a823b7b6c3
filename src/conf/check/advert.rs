//! How an instance's adverts travel: version, interval, authentication, destination.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::super::diagnostic::{Severity, Span};
use super::super::parse::{At, AuthKind, InstanceRaw};
use super::Checker;
use crate::core::spec::{Auth, Destination, Family, HmacMode, InstanceSpec, UnicastPeer, Version};

/// Where adverts go unless the configuration says otherwise (RFC 3768, 5.2.2).
const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The same for IPv6 (RFC 9568, 5.1.2.2).
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// What a v3 interval is counted in: 10 ms, as microseconds.
const CENTISECOND: u128 = 10_000;

/// The greatest interval that version 3 has room for, in units of 10 ms.
const CENTISECONDS_MAX: u64 = 4095;

/// The family that an instance's block tells; IPv4 if nothing in it does.
pub(super) fn family(raw: &InstanceRaw) -> Family {
    raw.family.unwrap_or_default()
}

/// Do its adverts have a trailer (`auth_hmac`)?
pub(super) fn signs(raw: &InstanceRaw) -> bool {
    let mode = raw.hmac.as_ref().map(|hmac| hmac.mode.map(|at| at.value));
    mode.is_some_and(|mode| mode != Some(HmacMode::ReceiveOnly))
}

impl Checker<'_> {
    /// IPv6 is version 3 whatever `vrrp_version` says. keepalived obeys a `version 2` that stands
    /// before the addresses, with adverts that no standard knows.
    pub(super) fn version(&mut self, raw: &InstanceRaw) -> Version {
        let written = raw.version.map(|at| at.value);
        if family(raw) == Family::V4 {
            return written.or(self.raw.global.version).unwrap_or_default();
        }
        if let (Some(At { value: Version::V2, span }), true) = (raw.version, self.is_strict(raw)) {
            let message =
                format!("({}) cannot use IPv6 with VRRP version 2; setting version 3", raw.name);
            self.fault(span, message);
        } else if let Some(At { value: Version::V2, span }) = raw.version {
            let message = format!(
                "({}) VRRP version 2 has no IPv6; remove `version 2` or write `version 3`, on \
                 every node",
                raw.name
            );
            self.error(span, message);
        }
        Version::V3
    }

    pub(super) fn advert_interval(&mut self, raw: &InstanceRaw, version: Version) -> Duration {
        let Some(At { value, span }) = raw.advert_int else { return Duration::from_secs(1) };
        let name = &raw.name;
        let seconds = value.as_secs_f64();
        let (taken, message) = match version {
            Version::V2 => {
                let rounded = (value + Duration::from_millis(500)).as_secs().clamp(1, 255);
                let message = format!(
                    "({name}) VRRPv2 advertisement interval {seconds:.6}s must be an integer. \
                     rounding to {rounded}s"
                );
                (Duration::from_secs(rounded), message)
            }
            Version::V3 => {
                let units = (value.as_micros() + CENTISECOND / 2) / CENTISECOND;
                let units = u64::try_from(units).unwrap_or(u64::MAX);
                let taken = Duration::from_millis(units.clamp(1, CENTISECONDS_MAX) * 10);
                let what = if value >= Duration::from_millis((CENTISECONDS_MAX + 1) * 10) {
                    format!("{seconds:.2}s is out of range. Must be less than 40.96s. Setting")
                } else {
                    format!("{seconds:.6}s must be in units of 10ms - rounding")
                };
                let message = format!(
                    "({name}) VRRPv3 advertisement interval {what} to {:.2}s",
                    taken.as_secs_f64()
                );
                (taken, message)
            }
        };
        if taken != value {
            self.fault(span, message);
        }
        taken
    }

    pub(super) fn auth(&mut self, raw: &InstanceRaw, version: Version) -> Auth {
        let name = &raw.name;
        if raw.hmac.is_some() {
            return Auth::None;
        }
        let kind = raw.auth.kind.map(|at| at.span);
        let written = kind.or(raw.auth.password.as_ref().map(|at| at.span));
        if let (true, Some(span)) = (self.is_strict(raw), written) {
            let message =
                format!("({name}) Strict mode does not support authentication. Ignoring.");
            self.fault(span, message);
            return Auth::None;
        }
        if let (Version::V3, Some(span)) = (version, kind) {
            let message =
                format!("({name}) VRRP version 3 does not support authentication. Ignoring.");
            self.fault(span, message);
            return Auth::None;
        }
        match (raw.auth.kind, &raw.auth.password) {
            (Some(At { span, .. }), None) => {
                let message =
                    format!("({name}) Authentication specified but no password given. Ignoring");
                self.fault(span, message);
                Auth::None
            }
            (None, Some(password)) => {
                let message = format!("({name}) auth_pass has no effect without `auth_type`");
                self.say(Severity::Warning, password.span, message);
                Auth::None
            }
            (Some(At { value: kind, span }), Some(password)) => {
                let mut padded = [0; 8];
                for (to, from) in padded.iter_mut().zip(&password.value) {
                    *to = *from;
                }
                match kind {
                    AuthKind::Pass => Auth::Pass(padded),
                    AuthKind::Ah => {
                        self.weigh_ah(name, span);
                        Auth::Ah(padded)
                    }
                }
            }
            (None, None) => Auth::None,
        }
    }

    fn weigh_ah(&mut self, name: &str, span: Span) {
        let message = format!(
            "({name}) auth_type AH keeps mistakes apart, not attackers: HMAC-MD5 with a key of at \
             most eight characters can be guessed from one advert, and a node that was started \
             again takes recorded adverts; RFC 3768 has removed it. If no node is keepalived before \
             2.4, use auth_hmac"
        );
        self.say(Severity::Warning, span, message);
    }

    pub(super) fn destination(&mut self, raw: &InstanceRaw, version: Version) -> Destination {
        if raw.peers.is_empty() {
            self.no_peers(raw);
            return Destination::Group(self.group(raw));
        }
        if let Some(group) = raw.group {
            let message =
                format!("({}) multicast destination specified with unicast - ignoring", raw.name);
            self.fault(group.span, message);
        }
        if let (Some(span), Version::V3, Family::V4) = (raw.old_checksum, version, family(raw)) {
            let message = "not supported yet: old_unicast_checksum, that of keepalived up to \
                           1.3.6; write `old_unicast_checksum never` or remove it";
            self.error(span, message.to_owned());
        }
        Destination::Peers {
            peers: self.peers(raw),
            ttl: raw.unicast_ttl.map(|at| at.value),
            check_source: raw.check_source || self.raw.global.check_source,
        }
    }

    fn group(&self, raw: &InstanceRaw) -> IpAddr {
        let global = &self.raw.global;
        let written = raw.group.map(|group| group.value);
        match family(raw) {
            Family::V4 => written.or(global.group4).unwrap_or(IpAddr::V4(GROUP4)),
            Family::V6 => written.or(global.group6).unwrap_or(IpAddr::V6(GROUP6)),
        }
    }

    /// Unicast is spoken of, but there is nobody to send to.
    fn no_peers(&mut self, raw: &InstanceRaw) {
        let name = &raw.name;
        if let Some(ttl) = raw.unicast_ttl {
            let message =
                format!("({name}): Cannot use unicast_ttl without unicast peers - resetting");
            self.fault(ttl.span, message);
        }
        if let Some(span) = raw.fault_no_peer {
            let message = format!(
                "({name}) Cannot use unicast without any peers: keepalived would stay in fault \
                 state; add a `unicast_peer` block or remove `unicast_fault_no_peer`"
            );
            self.error(span, message);
        } else if let Some(span) = raw.unicast {
            let message = format!(
                "({name}) A unicast keyword has been specified without any unicast peers. \
                 Defaulting to multicast. This usage is deprecated - please update your \
                 configuration."
            );
            self.fault(span, message);
        }
    }

    /// Each peer once, and not this node itself if there are others.
    fn peers(&mut self, raw: &InstanceRaw) -> Vec<UnicastPeer> {
        let own = raw.source.map(|source| source.value);
        let mut peers: Vec<UnicastPeer> = Vec::new();
        for At { value: peer, span } in &raw.peers {
            let ip = peer.ip;
            let problem = if peers.iter().any(|other| other.ip == ip) {
                Some("stands there twice; the second one is left out")
            } else if own == Some(ip) {
                Some("is this node's own source address; adverts need not go there")
            } else if !may_be_a_node(ip) {
                Some("is not the address of another node; list the addresses of the others")
            } else {
                None
            };
            if let Some(problem) = problem {
                let message = format!("({}) unicast peer {ip} {problem}", raw.name);
                self.say(Severity::Warning, *span, message);
            }
            let twice = peers.iter().any(|other| other.ip == ip);
            let others = raw.peers.iter().any(|other| other.value.ip != ip);
            if !twice && (own != Some(ip) || !others) {
                peers.push(*peer);
            }
        }
        peers
    }
}

fn may_be_a_node(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || broadcast)
}

/// What is wrong if the adverts of one of these would be taken for those of the other. Unicast
/// instances are told apart by their sources and peers.
pub(super) fn collision(a: &InstanceSpec, b: &InstanceSpec, interface: &str) -> Option<String> {
    if (a.vrid, a.link, a.family) != (b.vrid, b.link, b.family) {
        return None;
    }
    match (&a.destination, &b.destination) {
        (Destination::Group(one), Destination::Group(other)) if one == other => {
            let family = if a.family == Family::V4 { "IPv4" } else { "IPv6" };
            Some(format!(
                "{} and {} both use VRID {} with {family} on interface {interface}",
                a.name, b.name, b.vrid
            ))
        }
        (Destination::Peers { peers, .. }, Destination::Peers { peers: others, .. })
            if a.source == b.source
                && peers.iter().any(|one| others.iter().any(|other| one.ip == other.ip)) =>
        {
            Some(format!("({}) duplicate VRID conflict with {} VRID {}", a.name, b.name, b.vrid))
        }
        _ => None,
    }
}
