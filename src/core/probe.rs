//! Doubt about the storage: after a crash, after a freeze, at the start; and looking after what
//! is held.
//!
//! A node in doubt sends nothing, announces nothing and runs no hook but `probe`. Only a guard that
//! proves the storage to be exclusively ours lets it go on.

use std::time::Duration;

use super::Time;
use super::event::{Action, Held, HookEnd, Level, Memory, MountAction, Reason};
use super::instance::{Ctx, Instance};
use super::peers::Peer;
use super::phase::{Acquiring, Doubt, Goal, Phase, Probing, Releasing, Step};

/// Deadline of a probe, unless the mount hook's own is shorter.
const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(15);
/// A probe because another master was heard comes at most so often.
const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// The hook's exit status that says that nothing is held.
const EXIT_NOT_HELD: i32 = 1;
/// The one that says: held and healthy, but this guard cannot prove that nobody else holds it.
const EXIT_UNPROVEN: i32 = 2;
/// A node that has not sent an advert for so many intervals was frozen.
const LAPSE_INTERVALS: u32 = 3;

impl Instance {
    /// Leaves `init` with storage: what a former run left is dealt with before anything else.
    pub(super) fn begin_with_storage(&mut self, ctx: &mut Ctx<'_>) {
        match self.former {
            Held::Held => self.doubt(Doubt::Resume, Reason::Resume, false, ctx),
            Held::Free => {
                ctx.out.push(Action::TakeAddresses { instance: self.id });
                self.doubt(Doubt::Start, Reason::Start, false, ctx);
            }
            Held::Acquiring | Held::Releasing => {
                ctx.out.push(Action::TakeAddresses { instance: self.id });
                let detail = "a former run was interrupted while it mounted or unmounted";
                self.release_silently(Goal::Backup, Reason::Start, detail.into(), ctx);
            }
        }
    }

    fn doubt(&mut self, why: Doubt, reason: Reason, has_addresses: bool, ctx: &mut Ctx<'_>) {
        let is_stale = self.mount_running.is_some();
        let probing = Probing {
            why,
            has_heard: false,
            listen_until: None,
            heartbeat_at: ctx.now + self.spec.advert_interval,
            is_stale,
            has_addresses,
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

    fn run_probe(&mut self, ctx: &mut Ctx<'_>) {
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
                self.bursts = super::instance::Bursts::default();
                ctx.out.push(Action::StopAnnouncing { instance: self.id });
                self.doubt(Doubt::Lapse, Reason::Lapse, true, ctx);
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

    /// An acquire has succeeded, but the node was frozen meanwhile.
    pub(super) fn doubt_acquire(&mut self, ctx: &mut Ctx<'_>) {
        self.doubt(Doubt::Lapse, Reason::Lapse, false, ctx);
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
            Doubt::Resume | Doubt::Lapse if is_held => self.go_on(&probing, ctx),
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
    fn go_on(&mut self, probing: &Probing, ctx: &mut Ctx<'_>) {
        let (reason, detail) = (self.reason, self.detail.clone());
        self.send_advert(ctx);
        self.become_master(ctx.now + self.spec.advert_interval, reason, detail, ctx);
        if probing.has_heard {
            self.probe_soon(ctx.now);
        }
    }

    pub(super) fn tick_probing(&mut self, ctx: &mut Ctx<'_>) {
        let Phase::Probing(probing) = &mut self.phase else { return };
        if probing.heartbeat_at <= ctx.now {
            probing.heartbeat_at = ctx.now + self.spec.advert_interval;
        }
        if probing.listen_until.is_some_and(|until| until <= ctx.now) {
            let probing = probing.clone();
            self.go_on(&probing, ctx);
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

    /// Plans the next look at what is held.
    pub(super) fn plan_probe(&mut self, now: Time) {
        let gate = self.spec.gate.as_ref().filter(|_| !self.bond.is_follower());
        let period = gate.and_then(|gate| gate.probe);
        self.probe_at = period.map(|period| now + period);
        self.probed_at = None;
    }

    /// Another master was heard: looks at once, but not all the time.
    pub(super) fn probe_soon(&mut self, now: Time) {
        if self.bond.is_follower() {
            self.bond.calls.wants_probe = true;
            return;
        }
        let earliest = self.probed_at.map_or(now, |last| last + PROBE_PAUSE).max(now);
        self.probe_at = Some(self.probe_at.map_or(earliest, |planned| planned.min(earliest)));
    }

    /// Looks at what is held, if it is time.
    pub(super) fn tick_probe(&mut self, ctx: &mut Ctx<'_>) {
        let is_due = self.probe_at.is_some_and(|at| at <= ctx.now);
        if !is_due || self.mount_running.is_some() {
            return;
        }
        self.plan_probe(ctx.now);
        self.probed_at = Some(ctx.now);
        self.run_probe(ctx);
    }

    /// A look at what is held has ended. Storage that is gone, read-only or in error is given up.
    pub(super) fn probe_ended(&mut self, end: &HookEnd, ctx: &mut Ctx<'_>) {
        let proves_conflict = std::mem::take(&mut self.proves_conflict);
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
        let down_interval = self.master_down_interval();
        let lives = |master: &Peer| {
            master.released_at.is_none() && now.since(master.heard_at) < down_interval
        };
        if !self.has_person_s_word || self.peers.master().is_some_and(lives) {
            return;
        }
        let skew = self.skew();
        if let Phase::Backup { down_at } = &mut self.phase {
            *down_at = (*down_at).min(now + skew);
        }
    }
}
