//! Dumps on signals: keepalived's files, with its names, labels and keys.

mod bfd;
mod data;
mod json;
mod stats;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::conf::daemon as conf;
use crate::conf::{Config, InstanceConf, Script, VirtualAddress};
use crate::core::spec::LinkId;
use crate::core::{Core, Instance, Phase, Time};
use crate::shell::host::errand::{Errand, Errands};
use crate::shell::host::page;
use crate::shell::kernel::link::{Links, Seen};

/// What takes the place of a password.
const MASK: &str = "********";

/// What is written, and what is done with the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// keepalived.data: everything, for a person.
    Data,
    /// keepalived.json: configuration, state and counters.
    Json,
    /// keepalived.stats: the counters.
    Stats,
    /// The same; then they begin anew.
    StatsClear,
}

impl Dump {
    /// Where it goes. As with keepalived, `data_use_instance` is for keepalived.data alone.
    fn path(self, daemon: &conf::Daemon) -> PathBuf {
        let dumps = &daemon.dumps;
        let (given, name) = match self {
            Self::Data => (&dumps.data, "keepalived.data"),
            Self::Json => (&dumps.json, "keepalived.json"),
            Self::Stats | Self::StatsClear => (&dumps.stats, "keepalived.stats"),
        };
        let usual = || {
            let folder = folder(std::env::var_os("TMPDIR").map(PathBuf::from));
            match daemon.mark().filter(|_| dumps.use_instance && self == Self::Data) {
                Some(mark) => folder.join(format!("keepalived.{mark}.data")),
                None => folder.join(name),
            }
        };
        given.clone().unwrap_or_else(usual)
    }

    /// The file is written by a process of its own: its disk may hang.
    const fn errand(self) -> Errand {
        match self {
            Self::Data => Errand::Data,
            Self::Json => Errand::Json,
            Self::Stats | Self::StatsClear => Errand::Stats,
        }
    }

    /// The line in keepalived's log.
    fn log_line(self) -> String {
        let what = match self {
            Self::Data => "Printing VRRP data",
            Self::Json => "Printing VRRP as json",
            Self::Stats => "Printing VRRP stats",
            Self::StatsClear => "Printing and clearing VRRP stats",
        };
        format!("{what} for process({}) on signal", std::process::id())
    }

    fn text(self, view: &View<'_>) -> String {
        match self {
            Self::Data => data::text(view),
            Self::Json => json::text(view),
            Self::Stats | Self::StatsClear => stats::text(view.core.instances().as_slice()),
        }
    }
}

/// Has a dump written by a process of its own. What fails is logged.
///
/// # Errors
/// The process could not be started, and nothing was written.
pub fn write(
    dump: Dump,
    (config, core, links): (&Config, &Core, &Links),
    errands: &mut Errands,
    now: Time,
) -> Result<(), String> {
    log::info!("{}", dump.log_line());
    let (is_set, statics_set) = are_set(config, links);
    let view = View {
        core,
        config,
        is_set,
        statics_set,
        are_up: are_up(config, links),
        interfaces: links.all().collect(),
        clocks: Clocks::read(now),
    };
    let path = dump.path(&config.global.daemon);
    let text = dump.text(&view);
    let at = path.clone();
    let told =
        |path: &Path, error| format!("{}: {error}; nothing was written there", path.display());
    let work = move || page::put(&path, text.as_bytes()).map_err(|error| told(&path, error));
    errands.start(dump.errand(), work).map_err(|error| told(&at, error))
}

/// Where dumps go: `$TMPDIR`, if it says where, otherwise /tmp.
fn folder(from_environment: Option<PathBuf>) -> PathBuf {
    from_environment.filter(|path| path.is_absolute()).unwrap_or_else(|| "/tmp".into())
}

/// Everything that a dump is made of.
struct View<'a> {
    core: &'a Core,
    config: &'a Config,
    /// For each address in `config.instances`: is it on its interface?
    is_set: Vec<Vec<bool>>,
    /// The same for those in `config.statics`.
    statics_set: Vec<bool>,
    /// The interfaces that are up.
    are_up: BTreeSet<&'a String>,
    /// All interfaces of the host.
    interfaces: Vec<(&'a str, Seen, [Option<IpAddr>; 2])>,
    clocks: Clocks,
}

/// The same moment by both clocks.
#[derive(Clone, Copy)]
struct Clocks {
    now: Time,
    /// Since the start of 1970, UTC.
    wall: Duration,
}

impl Clocks {
    fn read(now: Time) -> Self {
        Self { now, wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// What the clock on the wall shows at that time, unless somebody sets it.
    fn wall_at(self, at: Time) -> Duration {
        self.wall.saturating_sub(self.now.since(at)) + at.since(self.now)
    }
}

/// One address.
struct Vip<'a> {
    no_track: bool,
    /// The `track_group` of a static one.
    group: Option<&'a str>,
    conf: &'a VirtualAddress,
    is_set: bool,
}

/// An instance with its half of the configuration. One that a reload has removed is in neither
/// half of the new one, but it is still here until it has let go.
struct Entry<'a> {
    instance: &'a Instance,
    conf: &'a InstanceConf,
    is_set: &'a [bool],
}

impl View<'_> {
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let confs = self.config.instances.iter().zip(&self.is_set);
        let both = self.core.instances().iter().zip(confs);
        both.map(|(instance, (conf, is_set))| Entry { instance, conf, is_set })
    }

    fn link(&self, link: LinkId) -> &str {
        self.config.spec.links.get(link.0).map_or("?", String::as_str)
    }
}

impl<'a> Entry<'a> {
    /// Those that are advertised.
    fn vips(&self) -> impl Iterator<Item = Vip<'a>> {
        self.all_vips().take(self.instance.spec.addresses.len())
    }

    /// The others.
    fn excluded(&self) -> impl Iterator<Item = Vip<'a>> {
        self.all_vips().skip(self.instance.spec.addresses.len())
    }

    fn all_vips(&self) -> impl Iterator<Item = Vip<'a>> {
        let spec = &self.instance.spec;
        let all = spec.addresses.iter().chain(&spec.excluded);
        let confs = self.conf.addresses.iter().zip(self.is_set);
        all.zip(confs).map(|(spec, (conf, &is_set))| Vip {
            no_track: spec.no_track,
            group: None,
            conf,
            is_set,
        })
    }

    /// The state it is on its way to.
    const fn wanted_state(&self) -> &'static str {
        match &self.instance.phase {
            Phase::Stuck(stuck) => stuck.goal.notify_state().word(),
            Phase::Probing(_) => "MASTER",
            Phase::Init => "BACKUP",
            phase => phase.state(),
        }
    }

    /// The priority of the last other master that was heard, however long ago; 0 without any.
    fn master_priority(&self) -> u8 {
        self.instance.peers.master().map_or(0, |peer| peer.priority)
    }
}

impl Vip<'_> {
    /// As keepalived writes it: what differs from the default, in a fixed order.
    fn text(&self) -> String {
        let VirtualAddress { prefix_len, interface, .. } = self.conf;
        let mut text = self.conf.ip.to_string();
        let host_len = if text.contains(':') { 128 } else { 32 };
        if *prefix_len != host_len {
            text += &format!("/{prefix_len}");
        }
        if let Some(broadcast) = self.conf.broadcast {
            text += &format!(" brd {broadcast}");
        }
        let base = self.conf.base.as_ref().map(|base| format!("@{base}")).unwrap_or_default();
        let own = if self.conf.use_vmac { " use_vmac" } else { "" };
        text += &format!(" dev {interface}{base}{own} scope {}", scope(self.conf.scope));
        if let Some(label) = &self.conf.label {
            text += &format!(" label {label}");
        }
        if let Some(peer) = self.conf.peer {
            text += &format!(" peer {peer}/{host_len}");
        }
        let flags = [
            (self.conf.flags.home, " home"),
            (self.conf.flags.detect_duplicates, " -nodad"),
            (self.conf.flags.make_temporary, " mngtmpaddr"),
            (self.conf.no_prefix_route, " noprefixroute"),
            (self.conf.flags.join, " autojoin"),
            (self.no_track, " no_track"),
        ];
        flags.iter().filter(|(holds, _)| *holds).for_each(|(_, word)| text += word);
        match self.conf.preferred_lft.filter(|_| host_len == 128) {
            _ if host_len == 32 => {}
            None => text += " preferred_lft forever",
            Some(0) => text += " deprecated",
            Some(seconds) => text += &format!(" preferred_lft {seconds}"),
        }
        text.extend(self.group.map(|name| format!(" track_group {name}")));
        if self.is_set {
            text += " set";
        }
        text
    }
}

/// The name of an address's scope, as in iproute2's table; otherwise its number.
fn scope(number: u8) -> String {
    match number {
        0 => "global".into(),
        200 => "site".into(),
        253 => "link".into(),
        254 => "host".into(),
        255 => "nowhere".into(),
        _ => number.to_string(),
    }
}

/// A command as keepalived writes it, each of its words in quotes.
fn command(script: &Script) -> String {
    let words: Vec<String> = script.argv.iter().map(|word| format!("'{word}'")).collect();
    words.join(" ")
}

fn are_up<'a>(config: &'a Config, links: &Links) -> BTreeSet<&'a String> {
    let names = config.spec.links.iter().enumerate();
    names.filter(|(place, _)| links.state(LinkId(*place)).up).map(|(_, name)| name).collect()
}

/// Which addresses are on their interfaces: one look at each, however many there are.
fn are_set(config: &Config, links: &Links) -> (Vec<Vec<bool>>, Vec<bool>) {
    let names = config.spec.links.iter().enumerate();
    let there: BTreeSet<_> = names
        .flat_map(|(place, name)| {
            let addresses = links.state(LinkId(place)).addresses.iter();
            addresses.map(move |&(ip, prefix_len)| (name.as_str(), ip, prefix_len))
        })
        .collect();
    let is_set = |a: &VirtualAddress| there.contains(&(a.interface.as_str(), a.ip, a.prefix_len));
    let of_instances = config.instances.iter();
    let of_instances = of_instances.map(|conf| conf.addresses.iter().map(|a| is_set(a)).collect());
    let statics = config.statics.addresses.iter().map(|entry| is_set(&entry.what));
    (of_instances.collect(), statics.collect())
}

#[cfg(test)]
mod tests;
