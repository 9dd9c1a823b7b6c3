//! The configuration: keepalived's language and keywords, and glha's `hooks` block.
//!
//! Text goes in, a typed [`Config`] or diagnostics come out. Nothing here reads a file: the caller
//! hands over a [`Files`] with which included files are found and read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::core::Table;
use crate::core::event::NotifyState;
use crate::core::spec::{
    CheckId, Family, FileId, GroupId, InstanceId, LinkId, ProcessId, Spec, Weight,
};

mod bytes;
mod check;
pub mod command;
pub mod daemon;
pub mod diagnostic;
mod glob;
mod glyph;
mod ids;
mod include;
pub mod lex;
pub mod parse;
mod printable;
mod repeat;
pub mod rights;
pub mod route;
mod statement;
mod subst;
mod suggest;
mod tree;

pub use diagnostic::{Diagnostic, Severity, Span};
pub use ids::Numbering;
pub use printable::printable;
pub use rights::{Ids, Rights};
pub use route::{Entry, Route, Rule, Statics};
pub use suggest::nearest;

/// How the configuration's files are reached; functions, so that tests need no disk.
pub struct Files<'a> {
    /// Reads a whole file.
    pub read: &'a mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    /// Lists the names in a folder, in any order.
    pub list: &'a mut dyn FnMut(&Path) -> io::Result<Vec<OsString>>,
}

/// What the language is told from outside.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// `-i`, or the host name up to the first dot: decides `@id` lines, value of `${_INSTANCE}`.
    pub config_id: String,
    /// The host name: the default of `router_id`.
    pub host_name: String,
    /// `-e`: a missing include file is an error.
    pub all_includes: bool,
    /// The environment, for `${_ENV NAME}`.
    pub environment: BTreeMap<String, String>,
    /// `-s`: the network namespace to run in, whatever the configuration says.
    pub net_namespace: Option<String>,
    /// What the running configuration calls everything; empty at the start.
    pub ids: Numbering,
}

/// The outcome of reading a configuration.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What was understood. Only to be run if no diagnostic is fatal.
    pub config: Config,
    /// Scripts that no instance tracks, and so never run: name and command.
    pub untracked: Vec<(String, Script)>,
    /// Everything there is to say, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The text of every file that was read, for carets.
    pub sources: diagnostic::Sources,
}

/// A configuration, split by who uses it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What belongs to no instance.
    pub global: Global,
    /// What the core decides by.
    pub spec: Spec,
    /// What everything in it is called.
    pub ids: Numbering,
    /// What the shell needs for each of [`Spec::instances`].
    pub instances: Table<InstanceId, InstanceConf>,
    /// What the shell needs for each of [`Spec::groups`].
    pub groups: Table<GroupId, GroupConf>,
    /// The interfaces with a virtual MAC address that instances use, in the order they are made.
    pub vmacs: Vec<VmacConf>,
    /// The interfaces whose carrier is asked for, and how unless any way will do.
    pub linkbeats: Vec<(LinkId, Option<BeatKind>)>,
    /// The command of each of [`Spec::checks`].
    pub checks: Table<CheckId, CheckConf>,
    /// What matches each of [`Spec::processes`].
    pub processes: Table<ProcessId, ProcessConf>,
    /// Where each of [`Spec::files`] is.
    pub files: Table<FileId, FileConf>,
    /// What is set whatever the state of any instance.
    pub statics: Statics,
}

/// Settings of the whole daemon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Global {
    /// `router_id`, else the host name: `node` in events.
    pub router_id: String,
    /// `script_user`, if given.
    pub script_user: Option<User>,
    /// What scripts without a user of their own run with.
    pub script_rights: Rights,
    /// `enable_script_security`.
    pub script_security: bool,
    /// Scripts are there and `enable_script_security` is not: status 6 of `-t`; the audit sees it.
    pub scripts_unsecured: bool,
    /// `umask`, if given; scripts otherwise run with 022.
    pub umask: Option<u32>,
    /// `notification_email` and its like, told to notify hooks.
    pub mail: Mail,
    /// `dynamic_interfaces`: an interface that is missing at start is a fault, not an error.
    pub dynamic_interfaces: bool,
    /// `vrrp_startup_delay`.
    pub startup_delay: Duration,
    /// `vrrp_delay_after_boot`: the same, counted from the boot of the host.
    pub delay_after_boot: Duration,
    /// `garp_group`: interfaces with pauses of their own.
    pub garp_groups: Vec<GarpGroup>,
    /// The interfaces of `garp_group` and `interface_up_down_delays`, which have to be there.
    pub interfaces: Vec<parse::At<String>>,
    /// `log_unknown_vrids`.
    pub log_unknown_vrids: bool,
    /// `use_pid_dir`: pid files go to /run/keepalived.
    pub use_pid_dir: bool,
    /// `vrrp_priority`: nice value of the daemon.
    pub nice: Option<i8>,
    /// `vrrp_rt_priority`.
    pub rt_priority: Option<u8>,
    /// `vrrp_no_swap`: lock the daemon's memory.
    pub no_swap: bool,
    /// What concerns the daemon's own process.
    pub daemon: daemon::Daemon,
    /// `nftables` and its like.
    pub firewall: FirewallConf,
}

/// How the firewall behind `no_accept` is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallConf {
    /// Name of its tables (`nftables`), which nft can write as it is.
    pub table: String,
    /// Priority of its chains (`nftables_priority`).
    pub priority: i32,
    /// Its rules count packets (`nftables_counters`).
    pub has_counters: bool,
}

impl Default for FirewallConf {
    fn default() -> Self {
        Self { table: "keepalived".to_owned(), priority: -1, has_counters: false }
    }
}

/// A `garp_group`: interfaces that keep one pause between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarpGroup {
    /// Their names.
    pub interfaces: Vec<String>,
    /// `garp_interval`; none if not given.
    pub interval: Duration,
    /// `gna_interval`; none if not given.
    pub na_interval: Duration,
}

/// The mail settings of `global_defs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// `notification_email`.
    pub to: Vec<String>,
    /// `notification_email_from`.
    pub from: Option<String>,
    /// `smtp_server`.
    pub server: Option<String>,
    /// `no_email_faults`: none for a FAULT.
    pub no_faults: bool,
}

/// A user, perhaps with a group, as written; looked up by the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name or number.
    pub user: String,
    /// Name or number; otherwise the user's own group.
    pub group: Option<String>,
    /// Where it stands.
    pub span: Span,
}

/// A command that glha runs: argv and where it stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The program and its own arguments; never empty.
    pub argv: Vec<String>,
    /// Whose rights it runs with, if not `script_user`'s.
    pub user: Option<Box<User>>,
    /// The same by number, after the shell has looked.
    pub rights: Rights,
    /// Where it stands.
    pub span: Span,
}

impl Script {
    /// A command as it is written; whose rights it has is still to be looked up.
    pub fn new(argv: Vec<String>, user: Option<User>, span: Span) -> Self {
        Self { argv, user: user.map(Box::new), rights: Rights::default(), span }
    }
}

/// The scripts that are told of transitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NotifyScripts {
    /// `notify_master`.
    pub master: Option<Box<Script>>,
    /// `notify_backup`.
    pub backup: Option<Box<Script>>,
    /// `notify_fault`.
    pub fault: Option<Box<Script>>,
    /// `notify_stop`.
    pub stop: Option<Box<Script>>,
    /// `notify_deleted`.
    pub deleted: Option<Box<Script>>,
    /// `notify_master_rx_lower_pri`.
    pub lower_priority: Option<Box<Script>>,
    /// `notify`, told of all of them but the last.
    pub every: Option<Box<Script>>,
}

impl NotifyScripts {
    /// The one of a state.
    pub fn of(&self, state: NotifyState) -> Option<&Script> {
        match state {
            NotifyState::Master => self.master.as_deref(),
            NotifyState::Backup => self.backup.as_deref(),
            NotifyState::Fault => self.fault.as_deref(),
            NotifyState::Stop => self.stop.as_deref(),
            NotifyState::Deleted => self.deleted.as_deref(),
            NotifyState::LowerPriority => self.lower_priority.as_deref(),
        }
    }

    /// All of them: those of a state each, and the one of every state.
    pub const fn each_mut(&mut self) -> [&mut Option<Box<Script>>; 7] {
        let Self { master, backup, fault, stop, deleted, lower_priority, every } = self;
        [master, backup, fault, stop, deleted, lower_priority, every]
    }
}

/// What can be tracked, with the words of keepalived's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tracked {
    /// `track_interface`.
    Interface,
    /// `track_script`.
    Script,
    /// `track_file`.
    File,
    /// `track_process`.
    Process,
    /// `track_bfd`.
    Bfd,
}

impl fmt::Display for Tracked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Interface => "interface",
            Self::Script => "script",
            Self::File => "file",
            Self::Process => "process",
            Self::Bfd => "bfd",
        })
    }
}

/// What the shell needs for one instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceConf {
    /// Its own interface with a virtual MAC address (`use_vmac`), by name.
    pub vmac: Option<String>,
    /// The same for addresses on other interfaces (`use_vmac_addr`).
    pub vmac_addresses: bool,
    /// The addresses to put and take: first those advertised, then the excluded ones. There may be many
    /// thousand, which all who have to do with them share.
    pub addresses: Vec<Arc<VirtualAddress>>,
    /// `virtual_routes`.
    pub routes: Vec<Entry<Route>>,
    /// `virtual_rules`.
    pub rules: Vec<Entry<Rule>>,
    /// Its scripts.
    pub notify: NotifyScripts,
    /// `promote_secondaries`: set that sysctl of its interface while the daemon runs.
    pub promote_secondaries: bool,
    /// The `hooks` block that names this instance.
    pub hooks: Option<Box<Hooks>>,
    /// `notify_priority_changes`: the notify FIFOs are told of its effective priority.
    pub tells_priority: bool,
    /// `smtp_alert`: its notify hook is told where to send mail.
    pub wants_mail: bool,
    /// Packets for its addresses are dropped (`no_accept`, or strict mode).
    pub no_accept: bool,
    /// The keys of `auth_hmac` that are in files.
    pub key_files: Vec<KeyFile>,
    /// Where its block begins.
    pub span: Span,
}

/// What the shell needs for one sync group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupConf {
    /// What it tracks on behalf of its members, for dumps.
    pub tracks: Vec<(Tracked, String, Weight)>,
    /// `smtp_alert`.
    pub smtp_alert: bool,
    /// `notify_priority_changes`.
    pub notify_priority_changes: bool,
    /// Its scripts; of a deletion and of lower priorities a group is not told.
    pub notify: NotifyScripts,
    /// The `hooks` block that names this group.
    pub hooks: Option<Box<Hooks>>,
    /// Where its block begins.
    pub span: Span,
}

impl Config {
    /// The sync group of an instance.
    pub fn group_of(&self, instance: InstanceId) -> Option<GroupId> {
        self.spec.groups.find(|group| group.members.contains(&instance))
    }

    /// The `hooks` block that an instance goes by: its own, or that of its group.
    pub fn hooks_of(&self, instance: InstanceId) -> Option<&Hooks> {
        let own = self.instances.get(instance)?.hooks.as_deref();
        own.or_else(|| self.groups.get(self.group_of(instance)?)?.hooks.as_deref())
    }

    /// The `hooks` block with the mount hook that gates an instance, be it its group's; if nothing
    /// gates it, the one it goes by.
    pub fn gating_hooks(&self, instance: InstanceId) -> Option<&Hooks> {
        let own = self.instances.get(instance)?.hooks.as_deref();
        own.filter(|hooks| hooks.mount.is_some())
            .or_else(|| self.groups.get(self.group_of(instance)?)?.hooks.as_deref())
            .or(own)
    }
}

/// A key of `auth_hmac` that is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// Its id.
    pub id: u8,
    /// The file.
    pub path: PathBuf,
    /// Where its id stands.
    pub span: Span,
}

/// A virtual address with everything `ip address add` wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix, 0 to 32 or 128.
    pub prefix_len: u8,
    /// The interface it is set on, by name.
    pub interface: String,
    /// The interface below that one, if that has a virtual MAC address.
    pub base: Option<String>,
    /// `use_vmac` was written with it.
    pub use_vmac: bool,
    /// `brd`, IPv4 only: none unless given; `+` sets the host bits, `-` clears them.
    pub broadcast: Option<Ipv4Addr>,
    /// `label`, at most 15 bytes.
    pub label: Option<String>,
    /// `scope`, as the kernel's number: 0 global, 253 link, 254 host, 200 site.
    pub scope: u8,
    /// `noprefixroute`.
    pub no_prefix_route: bool,
    /// `peer`: the other end of a point-to-point link; the prefix is then its, and whole.
    pub peer: Option<IpAddr>,
    /// `home`, `-nodad`, `mngtmpaddr`, `autojoin`.
    pub flags: AddressFlags,
    /// `preferred_lft`, seconds; otherwise for ever (an IPv6 /128: 0, deprecated, as keepalived).
    pub preferred_lft: Option<u32>,
    /// As written, for events: `172.16.51.70/32`.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// What the kernel is told of an address beside it. IPv4 has only the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressFlags {
    /// `home`: the home address of Mobile IPv6 (RFC 6275).
    pub home: bool,
    /// `-nodad`: duplicates are detected first; virtual addresses otherwise serve at once.
    pub detect_duplicates: bool,
    /// `mngtmpaddr`: temporary addresses are made of it (RFC 4941).
    pub make_temporary: bool,
    /// `autojoin`: the group is joined on the interface; for multicast addresses only.
    pub join: bool,
}

impl VirtualAddress {
    /// Does it stand for the same, wherever and however it is written?
    pub fn is_as(&self, other: &Self) -> bool {
        let text = other.text.clone();
        Self { text, span: other.span, ..self.clone() } == *other
    }
}

/// A way to ask for a carrier (`linkbeat_interfaces`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatKind {
    /// The transceiver's status register.
    Mii,
    /// As `ethtool` does.
    Ethtool,
    /// IFF_RUNNING.
    Flags,
}

/// An interface with a virtual MAC address: a macvlan in private mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmacConf {
    /// Its name.
    pub name: String,
    /// The name of the instance that it is for.
    pub instance: String,
    /// The name of the interface it stands on.
    pub base: String,
    /// Its MAC address: 00:00:5e:00:01:VRID, for IPv6 00:00:5e:00:02:VRID (RFC 5798, 7.3), unless
    /// another is given.
    pub mac: [u8; 6],
    /// It is no macvlan, but an IPVLAN (`use_ipvlan`): it has the MAC address of the interface below.
    pub ipvlan: Option<IpvlanConf>,
    /// The family of the addresses on it.
    pub family: Family,
    /// Where it is asked for.
    pub span: Span,
}

/// What an IPVLAN is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpvlanConf {
    /// Its own address, with the length of its prefix; with IPv6 there may be none but the link-local.
    pub address: Option<(IpAddr, u8)>,
    /// Whom it exchanges frames with.
    pub mode: IpvlanMode,
}

/// Whom an IPVLAN exchanges frames with: its like on the same interface too, only others, or its
/// like by way of the switch. The same for all on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// All.
    #[default]
    Bridge,
    /// Not its like.
    Private,
    /// Its like only if the switch sends their frames back.
    Vepa,
}

impl IpvlanMode {
    /// The one of that name.
    pub fn named(text: &str) -> Option<Self> {
        Some(match text {
            "bridge" => Self::Bridge,
            "private" => Self::Private,
            "vepa" => Self::Vepa,
            _ => return None,
        })
    }
}

impl VmacConf {
    /// Its MAC address as it is written.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

/// The `hooks NAME { }` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// The name of the sync group, if the block names one.
    pub group: Option<String>,
    /// `mount`.
    pub mount: Option<MountHook>,
    /// `notify`.
    pub notify: Option<NotifyHook>,
    /// `env`: settings handed to every hook of the block, in the order of the file.
    pub env: Vec<(String, String)>,
    /// `legacy_mount accept`.
    pub accept_legacy_mount: bool,
    /// Where the block begins.
    pub span: Span,
}

/// The mount hook; its timing is in [`crate::core::spec::GateSpec`].
#[derive(Clone, Debug, PartialEq)]
pub struct MountHook {
    /// What to run; `acquire|release|probe NAME` is appended.
    pub script: Script,
}

/// The notify hook.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyHook {
    /// What to run; `INSTANCE NAME STATE PRIORITY` is appended.
    pub script: Script,
    /// Its deadline, also that of the `notify*` scripts beside it; 30 s unless given.
    pub timeout: Duration,
}

/// The command behind a check.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConf {
    /// What to run.
    pub script: Script,
    /// The `weight` of its own; each that tracks it may have another. For dumps.
    pub weight: Weight,
    /// The `timeout` as it is written, if it is.
    pub timeout: Option<Duration>,
    /// The instance of a `check` hook: its place in [`Config::instances`]. A `vrrp_script` has none.
    pub hook_of: Option<InstanceId>,
}

/// Which processes a `vrrp_track_process` is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessConf {
    /// The name of the process as the kernel keeps it, or its first argument if `is_full`.
    pub command: String,
    /// The arguments after it.
    pub params: Vec<String>,
    /// How they are compared.
    pub params_match: ParamMatch,
    /// Compare the command line, not the name.
    pub is_full: bool,
}

/// How the arguments of a process are compared with those that are configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParamMatch {
    /// Not at all.
    #[default]
    Any,
    /// They are the same.
    Exact,
    /// The last one that is configured is how its counterpart begins; more may follow.
    Initial,
    /// They begin with those that are configured.
    Partial,
}

/// A tracked file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConf {
    /// Where it is.
    pub path: PathBuf,
    /// What is written to it at the start, if anything.
    pub init: Option<FileInit>,
}

/// `init_file`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileInit {
    /// The number.
    pub value: i32,
    /// Also if there is a file already.
    pub overwrite: bool,
}

/// The configuration files that are looked for without `-f`, in this order.
pub fn default_paths() -> [PathBuf; 2] {
    ["/etc/glha/glha.conf".into(), "/etc/keepalived/keepalived.conf".into()]
}

/// Reads the configuration at `path`, and everything it includes.
///
/// Every problem is reported, in the order of the text. A diagnostic of [`Severity::Error`] means
/// that glha does not start with it, and the configuration is not to be used.
pub fn load(path: &Path, files: &mut Files<'_>, context: &Context) -> Loaded {
    let lexed = lex::lex(path, files, context);
    let names = parse::Names::read(&lexed.statements, files);
    let (raw, found) = parse::parse(&lexed.statements, names);
    let mut diagnostics = lexed.diagnostics;
    diagnostics.extend(found);
    let config = check::check(&raw, context, &mut diagnostics);
    let untracked = check::untracked(&raw, &config);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    // A line that is repeated by ~SEQ, or included twice, says the same each time.
    let mut said = BTreeSet::new();
    diagnostics.retain(|diagnostic| said.insert((diagnostic.span, diagnostic.message.clone())));
    Loaded { config, untracked, diagnostics, sources: lexed.sources }
}

/// The exit status of `-t`: keepalived's, 4 where glha would not start.
pub fn exit_status(loaded: &Loaded) -> i32 {
    match worst(loaded) {
        Some(Severity::Error) => 4,
        _ if loaded.config.global.scripts_unsecured => 6,
        Some(Severity::Fault) => 5,
        _ => 0,
    }
}

/// The exit status of `-t --strict`: 1 if anything above a note was found.
pub fn strict_exit_status(loaded: &Loaded) -> i32 {
    i32::from(worst(loaded) > Some(Severity::Note))
}

fn worst(loaded: &Loaded) -> Option<Severity> {
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.severity).max()
}
