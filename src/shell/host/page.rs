//! Files and folders that only we write: what they say is believed later, by a daemon that was started
//! after a crash, and whoever else could write there would have root's rights with it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::clock;

/// Only the owner reads it.
const MODE: u32 = 0o600;
/// Others than the owner may write there.
const OTHERS_WRITE: u32 = 0o022;
/// So many names are tried before somebody is believed to be in the way on purpose.
const NAME_ATTEMPTS_MAX: u32 = 8;

/// Makes a folder that is ours alone, with those above it; one that is there has to be.
///
/// # Errors
/// The file system's; or the folder is another user's, or others may write to it.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    trust_folder(folder)
}

/// Is this folder ours alone, or not there?
///
/// # Errors
/// As [`private_folder`], but for one that is not there.
pub fn trust_folder(folder: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let path = folder.display();
    let refused = |why: String| Err(io::Error::other(why));
    if !found.is_dir() {
        return refused(format!("{path} is no folder (a link is not followed); remove it"));
    }
    if !is_own(found.uid()) {
        return refused(format!(
            "{path} belongs to user {}, who could write there what is believed later; `chown root \
             {path}` if you know how that came, or remove it",
            found.uid()
        ));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return refused(format!(
            "others may write to {path} (mode {:o}), and what is there is believed later; `chmod \
             go-w {path}`",
            found.mode() & 0o7777
        ));
    }
    Ok(())
}

fn is_own(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Reads a file that we have written before; none if there is none. Never waits.
///
/// # Errors
/// It is not a plain file that only we can write, it is longer than `bytes_max`, or cannot be read.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() || !is_own(found.uid()) || found.mode() & OTHERS_WRITE != 0 {
        return Err(io::Error::other("not a file that only root can write: not believed"));
    }
    if found.len() > bytes_max {
        return Err(io::Error::other("too long to be ours"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Puts a file in place, whole or not at all; readers of the former one keep it.
///
/// It is closed last, under its final name: programs that ask for a dump wait with inotify(7) until
/// a file of that name is closed, since keepalived opens it there and then writes.
///
/// Whatever stands at `path`, be it somebody's link to a file of ours, is replaced and never
/// opened.
///
/// # Errors
/// The file system's. A folder at `path` is not replaced.
pub fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    put_with(path, content, |_| Ok(()))
}

/// The same, and waits until it is on the disk, to be there after a power failure as well. Not for the
/// running loop.
///
/// # Errors
/// As [`put`].
pub fn put_on_disk(path: &Path, content: &[u8]) -> io::Result<()> {
    put_with(path, content, |file| file.sync_all())?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn put_with(
    path: &Path,
    content: &[u8],
    finish: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let (mut file, new) = create(path)?;
    let filled = fill(&mut file, content).and_then(|()| finish(&file));
    let placed = filled.and_then(|()| fs::rename(&new, path));
    if placed.is_err() {
        let _ = fs::remove_file(&new);
    }
    placed
}

/// A file beside `path` that nobody else has.
fn create(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut attempts = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.{}", std::process::id(), clock::now().as_nanos()));
        let new = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&new);
        attempts += 1;
        match file {
            Ok(file) => return Ok((file, new)),
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && attempts < NAME_ATTEMPTS_MAX => {
            }
            Err(error) => return Err(error),
        }
    }
}

fn fill(file: &mut File, content: &[u8]) -> io::Result<()> {
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    use std::os::unix::fs::{MetadataExt, symlink};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("glha-{name}-{}", std::process::id()));
            fs::create_dir(&path).expect("a folder of our own");
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let all = fs::read_dir(&self.0).expect("folder");
            let name = |e: io::Result<fs::DirEntry>| e.expect("entry").file_name().into_string();
            all.map(|e| name(e).expect("text")).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_is_the_owners_and_alone() {
        let folder = Folder::new("dump-new");
        let path = folder.0.join("keepalived.data");
        put(&path, b"one, and longer\n").expect("put");
        put(&path, b"two\n").expect("put again");
        assert_eq!(fs::read(&path).expect("read"), b"two\n");
        assert_eq!(fs::metadata(&path).expect("metadata").mode() & 0o7777, 0o600);
        assert_eq!(folder.names(), ["keepalived.data"]);
    }

    /// What happens to the name in that folder while it is put there, as inotify(7) tells it.
    fn events(folder: &Folder, name: &str) -> Vec<AddWatchFlags> {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).expect("inotify");
        let wanted = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_DELETE;
        watch.add_watch(&folder.0, wanted).expect("watch");
        put(&folder.0.join(name), b"ours").expect("put");
        let all = watch.read_events().expect("events");
        all.into_iter().filter(|e| e.name == Some(name.into())).map(|e| e.mask).collect()
    }

    #[test]
    fn it_is_closed_under_its_own_name_once_it_is_whole() {
        let folder = Folder::new("dump-close");
        for name in ["keepalived.json", "keepalived.data", "keepalived.json"] {
            assert_eq!(
                events(&folder, name),
                [AddWatchFlags::IN_MOVED_TO, AddWatchFlags::IN_CLOSE_WRITE],
                "{name}"
            );
        }
    }

    #[test]
    fn a_planted_link_leads_nowhere() {
        let folder = Folder::new("dump-link");
        let victim = folder.0.join("shadow");
        fs::write(&victim, "precious").expect("write");
        fs::set_permissions(&victim, Permissions::from_mode(0o644)).expect("mode");
        let path = folder.0.join("keepalived.data");
        symlink(&victim, &path).expect("symlink");
        put(&path, b"ours").expect("put");
        assert_eq!(fs::read(&victim).expect("read"), b"precious");
        assert_eq!(fs::metadata(&victim).expect("metadata").mode() & 0o7777, 0o644);
        assert!(fs::symlink_metadata(&path).expect("metadata").is_file());
        fs::remove_file(&path).expect("remove");
        fs::hard_link(&victim, &path).expect("link");
        put(&path, b"ours").expect("put");
        assert_eq!(fs::read(&victim).expect("read"), b"precious");
    }

    #[test]
    fn a_pipe_in_its_place_is_replaced_without_waiting() {
        let folder = Folder::new("dump-pipe");
        let path = folder.0.join("keepalived.data");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        put(&path, b"ours").expect("put");
        assert_eq!(fs::read(&path).expect("read"), b"ours");
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let folder = Folder::new("dump-folder");
        let path = folder.0.join("keepalived.data");
        fs::create_dir(&path).expect("folder");
        assert!(put(&path, b"ours").is_err());
        assert_eq!(folder.names(), ["keepalived.data"]);
        assert!(put(&folder.0.join("no/such"), b"ours").is_err());
    }
}
