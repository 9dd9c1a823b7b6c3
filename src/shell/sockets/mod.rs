//! Packets: adverts, announcements, and others that use our addresses.

pub mod announce;
pub mod duplicate_address;
pub mod net;
pub mod vmac_receive;
