//! Maintenance: an instance on hold stays what it is. A backup does not take over; a master gives up
//! neither for its checks nor by them, only for its interface, its storage or a better master.

/// Whether an instance is on hold, and whether it has said what that keeps it from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hold {
    /// It is on hold.
    pub(super) is_on: bool,
    is_told: bool,
}

impl Hold {
    /// A person puts it on hold, or takes it off: what there is to say, if that changes anything.
    pub(super) fn set(&mut self, is_on: bool) -> Option<&'static str> {
        if self.is_on == is_on {
            return None;
        }
        *self = Self { is_on, is_told: false };
        Some(if is_on {
            "on hold: does not take over, and does not give up because of its checks"
        } else {
            "no longer on hold"
        })
    }

    /// Nobody is master, and it stays backup all the same: what there is to say, once.
    pub(super) fn keeps_backup(&mut self) -> Option<&'static str> {
        let is_news = self.is_on && !std::mem::replace(&mut self.is_told, true);
        is_news.then_some("nobody is master, and this node is on hold: it does not take over")
    }
}
