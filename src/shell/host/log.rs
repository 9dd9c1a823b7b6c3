//! The log: where its lines go and in which form, without ever waiting for a reader.
//!
//! env_logger filters and formats; a line reaches the [`Sinks`] as `<N>text`, the form of
//! sd-daemon(3), and each sink dresses it. A line that a sink does not take at once is lost there
//! and counted, and the next one that it takes is preceded by the count.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};
use nix::fcntl::OFlag;
use nix::sys::socket::{MsgFlags, send};

use crate::conf::printable;
use crate::core::event;
use crate::shell::host::localtime::LocalTime;
use crate::shell::host::scribe::Scribe;

/// With a prefix it still fits PIPE_BUF, so that a pipe takes a line whole or not at all.
const LOG_LINE_BYTES_MAX: usize = 3072;

/// So long the end of the process waits for the disk of a log file.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// Where syslog daemons listen.
const SYSLOG_SOCKET: &str = "/dev/log";

/// keepalived's VRRP process calls itself so; what watches the log for it shall go on to work.
const IDENT: &str = "Keepalived_vrrp";

/// Syslog's severities (RFC 3164, table 2).
mod severity {
    pub(in crate::shell) const ERROR: u8 = 3;
    pub(in crate::shell) const WARNING: u8 = 4;
    pub(in crate::shell) const INFO: u8 = 6;
    pub(in crate::shell) const DEBUG: u8 = 7;
}

/// What the command line says of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `-l`: to standard error.
    pub console: bool,
    /// `-D`: details too.
    pub detail: bool,
    /// Without `-G`: to syslog, as this facility.
    pub syslog: Option<Facility>,
    /// `-g`: to this file.
    pub file: Option<PathBuf>,
}

/// A syslog facility, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// keepalived's default.
    pub const DAEMON: Self = Self(3);

    /// What `-S` takes: `0` to `7`, `local0` to `local7`, `user`, `daemon`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self(1)),
            "daemon" => Some(Self::DAEMON),
            _ => match name.strip_prefix("local").unwrap_or(name).as_bytes() {
                [digit @ b'0'..=b'7'] => Some(Self(16 + digit - b'0')),
                _ => None,
            },
        }
    }
}

/// The level of the `log` crate for a report of the core. Details are shown with `-D` only.
pub const fn level_of(level: event::Level) -> Level {
    match level {
        event::Level::Error => Level::Error,
        event::Level::Warning => Level::Warn,
        event::Level::Info => Level::Info,
        event::Level::Detail => Level::Debug,
    }
}

/// keepalived's name for the log file of its VRRP process: `_vrrp` before the last dot.
pub fn vrrp_file(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("_vrrp");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The log of this process, once installed.
#[derive(Clone)]
pub struct Handle(Arc<Mutex<Sinks>>);

/// Opens the sinks and makes them the log of this process.
///
/// A sink that cannot be opened is left out, and the others say so.
///
/// # Errors
///
/// The process has a log already.
pub fn install(settings: &LogSettings) -> Result<Handle, log::SetLoggerError> {
    let (sinks, problems) = Sinks::open(settings);
    let handle = Handle(Arc::new(Mutex::new(sinks)));
    Builder::new()
        .filter_level(if settings.detail { LevelFilter::Debug } else { LevelFilter::Info })
        .format(|out, record| emit(out, record.level(), &record.args().to_string()))
        .target(Target::Pipe(Box::new(handle.clone())))
        .try_init()?;
    for problem in problems {
        log::warn!("{problem}");
    }
    Ok(handle)
}

impl Handle {
    /// Which of several daemons this is: syslog shows it behind the name, as with keepalived.
    pub fn set_mark(&self, mark: &str) {
        if let Some(syslog) = &mut self.sinks().syslog {
            syslog.to.ident = format!("{IDENT}_{mark}");
        }
    }

    /// From here on nobody waits for a disk: what goes to a file is written by a process of its own.
    /// To be called once, by a process that goes on, before its loop begins.
    pub fn spare_disks(&self) {
        let mut sinks = self.sinks();
        let Sinks { console, file, .. } = &mut *sinks;
        let problems: Vec<String> = [console, file]
            .into_iter()
            .flatten()
            .filter_map(|sink| sink.to.hand_over().err())
            .map(|error| format!("the log waits for its disk: {error}"))
            .collect();
        drop(sinks);
        problems.iter().for_each(|problem| log::warn!("{problem}"));
    }

    /// Nothing more is logged: waits a little until the files have everything.
    pub fn finish(&self) {
        let streams = {
            let mut sinks = self.sinks();
            [sinks.console.take(), sinks.file.take()]
        };
        for scribe in streams.into_iter().flatten().filter_map(|sink| sink.to.scribe) {
            scribe.finish(FINISH_MAX);
        }
    }

    /// Standard error is no longer ours to write to.
    pub fn close_console(&self) {
        self.sinks().console = None;
    }

    fn sinks(&self) -> MutexGuard<'_, Sinks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Handle {
    /// Takes whole records; never fails and never waits.
    fn write(&mut self, records: &[u8]) -> io::Result<usize> {
        let mut sinks = self.sinks();
        for line in String::from_utf8_lossy(records).lines() {
            let (severity, text) = take_apart(line);
            sinks.put(severity, text);
        }
        Ok(records.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a message as lines `<N>text`. What would move a terminal's cursor or fake a line of the
/// log is replaced: text from outside (hooks, peers, files) ends up here.
fn emit(out: &mut dyn Write, level: Level, message: &str) -> io::Result<()> {
    let severity = match level {
        Level::Error => severity::ERROR,
        Level::Warn => severity::WARNING,
        // keepalived's details are of this severity too: syslog shall not leave out with *.info
        // what -D asks for.
        Level::Info | Level::Debug => severity::INFO,
        Level::Trace => severity::DEBUG,
    };
    for line in printable(message).lines() {
        let end = (0..=LOG_LINE_BYTES_MAX).rev().find(|end| line.is_char_boundary(*end));
        writeln!(out, "<{severity}>{}", end.and_then(|end| line.get(..end)).unwrap_or(line))?;
    }
    Ok(())
}

/// The severity and the text of a line `<N>text`.
fn take_apart(line: &str) -> (u8, &str) {
    line.strip_prefix('<')
        .and_then(|line| line.split_once('>'))
        .and_then(|(severity, text)| Some((severity.parse().ok()?, text)))
        .unwrap_or((severity::INFO, line))
}

/// Where lines go; each may be absent.
#[derive(Default)]
struct Sinks {
    console: Option<Sink<Stream>>,
    file: Option<Sink<Stream>>,
    syslog: Option<Sink<Syslog>>,
}

impl Sinks {
    /// Opens what can be opened, and names what cannot.
    fn open(settings: &LogSettings) -> (Self, Vec<String>) {
        let mut sinks = Self::default();
        let mut problems = Vec::new();
        if settings.console {
            match Stream::of_stderr() {
                Ok(stream) => sinks.console = Some(Sink::new(stream)),
                Err(error) => problems.push(format!(
                    "standard error cannot be written to without waiting ({error}); -l has no effect"
                )),
            }
        }
        if let Some(path) = &settings.file {
            match Stream::of_file(path) {
                Ok(stream) => sinks.file = Some(Sink::new(stream)),
                Err(error) => {
                    problems.push(format!("log file {}: {error}; -g has no effect", path.display()))
                }
            }
        }
        sinks.syslog =
            settings.syslog.map(|facility| Sink::new(Syslog::new(facility, SYSLOG_SOCKET.into())));
        (sinks, problems)
    }

    fn put(&mut self, severity: u8, text: &str) {
        if let Some(sink) = &mut self.console {
            sink.put(severity, text);
        }
        if let Some(sink) = &mut self.file {
            sink.put(severity, text);
        }
        if let Some(sink) = &mut self.syslog {
            sink.put(severity, text);
        }
    }
}

/// What takes lines.
trait Place {
    /// Takes a line at once, or not at all: false.
    fn take(&mut self, severity: u8, text: &str) -> bool;
}

/// A place for lines, and how many it did not take.
struct Sink<T> {
    to: T,
    lost_count: u64,
}

impl<T: Place> Sink<T> {
    const fn new(to: T) -> Self {
        Self { to, lost_count: 0 }
    }

    /// Puts a line, after the count of those that were lost before it.
    fn put(&mut self, severity: u8, text: &str) {
        if self.lost_count > 0 {
            let notice = format!("{} lines of the log were lost here", self.lost_count);
            if !self.to.take(severity::WARNING, &notice) {
                self.lost_count += 1;
                return;
            }
            self.lost_count = 0;
        }
        if !self.to.take(severity, text) {
            self.lost_count += 1;
        }
    }
}

/// A terminal, a pipe, a file, or a stream socket.
struct Stream {
    file: File,
    is_socket: bool,
    /// The reader is the journal, which puts the time itself and wants the severity.
    is_journal: bool,
    /// The last line was cut off.
    is_torn: bool,
    /// What writes the file, once nobody is to wait for its disk.
    scribe: Option<Scribe>,
}

impl Stream {
    /// Standard error. Opened once more rather than made non-blocking, which would change it for
    /// everybody who shares it: the shell at the terminal, the other end of a pipeline.
    fn of_stderr() -> io::Result<Self> {
        let stderr = io::stderr();
        let file = File::from(stderr.as_fd().try_clone_to_owned()?);
        let metadata = file.metadata()?;
        let is_socket = metadata.file_type().is_socket();
        let journal = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let is_journal = journal == format!("{}:{}", metadata.dev(), metadata.ino());
        // A socket cannot be opened again, but need not be: each send says that it will not wait. In a
        // file it would have a place of its own, and others who write there would write over ours.
        let file = if is_socket || metadata.is_file() {
            file
        } else {
            let path = format!("/proc/self/fd/{}", stderr.as_fd().as_raw_fd());
            match open(Path::new(&path), OFlag::O_NOCTTY) {
                // Without /proc (a container), better this than to say nothing at all.
                Err(error) if error.kind() == io::ErrorKind::NotFound => file,
                outcome => outcome?,
            }
        };
        Ok(Self { file, is_socket, is_journal, is_torn: false, scribe: None })
    }

    fn of_file(path: &Path) -> io::Result<Self> {
        // The default lies in /tmp: never follow what somebody has put there.
        let file = open(path, OFlag::O_NOFOLLOW | OFlag::O_CREAT)?;
        Ok(Self { file, is_socket: false, is_journal: false, is_torn: false, scribe: None })
    }

    /// Has a file on a disk written by another process. Everything else never makes us wait.
    fn hand_over(&mut self) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.scribe = Some(Scribe::copy_to(self.file.as_fd())?);
        }
        Ok(())
    }
}

impl Place for Stream {
    fn take(&mut self, severity: u8, text: &str) -> bool {
        let newline = if self.is_torn { "\n" } else { "" };
        let line = if self.is_journal {
            format!("{newline}<{severity}>{text}\n")
        } else {
            format!("{newline}{}: {text}\n", LocalTime::now())
        };
        let written = if let Some(scribe) = &self.scribe {
            scribe.send(line.as_bytes()).map(|()| line.len())
        } else if self.is_socket {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            send(self.file.as_raw_fd(), line.as_bytes(), flags).map_err(io::Error::from)
        } else {
            self.file.write(line.as_bytes())
        };
        match written {
            Ok(count) => {
                self.is_torn = count < line.len();
                !self.is_torn
            }
            Err(_) => false,
        }
    }
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    OpenOptions::new().append(true).mode(0o644).custom_flags(flags.bits()).open(path)
}

/// The syslog daemon, connected to whenever it is there.
struct Syslog {
    ident: String,
    facility: Facility,
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    fn new(facility: Facility, path: PathBuf) -> Self {
        Self { ident: IDENT.to_owned(), facility, path, socket: None }
    }

    fn send(&mut self, line: &str) -> bool {
        if self.socket.is_none() {
            self.socket = self.connect().ok();
        }
        self.socket.as_ref().is_some_and(|socket| socket.send(line.as_bytes()).is_ok())
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

impl Place for Syslog {
    fn take(&mut self, severity: u8, text: &str) -> bool {
        let line = format!(
            "<{}>{} {}[{}]: {text}",
            self.facility.0 * 8 + severity,
            LocalTime::now().syslog(),
            self.ident,
            std::process::id(),
        );
        self.send(&line) || {
            // It was restarted, and listens at a socket of the same name; or it is just slow.
            self.socket = None;
            self.send(&line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("glha-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        path
    }

    fn emitted_at(level: Level, message: &str) -> String {
        let mut out = Vec::new();
        emit(&mut out, level, message).expect("a vector takes it");
        String::from_utf8(out).expect("text")
    }

    fn emitted(message: &str) -> String {
        emitted_at(Level::Warn, message)
    }

    #[test]
    fn details_are_informational_for_syslog() {
        assert_eq!(emitted_at(level_of(event::Level::Detail), "sent"), "<6>sent\n");
        assert_eq!(emitted_at(level_of(event::Level::Error), "bad"), "<3>bad\n");
    }

    #[test]
    fn facilities_are_keepaliveds() {
        let number = |name| Facility::from_name(name).map(|facility| facility.0);
        assert_eq!(number("daemon"), Some(3));
        assert_eq!(number("user"), Some(1));
        assert_eq!(number("0"), Some(16));
        assert_eq!(number("local7"), Some(23));
        for name in ["8", "local8", "", "local", "mail", "10", "local-1"] {
            assert_eq!(number(name), None, "{name}");
        }
    }

    #[test]
    fn the_file_is_named_as_keepaliveds_vrrp_process_names_it() {
        let name = |path: &str| vrrp_file(Path::new(path)).display().to_string();
        assert_eq!(name("/tmp/keepalived.log"), "/tmp/keepalived_vrrp.log");
        assert_eq!(name("/var/log/a.b/plain"), "/var/log/a.b/plain_vrrp");
        assert_eq!(name("x.y.log"), "x.y_vrrp.log");
    }

    #[test]
    fn a_message_becomes_whole_harmless_lines() {
        assert_eq!(emitted("one\ntwo"), "<4>one\n<4>two\n");
        assert_eq!(emitted("a\x1b[2Jb\rc\td"), "<4>a\\u{1b}[2Jb\\u{d}c\td\n");
        let long = emitted(&"ä".repeat(LOG_LINE_BYTES_MAX));
        assert_eq!(long.len(), "<4>\n".len() + LOG_LINE_BYTES_MAX);
        assert_eq!(take_apart("<4>a <5>b"), (4, "a <5>b"));
        assert_eq!(take_apart("bare"), (severity::INFO, "bare"));
    }

    #[test]
    fn a_full_pipe_loses_lines_and_says_how_many() {
        let (mut reader, writer) = io::pipe().expect("pipe");
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let file = open(Path::new(&path), OFlag::empty()).expect("opened again");
        let stream =
            Stream { file, is_socket: false, is_journal: true, is_torn: false, scribe: None };
        let mut sink = Sink::new(stream);
        // Short ones, so that no notice fits into what the last one leaves.
        for _ in 0..1 << 20 {
            if sink.lost_count == 0 {
                sink.put(severity::INFO, "x");
            }
        }
        sink.put(severity::INFO, "lost too");
        assert_eq!(sink.lost_count, 2);
        let mut buffer = vec![0; 1 << 20];
        let length = reader.read(&mut buffer).expect("read");
        assert!(length >= 4096, "{length}");
        sink.put(severity::INFO, "found");
        let length = reader.read(&mut buffer).expect("read");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(text.ends_with("<4>2 lines of the log were lost here\n<6>found\n"), "{text}");
    }

    #[test]
    fn a_socket_that_nobody_reads_does_not_stop_us() {
        let (near, mut far) = UnixStream::pair().expect("pair");
        let file = File::from(OwnedFd::from(near));
        let mut stream =
            Stream { file, is_socket: true, is_journal: true, is_torn: false, scribe: None };
        while stream.take(severity::INFO, &"x".repeat(LOG_LINE_BYTES_MAX)) {}
        far.set_nonblocking(true).expect("nonblocking");
        let mut text = Vec::new();
        let _ = far.read_to_end(&mut text);
        assert!(stream.take(severity::ERROR, "again"));
        let _ = far.read_to_end(&mut text);
        assert!(String::from_utf8_lossy(&text).ends_with("\n<3>again\n"));
    }

    #[test]
    fn syslog_may_come_late_and_be_restarted() {
        let folder = folder("syslog");
        let path = folder.join("log");
        let mut sink = Sink::new(Syslog::new(Facility::DAEMON, path.clone()));
        let hear = |daemon: &UnixDatagram| {
            daemon.set_nonblocking(true).expect("nonblocking");
            let mut buffer = [0; 200];
            let length = daemon.recv(&mut buffer).expect("a line");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        sink.put(severity::INFO, "nobody is there");
        assert_eq!(sink.lost_count, 1);
        let daemon = UnixDatagram::bind(&path).expect("bind");
        sink.put(severity::INFO, "hello");
        assert!(hear(&daemon).ends_with(": 1 lines of the log were lost here"));
        let line = hear(&daemon);
        assert!(line.starts_with("<30>"), "{line}");
        assert!(line.ends_with(&format!(" Keepalived_vrrp[{}]: hello", std::process::id())));
        drop(daemon);
        std::fs::remove_file(&path).expect("remove");
        let daemon = UnixDatagram::bind(&path).expect("bind again");
        sink.put(severity::INFO, "still here");
        assert!(hear(&daemon).ends_with(": still here"));
        std::fs::remove_dir_all(&folder).expect("clean up");
    }

    #[test]
    fn a_log_file_is_added_to_and_links_are_not_followed() {
        let folder = folder("file");
        let path = folder.join("a.log");
        std::fs::write(&path, "before\n").expect("write");
        assert!(Stream::of_file(&path).expect("opened").take(severity::INFO, "line"));
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("before\n") && text.ends_with(": line\n"), "{text}");
        let link = folder.join("link.log");
        std::os::unix::fs::symlink(&path, &link).expect("link");
        assert!(Stream::of_file(&link).is_err());
        std::fs::remove_dir_all(&folder).expect("clean up");
    }
}
