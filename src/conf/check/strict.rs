//! `vrrp_strict` and `strict_mode`: what keepalived 2.2.7 refuses or changes then. Unicast, other
//! groups and other intervals than VRRP knows are let through by it, too.

use std::time::Duration;

use super::super::diagnostic::Span;
use super::super::parse::{At, InstanceRaw};
use super::Checker;
use crate::core::spec::{GarpSpec, HmacMode, InstanceSpec, Version};

impl Checker<'_> {
    pub(super) fn is_strict(&self, raw: &InstanceRaw) -> bool {
        raw.strict.unwrap_or(self.raw.global.strict)
    }

    /// Brings an instance in line, and says what had to be changed.
    pub(super) fn make_strict(&mut self, raw: &InstanceRaw, spec: &mut InstanceSpec) {
        if !self.is_strict(raw) {
            return;
        }
        let is_owner = spec.priority == u8::MAX;
        if let Some(At { value, span }) = raw.master
            && value != is_owner
        {
            self.reset(raw, span, "State MASTER must match being address owner");
        }
        spec.wants_master = is_owner;
        if spec.down_timer_adverts != 3 {
            spec.down_timer_adverts = 3;
            let what = "down_timer_adverts is incompatible with strict mode - resetting";
            self.reset(raw, raw.span, what);
        }
        if raw.garp.lower_prio_repeat.is_some_and(|count| count > 0) {
            self.reset(raw, raw.span, "Strict mode requires no repeat garps. resetting");
        }
        if raw.garp.lower_prio_delay.is_some_and(|delay| !delay.is_zero()) {
            self.reset(raw, raw.span, "Strict mode requires no repeat garp delay. resetting");
        }
        let none = Duration::ZERO;
        spec.garp = GarpSpec { lower_prio_repeat: 0, lower_prio_delay: none, ..spec.garp };
        if raw.lower_prio_no_advert == Some(false) {
            let what = "Strict mode requires no lower priority advert. resetting";
            self.reset(raw, raw.span, what);
        }
        spec.lower_prio_no_advert = true;
        if raw.higher_prio_send_advert == Some(true) {
            let what = "strict mode requires higher_prio_send_advert to be clear. resetting";
            self.reset(raw, raw.span, what);
        }
        spec.higher_prio_send_advert = false;
        if let (Some(hmac), Some(block)) = (&spec.hmac, &raw.hmac)
            && hmac.mode != HmacMode::Enforce
        {
            let span = block.mode.map_or(block.span, |mode| mode.span);
            let message = format!("({}) strict mode requires auth_hmac's `mode enforce`", raw.name);
            self.error(span, message);
        }
    }

    /// Does the node take packets for its virtual addresses? Their owner always does. The others do
    /// unless `no_accept` or strict mode forbid it, and version 2 in strict mode does not ask.
    pub(super) fn accepts(&mut self, raw: &InstanceRaw, spec: &InstanceSpec) -> bool {
        let is_strict = self.is_strict(raw);
        if spec.priority == u8::MAX {
            return true;
        }
        match raw.accept {
            None => !is_strict,
            Some(At { value: true, span }) if is_strict && spec.version == Version::V2 => {
                let what = "warning - accept mode for VRRP version 2 does not comply with RFC3768 - \
                            resetting";
                self.reset(raw, span, what);
                false
            }
            Some(at) => at.value,
        }
    }

    fn reset(&mut self, raw: &InstanceRaw, span: Span, what: &str) {
        self.fault(span, format!("({}) {what}", raw.name));
    }
}
