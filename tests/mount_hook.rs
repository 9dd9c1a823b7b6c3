//! mount.sh against what loses data or service: settings and links that change, caches, hostile users
//! of the storage, wrong devices, missing tools. Needs root and loop devices.

#[allow(dead_code)]
mod hooks_support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hooks_support::{Disk, Folder, Hook, in_both_shells, run};

/// All three shells: the third is that of small systems.
const SHELLS: [&str; 3] = ["dash", "bash", "busybox sh"];

/// A copy of the shipped mount hook and what it stands on, to be edited.
fn own_copy(folder: &Folder) -> PathBuf {
    let own = folder.path("own");
    run("cp", &["-r", "hooks", &own]);
    Path::new(&own).join("mount.sh")
}

fn mounted_points(disk: &Disk) -> Vec<String> {
    let folder = disk.folder.path("");
    let mounts = disk.mounts();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    points.filter_map(|point| point.strip_prefix(&folder)).map(str::to_owned).collect()
}

// --- what was acquired is what is released

#[test]
fn a_setting_that_changed_meanwhile_leaves_nothing_mounted() {
    for shell in SHELLS {
        let (disk, other) = (Disk::new(&[]), Disk::new(&[]));
        let taken = || disk.mount_a(shell).env("GUARD", "none").env("GLHA_RELEASED", "1");
        let point = disk.folder.path("b");
        for (setting, value) in
            [("MOUNT_DEVICE", &other.a), ("MOUNT_POINT", &point), ("MOUNT_TYPE", &"xfs".to_owned())]
        {
            taken().acquire().expect(0, &[]);
            taken().env(setting, value).probe().expect(0, &[]);
            // A second acquire does not forget the first.
            taken().env("MOUNT_DEVICE", &other.a).acquire().expect(1, &["other settings"]);
            let released = taken().env(setting, value).release();
            released.expect(0, &[&format!("{setting} is '{value}' by now"), "is free"]);
            assert_eq!(mounted_points(&disk), [""; 0], "{setting}");
            taken().env(setting, value).probe().expect(1, &[]);
        }
    }
}

#[test]
fn a_link_that_moves_or_vanishes_changes_nothing() {
    in_both_shells(|shell| {
        let (disk, other) = (Disk::with_mmp(), Disk::with_mmp());
        let link = disk.folder.path("by-id");
        let mount = || disk.mount_a(shell).env("MOUNT_DEVICE", &link);
        for target in [Some(&other.a), None] {
            symlink(&disk.a, &link).expect("a link");
            mount().acquire().expect(0, &[]);
            fs::remove_file(&link).expect("the link");
            if let Some(target) = target {
                symlink(target, &link).expect("a link");
            }
            for reason in ["probe", "start", "resume", "lapse"] {
                mount().env("GLHA_REASON", reason).probe().expect(0, &[]);
            }
            mount().release().expect(0, &["is free"]);
            assert_eq!(mounted_points(&disk), [""; 0]);
            let _ = fs::remove_file(&link);
        }
    });
}

#[test]
fn a_record_of_another_boot_or_of_nothing_mounted_holds_nothing() {
    let disk = Disk::new(&[]);
    let mount = || disk.mount_a("dash").env("GUARD", "none").env("GLHA_RELEASED", "1");
    mount().acquire().expect(0, &[]);
    disk.run("umount", &[&disk.folder.path("a")]);
    mount().probe().expect(1, &[]);
    let record = disk.folder.path("run-a/storage/VI_1");
    let text = disk.folder.read("run-a/storage/VI_1");
    let text = text.replacen("boot ", "boot x", 1).replace(&disk.a, "/dev/another");
    fs::write(record, text).expect("the record");
    mount().probe().expect(1, &[]);
    mount().release().expect(0, &["is free"]);
}

// --- caches

/// The device's cache outlives its last mount while anybody keeps the device open; e2fsck must not
/// repair from it what the other node has written since.
#[test]
fn a_repair_reads_the_disk_and_not_an_old_cache() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        run("debugfs", &["-w", "-R", "ssv state 2", &disk.a]);
        let mount = |hook: Hook| hook.env("GUARD", "none").env("GLHA_RELEASED", "1");
        let script =
            format!("exec 7<{0}; dd if={0} of=/dev/null bs=1M; echo; exec sleep 600", disk.b);
        let _keeper = disk.start("sh", &["-c", &script]);
        disk.run("mount", &[&disk.a, &disk.folder.path("a")]);
        let files = format!("cd {} && touch $(seq 300)", disk.folder.path("a"));
        disk.run("sh", &["-c", &files]);
        disk.run("umount", &[&disk.folder.path("a")]);
        mount(disk.mount_b(shell)).acquire().expect(0, &["running e2fsck -p"]);
        let there = fs::read_dir(disk.inside("b")).expect("the mounted root").count();
        assert!(there >= 300, "{there}");
        mount(disk.mount_b(shell)).release().expect(0, &[]);
        run("e2fsck", &["-f", "-n", &disk.b]);
    });
}

// --- hostile users of the storage

/// Whoever may write in the mounted root must neither make root write elsewhere, nor hang the probe, nor
/// bring about a failover.
#[test]
fn what_users_put_in_the_way_of_the_probe_is_not_followed() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        let mount = || disk.mount_a(shell).env("GUARD", "none").env("GLHA_RELEASED", "1");
        mount().acquire().expect(0, &[]);
        let victim = disk.folder.path("victim");
        fs::write(&victim, "precious").expect("a file of root");
        let plants = [
            format!("/bin/ln -s {victim} \"$1\""),
            format!("/bin/ln -s {victim} \"$1\"; /bin/rm -f \"$1\".moved"),
            "/usr/bin/mkfifo \"$1\"".to_owned(),
            "/bin/mkdir \"$1\"".to_owned(),
        ];
        for plant in plants {
            // Before each write, a user of the storage guesses the name.
            disk.folder.command(
                "dd",
                &format!(
                    "plant() {{ {plant}; }}\nfor w in \"$@\"; do case $w in of=*) plant \"${{w#of=}}\" ;; esac; done\n\
                     exec /bin/dd \"$@\""
                ),
            );
            // The name of 0.1, too.
            let old = disk.folder.path("a/.glha-probe");
            disk.run("sh", &["-c", &format!("rm -rf {old}*; set -- {old}; {plant}")]);
            mount().probe().expect(0, &[]);
            assert_eq!(disk.folder.read("victim"), "precious");
        }
        // Between the write and the read.
        disk.folder.command(
            "dd",
            &format!(
                "for w in \"$@\"; do case $w in if=*) rm -f \"${{w#if=}}\"; ln -s {victim} \"${{w#if=}}\" ;; \
                 esac; done\nexec /bin/dd \"$@\""
            ),
        );
        mount().probe().expect(0, &["somebody replaces"]);
        fs::remove_file(disk.folder.path("bin/dd")).expect("the stand-in");
        mount().release().expect(0, &[]);
    }
}

#[test]
fn probes_at_the_same_time_do_not_disturb_each_other() {
    let disk = Disk::new(&[]);
    let mount = || disk.mount_a("dash").env("GUARD", "none").env("GLHA_RELEASED", "1");
    mount().acquire().expect(0, &[]);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let probe = mount();
            scope.spawn(move || probe.probe().expect(0, &[]));
        }
    });
    let left = fs::read_dir(disk.inside("a")).expect("the root").flatten();
    assert_eq!(left.filter(|one| one.file_name() != "lost+found").count(), 0, "files stay behind");
    mount().release().expect(0, &[]);
}

#[test]
fn a_full_disk_is_healthy() {
    in_both_shells(|shell| {
        let disk = Disk::new(&["-m", "0"]);
        let mount = || disk.mount_a(shell).env("GUARD", "none").env("GLHA_RELEASED", "1");
        mount().acquire().expect(0, &[]);
        let point = disk.folder.path("a");
        let fill = format!(
            "cd {point}; cat /dev/zero >full; sync -f .; n=0\n\
             while dd if=/dev/zero of=small$n bs=1k count=1 conv=fsync; do n=$((n + 1)); done; :"
        );
        disk.run("sh", &["-c", &fill]);
        mount().probe().expect(0, &["is full"]);
        mount().release().expect(0, &[]);
        mount().acquire().expect(0, &["is full"]);
        mount().release().expect(0, &[]);
    });
}

/// An error while it is mounted must stop the writing, and be seen.
#[test]
fn an_error_of_the_file_system_is_seen() {
    in_both_shells(|shell| {
        let disk = Disk::new(&["-e", "continue"]);
        let mount = || disk.mount_a(shell).env("GUARD", "none").env("GLHA_RELEASED", "1");
        mount().acquire().expect(0, &[]);
        let device = disk.a.trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "a test\n").expect("an error");
        mount().probe().expect(3, &["not for writing"]);
        mount().release().expect(0, &[]);
    });
}

// --- what cannot be right

/// In a mount namespace of its own the disk is this system's /boot.
#[test]
fn the_disk_of_the_system_is_neither_taken_nor_emptied_of_its_users() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        disk.run("mount", &[&disk.a, "/boot"]);
        let log = disk.folder.path("commands");
        for command in ["fuser", "umount", "mount"] {
            disk.folder.command(command, &format!("echo {command} \"$@\" >>{log}"));
        }
        let mount = || disk.mount_a(shell).env("GUARD", "none").env("ACCEPT_RISK", "yes");
        let why = "what this system itself runs from";
        mount().acquire().expect(1, &[why]);
        mount().check().expect(1, &[why]);
        mount().probe().expect(3, &[]);
        mount().release().expect(1, &[why]);
        assert_eq!(disk.folder.read("commands"), "", "nothing is ended, mounted, unmounted");
    }
}

/// A place where many systems have a disk of their own may be that of the shared one.
#[test]
fn the_shared_disk_may_be_home() {
    let disk = Disk::new(&[]);
    let mount = || {
        let mount = disk.mount_a("dash").env("GUARD", "none").env("GLHA_RELEASED", "1");
        mount.env("MOUNT_POINT", "/home")
    };
    mount().acquire().expect(0, &["is mounted on /home"]);
    mount().acquire().expect(0, &["already mounted"]);
    mount().release().expect(0, &["is free"]);
    // A disk of the system there is none that may be taken.
    disk.run("mount", &[&disk.a, "/home"]);
    let elsewhere = || mount().env("MOUNT_POINT", &disk.folder.path("a"));
    elsewhere().acquire().expect(1, &["this system itself"]);
    elsewhere().release().expect(1, &["this system itself"]);
}

#[test]
fn mount_points_of_the_system_are_refused() {
    let disk = Disk::new(&[]);
    for point in [
        "/",
        "/usr",
        "/var",
        "/etc",
        "/proc/self",
        "/dev/shm",
        "/run",
        "/tmp",
        "/lib64",
        "//usr/../usr/",
    ] {
        let mount = || disk.mount_a("dash").env("GUARD", "none").env("ACCEPT_RISK", "yes");
        for refused in
            [mount().env("MOUNT_POINT", point).acquire(), mount().env("MOUNT_POINT", point).check()]
        {
            refused.expect(1, &["belongs to"]);
        }
    }
}

/// The device number is what everything is compared with: without it nothing may look alike.
#[test]
fn without_a_device_number_nothing_is_mounted() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        disk.folder.record_services();
        disk.folder.command("mountpoint", "exit 1");
        for guard in ["none", "fence"] {
            let mount = disk.mount_a(shell).env("GUARD", guard).env("FENCE_COMMAND", "true");
            let ended = mount.env("GLHA_RELEASED", "1").env("SERVICES", "puma").acquire();
            assert_eq!(ended.status, 1, "{}", ended.text);
        }
        assert_eq!(disk.folder.read("services"), "");
        assert_eq!(mounted_points(&disk), [""; 0]);
    }
}

/// What release will need is looked for before anything is taken.
#[test]
fn a_tool_that_is_missing_is_named_before_anything_is_mounted() {
    for tool in ["wipefs", "fuser", "blockdev", "findmnt"] {
        let disk = Disk::new(&[]);
        let bin = disk.folder.path("all-but-one");
        fs::create_dir(&bin).expect("a folder for commands");
        for folder in ["/bin", "/sbin", "/usr/bin", "/usr/sbin"] {
            for one in fs::read_dir(folder).expect("commands").flatten() {
                if one.file_name() != tool {
                    let _ = symlink(one.path(), Path::new(&bin).join(one.file_name()));
                }
            }
        }
        let mount = || {
            let mount = disk.mount_a("dash").env("GUARD", "none").env("GLHA_RELEASED", "1");
            mount.env("PATH", &bin)
        };
        mount().check().expect(1, &[&format!("{tool} is missing: install the package")]);
        mount().acquire().expect(1, &[&format!("{tool} is missing")]);
        assert_eq!(mounted_points(&disk), [""; 0]);
    }
}

#[test]
fn a_setting_that_cannot_be_is_named_with_what_is_meant() {
    let disk = Disk::new(&[]);
    let mount = || disk.mount_a("dash").env("GUARD", "none");
    mount().check().expect(0, &[]);
    for (setting, value, said) in [
        ("MOUNT_DEVICE", "sdb1", "a path that begins with /, or UUID="),
        ("MOUNT_POINT", "srv/data", "a path that begins with /"),
        ("MOUNT_OWNER", "nobody-of-this-name", "there is no user"),
        ("MOUNT_OWNER", "root:no-such-group", "there is no group"),
        ("MOUNT_OWNER", "a b", "USER or USER:GROUP"),
        ("MOUNT_MODE", "9z9", "an octal mode"),
        ("GUARD", "MMP", "GUARD MMP is unknown"),
        ("GUARD", "../x", "is unknown"),
        ("FENCE_WHEN", "sometimes", "one of always unproven is meant"),
        ("ACCEPT_RISK", "YES", "one of yes no is meant"),
        ("PR_KEY", "0x00", "hexadecimal"),
        ("KILL_AFTER", "soon", "a number of seconds"),
        ("MOUNT_TYPE", "ext4 -o x", "a plain word"),
        ("LAYERS", "md:0", "md cannot be shared safely"),
        ("LAYERS", "zfs:tank", "there is no layer zfs"),
        ("MOUNT_TABLE", "/etc/fstab", "in place of MOUNT_DEVICE and MOUNT_POINT"),
        ("MOUNT_OPTION", "ro", "no setting of mount.sh: is it misspelt"),
        ("SERVICE", "nginx", "no setting of mount.sh: is it misspelt"),
        ("MOUNT_TYPE", "xfs", "carries ext4, and MOUNT_TYPE is xfs"),
        ("MOUNT_DEVICE", "/dev/no-such-disk", "No such file"),
        ("MOUNT_DEVICE", "/dev/null", "is not a block device"),
        ("MOUNT_POINT", "/no/such/folder", "install -d -m 0 /no/such/folder"),
        ("GUARD", "mmp", "has no multi-mount protection"),
        ("GUARD", "fence", "FENCE_COMMAND is empty"),
        ("GUARD", "drbd", "DRBD_RESOURCE is empty"),
        ("GUARD", "scsi-pr", "needs sg_persist"),
    ] {
        if setting == "GUARD" && value == "drbd" {
            disk.folder.command("drbdadm", ":");
            disk.folder.command("drbdsetup", ":");
        }
        mount().env(setting, value).check().expect(1, &[said]);
    }
    let point = disk.folder.path("a");
    fs::write(format!("{point}/hidden"), "").expect("a file below the mount");
    mount().check().expect(1, &["is not empty"]);
    fs::remove_file(format!("{point}/hidden")).expect("the file");
    disk.run("mount", &[&disk.a, &disk.folder.path("b")]);
    mount().check().expect(1, &["is mounted on", "already"]);
}

/// With a systemd of its own: a run-time folder of that name, and a command that answers for it.
#[test]
fn units_that_systemd_would_start_by_itself_are_named() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        disk.run("mount", &["-t", "tmpfs", "none", "/run"]);
        disk.run("mkdir", &["-p", "/run/systemd/system"]);
        disk.folder.command(
            "systemctl",
            "case $1,$2 in is-enabled,puma.service) echo enabled ;; is-enabled,web@1.timer) echo masked ;; \
             is-enabled,data.target) echo disabled ;; *) exit 1 ;; esac",
        );
        let mount = |units| disk.mount_a(shell).env("GUARD", "none").env("SERVICES", units);
        mount("data.target").check().expect(0, &[]);
        let by_check = || mount("data.target").env("CHECK_SERVICE", "data.target");
        by_check().check().expect(1, &["set CHECK_WHEN to master"]);
        by_check().env("CHECK_WHEN", "master").check().expect(0, &[]);
        let all = mount("puma.service web@1.timer none.service data.target").check();
        let all = all
            .expect(1, &["disable puma.service", "web@1.timer is masked", "no unit none.service"]);
        assert!(!all.text.contains("data.target"), "{}", all.text);
        // One that cannot be started shows why, and one that hangs is ended by systemd.
        disk.folder.command("journalctl", "echo 'no licence'");
        let log = disk.folder.path("asked");
        disk.folder.command("systemctl", &format!("echo \"$*\" >>{log}; exit 1"));
        let proven = || mount("puma.service").env("GLHA_RELEASED", "1");
        proven().acquire().expect(1, &["puma.service: no licence", "could not be started"]);
        proven().release().expect(0, &["could not be stopped", "is free"]);
        assert!(disk.folder.read("asked").contains("kill --signal=KILL puma.service"));
    }
}

/// The next boot of either node would mount it.
#[test]
fn a_line_of_fstab_is_named() {
    let disk = Disk::new(&[]);
    let table = disk.folder.path("fstab");
    for (line, status) in [
        (format!("{} /srv/other ext4 defaults 0 2", disk.a), 1),
        (format!("/dev/x {} ext4 defaults 0 2", disk.folder.path("a")), 1),
        (format!("{} /srv/other ext4 noauto 0 2", disk.a), 0),
        (format!("# {} /srv/other ext4 defaults 0 2", disk.a), 0),
    ] {
        fs::write(&table, format!("proc /proc proc defaults 0 0\n{line}\n")).expect("a table");
        disk.run("mount", &["--bind", &table, "/etc/fstab"]);
        let words: &[&str] = if status == 1 { &["fstab(5)", "noauto"] } else { &[] };
        disk.mount_a("dash").env("GUARD", "none").check().expect(status, words);
        disk.run("umount", &["/etc/fstab"]);
    }
}

// --- time and processes

/// What comes back within a fifth of a second must not keep the storage.
#[test]
fn a_service_that_comes_back_at_once_does_not_keep_the_storage() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let mount = || disk.mount_a(shell).env("GUARD", "none").env("GLHA_RELEASED", "1");
        mount().acquire().expect(0, &[]);
        let point = disk.folder.path("a");
        let service =
            format!("echo; while :; do (cd {point}/lost+found && exec sleep 600); sleep 0.2; done");
        let _respawning = disk.start("sh", &["-c", &service]);
        mount().env("GLHA_TIMEOUT_MS", "20000").release().expect(0, &["is free"]);
    });
}

/// The shell reads a script while it runs it.
#[test]
fn a_hook_that_is_edited_while_it_runs_ends_as_it_began() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        let hook = own_copy(&disk.folder);
        let edit = format!(
            "{{ echo '# one'; echo '# two'; echo '# three'; cat {0}; }} >{0}.edited; cat {0}.edited >{0}",
            hook.display()
        );
        disk.folder.command("service", &edit);
        disk.folder.command("systemctl", &edit);
        let mount = || {
            let mount = disk.mount_a_with(&hook, shell).env("SERVICES", "puma");
            mount.env("GUARD", "none").env("GLHA_RELEASED", "1")
        };
        for ended in [mount().acquire(), mount().release()] {
            let ended = ended.expect(0, &[]);
            assert!(
                !ended.text.contains("not found") && !ended.text.contains("yntax"),
                "{}",
                ended.text
            );
        }
    }
}

/// What an administrator adds runs where it says, and may refuse.
#[test]
fn own_steps_have_their_places() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        disk.folder.record_services();
        let hook = own_copy(&disk.folder);
        let (log, point) = (disk.folder.path("services"), disk.folder.path("a"));
        let mut text = fs::read_to_string(&hook).expect("the hook");
        for step in ["before_mount", "after_mount", "before_unmount", "after_unmount"] {
            let own = format!(
                "{step}() {{ echo {step} $(mountpoint -q {point} && echo mounted) >>{log}; [ ! -e {log}.{step} ]; }}"
            );
            assert!(text.contains(&format!("\n{step}() {{ :; }}")), "{step} is not empty");
            text = text.replace(&format!("\n{step}() {{ :; }}"), &format!("\n{own}"));
        }
        fs::write(&hook, text).expect("the hook");
        let mount = || {
            let mount = disk.mount_a_with(&hook, shell).env("SERVICES", "puma");
            mount.env("GUARD", "none").env("GLHA_RELEASED", "1")
        };
        mount().acquire().expect(0, &[]);
        mount().release().expect(0, &[]);
        let order = "before_mount\nafter_mount mounted\nstart puma\nstop puma\nbefore_unmount mounted\nafter_unmount\n";
        assert_eq!(disk.folder.read("services"), order);
        for step in ["before_mount", "after_mount", "before_unmount", "after_unmount"] {
            let veto = format!("{log}.{step}");
            fs::write(&veto, "").expect("a reason");
            let said = format!("{step} has failed");
            if step.ends_with("_mount") {
                mount().acquire().expect(1, &[&said]);
                mount().release().expect(0, &["is free"]);
            } else {
                mount().acquire().expect(0, &[]);
                mount().release().expect(0, &[&said, "is free"]);
            }
            fs::remove_file(&veto).expect("the reason");
        }
        // An upgrade has put a newer one beside it.
        fs::write(format!("{}.new", hook.display()), "").expect("a newer hook");
        mount().check().expect(1, &["was edited"]);
    }
}

/// Without its parts the hook says so, and nothing that could be taken for an answer.
#[test]
fn parts_that_are_missing_are_no_answer() {
    let disk = Disk::new(&[]);
    let hook = own_copy(&disk.folder);
    fs::remove_dir_all(disk.folder.path("own/lib")).expect("the parts");
    for action in ["acquire", "release", "probe", "check"] {
        disk.mount_a_with(&hook, "dash").run(&[action, "VI_1"]).expect(3, &["is missing"]);
    }
}

#[test]
fn paths_may_have_blanks() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        let point = disk.folder.path("a b\\c");
        fs::create_dir(&point).expect("a mount point");
        let mount = || {
            let mount = disk.mount_a(shell).env("GUARD", "none").env("GLHA_RELEASED", "1");
            mount.env("MOUNT_POINT", &point)
        };
        mount().acquire().expect(0, &[]);
        mount().probe().expect(0, &[]);
        let below = format!("{point}/m n");
        disk.run("mkdir", &[&below]);
        disk.run("mount", &["-t", "tmpfs", "none", &below]);
        mount().release().expect(0, &["is free"]);
        assert_eq!(mounted_points(&disk), [""; 0]);
    }
}

/// The kernel writes its host's own name into the MMP block: not a container's, and not a later one.
#[test]
fn the_name_of_the_host_may_differ_or_change() {
    let disk = Disk::with_mmp();
    let renamed = disk.folder.path("renamed");
    fs::write(&renamed, "#!/bin/sh\nhostname elsewhere\nexec dash \"$@\"\n").expect("a script");
    fs::set_permissions(&renamed, fs::Permissions::from_mode(0o755)).expect("its mode");
    let contained = format!("unshare --uts {renamed}");
    disk.mount_a(&contained).acquire().expect(0, &["is mounted on"]);
    disk.mount_a(&contained).env("GLHA_REASON", "resume").probe().expect(0, &[]);
    disk.mount_a(&contained).release().expect(0, &[]);
    disk.mount_a("dash").acquire().expect(0, &[]);
    disk.mount_a(&contained).env("GLHA_REASON", "resume").probe().expect(0, &[]);
    disk.mount_a(&contained).release().expect(0, &[]);
}
