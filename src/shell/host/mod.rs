//! What the host is to any program: system calls, clocks, accounts, files, the log, signals, systemd.

pub mod alarm;
pub mod background;
pub(in crate::shell) mod backoff;
pub mod clock;
pub mod errand;
pub mod localtime;
pub mod log;
pub mod orphans;
pub mod page;
pub mod paths;
pub mod pidfile;
pub(in crate::shell) mod process;
pub mod reboot;
pub mod schedule;
pub mod scribe;
pub mod script;
pub(in crate::shell) mod settings;
pub mod signals;
pub mod sys;
pub mod sysctl;
pub mod systemd;
pub mod user;
