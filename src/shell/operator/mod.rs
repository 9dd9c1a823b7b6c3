//! What a person asks of the daemon, and is told: the control socket, metrics, dumps.

pub mod control;
pub mod dump;
