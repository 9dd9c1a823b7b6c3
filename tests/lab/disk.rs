//! One ext4 image behind a loop device for each host: as a disk that several hosts reach, with a
//! page cache of its own in each.

use super::Guard;
use super::space::{command, said};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The disk's name on every host: the original's.
pub const DEVICE: &str = "/dev/mapper/mpath0-part1";
/// The image in the lab's folder.
const IMAGE: &str = "disk.img";
/// Size of the image, which is sparse.
const IMAGE_BYTES: u64 = 64 << 20;
/// What is left of the disk of a host without power: less than anything useful.
const CUT_BYTES: u64 = 4096;
/// `struct loop_info64` of linux/loop.h.
const LOOP_INFO_BYTES: usize = 232;
/// Where `lo_sizelimit` stands in it.
const SIZE_LIMIT_OFFSET: usize = 32;
/// linux/loop.h.
const LOOP_SET_STATUS64: libc::Ioctl = 0x4C04;
/// linux/loop.h.
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`.
const EXT4_SHUTDOWN: libc::Ioctl = 0x8004_587D;
/// Without even flushing the journal.
const SHUTDOWN_NO_LOG_FLUSH: u32 = 2;

/// A loop device. Nobody keeps it open: the kernel drops a device's page cache with its last
/// user, and reads ext4's MMP block from that cache if it can.
struct Loop {
    path: PathBuf,
}

impl Loop {
    fn attach(image: &Path) -> Self {
        let output =
            command("losetup").args(["--find", "--show"]).arg(image).output().expect("losetup");
        assert!(output.status.success(), "losetup: {}", said(&output));
        Self { path: PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()) }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // If a dying host still has it mounted, it goes with that mount.
        let _ = command("losetup").arg("-d").arg(&self.path).output();
    }
}

/// Detaches the loop devices that a dead run left behind for the image in its folder.
pub fn detach_leftovers(folder: &Path) {
    let image = folder.join(IMAGE);
    let Ok(output) = command("losetup").arg("-j").arg(image).output() else { return };
    let listed = String::from_utf8_lossy(&output.stdout);
    for device in listed.lines().filter_map(|l| l.split(':').next()) {
        let _ = command("losetup").args(["-d", device]).output();
    }
}

/// The disk, with one loop device a host.
pub struct Disk {
    loops: Vec<Loop>,
}

impl Disk {
    /// A fresh file system in `folder`.
    pub fn new(folder: &Path, guard: Guard, hosts: usize) -> Self {
        let image = folder.join(IMAGE);
        File::create(&image).and_then(|f| f.set_len(IMAGE_BYTES)).expect("an image");
        let mut mkfs = command("mkfs.ext4");
        mkfs.args(["-q", "-F", "-e", "remount-ro"]);
        match guard {
            Guard::Mmp => mkfs.args([
                "-O",
                "mmp",
                "-E",
                "mmp_update_interval=1,lazy_itable_init=0,lazy_journal_init=0",
            ]),
            Guard::None => mkfs.args(["-E", "lazy_itable_init=0,lazy_journal_init=0"]),
        };
        let output = mkfs.arg(&image).output().expect("mkfs.ext4");
        assert!(output.status.success(), "mkfs.ext4: {}", said(&output));
        Self { loops: (0..hosts).map(|_| Loop::attach(&image)).collect() }
    }

    /// Major and minor number of host `n`'s device.
    pub fn number(&self, n: usize) -> (u64, u64) {
        let device = fs::metadata(&self.loops[n].path).expect("the loop device").rdev();
        (nix::sys::stat::major(device), nix::sys::stat::minor(device))
    }

    /// The kernel's name of host `n`'s device, as in /sys/fs/ext4: `loop3`.
    pub fn name(&self, n: usize) -> String {
        let name = self.loops[n].path.file_name().expect("a device has a name");
        name.to_string_lossy().into_owned()
    }

    /// Runs a shell script with the file system mounted on its working directory, before any
    /// host has it: to put files there.
    #[track_caller]
    pub fn prepare(&self, script: &str) {
        let device = self.loops[0].path.display();
        let script = format!(
            "mount -t tmpfs tmpfs /mnt; mkdir /mnt/d; mount {device} /mnt/d; cd /mnt/d
            {script}
            cd /; umount /mnt/d"
        );
        let output = command("unshare").args(["--mount", "sh", "-ec", &script]).output();
        let output = output.expect("unshare");
        assert!(output.status.success(), "{script}\n{}", said(&output));
    }

    /// No block of the disk can be reached from host `n` any more.
    pub fn cut(&self, n: usize) {
        let device = File::open(&self.loops[n].path).expect("the loop device opens");
        let fd = device.as_raw_fd();
        let mut info = [0u8; LOOP_INFO_BYTES];
        // SAFETY: `fd` is an open loop device, and `info` has the size of the structure that
        // this request fills.
        let got = unsafe { libc::ioctl(fd, LOOP_GET_STATUS64, info.as_mut_ptr()) };
        assert_eq!(got, 0, "LOOP_GET_STATUS64: {}", std::io::Error::last_os_error());
        info[SIZE_LIMIT_OFFSET..SIZE_LIMIT_OFFSET + 8].copy_from_slice(&CUT_BYTES.to_ne_bytes());
        // SAFETY: as above; the request only reads `info`.
        let set = unsafe { libc::ioctl(fd, LOOP_SET_STATUS64, info.as_ptr()) };
        assert_eq!(set, 0, "LOOP_SET_STATUS64: {}", std::io::Error::last_os_error());
    }
}

/// Makes the ext4 mounted at `mount_point` fail all I/O from now on, its own included. Without
/// this the kernel would unmount it in order when its last namespace dies.
pub fn shut_down(mount_point: &Path) {
    let Ok(file) = File::open(mount_point) else { return };
    let how = SHUTDOWN_NO_LOG_FLUSH;
    // SAFETY: `file` is open, and the request only reads the one u32 it is given.
    unsafe { libc::ioctl(file.as_raw_fd(), EXT4_SHUTDOWN, &raw const how) };
}
