//! What `glha adopt` needs of this host: scripts are read, disks are looked at, and what was planned is
//! written and taken away again. No script is run.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;

use super::load;
use super::storage::{mmp_wait, output};
use crate::adopt::manifest::{self, Entry};
use crate::adopt::{Disk, Facts, MISSING, New, Plan, Reach, plan};
use crate::conf::Context;

/// A larger file is neither a configuration nor a script.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// So much of a program shows that it is one.
const HEAD_BYTES: usize = 4096;
/// A device that has not answered by then is taken for one that cannot be looked at.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Of what is written anew.
const MODE: u32 = 0o644;

/// Makes the plan for a configuration, by an absolute path.
///
/// # Errors
///
/// Why there is none, for a person.
pub fn look(path: &Path, context: &Context) -> Result<Plan, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let loaded = load::parse(path, context).map_err(told)?;
    let mut read = |path: &Path| read(path);
    let mut disk = |device: &str| disk(device);
    let fstab = fs::read_to_string("/etc/fstab").unwrap_or_default();
    let mut reach = Reach { read: &mut read, disk: &mut disk, fstab };
    plan(path, &loaded, &mut reach).map_err(|why| format!("{}: {why}", path.display()))
}

/// Reads a file that may be a script. Of a program only the beginning.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Never waits, whatever lies there.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let open = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = open.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => MISSING.to_owned(),
        _ => error.to_string(),
    })?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let mut rest = file.take(FILE_BYTES_MAX + 1);
    rest.by_ref()
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.contains(&0) {
        return Ok(bytes);
    }
    rest.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes: hardly a script"));
    }
    Ok(bytes)
}

/// Looks at a device, without changing anything on it.
fn disk(device: &str) -> Disk {
    let path = match device.split_once('=') {
        Some(("UUID", id)) => format!("/dev/disk/by-uuid/{id}"),
        Some(("LABEL", id)) => format!("/dev/disk/by-label/{id}"),
        Some(("PARTUUID", id)) => format!("/dev/disk/by-partuuid/{id}"),
        Some(("PARTLABEL", id)) => format!("/dev/disk/by-partlabel/{id}"),
        _ => device.to_owned(),
    };
    let is_block = fs::metadata(&path).is_ok_and(|meta| meta.file_type().is_block_device());
    // Who cannot open it cannot say what is on it.
    if !is_block || fs::File::open(&path).is_err() {
        return Disk::Unseen;
    }
    let kind = output("blkid", &["-p", "-o", "value", "-s", "TYPE", &path], LOOK_TIMEOUT);
    let kind =
        kind.ok().flatten().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let mmp = if kind.as_deref() == Some("ext4") { mmp_wait(&path) } else { None };
    // Reading the registered keys reserves nothing.
    let asks =
        [("sg_persist", ["-n", "-i", "-k", &path]), ("mpathpersist", ["-n", "-i", "-k", &path])];
    let reserves = asks.iter().any(|(program, arguments)| {
        matches!(output(program, arguments, LOOK_TIMEOUT), Ok(Some(_)))
    });
    Disk::Seen(Facts { kind, mmp, reserves })
}

/// Where the list of what was written is, for a configuration.
fn list_of(path: &Path) -> PathBuf {
    path.with_file_name(manifest::NAME)
}

fn entries(list: &Path) -> Result<Vec<Entry>, String> {
    let shown = list.display();
    match fs::read_to_string(list) {
        Ok(text) => manifest::parse(&text).map_err(|line| {
            format!("{shown}:{line}: this is no list of what glha adopt has written")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// Writes what was planned for the configuration at `path`: all of it or nothing. What is there already,
/// and the same, stays.
///
/// # Errors
///
/// Which file differs, or cannot be written.
pub fn write(path: &Path, plan: &Plan) -> Result<(), String> {
    let mut differ: Vec<String> = Vec::new();
    let mut missing: Vec<&New> = Vec::new();
    for new in &plan.files {
        match fs::symlink_metadata(&new.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(new),
            Ok(meta) if meta.is_file() && read(&new.path).is_ok_and(|bytes| bytes == new.bytes) => {
            }
            _ => differ.push(new.path.display().to_string()),
        }
    }
    if !differ.is_empty() {
        return Err(format!(
            "{}: something else is there already, and nothing was written; move it away, or take back what \
             an earlier --write has written (--undo)",
            differ.join(", ")
        ));
    }
    let list = list_of(path);
    let mut all = entries(&list)?;
    all.retain(|entry| plan.files.iter().all(|new| new.path != entry.path));
    let entry = |new: &New| Entry { path: new.path.clone(), sum: manifest::sum(&new.bytes) };
    all.extend(plan.files.iter().map(entry));
    let mut made: Vec<&Path> = Vec::new();
    let mut result = Ok(());
    for new in missing {
        made.push(&new.path);
        result = make(new).map_err(|error| format!("{}: {error}", new.path.display()));
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| {
        replace(&list, &manifest::render(&all))
            .map_err(|error| format!("{}: {error}", list.display()))
    });
    if result.is_err() {
        for path in made {
            let _ = fs::remove_file(path);
        }
    }
    result
}

/// Writes a file that is not there, with the owner and the mode of the one it is made from.
fn make(new: &New) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new.path)?;
    file.write_all(&new.bytes)?;
    let like = new.like.as_ref().map(fs::metadata).transpose()?;
    if let Some(like) = &like {
        // Only root can give a file away; who is not keeps it.
        let _ = std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()));
    }
    let mode = like.map_or(MODE, |like| like.permissions().mode() & 0o777);
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Writes a file, whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// What was taken away, and what was not.
#[derive(Debug, Default)]
pub struct Undone {
    /// These are gone now.
    pub removed: Vec<PathBuf>,
    /// These were edited since, or are no files any more, and stay.
    pub kept: Vec<PathBuf>,
}

/// Takes away what [`write`] has written for the configuration at `path`.
///
/// # Errors
///
/// Nothing was written, or it cannot be taken away.
pub fn undo(path: &Path) -> Result<Undone, String> {
    let list = list_of(path);
    if !list.exists() {
        return Err(format!("{}: there is no such list, so nothing was written", list.display()));
    }
    let mut out = Undone::default();
    let mut rest = Vec::new();
    for entry in entries(&list)? {
        match fs::symlink_metadata(&entry.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(meta)
                if meta.is_file()
                    && read(&entry.path).is_ok_and(|b| manifest::sum(&b) == entry.sum) =>
            {
                fs::remove_file(&entry.path)
                    .map_err(|error| format!("{}: {error}", entry.path.display()))?;
                out.removed.push(entry.path);
            }
            _ => {
                out.kept.push(entry.path.clone());
                rest.push(entry);
            }
        }
    }
    let result = if rest.is_empty() {
        fs::remove_file(&list)
    } else {
        replace(&list, &manifest::render(&rest))
    };
    result.map_err(|error| format!("{}: {error}", list.display()))?;
    Ok(out)
}
