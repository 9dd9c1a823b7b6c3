//! One BFD session (RFC 5880, asynchronous mode): what it hears and sends, and whether it is up.
//!
//! Demand mode, the echo function and authentication are not offered; a neighbour in demand mode gets
//! what it asks for. The session is told what time it is and where its chance comes from.

use std::time::Duration;

use super::Time;
use super::spec::BfdSpec;
use crate::wire::bfd::{Control, Diag, MULTIHOP_PORT, PACKET_BYTES, PORT, State};

/// Numbers that look like chance, from a seed: splitmix64. What is drawn is a jitter, or a number that
/// a neighbour is not to guess, as good as its seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chance(u64);

impl Chance {
    /// Begins at this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this packet to this UDP port of the neighbour.
    Send {
        /// The port.
        port: u16,
        /// The packet.
        bytes: [u8; PACKET_BYTES],
    },
    /// It is in another state now.
    Entered {
        /// The state it was in.
        from: State,
    },
}

/// What of the neighbour's packets is kept (RFC 5880, 6.8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// Its state.
    pub state: State,
    /// Why it is in it.
    pub diag: Diag,
    /// Its number of the session; 0 while it is not heard.
    pub discriminator: u32,
    /// So often it would like to send, in microseconds.
    pub desired_min_tx: u32,
    /// So often it can receive, in microseconds; 0: never.
    pub required_min_rx: u32,
    /// So many of its packets have to be missed; 0 before the first.
    pub detect_mult: u8,
    /// It wants to hear nothing while the session is up at both ends.
    pub demand: bool,
}

impl Remote {
    /// Nothing was heard yet; it may be able to receive at any rate (RFC 5880, 6.8.1).
    const UNHEARD: Self = Self {
        state: State::Down,
        diag: Diag::NONE,
        discriminator: 0,
        desired_min_tx: 0,
        required_min_rx: 1,
        detect_mult: 0,
        demand: false,
    };
}

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it was configured to be.
    pub spec: BfdSpec,
    /// Our number of it; not 0, and no other session of this node has it.
    pub discriminator: u32,
    /// Its state.
    pub state: State,
    /// Why it is in it.
    pub diag: Diag,
    /// What the neighbour said last.
    pub remote: Remote,
    /// When it entered its state.
    pub since: Time,
    /// It counts as up for those who track it. One whose neighbour's administrator has taken it down
    /// counts as before: nothing has failed (RFC 5882, 3.2; keepalived).
    pub counts_as_up: bool,
    /// How often it was up.
    pub up_count: u64,
    /// When a packet of the neighbour was heard last.
    heard_at: Option<Time>,
    /// Changed timers are being announced until the neighbour has answered.
    is_polling: bool,
    /// What was announced and has been answered, in microseconds: until a poll has ended, it is not
    /// sent more rarely than this, and not expected more often (RFC 5880, 6.8.3).
    agreed_tx: u32,
    agreed_rx: u32,
    /// When the next packet is due; nothing while nothing is to be sent.
    send_at: Option<Time>,
    /// The port that the neighbour uses, as far as that is known.
    port: Option<u16>,
    chance: Chance,
}

/// An interval in microseconds, as it is on the wire.
fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}

impl Session {
    /// A session that has heard nothing. One that is not passive sends at once.
    pub fn new(spec: BfdSpec, discriminator: u32, mut chance: Chance, now: Time) -> Self {
        // Sessions that begin together do not go on together.
        let offset = Duration::from_micros(chance.draw() % 100_000);
        let mut session = Self {
            send_at: (!spec.passive).then_some(now + offset),
            spec,
            discriminator,
            state: State::Down,
            diag: Diag::NONE,
            remote: Remote::UNHEARD,
            since: now,
            counts_as_up: false,
            up_count: 0,
            heard_at: None,
            is_polling: false,
            agreed_tx: 0,
            agreed_rx: 0,
            port: None,
            chance,
        };
        (session.agreed_tx, session.agreed_rx) =
            (session.desired_min_tx(), session.required_min_rx());
        session
    }

    /// So often it would like to send, in microseconds: no more than once a second, or `idle_tx`, while
    /// it is not up (RFC 5880, 6.8.3).
    fn desired_min_tx(&self) -> u32 {
        micros(if self.state == State::Up { self.spec.min_tx } else { self.slowest() })
    }

    /// keepalived's idle interval is at least a second; with a slow `min_tx` it is that.
    fn slowest(&self) -> Duration {
        self.spec.idle_tx.max(self.spec.min_tx)
    }

    fn required_min_rx(&self) -> u32 {
        micros(self.spec.min_rx)
    }

    /// From packet to packet, before jitter; nothing if the neighbour wants none.
    pub fn transmit_interval(&self) -> Option<Duration> {
        let remote = self.remote.required_min_rx;
        let desired = self.desired_min_tx();
        // Rarer only when the neighbour has agreed to wait for longer.
        let own = if self.is_polling { desired.min(self.agreed_tx) } else { desired };
        (remote != 0).then(|| Duration::from_micros(u64::from(own.max(remote))))
    }

    /// How long nothing has to be heard until the session is down; nothing before the first packet.
    pub fn detection_time(&self) -> Option<Duration> {
        let required = self.required_min_rx();
        let own = if self.is_polling { required.max(self.agreed_rx) } else { required };
        let each = Duration::from_micros(u64::from(own.max(self.remote.desired_min_tx)));
        (self.remote.detect_mult > 0).then(|| each * u32::from(self.remote.detect_mult))
    }

    fn expires_at(&self) -> Option<Time> {
        let (heard_at, time) = (self.heard_at?, self.detection_time()?);
        (self.state != State::AdminDown).then(|| heard_at + time)
    }

    /// When a tick is wanted.
    pub fn deadline(&self) -> Option<Time> {
        self.send_at.into_iter().chain(self.expires_at()).min()
    }

    /// When the neighbour was heard last, if it is still.
    pub const fn heard_at(&self) -> Option<Time> {
        self.heard_at
    }

    /// Is it up?
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Is a packet with this TTL or hop limit, sent by the neighbour, not from further away than it
    /// may be? (RFC 5881, 5; keepalived's `max_hops`.)
    pub fn is_near(&self, ttl: u8) -> bool {
        ttl >= self.spec.ttl_min()
    }

    /// Time has passed: the neighbour may have gone, and a packet may be due.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.expires_at().is_some_and(|at| at <= now) {
            self.expire(now, out);
        }
        if self.send_at.is_some_and(|at| at <= now) {
            self.send(false, now, out);
        }
    }

    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        // What the neighbour said is of another life (RFC 5880, 6.8.1); a restarted one has another
        // discriminator, and may use another port.
        self.remote = Remote { diag: self.remote.diag, ..Remote::UNHEARD };
        (self.heard_at, self.port) = (None, None);
        if matches!(self.state, State::Init | State::Up) {
            self.enter(State::Down, Diag::EXPIRED, now, out);
            self.send(false, now, out);
        } else if self.spec.passive {
            self.send_at = None;
        }
    }

    /// Takes in a packet of the neighbour that came to this port (RFC 5880, 6.8.6).
    pub fn receive(&mut self, packet: &Control, port: u16, now: Time, out: &mut Vec<Output>) {
        if self.state == State::AdminDown {
            return;
        }
        let had_remote = self.remote.discriminator != 0;
        self.remote = Remote {
            state: packet.state,
            diag: packet.diag,
            discriminator: packet.mine,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            detect_mult: packet.detect_mult,
            demand: packet.demand,
        };
        self.heard_at = Some(now);
        if self.state != State::Up || self.port.is_none() {
            self.port = Some(port);
        }
        if packet.is_final && self.is_polling {
            self.is_polling = false;
            (self.agreed_tx, self.agreed_rx) = (self.desired_min_tx(), self.required_min_rx());
        }
        let next = match (self.state, packet.state) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
                Some((State::Down, Diag::NEIGHBOR_DOWN))
            }
            (State::Down, State::Down) => Some((State::Init, self.diag)),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                Some((State::Up, Diag::NONE))
            }
            _ => None,
        };
        if let Some((state, diag)) = next {
            self.enter(state, diag, now, out);
        }
        // An answer to a poll, or news, is not made to wait for the next packet that is due.
        if packet.poll || next.is_some() {
            self.send(packet.poll, now, out);
        } else if !had_remote && self.send_at.is_none() {
            self.send(false, now, out);
        }
        self.pull(now);
    }

    /// The neighbour wants packets more often, or none any more: the next one is not later, or not due.
    fn pull(&mut self, now: Time) {
        match self.pause() {
            None => self.send_at = None,
            Some(pause) => {
                let latest = now + pause;
                self.send_at = Some(self.send_at.map_or(latest, |at| at.min(latest)));
            }
        }
    }

    /// Until the next packet: the interval less a quarter at most; with a multiplier of 1 less a tenth
    /// at least (RFC 5880, 6.8.7). Nothing while none is to be sent.
    fn pause(&mut self) -> Option<Duration> {
        let is_unasked = self.spec.passive && self.remote.discriminator == 0;
        let is_quiet = self.remote.demand
            && self.state == State::Up
            && self.remote.state == State::Up
            && !self.is_polling;
        if self.state == State::AdminDown || is_unasked || is_quiet {
            return None;
        }
        let interval = self.transmit_interval()?;
        let range = if self.spec.multiplier == 1 { 750..900 } else { 750..1000_u64 };
        let permille = range.start + self.chance.draw() % (range.end - range.start);
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Some(Duration::from_nanos((nanos / 1000).saturating_mul(permille)))
    }

    fn enter(&mut self, state: State, diag: Diag, now: Time, out: &mut Vec<Output>) {
        let from = std::mem::replace(&mut self.state, state);
        (self.diag, self.since) = (diag, now);
        let is_farewell = diag == Diag::NEIGHBOR_DOWN && self.remote.state == State::AdminDown;
        match state {
            State::Up => self.counts_as_up = true,
            State::Down if !is_farewell => self.counts_as_up = false,
            State::Down | State::Init | State::AdminDown => {}
        }
        if state == State::Up {
            self.up_count += 1;
            // From now on it sends more often, and says so until that was heard.
            self.is_polling = true;
        } else {
            // It is slow again at once: nobody relies on its packets.
            self.is_polling = false;
            (self.agreed_tx, self.agreed_rx) = (self.desired_min_tx(), self.required_min_rx());
        }
        out.push(Output::Entered { from });
    }

    /// A packet as the session is now.
    fn packet(&self, is_final: bool) -> Control {
        Control {
            diag: self.diag,
            state: self.state,
            // No packet has both bits (RFC 5880, 6.5).
            poll: self.is_polling && !is_final,
            is_final,
            is_independent: false,
            demand: false,
            detect_mult: self.spec.multiplier,
            mine: self.discriminator,
            yours: self.remote.discriminator,
            desired_min_tx: self.desired_min_tx(),
            required_min_rx: self.required_min_rx(),
            required_min_echo_rx: 0,
        }
    }

    fn send(&mut self, is_final: bool, now: Time, out: &mut Vec<Output>) {
        let bytes = self.packet(is_final).emit();
        for &port in self.ports() {
            out.push(Output::Send { port, bytes });
        }
        self.send_at = self.pause().map(|pause| now + pause);
    }

    /// Where packets go. keepalived sends over several hops to the port of single hop, others to the
    /// one of RFC 5883: as long as the neighbour is not heard, both are tried.
    fn ports(&self) -> &'static [u16] {
        match self.port {
            _ if !self.spec.is_multihop() => &[PORT],
            None => &[PORT, MULTIHOP_PORT],
            Some(MULTIHOP_PORT) => &[MULTIHOP_PORT],
            Some(_) => &[PORT],
        }
    }

    /// Goes on with other timers; those of a session that is up are announced by a poll.
    pub fn adopt(&mut self, spec: BfdSpec, now: Time, out: &mut Vec<Output>) {
        if spec == self.spec {
            return;
        }
        let before = (self.desired_min_tx(), self.required_min_rx());
        self.spec = spec;
        if self.is_up()
            && !self.is_polling
            && before != (self.desired_min_tx(), self.required_min_rx())
        {
            (self.agreed_tx, self.agreed_rx) = before;
            self.is_polling = true;
        }
        if self.spec.passive && self.remote.discriminator == 0 {
            self.send_at = None;
        } else {
            self.send(false, now, out);
        }
    }

    /// Its administrator wants it down: says so, and nothing more (RFC 5880, 6.8.16).
    pub fn close(&mut self, now: Time, out: &mut Vec<Output>) {
        let is_known = self.remote.discriminator != 0;
        self.enter(State::AdminDown, Diag::ADMIN_DOWN, now, out);
        if is_known {
            self.send(false, now, out);
        }
        self.send_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn spec(rx_ms: u64, tx_ms: u64, multiplier: u8) -> BfdSpec {
        BfdSpec {
            name: "b".into(),
            neighbor: Ipv4Addr::new(10, 9, 0, 2).into(),
            source: None,
            min_rx: Duration::from_millis(rx_ms),
            min_tx: Duration::from_millis(tx_ms),
            idle_tx: Duration::from_secs(1),
            multiplier,
            passive: false,
            ttl: None,
            max_hops: 0,
        }
    }

    fn session(spec: BfdSpec) -> Session {
        Session::new(spec, 7, Chance::new(1), Time::ZERO)
    }

    /// A neighbour's packet.
    fn says(state: State) -> Control {
        Control {
            state,
            detect_mult: 3,
            mine: 9,
            yours: 7,
            desired_min_tx: 1_000_000,
            required_min_rx: 20_000,
            ..Control::default()
        }
    }

    /// Feeds a packet; returns the packets that are sent.
    fn hear(session: &mut Session, packet: Control, now: Time) -> Vec<Control> {
        let mut out = Vec::new();
        session.receive(&packet, PORT, now, &mut out);
        sent(&out)
    }

    fn tick(session: &mut Session, now: Time) -> Vec<Control> {
        let mut out = Vec::new();
        session.tick(now, &mut out);
        sent(&out)
    }

    fn sent(out: &[Output]) -> Vec<Control> {
        let packets = out.iter().filter_map(|output| match output {
            Output::Send { bytes, .. } => Some(Control::parse(bytes).expect("a good packet")),
            Output::Entered { .. } => None,
        });
        packets.collect()
    }

    #[test]
    fn states_follow_the_table_of_the_rfc() {
        use State::{AdminDown, Down, Init, Up};
        for (from, heard, to) in [
            (Down, AdminDown, Down),
            (Down, Down, Init),
            (Down, Init, Up),
            (Down, Up, Down),
            (Init, AdminDown, Down),
            (Init, Down, Init),
            (Init, Init, Up),
            (Init, Up, Up),
            (Up, AdminDown, Down),
            (Up, Down, Down),
            (Up, Init, Up),
            (Up, Up, Up),
            (AdminDown, Init, AdminDown),
            (AdminDown, Up, AdminDown),
        ] {
            let mut session = session(spec(50, 50, 3));
            session.state = from;
            hear(&mut session, says(heard), at(10));
            assert_eq!(session.state, to, "{from} hears {heard}");
            let is_told = to == Down && from != Down;
            assert_eq!(session.diag == Diag::NEIGHBOR_DOWN, is_told, "{from} hears {heard}");
        }
    }

    #[test]
    fn it_is_slow_until_it_is_up_and_polls_then() {
        let mut session = session(spec(50, 30, 3));
        let packet = tick(&mut session, at(100))[0];
        assert_eq!((packet.state, packet.yours, packet.poll), (State::Down, 0, false));
        assert_eq!((packet.desired_min_tx, packet.required_min_rx), (1_000_000, 50_000));
        let packet = hear(&mut session, says(State::Init), at(200))[0];
        assert_eq!((packet.state, packet.yours, packet.poll), (State::Up, 9, true));
        assert_eq!(
            (packet.desired_min_tx, session.detection_time().unwrap().as_millis()),
            (30_000, 3000)
        );
        // Faster at once, and polls until the answer.
        assert_eq!(session.transmit_interval(), Some(Duration::from_millis(30)));
        assert!(tick(&mut session, at(230))[0].poll);
        let answer = Control { is_final: true, desired_min_tx: 60_000, ..says(State::Up) };
        assert_eq!(hear(&mut session, answer, at(240)), []);
        assert!(!tick(&mut session, at(270))[0].poll);
        assert_eq!(session.detection_time(), Some(Duration::from_millis(180)));
    }

    #[test]
    fn a_poll_is_answered_at_once_and_never_with_both_bits() {
        let mut session = session(spec(50, 50, 3));
        hear(&mut session, says(State::Init), at(10));
        let answers = hear(&mut session, Control { poll: true, ..says(State::Up) }, at(11));
        assert_eq!(
            answers.iter().map(|p| (p.poll, p.is_final)).collect::<Vec<_>>(),
            [(false, true)]
        );
        assert!(tick(&mut session, at(61))[0].poll, "its own poll goes on");
    }

    #[test]
    fn silence_is_the_end_after_the_detection_time() {
        let mut session = session(spec(50, 50, 3));
        hear(&mut session, says(State::Init), at(0));
        let fast = Control { desired_min_tx: 10_000, is_final: true, ..says(State::Up) };
        hear(&mut session, fast, at(10));
        // We can receive every 50 ms only, so the neighbour sends no more often.
        tick(&mut session, at(159));
        assert_eq!(session.state, State::Up);
        let packet = tick(&mut session, at(160))[0];
        assert_eq!((packet.state, packet.diag, packet.yours), (State::Down, Diag::EXPIRED, 0));
        assert_eq!(session.since, at(160));
    }

    #[test]
    fn a_passive_one_speaks_when_spoken_to() {
        let mut session = session(BfdSpec { passive: true, ..spec(50, 50, 3) });
        assert_eq!(session.deadline(), None);
        let down = Control { yours: 0, ..says(State::Down) };
        assert_eq!(hear(&mut session, down, at(10))[0].state, State::Init);
        assert!(session.deadline().is_some());
        tick(&mut session, at(3010));
        assert_eq!(session.state, State::Down);
        assert_eq!(session.deadline(), None, "nobody is there to be spoken to");
    }

    #[test]
    fn who_can_receive_nothing_is_sent_nothing() {
        let mut session = session(spec(50, 50, 3));
        hear(&mut session, Control { required_min_rx: 0, ..says(State::Init) }, at(10));
        assert_eq!((session.transmit_interval(), session.send_at), (None, None));
        hear(&mut session, says(State::Up), at(20));
        assert!(session.send_at.is_some());
        hear(&mut session, Control { demand: true, is_final: true, ..says(State::Up) }, at(30));
        assert_eq!(session.send_at, None, "demand mode");
    }

    #[test]
    fn several_hops_are_tried_at_both_ports_until_one_answers() {
        let mut session = session(BfdSpec { max_hops: 5, ..spec(50, 50, 3) });
        let ports = |out: &[Output]| {
            let port = |output: &Output| match output {
                Output::Send { port, .. } => Some(*port),
                Output::Entered { .. } => None,
            };
            out.iter().filter_map(port).collect::<Vec<_>>()
        };
        let mut out = Vec::new();
        session.tick(at(100), &mut out);
        assert_eq!(ports(&out), [PORT, MULTIHOP_PORT]);
        for port in [MULTIHOP_PORT, PORT] {
            out.clear();
            session.receive(&says(State::Down), port, at(200), &mut out);
            session.tick(at(1200), &mut out);
            assert!(ports(&out).iter().all(|sent| *sent == port), "{out:?}");
        }
        assert!(session.is_near(250) && !session.is_near(249));
    }

    #[test]
    fn other_timers_are_announced_before_they_count() {
        let mut session = session(spec(50, 50, 3));
        hear(&mut session, says(State::Init), at(0));
        let fast = Control { desired_min_tx: 10_000, is_final: true, ..says(State::Up) };
        hear(&mut session, fast, at(10));
        let mut out = Vec::new();
        session.adopt(spec(20, 400, 3), at(20), &mut out);
        assert_eq!(sent(&out).len(), 1);
        let packet = sent(&out)[0];
        assert_eq!(
            (packet.poll, packet.desired_min_tx, packet.required_min_rx),
            (true, 400_000, 20_000)
        );
        assert_eq!(session.transmit_interval(), Some(Duration::from_millis(50)));
        assert_eq!(session.detection_time(), Some(Duration::from_millis(150)));
        hear(&mut session, fast, at(30));
        assert_eq!(session.transmit_interval(), Some(Duration::from_millis(400)));
        assert_eq!(session.detection_time(), Some(Duration::from_millis(60)));
    }

    #[test]
    fn a_neighbour_s_administrator_is_no_failure() {
        for (word, counts) in [(State::Down, false), (State::AdminDown, true)] {
            let mut session = session(spec(50, 50, 3));
            hear(&mut session, says(State::Init), at(0));
            assert!(session.counts_as_up);
            hear(&mut session, says(word), at(10));
            tick(&mut session, at(9000));
            assert_eq!((session.state, session.counts_as_up), (State::Down, counts));
            // Once it is back, its silence counts again.
            hear(&mut session, says(State::Init), at(9010));
            tick(&mut session, at(19_000));
            assert!(!session.counts_as_up);
        }
    }

    #[test]
    fn who_is_closed_says_so_once() {
        let mut session = session(spec(50, 50, 3));
        hear(&mut session, says(State::Init), at(0));
        let mut out = Vec::new();
        session.close(at(10), &mut out);
        let last = sent(&out)[0];
        assert_eq!((last.state, last.diag), (State::AdminDown, Diag::ADMIN_DOWN));
        assert_eq!(session.deadline(), None);
    }

    /// Two sessions and what is between them, played from a seed.
    struct World {
        ends: [Session; 2],
        now: Time,
        /// Packets on their way: when they arrive, and at which end.
        wire: BTreeMap<(Time, u64), (usize, [u8; PACKET_BYTES])>,
        count: u64,
        chance: Chance,
        /// Of a thousand packets so many are lost, in each direction.
        loss: [u64; 2],
        delay_us: u64,
        /// When each end left Up for the last time.
        left_up: [Option<Time>; 2],
        sends: [Vec<Time>; 2],
    }

    impl World {
        fn new(seed: u64) -> Self {
            let mut chance = Chance::new(seed);
            let mut pick = |from: u64, to: u64| from + chance.draw() % (to - from);
            let mut specs = [(); 2].map(|()| spec(pick(50, 400), pick(50, 400), pick(1, 6) as u8));
            // One may be passive, not both.
            let passive = pick(0, 4);
            for (place, spec) in specs.iter_mut().enumerate() {
                spec.passive = passive == place as u64;
            }
            let delay_us = pick(1, 4000);
            let seeds = [chance.draw(), chance.draw()];
            let [a, b] = specs;
            let ends = [
                Session::new(a, 11, Chance::new(seeds[0]), Time::ZERO),
                Session::new(b, 22, Chance::new(seeds[1]), Time::ZERO),
            ];
            let (wire, sends) = (BTreeMap::new(), [vec![], vec![]]);
            let (count, loss, left_up) = (0, [0; 2], [None; 2]);
            Self { ends, now: Time::ZERO, wire, count, chance, loss, delay_us, left_up, sends }
        }

        fn run(&mut self, millis: u64) {
            let until = self.now + Duration::from_millis(millis);
            loop {
                let arrival = self.wire.keys().next().map(|(at, _)| *at);
                let due = self.ends.iter().filter_map(Session::deadline).min();
                let Some(next) = arrival.into_iter().chain(due).min().filter(|at| *at <= until)
                else {
                    break;
                };
                self.now = self.now.max(next);
                let (now, mut out) = (self.now, Vec::new());
                if arrival.is_some_and(|at| at <= now)
                    && let Some((_, (end, bytes))) = self.wire.pop_first()
                {
                    let packet = Control::parse(&bytes).expect("a good packet");
                    self.ends[end].receive(&packet, PORT, now, &mut out);
                    self.act(end, &out);
                    continue;
                }
                for end in 0..2 {
                    out.clear();
                    self.ends[end].tick(now, &mut out);
                    self.act(end, &out);
                }
            }
            self.now = until;
        }

        fn act(&mut self, end: usize, out: &[Output]) {
            for output in out {
                match output {
                    Output::Send { bytes, .. } => {
                        self.sends[end].push(self.now);
                        if self.chance.draw() % 1000 >= self.loss[end] {
                            self.count += 1;
                            let delay = 1 + self.chance.draw() % self.delay_us;
                            let arrival = self.now + Duration::from_micros(delay);
                            self.wire.insert((arrival, self.count), (1 - end, *bytes));
                        }
                    }
                    Output::Entered { from: State::Up } => self.left_up[end] = Some(self.now),
                    Output::Entered { .. } => {}
                }
            }
        }

        fn states(&self) -> [State; 2] {
            [self.ends[0].state, self.ends[1].state]
        }
    }

    /// How many worlds are played.
    const WORLDS: u64 = 10_000;

    #[test]
    fn two_of_them_find_each_other_lose_each_other_and_find_each_other_again() {
        for seed in 0..WORLDS {
            let mut world = World::new(seed);
            // Bad times: whatever was lost, nothing is left of it.
            world.loss = [world.chance.draw() % 1000, world.chance.draw() % 1000];
            world.run(3000);
            world.loss = [0; 2];
            world.run(9000);
            assert_eq!(world.states(), [State::Up; 2], "seed {seed}");
            for end in 0..2 {
                let (here, there) = (&world.ends[end], &world.ends[1 - end]);
                assert!(!here.is_polling, "seed {seed}");
                assert_eq!(here.remote.discriminator, there.discriminator, "seed {seed}");
                let interval = micros(here.spec.min_tx).max(micros(there.spec.min_rx));
                let interval = Duration::from_micros(interval.into());
                assert_eq!(here.transmit_interval(), Some(interval), "seed {seed}");
                let time = interval * u32::from(here.spec.multiplier);
                assert_eq!(there.detection_time(), Some(time), "seed {seed}");
            }
            // A good link does not let them fall.
            world.left_up = [None; 2];
            world.sends.iter_mut().for_each(Vec::clear);
            world.run(2000);
            assert_eq!(world.left_up, [None; 2], "seed {seed}");
            for end in 0..2 {
                let interval = world.ends[end].transmit_interval().expect("it sends");
                for pair in world.sends[end].windows(2) {
                    let pause = pair[1].since(pair[0]);
                    assert!(pause >= interval * 3 / 4 && pause <= interval, "seed {seed}");
                }
            }
            // A cut in one direction or in both is noticed at both ends, in time.
            let cut = world.chance.draw() % 3;
            world.loss = [[1000, 0], [0, 1000], [1000, 1000]][cut as usize];
            let cut_at = world.now;
            let slack = Duration::from_millis(10);
            let times = [0, 1].map(|end: usize| world.ends[end].detection_time().expect("heard"));
            world.run(3000);
            for end in 0..2 {
                let left = world.left_up[end].unwrap_or(Time::MAX);
                let limit =
                    if cut == 2 || cut as usize == 1 - end { times[end] } else { times[1 - end] };
                assert!(left <= cut_at + limit + slack, "seed {seed}, end {end}");
            }
            world.loss = [0; 2];
            world.run(9000);
            assert_eq!(world.states(), [State::Up; 2], "seed {seed}");
            // A restart of one end is noticed, and survived.
            let end = (seed % 2) as usize;
            let spec = world.ends[end].spec.clone();
            let chance = Chance::new(world.chance.draw());
            world.ends[end] = Session::new(spec, 33, chance, world.now);
            world.run(9000);
            assert_eq!(world.states(), [State::Up; 2], "seed {seed}");
        }
    }
}
