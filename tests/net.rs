//! The shell's network side against the real kernel, each test in network namespaces of its own.
//! Needs root, iproute2 and, for the comparison, keepalived.

mod net_support;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::process::Command;

use glha::conf::VirtualAddress;
use glha::core::Time;
use glha::core::spec::{InstanceId, LinkId};
use glha::shell::kernel::address::Thing;
use glha::shell::kernel::rtnl::Wish;
use glha::shell::sockets::announce::{Announcer, Pauses};
use glha::wire::arp::Garp;
use net_support::*;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const GROUP: &str = "224.0.0.18";

// ---- links ----

/// The IPv4 addresses; a link-local one of IPv6 joins them whenever the kernel is done with it.
fn v4_of(links: &glha::shell::kernel::link::Links) -> Vec<String> {
    addresses_of(links).into_iter().filter(|address| !address.contains(':')).collect()
}

/// The addresses as `ip` lists them.
fn addresses_of_ip() -> Vec<String> {
    let word = |line: &String| line.split_whitespace().nth(2).map(str::to_owned);
    ip_address_lines("-4").iter().filter_map(word).collect()
}

#[test]
fn dump_and_absent_interfaces() {
    alone(|| {
        add_link("e0");
        ip("link set e0 address 02:00:00:00:00:07");
        ip("address add 10.9.0.1/24 dev e0");
        let watch = Watch::new(&["e0", "nowhere"]);
        let links = &watch.links;
        assert!(links.state(E0).present && !links.state(E0).up);
        assert_eq!(v4_of(links), ["10.9.0.1/24"]);
        assert_eq!(links.mac(E0), Some([2, 0, 0, 0, 0, 7]));
        assert!(links.index(E0).is_some());
        assert!(!links.state(LinkId(1)).present);
        assert_eq!((links.index(LinkId(1)), links.index(LinkId(2))), (None, None));
    });
}

#[test]
fn follows_up_down_and_carrier() {
    joined(|lab| {
        let mut watch = Watch::new(&["e0"]);
        watch.until_up();
        lab.there(|| ip("link set e0 down"));
        watch.until("no carrier", |links| !links.state(E0).up);
        lab.there(|| ip("link set e0 up"));
        watch.until_up();
        ip("link set e0 down");
        watch.until("down", |links| !links.state(E0).up);
    });
}

#[test]
fn follows_addresses_in_the_kernels_order() {
    alone(|| {
        add_link("e0");
        ip("link set e0 up");
        std::fs::write("/proc/sys/net/ipv4/conf/e0/promote_secondaries", "1").expect("sysctl");
        let mut watch = Watch::new(&["e0"]);
        watch.until_up();
        let steps = [
            "add 10.9.0.1/24",
            "add 10.9.0.2/24",
            "add 10.9.1.1/24",
            "add 10.9.0.3/24",
            "add 10.9.2.1/32 scope link",
            "add 10.9.3.1/32 scope host",
            "add 10.9.4.1 peer 10.9.5.1/24",
            "del 10.9.0.1/24",
            "add 10.9.0.1/24",
            "del 10.9.1.1/24",
        ];
        for step in steps {
            ip(&format!("address {step} dev e0"));
            let expected = addresses_of_ip();
            // `ip` shows the peer's prefix with the peer.
            let bare = |a: &String| a.split('/').next().map(str::to_owned);
            let expected: Vec<_> = expected.iter().filter_map(bare).collect();
            watch.until(step, |links| {
                v4_of(links).iter().filter_map(bare).collect::<Vec<_>>() == expected
            });
        }
    });
}

#[test]
fn follows_an_interface_that_is_made_anew_or_renamed() {
    alone(|| {
        add_link("e0");
        let mut watch = Watch::new(&["e0"]);
        let first = watch.links.index(E0);
        // Deleted and made anew before anything is read: the state is the same, the index not.
        ip("link del e0");
        add_link("e0");
        assert_eq!(watch.read_all(), [E0]);
        assert!(watch.links.index(E0).is_some() && watch.links.index(E0) != first);

        add_link("other");
        ip("address add 10.9.0.9/24 dev other");
        ip("link set e0 name away");
        assert_eq!(watch.read_all(), [E0]);
        assert!(!watch.links.state(E0).present);
        ip("link set other name e0");
        assert_eq!(watch.read_all(), [E0]);
        assert_eq!(v4_of(&watch.links), ["10.9.0.9/24"]);
    });
}

#[test]
fn leaving_a_bridge_is_not_going_away() {
    alone(|| {
        ip("link add b0 type bridge");
        add_link("e0");
        ip("link set e0 master b0");
        ip("address add 10.9.0.1/24 dev e0");
        let mut watch = Watch::new(&["e0"]);
        ip("link set e0 nomaster");
        watch.read_all();
        assert_eq!(v4_of(&watch.links), ["10.9.0.1/24"]);
    });
}

#[test]
fn an_overrun_is_made_good_by_reading_anew() {
    alone(|| {
        add_link("e0");
        let mut watch = Watch::new(&["e0"]);
        shrink(watch.links.fd());
        let lines: String =
            (0..250).map(|i| format!("address add 10.9.0.{i}/32 dev e0\n")).collect();
        ip_batch(&lines);
        ip("address del 10.9.0.0/32 dev e0");
        watch.read_all();
        let expected: Vec<String> = (1..250).map(|i| format!("10.9.0.{i}/32")).collect();
        assert_eq!(v4_of(&watch.links), expected);
    });
}

/// The smallest receive buffer there is: a few notifications.
fn shrink(fd: BorrowedFd<'_>) {
    SockRef::from(&fd).set_recv_buffer_size(1).expect("SO_RCVBUF");
}

#[test]
fn reading_is_bounded() {
    alone(|| {
        add_link("e0");
        let mut watch = Watch::new(&["e0"]);
        let lines: String = (0..1000)
            .map(|i| format!("address add 10.9.{}.{}/32 dev e0\n", i / 250, i % 250))
            .collect();
        ip_batch(&lines);
        let first = watch.links.read();
        assert!(first.more, "1,000 notifications do not fit into one call");
        watch.read_all();
        assert_eq!(watch.links.state(E0).addresses.len(), 1000);
    });
}

// ---- addresses ----

fn vip(last: u8) -> (LinkId, VirtualAddress) {
    (E0, virtual_address(Ipv4Addr::new(10, 9, 0, last), 32))
}

/// The same on an interface that is not there.
fn nowhere(last: u8) -> (LinkId, VirtualAddress) {
    let (_, address) = vip(last);
    (LinkId(1), VirtualAddress { interface: "nowhere".into(), ..address })
}

#[test]
fn puts_and_takes_a_thousand_addresses_piece_by_piece() {
    alone(|| {
        add_link("e0");
        ip("link set e0 up");
        let mut watch = Watch::new(&["e0"]);
        let all: Vec<_> = (0..1000u16)
            .map(|i| Ipv4Addr::new(10, 9, (i / 250) as u8, (i % 250) as u8))
            .map(|ip| (E0, virtual_address(ip, 32)))
            .collect();
        let ticket = watch.links.put(&all);
        assert!(watch.links.work(), "not all in one piece");
        assert!(!watch.links.is_done(ticket));
        watch.read_all();
        let first = watch.links.state(E0).addresses.len();
        assert!((1..=200).contains(&first), "{first}");
        work_all(&mut watch.links);
        assert!(watch.links.is_done(ticket));
        watch.read_all();
        let expected: Vec<_> = all.iter().map(|(_, address)| (address.ip, 32)).collect();
        assert_eq!(watch.links.state(E0).addresses, expected);

        watch.links.take(&all);
        assert!(watch.links.finish(PATIENCE));
        work_all(&mut watch.links);
        watch.read_all();
        assert_eq!(watch.links.state(E0).addresses, []);
    });
}

#[test]
fn what_is_as_wished_is_no_failure() {
    alone(|| {
        add_link("e0");
        ip("address add 10.9.0.1/32 dev e0");
        let mut watch = Watch::new(&["e0", "nowhere"]);
        watch.links.put(&[vip(1), vip(2)]);
        work_all(&mut watch.links);
        watch.links.take(&[vip(2), vip(3), nowhere(1)]);
        work_all(&mut watch.links);
        watch.read_all();
        assert_eq!(v4_of(&watch.links), ["10.9.0.1/32"]);
    });
}

#[test]
fn refusals_are_reported_and_the_rest_goes_on() {
    alone(|| {
        add_link("e0");
        let mut watch = Watch::new(&["e0", "nowhere"]);
        let mut broken = vip(1);
        broken.1.label = Some("a label that is too long".into());
        watch.links.put(&[broken, nowhere(2), vip(3)]);
        assert!(!watch.links.work());
        let outcomes = watch.links.outcomes();
        let failures: Vec<_> =
            outcomes.iter().filter_map(|f| Some((f, f.error.as_ref()?))).collect();
        let link = |what: &Thing| match what {
            Thing::Address(link, _) => link.0,
            other => panic!("{other}"),
        };
        let codes: Vec<_> =
            failures.iter().map(|(f, error)| (link(&f.what), error.raw_os_error())).collect();
        assert_eq!(codes.len(), 2, "{failures:?}");
        assert!(codes.contains(&(1, Some(libc::ENODEV))), "{failures:?}");
        assert!(failures.iter().all(|(f, _)| f.wish == Wish::Put));
        watch.read_all();
        assert_eq!(v4_of(&watch.links), ["10.9.0.3/32"]);
    });
}

#[test]
fn the_newest_wish_wins() {
    alone(|| {
        add_link("e0");
        let mut watch = Watch::new(&["e0"]);
        watch.links.put(&[vip(1), vip(2)]);
        watch.links.take(&[vip(1)]);
        watch.links.put(&[vip(3)]);
        work_all(&mut watch.links);
        watch.read_all();
        assert_eq!(v4_of(&watch.links), ["10.9.0.2/32", "10.9.0.3/32"]);
    });
}

/// The addresses of the comparison, as in keepalived.conf and as values.
fn compared() -> Vec<(&'static str, VirtualAddress)> {
    let of = |last, prefix_len, change: &dyn Fn(&mut VirtualAddress)| {
        let mut address = virtual_address(Ipv4Addr::new(10, 9, 0, last), prefix_len);
        change(&mut address);
        address
    };
    let broadcast = Some(Ipv4Addr::new(10, 9, 0, 255));
    vec![
        ("10.9.0.71", of(71, 32, &|_| {})),
        ("10.9.0.72/24", of(72, 24, &|_| {})),
        ("10.9.0.73/24 label e0:one", of(73, 24, &|a| a.label = Some("e0:one".into()))),
        ("10.9.0.74/24 brd 10.9.0.255", of(74, 24, &|a| a.broadcast = broadcast)),
        ("10.9.0.76/32 scope link", of(76, 32, &|a| a.scope = 253)),
        ("10.9.0.77/24 noprefixroute", of(77, 24, &|a| a.no_prefix_route = true)),
        (
            "10.9.0.79 brd 10.9.0.255 scope host label e0:two",
            of(79, 32, &|a| {
                a.broadcast = broadcast;
                a.scope = 254;
                a.label = Some("e0:two".into());
            }),
        ),
    ]
}

#[test]
fn addresses_look_as_keepalived_sets_them() {
    joined(|_| {
        let mut watch = Watch::new(&["e0"]);
        watch.until_up();
        let compared = compared();
        let lines: Vec<_> = compared.iter().map(|(line, _)| *line).collect();
        let keepalived = Keepalived::start(&lines);
        watch.until("the last of keepalived's addresses", |links| has(links, "10.9.0.79", 32));
        let theirs = ip_address_lines("-4");
        drop(keepalived);
        watch.until("keepalived's end", |links| v4_of(links) == ["10.9.0.1/24"]);

        let ours: Vec<_> = compared.into_iter().map(|(_, address)| (E0, address)).collect();
        watch.links.put(&ours);
        work_all(&mut watch.links);
        assert_eq!(ip_address_lines("-4"), theirs);

        watch.links.take(&ours);
        work_all(&mut watch.links);
        watch.read_all();
        assert_eq!(v4_of(&watch.links), ["10.9.0.1/24"]);
    });
}

// ---- adverts ----

#[test]
fn packets_cross_and_only_those_to_the_group_are_heard() {
    joined(|lab| {
        let watch = up();
        let mut near = Ear::new(&watch.links, &[GROUP]);
        let mut far = lab.there(|| Ear::new(&up().links, &[GROUP]));

        let advert = packet("10.9.0.1", GROUP, b"multicast");
        // One to the far host itself, and one to a group nobody asked for, before the advert.
        let unicast = packet("10.9.0.1", "10.9.0.2", b"unicast");
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
            .expect("raw socket");
        let to = std::net::SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 2), 0).into();
        raw.send_to(&unicast, &to).expect("send unicast");
        let other = "224.0.0.99";
        let stray = packet("10.9.0.1", other, b"stray");
        near.send("10.9.0.1", other, &stray).expect("send to another group");
        near.send("10.9.0.1", GROUP, &advert).expect("send");

        let heard = far.hear_v4();
        assert_eq!(&heard[20..], b"multicast");
        assert_eq!(heard[..2], [0x45, 0xc0]);
        assert_eq!(heard[2..4], (advert.len() as u16).to_be_bytes(), "total length");
        assert_eq!(heard[4..10], advert[4..10], "id, flags, ttl and protocol are ours");
        assert_eq!(checksum(&heard[..20]), 0);
        assert!(far.nothing_waits());
        assert!(near.nothing_waits(), "our own adverts do not come back");

        let answer = packet("10.9.0.2", GROUP, b"answer");
        far.send("10.9.0.2", GROUP, &answer).expect("answer");
        assert_eq!(&near.hear_v4()[20..], b"answer");
    });
}

fn checksum(header: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    let sum: u32 = header.chunks(2).map(word).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[test]
fn ports_follow_the_interface_and_the_wanted_groups() {
    alone(|| {
        add_link("e0");
        let mut watch = Watch::new(&["e0"]);
        let other = "224.0.0.99";
        let mut ear = Ear::new(&watch.links, &[GROUP, other]);
        assert!(ear.ports.is_open(want(GROUP)) && ear.ports.is_open(want(other)));
        assert_eq!(joined_groups(), 2);
        ear.sync(&watch.links, &[GROUP]);
        assert!(ear.ports.is_open(want(GROUP)) && !ear.ports.is_open(want(other)));
        assert_eq!(joined_groups(), 1);

        ip("link del e0");
        watch.read_all();
        ear.sync(&watch.links, &[GROUP]);
        assert!(!ear.ports.is_open(want(GROUP)));
        let error = ear.send("10.9.0.1", GROUP, &[]).expect_err("no socket, no sending");
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);

        add_link("e0");
        watch.read_all();
        ear.sync(&watch.links, &[GROUP]);
        assert!(ear.ports.is_open(want(GROUP)));
        assert_eq!(joined_groups(), 1);
    });
}

/// How many of our groups the kernel has on `e0`.
fn joined_groups() -> usize {
    let output = Command::new("ip").args(["maddress", "show", "dev", "e0"]).output().expect("ip");
    let text = String::from_utf8(output.stdout).expect("text");
    ["224.0.0.18", "224.0.0.99"].iter().filter(|group| text.contains(**group)).count()
}

// ---- announcements ----

#[test]
fn announcements_arrive_byte_for_byte() {
    joined(|lab| {
        let watch = up();
        let tap = lab.there(tap);
        let ips = [Ipv4Addr::new(10, 9, 0, 71), Ipv4Addr::new(10, 9, 0, 70)];
        let mut addresses: Vec<_> = ips.iter().map(|ip| (E0, (*ip).into())).collect();
        // An interface that does not exist is left out.
        addresses.insert(1, (LinkId(5), address("10.9.0.99")));
        let mut announcer = Announcer::open().expect("packet socket");
        announcer.announce(InstanceId(0), &addresses, 2, Pauses::default());
        assert_eq!(announcer.work(Time::ZERO, &watch.links), None);

        let mac = watch.links.mac(E0).expect("hardware address");
        let expected: Vec<_> =
            ips.iter().chain(&ips).map(|ip| Garp { mac, ip: *ip }.emit().to_vec()).collect();
        let is_arp = |frame: &[u8]| frame.get(12..14) == Some(&[0x08, 0x06]);
        let heard = frames(&tap, expected.len(), is_arp);
        assert_eq!(heard, expected);
    });
}

#[test]
fn a_carrier_that_is_asked_for_counts() {
    joined(|lab| {
        let mut watch = Watch::new(&["e0"]);
        watch.until_up();
        // Whatever netlink says: a driver may not tell it.
        let answers = |is_there: bool| [(E0, is_there)].into();
        assert!(watch.links.set_carriers(answers(false)));
        assert!(!watch.links.set_carriers(answers(false)), "no news");
        assert_eq!(watch.links.read().changed, [E0]);
        assert!(!watch.links.state(E0).up);
        assert!(watch.links.set_carriers(answers(true)));
        assert_eq!(watch.links.read().changed, [E0]);
        assert!(watch.links.state(E0).up);

        // And this is what a cable says.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
        let socket = socket.expect("socket");
        let ask = || glha::shell::host::sys::ethtool_link(&socket, "e0").expect("ethtool");
        assert!(ask());
        lab.there(|| ip("link set e0 down"));
        assert!(!ask());
        let no_mii = glha::shell::host::sys::mii_link(&socket, "e0").expect_err("no transceiver");
        assert_eq!(no_mii.raw_os_error(), Some(libc::EOPNOTSUPP));
    });
}
