//! Interfaces with a virtual MAC address: which ones there are, how they are called, and which
//! addresses are on them.

use super::super::diagnostic::{Severity, Span};
use super::super::parse::{AddressRaw, At, InstanceRaw, IpvlanRaw};
use super::super::{IpvlanConf, VmacConf};
use super::{Checker, advert};
use crate::core::spec::{Family, LinkId};

/// keepalived's `vmac_prefix` and `vmac_addr_prefix` unless told.
const PREFIX: &str = "vrrp";
/// Longest name of an interface, in bytes.
const NAME_BYTES_MAX: usize = 15;
/// So many names are tried.
const NAMES_MAX: u32 = 100_000;

/// The virtual MAC addresses of an instance, while its addresses are placed.
pub(super) struct Vmacs<'a> {
    instance: &'a InstanceRaw,
    base: &'a str,
    vrid: u8,
    family: Family,
    /// The name of the instance's own interface.
    pub own: Option<String>,
    /// Where adverts go out, if not at the base.
    pub xmit: Option<LinkId>,
    /// All of them.
    pub links: Vec<LinkId>,
}

/// Where an address is set.
pub(super) struct Place {
    /// The interface.
    pub interface: String,
    /// The one below it, if it has a virtual MAC address.
    pub base: Option<String>,
}

impl Checker<'_> {
    /// The instance's own interface, if it has one.
    pub(super) fn vmacs<'a>(&mut self, raw: &'a InstanceRaw, base: &'a str, vrid: u8) -> Vmacs<'a> {
        let family = advert::family(raw);
        let mut vmacs =
            Vmacs { instance: raw, base, vrid, family, own: None, xmit: None, links: Vec::new() };
        if let Some(ipvlan) = &raw.vmac.ipvlan {
            vmacs.own = self.ipvlan(raw, ipvlan, base, vrid);
            return vmacs;
        }
        let Some(span) = raw.vmac.own else {
            if let Some(span) = raw.vmac.xmit_base {
                self.fault(
                    span,
                    format!("({}) vmac_xmit_base is only valid with a vmac", raw.name),
                );
            }
            return vmacs;
        };
        let mut at_base = raw.vmac.xmit_base.is_some();
        if raw.unicast.is_some() && !at_base {
            at_base = true;
            let message =
                format!("({}) unicast with use_vmac requires vmac_xmit_base - setting", raw.name);
            self.fault(span, message);
        }
        let prefix = self.raw.global.vmac_prefix.as_ref();
        let name = match &raw.vmac.name {
            Some(At { value, span }) => self.given_name(raw, value, *span),
            None => self.free_name(prefix, vrid, family, span),
        };
        let mac = raw.vmac.mac.unwrap_or_else(|| virtual_mac(vrid, family));
        let vmac = VmacConf {
            name: name.clone(),
            instance: raw.name.clone(),
            base: base.to_owned(),
            mac,
            ipvlan: None,
            family,
            span,
        };
        let link = self.add_vmac(vmac);
        vmacs.links.push(link);
        vmacs.xmit = (!at_base).then_some(link);
        vmacs.own = Some(name);
        vmacs
    }

    /// The IPVLAN that an instance has instead of its interface: it sends, hears and has its addresses
    /// there.
    fn ipvlan(
        &mut self,
        raw: &InstanceRaw,
        ipvlan: &IpvlanRaw,
        base: &str,
        vrid: u8,
    ) -> Option<String> {
        let (span, family) = (ipvlan.span, advert::family(raw));
        if let Some(own) = raw.vmac.own {
            let message =
                format!("({}) use_vmac has no effect with use_ipvlan - ignoring", raw.name);
            self.fault(own, message);
        }
        let address = ipvlan.address.filter(|at| {
            let fits = at.value.0.is_ipv4() == (family == Family::V4);
            if !fits {
                let message =
                    format!("({}): address family must match VRRP instance - ignoring", raw.name);
                self.fault(at.span, message);
            }
            fits
        });
        let source = raw.source.map(|at| (at.value, if at.value.is_ipv4() { 32 } else { 128 }));
        let address = address.map(|at| at.value).or(source);
        if address.is_none() && family == Family::V4 {
            let message = format!(
                "({}) IPv4 ipvlan requires a source ip address to be configured: keepalived would \
                 stay in fault state; write `use_ipvlan ADDRESS/LENGTH`",
                raw.name
            );
            self.error(span, message);
            return None;
        }
        let prefix = self.raw.global.vmac_prefix.as_ref();
        let name = match &ipvlan.name {
            Some(At { value, span }) => self.given_name(raw, value, *span),
            None => self.free_name(prefix, vrid, family, span),
        };
        self.add_vmac(VmacConf {
            name: name.clone(),
            instance: raw.name.clone(),
            base: base.to_owned(),
            mac: [0; 6],
            ipvlan: Some(IpvlanConf { address, mode: ipvlan.mode.unwrap_or_default() }),
            family,
            span,
        });
        Some(name)
    }

    fn add_vmac(&mut self, vmac: VmacConf) -> LinkId {
        let link = self.link(&vmac.name);
        // What it stands on is watched too: it is made when that appears.
        self.link(&vmac.base);
        self.config.vmacs.push(vmac);
        link
    }

    /// Where an address is set: keepalived's choice.
    ///
    /// One of the instance's family on its interface goes to the virtual MAC address of the
    /// instance. Any other gets one of its own if it says `use_vmac`, or the instance says
    /// `use_vmac_addr`: one for each interface and family.
    pub(super) fn place(&mut self, raw: &AddressRaw, vmacs: &mut Vmacs<'_>) -> Place {
        let written = raw.interface.as_ref().map_or(vmacs.base, |at| at.value.as_str());
        let family = if raw.ip.is_ipv4() { Family::V4 } else { Family::V6 };
        let name = &vmacs.instance.name;
        let is_own_place = written == vmacs.base && family == vmacs.family;
        if let Some(own) = vmacs.own.as_ref().filter(|_| is_own_place) {
            if raw.use_vmac {
                let message = format!(
                    "({name}) use_vmac specified for VIP/eVIP {}/{} and vrrp instance",
                    raw.ip, raw.prefix_len
                );
                self.fault(raw.span, message);
            }
            return Place { interface: own.clone(), base: Some(written.to_owned()) };
        }
        let by_instance = vmacs.instance.conf.vmac_addresses && !is_own_place;
        if by_instance && raw.use_vmac {
            let message = format!(
                "({name}) use_vmac_addr specified and use_vmac specified for VIP/eVIP {}/{}",
                raw.ip, raw.prefix_len
            );
            self.fault(raw.span, message);
        }
        if !(by_instance || raw.use_vmac) {
            return Place { interface: written.to_owned(), base: None };
        }
        let interface = self.address_vmac(vmacs, written, family, raw.span);
        Place { interface, base: Some(written.to_owned()) }
    }

    /// The interface for addresses of this family there, made with the first of them.
    fn address_vmac(
        &mut self,
        vmacs: &mut Vmacs<'_>,
        base: &str,
        family: Family,
        span: Span,
    ) -> String {
        let mac = virtual_mac(vmacs.vrid, family);
        let names = &self.config.spec.links;
        let is_ours = |vmac: &&VmacConf| {
            let is_mine = vmacs.links.iter().any(|link| names.get(link.0) == Some(&vmac.name));
            is_mine && vmac.base == base && vmac.mac == mac
        };
        if let Some(vmac) = self.config.vmacs.iter().find(is_ours) {
            return vmac.name.clone();
        }
        let prefix = self.raw.global.vmac_addr_prefix.as_ref();
        let name = self.free_name(prefix, vmacs.vrid, family, span);
        let vmac = VmacConf {
            name: name.clone(),
            instance: vmacs.instance.name.clone(),
            base: base.to_owned(),
            mac,
            ipvlan: None,
            family,
            span,
        };
        let link = self.add_vmac(vmac);
        vmacs.links.push(link);
        name
    }

    /// A name that the file gives; it must be nobody else's.
    fn given_name(&mut self, raw: &InstanceRaw, name: &str, span: Span) -> String {
        if self.config.vmacs.iter().any(|vmac| vmac.name == name) {
            let message = format!(
                "({}) VMAC interface name {name} is that of another instance; give it another name",
                raw.name
            );
            self.error(span, message);
        }
        let is_base = |other: &InstanceRaw| {
            let interface = other.interface.as_ref();
            interface.is_some_and(|interface| interface.value == name)
        };
        if self.raw.instances.iter().any(is_base) {
            let message = format!(
                "({}) interface {name} already exists and is not a private macvlan; give the VMAC \
                 interface another name",
                raw.name
            );
            self.error(span, message);
        }
        name.to_owned()
    }

    /// `vrrp.VRID`, and where that is given away `vrrp6.VRID` for IPv6, `vrrp1.VRID` and so on, as
    /// keepalived counts.
    fn free_name(
        &mut self,
        prefix: Option<&At<String>>,
        vrid: u8,
        family: Family,
        span: Span,
    ) -> String {
        let text = prefix.map_or(PREFIX, |at| at.value.as_str());
        let is_taken = |name: &String| {
            let given = self.raw.instances.iter().flat_map(|i| {
                let ipvlan = i.vmac.ipvlan.as_ref().and_then(|ipvlan| ipvlan.name.as_ref());
                i.vmac.name.as_ref().into_iter().chain(ipvlan)
            });
            self.config.vmacs.iter().any(|vmac| vmac.name == *name)
                || given.into_iter().any(|at| at.value == *name)
        };
        let plain = std::iter::once(format!("{text}.{vrid}"));
        let six = (family == Family::V6).then(|| format!("{text}6.{vrid}"));
        let counted = (1..NAMES_MAX).map(|count| format!("{text}{count}.{vrid}"));
        let name = plain.chain(six).chain(counted).find(|name| !is_taken(name)).unwrap_or_default();
        if name.len() > NAME_BYTES_MAX {
            let message = format!(
                "the name '{name}' is too long for an interface: it has at most {NAME_BYTES_MAX} \
                 bytes; choose a shorter prefix"
            );
            self.error(prefix.map_or(span, |at| at.span), message);
        }
        name
    }

    /// Two instances cannot share a MAC address on an interface: the kernel refuses the second.
    /// keepalived disables that instance, and says so in the log only.
    pub(super) fn shared_vmacs(&mut self) {
        let mut found = Vec::new();
        let macvlans = || self.config.vmacs.iter().filter(|vmac| vmac.ipvlan.is_none());
        for (place, b) in macvlans().enumerate() {
            let others = macvlans().take(place);
            for a in others.filter(|a| a.base == b.base && a.mac == b.mac) {
                let message = format!(
                    "{} and {} would both have the MAC address {} on {}; give one instance another \
                     virtual_router_id",
                    a.name,
                    b.name,
                    b.mac_text(),
                    b.base
                );
                found.push((b.span, message));
            }
        }
        for (span, message) in found {
            self.say(Severity::Error, span, message);
        }
    }
}

/// The MAC address of a virtual router (RFC 5798, 7.3).
const fn virtual_mac(vrid: u8, family: Family) -> [u8; 6] {
    let kind = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    [0, 0, 0x5e, 0, kind, vrid]
}
