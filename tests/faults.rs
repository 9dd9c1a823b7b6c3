//! The storage is never on two nodes, whatever happens to a node: on real file systems with ext4's
//! multi-mount protection, under real faults.

mod lab;

use lab::gated::{
    self, SHIPPED, TAKEOVER, count, install, master, mount_hook_with_probe, no_overlap, note,
    noted, start, zeros,
};
use lab::nginx::{self, MOUNT_POINT};
use lab::{ARTICLE_VIP, Daemon, Guard, Host, Lab, Plan, Subject, conf, seconds};
use nix::sys::signal::Signal;
use std::time::{Duration, SystemTime};

/// What the shipped mount.sh needs to know. MMP makes a mount after a crash wait 22 s.
const BLOCK: &str = "mount timeout 40 probe 2
    env MOUNT_DEVICE /dev/mapper/mpath0-part1
    env MOUNT_POINT /home/git/gitlab-data
    peers glha";
/// A mount that MMP refuses or lets wait, a hold-down, and room for a busy machine.
const WITH_MMP: f64 = 60.0;
/// How long a node is frozen: long enough for the other to claim its place.
const FROZEN: f64 = 10.0;
/// The binary, as every host has it.
const GLHA: &str = "/run/lab/glha";
/// Where a fault of a check is made: the check fails while this file exists.
const BROKEN: &str = "/run/broken";

// --- what the tests are made of

/// The shipped mount hook, and what else it does while it acquires and releases.
fn shipped(before_acquire: &str, before_release: &str) -> String {
    let acquire = format!("{before_acquire}; {SHIPPED}");
    mount_hook_with_probe(&acquire, &format!("{before_release}; {SHIPPED}"), SHIPPED)
}

fn guarded(guard: &str) -> String {
    format!("{BLOCK}\nenv GUARD {guard}")
}

/// Two hosts with a disk that MMP protects; `a` is master with the address and the disk, `b` is
/// backup. Both have the shipped hook.
fn pair(before_release: &str) -> (Lab, Daemon, Daemon) {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let hook = shipped(":", before_release);
    let a_glha = start(a, 150, &guarded("mmp"), &hook);
    holds_everything(&lab, a);
    let b_glha = start(b, 100, &guarded("mmp"), &hook);
    is_backup(&lab, &b_glha);
    (lab, a_glha, b_glha)
}

fn is_mounted(host: &Host) -> bool {
    host.mounted(MOUNT_POINT).as_deref() == Some("rw")
}

fn holds(host: &Host) -> bool {
    is_mounted(host) && host.has_address(ARTICLE_VIP)
}

fn holds_everything(lab: &Lab, host: &Host) {
    never_two_until(lab, &format!("{} has address and disk", host.name), TAKEOVER, || holds(host));
}

fn is_backup(lab: &Lab, glha: &Daemon) {
    lab.wait_for("a backup", seconds(TAKEOVER), || glha.log().contains("Entering BACKUP STATE"));
}

/// Waits, and fails if meanwhile the disk or the address is on two hosts, or an address is where
/// no disk is.
#[track_caller]
fn never_two_until(lab: &Lab, what: &str, limit: f64, mut condition: impl FnMut() -> bool) {
    lab.wait_for(what, seconds(limit), || {
        // The address is looked at on either side of the mount: it may come or go between.
        let addressed: Vec<_> = lab.owners(ARTICLE_VIP);
        let mounted: Vec<_> =
            lab.hosts.iter().filter(|h| h.mounted(MOUNT_POINT).is_some()).collect();
        let still: Vec<_> = lab.owners(ARTICLE_VIP);
        lab.check("the disk is on one host", mounted.len() < 2);
        lab.check("the address is on one host", addressed.len() < 2);
        let is_bare =
            |name: &&&str| still.contains(name) && !mounted.iter().any(|h| h.name == **name);
        lab.check("no address without the disk", !addressed.iter().any(|name| is_bare(&name)));
        condition()
    });
}

/// The same for a whole span.
#[track_caller]
fn never_two_for(lab: &Lab, what: &str, span: f64, mut truth: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + seconds(span);
    never_two_until(lab, what, span + TAKEOVER, || {
        lab.check(what, truth());
        std::time::Instant::now() >= end
    });
}

/// What happens to addresses on a host from now on; a flap is seen however short it is.
fn watch_addresses(host: &Host) -> Daemon {
    let watch = host.start("/sbin/ip", &["-4", "-o", "monitor", "address"]);
    host.sh("ip addr add 192.0.2.1/32 dev lo");
    lab::wait_until(seconds(5.0), || {
        let is_seen = watch.log().contains("192.0.2.1");
        if !is_seen {
            host.sh("ip addr del 192.0.2.1/32 dev lo; ip addr add 192.0.2.1/32 dev lo");
        }
        is_seen
    });
    watch
}

/// The mount's number, which another mount of the same disk would not have.
fn mount_id(host: &Host) -> String {
    host.sh(&format!("grep ' {MOUNT_POINT} ' /proc/self/mountinfo | cut -d ' ' -f 1"))
}

fn claims(lab: &Lab, name: &str, since: SystemTime) -> usize {
    lab.adverts(name).iter().filter(|(f, _)| f.at > since).count()
}

/// Starts glha again and again, as systemd would with `Restart=always`.
fn supervise(host: &Host) -> Daemon {
    let glha = Subject::Glha.program();
    let arguments = "-n -l -D -P -f /etc/glha/glha.conf -p /run/d.pid -r /run/v.pid";
    host.start("/bin/sh", &["-c", &format!("while :; do {glha} {arguments}; sleep 0.1; done")])
}

/// A check hook that fails while [`BROKEN`] exists.
fn with_check(host: &Host) -> &'static str {
    host.write_script("/etc/glha/hooks/check.sh", &format!("#!/bin/sh\n[ ! -e {BROKEN} ]\n"));
    "check interval 1 timeout 2 fall 1 rise 1 grace 0\n"
}

// --- the daemon is killed

#[test]
fn killed_and_restarted_daemon_goes_on_as_if_nothing_had_happened() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    install(a, 150, &guarded("mmp"), &shipped(":", ":"));
    let a_glha = supervise(a);
    holds_everything(&lab, a);
    let b_glha = start(b, 100, &guarded("mmp"), &shipped(":", ":"));
    is_backup(&lab, &b_glha);
    let watch = watch_addresses(a);
    let (mount, noted_before) = (mount_id(a), noted(a).len());
    for n in 1..=3 {
        a.signal("glha", Signal::SIGKILL);
        let resumed = || a_glha.log().matches("Reason resume").count() == n;
        never_two_until(&lab, "it resumes", TAKEOVER, || {
            lab.check("a has everything", holds(a));
            resumed()
        });
        never_two_for(&lab, "a has everything", 1.5, || holds(a));
    }
    never_two_for(&lab, "a has everything", 4.0, || holds(a));
    lab.check("b never claimed", lab.adverts("b").is_empty());
    lab.check("b is backup", !b_glha.log().contains("Acquiring"));
    lab.check("no address went", !watch.log().contains(ARTICLE_VIP));
    lab.check("no priority 0", zeros(&lab, "a").is_empty());
    assert_eq!(mount_id(a), mount, "the same mount");
    let only_probes = noted(a).iter().skip(noted_before).all(|n| n.what.starts_with("probe"));
    lab.check(&format!("nothing but probes: {:?}", noted(a)), only_probes);
}

/// Nothing can prove that the disk is its own: it resumes if nobody else is heard, and what it was
/// in doubt about is no reason to give up afterwards.
#[test]
fn killed_and_restarted_daemon_without_a_guard_goes_on_alone() {
    let lab = Lab::pair_with(Some(Guard::None));
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    install(a, 150, &format!("{}\nenv ACCEPT_RISK yes", guarded("none")), &shipped(":", ":"));
    let a_glha = supervise(a);
    holds_everything(&lab, a);
    let b_glha = start(b, 100, &guarded("none"), &shipped(":", ":"));
    is_backup(&lab, &b_glha);
    a.signal("glha", Signal::SIGKILL);
    let resumed = || a_glha.log().contains("Reason resume");
    never_two_until(&lab, "it resumes", TAKEOVER, || {
        lab.check("a has everything", holds(a));
        resumed()
    });
    let probed = || noted(a).iter().filter(|n| n.what.starts_with("probe end address")).count();
    let before = probed();
    never_two_until(&lab, "it is looked at twice more", TAKEOVER, || {
        lab.check("a has everything", holds(a));
        probed() >= before + 2
    });
    lab.check("b is backup", !b_glha.log().contains("Acquiring"));
}

#[test]
fn hook_of_a_killed_daemon_is_ended_and_cleaned_up_after() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let a = &lab.hosts[0];
    let once = "[ -e /run/once ] || { : >/run/once; sleep 600; }";
    install(a, 150, &guarded("mmp"), &shipped(once, ":"));
    let a_glha = supervise(a);
    lab.wait_for("an acquire", seconds(TAKEOVER), || a.exists("/run/once"));
    a.signal("glha", Signal::SIGKILL);
    holds_everything(&lab, a);
    no_overlap(&lab);
    let actions: Vec<_> = noted(a)
        .iter()
        .filter(|n| !n.what.starts_with("probe"))
        .map(|n| n.what.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let wanted = ["acquire begin", "acquire end", "release begin", "release end"];
    lab.check(&format!("{actions:?}"), actions.starts_with(&wanted.map(str::to_owned)));
    lab.check("it is told", a_glha.log().contains("a mount hook of a former run still runs"));
    lab.check("nothing of it is left", a.processes("sleep").is_empty());
}

#[test]
fn killed_daemon_that_stays_dead_keeps_the_disk_and_the_service() {
    let (lab, _a_glha, b_glha) = pair(":");
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    nginx::configure(a);
    a.sh(&format!("service nginx start; echo here >{MOUNT_POINT}/index.html"));
    a.signal("glha", Signal::SIGKILL);
    never_two_until(&lab, "b tries, and tries again", WITH_MMP, || {
        lab.check("b never mounts", b.mounted(MOUNT_POINT).is_none());
        lab.check("a keeps everything", holds(a));
        lab.check("and serves", lab.client.fetch(ARTICLE_VIP, "/", seconds(1.0)).is_some());
        count(b, "acquire begin") > 1
    });
    let device = lab.disk.as_ref().expect("a disk").name(0);
    let named = format!("device {device}: mount watches it");
    lab.check("b names who has it", b_glha.log().contains(&named));
    let refused = b_glha.log().contains(&format!("is in use by host {}", host_name()));
    lab.check("and that it is alive", refused);
    lab.check("b announces nothing", gated::first_announcement(&lab, "b").is_none());
}

fn host_name() -> String {
    nix::unistd::gethostname().expect("a host name").to_string_lossy().into_owned()
}

// --- a node is frozen

/// What of a node stands still.
#[derive(Clone, Copy, PartialEq)]
enum Freeze {
    Daemon,
    Host,
}

impl Freeze {
    fn set(self, host: &Host, is_frozen: bool) {
        match self {
            Self::Host => host.freeze(is_frozen),
            Self::Daemon if is_frozen => host.signal("glha", Signal::SIGSTOP),
            Self::Daemon => host.signal("glha", Signal::SIGCONT),
        }
    }
}

/// `a`, the master, stands still until `b` has claimed its place; then it wakes. Returns when.
fn freeze_a(lab: &Lab, what: Freeze) -> SystemTime {
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let at = SystemTime::now();
    what.set(a, true);
    never_two_for(lab, "b takes nothing", FROZEN, || b.mounted(MOUNT_POINT).is_none());
    lab.check("b has claimed", claims(lab, "b", at) > 0);
    let woken_at = SystemTime::now();
    what.set(a, false);
    woken_at
}

/// Fails if `a` said anything between waking and the end of its first hook, or if that was
/// another than a `probe` with this reason. Returns when it ended.
fn first_it_probes(lab: &Lab, woken_at: SystemTime) -> SystemTime {
    let a = &lab.hosts[0];
    let lapse = |n: &gated::Noted| n.what.starts_with("probe end") && n.what.ends_with("lapse");
    lab.wait_for("a probe", seconds(TAKEOVER), || noted(a).iter().any(lapse));
    let notes = noted(a);
    let end = notes.iter().find(|n| lapse(n)).expect("a probe").at;
    // A probe that was running when the node froze ends first; it decides nothing.
    let others = notes.iter().filter(|n| n.at > woken_at && n.at <= end);
    let only_probes = others.into_iter().all(|n| n.what.starts_with("probe"));
    lab.check(&format!("nothing but probe runs first: {notes:?}"), only_probes);
    let early = |f: &lab::Frame| f.from == "a" && f.at > woken_at && f.at < end;
    let said = |f: &lab::Frame| f.advert().is_some() || f.announces().is_some();
    lab.check("no advert and no announcement", !lab.frames().iter().any(|f| early(f) && said(f)));
    end
}

/// With proof that the disk is still its own, the frozen node goes on.
fn frozen_with_proof(what: Freeze) {
    let (lab, a_glha, _b_glha) = pair(":");
    let [a, _b] = &lab.hosts[..] else { unreachable!() };
    let watch = watch_addresses(a);
    let mount = mount_id(a);
    let woken_at = freeze_a(&lab, what);
    first_it_probes(&lab, woken_at);
    never_two_until(&lab, "a goes on", TAKEOVER, || a_glha.log().contains("Reason lapse"));
    never_two_for(&lab, "a has everything", 5.0, || holds(a));
    lab.check("b gave way", claims(&lab, "b", SystemTime::now() - seconds(2.0)) == 0);
    lab.check(
        "no address went",
        !watch.log().lines().any(|l| l.contains("Deleted") && l.contains(ARTICLE_VIP)),
    );
    assert_eq!(mount_id(a), mount, "the same mount");
    lab.check(
        "a released nothing",
        !noted(a).iter().any(|n| n.at > woken_at && n.what.starts_with("release")),
    );
    let announced = |f: &lab::Frame| f.from == "a" && f.at > woken_at && f.announces().is_some();
    lab.check("a announces again", lab.frames().iter().any(announced));
    lab.check("b never had the address", gated::first_announcement(&lab, "b").is_none());
    no_overlap(&lab);
}

#[test]
fn frozen_daemon_goes_on_with_proof() {
    frozen_with_proof(Freeze::Daemon);
}

#[test]
fn frozen_host_goes_on_with_proof() {
    frozen_with_proof(Freeze::Host);
}

/// Without, it lets go before it says anything.
fn frozen_without_proof(what: Freeze) {
    let lab = Lab::pair_with(Some(Guard::None));
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let accepted = format!("{}\nenv ACCEPT_RISK yes", guarded("none"));
    let a_glha = start(a, 150, &accepted, &shipped(":", ":"));
    holds_everything(&lab, a);
    let b_glha = start(b, 100, &guarded("none"), &shipped(":", ":"));
    is_backup(&lab, &b_glha);
    let woken_at = freeze_a(&lab, what);
    let probed_at = first_it_probes(&lab, woken_at);
    let released = || {
        noted(a).into_iter().find(|n| n.at > probed_at && n.what.starts_with("release end bare 0"))
    };
    never_two_until(&lab, "a releases", TAKEOVER, || released().is_some());
    let released_at = released().expect("just seen").at;
    let said = |f: &lab::Frame| f.advert().is_some() || f.announces().is_some();
    let early = lab
        .frames()
        .iter()
        .any(|f| f.from == "a" && f.at > woken_at && f.at < released_at && said(f));
    lab.check("and says nothing before", !early);
    lab.check("it says why", a_glha.log().contains("not provably ours"));
    // It may compete again.
    never_two_until(&lab, "one has everything", WITH_MMP, || holds(a) || holds(b));
    no_overlap(&lab);
}

#[test]
fn frozen_daemon_releases_without_proof() {
    frozen_without_proof(Freeze::Daemon);
}

#[test]
fn frozen_host_releases_without_proof() {
    frozen_without_proof(Freeze::Host);
}

// --- one thing during another

#[test]
fn two_quick_failovers() {
    let (lab, mut a_glha, mut b_glha) = pair("sleep 1");
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    a_glha.signal(Signal::SIGTERM);
    never_two_until(&lab, "a is gone", TAKEOVER, || a_glha.ended().is_some());
    let a_glha = Subject::Glha.start_with(a, "/etc/glha/glha.conf");
    is_backup(&lab, &a_glha);
    holds_everything(&lab, b);
    b_glha.signal(Signal::SIGTERM);
    never_two_until(&lab, "b is gone", TAKEOVER, || b_glha.ended().is_some());
    holds_everything(&lab, a);
    never_two_for(&lab, "it stays", 3.0, || holds(a));
    no_overlap(&lab);
}

#[test]
fn preemption_during_an_acquire() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let block = format!("{}\npreempt always\nhandover_wait 3", guarded("mmp"));
    let b_glha = start(b, 100, &block, &shipped("sleep 8", ":"));
    lab.wait_for("b acquires", seconds(TAKEOVER), || note(b, "acquire begin").is_some());
    let a_glha = start(a, 150, &block, &shipped("sleep 2", ":"));
    holds_everything(&lab, a);
    never_two_for(&lab, "it stays", 5.0, || holds(a));
    lab.check("b gave way", b_glha.log().contains("goes before ours"));
    lab.check("b vouches for nothing", zeros(&lab, "b").is_empty());
    lab.check("a had no failure", !a_glha.log().contains("holding down"));
    no_overlap(&lab);
}

#[test]
fn stop_during_an_acquire() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let a = &lab.hosts[0];
    let mut glha = start(a, 150, &guarded("mmp"), &shipped("sleep 600", ":"));
    // A shell may lose a signal while it starts a command.
    lab.wait_for("an acquire", seconds(TAKEOVER), || !a.processes("sleep").is_empty());
    glha.signal(Signal::SIGTERM);
    let status = glha.wait(seconds(TAKEOVER));
    assert!(status.success(), "{status}");
    no_overlap(&lab);
    let last = noted(a).pop().map(|n| n.what);
    lab.check("a release was last", last.is_some_and(|w| w.starts_with("release end bare 0")));
    lab.check("nothing is mounted", a.mounted(MOUNT_POINT).is_none());
    lab.check("nothing of the hook is left", a.processes("sleep").is_empty());
    lab.check("it vouches for nothing", zeros(&lab, "a").is_empty());
    lab.check("never an address", gated::first_announcement(&lab, "a").is_none());
}

#[test]
fn reload_during_a_release() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let block = format!("{}\n{}", guarded("mmp"), with_check(a));
    let a_glha = start(a, 150, &block, &shipped(":", "sleep 3"));
    holds_everything(&lab, a);
    let b_glha = start(b, 100, &guarded("mmp"), &shipped(":", ":"));
    is_backup(&lab, &b_glha);
    let before = count(a, "release begin");
    a.write(BROKEN, "");
    lab.wait_for("a releases", seconds(TAKEOVER), || count(a, "release begin") > before);
    a.write("/etc/keepalived/keepalived.conf", &conf(140, ""));
    a_glha.signal(Signal::SIGHUP);
    holds_everything(&lab, b);
    let released_at = noted(a).pop().expect("notes").at;
    let acquired = note(b, "acquire begin").expect("it acquired");
    lab.check("b after a", acquired.at > released_at);
    never_two_for(&lab, "it stays", 3.0, || holds(b));
    assert_eq!(count(a, "release begin"), before + 1, "one release");
    no_overlap(&lab);
}

/// A stop is a stop: neither a signal nor a command brings a stopping daemon back.
#[test]
fn reloads_while_stopping_change_nothing() {
    let (lab, mut a_glha, _b_glha) = pair("sleep 3");
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let before = count(a, "release begin");
    a_glha.signal(Signal::SIGTERM);
    lab.wait_for("a releases", seconds(TAKEOVER), || count(a, "release begin") > before);
    a_glha.signal(Signal::SIGHUP);
    let answer = a.run(&format!("{GLHA} reload 2>&1")).said;
    lab.check(&format!("the command is refused: {answer}"), answer.contains("stopping"));
    a_glha.signal(Signal::SIGHUP);
    never_two_until(&lab, "a is gone", TAKEOVER, || a_glha.ended().is_some());
    holds_everything(&lab, b);
    lab.check("it took nothing again", count(a, "release begin") == before + 1);
    lab.check("nor says it did", !a_glha.log().contains("Reloaded"));
}

/// What waits for addresses outlives a reload: a master with more addresses than one turn of the loop
/// can take off is reloaded while it lets go of them.
#[test]
fn a_reload_while_addresses_move_loses_no_release() {
    let lab = Lab::pair();
    let [a, _] = &lab.hosts[..] else { unreachable!() };
    install(a, 150, "mount timeout 20\npeers glha", &mount_hook_with_probe(":", ":", ":"));
    let addresses: String =
        (0..1000).map(|n| format!("10.77.{}.{}/32\n", n / 250, n % 250 + 1)).collect();
    let excluded = format!("virtual_ipaddress_excluded {{\n{addresses}}}");
    a.write("/etc/keepalived/keepalived.conf", &conf(150, &excluded));
    let a_glha = Subject::Glha.start_with(a, "/etc/glha/glha.conf");
    master(&lab, a);
    lab.wait_for("all of them", seconds(TAKEOVER), || a.has_address("10.77.3.250"));
    let before = count(a, "release end bare 0");
    a.sh(&format!("{GLHA} resign --force VI_1"));
    a_glha.signal(Signal::SIGHUP);
    lab.wait_for("the reload", seconds(TAKEOVER), || a_glha.log().contains("Reloaded"));
    lab.wait_for("the release", seconds(TAKEOVER), || count(a, "release end bare 0") > before);
    lab.check("no address is left", !a.has_address("10.77.3.250"));
}

/// Another name, a reload, a crash: the storage is found again under its new name.
#[test]
fn a_renamed_instance_resumes_after_a_crash() {
    let lab = Lab::pair();
    let [a, _] = &lab.hosts[..] else { unreachable!() };
    let mut glha = start(a, 150, "mount timeout 20", &mount_hook_with_probe(":", ":", ":"));
    master(&lab, a);
    for file in ["/etc/keepalived/keepalived.conf", "/etc/glha/glha.conf"] {
        a.write(file, &a.read(file).replace("VI_1", "renamed"));
    }
    glha.signal(Signal::SIGHUP);
    lab.wait_for("the reload", seconds(TAKEOVER), || glha.log().contains("Reloaded"));
    let begun = count(a, "release begin");
    glha.signal(Signal::SIGKILL);
    lab.wait_for("it is gone", seconds(TAKEOVER), || glha.ended().is_some());
    let again = Subject::Glha.start_with(a, "/etc/glha/glha.conf");
    lab.wait_for("it resumes", seconds(TAKEOVER), || {
        again.log().contains("(renamed) Entering MASTER STATE")
    });
    lab.check("nothing was released", count(a, "release begin") == begun);
}

#[test]
fn slow_release_of_a_stop_runs_to_its_end() {
    let (lab, mut a_glha, _b_glha) = pair("sleep 8");
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let stopped_at = SystemTime::now();
    a_glha.signal(Signal::SIGTERM);
    never_two_until(&lab, "a is gone", TAKEOVER, || a_glha.ended().is_some());
    let ends = noted(a).into_iter().filter(|n| n.at > stopped_at);
    let end = ends.into_iter().find(|n| n.what.starts_with("release end bare 0"));
    let end = end.unwrap_or_else(|| lab.fail("the release did not end well"));
    gated::advertised(&lab, "a", stopped_at, end.at);
    lab.check("priority 0 after it", zeros(&lab, "a").iter().all(|at| *at > end.at));
    holds_everything(&lab, b);
    lab.check("b after it", note(b, "acquire begin").expect("it acquired").at > end.at);
}

// --- what cannot be released, or is no good

#[test]
fn holder_in_another_mount_namespace_is_named_and_nothing_is_acknowledged() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let block =
        format!("{}\n{}", guarded("mmp").replace("timeout 40", "timeout 12"), with_check(a));
    let a_glha = start(a, 150, &block, &shipped(":", ":"));
    holds_everything(&lab, a);
    let b_glha = start(b, 100, &guarded("mmp"), &shipped(":", ":"));
    is_backup(&lab, &b_glha);
    a.sh("cp /bin/sleep /run/holder");
    let holder =
        a.start("/usr/bin/unshare", &["-m", "--propagation", "private", "/run/holder", "600"]);
    lab.wait_for("the holder", seconds(5.0), || !a.processes("holder").is_empty());
    let pid = holder.pid();
    let space = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("its namespace");
    a.write(BROKEN, "");
    lab.wait_for("stuck", seconds(WITH_MMP), || a_glha.log().contains("STUCK"));
    let named = format!(
        "mount namespace {}: pid {} (holder)",
        space.display(),
        a.sh("pgrep -x holder").trim()
    );
    lab.check(&format!("it names {named}"), a_glha.log().contains(&named));
    let tried = count(a, "release begin");
    lab.wait_for("another try", seconds(WITH_MMP), || {
        lab.check("b does not mount", b.mounted(MOUNT_POINT).is_none());
        count(a, "release begin") > tried
    });
    lab.check("no acknowledgement", zeros(&lab, "a").is_empty());
    lab.check("no address on two", lab.owners(ARTICLE_VIP).is_empty());
    drop(holder);
    let ended_at = SystemTime::now();
    lab.wait_for("the acknowledgement", seconds(WITH_MMP), || !zeros(&lab, "a").is_empty());
    let released = noted(a).into_iter().filter(|n| n.what.starts_with("release end bare 0"));
    let released_at = released.map(|n| n.at).find(|at| *at > ended_at);
    lab.check("after the release", released_at.is_some_and(|at| zeros(&lab, "a")[0] > at));
    never_two_until(&lab, "b has everything", WITH_MMP, || holds(b));
    no_overlap(&lab);
}

#[test]
fn storage_in_error_is_given_up() {
    let (lab, a_glha, _b_glha) = pair(":");
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let device = lab.disk.as_ref().expect("a disk").name(0);
    let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
    std::fs::write(&trigger, "lab\n").unwrap_or_else(|error| panic!("{trigger}: {error}"));
    never_two_until(&lab, "a lets go", TAKEOVER, || a.mounted(MOUNT_POINT).is_none());
    lab.check("it says why", a_glha.log().contains("the storage has failed"));
    never_two_until(&lab, "b has everything", WITH_MMP, || holds(b));
    never_two_for(&lab, "and keeps it", 3.0, || holds(b));
    no_overlap(&lab);
}

#[test]
fn release_failure_reboot_resets_the_machine() {
    let lab = Lab::single();
    let a = &lab.hosts[0];
    // The machine's own switch is not the test's.
    a.sh("f=/proc/sys/kernel/sysrq; [ ! -e $f ] || mount --bind /dev/null $f");
    let block = format!("mount timeout 20\nrelease_failure reboot\n{}", with_check(a));
    install(a, 150, &block, &mount_hook_with_probe(":", "[ ! -e /run/broken ]", "exit 1"));
    a.write("/run/trigger", "");
    let glha = Subject::Glha.program();
    let arguments = ["-n", "-l", "-D", "-P", "-f", "/etc/glha/glha.conf", "-p", "/run/d.pid"];
    let trigger = ["GLHA_SYSRQ_TRIGGER=/run/trigger", glha];
    let glha = a.start("/usr/bin/env", &[&trigger[..], &arguments[..]].concat());
    master(&lab, a);
    assert_eq!(a.read("/run/trigger"), "");
    a.write(BROKEN, "");
    lab.wait_for("the order", seconds(TAKEOVER), || a.read("/run/trigger").starts_with('b'));
    lab.check("it says why", glha.log().contains("resetting this machine"));
    lab.check("no priority 0", zeros(&lab, "a").is_empty());
}

// --- beside keepalived

/// The release acknowledgement is a priority 0 of a node that is not master any more.
#[test]
fn acknowledgement_moves_no_keepalived() {
    let lab = Lab::new(&Plan {
        hosts: vec![("a", "172.16.51.11"), ("b", "172.16.51.12"), ("c", "172.16.51.13")],
        disk: None,
        glha: Subject::Glha.path(),
    });
    let [a, b, c] = &lab.hosts[..] else { unreachable!() };
    let hook = mount_hook_with_probe(":", "sleep 2", "exit 1");
    let _b = start(b, 100, "mount timeout 20", &hook);
    master(&lab, b);
    let third = Subject::Keepalived.start(c, &conf(50, ""));
    is_backup(&lab, &third);
    let new_master = Subject::Keepalived.start(a, &conf(150, ""));
    lab.wait_for("the acknowledgement", seconds(TAKEOVER), || !zeros(&lab, "b").is_empty());
    let acknowledged_at = zeros(&lab, "b")[0];
    let released = noted(b).into_iter().rfind(|n| n.what.starts_with("release end bare 0"));
    lab.check("after the release", released.is_some_and(|n| n.at < acknowledged_at));
    // As long as any of its repeats, and the third node's skew of 0.8 s, could take.
    lab.holds("a stays", seconds(5.0), || lab.owners(ARTICLE_VIP) == ["a"]);
    let states = |log: String| log.matches("STATE").count();
    assert_eq!(states(new_master.log()), 2, "BACKUP and MASTER: {}", new_master.log());
    assert_eq!(states(third.log()), 1, "BACKUP: {}", third.log());
    lab.check("the third node said nothing", lab.adverts("c").is_empty());
    let answer = lab.adverts("a").into_iter().find(|(f, _)| f.at > acknowledged_at);
    let delay = answer.and_then(|(f, a)| {
        (a.priority == 150).then(|| f.at.duration_since(acknowledged_at).unwrap_or(Duration::MAX))
    });
    lab.check(&format!("the master answers at once: {delay:?}"), delay < Some(seconds(0.5)));
    gated::advertised(&lab, "a", acknowledged_at, SystemTime::now());
}
