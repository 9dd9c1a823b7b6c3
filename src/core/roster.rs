//! The instances of a node, and which of them wants to be called when.
//!
//! With a thousand of them, asking each before every packet for its deadline is what costs most. So
//! that none is out of date, whoever changes an instance does it through here.

use std::collections::BTreeSet;

use super::instance::Instance;
use super::spec::InstanceId;
use super::{Table, Time};

/// All instances.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    all: Table<InstanceId, Instance>,
    /// Their deadlines as each answered last when it was asked, the earliest first; those of one
    /// moment in the order of the instances.
    order: BTreeSet<(Time, usize, InstanceId)>,
    /// What each one answered last, and its place among all.
    deadlines: Table<InstanceId, (Option<Time>, usize)>,
    /// Those to which it matters that they were late, in their order.
    punctual: Vec<InstanceId>,
}

impl Roster {
    /// These, in this order.
    pub fn new(all: Vec<Instance>) -> Self {
        let is_punctual = |i: &&Instance| i.spec.gate.is_some() || i.spec.late_backup.is_some();
        let punctual = all.iter().filter(is_punctual).map(|i| i.id).collect();
        let at = |(place, i): (usize, &Instance)| (i.id, (i.deadline(), place));
        let deadlines: Table<_, _> = all.iter().enumerate().map(at).collect();
        let order = deadlines.entries().filter_map(|(id, &(at, place))| Some((at?, place, id)));
        let order = order.collect();
        Self { order, deadlines, punctual, all: all.into_iter().map(|i| (i.id, i)).collect() }
    }

    /// Gives all of them away.
    pub fn take(&mut self) -> Table<InstanceId, Instance> {
        std::mem::take(self).all
    }

    /// To look at.
    pub const fn all(&self) -> &Table<InstanceId, Instance> {
        &self.all
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Option<Time> {
        self.order.first().map(|(at, ..)| *at)
    }

    /// Who is due, in the order of the instances.
    pub fn due(&self, now: Time) -> Vec<InstanceId> {
        let due = self.order.range(..=(now, usize::MAX, InstanceId(usize::MAX)));
        let mut due: Vec<_> = due.map(|&(_, place, id)| (place, id)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// To whom it matters that the daemon was late, because of their storage or as configured, in
    /// the order of the instances.
    pub fn punctual(&self) -> Vec<InstanceId> {
        self.punctual.clone()
    }

    /// Changes one of them, if it is there.
    pub fn change(&mut self, id: InstanceId, what: impl FnOnce(&mut Instance)) {
        let (Some(instance), Some((known, place))) =
            (self.all.get_mut(id), self.deadlines.get_mut(id))
        else {
            return;
        };
        what(instance);
        let at = instance.deadline();
        if at != *known {
            if let Some(old) = std::mem::replace(known, at) {
                self.order.remove(&(old, *place, id));
            }
            self.order.extend(at.map(|at| (at, *place, id)));
        }
    }

    /// Changes each of them, in their order.
    pub fn change_each(&mut self, mut what: impl FnMut(&mut Instance)) {
        let ids: Vec<InstanceId> = self.all.ids().collect();
        ids.into_iter().for_each(|id| self.change(id, &mut what));
    }
}
