//! What outlives the daemon: the phase files, holds, the flight recorder.

pub mod holds;
pub mod phase_file;
pub mod record;
