//! The shell.

pub mod address;
pub mod announce;
pub mod link;
pub mod net;
pub mod rtnl;
pub mod sys;
