//! The timer that wakes the loop at its next deadline.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};

use crate::core::Time;

/// A timer that is only touched if it would ring too late.
///
/// Every advert of a living master moves a backup's deadline away. The timer then stays where it is, and
/// rings once for nothing in a master down interval instead of being set for each advert.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    /// When it rings, or rang last.
    rings_at: Option<Time>,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> nix::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        Ok(Self { timer, rings_at: None })
    }

    /// What becomes readable when it rings.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Sees to it that it rings at `at` or earlier, but not before `now`.
    ///
    /// # Errors
    /// The kernel's; then it may not ring.
    pub fn ring_by(&mut self, at: Time, now: Time) -> nix::Result<()> {
        if self.rings_at.is_some_and(|rings_at| now < rings_at && rings_at <= at) {
            return Ok(());
        }
        self.rings_at = None;
        let spec = TimeSpec::from_duration(Duration::from_nanos(at.as_nanos()));
        self.timer.set(Expiration::OneShot(spec), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.rings_at = Some(at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::host::clock;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Whole minutes until it rings, rounded up.
    fn minutes(alarm: &Alarm) -> Option<u64> {
        match alarm.timer.get().expect("the timer") {
            Some(Expiration::OneShot(left)) => Some(Duration::from(left).as_secs() / 60 + 1),
            _ => None,
        }
    }

    #[test]
    fn it_is_set_for_what_is_earlier_and_left_for_what_is_later() {
        let mut alarm = Alarm::new().expect("a timer");
        let now = clock::now();
        assert_eq!(minutes(&alarm), None);
        for (wanted, rings) in [(20, 20), (30, 20), (20, 20), (10, 10), (40, 10), (9, 9)] {
            alarm.ring_by(now + MINUTE * wanted, now).expect("set");
            assert_eq!(minutes(&alarm), Some(rings), "{wanted}");
        }
    }

    #[test]
    fn one_that_has_rung_is_set_again() {
        let mut alarm = Alarm::new().expect("a timer");
        let now = clock::now();
        let mut rings = 10;
        alarm.ring_by(now + MINUTE * rings, now).expect("set");
        // What the loop sees when it has rung: its time has come, or is over.
        for late in [0, 1, 300] {
            let later = now + MINUTE * (rings + late);
            rings += late + 5;
            alarm.ring_by(now + MINUTE * rings, later).expect("set");
            assert_eq!(minutes(&alarm), Some(u64::from(rings)), "{late}");
        }
    }
}
