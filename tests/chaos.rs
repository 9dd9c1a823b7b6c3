//! What hosts do to a pair of nodes, drawn from a seed: interfaces that flap, addresses that others
//! take and give, routes that go, reloads, freezes, kills. After each blow the pair has to come to rest:
//! one master, which has everything, and nothing of it anywhere else; with storage, never on both.
//!
//! `GLHA_CHAOS_SEEDS=n` plays so many seeds (`make chaos CHAOS=n`), `GLHA_CHAOS_SEED=k` that one.

mod lab;

use lab::gated::{self, mount_hook_with_probe, noted};
use lab::{ARTICLE_VIP, Daemon, Host, Lab, Subject, conf, seconds};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::time::SystemTime;

/// A takeover, a hold-down after a failure, and room for a busy machine.
const REST: f64 = 60.0;
/// For so long nothing may change once it has come to rest.
const STILL: f64 = 1.5;
/// Blows of a short plan.
const BLOWS_SHORT: usize = 5;
/// Blows of a plan of `make chaos`.
const BLOWS_LONG: usize = 14;
/// What the master has beside the address of the article.
const MORE_ADDRESS: &str = "172.16.51.91";
const ROUTE: &str = "10.66.0.0/24";
const PRIORITIES: [u8; 2] = [150, 100];

/// SplitMix64: the same plan for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below n")
    }
}

/// Something that a host does to itself: a shell script.
const SCRIPTS: [(&str, &str); 11] = [
    (
        "its addresses go for a moment",
        "ip addr flush dev eth0; sleep 0.2; ip addr add OWN dev eth0",
    ),
    ("its addresses go for long", "ip addr flush dev eth0; sleep 4; ip addr add OWN dev eth0"),
    ("its interface flaps", "ip link set eth0 down; sleep 0.2; ip link set eth0 up"),
    ("its interface is down for long", "ip link set eth0 down; sleep 4; ip link set eth0 up"),
    ("an address is deleted", "ip addr del VIP/32 dev eth0 || :"),
    (
        "all addresses of the service are deleted",
        "ip addr del VIP/32 dev eth0; ip addr del MORE/32 dev eth0 || :",
    ),
    ("the route is deleted", "ip route del ROUTE || :"),
    (
        "the interface is renamed for a moment",
        "ip link set eth0 down; ip link set eth0 name away; sleep 0.1
         ip link set away name eth0; ip link set eth0 up",
    ),
    (
        "much happens that is no business of ours",
        "for n in $(seq 1 250); do ip addr add 127.1.0.$n/32 dev lo; ip addr del 127.1.0.$n/32 dev lo; done",
    ),
    (
        "settings are changed",
        "sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.rp_filter=2",
    ),
    ("the socket is removed", "rm -f /run/glha/control.sock"),
];
/// Those after which the node is silent for longer than the other waits.
const LONG: [usize; 2] = [1, 3];

/// Two nodes, and what was done to them.
struct World {
    lab: Lab,
    daemons: [Option<Daemon>; 2],
    has_storage: bool,
    told: String,
}

impl World {
    fn new(has_storage: bool) -> Self {
        let lab = Lab::pair();
        let mut world = Self { lab, daemons: [None, None], has_storage, told: String::new() };
        for (place, priority) in PRIORITIES.into_iter().enumerate() {
            let host = &world.lab.hosts[place];
            gated::install(
                host,
                priority,
                "mount timeout 20 probe 2",
                &mount_hook_with_probe(":", ":", ":"),
            );
            world.configure(place, priority);
            world.start(place);
        }
        world
    }

    fn configure(&self, place: usize, priority: u8) {
        let more = format!(
            "virtual_ipaddress_excluded {{\n{MORE_ADDRESS}\n}}\nvirtual_routes {{\n{ROUTE} dev eth0\n}}"
        );
        self.lab.hosts[place].write("/etc/keepalived/keepalived.conf", &conf(priority, &more));
    }

    fn start(&mut self, place: usize) {
        let file = if self.has_storage {
            "/etc/glha/glha.conf"
        } else {
            "/etc/keepalived/keepalived.conf"
        };
        self.daemons[place] = Some(Subject::Glha.start_with(&self.lab.hosts[place], file));
    }

    fn signal(&self, place: usize, signal: Signal) {
        if let Some(daemon) = &self.daemons[place] {
            daemon.signal(signal);
        }
    }

    /// Has everything, and nothing of it is elsewhere.
    fn is_at_rest(&self) -> bool {
        let hosts = &self.lab.hosts;
        let Some(master) = hosts.iter().position(|host| host.has_address(ARTICLE_VIP)) else {
            return false;
        };
        let other = &hosts[1 - master];
        // Storage stays where it is; addresses go to the better node.
        (master == 0 || self.has_storage)
            && has_all(&hosts[master])
            && [ARTICLE_VIP, MORE_ADDRESS].iter().all(|ip| !other.has_address(ip))
            && hosts[master].run("/run/lab/glha status").said.contains("is MASTER")
    }

    #[track_caller]
    fn comes_to_rest(&mut self) {
        let limit = seconds(REST);
        if !lab::wait_until(limit, || self.is_at_rest()) {
            let seen = self.lab.hosts.iter().map(|host| {
                let status = host.run("/run/lab/glha status").said;
                format!("{}:\n{}{status}", host.name, host.run("ip -br addr; ip route").said)
            });
            let seen: String = seen.collect();
            self.lab.fail(&format!("it does not come to rest after:\n{}{seen}", self.told));
        }
        if lab::wait_until(seconds(STILL), || !self.is_at_rest()) {
            self.lab.fail(&format!("it does not stay at rest after:\n{}", self.told));
        }
        let ended = self.daemons.iter_mut().flatten().any(|daemon| daemon.ended().is_some());
        self.lab.check(&format!("both run after:\n{}", self.told), !ended);
        if self.has_storage {
            self.was_never_on_both();
        }
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

    fn blow(&mut self, random: &mut Random) {
        let place = random.below(2);
        let kind = random.below(SCRIPTS.len() + 6);
        if self.has_storage && (LONG.contains(&kind) || kind >= SCRIPTS.len() + 4) {
            // There is no guard here: who is silent for that long may lose it to the other.
            return;
        }
        let host = self.lab.hosts[place].name;
        let at = self.lab.elapsed().as_secs_f64();
        let mut tell = |what: &str| {
            let _ = writeln!(self.told, "{at:8.3} {host}: {what}");
            println!("{at:8.3} {host}: {what}");
        };
        if let Some((what, script)) = SCRIPTS.get(kind) {
            tell(what);
            let own = ["172.16.51.11/24", "172.16.51.12/24"][place];
            let script = script.replace("OWN", own).replace("VIP", ARTICLE_VIP);
            let script = script.replace("MORE", MORE_ADDRESS).replace("ROUTE", ROUTE);
            self.lab.hosts[place].run(&script);
            return;
        }
        match kind - SCRIPTS.len() {
            0 => {
                tell("reload");
                self.signal(place, Signal::SIGHUP);
            }
            1 => {
                tell("reload, with addresses that go");
                self.signal(place, Signal::SIGHUP);
                self.lab.hosts[place].run("ip addr flush dev eth0 scope global label none || :");
                self.signal(place, Signal::SIGHUP);
            }
            2 => {
                tell("another priority");
                self.configure(place, 120);
                self.signal(place, Signal::SIGHUP);
                self.comes_to_rest();
                self.configure(place, PRIORITIES[place]);
                self.signal(place, Signal::SIGHUP);
            }
            3 => {
                tell("dumps are asked for");
                for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGUSR1] {
                    self.signal(place, signal);
                }
            }
            4 => {
                tell("the node stands still for long");
                self.lab.hosts[place].freeze(true);
                lab::wait_until(seconds(6.0), || false);
                self.lab.hosts[place].freeze(false);
                self.daemons.iter().flatten().for_each(Daemon::go_on);
            }
            _ => {
                tell("the daemon is killed, and started again");
                self.signal(place, Signal::SIGKILL);
                let mut daemon = self.daemons[place].take().expect("it runs");
                daemon.wait(seconds(REST));
                self.start(place);
            }
        }
    }

    #[track_caller]
    fn ends(mut self) {
        for daemon in self.daemons.iter_mut().flatten() {
            daemon.signal(Signal::SIGTERM);
        }
        for daemon in self.daemons.iter_mut().flatten() {
            daemon.wait(seconds(REST));
        }
        let is_left = |host: &Host| {
            host.has_address(ARTICLE_VIP)
                || host.has_address(MORE_ADDRESS)
                || host.run("ip route").said.contains(ROUTE)
        };
        let left = self.lab.hosts.iter().any(is_left);
        self.lab.check(&format!("something is left after:\n{}", self.told), !left);
    }
}

fn has_all(host: &Host) -> bool {
    host.has_address(ARTICLE_VIP)
        && host.has_address(MORE_ADDRESS)
        && host.run("ip route").said.contains(ROUTE)
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

fn play(seed: u64, blows: usize) {
    let mut random = Random(seed);
    let has_storage = random.below(3) == 0;
    let mut world = World::new(has_storage);
    let _ = writeln!(world.told, "seed {seed}, storage {has_storage}");
    world.comes_to_rest();
    for _ in 0..blows {
        world.blow(&mut random);
        world.comes_to_rest();
    }
    world.ends();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// Every third seed, so that the harness plays three at a time.
fn share(offset: u64) {
    if let Some(seed) = number("GLHA_CHAOS_SEED") {
        if offset == 0 {
            play(seed, BLOWS_LONG);
        }
        return;
    }
    let (count, blows) = match number("GLHA_CHAOS_SEEDS") {
        Some(count) => (count, BLOWS_LONG),
        None => (3, BLOWS_SHORT),
    };
    for seed in (1..=count).filter(|seed| seed % 3 == offset) {
        play(seed, blows);
    }
}

#[test]
fn a_pair_comes_to_rest_whatever_happens_to_it() {
    share(0);
}

#[test]
fn another_pair_comes_to_rest() {
    share(1);
}

#[test]
fn a_third_pair_comes_to_rest() {
    share(2);
}
