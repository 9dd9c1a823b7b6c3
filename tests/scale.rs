//! A thousand virtual routers in one daemon: a reload that changes none of them is not seen by
//! anybody, one that changes ten is seen of those ten only. keepalived is put to the same test.
//!
//! Runs alone: beside other labs a small machine is too slow for a thousand of them.

mod lab;

use lab::{Daemon, Frame, Host, Lab, Sent, Subject, seconds};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

/// A thousand daemons' worth of work on a busy machine.
const PATIENCE: f64 = 15.0;
/// Virtual routers of each interface and family.
const VRIDS: u8 = 250;
/// The interfaces: the port at the switch, and a part of their addresses.
const LINKS: [(&str, &str, u8); 2] = [("eth0", "a", 51), ("eth1", "eth1", 52)];
const CONF: &str = "/etc/keepalived/keepalived.conf";
/// Every so-manieth router has a notify script.
const NOTIFY_EVERY: u8 = 5;

/// A virtual router: the place of its interface, its family and its VRID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Router {
    link: usize,
    is_ipv6: bool,
    vrid: u8,
}

impl Router {
    fn all() -> Vec<Self> {
        let of = |vrid, link, is_ipv6| Self { link, is_ipv6, vrid };
        let families = [(0, false), (0, true), (1, false), (1, true)];
        let all = families.iter().flat_map(|&(l, v6)| (1..=VRIDS).map(move |n| of(n, l, v6)));
        all.collect()
    }

    fn name(self) -> String {
        let family = if self.is_ipv6 { "V6" } else { "V4" };
        format!("{family}_{}_{}", LINKS[self.link].0, self.vrid)
    }

    /// Its address; another one after a change.
    fn address(self, is_changed: bool) -> IpAddr {
        let (link, change) = (LINKS[self.link].2, u8::from(is_changed));
        if self.is_ipv6 {
            let [link, change, vrid] = [link, change, self.vrid].map(u16::from);
            return Ipv6Addr::from([0xfe80, 0, 0, 0, 0, link, 0x100 + change, vrid]).into();
        }
        Ipv4Addr::from([10, link, change, self.vrid]).into()
    }

    /// An owner: it is master as soon as it is there.
    fn block(self, is_changed: bool) -> String {
        let script = format!("notify \"/etc/keepalived/notify {}\"", self.name());
        format!(
            "vrrp_instance {} {{
    state MASTER
    version 3
    interface {}
    virtual_router_id {}
    priority 255
    advert_int 1
    {}
    virtual_ipaddress {{
        {}
    }}
}}
",
            self.name(),
            LINKS[self.link].0,
            self.vrid,
            if self.vrid.is_multiple_of(NOTIFY_EVERY) { &script } else { "" },
            self.address(is_changed),
        )
    }

    /// Of whom an advert is.
    fn of(frame: &Frame, sent: &Sent) -> Option<Self> {
        let link = LINKS.iter().position(|(_, port, _)| *port == frame.from)?;
        Some(Self { link, is_ipv6: sent.source.is_ipv6(), vrid: sent.vrid })
    }
}

/// The whole configuration: these routers, some of them changed.
fn conf(routers: &[Router], changed: &[Router]) -> String {
    let mut text = "global_defs {
    script_user root
    vrrp_garp_master_delay 4
    vrrp_garp_master_repeat 1
}
"
    .to_owned();
    for router in routers {
        let _ = write!(text, "{}", router.block(changed.contains(router)));
    }
    text
}

/// The host, its daemon, and what is known of them.
struct World {
    lab: Lab,
    daemon: Daemon,
}

impl World {
    fn start(subject: Subject) -> Self {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        lab.add_link(0, LINKS[1].0, "172.16.52.11/24");
        host.enable_ipv6("fd00:51::11");
        host.write_script("/etc/keepalived/notify", "#!/bin/sh\necho \"$1 $4\" >>/run/told\n");
        let daemon = subject.start(host, &conf(&Router::all(), &[]));
        Self { lab, daemon }
    }

    fn host(&self) -> &Host {
        &self.lab.hosts[0]
    }

    /// When each router sent its adverts, and with which priority; only those since then.
    fn adverts(&self, since: SystemTime) -> BTreeMap<Router, Vec<(SystemTime, u8)>> {
        let mut adverts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for frame in self.lab.frames().iter().filter(|f| f.at >= since) {
            let Some(sent) = frame.sent() else { continue };
            if let Some(router) = Router::of(frame, &sent) {
                adverts.entry(router).or_default().push((frame.at, sent.priority));
            }
        }
        adverts
    }

    /// Waits until each of these has sent so many adverts since then.
    fn wait_for_adverts(&self, routers: &[Router], since: SystemTime, count: usize) {
        let what = format!("{count} adverts of each of {} routers", routers.len());
        self.lab.wait_for(&what, seconds(PATIENCE), || {
            let adverts = self.adverts(since);
            routers.iter().all(|router| adverts.get(router).is_some_and(|a| a.len() >= count))
        });
    }

    /// The addresses announced since then.
    fn announced(&self, since: SystemTime) -> Vec<IpAddr> {
        let frames = self.lab.frames();
        let new = frames.iter().filter(|f| f.at >= since);
        let of = |f: &Frame| f.announces().map(IpAddr::V4).or(f.tells().map(IpAddr::V6));
        new.filter_map(of).collect()
    }

    /// Whose notify scripts have run, how often.
    fn told(&self) -> Vec<String> {
        self.host().read("/run/told").lines().map(str::to_owned).collect()
    }

    /// Reloads this configuration, and waits until these routers have sent two more adverts.
    fn reload(&self, text: &str, routers: &[Router]) -> SystemTime {
        self.host().write(CONF, text);
        let since = SystemTime::now();
        self.daemon.signal(Signal::SIGHUP);
        self.wait_for_adverts(routers, since, 2);
        since
    }

    /// None of these has ever been late by more than an interval, nor said priority 0.
    fn on_time(&self, routers: &[Router]) {
        let adverts = self.adverts(SystemTime::UNIX_EPOCH);
        for router in routers {
            for pair in adverts[router].windows(2) {
                let gap = pair[1].0.duration_since(pair[0].0).unwrap_or_default();
                let text = format!("{router:?}: {} s after the one before", gap.as_secs_f64());
                self.lab.check(&text, gap <= seconds(2.0));
            }
            let is_master = adverts[router].iter().all(|(_, priority)| *priority == 255);
            self.lab.check(&format!("{router:?} is master throughout"), is_master);
        }
    }
}

fn reloads(subject: Subject) {
    let world = World::start(subject);
    let routers = Router::all();
    let with_script = routers.iter().filter(|r| r.vrid.is_multiple_of(NOTIFY_EVERY)).count();
    world.wait_for_adverts(&routers, SystemTime::UNIX_EPOCH, 1);
    world.lab.wait_for("both announcements of each address", seconds(PATIENCE), || {
        world.announced(SystemTime::UNIX_EPOCH).len() >= 2 * routers.len()
    });
    world.lab.wait_for("the notify scripts", seconds(PATIENCE), || {
        world.told().iter().filter(|line| line.contains("MASTER")).count() == with_script
    });
    let entered = |d: &Daemon| d.log().matches("Entering MASTER STATE").count();
    let (told, log) = (world.told(), entered(&world.daemon));

    let since = world.reload(&conf(&routers, &[]), &routers);
    world.on_time(&routers);
    assert!(world.announced(since).is_empty(), "announced by the first reload");
    assert_eq!(world.told(), told, "scripts run by the first reload");
    assert_eq!(entered(&world.daemon), log, "transitions of the first reload");

    // Five get another address, five go, five come.
    let (changed, kept) = routers.split_at(5);
    let (gone, kept) = kept.split_at(5);
    let fresh: Vec<_> = gone.iter().map(|r| Router { vrid: r.vrid + (VRIDS - 5), ..*r }).collect();
    let now: Vec<_> = changed.iter().chain(kept).chain(&fresh).copied().collect();
    let since = world.reload(&conf(&now, changed), &now);
    world.on_time(&[changed, kept].concat());
    for router in gone {
        let all = world.adverts(SystemTime::UNIX_EPOCH);
        let zeros = all[router].iter().filter(|(_, priority)| *priority == 0).count();
        assert_eq!(zeros, 1, "{router:?} leaves");
    }
    let of_changed = changed.iter().map(|r| r.address(true));
    let expected: BTreeSet<_> = of_changed.chain(fresh.iter().map(|r| r.address(false))).collect();
    let announced = || world.announced(since).into_iter().collect::<BTreeSet<_>>();
    world.lab.wait_for("what is new is announced", seconds(PATIENCE), || {
        announced().is_superset(&expected)
    });
    assert_eq!(announced(), expected, "announced by the second reload");
    let names: Vec<_> = gone.iter().chain(&fresh).map(|r| r.name()).collect();
    let later = world.told();
    let is_meant = |line: &String| names.iter().any(|n| line.split(' ').next() == Some(n));
    world
        .lab
        .check(&format!("{:?}", &later[told.len()..]), later[told.len()..].iter().all(is_meant));
    for router in changed {
        let owns = |is_changed| world.host().has_address(&router.address(is_changed).to_string());
        world.lab.check(&format!("{router:?} has its new address"), owns(true) && !owns(false));
    }
    assert_eq!(entered(&world.daemon), log + fresh.len(), "transitions of the second reload");
}

#[test]
fn reloads_of_keepalived() {
    reloads(Subject::Keepalived);
}

#[test]
fn reloads_of_glha() {
    reloads(Subject::Glha);
}

/// A notify script runs whatever the number of addresses: they don't fit into a variable, but stand
/// in the JSON object.
fn ten_thousand_addresses(subject: Subject) {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let script = "#!/bin/sh\necho \"$3 ${GLHA_ADDRESSES-unset} $(wc -c)\" >>/run/told\n";
    host.write_script("/etc/keepalived/notify", script);
    let address = |n: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 100, 100, 0)) + n);
    let excluded: String = (0..10_000).map(|n| format!("{}\n", address(n))).collect();
    let more =
        format!("notify /etc/keepalived/notify\n virtual_ipaddress_excluded {{\n{excluded}\n}}");
    let _daemon = subject.start(host, &lab::conf(100, &more));
    lab.wait_for("the notify script", seconds(PATIENCE), || !host.read("/run/told").is_empty());
    let told = host.read("/run/told");
    let words: Vec<_> = told.split_whitespace().collect();
    assert_eq!(words[..2], ["BACKUP", "unset"]);
    let json_bytes: usize = words[2].parse().expect("a number");
    let is_told = json_bytes > 10_000 * "10.100.100.0/32".len();
    lab.check(&format!("{json_bytes} bytes of JSON"), is_told == (subject == Subject::Glha));
}

#[test]
fn ten_thousand_addresses_of_keepalived() {
    ten_thousand_addresses(Subject::Keepalived);
}

#[test]
fn ten_thousand_addresses_of_glha() {
    ten_thousand_addresses(Subject::Glha);
}
