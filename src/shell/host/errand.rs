//! Short work on a disk, each piece done by a process of its own, and never waited for.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use nix::sys::signal::SigSet;

use crate::shell::host::sys;

/// What is done; each at most once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The file of holds is written.
    Holds,
    /// keepalived.data is.
    Data,
    /// keepalived.json is.
    Json,
    /// keepalived.stats is.
    Stats,
}

const ERRANDS: [Errand; 4] = [Errand::Holds, Errand::Data, Errand::Json, Errand::Stats];
/// So many tokens belong to [`Errands`].
pub const TOKENS: usize = ERRANDS.len();
/// What a process says when its work is done, and not why it could not be.
const DONE: &str = "\0";
/// How these processes are called.
const NAME: &std::ffi::CStr = c"glha-errand";

/// Those that are under way.
#[derive(Debug)]
pub struct Errands {
    registry: Registry,
    first_token: usize,
    running: [Option<Running>; TOKENS],
}

#[derive(Debug)]
struct Running {
    /// Says what has failed, and ends with the work.
    pipe: Receiver,
    said: Vec<u8>,
}

impl Errands {
    /// Registers with `registry`, using [`TOKENS`] tokens from `first_token` on.
    pub const fn new(registry: Registry, first_token: usize) -> Self {
        Self { registry, first_token, running: [const { None }; TOKENS] }
    }

    /// Is it under way? A disk that hangs may make that last.
    pub fn is_running(&self, errand: Errand) -> bool {
        self.running.get(errand as usize).is_some_and(Option::is_some)
    }

    /// Has a process do `work`, which says why it could not.
    ///
    /// # Errors
    /// No process could be started, or the same errand is still under way.
    pub fn start(
        &mut self,
        errand: Errand,
        work: impl FnOnce() -> Result<(), String>,
    ) -> io::Result<()> {
        let token = Token(self.first_token + errand as usize);
        let Some(place @ None) = self.running.get_mut(errand as usize) else {
            return Err(io::Error::other("the last one is still being written"));
        };
        let (pipe, says) = io::pipe()?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let null = null.as_fd();
        let mut pipe = Receiver::from(OwnedFd::from(pipe));
        pipe.set_nonblocking(true)?;
        self.registry.register(&mut pipe, token, Interest::READABLE)?;
        sys::fork(&[null, null, null, says.as_fd()], |mut says| {
            // What is begun is finished, whatever becomes of the daemon.
            let _ = SigSet::all().thread_set_mask();
            let _ = nix::sys::prctl::set_name(NAME);
            let done = work();
            let words = done.as_ref().map_or_else(String::as_str, |()| DONE);
            i32::from(says.write_all(words.as_bytes()).is_err() || done.is_err())
        })?;
        *place = Some(Running { pipe, said: Vec::new() });
        Ok(())
    }

    /// One of our descriptors is ready; other tokens are left alone. Tells what was done, or why not.
    pub fn handle_ready(&mut self, token: Token) -> Option<(Errand, Result<(), String>)> {
        let errand = *ERRANDS.get(token.0.checked_sub(self.first_token)?)?;
        let place = self.running.get_mut(errand as usize)?;
        if !place.as_mut()?.is_over() {
            return None;
        }
        // Its status says nothing that is not known.
        let Running { said, .. } = place.take()?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let result = match said.as_str() {
            DONE => Ok(()),
            "" => Err("the process that wrote it was killed".to_owned()),
            _ => Err(said),
        };
        Some((errand, result))
    }
}

impl Running {
    /// Takes in what was said. True at the end.
    fn is_over(&mut self) -> bool {
        let mut buffer = [0; 1024];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }
}
