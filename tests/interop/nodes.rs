//! More than two nodes, and two with equal rights, at an interval of a tenth of a second.

use super::lab::{Lab, Plan, Subject, seconds, with_every_pair};
use super::{Subject::Glha, TAKEOVER};
use nix::sys::signal::Signal;

with_every_pair! {
    the_third_node
    equal_priorities_in_version_3
}

/// The routers of these tests: one whose better node comes back as master, one whose does not.
const PREEMPT: &str = "172.16.51.71";
const NOPREEMPT: &str = "172.16.51.72";
/// The one of IPv6.
const IPV6: &str = "fe80::51:73";

fn router(vrid: u8, priority: u8, address: &str, more: &str) -> String {
    format!(
        "vrrp_instance R{vrid} {{
    version 3
    interface eth0
    virtual_router_id {vrid}
    priority {priority}
    advert_int 0.1
    {more}
    virtual_ipaddress {{
        {address}
    }}
}}
"
    )
}

fn three_routers(priority: u8) -> String {
    router(1, priority, PREEMPT, "")
        + &router(2, priority, NOPREEMPT, "nopreempt")
        + &router(3, priority, IPV6, "")
}

fn lab(hosts: &[(&'static str, &'static str)]) -> Lab {
    let lab = Lab::new(&Plan { hosts: hosts.to_vec(), disk: None, glha: Glha.path() });
    let own = |n: usize| format!("fd00:51::1{}", n + 1);
    lab.hosts.iter().enumerate().for_each(|(n, host)| host.enable_ipv6(&own(n)));
    lab
}

mod scenario {
    use super::*;

    /// The second takes over from the first, the third from the second; when the second returns it
    /// takes back what it may.
    pub fn the_third_node(a: Subject, b: Subject) {
        let lab = lab(&[("a", "172.16.51.11"), ("b", "172.16.51.12"), ("c", "172.16.51.13")]);
        let owners = |wanted: [&str; 3]| {
            let is_so = || [PREEMPT, IPV6, NOPREEMPT].map(|a| lab.owners(a)) == wanted.map(|w| [w]);
            lab.wait_for(&format!("the owners {wanted:?}"), seconds(TAKEOVER), is_so);
            lab.holds(&format!("{wanted:?} stay"), seconds(0.7), is_so);
        };
        let _a = a.start(&lab.hosts[0], &three_routers(200));
        owners(["a"; 3]);
        let mut second = b.start(&lab.hosts[1], &three_routers(150));
        let _c = a.start(&lab.hosts[2], &three_routers(100));
        owners(["a"; 3]);
        lab.power_off(0);
        owners(["b"; 3]);
        second.signal(Signal::SIGTERM);
        owners(["c"; 3]);
        second.wait(seconds(TAKEOVER));
        let _b = b.start(&lab.hosts[1], &three_routers(150));
        owners(["b", "b", "c"]);
    }

    /// Two masters of the same priority meet: the higher address stays, of each family. And who
    /// comes later does not preempt with it.
    pub fn equal_priorities_in_version_3(a: Subject, b: Subject) {
        let lab = lab(&[("a", "172.16.51.11"), ("b", "172.16.51.12")]);
        let conf = router(1, 100, PREEMPT, "") + &router(3, 100, IPV6, "");
        let is = |owners: &[&str]| [PREEMPT, IPV6].iter().all(|a| lab.owners(a) == owners);
        let mut first = a.start(&lab.hosts[0], &conf);
        lab.wait_for("a is master", seconds(TAKEOVER), || is(&["a"]));
        let _b = b.start(&lab.hosts[1], &conf);
        lab.holds("b does not preempt", seconds(1.5), || is(&["a"]));
        lab.unplug(1);
        lab.wait_for("two masters apart", seconds(TAKEOVER), || is(&["a", "b"]));
        lab.plug(1);
        lab.wait_for("the higher address stays", seconds(TAKEOVER), || is(&["b"]));
        lab.holds("b stays master", seconds(0.7), || is(&["b"]));
        first.signal(Signal::SIGTERM);
        first.wait(seconds(TAKEOVER));
        let yields = lab.frames().iter().filter(|f| f.from == "a").filter_map(|f| f.sent()).count();
        lab.check("a had sent", yields > 0);
        let no_zero = |f: &super::super::lab::Frame| f.sent().is_none_or(|s| s.priority == 100);
        lab.check("who yields, and who stops as backup, says no priority 0", {
            lab.frames().iter().all(no_zero)
        });
    }
}
