//! Saying that the storage is free: priority 0, repeated, since one lost packet would cost the
//! peer its whole wait.

use std::time::Duration;

use super::Time;
use super::instance::{Ctx, Instance};
use super::phase::Goal;

/// How often a priority 0 of a gated instance is sent in all.
const REPEATS: u32 = 3;
/// Pause between the repeats when the daemon stops.
const STOP_PAUSE: Duration = Duration::from_millis(100);

/// The repeats that are still to come.
#[derive(Clone, Debug)]
pub struct Farewell {
    left: u32,
    every: Duration,
    sent_at: Time,
    /// The next repeat.
    pub next_at: Time,
    /// It acknowledges a release to somebody who is already master. Then only an advert that
    /// comes at once can be the answer; others come anyway.
    is_acknowledgement: bool,
}

impl Instance {
    /// Sends the first priority 0 and plans the others.
    pub(super) fn say_farewell(&mut self, goal: Goal, is_acknowledgement: bool, ctx: &mut Ctx<'_>) {
        if !self.can_send(ctx) {
            return;
        }
        let every = if goal == Goal::Stop { STOP_PAUSE } else { self.spec.advert_interval };
        self.farewell = Some(Farewell {
            left: REPEATS,
            every,
            sent_at: ctx.now,
            next_at: ctx.now,
            is_acknowledgement,
        });
        self.tick_farewell(ctx);
    }

    /// Sends the repeat that is due.
    pub(super) fn tick_farewell(&mut self, ctx: &mut Ctx<'_>) {
        let Some(farewell) = &mut self.farewell else { return };
        if ctx.now < farewell.next_at {
            return;
        }
        farewell.sent_at = ctx.now;
        farewell.next_at = ctx.now + farewell.every;
        farewell.left -= 1;
        if farewell.left == 0 {
            self.farewell = None;
        }
        self.send_priority_zero(ctx);
    }

    /// A master was heard: it knows. Never a reason to send one, or two nodes would answer each
    /// other for ever.
    pub(super) fn master_answers(&mut self, now: Time) {
        let is_over = |f: &Farewell| !f.is_acknowledgement || now.since(f.sent_at) <= f.every / 10;
        if self.farewell.as_ref().is_some_and(is_over) {
            self.farewell = None;
        }
    }
}
