//! What is encoded is read back by the crate's own parser; what is heard is matched.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteType};

use super::*;
use crate::conf::{self, Context, Files};
use crate::core::spec::InstanceId;

/// The first virtual route and the first virtual rule of an instance with these lines.
fn parsed(route: &str, rule: &str) -> (Route, Rule) {
    let text = format!(
        "vrrp_instance V {{\ninterface e0\nvirtual_router_id 1\nvirtual_ipaddress {{\n10.0.0.1\n}}\n\
         virtual_routes {{\n{route}\n}}\nvirtual_rules {{\n{rule}\n}}\n}}\n"
    );
    let mut read = |path: &std::path::Path| match path.to_str() {
        Some("x") => Ok(text.clone().into_bytes()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let mut files = Files { read: &mut read, list: &mut |_| Ok(Vec::new()) };
    let loaded = conf::load(std::path::Path::new("x"), &mut files, &Context::default());
    let instance = &loaded.config.instances[InstanceId(0)];
    let first = instance.routes.first().zip(instance.rules.first());
    let (route, rule) = first.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    (Route::clone(&route.what), Rule::clone(&rule.what))
}

fn route(line: &str) -> Route {
    parsed(line, "from 10.9.0.0/16 table 1 priority 1").0
}

fn rule(line: &str) -> Rule {
    parsed("10.9.0.0/16 dev e0", line).1
}

/// The flags of a request and what it says.
fn decoded(bytes: &[u8]) -> (u16, RouteNetlinkMessage) {
    let message = NetlinkMessage::deserialize(bytes).expect("a message");
    match message.payload {
        NetlinkPayload::InnerMessage(inner) => (message.header.flags, inner),
        other => panic!("{other:?}"),
    }
}

fn index(name: &str) -> Option<u32> {
    (name == "e0").then_some(7)
}

fn put(line: &str) -> (u16, RouteMessage) {
    match decoded(&route_request(&route(line), Wish::Put, &index, 1).expect("a request")) {
        (flags, RouteNetlinkMessage::NewRoute(message)) => (flags, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_route_is_keepalived_s_and_prepended() {
    let (flags, message) = put("10.9.1.0/24 via 10.1.0.9 dev e0 table 1000 metric 5 src 10.0.0.1");
    assert_eq!(flags & (NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND), NLM_F_CREATE);
    let header = &message.header;
    assert_eq!((u8::from(header.protocol), u8::from(header.scope)), (18, 0));
    assert_eq!((header.destination_prefix_length, header.table), (24, 0));
    assert_eq!(header.kind, RouteType::Unicast);
    let v4 = |a, b, c, d| RouteAddress::Inet([a, b, c, d].into());
    for attribute in [
        RouteAttribute::Table(1000),
        RouteAttribute::Destination(v4(10, 9, 1, 0)),
        RouteAttribute::Gateway(v4(10, 1, 0, 9)),
        RouteAttribute::Oif(7),
        RouteAttribute::Priority(5),
        RouteAttribute::PrefSource(v4(10, 0, 0, 1)),
    ] {
        assert!(message.attributes.contains(&attribute), "{attribute:?} of {message:?}");
    }
}

#[test]
fn a_type_and_append_say_where_it_goes() {
    let how = NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND;
    let (flags, message) = put("blackhole 10.9.6.0/24");
    assert_eq!(
        (flags & how, message.header.kind),
        (NLM_F_CREATE | NLM_F_EXCL, RouteType::BlackHole)
    );
    assert_eq!(put("10.9.6.0/24 dev e0 append").0 & how, NLM_F_CREATE | NLM_F_APPEND);
    assert_eq!(put("10.9.6.0/24 dev e0 add").0 & how, NLM_F_CREATE | NLM_F_EXCL);
}

#[test]
fn metrics_and_their_locks() {
    let (_, message) = put("10.9.1.0/24 dev e0 mtu lock 1400 rtt 2s rto_min 250ms congctl cubic");
    let metrics = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics.clone()),
        _ => None,
    });
    let expected = vec![
        RouteMetric::Lock(1 << 2),
        RouteMetric::Mtu(1400),
        RouteMetric::Rtt(16_000),
        RouteMetric::RtoMin(250),
        RouteMetric::CcAlgo("cubic".into()),
    ];
    assert_eq!(metrics, Some(expected));
}

#[test]
fn what_is_taken_is_told_apart_by_its_way_not_by_its_metrics() {
    let route = route("10.9.1.0/24 via 10.1.0.9 dev e0 mtu 1400 scope link");
    let bytes = route_request(&route, Wish::Take, &index, 1).expect("a request");
    let (_, RouteNetlinkMessage::DelRoute(message)) = decoded(&bytes) else { panic!() };
    assert_eq!(u8::from(message.header.scope), SCOPE_NOWHERE);
    assert!(message.attributes.contains(&RouteAttribute::Oif(7)));
    assert!(!message.attributes.iter().any(|a| matches!(a, RouteAttribute::Metrics(_))));
}

#[test]
fn next_hops_have_weights_from_0() {
    let (_, message) =
        put("10.9.5.0/24 nexthop via 10.1.0.9 dev e0 weight 2 nexthop via 10.1.0.8 onlink");
    let hops = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops.clone()),
        _ => None,
    });
    let hops = hops.expect("next hops");
    assert_eq!((hops[0].hops, hops[0].interface_index), (1, 7));
    assert_eq!((hops[1].hops, hops[1].flags), (0, RouteNextHopFlags::Onlink));
}

#[test]
fn a_missing_interface_makes_no_request() {
    assert!(route_request(&route("10.9.1.0/24 dev e1"), Wish::Put, &index, 1).is_none());
}

#[test]
fn rules_are_whole() {
    let rule = rule(
        "not from 10.3.0.0/16 to 10.4.0.0/16 lookup 300 priority 102 iif e0 oif e1 tos 0x10 fwmark \
         24/12 realms 30/20 suppress_prefixlength 13 ipproto tcp sport 10-20 uidrange 1-2",
    );
    let (flags, RouteNetlinkMessage::NewRule(message)) =
        decoded(&rule_request(&rule, Wish::Put, 1))
    else {
        panic!()
    };
    assert_eq!(flags & NLM_F_EXCL, NLM_F_EXCL);
    assert_eq!((message.header.src_len, message.header.dst_len, message.header.tos), (16, 16, 16));
    assert_eq!(message.header.action, Action::ToTable);
    assert!(message.header.flags.contains(RuleFlags::Invert));
    for attribute in [
        RuleAttribute::Table(300),
        RuleAttribute::Priority(102),
        RuleAttribute::Iifname("e0".into()),
        RuleAttribute::FwMark(24),
        RuleAttribute::FwMask(12),
        RuleAttribute::Realm(RouteRealm { source: 30, destination: 20 }),
        RuleAttribute::Protocol(18.into()),
        RuleAttribute::SourcePortRange(RulePortRange { start: 10, end: 20 }),
    ] {
        assert!(message.attributes.contains(&attribute), "{attribute:?} of {message:?}");
    }
}

/// What the kernel says when it is gone.
fn heard(route: &Route) -> Vec<rtnl::Message> {
    let message = route_message(route, Wish::Put, &index).expect("a message");
    let mut bytes = rtnl::request(RouteNetlinkMessage::DelRoute(message), 0, 0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    rtnl::parse(&bytes)
}

#[test]
fn a_removal_is_recognized() {
    let ours = route("10.9.1.0/24 via 10.1.0.9 dev e0 table 1000 metric 5");
    let Some(rtnl::Message::RouteGone(gone)) = heard(&ours).pop() else { panic!() };
    assert!(gone.may_be_route(&ours));
    for other in [
        "10.9.2.0/24 via 10.1.0.9 dev e0 table 1000 metric 5",
        "10.9.1.0/25 via 10.1.0.9 dev e0 table 1000 metric 5",
        "10.9.1.0/24 via 10.1.0.9 dev e0 metric 5",
        "10.9.1.0/24 via 10.1.0.9 dev e0 table 1000",
        "fd00::/24 dev e0 table 1000 metric 5",
    ] {
        assert!(!gone.may_be_route(&route(other)), "{other}");
    }
    let foreign = route("10.9.1.0/24 dev e0 protocol static no_track");
    assert_eq!(heard(&foreign), vec![], "others' routes are none of our business");
}

#[test]
fn ipv6_has_a_metric_of_its_own() {
    let mut with_default = route("fd00:9::/64 dev e0 metric 1024");
    let Some(rtnl::Message::RouteGone(gone)) = heard(&with_default).pop() else { panic!() };
    for metric in [None, Some(0), Some(1024)] {
        with_default.metric = metric;
        assert!(gone.may_be_route(&with_default), "{metric:?}");
    }
}
