//! What the tests of the hooks stand on: a disk that two "hosts" see (one image behind two loop
//! devices), a run of a hook under a given shell, commands that stand in for others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Runs a test under both shells at the same time, since most of it is waiting.
pub fn in_both_shells(test: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        for shell in ["dash", "bash"] {
            let test = &test;
            thread::Builder::new()
                .name(shell.into())
                .spawn_scoped(scope, move || test(shell))
                .expect("a thread");
        }
    });
}

/// Runs a command that has to succeed, and returns what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed by this test: {e}"));
    assert!(
        output.status.success(),
        "{program} {args:?}: {}: {} (these tests need root and loop devices)",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A folder of its own for a test, gone afterwards.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("glha-hooks-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    /// What a file in it says; nothing if there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// A command in `bin`, which [`Hook`] puts in front of the PATH.
    pub fn command(&self, name: &str, script: &str) {
        let bin = self.0.join("bin");
        fs::create_dir_all(&bin).expect("a folder for commands");
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a command");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// Service managers that write down what they are asked for, in one order of words.
    pub fn record_services(&self) {
        let log = self.path("services");
        self.command("service", &format!("echo $2 $1 >>{log}"));
        self.command("systemctl", &format!("echo $1 $2 >>{log}"));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the test.
pub struct Process(Child);

impl Process {
    /// Starts it, and returns when it says so: its script must `echo` once it is ready.
    pub fn start(program: &str, args: &[&str]) -> Self {
        use std::io::Read;
        let mut child = Command::new(program)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} is needed by this test: {e}"));
        let ready = child.stdout.take().expect("a pipe").read(&mut [0]).expect("a word of it");
        let process = Self(child);
        assert_eq!(ready, 1, "{program} {args:?} ended early");
        process
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Process {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// An image behind two loop devices: the same disk as host A and host B see it.
pub struct Disk {
    pub a: String,
    pub b: String,
    pub folder: Folder,
    /// Keeps a mount namespace in which everything here is mounted: a namespace that somebody else
    /// on the machine makes meanwhile is no copy of it, and does not hold the disk.
    space: Process,
}

impl Disk {
    /// An ext4 file system with these further options of mkfs.ext4.
    pub fn new(options: &[&str]) -> Self {
        Self::made_by("mkfs.ext4", &[&["-q", "-F"], options].concat(), 16)
    }

    /// A file system that this command makes, of so many MiB.
    pub fn made_by(mkfs: &str, options: &[&str], mebibytes: u64) -> Self {
        let folder = Folder::new();
        let image = folder.path("image");
        let file = fs::File::create(&image).expect("an image");
        file.set_len(mebibytes << 20).expect("its size");
        run(mkfs, &[options, &[image.as_str()]].concat());
        Self::attach(folder)
    }

    /// With multi-mount protection and its shortest interval.
    pub fn with_mmp() -> Self {
        Self::new(&["-O", "mmp", "-E", "mmp_update_interval=1"])
    }

    /// The disk as it is after the power of the host that had it mounted failed.
    pub fn after_power_failure() -> Self {
        let disk = Self::with_mmp();
        disk.run("mount", &[&disk.a, &disk.folder.path("a")]);
        disk.run("sync", &["-f", &disk.folder.path("a")]);
        let folder = Folder::new();
        fs::copy(disk.folder.path("image"), folder.path("image")).expect("a copy");
        Self::attach(folder)
    }

    fn attach(folder: Folder) -> Self {
        for name in ["a", "b"] {
            fs::create_dir(folder.path(name)).expect("a mount point");
        }
        let script = "echo; exec sleep infinity";
        let space =
            Process::start("unshare", &["-m", "--propagation", "private", "sh", "-c", script]);
        let mut disk = Self { a: String::new(), b: String::new(), folder, space };
        let image = disk.folder.path("image");
        disk.a = run("losetup", &["-f", "--show", &image]);
        disk.b = run("losetup", &["-f", "--show", &image]);
        disk
    }

    /// mount.sh as host A runs it.
    pub fn mount_a(&self, shell: &str) -> Hook {
        self.mount(shell, &self.a, "a")
    }

    /// mount.sh as host B runs it.
    pub fn mount_b(&self, shell: &str) -> Hook {
        self.mount(shell, &self.b, "b")
    }

    fn mount(&self, shell: &str, device: &str, point: &str) -> Hook {
        self.mount_with(&shipped("mount.sh"), shell, device, point)
    }

    /// A mount hook of one's own, as host A runs it.
    pub fn mount_a_with(&self, hook: &Path, shell: &str) -> Hook {
        self.mount_with(hook, shell, &self.a, "a")
    }

    fn mount_with(&self, hook: &Path, shell: &str, device: &str, point: &str) -> Hook {
        Hook::command(self.nsenter(), shell, hook, &self.folder)
            .env("MOUNT_DEVICE", device)
            .env("MOUNT_POINT", &self.folder.path(point))
            .env("GLHA_RUN_DIR", &self.folder.path(&format!("run-{point}")))
            .env("GLHA_TIMEOUT_MS", "60000")
    }

    /// Is this device mounted on this mount point for writing, as the kernel says?
    pub fn is_mounted(&self, device: &str, point: &str) -> bool {
        let line = format!("{device} {} ext4 rw", self.folder.path(point));
        self.mounts().contains(&line)
    }

    /// What is mounted where the disk's hooks run.
    pub fn mounts(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mounts", self.space.id())).expect("mounts")
    }

    /// A path in the disk's folder as the disk's hooks see it.
    pub fn inside(&self, name: &str) -> String {
        format!("/proc/{}/root{}", self.space.id(), self.folder.path(name))
    }

    /// Runs a command where the disk's hooks run.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        run("nsenter", &[&[self.enter().as_str(), program], args].concat())
    }

    /// Starts a process where the disk's hooks run.
    pub fn start(&self, program: &str, args: &[&str]) -> Process {
        Process::start("nsenter", &[&[self.enter().as_str(), program], args].concat())
    }

    fn enter(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.space.id())
    }

    fn nsenter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.enter());
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Its last process takes the mount namespace and all mounts in it along.
        self.space.end();
        for device in [&self.a, &self.b] {
            if !device.is_empty() {
                let _ = Command::new("losetup").args(["-d", device]).status();
            }
        }
    }
}

fn shipped(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks").join(script)
}

/// One of the shipped scripts, about to run.
pub struct Hook(Command);

/// How it ended, and all that it printed.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub text: String,
}

impl Hook {
    pub fn new(shell: &str, script: &str, folder: &Folder) -> Self {
        Self::of_file(shell, &shipped(script), folder)
    }

    pub fn of_file(shell: &str, script: &Path, folder: &Folder) -> Self {
        Self::command(Command::new("/usr/bin/env"), shell, script, folder)
    }

    fn command(mut command: Command, shell: &str, script: &Path, folder: &Folder) -> Self {
        command
            .args(shell.split(' '))
            .arg(script)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null());
        let rest = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env("PATH", format!("{}:{rest}", folder.path("bin")));
        Self(command)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// What it prints has no reader any more.
    pub fn unheard(mut self) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        self.0.stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
        self
    }

    pub fn run(mut self, args: &[&str]) -> Ended {
        let output = self.0.args(args).output().expect("the shell is needed by this test");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let status = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {text}"));
        Ended { status, text }
    }

    pub fn acquire(self) -> Ended {
        self.run(&["acquire", "VI_1"])
    }

    pub fn release(self) -> Ended {
        self.run(&["release", "VI_1"])
    }

    pub fn probe(self) -> Ended {
        self.run(&["probe", "VI_1"])
    }

    pub fn check(self) -> Ended {
        self.run(&["check", "VI_1"])
    }
}

impl Ended {
    /// It must have ended with this status, and have printed all of these words.
    #[track_caller]
    pub fn expect(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no {word:?} in: {}", self.text);
        }
        self
    }
}
