//! The BFD sessions, with the labels of keepalived_bfd.data.

use std::fmt::{Result, Write};
use std::time::Duration;

use super::View;
use crate::core::bfd::Session;

/// All of them, behind everything else.
pub(super) fn sessions(out: &mut String, view: &View<'_>) -> Result {
    let sessions = view.core.bfds().all();
    if !sessions.is_empty() {
        writeln!(out, "------< BFD Topology >------")?;
    }
    sessions.iter().try_for_each(|one| session(out, one))
}

fn session(out: &mut String, session: &Session) -> Result {
    let Session { spec, remote, .. } = session;
    let micros = |interval: Duration| interval.as_micros();
    writeln!(out, " BFD Instance = {}", spec.name)?;
    writeln!(out, "   Neighbor IP = {}", spec.neighbor)?;
    if let Some(source) = spec.source {
        writeln!(out, "   Source IP = {source}")?;
    }
    writeln!(out, "   Required min RX interval = {} us", micros(spec.min_rx))?;
    writeln!(out, "   Desired min TX interval = {} us", micros(spec.min_tx))?;
    writeln!(out, "   Desired idle TX interval = {} us", micros(spec.idle_tx))?;
    writeln!(out, "   Detection multiplier = {}", spec.multiplier)?;
    let ttl = if spec.neighbor.is_ipv4() { "TTL" } else { "hoplimit" };
    writeln!(out, "   {ttl} = {}", spec.ttl_sent())?;
    writeln!(out, "   max_hops = {}", spec.max_hops)?;
    writeln!(out, "   passive = {}", spec.passive)?;
    writeln!(out, "   local state = {}", session.state)?;
    writeln!(out, "   remote state = {}", remote.state)?;
    writeln!(out, "   local discriminator = {:#x}", session.discriminator)?;
    writeln!(out, "   remote discriminator = {:#x}", remote.discriminator)?;
    writeln!(out, "   local diag = {}", session.diag)?;
    writeln!(out, "   remote diag = {}", remote.diag)?;
    writeln!(out, "   remote min tx intv = {} us", remote.desired_min_tx)?;
    writeln!(out, "   remote min rx intv = {} us", remote.required_min_rx)?;
    writeln!(out, "   remote demand = {}", u8::from(remote.demand))?;
    writeln!(out, "   remote detect multiplier = {}", remote.detect_mult)?;
    let transmit = session.transmit_interval().unwrap_or_default();
    writeln!(out, "   local tx intv = {} us", micros(transmit))?;
    let detection = session.detection_time().unwrap_or_default();
    writeln!(out, "   local detection time = {} us", micros(detection))
}
