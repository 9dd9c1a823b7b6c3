//! A new configuration under a running core: what is unchanged goes on without a transition.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Memory, Reason};
use super::group::{Group, Role, leader};
use super::instance::Instance;
use super::link::Link;
use super::phase::{Goal, Phase};
use super::roster::Roster;
use super::spec::{CheckId, FileId, InstanceId, InstanceSpec, LinkId, ProcessId, Spec};
use super::track::Check;
use super::{Core, Time, find_unused, index};

/// Where everything has gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The new place of each old instance; none if it is gone for good. Instances that the new
    /// configuration does not have, and that have to let go first, come after all others.
    pub instances: Vec<Option<InstanceId>>,
    /// The new place of each old check.
    pub checks: Vec<Option<CheckId>>,
    /// The names of the interfaces, those of leaving instances included.
    pub links: Vec<String>,
}

impl Core {
    /// Takes over a new configuration.
    ///
    /// An instance goes on as it is if the new configuration has one of its name, or of its
    /// interface and VRID, on the same interface with the same VRID and with storage if it had
    /// storage. Every other one lets go of what it holds, and stays until it has.
    ///
    /// Who is told to stop stops (design 11): then nothing changes any more.
    pub fn reload(&mut self, spec: Spec, now: Time) -> Moved {
        if self.is_stopping {
            return Moved::default();
        }
        let old_links: Vec<String> = self.links.iter().map(|link| link.name.clone()).collect();
        let old_links = old_links.as_slice();
        let mut links = spec.links.clone();
        let mut known: BTreeMap<String, Link> =
            self.links.drain(..).map(|link| (link.name.clone(), link)).collect();
        let checks = self.reload_checks(spec.checks.clone(), now);
        let (processes, files) = self.senses.reload(spec.processes.clone(), spec.files.clone());
        let old = self.instances.take();
        let led: Vec<Option<String>> = old.iter().map(|i| self.leader_name(i, &old)).collect();
        let mut new: Vec<Option<Instance>> = spec.instances.iter().map(|_| None).collect();
        let mut leaving = Vec::new();
        let mut moved = Vec::new();
        for (mut instance, led) in old.into_iter().zip(led) {
            // Who followed goes on only behind the same leader.
            let place = successor(&instance, &spec.instances, &links, old_links)
                .filter(|&place| new[place].is_none() && leader(&spec, place) == led.as_deref());
            moved.push(match place {
                Some(place) => {
                    instance.id = InstanceId(place);
                    instance.adopt(spec.instances[place].clone());
                    new[place] = Some(instance);
                    Some(InstanceId(place))
                }
                None if matches!(instance.phase, Phase::Stopped) => None,
                None => {
                    let place = spec.instances.len() + leaving.len();
                    instance.id = InstanceId(place);
                    instance.relink(old_links, &mut links, &checks);
                    instance.resense(&processes, &files);
                    leaving.push(instance);
                    Some(InstanceId(place))
                }
            });
        }
        let fresh = |(place, slot): (usize, Option<Instance>)| {
            let spec = &spec.instances[place];
            slot.unwrap_or_else(|| {
                Instance::new(InstanceId(place), spec.clone(), Duration::ZERO, Memory::default())
            })
        };
        let all = new.into_iter().enumerate().map(fresh).chain(leaving).collect();
        self.instances = Roster::new(all);
        self.links = links
            .iter()
            .map(|name| known.remove(name).unwrap_or_else(|| Link::new(name.clone())))
            .collect();
        self.link_delays = spec.link_delays;
        let told = std::mem::take(&mut self.groups);
        let told = |name: &str| told.iter().find(|group| group.spec.name == name)?.told;
        let renew = |spec: &super::spec::GroupSpec| Group {
            told: told(&spec.name),
            ..Group::new(spec.clone())
        };
        self.groups = spec.groups.iter().map(renew).collect();
        self.bind();
        self.by_vrid = index(self.instances.as_slice());
        find_unused(&mut self.checks, self.instances.as_slice());
        let count = spec.instances.len();
        let leaves_storage = |i: &Instance| i.spec.gate.is_some() && i.id.0 >= count;
        let is_storage_left = self.instances().iter().any(leaves_storage);
        self.instances.change_each(|instance| {
            let is_fresh = instance.id.0 < count && matches!(instance.phase, Phase::Init);
            instance.is_held_back = is_fresh && is_storage_left && instance.spec.gate.is_some();
        });
        self.each(now, |instance, ctx| {
            if instance.id.0 >= count && !instance.is_leaving() {
                let detail = "no longer in the configuration".to_owned();
                instance.let_go(Goal::Stop, Reason::Removed, detail, ctx);
            } else {
                instance.review(ctx);
            }
        });
        self.let_the_new_begin(now);
        Moved { instances: moved, checks, links }
    }

    /// Two mount hooks of one storage must not run at once: those that a reload has made begin when
    /// those that it has removed have let go.
    pub(super) fn let_the_new_begin(&mut self, now: Time) {
        let is_busy = |i: &Instance| {
            i.spec.gate.is_some() && i.is_leaving() && !matches!(i.phase, Phase::Stopped)
        };
        let is_anybody_held_back = self.instances().iter().any(|i| i.is_held_back);
        if !is_anybody_held_back || self.instances().iter().any(is_busy) {
            return;
        }
        self.instances.change_each(|instance| instance.is_held_back = false);
        self.each(now, Instance::review);
    }

    /// The name of the instance that this one follows.
    fn leader_name(&self, instance: &Instance, all: &[Instance]) -> Option<String> {
        let Role::Follower(group) = instance.role() else { return None };
        let first = self.groups.get(group.0)?.spec.members.first()?;
        all.get(first.0).map(|leader| leader.spec.name.clone())
    }

    /// Checks of the same name keep their result and run again at once.
    fn reload_checks(
        &mut self,
        specs: Vec<super::spec::CheckSpec>,
        now: Time,
    ) -> Vec<Option<CheckId>> {
        let old = std::mem::take(&mut self.checks);
        let place = |check: &Check| specs.iter().position(|spec| spec.name == check.spec.name);
        let moved = old.iter().map(|check| place(check).map(CheckId)).collect();
        let renew = |spec: super::spec::CheckSpec| {
            let before = old.iter().find(|check| check.spec.name == spec.name);
            Check::renewed(spec, before, now)
        };
        self.checks = specs.iter().cloned().map(renew).collect();
        moved
    }
}

/// The place in the new configuration that continues this instance.
fn successor(
    instance: &Instance,
    specs: &[InstanceSpec],
    links: &[String],
    old_links: &[String],
) -> Option<usize> {
    let old = &instance.spec;
    let is_same_router = |spec: &InstanceSpec| {
        spec.vrid == old.vrid
            && spec.family == old.family
            && links.get(spec.link.0) == old_links.get(old.link.0)
            && spec.gate.is_some() == old.gate.is_some()
    };
    let by_name = specs.iter().position(|spec| spec.name == old.name && is_same_router(spec));
    let place = by_name.or_else(|| specs.iter().position(is_same_router));
    place.filter(|_| !instance.is_leaving())
}

impl Instance {
    /// Goes on under a changed configuration. What changed in its addresses the shell puts and
    /// takes.
    fn adopt(&mut self, spec: InstanceSpec) {
        let had = (&self.spec.addresses, &self.spec.excluded);
        if had != (&spec.addresses, &spec.excluded) {
            self.forget_seen(spec.addresses.len() + spec.excluded.len());
        }
        if self.spec.track_checks.len() != spec.track_checks.len() {
            self.forget_grace();
        }
        if self.spec.source != spec.source {
            self.source = spec.source;
        }
        self.spec = spec;
    }

    /// Points its interfaces to their places in the new list, and forgets checks that are gone.
    fn relink(&mut self, old: &[String], new: &mut Vec<String>, checks: &[Option<CheckId>]) {
        let mut place = |link: &mut LinkId| {
            let name = old.get(link.0).cloned().unwrap_or_default();
            let found = new.iter().position(|known| *known == name);
            *link = LinkId(found.unwrap_or_else(|| {
                new.push(name);
                new.len() - 1
            }));
        };
        place(&mut self.spec.link);
        // The new configuration may give these names to others: what is left to say goes out of
        // the interface itself.
        self.spec.xmit = None;
        self.spec.vmacs.clear();
        self.spec.track_links.iter_mut().for_each(|(link, _)| place(link));
        self.spec.needs_links.iter_mut().for_each(&mut place);
        let addresses = self.spec.addresses.iter_mut().chain(&mut self.spec.excluded);
        addresses.for_each(|address| place(&mut address.link));
        self.forget_grace();
        self.spec.track_checks.retain_mut(|track| {
            let new = checks.get(track.check.0).copied().flatten();
            new.is_some_and(|new| {
                track.check = new;
                true
            })
        });
    }

    /// Points its tracked processes and files to their new places, and forgets those that are gone.
    fn resense(&mut self, processes: &[Option<ProcessId>], files: &[Option<FileId>]) {
        let process = |id: &mut ProcessId| {
            let new = processes.get(id.0).copied().flatten();
            *id = new.unwrap_or(*id);
            new.is_some()
        };
        let file = |id: &mut FileId| {
            let new = files.get(id.0).copied().flatten();
            *id = new.unwrap_or(*id);
            new.is_some()
        };
        self.spec.track_processes.retain_mut(|(id, _)| process(id));
        self.spec.track_files.retain_mut(|(id, _)| file(id));
    }

    /// It is letting go for good already.
    fn is_leaving(&self) -> bool {
        match &self.phase {
            Phase::Stopped => true,
            Phase::Releasing(releasing) => releasing.goal == Goal::Stop,
            Phase::Stuck(stuck) => stuck.goal == Goal::Stop,
            Phase::Init
            | Phase::Backup { .. }
            | Phase::Acquiring(_)
            | Phase::Probing(_)
            | Phase::Master { .. }
            | Phase::Fault => false,
        }
    }
}
