//! The virtual addresses of the instances, with the interfaces that they belong on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::conf::{Config, VirtualAddress};
use crate::core::spec::{InstanceId, LinkId};

/// An address and the interface that it belongs on.
pub type Placed = (LinkId, Arc<VirtualAddress>);

/// What each instance puts where, after a configuration.
#[derive(Debug, Default)]
pub struct Addresses {
    /// As they are written, each announced as often as it is.
    written: BTreeMap<InstanceId, Vec<Placed>>,
    /// Each once, of those instances that have some twice.
    unique: BTreeMap<InstanceId, Vec<Placed>>,
}

impl Addresses {
    /// Those of this configuration.
    pub fn new(config: &Config) -> Self {
        let names = &config.spec.links;
        let link = |name: &str| LinkId(names.iter().position(|n| n == name).unwrap_or(usize::MAX));
        let of = |addresses: &Vec<Arc<VirtualAddress>>| -> Vec<Placed> {
            addresses.iter().map(|a| (link(&a.interface), Arc::clone(a))).collect()
        };
        let written: BTreeMap<_, _> =
            config.instances.entries().map(|(id, conf)| (id, of(&conf.addresses))).collect();
        let mut unique = written.clone();
        for addresses in unique.values_mut() {
            // Of an address that is written twice the first counts, as with keepalived.
            let mut seen = BTreeSet::new();
            addresses.retain(|(link, a)| seen.insert((*link, a.ip, a.prefix_len)));
            addresses.shrink_to_fit();
        }
        unique.retain(|id, addresses| written.get(id).is_some_and(|w| w.len() != addresses.len()));
        Self { written, unique }
    }

    /// Those of an instance, each once.
    pub fn of(&self, instance: InstanceId) -> &[Placed] {
        self.unique.get(&instance).map_or_else(|| self.written(instance), Vec::as_slice)
    }

    /// Those of an instance, as often as they are written.
    pub fn written(&self, instance: InstanceId) -> &[Placed] {
        self.written.get(&instance).map_or(&[], Vec::as_slice)
    }
}
