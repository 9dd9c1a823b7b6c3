//! `vrrp_sync_group` blocks.

use super::super::diagnostic::Span;
use super::super::lex::{Statement, Word};
use super::super::{GroupConf, Tracked};
use super::{At, Blame, Keyword, Raw, Reader, TrackRaw, block, flag, line, notify, switch, tracks};

/// A `vrrp_sync_group` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncGroupRaw {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// What goes into the configuration as it is: its scripts.
    pub conf: GroupConf,
    /// `group`: the names of its members.
    pub members: Option<Vec<At<String>>>,
    /// `track_interface`, `track_script` and so on.
    pub tracks: Vec<TrackRaw>,
    /// `sync_group_tracking_weight`, or `global_tracking`: members keep their own weights.
    pub keeps_weights: bool,
    /// `smtp_alert`.
    pub smtp_alert: Option<bool>,
    /// `notify_priority_changes`.
    pub notify_priority_changes: Option<bool>,
}

pub(super) const KEYWORDS: &[Keyword<SyncGroupRaw>] = &[
    block("group", members),
    notify("notify_master", |group| &mut group.conf.notify.master),
    notify("notify_backup", |group| &mut group.conf.notify.backup),
    notify("notify_fault", |group| &mut group.conf.notify.fault),
    notify("notify_stop", |group| &mut group.conf.notify.stop),
    notify("notify", |group| &mut group.conf.notify.every),
    switch("smtp_alert", |group| &mut group.smtp_alert),
    switch("notify_priority_changes", |group| &mut group.notify_priority_changes),
    tracks("track_interface", Tracked::Interface, |group| &mut group.tracks),
    tracks("track_script", Tracked::Script, |group| &mut group.tracks),
    tracks("track_process", Tracked::Process, |group| &mut group.tracks),
    tracks("track_file", Tracked::File, |group| &mut group.tracks),
    tracks("track_bfd", Tracked::Bfd, |group| &mut group.tracks),
    line("global_tracking", |reader, statement, group| {
        let Some(word) = statement.words.first() else { return };
        let message = format!(
            "({}) global_tracking is deprecated. Use track_interface/script/file on the sync group",
            group.name
        );
        reader.fault(word.span, message);
        group.keeps_weights = true;
    }),
    flag("sync_group_tracking_weight", |group| &mut group.keeps_weights),
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
    reader.notifier = format!("vrrp group {}:", name.text);
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
