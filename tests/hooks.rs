//! The shipped hooks under dash and bash: mount.sh on real ext4 file systems behind loop devices,
//! check.sh and notify.sh with commands that stand in for others. Needs root.

#[allow(dead_code)]
mod hooks_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use hooks_support::{Disk, Folder, Hook, in_both_shells, run};

#[test]
fn acquire_mounts_and_release_frees() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.folder.record_services();
        let mount = || {
            disk.mount_a(shell)
                .env("SERVICES", "gitaly puma")
                .env("MOUNT_OWNER", "7:8")
                .env("MOUNT_MODE", "750")
        };
        mount().probe().expect(1, &[]);
        mount().acquire().expect(0, &["is mounted on"]);
        assert!(disk.is_mounted(&disk.a, "a"));
        let root = fs::metadata(disk.inside("a")).expect("the mounted root");
        assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (7, 8, 0o750));
        mount().probe().expect(0, &[]);
        for reason in ["resume", "lapse"] {
            mount().env("GLHA_REASON", reason).probe().expect(0, &[]);
        }
        mount().acquire().expect(0, &["already mounted"]);
        mount().release().expect(0, &["is free"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
        mount().release().expect(0, &["is free"]);
        mount().probe().expect(1, &[]);
        let start = "start gitaly\nstart puma\n";
        let stop = "stop puma\nstop gitaly\n";
        assert_eq!(disk.folder.read("services"), [start, start, stop, stop].concat());
    });
}

/// As after a crash of the daemon: what is begun is brought to its end all the same.
#[test]
fn nobody_listens_any_more() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).unheard().acquire().expect(0, &[]);
        assert!(disk.is_mounted(&disk.a, "a"));
        disk.mount_a(shell).unheard().release().expect(0, &[]);
        assert!(!disk.is_mounted(&disk.a, "a"));
    });
}

/// The device appears while it is waited for.
#[test]
fn device_that_comes_late() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        let node = disk.folder.path("node");
        let number = run("mountpoint", &["-x", &disk.a]).replace(':', " ");
        disk.folder.command("sleep", &format!("[ -e {node} ] || mknod {node} b {number}"));
        let mount = || disk.mount_a(shell).env("MOUNT_DEVICE", &node);
        mount().acquire().expect(0, &["is mounted on"]);
        mount().release().expect(0, &["is free"]);
    });
}

#[test]
fn failing_service_fails_the_acquire() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.folder.command("service", "exit 3");
        disk.folder.command("systemctl", "exit 3");
        let mount = || disk.mount_a(shell).env("SERVICES", "puma");
        mount().acquire().expect(1, &["puma could not be started"]);
        mount().release().expect(0, &["puma could not be stopped", "is free"]);
    });
}

/// All that has to wait for MMP's own time, 11 or 22 s, at the same time.
#[test]
fn what_mmp_takes_its_time_for() {
    std::thread::scope(|scope| {
        scope.spawn(|| in_both_shells(second_node_is_refused_and_told_by_whom));
        scope.spawn(|| storage_of_a_dead_node_is_taken_after_the_wait("dash"));
        scope.spawn(|| node_that_heard_nobody_does_not_fence_a_living_one("bash"));
    });
}

fn second_node_is_refused_and_told_by_whom(shell: &str) {
    let disk = Disk::with_mmp();
    disk.mount_a(shell).acquire().expect(0, &[]);
    let host = format!("host {}, device loop", run("uname", &["-n"]));
    let refused = disk.mount_b(shell).env("GLHA_HOW", "silent").acquire();
    refused.expect(75, &["is in use by", &host, disk.a.trim_start_matches("/dev/")]);
    assert!(!disk.is_mounted(&disk.b, "b"));
}

fn storage_of_a_dead_node_is_taken_after_the_wait(shell: &str) {
    let disk = Disk::after_power_failure();
    let acquired = disk.mount_a(shell).env("GLHA_HOW", "silent").acquire();
    acquired.expect(0, &["marked as in use by host", "is mounted on"]);
}

fn node_that_heard_nobody_does_not_fence_a_living_one(shell: &str) {
    let disk = Disk::with_mmp();
    disk.mount_a(shell).acquire().expect(0, &[]);
    let fenced = disk.folder.path("fenced");
    let b = disk.mount_b(shell).env("GUARD", "fence").env("GLHA_HOW", "cold");
    b.env("FENCE_COMMAND", &format!("touch {fenced}")).acquire().expect(75, &["not fencing it"]);
    assert!(!Path::new(&fenced).exists());
}

#[test]
fn old_master_that_still_unmounts_is_waited_for() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        let acquired = std::thread::scope(|scope| {
            let b = disk.mount_b(shell).env("GLHA_HOW", "preempting");
            let acquired = scope.spawn(|| b.acquire());
            disk.mount_a(shell).release().expect(0, &[]);
            acquired.join().expect("a run")
        });
        acquired.expect(0, &[]);
        assert!(disk.is_mounted(&disk.b, "b"));
    });
}

#[test]
fn wait_that_does_not_fit_fails_at_once() {
    in_both_shells(|shell| {
        let disk = Disk::after_power_failure();
        let failed = disk.mount_a(shell).env("GLHA_TIMEOUT_MS", "20000").acquire();
        failed.expect(1, &["takes up to 25 s", "raise the timeout"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
    });
}

#[test]
fn mmp_guard_wants_the_feature() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let proven = disk.mount_a(shell).env("GLHA_RELEASED", "1").acquire();
        proven.expect(1, &["tune2fs -O mmp"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
    });
}

#[test]
fn holders_get_term_then_kill() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        let point = disk.folder.path("a");
        let soft = disk.start("sh", &["-c", &format!("cd {point}; echo; exec sleep 600")]);
        let hard = format!("cd {point}; trap '' TERM; echo; while :; do sleep 1; done");
        let hard = disk.start("sh", &["-c", &hard]);
        let released = disk.mount_a(shell).env("GLHA_TIMEOUT_MS", "8000").release();
        let term = |pid| format!("TERM to pid {pid} ");
        released.expect(
            0,
            &[
                &term(soft.id()),
                &term(hard.id()),
                &format!("KILL to pid {} ", hard.id()),
                "is free",
            ],
        );
    });
}

#[test]
fn mount_below_and_bind_mount_go_too() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        let below = disk.folder.path("a/below");
        disk.run("mkdir", &[&below]);
        disk.run("mount", &["-t", "tmpfs", "none", &below]);
        disk.run("mount", &["--bind", &disk.folder.path("a"), &disk.folder.path("b")]);
        disk.mount_a(shell).release().expect(0, &["is free"]);
    });
}

#[test]
fn other_mount_namespace_is_named_and_no_release() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        let script = "echo; exec sleep 600";
        let holder = disk.start("unshare", &["-m", "--propagation", "private", "sh", "-c", script]);
        let space = fs::read_link(format!("/proc/{}/ns/mnt", holder.id())).expect("its namespace");
        let mount = || disk.mount_a(shell).env("GLHA_TIMEOUT_MS", "4000");
        let named = format!("namespace {}: pid {} (sleep)", space.display(), holder.id());
        mount().release().expect(1, &[&named, "is not released"]);
        assert!(!disk.is_mounted(&disk.a, "a"), "it is unmounted here all the same");
        mount().probe().expect(3, &[&named]);
        drop(holder);
        disk.mount_a(shell).release().expect(0, &["is free"]);
    });
}

#[test]
fn open_file_after_a_lazy_unmount_is_named() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        let point = disk.folder.path("a");
        let script = format!("exec 3>{point}/open; echo; exec sleep 600");
        let holder = disk.start("sh", &["-c", &script]);
        disk.run("umount", &["-l", &point]);
        let released = disk.mount_a(shell).env("GLHA_TIMEOUT_MS", "4000").release();
        released.expect(1, &[&format!("in use by pid {} (sleep)", holder.id()), "busy"]);
    });
}

#[test]
fn foreign_device_on_the_mount_point() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        let foreign = Disk::new(&[]);
        disk.run("mount", &[&foreign.a, &disk.folder.path("a")]);
        let failed = disk.mount_a(shell).acquire();
        // What stands in the place of ours may be ours under another name: it is never "not held", and
        // never "free".
        let carried = format!("carries {} instead of {}", foreign.a, disk.a);
        failed.expect(1, &[&carried]);
        disk.mount_a(shell).probe().expect(3, &[&carried]);
        disk.mount_a(shell).release().expect(1, &[&carried]);
        assert!(disk.mounts().contains(&format!("{} {} ", foreign.a, disk.folder.path("a"))));
    });
}

#[test]
fn probe_sees_what_is_wrong() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        disk.run("mount", &["-o", "remount,ro", &disk.folder.path("a")]);
        disk.mount_a(shell).probe().expect(3, &["not for writing"]);
        disk.mount_a(shell).acquire().expect(1, &["not for writing"]);
        disk.run("mount", &["-o", "remount,rw", &disk.folder.path("a")]);
        disk.mount_a(shell).probe().expect(0, &[]);

        disk.folder.command("dd", "echo dd: Input/output error >&2; exit 1");
        disk.mount_a(shell).probe().expect(3, &["does not take a write", "Input/output error"]);
        fs::remove_file(disk.folder.path("bin/dd")).expect("the stand-in");

        disk.run("mount", &["--move", &disk.folder.path("a"), &disk.folder.path("b")]);
        disk.mount_a(shell).probe().expect(3, &["but not on"]);
    });
}

#[test]
fn proof_is_asked_when_the_daemon_was_away() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let mount = || disk.mount_a(shell).env("GUARD", "none");
        mount().env("GLHA_RELEASED", "1").acquire().expect(0, &[]);
        mount().probe().expect(0, &[]);
        let resumed = || mount().env("GLHA_REASON", "resume");
        resumed().probe().expect(2, &["cannot prove"]);
        resumed().env("GLHA_PHASE", "probing").probe().expect(2, &["cannot prove"]);
        resumed().env("GLHA_PHASE", "master").probe().expect(0, &[]);
        let master = |reason| mount().env("GLHA_PHASE", "master").env("GLHA_REASON", reason);
        master("probe").probe().expect(0, &[]);
        master("conflict").probe().expect(2, &["cannot prove"]);

        let stolen = Disk::with_mmp();
        stolen.mount_a(shell).acquire().expect(0, &[]);
        let block = "mmp_check_interval: 5\nmmp_sequence: 0x7\nmmp_node_name: other\n\
                     mmp_device_name: sdz";
        stolen.folder.command("e2mmpstatus", &format!("echo '{block}'"));
        let probe = stolen.mount_a(shell).env("GLHA_REASON", "lapse").probe();
        probe.expect(3, &["written by host other, device sdz"]);
        let master = stolen.mount_a(shell).env("GLHA_PHASE", "master");
        let probe = master.env("GLHA_REASON", "conflict").probe();
        probe.expect(3, &["written by host other, device sdz"]);
    });
}

#[test]
fn simultaneous_mount_of_a_clean_disk_is_undone() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        let clean = "mmp_check_interval: 5\nmmp_sequence: 0xff4d4d50\nmmp_node_name: x";
        let other = "mmp_check_interval: 5\nmmp_sequence: 0x7\nmmp_node_name: other";
        let mounts = format!("grep -q '{}' /proc/mounts", disk.folder.path("a"));
        let script = format!("{mounts} && echo '{other}' || echo '{clean}'");
        disk.folder.command("e2mmpstatus", &script);
        disk.mount_a(shell).acquire().expect(75, &["at the same time"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
    });
}

#[test]
fn guard_none_wants_proof_or_a_persons_word() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let mount = || disk.mount_a(shell).env("GUARD", "none");
        mount().acquire().expect(1, &["glha released VI_1"]);
        mount().env("GLHA_RELEASED", "0").acquire().expect(1, &[]);
        assert!(!disk.is_mounted(&disk.a, "a"));
        mount().env("GLHA_RELEASED", "1").acquire().expect(0, &[]);
        mount().release().expect(0, &[]);
        mount().env("ACCEPT_RISK", "yes").acquire().expect(0, &["ACCEPT_RISK"]);
        mount().release().expect(0, &[]);
    });
}

#[test]
fn fence_comes_before_the_mount_and_spares_the_wait() {
    in_both_shells(|shell| {
        let disk = Disk::after_power_failure();
        let mount = || disk.mount_a(shell).env("GUARD", "fence").env("GLHA_TIMEOUT_MS", "20000");
        mount().acquire().expect(1, &["FENCE_COMMAND is empty"]);
        mount().env("FENCE_COMMAND", "exit 9").acquire().expect(1, &["status 9"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
        let fenced = disk.folder.path("fenced");
        let touch = format!("touch {fenced}");
        mount().env("FENCE_COMMAND", &touch).acquire().expect(0, &["clearing the MMP mark"]);
        assert!(disk.is_mounted(&disk.a, "a") && Path::new(&fenced).exists());
        mount().release().expect(0, &[]);

        fs::remove_file(&fenced).expect("the trace of the fence");
        let proven = || mount().env("FENCE_COMMAND", &touch).env("GLHA_RELEASED", "1");
        proven().env("FENCE_WHEN", "unproven").acquire().expect(0, &[]);
        assert!(!Path::new(&fenced).exists());
        mount().release().expect(0, &[]);
        proven().acquire().expect(0, &[]);
        assert!(Path::new(&fenced).exists(), "a proven release does not skip the guard");
        mount().release().expect(0, &[]);
    });
}

#[test]
fn unknown_guard_and_missing_settings_fail() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let mount = || disk.mount_a(shell);
        mount().env("GUARD", "mpp").acquire().expect(1, &["GUARD mpp is unknown"]);
        mount().env("MOUNT_DEVICE", "").acquire().expect(1, &["must be set"]);
        mount().env("MOUNT_DEVICE", "").probe().expect(3, &["must be set"]);
        mount().env("MOUNT_POINT", "/nowhere").acquire().expect(1, &["install -d"]);
        mount().run(&["status", "VI_1"]).expect(64, &["usage"]);
    });
}

#[test]
fn missing_device_is_free_only_if_nothing_of_it_is_mounted() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        let node = disk.folder.path("node");
        let mount = || disk.mount_a(shell).env("MOUNT_DEVICE", &node);
        mount().env("GLHA_TIMEOUT_MS", "2000").acquire().expect(1, &["is not there"]);
        mount().release().expect(0, &["nothing on this host"]);
        let number = run("mountpoint", &["-x", &disk.a]);
        let (major, minor) = number.split_once(':').expect("major:minor");
        run("mknod", &[&node, "b", major, minor]);
        mount().acquire().expect(0, &[]);
        disk.run("mount", &["--move", &disk.folder.path("a"), &disk.folder.path("b")]);
        fs::remove_file(&node).expect("the node");
        // Its number was written down, and the kernel has a name for that.
        mount().release().expect(0, &["is free"]);
        assert!(!disk.mounts().contains(&disk.folder.path("b")));

        // Nobody wrote down what a person has mounted.
        run("mknod", &[&node, "b", major, minor]);
        disk.run("mount", &[&node, &disk.folder.path("b")]);
        fs::remove_file(&node).expect("the node");
        mount().release().expect(1, &["cannot prove"]);
        disk.run("umount", &[&disk.folder.path("b")]);
        mount().release().expect(0, &["nothing on this host"]);
    });
}

#[test]
fn file_system_with_errors_is_repaired_first() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        run("debugfs", &["-w", "-R", "ssv state 2", &disk.a]);
        disk.mount_a(shell).acquire().expect(0, &["running e2fsck -p"]);
    });
}

/// A check that does not fit into the time keeps nobody from the storage, unless nothing else would
/// make it consistent; and it is not begun, since nobody could mount what a killed one leaves.
#[test]
fn check_that_does_not_fit_is_left_out_aloud() {
    in_both_shells(|shell| {
        let mmp = ["-O", "mmp", "-E", "mmp_update_interval=1"];
        let disk = Disk::new(&[&mmp[..], &["-e", "remount-ro"]].concat());
        let mount = || disk.mount_a(shell).env("GLHA_TIMEOUT_MS", "30000");
        mount().acquire().expect(0, &[]);
        let device = disk.a.trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "a test\n").expect("an error");
        mount().release().expect(0, &[]);
        mount().acquire().expect(0, &["take more than 35 s", "UNCHECKED", "is mounted on"]);
        mount().release().expect(0, &[]);

        disk.folder
            .command("timeout", "case $* in *e2fsck*) exit 124 ;; esac; shift 4; exec \"$@\"");
        let long = || disk.mount_a(shell).env("GLHA_TIMEOUT_MS", "90000");
        long().acquire().expect(0, &["running e2fsck -p", "did not end", "UNCHECKED"]);
        long().release().expect(0, &[]);

        let bare = Disk::new(&["-O", "^has_journal"]);
        let mount = || bare.mount_a(shell).env("GUARD", "none").env("ACCEPT_RISK", "yes");
        mount().env("GLHA_TIMEOUT_MS", "20000").acquire().expect(1, &["no journal, but", "raise"]);
        mount().acquire().expect(0, &["no journal, running e2fsck -p"]);
        mount().release().expect(0, &[]);
    });
}

/// mount.sh on a node with this session and key, guarded by reservations.
fn reserving(disk: &Disk, shell: &str, nexus: &str, key: &str) -> Hook {
    disk.folder.command("sg_persist", include_str!("hooks_support/sg_persist.sh"));
    let hook = if nexus.starts_with('b') { disk.mount_b(shell) } else { disk.mount_a(shell) };
    hook.env("GUARD", "scsi-pr")
        .env("NEXUS", nexus)
        .env("PR_KEY", key)
        .env("PR_STATE", &disk.folder.path("pr"))
}

#[test]
fn reservation_is_taken_and_given_up() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let mount = || reserving(&disk, shell, "a", "0x0A");
        mount().acquire().expect(0, &[]);
        assert_eq!(disk.folder.read("pr"), "reg a 0x0A\nres a 0x0A 5\n".replace("0x", ""));
        mount().env("GLHA_REASON", "lapse").probe().expect(0, &[]);
        mount().acquire().expect(0, &["already mounted"]);
        mount().release().expect(0, &["is free"]);
        assert_eq!(disk.folder.read("pr"), "");
        mount().release().expect(0, &["is free"]);
    });
}

#[test]
fn reservation_of_the_other_node_is_preempted() {
    in_both_shells(|shell| {
        for refused in ["", "preempt-abort"] {
            let disk = Disk::new(&[]);
            fs::write(disk.folder.path("pr"), "reg b b\nres b b 5\nreg c c\n").expect("keys");
            let mount = || reserving(&disk, shell, "a", "0xa").env("PR_REFUSES", refused);
            mount().acquire().expect(0, &["preempting key b", "preempting key c"]);
            let state = disk.folder.read("pr");
            assert!(state.contains("reg a a\nres a a 5\n"), "{state}");
            assert!(!state.contains("reg b") && !state.contains("reg c"), "{state}");
            // The loser's first command gets a unit attention, and its probe sees the loss.
            let b = reserving(&disk, shell, "b", "0xb").env("MOUNT_DEVICE", &disk.a);
            let b = b.env("MOUNT_POINT", &disk.folder.path("a")).env("GLHA_REASON", "resume");
            b.probe().expect(3, &["own key: b"]);
            mount().release().expect(0, &[]);
        }
    });
}

#[test]
fn reservation_of_our_own_dead_session_is_taken_over() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        fs::write(disk.folder.path("pr"), "reg before a\nres before a 5\n").expect("keys");
        reserving(&disk, shell, "a", "0xa").acquire().expect(0, &["preempting key a"]);
        let state = disk.folder.read("pr");
        assert!(state.contains("reg a a") && state.contains("res a a 5"), "{state}");
        assert!(!state.contains("before a"), "{state}");
    });
}

#[test]
fn node_that_lost_the_storage_does_not_fence_back() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let keys = "reg b b\nres b b 5\n";
        fs::write(disk.folder.path("pr"), keys).expect("keys");
        let mount = || reserving(&disk, shell, "a", "0xa");
        let lost = || mount().env("GLHA_LOST", "1");
        lost().acquire().expect(1, &["foreign key b", "not preempting", "glha released VI_1"]);
        assert_eq!(disk.folder.read("pr"), keys, "nothing is touched");
        assert!(!disk.is_mounted(&disk.a, "a"));
        // A person has decided, a master was heard, or no foreign key is left.
        lost().env("GLHA_HOW", "person").acquire().expect(0, &["preempting key b"]);
        mount().release().expect(0, &[]);
        fs::write(disk.folder.path("pr"), keys).expect("keys");
        mount().env("GLHA_LOST", "0").acquire().expect(0, &["preempting key b"]);
        mount().release().expect(0, &[]);
        fs::write(disk.folder.path("pr"), "reg before a\nres before a 5\n").expect("keys");
        lost().acquire().expect(0, &[]);
    });
}

/// Asked after the daemon was away or asleep: exit 0 is said only by who is alone for sure.
#[test]
fn probe_after_an_absence_wants_the_reservation_itself() {
    in_both_shells(|shell| {
        for (phase, reason) in [("probing", "resume"), ("probing", "lapse"), ("master", "conflict")]
        {
            let disk = Disk::new(&[]);
            let mount = || reserving(&disk, shell, "a", "0xa").env("GLHA_PHASE", phase);
            let probe = || mount().env("GLHA_REASON", reason).probe();
            mount().acquire().expect(0, &[]);
            probe().expect(0, &[]);
            for stolen in ["reg a a\nreg b b\nres a a 5\n", "reg b b\nres b b 5\n", "reg a a\n", ""]
            {
                fs::write(disk.folder.path("pr"), stolen).expect("keys");
                probe().expect(3, &["own key: a"]);
            }
            mount()
                .env("GLHA_REASON", reason)
                .env("PR_REFUSES", "read-keys")
                .probe()
                .expect(3, &[]);
            mount().release().expect(0, &[]);
            let fenced = || mount().env("GUARD", "fence").env("FENCE_COMMAND", "true");
            fenced().acquire().expect(0, &[]);
            fenced().env("GLHA_REASON", reason).probe().expect(2, &["guard fence cannot prove"]);
        }
    });
}

#[test]
fn reservation_that_cannot_be_had_means_no_mount() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        fs::write(disk.folder.path("pr"), "reg b b\nres b b 5\n").expect("keys");
        let mount = || reserving(&disk, shell, "a", "0xa").env("GLHA_RELEASED", "1");
        let stubborn = mount().env("PR_REFUSES", "preempt-abort preempt").acquire();
        stubborn.expect(1, &["could not be taken", "Illegal request"]);
        mount().env("PR_REFUSES", "read-keys").acquire().expect(1, &["--in"]);
        mount().env("PR_COMMAND", "sg_missing").acquire().expect(1, &["needs sg_missing"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
    });
}

#[test]
fn reservation_spares_the_wait_for_mmp() {
    in_both_shells(|shell| {
        let disk = Disk::after_power_failure();
        let mount = reserving(&disk, shell, "a", "0xa").env("GLHA_TIMEOUT_MS", "20000");
        mount.acquire().expect(0, &["clearing the MMP mark"]);
    });
}

/// check.sh looking for a process of a name of its own, with a service manager that does `script`.
fn check(folder: &Folder, shell: &str, process: &str, script: &str) -> Hook {
    let log = folder.path("services");
    folder.command("service", &format!("echo $2 $1 >>{log}\n{script}"));
    folder.command("systemctl", &format!("echo $1 $2 >>{log}\n{script}"));
    Hook::new(shell, "check.sh", folder)
        .env("CHECK_PROCESS", process)
        .env("CHECK_SERVICE", "web")
        .env("GLHA_PHASE", "master")
        .env("GLHA_TIMEOUT_MS", "3000")
}

/// A copy of sleep(1) under a name that no other process has; at most 15 bytes, as in /proc.
fn service_binary(folder: &Folder, shell: &str, what: &str) -> String {
    let name = format!("{what}{shell}{}", std::process::id() % 100_000);
    let path = folder.path(&name);
    fs::copy("/bin/sleep", &path).expect("a copy of sleep");
    path
}

/// Answers every request with this status, until the listener's thread ends with the test.
fn http_server(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its number");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // The whole request: closing with a part of it unread would reset the connection.
            let lines = BufReader::new(&client).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = write!(&client, "HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    format!("http://{address}/-/readiness")
}

#[test]
fn check_starts_a_dead_service_once() {
    in_both_shells(|shell| {
        let folder = Folder::new();
        let binary = service_binary(&folder, shell, "w");
        let name = binary.rsplit('/').next().expect("its name").to_owned();
        check(&folder, shell, &name, "").run(&[]).expect(1, &["does not run"]);
        assert_eq!(folder.read("services"), "start web\n");

        let pid = folder.path("pid");
        let start = format!("{binary} 600 >/dev/null 2>&1 & echo $! >{pid}");
        let started = check(&folder, shell, &name, &start).run(&[]);
        let _guard = KillByFile(pid);
        started.expect(0, &["web: start"]);
        check(&folder, shell, &name, "exit 1").run(&[]).expect(0, &[]);
        assert_eq!(folder.read("services"), "start web\nstart web\n");
    });
}

/// Ends the process whose id the file names.
struct KillByFile(String);

impl Drop for KillByFile {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(&self.0) {
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
    }
}

/// A PATH on which there are these commands only.
fn folder_of_commands(folder: &Folder, tools: &[&str]) -> String {
    let bin = folder.path("only");
    fs::create_dir(&bin).expect("a folder for commands");
    for tool in tools {
        let target = run("sh", &["-c", &format!("command -v {tool}")]);
        symlink(target, Path::new(&bin).join(tool)).expect("a link");
    }
    bin
}

/// The kernel knows the first 15 bytes of a name.
#[test]
fn check_finds_a_process_with_a_long_name() {
    in_both_shells(|shell| {
        let folder = Folder::new();
        let path = folder.path(&format!("a-very-long-name-{shell}"));
        fs::copy("/bin/sleep", &path).expect("a copy of sleep");
        let run = format!("echo; exec {path} 600");
        let _process = hooks_support::Process::start("sh", &["-c", &run]);
        let name = path.rsplit('/').next().expect("its name").to_owned();
        check(&folder, shell, &name, "exit 1").run(&[]).expect(0, &[]);
        assert_eq!(folder.read("services"), "");
    });
}

#[test]
fn check_asks_the_service_with_whatever_client_there_is() {
    in_both_shells(|shell| {
        let (good, bad) = (http_server("200 OK"), http_server("503 Service Unavailable"));
        // GitLab sends who comes to its front page elsewhere; that is an answer, wherever it leads.
        let moved = http_server("302 Found\r\nLocation: http://127.0.0.1:9/");
        for client in ["curl", "wget", "bash"] {
            let folder = Folder::new();
            let bin = folder_of_commands(&folder, &["timeout", "grep", "sleep", client]);
            let check = |url| {
                let hook = check(&folder, &format!("/bin/{shell}"), "", "");
                hook.env("PATH", &bin).env("READY_URL", url).run(&[])
            };
            check(&good).expect(0, &[]);
            check(&moved).expect(0, &[]);
            check(&bad).expect(1, &["does not answer"]);
        }
    });
}

#[test]
fn check_restarts_a_service_that_does_not_answer() {
    in_both_shells(|shell| {
        let folder = Folder::new();
        let bad = http_server("503 Service Unavailable");
        let hook = check(&folder, shell, "", "").env("CHECK_URL", &bad);
        hook.run(&[]).expect(1, &["web: restart", "does not answer"]);
        assert_eq!(folder.read("services"), "restart web\n");
    });
}

#[test]
fn check_asks_a_standby_only_for_what_runs_there() {
    in_both_shells(|shell| {
        let folder = Folder::new();
        let bad = http_server("503 Service Unavailable");
        let standby = |process| {
            check(&folder, shell, process, "").env("GLHA_PHASE", "backup").env("READY_URL", &bad)
        };
        standby("").run(&[]).expect(0, &[]);
        standby("glha-none").run(&[]).expect(1, &[]);
        standby("glha-none").env("CHECK_WHEN", "master").run(&[]).expect(0, &[]);
    });
}

#[test]
fn check_asks_its_witness() {
    in_both_shells(|shell| {
        let folder = Folder::new();
        let witness = || check(&folder, shell, "", "").env("WITNESS", "192.0.2.1");
        folder.command("ping", &format!("echo $4 $5 >>{}; exit 1", folder.path("pings")));
        witness().run(&[]).expect(1, &["witness 192.0.2.1"]);
        assert_eq!(folder.read("pings").lines().count(), 2);
        folder.command("ping", "exit 0");
        witness().run(&[]).expect(0, &[]);

        fs::remove_file(folder.path("bin/ping")).expect("the stand-in");
        let bin = folder_of_commands(&folder, &["timeout", "bash"]);
        let without_ping = |path: &str| {
            let hook = check(&folder, &format!("/bin/{shell}"), "", "");
            hook.env("PATH", path).env("WITNESS", "127.0.0.1").run(&[])
        };
        without_ping(&bin).expect(0, &[]);
        folder.command("bash", "echo connect: No route to host >&2; exit 1");
        let cut_off = format!("{}:{bin}", folder.path("bin"));
        without_ping(&cut_off).expect(1, &["witness 127.0.0.1"]);
    });
}

#[test]
fn notify_writes_the_monthly_log_and_runs_what_the_user_added() {
    in_both_shells(|shell| {
        let folder = Folder::new();
        let shipped = fs::read_to_string("hooks/notify.sh").expect("notify.sh");
        let edited = shipped.replace("on_fault() { :; }", "on_fault() { echo mine; exit 7; }");
        let script = folder.path("notify.sh");
        fs::write(&script, edited).expect("the edited script");
        let notify = |state: &str| {
            Hook::of_file(shell, Path::new(&script), &folder)
                .env("LOG_DIR", &folder.path("log"))
                .env("GLHA_PREVIOUS", "BACKUP")
                .env("GLHA_REASON", "master_down")
                .env("GLHA_DETAIL", "no advert from 10.0.0.1 for 3.609 s \\c and so on")
                .run(&["INSTANCE", "VI_1", state, "100"])
        };
        for state in ["MASTER", "BACKUP", "STOP"] {
            notify(state).expect(0, &[]);
        }
        notify("FAULT").expect(7, &["mine"]);
        notify("INIT").expect(1, &["unknown state"]);
        let log = folder.read(&format!("log/keepalived_{}", run("date", &["+%Y_%m"])));
        assert_eq!(log.lines().count(), 5, "{log}");
        let why = "INSTANCE VI_1 MASTER from BACKUP (master_down: no advert from 10.0.0.1";
        assert!(log.contains(why) && log.contains("3.609 s \\c and so on)"), "{log}");
    });
}

#[test]
fn notify_mails_if_told_to() {
    in_both_shells(|shell| {
        let folder = Folder::new();
        folder.command("sendmail", &format!("cat >>{}", folder.path("mail")));
        let notify = |mail| {
            Hook::new(shell, "notify.sh", &folder)
                .env("LOG_DIR", "")
                .env("MAIL", mail)
                .env("GLHA_NODE", "nginx_backup")
                .env("GLHA_MAIL_TO", "ops@example.org boss@example.org")
                .env("GLHA_MAIL_FROM", "ha@example.org")
                .run(&["INSTANCE", "VI_1", "MASTER", "100"])
        };
        notify("no").expect(0, &[]);
        assert_eq!(folder.read("mail"), "");
        notify("yes").expect(0, &[]);
        let head = "From: ha@example.org\nTo: ops@example.org,boss@example.org\n\
                    Subject: [nginx_backup] VI_1 is MASTER\n\n";
        assert!(folder.read("mail").starts_with(head), "{}", folder.read("mail"));
        folder.command("sendmail", "exit 75");
        notify("").expect(0, &["no mail sent"]);
        notify("yes").expect(0, &["no mail sent"]);
    });
}

#[test]
fn scripts_are_clean_for_shellcheck() {
    let parts =
        fs::read_dir("hooks/lib").expect("hooks/lib").map(|one| one.expect("a file").path());
    let all = ["mount.sh", "check.sh", "notify.sh"].map(|script| format!("hooks/{script}").into());
    for script in all.into_iter().chain(parts) {
        run("shellcheck", &["-s", "sh", script.to_str().expect("a name")]);
    }
}
