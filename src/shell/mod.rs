//! The shell: readiness becomes events, actions become system calls. It decides nothing.

pub mod address;
pub mod announce;
pub mod audit;
pub mod background;
mod carry_out;
pub mod child;
pub mod clock;
mod daemon;
pub mod dump;
pub mod event;
pub mod hooks;
pub mod link;
pub mod lint;
pub mod load;
pub mod localtime;
pub mod log;
pub mod net;
pub mod notebook;
pub mod output;
pub mod pidfile;
mod process;
pub mod queue;
pub mod ready;
pub mod reboot;
pub mod release;
mod reload;
pub mod rtnl;
pub mod run;
pub mod script;
mod settings;
pub mod signals;
pub mod sys;
pub mod user;

pub use daemon::run;
pub use settings::Settings;
