//! The scripts of start and stop: run alone, before the first and after the last thing that the
//! daemon does, and never longer than their deadline.

use std::time::Duration;

use crate::conf::Config;
use crate::core::event::HookEnd;
use crate::shell::hooks::compose::Hooks;
use crate::shell::hooks::run::Run;
use crate::shell::hooks::wait::{KILL_SLACK, Waited, wait_for};
use crate::shell::host::signals::Signals;
use crate::shell::host::systemd::Ready;
use crate::work::Key;

/// From the script's end until the daemon is ready.
const READY_SLACK: Duration = Duration::from_secs(90);

/// Runs `startup_script`, if there is one, and waits for it: what it sets up may be what the
/// instances need. However it ends, the daemon goes on, as keepalived does. False if the daemon was
/// told to stop meanwhile.
pub fn startup(config: &Config, signals: &mut Signals) -> bool {
    let Some(edge) = &config.global.daemon.startup else { return true };
    let run = Hooks::new().edge(config, edge, "startup");
    // It counts as a part of the start, which a service manager gives up after a while.
    let most = run.timeout.unwrap_or_default() + KILL_SLACK + READY_SLACK;
    Ready::from_env().extend_timeout(most);
    !carry_out(run, Some(signals))
}

/// Runs `shutdown_script`, if there is one, and waits for it.
pub fn shutdown(config: &Config) {
    if let Some(edge) = &config.global.daemon.shutdown {
        carry_out(Hooks::new().edge(config, edge, "shutdown"), None);
    }
}

/// True if a stop was asked for.
fn carry_out(run: Run, signals: Option<&mut Signals>) -> bool {
    let name = run.name.clone();
    log::info!("Running {name} {}", run.argv.first().map_or("", String::as_str));
    let (end, is_stop) = match wait_for(Key::Edge, run, signals) {
        Ok(Waited { end, is_stop, .. }) => (end, is_stop),
        Err(error) => (HookEnd::NotStarted(error.to_string()), false),
    };
    match end {
        HookEnd::Exited(0) => log::info!("{name} script succeeded"),
        HookEnd::Exited(status) => log::warn!("{name} script failed, status {status}"),
        HookEnd::TimedOut => log::warn!("{name} timed out"),
        end => log::warn!("{name} script {end}"),
    }
    is_stop
}
