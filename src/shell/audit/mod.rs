//! A configuration held against this machine: are its scripts, users and interfaces there, and
//! are its scripts likely to do what is meant?
//!
//! Whatever keepalived complains about too has its severity and, where it has a line for it, its
//! words; the rest is glha's own advice.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use crate::conf::command;
use crate::conf::daemon::Daemon;
use crate::conf::parse::At;
use crate::conf::{
    CheckConf, Config, Diagnostic, Entry, Hooks, InstanceConf, NotifyScripts, Rights, Route, Rule,
    Script, Severity, Span, User, VmacConf,
};
use crate::core::spec::{AntiReplay, CheckId, CheckSpec, HmacMode, HmacSpec, InstanceSpec};
use crate::core::{HOLDER_YIELDS_AFTER, Shared};
use crate::shell::audit::lint::{Step, Text};
use crate::shell::hooks::commands::NOTIFY_TIMEOUT;
use crate::shell::host::paths;
use crate::shell::host::reboot;
use crate::shell::host::script::{self, Head};
use crate::shell::host::user::DEFAULT_ACCOUNT;
use crate::shell::kernel::link::Links;
use crate::shell::kernel::nftables;
use crate::shell::kernel::vmac::{self, Vmacs};

pub mod adopt;
mod ask;
pub(in crate::shell) mod key_files;
pub mod lint;
pub mod load;
mod machine;
pub(in crate::shell) mod reading;
mod security;
mod storage;

pub use machine::look_around;

/// So much of a script is read.
const SCRIPT_BYTES_MAX: u64 = 256 * 1024;
/// Where a script without a slash is looked for.
pub(in crate::shell) const SEARCH_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Check,
    /// `notify`, which is called for every state.
    Notify,
    /// `notify_master` and its like, called for one.
    NotifyState(&'static str),
    Mount,
    /// A script of the daemon itself: of start, of stop, of a notify FIFO.
    Own,
}

/// A script of the configuration and who uses it.
#[derive(Clone, Debug)]
struct Use<'a> {
    script: &'a Script,
    role: Role,
    /// It stands in a `hooks` block.
    is_hook: bool,
    /// How the configuration calls it.
    name: &'a str,
    timeout: Duration,
    /// The instances, or the group, that it works for, each with the `hooks` block it goes by.
    works_for: Vec<(&'a str, Option<&'a Hooks>)>,
}

impl Use<'_> {
    /// Of the user of a notify script keepalived speaks only when it runs.
    fn severity_of_user(&self) -> Severity {
        match self.role {
            Role::Own if self.name.ends_with("fifo") => Severity::Warning,
            Role::Check | Role::Own => Severity::Fault,
            Role::Notify | Role::NotifyState(_) | Role::Mount => Severity::Warning,
        }
    }
}

/// What is found out about the scripts of a configuration.
struct Audit<'a> {
    config: &'a Config,
    out: Vec<Diagnostic>,
}

/// Everything about this machine that does not fit the configuration, and everything in its
/// scripts that looks wrong. Reads files and asks for users, so it may take its time: not for the
/// running loop.
pub fn audit(config: &Config) -> Vec<Diagnostic> {
    let mut audit = Audit { config, out: Vec::new() };
    audit.interfaces();
    audit.vmacs();
    audit.default_user();
    audit.reboot();
    audit.handover();
    audit.firewall();
    let uses = uses(config);
    for one in &uses {
        audit.script(one);
    }
    audit.doubled_checks(&uses);
    audit.out
}

/// Drops the scripts that keepalived does not run: those of a user or group that does not exist,
/// and those without a user of their own, where `script_user` does not exist, or where there is
/// none under `enable_script_security` and no user `keepalived_script` either. A dropped check is
/// not tracked. The scripts of a `hooks` block stay.
pub fn drop_disabled(config: &mut Config) {
    let global = &config.global;
    let lacks_default = global.script_security && has_no_default(config);
    let runs = |script: &Script| has_user(script, lacks_default);
    let is_kept = |conf: &CheckConf| conf.hook_of.is_some() || runs(&conf.script);
    let kept = config.checks.entries().filter(|(_, conf)| is_kept(conf));
    let kept: BTreeSet<CheckId> = kept.map(|(id, _)| id).collect();
    for instance in &mut config.spec.instances {
        instance.track_checks.retain(|track| kept.contains(&track.check));
    }
    let instances = config.instances.iter_mut().map(|conf| &mut conf.notify);
    for notify in instances.chain(config.groups.iter_mut().map(|conf| &mut conf.notify)) {
        for script in notify.each_mut() {
            script.take_if(|script| !runs(script));
        }
    }
    let daemon = &mut config.global.daemon;
    for edge in [&mut daemon.startup, &mut daemon.shutdown] {
        edge.take_if(|edge| !runs(&edge.script));
    }
    for fifo in &mut daemon.fifos {
        fifo.script.take_if(|script| !runs(script));
    }
}

/// Is it known whose rights a script has?
fn has_user(script: &Script, lacks_default: bool) -> bool {
    script.rights.why_unknown().is_none() && !(script.user.is_none() && lacks_default)
}

/// Nothing says whose rights scripts have, and the account for that is not there.
fn has_no_default(config: &Config) -> bool {
    config.global.script_user.is_none() && config.global.script_rights == Rights::Own
}

fn uses(config: &Config) -> Vec<Use<'_>> {
    let checks = config.checks.entries().zip(&config.spec.checks);
    let mut out: Vec<Use<'_>> =
        checks.map(|((id, conf), spec)| check_use(config, id, conf, spec)).collect();
    for (id, (spec, conf)) in config.instances.ids().zip(instances(config)) {
        let timeout = spec.gate.as_ref().map(|gate| gate.timeout);
        let hooks = config.gating_hooks(id);
        out.extend(notify_uses(&spec.name, (&conf.notify, conf.hooks.as_deref()), hooks, timeout));
    }
    for (spec, conf) in config.spec.groups.iter().zip(&config.groups) {
        let first = spec.members.first().and_then(|id| config.spec.instances.get(*id));
        let timeout = first.and_then(|first| first.gate.as_ref()).map(|gate| gate.timeout);
        let hooks = conf.hooks.as_deref();
        out.extend(notify_uses(&spec.name, (&conf.notify, hooks), hooks, timeout));
    }
    out.extend(own_uses(&config.global.daemon));
    out
}

fn own_uses(daemon: &Daemon) -> impl Iterator<Item = Use<'_>> {
    let edges = [("startup_script", &daemon.startup), ("shutdown_script", &daemon.shutdown)];
    let edges = edges.into_iter().filter_map(|(name, edge)| {
        let edge = edge.as_ref()?;
        Some((name, &edge.script, edge.timeout))
    });
    let fifos = daemon
        .fifos
        .iter()
        .filter_map(|fifo| Some((fifo.keyword, fifo.script.as_ref()?, Duration::MAX)));
    edges.chain(fifos).map(|(name, script, timeout)| Use {
        script,
        role: Role::Own,
        is_hook: false,
        name,
        timeout,
        works_for: Vec::new(),
    })
}

fn instances(config: &Config) -> impl Iterator<Item = (&InstanceSpec, &InstanceConf)> {
    config.spec.instances.iter().map(|spec| &**spec).zip(&config.instances)
}

fn check_use<'a>(
    config: &'a Config,
    id: CheckId,
    conf: &'a CheckConf,
    spec: &'a CheckSpec,
) -> Use<'a> {
    let tracks = |spec: &InstanceSpec| spec.track_checks.iter().any(|track| track.check == id);
    Use {
        script: &conf.script,
        role: Role::Check,
        is_hook: conf.hook_of.is_some(),
        name: &spec.name,
        timeout: spec.timeout,
        works_for: config
            .spec
            .instances
            .entries()
            .filter(|(_, spec)| tracks(spec))
            .map(|(id, spec)| (&*spec.name, config.gating_hooks(id)))
            .collect(),
    }
}

fn notify_uses<'a>(
    name: &'a str,
    (notify, hooks): (&'a NotifyScripts, Option<&'a Hooks>),
    gating: Option<&'a Hooks>,
    gate: Option<Duration>,
) -> Vec<Use<'a>> {
    let hook = hooks.and_then(|hooks| hooks.notify.as_ref());
    let mount = hooks.and_then(|hooks| hooks.mount.as_ref());
    let timeout = hook.map_or(NOTIFY_TIMEOUT, |hook| hook.timeout);
    let gate = gate.unwrap_or(timeout);
    let all = [
        (notify.master.as_deref(), Role::NotifyState("MASTER"), false),
        (notify.backup.as_deref(), Role::NotifyState("BACKUP"), false),
        (notify.fault.as_deref(), Role::NotifyState("FAULT"), false),
        (notify.stop.as_deref(), Role::NotifyState("STOP"), false),
        (notify.deleted.as_deref(), Role::NotifyState("DELETED"), false),
        (notify.lower_priority.as_deref(), Role::NotifyState("MASTER_RX_LOWER_PRI"), false),
        (notify.every.as_deref(), Role::Notify, false),
        (hook.map(|hook| &hook.script), Role::Notify, true),
        (mount.map(|mount| &mount.script), Role::Mount, true),
    ];
    let one = |(script, role, is_hook): (Option<&'a Script>, Role, bool)| {
        Some(Use {
            script: script?,
            role,
            is_hook,
            name,
            timeout: if role == Role::Mount { gate } else { timeout },
            works_for: vec![(name, gating)],
        })
    };
    all.into_iter().filter_map(one).collect()
}

/// The interfaces that the configuration needs and this network does not have.
pub fn missing_interfaces(config: &Config) -> Vec<Diagnostic> {
    if config.global.dynamic_interfaces {
        return Vec::new();
    }
    let remedy = "; create it first, or write dynamic_interfaces in global_defs";
    let is_vmac = |name: &String| config.vmacs.iter().any(|vmac| vmac.name == *name);
    let links = &config.spec.links;
    let name = |id: crate::core::spec::LinkId| links.get(id.0).filter(|name| !name.is_empty());
    let mut missing: Vec<(Span, String)> = Vec::new();
    for (spec, conf) in instances(config) {
        let instance = &spec.name;
        // What an IPVLAN stands on has to be there.
        let below = name(spec.link).map(|link| {
            let own = config.vmacs.iter().find(|vmac| vmac.name == *link);
            own.map_or(link, |vmac| &vmac.base)
        });
        if let Some(link) = below.filter(|link| !interface_exists(link)) {
            let text = format!("interface {link} for vrrp_instance {instance} doesn't exist");
            missing.push((conf.span, text));
        }
        for link in spec.track_links.iter().filter_map(|(id, _)| name(*id)) {
            if !interface_exists(link) && !is_vmac(link) {
                let text = format!("({instance}) tracked interface {link} doesn't exist");
                missing.push((conf.span, text));
            }
        }
        let own = name(spec.link);
        for address in &conf.addresses {
            let link = address.base.as_ref().unwrap_or(&address.interface);
            let text = &address.text;
            if own != Some(link) && !interface_exists(link) && !is_vmac(link) {
                let text = format!("interface {link} for ip address {text} doesn't exist");
                missing.push((address.span, text));
            }
        }
    }
    for At { value: link, span } in &config.global.interfaces {
        if !interface_exists(link) && !is_vmac(link) {
            let text = format!("interface {link}, of which delays are given, doesn't exist");
            missing.push((*span, text));
        }
    }
    let made = |name: &str| config.vmacs.iter().any(|vmac| vmac.name == name);
    for (spec, conf) in instances(config) {
        let own = name(spec.link).map(String::as_str);
        missing.extend(absent_of_routes(&conf.routes, &conf.rules, |n| own == Some(n) || made(n)));
    }
    let statics = &config.statics;
    missing.extend(absent_of_routes(&statics.routes, &statics.rules, made));
    for entry in statics.addresses.iter().filter(|e| !interface_exists(&e.what.interface)) {
        let (link, text) = (&entry.what.interface, &entry.what.text);
        let text = format!("interface {link} for ip address {text} doesn't exist");
        missing.push((entry.span, text));
    }
    let error = |(span, text): (Span, String)| Diagnostic {
        span,
        severity: Severity::Error,
        message: text + remedy,
        suggestion: None,
    };
    missing.into_iter().map(error).collect()
}

/// Why somebody without a key could make adverts that this instance believes, if he could. Without
/// the time, a node that was started again believes what was recorded before.
const fn forgeable(spec: &InstanceSpec) -> Option<&'static str> {
    match &spec.hmac {
        None => Some("adverts are not signed"),
        Some(HmacSpec { mode: HmacMode::Permissive | HmacMode::ReceiveOnly, .. }) => {
            Some("adverts that are not signed are believed")
        }
        Some(HmacSpec { anti_replay: AntiReplay::Monotonic, .. }) => {
            Some("a node that was started again believes recorded adverts")
        }
        Some(_) => None,
    }
}

impl Audit<'_> {
    /// What the pair has agreed on has to fit together.
    fn handover(&mut self) {
        for (id, spec) in self.config.spec.instances.entries() {
            let hooks = self.config.gating_hooks(id);
            let (Some(gate), Some(hooks)) = (&spec.gate, hooks) else { continue };
            if !gate.peers_glha {
                continue;
            }
            let is_unguarded =
                hooks.env.iter().any(|(key, value)| key == "GUARD" && value == "none");
            if let (true, Some(why)) = (is_unguarded, forgeable(spec)) {
                let message = format!(
                    "peers glha with GUARD none: one forged packet would be proof that the storage \
                     is free, and {why}; keep the network of the adverts to the two nodes, or sign \
                     them (`auth_hmac` with `mode enforce` and `anti_replay time`)"
                );
                self.say(hooks.span, Severity::Warning, message);
            }
            if gate.handover_wait < spec.advert_interval * HOLDER_YIELDS_AFTER {
                let message = format!(
                    "handover_wait is shorter than {HOLDER_YIELDS_AFTER} advert intervals, after \
                     which a healthy holder yields: this node would always give up before"
                );
                self.say(hooks.span, Severity::Warning, message);
            }
        }
    }

    /// Without nft nothing can be dropped.
    fn firewall(&mut self) {
        let mut closed = instances(self.config).filter(|(_, conf)| conf.no_accept);
        if let (Some((spec, conf)), false) = (closed.next(), nftables::is_installed()) {
            let message = format!(
                "({}) packets for the virtual addresses are to be dropped (no_accept, or strict \
                 mode), which needs the program nft: install nftables, or do without",
                spec.name
            );
            self.say(conf.span, Severity::Error, message);
        }
    }

    /// `release_failure reboot` is a promise that has to be kept when everything else has failed.
    fn reboot(&mut self) {
        let wants =
            |spec: &Shared<InstanceSpec>| spec.gate.as_ref().is_some_and(|g| g.reboot_on_failure);
        let id = self.config.spec.instances.find(wants);
        let hooks = id.and_then(|id| self.config.gating_hooks(id));
        let Some(hooks) = hooks else { return };
        if let Err(why) = reboot::can_work() {
            let span = hooks.span;
            self.say(span, Severity::Error, format!("release_failure reboot cannot work: {why}"));
        }
    }

    fn say(&mut self, span: Span, severity: Severity, message: String) {
        let new = Diagnostic { span, severity, message, suggestion: None };
        if !self.out.contains(&new) {
            self.out.push(new);
        }
    }

    /// What concerns every instance that shares a script is said once.
    fn say_once(&mut self, span: Span, severity: Severity, message: String) {
        if !self.out.iter().any(|other| other.message == message) {
            self.say(span, severity, message);
        }
    }

    /// With a `startup_script`, what is missing now may be there when it counts.
    fn interfaces(&mut self) {
        let comes = self.config.global.daemon.startup.is_some();
        for mut found in missing_interfaces(self.config) {
            if comes {
                found.severity = Severity::Note;
                found.message += "; startup_script has to make it";
            }
            self.say(found.span, found.severity, found.message);
        }
    }

    /// The name of a VMAC interface must not be somebody else's. One that a former run has left,
    /// or keepalived, is taken over; keepalived chooses another name.
    fn vmacs(&mut self) {
        if self.config.vmacs.is_empty() {
            return;
        }
        let Ok(links) = Links::open(&[]) else { return };
        let former = Vmacs::open(&paths::run_folder(&self.config.global.daemon));
        for vmac in &self.config.vmacs {
            let VmacConf { name, instance, .. } = vmac;
            let is_ours = former.has_made(name) || vmac::is_it(vmac, &links);
            if links.look(name).is_some() && !is_ours {
                let (what, keyword) = match vmac.ipvlan {
                    Some(_) => (format!("no IPVLAN on {}", vmac.base), "use_ipvlan"),
                    None => (
                        format!(
                            "not a private macvlan on {} with the MAC address {}",
                            vmac.base,
                            vmac.mac_text()
                        ),
                        "use_vmac",
                    ),
                };
                let message = format!(
                    "({instance}) interface {name} already exists and is {what}; remove it, or \
                     write `{keyword}` with another name"
                );
                self.say(vmac.span, Severity::Error, message);
            }
        }
    }

    fn default_user(&mut self) {
        let global = &self.config.global;
        if let Some(user) = &global.script_user {
            if let Some(why) = global.script_rights.why_unknown() {
                let text = format!(
                    "Error setting global script uid/gid: {why}; as with keepalived, \
                     scripts without a user of their own are not run"
                );
                self.say(user.span, Severity::Fault, text);
            } else {
                self.number(user, Severity::Fault);
            }
            return;
        }
        let first = uses(self.config).into_iter().find(|one| one.script.user.is_none());
        if let Some(first) = first.filter(|_| global.script_security)
            && has_no_default(self.config)
        {
            let text = format!(
                "Unable to set default user {DEFAULT_ACCOUNT} for script: there is no such user, so \
                 scripts without a user of their own are not run, as with keepalived; write \
                 'script_user root' in global_defs, or create it"
            );
            self.say(first.script.span, Severity::Fault, text);
        }
    }

    fn script(&mut self, one: &Use<'_>) {
        let span = one.script.span;
        if let Some(user) = &one.script.user
            && let Some(why) = one.script.rights.why_unknown()
        {
            let command = one.script.argv.join(" ");
            let otherwise =
                if one.is_hook { "it runs as nobody" } else { "it is not run, as with keepalived" };
            let severity = one.severity_of_user();
            let mut text =
                format!("Unable to set uid/gid for script '{command}': {why}; {otherwise}");
            // It stands behind the command, where one might think it an argument.
            if (user.span.file, user.span.line) == (span.file, span.line) {
                let word = &user.user;
                text += &format!(
                    "; if {word} is an argument, put it inside the quotes: \"{command} {word}\""
                );
            }
            self.say(user.span, severity, text);
        } else if let Some(user) = &one.script.user {
            self.number(user, one.severity_of_user());
        }
        // What is said of a script that is left out would not be so.
        let lacks_default = self.config.global.script_security && has_no_default(self.config);
        if !one.is_hook && !has_user(one.script, lacks_default) {
            return;
        }
        let Some(program) = one.script.argv.first().filter(|name| !name.starts_with('<')) else {
            return;
        };
        let path = match script::find(program, SEARCH_PATH) {
            Ok(path) => path,
            Err(why) => return self.unusable(one, &why),
        };
        self.security(one, &path);
        let path = script_of(&one.script.argv, path);
        let Some(bytes) = read_script(&path) else {
            return;
        };
        let text = Text::parse(&String::from_utf8_lossy(&bytes));
        self.first_line(span, &path, &bytes);
        self.habits(one, &path, &text);
        self.mounts(one, &path, &text);
    }

    /// keepalived knows names of users and groups only, and would not run the script.
    fn number(&mut self, user: &User, severity: Severity) {
        let words = [Some(&user.user), user.group.as_ref()];
        let is_number = |word: &&String| word.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(word) = words.into_iter().flatten().find(is_number) {
            let text = format!(
                "{word} is a number: keepalived looks for a user or group of that name and would \
                 not run the script; write the name"
            );
            self.say(user.span, severity, text);
        }
    }

    /// A script that cannot be started. keepalived then goes on as if a check always succeeded,
    /// and says nothing of a notify script.
    fn unusable(&mut self, one: &Use<'_>, why: &str) {
        // Of a file that may not be run keepalived finds nothing to say.
        let missing = !one.script.argv.first().is_some_and(|name| Path::new(name).is_file());
        let (severity, text) = match one.role {
            Role::Mount => (
                Severity::Error,
                format!("mount hook of {}: {why}; it could never become master", one.name),
            ),
            Role::Check if missing && !one.is_hook => (
                Severity::Fault,
                format!(
                    "track script {}: {why}; keepalived drops it from tracking, here it counts as \
                     failed",
                    one.name
                ),
            ),
            Role::Check => (Severity::Warning, format!("{}: {why}; counts as failed", one.name)),
            Role::Own => (Severity::Warning, format!("{}: {why}; it is not run", one.name)),
            Role::Notify | Role::NotifyState(_) => {
                (Severity::Warning, format!("({}) {why}; nobody will be notified", one.name))
            }
        };
        self.say(one.script.span, severity, text);
    }

    /// Only what runs as root is root's alone to protect.
    fn security(&mut self, one: &Use<'_>, path: &Path) {
        let global = &self.config.global;
        let as_root = match &one.script.rights {
            Rights::Own => true,
            Rights::Of(ids) => ids.uid == 0,
            Rights::Unknown(_) => false,
        };
        let Some(why) = script::secure(path).err().filter(|_| as_root) else {
            return;
        };
        let (path, name) = (path.display(), one.name);
        let (severity, what) = match (global.script_security, one.role) {
            (false, _) => (Severity::Warning, "it runs as root all the same"),
            (true, Role::Mount) => (Severity::Error, "enable_script_security forbids to run it"),
            (true, Role::Check) => {
                (Severity::Fault, "insecure, so it is not run and counts as failed")
            }
            (true, _) => (Severity::Warning, "insecure, so it is not run"),
        };
        let text = format!("({name}) {path} is not safe: {why}; {what}");
        self.say(one.script.span, severity, text);
    }

    fn first_line(&mut self, span: Span, path: &Path, bytes: &[u8]) {
        let shown = path.display();
        let keepalived = "keepalived counts it as success without running it";
        let text = match script::classify(bytes) {
            Head::Runnable => return,
            Head::Missing => {
                format!("{shown}:1: no #! line; glha runs it under /bin/sh, {keepalived}")
            }
            Head::Broken(words) => {
                let words = words.join(std::ffi::OsStr::new(" "));
                let words = words.to_string_lossy();
                format!(
                    "{shown}:1: broken #! line, make it '#!{words}'; glha runs it under {words} \
                     all the same, {keepalived}"
                )
            }
        };
        self.say_once(span, Severity::Warning, text);
    }

    /// What is seen in many scripts and does not do what was meant.
    fn habits(&mut self, one: &Use<'_>, path: &Path, text: &Text) {
        let (span, shown, timeout) = (one.script.span, path.display(), one.timeout);
        let mut found = Vec::new();
        if let Some(line) = text.crlf_line {
            found.push(format!("{shown}:{line}: lines end in CR LF; sed -i 's/\\r$//' {shown}"));
        }
        for (line, length) in text.long_sleeps(timeout) {
            let limit = timeout.as_secs_f64();
            found.push(format!(
                "{shown}:{line}: sleeps {length} s, but the script is ended after {limit} s \
                 (its timeout): what follows is never reached"
            ));
        }
        for step in text.daemon_stops().filter(|_| one.role == Role::Check) {
            let (line, command) = (step.line, step.text());
            found.push(format!(
                "{shown}:{line}: '{command}' in a check: running checks are ended first when the \
                 daemon stops, so the script ends here; to exit with a status other than 0 is enough"
            ));
        }
        for Step { line, .. } in text.lazy_unmounts() {
            found.push(format!(
                "{shown}:{line}: a lazy umount hides the file system but leaves it in use: the \
                 other node may then mount it too"
            ));
        }
        if one.role == Role::Check
            && let Some((line, number)) = text.printed_result()
        {
            found.push(format!(
                "{shown}:{line}: prints {number}, but only the exit status of a check counts, and \
                 this one is always 0: write 'exit {number}'"
            ));
        }
        for text in found {
            self.say_once(span, Severity::Warning, text);
        }
        if one.role == Role::Check
            && !one.is_hook
            && let Some(step) = text.only_command()
            && let Some(process) = command::asked_process(&step.words)
        {
            let what = command::use_track_process(one.name, &process);
            self.say_once(span, Severity::Note, format!("{shown}:{}: {what}", step.line));
        }
        self.states(one, path, text);
    }

    fn states(&mut self, one: &Use<'_>, path: &Path, text: &Text) {
        let (span, shown) = (one.script.span, path.display());
        if one.role == Role::Notify
            && let Some((line, caught)) = text.missing_stop()
        {
            let (severity, what) = match caught {
                true => (Severity::Note, "it falls to '*'; is that meant?"),
                false => (Severity::Warning, "nothing is done"),
            };
            let text =
                format!("{shown}:{line}: no case for STOP, the state when the daemon ends: {what}");
            self.say_once(span, severity, text);
        }
        if one.role == Role::Notify
            && let Some(step) = text.mount_for_ever()
        {
            let text = format!(
                "{shown}:{}: mounts, and unmounts nowhere: after a failover both nodes have it \
                 mounted; unmount on BACKUP, FAULT and STOP",
                step.line
            );
            self.say_once(span, Severity::Warning, text);
        }
        let is_backup = one.role == Role::NotifyState("BACKUP");
        let all = text.mounts().filter(|step| step.words.len() > 1 && is_backup);
        let all = all.filter(|step| step.words.first().is_some_and(|word| word == "mount"));
        let branch = text.mounts_on_backup().filter(|_| one.role == Role::Notify);
        for Step { line, .. } in all.chain(branch) {
            let text = format!(
                "{shown}:{line}: mounts on BACKUP, when the other node is master and has it mounted"
            );
            self.say_once(span, Severity::Warning, text);
        }
    }

    /// Mounts behind the gate's back.
    fn mounts(&mut self, one: &Use<'_>, path: &Path, text: &Text) {
        if one.role == Role::Mount {
            return;
        }
        for &(name, hooks) in &one.works_for {
            let hooks = hooks.filter(|hooks| hooks.mount.is_some());
            let storage = hooks.map(Storage::of);
            for step in text.mounts().filter(|step| step.adds_a_mount()) {
                let place = format!("{}:{}: '{}'", path.display(), step.line, step.text());
                let (severity, text) = match (hooks, &storage) {
                    (Some(hooks), Some(storage)) if storage.is_meant(step) => {
                        (legacy_severity(hooks), behind_the_gate(&place, name))
                    }
                    (Some(_), Some(storage)) if storage.paths.is_empty() => (
                        Severity::Warning,
                        format!(
                            "{place}: is this the storage of {name}? It could not be told, since \
                             the hooks block has no env MOUNT_DEVICE and MOUNT_POINT; if it is, \
                             delete the line"
                        ),
                    ),
                    (Some(_), _) => continue,
                    (None, _) => (Severity::Warning, ungated(&place, name)),
                };
                self.say(one.script.span, severity, text);
            }
        }
    }

    /// A `check` hook and an old check that start the same service.
    fn doubled_checks(&mut self, uses: &[Use<'_>]) {
        let (hooks, old): (Vec<_>, Vec<_>) =
            uses.iter().filter(|one| one.role == Role::Check).partition(|one| one.is_hook);
        for (hook, old) in hooks.iter().flat_map(|hook| old.iter().map(move |old| (hook, old))) {
            let shared = hook
                .works_for
                .iter()
                .find(|(name, _)| old.works_for.iter().any(|(other, _)| other == name));
            let Some((name, hooks)) = shared else {
                continue;
            };
            if let Some(service) = shared_service(hook, old, *hooks) {
                let check = old.name;
                let text = format!(
                    "vrrp_script {check} and the check hook of {name} both look after {service}, \
                     and both would start it; one of them is enough"
                );
                self.say(old.script.span, Severity::Note, text);
            }
        }
    }
}

/// Interfaces of routes and rules that are not there, but for those that need not be: an instance's
/// own is missed anyway, and some are made.
fn absent_of_routes(
    routes: &[Entry<Route>],
    rules: &[Entry<Rule>],
    need_not_be: impl Fn(&str) -> bool,
) -> Vec<(Span, String)> {
    let is_absent = |name: &&str| !need_not_be(name) && !interface_exists(name);
    let of_route = |entry: &Entry<Route>| {
        let text = |name| format!("interface {name} for VROUTE nexthop doesn't exist");
        let absent = entry.what.interfaces().filter(&is_absent);
        absent.map(|name| (entry.span, text(name))).collect::<Vec<_>>()
    };
    let of_rule = |entry: &Entry<Rule>| {
        let text = |name| format!("interface {name} for rule doesn't exist");
        let absent = entry.what.interfaces().filter(&is_absent);
        absent.map(|name| (entry.span, text(name))).collect::<Vec<_>>()
    };
    routes.iter().flat_map(of_route).chain(rules.iter().flat_map(of_rule)).collect()
}

fn legacy_severity(hooks: &Hooks) -> Severity {
    if hooks.accept_legacy_mount { Severity::Warning } else { Severity::Error }
}

fn behind_the_gate(place: &str, instance: &str) -> String {
    format!(
        "{place}: goes behind the mount hook of {instance}, which alone may mount and unmount its \
         storage; delete this line (or write 'legacy_mount accept' in hooks {instance})"
    )
}

fn ungated(place: &str, instance: &str) -> String {
    format!(
        "{place}: nothing keeps both nodes from having it mounted at once; a mount hook in a block \
         'hooks {instance} {{ }}' does"
    )
}

/// What the mount hook of an instance mounts, as far as the configuration says.
#[derive(Debug)]
struct Storage {
    paths: Vec<String>,
}

impl Storage {
    fn of(hooks: &Hooks) -> Self {
        let names = ["MOUNT_DEVICE", "MOUNT_POINT"];
        let meant = hooks.env.iter().filter(|(name, _)| names.contains(&name.as_str()));
        Self { paths: meant.map(|(_, value)| value.clone()).collect() }
    }

    fn is_meant(&self, step: &Step) -> bool {
        step.words.iter().skip(1).any(|word| self.paths.iter().any(|path| same_path(path, word)))
    }
}

/// The same place, by name or through symbolic links (/dev/disk/by-id and its like).
fn same_path(one: &str, other: &str) -> bool {
    let (one, other) = (Path::new(one), Path::new(other));
    let real = |path: &Path| fs::canonicalize(path).ok().filter(|_| path.is_absolute());
    one.components().eq(other.components())
        || real(one).is_some_and(|one| real(other).is_some_and(|other| one == other))
}

fn shared_service(hook: &Use<'_>, old: &Use<'_>, hooks: Option<&Hooks>) -> Option<String> {
    let text = |one: &Use<'_>| {
        let path = script::find(one.script.argv.first()?, SEARCH_PATH).ok()?;
        let bytes = read_script(&script_of(&one.script.argv, path))?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let watched = Text::parse(&text(hook)?);
    let values = hooks.into_iter().flat_map(|hooks| &hooks.env);
    let values: Vec<&str> =
        values.flat_map(|(_, value)| value.split(|c: char| !c.is_alphanumeric())).collect();
    let started = Text::parse(&text(old)?);
    let started = started.started_services().into_iter().map(str::to_owned);
    started.into_iter().find(|service| {
        values.contains(&service.as_str()) || watched.started_services().contains(&service.as_str())
    })
}

/// The script itself where the command is `/bin/sh SCRIPT`.
fn script_of(argv: &[String], program: PathBuf) -> PathBuf {
    let shells = ["sh", "bash", "dash", "ash", "ksh"];
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match argv.get(1) {
        Some(script) if shells.contains(&name) && script.starts_with('/') => script.into(),
        _ => program,
    }
}

/// The beginning of a script; none if it is a binary or cannot be read.
fn read_script(path: &Path) -> Option<Vec<u8>> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SCRIPT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    (!bytes.contains(&0)).then_some(bytes)
}

fn interface_exists(name: &str) -> bool {
    if_nametoindex(name).is_ok()
}
