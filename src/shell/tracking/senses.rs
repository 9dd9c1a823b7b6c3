//! Tracked processes and files in the loop: what is seen of them goes to the core.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::process_watch::ProcessWatch;
use crate::conf::Config;
use crate::core::Time;
use crate::core::event::Event;
use crate::shell::tracking::file_watch::FileWatch;

/// What is seen of processes and files.
pub struct Senses {
    processes: ProcessWatch,
    files: FileWatch,
    files_token: Token,
}

impl Senses {
    /// Registers with `registry`: the files under `files_token`, and the processes under
    /// [`super::process_watch::TOKENS`] tokens from `first_process` on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(registry: Registry, files_token: Token, first_process: usize) -> io::Result<Self> {
        let files = FileWatch::new();
        if let Some(fd) = files.fd() {
            let fd = fd.as_raw_fd();
            registry.register(&mut SourceFd(&fd), files_token, Interest::READABLE)?;
        }
        let processes = ProcessWatch::new(registry, first_process);
        Ok(Self { processes, files, files_token })
    }

    /// Must the loop go on at once?
    pub const fn is_urgent(&self) -> bool {
        self.processes.is_urgent()
    }

    /// When they want to be looked at next.
    pub fn deadline(&self) -> Option<Time> {
        [self.processes.deadline(), self.files.deadline()].into_iter().flatten().min()
    }

    /// Begins anew with what this configuration tracks; what is known at once is returned.
    #[must_use]
    pub fn configure(&mut self, config: &Config, is_start: bool, now: Time) -> Vec<Event> {
        self.processes.configure(config, now);
        FileWatch::init(&config.files, is_start);
        let read = self.files.configure(&config.files, now);
        read.into_iter().map(|(file, value)| Event::FileRead { file, value }).collect()
    }

    /// What has changed; of the tokens that are ready, these are its own.
    #[must_use]
    pub fn work(&mut self, tokens: &[Token], now: Time) -> Vec<Event> {
        for &token in tokens.iter().filter(|token| **token != self.files_token) {
            self.processes.handle_ready(token);
        }
        let counted = self.processes.work(now).into_iter();
        let counted = counted.map(|(process, count)| Event::ProcessesCounted { process, count });
        let read = self.files.work(tokens.contains(&self.files_token), now).into_iter();
        counted.chain(read.map(|(file, value)| Event::FileRead { file, value })).collect()
    }
}
