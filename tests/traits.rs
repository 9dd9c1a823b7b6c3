//! What belongs to single instances, addresses and interfaces: options of addresses, the own
//! address of a unicast node, unicast without an interface, interfaces that flap, notify scripts
//! for rare occasions. Where keepalived 2.2.7 has it too, it is put to the same test.

mod lab;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use glha::conf::{self, Config, Context, Files};
use glha::core::event::{Action, Event, HookEnd, LinkState, NotifyState, Received};
use glha::core::spec::{CheckId, LinkId};
use glha::core::{Core, Phase, Time};
use glha::wire::vrrp::Advert;
use lab::{ARTICLE_VIP, Daemon, Host, Lab, Packet, Subject, conf, seconds};
use nix::sys::signal::Signal;

/// For anything that happens at once, or within one election; the rest is for a busy machine.
const SOON: f64 = 20.0;
const E0: LinkId = LinkId(0);
const BOTH: [Subject; 2] = [Subject::Keepalived, Subject::Glha];

// ---- the core alone ----

/// A core in simulated time, under a configuration.
struct Node {
    core: Core,
    now: Time,
}

fn read(text: &str) -> Config {
    let mut read = |_: &Path| Ok(text.as_bytes().to_vec());
    let mut list = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let mut files = Files { read: &mut read, list: &mut list };
    let loaded = conf::load(Path::new("test.conf"), &mut files, &Context::default());
    let errors = loaded.diagnostics.iter().filter(|d| d.severity == conf::Severity::Error);
    assert_eq!(errors.count(), 0, "{:?}", loaded.diagnostics);
    loaded.config
}

fn is_up(up: bool) -> LinkState {
    let ip: IpAddr = "192.0.2.1".parse().expect("address");
    LinkState { present: true, up, addresses: vec![(ip, 24)] }
}

impl Node {
    /// Interface e0 is up, and every check has succeeded.
    fn new(text: &str) -> Self {
        let config = read(text);
        let checks = config.spec.checks.len();
        let links = config.spec.links.len();
        let now = Time::from_millis(1000);
        let core = Core::new(config.spec, Duration::ZERO, Vec::new(), now);
        let mut node = Self { core, now };
        for link in 0..links {
            node.event(Event::Link { link: LinkId(link), state: is_up(true) });
        }
        node.event(Event::Tick);
        for check in 0..checks {
            node.event(Event::CheckEnded { check: CheckId(check), end: HookEnd::Exited(0) });
        }
        node
    }

    fn event(&mut self, event: Event) {
        self.core.handle(event, self.now);
    }

    /// Lets time pass, with every tick that is due.
    fn pass(&mut self, span_ms: u64) {
        let end = self.now + Duration::from_millis(span_ms);
        while let Some(at) = self.core.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.event(Event::Tick);
        }
        self.now = end;
    }

    /// Nothing happens to the daemon, as if it were stopped.
    fn freeze(&mut self, span_ms: u64) {
        self.now = self.now + Duration::from_millis(span_ms);
    }

    fn link(&mut self, up: bool) {
        self.event(Event::Link { link: E0, state: is_up(up) });
    }

    fn hear(&mut self, priority: u8) {
        let (from, group) = ([192, 0, 2, 9].into(), [224, 0, 0, 18].into());
        let advert = Advert {
            version: 2,
            vrid: 1,
            priority,
            auth_type: 0,
            interval: 1,
            addresses: vec!["192.0.2.50".parse().expect("address")],
            auth_data: [0; 8],
        };
        let packet = Received::V4(advert.emit_packet(1, 255, from, group, false));
        self.event(Event::Packet { link: E0, packet });
    }

    fn phase(&self) -> &'static str {
        self.core.instances().as_slice()[0].phase.word()
    }

    fn sources(&mut self) -> usize {
        let actions = self.core.take_actions();
        actions.iter().filter(|a| matches!(a, Action::AnnounceSource { .. })).count()
    }

    fn told(&mut self) -> Vec<&'static str> {
        let told = |action: &Action| match action {
            Action::Notify { state, .. } => Some(state.word()),
            _ => None,
        };
        self.core.take_actions().iter().filter_map(told).collect()
    }
}

/// An instance V, VRID 1, on e0, with `more` in its block.
fn instance(priority: u8, more: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface e0\nvirtual_router_id 1\npriority {priority}\n{more}\n\
         virtual_ipaddress {{\n192.0.2.50\n}}\n}}\n"
    )
}

fn delayed(down: &str, up: &str) -> Node {
    let delays = format!("interface_up_down_delays {{\ne0 {down} {up}\n}}\n");
    // With a source of its own it is not the loss of addresses that counts.
    let mut node = Node::new(&(delays + &instance(100, "mcast_src_ip 192.0.2.1")));
    node.pass(5000);
    assert_eq!(node.phase(), "master");
    node
}

#[test]
fn a_short_flap_of_a_delayed_interface_is_none() {
    let mut node = delayed("1.5", "0.5");
    for _ in 0..3 {
        node.link(false);
        node.pass(1400);
        assert_eq!(node.phase(), "master");
        node.link(true);
        node.pass(200);
    }
    node.link(false);
    node.pass(1490);
    assert_eq!(node.phase(), "master", "each flap begins anew");
    node.pass(20);
    assert_eq!(node.phase(), "fault");
    node.link(true);
    node.pass(490);
    node.link(false);
    node.pass(100);
    node.link(true);
    node.pass(490);
    assert_eq!(node.phase(), "fault", "up for less than the delay");
    node.pass(20);
    assert_eq!(node.phase(), "backup");
}

#[test]
fn a_delay_never_outlasts_another_node_s_patience() {
    let mut node = delayed("200", "200");
    node.link(false);
    node.pass(1990);
    assert_eq!(node.phase(), "master");
    node.pass(10);
    assert_eq!(node.phase(), "fault", "at 2 s less a 256th of an interval");
}

#[test]
fn an_interface_that_is_gone_has_one_interval_to_come_back() {
    let mut node = delayed("2", "1");
    node.event(Event::Link { link: E0, state: LinkState::default() });
    node.pass(990);
    assert_eq!(node.phase(), "master", "whatever the delay of its interface");
    node.pass(10);
    assert_eq!(node.phase(), "fault");
}

/// Somebody floods with adverts of a worse master: the first is answered at once, and then as many as
/// do no harm; the log has the first, second, fourth.
#[test]
fn a_flood_of_worse_masters_is_answered_now_and_then() {
    let mut node = Node::new(&instance(100, ""));
    node.pass(5000);
    drop(node.core.take_actions());
    let (mut sent, mut said) = (0, 0);
    for turn in 0..2000 {
        for _ in 0..50 {
            node.hear(50);
        }
        for action in node.core.take_actions() {
            sent += u32::from(matches!(action, Action::Send { .. }));
            said += u32::from(matches!(&action, Action::Report(r) if r.text.contains("forcing")));
        }
        if turn == 0 {
            assert_eq!((sent, said), (1, 1), "the first is answered at once");
        }
        node.pass(1);
    }
    // Ten a second, and its own.
    assert!(sent <= 23, "{sent} adverts");
    assert!(said <= 5, "{said} lines");
}

const UNICAST: &str = "unicast_src_ip 192.0.2.1\nunicast_peer {\n192.0.2.2\n}\n";

#[test]
fn a_unicast_node_announces_itself_when_it_comes_back() {
    let script = "vrrp_script s {\nscript /bin/true\nweight W\n}\n";
    let tracked = format!("{UNICAST}track_script {{\ns\n}}\n");
    for (conf, at_start) in [
        (instance(100, UNICAST), 0),
        (script.replace('W', "0") + &instance(100, &tracked), 1),
        (script.replace('W', "5") + &instance(100, &tracked), 0),
        (script.replace('W', "0") + &instance(255, &format!("state MASTER\n{tracked}")), 1),
    ] {
        let mut node = Node::new(&conf);
        assert_eq!(node.sources(), at_start, "{conf}");
        node.pass(5000);
        node.link(false);
        node.pass(1000);
        assert_eq!(node.sources(), 0, "{conf}");
        node.link(true);
        assert_eq!(node.sources(), 1, "{conf}");
    }
    let mut node = Node::new(&instance(100, ""));
    node.link(false);
    node.pass(1000);
    node.link(true);
    assert_eq!(node.sources(), 0, "with a group there is nobody to be told");
}

#[test]
fn a_lower_priority_is_told_and_a_removal_has_a_word() {
    let mut node = Node::new(&instance(100, "notify_deleted\n"));
    node.pass(5000);
    assert_eq!(node.told(), ["BACKUP", "MASTER"]);
    node.hear(50);
    assert_eq!(node.told(), ["MASTER_RX_LOWER_PRI"]);
    node.core.reload(read("").spec, node.now);
    assert_eq!(node.told(), [NotifyState::Deleted.word()]);
}

#[test]
fn an_owner_may_be_deaf() {
    for (more, phase) in [("", "backup"), ("owner_ignore_adverts\n", "master")] {
        let mut node = Node::new(&instance(255, &format!("state MASTER\n{more}")));
        assert_eq!(node.phase(), "master");
        // From a higher address, so it goes before ours.
        node.hear(255);
        assert_eq!(node.phase(), phase);
    }
    let mut node = Node::new(&instance(100, "owner_ignore_adverts\n"));
    node.hear(150);
    node.pass(3000);
    assert_eq!(node.phase(), "backup");
    node.hear(150);
    node.pass(3000);
    assert_eq!(node.phase(), "backup", "it is no owner and hears the master");
}

#[test]
fn who_was_late_and_must_not_preempt_makes_room() {
    // Another of priority 200 takes over 3 s + 56/256 s after our last advert.
    for (more, late_ms, phase) in [
        ("nopreempt\ntimer_expired_backup 200\n", 2100, "master"),
        ("nopreempt\ntimer_expired_backup 200\n", 2300, "backup"),
        ("nopreempt\n", 2300, "master"),
        ("timer_expired_backup 200\n", 2300, "master"),
    ] {
        let mut node = Node::new(&instance(100, more));
        node.pass(5000);
        let Phase::Master { advert_at, .. } = node.core.instances().as_slice()[0].phase else {
            panic!("is master");
        };
        node.now = advert_at;
        node.freeze(late_ms);
        node.event(Event::Tick);
        assert_eq!(node.phase(), phase, "{more} {late_ms}");
        node.pass(3700);
        assert_eq!(node.phase(), "master");
    }
}

/// Two virtual routers with one number, told apart by the addresses of this node.
#[test]
fn unicast_instances_share_a_number() {
    let one = |name: &str, source: &str, peer: &str| {
        instance(100, &format!("unicast_src_ip {source}\nunicast_peer {{\n{peer}\n}}\n"))
            .replace("_instance V", &format!("_instance {name}"))
    };
    let mut node =
        Node::new(&(one("V", "192.0.2.1", "192.0.2.9") + &one("W", "192.0.2.2", "192.0.2.9")));
    let advert = Advert {
        version: 2,
        vrid: 1,
        priority: 150,
        auth_type: 0,
        interval: 1,
        addresses: vec!["192.0.2.50".parse().expect("address")],
        auth_data: [0; 8],
    };
    // W waits in fault until its address is there.
    let phases =
        |node: &Node| node.core.instances().iter().map(|i| i.phase.word()).collect::<Vec<_>>();
    assert_eq!(phases(&node), ["backup", "fault"]);
    let addresses = [1, 2].map(|last| ([192, 0, 2, last].into(), 24)).to_vec();
    let state = LinkState { addresses, ..is_up(true) };
    node.event(Event::Link { link: LinkId(1), state });
    for _ in 0..5 {
        node.pass(1000);
        let bytes = advert.emit_packet(1, 255, [192, 0, 2, 9].into(), [192, 0, 2, 2].into(), false);
        node.event(Event::Packet { link: E0, packet: Received::V4(bytes) });
    }
    assert_eq!(phases(&node), ["master", "backup"]);
}

// ---- on hosts ----

const GLOBAL: &str = "global_defs {\nenable_script_security\nscript_user root\n}\n";

fn wait_for_line(lab: &Lab, daemon: &Daemon, line: &str) {
    lab.wait_for(line, seconds(SOON), || daemon.log().contains(line));
}

/// What `ip` says of the addresses of both interfaces, without times that run.
fn addresses(host: &Host) -> Vec<String> {
    let lines = host.sh("ip -details -oneline address show dev eth0; ip -d -o address show dev lo");
    let mut lines: Vec<String> = lines.lines().map(|line| line.trim().to_owned()).collect();
    lines.retain(|line| !line.contains("fe80::"));
    lines
}

#[test]
fn addresses_have_every_option() {
    let conf = format!(
        "{GLOBAL}vrrp_instance V {{
    state MASTER
    interface eth0
    virtual_router_id 5
    priority 255
    promote_secondaries
    virtual_ipaddress {{
        172.16.51.50/24
        172.16.51.52 peer 172.16.52.52
        172.16.51.53/24 peer 172.16.52.53 label eth0:x
        172.16.51.54/24 home -nodad mngtmpaddr noprefixroute
        172.16.51.55/24 preferred_lft 1000
        172.16.51.56/24 dev lo label lo:1 scope link
        172.16.51.57/24 peer 172.16.52.57/24
        172.16.51.58/24 autojoin
    }}
    virtual_ipaddress_excluded {{
        2001:db8::50/64
        2001:db8::51/64 -nodad
        2001:db8::52/64 home
        2001:db8::53/64 mngtmpaddr
        2001:db8::54 peer 2001:db8::66
        2001:db8::55/64 peer 2001:db8::67 preferred_lft forever
        2001:db8::56 preferred_lft forever
        2001:db8::57
        2001:db8::58/64 preferred_lft 0
    }}
}}
"
    );
    let mut seen = BTreeMap::new();
    for subject in BOTH {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        host.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        let promoted = || host.sh("cat /proc/sys/net/ipv4/conf/eth0/promote_secondaries");
        let before = promoted();
        assert_eq!(before.trim(), "0");
        let mut daemon = subject.start(host, &conf);
        let all = || addresses(host).iter().any(|line| line.contains("2001:db8::58"));
        lab.wait_for("all addresses", seconds(SOON), all);
        let settled = || addresses(host).iter().all(|line| !line.contains("tentative"));
        lab.wait_for("duplicates detected", seconds(SOON), settled);
        lab.check("promotes secondaries", promoted().trim() == "1");
        seen.insert(subject.name(), addresses(host));
        daemon.signal(Signal::SIGTERM);
        daemon.wait(seconds(SOON));
        lab.check("promotes no more", promoted() == before);
        // keepalived cannot take off those with a peer.
        let is_clean = subject == Subject::Keepalived || addresses(host).len() == 2;
        lab.check("nothing is left", is_clean);
    }
    assert_eq!(seen["glha"], seen["keepalived"]);
    let text = seen["glha"].join("\n");
    let words = ["peer 172.16.52.53/32", " home ", " mngtmpaddr ", "deprecated", "eth0:x"];
    for word in words {
        assert!(text.contains(word), "{word} is in {text}");
    }
}

/// The gratuitous ARPs for the host's own address.
fn own_announcements(lab: &Lab) -> usize {
    let own = |packet: Packet| match packet {
        Packet::Arp(arp) => arp.gratuitous() && arp.sender.to_string() == "172.16.51.11",
        _ => false,
    };
    let frames = lab.frames();
    frames.iter().filter(|frame| frame.from == "a" && own(frame.packet())).count()
}

#[test]
fn a_unicast_node_announces_itself() {
    let script = "vrrp_script s {\nscript /bin/true\n}\n";
    let more = "unicast_src_ip 172.16.51.11\nunicast_peer {\n172.16.51.12\n}\n\
                track_script {\ns\n}\n";
    for subject in BOTH {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        let daemon = subject.start(host, &(script.to_owned() + &conf(100, more)));
        lab.wait_for("its own address", seconds(SOON), || own_announcements(&lab) == 1);
        host.sh("ip link set eth0 down");
        wait_for_line(&lab, &daemon, "Entering FAULT STATE");
        host.sh("ip link set eth0 up");
        lab.wait_for("once more", seconds(SOON), || own_announcements(&lab) == 2);
    }
}

#[test]
fn notify_scripts_of_rare_occasions() {
    let mut said = BTreeMap::new();
    for subject in BOTH {
        let lab = Lab::pair();
        let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
        a.write_script("/run/tell", "#!/bin/sh\necho \"$@\" >> /run/told\n");
        // It sends one more advert before it yields: one of a lower priority.
        let _b = Subject::Keepalived.start(b, &conf(100, "higher_prio_send_advert"));
        lab.wait_for("b is master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["b"]);
        let more = "notify \"/run/tell any\"\nnotify_deleted \"/run/tell deleted\"\n\
                    notify_master_rx_lower_pri \"/run/tell lower\"\n";
        let daemon = subject.start(a, &conf(255, more).replace("state BACKUP", "state MASTER"));
        lab.wait_for("a is master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["a"]);
        lab.wait_for("told", seconds(SOON), || a.read("/run/told").contains("lower"));
        let other = conf(50, "").replace("router_id 51", "router_id 52");
        a.write("/etc/keepalived/keepalived.conf", &other);
        daemon.signal(Signal::SIGHUP);
        let is_deleted = || a.read("/run/told").contains("\ndeleted\n");
        lab.wait_for("told of the end", seconds(SOON), is_deleted);
        let is_told = || a.read("/run/told").contains("INSTANCE VI_1 DELETED");
        lab.wait_for("both of them", seconds(SOON), is_told);
        // keepalived starts them side by side.
        let mut lines: Vec<String> = a.read("/run/told").lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        said.insert(subject.name(), lines);
    }
    let expected =
        ["any INSTANCE VI_1 DELETED 255", "any INSTANCE VI_1 MASTER 255", "deleted", "lower"];
    assert_eq!(said["keepalived"], expected);
    assert_eq!(said["glha"], expected);
}

/// Its peers could not reach it: it must not become master beside one of them.
#[test]
fn unicast_without_its_source() {
    let lab = Lab::pair();
    let a = &lab.hosts[0];
    let own = "172.16.51.99/32";
    let peer = "unicast_peer {\n172.16.51.12\n}";
    let daemon = Subject::Glha.start(a, &conf(150, &format!("unicast_src_ip {own}\n{peer}")));
    wait_for_line(&lab, &daemon, "src address not configured");
    // On whatever interface it is.
    a.sh(&format!("ip address add {own} dev lo"));
    lab.wait_for("a is master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["a"]);
    a.sh(&format!("ip address del {own} dev lo"));
    let adverts = lab.adverts("a").len();
    lab.wait_for("adverts", seconds(SOON), || lab.adverts("a").len() > adverts + 2);
    lab.check("a master stays", lab.owners(ARTICLE_VIP) == ["a"]);
}

/// keepalived has this from 2.3 on.
#[test]
fn unicast_without_an_interface() {
    let conf = |own: &str, other: &str, priority: u8| {
        conf(priority, &format!("unicast_src_ip {own}\nunicast_peer {{\n{other}\n}}\ntrack_src_ip"))
            .replace("    interface eth0\n", "")
            .replace("global_defs {", "global_defs {\ndefault_interface eth0\n")
    };
    let lab = Lab::pair();
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let mut first = Subject::Glha.start(a, &conf("172.16.51.11", "172.16.51.12", 150));
    lab.wait_for("a is master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["a"]);
    let second = Subject::Glha.start(b, &conf("172.16.51.12", "172.16.51.11", 100));
    wait_for_line(&lab, &second, "Entering BACKUP STATE");
    let adverts = lab.adverts("a").len();
    lab.wait_for("adverts", seconds(SOON), || lab.adverts("a").len() > adverts + 4);
    lab.check("b hears them", lab.owners(ARTICLE_VIP) == ["a"]);
    lab.check("from its address", lab.adverts("a")[0].1.source.to_string() == "172.16.51.11");
    first.signal(Signal::SIGTERM);
    lab.wait_for("b is master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["b"]);
    first.wait(seconds(SOON));
    // The tracked source address goes: a fault, though no interface is watched.
    b.sh("ip address del 172.16.51.12/24 dev eth0");
    wait_for_line(&lab, &second, "Entering FAULT STATE");
}
