//! How records come to their file: by a process of its own, since the disk may hang.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::RecordFile;
use crate::shell::host::scribe::Scribe;

/// A process that has ended is started again, but not more often.
const START_EVERY: Duration = Duration::from_secs(10);
/// So long the daemon waits for the disk at its end.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// What writes records.
#[derive(Debug)]
pub struct Pen {
    path: PathBuf,
    scribe: Option<Scribe>,
    started_at: Instant,
    dropped_count: u64,
}

impl Pen {
    /// For this file; `scribe` is what [`spare`] has started, if anything.
    pub fn new(file: RecordFile, scribe: Option<Scribe>) -> Self {
        let path = file.into_path();
        let mut pen = Self { path, scribe, started_at: Instant::now(), dropped_count: 0 };
        pen.begin();
        pen
    }

    /// Has the process, one that waits or a new one, write to the file.
    fn begin(&mut self) {
        self.started_at = Instant::now();
        let begun = self.scribe.take().map_or_else(start, Ok).and_then(|scribe| {
            scribe.send(self.path.as_os_str().as_bytes())?;
            Ok(scribe)
        });
        self.scribe =
            begun.inspect_err(|error| log::error!("{}: {error}", self.path.display())).ok();
    }

    /// Hands a line over. One for which there is no room is left out and counted.
    pub fn write(&mut self, line: &str) {
        if self.scribe.is_none() && self.started_at.elapsed() >= START_EVERY {
            self.begin();
        }
        let sent = self
            .scribe
            .as_ref()
            .map_or(Err(io::ErrorKind::NotConnected.into()), |scribe| scribe.send(line.as_bytes()));
        match sent {
            Ok(()) if self.dropped_count > 0 => {
                let count = std::mem::take(&mut self.dropped_count);
                log::warn!(
                    "{}: is written again; {count} records are missing",
                    self.path.display()
                );
            }
            Ok(()) => {}
            Err(error) => {
                self.dropped_count += 1;
                if self.dropped_count == 1 {
                    let path = self.path.display();
                    log::error!("{path}: {error}; what happens is recorded in memory only");
                }
            }
        }
    }

    /// What becomes readable when something is wrong.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.scribe.as_ref().map(AsFd::as_fd)
    }

    /// Says what is wrong. True if there is another descriptor now.
    pub fn handle_ready(&mut self) -> bool {
        while let Some(text) = self.scribe.as_ref().and_then(Scribe::heard) {
            if text.is_empty() {
                log::error!("{}: the process that writes it has ended", self.path.display());
                self.scribe = None;
                if self.started_at.elapsed() >= START_EVERY {
                    self.begin();
                }
                return true;
            }
            log::error!("{text}");
        }
        false
    }

    /// Waits a little until all is written.
    pub fn finish(self) {
        let all = self.scribe.is_none_or(|scribe| scribe.finish(FINISH_MAX));
        if !all {
            log::warn!("{}: still being written, by a process that goes on", self.path.display());
        }
    }
}

/// Starts what will write, before it is known where. It keeps what this process has in its memory: the
/// earlier, the less.
pub fn spare() -> Option<Scribe> {
    // The next try says why it failed.
    start().ok()
}

/// A process that is told the file first, and then the lines.
fn start() -> io::Result<Scribe> {
    Scribe::start(None, |mut inbox| {
        let Some(path) = inbox.take() else { return };
        let mut file = RecordFile::new(PathBuf::from(OsStr::from_bytes(path)));
        while let Some(line) = inbox.take() {
            if let Err(why) = file.append(line) {
                inbox.tell(&why);
            }
        }
    })
}
