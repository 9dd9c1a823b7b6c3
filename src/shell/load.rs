//! Reading the configuration from disk: for the start, for a reload, and for `-t`.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::audit::{audit, drop_disabled};
use super::keys;
use crate::conf::{self, Context, Files, Loaded};

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
    // Named apart from what is wrong inside it: its exit status is another.
    read(path)?;
    let mut files = Files { read: &mut read, list: &mut list };
    let mut loaded = conf::load(path, &mut files, context);
    keys::read_all(&mut loaded);
    loaded.diagnostics.extend(audit(&loaded.config));
    drop_disabled(&mut loaded.config);
    loaded.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    Ok(loaded)
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
