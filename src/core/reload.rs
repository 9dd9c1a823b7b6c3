//! A new configuration under a running core: what is unchanged goes on without a transition.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Memory, Reason};
use super::group::Group;
use super::instance::Instance;
use super::link::Link;
use super::phase::{Goal, Phase};
use super::roster::Roster;
use super::spec::{CheckId, CheckSpec, InstanceId, InstanceSpec, Spec};
use super::track::Check;
use super::{Core, Shared, Table, Time, find_unused, index};

impl Core {
    /// Takes over a new configuration.
    ///
    /// An instance goes on as it is if the new configuration has one with its id. Every other one lets
    /// go of what it holds, and stays until it has; then it is forgotten at the next reload.
    ///
    /// Who is told to stop stops (design 11): then nothing changes any more.
    pub fn reload(&mut self, spec: Spec, now: Time) {
        if self.is_stopping {
            return;
        }
        self.reload_links(&spec.links);
        self.link_delays = spec.link_delays;
        self.reload_checks(spec.checks, now);
        self.senses.reload(spec.processes, spec.files);
        self.senses.bfds.reload(spec.bfds, now, &mut self.actions);
        self.reload_instances(spec.instances);
        let mut told = std::mem::take(&mut self.groups);
        let renew = |(id, spec)| {
            let told = told.get_mut(id).and_then(|group: &mut Group| group.told.take());
            (id, Group { told, ..Group::new(spec) })
        };
        self.groups = spec.groups.into_iter().map(renew).collect();
        self.bind();
        self.tell_virtual_ones();
        self.by_vrid = index(self.instances());
        find_unused(&mut self.checks, self.instances.all());
        let leaves_storage = |i: &Instance| i.spec.gate.is_some() && i.is_removed;
        let is_storage_left = self.instances().iter().any(leaves_storage);
        self.instances.change_each(|instance| {
            let is_fresh = !instance.is_removed && matches!(instance.phase, Phase::Init);
            instance.is_held_back = is_fresh && is_storage_left && instance.spec.gate.is_some();
        });
        self.each(now, |instance, ctx| {
            if instance.is_removed && !instance.phase.is_leaving() {
                let detail = "no longer in the configuration".to_owned();
                instance.let_go(Goal::Stop, Reason::Removed, detail, ctx);
            } else {
                instance.review(ctx);
            }
        });
        self.let_the_new_begin(now);
    }

    /// Names are only ever added.
    fn reload_links(&mut self, names: &[String]) {
        let new = names.iter().skip(self.links.len()).cloned().map(Link::new);
        self.links.extend(new);
    }

    /// Goes over to the new instances. Those that go on do so without a transition; those that are not
    /// configured any more stay until they have let go.
    fn reload_instances(&mut self, specs: Table<InstanceId, Shared<InstanceSpec>>) {
        let mut old: BTreeMap<InstanceId, Instance> = self.instances.take().into_iter().collect();
        let mut all: Vec<Instance> = Vec::new();
        for (id, spec) in specs {
            all.push(match old.remove(&id) {
                Some(mut instance) => {
                    instance.adopt(spec);
                    instance
                }
                None => Instance::new(id, spec, Duration::ZERO, Memory::default()),
            });
        }
        for mut instance in old.into_values() {
            if !matches!(instance.phase, Phase::Stopped) {
                instance.is_removed = true;
                instance.forget_what_is_gone(&self.checks, &self.senses);
                all.push(instance);
            }
        }
        self.instances = Roster::new(all);
    }

    /// Two mount hooks of one storage must not run at once: those that a reload has made begin when
    /// those that it has removed have let go.
    pub(super) fn let_the_new_begin(&mut self, now: Time) {
        let is_busy = |i: &Instance| {
            i.spec.gate.is_some() && i.phase.is_leaving() && !matches!(i.phase, Phase::Stopped)
        };
        let is_anybody_held_back = self.instances().iter().any(|i| i.is_held_back);
        if !is_anybody_held_back || self.instances().iter().any(is_busy) {
            return;
        }
        self.instances.change_each(|instance| instance.is_held_back = false);
        self.each(now, Instance::review);
    }

    /// Checks that are there again keep their result and run again at once.
    fn reload_checks(&mut self, specs: Table<CheckId, CheckSpec>, now: Time) {
        let old = std::mem::take(&mut self.checks);
        let renew = |(id, spec)| (id, Check::renewed(spec, old.get(id), now));
        self.checks = specs.into_iter().map(renew).collect();
    }
}
