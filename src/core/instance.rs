//! One VRRP instance: its timers, its transitions, and what it says.
//!
//! How it judges what it hears is in `hear`, what it says in `speak`, what it tracks in `cause`,
//! how its storage comes and goes in `gate`.

use std::net::IpAddr;
use std::time::Duration;

use super::cause::Grace;
use super::event::{Action, Facts, Held, Level, Memory, NotifyState, Reason, Report};
use super::farewell::Farewell;
use super::gate::HoldDown;
use super::group::{Bond, Role};
use super::hmac::Signing;
use super::hold::Hold;
use super::link::Link;
use super::peers::Peers;
use super::phase::{Acquiring, Doubt, Goal, Phase, Releasing, Step};
use super::resign::Resigned;
use super::sense::Senses;
use super::spec::{CheckId, Destination, InstanceId, InstanceSpec, Preempt, Version};
use super::stats::Stats;
use super::track::Check;
use super::{Table, Time, WallClock};

/// Who gives the storage up because of a check so soon after taking it is held down.
const FLAP_WITHIN: Duration = Duration::from_secs(60);
/// Who held it for so long begins anew with the shortest hold-down.
const STABLE_AFTER: Duration = Duration::from_secs(600);

/// What an instance sees of the world while it handles an event.
pub struct Ctx<'a> {
    /// The time.
    pub now: Time,
    /// The clock on the wall.
    pub wall: WallClock,
    /// All interfaces, by [`super::spec::LinkId`].
    pub links: &'a [Link],
    /// All checks, by [`super::spec::CheckId`].
    pub checks: &'a Table<CheckId, Check>,
    /// What is known of tracked processes and files.
    pub senses: &'a Senses,
    /// Where its actions go.
    pub out: &'a mut Vec<Action>,
}

/// One VRRP instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What it is called.
    pub id: InstanceId,
    /// What it is configured to be.
    pub spec: InstanceSpec,
    /// Where it is.
    pub phase: Phase,
    /// Counters.
    pub stats: Stats,
    /// The other nodes.
    pub peers: Peers,
    /// Why it is where it is.
    pub reason: Reason,
    /// The same in words.
    pub detail: String,
    /// Counts transitions.
    pub transition: u64,
    /// When it entered its phase; never, while it has the first one.
    pub entered_at: Option<Time>,
    /// When what VRRP calls its state became another; never, while it has the first one.
    pub state_since: Option<Time>,
    /// Base priority and weights, not clamped.
    pub total: i32,
    /// The interval of the master we follow, which version 3 learns from its adverts.
    pub(super) learned_interval: Duration,
    /// Source address of its adverts.
    pub source: Option<IpAddr>,
    /// The mount hook that is running, if any.
    pub(super) mount_running: Option<super::event::MountAction>,
    pub(super) hold_down: HoldDown,
    /// What ties it to its sync group.
    pub(super) bond: Bond,
    /// A reload has made it, and another instance, perhaps of the same storage, lets go first.
    pub(super) is_held_back: bool,
    /// A reload has removed it: it lets go, and is forgotten then.
    pub(super) is_removed: bool,
    pub(super) signing: Signing,
    pub(super) farewell: Option<Farewell>,
    pub(super) preempt_delay_until: Option<Time>,
    pub(super) bursts: Bursts,
    /// The highest priority it ever advertised.
    pub(super) highest_sent: u8,
    pub(super) ip_id: u16,
    previous: &'static str,
    notified: Option<NotifyState>,
    /// What a former run held, and from then on what was last written down.
    pub(super) former: Held,
    /// The storage was lost to a fence or a failure, and no master was heard since.
    pub(super) lost: bool,
    /// A person gave the proof for the next acquire.
    pub(super) has_person_s_word: bool,
    pub(super) hold: Hold,
    pub(super) resigned: Option<Resigned>,
    /// The next look at the storage that is held, and the last one that was made out of turn.
    pub(super) probe_at: Option<Time>,
    pub(super) probed_at: Option<Time>,
    /// When it answered somebody else's claim last.
    pub(super) answered_at: Option<Time>,
    /// So many claims of worse masters it has answered since it last heard none for a while.
    pub(super) insisted_count: u64,
    /// When another master was heard last while this node was master.
    pub(super) conflict_at: Option<Time>,
    /// Another master was heard while we hold the storage: the next look has to prove that it is ours
    /// alone, since a machine that stood still with all its clocks knows nothing of it.
    pub(super) has_met_conflict: bool,
    /// The look that is under way is that one.
    pub(super) proves_conflict: bool,
    /// Something static that it tracks and that the kernel does not take.
    pub(super) static_missing: Option<String>,
    /// Why its adverts cannot be sent or heard, if they cannot.
    pub no_socket: Option<String>,
    /// Why its adverts do not go out, if they do not.
    pub mute: Option<String>,
    /// What of its addresses, routes and rules is not set although it is master, and why.
    pub unset: Vec<String>,
    /// When it became master last.
    master_since: Option<Time>,
    startup_delay: Duration,
    pub(super) grace: Grace,
}

/// Announcements that are still to come while master.
#[derive(Clone, Debug, Default)]
pub(super) struct Bursts {
    /// The second burst after becoming master.
    pub(super) second_at: Option<Time>,
    /// The second burst after a lower-priority advert.
    pub(super) lower_prio_at: Option<Time>,
    /// The periodic one.
    pub(super) refresh_at: Option<Time>,
    /// The next of those on interfaces that adverts are not sent on.
    pub(super) extra_at: Option<Time>,
}

impl Instance {
    /// An instance that has seen nothing yet, but may remember a former run of the daemon.
    pub fn new(
        id: InstanceId,
        spec: InstanceSpec,
        startup_delay: Duration,
        memory: Memory,
    ) -> Self {
        Self {
            former: memory.held,
            lost: memory.lost,
            has_person_s_word: false,
            hold: Hold::default(),
            resigned: None,
            probe_at: None,
            probed_at: None,
            master_since: None,
            answered_at: None,
            insisted_count: 0,
            conflict_at: None,
            has_met_conflict: false,
            proves_conflict: false,
            static_missing: None,
            no_socket: None,
            mute: None,
            unset: Vec::new(),
            id,
            learned_interval: spec.advert_interval,
            total: i32::from(spec.priority),
            spec,
            phase: Phase::Init,
            stats: Stats::default(),
            peers: Peers::remembering(memory.peers),
            reason: Reason::Start,
            detail: String::new(),
            transition: 0,
            entered_at: None,
            state_since: None,
            source: None,
            mount_running: None,
            hold_down: HoldDown::default(),
            bond: Bond::default(),
            is_held_back: false,
            is_removed: false,
            signing: Signing::default(),
            farewell: None,
            preempt_delay_until: None,
            bursts: Bursts::default(),
            highest_sent: memory.highest_sent,
            ip_id: 0,
            previous: "INIT",
            notified: None,
            startup_delay,
            grace: Grace::default(),
        }
    }

    /// What the mount hook was asked to do and has not answered yet.
    pub const fn mount_running(&self) -> Option<super::event::MountAction> {
        self.mount_running
    }

    /// Priority in adverts: the owner's 255, or what base and weights add up to, within 1 to 254.
    pub fn priority(&self) -> u8 {
        match self.spec.priority {
            u8::MAX => u8::MAX,
            _ => self.total.clamp(1, 254) as u8,
        }
    }

    /// The interval at which a master's adverts are expected: our own, or in version 3 while we
    /// follow one, its.
    pub fn master_interval(&self) -> Duration {
        match (self.spec.version, &self.phase) {
            (Version::V3, Phase::Backup { .. }) => self.learned_interval,
            (Version::V2 | Version::V3, _) => self.spec.advert_interval,
        }
    }

    /// Skew time of our priority.
    pub fn skew(&self) -> Duration {
        self.skew_of(self.priority())
    }

    /// Skew time: part of a second in version 2 (RFC 3768, 6.1), of the master's interval in
    /// version 3 (RFC 5798, 6.1).
    fn skew_of(&self, priority: u8) -> Duration {
        let whole = match self.spec.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.master_interval(),
        };
        whole * (256 - u32::from(priority)) / 256
    }

    /// Master down interval: the missed adverts it takes, and the skew.
    pub fn master_down_interval(&self) -> Duration {
        self.master_interval() * self.spec.down_timer_adverts + self.skew()
    }

    /// The longest that a change of an interface may be held back (keepalived's figure): less than
    /// what another node still waits after an advert that was due when the change came.
    pub fn link_delay_max(&self) -> Duration {
        let interval = self.master_interval();
        (interval * (self.spec.down_timer_adverts - 1)).saturating_sub(interval / 256)
    }

    /// For how long its interface, the carrier or its own address may be gone without being a fault
    /// (design 11, blips; keepalived's fault is immediate): an advert interval, in which no advert is
    /// late. Leaving storage costs seconds, so with storage twice that: still before another node
    /// gives up waiting.
    pub fn blip_max(&self) -> Duration {
        let interval = self.master_interval();
        let most = if self.spec.gate.is_some() { interval * 2 } else { interval };
        most.min(self.link_delay_max())
    }

    /// Are adverts that are sent to this address heard by this instance?
    pub fn is_for(&self, to: IpAddr) -> bool {
        match self.spec.destination {
            Destination::Group(group) => group == to,
            Destination::Peers { .. } => self.source == Some(to),
        }
    }

    /// The earliest deadline, if any.
    pub fn deadline(&self) -> Option<Time> {
        let phase = match &self.phase {
            Phase::Backup { down_at } => Some(*down_at),
            Phase::Acquiring(acquiring) => Some(acquiring.advert_at.min(match acquiring.step {
                Step::AwaitingRelease { until } | Step::Listening { until } => until,
                Step::Pausing { retry_at, .. } => retry_at,
                Step::Running { .. } | Step::Following => acquiring.advert_at,
            })),
            Phase::Master { advert_at, .. } => Some(*advert_at),
            Phase::Releasing(releasing) => releasing.advert_at,
            Phase::Probing(probing) => {
                let heartbeat_at = probing.heartbeat_at;
                Some(probing.listen_until.map_or(heartbeat_at, |until| until.min(heartbeat_at)))
            }
            Phase::Fault => self.hold_down.until,
            Phase::Stuck(_) if self.bond.is_follower() => None,
            Phase::Stuck(stuck) => self.mount_running.is_none().then_some(stuck.retry_at),
            Phase::Init | Phase::Stopped => None,
        };
        let rest = [
            self.farewell.as_ref().map(|f| f.next_at),
            self.bursts.second_at,
            self.bursts.lower_prio_at,
            self.bursts.refresh_at,
            self.bursts.extra_at,
            self.grace_ends_at(),
            self.probe_at.filter(|_| self.mount_running.is_none()),
        ];
        rest.into_iter().flatten().chain(phase).min()
    }

    /// Does everything that is due.
    pub fn tick(&mut self, ctx: &mut Ctx<'_>) {
        self.tick_farewell(ctx);
        match &self.phase {
            Phase::Backup { down_at } if *down_at <= ctx.now => match self.bond.is_bound() {
                true => self.wait_for_others(ctx),
                false => self.take_over(ctx),
            },
            Phase::Acquiring(_) => self.tick_acquiring(ctx),
            Phase::Probing(_) => self.tick_probing(ctx),
            Phase::Master { .. } => self.tick_master(ctx),
            Phase::Releasing(_) => self.tick_releasing(ctx),
            Phase::Fault if self.hold_down.ends(ctx.now) => self.review(ctx),
            Phase::Stuck(_) => self.tick_stuck(ctx),
            Phase::Backup { .. } | Phase::Fault | Phase::Init | Phase::Stopped => {}
        }
        if self.grace_ends_at().is_some_and(|at| at <= ctx.now) {
            self.grace.excused.clear();
            self.review(ctx);
        }
    }

    fn tick_master(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now;
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let garp = self.spec.garp;
        if let Phase::Master { advert_at, .. } = &mut self.phase
            && *advert_at <= ctx.now
        {
            *advert_at = next_advert(*advert_at, self.spec.advert_interval, ctx.now);
            self.send_advert(ctx);
        }
        if due(self.bursts.second_at) {
            self.bursts.second_at = None;
            self.announce(garp.repeat, ctx);
        }
        if due(self.bursts.lower_prio_at) {
            self.bursts.lower_prio_at = None;
            self.announce(garp.lower_prio_repeat, ctx);
        }
        if due(self.bursts.refresh_at) {
            self.bursts.refresh_at = Some(ctx.now + garp.refresh);
            self.announce(garp.refresh_repeat, ctx);
        }
        if due(self.bursts.extra_at) {
            self.bursts.extra_at = Some(ctx.now + garp.extra);
            let addresses = self.spec.extra_addresses();
            ctx.out.push(Action::AnnounceSome { instance: self.id, addresses });
        }
        self.tick_probe(ctx);
    }

    fn tick_releasing(&mut self, ctx: &mut Ctx<'_>) {
        let interval = self.spec.advert_interval;
        if let Phase::Releasing(Releasing { advert_at: Some(at), .. }) = &mut self.phase
            && *at <= ctx.now
        {
            *at = next_advert(*at, interval, ctx.now);
            self.send_advert(ctx);
        }
    }

    /// Looks at everything that is tracked, and draws the conclusions.
    pub fn review(&mut self, ctx: &mut Ctx<'_>) {
        self.source = ctx.links[self.spec.link.0].source(&self.spec, self.source);
        self.update_priority(ctx);
        match &self.phase {
            _ if self.bond.is_follower() => self.review_follower(ctx),
            Phase::Init if self.is_ready(self.resumes(), ctx) => {
                if !self.bond.are_others_unready && !self.is_held_back {
                    self.start(ctx);
                }
            }
            Phase::Backup { .. } | Phase::Acquiring(_) | Phase::Master { .. } => {
                if let Some((reason, detail)) = self.pressing_cause(ctx) {
                    self.let_go(Goal::Fault, reason, detail, ctx);
                }
            }
            Phase::Probing(probing) if probing.why != Doubt::Start => {
                if let Some((reason, detail)) = self.pressing_cause(ctx) {
                    self.let_go(Goal::Fault, reason, detail, ctx);
                }
            }
            Phase::Fault => {
                if self.cause(ctx).is_none() && self.hold_down.is_over(ctx.now) {
                    self.enter_backup(Reason::FaultGone, String::new(), ctx);
                }
            }
            Phase::Releasing(releasing) => {
                if releasing.advert_at.is_some() && !self.can_send(ctx) {
                    self.fall_silent();
                }
            }
            Phase::Init | Phase::Probing(_) | Phase::Stuck(_) | Phase::Stopped => {}
        }
    }

    /// A follower is told where to go; what it looks after itself is its voice.
    fn review_follower(&mut self, ctx: &mut Ctx<'_>) {
        if matches!(self.phase, Phase::Releasing(_)) && !self.can_send(ctx) {
            self.fall_silent();
        }
    }

    /// Leaves `init`. Addresses that a former run left are removed, as keepalived does.
    fn start(&mut self, ctx: &mut Ctx<'_>) {
        if self.spec.gate.is_some() {
            return self.begin_with_storage(ctx);
        }
        ctx.out.push(Action::TakeAddresses { instance: self.id });
        self.settle(Goal::Backup, Reason::Start, String::new(), ctx);
    }

    /// Becomes what was aimed at, or a fault if there is a cause.
    pub(super) fn settle(&mut self, goal: Goal, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        if goal == Goal::Stop {
            self.enter(Phase::Stopped, reason, detail, ctx);
            // keepalived tells an instance that a reload has removed that it is faulty.
            let state = match (reason, self.spec.notifies_deleted) {
                (Reason::Removed, true) => NotifyState::Deleted,
                (Reason::Removed, false) => NotifyState::Fault,
                _ => NotifyState::Stop,
            };
            return self.notify(state, ctx);
        }
        let cause = self.cause(ctx);
        if cause.is_none() && self.hold_down.is_over(ctx.now) {
            return self.enter_backup(reason, detail, ctx);
        }
        let is_own = matches!(goal, Goal::Fault);
        let (reason, detail) = match cause {
            Some(cause) if !is_own => cause,
            _ => (reason, detail),
        };
        self.enter(Phase::Fault, reason, detail, ctx);
        self.notify(NotifyState::Fault, ctx);
    }

    pub(super) fn enter_backup(&mut self, reason: Reason, detail: String, ctx: &mut Ctx<'_>) {
        self.announce_source(ctx);
        let is_owner = self.spec.priority == u8::MAX && self.spec.wants_master && !self.is_barred();
        let is_new = matches!(self.phase, Phase::Init | Phase::Fault);
        if is_owner && is_new && !self.bond.is_bound() {
            // keepalived's owner waits a microsecond and never says that it was a backup.
            return self.take_over(ctx);
        }
        let delay = std::mem::take(&mut self.startup_delay);
        // An owner in a group waits as long as the others need to be ready, too (keepalived).
        let wait = match is_owner && is_new {
            true => self.spec.advert_interval + self.skew(),
            false => self.master_down_interval(),
        };
        let down_at = ctx.now + wait + delay;
        self.preempt_delay_until = None;
        self.enter(Phase::Backup { down_at }, reason, detail, ctx);
        self.heed_person(ctx.now);
        self.notify(NotifyState::Backup, ctx);
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
        self.become_master(ctx.now + self.spec.advert_interval, reason, detail, ctx);
    }

    /// Addresses, announcements and notify, in keepalived's order.
    pub(super) fn become_master(
        &mut self,
        advert_at: Time,
        reason: Reason,
        detail: String,
        ctx: &mut Ctx<'_>,
    ) {
        let garp = self.spec.garp;
        self.farewell = None;
        self.stats.became_master += 1;
        self.insisted_count = 0;
        self.master_since = Some(ctx.now);
        self.learned_interval = self.spec.advert_interval;
        self.plan_probe(ctx.now);
        self.grace.acquired_at = Some(ctx.now);
        let some = |span: Duration| (!span.is_zero()).then(|| ctx.now + span);
        self.bursts = Bursts {
            second_at: some(garp.delay),
            lower_prio_at: None,
            refresh_at: some(garp.refresh),
            extra_at: some(garp.extra).filter(|_| !self.spec.extra_addresses().is_empty()),
        };
        self.enter(Phase::Master { advert_at, better: None }, reason, detail, ctx);
        ctx.out.push(Action::PutAddresses { instance: self.id });
        self.announce(garp.repeat, ctx);
        self.notify(NotifyState::Master, ctx);
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
        self.brake(reason, ctx.now);
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

    /// Storage is not moved to and fro: a node that gives it up soon after it took it stays down
    /// for a while, longer each time, until it has held it for long.
    fn brake(&mut self, reason: Reason, now: Time) {
        let Phase::Master { .. } = &self.phase else { return };
        let held_for = self.master_since.map_or(Duration::ZERO, |since| now.since(since));
        if self.spec.gate.is_none() || reason == Reason::StorageFailed {
            return;
        }
        if held_for >= STABLE_AFTER {
            self.hold_down.forget();
        } else if held_for < FLAP_WITHIN && reason == Reason::CheckFailed {
            self.hold_down.begin(now);
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
        self.take_addresses(ctx);
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

    /// Takes the addresses off and forgets what was still to be announced.
    pub(super) fn take_addresses(&mut self, ctx: &mut Ctx<'_>) {
        self.bursts = Bursts::default();
        ctx.out.push(Action::StopAnnouncing { instance: self.id });
        ctx.out.push(Action::TakeAddresses { instance: self.id });
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
        let was = self.phase.state();
        if matches!(self.phase, Phase::Master { .. }) {
            self.stats.released_master += 1;
            self.probe_at = None;
        }
        self.phase = phase;
        if matches!(self.phase, Phase::Backup { .. } | Phase::Fault | Phase::Stopped) {
            // It sends nothing now.
            self.mute = None;
        }
        self.bond.is_due = false;
        if self.phase.state() != was {
            self.previous = was;
            self.state_since = Some(ctx.now);
        }
        self.transition += 1;
        self.entered_at = Some(ctx.now);
        self.reason = reason;
        self.detail = detail;
        self.report_phase(ctx);
        let facts = Box::new(self.facts(ctx.now));
        ctx.out.push(Action::Entered { instance: self.id, facts });
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

    /// Tells the log something about this instance.
    pub(super) fn report(&self, level: Level, text: String, ctx: &mut Ctx<'_>) {
        let text = format!("({}) {text}", self.spec.name);
        ctx.out.push(Action::Report(Report { instance: Some(self.id), level, text }));
    }

    /// Queues the notify scripts, unless they were already told this state.
    pub(super) fn notify(&mut self, state: NotifyState, ctx: &mut Ctx<'_>) {
        if self.notified == Some(state) {
            return;
        }
        self.notified = Some(state);
        let facts = Box::new(self.facts(ctx.now));
        ctx.out.push(Action::Notify { instance: self.id, state, facts });
    }

    /// What a hook is told now.
    pub fn facts(&self, now: Time) -> Facts {
        let (how, released) = match &self.phase {
            Phase::Acquiring(acquiring) => (Some(acquiring.how.word()), acquiring.is_proven),
            _ => (None, false),
        };
        Facts {
            instance: self.spec.name.clone(),
            group: self.bond.group.clone(),
            state: self.phase.state(),
            previous: self.previous,
            phase: self.phase.word(),
            reason: self.reason.word(),
            detail: self.detail.clone(),
            transition: self.transition,
            vrid: self.spec.vrid,
            priority: self.priority(),
            peer: self.peers.latest().map(|peer| peer.facts(now)),
            how,
            released,
            lost: self.lost,
        }
    }

    pub(super) fn announce(&self, rounds: u32, ctx: &mut Ctx<'_>) {
        if rounds > 0 {
            ctx.out.push(Action::Announce { instance: self.id, rounds });
        }
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
        let has_interface = !ctx.links[self.spec.link.0].name.is_empty();
        if let (true, Destination::Peers { .. }, Some(source)) =
            (is_due && has_interface, &self.spec.destination, self.source)
        {
            let what = if source.is_ipv4() { "ARP" } else { "NA" };
            self.report(Level::Detail, format!("sending gratuitous {what} for {source}"), ctx);
            ctx.out.push(Action::AnnounceSource { instance: self.id, source });
        }
    }

    /// Somebody had taken away addresses, which are put back by now (design 4.8). keepalived makes two
    /// transitions of that.
    pub(super) fn addresses_restored(&mut self, addresses: &[IpAddr], ctx: &mut Ctx<'_>) {
        let (Phase::Master { .. }, Some(first)) = (&self.phase, addresses.first()) else { return };
        let more = match addresses.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let text = format!("virtual address {first}{more} was removed by somebody; it is put back");
        self.report(Level::Warning, text, ctx);
        self.announce(self.spec.garp.repeat, ctx);
    }
}

/// The deadline after `last`: one interval later, so that lateness does not add up, but never in
/// the past after a stall.
pub(super) fn next_advert(last: Time, interval: Duration, now: Time) -> Time {
    let next = last + interval;
    if next > now { next } else { now + interval }
}

impl Acquiring {
    /// Has the mount hook been started for it, so that there may be something to give back?
    pub(super) const fn has_begun(&self) -> bool {
        match self.step {
            Step::AwaitingRelease { .. } | Step::Listening { .. } | Step::Following => false,
            Step::Running { .. } | Step::Pausing { .. } => true,
        }
    }
}
