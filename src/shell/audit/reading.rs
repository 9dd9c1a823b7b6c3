//! A configuration is read beside the running loop: its files, users, groups and scripts may be on a
//! disk or known to a server that does not answer.
//!
//! This is the daemon's only thread, and lives only so long. It is no process, since what it makes is
//! a large value that it can simply hand over. It blocks all signals, is in the network namespace that
//! the daemon has entered before, changes nothing that belongs to the whole process, and a fork
//! meanwhile copies the loop's thread alone.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use mio::{Registry, Token, Waker};
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;

use crate::conf::{Context, Loaded};
use crate::core::Time;
use crate::shell::audit::load;

/// A reading that takes longer is given up: what it finds out after that is not used.
const READING_MAX: Duration = Duration::from_secs(60);

/// What is read, and where.
pub struct Task {
    /// The configuration file.
    pub path: PathBuf,
    /// What it is told from outside.
    pub context: Context,
    /// A file that is there for so long.
    pub mark: Option<PathBuf>,
}

/// The reading of a configuration, one at a time.
pub struct Reading {
    waker: Arc<Waker>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    result: Receiver<io::Result<Loaded>>,
    /// None once it was given up; the thread still waits.
    give_up_at: Option<Time>,
}

impl Reading {
    /// Wakes the loop by `token`.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { waker: Arc::new(Waker::new(registry, token)?), under_way: None })
    }

    /// Is a configuration being read?
    pub const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to read one.
    ///
    /// # Errors
    /// No thread could be started, or the last one still waits.
    pub fn begin(&mut self, task: Task, now: Time) -> io::Result<()> {
        if self.is_under_way() {
            return Err(io::Error::other(
                "an earlier reload still waits for a file or a directory server",
            ));
        }
        let (sender, result) = sync_channel(1);
        let waker = Arc::clone(&self.waker);
        thread::Builder::new().name("glha-reload".to_owned()).spawn(move || {
            let _ = SigSet::all().thread_block();
            let loaded = task.read();
            // Nobody waits any more if it was given up.
            let _ = sender.send(loaded);
            let _ = waker.wake();
        })?;
        self.under_way = Some(UnderWay { result, give_up_at: Some(now + READING_MAX) });
        Ok(())
    }

    /// The configuration, once it is read or given up.
    pub fn take(&mut self, now: Time) -> Option<io::Result<Loaded>> {
        let under_way = self.under_way.as_mut()?;
        let result = match under_way.result.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("its reading has failed")),
            Err(TryRecvError::Empty) => {
                under_way.give_up_at.take_if(|at| *at <= now)?;
                let seconds = READING_MAX.as_secs();
                return Some(Err(io::Error::other(format!(
                    "not read in {seconds} s: a file or a directory server does not answer"
                ))));
            }
        };
        let is_wanted = self.under_way.take()?.give_up_at.is_some();
        is_wanted.then_some(result)
    }

    /// When it is given up.
    pub fn deadline(&self) -> Option<Time> {
        self.under_way.as_ref()?.give_up_at
    }
}

impl Task {
    fn read(&self) -> io::Result<Loaded> {
        let marked = self.mark.as_ref().filter(|path| {
            let made = make(path);
            made.inspect_err(|error| log::warn!("reload_file {}: {error}", path.display())).is_ok()
        });
        let loaded = load::load_here(&self.path, &self.context);
        if let Some(path) = marked {
            let _ = fs::remove_file(path);
        }
        loaded
    }
}

/// Makes an empty file: who changes the configuration waits for its end.
fn make(path: &PathBuf) -> io::Result<()> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags.bits());
    options.open(path).map(drop)
}
