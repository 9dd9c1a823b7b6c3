//! What the kernel holds for us: interfaces, addresses, routes, rules, VMACs, packet filters; and what it
//! shall hold.

pub mod address;
pub mod assigned;
pub mod desired;
pub(in crate::shell) mod firewall;
pub(in crate::shell) mod interfaces;
pub mod link;
pub mod linkbeat;
pub(in crate::shell) mod nftables;
pub mod route;
pub mod rtnl;
pub mod vmac;
