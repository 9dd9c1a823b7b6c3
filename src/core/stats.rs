//! Counters of an instance, those of keepalived's statistics.

use super::ah::Flaw;
use super::hmac::Mistrust;
use super::receive::Discard;

/// Counters since the start of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Valid adverts received.
    pub adverts_received: u64,
    /// Adverts sent, priority 0 included.
    pub adverts_sent: u64,
    /// Times it became master.
    pub became_master: u64,
    /// Times it ceased to be master.
    pub released_master: u64,
    /// Packets of a wrong length.
    pub length_errors: u64,
    /// Packets whose time to live was not 255.
    pub ttl_errors: u64,
    /// Packets that are no advertisement.
    pub type_errors: u64,
    /// Packets of another VRRP version.
    pub version_errors: u64,
    /// Adverts with another interval.
    pub interval_errors: u64,
    /// Adverts with another list of addresses (counted, and used).
    pub address_list_errors: u64,
    /// Packets with a wrong checksum.
    pub checksum_errors: u64,
    /// Authentication types that do not exist, and malformed trailers.
    pub auth_type_errors: u64,
    /// Authentication types other than ours, and adverts that should be signed and are not.
    pub auth_mismatches: u64,
    /// Wrong passwords and signatures.
    pub auth_failures: u64,
    /// Adverts of priority 0 received.
    pub priority_zero_received: u64,
    /// Adverts of priority 0 sent.
    pub priority_zero_sent: u64,
}

impl Stats {
    /// Counts a discarded packet; returns the counter's new value.
    pub fn count(&mut self, discard: Discard) -> u64 {
        let counter = match discard {
            Discard::Length { .. } | Discard::TotalLength { .. } => &mut self.length_errors,
            Discard::Ttl(_) | Discard::PeerTtl(_) => &mut self.ttl_errors,
            Discard::Version { .. } => &mut self.version_errors,
            Discard::AuthType(_) => &mut self.auth_type_errors,
            Discard::Signature(Mistrust::Malformed) => &mut self.auth_type_errors,
            Discard::AuthMismatch { .. }
            | Discard::Ah(Flaw::Missing | Flaw::Unwanted)
            | Discard::Signature(Mistrust::Missing) => &mut self.auth_mismatches,
            Discard::Password | Discard::NotAPeer | Discard::Ah(_) | Discard::Signature(_) => {
                &mut self.auth_failures
            }
            Discard::Interval { .. } => &mut self.interval_errors,
            Discard::Kind(_) => &mut self.type_errors,
            Discard::Checksum => &mut self.checksum_errors,
        };
        *counter += 1;
        *counter
    }
}
