//! The storage: how it is taken before mastership and given back before anybody is told; doubt about
//! it after a crash, after a freeze and at the start; and looking after what is held.
//!
//! What is unknown is never treated as released. A node in doubt sends nothing, announces nothing and
//! runs no hook but `probe`: only a guard that proves the storage to be exclusively ours lets it go on.

use std::time::Duration;

use super::Time;
use super::context::Ctx;
use super::event::{Action, Held, HookEnd, Level, Memory, MountAction, Reason};
use super::instance::Instance;
use super::phase::{Acquiring, Doubt, Goal, How, Phase, Probing, Releasing, Step, Stuck};

/// How long a claim is made before the mount hook starts, unless the release is proven: a holder
/// answers every claim at once, and guard work must not begin before that answer can arrive.
pub(super) const LISTEN: Duration = Duration::from_millis(300);
/// The mount hook's exit status that asks for another try (EX_TEMPFAIL).
const EXIT_RETRY: i32 = 75;
/// Pause before that try.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a failed release is tried again; doubled each time.
const STUCK_PAUSE_MIN: Duration = Duration::from_secs(1);
const STUCK_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Deadline of a probe, unless the mount hook's own is shorter.
const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(15);
/// The probe's exit status that says that nothing is held.
const EXIT_NOT_HELD: i32 = 1;
/// The one that says: held and healthy, but this guard cannot prove that nobody else holds it.
const EXIT_UNPROVEN: i32 = 2;
/// A node that has not sent an advert for so many intervals was frozen.
const LAPSE_INTERVALS: u32 = 3;

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
        self.has_person_s_word = false;
        self.enter(Phase::Acquiring(acquiring), reason, detail, ctx);
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

    /// What the acquire waits for has come, or will not.
    pub(super) fn go_on_acquiring(&mut self, ctx: &mut Ctx<'_>) {
        let Phase::Acquiring(acquiring) = &self.phase else { return };
        if matches!(acquiring.step, Step::AwaitingRelease { .. }) {
            let text = "no acknowledgement from the old master; its release is not proven";
            self.report(Level::Warning, text.into(), ctx);
        }
        self.run_acquire(ctx);
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
            let doubts = self.watch.look(self.watch_period(), ctx.now);
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
        self.enter(Phase::Releasing(releasing), reason, detail, ctx);
        self.run_release(ctx);
    }

    /// Never two mount hooks at once: an acquire that still runs is ended, and the release follows
    /// when it is gone.
    pub(super) fn run_release(&mut self, ctx: &mut Ctx<'_>) {
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
        if reason == Reason::BackedOff {
            self.conflict.back_off(ctx.now);
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
                // It succeeded, but the node was frozen meanwhile.
                return self.doubt(Doubt::Lapse, Reason::Lapse, ctx);
            }
            let detail = self.detail.clone();
            return self.enter_master(acquiring.advert_at, Reason::Acquired, detail, ctx);
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
        self.remember(Held::Free, ctx);
        if may_vouch {
            self.bond.vouched = Some(goal);
            self.say_farewell(goal, self.phase.is_silent(), ctx);
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
        self.lost |= matches!(self.phase, Phase::Master { .. } | Phase::Probing(_));
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

    /// Leaves `init` with storage: what a former run left is dealt with before anything else.
    pub(super) fn begin_with_storage(&mut self, ctx: &mut Ctx<'_>) {
        match self.former {
            Held::Held => self.doubt(Doubt::Resume, Reason::Resume, ctx),
            Held::Free => {
                ctx.out.push(Action::TakeAddresses { instance: self.id });
                self.doubt(Doubt::Start, Reason::Start, ctx);
            }
            Held::Acquiring | Held::Releasing => {
                ctx.out.push(Action::TakeAddresses { instance: self.id });
                let detail = "a former run was interrupted while it mounted or unmounted";
                self.release_silently(Goal::Backup, Reason::Start, detail.into(), ctx);
            }
        }
    }

    fn doubt(&mut self, why: Doubt, reason: Reason, ctx: &mut Ctx<'_>) {
        let is_stale = self.mount_running.is_some();
        let probing = Probing {
            why,
            has_heard: false,
            listen_until: None,
            heartbeat_at: ctx.now + self.spec.advert_interval,
            is_stale,
        };
        let detail = match why {
            Doubt::Start => String::new(),
            Doubt::Resume => "a former run held the storage".to_owned(),
            Doubt::Lapse => "no advert was sent for three intervals; was this node frozen?".into(),
        };
        self.enter(Phase::Probing(probing), reason, detail, ctx);
        if !is_stale {
            self.run_probe(ctx);
        }
    }

    pub(super) fn run_probe(&mut self, ctx: &mut Ctx<'_>) {
        let limit = self.spec.gate.as_ref().map_or(Duration::ZERO, |gate| gate.timeout);
        self.run_mount(MountAction::Probe, limit.min(PROBE_TIMEOUT_MAX), ctx);
    }

    /// Notices a freeze, before anything else is done with an event.
    pub(super) fn notice_lapse(&mut self, ctx: &mut Ctx<'_>) {
        if self.spec.gate.is_none() {
            return self.notice_lateness(ctx);
        }
        let now = ctx.now;
        if self.bond.is_follower() {
            return self.forget_late_farewell(now);
        }
        let patience = self.lapse_patience();
        let is_late = |advert_at: Time| now.since(advert_at) >= patience;
        self.forget_late_farewell(now);
        match &mut self.phase {
            Phase::Master { advert_at, .. } if is_late(*advert_at) => {
                self.doubt(Doubt::Lapse, Reason::Lapse, ctx);
            }
            Phase::Acquiring(acquiring) if is_late(acquiring.advert_at) => {
                if matches!(acquiring.step, Step::Running { .. }) {
                    acquiring.is_lapsed = true;
                    // What was proof before the freeze is none any more.
                    acquiring.is_proven = false;
                    acquiring.advert_at = now + self.spec.advert_interval;
                } else {
                    let acquiring = Acquiring { is_proven: false, ..acquiring.clone() };
                    let detail = "frozen while claiming the storage".to_owned();
                    self.abandon(acquiring, Goal::Backup, Reason::Lapse, detail, ctx);
                }
            }
            Phase::Probing(probing) if is_late(probing.heartbeat_at) => {
                // What was asked before the freeze says nothing about now.
                probing.heartbeat_at = now + self.spec.advert_interval;
                probing.is_stale = self.mount_running.is_some();
                if probing.listen_until.take().is_some() {
                    self.run_probe(ctx);
                }
            }
            Phase::Releasing(Releasing { advert_at: Some(at), .. }) if is_late(*at) => {
                self.fall_silent();
            }
            Phase::Init
            | Phase::Backup { .. }
            | Phase::Acquiring(_)
            | Phase::Probing(_)
            | Phase::Master { .. }
            | Phase::Releasing(_)
            | Phase::Fault
            | Phase::Stuck(_)
            | Phase::Stopped => {}
        }
    }

    /// What is due so long ago was held back by a freeze.
    fn lapse_patience(&self) -> Duration {
        self.spec.advert_interval * (LAPSE_INTERVALS - 1)
    }

    fn forget_late_farewell(&mut self, now: Time) {
        let patience = self.lapse_patience();
        if self.farewell.as_ref().is_some_and(|f| now.since(f.next_at) >= patience) {
            self.farewell = None;
        }
    }

    /// The answer to a doubt.
    pub(super) fn doubt_answered(&mut self, end: &HookEnd, ctx: &mut Ctx<'_>) {
        let Phase::Probing(probing) = &mut self.phase else { return };
        if std::mem::take(&mut probing.is_stale) {
            return self.run_probe(ctx);
        }
        let probing = probing.clone();
        let is_held = end.is_success();
        let is_free = *end == HookEnd::Exited(EXIT_NOT_HELD);
        let is_unproven = *end == HookEnd::Exited(EXIT_UNPROVEN);
        match probing.why {
            Doubt::Start if is_free => self.settle(Goal::Backup, Reason::Start, String::new(), ctx),
            Doubt::Start => {
                let text = format!("the storage was found in use at the start (probe {end})");
                self.report(Level::Warning, format!("{text}; releasing it"), ctx);
                self.release_silently(Goal::Backup, Reason::Start, text, ctx);
            }
            Doubt::Resume | Doubt::Lapse if is_held => self.go_on(ctx),
            Doubt::Resume if is_unproven && !probing.has_heard => {
                let listen_until = Some(ctx.now + self.spec.advert_interval);
                self.phase = Phase::Probing(Probing { listen_until, ..probing });
            }
            Doubt::Resume | Doubt::Lapse => {
                let detail = format!("probe {end}: the storage is not provably ours any more");
                self.lost |= !is_free;
                self.report(Level::Warning, detail.clone(), ctx);
                self.release_silently(Goal::Backup, self.reason, detail, ctx);
            }
        }
    }

    /// The storage is ours: goes on as if nothing had happened, and says so to the neighbours.
    pub(super) fn go_on(&mut self, ctx: &mut Ctx<'_>) {
        let has_heard = matches!(&self.phase, Phase::Probing(probing) if probing.has_heard);
        let (reason, detail) = (self.reason, self.detail.clone());
        self.send_advert(ctx);
        self.enter_master(ctx.now + self.spec.advert_interval, reason, detail, ctx);
        if has_heard {
            self.look_soon(ctx.now);
        }
    }

    /// Somebody claims to be master while we are in doubt.
    pub(super) fn hear_in_doubt(&mut self, ctx: &mut Ctx<'_>) {
        self.bond.calls.is_claimed = true;
        let Phase::Probing(probing) = &mut self.phase else { return };
        probing.has_heard = true;
        if probing.listen_until.is_some() {
            let detail =
                "another master was heard, and the storage is not provably ours".to_owned();
            self.release_silently(Goal::Backup, self.reason, detail, ctx);
        }
    }

    fn release_silently(&mut self, goal: Goal, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        let releasing = Releasing { goal, may_vouch: false, advert_at: None };
        self.begin_release(releasing, reason, detail, ctx);
    }

    /// How often it looks at what it holds; a follower leaves that to its leader.
    pub(super) fn watch_period(&self) -> Option<Duration> {
        self.spec.gate.as_ref().filter(|_| !self.bond.is_follower()).and_then(|gate| gate.probe)
    }

    /// Another master was heard: looks at once, but not all the time.
    pub(super) fn look_soon(&mut self, now: Time) {
        match self.bond.is_follower() {
            true => self.bond.calls.wants_probe = true,
            false => self.watch.soon(now),
        }
    }

    /// A look at what is held has ended. Storage that is gone, read-only or in error is given up.
    pub(super) fn probe_ended(&mut self, end: &HookEnd, ctx: &mut Ctx<'_>) {
        let proves_conflict = self.watch.ended();
        // Where nothing can prove it, an advert alone shows nothing either.
        let is_unprovable = proves_conflict && *end == HookEnd::Exited(EXIT_UNPROVEN);
        if end.is_success() || is_unprovable {
            return;
        }
        let span = self.hold_down.begin(ctx.now);
        self.lost = true;
        let detail = format!("probe {end}");
        let text =
            format!("the storage has failed ({detail}); holding down for {} s", span.as_secs());
        self.report(Level::Error, text, ctx);
        self.let_go(Goal::Fault, Reason::StorageFailed, detail, ctx);
    }

    /// Writes down what is held, for a daemon that is started after a crash.
    pub(super) fn remember(&mut self, held: Held, ctx: &mut Ctx<'_>) {
        if self.bond.is_follower() {
            return;
        }
        self.former = held;
        let memory = Memory {
            held,
            highest_sent: self.highest_sent,
            peers: self.peers.highest(),
            lost: self.lost,
        };
        ctx.out.push(Action::Remember { instance: self.id, memory });
    }

    /// A person says that the storage is free.
    pub fn released_by_person(&mut self, ctx: &mut Ctx<'_>) {
        if self.spec.gate.is_none() {
            return;
        }
        match &self.phase {
            Phase::Stuck(_) if self.mount_running.is_some() => {
                let text = "released: refused, since a mount hook still runs; end it first";
                self.report(Level::Error, text.into(), ctx);
            }
            Phase::Stuck(stuck) => {
                let (goal, may_vouch) = (stuck.goal, stuck.may_vouch);
                self.report(Level::Warning, "a person says that the storage is free".into(), ctx);
                self.let_gone(goal, may_vouch, Reason::Person, "released".into(), ctx);
            }
            Phase::Init
            | Phase::Backup { .. }
            | Phase::Acquiring(_)
            | Phase::Probing(_)
            | Phase::Master { .. }
            | Phase::Releasing(_)
            | Phase::Fault
            | Phase::Stopped => {
                self.has_person_s_word = true;
                // Who looked at all nodes has looked at those that are silent, too.
                self.peers.forget_others();
                let text = "a person says that the storage is free: proof for the next acquire";
                self.report(Level::Warning, text.into(), ctx);
                self.hold_down.forget();
                self.review(ctx);
                self.heed_person(ctx.now);
            }
        }
    }

    /// A backup that has a person's word, and hears no master, need not wait for one as long as
    /// otherwise: in that time another node's claim, however hopeless, would undo the proof.
    pub(super) fn heed_person(&mut self, now: Time) {
        let within = self.master_down_interval();
        if !self.has_person_s_word || self.peers.living_master(within, now).is_some() {
            return;
        }
        let skew = self.skew();
        if let Phase::Backup { down_at } = &mut self.phase {
            *down_at = (*down_at).min(now + skew);
        }
    }
}
