//! Resignation: a person wants a node to hand over, and to stay out of it for a while.

use super::Time;
use super::event::{Level, Reason};
use super::instance::{Ctx, Instance};
use super::phase::{Goal, Phase};

/// Who was heard within so many intervals is there.
const HEARD_WITHIN_INTERVALS: u32 = 3;
/// Priority zeros without storage, as keepalived sends on a fault: one alone may be lost.
const ZEROS: u32 = 2;

/// What it has resigned from, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resigned {
    /// It waits for another master even if none ever comes.
    is_forced: bool,
    /// Another master was heard since.
    has_heard: bool,
}

impl Instance {
    /// Why it does not resign, in words for the person who asked; nothing if it does.
    ///
    /// While it is master, a node that takes part in VRRP properly cannot be heard: then it is
    /// enough that one was ever heard. If nobody takes over, the mastership is taken back.
    pub(super) fn resign_refusal(&self, is_forced: bool, now: Time) -> Option<String> {
        match self.phase {
            Phase::Stopped => return Some("it is stopped".into()),
            Phase::Probing(_) => {
                return Some(
                    "it is being found out whether the storage is held here; try again in a moment"
                        .into(),
                );
            }
            Phase::Init
            | Phase::Backup { .. }
            | Phase::Acquiring(_)
            | Phase::Master { .. }
            | Phase::Releasing(_)
            | Phase::Fault
            | Phase::Stuck(_) => {}
        }
        if is_forced {
            return None;
        }
        if self.is_held() {
            let text = "it is on hold, and would not take back what nobody takes over";
            return Some(text.into());
        }
        let others_are_silent =
            matches!(self.phase, Phase::Master { .. } | Phase::Acquiring(_) | Phase::Releasing(_));
        if others_are_silent {
            let text = "no other node was ever heard that could take over (a backup is silent)";
            return (!self.peers.are_known()).then(|| text.into());
        }
        let span = self.master_interval() * HEARD_WITHIN_INTERVALS;
        let is_there = |heard_at: Time| now.since(heard_at) <= span;
        let is_alone = !self.peers.latest().is_some_and(|peer| is_there(peer.heard_at));
        is_alone.then(|| "no other node was heard in the last three intervals".into())
    }

    /// A person wants it handed over, and nothing refuses that.
    pub(super) fn resign(&mut self, is_forced: bool, ctx: &mut Ctx<'_>) {
        self.resigned = Some(Resigned { is_forced, has_heard: false });
        let until = if is_forced {
            "until another master was heard and is gone"
        } else {
            "until the other master is gone, or nobody takes over"
        };
        self.report(Level::Warning, format!("resigned: stays backup {until}"), ctx);
        let is_master = matches!(self.phase, Phase::Master { .. });
        if is_master && self.spec.gate.is_none() {
            (0..ZEROS).for_each(|_| self.send_priority_zero(ctx));
        }
        if is_master || matches!(self.phase, Phase::Acquiring(_)) {
            let detail = "a person wants it handed over".to_owned();
            self.let_go(Goal::Backup, Reason::Resign, detail, ctx);
        }
    }

    /// A person wants no more of it.
    pub fn cancel_resignation(&mut self, ctx: &mut Ctx<'_>) {
        if self.resigned.take().is_some() {
            self.report(Level::Warning, "the resignation is cancelled".into(), ctx);
        }
    }

    /// Has it resigned?
    pub const fn has_resigned(&self) -> bool {
        self.resigned.is_some()
    }

    /// Another master was heard.
    pub(super) const fn resign_hears_master(&mut self) {
        if let Some(resigned) = &mut self.resigned {
            resigned.has_heard = true;
        }
    }

    /// Does it wait for a master that it has not heard yet?
    pub(super) const fn awaits_master(&self) -> bool {
        matches!(self.resigned, Some(Resigned { is_forced: true, has_heard: false }))
    }

    /// Nobody is master any more: is it still to stay backup? Otherwise the resignation is over.
    pub(super) fn stays_resigned(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let Some(resigned) = self.resigned else { return false };
        if self.awaits_master() {
            return true;
        }
        self.resigned = None;
        let text = if resigned.has_heard {
            "the other master is gone: no longer resigned"
        } else {
            "nobody has taken over: no longer resigned"
        };
        self.report(Level::Warning, text.into(), ctx);
        false
    }
}
