//! `no_accept`: while this node is master, packets to and from its virtual addresses are dropped, by
//! the tables that keepalived makes.
//!
//! The tables, with empty sets, are made at the start and at a reload. The addresses of an instance are
//! in them from before they are put until after they are taken off.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::conf::{Config, FirewallConf};
use crate::core::Phase;
use crate::core::spec::{Family, InstanceId};
use crate::shell::daemon::Daemon;
use crate::shell::kernel::nftables::{self, Element, Socket};

/// What nft may take at the start, when nothing is held up by it, and at a reload.
const START_MAX: Duration = Duration::from_secs(5);
const RELOAD_MAX: Duration = Duration::from_millis(500);

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

    /// Makes the sets hold these addresses and no others.
    fn fill(&mut self, wanted: BTreeSet<Element>) {
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

impl Daemon {
    /// Addresses are about to be put.
    pub(in crate::shell) fn close_for(&mut self, instance: InstanceId) {
        if self.firewall.holding.insert(instance) {
            self.fill_firewall();
        }
    }

    /// Addresses are off their interfaces.
    pub(in crate::shell) fn open_after(&mut self, instance: InstanceId) {
        if self.firewall.holding.remove(&instance) {
            self.fill_firewall();
        }
    }

    /// What a former run has left on the interfaces stays closed until it is taken off or ours.
    pub(in crate::shell) fn close_for_leftovers(&mut self) {
        for instance in self.config.instances.ids() {
            let is_set =
                self.work.addresses(instance).iter().any(|(link, a)| {
                    self.links.state(*link).addresses.contains(&(a.ip, a.prefix_len))
                });
            if is_set {
                self.firewall.holding.insert(instance);
            }
        }
        self.fill_firewall();
    }

    /// Follows a reload, which may want other tables.
    pub(in crate::shell) fn reload_firewall(&mut self) {
        let instances = self.core.instances().iter();
        let masters = instances.filter(|i| matches!(i.phase, Phase::Master { .. })).map(|i| i.id);
        self.firewall.holding.extend(masters);
        if let Err(error) = self.firewall.make(&self.config, RELOAD_MAX) {
            log::error!("{error}; packets for the virtual addresses are not dropped");
        }
        self.fill_firewall();
    }

    fn fill_firewall(&mut self) {
        let mut wanted = BTreeSet::new();
        for &instance in &self.firewall.holding {
            if !self.config.instances.get(instance).is_some_and(|conf| conf.no_accept) {
                continue;
            }
            for (link, address) in self.work.addresses(instance) {
                let is_local = matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
                let index = self.links.index(*link).filter(|_| is_local);
                if index.is_some() || !is_local {
                    wanted.insert(Element { ip: address.ip, index });
                }
            }
        }
        self.firewall.fill(wanted);
    }
}
