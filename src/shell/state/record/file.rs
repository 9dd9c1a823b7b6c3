//! The recorder's file: appended to, and begun anew when it is long; the one before is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::shell::host::page;
use crate::shell::state::record::Record;

/// The file is renamed when it is longer.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// After a failure it is tried again so much later.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Where the records are written. What fails is said once, and nothing else depends on it.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    failed_at: Option<Instant>,
}

impl RecordFile {
    /// The file of this name; it is opened when there is something to write.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0, failed_at: None }
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }

    fn former(&self) -> PathBuf {
        self.path.with_extension("jsonl.1")
    }

    /// The last lines that former runs have written, oldest first, each after whose it is; not more than
    /// so many bytes of them. What is no record is left out, and that is said.
    pub fn read(&self, bytes_max: u64) -> Vec<(Option<String>, String)> {
        let mut left = bytes_max;
        let mut parts = Vec::new();
        for path in [self.path.clone(), self.former()] {
            let (lines, length) = read_end(&path, left);
            left = left.saturating_sub(length);
            parts.push(lines);
        }
        parts.into_iter().rev().flatten().collect()
    }

    /// Appends a line, and waits for the disk if need be: not for the running loop. After a failure
    /// nothing is tried for a while.
    ///
    /// # Errors
    /// The first line that cannot be written, for the administrator; those after it are left out
    /// without a word.
    pub fn append(&mut self, line: &[u8]) -> Result<(), String> {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return Ok(());
        }
        let result = self.write(line);
        self.failed_at = result.is_err().then(Instant::now);
        result.map_err(|error| {
            self.file = None;
            let path = self.path.display();
            format!("{path}: {error}; what happens in the next minute is recorded in memory only")
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
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
        let whole = [line, b"\n"].concat();
        file.write_all(&whole)?;
        self.length += whole.len() as u64;
        Ok(())
    }
}

/// Opens the file for appending. A line that was cut short by a crash gets its end.
fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        page::private_folder(folder)?;
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
fn read_end(path: &Path, bytes_max: u64) -> (Vec<(Option<String>, String)>, u64) {
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
    let record = |line: &&str| {
        let record = serde_json::from_str::<Record>(line).ok();
        record.filter(|record| record.schema == super::SCHEMA)
    };
    let good = lines.iter().filter_map(|line| Some((record(line)?.instance, (*line).to_owned())));
    let good: Vec<_> = good.collect();
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
    use crate::shell::state::record::Recorder;

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

    /// What one run of the daemon records.
    fn run(folder: &Folder, details: &[&str]) -> Recorder {
        let mut recorder = Recorder::open(Some(folder.file()), None, false);
        for detail in details {
            recorder.add("node", "id".into(), Record::event("hold", Some("VI_1"), detail));
        }
        recorder.finish();
        recorder
    }

    fn details(recorder: &Recorder) -> Vec<String> {
        let detail = |line: &str| serde_json::from_str::<Record>(line).ok()?.detail;
        let entries = recorder.last(usize::MAX, Some(&["VI_1".to_owned()]));
        entries.iter().filter_map(|entry| detail(&entry.line)).collect()
    }

    #[test]
    fn the_next_run_knows_what_happened() {
        let folder = Folder::new("next");
        run(&folder, &["one", "two"]);
        assert_eq!(details(&run(&folder, &["three"])), ["one", "two", "three"]);
        assert_eq!(details(&run(&folder, &[])).len(), 3);
    }

    #[test]
    fn what_was_cut_or_overwritten_is_left_out() {
        let folder = Folder::new("cut");
        run(&folder, &["one", "two"]);
        let path = folder.file().path;
        let whole = fs::read(&path).expect("file");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("write");
            run(&folder, &["three"]);
            let read = details(&run(&folder, &[]));
            assert_eq!(read.last().map(String::as_str), Some("three"), "{length} bytes");
        }
        fs::write(&path, [&b"\xff\xfe\0garbage\n{}\n[]\n"[..], &whole].concat()).expect("write");
        assert_eq!(details(&run(&folder, &[])), ["one", "two"]);
    }

    #[test]
    fn a_long_file_is_begun_anew_and_the_one_before_is_read() {
        let folder = Folder::new("long");
        run(&folder, &["old"]);
        let line = fs::read(folder.file().path).expect("file");
        let mut file = folder.file();
        file.append(line.trim_ascii_end()).expect("written");
        file.length = FILE_BYTES_MAX + 1;
        file.append(line.trim_ascii_end()).expect("written");
        assert_eq!(fs::read_dir(folder.0.join("sub")).expect("folder").count(), 2);
        assert_eq!(details(&run(&folder, &["new"])), ["old", "old", "old", "new"]);
    }

    #[test]
    fn a_fifo_or_a_link_in_its_place_harms_nothing_and_is_said_once() {
        let folder = Folder::new("fifo");
        let path = folder.file().path;
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        assert_eq!(details(&run(&folder, &["one"])), ["one"]);
        let mut file = folder.file();
        assert!(file.append(b"one").is_err_and(|why| why.contains("not a regular file")));
        assert_eq!(file.append(b"two"), Ok(()));
    }
}
