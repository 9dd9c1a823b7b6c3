//! Named scenarios on a simulated cluster: what happens, and what must follow.

use std::net::Ipv4Addr;
use std::time::Duration;

use glha::core::event::{Event, LinkState, NotifyState};
use glha::core::spec::{
    Address, Auth, CheckId, CheckSpec, GarpSpec, GateSpec, InstanceSpec, LinkId, Preempt, Spec,
    TrackCheck, Weight,
};
use glha::core::{Phase, Time};
use glha::sim::{Hook, World};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn gate(peers_glha: bool) -> GateSpec {
    GateSpec {
        timeout: seconds(60),
        probe: None,
        handover_wait: seconds(30),
        peers_glha,
        reboot_on_failure: false,
    }
}

/// The article's instance, without its storage.
fn plain(priority: u8) -> Spec {
    let link = LinkId(0);
    let vip = Address { ip: Ipv4Addr::new(10, 0, 0, 70), prefix_len: 32, link, no_track: false };
    let instance = InstanceSpec {
        name: "VI_1".into(),
        link,
        vrid: 51,
        priority,
        advert_interval: seconds(1),
        down_timer_adverts: 3,
        auth: Auth::Pass(*b"1111\0\0\0\0"),
        group: Ipv4Addr::new(224, 0, 0, 18),
        source: None,
        track_source: false,
        wants_master: false,
        addresses: vec![vip],
        excluded: vec![],
        preempt: Preempt::Always,
        preempt_delay: Duration::ZERO,
        garp: GarpSpec::default(),
        dont_track_primary: false,
        track_links: vec![],
        track_checks: vec![],
        track_processes: Vec::new(),
        track_files: Vec::new(),
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_adv_addr: false,
        gate: None,
    };
    Spec { links: vec!["eth0".into()], instances: vec![instance], ..Spec::default() }
}

/// The same with storage behind a gate.
fn gated(priority: u8, peers_glha: bool) -> Spec {
    let mut spec = plain(priority);
    spec.instances[0].gate = Some(gate(peers_glha));
    spec.instances[0].preempt = Preempt::Weakened;
    spec
}

fn with_check(mut spec: Spec, weight: i16, grace: Duration) -> Spec {
    let (interval, timeout) = (seconds(2), seconds(2));
    let check =
        CheckSpec { name: "chk".into(), interval, timeout, rise: 1, fall: 1, init_fail: false };
    spec.checks.push(check);
    let weight = Weight { value: weight, reverse: false };
    spec.instances[0].track_checks.push(TrackCheck { check: CheckId(0), weight, grace });
    spec
}

fn settled(specs: Vec<Spec>) -> World {
    let mut world = World::new(specs);
    world.run(seconds(20));
    world
}

fn after(world: &World, node: usize, text: &str, since: Time) -> Duration {
    match world.when(node, text, since) {
        Some(at) => at.since(since),
        None => panic!("node {node} never said {text:?}\n{}", world.story()),
    }
}

fn assert_masters(world: &World, expected: &[usize]) {
    assert_eq!(world.masters(), expected, "\n{}", world.story());
}

#[test]
fn the_better_node_becomes_master_and_stays() {
    let world = settled(vec![plain(101), plain(100)]);
    assert_masters(&world, &[0]);
    assert_eq!(world.nodes[0].notified, [NotifyState::Backup, NotifyState::Master]);
    assert_eq!(world.nodes[1].notified, [NotifyState::Backup]);
}

#[test]
fn silence_lasts_a_master_down_interval() {
    let mut world = settled(vec![plain(101), plain(100)]);
    let last = world.trace.iter().rfind(|l| l.node == 0 && l.text == "advert 101").map(|l| l.at);
    world.power_off(0);
    world.run(seconds(5));
    let took = after(&world, 1, "Entering MASTER", last.expect("there were adverts"));
    assert_eq!(took.as_millis(), 3609);
}

#[test]
fn a_stop_hands_over_after_the_skew_time() {
    let mut world = settled(vec![plain(101), plain(100)]);
    let start = world.now;
    world.tell(0, Event::Stop);
    world.run(seconds(2));
    assert_masters(&world, &[1]);
    assert_eq!(after(&world, 1, "Entering MASTER", start).as_millis(), 609);
    assert!(world.nodes[0].core.is_stopped());
    assert_eq!(world.nodes[0].notified.last(), Some(&NotifyState::Stop));
}

#[test]
fn equal_priorities_never_preempt() {
    let mut world = settled(vec![plain(100), plain(100)]);
    assert_masters(&world, &[1]);
    world.run(seconds(60));
    assert_masters(&world, &[1]);
}

#[test]
fn a_fault_sends_two_priority_zeros_and_a_yield_none() {
    let mut world = settled(vec![with_check(plain(100), 0, Duration::ZERO), plain(90)]);
    let start = world.now;
    world.nodes[0].checks[0] = false;
    world.run(seconds(5));
    let zeros = world.trace.iter().filter(|l| l.at > start && l.text == "advert 0").count();
    assert_eq!(zeros, 2, "\n{}", world.story());
    world.nodes[0].checks[0] = true;
    let start = world.now;
    world.run(seconds(10));
    assert_masters(&world, &[0]);
    assert!(!world.trace.iter().any(|l| l.at > start && l.text == "advert 0"));
}

#[test]
fn an_address_waits_for_the_storage_and_adverts_do_not() {
    let mut world = World::new(vec![gated(101, false)]);
    world.nodes[0].mount.acquire = Hook::succeeds(5000);
    world.run(seconds(12));
    let claim = world.when(0, "Acquiring", Time::ZERO).expect("it claims");
    let up = after(&world, 0, "addresses up", claim);
    assert_eq!(up.as_millis(), 5300);
    let adverts = world.trace.iter().filter(|l| l.text == "advert 101" && l.at.since(claim) < up);
    assert_eq!(adverts.count(), 6, "\n{}", world.story());
}

#[test]
fn a_stop_tells_the_peer_only_after_the_release() {
    let mut world = settled(vec![gated(101, true), gated(100, true)]);
    let start = world.now;
    world.nodes[0].mount.release = Hook::succeeds(8000);
    world.tell(0, Event::Stop);
    world.run(seconds(12));
    assert_masters(&world, &[1]);
    assert_eq!(after(&world, 0, "addresses down", start), Duration::ZERO);
    assert_eq!(after(&world, 0, "advert 0", start).as_millis(), 8000);
    assert!(after(&world, 1, "acquire starts", start) > seconds(8));
    assert!(world.nodes[0].core.is_stopped(), "\n{}", world.story());
}

#[test]
fn a_failed_acquire_without_proof_ends_in_silence() {
    let mut world = World::new(vec![gated(101, true)]);
    world.nodes[0].mount.acquire = Hook::fails(100, 1);
    world.run(seconds(8));
    assert!(matches!(world.nodes[0].phase(), Phase::Fault), "\n{}", world.story());
    assert!(world.when(0, "advert 0", Time::ZERO).is_none());
    let failed = world.when(0, "acquire exited with status 1", Time::ZERO).expect("it fails");
    world.run(seconds(70));
    let first = after(&world, 0, "Acquiring", failed);
    assert!(first > seconds(10), "hold-down was {first:?}");
    let second = world.trace.iter().filter(|l| l.text == "acquire starts").count();
    assert!(second < 4, "hold-down does not grow\n{}", world.story());
}

#[test]
fn a_failed_acquire_lets_the_peer_have_its_turn() {
    let mut world = World::new(vec![gated(101, true), gated(100, true)]);
    world.nodes[0].mount.acquire = Hook::fails(100, 1);
    world.run(seconds(20));
    assert_masters(&world, &[1]);
}

#[test]
fn status_75_is_tried_again_within_the_deadline() {
    let mut world = World::new(vec![gated(101, true)]);
    world.nodes[0].mount.acquire = Hook::fails(100, 75);
    world.run(seconds(8));
    let tries = world.trace.iter().filter(|l| l.text == "acquire starts").count();
    assert!(tries > 2, "\n{}", world.story());
    world.nodes[0].mount.acquire = Hook::succeeds(100);
    world.run(seconds(3));
    assert_masters(&world, &[0]);
}

#[test]
fn a_weakened_master_hands_over_with_an_acknowledgement() {
    let node = |priority| with_check(gated(priority, true), 2, Duration::ZERO);
    let mut world = settled(vec![node(101), node(101)]);
    let (master, other) = (world.masters()[0], 1 - world.masters()[0]);
    let start = world.now;
    world.nodes[master].checks[0] = false;
    world.run(seconds(20));
    assert_masters(&world, &[other]);
    let released = after(&world, master, "release exited with status 0", start);
    let acquired = after(&world, other, "acquire starts", start);
    assert!(released < acquired, "\n{}", world.story());
    assert!(acquired < seconds(5), "\n{}", world.story());
}

#[test]
fn a_better_priority_alone_moves_no_storage() {
    let mut pair = World::new(vec![gated(100, true), gated(200, true)]);
    pair.cuts = [(0, 1), (1, 0)].into();
    pair.nodes[1].mount.acquire = Hook::fails(10, 1);
    pair.run(seconds(30));
    assert_masters(&pair, &[0]);
    pair.nodes[1].mount.acquire = Hook::succeeds(200);
    pair.cuts.clear();
    pair.run(seconds(60));
    assert_masters(&pair, &[0]);
}

#[test]
fn a_release_that_fails_is_stuck_and_tells_nobody() {
    let mut world = settled(vec![gated(101, true), gated(100, true)]);
    world.nodes[0].mount.release = Hook::fails(100, 1);
    // A guard that can fence nothing: the peer's acquire is refused while the storage is held.
    world.nodes[1].mount.acquire = Hook::fails(100, 1);
    let start = world.now;
    world.tell(0, Event::Link { link: LinkId(0), state: LinkState::default() });
    world.run(seconds(10));
    assert!(matches!(world.nodes[0].phase(), Phase::Stuck(_)), "\n{}", world.story());
    assert!(!world.trace.iter().any(|l| l.at > start && l.text == "advert 0"));
    let tries = world.trace.iter().filter(|l| l.at > start && l.text == "release starts");
    assert!(tries.count() > 2, "\n{}", world.story());
    assert!(!world.nodes[0].notified.contains(&NotifyState::Fault));
    world.nodes[0].mount.release = Hook::succeeds(100);
    world.run(seconds(60));
    assert!(matches!(world.nodes[0].phase(), Phase::Fault), "\n{}", world.story());
}

#[test]
fn an_acquire_that_cannot_be_killed_is_unknown_for_ever() {
    let mut world = World::new(vec![gated(101, true)]);
    world.nodes[0].mount.acquire = Hook::Unkillable;
    world.run(seconds(200));
    assert!(matches!(world.nodes[0].phase(), Phase::Stuck(_)), "\n{}", world.story());
    let releases = world.trace.iter().filter(|l| l.text == "release starts").count();
    assert_eq!(releases, 0, "\n{}", world.story());
}

#[test]
fn a_stop_during_acquire_ends_it_first() {
    let mut world = World::new(vec![gated(101, true)]);
    world.nodes[0].mount.acquire = Hook::Hangs;
    world.run(seconds(6));
    assert!(matches!(world.nodes[0].phase(), Phase::Acquiring(_)), "\n{}", world.story());
    world.tell(0, Event::Stop);
    world.run(seconds(3));
    assert!(world.nodes[0].core.is_stopped(), "\n{}", world.story());
    let ended = world.when(0, "acquire ended by us", Time::ZERO).expect("it is ended");
    assert!(world.when(0, "release starts", ended).is_some(), "\n{}", world.story());
}

#[test]
fn two_cold_nodes_with_equal_priority_agree() {
    let world = settled(vec![gated(100, true), gated(100, true)]);
    assert_eq!(world.masters().len(), 1, "\n{}", world.story());
}

#[test]
fn a_service_that_needs_a_minute_is_not_judged_while_it_starts() {
    let mut world = World::new(vec![with_check(gated(101, true), 0, seconds(60))]);
    world.run(seconds(4));
    world.nodes[0].checks[0] = false;
    world.run(seconds(30));
    assert_masters(&world, &[0]);
    world.nodes[0].checks[0] = true;
    world.run(seconds(10));
    world.nodes[0].checks[0] = false;
    world.run(seconds(5));
    assert_masters(&world, &[]);
}

#[test]
fn a_fault_that_outlasts_its_hold_down_is_no_busy_loop() {
    let mut world = World::new(vec![gated(101, true)]);
    world.nodes[0].mount.acquire = Hook::fails(100, 1);
    world.run(seconds(8));
    assert!(matches!(world.nodes[0].phase(), Phase::Fault), "\n{}", world.story());
    world.tell(0, Event::Link { link: LinkId(0), state: LinkState::default() });
    world.run(seconds(60));
    assert_eq!(world.nodes[0].core.deadline(), None, "\n{}", world.story());
}

#[test]
fn a_stop_does_not_wait_for_what_cannot_be_killed() {
    let mut world = World::new(vec![gated(101, true)]);
    world.nodes[0].mount.acquire = Hook::Unkillable;
    world.run(seconds(100));
    assert!(matches!(world.nodes[0].phase(), Phase::Stuck(_)), "\n{}", world.story());
    world.tell(0, Event::Stop);
    assert!(world.nodes[0].core.is_stopped(), "\n{}", world.story());
    assert!(world.when(0, "advert 0", Time::ZERO).is_none());
}
