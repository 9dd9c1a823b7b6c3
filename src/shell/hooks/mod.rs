//! Scripts: which are run, with which arguments and facts, and how they end.

pub mod child;
pub mod commands;
pub mod compose;
pub mod event;
pub mod fifo;
pub mod output;
pub mod run;
pub mod wait;
