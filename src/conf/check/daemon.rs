//! What concerns the daemon's own process.

use super::super::Context;
use super::super::daemon::Daemon;
use super::super::parse::{At, GlobalRaw};
use super::Checker;
use crate::conf::Severity;

pub(super) fn daemon(global: &GlobalRaw, context: &Context) -> Daemon {
    let (raw, mut conf) = (&global.daemon, global.conf.daemon.clone());
    let (first, second) = (raw.fifo.get("notify_fifo"), raw.vrrp_fifo.get("vrrp_notify_fifo"));
    let second = second.filter(|one| first.as_ref().is_none_or(|first| first.path != one.path));
    let value = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    conf.instance = value(&raw.instance);
    conf.net_namespace = context.net_namespace.clone().or_else(|| value(&raw.net_namespace));
    conf.span = raw.net_namespace.as_ref().map(|at| at.span).unwrap_or_default();
    conf.fifos = first.into_iter().chain(second).collect();
    (conf.startup, conf.shutdown) = (raw.startup.get(), raw.shutdown.get());
    conf.dumps.use_instance = global.dumps_use_instance.unwrap_or_default();
    conf
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
