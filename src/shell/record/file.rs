//! The recorder's file: appended to, and begun anew when it is long; the one before is kept.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::shell::record::Record;

/// The file is renamed when it is longer.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// So much of the end of what former runs have written is read.
const READ_BYTES_MAX: u64 = 1 << 20;
/// So much waits to be written; what comes then is only kept in memory.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// After a failure it is tried again so much later.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// So much is written in one turn of the loop.
const TURN_BYTES_MAX: usize = 128 << 10;

/// Where the records are written. What fails is said once, and nothing else depends on it.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    waiting: Vec<u8>,
    dropped: u64,
    failed_at: Option<Instant>,
}

impl RecordFile {
    /// The file of this name; it is opened when there is something to write.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0, waiting: Vec::new(), dropped: 0, failed_at: None }
    }

    fn former(&self) -> PathBuf {
        self.path.with_extension("jsonl.1")
    }

    /// The last lines that former runs have written, oldest first. What is no record is left out,
    /// and that is said.
    pub fn read(&self) -> Vec<String> {
        let mut left = READ_BYTES_MAX;
        let mut parts = Vec::new();
        for path in [self.path.clone(), self.former()] {
            let (lines, length) = read_end(&path, left);
            left = left.saturating_sub(length);
            parts.push(lines);
        }
        parts.into_iter().rev().flatten().collect()
    }

    /// Puts a line in the line of those to be written.
    pub fn push(&mut self, line: &str) {
        if self.waiting.len() + line.len() >= WAITING_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.waiting.extend_from_slice(line.as_bytes());
        self.waiting.push(b'\n');
    }

    /// Is anything left that can be written?
    pub const fn has_more(&self) -> bool {
        !self.waiting.is_empty() && self.failed_at.is_none()
    }

    /// Writes what waits, as much as fits into one turn. It goes to the page cache and is not waited
    /// for. After a failure nothing is tried for a while.
    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return self.waiting.clear();
        }
        let result = self.write();
        self.failed_at = result.is_err().then(Instant::now);
        if let Err(error) = result {
            self.file = None;
            self.waiting = Vec::new();
            log::error!(
                "{}: {error}; what happens in the next minute is recorded in memory only",
                self.path.display()
            );
        }
        if self.dropped > 0 {
            log::warn!("{} records were too many to be written", std::mem::take(&mut self.dropped));
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.length > FILE_BYTES_MAX {
            self.file = None;
            fs::rename(&self.path, self.former())?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let (file, length) = open(&self.path)?;
                self.length = length;
                self.file.insert(file)
            }
        };
        let wanted = self.waiting.len().min(TURN_BYTES_MAX);
        let part = self.waiting.get(..wanted).unwrap_or_default();
        let written = match file.write(part) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        self.length += written as u64;
        self.waiting.drain(..written);
        Ok(())
    }
}

/// Opens the file for appending. A line that was cut short by a crash gets its end.
fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut length = metadata.len();
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            length += 1;
        }
    }
    Ok((file, length))
}

/// The records at the end of a file, and how long the file is as far as that counts.
fn read_end(path: &Path, bytes_max: u64) -> (Vec<String>, u64) {
    let (bytes, is_whole) = match read_bytes(path, bytes_max) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Vec::new(), 0),
        Err(error) => {
            log::warn!("{}: {error}; what it says is left out", path.display());
            return (Vec::new(), 0);
        }
    };
    let length = bytes.len() as u64;
    let text = String::from_utf8_lossy(&bytes);
    let skipped = usize::from(!is_whole);
    let lines: Vec<&str> = text.split('\n').skip(skipped).filter(|line| !line.is_empty()).collect();
    let is_record = |line: &&&str| {
        serde_json::from_str::<Record>(line).is_ok_and(|record| record.schema == super::SCHEMA)
    };
    let good: Vec<String> = lines.iter().filter(is_record).map(|line| (*line).to_owned()).collect();
    let bad = lines.len() - good.len();
    if bad > 0 {
        log::warn!("{}: {bad} lines are no records and are left out", path.display());
    }
    (good, length)
}

/// The end of a file, and whether that is all of it.
fn read_bytes(path: &Path, bytes_max: u64) -> io::Result<(Vec<u8>, bool)> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let skipped = metadata.len().saturating_sub(bytes_max);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok((bytes, skipped == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::record::Recorder;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("glha-record-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn file(&self) -> RecordFile {
            RecordFile::new(self.0.join("sub/events.jsonl"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn record(recorder: &mut Recorder, detail: &str) {
        recorder.add("node", "id".into(), Record::event("hold", Some("VI_1"), detail));
        recorder.flush();
    }

    fn details(recorder: &Recorder) -> Vec<String> {
        let detail = |line: &str| serde_json::from_str::<Record>(line).ok()?.detail;
        let entries = recorder.last(usize::MAX, Some(&["VI_1".to_owned()]));
        entries.iter().filter_map(|entry| detail(&entry.line)).collect()
    }

    #[test]
    fn the_next_run_knows_what_happened() {
        let folder = Folder::new("next");
        let mut first = Recorder::open(Some(folder.file()), false);
        record(&mut first, "one");
        record(&mut first, "two");
        let mut second = Recorder::open(Some(folder.file()), false);
        record(&mut second, "three");
        assert_eq!(details(&second), ["one", "two", "three"]);
        assert_eq!(details(&Recorder::open(Some(folder.file()), false)).len(), 3);
    }

    #[test]
    fn what_was_cut_or_overwritten_is_left_out() {
        let folder = Folder::new("cut");
        let mut recorder = Recorder::open(Some(folder.file()), false);
        record(&mut recorder, "one");
        record(&mut recorder, "two");
        let path = folder.file().path;
        let whole = fs::read(&path).expect("file");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("write");
            let mut again = Recorder::open(Some(folder.file()), false);
            record(&mut again, "three");
            let read = details(&Recorder::open(Some(folder.file()), false));
            assert_eq!(read.last().map(String::as_str), Some("three"), "{length} bytes");
        }
        fs::write(&path, [&b"\xff\xfe\0garbage\n{}\n[]\n"[..], &whole].concat()).expect("write");
        assert_eq!(details(&Recorder::open(Some(folder.file()), false)), ["one", "two"]);
    }

    #[test]
    fn a_long_file_is_begun_anew_and_the_one_before_is_read() {
        let folder = Folder::new("long");
        let mut recorder = Recorder::open(Some(folder.file()), false);
        record(&mut recorder, "old");
        if let Some(file) = &mut recorder.file {
            file.length = FILE_BYTES_MAX + 1;
        }
        record(&mut recorder, "new");
        assert_eq!(fs::read_dir(folder.0.join("sub")).expect("folder").count(), 2);
        assert_eq!(details(&Recorder::open(Some(folder.file()), false)), ["old", "new"]);
    }

    #[test]
    fn a_fifo_or_a_link_in_its_place_harms_nothing() {
        let folder = Folder::new("fifo");
        let path = folder.file().path;
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        let mut recorder = Recorder::open(Some(folder.file()), false);
        record(&mut recorder, "one");
        assert_eq!(details(&recorder), ["one"]);
        assert!(!recorder.is_urgent());
    }

    #[test]
    fn what_waits_is_bounded() {
        let folder = Folder::new("wait");
        let mut file = folder.file();
        let line = "x".repeat(1000);
        (0..10_000).for_each(|_| file.push(&line));
        assert!(file.waiting.len() <= WAITING_BYTES_MAX && file.dropped > 0);
        while file.has_more() {
            file.flush();
        }
        assert!(file.failed_at.is_none());
    }
}
