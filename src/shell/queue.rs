//! Notify scripts in order: one at a time per instance and per group, none lost without a word.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::child::{Children, Key};
use super::run::Run;
use crate::conf::{GroupConf, InstanceConf, NotifyHook, Script};
use crate::core::event::NotifyState;

/// So many runs wait per instance; beyond that, the scripts of the oldest change are dropped.
pub const QUEUED_RUNS_MAX: usize = 256;
/// Deadline of a notify script where the configuration gives none. keepalived has none at all; a
/// script written for it may do work that takes a while, but not for ever.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(120);

/// The notify runs that wait for their turn.
///
/// keepalived starts them all at once: those of two quick changes overtake each other, and a
/// script for BACKUP may unmount before the one for MASTER mounts.
#[derive(Debug, Default)]
pub struct NotifyQueue {
    queues: BTreeMap<Key, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The scripts of one change of state each, oldest first; none is empty.
    changes: VecDeque<VecDeque<Run>>,
    runs_count: usize,
    dropped_count: u64,
}

impl NotifyQueue {
    /// Appends the runs of one change of state, in the order they are to run.
    pub fn push(&mut self, key: Key, runs: Vec<Run>) {
        if runs.is_empty() {
            return;
        }
        let queue = self.queues.entry(key).or_default();
        queue.runs_count += runs.len();
        queue.changes.push_back(runs.into());
        while queue.runs_count > QUEUED_RUNS_MAX {
            queue.drop_oldest();
        }
    }

    /// The same for something that is no change of state and may come often: one that waits
    /// already will do for this one too, and must not push out changes.
    pub fn push_once(&mut self, key: Key, runs: Vec<Run>) {
        let name = runs.first().map(|run| &run.name);
        let waits = self.queues.get(&key).is_some_and(|queue| {
            queue.changes.iter().flatten().any(|waiting| Some(&waiting.name) == name)
        });
        if !waits {
            self.push(key, runs);
        }
    }

    /// Hands the next run of every instance that has none running to `children`. To be called
    /// after [`Self::push`] and whenever a notify run has ended.
    pub fn pump(&mut self, children: &mut Children) {
        for (&key, queue) in &mut self.queues {
            if !children.running(key)
                && let Some(run) = queue.pop()
            {
                children.start(key, run);
            }
        }
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.queues.values().all(|queue| queue.changes.is_empty())
    }

    /// How many of its runs were dropped since the start.
    pub fn dropped_count(&self, key: Key) -> u64 {
        self.queues.get(&key).map_or(0, |queue| queue.dropped_count)
    }

    /// Follows instances and groups to their new places after a reload; what waits for one that is
    /// gone for good is dropped.
    pub fn rekey(&mut self, new: impl Fn(Key) -> Option<Key>) {
        let old = std::mem::take(&mut self.queues);
        self.queues = old.into_iter().filter_map(|(id, queue)| Some((new(id)?, queue))).collect();
    }

    /// Forgets everything that waits, and says how many runs that were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.queues).values().map(|queue| queue.runs_count).sum()
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Run> {
        let change = self.changes.front_mut()?;
        let run = change.pop_front();
        if change.is_empty() {
            self.changes.pop_front();
        }
        self.runs_count -= usize::from(run.is_some());
        run
    }

    fn drop_oldest(&mut self) {
        for run in self.changes.pop_front().into_iter().flatten() {
            self.runs_count -= 1;
            self.dropped_count += 1;
            let count = self.dropped_count;
            log::warn!("{}: dropped, too many wait ({count} dropped so far)", run.name);
        }
    }
}

/// One notify script to run for a change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyCommand<'a> {
    /// The keyword that asks for it: `notify_master`, `notify`; `notify hook` for that of the
    /// `hooks` block.
    pub what: &'static str,
    /// Where it stands, and whose rights it has.
    pub script: &'a Script,
    /// The command with the arguments of this change.
    pub argv: Vec<String>,
    /// When it has to be over.
    pub timeout: Duration,
}

/// What is run when `instance` enters `state`, in keepalived's order and with its arguments:
/// `notify_master` and its like get their own only, the others `INSTANCE NAME STATE PRIORITY`.
pub fn notify_commands<'a>(
    conf: &'a InstanceConf,
    instance: &str,
    state: NotifyState,
    priority: u8,
) -> Vec<NotifyCommand<'a>> {
    let own = match state {
        NotifyState::Master => &conf.notify_master,
        NotifyState::Backup => &conf.notify_backup,
        NotifyState::Fault => &conf.notify_fault,
        NotifyState::Stop => &conf.notify_stop,
        NotifyState::Deleted => &conf.notify_deleted,
        NotifyState::LowerPriority => &conf.notify_lower_priority,
    };
    let hook = conf.hooks.as_ref().and_then(|hooks| hooks.notify.as_ref());
    let facts = ["INSTANCE", instance, state.word(), &priority.to_string()].map(str::to_owned);
    commands([own.as_ref(), conf.notify.as_ref()], hook, state, &facts)
}

/// The same of a group: `GROUP NAME STATE 0`.
pub fn group_commands<'a>(
    conf: &'a GroupConf,
    group: &str,
    state: NotifyState,
) -> Vec<NotifyCommand<'a>> {
    let own = match state {
        NotifyState::Master => &conf.notify_master,
        NotifyState::Backup => &conf.notify_backup,
        NotifyState::Fault => &conf.notify_fault,
        NotifyState::Stop => &conf.notify_stop,
        // Told to instances only.
        NotifyState::Deleted | NotifyState::LowerPriority => return Vec::new(),
    };
    let hook = conf.hooks.as_ref().and_then(|hooks| hooks.notify.as_ref());
    let facts = ["GROUP", group, state.word(), "0"].map(str::to_owned);
    commands([own.as_ref(), conf.notify.as_ref()], hook, state, &facts)
}

/// The script of the state, the one for every state, and the hook.
fn commands<'a>(
    [own, every]: [Option<&'a Script>; 2],
    hook: Option<&'a NotifyHook>,
    state: NotifyState,
    facts: &[String],
) -> Vec<NotifyCommand<'a>> {
    let timeout = hook.map_or(NOTIFY_TIMEOUT, |hook| hook.timeout);
    let what = match state {
        NotifyState::Master => "notify_master",
        NotifyState::Backup => "notify_backup",
        NotifyState::Fault => "notify_fault",
        NotifyState::Stop => "notify_stop",
        NotifyState::Deleted => "notify_deleted",
        NotifyState::LowerPriority => "notify_master_rx_lower_pri",
    };
    let told = |script: &Script| script.argv.iter().chain(facts).cloned().collect();
    let mut commands = Vec::new();
    if let Some(script) = own {
        commands.push(NotifyCommand { what, script, argv: script.argv.clone(), timeout });
    }
    if state == NotifyState::LowerPriority {
        return commands;
    }
    if let Some(script) = every {
        commands.push(NotifyCommand { what: "notify", script, argv: told(script), timeout });
    }
    if let Some(hook) = hook {
        let script = &hook.script;
        commands.push(NotifyCommand { what: "notify hook", script, argv: told(script), timeout });
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Hooks, Span};
    use crate::core::spec::InstanceId;

    fn script(path: &str) -> Script {
        Script::new(vec![path.to_owned(), "own".to_owned()], None, Span::default())
    }

    #[test]
    fn scripts_come_in_keepaliveds_order_with_its_arguments() {
        let hook = NotifyHook { script: script("/hook"), timeout: Duration::from_secs(7) };
        let conf = InstanceConf {
            notify: Some(script("/generic")),
            notify_backup: Some(script("/backup")),
            notify_master: Some(script("/master")),
            hooks: Some(Hooks { notify: Some(hook), ..Hooks::default() }),
            ..InstanceConf::default()
        };
        let commands = notify_commands(&conf, "VI_1", NotifyState::Backup, 101);
        let argvs: Vec<String> = commands.iter().map(|command| command.argv.join(" ")).collect();
        assert_eq!(
            argvs,
            [
                "/backup own",
                "/generic own INSTANCE VI_1 BACKUP 101",
                "/hook own INSTANCE VI_1 BACKUP 101"
            ]
        );
        assert!(commands.iter().all(|command| command.timeout == Duration::from_secs(7)));
        assert_eq!(notify_commands(&conf, "VI_1", NotifyState::Stop, 1).len(), 2);
    }

    #[test]
    fn a_lower_priority_is_told_to_its_own_script_only_and_once() {
        let conf = InstanceConf {
            notify: Some(script("/generic")),
            notify_lower_priority: Some(script("/low")),
            notify_deleted: Some(script("/deleted")),
            ..InstanceConf::default()
        };
        let argvs = |state| -> Vec<String> {
            let commands = notify_commands(&conf, "VI_1", state, 101);
            commands.iter().map(|command| command.argv.join(" ")).collect()
        };
        assert_eq!(argvs(NotifyState::LowerPriority), ["/low own"]);
        let deleted = ["/deleted own", "/generic own INSTANCE VI_1 DELETED 101"];
        assert_eq!(argvs(NotifyState::Deleted), deleted);

        let run = |name: &str| vec![Run { name: name.to_owned(), ..Run::default() }];
        let mut queue = NotifyQueue::default();
        let one = InstanceId(0);
        for name in ["low", "low", "other", "low"] {
            queue.push_once(Key::Notify(one), run(name));
        }
        assert_eq!(queue.clear(), 2);
    }

    #[test]
    fn at_the_bound_the_oldest_change_goes_whole() {
        let run = |name: String| Run { name, ..Run::default() };
        let mut queue = NotifyQueue::default();
        let one = Key::Notify(InstanceId(0));
        for n in 0..QUEUED_RUNS_MAX / 2 + 3 {
            queue.push(one, vec![run(format!("{n}a")), run(format!("{n}b"))]);
        }
        assert_eq!(queue.dropped_count(one), 6);
        let inner = queue.queues.get_mut(&one).map(Queue::pop);
        assert_eq!(inner.flatten().map(|run| run.name).as_deref(), Some("3a"));
        assert_eq!(queue.clear(), QUEUED_RUNS_MAX - 1);
        assert!(queue.is_empty());
    }
}
