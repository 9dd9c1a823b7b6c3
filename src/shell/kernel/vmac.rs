//! Interfaces with a virtual MAC address: made at the start, kept while the daemon runs, taken away
//! at its end, and what the kernel must be told so that each address is found at the right one.
//!
//! What is made and changed is first written down in /run, so that a daemon started after a crash,
//! or `glha release`, can take away what nobody wants any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, IpVlanFlags, IpVlanMode, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use crate::conf::{Config, IpvlanMode, VmacConf};
use crate::core::spec::{Family, InstanceSpec, LinkId};
use crate::shell::host::page;
use crate::shell::host::sysctl::{self, Originals};
use crate::shell::kernel::link::{Links, Seen};
use crate::shell::state::phase_file::boot_id;

const FILE: &str = "vmac.json";
const SCHEMA: &str = "glha.vmac/1";
/// No file of ours is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Settings of an interface below that make it silent about addresses on top of it: it answers
/// ARP only for its own, and only if the answer would go out of it.
const BASE_SETTINGS: [&str; 2] = ["arp_ignore", "arp_filter"];
/// The reverse path filter of all interfaces; while it is on, it also counts for ours.
const ALL_RP_FILTER: &str = "ipv4/conf/all/rp_filter";

/// What is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    schema: String,
    boot_id: String,
    /// The interfaces that we have made, or are about to make.
    made: BTreeSet<String>,
    /// Settings that we have changed, with their former values.
    originals: BTreeMap<String, String>,
}

/// The interfaces of the configuration, and those left of a former one.
#[derive(Debug)]
pub struct Vmacs {
    path: PathBuf,
    wanted: Vec<VmacConf>,
    /// Made for a former configuration, and still to be taken away.
    unwanted: Vec<String>,
    /// The interface below each.
    below: BTreeMap<LinkId, LinkId>,
    /// Those in the page.
    made: BTreeSet<String>,
    originals: Originals,
    /// Number of each interface that we have made or found, and set up.
    ready: BTreeMap<String, u32>,
    /// Number of each interface below whose settings are as they must be.
    bases: BTreeMap<String, u32>,
    /// What could not be made, so that it is said once.
    failed: BTreeMap<String, String>,
}

impl Vmacs {
    /// Knows what a former run of the daemon has left, as its file in this folder says.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let page = read_page(&path).unwrap_or_else(|why| {
            log::warn!("{}: {why}; interfaces of a former run may be left", path.display());
            None
        });
        let (made, originals) = page.map(|page| (page.made, page.originals)).unwrap_or_default();
        Self {
            path,
            wanted: Vec::new(),
            unwanted: Vec::new(),
            below: BTreeMap::new(),
            made,
            originals: Originals(originals),
            ready: BTreeMap::new(),
            bases: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Is this interface one that we, or a former run, have made?
    pub fn has_made(&self, name: &str) -> bool {
        self.made.contains(name)
    }

    /// Goes over to what a configuration wants: what it does not want any more is taken away, the
    /// rest stays untouched, or is made by the next [`Vmacs::mend`].
    pub fn configure(&mut self, config: &Config, links: &mut Links) {
        self.wanted.clone_from(&config.vmacs);
        let names = &config.spec.links;
        let link = |name: &str| names.iter().position(|known| known == name).map(LinkId);
        let pair = |vmac: &VmacConf| Some((link(&vmac.name)?, link(&vmac.base)?));
        let macvlans = config.vmacs.iter().filter(|vmac| vmac.ipvlan.is_none());
        self.below = macvlans.filter_map(pair).collect();
        self.failed.clear();
        self.unwanted.clear();
        for name in self.made.clone() {
            let mut wanted = self.wanted.iter().filter(|vmac| vmac.name == name);
            match wanted.next() {
                Some(vmac) if is_it(vmac, links) => {}
                // Another is to have its name.
                Some(_) => self.remove(&name, links),
                None => self.unwanted.push(name),
            }
        }
        self.restore_unwanted();
        self.write();
    }

    /// Is there one that no configuration wants any more?
    pub const fn is_urgent(&self) -> bool {
        !self.unwanted.is_empty()
    }

    /// Takes away one of those: the kernel needs tens of milliseconds for each, in which no advert is
    /// sent. To be called in every turn of the loop; true if there was one.
    pub fn work(&mut self, links: &mut Links) -> bool {
        let Some(name) = self.unwanted.pop() else { return false };
        self.remove(&name, links);
        self.write();
        true
    }

    /// The places of all of them.
    pub fn links(&self) -> BTreeSet<LinkId> {
        self.below.keys().copied().collect()
    }

    /// The interface that something received at this one was sent to: the one below, if this is one
    /// of ours.
    pub fn heard_at(&self, link: LinkId) -> LinkId {
        self.below.get(&link).copied().unwrap_or(link)
    }

    /// Where else the adverts of others to an instance arrive: at interfaces of ours with the
    /// sender's MAC address.
    pub fn ears<'a>(&'a self, spec: &'a InstanceSpec) -> impl Iterator<Item = LinkId> + 'a {
        spec.vmacs.iter().copied().filter(|link| self.below.get(link) == Some(&spec.link))
    }

    /// Makes what is missing; true if anything was done.
    pub fn mend(&mut self, links: &mut Links) -> bool {
        let mut has_acted = false;
        for vmac in self.wanted.clone() {
            let Some(base) = links.look(&vmac.base) else {
                // It took everything on it along, and comes back without our settings.
                self.ready.remove(&vmac.name);
                self.bases.remove(&vmac.base);
                continue;
            };
            if vmac.ipvlan.is_none() {
                self.set_up_base(&vmac, base.index);
            }
            let seen = look_twice(&vmac.name, links);
            let is_ready = seen.is_some_and(|s| self.ready.get(&vmac.name) == Some(&s.index));
            let outcome = match seen {
                Some(seen) if is_ready => {
                    let is_mended = keep_mac(&vmac, &seen, links);
                    is_mended.and_then(|was| Ok(grow(&vmac, &seen, &base, links)? || was))
                }
                Some(_) if is_it(&vmac, links) => self.adopt(&vmac, links),
                Some(_) if vmac.ipvlan.is_some() => Err(format!(
                    "interface {} already exists and is no IPVLAN on {}; remove it, or give the \
                     IPVLAN another name",
                    vmac.name, vmac.base
                )),
                Some(_) => Err(format!(
                    "interface {} already exists and is not a private macvlan on {} with the MAC \
                     address {}; remove it, or give the VMAC another name",
                    vmac.name,
                    vmac.base,
                    vmac.mac_text()
                )),
                None => self.make(&vmac, base.index, links),
            };
            match outcome {
                Ok(acted) => {
                    put_own_address(&vmac, links);
                    self.failed.remove(&vmac.name);
                    has_acted |= acted;
                }
                Err(why) => {
                    if self.failed.get(&vmac.name) != Some(&why) {
                        log::error!("({}): {why}", vmac.instance);
                        self.failed.insert(vmac.name, why);
                    }
                }
            }
        }
        has_acted
    }

    /// Takes all of them away and puts the settings back.
    pub fn finish(&mut self, links: &mut Links) {
        self.wanted.clear();
        self.unwanted.clear();
        for name in self.made.clone() {
            self.remove(&name, links);
        }
        self.restore_unwanted();
        self.write();
    }

    fn make(&mut self, vmac: &VmacConf, base: u32, links: &mut Links) -> Result<bool, String> {
        let name = &vmac.name;
        if self.ready.remove(name).is_some() {
            log::warn!("VMAC interface {name} was removed by somebody; making it again");
        }
        if self.made.insert(name.clone()) {
            self.write();
        }
        let told = |what: &str| {
            let what = what.to_owned();
            let (kind, hint) = match (vmac.ipvlan, what.as_str()) {
                (Some(_), "made") => {
                    ("IPVLAN", "; does this kernel have IPVLANs (modprobe ipvlan)?")
                }
                (Some(_), _) => ("IPVLAN", ""),
                (None, _) => ("VMAC", ""),
            };
            move |error: io::Error| {
                format!("{kind} interface {name} cannot be {what}: {error}{hint}")
            }
        };
        let request = RouteNetlinkMessage::NewLink(new_link(vmac, base));
        links.request(request, NLM_F_CREATE | NLM_F_EXCL).map_err(told("made"))?;
        links.read_now();
        let index = links.look(name).ok_or_else(|| format!("{name} has gone at once"))?.index;
        set_up(vmac);
        raise(index, links).map_err(told("brought up"))?;
        self.ready.insert(name.clone(), index);
        log::info!("({}): Success creating VMAC interface {name}", vmac.instance);
        Ok(true)
    }

    /// Takes over what a former run, or keepalived, has left.
    fn adopt(&mut self, vmac: &VmacConf, links: &mut Links) -> Result<bool, String> {
        let name = &vmac.name;
        let Some(seen) = links.look(name) else { return Ok(false) };
        if self.made.insert(name.clone()) {
            self.write();
        }
        set_up(vmac);
        raise(seen.index, links)
            .map_err(|error| format!("VMAC interface {name} cannot be brought up: {error}"))?;
        self.ready.insert(name.clone(), seen.index);
        log::info!("({}) Found matching interface {name}", vmac.instance);
        Ok(true)
    }

    /// Removes one that we have made. One of that name that somebody else has put there since stays.
    fn remove(&mut self, name: &str, links: &mut Links) {
        self.ready.remove(name);
        let seen = links
            .look(name)
            .filter(|seen| seen.macvlan.is_some_and(|m| m.is_private || m.is_ipvlan));
        let Some(seen) = seen else {
            self.made.remove(name);
            return;
        };
        let mut message = LinkMessage::default();
        message.header.index = seen.index;
        match links.request(RouteNetlinkMessage::DelLink(message), 0) {
            Ok(()) => {
                self.made.remove(name);
                log::info!("Success removing VMAC interface {name}");
            }
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                self.made.remove(name);
            }
            Err(error) => log::error!("VMAC interface {name} cannot be removed: {error}"),
        }
        links.read_now();
    }

    /// The settings of the interface below, as long as IPv4 addresses stand on it. Done once for
    /// each, so that a person may change them.
    fn set_up_base(&mut self, vmac: &VmacConf, index: u32) {
        if vmac.family == Family::V6 || self.bases.get(&vmac.base) == Some(&index) {
            return;
        }
        self.bases.insert(vmac.base.clone(), index);
        let names = BASE_SETTINGS.map(|setting| format!("ipv4/conf/{}/{setting}", vmac.base));
        let weaker = self.rp_filters();
        names.iter().for_each(|name| self.originals.note(name));
        weaker.iter().for_each(|(name, _)| self.originals.note(name));
        self.write();
        names.iter().for_each(|name| sysctl::set(name, "1"));
        weaker.iter().for_each(|(name, value)| sysctl::set(name, value));
    }

    /// The reverse path filter of all interfaces counts for each: it would drop what arrives at
    /// ours for an address of the interface below. So every other one takes over its value, and it
    /// is switched off.
    fn rp_filters(&self) -> Vec<(String, String)> {
        let value = |name: &str| sysctl::read(name).and_then(|text| text.parse::<u8>().ok());
        let Some(all) = value(ALL_RP_FILTER).filter(|all| *all > 0) else { return Vec::new() };
        let is_other = |name: &String| name != "all" && name != "lo" && !self.made.contains(name);
        let names = sysctl::ipv4_interfaces().into_iter().filter(is_other);
        let names = names.map(|name| format!("ipv4/conf/{name}/rp_filter"));
        let weaker = names.filter(|name| value(name).is_some_and(|own| own < all));
        let mut changes: Vec<_> = weaker.map(|name| (name, all.to_string())).collect();
        changes.push((ALL_RP_FILTER.to_owned(), "0".to_owned()));
        changes
    }

    /// Puts back the settings of interfaces that nothing stands on any more.
    fn restore_unwanted(&mut self) {
        let v4 = self.wanted.iter().filter(|vmac| vmac.family == Family::V4);
        let bases: BTreeSet<&str> = v4.map(|vmac| vmac.base.as_str()).collect();
        self.bases.retain(|name, _| bases.contains(name.as_str()));
        let mut kept: BTreeSet<String> = bases
            .iter()
            .flat_map(|base| BASE_SETTINGS.map(|setting| format!("ipv4/conf/{base}/{setting}")))
            .collect();
        if !bases.is_empty() {
            let filters = self.originals.0.keys().filter(|name| name.ends_with("/rp_filter"));
            kept.extend(filters.cloned());
        }
        self.originals.restore(&kept);
    }

    fn write(&self) {
        let outcome = if self.made.is_empty() && self.originals.0.is_empty() {
            match fs::remove_file(&self.path) {
                // A file system that is read-only says that before it says that there is none.
                Err(error) if fs::symlink_metadata(&self.path).is_ok() => Err(error),
                _ => Ok(()),
            }
        } else {
            self.write_page()
        };
        if let Err(error) = outcome {
            let path = self.path.display();
            log::error!("{path}: {error}; after a crash VMAC interfaces may be left");
        }
    }

    fn write_page(&self) -> io::Result<()> {
        let page = Page {
            schema: SCHEMA.to_owned(),
            boot_id: boot_id(),
            made: self.made.clone(),
            originals: self.originals.0.clone(),
        };
        page::private_folder(self.path.parent().unwrap_or(&self.path))?;
        page::put(&self.path, &serde_json::to_vec(&page)?)
    }
}

/// Is the interface of that name what is wanted?
pub fn is_it(vmac: &VmacConf, links: &Links) -> bool {
    let (Some(seen), Some(base)) = (links.look(&vmac.name), links.look(&vmac.base)) else {
        return false;
    };
    let is_on_it = |macvlan: crate::shell::kernel::rtnl::Macvlan| {
        macvlan.is_private && macvlan.base == Some(base.index)
    };
    if vmac.ipvlan.is_some() {
        return seen.macvlan.is_some_and(|m| m.is_ipvlan && m.base == Some(base.index));
    }
    seen.mac == Some(vmac.mac) && seen.macvlan.is_some_and(is_on_it)
}

/// What makes it: a private macvlan, or an IPVLAN of layer 2 as keepalived's.
fn new_link(vmac: &VmacConf, base: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(vmac.name.clone()), LinkAttribute::Link(base)];
    let info = match vmac.ipvlan {
        None => {
            message.attributes.push(LinkAttribute::Address(vmac.mac.to_vec()));
            vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
            ]
        }
        Some(ipvlan) => {
            let flags = match ipvlan.mode {
                IpvlanMode::Bridge => IpVlanFlags::empty(),
                IpvlanMode::Private => IpVlanFlags::Private,
                IpvlanMode::Vepa => IpVlanFlags::Vepa,
            };
            let data = vec![InfoIpVlan::Mode(IpVlanMode::L2), InfoIpVlan::Flags(flags)];
            vec![LinkInfo::Kind(InfoKind::IpVlan), LinkInfo::Data(InfoData::IpVlan(data))]
        }
    };
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message
}

/// The address of an IPVLAN, from which its instance sends; put again if somebody has removed it.
fn put_own_address(vmac: &VmacConf, links: &mut Links) {
    let Some((ip, prefix_len)) = vmac.ipvlan.and_then(|ipvlan| ipvlan.address) else { return };
    let Some(index) = links.look(&vmac.name).map(|seen| seen.index) else { return };
    if links.has_address(index, ip) {
        return;
    }
    let family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let mut message = AddressMessage::default();
    message.header.family = family;
    message.header.prefix_len = prefix_len;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    let request = RouteNetlinkMessage::NewAddress(message);
    if let Err(error) = links.request(request, NLM_F_CREATE | NLM_F_REPLACE) {
        log::error!("({}): {ip} cannot be set on {}: {error}", vmac.instance, vmac.name);
    }
}

/// What keepalived sets on its own interface before it brings it up. An IPv6 one does not listen to
/// routers besides: what it learned, and its solicitations, would be another node's as well.
fn set_up(vmac: &VmacConf) {
    let name = &vmac.name;
    let set = |setting: &str, value: &str| {
        let (family, setting) = setting.split_once('/').unwrap_or(("ipv4", setting));
        sysctl::set(&format!("{family}/conf/{name}/{setting}"), value);
    };
    if vmac.ipvlan.is_some() {
        // The link-local address that an IPv6 one makes is the one it sends from.
        match vmac.family {
            Family::V4 => set("ipv6/disable_ipv6", "1"),
            Family::V6 => set("ipv6/accept_ra", "0"),
        }
        return set("ipv4/promote_secondaries", "1");
    }
    set("ipv6/addr_gen_mode", "1");
    match vmac.family {
        Family::V4 => {
            set("ipv6/disable_ipv6", "1");
            set("ipv4/accept_local", "1");
            set("ipv4/arp_ignore", "1");
            set("ipv4/rp_filter", "0");
            set("ipv4/promote_secondaries", "1");
        }
        Family::V6 => set("ipv6/accept_ra", "0"),
    }
}

/// One that is deleted goes down first, and is gone some milliseconds later. A request waits until
/// the kernel is done with it.
fn look_twice(name: &str, links: &mut Links) -> Option<Seen> {
    let seen = links.look(name).filter(|seen| !seen.up);
    if let Some(seen) = seen {
        let mut message = LinkMessage::default();
        message.header.index = seen.index;
        if links.request(RouteNetlinkMessage::SetLink(message), 0).is_err() {
            links.read_now();
        }
    }
    links.look(name)
}

/// Brings an interface up.
fn raise(index: u32, links: &mut Links) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    links.request(RouteNetlinkMessage::SetLink(message), 0)
}

/// With another MAC address, which somebody has given it, it is none; keepalived goes on with it.
fn keep_mac(vmac: &VmacConf, seen: &Seen, links: &mut Links) -> Result<bool, String> {
    if vmac.ipvlan.is_some() || seen.mac == Some(vmac.mac) {
        return Ok(false);
    }
    let mut message = LinkMessage::default();
    message.header.index = seen.index;
    message.attributes = vec![LinkAttribute::Address(vmac.mac.to_vec())];
    let (name, mac) = (&vmac.name, vmac.mac_text());
    links
        .request(RouteNetlinkMessage::SetLink(message), 0)
        .map_err(|error| format!("the MAC address of {name} cannot be set to {mac}: {error}"))?;
    log::warn!("VMAC interface {name} was given another MAC address; it is {mac} again");
    Ok(true)
}

/// The kernel makes an interface shrink with the one below, but not grow again.
fn grow(vmac: &VmacConf, seen: &Seen, base: &Seen, links: &mut Links) -> Result<bool, String> {
    if seen.mtu >= base.mtu {
        return Ok(false);
    }
    let mut message = LinkMessage::default();
    message.header.index = seen.index;
    message.attributes = vec![LinkAttribute::Mtu(base.mtu)];
    let (name, mtu) = (&vmac.name, base.mtu);
    links
        .request(RouteNetlinkMessage::SetLink(message), 0)
        .map_err(|error| format!("the MTU of {name} cannot be set to {mtu}: {error}"))?;
    Ok(true)
}

/// What a former run wrote down since the last boot.
fn read_page(path: &Path) -> Result<Option<Page>, String> {
    let bytes = page::read(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let Some(bytes) = bytes else { return Ok(None) };
    let page: Page = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    // Names become paths: what is not ours to write must not lead elsewhere.
    let is_sound = |name: &String| {
        let parts: Vec<&str> = name.split('/').collect();
        matches!(parts.as_slice(), ["ipv4", "conf", interface, setting]
            if *interface != ".." && matches!(*setting, "arp_ignore" | "arp_filter" | "rp_filter"))
    };
    if page.schema != SCHEMA || !page.originals.keys().all(is_sound) {
        return Err("not what glha writes".to_owned());
    }
    Ok((page.boot_id == boot_id()).then_some(page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{IpvlanConf, Span};
    use netlink_packet_core::Emitable;

    /// As keepalived 2.2.7 asks for one of each kind: IFLA_LINKINFO with kind "ipvlan", mode 0 (L2)
    /// and its flags.
    #[test]
    fn an_ipvlan_is_asked_for_as_keepalived_does() {
        for (mode, flags) in
            [(IpvlanMode::Bridge, 0), (IpvlanMode::Private, 1), (IpvlanMode::Vepa, 2)]
        {
            let vmac = VmacConf {
                name: "ipv11".into(),
                instance: "V".into(),
                base: "e0".into(),
                mac: [0; 6],
                ipvlan: Some(IpvlanConf { address: None, mode }),
                family: Family::V4,
                span: Span::default(),
            };
            let message = new_link(&vmac, 2);
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            let mut data = vec![6, 0, 1, 0, 0, 0, 0, 0, 6, 0, 2, 0];
            data.extend([flags, 0, 0, 0]);
            let at = bytes.windows(data.len()).position(|window| window == data);
            assert!(at.is_some(), "{bytes:?}");
            assert!(bytes.windows(6).any(|window| window == b"ipvlan"));
            assert!(bytes.windows(8).any(|window| window == [8, 0, 5, 0, 2, 0, 0, 0]));
            // No MAC address: it has that of the interface below.
            assert!(!message.attributes.iter().any(|a| matches!(a, LinkAttribute::Address(_))));
        }
    }
}
