//! A host: network, mount and pid namespace, private folders, and what runs in it.

use super::space::{Space, command, said};
use super::{disk, seconds, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv6Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Seconds a command on a host may take.
const COMMAND_SECONDS_MAX: &str = "60";

/// PID 1 of a host. Arguments: the glha to bind (or nothing), major and minor number of the
/// shared disk (or nothing). Says `ready` and then waits for its input to end, reaping.
const INIT: &str = r#"
set -eu
umask 022
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lab/etc /run/lab/work /run/lock
if [ -n "$1" ]; then
    : >/run/lab/glha
    mount --bind "$1" /run/lab/glha
fi
mount -t overlay -o lowerdir=/etc,upperdir=/run/lab/etc,workdir=/run/lab/work overlay /etc
mkdir -p /etc/glha /etc/keepalived
for folder in /etc/glha /etc/keepalived /var/log /var/lib /home /mnt; do
    mount -t tmpfs -o mode=755 tmpfs "$folder"
done
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /etc/glha/hooks /var/log/nginx /var/log/keepalived /var/lib/nginx /mnt/shared \
    /home/git/gitlab-data
mkdir /mnt/dev
mount -t tmpfs -o mode=755 tmpfs /mnt/dev
mknod -m 666 /mnt/dev/null c 1 3
mknod -m 666 /mnt/dev/zero c 1 5
mknod -m 666 /mnt/dev/full c 1 7
mknod -m 666 /mnt/dev/random c 1 8
mknod -m 666 /mnt/dev/urandom c 1 9
mknod -m 666 /mnt/dev/tty c 5 0
mkdir /mnt/dev/mapper /mnt/dev/shm
ln -s /proc/self/fd /mnt/dev/fd
if [ -n "$2" ]; then mknod -m 660 "/mnt/dev/mapper/mpath0-part1" b "$2" "$3"; fi
mount --move /mnt/dev /dev
for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
    if [ -e "$file" ]; then echo 1 >"$file"; fi
done
ip link set lo up
exec 4<&0 </dev/null
cat <&4 >/dev/null 2>&1 &
exec 4<&-
echo ready
exec >/dev/null
wait $!
"#;

/// A booted host.
pub struct Host {
    /// Its name, and that of its port on the switch.
    pub name: &'static str,
    /// Its own address, without a prefix length.
    pub address: &'static str,
    folder: PathBuf,
    /// `unshare`, whose only child is the host's PID 1; none once the power is off.
    power: Mutex<Option<Child>>,
    /// PID 1, as the machine numbers it.
    init: Pid,
    daemons: AtomicU32,
}

/// A finished command.
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, then its standard error.
    pub said: String,
}

impl Host {
    /// Power on: namespaces, folders, `eth0` on the switch with its address, IPv6 off.
    pub fn boot(
        folder: &Path,
        n: usize,
        name: &'static str,
        address: &'static str,
        device: Option<(u64, u64)>,
        glha: Option<&Path>,
        switch: &Space,
    ) -> Self {
        let (major, minor) =
            device.map_or_else(Default::default, |(a, b)| (a.to_string(), b.to_string()));
        let log = File::create(folder.join(format!("{name}.init.log"))).expect("a log");
        let mut power = command("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", INIT, "init"])
            .arg(glha.unwrap_or(Path::new("")))
            .args([major, minor])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0) // a Ctrl-C is for the lab's owner
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let _ = BufReader::new(power.stdout.take().expect("piped")).read_line(&mut line);
        if line != "ready\n" {
            let _ = power.kill();
            let log = fs::read_to_string(folder.join(format!("{name}.init.log")));
            panic!("host {name} did not boot: {}", log.unwrap_or_default());
        }
        let init = only_child(power.id()).expect("unshare has a child");
        let host = Self {
            name,
            address,
            folder: folder.to_owned(),
            power: Mutex::new(Some(power)),
            init,
            daemons: AtomicU32::new(0),
        };
        host.connect(n, switch);
        host.sh(&format!("ip addr add {address}/24 brd + dev eth0"));
        host
    }

    /// Makes its `eth0`, which is up and has no address, and the port of the switch that it leads to.
    pub fn connect(&self, n: usize, switch: &Space) {
        let (name, init, last) = (self.name, self.init, n + 0x0a);
        switch.sh(&format!(
            "ip link add name {name} type veth peer name eth0 address 02:51:00:00:00:{last:02x} netns {init}
            ip link set dev {name} master br0 up"
        ));
        self.sh("ip link set eth0 up");
    }

    /// Kills PID 1, and so everything in the host. See [`super::Lab::power_off`].
    pub fn kill(&self) {
        let mut power = self.power.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(mut power) = power.take() {
            let _ = kill(self.init, Signal::SIGKILL);
            let _ = power.wait();
        }
    }

    /// Its PID 1, as the machine numbers it.
    pub fn init(&self) -> Pid {
        self.init
    }

    /// Whether it has power.
    pub fn on(&self) -> bool {
        self.power.lock().unwrap_or_else(|e| e.into_inner()).is_some()
    }

    fn enter(&self, limit: bool) -> std::process::Command {
        let pid = self.init.to_string();
        let mut enter = command(if limit { "timeout" } else { "nsenter" });
        if limit {
            enter.args(["-k", "1", COMMAND_SECONDS_MAX, "nsenter"]);
        }
        enter.args(["-t", &pid, "-n", "-m", "-p", "--"]);
        enter
    }

    /// Runs a shell script on the host.
    pub fn run(&self, script: &str) -> Ran {
        let output = self.enter(true).args(["sh", "-c", script]).output().expect("nsenter starts");
        Ran { status: output.status, said: said(&output) }
    }

    /// Runs a shell script on the host, fails if any command of it does, returns what it said.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let ran = self.run(&format!("set -e\n{script}"));
        assert!(ran.status.success(), "on {}: {script}\n{}", self.name, ran.said);
        ran.said
    }

    /// Starts a program that stays; its output goes to a log of its own.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Daemon {
        let n = self.daemons.fetch_add(1, Ordering::Relaxed);
        let short = program.rsplit('/').next().unwrap_or(program);
        let log = self.folder.join(format!("{}.{n}.{short}.log", self.name));
        let out = File::create(&log).expect("a log");
        let err = out.try_clone().expect("a descriptor");
        let mut entered = self
            .enter(false)
            .arg(program)
            .args(arguments)
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .expect("nsenter starts");
        let mut pid = None;
        wait_until(seconds(5.0), || {
            pid = only_child(entered.id()).filter(|p| comm(*p).is_some_and(|c| c != "nsenter"));
            pid.is_some() || matches!(entered.try_wait(), Ok(Some(_)))
        });
        Daemon { entered, pid, log, ended: None }
    }

    /// A path of the host, as this process reaches it. Links are followed on the machine.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Writes a file on the host, mode 0644.
    #[track_caller]
    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Writes an executable file on the host, mode 0755.
    #[track_caller]
    pub fn write_script(&self, path: &str, content: &str) {
        self.write(path, content);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(path), mode).expect("permissions");
    }

    /// Puts what the shipped mount.sh stands on beside it, in `/etc/glha/hooks/lib`.
    #[track_caller]
    pub fn write_hook_parts(&self) {
        let folder = self.path("/etc/glha/hooks/lib");
        fs::create_dir_all(&folder).expect("a folder for the parts of hooks");
        let parts = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/hooks/lib"));
        for part in parts.expect("hooks/lib") {
            let part = part.expect("a part of a hook");
            fs::copy(part.path(), folder.join(part.file_name())).expect("its copy");
        }
    }

    /// A file of the host, empty if it cannot be read.
    pub fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.path(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a file is there.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Turns IPv6 on at `eth0`, with a link-local address at once and this one, without a prefix
    /// length.
    pub fn enable_ipv6(&self, address: &str) {
        self.sh(&format!(
            "cd /proc/sys/net/ipv6/conf
            echo 0 >eth0/accept_dad; echo 0 >eth0/dad_transmits; echo 0 >lo/disable_ipv6
            echo 0 >eth0/disable_ipv6
            ip addr add {address}/64 dev eth0 nodad"
        ));
    }

    /// Whether any interface of the host has this address.
    pub fn has_address(&self, address: &str) -> bool {
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            let all = fs::read_to_string(format!("/proc/{}/net/if_inet6", self.init));
            let digits = format!("{:032x}", u128::from(address));
            return all.unwrap_or_default().lines().any(|line| line.starts_with(&digits));
        }
        let trie = fs::read_to_string(format!("/proc/{}/net/fib_trie", self.init));
        let trie = trie.unwrap_or_default();
        let leaf = format!("|-- {address}");
        let mut lines = trie.lines().skip_while(|l| !l.trim_end().ends_with(&leaf));
        lines.nth(1).is_some_and(|l| l.contains("/32 host LOCAL"))
    }

    /// How `mount_point` is mounted: `rw`, `ro`, or not at all.
    pub fn mounted(&self, mount_point: &str) -> Option<String> {
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", self.init)).ok()?;
        let line = mounts.lines().rev().find(|l| l.split(' ').nth(1) == Some(mount_point))?;
        line.split(' ').nth(3)?.split(',').next().map(str::to_owned)
    }

    /// Everything mounted from the shared disk fails from now on.
    pub fn shut_down_file_system(&self) {
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", self.init)).unwrap_or_default();
        for line in mounts.lines().filter(|l| l.starts_with(disk::DEVICE)) {
            if let Some(mount_point) = line.split(' ').nth(1) {
                disk::shut_down(&self.path(mount_point));
            }
        }
    }

    /// The processes of the host whose name (15 bytes of it) is `name`, as the machine numbers them.
    pub fn processes(&self, name: &str) -> Vec<Pid> {
        let named = |pid: &Pid| comm(*pid).is_some_and(|c| c == name) && !zombie(*pid);
        self.all_processes().into_iter().filter(named).collect()
    }

    fn all_processes(&self) -> Vec<Pid> {
        let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/pid")).map(|m| m.ino());
        let Ok(mine) = namespace(&self.init.to_string()) else { return Vec::new() };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|e| e.file_name().into_string().ok())
            .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
            .filter(|n| namespace(n).is_ok_and(|i| i == mine))
            .filter_map(|n| n.parse().ok().map(Pid::from_raw))
            .collect()
    }

    /// Stops every process of the host, as a hypervisor would, or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        for pid in self.all_processes() {
            let _ = kill(pid, signal);
        }
    }

    /// Sends a signal to every process of that name.
    pub fn signal(&self, name: &str, signal: Signal) {
        for pid in self.processes(name) {
            let _ = kill(pid, signal);
        }
    }

    /// Its state in one line, for a failure's message.
    pub fn describe(&self) -> String {
        if !self.on() {
            return "off".to_owned();
        }
        let ran = self.run(
            "ip -br -4 addr show dev eth0; grep ^/dev/mapper /proc/mounts
            ps -eo pid,args --no-headers | grep -v '^ *1 ' | cut -c 1-100 | head -20",
        );
        ran.said
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that runs on a host.
pub struct Daemon {
    entered: Child,
    pid: Option<Pid>,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Its process id as the machine numbers it; fails if it ended at once.
    #[track_caller]
    pub fn pid(&self) -> Pid {
        self.pid.unwrap_or_else(|| panic!("it ended at once: {}", self.log()))
    }

    /// Sends it a signal; nothing happens if it is gone.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            let _ = kill(pid, signal);
        }
    }

    /// Lets it go on after a stop, and what has started it, which stops with it.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
        let _ = kill(Pid::from_raw(self.entered.id().cast_signed()), Signal::SIGCONT);
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.entered.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits until it has ended; fails after `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_until(limit, || self.ended().is_some());
        self.ended.unwrap_or_else(|| panic!("still runs after {limit:?}: {}", self.log()))
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its resident memory, KiB.
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let number = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok());
        number.unwrap_or_else(|| panic!("no VmRSS: {}", self.log()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.entered.kill();
        let _ = self.entered.wait();
    }
}

fn only_child(pid: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

fn comm(pid: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|c| c.trim_end().to_owned())
}

fn zombie(pid: Pid) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_err()
}
