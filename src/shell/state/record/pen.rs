//! How records come to their file: by a process of its own, since the disk may hang.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
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
    /// For this file.
    pub fn new(file: RecordFile) -> Self {
        let path = file.into_path();
        Self { scribe: start(&path), path, started_at: Instant::now(), dropped_count: 0 }
    }

    /// Hands a line over. One for which there is no room is left out and counted.
    pub fn write(&mut self, line: &str) {
        if self.scribe.is_none() && self.started_at.elapsed() >= START_EVERY {
            self.start_again();
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
                    self.start_again();
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

    fn start_again(&mut self) {
        self.started_at = Instant::now();
        self.scribe = start(&self.path);
    }
}

fn start(path: &Path) -> Option<Scribe> {
    let started = Scribe::start(None, |mut inbox| {
        let mut file = RecordFile::new(path.to_owned());
        while let Some(line) = inbox.take() {
            if let Err(why) = file.append(line) {
                inbox.tell(&why);
            }
        }
    });
    started.inspect_err(|error| log::error!("{}: {error}", path.display())).ok()
}
