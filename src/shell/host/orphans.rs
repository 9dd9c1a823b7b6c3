//! Children that nobody waits for: what a script has left behind where this is process 1, as in a
//! container; what a shell had started before it became the daemon; and the daemon's own writers, which
//! have said how it went before they end.

use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::core::Time;

/// How often it is looked for them; their process ids are all that they cost.
const PERIOD: Duration = Duration::from_secs(1);
/// So many are taken in at a time.
const AT_ONCE_MAX: usize = 256;

/// Takes in the statuses of children that nobody waits for.
#[derive(Debug, Default)]
pub struct Orphans {
    looked_at: Option<Time>,
}

impl Orphans {
    /// Looks for them, if it is time for that; to be called in every turn of the loop. Those who are
    /// awaited are left to who does.
    pub fn reap(&mut self, now: Time, is_awaited: impl Fn(Pid) -> bool) {
        if self.looked_at.is_some_and(|at| now.since(at) < PERIOD) {
            return;
        }
        self.looked_at = Some(now);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        for _ in 0..AT_ONCE_MAX {
            // Without children that is an error.
            let Ok(status) = waitid(Id::All, flags) else { return };
            let Some(pid) = ended(status).filter(|pid| !is_awaited(*pid)) else { return };
            log::debug!("process {pid} has ended, which nobody waits for");
            if waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
                return;
            }
        }
    }
}

fn ended(status: WaitStatus) -> Option<Pid> {
    match status {
        WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => Some(pid),
        _ => None,
    }
}
