//! A third guest that has a disk for both: an iSCSI target of Linux (LIO), which knows persistent
//! reservations, reached over two portals, so that both see it on two paths.

use super::guest::{Guest, until};
use super::pair::Pair;

/// Its name.
const TARGET: &str = "iqn.2026-01.org.example:disk";
/// What the names of the two begin with.
const INITIATOR: &str = "iqn.2026-01.org.example:node";
/// Its address, and the ports of its portals.
const ADDRESS: &str = "10.20.0.3";
const PORTS: [u16; 2] = [3260, 3261];

/// A target with the guest's own disk.
pub fn serve(guest: &mut Guest) {
    guest.run("modprobe -a target_core_iblock iscsi_target_mod");
    guest.run("mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config");
    // Where it writes down reservations.
    guest.run("mkdir -p /var/target/pr");
    let disk = "/sys/kernel/config/target/core/iblock_0/disk";
    guest.run(&format!("mkdir -p {disk} && echo udev_path=/dev/vdd >{disk}/control"));
    guest.run(&format!("echo glha0001 >{disk}/wwn/vpd_unit_serial && echo 1 >{disk}/enable"));
    let group = format!("/sys/kernel/config/target/iscsi/{TARGET}/tpgt_1");
    guest.run(&format!("mkdir -p {group}/lun/lun_0 && ln -s {disk} {group}/lun/lun_0/disk"));
    guest.run(&format!("echo 0 >{group}/attrib/authentication"));
    for number in [1, 2] {
        let list = format!("{group}/acls/{INITIATOR}{number}");
        guest.run(&format!("mkdir -p {list}/lun_0 && ln -s {group}/lun/lun_0 {list}/lun_0/disk"));
    }
    for port in PORTS {
        guest.run(&format!("mkdir {group}/np/{ADDRESS}:{port}"));
    }
    guest.run(&format!("echo 1 >{group}/enable"));
}

/// Both nodes have it, on two paths each, now and after each boot.
pub fn connect(pair: &mut Pair) {
    if pair.target.is_some() {
        return;
    }
    let mut target = pair.third();
    serve(&mut target);
    pair.target = Some(target);
    for number in [1, 2] {
        let node = pair.node(number);
        node.run(&format!(
            "echo InitiatorName={INITIATOR}{number} >/etc/iscsi/initiatorname.iscsi"
        ));
        node.run("systemctl restart iscsid");
        for port in PORTS {
            let found = "iscsiadm -m discovery -t sendtargets -p";
            node.run(&format!("{found} {ADDRESS}:{port}"));
        }
        node.run("iscsiadm -m node -o update -n node.startup -v automatic");
        node.run("systemctl enable iscsid open-iscsi && systemctl restart open-iscsi");
        until("two paths", || node.is("[ -b /dev/sda ] && [ -b /dev/sdb ]").then_some(()));
    }
}
