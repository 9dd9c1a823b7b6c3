//! What the tests of the network side stand on: two hosts joined by a cable, each a network
//! namespace; the kernel's state to be waited for; ears at the far end.

// Not every test file needs everything.
#![allow(dead_code)]

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use glha::conf::{Span, VirtualAddress};
use glha::core::event::Received;
use glha::core::spec::LinkId;
use glha::shell::kernel::link::Links;
use glha::shell::sockets::net::{Ports, Want};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};

pub const E0: LinkId = LinkId(0);
/// How long anything awaited may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Two hosts joined by a cable: `e0` here, `e0` there.
pub struct Lab {
    here: File,
    there: File,
}

impl Lab {
    pub fn there<T>(&self, act: impl FnOnce() -> T) -> T {
        setns(&self.there, CloneFlags::CLONE_NEWNET).expect("enter the other namespace");
        let outcome = act();
        setns(&self.here, CloneFlags::CLONE_NEWNET).expect("come back from the other namespace");
        outcome
    }
}

/// Runs a test in a namespace of its own, on a thread of its own.
pub fn alone(test: impl FnOnce() + Send + 'static) {
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
pub fn joined(test: impl FnOnce(&Lab) + Send + 'static) {
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

pub fn new_namespace() -> File {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("these tests make network namespaces: run them as root (CAP_SYS_ADMIN)");
    File::open("/proc/thread-self/ns/net").expect("the new namespace")
}

pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status();
    assert!(status.expect("ip of iproute2 is needed").success(), "ip {arguments}");
}

/// An interface, down, whose cable ends in this namespace (few kernels lack veth, some lack dummy).
pub fn add_link(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}-far"));
    ip(&format!("link set {name}-far up"));
}

pub fn ip_batch(lines: &str) {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip of iproute2 is needed");
    child.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("write to ip");
    assert!(child.wait().expect("ip").success(), "ip -batch");
}

/// `ip -oneline address` of a family (`-4`, `-6`), without what differs from interface to interface.
pub fn ip_address_lines(family: &str) -> Vec<String> {
    let arguments = ["-details", "-oneline", family, "address", "show", "dev", "e0"];
    let output = Command::new("ip").args(arguments).output().expect("ip");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.split_once(": ").expect("index").1.to_owned()).collect()
}

/// Links in a loop of their own.
pub struct Watch {
    pub links: Links,
    pub poll: Poll,
}

impl Watch {
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let links = Links::open(&names).expect("open netlink");
        let poll = Poll::new().expect("epoll");
        let fd = links.fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).expect("epoll");
        Self { links, poll }
    }

    /// Reads all that waits; the interfaces that changed.
    pub fn read_all(&mut self) -> Vec<LinkId> {
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
    pub fn until(&mut self, what: &str, condition: impl Fn(&Links) -> bool) {
        let mut events = Events::with_capacity(4);
        self.read_all();
        while !condition(&self.links) {
            self.poll.poll(&mut events, Some(PATIENCE)).expect("poll");
            assert!(!events.is_empty(), "in vain waited for: {what}; {:?}", self.links.state(E0));
            self.read_all();
        }
    }

    pub fn until_up(&mut self) {
        self.until("e0 up", |links| links.state(E0).up);
    }
}

pub fn has(links: &Links, ip: &str, prefix_len: u8) -> bool {
    links.state(E0).addresses.contains(&(ip.parse().expect("address"), prefix_len))
}

pub fn addresses_of(links: &Links) -> Vec<String> {
    links.state(E0).addresses.iter().map(|(ip, len)| format!("{ip}/{len}")).collect()
}

pub fn virtual_address(ip: impl Into<IpAddr>, prefix_len: u8) -> VirtualAddress {
    let ip = ip.into();
    VirtualAddress {
        ip,
        prefix_len,
        interface: "e0".into(),
        base: None,
        use_vmac: false,
        broadcast: None,
        label: None,
        scope: 0,
        no_prefix_route: false,
        peer: None,
        flags: Default::default(),
        preferred_lft: None,
        text: format!("{ip}/{prefix_len}"),
        span: Span::default(),
    }
}

pub fn work_all(links: &mut Links) {
    while links.work() {}
    let outcomes = links.outcomes();
    assert!(outcomes.iter().all(|outcome| outcome.error.is_none()), "{outcomes:?}");
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A keepalived that is the owner of some addresses.
pub struct Keepalived {
    child: Child,
    folder: std::path::PathBuf,
}

impl Keepalived {
    pub fn start(addresses: &[&str]) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("glha-net-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for keepalived");
        let addresses: String = addresses.iter().map(|line| format!("    {line}\n")).collect();
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

/// Waits for packets at `e0`.
pub struct Ear {
    pub ports: Ports,
    pub poll: Poll,
    wanted: BTreeSet<Want>,
    heard: VecDeque<Received>,
}

impl Ear {
    /// Hears what arrives for these addresses.
    pub fn new(links: &Links, addresses: &[&str]) -> Self {
        let poll = Poll::new().expect("epoll");
        let (wanted, heard) = (BTreeSet::new(), VecDeque::new());
        let mut ear = Self { ports: Ports::new(Token(100)), poll, wanted, heard };
        ear.sync(links, addresses);
        ear
    }

    pub fn sync(&mut self, links: &Links, addresses: &[&str]) {
        self.wanted = addresses.iter().map(|address| want(address)).collect();
        let failures = self.ports.sync(links, &self.wanted, self.poll.registry());
        assert!(failures.is_empty(), "{failures:?}");
    }

    pub fn hear(&mut self) -> Received {
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(received) = self.next() {
                return received;
            }
            self.poll.poll(&mut events, Some(PATIENCE)).expect("poll");
            let token = events.iter().next().expect("in vain waited for a packet").token();
            assert_eq!(self.ports.want(token).map(|(link, ..)| link), Some(E0));
        }
    }

    /// A call may bring several; those behind the first are kept for the next.
    fn next(&mut self) -> Option<Received> {
        let Self { ports, wanted, heard, .. } = self;
        for want in wanted.iter() {
            let mut is_last = false;
            while heard.is_empty() && !is_last {
                let batch = ports.receive(*want, |packet| heard.push_back(packet));
                is_last = batch.expect("receive").is_last;
            }
        }
        heard.pop_front()
    }

    /// The next packet, from its IPv4 header on.
    pub fn hear_v4(&mut self) -> Vec<u8> {
        match self.hear() {
            Received::V4(packet) => packet,
            other => panic!("not IPv4: {other:?}"),
        }
    }

    pub fn nothing_waits(&mut self) -> bool {
        self.next().is_none()
    }

    /// Sends an advert out of `e0`.
    pub fn send(&self, source: &str, to: &str, bytes: &[u8]) -> io::Result<()> {
        self.ports.send(E0, (address(source), address(to)), None, bytes)
    }
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// What arrives at `e0` for this address.
pub fn want(text: &str) -> Want {
    (E0, address(text), glha::wire::vrrp::PROTOCOL)
}

/// An IPv4 packet of protocol 112 as the core would hand it over.
pub fn packet(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let octets = |text: &str| text.parse::<Ipv4Addr>().expect("address").octets();
    let mut bytes = vec![0x45, 0xc0, 0, 0, 0, 1, 0, 0, 255, 112, 0, 0];
    bytes.extend(octets(from));
    bytes.extend(octets(to));
    bytes.extend(payload);
    bytes
}

pub fn up() -> Watch {
    let mut watch = Watch::new(&["e0"]);
    watch.until_up();
    watch
}

/// Sees every frame that arrives in this namespace.
pub fn tap() -> Socket {
    let everything = i32::from(0x0003u16.to_be());
    let tap = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(everything)))
        .expect("packet socket");
    tap.set_read_timeout(Some(PATIENCE)).expect("timeout");
    tap
}

/// The next frames that are of interest.
pub fn frames(tap: &Socket, count: usize, is_meant: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let all = std::iter::repeat_with(|| receive(tap));
    all.filter(|frame| is_meant(frame)).take(count).collect()
}

pub fn receive(mut socket: &Socket) -> Vec<u8> {
    use std::io::Read;
    let mut buffer = [0; 2048];
    let length = socket.read(&mut buffer).expect("in vain waited for a frame");
    buffer[..length].to_vec()
}
