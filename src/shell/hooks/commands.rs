//! Which scripts are run for a change of state, in which order and with which arguments.

use std::time::Duration;

use crate::conf::{GroupConf, InstanceConf, NotifyHook, NotifyScripts, Script};
use crate::core::event::NotifyState;

/// Deadline of a notify script where the configuration gives none. keepalived has none at all; a
/// script written for it may do work that takes a while, but not for ever.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(120);

/// One notify script to run for a change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyCommand<'a> {
    /// The keyword that asks for it: `notify_master`, `notify`; `notify hook` for that of the
    /// `hooks` block.
    pub what: &'static str,
    /// Where it stands, and whose rights it has.
    pub script: &'a Script,
    /// The command with the arguments of this change.
    pub argv: Vec<String>,
    /// When it has to be over.
    pub timeout: Duration,
}

/// What is run when `instance` enters `state`, in keepalived's order and with its arguments:
/// `notify_master` and its like get their own only, the others `INSTANCE NAME STATE PRIORITY`.
pub fn notify_commands<'a>(
    conf: &'a InstanceConf,
    instance: &str,
    state: NotifyState,
    priority: u8,
) -> Vec<NotifyCommand<'a>> {
    let hook = conf.hooks.as_ref().and_then(|hooks| hooks.notify.as_ref());
    let facts = ["INSTANCE", instance, state.word(), &priority.to_string()].map(str::to_owned);
    commands(&conf.notify, hook, state, &facts)
}

/// The same of a group: `GROUP NAME STATE 0`.
pub fn group_commands<'a>(
    conf: &'a GroupConf,
    group: &str,
    state: NotifyState,
) -> Vec<NotifyCommand<'a>> {
    // Told to instances only.
    if matches!(state, NotifyState::Deleted | NotifyState::LowerPriority) {
        return Vec::new();
    }
    let hook = conf.hooks.as_ref().and_then(|hooks| hooks.notify.as_ref());
    let facts = ["GROUP", group, state.word(), "0"].map(str::to_owned);
    commands(&conf.notify, hook, state, &facts)
}

/// The script of the state, the one for every state, and the hook.
fn commands<'a>(
    scripts: &'a NotifyScripts,
    hook: Option<&'a NotifyHook>,
    state: NotifyState,
    facts: &[String],
) -> Vec<NotifyCommand<'a>> {
    let timeout = hook.map_or(NOTIFY_TIMEOUT, |hook| hook.timeout);
    let what = match state {
        NotifyState::Master => "notify_master",
        NotifyState::Backup => "notify_backup",
        NotifyState::Fault => "notify_fault",
        NotifyState::Stop => "notify_stop",
        NotifyState::Deleted => "notify_deleted",
        NotifyState::LowerPriority => "notify_master_rx_lower_pri",
    };
    let told = |script: &Script| script.argv.iter().chain(facts).cloned().collect();
    let mut commands = Vec::new();
    if let Some(script) = scripts.of(state) {
        commands.push(NotifyCommand { what, script, argv: script.argv.clone(), timeout });
    }
    if state == NotifyState::LowerPriority {
        return commands;
    }
    if let Some(script) = &scripts.every {
        commands.push(NotifyCommand { what: "notify", script, argv: told(script), timeout });
    }
    if let Some(hook) = hook {
        let script = &hook.script;
        commands.push(NotifyCommand { what: "notify hook", script, argv: told(script), timeout });
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Hooks, Span};

    fn script(path: &str) -> Script {
        Script::new(vec![path.to_owned(), "own".to_owned()], None, Span::default())
    }

    #[test]
    fn scripts_come_in_keepaliveds_order_with_its_arguments() {
        let hook = NotifyHook { script: script("/hook"), timeout: Duration::from_secs(7) };
        let conf = InstanceConf {
            notify: NotifyScripts {
                every: Some(Box::new(script("/generic"))),
                backup: Some(Box::new(script("/backup"))),
                master: Some(Box::new(script("/master"))),
                ..NotifyScripts::default()
            },
            hooks: Some(Box::new(Hooks { notify: Some(hook), ..Hooks::default() })),
            ..InstanceConf::default()
        };
        let commands = notify_commands(&conf, "VI_1", NotifyState::Backup, 101);
        let argvs: Vec<String> = commands.iter().map(|command| command.argv.join(" ")).collect();
        assert_eq!(
            argvs,
            [
                "/backup own",
                "/generic own INSTANCE VI_1 BACKUP 101",
                "/hook own INSTANCE VI_1 BACKUP 101"
            ]
        );
        assert!(commands.iter().all(|command| command.timeout == Duration::from_secs(7)));
        assert_eq!(notify_commands(&conf, "VI_1", NotifyState::Stop, 1).len(), 2);
    }

    #[test]
    fn a_lower_priority_is_told_to_its_own_script_only_and_once() {
        let conf = InstanceConf {
            notify: NotifyScripts {
                every: Some(Box::new(script("/generic"))),
                lower_priority: Some(Box::new(script("/low"))),
                deleted: Some(Box::new(script("/deleted"))),
                ..NotifyScripts::default()
            },
            ..InstanceConf::default()
        };
        let argvs = |state| -> Vec<String> {
            let commands = notify_commands(&conf, "VI_1", state, 101);
            commands.iter().map(|command| command.argv.join(" ")).collect()
        };
        assert_eq!(argvs(NotifyState::LowerPriority), ["/low own"]);
        let deleted = ["/deleted own", "/generic own INSTANCE VI_1 DELETED 101"];
        assert_eq!(argvs(NotifyState::Deleted), deleted);
    }
}
