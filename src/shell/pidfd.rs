//! Two system calls about descriptors that no safe crate wraps.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A descriptor that becomes readable when the process `pid` ends (pidfd_open(2)).
///
/// `pid` has to be a child that has not been reaped yet: only then is it surely the one meant.
///
/// # Errors
///
/// What the system call says: no descriptors left, or a kernel before 5.3.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just handed out this descriptor, close-on-exec, and nobody else knows
    // it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes every descriptor of this process from 3 on close-on-exec (close_range(2)).
///
/// # Errors
///
/// What the system call says: a kernel before 5.11.
pub fn close_others_on_exec() -> io::Result<()> {
    let flags = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    let last = libc::c_long::from(u32::MAX);
    // SAFETY: the call takes three integers, closes nothing with this flag, and what it changes
    // shows in children only.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
