//! Virtual MAC addresses: the same interfaces, settings, addresses and frames as keepalived's, also
//! where somebody or a crash gets in the way, and nothing left in the end.

mod lab;

use std::collections::BTreeSet;
use std::net::UdpSocket;

use lab::{Daemon, Frame, Host, Lab, Subject, seconds};
use nix::sys::signal::Signal;

const PATIENCE: f64 = 15.0;
const VIP: &str = "172.16.51.70";
const VMAC_4: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const VMAC_6: [u8; 6] = [0, 0, 0x5e, 0, 2, 51];
/// What of the kernel's settings is compared.
const SETTINGS: &str = "cd /proc/sys/net; \
    grep -H . ipv4/conf/*/* ipv6/conf/vrrp*/* 2>/dev/null | \
    grep -v -E '/(stable_secret|mtu)' | sort";

/// An IPv4 instance of version 3 and an IPv6 one of the same VRID, with VMACs.
fn both_families(more: &str) -> String {
    format!(
        "vrrp_instance V4 {{
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    use_vmac
    {more}
    virtual_ipaddress {{
        {VIP}/24
        172.16.51.71
        172.16.51.72/24 dev eth0
        172.16.52.73/24 dev x0 use_vmac
    }}
}}
vrrp_instance V6 {{
    interface eth0
    virtual_router_id 51
    advert_int 0.1
    use_vmac
    {more}
    virtual_ipaddress {{
        fe80::70
        fd00:51::70/64
    }}
}}
"
    )
}

fn one(priority: u8, more: &str) -> String {
    format!(
        "vrrp_instance V4 {{
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    priority {priority}
    {more}
    virtual_ipaddress {{
        {VIP}/24
    }}
}}
"
    )
}

/// A host with IPv6, reverse path filters, and a second interface `x0` that leads to nobody.
fn prepare(host: &Host) {
    host.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0
        ip link add x0 address 02:51:00:00:01:01 type veth peer name x1
        ip link set x0 up; ip link set x1 up
        sysctl -qw net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.x0.rp_filter=1");
}

fn has_link_local(host: &Host) -> bool {
    host.sh("ip -6 -o address show dev eth0 scope link -tentative").contains("fe80::")
}

/// The VMAC interfaces of a host: name, base, state, mode and MAC address.
fn links(host: &Host) -> String {
    host.sh(
        "ip -d -o link show type macvlan | sed -E 's/^[0-9]+: //; s/ (promiscuity|mode DEFAULT|\
         bcqueuelen).*macvlan / macvlan /; s/ (bcqueuelen|numtxqueues).*addrgenmode/ addrgenmode/; \
         s/ num.*//; s/ state [A-Z]+//' | sort",
    )
}

/// The addresses on them, without a copy of the link-local one of the interface below, which only
/// keepalived sets.
fn addresses(host: &Host) -> String {
    host.sh("ip -o address show | grep -E 'vrrp' | grep -v 'inet6 fe80::51:' | \
         sed -E 's/^[0-9]+: //' | sort")
}

/// The number of an interface; none if it is not there.
fn index(host: &Host, name: &str) -> Option<String> {
    let text = host.run(&format!("cat /sys/class/net/{name}/ifindex || ip -o link show {name}"));
    let number = text.said.split(':').next()?.trim().to_owned();
    (text.status.success() && number.parse::<u32>().is_ok()).then_some(number)
}

/// The frames that have these MAC addresses as their sender, each once; those of multicast
/// membership are the kernel's.
fn frames(lab: &Lab, since: usize) -> BTreeSet<Vec<u8>> {
    let all = lab.frames().into_iter().skip(since).map(|frame| frame.bytes);
    let is_ours = |bytes: &Vec<u8>| sender(bytes) == VMAC_4 || sender(bytes) == VMAC_6;
    let ours = all.filter(is_ours).filter(|bytes| bytes.get(20) != Some(&0));
    ours.map(without_identification).collect()
}

/// An IPv4 packet without the number that is another in each, and the checksum over it.
fn without_identification(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.get(12..14) == Some(&[8, 0]) {
        for at in [18, 19, 24, 25] {
            bytes[at] = 0;
        }
    }
    bytes
}

fn sender(bytes: &[u8]) -> [u8; 6] {
    bytes.get(6..12).and_then(|mac| mac.try_into().ok()).unwrap_or_default()
}

/// The priority in a VRRP advert over IPv4.
fn priority(frame: &Frame) -> Option<u8> {
    let is_advert = frame.bytes.get(12..14) == Some(&[8, 0]) && frame.bytes.get(23) == Some(&112);
    frame.bytes.get(36).copied().filter(|_| is_advert)
}

fn settles_on(lab: &Lab, name: &str) {
    lab.wait_for(&format!("{name} alone has the address"), seconds(PATIENCE), || {
        lab.owners(VIP) == [name]
    });
}

/// It has taken over itself: the addresses may be those that a crash has left.
fn is_master(lab: &Lab, daemon: &Daemon) {
    lab.wait_for("it becomes master", seconds(PATIENCE), || {
        daemon.log().contains("Entering MASTER") && lab.owners(VIP) == ["a"]
    });
}

fn stop(mut daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(PATIENCE));
}

/// Everything about a daemon in each phase of its life.
#[derive(Debug, PartialEq)]
struct Life {
    links_as_backup: String,
    settings_as_backup: String,
    addresses_as_backup: String,
    links_as_master: String,
    settings_as_master: String,
    addresses_as_master: String,
    frames: BTreeSet<Vec<u8>>,
}

/// As backup, which it is for two seconds, as master, and after the end.
fn life(lab: &Lab, subject: Subject) -> Life {
    let host = &lab.hosts[0];
    let since = lab.frames().len();
    let conf = both_families("down_timer_adverts 20");
    let daemon = subject.start(host, &conf);
    lab.wait_for("the interfaces", seconds(PATIENCE), || links(host).lines().count() == 3);
    lab.wait_for("they are up", seconds(PATIENCE), || {
        links(host).matches("LOWER_UP").count() == 3 && daemon.log().matches("BACKUP").count() == 2
    });
    let (links_as_backup, settings_as_backup) = (links(host), host.sh(SETTINGS));
    let addresses_as_backup = addresses(host);
    settles_on(lab, "a");
    lab.wait_for("IPv6 addresses", seconds(PATIENCE), || addresses(host).contains("fd00:51::70"));
    lab.wait_for("two adverts of each", seconds(PATIENCE), || {
        let frames = lab.frames();
        let of = |mac| frames.iter().skip(since).filter(|f| sender(&f.bytes) == mac).count();
        of(VMAC_4) > 20 && of(VMAC_6) > 15
    });
    let (links_as_master, settings_as_master) = (links(host), host.sh(SETTINGS));
    let addresses_as_master = addresses(host);
    stop(daemon);
    lab.check("no interface is left", links(host).is_empty());
    Life {
        links_as_backup,
        settings_as_backup,
        addresses_as_backup,
        links_as_master,
        settings_as_master,
        addresses_as_master,
        frames: frames(lab, since),
    }
}

/// An IPv6 VMAC of ours does not listen to routers, where keepalived filters. The filter of reverse
/// paths that is switched off for all goes over to each other interface, where keepalived forgets
/// those it has nothing to do with, and those with a weaker one of their own.
fn without_deviations(mut life: Life) -> Life {
    for text in [&mut life.settings_as_backup, &mut life.settings_as_master] {
        let deviations = ["/accept_ra:", "/x0/rp_filter:", "/x1/rp_filter:"];
        let is_same = |line: &&str| !deviations.iter().any(|deviation| line.contains(deviation));
        let kept = text.lines().filter(is_same);
        *text = kept.collect::<Vec<_>>().join("\n");
    }
    life
}

#[test]
fn everything_is_as_with_keepalived() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    prepare(host);
    lab.wait_for("a link-local address", seconds(PATIENCE), || has_link_local(host));
    let before = host.sh(SETTINGS);
    let glha = life(&lab, Subject::Glha);
    assert_eq!(host.sh(SETTINGS), before, "what glha has set is put back");
    assert!(!host.exists("/run/glha/vmac.json"), "nothing is left to be remembered");
    let keepalived = life(&lab, Subject::Keepalived);
    let (glha, keepalived) = (without_deviations(glha), without_deviations(keepalived));
    assert!(glha.links_as_backup.contains("vrrp1.51@x0"), "{}", glha.links_as_backup);
    assert_eq!(glha.links_as_backup, keepalived.links_as_backup);
    assert_eq!(glha.addresses_as_backup, "");
    assert_eq!(glha.addresses_as_backup, keepalived.addresses_as_backup);
    assert_eq!(glha.links_as_master, keepalived.links_as_master);
    assert_eq!(glha.addresses_as_master, keepalived.addresses_as_master);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    for (ours, theirs) in [
        (&glha.settings_as_backup, &keepalived.settings_as_backup),
        (&glha.settings_as_master, &keepalived.settings_as_master),
    ] {
        let (ours, theirs) = (lines(ours), lines(theirs));
        let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
        assert!(differ.is_empty(), "{differ:#?}");
    }
    assert_eq!(glha.frames, keepalived.frames);
}

/// Each scenario with these pairs of daemons.
mod a_pair {
    use super::Subject::{Glha, Keepalived};

    #[test]
    fn keepalived_glha() {
        super::pair(Keepalived, Glha, "", "");
    }

    #[test]
    fn glha_keepalived() {
        super::pair(Glha, Keepalived, "", "");
    }

    #[test]
    fn glha_keepalived_at_the_base() {
        super::pair(Glha, Keepalived, "vmac_xmit_base", "");
    }

    #[test]
    fn keepalived_glha_at_the_base() {
        super::pair(Keepalived, Glha, "", "vmac_xmit_base");
    }
}

/// The better one takes over and hands back; the client always finds the address at the same MAC
/// address, and who is not master sends nothing with that.
fn pair(a: Subject, b: Subject, more_a: &str, more_b: &str) {
    let lab = Lab::pair();
    let daemon_a = a.start(&lab.hosts[0], &one(100, &format!("use_vmac\n{more_a}")));
    settles_on(&lab, "a");
    found_at_the_virtual_mac(&lab);
    let daemon_b = b.start(&lab.hosts[1], &one(150, &format!("use_vmac\n{more_b}")));
    settles_on(&lab, "b");
    let claims = |name: &str| {
        let frames = lab.frames();
        frames.iter().filter(|f| f.from == name).filter_map(priority).count()
    };
    let a_before = claims("a");
    let b_before = claims("b");
    lab.wait_for("more adverts of b", seconds(PATIENCE), || claims("b") > b_before + 10);
    lab.check("a has heard b and is silent", claims("a") <= a_before + 1);
    found_at_the_virtual_mac(&lab);
    stop(daemon_b);
    settles_on(&lab, "a");
    found_at_the_virtual_mac(&lab);
    stop(daemon_a);
    // Until it first claims the address, b is a backup.
    let frames = lab.frames();
    let of_b = || frames.iter().filter(|f| f.from == "b");
    let first = of_b().find(|f| priority(f).is_some()).map(|f| f.at);
    let early = of_b().find(|f| sender(&f.bytes) == VMAC_4 && first.is_some_and(|at| f.at < at));
    lab.check("a backup sends nothing as the virtual router", early.is_none());
    for (name, more) in [("a", more_a), ("b", more_b)] {
        let adverts = frames.iter().filter(|f| f.from == name && priority(f).is_some());
        let expected = more.is_empty();
        lab.check(
            "adverts have the MAC address that the configuration says",
            adverts.map(|f| sender(&f.bytes) == VMAC_4).all(|is_virtual| is_virtual == expected),
        );
    }
    lab.check("nothing is left", lab.hosts.iter().all(|host| links(host).is_empty()));
}

/// Asks anew for the MAC address of the virtual address.
fn found_at_the_virtual_mac(lab: &Lab) {
    lab.client.sh("ip neighbour flush dev eth0");
    let send = || UdpSocket::bind("0.0.0.0:0").and_then(|s| s.send_to(&[0], (VIP, 9)));
    lab.client.spawn(send).join().expect("no panic").expect("sent");
    lab.wait_for("the client finds the virtual MAC address", seconds(PATIENCE), || {
        let neighbour = lab.client.sh(&format!("ip neighbour show {VIP}"));
        neighbour.contains("00:00:5e:00:01:33")
    });
}

#[test]
fn whatever_happens_to_the_interfaces() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    prepare(host);
    let conf = one(100, "use_vmac\n    use_vmac_addr");
    let conf =
        conf.replace(&format!("{VIP}/24"), &format!("{VIP}/24\n        172.16.52.70 dev x0"));
    let mut daemon = Subject::Glha.start(host, &conf);
    settles_on(&lab, "a");
    lab.wait_for("both addresses", seconds(PATIENCE), || host.has_address("172.16.52.70"));
    let told = || daemon.log().matches("Entering").count();
    lab.wait_for("it is said", seconds(PATIENCE), || daemon.log().contains("Entering MASTER"));
    let before = told();

    host.sh("ip link del vrrp.51");
    lab.wait_for("it is made again, with its address", seconds(PATIENCE), || host.has_address(VIP));
    assert!(links(host).contains("vrrp.51@eth0"), "{}", links(host));
    assert!(daemon.log().contains("vrrp.51 was removed by somebody"), "{}", daemon.log());
    assert_eq!(told(), before, "no transition: {}", daemon.log());
    let arp = "cat /proc/sys/net/ipv4/conf/vrrp.51/arp_ignore";
    assert_eq!(host.sh(arp).trim(), "1", "its settings are there again");

    host.sh("ip link set eth0 mtu 1400");
    let mtu = || host.sh("cat /sys/class/net/vrrp.51/mtu 2>/dev/null || ip link show vrrp.51");
    lab.wait_for("it shrinks", seconds(PATIENCE), || mtu().contains("1400"));
    host.sh("ip link set eth0 mtu 1500");
    lab.wait_for("it grows", seconds(PATIENCE), || mtu().contains("1500"));

    host.sh("ip link set vrrp.51 address 02:51:00:00:00:78");
    lab.wait_for("its MAC address is the virtual one again", seconds(PATIENCE), || {
        host.sh("ip -o link show vrrp.51").contains("link/ether 00:00:5e:00:01:33")
    });
    assert_eq!(told(), before, "no transition: {}", daemon.log());

    host.sh("ip link set vrrp.51 down");
    lab.wait_for("a fault", seconds(PATIENCE), || daemon.log().contains("interface vrrp.51 down"));
    lab.wait_for("the address is gone", seconds(PATIENCE), || !host.has_address(VIP));
    host.sh("ip link set vrrp.51 up");
    settles_on(&lab, "a");

    host.sh("ip link del x0");
    lab.wait_for("a fault", seconds(PATIENCE), || !host.has_address(VIP));
    host.sh("ip link add x0 type veth peer name x1; ip link set x0 up; ip link set x1 up");
    settles_on(&lab, "a");
    assert!(links(host).contains("vrrp1.51@x0"), "{}", links(host));
    let filter = "cat /proc/sys/net/ipv4/conf/x0/arp_filter";
    assert_eq!(host.sh(filter).trim(), "1", "a new interface is silent, too");

    // A crash leaves everything; the next run takes it over.
    let number = index(host, "vrrp.51");
    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(PATIENCE));
    assert!(index(host, "vrrp.51").is_some());
    let mut daemon = Subject::Glha.start(host, &conf);
    is_master(&lab, &daemon);
    assert_eq!(index(host, "vrrp.51"), number);

    // What the configuration has no more goes, the rest stays as it is.
    host.write("/etc/keepalived/keepalived.conf", &one(100, "use_vmac"));
    daemon.signal(Signal::SIGHUP);
    lab.wait_for("one goes", seconds(PATIENCE), || index(host, "vrrp1.51").is_none());
    assert_eq!(index(host, "vrrp.51"), number);
    // That is the next thing it does.
    lab.wait_for("what was set on its base is put back", seconds(PATIENCE), || {
        host.sh(filter).trim() == "0"
    });
    lab.check("still master", host.has_address(VIP));
    host.write("/etc/keepalived/keepalived.conf", &one(100, "use_vmac own"));
    daemon.signal(Signal::SIGHUP);
    lab.wait_for("another name", seconds(PATIENCE), || {
        index(host, "own").is_some() && index(host, "vrrp.51").is_none() && host.has_address(VIP)
    });

    // A crash and another configuration: nothing of the former is left.
    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(PATIENCE));
    let mut daemon = Subject::Glha.start(host, &one(100, ""));
    is_master(&lab, &daemon);
    assert!(links(host).is_empty(), "{}", links(host));
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(PATIENCE));

    // A crash for good: `glha release`.
    let mut daemon = Subject::Glha.start(host, &one(100, "use_vmac"));
    is_master(&lab, &daemon);
    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(PATIENCE));
    host.sh("/run/lab/glha release -p /run/d.pid -r /run/v.pid");
    assert!(links(host).is_empty(), "{}", links(host));
    assert!(!host.has_address(VIP));
    assert_eq!(host.sh("cat /proc/sys/net/ipv4/conf/eth0/arp_filter").trim(), "0");
    assert_eq!(host.sh("cat /proc/sys/net/ipv4/conf/all/rp_filter").trim(), "2");
}
