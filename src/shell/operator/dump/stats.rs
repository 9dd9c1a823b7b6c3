//! keepalived.stats, line for line.

use std::fmt::Write;

use crate::core::Instance;

/// The counters of all instances.
pub fn text(instances: &[Instance]) -> String {
    let mut text = String::new();
    for instance in instances {
        // Writing to a string does not fail.
        let _ = write(&mut text, instance);
    }
    text
}

fn write(out: &mut String, instance: &Instance) -> std::fmt::Result {
    let stats = &instance.stats;
    writeln!(out, "VRRP Instance: {}", instance.spec.name)?;
    writeln!(out, "  Advertisements:")?;
    writeln!(out, "    Received: {}", stats.adverts_received)?;
    writeln!(out, "    Sent: {}", stats.adverts_sent)?;
    writeln!(out, "  Became master: {}", stats.became_master)?;
    writeln!(out, "  Released master: {}", stats.released_master)?;
    writeln!(out, "  Packet Errors:")?;
    writeln!(out, "    Length: {}", stats.length_errors)?;
    writeln!(out, "    TTL: {}", stats.ttl_errors)?;
    writeln!(out, "    Invalid Type: {}", stats.type_errors)?;
    writeln!(out, "    Advertisement Interval: {}", stats.interval_errors)?;
    writeln!(out, "    Address List: {}", stats.address_list_errors)?;
    writeln!(out, "  Authentication Errors:")?;
    writeln!(out, "    Invalid Type: {}", stats.auth_type_errors)?;
    writeln!(out, "    Type Mismatch: {}", stats.auth_mismatches)?;
    writeln!(out, "    Failure: {}", stats.auth_failures)?;
    writeln!(out, "  Priority Zero:")?;
    writeln!(out, "    Received: {}", stats.priority_zero_received)?;
    writeln!(out, "    Sent: {}", stats.priority_zero_sent)
}
