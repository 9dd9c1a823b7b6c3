//! What the configuration wants of the daemon's own process.

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::stat::{Mode, umask};

use crate::conf::{Config, Global};
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

/// Descriptors for everything that there is once.
const DESCRIPTORS_BASE: u64 = 512;
/// For each interface, instance, group, check and process: sockets of both families, and the pipes of
/// scripts that run at a time.
const DESCRIPTORS_EACH: u64 = 8;

/// Raises the limit of open descriptors to what this configuration needs. Scripts have the limit that
/// the daemon was started with.
pub fn raise_descriptors(config: &Config) {
    let spec = &config.spec;
    let parts = [
        spec.links.len(),
        spec.instances.len(),
        spec.groups.len(),
        spec.checks.len(),
        spec.processes.len(),
    ];
    let count = u64::try_from(parts.iter().sum::<usize>()).unwrap_or(u64::MAX);
    let needed = DESCRIPTORS_BASE.saturating_add(count.saturating_mul(DESCRIPTORS_EACH));
    if let Err(error) = sys::raise_descriptors(needed) {
        log::error!(
            "this configuration may need {needed} open descriptors: {error}; raise the limit \
             (LimitNOFILE= in the unit, ulimit -n)"
        );
    }
}
