//! Routes and rules: what `ip route` and `ip rule` would be told, and the text that keepalived has
//! for it in its log and its dumps.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::VirtualAddress;
use super::diagnostic::Span;
use crate::core::spec::{Family, InstanceId};

/// Addresses, routes and rules that are there while the daemon runs, whatever the state of any
/// instance (`static_ipaddress`, `static_routes`, `static_rules`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statics {
    /// `static_ipaddress`.
    pub addresses: Vec<Entry<VirtualAddress>>,
    /// `static_routes`.
    pub routes: Vec<Entry<Route>>,
    /// `static_rules`.
    pub rules: Vec<Entry<Rule>>,
    /// `track_group`: its name and the instances in it, by name.
    pub groups: Vec<(String, Vec<String>)>,
}

/// One line of a block of addresses, routes or rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<T> {
    /// What it says.
    pub what: Arc<T>,
    /// `no_track`: leave it alone if somebody removes it.
    pub no_track: bool,
    /// `track_group` of something static.
    pub group: Option<String>,
    /// The instances of that group: their places in [`super::Config::instances`]. They are faulty
    /// while this cannot be set.
    pub tracked_by: Vec<InstanceId>,
    /// Where it stands.
    pub span: Span,
}

/// The protocol of routes and rules that are keepalived's, and so ours (RTPROT_KEEPALIVED).
pub const PROTOCOL: u8 = 18;

/// An address and the length of its prefix.
pub type Net = (IpAddr, u8);

/// Where among routes to the same destination a new one goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Insert {
    /// Before them: keepalived's default.
    #[default]
    Prepend,
    /// Behind them (`append`).
    Append,
    /// Only if there is none (`add`, and where a type is given).
    Add,
}

impl Insert {
    const fn word(self) -> &'static str {
        match self {
            Self::Prepend => "prepend",
            Self::Append => "append",
            Self::Add => "add",
        }
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Of which addresses it speaks.
    pub family: Family,
    /// The type, as the kernel's number (RTN_UNICAST 1 to RTN_NAT 10).
    pub kind: u8,
    /// Where it is inserted.
    pub insert: Insert,
    /// Where it leads to; `default` is a prefix of length 0.
    pub destination: Net,
    /// `from`, IPv6 only.
    pub from: Option<Net>,
    /// `src`: the preferred source address.
    pub source: Option<IpAddr>,
    /// `via`.
    pub via: Option<IpAddr>,
    /// `dev`.
    pub interface: Option<String>,
    /// `table`; otherwise main.
    pub table: Option<u32>,
    /// `metric`; otherwise the kernel's: 0, or 1024 for IPv6.
    pub metric: Option<u32>,
    /// `scope`, as the kernel's number.
    pub scope: Option<u8>,
    /// `protocol`; otherwise keepalived's, 18.
    pub protocol: u8,
    /// `tos` or `dsfield`.
    pub tos: u8,
    /// `onlink`.
    pub onlink: bool,
    /// `realms`, IPv4 only: the source's in the upper half.
    pub realms: Option<u32>,
    /// `expires`, seconds, IPv6 only.
    pub expires: Option<u32>,
    /// `pref`, IPv6 only, as the kernel's number: 0 medium, 1 high, 3 low.
    pub preference: Option<u8>,
    /// `ttl-propagate`.
    pub ttl_propagate: Option<bool>,
    /// `encap`.
    pub encap: Option<Encap>,
    /// `mtu` and its like.
    pub metrics: Metrics,
    /// `nexthop`, each; then neither `via` nor `dev` is given as a rule.
    pub next_hops: Vec<NextHop>,
}

/// One `nexthop` of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// `via`.
    pub via: Option<IpAddr>,
    /// `dev`.
    pub interface: Option<String>,
    /// `weight`, 1 to 256.
    pub weight: Option<u16>,
    /// `onlink`.
    pub onlink: bool,
    /// `realms`.
    pub realms: Option<u32>,
    /// `encap`.
    pub encap: Option<Encap>,
}

/// `encap`: what packets are put into.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Encap {
    /// MPLS labels, the outermost first.
    Mpls(Vec<u32>),
    /// IPv4 or IPv6.
    Ip {
        /// Which of both.
        family: Family,
        /// `id`.
        id: Option<u64>,
        /// `dst`.
        destination: Option<IpAddr>,
        /// `src`.
        source: Option<IpAddr>,
        /// `ttl`, or `hoplimit`.
        ttl: Option<u8>,
        /// `tos`, or `tc`.
        tos: Option<u8>,
    },
}

/// What a route tells its connections: values by the kernel's numbers (RTAX_*).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metrics {
    /// The values. Round trip times are in the kernel's units (1/8 ms, 1/4 ms, 1 ms).
    pub values: BTreeMap<u16, u32>,
    /// A bit (1 << number) for each that is locked.
    pub locks: u32,
    /// `congctl`.
    pub congestion: Option<String>,
}

/// A metric of a route: its keyword, its number, and what keepalived lets it be.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The keyword.
    pub word: &'static str,
    /// The kernel's number.
    pub number: u16,
    /// Its greatest value.
    pub max: u32,
    /// `lock` may precede the value.
    pub lockable: bool,
    /// How keepalived calls it in its complaint.
    pub label: &'static str,
}

/// RTAX_LOCK.
pub const LOCK: u16 = 1;
/// RTAX_FEATURES, of which `ecn` is the only one.
pub const FEATURES: u16 = 12;
/// RTAX_CC_ALGO, whose value is a text.
pub const CONGESTION: u16 = 16;

/// The round trip times: keyword, number, and units in a millisecond. In keepalived's order.
pub const TIMES: [(&str, u16, u32); 3] = [("rtt", 4, 8), ("rttvar", 5, 4), ("rto_min", 13, 1)];

const fn metric(
    word: &'static str,
    number: u16,
    max: u32,
    lock: bool,
    label: &'static str,
) -> Metric {
    Metric { word, number, max, lockable: lock, label }
}

/// The other metrics, in keepalived's order.
pub const METRICS: [Metric; 11] = [
    metric("mtu", 2, u32::MAX, true, "MTU"),
    metric("window", 3, u32::MAX, false, "window value"),
    metric("ssthresh", 6, u32::MAX, true, "ssthresh value"),
    metric("cwnd", 7, u32::MAX, true, "cwnd value"),
    metric("advmss", 8, u32::MAX, true, "advmss"),
    metric("reordering", 9, u32::MAX, true, "reordering value"),
    metric("hoplimit", 10, 255, false, "hoplimit"),
    metric("initcwnd", 11, u32::MAX, false, "initcwnd value"),
    metric("initrwnd", 14, u32::MAX, false, "initrwnd value"),
    metric("quickack", 15, 1, false, "quickack value"),
    metric("fastopen_no_cookie", 17, 1, false, "fastopen_no_cookie value"),
];

/// The types of a route by the kernel's numbers.
pub const KINDS: [(&str, u8); 10] = [
    ("unicast", 1),
    ("local", 2),
    ("broadcast", 3),
    ("anycast", 4),
    ("multicast", 5),
    ("blackhole", 6),
    ("unreachable", 7),
    ("prohibit", 8),
    ("throw", 9),
    ("nat", 10),
];

impl Route {
    /// The interfaces it names.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let hops = self.next_hops.iter().filter_map(|hop| hop.interface.as_deref());
        self.interface.as_deref().into_iter().chain(hops)
    }
}

/// What a rule does with the packets it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// Looks in a table.
    Table(u32),
    /// Looks in the table of the VRF (`l3mdev`).
    L3mdev,
    /// Goes on with the rule of this priority.
    Goto(u32),
    /// Goes on.
    Nop,
    /// The kernel's number: 6 blackhole, 7 unreachable, 8 prohibit.
    Refuse(u8),
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Of which addresses it speaks.
    pub family: Family,
    /// `not`.
    pub invert: bool,
    /// `from`.
    pub from: Option<Net>,
    /// `to`.
    pub to: Option<Net>,
    /// `preference`; always given, by keepalived if not by the file.
    pub priority: u32,
    /// `tos` or `dsfield`.
    pub tos: u8,
    /// `fwmark`, and the mask if there is one.
    pub mark: Option<(u32, Option<u32>)>,
    /// `iif` or `dev`.
    pub input: Option<String>,
    /// `oif`.
    pub output: Option<String>,
    /// `suppress_prefixlength`.
    pub suppress_prefix: Option<u32>,
    /// `suppress_ifgroup`.
    pub suppress_group: Option<u32>,
    /// `tunnel-id`.
    pub tunnel: Option<u64>,
    /// `uidrange`.
    pub users: Option<(u32, u32)>,
    /// `protocol`; keepalived's, 18, unless `no_track` leaves it out.
    pub protocol: Option<u8>,
    /// `ipproto`.
    pub ip_protocol: Option<u8>,
    /// `sport`.
    pub source_ports: Option<(u16, u16)>,
    /// `dport`.
    pub destination_ports: Option<(u16, u16)>,
    /// `realms`, IPv4 only: the source's in the upper half.
    pub realms: Option<u32>,
    /// What it does.
    pub action: RuleAction,
}

impl Rule {
    /// The interfaces it names.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.input.as_deref().into_iter().chain(self.output.as_deref())
    }
}

/// As keepalived shows it: `prepend 10.9.1.0/24 via inet 10.1.0.9 dev eth0 proto 18`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.insert.word())?;
        let kind = KINDS.iter().find(|(_, number)| *number == self.kind && *number != 1);
        if let Some((word, _)) = kind {
            write!(f, " {word}")?;
        }
        write!(f, " {}", Shown(&self.destination))?;
        put(f, "from", self.from.as_ref().map(Shown))?;
        put(f, "src", self.source)?;
        put(f, "tos", Some(self.tos).filter(|tos| *tos != 0))?;
        encap(f, self.encap.as_ref())?;
        via(f, self.via)?;
        put(f, "dev", self.interface.as_ref())?;
        put(f, "table", self.table)?;
        write!(f, " proto {}", self.protocol)?;
        put(f, "scope", self.scope)?;
        put(f, "metric", self.metric)?;
        flag(f, "onlink", self.onlink)?;
        realm(f, self.realms)?;
        put(f, "expires", self.expires.map(|seconds| format!("{seconds}sec")))?;
        write!(f, "{}", self.metrics)?;
        let preference = |number| match number {
            1 => "high",
            3 => "low",
            _ => "medium",
        };
        put(f, "pref", self.preference.map(preference))?;
        let spread = self.ttl_propagate.map(|on| if on { "enabled" } else { "disabled" });
        put(f, "ttl-propagate", spread)?;
        self.next_hops.iter().try_for_each(|hop| write!(f, " {hop}"))
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nexthop")?;
        encap(f, self.encap.as_ref())?;
        via(f, self.via)?;
        put(f, "dev", self.interface.as_ref())?;
        put(f, "weight", self.weight)?;
        flag(f, "onlink", self.onlink)?;
        realm(f, self.realms)
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lock = |number: u16| if self.locks >> number & 1 == 1 { "lock " } else { "" };
        if let Some(name) = &self.congestion {
            write!(f, " congctl {}{name}", lock(CONGESTION))?;
        }
        for (word, number, units) in TIMES {
            if let Some(&value) = self.values.get(&number) {
                let millis = f64::from(value) / f64::from(units);
                let (value, unit) =
                    if millis >= 1000.0 { (millis / 1000.0, "s") } else { (millis, "ms") };
                write!(f, " {word} {}{value}{unit}", lock(number))?;
            }
        }
        if self.values.contains_key(&FEATURES) {
            f.write_str(" features ecn")?;
        }
        for Metric { word, number, .. } in METRICS {
            if let Some(value) = self.values.get(&number) {
                write!(f, " {word} {}{value}", lock(number))?;
            }
        }
        Ok(())
    }
}

/// As keepalived shows it: `from 10.9.0.0/16 priority 100 tos 0x0 protocol 18 lookup 100`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.family == Family::V6 && self.from.is_none() && self.to.is_none() {
            f.write_str("inet6 ")?;
        }
        f.write_str(if self.invert { "not from" } else { "from" })?;
        match &self.from {
            Some(from) => write!(f, " {}", Shown(from))?,
            None => f.write_str(" all")?,
        }
        put(f, "to", self.to.as_ref().map(Shown))?;
        write!(f, " priority {} tos 0x{:x}", self.priority, self.tos)?;
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark 0x{mark:x}")?;
            if let Some(mask) = mask.filter(|mask| *mask != u32::MAX) {
                write!(f, "/0x{mask:x}")?;
            }
        }
        put(f, "iif", self.input.as_ref())?;
        put(f, "oif", self.output.as_ref())?;
        put(f, "suppress_prefixlen", self.suppress_prefix)?;
        put(f, "suppress_ifgroup", self.suppress_group)?;
        put(f, "tunnel-id", self.tunnel)?;
        let range = |(from, to): (u32, u32)| format!("{from}-{to}");
        let ports = |(from, to): (u16, u16)| format!("{from}-{to}");
        put(f, "uidrange", self.users.map(range))?;
        flag(f, "l3mdev", self.action == RuleAction::L3mdev)?;
        put(f, "protocol", self.protocol)?;
        put(f, "ipproto", self.ip_protocol)?;
        put(f, "sport", self.source_ports.map(ports))?;
        put(f, "dport", self.destination_ports.map(ports))?;
        put(f, "realms", self.realms.map(|both| format!("{}/{}", both >> 16, both & 0xffff)))?;
        match self.action {
            RuleAction::Table(table) => write!(f, " lookup {table}"),
            RuleAction::L3mdev => f.write_str(" lookup 0"),
            RuleAction::Goto(target) => write!(f, " goto {target}"),
            RuleAction::Nop => f.write_str(" nop"),
            RuleAction::Refuse(number) => {
                let word = KINDS.iter().find(|(_, known)| *known == number).map_or("?", |k| k.0);
                write!(f, " type {word}")
            }
        }
    }
}

impl<T: fmt::Display> fmt::Display for Entry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        flag(f, "no_track", self.no_track)?;
        put(f, "track_group", self.group.as_ref())
    }
}

/// A prefix as keepalived shows it: without a length if it is one address.
struct Shown<'a>(&'a Net);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((ip, length)) = self;
        match (ip, length) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => write!(f, "{ip}"),
            _ => write!(f, "{ip}/{length}"),
        }
    }
}

fn put(f: &mut fmt::Formatter<'_>, word: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {word} {value}"))
}

fn flag(f: &mut fmt::Formatter<'_>, word: &str, holds: bool) -> fmt::Result {
    if holds { write!(f, " {word}") } else { Ok(()) }
}

fn via(f: &mut fmt::Formatter<'_>, via: Option<IpAddr>) -> fmt::Result {
    let family = |ip: IpAddr| if ip.is_ipv4() { "inet" } else { "inet6" };
    put(f, "via", via.map(|ip| format!("{} {ip}", family(ip))))
}

fn realm(f: &mut fmt::Formatter<'_>, realms: Option<u32>) -> fmt::Result {
    match realms {
        Some(both) if both > 0xffff => write!(f, " realms {}/{}", both >> 16, both & 0xffff),
        Some(one) => write!(f, " realm {one}"),
        None => Ok(()),
    }
}

fn encap(f: &mut fmt::Formatter<'_>, encap: Option<&Encap>) -> fmt::Result {
    match encap {
        None => Ok(()),
        Some(Encap::Mpls(labels)) => {
            let labels: Vec<String> = labels.iter().map(u32::to_string).collect();
            write!(f, " encap mpls {}", labels.join("/"))
        }
        Some(Encap::Ip { family, id, destination, source, ttl, tos }) => {
            let v4 = *family == Family::V4;
            f.write_str(if v4 { " encap ip" } else { " encap ip6" })?;
            put(f, "id", *id)?;
            put(f, "dst", *destination)?;
            put(f, "src", *source)?;
            put(f, if v4 { "dsfield" } else { "tc" }, *tos)?;
            put(f, if v4 { "ttl" } else { "hoplimit" }, *ttl)
        }
    }
}

impl Route {
    /// A unicast route to there, with nothing else set.
    pub fn to(destination: Net) -> Self {
        Self {
            family: if destination.0.is_ipv4() { Family::V4 } else { Family::V6 },
            kind: 1,
            insert: Insert::default(),
            destination,
            from: None,
            source: None,
            via: None,
            interface: None,
            table: None,
            metric: None,
            scope: None,
            protocol: PROTOCOL,
            tos: 0,
            onlink: false,
            realms: None,
            expires: None,
            preference: None,
            ttl_propagate: None,
            encap: None,
            metrics: Metrics::default(),
            next_hops: Vec::new(),
        }
    }
}
