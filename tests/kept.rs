//! What is in force after a good value and a bad one that follows it: what was there before, or what
//! the bad one alone would have left. keepalived is asked first: it dumps what it has understood.
//!
//! Needs root (a network of its own for keepalived) and keepalived.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use glha::conf::{self, Context, Files};

/// Settings with a value that holds and differs from the default; in `global_defs` also how
/// keepalived's dump begins the line about it.
const GOOD: &[(&str, &str, &str, &str)] = &[
    ("vrrp_instance", "state", "MASTER", ""),
    ("vrrp_instance", "virtual_router_id", "77", ""),
    ("vrrp_instance", "priority", "4", ""),
    ("vrrp_instance", "advert_int", "3", ""),
    ("vrrp_instance", "down_timer_adverts", "4", ""),
    ("vrrp_instance", "mcast_src_ip", "10.0.0.3", ""),
    ("vrrp_instance", "unicast_src_ip", "10.0.0.3", ""),
    ("vrrp_instance", "mcast_dst_ip", "224.0.0.99", ""),
    ("vrrp_instance", "preempt_delay", "8", ""),
    ("vrrp_instance", "garp_master_delay", "7", ""),
    ("vrrp_instance", "garp_master_repeat", "7", ""),
    ("vrrp_instance", "garp_master_refresh", "7", ""),
    ("vrrp_instance", "garp_master_refresh_repeat", "7", ""),
    ("vrrp_instance", "garp_lower_prio_delay", "7", ""),
    ("vrrp_instance", "garp_lower_prio_repeat", "7", ""),
    ("vrrp_instance", "lower_prio_no_advert", "on", ""),
    ("vrrp_instance", "higher_prio_send_advert", "on", ""),
    ("vrrp_instance", "version", "3", ""),
    ("vrrp_instance", "strict_mode", "on", ""),
    ("vrrp_instance", "smtp_alert", "on", ""),
    ("vrrp_instance", "notify_priority_changes", "on", ""),
    ("vrrp_script", "interval", "4", ""),
    ("vrrp_script", "timeout", "4", ""),
    ("vrrp_script", "weight", "4", ""),
    ("vrrp_script", "rise", "4", ""),
    ("vrrp_script", "fall", "4", ""),
    ("vrrp_track_process", "param_match", "initial", ""),
    ("vrrp_track_process", "weight", "4", ""),
    ("vrrp_track_process", "quorum", "4", ""),
    ("vrrp_track_process", "quorum_max", "4", ""),
    ("vrrp_track_process", "delay", "4", ""),
    ("vrrp_track_process", "fork_delay", "4", ""),
    ("vrrp_track_process", "terminate_delay", "4", ""),
    ("track_file", "weight", "4", ""),
    ("track_file", "file", "/etc/hostname", ""),
    ("vrrp_sync_group", "smtp_alert", "on", ""),
    ("vrrp_sync_group", "notify_priority_changes", "on", ""),
    ("bfd_instance", "source_ip", "10.0.0.3", ""),
    ("bfd_instance", "min_rx", "100", ""),
    ("bfd_instance", "min_tx", "100", ""),
    ("bfd_instance", "idle_tx", "2000", ""),
    ("bfd_instance", "multiplier", "7", ""),
    ("bfd_instance", "ttl", "77", ""),
    ("bfd_instance", "hoplimit", "77", ""),
    ("bfd_instance", "max_hops", "7", ""),
    ("global_defs", "router_id", "me", "Router ID ="),
    ("global_defs", "smtp_alert", "on", "Default smtp_alert ="),
    ("global_defs", "smtp_alert_vrrp", "on", "Default smtp_alert_vrrp ="),
    ("global_defs", "umask", "0027", "umask ="),
    ("global_defs", "vrrp_priority", "-3", "VRRP process priority ="),
    ("global_defs", "vrrp_rt_priority", "3", "VRRP realtime priority ="),
    ("global_defs", "vrrp_version", "3", "VRRP default protocol version ="),
    ("global_defs", "vrrp_mcast_group4", "224.0.0.99", "VRRP IPv4 mcast group ="),
    ("global_defs", "vrrp_mcast_group6", "ff02::99", "VRRP IPv6 mcast group ="),
    ("global_defs", "vrrp_garp_master_delay", "7", "Gratuitous ARP delay ="),
    ("global_defs", "vrrp_garp_master_repeat", "7", "Gratuitous ARP repeat ="),
    ("global_defs", "vrrp_garp_lower_prio_delay", "8", "Gratuitous ARP lower priority delay ="),
    ("global_defs", "vrrp_garp_lower_prio_repeat", "8", "Gratuitous ARP lower priority repeat ="),
    ("global_defs", "vrrp_garp_master_refresh", "7", "Gratuitous ARP refresh timer ="),
    ("global_defs", "vrrp_garp_master_refresh_repeat", "7", "Gratuitous ARP refresh repeat ="),
    ("global_defs", "vrrp_garp_interval", "7", "Gratuitous ARP interval ="),
    ("global_defs", "vrrp_gna_interval", "7", "Gratuitous NA interval ="),
    ("global_defs", "vrrp_down_timer_adverts", "7", "Num adverts before down ="),
    ("global_defs", "vrrp_lower_prio_no_advert", "on", "Send advert after receive lower"),
    ("global_defs", "vrrp_higher_prio_send_advert", "on", "Send advert after receive higher"),
    ("global_defs", "vrrp_garp_extra_if", "12", "Gratuitous ARP for each secondary"),
    ("global_defs", "vrrp_notify_priority_changes", "on", "VRRP notify priority changes ="),
];

/// What follows. A missing value ends keepalived, which `tests/verdicts.rs` looks at.
const BAD: &[&str] = &[
    "abc",
    "0",
    "-1",
    "1.5",
    "7x",
    "256",
    "99999999999999999999",
    "-99999999999999999999",
    "ON",
    "fe80::1",
    "10.0.0.300",
    "10.0.0.77",
];

/// With these keepalived does not start: an address of the other family takes the instance's addresses
/// from it. They are not tried.
const FATAL: &[(&str, &str)] =
    &[("mcast_src_ip", "fe80::1"), ("unicast_src_ip", "fe80::1"), ("mcast_dst_ip", "fe80::1")];

/// Where glha differs on purpose, with these values (none: with all).
const OTHERWISE: &[(&str, &str, &[&str], &str)] = &[
    ("vrrp_track_process", "delay", NO_TIMES, MILLIONTHS),
    ("vrrp_track_process", "fork_delay", NO_TIMES, MILLIONTHS),
    ("vrrp_track_process", "terminate_delay", NO_TIMES, MILLIONTHS),
    ("global_defs", "vrrp_garp_interval", NO_TIMES, MILLIONTHS),
    ("global_defs", "vrrp_gna_interval", NO_TIMES, MILLIONTHS),
];

const NO_TIMES: &[&str] = &["7x", "10.0.0.300", "10.0.0.77"];
const MILLIONTHS: &str = "keepalived takes millionths of the number that the text begins with";

const OPENING: &str =
    "global_defs {\ndynamic_interfaces\nenable_script_security\nscript_user root\n@}\n";

/// Beside one of IPv4, so that what is global shows in both.
const V6: &str =
    "vrrp_instance W {\ninterface e1\nvirtual_router_id 51\nvirtual_ipaddress {\nfe80::9\n}\n}\n";

/// Longer than keepalived needs to read and dump everything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A block around lines, its number in place of each `@`, and what keepalived heads its dump with.
fn around(block: &str, lines: &str, number: usize) -> String {
    let instance = |more: &str| {
        format!(
            "vrrp_instance V@ {{\ninterface e@\nvirtual_router_id 51\n{more}virtual_ipaddress {{\n10.0.0.9/24\n}}\n}}\n"
        )
    };
    let text = match block {
        "vrrp_instance" => instance(lines),
        "vrrp_script" => {
            let block = format!("vrrp_script T@ {{\nscript /bin/true\n{lines}}}\n");
            block + &instance("track_script {\nT@\n}\n")
        }
        "vrrp_track_process" => {
            let block = format!("vrrp_track_process T@ {{\nprocess init\n{lines}}}\n");
            block + &instance("track_process {\nT@\n}\n")
        }
        "track_file" => {
            // The first `file` counts.
            let block = format!("track_file T@ {{\n{lines}file /etc/hosts\n}}\n");
            block + &instance("track_file {\nT@\n}\n")
        }
        "vrrp_sync_group" => {
            instance("") + &format!("vrrp_sync_group T@ {{\ngroup {{\nV@\n}}\n{lines}}}\n")
        }
        _ => format!("bfd_instance T@ {{\nneighbor_ip 10.9.@.1\n{lines}}}\n"),
    };
    text.replace("10.9.@", &format!("10.{}.{}", number / 256, number % 256))
        .replace('@', &number.to_string())
}

/// The same values three times: a good one, a bad one, and both.
fn lines(keyword: &str, good: &str, bad: &str) -> [String; 3] {
    let bad = if FATAL.contains(&(keyword, bad)) { "abc" } else { bad };
    let (good, bad) = (format!("{keyword} {good}\n"), format!("{keyword} {bad}\n"));
    let both = good.clone() + &bad;
    [good, bad, both]
}

/// What is left of a good value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// It is in force.
    Kept,
    /// What the bad one alone leaves, which may be the default.
    Gone,
    /// Something else.
    Mixed,
    /// It makes no difference here.
    Unseen,
}

fn left<T: PartialEq>([good, bad, both]: &[T; 3]) -> Left {
    match (both == good, both == bad) {
        (true, true) => Left::Unseen,
        (true, false) => Left::Kept,
        (false, true) => Left::Gone,
        (false, false) => Left::Mixed,
    }
}

/// A folder of the test's own, and keepalived as long as it runs.
struct Bench {
    folder: PathBuf,
    keepalived: Option<Child>,
}

impl Bench {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("glha-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        Self { folder, keepalived: None }
    }

    /// The lines of keepalived's dump of this configuration. It is whole when these two are there, one
    /// after the other.
    fn dump(&mut self, mode: &str, text: &str, last: [&str; 2]) -> Vec<String> {
        let path = |name: &str| self.folder.join(name);
        fs::write(path("conf"), text).expect("written");
        let log = fs::File::create(path("log")).expect("the log");
        let mut command = Command::new("unshare");
        command.args(["-n", "keepalived", "-n", "-d", "-l", mode, "-f"]).arg(path("conf"));
        for (option, name) in [("-p", "p"), ("-r", "r"), ("-c", "c"), ("-b", "b")] {
            command.arg(option).arg(path(name));
        }
        command.stdout(log.try_clone().expect("the log")).stderr(log);
        let log = path("log");
        self.keepalived = Some(command.spawn().expect("unshare and keepalived are installed"));
        let start = Instant::now();
        let dumped = loop {
            let dumped = fs::read_to_string(&log).expect("the log");
            if dumped.split_once(last[0]).is_some_and(|(_, rest)| rest.contains(last[1])) {
                break dumped;
            }
            let ended = self.keepalived.as_mut().map(|one| one.try_wait().expect("a child"));
            assert!(ended == Some(None) && start.elapsed() < PATIENCE, "no {last:?}: {dumped}");
            std::thread::sleep(Duration::from_millis(20));
        };
        self.end();
        // Each line begins with the time, `Fri Nov 27 14:13:11 2026: `.
        dumped.lines().filter_map(|line| line.get(26..).map(str::to_owned)).collect()
    }

    /// A signal that comes while keepalived starts is lost: it is sent until it is heard.
    fn end(&mut self) {
        let Some(mut keepalived) = self.keepalived.take() else { return };
        let pid = keepalived.id().to_string();
        let start = Instant::now();
        while matches!(keepalived.try_wait(), Ok(None)) {
            let signal = if start.elapsed() < PATIENCE { "TERM" } else { "KILL" };
            let _ = Command::new("kill").args(["-s", signal, &pid]).status();
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What glha understands, without the places where it stands.
fn understood(text: &str) -> String {
    let mut read = |_: &Path| Ok(text.as_bytes().to_vec());
    let mut list = |_: &Path| -> io::Result<Vec<OsString>> { Ok(Vec::new()) };
    let mut files = Files { read: &mut read, list: &mut list };
    let loaded = conf::load(Path::new("conf"), &mut files, &Context::default());
    let text = format!("{:?}", loaded.config);
    let mut parts = text.split("Span {");
    let mut out = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| out.push_str(part.split_once('}').map_or("", |(_, rest)| rest)));
    out
}

fn is_otherwise(block: &str, keyword: &str, bad: &str) -> bool {
    let covers = |values: &[&str]| values.is_empty() || values.contains(&bad);
    OTHERWISE.iter().any(|&(b, k, values, _)| (b, k) == (block, keyword) && covers(values))
}

/// What is left of a good value, by keyword and by what follows.
type Outcome = BTreeMap<(&'static str, &'static str), Left>;

/// Asks glha the same, and says what differs.
fn compare(block: &str, theirs: &Outcome) {
    let mut wrong = String::new();
    for (_, keyword, good, _) in of(block) {
        for bad in BAD {
            let texts = lines(keyword, good, bad).map(|lines| match block {
                "global_defs" => {
                    OPENING.replace('@', &lines) + &around("vrrp_instance", "", 1) + V6
                }
                _ => OPENING.replace('@', "") + &around(block, &lines, 1),
            });
            let theirs = theirs[&(*keyword, *bad)];
            let ours = left(&texts.map(|text| understood(&text)));
            if theirs != ours && !is_otherwise(block, keyword, bad) {
                let _ = writeln!(
                    wrong,
                    "{block} {keyword} {good}, then {bad}: keepalived {theirs:?}, glha {ours:?}"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let count = |left: Left| theirs.values().filter(|one| **one == left).count();
    let (kept, gone, unseen) = (count(Left::Kept), count(Left::Gone), count(Left::Unseen));
    assert!(
        unseen < kept + gone,
        "kept {kept}, gone {gone}, not seen {unseen}: does this test look aside?"
    );
}

type Setting = (&'static str, &'static str, &'static str, &'static str);

fn of(block: &str) -> impl Iterator<Item = &'static Setting> {
    GOOD.iter().filter(move |(of, ..)| *of == block)
}

/// A block can be there many times: one keepalived reads all values of a keyword.
fn blocks(mode: &str, block: &str, last: [&str; 2]) {
    let mut bench = Bench::new(block);
    let mut outcome = Outcome::new();
    for (_, keyword, good, _) in of(block) {
        let mut text = OPENING.replace('@', "");
        let mut number = 0;
        for (place, bad) in BAD.iter().enumerate() {
            let [good, bad, both] = lines(keyword, good, bad);
            for lines in [good, bad, both].iter().skip(usize::from(place > 0)) {
                text += &around(block, lines, number);
                number += 1;
            }
        }
        let dumped = numbered(&bench.dump(mode, &text, last));
        for (place, bad) in BAD.iter().enumerate() {
            let three = [0, 2 * place + 1, 2 * place + 2].map(|number| dumped.get(&number));
            outcome.insert((keyword, bad), left(&three));
        }
    }
    compare(block, &outcome);
}

/// What is said in a block and is no setting, or differs from one to the other.
const NO_SETTINGS: &[&str] = &["Number of config faults", "Neighbor IP", "Flags:"];

/// Everything that bears a number, without it. Lines of what is global come in between: they are
/// another process's.
fn numbered(dump: &[String]) -> BTreeMap<usize, Vec<String>> {
    let mut out: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in dump {
        if let (Some(told), Some(number)) = (line.strip_prefix("   "), current) {
            if !NO_SETTINGS.iter().any(|head| told.starts_with(head)) {
                let own = ["V", "T", "e"].map(|letter| format!("{letter}{number}"));
                let told =
                    own.iter().fold(told.replace(" (from configuration)", ""), |told, own| {
                        told.replace(own, "@")
                    });
                out.entry(number).or_default().push(told);
            }
        } else if let Some((what, name)) = line.split_once(" = ") {
            let name = name.split(',').next().unwrap_or(name);
            let number = name.get(1..).and_then(|digits| digits.parse().ok());
            if let Some(number) = number.filter(|_| name.starts_with(['V', 'T'])) {
                out.entry(number).or_default().push(what.to_owned());
                current = Some(number);
            } else if what == " Name" {
                current = None;
            }
        }
    }
    out
}

/// Where the part of a dump that has been asked for is over.
const VRRP_END: [&str; 2] = ["------< VRRP Topology >------", "------< Interfaces >------"];

#[test]
fn instances() {
    blocks("-P", "vrrp_instance", VRRP_END);
}

#[test]
fn scripts() {
    blocks("-P", "vrrp_script", VRRP_END);
}

#[test]
fn processes() {
    blocks("-P", "vrrp_track_process", VRRP_END);
}

#[test]
fn files() {
    blocks("-P", "track_file", VRRP_END);
}

#[test]
fn groups() {
    blocks("-P", "vrrp_sync_group", VRRP_END);
}

#[test]
fn global_settings() {
    let mut bench = Bench::new("global_defs");
    let mut dump = |lines: &dyn Fn(&Setting) -> String| -> Vec<Option<String>> {
        let lines: String = of("global_defs").map(lines).collect();
        let text = OPENING.replace('@', &lines) + &around("vrrp_instance", "", 1);
        let lines = bench.dump("-P", &text, VRRP_END);
        let line = |(.., label): &Setting| {
            lines.iter().find(|line| line.trim_start().starts_with(label)).cloned()
        };
        of("global_defs").map(line).collect()
    };
    let good = dump(&|(_, keyword, good, _)| format!("{keyword} {good}\n"));
    let mut outcome = Outcome::new();
    for bad in BAD {
        let alone = dump(&|(_, keyword, ..)| format!("{keyword} {bad}\n"));
        let both = dump(&|(_, keyword, good, _)| lines(keyword, good, bad)[2].clone());
        for (place, (_, keyword, ..)) in of("global_defs").enumerate() {
            let three = [&good[place], &alone[place], &both[place]];
            outcome.insert((keyword, bad), left(&three));
        }
    }
    compare("global_defs", &outcome);
}

#[test]
fn bfd_sessions() {
    let last = format!("BFD Instance = T{}", 2 * BAD.len());
    blocks("-C", "bfd_instance", [&last, "send event to checker process"]);
}
