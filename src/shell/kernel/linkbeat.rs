//! Carriers that are asked for (`linkbeat_interfaces`, `linkbeat_use_polling`), for drivers that do
//! not tell the kernel when a cable is pulled.
//!
//! As in keepalived it is done every second, and an interface is up if it is so by netlink and by the
//! answer. Who cannot be asked in the way that is wanted is asked in another one; one that knows
//! none goes by netlink alone, which tells IFF_RUNNING.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::conf::BeatKind;
use crate::core::Time;
use crate::core::spec::LinkId;
use crate::shell::host::sys;
use crate::shell::kernel::link::Links;

/// keepalived's.
const INTERVAL: Duration = Duration::from_secs(1);

/// What asks.
#[derive(Debug, Default)]
pub struct Linkbeat {
    socket: Option<Socket>,
    next_at: Option<Time>,
}

impl Linkbeat {
    /// When [`Self::work`] has something to do, if ever.
    pub const fn deadline(&self) -> Option<Time> {
        self.next_at
    }

    /// Asks if it is time to; to be called at once when the configuration is another one. True if
    /// [`Links::read`] has news.
    pub fn work(
        &mut self,
        wanted: &[(LinkId, Option<BeatKind>)],
        links: &mut Links,
        now: Time,
    ) -> bool {
        self.next_at = (!wanted.is_empty()).then_some(now + INTERVAL);
        let answers: BTreeMap<LinkId, bool> = wanted
            .iter()
            .filter(|(link, _)| links.index(*link).is_some())
            .filter_map(|(link, kind)| Some((*link, self.ask(links.name(*link), *kind)?)))
            .collect();
        links.set_carriers(answers)
    }

    /// Is there a carrier? Nothing if nobody can tell.
    fn ask(&mut self, interface: &str, wanted: Option<BeatKind>) -> Option<bool> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?,
        };
        let answer = order(wanted).iter().find_map(|kind| ask(&socket, interface, *kind).ok());
        self.socket = Some(socket);
        answer.flatten()
    }
}

/// Asks in one way; nothing if netlink has told it already.
///
/// # Errors
/// The kernel's: EOPNOTSUPP if the driver does not know that way.
fn ask(socket: &Socket, interface: &str, kind: BeatKind) -> io::Result<Option<bool>> {
    match kind {
        BeatKind::Ethtool => sys::ethtool_link(socket, interface).map(Some),
        BeatKind::Mii => sys::mii_link(socket, interface).map(Some),
        BeatKind::Flags => Ok(None),
    }
}

/// The ways in the order in which they are tried.
fn order(wanted: Option<BeatKind>) -> Vec<BeatKind> {
    let all = [BeatKind::Ethtool, BeatKind::Mii, BeatKind::Flags];
    let rest = all.into_iter().filter(|kind| Some(*kind) != wanted);
    wanted.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_way_comes_first_and_the_others_after_it() {
        use BeatKind::{Ethtool, Flags, Mii};
        assert_eq!(order(None), [Ethtool, Mii, Flags]);
        assert_eq!(order(Some(Mii)), [Mii, Ethtool, Flags]);
        assert_eq!(order(Some(Flags)), [Flags, Ethtool, Mii]);
    }

    #[test]
    fn an_interface_that_is_not_there_has_no_answer() {
        let mut linkbeat = Linkbeat::default();
        for name in ["glha-none", "a-name-that-is-too-long"] {
            assert_eq!(linkbeat.ask(name, None), None);
        }
        // A loopback interface has no transceiver, but always a link.
        assert_eq!(linkbeat.ask("lo", Some(BeatKind::Mii)), Some(true));
        assert_eq!(linkbeat.ask("lo", Some(BeatKind::Flags)), None);
    }
}
