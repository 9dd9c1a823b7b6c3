//! Counters and states in Prometheus' text format.

use std::fmt::{Display, Write};

use super::{Control, Running};
use crate::core::bfd::Session;
use crate::core::event::Held;
use crate::core::sessions::Sessions;
use crate::core::{Instance, Phase};
use crate::work::Key;

/// The phases that an instance can have, each a series of its own.
const PHASES: [&str; 9] =
    ["init", "backup", "acquiring", "probing", "master", "releasing", "fault", "stuck", "stopped"];

/// A metric: its name, what it is, and its help.
struct Metric<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

impl Control {
    /// All of them. Times are relative to `now`.
    pub(super) fn metrics(&self, running: &Running<'_>) -> String {
        let now = running.now;
        let mut out = String::new();
        let control = self;
        let instances = running.core.instances().as_slice();
        one(
            &mut out,
            "glha_info",
            "gauge",
            "The program.",
            &[(
                vec![
                    ("version", env!("CARGO_PKG_VERSION")),
                    ("node", &running.config.global.router_id),
                ],
                1,
            )],
        );
        let up = now.since(control.started_at).as_secs();
        plain(&mut out, "glha_uptime_seconds", "gauge", "Since the daemon's start.", up);
        let refused = u8::from(control.refused.is_some());
        plain(&mut out, "glha_reload_refused", "gauge", "The last reload was refused.", refused);
        let of = instances.iter().filter_map(|i| {
            let labels = vec![("instance", i.spec.name.as_str()), ("group", i.group()?)];
            Some((labels, 1))
        });
        let members: Vec<_> = of.collect();
        one(&mut out, "glha_group_member", "gauge", "Which sync group it is in.", &members);
        phases(&mut out, instances);
        self.gauges(running, &mut out);
        counters(&mut out, instances);
        self.check_metrics(running, &mut out);
        bfd(&mut out, running.core.bfds());
        out
    }

    fn gauges(&self, running: &Running<'_>, out: &mut String) {
        let now = running.now;
        let control = self;
        let instances = running.core.instances().as_slice();
        let mut gauge = |name, help, value: &dyn Fn(&Instance) -> u64| {
            each(out, &Metric { name, kind: "gauge", help }, instances, value);
        };
        gauge("glha_priority", "The effective priority.", &|i| i.priority().into());
        gauge("glha_priority_base", "The priority of the configuration.", &|i| {
            i.spec.priority.into()
        });
        gauge("glha_phase_seconds", "Since the last transition.", &|i| {
            now.since(i.entered_at.unwrap_or(control.started_at)).as_secs()
        });
        gauge("glha_hold", "A person has put it on hold.", &|i| i.is_held().into());
        gauge("glha_resigned", "A person has made it resign.", &|i| i.has_resigned().into());
        gauge("glha_hold_down", "It is held down after a failure.", &|i| {
            i.held_down_until(now).is_some().into()
        });
        gauge(
            "glha_missing",
            "Addresses, routes and rules that it wants and that are not set.",
            &|i| i.troubles.unset.len() as u64,
        );
        gauge("glha_mute", "Its adverts do not go out.", &|i| i.troubles.mute.is_some().into());
        gauge("glha_peers", "Other nodes that were heard.", &|i| i.peers.count() as u64);
        gauge("glha_storage_lost", "Its storage was lost, and no master was heard since.", &|i| {
            i.has_lost_storage().into()
        });
        gauge("glha_storage_held", "Its storage is held here, or may be.", &|i| {
            (i.held() != Held::Free).into()
        });
        let metric = Metric {
            name: "glha_notify_dropped_total",
            kind: "counter",
            help: "Runs of notify scripts that were dropped.",
        };
        each(out, &metric, instances, &|i| {
            running.executor.notifies.dropped_count(Key::Notify(i.id))
        });
    }

    fn check_metrics(&self, running: &Running<'_>, out: &mut String) {
        let samples: Vec<_> = running
            .core
            .checks()
            .iter()
            .filter_map(|check| {
                Some((vec![("check", check.spec.name.as_str())], u8::from(check.is_good?)))
            })
            .collect();
        one(out, "glha_check_good", "gauge", "What a check says.", &samples);
    }
}

fn bfd(out: &mut String, sessions: &Sessions) {
    let mut of = |name, kind, help, value: &dyn Fn(&Session) -> u64| {
        let all = sessions
            .all()
            .iter()
            .map(|session| (vec![("session", session.spec.name.as_str())], value(session)));
        one(out, name, kind, help, &all.collect::<Vec<_>>());
    };
    of("glha_bfd_up", "gauge", "The BFD session is up.", &|session| session.is_up().into());
    of("glha_bfd_good", "gauge", "It counts as up for who tracks it.", &|session| {
        session.counts_as_up.into()
    });
    of("glha_bfd_up_total", "counter", "Times it came up.", &|session| session.up_count);
    let discarded = sessions.discarded();
    let help = "BFD packets that were for no session, or not as they have to be.";
    plain(out, "glha_bfd_discarded_total", "counter", help, discarded);
}

fn phases(out: &mut String, instances: &[Instance]) {
    let samples: Vec<_> = instances
        .iter()
        .flat_map(|i| {
            let is = |phase: &str| u8::from(i.phase.word() == phase);
            PHASES.map(|phase| {
                (vec![("instance", i.spec.name.as_str()), ("phase", phase)], is(phase))
            })
        })
        .collect();
    one(out, "glha_phase", "gauge", "1 for the phase that the instance has.", &samples);
    let is_master = |i: &Instance| u64::from(matches!(i.phase, Phase::Master { .. }));
    let metric = Metric { name: "glha_master", kind: "gauge", help: "It is master." };
    each(out, &metric, instances, &is_master);
}

fn counters(out: &mut String, instances: &[Instance]) {
    let mut counter = |name, help, value: &dyn Fn(&Instance) -> u64| {
        each(out, &Metric { name, kind: "counter", help }, instances, value);
    };
    counter("glha_transitions_total", "Transitions.", &|i| i.transition);
    counter("glha_became_master_total", "Times it became master.", &|i| i.stats.became_master);
    counter("glha_released_master_total", "Times it ceased to be.", &|i| i.stats.released_master);
    counter("glha_adverts_sent_total", "Adverts sent.", &|i| i.stats.adverts_sent);
    counter("glha_adverts_received_total", "Adverts received.", &|i| i.stats.adverts_received);
    counter("glha_priority_zero_sent_total", "Of these with priority 0.", &|i| {
        i.stats.priority_zero_sent
    });
    counter("glha_priority_zero_received_total", "Of these with priority 0.", &|i| {
        i.stats.priority_zero_received
    });
    counter("glha_address_list_errors_total", "Adverts with other addresses.", &|i| {
        i.stats.address_list_errors
    });
    counter("glha_packet_errors_total", "Packets that were no valid advert.", &|i| {
        let s = &i.stats;
        s.length_errors
            + s.ttl_errors
            + s.type_errors
            + s.version_errors
            + s.interval_errors
            + s.checksum_errors
    });
    counter("glha_auth_errors_total", "Adverts that were not authentic.", &|i| {
        i.stats.auth_type_errors + i.stats.auth_mismatches + i.stats.auth_failures
    });
}

/// A metric with a sample for each instance.
fn each(
    out: &mut String,
    metric: &Metric<'_>,
    instances: &[Instance],
    value: &dyn Fn(&Instance) -> u64,
) {
    let sample = |i| (vec![("instance", name_of(i))], value(i));
    let samples: Vec<_> = instances.iter().map(sample).collect();
    one(out, metric.name, metric.kind, metric.help, &samples);
}

fn name_of(instance: &Instance) -> &str {
    &instance.spec.name
}

fn plain(out: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    one(out, name, kind, help, &[(Vec::new(), value)]);
}

/// A metric with its samples. Writing to a string cannot fail.
fn one(
    out: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    samples: &[(Vec<(&str, &str)>, impl Display)],
) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let braces =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(out, "{name}{braces} {value}");
    }
}

/// The value of a label: backslash, quote and newline are escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        one(&mut out, "m", "gauge", "Help.", &[(vec![("l", "a\\b\"c\nd")], 1), (vec![], 2)]);
        assert_eq!(out, "# HELP m Help.\n# TYPE m gauge\nm{l=\"a\\\\b\\\"c\\nd\"} 1\nm 2\n");
    }
}
