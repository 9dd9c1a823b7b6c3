//! BFD sessions.

use std::time::Duration;

use super::super::parse::BfdRaw;
use super::Checker;
use crate::core::spec::BfdSpec;

/// keepalived's `min_rx` and `min_tx`.
const INTERVAL: Duration = Duration::from_millis(10);
/// keepalived's `idle_tx`.
const IDLE: Duration = Duration::from_secs(1);
/// keepalived's `multiplier`.
const MULTIPLIER: u8 = 5;

impl Checker<'_> {
    /// Every session runs, tracked or not: a neighbour may track it (keepalived).
    pub(super) fn bfds(&mut self) {
        for raw in &self.raw.bfds {
            let Some(spec) = spec(raw) else { continue };
            if let (Some(hops), Some(ttl)) = (raw.max_hops, raw.ttl)
                && hops.value > i16::from(ttl.value)
            {
                let message = format!(
                    "BFD instance {}: max_hops exceeds ttl/hoplimit - setting to ttl/hoplimit",
                    raw.name
                );
                self.fault(hops.span, message);
            }
            let id = self.config.ids.bfd(&raw.name);
            self.config.spec.bfds.insert(id, spec);
        }
    }
}

/// Nothing without a neighbour.
fn spec(raw: &BfdRaw) -> Option<BfdSpec> {
    Some(BfdSpec {
        name: raw.name.clone(),
        neighbor: raw.neighbor?.value,
        source: raw.source.map(|source| source.value),
        min_rx: raw.min_rx.unwrap_or(INTERVAL),
        min_tx: raw.min_tx.unwrap_or(INTERVAL),
        idle_tx: raw.idle_tx.unwrap_or(IDLE),
        multiplier: raw.multiplier.map_or(MULTIPLIER, |at| at.value),
        passive: raw.passive,
        ttl: raw.ttl.map(|at| at.value),
        // -1 is any number of hops, as 255 is.
        max_hops: raw.max_hops.map_or(0, |at| u8::try_from(at.value).unwrap_or(u8::MAX)),
    })
}
