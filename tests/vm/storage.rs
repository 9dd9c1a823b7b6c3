//! What a disk can lie on: each layout is made, with the commands and the configuration of glha-hooks(7) where
//! it has them, and goes through an orderly handover and a power cut. `make vm VM=storage` plays them.

use super::client;
use super::guest::until;
use super::manual::{Step, commands, example};
use super::pair::Pair;
use super::scenarios::Scenario;
use super::story::{self, What};
use super::target;
use std::time::Instant;

/// In the order in which they are played.
pub const ALL: &[Scenario] = &[
    ("storage: several file systems, mmp", several),
    ("storage: LVM, mmp", lvm),
    ("storage: ext4 on LUKS, mmp", luks),
    ("storage: XFS, none", xfs),
    ("storage: DRBD, drbd", drbd),
    ("storage: XFS on LVM on multipath, scsi-pr", multipath),
    ("storage: btrfs, scsi-pr", btrfs),
    ("storage: two acquire at once, scsi-pr", at_once),
];

/// A file system that a power cut must not let two nodes mount.
const EXT4_WITH_MMP: &str = "mkfs.ext4 -q -F -O mmp -E mmp_update_interval=1";

/// Who says, after a power cut, that the node is off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The guard.
    Guard,
    /// Nothing does, so a person has to.
    Person,
}

/// A disk that is ready, and how the nodes use it.
struct Layout<'a> {
    /// For the table.
    name: &'a str,
    /// The hooks block of each node.
    hooks: [String; 2],
    /// What a power cut needs.
    proof: Proof,
    /// Looks at the file system on one node, while nobody has it.
    look: &'a str,
}

impl Layout<'_> {
    fn walk(&self, pair: &mut Pair) {
        let begun = Instant::now();
        for number in [1, 2] {
            self.configure(pair, number);
            pair.node(number).run("systemctl enable --now glha");
            if number == 1 {
                if self.proof == Proof::Person && self.name.contains("none") {
                    pair.node(1).says(begun, "glha released VI_1");
                    pair.node(1).run("glha released VI_1");
                }
                pair.served_by(1);
            }
        }
        pair.settled();
        self.hand_over(pair);
        self.cut_power(pair);
        let until_now = Instant::now();
        let there = until("all numbers", || client::all(&pair.space));
        let (given, lost) = pair.client.lost(begun..until_now, &there);
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let (master, backup) = pair.settled();
        for number in [backup, master] {
            pair.node(number).run("systemctl disable --now glha");
        }
        pair.node(1).run(self.look);
        println!("{:<44} file system whole, {given} writes acknowledged, none lost", self.name);
    }

    fn configure(&self, pair: &mut Pair, number: usize) {
        let node = pair.node(number);
        let hooks = &self.hooks[number - 1];
        node.write(
            "/etc/glha/glha.conf",
            &format!("include /etc/keepalived/keepalived.conf\n\n{hooks}"),
        );
        node.run("mkdir -p /srv");
        let said = node.run("glha -t");
        assert!(said.ends_with("would start"), "{said}");
        println!("{:<44} node{number} -t: {said}", self.name);
        // A power cut is not to take the configuration away.
        node.run("sync");
    }

    fn hand_over(&self, pair: &mut Pair) {
        let (master, backup) = pair.settled();
        let since = Instant::now();
        pair.resign(master);
        pair.served_by(backup);
        pair.row(&format!("{}: handover", self.name), since, "");
        let events = story::since(&pair.guests, since);
        let gives = [What::NoAddress, What::NoService, What::NoDisk, What::PriorityZero];
        story::in_order(&events, master, &gives);
        story::in_order(&events, backup, &[What::Disk, What::Service, What::Address]);
        pair.settled();
    }

    fn cut_power(&self, pair: &mut Pair) {
        let (master, backup) = pair.settled();
        let since = Instant::now();
        pair.node(master).cut();
        if self.proof == Proof::Person {
            pair.node(backup).says(since, "glha released VI_1");
            pair.node(backup).run("glha released VI_1");
        }
        pair.served_by(backup);
        pair.row(&format!("{}: power cut", self.name), since, "");
        pair.power();
        pair.settled();
        story::in_order(
            &story::since(&pair.guests, since),
            backup,
            &[What::Disk, What::Service, What::Address],
        );
    }
}

/// The package, and a keepalived.conf whose scripts do not mount.
fn prepare(pair: &mut Pair) {
    for number in [1, 2] {
        let node = pair.node(number);
        if node.is("[ -e /root/glha.deb ]") {
            continue;
        }
        node.run("tar -xf /dev/vdb -C /root && dpkg -i /root/glha.deb");
        let own = "sed -e '/^vrrp_script/,/^}/d' -e '/track_script/,/}/d' -e '/notify/d' /etc/keepalived/$(hostname).conf";
        node.run(&format!("{own} >/etc/keepalived/keepalived.conf"));
    }
}

/// The text with each of these in the place of what stands there.
#[track_caller]
fn with(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "no {from:?} in:\n{text}");
        text = text.replace(from, to);
    }
    text
}

/// A hooks block that the manual does not have.
fn hooks(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "hooks VI_1 {{\n    mount   timeout 90 probe 10\n{lines}    env SERVICES register@srv.service\n    peers glha\n}}\n"
    )
}

fn several(pair: &mut Pair) {
    prepare(pair);
    pair.node(1).run(Step::of(3).block("tune2fs").trim());
    pair.node(1).run(&format!("{EXT4_WITH_MMP} /dev/vdc"));
    let table = example("Several file systems", "/srv/db");
    let table = with(&table, &[("/dev/mapper/mpath1-part1", "/dev/vdc")]);
    let services = "\"postgresql@15-main.service nginx.service\"";
    let block = example("Several file systems", "MOUNT_TABLE");
    let block = with(&block, &[(services, "register@srv-db.service")]);
    for number in [1, 2] {
        pair.node(number).write("/etc/glha/VI_1.fstab", &table);
    }
    Layout {
        name: "several file systems, mmp",
        hooks: [block.clone(), block],
        proof: Proof::Guard,
        look: "e2fsck -f -n /dev/vda && e2fsck -f -n /dev/vdc",
    }
    .walk(pair);
}

/// The volume group of the manual on this device, with this file system.
fn make_group(pair: &mut Pair, device: &str, make: &str) {
    let node = pair.node(1);
    node.run(&format!(
        "wipefs -q -a {device} && pvcreate -q {device} && vgcreate -q vgdata {device}"
    ));
    node.run("lvcreate -q -W n -l 100%FREE -n srv vgdata");
    node.run(&format!("{make} /dev/vgdata/srv"));
    for command in commands(&example("XFS on LVM on multipath", "setautoactivation")) {
        node.run(command);
    }
}

fn lvm(pair: &mut Pair) {
    prepare(pair);
    make_group(pair, "/dev/vdc", EXT4_WITH_MMP);
    let block = hooks(&[
        "env LAYERS lvm:vgdata",
        "env MOUNT_DEVICE /dev/vgdata/srv",
        "env MOUNT_POINT /srv",
        "env GUARD mmp",
    ]);
    Layout {
        name: "LVM, mmp",
        hooks: [block.clone(), block],
        proof: Proof::Guard,
        look: "vgchange -a y vgdata && e2fsck -f -n /dev/vgdata/srv && vgchange -a n vgdata && vgremove -q -y vgdata",
    }
    .walk(pair);
}

fn luks(pair: &mut Pair) {
    prepare(pair);
    for number in [1, 2] {
        let node = pair.node(number);
        node.write("/etc/glha/VI_1.key", "what nobody types\n");
        node.run("chmod 600 /etc/glha/VI_1.key && modprobe dm_crypt");
    }
    let node = pair.node(1);
    node.run("wipefs -q -a /dev/mapper/mpath0-part1");
    // Nobody is there to say YES, and an emulated processor derives a key for minutes.
    let quick = "luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000";
    for command in commands(&example("ext4 on LUKS", "luksFormat")) {
        node.run(&command.replace("luksFormat", quick));
    }
    let block = example("ext4 on LUKS", "LAYERS");
    let block = with(&block, &[("nginx", "register@srv")]);
    Layout {
        name: "ext4 on LUKS, mmp",
        hooks: [block.clone(), block],
        proof: Proof::Guard,
        look: "cryptsetup open -d /etc/glha/VI_1.key /dev/vda vault && e2fsck -f -n /dev/mapper/vault && cryptsetup close vault",
    }
    .walk(pair);
}

fn xfs(pair: &mut Pair) {
    prepare(pair);
    pair.node(1).run("wipefs -q -a /dev/vdc && mkfs.xfs -q -f /dev/vdc");
    let block = hooks(&[
        "env MOUNT_DEVICE /dev/vdc",
        "env MOUNT_POINT /srv",
        "env MOUNT_TYPE xfs",
        "env GUARD none",
    ]);
    Layout {
        name: "XFS, none",
        hooks: [block.clone(), block],
        proof: Proof::Person,
        look: "xfs_repair -n /dev/vdc",
    }
    .walk(pair);
}

fn drbd(pair: &mut Pair) {
    prepare(pair);
    let resource = "resource r0 {\n    device /dev/drbd0;\n    disk /dev/vdd;\n    meta-disk internal;\n    on node1 { address 10.20.0.1:7789; }\n    on node2 { address 10.20.0.2:7789; }\n}\n";
    for number in [1, 2] {
        let node = pair.node(number);
        node.write("/etc/drbd.d/r0.res", resource);
        node.run("modprobe drbd && drbdadm create-md r0 && drbdadm up r0");
        // It is up after each boot; only the hook promotes it.
        node.run("systemctl enable drbd");
    }
    let node = pair.node(1);
    until("both are connected", || {
        node.run("drbdadm cstate r0").contains("Connected").then_some(())
    });
    // Both are empty, so they are the same.
    node.run("drbdadm -- --clear-bitmap new-current-uuid r0");
    node.run("drbdadm primary r0 && mkfs.ext4 -q /dev/drbd0 && drbdadm secondary r0");
    let block = with(&example("DRBD", "DRBD_RESOURCE"), &[("nginx", "register@srv")]);
    Layout {
        name: "DRBD, drbd",
        hooks: [block.clone(), block],
        proof: Proof::Person,
        look: "drbdadm primary r0 && e2fsck -f -n /dev/drbd0 && drbdadm secondary r0",
    }
    .walk(pair);
}

/// The disk of the third guest, on two paths; the manual's keys in multipath.conf, and short names.
fn make_multipath(pair: &mut Pair) {
    prepare(pair);
    target::connect(pair);
    let keys = example("XFS on LVM on multipath", "reservation_key");
    let keys = with(&keys, &[("}", "    user_friendly_names yes\n    find_multipaths yes\n}")]);
    for number in [1, 2] {
        let own = keys.replace("00000001", &format!("0000000{number}"));
        let node = pair.node(number);
        node.write("/etc/multipath.conf", &own);
        node.run("systemctl enable --now multipathd && multipathd reconfigure");
        until("a multipath device", || node.is("[ -b /dev/mapper/mpatha ]").then_some(()));
    }
}

fn multipath(pair: &mut Pair) {
    make_multipath(pair);
    make_group(pair, "/dev/mapper/mpatha", "mkfs.xfs -q -f");
    let block = example("XFS on LVM on multipath", "LAYERS");
    let block = with(&block, &[("nginx", "register@srv")]);
    let second = with(&block, &[("00000001", "00000002")]);
    Layout {
        name: "XFS on LVM on multipath, scsi-pr",
        hooks: [block, second],
        proof: Proof::Guard,
        look: "vgchange -a y vgdata && xfs_repair -n /dev/vgdata/srv && vgchange -a n vgdata && vgremove -q -y vgdata",
    }
    .walk(pair);
}

/// A file system on the multipath device itself, by reservation.
fn on_multipath(kind: &str) -> [String; 2] {
    [1, 2].map(|number| {
        let key = format!("env PR_KEY 0x676c68610000000{number}");
        let kind = format!("env MOUNT_TYPE {kind}");
        hooks(&[
            "env MOUNT_DEVICE /dev/mapper/mpatha",
            "env MOUNT_POINT /srv",
            &kind,
            "env GUARD scsi-pr",
            &key,
        ])
    })
}

fn btrfs(pair: &mut Pair) {
    make_multipath(pair);
    pair.node(1).run("wipefs -q -a /dev/mapper/mpatha && mkfs.btrfs -q -f /dev/mapper/mpatha");
    Layout {
        name: "btrfs, scsi-pr",
        hooks: on_multipath("btrfs"),
        proof: Proof::Guard,
        look: "btrfs check --readonly /dev/mapper/mpatha",
    }
    .walk(pair);
}

/// Two nodes without a master acquire in the same moment: when both hooks have ended, one can write. A hook
/// that was quicker by a little is an old holder for the other one, which fences it: both may have succeeded.
fn at_once(pair: &mut Pair) {
    make_multipath(pair);
    pair.node(1).run("wipefs -q -a /dev/mapper/mpatha && mkfs.xfs -q -f /dev/mapper/mpatha");
    let layout = Layout {
        name: "two acquire at once, scsi-pr",
        hooks: on_multipath("xfs"),
        proof: Proof::Guard,
        look: "",
    };
    for number in [1, 2] {
        layout.configure(pair, number);
    }
    let (mut has_it, mut fenced) = ([0, 0], 0);
    for round in 1..=ROUNDS {
        for number in [1, 2] {
            pair.node(number).send("glha hooks run mount acquire VI_1");
        }
        let ended = [1, 2].map(|number| pair.node(number).answer());
        let write =
            "mountpoint -q /srv && dd if=/dev/zero of=/srv/written bs=512 count=1 conv=fsync";
        let writes = [1, 2].map(|number| pair.node(number).is(write));
        assert!(writes[0] != writes[1], "round {round}: {writes:?} can write: {ended:?}");
        let winner = if writes[0] { 1 } else { 2 };
        assert_eq!(ended[winner - 1].0, 0, "round {round}: {ended:?}");
        has_it[winner - 1] += 1;
        fenced += usize::from(ended[2 - winner].0 == 0);
        for number in [3 - winner, winner] {
            pair.node(number).run("glha hooks run mount release VI_1");
        }
    }
    println!(
        "{:<44} {ROUNDS} rounds, one can write each time: {has_it:?}; fenced after its success: {fenced}",
        layout.name
    );
}

/// Here the kernel of a node that was fenced has the file system mounted for a while, and writes nothing.
pub const FENCED: &[&str] = &["storage: two acquire at once, scsi-pr"];

/// How often both acquire at once.
const ROUNDS: usize = 10;
