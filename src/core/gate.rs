//! The storage: how it is taken before mastership and given back before anybody is told.
//!
//! What is unknown is never treated as released.

use std::time::Duration;

use super::Time;
use super::event::{Action, Held, HookEnd, Level, MountAction, Reason};
use super::instance::{Ctx, Instance, next_advert};
use super::phase::{Acquiring, Goal, How, Phase, Releasing, Step, Stuck};

/// How long a claim is made before the mount hook starts, unless the release is proven: a holder
/// answers every claim at once, and guard work must not begin before that answer can arrive.
pub(super) const LISTEN: Duration = Duration::from_millis(300);
/// The mount hook's exit status that asks for another try (EX_TEMPFAIL).
const EXIT_RETRY: i32 = 75;
/// Pause before that try.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Hold-down after a failed acquire; doubled each time.
const HOLD_DOWN_MIN: Duration = Duration::from_secs(10);
const HOLD_DOWN_MAX: Duration = Duration::from_secs(300);
/// Pause before a failed release is tried again; doubled each time.
const STUCK_PAUSE_MIN: Duration = Duration::from_secs(1);
const STUCK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Keeps a node from trying again at once what has just failed.
#[derive(Clone, Debug, Default)]
pub(super) struct HoldDown {
    /// Until when it stays down.
    pub(super) until: Option<Time>,
    last: Duration,
}

impl HoldDown {
    /// After a failure: twice as long as the last time.
    pub(super) fn begin(&mut self, now: Time) -> Duration {
        self.last = (self.last * 2).clamp(HOLD_DOWN_MIN, HOLD_DOWN_MAX);
        self.until = Some(now + self.last);
        self.last
    }

    /// After an acquire that a living holder has refused: as after a first failure, however often it
    /// comes. The disk is fine, and waiting longer each time would only prolong the outage when the
    /// holder dies.
    pub(super) fn begin_refused(&mut self, now: Time) -> Duration {
        self.until = Some(now + HOLD_DOWN_MIN);
        HOLD_DOWN_MIN
    }

    /// After a long time without trouble.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Has it just ended? Told once, so that no deadline lies in the past.
    pub(super) fn ends(&mut self, now: Time) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// Is there none, or is it over?
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

impl Instance {
    /// Why and how this node would become master now.
    pub(super) fn how_to_take_over(&self, now: Time) -> (How, Reason, String) {
        if self.has_person_s_word {
            return (How::Person, Reason::Person, "a person says that the storage is free".into());
        }
        let has_released = self.peers.master().is_some_and(|master| master.released_at.is_some());
        let others = self.bond.others_master.filter(|_| self.spec.gate.is_some() && !has_released);
        if let Some((address, priority)) = others {
            // Where this member hears nobody, another one does.
            let detail = format!("{address} has priority {priority}");
            return (How::Preempting, Reason::Preempt, detail);
        }
        let Some(master) = self.peers.master() else {
            return (How::Cold, Reason::MasterDown, "no master was heard since the start".into());
        };
        let (address, priority) = (master.address, master.priority);
        let seen = now.since(master.heard_at);
        if master.released_at.is_some() {
            let detail = format!("{address} gave up (priority 0)");
            (How::Released, Reason::PriorityZero, detail)
        } else if seen < self.master_down_interval() {
            let detail = format!("{address} has priority {priority}, ours is {}", self.priority());
            (How::Preempting, Reason::Preempt, detail)
        } else {
            let seconds = seen.as_secs_f64();
            let detail =
                format!("no advert from {address} (priority {priority}) for {seconds:.3} s");
            (How::Silent, Reason::MasterDown, detail)
        }
    }

    /// Claims mastership on the wire and begins to take the storage.
    pub(super) fn claim(&mut self, how: How, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        let Some(gate) = &self.spec.gate else { return };
        let interval = self.spec.advert_interval;
        let is_proven = self.is_release_proven(ctx.now);
        let step = match how {
            How::Preempting if gate.peers_glha && !is_proven => {
                Step::AwaitingRelease { until: ctx.now + gate.handover_wait }
            }
            _ => Step::Listening { until: ctx.now + LISTEN.min(interval) },
        };
        let advert_at = ctx.now + interval;
        let acquiring =
            Acquiring { how, is_proven, step, advert_at, worse: None, is_lapsed: false };
        self.farewell = None;
        self.has_person_s_word = false;
        self.begin_grace();
        self.enter(Phase::Acquiring(acquiring), reason, detail, ctx);
        self.send_advert(ctx);
        if is_proven {
            self.run_acquire(ctx);
        }
    }

    /// A person's word is proof. The followed master's priority 0 is proof that it holds nothing, if
    /// every node gates its storage, if there is no third that might, and if it is fresh (design 4.3).
    /// A backup is silent, so that nobody else was heard does not show that there is nobody: the
    /// configuration has to say that the nodes are two.
    pub(super) fn is_release_proven(&self, now: Time) -> bool {
        if self.has_person_s_word {
            return true;
        }
        let gate = self.spec.gate.as_ref();
        let is_gated_pair = gate.is_some_and(|gate| gate.peers_glha && gate.is_pair);
        let released_at = self.peers.master().and_then(|master| master.released_at);
        is_gated_pair
            && self.peers.are_a_pair()
            && released_at.is_some_and(|at| now.since(at) <= self.master_down_interval())
    }

    pub(super) fn tick_acquiring(&mut self, ctx: &mut Ctx<'_>) {
        let interval = self.spec.advert_interval;
        let Phase::Acquiring(acquiring) = &mut self.phase else { return };
        let step = acquiring.step;
        if acquiring.advert_at <= ctx.now {
            acquiring.advert_at = next_advert(acquiring.advert_at, interval, ctx.now);
            self.send_advert(ctx);
        }
        match step {
            Step::AwaitingRelease { until } if until <= ctx.now => {
                let text = "no acknowledgement from the old master; its release is not proven";
                self.report(Level::Warning, text.into(), ctx);
                self.run_acquire(ctx);
            }
            Step::Listening { until: at } | Step::Pausing { retry_at: at, .. } if at <= ctx.now => {
                self.run_acquire(ctx);
            }
            Step::AwaitingRelease { .. }
            | Step::Listening { .. }
            | Step::Pausing { .. }
            | Step::Running { .. }
            | Step::Following => {}
        }
    }

    /// Starts the mount hook, for the first time or again, within the one deadline.
    pub(super) fn run_acquire(&mut self, ctx: &mut Ctx<'_>) {
        self.remember(Held::Acquiring, ctx);
        let (Phase::Acquiring(acquiring), Some(gate)) = (&mut self.phase, &self.spec.gate) else {
            return;
        };
        let until = match acquiring.step {
            Step::Running { until } | Step::Pausing { until, .. } => until,
            Step::AwaitingRelease { .. } | Step::Listening { .. } => ctx.now + gate.timeout,
            Step::Following => return,
        };
        acquiring.step = Step::Running { until };
        self.run_mount(MountAction::Acquire, until.since(ctx.now), ctx);
    }

    pub(super) fn run_mount(&mut self, action: MountAction, timeout: Duration, ctx: &mut Ctx<'_>) {
        self.mount_running = Some(action);
        let mut facts = Box::new(self.facts(ctx.now));
        if action == MountAction::Probe && matches!(self.phase, Phase::Master { .. }) {
            // A routine look; the reason of the last transition would ask for more than that.
            let doubts = std::mem::take(&mut self.has_met_conflict);
            self.proves_conflict = doubts;
            facts.reason = if doubts { Reason::Conflict } else { Reason::Probe }.word();
        }
        ctx.out.push(Action::RunMount { instance: self.id, action, timeout, facts });
    }

    /// Takes off the addresses and gives the storage back, or first ends the acquire that runs.
    pub(super) fn begin_release(
        &mut self,
        releasing: Releasing,
        reason: Reason,
        detail: String,
        ctx: &mut Ctx<'_>,
    ) {
        let had_addresses = matches!(self.phase, Phase::Master { .. } | Phase::Probing(_));
        self.enter(Phase::Releasing(releasing), reason, detail, ctx);
        self.remember(Held::Releasing, ctx);
        if had_addresses {
            self.take_addresses(ctx);
        }
        self.run_release(ctx);
    }

    /// Never two mount hooks at once: an acquire that still runs is ended, and the release follows
    /// when it is gone.
    fn run_release(&mut self, ctx: &mut Ctx<'_>) {
        match self.mount_running {
            None => {
                let timeout = self.spec.gate.as_ref().map_or(Duration::ZERO, |gate| gate.timeout);
                self.run_mount(MountAction::Release, timeout, ctx);
            }
            Some(MountAction::Acquire | MountAction::Probe) => {
                ctx.out.push(Action::StopMount { instance: self.id });
            }
            Some(MountAction::Release) => {}
        }
    }

    /// Gives up an acquire. Nothing has to be given back before the hook was started.
    pub(super) fn abandon(
        &mut self,
        acquiring: Acquiring,
        goal: Goal,
        reason: Reason,
        detail: String,
        ctx: &mut Ctx<'_>,
    ) {
        if self.bond.is_follower() {
            self.bond.calls.backs_off = Some(format!("{}: {detail}", self.spec.name));
            return;
        }
        if !acquiring.has_begun() {
            return self.settle(goal, reason, detail, ctx);
        }
        let is_own_will = acquiring.is_proven && reason != Reason::BackedOff;
        let releasing = Releasing {
            goal,
            may_vouch: is_own_will,
            advert_at: Some(acquiring.advert_at).filter(|_| is_own_will && self.can_send(ctx)),
        };
        self.begin_release(releasing, reason, detail, ctx);
    }

    /// The mount hook has ended, with every process of its group.
    pub fn mount_ended(&mut self, action: MountAction, end: &HookEnd, ctx: &mut Ctx<'_>) {
        if self.mount_running != Some(action) {
            return;
        }
        self.mount_running = None;
        match (&mut self.phase, action) {
            (Phase::Acquiring(acquiring), MountAction::Acquire) => {
                let acquiring = acquiring.clone();
                self.acquire_ended(acquiring, end, ctx);
            }
            (Phase::Releasing(releasing), MountAction::Acquire) => {
                // It was ended by us, or succeeded just before; then we hold the storage. Who backed
                // off vouches for nothing all the same.
                releasing.may_vouch |= end.is_success() && self.reason != Reason::BackedOff;
                self.run_release(ctx);
            }
            (Phase::Releasing(_) | Phase::Stuck(_), MountAction::Release) => {
                self.release_ended(end, ctx);
            }
            (Phase::Stuck(_) | Phase::Releasing(_), MountAction::Probe)
            | (Phase::Stuck(_), MountAction::Acquire) => self.run_release(ctx),
            (Phase::Master { .. }, MountAction::Probe) => self.probe_ended(end, ctx),
            (Phase::Probing(_), MountAction::Probe) => self.doubt_answered(end, ctx),
            (
                Phase::Init
                | Phase::Backup { .. }
                | Phase::Probing(_)
                | Phase::Master { .. }
                | Phase::Fault
                | Phase::Stopped
                | Phase::Acquiring(_),
                MountAction::Acquire | MountAction::Release | MountAction::Probe,
            ) => {}
        }
    }

    fn acquire_ended(&mut self, mut acquiring: Acquiring, end: &HookEnd, ctx: &mut Ctx<'_>) {
        let Step::Running { until } = acquiring.step else { return };
        if end.is_success() {
            self.remember(Held::Held, ctx);
            self.lost = false;
            if acquiring.is_lapsed {
                return self.doubt_acquire(ctx);
            }
            let detail = self.detail.clone();
            return self.become_master(acquiring.advert_at, Reason::Acquired, detail, ctx);
        }
        let retry_at = ctx.now + RETRY_PAUSE;
        let may_retry = retry_at < until && !acquiring.is_lapsed;
        if *end == HookEnd::Exited(EXIT_RETRY) && may_retry {
            acquiring.step = Step::Pausing { retry_at, until };
            self.phase = Phase::Acquiring(acquiring);
            let text = "mount hook asks for another try (status 75)";
            return self.report(Level::Info, text.into(), ctx);
        }
        let span = match end {
            HookEnd::Exited(EXIT_RETRY) => self.hold_down.begin_refused(ctx.now),
            _ => self.hold_down.begin(ctx.now),
        };
        let text = format!(
            "mount hook acquire {end}: the storage is not taken; holding down for {} s",
            span.as_secs()
        );
        self.report(Level::Error, text, ctx);
        let detail = format!("mount hook {end}");
        self.abandon(acquiring, Goal::Fault, Reason::AcquireFailed, detail, ctx);
    }

    fn release_ended(&mut self, end: &HookEnd, ctx: &mut Ctx<'_>) {
        let (goal, may_vouch) = match &self.phase {
            Phase::Releasing(r) => (r.goal, r.may_vouch),
            Phase::Stuck(s) => (s.goal, s.may_vouch),
            Phase::Init
            | Phase::Backup { .. }
            | Phase::Acquiring(_)
            | Phase::Probing(_)
            | Phase::Master { .. }
            | Phase::Fault
            | Phase::Stopped => return,
        };
        if !end.is_success() {
            let detail = format!("mount hook release {end}");
            return self.become_stuck(goal, may_vouch, detail, ctx);
        }
        let reason = match self.reason {
            Reason::ReleaseFailed => Reason::Released,
            reason => reason,
        };
        let detail = self.detail.clone();
        self.let_gone(goal, may_vouch, reason, detail, ctx);
    }

    /// Nothing is held any more: tells the others, if we may, and goes where we wanted to go.
    pub(super) fn let_gone(
        &mut self,
        goal: Goal,
        may_vouch: bool,
        reason: Reason,
        detail: String,
        ctx: &mut Ctx<'_>,
    ) {
        let is_acknowledgement =
            !matches!(&self.phase, Phase::Releasing(Releasing { advert_at: Some(_), .. }));
        self.remember(Held::Free, ctx);
        if may_vouch {
            self.bond.vouched = Some(goal);
            self.say_farewell(goal, is_acknowledgement, ctx);
        }
        self.settle(goal, reason, detail, ctx);
    }

    /// The mount hook is past its deadline and cannot be killed: whatever it does may still
    /// happen, so nothing is known until it is gone.
    pub fn mount_unkillable(&mut self, action: MountAction, ctx: &mut Ctx<'_>) {
        let (goal, may_vouch) = match &self.phase {
            Phase::Acquiring(acquiring) => (Goal::Fault, acquiring.is_proven),
            Phase::Releasing(releasing) => (releasing.goal, releasing.may_vouch),
            Phase::Probing(_) | Phase::Master { .. } => (Goal::Fault, false),
            Phase::Init
            | Phase::Backup { .. }
            | Phase::Fault
            | Phase::Stuck(_)
            | Phase::Stopped => return,
        };
        let detail = format!("mount hook {} cannot be killed", action.word());
        if matches!(self.phase, Phase::Master { .. } | Phase::Probing(_)) {
            self.lost = true;
            self.take_addresses(ctx);
        }
        self.remember(Held::Releasing, ctx);
        self.become_stuck(goal, may_vouch, detail, ctx);
    }

    /// Silent, so that a peer that can fence takes over; and tried again for ever. A daemon that is
    /// to stop has tried once more by now and ends, loudly.
    fn become_stuck(&mut self, goal: Goal, may_vouch: bool, detail: String, ctx: &mut Ctx<'_>) {
        let last = match &self.phase {
            Phase::Stuck(stuck) => Some(stuck.delay),
            _ => None,
        };
        let delay = last.map_or(STUCK_PAUSE_MIN, |last| (last * 2).min(STUCK_PAUSE_MAX));
        let stuck = Stuck { goal, may_vouch, retry_at: ctx.now + delay, delay };
        self.enter(Phase::Stuck(stuck), Reason::ReleaseFailed, detail, ctx);
        if self.spec.gate.as_ref().is_some_and(|gate| gate.reboot_on_failure) {
            ctx.out.push(Action::Reboot { instance: self.id });
        }
        if goal == Goal::Stop && last.is_some() {
            let text = "stopping although the storage may still be held here".to_owned();
            self.report(Level::Error, text.clone(), ctx);
            self.settle(Goal::Stop, Reason::ReleaseFailed, text, ctx);
        }
    }

    pub(super) fn tick_stuck(&mut self, ctx: &mut Ctx<'_>) {
        if self.bond.is_follower() {
            return;
        }
        let Phase::Stuck(stuck) = &self.phase else { return };
        if stuck.retry_at <= ctx.now && self.mount_running.is_none() {
            self.run_release(ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_a_living_holder_does_not_double() {
        let mut hold_down = HoldDown::default();
        for _ in 0..5 {
            assert_eq!(hold_down.begin_refused(Time::from_millis(1000)), HOLD_DOWN_MIN);
        }
        assert_eq!(hold_down.begin(Time::from_millis(1000)), HOLD_DOWN_MIN, "a first failure");
        assert_eq!(hold_down.begin_refused(Time::from_millis(1000)), HOLD_DOWN_MIN);
        assert_eq!(hold_down.begin(Time::from_millis(1000)), HOLD_DOWN_MIN * 2, "a second one");
        assert!(!hold_down.is_over(Time::from_millis(1000) + HOLD_DOWN_MIN));
    }
}
