//! The `unsafe`: system interfaces that no crate wraps, each with its reason.

use std::io;

use socket2::{SockAddr, SockAddrStorage};

/// The address of a packet socket's peer: everyone on the Ethernet behind the interface with this
/// index, for frames of this EtherType.
pub fn ethernet_broadcast(index: u32, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the platform's sockaddr types; the storage is zeroed, for
    // which every field of it has a valid value.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = ethertype.to_be();
    // Kernel indices are positive C ints; the type of our copy is netlink's.
    link.sll_ifindex = index as i32;
    link.sll_halen = 6;
    link.sll_addr = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a sockaddr_ll, its family says so, and the length is its size.
    unsafe { SockAddr::new(storage, length) }
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
