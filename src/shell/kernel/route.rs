//! Routes and rules as rtnetlink messages, and which of ours a notification is about.
//!
//! Pure; [`crate::shell::kernel::link::Links`] sends what comes out of it to the kernel.

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    MplsLabel, RouteAddress, RouteAttribute, RouteFlags, RouteIp6Tunnel, RouteIpTunnel,
    RouteLwEnCapType, RouteLwTunnelEncap, RouteMessage, RouteMetric, RouteMplsIpTunnel,
    RouteMplsTtlPropagation, RouteNextHop, RouteNextHopFlags, RouteRealm,
};
use netlink_packet_route::rule::{
    RuleAction as Action, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::conf::route::{
    CONGESTION, Encap, FEATURES, Insert, LOCK, Net, NextHop, Route, Rule, RuleAction,
};
use crate::core::spec::Family;
use crate::shell::kernel::rtnl::{self, Gone, Wish};

// rtnetlink(7), linux/rtnetlink.h, linux/fib_rules.h
const TABLE_MAIN: u32 = 254;
const SCOPE_NOWHERE: u8 = 255;
const TYPE_UNICAST: u8 = 1;
const METRIC_V6_DEFAULT: u32 = 1024;
const RTAX_FEATURE_ECN: u32 = 1;
const FRA_IP_PROTO: u16 = 22;

/// Finds the number of an interface.
pub(in crate::shell) type FindIndex<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// The netlink request for a route; none if it names an interface that is not there.
pub(in crate::shell) fn route_request(
    route: &Route,
    wish: Wish,
    index: FindIndex<'_>,
    sequence: u32,
) -> Option<Vec<u8>> {
    let message = route_message(route, wish, index)?;
    Some(match wish {
        Wish::Put => {
            let how = match route.insert {
                Insert::Prepend => 0,
                Insert::Append => NLM_F_APPEND,
                Insert::Add => NLM_F_EXCL,
            };
            let what = RouteNetlinkMessage::NewRoute(message);
            rtnl::request(what, NLM_F_ACK | NLM_F_CREATE | how, sequence)
        }
        Wish::Take => rtnl::request(RouteNetlinkMessage::DelRoute(message), NLM_F_ACK, sequence),
    })
}

/// What tells a route apart is in both; its metrics only where it is put, since the kernel would
/// otherwise compare what it has changed itself.
fn route_message(route: &Route, wish: Wish, index: FindIndex<'_>) -> Option<RouteMessage> {
    use RouteAttribute as A;
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.family);
    header.destination_prefix_length = route.destination.1;
    header.source_prefix_length = route.from.map_or(0, |(_, length)| length);
    header.tos = route.tos;
    header.table = u8::try_from(table(route)).unwrap_or(0);
    header.protocol = route.protocol.into();
    header.kind = route.kind.into();
    header.scope = match wish {
        Wish::Put => route.scope.unwrap_or(0).into(),
        // Whatever it is.
        Wish::Take => SCOPE_NOWHERE.into(),
    };
    if route.onlink {
        header.flags |= RouteFlags::Onlink;
    }
    let of = &mut message.attributes;
    of.push(A::Table(table(route)));
    of.extend(address(&route.destination).map(A::Destination));
    of.extend(route.from.as_ref().and_then(address).map(A::Source));
    of.extend(route.via.map(|ip| A::Gateway(ip.into())));
    if let Some(name) = &route.interface {
        of.push(A::Oif(index(name)?));
    }
    of.extend(route.source.map(|ip| A::PrefSource(ip.into())));
    of.extend(route.metric.map(A::Priority));
    if !route.next_hops.is_empty() {
        let hops: Option<Vec<_>> = route.next_hops.iter().map(|hop| next_hop(hop, index)).collect();
        of.push(A::MultiPath(hops?));
    }
    if wish == Wish::Put {
        of.extend(route.realms.map(|both| A::Realm(realm(both))));
        of.extend(route.expires.map(A::Expires));
        of.extend(route.preference.map(|number| A::Preference(number.into())));
        let spread = |on| match on {
            true => RouteMplsTtlPropagation::Enabled,
            false => RouteMplsTtlPropagation::Disabled,
        };
        of.extend(route.ttl_propagate.map(|on| A::TtlPropagate(spread(on))));
        of.extend(route.encap.as_ref().into_iter().flat_map(encap));
        let metrics = metrics(route);
        of.extend((!metrics.is_empty()).then_some(A::Metrics(metrics)));
    }
    Some(message)
}

fn table(route: &Route) -> u32 {
    route.table.filter(|table| *table != 0).unwrap_or(TABLE_MAIN)
}

const fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// `default` has no address.
fn address(net: &Net) -> Option<RouteAddress> {
    (net.1 > 0).then(|| net.0.into())
}

const fn realm(both: u32) -> RouteRealm {
    RouteRealm { source: (both >> 16) as u16, destination: both as u16 }
}

fn next_hop(hop: &NextHop, index: FindIndex<'_>) -> Option<RouteNextHop> {
    use RouteAttribute as A;
    let mut next = RouteNextHop::default();
    if let Some(name) = &hop.interface {
        next.interface_index = index(name)?;
    }
    if hop.onlink {
        next.flags |= RouteNextHopFlags::Onlink;
    }
    // The kernel counts from 0.
    next.hops = hop.weight.map_or(0, |weight| (weight - 1).try_into().unwrap_or(u8::MAX));
    next.attributes.extend(hop.via.map(|ip| A::Gateway(ip.into())));
    next.attributes.extend(hop.realms.map(|both| A::Realm(realm(both))));
    next.attributes.extend(hop.encap.as_ref().into_iter().flat_map(encap));
    Some(next)
}

fn encap(encap: &Encap) -> [RouteAttribute; 2] {
    use RouteLwTunnelEncap as E;
    let (kind, of) = match encap {
        Encap::Mpls(labels) => {
            let label = |(place, &label): (usize, &u32)| MplsLabel {
                label,
                traffic_class: 0,
                bottom_of_stack: place + 1 == labels.len(),
                ttl: 0,
            };
            let stack = labels.iter().enumerate().map(label).collect();
            (RouteLwEnCapType::Mpls, vec![E::Mpls(RouteMplsIpTunnel::Destination(stack))])
        }
        Encap::Ip { family: Family::V4, id, destination, source, ttl, tos } => {
            use RouteIpTunnel as T;
            let v4 = |ip: &Option<IpAddr>| match ip {
                Some(IpAddr::V4(ip)) => Some(*ip),
                Some(IpAddr::V6(_)) | None => None,
            };
            let all = [
                id.map(T::Id),
                v4(destination).map(T::Destination),
                v4(source).map(T::Source),
                ttl.map(T::Ttl),
                tos.map(T::Tos),
            ];
            (RouteLwEnCapType::Ip, all.into_iter().flatten().map(E::Ip).collect())
        }
        Encap::Ip { family: Family::V6, id, destination, source, ttl, tos } => {
            use RouteIp6Tunnel as T;
            let v6 = |ip: &Option<IpAddr>| match ip {
                Some(IpAddr::V6(ip)) => Some(*ip),
                Some(IpAddr::V4(_)) | None => None,
            };
            let all = [
                id.map(T::Id),
                v6(destination).map(T::Destination),
                v6(source).map(T::Source),
                ttl.map(T::Hoplimit),
                tos.map(T::Tc),
            ];
            (RouteLwEnCapType::Ip6, all.into_iter().flatten().map(E::Ip6).collect())
        }
    };
    [RouteAttribute::EncapType(kind), RouteAttribute::Encap(of)]
}

fn metrics(route: &Route) -> Vec<RouteMetric> {
    let number = |number: u16, value: u32| {
        RouteMetric::Other(DefaultNla::new(number, value.to_ne_bytes().to_vec()))
    };
    let metrics = &route.metrics;
    let mut all = Vec::new();
    if metrics.locks != 0 {
        all.push(number(LOCK, metrics.locks));
    }
    all.extend(metrics.values.iter().map(|(&kind, &value)| match kind {
        FEATURES => number(FEATURES, RTAX_FEATURE_ECN),
        _ => number(kind, value),
    }));
    all.extend(metrics.congestion.as_ref().map(|name| {
        let mut text = name.clone().into_bytes();
        text.push(0);
        RouteMetric::Other(DefaultNla::new(CONGESTION, text))
    }));
    all
}

/// The netlink request for a rule.
pub(in crate::shell) fn rule_request(rule: &Rule, wish: Wish, sequence: u32) -> Vec<u8> {
    let message = rule_message(rule);
    match wish {
        Wish::Put => {
            let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
            rtnl::request(RouteNetlinkMessage::NewRule(message), flags, sequence)
        }
        Wish::Take => rtnl::request(RouteNetlinkMessage::DelRule(message), NLM_F_ACK, sequence),
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    use RuleAttribute as A;
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = family(rule.family);
    header.src_len = rule.from.map_or(0, |(_, length)| length);
    header.dst_len = rule.to.map_or(0, |(_, length)| length);
    header.tos = rule.tos;
    header.action = match rule.action {
        RuleAction::Table(_) | RuleAction::L3mdev => Action::ToTable,
        RuleAction::Goto(_) => Action::Goto,
        RuleAction::Nop => Action::Nop,
        RuleAction::Refuse(number) => Action::from(number),
    };
    if rule.invert {
        header.flags |= RuleFlags::Invert;
    }
    let ip = |net: &Option<Net>| net.filter(|(_, length)| *length > 0).map(|(ip, _)| ip);
    let of = &mut message.attributes;
    of.extend(ip(&rule.from).map(A::Source));
    of.extend(ip(&rule.to).map(A::Destination));
    of.push(A::Priority(rule.priority));
    match rule.action {
        RuleAction::Table(table) => of.push(A::Table(table)),
        RuleAction::L3mdev => of.push(A::L3MDev(true)),
        RuleAction::Goto(target) => of.push(A::Goto(target)),
        RuleAction::Nop | RuleAction::Refuse(_) => {}
    }
    if let Some((mark, mask)) = rule.mark {
        of.push(A::FwMark(mark));
        of.extend(mask.map(A::FwMask));
    }
    of.extend(rule.realms.map(|both| A::Realm(realm(both))));
    of.extend(rule.suppress_prefix.map(A::SuppressPrefixLen));
    of.extend(rule.suppress_group.map(A::SuppressIfGroup));
    of.extend(rule.input.clone().map(A::Iifname));
    of.extend(rule.output.clone().map(A::Oifname));
    of.extend(rule.tunnel.map(A::TunId));
    of.extend(rule.users.map(|(start, end)| A::UidRange(RuleUidRange { start, end })));
    of.extend(rule.protocol.map(|number| A::Protocol(number.into())));
    of.extend(rule.ip_protocol.map(|number| A::Other(DefaultNla::new(FRA_IP_PROTO, vec![number]))));
    let ports = |(start, end)| RulePortRange { start, end };
    of.extend(rule.source_ports.map(|range| A::SourcePortRange(ports(range))));
    of.extend(rule.destination_ports.map(|range| A::DestinationPortRange(ports(range))));
    message
}

impl Gone {
    /// May it have been this route? A route of another way to the same place may be taken for it;
    /// putting back what is there does no harm.
    pub(in crate::shell) fn may_be_route(&self, route: &Route) -> bool {
        let v6 = route.family == Family::V6;
        let default = if v6 { METRIC_V6_DEFAULT } else { 0 };
        // The kernel takes 0 for its default in IPv6.
        let metric = route.metric.filter(|metric| !v6 || *metric != 0).unwrap_or(default);
        match *self {
            Self::Route { is_v6, destination, table: of, metric: at, kind } => {
                (is_v6, of, at) == (v6, table(route), metric)
                    && (kind == route.kind || kind == TYPE_UNICAST)
                    && destination.1 == route.destination.1
                    && (destination.1 == 0 || same_net(destination, route.destination))
            }
            Self::Rule { .. } => false,
        }
    }

    /// May it have been this rule? The same holds.
    pub(in crate::shell) fn may_be_rule(&self, rule: &Rule) -> bool {
        match *self {
            Self::Rule { is_v6, priority } => {
                (is_v6, priority) == (rule.family == Family::V6, rule.priority)
            }
            Self::Route { .. } => false,
        }
    }
}

/// IPv6 forgets the bits behind the prefix.
fn same_net(one: Net, other: Net) -> bool {
    match (one, other) {
        ((IpAddr::V6(one), length), (IpAddr::V6(other), _)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            one.to_bits() & mask == other.to_bits() & mask
        }
        ((one, _), (other, _)) => one == other,
    }
}

#[cfg(test)]
mod tests;
