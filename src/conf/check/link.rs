//! Which interface an instance uses, and how long changes of interfaces are held back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::BeatKind;
use super::super::diagnostic::Severity;
use super::super::parse::InstanceRaw;
use super::Checker;
use crate::core::spec::{LinkDelay, LinkId};

/// keepalived's `default_interface` where none is given.
const DEFAULT_INTERFACE: &str = "eth0";

/// The interfaces of an instance.
pub(super) struct Interface {
    /// Its own; empty if the routing table chooses.
    pub own: String,
    /// Where its addresses are set that name none.
    pub of_addresses: String,
}

impl Checker<'_> {
    /// The interface of an instance. Unicast does without (keepalived 2.3 and later): then adverts
    /// come and go wherever the routing table says, and nothing is tracked of its own.
    pub(super) fn interface(&mut self, raw: &InstanceRaw) -> Option<Interface> {
        let name = &raw.name;
        if let (Some(vrf), Some(_)) = (&raw.vrf, &raw.interface) {
            let message = format!("({name}) Cannot specify VRF interface and interface - ignoring");
            self.fault(vrf.span, message);
        }
        if let Some(interface) = &raw.interface {
            let own = interface.value.clone();
            return Some(Interface { of_addresses: own.clone(), own });
        }
        if raw.peers.is_empty() {
            self.error(raw.span, format!("({name}) Unknown interface! `interface` must be set"));
            return None;
        }
        if let Some(span) = raw.vmac.own.or(raw.vmac.ipvlan.as_ref().map(|ipvlan| ipvlan.span)) {
            let message =
                format!("({name}) use_vmac and use_ipvlan need `interface`, which theirs stand on");
            self.error(span, message);
            return None;
        }
        let Some(source) = raw.source else {
            let message = format!(
                "({name}) unicast without an interface needs `unicast_src_ip`: nothing else says \
                 where adverts come from"
            );
            self.error(raw.span, message);
            return None;
        };
        let peers = raw.peers.iter().map(|peer| (peer.value.ip, peer.span));
        let mut ends = peers.chain([(source.value, source.span)]);
        if let Some((ip, span)) = ends.find(|&(ip, _)| is_of_link(ip)) {
            let message = format!(
                "({name}) {ip} means nothing without an interface: set `interface`, or use an \
                 address that is not link-local"
            );
            self.error(span, message);
            return None;
        }
        let default = self.raw.global.default_interface.as_ref();
        let of_addresses =
            default.map_or_else(|| DEFAULT_INTERFACE.to_owned(), |at| at.value.clone());
        let all = raw.addresses.iter().chain(&raw.excluded);
        if let Some(address) = all.into_iter().find(|address| address.interface.is_none()) {
            let message = format!(
                "({name}) {} has no `dev` and its instance no interface: it is set on {of_addresses} \
                 (`default_interface`)",
                address.ip
            );
            self.say(Severity::Warning, address.span, message);
        }
        // Sockets that are bound to the device of a VRF hear what arrives at any interface in it, and
        // its routing table says where adverts go.
        let own = raw.vrf.as_ref().map_or_else(String::new, |vrf| vrf.value.clone());
        Some(Interface { own, of_addresses })
    }

    /// Which interfaces are polled: those that are named, those of instances that say so, or all.
    pub(super) fn linkbeats(&mut self) {
        let mut wanted: BTreeMap<LinkId, Option<BeatKind>> = BTreeMap::new();
        if self.raw.global.polls_all_links {
            let is_ours = |name: &String| self.config.vmacs.iter().any(|vmac| vmac.name == *name);
            let names = self.config.spec.links.iter().enumerate();
            let real = names.filter(|(_, name)| !name.is_empty() && !is_ours(name));
            wanted.extend(real.map(|(place, _)| (LinkId(place), None)));
        }
        for instance in self.raw.instances.iter().filter(|instance| instance.polls_link) {
            if let Some(interface) = &instance.interface {
                wanted.insert(self.link(&interface.value), None);
            }
        }
        for (name, kind) in &self.raw.global.linkbeats {
            wanted.insert(self.link(&name.value), *kind);
        }
        self.config.linkbeats = wanted.into_iter().collect();
    }

    /// Delays of interfaces that anything depends on.
    pub(super) fn link_delays(&mut self) {
        for delay in &self.raw.global.link_delays {
            let (down, up, name) = (delay.down, delay.up, &delay.name);
            let Some(place) = self.config.spec.links.iter().position(|link| link == name) else {
                let message = format!("{name} is used by no instance: the delay has no effect");
                self.say(Severity::Note, delay.span, message);
                continue;
            };
            let link = crate::core::spec::LinkId(place);
            self.config.spec.link_delays.push(LinkDelay { link, down, up });
            let instances = self.config.spec.instances.iter();
            let of_link = instances.filter(|instance| {
                instance.link == link || instance.track_links.iter().any(|&(id, _)| id == link)
            });
            let least = of_link
                .map(|i| (i.advert_interval * (i.down_timer_adverts - 1), i.name.clone()))
                .min();
            if let Some((most, instance)) = least.filter(|(most, _)| down.max(up) >= *most) {
                let message = format!(
                    "the delay of {name} is cut to less than {} s: after that another node of \
                     {instance} takes over without having heard anything",
                    most.as_secs_f64()
                );
                self.say(Severity::Warning, delay.span, message);
            }
        }
    }
}

fn is_of_link(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
