//! What a person does to a sync group: resignations and holds are of the whole group, whichever
//! member was named.

use super::*;

/// The adverts of priority 0 that a node has sent since, of its first member and of its second.
fn zeros(world: &World, node: usize, since: Time) -> [usize; 2] {
    let count = |text| order(world, node, since, &[text]).len();
    [count("advert 0"), count("advert of member 2 0")]
}

const GROUP_STATES: &[&str] = &["notify the group"];

/// A pair of groups in which each node has heard the other one as master; the first is master.
fn acquainted(specs: Vec<Spec>) -> World {
    let mut world = settled(specs);
    assert_masters(&world, &[0]);
    world.tell(0, Event::Resign { instance: InstanceId(0), is_forced: true });
    world.run(seconds(20));
    assert_masters(&world, &[1]);
    world.tell(1, Event::Resign { instance: InstanceId(0), is_forced: false });
    world.run(seconds(20));
    assert_masters(&world, &[0]);
    world
}

#[test]
fn any_member_resigns_for_its_whole_group_and_every_one_says_so() {
    for member in [0, 1] {
        let mut world = acquainted(vec![plain_group(101), plain_group(100)]);
        let since = world.now;
        world.tell(0, Event::Resign { instance: InstanceId(member), is_forced: false });
        world.run(seconds(60));
        assert_masters(&world, &[1]);
        assert_eq!(world.nodes[0].addresses, [false, false]);
        assert_eq!(world.nodes[1].addresses, [true, true]);
        assert_eq!(zeros(&world, 0, since), [2, 2], "\n{}", world.story());
        assert!(after(&world, 1, "Entering MASTER", since) < seconds(1));
        assert_eq!(order(&world, 0, since, GROUP_STATES), ["notify the group BACKUP"]);
        // The other one is gone: it is master again, as a whole.
        let since = world.now;
        world.power_off(1);
        world.run(seconds(10));
        assert_masters(&world, &[0]);
        assert_eq!(world.nodes[0].addresses, [true, true]);
        assert_eq!(order(&world, 0, since, GROUP_STATES), ["notify the group MASTER"]);
    }
}

#[test]
fn a_group_with_storage_resigns_by_any_member_and_gives_the_storage_back_first() {
    for member in [0, 1] {
        let mut world = acquainted(vec![gated_group(101, true), gated_group(100, true)]);
        let since = world.now;
        world.nodes[0].mount.release = Hook::succeeds(2000);
        world.tell(0, Event::Resign { instance: InstanceId(member), is_forced: false });
        world.run(seconds(60));
        assert_masters(&world, &[1]);
        assert_eq!(world.nodes[0].addresses, [false, false]);
        assert_eq!(world.nodes[1].addresses, [true, true]);
        let did = order(&world, 0, since, &["release", "advert 0", "advert of member 2 0"]);
        assert_eq!(did[..2], ["release starts", "release exited with status 0"]);
        assert!(zeros(&world, 0, since).iter().all(|&count| count > 0), "\n{}", world.story());
        after(&world, 1, "Acquiring the storage, released", since);
    }
}

/// One member alone knows of another node: the group does not resign by halves.
#[test]
fn a_group_does_not_resign_where_one_of_it_may_not() {
    let mut world = World::new(vec![plain_group(101), plain_group(102)]);
    world.apply(Fault::CutSecond(1, 0));
    world.run(seconds(20));
    world.power_off(1);
    world.run(seconds(20));
    assert_masters(&world, &[0]);
    for member in [0, 1] {
        let since = world.now;
        world.tell(0, Event::Resign { instance: InstanceId(member), is_forced: false });
        world.run(seconds(10));
        assert_masters(&world, &[0]);
        assert_eq!(world.nodes[0].addresses, [true, true], "\n{}", world.story());
        assert_eq!(zeros(&world, 0, since), [0, 0]);
        after(&world, 0, "resign: refused", since);
    }
}

/// One member of a group that was made to resign has heard the new master, the other one has not.
#[test]
fn a_resigned_group_does_not_come_back_by_one_member() {
    for second in [false, true] {
        let mut world = settled(vec![plain_group(101), plain_group(100)]);
        assert_masters(&world, &[0]);
        world.apply(if second { Fault::CutSecond(1, 0) } else { Fault::Cut(1, 0) });
        world.tell(0, Event::Resign { instance: InstanceId(0), is_forced: true });
        world.run(seconds(20));
        world.power_off(1);
        let since = world.now;
        world.run(seconds(30));
        assert_eq!(world.nodes[0].addresses, [false, false], "\n{}", world.story());
        assert!(world.when(0, "Entering MASTER", since).is_none(), "\n{}", world.story());
        world.tell(0, Event::ResignCancelled { instance: InstanceId(1) });
        world.run(seconds(10));
        assert_masters(&world, &[0]);
        assert_eq!(world.nodes[0].addresses, [true, true]);
    }
}

#[test]
fn a_held_group_stays_what_it_is_whichever_member_was_named() {
    for (is_gated, member) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let group =
            |priority| if is_gated { gated_group(priority, true) } else { plain_group(priority) };
        // The backup does not take over.
        let mut world = settled(vec![group(101), group(100)]);
        assert_masters(&world, &[0]);
        let hold = |is_on| Event::Hold { instance: InstanceId(member), is_on };
        world.tell(1, hold(true));
        world.power_off(0);
        let since = world.now;
        world.run(seconds(30));
        assert_masters(&world, &[]);
        assert_eq!(world.nodes[1].addresses, [false, false], "\n{}", world.story());
        after(&world, 1, "on hold: it does not take over", since);
        world.tell(1, hold(false));
        world.run(seconds(60));
        assert_masters(&world, &[1]);
        assert_eq!(world.nodes[1].addresses, [true, true]);
    }
}

#[test]
fn a_failing_check_of_any_member_does_not_move_a_held_group() {
    for (is_gated, member) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let group = |priority| if is_gated { gated(priority, true) } else { plain(priority) };
        let checked = |priority| group_spec(with_check(group(priority), 0, Duration::ZERO));
        let mut world = settled(vec![checked(101), checked(100)]);
        assert_masters(&world, &[0]);
        let hold = |is_on| Event::Hold { instance: InstanceId(member), is_on };
        world.tell(0, hold(true));
        world.nodes[0].checks[0] = false;
        world.run(seconds(20));
        assert_masters(&world, &[0]);
        assert_eq!(world.nodes[0].addresses, [true, true], "\n{}", world.story());
        world.tell(0, hold(false));
        world.run(seconds(20));
        assert_masters(&world, &[1]);
        assert_eq!(world.nodes[0].addresses, [false, false], "\n{}", world.story());
    }
}

/// Found by the simulator: the check of a member that a reload brought in took the storage from a
/// master on hold.
#[test]
fn a_member_that_joins_a_group_on_hold_is_on_hold() {
    let node = |priority| group_spec(with_check(gated(priority, true), 0, Duration::ZERO));
    let mut world = settled(vec![node(110), node(100)]);
    assert_masters(&world, &[0]);
    world.apply(Fault::Member(0, false));
    world.run(seconds(5));
    hold(&mut world, 0, true);
    world.nodes[0].checks.fill(false);
    world.run(seconds(20));
    world.apply(Fault::Member(0, true));
    world.run(seconds(20));
    assert_masters(&world, &[0]);
}
