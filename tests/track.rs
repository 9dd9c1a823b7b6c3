//! Tracked processes and files, whole: what happens to them changes priorities, and makes and ends
//! faults. Where keepalived describes it, keepalived is put to the same test; its processes are
//! left out, since inside a namespace the kernel tells it of none.

mod lab;

use lab::{ARTICLE_VIP, Daemon, Lab, Subject, conf, seconds};
use nix::sys::signal::Signal;
use std::time::Duration;

/// An election at an interval of 1 s takes at most 4 s; the rest is for a busy machine.
const TAKEOVER: f64 = 15.0;
/// A process of the host, told apart by its argument.
const SLEEP: &str = "setsid -f sleep 87654 </dev/null >/dev/null 2>&1";

fn process(lines: &str) -> String {
    format!("vrrp_track_process tp {{\n process sleep 87654\n {lines}\n}}\n")
}

fn with_process(lines: &str) -> String {
    process(lines) + &conf(100, "track_process {\n tp\n }")
}

fn file(lines: &str, track: &str) -> String {
    let file = format!("track_file tf {{\n file /run/number\n {lines}\n}}\n");
    file + &conf(100, &format!("track_file {{\n {track}\n }}"))
}

/// Waits for a line in the log that stands there so many times.
fn wait_for_line(lab: &Lab, daemon: &Daemon, line: &str, times: usize) {
    lab.wait_for(line, seconds(TAKEOVER), || daemon.log().matches(line).count() >= times);
}

fn is_master(lab: &Lab) {
    lab.wait_for("the address", seconds(TAKEOVER), || lab.owners(ARTICLE_VIP) == ["a"]);
}

/// The priorities of the adverts, without repetitions.
fn priorities(lab: &Lab) -> Vec<u8> {
    let mut priorities: Vec<u8> = lab.adverts("a").iter().map(|(_, a)| a.priority).collect();
    priorities.dedup();
    priorities
}

#[test]
fn a_process_that_is_killed_is_a_fault_until_it_is_back() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh(SLEEP);
    let glha = Subject::Glha.start(host, &with_process(""));
    is_master(&lab);
    host.signal("sleep", Signal::SIGKILL);
    wait_for_line(&lab, &glha, "Quorum lost for tracked process tp", 1);
    wait_for_line(&lab, &glha, "Entering FAULT STATE", 1);
    lab.check("says why", glha.log().contains("tracked process tp quorum not achieved"));
    lab.wait_for("no address", seconds(TAKEOVER), || lab.owners(ARTICLE_VIP).is_empty());
    lab.wait_for("priority 0", seconds(TAKEOVER), || priorities(&lab) == [100, 0]);
    host.sh(SLEEP);
    wait_for_line(&lab, &glha, "Quorum gained for tracked process tp", 1);
    is_master(&lab);
}

#[test]
fn a_missing_process_is_a_fault_from_the_start() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let glha = Subject::Glha.start(host, &with_process(""));
    wait_for_line(&lab, &glha, "Entering FAULT STATE", 1);
    let silent = || lab.owners(ARTICLE_VIP).is_empty() && lab.adverts("a").is_empty();
    lab.holds("it is silent", seconds(5.0), silent);
    lab.check("never backup", !glha.log().contains("Entering BACKUP STATE"));
    host.sh(SLEEP);
    is_master(&lab);
}

/// As keepalived does: 100, 107, 100.
#[test]
fn a_weight_changes_the_priority() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let glha = Subject::Glha.start(host, &with_process("weight 7"));
    is_master(&lab);
    lab.wait_for("100", seconds(TAKEOVER), || priorities(&lab) == [100]);
    host.sh(SLEEP);
    wait_for_line(&lab, &glha, "Changing effective priority from 100 to 107", 1);
    lab.wait_for("107", seconds(TAKEOVER), || priorities(&lab) == [100, 107]);
    host.signal("sleep", Signal::SIGKILL);
    wait_for_line(&lab, &glha, "Changing effective priority from 107 to 100", 1);
    lab.wait_for("100 again", seconds(TAKEOVER), || priorities(&lab) == [100, 107, 100]);
    lab.check("one master all the time", glha.log().matches("Entering MASTER").count() == 1);
}

/// By exec and by a fork before its exit, by turns, again and again.
#[test]
fn a_daemon_that_replaces_itself_causes_nothing() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let script = "#!/bin/sh
        sleep 0.1
        export N=$((${N:-0} + 1))
        if [ $N -ge 20 ]; then
            echo $$ >/run/last
            while :; do sleep 1; done
        fi
        if [ $((N % 2)) = 0 ]; then exec /bin/sh /run/itself; fi
        /bin/sh /run/itself &
    ";
    host.write_script("/run/itself", script);
    let track = "vrrp_track_process tp {\n process /bin/sh /run/itself\n}\n";
    let glha =
        Subject::Glha.start(host, &(track.to_owned() + &conf(100, "track_process {\n tp\n }")));
    wait_for_line(&lab, &glha, "Entering FAULT STATE", 1);
    host.sh("setsid -f /run/itself </dev/null >/dev/null 2>&1");
    wait_for_line(&lab, &glha, "Quorum gained for tracked process tp", 1);
    lab.wait_for("the last one", seconds(TAKEOVER), || !host.read("/run/last").is_empty());
    is_master(&lab);
    lab.check("no quorum was lost", !glha.log().contains("Quorum lost"));
    host.sh("kill -9 $(cat /run/last)");
    wait_for_line(&lab, &glha, "Quorum lost for tracked process tp", 1);
    wait_for_line(&lab, &glha, "Entering FAULT STATE", 2);
}

#[test]
fn a_quorum_of_two_of_three() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    (0..3).for_each(|_| drop(host.sh(SLEEP)));
    let glha = Subject::Glha.start(host, &with_process("quorum 2"));
    is_master(&lab);
    let kill_one = || {
        let pid = host.processes("sleep").into_iter().next().expect("one is left");
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("it is there");
    };
    kill_one();
    let holds = || lab.owners(ARTICLE_VIP) == ["a"] && !glha.log().contains("Quorum lost");
    lab.holds("two are enough", seconds(2.0), holds);
    kill_one();
    wait_for_line(&lab, &glha, "Quorum lost for tracked process tp", 1);
    wait_for_line(&lab, &glha, "Entering FAULT STATE", 1);
    host.sh(SLEEP);
    wait_for_line(&lab, &glha, "Quorum gained for tracked process tp", 1);
    is_master(&lab);
}

/// A process that must not run at all.
#[test]
fn too_many_processes_break_a_quorum() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let glha = Subject::Glha.start(host, &with_process("quorum_max 0"));
    is_master(&lab);
    host.sh(SLEEP);
    wait_for_line(&lab, &glha, "Quorum lost for tracked process tp", 1);
    host.signal("sleep", Signal::SIGKILL);
    wait_for_line(&lab, &glha, "Quorum gained for tracked process tp", 1);
    is_master(&lab);
}

#[test]
fn a_reload_begins_and_ends_tracking() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh(SLEEP);
    let path = "/etc/keepalived/keepalived.conf";
    let glha = Subject::Glha.start(host, &conf(100, ""));
    is_master(&lab);
    host.write(path, &with_process("weight 9"));
    glha.signal(Signal::SIGHUP);
    wait_for_line(&lab, &glha, "Changing effective priority from 100 to 109", 1);
    // Unchanged: nothing happens, and it is still watched.
    glha.signal(Signal::SIGHUP);
    wait_for_line(&lab, &glha, "Reloaded", 2);
    lab.holds("nothing changes", Duration::from_secs(1), || {
        glha.log().matches("Changing effective priority").count() == 1
    });
    host.signal("sleep", Signal::SIGKILL);
    wait_for_line(&lab, &glha, "Changing effective priority from 109 to 100", 1);
    lab.check("one master all the time", glha.log().matches("Entering MASTER").count() == 1);
}

/// Each scenario, with each daemon, as a test of its own.
macro_rules! with_each_subject {
    ($($scenario:ident)*) => {$(
        mod $scenario {
            use super::Subject::{Glha, Keepalived};

            #[test]
            fn keepalived() {
                super::scenario::$scenario(Keepalived);
            }

            #[test]
            fn glha() {
                super::scenario::$scenario(Glha);
            }
        }
    )*};
}

with_each_subject! {
    the_interface_of_an_address_is_tracked
    a_file_s_number_is_added
    a_file_that_is_not_zero_is_a_fault
    a_file_is_made
}

mod scenario {
    use super::*;

    pub fn the_interface_of_an_address_is_tracked(subject: Subject) {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        for (name, ip) in
            [("eth1", "10.2.0.1/24"), ("eth2", "10.3.0.1/24"), ("eth3", "10.4.0.1/24")]
        {
            host.sh(&format!(
                "ip link add {name} type veth peer name far{name}; ip link set far{name} up
                 ip link set {name} up; ip addr add {ip} dev {name}"
            ));
        }
        let lines = "10.2.0.70/24 dev eth1\n 10.4.0.70/24 dev eth3 no_track\n }
                     virtual_ipaddress_excluded {\n 10.3.0.70/24 dev eth2\n";
        let vip = format!("{ARTICLE_VIP}\n");
        let text = conf(100, "").replacen(&vip, &format!("{vip} {lines}"), 1);
        lab.check("the addresses stand in the configuration", text.contains("10.3.0.70"));
        let daemon = subject.start(host, &text);
        is_master(&lab);
        for (times, name) in [(1, "eth1"), (2, "eth2")] {
            host.sh(&format!("ip link set {name} down"));
            wait_for_line(&lab, &daemon, "Entering FAULT STATE", times);
            lab.wait_for("no address", seconds(TAKEOVER), || lab.owners(ARTICLE_VIP).is_empty());
            host.sh(&format!("ip link set {name} up"));
            is_master(&lab);
        }
        host.sh("ip link set eth3 down");
        lab.holds("it stays", seconds(2.0), || lab.owners(ARTICLE_VIP) == ["a"]);
    }

    pub fn a_file_s_number_is_added(subject: Subject) {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        let daemon = subject.start(host, &file("weight 2", "tf"));
        is_master(&lab);
        for (text, line) in [
            ("7\n", "Changing effective priority from 100 to 114"),
            ("-20 and more\n", "Changing effective priority from 114 to 60"),
            ("200\n", "Changing effective priority from 60 to 254"),
            ("none\n", "Changing effective priority from 254 to 100"),
        ] {
            host.write("/run/number", text);
            wait_for_line(&lab, &daemon, line, 1);
        }
        host.write("/run/number", "-127\n");
        wait_for_line(&lab, &daemon, "Entering FAULT STATE", 1);
        lab.wait_for("no address", seconds(TAKEOVER), || lab.owners(ARTICLE_VIP).is_empty());
        host.sh("rm /run/number");
        is_master(&lab);
    }

    pub fn a_file_that_is_not_zero_is_a_fault(subject: Subject) {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        let daemon = subject.start(host, &file("", "tf weight 0"));
        is_master(&lab);
        host.sh("echo 1 > /run/number.new; mv /run/number.new /run/number");
        wait_for_line(&lab, &daemon, "Entering FAULT STATE", 1);
        lab.wait_for("no address", seconds(TAKEOVER), || lab.owners(ARTICLE_VIP).is_empty());
        host.sh("echo 0 > /run/number");
        is_master(&lab);
    }

    pub fn a_file_is_made(subject: Subject) {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        let untracked = "track_file other {\n file /run/other\n init_file 6\n}\n";
        let conf = untracked.to_owned() + &file("init_file 5", "tf weight 2 reverse");
        let _daemon = subject.start(host, &conf);
        is_master(&lab);
        lab.check("the file that nobody tracks", host.read("/run/other") == "6\n");
        lab.check("the file", host.read("/run/number") == "5\n");
        lab.wait_for("its number counts", seconds(TAKEOVER), || priorities(&lab) == [90]);
    }
}
