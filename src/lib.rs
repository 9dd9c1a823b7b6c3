//! glha: VRRP failover for a pair of servers, with user-editable hooks and storage that gates
//! mastership.
//!
//! # The map
//!
//! - [`core`] decides. A pure function of `(event, now)` that returns actions: no I/O, no clock.
//! - [`wire`] turns bytes into values and back: adverts, gratuitous ARP, neighbour advertisements,
//!   BFD packets.
//! - [`work`] orders what the core wants, and keeps back what has to wait.
//! - [`conf`] turns text into a typed configuration, or into diagnostics.
//! - [`adopt`] makes a configuration and scripts of glha from keepalived's: texts in, a plan out.
//! - [`rehearse`] plays configurations through the core in simulated time ([`sim`]).
//! - [`shell`] does: the loop, sockets, netlink, hooks, files. It decides nothing.
//!
//! `core` knows only `wire`; `wire` knows nobody; `work` knows only `core`; `conf` produces the core's `Spec`; only the
//! command line knows `shell`. `tests/walls.rs` checks this.

pub mod adopt;
pub mod cli;
pub mod conf;
pub mod core;
pub mod rehearse;
pub mod shell;
pub mod sim;
pub mod work;

/// Bytes to values and back. Knows nobody.
pub mod wire {
    #![forbid(unsafe_code)]
    pub mod ah;
    pub mod arp;
    pub mod bfd;
    pub mod ndp;
    pub mod trailer;
    pub mod vrrp;
}
