//! From statements to raw values: which keywords there are, and what each makes of its line.
//!
//! One table per kind of block says for every keyword keepalived knows (2.2.7 and what came until
//! 2.4) what becomes of it here: it is read, or without effect. A value that does not
//! hold is reported in keepalived's words and left at its default, as keepalived does.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Diagnostic, Severity, Span};
use super::lex::{Statement, Word};
use super::{Tracked, bytes, suggest};
use crate::core::spec::Family;

mod address;
mod bfd;
mod daemon;
mod destination;
mod firewall;
mod global;
mod group;
mod hmac;
mod hooks;
mod instance;
mod keyword;
mod late;
mod line;
mod link;
mod names;
mod route;
mod rule;
mod script;
mod sensed;
mod statics;
mod value;
mod vmac;

pub use address::AddressRaw;
pub use bfd::BfdRaw;
pub use daemon::{DaemonRaw, EdgeRaw, FifoRaw, is_name};
pub use global::{GarpRaw, GlobalRaw};
pub use group::SyncGroupRaw;
pub use hmac::{HmacRaw, KeyRaw, read_key};
pub use hooks::{CheckRaw, HooksRaw, MountRaw, NotifyRaw};
pub(super) use instance::PRIORITY;
pub use instance::{AuthKind, AuthRaw, InstanceRaw, TrackRaw};
pub use link::LinkDelayRaw;
pub use names::Names;
pub use script::ScriptRaw;
pub use sensed::{FileRaw, ProcessRaw};
pub use statics::{GroupRaw, StaticsRaw};
pub use vmac::IpvlanRaw;
pub use vmac::VmacRaw;

use keyword::{
    Ending, Fate, Idle, Keyword, block, either, flag, idle, interface, line, loose, mark, notify,
    number, path, reset, rounds, silent, switch, time, tracks, user,
};

/// A value and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl At<i64> {
    /// The same as a narrower number.
    fn narrow<N: TryFrom<i64>>(self) -> Option<At<N>> {
        self.value.try_into().ok().map(|value| At { value, span: self.span })
    }
}

/// A configuration as it is written, each value by itself correct.
#[derive(Debug, Default)]
pub struct Raw {
    /// `global_defs`, and the settings at the top level.
    pub global: GlobalRaw,
    /// The `vrrp_script` blocks.
    pub scripts: Vec<ScriptRaw>,
    /// The `vrrp_track_process` blocks.
    pub processes: Vec<ProcessRaw>,
    /// The `track_file` blocks.
    pub files: Vec<FileRaw>,
    /// The `bfd_instance` blocks, with a neighbour each.
    pub bfds: Vec<BfdRaw>,
    /// The `vrrp_instance` blocks.
    pub instances: Vec<InstanceRaw>,
    /// Their names; there may be thousands.
    pub instance_names: BTreeSet<String>,
    /// The `hooks` blocks.
    pub hooks: Vec<HooksRaw>,
    /// The static blocks and `track_group`.
    pub statics: StaticsRaw,
    /// The `vrrp_sync_group` blocks.
    pub groups: Vec<SyncGroupRaw>,
}

/// The keywords of the top level.
const ROOT: &[Keyword<Raw>] = &[
    block("global_defs", |reader, statement, raw| {
        reader.read_block(statement, global::KEYWORDS, Blame::Keepalived, &mut raw.global);
    }),
    block("vrrp_script", script::vrrp_script),
    block("vrrp_track_process", sensed::vrrp_track_process),
    block("track_file", sensed::track_file),
    block("vrrp_track_file", sensed::track_file),
    block("vrrp_instance", instance::vrrp_instance),
    block("hooks", hooks::hooks),
    either("vrrp_sync_group", group::vrrp_sync_group),
    flag("use_pid_dir", |raw| &mut raw.global.conf.use_pid_dir),
    idle("child_wait_time", Idle::ChildWait),
    block("bfd_instance", bfd::bfd_instance),
    block("track_group", statics::track_group),
    block("static_ipaddress", statics::addresses),
    block("static_routes", statics::routes),
    block("static_rules", statics::rules),
    block("garp_group", link::garp_group),
    block("interface_up_down_delays", link::up_down_delays),
    line("net_namespace", |reader, statement, raw| {
        daemon::name(reader, statement, &mut raw.global.daemon.net_namespace);
    }),
    line("instance", |reader, statement, raw| {
        daemon::name(reader, statement, &mut raw.global.daemon.instance);
    }),
    idle("net_namespace_ipvs", Idle::Lvs),
    idle("namespace_with_ipsets", Idle::Firewall),
    flag("linkbeat_use_polling", |raw| &mut raw.global.polls_all_links),
    block("linkbeat_interfaces", link::linkbeats),
    idle("virtual_server", Idle::Lvs),
    idle("virtual_server_group", Idle::Lvs),
    idle("SSL", Idle::Lvs),
];

/// Blocks of an instance that decide who is master or what is reachable. Without its brace,
/// keepalived takes whatever follows for the content of such a block.
fn is_vital(block: &str) -> bool {
    block.starts_with("track_")
        || block.starts_with("virtual_")
        || matches!(block, "unicast_peer" | "authentication")
}

/// A keyword that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// The block it stands in; empty for the top level.
    pub block: &'static str,
    /// Its name.
    pub keyword: &'static str,
    /// It is a line whose values are looked at; those of a keyword without effect are not.
    pub is_examined: bool,
}

/// Every keyword that is known.
pub fn keywords() -> Vec<Known> {
    fn of<T>(block: &'static str, table: &[Keyword<T>]) -> impl Iterator<Item = Known> {
        table.iter().map(move |keyword| Known {
            block,
            keyword: keyword.name,
            is_examined: matches!(keyword.fate, Fate::Line(_) | Fate::Plain(_)),
        })
    }
    of("", ROOT)
        .chain(of("global_defs", global::KEYWORDS))
        .chain(of("vrrp_script", script::KEYWORDS))
        .chain(of("vrrp_track_process", sensed::PROCESS))
        .chain(of("track_file", sensed::FILE))
        .chain(of("bfd_instance", bfd::KEYWORDS))
        .chain(of("vrrp_instance", instance::KEYWORDS))
        .chain(of("vrrp_sync_group", group::KEYWORDS))
        .chain(of("authentication", instance::AUTHENTICATION))
        .chain(of("track_group", statics::GROUP))
        .chain(of("garp_group", link::GARP_GROUP))
        .chain(of("auth_hmac", hmac::KEYWORDS))
        .chain(of("hooks", hooks::KEYWORDS))
        .collect()
}

/// Reads all statements of a configuration. Every problem is reported, none ends the reading.
pub fn parse(statements: &[Statement], names: Names) -> (Raw, Vec<Diagnostic>) {
    let mut reader = Reader { names, ..Reader::default() };
    let mut raw = Raw::default();
    reader.read(statements, ROOT, Blame::Keepalived, &mut raw);
    late::drop_late(&mut reader, &mut raw);
    (raw, reader.diagnostics)
}

/// Unknown keywords that get a suggestion: a file with more of them is none of ours, and must not
/// take long to be told so.
const GUESS_COUNT_MAX: usize = 100;

/// Whose language an unknown keyword is a mistake in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// keepalived reports it and goes on.
    Keepalived,
    /// glha's own block: a line that is not understood must not be dropped.
    Glha,
}

/// Reads statements and collects what there is to say about them.
#[derive(Default)]
pub(super) struct Reader {
    diagnostics: Vec<Diagnostic>,
    /// Kinds that were said already.
    said: Vec<Idle>,
    /// How many unknown keywords were compared with all that are known.
    guess_count: usize,
    /// Name of the instance or script whose block is being read: keepalived's messages name it.
    scope: String,
    /// How they name the instance or group whose scripts are told of transitions.
    notifier: String,
    /// What can be tracked so far, by kind and name.
    defined: BTreeSet<(Tracked, String)>,
    /// What may be written by name in routes and rules.
    names: Names,
    /// The block that is being read is a static one.
    in_static: bool,
    /// The priority of the next rule without one, by family.
    rule_priorities: BTreeMap<Family, u32>,
}

impl Reader {
    fn say(&mut self, severity: Severity, span: Span, message: impl Into<String>) {
        let message = message.into();
        self.diagnostics.push(Diagnostic { span, severity, message, suggestion: None });
    }

    /// What keepalived calls a configuration error and survives.
    fn fault(&mut self, span: Span, message: impl Into<String>) {
        self.say(Severity::Fault, span, message);
    }

    /// What glha does not start with.
    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.say(Severity::Error, span, message);
    }

    fn read_block<T>(
        &mut self,
        statement: &Statement,
        table: &[Keyword<T>],
        blame: Blame,
        target: &mut T,
    ) {
        self.read(statement.block.as_deref().unwrap_or_default(), table, blame, target);
    }

    fn read<T>(
        &mut self,
        statements: &[Statement],
        table: &[Keyword<T>],
        blame: Blame,
        target: &mut T,
    ) {
        for statement in statements {
            let Some(word) = statement.words.first() else {
                self.fault(statement.span, "Unexpected '{' - ignoring; its block is skipped");
                continue;
            };
            match table.iter().find(|keyword| keyword.name == word.text) {
                Some(keyword) => self.apply(statement, word, keyword, target),
                None => self.unknown(statement, word, table, blame),
            }
        }
    }

    fn apply<T>(
        &mut self,
        statement: &Statement,
        word: &Word,
        keyword: &Keyword<T>,
        target: &mut T,
    ) {
        if !matches!(keyword.fate, Fate::Idle(_) | Fate::Silent) {
            self.text(statement);
        }
        if let (Fate::Line(_) | Fate::Plain(_), Some(_)) = (&keyword.fate, &statement.block) {
            let message = format!(
                "Unexpected '{{' - ignoring; '{}' takes no block, it is skipped",
                word.text
            );
            self.fault(word.span, message);
        }
        match &keyword.fate {
            Fate::Line(read) | Fate::Either(read) => read(self, statement, target),
            Fate::Plain(plain) => self.plain(statement, plain, target),
            Fate::Block(read) if statement.block.is_some() => read(self, statement, target),
            Fate::Tracks(what, to) if statement.block.is_some() => {
                self.tracks(statement, *what, to(target));
            }
            Fate::Block(_) | Fate::Tracks(..) => {
                let message =
                    format!("Missing '{{' at beginning of configuration block '{}'", word.text);
                if is_vital(&word.text) {
                    self.error(
                        word.span,
                        message + "; glha does not start rather than leave it out",
                    );
                } else {
                    self.fault(word.span, message);
                }
            }
            Fate::Idle(why) => self.idle(word, *why),
            Fate::Silent => {}
        }
    }

    /// No value becomes another one in silence.
    fn text(&mut self, statement: &Statement) {
        for word in statement.words.iter().filter(|word| bytes::is_replaced(&word.text)) {
            self.error(word.span, bytes::NOT_TEXT);
        }
    }

    fn idle(&mut self, word: &Word, why: Idle) {
        if self.said.contains(&why) {
            return;
        }
        self.said.push(why);
        let (severity, text) = why.text();
        self.say(severity, word.span, format!("{}: {text}", word.text));
    }

    fn unknown<T>(
        &mut self,
        statement: &Statement,
        word: &Word,
        table: &[Keyword<T>],
        blame: Blame,
    ) {
        let mut message = format!("Unknown keyword '{}'", word.text);
        if statement.block.is_some() {
            message.push_str("; its block is skipped");
        }
        let names = table.iter().map(|keyword| keyword.name);
        self.guess_count += 1;
        let suggestion = match self.guess_count {
            ..=GUESS_COUNT_MAX => suggest::nearest(&word.text, names).map(str::to_owned),
            _ => None,
        };
        self.diagnostics.push(Diagnostic {
            span: word.span,
            severity: match blame {
                Blame::Keepalived => Severity::Fault,
                Blame::Glha => Severity::Error,
            },
            message,
            suggestion,
        });
    }

    /// The lines of a block of values. What stands between the keyword and its brace has no
    /// meaning, and neither has a block within.
    fn lines<'s>(&mut self, statement: &'s Statement) -> Vec<&'s Statement> {
        if let (Some(name), Some(extra)) = (statement.words.first(), statement.words.get(1)) {
            let message = format!("Block {} has extra parameters {} ...", name.text, extra.text);
            self.fault(extra.span, message);
        }
        let mut lines = Vec::new();
        for line in statement.block.as_deref().unwrap_or_default() {
            if line.block.is_some() {
                self.fault(line.span, "Unexpected '{' - ignoring; its block is skipped");
            }
            if !line.words.is_empty() {
                self.text(line);
                lines.push(line);
            }
        }
        lines
    }

    /// The one name of a named block; without it keepalived skips the block.
    fn block_name<'s>(&mut self, statement: &'s Statement) -> Option<&'s Word> {
        let keyword = statement.words.first()?;
        match statement.words.get(1) {
            Some(name) if statement.words.len() == 2 => Some(name),
            Some(_) => {
                let message =
                    format!("{} must have a name, of one word; its block is skipped", keyword.text);
                self.fault(keyword.span, message);
                None
            }
            None => {
                let message = format!("{} must have a name; its block is skipped", keyword.text);
                self.fault(keyword.span, message);
                None
            }
        }
    }
}
