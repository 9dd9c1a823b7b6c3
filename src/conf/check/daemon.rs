//! What concerns the daemon's own process.

use super::super::Context;
use super::super::daemon::Daemon;
use super::super::parse::DaemonRaw;
use super::Checker;
use crate::conf::Severity;

pub(super) fn daemon(raw: &DaemonRaw, context: &Context) -> Daemon {
    let name = |at: &crate::conf::parse::At<String>| at.value.clone();
    let (first, second) = (raw.fifo.get("notify_fifo"), raw.vrrp_fifo.get("vrrp_notify_fifo"));
    let is_same = |one: &crate::conf::daemon::Fifo| first.iter().any(|f| f.path == one.path);
    let second = second.filter(|one| !is_same(one));
    Daemon {
        instance: raw.instance.as_ref().map(name),
        net_namespace: context
            .net_namespace
            .clone()
            .or_else(|| raw.net_namespace.as_ref().map(name)),
        span: raw.net_namespace.as_ref().map_or(Default::default(), |at| at.span),
        fifos: first.into_iter().chain(second).collect(),
        fifo_states_on_reload: raw.fifo_states_on_reload,
        startup: raw.startup.get(),
        shutdown: raw.shutdown.get(),
        dumps: raw.dumps.clone(),
        reload_file: raw.reload_file.clone(),
        reload_time_file: raw.reload_time_file.clone(),
        reload_repeat: raw.reload_repeat,
    }
}

impl Checker<'_> {
    /// What does not fit together.
    pub(super) fn daemon(&mut self) {
        let raw = &self.raw.global.daemon;
        if let (Some(first), Some(second)) = (raw.fifo.path(), raw.vrrp_fifo.path())
            && first.value == second.value
        {
            let message = format!(
                "notify_fifo and vrrp_notify_fifo are both {}: each line is written there once",
                first.value.display()
            );
            self.say(Severity::Warning, second.span, message);
        }
        for (fifo, name) in [(&raw.fifo, "notify_fifo"), (&raw.vrrp_fifo, "vrrp_notify_fifo")] {
            if let Some(script) = fifo.idle_script() {
                let message = format!("{name}_script without {name}: it is not run");
                self.say(Severity::Warning, script.span, message);
            }
        }
    }
}
