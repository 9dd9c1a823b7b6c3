//! The shell's network side against the real kernel, each test in network namespaces of its own.
//! Needs root, iproute2 and, for the comparison, keepalived.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use glha::conf::{Span, VirtualAddress};
use glha::core::Time;
use glha::core::spec::{InstanceId, LinkId};
use glha::shell::address::Wish;
use glha::shell::announce::Announcer;
use glha::shell::link::Links;
use glha::shell::net::Ports;
use glha::wire::arp::Garp;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const E0: LinkId = LinkId(0);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// How long anything awaited may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

// ---- namespaces ----

/// Two hosts joined by a cable: `e0` here, `e0` there.
struct Lab {
    here: File,
    there: File,
}

impl Lab {
    fn there<T>(&self, act: impl FnOnce() -> T) -> T {
        setns(&self.there, CloneFlags::CLONE_NEWNET).expect("enter the other namespace");
        let outcome = act();
        setns(&self.here, CloneFlags::CLONE_NEWNET).expect("come back from the other namespace");
        outcome
    }
}

/// Runs a test in a namespace of its own, on a thread of its own.
fn alone(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        new_namespace();
        test();
    };
    let outcome = std::thread::spawn(run).join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a test between two namespaces joined by a veth pair, 10.9.0.1 here and 10.9.0.2 there.
fn joined(test: impl FnOnce(&Lab) + Send + 'static) {
    alone(|| {
        let here = File::open("/proc/thread-self/ns/net").expect("own namespace");
        let there = new_namespace();
        setns(&here, CloneFlags::CLONE_NEWNET).expect("come back");
        let path = format!("/proc/{}/fd/{}", std::process::id(), there.as_raw_fd());
        ip(&format!("link add e0 type veth peer name e0 netns {path}"));
        let lab = Lab { here, there };
        lab.there(|| ip("address add 10.9.0.2/24 dev e0"));
        lab.there(|| ip("link set e0 up"));
        ip("address add 10.9.0.1/24 dev e0");
        ip("link set e0 up");
        test(&lab);
    });
}

fn new_namespace() -> File {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("these tests make network namespaces: run them as root (CAP_SYS_ADMIN)");
    File::open("/proc/thread-self/ns/net").expect("the new namespace")
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status();
    assert!(status.expect("ip of iproute2 is needed").success(), "ip {arguments}");
}

/// An interface, down, whose cable ends in this namespace (few kernels lack veth, some lack dummy).
fn add_link(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}-far"));
    ip(&format!("link set {name}-far up"));
}

fn ip_batch(lines: &str) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip of iproute2 is needed");
    child.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("write to ip");
    assert!(child.wait().expect("ip").success(), "ip -batch");
}

/// `ip -oneline address` of IPv4, without what differs from interface to interface.
fn ip_address_lines() -> Vec<String> {
    let arguments = ["-details", "-oneline", "-4", "address", "show", "dev", "e0"];
    let output = Command::new("ip").args(arguments).output().expect("ip");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.split_once(": ").expect("index").1.to_owned()).collect()
}

// ---- links ----

/// Links in a loop of their own.
struct Watch {
    links: Links,
    poll: Poll,
}

impl Watch {
    fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let links = Links::open(&names).expect("open netlink");
        let poll = Poll::new().expect("epoll");
        let fd = links.fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).expect("epoll");
        Self { links, poll }
    }

    /// Reads all that waits; the interfaces that changed.
    fn read_all(&mut self) -> Vec<LinkId> {
        let mut changed = Vec::new();
        loop {
            let read = self.links.read();
            changed.extend(read.changed);
            if !read.more {
                return changed;
            }
        }
    }

    /// Waits until the links are as the condition wants them.
    fn until(&mut self, what: &str, condition: impl Fn(&Links) -> bool) {
        let mut events = Events::with_capacity(4);
        self.read_all();
        while !condition(&self.links) {
            self.poll.poll(&mut events, Some(PATIENCE)).expect("poll");
            assert!(!events.is_empty(), "in vain waited for: {what}; {:?}", self.links.state(E0));
            self.read_all();
        }
    }

    fn until_up(&mut self) {
        self.until("e0 up", |links| links.state(E0).up);
    }
}

fn has(links: &Links, ip: &str, prefix_len: u8) -> bool {
    links.state(E0).addresses.contains(&(ip.parse().expect("address"), prefix_len))
}

fn addresses_of(links: &Links) -> Vec<String> {
    links.state(E0).addresses.iter().map(|(ip, len)| format!("{ip}/{len}")).collect()
}

/// The addresses as `ip` lists them.
fn addresses_of_ip() -> Vec<String> {
    let word = |line: &String| line.split_whitespace().nth(2).map(str::to_owned);
    ip_address_lines().iter().filter_map(word).collect()
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
        assert_eq!(addresses_of(links), ["10.9.0.1/24"]);
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
                addresses_of(links).iter().filter_map(bare).collect::<Vec<_>>() == expected
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
        assert_eq!(addresses_of(&watch.links), ["10.9.0.9/24"]);
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
        assert_eq!(addresses_of(&watch.links), ["10.9.0.1/24"]);
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
        assert_eq!(addresses_of(&watch.links), expected);
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

fn virtual_address(ip: Ipv4Addr, prefix_len: u8) -> VirtualAddress {
    VirtualAddress {
        ip,
        prefix_len,
        interface: "e0".into(),
        broadcast: None,
        label: None,
        scope: 0,
        no_prefix_route: false,
        preferred_lft: None,
        text: format!("{ip}/{prefix_len}"),
        span: Span::default(),
    }
}

fn vip(last: u8) -> (LinkId, VirtualAddress) {
    (E0, virtual_address(Ipv4Addr::new(10, 9, 0, last), 32))
}

fn work_all(links: &mut Links) {
    while links.work() {}
    let failures: Vec<String> = links.failures().iter().map(ToString::to_string).collect();
    assert_eq!(failures, [""; 0]);
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
        watch.links.take(&[vip(2), vip(3), (LinkId(1), vip(1).1)]);
        work_all(&mut watch.links);
        watch.read_all();
        assert_eq!(addresses_of(&watch.links), ["10.9.0.1/32"]);
    });
}

#[test]
fn refusals_are_reported_and_the_rest_goes_on() {
    alone(|| {
        add_link("e0");
        let mut watch = Watch::new(&["e0", "nowhere"]);
        let mut broken = vip(1);
        broken.1.label = Some("a label that is too long".into());
        watch.links.put(&[broken, (LinkId(1), vip(2).1), vip(3)]);
        assert!(!watch.links.work());
        let failures = watch.links.failures();
        let codes: Vec<_> = failures.iter().map(|f| (f.link.0, f.error.raw_os_error())).collect();
        assert_eq!(codes.len(), 2, "{failures:?}");
        assert!(codes.contains(&(1, Some(libc::ENODEV))), "{failures:?}");
        assert!(failures.iter().all(|f| f.wish == Wish::Put));
        watch.read_all();
        assert_eq!(addresses_of(&watch.links), ["10.9.0.3/32"]);
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
        assert_eq!(addresses_of(&watch.links), ["10.9.0.2/32", "10.9.0.3/32"]);
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
        let keepalived = Keepalived::start();
        watch.until("the last of keepalived's addresses", |links| has(links, "10.9.0.79", 32));
        let theirs = ip_address_lines();
        drop(keepalived);
        watch.until("keepalived's end", |links| addresses_of(links) == ["10.9.0.1/24"]);

        let ours: Vec<_> = compared().into_iter().map(|(_, address)| (E0, address)).collect();
        watch.links.put(&ours);
        work_all(&mut watch.links);
        assert_eq!(ip_address_lines(), theirs);

        watch.links.take(&ours);
        work_all(&mut watch.links);
        watch.read_all();
        assert_eq!(addresses_of(&watch.links), ["10.9.0.1/24"]);
    });
}

/// A keepalived that is the owner of the compared addresses.
struct Keepalived {
    child: Child,
    folder: std::path::PathBuf,
}

impl Keepalived {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("glha-net-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for keepalived");
        let addresses: String =
            compared().iter().map(|(line, _)| format!("    {line}\n")).collect();
        let text = format!(
            "vrrp_instance V {{\n  state MASTER\n  interface e0\n  virtual_router_id 10\n  \
             priority 255\n  advert_int 1\n  virtual_ipaddress {{\n{addresses}  }}\n}}\n"
        );
        std::fs::write(folder.join("conf"), text).expect("keepalived.conf");
        let child = Command::new("keepalived")
            .args(["-n", "-l", "-P"])
            .arg("-f")
            .arg(folder.join("conf"))
            .arg("-p")
            .arg(folder.join("pid"))
            .arg("-r")
            .arg(folder.join("vrrp.pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the comparison needs keepalived 2.2.7: apt-get install keepalived");
        Self { child, folder }
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

// ---- adverts ----

/// An IPv4 packet of protocol 112 as the core would hand it over.
fn packet(from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0xc0, 0, 0, 0, 1, 0, 0, 255, 112, 0, 0];
    bytes.extend(from);
    bytes.extend(to);
    bytes.extend(payload);
    bytes
}

/// Waits for packets at `e0`.
struct Ear {
    ports: Ports,
    poll: Poll,
}

impl Ear {
    fn new(links: &Links, groups: &[Ipv4Addr]) -> Self {
        let mut ear = Self { ports: Ports::new(Token(100)), poll: Poll::new().expect("epoll") };
        ear.sync(links, groups);
        ear
    }

    fn sync(&mut self, links: &Links, groups: &[Ipv4Addr]) {
        let wanted: Vec<_> = groups.iter().map(|group| (E0, *group)).collect();
        let failures = self.ports.sync(links, &wanted, self.poll.registry());
        assert!(failures.is_empty(), "{failures:?}");
    }

    fn hear(&mut self) -> Vec<u8> {
        let mut events = Events::with_capacity(4);
        let mut buffer = [0; 2048];
        loop {
            if let Some(length) = self.ports.recv(E0, &mut buffer).expect("receive") {
                return buffer[..length].to_vec();
            }
            self.poll.poll(&mut events, Some(PATIENCE)).expect("poll");
            let token = events.iter().next().expect("in vain waited for a packet").token();
            assert_eq!(self.ports.link(token), Some(E0));
        }
    }

    fn nothing_waits(&self) -> bool {
        self.ports.recv(E0, &mut [0; 2048]).expect("receive").is_none()
    }
}

fn up() -> Watch {
    let mut watch = Watch::new(&["e0"]);
    watch.until_up();
    watch
}

#[test]
fn packets_cross_and_only_those_to_the_group_are_heard() {
    joined(|lab| {
        let watch = up();
        let mut near = Ear::new(&watch.links, &[GROUP]);
        let mut far = lab.there(|| Ear::new(&up().links, &[GROUP]));

        let advert = packet([10, 9, 0, 1], GROUP.octets(), b"multicast");
        // One to the far host itself, and one to a group nobody asked for, before the advert.
        let unicast = packet([10, 9, 0, 1], [10, 9, 0, 2], b"unicast");
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
            .expect("raw socket");
        let to = std::net::SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 2), 0).into();
        raw.send_to(&unicast, &to).expect("send unicast");
        let other = Ipv4Addr::new(224, 0, 0, 99);
        let stray = packet([10, 9, 0, 1], other.octets(), b"stray");
        near.ports.send(E0, other, &stray).expect("send to another group");
        near.ports.send(E0, GROUP, &advert).expect("send");

        let heard = far.hear();
        assert_eq!(&heard[20..], b"multicast");
        assert_eq!(heard[..2], [0x45, 0xc0]);
        assert_eq!(heard[2..4], (advert.len() as u16).to_be_bytes(), "total length");
        assert_eq!(heard[4..10], advert[4..10], "id, flags, ttl and protocol are ours");
        assert_eq!(checksum(&heard[..20]), 0);
        assert!(far.nothing_waits());
        assert!(near.nothing_waits(), "our own adverts do not come back");

        let answer = packet([10, 9, 0, 2], GROUP.octets(), b"answer");
        far.ports.send(E0, GROUP, &answer).expect("answer");
        assert_eq!(&near.hear()[20..], b"answer");
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
        let other = Ipv4Addr::new(224, 0, 0, 99);
        let mut ear = Ear::new(&watch.links, &[GROUP, other]);
        assert!(ear.ports.is_open(E0, GROUP) && ear.ports.is_open(E0, other));
        assert_eq!(joined_groups(), 2);
        ear.sync(&watch.links, &[GROUP]);
        assert!(ear.ports.is_open(E0, GROUP) && !ear.ports.is_open(E0, other));
        assert_eq!(joined_groups(), 1);

        ip("link del e0");
        watch.read_all();
        ear.sync(&watch.links, &[GROUP]);
        assert!(!ear.ports.is_open(E0, GROUP));
        let error = ear.ports.send(E0, GROUP, &[]).expect_err("no socket, no sending");
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);

        add_link("e0");
        watch.read_all();
        ear.sync(&watch.links, &[GROUP]);
        assert!(ear.ports.is_open(E0, GROUP));
        assert_eq!(joined_groups(), 1);
    });
}

/// How many of our groups the kernel has on `e0`.
fn joined_groups() -> usize {
    let output = Command::new("ip").args(["maddress", "show", "dev", "e0"]).output().expect("ip");
    let text = String::from_utf8(output.stdout).expect("text");
    ["224.0.0.18", "224.0.0.99"].iter().filter(|group| text.contains(**group)).count()
}

#[test]
fn a_reader_that_stops_early_is_told_again() {
    joined(|lab| {
        let watch = up();
        let near = Ear::new(&watch.links, &[GROUP]);
        let mut far = lab.there(|| Ear::new(&up().links, &[GROUP]));
        let advert = packet([10, 9, 0, 1], GROUP.octets(), b"advert");
        near.ports.send(E0, GROUP, &advert).expect("send");
        near.ports.send(E0, GROUP, &advert).expect("send");
        far.hear();
        let mut events = Events::with_capacity(4);
        far.poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
        far.ports.rearm(E0, far.poll.registry()).expect("rearm");
        far.poll.poll(&mut events, Some(PATIENCE)).expect("poll");
        assert!(!events.is_empty(), "the second packet is announced");
        far.hear();
        assert!(far.nothing_waits());
    });
}

// ---- announcements ----

#[test]
fn announcements_arrive_byte_for_byte() {
    joined(|lab| {
        let watch = up();
        let everything = i32::from(0x0003u16.to_be());
        let tap = lab.there(|| {
            Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(everything)))
                .expect("packet socket")
        });
        tap.set_read_timeout(Some(PATIENCE)).expect("timeout");

        let ips = [Ipv4Addr::new(10, 9, 0, 71), Ipv4Addr::new(10, 9, 0, 70)];
        let mut addresses: Vec<_> = ips.iter().map(|ip| (E0, *ip)).collect();
        // An interface that does not exist is left out.
        addresses.insert(1, (LinkId(5), Ipv4Addr::new(10, 9, 0, 99)));
        let mut announcer = Announcer::open().expect("packet socket");
        announcer.announce(InstanceId(0), &addresses, 2, Duration::ZERO);
        assert_eq!(announcer.work(Time::ZERO, &watch.links), None);

        let mac = watch.links.mac(E0).expect("hardware address");
        let expected: Vec<_> =
            ips.iter().chain(&ips).map(|ip| Garp { mac, ip: *ip }.emit().to_vec()).collect();
        let mut heard = Vec::new();
        while heard.len() < expected.len() {
            let frame = receive(&tap);
            if frame.get(12..14) == Some(&[0x08, 0x06]) {
                heard.push(frame);
            }
        }
        assert_eq!(heard, expected);
    });
}

fn receive(mut socket: &Socket) -> Vec<u8> {
    use std::io::Read;
    let mut buffer = [0; 2048];
    let length = socket.read(&mut buffer).expect("in vain waited for a frame");
    buffer[..length].to_vec()
}
