//! What the configuration wants of the daemon's own process.

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::stat::{Mode, umask};

use crate::conf::Global;
use crate::shell::host::sys;

/// Scripts make folders and files for others to read; keepalived's 0177 breaks `mkdir`.
const UMASK: u32 = 0o022;

/// Applies umask, priorities and the memory lock. What is refused is logged; the daemon works
/// without. Hooks inherit the umask only: both schedulers reset the rest on fork.
pub fn apply(global: &Global, own_umask: Option<u32>) {
    let mask = own_umask.or(global.umask).unwrap_or(UMASK);
    umask(Mode::from_bits_truncate(mask));
    if global.no_swap
        && let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
    {
        log::warn!("vrrp_no_swap: {error}");
    }
    if let Some(nice) = global.nice
        && let Err(error) = sys::set_nice(nice)
    {
        log::warn!("vrrp_priority {nice}: {error}");
    }
    if let Some(priority) = global.rt_priority
        && let Err(error) = sys::set_realtime(priority)
    {
        log::warn!("vrrp_rt_priority {priority}: {error}");
    }
}
