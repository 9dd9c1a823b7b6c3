//! One life with scripts of every kind that keepalived and glha treat otherwise, and what those have
//! noted in it.

use super::lab::{Lab, Subject, seconds, wait_until};
use super::{SOON, both, said};
use nix::sys::signal::Signal;

/// Checks, and which instance tracks them: each has one of its own, of the same name.
const CHECKS: &str = "
vrrp_script missing {
    script /run/nothing-is-here
    interval 1
}
vrrp_script rising {
    script /run/rising
    interval 1
    rise 3
    init_fail
}
vrrp_script plain {
    script /run/plain
    interval 1
}
vrrp_script late {
    script /run/late
    interval 2
    timeout 1
}
vrrp_script slow {
    script /run/slow
    interval 1
    timeout 30
}
";

const OPENING: &str = "
global_defs {
    script_user root
    enable_script_security
    child_wait_time 1
}
";

/// (name, VRID, what else is in the instance)
const INSTANCES: &[(&str, u8, &str)] = &[
    ("missing", 1, "track_script {\nmissing\n}"),
    ("rising", 2, "track_script {\nrising\n}"),
    ("plain", 3, "track_script {\nplain\n}"),
    ("late", 4, "track_script {\nlate\n}"),
    ("slow", 5, "track_script {\nslow\n}"),
    ("umask", 6, "notify_backup /run/umask"),
    ("numbers", 7, "notify_backup /run/numbers 0 0\nnotify_master /run/master"),
    ("order", 8, "notify /run/order"),
    ("hangs", 9, "notify_backup /run/hangs"),
    ("stop", 10, "notify_stop /run/stop"),
];

const SCRIPTS: &[(&str, &str)] = &[
    ("rising", "#!/bin/sh\necho . >>/run/rising.ran\n"),
    // Nobody says what it is written in.
    ("plain", "echo . >>/run/plain.ran\nexit 1\n"),
    ("late", "#!/bin/sh\ntrap 'echo . >>/run/late.caught; exit 0' TERM\nsleep 20 & wait\n"),
    ("slow", "#!/bin/sh\necho begin >>/run/slow.ran\nsleep 5\necho end >>/run/slow.ran\n"),
    ("umask", "#!/bin/sh\numask >/run/umask.is\n"),
    ("numbers", "#!/bin/sh\n: >/run/numbers.ran\n"),
    ("master", "#!/bin/sh\n: >/run/master.ran\n"),
    // Until there are two of it, or it has waited for long enough.
    (
        "order",
        "#!/bin/sh
        echo \"begin $3\" >>/run/order.ran
        n=0
        until [ $n = 60 ] || [ $(grep -c begin /run/order.ran) = 2 ]; do sleep 0.1; n=$((n + 1)); done
        echo \"end $3\" >>/run/order.ran\n",
    ),
    ("hangs", "#!/bin/sh\necho $$ >/run/hangs.pid\nexec sleep 87654\n"),
    ("stop", "#!/bin/sh\n: >/run/stop.begun\nsleep 4\n: >/run/stop.done\n"),
];

fn conf(subject: Subject) -> String {
    let mut text = OPENING.to_owned() + CHECKS;
    for (name, vrid, more) in INSTANCES {
        text += &format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\npriority 100\n\
             {more}\nvirtual_ipaddress {{\n172.16.51.{}/24\n}}\n}}\n",
            100 + vrid
        );
    }
    if subject == Subject::Glha {
        text += "hooks hangs {\nnotify /bin/true timeout 1\n}\n";
    }
    text
}

/// What there was to see of it.
#[derive(Debug, PartialEq)]
struct Life {
    /// The check that is not there is a fault.
    missing_is_a_fault: bool,
    /// Successes before the fault of `init_fail` was over; both count one more now and then, since
    /// the next may run already.
    successes: usize,
    /// The script without a first line has run, and its failure counts.
    plain_has_run: bool,
    plain_is_a_fault: bool,
    /// The script that catches the signal at its timeout has done so, and failed.
    late_has_failed: bool,
    /// Two of one check have run at the same time.
    slow_overlaps: bool,
    umask: String,
    numbers_have_run: bool,
    order_overlaps: bool,
    /// The script that hangs was ended.
    hanging_was_ended: bool,
    /// The script of the stop came to its end.
    stop_was_done: bool,
}

fn live(subject: Subject) -> Life {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    for (name, text) in SCRIPTS {
        host.write_script(&format!("/run/{name}"), text);
    }
    let mut daemon = subject.start(host, &conf(subject));
    let entered = |name: &str, state: &str| said(&daemon, name, &format!("Entering {state} STATE"));
    let mut successes = None;
    let count = |file: &str, word: &str| host.read(file).matches(word).count();
    lab.wait_for("init_fail is over", seconds(SOON), || {
        let ran = count("/run/rising.ran", ".");
        if successes.is_none() && entered("rising", "BACKUP") {
            successes = Some(ran);
        }
        successes.is_some()
    });
    lab.wait_for("a master", seconds(SOON), || host.exists("/run/master.ran"));
    lab.wait_for("a timeout", seconds(SOON), || host.exists("/run/late.caught"));
    lab.wait_for("its end is known", seconds(SOON), || {
        entered("late", "MASTER") || entered("late", "FAULT")
    });
    lab.wait_for("both notify", seconds(SOON), || count("/run/order.ran", "end") == 2);
    lab.wait_for("a slow check", seconds(SOON), || count("/run/slow.ran", "end") == 1);
    let hanging: i32 = host.read("/run/hangs.pid").trim().parse().expect("it runs");
    let hangs = || host.run(&format!("kill -0 {hanging}")).status.success();
    let is_patient = subject == Subject::Keepalived;
    let hanging_was_ended = wait_until(seconds(if is_patient { 1.0 } else { SOON }), || !hangs());
    let overlaps =
        |file: &str| host.read(file).lines().take(2).all(|line| line.starts_with("begin"));
    let mut life = Life {
        missing_is_a_fault: entered("missing", "FAULT"),
        successes: successes.unwrap_or_default(),
        plain_has_run: host.exists("/run/plain.ran"),
        plain_is_a_fault: entered("plain", "FAULT"),
        late_has_failed: entered("late", "FAULT"),
        slow_overlaps: overlaps("/run/slow.ran"),
        umask: host.read("/run/umask.is").trim().to_owned(),
        numbers_have_run: host.exists("/run/numbers.ran"),
        order_overlaps: overlaps("/run/order.ran"),
        hanging_was_ended,
        stop_was_done: false,
    };
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(SOON));
    lab.check("the script of the stop was run", host.exists("/run/stop.begun"));
    life.stop_was_done = host.exists("/run/stop.done");
    life
}

#[test]
fn what_becomes_of_scripts() {
    let (theirs, ours) = both(live);
    // One more may have run before it was seen.
    let successes = theirs.successes;
    assert!((1..3).contains(&successes), "{theirs:#?}");
    let expected = Life {
        missing_is_a_fault: false,
        successes,
        plain_has_run: false,
        plain_is_a_fault: false,
        late_has_failed: false,
        slow_overlaps: true,
        umask: "0177".to_owned(),
        numbers_have_run: false,
        order_overlaps: true,
        hanging_was_ended: false,
        stop_was_done: false,
    };
    assert_eq!(theirs, expected);
    let successes = ours.successes;
    assert!(successes >= 3, "{ours:#?}");
    let expected = Life {
        missing_is_a_fault: true,
        successes,
        plain_has_run: true,
        plain_is_a_fault: true,
        late_has_failed: true,
        slow_overlaps: false,
        umask: "0022".to_owned(),
        numbers_have_run: true,
        order_overlaps: false,
        hanging_was_ended: true,
        stop_was_done: true,
    };
    assert_eq!(ours, expected);
}
