//! Telling systemd how the daemon is doing: sd_notify(3), as far as glha speaks it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::core::Time;
use crate::shell::host::clock;

/// The way to the service manager; mute where there is none.
pub struct Ready {
    way: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to know that the loop goes round, and when it is told next.
    watchdog: Option<(Duration, Time)>,
}

impl Ready {
    /// Finds the service manager by NOTIFY_SOCKET.
    pub fn from_env() -> Self {
        let way = std::env::var_os("NOTIFY_SOCKET").and_then(|address| {
            open(&address)
                .inspect_err(|error| {
                    log::warn!("NOTIFY_SOCKET {}: {error}; not used", address.display());
                })
                .ok()
        });
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&span| span > 0 && is_ours);
        Self::new(way, watchdog.map(Duration::from_micros))
    }

    fn new(way: Option<(UnixDatagram, SocketAddr)>, watchdog: Option<Duration>) -> Self {
        let is_heard = way.is_some();
        let watchdog = watchdog.filter(|_| is_heard).map(|span| (span / 2, Time::ZERO));
        Self { way, watchdog }
    }

    /// When the watchdog wants to hear of us.
    pub fn deadline(&self) -> Option<Time> {
        self.watchdog.map(|(_, at)| at)
    }

    /// The loop goes round: says so to the watchdog, twice in the time it allows.
    pub fn ping(&mut self, now: Time) {
        if let Some((every, at)) = &mut self.watchdog
            && *at <= now
        {
            *at = now + *every;
            self.tell("WATCHDOG=1");
        }
    }

    /// The daemon does its work. Names the main process, which is not the one that was started
    /// where the daemon went to the background.
    pub fn ready(&self) {
        self.tell(&format!("READY=1\nMAINPID={}", std::process::id()));
    }

    /// A reload begins; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_micros()));
    }

    /// The daemon has begun to stop.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.tell(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// What goes on now may last so long from now; systemd shall not lose patience before.
    pub fn extend_timeout(&self, by: Duration) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    /// Lost where the service manager does not keep up: it is never waited for.
    fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.way {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// An absolute path, or a name in the abstract namespace if it begins with `@`.
fn open(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(OsString::from(address))?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor @NAME")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(listener: &UnixDatagram) -> String {
        listener.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let mut buffer = [0; 200];
        let length = listener.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn speaks_to_an_abstract_socket() {
        let name = format!("glha-ready-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("address");
        let listener = UnixDatagram::bind_addr(&address).expect("bind");
        let ready = Ready::new(open(OsStr::new(&format!("@{name}"))).ok(), None);
        ready.ready();
        assert_eq!(hear(&listener), format!("READY=1\nMAINPID={}", std::process::id()));
        ready.status("VI_1: MASTER\nREADY=0");
        assert_eq!(hear(&listener), "STATUS=VI_1: MASTER READY=0");
        ready.extend_timeout(Duration::from_millis(1500));
        assert_eq!(hear(&listener), "EXTEND_TIMEOUT_USEC=1500000");
        ready.reloading();
        assert!(hear(&listener).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }

    #[test]
    fn speaks_to_a_path() {
        let path = std::env::temp_dir().join(format!("glha-ready-{}", std::process::id()));
        let listener = UnixDatagram::bind(&path).expect("bind");
        Ready::new(open(path.as_os_str()).ok(), None).stopping();
        assert_eq!(hear(&listener), "STOPPING=1");
        std::fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn the_watchdog_is_told_twice_in_its_time() {
        let name = format!("glha-watchdog-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("address");
        let listener = UnixDatagram::bind_addr(&address).expect("bind");
        let way = open(OsStr::new(&format!("@{name}"))).ok();
        let mut ready = Ready::new(way, Some(Duration::from_secs(10)));
        for millis in [1, 2000, 5000, 5001, 9000] {
            ready.ping(Time::from_millis(millis));
        }
        ready.stopping();
        assert_eq!(ready.deadline(), Some(Time::from_millis(10_001)));
        assert_eq!([(); 3].map(|()| hear(&listener)), ["WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]);
        assert_eq!(Ready::new(None, Some(Duration::from_secs(10))).deadline(), None);
    }

    #[test]
    fn refuses_what_is_no_address() {
        assert!(open(OsStr::new("relative")).is_err());
        assert!(open(OsStr::new("")).is_err());
    }
}
