//! Which instances are on hold: one small file that outlives the daemon and the machine.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

const SCHEMA: &str = "glha.hold/1";
/// No file of ours is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The instances on hold, by name, and since when.
#[derive(Debug, Default)]
pub struct Holds {
    path: PathBuf,
    held: BTreeMap<String, String>,
    /// Why the file cannot be believed. Until it is written anew, every instance is on hold: a
    /// person may be at work on the storage.
    doubt: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    schema: String,
    /// RFC 3339 times by instance.
    held: BTreeMap<String, String>,
}

impl Holds {
    /// Reads the file; none is no holds.
    pub fn open(path: PathBuf) -> Self {
        match read(&path) {
            Ok(held) => Self { path, held, doubt: None },
            Err(why) => {
                let doubt = Some(format!("{}: {why}", path.display()));
                Self { path, held: BTreeMap::new(), doubt }
            }
        }
    }

    /// Why the file cannot be believed, if it cannot.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Is this instance on hold?
    pub fn is_held(&self, instance: &str) -> bool {
        self.doubt.is_some() || self.held.contains_key(instance)
    }

    /// Since when, as it was written down.
    pub fn since(&self, instance: &str) -> Option<&str> {
        self.held.get(instance).map(String::as_str)
    }

    /// Puts an instance on hold or takes it off; written when this returns, if not on the disk yet. `all` are the
    /// instances there are: those that were on hold only because the file could not be believed stay
    /// so.
    ///
    /// # Errors
    /// The file cannot be written; then nothing has changed.
    pub fn set(&mut self, instance: &str, is_on: bool, all: &[&str]) -> Result<(), String> {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let mut held = self.held.clone();
        if self.doubt.is_some() {
            held.extend(all.iter().map(|name| ((*name).to_owned(), now.clone())));
        }
        if is_on {
            held.entry(instance.to_owned()).or_insert(now);
        } else {
            held.remove(instance);
        }
        write(&self.path, &held)
            .map_err(|error| format!("{}: {error}; nothing has changed", self.path.display()))?;
        self.held = held;
        self.doubt = None;
        Ok(())
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let own = nix::unistd::geteuid().as_raw();
    if !metadata.is_file() || metadata.uid() != own || metadata.mode() & 0o022 != 0 {
        return Err("not a file that only root can write".into());
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| error.to_string())?;
    let page: Page = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if page.schema != SCHEMA {
        return Err(format!("of another version ({})", page.schema));
    }
    Ok(page.held)
}

/// Whole or not at all. The daemon does not wait for the disk; who has asked for it does: [`sync`].
fn write(path: &Path, held: &BTreeMap<String, String>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = path.with_extension("new");
    let page = Page { schema: SCHEMA.into(), held: held.clone() };
    let flags = OFlag::O_NOFOLLOW;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec(&page)?)?;
    fs::rename(&temporary, path)
}

/// Waits until the file is on the disk: it is to be there after a power failure.
///
/// # Errors
/// The disk's.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("glha-holds-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn file(&self) -> PathBuf {
            self.0.join("hold.json")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_hold_is_there_after_a_restart() {
        let folder = Folder::new("restart");
        let mut holds = Holds::open(folder.file());
        assert!(!holds.is_held("VI_1") && holds.doubt().is_none());
        holds.set("VI_1", true, &["VI_1", "VI_2"]).expect("written");
        sync(&folder.file()).expect("on the disk");
        let again = Holds::open(folder.file());
        assert!(again.is_held("VI_1") && !again.is_held("VI_2"));
        assert!(again.since("VI_1").is_some());
        holds.set("VI_1", false, &[]).expect("written");
        assert!(!Holds::open(folder.file()).is_held("VI_1"));
    }

    #[test]
    fn a_file_that_cannot_be_believed_holds_everything() {
        let folder = Folder::new("doubt");
        Holds::open(folder.file()).set("VI_1", true, &[]).expect("written");
        let whole = fs::read(folder.file()).expect("file");
        for length in 0..whole.len() {
            fs::write(folder.file(), &whole[..length]).expect("write");
            let holds = Holds::open(folder.file());
            assert!(holds.doubt().is_some() && holds.is_held("VI_7"), "{length} bytes");
        }
        fs::write(folder.file(), &whole).expect("write");
        fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o666)).expect("chmod");
        let mut holds = Holds::open(folder.file());
        assert!(holds.is_held("VI_2"));
        // The first one that is taken off leaves the others as they are.
        fs::remove_file(folder.file()).expect("remove");
        holds.set("VI_2", false, &["VI_1", "VI_2"]).expect("written");
        assert!(holds.is_held("VI_1") && !holds.is_held("VI_2") && !holds.is_held("VI_3"));
        assert!(Holds::open(folder.file()).is_held("VI_1"));
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let folder = Folder::new("full");
        fs::create_dir_all(&folder.0).expect("folder");
        fs::write(folder.0.join("file"), "").expect("write");
        let mut holds = Holds { path: folder.0.join("file/hold.json"), ..Holds::default() };
        assert!(holds.set("VI_1", true, &[]).is_err());
        assert!(!holds.is_held("VI_1"));
    }
}
