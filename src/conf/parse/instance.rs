//! `vrrp_instance` blocks.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::diagnostic::{Severity, Span};
use super::super::lex::{Statement, Word};
use super::super::{InstanceConf, Script, Tracked};
use super::script::SCRIPT_WEIGHT_MAX;
use super::{
    AddressRaw, At, Blame, Ending, GarpRaw, HmacRaw, Idle, Keyword, Raw, Reader, VmacRaw, block,
    destination, either, flag, hmac, idle, interface, line, loose, mark, notify, number, reset,
    rounds, sensed, switch, time, tracks, vmac,
};
use crate::core::spec::{Family, UnicastPeer, Version, Weight};

/// A `vrrp_instance` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceRaw {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// What goes into the configuration as it is: scripts, routes, rules and some flags.
    pub conf: InstanceConf,
    /// `state MASTER` (true) or `BACKUP`.
    pub master: Option<At<bool>>,
    /// `interface`.
    pub interface: Option<At<String>>,
    /// `virtual_router_id`.
    pub vrid: Option<At<u8>>,
    /// `priority`.
    pub priority: Option<At<u8>>,
    /// `advert_int`, not yet rounded.
    pub advert_int: Option<At<Duration>>,
    /// `down_timer_adverts`.
    pub down_timer_adverts: Option<u32>,
    /// `authentication`.
    pub auth: AuthRaw,
    /// `auth_hmac`.
    pub hmac: Option<HmacRaw>,
    /// `mcast_src_ip`, or `unicast_src_ip`, of [`Self::family`].
    pub source: Option<At<IpAddr>>,
    /// `version`, or what `native_ipv6` says of it.
    pub version: Option<At<Version>>,
    /// The family, as soon as something tells it.
    pub family: Option<Family>,
    /// Where unicast is first spoken of.
    pub unicast: Option<Span>,
    /// `unicast_peer`, all of [`Self::family`].
    pub peers: Vec<At<UnicastPeer>>,
    /// `unicast_ttl`.
    pub unicast_ttl: Option<At<u8>>,
    /// `check_unicast_src`, or a peer has TTL limits.
    pub check_source: bool,
    /// `unicast_fault_no_peer`.
    pub fault_no_peer: Option<Span>,
    /// `old_unicast_checksum` without `never`.
    pub old_checksum: Option<Span>,
    /// `v3_checksum_as_v2`.
    pub v3_checksum_as_v2: Option<bool>,
    /// `mcast_dst_ip`.
    pub group: Option<At<IpAddr>>,
    /// `track_src_ip`.
    pub track_source: bool,
    /// `virtual_ipaddress`, all of [`Self::family`].
    pub addresses: Vec<AddressRaw>,
    /// `virtual_ipaddress_excluded`.
    pub excluded: Vec<AddressRaw>,
    /// `no_virtual_ipaddress`.
    pub no_addresses: bool,
    /// `nopreempt`.
    pub nopreempt: Option<Span>,
    /// `preempt_delay`.
    pub preempt_delay: Option<At<Duration>>,
    /// `garp_*`.
    pub garp: GarpRaw,
    /// `use_vmac` and its like.
    pub vmac: VmacRaw,
    /// `dont_track_primary`.
    pub dont_track_primary: bool,
    /// `track_interface`, `track_script` and so on.
    pub tracks: Vec<TrackRaw>,
    /// `lower_prio_no_advert`.
    pub lower_prio_no_advert: Option<bool>,
    /// `higher_prio_send_advert`.
    pub higher_prio_send_advert: Option<bool>,
    /// `skip_check_adv_addr`.
    pub skip_check_adv_addr: Option<bool>,
    /// `strict_mode`.
    pub strict: Option<bool>,
    /// `accept` (true) or `no_accept`, the last of them.
    pub accept: Option<At<bool>>,
    /// `notify_deleted`, with or without a script.
    pub notifies_deleted: bool,
    /// `timer_expired_backup`: the highest priority of the other nodes.
    pub late_backup: Option<At<u8>>,
    /// `owner_ignore_adverts`.
    pub owner_ignores_adverts: Option<bool>,
    /// `notify_priority_changes`.
    pub notify_priority_changes: Option<bool>,
    /// `smtp_alert`.
    pub smtp_alert: Option<bool>,
    /// `linkbeat_use_polling`.
    pub polls_link: bool,
    /// `vrf`.
    pub vrf: Option<At<String>>,
}

/// `authentication`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthRaw {
    /// `auth_type`.
    pub kind: Option<At<AuthKind>>,
    /// `auth_pass`, cut to eight bytes.
    pub password: Option<At<Vec<u8>>>,
}

/// What stands behind `auth_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// A password in each advert.
    Pass,
    /// An authentication header.
    Ah,
}

/// A line of `track_interface`, `track_script`, `track_process`, `track_file` or `track_bfd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackRaw {
    /// What kind it is.
    pub what: Tracked,
    /// What is tracked.
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// `weight`, if given.
    pub weight: Option<Weight>,
    /// It was not defined when this was read.
    pub(super) is_undefined: bool,
}

impl InstanceRaw {
    /// What it tracks of a kind.
    pub fn tracked(&self, what: Tracked) -> impl Iterator<Item = &TrackRaw> {
        self.tracks.iter().filter(move |track| track.what == what)
    }
}

pub(super) const KEYWORDS: &[Keyword<InstanceRaw>] = &[
    line("state", state),
    line("interface", own_interface),
    number("virtual_router_id", 1..=255, |instance| &mut instance.vrid),
    line("priority", priority),
    // From 10 ms to 255 s.
    time("advert_int", 10_000..=255_000_000, |instance| &mut instance.advert_int),
    loose("down_timer_adverts", 1..=100, |instance| &mut instance.down_timer_adverts),
    block("authentication", |reader, statement, instance| {
        reader.read_block(statement, AUTHENTICATION, Blame::Keepalived, &mut instance.auth);
    }),
    either("auth_hmac", hmac::auth_hmac),
    line("mcast_src_ip", destination::source),
    line("unicast_src_ip", destination::unicast_source),
    block("unicast_peer", destination::peers),
    number("unicast_ttl", 0..=255, |instance| &mut instance.unicast_ttl),
    line("check_unicast_src", destination::check_source),
    mark("unicast_fault_no_peer", |instance| &mut instance.fault_no_peer),
    line("old_unicast_checksum", destination::old_checksum),
    switch("v3_checksum_as_v2", |instance| &mut instance.v3_checksum_as_v2),
    line("mcast_dst_ip", destination::group),
    flag("track_src_ip", |instance| &mut instance.track_source),
    block("virtual_ipaddress", destination::addresses),
    block("virtual_ipaddress_excluded", |reader, statement, instance| {
        for line in reader.lines(statement) {
            instance.excluded.extend(reader.address(line));
        }
    }),
    block("virtual_routes", |reader, statement, instance| {
        for line in reader.lines(statement) {
            instance.conf.routes.extend(reader.route(line, false));
        }
    }),
    block("virtual_rules", |reader, statement, instance| {
        for line in reader.lines(statement) {
            instance.conf.rules.extend(reader.rule(line, false));
        }
    }),
    flag("no_virtual_ipaddress", |instance| &mut instance.no_addresses),
    mark("nopreempt", |instance| &mut instance.nopreempt),
    line("preempt", |_, _, instance| instance.nopreempt = None),
    // What does not hold is no delay, whatever was there before.
    line("preempt_delay", |reader, statement, instance| {
        instance.preempt_delay = reader.time_setting(statement, 0..=1_000_000_000);
    }),
    loose("garp_master_delay", GARP_SECONDS, |instance| &mut instance.garp.delay),
    rounds("garp_master_repeat", |instance| &mut instance.garp.repeat),
    reset("garp_master_refresh", ANY_SECONDS, |instance| &mut instance.garp.refresh),
    rounds("garp_master_refresh_repeat", |instance| &mut instance.garp.refresh_repeat),
    loose("garp_lower_prio_delay", GARP_SECONDS, |instance| &mut instance.garp.lower_prio_delay),
    loose("garp_lower_prio_repeat", GARP_ROUNDS, |instance| &mut instance.garp.lower_prio_repeat),
    flag("dont_track_primary", |instance| &mut instance.dont_track_primary),
    tracks("track_interface", Tracked::Interface, |instance| &mut instance.tracks),
    tracks("track_script", Tracked::Script, |instance| &mut instance.tracks),
    tracks("track_process", Tracked::Process, |instance| &mut instance.tracks),
    tracks("track_file", Tracked::File, |instance| &mut instance.tracks),
    tracks("track_bfd", Tracked::Bfd, |instance| &mut instance.tracks),
    switch("lower_prio_no_advert", |instance| &mut instance.lower_prio_no_advert),
    switch("higher_prio_send_advert", |instance| &mut instance.higher_prio_send_advert),
    switch("skip_check_adv_addr", |instance| &mut instance.skip_check_adv_addr),
    notify("notify_master", |instance| &mut instance.conf.notify.master),
    notify("notify_backup", |instance| &mut instance.conf.notify.backup),
    notify("notify_fault", |instance| &mut instance.conf.notify.fault),
    notify("notify_stop", |instance| &mut instance.conf.notify.stop),
    notify("notify", |instance| &mut instance.conf.notify.every),
    line("notify_deleted", |reader, statement, instance| {
        let was_given = std::mem::replace(&mut instance.notifies_deleted, true);
        if was_given || statement.words.len() > 1 {
            reader.notify(statement, &mut instance.conf.notify.deleted);
        }
    }),
    notify("notify_master_rx_lower_pri", |instance| &mut instance.conf.notify.lower_priority),
    flag("promote_secondaries", |instance| &mut instance.conf.promote_secondaries),
    line("timer_expired_backup", late_backup),
    line("thread_timer_expired", late_backup),
    switch("owner_ignore_adverts", |instance| &mut instance.owner_ignores_adverts),
    line("version", destination::version),
    line("native_ipv6", destination::native_ipv6),
    line("accept", accept),
    line("no_accept", accept),
    switch("strict_mode", |instance| &mut instance.strict),
    switch("smtp_alert", |instance| &mut instance.smtp_alert),
    line("lvs_sync_daemon_interface", lvs_sync),
    line("use_vmac", vmac::use_vmac),
    flag("use_vmac_addr", |instance| &mut instance.conf.vmac_addresses),
    mark("vmac_xmit_base", |instance| &mut instance.vmac.xmit_base),
    line("use_ipvlan", vmac::use_ipvlan),
    interface("vrf", |instance| &mut instance.vrf),
    line("garp_extra_if", |reader, statement, instance| {
        reader.garp_extra(statement, 0, &mut instance.garp);
    }),
    line("vmac_garp_intvl", |reader, statement, instance| {
        reader.deprecated(statement, "garp_extra_if");
        reader.garp_extra(statement, 0, &mut instance.garp);
    }),
    switch("notify_priority_changes", |instance| &mut instance.notify_priority_changes),
    line("linkbeat_use_polling", |reader, statement, instance| {
        reader.flag(statement);
        if let Some(word) = statement.words.first() {
            let message = format!(
                "({}) 'linkbeat_use_polling' in vrrp instance deprecated - use linkbeat_interfaces \
                 block",
                instance.name
            );
            reader.fault(word.span, message);
            instance.polls_link = true;
        }
    }),
    idle("kernel_rx_buf_size", Idle::Buffers),
    idle("debug", Idle::Unused),
];

/// keepalived counts these in microseconds.
pub(super) const GARP_SECONDS: RangeInclusive<i64> = 0..=u32::MAX as i64 / 1_000_000;
/// For the period of repeats it has no bound.
pub(super) const ANY_SECONDS: RangeInclusive<i64> = 0..=u32::MAX as i64;
/// As many announcements as keepalived can count.
pub(super) const GARP_ROUNDS: RangeInclusive<i64> = 0..=i32::MAX as i64;

pub(super) const AUTHENTICATION: &[Keyword<AuthRaw>] = &[
    line("auth_type", auth_type),
    line("auth_pass", auth_pass),
    either("auth_hmac", |reader, statement, _| {
        reader
            .error(statement.span, "auth_hmac is a block of vrrp_instance, not of authentication");
    }),
];

pub(super) fn vrrp_instance(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(name) = reader.block_name(statement) else { return };
    if !raw.instance_names.insert(name.text.clone()) {
        let message = format!("vrrp instance {} already defined; its block is skipped", name.text);
        reader.fault(name.span, message);
        return;
    }
    let mut instance =
        InstanceRaw { name: name.text.clone(), span: name.span, ..Default::default() };
    name.text.clone_into(&mut reader.scope);
    reader.notifier = format!("({})", name.text);
    reader.read_block(statement, KEYWORDS, Blame::Keepalived, &mut instance);
    raw.instances.push(instance);
}

fn state(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = reader.value(statement) else { return };
    let master = word.text == "MASTER";
    if !master && word.text != "BACKUP" {
        let message =
            format!("({}) unknown state '{}', defaulting to BACKUP", instance.name, word.text);
        reader.fault(word.span, message);
        instance.master = Some(At { value: false, span: word.span });
        return;
    }
    if !master && instance.master.is_some_and(|at| at.value) {
        let message =
            format!("({}) state previously set as MASTER - ignoring BACKUP", instance.name);
        reader.fault(word.span, message);
        return;
    }
    instance.master = Some(At { value: master, span: word.span });
}

fn own_interface(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = reader.value(statement) else { return };
    if word.text == "lo" {
        let message =
            format!("({}) cannot use a loopback interface (lo) for vrrp - ignoring", instance.name);
        reader.fault(word.span, message);
    } else if let Some(name) = reader.interface_name(word, Severity::Fault) {
        instance.interface = Some(name);
    }
}

/// keepalived's priority where none is given, or none that holds.
pub(crate) const PRIORITY: u8 = 100;

fn priority(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = reader.value(statement) else { return };
    let otherwise = format!("priority must be between 1 & 255. Using default {PRIORITY}");
    let number = reader.number(word, 1..=255, &otherwise);
    let value = number.and_then(|number| u8::try_from(number).ok()).unwrap_or(PRIORITY);
    instance.priority = Some(At { value, span: word.span });
}

/// `timer_expired_backup [PRIORITY]`; without one, the worst case.
fn late_backup(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(keyword) = statement.words.first() else { return };
    let priority = match statement.words.len() {
        0 | 1 => Some(At { value: 254, span: keyword.span }),
        _ => reader.setting(statement, 1..=254, Ending::Strict).and_then(At::narrow),
    };
    instance.late_backup = priority.or(instance.late_backup);
}

/// `accept`, `no_accept`; what else stands on the line has no meaning.
fn accept(_: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = statement.words.first() else { return };
    instance.accept = Some(At { value: word.text == "accept", span: word.span });
}

fn lvs_sync(reader: &mut Reader, statement: &Statement, instance: &mut InstanceRaw) {
    let Some(word) = statement.words.first() else { return };
    let message = format!(
        "({}) Specifying {} against a vrrp is deprecated. {}",
        instance.name,
        word.text,
        Idle::Lvs.text().1
    );
    reader.fault(word.span, message);
}

fn auth_type(reader: &mut Reader, statement: &Statement, auth: &mut AuthRaw) {
    let Some(word) = reader.value(statement) else { return };
    let value = match word.text.as_str() {
        "PASS" => AuthKind::Pass,
        "AH" => AuthKind::Ah,
        other => {
            let message = format!("({}) unknown authentication type '{other}'", reader.scope);
            return reader.fault(word.span, message);
        }
    };
    auth.kind = Some(At { value, span: word.span });
}

/// Room for a password in an advert.
const PASSWORD_BYTES_MAX: usize = 8;

fn auth_pass(reader: &mut Reader, statement: &Statement, auth: &mut AuthRaw) {
    let Some(word) = reader.value(statement) else { return };
    let mut value = word.text.clone().into_bytes();
    // An empty one is none.
    if value.is_empty() {
        return;
    }
    if value.len() > PASSWORD_BYTES_MAX {
        let message = format!(
            "Truncating auth_pass to {PASSWORD_BYTES_MAX} characters: only these are in an advert"
        );
        reader.fault(word.span, message);
        value.truncate(PASSWORD_BYTES_MAX);
    }
    auth.password = Some(At { value, span: word.span });
}

impl Reader {
    /// The first command counts.
    pub(super) fn notify(&mut self, statement: &Statement, script: &mut Option<Box<Script>>) {
        let Some(keyword) = statement.words.first() else { return };
        if script.is_none() {
            *script = self.command(statement).map(Box::new);
            return;
        }
        let ignored = statement.words.get(1).map_or("", |word| word.text.as_str());
        let message = format!(
            "{} {} script already specified - ignoring {ignored}",
            self.notifier, keyword.text
        );
        self.fault(keyword.span, message);
    }

    pub(super) fn tracks(
        &mut self,
        statement: &Statement,
        what: Tracked,
        tracks: &mut Vec<TrackRaw>,
    ) {
        for line in self.lines(statement) {
            let Some((name, options)) = line.words.split_first() else { continue };
            if tracks.iter().any(|other| other.what == what && other.name == name.text) {
                let message =
                    format!("({}) duplicate track_{what} {} - ignoring", self.scope, name.text);
                self.fault(name.span, message);
                continue;
            }
            if let Some(option) = options.first().filter(|option| option.text != "weight") {
                // keepalived drops the whole line, and so does not track it.
                let message = format!(
                    "({}) unknown track_{what} {} option {} - ignoring",
                    self.scope, name.text, option.text
                );
                self.fault(option.span, message);
                continue;
            }
            let Ok(weight) = self.track_weight(name, options, what) else { continue };
            let is_undefined = !self.is_defined(what, &name.text);
            tracks.push(TrackRaw {
                what,
                name: name.text.clone(),
                span: name.span,
                weight,
                is_undefined,
            });
        }
    }

    /// The weight of a line; an error where keepalived drops the whole line, and so does not track.
    fn track_weight(
        &mut self,
        name: &Word,
        options: &[Word],
        what: Tracked,
    ) -> Result<Option<Weight>, ()> {
        let Some((keyword, values)) = options.split_first() else { return Ok(None) };
        if values.is_empty() {
            let message = format!(
                "({}) weight without value specified for track_{what} {} - ignoring",
                self.scope, name.text
            );
            self.fault(keyword.span, message);
            return Err(());
        }
        // Interfaces know one direction only, and nothing is said of what follows it.
        let option = values.get(1);
        let is_known = |word: &&Word| match word.text.as_str() {
            "reverse" => true,
            "noreverse" => what != Tracked::Interface,
            _ => false,
        };
        if let Some(word) = option.filter(|word| !is_known(word)) {
            let message = format!(
                "({}) unknown track_{what} {} weight option {} - ignoring",
                self.scope, name.text, word.text
            );
            self.fault(word.span, message);
            if what == Tracked::File {
                return Err(());
            }
        }
        // One more than a script may have is known, and cut.
        let max = sensed::WEIGHT_MAX;
        let words = match option.filter(is_known) {
            Some(_) => values.get(..2),
            None => values.get(..1),
        };
        let label = format!("track_{what} {} of", name.text);
        let mut weight = self.weight_within(words.unwrap_or_default(), &label, max);
        let least = SCRIPT_WEIGHT_MAX as i16;
        if let (Some(weight), Tracked::Interface | Tracked::Script) = (&mut weight, what)
            && weight.value.abs() > least
        {
            let message = format!(
                "({}) weight for {} cannot be +/-{max}. Setting to +/-{least}",
                self.scope, name.text
            );
            self.fault(keyword.span, message);
            weight.value = weight.value.clamp(-least, least);
        }
        Ok(weight)
    }
}
