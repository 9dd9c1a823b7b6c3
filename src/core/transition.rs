//! The way from phase to phase: where an instance may go from where it is, and what is done on leaving
//! a phase and on entering one.
//!
//! Whoever decides names the phase; what belongs to every change stands in `enter`, once, for a lone
//! instance, a leader and its followers.

use std::mem::discriminant;
use std::time::Duration;

use super::Time;
use super::bond::{Lead, Role};
use super::bursts::Bursts;
use super::context::Ctx;
use super::event::{Action, Held, Level, NotifyState, Reason};
use super::instance::Instance;
use super::phase::{Acquiring, Doubt, Goal, Phase, Probing, Releasing, Step};
use super::spec::{Destination, Preempt};

impl Instance {
    /// Leaves `init`. Addresses that a former run left are removed, as keepalived does.
    pub(super) fn start(&mut self, ctx: &mut Ctx<'_>) {
        if self.spec.gate.is_some() {
            return self.begin_with_storage(ctx);
        }
        ctx.out.push(Action::TakeAddresses { instance: self.id });
        self.settle(Goal::Backup, Reason::Start, String::new(), ctx);
    }

    /// Becomes what was aimed at, or a fault if there is a cause.
    pub(super) fn settle(&mut self, goal: Goal, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        if goal == Goal::Stop {
            return self.enter(Phase::Stopped, reason, detail, ctx);
        }
        let cause = self.cause(ctx.world);
        if cause.is_none() && self.hold_down.is_over(ctx.now) {
            return self.enter_backup(reason, detail, ctx);
        }
        let (reason, detail) = match cause {
            Some(cause) if goal != Goal::Fault => cause,
            _ => (reason, detail),
        };
        self.enter(Phase::Fault, reason, detail, ctx);
    }

    pub(super) fn enter_backup(&mut self, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        self.announce_source(ctx);
        let is_owner = self.spec.priority == u8::MAX && self.spec.wants_master && !self.is_barred();
        let is_new = matches!(self.phase, Phase::Init);
        if is_owner && is_new && !self.bond.is_bound() {
            // keepalived's owner waits a microsecond and never says that it was a backup; after a
            // fault it is one like the others.
            return self.take_over(ctx);
        }
        let delay = std::mem::take(&mut self.startup_delay);
        // An owner in a group waits as long as the others need to be ready, too (keepalived).
        let wait = match is_owner && is_new {
            true => self.spec.advert_interval + self.skew(),
            false => self.down_after(self.followed_interval()),
        };
        let down_at = ctx.now + wait + delay + self.claim_pause();
        self.enter(Phase::Backup { down_at }, reason, detail, ctx);
    }

    /// The master down timer has run out. A member of a group becomes master only with the others,
    /// and waits for as long as theirs may take.
    pub(super) fn wait_for_others(&mut self, ctx: &mut Ctx<'_>) {
        self.report(Level::Detail, "Receive advertisement timeout".into(), ctx);
        self.bond.is_due = true;
        self.phase = Phase::Backup { down_at: ctx.now + self.master_down_interval() };
    }

    /// Nobody is master, or nobody good enough: become it, by way of the gate if there is one.
    pub(super) fn take_over(&mut self, ctx: &mut Ctx<'_>) {
        if self.stays_backup(ctx) {
            return;
        }
        let (how, reason, detail) = self.how_to_take_over(ctx.now);
        if self.spec.gate.is_some() {
            return self.claim(how, reason, detail, ctx);
        }
        self.send_advert(ctx);
        self.enter_master(ctx.now + self.spec.advert_interval, reason, detail, ctx);
    }

    pub(super) fn enter_master(
        &mut self,
        advert_at: Time,
        reason: Reason,
        detail: String,
        ctx: &mut Ctx<'_>,
    ) {
        self.enter(Phase::Master { advert_at, better: None }, reason, detail, ctx);
    }

    /// A master that must not preempt, and that was kept from sending adverts for so long that
    /// another node is master by now, becomes a backup if it is configured to
    /// (`timer_expired_backup`). One with storage asks its guard instead.
    pub(super) fn notice_lateness(&mut self, ctx: &mut Ctx<'_>) {
        let (Some(other), Preempt::Never, Phase::Master { advert_at, .. }) =
            (self.spec.late_backup, self.spec.preempt, &self.phase)
        else {
            return;
        };
        let interval = self.spec.advert_interval;
        let silent_for = ctx.now.since(*advert_at) + interval;
        if silent_for >= interval * self.spec.down_timer_adverts + self.skew_of(other) {
            let detail = format!("sent no advert for {:.3} s", silent_for.as_secs_f64());
            self.leave_master(Goal::Backup, Reason::Lapse, detail, ctx);
        }
    }

    /// Gives up whatever is held, of our own will, to become what `goal` says.
    pub(super) fn let_go(&mut self, goal: Goal, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        match self.bond.role {
            Role::Follower(_) => return,
            Role::Orphan => return self.drop_out(reason, detail, ctx),
            Role::Alone | Role::Member(_) | Role::Leader(_) => {}
        }
        if let (Some(_), Phase::Master { .. }) = (&self.spec.gate, &self.phase) {
            let held_for = self.master_since.map_or(Duration::ZERO, |since| ctx.now.since(since));
            self.hold_down.holder_lets_go(reason, held_for, ctx.now);
        }
        match &mut self.phase {
            Phase::Master { advert_at, .. } if self.spec.gate.is_some() => {
                let advert_at = Some(*advert_at).filter(|_| self.can_send(ctx));
                let releasing = Releasing { goal, may_vouch: true, advert_at };
                self.begin_release(releasing, reason, detail, ctx);
            }
            Phase::Master { .. } => self.leave_master(goal, reason, detail, ctx),
            Phase::Acquiring(acquiring) => {
                let acquiring = acquiring.clone();
                self.abandon(acquiring, goal, reason, detail, ctx);
            }
            Phase::Probing(_) => {
                let releasing = Releasing { goal, may_vouch: false, advert_at: None };
                self.begin_release(releasing, reason, detail, ctx);
            }
            Phase::Releasing(releasing) => releasing.goal = goal,
            Phase::Stuck(_) if goal == Goal::Stop && self.mount_running.is_some() => {
                let text = "stopping although a mount hook still runs that cannot be killed";
                self.report(Level::Error, text.into(), ctx);
                self.settle(goal, Reason::ReleaseFailed, text.into(), ctx);
            }
            Phase::Stuck(stuck) => {
                stuck.goal = goal;
                stuck.retry_at = ctx.now;
            }
            Phase::Backup { .. } | Phase::Init | Phase::Fault => {
                self.settle(goal, reason, detail, ctx);
            }
            Phase::Stopped => {}
        }
    }

    /// Leaves mastership without storage, in keepalived's order: priority 0 (twice on a fault,
    /// once on a stop), addresses, notify.
    fn leave_master(&mut self, goal: Goal, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        let count = match goal {
            Goal::Fault => 2,
            Goal::Stop => 1,
            Goal::Backup => 0,
        };
        for _ in 0..count {
            self.send_priority_zero(ctx);
        }
        self.settle(goal, reason, detail, ctx);
    }

    /// Yields to a better master: silently, as VRRP wants it.
    pub(super) fn yield_to(&mut self, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        if self.spec.higher_prio_send_advert {
            self.send_advert(ctx);
        }
        if self.bond.is_follower() {
            self.bond.calls.yields = Some(format!("{}: {detail}", self.spec.name));
            return;
        }
        if self.spec.gate.is_none() {
            return self.leave_master(Goal::Backup, reason, detail, ctx);
        }
        let releasing = Releasing { goal: Goal::Backup, may_vouch: true, advert_at: None };
        self.begin_release(releasing, reason, detail, ctx);
    }

    /// While releasing: sends no more adverts.
    pub(super) fn fall_silent(&mut self) {
        if let Phase::Releasing(releasing) = &mut self.phase {
            releasing.advert_at = None;
        }
    }

    /// The one place where a phase changes.
    pub(super) fn enter(
        &mut self,
        phase: Phase,
        reason: Reason,
        detail: String,
        ctx: &mut Ctx<'_>,
    ) {
        self.leave_for(&phase, ctx);
        let was = self.phase.state();
        self.phase = phase;
        if self.phase.state() != was {
            self.previous = was;
            self.state_since = Some(ctx.now);
        }
        self.transition += 1;
        self.entered_at = Some(ctx.now);
        self.bond.is_due = false;
        self.reason = reason;
        self.detail = detail;
        self.report_phase(ctx);
        let facts = Box::new(self.facts(ctx.now));
        ctx.out.push(Action::Entered { instance: self.id, facts });
        self.arrive(ctx);
    }

    /// What is done before another phase begins.
    fn leave_for(&mut self, next: &Phase, ctx: &mut Ctx<'_>) {
        let loses_addresses = self.phase.may_have_addresses() && !next.may_have_addresses();
        if matches!(self.phase, Phase::Master { .. }) || loses_addresses {
            self.bursts = Bursts::default();
            ctx.out.push(Action::StopAnnouncing { instance: self.id });
        }
        if loses_addresses {
            ctx.out.push(Action::TakeAddresses { instance: self.id });
        }
        let is_asked = matches!(next, Phase::Probing(_));
        if is_asked && matches!(self.phase, Phase::Master { .. }) {
            // The storage may be another's by now.
            ctx.out.push(Action::KeepAddresses { instance: self.id });
        }
        if matches!(self.phase, Phase::Master { .. }) {
            self.stats.released_master += 1;
            self.watch.end();
        }
    }

    /// What is done once a phase is entered; a master in keepalived's order.
    fn arrive(&mut self, ctx: &mut Ctx<'_>) {
        match &self.phase {
            Phase::Init | Phase::Probing(_) | Phase::Stuck(_) => {}
            Phase::Backup { .. } => {
                self.troubles.mute = None;
                self.preempt_delay_until = None;
                self.heed_person(ctx.now);
                self.notify(NotifyState::Backup, ctx);
            }
            Phase::Acquiring(_) => {
                self.farewell = None;
                self.grace.begin(&self.spec.track_checks);
                self.send_advert(ctx);
            }
            Phase::Master { .. } => {
                self.begin_mastership(ctx.now);
                ctx.out.push(Action::PutAddresses { instance: self.id });
                self.announce(self.spec.garp.repeat, ctx);
                self.notify(NotifyState::Master, ctx);
            }
            Phase::Releasing(_) => self.remember(Held::Releasing, ctx),
            Phase::Fault => {
                self.troubles.mute = None;
                self.notify(NotifyState::Fault, ctx);
            }
            Phase::Stopped => {
                self.troubles.mute = None;
                // keepalived tells an instance that a reload has removed that it is faulty.
                let state = match (self.reason, self.spec.notifies_deleted) {
                    (Reason::Removed, true) => NotifyState::Deleted,
                    (Reason::Removed, false) => NotifyState::Fault,
                    _ => NotifyState::Stop,
                };
                self.notify(state, ctx);
            }
        }
    }

    fn begin_mastership(&mut self, now: Time) {
        let has_extra = !self.spec.extra_addresses().is_empty();
        self.stats.became_master += 1;
        self.farewell = None;
        self.conflict.end();
        self.master_since = Some(now);
        self.learned_interval = self.spec.advert_interval;
        self.watch.begin(self.watch_period(), now);
        self.grace.acquired(now);
        self.bursts = Bursts::of_new_master(&self.spec.garp, has_extra, now);
    }

    /// A group without storage goes down: a master says so once, where the first one to go says it
    /// twice (keepalived).
    pub(super) fn follow_down(&mut self, goal: Goal, detail: &str, ctx: &mut Ctx<'_>) {
        if matches!(self.phase, Phase::Master { .. }) && goal == Goal::Fault {
            self.send_priority_zero(ctx);
        }
        self.settle(goal, Reason::Group, detail.to_owned(), ctx);
    }

    /// A follower goes where its leader is.
    pub(super) fn follow_leader(&mut self, lead: &Lead, ctx: &mut Ctx<'_>) {
        if discriminant(&self.phase) == discriminant(&lead.phase) {
            return self.keep_step(&lead.phase);
        }
        let resumes = matches!(&lead.phase, Phase::Probing(p) if p.why == Doubt::Resume);
        if matches!(self.phase, Phase::Init) {
            if !self.tracked(ctx.world).is_known(true) {
                return;
            }
            self.source = ctx.world.links[self.spec.link.0].source(&self.spec, self.source);
            if !resumes {
                ctx.out.push(Action::TakeAddresses { instance: self.id });
            }
        }
        let (reason, detail) = (lead.reason, lead.detail.clone());
        let next_advert = ctx.now + self.spec.advert_interval;
        let phase = match &lead.phase {
            Phase::Acquiring(acquiring) => Phase::Acquiring(Acquiring {
                step: Step::Following,
                advert_at: next_advert,
                worse: None,
                ..acquiring.clone()
            }),
            Phase::Master { .. } => {
                let advert_at = match &self.phase {
                    Phase::Acquiring(acquiring) if !acquiring.is_lapsed => acquiring.advert_at,
                    _ => {
                        self.send_advert(ctx);
                        next_advert
                    }
                };
                Phase::Master { advert_at, better: None }
            }
            Phase::Releasing(releasing) => {
                // The others hear from those who can still speak that nobody may take over yet.
                let is_aloud = releasing.may_vouch && reason != Reason::BetterMaster;
                let advert_at = match &self.phase {
                    Phase::Master { advert_at, .. } => Some(*advert_at),
                    Phase::Acquiring(acquiring) => Some(acquiring.advert_at),
                    _ => None,
                };
                let advert_at = advert_at.filter(|_| is_aloud && self.can_send(ctx));
                Phase::Releasing(Releasing { advert_at, ..*releasing })
            }
            Phase::Probing(probing) => Phase::Probing(Probing {
                heartbeat_at: next_advert,
                listen_until: None,
                ..probing.clone()
            }),
            Phase::Stuck(stuck) => Phase::Stuck(*stuck),
            Phase::Backup { .. } | Phase::Fault | Phase::Stopped => {
                if let Some(goal) = lead.vouched {
                    self.say_farewell(goal, self.phase.is_silent(), ctx);
                }
                match &lead.phase {
                    Phase::Backup { .. } => return self.enter_backup(reason, detail, ctx),
                    phase => phase.clone(),
                }
            }
            Phase::Init => return,
        };
        self.enter(phase, reason, detail, ctx);
    }

    /// In the same phase as its leader, a follower takes over what may change within it.
    fn keep_step(&mut self, lead: &Phase) {
        match (&mut self.phase, lead) {
            (Phase::Acquiring(own), Phase::Acquiring(lead)) => {
                (own.is_lapsed, own.is_proven) = (lead.is_lapsed, lead.is_proven);
            }
            (Phase::Releasing(own), Phase::Releasing(lead)) => own.goal = lead.goal,
            _ => {}
        }
    }

    /// It was taken out of its group: its addresses go. It says nothing, since only the group knows
    /// whether the storage is free.
    fn drop_out(&mut self, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        self.farewell = None;
        self.settle(Goal::Stop, reason, detail, ctx);
    }

    /// A line for each transition. Where keepalived has one, it is that, for who looks for it, and the
    /// reason follows in another.
    fn report_phase(&self, ctx: &mut Ctx<'_>) {
        let why = match self.detail.as_str() {
            "" if self.reason == Reason::Start => "init".to_owned(),
            "" => self.reason.word().to_owned(),
            detail => format!("{}: {detail}", self.reason.word()),
        };
        let (level, what) = match &self.phase {
            Phase::Init => return,
            Phase::Backup { .. } => (Level::Info, "Entering BACKUP STATE".to_owned()),
            Phase::Master { .. } => (Level::Info, "Entering MASTER STATE".to_owned()),
            Phase::Fault => (Level::Info, "Entering FAULT STATE".to_owned()),
            Phase::Stopped => (Level::Info, "Stopped".to_owned()),
            Phase::Acquiring(a) => {
                (Level::Info, format!("Acquiring the storage, {}", a.how.word()))
            }
            Phase::Probing(_) => (Level::Info, "Probing the storage".to_owned()),
            Phase::Releasing(_) => (Level::Info, "Releasing the storage".to_owned()),
            Phase::Stuck(_) => (
                Level::Error,
                "STUCK: the storage may still be held here; no other node is told that it is \
                 free. See what holds it, and release it by hand; the release is tried again"
                    .to_owned(),
            ),
        };
        if matches!(self.phase, Phase::Backup { .. } | Phase::Master { .. } | Phase::Fault) {
            self.report(level, what, ctx);
            return self.report(level, format!("Reason {why}"), ctx);
        }
        self.report(level, format!("{what} ({why})"), ctx);
    }

    /// On leaving a fault, or a start that had to wait for a check, an instance with unicast peers
    /// announces its own address, as keepalived does: a master whose ARP entry for us is stale could
    /// not send us its adverts before we have taken over.
    fn announce_source(&self, ctx: &mut Ctx<'_>) {
        let has_waited = self.spec.track_checks.iter().any(|track| track.weight.value == 0);
        let is_due = match &self.phase {
            Phase::Fault => true,
            Phase::Init => has_waited,
            Phase::Probing(probing) => has_waited && probing.why != Doubt::Lapse,
            _ => false,
        };
        let has_interface = !ctx.world.links[self.spec.link.0].name.is_empty();
        if let (true, Destination::Peers { .. }, Some(source)) =
            (is_due && has_interface, &self.spec.destination, self.source)
        {
            let what = if source.is_ipv4() { "ARP" } else { "NA" };
            self.report(Level::Detail, format!("sending gratuitous {what} for {source}"), ctx);
            ctx.out.push(Action::AnnounceSource { instance: self.id, source });
        }
    }
}
