//! Hooks as supervised children: started, fed, read, limited and ended, without ever waiting.
//!
//! [`Children`] is driven by the loop: it registers its descriptors under tokens of its own, is
//! told when one is ready or a deadline has come, and hands out what has ended. A child lives on
//! when the daemon dies (no parent-death signal): half a fsck is worse than none.
//!
//! That a hook's standard input may be closed at any time is harmless, because Rust's runtime
//! ignores SIGPIPE in the daemon and resets it in the children.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::unix::pipe::{Receiver, Sender};
use mio::{Interest, Registry, Token};
use nix::unistd::Pid;

use crate::core::Time;
use crate::core::event::HookEnd;
use crate::core::spec::{CheckId, InstanceId};
use crate::shell::hooks::output::{Output, Stream};
use crate::shell::hooks::run::{Pipes, Process, Run, STATUS_NOT_STARTED, Start, Verdict};
use crate::shell::host::sys::close_others_on_exec;
use crate::work::Key;

/// So many hooks run at the same time; more wait for their turn.
pub const RUNS_MAX: usize = 256;
/// So many runs are started in one turn of the loop, and adverts come first: with 30 MB of memory a fork
/// costs a millisecond or two.
pub const STARTS_PER_TURN_MAX: usize = 4;
/// So many outputs stay open after their hook has ended, for services it started.
pub const LINGERING_MAX: usize = 64;
/// So much of an output is read in one turn of the loop.
pub const READ_PER_TURN_BYTES_MAX: usize = 64 * 1024;
/// So many scripts are remembered as complained about.
const REMARKS_MAX: usize = 1024;
/// A time that is past, and not the zero that disarms a timerfd.
const AT_ONCE: Time = Time::from_nanos(1);
const SLOTS_MAX: usize = RUNS_MAX + LINGERING_MAX;
const TOKENS_PER_SLOT: usize = 5;
/// So many tokens belong to [`Children`], from the one given to [`Children::new`] on.
pub const TOKENS: usize = SLOTS_MAX * TOKENS_PER_SLOT;

/// The key of runs that are disowned; no check has it.
const NOBODY: Key = Key::Check(CheckId(usize::MAX));

/// What has become of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is over.
    Hook {
        /// Whose it was.
        key: Key,
        /// How it ended.
        end: HookEnd,
        /// The last lines it wrote, oldest first.
        output: Vec<String>,
        /// From its start to its end.
        took: Duration,
    },
    /// SIGKILL did not end it (a process stuck in the kernel). Its key stays taken, and its
    /// [`Ended::Hook`] follows if it ever ends.
    Unkillable {
        /// Whose it is.
        key: Key,
    },
}

/// All hooks that run or wait for their turn.
#[derive(Debug)]
pub struct Children {
    registry: Registry,
    first_token: usize,
    slots: Vec<Option<Slot>>,
    waiting: VecDeque<Waiting>,
    /// Slots without a process, oldest first.
    lingering: VecDeque<usize>,
    ended: Vec<Ended>,
    mounts_started: Vec<(InstanceId, u32)>,
    remarked: HashSet<String>,
}

/// A run that has not been started yet.
#[derive(Debug)]
struct Waiting {
    key: Key,
    run: Run,
}

/// A run that was started, or what is left of it: its output, while somebody holds it open.
#[derive(Debug)]
struct Slot {
    key: Key,
    process: Option<Process>,
    /// Until its program runs, or it is known why not.
    start: Option<Start>,
    stdin: Option<Feed>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    output: Output,
}

/// Standard input, as far as it is not written yet.
#[derive(Debug)]
struct Feed {
    pipe: Sender,
    bytes: Vec<u8>,
    written: usize,
}

/// The descriptors of a slot, in the order of their tokens.
#[derive(Clone, Copy, Debug)]
enum Part {
    Pidfd,
    Start,
    Stdin,
    Stdout,
    Stderr,
}

impl Children {
    /// Registers with `registry`, using [`TOKENS`] tokens from `first_token` on.
    ///
    /// Every descriptor of the process from 3 on is made close-on-exec: those it inherited are not
    /// for hooks.
    pub fn new(registry: Registry, first_token: usize) -> Self {
        if let Err(error) = close_others_on_exec() {
            log::warn!("close_range: {error}; hooks inherit what the daemon has inherited");
        }
        Self {
            registry,
            first_token,
            slots: Vec::new(),
            waiting: VecDeque::new(),
            lingering: VecDeque::new(),
            ended: Vec::new(),
            remarked: HashSet::new(),
            mounts_started: Vec::new(),
        }
    }

    /// Puts a run in the line of those to be started; [`Self::handle_timeout`] starts it, in the
    /// same or the next turn of the loop. Mount hooks go before everything else. False, and
    /// nothing happens, if the key has a run already.
    pub fn start(&mut self, key: Key, run: Run) -> bool {
        if self.running(key) {
            log::debug!("{}: still running, not started again", run.name);
            return false;
        }
        let urgent = |waiting: &Waiting| matches!(waiting.key, Key::Mount(_));
        let waiting = Waiting { key, run };
        let place = match key {
            Key::Mount(_) => self.waiting.iter().take_while(|other| urgent(other)).count(),
            Key::Check(_) | Key::Notify(_) | Key::Group(_) | Key::Fifo(_) | Key::Edge => {
                self.waiting.len()
            }
        };
        self.waiting.insert(place, waiting);
        true
    }

    /// Is this process one of the runs, whose status is to be taken in?
    pub fn awaits(&self, pid: Pid) -> bool {
        let processes = self.slots.iter().flatten().filter_map(|slot| slot.process.as_ref());
        processes.into_iter().any(|process| process.awaits(pid))
    }

    /// Ends the run of this key, if it has one: SIGTERM, later SIGKILL, to its group.
    pub fn stop(&mut self, key: Key, now: Time) {
        self.stop_matching(|other| other == key, now);
    }

    /// Ends every run whose key is `meant`.
    pub fn stop_matching(&mut self, meant: impl Fn(Key) -> bool, now: Time) {
        let (stopped, kept) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| meant(w.key));
        self.waiting = kept;
        for Waiting { key, .. } in stopped {
            self.report(key, HookEnd::Ended, Vec::new(), Duration::ZERO);
        }
        for index in 0..self.slots.len() {
            let verdict = self.slot(index).filter(|slot| meant(slot.key));
            let verdict = verdict.and_then(|slot| slot.process.as_mut()).map(|p| p.stop(now));
            self.settle(index, verdict, now);
        }
    }

    /// One of our descriptors is ready. Other tokens are left alone.
    pub fn handle_ready(&mut self, token: Token, now: Time) {
        let Some(place) = token.0.checked_sub(self.first_token) else {
            return;
        };
        let index = place / TOKENS_PER_SLOT;
        match place % TOKENS_PER_SLOT {
            0 => self.look(index, now),
            1 => self.hear(index),
            2 => self.feed(index),
            3 => self.read(index, Stream::Out),
            _ => self.read(index, Stream::Err),
        }
        self.free_if_silent(index);
    }

    /// Carries out what is due: deadlines, and the start of what waits.
    pub fn handle_timeout(&mut self, now: Time) {
        for index in 0..self.slots.len() {
            let due = self.slot(index).and_then(|slot| slot.process.as_ref()?.deadline());
            if due.is_some_and(|at| at <= now) {
                self.look(index, now);
            }
        }
        for _ in 0..STARTS_PER_TURN_MAX {
            if self.runs_count() >= RUNS_MAX {
                break;
            }
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            self.spawn(waiting, now);
        }
    }

    /// When [`Self::handle_timeout`] and [`Self::drain`] want to be called.
    pub fn deadline(&self) -> Option<Time> {
        let startable = !self.waiting.is_empty() && self.runs_count() < RUNS_MAX;
        if startable || !self.ended.is_empty() {
            return Some(AT_ONCE);
        }
        let processes = self.slots.iter().flatten().filter_map(|slot| slot.process.as_ref());
        processes.filter_map(Process::deadline).min()
    }

    /// The mount hooks that were started since the last call, and their process ids.
    pub fn mounts_started(&mut self) -> Vec<(InstanceId, u32)> {
        std::mem::take(&mut self.mounts_started)
    }

    /// Everything that has ended since the last call, in its order.
    pub fn drain(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Has this key a run, started or waiting?
    pub fn running(&self, key: Key) -> bool {
        self.waiting.iter().any(|waiting| waiting.key == key)
            || self.slots.iter().flatten().any(|slot| slot.key == key && slot.process.is_some())
    }

    /// Ends all runs with such a key, and tells nobody of their ends: what they would say is about
    /// something that was configured otherwise.
    pub fn disown_matching(&mut self, is_it: impl Fn(Key) -> bool, now: Time) {
        self.stop_matching(&is_it, now);
        self.waiting.retain(|waiting| !is_it(waiting.key));
        for slot in self.slots.iter_mut().flatten().filter(|slot| is_it(slot.key)) {
            slot.key = NOBODY;
        }
        self.ended.retain(|ended| {
            let (Ended::Hook { key, .. } | Ended::Unkillable { key }) = ended;
            !is_it(*key)
        });
    }

    /// Is there no run, started or waiting?
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.runs_count() == 0
    }

    fn runs_count(&self) -> usize {
        self.slots.iter().flatten().filter(|slot| slot.process.is_some()).count()
    }

    fn slot(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)?.as_mut()
    }

    fn token(&self, index: usize, part: Part) -> Token {
        Token(self.first_token + index * TOKENS_PER_SLOT + part as usize)
    }

    fn report(&mut self, key: Key, end: HookEnd, output: Vec<String>, took: Duration) {
        self.ended.push(Ended::Hook { key, end, output, took });
    }

    fn spawn(&mut self, Waiting { key, run }: Waiting, now: Time) {
        let (pid, Pipes { stdin, stdout, stderr, start }) = match run.spawn() {
            Ok(started) => started,
            Err(why) => {
                self.report(key, HookEnd::NotStarted(why), Vec::new(), Duration::ZERO);
                return;
            }
        };
        if let Key::Mount(instance) = key {
            self.mounts_started.push((instance, pid.as_raw().unsigned_abs()));
        }
        let slot = Slot {
            key,
            process: Some(Process::new(pid, &run, now)),
            start: Some(start),
            stdin: Some(Feed::new(stdin, run.stdin)),
            stdout: Some(stdout),
            stderr: Some(stderr),
            output: Output::new(run.name),
        };
        let index = self.place(slot);
        self.register(index);
        self.feed(index);
    }

    /// Takes in what a process says before its program runs.
    fn hear(&mut self, index: usize) {
        let Some(slot) = self.slot(index) else { return };
        let Some(start) = &mut slot.start else { return };
        let goes_on = start.read();
        let (remark, has_failed) = (start.remark.take(), start.failure.is_some());
        let name = slot.output.name().to_owned();
        if !goes_on && !has_failed {
            slot.start = None;
        }
        self.remark(&name, remark);
    }

    /// Says once what is odd about a script.
    fn remark(&mut self, name: &str, remark: Option<String>) {
        let Some(remark) = remark else {
            return;
        };
        if self.remarked.len() < REMARKS_MAX && self.remarked.insert(remark.clone()) {
            log::warn!("{name}: {remark}; keepalived would not run it at all");
        }
    }

    fn place(&mut self, slot: Slot) -> usize {
        if let Some(index) = self.slots.iter().position(Option::is_none) {
            self.slots[index] = Some(slot);
            return index;
        }
        self.slots.push(Some(slot));
        self.slots.len() - 1
    }

    /// What cannot be registered is closed; a process is then polled.
    fn register(&mut self, index: usize) {
        let [pidfd, start, stdin, stdout, stderr] =
            [Part::Pidfd, Part::Start, Part::Stdin, Part::Stdout, Part::Stderr]
                .map(|part| self.token(index, part));
        let registry = &self.registry;
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if let Some(process) = &mut slot.process {
            process.watch(|fd| {
                registry.register(&mut SourceFd(&fd.as_raw_fd()), pidfd, Interest::READABLE)
            });
        }
        if let Some(Start { pipe, .. }) = &mut slot.start {
            // Unwatched it is read at the end.
            let watched = pipe.set_nonblocking(true);
            let _ = watched.and_then(|()| registry.register(pipe, start, Interest::READABLE));
        }
        keep_if(&mut slot.stdin, |feed| {
            feed.pipe.set_nonblocking(true)?;
            registry.register(&mut feed.pipe, stdin, Interest::WRITABLE)
        });
        for (pipe, token) in [(&mut slot.stdout, stdout), (&mut slot.stderr, stderr)] {
            keep_if(pipe, |pipe| {
                pipe.set_nonblocking(true)?;
                registry.register(pipe, token, Interest::READABLE)
            });
        }
    }

    fn look(&mut self, index: usize, now: Time) {
        let verdict = self.slot(index).and_then(|slot| slot.process.as_mut()).map(|p| p.look(now));
        self.settle(index, verdict, now);
    }

    fn settle(&mut self, index: usize, verdict: Option<Verdict>, now: Time) {
        match verdict {
            None | Some(Verdict::Goes) => {}
            Some(Verdict::Unkillable) => {
                if let Some(key) = self.slot(index).map(|slot| slot.key) {
                    self.ended.push(Ended::Unkillable { key });
                }
            }
            Some(Verdict::Over(end)) => self.finish(index, end, now),
        }
    }

    /// The run is over. What it has written is taken in; if somebody still holds its output, that
    /// stays open, so that a service it started is not killed by its own next line.
    fn finish(&mut self, index: usize, end: HookEnd, now: Time) {
        self.hear(index);
        self.read(index, Stream::Out);
        self.read(index, Stream::Err);
        let Some(slot) = self.slot(index) else {
            return;
        };
        let end = match (end, slot.start.take().and_then(|start| start.failure)) {
            (HookEnd::Exited(STATUS_NOT_STARTED), Some(why)) => HookEnd::NotStarted(why),
            (end, _) => end,
        };
        let took = slot.process.take().map_or(Duration::ZERO, |p| now.since(p.started_at));
        slot.stdin = None;
        slot.output.flush();
        slot.output.report_unlogged();
        let (key, output) = (slot.key, slot.output.take_kept());
        self.report(key, end, output, took);
        self.lingering.push_back(index);
        self.free_if_silent(index);
        if self.lingering.len() > LINGERING_MAX
            && let Some(oldest) = self.lingering.pop_front()
        {
            self.free(oldest);
        }
    }

    /// Gives up a slot without process once nobody can write to it any more.
    fn free_if_silent(&mut self, index: usize) {
        let silent = |slot: &mut Slot| {
            slot.process.is_none() && slot.stdout.is_none() && slot.stderr.is_none()
        };
        if self.slot(index).is_some_and(silent) {
            self.lingering.retain(|other| *other != index);
            self.free(index);
        }
    }

    fn free(&mut self, index: usize) {
        if let Some(mut slot) = self.slots.get_mut(index).and_then(Option::take) {
            slot.output.flush();
            slot.output.report_unlogged();
        }
    }

    fn feed(&mut self, index: usize) {
        if let Some(slot) = self.slot(index)
            && slot.stdin.as_mut().is_some_and(Feed::is_done)
        {
            slot.stdin = None;
        }
    }

    fn read(&mut self, index: usize, stream: Stream) {
        let part = match stream {
            Stream::Out => Part::Stdout,
            Stream::Err => Part::Stderr,
        };
        let token = self.token(index, part);
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let pipe = match stream {
            Stream::Out => &mut slot.stdout,
            Stream::Err => &mut slot.stderr,
        };
        let registry = &self.registry;
        keep_if(pipe, |pipe| {
            if read_some(pipe, |bytes| slot.output.take(stream, bytes))? {
                return Ok(());
            }
            // Readiness is told once per edge; what is left has to be asked for again.
            registry.reregister(pipe, token, Interest::READABLE)
        });
    }
}

impl Feed {
    const fn new(pipe: Sender, bytes: Vec<u8>) -> Self {
        Self { pipe, bytes, written: 0 }
    }

    /// Writes what the pipe takes. Done when all is written, or nobody wants to read it.
    fn is_done(&mut self) -> bool {
        loop {
            let left = self.bytes.get(self.written..).unwrap_or_default();
            if left.is_empty() {
                return true;
            }
            match self.pipe.write(left) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// Drops the value if something about it fails.
fn keep_if<T>(place: &mut Option<T>, action: impl FnOnce(&mut T) -> io::Result<()>) {
    if place.as_mut().is_some_and(|value| action(value).is_err()) {
        *place = None;
    }
}

/// Reads what there is, within the bound of a turn. True if nothing is left for now; the end of
/// the stream is an error.
fn read_some(pipe: &mut Receiver, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
    let mut buffer = [0; 8192];
    let mut taken = 0;
    while taken < READ_PER_TURN_BYTES_MAX {
        match pipe.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                taken += count;
                take(buffer.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
