//! Two nodes, what was done to them, and what has to be true of them whenever they are left alone.

use super::lab::gated::{self, mount_hook_with_probe, noted};
use super::lab::{self, Daemon, Host, Lab, Subject, seconds};
use super::random::Random;
use super::shape::{FILE, SECOND_FILE, Shape};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A takeover, a hold-down after a failure, and room for a busy machine.
pub const REST: f64 = 60.0;
/// For so long nothing may change once it has come to rest.
const STILL: f64 = 1.5;
pub const PRIORITIES: [u8; 2] = [150, 100];
/// So many intervals may be between two adverts of a node to which nothing was done that concerns them.
const LATE: f64 = 1.5;
/// A process that wants to run waits this many times as long as the one that measures it, at worst.
const UNFAIR: u32 = 4;
/// With more that want to run, for each processor, no advert is judged late.
const SHARED_BY_MAX: f64 = 2.0;

/// How long this machine has kept a process waiting that only wanted to sleep for a moment.
struct Load {
    worst_us: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    const NAP: Duration = Duration::from_millis(10);

    fn start() -> Self {
        let (worst_us, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (worst, over) = (Arc::clone(&worst_us), Arc::clone(&is_over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                std::thread::sleep(Self::NAP);
                let late = start.elapsed().saturating_sub(Self::NAP).as_micros();
                worst.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { worst_us, is_over }
    }

    /// The worst since this was last asked.
    fn take(&self) -> Duration {
        Duration::from_micros(self.worst_us.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Two nodes, and what was done to them.
pub struct World {
    pub lab: Lab,
    pub shape: Shape,
    pub daemons: [Vec<Daemon>; 2],
    told: String,
    load: Load,
    /// Are adverts that come late a failure? Not in tests that have to pass on any machine.
    minds_time: bool,
}

impl World {
    pub fn new(shape: Shape, minds_time: bool) -> Self {
        lab::require(&["nft"]);
        let lab = Lab::pair();
        let load = Load::start();
        let daemons = [Vec::new(), Vec::new()];
        let mut world = Self { lab, shape, daemons, told: String::new(), load, minds_time };
        for (place, priority) in PRIORITIES.into_iter().enumerate() {
            let host = &world.lab.hosts[place];
            host.sh(&shape.own(place));
            let hook = mount_hook_with_probe(":", ":", ":");
            gated::install(host, priority, "mount timeout 20 probe 2", &hook);
            world.configure(place, priority);
            world.start(place);
        }
        world
    }

    pub fn configure(&self, place: usize, priority: u8) {
        for (file, conf) in self.shape.files(place, priority) {
            self.lab.hosts[place].write(file, &conf);
        }
    }

    /// Starts the daemons of a host.
    pub fn start(&mut self, place: usize) {
        let host = &self.lab.hosts[place];
        let file = if self.shape.has_storage() { "/etc/glha/glha.conf" } else { FILE };
        let mut daemons = vec![Subject::Glha.start_with(host, file)];
        if self.shape.daemons() > 1 {
            let pids = ["-p", "/run/second.pid", "-r", "/run/second.vrrp.pid"];
            let arguments = [&["-n", "-l", "-D", "-P", "-f", SECOND_FILE], &pids[..]].concat();
            daemons.push(host.start(Subject::Glha.program(), &arguments));
        }
        self.daemons[place] = daemons;
        // Before it has its handlers a signal ends it.
        lab::wait_until(seconds(REST), || {
            self.status(place, " --json").iter().all(|said| said.starts_with('{'))
        });
    }

    pub fn signal(&self, place: usize, signal: Signal) {
        self.daemons[place].iter().for_each(|daemon| daemon.signal(signal));
    }

    pub fn tell(&mut self, what: &str) {
        let at = self.lab.elapsed().as_secs_f64();
        let _ = writeln!(self.told, "{at:8.3} {what}");
        println!("{at:8.3} {what}");
    }

    /// Where the master is: it has everything, and nothing of it is elsewhere.
    fn rests_on(&self) -> Option<usize> {
        let hosts = &self.lab.hosts;
        let first = self.shape.addresses()[0];
        let master = hosts.iter().position(|host| host.has_address(first))?;
        // Storage stays where it is; everything else goes to the better node.
        let is_right = (master == 0 || self.shape.has_storage())
            && self.shape.missing(&hosts[master], true).is_empty()
            && self.shape.missing(&hosts[1 - master], false).is_empty()
            && self.shape.left(&hosts[1 - master]).is_empty()
            && self.say_what_they_are(master);
        is_right.then_some(master)
    }

    /// Where the master was last seen.
    pub fn master(&self) -> usize {
        self.rests_on().unwrap_or(0)
    }

    /// Do all daemons answer, and say so?
    fn say_what_they_are(&self, master: usize) -> bool {
        let are_all = |place: usize, phase: &str| {
            self.status(place, " --json").iter().all(|said| {
                let status: Value = serde_json::from_str(said).unwrap_or_default();
                let all = status["instances"].as_array().cloned().unwrap_or_default();
                !all.is_empty() && all.iter().all(|instance| instance["phase"] == phase)
            })
        };
        are_all(master, "master") && are_all(1 - master, "backup")
    }

    /// What each daemon of a host says of itself.
    fn status(&self, place: usize, how: &str) -> Vec<String> {
        let folders = ["/run/glha", "/run/glha/instance.second"];
        let folders = folders.iter().take(self.shape.daemons());
        let ask = |folder: &&str| format!("/run/lab/glha status{how} --run {folder}");
        folders.map(|folder| self.lab.hosts[place].run(&ask(folder)).said).collect()
    }

    /// Waits until it rests, and looks whether it stays so.
    #[track_caller]
    pub fn comes_to_rest(&mut self) {
        if !lab::wait_until(seconds(REST), || self.rests_on().is_some()) {
            let seen = self.describe();
            self.lab.fail(&format!("it does not come to rest after:\n{}{seen}", self.told));
        }
        let mut is_right = true;
        if lab::wait_until(seconds(STILL), || {
            is_right = self.rests_on().is_some();
            !is_right
        }) {
            let seen = self.describe();
            self.lab.fail(&format!("it does not stay at rest after:\n{}{seen}", self.told));
        }
        let ended = self.daemons.iter_mut().flatten().any(|daemon| daemon.ended().is_some());
        self.lab.check(&format!("all run after:\n{}", self.told), !ended);
        if self.shape.has_storage() {
            self.was_never_on_both();
        }
    }

    fn describe(&self) -> String {
        let of = |place: usize| {
            let host = &self.lab.hosts[place];
            let missing = self.shape.missing(host, true);
            let left = self.shape.left(host);
            let seen = host.run("ip -br addr; ip route; ip rule").said;
            let status = self.status(place, "").concat();
            format!(
                "{}: of a master it lacks {missing:?}, and has {left:?}\n{seen}{status}",
                host.name
            )
        };
        of(0) + &of(1)
    }

    #[track_caller]
    fn was_never_on_both(&self) {
        let [a, b] = &self.lab.hosts[..] else { unreachable!() };
        for (from, to) in held(a) {
            for (other_from, other_to) in held(b) {
                let text = format!("storage on both after:\n{}", self.told);
                self.lab.check(&text, to <= other_from || other_to <= from);
            }
        }
    }

    /// Does something to which an advert is no stranger: nothing of theirs breaks, so none is late.
    #[track_caller]
    pub fn undisturbed(&mut self, act: impl FnOnce(&mut Self)) {
        self.load.take();
        let from = SystemTime::now();
        act(self);
        self.comes_to_rest();
        let to = SystemTime::now();
        let stood_still = self.load.take();
        if !self.minds_time || is_overloaded() {
            return;
        }
        let allowed = seconds(LATE) + stood_still * UNFAIR;
        for ((name, vrid), at) in self.adverts(from, to) {
            for pair in at.windows(2) {
                let gap = pair[1].duration_since(pair[0]).unwrap_or_default();
                let text = format!(
                    "adverts of {name} ({vrid}) are {gap:?} apart (this machine stood still for \
                     {stood_still:?}) after:\n{}",
                    self.told
                );
                self.lab.check(&text, gap < allowed);
            }
        }
    }

    /// When each instance of a host sent its adverts.
    fn adverts(&self, from: SystemTime, to: SystemTime) -> BTreeMap<(String, u8), Vec<SystemTime>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let frames = self.lab.frames();
        // From the last one before, which shows who is master.
        let meant = frames.iter().filter(|frame| frame.at + seconds(1.2) >= from && frame.at <= to);
        for frame in meant {
            if let Some(sent) = frame.sent() {
                all.entry((frame.from.clone(), sent.vrid)).or_default().push(frame.at);
            }
        }
        all
    }

    /// A shell script on a host, with what stands for its addresses.
    pub fn script(&self, place: usize, script: &str) {
        let own = self.shape.own(place);
        let script = script.replace("OWN", &own).replace("RESTORE", &own);
        let remove = |ip: &&str| format!("ip addr del {ip} dev $(dev {ip})\n");
        let all: String = self.shape.addresses().iter().map(remove).collect();
        let one = self.shape.addresses().first().map(remove).unwrap_or_default();
        let script = script.replace("TAKE_ALL", &all).replace("TAKE_ONE", &one);
        let dev = "dev() { ip -o addr show to $1 | awk '{ print $2; exit }'; }\n";
        self.lab.hosts[place].run(&format!("{dev}{script}"));
    }

    /// Stops everything; nothing is left.
    #[track_caller]
    pub fn ends(mut self) {
        for daemon in self.daemons.iter_mut().flatten() {
            daemon.signal(Signal::SIGTERM);
        }
        for daemon in self.daemons.iter_mut().flatten() {
            daemon.wait(seconds(REST));
        }
        for host in &self.lab.hosts {
            let left = self.shape.left(host);
            let text = format!("{}: {left:?} is left after:\n{}", host.name, self.told);
            self.lab.check(&text, left.is_empty());
            let seen = host.run("ip link show type macvlan; nft list ruleset").said;
            let text = format!("{}: {seen} is left after:\n{}", host.name, self.told);
            self.lab.check(&text, !seen.contains("vrrp.51") && !seen.contains("vips"));
        }
    }

    /// One blow after another, and rest in between.
    #[track_caller]
    pub fn plays(mut self, seed: u64, random: &mut Random, blows: usize) {
        let first = format!("seed {seed}, {:?}", self.shape);
        self.tell(&first);
        self.comes_to_rest();
        for _ in 0..blows {
            super::blows::strike(&mut self, random);
        }
        self.ends();
    }
}

/// Have so many processes to share a processor that one may well wait for seconds?
fn is_overloaded() -> bool {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    load > SHARED_BY_MAX * processors as f64
}

/// From when to when a host has held the storage, after its hook's notes.
fn held(host: &Host) -> Vec<(SystemTime, SystemTime)> {
    let mut all = Vec::new();
    let mut since = None;
    for note in noted(host) {
        let words: Vec<&str> = note.what.split(' ').collect();
        match words[..] {
            ["acquire", "end", _, "0", ..] => since = Some(note.at),
            ["release", "end", _, "0", ..] => {
                all.extend(since.take().map(|since| (since, note.at)));
            }
            _ => {}
        }
    }
    all.extend(since.map(|since| (since, SystemTime::now())));
    all
}
