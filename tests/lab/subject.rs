//! Who is under test: keepalived, or glha in its place. Both are given the same file and the
//! same command line.

use super::host::{Daemon, Host};
use std::path::{Path, PathBuf};

/// The article's virtual address, used by all tests.
pub const ARTICLE_VIP: &str = "172.16.51.70";

/// A daemon that can be put on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Debian's keepalived.
    Keepalived,
    /// The glha of this build.
    Glha,
}

impl Subject {
    /// Its process name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keepalived => "keepalived",
            Self::Glha => "glha",
        }
    }

    /// The program on this machine: for glha, that of the variable `GLHA` if it is set, otherwise
    /// the one of this build (none if it was not built: an example does not do that).
    pub fn path(self) -> Option<PathBuf> {
        if self == Self::Keepalived {
            return Some(PathBuf::from("/usr/sbin/keepalived"));
        }
        let built = || option_env!("CARGO_BIN_EXE_glha").map(PathBuf::from).or_else(beside);
        std::env::var_os("GLHA").map(PathBuf::from).or_else(built)
    }

    /// The program as a host sees it.
    pub fn program(self) -> &'static str {
        match self {
            Self::Keepalived => "/usr/sbin/keepalived",
            Self::Glha => "/run/lab/glha",
        }
    }

    /// Writes `conf` as the host's keepalived.conf and starts the daemon with it.
    pub fn start(self, host: &Host, conf: &str) -> Daemon {
        host.write("/etc/keepalived/keepalived.conf", conf);
        self.start_with(host, "/etc/keepalived/keepalived.conf")
    }

    /// Starts the daemon with a file that is already on the host.
    pub fn start_with(self, host: &Host, file: &str) -> Daemon {
        if self == Self::Keepalived {
            super::require(&["keepalived"]);
        }
        host.start(
            self.program(),
            &["-n", "-l", "-D", "-P", "-f", file, "-p", "/run/d.pid", "-r", "/run/v.pid"],
        )
    }
}

/// glha in the folder above this program's: where cargo puts it beside examples.
fn beside() -> Option<PathBuf> {
    let me = std::env::current_exe().ok()?;
    me.ancestors().skip(1).take(2).map(|d: &Path| d.join("glha")).find(|p| p.is_file())
}

/// One instance, VI_1 with vrid 51 on eth0, priority as given and the rest as in the article.
/// `more` is put into the instance.
pub fn conf(priority: u8, more: &str) -> String {
    format!(
        "global_defs {{
    enable_script_security
    script_user root
}}
vrrp_instance VI_1 {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass 1111
    }}
    virtual_ipaddress {{
        {ARTICLE_VIP}
    }}
    {more}
}}
"
    )
}
