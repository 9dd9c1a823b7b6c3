//! What the daemon finds when it is started, by whatever that was: limits, signals, children that are
//! not its own, folders that others have made. Where keepalived does the right thing it is the subject
//! first.

mod lab;

use lab::{ARTICLE_VIP, Daemon, Host, Lab, Subject, conf, seconds};
use nix::sys::signal::Signal;

/// For anything that takes no time of its own; the rest is for a busy machine.
const SOON: f64 = 20.0;
const FILE: &str = "/etc/keepalived/keepalived.conf";

/// Starts the daemon with this configuration through a shell command, which `exec`s "$@" at its end.
fn start_by(host: &Host, subject: Subject, conf: &str, command: &str) -> Daemon {
    host.write(FILE, conf);
    let options = ["-n", "-l", "-D", "-P", "-f", FILE, "-p", "/run/d.pid", "-r", "/run/v.pid"];
    host.start("sh", &[&["-c", command, "sh", subject.program()], &options[..]].concat())
}

fn is_master(host: &Host) -> bool {
    host.has_address(ARTICLE_VIP)
}

/// Few descriptors: it hears the better master all the same.
fn few_descriptors(subject: Subject) {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let _b = Subject::Keepalived.start(b, &conf(200, ""));
    lab.wait_for("b is master", seconds(SOON), || is_master(b));
    let more = "virtual_routes {\n10.66.0.0/24 dev eth0\n}";
    let daemon = start_by(a, subject, &conf(100, more), "ulimit -Sn 18; exec \"$@\"");
    lab.wait_for("a is backup", seconds(SOON), || daemon.log().contains("Entering BACKUP STATE"));
    lab.holds("a stays backup", seconds(6.0), || !is_master(a));
}

#[test]
fn keepalived_with_few_descriptors_hears_the_master() {
    few_descriptors(Subject::Keepalived);
}

#[test]
fn with_few_descriptors_it_hears_the_master() {
    few_descriptors(Subject::Glha);
}

/// Where the limit cannot be raised, what cannot work does not begin.
#[test]
fn with_too_few_descriptors_it_is_no_second_master() {
    let lab = Lab::pair();
    let [a, b] = &lab.hosts[..] else { unreachable!() };
    let _b = Subject::Keepalived.start(b, &conf(100, ""));
    lab.wait_for("b is master", seconds(SOON), || is_master(b));
    for count in [8, 12, 16, 20, 24, 28] {
        // Nothing may raise it again.
        let command = format!(
            "ulimit -n {count}; exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource \"$@\""
        );
        let mut daemon = start_by(a, Subject::Glha, &conf(150, ""), &command);
        let says = || daemon.log().contains("Too many open files");
        lab.wait_for("it has begun", seconds(SOON), || is_master(a) || says());
        lab.holds("one master", seconds(3.0), || lab.owners(ARTICLE_VIP).len() == 1);
        if daemon.ended().is_none() {
            daemon.signal(Signal::SIGTERM);
            lab.wait_for("it ends", seconds(SOON), || daemon.ended().is_some());
        }
        lab.wait_for("b is master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["b"]);
    }
}

/// Scripts have the limit that the daemon was started with.
#[test]
fn scripts_have_the_limit_of_before() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/notify", "#!/bin/sh\nulimit -n >/run/limit\n");
    let _daemon = start_by(
        host,
        Subject::Glha,
        &conf(100, "notify /etc/notify"),
        "ulimit -Sn 333; exec \"$@\"",
    );
    lab.wait_for("a script", seconds(SOON), || !host.read("/run/limit").is_empty());
    assert_eq!(host.read("/run/limit").trim(), "333");
}

/// Whoever ignores SIGCHLD or blocks signals, as some supervisors do, hands that on.
fn odd_signals(subject: Subject, how: &str) {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let script = "vrrp_script good {\nscript /etc/check\ninterval 1\nweight 20\n}\n";
    host.write_script("/etc/check", "#!/bin/sh\ntrap >/run/traps\nexit 0\n");
    let conf = script.to_owned() + &conf(100, "track_script {\ngood\n}");
    let mut daemon =
        start_by(host, subject, &conf, &format!("exec perl -MPOSIX -e '{how}' \"$@\""));
    lab.wait_for("the check is good", seconds(SOON), || {
        daemon.log().contains("effective priority from 100 to 120")
    });
    lab.wait_for("master", seconds(SOON), || is_master(host));
    daemon.signal(Signal::SIGTERM);
    lab.wait_for("a stop is a stop", seconds(SOON), || daemon.ended().is_some());
}

const CHILDREN_IGNORED: &str = "$SIG{CHLD} = \"IGNORE\"; exec @ARGV";
const ALL_BLOCKED: &str = "sigprocmask(SIG_BLOCK, POSIX::SigSet->new(1..31)); exec @ARGV";
const ALL_IGNORED: &str = "$SIG{$_} = \"IGNORE\" for qw(CHLD HUP TERM INT USR1 ALRM); exec @ARGV";

#[test]
fn keepalived_does_not_mind_odd_signals() {
    odd_signals(Subject::Keepalived, CHILDREN_IGNORED);
}

#[test]
fn children_that_were_ignored_are_waited_for() {
    odd_signals(Subject::Glha, CHILDREN_IGNORED);
}

#[test]
fn signals_that_were_blocked_are_heard() {
    odd_signals(Subject::Glha, ALL_BLOCKED);
}

#[test]
fn signals_that_were_ignored_are_heard() {
    odd_signals(Subject::Glha, ALL_IGNORED);
}

/// What an administrator asks for while the configuration is still being read is carried out afterwards.
#[test]
fn signals_that_come_too_early_are_heard_later() {
    lab::require(&["strace"]);
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let slowly = format!(
        "exec strace -f -qq -o /run/trace -P {FILE} -e inject=openat:delay_enter=2000000:when=1 \"$@\""
    );
    let mut daemon = start_by(host, Subject::Glha, &conf(100, ""), &slowly);
    lab.wait_for("it begins", seconds(SOON), || daemon.log().contains("Starting glha"));
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        host.signal("glha", signal);
    }
    lab.check("nobody was master", !is_master(host));
    lab.wait_for("master", seconds(SOON), || is_master(host));
    lab.wait_for("a reload", seconds(SOON), || daemon.log().contains("Reloading"));
    lab.wait_for("a dump", seconds(SOON), || host.exists("/tmp/keepalived.data"));
    lab.wait_for("counters", seconds(SOON), || host.exists("/tmp/keepalived.stats"));
    lab.check("it runs", daemon.ended().is_none());

    // A stop that comes so early is one.
    host.signal("glha", Signal::SIGTERM);
    lab.wait_for("it ends", seconds(SOON), || daemon.ended().is_some());
    let mut daemon = start_by(host, Subject::Glha, &conf(100, ""), &slowly);
    lab.wait_for("it begins", seconds(SOON), || daemon.log().contains("Starting glha"));
    host.signal("glha", Signal::SIGTERM);
    lab.wait_for("it ends again", seconds(SOON), || daemon.ended().is_some());
    lab.check("it left nothing", !is_master(host));
}

#[test]
fn signals_for_nobody_end_nothing() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let mut daemon = Subject::Glha.start(host, &conf(100, ""));
    lab.wait_for("master", seconds(SOON), || is_master(host));
    let strays =
        [Signal::SIGALRM, Signal::SIGVTALRM, Signal::SIGPROF, Signal::SIGIO, Signal::SIGXFSZ];
    for signal in strays {
        daemon.signal(signal);
    }
    // It has taken in all of them when it answers.
    host.sh("/run/lab/glha status");
    lab.check("it runs", daemon.ended().is_none() && is_master(host));
}

/// As process 1 of a container it inherits what scripts leave behind.
fn process_one(subject: Subject) {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/check", "#!/bin/sh\necho >>/run/runs\n(sleep 0.1 &)\nexit 0\n");
    let script = "vrrp_script leaves_orphans {\nscript /etc/check\ninterval 1\n}\n";
    let conf = script.to_owned() + &conf(100, "track_script {\nleaves_orphans\n}");
    let command = "exec unshare --pid --fork --kill-child --mount-proc \"$@\"";
    let _daemon = start_by(host, subject, &conf, command);
    lab.wait_for("six runs", seconds(SOON), || host.read("/run/runs").lines().count() >= 6);
    // The last one may just have ended.
    let dead = || host.run("ps -eo stat= | grep -c ^Z").said.trim().parse::<usize>().unwrap_or(0);
    lab.wait_for("no dead are left", seconds(SOON), || dead() <= 1);
}

#[test]
fn keepalived_as_process_1_buries_the_dead() {
    process_one(Subject::Keepalived);
}

#[test]
fn as_process_1_it_buries_the_dead() {
    process_one(Subject::Glha);
}

/// Whoever could write where the daemon keeps what it believes later could lead root anywhere.
/// What a script says before and after the daemon, into the same file, and what the daemon says.
#[test]
fn a_log_that_others_write_too_loses_nothing() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let command = "{ echo before; \"$@\"; echo after; } >/tmp/log 2>&1";
    let mut daemon = start_by(host, Subject::Glha, &conf(100, ""), command);
    lab.wait_for("a master", seconds(SOON), || is_master(host));
    host.signal("glha", Signal::SIGTERM);
    daemon.wait(seconds(SOON));
    let log = host.read("/tmp/log");
    let lines: Vec<&str> = log.lines().collect();
    lab.check(&log, lines.first() == Some(&"before") && lines.contains(&"after"));
    let is_whole = |line: &&str| {
        ["before", "after"].contains(line) || line.get(24..26).is_some_and(|text| text == ": ")
    };
    lab.check(&log, lines.iter().all(is_whole) && log.contains("Entering MASTER STATE"));
}

/// A container may have no /proc.
#[test]
fn without_proc_it_is_not_silent() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let inner = "mount -t tmpfs tmpfs /proc; exec \"$@\"";
    let command = format!("exec unshare -m sh -c '{inner}' sh \"$@\"");
    let daemon = start_by(host, Subject::Glha, &conf(100, ""), &command);
    lab.wait_for("a master", seconds(SOON), || is_master(host));
    lab.check("it says so", daemon.log().contains("Entering MASTER STATE"));
}

#[test]
fn a_folder_of_somebody_else_is_not_used() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let block = format!("{}\nhooks VI_1 {{\nmount timeout 5\n}}\n", conf(100, ""));
    host.write_script("/etc/glha/hooks/mount.sh", "#!/bin/sh\nexit 0\n");
    for (spoil, word) in [
        ("mkdir -m 700 /run/glha; chown 1234 /run/glha", "belongs to user 1234"),
        ("mkdir /run/glha; chmod 777 /run/glha", "others may write"),
        ("mkdir -m 700 /run/other; ln -s /run/other /run/glha", "no folder"),
    ] {
        host.sh(&format!("rm -rf /run/glha; echo kept >/run/precious; {spoil}"));
        host.sh("ln -s /run/precious /run/glha/VI_1.new");
        let mut daemon = Subject::Glha.start(host, &block);
        lab.wait_for("it does not start", seconds(SOON), || daemon.ended().is_some());
        lab.check(&format!("it says why: {word}"), daemon.log().contains(word));
        let released = host.run(&format!("/run/lab/glha release -f {FILE}"));
        lab.check("nor is anything released", !released.status.success());
        lab.check(&released.said, released.said.contains(word));
        assert_eq!(host.read("/run/precious"), "kept\n");
    }
    host.sh("rm -rf /run/glha /run/other");
    host.sh("mkdir -m 700 /run/glha; ln -s /run/precious /run/glha/VI_1.new");
    let _daemon = Subject::Glha.start(host, &block);
    lab.wait_for("master", seconds(SOON), || is_master(host));
    assert_eq!(host.read("/run/precious"), "kept\n");
    host.sh("grep -q held /run/glha/VI_1.*");
}

#[test]
fn the_control_socket_comes_back() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let _daemon = Subject::Glha.start(host, &conf(100, ""));
    let answers = || host.run("/run/lab/glha status").status.success();
    lab.wait_for("it answers", seconds(SOON), answers);
    for remove in ["rm /run/glha/control.sock", "rm -r /run/glha"] {
        host.sh(remove);
        lab.wait_for("it answers again", seconds(SOON), answers);
    }
}
