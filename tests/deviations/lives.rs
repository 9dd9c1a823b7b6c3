//! Nodes that live through what keepalived and glha bear otherwise; both live the same life.

use super::lab::{ARTICLE_VIP, Daemon, Frame, Host, Lab, Subject, conf, seconds, wait_until};
use super::{SOON, both, said};
use glha::wire::vrrp::Advert;
use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::SystemTime;

const FILE: &str = "/etc/keepalived/keepalived.conf";
/// Long enough for anything that should happen at once, if it happens at all.
const WHILE: f64 = 2.0;

fn instance(name: &str, vrid: u8, priority: u8, more: &str, addresses: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\npriority {priority}\n\
         advert_int 1\n{more}\nvirtual_ipaddress {{\n{addresses}\n}}\n}}\n"
    )
}

fn told(lab: &Lab, daemon: &Daemon, name: &str, words: &str) {
    lab.wait_for(&format!("({name}) {words}"), seconds(SOON), || said(daemon, name, words));
}

/// Adverts of a host for a virtual router, since a time.
fn adverts(lab: &Lab, host: &str, vrid: u8, since: SystemTime) -> Vec<(SystemTime, u8)> {
    let of = |frame: &Frame| frame.from == host && frame.at >= since;
    let frames = lab.frames();
    let sent = frames.iter().filter(|frame| of(frame)).filter_map(|frame| {
        frame.sent().filter(|sent| sent.vrid == vrid).map(|sent| (frame.at, sent.priority))
    });
    sent.collect()
}

/// Sends adverts from the client, which is nobody's peer.
fn send(lab: &Lab, vrid: u8, (priority, interval): (u8, u16), address: &str, count: usize) {
    let from: Ipv4Addr = "172.16.51.99".parse().expect("address");
    let group = Ipv4Addr::new(224, 0, 0, 18);
    let addresses = vec![address.parse().expect("address")];
    let (version, auth_type, auth_data) = (2, 0, [0; 8]);
    let advert = Advert { version, vrid, priority, auth_type, interval, addresses, auth_data };
    let bytes = advert.emit_packet(1, 255, from, group, false);
    let work = move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
        socket.set_header_included_v4(true)?;
        socket.set_multicast_if_v4(&Ipv4Addr::UNSPECIFIED)?;
        let to = SocketAddr::from((group, 0)).into();
        (0..count).try_for_each(|_| socket.send_to(&bytes, &to).map(drop))
    };
    lab.client.sh("ip route replace 224.0.0.0/4 dev eth0");
    lab.client.spawn(work).join().expect("no panic").expect("sent");
}

fn stop(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(SOON));
}

// ---- one node

const GLOBAL: &str =
    "global_defs {\nscript_user root\nenable_script_security\nvrrp_garp_interval 0.05\n}\n";

/// One node with an instance for each matter.
fn of_one() -> String {
    let weights = "vrrp_script more {\nscript /bin/true\nweight 300\n}\nvrrp_script less {\nscript \
                   /bin/false\nweight -100\n}\n";
    let excluded = |ip: &str| format!("virtual_ipaddress_excluded {{\n{ip}\n}}\n");
    let weighted = excluded("fd00::3") + "track_script {\nmore\nless\n}";
    let process = "vrrp_track_process late {\nprocess sleep 98765\n}\n";
    let block = "nosuchblock {\npriority 200\n}\n";
    let routes = "notify_master_rx_lower_pri /run/lower\nvirtual_routes {\nblackhole 10.9.6.0/24\n}\n\
                  virtual_rules {\nfrom 10.8.0.0/24 sport 1-70000 table 5 priority 77\n}\n";
    [
        GLOBAL,
        weights,
        process,
        &instance("BURST", 1, 100, "", "172.16.51.101"),
        &instance("BLOCK", 2, 100, block, "172.16.51.102"),
        &instance("WEIGHT", 3, 100, &weighted, "172.16.51.103"),
        &instance("PROCESS", 4, 100, "track_process {\nlate\n}", "172.16.51.104"),
        &instance("ROUTE", 5, 100, routes, "172.16.51.105 peer 172.16.52.105"),
        &instance("SIXTH", 6, 100, &excluded("fd00::5"), "172.16.51.106"),
    ]
    .concat()
}

/// What there was to see.
#[derive(Debug, PartialEq)]
struct One {
    /// Gratuitous ARPs in the bursts of becoming master, of five twice, are all there.
    bursts_are_whole: bool,
    /// Priority and number of addresses of the instance with an unknown block in it.
    block: (u8, usize),
    /// Its priority: 100, 300 more and 100 less.
    weight: u8,
    /// The process that is there later is noticed.
    process_is_noticed: bool,
    /// Its ports, if any are said.
    has_other_ports: bool,
    route_comes_back: bool,
    removal_is_a_failover: bool,
    /// Somebody else answers for an address: of IPv4, of IPv6 and by looking for duplicates.
    conflicts_are_noticed: [bool; 3],
    /// A hundred worse adverts are answered one by one, and a script is run for each.
    answers_each: bool,
    runs_each: bool,
    short_loss_is_a_fault: bool,
    peer_is_left: bool,
}

fn live(subject: Subject) -> One {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.enable_ipv6("fd00::11");
    host.write_script("/run/lower", "#!/bin/sh\necho . >>/run/lower.ran\n");
    let began = SystemTime::now();
    let mut daemon = subject.start(host, &of_one());
    for name in ["BURST", "BLOCK", "WEIGHT", "ROUTE", "SIXTH"] {
        told(&lab, &daemon, name, "Entering MASTER STATE");
    }
    lab.wait_for("a fault", seconds(SOON), || {
        daemon.log().to_lowercase().contains("(process) entering fault state")
    });
    host.sh("setsid -f sleep 98765 </dev/null >/dev/null 2>&1");
    let is_changed = || adverts(&lab, "a", 3, began).last().is_some_and(|(_, p)| *p != 100);
    lab.wait_for("weights count", seconds(SOON), is_changed);
    let frames = lab.frames();
    let sent = |vrid| frames.iter().rev().filter_map(Frame::sent).find(|sent| sent.vrid == vrid);
    let (block, weight) = (sent(2).expect("an advert"), sent(3).expect("an advert").priority);
    let backup = || said(&daemon, "PROCESS", "Entering BACKUP");
    let process_is_noticed = wait_until(seconds(WHILE), backup);
    let has_other_ports = host.sh("ip rule").contains("sport 1-4464");

    let has_route = || host.sh("ip route").contains("blackhole 10.9.6.0/24");
    lab.wait_for("the route", seconds(SOON), has_route);
    host.sh("ip route del blackhole 10.9.6.0/24");
    let route_comes_back = wait_until(seconds(WHILE), has_route);

    let first: Ipv4Addr = "172.16.51.101".parse().expect("address");
    // The second burst is five seconds after the first.
    let bursts = || lab.frames().iter().filter(|frame| frame.announces() == Some(first)).count();
    let whole = || bursts() >= 10;
    let is_patient = subject == Subject::Glha;
    let bursts_are_whole = wait_until(seconds(if is_patient { SOON } else { 6.0 }), whole);
    let backups = || daemon.log().matches("(BURST) Entering BACKUP").count();
    let before = backups();
    host.sh("ip address del 172.16.51.101/32 dev eth0");
    lab.wait_for("the address again", seconds(SOON), || host.has_address("172.16.51.101"));
    let removal_is_a_failover = backups() > before;

    let conflicts_are_noticed = conflicts(&lab, &daemon);

    let since = SystemTime::now();
    send(&lab, 5, (50, 1), "172.16.51.105", 100);
    let count = || adverts(&lab, "a", 5, since).len();
    lab.wait_for("answers, and regular ones", seconds(SOON), || count() >= 4);
    let runs = || host.read("/run/lower.ran").lines().count();
    lab.wait_for("a script", seconds(SOON), || runs() >= 1);
    let runs_each = wait_until(seconds(WHILE), || runs() >= 50);
    let answers_each = count() >= 50;

    let faults = || daemon.log().to_lowercase().matches("entering fault state").count();
    let faults_before = faults();
    host.sh("ip link set eth0 down; sleep 0.3; ip link set eth0 up");
    let short_loss_is_a_fault = wait_until(seconds(WHILE), || faults() > faults_before);
    stop(&mut daemon);
    One {
        bursts_are_whole,
        block: (block.priority, block.addresses.len()),
        weight,
        process_is_noticed,
        has_other_ports,
        route_comes_back,
        removal_is_a_failover,
        conflicts_are_noticed,
        answers_each,
        runs_each,
        short_loss_is_a_fault,
        peer_is_left: host.has_address("172.16.51.105"),
    }
}

/// The client takes addresses for its own: one of IPv4, one of IPv6 that it only uses, and one that it
/// looks for duplicates of. Each is another instance's, since what is told stays quiet for a while.
fn conflicts(lab: &Lab, daemon: &Daemon) -> [bool; 3] {
    let is_told = |ip: &str| {
        wait_until(seconds(WHILE), || daemon.log().contains(&format!("{ip} is used by")))
    };
    lab.client.sh("ip address add 172.16.51.102/32 dev eth0");
    let ask = || {
        UdpSocket::bind("172.16.51.102:0")
            .and_then(|socket| socket.send_to(&[0], ("172.16.51.11", 9)))
    };
    lab.client.spawn(ask).join().expect("no panic").expect("sent");
    let by_arp = is_told("172.16.51.102");
    // The machine's own /proc/sys may be one that can only be read.
    let settings = "cd /proc/sys/net/ipv6/conf/eth0
        echo 0 >disable_ipv6; echo 1 >dad_transmits; echo 1 >ndisc_notify";
    lab.client.sh(&format!(
        "ip address del 172.16.51.102/32 dev eth0
        unshare -m sh -ec 'mount -t proc proc /proc; {settings}'
        ip address add fd00::3/64 dev eth0"
    ));
    let by_detection = is_told("fd00::3");
    // Without looking first, it only says that it has the address.
    lab.client.sh("ip address add fd00::5/64 dev eth0 nodad
        ip link set eth0 address 02:51:00:00:00:99");
    [by_arp, by_detection, is_told("fd00::5")]
}

#[test]
fn what_one_node_bears() {
    let (theirs, ours) = both(live);
    let expected = One {
        bursts_are_whole: false,
        block: (200, 0),
        weight: 254,
        process_is_noticed: false,
        has_other_ports: true,
        route_comes_back: false,
        removal_is_a_failover: true,
        conflicts_are_noticed: [false; 3],
        answers_each: true,
        runs_each: true,
        short_loss_is_a_fault: true,
        peer_is_left: true,
    };
    assert_eq!(theirs, expected);
    let expected = One {
        bursts_are_whole: true,
        block: (100, 1),
        weight: 253,
        process_is_noticed: true,
        has_other_ports: false,
        route_comes_back: true,
        removal_is_a_failover: false,
        conflicts_are_noticed: [true; 3],
        answers_each: false,
        runs_each: false,
        short_loss_is_a_fault: false,
        peer_is_left: false,
    };
    assert_eq!(ours, expected);
}

// ---- reloads and paths

fn reloads(subject: Subject) -> (u8, bool, bool) {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let good = conf(100, "").replace("global_defs {", "global_defs {\nvrrp_notify_fifo relative\n");
    host.write(FILE, &good);
    // A path that is not absolute begins in the folder where the daemon was started.
    let line = format!(
        "cd /run/lock && exec {} -n -l -D -P -f {FILE} -p /run/d.pid -r /run/v.pid",
        subject.program()
    );
    let mut daemon = host.start("sh", &["-c", &line]);
    lab.wait_for("a master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["a"]);
    let makes_fifo = host.exists("/run/lock/relative");
    host.write(FILE, &good.replace("priority 100", "priority 120\nnosuchkeyword"));
    let since = SystemTime::now();
    daemon.signal(Signal::SIGHUP);
    lab.wait_for("adverts", seconds(SOON), || adverts(&lab, "a", 51, since).len() >= 3);
    let priority = adverts(&lab, "a", 51, since).last().map_or(0, |(_, priority)| *priority);
    host.write(FILE, &good.replace("interface eth0", "interface eth7"));
    daemon.signal(Signal::SIGHUP);
    let ends = wait_until(seconds(WHILE), || daemon.ended().is_some());
    if !ends {
        lab.check("it is master", lab.owners(ARTICLE_VIP) == ["a"]);
        stop(&mut daemon);
    }
    (priority, makes_fifo, ends)
}

#[test]
fn what_a_reload_changes() {
    assert_eq!(both(reloads), ((120, true, true), (100, false, false)));
}

// ---- its own address, and its peers

#[test]
fn keepalived_stays_in_fault_for_ever() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let peer = "unicast_peer {\n172.16.51.12\n}";
    let source = format!("unicast_src_ip 172.16.51.98\n{peer}");
    let nobody = "unicast_src_ip 172.16.51.11\nunicast_fault_no_peer\nunicast_peer {\n}";
    let text = instance("SOURCE", 1, 100, &source, "172.16.51.101")
        + &instance("NOBODY", 2, 100, nobody, "172.16.51.102");
    let daemon = Subject::Keepalived.start(host, &text);
    lab.wait_for("a fault", seconds(SOON), || {
        daemon.log().to_lowercase().contains("(source) entering fault state")
    });
    host.sh("ip address add 172.16.51.98/32 dev lo");
    lab.holds("both stay in fault", seconds(5.0), || {
        !said(&daemon, "SOURCE", "Entering MASTER") && !said(&daemon, "NOBODY", "Entering MASTER")
    });
}

// ---- beside another node

/// What the second node does: as backup of a better one when a stranger says priority 0, and of one
/// with other addresses.
fn beside(subject: Subject) -> (bool, bool) {
    let lab = Lab::pair();
    let text = |priority: u8, more: &str| {
        let zero = instance("ZERO", 1, priority, "state MASTER", "172.16.51.101");
        zero.replace("advert_int 1", "advert_int 3")
            + &instance("OTHER", 2, priority, "state MASTER", &format!("172.16.51.102\n{more}"))
    };
    let [a, b] = &lab.hosts[..] else { panic!("two hosts") };
    let _a = Subject::Keepalived.start(a, &text(255, ""));
    let is_master = || lab.owners("172.16.51.101") == ["a"] && lab.owners("172.16.51.102") == ["a"];
    lab.wait_for("a is master", seconds(SOON), is_master);
    let daemon = subject.start(b, &text(100, "172.16.51.103"));
    told(&lab, &daemon, "ZERO", "Entering BACKUP");
    let since = SystemTime::now();
    let is_two = || !adverts(&lab, "b", 2, since).is_empty();
    let two_masters = wait_until(seconds(5.0), is_two);
    // The master, which would answer, is held up for less than anybody would wait for it.
    let regular = adverts(&lab, "a", 1, since).len();
    lab.wait_for("an advert", seconds(SOON), || adverts(&lab, "a", 1, since).len() > regular);
    a.freeze(true);
    send(&lab, 1, (0, 3), "172.16.51.101", 1);
    let believes = wait_until(seconds(WHILE), || !adverts(&lab, "b", 1, since).is_empty());
    (believes, two_masters)
}

#[test]
fn strangers_and_other_addresses() {
    assert_eq!(both(beside), ((true, true), (false, false)));
}

/// An answer comes between the regular adverts, or in the place of the next one.
#[test]
fn the_rhythm_of_adverts() {
    let lab = Lab::single();
    let text = instance("V", 1, 255, "state MASTER", "172.16.51.101");
    let text = text.replace("advert_int 1", "advert_int 3");
    let _daemon = Subject::Keepalived.start(&lab.hosts[0], &text);
    let began = SystemTime::now();
    let count = || adverts(&lab, "a", 1, began).len();
    lab.wait_for("an advert", seconds(SOON), || count() >= 1);
    lab.holds("the middle of an interval", seconds(1.0), || true);
    send(&lab, 1, (50, 3), "172.16.51.101", 1);
    lab.wait_for("an answer and the next one", seconds(SOON), || count() >= 3);
    let at: Vec<SystemTime> = adverts(&lab, "a", 1, began).iter().map(|(at, _)| *at).collect();
    let between = |a: usize, b: usize| at[b].duration_since(at[a]).unwrap_or_default();
    lab.check("the answer was early", between(0, 1) < seconds(2.9));
    lab.check("the next is a whole interval later", between(1, 2) > seconds(2.9));
}

/// What a member of a group of owners is told at the start.
fn owners(subject: Subject) -> Vec<String> {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/run/tell", "#!/bin/sh\necho \"$3\" >>/run/told\n");
    let group = "vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\n";
    let text = GLOBAL.to_owned()
        + group
        + &instance("A", 1, 255, "state MASTER\nnotify /run/tell", "172.16.51.101")
        + &instance("B", 2, 255, "state MASTER", "172.16.51.102");
    let _daemon = subject.start(host, &text);
    lab.wait_for("it is told", seconds(SOON), || host.read("/run/told").contains("MASTER"));
    host.read("/run/told").lines().map(str::to_owned).collect()
}

#[test]
fn a_group_of_owners_begins_together() {
    let told = |states: &[&str]| states.iter().map(|state| (*state).to_owned()).collect();
    assert_eq!(both(owners), (told(&["MASTER"]), told(&["BACKUP", "MASTER"])));
}

// ---- virtual MAC addresses

/// Whether a VMAC interface that somebody deletes is a failover, and whether the settings of the
/// interface below are as before in the end.
fn virtual_macs(subject: Subject) -> (bool, bool) {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let settings = "cd /proc/sys/net/ipv4/conf; cat eth0/arp_ignore eth0/arp_filter eth0/rp_filter";
    let before = host.sh(settings);
    let text = instance("A", 1, 100, "use_vmac", "172.16.51.101/24")
        + &instance("B", 2, 100, "use_vmac", "172.16.51.102/24");
    let mut daemon = subject.start(host, &text);
    lab.wait_for("both", seconds(SOON), || {
        host.has_address("172.16.51.101") && host.has_address("172.16.51.102")
    });
    let entered = || daemon.log().to_lowercase().matches("(a) entering").count();
    let entered_before = entered();
    host.sh("ip link del vrrp.1");
    let moves = wait_until(seconds(WHILE), || entered() > entered_before);
    lab.wait_for("it comes back", seconds(SOON), || host.has_address("172.16.51.101"));
    stop(&mut daemon);
    (moves, host.sh(settings) == before)
}

#[test]
fn what_is_left_of_virtual_macs() {
    assert_eq!(both(virtual_macs), ((true, false), (false, true)));
}

// ---- BFD

/// The hop limits of packets to the port of BFD, and whether the neighbour takes a session that a
/// reload removes for a failure.
fn bfd(subject: Subject) -> (BTreeSet<u8>, bool) {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { panic!("two hosts") };
    a.enable_ipv6("fd00::11");
    b.enable_ipv6("fd00::12");
    let session = |name: &str, to: &str| {
        format!(
            "bfd_instance {name} {{\nneighbor_ip {to}\nmin_rx 50\nmin_tx 50\nmultiplier 10\n}}\n"
        )
    };
    let plain = instance("V", 1, 100, "", "172.16.51.101");
    let start = |subject: Subject, host: &Host, text: &str| {
        host.write(FILE, text);
        let pids = ["-p", "/run/d.pid", "-r", "/run/v.pid", "-b", "/run/b.pid"];
        host.start(subject.program(), &[&["-n", "-l", "-D", "-f", FILE], &pids[..]].concat())
    };
    let daemon = start(subject, a, &(session("s", "fd00::12") + &plain));
    // It takes any hop limit.
    let far = session("far", "fd00::11").replace("min_rx", "max_hops 255\nmin_rx");
    let neighbour = start(Subject::Glha, b, &(far + &plain.replace("priority 100", "priority 90")));
    told(&lab, &neighbour, "far", "Entering Up state");
    a.write(FILE, &plain);
    daemon.signal(Signal::SIGHUP);
    told(&lab, &neighbour, "far", "Entering Down state");
    let is_failure = !neighbour.log().contains("Remote diagnostic - Administratively Down");
    let frames = lab.frames();
    let sent = frames.iter().filter(|frame| frame.from == "a").filter_map(|frame| {
        let packet = frame.bytes.get(12..)?;
        // IPv6, UDP, port 3784.
        let is_bfd = packet.starts_with(&[0x86, 0xdd])
            && packet.get(8) == Some(&17)
            && packet.get(44..46) == Some(&[14, 200]);
        packet.get(9).copied().filter(|_| is_bfd)
    });
    (sent.collect(), is_failure)
}

#[test]
fn bfd_over_ipv6() {
    assert_eq!(both(bfd), ((BTreeSet::from([64]), true), (BTreeSet::from([255]), false)));
}

/// `-B` runs no session: nothing is heard or sent, and who tracks one stays in fault.
#[test]
fn without_bfd_what_tracks_it_is_in_fault() {
    both(|subject| {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        let session = "bfd_instance s {\nneighbor_ip 172.16.51.12\n}\n";
        let tracked = instance("V", 1, 100, "track_bfd {\ns\n}", "172.16.51.101");
        host.write(FILE, &(session.to_owned() + &tracked));
        let pids = ["-p", "/run/d.pid", "-r", "/run/v.pid"];
        let words = [&["-n", "-l", "-D", "-B", "-f", FILE], &pids[..]].concat();
        let mut daemon = host.start(subject.program(), &words);
        lab.wait_for("a fault", seconds(SOON), || {
            daemon.log().to_lowercase().contains("(v) entering fault state")
        });
        lab.holds("it stays", seconds(WHILE), || !said(&daemon, "V", "Entering BACKUP"));
        let sockets = host.read("/proc/1/net/udp");
        lab.check("no socket is open", !sockets.contains(":0EC8 "));
        let is_bfd = |frame: &Frame| {
            frame.from == "a"
                && frame.bytes.get(36..38) == Some(&[14, 200])
                && frame.bytes.get(23) == Some(&17)
        };
        lab.check("nothing is sent", !lab.frames().iter().any(is_bfd));
        stop(&mut daemon);
    });
}
