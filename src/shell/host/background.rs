//! Leaving the terminal.

use std::io;

use crate::shell::host::log::Handle;

/// Goes to the background as keepalived does: a child in a session of its own goes on, in `/`,
/// with /dev/null as its standard input, output and error; the parent exits with status 0.
///
/// To be called while there is one thread, after everything that a person at the terminal should
/// read, and before anything that carries the process id (pid files, the loop).
///
/// # Errors
///
/// The process could not be doubled, or /dev/null is missing.
pub fn detach(log: &Handle) -> io::Result<()> {
    nix::unistd::daemon(false, false)?;
    log.close_console();
    Ok(())
}
