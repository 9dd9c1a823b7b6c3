//! Reading the configuration from disk: for the start, for a reload, and for `-t`.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::conf::{self, Context, Diagnostic, Files, Loaded, Severity};
use crate::shell::audit::{audit, drop_disabled, key_files, look_around, security};
use crate::shell::host::paths;
use crate::shell::host::user;

/// The largest file that is read as a configuration; 10,000 addresses take a twentieth of it.
const CONFIG_FILE_BYTES_MAX: u64 = 8 << 20;

/// The file that is read without `-f`: glha's own where it exists, else keepalived's.
pub fn default_path() -> PathBuf {
    let [own, keepalived] = conf::default_paths();
    if own.exists() { own } else { keepalived }
}

/// Reads the configuration and looks at everything it names on this host.
///
/// # Errors
///
/// The file itself cannot be read. Everything else is a diagnostic.
pub fn load(path: &Path, context: &Context) -> io::Result<Loaded> {
    let mut loaded = parse(path, context)?;
    let sees_links = enter(&mut loaded);
    Ok(look(loaded, sees_links))
}

/// The same for a person who asks: also with what takes a while to find out.
///
/// # Errors
///
/// The file itself cannot be read.
pub fn load_closely(path: &Path, context: &Context) -> io::Result<Loaded> {
    let mut loaded = parse(path, context)?;
    let sees_links = enter(&mut loaded);
    let mut loaded = look(loaded, sees_links);
    loaded.diagnostics.extend(look_around(&loaded.config, sees_links));
    loaded.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    Ok(loaded)
}

/// The same for a daemon that runs: it is in its namespace, and stays there.
///
/// # Errors
///
/// The file itself cannot be read.
pub fn load_here(path: &Path, context: &Context) -> io::Result<Loaded> {
    parse(path, context).map(|loaded| look(loaded, true))
}

/// Reads the configuration, and looks at nothing that it names.
///
/// # Errors
///
/// The file itself cannot be read.
pub fn parse(path: &Path, context: &Context) -> io::Result<Loaded> {
    // Named apart from what is wrong inside it: its exit status is another.
    read(path)?;
    let mut files = Files { read: &mut read, list: &mut list };
    Ok(conf::load(path, &mut files, context))
}

/// Goes to the network namespace of the configuration; its interfaces are those that count. False
/// if they cannot be seen.
fn enter(loaded: &mut Loaded) -> bool {
    let Some(name) = &loaded.config.global.daemon.net_namespace else { return true };
    let Err(error) = paths::enter(name) else { return true };
    let (severity, message) = if nix::unistd::geteuid().is_root() {
        let remedy = format!("make it with `ip netns add {name}`, or leave it out");
        (Severity::Error, format!("net_namespace {name} cannot be entered: {error}; {remedy}"))
    } else {
        let message = "only root can look at its interfaces: they are not checked";
        (Severity::Note, format!("net_namespace {name}: {message}"))
    };
    let span = loaded.config.global.daemon.span;
    loaded.diagnostics.push(Diagnostic { span, severity, message, suggestion: None });
    false
}

fn look(mut loaded: Loaded, sees_links: bool) -> Loaded {
    key_files::read_all(&mut loaded);
    user::resolve(&mut loaded.config);
    let config = &mut loaded.config;
    let dynamic = config.global.dynamic_interfaces;
    // Those of another namespace say nothing.
    config.global.dynamic_interfaces |= !sees_links;
    loaded.diagnostics.extend(audit(config));
    loaded.diagnostics.extend(security::unusable(config, &loaded.untracked));
    loaded.diagnostics.extend(security::unsecured(config, &loaded.untracked));
    config.global.dynamic_interfaces = dynamic;
    drop_disabled(config);
    loaded.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    loaded
}

/// Reads a file that may be a configuration: regular and not executable, as keepalived demands.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Never waits, whatever lies there.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 != 0 {
        return Err(io::Error::other("not a regular non-executable file"));
    }
    let mut bytes = Vec::new();
    file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "larger than {CONFIG_FILE_BYTES_MAX} bytes: hardly a configuration"
        )));
    }
    Ok(bytes)
}

fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_configuration_is_read() {
        let folder = std::env::temp_dir().join(format!("glha-load-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        let file = folder.join("a.conf");
        fs::write(&file, "text").expect("write");
        assert_eq!(read(&file).expect("read"), b"text");
        assert_eq!(list(&folder).expect("list"), ["a.conf"]);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o744)).expect("chmod");
        let refused = |path: &Path| read(path).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused(&file), "not a regular non-executable file");
        assert_eq!(refused(&folder), "not a regular non-executable file");
        let fifo = folder.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        assert_eq!(refused(&fifo), "not a regular non-executable file");

        let huge = folder.join("huge");
        fs::write(&huge, vec![b'#'; CONFIG_FILE_BYTES_MAX as usize + 1]).expect("write");
        assert!(refused(&huge).starts_with("larger than"));
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
