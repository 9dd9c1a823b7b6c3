//! What the two machines go through. Each begins with a master and a backup, and ends so.

use super::guest::until;
use super::manual::Step;
use super::pair::Pair;
use super::story::{self, What};
use std::time::Instant;

/// A name for the table, and what happens.
pub type Scenario = (&'static str, fn(&mut Pair));

/// In the order in which they are played.
pub const ALL: &[Scenario] = &[
    ("keepalived serves", keepalived_serves),
    ("from keepalived in five steps", from_keepalived),
    ("reboot of the master", reboot),
    ("poweroff of the master", poweroff),
    ("the master's kernel resets (sysrq b)", sysrq),
    ("the daemon is killed", killed),
    ("the daemon crashes again and again", crash_loop),
    ("out of memory, the daemon is chosen", out_of_memory),
    ("the daemon stands still (watchdog)", stands_still),
    ("reboot while the disk is busy", busy),
    ("both lose power and boot together", power_cut),
    ("both lose power and boot one by one", one_after_the_other),
    ("restart of systemd-networkd", network_restart),
    ("upgrade of the package", upgrade),
    ("purge of the package", purge),
    ("isolate rescue.target", rescue),
    ("file systems of both nodes are full", no_space),
    ("the clock jumps", clock),
    ("the disk appears late", late_disk),
    ("back to keepalived", back),
];
/// The others begin where these end.
pub const NEEDED: &[&str] = &["keepalived serves", "from keepalived in five steps"];

/// Where the files of the five steps are kept before step 2.
const ORIGINALS: &str = "/root/originals";

fn keepalived_serves(pair: &mut Pair) {
    for number in [1, 2] {
        let node = pair.node(number);
        node.run("cp /etc/keepalived/$(hostname).conf /etc/keepalived/keepalived.conf");
        node.run("systemctl enable --now keepalived");
    }
    pair.served_by(1);
}

/// Steps 1 and 2: the configuration, and the scripts without what is the mount hook's from now on.
fn write_configuration(pair: &mut Pair, number: usize) {
    let node = pair.node(number);
    node.run("tar -xf /dev/vdb -C /root && dpkg -i /root/glha.deb");
    assert!(node.is("systemctl is-active -q keepalived"), "the package leaves keepalived alone");
    node.write("/etc/glha/glha.conf", &Step::of(1).block("hooks VI_1 {"));
    let disable = Step::of(1).command("systemctl disable");
    node.run(&format!("{disable} gitlab-runsvdir.service"));
    node.run(&format!("mkdir -p {ORIGINALS} && cp /etc/keepalived/*.sh {ORIGINALS}"));
    node.run("sed -i -e '/if mountpoint/,/fi$/d' -e '/ mount /d' -e '/umount/d' -e '/gitlab-runsvdir/d' -e '/service keepalived stop/d' /etc/keepalived/*.sh");
}

/// Steps 4 and 5.
fn change_over(pair: &mut Pair, number: usize) {
    let node = pair.node(number);
    let said = node.run(&Step::of(4).command("glha -t"));
    assert!(said.ends_with("would start"), "{said}");
    node.run(&Step::of(4).command("glha hooks run --dry-run"));
    node.run(&Step::of(5).command("systemctl disable --now keepalived"));
}

fn from_keepalived(pair: &mut Pair) {
    let step = Step::of(3);
    write_configuration(pair, 2);

    // The planned outage.
    for number in [2, 1] {
        pair.node(number).run("systemctl stop gitlab-runsvdir keepalived");
        pair.node(number).sh("umount /home/git/gitlab-data");
    }
    let look = step.command("grep mpath0-part1");
    for number in [1, 2] {
        assert_eq!(pair.node(number).sh(&look), (1, String::new()), "prints nothing");
    }
    pair.node(1).run(step.block("tune2fs").trim());
    for number in [1, 2] {
        pair.node(number).run("systemctl start keepalived");
        if number == 1 {
            pair.served_by(1);
        }
    }

    change_over(pair, 2);
    until("a backup beside keepalived", || (pair.node(2).sh("glha status").0 == 1).then_some(()));
    write_configuration(pair, 1);
    // Where the disk is mounted.
    pair.node(1).run("systemctl stop gitlab-runsvdir && umount /home/git/gitlab-data");
    change_over(pair, 1);
    pair.settled();
    let more = Step::of(5).command("peers glha");
    let reload = Step::of(5).command("systemctl reload glha");
    for number in [1, 2] {
        pair.node(number).run(&format!("sed -i '/^hooks/a {more}' /etc/glha/glha.conf"));
        pair.node(number).run(&reload);
        // A kernel that resets is not to take the configuration away.
        pair.node(number).run("sync");
    }
    pair.settled();
}

/// What an orderly end of a master is made of.
const IN_ORDER: [What; 5] =
    [What::NoAddress, What::NoService, What::NoDisk, What::PriorityZero, What::NoNetwork];
/// And a takeover.
const TAKES_OVER: [What; 3] = [What::Disk, What::Service, What::Address];

/// The master's machine ends in order, and boots again.
fn ends_in_order(pair: &mut Pair, ends: &str) {
    let (master, backup) = pair.settled();
    let since = Instant::now();
    pair.node(master).send(ends);
    pair.served_by(backup);
    boots_again(pair, master);
    pair.settled();
    let events = story::since(&pair.guests, since);
    story::in_order(&events, master, &IN_ORDER);
    story::in_order(&events, backup, &TAKES_OVER);
}

/// The machine has ended or reset itself, and has power.
fn boots_again(pair: &mut Pair, number: usize) {
    pair.node(number).off();
    pair.power();
}

fn reboot(pair: &mut Pair) {
    ends_in_order(pair, "systemctl reboot");
}

fn poweroff(pair: &mut Pair) {
    ends_in_order(pair, "systemctl poweroff");
}

fn busy(pair: &mut Pair) {
    let (master, _) = pair.settled();
    pair.node(master)
        .run("(cd /home/git/gitlab-data && exec setsid sleep infinity) >/dev/null 2>&1 &");
    ends_in_order(pair, "systemctl reboot");
}

fn sysrq(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    let since = Instant::now();
    pair.node(master).send("echo b >/proc/sysrq-trigger");
    pair.served_by(backup);
    boots_again(pair, master);
    pair.settled();
    story::in_order(&story::since(&pair.guests, since), backup, &TAKES_OVER);
}

fn power_cut(pair: &mut Pair) {
    for number in [1, 2] {
        pair.node(number).cut();
    }
    pair.power();
    pair.settled();
}

fn one_after_the_other(pair: &mut Pair) {
    for number in [1, 2] {
        pair.node(number).cut();
    }
    pair.node(2).cut();
    pair.power_one(2);
    pair.served_by(2);
    pair.power();
    assert_eq!(pair.settled(), (2, 1), "who serves, keeps");
}

/// Something that must not move anything: the same master, no address, service or disk goes.
fn moves_nothing(pair: &mut Pair, disturb: impl FnOnce(&mut Pair, usize)) {
    let before = pair.settled();
    let since = Instant::now();
    disturb(pair, before.0);
    assert_eq!(pair.settled(), before, "the same master");
    let events = story::since(&pair.guests, since);
    let moved = events.iter().any(|event| match event.what {
        What::NoService => true,
        // A backup may still find that it has nothing to give back.
        What::Disk | What::NoDisk => !event.device.is_empty(),
        _ => false,
    });
    assert!(!moved, "{}", story::told(&events));
}

const MAIN_PID: &str = "systemctl show -P MainPID glha";

/// Does something to the daemon of the master, and waits until another has taken its place.
fn another_daemon(pair: &mut Pair, master: usize, script: &str) {
    let old = pair.node(master).run(MAIN_PID);
    pair.node(master).run(&script.replace("PID", &old));
    until("another daemon", || {
        let pid = pair.node(master).run(MAIN_PID);
        (pid != old && pid != "0").then_some(())
    });
}

fn killed(pair: &mut Pair) {
    moves_nothing(pair, |pair, master| another_daemon(pair, master, "kill -KILL PID"));
}

fn out_of_memory(pair: &mut Pair) {
    moves_nothing(pair, |pair, master| {
        let since = Instant::now();
        let kill = "echo 1000 >/proc/PID/oom_score_adj; echo f >/proc/sysrq-trigger";
        another_daemon(pair, master, kill);
        pair.node(master).says(since, "(glha)");
    });
}

fn stands_still(pair: &mut Pair) {
    moves_nothing(pair, |pair, master| {
        let since = Instant::now();
        another_daemon(pair, master, "kill -STOP PID");
        pair.node(master).says(since, "glha.service: Watchdog timeout");
    });
}

fn crash_loop(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    let since = Instant::now();
    let node = pair.node(master);
    node.run("mkdir -p /run/systemd/system/glha.service.d");
    node.write(
        "/run/systemd/system/glha.service.d/broken.conf",
        "[Service]\nExecStartPre=/bin/false\n",
    );
    node.run("systemctl daemon-reload");
    node.run("systemctl kill --kill-whom=main --signal=KILL glha");
    pair.served_by(backup);
    let events = story::since(&pair.guests, since);
    story::in_order(&events, master, &[What::NoAddress, What::NoService, What::NoDisk]);
    let node = pair.node(master);
    node.run("rm -r /run/systemd/system/glha.service.d; systemctl daemon-reload");
    node.run("systemctl reset-failed glha; systemctl start glha");
    pair.settled();
}

fn network_restart(pair: &mut Pair) {
    moves_nothing(pair, |pair, master| {
        pair.node(master).run("systemctl restart systemd-networkd");
    });
}

fn clock(pair: &mut Pair) {
    moves_nothing(pair, |pair, master| {
        pair.node(master).run("date -s '+1 day'");
        pair.served_by(master);
        pair.node(master).run("date -s '-2 days'");
        pair.served_by(master);
        pair.node(master).run("date -s '+1 day'");
    });
}

fn upgrade(pair: &mut Pair) {
    moves_nothing(pair, |pair, master| {
        for number in [3 - master, master] {
            let said = pair.node(number).run("dpkg -i /root/glha.deb");
            assert!(said.contains("still runs the version before"), "{said}");
            // What it says is to be done.
            another_daemon(pair, number, "systemctl kill --kill-whom=main --signal=KILL glha");
            pair.settled();
        }
    });
}

fn purge(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    let purge = "DEBIAN_FRONTEND=noninteractive dpkg -P glha";
    let install = "dpkg -i /root/glha.deb && systemctl enable --now glha";
    pair.node(backup).run(purge);
    pair.served_by(master);
    pair.node(backup).run(install);
    pair.settled();
    let since = Instant::now();
    pair.node(master).run(purge);
    pair.served_by(backup);
    let events = story::since(&pair.guests, since);
    story::in_order(&events, master, &IN_ORDER[..4]);
    pair.node(master).run(install);
    pair.settled();
}

fn rescue(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    let since = Instant::now();
    pair.node(master).send("systemctl --no-block isolate rescue.target");
    pair.served_by(backup);
    let events = story::since(&pair.guests, since);
    story::in_order(&events, master, &IN_ORDER[..4]);
    pair.node(master).run("true");
    pair.node(master).run("systemctl --no-block default");
    pair.settled();
}

fn no_space(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    let since = Instant::now();
    for number in [1, 2] {
        let node = pair.node(number);
        // All but the last without writing: that would keep the machine from everything else.
        node.run("fallocate -l $(($(stat -f -c '%a * %S' /) - 4194304)) /filler");
        node.sh("dd if=/dev/zero of=/filler.rest bs=1M 2>/dev/null");
    }
    pair.resign(master);
    pair.served_by(backup);
    story::in_order(&story::since(&pair.guests, since), master, &IN_ORDER[..4]);
    for number in [1, 2] {
        pair.node(number).run("rm /filler /filler.rest");
    }
    pair.settled();
}

fn late_disk(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    pair.node(backup).run("dmsetup remove mpath0-part1");
    let since = Instant::now();
    pair.node(master).run("systemctl stop glha");
    pair.node(backup).says(since, "Acquiring the storage");
    pair.node(backup).run("systemctl restart shared-disk");
    pair.served_by(backup);
    pair.node(master).run("systemctl start glha");
    pair.settled();
}

/// The backup lets go first, and the one that is to serve begins.
fn back(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    for number in [backup, master] {
        pair.node(number).run(&Step::of(0).command("systemctl disable --now glha"));
        pair.node(number).run(&format!("cp {ORIGINALS}/*.sh /etc/keepalived/"));
    }
    for number in [1, 2] {
        pair.node(number).run(&Step::of(0).command("systemctl enable --now keepalived"));
        pair.served_by(1);
    }
}
