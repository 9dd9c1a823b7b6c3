//! All BFD sessions of a node: whose a packet is, and what becomes of them with a new configuration.

use super::bfd::{Chance, Output, Session};
use super::event::{Action, Datagram, Level, Report};
use super::spec::{BfdId, BfdSpec};
use super::{Table, Time};
use crate::wire::bfd::{Control, MULTIHOP_PORT, State};

/// The sessions.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    all: Table<BfdId, Session>,
    chance: Chance,
    /// Datagrams that were no packet, or nobody's, or came from too far away.
    discarded: u64,
}

impl Sessions {
    /// None has heard anything. What looks like chance begins at `seed`.
    pub fn new(specs: Table<BfdId, BfdSpec>, seed: u64, now: Time) -> Self {
        let mut sessions = Self { chance: Chance::new(seed), ..Self::default() };
        for (id, spec) in specs {
            let session = sessions.fresh(spec, now);
            sessions.all.insert(id, session);
        }
        sessions
    }

    fn fresh(&mut self, spec: BfdSpec, now: Time) -> Session {
        let discriminator = loop {
            let drawn = (self.chance.draw() >> 32) as u32;
            if drawn != 0 && !self.all.iter().any(|other| other.discriminator == drawn) {
                break drawn;
            }
        };
        let chance = Chance::new(self.chance.draw());
        Session::new(spec, discriminator, chance, now)
    }

    /// All of them, in the order of the configuration.
    pub const fn all(&self) -> &Table<BfdId, Session> {
        &self.all
    }

    /// How many datagrams were for no session, or not as they have to be.
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Begins all of them anew from another seed.
    pub fn seed(&mut self, seed: u64, now: Time) {
        let old = std::mem::take(&mut self.all);
        let specs = old.into_iter().map(|(id, session)| (id, session.spec)).collect();
        *self = Self::new(specs, seed, now);
    }

    /// Goes on under another configuration: the sessions that are in it again with the same neighbour
    /// keep running, with other timers if it says so; the others say that they are going.
    pub fn reload(&mut self, specs: Table<BfdId, BfdSpec>, now: Time, out: &mut Vec<Action>) {
        let mut old: Vec<(BfdId, Session)> = std::mem::take(&mut self.all).into_iter().collect();
        for (id, spec) in specs {
            let is_same = |(other, session): &(BfdId, Session)| {
                *other == id
                    && session.spec.neighbor == spec.neighbor
                    && session.spec.source == spec.source
                    && session.spec.is_multihop() == spec.is_multihop()
            };
            let session = match old.iter().position(is_same) {
                Some(place) => {
                    let (_, mut session) = old.swap_remove(place);
                    let mut outputs = Vec::new();
                    session.adopt(spec, now, &mut outputs);
                    act(id, &session, &outputs, out);
                    session
                }
                None => self.fresh(spec, now),
            };
            self.all.insert(id, session);
        }
        for (id, mut session) in old {
            let mut outputs = Vec::new();
            session.close(now, &mut outputs);
            act(id, &session, &outputs, out);
        }
    }

    /// When a tick is wanted.
    pub fn deadline(&self) -> Option<Time> {
        self.all.iter().filter_map(Session::deadline).min()
    }

    /// Time has passed; tells whether a session counts as up that did not, or the other way round.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) -> bool {
        let mut has_changed = false;
        for (id, session) in self.all.entries_mut() {
            if session.deadline().is_some_and(|at| at <= now) {
                let (mut outputs, before) = (Vec::new(), session.counts_as_up);
                session.tick(now, &mut outputs);
                act(id, session, &outputs, out);
                has_changed |= session.counts_as_up != before;
            }
        }
        has_changed
    }

    /// A datagram has come; tells whether a session counts as up that did not, or the other way round.
    pub fn receive(&mut self, datagram: &Datagram, now: Time, out: &mut Vec<Action>) -> bool {
        let Some((id, packet)) = self.find(datagram) else {
            self.discarded += 1;
            return false;
        };
        let Some(session) = self.all.get_mut(id) else { return false };
        let (mut outputs, before) = (Vec::new(), session.counts_as_up);
        session.receive(&packet, datagram.port, now, &mut outputs);
        act(id, session, &outputs, out);
        session.counts_as_up != before
    }

    /// Whose it is (RFC 5880, 6.8.6): its number says so or, before the neighbour knows that, its
    /// addresses. It has to be the neighbour's in any case, and to come from near enough.
    fn find(&self, datagram: &Datagram) -> Option<(BfdId, Control)> {
        let packet = Control::parse(&datagram.bytes).ok()?;
        let is_for = |session: &Session| {
            let spec = &session.spec;
            let is_known = if packet.yours == 0 {
                spec.source.is_none_or(|source| source == datagram.destination)
            } else {
                packet.yours == session.discriminator
            };
            is_known
                && spec.neighbor == datagram.source
                && (spec.is_multihop() || datagram.port != MULTIHOP_PORT)
                && session.is_near(datagram.ttl)
        };
        // One that names its own address is meant before one that takes any.
        let named = |session: &Session| session.spec.source.is_some() && is_for(session);
        self.all.find(named).or_else(|| self.all.find(is_for)).map(|id| (id, packet))
    }
}

/// Hands on what a session does.
fn act(id: BfdId, session: &Session, outputs: &[Output], out: &mut Vec<Action>) {
    for output in outputs {
        match output {
            Output::Send { port, bytes } => {
                let (to, port, bytes) = (session.spec.neighbor, *port, bytes.to_vec());
                out.push(Action::SendBfd { session: id, to, port, bytes });
            }
            Output::Entered { .. } => out.push(Action::Report(report(session))),
        }
    }
}

/// keepalived's words.
fn report(session: &Session) -> Report {
    let (name, state) = (&session.spec.name, session.state);
    let text = match state {
        State::Down => format!(
            "({name}) Entering {state} state (Local diagnostic - {}, Remote diagnostic - {})",
            session.diag, session.remote.diag
        ),
        State::AdminDown | State::Init | State::Up => format!("({name}) Entering {state} state"),
    };
    let level = if state == State::Init { Level::Detail } else { Level::Info };
    Report { instance: None, level, text }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::wire::bfd::PORT;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn spec(name: &str, neighbor: &str, source: Option<&str>, max_hops: u8) -> BfdSpec {
        BfdSpec {
            name: name.into(),
            neighbor: ip(neighbor),
            source: source.map(ip),
            min_rx: Duration::from_millis(10),
            min_tx: Duration::from_millis(10),
            idle_tx: Duration::from_secs(1),
            multiplier: 5,
            passive: false,
            ttl: None,
            max_hops,
        }
    }

    fn sessions(specs: Vec<BfdSpec>) -> Sessions {
        Sessions::new(specs.into(), 5, Time::ZERO)
    }

    fn datagram(from: &str, to: &str, ttl: u8, port: u16, yours: u32) -> Datagram {
        let state = if yours == 0 { State::Down } else { State::Init };
        let packet = Control { state, detect_mult: 3, mine: 9, yours, ..Control::default() };
        let bytes = packet.emit().to_vec();
        Datagram { source: ip(from), destination: ip(to), ttl, port, bytes }
    }

    #[test]
    fn a_packet_finds_its_session_by_addresses_and_then_by_number() {
        let sessions = sessions(vec![
            spec("any", "10.0.0.2", None, 0),
            spec("own", "10.0.0.2", Some("10.0.0.7"), 0),
            spec("v6", "fd00::2", None, 0),
            spec("far", "10.1.0.2", None, 3),
        ]);
        let number = |place: usize| sessions.all.as_slice()[place].discriminator;
        let whose = |datagram: Datagram| sessions.find(&datagram).map(|(id, _)| id.0);
        let hear = |from, to, ttl, port, yours| whose(datagram(from, to, ttl, port, yours));
        assert_eq!(hear("10.0.0.2", "10.0.0.1", 255, PORT, 0), Some(0));
        assert_eq!(hear("10.0.0.2", "10.0.0.7", 255, PORT, 0), Some(1));
        assert_eq!(hear("10.0.0.2", "10.0.0.1", 255, PORT, number(1)), Some(1));
        // Nobody else's, from no further away, with no other number, to no other port.
        assert_eq!(hear("10.0.0.3", "10.0.0.1", 255, PORT, 0), None);
        assert_eq!(hear("10.0.0.3", "10.0.0.1", 255, PORT, number(0)), None);
        assert_eq!(hear("10.0.0.2", "10.0.0.1", 254, PORT, 0), None);
        assert_eq!(hear("10.0.0.2", "10.0.0.1", 255, PORT, number(2)), None);
        assert_eq!(hear("10.0.0.2", "10.0.0.1", 255, MULTIHOP_PORT, 0), None);
        // keepalived sends with a hop limit of 64.
        assert_eq!(hear("fd00::2", "fd00::1", 64, PORT, 0), Some(2));
        assert_eq!(hear("fd00::2", "fd00::1", 63, PORT, 0), None);
        assert_eq!(hear("10.1.0.2", "10.0.0.1", 252, MULTIHOP_PORT, 0), Some(3));
        assert_eq!(hear("10.1.0.2", "10.0.0.1", 252, PORT, number(3)), Some(3));
        assert_eq!(hear("10.1.0.2", "10.0.0.1", 251, PORT, 0), None);
    }

    #[test]
    fn what_is_nobody_s_is_counted_and_changes_nothing() {
        let mut sessions = sessions(vec![spec("a", "10.0.0.2", None, 0)]);
        let mut out = Vec::new();
        let wrong =
            Datagram { bytes: vec![1; 24], ..datagram("10.0.0.2", "10.0.0.1", 255, PORT, 0) };
        assert!(!sessions.receive(&wrong, Time::ZERO, &mut out));
        assert_eq!((sessions.discarded(), out.len()), (1, 0));
    }

    #[test]
    fn going_up_and_down_is_news() {
        let mut sessions = sessions(vec![spec("a", "10.0.0.2", None, 0)]);
        let mut out = Vec::new();
        let number = sessions.all.as_slice()[0].discriminator;
        let mut hear = |yours| {
            let datagram = datagram("10.0.0.2", "10.0.0.1", 255, PORT, yours);
            sessions.receive(&datagram, Time::ZERO, &mut out)
        };
        assert_eq!([hear(0), hear(number), hear(number)], [false, true, false]);
        assert!(sessions.tick(Time::from_millis(3000), &mut out), "it has expired");
        let said = out.iter().filter_map(|action| match action {
            Action::Report(report) => Some(report.text.as_str()),
            _ => None,
        });
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                "(a) Entering Init state",
                "(a) Entering Up state",
                "(a) Entering Down state (Local diagnostic - Control Detection Time Expired, Remote \
             diagnostic - No Diagnostic)"
            ]
        );
    }

    #[test]
    fn a_reload_keeps_what_goes_on_and_says_farewell_to_the_rest() {
        let specs = |last: BfdSpec| vec![spec("a", "10.0.0.2", None, 0), last];
        let mut sessions = sessions(specs(spec("b", "10.0.0.3", None, 0)));
        let mut out = Vec::new();
        for last in ["10.0.0.2", "10.0.0.3"] {
            sessions.receive(&datagram(last, "10.0.0.1", 255, PORT, 0), Time::ZERO, &mut out);
        }
        let numbers = |sessions: &Sessions| {
            sessions.all.iter().map(|session| session.discriminator).collect::<Vec<_>>()
        };
        let before = numbers(&sessions);
        out.clear();
        let other = specs(spec("b", "10.0.0.4", None, 0));
        sessions.reload(other.into(), Time::ZERO, &mut out);
        let after = numbers(&sessions);
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
        assert_eq!(sessions.all.as_slice()[0].state, State::Init);
        let farewell = out.iter().find_map(|action| match action {
            Action::SendBfd { session, bytes, .. } => {
                Some((session.0, Control::parse(bytes).expect("a packet").state))
            }
            _ => None,
        });
        assert_eq!(farewell, Some((1, State::AdminDown)));
    }
}
