//! What may be done now, and what has to wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::NotifyQueue;
use crate::core::event::{Action, Event, HookEnd, MountAction, NotifyState};
use crate::core::spec::InstanceId;

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Carry this out.
    Do(Action),
    /// Nothing is to be done, and the core is to be told this.
    Tell(Event),
}

/// Puts what the core wants into the order of its urgency, and keeps back what depends on something
/// that has not happened yet: addresses that are under way.
///
/// It promises: what is of one instance and one urgency keeps its order; a mount hook that the core
/// has asked for is running, or waits here, until the core is told of its end; nothing that was
/// submitted is lost, but for the word that an instance is master which has never served before it
/// gives up. A reload changes nothing of that.
#[derive(Clone, Debug)]
pub struct Executor<R> {
    /// Adverts, memory and addresses, which wait for nothing.
    soon: VecDeque<Action>,
    /// Everything else.
    late: VecDeque<Action>,
    /// What waits for addresses.
    deferred: VecDeque<Action>,
    /// Instances whose addresses, routes and rules are being put or taken.
    moving: BTreeSet<InstanceId>,
    /// Instances that put nothing more until it is known whether they may serve.
    in_doubt: BTreeSet<InstanceId>,
    /// Mount hooks that were handed out and are not over.
    mounts: BTreeMap<InstanceId, MountAction>,
    /// Notify scripts that wait for their turn.
    pub notifies: NotifyQueue<R>,
}

/// So many actions at once are no burst.
const ROOM: usize = 64;

impl<R> Default for Executor<R> {
    fn default() -> Self {
        Self {
            soon: VecDeque::new(),
            late: VecDeque::new(),
            deferred: VecDeque::new(),
            moving: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            mounts: BTreeMap::new(),
            notifies: NotifyQueue::default(),
        }
    }
}

impl<R> Executor<R> {
    /// Takes in what the core wants.
    pub fn submit(&mut self, actions: Vec<Action>) {
        for action in actions {
            let queue = if urgency(&action) < LATE { &mut self.soon } else { &mut self.late };
            queue.push_back(action);
        }
        // Stable: what is equally urgent keeps its order.
        self.soon.make_contiguous().sort_by_key(urgency);
        self.late.make_contiguous().sort_by_key(urgency);
    }

    /// The next of what waits for nothing: adverts, what must be written down, addresses. To be
    /// asked until it is empty, before [`Self::next_late`].
    pub fn next_soon(&mut self) -> Option<Action> {
        let action = self.soon.pop_front()?;
        match &action {
            Action::PutAddresses { instance } => {
                self.moving.insert(*instance);
                self.in_doubt.remove(instance);
            }
            Action::KeepAddresses { instance } => {
                self.moving.insert(*instance);
                self.in_doubt.insert(*instance);
            }
            Action::TakeAddresses { instance } => {
                self.moving.insert(*instance);
                if self.in_doubt.remove(instance) {
                    self.deferred.retain(|other| !tells_of_master(other, *instance));
                }
            }
            _ => {}
        }
        Some(action)
    }

    /// The next of everything else that may be done now.
    pub fn next_late(&mut self) -> Option<Next> {
        loop {
            let action = self.next_ready()?;
            match action {
                Action::RunMount { instance, action, .. }
                    if self.mounts.contains_key(&instance) =>
                {
                    // The core never asks for two; if it did, the second would not be run.
                    let end = HookEnd::NotStarted("another mount hook runs".into());
                    return Some(Next::Tell(Event::MountEnded { instance, action, end }));
                }
                Action::RunMount { instance, action: what, .. } => {
                    self.mounts.insert(instance, what);
                    return Some(Next::Do(action));
                }
                Action::StopMount { instance } => match self.withdraw_mount(instance) {
                    Some(action) => {
                        let end = HookEnd::Ended;
                        return Some(Next::Tell(Event::MountEnded { instance, action, end }));
                    }
                    None if self.mounts.contains_key(&instance) => return Some(Next::Do(action)),
                    None => {}
                },
                Action::StopAnnouncing { instance } => {
                    self.deferred.retain(|other| !is_announcement_of(other, instance));
                    return Some(Next::Do(action));
                }
                _ => return Some(Next::Do(action)),
            }
        }
    }

    /// Gives back the room that a burst of actions has taken, when nothing is left of it; true if there
    /// was any.
    pub fn shrink(&mut self) -> bool {
        let mut queues = [&mut self.soon, &mut self.late, &mut self.deferred];
        let had = queues.iter().any(|queue| queue.is_empty() && queue.capacity() > ROOM);
        queues.iter_mut().filter(|queue| queue.is_empty()).for_each(|queue| queue.shrink_to(ROOM));
        had
    }

    /// The first that waits for nothing any more, else the first that has not waited yet.
    fn next_ready(&mut self) -> Option<Action> {
        if let Some(place) = self.deferred.iter().position(|action| !self.waits(action)) {
            return self.deferred.remove(place);
        }
        while let Some(action) = self.late.pop_front() {
            if !self.waits(&action) {
                return Some(action);
            }
            self.deferred.push_back(action);
        }
        None
    }

    /// Must addresses arrive before this may be done?
    fn waits(&self, action: &Action) -> bool {
        let must_wait = |instance: &InstanceId, state: NotifyState| {
            self.moving.contains(instance)
                || state == NotifyState::Master && self.in_doubt.contains(instance)
        };
        match action {
            Action::Announce { instance, .. }
            | Action::AnnounceSome { instance, .. }
            | Action::RunMount { instance, .. }
            | Action::Tell { instance, .. } => self.moving.contains(instance),
            Action::Notify { instance, state, .. } => must_wait(instance, *state),
            Action::NotifyGroup { members, state, .. } => {
                members.iter().any(|member| must_wait(member, *state))
            }
            Action::Send { .. }
            | Action::SendBfd { .. }
            | Action::Remember { .. }
            | Action::Reboot { .. }
            | Action::PutAddresses { .. }
            | Action::TakeAddresses { .. }
            | Action::KeepAddresses { .. }
            | Action::AnnounceSource { .. }
            | Action::StopAnnouncing { .. }
            | Action::Entered { .. }
            | Action::Report(_)
            | Action::TellPriority { .. }
            | Action::StopChecks
            | Action::StopMount { .. }
            | Action::RunCheck { .. } => false,
        }
    }

    /// Takes back a mount hook that waits for addresses.
    fn withdraw_mount(&mut self, instance: InstanceId) -> Option<MountAction> {
        let is_it = |action: &Action| matches!(action, Action::RunMount { instance: of, .. } if *of == instance);
        let place = self.deferred.iter().position(is_it)?;
        match self.deferred.remove(place) {
            Some(Action::RunMount { action, .. }) => Some(action),
            _ => None,
        }
    }

    /// The addresses, routes and rules of an instance are where they should be, or it is known that
    /// they cannot be put there.
    pub fn arrived(&mut self, instance: InstanceId) {
        self.moving.remove(&instance);
    }

    /// The instances whose addresses are under way.
    pub fn moving(&self) -> impl Iterator<Item = InstanceId> {
        self.moving.iter().copied()
    }

    /// Which action the mount hook of this instance was started for.
    pub fn mount(&self, instance: InstanceId) -> Option<MountAction> {
        self.mounts.get(&instance).copied()
    }

    /// The same, now that it has ended.
    pub fn mount_over(&mut self, instance: InstanceId) -> Option<MountAction> {
        self.mounts.remove(&instance)
    }

    /// Which action the core may wait for: the one that runs, or one that will.
    pub fn mount_promised(&self, instance: InstanceId) -> Option<MountAction> {
        let waiting = || {
            self.deferred.iter().chain(&self.late).find_map(|action| match action {
                Action::RunMount { instance: of, action, .. } if *of == instance => Some(*action),
                _ => None,
            })
        };
        self.mount(instance).or_else(waiting)
    }

    /// Is there anything left that the core wanted, notify scripts apart?
    pub fn is_pending(&self) -> bool {
        !(self.soon.is_empty() && self.late.is_empty() && self.deferred.is_empty())
    }
}

/// From this urgency on it may depend on addresses.
const LATE: u8 = 2;

/// The place of an action in a turn of the loop, the least first. Adverts go first, whichever
/// instance they are of, and what must be written down with them; then addresses, announcements, the
/// log, and last the hooks, which cost most (design 2).
const fn urgency(action: &Action) -> u8 {
    match action {
        Action::Remember { .. }
        | Action::Reboot { .. }
        | Action::Send { .. }
        | Action::SendBfd { .. } => 0,
        Action::PutAddresses { .. }
        | Action::TakeAddresses { .. }
        | Action::KeepAddresses { .. } => 1,
        Action::Announce { .. }
        | Action::AnnounceSome { .. }
        | Action::AnnounceSource { .. }
        | Action::StopAnnouncing { .. } => LATE,
        Action::Report(_) | Action::Entered { .. } => 3,
        Action::StopChecks
        | Action::StopMount { .. }
        | Action::RunMount { .. }
        | Action::Notify { .. }
        | Action::NotifyGroup { .. }
        | Action::Tell { .. }
        | Action::TellPriority { .. }
        | Action::RunCheck { .. } => 4,
    }
}

fn is_announcement_of(action: &Action, instance: InstanceId) -> bool {
    matches!(action, Action::Announce { instance: of, .. } | Action::AnnounceSome { instance: of, .. } if *of == instance)
}

/// Does this tell somebody that the instance is master?
fn tells_of_master(action: &Action, instance: InstanceId) -> bool {
    match action {
        Action::Notify { instance: of, state, .. } => {
            *of == instance && *state == NotifyState::Master
        }
        Action::NotifyGroup { members, state, .. } => {
            members.contains(&instance) && *state == NotifyState::Master
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::{Level, Report};
    use std::time::Duration;

    const ONE: InstanceId = InstanceId(0);
    const OTHER: InstanceId = InstanceId(1);

    fn put(instance: InstanceId) -> Action {
        Action::PutAddresses { instance }
    }

    fn announce(instance: InstanceId) -> Action {
        Action::Announce { instance, rounds: 5 }
    }

    fn mount(instance: InstanceId, action: MountAction) -> Action {
        let facts = Box::new(crate::core::event::Facts::default());
        Action::RunMount { instance, action, timeout: Duration::from_secs(9), facts }
    }

    fn report(text: &str) -> Action {
        Action::Report(Report { instance: None, level: Level::Info, text: text.into() })
    }

    fn send(instance: InstanceId) -> Action {
        let (source, to) = ([10, 0, 0, 1].into(), [224, 0, 0, 18].into());
        Action::Send { instance, source, to, bytes: vec![] }
    }

    fn all_soon(executor: &mut Executor<()>) -> Vec<Action> {
        std::iter::from_fn(|| executor.next_soon()).collect()
    }

    fn all_late(executor: &mut Executor<()>) -> Vec<Next> {
        std::iter::from_fn(|| executor.next_late()).collect()
    }

    fn done(actions: &[Action]) -> Vec<Next> {
        actions.iter().cloned().map(Next::Do).collect()
    }

    #[test]
    fn adverts_come_first_and_hooks_last() {
        let mut executor = Executor::default();
        let hook = mount(OTHER, MountAction::Probe);
        executor.submit(vec![hook.clone(), report("a"), put(ONE), send(ONE), report("b")]);
        executor.submit(vec![send(OTHER)]);
        assert_eq!(all_soon(&mut executor), [send(ONE), send(OTHER), put(ONE)]);
        assert_eq!(all_late(&mut executor), done(&[report("a"), report("b"), hook]));
        assert!(!executor.is_pending());
    }

    #[test]
    fn the_room_of_a_burst_is_given_back_when_nothing_is_left_of_it() {
        let mut executor = Executor::<()>::default();
        let announce = Action::Announce { instance: InstanceId(0), rounds: 1 };
        executor.submit(vec![announce.clone(); 10 * ROOM]);
        assert!(!executor.shrink(), "they wait");
        assert_eq!(all_late(&mut executor).len(), 10 * ROOM);
        assert!(executor.shrink());
        assert!(executor.late.capacity() <= ROOM && !executor.shrink());
    }

    #[test]
    fn what_depends_on_addresses_waits_for_those_of_its_own_instance_only() {
        let mut executor = Executor::default();
        let (own, other) = (mount(ONE, MountAction::Release), mount(OTHER, MountAction::Release));
        executor.submit(vec![Action::TakeAddresses { instance: ONE }, own.clone(), other.clone()]);
        all_soon(&mut executor);
        assert_eq!(all_late(&mut executor), done(&[other]));
        assert_eq!(executor.mount_promised(ONE), Some(MountAction::Release));
        assert_eq!(executor.mount(ONE), None, "it does not run yet");
        assert!(executor.is_pending());
        executor.arrived(OTHER);
        assert_eq!(all_late(&mut executor), []);
        executor.arrived(ONE);
        assert_eq!(all_late(&mut executor), done(&[own]));
        assert_eq!(executor.mount_over(ONE), Some(MountAction::Release));
        assert_eq!(executor.mount_promised(ONE), None);
    }

    #[test]
    fn a_group_is_told_when_all_its_members_have_arrived() {
        let mut executor = Executor::default();
        let members = vec![ONE, OTHER];
        let facts = Box::new(crate::core::event::Facts::default());
        let (group, state) =
            (crate::core::spec::GroupId(0), crate::core::event::NotifyState::Master);
        let told = Action::NotifyGroup { group, members, state, facts };
        executor.submit(vec![put(ONE), put(OTHER), told.clone()]);
        all_soon(&mut executor);
        executor.arrived(ONE);
        assert_eq!(all_late(&mut executor), []);
        executor.arrived(OTHER);
        assert_eq!(all_late(&mut executor), done(&[told]));
    }

    #[test]
    fn what_is_not_to_be_announced_any_more_is_forgotten() {
        let mut executor = Executor::default();
        executor.submit(vec![put(ONE), put(OTHER), announce(ONE), announce(OTHER)]);
        all_soon(&mut executor);
        assert_eq!(all_late(&mut executor), []);
        let stop = Action::StopAnnouncing { instance: ONE };
        executor.submit(vec![stop.clone()]);
        assert_eq!(all_late(&mut executor), done(&[stop]));
        executor.arrived(ONE);
        executor.arrived(OTHER);
        assert_eq!(all_late(&mut executor), done(&[announce(OTHER)]));
    }

    #[test]
    fn who_is_in_doubt_before_it_serves_is_told_to_be_master_only_when_it_serves() {
        let told = |state| {
            let facts = Box::new(crate::core::event::Facts::default());
            Action::Notify { instance: ONE, state, facts }
        };
        let mut executor = Executor::default();
        let backup = told(NotifyState::Backup);
        executor.submit(vec![put(ONE), backup.clone(), told(NotifyState::Master)]);
        all_soon(&mut executor);
        assert_eq!(all_late(&mut executor), []);
        let probe = mount(ONE, MountAction::Probe);
        executor.submit(vec![Action::KeepAddresses { instance: ONE }, probe.clone()]);
        all_soon(&mut executor);
        assert_eq!(all_late(&mut executor), [], "some may be in the kernel's hands");
        executor.arrived(ONE);
        assert_eq!(all_late(&mut executor), done(&[backup, probe]));
        let mut it_serves = executor.clone();
        it_serves.submit(vec![put(ONE)]);
        all_soon(&mut it_serves);
        assert_eq!(all_late(&mut it_serves), []);
        it_serves.arrived(ONE);
        assert_eq!(all_late(&mut it_serves), done(&[told(NotifyState::Master)]));
        let fault = told(NotifyState::Fault);
        executor.submit(vec![Action::TakeAddresses { instance: ONE }, fault.clone()]);
        all_soon(&mut executor);
        executor.arrived(ONE);
        assert_eq!(all_late(&mut executor), done(&[fault]));
        assert!(!executor.is_pending());
    }

    #[test]
    fn a_hook_that_waits_is_taken_back_and_one_that_runs_is_ended() {
        let mut executor = Executor::default();
        let (release, stop) =
            (mount(ONE, MountAction::Release), Action::StopMount { instance: ONE });
        executor.submit(vec![put(ONE), release.clone()]);
        all_soon(&mut executor);
        assert_eq!(all_late(&mut executor), []);
        executor.submit(vec![stop.clone()]);
        let (action, end) = (MountAction::Release, HookEnd::Ended);
        let told = Next::Tell(Event::MountEnded { instance: ONE, action, end });
        assert_eq!(all_late(&mut executor), [told]);
        executor.arrived(ONE);
        assert_eq!(all_late(&mut executor), [], "it does not come back");
        executor.submit(vec![release.clone(), stop.clone(), stop.clone()]);
        assert_eq!(all_late(&mut executor), done(&[release, stop.clone(), stop.clone()]));
        executor.mount_over(ONE);
        executor.submit(vec![stop]);
        assert_eq!(all_late(&mut executor), [], "there is nothing to end");
    }

    #[test]
    fn a_second_hook_beside_one_that_runs_is_refused() {
        let mut executor = Executor::default();
        let (first, second) = (mount(ONE, MountAction::Acquire), mount(ONE, MountAction::Release));
        executor.submit(vec![first.clone(), second]);
        let all = all_late(&mut executor);
        assert_eq!(all[0], Next::Do(first));
        assert!(matches!(
            all[1],
            Next::Tell(Event::MountEnded { action: MountAction::Release, .. })
        ));
        assert_eq!(executor.mount(ONE), Some(MountAction::Acquire));
    }
}
