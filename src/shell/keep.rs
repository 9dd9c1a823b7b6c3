//! Routes, rules and static addresses that should be there come back when somebody removes them,
//! or when the kernel does, which drops the routes of an interface that goes down without a word.
//!
//! A put of what is there changes nothing, so what may be gone is simply put again; the kernel's
//! answer tells whether it was.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::address::{Failure, Key, Thing, Wish};
use super::daemon::Daemon;
use super::link::Read;
use crate::conf::{Config, Entry, InstanceConf, Statics, VirtualAddress};
use crate::core::event::Event;
use crate::core::spec::{InstanceId, LinkId};
use crate::core::{Instance, Phase, Probing, Time};

/// What the kernel does not take, and who was told of it.
#[derive(Debug, Default)]
pub struct Kept {
    missing: HashSet<Key>,
    told: BTreeMap<InstanceId, String>,
}

/// Does anything in the configuration need to hear of routes and rules that are removed?
pub(super) fn needs_routes(config: &Config) -> bool {
    let statics = &config.statics;
    let of_instance = |conf: &InstanceConf| !conf.routes.is_empty() || !conf.rules.is_empty();
    !statics.routes.is_empty()
        || !statics.rules.is_empty()
        || config.instances.iter().any(of_instance)
}

/// The routes and rules of an instance, in the order they are put.
pub(super) fn routes(conf: &InstanceConf) -> Vec<Thing> {
    let routes = conf.routes.iter().map(|entry| Thing::Route(entry.what.clone()));
    routes.chain(conf.rules.iter().map(|entry| Thing::Rule(entry.what.clone()))).collect()
}

/// Everything static, in the order it is put.
pub(super) fn statics(config: &Config) -> Vec<Thing> {
    entries(config).into_iter().map(|(thing, ..)| thing).collect()
}

/// Rules go before the routes of their tables, and these before the addresses they are about.
pub(super) fn in_order_of_removal(mut things: Vec<Thing>) -> Vec<Thing> {
    things.sort_by_key(|thing| match thing {
        Thing::Rule(_) => 0,
        Thing::Route(_) => 1,
        Thing::Address(..) => 2,
    });
    things
}

/// Everything static, whether somebody minds its absence, and which instances do.
fn entries(config: &Config) -> Vec<(Thing, bool, &[InstanceId])> {
    let Statics { addresses, routes, rules, .. } = &config.statics;
    let link = |name: &str| {
        LinkId(config.spec.links.iter().position(|known| known == name).unwrap_or(usize::MAX))
    };
    let address = |entry: &Entry<VirtualAddress>| {
        Thing::Address(link(&entry.what.interface), VirtualAddress::clone(&entry.what))
    };
    fn one<T>(entry: &Entry<T>, thing: Thing) -> (Thing, bool, &[InstanceId]) {
        (thing, !entry.no_track, &entry.tracked_by)
    }
    let addresses = addresses.iter().map(|entry| one(entry, address(entry)));
    let routes = routes.iter().map(|entry| one(entry, Thing::Route(entry.what.clone())));
    let rules = rules.iter().map(|entry| one(entry, Thing::Rule(entry.what.clone())));
    addresses.chain(routes).chain(rules).collect()
}

const fn holds(instance: &Instance) -> bool {
    matches!(
        instance.phase,
        Phase::Master { .. } | Phase::Probing(Probing { has_addresses: true, .. })
    )
}

impl Daemon {
    /// Everything that should be there now and is missed when it is not, without the addresses of
    /// instances, which the core looks after.
    fn wanted(&self) -> Vec<(Option<InstanceId>, Thing)> {
        let is_missed = |(thing, is_tracked, _): (Thing, bool, &[InstanceId])| {
            is_tracked.then_some((None, thing))
        };
        let mut all: Vec<_> = entries(&self.config).into_iter().filter_map(is_missed).collect();
        for instance in self.core.instances().iter().filter(|instance| holds(instance)) {
            let Some(conf) = self.config.instances.get(instance.id) else { continue };
            let routes = conf.routes.iter().filter(|entry| !entry.no_track);
            let rules = conf.rules.iter().filter(|entry| !entry.no_track);
            let id = Some(instance.id);
            all.extend(routes.map(|entry| (id, Thing::Route(entry.what.clone()))));
            all.extend(rules.map(|entry| (id, Thing::Rule(entry.what.clone()))));
        }
        all
    }

    /// Puts again what this news may be about.
    pub(super) fn keep(&mut self, news: &Read) {
        let statics = &self.config.statics;
        let may_miss = !self.work.kept.missing.is_empty() || !statics.addresses.is_empty();
        let is_news = !news.gone.is_empty() || news.disturbed;
        if !(is_news || may_miss && !news.changed.is_empty()) || self.core.is_stopping() {
            return;
        }
        let may_be_gone = |thing: &Thing| match thing {
            Thing::Address(link, address) => {
                let state = self.links.state(*link);
                state.present && !state.addresses.contains(&(address.ip, address.prefix_len))
            }
            Thing::Route(route) => {
                news.disturbed || news.gone.iter().any(|gone| gone.may_be_route(route))
            }
            Thing::Rule(rule) => news.gone.iter().any(|gone| gone.may_be_rule(rule)),
        };
        let again: Vec<Thing> = self
            .wanted()
            .into_iter()
            .map(|(_, thing)| thing)
            .filter(|thing| may_be_gone(thing) || self.work.kept.missing.contains(&thing.key()))
            .collect();
        self.links.restore(again);
    }

    /// Says what came of wishes: what was not there, and what the kernel did not take. True if the
    /// core was told something.
    pub(super) fn account(&mut self, now: Time) -> bool {
        let (settled, failures) = (self.links.settled(), self.links.failures());
        if settled.is_empty() && failures.is_empty() {
            return false;
        }
        let owners = || self.wanted().into_iter().map(|(owner, thing)| (thing.key(), owner));
        let is_news = settled.iter().any(|(_, was_gone)| *was_gone);
        let owners: HashMap<Key, _> = if is_news { owners().collect() } else { HashMap::new() };
        for (thing, was_gone) in settled {
            let key = thing.key();
            self.work.kept.missing.remove(&key);
            if was_gone {
                self.report_restored(&thing, owners.get(&key).copied().flatten());
            }
        }
        for failure in failures {
            self.report_failure(failure);
        }
        self.tell_missing(now)
    }

    fn report_restored(&self, thing: &Thing, owner: Option<InstanceId>) {
        match owner.and_then(|id| self.core.instances().get(id)) {
            Some(instance) => {
                let name = &instance.spec.name;
                log::warn!("({name}) virtual {thing} was gone; it is put back");
            }
            None => {
                let kind = if matches!(thing, Thing::Address(..)) { "address " } else { "" };
                log::warn!("Restoring deleted static {kind}{thing}");
            }
        }
    }

    /// What is tried again is said once.
    fn report_failure(&mut self, failure: Failure) {
        let key = failure.what.key();
        let is_new = failure.wish == Wish::Take || self.work.kept.missing.insert(key);
        match &failure.what {
            _ if !is_new => {}
            Thing::Address(link, _) => log::error!("{}: {failure}", self.links.name(*link)),
            Thing::Route(_) | Thing::Rule(_) => log::error!("{failure}"),
        }
    }

    /// What is put as for the first time is no longer known to be missing.
    pub(super) fn forget_missing(&mut self, things: &[Thing]) {
        for thing in things {
            self.work.kept.missing.remove(&thing.key());
        }
    }

    /// Tells the core which instances miss something static. True if there was news.
    fn tell_missing(&mut self, now: Time) -> bool {
        let mut missed = BTreeMap::new();
        for (thing, _, instances) in entries(&self.config) {
            if !instances.is_empty() && self.work.kept.missing.contains(&thing.key()) {
                for &instance in instances {
                    missed.entry(instance).or_insert_with(|| thing.to_string());
                }
            }
        }
        let told = std::mem::replace(&mut self.work.kept.told, missed.clone());
        if told == missed {
            return false;
        }
        let all = told.keys().chain(missed.keys()).copied();
        let all: std::collections::BTreeSet<InstanceId> = all.collect();
        for instance in all {
            let what = missed.get(&instance).cloned();
            self.core.handle(Event::StaticMissing { instance, what }, now);
        }
        true
    }

    /// After a reload: instances have moved, and what is missing is found out anew.
    pub(super) fn keep_anew(&mut self, now: Time) {
        self.work.kept = Kept::default();
        let all: Vec<InstanceId> = self.core.instances().ids().collect();
        for instance in all {
            self.core.handle(Event::StaticMissing { instance, what: None }, now);
        }
    }
}
