//! One run of a hook: what it is started with, and how it is brought to its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Once;
use std::time::Duration;

use mio::unix::pipe::{Receiver, Sender};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, chdir, execve, setgid, setgroups, setpgid, setuid};

pub use crate::conf::Ids;
use crate::core::Time;
use crate::core::event::HookEnd;
use crate::shell::host::script::{self, Program};
use crate::shell::host::sys;

/// From SIGTERM to SIGKILL, and from there to the report that nothing helps.
const GRACE: Duration = Duration::from_secs(2);
/// How often a group without its leader is looked at, since nothing tells when it is empty.
const GROUP_POLL: Duration = Duration::from_millis(50);
/// The same once SIGKILL has been of no use.
const STUCK_POLL: Duration = Duration::from_secs(1);
/// keepalived's default, for a `run` whose environment has no PATH.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is run, and with what.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// How it is called in the log: `VI_1 mount acquire`.
    pub name: String,
    /// The command; never empty.
    pub argv: Vec<String>,
    /// The whole environment; nothing of the daemon's own is added.
    pub env: Vec<(OsString, OsString)>,
    /// What it can read on its standard input, followed by end of file.
    pub stdin: Vec<u8>,
    /// Whose rights it runs with, if not the daemon's.
    pub user: Option<Ids>,
    /// When it has to be over, from its start.
    pub timeout: Option<Duration>,
    /// Unless it succeeds, every process of its group is ended before its end counts. (A run that
    /// is ended by us takes its group with it in any case.)
    pub whole_group: bool,
    /// Refuse to start it if others than root can change it (`enable_script_security`).
    pub must_be_secure: bool,
}

/// How far the ending of a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It runs by itself.
    Free,
    /// SIGTERM was sent to its group.
    Term,
    /// SIGKILL was sent to its group.
    Kill,
    /// And has not helped; that was reported.
    Stuck,
}

/// What a look at a process showed.
#[derive(Debug)]
pub(in crate::shell) enum Verdict {
    /// It goes on.
    Goes,
    /// It has just turned out that it cannot be killed; it goes on.
    Unkillable,
    /// It is over.
    Over(HookEnd),
}

/// A run that was started and is not over yet.
#[derive(Debug)]
pub(in crate::shell) struct Process {
    /// Readable at the leader's end; none if there was no descriptor left, then it is polled.
    pidfd: Option<OwnedFd>,
    /// The process, and the group that it leads.
    group: Pid,
    whole_group: bool,
    /// The leader was reaped.
    reaped: bool,
    /// How the run will be said to have ended, once that is decided.
    end: Option<HookEnd>,
    step: Step,
    step_at: Option<Time>,
    poll_at: Option<Time>,
    pub(in crate::shell) started_at: Time,
}

/// What a process is started with, and how it says that it could not be.
pub(in crate::shell) struct Pipes {
    pub(in crate::shell) stdin: Sender,
    pub(in crate::shell) stdout: Receiver,
    pub(in crate::shell) stderr: Receiver,
    pub(in crate::shell) start: Start,
}

/// How the start of a process goes on after its fork: it says what is odd and what has failed, and
/// its end of this is closed when its program runs.
#[derive(Debug)]
pub(in crate::shell) struct Start {
    pub(in crate::shell) pipe: Receiver,
    said: Vec<u8>,
    /// What is odd about the program.
    pub(in crate::shell) remark: Option<String>,
    /// Why it does not run.
    pub(in crate::shell) failure: Option<String>,
}

/// What precedes something odd, and what has failed, in the pipe of a start.
const ODD: u8 = b'?';
const FAILED: u8 = b'!';
/// No program runs in this process.
pub(in crate::shell) const STATUS_NOT_STARTED: i32 = 127;

impl Run {
    /// Starts a process for it. Everything that touches files, from the search for the program on, is
    /// done there: the file system may hang.
    pub(in crate::shell) fn spawn(&self) -> Result<(Pid, Pipes), String> {
        let failed = |error: io::Error| format!("it cannot be started: {error}");
        let env = environment(&self.env)?;
        let (theirs, stdin) = io::pipe().map_err(failed)?;
        let (out, err) = (output().map_err(failed)?, output().map_err(failed)?);
        let (start, says) = io::pipe().map_err(failed)?;
        let descriptors = [theirs.as_fd(), out.1.as_fd(), err.1.as_fd(), says.as_fd()];
        let child = |mut says: File| {
            let Err(why) = self.exec(&env, &mut says);
            let _ = say(&mut says, FAILED, &why);
            STATUS_NOT_STARTED
        };
        let pid = sys::fork(&descriptors, child).map_err(failed)?;
        // It does the same; so it has happened whoever comes first.
        let _ = setpgid(pid, pid);
        let start = Start::new(OwnedFd::from(start).into());
        let (stdout, stderr) = (OwnedFd::from(out.0).into(), OwnedFd::from(err.0).into());
        Ok((pid, Pipes { stdin: OwnedFd::from(stdin).into(), stdout, stderr, start }))
    }

    /// In the child: becomes the program. Comes back only with the reason why not.
    fn exec(&self, env: &[CString], says: &mut File) -> Result<Infallible, String> {
        let failed = |what: &'static str| move |error: Errno| format!("{what}: {error}");
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(failed("setpgid"))?;
        chdir("/").map_err(failed("/"))?;
        let path = self.env.iter().rev().find(|(name, _)| name == "PATH");
        let path = path.and_then(|(_, value)| value.to_str()).unwrap_or(PATH_DEFAULT);
        self.check_security(path)?;
        let Program { path, args, remark } = script::resolve(&self.argv, path)?;
        if let Some(remark) = remark {
            say(says, ODD, &remark).map_err(|error| error.to_string())?;
        }
        let argv: Vec<CString> = [path.as_os_str()]
            .into_iter()
            .chain(args.iter().map(OsString::as_os_str))
            .map(c_string)
            .collect::<Result<_, _>>()?;
        if let Some(ids) = self.user {
            if Uid::effective().is_root() {
                setgroups(&[]).map_err(failed("setgroups"))?;
            }
            setgid(Gid::from_raw(ids.gid)).map_err(failed("setgid"))?;
            setuid(Uid::from_raw(ids.uid)).map_err(failed("setuid"))?;
        }
        execve(&c_string(path.as_os_str())?, &argv, env)
            .map_err(|error| format!("{}: {}", path.display(), io::Error::from(error)))
    }

    fn check_security(&self, path: &str) -> Result<(), String> {
        let Some(name) = self.argv.first().filter(|_| self.must_be_secure) else {
            return Ok(());
        };
        let program = script::find(name.trim_start_matches('<'), path)?;
        script::secure(&program).map_err(|why| format!("unsafe permissions: {why}"))
    }
}

fn c_string(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes()).map_err(|_| format!("{}: a zero byte inside", text.display()))
}

/// The last of several values of a variable counts.
fn environment(env: &[(OsString, OsString)]) -> Result<Vec<CString>, String> {
    let values: BTreeMap<&OsString, &OsString> = env.iter().map(|(k, v)| (k, v)).collect();
    let text = |(name, value): (&OsString, &OsString)| {
        let mut text = name.clone();
        text.push("=");
        text.push(value);
        c_string(&text)
    };
    values.into_iter().map(text).collect()
}

/// A pipe takes this at once: it is short, and the first or second thing to be said.
fn say(says: &mut File, what: u8, text: &str) -> io::Result<()> {
    let mut bytes = vec![what];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    says.write_all(&bytes)
}

impl Start {
    const fn new(pipe: Receiver) -> Self {
        Self { pipe, said: Vec::new(), remark: None, failure: None }
    }

    /// Takes in what was said; false when there is no more to come.
    pub(in crate::shell) fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        while let Some(end) = self.said.iter().position(|byte| *byte == 0) {
            let text: Vec<u8> = self.said.drain(..=end).collect();
            let words = String::from_utf8_lossy(text.get(1..end).unwrap_or_default()).into_owned();
            match text.first() {
                Some(&ODD) => self.remark = Some(words),
                _ => self.failure = Some(words),
            }
        }
    }
}

/// A pipe for what a hook writes: our end, and the hook's, which is open for reading too.
///
/// So the hook itself keeps its pipe from breaking: when the daemon dies, its next line goes into
/// the pipe and not, as SIGPIPE, to the hook, which may be half way through an unmount. The end of
/// the stream is seen as ever, when nobody has the hook's end open any more.
fn output() -> io::Result<(PipeReader, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(both) => Ok((reader, both.into())),
        // Without /proc it is a plain pipe.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((reader, writer.into())),
        Err(error) => Err(error),
    }
}

impl Process {
    pub(in crate::shell) fn new(pid: Pid, run: &Run, now: Time) -> Self {
        let pidfd = sys::pidfd_open(pid).inspect_err(remark_no_pidfd).ok();
        Self {
            group: pid,
            poll_at: pidfd.is_none().then_some(now + GROUP_POLL),
            pidfd,
            whole_group: run.whole_group,
            reaped: false,
            end: None,
            step: Step::Free,
            step_at: run.timeout.map(|timeout| now + timeout),
            started_at: now,
        }
    }

    /// Has `register` watch for its end; if that fails, it is polled.
    pub(in crate::shell) fn watch(&mut self, register: impl FnOnce(&OwnedFd) -> io::Result<()>) {
        if let Some(pidfd) = &self.pidfd
            && let Err(error) = register(pidfd)
        {
            log::warn!("process {} cannot be watched, polling: {error}", self.group);
            self.pidfd = None;
            self.poll_at = Some(self.started_at + GROUP_POLL);
        }
    }

    /// When it wants to be looked at.
    /// Is this the process, and its status to be taken in?
    pub(in crate::shell) fn awaits(&self, pid: Pid) -> bool {
        self.group == pid && !self.reaped
    }

    pub(in crate::shell) fn deadline(&self) -> Option<Time> {
        self.step_at.into_iter().chain(self.poll_at).min()
    }

    /// Begins to end it, unless that has begun already or it is over.
    pub(in crate::shell) fn stop(&mut self, now: Time) -> Verdict {
        self.reap(now);
        if self.step == Step::Free && !self.reaped {
            self.terminate(HookEnd::Ended, now);
        }
        self.look(now)
    }

    /// Finds out how it stands, and takes the next step if it is due.
    pub(in crate::shell) fn look(&mut self, now: Time) -> Verdict {
        self.reap(now);
        if self.reaped && !(self.step != Step::Free && self.group_lives(now)) {
            let lost = || HookEnd::NotStarted("its status was lost".to_owned());
            return Verdict::Over(self.end.take().unwrap_or_else(lost));
        }
        if self.step_at.is_some_and(|at| at <= now) {
            return self.escalate(now);
        }
        Verdict::Goes
    }

    /// Takes the leader's status if it has one. From here on the end is decided.
    fn reap(&mut self, now: Time) {
        if self.reaped {
            return;
        }
        let end = match waitpid(self.group, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => HookEnd::Exited(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => HookEnd::Signalled(signal as i32),
            Ok(_) | Err(Errno::EINTR) => {
                self.poll_at = self.pidfd.is_none().then_some(now + GROUP_POLL);
                return;
            }
            Err(error) => HookEnd::NotStarted(format!("its status was lost: {error}")),
        };
        self.reaped = true;
        self.pidfd = None;
        let end = self.end.take().unwrap_or(end);
        if self.step == Step::Free && self.whole_group && !end.is_success() {
            self.terminate(end, now);
        } else {
            self.end = Some(end);
        }
    }

    fn terminate(&mut self, end: HookEnd, now: Time) {
        self.end = Some(end);
        self.step = Step::Term;
        self.step_at = Some(now + GRACE);
        self.signal(Signal::SIGTERM);
    }

    fn escalate(&mut self, now: Time) -> Verdict {
        self.step_at = Some(now + GRACE);
        match self.step {
            Step::Free => self.terminate(HookEnd::TimedOut, now),
            Step::Term => {
                self.step = Step::Kill;
                self.signal(Signal::SIGKILL);
            }
            Step::Kill => {
                self.step = Step::Stuck;
                self.step_at = None;
                return Verdict::Unkillable;
            }
            Step::Stuck => self.step_at = None,
        }
        Verdict::Goes
    }

    /// The number of a group is not given to anyone else while a process is in it or its leader
    /// is unreaped; one of both holds whenever this is called, give or take one poll.
    fn signal(&self, signal: Signal) {
        match killpg(self.group, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => log::warn!("{signal} to process group {}: {error}", self.group),
        }
    }

    /// Is there a process left in the group of a reaped leader? If so, asks to be looked at again.
    fn group_lives(&mut self, now: Time) -> bool {
        let killed = matches!(self.step, Step::Kill | Step::Stuck);
        let lives = killpg(self.group, None) != Err(Errno::ESRCH)
            && !(killed && only_zombies(self.group.as_raw()));
        let pause = if self.step == Step::Stuck { STUCK_POLL } else { GROUP_POLL };
        self.poll_at = lives.then_some(now + pause);
        lives
    }
}

/// Without a descriptor that tells of its end a process is looked at again and again, which costs a
/// little and is true of every other one too.
fn remark_no_pidfd(error: &io::Error) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        log::info!("pidfd_open: {error}; the ends of scripts are found by looking for them");
    });
}

/// Is everything in the group dead, and only not reaped, as orphans are where process 1 of a
/// container does not do its duty?
fn only_zombies(group: i32) -> bool {
    let Ok(folder) = fs::read_dir("/proc") else {
        return false;
    };
    !folder.flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())
            && fs::read_to_string(entry.path().join("stat"))
                .is_ok_and(|stat| lives_in_group(&stat, group))
    })
}

/// Reads a line of /proc/PID/stat: state and process group follow the name in parentheses, which
/// may itself contain any character.
fn lives_in_group(stat: &str, group: i32) -> bool {
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next().unwrap_or_default();
    let pgrp = fields.nth(1).and_then(|field| field.parse::<i32>().ok());
    pgrp == Some(group) && !matches!(state, "Z" | "X")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_does_not_live() {
        assert!(lives_in_group("12 (a) Z 9 (b) S 1 77 77 0", 77));
        assert!(!lives_in_group("12 (sh) S 1 77 77 0", 78));
        assert!(!lives_in_group("12 (sh) Z 1 77 77 0", 77));
        assert!(!lives_in_group("", 77));
    }
}
