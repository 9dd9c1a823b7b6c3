//! Checks: when they run, what their results mean, and what that does to a priority.

use super::Time;
use super::event::{Action, HookEnd, Level, Report};
use super::spec::{CheckId, CheckSpec, Weight};

/// One check script and what it has said so far.
#[derive(Clone, Debug)]
pub struct Check {
    /// How it is to be run and judged.
    pub spec: CheckSpec,
    /// What it says; `None` before the first result.
    pub is_good: Option<bool>,
    /// Results in a row that contradict `is_good`.
    contrary: u32,
    next_at: Time,
    is_running: bool,
    /// Nobody tracks it: it never runs.
    is_unused: bool,
    last_status: Option<i32>,
    /// It has had a result.
    has_ended: bool,
}

impl Check {
    /// A check that is due at once.
    pub fn new(spec: CheckSpec, now: Time) -> Self {
        let is_good = spec.init_fail.then_some(false);
        Self {
            spec,
            is_good,
            contrary: 0,
            next_at: now,
            is_running: false,
            is_unused: false,
            last_status: None,
            has_ended: false,
        }
    }

    /// The same check under a changed configuration: it keeps what it said and runs at once.
    pub fn renewed(spec: CheckSpec, before: Option<&Self>, now: Time) -> Self {
        let fresh = Self::new(spec, now);
        match before {
            Some(before) if before.is_good.is_some() => {
                let Self { is_good, last_status, has_ended, .. } = *before;
                Self { is_good, last_status, has_ended, ..fresh }
            }
            Some(_) | None => fresh,
        }
    }

    /// Says whether any instance tracks it. keepalived does not run a script that none does.
    pub const fn set_used(&mut self, is_used: bool) {
        self.is_unused = !is_used;
    }

    /// keepalived's counter of it: from 0 to `rise + fall - 1`, good from `rise` on.
    pub fn result(&self) -> u32 {
        let best = (self.spec.rise + self.spec.fall).saturating_sub(1);
        match self.is_good {
            None => self.spec.rise.saturating_sub(1),
            Some(true) => best.saturating_sub(self.contrary),
            Some(false) => self.contrary,
        }
    }

    /// When it wants to run next.
    pub fn deadline(&self) -> Option<Time> {
        (!self.is_unused).then_some(self.next_at)
    }

    /// A run of it has not ended yet.
    pub const fn is_running(&self) -> bool {
        self.is_running
    }

    /// Starts it if it is due and its last run has ended. The interval is from start to start.
    pub fn tick(&mut self, id: CheckId, now: Time, out: &mut Vec<Action>) {
        if self.is_unused || now < self.next_at {
            return;
        }
        self.next_at = self.next_at + self.spec.interval;
        if self.next_at <= now {
            self.next_at = now + self.spec.interval;
        }
        if self.is_running {
            let text = format!(
                "Track script {} is already running, expect idle - skipping run",
                self.spec.name
            );
            out.push(Action::Report(Report { instance: None, level: Level::Detail, text }));
            return;
        }
        self.is_running = true;
        out.push(Action::RunCheck { check: id });
    }

    /// Takes in a result. keepalived lets the very first one count alone, whatever rise and fall
    /// say, unless the check started as failed.
    pub fn ended(&mut self, end: &HookEnd, out: &mut Vec<Action>) {
        self.is_running = false;
        if *end == HookEnd::Ended {
            // By us, at a stop or a reload: that says nothing of what is checked.
            return;
        }
        let is_first = !std::mem::replace(&mut self.has_ended, true);
        self.report_status(end, out);
        let is_success = end.is_success();
        if self.is_good == Some(is_success) {
            self.contrary = 0;
            if is_first && !is_success {
                // With `init_fail` nothing changes, and still somebody wants to know why.
                self.report_result(end, out);
            }
            return;
        }
        self.contrary += 1;
        let needed = match self.is_good {
            None => 1,
            Some(_) if is_success => self.spec.rise,
            Some(_) => self.spec.fall,
        };
        if self.contrary < needed {
            return;
        }
        self.contrary = 0;
        self.is_good = Some(is_success);
        self.report_result(end, out);
    }

    fn report_result(&self, end: &HookEnd, out: &mut Vec<Action>) {
        let text = match end {
            _ if end.is_success() => format!("VRRP_Script({}) succeeded", self.spec.name),
            HookEnd::TimedOut => format!("VRRP_Script({}) timed_out", self.spec.name),
            _ => format!("VRRP_Script({}) failed ({end})", self.spec.name),
        };
        out.push(Action::Report(Report::of_node(text)));
    }

    fn report_status(&mut self, end: &HookEnd, out: &mut Vec<Action>) {
        let HookEnd::Exited(status) = *end else { return };
        // As with keepalived, which takes a script for one that returned 0 before.
        if self.last_status.replace(status).unwrap_or(0) != status {
            let text = format!("Script `{}` now returning {status}", self.spec.name);
            out.push(Action::Report(Report::of_node(text)));
        }
    }
}

/// Something tracked: how it is, and what it does to the priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// `interface`, `check`, `process`, `file` or `bfd`.
    pub kind: &'static str,
    /// Its name in the configuration.
    pub name: &'a str,
    /// What it does here.
    pub weight: Weight,
    /// What it says, as far as that is known.
    pub is_good: Option<bool>,
    /// What it adds to the priority now.
    pub adds: i32,
}

impl<'a> Part<'a> {
    /// One that adds what its weight says.
    pub(super) fn new(
        kind: &'static str,
        name: &'a str,
        weight: Weight,
        is_good: Option<bool>,
    ) -> Self {
        Self { kind, name, weight, is_good, adds: weight.contribution(is_good) }
    }
}

impl Weight {
    /// What something tracked adds to the priority while it is good or not, or not yet known.
    ///
    /// keepalived: a positive weight is added while good, a negative one while not; `reverse`
    /// turns the sign round.
    pub fn contribution(self, is_good: Option<bool>) -> i32 {
        let counts = match is_good {
            Some(true) => self.value > 0,
            Some(false) => self.value < 0,
            None => false,
        };
        let value = i32::from(self.value);
        match (counts, self.reverse) {
            (false, _) => 0,
            (true, false) => value,
            (true, true) => -value,
        }
    }

    /// What it adds; while failures are ignored, what it would add if it were as good as can be, once
    /// it is known at all.
    pub(super) fn adds(self, is_good: Option<bool>, failures_are_ignored: bool) -> i32 {
        let other = is_good.map(|is_good| !is_good);
        match failures_are_ignored {
            true => self.contribution(is_good).max(self.contribution(other)),
            false => self.contribution(is_good),
        }
    }

    /// Is something tracked with this weight a fault while it is good or not?
    pub const fn is_fault(self, is_good: bool) -> bool {
        self.value == 0 && is_good == self.reverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(rise: u32, fall: u32, init_fail: bool) -> Check {
        let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(2));
        let spec = CheckSpec { name: "chk".into(), interval, timeout, rise, fall, init_fail };
        Check::new(spec, Time::ZERO)
    }

    /// Feeds results, one character each, and tells what the check says after each.
    fn says(mut check: Check, results: &str) -> String {
        let mut out = Vec::new();
        let say = |c: &Check| c.is_good.map_or('?', |good| if good { 'G' } else { 'B' });
        let feed = |result: char| {
            let end = match result {
                'g' => HookEnd::Exited(0),
                'e' => HookEnd::Ended,
                _ => HookEnd::Exited(1),
            };
            check.ended(&end, &mut out);
            say(&check)
        };
        results.chars().map(feed).collect()
    }

    #[test]
    fn the_first_result_counts_alone() {
        assert_eq!(says(check(3, 3, false), "b"), "B");
        assert_eq!(says(check(3, 3, false), "g"), "G");
    }

    #[test]
    fn one_that_was_ended_by_us_says_nothing() {
        assert_eq!(says(check(1, 1, false), "egebe"), "?GGBB");
        assert_eq!(says(check(2, 2, false), "gbeb"), "GGGB");
    }

    #[test]
    fn rise_and_fall_count_results_in_a_row() {
        assert_eq!(says(check(2, 3, false), "gbbgbbbgbgg"), "GGGGGGBBBBG");
    }

    #[test]
    fn init_fail_needs_rise_successes() {
        assert_eq!(says(check(2, 1, true), "gg"), "BG");
    }

    /// However the first one fails, and only that: what follows changes nothing.
    #[test]
    fn a_check_that_starts_as_failed_says_once_how_it_fails() {
        for (first, said) in [
            (HookEnd::Exited(1), "VRRP_Script(chk) failed (exited with status 1)"),
            (HookEnd::TimedOut, "VRRP_Script(chk) timed_out"),
        ] {
            let (mut check, mut out) = (check(2, 1, true), Vec::new());
            for end in [HookEnd::Ended, first.clone(), first, HookEnd::Exited(1)] {
                check.ended(&end, &mut out);
            }
            let says = |action: &&Action| matches!(action, Action::Report(r) if r.text == said);
            assert_eq!(out.iter().filter(says).count(), 1, "{out:?}");
            let now = "Script `chk` now returning 1";
            let says = |action: &&Action| matches!(action, Action::Report(r) if r.text == now);
            assert_eq!(out.iter().filter(says).count(), 1, "{out:?}");
        }
    }

    #[test]
    fn a_run_that_goes_on_is_not_started_twice() {
        let mut check = check(1, 1, false);
        let mut out = Vec::new();
        check.tick(CheckId(0), Time::ZERO, &mut out);
        check.tick(CheckId(0), Time::from_millis(2000), &mut out);
        check.ended(&HookEnd::Exited(0), &mut out);
        check.tick(CheckId(0), Time::from_millis(3999), &mut out);
        check.tick(CheckId(0), Time::from_millis(4000), &mut out);
        let runs = out.iter().filter(|a| matches!(a, Action::RunCheck { .. })).count();
        assert_eq!(runs, 2);
    }

    #[test]
    fn weights_do_what_keepalived_s_do() {
        let weigh = |value, reverse, good| Weight { value, reverse }.contribution(good);
        assert_eq!(weigh(40, false, Some(true)), 40);
        assert_eq!(weigh(40, false, Some(false)), 0);
        assert_eq!(weigh(-40, false, Some(true)), 0);
        assert_eq!(weigh(-40, false, Some(false)), -40);
        assert_eq!(weigh(5, true, Some(true)), -5);
        assert_eq!(weigh(-5, true, Some(false)), 5);
        assert_eq!(weigh(-5, false, None), 0);
        assert!(Weight { value: 0, reverse: false }.is_fault(false));
        assert!(Weight { value: 0, reverse: true }.is_fault(true));
        assert!(!Weight { value: 1, reverse: false }.is_fault(false));
    }
}
