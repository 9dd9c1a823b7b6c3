//! What a host does to a node that has done nothing wrong: interfaces that come and go, addresses that
//! somebody takes away or that cannot be set yet. What is wanted and what is there agree again.
//!
//! Where keepalived does the right thing it is the subject first.

mod lab;

use lab::{ARTICLE_VIP, Daemon, Host, Lab, Subject, conf, seconds};
use nix::sys::signal::Signal;
use serde_json::Value;

/// An election at an interval of 1 s takes at most 4 s; the rest is for a busy machine.
const TAKEOVER: f64 = 20.0;
/// A second interface that only carries addresses.
const CARRIER: &str = "
    ip link add eth1 type veth peer name far
    ip link set far up
    ip link set eth1 up
    ip addr add 10.2.0.1/24 dev eth1";
/// An address on it.
const CARRIED: &str = "10.10.0.100";
/// One of IPv6.
const SIXTH: &str = "fd00:5::100";

fn carried() -> String {
    conf(150, &format!("virtual_ipaddress_excluded {{\n{CARRIED}/32 dev eth1\n}}"))
}

/// One host that is master with an address on each of two interfaces.
fn master(subject: Subject) -> (Lab, Daemon) {
    let lab = Lab::pair();
    lab.hosts[0].sh(CARRIER);
    let daemon = subject.start(&lab.hosts[0], &carried());
    has_both(&lab, &lab.hosts[0]);
    (lab, daemon)
}

#[track_caller]
fn has_both(lab: &Lab, host: &Host) {
    lab.wait_for("both addresses", seconds(TAKEOVER), || {
        host.has_address(ARTICLE_VIP) && host.has_address(CARRIED)
    });
}

fn status(host: &Host) -> Value {
    let said = host.run("/run/lab/glha status --json").said;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// What one instance says of its addresses.
fn instance(host: &Host, name: &str) -> Value {
    let status = status(host);
    let all = status["instances"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["instance"] == name).unwrap_or_default()
}

// --- interfaces that come and go

fn a_carrier_made_anew(subject: Subject) {
    let (lab, _daemon) = master(subject);
    let [host, _] = &lab.hosts[..] else { unreachable!() };
    for _ in 0..2 {
        host.sh("ip link del eth1");
        host.sh(CARRIER);
        has_both(&lab, host);
    }
    // Another order: the interface is there again under the name before the old one is gone.
    host.sh("ip link set eth1 name old; ip link set old name eth1");
    has_both(&lab, host);
    host.sh("ip link set eth1 down; ip link set eth1 name old");
    host.sh(&CARRIER.replace("far", "far2").replace("10.2.0.1", "10.2.0.2"));
    has_both(&lab, host);
}

#[test]
fn keepalived_s_address_comes_back_with_its_interface() {
    let (lab, _daemon) = master(Subject::Keepalived);
    let [host, _] = &lab.hosts[..] else { unreachable!() };
    host.sh("ip link del eth1");
    host.sh(CARRIER);
    has_both(&lab, host);
}

#[test]
fn an_address_comes_back_with_its_interface() {
    a_carrier_made_anew(Subject::Glha);
}

#[test]
fn nothing_is_announced_that_is_not_set() {
    let lab = Lab::pair();
    let host = &lab.hosts[0];
    host.sh(CARRIER);
    // With this interval the loss of an interface is no fault for ten seconds; an owner starts at once.
    let patient = carried().replace("advert_int 1", "advert_int 10").replace("150", "255");
    let patient = patient.replace("state BACKUP", "state MASTER");
    let daemon = Subject::Glha.start(host, &patient);
    has_both(&lab, host);
    host.sh("ip link del eth1");
    lab.wait_for("it is said", seconds(TAKEOVER), || {
        daemon.log().contains("eth1: 10.10.0.100/32 could not be put on its interface")
    });
    let said = daemon.log();
    let after = said.split("could not be put").last().unwrap_or_default();
    lab.check("no announcement", !after.contains("Sending gratuitous ARP on eth1"));
    let missing = instance(host, "VI_1")["missing"].to_string();
    lab.check(&format!("status names it: {missing}"), missing.contains(CARRIED));
    let words = host.run("/run/lab/glha why VI_1").said;
    lab.check(&format!("why names it: {words}"), words.contains(CARRIED));
    host.sh(CARRIER);
    has_both(&lab, host);
    lab.wait_for("it is announced", seconds(TAKEOVER), || {
        daemon.log().contains("10.10.0.100/32 is set now")
    });
    lab.wait_for("nothing is missing", seconds(TAKEOVER), || {
        instance(host, "VI_1")["missing"].as_array().is_some_and(Vec::is_empty)
    });
}

// --- what is gone for a moment

/// A network service that is restarted takes everything off, and puts its own back.
const RESTARTS: [&str; 4] = [
    "ip addr flush dev eth0; sleep 0.3; ip addr add 172.16.51.11/24 dev eth0",
    "ip link set eth0 down; sleep 0.3; ip link set eth0 up",
    "ip link set eth0 down; ip addr flush dev eth0; sleep 0.3
     ip addr add 172.16.51.11/24 dev eth0; ip link set eth0 up",
    "ip addr replace 172.16.51.11/24 dev eth0; ip addr flush dev eth0 scope global
     ip addr add 172.16.51.11/24 dev eth0",
];

fn restarts_move_nothing(start: impl Fn(&Host, u8) -> Daemon) {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let a_glha = start(a, 150);
    lab.wait_for("a is master", seconds(TAKEOVER), || a.has_address(ARTICLE_VIP));
    let b_glha = start(b, 100);
    lab.wait_for("b is backup", seconds(TAKEOVER), || {
        b_glha.log().contains("Entering BACKUP STATE")
    });
    for restart in RESTARTS {
        a.sh(restart);
        lab.wait_for("the address is back", seconds(TAKEOVER), || a.has_address(ARTICLE_VIP));
        // Longer than anybody would wait who had missed an advert too many.
        lab.holds("it stays", seconds(5.0), || {
            a.has_address(ARTICLE_VIP) && !b.has_address(ARTICLE_VIP)
        });
    }
    lab.check("no transition", a_glha.log().matches("Entering MASTER").count() == 1);
    lab.check("nor a fault", !a_glha.log().contains("FAULT"));
    lab.check("nobody gave up", lab.adverts("a").iter().all(|(_, advert)| advert.priority > 0));
}

#[test]
fn a_restart_of_the_network_moves_nothing() {
    restarts_move_nothing(|host, priority| Subject::Glha.start(host, &conf(priority, "")));
}

#[test]
fn a_restart_of_the_network_moves_no_storage() {
    let hook = lab::gated::mount_hook_with_probe(":", ":", ":");
    restarts_move_nothing(|host, priority| {
        lab::gated::start(host, priority, "mount timeout 20 probe 2", &hook)
    });
}

/// A backup that stood still has the adverts of those seconds before it; it reads them first.
#[test]
fn a_backup_that_stood_still_takes_nothing() {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let _a = Subject::Glha.start(a, &conf(150, ""));
    lab.wait_for("a is master", seconds(TAKEOVER), || a.has_address(ARTICLE_VIP));
    let b_glha = Subject::Glha.start(b, &conf(100, ""));
    lab.wait_for("b is backup", seconds(TAKEOVER), || {
        b_glha.log().contains("Entering BACKUP STATE")
    });
    for _ in 0..3 {
        b_glha.signal(nix::sys::signal::Signal::SIGSTOP);
        let before = lab.adverts("a").len();
        lab.wait_for("six adverts", seconds(TAKEOVER), || lab.adverts("a").len() > before + 6);
        b_glha.go_on();
        // It has turned its loop when it answers.
        lab.wait_for("it goes on", seconds(TAKEOVER), || {
            b.run("/run/lab/glha status").said.contains("is BACKUP")
        });
    }
    lab.check("it stayed backup", !b_glha.log().contains("MASTER"));
}

// --- what cannot be opened

/// Deaf, it would be a second master.
#[test]
fn without_a_socket_it_is_in_fault_until_it_has_one() {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    a.sh("sysctl -qw net.ipv4.igmp_max_memberships=0");
    let daemon = Subject::Glha.start(a, &conf(150, ""));
    lab.wait_for("a says so", seconds(TAKEOVER), || daemon.log().contains("Entering FAULT STATE"));
    lab.check("and why", daemon.log().contains("no socket for 224.0.0.18 on eth0"));
    let of = instance(a, "VI_1");
    lab.check(&of.to_string(), of["phase"] == "fault" && of["reason"] == "no_socket");
    let words = a.run("/run/lab/glha why VI_1").said;
    lab.check(&words, words.contains("no socket for 224.0.0.18"));
    let _b = Subject::Keepalived.start(b, &conf(100, ""));
    lab.wait_for("b is master", seconds(TAKEOVER), || b.has_address(ARTICLE_VIP));
    a.sh("sysctl -qw net.ipv4.igmp_max_memberships=20");
    lab.wait_for("a is master", seconds(2.0 * TAKEOVER), || lab.owners(ARTICLE_VIP) == ["a"]);
    lab.check("said once", daemon.log().matches("it is tried again").count() == 1);
}

/// A packet filter that drops what the node sends makes a second master; it is not silent about it.
#[test]
fn a_master_that_cannot_be_heard_says_so() {
    lab::require(&["nft"]);
    let lab = Lab::pair();
    let [a, _] = &lab.hosts[..] else { unreachable!() };
    let daemon = Subject::Glha.start(a, &conf(150, ""));
    lab.wait_for("a is master", seconds(TAKEOVER), || a.has_address(ARTICLE_VIP));
    a.sh("nft 'table ip t { chain out { type filter hook output priority 0; ip protocol 112 drop; }; }'");
    lab.wait_for("it is said", seconds(TAKEOVER), || {
        daemon.log().contains("cannot be sent on eth0")
    });
    lab.wait_for("status names it", seconds(TAKEOVER), || {
        instance(a, "VI_1")["missing"].to_string().contains("cannot be sent")
    });
    let words = a.run("/run/lab/glha why VI_1").said;
    lab.check(&words, words.contains("its adverts do not go out"));
    let metrics = a.run("/run/lab/glha metrics").said;
    lab.check(&metrics, metrics.contains("glha_mute{instance=\"VI_1\"} 1"));
    a.sh("nft flush ruleset");
    lab.wait_for("it is over", seconds(TAKEOVER), || daemon.log().contains("go out again"));
    lab.check("said once", daemon.log().matches("this is said once").count() == 1);
    let over = instance(a, "VI_1")["missing"].as_array().is_some_and(Vec::is_empty);
    lab.check("status says so", over);
}

/// What the kernel tells in the middle of a reload is news like other news. (The daemon is held up there by
/// a file that it tracks, which it watches anew.)
#[test]
fn what_is_taken_away_during_a_reload_comes_back() {
    lab::require(&["strace"]);
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let more = "track_file {\nfile weight 1\n}
        virtual_routes {\n10.66.0.0/24 dev eth0\n}
        virtual_rules {\nfrom 10.67.0.0/16 table 100 priority 300\n}";
    let conf = format!("track_file file {{\nfile /run/number\n}}\n{}", conf(150, more));
    host.sh("echo 1 >/run/number");
    host.write("/run/host.conf", &conf);
    let slowly = "exec strace -f -qq --seccomp-bpf -o /run/trace -e trace=inotify_rm_watch \
                  -e inject=inotify_rm_watch:delay_enter=2000000:when=1 \"$@\"";
    let options = ["-n", "-l", "-D", "-P", "-f", "/run/host.conf", "-p", "/run/d.pid"];
    let program = Subject::Glha.program();
    let daemon = host.start("sh", &[&["-c", slowly, "sh", program], &options[..]].concat());
    let has_all = || {
        let there = host.sh("ip route; ip rule");
        let has = |what: &str| there.contains(what);
        host.has_address(ARTICLE_VIP) && has("10.66.0.0/24") && has("10.67.0.0/16")
    };
    lab.wait_for("everything", seconds(TAKEOVER), has_all);
    host.signal("glha", Signal::SIGHUP);
    lab.wait_for("the middle of a reload", seconds(TAKEOVER), || {
        host.run("grep -qs 'tracing stop' /proc/[0-9]*/status").status.success()
    });
    host.sh(&format!(
        "ip addr flush dev eth0 to {ARTICLE_VIP}; ip route del 10.66.0.0/24; ip rule del priority 300"
    ));
    lab.wait_for("the end of it", seconds(TAKEOVER), || daemon.log().contains("Reloaded"));
    lab.wait_for("everything again", seconds(TAKEOVER), has_all);
}

// --- what the kernel refuses for a while

/// Without IPv6 on the interface the kernel refuses an address of it, and takes it later.
#[test]
fn what_the_kernel_refuses_is_tried_again() {
    let lab = Lab::pair();
    let [host, _] = &lab.hosts[..] else { unreachable!() };
    host.sh(CARRIER);
    host.sh("sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1");
    let excluded =
        format!("virtual_ipaddress_excluded {{\n{CARRIED}/32 dev eth1\n{SIXTH}/64 dev eth1\n}}");
    let daemon = Subject::Glha.start(host, &conf(150, &excluded));
    has_both(&lab, host);
    lab.wait_for("it is said", seconds(TAKEOVER), || daemon.log().contains("it is tried again"));
    host.sh("ip addr add 10.2.0.7/24 dev eth1; ip addr del 10.2.0.7/24 dev eth1");
    host.sh("sysctl -qw net.ipv6.conf.eth1.disable_ipv6=0");
    lab.wait_for("the address", seconds(TAKEOVER), || host.has_address(SIXTH));
    lab.check("said once", daemon.log().matches("it is tried again").count() == 1);
    host.sh("sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1");
    lab.wait_for("it is gone", seconds(TAKEOVER), || !host.has_address(SIXTH));
    host.sh("sysctl -qw net.ipv6.conf.eth1.disable_ipv6=0");
    lab.wait_for("it is back", seconds(TAKEOVER), || host.has_address(SIXTH));
}

/// The same on the way out: nothing is left on a backup.
#[test]
fn a_stop_leaves_nothing_on_an_interface_that_was_renamed() {
    let (lab, mut daemon) = master(Subject::Glha);
    let [host, _] = &lab.hosts[..] else { unreachable!() };
    host.sh("ip link set eth1 down; ip link set eth1 name other; ip link set other up");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    lab.wait_for("it ends", seconds(TAKEOVER), || daemon.ended().is_some());
    lab.check("nothing is left", !host.has_address(ARTICLE_VIP));
}

// --- what others take away

#[test]
fn whatever_is_taken_away_comes_back() {
    let (lab, _daemon) = master(Subject::Glha);
    let [host, _] = &lab.hosts[..] else { unreachable!() };
    for command in [
        "ip addr flush dev eth1; ip addr add 10.2.0.1/24 dev eth1",
        &format!("ip addr del {CARRIED}/32 dev eth1; ip addr del {ARTICLE_VIP}/32 dev eth0"),
        "ip link set eth1 down; ip link set eth1 up",
        "ip link set eth1 down; ip addr flush dev eth1; ip link set eth1 up",
    ] {
        host.sh(command);
        has_both(&lab, host);
    }
}
