//! What is seen of tracked processes and files.

pub mod file_watch;
pub mod process_watch;
pub(in crate::shell) mod senses;
