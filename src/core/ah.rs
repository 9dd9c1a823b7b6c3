//! `auth_type AH`: the row of sequence numbers that the nodes of a virtual router share, and which
//! authentication headers are believed.
//!
//! As in keepalived, who sends next goes on above the highest number it knows, be it its own or
//! another's, and what is not above that is dropped. A node that hears a worse master with a higher
//! number so comes to the top of the row with its answer. Nothing outlives the daemon; but the first
//! number of one that has heard nobody is the time, where keepalived begins with 1, so that a master
//! that was started again is believed at once.

use std::fmt;
use std::time::Duration;

use super::spec::Auth;
use crate::wire::ah::Key;
use crate::wire::vrrp::Packet;

/// Where in the row an instance is: the highest number it has sent or believed, 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row(u32);

/// Why an authentication header does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// There is none, and should be.
    Missing,
    /// There is one, and should be none.
    Unwanted,
    /// Its index is not its sender's address.
    Index,
    /// Another password, or something was changed on the way.
    Wrong,
    /// Its number is not above those known.
    Processed {
        /// The packet's.
        theirs: u32,
        /// The highest that is known.
        ours: u32,
    },
}

impl Row {
    /// The number of an advert that is sent now.
    pub(super) fn next(&mut self, utc: Duration) -> u32 {
        // The seconds have 32 bits until 2106.
        let first = || (utc.as_secs() as u32).max(1);
        self.0 = if self.0 == 0 { first() } else { self.0.checked_add(1).unwrap_or(1) };
        self.0
    }

    /// Judges the header of a packet, and takes in its number. The number of one that is forged moves
    /// nothing.
    ///
    /// # Errors
    /// Why it does not count.
    pub(super) fn check(&mut self, auth: Auth, packet: &Packet<'_>) -> Result<(), Flaw> {
        match (auth, packet.ah()) {
            (Auth::None | Auth::Pass(_), None) => Ok(()),
            (Auth::None | Auth::Pass(_), Some(_)) => Err(Flaw::Unwanted),
            (Auth::Ah(_), None) => Err(Flaw::Missing),
            (Auth::Ah(key), Some(header)) => {
                if !header.is_of_sender() {
                    return Err(Flaw::Index);
                }
                self.raise(&key, header)
            }
        }
    }

    fn raise(&mut self, key: &Key, header: crate::wire::ah::Header<'_>) -> Result<(), Flaw> {
        let (theirs, ours) = (header.sequence(), self.0);
        if theirs <= ours {
            return Err(Flaw::Processed { theirs, ours });
        }
        if !header.is_right(key) {
            return Err(Flaw::Wrong);
        }
        self.0 = theirs;
        Ok(())
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no authentication header"),
            Self::Unwanted => f.write_str("an authentication header, but not auth_type AH here"),
            Self::Index => f.write_str("IPSEC-AH : SPI is not the source address"),
            Self::Wrong => f.write_str(
                "IPSEC-AH : invalid HMAC-MD5 value: another password, or changed on the way",
            ),
            Self::Processed { theirs, ours } => {
                write!(f, "IPSEC-AH : sequence number {theirs} already processed, we have {ours}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ah::protect;
    use crate::wire::vrrp::{Advert, GROUP, TTL};
    use std::net::Ipv4Addr;

    const KEY: Key = *b"secret\0\0";
    const UTC: Duration = Duration::from_secs(1_800_000_000);

    fn packet() -> Vec<u8> {
        let advert = Advert {
            version: 2,
            vrid: 1,
            priority: 100,
            auth_type: 2,
            interval: 1,
            addresses: Vec::new(),
            auth_data: [0; 8],
        };
        advert.emit_packet(1, TTL, Ipv4Addr::new(10, 0, 0, 1), GROUP, false)
    }

    fn hear(row: &mut Row, auth: Auth, bytes: &[u8]) -> Result<(), Flaw> {
        row.check(auth, &Packet::new_v4(bytes).expect("long enough"))
    }

    fn with(sequence: u32, key: &Key) -> Vec<u8> {
        let mut packet = packet();
        protect(&mut packet, key, sequence);
        packet
    }

    #[test]
    fn all_nodes_share_one_growing_row() {
        let (mut row, ah) = (Row::default(), Auth::Ah(KEY));
        assert_eq!(hear(&mut row, ah, &with(7, &KEY)), Ok(()));
        for theirs in [0, 1, 6, 7] {
            let dropped = Err(Flaw::Processed { theirs, ours: 7 });
            assert_eq!(hear(&mut row, ah, &with(theirs, &KEY)), dropped);
        }
        assert_eq!(row.next(UTC), 8);
        assert_eq!(hear(&mut row, ah, &with(500, &KEY)), Ok(()));
        assert_eq!([row.next(UTC), row.next(UTC)], [501, 502]);
    }

    #[test]
    fn what_is_forged_moves_nothing() {
        let (mut row, ah) = (Row::default(), Auth::Ah(KEY));
        assert_eq!(hear(&mut row, ah, &with(u32::MAX, b"another\0")), Err(Flaw::Wrong));
        let mut other = with(900, &KEY);
        other[24] ^= 1;
        assert_eq!(hear(&mut row, ah, &other), Err(Flaw::Index));
        assert_eq!(hear(&mut row, ah, &packet()), Err(Flaw::Missing));
        assert_eq!(row, Row::default());
        for auth in [Auth::None, Auth::Pass(KEY)] {
            assert_eq!(hear(&mut row, auth, &with(1, &KEY)), Err(Flaw::Unwanted));
            assert_eq!(hear(&mut row, auth, &packet()), Ok(()));
        }
    }

    #[test]
    fn the_first_number_is_the_time() {
        let mut row = Row::default();
        assert_eq!([row.next(UTC), row.next(UTC)], [1_800_000_000, 1_800_000_001]);
        assert_eq!(Row::default().next(Duration::ZERO), 1);
        assert_eq!(Row(u32::MAX).next(UTC), 1);
    }
}
