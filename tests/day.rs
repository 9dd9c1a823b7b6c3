//! A day in the life of an administrator, on two hosts with a shared disk: installed, checked,
//! rehearsed, started, handed over, held, failed over, reloaded with a mistake, stopped.
//!
//! The manual shows what the commands say, and this test sees that they do: a literal block of
//! glha(8) after a line `.\" day: STEP` is what that step printed, times and spans aside.
//! `BLESS=1 cargo test --test day` writes what was printed into the manual.

mod lab;

use lab::gated::TAKEOVER;
use lab::nginx::MOUNT_POINT;
use lab::{ARTICLE_VIP, Daemon, Guard, Host, Lab, Ran, seconds};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::Mutex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Where `make install` puts the program on a host.
const GLHA: &str = "/run/local/sbin/glha";
/// The one file of both nodes: a line that begins with `@a` is read on `a` only.
const CONF: &str = "global_defs {
    @a router_id a
    @b router_id b
    enable_script_security
    script_user root
}
vrrp_script chk_http_port {
    script /etc/keepalived/check_nginx.sh
    interval 1
    weight 2
}
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    @a priority 101
    @b priority 100
    advert_int 1
    virtual_ipaddress {
        172.16.51.70
    }
    track_script {
        chk_http_port
    }
}
hooks VI_1 {
    mount   timeout 60
    env     MOUNT_DEVICE /dev/mapper/mpath0-part1
    env     MOUNT_POINT  /home/git/gitlab-data
    env     GUARD        mmp
    peers   glha
}
";
const CHECK: &str = "#!/bin/sh\n[ ! -e /run/broken ]\n";

/// As an administrator does it, and below `/run`, since hosts of the lab share `/usr`.
fn install(lab: &Lab, host: &Host) {
    let output = Command::new("make")
        .args(["-s", "-C", ROOT, "install", "PREFIX=/run/local"])
        .args(["UNITDIR=", "INITDIR=", "TMPFILESDIR=", "LOGROTATEDIR="])
        .arg(format!("BIN={}", env!("CARGO_BIN_EXE_glha")))
        .arg(format!("DESTDIR={}", host.path("").display()))
        .output()
        .expect("make");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    lab.check(&format!("make install: {said}"), output.status.success());
    host.write("/etc/glha/glha.conf", CONF);
    host.write_script("/etc/keepalived/check_nginx.sh", CHECK);
}

fn start(host: &Host) -> Daemon {
    host.start(GLHA, &["-n", "-l", "-D", "-i", host.name])
}

/// Runs `glha WORDS`, which has to end with this status.
#[track_caller]
fn glha(lab: &Lab, host: &Host, words: &str, status: i32) -> String {
    let Ran { status: ended, said } = host.run(&format!("{GLHA} {words}"));
    lab.check(
        &format!("{}: glha {words} ends with {status}, not {ended}: {said}", host.name),
        ended.code() == Some(status),
    );
    said
}

#[track_caller]
fn says(lab: &Lab, said: &str, texts: &[&str]) {
    for text in texts {
        lab.check(&format!("{text:?} in\n{said}"), said.contains(text));
    }
}

/// Waits until `glha status` has this exit status and says this.
#[track_caller]
fn status(lab: &Lab, host: &Host, status: i32, text: &str) -> String {
    let mut said = String::new();
    lab.wait_for(
        &format!("status {status} and {text:?} of {}", host.name),
        seconds(TAKEOVER),
        || {
            let ran = host.run(&format!("{GLHA} status"));
            said = ran.said;
            ran.status.code() == Some(status) && said.contains(text)
        },
    );
    said
}

// --- the manual

/// A line without what is different each time: dates, times, spans, widths of columns.
fn normal(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let is_unit = |word: &&str| {
        let word = word.trim_end_matches([',', ';', ':', ')']);
        ["s", "min", "h", "d", "ms"].contains(&word)
    };
    let shown = |(place, word): (usize, &&str)| {
        let is_date = word.len() == 10 && word.matches('-').count() == 2;
        let is_time = word.matches(':').count() == 2
            && word.trim_end_matches([',', ';', ':', ')']).ends_with('Z');
        match () {
            () if is_date => "DATE".to_owned(),
            () if is_time => "TIME".to_owned(),
            () if is_number(word) && words.get(place + 1).is_some_and(is_unit) => "0".to_owned(),
            () => (*word).to_owned(),
        }
    };
    let words: Vec<String> = words.iter().enumerate().map(shown).collect();
    let indent = line.len() - line.trim_start().len();
    format!("{}{}", " ".repeat(indent), words.join(" "))
}

fn normal_all(text: &str) -> Vec<String> {
    text.lines().map(normal).collect()
}

fn from_roff(text: &str) -> String {
    text.replace("\\-", "-").replace("\\(aq", "'").replace("\\&", "").replace("\\e", "\\")
}

fn to_roff(text: &str) -> String {
    let guarded = |line: &str| {
        let line = line.replace('\\', "\\e");
        let is_request = line.starts_with(['.', '\'']);
        format!("{}{line}\n", if is_request { "\\&" } else { "" })
    };
    text.lines().map(guarded).collect()
}

/// Tests of this file run beside each other, and may write the manual.
static MANUAL: Mutex<()> = Mutex::new(());

/// Compares what was printed with the manual's block of that step.
#[track_caller]
fn shown(lab: &Lab, step: &str, printed: &str) {
    let _guard = MANUAL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let path = format!("{ROOT}/man/glha.8");
    let page = fs::read_to_string(&path).expect("the manual");
    let begin = format!(".\\\" day: {step}\n.Bd -literal\n");
    let Some((before, rest)) = page.split_once(&begin) else {
        lab.fail(&format!("glha(8) has no block after {begin:?}"));
    };
    let Some((block, after)) = rest.split_once(".Ed\n") else {
        lab.fail(&format!("the block of {step} has no end"));
    };
    if normal_all(printed) == normal_all(&from_roff(block)) {
        return;
    }
    if std::env::var_os("BLESS").is_some() {
        let page = format!("{before}{begin}{}.Ed\n{after}", to_roff(printed));
        return fs::write(&path, page).expect("the manual");
    }
    lab.fail(&format!(
        "{step}: glha says\n{printed}\nand the manual\n{block}\nBLESS=1 puts it into the manual"
    ));
}

/// The same of some lines of an output that is too long for the manual.
#[track_caller]
fn some_shown(lab: &Lab, step: &str, printed: &str, wanted: &[&str]) {
    let is_wanted = |line: &&str| wanted.iter().any(|text| line.starts_with(text));
    let mut text = String::new();
    for line in printed.lines().filter(is_wanted) {
        let _ = writeln!(text, "{line}");
    }
    shown(lab, step, &text);
}

/// A command and its output, as a person sees both.
fn seen(command: &str, said: &str) -> String {
    format!("# glha {command}\n{said}")
}

#[test]
fn what_is_different_each_time_is_not_compared() {
    assert_eq!(
        normal("VI_1 is MASTER for 5.6 s, since 2026-11-23 04:23:52.580Z"),
        "VI_1 is MASTER for 0 s, since DATE TIME"
    );
    assert_eq!(normal("  why        acquired: no master"), "  why acquired: no master");
    assert_eq!(normal("2026-11-23 03:54:37Z; glha"), "DATE TIME glha");
    assert_eq!(normal("priority 102 = 100 +2"), "priority 102 = 100 +2");
    assert_eq!(from_roff(&to_roff(".a\\b\n")), ".a\\b\n");
}

// --- the day

#[test]
fn a_day_with_two_nodes_and_a_disk() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);

    // Installed and looked over; nothing runs yet.
    for host in &lab.hosts {
        install(&lab, host);
        says(&lab, &glha(&lab, host, &format!("-t -i {}", host.name), 0), &["would start"]);
    }
    let file = "/etc/glha/glha.conf";
    // It has one thing to say: with a weight, a service that fails on both nodes stays where it is.
    let rehearsed = glha(&lab, a, &format!("rehearse {file}@a {file}@b"), 1);
    says(&lab, &rehearsed, &["runs mount.sh acquire", "a: chk_http_port has weight 2"]);
    lab.check(&rehearsed, rehearsed.matches("warning: ").count() == 2);
    let said = glha(&lab, a, "status", 3);
    shown(&lab, "not running", &seen("status", &said));

    // Started.
    let mut a_glha = start(a);
    status(&lab, a, 0, "MASTER");
    let mut b_glha = start(b);
    status(&lab, b, 1, "chk_http_port good");
    let said = status(&lab, b, 1, "is master with priority 103");
    shown(&lab, "status of a backup", &seen("status", &said));
    shown(&lab, "status of a master", &seen("status", &status(&lab, a, 0, "good")));

    // Handed over on purpose. a has not heard b yet, which has only listened.
    let refused = glha(&lab, a, "resign VI_1", 1);
    let forced = glha(&lab, a, "resign --force VI_1", 0);
    let both = seen("resign VI_1", &refused) + &seen("resign --force VI_1", &forced);
    shown(&lab, "resign", &both);
    status(&lab, b, 0, "MASTER");
    assert_eq!((a.mounted(MOUNT_POINT), lab.owners(ARTICLE_VIP)), (None, vec!["b"]));
    status(&lab, a, 1, "glha resign --cancel VI_1");
    glha(&lab, a, "resign --cancel VI_1", 0);
    let said = glha(&lab, a, "why VI_1", 0);
    shown(&lab, "why", &seen("why VI_1", &said));

    // Maintenance: the service of the master is restarted, and nothing moves.
    let held = glha(&lab, b, "hold VI_1", 0);
    b.write("/run/broken", "");
    let said = status(&lab, b, 0, "chk_http_port failing");
    shown(&lab, "status on hold", &seen("status", &said));
    lab.holds("b stays master", seconds(2.5), || b.has_address(ARTICLE_VIP));
    b.sh("rm /run/broken");
    status(&lab, b, 0, "chk_http_port good");
    let unheld = glha(&lab, b, "unhold VI_1", 0);
    shown(&lab, "hold", &(seen("hold VI_1", &held) + &seen("unhold VI_1", &unheld)));

    // At night the service breaks.
    b.write("/run/broken", "");
    status(&lab, a, 0, "MASTER");
    assert_eq!((b.mounted(MOUNT_POINT), lab.owners(ARTICLE_VIP)), (None, vec!["a"]));
    let events = glha(&lab, a, "events -n 3 VI_1", 0);
    shown(&lab, "events", &seen("events -n 3 VI_1", &events));
    let said = status(&lab, b, 1, "chk_http_port failing");
    shown(&lab, "status after a failover", &seen("status", &said));
    b.sh("rm /run/broken");

    // A reload with a mistake, and without.
    a.write(file, &CONF.replace("@a priority 101", "@a priority 1000"));
    let refused = glha(&lab, a, "reload", 1);
    shown(&lab, "reload", &seen("reload", &refused));
    says(&lab, &glha(&lab, a, "status", 0), &["was refused", "priority 1000"]);
    a.write(file, CONF);
    says(&lab, &glha(&lab, a, "reload", 0), &["reloaded"]);
    lab.check("forgotten", !glha(&lab, a, "status", 0).contains("was refused"));

    let metrics = glha(&lab, a, "metrics", 0);
    let wanted = [
        "glha_phase{instance=\"VI_1\",phase=\"master\"}",
        "glha_master{",
        "glha_priority{",
        "glha_hold{",
        "glha_storage_held{",
        "glha_check_good{",
    ];
    some_shown(&lab, "metrics", &metrics, &wanted);

    // Stopped: first a handover, then the end of everything.
    a_glha.signal(Signal::SIGTERM);
    a_glha.wait(seconds(TAKEOVER));
    status(&lab, b, 0, "MASTER");
    says(&lab, &glha(&lab, a, "events -n 3", 3), &["stopped", "not running"]);
    b_glha.signal(Signal::SIGTERM);
    b_glha.wait(seconds(TAKEOVER));
    assert_eq!((b.mounted(MOUNT_POINT), lab.owners(ARTICLE_VIP).len()), (None, 0));
}

/// A sync group of two, without storage, beside a third instance.
const GROUP: &str = "global_defs {
    router_id a
    enable_script_security
    script_user root
}
vrrp_sync_group G {
    group {
        inside
        outside
    }
    notify /etc/keepalived/check_nginx.sh
}
vrrp_instance inside {
    interface eth0
    virtual_router_id 51
    priority 101
    advert_int 1
    virtual_ipaddress {
        172.16.51.70
    }
}
vrrp_instance outside {
    interface eth0
    virtual_router_id 52
    priority 101
    advert_int 1
    virtual_ipaddress {
        172.16.51.71
    }
}
vrrp_instance other {
    interface eth0
    virtual_router_id 53
    priority 101
    advert_int 1
    virtual_ipaddress {
        172.16.51.72
    }
}
";

#[test]
fn a_sync_group_is_named_shown_held_and_handed_over_as_one() {
    let lab = Lab::single();
    let a = &lab.hosts[0];
    install(&lab, a);
    a.write("/etc/glha/glha.conf", GROUP);
    let listed = glha(&lab, a, "hooks list", 0);
    let row = "G notify on every state 120 s root /etc/keepalived/check_nginx.sh";
    lab.check(&listed, normal_all(&listed).iter().any(|line| *line == row.replace("120 s", "0 s")));

    let mut daemon = start(a);
    status(&lab, a, 0, "MASTER");
    says(&lab, &glha(&lab, a, "hold G", 0), &["G: on hold"]);
    let said = glha(&lab, a, "status", 0);
    shown(&lab, "status of several", &seen("status", &said));
    let said = glha(&lab, a, "status G", 0);
    lab.check(&said, said.contains("outside") && !said.contains("other"));
    says(&lab, &glha(&lab, a, "unhold outside", 0), &["outside (with all of group G): no longer"]);
    lab.check("nobody is on hold", !glha(&lab, a, "status", 0).contains("on hold"));

    says(&lab, &glha(&lab, a, "resign G", 1), &["--force"]);
    says(&lab, &glha(&lab, a, "resign --force outside", 0), &["hands over"]);
    lab.check("both let go", glha(&lab, a, "status G", 1).matches("BACKUP").count() == 2);
    lab.check("the other does not", glha(&lab, a, "status other", 0).contains("MASTER"));
    let zeros = |id: u8| {
        let adverts = lab.adverts("a").into_iter().map(|(_, advert)| advert);
        adverts.filter(|advert| advert.priority == 0 && advert.vrid == id).count()
    };
    assert_eq!([51, 52, 53].map(zeros), [2, 2, 0], "all members say that they leave");
    lab.holds("neither comes back", seconds(1.0), || lab.owners("172.16.51.70").is_empty());
    glha(&lab, a, "resign --cancel inside", 0);
    status(&lab, a, 0, "MASTER");

    let why = glha(&lab, a, "why G", 0);
    says(&lab, &why, &["inside is MASTER", "outside  resign", "G  hook notify"]);
    let events = glha(&lab, a, "events G", 0);
    says(&lab, &events, &["inside  master", "outside  master", "G  hook notify"]);
    lab.check(&events, !events.contains("other"));
    let member = "glha_group_member{instance=\"outside\",group=\"G\"} 1\n";
    says(&lab, &glha(&lab, a, "metrics", 0), &[member]);
    says(
        &lab,
        &glha(&lab, a, "hold H", 1),
        &["no instance or group H", "G, inside, outside, other"],
    );
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(TAKEOVER));
}
