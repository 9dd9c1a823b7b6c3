//! Maintenance: an instance on hold stays what it is. A backup does not take over; a master gives up
//! neither for its checks nor by them, only for its interface, its storage or a better master.

use super::event::Level;
use super::instance::{Ctx, Instance};
use super::phase::Phase;
use super::spec::Weight;

/// Whether an instance is on hold, and whether it has said what that keeps it from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hold {
    is_on: bool,
    is_told: bool,
}

impl Instance {
    /// A person puts it on hold, or takes it off.
    pub fn hold(&mut self, is_on: bool, ctx: &mut Ctx<'_>) {
        if self.hold.is_on == is_on {
            return;
        }
        self.hold = Hold { is_on, is_told: false };
        let text = if is_on {
            "on hold: does not take over, and does not give up because of its checks"
        } else {
            "no longer on hold"
        };
        self.report(Level::Warning, text.into(), ctx);
        self.review(ctx);
    }

    /// Its group is on hold, so it is, too; a newcomer does not have to be told.
    pub(super) const fn join_hold(&mut self) {
        self.hold.is_on = true;
    }

    /// Is it on hold?
    pub const fn is_held(&self) -> bool {
        self.hold.is_on
    }

    /// Does it leave mastership to others, whatever its priority?
    pub(super) const fn is_barred(&self) -> bool {
        self.hold.is_on || self.resigned.is_some()
    }

    /// Would it stay backup if nobody were master?
    pub(super) const fn is_kept_backup(&self) -> bool {
        self.hold.is_on || self.awaits_master()
    }

    /// Nobody is master any more. Does it stay backup all the same? Then its timer begins anew.
    pub(super) fn stays_backup(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let stays = self.hold.is_on || self.stays_resigned(ctx);
        if !stays {
            return false;
        }
        if self.hold.is_on && !self.hold.is_told {
            self.hold.is_told = true;
            let text = "nobody is master, and this node is on hold: it does not take over";
            self.report(Level::Warning, text.into(), ctx);
        }
        self.phase = Phase::Backup { down_at: ctx.now + self.master_down_interval() };
        true
    }

    /// Do failing checks, processes and files count for nothing now?
    pub(super) const fn ignores_checks(&self) -> bool {
        let holds_on =
            matches!(self.phase, Phase::Master { .. } | Phase::Acquiring(_) | Phase::Probing(_));
        self.hold.is_on && holds_on
    }

    /// What something tracked adds to the priority: the better of both ways while it is ignored.
    pub(super) fn weigh(&self, weight: Weight, is_good: Option<bool>) -> i32 {
        if self.ignores_checks() { weight.at_best(is_good) } else { weight.contribution(is_good) }
    }
}

impl Weight {
    /// What something tracked would add if it were as good as can be, once it is known at all.
    pub(super) fn at_best(self, is_good: Option<bool>) -> i32 {
        let other = is_good.map(|is_good| !is_good);
        self.contribution(is_good).max(self.contribution(other))
    }
}
