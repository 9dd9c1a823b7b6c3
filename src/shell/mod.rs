//! The shell: readiness becomes events, actions become system calls. It decides nothing.
//!
//! Its rooms, each of which knows only those before it:
//!
//! - [`host`][]: what any program needs of its host;
//! - [`state`][]: what outlives the daemon;
//! - [`kernel`][]: what the kernel holds for us, and what it shall hold;
//! - [`sockets`][]: packets;
//! - [`hooks`][]: scripts;
//! - [`tracking`][]: tracked processes and files;
//! - [`operator`][]: what a person asks and is told;
//! - [`audit`][]: the configuration on this host.
//!
//! [`run`] is the daemon: it owns one of each and turns in a loop around them.

pub mod audit;
mod carry_out;
mod daemon;
pub mod hooks;
pub mod host;
pub mod kernel;
pub mod operator;
pub mod release;
mod reload;
pub mod sockets;
mod startup_shutdown;
pub mod state;
pub mod tracking;

pub use daemon::run;
pub use host::settings::Settings;
