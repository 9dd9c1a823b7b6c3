//! Tracked files: read when inotify says that they were written, moved or removed, or every second
//! where it cannot tell.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::conf::FileConf;
use crate::core::Table;
use crate::core::Time;
use crate::core::sense::number;
use crate::core::spec::FileId;

/// A number has no more bytes than this.
const FILE_BYTES_MAX: u64 = 128;
/// How often files are read that inotify does not watch.
const POLL_PAUSE: Duration = Duration::from_secs(1);
/// So many reports of inotify are taken in before the loop goes on.
const READS_PER_TURN_MAX: usize = 16;

/// All files that are tracked.
#[derive(Debug)]
pub struct FileWatch {
    inotify: Option<Inotify>,
    files: Vec<Tracked>,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    next_at: Option<Time>,
}

/// One `track_file`.
#[derive(Debug)]
struct Tracked {
    id: FileId,
    path: PathBuf,
    folder: PathBuf,
    name: OsString,
    /// What was last told.
    told: Option<i64>,
}

impl FileWatch {
    /// Nothing to watch yet.
    pub fn new() -> Self {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = Inotify::init(flags).map_err(|error| {
            log::warn!("inotify: {error}; tracked files are read every second instead");
        });
        let (files, folders) = (Vec::new(), BTreeMap::new());
        Self { inotify: inotify.ok(), files, folders, next_at: None }
    }

    /// What becomes readable when a file has changed, if there is such a thing.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Writes the files that are to have a number at the start; later only those that are missing.
    pub fn init(confs: &Table<FileId, FileConf>, is_start: bool) {
        for conf in confs {
            let Some(init) = conf.init else { continue };
            let mut options = OpenOptions::new();
            options.write(true).mode(0o644).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
            if init.overwrite && is_start {
                options.create(true).truncate(true);
            } else {
                options.create_new(true);
            }
            let written = options.open(&conf.path).and_then(|mut f| writeln!(f, "{}", init.value));
            match written {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    log::error!("init_file {}: {error}", conf.path.display());
                }
                _ => {}
            }
        }
    }

    /// Watches these from now on, and no others; all are read anew.
    pub fn configure(&mut self, confs: &Table<FileId, FileConf>, now: Time) -> Vec<(FileId, i64)> {
        if let Some(inotify) = &self.inotify {
            for watch in std::mem::take(&mut self.folders).into_values() {
                // The kernel may have taken it away itself, with its folder.
                let _ = inotify.rm_watch(watch);
            }
        }
        self.files = confs.entries().map(|(id, conf)| Tracked::new(id, conf)).collect();
        self.poll(now)
    }

    /// When [`Self::work`] wants to be called next.
    pub const fn deadline(&self) -> Option<Time> {
        self.next_at
    }

    /// Reads what may have changed; `is_ready` says that inotify has something to tell. Returns
    /// the numbers that have changed.
    #[must_use]
    pub fn work(&mut self, is_ready: bool, now: Time) -> Vec<(FileId, i64)> {
        let mut changed = Vec::new();
        if is_ready {
            changed = self.take_reports(now);
        }
        if self.next_at.is_some_and(|at| at <= now) {
            changed.extend(self.poll(now));
        }
        changed
    }

    /// What inotify has to tell. What is left over for another turn is read with everything else.
    fn take_reports(&mut self, now: Time) -> Vec<(FileId, i64)> {
        let mut changed = Vec::new();
        for _ in 0..READS_PER_TURN_MAX {
            let Some(inotify) = &self.inotify else { return changed };
            let reports = match inotify.read_events() {
                Ok(reports) => reports,
                Err(Errno::EAGAIN) => return changed,
                Err(error) => {
                    log::warn!("inotify: {error}; tracked files are read every second from now on");
                    self.inotify = None;
                    self.folders.clear();
                    break;
                }
            };
            for report in reports {
                let is_gone =
                    report.mask.intersects(AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_MOVE_SELF);
                if report.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) || is_gone {
                    self.folders.retain(|_, watch| !is_gone || *watch != report.wd);
                    changed.extend(self.poll(now));
                    continue;
                }
                let Some(folder) = self.folders.iter().find(|(_, w)| **w == report.wd) else {
                    continue;
                };
                let folder = folder.0.clone();
                changed.extend(self.read(|file| {
                    file.folder == folder && Some(&file.name) == report.name.as_ref()
                }));
            }
        }
        self.next_at = Some(now);
        changed
    }

    /// Reads every file, and tries to have each watched; those that are not are read again soon.
    fn poll(&mut self, now: Time) -> Vec<(FileId, i64)> {
        // First watch, then read: so nothing is missed between the two.
        let mut is_watched = true;
        for place in 0..self.files.len() {
            is_watched &= self.watch(place);
        }
        self.next_at = (!is_watched).then(|| now + POLL_PAUSE);
        self.read(|_| true)
    }

    /// Has the folder of a file watched. What a link points to may change elsewhere.
    fn watch(&mut self, place: usize) -> bool {
        let (Some(file), Some(inotify)) = (self.files.get(place), &self.inotify) else {
            return false;
        };
        let is_link = fs::symlink_metadata(&file.path).is_ok_and(|found| found.is_symlink());
        if !self.folders.contains_key(&file.folder) {
            let flags = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVE_SELF
                | AddWatchFlags::IN_ONLYDIR;
            let Ok(watch) = inotify.add_watch(&file.folder, flags) else { return false };
            self.folders.insert(file.folder.clone(), watch);
        }
        !is_link
    }

    fn read(&mut self, is_meant: impl Fn(&Tracked) -> bool) -> Vec<(FileId, i64)> {
        let mut changed = Vec::new();
        for file in &mut self.files {
            if !is_meant(file) {
                continue;
            }
            let value = value(&file.path);
            if file.told.replace(value) != Some(value) {
                changed.push((file.id, value));
            }
        }
        changed
    }
}

impl Default for FileWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl Tracked {
    fn new(id: FileId, conf: &FileConf) -> Self {
        let path = std::path::absolute(&conf.path).unwrap_or_else(|_| conf.path.clone());
        let folder = path.parent().unwrap_or_else(|| Path::new("/")).to_owned();
        let name = path.file_name().unwrap_or_default().to_owned();
        Self { id, path, folder, name, told: None }
    }
}

/// The number in a file; 0 if it is missing or nothing that can be read. Never waits for the other
/// end of a pipe.
fn value(path: &Path) -> i64 {
    let read = || -> io::Result<Vec<u8>> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => number(&text),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                log::warn!("{}: {error}; it counts as 0", path.display());
            }
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::FileInit;

    const NOW: Time = Time::from_millis(1000);

    /// A folder that is removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let name = format!("glha-file-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn conf(&self, name: &str) -> FileConf {
            FileConf { path: self.0.join(name), init: None }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).expect("can write");
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let folder = Folder::new("ways");
        let mut watch = FileWatch::new();
        assert_eq!(watch.configure(&vec![folder.conf("a"), folder.conf("b")].into(), NOW).len(), 2);
        assert_eq!(watch.deadline(), None, "both are watched");
        folder.write("b", "5\n");
        assert_eq!(watch.work(true, NOW), [(FileId(1), 5)]);
        folder.write("b", "-6");
        folder.write("unrelated", "7");
        assert_eq!(watch.work(true, NOW), [(FileId(1), -6)]);
        fs::rename(folder.0.join("b"), folder.0.join("a")).expect("can rename");
        let mut moved = watch.work(true, NOW);
        moved.sort_unstable();
        assert_eq!(moved, [(FileId(0), -6), (FileId(1), 0)]);
        fs::remove_file(folder.0.join("a")).expect("can remove");
        assert_eq!(watch.work(true, NOW), [(FileId(0), 0)]);
        assert_eq!(watch.work(true, NOW), []);
    }

    #[test]
    fn a_folder_that_comes_and_goes_is_polled() {
        let folder = Folder::new("later");
        let mut watch = FileWatch::new();
        assert_eq!(watch.configure(&vec![folder.conf("x/a")].into(), NOW), [(FileId(0), 0)]);
        let later = watch.deadline().expect("it polls");
        fs::create_dir(folder.0.join("x")).expect("can make it");
        folder.write("x/a", "3");
        assert_eq!(watch.work(false, NOW), []);
        assert_eq!(watch.work(false, later), [(FileId(0), 3)]);
        assert_eq!(watch.deadline(), None);
        fs::remove_dir_all(folder.0.join("x")).expect("can remove it");
        assert_eq!(watch.work(true, later), [(FileId(0), 0)]);
        assert!(watch.deadline().is_some(), "it polls again");
    }

    #[test]
    fn init_file_writes_what_is_missing() {
        let folder = Folder::new("init");
        folder.write("old", "9");
        folder.write("over", "9");
        let conf = |name: &str, overwrite| {
            let init = Some(FileInit { value: 4, overwrite });
            FileConf { init, ..folder.conf(name) }
        };
        let confs = vec![conf("new", false), conf("old", false), conf("over", true)].into();
        FileWatch::init(&confs, false);
        let values = |confs: &Table<FileId, FileConf>| {
            confs.iter().map(|conf| value(&conf.path)).collect::<Vec<_>>()
        };
        assert_eq!(values(&confs), [4, 9, 9]);
        FileWatch::init(&confs, true);
        assert_eq!(values(&confs), [4, 9, 4]);
    }

    #[test]
    fn reading_is_bounded_and_never_waits() {
        let folder = Folder::new("bound");
        folder.write("long", &format!("12 {}", "x".repeat(100_000)));
        assert_eq!(value(&folder.0.join("long")), 12);
        let pipe = folder.0.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert_eq!(value(&pipe), 0);
        assert_eq!(value(&folder.0), 0);
    }
}
