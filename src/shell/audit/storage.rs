//! The storage that a mount hook is told of, as far as it can be seen before anything is mounted.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::ask::ask;
use super::machine::say;
use super::read_script;
use crate::conf::{Config, Diagnostic, Hooks, Severity, Span};

/// A superblock that is not read by then lies on a device that does not answer.
const DUMPE2FS_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at whether it has ended.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often MMP is written unless the file system says otherwise, in seconds.
const MMP_INTERVAL: u64 = 5;
/// What a mount hook does beside waiting for MMP, in seconds.
const MMP_SPARE: u64 = 5;

/// What keeps a mount hook from ever doing its work: by its own word, or else by what can be seen of its
/// settings.
pub(super) fn look(config: &Config) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for (id, spec) in config.spec.instances.entries() {
        let hooks = config.gating_hooks(id);
        let (Some(gate), Some(hooks)) = (&spec.gate, hooks) else { continue };
        let name = hooks.group.as_ref().unwrap_or(&spec.name);
        let said = ask(config, id);
        for text in said.unwrap_or_else(|| Settings::of(hooks).problems(gate.timeout)) {
            let new = say(hooks.span, Severity::Warning, format!("({name}) {text}"));
            // The members of a group share its storage.
            if !found.contains(&new) {
                found.push(new);
            }
        }
    }
    found.extend(shared_by_two(config));
    found
}

/// Two owners on one disk: each would take it away from the other.
fn shared_by_two(config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut known: Vec<(PathBuf, &str, Span)> = Vec::new();
    for (id, spec) in config.spec.instances.entries() {
        let Some(hooks) = config.gating_hooks(id) else { continue };
        let name = hooks.group.as_ref().unwrap_or(&spec.name);
        let settings = Settings::of(hooks);
        let Some(device) = settings.get("MOUNT_DEVICE") else { continue };
        let path = fs::canonicalize(device).unwrap_or_else(|_| device.into());
        match known.iter().find(|(known, ..)| *known == path) {
            // The members of a group share its block.
            Some((.., span)) if *span == hooks.span => {}
            Some((_, other, _)) => {
                let text = format!("({name}) MOUNT_DEVICE {device} is that of {other} too");
                found.push(say(hooks.span, Severity::Warning, text));
            }
            None => known.push((path, name, hooks.span)),
        }
    }
    found
}

/// The settings of mount.sh: of the `hooks` block, else of the head of the script.
struct Settings<'a> {
    hooks: &'a Hooks,
    script: String,
}

impl<'a> Settings<'a> {
    fn of(hooks: &'a Hooks) -> Self {
        let script = hooks.mount.as_ref().and_then(|mount| mount.script.argv.first());
        let bytes = script.and_then(|path| read_script(Path::new(path))).unwrap_or_default();
        Self { hooks, script: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// A setting; none if it is not given, or empty.
    fn get(&self, name: &str) -> Option<&str> {
        let env = self.hooks.env.iter().rev().find(|(key, _)| key == name);
        let head = || {
            let opening = format!(": \"${{{name}:=");
            let mut lines = self.script.lines();
            lines.find_map(|line| line.strip_prefix(&opening)?.split('}').next())
        };
        let value = env.map(|(_, value)| value.as_str()).or_else(head);
        value.filter(|value| !value.is_empty())
    }

    fn problems(&self, timeout: Duration) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(point) = self.get("MOUNT_POINT") {
            let path = Path::new(point);
            if path.exists() && !path.is_dir() {
                found.push(format!("MOUNT_POINT {point} is not a folder"));
            } else if !path.exists() {
                found.push(format!("MOUNT_POINT {point} is missing: install -d -m 0 {point}"));
            }
        }
        if self.get("GUARD") == Some("fence") && self.get("FENCE_COMMAND").is_none() {
            found.push("GUARD is fence, but FENCE_COMMAND is empty".to_owned());
        }
        if let Some(device) = self.get("MOUNT_DEVICE") {
            match fs::metadata(device) {
                Err(error) => found.push(format!(
                    "MOUNT_DEVICE {device}: {error}; it has to be there when this node takes over, \
                     look at multipath -ll"
                )),
                Ok(meta) if !meta.file_type().is_block_device() => {
                    found.push(format!("MOUNT_DEVICE {device} is not a block device"));
                }
                Ok(_) => found.extend(self.guard_mmp(device, timeout)),
            }
        }
        found
    }

    /// Only root can read the device.
    fn guard_mmp(&self, device: &str, timeout: Duration) -> Option<String> {
        if self.get("GUARD") != Some("mmp") || !nix::unistd::geteuid().is_root() {
            return None;
        }
        if let Some(kind) =
            self.get("MOUNT_TYPE").filter(|kind| !kind.starts_with("ext") && *kind != "auto")
        {
            return Some(format!("GUARD mmp is for ext4, and MOUNT_TYPE is {kind}"));
        }
        match superblock(device) {
            Ok(text) => mmp_problem(device, &text, timeout),
            Err(why) => Some(format!("GUARD mmp, but dumpe2fs -h {device} fails: {why}")),
        }
    }
}

/// A line of what `dumpe2fs -h` prints.
fn field<'a>(superblock: &'a str, name: &str) -> Option<&'a str> {
    let value = superblock.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.strip_prefix(':')).map(str::trim)
}

/// How often MMP is written, in seconds; none if it is off.
fn mmp_interval(superblock: &str) -> Option<u64> {
    let features = field(superblock, "Filesystem features").unwrap_or_default();
    if !features.split_whitespace().any(|feature| feature == "mmp") {
        return None;
    }
    let interval = field(superblock, "MMP update interval").and_then(|value| value.parse().ok());
    Some(interval.filter(|seconds| *seconds > 0).unwrap_or(MMP_INTERVAL))
}

/// How long mount(8) of a device may wait for MMP, in seconds; none if it is off, or cannot be told.
pub(in crate::shell) fn mmp_wait(device: &str) -> Option<u64> {
    superblock(device).ok().and_then(|text| mmp_interval(&text)).map(mmp_wait_seconds)
}

/// What speaks against MMP as the guard of this file system, or for a longer timeout of `mount`.
fn mmp_problem(device: &str, superblock: &str, timeout: Duration) -> Option<String> {
    let Some(interval) = mmp_interval(superblock) else {
        return Some(format!(
            "GUARD mmp, but {device} has no multi-mount protection. With it unmounted on every \
             node: tune2fs -O mmp -E mmp_update_interval=1 {device}"
        ));
    };
    let needed = mmp_wait_seconds(interval);
    // mount.sh keeps a second for itself.
    if timeout > Duration::from_secs(needed) {
        return None;
    }
    let shorter = match interval {
        1 => String::new(),
        _ => format!(", or unmount everywhere and tune2fs -E mmp_update_interval=1 {device}"),
    };
    Some(format!(
        "the timeout of `mount` is {} s, but after a crash of the other node mount waits up to \
         {needed} s, since {device} has an MMP interval of {interval} s: make it {} s or more{shorter}",
        timeout.as_secs(),
        needed + MMP_SPARE
    ))
}

/// How long mount(8) waits for a file system that is marked as in use, with a tenth to spare.
///
/// The kernel (`ext4_multi_mount_protect`) waits, twice, for twice the check interval and a second;
/// that interval is two update intervals, and not less than 5 s.
fn mmp_wait_seconds(interval: u64) -> u64 {
    let check = interval.saturating_mul(2).clamp(5, 300);
    let wait = (2 * check + 1).min(check + 60);
    wait * 22 / 10 + 1
}

/// What `dumpe2fs -h` prints, which only reads.
fn superblock(device: &str) -> Result<String, String> {
    match output("dumpe2fs", &["-h", device], DUMPE2FS_TIMEOUT) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err("there is no ext file system".to_owned()),
        Err(why) => Err(format!("{why} (it is in the package e2fsprogs)")),
    }
}

/// What a program prints that only looks; none if it fails. What it prints must have room in a pipe.
pub(in crate::shell) fn output(
    program: &str,
    arguments: &[&str],
    timeout: Duration,
) -> Result<Option<String>, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let give_up_at = Instant::now() + timeout;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < give_up_at => thread::sleep(PATIENCE),
            Ok(None) | Err(_) => {
                // It may wait for its disk for ever, so nobody waits for it.
                let _ = child.kill();
                return Err(format!("no answer within {} s", timeout.as_secs()));
            }
        }
    };
    if !status.success() {
        return Ok(None);
    }
    let mut text = String::new();
    let mut pipe = child.stdout.take().ok_or("it printed nothing")?;
    pipe.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(superblock: &str, timeout: u64) -> Option<String> {
        mmp_problem("/dev/d", superblock, Duration::from_secs(timeout))
    }

    #[test]
    fn a_timeout_has_room_for_mmp() {
        let text = |interval: u64| {
            format!(
                "Filesystem features:      has_journal mmp\nMMP update interval:      {interval}\n"
            )
        };
        assert_eq!((mmp_wait_seconds(1), mmp_wait_seconds(5)), (25, 47));
        assert_eq!((problem(&text(1), 26), problem(&text(5), 60)), (None, None));
        let said = problem(&text(1), 25).expect("too short");
        assert!(said.contains("waits up to 25 s") && said.ends_with("make it 30 s or more"));
        let said = problem(&text(5), 30).expect("too short");
        assert!(said.contains("make it 52 s or more, or unmount everywhere"), "{said}");
    }

    /// A real file system, in a file: dumpe2fs reads it as it reads a device.
    #[test]
    fn a_file_system_without_mmp_is_named() {
        let image = std::env::temp_dir().join(format!("glha-mmp-{}", std::process::id()));
        let path = image.to_str().expect("text");
        let read = |options: &[&str]| {
            let mut mkfs = Command::new("mke2fs");
            mkfs.args(["-q", "-F", "-t", "ext4"]).args(options).args([path, "4M"]);
            let made = mkfs.stdout(Stdio::null()).status().expect("mke2fs (package e2fsprogs)");
            assert!(made.success());
            superblock(path)
        };
        let (plain, guarded) = (read(&[]), read(&["-O", "mmp", "-E", "mmp_update_interval=7"]));
        fs::write(&image, "not a file system").expect("write");
        let broken = superblock(path);
        fs::remove_file(&image).expect("remove");
        let plain = problem(&plain.expect("a superblock"), 600).expect("no MMP");
        assert!(plain.contains("has no multi-mount protection"), "{plain}");
        let guarded = guarded.expect("a superblock");
        assert_eq!(problem(&guarded, 600), None);
        assert!(problem(&guarded, 60).is_some_and(|text| text.contains("an MMP interval of 7 s")));
        assert_eq!(broken, Err("there is no ext file system".to_owned()));
    }
}
