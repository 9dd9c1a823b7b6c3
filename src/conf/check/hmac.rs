//! `auth_hmac`: what a block of it comes to.

use std::path::PathBuf;
use std::time::Duration;

use super::super::KeyFile;
use super::super::diagnostic::Severity;
use super::super::parse::{HmacRaw, InstanceRaw, KeyRaw};
use super::Checker;
use crate::core::spec::{AntiReplay, HmacMode, HmacSpec};

/// The window of time unless it is given: as long as a master may be silent, and not less than this.
const WINDOW_SECONDS_MIN: u64 = 5;
/// The longest window, in seconds.
const WINDOW_SECONDS_MAX: u64 = 300;

impl Checker<'_> {
    /// The keys that are written here; those in files the shell adds.
    pub(super) fn hmac(&mut self, raw: &InstanceRaw, interval: Duration) -> Option<HmacSpec> {
        let hmac = raw.hmac.as_ref()?;
        let name = &raw.name;
        if let Some(span) =
            raw.auth.kind.map(|at| at.span).or(raw.auth.password.as_ref().map(|at| at.span))
        {
            let message = format!(
                "({name}) auth_hmac and authentication exclude each other - ignoring authentication"
            );
            self.fault(span, message);
        }
        let active_key = self.active_key(name, hmac)?;
        let mode = hmac.mode.map_or(HmacMode::Enforce, |at| at.value);
        let is_monotonic = hmac.monotonic.is_some_and(|at| at.value);
        if let (true, Some(window)) = (is_monotonic, hmac.time_window) {
            let message = format!("({name}) time_window has no effect with anti_replay monotonic");
            self.say(Severity::Warning, window.span, message);
        }
        let least = (interval * 3).as_millis().div_ceil(1000);
        let least = u64::try_from(least).unwrap_or(WINDOW_SECONDS_MAX);
        let window = least.clamp(WINDOW_SECONDS_MIN, WINDOW_SECONDS_MAX) as u16;
        let window = hmac.time_window.map_or(window, |at| at.value);
        let anti_replay =
            if is_monotonic { AntiReplay::Monotonic } else { AntiReplay::Time { window } };
        let inline = hmac.keys.iter().filter_map(|(id, key)| match key {
            KeyRaw::Inline(key) => Some((id.value, *key)),
            KeyRaw::File(_) => None,
        });
        Some(HmacSpec { keys: inline.collect(), active_key, anti_replay, mode })
    }

    fn active_key(&mut self, name: &str, hmac: &HmacRaw) -> Option<u8> {
        let Some(active) = hmac.active_key else {
            let message = format!(
                "({name}) auth_hmac needs an active_key: the id of the key that adverts are signed \
                 with"
            );
            self.error(hmac.span, message);
            return None;
        };
        if !hmac.keys.iter().any(|(id, _)| id.value == active.value) {
            let message = format!("({name}) auth_hmac: there is no key {}", active.value);
            self.error(active.span, message);
            return None;
        }
        Some(active.value)
    }
}

/// The keys of an instance that are in files.
pub(super) fn key_files(raw: &InstanceRaw) -> Vec<KeyFile> {
    let keys = raw.hmac.iter().flat_map(|hmac| &hmac.keys);
    keys.filter_map(|(id, key)| match key {
        KeyRaw::Inline(_) => None,
        KeyRaw::File(path) => {
            Some(KeyFile { id: id.value, path: PathBuf::from(path), span: id.span })
        }
    })
    .collect()
}
