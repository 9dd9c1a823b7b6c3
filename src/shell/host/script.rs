//! How a script is started, and whether it may be.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;

/// So much of a script is read to see how it begins: what the kernel itself looks at.
const HEAD_BYTES: u64 = 256;
/// So many symbolic links are followed: the kernel's own limit.
const LINKS_MAX: usize = 40;

/// How the beginning of a program's file tells the kernel to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// A binary, or a script with a proper `#!`: the kernel runs it.
    Runnable,
    /// A script whose `#!` is spoiled by what stands before it, as in `\#!/bin/bash`: the words
    /// after it. The kernel refuses it.
    Broken(Vec<OsString>),
    /// A script without `#!`. The kernel refuses it.
    Missing,
}

/// The program to start for an argv, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments without the program's name.
    pub args: Vec<OsString>,
    /// Something to tell the administrator once.
    pub remark: Option<String>,
}

/// Finds out what to start for `argv`; `path` is the PATH for a name without a slash.
///
/// The first bytes of the file decide, and not the kernel's answer, since std's two ways to start
/// a program differ: one hands a script without `#!` to `/bin/sh`, the other fails. keepalived
/// starts neither and counts it as a success.
///
/// # Errors
///
/// Why it cannot be started, for an administrator.
pub fn resolve(argv: &[String], path: &str) -> Result<Program, String> {
    let (name, rest) = argv.split_first().ok_or("no command was given")?;
    let mut args: Vec<OsString> = rest.iter().map(OsString::from).collect();
    if let Some(file) = name.strip_prefix('<') {
        return Ok(readable_test(file));
    }
    let path = find(name, path)?;
    let (program, remark) = match head(&path) {
        Head::Runnable => return Ok(Program { path, args, remark: None }),
        Head::Missing => (
            vec![OsString::from("/bin/sh")],
            format!("{}: no #! line, run under /bin/sh", path.display()),
        ),
        Head::Broken(words) => {
            let shown = words.join(std::ffi::OsStr::new(" "));
            let shown = shown.to_string_lossy();
            (words, format!("{}: broken #! line, run under {shown}", path.display()))
        }
    };
    let mut words = program.into_iter();
    let interpreter = words.next().ok_or("no interpreter in its #! line")?;
    args.splice(0..0, words.chain([path.into_os_string()]));
    Ok(Program { path: interpreter.into(), args, remark: Some(remark) })
}

/// keepalived's `script "</file"`: does the file open for reading?
fn readable_test(file: &str) -> Program {
    let args = ["-c", ": <\"$1\"", "sh", file].map(OsString::from).to_vec();
    Program { path: "/bin/sh".into(), args, remark: None }
}

/// The file that `name` stands for, if it can be executed by anyone at all.
pub fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return executable(Path::new(name)).map(|()| PathBuf::from(name));
    }
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name))
        .find(|candidate| executable(candidate).is_ok())
        .ok_or_else(|| format!("{name} was not found in PATH ({path})"))
}

fn executable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    if !path.is_absolute() {
        return Err(format!("{shown} is not an absolute path"));
    }
    let meta = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if !meta.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(format!("{shown} is not executable (chmod +x {shown})"));
    }
    Ok(())
}

/// How the file begins. One that cannot be read is left to the kernel.
pub fn head(path: &Path) -> Head {
    read_head(path).map_or(Head::Runnable, |bytes| classify(&bytes))
}

fn read_head(path: &Path) -> Option<Vec<u8>> {
    // Non-blocking: should the file have become a pipe, opening it must not wait for a writer.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// How a file with these first bytes begins.
pub fn classify(bytes: &[u8]) -> Head {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.starts_with(b"#!") || bytes.contains(&0) {
        return Head::Runnable;
    }
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    let line = line.strip_prefix(b"\\").unwrap_or(line);
    let words: Vec<OsString> = line
        .strip_prefix(b"#!")
        .map(|rest| rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
        .into_iter()
        .flatten()
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    match words.first() {
        Some(interpreter) if interpreter.as_bytes().starts_with(b"/") => Head::Broken(words),
        _ => Head::Missing,
    }
}

/// What makes a path unfit for a script that runs as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Insecure {
    /// Somebody who is not root may change this part of the path.
    Writable {
        /// The file or folder.
        component: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        uid: u32,
    },
    /// It could not be looked at.
    Unknown(PathBuf, String),
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A sticky folder is meant to be everybody's.
            Self::Writable { component, mode, uid: 0 } if mode & 0o1000 != 0 => write!(
                f,
                "{0} (mode {mode:04o}) can be changed by others than root; keep scripts elsewhere, \
                 such as in /etc/glha",
                show(component)
            ),
            Self::Writable { component, mode, uid: 0 } => write!(
                f,
                "{0} (mode {mode:04o}) can be changed by others than root: chmod go-w {0}",
                show(component)
            ),
            Self::Writable { component, mode, uid } => write!(
                f,
                "{0} (mode {mode:04o}) belongs to user {uid}, not root: chown root {0}",
                show(component)
            ),
            Self::Unknown(component, why) => write!(f, "{}: {why}", show(component)),
        }
    }
}

fn show(path: &Path) -> std::path::Display<'_> {
    path.display()
}

/// Is every part of the path, through every symbolic link, root's alone to change?
///
/// A folder with the sticky bit counts as writable: a name in it may have been somebody else's
/// before root made it his.
///
/// # Errors
///
/// The first part that is not.
pub fn secure(path: &Path) -> Result<(), Insecure> {
    let mut todo: Vec<OsString> = parts(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    check_component(&here)?;
    while let Some(part) = todo.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let Some(target) = link_target(&next)? else {
            check_component(&next)?;
            here = next;
            continue;
        };
        links += 1;
        if links > LINKS_MAX {
            return Err(Insecure::Unknown(next, "too many symbolic links".to_owned()));
        }
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        todo.extend(parts(&target));
    }
    Ok(())
}

/// The path's parts, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn link_target(path: &Path) -> Result<Option<PathBuf>, Insecure> {
    let unknown = |error: std::io::Error| Insecure::Unknown(path.to_owned(), error.to_string());
    if !fs::symlink_metadata(path).map_err(unknown)?.is_symlink() {
        return Ok(None);
    }
    fs::read_link(path).map(Some).map_err(unknown)
}

fn check_component(path: &Path) -> Result<(), Insecure> {
    let meta = fs::symlink_metadata(path)
        .map_err(|error| Insecure::Unknown(path.to_owned(), error.to_string()))?;
    let mode = meta.mode() & 0o7777;
    let group_writes = mode & 0o020 != 0 && meta.gid() != 0;
    if meta.uid() != 0 || group_writes || mode & 0o002 != 0 {
        return Err(Insecure::Writable { component: path.to_owned(), mode, uid: meta.uid() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_decides() {
        assert_eq!(classify(b"#!/bin/sh\nexit 0\n"), Head::Runnable);
        assert_eq!(classify(b"\x7fELF\x02\x01\x01\0\0"), Head::Runnable);
        assert_eq!(classify(b"exit 0\n"), Head::Missing);
        assert_eq!(classify(b""), Head::Missing);
        let bash = Head::Broken(vec!["/bin/bash".into(), "-e".into()]);
        for text in [
            "\\#!/bin/bash -e\n",
            "\t\\#!/bin/bash -e\r\n",
            " #! /bin/bash -e",
            "\u{feff}#!/bin/bash -e",
        ] {
            assert_eq!(classify(text.as_bytes()), bash, "{text:?}");
        }
        assert_eq!(classify(b"\\#! \n"), Head::Missing);
        assert_eq!(classify(b"\\#!bash\n"), Head::Missing);
    }

    #[test]
    fn a_bare_name_is_looked_up() {
        assert_eq!(find("sh", "/nowhere:/bin"), Ok("/bin/sh".into()));
        assert!(find("sh", "relative").is_err());
        assert!(find("./sh", "/bin").is_err_and(|why| why.contains("absolute")));
        assert!(find("/etc/passwd", "").is_err_and(|why| why.contains("chmod +x")));
        assert!(find("/etc", "").is_err_and(|why| why.contains("not a file")));
    }

    #[test]
    fn only_roots_paths_are_secure() {
        assert_eq!(secure(Path::new("/bin/sh")), Ok(()));
        let Err(Insecure::Writable { component, mode, .. }) = secure(Path::new("/tmp")) else {
            panic!("/tmp is writable by everyone");
        };
        assert_eq!((component, mode), ("/tmp".into(), 0o1777));
        let said = |component: &str, mode, uid| {
            Insecure::Writable { component: component.into(), mode, uid }.to_string()
        };
        assert!(said("/x/y", 0o775, 0).ends_with("than root: chmod go-w /x/y"));
        assert!(said("/x/y", 0o755, 7).ends_with("to user 7, not root: chown root /x/y"));
        assert!(said("/tmp", 0o1777, 0).contains("keep scripts elsewhere"));
        assert!(matches!(secure(Path::new("/bin/no such")), Err(Insecure::Unknown(..))));
    }
}
