//! From a wish of the core to a run: which script, with which arguments, facts and rights.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use nix::unistd::{Gid, Uid};

use super::event::{Kind, Told, event_id};
use super::queue::notify_commands;
use super::run::{Ids, Run};
use super::user;
use crate::conf::{Config, InstanceConf, Script, User};
use crate::core::event::{Facts, MountAction, NotifyState};
use crate::core::spec::{CheckId, InstanceId};

/// The account that keepalived runs scripts as, where it exists and nothing else is said.
const DEFAULT_ACCOUNT: &str = "keepalived_script";

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
        Self { base, count: 0, transitions: BTreeMap::new() }
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

    /// Follows instances to their new places after a reload.
    pub fn rekey(&mut self, new: impl Fn(InstanceId) -> Option<InstanceId>) {
        let old = std::mem::take(&mut self.transitions);
        self.transitions =
            old.into_iter().filter_map(|(id, known)| Some((new(id)?, known))).collect();
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
        let conf = config.instances.get(id.0)?;
        let script = &conf.hooks.as_ref()?.mount.as_ref()?.script;
        let mut argv = script.argv.clone();
        argv.extend([action.word().to_owned(), facts.instance.clone()]);
        let kind = Kind::Mount(action.word());
        let count = self.number(kind, id, facts);
        let told = told(config, id, kind, timeout, facts, count);
        let name = format!("{} mount {}", facts.instance, action.word());
        let mut run = self.run(config, name, script, argv, &told);
        run.whole_group = true;
        Some(run)
    }

    /// All that is to be run when an instance has entered a state, in order.
    pub fn notify(
        &mut self,
        config: &Config,
        id: InstanceId,
        state: NotifyState,
        facts: &Facts,
    ) -> Vec<Run> {
        let Some(conf) = config.instances.get(id.0) else { return Vec::new() };
        let mut runs = Vec::new();
        let count = self.number(Kind::Notify, id, facts);
        for command in notify_commands(conf, &facts.instance, state, facts.priority) {
            let told = told(config, id, Kind::Notify, command.timeout, facts, count);
            let name = format!("{} {} {}", facts.instance, command.what, state.word());
            runs.push(self.run(config, name, command.script, command.argv, &told));
        }
        runs
    }

    /// The notify hook of an instance, alone, for something that is no change of state.
    pub fn tell(&mut self, config: &Config, id: InstanceId, facts: &Facts) -> Option<Run> {
        let hook = config.instances.get(id.0)?.hooks.as_ref()?.notify.as_ref()?;
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
        let (conf, spec) = (config.checks.get(id.0)?, config.spec.checks.get(id.0)?);
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
                mail: (&[], None),
                count: self.next(),
            },
        };
        let argv = conf.script.argv.clone();
        Some(self.run(config, spec.name.clone(), &conf.script, argv, &told))
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
        let user = script_ids(script, config);
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
    let conf: Option<&InstanceConf> = config.instances.get(id.0);
    let interface = config
        .spec
        .instances
        .get(id.0)
        .and_then(|spec| config.spec.links.get(spec.link.0))
        .map_or("", String::as_str);
    let addresses = conf.map(|conf| conf.addresses.iter().map(|a| a.text.as_str()).collect());
    let env = conf.and_then(|conf| conf.hooks.as_ref()).map_or(&[][..], |hooks| &hooks.env);
    let mail = &config.global.mail;
    Told {
        kind,
        node: &config.global.router_id,
        about: Some((facts, interface, addresses.unwrap_or_default())),
        timeout,
        env,
        mail: (&mail.to, mail.from.as_deref()),
        count,
    }
}

/// Whose rights a script runs with: its own user's, `script_user`'s, those of the account
/// `keepalived_script` if there is one, or the daemon's. An account that is gone gives one that
/// owns nothing, never the daemon's own.
fn script_ids(script: &Script, config: &Config) -> Option<Ids> {
    const NOBODY: Ids = Ids { uid: 65534, gid: 65534 };
    let default = User { user: DEFAULT_ACCOUNT.into(), group: None, span: script.span };
    let ids = match script.user.as_ref().or(config.global.script_user.as_ref()) {
        Some(user) => user::lookup(user).unwrap_or(NOBODY),
        None => user::lookup(&default).ok()?,
    };
    let own = Ids { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() };
    (ids != own).then_some(ids)
}
