//! `global_defs`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::lex::Statement;
use super::super::{BeatKind, Global};
use super::daemon::{self, DaemonRaw};
use super::instance::{ANY_SECONDS, GARP_ROUNDS, GARP_SECONDS};
use super::link::LinkDelayRaw;
use super::{
    At, Idle, Keyword, Reader, block, firewall, flag, idle, interface, line, loose, number, path,
    reset, rounds, silent, switch, time, user,
};
use crate::core::spec::{Family, Version};

/// `global_defs`, and the settings of the top level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobalRaw {
    /// What goes into the configuration as it is.
    pub conf: Global,
    /// `router_id`.
    pub router_id: Option<String>,
    /// `vrrp_owner_ignore_adverts`.
    pub owner_ignores_adverts: Option<bool>,
    /// `default_interface`.
    pub default_interface: Option<At<String>>,
    /// `interface_up_down_delays`.
    pub link_delays: Vec<LinkDelayRaw>,
    /// `linkbeat_use_polling` at the top level.
    pub polls_all_links: bool,
    /// `linkbeat_interfaces`.
    pub linkbeats: Vec<(At<String>, Option<BeatKind>)>,
    /// `vrrp_version`, for IPv4.
    pub version: Option<Version>,
    /// `vrrp_mcast_group4`.
    pub group4: Option<IpAddr>,
    /// `vrrp_mcast_group6`.
    pub group6: Option<IpAddr>,
    /// `vrrp_check_unicast_src`.
    pub check_source: bool,
    /// `v3_checksum_as_v2`.
    pub v3_checksum_as_v2: Option<bool>,
    /// `vrrp_garp_*`, `vrrp_min_garp`.
    pub garp: GarpRaw,
    /// `vmac_prefix`.
    pub vmac_prefix: Option<At<String>>,
    /// `vmac_addr_prefix`.
    pub vmac_addr_prefix: Option<At<String>>,
    /// `vrrp_down_timer_adverts`.
    pub down_timer_adverts: Option<u32>,
    /// `vrrp_lower_prio_no_advert`.
    pub lower_prio_no_advert: Option<bool>,
    /// `vrrp_higher_prio_send_advert`.
    pub higher_prio_send_advert: Option<bool>,
    /// `vrrp_skip_check_adv_addr`.
    pub skip_check_adv_addr: bool,
    /// `vrrp_strict`.
    pub strict: bool,
    /// `smtp_alert`.
    pub smtp_alert: Option<bool>,
    /// `smtp_alert_vrrp`.
    pub smtp_alert_vrrp: Option<bool>,
    /// `vrrp_notify_priority_changes`.
    pub notify_priority_changes: Option<bool>,
    /// `data_use_instance`.
    pub dumps_use_instance: Option<bool>,
    /// What concerns the daemon's own process.
    pub daemon: DaemonRaw,
}

/// Settings of gratuitous ARP, of `global_defs` or of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GarpRaw {
    /// `garp_master_repeat`.
    pub repeat: Option<u32>,
    /// `garp_master_delay`.
    pub delay: Option<Duration>,
    /// `garp_lower_prio_repeat`.
    pub lower_prio_repeat: Option<u32>,
    /// `garp_lower_prio_delay`.
    pub lower_prio_delay: Option<Duration>,
    /// `garp_master_refresh`.
    pub refresh: Option<Duration>,
    /// `garp_master_refresh_repeat`.
    pub refresh_repeat: Option<u32>,
    /// `vrrp_garp_interval`.
    pub interval: Option<Duration>,
    /// `vrrp_gna_interval`.
    pub na_interval: Option<Duration>,
    /// `garp_extra_if`: the period, and whether `all` was written.
    pub extra: Option<(Duration, bool)>,
}

pub(super) const KEYWORDS: &[Keyword<GlobalRaw>] = &[
    line("router_id", router_id),
    block("notification_email", notification_email),
    line("notification_email_from", |reader, statement, global| {
        global.conf.mail.from = mail_setting(reader, statement);
    }),
    line("smtp_server", |reader, statement, global| {
        global.conf.mail.server = mail_server(reader, statement);
    }),
    idle("smtp_connect_timeout", Idle::Mail),
    idle("smtp_helo_name", Idle::Mail),
    idle("email_faults", Idle::Mail),
    flag("no_email_faults", |global| &mut global.conf.mail.no_faults),
    switch("smtp_alert", |global| &mut global.smtp_alert),
    switch("smtp_alert_vrrp", |global| &mut global.smtp_alert_vrrp),
    user("script_user", |global| &mut global.conf.script_user),
    flag("enable_script_security", |global| &mut global.conf.script_security),
    line("umask", umask),
    line("dynamic_interfaces", dynamic_interfaces),
    time("vrrp_startup_delay", STARTUP_MICROS, |global| &mut global.conf.startup_delay),
    time("vrrp_delay_after_boot", BOOT_MICROS, |global| &mut global.conf.delay_after_boot),
    switch("vrrp_owner_ignore_adverts", |global| &mut global.owner_ignores_adverts),
    interface("default_interface", |global| &mut global.default_interface),
    flag("log_unknown_vrids", |global| &mut global.conf.log_unknown_vrids),
    reset("vrrp_priority", -20..=19, |global| &mut global.conf.nice),
    line("vrrp_rt_priority", rt_priority),
    flag("vrrp_no_swap", |global| &mut global.conf.no_swap),
    line("vrrp_version", |reader, statement, global| {
        global.version = reader.version(statement).map(|at| at.value).or(global.version);
    }),
    line("vrrp_mcast_group4", |reader, statement, global| {
        global.group4 = reader.global_group(statement, Family::V4).or(global.group4);
    }),
    line("vrrp_mcast_group6", |reader, statement, global| {
        global.group6 = reader.global_group(statement, Family::V6).or(global.group6);
    }),
    flag("vrrp_check_unicast_src", |global| &mut global.check_source),
    switch("v3_checksum_as_v2", |global| &mut global.v3_checksum_as_v2),
    loose("vrrp_garp_master_delay", GARP_SECONDS, |global| &mut global.garp.delay),
    rounds("vrrp_garp_master_repeat", |global| &mut global.garp.repeat),
    loose("vrrp_garp_lower_prio_delay", GARP_SECONDS, |global| &mut global.garp.lower_prio_delay),
    loose("vrrp_garp_lower_prio_repeat", GARP_ROUNDS, |global| &mut global.garp.lower_prio_repeat),
    reset("vrrp_garp_master_refresh", ANY_SECONDS, |global| &mut global.garp.refresh),
    rounds("vrrp_garp_master_refresh_repeat", |global| &mut global.garp.refresh_repeat),
    time("vrrp_garp_interval", PAUSE_MICROS, |global| &mut global.garp.interval),
    time("vrrp_gna_interval", PAUSE_MICROS, |global| &mut global.garp.na_interval),
    line("vrrp_min_garp", min_garp),
    loose("vrrp_down_timer_adverts", 1..=100, |global| &mut global.down_timer_adverts),
    switch("vrrp_lower_prio_no_advert", |global| &mut global.lower_prio_no_advert),
    switch("vrrp_higher_prio_send_advert", |global| &mut global.higher_prio_send_advert),
    flag("vrrp_skip_check_adv_addr", |global| &mut global.skip_check_adv_addr),
    flag("vrrp_strict", |global| &mut global.strict),
    line("vrrp_garp_extra_if", |reader, statement, global| {
        reader.garp_extra(statement, 1, &mut global.garp);
    }),
    line("vrrp_vmac_garp_intvl", |reader, statement, global| {
        reader.deprecated(statement, "vrrp_garp_extra_if");
        reader.garp_extra(statement, 1, &mut global.garp);
    }),
    line("notify_fifo", |reader, statement, global| {
        daemon::fifo(reader, statement, &mut global.daemon.fifo);
    }),
    line("notify_fifo_script", |reader, statement, global| {
        daemon::fifo_script(reader, statement, &mut global.daemon.fifo);
    }),
    line("vrrp_notify_fifo", |reader, statement, global| {
        daemon::fifo(reader, statement, &mut global.daemon.vrrp_fifo);
    }),
    line("vrrp_notify_fifo_script", |reader, statement, global| {
        daemon::fifo_script(reader, statement, &mut global.daemon.vrrp_fifo);
    }),
    flag("fifo_write_vrrp_states_on_reload", |global| {
        &mut global.conf.daemon.fifo_states_on_reload
    }),
    switch("vrrp_notify_priority_changes", |global| &mut global.notify_priority_changes),
    line("startup_script", |reader, statement, global| {
        daemon::edge(reader, statement, &mut global.daemon.startup, "startup script");
    }),
    number("startup_script_timeout", 1..=1000, |global| &mut global.daemon.startup.timeout),
    line("shutdown_script", |reader, statement, global| {
        daemon::edge(reader, statement, &mut global.daemon.shutdown, "shutdown script");
    }),
    number("shutdown_script_timeout", 1..=1000, |global| &mut global.daemon.shutdown.timeout),
    line("vmac_prefix", |reader, statement, global| {
        global.vmac_prefix = reader.vmac_prefix(statement).or(global.vmac_prefix.take());
    }),
    line("vmac_addr_prefix", |reader, statement, global| {
        global.vmac_addr_prefix = reader.vmac_prefix(statement).or(global.vmac_addr_prefix.take());
    }),
    idle("disable_local_igmp", Idle::Unused),
    idle("iproute_usr_dir", Idle::Unused),
    idle("iproute_etc_dir", Idle::Unused),
    idle("set_supplementary_groups", Idle::Unused),
    idle("use_symlink_paths", Idle::Unused),
    idle("process_names", Idle::Names),
    idle("process_name", Idle::Names),
    idle("vrrp_process_name", Idle::Names),
    idle("vrrp_cpu_affinity", Idle::Scheduling),
    idle("vrrp_rlimit_rttime", Idle::Scheduling),
    idle("vrrp_rlimit_rtime", Idle::Scheduling),
    idle("max_auto_priority", Idle::Scheduling),
    idle("min_auto_priority_delay", Idle::Scheduling),
    idle("vrrp_netlink_cmd_rcv_bufs", Idle::Buffers),
    idle("vrrp_netlink_cmd_rcv_bufs_force", Idle::Buffers),
    idle("vrrp_netlink_monitor_rcv_bufs", Idle::Buffers),
    idle("vrrp_netlink_monitor_rcv_bufs_force", Idle::Buffers),
    idle("process_monitor_rcv_bufs", Idle::Buffers),
    idle("process_monitor_rcv_bufs_force", Idle::Buffers),
    idle("vrrp_rx_bufs_policy", Idle::Buffers),
    idle("vrrp_rx_bufs_multiplier", Idle::Buffers),
    idle("snmp_socket", Idle::Snmp),
    idle("enable_traps", Idle::Snmp),
    idle("enable_snmp_vrrp", Idle::Snmp),
    idle("enable_snmp_keepalived", Idle::Snmp),
    idle("enable_snmp_checker", Idle::Snmp),
    idle("enable_snmp_rfc", Idle::Snmp),
    idle("enable_snmp_rfcv2", Idle::Snmp),
    idle("enable_snmp_rfcv3", Idle::Snmp),
    idle("snmp_vs_stats_update_interval", Idle::Snmp),
    idle("snmp_rs_stats_update_interval", Idle::Snmp),
    idle("enable_dbus", Idle::Dbus),
    idle("dbus_service_name", Idle::Dbus),
    idle("dbus_no_interface_name", Idle::Dbus),
    line("vrrp_iptables", firewall::iptables),
    line("vrrp_ipsets", firewall::iptables),
    line("nftables", firewall::nftables),
    line("nftables_priority", firewall::nftables_priority),
    // Link-local addresses always go by the index of their interface.
    silent("nftables_ifindex"),
    flag("nftables_counters", |global| &mut global.conf.firewall.has_counters),
    idle("nftables_ipvs", Idle::Lvs),
    idle("nftables_ipvs_priority", Idle::Lvs),
    idle("nftables_ipvs_start_fwmark", Idle::Lvs),
    idle("lvs_sync_daemon", Idle::Lvs),
    idle("lvs_timeouts", Idle::Lvs),
    idle("lvs_flush", Idle::Lvs),
    idle("lvs_flush_on_stop", Idle::Lvs),
    idle("lvs_flush_onstop", Idle::Lvs),
    idle("lvs_notify_fifo", Idle::Lvs),
    idle("lvs_notify_fifo_script", Idle::Lvs),
    idle("lvs_process_name", Idle::Lvs),
    idle("lvs_netlink_cmd_rcv_bufs", Idle::Lvs),
    idle("lvs_netlink_cmd_rcv_bufs_force", Idle::Lvs),
    idle("lvs_netlink_monitor_rcv_bufs", Idle::Lvs),
    idle("lvs_netlink_monitor_rcv_bufs_force", Idle::Lvs),
    idle("smtp_alert_checker", Idle::Checkers),
    idle("checker_log_all_failures", Idle::Checkers),
    idle("no_checker_emails", Idle::Checkers),
    idle("rs_init_notifies", Idle::Checkers),
    idle("checker_process_name", Idle::Checkers),
    idle("checker_priority", Idle::Checkers),
    idle("checker_no_swap", Idle::Checkers),
    idle("checker_rt_priority", Idle::Checkers),
    idle("checker_cpu_affinity", Idle::Checkers),
    idle("checker_rlimit_rttime", Idle::Checkers),
    idle("checker_rlimit_rtime", Idle::Checkers),
    idle("bfd_process_name", Idle::Checkers),
    idle("bfd_priority", Idle::Checkers),
    idle("bfd_no_swap", Idle::Checkers),
    idle("bfd_rt_priority", Idle::Checkers),
    idle("bfd_cpu_affinity", Idle::Checkers),
    idle("bfd_rlimit_rttime", Idle::Checkers),
    idle("bfd_rlimit_rtime", Idle::Checkers),
    silent("reload_check_config"),
    path("reload_time_file", |global| &mut global.conf.daemon.reload_time_file),
    flag("reload_repeat", |global| &mut global.conf.daemon.reload_repeat),
    line("reload_file", |reader, statement, global| {
        daemon::reload_file(reader, statement, &mut global.conf.daemon.reload_file);
    }),
    silent("random_seed"),
    silent("include_check"),
    idle("config_save_dir", Idle::Files),
    idle("tmp_config_directory", Idle::Files),
    switch("data_use_instance", |global| &mut global.dumps_use_instance),
    path("state_dump_file", |global| &mut global.conf.daemon.dumps.data),
    path("stats_dump_file", |global| &mut global.conf.daemon.dumps.stats),
    path("json_dump_file", |global| &mut global.conf.daemon.dumps.json),
    path("state_file_location", |global| &mut global.conf.daemon.dumps.data),
    path("stats_file_location", |global| &mut global.conf.daemon.dumps.stats),
    path("json_file_location", |global| &mut global.conf.daemon.dumps.json),
    idle("json_version", Idle::Files),
];

/// What keepalived takes for a delay of the start.
const STARTUP_MICROS: RangeInclusive<u64> = 1_000..=u32::MAX as u64;
/// The same of a delay that counts from the boot.
const BOOT_MICROS: RangeInclusive<u64> = 0..=4_294_000_000;
/// The same of a pause between announcements; it does not take zero, though its own sample file has it.
const PAUSE_MICROS: RangeInclusive<u64> = 1..=u32::MAX as u64;

fn router_id(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    match (statement.words.first(), statement.words.get(1)) {
        (Some(_), Some(id)) => global.router_id = Some(id.text.clone()),
        (Some(keyword), None) => reader.fault(keyword.span, "routerid name missing - ignoring"),
        (None, _) => {}
    }
}

fn mail_setting(reader: &mut Reader, statement: &Statement) -> Option<String> {
    let keyword = statement.words.first()?;
    reader.idle(keyword, Idle::Mail);
    if statement.words.len() < 2 {
        reader.fault(keyword.span, "emailfrom missing - ignoring");
        return None;
    }
    reader.value(statement).map(|word| word.text.clone())
}

/// `smtp_server HOST [PORT]`.
fn mail_server(reader: &mut Reader, statement: &Statement) -> Option<String> {
    let keyword = statement.words.first()?;
    reader.idle(keyword, Idle::Mail);
    let Some(host) = statement.words.get(1) else {
        reader.missing(keyword, 2);
        return None;
    };
    Some(match statement.words.get(2) {
        Some(port) => format!("{} {}", host.text, port.text),
        None => host.text.clone(),
    })
}

fn notification_email(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    let Some(keyword) = statement.words.first() else { return };
    reader.idle(keyword, Idle::Mail);
    let lines = reader.lines(statement);
    if lines.is_empty() {
        reader.fault(keyword.span, "Warning - empty notification_email block");
    }
    let addresses = lines.iter().filter_map(|line| line.words.first());
    global.conf.mail.to.extend(addresses.map(|word| word.text.clone()));
}

fn dynamic_interfaces(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    global.conf.dynamic_interfaces = true;
    if let Some(word) = statement.words.get(1)
        && word.text != "allow_if_changes"
    {
        reader.fault(word.span, format!("Unknown dynamic_interfaces option '{}'", word.text));
    }
}

/// Highest real-time priority of Linux.
const RT_PRIORITY_MAX: u8 = 99;

fn rt_priority(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    let Some(word) = reader.value(statement) else { return };
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let otherwise = "'vrrp_rt_priority' is ignored";
    let Some(priority) = reader.leading_number(word, range, otherwise) else { return };
    let fits = priority.clamp(1, RT_PRIORITY_MAX.into());
    if fits != priority {
        let (how, which) =
            if fits > priority { ("less", "minimum") } else { ("greater", "maximum") };
        let message = format!(
            "vrrp process real-time priority {priority} {how} than {which} {fits} - setting to {which}"
        );
        reader.fault(word.span, message);
    }
    global.conf.rt_priority = u8::try_from(fits).ok();
}

/// One announcement and no second burst, where nothing else was said above.
fn min_garp(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    if reader.switch(statement) == Some(true) {
        let garp = &mut global.garp;
        garp.repeat.get_or_insert(1);
        garp.delay.get_or_insert(Duration::ZERO);
        garp.lower_prio_repeat.get_or_insert(1);
        garp.lower_prio_delay.get_or_insert(Duration::ZERO);
    }
}

/// A number as C writes them, or names of mode bits joined by `|`, with blanks or without.
fn umask(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    let Some((keyword, words)) = statement.words.split_first() else { return };
    let Some(word) = words.first() else {
        reader.missing(keyword, 2);
        return;
    };
    let text: String = words.iter().map(|word| word.text.as_str()).collect();
    let mask = if word.text.starts_with(|c: char| c.is_ascii_digit()) {
        if let Some(extra) = words.get(1) {
            reader.fault(extra.span, "Extra parameter(s) to umask option");
        }
        umask_number(&word.text)
    } else {
        umask_bits(&text)
    };
    match mask {
        Some(mask) => global.conf.umask = Some(mask),
        None => reader.fault(word.span, format!("invalid umask value {text}")),
    }
}

fn umask_number(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = match (hex, text.strip_prefix('0')) {
        (Some(hex), _) => u32::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8),
        _ => text.parse(),
    };
    number.ok().filter(|&mask| mask <= 0o777)
}

/// `IRUSR|IWGRP` and so on.
fn umask_bits(text: &str) -> Option<u32> {
    let mut mask = 0;
    for name in text.split('|') {
        mask |= match name.trim() {
            "IRUSR" => 0o400,
            "IWUSR" => 0o200,
            "IXUSR" => 0o100,
            "IRGRP" => 0o040,
            "IWGRP" => 0o020,
            "IXGRP" => 0o010,
            "IROTH" => 0o004,
            "IWOTH" => 0o002,
            "IXOTH" => 0o001,
            "IRWXU" => 0o700,
            "IRWXG" => 0o070,
            "IRWXO" => 0o007,
            _ => return None,
        };
    }
    Some(mask)
}
