//! The local time, as it stands before a line of a log.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::shell::host::sys;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment by the clock on the wall. Shown as `Sun Nov 22 21:57:16 2026`, as keepalived does.
#[derive(Clone, Copy)]
pub struct LocalTime(libc::tm);

impl LocalTime {
    /// Now.
    pub fn now() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self::at(i64::try_from(seconds).unwrap_or(0))
    }

    /// The moment so many seconds after the start of 1970, UTC.
    pub fn at(seconds: i64) -> Self {
        Self(sys::local_time(seconds))
    }

    /// As in a line for syslog (RFC 3164, section 4.1.2): `Nov 22 21:57:16`.
    pub fn syslog(self) -> String {
        let Self(tm) = self;
        let month = name(&MONTHS, tm.tm_mon);
        format!("{month} {:>2} {:02}:{:02}:{:02}", tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let year = i64::from(self.0.tm_year) + 1900;
        write!(f, "{} {} {year}", name(&DAYS, self.0.tm_wday), self.syslog())
    }
}

fn name(names: &[&'static str], index: i32) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or("???")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_date_says() {
        // The days are of two digits and of one; the zone is whatever this machine has.
        for seconds in [1_795_384_636, 1_793_550_000, 0] {
            let output = std::process::Command::new("date")
                .env("LC_ALL", "C")
                .args(["-d", &format!("@{seconds}"), "+%a %b %e %H:%M:%S %Y"])
                .output()
                .expect("date(1) of coreutils");
            let expected = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            assert_eq!(LocalTime::at(seconds).to_string(), expected);
            assert_eq!(Some(LocalTime::at(seconds).syslog().as_str()), expected.get(4..19));
        }
    }
}
