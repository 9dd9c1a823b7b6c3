//! The keys of signed adverts that are in files (`key ID file:PATH`).

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::conf::parse::read_key;
use crate::conf::{Diagnostic, KeyFile, Loaded, Severity};
use crate::wire::trailer::Key;

/// A key file is one line: longer ones are none.
const KEY_FILE_BYTES_MAX: u64 = 1024;

/// Reads all key files of a configuration into it. One that cannot be read is an error, so that
/// glha does not start with it, and a reload with it changes nothing.
pub fn read_all(loaded: &mut Loaded) {
    let config = &mut loaded.config;
    for (spec, conf) in config.spec.instances.iter_mut().zip(&config.instances) {
        let Some(hmac) = &mut spec.hmac else { continue };
        for file in &conf.key_files {
            match read(&file.path) {
                Ok((key, remark)) => {
                    hmac.keys.insert(file.id, key);
                    let remark = remark.map(|text| say(file, Severity::Warning, &text));
                    loaded.diagnostics.extend(remark);
                }
                Err(what) => loaded.diagnostics.push(say(file, Severity::Error, &what)),
            }
        }
    }
}

fn say(file: &KeyFile, severity: Severity, what: &str) -> Diagnostic {
    let message = format!("key file {}: {what}", file.path.display());
    Diagnostic { span: file.span, severity, message, suggestion: None }
}

/// The key in a file, and what there is to say of who else may read it.
fn read(path: &Path) -> Result<(Key, Option<String>), String> {
    // Never waits, whatever lies there.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| format!("{error}; it holds `hex:` and the key, or text"))?;
    let remark = judge(&file)?;
    let mut bytes = Vec::new();
    let mut file = file.take(KEY_FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(format!("longer than {KEY_FILE_BYTES_MAX} bytes: hardly a key"));
    }
    let line = bytes.trim_ascii();
    read_key(line).map(|key| (key, remark))
}

/// Nobody but root, or who runs glha, may have written it.
fn judge(file: &File) -> Result<Option<String>, String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(format!(
            "owned by user {owner}, who could put another key there; chown it to root"
        ));
    }
    if mode & 0o022 != 0 {
        return Err("others can write it and put another key there; chmod it to 600".to_owned());
    }
    let is_read_by_others = mode & 0o044 != 0;
    Ok(is_read_by_others.then(|| "others can read it; chmod it to 600".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_key_that_root_alone_can_write_is_read() {
        let folder = std::env::temp_dir().join(format!("glha-keys-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        let path = folder.join("key");
        let put = |content: &str, mode: u32| {
            fs::write(&path, content).expect("write");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
            read(&path)
        };
        let digits = "0a".repeat(32);
        let key = Key::new(&[10; 32]).expect("32 bytes");
        assert_eq!(put(&format!("hex:{digits}\n"), 0o600), Ok((key, None)));
        assert_eq!(put(&format!("hex:{digits}"), 0o400), Ok((key, None)));
        let text = Key::new(&[b'k'; 33]).expect("33 bytes");
        assert_eq!(put(&"k".repeat(33), 0o600), Ok((text, None)));
        let (_, remark) = put(&format!("hex:{digits}\n"), 0o640).expect("a key");
        assert!(remark.expect("a remark").contains("chmod it to 600"));
        let wrong = |content: &str, mode| put(content, mode).expect_err("no key");
        assert!(wrong(&format!("hex:{digits}"), 0o620).contains("others can write"));
        assert!(wrong("too short", 0o600).contains("9 bytes"));
        assert!(!wrong("too short", 0o600).contains("too short"));
        assert!(wrong(&"k".repeat(2000), 0o600).contains("longer than"));
        assert!(read(&folder).expect_err("no key").contains("not a regular file"));
        assert!(read(&folder.join("none")).expect_err("no key").contains("No such file"));
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
