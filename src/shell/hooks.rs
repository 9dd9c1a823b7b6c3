//! From a wish of the core to a run: which script, with which arguments, facts and rights.

use std::ffi::OsString;
use std::time::Duration;

use nix::unistd::{Gid, Uid};

use super::event::{Kind, Told};
use super::queue::{group_commands, notify_commands};
use super::run::{Ids, Run};
use super::user;
use crate::conf::{Config, Script, User};
use crate::core::event::{Facts, MountAction, NotifyState};
use crate::core::spec::{CheckId, GroupId, InstanceId};

/// The account that keepalived runs scripts as, where it exists and nothing else is said.
const DEFAULT_ACCOUNT: &str = "keepalived_script";

/// Makes runs of the scripts of a configuration.
#[derive(Debug)]
pub struct Hooks {
    /// The daemon's own environment, which every script gets as with keepalived.
    base: Vec<(OsString, OsString)>,
    /// Events so far.
    count: u64,
}

impl Hooks {
    /// Keeps the environment as it is now.
    pub fn new() -> Self {
        let mut base: Vec<_> = std::env::vars_os()
            .filter(|(key, _)| key != "NOTIFY_SOCKET" && key != "WATCHDOG_USEC")
            .collect();
        if !base.iter().any(|(key, _)| key == "PATH") {
            let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            base.push(("PATH".into(), path.into()));
        }
        Self { base, count: 0 }
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
        let whose = hooks.group.as_ref().unwrap_or(&facts.instance);
        let mut argv = script.argv.clone();
        argv.extend([action.word().to_owned(), whose.clone()]);
        let name = format!("{whose} mount {}", action.word());
        let mut told = self.told(config, id, Kind::Mount(action.word()), timeout, facts);
        told.env = &hooks.env;
        if let (Some(_), Some(group)) = (&hooks.group, config.group_of(id)) {
            told.show_all(config, GroupId(group));
        }
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
        for command in notify_commands(conf, &facts.instance, state, facts.priority) {
            let told = self.told(config, id, Kind::Notify, command.timeout, facts);
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
        let (Some(conf), Some(spec)) = (config.groups.get(id.0), config.spec.groups.get(id.0))
        else {
            return Vec::new();
        };
        let Some(&first) = spec.members.first() else { return Vec::new() };
        let mut runs = Vec::new();
        for command in group_commands(conf, &spec.name, state) {
            let mut told = self.told(config, first, Kind::Notify, command.timeout, facts);
            told.env = conf.hooks.as_ref().map_or(&[][..], |hooks| &hooks.env);
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
        let told = self.told(config, id, Kind::Notify, hook.timeout, facts);
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
            Some((instance, facts)) => self.told(config, *instance, kind, spec.timeout, facts),
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

    fn told<'a>(
        &mut self,
        config: &'a Config,
        id: InstanceId,
        kind: Kind<'a>,
        timeout: Duration,
        facts: &'a Facts,
    ) -> Told<'a> {
        let conf = config.instances.get(id.0);
        let interface = config
            .spec
            .instances
            .get(id.0)
            .and_then(|spec| config.spec.links.get(spec.link.0))
            .map_or("", String::as_str);
        let addresses = conf.map(|conf| conf.addresses.iter().map(|a| a.text.as_str()).collect());
        let env = config.hooks_of(id).map_or(&[][..], |hooks| &hooks.env);
        let mail = &config.global.mail;
        Told {
            kind,
            node: &config.global.router_id,
            about: Some((facts, interface, addresses.unwrap_or_default())),
            timeout,
            env,
            mail: (&mail.to, mail.from.as_deref()),
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
