//! The instances of a node, and which of them wants to be called when.
//!
//! With a thousand of them, asking each before every packet for its deadline is what costs most. So
//! that none is out of date, whoever changes an instance does it through here.

use std::collections::BTreeSet;

use super::Time;
use super::instance::Instance;

/// All instances, by [`super::spec::InstanceId`].
#[derive(Clone, Debug, Default)]
pub struct Roster {
    all: Vec<Instance>,
    /// What each one answered last when it was asked for its deadline.
    deadlines: Vec<Option<Time>>,
    /// The same, the earliest first.
    order: BTreeSet<(Time, usize)>,
    /// Those to which it matters that they were late, in their order.
    punctual: Vec<usize>,
}

impl Roster {
    /// These, in this order.
    pub fn new(all: Vec<Instance>) -> Self {
        let is_punctual =
            |(_, i): &(usize, &Instance)| i.spec.gate.is_some() || i.spec.late_backup.is_some();
        let punctual = all.iter().enumerate().filter(is_punctual).map(|(place, _)| place).collect();
        let deadlines: Vec<_> = all.iter().map(Instance::deadline).collect();
        let order = deadlines.iter().enumerate().filter_map(|(place, at)| Some(((*at)?, place)));
        Self { punctual, order: order.collect(), deadlines, all }
    }

    /// Gives all of them away.
    pub fn take(&mut self) -> Vec<Instance> {
        std::mem::take(self).all
    }

    /// To look at.
    pub fn as_slice(&self) -> &[Instance] {
        &self.all
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Who is due, in the order of the instances.
    pub fn due(&self, now: Time) -> Vec<usize> {
        let due = self.order.range(..=(now, usize::MAX));
        let mut places: Vec<_> = due.map(|(_, place)| *place).collect();
        places.sort_unstable();
        places
    }

    /// To whom it matters that the daemon was late, because of their storage or as configured, in
    /// the order of the instances.
    pub fn punctual(&self) -> Vec<usize> {
        self.punctual.clone()
    }

    /// Changes one of them, if it is there.
    pub fn change(&mut self, place: usize, what: impl FnOnce(&mut Instance)) {
        let (Some(instance), Some(known)) =
            (self.all.get_mut(place), self.deadlines.get_mut(place))
        else {
            return;
        };
        what(instance);
        let at = instance.deadline();
        if at != *known {
            if let Some(old) = std::mem::replace(known, at) {
                self.order.remove(&(old, place));
            }
            self.order.extend(at.map(|at| (at, place)));
        }
    }

    /// Changes each of them, in their order.
    pub fn change_each(&mut self, mut what: impl FnMut(&mut Instance)) {
        (0..self.all.len()).for_each(|place| self.change(place, &mut what));
    }
}
