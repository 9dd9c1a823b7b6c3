//! keepalived.json: keys, types and order of keepalived 2.2.7. The password is masked.

use serde::Serialize;

use super::{Entry, MASK, View, Vip, command};
use crate::core::receive::auth_fields;
use crate::core::spec::{Auth, Preempt, TrackCheck, Version};
use crate::core::stats::Stats;

#[derive(Serialize)]
struct Element<'a> {
    data: Data<'a>,
    stats: Counters,
}

#[derive(Serialize)]
struct Data<'a> {
    iname: &'a str,
    dont_track_primary: u8,
    skip_check_adv_addr: u8,
    strict_mode: u8,
    vmac_ifname: &'a str,
    ifp_ifname: &'a str,
    master_priority: u8,
    /// Seconds since the start of 1970, UTC.
    last_transition: f64,
    garp_delay: u64,
    garp_refresh: u64,
    garp_rep: u32,
    garp_refresh_rep: u32,
    garp_lower_prio_delay: u64,
    garp_lower_prio_rep: u32,
    lower_prio_no_advert: u8,
    higher_prio_send_advert: u8,
    vrid: u8,
    base_priority: u8,
    effective_priority: u8,
    vipset: bool,
    promote_secondaries: bool,
    adver_int: u64,
    master_adver_int: u64,
    accept: u8,
    nopreempt: bool,
    preempt_delay: u64,
    state: u8,
    wantstate: u8,
    version: u8,
    smtp_alert: bool,
    notify_deleted: bool,
    #[serde(flatten)]
    scripts: Scripts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vroutes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vrules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_ifp: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_script: Vec<String>,
    auth_type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_data: Option<&'static str>,
}

#[derive(Serialize)]
struct Scripts {
    #[serde(skip_serializing_if = "Option::is_none")]
    script_backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_master: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_master_rx_lower_pri: Option<String>,
}

#[derive(Serialize)]
struct Counters {
    advert_rcvd: u64,
    advert_sent: u64,
    become_master: u64,
    release_master: u64,
    packet_len_err: u64,
    advert_interval_err: u64,
    ip_ttl_err: u64,
    invalid_type_rcvd: u64,
    addr_list_err: u64,
    invalid_authtype: u64,
    authtype_mismatch: u64,
    auth_failure: u64,
    pri_zero_rcvd: u64,
    pri_zero_sent: u64,
}

/// The array of all instances, and a newline.
pub fn text(view: &View<'_>) -> String {
    let element = |entry: Entry<'_>| {
        let element = Element { data: data(view, &entry), stats: counters(&entry.instance.stats) };
        // Keys are strings and no number is infinite: it cannot fail.
        serde_json::to_string(&element).unwrap_or_default()
    };
    let elements: Vec<String> = view.entries().map(element).collect();
    format!("[{}]\n", elements.join(","))
}

fn data<'a>(view: &'a View<'_>, entry: &Entry<'a>) -> Data<'a> {
    let instance = entry.instance;
    let spec = &instance.spec;
    let interval = spec.advert_interval.as_secs();
    let vmac = entry.conf.vmac.as_deref();
    let since = instance.state_since.map_or(0, |at| view.clocks.wall_at(at).as_micros());
    let texts = |vips: &mut dyn Iterator<Item = Vip<'_>>| vips.map(|vip| vip.text()).collect();
    Data {
        iname: &spec.name,
        dont_track_primary: spec.dont_track_primary.into(),
        skip_check_adv_addr: spec.skip_check_adv_addr.into(),
        strict_mode: 0,
        vmac_ifname: vmac.unwrap_or_default(),
        ifp_ifname: vmac.unwrap_or_else(|| view.link(spec.link)),
        master_priority: entry.master_priority(),
        last_transition: since as f64 / 1e6,
        garp_delay: spec.garp.delay.as_secs(),
        garp_refresh: spec.garp.refresh.as_secs(),
        garp_rep: spec.garp.repeat,
        garp_refresh_rep: spec.garp.refresh_repeat,
        garp_lower_prio_delay: spec.garp.lower_prio_delay.as_secs(),
        garp_lower_prio_rep: spec.garp.lower_prio_repeat,
        lower_prio_no_advert: spec.lower_prio_no_advert.into(),
        higher_prio_send_advert: spec.higher_prio_send_advert.into(),
        vrid: spec.vrid,
        base_priority: spec.priority,
        effective_priority: instance.priority(),
        vipset: entry.instance.phase.may_have_addresses(),
        promote_secondaries: entry.conf.promote_secondaries,
        adver_int: interval,
        master_adver_int: interval,
        accept: u8::from(!entry.conf.no_accept),
        nopreempt: spec.preempt == Preempt::Never,
        preempt_delay: spec.preempt_delay.as_secs(),
        state: number(instance.phase.state()),
        wantstate: number(entry.wanted_state()),
        version: if spec.version == Version::V2 { 2 } else { 3 },
        smtp_alert: false,
        notify_deleted: spec.notifies_deleted,
        scripts: scripts(entry),
        vips: texts(&mut entry.vips()),
        evips: texts(&mut entry.excluded()),
        vroutes: entry.conf.routes.iter().map(ToString::to_string).collect(),
        vrules: entry.conf.rules.iter().map(ToString::to_string).collect(),
        track_ifp: spec.track_links.iter().map(|&(link, _)| view.link(link)).collect(),
        track_script: spec.track_checks.iter().map(|track| tracked(view, track)).collect(),
        auth_type: auth_fields(spec.auth).0,
        auth_data: (spec.auth != Auth::None).then_some(MASK),
    }
}

fn scripts(entry: &Entry<'_>) -> Scripts {
    let conf = entry.conf;
    Scripts {
        script_backup: conf.notify.backup.as_deref().map(command),
        script_master: conf.notify.master.as_deref().map(command),
        script_fault: conf.notify.fault.as_deref().map(command),
        script_stop: conf.notify.stop.as_deref().map(command),
        script: conf.notify.every.as_deref().map(command),
        script_master_rx_lower_pri: conf.notify.lower_priority.as_deref().map(command),
    }
}

fn tracked(view: &View<'_>, track: &TrackCheck) -> String {
    view.config.checks.get(track.check).map_or_else(String::new, |conf| command(&conf.script))
}

/// keepalived's number of a state. It has none for the end, which is not watched.
fn number(state: &str) -> u8 {
    match state {
        "BACKUP" => 1,
        "MASTER" => 2,
        "FAULT" => 3,
        _ => 0,
    }
}

const fn counters(stats: &Stats) -> Counters {
    Counters {
        advert_rcvd: stats.adverts_received,
        advert_sent: stats.adverts_sent,
        become_master: stats.became_master,
        release_master: stats.released_master,
        packet_len_err: stats.length_errors,
        advert_interval_err: stats.interval_errors,
        ip_ttl_err: stats.ttl_errors,
        invalid_type_rcvd: stats.type_errors,
        addr_list_err: stats.address_list_errors,
        invalid_authtype: stats.auth_type_errors,
        authtype_mismatch: stats.auth_mismatches,
        auth_failure: stats.auth_failures,
        pri_zero_rcvd: stats.priority_zero_received,
        pri_zero_sent: stats.priority_zero_sent,
    }
}
