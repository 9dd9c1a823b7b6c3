//! Who claims the storage of a living holder, and when it gets it.

use super::*;

/// Cut off from A, which serves, B is refused by the disk, however often it tries. It is not punished
/// for that: when A gives back in order, in the midst of a wait or between two tries, B has the
/// storage soon.
#[test]
fn a_standby_that_a_living_holder_refuses_is_ready_when_the_disk_is() {
    for served in [3_u64, 10, 30, 61, 75, 200, 1000] {
        let mut world = held_by_a([gated(101, true), gated(100, true)], Guard::Mmp);
        world.wire.part(0, 1);
        let cut = world.now;
        world.run(seconds(served));
        assert_masters(&world, &[0]);
        let is_refused = world.when(1, "acquire exited with status 75", cut).is_some();
        assert_eq!(is_refused, served >= 10, "\n{}", world.story());
        assert!(
            world.when(1, "acquire exited with status 1", cut).is_none(),
            "\n{}",
            world.story()
        );
        let stopped = world.now;
        world.apply(Fault::Stop(0));
        world.run(seconds(20));
        let released = after(&world, 0, "release exited", stopped);
        let served_again = after(&world, 1, "Entering MASTER STATE", stopped);
        // The longest pause after a refusal, and a look at the disk.
        assert!(
            served_again <= released + seconds(13),
            "{served} s: {served_again:?}\n{}",
            world.story()
        );
    }
}

/// To VRRP version 3 each node has its own interval. A claim that is said seldom is heard all the same,
/// whoever counts faster: the better node gets the storage, once, and no claim goes on for ever.
#[test]
fn nodes_with_different_intervals_hand_over() {
    for intervals in [[500, 3000], [3000, 500], [1000, 3000], [100, 40_000], [40_000, 100]] {
        let node = |(priority, millis): (u8, u64)| {
            let mut spec = gated(priority, true);
            let instance = &mut spec.instances[InstanceId(0)];
            (instance.version, instance.auth) = (Version::V3, Auth::None);
            instance.advert_interval = Duration::from_millis(millis);
            instance.gate.iter_mut().for_each(|gate| gate.handover_wait = seconds(300));
            // A has no reason to move, B wants it.
            let wants = if priority == 100 { Preempt::Never } else { Preempt::Always };
            instance.preempt = wants;
            spec
        };
        let [first, second] = intervals;
        let mut world = World::new(vec![node((100, first)), node((101, second))]);
        world.apply(Fault::Stop(1));
        world.run(seconds(200));
        assert_masters(&world, &[0]);
        world.apply(Fault::Start(1));
        world.run(seconds(600));
        assert_masters(&world, &[1]);
        let late = world.now - seconds(100);
        assert_eq!(line_count(&world, "Acquiring", late), 0, "{intervals:?}\n{}", world.story());
    }
}

/// Who yields to a slower master waits at its pace, and so does who comes back from a fault: otherwise
/// it would be master again before the next advert (RFC 5798, 6.4).
#[test]
fn a_slower_master_is_waited_for_at_its_pace() {
    for millis in [[100, 1000], [500, 3000], [1000, 40_000], [3000, 500]] {
        let node = |priority: u8, millis: u64| {
            let mut spec = plain(priority);
            let instance = &mut spec.instances[InstanceId(0)];
            (instance.version, instance.auth) = (Version::V3, Auth::None);
            instance.advert_interval = Duration::from_millis(millis);
            spec
        };
        let [worse, better] = millis;
        let mut world = World::new(vec![node(100, worse), node(101, better)]);
        world.apply(Fault::Stop(1));
        world.run(seconds(30));
        assert_masters(&world, &[0]);
        world.apply(Fault::Start(1));
        world.run(seconds(300));
        assert_masters(&world, &[1]);
        let mut quiet_since = world.now;
        world.run(seconds(100));
        assert_eq!(line_count(&world, "Entering", quiet_since), 0, "{millis:?}\n{}", world.story());
        for is_in in [false, true] {
            world.apply(Fault::Cable(0, is_in));
            quiet_since = world.now;
            world.run(seconds(150));
        }
        assert_masters(&world, &[1]);
        let masters = line_count(&world, "Entering MASTER", quiet_since);
        assert_eq!(masters, 0, "{millis:?}\n{}", world.story());
    }
}
