//! IPv6 and unicast on the shell's network side, against the real kernel, each test in network
//! namespaces of its own. Needs root, iproute2 and, for the comparison, keepalived.

mod net_support;

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::process::Command;

use glha::conf::VirtualAddress;
use glha::core::Time;
use glha::core::event::Received;
use glha::core::spec::InstanceId;
use glha::shell::kernel::link::Links;
use glha::shell::sockets::announce::{Announcer, Pauses};
use glha::wire::arp::Garp;
use glha::wire::ndp::Advertisement;
use net_support::*;
use socket2::{Domain, Protocol, Socket, Type};

const GROUP: &str = "ff02::12";

fn set(option: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/e0/{option}"), value).expect("sysctl");
}

/// Two hosts with addresses of their own, fd00:9::1 here and fd00:9::2 there.
fn joined_v6(test: impl FnOnce(&Lab) + Send + 'static) {
    joined(|lab| {
        ip("address add fd00:9::1/64 dev e0 nodad");
        lab.there(|| ip("address add fd00:9::2/64 dev e0 nodad"));
        test(lab);
    });
}

/// Interfaces whose `e0` is up and has the address that it gave itself.
fn up_v6() -> Watch {
    let mut watch = up();
    watch.until("a link-local address", |links| link_local(links).is_some());
    watch
}

fn link_local(links: &Links) -> Option<Ipv6Addr> {
    links.state(E0).addresses.iter().find_map(|(ip, _)| match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(*ip),
        _ => None,
    })
}

/// A message of VRRP's length, without its checksum.
fn message(mark: u8) -> Vec<u8> {
    vec![0x31, mark, 100, 0, 0, 100, 0, 0]
}

/// The same as the kernel sends it, between these addresses.
fn with_checksum(mark: u8, source: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut message = message(mark);
    let mut bytes = [source.octets(), to.octets()].concat();
    bytes.extend([0, 0, 0, message.len() as u8, 0, 0, 0, 112]);
    bytes.extend(&message);
    let sum = glha::wire::vrrp::checksum(&bytes).to_be_bytes();
    message[6..8].copy_from_slice(&sum);
    message
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("address")
}

fn received(mark: u8, source: Ipv6Addr, to: &str, hop_limit: u8) -> Received {
    let destination = v6(to);
    let message = with_checksum(mark, source, destination);
    Received::V6 { message, source, destination, hop_limit }
}

// ---- addresses ----

#[test]
fn addresses_are_known_in_the_kernels_order_behind_those_of_ipv4() {
    joined(|_| {
        let mut watch = up_v6();
        for step in [
            "add fd00:9::1/64 nodad",
            "add fe80::9/64 nodad",
            "add fd00:9::2/64 nodad",
            "add 10.9.0.3/24",
            "del fd00:9::1/64",
            "add fec0::1/64 nodad",
            "add fd00:9::1/128 nodad preferred_lft 0",
        ] {
            ip(&format!("address {step} dev e0"));
            let word = |line: &String| line.split_whitespace().nth(2).map(str::to_owned);
            let lines = [ip_address_lines("-4"), ip_address_lines("-6")].concat();
            let expected: Vec<_> = lines.iter().filter_map(word).collect();
            watch.until(step, |links| addresses_of(links) == expected);
            // A look at the whole says the same as the notifications.
            assert_eq!(addresses_of(&up().links), expected, "{step}");
        }
    });
}

#[test]
fn an_address_counts_once_nobody_else_has_it() {
    joined_v6(|_| {
        let mut watch = up_v6();
        set("dad_transmits", "3");
        ip("address add fd00:9::5/64 dev e0");
        watch.read_all();
        assert!(!has(&watch.links, "fd00:9::5", 64), "it is tentative for three seconds");
        assert!(!has(&up().links, "fd00:9::5", 64), "for a look at the whole, too");
        watch.until("the end of duplicate address detection", |l| has(l, "fd00:9::5", 64));

        ip("address add fd00:9::2/64 dev e0");
        let mut events = mio::Events::with_capacity(4);
        while !ip_address_lines("-6").iter().any(|line| line.contains("dadfailed")) {
            watch.poll.poll(&mut events, Some(PATIENCE)).expect("poll");
            assert!(!events.is_empty(), "in vain waited for the discovery of a duplicate");
            watch.read_all();
        }
        watch.read_all();
        assert!(!has(&watch.links, "fd00:9::2", 64), "it is the other's");
    });
}

/// The addresses of the comparison, as in keepalived.conf and as values.
fn compared() -> Vec<(&'static str, VirtualAddress)> {
    let of = |text: &str, prefix_len, preferred_lft| VirtualAddress {
        preferred_lft,
        ..virtual_address(address(text), prefix_len)
    };
    let no_prefix_route = VirtualAddress { no_prefix_route: true, ..of("fd00:9::73", 64, None) };
    let scoped = VirtualAddress { scope: 253, ..of("fd00:9::75", 64, None) };
    vec![
        ("fe80::71/64", of("fe80::71", 64, None)),
        ("fd00:9::71", of("fd00:9::71", 128, Some(0))),
        ("fd00:9::72/64", of("fd00:9::72", 64, None)),
        ("fd00:9::73/64 noprefixroute", no_prefix_route),
        ("fd00:9::74/64 preferred_lft 0", of("fd00:9::74", 64, Some(0))),
        ("fd00:9::75/64 scope link", scoped),
        ("fd00:9::76/128 preferred_lft forever", of("fd00:9::76", 128, None)),
    ]
}

#[test]
fn addresses_look_as_keepalived_sets_them() {
    joined_v6(|_| {
        let mut watch = up_v6();
        let before = addresses_of(&watch.links);
        let compared = compared();
        let lines: Vec<_> = compared.iter().map(|(line, _)| *line).collect();
        let keepalived = Keepalived::start(&lines);
        watch.until("the last of keepalived's addresses", |l| has(l, "fd00:9::76", 128));
        let theirs = ip_address_lines("-6");
        drop(keepalived);
        watch.until("keepalived's end", |links| addresses_of(links) == before);

        let ours: Vec<_> = compared.into_iter().map(|(_, address)| (E0, address)).collect();
        watch.links.put(&ours);
        work_all(&mut watch.links);
        assert_eq!(ip_address_lines("-6"), theirs);
        watch.until("all of them", |links| {
            ours.iter().all(|(_, a)| has(links, &a.ip.to_string(), a.prefix_len))
        });

        ip("address del fd00:9::72/64 dev e0");
        watch.until("the removal by hand", |links| !has(links, "fd00:9::72", 64));

        watch.links.take(&ours);
        work_all(&mut watch.links);
        watch.until("none of them", |links| addresses_of(links) == before);
    });
}

// ---- adverts ----

#[test]
fn messages_to_the_group_cross_with_what_stood_in_their_headers() {
    joined_v6(|lab| {
        let watch = up_v6();
        let far_watch = lab.there(up_v6);
        let (here, there) = (link_local(&watch.links), link_local(&far_watch.links));
        let (here, there) = (here.expect("link-local"), there.expect("link-local"));
        let mut near = Ear::new(&watch.links, &[GROUP]);
        let mut far = lab.there(|| Ear::new(&far_watch.links, &[GROUP]));
        let tap = lab.there(tap);

        // To the far host itself, to a group that only another process there has joined, and with a wrong checksum.
        let _another = lab.there(|| join("ff02::99", &far_watch.links));
        near.send("fd00:9::1", "fd00:9::2", &message(1)).expect("send to the host");
        near.send(&here.to_string(), "ff02::99", &message(2)).expect("send to another group");
        send_broken(watch.links.index(E0).expect("index"));
        near.send(&here.to_string(), GROUP, &message(3)).expect("send");

        assert_eq!(far.hear(), received(3, here, GROUP, 255));
        assert!(far.nothing_waits());
        assert!(near.nothing_waits(), "our own adverts do not come back");
        let is_meant = |frame: &[u8]| frame.get(..6) == Some(&[0x33, 0x33, 0, 0, 0, 0x12]);
        let is_ours = |frame: &[u8]| is_meant(frame) && frame.get(55) == Some(&3);
        let frame = &frames(&tap, 1, is_ours)[0];
        assert_eq!(frame[14..16].iter().map(|b| b & 0xf0).collect::<Vec<_>>(), [0x60, 0x00]);
        assert_eq!(u16::from_be_bytes([frame[14], frame[15]]) >> 4 & 0xff, 0xc0, "class");

        // The source is what is asked for.
        far.send(&there.to_string(), GROUP, &message(4)).expect("answer");
        far.send("fd00:9::2", GROUP, &message(5)).expect("answer");
        assert_eq!(near.hear(), received(4, there, GROUP, 255));
        assert_eq!(near.hear(), received(5, v6("fd00:9::2"), GROUP, 255));
    });
}

/// Another process's membership of a group.
fn join(group: &str, links: &Links) -> Socket {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("socket");
    socket.join_multicast_v6(&v6(group), links.index(E0).expect("index")).expect("join");
    socket
}

fn send_broken(index: u32) {
    let raw = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(112))).expect("raw socket");
    raw.set_multicast_hops_v6(255).expect("hop limit");
    // What is looped back is not checked.
    raw.set_multicast_loop_v6(false).expect("no loop");
    let to = SocketAddrV6::new(v6(GROUP), 0, 0, index);
    raw.send_to(&message(9), &to.into()).expect("send");
}

#[test]
fn unicast_of_ipv4_follows_the_routes() {
    joined(|lab| {
        let watch = up();
        let far_watch = lab.there(up);
        // The far address is behind a hop, as it were: nobody answers for it on the link.
        lab.there(|| ip("address add 10.8.0.2/32 dev lo"));
        lab.there(|| ip("link set lo up"));
        lab.there(|| std::fs::write("/proc/sys/net/ipv4/conf/e0/arp_ignore", "1")).expect("sysctl");
        ip("route add 10.8.0.2/32 via 10.9.0.2");
        let mut near = Ear::new(&watch.links, &["10.9.0.1"]);
        let mut far = lab.there(|| Ear::new(&far_watch.links, &["10.8.0.2"]));
        let mut packet_of_64 = packet("10.9.0.1", "10.8.0.2", b"unicast");
        packet_of_64[8] = 64;

        // To another address of that host, and to the group, before it.
        for to in ["10.9.0.2", "224.0.0.18"] {
            near.send("10.9.0.1", to, &packet("10.9.0.1", to, b"stray")).expect("send");
        }
        near.send("10.9.0.1", "10.8.0.2", &packet_of_64).expect("send");
        let heard = far.hear_v4();
        assert_eq!((&heard[20..], heard[8], heard[1]), (&b"unicast"[..], 64, 0xc0));
        assert_eq!(heard[12..20], [10, 9, 0, 1, 10, 8, 0, 2]);
        assert!(far.nothing_waits());

        far.send("10.8.0.2", "10.9.0.1", &packet("10.8.0.2", "10.9.0.1", b"answer"))
            .expect("answer");
        assert_eq!(&near.hear_v4()[20..], b"answer");
    });
}

#[test]
fn unicast_of_ipv6_has_the_hop_limit_and_source_asked_for() {
    joined_v6(|lab| {
        let watch = up_v6();
        let far_watch = lab.there(up_v6);
        let (here, there) = ("fd00:9::1", "fd00:9::2");
        ip("address add fd00:9::11/64 dev e0 nodad");
        let mut near = Ear::new(&watch.links, &[here]);
        let mut far = lab.there(|| Ear::new(&far_watch.links, &[there]));
        let _another = lab.there(|| join(GROUP, &far_watch.links));
        near.send(here, GROUP, &message(1)).expect("send to the group");
        near.send(here, there, &message(2)).expect("send");
        let way = (address("fd00:9::11"), address(there));
        near.ports.send(E0, way, Some(33), &message(3)).expect("send");
        assert_eq!(far.hear(), received(2, v6(here), there, 64));
        assert_eq!(far.hear(), received(3, v6("fd00:9::11"), there, 33));
        assert!(far.nothing_waits());
        far.send(there, here, &message(4)).expect("answer");
        assert_eq!(near.hear(), received(4, v6(there), here, 64));
        near.send("fd00:9::77", there, &message(5)).expect_err("not our address");

        // Between link-local addresses, too.
        let [here, there] = [&watch, &far_watch]
            .map(|watch| link_local(&watch.links).expect("link-local").to_string());
        near.sync(&watch.links, &[&here]);
        lab.there(|| far.sync(&far_watch.links, &[&there]));
        near.send(&here, &there, &message(6)).expect("send");
        assert_eq!(far.hear(), received(6, v6(&here), &there, 64));
    });
}

#[test]
fn an_own_address_may_come_later_and_come_back() {
    joined_v6(|lab| {
        let watch = up_v6();
        let far_watch = lab.there(up_v6);
        let near = Ear::new(&watch.links, &["fd00:9::1", "10.9.0.1"]);
        let (v4, v6) = ("10.9.0.22", "fd00:9::22");
        let mut far = lab.there(|| Ear::new(&far_watch.links, &[v4, v6]));
        for _ in 0..2 {
            lab.there(|| ip(&format!("address add {v4}/24 dev e0")));
            lab.there(|| ip(&format!("address add {v6}/64 dev e0 nodad")));
            lab.there(|| until_local(v6));
            near.send("10.9.0.1", v4, &packet("10.9.0.1", v4, b"unicast")).expect("send");
            assert_eq!(&far.hear_v4()[20..], b"unicast");
            near.send("fd00:9::1", v6, &message(1)).expect("send");
            assert!(matches!(far.hear(), Received::V6 { .. }));
            lab.there(|| ip(&format!("address del {v4}/24 dev e0")));
            lab.there(|| ip(&format!("address del {v6}/64 dev e0")));
        }
    });
}

/// Waits until the kernel delivers what is sent to a new address of its own, which for IPv6 comes
/// some time after the request for it was answered.
fn until_local(ip: &str) {
    let start = std::time::Instant::now();
    loop {
        let arguments = ["-6", "route", "show", "table", "local"];
        let output = Command::new("ip").args(arguments).output().expect("ip");
        if String::from_utf8_lossy(&output.stdout).contains(ip) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "in vain waited for the local route to {ip}");
    }
}

#[test]
fn both_families_are_read_from_one_interface_and_closed_apart() {
    joined_v6(|lab| {
        let watch = up_v6();
        let far_watch = lab.there(up_v6);
        let all = ["224.0.0.18", "10.9.0.1", GROUP, "fd00:9::1"];
        let mut near = Ear::new(&watch.links, &all);
        let far = lab.there(|| Ear::new(&far_watch.links, &["10.9.0.2", "fd00:9::2"]));
        for to in all {
            let is_v4 = address(to).is_ipv4();
            let source = if is_v4 { "10.9.0.2" } else { "fd00:9::2" };
            let bytes = if is_v4 { packet(source, to, b"v4") } else { message(1) };
            far.send(source, to, &bytes).expect("send");
            assert_eq!(matches!(near.hear(), Received::V4(_)), is_v4, "{to}");
        }
        assert!(near.nothing_waits());
        near.sync(&watch.links, &all[2..]);
        assert!(!near.ports.is_open(want("224.0.0.18")) && near.ports.is_open(want(GROUP)));
        let error = near.send("10.9.0.1", "10.9.0.2", &[]).expect_err("no socket, no sending");
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        near.send("10.9.0.1", GROUP, &[]).expect_err("families do not mix");
    });
}

// ---- announcements ----

#[test]
fn announcements_of_both_families_arrive_byte_for_byte() {
    joined_v6(|lab| {
        let watch = up_v6();
        let tap = lab.there(tap);
        let mac = watch.links.mac(E0).expect("hardware address");
        let mut announcer = Announcer::open().expect("packet socket");
        let addresses = ["fe80::71", "10.9.0.71", "fd00:9::71"].map(|text| (E0, address(text)));
        let mut expected = Vec::new();
        for is_router in [false, true] {
            set("forwarding", if is_router { "1" } else { "0" });
            announcer.announce(InstanceId(0), &addresses, 1, Pauses::default());
            assert_eq!(announcer.work(Time::ZERO, &watch.links), None);
            let na = |ip| Advertisement { mac, ip: v6(ip), is_router }.emit();
            let garp = Garp { mac, ip: [10, 9, 0, 71].into() }.emit().to_vec();
            expected.extend([na("fe80::71"), garp, na("fd00:9::71")]);
        }
        let is_arp = |frame: &[u8]| frame.get(12..14) == Some(&[0x08, 0x06]);
        // The kernel advertises addresses of its own when forwarding changes.
        let is_na = |frame: &[u8]| {
            frame.get(54) == Some(&136) && frame.get(36..38).is_some_and(|end| end == [0, 0x71])
        };
        let heard = frames(&tap, expected.len(), |frame| is_arp(frame) || is_na(frame));
        assert_eq!(heard, expected);
    });
}
