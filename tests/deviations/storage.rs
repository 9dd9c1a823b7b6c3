//! Why storage needs more than notify scripts: what keepalived does with those where glha has a mount
//! hook. Each has its counterpart of glha in the table.

use super::SOON;
use super::lab::{ARTICLE_VIP, Lab, Subject, conf, seconds, wait_until};
use nix::sys::signal::Signal;
use std::time::SystemTime;

/// Clients come before the disk does, the other node is told before it is released, a crash takes the
/// address away first, and who was frozen goes on unasked.
#[test]
fn of_keepalived_the_disk_comes_late_and_goes_late() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    // They stand for a mount and an unmount, and wait for a word of this test.
    host.write_script("/run/take", "#!/bin/sh\n: >/run/mounting\nsleep 3\n: >/run/mounted\n");
    host.write_script("/run/give", "#!/bin/sh\n: >/run/unmounting\nsleep 3\n: >/run/released\n");
    let text = conf(100, "notify_master /run/take\nnotify_stop /run/give\n");
    let text = "child_wait_time 5\n".to_owned() + &text;
    let mut daemon = Subject::Keepalived.start(host, &text);
    lab.wait_for("an address", seconds(SOON), || host.has_address(ARTICLE_VIP));
    lab.wait_for("the mount begins", seconds(SOON), || host.exists("/run/mounting"));
    let announced = || lab.frames().iter().any(|frame| frame.announces().is_some());
    lab.wait_for("it is announced", seconds(SOON), announced);
    lab.check("and nothing is mounted", !host.exists("/run/mounted"));

    // Three intervals and more without an advert.
    let since = SystemTime::now();
    host.freeze(true);
    lab.holds("frozen", seconds(4.0), || true);
    host.freeze(false);
    daemon.go_on();
    let advertises = || lab.adverts("a").iter().any(|(frame, _)| frame.at > since);
    lab.wait_for("it goes on", seconds(SOON), advertises);
    lab.check("with its address", host.has_address(ARTICLE_VIP));
    lab.check("as if nothing had been", daemon.log().matches("Entering BACKUP").count() == 1);

    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(SOON));
    host.signal("keepalived", Signal::SIGKILL);
    host.sh("rm -f /run/*.pid /run/mounting");
    let mut daemon = Subject::Keepalived.start(host, &text);
    let is_gone = || !host.has_address(ARTICLE_VIP);
    lab.wait_for("what a crash has left is taken away", seconds(SOON), is_gone);
    lab.wait_for("it is master again", seconds(SOON), || host.exists("/run/mounting"));

    daemon.signal(Signal::SIGTERM);
    let zero = || lab.adverts("a").iter().any(|(_, advert)| advert.priority == 0);
    lab.check("priority 0", wait_until(seconds(SOON), zero));
    lab.check("while nothing is released", !host.exists("/run/released"));
    daemon.wait(seconds(SOON));
}
