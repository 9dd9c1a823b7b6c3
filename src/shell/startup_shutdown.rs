//! The scripts of start and stop: run alone, before the first and after the last thing that the
//! daemon does, and never longer than their deadline.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use crate::conf::Config;
use crate::core::event::HookEnd;
use crate::shell::hooks::child::{Children, Ended};
use crate::shell::hooks::compose::Hooks;
use crate::shell::hooks::run::Run;
use crate::shell::host::clock;
use crate::shell::host::signals::{Request, Signals};
use crate::shell::host::systemd::Ready;
use crate::work::Key;

/// What killing it may take beyond its deadline.
const KILL_SLACK: Duration = Duration::from_secs(5);
/// From the script's end until the daemon is ready.
const READY_SLACK: Duration = Duration::from_secs(90);
const SIGNALS: Token = Token(0);
const FIRST_CHILD_TOKEN: usize = 1;

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
    let (end, is_stop) = match wait_for(run, signals) {
        Ok(ended) => ended,
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

fn wait_for(run: Run, mut signals: Option<&mut Signals>) -> io::Result<(HookEnd, bool)> {
    let key = Key::Edge;
    let timeout = run.timeout.unwrap_or_default();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);
    let mut children = Children::new(poll.registry().try_clone()?, FIRST_CHILD_TOKEN);
    if let Some(signals) = &mut signals {
        poll.registry().register(*signals, SIGNALS, Interest::READABLE)?;
    }
    children.start(key, run);
    let give_up_at = clock::now() + timeout + KILL_SLACK;
    let mut is_stop = false;
    let mut end = HookEnd::TimedOut;
    'wait: while clock::now() < give_up_at {
        let now = clock::now();
        for token in events.iter().map(|event| event.token()).collect::<Vec<_>>() {
            children.handle_ready(token, now);
        }
        let requests = signals.as_mut().map(|signals| signals.take()).unwrap_or_default();
        if requests.contains(&Request::Stop) {
            log::info!("Stopping");
            is_stop = true;
            children.stop(key, now);
        }
        children.handle_timeout(now);
        for ended in children.drain() {
            if let Ended::Hook { end: how, .. } = ended {
                end = how;
                break 'wait;
            }
        }
        let wake_at = children.deadline().unwrap_or(give_up_at).min(give_up_at);
        // The loop looks at everything anew, whatever ended the wait.
        if let Err(error) = poll.poll(&mut events, Some(wake_at.since(clock::now())))
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
    }
    if let Some(signals) = signals {
        poll.registry().deregister(signals)?;
    }
    Ok((end, is_stop))
}
