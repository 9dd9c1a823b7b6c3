//! Running one script and waiting for it, where there is no loop: before it, after it, and for a person.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use super::child::{Children, Ended};
use super::run::Run;
use crate::core::event::HookEnd;
use crate::shell::host::clock;
use crate::shell::host::signals::{Request, Signals};
use crate::work::Key;

/// What killing a hook may take beyond its deadline.
pub const KILL_SLACK: Duration = Duration::from_secs(10);

const SIGNALS: Token = Token(0);
const FIRST_CHILD_TOKEN: usize = 1;

/// How it went.
#[derive(Debug)]
pub struct Waited {
    /// How the script ended; [`HookEnd::TimedOut`] also if it could not even be killed.
    pub end: HookEnd,
    /// The last lines that it wrote, oldest first.
    pub output: Vec<String>,
    /// A stop was asked for meanwhile, which ends the script.
    pub is_stop: bool,
}

/// Runs a script and waits for its end, for little longer than its deadline; with `signals`, also for
/// the wish to stop.
///
/// # Errors
/// There is no event queue to wait with.
pub fn wait_for(key: Key, run: Run, mut signals: Option<&mut Signals>) -> io::Result<Waited> {
    let timeout = run.timeout.unwrap_or_default();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(16);
    let mut children = Children::new(poll.registry().try_clone()?, FIRST_CHILD_TOKEN);
    if let Some(signals) = &mut signals {
        poll.registry().register(*signals, SIGNALS, Interest::READABLE)?;
    }
    children.start(key, run);
    let give_up_at = clock::now() + timeout + KILL_SLACK;
    let mut waited = Waited { end: HookEnd::TimedOut, output: Vec::new(), is_stop: false };
    'wait: while clock::now() < give_up_at {
        let now = clock::now();
        for token in events.iter().map(|event| event.token()).collect::<Vec<_>>() {
            children.handle_ready(token, now);
        }
        let requests = signals.as_mut().map(|signals| signals.take()).unwrap_or_default();
        if requests.contains(&Request::Stop) {
            log::info!("Stopping");
            waited.is_stop = true;
            children.stop(key, now);
        }
        children.handle_timeout(now);
        for ended in children.drain() {
            if let Ended::Hook { end, output, .. } = ended {
                (waited.end, waited.output) = (end, output);
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
    Ok(waited)
}
