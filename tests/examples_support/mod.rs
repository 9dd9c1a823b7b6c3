//! What the tests of the examples need.

pub mod blocks;
pub mod stage;
