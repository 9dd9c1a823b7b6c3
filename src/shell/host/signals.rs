//! Signals, as keepalived understands them, as a source of the loop.

use std::io;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals as Pipe;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// TERM, INT: stop in order.
    Stop,
    /// HUP: read the configuration again.
    Reload,
    /// USR1: write the state to keepalived.data.
    Data,
    /// USR2: write the counters to keepalived.stats.
    Stats,
    /// RTMAX-1: write the counters, then set them to zero.
    StatsClear,
    /// RTMIN+2: write the state to keepalived.json.
    Json,
}

impl Request {
    /// The signal's number by the name that `--signum` takes; these are keepalived's.
    pub fn number_of(name: &str) -> Option<i32> {
        Some(match name {
            "STOP" => SIGTERM,
            "RELOAD" => SIGHUP,
            "DATA" => SIGUSR1,
            "STATS" => SIGUSR2,
            "STATS_CLEAR" => libc::SIGRTMAX() - 1,
            "JSON" => libc::SIGRTMIN() + 2,
            _ => return None,
        })
    }

    fn from_number(signal: i32) -> Option<Self> {
        Some(match signal {
            SIGTERM | SIGINT => Self::Stop,
            SIGHUP => Self::Reload,
            SIGUSR1 => Self::Data,
            SIGUSR2 => Self::Stats,
            _ if signal == libc::SIGRTMAX() - 1 => Self::StatsClear,
            _ if signal == libc::SIGRTMIN() + 2 => Self::Json,
            _ => return None,
        })
    }
}

/// The signals that glha catches. Caught from its making on: make it before anything that a
/// signal must not cut short.
///
/// Handlers with a pipe, not a signalfd: that needs the signals blocked, and every hook would
/// inherit the mask.
pub struct Signals(Pipe);

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    ///
    /// No descriptor is free.
    pub fn new() -> io::Result<Self> {
        let real_time = [libc::SIGRTMAX() - 1, libc::SIGRTMIN() + 2];
        let signals = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2].into_iter().chain(real_time);
        Ok(Self(Pipe::new(signals)?))
    }

    /// What was asked for since the last call; each at most once, a stop first.
    pub fn take(&mut self) -> Vec<Request> {
        let mut requests: Vec<Request> =
            self.0.pending().filter_map(Request::from_number).collect();
        requests.sort_by_key(|&request| request as u8);
        requests.dedup();
        requests
    }
}

impl Source for Signals {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.0.register(registry, token, on)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.0.reregister(registry, token, on)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};
    use std::time::Duration;

    #[test]
    fn names_and_numbers_are_keepaliveds() {
        let expected = [
            ("STOP", 15),
            ("RELOAD", 1),
            ("DATA", 10),
            ("STATS", 12),
            ("STATS_CLEAR", 63),
            ("JSON", 36),
        ];
        for (name, number) in expected {
            assert_eq!(Request::number_of(name), Some(number), "{name}");
            assert!(Request::from_number(number).is_some(), "{name} is not listened to");
        }
        assert_eq!(Request::number_of("TDATA"), None);
        assert_eq!(Request::number_of("stop"), None);
    }

    #[test]
    fn a_raised_signal_wakes_the_loop() {
        let mut signals = Signals::new().expect("signals");
        let mut poll = mio::Poll::new().expect("poll");
        poll.registry().register(&mut signals, Token(7), Interest::READABLE).expect("register");
        raise(Signal::SIGHUP).expect("raise");
        raise(Signal::SIGINT).expect("raise");
        raise(Signal::SIGTERM).expect("raise");
        let mut events = mio::Events::with_capacity(4);
        while let Err(error) = poll.poll(&mut events, Some(Duration::from_secs(20))) {
            assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        }
        assert!(events.iter().any(|event| event.token() == Token(7)), "the loop was not woken");
        assert_eq!(signals.take(), [Request::Stop, Request::Reload]);
        assert_eq!(signals.take(), []);
    }
}
