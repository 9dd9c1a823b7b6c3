//! What shall be on the host, held beside what the kernel says of it, and one way to make the one the
//! other (design 11, "wanted and there").
//!
//! Addresses, routes and rules have an owner, an instance or the configuration as a whole, who wants
//! all of them there or none. What the kernel refuses is tried again, ever more seldom, until it is as
//! wanted; what it says is gone is put again; a reload is the difference of two lists. Pure but for the
//! queue of requests in [`Links`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::conf::{Config, Entry, InstanceConf, Route, Rule, VirtualAddress};
use crate::core::Time;
use crate::core::spec::{InstanceId, InstanceSpec, LinkId};
use crate::shell::kernel::address::{Key, Outcome, Thing, Ticket};
use crate::shell::kernel::link::{Links, Read};
use crate::shell::kernel::rtnl::Wish;

/// The first pause before another try; each is twice as long as the one before.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Who wants something on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The configuration itself (`static_ipaddress`, `static_routes`, `static_rules`), for as long as
    /// the daemon runs.
    Statics,
    /// An instance, while it is master.
    Instance(InstanceId),
}

/// Everything that anybody wants on the host.
#[derive(Debug, Default)]
pub struct Desired {
    holdings: BTreeMap<Owner, Holding>,
    /// What is not as wanted although the kernel was asked.
    unmet: HashMap<Key, Unmet>,
    /// Whose requests are under way, and when they are through.
    moving: BTreeMap<Owner, Ticket>,
    /// Those of them whose addresses may have been taken away meanwhile.
    disturbed: BTreeSet<Owner>,
}

/// How much of its objects an owner wants on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Want {
    #[default]
    Nothing,
    /// What is there, and no more: whether it may serve is being asked.
    WhatIsThere,
    All,
}

/// What one owner wants.
#[derive(Clone, Debug, Default)]
struct Holding {
    want: Want,
    /// In the order in which they are put, each once.
    objects: Vec<Wanted>,
}

#[derive(Clone, Debug)]
struct Wanted {
    thing: Thing,
    /// It is put back when somebody takes it away (no `no_track`).
    is_tracked: bool,
}

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Unmet {
    /// What.
    pub thing: Thing,
    /// What shall become of it.
    pub wish: Wish,
    /// Who wants it.
    pub owner: Owner,
    /// Why it is not so.
    pub why: String,
    retry_at: Time,
    pause: Duration,
}

/// News of something that is worth a line in the log.
#[derive(Debug)]
pub struct Settled {
    /// Who wants it.
    pub owner: Owner,
    /// What it is about.
    pub thing: Thing,
    /// What is so now.
    pub what: What,
}

/// What has become of something.
#[derive(Debug)]
pub enum What {
    /// It had gone without our doing, and is there again.
    Restored,
    /// The kernel refused; it is tried again. Told once, until it is met.
    Refused(Wish, String),
    /// What had been refused is met now.
    Met(Wish),
}

impl Desired {
    /// Goes over to what a configuration wants. Of owners who have theirs on the host, what is new is
    /// put, and what is wanted by nobody any more is taken away. An owner that the configuration does
    /// not have keeps what it has until it lets go.
    pub fn configure(&mut self, config: &Config, links: &mut Links) {
        let places: HashMap<&str, usize> = config
            .spec
            .links
            .iter()
            .enumerate()
            .map(|(place, name)| (name.as_str(), place))
            .collect();
        let link = |a: &VirtualAddress| {
            LinkId(places.get(a.interface.as_str()).copied().unwrap_or(usize::MAX))
        };
        let mut new = BTreeMap::from([(Owner::Statics, statics(config, &link))]);
        for (id, conf) in config.instances.entries() {
            new.insert(
                Owner::Instance(id),
                objects(conf, config.spec.instances.get(id).map(|spec| &**spec), &link),
            );
        }
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        let mut added = Vec::new();
        for (owner, objects) in new {
            let holding = self.holdings.entry(owner).or_default();
            let old = std::mem::replace(&mut holding.objects, objects);
            if holding.want != Want::Nothing {
                let difference = Difference::between(&old, &holding.objects);
                gone.extend(difference.gone);
                changed.extend(difference.changed);
                if holding.want == Want::All {
                    added.push((owner, difference.added));
                }
            }
        }
        let is_known = |owner: &Owner| match owner {
            Owner::Statics => true,
            Owner::Instance(id) => config.instances.contains(*id),
        };
        self.holdings.retain(|owner, holding| holding.want != Want::Nothing || is_known(owner));
        let wanted = self.wanted_keys();
        gone.retain(|thing| !wanted.contains(&thing.key()));
        self.unmet.retain(|key, unmet| wanted.contains(key) == (unmet.wish == Wish::Put));
        // One that is otherwise now (another label, say) is put again when the kernel tells that it is gone.
        gone.extend(changed);
        links.take_things(in_order_of_removal(gone));
        for (owner, things) in added.into_iter().filter(|(_, things)| !things.is_empty()) {
            let ticket = links.put_things(things);
            self.moving.insert(owner, ticket);
        }
    }

    fn wanted_keys(&self) -> HashSet<Key> {
        let on = self.holdings.values().filter(|holding| holding.want != Want::Nothing);
        on.flat_map(|holding| &holding.objects).map(|wanted| wanted.thing.key()).collect()
    }

    /// From now on the owner wants all of its objects on the host, or none. Of those that it wanted
    /// already only what is missing is asked for, and of those that it never wanted only what is there
    /// all the same, from a former run.
    pub fn hold(&mut self, owner: Owner, is_on: bool, links: &mut Links) {
        let Some(holding) = self.holdings.get_mut(&owner) else { return };
        let want = if is_on { Want::All } else { Want::Nothing };
        let before = std::mem::replace(&mut holding.want, want);
        let things = holding.objects.iter().map(|wanted| &wanted.thing);
        let ticket = if is_on && before != Want::Nothing {
            let there = There::of(&holding.objects, links);
            // Of routes and rules nobody knows which were not put any more.
            let may_lack = |thing: &&Thing| match thing {
                Thing::Address(..) => there.lacks(thing),
                Thing::Route(_) | Thing::Rule(_) => before == Want::WhatIsThere,
            };
            let things: Vec<Thing> = things.filter(may_lack).cloned().collect();
            links.put_things(things)
        } else if is_on {
            links.put_things(things.cloned().collect::<Vec<_>>())
        } else {
            let there = There::of(&holding.objects, links);
            let is_known = before == Want::Nothing && !links.is_stale();
            let things = things.filter(|thing| !(is_known && there.lacks(thing))).cloned();
            links.take_things(in_order_of_removal(things.collect()))
        };
        let wish = if is_on { Wish::Put } else { Wish::Take };
        self.unmet.retain(|_, unmet| unmet.owner != owner || unmet.wish == wish);
        self.moving.insert(owner, ticket);
    }

    /// From now on nothing more of an owner's is put that it wanted; what is there stays.
    pub fn keep(&mut self, owner: Owner, links: &mut Links) {
        let Some(holding) = self.holdings.get_mut(&owner).filter(|h| h.want == Want::All) else {
            return;
        };
        holding.want = Want::WhatIsThere;
        let keys: Vec<Key> = holding.objects.iter().map(|wanted| wanted.thing.key()).collect();
        let others = self.holdings.values().filter(|holding| holding.want == Want::All);
        let others: HashSet<Key> =
            others.flat_map(|holding| &holding.objects).map(|wanted| wanted.thing.key()).collect();
        let own: Vec<&Key> = keys.iter().filter(|key| !others.contains(key)).collect();
        let ticket = links.forgo(&own);
        self.unmet.retain(|_, unmet| unmet.owner != owner || unmet.wish == Wish::Take);
        self.moving.insert(owner, ticket);
    }

    /// Whose objects have arrived, one way or the other, since this was last asked. What the kernel
    /// refused is tried again, and does not hold up what waits.
    pub fn arrived(&mut self, links: &mut Links) -> Vec<Owner> {
        let all = std::mem::take(&mut self.moving);
        let (done, moving): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, ticket)| links.is_done(*ticket));
        self.moving = moving.into_iter().collect();
        let done: Vec<Owner> = done.into_iter().map(|(owner, _)| owner).collect();
        for owner in &done {
            if self.disturbed.remove(owner) {
                // Somebody may have taken away what had just been put.
                let again = self.lost(*owner, links);
                links.restore(again);
            }
        }
        done
    }

    /// The tracked addresses that the owner wants and that are not on their interfaces.
    fn lost(&self, owner: Owner, links: &Links) -> Vec<Thing> {
        let Some(holding) = self.holdings.get(&owner).filter(|h| h.want == Want::All) else {
            return Vec::new();
        };
        let there = There::of(&holding.objects, links);
        let tracked = holding.objects.iter().filter(|wanted| wanted.is_tracked);
        let lost = tracked.map(|wanted| &wanted.thing).filter(|thing| there.lacks(thing));
        lost.filter(|thing| !self.unmet.contains_key(&thing.key())).cloned().collect()
    }

    /// Does the owner have its objects on the host, or are they on their way there?
    pub fn is_on(&self, owner: Owner) -> bool {
        self.holdings.get(&owner).is_some_and(|holding| holding.want != Want::Nothing)
    }

    /// Takes in what came of requests.
    pub fn settle(&mut self, outcomes: Vec<Outcome>, now: Time) -> Vec<Settled> {
        let mut settled = Vec::new();
        let is_news = |outcome: &Outcome| {
            let was_gone = outcome.restores && outcome.has_changed;
            outcome.error.is_some() || was_gone || self.unmet.contains_key(&outcome.what.key())
        };
        let outcomes: Vec<Outcome> = outcomes.into_iter().filter(is_news).collect();
        if outcomes.is_empty() {
            return settled;
        }
        let owners = self.owners();
        for Outcome { what: thing, wish, restores, has_changed, error } in outcomes {
            let key = thing.key();
            let owner = match (wish, owners.get(&key)) {
                (Wish::Put, Some((owner, Want::All)))
                | (Wish::Take, Some((owner, Want::Nothing))) => *owner,
                // What a reload has taken out belongs to nobody, and is to go all the same.
                (Wish::Take, None) => Owner::Statics,
                // Overtaken by another wish.
                (Wish::Put, _) | (Wish::Take, Some(_)) => {
                    self.unmet.remove(&key);
                    continue;
                }
            };
            let what = match (error, self.unmet.remove(&key)) {
                (Some(error), known) => {
                    let pause =
                        known.as_ref().map_or(RETRY_MIN, |known| (known.pause * 2).min(RETRY_MAX));
                    let is_news = known.is_none_or(|known| known.wish != wish);
                    let why = error.to_string();
                    let retry_at = now + pause;
                    let unmet = Unmet { thing: thing.clone(), wish, owner, why, retry_at, pause };
                    self.unmet.insert(key, unmet);
                    is_news.then(|| What::Refused(wish, error.to_string()))
                }
                (None, Some(known)) if known.wish == wish => Some(What::Met(wish)),
                (None, _) => (restores && has_changed).then_some(What::Restored),
            };
            settled.extend(what.map(|what| Settled { owner, thing, what }));
        }
        settled
    }

    /// Whose what is, and how much of theirs they want; who wants more goes first.
    fn owners(&self) -> HashMap<Key, (Owner, Want)> {
        let mut owners = HashMap::new();
        for want in [Want::Nothing, Want::WhatIsThere, Want::All] {
            for (owner, holding) in self.holdings.iter().filter(|(_, h)| h.want == want) {
                let keys = holding.objects.iter().map(|wanted| wanted.thing.key());
                owners.extend(keys.map(|key| (key, (*owner, want))));
            }
        }
        owners
    }

    /// Asks again for what this news may be about: what was taken away by somebody, what the kernel
    /// drops without a word, and what it had refused.
    pub fn hear(&mut self, news: &Read, links: &mut Links) {
        let has_changed = !news.changed.is_empty();
        if !has_changed && news.gone.is_empty() && !news.disturbed {
            return;
        }
        let mut again = Vec::new();
        for (owner, holding) in self.holdings.iter().filter(|(_, h)| h.want == Want::All) {
            if self.moving.contains_key(owner) {
                self.disturbed.insert(*owner);
            } else {
                again.extend(self.lost(*owner, links));
            }
            let tracked = holding.objects.iter().filter(|wanted| wanted.is_tracked);
            let may_be_gone = |thing: &&Thing| match thing {
                Thing::Address(..) => false,
                Thing::Route(route) => {
                    news.disturbed || news.gone.iter().any(|gone| gone.may_be_route(route))
                }
                // The kernel always tells of a rule, but what it told may be among what was lost.
                Thing::Rule(rule) => {
                    news.disturbed || news.gone.iter().any(|gone| gone.may_be_rule(rule))
                }
            };
            again.extend(tracked.map(|wanted| &wanted.thing).filter(may_be_gone).cloned());
        }
        links.restore(again);
        if has_changed {
            self.ask_again(links, |_| true);
        }
    }

    /// Tries again what is due.
    pub fn retry(&mut self, now: Time, links: &mut Links) {
        self.ask_again(links, |unmet| unmet.retry_at <= now);
    }

    fn ask_again(&mut self, links: &mut Links, is_meant: impl Fn(&Unmet) -> bool) {
        for unmet in self.unmet.values_mut().filter(|unmet| is_meant(unmet)) {
            // Its outcome says when the next try is due.
            unmet.retry_at = Time::MAX;
            match unmet.wish {
                Wish::Put => drop(links.put_things([unmet.thing.clone()])),
                Wish::Take => drop(links.take_things([unmet.thing.clone()])),
            }
        }
    }

    /// When something wants to be tried again.
    pub fn deadline(&self) -> Option<Time> {
        self.unmet.values().map(|unmet| unmet.retry_at).filter(|at| *at < Time::MAX).min()
    }

    /// What an owner wants on the host and has not got, in its order.
    pub fn unset(&self, owner: Owner) -> Vec<&Unmet> {
        if self.unmet.is_empty() {
            return Vec::new();
        }
        let objects = self.holdings.get(&owner).map_or(&[][..], |holding| &holding.objects);
        let unmet = objects.iter().filter_map(|wanted| self.unmet.get(&wanted.thing.key()));
        unmet.filter(|unmet| unmet.wish == Wish::Put && unmet.owner == owner).collect()
    }

    /// Could this not be put?
    pub fn is_missing(&self, thing: &Thing) -> bool {
        self.unmet.get(&thing.key()).is_some_and(|unmet| unmet.wish == Wish::Put)
    }
}

/// Which addresses are on the interfaces that some objects are about.
struct There(HashSet<(LinkId, IpAddr, u8)>);

impl There {
    fn of(objects: &[Wanted], links: &Links) -> Self {
        let link = |wanted: &Wanted| match &wanted.thing {
            Thing::Address(link, _) => Some(*link),
            Thing::Route(_) | Thing::Rule(_) => None,
        };
        let of: BTreeSet<LinkId> = objects.iter().filter_map(link).collect();
        let on = |link: LinkId| {
            let addresses = links.state(link).addresses.iter();
            addresses.map(move |&(ip, prefix_len)| (link, ip, prefix_len))
        };
        Self(of.into_iter().flat_map(on).collect())
    }

    /// It is an address that is not there. Of routes and rules nobody knows without asking.
    fn lacks(&self, thing: &Thing) -> bool {
        match thing {
            Thing::Address(link, a) => !self.0.contains(&(*link, a.ip, a.prefix_len)),
            Thing::Route(_) | Thing::Rule(_) => false,
        }
    }
}

/// Does anything in the configuration need to hear of routes and rules that are removed?
pub fn needs_routes(config: &Config) -> bool {
    let statics = &config.statics;
    let of_instance = |conf: &InstanceConf| !conf.routes.is_empty() || !conf.rules.is_empty();
    !statics.routes.is_empty()
        || !statics.rules.is_empty()
        || config.instances.iter().any(of_instance)
}

/// All that an instance puts, in order. Of an address that is written twice the first counts, as with
/// keepalived.
fn objects(
    conf: &InstanceConf,
    spec: Option<&InstanceSpec>,
    link: &impl Fn(&VirtualAddress) -> LinkId,
) -> Vec<Wanted> {
    let all = spec.iter().flat_map(|spec| spec.addresses.iter().chain(&spec.excluded));
    let untracked = all.filter(|address| address.no_track);
    let untracked: HashSet<_> = untracked.map(|a| (a.link, a.ip, a.prefix_len)).collect();
    let address = |a: &Arc<VirtualAddress>| {
        let link = link(a);
        let is_tracked = !untracked.contains(&(link, a.ip, a.prefix_len));
        Wanted { thing: Thing::Address(link, Arc::clone(a)), is_tracked }
    };
    let route = |entry: &Entry<Route>| of_entry(entry, Thing::Route(entry.what.clone()));
    let rule = |entry: &Entry<Rule>| of_entry(entry, Thing::Rule(entry.what.clone()));
    let addresses = conf.addresses.iter().map(address);
    let all = addresses.chain(conf.routes.iter().map(route)).chain(conf.rules.iter().map(rule));
    let mut seen = HashSet::new();
    let mut all: Vec<Wanted> = all.filter(|wanted| seen.insert(wanted.thing.key())).collect();
    all.shrink_to_fit();
    all
}

/// Everything static, in the order it is put.
fn statics(config: &Config, link: &impl Fn(&VirtualAddress) -> LinkId) -> Vec<Wanted> {
    let statics = &config.statics;
    let address = |entry: &Entry<VirtualAddress>| {
        of_entry(entry, Thing::Address(link(&entry.what), Arc::clone(&entry.what)))
    };
    let route = |entry: &Entry<Route>| of_entry(entry, Thing::Route(entry.what.clone()));
    let rule = |entry: &Entry<Rule>| of_entry(entry, Thing::Rule(entry.what.clone()));
    let addresses = statics.addresses.iter().map(address);
    addresses
        .chain(statics.routes.iter().map(route))
        .chain(statics.rules.iter().map(rule))
        .collect()
}

const fn of_entry<T>(entry: &Entry<T>, thing: Thing) -> Wanted {
    Wanted { thing, is_tracked: !entry.no_track }
}

/// Everything that a configuration may have put on the host, in the order in which it is removed: for
/// `glha release`, which does so without a daemon.
pub fn everything(config: &Config) -> Vec<Thing> {
    let link = |a: &VirtualAddress| {
        LinkId(config.spec.links.iter().position(|n| *n == a.interface).unwrap_or(usize::MAX))
    };
    let of_instances = config.instances.iter().flat_map(|conf| objects(conf, None, &link));
    let all = of_instances.chain(statics(config, &link));
    in_order_of_removal(all.map(|wanted| wanted.thing).collect())
}

/// Rules go before the routes of their tables, and these before the addresses they are about.
fn in_order_of_removal(mut things: Vec<Thing>) -> Vec<Thing> {
    things.sort_by_key(|thing| match thing {
        Thing::Rule(_) => 0,
        Thing::Route(_) => 1,
        Thing::Address(..) => 2,
    });
    things
}

/// What is otherwise in a new list of objects than in the old one.
struct Difference {
    gone: Vec<Thing>,
    added: Vec<Thing>,
    changed: Vec<Thing>,
}

impl Difference {
    fn between(old: &[Wanted], new: &[Wanted]) -> Self {
        let by_key = |all: &[Wanted]| -> HashMap<Key, Thing> {
            all.iter().map(|wanted| (wanted.thing.key(), wanted.thing.clone())).collect()
        };
        let (before, after) = (by_key(old), by_key(new));
        let is_other = |(key, thing): &(&Key, &Thing)| match (thing, after.get(key)) {
            (Thing::Address(_, old), Some(Thing::Address(_, new))) => !new.is_as(old),
            _ => false,
        };
        let missing = |all: &[Wanted], from: &HashMap<Key, Thing>| -> Vec<Thing> {
            let things = all.iter().map(|wanted| &wanted.thing);
            things.filter(|thing| !from.contains_key(&thing.key())).cloned().collect()
        };
        let changed = before.iter().filter(is_other).map(|(_, thing)| thing.clone()).collect();
        Self { gone: missing(old, &after), added: missing(new, &before), changed }
    }
}
