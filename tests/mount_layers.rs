//! mount.sh with storage as people have it: several file systems, XFS, btrfs, LVM, LUKS, DRBD,
//! reservations on all devices, and a guard of one's own. What this kernel lacks, commands stand in
//! for. Needs root and loop devices.

#[allow(dead_code)]
mod hooks_support;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hooks_support::{Disk, Folder, Hook, in_both_shells, run};

const SHELLS: [&str; 3] = ["dash", "bash", "busybox sh"];

fn xfs() -> Disk {
    Disk::made_by("mkfs.xfs", &["-q", "-f"], 320)
}

fn mounted_points(disk: &Disk) -> Vec<String> {
    let folder = disk.folder.path("");
    let mounts = disk.mounts();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    points.filter_map(|point| point.strip_prefix(&folder)).map(str::to_owned).collect()
}

/// mount.sh with a proven release, and so without any other guard.
fn proven(hook: Hook) -> Hook {
    hook.env("GUARD", "none").env("GLHA_RELEASED", "1")
}

/// mount.sh with a table of mounts in which FOLDER stands for the disk's folder.
fn with_table(disk: &Disk, shell: &str, lines: &str) -> Hook {
    let table = disk.folder.path("table");
    fs::write(&table, lines.replace("FOLDER", &disk.folder.path(""))).expect("a table");
    let hook = proven(disk.mount_a(shell)).env("MOUNT_TABLE", &table);
    hook.env("MOUNT_DEVICE", "").env("MOUNT_POINT", "")
}

// --- several file systems

#[test]
fn several_file_systems_come_in_order_and_go_in_reverse() {
    for shell in SHELLS {
        let (disk, second) = (Disk::new(&["-L", "glha first"]), xfs());
        fs::create_dir(disk.folder.path("x y")).expect("a mount point");
        let lines = format!(
            "# the storage of a test\n{} FOLDERx\\040y ext4 noauto 0 2\n\
             {} FOLDERx\\040y/below xfs defaults 0 0\n\nFOLDERx\\040y/below FOLDERb none bind 0 0\n\
             UUID=of-no-disk FOLDERa ext4 nofail 0 0\n",
            disk.a, second.a
        );
        let mount = || with_table(&disk, shell, &lines).env("GLHA_TIMEOUT_MS", "30000");
        mount().check().expect(0, &[]);
        mount().acquire().expect(0, &["may fail", "is mounted on"]);
        assert_eq!(mounted_points(&disk), ["x\\040y", "x\\040y/below", "b"]);
        mount().probe().expect(0, &[]);
        mount().acquire().expect(0, &["already mounted"]);
        mount().release().expect(0, &["is free"]);
        assert_eq!(mounted_points(&disk), [""; 0]);

        mount().acquire().expect(0, &[]);
        disk.run("umount", &[&disk.folder.path("b")]);
        mount().probe().expect(3, &["nothing is mounted on"]);
        mount().release().expect(0, &["is free"]);
    }
}

#[test]
fn all_of_a_table_is_mounted_or_nothing() {
    in_both_shells(|shell| {
        let (disk, broken) = (Disk::new(&[]), Disk::new(&[]));
        run("dd", &["if=/dev/zero", &format!("of={}", broken.a), "bs=64k", "count=4"]);
        let lines =
            format!("{} FOLDERa ext4 defaults\n{} FOLDERb ext4 defaults\n", disk.a, broken.a);
        with_table(&disk, shell, &lines).acquire().expect(1, &["finds no ext file system"]);
        assert_eq!(mounted_points(&disk), [""; 0]);
        with_table(&disk, shell, &lines).release().expect(0, &["is free"]);
    });
}

#[test]
fn a_table_that_cannot_work_is_refused_before_anything_is_mounted() {
    let disk = Disk::new(&[]);
    let other_name = disk.folder.path("other-name");
    std::os::unix::fs::symlink(&disk.a, &other_name).expect("a link to the disk");
    for (lines, said) in [
        ("DEVICE FOLDERa ext4 defaults\nDEVICE FOLDERb ext4 defaults\n", "is named twice"),
        ("DEVICE FOLDERa ext4 defaults\nOTHERNAME FOLDERb ext4 defaults\n", "are the same disk"),
        ("DEVICE FOLDERa ext4 defaults\n/dev/x FOLDERa ext4 defaults\n", "is named twice"),
        ("/dev/x FOLDERa/below ext4 defaults\nDEVICE FOLDERa ext4 defaults\n", "put it first"),
        ("DEVICE none swap sw\n", "swap cannot move"),
        ("DEVICE FOLDERa ext4 defaults\nDEVICE\n", "not all of them can be read"),
        ("# nothing\n", "finds no line"),
        ("DEVICE FOLDERmissing ext4 defaults\n", "install -d -m 0"),
        ("DEVICE /usr ext4 defaults\n", "belongs to this system"),
    ] {
        let lines = lines.replace("DEVICE", &disk.a);
        let lines = lines.replace("OTHERNAME", &other_name);
        with_table(&disk, "dash", &lines).check().expect(1, &[said]);
        with_table(&disk, "dash", &lines).acquire().expect(1, &[said]);
        assert_eq!(mounted_points(&disk), [""; 0], "{lines}");
    }
}

// --- other file systems

#[test]
fn xfs_and_btrfs_are_taken_seen_and_given_back() {
    for shell in ["dash", "busybox sh"] {
        for (disk, kind) in [
            (xfs(), "xfs"),
            (Disk::made_by("mkfs.btrfs", &["-q", "-f"], 160), "btrfs"),
            (xfs(), "auto"),
        ] {
            let mount = || proven(disk.mount_a(shell)).env("MOUNT_TYPE", kind);
            mount().check().expect(0, &[]);
            mount().acquire().expect(0, &["is mounted on"]);
            mount().probe().expect(0, &[]);
            mount().env("GLHA_REASON", "resume").probe().expect(2, &["cannot prove"]);
            // Another mount namespace keeps it.
            let script = "echo; exec sleep 600";
            let holder =
                disk.start("unshare", &["-m", "--propagation", "private", "sh", "-c", script]);
            let named = format!("pid {} (sleep)", holder.id());
            mount().env("GLHA_TIMEOUT_MS", "4000").release().expect(1, &[&named]);
            mount().probe().expect(3, &["but not on"]);
            drop(holder);
            mount().release().expect(0, &["is free"]);
            mount().probe().expect(1, &[]);
        }
    }
}

#[test]
fn mmp_is_for_ext4() {
    let disk = xfs();
    let mount = || disk.mount_a("dash").env("GUARD", "mmp").env("MOUNT_TYPE", "xfs");
    mount().check().expect(1, &["GUARD mmp is for ext4", "use scsi-pr, fence or drbd"]);
    mount().acquire().expect(1, &["GUARD mmp is for ext4"]);
}

// --- the other node gives back while mount(8) waits

/// Awaits a condition.
fn until(what: &str, condition: impl Fn() -> bool) {
    let give_up_at = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < give_up_at, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_disk_that_is_given_back_during_the_wait_is_taken() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        let waits = disk.folder.path("waits");
        disk.folder.command("mount", &format!("touch {waits}; exec /bin/mount \"$@\""));
        let acquired = thread::scope(|scope| {
            let b = disk.mount_b(shell).env("GLHA_HOW", "silent");
            let acquired = scope.spawn(|| b.acquire());
            until("mount(8) waits", || Path::new(&waits).exists());
            disk.mount_a(shell).release().expect(0, &[]);
            acquired.join().expect("a run")
        });
        acquired.expect(0, &["mount watches it", "is mounted on"]);
        assert!(disk.is_mounted(&disk.b, "b"));
    });
}

/// No time for the wait, but somebody is seen at work: to try again later is right, to fail is not.
#[test]
fn a_living_holder_is_no_failure_however_little_time_there_is() {
    in_both_shells(|shell| {
        let disk = Disk::with_mmp();
        disk.mount_a(shell).acquire().expect(0, &[]);
        let b = disk.mount_b(shell).env("GLHA_HOW", "silent").env("GLHA_TIMEOUT_MS", "12000");
        b.acquire().expect(75, &["is in use by"]);
    });
}

// --- reservations

fn reserving(disk: &Disk, shell: &str, nexus: &str, key: &str) -> Hook {
    disk.folder.command(
        "sg_persist",
        &format!("sleep 0.0$(($$ % 7))\n{}", include_str!("hooks_support/sg_persist.sh")),
    );
    let hook = if nexus == "b" { disk.mount_b(shell) } else { disk.mount_a(shell) };
    let hook = hook.env("GUARD", "scsi-pr").env("NEXUS", nexus).env("PR_KEY", key);
    hook.env("PR_STATE", &disk.folder.path("pr"))
}

/// Two nodes that take it in the same moment: whatever the order, one has it afterwards.
#[test]
fn of_two_that_reserve_in_the_same_moment_one_has_it() {
    in_both_shells(|shell| {
        for round in 0..12 {
            let disk = Disk::new(&[]);
            if round % 3 == 0 {
                fs::write(disk.folder.path("pr"), "reg c c\nres c c 5\n").expect("keys");
            }
            let (a, b) = thread::scope(|scope| {
                let a = reserving(&disk, shell, "a", "0xa");
                let b = reserving(&disk, shell, "b", "0xb");
                let a = scope.spawn(|| a.acquire());
                let b = scope.spawn(|| b.acquire());
                (a.join().expect("a run"), b.join().expect("a run"))
            });
            let state = disk.folder.read("pr");
            let told = format!("{}\n{}\n{state}", a.text, b.text);
            let holder = match (a.status, b.status) {
                (0, 75) => "a a",
                (75, 0) => "b b",
                // Who had ended already was preempted like any old holder.
                (0, 0) if state.contains("res b") => "b b",
                (0, 0) => "a a",
                _ => panic!("{} {}: {told}", a.status, b.status),
            };
            for line in [format!("reg {holder}\n"), format!("res {holder} 5\n")] {
                assert!(state.contains(&line), "{told}");
            }
            assert_eq!(state.matches("reg ").count(), 1, "{told}");
        }
    });
}

/// The other node begins when this one has the reservation already, but has not mounted yet: it takes
/// this one for the old holder. Both would end with 0, and this one would start its services on a disk
/// that refuses its writes.
#[test]
fn who_is_fenced_while_it_mounts_gives_back_what_it_has_mounted() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let mount = || reserving(&disk, shell, "a", "0xa");
        let taken = disk.folder.path("taken");
        let ask = "NEXUS=b sg_persist --out";
        disk.folder.command(
            "mount",
            &format!(
                "/bin/mount \"$@\" || exit\n[ ! -e {taken} ] || exit 0\ntouch {taken}\n\
                 {ask} --register-ignore --param-sark=0xb x\n\
                 {ask} --preempt --param-rk=0xb --param-sark=0xa --prout-type=5 x\n"
            ),
        );
        mount().acquire().expect(75, &["taken by another node meanwhile", "registered keys: b"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
        assert_eq!(disk.folder.read("pr"), "reg b b\nres b b 5\n");
        // Undisturbed it is the one that preempts.
        mount().acquire().expect(0, &["preempting key b", "is mounted on"]);
        assert!(disk.is_mounted(&disk.a, "a"));
        mount().release().expect(0, &["is free"]);
    });
}

/// Nobody can tell any more: that is not taken for a yes.
#[test]
fn who_cannot_ask_for_its_reservation_again_gives_back_what_it_has_mounted() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let mount = reserving(&disk, shell, "a", "0xa");
        let asked = disk.folder.path("bin/sg_persist");
        let answers_no_more = format!("printf '#!/bin/sh\\nexit 5\\n' >{asked}");
        disk.folder.command("mount", &format!("/bin/mount \"$@\" || exit\n{answers_no_more}\n"));
        mount.acquire().expect(1, &["guard scsi-pr cannot tell whether", "is still ours"]);
        assert!(!disk.is_mounted(&disk.a, "a"));
    });
}

// --- layers

/// A volume group vg of one volume, which is the disk, on one physical volume, `pv`.
fn volume_group(disk: &Disk, pv: &str) {
    let folder = &disk.folder;
    let (node, log) = (folder.path("lv"), folder.path("lvm"));
    let number = run("mountpoint", &["-x", &disk.a]).replace(':', " ");
    folder.command(
        "vgchange",
        &format!(
            "echo \"$*\" >>{log}\ncase $* in *'-a y'*) mknod {node} b {number} ;; \
             *'-a n'*) rm -f {node} ;; esac"
        ),
    );
    folder.command(
        "vgs",
        &format!(
            "case $* in *systemid*) cat {0}/systemid 2>/dev/null ;; *autoactivation*) echo enabled ;; \
             *vg_attr*) echo wz--n- ;; esac",
            folder.path("")
        ),
    );
    folder.command("pvs", &format!("echo '  {pv}'"));
    folder.command("lvs", &format!("[ ! -b {node} ] || echo active"));
    folder.command("lvm", "echo '  system ID: here'");
    folder.command("lvmconfig", "exit 5");
}

#[test]
fn a_volume_group_is_active_only_where_it_is_mounted() {
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        volume_group(&disk, "/dev/pv");
        let lv = disk.folder.path("lv");
        let mount = || proven(disk.mount_a(shell)).env("LAYERS", "lvm:vg").env("MOUNT_DEVICE", &lv);
        mount().check().expect(1, &["vgchange --setautoactivation n vg"]);
        fs::write(disk.folder.path("systemid"), "here").expect("a system id");
        mount().check().expect(0, &[]);
        mount().acquire().expect(0, &["is mounted on"]);
        mount().probe().expect(0, &[]);
        mount().release().expect(0, &["is free"]);
        mount().probe().expect(1, &[]);
        assert_eq!(disk.folder.read("lvm"), "-a y vg\n-a n vg\n");

        // Another host's: taken over with a proof, and not without.
        fs::write(disk.folder.path("systemid"), "there").expect("a system id");
        mount().acquire().expect(0, &[]);
        assert!(
            disk.folder.read("lvm").contains("--systemid here vg"),
            "{}",
            disk.folder.read("lvm")
        );
        mount().release().expect(0, &[]);
        let unproven = mount().env("GLHA_RELEASED", "0").env("ACCEPT_RISK", "yes");
        unproven.acquire().expect(1, &["belongs to host there"]);
    }
}

#[test]
fn the_devices_below_a_closed_volume_group_are_reserved() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        let below = Disk::new(&[]);
        volume_group(&disk, &format!("{}\n  {}", below.a, below.b));
        let mount = || {
            let mount = reserving(&disk, shell, "a", "0xa").env("LAYERS", "lvm:vg");
            mount.env("MOUNT_DEVICE", &disk.folder.path("lv"))
        };
        mount().acquire().expect(0, &[]);
        let log = disk.folder.read("pr.log");
        for device in [&below.a, &below.b] {
            assert!(log.contains(&format!("reserve a  {device}\n")), "{device}: {log}");
        }
        mount().release().expect(0, &["is free"]);
    });
}

#[test]
fn an_encrypted_device_is_open_only_where_it_is_mounted() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        fs::create_dir_all("/dev/mapper").expect("the folder of device mapper");
        disk.run("mount", &["-t", "tmpfs", "none", "/dev/mapper"]);
        let key = disk.folder.path("key");
        fs::write(&key, "secret").expect("a key");
        run("chmod", &["644", &key]);
        let number = run("mountpoint", &["-x", &disk.a]).replace(':', " ");
        let log = disk.folder.path("luks");
        disk.folder.command(
            "cryptsetup",
            &format!(
                "echo \"$*\" >>{log}\ncase $1 in open) mknod /dev/mapper/data b {number} ;; \
                 close) rm /dev/mapper/data ;; esac"
            ),
        );
        let layer = format!("luks:data={}", disk.b);
        let mount = || {
            let mount = proven(disk.mount_a(shell)).env("LAYERS", &layer).env("LUKS_KEY", &key);
            mount.env("MOUNT_DEVICE", "/dev/mapper/data")
        };
        mount().check().expect(1, &["can be read by others"]);
        run("chmod", &["600", &key]);
        mount().acquire().expect(0, &["is mounted on"]);
        mount().probe().expect(0, &[]);
        mount().release().expect(0, &["is free"]);
        let told = disk.folder.read("luks");
        assert!(told.starts_with(&format!("open --type luks --key-file {key} {} data\n", disk.b)));
        assert!(told.ends_with("close data\n"), "{told}");
    });
}

// --- DRBD

/// A resource r0 whose state stands in files: `role`, `peer` (a line of its status), `dump`.
fn resource(disk: &Disk, peer: &str, dump: &str) {
    let at = disk.folder.path("");
    fs::write(disk.folder.path("peer"), peer).expect("the peer");
    fs::write(disk.folder.path("dump"), dump).expect("the configuration");
    if disk.folder.read("role").is_empty() {
        fs::write(disk.folder.path("role"), "Secondary").expect("the role");
        fs::write(disk.folder.path("state"), "UpToDate").expect("the state");
    }
    disk.folder.command(
        "drbdsetup",
        &format!(
            "echo \"r0 node-id:0 role:$(cat {at}role) suspended:$(cat {at}suspended 2>/dev/null || echo no)\"\n\
             echo \"  volume:0 minor:0 disk:$(cat {at}state) quorum:yes\"\ncat {at}peer"
        ),
    );
    disk.folder.command(
        "drbdadm",
        &format!(
            "echo \"$*\" >>{at}drbd\ncase $1 in primary) echo Primary >{at}role ;; secondary) \
             echo Secondary >{at}role ;; dump) cat {at}dump ;; esac"
        ),
    );
}

const CONNECTED: &str = "  peer node-id:1 connection:Connected role:Secondary congested:no\n    \
                         volume:0 replication:Established peer-disk:UpToDate\n";
const CUT_OFF: &str = "  peer node-id:1 connection:Connecting role:Unknown\n    \
                       volume:0 replication:Off peer-disk:DUnknown\n";

#[test]
fn promotion_is_a_proof_only_where_drbd_knows_of_the_other_node() {
    in_both_shells(|shell| {
        let primary = CONNECTED.replace("Secondary", "Primary");
        let outdated = CUT_OFF.replace("DUnknown", "Outdated");
        let alone = CUT_OFF.replace("Connecting", "StandAlone");
        let plain = "resource r0 { }";
        let fencing = "resource r0 { net { fencing resource-and-stonith; } }";
        for (peer, dump, status, said) in [
            (CONNECTED, plain, 0, "is mounted on"),
            (primary.as_str(), plain, 75, "connected and Primary"),
            (CUT_OFF, plain, 1, "glha released VI_1"),
            (alone.as_str(), plain, 1, "split brain"),
            (outdated.as_str(), plain, 0, "is mounted on"),
            (CUT_OFF, fencing, 0, "is mounted on"),
            (CUT_OFF, "resource r0 { options { quorum majority; } }", 0, "is mounted on"),
        ] {
            let disk = Disk::new(&[]);
            resource(&disk, peer, dump);
            let mount = || disk.mount_a(shell).env("GUARD", "drbd").env("DRBD_RESOURCE", "r0");
            mount().acquire().expect(status, &[said]);
            let asked = disk.folder.read("drbd");
            assert!(!asked.contains("force") && !asked.contains("discard"), "{asked}");
            assert_eq!(asked.contains("primary r0"), status == 0, "{asked}");
            if peer == CUT_OFF && status == 1 {
                mount().env("GLHA_RELEASED", "1").acquire().expect(0, &[]);
            }
            mount().release().expect(0, &["is free"]);
            assert_eq!(disk.folder.read("role").trim(), "Secondary");
        }
    });
}

#[test]
fn the_probe_says_what_is_wrong_with_a_resource() {
    in_both_shells(|shell| {
        let disk = Disk::new(&[]);
        resource(&disk, CONNECTED, "resource r0 { }");
        let mount = || disk.mount_a(shell).env("GUARD", "drbd").env("DRBD_RESOURCE", "r0");
        mount().acquire().expect(0, &[]);
        let probe = |status, said| {
            mount().env("GLHA_REASON", "resume").probe().expect(status, &[said]);
        };
        probe(0, "");
        resource(&disk, CUT_OFF, "resource r0 { }");
        probe(2, "cannot prove");
        resource(&disk, &CUT_OFF.replace("Connecting", "StandAlone"), "");
        probe(3, "split brain");
        resource(&disk, CONNECTED, "");
        for (file, value, said) in [
            ("suspended", "user", "I/O is suspended"),
            ("state", "Inconsistent", "the local disk is Inconsistent"),
            ("role", "Secondary", "is Secondary here"),
        ] {
            let before = disk.folder.read(file);
            fs::write(disk.folder.path(file), value).expect("a state");
            probe(3, said);
            fs::write(disk.folder.path(file), if before.is_empty() { "no" } else { &before })
                .expect("a state");
        }
    });
}

// --- a guard of one's own

/// The guard of the manual, beside a copy of mount.sh, with a switch that a file stands in for.
#[test]
fn the_guard_of_the_manual_works() {
    let page = fs::read_to_string("man/glha-hooks.7").expect("the manual");
    let (_, rest) = page.split_once(".Ss A guard of one's own\n").expect("its section");
    let (_, rest) = rest.split_once(".Bd -literal -offset indent\n").expect("its text");
    let guard =
        rest.split(".Ed\n").next().expect("its end").replace("\\e", "\\").replace("\\&", "");
    assert!(guard.lines().count() < 40, "{guard}");
    for shell in SHELLS {
        let disk = Disk::new(&[]);
        let own = Folder::new();
        run("cp", &["-r", "hooks/.", &own.path("")]);
        fs::write(own.path("guard-zone.sh"), &guard).expect("the guard");
        run(
            "shellcheck",
            &["-s", "sh", "-S", "warning", "-e", "SC2154,SC2034", &own.path("guard-zone.sh")],
        );
        let state = disk.folder.path("port");
        fs::write(&state, "enabled").expect("the port");
        disk.folder.command(
            "ssh",
            &format!("case $* in *disable*) echo disabled >{state} ;; *enable*) echo enabled >{state} ;; *show*) cat {state} ;; esac"),
        );
        let mount = || {
            let hook = own.path("mount.sh");
            disk.mount_a_with(Path::new(&hook), shell)
                .env("GUARD", "zone")
                .env("ZONE_SWITCH", "switch")
        };
        mount().check().expect(1, &["ZONE_SWITCH and ZONE_OTHER"]);
        let mount = || mount().env("ZONE_OTHER", "7");
        mount().check().expect(0, &[]);
        mount().acquire().expect(0, &["is mounted on"]);
        assert_eq!(disk.folder.read("port").trim(), "disabled");
        mount().env("GLHA_REASON", "lapse").probe().expect(0, &[]);
        fs::write(&state, "enabled").expect("the port");
        mount().env("GLHA_REASON", "lapse").probe().expect(3, &["enabled"]);
        mount().release().expect(0, &["is free"]);
        fs::write(disk.folder.path("bin/ssh"), "#!/bin/sh\nexit 255\n").expect("a dead switch");
        mount().acquire().expect(1, &["not mounting"]);
    }
}
