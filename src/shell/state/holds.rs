//! Which instances are on hold: one small file that outlives the daemon and the machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::core::Time;
use crate::shell::host::page;

const SCHEMA: &str = "glha.hold/1";
/// No file of ours is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// When the file could not be written, it is tried again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The instances on hold, by name, and since when.
///
/// They count at once. The file follows as soon as the disk lets it, written by a process that the
/// daemon does not wait for.
#[derive(Debug, Default)]
pub struct Holds {
    path: PathBuf,
    held: BTreeMap<String, String>,
    /// Why the file cannot be believed. Until it is written anew, every instance is on hold: a
    /// person may be at work on the storage.
    doubt: Option<String>,
    /// Counts the changes.
    wanted: u64,
    /// As many of them are on the disk.
    written: u64,
    /// So many will be, when the process that writes them has ended.
    writing: Option<u64>,
    /// The last attempt has failed: why, and when there is another one.
    failure: Option<(String, Time)>,
}

/// The file as it is to be, for a process that may wait for the disk.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    held: BTreeMap<String, String>,
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
            Ok(held) => Self { path, held, ..Self::default() },
            Err(why) => {
                let doubt = Some(format!("{}: {why}", path.display()));
                Self { path, doubt, ..Self::default() }
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

    /// Puts an instance on hold or takes it off. `all` are the instances there are: those that were
    /// on hold only because the file could not be believed stay so. Returns the number of the change,
    /// for [`Self::is_written`].
    pub fn set(&mut self, instance: &str, is_on: bool, all: &[&str]) -> u64 {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        if self.doubt.take().is_some() {
            self.held.extend(all.iter().map(|name| ((*name).to_owned(), now.clone())));
        }
        if is_on {
            self.held.entry(instance.to_owned()).or_insert(now);
        } else {
            self.held.remove(instance);
        }
        self.wanted += 1;
        self.failure = None;
        self.wanted
    }

    /// What is to be written now, if something is. [`Self::ended`] has to follow.
    pub fn draft(&mut self, now: Time) -> Option<Draft> {
        let may_begin = self.failure.as_ref().is_none_or(|(_, again_at)| *again_at <= now);
        if self.wanted == self.written || self.writing.is_some() || !may_begin {
            return None;
        }
        self.writing = Some(self.wanted);
        Some(Draft { path: self.path.clone(), held: self.held.clone() })
    }

    /// A draft was written, or why it could not be.
    pub fn ended(&mut self, result: Result<(), String>, now: Time) {
        let Some(change) = self.writing.take() else { return };
        match result {
            Ok(()) => (self.written, self.failure) = (change, None),
            Err(why) => {
                let text = format!("{}: {why}", self.path.display());
                log::error!("{text}; holds as they are now may be lost with a restart");
                self.failure = Some((text, now + RETRY_AFTER));
            }
        }
    }

    /// Is this change on the disk?
    pub const fn is_written(&self, change: u64) -> bool {
        self.written >= change
    }

    /// Why the last attempt has failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|(why, _)| why.as_str())
    }

    /// When it is tried again.
    pub fn deadline(&self) -> Option<Time> {
        self.failure.as_ref().filter(|_| self.writing.is_none()).map(|(_, again_at)| *again_at)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = page::read(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let Some(text) = text else { return Ok(BTreeMap::new()) };
    let page: Page = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if page.schema != SCHEMA {
        return Err(format!("of another version ({})", page.schema));
    }
    Ok(page.held)
}

impl Draft {
    /// Writes the file, whole or not at all, and waits until it is on the disk: it is to be there after
    /// a power failure. Not for the running loop.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        page::private_folder(folder)?;
        // One at a time, also of a former daemon whose last one still waits for the disk: the file
        // must end as it was wanted last.
        let place = File::open(folder)?;
        let _place = Flock::lock(place, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let page = Page { schema: SCHEMA.into(), held: self.held.clone() };
        page::put_on_disk(&self.path, &serde_json::to_vec(&page)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
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

    const NOW: Time = Time::from_millis(1000);

    /// What the daemon and its helper do together.
    fn write(holds: &mut Holds) -> Result<(), String> {
        let result = holds.draft(NOW).expect("a draft").write().map_err(|error| error.to_string());
        holds.ended(result.clone(), NOW);
        result
    }

    #[test]
    fn a_hold_is_there_after_a_restart() {
        let folder = Folder::new("restart");
        let mut holds = Holds::open(folder.file());
        assert!(!holds.is_held("VI_1") && holds.doubt().is_none());
        assert!(holds.draft(NOW).is_none());
        let change = holds.set("VI_1", true, &["VI_1", "VI_2"]);
        assert!(holds.is_held("VI_1") && !holds.is_written(change));
        write(&mut holds).expect("written");
        assert!(holds.is_written(change));
        let again = Holds::open(folder.file());
        assert!(again.is_held("VI_1") && !again.is_held("VI_2"));
        assert!(again.since("VI_1").is_some());
        holds.set("VI_1", false, &[]);
        write(&mut holds).expect("written");
        assert!(!Holds::open(folder.file()).is_held("VI_1"));
    }

    #[test]
    fn what_changes_while_it_is_written_is_written_next() {
        let folder = Folder::new("next");
        let mut holds = Holds::open(folder.file());
        let one = holds.set("VI_1", true, &[]);
        let draft = holds.draft(NOW).expect("a draft");
        let two = holds.set("VI_2", true, &[]);
        assert!(holds.draft(NOW).is_none(), "one at a time");
        holds.ended(draft.write().map_err(|error| error.to_string()), NOW);
        assert!(holds.is_written(one) && !holds.is_written(two));
        write(&mut holds).expect("written");
        assert!(holds.is_written(two) && holds.draft(NOW).is_none());
        assert!(Holds::open(folder.file()).is_held("VI_2"));
    }

    #[test]
    fn a_file_that_cannot_be_believed_holds_everything() {
        let folder = Folder::new("doubt");
        let mut holds = Holds::open(folder.file());
        holds.set("VI_1", true, &[]);
        write(&mut holds).expect("written");
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
        holds.set("VI_2", false, &["VI_1", "VI_2"]);
        write(&mut holds).expect("written");
        assert!(holds.is_held("VI_1") && !holds.is_held("VI_2") && !holds.is_held("VI_3"));
        assert!(Holds::open(folder.file()).is_held("VI_1"));
    }

    #[test]
    fn what_cannot_be_written_counts_and_is_tried_again() {
        let folder = Folder::new("full");
        fs::create_dir_all(&folder.0).expect("folder");
        fs::write(folder.0.join("file"), "").expect("write");
        let mut holds = Holds { path: folder.0.join("file/hold.json"), ..Holds::default() };
        let change = holds.set("VI_1", true, &[]);
        assert!(write(&mut holds).is_err());
        assert!(holds.is_held("VI_1") && !holds.is_written(change) && holds.failure().is_some());
        assert!(holds.draft(NOW).is_none(), "not at once");
        fs::remove_file(folder.0.join("file")).expect("remove");
        let later = holds.deadline().expect("a deadline");
        holds.draft(later).expect("a draft").write().expect("written");
        holds.ended(Ok(()), later);
        assert!(holds.is_written(change) && holds.failure().is_none());
        assert_eq!(holds.deadline(), None);
    }
}
