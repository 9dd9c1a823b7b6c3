//! One life of two nodes with every kind of virtual router at once, each judged by itself: versions,
//! families, groups and single peers, intervals down to a hundredth of a second.

use super::lab::{Daemon, Frame, Host, Lab, Plan, Sent, Subject, seconds, with_every_pair};
use super::{Subject::Glha, TAKEOVER};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::net::IpAddr;

with_every_pair! {
    every_kind_of_router
    time_to_live_of_peers
}

/// One kind of virtual router; its VRID is its place, counted from 1.
pub(super) struct Router {
    version: u8,
    hundredths: u16,
    is_ipv6: bool,
    is_unicast: bool,
    addresses: &'static [&'static str],
    excluded: &'static [&'static str],
    more: &'static str,
}

/// Version 3 to a group of IPv4.
const PLAIN: Router = Router {
    version: 3,
    hundredths: 100,
    is_ipv6: false,
    is_unicast: false,
    addresses: &["172.16.51.71"],
    excluded: &[],
    more: "",
};

pub(super) const ROUTERS: &[Router] = &[
    PLAIN,
    Router { hundredths: 10, addresses: &["172.16.51.72"], excluded: &["fd00:51::72"], ..PLAIN },
    Router { hundredths: 1, addresses: &["172.16.51.73"], ..PLAIN },
    Router {
        hundredths: 10,
        is_ipv6: true,
        addresses: &["fe80::51:74", "fd00:51::74"],
        excluded: &["172.16.51.74"],
        ..PLAIN
    },
    Router { version: 2, is_unicast: true, addresses: &["172.16.51.75"], ..PLAIN },
    Router { hundredths: 10, is_unicast: true, addresses: &["172.16.51.76"], ..PLAIN },
    Router {
        hundredths: 10,
        is_ipv6: true,
        is_unicast: true,
        addresses: &["fe80::51:77", "fd00:51::77"],
        ..PLAIN
    },
    Router {
        version: 2,
        addresses: &["172.16.51.78", "172.16.51.79"],
        more: "authentication {\n auth_type PASS\n auth_pass secret\n }",
        ..PLAIN
    },
    Router {
        hundredths: 10,
        is_unicast: true,
        addresses: &["172.16.51.80"],
        more: "unicast_ttl 64",
        ..PLAIN
    },
];

/// A node of these tests: its name, its own addresses, and the one that it gives itself.
struct Node(&'static str, &'static str, &'static str, &'static str);

const NODES: [Node; 2] = [
    Node("a", "172.16.51.11", "fd00:51::11", "fe80::51:ff:fe00:a"),
    Node("b", "172.16.51.12", "fd00:51::12", "fe80::51:ff:fe00:b"),
];

impl Router {
    /// Its block in the configuration of node `me`.
    fn block(&self, vrid: usize, priority: u8, me: usize) -> String {
        let own = |n: &Node| if self.is_ipv6 { n.2 } else { n.1 };
        let mut block = format!(
            "vrrp_instance R{vrid} {{
    version {}
    interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int {}
    {}
",
            self.version,
            f64::from(self.hundredths) / 100.0,
            self.more
        );
        if self.is_unicast {
            let _ = writeln!(block, "    unicast_src_ip {}", own(&NODES[me]));
            let _ = writeln!(block, "    unicast_peer {{\n{}\n    }}", own(&NODES[1 - me]));
        }
        let list = |addresses: &[&str]| addresses.join("\n");
        let _ = writeln!(block, "virtual_ipaddress {{\n{}\n}}", list(self.addresses));
        if !self.excluded.is_empty() {
            let _ = writeln!(block, "virtual_ipaddress_excluded {{\n{}\n}}", list(self.excluded));
        }
        block + "}\n"
    }

    pub(super) fn all_addresses(&self) -> impl Iterator<Item = &'static str> {
        self.addresses.iter().chain(self.excluded).copied()
    }

    /// Is this advert of it as the protocol has it, whoever sent it?
    pub(super) fn is_right(&self, sent: &Sent, from: &str) -> Result<(), &'static str> {
        let right = |is_right: bool, what| if is_right { Ok(()) } else { Err(what) };
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (n, node) = NODES.iter().enumerate().find(|(_, n)| n.0 == from).ok_or("sender")?;
        let other = &NODES[1 - n];
        right(sent.version == self.version, "version")?;
        right(sent.hundredths == self.hundredths, "interval")?;
        let addresses: Vec<_> = self.addresses.iter().map(|a| ip(a)).collect();
        right(sent.addresses == addresses, "addresses")?;
        let to = match (self.is_unicast, self.is_ipv6) {
            (true, true) => other.2,
            (true, false) => other.1,
            (false, true) => "ff02::12",
            (false, false) => "224.0.0.18",
        };
        right(sent.destination == ip(to), "destination")?;
        let source = match (self.is_unicast, self.is_ipv6) {
            (true, true) => node.2,
            (false, true) => node.3,
            (_, false) => node.1,
        };
        right(sent.source == ip(source), "source")?;
        // Unicast over IPv6 goes out with the kernel's hop limit.
        let ttl = match self {
            Self { more: "unicast_ttl 64", .. } => 64,
            Self { is_unicast: true, is_ipv6: true, .. } => 64,
            _ => 255,
        };
        right(sent.ttl == ttl, "time to live")?;
        let rest: &[u8] = match self {
            Self { version: 3, .. } => b"",
            Self { more: "", .. } => &[0; 8],
            _ => b"secret\0\0",
        };
        right(sent.rest == rest, "password")
    }
}

/// Both nodes with all routers, and IPv6.
fn lab() -> Lab {
    let lab = Lab::new(&Plan {
        hosts: NODES.iter().map(|n| (n.0, n.1)).collect(),
        disk: None,
        glha: Glha.path(),
    });
    lab.hosts.iter().zip(&NODES).for_each(|(host, node)| host.enable_ipv6(node.2));
    lab
}

pub(super) fn start(subject: Subject, host: &Host, me: usize, priority: u8) -> Daemon {
    let blocks = ROUTERS.iter().enumerate().map(|(n, router)| router.block(n + 1, priority, me));
    // The second burst of announcements comes so soon that the test sees it.
    let head = "global_defs {\n vrrp_garp_master_delay 1\n}\n";
    subject.start(host, &(head.to_owned() + &blocks.collect::<String>()))
}

/// Waits until this host alone has every address.
fn has_all(lab: &Lab, name: &str) {
    let has = |address| lab.owners(address) == [name];
    lab.wait_for(&format!("{name} alone has all addresses"), seconds(TAKEOVER), || {
        ROUTERS.iter().flat_map(Router::all_addresses).all(has)
    });
}

/// The adverts of a host for each router, by place.
fn adverts(frames: &[Frame], from: &str) -> Vec<Vec<Sent>> {
    let sent: Vec<_> = frames.iter().filter(|f| f.from == from).filter_map(Frame::sent).collect();
    let of = |vrid| sent.iter().filter(|s| usize::from(s.vrid) == vrid).cloned().collect();
    (1..=ROUTERS.len()).map(of).collect()
}

mod scenario {
    use super::*;

    /// Start, handover at a stop, preemption, and takeover when the power fails, of all routers.
    pub fn every_kind_of_router(a: Subject, b: Subject) {
        let lab = lab();
        let mut first = start(a, &lab.hosts[0], 0, 254);
        let _b = start(b, &lab.hosts[1], 1, 250);
        has_all(&lab, "a");

        first.signal(Signal::SIGTERM);
        has_all(&lab, "b");
        first.wait(seconds(TAKEOVER));
        for (router, sent) in ROUTERS.iter().zip(adverts(&lab.frames(), "a")) {
            let zeros = sent.iter().filter(|s| s.priority == 0).count();
            let last = sent.last().map(|s| (s.vrid, s.priority));
            // At a hundredth of a second a busy machine may have made it backup a moment before.
            let was_master = router.hundredths > 1 || zeros > 0;
            let is_right = zeros == 1 && last.is_some_and(|(_, priority)| priority == 0);
            lab.check(&format!("one priority 0, the last: {last:?}"), is_right || !was_master);
        }

        let _a = start(a, &lab.hosts[0], 0, 254);
        has_all(&lab, "a");
        lab.power_off(0);
        has_all(&lab, "b");

        let frames = lab.frames();
        for name in ["a", "b"] {
            for (router, sent) in ROUTERS.iter().zip(adverts(&frames, name)) {
                lab.check(&format!("{name} was master of each"), !sent.is_empty());
                for sent in sent {
                    let verdict = router.is_right(&sent, name);
                    lab.check(&format!("{verdict:?} of {sent:?}"), verdict.is_ok());
                    lab.check("who yields says no priority 0", name == "a" || sent.priority == 250);
                }
            }
            announced(&lab, &frames, name);
        }
    }

    /// Adverts from too far away do not count: both become master. At the limit they do.
    pub fn time_to_live_of_peers(a: Subject, b: Subject) {
        let lab = lab();
        let file = |me: usize, priority| {
            let routers = [(1, "min_ttl 65"), (2, "min_ttl 64"), (3, "max_ttl 63")];
            let block = |(vrid, limits): (usize, &str)| {
                let vip = format!("172.16.51.{}", 90 + vrid);
                let peer = NODES[1 - me].1;
                format!(
                    "vrrp_instance R{vrid} {{
    version 3
    interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int 0.1
    unicast_ttl 64
    unicast_src_ip {}
    unicast_peer {{
        {peer} {limits}
    }}
    virtual_ipaddress {{
        {vip}
    }}
}}
",
                    NODES[me].1
                )
            };
            routers.map(block).concat()
        };
        let _a = a.start(&lab.hosts[0], &file(0, 200));
        let _b = b.start(&lab.hosts[1], &file(1, 100));
        let as_it_must = || {
            lab.owners("172.16.51.91") == ["a", "b"]
                && lab.owners("172.16.51.92") == ["a"]
                && lab.owners("172.16.51.93") == ["a", "b"]
        };
        lab.wait_for("two owners, one, two", seconds(TAKEOVER), as_it_must);
        lab.holds("and so it stays", seconds(1.0), as_it_must);
    }
}

/// Every address of every router was announced by whoever had it, five times and more.
fn announced(lab: &Lab, frames: &[Frame], name: &str) {
    let of_host = || frames.iter().filter(|f| f.from == name);
    for address in ROUTERS.iter().flat_map(Router::all_addresses) {
        let ip = address.parse::<IpAddr>().expect("an address");
        let times = match ip {
            IpAddr::V4(ip) => of_host().filter(|f| f.announces() == Some(ip)).count(),
            IpAddr::V6(ip) => of_host().filter(|f| f.tells() == Some(ip)).count(),
        };
        lab.check(&format!("{name} announced {address} {times} times"), times >= 5);
    }
}
