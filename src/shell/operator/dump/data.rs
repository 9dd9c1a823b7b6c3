//! keepalived.data: keepalived's labels for everything that both have, and in its order. Lines
//! that only glha has stand among those of an instance: Phase, Reason, Detail, Storage. Which it lacks
//! is said in glha(8).

use std::fmt::{Display, Result, Write};
use std::net::IpAddr;
use std::time::Duration;

use super::{Clocks, Entry, MASK, View, Vip, command};
use crate::conf::{Entry as Line, GroupConf, NotifyScripts, Rights, Script, Tracked};
use crate::core::spec::Destination;
use crate::core::spec::{
    AntiReplay, Auth, CheckId, Family, HmacMode, HmacSpec, Preempt, Version, Weight,
};
use crate::core::{Group, Phase, Time};
use crate::shell::host::localtime::LocalTime;

/// Everything that is known, for a person.
pub fn text(view: &View<'_>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, view);
    text
}

fn write(out: &mut String, view: &View<'_>) -> Result {
    let global = &view.config.global;
    writeln!(out, "------< Global definitions >------")?;
    writeln!(out, " Router ID = {}", global.router_id)?;
    writeln!(out, " Dynamic interfaces = {}", global.dynamic_interfaces)?;
    writeln!(out, " VRRP default protocol version = 2")?;
    let security = if global.script_security { "enabled" } else { "disabled" };
    writeln!(out, " Script security {security}")?;
    statics(out, view)?;
    writeln!(out, "------< VRRP Topology >------")?;
    for entry in view.entries() {
        state(out, view, &entry)?;
        settings(out, view, &entry)?;
        tracked(out, view, &entry)?;
        scripts(out, &entry)?;
    }
    if !view.core.groups().is_empty() {
        writeln!(out, "------< VRRP Sync groups >------")?;
    }
    let groups = view.core.groups().iter().zip(&view.config.groups);
    groups.into_iter().try_for_each(|(group, conf)| sync_group(out, view, group, conf))?;
    if !view.core.checks().is_empty() {
        writeln!(out, "------< VRRP Scripts >------")?;
    }
    (0..view.core.checks().len()).try_for_each(|place| check(out, view, CheckId(place)))?;
    interfaces(out, view)?;
    super::bfd::sessions(out, view)
}

/// What is there whatever the state of any instance.
fn statics(out: &mut String, view: &View<'_>) -> Result {
    let statics = &view.config.statics;
    if !statics.addresses.is_empty() {
        writeln!(out, "------< Static Addresses >------")?;
    }
    for (entry, &is_set) in statics.addresses.iter().zip(&view.statics_set) {
        let (conf, group) = (&*entry.what, entry.group.as_deref());
        let vip = Vip { no_track: entry.no_track, group, conf, is_set };
        writeln!(out, "     {}", vip.text())?;
    }
    lines(out, "------< Static Routes >------", &statics.routes)?;
    lines(out, "------< Static Rules >------", &statics.rules)?;
    if !statics.groups.is_empty() {
        writeln!(out, "------< Static Track groups >------")?;
    }
    for (name, instances) in &statics.groups {
        writeln!(out, " Static Track Group = {name}\n   VRRP member instances :")?;
        instances.iter().try_for_each(|name| writeln!(out, "     {name}"))?;
    }
    Ok(())
}

/// A heading and an entry a line, if there are any.
fn lines<T: Display>(out: &mut String, heading: &str, entries: &[Line<T>]) -> Result {
    if !entries.is_empty() {
        writeln!(out, "{heading}")?;
    }
    entries.iter().try_for_each(|entry| writeln!(out, "     {entry}"))
}

fn state(out: &mut String, view: &View<'_>, entry: &Entry<'_>) -> Result {
    let instance = entry.instance;
    writeln!(out, " VRRP Instance = {}", instance.spec.name)?;
    let version = if instance.spec.version == Version::V2 { 2 } else { 3 };
    writeln!(out, "   VRRP Version = {version}")?;
    if instance.spec.family == Family::V6 {
        writeln!(out, "   Using Native IPv6")?;
    }
    if let Some(group) = instance.group() {
        writeln!(out, "   Sync group = {group}")?;
    }
    writeln!(out, "   State = {}", instance.phase.state())?;
    if let Phase::Backup { .. } = instance.phase {
        let master = instance.peers.master().map(|peer| peer.address.to_string());
        writeln!(out, "   Master router = {}", master.as_deref().unwrap_or("none"))?;
        writeln!(out, "   Master priority = {}", entry.master_priority())?;
    }
    writeln!(out, "   Wantstate = {}", entry.wanted_state())?;
    writeln!(out, "   Phase = {}", instance.phase.word())?;
    writeln!(out, "   Reason = {}", instance.reason.word())?;
    if !instance.detail.is_empty() {
        writeln!(out, "   Detail = {}", instance.detail)?;
    }
    let gate = instance.spec.gate.is_some();
    writeln!(out, "   Storage = {}", if gate { "mount hook" } else { "none" })?;
    let since = moment(view.clocks, instance.state_since).unwrap_or_else(|| "never".into());
    writeln!(out, "   Last transition = {since}")?;
    let timeout = moment(view.clocks, timeout(&instance.phase));
    writeln!(out, "   Read timeout = {}", timeout.as_deref().unwrap_or("DISABLED"))?;
    let down = instance.master_down_interval().as_micros();
    writeln!(out, "   Master down timer = {down} usecs")
}

/// What keepalived calls the read timeout: a backup's master down timer, or the next advert.
const fn timeout(phase: &Phase) -> Option<Time> {
    match phase {
        Phase::Backup { down_at } => Some(*down_at),
        Phase::Acquiring(acquiring) => Some(acquiring.advert_at),
        Phase::Master { advert_at, .. } => Some(*advert_at),
        Phase::Releasing(releasing) => releasing.advert_at,
        Phase::Init | Phase::Probing(_) | Phase::Fault | Phase::Stuck(_) | Phase::Stopped => None,
    }
}

/// How the MAC address of every virtual router begins (RFC 5798, 7.3).
const VIRTUAL_ROUTER: [u8; 4] = [0, 0, 0x5e, 0];

fn vmac_addresses(out: &mut String, entry: &Entry<'_>) -> Result {
    if entry.conf.vmac_addresses {
        writeln!(out, "   Use VMAC for VIPs on other interfaces")?;
    }
    Ok(())
}

fn settings(out: &mut String, view: &View<'_>, entry: &Entry<'_>) -> Result {
    let instance = entry.instance;
    let spec = &instance.spec;
    let link = view.link(spec.link);
    match &entry.conf.vmac {
        Some(vmac) => {
            let is_up = view.are_up.contains(vmac);
            let at_base = spec.xmit.is_none();
            writeln!(out, "   Use VMAC, i/f name {vmac}, is_up = {is_up}, xmit_base = {at_base}")?;
            let known = view.config.vmacs.iter().find(|known| known.name == *vmac);
            if let Some(given) = known.filter(|known| !known.mac.starts_with(&VIRTUAL_ROUTER)) {
                writeln!(out, "     MAC = {}", given.mac_text())?;
            }
            vmac_addresses(out, entry)?;
            let xmit = if at_base { ", xmit base i/f" } else { "" };
            writeln!(out, "   Interface = {vmac}, vmac on {link}{xmit}")?;
        }
        None => {
            vmac_addresses(out, entry)?;
            writeln!(out, "   Interface = {link}")?;
        }
    }
    if spec.dont_track_primary {
        writeln!(out, "   VRRP interface tracking disabled")?;
    }
    if spec.skip_check_adv_addr {
        writeln!(out, "   Skip checking advert IP addresses")?;
    }
    let source = instance.source.map_or_else(|| "none".into(), |source| source.to_string());
    let from = if spec.source.is_some() { " (from configuration)" } else { "" };
    writeln!(out, "   Using src_ip = {source}{from}")?;
    match &spec.destination {
        Destination::Group(group) => writeln!(out, "   Multicast address {group}")?,
        Destination::Peers { peers, .. } => {
            writeln!(out, "   Unicast Peers:")?;
            for peer in peers {
                writeln!(out, "     {}", peer.ip)?;
            }
        }
    }
    announcements(out, entry)?;
    writeln!(out, "   Down timer adverts = {}", spec.down_timer_adverts)?;
    let answers = !spec.lower_prio_no_advert;
    writeln!(out, "   Send advert after receive lower priority advert = {answers}")?;
    let answers = spec.higher_prio_send_advert;
    writeln!(out, "   Send advert after receive higher priority advert = {answers}")?;
    writeln!(out, "   Virtual Router ID = {}", spec.vrid)?;
    writeln!(out, "   Priority = {}", spec.priority)?;
    writeln!(out, "   Effective priority = {}", instance.priority())?;
    writeln!(out, "   Total priority = {}", instance.total)?;
    let interval = match spec.version {
        Version::V2 => seconds(spec.advert_interval),
        Version::V3 => format!("{} milli-sec", spec.advert_interval.as_millis()),
    };
    writeln!(out, "   Advert interval = {interval}")?;
    let accept = if entry.conf.no_accept { "disabled" } else { "enabled" };
    writeln!(out, "   Accept = {accept}")?;
    let preempt = match spec.preempt {
        Preempt::Always => "enabled",
        Preempt::Weakened => "enabled (a weakened master only)",
        Preempt::Never => "disabled",
    };
    writeln!(out, "   Preempt = {preempt}")?;
    if !spec.preempt_delay.is_zero() {
        writeln!(out, "   Preempt delay = {}s", seconds(spec.preempt_delay))?;
    }
    let promote = if entry.conf.promote_secondaries { "enabled" } else { "disabled" };
    writeln!(out, "   Promote_secondaries = {promote}")?;
    if let Some(hmac) = &spec.hmac {
        return signatures(out, hmac);
    }
    match spec.auth {
        // Version 3 has no such field.
        Auth::None if spec.version == Version::V3 => Ok(()),
        Auth::None => writeln!(out, "   Authentication type = none"),
        Auth::Ah(_) => writeln!(out, "   Authentication type = IPSEC_AH"),
        Auth::Pass(_) => {
            writeln!(out, "   Authentication type = SIMPLE_PASSWORD\n   Password = {MASK}")
        }
    }
}

/// The ids of the keys, never a key.
fn signatures(out: &mut String, hmac: &HmacSpec) -> Result {
    writeln!(out, "   Authentication type = HMAC_SHA256")?;
    let mode = match hmac.mode {
        HmacMode::Enforce => "enforce",
        HmacMode::Permissive => "permissive",
        HmacMode::ReceiveOnly => "receive-only",
    };
    writeln!(out, "   HMAC mode = {mode}")?;
    match hmac.anti_replay {
        AntiReplay::Time { window } => {
            writeln!(out, "   HMAC anti replay = time, window {window} sec")?;
        }
        AntiReplay::Monotonic => writeln!(out, "   HMAC anti replay = monotonic")?,
    }
    let ids: Vec<String> = hmac.keys.keys().map(u8::to_string).collect();
    writeln!(out, "   HMAC keys = {}", ids.join(" "))?;
    writeln!(out, "   HMAC active key = {}", hmac.active_key)
}

fn announcements(out: &mut String, entry: &Entry<'_>) -> Result {
    let garp = entry.instance.spec.garp;
    let name = "   Gratuitous ARP";
    writeln!(out, "{name} delay = {}", garp.delay.as_secs())?;
    writeln!(out, "{name} repeat = {}", garp.repeat)?;
    writeln!(out, "{name} refresh = {}", garp.refresh.as_secs())?;
    writeln!(out, "{name} refresh repeat = {}", garp.refresh_repeat)?;
    writeln!(out, "{name} lower priority delay = {}", garp.lower_prio_delay.as_secs())?;
    writeln!(out, "{name} lower priority repeat = {}", garp.lower_prio_repeat)
}

fn tracked(out: &mut String, view: &View<'_>, entry: &Entry<'_>) -> Result {
    let spec = &entry.instance.spec;
    if !spec.addresses.is_empty() {
        writeln!(out, "   Virtual IP ({}):", spec.addresses.len())?;
    }
    entry.vips().try_for_each(|vip| writeln!(out, "     {}", vip.text()))?;
    if !spec.excluded.is_empty() {
        writeln!(out, "   Virtual IP Excluded :")?;
    }
    entry.excluded().try_for_each(|vip| writeln!(out, "     {}", vip.text()))?;
    lines(out, "   Virtual Routes :", &entry.conf.routes)?;
    lines(out, "   Virtual Rules :", &entry.conf.rules)?;
    if !spec.track_links.is_empty() {
        writeln!(out, "   Tracked interfaces :")?;
    }
    for &(link, weight) in &spec.track_links {
        writeln!(out, "     {} {}", view.link(link), weigh(weight))?;
    }
    if !spec.track_checks.is_empty() {
        writeln!(out, "   Tracked scripts :")?;
    }
    for track in &spec.track_checks {
        let name = view.core.checks().get(track.check).map_or("?", |check| &check.spec.name);
        writeln!(out, "     {name} {}", weigh(track.weight))?;
    }
    if !spec.track_bfds.is_empty() {
        writeln!(out, "   Tracked BFDs :")?;
    }
    for &(id, weight) in &spec.track_bfds {
        let name = view.core.bfds().all().get(id).map_or("?", |session| &session.spec.name);
        writeln!(out, "     {name}: {}", weigh(weight))?;
    }
    Ok(())
}

fn scripts(out: &mut String, entry: &Entry<'_>) -> Result {
    let conf = entry.conf;
    writeln!(out, "   Using smtp notification = {}", yes(conf.wants_mail))?;
    let word = if entry.instance.spec.notifies_deleted { "Deleted" } else { "Fault" };
    writeln!(out, "   Notify deleted = {word}")?;
    transition_scripts(out, &conf.notify)?;
    writeln!(out, "   Notify priority changes = {}", conf.tells_priority)
}

fn transition_scripts(out: &mut String, notify: &NotifyScripts) -> Result {
    let all = [
        ("Backup state", &notify.backup),
        ("Master state", &notify.master),
        ("Fault state", &notify.fault),
        ("Stop state", &notify.stop),
        ("Generic state", &notify.every),
        ("Master rx lower pri state", &notify.lower_priority),
    ];
    for (name, script) in all {
        if let Some(script) = script {
            let (command, ids) = (command(script), ids(script));
            writeln!(out, "   {name} transition script = {command}, uid:gid {ids}")?;
        }
    }
    Ok(())
}

fn sync_group(out: &mut String, view: &View<'_>, group: &Group, conf: &GroupConf) -> Result {
    let members = || {
        let all = view.core.instances();
        group.spec.members.iter().filter_map(move |id| all.get(*id))
    };
    let state = group.told.map_or("INIT", |state| state.word());
    writeln!(out, " VRRP Sync Group = {}, {state}", group.spec.name)?;
    let faults = members().filter(|i| matches!(i.phase, Phase::Fault | Phase::Stuck(_))).count();
    let starting = members().filter(|i| matches!(i.phase, Phase::Init)).count();
    writeln!(out, "   Num member fault {faults}, num member init {starting}")?;
    if group.spec.is_gated {
        writeln!(out, "   Storage = mount hook")?;
    }
    writeln!(out, "   VRRP member instances :")?;
    members().try_for_each(|member| writeln!(out, "     {}", member.spec.name))?;
    writeln!(out, "   Using smtp notification = {}", yes(conf.smtp_alert))?;
    writeln!(out, "   Notify priority changes = {}", yes(conf.notify_priority_changes))?;
    let tracked = [
        (Tracked::Interface, "interfaces", ""),
        (Tracked::Script, "scripts", ""),
        (Tracked::File, "files", ","),
        (Tracked::Process, "process", ","),
        (Tracked::Bfd, "bfds", ":"),
    ];
    for (what, word, comma) in tracked {
        let mut lines = conf.tracks.iter().filter(|(kind, ..)| *kind == what).peekable();
        if lines.peek().is_some() {
            writeln!(out, "   Tracked {word} :")?;
        }
        for (_, name, weight) in lines {
            writeln!(out, "     {name}{comma} {}", weigh(*weight))?;
        }
    }
    transition_scripts(out, &conf.notify)
}

fn check(out: &mut String, view: &View<'_>, id: CheckId) -> Result {
    let Some(check) = view.core.checks().get(id) else { return Ok(()) };
    let spec = &check.spec;
    writeln!(out, " VRRP Script = {}", spec.name)?;
    if let Some(conf) = view.config.checks.get(id) {
        writeln!(out, "   Command = {}", command(&conf.script))?;
    }
    writeln!(out, "   Interval = {}", seconds(spec.interval))?;
    let conf = view.config.checks.get(id);
    // As it is written: what is not set is 0, and then the interval counts.
    let timeout = conf.and_then(|conf| conf.timeout).unwrap_or_default();
    writeln!(out, "   Timeout = {}", seconds(timeout))?;
    if let Some(conf) = conf {
        let reverse = if conf.weight.reverse { " reverse" } else { "" };
        writeln!(out, "   Weight = {}{reverse}", conf.weight.value)?;
    }
    writeln!(out, "   Rise = {}", spec.rise)?;
    writeln!(out, "   Fall = {}", spec.fall)?;
    writeln!(out, "   Result = {}", check.result())?;
    // One that others may change is not run at all, if that is asked for.
    writeln!(out, "   Insecure = no")?;
    let init = if spec.init_fail { "failed" } else { "unknown" };
    writeln!(out, "   Init state = {init}")?;
    let status = check.is_good.map_or("INIT", |good| if good { "GOOD" } else { "BAD" });
    writeln!(out, "   Status = {status}")?;
    if let Some(conf) = conf {
        writeln!(out, "   Script uid:gid = {}", ids(&conf.script))?;
    }
    writeln!(out, "   VRRP instances :")?;
    writeln!(out, "   Tracking instances :")?;
    for instance in view.core.instances() {
        for track in instance.spec.track_checks.iter().filter(|track| track.check == id) {
            writeln!(out, "     {}, {}", instance.spec.name, weigh(track.weight))?;
        }
    }
    writeln!(out, "   State = {}", if check.is_running() { "running" } else { "idle" })
}

/// All of the host. What keepalived remembers of changes that it makes to them is not here.
fn interfaces(out: &mut String, view: &View<'_>) -> Result {
    writeln!(out, "------< Interfaces >------")?;
    for (name, seen, [ipv4, ipv6]) in &view.interfaces {
        let text = |ip: &Option<IpAddr>| ip.map_or_else(|| "(none)".into(), |ip| ip.to_string());
        writeln!(out, " Name = {name}\n   index = {}", seen.index)?;
        writeln!(out, "   IPv4 address = {}\n   IPv6 address = {}", text(ipv4), text(ipv6))?;
        // Loopback interfaces have one of zeros.
        if let Some([a, b, c, d, e, f]) = seen.mac.filter(|mac| *mac != [0; 6]) {
            writeln!(out, "   MAC = {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")?;
        }
        writeln!(out, "   State = {}", if seen.up { "UP, RUNNING" } else { "DOWN" })?;
        writeln!(out, "   MTU = {}", seen.mtu)?;
    }
    Ok(())
}

/// Whose rights a script runs with, as `0:0`.
fn ids(script: &Script) -> String {
    match &script.rights {
        Rights::Own => format!("{}:{}", nix::unistd::geteuid(), nix::unistd::getegid()),
        Rights::Of(ids) => format!("{}:{}", ids.uid, ids.gid),
        Rights::Unknown(_) => "unknown".to_owned(),
    }
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn weigh(weight: Weight) -> String {
    format!("weight {}{}", weight.value, if weight.reverse { " reverse" } else { "" })
}

fn seconds(span: Duration) -> String {
    format!("{} sec", span.as_secs_f64())
}

/// `1795398833.522303 (Mon Nov 23 01:53:53.522303 2026)`
fn moment(clocks: Clocks, at: Option<Time>) -> Option<String> {
    let at = clocks.wall_at(at?);
    let micros = at.subsec_micros();
    let local = LocalTime::at(i64::try_from(at.as_secs()).unwrap_or(0)).to_string();
    let (time, year) = local.rsplit_once(' ')?;
    Some(format!("{}.{micros:06} ({time}.{micros:06} {year})", at.as_secs()))
}
