//! What is static, who tracks it, and which interfaces routes and rules need.

use std::sync::Arc;

use super::super::VirtualAddress;
use super::super::route::{Entry, Route, Rule, Statics};
use super::{Checker, InstanceRaw};
use crate::core::spec::{InstanceId, LinkId};

/// keepalived's interface for what names none.
const DEFAULT_INTERFACE: &str = "eth0";

impl Checker<'_> {
    /// To be called when all instances are known.
    pub(super) fn statics(&mut self) {
        let raw = &self.raw.statics;
        let groups = raw.groups.iter().map(|group| {
            let names = group.instances.iter().map(|(name, _)| name.clone());
            (group.name.clone(), names.collect())
        });
        self.config.statics.groups = groups.collect();
        for group in &raw.groups {
            for (name, span) in &group.instances {
                if !self.raw.instances.iter().any(|instance| instance.name == *name) {
                    let message = format!(
                        "vrrp instance {name} specified in track group {} doesn't exist - ignoring",
                        group.name
                    );
                    self.fault(*span, message);
                }
            }
        }
        let default = self.raw.global.default_interface.clone();
        let default = default.map_or_else(|| DEFAULT_INTERFACE.to_owned(), |at| at.value);
        for entry in &raw.addresses {
            let raw = &entry.what;
            let interface = raw.interface.as_ref().map_or(&default, |at| &at.value);
            let link = self.link(interface);
            let address = VirtualAddress {
                ip: raw.ip,
                prefix_len: raw.prefix_len,
                peer: raw.peer,
                flags: raw.flags,
                interface: interface.clone(),
                base: None,
                use_vmac: false,
                broadcast: raw.broadcast,
                label: raw.label.clone(),
                scope: raw.scope,
                no_prefix_route: raw.no_prefix_route,
                preferred_lft: raw.preferred_lft,
                text: format!("{}/{}", raw.ip, raw.prefix_len),
                span: raw.span,
            };
            let tracked_by = self.track(entry.group.as_deref(), &[link]);
            self.config.statics.addresses.push(Entry {
                what: Arc::new(address),
                no_track: entry.no_track,
                group: entry.group.clone(),
                tracked_by,
                span: entry.span,
            });
        }
        for entry in &raw.routes {
            let links = self.links(entry.what.interface.as_deref());
            let tracked_by = self.track(entry.group.as_deref(), &links);
            self.config.statics.routes.push(Entry { tracked_by, ..entry.clone() });
        }
        for entry in &raw.rules {
            let links = self.links(entry.what.interfaces());
            let tracked_by = self.track(entry.group.as_deref(), &links);
            self.config.statics.rules.push(Entry { tracked_by, ..entry.clone() });
        }
    }

    fn links<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> Vec<LinkId> {
        names.into_iter().map(|name| self.link(name)).collect()
    }

    /// Has the instances of a group need these interfaces; tells which instances those are.
    fn track(&mut self, group: Option<&str>, links: &[LinkId]) -> Vec<InstanceId> {
        let statics: &Statics = &self.config.statics;
        let found = statics.groups.iter().find(|(name, _)| group == Some(name));
        let Some((_, members)) = found else { return Vec::new() };
        let mut tracking = Vec::new();
        for (id, spec) in self.config.spec.instances.entries_mut() {
            if members.contains(&spec.name) {
                let own = spec.link;
                need(&mut spec.needs_links, own, links);
                tracking.push(id);
            }
        }
        tracking
    }

    /// The interfaces without which an instance cannot have its addresses, routes and rules, or hear its
    /// peers. keepalived tracks them of its own accord, unless `no_track` says not to.
    pub(super) fn needed_links(&mut self, raw: &InstanceRaw, own: LinkId) -> Vec<LinkId> {
        let mut needed = Vec::new();
        let addresses = raw.addresses.iter().chain(&raw.excluded).filter(|a| !a.no_track);
        let addresses = addresses.filter_map(|a| a.interface.as_ref().map(|at| at.value.as_str()));
        let routes = raw.conf.routes.iter().filter(|entry| !entry.no_track);
        let routes = routes.filter_map(|entry: &Entry<Route>| entry.what.interface.as_deref());
        let rules = raw.conf.rules.iter().filter(|entry| !entry.no_track);
        let rules = rules.flat_map(|entry: &Entry<Rule>| entry.what.interfaces());
        // What peers send to has to be an address of this host, on whatever interface.
        let is_unicast = !raw.peers.is_empty() && raw.source.is_some();
        let all = addresses.chain(routes).chain(rules).chain(is_unicast.then_some(""));
        let links = self.links(all);
        need(&mut needed, own, &links);
        needed
    }
}

/// The own interface is tracked anyway, or not, as the instance says.
fn need(needed: &mut Vec<LinkId>, own: LinkId, links: &[LinkId]) {
    for &link in links {
        if link != own && !needed.contains(&link) {
            needed.push(link);
        }
    }
}
