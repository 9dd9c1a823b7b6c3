//! The scenes: one failure after the other, each on a fresh stage.

use std::time::Duration;

use super::cast::Role;
use super::film::Film;
use crate::core::event::MountAction;
use crate::sim::{Daemon, Fault, Guard, Hook, World};

/// Nodes have settled after this, or never do.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);
/// And nothing changed for so long.
const CALM: Duration = Duration::from_secs(5);
/// When a person is asked for the word that no guard can give.
const PERSON_AFTER: Duration = Duration::from_secs(20);
/// A failure lasts so long.
const TROUBLE: Duration = Duration::from_secs(90);
/// A partition.
const PARTITION: Duration = Duration::from_secs(30);
/// A host that stands still.
const FREEZE: Duration = Duration::from_secs(10);
/// How the unit starts a daemon that was killed.
const RESTART: Duration = Duration::from_millis(100);
/// What is seen of the time before a failure.
const PRELUDE: Duration = Duration::from_secs(1);
/// Between a failure and its end there is time to look at the first.
const AFTERMATH: Duration = Duration::from_secs(60);

/// The stage: a world with a master, and the camera.
struct Stage<'a> {
    roles: &'a [Role<'a>],
    world: World,
    film: Film,
    /// Who is master when the scene begins.
    master: usize,
    /// Another node.
    other: usize,
}

/// Plays everything.
pub(super) fn play_all(roles: &[Role<'_>]) -> Vec<Film> {
    let is_gated = roles.iter().any(Role::is_gated);
    let has_checks = roles.iter().any(|role| !role.staged.checks.is_empty());
    let mut films = vec![start(roles)];
    let mut play = |title: &str, scene: fn(&mut Stage<'_>)| {
        let mut stage = Stage::new(roles, title);
        scene(&mut stage);
        films.push(stage.film);
    };
    play("power-off of the master, and its return", power_off);
    play("an orderly stop of the master, and its return", stop);
    if has_checks {
        play("a check fails on the master, and recovers", check_fails);
    }
    play("the nodes cannot hear each other for 30 s", partition);
    play("the master's host stands still for 10 s", freeze);
    play("the master's daemon is killed and started again", kill);
    play("the master's cable is pulled, and put back", cable);
    if is_gated {
        play("power-off of the master, and the mount fails on the other node", mount_fails);
        play("power-off of the master, and the mount hangs on the other node", mount_hangs);
        play("an orderly stop of the master, and its unmount hangs", release_hangs);
    }
    films
}

/// Everybody is switched on.
fn start(roles: &[Role<'_>]) -> Film {
    let mut world = world(roles);
    let mut film = Film::new("all nodes start together", &world);
    film.tell(None, "all nodes are switched on");
    settle(&mut world, roles, &mut film);
    film
}

fn world(roles: &[Role<'_>]) -> World {
    let guard = roles.iter().find(|role| role.is_gated()).map_or(Guard::Mmp, Role::guard);
    World::with_guard(roles.iter().map(|role| role.staged.clone()).collect(), guard)
}

/// Until there is a master and nothing changes any more. Without a guard somebody has to say that
/// the disk is free.
fn settle(world: &mut World, roles: &[Role<'_>], film: &mut Film) {
    let mut asked = false;
    while film.broken.is_none() && film.length < SETTLES_WITHIN {
        film.roll(world, roles, Duration::from_secs(1));
        let calm = film.length.saturating_sub(film.last_event()) >= CALM;
        if calm && !world.masters().is_empty() {
            return;
        }
        let needs_person = world.disk.guard == Guard::None && world.masters().is_empty();
        if needs_person && !asked && film.length >= PERSON_AFTER {
            asked = true;
            let name = &roles[0].spec.name;
            film.tell(
                Some(0),
                format!("a person says that the disk is free: glha released {name}"),
            );
            world.apply(Fault::Person(0));
        }
    }
}

impl<'a> Stage<'a> {
    /// A settled pair, and a camera that has not seen anything yet.
    fn new(roles: &'a [Role<'a>], title: &str) -> Self {
        let mut world = world(roles);
        let mut unseen = Film::new("", &world);
        settle(&mut world, roles, &mut unseen);
        let master = world.masters().first().copied().unwrap_or(0);
        let other = usize::from(master == 0);
        let film = Film::new(title, &world);
        let mut stage = Self { roles, world, film, master, other };
        stage.roll(PRELUDE);
        stage
    }

    fn roll(&mut self, span: Duration) {
        self.film.roll(&mut self.world, self.roles, span);
    }

    fn act(&mut self, node: usize, text: &str, fault: Fault) {
        self.film.tell(Some(node), text);
        self.world.apply(fault);
    }

    /// A node that stopped is started when its daemon has ended.
    fn start_again(&mut self, node: usize) {
        if self.world.nodes[node].daemon == Daemon::Gone {
            self.act(node, "is started again", Fault::Start(node));
        }
    }
}

fn power_off(stage: &mut Stage<'_>) {
    let master = stage.master;
    stage.act(master, "loses its power", Fault::PowerOff(master));
    stage.roll(TROUBLE);
    stage.act(master, "has power again and boots", Fault::Boot(master));
    stage.roll(AFTERMATH);
}

fn stop(stage: &mut Stage<'_>) {
    let master = stage.master;
    stage.act(master, "is told to stop", Fault::Stop(master));
    stage.roll(TROUBLE);
    stage.start_again(master);
    stage.roll(AFTERMATH);
}

fn check_fails(stage: &mut Stage<'_>) {
    let master = stage.master;
    let checks = stage.roles[master].checks.join(", ");
    stage.act(master, &format!("the service dies; fails: {checks}"), Fault::Checks(master, false));
    stage.roll(TROUBLE);
    stage.act(master, "the service could be started again", Fault::Checks(master, true));
    stage.roll(AFTERMATH);
}

/// Between the master and everybody else.
fn partition(stage: &mut Stage<'_>) {
    let master = stage.master;
    let others: Vec<usize> = (0..stage.roles.len()).filter(|&node| node != master).collect();
    stage.film.tell(None, "nothing gets through between the nodes; clients reach all of them");
    for &other in &others {
        stage.world.apply(Fault::Cut(master, other));
        stage.world.apply(Fault::Cut(other, master));
    }
    stage.roll(PARTITION);
    stage.film.tell(None, "they hear each other again");
    for &other in &others {
        stage.world.apply(Fault::Mend(master, other));
        stage.world.apply(Fault::Mend(other, master));
    }
    stage.roll(AFTERMATH);
}

fn freeze(stage: &mut Stage<'_>) {
    let master = stage.master;
    stage.act(master, "stands still, as a virtual machine may", Fault::FreezeHost(master));
    stage.roll(FREEZE);
    stage.act(master, "goes on", Fault::ThawHost(master));
    stage.roll(AFTERMATH);
}

fn kill(stage: &mut Stage<'_>) {
    let master = stage.master;
    let text = "the daemon is killed; the service manager starts it 0.1 s later";
    stage.act(master, text, Fault::Kill(master, Some(RESTART)));
    stage.roll(AFTERMATH);
}

fn cable(stage: &mut Stage<'_>) {
    let master = stage.master;
    stage.act(master, "its cable is pulled", Fault::Cable(master, false));
    stage.roll(TROUBLE);
    stage.act(master, "its cable is put back", Fault::Cable(master, true));
    stage.roll(AFTERMATH);
}

fn mount_fails(stage: &mut Stage<'_>) {
    bad_mount(stage, "will fail to mount", Hook::fails(300, 1));
}

fn mount_hangs(stage: &mut Stage<'_>) {
    bad_mount(stage, "will hang in its mount", Hook::Hangs);
}

fn bad_mount(stage: &mut Stage<'_>, text: &str, hook: Hook) {
    let (master, other) = (stage.master, stage.other);
    let good = stage.world.nodes[other].mount.acquire;
    stage.act(other, text, Fault::Hook(other, MountAction::Acquire, hook));
    stage.act(master, "loses its power", Fault::PowerOff(master));
    stage.roll(TROUBLE);
    stage.act(other, "can mount again", Fault::Hook(other, MountAction::Acquire, good));
    stage.act(master, "has power again and boots", Fault::Boot(master));
    stage.roll(TROUBLE);
}

fn release_hangs(stage: &mut Stage<'_>) {
    let master = stage.master;
    let good = stage.world.nodes[master].mount.release;
    let text = "will hang in its unmount";
    stage.act(master, text, Fault::Hook(master, MountAction::Release, Hook::Hangs));
    stage.act(master, "is told to stop", Fault::Stop(master));
    stage.roll(TROUBLE);
    let text = "a person has ended what kept the disk busy";
    stage.act(master, text, Fault::Hook(master, MountAction::Release, good));
    stage.roll(TROUBLE);
    stage.start_again(master);
    stage.roll(TROUBLE);
}
