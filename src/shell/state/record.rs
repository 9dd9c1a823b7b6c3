//! The flight recorder: what happened last and why, in memory for `glha events` and in a file for
//! those who come after a crash.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use self::pen::Pen;
use crate::core::event::Facts;
use crate::shell::host::scribe::Scribe;

mod file;
mod pen;

pub use file::RecordFile;
pub use pen::spare as spare_pen;

const SCHEMA: &str = "glha.record/1";
/// So many records are kept in memory,
const RECORDS_MAX: usize = 1000;
/// and so many bytes of them.
const BYTES_MAX: usize = 256 << 10;
/// So much of what former runs have written is read at the start: some 300 records, in a millisecond.
const READ_BYTES_MAX: u64 = 64 << 10;
/// So many last lines of a hook's output go into its record,
const OUTPUT_LINES_MAX: usize = 5;
/// and so many bytes of each text that comes from outside.
const TEXT_BYTES_MAX: usize = 400;

/// One thing that happened. Fields that do not apply are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// `glha.record/1`.
    pub schema: String,
    /// A text that no other record of the node has; a transition's is that of the event that its
    /// hooks are told.
    pub id: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// `router_id`, or else the host name.
    pub node: String,
    /// `transition`, `hook`, or what happened in one word: `start`, `hold`, `reload_refused`.
    pub kind: String,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of a transition: what VRRP calls the state now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Of a transition: the state before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Of a transition: the phase now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Of a transition: why, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words; of anything else: what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of a transition: its number, counted from the daemon's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transition: Option<u64>,
    /// Of a transition: the effective priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Of a transition: who was heard last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerRecord>,
    /// Of a transition to `acquiring`: how it came about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// Of a hook: `mount acquire`, `notify`, or `check` and its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Of a hook: it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Of a hook: from its start to its end, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Of a hook: the last lines it wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

/// The other node in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Where its adverts come from.
    pub address: String,
    /// The priority of the last one that was not 0.
    pub priority: u8,
    /// How long before the record that was, in milliseconds.
    pub last_seen_ms: u64,
}

impl Record {
    /// A transition.
    pub fn transition(facts: &Facts) -> Self {
        let peer = facts.peer.as_ref().map(|peer| PeerRecord {
            address: peer.address.to_string(),
            priority: peer.priority,
            last_seen_ms: millis(peer.last_seen),
        });
        Self {
            kind: "transition".into(),
            instance: Some(facts.instance.clone()),
            state: Some(facts.state.into()),
            previous: Some(facts.previous.into()),
            phase: Some(facts.phase.into()),
            reason: Some(facts.reason.into()),
            detail: Some(short(&facts.detail)),
            transition: Some(facts.transition),
            priority: Some(facts.priority),
            peer,
            how: facts.how.map(Into::into),
            ..Self::default()
        }
    }

    /// The end of a hook.
    pub fn hook(hook: String, instance: Option<String>, end: &HookEnd) -> Self {
        let output = &end.output[end.output.len().saturating_sub(OUTPUT_LINES_MAX)..];
        Self {
            kind: "hook".into(),
            instance,
            hook: Some(hook),
            detail: Some(short(&end.how)),
            success: Some(end.is_success),
            took_ms: Some(millis(end.took)),
            output: output.iter().map(|line| short(line)).collect(),
            ..Self::default()
        }
    }

    /// Anything else, in one word and in a sentence.
    pub fn event(kind: &str, instance: Option<&str>, detail: &str) -> Self {
        Self {
            kind: kind.into(),
            instance: instance.map(Into::into),
            detail: (!detail.is_empty()).then(|| short(detail)),
            ..Self::default()
        }
    }
}

/// How a hook has ended.
pub struct HookEnd {
    /// In words.
    pub how: String,
    /// Did it succeed?
    pub is_success: bool,
    /// From its start to its end.
    pub took: Duration,
    /// The last lines it wrote.
    pub output: Vec<String>,
}

/// A record, ready to be sent and written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Counts the records of this daemon.
    pub number: u64,
    /// Whose it is: an instance's, or a sync group's.
    pub instance: Option<String>,
    /// JSON, without a newline.
    pub line: String,
}

impl Entry {
    /// Is it of one of these instances and groups? Without any it always is.
    pub fn is_of(&self, whose: Option<&[String]>) -> bool {
        whose.is_none_or(|names| self.instance.as_ref().is_some_and(|name| names.contains(name)))
    }
}

/// The last records.
#[derive(Debug)]
pub struct Recorder {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number of the next record.
    next: u64,
    pen: Option<Pen>,
    /// Each record goes to the log too.
    is_logging: bool,
}

impl Recorder {
    /// Begins with what former runs have written. `pen` is the process that shall write, if it is
    /// started already ([`spare_pen`]).
    pub fn open(file: Option<RecordFile>, pen: Option<Scribe>, is_logging: bool) -> Self {
        let mut recorder =
            Self { entries: VecDeque::new(), bytes: 0, next: 1, pen: None, is_logging };
        let former = file.as_ref().map(|file| file.read(READ_BYTES_MAX));
        for (instance, line) in former.unwrap_or_default() {
            recorder.keep(instance, line);
        }
        recorder.pen = file.map(|file| Pen::new(file, pen));
        recorder
    }

    /// Takes in what has just happened.
    pub fn add(&mut self, node: &str, id: String, record: Record) {
        let record = Record {
            schema: SCHEMA.into(),
            id,
            time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            node: node.into(),
            ..record
        };
        // Strings and numbers always serialise.
        let line = serde_json::to_string(&record).unwrap_or_default();
        if self.is_logging {
            log::info!("{line}");
        }
        if let Some(pen) = &mut self.pen {
            pen.write(&line);
        }
        self.keep(record.instance, line);
    }

    fn keep(&mut self, instance: Option<String>, line: String) {
        self.bytes += line.len();
        self.entries.push_back(Entry { number: self.next, instance, line });
        self.next += 1;
        while self.entries.len() > RECORDS_MAX || self.bytes > BYTES_MAX {
            let oldest = self.entries.pop_front();
            self.bytes -= oldest.map_or(0, |entry| entry.line.len());
        }
    }

    /// The number that the next record will have.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The records from this number on, as far as they are kept.
    pub fn since(&self, number: u64) -> impl Iterator<Item = &Entry> {
        let place = self.entries.partition_point(|entry| entry.number < number);
        self.entries.range(place..)
    }

    /// The last `count` records, of these instances and groups or of all.
    pub fn last(&self, count: usize, whose: Option<&[String]>) -> Vec<&Entry> {
        let is_meant = |entry: &&Entry| entry.is_of(whose);
        let mut found: Vec<&Entry> =
            self.entries.iter().rev().filter(is_meant).take(count).collect();
        found.reverse();
        found
    }

    /// What becomes readable when the file cannot be written, or not any more.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pen.as_ref().and_then(Pen::fd)
    }

    /// That is readable. True if it has become another one.
    pub fn handle_ready(&mut self) -> bool {
        self.pen.as_mut().is_some_and(Pen::handle_ready)
    }

    /// Nothing more is recorded: waits a little until the file has everything.
    pub fn finish(&mut self) {
        if let Some(pen) = self.pen.take() {
            pen.finish();
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of a text, cut between two characters.
fn short(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(recorder: &mut Recorder, instance: &str, detail: &str) {
        recorder.add("node", "id".into(), Record::event("hold", Some(instance), detail));
    }

    #[test]
    fn only_the_last_are_kept() {
        let mut recorder = Recorder::open(None, None, false);
        for n in 0..RECORDS_MAX + 3 {
            add(&mut recorder, "VI", &n.to_string());
        }
        let kept = recorder.last(usize::MAX, None);
        assert_eq!(kept.len(), RECORDS_MAX);
        assert_eq!(kept.first().map(|entry| entry.number), Some(4));
        assert_eq!(recorder.since(RECORDS_MAX as u64 + 3).count(), 1);
        assert_eq!(recorder.since(0).count(), RECORDS_MAX);
    }

    #[test]
    fn many_bytes_count_too() {
        let mut recorder = Recorder::open(None, None, false);
        for _ in 0..RECORDS_MAX {
            add(&mut recorder, &"x".repeat(1000), "");
        }
        assert!(recorder.bytes <= BYTES_MAX);
        assert!(recorder.last(usize::MAX, None).len() < RECORDS_MAX);
    }

    #[test]
    fn those_of_one_instance_are_found() {
        let mut recorder = Recorder::open(None, None, false);
        for instance in ["a", "b", "a"] {
            add(&mut recorder, instance, instance);
        }
        assert_eq!(recorder.last(10, Some(&["a".to_owned()])).len(), 2);
        assert_eq!(
            recorder.last(1, Some(&["a".to_owned()])).first().map(|entry| entry.number),
            Some(3)
        );
        assert!(recorder.last(10, Some(&["c".to_owned()])).is_empty());
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_lengths_are_bounded() {
        let long = "ä".repeat(TEXT_BYTES_MAX);
        let end = HookEnd {
            how: "exited with status 1".into(),
            is_success: false,
            took: Duration::from_millis(12),
            output: vec![long.clone(); 40],
        };
        let record = Record::hook("mount acquire".into(), Some("VI_1".into()), &end);
        assert_eq!(record.output.len(), OUTPUT_LINES_MAX);
        assert!(record.output.iter().all(|line| line.len() <= TEXT_BYTES_MAX));
        let line = serde_json::to_string(&record).expect("it serialises");
        assert_eq!(serde_json::from_str::<Record>(&line).expect("it reads"), record);
    }
}
