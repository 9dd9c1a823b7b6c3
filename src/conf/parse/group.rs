//! `vrrp_sync_group` blocks.

use super::super::Script;
use super::super::diagnostic::Span;
use super::super::lex::{Statement, Word};
use super::{At, Blame, Keyword, Raw, Reader, TrackRaw, block, line};

/// A `vrrp_sync_group` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncGroupRaw {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// `group`: the names of its members.
    pub members: Option<Vec<At<String>>>,
    /// `track_interface`.
    pub track_interfaces: Vec<TrackRaw>,
    /// `track_script`.
    pub track_scripts: Vec<TrackRaw>,
    /// `track_process`.
    pub track_processes: Vec<TrackRaw>,
    /// `track_file`.
    pub track_files: Vec<TrackRaw>,
    /// `track_bfd`.
    pub track_bfds: Vec<TrackRaw>,
    /// `sync_group_tracking_weight`, or `global_tracking`: members keep their own weights.
    pub keeps_weights: bool,
    /// `smtp_alert`.
    pub smtp_alert: Option<bool>,
    /// `notify_priority_changes`.
    pub notify_priority_changes: Option<bool>,
    /// `notify_master`.
    pub notify_master: Option<Script>,
    /// `notify_backup`.
    pub notify_backup: Option<Script>,
    /// `notify_fault`.
    pub notify_fault: Option<Script>,
    /// `notify_stop`.
    pub notify_stop: Option<Script>,
    /// `notify`.
    pub notify: Option<Script>,
}

pub(super) const KEYWORDS: &[Keyword<SyncGroupRaw>] = &[
    block("group", members),
    line("notify_master", |reader, statement, group| {
        reader.group_notify(statement, &group.name, &mut group.notify_master);
    }),
    line("notify_backup", |reader, statement, group| {
        reader.group_notify(statement, &group.name, &mut group.notify_backup);
    }),
    line("notify_fault", |reader, statement, group| {
        reader.group_notify(statement, &group.name, &mut group.notify_fault);
    }),
    line("notify_stop", |reader, statement, group| {
        reader.group_notify(statement, &group.name, &mut group.notify_stop);
    }),
    line("notify", |reader, statement, group| {
        reader.group_notify(statement, &group.name, &mut group.notify);
    }),
    line("smtp_alert", |reader, statement, group| {
        let message = "Invalid vrrp_group smtp_alert parameter";
        group.smtp_alert = reader.group_switch(statement, message).or(group.smtp_alert);
    }),
    line("notify_priority_changes", |reader, statement, group| {
        let message =
            format!("({}) Invalid value for sync group notify_priority_changes:", group.name);
        let told = reader.group_switch(statement, &message);
        group.notify_priority_changes = told.or(group.notify_priority_changes);
    }),
    block("track_interface", |reader, statement, group| {
        reader.tracks(statement, "interface", &mut group.track_interfaces);
    }),
    block("track_script", |reader, statement, group| {
        reader.tracks(statement, "script", &mut group.track_scripts);
    }),
    block("track_process", |reader, statement, group| {
        reader.tracks(statement, "process", &mut group.track_processes);
    }),
    block("track_file", |reader, statement, group| {
        reader.tracks(statement, "file", &mut group.track_files);
    }),
    block("track_bfd", |reader, statement, group| {
        reader.tracks(statement, "bfd", &mut group.track_bfds);
    }),
    line("global_tracking", |reader, statement, group| {
        let Some(word) = statement.words.first() else { return };
        let message = format!(
            "({}) global_tracking is deprecated. Use track_interface/script/file on the sync group",
            group.name
        );
        reader.fault(word.span, message);
        group.keeps_weights = true;
    }),
    line("sync_group_tracking_weight", |reader, statement, group| {
        group.keeps_weights = reader.flag(statement);
    }),
];

pub(super) fn vrrp_sync_group(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(name) = reader.block_name(statement) else { return };
    if raw.groups.iter().any(|other| other.name == name.text) {
        let message =
            format!("vrrp sync group {} already defined; its block is skipped", name.text);
        return reader.fault(name.span, message);
    }
    let mut group =
        SyncGroupRaw { name: name.text.clone(), span: name.span, ..SyncGroupRaw::default() };
    name.text.clone_into(&mut reader.scope);
    reader.read_block(statement, KEYWORDS, Blame::Keepalived, &mut group);
    raw.groups.push(group);
}

/// The names of the members, as many on a line as one likes.
fn members(reader: &mut Reader, statement: &Statement, group: &mut SyncGroupRaw) {
    let Some(keyword) = statement.words.first() else { return };
    if group.members.is_some() {
        let message = format!("Group list already specified for sync group {}", group.name);
        return reader.fault(keyword.span, message);
    }
    let lines = reader.lines(statement);
    let words = lines.iter().flat_map(|line| &line.words);
    let at = |word: &Word| At { value: word.text.clone(), span: word.span };
    let members: Vec<At<String>> = words.map(at).collect();
    if members.is_empty() {
        let message = format!("Warning - sync group {} has empty group block", group.name);
        return reader.fault(keyword.span, message);
    }
    group.members = Some(members);
}

impl Reader {
    /// The first command counts.
    fn group_notify(&mut self, statement: &Statement, group: &str, script: &mut Option<Script>) {
        let Some(keyword) = statement.words.first() else { return };
        if script.is_none() {
            *script = self.command(statement);
            return;
        }
        let ignored = statement.words.get(1).map_or("", |word| word.text.as_str());
        let message = format!(
            "vrrp group {group}: {} script already specified - ignoring {ignored}",
            keyword.text
        );
        self.fault(keyword.span, message);
    }

    /// A switch, on if it stands by itself.
    fn group_switch(&mut self, statement: &Statement, otherwise: &str) -> Option<bool> {
        let Some(word) = statement.words.get(1) else { return Some(true) };
        match word.text.as_str() {
            "on" | "true" | "yes" => Some(true),
            "off" | "false" | "no" => Some(false),
            other => {
                self.fault(word.span, format!("{otherwise} {other}"));
                None
            }
        }
    }
}
