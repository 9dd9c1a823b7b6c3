//! A node that does not know whether its storage is still its own.

use super::*;

/// A new master is frozen before the kernel has its addresses, B takes its storage. On thaw what was
/// under way stays undone, and what somebody takes off is not put back, while the probe asks; nobody
/// is told that it is master.
#[test]
fn addresses_under_way_are_not_put_on_lost_storage() {
    for freeze in [Fault::FreezeDaemon(0), Fault::FreezeHost(0)] {
        let specs = vec![gated(101, true), gated(100, true)];
        let mut world = with_hook(World::with_guard(specs, Guard::Pr), 0, Hook::succeeds(100));
        world.apply(Fault::Hook(0, MountAction::Probe, Hook::succeeds(2000)));
        world.apply(Fault::Kernel(0, seconds(1)));
        while world.when(0, "Entering MASTER STATE", Time::ZERO).is_none() {
            world.run(Duration::from_millis(100));
        }
        let (start, thaw) = match freeze {
            Fault::FreezeDaemon(_) => (world.now, Fault::ThawDaemon(0)),
            _ => (world.now, Fault::ThawHost(0)),
        };
        world.apply(freeze);
        world.run(seconds(20));
        assert!(world.when(1, "Entering MASTER", start).is_some(), "\n{}", world.story());
        world.apply(thaw);
        world.run(seconds(1));
        world.apply(Fault::TakeAddresses(0));
        world.run(seconds(20));
        assert_masters(&world, &[1]);
        assert!(world.when(0, "addresses up", start).is_none(), "\n{}", world.story());
        assert!(world.when(0, "notify MASTER", start).is_none(), "\n{}", world.story());
    }
}

/// Was it only a moment, and the storage is still its own, then what is missing is put, once it is
/// known.
#[test]
fn addresses_under_way_are_put_once_the_storage_is_known_to_be_held() {
    let specs = vec![gated(101, true)];
    let mut world = with_hook(World::new(specs), 0, Hook::succeeds(100));
    world.apply(Fault::Kernel(0, seconds(1)));
    while world.when(0, "Entering MASTER STATE", Time::ZERO).is_none() {
        world.run(Duration::from_millis(100));
    }
    world.apply(Fault::FreezeDaemon(0));
    world.run(seconds(20));
    let thaw = world.now;
    world.apply(Fault::ThawDaemon(0));
    world.run(seconds(10));
    assert_masters(&world, &[0]);
    let probed = world.when(0, "probe exited", thaw).expect("it asks");
    let put = world.when(0, "addresses up", thaw).expect("it serves");
    assert!(put >= probed, "\n{}", world.story());
    assert_eq!(line_count(&world, "notify MASTER", Time::ZERO), 1, "\n{}", world.story());
}
