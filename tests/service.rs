//! What a service manager and the programs around it see of the daemon: its name, its time at the
//! start, how a reload went, that nothing is let go of twice, and that an upgrade is not finished.

mod lab;

use lab::{Host, Lab, Ran, Subject, conf, seconds};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// For anything that happens at once; the rest is for a busy machine.
const SOON: f64 = 20.0;
const CONF: &str = "/etc/keepalived/keepalived.conf";

fn glha(host: &Host, words: &str) -> Ran {
    host.run(&format!("{} {words}", Subject::Glha.program()))
}

/// Runs a command that has to end with this status, and returns what it said.
#[track_caller]
fn ends_with(lab: &Lab, host: &Host, words: &str, status: i32) -> String {
    let Ran { status: ended, said } = glha(host, words);
    let is_so = ended.code() == Some(status);
    lab.check(&format!("glha {words} ends with {status}, not {ended}: {said}"), is_so);
    said
}

#[test]
fn a_link_gives_the_process_keepalived_s_name() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh("mkdir -p /run/lib; ln -s /run/lab/glha /run/lib/keepalived");
    host.write(CONF, &conf(100, ""));
    let daemon = host.start("/run/lib/keepalived", &["-n", "-l", "-D"]);
    lab.wait_for("a pid file", seconds(SOON), || host.exists("/run/keepalived.pid"));
    let found = host.sh("for p in /proc/[0-9]*; do cat $p/comm; done | grep -c '^keepalived$'");
    lab.check(&format!("one process of that name: {found}"), found.trim() == "1");
    // Neither name starts beside the other.
    for program in ["/run/lib/keepalived", "/run/lab/glha"] {
        let ran = host.run(&format!("{program} -n -G"));
        let text = "daemon is already running";
        lab.check(&format!("{program}: {}", ran.said), ran.said.contains(text));
    }
    lab.wait_for("an answer", seconds(SOON), || glha(host, "status").status.code() == Some(1));
    drop(daemon);
}

#[test]
fn a_reload_is_asked_of_one_process_and_fails_if_it_is_refused() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let _first = Subject::Glha.start(host, &conf(100, ""));
    let other = format!("instance two\n{}", conf(100, ""));
    let other = other.replace("virtual_router_id 51", "virtual_router_id 52");
    host.write("/etc/two.conf", &other.replace("172.16.51.70", "172.16.51.71"));
    let _second = host.start(Subject::Glha.program(), &["-n", "-l", "-f", "/etc/two.conf"]);
    let two = "/run/keepalived/keepalived_two.pid";
    lab.wait_for("two daemons", seconds(SOON), || {
        let sockets = ["/run/glha/control.sock", "/run/glha/instance.two/control.sock"];
        host.exists(two) && sockets.iter().all(|socket| host.exists(socket))
    });
    let pid = |file: &str| host.read(file).trim().to_owned();
    let (first, second) = (pid("/run/d.pid"), pid(two));
    ends_with(&lab, host, &format!("reload --pid {first}"), 0);
    ends_with(&lab, host, &format!("reload --pid {second}"), 0);
    host.write("/etc/two.conf", &other.replace("priority 100", "priority 1000"));
    let said = ends_with(&lab, host, &format!("reload --pid {second}"), 1);
    lab.check(&said, said.contains("refused") && said.contains("/etc/two.conf"));
    ends_with(&lab, host, &format!("reload --pid {first}"), 0);
    let said = ends_with(&lab, host, "reload --pid 1", 3);
    lab.check(&said, said.contains("process id 1"));
}

/// Whatever pid files they have: they would take each other's addresses and storage away.
#[test]
fn a_folder_has_one_daemon() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let mut first = Subject::Glha.start(host, &conf(255, ""));
    lab.wait_for("the address", seconds(SOON), || host.has_address("172.16.51.70"));
    let file = "/etc/keepalived/keepalived.conf";
    let others = ["-n", "-l", "-f", file, "-p", "/run/other.pid", "-r", "/run/other.vrrp.pid"];
    let start = || host.start(Subject::Glha.program(), &others);
    let refused = |why: &str| {
        let mut second = start();
        lab.check(why, second.wait(seconds(SOON)).code() == Some(1));
        let said = second.log();
        let text = format!("/run/glha is in use by the daemon with process id {}", first_pid(host));
        lab.check(&said, said.contains(&text) && said.contains("instance NAME"));
    };
    refused("other pid files");
    host.sh("rm /run/d.pid /run/v.pid");
    refused("no pid files");
    let said = ends_with(&lab, host, "release -p /run/d.pid -r /run/v.pid", 1);
    lab.check(&said, said.contains("a daemon runs"));
    lab.check("nothing was taken away", host.has_address("172.16.51.70"));
    lab.check("nor lost", !first.log().contains("removed by somebody"));
    // What was killed is in nobody's way.
    first.signal(Signal::SIGKILL);
    let second = start();
    first.wait(seconds(SOON));
    lab.wait_for("the second", seconds(SOON), || second.log().contains("Entering MASTER STATE"));
}

/// As the host numbers it.
fn first_pid(host: &Host) -> String {
    host.sh("ps -eo pid,args --no-headers | awk '/glha .*d.pid/ && !/awk/ { print $1; exit }'")
        .trim()
        .to_owned()
}

#[test]
fn what_was_let_go_of_is_not_let_go_of_again() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let mark = "/run/glha/released";
    let mut daemon = Subject::Glha.start(host, &conf(255, ""));
    lab.wait_for("the address", seconds(SOON), || host.has_address("172.16.51.70"));
    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(SOON));
    let options = "-p /run/d.pid -r /run/v.pid";
    ends_with(&lab, host, &format!("release {options}"), 0);
    lab.check("nothing is left", !host.has_address("172.16.51.70"));
    lab.check("the mark", host.exists(mark));
    let _daemon = Subject::Glha.start(host, &conf(255, ""));
    lab.wait_for("the address again", seconds(SOON), || host.has_address("172.16.51.70"));
    lab.check("no mark while there may be something to let go of", !host.exists(mark));
    // And not where it was refused.
    ends_with(&lab, host, &format!("release {options}"), 1);
    lab.check("no mark after a refusal", !host.exists(mark));
}

/// Programs follow a FIFO by the order of its lines. Both daemons tell a group of its first state before
/// its members, unless these have waited for a check.
#[test]
fn the_first_lines_of_a_fifo_come_in_keepalived_s_order() {
    let track = "track_script {\nok\n}\n";
    let weighted = "track_script {\nok weight 2\n}\n";
    for (group, member) in [("", ""), (track, ""), ("", track), (weighted, ""), ("", weighted)] {
        let orders = [Subject::Keepalived, Subject::Glha].map(|subject| {
            let lab = Lab::single();
            let host = &lab.hosts[0];
            let instance = |name: &str, n: u8, more: &str| {
                format!(
                    "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {n}\npriority 100\n\
                     advert_int 1\nvirtual_ipaddress {{\n172.16.51.{n}\n}}\n{more}}}\n"
                )
            };
            let conf = format!(
                "global_defs {{\nenable_script_security\nscript_user root\n\
                 vrrp_notify_fifo /run/fifo\n}}\n\
                 vrrp_script ok {{\nscript /bin/true\ninterval 1\n}}\n\
                 vrrp_sync_group G {{\ngroup {{\nA\nB\n}}\n{group}}}\n{}{}",
                instance("A", 81, member),
                instance("B", 82, "")
            );
            host.sh("mkfifo /run/fifo");
            let _reader = host.start("sh", &["-c", "exec cat <>/run/fifo >/tmp/lines"]);
            let _daemon = subject.start(host, &conf);
            let lines = || host.read("/tmp/lines");
            lab.wait_for("a group of masters", seconds(SOON), || {
                lines().contains("GROUP \"G\" MASTER")
            });
            let lines = lines();
            let backups = lines.lines().filter(|line| line.contains(" BACKUP "));
            let subjects: Vec<&str> =
                backups.filter_map(|line| line.split_whitespace().next()).collect();
            subjects.join(" ")
        });
        assert_eq!(orders[0], orders[1], "{group:?} {member:?}");
    }
}

/// Roles and modules refuse a configuration by the status of its test.
#[test]
fn a_missing_script_is_reported_whether_it_is_tracked_or_not() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    for (script, track) in [("/no/such", true), ("/no/such", false), ("/bin/true", false)] {
        let check = format!("vrrp_script c {{\nscript {script}\ninterval 1\n}}\n");
        let track = if track { "track_script {\nc\n}\n" } else { "" };
        host.write(CONF, &format!("{check}{}", conf(100, track)));
        let statuses = [Subject::Keepalived, Subject::Glha]
            .map(|subject| host.run(&format!("{} -t -f {CONF}", subject.program())).status.code());
        assert_eq!(statuses[0], statuses[1], "{script} {track:?}");
    }
}

#[test]
fn a_startup_script_gets_its_time() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let listener = UnixDatagram::bind(host.path("/run/notify")).expect("a socket");
    listener.set_read_timeout(Some(seconds(SOON))).expect("a timeout");
    let hear = || {
        let mut buffer = [0; 4096];
        let length = listener.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    host.write_script("/etc/startup", "#!/bin/sh\nuntil [ -e /run/go ]; do sleep 0.05; done\n");
    let global = "global_defs {\nstartup_script /etc/startup\nstartup_script_timeout 200\n";
    host.write(CONF, &conf(100, "").replacen("global_defs {", global, 1));
    let start = "NOTIFY_SOCKET=/run/notify exec /run/lab/glha -n -l";
    let _daemon = host.start("sh", &["-c", start]);
    let first = hear();
    let asked = first.strip_prefix("EXTEND_TIMEOUT_USEC=").and_then(|micros| micros.parse().ok());
    let asked = asked.map_or(Duration::ZERO, Duration::from_micros);
    lab.check(&format!("time for the script: {first}"), asked > seconds(200.0));
    host.write("/run/go", "");
    let ready = std::iter::repeat_with(hear).find(|message| message.starts_with("READY=1"));
    lab.check("ready", ready.is_some());
}

#[test]
fn a_daemon_whose_file_was_replaced_says_that_a_restart_is_due() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh("mkdir /run/bin; cp /run/lab/glha /run/bin/glha");
    host.write(CONF, &conf(255, ""));
    let _daemon = host.start("/run/bin/glha", &["-n", "-l"]);
    lab.wait_for("a master", seconds(SOON), || glha(host, "status").status.success());
    let said = ends_with(&lab, host, "status", 0);
    lab.check(&said, !said.contains("restart"));
    // As install(1) and dpkg(1) do.
    host.sh("cp /run/lab/glha /run/bin/glha.new; mv /run/bin/glha.new /run/bin/glha");
    let said = ends_with(&lab, host, "status", 0);
    lab.check(&said, said.contains("/run/bin/glha was replaced: a restart is due"));
    host.sh("rm /run/bin/glha");
    let said = ends_with(&lab, host, "status --json", 0);
    lab.check(&said, said.contains("/run/bin/glha is gone"));
}

/// What the alerts and the dashboard ask Prometheus for is what a daemon says.
#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let more = "track_script {\nok\n}\n";
    let check = "vrrp_script ok {\nscript /bin/true\ninterval 1\n}\n";
    let group = "vrrp_sync_group G {\ngroup {\nVI_1\n}\n}\n";
    let _daemon = Subject::Glha.start(host, &format!("{check}{group}{}", conf(100, more)));
    let mut metrics = String::new();
    lab.wait_for("a master with a check", seconds(SOON), || {
        metrics = glha(host, "metrics").said;
        metrics.contains("glha_master{instance=\"VI_1\"} 1") && metrics.contains("glha_check_good")
    });
    let samples = || metrics.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<&str> =
        samples().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let etc = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc");
    for file in ["glha.alerts.yml", "glha.dashboard.json"] {
        let text = fs::read_to_string(etc.join(file)).expect("the file");
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let begins = text.match_indices("glha_").map(|(at, _)| &text[at..]);
        let names: BTreeSet<&str> =
            begins.map(|rest| &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]).collect();
        lab.check(&format!("{file} asks for something"), names.len() > 5);
        for name in names {
            lab.check(&format!("{file}: {name} is no metric of\n{metrics}"), there.contains(name));
        }
        // `{phase="stuck"}`, in JSON with a backslash before the quote.
        for phase in text.replace('\\', "").split("phase=\"").skip(1) {
            let phase = phase.split('"').next().unwrap_or_default();
            let label = format!("phase=\"{phase}\"");
            lab.check(&format!("{file}: {label}"), samples().any(|line| line.contains(&label)));
        }
    }
    let dashboard = fs::read(etc.join("glha.dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_slice(&dashboard).expect("JSON");
    for panel in dashboard["panels"].as_array().expect("panels") {
        let asks = panel["targets"].as_array().is_some_and(|targets| {
            !targets.is_empty() && targets.iter().all(|target| target["expr"].is_string())
        });
        lab.check(&format!("a panel that asks for nothing: {}", panel["title"]), asks);
    }
}

#[test]
fn a_watched_status_is_shown_again_until_nobody_reads_it() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    // It waits for a daemon as well.
    let watch =
        host.start("sh", &["-c", "/run/lab/glha status --watch | tee /tmp/seen | head -n 400"]);
    let seen = |text: &str| host.read("/tmp/seen").contains(text);
    lab.wait_for("no daemon", seconds(SOON), || seen("glha is not running"));
    let _daemon = Subject::Glha.start(host, &conf(255, ""));
    lab.wait_for("a master", seconds(SOON), || seen("VI_1 is MASTER"));
    let plain = !host.read("/tmp/seen").contains('\u{1b}');
    lab.check("nothing for a terminal in a pipe", plain);
    drop(watch);
}
