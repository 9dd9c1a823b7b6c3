//! What concerns the daemon's own process, and no instance.

use std::path::PathBuf;
use std::time::Duration;

use super::{Rights, Script, Span, User};

/// keepalived's, for the scripts of start and stop.
pub const EDGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of `global_defs` and the top level about the process that runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Daemon {
    /// `instance`: a second daemon on this host has another name.
    pub instance: Option<String>,
    /// `net_namespace`, or `-s`: the network namespace to run in.
    pub net_namespace: Option<String>,
    /// Where that stands.
    pub span: Span,
    /// `notify_fifo` and `vrrp_notify_fifo`, in this order, as far as they are given.
    pub fifos: Vec<Fifo>,
    /// `fifo_write_vrrp_states_on_reload`.
    pub fifo_states_on_reload: bool,
    /// `startup_script`: run before anything else.
    pub startup: Option<Edge>,
    /// `shutdown_script`: run after everything else.
    pub shutdown: Option<Edge>,
    /// Where dumps go, if not to their usual places.
    pub dumps: Dumps,
    /// `reload_file`: there while a reload reads the configuration. An empty path is the default.
    pub reload_file: Option<PathBuf>,
    /// `reload_time_file`: when to reload.
    pub reload_time_file: Option<PathBuf>,
    /// `reload_repeat`: a time without a date counts every day.
    pub reload_repeat: bool,
}

impl Daemon {
    /// What tells this daemon's files from those of another on this host, as keepalived puts it
    /// together: `NAMESPACE_INSTANCE`, one of both, or nothing.
    pub fn mark(&self) -> Option<String> {
        let parts = [&self.net_namespace, &self.instance];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join("_"))
    }
}

/// A named pipe that gets a line for each event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    /// The keyword: `notify_fifo` or `vrrp_notify_fifo`.
    pub keyword: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Who owns it, if it is made by the daemon.
    pub owner: Option<User>,
    /// The same by number, after the shell has looked.
    pub owner_rights: Rights,
    /// What reads it, run with its path as the last argument.
    pub script: Option<Script>,
}

/// A script at one end of the daemon's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What is run.
    pub script: Script,
    /// When it has to be over.
    pub timeout: Duration,
}

/// Where dumps go, if not to their usual places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dumps {
    /// `data_use_instance`: the name of keepalived.data tells instance and namespace.
    pub use_instance: bool,
    /// `state_dump_file`.
    pub data: Option<PathBuf>,
    /// `stats_dump_file`.
    pub stats: Option<PathBuf>,
    /// `json_dump_file`.
    pub json: Option<PathBuf>,
}
