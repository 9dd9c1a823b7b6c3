//! What the core makes of interfaces with a virtual MAC address.

use std::net::IpAddr;
use std::time::Duration;

use glha::core::event::{Action, Event, LinkState};
use glha::core::spec::{Address, InstanceId, InstanceSpec, LinkId, Spec};
use glha::core::{Core, Phase, Time};
use glha::sim::node_spec;

const BASE: LinkId = LinkId(0);
const OWN: LinkId = LinkId(1);
const OTHER: LinkId = LinkId(2);

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn address(last: u8, link: LinkId) -> Address {
    Address { ip: ip(last), prefix_len: 24, link, no_track: false }
}

/// A node with a VMAC `OWN` on `BASE`.
fn spec(change: impl FnOnce(&mut InstanceSpec)) -> Spec {
    let mut spec = node_spec(100, Duration::from_secs(1));
    spec.links = ["eth0", "vrrp.51", "eth1"].map(str::to_owned).to_vec();
    let instance = &mut spec.instances[InstanceId(0)];
    instance.vmacs = vec![OWN];
    instance.xmit = Some(OWN);
    instance.addresses = vec![address(70, OWN)];
    change(instance);
    spec
}

struct Node {
    core: Core,
    now: Time,
}

impl Node {
    fn new(spec: Spec) -> Self {
        let now = Time::from_millis(1000);
        let mut node = Self { core: Core::new(spec, Duration::ZERO, vec![], now), now };
        node.link(BASE, true, &[1]);
        node.link(OTHER, true, &[]);
        node
    }

    fn link(&mut self, link: LinkId, up: bool, lasts: &[u8]) {
        let addresses = lasts.iter().map(|last| (ip(*last), 24)).collect();
        let state = LinkState { present: up, up, addresses };
        self.core.handle(Event::Link { link, state }, self.now);
    }

    /// Lets time pass; what is done then.
    fn pass(&mut self, span: Duration) -> Vec<(Time, Action)> {
        let end = self.now + span;
        let mut done = Vec::new();
        while let Some(at) = self.core.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle(Event::Tick, self.now);
            done.extend(self.core.take_actions().into_iter().map(|action| (self.now, action)));
        }
        self.now = end;
        done
    }

    fn phase(&self) -> &Phase {
        &self.core.instances().as_slice()[0].phase
    }
}

#[test]
fn without_its_own_interface_it_is_in_fault() {
    let mut node = Node::new(spec(|_| {}));
    assert!(matches!(node.phase(), Phase::Init), "nothing is known of it yet");
    node.link(OWN, true, &[]);
    assert!(matches!(node.phase(), Phase::Backup { .. }));
    node.pass(Duration::from_secs(5));
    assert!(matches!(node.phase(), Phase::Master { .. }));
    let source = node.core.instances().as_slice()[0].source;
    assert_eq!(source, Some(ip(1)), "adverts have an address of the interface below");
    drop(node.core.take_actions());
    node.link(OWN, false, &[]);
    assert!(matches!(node.phase(), Phase::Fault));
    let sent = node.core.take_actions();
    assert!(!sent.iter().any(|action| matches!(action, Action::Send { .. })), "{sent:?}");
    node.link(OWN, true, &[]);
    assert!(matches!(node.phase(), Phase::Backup { .. }));
}

#[test]
fn it_does_not_matter_where_the_interface_itself_does_not() {
    let mut node = Node::new(spec(|instance| instance.dont_track_primary = true));
    node.link(OWN, true, &[]);
    node.link(OWN, false, &[]);
    assert!(matches!(node.phase(), Phase::Backup { .. }));
}

#[test]
fn one_address_per_interface_that_adverts_do_not_keep_known() {
    let Spec { mut instances, .. } = spec(|instance| {
        instance.addresses = vec![address(1, OWN), address(2, OWN)];
        instance.excluded = vec![address(3, OTHER), address(4, OTHER), address(5, BASE)];
    });
    let spec = &mut instances[InstanceId(0)];
    assert_eq!(spec.extra_addresses(), []);
    spec.garp.extra_all = true;
    assert_eq!(spec.extra_addresses(), [(OTHER, ip(3)), (BASE, ip(5))]);
    spec.xmit = None;
    assert_eq!(spec.extra_addresses(), [(OWN, ip(1)), (OTHER, ip(3))]);
    spec.garp.extra_all = false;
    assert_eq!(spec.extra_addresses(), [(OWN, ip(1))]);
}

#[test]
fn they_are_announced_while_master_in_their_period() {
    let mut node = Node::new(spec(|instance| {
        instance.xmit = None;
        instance.garp.extra = Duration::from_secs(7);
    }));
    node.link(OWN, true, &[]);
    let extras = |done: Vec<(Time, Action)>| {
        let is_extra = |(_, action): &(Time, Action)| match action {
            Action::AnnounceSome { addresses, .. } => *addresses == [(OWN, ip(70))],
            _ => false,
        };
        done.iter().filter(|one| is_extra(one)).count()
    };
    let done = node.pass(Duration::from_secs(4 + 22));
    assert!(matches!(node.phase(), Phase::Master { .. }));
    assert_eq!(extras(done), 3);
    node.link(OWN, true, &[70]);
    node.link(BASE, false, &[]);
    assert_eq!(extras(node.pass(Duration::from_secs(30))), 0);
}

/// Its interface may be another's now: what is left to say goes out of the one below.
#[test]
fn what_a_reload_removes_does_not_use_it_any_more() {
    let mut node = Node::new(spec(|_| {}));
    node.link(OWN, true, &[]);
    node.pass(Duration::from_secs(5));
    drop(node.core.take_actions());
    let mut new = spec(|instance| {
        instance.name = "other".to_owned();
        instance.vrid = 52;
    });
    // Another router: the configuration calls it otherwise.
    new.instances = new.instances.into_iter().map(|(_, spec)| (InstanceId(1), spec)).collect();
    node.core.reload(new, node.now);
    let leaving = &node.core.instances().as_slice()[1].spec;
    assert_eq!((leaving.xmit, leaving.vmacs.as_slice()), (None, &[][..]));
    assert_eq!(leaving.link, BASE);
}
