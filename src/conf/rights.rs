//! Whose rights the scripts of a configuration run with.

use super::daemon::{Edge, Fifo};
use super::{Config, Hooks, Script};

/// A user and a group by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group, the only one.
    pub gid: u32,
}

/// What a script runs with, by number. Looked up once, when the configuration is loaded: the account
/// may be known to a directory server only, and a daemon that runs waits for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The daemon's own: nothing else is said.
    Own,
    /// Those of this user and group.
    Of(Ids),
    /// There is no such account, or it could not be asked for: why.
    Unknown(String),
}

impl Default for Rights {
    /// Before anybody has looked.
    fn default() -> Self {
        Self::Unknown("it was not looked up".to_owned())
    }
}

impl Rights {
    /// Why they are not known, if they are not.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::Own | Self::Of(_) => None,
        }
    }
}

impl Config {
    /// Every script there is.
    pub fn scripts_mut(&mut self) -> impl Iterator<Item = &mut Script> {
        let daemon = &mut self.global.daemon;
        let edges = [&mut daemon.startup, &mut daemon.shutdown].into_iter().flatten();
        let edges = edges.map(|Edge { script, .. }| script);
        let fifos = daemon.fifos.iter_mut().filter_map(|Fifo { script, .. }| script.as_mut());
        let checks = self.checks.iter_mut().map(|check| &mut check.script);
        let instances = self.instances.iter_mut().map(|one| (&mut one.notify, &mut one.hooks));
        let groups = self.groups.iter_mut().map(|one| (&mut one.notify, &mut one.hooks));
        let told = instances.chain(groups).flat_map(|(notify, hooks)| {
            notify.each_mut().into_iter().flatten().map(Box::as_mut).chain(of_hooks(hooks))
        });
        edges.chain(fifos).chain(checks).chain(told)
    }
}

/// Its check is among the checks.
fn of_hooks(hooks: &mut Option<Box<Hooks>>) -> impl Iterator<Item = &mut Script> {
    hooks.iter_mut().flat_map(|hooks| {
        let mount = hooks.mount.as_mut().map(|hook| &mut hook.script);
        let notify = hooks.notify.as_mut().map(|hook| &mut hook.script);
        mount.into_iter().chain(notify)
    })
}
