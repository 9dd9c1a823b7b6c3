//! The client's side of the control socket: it asks, and waits for a bounded time.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::shell::operator::control::protocol::{Reply, Request};
use crate::shell::operator::control::{RUN_FOLDER, SOCKET};

/// A daemon that has not answered for so long does not.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A daemon that has too many clients is asked again for so long,
const BUSY_MAX: Duration = Duration::from_secs(5);
/// after this pause.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// One that was killed does not listen for longer.
const GOING_MAX: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// There is no daemon.
    NotRunning(String),
    /// The daemon says no.
    Refused(Box<Reply>),
    /// Anything else.
    Failed(String),
}

/// A connection that has been accepted and has a request on its way.
pub struct Answer {
    lines: BufReader<UnixStream>,
    first: String,
}

/// Which folder of run-time files is meant: the one given; otherwise the usual one; otherwise the
/// only one below it that has a socket, that of a daemon with an `instance` or a namespace.
///
/// # Errors
/// There are several, and which.
pub fn folder(given: Option<&Path>) -> Result<PathBuf, Trouble> {
    let usual = PathBuf::from(RUN_FOLDER);
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if usual.join(SOCKET).exists() {
        return Ok(usual);
    }
    let entries = std::fs::read_dir(&usual).into_iter().flatten().flatten();
    let below = entries.map(|entry| entry.path()).filter(|path| path.join(SOCKET).exists());
    let mut found: Vec<PathBuf> = below.collect();
    found.sort();
    if found.len() > 1 {
        let list: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
        let text = format!("there are several daemons; name one by --run: {}", list.join(", "));
        return Err(Trouble::Failed(text));
    }
    Ok(found.pop().unwrap_or(usual))
}

/// The folder of the daemon with this process id, which is asked of the kernel by its socket.
///
/// # Errors
/// No socket below the usual folder is that daemon's.
pub fn folder_of(pid: i32) -> Result<PathBuf, Trouble> {
    let usual = PathBuf::from(RUN_FOLDER);
    let entries = std::fs::read_dir(&usual).into_iter().flatten().flatten();
    let mut all = std::iter::once(usual.clone()).chain(entries.map(|entry| entry.path()));
    let is_meant = |folder: &PathBuf| {
        let stream = connect(&folder.join(SOCKET));
        let peer = stream.and_then(|stream| Ok(getsockopt(&stream, PeerCredentials)?));
        peer.is_ok_and(|peer| peer.pid() == pid)
    };
    all.find(is_meant).ok_or_else(|| {
        let shown = usual.display();
        Trouble::NotRunning(format!("no socket in {shown} is that of a glha with process id {pid}"))
    })
}

/// The process that listens at the socket of this folder, after a moment in which one that was killed
/// may go; 0 if its id cannot be told.
pub fn listener(folder: &Path) -> Option<i32> {
    let give_up_at = Instant::now() + GOING_MAX;
    loop {
        let stream = match connect(&folder.join(SOCKET)) {
            Ok(stream) => Some(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => return None,
        };
        if Instant::now() >= give_up_at {
            let peer = stream.and_then(|stream| getsockopt(&stream, PeerCredentials).ok());
            return Some(peer.map_or(0, |peer| peer.pid()));
        }
        drop(stream);
        thread::sleep(BUSY_PAUSE);
    }
}

/// Asks, and returns the first line of the answer and what follows it.
///
/// # Errors
/// There is no daemon, or it does not answer in time.
pub fn ask(folder: &Path, request: &Request) -> Result<Answer, Trouble> {
    let give_up_at = Instant::now() + BUSY_MAX;
    loop {
        let answer = ask_once(&folder.join(SOCKET), request)?;
        let busy = refusal(&answer.first).filter(|reply| reply.error.as_deref() == Some("busy"));
        match busy {
            Some(_) if Instant::now() < give_up_at => thread::sleep(BUSY_PAUSE),
            Some(reply) => return Err(Trouble::Refused(Box::new(reply))),
            None => return Ok(answer),
        }
    }
}

fn ask_once(path: &Path, request: &Request) -> Result<Answer, Trouble> {
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Trouble::NotRunning(format!("glha is not running (nobody listens at {shown})"))
        }
        io::ErrorKind::PermissionDenied => {
            Trouble::Failed(format!("{shown}: {error}; this is for root"))
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Trouble::Failed(format!(
            "glha does not answer at {shown}: it is stopped or stuck; see its process and its log"
        )),
        _ => Trouble::Failed(format!("{shown}: {error}")),
    };
    let mut stream = connect(path).map_err(failed)?;
    // Strings and numbers always serialise.
    let mut line = serde_json::to_vec(request).unwrap_or_default();
    line.push(b'\n');
    // One that has too many clients says so and goes, without reading this.
    let sent = stream.write_all(&line);
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    match lines.read_line(&mut first) {
        Ok(0) => {
            let why = sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
            Err(Trouble::Failed(format!("{shown}: no answer ({why})")))
        }
        Ok(_) => Ok(Answer { lines, first }),
        Err(error) => Err(failed(error)),
    }
}

/// Connecting waits too, where the daemon does not take connections any more.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    socket.set_write_timeout(Some(ANSWER_MAX))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Is this line a refusal?
fn refusal(line: &str) -> Option<Reply> {
    serde_json::from_str::<Reply>(line).ok().filter(|reply| !reply.ok)
}

impl Answer {
    /// The answer is this one line: as it came, and what it says.
    ///
    /// # Errors
    /// A refusal, or something that is no such answer.
    pub fn whole<T: DeserializeOwned>(self) -> Result<(String, T), Trouble> {
        if let Some(reply) = refusal(&self.first) {
            return Err(Trouble::Refused(Box::new(reply)));
        }
        let value = serde_json::from_str(&self.first)
            .map_err(|error| Trouble::Failed(format!("the daemon's answer: {error}")))?;
        Ok((self.first, value))
    }

    /// The answer is many lines; each is handed over without its newline, until `take` has enough
    /// or there are no more. `for_ever` if they come when they come.
    ///
    /// # Errors
    /// A refusal, or the daemon has gone.
    pub fn each(
        mut self,
        for_ever: bool,
        mut take: impl FnMut(&str) -> bool,
    ) -> Result<(), Trouble> {
        if for_ever {
            let timeout = self.lines.get_ref().set_read_timeout(None);
            timeout.map_err(|error| Trouble::Failed(error.to_string()))?;
        }
        let mut line = std::mem::take(&mut self.first);
        loop {
            if let Some(reply) = refusal(&line) {
                return Err(Trouble::Refused(Box::new(reply)));
            }
            if !take(line.trim_end_matches('\n')) {
                return Ok(());
            }
            line.clear();
            match self.lines.read_line(&mut line) {
                Ok(0) => return Err(Trouble::NotRunning("the daemon has gone".into())),
                Ok(_) => {}
                Err(error) => return Err(Trouble::Failed(format!("the daemon: {error}"))),
            }
        }
    }
}
