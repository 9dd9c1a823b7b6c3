//! The gate: the address waits for the mount hook, the other node waits for the release, and no
//! hook, whatever it does, disturbs an advert.

mod lab;

use lab::gated::{
    self, TAKEOVER, advertised, first_announcement, glha_conf, master, mount_hook, note, noted,
    start, zeros,
};
use lab::nginx::{self, MOUNT_POINT};
use lab::{ARTICLE_VIP, Guard, Lab, Subject, conf, seconds};
use nix::sys::signal::Signal;
use std::time::SystemTime;

/// Resident memory of a daemon that has a 10 MB writer among its hooks.
const RESIDENT_KIB_MAX: u64 = 48 * 1024;

// --- in

#[test]
fn the_address_waits_for_a_slow_mount_and_adverts_do_not() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let _glha = start(host, 100, "mount timeout 20", &mount_hook("sleep 5", ":"));
    lab.wait_for("the mount hook", seconds(TAKEOVER), || note(host, "acquire begin").is_some());
    lab.wait_for("its end, and no address before", seconds(TAKEOVER), || {
        let has = host.has_address(ARTICLE_VIP); // looked at before the log
        let ended = note(host, "acquire end").is_some();
        lab.check("no address while it runs", !has || ended);
        ended
    });
    master(&lab, host);
    let (begin, end) = (note(host, "acquire begin").unwrap(), note(host, "acquire end").unwrap());
    assert!(begin.what.ends_with("bare") && end.what.contains("bare 0 "), "{begin:?} {end:?}");
    advertised(&lab, "a", begin.at, end.at);
    lab.wait_for("an announcement", seconds(5.0), || first_announcement(&lab, "a").is_some());
    lab.check("none before the end", first_announcement(&lab, "a").unwrap() > end.at);
}

#[test]
fn a_failed_mount_is_released_held_down_in_silence_and_the_peer_takes_over() {
    let lab = Lab::pair();
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let _a = start(a, 150, "mount timeout 20", &mount_hook("false", ":"));
    lab.wait_for("a tries", seconds(TAKEOVER), || note(a, "acquire end").is_some());
    let _b = start(b, 100, "mount timeout 20", &mount_hook(":", ":"));
    master(&lab, b);
    let actions: Vec<_> = noted(a).into_iter().map(|n| n.what).collect();
    let wanted = ["probe", "release", "acquire", "release"]; // the first two are those of the start
    let begun = actions.iter().filter(|w| w.contains("begin"));
    assert!(begun.map(|w| w.split(' ').next().unwrap()).eq(wanted), "{actions:?}");
    assert!(!actions.iter().any(|w| w.contains(" address")), "{actions:?}");
    let failed = note(a, "acquire end bare 1").expect("it failed").at;
    let later = lab.adverts("a").into_iter().filter(|(f, _)| f.at > failed + seconds(0.5)).count();
    lab.check("a is silent after its failure", later == 0);
    lab.check("a vouches for nothing", zeros(&lab, "a").is_empty());
    lab.check("a never announced the address", first_announcement(&lab, "a").is_none());
}

#[test]
fn a_hook_that_ignores_term_is_gone_after_its_deadline_with_its_grandchild() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let stubborn = "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n";
    host.write_script("/run/stubborn", stubborn);
    let acquire = "trap '' TERM; /run/stubborn & while :; do sleep 1; done";
    let release = "ps -e -o comm --no-headers | sed 's/^/sees /' >>/run/mount.log";
    let _glha = start(host, 100, "mount timeout 3", &mount_hook(acquire, release));
    lab.wait_for("the grandchild", seconds(TAKEOVER), || !host.processes("stubborn").is_empty());
    lab.wait_for("both to be gone, and the release", seconds(TAKEOVER), || {
        let releases = noted(host).iter().filter(|n| n.what.starts_with("release end")).count();
        releases == 2 // one at the start
    });
    lab.check("the grandchild is gone", host.processes("stubborn").is_empty());
    lab.check("the hook is gone", host.processes("mount.sh").is_empty());
    let log = host.read("/run/mount.log");
    let after = log.rsplit_once("release begin").expect("released").1;
    lab.check("the release saw neither", !after.contains("stubborn"));
    lab.check("never an address", first_announcement(&lab, "a").is_none());
}

// --- out

#[test]
fn a_stop_says_priority_0_only_after_the_release() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let mut glha = start(host, 100, "mount timeout 20", &mount_hook(":", "sleep 2"));
    master(&lab, host);
    let stopped = SystemTime::now();
    glha.signal(Signal::SIGTERM);
    glha.wait(seconds(TAKEOVER));
    let notes = noted(host);
    let release = |n: &&gated::Noted| n.at > stopped && n.what.starts_with("release");
    let [begin, end] = notes.iter().filter(release).collect::<Vec<_>>()[..] else {
        lab.fail("not exactly one release")
    };
    assert_eq!(begin.what, "release begin bare", "addresses go first");
    advertised(&lab, "a", stopped, end.at);
    let zeros = zeros(&lab, "a");
    lab.check("priority 0, repeated", zeros.len() == 3);
    lab.check("only after the release", zeros[0] > end.at);
    lab.check("nothing after it", lab.adverts("a").last().is_some_and(|(_, a)| a.priority == 0));
}

#[test]
fn the_peer_mounts_only_after_the_release_of_a_stop() {
    let lab = Lab::pair_with(Some(Guard::None));
    lab.disk.as_ref().unwrap().prepare("echo here >index.html");
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let mount = mount_hook(
        "mount /dev/mapper/mpath0-part1 /home/git/gitlab-data",
        "sleep 1; if mountpoint -q /home/git/gitlab-data; then umount /home/git/gitlab-data; fi",
    );
    let block = "mount timeout 20\npeers glha";
    let mut a_glha = start(a, 150, block, &mount);
    master(&lab, a);
    let _b = start(b, 100, block, &mount);
    lab.wait_for("b is ready", seconds(TAKEOVER), || note(b, "release end").is_some());
    lab.holds("one mount", seconds(2.0), || b.mounted(MOUNT_POINT).is_none());
    a_glha.signal(Signal::SIGTERM);
    lab.wait_for("b has the disk, never both", seconds(TAKEOVER), || {
        let (b_has, a_has) = (b.mounted(MOUNT_POINT), a.mounted(MOUNT_POINT));
        lab.check("never both", a_has.is_none() || b_has.is_none());
        b_has.is_some()
    });
    master(&lab, b);
    a_glha.wait(seconds(TAKEOVER));
    assert_eq!(lab.owners(ARTICLE_VIP), ["b"]);
}

#[test]
fn after_a_power_off_the_other_has_address_disk_and_service() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    lab.disk.as_ref().unwrap().prepare("echo the shared file >index.html");
    let hook = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/hooks/mount.sh"));
    let hook = hook.expect("the shipped mount.sh");
    let block = "mount timeout 60
        env MOUNT_DEVICE /dev/mapper/mpath0-part1
        env MOUNT_POINT /home/git/gitlab-data
        env GUARD mmp
        peers glha";
    let mut daemons = Vec::new();
    for (host, priority) in lab.hosts.iter().zip([150, 100]) {
        nginx::configure(host);
        host.sh("service nginx start");
        daemons.push(start(host, priority, block, &hook));
        if priority == 150 {
            master(&lab, host);
        }
    }
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let served_by = |name: &str| {
        let answer = lab.client.fetch(ARTICLE_VIP, "/index.html", seconds(1.0));
        answer.is_some_and(|x| x.contains(&format!("X-Host: {name}")) && x.contains("shared file"))
    };
    lab.wait_for("a serves", seconds(5.0), || served_by("a"));
    assert_eq!(a.mounted(MOUNT_POINT).as_deref(), Some("rw"));
    lab.holds("b waits", seconds(3.0), || b.mounted(MOUNT_POINT).is_none());
    lab.power_off(0);
    // MMP makes the first mount after a crash wait some 22 s at an interval of 1 s.
    lab.wait_for("b serves", seconds(60.0), || served_by("b"));
    assert_eq!(b.mounted(MOUNT_POINT).as_deref(), Some("rw"));
    assert_eq!(lab.owners(ARTICLE_VIP), ["b"]);
}

/// The kernel takes a cached MMP block for the one on the disk, and a device's cache outlives its
/// last mount while anybody keeps the device open.
#[test]
fn a_disk_that_somebody_keeps_open_is_no_reason_to_believe_an_old_mmp_block() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let hook = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/hooks/mount.sh"));
    b.write_script("/etc/glha/hooks/mount.sh", &hook.expect("the shipped mount.sh"));
    b.write_hook_parts();
    let mount = "mount /dev/mapper/mpath0-part1 /mnt/shared";
    let _keeper = b.start("/bin/sh", &["-c", "exec sleep 1000 </dev/mapper/mpath0-part1"]);
    b.sh(&format!("{mount}; umount /mnt/shared"));
    a.sh(mount);
    lab.power_off(0);
    let acquire = "MOUNT_DEVICE=/dev/mapper/mpath0-part1 MOUNT_POINT=/home/git/gitlab-data \
        GUARD=mmp timeout 8 /etc/glha/hooks/mount.sh acquire VI_1";
    let ran = b.run(acquire);
    lab.check(&format!("the mount waits: {}", ran.said), b.mounted(MOUNT_POINT).is_none());
    lab.check("until it is ended", ran.status.code() == Some(124));
}

// --- hooks that misbehave

/// The instance goes to master, with `body` as its mount hook's acquire, its notify hook and a
/// check script, and adverts go on in time while they run. Returns how the lab ended, to look at.
fn endure(body: &str) {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/glha/hooks/notify.sh", &format!("#!/bin/sh\n{body}\n"));
    host.write_script("/etc/keepalived/check", &format!("#!/bin/sh\n{body}\n"));
    host.write_script("/etc/glha/hooks/mount.sh", &mount_hook(&format!("( {body} )"), ":"));
    let script = "vrrp_script chk {\n script /etc/keepalived/check\n interval 2\n weight 10\n}\n";
    let instance = conf(100, "track_script {\n chk\n }");
    host.write("/etc/keepalived/keepalived.conf", &format!("{script}{instance}"));
    host.write("/etc/glha/glha.conf", &glha_conf("mount timeout 20\nnotify timeout 20"));
    let glha = Subject::Glha.start_with(host, "/etc/glha/glha.conf");
    master(&lab, host);
    let since = lab.adverts("a").first().expect("adverts").0.at;
    lab.holds("master", seconds(4.0), || {
        lab.check("memory is bounded", glha.resident_kib() < RESIDENT_KIB_MAX);
        host.has_address(ARTICLE_VIP)
    });
    advertised(&lab, "a", since, SystemTime::now());
    let end = note(host, "acquire end bare 0");
    lab.check("the mount hook ended well", end.is_some());
}

#[test]
fn a_hook_that_never_reads_its_input() {
    endure("sleep 3");
}

#[test]
fn a_hook_that_writes_lines_without_end() {
    endure("yes 'a line of a talkative hook' | head -c 10000000; sleep 1");
}

#[test]
fn a_hook_that_writes_one_line_without_end() {
    endure("head -c 10000000 /dev/zero | tr '\\0' x; sleep 1");
}

#[test]
fn a_hook_that_closes_everything() {
    endure("exec <&- >&- 2>&-; sleep 3");
}

#[test]
fn a_hook_that_forks_and_exits() {
    endure("sleep 30 & :");
}

// --- notify

/// Begin and end of every notify run, as the script notes them.
const NOTIFY: &str = "#!/bin/sh
echo \"begin $3\" >>/run/notify.log
sleep 0.5
echo \"end $3\" >>/run/notify.log
";

/// The states that a notify script is called for when a tracked link flaps ten times in two seconds
/// (so short a flap of the instance's own would be none to glha).
fn flap(lab: &Lab, subject: Subject) -> Vec<&'static str> {
    let host = &lab.hosts[0];
    host.write_script("/etc/keepalived/notify", NOTIFY);
    let more = "notify /etc/keepalived/notify\ntrack_interface {\ntracked0\n}\n";
    host.sh("ip link add tracked0 type veth peer name tracked1 && ip link set tracked1 up && ip link set tracked0 up");
    let _daemon = subject.start(host, &conf(100, more));
    lab.wait_for("the first", seconds(5.0), || host.read("/run/notify.log").contains("end BACKUP"));
    host.sh("for n in 1 2 3 4 5 6 7 8 9 10; do
        ip link set tracked0 down; sleep 0.1
        ip link set tracked0 up; sleep 0.1
    done");
    let told = || host.read("/run/notify.log").matches("end").count();
    lab.wait_for("all to be told", seconds(30.0), || told() >= 21);
    std::iter::once("BACKUP").chain(["FAULT", "BACKUP"].repeat(10)).collect()
}

#[test]
fn twenty_changes_in_two_seconds_are_all_told_in_order_and_one_at_a_time() {
    let lab = Lab::single();
    let states = flap(&lab, Subject::Glha);
    let wanted: String = states.iter().map(|s| format!("begin {s}\nend {s}\n")).collect();
    let log = lab.hosts[0].read("/run/notify.log");
    lab.check(&format!("in order, not overlapping:\n{log}"), log.starts_with(&wanted));
}

#[test]
fn keepalived_tells_twenty_changes_too() {
    let lab = Lab::single();
    let states = flap(&lab, Subject::Keepalived);
    let log = lab.hosts[0].read("/run/notify.log");
    for state in ["BACKUP", "FAULT"] {
        let count = states.iter().filter(|s| **s == state).count();
        assert!(log.matches(&format!("end {state}")).count() >= count, "{log}");
    }
}

// --- what shall change nothing

#[test]
fn a_reload_of_a_bad_file_changes_nothing() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/keepalived/notify", NOTIFY);
    let good = conf(100, "notify /etc/keepalived/notify");
    let mut glha = Subject::Glha.start(host, &good);
    master(&lab, host);
    let notified = || host.read("/run/notify.log").matches("begin").count();
    lab.wait_for("both notifies", seconds(5.0), || notified() == 2);
    let since = SystemTime::now();
    let wrong = good.replace("virtual_router_id 51", "virtual_router_id 5100");
    let cut_off = &good[..good.find("virtual_ipaddress").expect("it has one")];
    for bad in [wrong.as_str(), cut_off, "vrrp_instance VI_1 {\n", "\0\x01{{{"] {
        let said = glha.log().len();
        host.write("/etc/keepalived/keepalived.conf", bad);
        glha.signal(Signal::SIGHUP);
        lab.wait_for("a word about it", seconds(5.0), || glha.log().len() > said);
        lab.holds("the address", seconds(2.5), || host.has_address(ARTICLE_VIP));
        lab.check("it runs", glha.ended().is_none());
    }
    host.sh("rm /etc/keepalived/keepalived.conf");
    glha.signal(Signal::SIGHUP);
    lab.holds("the address", seconds(2.5), || host.has_address(ARTICLE_VIP));
    advertised(&lab, "a", since, SystemTime::now());
    lab.check("the same adverts", lab.adverts("a").iter().all(|(_, a)| a.priority == 100));
    lab.check("no notify", notified() == 2);
}

#[test]
fn an_address_removed_by_hand_comes_back_without_a_failover() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/keepalived/notify", NOTIFY);
    let _glha = Subject::Glha.start(host, &conf(100, "notify /etc/keepalived/notify"));
    master(&lab, host);
    let announced = || lab.frames().iter().filter(|f| f.announces().is_some()).count();
    // Both bursts of becoming master, so that later ones are known to be new.
    lab.wait_for("both bursts", seconds(TAKEOVER), || announced() == 10);
    for _ in 0..2 {
        let before = announced();
        host.sh(&format!("ip addr del {ARTICLE_VIP}/32 dev eth0"));
        master(&lab, host);
        lab.wait_for("it is announced", seconds(5.0), || announced() > before);
    }
    lab.holds("it stays", seconds(1.5), || host.has_address(ARTICLE_VIP));
    lab.check("no priority 0", zeros(&lab, "a").is_empty());
    lab.check("no notify", host.read("/run/notify.log").matches("begin").count() == 2);
}

// --- the article

/// The article's two files and scripts exactly as printed, on two hosts with nginx.
fn article(subject: Subject) {
    let lab = Lab::pair();
    let mut daemons = Vec::new();
    for (host, which) in lab.hosts.iter().zip(["master", "backup"]) {
        nginx::configure(host);
        host.sh("service nginx start");
        let printed = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/article");
            std::fs::read_to_string(format!("{folder}/{name}")).expect("a file of the article")
        };
        host.write_script("/etc/keepalived/check_nginx.sh", &printed("check_nginx.sh.both"));
        host.write_script("/etc/keepalived/notify.sh", &printed(&format!("notify.sh.{which}")));
        daemons.push(subject.start(host, &printed(&format!("keepalived.conf.{which}"))));
    }
    lab.wait_for("one owner", seconds(TAKEOVER), || lab.owners(ARTICLE_VIP).len() == 1);
    lab.wait_for("its check adds 2", seconds(TAKEOVER), || {
        let adverts = ["a", "b"].map(|n| lab.adverts(n).last().map(|(_, a)| a.priority));
        adverts.contains(&Some(103))
    });
    lab.wait_for("one owner", seconds(TAKEOVER), || lab.owners(ARTICLE_VIP).len() == 1);
    lab.holds("one owner", seconds(3.0), || lab.owners(ARTICLE_VIP).len() == 1);
    let first = usize::from(lab.owners(ARTICLE_VIP) == ["b"]);
    lab.power_off(first);
    let other = &lab.hosts[1 - first];
    master(&lab, other);
}

#[test]
fn the_article_as_printed_runs_with_keepalived() {
    article(Subject::Keepalived);
}

#[test]
fn the_article_as_printed_runs_with_glha() {
    article(Subject::Glha);
}
