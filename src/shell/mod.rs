//! The shell: readiness becomes events, actions become system calls. It decides nothing.

pub mod address;
pub mod announce;
pub mod audit;
pub mod carry_out;
pub mod child;
pub mod clock;
pub mod daemon;
pub mod event;
pub mod files;
pub mod hooks;
pub mod link;
pub mod lint;
pub mod net;
pub mod output;
pub mod pidfd;
pub mod queue;
pub mod ready;
pub mod rtnl;
pub mod run;
pub mod script;
pub mod signals;
pub mod sys;
pub mod user;
