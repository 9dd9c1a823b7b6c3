//! Packets: adverts, BFD, announcements, and others that use our addresses.

pub mod announce;
pub mod bfd;
pub mod duplicate_address;
pub mod net;
pub mod unread;
pub mod vmac_receive;
