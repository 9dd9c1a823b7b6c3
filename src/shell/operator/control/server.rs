//! The control socket itself: who is connected, what was read, what is still to be written. Nobody
//! is ever waited for, and everything has a bound.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::core::Time;
use crate::shell::host::page;

/// So many clients are served at a time.
pub const CLIENTS_MAX: usize = 16;
/// So many tokens belong to the server: the listener's and one for each client.
pub const TOKENS: usize = CLIENTS_MAX + 1;
/// No request is longer.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// What waits to be written, for all clients together.
pub const WAITING_BYTES_MAX: usize = 32 << 20;
/// A client that follows events and is behind by more is let go.
pub const BEHIND_BYTES_MAX: usize = 1 << 20;
/// A client that neither asks nor reads for so long is let go.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// One that has been idle for so long gives way to a new one, when there are too many.
const GIVES_WAY_AFTER: Duration = Duration::from_millis(500);
/// A socket that cannot be made is tried again so often.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Whether the socket is still there is looked at so often while the loop turns,
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// and at least so often when nothing happens.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// So many new clients are looked at in one turn of the loop.
const ACCEPTS_PER_TURN_MAX: usize = 32;

/// The socket and its clients.
pub struct Server {
    path: PathBuf,
    registry: Registry,
    first_token: usize,
    /// None while the socket cannot be made; then nobody is served.
    listener: Option<UnixListener>,
    /// When that is tried again.
    retry_at: Option<Time>,
    /// What it is on the disk, to see that it was removed.
    file: Option<(u64, u64)>,
    /// When that was looked at last.
    looked_at: Time,
    clients: Vec<Option<Client>>,
    has_more_clients: bool,
    /// Counts the clients.
    serial: u64,
}

struct Client {
    stream: UnixStream,
    serial: u64,
    /// Its last request is answered later; so long it is not read from, and may wait.
    is_deferred: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// When it last asked or read something.
    active_at: Time,
    /// There may be something to read.
    is_readable: bool,
    /// It gets every record from this number on.
    follows: Option<Follow>,
    /// It goes when everything is written.
    is_leaving: bool,
}

/// A client that is to get an answer later, and no other one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    place: usize,
    serial: u64,
}

/// What a client follows.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The number of the next record.
    pub next: u64,
    /// Only those of these instances and groups.
    pub whose: Option<Vec<String>>,
}

impl Server {
    /// Makes the socket. Where that fails it is tried again: a former daemon that was killed may not
    /// be gone altogether.
    pub fn open(path: PathBuf, registry: Registry, first_token: usize, now: Time) -> Self {
        let clients = (0..CLIENTS_MAX).map(|_| None).collect();
        let (listener, retry_at, has_more_clients) = (None, Some(now), false);
        let serial = 0;
        let mut server = Self {
            path,
            registry,
            first_token,
            listener,
            retry_at,
            file: None,
            looked_at: now,
            clients,
            has_more_clients,
            serial,
        };
        server.listen(now, true);
        server
    }

    fn listen(&mut self, now: Time, is_first: bool) {
        match listen(&self.path, &self.registry, Token(self.first_token)) {
            Ok(listener) => {
                (self.listener, self.retry_at) = (Some(listener), None);
                self.file = identity(&self.path);
            }
            Err(error) => {
                self.retry_at = Some(now + RETRY_EVERY);
                if is_first {
                    let path = self.path.display();
                    log::warn!(
                        "{path}: {error}; until that ends glha status and its like do not work"
                    );
                }
            }
        }
    }

    /// One of our descriptors is ready. Other tokens are left alone.
    pub fn handle_ready(&mut self, token: Token, now: Time) {
        match token.0.checked_sub(self.first_token) {
            Some(0) => self.accept(now),
            Some(place) => {
                if let Some(Some(client)) = self.clients.get_mut(place - 1) {
                    client.is_readable = true;
                }
            }
            None => {}
        }
    }

    /// Writes and reads what is possible; returns the requests that came in, at most one of each
    /// client, and only once its last one is answered.
    pub fn work(&mut self, now: Time) -> Vec<(usize, Vec<u8>)> {
        if self.has_more_clients {
            self.accept(now);
        }
        let mut requests = Vec::new();
        for (place, slot) in self.clients.iter_mut().enumerate() {
            let Some(client) = slot else { continue };
            match client.work(now) {
                Ok(Some(request)) => requests.push((place, request)),
                Ok(None) => {}
                Err(_) => *slot = None,
            }
        }
        requests
    }

    /// Lets go of those that have done nothing for too long, and makes the socket anew if somebody has
    /// removed it.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.listener.is_some() && now.since(self.looked_at) >= LOOK_EVERY {
            self.looked_at = now;
            if identity(&self.path) != self.file {
                log::warn!("{} was removed; it is made anew", self.path.display());
                // The old one closes, and is forgotten by the poll with it.
                self.listener = None;
                self.retry_at = Some(now);
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.listen(now, false);
        }
        for slot in &mut self.clients {
            if slot.as_ref().and_then(Client::deadline).is_some_and(|at| at <= now) {
                *slot = None;
            }
        }
    }

    /// When that is due next.
    pub fn deadline(&self) -> Option<Time> {
        let clients = self.clients.iter().flatten().filter_map(Client::deadline);
        let look = self.listener.as_ref().map(|_| self.looked_at + LOOK_AT_LEAST_EVERY);
        clients.chain(self.retry_at).chain(look).min()
    }

    /// Must the loop go on at once?
    pub fn is_urgent(&self) -> bool {
        self.has_more_clients
            || self
                .clients
                .iter()
                .flatten()
                .any(|c| c.is_readable && c.has_written() && !c.is_deferred)
    }

    /// Answers a client; false if that is too much, and nothing was sent.
    pub fn reply(&mut self, place: usize, line: &[u8], now: Time) -> bool {
        if self.waiting() + line.len() > WAITING_BYTES_MAX {
            return false;
        }
        if let Some(Some(client)) = self.clients.get_mut(place) {
            client.put(line);
            if client.write(now).is_err() {
                self.clients[place] = None;
            }
        }
        true
    }

    /// The client's last request is answered by [`Self::reply_later`]; none if it is gone.
    pub fn defer(&mut self, place: usize) -> Option<ClientId> {
        let client = self.clients.get_mut(place)?.as_mut()?;
        client.is_deferred = true;
        Some(ClientId { place, serial: client.serial })
    }

    /// Answers a client that has waited for it, if it is still there.
    pub fn reply_later(&mut self, id: ClientId, line: &[u8], now: Time) {
        if let Some(Some(client)) = self.clients.get_mut(id.place)
            && client.serial == id.serial
        {
            client.is_deferred = false;
            client.active_at = now;
            self.reply(id.place, line, now);
        }
    }

    /// From now on the client gets records.
    pub fn follow(&mut self, place: usize, follow: Follow) {
        if let Some(Some(client)) = self.clients.get_mut(place) {
            client.follows = Some(follow);
        }
    }

    /// Those that follow, and what.
    pub fn followers(&self) -> Vec<(usize, Follow)> {
        let of = |(place, slot): (usize, &Option<Client>)| {
            Some((place, slot.as_ref()?.follows.clone()?))
        };
        self.clients.iter().enumerate().filter_map(of).collect()
    }

    /// Hands a follower what is new; one that is too far behind goes.
    pub fn feed(&mut self, place: usize, lines: &[u8], next: u64, now: Time) {
        let waiting = self.waiting();
        let Some(slot) = self.clients.get_mut(place) else { return };
        let Some(client) = slot else { return };
        if let Some(follow) = &mut client.follows {
            follow.next = next;
        }
        let is_behind = client.output.len() + lines.len() > BEHIND_BYTES_MAX;
        if is_behind || waiting + lines.len() > WAITING_BYTES_MAX {
            log::warn!("a client that follows events does not read them; it is let go");
            *slot = None;
            return;
        }
        if client.has_written() {
            // Until now there was nothing to read.
            client.active_at = now;
        }
        client.put(lines);
        if client.write(now).is_err() {
            *slot = None;
        }
    }

    fn waiting(&self) -> usize {
        self.clients.iter().flatten().map(|client| client.output.len()).sum()
    }

    fn accept(&mut self, now: Time) {
        self.has_more_clients = false;
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, _)) => self.welcome(stream, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::warn!("{}: {error}", self.path.display());
                    return;
                }
            }
        }
        self.has_more_clients = true;
    }

    fn welcome(&mut self, mut stream: UnixStream, now: Time) {
        let peer = getsockopt(&stream, PeerCredentials);
        let own = nix::unistd::geteuid().as_raw();
        if !peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own) {
            return log::warn!("a client that is not root was refused at the control socket");
        }
        let Some(place) = self.free_place(now) else {
            // What does not fit into its buffer is lost: it is not waited for.
            let _ = stream.write(&super::busy());
            return;
        };
        let token = Token(self.first_token + 1 + place);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.registry.register(&mut stream, token, interest) {
            return log::warn!("{}: {error}", self.path.display());
        }
        self.serial += 1;
        self.clients[place] = Some(Client {
            stream,
            serial: self.serial,
            is_deferred: false,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            active_at: now,
            is_readable: true,
            follows: None,
            is_leaving: false,
        });
    }

    /// A place for a new client, if need be that of one that has been idle for longest.
    fn free_place(&self, now: Time) -> Option<usize> {
        let free = self.clients.iter().position(Option::is_none);
        free.or_else(|| {
            let idle = |(place, slot): (usize, &Option<Client>)| {
                let client = slot.as_ref()?;
                let is_idle =
                    client.deadline().is_some() && now.since(client.active_at) >= GIVES_WAY_AFTER;
                is_idle.then_some((client.active_at, place))
            };
            let longest = self.clients.iter().enumerate().filter_map(idle).min();
            longest.map(|(_, place)| place)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not another daemon's in its place.
        if self.listener.is_some() && identity(&self.path) == self.file {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Client {
    /// Only who follows, and has read everything, may be silent for ever.
    fn deadline(&self) -> Option<Time> {
        let may_wait = (self.follows.is_some() && self.has_written()) || self.is_deferred;
        (!may_wait).then(|| self.active_at + IDLE_MAX)
    }

    const fn has_written(&self) -> bool {
        self.output.is_empty()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.output.drain(..std::mem::take(&mut self.written));
        self.output.extend_from_slice(bytes);
    }

    /// A request, if a whole one is there and the last one is answered. An error is its end.
    fn work(&mut self, now: Time) -> io::Result<Option<Vec<u8>>> {
        self.write(now)?;
        if !self.has_written() || self.is_deferred {
            return Ok(None);
        }
        if self.is_leaving {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let rest = self.input.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.input, rest);
                line.pop();
                self.active_at = now;
                return Ok(Some(line));
            }
            if self.input.len() >= REQUEST_BYTES_MAX {
                self.put(&super::too_long());
                self.is_leaving = true;
                self.input = Vec::new();
                self.write(now)?;
                return Ok(None);
            }
            if !self.is_readable {
                return Ok(None);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; REQUEST_BYTES_MAX];
        let room = REQUEST_BYTES_MAX - self.input.len();
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, now: Time) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.active_at = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.output, self.written) = (Vec::new(), 0);
        Ok(())
    }
}

/// Makes the socket, in the place of one that a former run has left.
/// Device and inode; none if there is nothing.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn listen(path: &Path, registry: &Registry, token: Token) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        page::private_folder(folder)?;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::other("something else than a socket is in its place"));
        }
        // One that somebody listens at takes the connection, or has too many already.
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
            }
            Ok(_) | Err(_) => {
                return Err(io::Error::other("another daemon answers there"));
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    registry.register(&mut listener, token, Interest::READABLE)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream as Plain;

    struct Bench {
        folder: PathBuf,
        // Keeps the descriptors registered.
        _poll: mio::Poll,
        server: Server,
    }

    const START: Time = Time::from_millis(1000);

    impl Bench {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("glha-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("folder");
            // What a former run has left.
            drop(std::os::unix::net::UnixListener::bind(folder.join("s")).expect("bind"));
            let poll = mio::Poll::new().expect("poll");
            let registry = poll.registry().try_clone().expect("registry");
            let server = Server::open(folder.join("s"), registry, 100, START);
            assert!(server.listener.is_some(), "the old socket is in the way");
            Self { folder, _poll: poll, server }
        }

        fn client(&self) -> Plain {
            let client = Plain::connect(self.folder.join("s")).expect("connect");
            client.set_nonblocking(true).expect("a socket");
            client
        }

        /// A turn of the loop in which everything is ready.
        fn turn(&mut self, now: Time) -> Vec<(usize, String)> {
            (100..100 + TOKENS).for_each(|token| self.server.handle_ready(Token(token), now));
            self.server.handle_timeout(now);
            let requests = self.server.work(now).into_iter();
            requests.map(|(at, line)| (at, String::from_utf8_lossy(&line).into_owned())).collect()
        }

        fn count(&self) -> usize {
            self.server.clients.iter().flatten().count()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn text(client: &mut Plain) -> String {
        let mut bytes = vec![0; 1 << 20];
        let count = client.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn a_request_may_come_in_pieces_and_many_at_once_are_served_in_turn() {
        let mut bench = Bench::new("control-pieces");
        let mut client = bench.client();
        client.write_all(b"on").expect("write");
        assert_eq!(bench.turn(START), []);
        client.write_all(b"e\ntwo\n\nfo").expect("write");
        assert_eq!(bench.turn(START), [(0, "one".into())]);
        assert!(bench.server.is_urgent());
        assert!(bench.server.reply(0, b"1\n", START));
        assert_eq!(bench.turn(START), [(0, "two".into())]);
        assert_eq!(bench.turn(START), [(0, String::new())]);
        assert_eq!(bench.turn(START), []);
        assert!(!bench.server.is_urgent());
        assert_eq!(text(&mut client), "1\n");
        drop(client);
        assert_eq!(bench.turn(START), []);
        assert_eq!(bench.count(), 0);
    }

    #[test]
    fn a_request_without_an_end_is_refused() {
        let mut bench = Bench::new("control-long");
        let mut client = bench.client();
        client.write_all(&[b'x'; REQUEST_BYTES_MAX + 1]).expect("write");
        assert_eq!(bench.turn(START), []);
        assert_eq!(bench.turn(START), []);
        assert!(text(&mut client).contains("bad_request"));
        assert_eq!(bench.count(), 0);
    }

    #[test]
    fn who_does_not_read_is_asked_nothing_more_and_goes_in_the_end() {
        let mut bench = Bench::new("control-deaf");
        let mut client = bench.client();
        client.write_all(b"one\ntwo\n").expect("write");
        assert_eq!(bench.turn(START).len(), 1);
        assert!(bench.server.reply(0, &vec![b'x'; 4 << 20], START));
        assert_eq!(bench.turn(START), [], "the first answer is not read yet");
        assert!(!bench.server.is_urgent(), "and that is no reason to go round and round");
        assert!(!bench.server.reply(0, &vec![b'x'; WAITING_BYTES_MAX], START));
        let later = START + IDLE_MAX;
        assert_eq!(bench.server.deadline(), Some(later));
        bench.turn(later);
        assert_eq!(bench.count(), 0);
    }

    #[test]
    fn the_idle_give_way_to_the_new() {
        let mut bench = Bench::new("control-many");
        let clients: Vec<Plain> = (0..CLIENTS_MAX + 1).map(|_| bench.client()).collect();
        assert_eq!(bench.turn(START), []);
        assert_eq!(bench.count(), CLIENTS_MAX);
        let told: Vec<String> = clients.into_iter().map(|mut client| text(&mut client)).collect();
        assert_eq!(told.iter().filter(|told| told.contains("\"busy\"")).count(), 1);
        let mut bench = Bench::new("control-idle");
        let idle: Vec<Plain> = (0..CLIENTS_MAX).map(|_| bench.client()).collect();
        bench.turn(START);
        let mut late = bench.client();
        late.write_all(b"late\n").expect("write");
        let requests = bench.turn(START + GIVES_WAY_AFTER);
        assert_eq!(requests.first().map(|(_, line)| line.as_str()), Some("late"));
        assert_eq!(bench.count(), CLIENTS_MAX);
        drop(idle);
    }

    #[test]
    fn a_follower_may_be_silent_but_not_behind() {
        let mut bench = Bench::new("control-follow");
        let mut client = bench.client();
        client.write_all(b"follow\n").expect("write");
        assert_eq!(bench.turn(START).len(), 1);
        bench.server.follow(0, Follow { next: 7, whose: None });
        let later = START + IDLE_MAX * 100;
        bench.turn(later);
        let look = later + LOOK_AT_LEAST_EVERY;
        assert_eq!(bench.server.deadline(), Some(look), "only for the socket itself");
        bench.server.feed(0, b"record\n", 8, later);
        assert_eq!(text(&mut client), "record\n");
        assert_eq!(bench.server.followers().first().map(|(_, follow)| follow.next), Some(8));
        for next in 9..100 {
            bench.server.feed(0, &[b'x'; 100_000], next, later);
        }
        assert_eq!(bench.count(), 0);
    }
}
