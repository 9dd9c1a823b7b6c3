//! Notify FIFOs: a line for each event, for whoever reads; never waited for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::conf::Rights;
use crate::conf::daemon::Fifo;
use crate::core::Time;

/// How long the scripts may read on when everything is said, before they are ended.
const LAST_LINES_MAX: Duration = Duration::from_secs(2);
/// keepalived's, which a configured umask narrows.
const MODE: u32 = 0o644;
/// keepalived's own umask: others neither hear nor take lines unless somebody says so.
const UMASK: u32 = 0o177;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A VRRP instance.
    Instance,
    /// A sync group; its priority is always 0.
    Group,
}

/// One line, as keepalived writes it: `INSTANCE "VI_1" MASTER 100`.
pub fn line(subject: Subject, name: &str, event: &str, priority: u8) -> String {
    let subject = match subject {
        Subject::Instance => "INSTANCE",
        Subject::Group => "GROUP",
    };
    format!("{subject} \"{name}\" {event} {priority}\n")
}

/// All notify FIFOs of the configuration.
#[derive(Debug, Default)]
pub struct Fifos {
    open: Vec<Open>,
    /// Set once everything is said.
    scripts_end_at: Option<Time>,
    is_closed: bool,
}

/// One FIFO; without a file where it could not be opened.
#[derive(Debug)]
struct Open {
    conf: Fifo,
    file: Option<File>,
    /// We have made it, so it goes with us.
    is_ours: bool,
    lost_count: u64,
}

impl Fifos {
    /// Goes over to these FIFOs. Those that stay the same keep their lines and their readers.
    /// `umask` is the configured one. Returns the keywords of those whose script is the same.
    pub fn configure(&mut self, fifos: &[Fifo], umask: Option<u32>) -> Vec<&'static str> {
        let mut old = std::mem::take(&mut self.open);
        let mut same = Vec::new();
        for conf in fifos {
            let kept = old.iter().position(|open| open.conf.path == conf.path);
            let kept = kept.map(|place| old.remove(place)).filter(|open| open.file.is_some());
            let is_same = |open: &Open| {
                (open.conf.keyword, &open.conf.script) == (conf.keyword, &conf.script)
            };
            same.extend(kept.as_ref().is_some_and(is_same).then_some(conf.keyword));
            self.open.push(match kept {
                Some(open) => Open { conf: conf.clone(), ..open },
                None => Open::new(conf, umask),
            });
        }
        old.iter_mut().for_each(Open::close);
        same
    }

    /// Writes a line to each; where there is no room it is lost, and counted.
    pub fn write(&mut self, line: &str) {
        self.open.iter_mut().for_each(|open| open.write(line));
    }

    /// Everything is said: readers see the end of the file after the last line.
    pub fn close(&mut self, now: Time) {
        if !self.is_closed {
            self.is_closed = true;
            self.scripts_end_at = (!self.open.is_empty()).then_some(now + LAST_LINES_MAX);
            self.open.iter_mut().for_each(Open::close);
        }
    }

    /// When what still reads is to be ended.
    pub const fn deadline(&self) -> Option<Time> {
        self.scripts_end_at
    }

    /// Is it time to end what still reads? Once.
    pub fn is_due(&mut self, now: Time) -> bool {
        self.scripts_end_at.take_if(|at| *at <= now).is_some()
    }

    /// Can this one be read?
    pub fn is_open(&self, place: usize) -> bool {
        self.open.get(place).is_some_and(|open| open.file.is_some())
    }
}

impl Open {
    fn new(conf: &Fifo, umask: Option<u32>) -> Self {
        let (file, is_ours) = match open(conf, umask) {
            Ok((file, is_ours)) => (Some(file), is_ours),
            Err(why) => {
                let Fifo { keyword, path, .. } = conf;
                log::error!("{keyword} {}: {why}; nothing is written there", path.display());
                (None, false)
            }
        };
        Self { conf: conf.clone(), file, is_ours, lost_count: 0 }
    }

    fn write(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        // Not longer than PIPE_BUF, so a pipe takes it whole or not at all.
        match file.write(line.as_bytes()) {
            Ok(_) if self.lost_count > 0 => {
                let (path, count) =
                    (self.conf.path.display(), std::mem::take(&mut self.lost_count));
                log::warn!("{path}: is read again; {count} lines were lost");
            }
            Ok(_) => {}
            Err(error) => {
                self.lost_count += 1;
                if self.lost_count == 1 {
                    let (path, line) = (self.conf.path.display(), line.trim_end());
                    log::warn!("{path}: {error}: nobody reads; lost '{line}' and what follows");
                }
            }
        }
    }

    fn close(&mut self) {
        if self.file.take().is_some() && self.lost_count > 0 {
            log::warn!("{}: {} lines were lost", self.conf.path.display(), self.lost_count);
        }
        if std::mem::take(&mut self.is_ours) {
            let _ = fs::remove_file(&self.conf.path);
        }
    }
}

/// Makes the FIFO, unless there is one, and opens it. For reading too: so it does not wait for a
/// reader, and lines wait for one that comes later.
fn open(conf: &Fifo, umask: Option<u32>) -> Result<(File, bool), String> {
    let path = &conf.path;
    let told = |error: io::Error| error.to_string();
    let is_ours = match mkfifo(path, Mode::from_bits_truncate(0o600)) {
        Ok(()) => true,
        Err(nix::errno::Errno::EEXIST) => false,
        Err(error) => return Err(format!("cannot be made: {error}")),
    };
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(told)?;
    if !file.metadata().map_err(told)?.file_type().is_fifo() {
        return Err("is there, and is no FIFO".into());
    }
    if is_ours {
        match &conf.owner_rights {
            Rights::Own => {}
            Rights::Of(ids) => chown(path, Some(ids.uid), Some(ids.gid)).map_err(told)?,
            Rights::Unknown(why) => return Err(why.clone()),
        }
        let mode = MODE & !umask.unwrap_or(UMASK);
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(told)?;
    }
    Ok((file, is_ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("glha-{name}-{}", std::process::id()));
            fs::create_dir(&path).expect("a folder of our own");
            Self(path)
        }

        fn fifo(&self, name: &str) -> Fifo {
            let path = self.0.join(name);
            Fifo {
                keyword: "notify_fifo",
                path,
                owner: None,
                owner_rights: Rights::Own,
                script: None,
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn reader(fifo: &Fifo) -> File {
        let flags = OFlag::O_NONBLOCK.bits();
        OpenOptions::new().read(true).custom_flags(flags).open(&fifo.path).expect("open")
    }

    const NOW: Time = Time::from_nanos(1);

    #[test]
    fn lines_wait_for_a_reader_and_then_end() {
        let folder = Folder::new("fifo-lines");
        let (one, two) = (folder.fifo("one"), folder.fifo("two"));
        mkfifo(&two.path, Mode::from_bits_truncate(0o640)).expect("mkfifo");
        let mut fifos = Fifos::default();
        assert!(fifos.configure(&[one.clone(), two.clone()], None).is_empty());
        let mode = |fifo: &Fifo| fs::metadata(&fifo.path).expect("there").mode() & 0o7777;
        assert_eq!((mode(&one), mode(&two)), (0o600, 0o640));
        fifos.write(&line(Subject::Instance, "VI_1", "MASTER", 100));
        fifos.write(&line(Subject::Group, "G", "BACKUP", 0));
        let mut readers = [reader(&one), reader(&two)];
        // The same ones again: nothing is lost by a reload.
        assert_eq!(fifos.configure(&[one.clone(), two.clone()], None), ["notify_fifo"; 2]);
        fifos.close(NOW);
        for reader in &mut readers {
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("the end of the file");
            assert_eq!(text, "INSTANCE \"VI_1\" MASTER 100\nGROUP \"G\" BACKUP 0\n");
        }
        assert!(!one.path.exists(), "ours");
        assert!(two.path.exists(), "somebody else's");
        assert!(fifos.deadline().is_some() && !fifos.is_due(NOW));
        assert!(fifos.is_due(NOW + LAST_LINES_MAX) && !fifos.is_due(NOW + LAST_LINES_MAX));
    }

    #[test]
    fn a_full_one_loses_lines_and_does_not_wait() {
        let folder = Folder::new("fifo-full");
        let one = folder.fifo("one");
        let mut fifos = Fifos::default();
        fifos.configure(std::slice::from_ref(&one), Some(0o022));
        assert_eq!(fs::metadata(&one.path).expect("there").mode() & 0o7777, 0o644);
        let text = line(Subject::Instance, "VI_1", "MASTER", 100);
        while fifos.open[0].lost_count < 10 {
            fifos.write(&text);
        }
        let mut bytes = vec![0; 1 << 20];
        let length = reader(&one).read(&mut bytes).expect("read");
        assert_eq!(length % text.len(), 0, "lines are whole");
        fifos.write(&text);
        assert_eq!(fifos.open[0].lost_count, 0);
    }

    #[test]
    fn what_is_no_fifo_is_left_alone() {
        let folder = Folder::new("fifo-file");
        let (one, link) = (folder.fifo("one"), folder.fifo("link"));
        fs::write(&one.path, "precious").expect("write");
        std::os::unix::fs::symlink(&one.path, &link.path).expect("link");
        let mut fifos = Fifos::default();
        fifos.configure(&[one.clone(), link, folder.fifo("no/such")], None);
        assert!((0..3).all(|place| !fifos.is_open(place)));
        fifos.write("a line\n");
        fifos.close(NOW);
        assert_eq!(fs::read(&one.path).expect("read"), b"precious");
    }
}
