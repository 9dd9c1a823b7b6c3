//! Files in a folder where everybody may write.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::shell::host::clock;

/// Only the owner reads it.
const MODE: u32 = 0o600;
/// So many names are tried before somebody is believed to be in the way on purpose.
const NAME_ATTEMPTS_MAX: u32 = 8;

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
    let (mut file, new) = create(path)?;
    let placed = fill(&mut file, content).and_then(|()| fs::rename(&new, path));
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
