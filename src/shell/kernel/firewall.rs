//! `no_accept`: while this node is master, packets to and from its virtual addresses are dropped, by
//! the tables that keepalived makes.
//!
//! The tables, with empty sets, are made at the start and at a reload. The addresses of an instance are
//! in them from before they are put until after they are taken off.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::assigned::Addresses;
use super::link::Links;
use crate::conf::{Config, FirewallConf};
use crate::core::spec::{Family, InstanceId};
use crate::shell::kernel::nftables::{self, Element, Socket};

/// What nft may take at the start, when nothing is held up by it, and at a reload.
const START_MAX: Duration = Duration::from_secs(5);
const RELOAD_MAX: Duration = Duration::from_millis(500);

/// What the sets are filled from.
#[derive(Clone, Copy)]
pub struct Present<'a> {
    /// Says which instances have `no_accept`.
    pub config: &'a Config,
    /// The addresses of each.
    pub addresses: &'a Addresses,
    /// The interfaces that they belong on.
    pub links: &'a Links,
}

/// The tables and what is in them.
#[derive(Debug, Default)]
pub struct Firewall {
    /// How the tables were made, if there are any.
    made: Option<(FirewallConf, Vec<Family>)>,
    /// What is in their sets.
    present: BTreeSet<Element>,
    /// Instances whose addresses are put.
    holding: BTreeSet<InstanceId>,
}

impl Firewall {
    /// Makes the tables that a configuration needs, and removes what a former run has left.
    ///
    /// # Errors
    /// They are needed and cannot be made.
    pub fn open(config: &Config) -> Result<Self, String> {
        let mut firewall = Self::default();
        remove(&config.global.firewall.table, &[Family::V4, Family::V6]);
        firewall.make(config, START_MAX)?;
        Ok(firewall)
    }

    /// Makes the tables anew if others are needed than there are.
    fn make(&mut self, config: &Config, at_most: Duration) -> Result<(), String> {
        let families = families(config);
        let wanted = (!families.is_empty()).then(|| (config.global.firewall.clone(), families));
        if wanted == self.made {
            return Ok(());
        }
        if let Some((conf, families)) = self.made.take() {
            remove(&conf.table, &families);
        }
        self.present.clear();
        if let Some((conf, families)) = &wanted {
            nftables::run(&nftables::tables(conf, families), at_most)?;
        }
        self.made = wanted;
        Ok(())
    }

    /// Removes the tables.
    pub fn close(&mut self) {
        if let Some((conf, families)) = self.made.take() {
            remove(&conf.table, &families);
        }
    }

    /// Addresses are about to be put.
    pub fn close_for(&mut self, instance: InstanceId, present: Present<'_>) {
        if self.holding.insert(instance) {
            self.fill(present);
        }
    }

    /// Addresses are off their interfaces.
    pub fn open_after(&mut self, instance: InstanceId, present: Present<'_>) {
        if self.holding.remove(&instance) {
            self.fill(present);
        }
    }

    /// What a former run has left on the interfaces stays closed until it is taken off or ours.
    pub fn close_for_leftovers(&mut self, present: Present<'_>) {
        for instance in present.config.instances.ids() {
            let is_set = present.addresses.of(instance).iter().any(|(link, a)| {
                present.links.state(*link).addresses.contains(&(a.ip, a.prefix_len))
            });
            if is_set {
                self.holding.insert(instance);
            }
        }
        self.fill(present);
    }

    /// Follows a reload, which may want other tables.
    pub fn reload(&mut self, masters: impl Iterator<Item = InstanceId>, present: Present<'_>) {
        self.holding.extend(masters);
        if let Err(error) = self.make(present.config, RELOAD_MAX) {
            log::error!("{error}; packets for the virtual addresses are not dropped");
        }
        self.fill(present);
    }

    /// Makes the sets hold the addresses of the instances that hold theirs.
    fn fill(&mut self, present: Present<'_>) {
        let mut wanted = BTreeSet::new();
        for &instance in &self.holding {
            if !present.config.instances.get(instance).is_some_and(|conf| conf.no_accept) {
                continue;
            }
            for (link, address) in present.addresses.of(instance) {
                let is_local = matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
                let index = present.links.index(*link).filter(|_| is_local);
                if index.is_some() || !is_local {
                    wanted.insert(Element { ip: address.ip, index });
                }
            }
        }
        self.change(wanted);
    }

    /// Makes the sets hold these addresses and no others.
    fn change(&mut self, wanted: BTreeSet<Element>) {
        let Some((conf, _)) = &self.made else { return };
        let gone: Vec<Element> = self.present.difference(&wanted).copied().collect();
        let new: Vec<Element> = wanted.difference(&self.present).copied().collect();
        if gone.is_empty() && new.is_empty() {
            return;
        }
        match Socket::open().and_then(|socket| socket.change(&conf.table, &gone, &new)) {
            Ok(()) => self.present = wanted,
            Err(error) => log::error!(
                "nftables, table {}: {error}; packets for the virtual addresses are not dropped as \
                 no_accept wants it",
                conf.table
            ),
        }
    }
}

/// Removes the tables of these families, if they are there.
pub fn remove(table: &str, families: &[Family]) {
    // Without nf_tables in the kernel there is nothing to remove.
    let Ok(socket) = Socket::open() else { return };
    for &family in families {
        if let Err(error) = socket.delete_table(table, family) {
            log::debug!("nftables, table {table}: {error}");
        }
    }
}

/// The families of all addresses whose packets may have to be dropped.
fn families(config: &Config) -> Vec<Family> {
    let no_accept = config.instances.iter().filter(|conf| conf.no_accept);
    let families = no_accept.flat_map(|conf| &conf.addresses).map(|address| match address.ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    });
    families.collect::<BTreeSet<_>>().into_iter().collect()
}
