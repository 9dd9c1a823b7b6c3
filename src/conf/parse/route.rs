//! Lines of `virtual_routes` and `static_routes`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::super::diagnostic::Severity;
use super::super::lex::{Statement, Word};
use super::super::route::{
    CONGESTION, Encap, Entry, FEATURES, Insert, KINDS, METRICS, Metric, Net, NextHop, PROTOCOL,
    Route, TIMES,
};
use super::destination::family_of;
use super::line::{Cursor, Dropped, Outcome, everything};
use super::{Reader, names};
use crate::core::spec::Family;

/// The greatest MPLS label.
const LABEL_MAX: u32 = 0xf_ffff;

/// A route as far as it has been read.
struct Draft {
    route: Route,
    family: Option<Family>,
    /// The outer is whether there is one; the inner is none for `default`.
    destination: Option<Option<Net>>,
    or: Option<IpAddr>,
    no_track: bool,
    group: Option<String>,
}

impl Reader {
    /// One route; none if it does not hold. A `track_group` is for what is static.
    pub(super) fn route(&mut self, line: &Statement, is_static: bool) -> Option<Entry<Route>> {
        let unset = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let mut draft = Draft {
            route: Route::to(unset),
            family: None,
            destination: None,
            or: None,
            no_track: false,
            group: None,
        };
        let mut words = Cursor::new(line);
        while let Some(word) = words.next() {
            if word.text == "nexthop" {
                let hops = self.next_hops(&mut words, &mut draft).ok()?;
                draft.route.next_hops.extend(hops);
                if let Some(rest) = words.next() {
                    let text =
                        format!("Route has trailing nonsense after nexthops - {}", rest.text);
                    self.fault(rest.span, text);
                }
                break;
            }
            if is_static && word.text == "track_group" {
                self.track_group(&mut words, word, &mut draft.group).ok()?;
                continue;
            }
            self.route_word(&mut words, word, &mut draft).ok()?;
        }
        self.finish_route(line, draft, is_static)
    }

    fn route_word(&mut self, words: &mut Cursor<'_>, word: &Word, draft: &mut Draft) -> Outcome {
        let text = word.text.as_str();
        match text {
            "inet" | "inet6" => self.family(word, draft)?,
            "to" => {
                let value = self.parameter(words, word)?;
                self.destination(value, draft)?;
            }
            "src" => {
                let value = self.parameter(words, word)?;
                draft.route.source = Some(self.plain_ip(value, "route src")?);
            }
            "via" | "gw" => {
                if text == "gw" {
                    self.fault(word.span, "\"gw\" for routes is deprecated. Please use \"via\"");
                }
                draft.route.via = Some(self.via(words, word, draft)?);
            }
            "or" => {
                self.fault(word.span, "\"or\" for routes is deprecated. Please use \"nexthop\"");
                let value = self.via(words, word, draft)?;
                if draft.or.is_some() {
                    self.fault(word.span, "\"or\" route already specified - ignoring subsequent");
                } else {
                    draft.or = Some(value);
                }
            }
            "from" => {
                let value = self.parameter(words, word)?;
                let Some(net) = self.net(value) else {
                    let message = format!("invalid route from address {}", value.text);
                    return self.dropped(value, message);
                };
                if net.is_some_and(|(ip, _)| ip.is_ipv4()) {
                    let message =
                        format!("route from address only supported with IPv6 ({})", value.text);
                    return self.dropped(value, message);
                }
                draft.family.get_or_insert(Family::V6);
                draft.route.from = net;
            }
            "dev" | "oif" => {
                let value = self.parameter(words, word)?;
                draft.route.interface = Some(self.device(value)?);
            }
            "onlink" => draft.route.onlink = true,
            "no_track" => draft.no_track = true,
            "prepend" => draft.route.insert = Insert::Prepend,
            "append" => draft.route.insert = Insert::Append,
            "add" => draft.route.insert = Insert::Add,
            "as" => {
                // keepalived: a label for MPLS routes, which nobody can write here.
                words.skip("to");
                self.parameter(words, word)?;
                self.fault(word.span, "\"as to\" for MPLS only - ignoring");
            }
            "encap" => draft.route.encap = Some(self.encap(words, word)?),
            "vrf" => {
                let value = self.parameter(words, word)?;
                return self.unsupported(
                    word,
                    &format!("vrf {} of a route (write its table)", value.text),
                );
            }
            "expires" | "pref" | "realms" => self.of_one_family(words, word, draft)?,
            "tos" | "dsfield" | "table" | "protocol" | "scope" => {
                self.named(words, word, &mut draft.route)?;
            }
            "metric" | "priority" | "preference" => {
                let value = self.parameter(words, word)?;
                draft.route.metric =
                    Some(self.bounded(value, u32::MAX, "metric", "specified for route")?);
            }
            "ttl-propagate" => {
                let value = self.parameter(words, word)?;
                draft.route.ttl_propagate = Some(value.text == "enabled");
            }
            _ => return self.route_metric(words, word, draft),
        }
        Ok(())
    }

    /// keepalived 2.2.7 leaves out the word that follows; here it means what its manual says.
    fn family(&mut self, word: &Word, draft: &mut Draft) -> Outcome {
        let family = if word.text == "inet" { Family::V4 } else { Family::V6 };
        if *draft.family.get_or_insert(family) != family {
            let other = if family == Family::V4 { "IPv6" } else { "IPv4" };
            return self.dropped(word, format!("{} specified for {other} route", word.text));
        }
        Ok(())
    }

    /// What has a table of names in /etc/iproute2.
    fn named(&mut self, words: &mut Cursor<'_>, word: &Word, route: &mut Route) -> Outcome {
        let value = self.parameter(words, word)?;
        let text = value.text.as_str();
        let byte = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        match word.text.as_str() {
            "table" => match names::find(&self.names.tables, text, u32::MAX) {
                Some(table) => route.table = Some(table),
                None => {
                    let message = format!("Routing table {text} not found for route");
                    return self.dropped(value, message);
                }
            },
            "protocol" => match names::find(&self.names.protocols, text, 255) {
                Some(protocol) => route.protocol = byte(protocol),
                None => {
                    let message = format!("Protocol {text} not found or invalid for route");
                    return self.dropped(value, message);
                }
            },
            "scope" => match names::find(&self.names.scopes, text, 255) {
                Some(scope) => route.scope = Some(byte(scope)),
                None => {
                    let message = format!("Scope {text} not found or invalid for route");
                    return self.dropped(value, message);
                }
            },
            _ => route.tos = self.field(value)?,
        }
        Ok(())
    }

    /// What only one family knows.
    fn of_one_family(&mut self, words: &mut Cursor<'_>, word: &Word, draft: &mut Draft) -> Outcome {
        let value = self.parameter(words, word)?;
        let (family, message) = match word.text.as_str() {
            "realms" => (Family::V4, "realms are only valid for IPv4".to_owned()),
            other => (Family::V6, format!("{other} is only valid for IPv6")),
        };
        if *draft.family.get_or_insert(family) != family {
            return self.dropped(word, message);
        }
        match word.text.as_str() {
            "realms" => match self.realms(&value.text) {
                Some(realms) => draft.route.realms = Some(realms),
                None => {
                    let message = format!("Invalid realms {} for route", value.text);
                    return self.dropped(value, message);
                }
            },
            "expires" => {
                let seconds =
                    self.bounded(value, u32::MAX, "expires time", "specified for route")?;
                draft.route.expires = Some(seconds);
            }
            _ => {
                let number = match value.text.as_str() {
                    "low" => Some(3),
                    "medium" => Some(0),
                    "high" => Some(1),
                    number => number.parse().ok().filter(|number| matches!(number, 0 | 1 | 3)),
                };
                if number.is_none() {
                    let message = format!("Invalid pref value {} specified for route", value.text);
                    return self.dropped(value, message);
                }
                draft.route.preference = number;
            }
        }
        Ok(())
    }

    /// What a route tells its connections; and if it is none of that, a type or a destination.
    fn route_metric(&mut self, words: &mut Cursor<'_>, word: &Word, draft: &mut Draft) -> Outcome {
        let metrics = &mut draft.route.metrics;
        let text = word.text.as_str();
        if let Some((_, number, units)) = TIMES.into_iter().find(|(name, ..)| *name == text) {
            metrics.locks |= u32::from(words.skip("lock")) << number;
            let value = self.parameter(words, word)?;
            metrics.values.insert(number, self.round_trip(value, text, units)?);
        } else if let Some(metric) = METRICS.iter().find(|metric| metric.word == text) {
            let Metric { number, max, label, .. } = *metric;
            metrics.locks |= u32::from(metric.lockable && words.skip("lock")) << number;
            let value = self.parameter(words, word)?;
            metrics.values.insert(number, self.bounded(value, max, label, "specified for route")?);
        } else if text == "congctl" {
            metrics.locks |= u32::from(words.skip("lock")) << CONGESTION;
            metrics.congestion = Some(self.parameter(words, word)?.text.clone());
        } else if text == "features" {
            let value = self.parameter(words, word)?;
            if value.text == "ecn" {
                metrics.values.insert(FEATURES, 1);
            } else {
                self.fault(value.span, format!("feature {} not supported", value.text));
            }
        } else if let Some((_, number)) = KINDS.into_iter().find(|(name, _)| *name == text) {
            draft.route.kind = number;
            draft.route.insert = Insert::Add;
            let value = self.parameter(words, word)?;
            self.destination(value, draft)?;
        } else {
            self.destination(word, draft)?;
        }
        Ok(())
    }

    /// The last destination counts, as with keepalived.
    fn destination(&mut self, word: &Word, draft: &mut Draft) -> Outcome {
        let Some(net) = self.net(word) else {
            return self.dropped(word, format!("unknown route keyword {}", word.text));
        };
        if let Some((ip, _)) = net
            && *draft.family.get_or_insert(family_of(ip)) != family_of(ip)
        {
            return self.dropped(word, "Cannot mix IPv4 and IPv6 addresses for route".to_owned());
        }
        draft.destination = Some(net);
        Ok(())
    }

    fn via(
        &mut self,
        words: &mut Cursor<'_>,
        word: &Word,
        draft: &mut Draft,
    ) -> Result<IpAddr, Dropped> {
        let mut value = self.parameter(words, word)?;
        if matches!(value.text.as_str(), "inet" | "inet6") {
            value = self.parameter(words, word)?;
        }
        let ip = self.plain_ip(value, "route via")?;
        if *draft.family.get_or_insert(family_of(ip)) != family_of(ip) {
            let message = "Cannot mix IPv4 and IPv6 addresses for route".to_owned();
            self.dropped(value, message)?;
        }
        Ok(ip)
    }

    /// `nexthop` and what follows, up to the end of the line or to what belongs to no next hop.
    fn next_hops(
        &mut self,
        words: &mut Cursor<'_>,
        draft: &mut Draft,
    ) -> Result<Vec<NextHop>, Dropped> {
        let mut hops = vec![NextHop::default()];
        loop {
            let before = *words;
            let Some(word) = words.next() else { return Ok(hops) };
            if word.text == "nexthop" {
                hops.push(NextHop::default());
                continue;
            }
            let Some(hop) = hops.last_mut() else { return Ok(hops) };
            match word.text.as_str() {
                "via" => {
                    let mut value = self.parameter(words, word)?;
                    if matches!(value.text.as_str(), "inet" | "inet6") {
                        value = self.parameter(words, word)?;
                    }
                    let ip = self.plain_ip(value, "nexthop")?;
                    if *draft.family.get_or_insert(family_of(ip)) != family_of(ip) {
                        self.dropped(value, "Address family mismatch for next hop".to_owned())?;
                    }
                    hop.via = Some(ip);
                }
                "dev" | "oif" => {
                    let value = self.parameter(words, word)?;
                    hop.interface = Some(self.device(value)?);
                }
                "weight" => {
                    let value = self.parameter(words, word)?;
                    let weight = self.bounded(value, 256, "weight", "specified for route")?;
                    if weight == 0 {
                        self.dropped(value, "Invalid weight 0 specified for route".to_owned())?;
                    }
                    hop.weight = u16::try_from(weight).ok();
                }
                "onlink" => hop.onlink = true,
                "encap" => hop.encap = Some(self.encap(words, word)?),
                "realms" => {
                    let value = self.parameter(words, word)?;
                    hop.realms = self.realms(&value.text);
                    if hop.realms.is_none() {
                        let message = format!("Invalid realms {} for route", value.text);
                        self.dropped(value, message)?;
                    }
                }
                _ => {
                    *words = before;
                    return Ok(hops);
                }
            }
        }
    }

    fn encap(&mut self, words: &mut Cursor<'_>, keyword: &Word) -> Result<Encap, Dropped> {
        let kind = self.parameter(words, keyword)?;
        match kind.text.as_str() {
            "mpls" => {
                let value = self.parameter(words, kind)?;
                let label = |text: &str| names::number(text).filter(|label| *label <= LABEL_MAX);
                let labels: Option<Vec<u32>> = value.text.split('/').map(label).collect();
                labels.map(Encap::Mpls).ok_or_else(|| {
                    let message = format!("invalid mpls address {} for encapsulation", value.text);
                    self.fault(value.span, message);
                    Dropped
                })
            }
            "ip" => self.tunnel(words, kind, Family::V4),
            "ip6" => self.tunnel(words, kind, Family::V6),
            other => {
                self.unsupported(keyword, &format!("encap {other} of a route"))?;
                Err(Dropped)
            }
        }
    }

    fn tunnel(
        &mut self,
        words: &mut Cursor<'_>,
        kind: &Word,
        family: Family,
    ) -> Result<Encap, Dropped> {
        let (mut id, mut destination, mut source) = (None, None, None);
        let (mut ttl, mut tos) = (None, None);
        let name = &kind.text;
        while let Some(option) = words.peek() {
            if !matches!(
                option,
                "id" | "dst" | "src" | "ttl" | "hoplimit" | "tos" | "tc" | "dsfield" | "flags"
            ) {
                break;
            }
            let Some(keyword) = words.next() else { break };
            let value = self.parameter(words, keyword)?;
            let text = value.text.as_str();
            let ip = || text.parse::<IpAddr>().ok().filter(|ip| family_of(*ip) == family);
            let known = match keyword.text.as_str() {
                "id" => {
                    id = text.parse::<u64>().ok();
                    id.is_some()
                }
                "dst" => {
                    destination = ip();
                    destination.is_some()
                }
                "src" => {
                    source = ip();
                    source.is_some()
                }
                "ttl" | "hoplimit" => {
                    ttl = text.parse::<u8>().ok();
                    ttl.is_some()
                }
                "flags" => {
                    self.unsupported(keyword, &format!("flags of encap {name} of a route"))?;
                    false
                }
                _ => {
                    tos = names::find(&self.names.fields, text, 255)
                        .and_then(|n| u8::try_from(n).ok());
                    tos.is_some()
                }
            };
            if !known {
                let message =
                    format!("{} {text} is not valid for {name} encapsulation", keyword.text);
                self.dropped(value, message)?;
            }
        }
        if destination.is_none() && id.is_none() {
            self.dropped(kind, format!("address or id missing for {name} encapsulation"))?;
        }
        Ok(Encap::Ip { family, id, destination, source, ttl, tos })
    }

    fn finish_route(
        &mut self,
        line: &Statement,
        draft: Draft,
        is_static: bool,
    ) -> Option<Entry<Route>> {
        let Draft { mut route, family, destination, or, no_track, mut group } = draft;
        let span = line.span;
        let Some(destination) = destination else {
            self.fault(span, "Route must have a destination");
            return None;
        };
        route.family = family.unwrap_or(Family::V4);
        route.destination = destination.unwrap_or_else(|| everything(route.family));
        let shown = self.first_destination(&route);
        let wrong = route.source.filter(|source| family_of(*source) != route.family);
        if wrong.is_some() {
            self.fault(span, format!("Cannot mix IPv4 and IPv6 addresses for route ({shown})"));
            return None;
        }
        if let Some(or) = or {
            if !route.next_hops.is_empty() {
                self.fault(span, "Cannot specify nexthops with \"or\" route");
                return None;
            }
            let hop =
                |via| NextHop { via, interface: route.interface.clone(), ..NextHop::default() };
            route.next_hops = vec![hop(route.via), hop(Some(or))];
            (route.via, route.interface) = (None, None);
        }
        if has_host_bits(&route.destination) {
            // keepalived says nothing, and then goes without the route.
            let message = format!(
                "the kernel takes no route to {shown}: it has bits behind its prefix length"
            );
            self.say(Severity::Warning, span, message);
        }
        if !no_track && route.protocol != PROTOCOL {
            let message = format!(
                "Route cannot be tracked if protocol is not RTPROT_KEEPALIVED({PROTOCOL}), \
                 resetting protocol"
            );
            self.fault(span, message);
            route.protocol = PROTOCOL;
        }
        if !no_track && route.interface.is_none() {
            let message = format!(
                "Warning - cannot track route {shown} with no interface specified, not tracking \
                 (so with keepalived; here it is put back when somebody removes it)"
            );
            self.fault(span, message);
            if group.take().is_some() {
                self.fault(span, "Static route cannot have track group if no oif specified");
            }
        }
        self.either(span, is_static, no_track, &mut group, "route");
        Some(Entry { what: Arc::new(route), no_track, group, tracked_by: Vec::new(), span })
    }

    fn first_destination(&self, route: &Route) -> String {
        let (ip, length) = route.destination;
        match length {
            0 => "default".to_owned(),
            32 if ip.is_ipv4() => ip.to_string(),
            128 => ip.to_string(),
            _ => format!("{ip}/{length}"),
        }
    }
}

fn has_host_bits(net: &Net) -> bool {
    match *net {
        // IPv6 forgets them by itself.
        (IpAddr::V6(_), _) => false,
        (IpAddr::V4(ip), length) => {
            let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            ip.to_bits() & host != 0
        }
    }
}
