//! Signed adverts (`auth_hmac`): what an instance signs with, and which trailers it believes.
//!
//! Nothing here outlives the daemon, as in keepalived: a sequence is the time, so a sender that was
//! started again goes on above its last one unless its clock was set back meanwhile.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::spec::{AntiReplay, HmacMode, HmacSpec};
use crate::wire::trailer::{Sequence, Trailer, sign};
use crate::wire::vrrp::Packet;

/// So many senders are known at a time, beside the unicast peers; the one heard longest ago is
/// forgotten first. Nobody without a key gets that far.
const SENDERS_MAX: usize = 4;

/// Where a signing instance is.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// The sequence of the last advert that was sent.
    sent: Option<Sequence>,
    /// The highest sequence of each sender; the one heard last stands at the end.
    marks: Vec<(IpAddr, Sequence)>,
    /// A master that was silent by our timers got one more interval, since only stale adverts of it
    /// were read.
    pub(super) has_waited: bool,
    /// The clock of some sender is more than half the window away, and that was said.
    is_skewed: bool,
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mistrust {
    /// There is none.
    Missing,
    /// What stands behind the message is no trailer that we know.
    Malformed,
    /// It was made so many seconds ago, or (negative) is to be made in so many: too many.
    Stale(i32),
    /// It was made with a key that we do not have.
    UnknownKey(u8),
    /// It is not that of this advert.
    Wrong,
    /// Its sender has sent this one, or a later one, before.
    Replayed,
}

impl Signing {
    /// The trailer of an advert that is sent now; none if this instance does not sign.
    pub(super) fn sign(
        &mut self,
        spec: &HmacSpec,
        source: IpAddr,
        message: &[u8],
        utc: Duration,
    ) -> Vec<u8> {
        if spec.mode == HmacMode::ReceiveOnly {
            return Vec::new();
        }
        // The configuration is checked: the active key is there.
        let Some(key) = spec.keys.get(&spec.active_key) else { return Vec::new() };
        let sequence = self.next(spec.anti_replay, utc);
        sign(key, spec.active_key, sequence, source, message).to_vec()
    }

    /// The time, or if that would not be more than the last one, one more than that. Receivers that
    /// look at the time would not take what is beyond their window, so a clock that was set back by
    /// more than it is followed; those that do not would take nothing that is less.
    fn next(&mut self, anti_replay: AntiReplay, utc: Duration) -> Sequence {
        let clock = Sequence::at(utc);
        let next = match self.sent {
            Some(sent) if !clock.is_after(sent) => match anti_replay {
                AntiReplay::Time { window } if sent.age(utc) < -seconds(window) => clock,
                AntiReplay::Time { .. } | AntiReplay::Monotonic => sent.next(),
            },
            Some(_) | None => clock,
        };
        self.sent = Some(next);
        next
    }

    /// Judges the signature of a packet whose trailer was split off, in keepalived's order: nothing
    /// moves before the digest was found right, and a digest is only made for what is not stale.
    ///
    /// Returns the sender's clock skew in seconds if that is to be told: it is more than half the
    /// window, and was not before.
    ///
    /// # Errors
    /// Why it does not count.
    pub(super) fn check(
        &mut self,
        spec: &HmacSpec,
        senders_max: usize,
        packet: &Packet<'_>,
        trailer: Option<&[u8]>,
        utc: Duration,
    ) -> Result<Option<i32>, Mistrust> {
        let Some(trailer) = trailer else {
            return match spec.mode {
                HmacMode::Enforce => Err(Mistrust::Missing),
                HmacMode::Permissive | HmacMode::ReceiveOnly => Ok(None),
            };
        };
        let trailer = Trailer::read(trailer).ok_or(Mistrust::Malformed)?;
        let skew = trailer.sequence.age(utc);
        if let AntiReplay::Time { window } = spec.anti_replay
            && skew.unsigned_abs() > u32::from(window)
        {
            return Err(Mistrust::Stale(skew));
        }
        let key = spec.keys.get(&trailer.key_id).ok_or(Mistrust::UnknownKey(trailer.key_id))?;
        if !trailer.is_right(key, packet.source(), packet.message()) {
            return Err(Mistrust::Wrong);
        }
        self.raise_mark(spec.anti_replay, senders_max, packet.source(), trailer.sequence, utc)?;
        self.has_waited = false;
        Ok(self.notice_skew(spec.anti_replay, skew))
    }

    /// Takes in a sequence whose signature is right.
    fn raise_mark(
        &mut self,
        anti_replay: AntiReplay,
        senders_max: usize,
        from: IpAddr,
        sequence: Sequence,
        utc: Duration,
    ) -> Result<(), Mistrust> {
        let place = self.marks.iter().position(|(sender, _)| *sender == from);
        let mark = place.map(|place| self.marks.remove(place).1);
        // One outside the window only keeps off what the window keeps off already, or a sender
        // whose clock was set right.
        let holds = |mark: &Sequence| match anti_replay {
            AntiReplay::Time { window } => mark.age(utc).unsigned_abs() <= u32::from(window),
            AntiReplay::Monotonic => true,
        };
        let before = mark.filter(holds).filter(|mark| !sequence.is_after(*mark));
        if self.marks.len() >= SENDERS_MAX + senders_max {
            self.marks.remove(0);
        }
        self.marks.push((from, before.unwrap_or(sequence)));
        if before.is_some() { Err(Mistrust::Replayed) } else { Ok(()) }
    }

    fn notice_skew(&mut self, anti_replay: AntiReplay, skew: i32) -> Option<i32> {
        let AntiReplay::Time { window } = anti_replay else { return None };
        let was_skewed = self.is_skewed;
        self.is_skewed = skew.unsigned_abs() * 2 > u32::from(window);
        (self.is_skewed && !was_skewed).then_some(skew)
    }
}

fn seconds(window: u16) -> i32 {
    i32::from(window)
}

impl fmt::Display for Mistrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("auth_hmac: not signed"),
            Self::Malformed => f.write_str("auth_hmac: malformed trailer"),
            Self::Stale(age) if *age < 0 => {
                write!(f, "auth_hmac: signed {} s in the future; are the clocks set?", -age)
            }
            Self::Stale(age) => write!(f, "auth_hmac: signed {age} s ago; are the clocks set?"),
            Self::UnknownKey(id) => write!(f, "auth_hmac: signed with key {id}, which is not here"),
            Self::Wrong => f.write_str("auth_hmac: wrong signature: another key, or forged"),
            Self::Replayed => f.write_str("auth_hmac: replayed, or overtaken by a later one"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::trailer::Key;
    use crate::wire::vrrp::{Advert, GROUP, TTL};
    use std::net::Ipv4Addr;

    const NOW: u64 = 1_800_000_000;

    fn spec(mode: HmacMode, anti_replay: AntiReplay) -> HmacSpec {
        let key = |byte| Key::new(&[byte; 32]).expect("32 bytes");
        HmacSpec { keys: [(1, key(1)), (2, key(2))].into(), active_key: 1, anti_replay, mode }
    }

    fn by_time() -> HmacSpec {
        spec(HmacMode::Enforce, AntiReplay::Time { window: 5 })
    }

    /// What a node of this address sends.
    fn advert(sender: &mut Signing, spec: &HmacSpec, last: u8, utc: Duration) -> Vec<u8> {
        let source = Ipv4Addr::new(10, 9, 0, last);
        let advert = Advert {
            version: 2,
            vrid: 51,
            priority: 100,
            auth_type: 0,
            interval: 1,
            addresses: vec![[10, 9, 0, 70].into()],
            auth_data: [0; 8],
        };
        let trailer = sender.sign(spec, source.into(), &advert.emit_v6(), utc);
        advert.emit_signed(1, TTL, source, GROUP, false, &trailer)
    }

    fn hear(
        receiver: &mut Signing,
        spec: &HmacSpec,
        bytes: &[u8],
        utc: Duration,
    ) -> Result<Option<i32>, Mistrust> {
        let (packet, trailer) = Packet::new_v4(bytes).expect("long enough").split_trailer();
        receiver.check(spec, 0, &packet, trailer, utc)
    }

    fn utc(millis: u64) -> Duration {
        Duration::from_secs(NOW) + Duration::from_millis(millis)
    }

    #[test]
    fn the_same_advert_counts_once() {
        let spec = by_time();
        let (mut a, mut b) = (Signing::default(), Signing::default());
        let first = advert(&mut a, &spec, 1, utc(0));
        let second = advert(&mut a, &spec, 1, utc(0));
        assert_eq!(hear(&mut b, &spec, &first, utc(1)), Ok(None));
        assert_eq!(hear(&mut b, &spec, &first, utc(2)), Err(Mistrust::Replayed));
        assert_eq!(hear(&mut b, &spec, &second, utc(3)), Ok(None), "within one clock tick");
        assert_eq!(hear(&mut b, &spec, &first, utc(4)), Err(Mistrust::Replayed), "late");
        assert_eq!(hear(&mut b, &spec, &second, utc(9000)), Err(Mistrust::Stale(9)));
    }

    #[test]
    fn senders_have_marks_of_their_own_and_few_are_kept() {
        let spec = by_time();
        let mut b = Signing::default();
        let all: Vec<_> =
            (1..=5).map(|n| advert(&mut Signing::default(), &spec, n, utc(u64::from(n)))).collect();
        for bytes in &all {
            assert_eq!(hear(&mut b, &spec, bytes, utc(10)), Ok(None));
        }
        assert_eq!(b.marks.len(), SENDERS_MAX);
        for bytes in &all[1..] {
            assert_eq!(hear(&mut b, &spec, bytes, utc(10)), Err(Mistrust::Replayed));
        }
        // Forged ones drive nobody out.
        for last in 10..20 {
            let mut other = spec.clone();
            other.keys.insert(1, Key::new(&[9; 40]).expect("40 bytes"));
            let forged = advert(&mut Signing::default(), &other, last, utc(20));
            assert_eq!(hear(&mut b, &spec, &forged, utc(20)), Err(Mistrust::Wrong));
        }
        assert_eq!(hear(&mut b, &spec, &all[4], utc(20)), Err(Mistrust::Replayed));
    }

    #[test]
    fn a_forged_sequence_moves_no_mark() {
        let spec = by_time();
        let (mut a, mut b) = (Signing::default(), Signing::default());
        let mut forged = advert(&mut a, &spec, 1, utc(4000));
        *forged.last_mut().expect("a byte") ^= 1;
        assert_eq!(hear(&mut b, &spec, &forged, utc(0)), Err(Mistrust::Wrong));
        let real = advert(&mut Signing::default(), &spec, 1, utc(0));
        assert_eq!(hear(&mut b, &spec, &real, utc(0)), Ok(None));
    }

    #[test]
    fn keys_are_told_apart_and_rotated() {
        let old = by_time();
        let new = HmacSpec { active_key: 2, ..old.clone() };
        let only_old = HmacSpec { keys: [(1, old.keys[&1])].into(), ..old.clone() };
        let (mut a, mut b) = (Signing::default(), Signing::default());
        let first = advert(&mut a, &old, 1, utc(0));
        let second = advert(&mut a, &new, 1, utc(1));
        assert_eq!(hear(&mut b, &old, &first, utc(1)), Ok(None));
        assert_eq!(hear(&mut b, &old, &second, utc(1)), Ok(None));
        let unknown = hear(&mut Signing::default(), &only_old, &second, utc(1));
        assert_eq!(unknown, Err(Mistrust::UnknownKey(2)));
    }

    #[test]
    fn modes() {
        let [enforce, permissive, receive_only] =
            [HmacMode::Enforce, HmacMode::Permissive, HmacMode::ReceiveOnly]
                .map(|mode| spec(mode, AntiReplay::Time { window: 5 }));
        let (mut a, mut b) = (Signing::default(), Signing::default());
        let unsigned = advert(&mut a, &receive_only, 1, utc(0));
        assert_eq!(hear(&mut b, &enforce, &unsigned, utc(0)), Err(Mistrust::Missing));
        assert_eq!(hear(&mut b, &permissive, &unsigned, utc(0)), Ok(None));
        assert_eq!(hear(&mut b, &receive_only, &unsigned, utc(0)), Ok(None));
        let mut signed = advert(&mut a, &permissive, 1, utc(0));
        assert_eq!(hear(&mut b, &receive_only, &signed, utc(0)), Ok(None));
        *signed.last_mut().expect("a byte") ^= 1;
        assert_eq!(hear(&mut b, &permissive, &signed, utc(0)), Err(Mistrust::Wrong));
        let place = signed.len() - 28;
        signed[place] = 2;
        assert_eq!(hear(&mut b, &permissive, &signed, utc(0)), Err(Mistrust::Malformed));
    }

    #[test]
    fn a_clock_that_is_set_right_ends_the_waiting_by_time_only() {
        let by_time = by_time();
        let monotonic = spec(HmacMode::Enforce, AntiReplay::Monotonic);
        let hour = Duration::from_secs(3600);
        for (spec, expected) in [(by_time, Ok(None)), (monotonic, Err(Mistrust::Replayed))] {
            // Both clocks were an hour ahead; then they are set right, and both daemons run on.
            let (mut a, mut b) = (Signing::default(), Signing::default());
            let ahead = advert(&mut a, &spec, 1, utc(0) + hour);
            assert_eq!(hear(&mut b, &spec, &ahead, utc(0) + hour), Ok(None));
            let now = advert(&mut a, &spec, 1, utc(0));
            assert_eq!(hear(&mut b, &spec, &now, utc(0)), Ok(None));
            // A sender that was started anew knows nothing of its last sequence.
            let again = advert(&mut Signing::default(), &spec, 1, utc(100));
            assert_eq!(hear(&mut b, &spec, &again, utc(100)), expected);
        }
    }

    #[test]
    fn monotonic_asks_for_no_time() {
        let spec = spec(HmacMode::Enforce, AntiReplay::Monotonic);
        let (mut a, mut b) = (Signing::default(), Signing::default());
        let first = advert(&mut a, &spec, 1, utc(0));
        assert_eq!(hear(&mut b, &spec, &first, Duration::ZERO), Ok(None));
        // The sender's clock falls back.
        let second = advert(&mut a, &spec, 1, Duration::from_secs(7));
        assert_eq!(hear(&mut b, &spec, &second, Duration::ZERO), Ok(None));
        assert_eq!(hear(&mut b, &spec, &first, Duration::ZERO), Err(Mistrust::Replayed));
    }

    #[test]
    fn a_skew_beyond_half_the_window_is_told_once() {
        let spec = by_time();
        let (mut a, mut b) = (Signing::default(), Signing::default());
        let mut told = |at: u64, heard: u64| {
            let bytes = advert(&mut a, &spec, 1, utc(at));
            hear(&mut b, &spec, &bytes, utc(heard)).expect("within the window")
        };
        assert_eq!(told(0, 2000), None);
        assert_eq!(told(1000, 4000), Some(3));
        assert_eq!(told(2000, 5000), None);
        assert_eq!(told(5000, 5000), None);
        assert_eq!(told(9000, 5000), Some(-4));
    }
}
