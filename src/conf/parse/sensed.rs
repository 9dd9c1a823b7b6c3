//! `vrrp_track_process` and `track_file` blocks.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::super::diagnostic::{Severity, Span};
use super::super::lex::Statement;
use super::super::{FileInit, ParamMatch, ProcessConf, Tracked};
use super::{At, Blame, Keyword, Raw, Reader, flag, line, loose, time, value};
use crate::core::spec::Weight;

/// A `vrrp_track_process` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessRaw {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// `process`, with `full_command` and `param_match`.
    pub process: ProcessConf,
    /// `weight`.
    pub weight: Option<Weight>,
    /// `quorum`.
    pub quorum: Option<At<u32>>,
    /// `quorum_max`.
    pub quorum_max: Option<At<u32>>,
    /// `fork_delay`, or `delay`.
    pub fork_delay: Duration,
    /// `terminate_delay`, or `delay`.
    pub terminate_delay: Duration,
    /// `param_match`.
    param_match: Option<ParamMatch>,
}

/// A `track_file` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileRaw {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// `file`.
    pub path: Option<PathBuf>,
    /// `weight`.
    pub weight: Option<Weight>,
    /// `init_file`.
    pub init: Option<FileInit>,
}

/// Weights of processes and files are one wider than those of scripts.
pub(super) const WEIGHT_MAX: i64 = 254;

pub(super) const PROCESS: &[Keyword<ProcessRaw>] = &[
    line("process", process),
    line("param_match", param_match),
    flag("full_command", |process| &mut process.process.is_full),
    line("weight", |reader, statement, process| {
        reader.wide_weight(statement, "vrrp_track_process", &mut process.weight);
    }),
    // keepalived's largest quorum.
    loose("quorum", 1..=65_535, |process| &mut process.quorum),
    loose("quorum_max", 0..=65_535, |process| &mut process.quorum_max),
    line("delay", |reader, statement, process| {
        if let Some(delay) = reader.time_setting(statement, DELAY_MICROS) {
            (process.fork_delay, process.terminate_delay) = (delay.value, delay.value);
        }
    }),
    time("fork_delay", DELAY_MICROS, |process| &mut process.fork_delay),
    time("terminate_delay", DELAY_MICROS, |process| &mut process.terminate_delay),
];

pub(super) const FILE: &[Keyword<FileRaw>] = &[
    line("file", path),
    line("weight", |reader, statement, file| {
        reader.wide_weight(statement, "track_file", &mut file.weight);
    }),
    line("init_file", init_file),
];

/// keepalived's longest delay of a quorum is an hour.
const DELAY_MICROS: RangeInclusive<u64> = 1..=3_600_000_000;
/// The kernel keeps so much of a process's name.
const PROCESS_NAME_BYTES_MAX: usize = 15;

pub(super) fn vrrp_track_process(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(name) = reader.block_name(statement) else { return };
    let mut process = ProcessRaw { name: name.text.clone(), span: name.span, ..Default::default() };
    name.text.clone_into(&mut reader.scope);
    reader.read_block(statement, PROCESS, Blame::Keepalived, &mut process);
    if raw.processes.iter().any(|other| other.name == process.name) {
        reader.second("vrrp_track_process", &process.name, process.span);
        return;
    }
    if process.process.command.is_empty() {
        let message = format!("track process '{}' process name not specified", process.name);
        reader.fault(process.span, message);
        return;
    }
    finish(reader, &mut process);
    reader.define(Tracked::Process, &process.name);
    raw.processes.push(process);
}

/// What depends on more than one line.
fn finish(reader: &mut Reader, process: &mut ProcessRaw) {
    let of = &mut process.process;
    of.params_match = match process.param_match {
        Some(how) => how,
        None if of.params.is_empty() => ParamMatch::Any,
        None => ParamMatch::Exact,
    };
    // Without parameters there is nothing to be equal to, whatever the manual says (2.2.7).
    if of.params.is_empty() {
        of.params_match = ParamMatch::Any;
    }
    of.is_full |= process.param_match.is_some() || !of.params.is_empty();
    if !of.is_full && of.command.len() > PROCESS_NAME_BYTES_MAX {
        let message = format!(
            "'{}' never matches: the kernel keeps {PROCESS_NAME_BYTES_MAX} bytes of a process's \
             name; shorten it to these, or add `full_command` and write the command as it was \
             started",
            of.command
        );
        reader.say(Severity::Warning, process.span, message);
    }
    if let (Some(quorum), Some(max)) = (process.quorum, process.quorum_max)
        && max.value < quorum.value
    {
        process.quorum_max = None;
        reader.fault(max.span, "quorum_max is less than quorum - ignoring");
    }
}

pub(super) fn track_file(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(name) = reader.block_name(statement) else { return };
    let mut file = FileRaw { name: name.text.clone(), span: name.span, ..Default::default() };
    name.text.clone_into(&mut reader.scope);
    reader.read_block(statement, FILE, Blame::Keepalived, &mut file);
    if raw.files.iter().any(|other| other.name == file.name) {
        reader.second("track_file", &file.name, file.span);
        return;
    }
    if file.path.is_none() {
        let message = format!("No file set for track_file {} - ignoring", file.name);
        reader.fault(file.span, message);
        return;
    }
    reader.define(Tracked::File, &file.name);
    raw.files.push(file);
}

/// `file`: the first one counts.
fn path(reader: &mut Reader, statement: &Statement, file: &mut FileRaw) {
    let Some(word) = reader.value(statement) else { return };
    if word.text.is_empty() {
        reader.say(Severity::Warning, word.span, "track file file name missing");
    } else if file.path.is_some() {
        let message =
            format!("File already set for track file {} - ignoring {}", file.name, word.text);
        reader.fault(word.span, message);
    } else {
        file.path = Some(PathBuf::from(&word.text));
    }
}

fn process(reader: &mut Reader, statement: &Statement, process: &mut ProcessRaw) {
    let Some(keyword) = statement.words.first() else { return };
    let Some((command, params)) = statement.words.get(1..).and_then(<[_]>::split_first) else {
        reader.missing(keyword, 2);
        return;
    };
    if !process.process.command.is_empty() {
        let message = format!(
            "Process already set for track process {} - ignoring {}",
            process.name, command.text
        );
        reader.fault(command.span, message);
        return;
    }
    process.process.command.clone_from(&command.text);
    process.process.params = params.iter().map(|param| param.text.clone()).collect();
}

fn param_match(reader: &mut Reader, statement: &Statement, process: &mut ProcessRaw) {
    let Some(word) = reader.value(statement) else { return };
    process.param_match = match word.text.as_str() {
        "initial" => Some(ParamMatch::Initial),
        "partial" => Some(ParamMatch::Partial),
        other => {
            let message = format!("Invalid param_match type {other} - ignoring");
            reader.fault(word.span, message);
            return;
        }
    };
}

/// `init_file [VALUE] [overwrite]`.
fn init_file(reader: &mut Reader, statement: &Statement, file: &mut FileRaw) {
    let mut init = FileInit::default();
    for word in statement.words.iter().skip(1) {
        match word.text.as_str() {
            "overwrite" => init.overwrite = true,
            text => match init_value(text) {
                Some(value) => {
                    if i64::from(value).abs() > WEIGHT_MAX {
                        let message = format!(
                            "Track file {} init value {value} is outside sensible range \
                             [-{WEIGHT_MAX}, {WEIGHT_MAX}]",
                            file.name
                        );
                        reader.fault(word.span, message);
                    }
                    init.value = value;
                }
                None => reader.fault(word.span, format!("Unknown track file init option {text}")),
            },
        }
    }
    file.init = Some(init);
}

/// keepalived sees a number by its first character.
fn init_value(text: &str) -> Option<i32> {
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let is_number = !text.is_empty() && !text.starts_with('+');
    let number = value::number(text, &range).ok().filter(|_| is_number)?;
    i32::try_from(number).ok()
}

impl Reader {
    /// The weight of a process or a file, the first of which counts.
    fn wide_weight(&mut self, statement: &Statement, what: &str, setting: &mut Option<Weight>) {
        let Some((keyword, words)) = statement.words.split_first() else { return };
        let name = self.scope.as_str();
        let message = match words.first() {
            None => format!("No weight specified for {what} {name} - ignoring"),
            Some(word) if setting.is_some() => {
                let what = what.trim_start_matches("vrrp_").replace('_', " ");
                format!("Weight already set for {what} {name} - ignoring {}", word.text)
            }
            Some(_) => {
                *setting = self.own_weight(words, what, WEIGHT_MAX);
                return;
            }
        };
        self.fault(keyword.span, message);
    }

    fn second(&mut self, what: &str, name: &str, span: Span) {
        let message = format!(
            "{what} {name} is already defined: the first definition is used, as in keepalived"
        );
        self.say(Severity::Warning, span, message);
    }
}
