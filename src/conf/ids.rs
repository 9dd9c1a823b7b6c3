//! What everything in a configuration is called by the running daemon, from one reload to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Config;
use crate::core::spec::{
    BfdId, CheckId, Family, FileId, GroupId, InstanceId, InstanceSpec, LinkId, ProcessId,
};
use crate::core::{Shared, Table};

/// The ids that a configuration gave out. A later one is read with those of the running one: what
/// goes on keeps its id, what is new gets one that nothing had before.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Numbering {
    links: Vec<String>,
    checks: Names<CheckId>,
    processes: Names<ProcessId>,
    files: Names<FileId>,
    bfds: Names<BfdId>,
    groups: Names<GroupId>,
    routers: Vec<Router>,
    next_instance: usize,
}

/// It says nothing about a configuration.
impl fmt::Debug for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbering").finish_non_exhaustive()
    }
}

/// What goes by its name alone.
#[derive(Clone, PartialEq, Eq)]
struct Names<I> {
    known: BTreeMap<String, I>,
    next: usize,
}

impl<I> Default for Names<I> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), next: 0 }
    }
}

impl<I: Copy + Ord + From<usize>> Names<I> {
    fn id(&mut self, name: &str) -> I {
        let next = &mut self.next;
        *self.known.entry(name.to_owned()).or_insert_with(|| {
            *next += 1;
            I::from(*next - 1)
        })
    }

    fn forget_all_but<T>(&mut self, table: &Table<I, T>) {
        self.known.retain(|_, id| table.contains(*id));
    }
}

/// What makes an instance the same one under another configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Router {
    id: InstanceId,
    name: String,
    identity: Identity,
    /// Whom it follows, in a group with storage.
    leader: Option<InstanceId>,
}

/// What an instance may not change without becoming another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    link: LinkId,
    vrid: u8,
    family: Family,
    has_storage: bool,
}

impl Identity {
    const fn of(spec: &InstanceSpec) -> Self {
        let (link, vrid, family) = (spec.link, spec.vrid, spec.family);
        Self { link, vrid, family, has_storage: spec.gate.is_some() }
    }
}

impl Numbering {
    /// The names of all interfaces since the daemon began, by their [`LinkId`]s.
    pub(super) fn links(&self) -> Vec<String> {
        self.links.clone()
    }

    pub(super) fn check(&mut self, name: &str) -> CheckId {
        self.checks.id(name)
    }

    pub(super) fn process(&mut self, name: &str) -> ProcessId {
        self.processes.id(name)
    }

    pub(super) fn file(&mut self, name: &str) -> FileId {
        self.files.id(name)
    }

    pub(super) fn bfd(&mut self, name: &str) -> BfdId {
        self.bfds.id(name)
    }
}

impl Config {
    /// Gives instances and groups their ids, once all of them are known; so far they were numbered by
    /// their places. Forgets the names that this configuration does not have: should one come back
    /// later, it is somebody else.
    ///
    /// An instance goes on if the new configuration has one of its name, or else one at all, on the
    /// same interface with the same VRID and family, with storage if it had storage, and behind the
    /// same leader if it followed one.
    pub(super) fn number(&mut self) {
        let mut numbers = Numbers::new(self);
        for followers in [false, true] {
            numbers.continue_known(self, followers);
        }
        let all = numbers.give(self);
        let id = |place: InstanceId| all.get(&place).copied().unwrap_or(place);
        let ids = &mut self.ids;
        let names: Vec<GroupId> =
            self.spec.groups.iter().map(|group| ids.groups.id(&group.name)).collect();
        for group in &mut self.spec.groups {
            group.members.iter_mut().for_each(|member| *member = id(*member));
        }
        renumber(&mut self.spec.groups, |place| names[place.0]);
        renumber(&mut self.groups, |place| names[place.0]);
        renumber(&mut self.spec.instances, id);
        renumber(&mut self.instances, id);
        for check in &mut self.checks {
            check.hook_of = check.hook_of.map(id);
        }
        let statics = &mut self.statics;
        let tracked_by = (statics.addresses.iter_mut().map(|entry| &mut entry.tracked_by))
            .chain(statics.routes.iter_mut().map(|entry| &mut entry.tracked_by))
            .chain(statics.rules.iter_mut().map(|entry| &mut entry.tracked_by));
        tracked_by.flatten().for_each(|place| *place = id(*place));
        self.note_ids();
    }

    fn note_ids(&mut self) {
        let leaders = leaders(self);
        let router = |(id, spec): (InstanceId, &Shared<InstanceSpec>)| Router {
            id,
            name: spec.name.clone(),
            identity: Identity::of(spec),
            leader: leaders.get(&id).copied(),
        };
        self.ids.routers = self.spec.instances.entries().map(router).collect();
        self.ids.links.clone_from(&self.spec.links);
        self.ids.checks.forget_all_but(&self.spec.checks);
        self.ids.processes.forget_all_but(&self.spec.processes);
        self.ids.files.forget_all_but(&self.spec.files);
        self.ids.bfds.forget_all_but(&self.spec.bfds);
        self.ids.groups.forget_all_but(&self.spec.groups);
    }
}

/// The first members of groups with storage, by those who follow them.
fn leaders(config: &Config) -> BTreeMap<InstanceId, InstanceId> {
    let gated = config.spec.groups.iter().filter(|group| group.is_gated);
    let followers = gated.filter_map(|group| group.members.split_first());
    followers.flat_map(|(first, others)| others.iter().map(|other| (*other, *first))).collect()
}

fn renumber<I: Copy + Ord, T>(table: &mut Table<I, T>, id: impl Fn(I) -> I) {
    *table = std::mem::take(table).into_iter().map(|(place, row)| (id(place), row)).collect();
}

/// Who of a new configuration continues whom.
struct Numbers {
    by_name: BTreeMap<String, InstanceId>,
    by_identity: BTreeMap<Identity, Vec<InstanceId>>,
    leaders: BTreeMap<InstanceId, InstanceId>,
    given: BTreeMap<InstanceId, InstanceId>,
    taken: BTreeSet<InstanceId>,
}

impl Numbers {
    fn new(config: &Config) -> Self {
        let all = &config.spec.instances;
        let mut by_identity: BTreeMap<Identity, Vec<InstanceId>> = BTreeMap::new();
        for (place, spec) in all.entries() {
            by_identity.entry(Identity::of(spec)).or_default().push(place);
        }
        Self {
            by_name: all.entries().map(|(place, spec)| (spec.name.clone(), place)).collect(),
            by_identity,
            leaders: leaders(config),
            given: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    /// The ids of all places: those of the instances that go on, and fresh ones.
    fn give(mut self, config: &mut Config) -> BTreeMap<InstanceId, InstanceId> {
        for place in config.spec.instances.ids() {
            self.given.entry(place).or_insert_with(|| {
                config.ids.next_instance += 1;
                InstanceId(config.ids.next_instance - 1)
            });
        }
        self.given
    }

    /// Finds those that go on, first those who follow nobody.
    fn continue_known(&mut self, config: &Config, followers: bool) {
        for router in config.ids.routers.iter().filter(|r| r.leader.is_some() == followers) {
            let same = self.by_identity.get(&router.identity).map_or(&[][..], Vec::as_slice);
            let named = self.by_name.get(&router.name).copied();
            let is_free = |place: &&InstanceId| !self.taken.contains(*place);
            let named = named.filter(|place| same.contains(place) && is_free(&place));
            let place = named.or_else(|| same.iter().find(is_free).copied());
            let follows = |place: &InstanceId| {
                let leader = self.leaders.get(place);
                leader.and_then(|leader| self.given.get(leader)).copied() == router.leader
                    && leader.is_some() == followers
            };
            if let Some(place) = place.filter(follows) {
                self.taken.insert(place);
                self.given.insert(place, router.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::{Context, Files, load};

    /// A configuration with these instances (name, interface, VRID, anything else), and this text
    /// besides, read by a daemon that runs the one before.
    fn read(instances: &[(&str, &str, u8, &str)], first: &str, before: Option<&Config>) -> Config {
        let block = |(name, interface, vrid, more): &(&str, &str, u8, &str)| {
            format!(
                "vrrp_instance {name} {{\ninterface {interface}\nvirtual_router_id {vrid}\n{more}\n\
                 virtual_ipaddress {{\n10.0.0.{vrid}\n}}\n}}\n"
            )
        };
        let text = first.to_owned() + &instances.iter().map(block).collect::<String>();
        let ids = before.map(|config| config.ids.clone()).unwrap_or_default();
        let context = Context { ids, ..Context::default() };
        let mut read = |_: &Path| Ok(text.clone().into_bytes());
        let mut list = |_: &Path| Ok(Vec::new());
        let mut files = Files { read: &mut read, list: &mut list };
        load(Path::new("/a.conf"), &mut files, &context).config
    }

    fn id(config: &Config, name: &str) -> InstanceId {
        config.spec.instances.find(|spec| spec.name == name).expect(name)
    }

    const A: (&str, &str, u8, &str) = ("A", "e0", 1, "");
    const B: (&str, &str, u8, &str) = ("B", "e0", 2, "");

    #[test]
    fn what_stays_keeps_its_id_wherever_it_stands() {
        let old = read(&[A, B], "", None);
        let new = read(&[("C", "e1", 3, ""), B, A], "", Some(&old));
        assert_eq!((id(&new, "A"), id(&new, "B")), (id(&old, "A"), id(&old, "B")));
        assert!(!old.spec.instances.contains(id(&new, "C")));
        let names: Vec<_> = new.spec.instances.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["C", "B", "A"], "in the order of the file");
        assert!(new.instances.ids().eq(new.spec.instances.ids()));
    }

    #[test]
    fn a_name_is_not_what_makes_an_instance() {
        let old = read(&[A, B], "", None);
        let new = read(&[("new", "e0", 1, ""), B], "", Some(&old));
        assert_eq!(id(&new, "new"), id(&old, "A"));
        let swapped = read(&[("B", "e0", 1, ""), ("A", "e0", 2, "")], "", Some(&old));
        assert_eq!((id(&swapped, "B"), id(&swapped, "A")), (id(&old, "A"), id(&old, "B")));
    }

    #[test]
    fn another_router_and_one_that_comes_back_are_new() {
        let old = read(&[A, B], "", None);
        for other in [("A", "e1", 1, ""), ("A", "e0", 9, "")] {
            let new = read(&[other, B], "", Some(&old));
            assert!(!old.spec.instances.contains(id(&new, "A")), "{other:?}");
        }
        let without = read(&[B], "", Some(&old));
        let again = read(&[A, B], "", Some(&without));
        assert!(!old.spec.instances.contains(id(&again, "A")));
        assert_eq!(id(&again, "B"), id(&old, "B"));
    }

    #[test]
    fn storage_makes_another_instance_and_so_does_another_leader() {
        let old = read(&[A, B], "", None);
        let gated = read(&[A, B], "hooks A {\nmount timeout 9\n}\n", Some(&old));
        assert_ne!(id(&gated, "A"), id(&old, "A"));
        assert_eq!(id(&gated, "B"), id(&old, "B"));

        let group = |members: &str| {
            format!(
                "vrrp_sync_group G {{\ngroup {{\n{members}\n}}\n}}\nhooks G {{\nmount timeout 9\n}}\n"
            )
        };
        let led_by_a = read(&[A, B], &group("A\nB"), None);
        let same = read(&[("new", "e0", 1, ""), B], &group("new\nB"), Some(&led_by_a));
        assert_eq!((id(&same, "new"), id(&same, "B")), (id(&led_by_a, "A"), id(&led_by_a, "B")));
        let led_by_b = read(&[A, B], &group("B\nA"), Some(&led_by_a));
        assert_ne!(id(&led_by_b, "A"), id(&led_by_a, "A"), "it leads no more");
        assert_ne!(id(&led_by_b, "B"), id(&led_by_a, "B"), "it follows no more");
        let groups: Vec<_> = led_by_b.spec.groups.iter().map(|group| &group.members).collect();
        assert_eq!(groups, [&[id(&led_by_b, "B"), id(&led_by_b, "A")]]);
        assert!(led_by_b.groups.ids().eq(led_by_a.groups.ids()));
    }

    #[test]
    fn checks_and_interfaces_go_by_their_names() {
        let scripts = |names: &[&str]| -> String {
            let one = |name: &&str| format!("vrrp_script {name} {{\nscript /bin/true\n}}\n");
            names.iter().map(one).collect()
        };
        let tracks = ("A", "e0", 1, "track_script {\none\ntwo\n}");
        let old = read(&[tracks], &scripts(&["one", "two"]), None);
        let find = |config: &Config, name: &str| config.spec.checks.find(|spec| spec.name == name);
        let only = ("A", "e1", 1, "track_script {\ntwo\n}");
        let new = read(&[only], &scripts(&["one", "two"]), Some(&old));
        assert_eq!(find(&new, "two"), find(&old, "two"));
        assert_eq!(find(&new, "one"), None);
        assert_eq!(new.spec.links, ["e0", "e1"], "a name keeps its place for ever");
        let again = read(&[tracks], &scripts(&["one", "two"]), Some(&new));
        assert_ne!(find(&again, "one"), find(&old, "one"));
    }
}
