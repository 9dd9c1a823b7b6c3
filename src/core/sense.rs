//! Tracked processes, files and BFD sessions: what they mean for an instance.

use super::event::{Action, Reason, Report};
use super::sessions::Sessions;
use super::spec::{BfdId, FileId, FileSpec, InstanceSpec, ProcessId, ProcessSpec, Weight};
use super::track::Part;
use super::{Table, Time};

/// From here on down a file's weighted number is a fault (keepalived).
const FAULT_AT: i64 = -254;
/// No file adds more than this.
const ADDED_MAX: i64 = 253;

/// All tracked processes and files of a node and its BFD sessions, and what is known of them.
#[derive(Clone, Debug, Default)]
pub struct Senses {
    processes: Table<ProcessId, Process>,
    files: Table<FileId, File>,
    /// The BFD sessions, tracked or not.
    pub bfds: Sessions,
}

/// The processes of one `vrrp_track_process`.
#[derive(Clone, Debug)]
struct Process {
    spec: ProcessSpec,
    /// Their number; `None` before the first count.
    count: Option<u32>,
    /// Is the quorum achieved, as far as it counts?
    is_good: Option<bool>,
    /// When a change of the quorum that is being delayed counts.
    change_at: Option<Time>,
}

/// One `track_file`.
#[derive(Clone, Debug)]
struct File {
    spec: FileSpec,
    /// The number in it; `None` before it was looked at.
    value: Option<i64>,
}

impl Process {
    const fn new(spec: ProcessSpec) -> Self {
        Self { spec, count: None, is_good: None, change_at: None }
    }

    /// Takes in a count. The first one counts at once; from then on more processes than before
    /// wait for the fork delay, fewer for the terminate delay, as in keepalived. A change that is
    /// undone meanwhile never was.
    fn counted(&mut self, count: u32, now: Time, out: &mut Vec<Action>) {
        let before = self.count.replace(count);
        let has_quorum = self.spec.has_quorum(count);
        let Some(before) = before.filter(|_| self.is_good.is_some()) else {
            self.is_good = Some(has_quorum);
            return;
        };
        if self.is_good == Some(has_quorum) {
            self.change_at = None;
            return;
        }
        let delay = if count > before { self.spec.fork_delay } else { self.spec.terminate_delay };
        let change_at = *self.change_at.get_or_insert(now + delay);
        if change_at <= now {
            self.turn(out);
        }
    }

    /// The quorum is what it was not so far.
    fn turn(&mut self, out: &mut Vec<Action>) {
        self.change_at = None;
        let is_good = !self.is_good.unwrap_or(false);
        self.is_good = Some(is_good);
        let word = if is_good { "gained" } else { "lost" };
        let text = format!("Quorum {word} for tracked process {}", self.spec.name);
        out.push(Action::Report(Report::of_node(text)));
    }
}

impl Senses {
    /// Nothing is known yet.
    pub fn new(
        processes: Table<ProcessId, ProcessSpec>,
        files: Table<FileId, FileSpec>,
        bfds: Sessions,
    ) -> Self {
        let processes = processes.into_iter().map(|(id, spec)| (id, Process::new(spec)));
        let files = files.into_iter().map(|(id, spec)| (id, File { spec, value: None }));
        Self { processes: processes.collect(), files: files.collect(), bfds }
    }

    /// Goes on under another configuration: what is in it again keeps what was known of it, until it is
    /// counted or read again. The BFD sessions have their own reload.
    pub fn reload(
        &mut self,
        processes: Table<ProcessId, ProcessSpec>,
        files: Table<FileId, FileSpec>,
    ) {
        let bfds = std::mem::take(&mut self.bfds);
        let old = std::mem::replace(self, Self::new(processes, files, bfds));
        for (id, new) in self.processes.entries_mut() {
            if let Some(before) = old.processes.get(id) {
                (new.count, new.is_good) = (before.count, before.is_good);
            }
        }
        for (id, new) in self.files.entries_mut() {
            new.value = old.files.get(id).and_then(|before| before.value);
        }
    }

    /// Is this process tracked by anybody?
    pub fn has_process(&self, id: ProcessId) -> bool {
        self.processes.contains(id)
    }

    /// Is this file?
    pub fn has_file(&self, id: FileId) -> bool {
        self.files.contains(id)
    }

    /// Is this BFD session configured?
    pub fn has_bfd(&self, id: BfdId) -> bool {
        self.bfds.all().contains(id)
    }

    /// So many processes match now.
    pub fn counted(&mut self, id: ProcessId, count: u32, now: Time, out: &mut Vec<Action>) {
        if let Some(process) = self.processes.get_mut(id) {
            process.counted(count, now, out);
        }
    }

    /// This number is in the file now; 0 if there is none, or no file.
    pub fn read(&mut self, id: FileId, value: i64) {
        if let Some(file) = self.files.get_mut(id) {
            file.value = Some(value);
        }
    }

    /// When the next delayed change counts.
    pub fn deadline(&self) -> Option<Time> {
        self.processes.iter().filter_map(|process| process.change_at).min()
    }

    /// Lets the changes count whose delay is over; tells whether there were any.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) -> bool {
        let mut has_changed = false;
        for process in self.processes.iter_mut() {
            if process.change_at.is_some_and(|at| at <= now) {
                process.turn(out);
                has_changed = true;
            }
        }
        has_changed
    }

    fn process_is_good(&self, id: ProcessId) -> Option<bool> {
        self.processes.get(id).and_then(|process| process.is_good)
    }

    /// One that has heard nothing yet is down, from the start (keepalived).
    fn bfd_is_up(&self, id: BfdId) -> Option<bool> {
        self.bfds.all().get(id).map(|session| session.counts_as_up)
    }

    fn value(&self, id: FileId) -> Option<i64> {
        self.files.get(id).and_then(|file| file.value)
    }

    /// Is everything known that decides about the start of this instance?
    pub fn are_known(&self, spec: &InstanceSpec) -> bool {
        spec.track_processes.iter().all(|&(id, _)| self.process_is_good(id).is_some())
            && spec.track_files.iter().all(|&(id, _)| self.value(id).is_some())
    }

    /// What each of the tracked processes, files and BFD sessions adds to the priority of this
    /// instance; nothing that makes it worse if failures are to be ignored.
    pub(super) fn parts<'a>(
        &'a self,
        spec: &'a InstanceSpec,
        failures_are_ignored: bool,
    ) -> impl Iterator<Item = Part<'a>> {
        let processes = spec.track_processes.iter().map(move |&(id, weight)| {
            let name = self.processes.get(id).map_or("", |process| process.spec.name.as_str());
            let is_good = self.process_is_good(id);
            let adds = weight.adds(is_good, failures_are_ignored);
            Part { kind: "process", name, weight, is_good, adds }
        });
        let files = spec.track_files.iter().map(move |&(id, weight)| {
            let name = self.files.get(id).map_or("", |file| file.spec.name.as_str());
            let added = self.value(id).map(|value| weighed(value, weight));
            let adds = added.flatten().and_then(|added| i32::try_from(added).ok()).unwrap_or(0);
            let adds = if failures_are_ignored { adds.max(0) } else { adds };
            let is_good = added.map(|added| added.is_some());
            Part { kind: "file", name, weight, is_good, adds }
        });
        let bfds = spec.track_bfds.iter().map(move |&(id, weight)| {
            let name = self.bfds.all().get(id).map_or("", |session| session.spec.name.as_str());
            let is_good = self.bfd_is_up(id);
            let adds = weight.adds(is_good, failures_are_ignored);
            Part { kind: "bfd", name, weight, is_good, adds }
        });
        processes.chain(files).chain(bfds)
    }

    /// The first of them that is a fault of this instance.
    pub fn cause(&self, spec: &InstanceSpec) -> Option<(Reason, String)> {
        for &(id, weight) in &spec.track_processes {
            let Some(process) = self.processes.get(id) else { continue };
            if process.is_good.is_some_and(|is_good| weight.is_fault(is_good)) {
                let not = if weight.reverse { "" } else { "not " };
                let text = format!("tracked process {} quorum {not}achieved", process.spec.name);
                return Some((Reason::CheckFailed, text));
            }
        }
        for &(id, weight) in &spec.track_files {
            let Some(file) = self.files.get(id) else { continue };
            if let Some(value) = file.value
                && weighed(value, weight).is_none()
            {
                let text = format!("tracked file {} says {value}", file.spec.name);
                return Some((Reason::CheckFailed, text));
            }
        }
        for &(id, weight) in &spec.track_bfds {
            let Some(session) = self.bfds.all().get(id) else { continue };
            if weight.is_fault(session.counts_as_up) {
                let text = format!("BFD instance {} is {}", session.spec.name, session.state);
                return Some((Reason::CheckFailed, text));
            }
        }
        None
    }
}

/// What a file's number adds to a priority; `None` is a fault.
fn weighed(value: i64, weight: Weight) -> Option<i64> {
    if weight.value == 0 {
        return (!weight.is_fault(value == 0)).then_some(0);
    }
    let sign = if weight.reverse { -1 } else { 1 };
    let result = value.saturating_mul(i64::from(weight.value)).saturating_mul(sign);
    (result > FAULT_AT).then(|| result.min(ADDED_MAX))
}

/// The number at the beginning of a file's text, in decimal, after blanks and a sign; 0 if there
/// is none, the nearest that fits if there are too many digits. What follows has no meaning
/// (keepalived).
pub fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text.split_first() {
        Some((b'-', rest)) => (-1, rest),
        Some((b'+', rest)) => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_i64, |number, &byte| {
        number.saturating_mul(10).saturating_add(sign * i64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn process(quorum: u32, quorum_max: Option<u32>, fork_ms: u64, terminate_ms: u64) -> Process {
        Process::new(ProcessSpec {
            name: "tp".into(),
            quorum,
            quorum_max,
            fork_delay: Duration::from_millis(fork_ms),
            terminate_delay: Duration::from_millis(terminate_ms),
        })
    }

    /// Feeds counts; tells what the quorum is after each, and everything that was said.
    fn says(mut process: Process, counts: &[u32]) -> (String, Vec<String>) {
        let mut out = Vec::new();
        let say = |p: &Process| p.is_good.map_or('?', |good| if good { 'G' } else { 'B' });
        let states = counts.iter().map(|&count| {
            process.counted(count, Time::ZERO, &mut out);
            say(&process)
        });
        let states = states.collect();
        let text = |action| match action {
            Action::Report(report) => report.text,
            other => panic!("{other:?}"),
        };
        (states, out.into_iter().map(text).collect())
    }

    #[test]
    fn a_quorum_is_a_number_of_processes() {
        let (states, said) = says(process(2, None, 0, 0), &[3, 2, 1, 0, 1, 2]);
        assert_eq!(states, "GGBBBG");
        let lines = ["Quorum lost for tracked process tp", "Quorum gained for tracked process tp"];
        assert_eq!(said, lines);
    }

    #[test]
    fn the_first_count_is_not_news() {
        assert_eq!(says(process(1, None, 9, 9), &[0]), ("B".into(), vec![]));
        assert_eq!(says(process(1, None, 9, 9), &[1]), ("G".into(), vec![]));
    }

    #[test]
    fn too_many_are_no_quorum() {
        assert_eq!(says(process(1, Some(2), 0, 0), &[1, 2, 3, 2]).0, "GGBG");
        assert_eq!(says(process(0, Some(0), 0, 0), &[0, 1, 0]).0, "GBG");
    }

    #[test]
    fn delays_hold_changes_back_and_drop_those_that_are_undone() {
        let mut senses =
            Senses { processes: vec![process(1, None, 300, 1000)].into(), ..Senses::default() };
        let mut out = Vec::new();
        let id = ProcessId(0);
        senses.counted(id, 1, at(0), &mut out);
        senses.counted(id, 0, at(100), &mut out);
        assert_eq!(senses.deadline(), Some(at(1100)));
        assert!(!senses.tick(at(1099), &mut out));
        senses.counted(id, 1, at(1099), &mut out);
        assert_eq!(senses.deadline(), None);
        assert!(out.is_empty());
        senses.counted(id, 0, at(2000), &mut out);
        assert!(senses.tick(at(3000), &mut out));
        assert_eq!(senses.process_is_good(id), Some(false));
        senses.counted(id, 1, at(4000), &mut out);
        assert_eq!(senses.deadline(), Some(at(4300)));
        // More of what there is already does not begin the delay anew.
        senses.counted(id, 2, at(4200), &mut out);
        assert_eq!(senses.deadline(), Some(at(4300)));
        assert!(senses.tick(at(4300), &mut out));
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn files_weigh_what_keepalived_s_do() {
        let weigh = |value, weight, reverse| weighed(value, Weight { value: weight, reverse });
        assert_eq!(weigh(7, 1, false), Some(7));
        assert_eq!(weigh(7, -2, false), Some(-14));
        assert_eq!(weigh(7, 2, true), Some(-14));
        assert_eq!(weigh(300, 1, false), Some(253));
        assert_eq!(weigh(-253, 1, false), Some(-253));
        assert_eq!(weigh(-254, 1, false), None);
        assert_eq!(weigh(-1, 254, false), None);
        assert_eq!(weigh(i64::MIN, 254, true), Some(253));
        assert_eq!(weigh(0, 0, false), Some(0));
        assert_eq!(weigh(5, 0, false), None);
        assert_eq!(weigh(0, 0, true), None);
        assert_eq!(weigh(5, 0, true), Some(0));
    }

    #[test]
    fn numbers_end_where_the_digits_end() {
        for (text, value) in [
            ("7\n", 7),
            (" -7 x", -7),
            ("+3", 3),
            ("", 0),
            ("abc", 0),
            ("- 5", 0),
            ("12abc", 12),
            ("99999999999999999999", i64::MAX),
            ("-99999999999999999999", i64::MIN),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn a_reload_keeps_what_goes_on() {
        let spec = |id| (ProcessId(id), ProcessSpec::default());
        let file = |id| (FileId(id), FileSpec::default());
        let (processes, files) = ([spec(0), spec(1)], [file(0), file(1)]);
        let mut senses = Senses::new(
            processes.into_iter().collect(),
            files.into_iter().collect(),
            Sessions::default(),
        );
        senses.counted(ProcessId(1), 1, at(0), &mut Vec::new());
        senses.read(FileId(1), 5);
        let (processes, files) = ([spec(1), spec(2)], [file(3), file(1)]);
        senses.reload(processes.into_iter().collect(), files.into_iter().collect());
        assert!(!senses.has_process(ProcessId(0)) && !senses.has_file(FileId(0)));
        assert_eq!(senses.process_is_good(ProcessId(1)), Some(true));
        assert_eq!(senses.process_is_good(ProcessId(2)), None);
        assert_eq!((senses.value(FileId(1)), senses.value(FileId(3))), (Some(5), None));
    }
}
