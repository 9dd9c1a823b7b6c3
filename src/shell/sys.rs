//! The `unsafe`: system interfaces that no crate wraps, each with its reason.

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
