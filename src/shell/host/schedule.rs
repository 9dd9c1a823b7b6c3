//! `reload_time_file`: a reload at a time that a file says, so that nodes whose old and new
//! configurations do not agree can change over together.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;

use crate::conf::daemon::Daemon;
use crate::core::Time;
use crate::shell::host::localtime::LocalTime;
use crate::shell::host::sys;

/// How often the file and the clock on the wall, which may be set, are looked at.
const POLL: Duration = Duration::from_secs(1);
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// No line that is wanted is longer.
const LINE_BYTES_MAX: u64 = 64;

/// When to reload, as far as a file says so.
#[derive(Debug, Default)]
pub struct Schedule {
    path: Option<PathBuf>,
    repeat: bool,
    /// The file's first line, as it was last seen.
    line: String,
    at: Option<Moment>,
    look_at: Option<Time>,
}

/// When it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// Seconds since the start of 1970, UTC.
    seconds: i64,
    has_date: bool,
}

impl Schedule {
    /// Goes over to another configuration.
    pub fn configure(&mut self, daemon: &Daemon, now: Time) {
        let path = daemon.reload_time_file.clone();
        let look_at = path.is_some().then_some(now);
        *self = Self { path, repeat: daemon.reload_repeat, look_at, ..Self::default() };
    }

    /// When it wants to be looked at.
    pub const fn deadline(&self) -> Option<Time> {
        self.look_at
    }

    /// Is it time to reload? Then a file that is not to be used again is gone.
    pub fn is_due(&mut self, now: Time) -> bool {
        let Some(path) = self.path.clone().filter(|_| self.look_at.is_some_and(|at| at <= now))
        else {
            return false;
        };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        let line = read(&path);
        if line != self.line {
            self.plan(line, wall_seconds);
        }
        let is_due = self.at.is_some_and(|at| at.seconds <= wall_seconds);
        if is_due && let Some(at) = self.at.take() {
            self.line.clear();
            if !self.repeat || at.has_date {
                let _ = fs::remove_file(&path);
            }
        }
        // The next full second of the clock on the wall.
        self.look_at = Some(now + POLL - Duration::from_nanos(wall.subsec_nanos().into()));
        is_due
    }

    fn plan(&mut self, line: String, wall_seconds: i64) {
        let before = self.at.take();
        self.line = line;
        if !self.line.is_empty() {
            match moment(&self.line, wall_seconds) {
                Ok(at) => {
                    self.at = Some(at);
                    log::info!("Scheduling reload for {}", LocalTime::at(at.seconds));
                    return;
                }
                Err(why) => log::warn!("Reload time '{}' {why} - ignoring", self.line),
            }
        }
        if let Some(at) = before {
            log::info!("Cancelling reload scheduled for {}", LocalTime::at(at.seconds));
        }
    }
}

/// The first line of the file; nothing where there is none.
fn read(path: &PathBuf) -> String {
    let flags = OFlag::O_NONBLOCK.bits();
    let mut text = Vec::new();
    if let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // A part of a line is no time, and said so.
        let _ = file.take(LINE_BYTES_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// `HH:MM:SS`, `YY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS`, with a `Z` behind it for UTC: the next
/// moment after `now` that it can mean.
fn moment(text: &str, now: i64) -> Result<Moment, &'static str> {
    const WRONG: &str =
        "is not HH:MM:SS, YY-MM-DD HH:MM:SS or YYYY-MM-DD HH:MM:SS, with or without Z";
    let (text, is_utc) = text.strip_suffix('Z').map_or((text, false), |text| (text, true));
    let (date, time) = match text.split_once(' ') {
        Some((date, time)) => (Some(date), time),
        None => (None, text),
    };
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).ok_or(WRONG)?;
    let today = sys::broken_down(now, is_utc);
    let (year, month, day) = match date {
        None => (today.tm_year, today.tm_mon, today.tm_mday),
        Some(date) => {
            let short = numbers(date, '-', [2, 2, 2]).map(|[y, m, d]| [y + 2000, m, d]);
            let [year, month, day] =
                short.or_else(|| numbers(date, '-', [4, 2, 2])).ok_or(WRONG)?;
            (year - 1900, month - 1, day)
        }
    };
    let wanted = [year, month, day, hour, minute, second];
    let seconds = sys::seconds_of(wanted, is_utc);
    let found = sys::broken_down(seconds, is_utc);
    let found =
        [found.tm_year, found.tm_mon, found.tm_mday, found.tm_hour, found.tm_min, found.tm_sec];
    match (date, seconds > now) {
        _ if found != wanted => Err("is no time that there is"),
        (Some(_), false) => Err("is in the past"),
        (Some(_), true) => Ok(Moment { seconds, has_date: true }),
        (None, true) => Ok(Moment { seconds, has_date: false }),
        (None, false) if is_utc => Ok(Moment { seconds: seconds + DAY_SECONDS, has_date: false }),
        (None, false) => {
            // Tomorrow, which is not always in 24 hours.
            let seconds = sys::seconds_of([year, month, day + 1, hour, minute, second], false);
            Ok(Moment { seconds, has_date: false })
        }
    }
}

/// Three numbers of so many digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i32; 3]> {
    let mut parts = text.split(separator);
    let mut out = [0; 3];
    for (place, length) in out.iter_mut().zip(digits) {
        let part = parts.next()?;
        let fits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        *place = part.parse().ok().filter(|_| fits)?;
    }
    parts.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23 04:00:00 UTC.
    const NOW: i64 = 1_795_406_400;

    #[test]
    fn times_are_as_keepalived_takes_them() {
        let at = |text: &str| moment(text, NOW).map(|at| (at.seconds - NOW, at.has_date));
        assert_eq!(at("04:00:01Z"), Ok((1, false)));
        assert_eq!(at("04:00:00Z"), Ok((DAY_SECONDS, false)));
        assert_eq!(at("26-11-23 05:00:00Z"), Ok((3600, true)));
        assert_eq!(at("2026-11-24 04:00:00Z"), Ok((DAY_SECONDS, true)));
        assert_eq!(at("2026-11-23 03:59:59Z"), Err("is in the past"));
        for text in ["2027-02-29 00:00:00Z", "24:00:00Z", "04:60:00Z", "2026-13-01 00:00:00Z"] {
            assert_eq!(at(text), Err("is no time that there is"), "{text}");
        }
        for text in ["", "Z", "4:00:00", " 04:00:00", "04:00", "04:00:00 Z", "2026-11-23T04:00:00"]
        {
            assert!(at(text).is_err_and(|why| why.contains("HH:MM:SS")), "{text}");
        }
        // The next time of the day, wherever this runs.
        let local = moment("12:34:56", NOW).expect("a time").seconds;
        assert!((NOW + 1..=NOW + DAY_SECONDS + 7200).contains(&local), "{local}");
    }

    #[test]
    fn a_file_is_used_once_or_every_day() {
        let path = std::env::temp_dir().join(format!("glha-schedule-{}", std::process::id()));
        let mut schedule = Schedule::default();
        let mut now = Time::from_nanos(1);
        let daemon = Daemon { reload_time_file: Some(path.clone()), ..Daemon::default() };
        schedule.configure(&daemon, now);
        assert!(!schedule.is_due(now), "there is no file");
        fs::write(&path, "2000-01-01 00:00:00Z\n").expect("write");
        now = schedule.deadline().expect("a deadline");
        assert!(!schedule.is_due(now) && path.exists(), "in the past");
        for (repeat, has_date) in [(false, false), (false, true), (true, true), (true, false)] {
            fs::write(&path, "00:00:00\n").expect("write");
            schedule.configure(&Daemon { reload_repeat: repeat, ..daemon.clone() }, now);
            assert!(!schedule.is_due(now));
            schedule.at = Some(Moment { seconds: 1, has_date });
            now = schedule.deadline().expect("a deadline");
            assert!(schedule.is_due(now));
            assert_eq!(path.exists(), repeat && !has_date);
            now = schedule.deadline().expect("a deadline");
            assert!(!schedule.is_due(now), "once");
        }
        fs::remove_file(&path).expect("remove");
        assert!(!schedule.is_due(schedule.deadline().expect("a deadline")));
        assert_eq!(schedule.at, None);
    }
}
