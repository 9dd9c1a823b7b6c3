//! What hosts do to their nodes.

use super::lab::{self, Daemon, seconds};
use super::random::Random;
use super::shape::Shape;
use super::world::{PRIORITIES, REST, World};
use nix::sys::signal::Signal;

/// What a blow does to adverts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing: they go out as if nothing was done.
    None,
    /// Some may be late or lost, fewer than the other node waits for.
    Brief,
    /// The other node takes over. Not done where there is storage: without a guard, a node that is
    /// silent for that long may lose it to the other.
    Long,
}

enum Act {
    /// A shell script on the host: `TAKE_ONE` and `TAKE_ALL` remove virtual addresses, `RESTORE` puts its
    /// own back.
    Script(&'static str),
    Do(fn(&mut World, usize)),
}

struct Blow {
    what: &'static str,
    effect: Effect,
    /// Which pairs it means something to.
    concerns: fn(Shape) -> bool,
    act: Act,
}

use Act::{Do, Script};
use Effect::{Brief, Long};

const fn all(_: Shape) -> bool {
    true
}

fn is_vmac(shape: Shape) -> bool {
    shape == Shape::Vmac
}

fn is_closed(shape: Shape) -> bool {
    shape == Shape::Closed
}

/// A blow to a host.
macro_rules! blows {
    ($($what:literal, $effect:expr, $concerns:expr, $act:expr;)*) => {
        &[$(Blow { what: $what, effect: $effect, concerns: $concerns, act: $act }),*]
    };
}

const BLOWS: &[Blow] = blows! {
    // Addresses.
    "its addresses go for a moment", Brief, all,
        Script("ip addr flush dev eth0; sleep 0.2; RESTORE");
    "its addresses go for long", Long, all,
        Script("ip addr flush dev eth0; sleep 4; RESTORE");
    "an address is deleted", Effect::None, all, Script("TAKE_ONE");
    "all addresses of the service are deleted", Effect::None, all, Script("TAKE_ALL");
    "they are deleted again and again", Effect::None, all,
        Script("for n in 1 2 3 4 5 6 7 8; do TAKE_ALL sleep 0.05; done");
    "IPv6 is switched off for a moment", Brief, Shape::has_ipv6,
        Script("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1; sleep 0.2; RESTORE");
    "IPv6 is switched off for long", Long, Shape::has_ipv6,
        Script("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1; sleep 4; RESTORE");
    "its link-local addresses are made anew", Brief, Shape::has_ipv6,
        Script("ip -6 addr flush dev eth0 scope link; sleep 0.2; RESTORE");
    "its link-local address is looked for on other hosts first",
    Long,
    Shape::has_ipv6,
        Script("ip -6 addr flush dev eth0 scope link; cd /proc/sys/net/ipv6/conf/eth0
            echo 1 >accept_dad; echo 1 >dad_transmits; ip addr add fe80::51:99/64 dev eth0; sleep 3
            ip addr del fe80::51:99/64 dev eth0; RESTORE");
    // Interfaces.
    "its interface flaps", Brief, all,
        Script("ip link set eth0 down; sleep 0.2; ip link set eth0 up; RESTORE");
    "its interface flaps again and again", Brief, all,
        Script("for n in 1 2 3 4 5 6; do ip link set eth0 down; sleep 0.1; ip link set eth0 up; sleep 0.05
            done; RESTORE");
    "its interface is down for long", Long, all,
        Script("ip link set eth0 down; sleep 4; ip link set eth0 up; RESTORE");
    "its interface is renamed for a moment", Brief, all,
        Script("ip link set eth0 down; ip link set eth0 name away; sleep 0.1
            ip link set away name eth0; ip link set eth0 up; RESTORE");
    "its interface is renamed for long", Long, all,
        Script("ip link set eth0 down; ip link set eth0 name away; ip link set away up; sleep 4
            ip link set away down; ip link set away name eth0; ip link set eth0 up; RESTORE");
    "its interface is deleted and made anew", Brief, all, Do(|world, place| remake(world, place, 0.1));
    "its interface is deleted, and made anew later", Long, all,
        Do(|world, place| remake(world, place, 4.0));
    "its interface gets another MTU", Brief, all,
        Script("ip link set eth0 mtu 1400; sleep 0.1; ip link set eth0 mtu 1500; RESTORE");
    "its interface gets another MAC address", Brief, all,
        Script("was=$(ip -o link show eth0 | sed 's/.*ether //; s/ .*//')
            ip link set eth0 address 02:51:00:00:00:77; sleep 0.2; ip link set eth0 address $was");
    // A VMAC.
    "its VMAC is deleted", Brief, is_vmac, Script("ip link del vrrp.51");
    "its VMAC is deleted for as long as somebody does so", Brief, is_vmac,
        Script("for n in 1 2 3 4 5; do ip link del vrrp.51; sleep 0.05; done");
    "its VMAC flaps", Brief, is_vmac,
        Script("ip link set vrrp.51 down; sleep 0.2; ip link set vrrp.51 up");
    "its VMAC loses its addresses", Effect::None, is_vmac, Script("ip addr flush dev vrrp.51");
    "its VMAC gets another MAC address", Brief, is_vmac,
        Script("ip link set vrrp.51 address 02:51:00:00:00:78");
    "its VMAC is renamed", Brief, is_vmac,
        Script("ip link set vrrp.51 down; ip link set vrrp.51 name lost; sleep 0.3; ip link del lost");
    // Routes, rules, filters, settings.
    "routes are deleted", Effect::None, all,
        Script("ip route del 10.66.0.0/24; ip -6 route del fd00:66::/64");
    "rules are deleted", Effect::None, Shape::has_route,
        Script("ip rule del from 10.67.0.0/16 table 100");
    "routes and rules are deleted again and again", Effect::None, Shape::has_route,
        Script("for n in 1 2 3 4 5 6 7 8; do ip route del 10.66.0.0/24
            ip rule del from 10.67.0.0/16 table 100; sleep 0.05; done");
    "the packet filter is flushed", Effect::None, is_closed, Script("nft flush ruleset");
    "the packet filter is loaded anew", Effect::None, is_closed,
        Script("printf 'flush ruleset\\ntable inet f { chain c { type filter hook input priority 0; }; }' |
            nft -f -");
    "settings are changed", Effect::None, |shape| !is_vmac(shape),
        Script("sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.rp_filter=2
            sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1 net.ipv4.ip_nonlocal_bind=1");
    // News.
    "much happens that is no business of ours", Effect::None, all, Script(FLOOD);
    // On a busy machine that takes longer than the other waits.
    "the daemon stands still while much happens", Long, all, Do(deaf);
    // Files.
    "the socket is removed", Effect::None, all, Script("rm -f /run/glha/control.sock");
    "the files of the run-time folder are removed", Effect::None, all,
        Script("find /run/glha -type f -delete; find /run/glha -type s -delete");
    "the run-time folder is removed", Effect::None, all, Script("rm -rf /run/glha");
    "the pid files are removed", Effect::None, all, Script("rm -f /run/*.pid");
    // Limits.
    "there are no descriptors left", Effect::None, all, Do(no_descriptors);
    // People.
    "reload", Effect::None, all, Do(|world, place| world.signal(place, Signal::SIGHUP));
    "reload, with addresses that go", Brief, all, Do(|world, place| {
        world.signal(place, Signal::SIGHUP);
        world.script(place, "TAKE_ALL");
        world.signal(place, Signal::SIGHUP);
    });
    "reload, while the interface flaps", Brief, all, Do(|world, place| {
        world.signal(place, Signal::SIGHUP);
        world.script(place, "ip link set eth0 down; sleep 0.1; ip link set eth0 up; RESTORE");
        world.signal(place, Signal::SIGHUP);
    });
    "another priority", Brief, all, Do(|world, place| {
        world.configure(place, 120);
        world.signal(place, Signal::SIGHUP);
        world.comes_to_rest();
        world.configure(place, PRIORITIES[place]);
        world.signal(place, Signal::SIGHUP);
    });
    "dumps are asked for", Effect::None, all, Do(|world, place| {
        for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGUSR1] {
            world.signal(place, signal);
        }
    });
    // The daemon.
    "the node stands still for long", Long, all, Do(|world, place| {
        world.lab.hosts[place].freeze(true);
        lab::wait_until(seconds(6.0), || false);
        world.lab.hosts[place].freeze(false);
        world.daemons.iter().flatten().for_each(Daemon::go_on);
    });
    "the daemon is killed, and started again", Long, all, Do(|world, place| restart(world, place, ""));
    "the daemon is killed, loses its files, and is started again", Long, all,
        Do(|world, place| restart(world, place, "rm -rf /run/glha"));
    "the daemon is killed, much is taken away, and it is started again", Long, all,
        Do(|world, place| {
            restart(world, place, "TAKE_ONE ip link del vrrp.51; ip rule del from 10.67.0.0/16 table 100
                nft flush ruleset");
        });
};

/// Addresses come and go on the loopback interface.
const FLOOD: &str = "for n in $(seq 1 250); do
        echo addr add 127.1.0.$n/32 dev lo; echo addr del 127.1.0.$n/32 dev lo
    done | ip -batch -";

/// More news than a socket's buffer holds, and real news among them.
fn deaf(world: &mut World, place: usize) {
    world.signal(place, Signal::SIGSTOP);
    world.script(
        place,
        "for n in $(seq 1 6000); do
            echo addr add 127.1.0.1/32 dev lo; echo addr del 127.1.0.1/32 dev lo
        done | ip -batch -
        TAKE_ALL ip route del 10.66.0.0/24; ip rule del from 10.67.0.0/16 table 100
        nft flush ruleset; ip link del vrrp.51",
    );
    world.daemons[place].iter().for_each(Daemon::go_on);
}

fn remake(world: &mut World, place: usize, after: f64) {
    world.lab.hosts[place].run("ip link del eth0");
    lab::wait_until(seconds(after), || false);
    world.lab.connect(place);
    world.script(place, "RESTORE");
}

fn no_descriptors(world: &mut World, place: usize) {
    world.script(
        place,
        "for pid in $(pidof glha); do
            eval was_$pid=$(prlimit --pid $pid --nofile -o SOFT --noheadings)
            prlimit --pid $pid --nofile=$(ls /proc/$pid/fd | wc -l):
            kill -HUP $pid
        done
        /run/lab/glha status >/dev/null 2>&1
        TAKE_ONE sleep 2
        for pid in $(pidof glha); do eval prlimit --pid $pid --nofile=\\$was_$pid:; done",
    );
}

fn restart(world: &mut World, place: usize, between: &str) {
    world.signal(place, Signal::SIGKILL);
    for mut daemon in std::mem::take(&mut world.daemons[place]) {
        daemon.wait(seconds(REST));
    }
    world.script(place, between);
    world.start(place);
}

/// One that concerns this pair, to one of its hosts; and after it, rest.
#[track_caller]
pub fn strike(world: &mut World, random: &mut Random) {
    let (shape, master) = (world.shape, world.master());
    let concerns =
        |blow: &&Blow| (blow.concerns)(shape) && !(blow.effect == Long && shape.has_storage());
    let possible: Vec<&Blow> = BLOWS.iter().filter(concerns).collect();
    // A backup has less to lose.
    let mut place = || if random.below(3) > 0 { master } else { random.below(2) };
    let (first, second) = (place(), place());
    let (place, blow) = (first, possible[random.below(possible.len())]);
    // Sometimes another one meets it half way.
    let next = (random.below(4) == 0).then(|| (second, possible[random.below(possible.len())]));
    match next {
        None if blow.effect == Effect::None => world.undisturbed(|world| hit(world, place, blow)),
        None => {
            hit(world, place, blow);
            world.comes_to_rest();
        }
        Some((other, then)) => {
            hit(world, place, blow);
            hit(world, other, then);
            world.comes_to_rest();
        }
    }
}

fn hit(world: &mut World, place: usize, blow: &Blow) {
    let host = world.lab.hosts[place].name;
    world.tell(&format!("{host}: {}", blow.what));
    match blow.act {
        Script(script) => world.script(place, script),
        Do(act) => act(world, place),
    }
}
