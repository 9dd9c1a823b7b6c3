//! Notify scripts in order: one at a time per instance and per group, none lost without a word.

use std::collections::{BTreeMap, VecDeque};

use super::Key;

/// So many runs wait per instance or group; beyond that, those of the oldest change are dropped.
pub const QUEUED_RUNS_MAX: usize = 256;

/// The notify runs that wait for their turn (design 5).
///
/// keepalived starts them all at once: those of two quick changes overtake each other, and a
/// script for BACKUP may unmount before the one for MASTER mounts.
#[derive(Clone, Debug)]
pub struct NotifyQueue<R> {
    queues: BTreeMap<Key, Queue<R>>,
}

#[derive(Clone, Debug)]
struct Queue<R> {
    /// The scripts of one change of state each, oldest first; none is empty.
    changes: VecDeque<VecDeque<R>>,
    runs_count: usize,
    dropped_count: u64,
}

impl<R> Default for NotifyQueue<R> {
    fn default() -> Self {
        Self { queues: BTreeMap::new() }
    }
}

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self { changes: VecDeque::new(), runs_count: 0, dropped_count: 0 }
    }
}

impl<R> NotifyQueue<R> {
    /// Appends the runs of one change of state, in the order they are to run; gives back what had to
    /// be dropped for them, at the bound, oldest first.
    #[must_use]
    pub fn push(&mut self, key: Key, runs: Vec<R>) -> Vec<R> {
        let mut dropped = Vec::new();
        if runs.is_empty() {
            return dropped;
        }
        let queue = self.queues.entry(key).or_default();
        queue.runs_count += runs.len();
        queue.changes.push_back(runs.into());
        while queue.runs_count > QUEUED_RUNS_MAX {
            dropped.extend(queue.drop_oldest());
        }
        dropped
    }

    /// Does a run like this wait already? What is no change of state and may come often needs to be
    /// told only once, and must not push out changes.
    pub fn holds(&self, key: Key, is_like: impl Fn(&R) -> bool) -> bool {
        self.queues.get(&key).is_some_and(|queue| queue.changes.iter().flatten().any(is_like))
    }

    /// The next run of somebody who has none running, if there is one.
    pub fn next(&mut self, is_running: impl Fn(Key) -> bool) -> Option<(Key, R)> {
        let may = |key: &Key, queue: &Queue<R>| !queue.changes.is_empty() && !is_running(*key);
        let (key, queue) = self.queues.iter_mut().find(|(key, queue)| may(key, queue))?;
        queue.pop().map(|run| (*key, run))
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.queues.values().all(|queue| queue.changes.is_empty())
    }

    /// Could a run be started now?
    pub fn is_startable(&self, is_running: impl Fn(Key) -> bool) -> bool {
        self.queues.iter().any(|(key, queue)| !queue.changes.is_empty() && !is_running(*key))
    }

    /// How many of its runs were dropped since the start.
    pub fn dropped_count(&self, key: Key) -> u64 {
        self.queues.get(&key).map_or(0, |queue| queue.dropped_count)
    }

    /// Forgets everything that waits, and says how many runs that were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.queues).values().map(|queue| queue.runs_count).sum()
    }
}

impl<R> Queue<R> {
    fn pop(&mut self) -> Option<R> {
        let change = self.changes.front_mut()?;
        let run = change.pop_front();
        if change.is_empty() {
            self.changes.pop_front();
        }
        self.runs_count -= usize::from(run.is_some());
        run
    }

    fn drop_oldest(&mut self) -> VecDeque<R> {
        let oldest = self.changes.pop_front().unwrap_or_default();
        self.runs_count -= oldest.len();
        self.dropped_count += oldest.len() as u64;
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::InstanceId;

    const ONE: Key = Key::Notify(InstanceId(0));
    const OTHER: Key = Key::Notify(InstanceId(1));

    #[test]
    fn at_the_bound_the_oldest_change_goes_whole() {
        let mut queue = NotifyQueue::default();
        let mut dropped = Vec::new();
        for n in 0..QUEUED_RUNS_MAX / 2 + 3 {
            dropped.extend(queue.push(ONE, vec![format!("{n}a"), format!("{n}b")]));
        }
        assert_eq!(dropped, ["0a", "0b", "1a", "1b", "2a", "2b"]);
        assert_eq!(queue.dropped_count(ONE), 6);
        assert_eq!(queue.next(|_| false), Some((ONE, "3a".to_owned())));
        assert_eq!(queue.clear(), QUEUED_RUNS_MAX - 1);
        assert!(queue.is_empty());
    }

    #[test]
    fn one_at_a_time_for_each_and_in_order() {
        let mut queue = NotifyQueue::default();
        assert!(queue.push(ONE, vec!["a", "b"]).is_empty());
        assert!(queue.push(OTHER, vec!["x"]).is_empty());
        assert_eq!(queue.next(|_| false), Some((ONE, "a")));
        let is_running = |key| key == ONE;
        assert_eq!(queue.next(is_running), Some((OTHER, "x")));
        assert_eq!(queue.next(is_running), None);
        assert!(!queue.is_startable(is_running) && queue.is_startable(|_| false));
        assert_eq!(queue.next(|_| false), Some((ONE, "b")));
    }

    #[test]
    fn what_waits_is_known() {
        let mut queue = NotifyQueue::default();
        assert!(queue.push(ONE, vec!["low"]).is_empty());
        assert!(queue.holds(ONE, |run| *run == "low"));
        assert!(!queue.holds(OTHER, |run| *run == "low"));
    }
}
