//! The dumps on signals, beside those of keepalived: both daemons live the same life under the
//! same configuration, and what they write is the same, but for what is listed here.

mod lab;

use lab::{Daemon, Host, Lab, Subject, seconds, wait_until};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// For anything that happens at once; the rest is for a busy machine.
const SOON: f64 = 20.0;
/// Signals, by number: the real-time ones have no names.
const DATA: &str = "10";
const STATS: &str = "12";
const STATS_CLEAR: &str = "63";
const JSON: &str = "36";

/// The node under test. With an interval of 60 s nothing happens by itself during a test.
const CONF: &str = "
global_defs {
    router_id dumped
    enable_script_security
    script_user root
}
vrrp_script good {
    script \"/usr/bin/true with 'some words'\"
    interval 3600
    weight -20
}
vrrp_script bad {
    script /usr/bin/false
    interval 3600
    timeout 5
    rise 2
    fall 3
}
vrrp_instance OWNER {
    state MASTER
    interface eth0
    virtual_router_id 1
    priority 255
    advert_int 60
    garp_master_refresh 300
    garp_lower_prio_repeat 2
    mcast_src_ip 172.16.51.11
    virtual_ipaddress {
        172.16.51.81/24 brd + noprefixroute
        172.16.51.82 dev lo label lo:1 scope link no_track
        172.16.51.83
    }
    virtual_ipaddress_excluded {
        172.16.51.84/32
    }
}
vrrp_instance FAULTY {
    interface eth0
    virtual_router_id 2
    priority 100
    advert_int 60
    nopreempt
    track_script {
        bad
    }
    virtual_ipaddress {
        172.16.51.85
    }
}
vrrp_instance PASSWORD {
    interface eth0
    virtual_router_id 3
    priority 100
    advert_int 60
    authentication {
        auth_type PASS
        auth_pass ours
    }
    virtual_ipaddress {
        172.16.51.86
    }
}
vrrp_instance TYPE {
    interface eth0
    virtual_router_id 4
    priority 100
    advert_int 60
    virtual_ipaddress {
        172.16.51.87
    }
}
vrrp_instance INTERVAL {
    interface eth0
    virtual_router_id 5
    priority 100
    advert_int 61
    virtual_ipaddress {
        172.16.51.88
    }
}
vrrp_instance FOLLOWER {
    interface eth0
    virtual_router_id 7
    priority 100
    advert_int 60
    authentication {
        auth_type PASS
        auth_pass theirs
    }
    preempt_delay 7
    dont_track_primary
    lower_prio_no_advert
    higher_prio_send_advert
    skip_check_adv_addr
    track_interface {
        lo weight 3
    }
    track_script {
        good
        bad weight -7
    }
    virtual_ipaddress {
        172.16.51.90/24
    }
    notify_master \"/usr/bin/true a b\"
    notify_backup \"/usr/bin/true b\"
    notify_fault /usr/bin/true
    notify_stop /usr/bin/true
    notify /usr/bin/true
}
";

/// Whoever the node under test hears: owner of all its addresses, mostly in a wrong way.
fn speaker_conf() -> String {
    let password = "authentication {\nauth_type PASS\nauth_pass theirs\n}\n";
    let routers = [
        ("PASSWORD", 3, password, 86),
        ("TYPE", 4, password, 87),
        ("INTERVAL", 5, "", 88),
        ("FOLLOWER", 7, password, 90),
    ];
    let instance = |(name, vrid, more, last): (&str, u8, &str, u8)| {
        format!(
            "vrrp_instance {name} {{\nstate MASTER\ninterface eth0\nvirtual_router_id {vrid}\n\
             priority 255\nadvert_int 60\n{more}virtual_ipaddress {{\n172.16.51.{last}/24\n}}\n}}\n"
        )
    };
    routers.map(instance).concat()
}

/// Everything that one daemon wrote in its life.
struct Life {
    data: Vec<String>,
    json: Vec<Value>,
    stats: Vec<String>,
    log: String,
}

fn send(daemon: &Daemon, signal: &str) {
    let pid = daemon.pid().to_string();
    let status = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill(1)");
    assert!(status.success(), "kill -s {signal} {pid}");
}

/// Asks for a dump and waits until it is whole: it ends with `end`.
fn dump(lab: &Lab, host: &Host, daemon: &Daemon, signal: &str, file: &str, end: &str) -> String {
    let path = format!("/tmp/keepalived.{file}");
    let _ = std::fs::remove_file(host.path(&path));
    send(daemon, signal);
    lab.wait_for(&format!("a whole {path}"), seconds(SOON), || host.read(&path).ends_with(end));
    let mode = std::fs::metadata(host.path(&path)).expect("it is there").mode();
    lab.check("only the owner reads it", mode & 0o7777 == 0o600);
    host.read(&path)
}

fn json(lab: &Lab, host: &Host, daemon: &Daemon) -> Value {
    let text = dump(lab, host, daemon, JSON, "json", "}}]\n");
    serde_json::from_str(&text).unwrap_or_else(|e| lab.fail(&format!("{e}: {text}")))
}

/// Repeats the dump until the instance in that place has this number there.
fn wait_for(lab: &Lab, daemon: &Daemon, place: usize, pointer: &str, number: u64) {
    let pointer = format!("/{place}{pointer}");
    lab.wait_for(&format!("{pointer} = {number}"), seconds(SOON), || {
        json(lab, &lab.hosts[0], daemon).pointer(&pointer).and_then(Value::as_u64) == Some(number)
    });
}

fn live(subject: Subject) -> Life {
    let lab = Lab::pair();
    let host = &lab.hosts[0];
    let daemon = subject.start(host, CONF);
    let stats = |signal| dump(&lab, host, &daemon, signal, "stats", "    Sent: 0\n");
    // The last thing in the file is no end: it is written in pieces.
    let data = || {
        let mut last = String::new();
        let text = || dump(&lab, host, &daemon, DATA, "data", "\n");
        let whole = wait_until(seconds(SOON), || {
            let before = std::mem::replace(&mut last, text());
            before == last && last.contains(" VRRP Script = bad")
        });
        lab.check("keepalived.data comes to rest", whole);
        last
    };
    lab.wait_for("the owner's advert", seconds(SOON), || lab.adverts("a").len() == 1);
    wait_for(&lab, &daemon, 1, "/data/state", 3);
    wait_for(&lab, &daemon, 5, "/data/state", 1);
    wait_for(&lab, &daemon, 5, "/data/effective_priority", 96);
    let mut life =
        Life { data: vec![data()], json: Vec::new(), stats: Vec::new(), log: String::new() };

    let mut speaker = Subject::Keepalived.start(&lab.hosts[1], &speaker_conf());
    wait_for(&lab, &daemon, 5, "/stats/advert_rcvd", 1);
    life.data.push(data());
    life.json.push(json(&lab, host, &daemon));
    life.stats.push(stats(STATS));

    speaker.signal(nix::sys::signal::Signal::SIGTERM);
    speaker.wait(seconds(SOON));
    wait_for(&lab, &daemon, 5, "/data/state", 2);
    lab.wait_for("the address", seconds(SOON), || host.has_address("172.16.51.90"));
    life.data.push(data());
    life.json.push(json(&lab, host, &daemon));
    life.stats.push(stats(STATS_CLEAR));
    life.stats.push(stats(STATS));
    life.log = daemon.log();
    life
}

/// The lines about instances, scripts and interfaces, each behind its name, without what only one
/// daemon has and without what is never the same twice.
fn lines(data: &str) -> Vec<String> {
    const ABSENT: [&str; 18] = [
        "Flags:",
        "Number of ",
        "fd_in ",
        "Seen up = ",
        "Delayed state change ",
        "Up debounce timer ",
        "Down debounce timer ",
        "MAC broadcast = ",
        "HW Type = ",
        "NIC netlink ",
        "Reset ",
        "Original ",
        "index = ",
        "Phase = ",
        "Reason = ",
        "Detail = ",
        "Storage = ",
        // Where there is none, keepalived shows what it sends to; where there is one, see JSON.
        "Master router = ",
    ];
    let section = |name: &str| {
        let rest = data.split(&format!("------< {name} >------\n")).nth(1).unwrap_or_default();
        rest.split("------<").next().unwrap_or_default()
    };
    let mut instance = "";
    let mut lines = Vec::new();
    let all = ["VRRP Topology", "VRRP Scripts", "Interfaces"].map(section);
    // Which instances track an interface is for keepalived's own use.
    let mut is_tracking = false;
    for line in all.iter().flat_map(|section| section.lines()) {
        let name = [" VRRP Instance = ", " VRRP Script = ", " Name = "];
        instance = name.iter().find_map(|name| line.strip_prefix(name)).unwrap_or(instance);
        is_tracking |= line == "   Tracking VRRP instances :";
        is_tracking &= !line.starts_with(" Name = ");
        if is_tracking {
            continue;
        }
        let text = line.trim_start();
        let blanks = line.len() - text.len();
        if ABSENT.iter().any(|absent| text.starts_with(absent)) {
            continue;
        }
        let text = match text.split_once(" = ") {
            Some((label @ ("Last transition" | "Read timeout"), value)) => {
                format!("{label} = {}", if value == "DISABLED" { value } else { "a moment" })
            }
            // keepalived shows what it last waited for, glha the interval of RFC 3768.
            Some(("Master down timer", _)) => "Master down timer = a while".to_owned(),
            Some(("Password", _)) => "Password = masked".to_owned(),
            Some((label @ ("MAC" | "IPv6 address"), value)) if value != "(none)" => {
                format!("{label} = one")
            }
            // keepalived shows the flags that are missing, too.
            Some(("State", state)) => {
                let words: Vec<&str> = state.split(", ").take(2).collect();
                format!("State = {}", words.join(", "))
            }
            _ => text.to_owned(),
        };
        lines.push(format!("{instance}:{blanks}:{text}"));
    }
    // The order of scripts and interfaces is nobody's.
    lines.sort_by_key(|line| line.split(':').next().map(str::to_owned));
    lines
}

/// The dump without what is never the same twice: moments are only looked at.
fn without_moments(mut json: Value) -> Value {
    for element in json.as_array_mut().into_iter().flatten() {
        let moment = element["data"]["last_transition"].take();
        assert!(moment.as_f64().is_some_and(|at| at > 1e9), "last_transition {moment}");
        if let Some(password) = element["data"].get_mut("auth_data") {
            assert!(password.take().is_string(), "auth_data");
        }
        // See `without_interval_errors`.
        assert!(element["stats"]["advert_interval_err"].take().is_u64());
    }
    json
}

fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(&without_moments(json.clone())).expect("JSON")
}

/// keepalived 2.2.7 drops a VRRPv2 advert with another interval and has a counter for that, but
/// never counts. glha does.
fn without_interval_errors(stats: &str) -> String {
    let zero = "Advertisement Interval: 0";
    [1, 2].iter().fold(stats.to_owned(), |text, n| {
        text.replace(&format!("Advertisement Interval: {n}"), zero)
    })
}

#[test]
fn glha_writes_what_keepalived_writes() {
    let (theirs, ours) = (live(Subject::Keepalived), live(Subject::Glha));
    for (theirs, ours) in theirs.stats.iter().zip(&ours.stats) {
        let ours = without_interval_errors(ours);
        assert_eq!(*theirs, ours, "keepalived.stats");
    }
    for (theirs, ours) in theirs.json.iter().zip(&ours.json) {
        assert_eq!(pretty(theirs), pretty(ours), "keepalived.json");
        let keys = |json: &Value| {
            let all = json.as_array().into_iter().flatten();
            all.map(|e| e["data"].as_object().map_or(0, |o| o.len())).collect::<Vec<_>>()
        };
        assert_eq!(keys(theirs), keys(ours));
    }
    for (theirs, ours) in theirs.data.iter().zip(&ours.data) {
        assert_eq!(lines(theirs), lines(ours), "keepalived.data");
        assert!(ours.contains("   Status = GOOD\n") && ours.contains("   Status = BAD\n"));
    }
    assert!(ours.stats[0].contains("    Failure: 1\n"), "the scenario does what it is for");
    assert!(ours.stats[1].contains("    Advertisement Interval: 2\n"), "{}", ours.stats[1]);
    assert!(ours.stats[1].contains("    Received: 1\n    Sent: 0\n"), "{}", ours.stats[1]);
    assert!(!ours.stats[2].contains(": 1\n"), "the counters began anew: {}", ours.stats[2]);
    let secrets = ["ours\"", "theirs", "= ours"];
    let texts = ours.data.iter().cloned().chain(ours.json.iter().map(Value::to_string));
    for text in texts {
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "a password in {text}");
    }
    for what in ["data", "as json", "stats"] {
        let line = |log: &str| log.contains(&format!("Printing VRRP {what} for process("));
        assert!(line(&theirs.log) && line(&ours.log), "{what}: {}", ours.log);
    }
    assert!(ours.log.contains("Printing and clearing VRRP stats for process("));
}

#[test]
fn a_planted_link_leads_nowhere() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let daemon = Subject::Glha.start(host, CONF);
    lab.wait_for("the owner's advert", seconds(SOON), || lab.adverts("a").len() == 1);
    host.sh("echo precious >/etc/precious; ln -s /etc/precious /tmp/keepalived.stats");
    send(&daemon, STATS);
    let is_there = || host.read("/tmp/keepalived.stats").starts_with("VRRP Instance: OWNER\n");
    lab.wait_for("the dump", seconds(SOON), is_there);
    assert_eq!(host.read("/etc/precious"), "precious\n");
    let names = host.sh("ls -A /tmp");
    assert_eq!(names, "keepalived.stats\n");
}
