//! Sync groups with storage: what their members prove, and what they prefer.

use super::*;

/// On one segment A goes before B, on the other B before C and C before A: whoever claims hears a better
/// claim on one of them. They must not back off from each other for ever.
#[test]
fn groups_whose_members_prefer_different_orders_settle() {
    let orders: [&[(u8, u8)]; 6] = [
        &[(110, 130), (110, 130), (110, 110)],
        &[(100, 100), (100, 100), (100, 99)],
        &[(101, 100), (100, 101)],
        &[(103, 101), (102, 103), (101, 102)],
        &[(110, 130), (110, 130), (110, 110), (110, 120)],
        &[(100, 104), (100, 103), (100, 102), (100, 101), (100, 100)],
    ];
    for order in orders {
        let node = |&(first, second): &(u8, u8)| {
            let mut spec = gated_group(first, true);
            spec.instances[InstanceId(1)].priority = second;
            for instance in spec.instances.iter_mut() {
                instance.gate.iter_mut().for_each(|gate| gate.is_pair = order.len() == 2);
            }
            spec
        };
        let mut world = World::new(order.iter().map(node).collect());
        world.run(seconds(120));
        assert_eq!(world.masters().len(), 1, "{order:?}\n{}", world.story());
        let claims = line_count(&world, "Acquiring the storage", world.now - seconds(60));
        assert_eq!(claims, 0, "{order:?}\n{}", world.story());
    }
}

#[test]
fn a_silent_leader_of_a_group_is_no_proof() {
    let mut world =
        World::with_guard(vec![gated_group(101, true), gated_group(100, true)], Guard::None);
    world.run(seconds(2));
    world.apply(Fault::Person(0));
    world.run(seconds(15));
    assert_masters(&world, &[0]);
    // Now it is the leader that cannot speak; the other member's priority 0 alone proves nothing.
    world.apply(Fault::Cable(0, false));
    world.run(seconds(60));
    assert_masters(&world, &[]);
}
