//! A node that does not know whether its storage is still its own.

use glha::core::Core;
use glha::core::event::{Action, LinkState};
use glha::core::spec::LinkId;

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

/// Under a flood there is always more to read: who is master is heard all the same, and who stood still
/// says nothing before it has read all.
#[test]
fn while_packets_wait_adverts_go_out_in_time_or_not_at_all() {
    let now = Time::from_millis(1000);
    let mut core = Core::new(plain(100), Duration::ZERO, vec![], now);
    let addresses = vec![([10, 0, 0, 1].into(), 24)];
    let state = LinkState { present: true, up: true, addresses };
    core.handle(Event::Link { link: LinkId(0), state }, now);
    let mut now = now;
    while !matches!(core.instances()[InstanceId(0)].phase, Phase::Master { .. }) {
        now = core.deadline().expect("it becomes master");
        core.handle(Event::Tick, now);
    }
    let sent = |core: &mut Core, event, at| {
        core.handle(event, at);
        core.take_actions().iter().filter(|action| matches!(action, Action::Send { .. })).count()
    };
    sent(&mut core, Event::Tick, now);
    let interval = seconds(1);
    assert_eq!(sent(&mut core, Event::Backlog, now + interval / 2), 0);
    assert_eq!(sent(&mut core, Event::Backlog, now + interval), 1);
    assert_eq!(sent(&mut core, Event::Backlog, now + interval), 0);
    let late = now + interval * 3;
    assert_eq!(sent(&mut core, Event::Backlog, late), 0);
    assert_eq!(sent(&mut core, Event::Tick, late), 1);
}
