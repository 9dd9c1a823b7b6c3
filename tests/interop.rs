//! Beside keepalived, and in its place: whatever keepalived does on the wire and with the
//! addresses, glha does too. Every scenario is a function of the two daemons; that of two
//! keepalived proves the scenario itself.

mod lab;

use lab::{ARTICLE_VIP, Daemon, Frame, Host, Lab, Packet, Subject, conf, seconds, with_every_pair};
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;

/// A takeover or handover at an interval of 1 s takes at most 4 s; the rest is for a busy machine.
const TAKEOVER: f64 = 15.0;

#[path = "interop/ah.rs"]
mod ah;
#[path = "interop/bytes.rs"]
mod bytes;
#[path = "interop/nodes.rs"]
mod nodes;
#[path = "interop/routers.rs"]
mod routers;

with_every_pair! {
    power_off
    stop
    preemption
    nopreempt
    equal_priorities_together
    equal_priorities_one_after_the_other
    wrong_password
    script_weight
}

/// What happens, in words.
mod scenario {
    use super::*;

    /// The master's host loses its power: the other takes over.
    pub fn power_off(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let (_a, _b) = master_and_backup(&lab, a, b);
        lab.power_off(0);
        settles_on(&lab, "b");
    }

    /// The master stops: it says so with one priority 0, and the other takes over at once.
    pub fn stop(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let (mut a, _b) = master_and_backup(&lab, a, b);
        a.signal(Signal::SIGTERM);
        settles_on(&lab, "b");
        a.wait(seconds(TAKEOVER));
        let zeros: Vec<_> = lab.adverts("a").into_iter().filter(|(_, a)| a.priority == 0).collect();
        lab.check("exactly one priority 0", zeros.len() == 1);
        let last = lab.adverts("a").pop().map(|(_, a)| a.priority);
        lab.check("nothing after it", last == Some(0));
        let b_first = lab.adverts("b").first().map(|(f, _)| f.at);
        let apart = b_first.and_then(|at| at.duration_since(zeros[0].0.at).ok());
        // Skew alone at priority 100 is 0.609 s, a whole master-down time 3.609 s.
        lab.check(
            "the other waits only its skew",
            apart.is_some_and(|d| d > seconds(0.5) && d < seconds(2.5)),
        );
    }

    /// A higher priority appears and takes over; the old master yields without a priority 0.
    pub fn preemption(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let _a = a.start(&lab.hosts[0], &conf(100, ""));
        settles_on(&lab, "a");
        let _b = b.start(&lab.hosts[1], &conf(150, ""));
        settles_on(&lab, "b");
        lab.check("no priority 0", lab.adverts("a").iter().all(|(_, a)| a.priority == 100));
    }

    /// A higher priority that must not preempt stays backup, and takes over when it may.
    pub fn nopreempt(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let mut a = a.start(&lab.hosts[0], &conf(100, ""));
        settles_on(&lab, "a");
        let _b = b.start(&lab.hosts[1], &conf(150, "nopreempt"));
        lab.holds("a keeps the address", seconds(6.0), || lab.owners(ARTICLE_VIP) == ["a"]);
        lab.check("b is silent", lab.adverts("b").is_empty());
        a.signal(Signal::SIGTERM);
        settles_on(&lab, "b");
        a.wait(seconds(TAKEOVER));
    }

    /// Both start in the same moment with the same priority: the higher address wins.
    pub fn equal_priorities_together(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let _a = a.start(&lab.hosts[0], &conf(100, ""));
        let _b = b.start(&lab.hosts[1], &conf(100, ""));
        lab.wait_for("a first owner", seconds(TAKEOVER), || !lab.owners(ARTICLE_VIP).is_empty());
        let mut owner = String::new();
        lab.wait_for(
            "exactly one owner",
            seconds(TAKEOVER),
            || match lab.owners(ARTICLE_VIP)[..] {
                [one] => {
                    owner = one.to_owned();
                    true
                }
                _ => false,
            },
        );
        settles_on(&lab, &owner);
        let both = !lab.adverts("a").is_empty() && !lab.adverts("b").is_empty();
        lab.check("the higher address won, if both tried", !both || owner == "b");
    }

    /// The same priority never preempts, even with the higher address.
    pub fn equal_priorities_one_after_the_other(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let _a = a.start(&lab.hosts[0], &conf(100, ""));
        settles_on(&lab, "a");
        let _b = b.start(&lab.hosts[1], &conf(100, ""));
        lab.holds("a keeps the address", seconds(6.0), || lab.owners(ARTICLE_VIP) == ["a"]);
        lab.check("b is silent", lab.adverts("b").is_empty());
    }

    /// Different passwords: neither believes the other, both become master (as the protocol has
    /// it; the log says why).
    pub fn wrong_password(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let a = a.start(&lab.hosts[0], &conf(150, ""));
        settles_on(&lab, "a");
        let b = b.start(&lab.hosts[1], &conf(100, "").replace("1111", "2222"));
        lab.wait_for("both own the address", seconds(TAKEOVER), || {
            lab.owners(ARTICLE_VIP) == ["a", "b"]
        });
        lab.holds("both keep it", seconds(3.0), || lab.owners(ARTICLE_VIP).len() == 2);
        let says_why = |d: &Daemon| d.log().contains("received an invalid passwd!");
        lab.check("both logs say why", says_why(&a) && says_why(&b));
    }

    /// A failing check costs the master its weight, the other takes over, and back.
    pub fn script_weight(a: Subject, b: Subject) {
        let lab = Lab::pair();
        for host in &lab.hosts {
            host.write_script("/etc/keepalived/check", "#!/bin/sh\ntest ! -e /run/broken\n");
        }
        let script = "vrrp_script chk {\n script /etc/keepalived/check\n interval 1\n weight 20\n}";
        let conf = |p| format!("{script}\n{}", conf(p, "track_script {\n chk\n }"));
        let _a = a.start(&lab.hosts[0], &conf(110));
        settles_on(&lab, "a");
        let _b = b.start(&lab.hosts[1], &conf(100));
        lab.holds("a keeps the address", seconds(5.0), || lab.owners(ARTICLE_VIP) == ["a"]);
        lab.hosts[0].write("/run/broken", "");
        settles_on(&lab, "b");
        lab.check("a went down to 110", lab.adverts("a").iter().any(|(_, a)| a.priority == 110));
        lab.hosts[0].sh("rm /run/broken");
        settles_on(&lab, "a");
        lab.check("b had 120", lab.adverts("b").iter().all(|(_, a)| a.priority == 120));
    }
}

/// `a` as master with priority 150, `b` as its backup with 100.
fn master_and_backup(lab: &Lab, a: Subject, b: Subject) -> (Daemon, Daemon) {
    let a = a.start(&lab.hosts[0], &conf(150, ""));
    settles_on(lab, "a");
    let b = b.start(&lab.hosts[1], &conf(100, ""));
    is_backup(lab, &b, &lab.hosts[1]);
    (a, b)
}

/// Waits until the daemon has entered BACKUP and has heard a master for a while.
fn is_backup(lab: &Lab, daemon: &Daemon, host: &Host) {
    lab.wait_for("a backup", seconds(TAKEOVER), || daemon.log().contains("Entering BACKUP STATE"));
    lab.holds("it stays backup", seconds(1.2), || !host.has_address(ARTICLE_VIP));
}

/// Waits until host `name` alone has the address, is the only one that advertises, and stays so.
fn settles_on(lab: &Lab, name: &str) {
    lab.wait_for(&format!("{name} alone has the address"), seconds(TAKEOVER), || {
        lab.owners(ARTICLE_VIP) == [name]
    });
    let before = lab.frames().len();
    lab.holds(&format!("{name} keeps it"), seconds(1.5), || lab.owners(ARTICLE_VIP) == [name]);
    let frames = lab.frames();
    let adverts = || frames[before..].iter().filter(|f| f.advert().is_some());
    lab.check("the owner advertises", adverts().any(|f| f.from == name));
    // An advert may have been on its way when the address went.
    let others = adverts().filter(|f| f.from != name).count();
    lab.check("nobody else does", others <= 1);
}

// --- byte for byte

/// The configuration of the comparison.
fn rich_conf(interval: u8) -> String {
    format!(
        "vrrp_instance VI_1 {{
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 101
    advert_int {interval}
    authentication {{
        auth_type PASS
        auth_pass 1111
    }}
    virtual_ipaddress {{
        172.16.51.72
        172.16.51.70/24 dev eth0 label eth0:vip
        172.16.51.71/32
    }}
    virtual_ipaddress_excluded {{
        172.16.51.80
    }}
}}
"
    )
}

/// What one daemon sends from its start as the only one, through its election and both bursts of
/// announcements, to the end of a stop.
struct Life {
    /// Adverts and ARP, in order, with the parts blanked that may differ.
    frames: Vec<Frame>,
    /// The addresses of eth0 while master, as `ip` shows them.
    addresses: String,
}

impl Life {
    fn adverts(&self) -> Vec<&[u8]> {
        let adverts = self.frames.iter().filter(|f| f.advert().is_some());
        adverts.map(|f| f.bytes.as_slice()).collect()
    }

    fn announcements(&self) -> Vec<&[u8]> {
        let arps = self.frames.iter().filter(|f| f.announces().is_some());
        arps.map(|f| f.bytes.as_slice()).collect()
    }

    /// What stands at the beginning, up to and including the first burst and the advert after.
    fn beginning(&self) -> Vec<String> {
        let mut seen = 0;
        let all = self.frames.iter().take_while(|f| {
            let before = seen;
            seen += usize::from(f.advert().is_some());
            before < 2
        });
        all.map(|f| format!("{:?}", f.packet())).collect()
    }
}

/// Announcements of one burst: five rounds over four addresses.
const BURST: usize = 5 * 4;

fn live(subject: Subject, interval: u8) -> Life {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let mut daemon = subject.start(host, &rich_conf(interval));
    let limit = seconds(f64::from(interval) * 4.0 + TAKEOVER);
    let bursts = |frames: &[Frame]| frames.iter().filter(|f| f.announces().is_some()).count();
    lab.wait_for("two bursts of announcements", limit, || bursts(&lab.frames()) >= 2 * BURST);
    // Adverts go on; the stop comes between two of them, always the same.
    let wanted = usize::from(7 / interval) + 2;
    lab.wait_for("as many adverts", limit, || lab.adverts("a").len() >= wanted);
    let addresses = host.sh("ip -o -4 addr show dev eth0");
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(TAKEOVER));
    lab.check("the addresses are gone", lab.owners(ARTICLE_VIP).is_empty());
    let relevant = |f: &Frame| f.from == "a" && f.packet() != Packet::Other;
    Life { frames: lab.frames().into_iter().filter(relevant).collect(), addresses }
}

/// The frames with IP id and header checksum, which covers it, blanked.
fn without_id(frames: Vec<&[u8]>) -> Vec<Vec<u8>> {
    let blank = |frame: &[u8]| {
        let mut frame = frame.to_vec();
        frame[18..20].fill(0);
        frame[24..26].fill(0);
        frame
    };
    frames.into_iter().map(blank).collect()
}

fn hex(frames: &[Vec<u8>]) -> Vec<String> {
    frames.iter().map(|f| f.iter().map(|b| format!("{b:02x}")).collect()).collect()
}

fn compare(a: &Life, b: &Life) {
    assert_eq!(hex(&without_id(a.adverts())), hex(&without_id(b.adverts())), "adverts");
    let bytes =
        |l: &Life| hex(&l.announcements().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
    assert_eq!(bytes(a), bytes(b), "gratuitous ARP");
    assert_eq!(a.beginning(), b.beginning(), "order of adverts and announcements");
    assert_eq!(a.frames.len(), b.frames.len(), "nothing else is sent");
    assert_eq!(a.addresses, b.addresses, "addresses of the interface");
}

#[test]
fn keepalived_repeats_itself_byte_for_byte() {
    compare(&live(Subject::Keepalived, 1), &live(Subject::Keepalived, 1));
}

#[test]
fn glha_sends_what_keepalived_sends_at_interval_1() {
    compare(&live(Subject::Keepalived, 1), &live(Subject::Glha, 1));
}

#[test]
fn glha_sends_what_keepalived_sends_at_interval_2() {
    compare(&live(Subject::Keepalived, 2), &live(Subject::Glha, 2));
}

/// The IP header that carries the id is right too: its checksum, and ids that count from 1.
fn ids(subject: Subject) {
    let life = live(subject, 1);
    for (n, frame) in life.adverts().iter().enumerate() {
        let id = u16::from_be_bytes([frame[18], frame[19]]);
        assert_eq!(usize::from(id), n + 1, "id of advert {n}");
        let words = frame[14..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        assert_eq!(words.sum::<u32>() % 0xffff, 0, "header checksum of advert {n}");
    }
    let first = life.frames.first().and_then(Frame::advert).expect("an advert comes first");
    let in_the_order_of_the_file = [72, 70, 71].map(|n| Ipv4Addr::new(172, 16, 51, n));
    assert_eq!(first.addresses, in_the_order_of_the_file);
}

#[test]
fn ids_of_keepalived_count_from_1() {
    ids(Subject::Keepalived);
}

#[test]
fn ids_of_glha_count_from_1() {
    ids(Subject::Glha);
}

/// The notifies of an owner of the addresses that starts, has a fault and gets over it.
fn notifies_of_an_owner(subject: Subject) -> Vec<String> {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/check", "#!/bin/sh\n[ ! -e /run/bad ]\n");
    host.write_script("/etc/notify", "#!/bin/sh\necho \"$3 $4\" >>/run/told\n");
    let check = "vrrp_script c {\nscript /etc/check\ninterval 1\n}\n";
    let more = "track_script {\nc\n}\nnotify /etc/notify\n";
    let conf = conf(255, more).replace("state BACKUP", "state MASTER");
    let mut daemon = subject.start(host, &format!("{check}{conf}"));
    let told = |state: &str, count: usize| {
        let lines = || host.read("/run/told").lines().filter(|l| l.starts_with(state)).count();
        lab.wait_for(&format!("{state} {count}"), seconds(TAKEOVER), || lines() == count);
    };
    told("MASTER", 1);
    host.sh("touch /run/bad");
    told("FAULT", 1);
    host.sh("rm /run/bad");
    told("MASTER", 2);
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(TAKEOVER));
    host.read("/run/told").lines().map(str::to_owned).collect()
}

#[test]
fn an_owner_that_had_a_fault_is_a_backup_first() {
    let expected =
        ["MASTER 255", "FAULT 255", "BACKUP 255", "MASTER 255", "STOP 255"].map(str::to_owned);
    assert_eq!(notifies_of_an_owner(Subject::Keepalived), expected);
    assert_eq!(notifies_of_an_owner(Subject::Glha), expected);
}
