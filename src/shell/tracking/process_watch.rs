//! Tracked processes: found by slow scans of /proc, and each watched by a pidfd.
//!
//! keepalived hears of every fork of the host from the kernel's process connector. Here nothing
//! costs anything while nothing happens: an exit of a process that counts is told by its pidfd,
//! and new ones are looked for every few seconds; while some are missing ten times a second, but
//! then only among processes that are new. A scan is made in pieces, one in each turn of the loop.
//!
//! A daemon that replaces itself, by exec or by a fork before its exit, is never missed: a quorum is
//! lost only if a whole scan, begun at once after the exit, does not find it either. (Who wants to
//! wait for one that is stopped and started again says so, by `terminate_delay`.) Threads of the kernel,
//! most of what /proc lists, are looked at once: they never become anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, ReadDir};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirEntryExt;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::conf::Config;
use crate::conf::{ParamMatch, ProcessConf};
use crate::core::Time;
use crate::core::spec::{ProcessId, ProcessSpec};
use crate::shell::host::sys::pidfd_open;

/// So many processes are watched by a descriptor; more are found missing by scans only.
pub const WATCHED_MAX: usize = 256;
/// So many tokens belong to [`ProcessWatch`], from the one given to [`ProcessWatch::new`] on.
pub const TOKENS: usize = WATCHED_MAX;
/// So many processes are looked at in one turn of the loop: each costs about 10 µs.
const LOOKS_PER_TURN_MAX: usize = 64;
/// So many entries of /proc are read in one turn, looked at or not.
const ENTRIES_PER_TURN_MAX: usize = 1024;
/// Longer is no `comm` and no `stat` (proc(5)).
const GLANCE_BYTES: usize = 1024;
/// The place of the flags behind the name in `stat`, and the one that tells a thread of the kernel.
const FLAGS_BEHIND_NAME: usize = 7;
const THREAD_OF_KERNEL: u32 = 0x0020_0000;
/// So much of a command line is compared.
const COMMAND_LINE_BYTES_MAX: u64 = 64 * 1024;
/// Pause between scans while every quorum holds.
const PAUSE: Duration = Duration::from_secs(5);
/// The same where more processes than now would break one, or where some have no descriptor.
const PAUSE_WITH_MAXIMUM: Duration = Duration::from_secs(1);
/// The same while processes are missing.
const PAUSE_WHILE_MISSING: Duration = Duration::from_millis(100);
/// A scan that could not tell of some process what it is does not confirm an exit for so long.
const UNSURE_MAX: Duration = Duration::from_millis(100);
/// Pause between scans meanwhile.
const PAUSE_WHILE_UNSURE: Duration = Duration::from_millis(1);
/// A process younger than this is looked at in every scan: it may still become another by exec.
const YOUNG: Duration = Duration::from_secs(2);

/// All processes that are tracked.
#[derive(Debug)]
pub struct ProcessWatch {
    registry: Registry,
    first_token: usize,
    tracked: Vec<Tracked>,
    /// Processes that match something, by their number.
    watched: BTreeMap<u32, Watched>,
    /// Which process a token belongs to.
    slots: Vec<Option<u32>>,
    scan: Option<Scan>,
    /// Every process of the last scan.
    known: BTreeMap<u32, Known>,
    next_at: Option<Time>,
    /// When the last whole scan was begun.
    whole_at: Option<Time>,
    is_short_of_descriptors: bool,
    /// The scan has met a process of which it could not tell what it is.
    is_unsure: bool,
}

/// One `vrrp_track_process`.
#[derive(Debug)]
struct Tracked {
    id: ProcessId,
    conf: ProcessConf,
    spec: ProcessSpec,
    /// What was last told.
    told: Option<u32>,
    /// Its quorum is lost, if a scan confirms that.
    doubt: Option<Doubt>,
}

/// A loss that is not told yet.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Time,
    /// The scan that is under way was begun later.
    is_scanned: bool,
}

/// What is known of a process, or of its number.
#[derive(Clone, Copy, Debug)]
struct Known {
    first_seen_at: Time,
    /// The inode of its folder: another one may be of another process with the same number.
    inode: u64,
    /// Is it a thread of the kernel? Not asked of a new one, which may still become a process.
    is_kernels: Option<bool>,
}

/// A process that matches.
#[derive(Debug)]
struct Watched {
    /// Places of what it matches.
    matches: BTreeSet<usize>,
    pidfd: Option<(OwnedFd, usize)>,
}

/// A scan that is under way.
#[derive(Debug)]
struct Scan {
    folder: ReadDir,
    begun_at: Time,
    /// Every process is looked at, not only new ones.
    is_whole: bool,
    seen: BTreeMap<u32, Known>,
}

impl ProcessWatch {
    /// Nothing to watch yet. Descriptors are registered with `registry`, under [`TOKENS`] tokens
    /// from `first_token` on.
    pub fn new(registry: Registry, first_token: usize) -> Self {
        Self {
            registry,
            first_token,
            tracked: Vec::new(),
            watched: BTreeMap::new(),
            slots: Vec::new(),
            scan: None,
            known: BTreeMap::new(),
            next_at: None,
            whole_at: None,
            is_short_of_descriptors: false,
            is_unsure: false,
        }
    }

    /// Watches these from now on, and no others. Everything is counted anew.
    pub fn configure(&mut self, config: &Config, now: Time) {
        let numbers: Vec<u32> = self.watched.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.forget(number));
        let tracked = |((id, conf), spec): ((ProcessId, &ProcessConf), &ProcessSpec)| Tracked {
            id,
            conf: conf.clone(),
            spec: spec.clone(),
            told: None,
            doubt: None,
        };
        let all = config.processes.entries().zip(&config.spec.processes);
        self.tracked = all.map(tracked).collect();
        self.scan = None;
        self.known.clear();
        self.whole_at = None;
        self.next_at = (!self.tracked.is_empty()).then_some(now);
    }

    /// Must the loop go on at once?
    pub const fn is_urgent(&self) -> bool {
        self.scan.is_some()
    }

    /// When [`Self::work`] wants to be called next.
    pub const fn deadline(&self) -> Option<Time> {
        self.next_at
    }

    /// A process that is watched has ended.
    pub fn handle_ready(&mut self, token: Token) {
        let slot = token.0.checked_sub(self.first_token).and_then(|place| self.slots.get(place));
        if let Some(&Some(number)) = slot {
            self.forget(number);
        }
    }

    /// Scans a piece if it is time to; returns the counts that have changed.
    #[must_use]
    pub fn work(&mut self, now: Time) -> Vec<(ProcessId, u32)> {
        let mut changed = self.judge(false, now);
        let is_due = self.has_new_doubt() || self.next_at.is_some_and(|at| at <= now);
        if self.scan.is_none() && is_due {
            self.begin_scan(now);
        }
        let is_over = self.scan_piece(now);
        if is_over {
            changed.extend(self.judge(true, now));
            self.next_at = Some(now + self.pause());
        }
        changed
    }

    fn has_new_doubt(&self) -> bool {
        let mut doubts = self.tracked.iter().filter_map(|tracked| tracked.doubt);
        doubts.any(|doubt| !doubt.is_scanned)
    }

    fn begin_scan(&mut self, now: Time) {
        self.next_at = None;
        self.is_unsure = false;
        let mut is_confirming = false;
        for doubt in self.tracked.iter_mut().filter_map(|tracked| tracked.doubt.as_mut()) {
            (doubt.is_scanned, is_confirming) = (true, true);
        }
        let is_whole = is_confirming || self.whole_at.is_none_or(|at| now.since(at) >= PAUSE);
        match fs::read_dir("/proc") {
            Ok(folder) => {
                let seen = BTreeMap::new();
                self.scan = Some(Scan { folder, begun_at: now, is_whole, seen });
            }
            Err(error) => {
                log::error!("/proc: {error}; tracked processes go unseen for a while");
                self.next_at = Some(now + PAUSE_WITH_MAXIMUM);
            }
        }
    }

    /// Looks at some processes; true at the end of the scan.
    fn scan_piece(&mut self, now: Time) -> bool {
        let Some(mut scan) = self.scan.take() else { return false };
        let mut looks = 0;
        for _ in 0..ENTRIES_PER_TURN_MAX {
            let Some(entry) = scan.folder.next() else {
                self.finish_scan(scan);
                return true;
            };
            let Ok(entry) = entry else { continue };
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let mut known = self.meet(number, entry.ino(), now);
            let is_young = now.since(known.first_seen_at) < YOUNG;
            if !is_young && scan.is_whole && known.is_kernels.is_none() {
                known.is_kernels = Some(is_thread_of_kernel(&glance(number, "stat")));
            }
            if is_young || scan.is_whole && known.is_kernels != Some(true) {
                self.look(number);
                looks += 1;
            }
            scan.seen.insert(number, known);
            if looks >= LOOKS_PER_TURN_MAX {
                break;
            }
        }
        self.scan = Some(scan);
        false
    }

    /// What was known of a process, or that it is new.
    fn meet(&self, number: u32, inode: u64, now: Time) -> Known {
        let new = Known { first_seen_at: now, inode, is_kernels: None };
        self.known.get(&number).copied().filter(|known| known.inode == inode).unwrap_or(new)
    }

    fn finish_scan(&mut self, scan: Scan) {
        let gone: Vec<u32> =
            self.watched.keys().filter(|number| !scan.seen.contains_key(number)).copied().collect();
        gone.into_iter().for_each(|number| self.forget(number));
        self.known = scan.seen;
        if scan.is_whole {
            self.whole_at = Some(scan.begun_at);
        }
    }

    /// The counts that are to be told, in the course of a scan or at its end.
    fn judge(&mut self, is_over: bool, now: Time) -> Vec<(ProcessId, u32)> {
        let mut changed = Vec::new();
        for (place, tracked) in self.tracked.iter_mut().enumerate() {
            let count = self.watched.values().filter(|w| w.matches.contains(&place)).count();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let is_told = match tracked.told {
                None => is_over,
                Some(told) if told == count => {
                    tracked.doubt = None;
                    false
                }
                Some(told) => {
                    let has_quorum = |count| tracked.spec.has_quorum(count);
                    let is_loss = count < told && has_quorum(told) && !has_quorum(count);
                    !is_loss || {
                        let new = Doubt { since: now, is_scanned: false };
                        let doubt = *tracked.doubt.get_or_insert(new);
                        let is_sure = !self.is_unsure || now >= doubt.since + UNSURE_MAX;
                        is_over && doubt.is_scanned && is_sure
                    }
                }
            };
            if is_told {
                tracked.told = Some(count);
                tracked.doubt = None;
                changed.push((tracked.id, count));
            }
        }
        changed
    }

    fn pause(&self) -> Duration {
        let is_missing = |t: &Tracked| t.told.is_some_and(|count| count < t.spec.quorum);
        let has_maximum = |t: &Tracked| t.spec.quorum_max.is_some();
        if self.has_new_doubt() {
            Duration::ZERO
        } else if self.tracked.iter().any(|tracked| tracked.doubt.is_some()) {
            PAUSE_WHILE_UNSURE
        } else if self.tracked.iter().any(is_missing) {
            PAUSE_WHILE_MISSING
        } else if self.tracked.iter().any(has_maximum)
            || self.watched.values().any(|watched| watched.pidfd.is_none())
        {
            PAUSE_WITH_MAXIMUM
        } else {
            PAUSE
        }
    }

    /// Looks at one process: does it match, and is it watched?
    fn look(&mut self, number: u32) {
        let Some(matches) = self.matches(number) else {
            self.is_unsure = true;
            return;
        };
        if matches.is_empty() {
            self.forget(number);
        } else if let Some(watched) = self.watched.get_mut(&number) {
            watched.matches = matches;
        } else {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(number).unwrap_or(i32::MAX));
            let pidfd = match pidfd_open(pid) {
                Ok(pidfd) => Some(pidfd),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return,
                Err(error) => {
                    self.remark(&error);
                    None
                }
            };
            // Only now is it sure that the descriptor is of the process that was looked at.
            if self.matches(number).as_ref() == Some(&matches) {
                let pidfd = pidfd.and_then(|pidfd| self.register(number, pidfd));
                self.watched.insert(number, Watched { matches, pidfd });
            } else {
                // Another one by now, or the same in the midst of an exec.
                self.is_unsure = true;
            }
        }
    }

    /// The places of what a process matches; none where that cannot be told now.
    fn matches(&self, number: u32) -> Option<BTreeSet<usize>> {
        let wants = |is_full| self.tracked.iter().any(|tracked| tracked.conf.is_full == is_full);
        let name = if wants(false) { glance(number, "comm") } else { Vec::new() };
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        let mut line = Vec::new();
        if wants(true) {
            // The command line is in the memory of the process: a thread that is stuck in the
            // kernel may hold the lock on that, and would make the reader wait.
            if is_stuck(number) {
                return None;
            }
            line = command_line(number);
            // In the midst of an exec the old line is gone and the new one not there yet.
            if line.is_empty() && fs::read_link(format!("/proc/{number}/exe")).is_ok() {
                return None;
            }
        }
        let is_match = |tracked: &Tracked| match tracked.conf.is_full {
            true => matches_line(&tracked.conf, &line),
            false => tracked.conf.command.as_bytes() == name,
        };
        let places = self.tracked.iter().enumerate().filter(|(_, tracked)| is_match(tracked));
        let matches: BTreeSet<usize> = places.map(|(place, _)| place).collect();
        // A zombie has ended; it only waits for its parent.
        let is_alive = matches.is_empty() || !matches!(state(number), None | Some(b'Z' | b'X'));
        Some(if is_alive { matches } else { BTreeSet::new() })
    }

    fn register(&mut self, number: u32, pidfd: OwnedFd) -> Option<(OwnedFd, usize)> {
        let slot = match self.slots.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if self.slots.len() < WATCHED_MAX => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return None,
        };
        let token = Token(self.first_token + slot);
        let fd = pidfd.as_raw_fd();
        if let Err(error) = self.registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
            self.remark(&error);
            return None;
        }
        *self.slots.get_mut(slot)? = Some(number);
        Some((pidfd, slot))
    }

    fn forget(&mut self, number: u32) {
        let Some(Watched { pidfd: Some((pidfd, slot)), .. }) = self.watched.remove(&number) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = None;
        }
        // Closing it would be enough, if nobody else had it open.
        let _ = self.registry.deregister(&mut SourceFd(&pidfd.as_raw_fd()));
    }

    fn remark(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_short_of_descriptors, true) {
            log::warn!("watching a process: {error}; its end is seen by a scan only");
        }
    }
}

/// The command line of a process, empty if the process is gone.
fn command_line(number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{number}/cmdline")) {
        let _ = file.take(COMMAND_LINE_BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
}

/// A file of a process that one read has whole, empty if the process is gone.
fn glance(number: u32, file: &str) -> Vec<u8> {
    let mut bytes = vec![0; GLANCE_BYTES];
    let file = File::open(format!("/proc/{number}/{file}"));
    let length = file.and_then(|mut file| file.read(&mut bytes)).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

/// Is a process with this `stat` a thread of the kernel (`PF_KTHREAD`)?
fn is_thread_of_kernel(stat: &[u8]) -> bool {
    let behind_name = stat.iter().rposition(|&byte| byte == b')').and_then(|end| stat.get(end..));
    let words = String::from_utf8_lossy(behind_name.unwrap_or_default()).into_owned();
    let flags = words.split_whitespace().nth(FLAGS_BEHIND_NAME).and_then(|word| word.parse().ok());
    flags.is_some_and(|flags: u32| flags & THREAD_OF_KERNEL != 0)
}

/// Is a thread of it in an uninterruptible sleep?
fn is_stuck(number: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{number}/task")) else { return false };
    threads.flatten().any(|thread| {
        let thread = thread.file_name();
        state_in(number, &format!("task/{}/stat", thread.display())) == Some(b'D')
    })
}

/// The letter of its state.
fn state(number: u32) -> Option<u8> {
    state_in(number, "stat")
}

/// The word behind the name, which is in parentheses and may hold any character.
fn state_in(number: u32, file: &str) -> Option<u8> {
    let stat = glance(number, file);
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_end + 2).copied()
}

/// Is this the command line that is meant? Its arguments are ended by zeros.
fn matches_line(conf: &ProcessConf, line: &[u8]) -> bool {
    let Some(line) = line.strip_suffix(b"\0").or_else(|| (!line.is_empty()).then_some(line)) else {
        return false;
    };
    let mut words = line.split(|&byte| byte == 0);
    if words.next() != Some(conf.command.as_bytes()) {
        return false;
    }
    let words: Vec<&[u8]> = words.collect();
    let wanted: Vec<&[u8]> = conf.params.iter().map(String::as_bytes).collect();
    match conf.params_match {
        ParamMatch::Any => true,
        ParamMatch::Exact => words == wanted,
        ParamMatch::Partial => words.starts_with(&wanted),
        ParamMatch::Initial => {
            let Some((last, before)) = wanted.split_last() else { return true };
            let counterpart = words.get(before.len());
            words.starts_with(before) && counterpart.is_some_and(|word| word.starts_with(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    fn conf(words: &[&str], params_match: ParamMatch) -> ProcessConf {
        let (command, params) = words.split_first().expect("a command");
        let params = params.iter().map(|&param| param.to_owned()).collect();
        ProcessConf { command: (*command).to_owned(), params, params_match, is_full: true }
    }

    /// As measured with keepalived 2.2.7.
    #[test]
    fn command_lines_match_as_with_keepalived() {
        use ParamMatch::{Any, Exact, Initial, Partial};
        let lines: [&[u8]; 3] = [b"sleep\x0071\0", b"sleep\x0071\x000\0", b"my name\x0072\0"];
        let count = |words: &[&str], how| {
            lines.iter().filter(|line| matches_line(&conf(words, how), line)).count()
        };
        assert_eq!(count(&["sleep"], Any), 2);
        assert_eq!(count(&["sleep", "71"], Exact), 1);
        assert_eq!(count(&["sleep", "71"], Partial), 2);
        assert_eq!(count(&["sleep", "71"], Initial), 2);
        assert_eq!(count(&["sleep", "7"], Initial), 2);
        assert_eq!(count(&["sleep", "7"], Partial), 0);
        assert_eq!(count(&["my name"], Any), 1);
        assert_eq!(count(&["my name", "72"], Exact), 1);
        assert_eq!(count(&["sleep 71"], Any), 0);
        assert_eq!(count(&["sleep", "71", "0"], Exact), 1);
        assert_eq!(count(&["sleep", "71 0"], Exact), 0);
        assert_eq!(count(&["sle"], Any), 0);
        assert_eq!(count(&["sleep", "71", "0"], Partial), 1);
        assert!(!matches_line(&conf(&["sleep"], Any), b""));
    }

    /// A watch over processes that are called as this one is, with a time of its own.
    struct World {
        poll: mio::Poll,
        watch: ProcessWatch,
        now: Time,
        name: String,
        told: Vec<u32>,
    }

    impl World {
        fn new(test: &str, quorum: u32, quorum_max: Option<u32>) -> Self {
            let name = format!("glha-{test}-{}", std::process::id());
            let poll = mio::Poll::new().expect("a poll");
            let registry = poll.registry().try_clone().expect("a registry");
            let mut watch = ProcessWatch::new(registry, 16);
            let spec = ProcessSpec { quorum, quorum_max, ..ProcessSpec::default() };
            let now = Time::from_millis(1000);
            let mut config = Config::default();
            config.processes.push(conf(&[&name], ParamMatch::Any));
            config.spec.processes.push(spec);
            watch.configure(&config, now);
            Self { poll, watch, now, name, told: Vec::new() }
        }

        fn start(&self) -> Child {
            Command::new("sleep").arg0(&self.name).arg("600").spawn().expect("sleep starts")
        }

        /// Goes on for so long in the watch's own time; exits that have happened are seen.
        fn run(&mut self, span: Duration) {
            let end = self.now + span;
            loop {
                let mut events = mio::Events::with_capacity(64);
                self.poll.poll(&mut events, Some(Duration::ZERO)).expect("polls");
                events.iter().for_each(|event| self.watch.handle_ready(event.token()));
                let told = self.watch.work(self.now);
                self.told.extend(told.into_iter().map(|(_, count)| count));
                if self.watch.is_urgent() {
                    continue;
                }
                match self.watch.deadline() {
                    Some(at) if at <= end => self.now = at.max(self.now),
                    _ => break,
                }
            }
            self.now = end;
        }

        fn told(&mut self) -> Vec<u32> {
            std::mem::take(&mut self.told)
        }
    }

    fn end(child: &mut Child) {
        child.kill().expect("is there");
        child.wait().expect("is ours");
    }

    /// A process of that name is surely seen only when its exec is over.
    fn settled(child: &Child, name: &str) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !command_line(child.id()).starts_with(name.as_bytes()) {
            assert!(std::time::Instant::now() < deadline, "{name} does not start");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_end_is_told_once_a_scan_has_confirmed_it() {
        let mut world = World::new("end", 1, None);
        let mut child = world.start();
        settled(&child, &world.name);
        world.run(Duration::from_millis(1));
        assert_eq!(world.told(), [1]);
        end(&mut child);
        world.run(Duration::ZERO);
        assert_eq!(world.told(), [0]);
        let mut child = world.start();
        settled(&child, &world.name);
        world.run(PAUSE_WHILE_MISSING);
        assert_eq!(world.told(), [1]);
        end(&mut child);
    }

    /// That scan may have passed by its successor.
    #[test]
    fn an_end_is_not_confirmed_by_a_scan_that_was_begun_before_it() {
        let mut world = World::new("midst", 1, None);
        let mut child = world.start();
        settled(&child, &world.name);
        world.run(Duration::from_millis(1));
        assert_eq!(world.told(), [1]);
        world.watch.begin_scan(world.now);
        end(&mut child);
        world.watch.forget(child.id());
        while world.watch.is_urgent() {
            assert!(world.watch.work(world.now).is_empty());
        }
        world.run(Duration::ZERO);
        assert_eq!(world.told(), [0]);
    }

    #[test]
    fn another_process_with_a_number_that_was_known_is_new() {
        let mut world = World::new("reused", 1, None);
        let (before, now) = (world.now, world.now + Duration::from_secs(60));
        let known = Known { first_seen_at: before, inode: 7, is_kernels: Some(true) };
        world.watch.known.insert(77, known);
        let same = world.watch.meet(77, 7, now);
        assert_eq!((same.first_seen_at, same.is_kernels), (before, Some(true)));
        let other = world.watch.meet(77, 8, now);
        assert_eq!((other.first_seen_at, other.is_kernels), (now, None));
    }

    #[test]
    fn threads_of_the_kernel_are_told_from_processes() {
        let kthreadd = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 14 0 0 20 0 1 0 0 0";
        let odd = b"77 (a) S 0 0 2129984) R 1 77 77 0 -1 4194560 136 0 0 0 0 0";
        assert!(is_thread_of_kernel(kthreadd));
        assert!(!is_thread_of_kernel(odd));
        assert!(!is_thread_of_kernel(b""));
        assert!(!is_thread_of_kernel(&glance(std::process::id(), "stat")));
    }

    #[test]
    fn a_daemon_that_replaces_itself_is_not_missed() {
        let mut world = World::new("again", 1, None);
        let mut old = world.start();
        settled(&old, &world.name);
        world.run(Duration::from_millis(1));
        assert_eq!(world.told(), [1]);
        let mut new = world.start();
        settled(&new, &world.name);
        end(&mut old);
        world.run(Duration::from_secs(20));
        assert!(world.told().is_empty());
        end(&mut new);
        world.run(Duration::from_secs(1));
        assert_eq!(world.told(), [0], "the new one is watched");
    }

    #[test]
    fn what_the_quorum_does_not_need_is_told_at_once() {
        let mut world = World::new("spare", 2, Some(3));
        let mut children: Vec<Child> = (0..3).map(|_| world.start()).collect();
        children.iter().for_each(|child| settled(child, &world.name));
        world.run(Duration::from_millis(1));
        assert_eq!(world.told(), [3]);
        end(&mut children[0]);
        world.run(Duration::ZERO);
        assert_eq!(world.told(), [2]);
        children.extend([world.start(), world.start()]);
        children[3..].iter().for_each(|child| settled(child, &world.name));
        world.run(PAUSE_WITH_MAXIMUM);
        assert_eq!(world.told().last(), Some(&4));
        children.drain(1..).for_each(|mut child| end(&mut child));
        world.run(Duration::from_secs(1));
        assert_eq!(world.told(), [0]);
    }

    #[test]
    fn zombies_do_not_count() {
        let mut world = World::new("zombie", 1, None);
        let mut child = world.start();
        settled(&child, &world.name);
        child.kill().expect("is there");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while state(child.id()) != Some(b'Z') {
            assert!(std::time::Instant::now() < deadline, "sleep does not end");
            std::thread::yield_now();
        }
        world.watch.tracked[0].conf.is_full = false;
        world.watch.tracked[0].conf.command = "sleep".into();
        assert_eq!(world.watch.matches(child.id()), Some(BTreeSet::new()));
        child.wait().expect("is ours");
    }
}
