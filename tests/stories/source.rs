//! Where adverts come from.

use std::net::IpAddr;

use glha::core::Core;
use glha::core::event::LinkState;
use glha::core::spec::{Address, LinkId};

use super::*;

const LINK: LinkId = LinkId(0);
const OWN: u8 = 1;

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// A node of several instances on one interface, by the priority and the virtual address of each.
struct Node {
    core: Core,
    now: Time,
}

impl Node {
    fn new(instances: &[(u8, u8)]) -> Self {
        let mut spec = plain(100);
        for (place, &(priority, last)) in instances.iter().enumerate() {
            let mut instance = spec.instances[InstanceId(0)].clone();
            (instance.name, instance.vrid) = (format!("VI_{place}"), 60 + place as u8);
            instance.priority = priority;
            instance.addresses =
                vec![Address { ip: ip(last), prefix_len: 24, link: LINK, no_track: false }];
            match place {
                0 => spec.instances[InstanceId(0)] = instance,
                _ => drop(spec.instances.push(instance)),
            }
        }
        let now = Time::from_millis(1000);
        Self { core: Core::new(spec, Duration::ZERO, vec![], now), now }
    }

    /// The interface has these addresses, and for so long that it is no moment.
    fn has(&mut self, lasts: &[u8]) {
        let addresses = lasts.iter().map(|last| (ip(*last), 24)).collect();
        let state = LinkState { present: true, up: true, addresses };
        self.core.handle(Event::Link { link: LINK, state }, self.now);
        let end = self.now + seconds(2);
        while let Some(at) = self.core.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle(Event::Tick, self.now);
        }
        self.now = end;
    }

    fn sources(&self) -> Vec<Option<IpAddr>> {
        self.core.instances().iter().map(|instance| instance.source).collect()
    }
}

/// The other node takes a virtual address over, and hears nothing that comes from its own address.
#[test]
fn no_advert_comes_from_a_virtual_address_of_another_instance() {
    let mut node = Node::new(&[(100, 71), (100, 72)]);
    node.has(&[OWN]);
    node.has(&[OWN, 71, 72]);
    assert_eq!(node.sources(), [Some(ip(OWN)); 2]);
    node.has(&[71, 72]);
    assert!(node.core.instances().iter().all(|i| matches!(i.phase, Phase::Fault)));
    node.has(&[71, 72, OWN]);
    assert_eq!(node.sources(), [Some(ip(OWN)); 2]);
}

/// Nor does it matter which of them is there first.
#[test]
fn a_virtual_address_that_is_there_at_the_start_is_no_source() {
    let mut node = Node::new(&[(100, 71), (100, 72)]);
    node.has(&[72, 71, OWN]);
    assert_eq!(node.sources(), [Some(ip(OWN)); 2]);
}

/// An owner has its virtual address as the host's own; others on the interface speak from it.
#[test]
fn the_address_of_an_owner_is_one_of_the_host() {
    let mut node = Node::new(&[(255, OWN), (100, 72)]);
    node.has(&[OWN]);
    assert_eq!(node.sources()[1], Some(ip(OWN)));
}
