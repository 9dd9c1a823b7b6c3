//! The `unsafe`: system interfaces that no crate wraps, each with its reason.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{ForkResult, Pid};
use socket2::{SockAddr, SockAddrStorage};

/// The address of a packet socket's peer: whoever has this hardware address on the Ethernet behind
/// the interface with this index, for frames of this EtherType.
pub fn ethernet(index: u32, ethertype: u16, mac: [u8; 6]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the platform's sockaddr types; the storage is zeroed, for
    // which every field of it has a valid value.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = ethertype.to_be();
    // Kernel indices are positive C ints; the type of our copy is netlink's.
    link.sll_ifindex = index as i32;
    link.sll_halen = 6;
    let [a, b, c, d, e, f] = mac;
    link.sll_addr = [a, b, c, d, e, f, 0, 0];
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a sockaddr_ll, its family says so, and the length is its size.
    unsafe { SockAddr::new(storage, length) }
}

/// Has the kernel write the checksum of what a raw IPv6 socket sends, at this offset of the message
/// in bytes, and drop what it receives with a wrong one (RFC 3542, section 3.1).
///
/// # Errors
/// The kernel's.
pub fn set_ipv6_checksum(socket: BorrowedFd<'_>, offset: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is one int, which outlives the call and is only read.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_CHECKSUM,
            (&raw const offset).cast(),
            length,
        )
    })
}

/// Sets the nice value of this process; children start with 0 if it is below that.
///
/// # Errors
/// The kernel's.
pub fn set_nice(nice: i8) -> io::Result<()> {
    set_scheduler(libc::SCHED_OTHER, 0)?;
    // SAFETY: takes three numbers and touches no memory of ours.
    checked(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, i32::from(nice)) })
}

/// Schedules this process round robin with a real-time priority, 1 to 99; children do not inherit
/// it.
///
/// # Errors
/// The kernel's.
pub fn set_realtime(priority: u8) -> io::Result<()> {
    set_scheduler(libc::SCHED_RR, i32::from(priority))
}

fn set_scheduler(policy: i32, sched_priority: i32) -> io::Result<()> {
    let param = libc::sched_param { sched_priority };
    // SAFETY: the parameter outlives the call, which only reads it.
    checked(unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &param) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor that becomes readable when the process `pid` ends (pidfd_open(2)).
///
/// `pid` has to be a child that has not been reaped yet: only then is it surely the one meant. Of
/// any other process make sure afterwards that it is still the one that was looked at.
///
/// # Errors
///
/// What the system call says: no descriptors left, or a kernel before 5.3.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid.as_raw()), 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just handed out this descriptor, close-on-exec, and nobody else knows
    // it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes every descriptor of this process from 3 on close-on-exec (close_range(2)).
///
/// # Errors
///
/// What the system call says: a kernel before 5.11.
pub fn close_others_on_exec() -> io::Result<()> {
    let flags = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
    let last = libc::c_long::from(u32::MAX);
    // SAFETY: the call takes three integers, closes nothing with this flag, and what it changes
    // shows in children only.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The limits of open descriptors that scripts have, if they are not those of the daemon.
static DESCRIPTORS_BEFORE: OnceLock<(u64, u64)> = OnceLock::new();

/// Raises the limit of open descriptors to at least so many; children that [`fork`] starts have the one
/// from before.
///
/// # Errors
/// The kernel's: it is above the hard limit, which only root may raise.
pub fn raise_descriptors(needed: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= needed {
        return Ok(());
    }
    DESCRIPTORS_BEFORE.get_or_init(|| (soft, hard));
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed)).map_err(|error| {
        // What is allowed is better than nothing.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        error.into()
    })
}

/// Signals as a program expects to find them, whatever it was started from: SIGCHLD is not ignored, or
/// the status of every child would be lost, and none is blocked.
///
/// # Errors
/// The kernel's, which has no reason for any.
pub fn restore_signals() -> io::Result<()> {
    // SAFETY: sets a default, before there are other threads or handlers.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Ignores signals that end a process by default and that nobody has a reason to send to a daemon: of
/// timers and descriptors that it does not use, and of a limit of file sizes, which is an error then.
pub fn ignore_strays() {
    for signal in [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGIO, libc::SIGXFSZ] {
        // SAFETY: runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The status of a process that [`fork`] started and that could not begin its work. Where a panic aborts,
/// one that panics ends by SIGABRT.
const STATUS_BROKEN: i32 = 127;

/// Starts a process that does `work` and ends with the status which that returns. It has these
/// descriptors, numbered from 0 on, and no others; `work` is handed the last of them. Its signals are
/// as programs expect them: none blocked, caught or ignored.
///
/// It is a copy that shares no memory, so whatever it waits for, this process goes on: unlike after
/// vfork(2) or posix_spawn(3), which are over only when the child has executed its program.
///
/// `work` may allocate: fork(3) leaves the allocator usable in the child even where there are other
/// threads (glibc; musl from 1.2.2). It must not log, take another lock that a thread of this process
/// may hold, or use descriptors of this process by their old numbers.
///
/// # Errors
/// The kernel's: no memory, too many processes.
pub fn fork(descriptors: &[BorrowedFd<'_>], work: impl FnOnce(File) -> i32) -> io::Result<Pid> {
    // No signal may meet our handlers in the child.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: the child goes on with a copy of this thread's stack and a usable allocator (see
    // above), runs nothing of ours but `work`, and never returns from here.
    let forked = unsafe { nix::unistd::fork() };
    if matches!(forked, Ok(ForkResult::Child)) {
        let all = || take_over(descriptors).map_or(STATUS_BROKEN, work);
        let status = panic::catch_unwind(AssertUnwindSafe(all)).unwrap_or(STATUS_BROKEN);
        // SAFETY: ends the process at once, without destructors and exit handlers of its parent.
        unsafe { libc::_exit(status) }
    }
    before.thread_set_mask()?;
    match forked? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => Err(io::Error::other("not the parent")),
    }
}

/// In a child: signals as by default, and these descriptors under their new numbers; the last one is
/// closed by an exec.
fn take_over(descriptors: &[BorrowedFd<'_>]) -> io::Result<File> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: sets a default; no handler runs while everything is blocked. What cannot be set
        // (SIGKILL, libc's own two) is an error that changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    SigSet::empty().thread_set_mask()?;
    if let Some(&(soft, hard)) = DESCRIPTORS_BEFORE.get() {
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    }
    let count = RawFd::try_from(descriptors.len()).map_err(io::Error::other)?;
    for (number, from) in (0..count).zip(descriptors) {
        let (from, is_last) = (from.as_raw_fd(), number == count - 1);
        if from != number {
            let flags = if is_last { libc::O_CLOEXEC } else { 0 };
            // SAFETY: takes numbers. What had the new one is not used any more: the descriptors
            // before it are in place, and those after it have higher numbers, since whoever opens
            // one gets none below 3 and the first three are never closed.
            checked(unsafe { libc::dup3(from, number, flags) })?;
        }
    }
    close_from(count)?;
    // SAFETY: it has just been put there, and nothing else in this process uses it.
    Ok(unsafe { File::from_raw_fd(count - 1) })
}

/// Closes every descriptor from this one on.
fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes three numbers; only `take_over` calls this, in a process of its own that uses
    // none of these descriptors.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if closed == 0 {
        return Ok(());
    }
    // A kernel before 5.9.
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in open.into_iter().filter(|number| *number >= first) {
        // SAFETY: as above.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// Gives memory that nothing uses back to the kernel; libc would keep it.
pub fn trim_heap() {
    // SAFETY: takes a number, and releases only what is not allocated.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// The same, or in UTC.
pub fn broken_down(seconds: i64, is_utc: bool) -> libc::tm {
    if !is_utc {
        return local_time(seconds);
    }
    let mut tm = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: as in `local_time`, without a table of time zones.
    unsafe {
        libc::gmtime_r(&raw const seconds, tm.as_mut_ptr());
        tm.assume_init()
    }
}

/// Seconds from the start of 1970, UTC, to a moment given as years since 1900, months since January,
/// day, hour, minute and second, in local time or UTC. What is beyond its range is carried over.
pub fn seconds_of(moment: [i32; 6], is_utc: bool) -> i64 {
    // SAFETY: an all-zero `tm` is a valid value; its only pointer is never read.
    let mut tm: libc::tm = unsafe { MaybeUninit::zeroed().assume_init() };
    [tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec] = moment;
    tm.tm_isdst = -1;
    // SAFETY: the pointer is valid for the call, which writes to nothing else but libc's own table
    // of time zones, under its lock.
    unsafe { if is_utc { libc::timegm(&raw mut tm) } else { libc::mktime(&raw mut tm) } }
}

/// The local time of a moment so many seconds after the start of 1970, UTC.
pub fn local_time(seconds: i64) -> libc::tm {
    let mut tm = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; localtime_r writes to nothing else but
    // libc's own table of time zones, under its lock. An all-zero `tm` is a valid value (its
    // only pointer, tm_zone, may be null and is never read), so it may be assumed initialised
    // also where the call fails, which it does only for years beyond an int.
    unsafe {
        libc::localtime_r(&raw const seconds, tm.as_mut_ptr());
        tm.assume_init()
    }
}

/// How many columns a terminal has; none if it is none, or does not tell.
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the pointer is valid for the call, which writes a winsize there; an all-zero one is a
    // valid value, so it may be assumed initialised whatever the call says.
    let (result, size) =
        unsafe { (libc::ioctl(fd, libc::TIOCGWINSZ, size.as_mut_ptr()), size.assume_init()) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Is there a carrier, as the driver of an interface tells `ethtool`? For any socket.
///
/// # Errors
/// The kernel's: EOPNOTSUPP if the driver cannot tell.
pub fn ethtool_link(socket: impl AsFd, interface: &str) -> io::Result<bool> {
    const ETHTOOL_GLINK: u32 = 0x0a;
    // A struct ethtool_value: command and answer.
    let mut value = [ETHTOOL_GLINK, 0];
    let mut request = interface_request(interface)?;
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the request is a whole ifreq with a name that ends, and its pointer leads to the value
    // that this command reads and writes; both outlive the call.
    let result =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(value[1] != 0) } else { Err(io::Error::last_os_error()) }
}

/// Is there a carrier, as the interface's transceiver says (MII)? For any socket.
///
/// # Errors
/// The kernel's: EOPNOTSUPP if the driver knows of none.
pub fn mii_link(socket: impl AsFd, interface: &str) -> io::Result<bool> {
    /// The status register, and its bit for a link. It holds a loss until it is read.
    const STATUS: u16 = 1;
    const LINK: u16 = 4;
    let mut request = interface_request(interface)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the request is a whole ifreq with a name that ends; this command and the next write a
    // struct mii_ioctl_data, which is shorter, into its union.
    if unsafe { libc::ioctl(fd, libc::SIOCGMIIPHY, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut status = 0;
    for _ in 0..2 {
        // SAFETY: a struct mii_ioctl_data, four numbers of two bytes, is shorter than the union and
        // no stricter in its alignment; all of its bytes are initialised.
        let data = unsafe { &mut *(&raw mut request.ifr_ifru).cast::<[u16; 4]>() };
        data[1] = STATUS;
        // SAFETY: as above.
        if unsafe { libc::ioctl(fd, libc::SIOCGMIIREG, &raw mut request) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        status = unsafe { (*(&raw const request.ifr_ifru).cast::<[u16; 4]>())[3] };
    }
    Ok(status & LINK != 0)
}

/// A request about an interface.
fn interface_request(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: an all-zero ifreq is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    if interface.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}
