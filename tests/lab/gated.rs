//! A host whose glha gates its storage with a mount hook, and what that hook has noted.

use super::{ARTICLE_VIP, Daemon, Host, Lab, Subject, conf, seconds};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Adverts are due each second. Half a second late would already be a fault; the rest is for
/// the machine.
const GAP_MAX: f64 = 1.8;
/// A master-down time at 1 s, a claim's listening time, and much room for a busy machine.
pub const TAKEOVER: f64 = 20.0;
/// The shipped hook on a host, for [`mount_hook`].
pub const SHIPPED: &str = "/etc/glha/hooks/shipped.sh \"$@\"";

/// A `glha.conf` beside the host's keepalived.conf.
pub fn glha_conf(block: &str) -> String {
    format!("include /etc/keepalived/keepalived.conf\nhooks VI_1 {{\n{block}\n}}\n")
}

/// A mount hook that notes in `/run/mount.log` when each action began and ended, however it
/// ended, with what status and why, and what it saw of the virtual address.
pub fn mount_hook(acquire: &str, release: &str) -> String {
    mount_hook_with_probe(acquire, release, ":")
}

/// The same, with a `probe`.
pub fn mount_hook_with_probe(acquire: &str, release: &str, probe: &str) -> String {
    format!(
        "#!/bin/sh
say() {{ echo \"$(date +%s.%N) $*\" >>/run/mount.log; }}
address() {{ ip -o addr show dev eth0 | grep -q '{ARTICLE_VIP}/' && echo address || echo bare; }}
action=$1
ended() {{ say \"$action\" end \"$(address)\" \"$1\" \"$GLHA_REASON\"; }}
trap : PIPE
trap 'trap - EXIT; ended 143; exit 143' TERM
trap 'ended $?' EXIT
say \"$1\" begin \"$(address)\"
case $1 in
acquire) {acquire} ;;
release) {release} ;;
probe) {probe} ;;
esac
"
    )
}

/// One line of `/run/mount.log`.
#[derive(Debug)]
pub struct Noted {
    /// When.
    pub at: SystemTime,
    /// `acquire begin bare`, `release end address 0 REASON`, ...
    pub what: String,
}

/// Everything the mount hook has noted.
pub fn noted(host: &Host) -> Vec<Noted> {
    let line = |line: &str| {
        let (at, what) = line.split_once(' ')?;
        let at = UNIX_EPOCH + Duration::from_secs_f64(at.parse().ok()?);
        Some(Noted { at, what: what.to_owned() })
    };
    host.read("/run/mount.log").lines().filter_map(line).collect()
}

/// The first note that begins so.
pub fn note(host: &Host, beginning: &str) -> Option<Noted> {
    noted(host).into_iter().find(|n| n.what.starts_with(beginning))
}

/// How many notes begin so.
pub fn count(host: &Host, beginning: &str) -> usize {
    noted(host).iter().filter(|n| n.what.starts_with(beginning)).count()
}

/// Fails unless on every host each run of the mount hook ended before the next one began.
#[track_caller]
pub fn no_overlap(lab: &Lab) {
    lab.hosts.iter().for_each(|host| one_at_a_time(lab, host));
}

#[track_caller]
fn one_at_a_time(lab: &Lab, host: &Host) {
    let mut running: Option<String> = None;
    for note in noted(host) {
        let mut words = note.what.split(' ');
        let (action, what) = (words.next().unwrap_or_default(), words.next());
        let is_right = match what {
            Some("begin") => running.replace(action.to_owned()).is_none(),
            Some(_) | None => running.take().as_deref() == Some(action),
        };
        lab.check(&format!("{}: one hook at a time: {:?}", host.name, noted(host)), is_right);
    }
}

/// Writes the files of a host for a mount hook. The block is `mount ...` and more.
pub fn install(host: &Host, priority: u8, block: &str, hook: &str) {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/hooks/mount.sh"));
    host.write_script("/etc/glha/hooks/shipped.sh", &shipped.expect("the shipped mount.sh"));
    host.write_script("/etc/glha/hooks/mount.sh", hook);
    host.write_hook_parts();
    host.write("/etc/keepalived/keepalived.conf", &conf(priority, ""));
    host.write("/etc/glha/glha.conf", &glha_conf(block));
}

/// Starts glha with a mount hook.
pub fn start(host: &Host, priority: u8, block: &str, hook: &str) -> Daemon {
    install(host, priority, block, hook);
    Subject::Glha.start_with(host, "/etc/glha/glha.conf")
}

/// Waits until the host has the address.
#[track_caller]
pub fn master(lab: &Lab, host: &Host) {
    lab.wait_for("the address", seconds(TAKEOVER), || host.has_address(ARTICLE_VIP));
}

/// Fails unless host `name` advertised between the two moments without a gap.
#[track_caller]
pub fn advertised(lab: &Lab, name: &str, from: SystemTime, to: SystemTime) {
    let at = lab.adverts(name).into_iter().filter(|(_, a)| a.priority > 0).map(|(f, _)| f.at);
    let mut last = from;
    for at in at.filter(|at| (from..to).contains(at)).chain([to]) {
        let gap = at.duration_since(last).unwrap_or_default();
        lab.check(&format!("{name} advertises on time ({gap:?})"), gap < seconds(GAP_MAX));
        last = at;
    }
}

/// When the host sent a priority 0.
pub fn zeros(lab: &Lab, name: &str) -> Vec<SystemTime> {
    let adverts = lab.adverts(name).into_iter();
    adverts.filter(|(_, a)| a.priority == 0).map(|(f, _)| f.at).collect()
}

/// When the host announced an address first.
pub fn first_announcement(lab: &Lab, name: &str) -> Option<SystemTime> {
    lab.frames().iter().find(|f| f.from == name && f.announces().is_some()).map(|f| f.at)
}
