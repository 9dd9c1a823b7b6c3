//! From raw values to a configuration: defaults, cross-references, and what keepalived says when
//! it has read everything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Severity, Span};
use super::parse::{AddressRaw, At, GarpRaw, HooksRaw, InstanceRaw, PRIORITY, Raw, ScriptRaw};
use super::{
    CheckConf, Config, Context, FirewallConf, Global, Hooks, InstanceConf, MountHook, NotifyHook,
    Script, Tracked, VirtualAddress, suggest,
};
use crate::core::spec::{
    Address, CheckId, CheckSpec, Destination, Family, GarpSpec, GateSpec, InstanceId, InstanceSpec,
    LinkId, Preempt, Version, Weight,
};

mod advert;
mod advice;
mod bfd;
mod daemon;
mod group;
mod hmac;
mod link;
mod sensed;
mod statics;
mod strict;
mod tracks;
mod vmac;

use vmac::{Place, Vmacs};

/// Most addresses that the count of a VRRP advert can name.
const ADDRESS_COUNT_MAX: usize = 255;

/// Most IPv6 addresses that keepalived puts into an advert on Ethernet, whose frames hold 1500
/// bytes.
const ADDRESS_COUNT_MAX_V6: usize = 89;

/// The same if they are signed: the trailer takes the room of two.
const ADDRESS_COUNT_MAX_V6_SIGNED: usize = 87;

/// So much of a daemon's name is in that of its tables.
const TABLE_NAME_PART_MAX: usize = 48;

/// How long a preempting node waits for the acknowledgement of release, unless told.
const HANDOVER_WAIT: Duration = Duration::from_secs(30);

/// Makes a configuration of the raw values; problems are added to `diagnostics`.
pub fn check(raw: &Raw, context: &Context, diagnostics: &mut Vec<Diagnostic>) -> Config {
    let ids = context.ids.clone();
    let mut checker = Checker { raw, config: Config { ids, ..Config::default() }, diagnostics };
    checker.config.spec.links = checker.config.ids.links();
    checker.config.global = global(raw, context);
    let groups = checker.groups();
    let grouped = |instance| checker.grouped(instance, &groups);
    let instances: Vec<InstanceRaw> = raw.instances.iter().map(grouped).collect();
    checker.bfds();
    for instance in &instances {
        checker.instance(instance);
    }
    checker.put_groups(groups);
    checker.statics();
    checker.link_delays();
    checker.linkbeats();
    checker.vrids();
    checker.shared_vmacs();
    for hooks in &raw.hooks {
        checker.hooks(hooks);
    }
    checker.storage_within_groups();
    checker.unused_scripts();
    checker.unused_senses();
    checker.daemon();
    checker.advice(&instances);
    checker.config.number();
    checker.config
}

/// Scripts that no instance tracks in the end: name and command.
pub fn untracked(raw: &Raw, config: &Config) -> Vec<(String, Script)> {
    let is_tracked = |name: &str| config.spec.checks.iter().any(|check| check.name == name);
    let scripts = raw.scripts.iter().filter(|script| !is_tracked(&script.name));
    scripts.filter_map(|script| Some((script.name.clone(), script.script.clone()?))).collect()
}

fn unused(raw: &Raw) -> impl Iterator<Item = &ScriptRaw> {
    let of_instances = raw.instances.iter().flat_map(|one| &one.tracks);
    let all = of_instances.chain(raw.groups.iter().flat_map(|one| &one.tracks));
    let scripts = all.filter(|track| track.what == Tracked::Script);
    let tracked: BTreeSet<&str> = scripts.map(|track| track.name.as_str()).collect();
    let is_unused = move |one: &&ScriptRaw| !tracked.contains(one.name.as_str());
    raw.scripts.iter().filter(|script| script.script.is_some()).filter(is_unused)
}

fn global(raw: &Raw, context: &Context) -> Global {
    let (global, conf) = (&raw.global, &raw.global.conf);
    Global {
        router_id: global.router_id.clone().unwrap_or_else(|| context.host_name.clone()),
        daemon: daemon::daemon(global, context),
        firewall: firewall(&conf.firewall, global.daemon.instance.as_ref()),
        ..conf.clone()
    }
}

/// Tables that nobody has named have the daemon's name in theirs: two daemons on a host must not empty
/// each other's, as two keepalived do.
fn firewall(conf: &FirewallConf, instance: Option<&At<String>>) -> FirewallConf {
    let mut conf = conf.clone();
    if let Some(name) = instance.filter(|_| conf.table == FirewallConf::default().table) {
        let is_usable = |c: &char| c.is_ascii_alphanumeric() || "_-".contains(*c);
        let name: String = name.value.chars().filter(is_usable).take(TABLE_NAME_PART_MAX).collect();
        conf.table = format!("{}.{name}", conf.table);
    }
    conf
}

struct Checker<'a> {
    raw: &'a Raw,
    config: Config,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn say(&mut self, severity: Severity, span: Span, message: String) {
        self.diagnostics.push(Diagnostic { span, severity, message, suggestion: None });
    }

    fn fault(&mut self, span: Span, message: String) {
        self.say(Severity::Fault, span, message);
    }

    fn error(&mut self, span: Span, message: String) {
        self.say(Severity::Error, span, message);
    }

    fn link(&mut self, name: &str) -> LinkId {
        let links = &mut self.config.spec.links;
        let place = links.iter().position(|link| link == name).unwrap_or_else(|| {
            links.push(name.to_owned());
            links.len() - 1
        });
        LinkId(place)
    }

    /// One instance; without interface or VRID there is none, and glha does not start.
    fn instance(&mut self, raw: &InstanceRaw) {
        let name = &raw.name;
        let interface = self.interface(raw);
        if raw.vrid.is_none() {
            self.error(
                raw.span,
                format!("({name}) the virtual router id must be set: `virtual_router_id 1` to 255"),
            );
        }
        let (Some(interface), Some(vrid)) = (interface, raw.vrid) else { return };
        let link = self.link(&interface.own);
        let priority = priority(raw);
        let version = self.version(raw);
        let mut vmacs = self.vmacs(raw, &interface.of_addresses, vrid.value);
        // An IPVLAN takes the place of the interface.
        let ipvlan = self
            .config
            .vmacs
            .iter()
            .find(|vmac| vmac.ipvlan.is_some() && vmacs.own.as_ref() == Some(&vmac.name));
        let ipvlan = ipvlan.map(|vmac| (vmac.name.clone(), vmac.ipvlan));
        let link = ipvlan.as_ref().map_or(link, |(name, _)| self.link(name));
        let own_address = ipvlan.as_ref().and_then(|(_, ipvlan)| ipvlan.as_ref()?.address);
        let addresses = self.addresses(raw, &mut vmacs, version);
        let (preempt, preempt_delay) = self.preempt(raw, priority);
        let advert_interval = self.advert_interval(raw, version);
        let hmac = self.hmac(raw, advert_interval);
        let defaults = &self.raw.global;
        let mut spec = InstanceSpec {
            name: name.clone(),
            link,
            xmit: vmacs.xmit,
            vmacs: vmacs.links,
            vrid: vrid.value,
            priority,
            version,
            family: advert::family(raw),
            advert_interval,
            down_timer_adverts: raw.down_timer_adverts.or(defaults.down_timer_adverts).unwrap_or(3),
            auth: self.auth(raw, version),
            hmac,
            destination: self.destination(raw, version),
            source: own_address.map(|(ip, _)| ip).or(raw.source.map(|source| source.value)),
            v3_checksum_as_v2: either(raw.v3_checksum_as_v2, defaults.v3_checksum_as_v2),
            track_source: raw.track_source && raw.source.is_some(),
            wants_master: raw.master.map_or(priority == 255, |at| at.value),
            addresses: addresses.advertised,
            excluded: addresses.excluded,
            preempt,
            preempt_delay,
            garp: garp(&defaults.garp, &raw.garp),
            dont_track_primary: raw.dont_track_primary,
            track_links: self.track_links(raw, &interface.own, priority),
            needs_links: self.needed_links(raw, link),
            track_checks: self.track_checks(raw, priority),
            track_processes: self.track_processes(raw, priority),
            track_files: self.track_files(raw, priority),
            track_bfds: self.track_bfds(raw, priority),
            lower_prio_no_advert: either(raw.lower_prio_no_advert, defaults.lower_prio_no_advert),
            higher_prio_send_advert: either(
                raw.higher_prio_send_advert,
                defaults.higher_prio_send_advert,
            ),
            skip_check_adv_addr: raw.skip_check_adv_addr.unwrap_or(defaults.skip_check_adv_addr),
            owner_ignores_adverts: either(
                raw.owner_ignores_adverts,
                defaults.owner_ignores_adverts,
            ),
            late_backup: raw.late_backup.map(|at| at.value),
            notifies_deleted: raw.notifies_deleted,
            gate: None,
        };
        self.make_strict(raw, &mut spec);
        let accepts = self.accepts(raw, &spec);
        self.config.spec.instances.push(spec.into());
        self.config.instances.push(InstanceConf {
            vmac: vmacs.own.filter(|_| ipvlan.is_none()),
            addresses: addresses.all,
            tells_priority: either(raw.notify_priority_changes, defaults.notify_priority_changes),
            wants_mail: either(raw.smtp_alert, defaults.smtp_alert_vrrp.or(defaults.smtp_alert)),
            no_accept: !accepts,
            key_files: hmac::key_files(raw),
            span: raw.span,
            ..raw.conf.clone()
        });
    }

    /// keepalived's order: the owner of the addresses first, then the state, then `nopreempt`.
    fn preempt(&mut self, raw: &InstanceRaw, priority: u8) -> (Preempt, Duration) {
        let name = &raw.name;
        let is_strict = self.is_strict(raw);
        // In strict mode the owner of the addresses is to be master, and nobody else.
        let master = match is_strict {
            true => priority == 255,
            false => raw.master.is_some_and(|at| at.value),
        };
        let mut nopreempt = raw.nopreempt;
        let mut delay = raw.preempt_delay.filter(|delay| !delay.value.is_zero());
        if let (Some(span), 255) = (nopreempt, priority) {
            nopreempt = None;
            self.fault(
                span,
                format!(
                    "({name}) nopreempt is incompatible with priority 255. resetting nopreempt"
                ),
            );
        }
        if let (Some(span), true) = (nopreempt, master) {
            nopreempt = None;
            let message = format!(
                "({name}) Warning - nopreempt will not work with initial state MASTER - clearing"
            );
            self.fault(span, message);
        }
        if let (Some(at), true) = (delay, master) {
            delay = None;
            let message = format!(
                "({name}) Warning - preempt delay will not work with initial state MASTER - \
                 clearing"
            );
            self.fault(at.span, message);
        }
        if let (Some(at), true) = (delay, is_strict) {
            let message =
                format!("({name}) preempt_delay is incompatible with strict mode - resetting");
            self.fault(at.span, message);
        }
        if let (Some(at), Some(_)) = (delay, nopreempt) {
            delay = None;
            let message =
                format!("({name}) preempt_delay is incompatible with nopreempt mode - resetting");
            self.fault(at.span, message);
        }
        let preempt = if nopreempt.is_some() { Preempt::Never } else { Preempt::Always };
        let delay = delay.filter(|_| !is_strict);
        (preempt, delay.map_or(Duration::ZERO, |delay| delay.value))
    }

    fn addresses(
        &mut self,
        raw: &InstanceRaw,
        vmacs: &mut Vmacs<'_>,
        version: Version,
    ) -> Addresses {
        let mut all = Vec::new();
        let mut advertised: Vec<Address> =
            raw.addresses.iter().map(|address| self.address(address, vmacs, &mut all)).collect();
        if advertised.is_empty() && !raw.no_addresses {
            self.no_address(raw, version);
        }
        let v6 = advert::family(raw) == Family::V6;
        if let Some(first) = raw.addresses.first().filter(|first| v6 && !is_link_local(first.ip)) {
            let (severity, word) = match self.is_strict(raw) {
                true => (Severity::Fault, "must"),
                false => (Severity::Note, "should"),
            };
            let message = format!("({}) the first IPv6 VIP address {word} be link local", raw.name);
            self.say(severity, first.span, message);
        }
        let room = match (v6, advert::signs(raw)) {
            (true, true) => ADDRESS_COUNT_MAX_V6_SIGNED,
            (true, false) => ADDRESS_COUNT_MAX_V6,
            (false, _) => ADDRESS_COUNT_MAX,
        };
        let mut excluded = advertised.split_off(advertised.len().min(room));
        advertised.shrink_to_fit();
        if !excluded.is_empty() {
            let message = format!(
                "({}) Number of VIPs ({}) exceeds maximum/space available in packet (max {room} \
                 addresses) - excess moved to eVIPs",
                raw.name,
                advertised.len() + excluded.len()
            );
            self.fault(raw.span, message);
        }
        for address in &raw.excluded {
            excluded.push(self.address(address, vmacs, &mut all));
        }
        excluded.shrink_to_fit();
        all.shrink_to_fit();
        Addresses { advertised, excluded, all }
    }

    /// keepalived runs without addresses in version 2, and does not in version 3 or strict mode.
    fn no_address(&mut self, raw: &InstanceRaw, version: Version) {
        let name = &raw.name;
        match version {
            Version::V2 if !self.is_strict(raw) => {
                self.fault(
                    raw.span,
                    format!("({name}) No VIP specified; at least one is sensible"),
                );
            }
            Version::V2 | Version::V3 => {
                self.error(
                    raw.span,
                    format!("({name}) No VIP specified; at least one is required"),
                );
            }
        }
    }

    fn address(
        &mut self,
        raw: &AddressRaw,
        vmacs: &mut Vmacs<'_>,
        all: &mut Vec<Arc<VirtualAddress>>,
    ) -> Address {
        let ip = raw.ip;
        let Place { interface, base } = self.place(raw, vmacs);
        all.push(Arc::new(VirtualAddress {
            ip,
            prefix_len: raw.prefix_len,
            interface: interface.clone(),
            base,
            use_vmac: raw.use_vmac,
            broadcast: raw.broadcast,
            label: raw.label.clone(),
            scope: raw.scope,
            no_prefix_route: raw.no_prefix_route,
            peer: raw.peer,
            flags: raw.flags,
            preferred_lft: raw.preferred_lft,
            text: format!("{ip}/{}", raw.prefix_len),
            span: raw.span,
        }));
        let link = self.link(&interface);
        Address { ip, prefix_len: raw.prefix_len, link, no_track: raw.no_track }
    }

    /// The check of that name, made when it is first tracked.
    fn check(&mut self, name: &str) -> Option<CheckId> {
        let script = self.raw.scripts.iter().find(|script| script.name == name)?;
        let command = script.script.as_ref()?;
        let checks = &mut self.config.spec.checks;
        if let Some(known) = checks.find(|check| check.name == script.name) {
            return Some(known);
        }
        let interval = script.interval.unwrap_or(Duration::from_secs(1));
        let id = self.config.ids.check(&script.name);
        let spec = CheckSpec {
            name: script.name.clone(),
            interval,
            timeout: script.timeout.unwrap_or(interval),
            rise: script.rise.unwrap_or(1),
            fall: script.fall.unwrap_or(1),
            init_fail: script.init_fail,
        };
        checks.insert(id, spec);
        let user = script.user.clone().map(Box::new).or_else(|| command.user.clone());
        let conf = CheckConf {
            script: Script { user, ..command.clone() },
            weight: script.weight.unwrap_or(NO_WEIGHT),
            timeout: script.timeout,
            hook_of: None,
        };
        self.config.checks.insert(id, conf);
        Some(id)
    }

    /// Two instances that the same adverts would reach: each is told of the first before it.
    fn vrids(&mut self) {
        let mut found = Vec::new();
        let (spec, conf) = (&self.config.spec, &self.config.instances);
        let mut alike: BTreeMap<_, Vec<&InstanceSpec>> = BTreeMap::new();
        for (b, at) in spec.instances.iter().zip(conf) {
            let before = alike.entry((b.link, b.vrid)).or_default();
            let interface = spec.links.get(b.link.0).map_or("", String::as_str);
            let message = before.iter().find_map(|a| advert::collision(a, b, interface));
            found.extend(message.map(|message| (at.span, message)));
            before.push(b);
        }
        for (span, message) in found {
            self.fault(span, message);
        }
    }

    fn hooks(&mut self, raw: &HooksRaw) {
        let spec = &self.config.spec;
        let instance = spec.instances.find(|instance| instance.name == raw.name);
        let group = spec.groups.find(|group| group.name == raw.name);
        let place = match (instance, group) {
            (Some(_), Some(_)) => {
                let message = format!(
                    "hooks {0}: there are both a vrrp_instance and a vrrp_sync_group {0}; give one of \
                     them another name",
                    raw.name
                );
                return self.error(raw.span, message);
            }
            (None, Some(group)) => return self.group_hooks(raw, group),
            (Some(place), None) => place,
            (None, None) => return self.hooks_for_nobody(raw),
        };
        if raw.mount.is_some() {
            self.gate(raw, place);
        } else {
            self.ungated(raw);
        }
        self.check_hook(raw, &[place]);
        let hooks = Self::hooks_conf(raw);
        if let Some(conf) = self.config.instances.get_mut(place) {
            conf.hooks = Some(Box::new(hooks));
        }
    }

    fn hooks_conf(raw: &HooksRaw) -> Hooks {
        Hooks {
            group: None,
            mount: raw.mount.as_ref().map(|mount| MountHook {
                script: raw.script(mount.path.as_deref(), "mount.sh", mount.span),
            }),
            notify: raw.notify.as_ref().map(|notify| NotifyHook {
                script: raw.script(notify.path.as_deref(), "notify.sh", notify.span),
                timeout: notify.timeout,
            }),
            env: raw.env.clone(),
            accept_legacy_mount: raw.accept_legacy_mount,
            span: raw.span,
        }
    }

    fn hooks_for_nobody(&mut self, raw: &HooksRaw) {
        // An instance that was left out for an error of its own has been named already.
        if self.raw.instances.iter().any(|instance| instance.name == raw.name) {
            return;
        }
        let groups = self.raw.groups.iter().map(|group| group.name.as_str());
        let names = self.raw.instances.iter().map(|instance| instance.name.as_str()).chain(groups);
        let suggestion = suggest::nearest(&raw.name, names).map(str::to_owned);
        let message = format!(
            "hooks {}: there is no vrrp_instance or vrrp_sync_group of that name",
            raw.name
        );
        let severity = Severity::Error;
        self.diagnostics.push(Diagnostic { span: raw.span, severity, message, suggestion });
    }

    fn gate(&mut self, raw: &HooksRaw, place: InstanceId) {
        let (Some(mount), Some(instance)) = (&raw.mount, self.config.spec.instances.get_mut(place))
        else {
            return;
        };
        let peer_count = match &instance.destination {
            Destination::Group(_) => None,
            Destination::Peers { peers, .. } => Some(peers.len()),
        };
        // Of a group nobody knows how many there are, unless it is said.
        let nodes = peer_count.map_or(raw.nodes.map_or(2, |at| at.value), |count| count + 1);
        instance.gate = Some(GateSpec {
            timeout: mount.timeout,
            probe: mount.probe,
            handover_wait: raw.handover_wait.map_or(HANDOVER_WAIT, |at| at.value),
            peers_glha: raw.peers_glha.is_some_and(|at| at.value),
            is_pair: nodes <= 2,
            reboot_on_failure: raw.reboot.is_some_and(|at| at.value),
        });
        let written = instance.preempt;
        instance.preempt = Self::gated_preempt(raw);
        let name = instance.name.clone();
        self.proof_of_release(raw, peer_count, nodes);
        let nopreempt = self.raw.instances.iter().find(|other| other.name == name);
        if let (Preempt::Never, None, Some(span)) =
            (written, raw.preempt, nopreempt.and_then(|instance| instance.nopreempt))
        {
            let message = format!(
                "({0}) with a mount hook `preempt weakened` holds: a healthy master keeps the \
                 storage, one whose checks failed is preempted; write `preempt never` in `hooks \
                 {0}` to have nopreempt as keepalived has it",
                raw.name
            );
            self.say(Severity::Note, span, message);
        }
        let user = self.raw.global.conf.script_user.as_ref();
        if let Some(user) = user.filter(|user| !matches!(user.user.as_str(), "root" | "0")) {
            let message = format!(
                "the mount hook runs as script_user '{}', who as a rule must not mount",
                user.user
            );
            self.say(Severity::Warning, mount.span, message);
        }
    }

    /// A priority 0 proves that its sender holds nothing (design 4.3). Of a third node, which is silent
    /// while it is backup, it says nothing: so it is no proof among three, and a hook that has no other
    /// would never mount, or both of two that follow the same master would.
    fn proof_of_release(&mut self, raw: &HooksRaw, peer_count: Option<usize>, nodes: usize) {
        if let (Some(stated), Some(count)) = (raw.nodes, peer_count)
            && stated.value != count + 1
        {
            let message = format!(
                "peers glha {}: {} unicast_peer and this one make {} nodes",
                stated.value,
                count,
                count + 1
            );
            self.say(Severity::Error, stated.span, message);
        }
        let Some(is_glha) = raw.peers_glha.filter(|at| at.value && nodes > 2) else { return };
        let has = |key: &str, value: &str| {
            raw.env.iter().rev().find(|(k, _)| k == key).is_some_and(|(_, v)| v == value)
        };
        let unguarded = if has("GUARD", "none") {
            "GUARD none"
        } else if has("GUARD", "fence") && has("FENCE_WHEN", "unproven") {
            "FENCE_WHEN unproven"
        } else {
            return;
        };
        let message = format!(
            "({}) {unguarded} rests on the proof that a priority 0 gives, and among {nodes} nodes it \
             gives none: it says that its sender holds nothing, and nothing of a third node; use a \
             guard that asks the storage itself (GUARD mmp, scsi-pr), or fence always",
            raw.name
        );
        self.say(Severity::Error, is_glha.span, message);
    }

    fn ungated(&mut self, raw: &HooksRaw) {
        let settings = [
            ("handover_wait", raw.handover_wait.map(|at| at.span)),
            ("preempt", raw.preempt.map(|at| at.span)),
            ("peers", raw.peers_glha.map(|at| at.span)),
        ];
        for (name, span) in settings {
            if let Some(span) = span {
                let message = format!("{name}: no effect without a mount hook in this block");
                self.say(Severity::Warning, span, message);
            }
        }
    }

    fn unused_scripts(&mut self) {
        for script in unused(self.raw) {
            let message =
                format!("vrrp_script {} is tracked by no instance and never runs", script.name);
            self.say(Severity::Note, script.span, message);
        }
    }
}

/// The addresses of an instance.
struct Addresses {
    /// Those in adverts.
    advertised: Vec<Address>,
    /// Those that are only set.
    excluded: Vec<Address>,
    /// All of them, in this order, for the shell.
    all: Vec<Arc<VirtualAddress>>,
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// What is tracked without a weight: its failure is a fault.
const NO_WEIGHT: Weight = Weight { value: 0, reverse: false };

/// `state MASTER` without a priority makes an instance the owner of its addresses.
fn priority(raw: &InstanceRaw) -> u8 {
    match (raw.priority, raw.master) {
        (Some(priority), _) => priority.value,
        (None, Some(At { value: true, .. })) => 255,
        (None, _) => PRIORITY,
    }
}

/// What the instance says, else what `global_defs` say.
fn either(own: Option<bool>, global: Option<bool>) -> bool {
    own.or(global).unwrap_or_default()
}

fn garp(global: &GarpRaw, own: &GarpRaw) -> GarpSpec {
    let default = GarpSpec::default();
    let repeat = global.repeat.unwrap_or(default.repeat);
    let delay = global.delay.unwrap_or(default.delay);
    let global_lower_repeat = global.lower_prio_repeat.unwrap_or(repeat);
    let global_lower_delay = global.lower_prio_delay.unwrap_or(delay);
    let (extra, extra_all) = own.extra.or(global.extra).unwrap_or_default();
    GarpSpec {
        repeat: own.repeat.unwrap_or(repeat),
        delay: own.delay.unwrap_or(delay),
        lower_prio_repeat: own.lower_prio_repeat.unwrap_or(global_lower_repeat),
        lower_prio_delay: own.lower_prio_delay.unwrap_or(global_lower_delay),
        refresh: own.refresh.or(global.refresh).unwrap_or(default.refresh),
        refresh_repeat: own.refresh_repeat.or(global.refresh_repeat).unwrap_or(1),
        interval: global.interval.unwrap_or(default.interval),
        na_interval: global.na_interval.unwrap_or(default.na_interval),
        extra,
        extra_all,
    }
}
