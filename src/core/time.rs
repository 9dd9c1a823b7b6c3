//! Time as a value: the core is told what time it is and never asks.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in nanoseconds of a clock that also runs while the machine is suspended
/// (CLOCK_BOOTTIME in the daemon, a number of our own in tests).
///
/// `std::time::Instant` will not do: it cannot be made from a number, cannot be written to a file,
/// and stands still during a suspend, which is what a node must notice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// Later than everything: never.
    pub const MAX: Self = Self(u64::MAX);

    /// The time `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The time `millis` milliseconds after the clock's start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What the clock on the wall shows when. Somebody may set that clock, so the core is told again and
/// again.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    /// UTC since 1970 at [`Time::ZERO`].
    at_zero: Duration,
}

impl WallClock {
    /// A clock that shows `utc`, since 1970, at that time.
    pub fn new(utc: Duration, now: Time) -> Self {
        Self { at_zero: utc.saturating_sub(now.since(Time::ZERO)) }
    }

    /// What it shows at that time.
    pub fn at(self, time: Time) -> Duration {
        self.at_zero + time.since(Time::ZERO)
    }
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
