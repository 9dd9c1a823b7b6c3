//! The lab does what the other tests rely on.
//!
//! Runs alone: a lab that begins removes what dead runs have left, also what is made here to be that.

mod lab;

use lab::{ARTICLE_VIP, Guard, Lab, Subject, conf, seconds, wait_until};

#[test]
fn a_host_has_its_own_network_folders_and_processes() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    assert_eq!(host.sh("ls /etc/keepalived /tmp /var/log/keepalived | wc -l").trim(), "5");
    assert_eq!(host.sh("ps -e --no-headers -o comm | head -1").trim(), "sh");
    assert!(host.has_address("172.16.51.11"));
    assert!(!host.has_address("172.16.51.1"));
    host.write_script("/etc/glha/hooks/x", "#!/bin/sh\necho hello\n");
    assert_eq!(host.sh("/etc/glha/hooks/x"), "hello\n");
    assert!(!std::path::Path::new("/etc/glha/hooks/x").exists());
}

#[test]
fn a_program_is_found_signalled_and_its_end_seen() {
    let lab = Lab::single();
    let mut sleep = lab.hosts[0].start("/bin/sleep", &["1000"]);
    assert_eq!(lab.hosts[0].processes("sleep"), [sleep.pid()]);
    sleep.signal(nix::sys::signal::Signal::SIGTERM);
    sleep.wait(seconds(5.0));
    let mut sleep = lab.hosts[0].start("/bin/sleep", &["1000"]);
    lab.power_off(0);
    sleep.wait(seconds(5.0));
}

#[test]
fn frames_are_captured_with_their_sender_and_kernel_time() {
    let lab = Lab::pair();
    lab.hosts[1].sh("ping -c 1 -w 5 172.16.51.11 || arping -c 1 172.16.51.11 || :");
    lab.client.fetch("172.16.51.12", "/", seconds(1.0));
    lab.wait_for("an ARP request of the client", seconds(5.0), || {
        lab.frames().iter().any(|f| f.from == "client" && matches!(f.packet(), lab::Packet::Arp(_)))
    });
    let frames = lab.frames();
    assert!(frames.windows(2).all(|w| w[0].at <= w[1].at));
}

#[test]
fn the_disk_is_shared_and_a_power_off_loses_what_was_not_written() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let mount = "mount /dev/mapper/mpath0-part1 /mnt/shared";
    lab.disk.as_ref().expect("planned").prepare("echo prepared >file");
    a.sh(&format!("{mount}; cat /mnt/shared/file"));
    assert_eq!(a.mounted("/mnt/shared").as_deref(), Some("rw"));
    assert!(!b.run(&format!("timeout 20 {mount}")).status.success(), "mounted twice");
    a.sh("echo kept >/mnt/shared/kept; sync; echo lost >/mnt/shared/lost");
    lab.power_off(0);
    assert!(!a.on());
    // 0xff4d4d50 would mean: unmounted in order.
    let state = b.sh("e2mmpstatus -i /dev/mapper/mpath0-part1");
    assert!(!state.contains("0xff4d4d50"), "unmounted in order: {state}");
    b.sh("tune2fs -f -E clear_mmp /dev/mapper/mpath0-part1");
    b.sh(mount);
    assert_eq!(b.read("/mnt/shared/kept"), "kept\n");
    assert!(!b.exists("/mnt/shared/lost"));
}

#[test]
fn keepalived_becomes_master_and_leaves() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let mut daemon = Subject::Keepalived.start(host, &conf(100, ""));
    lab.wait_for("the address", seconds(10.0), || host.has_address(ARTICLE_VIP));
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.wait(seconds(10.0));
    assert!(wait_until(seconds(5.0), || !host.has_address(ARTICLE_VIP)));
    let adverts = lab.adverts("a");
    assert_eq!(adverts.last().map(|(_, a)| a.priority), Some(0));
}

#[test]
fn what_a_dead_run_left_is_removed() {
    let left = std::env::temp_dir().join("glha-lab-99999999-0"); // above every pid_max here
    std::fs::create_dir_all(&left).expect("a folder");
    let image = left.join("disk.img");
    std::fs::write(&image, vec![0; 1 << 20]).expect("an image");
    let losetup = |arguments: &[&str]| {
        let output = std::process::Command::new("losetup").args(arguments).arg(&image).output();
        String::from_utf8_lossy(&output.expect("losetup").stdout).into_owned()
    };
    let device = losetup(&["--find", "--show"]);
    assert!(losetup(&["-j"]).starts_with(device.trim()));
    drop(Lab::single());
    assert!(!left.exists());
    let output = std::process::Command::new("losetup").arg(device.trim()).output();
    let shown = String::from_utf8_lossy(&output.expect("losetup").stdout).into_owned();
    assert!(!shown.contains("glha-lab-99999999-0"), "{shown}");
}

#[test]
fn after_a_power_off_mmp_makes_the_next_mount_wait() {
    let lab = Lab::pair_with(Some(Guard::Mmp));
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let mount = "mount /dev/mapper/mpath0-part1 /mnt/shared";
    // Not for the first time: nothing of an earlier mount may be remembered.
    b.sh(&format!("{mount}; umount /mnt/shared"));
    a.sh(mount);
    lab.power_off(0);
    // Without the wait a mount takes milliseconds, with it 22 s.
    assert!(!b.run(&format!("timeout 5 {mount}")).status.success(), "it did not wait");
}

#[test]
fn orphans_are_reaped() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.sh("(sleep 0.2 &)");
    lab.wait_for("the orphan to be reaped", seconds(5.0), || {
        !host.sh("ps -e -o comm --no-headers").contains("sleep")
    });
}
