//! Where this daemon is: its network namespace, and its folders beside those of another daemon.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

use crate::conf::daemon::Daemon;

/// Gone with the next boot, like everything that stands there.
pub(in crate::shell) const RUN: &str = "/run/glha";
/// Where `ip netns` keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
const OWN_NAMESPACE: &str = "/proc/self/ns/net";

/// The folder of phase files and of the control socket: `/run/glha`, or one below it for a daemon
/// with an `instance` name or a namespace.
pub fn run_folder(daemon: &Daemon) -> PathBuf {
    let part = |what: &str, name: &Option<String>| {
        name.as_ref().map(|name| format!("{what}.{}", encode(name)))
    };
    // An encoded name has no dot, so that no two daemons share a folder.
    let parts = [part("net", &daemon.net_namespace), part("instance", &daemon.instance)];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join(".");
    if name.is_empty() { RUN.into() } else { Path::new(RUN).join(name) }
}

/// A name as a file name: everything unusual as %XX.
pub fn encode(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02x}") })
        .collect()
}

/// Goes to the network namespace of this name for good, with every socket, script and hook that
/// follows. To be called while there is one thread. Only the network: with a mount namespace of its
/// own, as keepalived makes one, a hook's mount would not reach the host.
///
/// # Errors
/// There is no such namespace, or this process may not enter it.
pub fn enter(name: &str) -> io::Result<()> {
    let path = Path::new(NAMESPACES).join(name);
    let file = File::open(&path)?;
    let (there, here) = (file.metadata()?, fs::metadata(OWN_NAMESPACE)?);
    if (there.dev(), there.ino()) == (here.dev(), here.ino()) {
        return Ok(());
    }
    Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_do_not_share_a_folder() {
        let folder = |namespace: Option<&str>, instance: Option<&str>| {
            let name = |name: Option<&str>| name.map(str::to_owned);
            run_folder(&Daemon {
                net_namespace: name(namespace),
                instance: name(instance),
                ..Daemon::default()
            })
            .display()
            .to_string()
        };
        assert_eq!(folder(None, None), "/run/glha");
        assert_eq!(folder(None, Some("a")), "/run/glha/instance.a");
        assert_eq!(folder(Some("a"), None), "/run/glha/net.a");
        assert_eq!(folder(Some("a"), Some("b")), "/run/glha/net.a.instance.b");
        assert_eq!(folder(Some("a.instance.b"), None), "/run/glha/net.a%2einstance%2eb");
    }

    #[test]
    fn a_namespace_that_is_not_there_cannot_be_entered() {
        assert!(enter("glha no such namespace").is_err());
    }
}
