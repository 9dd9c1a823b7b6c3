//! What the two machines go through. Each begins with a master and a backup, and ends so.

use super::guest::until;
use super::manual::Step;
use super::pair::Pair;
use super::story::{self, What};
use std::time::Instant;

/// A name for the table, and what happens.
type Scenario = (&'static str, fn(&mut Pair));

/// In the order in which they are played.
pub const ALL: &[Scenario] = &[
    ("keepalived serves", keepalived_serves),
    ("from keepalived in five steps", from_keepalived),
    ("reboot of the master", reboot),
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
    node.run("tar -xf /dev/vdc -C /root && dpkg -i /root/glha.deb");
    assert!(node.is("systemctl is-active -q keepalived"), "the package leaves keepalived alone");
    node.write("/etc/glha/glha.conf", &Step::of(1).block("hooks VI_1 {"));
    let disable = Step::of(1).command("systemctl disable");
    node.run(&format!("{disable} gitlab-runsvdir.service"));
    node.run(&format!("mkdir -p {ORIGINALS} && cp /etc/keepalived/*.sh {ORIGINALS}"));
    node.run("sed -i -e '/mount/d' -e '/gitlab-runsvdir/d' -e '/service keepalived stop/d' /etc/keepalived/*.sh");
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
    change_over(pair, 1);
    pair.settled();
    let more = Step::of(5).command("peers glha");
    let reload = Step::of(5).command("systemctl reload glha");
    for number in [1, 2] {
        pair.node(number).run(&format!("sed -i '/^hooks/a {more}' /etc/glha/glha.conf"));
        pair.node(number).run(&reload);
    }
    pair.settled();
}

/// What an orderly end of a master is made of.
const IN_ORDER: [What; 5] =
    [What::NoAddress, What::NoService, What::NoDisk, What::PriorityZero, What::NoNetwork];
/// And a takeover.
const TAKES_OVER: [What; 3] = [What::Disk, What::Service, What::Address];

fn reboot(pair: &mut Pair) {
    let (master, backup) = pair.settled();
    let since = Instant::now();
    pair.node(master).send("systemctl reboot");
    pair.served_by(backup);
    pair.node(master).says(since, "] Linux version ");
    pair.node(master).ready();
    pair.settled();
    let events = story::since(&pair.guests, since);
    story::in_order(&events, master, &IN_ORDER);
    story::in_order(&events, backup, &TAKES_OVER);
}
