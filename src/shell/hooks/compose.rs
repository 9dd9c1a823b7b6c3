//! From a wish of the core to a run: which script, with which arguments, facts and rights.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use nix::unistd::{Gid, Uid};

use crate::conf::daemon::Edge;
use crate::conf::{Config, Ids, Mail, Rights, Script};
use crate::core::event::{Facts, MountAction, NotifyState};
use crate::core::spec::{CheckId, GroupId, InstanceId};
use crate::shell::hooks::commands::{group_commands, notify_commands};
use crate::shell::hooks::event::{Kind, Told, event_id};
use crate::shell::hooks::run::Run;

/// What is for the daemon itself.
const SERVICE_MANAGER: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// The hooks of so many transitions of an instance may be late.
const TRANSITIONS_MAX: usize = 16;

/// Makes runs of the scripts of a configuration.
#[derive(Debug)]
pub struct Hooks {
    /// The daemon's own environment, which every script gets as with keepalived.
    base: Vec<(OsString, OsString)>,
    /// Events so far.
    count: u64,
    /// The events of the last transitions of each instance.
    transitions: BTreeMap<InstanceId, Vec<Transition>>,
    /// Of each instance with storage, acquired or being so: what its mount hook was told then.
    acquired: BTreeMap<InstanceId, Acquired>,
}

/// The settings with which storage was acquired. What was acquired is what is released (design 11): a
/// reload may change them meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acquired {
    /// The name on the command line.
    whose: String,
    env: Vec<(String, String)>,
}

/// The event of a transition, by its number.
#[derive(Debug)]
struct Transition {
    transition: u64,
    count: u64,
    /// The mount hook was told of it; what it is asked later is another event.
    is_mount_told: bool,
}

impl Hooks {
    /// Keeps the environment as it is now.
    pub fn new() -> Self {
        let mut base: Vec<_> = std::env::vars_os()
            .filter(|(key, _)| !SERVICE_MANAGER.iter().any(|own| key == own))
            .collect();
        if !base.iter().any(|(key, _)| key == "PATH") {
            let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            base.push(("PATH".into(), path.into()));
        }
        Self { base, count: 0, transitions: BTreeMap::new(), acquired: BTreeMap::new() }
    }

    /// An instance has entered another phase: returns the id of that event, which the hooks are told
    /// that it brings about.
    pub fn entered(&mut self, node: &str, id: InstanceId, transition: u64) -> String {
        let count = self.next();
        let known = self.transitions.entry(id).or_default();
        known.push(Transition { transition, count, is_mount_told: false });
        if known.len() > TRANSITIONS_MAX {
            known.remove(0);
        }
        event_id(node, count)
    }

    /// The number of the event that a hook is told: that of the transition for all notify scripts,
    /// and for the first run of the mount hook.
    fn number(&mut self, kind: Kind<'_>, id: InstanceId, facts: &Facts) -> u64 {
        let known = self.transitions.get_mut(&id).into_iter().flatten();
        let found = known.rev().find(|known| known.transition == facts.transition);
        match (kind, found) {
            (Kind::Notify, Some(found)) => return found.count,
            (Kind::Mount(_), Some(found)) if !found.is_mount_told => {
                found.is_mount_told = true;
                return found.count;
            }
            _ => {}
        }
        self.next()
    }

    /// The mount hook of an instance, for an action.
    pub fn mount(
        &mut self,
        config: &Config,
        id: InstanceId,
        action: MountAction,
        timeout: Duration,
        facts: &Facts,
    ) -> Option<Run> {
        let hooks = config.gating_hooks(id)?;
        let script = &hooks.mount.as_ref()?.script;
        let whose = hooks.group.as_ref().unwrap_or(&facts.instance).clone();
        let own = Acquired { whose, env: hooks.env.clone() };
        let Acquired { whose, env } = match action {
            MountAction::Acquire => {
                self.acquired.insert(id, own.clone());
                own
            }
            MountAction::Release | MountAction::Probe => {
                self.acquired.get(&id).cloned().unwrap_or(own)
            }
        };
        let mut argv = script.argv.clone();
        argv.extend([action.word().to_owned(), whose.clone()]);
        let name = format!("{whose} mount {}", action.word());
        let kind = Kind::Mount(action.word());
        let count = self.number(kind, id, facts);
        let mut told = told(config, id, kind, timeout, facts, count);
        told.env = &env;
        if let (Some(_), Some(group)) = (&hooks.group, config.group_of(id)) {
            told.show_all(config, group);
        }
        let mut run = self.run(config, name, script, argv, &told);
        run.whole_group = true;
        // Where it writes down what it has taken.
        let folder = crate::shell::host::paths::run_folder(&config.global.daemon);
        run.env.push(("GLHA_RUN_DIR".into(), folder.into()));
        Some(run)
    }

    /// The storage of this instance was given back.
    pub fn released(&mut self, id: InstanceId) {
        self.acquired.remove(&id);
    }

    /// Has it storage that was acquired with other settings than the configuration has now?
    pub fn keeps_former_settings(&self, config: &Config, id: InstanceId) -> bool {
        let acquired = self.acquired.get(&id);
        acquired
            .zip(config.gating_hooks(id))
            .is_some_and(|(acquired, hooks)| acquired.env != hooks.env)
    }

    /// All that is to be run when an instance has entered a state, in order.
    pub fn notify(
        &mut self,
        config: &Config,
        id: InstanceId,
        state: NotifyState,
        facts: &Facts,
    ) -> Vec<Run> {
        let Some(conf) = config.instances.get(id) else { return Vec::new() };
        let mut runs = Vec::new();
        let count = self.number(Kind::Notify, id, facts);
        for command in notify_commands(conf, &facts.instance, state, facts.priority) {
            let told = told(config, id, Kind::Notify, command.timeout, facts, count);
            let name = format!("{} {} {}", facts.instance, command.what, state.word());
            runs.push(self.run(config, name, command.script, command.argv, &told));
        }
        runs
    }

    /// All that is to be run when a sync group has entered a state, in order.
    pub fn notify_group(
        &mut self,
        config: &Config,
        id: GroupId,
        state: NotifyState,
        facts: &Facts,
    ) -> Vec<Run> {
        let (Some(conf), Some(spec)) = (config.groups.get(id), config.spec.groups.get(id)) else {
            return Vec::new();
        };
        let Some(&first) = spec.members.first() else { return Vec::new() };
        let mut runs = Vec::new();
        for command in group_commands(conf, &spec.name, state) {
            let timeout = command.timeout;
            let mut told = told(config, first, Kind::Notify, timeout, facts, self.next());
            told.env = conf.hooks.as_ref().map_or(&[][..], |hooks| &hooks.env);
            told.mail = wanted_mail(config, conf.smtp_alert, facts);
            told.show_all(config, id);
            let name = format!("{} {} {}", spec.name, command.what, state.word());
            runs.push(self.run(config, name, command.script, command.argv, &told));
        }
        runs
    }

    /// The notify hook of an instance, alone, for something that is no change of state.
    pub fn tell(&mut self, config: &Config, id: InstanceId, facts: &Facts) -> Option<Run> {
        let hook = config.hooks_of(id)?.notify.as_ref()?;
        let mut argv = hook.script.argv.clone();
        let state = facts.state.to_owned();
        argv.extend(["INSTANCE".to_owned(), facts.instance.clone(), state]);
        argv.push(facts.priority.to_string());
        let told = told(config, id, Kind::Notify, hook.timeout, facts, self.next());
        let name = format!("{} notify hook {}", facts.instance, facts.reason);
        Some(self.run(config, name, &hook.script, argv, &told))
    }

    /// A check; one that belongs to an instance is told about it.
    pub fn check(
        &mut self,
        config: &Config,
        id: CheckId,
        facts: Option<(InstanceId, Facts)>,
    ) -> Option<Run> {
        let (conf, spec) = (config.checks.get(id)?, config.spec.checks.get(id)?);
        let kind = Kind::Check(&spec.name);
        let told = match &facts {
            Some((instance, facts)) => {
                told(config, *instance, kind, spec.timeout, facts, self.next())
            }
            None => Told {
                kind,
                node: &config.global.router_id,
                about: None,
                timeout: spec.timeout,
                env: &[],
                mail: None,
                count: self.next(),
            },
        };
        let argv = conf.script.argv.clone();
        Some(self.run(config, spec.name.clone(), &conf.script, argv, &told))
    }

    /// What reads a notify FIFO, whose path is its last argument. It has no deadline.
    pub fn fifo(&mut self, config: &Config, place: usize) -> Option<Run> {
        let fifo = config.global.daemon.fifos.get(place)?;
        let script = fifo.script.as_ref()?;
        let mut argv = script.argv.clone();
        argv.push(fifo.path.to_string_lossy().into_owned());
        let told = self.told_of_daemon(config, "fifo", Duration::ZERO);
        let mut run = self.run(config, format!("{}_script", fifo.keyword), script, argv, &told);
        run.timeout = None;
        Some(run)
    }

    /// A script of start or stop.
    pub fn edge(&mut self, config: &Config, edge: &Edge, what: &'static str) -> Run {
        let told = self.told_of_daemon(config, what, edge.timeout);
        let argv = edge.script.argv.clone();
        self.run(config, format!("{what} script"), &edge.script, argv, &told)
    }

    fn told_of_daemon<'a>(
        &mut self,
        config: &'a Config,
        what: &'static str,
        timeout: Duration,
    ) -> Told<'a> {
        Told {
            kind: Kind::Daemon(what),
            node: &config.global.router_id,
            about: None,
            timeout,
            env: &[],
            mail: None,
            count: self.next(),
        }
    }

    const fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn run(
        &self,
        config: &Config,
        name: String,
        script: &Script,
        argv: Vec<String>,
        told: &Told<'_>,
    ) -> Run {
        let user = ids(&script.rights);
        let mut env = self.base.clone();
        env.extend(told.variables());
        Run {
            name,
            argv,
            env,
            stdin: told.json(),
            user,
            timeout: Some(told.timeout),
            whole_group: false,
            // Whose rights are lower cannot be used to become root.
            must_be_secure: config.global.script_security && user.is_none_or(|ids| ids.uid == 0),
        }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self::new()
    }
}

fn told<'a>(
    config: &'a Config,
    id: InstanceId,
    kind: Kind<'a>,
    timeout: Duration,
    facts: &'a Facts,
    count: u64,
) -> Told<'a> {
    let conf = config.instances.get(id);
    let interface = config
        .spec
        .instances
        .get(id)
        .and_then(|spec| config.spec.links.get(spec.link.0))
        .map_or("", String::as_str);
    let addresses = conf.map(|conf| conf.addresses.iter().map(|a| a.text.as_str()).collect());
    let env = config.hooks_of(id).map_or(&[][..], |hooks| &hooks.env);
    let wants_mail = conf.is_some_and(|conf| conf.wants_mail) && matches!(kind, Kind::Notify);
    Told {
        kind,
        node: &config.global.router_id,
        about: Some((facts, interface, addresses.unwrap_or_default())),
        timeout,
        env,
        mail: wanted_mail(config, wants_mail, facts),
        count,
    }
}

/// What a script runs with, if not the daemon's own rights. An account that is gone gives one that
/// owns nothing.
fn ids(rights: &Rights) -> Option<Ids> {
    const NOBODY: Ids = Ids { uid: 65534, gid: 65534 };
    let own = Ids { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() };
    match rights {
        Rights::Own => None,
        Rights::Of(ids) => Some(*ids).filter(|ids| *ids != own),
        Rights::Unknown(_) => Some(NOBODY),
    }
}

/// The mail settings, if somebody wants a mail about this and there is anybody to send it to.
fn wanted_mail<'a>(config: &'a Config, wants_mail: bool, facts: &Facts) -> Option<&'a Mail> {
    let mail = &config.global.mail;
    let is_fault = facts.state == "FAULT";
    (wants_mail && !mail.to.is_empty() && !(mail.no_faults && is_fault)).then_some(mail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{InstanceConf, NotifyScripts, Span};

    fn facts(state: &'static str) -> Facts {
        Facts {
            instance: "V".into(),
            state,
            previous: "BACKUP",
            phase: "master",
            reason: "master_down",
            detail: String::new(),
            transition: 1,
            vrid: 1,
            priority: 100,
            peer: None,
            how: None,
            released: false,
            lost: false,
            group: None,
        }
    }

    #[test]
    fn who_wants_mail_is_told_where_to_send_it() {
        let notify = Box::new(Script::new(vec!["/hook".into()], None, Span::default()));
        let conf = |wants_mail| InstanceConf {
            notify: NotifyScripts { every: Some(notify.clone()), ..NotifyScripts::default() },
            wants_mail,
            ..InstanceConf::default()
        };
        let mut config =
            Config { instances: vec![conf(true), conf(false)].into(), ..Config::default() };
        let is_told = |config: &Config, place, state: NotifyState| {
            let runs = Hooks::new().notify(config, InstanceId(place), state, &facts(state.word()));
            runs.iter().any(|run| run.env.iter().any(|(key, _)| key == "GLHA_MAIL_TO"))
        };
        assert!(!is_told(&config, 0, NotifyState::Master), "there is no address");
        config.global.mail = Mail { to: vec!["a@example.org".into()], ..Mail::default() };
        assert!(is_told(&config, 0, NotifyState::Master));
        assert!(is_told(&config, 0, NotifyState::Fault));
        assert!(!is_told(&config, 1, NotifyState::Master), "it did not ask");
        config.global.mail.no_faults = true;
        assert!(is_told(&config, 0, NotifyState::Backup));
        assert!(!is_told(&config, 0, NotifyState::Fault));
    }
}
