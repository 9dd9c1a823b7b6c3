//! BFD, whole: sessions with another glha, with keepalived and with FRR's bfdd, and what a session
//! that fails does to the instances that track it. keepalived is put to the same tests.

mod lab;

use lab::{ARTICLE_VIP, Daemon, Host, Lab, Subject, conf, seconds, with_every_pair};
use nix::sys::signal::Signal;

/// A session comes up within some packets, one a second; the rest is for a busy machine.
const SOON: f64 = 15.0;
/// Timers of a session that a busy machine keeps.
const TIMERS: &str = "min_rx 50\n min_tx 50\n multiplier 5";

with_every_pair! {
    a_cut_link_is_a_fault_and_the_backup_takes_over
    a_weight_counts_over_ipv6_with_a_passive_neighbour
    several_hops
}

fn session(name: &str, neighbor: &str, lines: &str) -> String {
    format!("bfd_instance {name} {{\n neighbor_ip {neighbor}\n {TIMERS}\n {lines}\n}}\n")
}

/// Starts a daemon with its BFD: `-P` would leave keepalived's out.
fn start(subject: Subject, host: &Host, conf: &str) -> Daemon {
    if subject == Subject::Keepalived {
        lab::require(&["keepalived"]);
    }
    let file = "/etc/keepalived/keepalived.conf";
    host.write(file, conf);
    let pids = ["-p", "/run/d.pid", "-r", "/run/v.pid", "-b", "/run/b.pid"];
    host.start(subject.program(), &[&["-n", "-l", "-D", "-f", file], &pids[..]].concat())
}

fn wait_for_line(lab: &Lab, daemon: &Daemon, line: &str, times: usize) {
    lab.wait_for(line, seconds(SOON), || daemon.log().matches(line).count() >= times);
}

fn is_owner(lab: &Lab, name: &str) {
    lab.wait_for(name, seconds(SOON), || lab.owners(ARTICLE_VIP) == [name]);
}

/// An instance without adverts of its own: what is seen is the session's doing alone.
fn slow(priority: u8, more: &str) -> String {
    conf(priority, more).replace("advert_int 1", "advert_int 100\n    version 2")
}

/// What happens, in words.
mod scenario {
    use super::*;

    /// Both track a router; the master's way to it is cut, and nothing else.
    pub fn a_cut_link_is_a_fault_and_the_backup_takes_over(a: Subject, b: Subject) {
        let lab = Lab::new(&lab::Plan {
            hosts: vec![("a", "172.16.51.11"), ("b", "172.16.51.12"), ("r", "172.16.51.13")],
            disk: None,
            glha: Subject::Glha.path(),
        });
        let [host_a, host_b, router] = &lab.hosts[..] else { panic!("three hosts") };
        let near = session("a", host_a.address, "") + &session("b", host_b.address, "");
        let _router = start(a, router, &near);
        let track = "track_bfd {\n r\n }";
        let to_router = |priority| session("r", router.address, "") + &conf(priority, track);
        let a = start(a, host_a, &to_router(150));
        is_owner(&lab, "a");
        let b = start(b, host_b, &to_router(100));
        wait_for_line(&lab, &b, "Entering BACKUP STATE", 1);
        host_a.sh(&drop_from(router.address));
        wait_for_line(&lab, &a, "(r) Entering Down state", 1);
        wait_for_line(&lab, &a, "Entering FAULT STATE", 1);
        is_owner(&lab, "b");
        host_a.sh("nft delete table inet cut");
        wait_for_line(&lab, &a, "(r) Entering Up state", 2);
        is_owner(&lab, "a");
    }

    /// One of the two begins; each adds to its priority while it sees the other.
    pub fn a_weight_counts_over_ipv6_with_a_passive_neighbour(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let ends = [("fd00::11", "fd00::12", ""), ("fd00::12", "fd00::11", "passive")];
        let confs = ends.map(|(own, neighbor, lines)| {
            let lines = format!("source_ip {own}\n weight -30\n {lines}");
            session("six", neighbor, &lines) + &conf(100, "track_bfd {\n six\n }")
        });
        lab.hosts[0].enable_ipv6("fd00::11");
        lab.hosts[1].enable_ipv6("fd00::12");
        let a = start(a, &lab.hosts[0], &confs[0]);
        wait_for_line(&lab, &a, "Changing effective priority from 100 to 70", 1);
        let mut b = start(b, &lab.hosts[1], &confs[1]);
        for daemon in [&a, &b] {
            wait_for_line(&lab, daemon, "(six) Entering Up state", 1);
            wait_for_line(&lab, daemon, "Changing effective priority from 70 to 100", 1);
        }
        b.signal(Signal::SIGTERM);
        b.wait(seconds(SOON));
        wait_for_line(&lab, &a, "(six) Entering Down state", 1);
        wait_for_line(&lab, &a, "Changing effective priority from 100 to 70", 2);
    }

    /// The neighbour is behind a router, whose TTL counts.
    pub fn several_hops(a: Subject, b: Subject) {
        let lab = Lab::new(&lab::Plan {
            hosts: vec![("a", "172.16.51.11"), ("b", "172.16.51.12"), ("r", "172.16.51.13")],
            disk: None,
            glha: Subject::Glha.path(),
        });
        let (a, b) = far_neighbours(&lab, |n, neighbor, own| {
            let lines = format!("source_ip {own}\n max_hops {}", [2, 1][n]);
            start([a, b][n], &lab.hosts[n], &(session("far", neighbor, &lines) + &slow(100, "")))
        });
        for daemon in [&a, &b] {
            wait_for_line(&lab, daemon, "(far) Entering Up state", 1);
        }
        lab.hosts[2].sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
        for daemon in [&a, &b] {
            wait_for_line(&lab, daemon, "(far) Entering Down state", 1);
        }
    }
}

/// Everything that comes from there is lost; what is sent there is not.
fn drop_from(address: &str) -> String {
    format!(
        "nft add table inet cut
        nft add chain inet cut in '{{ type filter hook input priority 0; }}'
        nft add rule inet cut in ip saddr {address} drop"
    )
}

/// Gives `a` and `b` an address that only the router `r` leads to, and starts something on each:
/// which host, the far address, the own one.
fn far_neighbours<T>(lab: &Lab, mut start: impl FnMut(usize, &str, &str) -> T) -> (T, T) {
    let ends = [("10.1.0.11", "10.2.0.12"), ("10.2.0.12", "10.1.0.11")];
    let router = &lab.hosts[2];
    router.sh("echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects
        echo 0 >/proc/sys/net/ipv4/conf/eth0/send_redirects");
    for (host, (own, far)) in lab.hosts.iter().zip(ends) {
        host.sh(&format!(
            "ip addr add {own}/32 dev lo; ip link set lo up
            ip route add {far}/32 via {} src {own}",
            router.address
        ));
        router.sh(&format!("ip route add {own}/32 via {}", host.address));
    }
    let [first, second] = ends;
    (start(0, first.1, first.0), start(1, second.1, second.0))
}

/// Other timers are agreed on without a fall; what is removed is taken down at both ends, and nobody
/// who tracks it takes that for a failure.
#[test]
fn a_reload_keeps_what_goes_on() {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { panic!("two hosts") };
    let keeps = session("keeps", b.address, "");
    let goes = session("goes", "172.16.51.99", "");
    let track = slow(100, "track_bfd {\n keeps\n }");
    let glha = start(Subject::Glha, a, &format!("{keeps}{goes}{track}"));
    let other = start(
        Subject::Glha,
        b,
        &(session("other", a.address, "") + &slow(90, "track_bfd {\n other\n }")),
    );
    wait_for_line(&lab, &glha, "(keeps) Entering Up state", 1);
    wait_for_line(&lab, &other, "(other) Entering Up state", 1);
    let slower = keeps.replace("min_tx 50", "min_tx 80");
    a.write("/etc/keepalived/keepalived.conf", &format!("{slower}{track}"));
    glha.signal(Signal::SIGHUP);
    wait_for_line(&lab, &glha, "Reloaded", 1);
    let status = a.run("/run/lab/glha status; /run/lab/glha metrics").said;
    let is_shown = status.contains("BFD keeps with 172.16.51.12: Up for ")
        && status.contains(", noticed within 250 ms")
        && status.contains("glha_bfd_up{session=\"keeps\"} 1");
    lab.check(&status, is_shown);
    let is_kept =
        || !glha.log().contains("(keeps) Entering Down") && !other.log().contains("Entering Down");
    lab.holds("the session goes on", seconds(2.0), is_kept);
    a.write("/etc/keepalived/keepalived.conf", &slow(100, ""));
    glha.signal(Signal::SIGHUP);
    wait_for_line(&lab, &other, "Remote diagnostic - Administratively Down", 1);
    lab.holds("no fault", seconds(1.0), || other.log().matches("Entering FAULT").count() == 1);
}

/// FRR's bfdd on this host, with these peers.
fn start_frr(host: &Host, peers: &str) -> Daemon {
    lab::require(&["/usr/lib/frr/bfdd"]);
    host.write("/etc/keepalived/bfdd.conf", &format!("log stdout debugging\nbfd\n{peers}\n"));
    host.sh("mkdir -p /run/frr; chown frr:frr /run/frr");
    let sockets = ["-i", "/run/frr/bfdd.pid", "--bfdctl", "/run/frr/bfdd.sock"];
    let others = ["--vty_socket", "/run/frr", "-z", "/run/frr/zserv.api"];
    let conf = ["-f", "/etc/keepalived/bfdd.conf"];
    host.start("/usr/lib/frr/bfdd", &[&conf[..], &sockets[..], &others[..]].concat())
}

const FRR_TIMERS: &str = "receive-interval 50\n transmit-interval 50\n detect-multiplier 4";

/// Over IPv4 on one link, which one begins or the other.
#[test]
fn frr_on_one_link() {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { panic!("two hosts") };
    for (ours, theirs) in [("passive", ""), ("", " passive-mode\n")] {
        let track = slow(100, "track_bfd {\n f weight 10\n }");
        let mut glha = start(Subject::Glha, a, &(session("f", b.address, ours) + &track));
        let peer = format!(" peer {}\n {FRR_TIMERS}\n{theirs} no shutdown\n", a.address);
        let mut frr = start_frr(b, &peer);
        wait_for_line(&lab, &glha, "(f) Entering Up state", 1);
        wait_for_line(&lab, &glha, "Changing effective priority from 100 to 110", 1);
        lab.holds("it stays up", seconds(2.0), || !glha.log().contains("(f) Entering Down"));
        frr.signal(Signal::SIGKILL);
        frr.wait(seconds(SOON));
        wait_for_line(
            &lab,
            &glha,
            "(f) Entering Down state (Local diagnostic - Control Detection Time Expired",
            1,
        );
        glha.signal(Signal::SIGTERM);
        glha.wait(seconds(SOON));
    }
}

/// Over IPv6 on one link: FRR takes a hop limit of 255 only.
#[test]
fn frr_over_ipv6() {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { panic!("two hosts") };
    a.enable_ipv6("fd00::11");
    b.enable_ipv6("fd00::12");
    let glha = start(Subject::Glha, a, &(session("f", "fd00::12", "") + &slow(100, "")));
    let peer = " peer fd00::11 local-address fd00::12\n no shutdown\n";
    let _frr = start_frr(b, &peer.replace("\n no", &format!("\n {FRR_TIMERS}\n no")));
    wait_for_line(&lab, &glha, "(f) Entering Up state", 1);
    lab.holds("it stays up", seconds(2.0), || !glha.log().contains("(f) Entering Down"));
}

/// Over several hops FRR uses the other port.
#[test]
fn frr_over_several_hops() {
    let lab = Lab::new(&lab::Plan {
        hosts: vec![("a", "172.16.51.11"), ("b", "172.16.51.12"), ("r", "172.16.51.13")],
        disk: None,
        glha: Subject::Glha.path(),
    });
    let (glha, _frr) = far_neighbours(&lab, |n, far, own| {
        if n == 0 {
            let lines = format!("source_ip {own}\n max_hops 3");
            return start(
                Subject::Glha,
                &lab.hosts[0],
                &(session("f", far, &lines) + &slow(100, "")),
            );
        }
        let peer =
            format!(" peer {far} multihop local-address {own}\n {FRR_TIMERS}\n no shutdown\n");
        start_frr(&lab.hosts[1], &peer)
    });
    wait_for_line(&lab, &glha, "(f) Entering Up state", 1);
    lab.holds("it stays up", seconds(2.0), || !glha.log().contains("(f) Entering Down"));
    lab.hosts[2].sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
    wait_for_line(&lab, &glha, "(f) Entering Down state", 1);
}
