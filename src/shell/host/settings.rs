//! What the command line tells the daemon.

use std::path::PathBuf;

use crate::conf::{Context, Loaded};
use crate::shell::host::log::Handle;
use crate::shell::host::pidfile::PidFile;
use crate::shell::host::scribe::Scribe;

/// Everything the daemon starts from. Paths are absolute.
pub struct Settings {
    /// The configuration file; read again at a reload.
    pub config_path: PathBuf,
    /// What the configuration is told from outside, at a reload too (`-i`, `-e`).
    pub context: Context,
    /// The configuration as it was read. It has no error.
    pub loaded: Loaded,
    /// The log, installed.
    pub log: Handle,
    /// The pid files, in place; they go when this is dropped.
    pub pid_files: Vec<PidFile>,
    /// The process that will write records, started before the configuration was read.
    pub pen: Option<Scribe>,
    /// `-V`: leave the addresses in place at a stop.
    pub dont_release: bool,
    /// `-d`: log the configuration at start.
    pub dump_conf: bool,
    /// `-a`: log every change of an address.
    pub address_monitoring: bool,
    /// `-B`: no BFD session is run.
    pub no_bfd: bool,
    /// `--log-events`: log what is recorded, a line of JSON each.
    pub log_events: bool,
    /// `-u`: wins over the configuration's `umask`, at a reload too.
    pub umask: Option<u32>,
}
