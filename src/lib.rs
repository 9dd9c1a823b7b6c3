//! glha: VRRP failover for a pair of servers, with user-editable hooks and storage that gates
//! mastership.
//!
//! # The map
//!
//! - [`core`] decides. A pure function of `(event, now)` that returns actions: no I/O, no clock.
//! - [`wire`] turns bytes into values and back: adverts, gratuitous ARP.
//! - [`conf`] turns text into a typed configuration, or into diagnostics.
#![doc = "- [`shell`] does: the loop, sockets, netlink, hooks, files. It decides nothing."]
//!
//! `core` knows only `wire`; `wire` knows nobody; `conf` produces the core's `Spec`; only the
//! command line knows `shell`. `tests/walls.rs` checks this.

/// The rules: instances, phases, gates, checks. Pure.
pub mod core {
    pub mod event;
    pub mod spec;
    mod time;
    pub use time::Time;
}
pub mod conf;
/// The doing: everything that touches the machine.
pub mod shell {
    pub mod audit;
    pub mod child;
    pub mod lint;
    pub mod output;
    pub mod pidfd;
    pub mod queue;
    pub mod run;
    pub mod script;
    pub mod user;
}
