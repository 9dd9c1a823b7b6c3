//! `global_defs`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::diagnostic::Severity;
use super::super::lex::Statement;
use super::super::{BeatKind, FirewallConf, GarpGroup, Mail, User};
use super::daemon::{self, DaemonRaw};
use super::link::LinkDelayRaw;
use super::{At, Idle, Keyword, Reader, block, firewall, idle, line, silent};
use crate::core::spec::{Family, Version};

/// `global_defs`, and the settings of the top level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobalRaw {
    /// `router_id`.
    pub router_id: Option<String>,
    /// `notification_email` and its like.
    pub mail: Mail,
    /// `script_user`.
    pub script_user: Option<User>,
    /// `enable_script_security`.
    pub script_security: bool,
    /// `umask`.
    pub umask: Option<u32>,
    /// `dynamic_interfaces`.
    pub dynamic_interfaces: bool,
    /// `vrrp_startup_delay`.
    pub startup_delay: Duration,
    /// `vrrp_delay_after_boot`.
    pub delay_after_boot: Duration,
    /// `vrrp_owner_ignore_adverts`.
    pub owner_ignores_adverts: bool,
    /// `default_interface`.
    pub default_interface: Option<At<String>>,
    /// `garp_group`.
    pub garp_groups: Vec<GarpGroup>,
    /// The interfaces of these two, which have to be there.
    pub interfaces: Vec<At<String>>,
    /// `interface_up_down_delays`.
    pub link_delays: Vec<LinkDelayRaw>,
    /// `linkbeat_use_polling` at the top level.
    pub polls_all_links: bool,
    /// `linkbeat_interfaces`.
    pub linkbeats: Vec<(At<String>, Option<BeatKind>)>,
    /// `log_unknown_vrids`.
    pub log_unknown_vrids: bool,
    /// `use_pid_dir`.
    pub use_pid_dir: bool,
    /// `vrrp_priority`.
    pub nice: Option<i8>,
    /// `vrrp_rt_priority`.
    pub rt_priority: Option<u8>,
    /// `vrrp_no_swap`.
    pub no_swap: bool,
    /// `vrrp_version`, for IPv4.
    pub version: Option<Version>,
    /// `vrrp_mcast_group4`.
    pub group4: Option<IpAddr>,
    /// `vrrp_mcast_group6`.
    pub group6: Option<IpAddr>,
    /// `vrrp_check_unicast_src`.
    pub check_source: bool,
    /// `v3_checksum_as_v2`.
    pub v3_checksum_as_v2: bool,
    /// `vrrp_garp_*`, `vrrp_min_garp`.
    pub garp: GarpRaw,
    /// `vmac_prefix`.
    pub vmac_prefix: Option<At<String>>,
    /// `vmac_addr_prefix`.
    pub vmac_addr_prefix: Option<At<String>>,
    /// `vrrp_down_timer_adverts`.
    pub down_timer_adverts: Option<u32>,
    /// `vrrp_lower_prio_no_advert`.
    pub lower_prio_no_advert: bool,
    /// `vrrp_higher_prio_send_advert`.
    pub higher_prio_send_advert: bool,
    /// `vrrp_skip_check_adv_addr`.
    pub skip_check_adv_addr: bool,
    /// What concerns the daemon's own process.
    pub daemon: DaemonRaw,
    /// `vrrp_strict`.
    pub strict: bool,
    /// `nftables` and its like.
    pub firewall: FirewallConf,
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
        global.mail.from = mail_setting(reader, statement);
    }),
    line("smtp_server", |reader, statement, global| {
        global.mail.server = mail_server(reader, statement);
    }),
    idle("smtp_connect_timeout", Idle::Mail),
    idle("smtp_helo_name", Idle::Mail),
    idle("email_faults", Idle::Mail),
    line("no_email_faults", |reader, statement, global| {
        global.daemon.no_email_faults = reader.flag(statement);
    }),
    line("smtp_alert", |reader, statement, global| {
        global.daemon.smtp_alert = reader.switch(statement).or(global.daemon.smtp_alert);
    }),
    line("smtp_alert_vrrp", |reader, statement, global| {
        let alert = reader.switch(statement);
        global.daemon.smtp_alert_vrrp = alert.or(global.daemon.smtp_alert_vrrp);
    }),
    line("script_user", |reader, statement, global| {
        global.script_user = reader.user(statement).or(global.script_user.take());
    }),
    line("enable_script_security", |reader, statement, global| {
        global.script_security = reader.flag(statement);
    }),
    line("umask", umask),
    line("dynamic_interfaces", dynamic_interfaces),
    line("vrrp_startup_delay", |reader, statement, global| {
        let Some(word) = reader.value(statement) else { return };
        let delay = reader.timer(word, STARTUP_MICROS, "'vrrp_startup_delay' is ignored");
        global.startup_delay = delay.unwrap_or(global.startup_delay);
    }),
    line("vrrp_delay_after_boot", |reader, statement, global| {
        if let Some(delay) = reader.time_setting(statement, 0..=4294) {
            global.delay_after_boot = delay.value;
        }
    }),
    line("vrrp_owner_ignore_adverts", |reader, statement, global| {
        switch(reader, statement, &mut global.owner_ignores_adverts);
    }),
    line("default_interface", |reader, statement, global| {
        let Some(word) = reader.value(statement) else { return };
        let name = reader.interface_name(word, Severity::Fault);
        global.default_interface = name.or(global.default_interface.take());
    }),
    line("log_unknown_vrids", |reader, statement, global| {
        global.log_unknown_vrids = reader.flag(statement);
    }),
    line("vrrp_priority", |reader, statement, global| {
        global.nice = reader.setting(statement, -20..=19).map(|nice| nice.value);
    }),
    line("vrrp_rt_priority", rt_priority),
    line("vrrp_no_swap", |reader, statement, global| global.no_swap = reader.flag(statement)),
    line("vrrp_version", |reader, statement, global| {
        global.version = reader.version(statement).map(|at| at.value).or(global.version);
    }),
    line("vrrp_mcast_group4", |reader, statement, global| {
        global.group4 = reader.global_group(statement, Family::V4).or(global.group4);
    }),
    line("vrrp_mcast_group6", |reader, statement, global| {
        global.group6 = reader.global_group(statement, Family::V6).or(global.group6);
    }),
    line("vrrp_check_unicast_src", |reader, statement, global| {
        global.check_source = reader.flag(statement);
    }),
    line("v3_checksum_as_v2", |reader, statement, global| {
        switch(reader, statement, &mut global.v3_checksum_as_v2);
    }),
    line("vrrp_garp_master_delay", |reader, statement, global| {
        reader.garp_time(statement, &mut global.garp.delay);
    }),
    line("vrrp_garp_master_repeat", |reader, statement, global| {
        reader.garp_count(statement, &mut global.garp.repeat);
    }),
    line("vrrp_garp_lower_prio_delay", |reader, statement, global| {
        reader.garp_time(statement, &mut global.garp.lower_prio_delay);
    }),
    line("vrrp_garp_lower_prio_repeat", |reader, statement, global| {
        reader.garp_rounds(statement, &mut global.garp.lower_prio_repeat);
    }),
    line("vrrp_garp_master_refresh", |reader, statement, global| {
        reader.garp_refresh(statement, &mut global.garp.refresh);
    }),
    line("vrrp_garp_master_refresh_repeat", |reader, statement, global| {
        reader.garp_count(statement, &mut global.garp.refresh_repeat);
    }),
    line("vrrp_garp_interval", |reader, statement, global| {
        pause(reader, statement, &mut global.garp.interval);
    }),
    line("vrrp_gna_interval", |reader, statement, global| {
        pause(reader, statement, &mut global.garp.na_interval);
    }),
    line("vrrp_min_garp", min_garp),
    line("vrrp_down_timer_adverts", |reader, statement, global| {
        let adverts: Option<At<u32>> = reader.setting(statement, 1..=100);
        global.down_timer_adverts = adverts.map(|at| at.value).or(global.down_timer_adverts);
    }),
    line("vrrp_lower_prio_no_advert", |reader, statement, global| {
        switch(reader, statement, &mut global.lower_prio_no_advert);
    }),
    line("vrrp_higher_prio_send_advert", |reader, statement, global| {
        switch(reader, statement, &mut global.higher_prio_send_advert);
    }),
    line("vrrp_skip_check_adv_addr", |reader, statement, global| {
        global.skip_check_adv_addr = reader.flag(statement);
    }),
    line("vrrp_strict", |reader, statement, global| global.strict = reader.flag(statement)),
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
    line("fifo_write_vrrp_states_on_reload", |reader, statement, global| {
        global.daemon.fifo_states_on_reload = reader.flag(statement);
    }),
    line("vrrp_notify_priority_changes", |reader, statement, global| {
        switch(reader, statement, &mut global.daemon.notify_priority_changes);
    }),
    line("startup_script", |reader, statement, global| {
        daemon::edge(reader, statement, &mut global.daemon.startup, "startup script");
    }),
    line("startup_script_timeout", |reader, statement, global| {
        daemon::edge_timeout(reader, statement, &mut global.daemon.startup);
    }),
    line("shutdown_script", |reader, statement, global| {
        daemon::edge(reader, statement, &mut global.daemon.shutdown, "shutdown script");
    }),
    line("shutdown_script_timeout", |reader, statement, global| {
        daemon::edge_timeout(reader, statement, &mut global.daemon.shutdown);
    }),
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
    line("nftables_counters", |_, _, global| global.firewall.has_counters = true),
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
    line("reload_time_file", |reader, statement, global| {
        daemon::path(reader, statement, &mut global.daemon.reload_time_file);
    }),
    line("reload_repeat", |reader, statement, global| {
        global.daemon.reload_repeat = reader.flag(statement);
    }),
    line("reload_file", |reader, statement, global| {
        daemon::reload_file(reader, statement, &mut global.daemon.reload_file);
    }),
    silent("random_seed"),
    silent("include_check"),
    idle("config_save_dir", Idle::Files),
    idle("tmp_config_directory", Idle::Files),
    line("data_use_instance", |reader, statement, global| {
        switch(reader, statement, &mut global.daemon.dumps.use_instance);
    }),
    line("state_dump_file", state_dump),
    line("stats_dump_file", stats_dump),
    line("json_dump_file", json_dump),
    line("state_file_location", state_dump),
    line("stats_file_location", stats_dump),
    line("json_file_location", json_dump),
    idle("json_version", Idle::Files),
];

/// What keepalived takes for a delay of the start.
const STARTUP_MICROS: RangeInclusive<u64> = 1_000..=u32::MAX as u64;

fn state_dump(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    daemon::path(reader, statement, &mut global.daemon.dumps.data);
}

fn stats_dump(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    daemon::path(reader, statement, &mut global.daemon.dumps.stats);
}

fn json_dump(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    daemon::path(reader, statement, &mut global.daemon.dumps.json);
}

fn switch(reader: &mut Reader, statement: &Statement, setting: &mut bool) {
    if let Some(value) = reader.switch(statement) {
        *setting = value;
    }
}

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
    global.mail.to.extend(addresses.map(|word| word.text.clone()));
}

fn dynamic_interfaces(reader: &mut Reader, statement: &Statement, global: &mut GlobalRaw) {
    global.dynamic_interfaces = true;
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
    let Some(priority) =
        reader.number(word, 1..=i64::from(u32::MAX), "no real-time priority is set")
    else {
        return;
    };
    let fits = u8::try_from(priority).ok().filter(|&priority| priority <= RT_PRIORITY_MAX);
    if fits.is_none() {
        let message = format!(
            "vrrp process real-time priority {priority} greater than maximum {RT_PRIORITY_MAX} - \
             setting to maximum"
        );
        reader.fault(word.span, message);
    }
    global.rt_priority = Some(fits.unwrap_or(RT_PRIORITY_MAX));
}

fn pause(reader: &mut Reader, statement: &Statement, setting: &mut Option<Duration>) {
    let (Some(keyword), Some(word)) = (statement.words.first(), reader.value(statement)) else {
        return;
    };
    // keepalived does not take zero, though its own sample file has it.
    let range = 1..=u64::from(u32::MAX);
    let otherwise = format!("'{}' is ignored", keyword.text);
    *setting = reader.timer(word, range, &otherwise).or(*setting);
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
        Some(mask) => global.umask = Some(mask),
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

impl Reader {
    /// Whole seconds, as keepalived takes for these.
    pub(super) fn garp_time(&mut self, statement: &Statement, setting: &mut Option<Duration>) {
        if let Some(seconds) =
            self.leading_setting::<u32>(statement, 0..=i64::from(u32::MAX) / 1_000_000)
        {
            *setting = Some(Duration::from_secs(seconds.value.into()));
        }
    }

    /// The same of `garp_master_refresh`, for which keepalived has no bound.
    pub(super) fn garp_refresh(&mut self, statement: &Statement, setting: &mut Option<Duration>) {
        if let Some(seconds) = self.leading_setting::<u32>(statement, 0..=i64::from(u32::MAX)) {
            *setting = Some(Duration::from_secs(seconds.value.into()));
        }
    }

    /// A number of rounds.
    pub(super) fn garp_rounds(&mut self, statement: &Statement, setting: &mut Option<u32>) {
        let count: Option<At<u32>> = self.leading_setting(statement, 0..=i64::from(i32::MAX));
        *setting = count.map(|count| count.value).or(*setting);
    }

    /// A number of rounds; zero becomes one.
    pub(super) fn garp_count(&mut self, statement: &Statement, setting: &mut Option<u32>) {
        let Some(count) = self.leading_setting::<u32>(statement, 0..=i64::from(u32::MAX)) else {
            return;
        };
        if let (0, Some(keyword)) = (count.value, statement.words.first()) {
            let message = format!("{} must be greater than 0, setting to 1", keyword.text);
            self.fault(count.span, message);
        }
        *setting = Some(count.value.max(1));
    }
}
