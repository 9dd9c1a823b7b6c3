//! Named scenarios on a simulated cluster: what happens, and what must follow.

use std::time::Duration;

use glha::core::event::{Action, Event, HookEnd, MountAction, NotifyState};
use glha::core::spec::{
    Auth, CheckId, CheckSpec, GateSpec, GroupId, InstanceId, Preempt, Spec, TrackCheck, Version,
    Weight,
};
use glha::core::{Phase, Time};
use glha::sim::{Fault, Guard, Hook, World, group_spec, node_spec};

#[path = "stories/claims.rs"]
mod claims;
#[path = "stories/doubt.rs"]
mod doubt;
#[path = "stories/groups.rs"]
mod groups;
#[path = "stories/person.rs"]
mod person;
#[path = "stories/source.rs"]
mod source;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn gate(peers_glha: bool) -> GateSpec {
    GateSpec {
        timeout: seconds(60),
        probe: None,
        handover_wait: seconds(30),
        peers_glha,
        is_pair: true,
        reboot_on_failure: false,
    }
}

/// The article's instance, without its storage.
fn plain(priority: u8) -> Spec {
    node_spec(priority, seconds(1))
}

/// The same with storage behind a gate.
fn gated(priority: u8, peers_glha: bool) -> Spec {
    let mut spec = plain(priority);
    spec.instances[InstanceId(0)].gate = Some(gate(peers_glha));
    spec.instances[InstanceId(0)].preempt = Preempt::Weakened;
    spec
}

fn with_check(mut spec: Spec, weight: i16, grace: Duration) -> Spec {
    let (interval, timeout) = (seconds(2), seconds(2));
    let check =
        CheckSpec { name: "chk".into(), interval, timeout, rise: 1, fall: 1, init_fail: false };
    spec.checks.push(check);
    let weight = Weight { value: weight, reverse: false };
    spec.instances[InstanceId(0)].track_checks.push(TrackCheck {
        check: CheckId(0),
        weight,
        grace,
    });
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

/// keepalived begins its interval anew with such an answer; here the adverts keep their beat.
#[test]
fn an_answer_to_a_worse_master_does_not_move_the_adverts() {
    let mut world = settled(vec![plain(101), plain(100)]);
    world.apply(Fault::Cut(0, 1));
    world.apply(Fault::Cut(1, 0));
    world.run(Duration::from_millis(10_400));
    assert_masters(&world, &[0, 1]);
    let since = world.now;
    // B is heard, and does not hear.
    world.apply(Fault::Mend(1, 0));
    world.run(seconds(5));
    let is_advert = |text: &str| text == "advert 101";
    let adverts = world.trace.iter().filter(|line| line.node == 0 && is_advert(&line.text));
    let (before, after): (Vec<Time>, Vec<Time>) =
        adverts.map(|line| line.at).partition(|at| *at < since);
    let beat = *before.last().expect("adverts before");
    let on_the_beat = |at: &&Time| at.since(beat).as_millis().is_multiple_of(1000);
    assert_eq!(after.iter().filter(on_the_beat).count(), 5, "\n{}", world.story());
    assert!(after.len() > 5, "it has answered\n{}", world.story());
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
    pair.wire.cuts = [(0, 1), (1, 0)].into();
    pair.nodes[1].mount.acquire = Hook::fails(10, 1);
    pair.run(seconds(30));
    assert_masters(&pair, &[0]);
    pair.nodes[1].mount.acquire = Hook::succeeds(200);
    pair.wire.cuts.clear();
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
    world.apply(Fault::Cable(0, false));
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
    world.apply(Fault::Cable(0, false));
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

// What a model of the phases found before they were built: each of these went wrong under an
// earlier wording of the rules.

fn line_count(world: &World, text: &str, since: Time) -> usize {
    world.trace.iter().filter(|line| line.at > since && line.text.contains(text)).count()
}

/// Two nodes on a wire that is cut both ways, with this guard.
fn parted(specs: Vec<Spec>, guard: Guard) -> World {
    let mut world = World::with_guard(specs, guard);
    world.wire.part(0, 1);
    world
}

fn with_hook(mut world: World, node: usize, acquire: Hook) -> World {
    world.nodes[node].mount.acquire = acquire;
    world
}

/// A and B in this order of priority, A master.
fn held_by_a(mut specs: [Spec; 2], guard: Guard) -> World {
    specs[0].instances[InstanceId(0)].priority = 101;
    let mut world = World::with_guard(specs.into(), guard);
    if guard == Guard::None {
        world.apply(Fault::Person(0));
    }
    world.run(seconds(20));
    assert_masters(&world, &[0]);
    world
}

/// C1. 3.6 both claim, hear each other; A has the worse address and backs off at once, B goes on.
#[test]
fn c1_of_two_claims_one_persists() {
    let mut world = World::new(vec![gated(100, true), gated(100, true)]);
    world.run(seconds(60));
    assert_masters(&world, &[1]);
    assert_eq!(line_count(&world, "Acquiring the storage", Time::ZERO), 2, "\n{}", world.story());
    assert_eq!(line_count(&world, "acquire starts", Time::ZERO), 1, "\n{}", world.story());
}

/// C2. Both acquire behind a cut wire; when it is mended, the worse one backs off: silently, since
/// its priority 0 would be proof that it never had.
#[test]
fn c2_who_backs_off_vouches_for_nothing() {
    let mut world = parted(vec![gated(100, true), gated(100, true)], Guard::None);
    for node in &mut world.nodes {
        node.mount.acquire = Hook::Hangs;
    }
    world.run(seconds(6));
    world.wire.cuts.clear();
    world.run(seconds(20));
    let mended = Time::from_millis(7000);
    assert!(world.when(0, "backed_off", mended).is_some(), "\n{}", world.story());
    assert_eq!(line_count(&world, "advert 0", Time::ZERO), 0, "\n{}", world.story());
}

/// C3. A holds and is cut off. B claims, is refused, and says nothing; C gets no proof from it.
#[test]
fn c3_only_who_held_it_vouches_and_only_in_a_pair() {
    let specs = vec![gated(101, true), gated(100, true), gated(100, true)];
    let mut world = World::with_guard(specs, Guard::None);
    world.apply(Fault::Person(0));
    world.run(seconds(20));
    assert_masters(&world, &[0]);
    let cut = world.now;
    world.wire.part(0, 1);
    world.wire.part(0, 2);
    world.run(seconds(120));
    assert_masters(&world, &[0]);
    assert!(line_count(&world, "acquire exited with status 1", cut) > 1, "\n{}", world.story());
    assert_eq!(line_count(&world, "advert 0", cut), 0, "\n{}", world.story());
}

/// C4. B's mount hangs in the kernel past its deadline. B knows nothing and says nothing until
/// the process is gone; then the mount is there, is released, and only then acknowledged.
#[test]
fn c4_a_process_that_cannot_be_killed_keeps_the_storage_unknown() {
    let mut specs = [gated(101, true), gated(100, true)];
    for spec in &mut specs {
        let Some(gate) = &mut spec.instances[InstanceId(0)].gate else { panic!("it is gated") };
        gate.timeout = seconds(10);
    }
    let mut world = held_by_a(specs, Guard::None);
    world.nodes[1].mount.acquire = Hook::InKernel(seconds(40));
    let start = world.now;
    world.apply(Fault::Stop(0));
    world.run(seconds(20));
    world.apply(Fault::Start(0));
    world.run(seconds(10));
    assert!(matches!(world.nodes[1].phase(), Phase::Stuck(_)), "\n{}", world.story());
    assert!(world.when(1, "advert 0", start).is_none(), "\n{}", world.story());
    world.run(seconds(60));
    let gone = world.when(1, "acquire timed_out", start).expect("it ends at last");
    let released = world.when(1, "release exited with status 0", gone).expect("it releases");
    let told = world.when(1, "advert 0", start).expect("it vouches");
    assert!(told >= released, "\n{}", world.story());
}

/// C5. A's daemon is frozen while it acquires; its hook mounts, B fences A. On thaw the exit 0 is
/// doubted: probed, found fenced, released. No address in between.
#[test]
fn c5_a_late_success_is_probed() {
    let specs = vec![gated(101, true), gated(100, true)];
    let mut world = with_hook(World::with_guard(specs, Guard::Pr), 0, Hook::succeeds(2000));
    world.run(seconds(5));
    let start = world.now;
    world.apply(Fault::FreezeDaemon(0));
    world.run(seconds(15));
    assert_masters(&world, &[1]);
    world.apply(Fault::ThawDaemon(0));
    world.run(seconds(10));
    assert_masters(&world, &[1]);
    assert!(world.when(0, "addresses up", start).is_none(), "\n{}", world.story());
    assert!(world.when(0, "probe exited with status 3", start).is_some(), "\n{}", world.story());
}

/// C6. Cut apart, both reach the disk: B fences A, A notices by its probe, and does not fence back
/// before it has heard somebody.
#[test]
fn c6_who_was_fenced_does_not_fence_back() {
    let mut specs = [gated(101, true), gated(100, true)];
    for spec in &mut specs {
        let Some(gate) = &mut spec.instances[InstanceId(0)].gate else { panic!("it is gated") };
        gate.probe = Some(seconds(5));
    }
    let mut world = held_by_a(specs, Guard::Pr);
    let cut = world.now;
    world.wire.part(0, 1);
    world.run(seconds(300));
    assert_eq!(line_count(&world, "takes the storage", cut), 1, "\n{}", world.story());
    assert_masters(&world, &[1]);
    world.wire.cuts.clear();
    world.run(seconds(30));
    assert_masters(&world, &[1]);
}

/// C7. A's check fails and so does its release: A is stuck and silent, so that B, which can fence,
/// takes over.
#[test]
fn c7_a_stuck_node_is_silent_so_that_a_fence_can_help() {
    let specs = [101, 100].map(|priority| with_check(gated(priority, true), 0, Duration::ZERO));
    let mut world = held_by_a(specs, Guard::Pr);
    world.nodes[0].mount.release = Hook::fails(100, 1);
    world.nodes[0].checks[0] = false;
    let start = world.now;
    world.run(seconds(30));
    let stuck = world.when(0, "STUCK", start).expect("the release fails");
    assert_masters(&world, &[1]);
    let adverts = world.trace.iter().filter(|l| l.node == 0 && l.text.starts_with("advert"));
    assert_eq!(adverts.filter(|l| l.at > stuck).count(), 0, "\n{}", world.story());
}

/// C8. A holds and never preempts; B is better and always does. B's claim goes on until A yields.
#[test]
fn c8_a_preempting_claim_persists() {
    let mut specs = [gated(101, true), gated(150, true)];
    specs[0].instances[InstanceId(0)].preempt = Preempt::Never;
    specs[1].instances[InstanceId(0)].preempt = Preempt::Always;
    let mut world = World::new(vec![specs[0].clone(), specs[1].clone()]);
    world.apply(Fault::PowerOff(1));
    world.run(seconds(20));
    assert_masters(&world, &[0]);
    let start = world.now;
    world.apply(Fault::Boot(1));
    world.run(seconds(60));
    assert_masters(&world, &[1]);
    assert_eq!(line_count(&world, "Acquiring the storage", start), 1, "\n{}", world.story());
}

/// C9. B misses three of A's adverts, and claims when the wire is whole again. A answers within the
/// 0.3 s that B listens; B backs off and has fenced nobody.
#[test]
fn c9_a_claim_listens_before_it_fences() {
    let mut world = held_by_a([gated(101, true), gated(100, true)], Guard::Pr);
    let start = world.now;
    world.apply(Fault::Cut(0, 1));
    let claims_at = world.nodes[1].core.deadline().expect("it counts");
    world.run((claims_at - Duration::from_millis(50)).since(world.now));
    world.apply(Fault::Mend(0, 1));
    world.run(seconds(30));
    assert_masters(&world, &[0]);
    assert_eq!(line_count(&world, "takes the storage", start), 0, "\n{}", world.story());
    assert!(world.when(1, "backed_off", start).is_some(), "\n{}", world.story());
    assert!(world.when(1, "acquire starts", start).is_none(), "\n{}", world.story());
}

/// C10. Both cold behind a cut wire, the disk is clean: both mounts pass in the same instant. The
/// one whose name does not stand in the MMP block afterwards gives up.
#[test]
fn c10_after_the_mount_the_hook_looks_whose_name_stands_there() {
    let mut world = parted(vec![gated(100, true), gated(100, true)], Guard::Mmp);
    world.run(seconds(12));
    assert_eq!(line_count(&world, "acquire starts", Time::ZERO), 2, "\n{}", world.story());
    assert_masters(&world, &[1]);
    let beaten = world.when(0, "acquire exited with status 1", Time::ZERO);
    assert!(beaten.is_some(), "\n{}", world.story());
}

/// Two members on two links, without storage.
fn plain_group(priority: u8) -> Spec {
    group_spec(plain(priority))
}

fn gated_group(priority: u8, peers_glha: bool) -> Spec {
    group_spec(gated(priority, peers_glha))
}

/// What a node did, from a time on, of the lines that contain one of these texts.
fn order(world: &World, node: usize, since: Time, texts: &[&str]) -> Vec<String> {
    let is_meant = |text: &str| texts.iter().any(|wanted| text.contains(wanted));
    let lines = world.trace.iter().filter(|line| line.node == node && line.at >= since);
    lines.filter(|line| is_meant(&line.text)).map(|line| line.text.clone()).collect()
}

#[test]
fn a_group_becomes_master_as_a_whole_and_falls_as_a_whole() {
    let mut world = settled(vec![plain_group(101), plain_group(100)]);
    assert_masters(&world, &[0]);
    assert_eq!(world.nodes[0].addresses, [true, true]);
    let since = world.now;
    world.apply(Fault::SecondCable(0, false));
    world.run(seconds(5));
    assert_masters(&world, &[1]);
    assert_eq!(world.nodes[0].addresses, [false, false]);
    assert_eq!(world.nodes[1].addresses, [true, true]);
    // Who brings the fault about says it twice, into a dead link; the other one says it once.
    let zeros = order(&world, 0, since, &["advert 0", "advert of member 2 0"]);
    assert_eq!(zeros, ["advert 0"], "\n{}", world.story());
    let told = order(&world, 0, since, &["notify"]);
    assert_eq!(told, ["notify of member 2 FAULT", "notify FAULT", "notify the group FAULT"]);
    world.apply(Fault::SecondCable(0, true));
    world.run(seconds(6));
    assert_masters(&world, &[0]);
}

#[test]
fn a_member_alone_does_not_take_over() {
    let mut world = settled(vec![plain_group(101), plain_group(100)]);
    world.apply(Fault::CutSecond(0, 1));
    let since = world.now;
    world.run(seconds(30));
    assert_masters(&world, &[0]);
    after(&world, 1, "(VI_2) Receive advertisement timeout", since);
    assert!(world.when(1, "Entering MASTER", since).is_none(), "\n{}", world.story());
    // It hears the master again, and waits anew.
    world.apply(Fault::MendSecond(0, 1));
    world.run(seconds(2));
    let since = world.now;
    world.power_off(0);
    world.run(seconds(5));
    assert_eq!(world.nodes[1].addresses, [true, true]);
    assert!(after(&world, 1, "Entering MASTER", since) > seconds(2));
}

#[test]
fn a_group_takes_its_storage_once_before_any_address() {
    let world = settled(vec![gated_group(101, true)]);
    assert_masters(&world, &[0]);
    let did = order(
        &world,
        0,
        Time::ZERO,
        &["acquire starts", "acquire exited", "addresses up", "addresses of", "notify the group"],
    );
    let expected = [
        "notify the group BACKUP",
        "acquire starts",
        "acquire exited with status 0",
        "addresses up",
        "addresses of member 2 up",
        "notify the group MASTER",
    ];
    assert_eq!(did, expected, "\n{}", world.story());
    let adverts = order(&world, 0, Time::ZERO, &["advert 1", "advert of", "acquire starts"]);
    assert_eq!(adverts[..3], ["advert 101", "advert of member 2 101", "acquire starts"]);
}

#[test]
fn a_group_gives_its_storage_back_when_its_last_address_is_gone() {
    let mut world = settled(vec![gated_group(101, true), gated_group(100, true)]);
    assert_masters(&world, &[0]);
    let since = world.now;
    world.nodes[0].mount.release = Hook::succeeds(3000);
    // The member that leads can still speak: its adverts keep the other node waiting, and its
    // priority 0 is the proof.
    world.apply(Fault::SecondCable(0, false));
    world.run(seconds(10));
    assert_masters(&world, &[1]);
    let did = order(&world, 0, since, &["addresses", "release", "advert 0"]);
    let expected = [
        "addresses of member 2 down",
        "addresses down",
        "release starts",
        "release exited with status 0",
        "advert 0",
    ];
    assert_eq!(did[..5], expected, "\n{}", world.story());
    let adverts = order(&world, 0, since, &["advert 101", "release exited"]);
    assert!(adverts.iter().take_while(|line| *line == "advert 101").count() >= 2);
    assert!(after(&world, 1, "acquire starts", since) > seconds(3));
    after(&world, 1, "Acquiring the storage, released", since);
}

#[test]
fn a_group_resumes_after_a_crash_without_a_transition() {
    let mut world = settled(vec![gated_group(101, true), gated_group(100, true)]);
    assert_masters(&world, &[0]);
    let since = world.now;
    world.apply(Fault::Kill(0, Some(Duration::from_millis(300))));
    world.run(seconds(10));
    assert_masters(&world, &[0]);
    assert_eq!(world.nodes[0].addresses, [true, true]);
    let moved = order(&world, 0, since, &["addresses down", "down", "acquire", "release"]);
    assert!(moved.is_empty(), "{moved:?}\n{}", world.story());
    assert!(world.when(1, "Acquiring", since).is_none());
}

#[test]
fn members_of_a_group_with_storage_come_and_go_without_a_transition() {
    let mut world = settled(vec![gated_group(101, true), gated_group(100, true)]);
    let (since, transition) = (world.now, world.nodes[0].core.instances().as_slice()[0].transition);
    world.apply(Fault::Member(0, false));
    world.run(seconds(5));
    assert_eq!(world.nodes[0].addresses, [true, false]);
    let zeros = order(&world, 0, since, &["advert 0", "advert of member 2 0"]);
    assert!(zeros.is_empty(), "{zeros:?}");
    world.apply(Fault::Member(0, true));
    world.run(seconds(5));
    assert_masters(&world, &[0]);
    assert_eq!(world.nodes[0].addresses, [true, true]);
    assert_eq!(
        world.nodes[0].core.instances().as_slice()[0].transition,
        transition,
        "\n{}",
        world.story()
    );
}

/// A reload that makes another member the first one: the old leader lets go before anything else
/// touches the storage.
#[test]
fn a_new_leader_waits_for_the_old_one() {
    let mut world = settled(vec![gated_group(101, true)]);
    assert_masters(&world, &[0]);
    let node = &mut world.nodes[0];
    node.mount.release = Hook::succeeds(2000);
    let mut spec = node.spec.clone();
    // Another router, and one that followed and leads now: the configuration calls neither what it was
    // called.
    let (leader, follower) = (InstanceId(2), InstanceId(3));
    spec.instances[InstanceId(0)].vrid = 61;
    let all = spec.instances.into_iter().map(|(_, instance)| instance);
    spec.instances = [follower, leader].into_iter().zip(all).collect();
    spec.groups[GroupId(0)].members = vec![leader, follower];
    let now = world.now;
    let node = &mut world.nodes[0];
    node.core.reload(spec, now);
    let runs = |world: &mut World| {
        let actions = world.nodes[0].core.take_actions();
        let mount = |action: &Action| match action {
            Action::RunMount { action, instance, .. } => Some((*action, *instance)),
            _ => None,
        };
        actions.iter().filter_map(mount).collect::<Vec<_>>()
    };
    let first = runs(&mut world);
    let [(MountAction::Release, leaving)] = first[..] else { panic!("{first:?}") };
    let end = HookEnd::Exited(0);
    let event = Event::MountEnded { instance: leaving, action: MountAction::Release, end };
    world.nodes[0].core.handle(event, now);
    let then = runs(&mut world);
    assert!(matches!(then[..], [(MountAction::Probe, _)]), "{then:?}");
}

// --- maintenance

fn hold(world: &mut World, node: usize, is_on: bool) {
    world.apply(Fault::Hold(node, is_on));
}

#[test]
fn a_backup_on_hold_does_not_take_over() {
    for node in [plain, |priority| gated(priority, true)] {
        let mut world = settled(vec![node(101), node(100)]);
        hold(&mut world, 1, true);
        world.power_off(0);
        world.run(seconds(60));
        assert_masters(&world, &[]);
        let told = world.trace.iter().filter(|l| l.text.contains("this node is on hold")).count();
        assert_eq!(told, 1, "\n{}", world.story());
        let start = world.now;
        hold(&mut world, 1, false);
        world.run(seconds(60)); // MMP takes its time after a crash
        assert_masters(&world, &[1]);
        let took = after(&world, 1, "advert 100", start);
        assert!(took < seconds(5), "{took:?}");
    }
}

#[test]
fn a_better_backup_on_hold_does_not_preempt() {
    let mut world = World::new(vec![plain(100), plain(200)]);
    hold(&mut world, 1, true);
    world.run(seconds(60));
    assert_masters(&world, &[0]);
    hold(&mut world, 1, false);
    world.run(seconds(10));
    assert_masters(&world, &[1]);
}

#[test]
fn the_owner_of_the_addresses_on_hold_starts_as_backup() {
    let mut spec = plain(255);
    spec.instances[InstanceId(0)].wants_master = true;
    let mut world = World::new(vec![spec, plain(100)]);
    world.run(seconds(10));
    assert_masters(&world, &[0]);
    hold(&mut world, 0, true);
    world.apply(Fault::Kill(0, None));
    world.run(seconds(10));
    assert_masters(&world, &[1]);
    world.apply(Fault::Start(0));
    world.run(seconds(10));
    assert_masters(&world, &[1]);
}

#[test]
fn a_master_on_hold_does_not_give_up_for_its_checks() {
    for weight in [0, -30, 30] {
        for make in [plain, |priority| gated(priority, true)] {
            let node = |priority| with_check(make(priority), weight, Duration::ZERO);
            let mut world = settled(vec![node(110), node(100)]);
            let master = world.masters()[0];
            let priority = world.nodes[master].core.instances().as_slice()[0].priority();
            hold(&mut world, master, true);
            world.nodes[master].checks[0] = false;
            world.run(seconds(60));
            assert_masters(&world, &[master]);
            assert_eq!(world.nodes[master].core.instances().as_slice()[0].priority(), priority);
            let start = world.now;
            hold(&mut world, master, false);
            world.run(seconds(20));
            assert_masters(&world, &[1 - master]);
            after(&world, 1 - master, "Entering MASTER", start);
        }
    }
}

#[test]
fn a_master_on_hold_gives_up_for_its_link_and_for_a_better_master() {
    let mut world = settled(vec![plain(100), plain(90)]);
    hold(&mut world, 0, true);
    world.apply(Fault::Cable(0, false));
    world.run(seconds(10));
    assert_masters(&world, &[1]);
    assert!(matches!(world.nodes[0].phase(), Phase::Fault));
    world.apply(Fault::Cable(0, true));
    hold(&mut world, 1, true);
    hold(&mut world, 0, false);
    world.run(seconds(10));
    assert_masters(&world, &[0]);
}

#[test]
fn a_hold_outlives_the_daemon_and_the_machine() {
    let mut world = settled(vec![gated(101, true), gated(100, true)]);
    hold(&mut world, 0, true);
    world.apply(Fault::Kill(0, Some(seconds(1))));
    world.run(seconds(10));
    assert_masters(&world, &[0]);
    world.power_off(0);
    world.run(seconds(60));
    assert_masters(&world, &[1]);
    world.apply(Fault::Boot(0));
    world.run(seconds(5));
    world.power_off(1);
    world.power_off(0);
    world.apply(Fault::Boot(0));
    world.run(seconds(60));
    assert_masters(&world, &[]);
    assert!(world.nodes[0].core.instances().as_slice()[0].is_held());
}

#[test]
fn a_resignation_hands_over_and_lasts_until_the_other_is_gone() {
    for make in [plain, |priority| gated(priority, true)] {
        let mut world = settled(vec![make(100), make(90)]);
        assert_masters(&world, &[0]);
        world.apply(Fault::Cable(0, false));
        world.run(seconds(10));
        world.apply(Fault::Cable(0, true));
        world.run(seconds(20));
        let master = world.masters()[0];
        let start = world.now;
        world.apply(Fault::Resign(master, false));
        world.run(seconds(60));
        assert_masters(&world, &[1 - master]);
        let took = after(&world, 1 - master, "Entering MASTER", start);
        assert!(took < seconds(3), "{took:?}\n{}", world.story());
        world.power_off(1 - master);
        world.run(seconds(60));
        assert_masters(&world, &[master]);
        assert!(!world.nodes[master].core.instances().as_slice()[0].has_resigned());
    }
}

#[test]
fn a_resignation_is_refused_where_nobody_was_ever_heard() {
    let mut world = settled(vec![plain(100)]);
    let start = world.now;
    world.apply(Fault::Resign(0, false));
    world.run(seconds(10));
    assert_masters(&world, &[0]);
    after(&world, 0, "resign: refused", start);
    world.apply(Fault::Resign(0, true));
    world.run(seconds(60));
    assert_masters(&world, &[]);
    world.apply(Fault::CancelResign(0));
    world.run(seconds(5));
    assert_masters(&world, &[0]);
}

#[test]
fn a_backup_resigns_only_beside_a_living_master() {
    let mut world = settled(vec![plain(101), plain(100)]);
    let refusal = |world: &World| {
        world.nodes[1].core.resign_refusal(InstanceId(0), false, world.now).is_some()
    };
    assert!(!refusal(&world));
    world.power_off(0);
    world.run(Duration::from_millis(3200));
    assert!(refusal(&world));
}

#[test]
fn what_nobody_takes_over_is_taken_back() {
    let mut world = settled(vec![plain(100), plain(90)]);
    world.apply(Fault::Cable(0, false));
    world.run(seconds(10));
    world.apply(Fault::Cable(0, true));
    world.run(seconds(10));
    assert_masters(&world, &[0]);
    world.power_off(1);
    let start = world.now;
    world.apply(Fault::Resign(0, false));
    world.run(seconds(5));
    assert_masters(&world, &[0]);
    after(&world, 0, "nobody has taken over", start);
}

#[test]
fn a_person_s_word_is_heeded_before_the_others_claim_again() {
    let mut world = World::with_guard(vec![gated(150, true), gated(100, true)], Guard::None);
    while world.when(0, "acquire exited with status 1", Time::ZERO).is_none() {
        world.run(Duration::from_millis(10));
    }
    let start = world.now;
    world.tell(0, Event::Released { instance: InstanceId(0) });
    world.run(seconds(20));
    assert_masters(&world, &[0]);
    let took = after(&world, 0, "Entering MASTER", start);
    assert!(took < seconds(2), "{took:?}\n{}", world.story());
}
