//! Pid files: keepalived's own, so that neither daemon starts beside the other.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::conf::daemon::Daemon;

/// Longer than any process id with its newline; what is longer is no pid file.
const PID_FILE_BYTES_MAX: u64 = 32;

/// Attempts to put a pid file in place while others remove or put theirs.
const PLACE_ATTEMPTS_MAX: u32 = 5;

/// The programs beside which this one must not start.
const DAEMONS: [&str; 2] = ["keepalived", "glha"];

/// keepalived's folder for them.
const FOLDER: &str = "/run/keepalived";

/// Where the pid files are unless `-p` and `-r` say otherwise: the parent's and the VRRP
/// process's, which in glha are one. A namespace has a folder of its own, where keepalived's are
/// to be found from outside it.
pub fn default_paths(use_pid_dir: bool, daemon: &Daemon) -> [PathBuf; 2] {
    let is_only = daemon.instance.is_none() && daemon.net_namespace.is_none();
    let mut folder = PathBuf::from(if use_pid_dir || !is_only { FOLDER } else { "/run" });
    folder.extend(&daemon.net_namespace);
    let instance = daemon.instance.iter().fold(String::new(), |_, name| format!("_{name}"));
    ["keepalived", "vrrp"].map(|name| folder.join(format!("{name}{instance}.pid")))
}

/// What a pid file says.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none.
    Nothing,
    /// A keepalived or glha is alive: its process id.
    Running(i32),
    /// This very process.
    Ours,
    /// It names no such process (any more), or no process at all.
    Stale,
}

/// A pid file of ours; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

/// Why there is no pid file of ours.
#[derive(Debug)]
pub enum Refused {
    /// A keepalived or glha is alive: its process id.
    Running(i32),
    /// The file could not be written.
    Failed(io::Error),
}

impl PidFile {
    /// Puts a pid file in place, whole at once (mode 0644, decimal, newline) and never over that
    /// of a living daemon. A stale one is replaced, and the log says so.
    ///
    /// # Errors
    ///
    /// Another daemon lives, or the file system refuses.
    pub fn create(path: &Path) -> Result<Self, Refused> {
        let pid = std::process::id();
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{pid}"));
        let new = PathBuf::from(name);
        write_new(&new, pid).map_err(Refused::Failed)?;
        // A link, unlike a rename, fails where another daemon was faster.
        let placed = place(&new, path);
        let _ = fs::remove_file(&new);
        placed.map(|()| Self { path: path.to_owned() })
    }
}

impl PidFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if look(&self.path) == Found::Ours {
            let _ = fs::remove_file(&self.path);
            // Folders in keepalived's go with their last file.
            let folders = self.path.ancestors().skip(1).take_while(|f| f.starts_with(FOLDER));
            for folder in folders {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

/// What the pid file at this path says.
pub fn look(path: &Path) -> Found {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(_) => return Found::Stale,
    };
    match text.trim().parse() {
        Ok(pid) if Ok(pid) == i32::try_from(std::process::id()) => Found::Ours,
        Ok(pid) if is_alive(pid) && is_one_of(pid, &DAEMONS) => Found::Running(pid),
        _ => Found::Stale,
    }
}

fn read(path: &Path) -> io::Result<String> {
    // Never waits, whatever was put there.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let mut text = String::new();
    file.take(PID_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn write_new(path: &Path, pid: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Of a former run with our number that was killed right here.
    let _ = fs::remove_file(path);
    let mut file = File::create_new(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    writeln!(file, "{pid}")
}

fn place(new: &Path, path: &Path) -> Result<(), Refused> {
    for _ in 0..PLACE_ATTEMPTS_MAX {
        match fs::hard_link(new, path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Refused::Failed(error)),
        }
        match look(path) {
            Found::Running(pid) => return Err(Refused::Running(pid)),
            Found::Nothing => {}
            Found::Ours | Found::Stale => {
                log::info!("Remove a zombie pid file {}", path.display());
                fs::remove_file(path).map_err(Refused::Failed)?;
            }
        }
    }
    Err(Refused::Failed(io::Error::other("others keep writing it")))
}

/// Zero and negative numbers would mean process groups: no pid file of a daemon.
fn is_alive(pid: i32) -> bool {
    pid > 0 && matches!(kill(Pid::from_raw(pid), None), Ok(()) | Err(Errno::EPERM))
}

/// Is it a living process of one of these programs? Asked by its file, which `process_name`
/// does not change; one that has ended but was not waited for has none any more.
fn is_one_of(pid: i32, programs: &[&str]) -> bool {
    let name = match fs::read_link(format!("/proc/{pid}/exe")) {
        // An upgrade has replaced the file under the running daemon.
        Ok(file) => file.file_name().map(|name| {
            let name = name.to_string_lossy().into_owned();
            name.strip_suffix(" (deleted)").map_or(name.clone(), str::to_owned)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // Not allowed to look: the name it goes by must do.
        Err(_) => fs::read_to_string(format!("/proc/{pid}/comm"))
            .ok()
            .map(|name| name.trim_end().to_owned()),
    };
    name.is_some_and(|name| programs.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::process::{Child, Command};

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("glha-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("folder");
            Self(path)
        }

        fn file(&self, text: &[u8]) -> PathBuf {
            let path = self.0.join("a.pid");
            fs::write(&path, text).expect("write");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A `sleep` under another program's name.
    struct Impostor(Child);

    impl Impostor {
        fn new(folder: &Folder, name: &str) -> Self {
            let program = folder.0.join(name);
            fs::copy("/bin/sleep", &program).expect("sleep(1)");
            // A sibling test's child may still hold the copy open for writing.
            loop {
                match Command::new(&program).arg("1000").spawn() {
                    Ok(child) => return Self(child),
                    Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    impl Drop for Impostor {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn written_readable_and_removed() {
        let folder = Folder::new("pid-written");
        let path = folder.0.join("sub/a.pid");
        let file = PidFile::create(&path).expect("created");
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("{}\n", std::process::id()));
        let metadata = fs::metadata(&path).expect("metadata");
        assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o644, 1));
        assert_eq!(look(&path), Found::Ours);
        drop(file);
        assert_eq!(look(&path), Found::Nothing);
        assert_eq!(fs::read_dir(folder.0.join("sub")).expect("folder").count(), 0);
    }

    #[test]
    fn a_living_daemon_is_left_alone() {
        for name in DAEMONS {
            let folder = Folder::new(&format!("pid-living-{name}"));
            let other = Impostor::new(&folder, name);
            let pid = other.0.id() as i32;
            let path = folder.file(format!("{pid}\n").as_bytes());
            assert_eq!(look(&path), Found::Running(pid));
            assert!(matches!(PidFile::create(&path), Err(Refused::Running(p)) if p == pid));
            assert_eq!(fs::read_to_string(&path).expect("still there"), format!("{pid}\n"));
            fs::remove_file(folder.0.join(name)).expect("as an upgrade does");
            assert_eq!(look(&path), Found::Running(pid));
        }
    }

    #[test]
    fn a_dead_daemon_that_nobody_waited_for_is_stale() {
        let folder = Folder::new("pid-zombie");
        let mut other = Impostor::new(&folder, "glha");
        let pid = other.0.id() as i32;
        let path = folder.file(format!("{pid}\n").as_bytes());
        other.0.kill().expect("kill");
        nix::sys::wait::waitid(
            nix::sys::wait::Id::Pid(Pid::from_raw(pid)),
            nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT,
        )
        .expect("ended");
        assert_eq!(look(&path), Found::Stale);
    }

    #[test]
    fn what_names_no_daemon_is_replaced() {
        let folder = Folder::new("pid-stale");
        let bystander = Impostor::new(&folder, "sleeper");
        let pid = bystander.0.id().to_string();
        let long = b"1".repeat(1000);
        let texts: [&[u8]; 9] =
            [pid.as_bytes(), b"", b"\n", b"x", b"0", b"-1", b"1 2", b"\xff\xfe", &long];
        for text in texts {
            let path = folder.file(text);
            assert_eq!(look(&path), Found::Stale, "{text:?}");
            let file = PidFile::create(&path).expect("replaced");
            assert_eq!(look(&path), Found::Ours, "{text:?}");
            drop(file);
        }
    }

    #[test]
    fn a_file_that_became_anothers_is_not_removed() {
        let folder = Folder::new("pid-other");
        let path = folder.0.join("a.pid");
        let file = PidFile::create(&path).expect("created");
        fs::write(&path, "1\n").expect("write");
        drop(file);
        assert_eq!(fs::read_to_string(&path).expect("still there"), "1\n");
    }

    #[test]
    fn a_folder_in_its_place_is_an_error() {
        let folder = Folder::new("pid-folder");
        let path = folder.0.join("a.pid");
        fs::create_dir(&path).expect("folder");
        assert!(matches!(PidFile::create(&path), Err(Refused::Failed(_))));
    }
}
