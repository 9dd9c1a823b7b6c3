//! The `unsafe`: system interfaces that no crate wraps, each with its reason.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
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
