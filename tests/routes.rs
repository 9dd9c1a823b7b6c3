//! Routes, rules and what is static, whole: they are there when keepalived would have them there,
//! the very same, and come back when somebody removes them.

mod lab;

use lab::{Daemon, Host, Lab, Subject, conf, seconds};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;

/// An election at an interval of 1 s takes at most 4 s; the rest is for a busy machine.
const TAKEOVER: f64 = 15.0;

/// A second interface, and IPv6 on the first.
const MORE_LINKS: &str = "
    sysctl -qw net.ipv6.conf.all.disable_ipv6=0
    sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=1
    ip addr add fd00:1::1/64 dev eth0 nodad
    ip link add eth1 type veth peer name far
    sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1
    sysctl -qw net.ipv6.conf.far.disable_ipv6=1
    ip link set far up
    ip link set eth1 up
    ip addr add 10.2.0.1/24 dev eth1";

const STATICS: &str = "
track_group G1 {
    group {
        VI_1
    }
}
static_ipaddress {
    10.8.0.60/24 dev eth1
}
static_routes {
    10.8.1.0/24 via 172.16.51.9 dev eth0
    10.8.2.0/24 via 10.2.0.9 dev eth1 track_group G1
}
static_rules {
    from 10.8.0.0/16 table 100 priority 200
}
";

const ROUTES: &str = "
    virtual_routes {
        10.9.1.0/24 via 172.16.51.9 dev eth0
        src 172.16.51.70 10.9.2.0/24 via 172.16.51.9
        10.9.3.0/24 dev eth1
        10.9.4.0/24 dev eth0 scope link table 100 metric 7
        10.9.5.0/24 nexthop via 172.16.51.9 dev eth0 weight 2 nexthop via 172.16.51.8 dev eth0 onlink
        blackhole 10.9.6.0/24
        unreachable 10.9.7.0/24
        prohibit 10.9.8.0/24
        throw 10.9.9.0/24 table 1000
        10.9.10.0/24 via 172.16.51.9 dev eth0 tos 0x10 mtu 1400 advmss lock 1000 rtt 2s rttvar 0.3s \
reordering 104 window 105 cwnd 106 ssthresh lock 107 realms 5/6 rto_min 250ms initcwnd 109 \
initrwnd 110 features ecn quickack 1 congctl cubic fastopen_no_cookie 1 hoplimit 77
        10.9.11.0/24 dev eth1 protocol static no_track
        10.9.12.0/24 via 10.99.0.1 dev eth0 onlink
        10.9.13.0/24 via 172.16.51.9 or 172.16.51.8
        10.9.13.0/24 via 172.16.51.9 dev eth0 metric 5 append
        default via 172.16.51.9 dev eth0 table 200
        fd00:9:1::/64 via fd00:1::9 dev eth0
        fd00:9:2::/64 dev eth0 metric 5 pref high mtu 1300
        fd00:9:4::/64 nexthop via fd00:1::9 dev eth0 weight 3 nexthop via fd00:1::8 dev eth0
        blackhole fd00:9:5::/64
        10.9.17.5/24 dev eth0
    }
    virtual_rules {
        from 10.9.0.0/16 table 100 priority 100
        to 10.9.0.0/16 table 300 priority 101 no_track
        not from 10.3.0.0/16 to 10.4.0.0/16 lookup main priority 102 iif eth0 oif eth1 tos 0x10 \
fwmark 24/12 realms 30/20 suppress_prefixlength 13 suppress_ifgroup 3
        from fd00::/16 table 100 priority 103
        from all blackhole priority 104 fwmark 9
        from all nop priority 107
        from all goto 32766 priority 108
        from 10.5.0.0/16 table 100 priority 109 uidrange 10-20 ipproto tcp sport 10-20 dport 30-40
        from 10.5.0.0/16 l3mdev priority 110
        from 10.6.0.0/16 table 1000
        from 10.7.0.0/16 table 100
    }";

/// A master at once, so that nothing has to be waited for.
fn owner(before: &str, more: &str) -> String {
    let conf = conf(255, more).replace("state BACKUP", "state MASTER");
    format!("{before}{conf}")
}

/// All routes and rules but those of the kernel, as `ip` shows them.
fn tables(host: &Host) -> String {
    let all = host.sh("for f in -4 -6; do ip $f -d route show table all; ip $f -d rule; done");
    // What the kernel makes of addresses comes and goes with these.
    let is_kernel_s = |line: &&str| !line.contains("proto kernel");
    all.lines().filter(is_kernel_s).map(|line| format!("{line}\n")).collect()
}

fn wait_for_line(lab: &Lab, daemon: &Daemon, line: &str) {
    lab.wait_for(line, seconds(TAKEOVER), || daemon.log().contains(line));
}

/// Waits until `ip rule` or a route table has this or not.
fn wait_for(lab: &Lab, text: &str, is_there: bool) {
    let what = format!("{text} {}", if is_there { "is there" } else { "is gone" });
    lab.wait_for(&what, seconds(TAKEOVER), || tables(&lab.hosts[0]).contains(text) == is_there);
}

fn stop(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.wait(Duration::from_secs(20));
}

/// The tables in each phase of a daemon's life, and what it calls its routes and rules.
fn life(subject: Subject) -> Vec<(&'static str, String)> {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh(MORE_LINKS);
    let mut phases = vec![("before", tables(host))];
    let mut monitor = host.start("ip", &["monitor", "address", "route", "rule"]);
    // It hears of itself, so it hears of all that follows.
    lab.wait_for("the monitor", seconds(TAKEOVER), || {
        host.sh("ip rule add priority 9 table 9; ip rule del priority 9");
        monitor.log().contains("lookup 9")
    });
    let mut daemon = subject.start(host, &(STATICS.to_owned() + &conf(100, ROUTES)));
    wait_for_line(&lab, &daemon, "Entering BACKUP STATE");
    phases.push(("backup", tables(host)));
    // keepalived goes from its last number downwards: the last rule that is set.
    wait_for(&lab, "from 10.7.0.0/16", true);
    wait_for_line(&lab, &daemon, "Sending gratuitous ARP");
    phases.push(("master", tables(host)));
    host.sh("rm -f /tmp/keepalived.data");
    daemon.signal(Signal::SIGUSR1);
    let whole = || host.read("/tmp/keepalived.data").contains("   Virtual Rules :\n     from");
    lab.wait_for("keepalived.data", seconds(TAKEOVER), whole);
    phases.push(("keepalived.data", names(&host.read("/tmp/keepalived.data"))));
    // The signal for JSON is the second of the real-time ones.
    host.sh(&format!("rm -f /tmp/keepalived.json; pkill -36 -o -x {}", subject.name()));
    let json = || serde_json::from_str::<Value>(&host.read("/tmp/keepalived.json")).ok();
    lab.wait_for("keepalived.json", seconds(TAKEOVER), || json().is_some());
    let data = json().map(|all| all[0]["data"].clone()).unwrap_or_default();
    phases.push(("keepalived.json", strings(&data["vroutes"]) + &strings(&data["vrules"])));
    host.sh("ip link set eth0 down");
    wait_for(&lab, "from 10.9.0.0/16 lookup 100", false);
    wait_for(&lab, "10.9.3.0/24", false);
    phases.push(("fault", tables(host)));
    stop(&mut daemon);
    phases.push(("stopped", tables(host)));
    lab.wait_for("the monitor", seconds(TAKEOVER), || order(&monitor.log()).len() == 6);
    phases.push(("order", order(&monitor.log()).join("\n")));
    monitor.signal(Signal::SIGTERM);
    monitor.wait(Duration::from_secs(20));
    phases
}

/// In which order an address, a route and a rule come and go.
fn order(log: &str) -> Vec<String> {
    let samples = ["172.16.51.70/32", "10.9.3.0/24", "lookup 300"];
    let sample = |line: &str| {
        let found = samples.into_iter().find(|sample| line.contains(sample))?;
        Some(format!("{}{found}", if line.starts_with("Deleted") { "no " } else { "" }))
    };
    log.lines().filter_map(sample).collect()
}

/// The lines of keepalived.data about routes and rules. keepalived's own account of where it has
/// seen its IPv6 routes is left out, and the mark of what it cannot track.
fn names(data: &str) -> String {
    let mut is_ours = false;
    let mut found = String::new();
    for line in data.lines() {
        if !line.starts_with("     ") {
            let titles = ["Virtual Routes", "Virtual Rules", "------< Static"];
            is_ours = titles.iter().any(|title| line.contains(title));
        }
        if is_ours {
            let line = line.replace(" [installed ifindex 0]", "").replace(" no_track", "");
            found += &format!("{line}\n");
        }
    }
    found
}

/// The strings of an array, a line each. keepalived cuts its own after 255 bytes.
fn strings(array: &Value) -> String {
    let cut = |text: &str| {
        let text = text.replace(" [installed ifindex 0]", "").replace(" no_track", "");
        text.chars().take(240).chain(['\n']).collect::<String>()
    };
    array.as_array().expect("an array").iter().map(|s| cut(s.as_str().expect("text"))).collect()
}

#[test]
fn routes_and_rules_are_keepalived_s_in_every_phase() {
    let (theirs, ours) = (life(Subject::Keepalived), life(Subject::Glha));
    for ((phase, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        assert_eq!(theirs, ours, "{phase}");
    }
    let stopped = ours.iter().find(|(phase, _)| *phase == "stopped").expect("that phase");
    assert_eq!(ours[0].1, stopped.1, "nothing is left at the end");
}

#[test]
fn what_somebody_removes_comes_back_and_a_crash_leaves_nothing_for_long() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh(MORE_LINKS);
    let before = tables(host);
    let mut glha = Subject::Glha.start(host, &owner(STATICS, ROUTES));
    wait_for(&lab, "from 10.7.0.0/16", true);
    let whole = tables(host);
    let remove = "
        ip route del 10.9.1.0/24
        ip route del blackhole 10.9.6.0/24
        ip -6 route del fd00:9:1::/64
        ip rule del priority 100
        ip route del 10.8.1.0/24
        ip rule del priority 200
        ip addr del 10.8.0.60/24 dev eth1";
    host.sh(remove);
    let is_back = || tables(host) == whole && host.has_address("10.8.0.60");
    lab.wait_for("all is back", seconds(TAKEOVER), is_back);
    let log = glha.log();
    for line in [
        "(VI_1) virtual route prepend 10.9.1.0/24 via inet 172.16.51.9 dev eth0 proto 18 was gone",
        "(VI_1) virtual rule from 10.9.0.0/16 priority 100 tos 0x0 protocol 18 lookup 100 was gone",
        "Restoring deleted static route prepend 10.8.1.0/24",
        "Restoring deleted static rule from 10.8.0.0/16",
        "Restoring deleted static address 10.8.0.60/24",
    ] {
        lab.check(line, log.contains(line));
    }
    lab.check("no transition", log.matches("Entering").count() == 1);
    // Nobody minds what is not to be tracked.
    host.sh("ip rule del priority 101; ip rule add priority 150 table 5; ip rule del priority 150");
    lab.holds("it stays away", seconds(0.5), || !tables(host).contains("lookup 300"));
    glha.signal(Signal::SIGKILL);
    glha.wait(Duration::from_secs(20));
    lab.check("a crash leaves it all", tables(host).contains("from 10.7.0.0/16"));
    // A backup takes away what the crash left, and keeps what is static.
    let backup = STATICS.to_owned() + &conf(100, ROUTES).replace("advert_int 1", "advert_int 60");
    let mut glha = Subject::Glha.start(host, &backup);
    wait_for_line(&lab, &glha, "Entering BACKUP STATE");
    wait_for(&lab, "10.9.", false);
    wait_for(&lab, "from 10.8.0.0/16", true);
    glha.signal(Signal::SIGKILL);
    glha.wait(Duration::from_secs(20));
    host.sh("/run/lab/glha release -f /etc/keepalived/keepalived.conf");
    lab.check("released", tables(host) == before && !host.has_address("10.8.0.60"));
}

#[test]
fn a_reload_touches_what_has_changed_and_v_keeps_what_is_virtual() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh(MORE_LINKS);
    let file = "/etc/keepalived/keepalived.conf";
    let routes = |lines: &str| format!("virtual_routes {{\n{lines}}}\n");
    let both = "10.9.1.0/24 dev eth0\n10.9.2.0/24 dev eth1\n";
    host.write(file, &owner(STATICS, &routes(both)));
    let mut glha = host.start(Subject::Glha.program(), &["-n", "-l", "-D", "-V", "-f", file]);
    wait_for(&lab, "10.9.2.0/24", true);
    let mut monitor = host.start("ip", &["monitor", "route", "rule"]);
    // What it does not hear of has not been touched; here is something that it has to hear of.
    host.sh("until ip route add 10.77.0.0/24 dev eth0; do :; done");
    let statics =
        STATICS.replace("10.8.1.0/24", "10.8.3.0/24").replace("priority 200", "priority 201");
    host.write(file, &owner(&statics, &routes("10.9.3.0/24 dev eth1\n\n10.9.1.0/24 dev eth0\n")));
    glha.signal(Signal::SIGHUP);
    for (text, is_there) in [
        ("10.9.3.0/24", true),
        ("10.8.3.0/24", true),
        ("201:", true),
        ("10.9.2.0/24", false),
        ("10.8.1.0/24", false),
        ("200:", false),
    ] {
        wait_for(&lab, text, is_there);
    }
    lab.wait_for("the monitor", seconds(TAKEOVER), || monitor.log().contains("10.9.3.0/24"));
    let said = monitor.log();
    lab.check("unchanged", !said.contains("10.9.1.0/24") && !said.contains("10.8.2.0/24"));
    lab.check("no transition", glha.log().matches("Entering").count() == 1);
    stop(&mut glha);
    let left = tables(host);
    lab.check("-V keeps the virtual ones", left.contains("10.9.1.0/24"));
    lab.check("and, as keepalived, not the static ones", !left.contains("10.8."));
    monitor.signal(Signal::SIGTERM);
    monitor.wait(Duration::from_secs(20));
}

/// keepalived tracks the interfaces of routes, too. That something static cannot be restored is a
/// fault of those who track it, as its manual says.
#[test]
fn who_cannot_have_what_it_tracks_is_faulty() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh(MORE_LINKS);
    let glha =
        Subject::Glha.start(host, &owner(STATICS, "virtual_routes {\n10.9.1.0/24 dev eth0\n}"));
    wait_for(&lab, "10.9.1.0/24", true);
    // The kernel takes the route along, and says nothing.
    host.sh("ip addr del 10.2.0.1/24 dev eth1");
    wait_for_line(
        &lab,
        &glha,
        "static route prepend 10.8.2.0/24 via inet 10.2.0.9 dev eth1 proto 18 cannot be set",
    );
    wait_for(&lab, "10.9.1.0/24", false);
    host.sh("ip addr add 10.2.0.1/24 dev eth1");
    wait_for(&lab, "10.8.2.0/24", true);
    wait_for(&lab, "10.9.1.0/24", true);
    host.sh("ip link set eth1 down");
    wait_for_line(&lab, &glha, "link_down: interface eth1 down");
    wait_for(&lab, "10.9.1.0/24", false);
    // So short that nothing but the routes is different afterwards.
    host.sh("ip link set eth1 up; ip link set eth1 down; ip link set eth1 up");
    wait_for(&lab, "10.8.2.0/24", true);
    wait_for(&lab, "10.9.1.0/24", true);
}

/// Of what happens while the kernel's news overflow nobody is told.
#[test]
fn what_is_removed_unheard_comes_back() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh(MORE_LINKS);
    let daemon = Subject::Glha.start(host, &owner(STATICS, ROUTES));
    wait_for(&lab, "from 10.7.0.0/16", true);
    wait_for_line(&lab, &daemon, "Sending gratuitous ARP");
    let sorted = || {
        let all = tables(host);
        let mut lines: Vec<String> = all.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let whole = sorted();
    daemon.signal(Signal::SIGSTOP);
    host.sh("for n in $(seq 1 6000); do
            echo addr add 127.1.0.1/32 dev lo; echo addr del 127.1.0.1/32 dev lo
        done | ip -batch -
        ip rule del priority 100; ip rule del priority 200; ip -6 rule del priority 103
        ip rule del from 10.7.0.0/16 table 100
        ip route del 10.9.1.0/24; ip route del 10.8.1.0/24; ip -6 route del fd00:9:2::/64
        ip addr del 172.16.51.70/32 dev eth0");
    daemon.go_on();
    wait_for_line(&lab, &daemon, "Netlink messages were lost");
    lab.wait_for("everything is there, once", seconds(TAKEOVER), || sorted() == whole);
}
