//! The daemon's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::core::{Time, WallClock};

/// The time now: CLOCK_BOOTTIME, which also runs while the machine is suspended.
pub fn now() -> Time {
    read(ClockId::CLOCK_BOOTTIME)
}

/// What the clock on the wall shows at this time, which is now.
pub fn wall(now: Time) -> WallClock {
    let utc = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallClock::new(utc, now)
}

/// CLOCK_MONOTONIC in microseconds: what systemd wants to know of a reload (sd_notify(3)).
pub fn monotonic_micros() -> u64 {
    read(ClockId::CLOCK_MONOTONIC).as_nanos() / 1_000
}

/// Both clocks exist on every kernel that has pidfds, and neither is ever negative.
fn read(clock: ClockId) -> Time {
    let time = clock_gettime(clock).expect("the kernel has this clock");
    let nanos = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
    Time::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_clock_of_proc_uptime() {
        let uptime = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
        let seconds: f64 = uptime.split(' ').next().expect("a number").parse().expect("a number");
        let now = now().as_nanos() as f64 / 1e9;
        assert!(now >= seconds - 0.02 && now < seconds + 600.0, "{now} is not {seconds}");
    }

    #[test]
    fn it_never_runs_backwards() {
        let first = now();
        assert!(now() >= first);
    }
}
