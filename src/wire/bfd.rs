//! BFD control packets (RFC 5880, 4.1), the payload of UDP: single hop to port 3784 (RFC 5881), over
//! several hops to port 4784 (RFC 5883).

use std::fmt;

/// UDP port of sessions with a neighbour on the same link (RFC 5881, 4).
pub const PORT: u16 = 3784;
/// UDP port of sessions over more than one hop (RFC 5883, 5).
pub const MULTIHOP_PORT: u16 = 4784;
/// Where source ports are taken from (RFC 5881, 4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Length of a packet without authentication.
pub const PACKET_BYTES: usize = 24;

const VERSION: u8 = 1;
/// What an authentication section has at least: its type and its length.
const AUTH_BYTES_MIN: usize = 2;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// State of a session (RFC 5880, 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Held down by its administrator.
    AdminDown,
    /// The neighbour is not there, or has just gone.
    #[default]
    Down,
    /// The neighbour is heard, and does not yet hear.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    /// keepalived's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a session left the state Up, or did not reach it (RFC 5880, 4.1): 0 to 31.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diag(u8);

impl Diag {
    /// Nothing has happened.
    pub const NONE: Self = Self(0);
    /// Nothing was heard for the detection time.
    pub const EXPIRED: Self = Self(1);
    /// The neighbour said that it is down.
    pub const NEIGHBOR_DOWN: Self = Self(3);
    /// An administrator wants it so.
    pub const ADMIN_DOWN: Self = Self(7);

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diag {
    /// The names of RFC 5880.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            other => return write!(f, "Diagnostic {other}"),
        })
    }
}

/// One control packet, without authentication. Intervals are in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Why the sender's session last changed its state.
    pub diag: Diag,
    /// State of the sender's session.
    pub state: State,
    /// The sender wants an answer with the final bit.
    pub poll: bool,
    /// This is that answer.
    pub is_final: bool,
    /// The sender's BFD does not share its fate with what controls it.
    pub is_independent: bool,
    /// The sender wants to hear nothing while the session is up.
    pub demand: bool,
    /// So many of the sender's packets have to be missed.
    pub detect_mult: u8,
    /// The sender's number of the session; not 0.
    pub mine: u32,
    /// The receiver's number of it, as the sender heard it; 0 if it has not.
    pub yours: u32,
    /// The sender would like to send as often as this.
    pub desired_min_tx: u32,
    /// The sender can receive as often as this; 0: it wants nothing at all.
    pub required_min_rx: u32,
    /// As often as this the sender would return echo packets; 0: it would not.
    pub required_min_echo_rx: u32,
}

/// Why a packet is discarded, whatever session it is for (RFC 5880, 6.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It ends before its length does, or before a packet can.
    Truncated,
    /// Its version.
    Version(u8),
    /// Its length field says less than its parts need.
    Length(u8),
    /// The detection multiplier is 0.
    Multiplier,
    /// The multipoint bit is set.
    Multipoint,
    /// The sender's own discriminator is 0.
    Mine,
    /// The receiver's discriminator is 0, in a state that is not reached without it.
    Yours(State),
    /// It is authenticated, and no session here is.
    Authenticated,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it is truncated"),
            Self::Version(version) => write!(f, "version {version} is not {VERSION}"),
            Self::Length(length) => write!(f, "a length of {length} is too short"),
            Self::Multiplier => f.write_str("its detection multiplier is 0"),
            Self::Multipoint => f.write_str("its multipoint bit is set"),
            Self::Mine => f.write_str("its own discriminator is 0"),
            Self::Yours(state) => write!(f, "no discriminator of ours in state {state}"),
            Self::Authenticated => f.write_str("it is authenticated"),
        }
    }
}

impl Control {
    /// The packet.
    pub fn emit(&self) -> [u8; PACKET_BYTES] {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.is_independent, INDEPENDENT)
            | flag(self.demand, DEMAND);
        let mut out = [0; PACKET_BYTES];
        out[0] = VERSION << 5 | self.diag.0 & 0x1f;
        out[1] = (self.state as u8) << 6 | flags;
        out[2] = self.detect_mult;
        out[3] = PACKET_BYTES as u8;
        let words = [
            self.mine,
            self.yours,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (place, word) in out[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// Reads the payload of a datagram and judges what can be judged without a session. What follows
    /// the packet is of no interest.
    ///
    /// # Errors
    /// The first of RFC 5880's reasons to discard it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let head = bytes.first_chunk::<PACKET_BYTES>().ok_or(Flaw::Truncated)?;
        let [first, second, detect_mult, length, words @ ..] = *head;
        if first >> 5 != VERSION {
            return Err(Flaw::Version(first >> 5));
        }
        let is_authenticated = second & AUTHENTICATED != 0;
        let needed = PACKET_BYTES + if is_authenticated { AUTH_BYTES_MIN } else { 0 };
        if usize::from(length) < needed {
            return Err(Flaw::Length(length));
        }
        if usize::from(length) > bytes.len() {
            return Err(Flaw::Truncated);
        }
        if detect_mult == 0 {
            return Err(Flaw::Multiplier);
        }
        if second & MULTIPOINT != 0 {
            return Err(Flaw::Multipoint);
        }
        let word = |at: usize| {
            let bytes = words.get(at * 4..).and_then(|rest| rest.first_chunk::<4>());
            u32::from_be_bytes(bytes.copied().unwrap_or_default())
        };
        let state = State::from_bits(second >> 6);
        let (mine, yours) = (word(0), word(1));
        if mine == 0 {
            return Err(Flaw::Mine);
        }
        if yours == 0 && !matches!(state, State::Down | State::AdminDown) {
            return Err(Flaw::Yours(state));
        }
        if is_authenticated {
            return Err(Flaw::Authenticated);
        }
        Ok(Self {
            diag: Diag(first & 0x1f),
            state,
            poll: second & POLL != 0,
            is_final: second & FINAL != 0,
            is_independent: second & INDEPENDENT != 0,
            demand: second & DEMAND != 0,
            detect_mult,
            mine,
            yours,
            desired_min_tx: word(2),
            required_min_rx: word(3),
            required_min_echo_rx: word(4),
        })
    }
}

impl fmt::Display for Control {
    /// One line, as a packet dump would show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BFD {}{}{}, mult {}, discr {:#010x} {:#010x}, tx {} us, rx {} us",
            self.state,
            if self.poll { " poll" } else { "" },
            if self.is_final { " final" } else { "" },
            self.detect_mult,
            self.mine,
            self.yours,
            self.desired_min_tx,
            self.required_min_rx,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn control() -> Control {
        Control {
            state: State::Up,
            detect_mult: 5,
            mine: 0x0102_0304,
            yours: 0x0506_0708,
            desired_min_tx: 10_000,
            required_min_rx: 1_000_000,
            ..Control::default()
        }
    }

    #[test]
    fn a_packet_is_that_of_the_rfc() {
        let expected = [
            0x20, 0xc0, 5, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x27, 0x10, 0, 0x0f, 0x42, 0x40, 0, 0,
            0, 0,
        ];
        assert_eq!(control().emit(), expected);
        let flags = Control { diag: Diag::EXPIRED, state: State::Down, poll: true, ..control() };
        assert_eq!(flags.emit()[..2], [0x21, 0x60]);
        let flags = Control { is_final: true, is_independent: true, demand: true, ..control() };
        assert_eq!(flags.emit()[..2], [0x20, 0xda]);
    }

    #[test]
    fn every_reason_of_the_rfc_discards() {
        let with = |at: usize, bytes: &[u8]| {
            let mut packet = control().emit();
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            Control::parse(&packet)
        };
        assert_eq!(with(0, &[0x00]), Err(Flaw::Version(0)));
        assert_eq!(with(0, &[0x40]), Err(Flaw::Version(2)));
        assert_eq!(with(3, &[23]), Err(Flaw::Length(23)));
        assert_eq!(with(3, &[25]), Err(Flaw::Truncated));
        assert_eq!(with(2, &[0]), Err(Flaw::Multiplier));
        assert_eq!(with(1, &[0xc1]), Err(Flaw::Multipoint));
        assert_eq!(with(4, &[0; 4]), Err(Flaw::Mine));
        assert_eq!(with(8, &[0; 4]), Err(Flaw::Yours(State::Up)));
        assert_eq!(with(1, &[0xc4]), Err(Flaw::Length(24)));
        let mut signed = control().emit().to_vec();
        (signed[1], signed[3]) = (0xc4, 28);
        assert_eq!(Control::parse(&signed), Err(Flaw::Truncated));
        signed.extend([1, 4, 1, b'x']);
        assert_eq!(Control::parse(&signed), Err(Flaw::Authenticated));
    }

    #[test]
    fn a_stranger_is_heard_only_while_down() {
        for (state, is_heard) in [
            (State::AdminDown, true),
            (State::Down, true),
            (State::Init, false),
            (State::Up, false),
        ] {
            let packet = Control { state, yours: 0, ..control() };
            assert_eq!(Control::parse(&packet.emit()).is_ok(), is_heard, "{state}");
        }
    }

    #[test]
    fn nothing_shorter_than_a_packet_is_one() {
        let packet = control().emit();
        for length in 0..PACKET_BYTES {
            assert_eq!(Control::parse(&packet[..length]), Err(Flaw::Truncated), "{length}");
        }
        // Padding is of no interest.
        assert_eq!(Control::parse(&[&packet[..], &[0; 9]].concat()), Ok(control()));
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(
            diag in 0u8..32, state in 0u8..4, flags: [bool; 4], detect_mult in 1u8..,
            mine in 1u32.., yours in 1u32.., timers: [u32; 3],
        ) {
            let sent = Control {
                diag: Diag(diag),
                state: State::from_bits(state),
                poll: flags[0],
                is_final: flags[1],
                is_independent: flags[2],
                demand: flags[3],
                detect_mult,
                mine,
                yours,
                desired_min_tx: timers[0],
                required_min_rx: timers[1],
                required_min_echo_rx: timers[2],
            };
            prop_assert_eq!(Control::parse(&sent.emit()), Ok(sent));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            match Control::parse(&bytes) {
                Ok(control) => {
                    let _ = control.to_string();
                    prop_assert!(control.mine != 0 && control.detect_mult != 0);
                }
                Err(flaw) => prop_assert!(!flaw.to_string().is_empty()),
            }
        }
    }
}
