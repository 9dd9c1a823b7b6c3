//! The last resort: the node fences itself, because its storage cannot be released.

use std::fs;
use std::io;
use std::path::PathBuf;

use nix::unistd::{AccessFlags, access};

/// Where the kernel takes orders (sysrq). Another path can be given for a test.
const TRIGGER: &str = "/proc/sysrq-trigger";
const TRIGGER_VARIABLE: &str = "GLHA_SYSRQ_TRIGGER";
const SWITCH: &str = "/proc/sys/kernel/sysrq";
/// Reset at once, without syncing or unmounting: what is not written yet must not be.
const RESET: &str = "b";

fn trigger() -> PathBuf {
    std::env::var_os(TRIGGER_VARIABLE).map_or_else(|| TRIGGER.into(), PathBuf::from)
}

/// Could it work?
///
/// # Errors
/// Why not, for the administrator.
pub fn can_work() -> Result<(), String> {
    let path = trigger();
    access(&path, AccessFlags::W_OK)
        .map_err(|error| format!("{}: {error}; this kernel takes no sysrq orders", path.display()))
}

/// Resets the machine. Comes back only if that failed.
pub fn now(instance: &str) {
    log::error!("({instance}) the storage cannot be released: resetting this machine now");
    let path = trigger();
    if path.as_os_str() == TRIGGER {
        // Root may order everything here whatever the switch says; some kernels look at it all the
        // same.
        let _ = fs::write(SWITCH, "1");
    }
    if let Err(error) = write(&path) {
        log::error!("({instance}) {}: {error}: the machine is not reset", path.display());
    }
}

fn write(path: &PathBuf) -> io::Result<()> {
    io::Write::write_all(&mut fs::OpenOptions::new().append(true).open(path)?, RESET.as_bytes())
}
