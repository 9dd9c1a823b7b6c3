//! A lab for whole-program tests: hosts, a switch, a client and a shared disk on one machine.
//!
//! Every host has a network, mount and pid namespace of its own, so that killing its PID 1 is a
//! power-off; a bridge joins them, and everything a host sends is captured on its port of that
//! bridge with the kernel's time. Nothing in the lab has a name outside its own namespaces, and
//! every namespace is held by a process that ends when its standard input does: if the test ends
//! in whatever way, the kernel takes the whole lab away. What can stay behind after a SIGKILL is
//! one folder in the temporary directory, with loop devices on an image in it; the next lab
//! removes both.
//!
//! Needs root and the programs that [`require`] names.
#![allow(dead_code)] // every test binary uses its own part of the lab

mod capture;
mod decode;
mod disk;
pub mod gated;
mod host;
pub mod nginx;
#[allow(unused_macros)] // as above
mod pairs;
mod space;
mod subject;

#[allow(unused_imports)] // as above
pub use capture::{Advert, Arp, Frame, Packet};
#[allow(unused_imports)]
pub use decode::Sent;
#[allow(unused_imports)]
pub use disk::{DEVICE, Disk};
#[allow(unused_imports)]
pub use host::{Daemon, Host, Ran};
#[allow(unused_imports)]
pub(crate) use pairs::{with_every_pair, with_mixed_pairs};
#[allow(unused_imports)]
pub use space::{Space, fetch};
#[allow(unused_imports)]
pub use subject::{ARTICLE_VIP, Subject, conf};

use nix::fcntl::{Flock, FlockArg};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Labs that may run at a time, over all processes: more would disturb one another's time.
const LABS_MAX: usize = 3;
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);
/// Lines of each log and of the capture that a failure shows.
const DUMP_LINES_MAX: usize = 60;
/// The client's address.
pub const CLIENT: &str = "172.16.51.200";
/// Where labs have their folders; the owner's process id follows.
const FOLDER_PREFIX: &str = "glha-lab-";

/// Programs, the Debian package of each, and whether every lab needs it.
const PROGRAMS: &[(&str, &str, bool)] = &[
    ("unshare", "util-linux", true),
    ("nsenter", "util-linux", true),
    ("losetup", "mount", true),
    ("ip", "iproute2", true),
    ("mkfs.ext4", "e2fsprogs", false),
    ("e2mmpstatus", "e2fsprogs", false),
    ("fuser", "psmisc", false),
    ("keepalived", "keepalived", false),
    ("nginx", "nginx-light", false),
    ("ps", "procps", false),
    ("nft", "nftables", false),
    ("service", "init-system-helpers", false),
    ("strace", "strace", false),
    ("fsfreeze", "util-linux", false),
    ("cc", "gcc", false),
    ("/usr/lib/frr/bfdd", "frr", false),
    ("python3", "python3", false),
];

/// Fails, with what to do about it, unless this is root and every program is installed.
pub fn require(programs: &[&str]) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes namespaces and needs root; `cargo test --lib` is the run without"
    );
    let always = PROGRAMS.iter().filter(|(.., always)| *always).map(|(name, ..)| *name);
    for name in always.chain(programs.iter().copied()) {
        if !installed(name) {
            let package = PROGRAMS.iter().find(|(n, ..)| *n == name).map_or(name, |(_, p, _)| p);
            panic!("this test needs the program {name}: apt-get install {package}");
        }
    }
}

fn installed(name: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| Path::new(d).join(name).exists())
}

/// What a lab shall have.
pub struct Plan {
    /// Name and address (in 172.16.51.0/24) of each host; the name is also its switch port's.
    pub hosts: Vec<(&'static str, &'static str)>,
    /// A disk that every host reaches as [`disk::DEVICE`].
    pub disk: Option<Guard>,
    /// The glha to bind into the hosts as `/run/lab/glha`.
    pub glha: Option<PathBuf>,
}

/// Whether the shared disk has ext4's multiple mount protection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// `mkfs.ext4 -O mmp`, update interval 1 s.
    Mmp,
    /// Nothing stops a second mount.
    None,
}

/// The folder of one lab, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{}-{n}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the lab");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders and loop devices of processes that are gone.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|n| n.strip_prefix(FOLDER_PREFIX)) else {
            continue;
        };
        let owner = rest.split('-').next().unwrap_or_default();
        let number = owner.bytes().all(|b| b.is_ascii_digit()) && !owner.is_empty();
        if number && !Path::new("/proc").join(owner).exists() {
            disk::detach_leftovers(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Waits for one of the machine's [`LABS_MAX`] places.
fn take_place() -> Flock<File> {
    loop {
        for n in 0..LABS_MAX {
            let path = std::env::temp_dir().join(format!("glha-labs.{n}.lock"));
            let file = File::create(&path).expect("a lock file");
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                return lock;
            }
        }
        thread::sleep(POLL * 5);
    }
}

/// Hosts on a switch, with a client and perhaps a disk. Fields are dropped in this order.
pub struct Lab {
    /// The hosts of the plan, in its order.
    pub hosts: Vec<Host>,
    /// A namespace with one interface on the switch and the address [`CLIENT`].
    pub client: Space,
    capture: capture::Capture,
    switch: Space,
    /// The shared disk, if the plan has one.
    pub disk: Option<Disk>,
    folder: Folder,
    started_at: Instant,
    _place: Flock<File>,
}

impl Lab {
    /// Builds what `plan` says; the hosts are booted and nothing runs on them yet.
    pub fn new(plan: &Plan) -> Self {
        require(if plan.disk.is_some() { &["mkfs.ext4"] } else { &[] });
        let place = take_place();
        remove_leftovers();
        let folder = Folder::new();
        let disk = plan.disk.map(|guard| Disk::new(&folder.0, guard, plan.hosts.len()));
        let switch = Space::new();
        switch.sh("ip link set lo up
            ip link add br0 type bridge mcast_snooping 0 forward_delay 0
            sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || :
            ip link set br0 up");
        let capture = capture::Capture::start(&switch);
        let client = Space::new();
        switch.sh(&format!(
            "ip link add client type veth peer name eth0 netns {}
            ip link set client master br0 up",
            client.pid()
        ));
        client.sh(&format!(
            "ip link set lo up; ip link set eth0 up; ip addr add {CLIENT}/24 dev eth0"
        ));
        let hosts = plan.hosts.iter().enumerate().map(|(n, (name, address))| {
            let device = disk.as_ref().map(|d| d.number(n));
            Host::boot(&folder.0, n, name, address, device, plan.glha.as_deref(), &switch)
        });
        let hosts = hosts.collect();
        let started_at = Instant::now();
        Self { hosts, client, capture, switch, disk, folder, started_at, _place: place }
    }

    /// One host, `a`, 172.16.51.11.
    pub fn single() -> Self {
        Self::new(&Plan {
            hosts: vec![("a", "172.16.51.11")],
            disk: None,
            glha: Subject::Glha.path(),
        })
    }

    /// Two hosts, `a` and `b`: 172.16.51.11 and .12.
    pub fn pair() -> Self {
        Self::pair_with(None)
    }

    /// Two hosts, and a disk between them if `disk` says so.
    pub fn pair_with(disk: Option<Guard>) -> Self {
        Self::new(&Plan {
            hosts: vec![("a", "172.16.51.11"), ("b", "172.16.51.12")],
            disk,
            glha: Subject::Glha.path(),
        })
    }

    /// Everything the hosts and the client have sent so far, in the order it came to the switch.
    pub fn frames(&self) -> Vec<Frame> {
        self.capture.frames()
    }

    /// The VRRP adverts among [`Self::frames`] that host `name` sent.
    pub fn adverts(&self, name: &str) -> Vec<(Frame, Advert)> {
        let frames = self.frames().into_iter().filter(|f| f.from == name);
        frames.filter_map(|f| f.advert().map(|a| (f, a))).collect()
    }

    /// The hosts that have `address`, by name.
    pub fn owners(&self, address: &str) -> Vec<&str> {
        self.hosts.iter().filter(|h| h.has_address(address)).map(|h| h.name).collect()
    }

    /// Gives host `n` an interface to a segment where nobody else is, but whose far end is captured
    /// like the ports of the switch; both ends have the name `name`. Its address is `address`, with
    /// prefix length, and it has IPv6 with a link-local address at once.
    pub fn add_link(&self, n: usize, name: &str, address: &str) {
        let host = &self.hosts[n];
        self.switch.sh(&format!(
            "ip link add name {name} type veth peer name {name} netns {}
            ip link set dev {name} up",
            host.init()
        ));
        host.sh(&format!(
            "ip link set {name} up; ip addr add {address} dev {name}
            cd /proc/sys/net/ipv6/conf/{name}
            echo 0 >accept_dad; echo 0 >dad_transmits; echo 0 >disable_ipv6"
        ));
    }

    /// Cuts the network of host `n`: its port leaves the bridge, its carrier stays on.
    pub fn unplug(&self, n: usize) {
        self.switch.sh(&format!("ip link set dev {} nomaster", self.hosts[n].name));
    }

    /// Undoes [`Self::unplug`].
    pub fn plug(&self, n: usize) {
        self.switch.sh(&format!("ip link set dev {} master br0", self.hosts[n].name));
    }

    /// The `eth0` of host `n` is made anew, after it was deleted: another one of that name, without an
    /// address.
    pub fn connect(&self, n: usize) {
        self.hosts[n].connect(n, &self.switch);
    }

    /// Host `n` loses its power: nothing it has not yet written to network or disk gets out.
    pub fn power_off(&self, n: usize) {
        self.unplug(n);
        let host = &self.hosts[n];
        if let Some(disk) = &self.disk {
            disk.cut(n);
            host.shut_down_file_system();
        }
        host.kill();
        self.switch.sh(&format!("ip link del dev {} 2>/dev/null || :", host.name));
    }

    /// Waits until `condition` holds; after `limit`, fails with everything that is known.
    #[track_caller]
    pub fn wait_for(&self, what: &str, limit: Duration, condition: impl FnMut() -> bool) {
        if !wait_until(limit, condition) {
            self.fail(&format!("waited {} s for: {what}", limit.as_secs_f32()));
        }
    }

    /// Fails, with everything that is known, unless `condition` holds all through `span`.
    #[track_caller]
    pub fn holds(&self, what: &str, span: Duration, mut condition: impl FnMut() -> bool) {
        if wait_until(span, || !condition()) {
            self.fail(&format!("did not hold for {} s: {what}", span.as_secs_f32()));
        }
    }

    /// Fails unless `truth`, with everything that is known.
    #[track_caller]
    pub fn check(&self, what: &str, truth: bool) {
        if !truth {
            self.fail(&format!("not so: {what}"));
        }
    }

    /// Fails with everything that is known.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}\n{}", self.dump());
    }

    /// What a person needs to see what went wrong: addresses, mounts, logs, frames.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for host in &self.hosts {
            let _ = writeln!(text, "--- {}: {}", host.name, host.describe());
        }
        for (name, content) in self.logs() {
            let _ = writeln!(text, "--- {name}\n{}", tail(&content));
        }
        let frames = self.frames();
        let began = frames.first().map_or(std::time::UNIX_EPOCH, |f| f.at);
        let lines: Vec<_> = frames
            .iter()
            .filter(|f| !matches!(f.packet(), Packet::Other) || f.sent().is_some())
            .map(|f| f.describe(began))
            .collect();
        let _ = writeln!(text, "--- frames\n{}", tail(&lines.join("\n")));
        text
    }

    /// The logs of everything that was started, by name: `HOST.NUMBER.PROGRAM.log`.
    pub fn logs(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(&self.folder.0).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|e| e.path()).collect();
        paths.retain(|p| p.extension().is_some_and(|e| e == "log"));
        paths.sort();
        let read = |path: &PathBuf| {
            let content = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), content)
        };
        paths.iter().map(read).collect()
    }

    /// Since the lab was ready.
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }
}

/// Polls `condition` until it holds (true) or `limit` is over (false).
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// So many seconds, for readable tests.
pub fn seconds(n: f64) -> Duration {
    Duration::from_secs_f64(n)
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(DUMP_LINES_MAX)..].join("\n")
}
