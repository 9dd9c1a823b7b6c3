//! Who plays what: an instance of a configuration, brought onto the simulator's stage.
//!
//! The stage has one wire, IPv4, and checks. So IPv6 is played with addresses of IPv4, single peers
//! with a group, and tracked processes and files as checks; other tracked interfaces are always up.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Actor;
use crate::conf::{Config, Hooks, InstanceConf, Script};
use crate::core::event::NotifyState;
use crate::core::spec::{
    Address, CheckId, CheckSpec, Destination, Family, InstanceId, InstanceSpec, LinkId, Spec,
    TrackCheck,
};
use crate::sim::Guard;

/// A tracked process or file is looked at this often.
const SENSE_INTERVAL: Duration = Duration::from_secs(1);

/// One node's part.
#[derive(Clone, Debug)]
pub(super) struct Role<'a> {
    pub name: &'a str,
    /// As configured.
    pub spec: &'a InstanceSpec,
    pub conf: &'a InstanceConf,
    /// The `hooks` block that it goes by, its own or its group's.
    pub hooks: Option<&'a Hooks>,
    /// As played.
    pub staged: Spec,
    /// The scripts of each check that is played.
    pub checks: Vec<String>,
}

/// The place of an instance.
pub(super) fn find(config: &Config, name: &str) -> Option<InstanceId> {
    config.spec.instances.find(|spec| spec.name == name)
}

impl<'a> Role<'a> {
    /// The part of an instance.
    ///
    /// # Errors
    /// The configuration does not have it.
    pub(super) fn new(actor: Actor<'a>, instance: &str) -> Result<Self, String> {
        let config = actor.config;
        let id = find(config, instance)
            .ok_or_else(|| format!("{} has no instance {instance}", actor.name))?;
        let (Some(spec), Some(conf)) = (config.spec.instances.get(id), config.instances.get(id))
        else {
            return Err(format!("{} has no instance {instance}", actor.name));
        };
        let checks = checks(config, spec);
        let staged = stage(spec, &checks);
        let checks = checks.into_iter().map(|(_, _, command)| command).collect();
        let hooks = config.gating_hooks(id);
        Ok(Self { name: actor.name, spec, conf, hooks, staged, checks })
    }

    /// Its storage gates mastership.
    pub(super) const fn is_gated(&self) -> bool {
        self.spec.gate.is_some()
    }

    /// What its `hooks` block sets a variable of the hooks to.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        let env = &self.hooks?.env;
        env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What proves that nobody else has the disk. A fence shuts the others out, as a reservation
    /// does.
    pub(super) fn guard(&self) -> Guard {
        match self.setting("GUARD") {
            Some("none") => Guard::None,
            Some("scsi-pr" | "fence") => Guard::Pr,
            Some(_) | None => Guard::Mmp,
        }
    }

    /// The command line of its mount hook.
    pub(super) fn mount_command(&self, action: &str) -> String {
        let mount = self.hooks.and_then(|hooks| hooks.mount.as_ref());
        let program = mount.map_or_else(|| "mount.sh".to_owned(), |hook| command(&hook.script));
        let group = self.hooks.and_then(|hooks| hooks.group.as_ref());
        format!("{program} {action} {}", group.unwrap_or(&self.spec.name))
    }

    /// The command lines that tell of a state, in the order in which they are run.
    pub(super) fn notify_commands(&self, state: NotifyState, priority: u8) -> Vec<String> {
        let conf = self.conf;
        let own = conf.notify.of(state);
        if state == NotifyState::LowerPriority {
            return own.into_iter().map(command).collect();
        }
        let hook = conf.hooks.as_ref().and_then(|hooks| hooks.notify.as_ref());
        let told = format!("INSTANCE {} {} {priority}", self.spec.name, state.word());
        let all = conf.notify.every.as_deref().into_iter().chain(hook.map(|hook| &hook.script));
        let all = all.map(|script| format!("{} {told}", command(script)));
        own.into_iter().map(command).chain(all).collect()
    }
}

/// A script as a person would name it: its file without the folder, and its own arguments.
fn command(script: &Script) -> String {
    let mut words = script.argv.iter();
    let program = words.next().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or(program);
    std::iter::once(name).chain(words.map(String::as_str)).collect::<Vec<_>>().join(" ")
}

/// Everything that is tracked and can be played as a check, with what is run for it.
fn checks(config: &Config, spec: &InstanceSpec) -> Vec<(CheckSpec, TrackCheck, String)> {
    let mut all = Vec::new();
    let mut add = |check: CheckSpec, track: TrackCheck, command: String| {
        let track = TrackCheck { check: CheckId(all.len()), ..track };
        all.push((check, track, command));
    };
    for track in &spec.track_checks {
        let (Some(check), Some(conf)) =
            (config.spec.checks.get(track.check), config.checks.get(track.check))
        else {
            continue;
        };
        add(check.clone(), *track, command(&conf.script));
    }
    let sense = |name: String| CheckSpec {
        name,
        interval: SENSE_INTERVAL,
        timeout: SENSE_INTERVAL,
        rise: 1,
        fall: 1,
        init_fail: false,
    };
    let unplaced = |weight| TrackCheck { check: CheckId(0), weight, grace: Duration::ZERO };
    for &(id, weight) in &spec.track_processes {
        let Some(process) = config.spec.processes.get(id) else { continue };
        let name = format!("process {}", process.name);
        add(sense(name.clone()), unplaced(weight), name);
    }
    for &(id, weight) in &spec.track_files {
        let Some(file) = config.spec.files.get(id) else { continue };
        let name = format!("file {}", file.name);
        add(sense(name.clone()), unplaced(weight), name);
    }
    for &(id, weight) in &spec.track_bfds {
        let Some(session) = config.spec.bfds.get(id) else { continue };
        let name = format!("BFD session {}", session.name);
        add(sense(name.clone()), unplaced(weight), name);
    }
    all
}

fn stage(spec: &InstanceSpec, checks: &[(CheckSpec, TrackCheck, String)]) -> Spec {
    let link = LinkId(0);
    let address = |(place, address): (usize, &Address)| Address {
        ip: match address.ip {
            IpAddr::V4(_) => address.ip,
            IpAddr::V6(_) => Ipv4Addr::from(0x0a01_0000 + place as u32 + 1).into(),
        },
        prefix_len: 32,
        link,
        no_track: address.no_track,
    };
    let instance = InstanceSpec {
        link,
        family: Family::V4,
        destination: Destination::default(),
        source: None,
        track_source: false,
        v3_checksum_as_v2: false,
        addresses: spec.addresses.iter().enumerate().map(address).collect(),
        excluded: Vec::new(),
        track_links: Vec::new(),
        needs_links: Vec::new(),
        xmit: None,
        vmacs: Vec::new(),
        track_checks: checks.iter().map(|(_, track, _)| *track).collect(),
        track_processes: Vec::new(),
        track_files: Vec::new(),
        track_bfds: Vec::new(),
        ..spec.clone()
    };
    Spec {
        links: vec!["eth0".into()],
        checks: checks.iter().map(|(check, ..)| check.clone()).collect::<Vec<_>>().into(),
        instances: vec![instance.into()].into(),
        ..Spec::default()
    }
}
