//! What `-t` finds fault with, and answers, is what keepalived finds fault with and answers:
//! every keyword with the values at the edges of what it takes, beyond, and without one; references
//! to what stands elsewhere; scripts that are not there. keepalived is asked first.
//!
//! Needs root (a network of its own for keepalived) and keepalived.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use glha::conf::parse::{self, Known};
use glha::conf::{self, Context, Files, Loaded, Severity};

/// What is tried with every keyword.
const VALUES: &[&str] = &[
    "\"\"",
    "\" 5\"",
    "\"5 \"",
    "0",
    "1",
    "-1",
    "+1",
    "00",
    "01",
    "0.5",
    "0.01",
    "0.009",
    "1.5",
    ".5",
    "5.",
    ".",
    "-",
    "+",
    "1e3",
    "0x10",
    "10s",
    "1ms",
    "100%",
    "1,5",
    "2",
    "3",
    "19",
    "20",
    "-20",
    "-21",
    "99",
    "100",
    "101",
    "240",
    "253",
    "254",
    "255",
    "256",
    "-253",
    "-254",
    "-255",
    "1000",
    "1000.5",
    "1001",
    "3600",
    "3601",
    "4294",
    "4295",
    "4294.967295",
    "4294.967296",
    "65535",
    "65536",
    "86400",
    "86401",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "99999999999999999999",
    "0.0000004",
    "1.1234567",
    "abc",
    "on",
    "off",
    "true",
    "yes",
    "ON",
    "a-b",
    "a.b",
    "a/b",
    "a:b",
    "é",
    "1 2",
    "1 extra",
    "5 reverse",
    "-5 noreverse",
    "5 reverse extra",
    "\"a b\"",
    "1.2.3.4",
    "224.0.0.18",
    "ff02::12",
    "fe80::1",
    "fe80::1/64",
    "10.0.0.7/24",
    "eth1",
    "lo",
    "all",
    "all 10",
    "10 all",
    "aaaaaaaaaaaaaaa",
    "MASTER",
    "BACKUP",
    "FAULT",
    "PASS",
    "NONE",
    "initial",
    "partial",
    "overwrite",
    "5 overwrite",
    "300 overwrite",
    "02:00:00:00:00:01",
];

/// Keywords that are judged otherwise on purpose, with these values (none: with all), and why.
const OTHERWISE: &[(&str, &[&str], &str)] = &[
    ("interval", DECIMALS, "scripts may have decimals"),
    ("timeout", DECIMALS, "scripts may have decimals"),
    ("advert_int", DECIMALS, "version 2 has whole seconds, which keepalived says without a line"),
    ("script_user", &[], "users are looked up by the audit"),
    ("user", &[], "users are looked up by the audit"),
    ("smtp_server", &[], "names are not looked up"),
    ("notify_fifo", &[], "paths are absolute"),
    ("vrrp_notify_fifo", &[], "paths are absolute"),
    ("reload_file", &[], "paths are absolute"),
    ("reload_time_file", &[], "paths are absolute"),
    ("nftables", &[], "what nft cannot write is an error"),
    ("vmac_prefix", &[], "what no interface can be called is an error"),
    ("vmac_addr_prefix", &[], "what no interface can be called is an error"),
    ("default_interface", NO_INTERFACE, "no interface can be called so"),
    ("interface", NO_INTERFACE, "no interface can be called so"),
    ("unicast_src_ip", &[], "it is said that there are no peers"),
    ("unicast_ttl", &[], "it is said that there are no peers"),
    ("check_unicast_src", &[], "it is said that there are no peers"),
    ("unicast_fault_no_peer", &[], "it is said that there are no peers"),
    ("use_ipvlan", &[], "an IPVLAN of IPv4 without a source address is an error of that line"),
    ("use_vmac", &["lo"], "the audit finds interfaces that are there"),
    ("vmac_xmit_base", &[], "it is said that there is no use_vmac"),
    // Keywords that 2.2.7 does not know.
    ("no_virtual_ipaddress", &[], "newer"),
    ("owner_ignore_adverts", &[], "newer"),
    ("thread_timer_expired", &[], "newer"),
    ("timer_expired_backup", &[], "newer"),
    ("v3_checksum_as_v2", &[], "newer"),
    ("vrrp_delay_after_boot", &[], "newer"),
    ("vrrp_owner_ignore_adverts", &[], "newer"),
];

const DECIMALS: &[&str] =
    &["0.5", "0.01", "0.009", "1.5", ".5", "5.", ".", "+", "1000.5", "0.0000004", "1.1234567"];
const NO_INTERFACE: &[&str] =
    &["\"\"", "99999999999999999999", "a/b", "10.0.0.7/24", "fe80::1/64", "02:00:00:00:00:01"];

const OPENING: &str =
    "global_defs {\ndynamic_interfaces\nenable_script_security\nscript_user root\n}\n";

fn is_otherwise(keyword: &str, value: &str) -> bool {
    let covers = |values: &[&str]| values.is_empty() || values.contains(&value);
    OTHERWISE.iter().any(|(name, values, _)| *name == keyword && covers(values))
}

/// The keywords whose values are looked at, and how a configuration goes on around them.
fn around(known: &Known) -> Option<(&'static str, &'static str)> {
    const INSTANCE: &str = "vrrp_instance V@ {\n interface eth0\n virtual_router_id @\n virtual_ipaddress { 10.0.0.9/24 }\n";
    Some(match known.block {
        "global_defs" => ("global_defs {\n", "}\n"),
        "vrrp_script" => ("vrrp_script S@ {\n script /bin/true\n", "}\n"),
        "vrrp_track_process" => ("vrrp_track_process P@ {\n process init\n", "}\n"),
        "track_file" => ("track_file F@ {\n", "file /etc/hosts\n}\n"),
        "vrrp_instance" => (INSTANCE, "}\n"),
        "vrrp_sync_group" => ("vrrp_sync_group G@ {\n group {\n A\n B\n }\n", "}\n"),
        "garp_group" => ("garp_group {\n", " garp_interval 1\n}\n"),
        _ => return None,
    })
}

/// What `-t` of keepalived says and answers.
fn keepalived(path: &Path) -> (String, Option<i32>) {
    let mut keepalived = Command::new("unshare");
    keepalived.args(["-n", "keepalived", "-t", "-f"]).arg(path);
    let out = keepalived.output().expect("unshare and keepalived are installed");
    (String::from_utf8_lossy(&out.stderr).into_owned(), out.status.code())
}

/// Lines of the file that keepalived names.
fn named_by_keepalived(path: &Path) -> BTreeSet<u32> {
    let (text, status) = keepalived(path);
    assert!(matches!(status, Some(0 | 5)), "{}: status {status:?}: {text}", path.display());
    let numbers = text.split("Line ").skip(1);
    numbers.filter_map(|rest| rest.split(')').next()?.parse().ok()).collect()
}

fn load(path: &Path) -> Loaded {
    let mut read = |path: &Path| fs::read(path);
    let mut list = |_: &Path| -> io::Result<Vec<OsString>> { Ok(Vec::new()) };
    conf::load(path, &mut Files { read: &mut read, list: &mut list }, &Context::default())
}

fn named_by_glha(path: &Path) -> BTreeSet<u32> {
    let loaded = load(path);
    let faults = loaded.diagnostics.iter().filter(|found| found.severity >= Severity::Fault);
    faults.map(|found| found.span.line).collect()
}

/// A folder of the test's own, and what it holds: the keywords with how they are set in a file.
struct Bench(PathBuf);

impl Bench {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("glha-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        Self(folder)
    }

    fn write(&self, known: &Known, text: &str) -> PathBuf {
        let path = self.0.join(format!("{}-{}.conf", known.block, known.keyword));
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The keywords whose values are looked at, and how a configuration goes on around them.
fn examined() -> impl Iterator<Item = (Known, &'static str, &'static str)> {
    parse::keywords().into_iter().filter(|known| known.is_examined).filter_map(|known| {
        let (before, after) = around(&known)?;
        Some((known, before, after))
    })
}

/// keepalived ends where a value is missing, but for some keywords; glha does not start with it then.
#[test]
fn the_same_values_may_be_missing() {
    let bench = Bench::new("missing");
    let mut wrong = String::new();
    for (known, before, after) in examined() {
        let line = format!("{}\n", known.keyword);
        let path =
            bench.write(&known, &format!("{OPENING}{before}{line}{after}").replace('@', "1"));
        let (text, status) = keepalived(&path);
        let theirs = text.contains("is missing a parameter");
        let ours = conf::exit_status(&load(&path)) == 4;
        // The first needs peers; the second is of LVS, and not looked at; the third needs a source address.
        let is_other = ["unicast_fault_no_peer", "lvs_sync_daemon_interface", "use_ipvlan"];
        if theirs != ours && !is_other.contains(&known.keyword) {
            let (block, keyword) = (known.block, known.keyword);
            let _ = writeln!(wrong, "{block} {keyword}: keepalived {status:?} {text}, glha {ours}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_same_values_are_taken() {
    let bench = Bench::new("ranges");
    let mut wrong = String::new();
    let mut tried = 0;
    for (known, before, after) in examined() {
        let mut text = String::from(OPENING);
        let mut places = Vec::new();
        for (index, value) in VALUES.iter().enumerate() {
            text.push_str(&before.replace('@', &(index + 1).to_string()));
            places.push((text.lines().count() as u32 + 1, *value));
            let _ = write!(text, "{} {value}\n{after}", known.keyword);
        }
        let path = bench.write(&known, &text);
        let (theirs, ours) = (named_by_keepalived(&path), named_by_glha(&path));
        for (line, value) in places {
            tried += 1;
            let (theirs, ours) = (theirs.contains(&line), ours.contains(&line));
            if theirs != ours && !is_otherwise(known.keyword, value) {
                let say = |is_named| if is_named { "finds fault" } else { "takes it" };
                let (block, keyword) = (known.block, known.keyword);
                let (theirs, ours) = (say(theirs), say(ours));
                let _ =
                    writeln!(wrong, "{block} {keyword} {value}: keepalived {theirs}, glha {ours}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(tried > 5000, "only {tried} were tried");
}

const SCRIPT: &str = "vrrp_script X {\nscript /bin/true\n}\n";
const PROCESS: &str = "vrrp_track_process X {\nprocess init\n}\n";
const FILE: &str = "track_file X {\nfile /etc/hosts\n}\n";

fn instance(name: &str, vrid: u8, within: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\npriority 100\n{within}\
         virtual_ipaddress {{\n10.0.0.{vrid}\n}}\n}}\n"
    )
}

/// Scripts, processes and files are only known after they were read; members of groups always.
#[test]
fn what_is_tracked_stands_above() {
    let bench = Bench::new("order");
    let pair = instance("A", 1, "") + &instance("B", 2, "");
    let group = |within: &str| format!("vrrp_sync_group G {{\ngroup {{\nA\nB\n}}\n{within}}}\n");
    let (mut wrong, mut faults) = (String::new(), 0);
    for (what, definition) in [("script", SCRIPT), ("process", PROCESS), ("file", FILE)] {
        for weight in ["", " weight 0", " weight 5"] {
            let track = format!("track_{what} {{\nX{weight}\n}}\n");
            let by_instance = instance("A", 1, &track);
            let by_group = pair.clone() + &group(&track);
            for text in [
                format!("{definition}{by_instance}"),
                format!("{by_instance}{definition}"),
                format!("{definition}{by_group}"),
                format!("{by_group}{definition}"),
                format!("{}{pair}{definition}", group(&track)),
                format!("{}{definition}{pair}", group(&track)),
            ] {
                let path = bench.0.join("order.conf");
                fs::write(&path, format!("{OPENING}{text}")).expect("written");
                let (theirs, ours) = (named_by_keepalived(&path), named_by_glha(&path));
                faults += theirs.len();
                if theirs != ours {
                    let _ = writeln!(wrong, "{text}keepalived {theirs:?}, glha {ours:?}\n");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(faults >= 20, "only {faults} times keepalived found fault");
}

/// The status says whether scripts are there, and whether they are secure.
#[test]
fn scripts_decide_the_status() {
    let bench = Bench::new("scripts");
    let commands = [
        "/bin/true",
        "true",
        "/nonexistent/glha",
        "nonexistent-glha",
        "/etc",
        "/etc/hostname",
        "\"/bin/sh -c true\"",
        "/bin/true nosuchuser",
        "\"/bin/true\" root nosuchgroup",
        "\"</etc/hostname\"",
    ];
    let openings = ["", "script_user root\n", "script_user root\nenable_script_security\n"];
    let mut wrong = String::new();
    let mut answers = BTreeSet::new();
    for (command, opening) in commands.iter().flat_map(|c| openings.map(|o| (c, o))) {
        let check = format!("vrrp_script X {{\nscript {command}\n}}\n");
        let global =
            |within: &str| format!("global_defs {{\ndynamic_interfaces\n{opening}{within}}}\n");
        let fifo =
            format!("notify_fifo {}/fifo\nnotify_fifo_script {command}\n", bench.0.display());
        for text in [
            global("") + &check + &instance("A", 1, "track_script {\nX\n}\n"),
            global("") + &check + &instance("A", 1, ""),
            global("") + &instance("A", 1, &format!("notify {command}\n")),
            global("") + &instance("A", 1, &format!("notify_fault {command}\n")),
            global(&format!("startup_script {command}\n")) + &instance("A", 1, ""),
            global(&format!("shutdown_script {command}\n")),
            global(&fifo) + &instance("A", 1, ""),
        ] {
            let path = bench.0.join("scripts.conf");
            fs::write(&path, &text).expect("written");
            let (_, theirs) = keepalived(&path);
            let mut glha = Command::new("unshare");
            glha.args(["-n", env!("CARGO_BIN_EXE_glha"), "-t", "-f"]).arg(&path);
            let out = glha.output().expect("glha starts");
            answers.insert(theirs);
            if out.status.code() != theirs {
                let said = String::from_utf8_lossy(&out.stderr);
                let (theirs, ours) = (theirs, out.status.code());
                let _ = writeln!(wrong, "{text}keepalived {theirs:?}, glha {ours:?}: {said}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(answers, BTreeSet::from([Some(0), Some(5), Some(6)]));
}
