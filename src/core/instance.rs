//! One VRRP instance: what it is, what it waits for, what it sees, and what a person may want of it.
//!
//! How it goes from phase to phase is in `transition`, what it does about adverts in `hear`, how its
//! storage comes and goes in `storage`.

use std::net::IpAddr;
use std::time::Duration;

use super::bond::{Bond, Role};
use super::bursts::Bursts;
use super::cause::{Tracked, Troubles};
use super::conflict::Conflict;
use super::context::{Ctx, World};
use super::event::{Action, Facts, Held, Level, Memory, MountAction, NotifyState, Reason, Report};
use super::farewell::Farewell;
use super::grace::Grace;
use super::hold::Hold;
use super::hold_down::HoldDown;
use super::peers::Peers;
use super::phase::{Acquiring, Doubt, Goal, Phase, Releasing, Step};
use super::receive::Heard;
use super::resign::Resignation;
use super::sense::Senses;
use super::speak::Voice;
use super::spec::{CheckId, Destination, InstanceId, InstanceSpec, Version};
use super::stats::Stats;
use super::track::Check;
use super::watch::Watch;
use super::{Shared, Table, Time};

/// Who was heard within so many intervals is there.
const HEARD_WITHIN_INTERVALS: u32 = 3;
/// Priority zeros of one that resigns without storage, as keepalived sends on a fault: one alone may
/// be lost.
const RESIGNATION_ZEROS: u32 = 2;

/// One VRRP instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What it is called.
    pub id: InstanceId,
    /// What it is configured to be.
    pub spec: Shared<InstanceSpec>,
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
    /// Source address of its adverts.
    pub source: Option<IpAddr>,
    /// What the host does not give it.
    pub troubles: Troubles,
    /// The interval of the master we follow, which version 3 learns from its adverts.
    pub(super) learned_interval: Duration,
    /// The highest priority it ever advertised.
    pub(super) highest_sent: u8,
    pub(super) voice: Voice,
    pub(super) farewell: Option<Farewell>,
    pub(super) bursts: Bursts,
    pub(super) conflict: Conflict,
    pub(super) preempt_delay_until: Option<Time>,
    pub(super) startup_delay: Duration,
    /// When it became master last.
    pub(super) master_since: Option<Time>,
    /// What VRRP called its state before, and what notify scripts were told last.
    pub(super) previous: &'static str,
    pub(super) notified: Option<NotifyState>,
    /// What ties it to its sync group.
    pub(super) bond: Bond,
    /// A reload has made it, and another instance, perhaps of the same storage, lets go first.
    pub(super) is_held_back: bool,
    /// A reload has removed it: it lets go, and is forgotten then.
    pub(super) is_removed: bool,
    pub(super) hold: Hold,
    pub(super) resignation: Resignation,
    pub(super) hold_down: HoldDown,
    pub(super) grace: Grace,
    /// The mount hook that is running, if any.
    pub(super) mount_running: Option<MountAction>,
    /// When the storage that is held is looked at.
    pub(super) watch: Watch,
    /// What a former run held, and from then on what was last written down.
    pub(super) former: Held,
    /// The storage was lost to a fence or a failure, and no master was heard since.
    pub(super) lost: bool,
    /// A person gave the proof for the next acquire.
    pub(super) has_person_s_word: bool,
}

/// What an instance may wait for. What is due at the same moment is done in this order.
#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The next priority 0.
    Farewell,
    /// The next advert; in doubt, when one would be due.
    Advert,
    /// What ends the phase, or a step of it.
    Phase,
    /// Announcements.
    SecondBurst,
    LowerPriorityBurst,
    Refresh,
    ExtraRefresh,
    /// A look at the storage.
    Watch,
    /// The end of the grace of failing checks.
    Grace,
}

impl Timer {
    const ALL: [Self; 9] = [
        Self::Farewell,
        Self::Advert,
        Self::Phase,
        Self::SecondBurst,
        Self::LowerPriorityBurst,
        Self::Refresh,
        Self::ExtraRefresh,
        Self::Watch,
        Self::Grace,
    ];
}

impl Instance {
    /// An instance that has seen nothing yet, but may remember a former run of the daemon.
    pub fn new(
        id: InstanceId,
        spec: Shared<InstanceSpec>,
        startup_delay: Duration,
        memory: Memory,
    ) -> Self {
        Self {
            id,
            phase: Phase::Init,
            stats: Stats::default(),
            peers: Peers::remembering(memory.peers),
            reason: Reason::Start,
            detail: String::new(),
            transition: 0,
            entered_at: None,
            state_since: None,
            total: i32::from(spec.priority),
            source: None,
            troubles: Troubles::default(),
            learned_interval: spec.advert_interval,
            highest_sent: memory.highest_sent,
            voice: Voice::default(),
            farewell: None,
            bursts: Bursts::default(),
            conflict: Conflict::default(),
            preempt_delay_until: None,
            startup_delay,
            master_since: None,
            previous: "INIT",
            notified: None,
            bond: Bond::default(),
            is_held_back: false,
            is_removed: false,
            hold: Hold::default(),
            resignation: Resignation::default(),
            hold_down: HoldDown::default(),
            grace: Grace::default(),
            mount_running: None,
            watch: Watch::default(),
            former: memory.held,
            lost: memory.lost,
            has_person_s_word: false,
            spec,
        }
    }

    /// What the mount hook was asked to do and has not answered yet.
    pub const fn mount_running(&self) -> Option<MountAction> {
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
        match &self.phase {
            Phase::Backup { .. } => self.followed_interval(),
            _ => self.spec.advert_interval,
        }
    }

    /// The interval of the master that was heard last: in version 2 it has ours.
    pub(super) fn followed_interval(&self) -> Duration {
        match self.spec.version {
            Version::V2 => self.spec.advert_interval,
            Version::V3 => self.learned_interval,
        }
    }

    /// Skew time of our priority.
    pub fn skew(&self) -> Duration {
        self.skew_of(self.priority())
    }

    /// Skew time: part of a second in version 2 (RFC 3768, 6.1), of the master's interval in
    /// version 3 (RFC 5798, 6.1).
    pub(super) fn skew_of(&self, priority: u8) -> Duration {
        self.skew_in(self.master_interval(), priority)
    }

    fn skew_in(&self, interval: Duration, priority: u8) -> Duration {
        let whole = match self.spec.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => interval,
        };
        whole * (256 - u32::from(priority)) / 256
    }

    /// Master down interval: the missed adverts it takes, and the skew.
    pub fn master_down_interval(&self) -> Duration {
        self.down_after(self.master_interval())
    }

    /// The same of a master with this interval.
    pub(super) fn down_after(&self, interval: Duration) -> Duration {
        interval * self.spec.down_timer_adverts + self.skew_in(interval, self.priority())
    }

    /// Another node is master, or will be: it is waited for at its pace.
    pub(super) const fn follows(&mut self, heard: &Heard) {
        self.peers.followed = Some(heard.from);
        self.learned_interval = heard.interval;
    }

    /// The longest that a change of an interface may be held back (keepalived's figure): less than
    /// what another node still waits after an advert that was due when the change came.
    pub fn link_delay_max(&self) -> Duration {
        let interval = self.master_interval();
        (interval * (self.spec.down_timer_adverts - 1)).saturating_sub(interval / 256)
    }

    /// For how long an interface that it needs, a carrier or its own address may be gone without being
    /// a fault (design 11, blips; keepalived's fault is immediate): an advert interval, in which no
    /// advert is late. Leaving storage costs seconds, so with storage twice that: still before another node
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

    /// Its role among others.
    pub const fn role(&self) -> Role {
        self.bond.role
    }

    /// The name of its sync group.
    pub fn group(&self) -> Option<&str> {
        self.bond.group.as_deref()
    }

    /// Is it on hold?
    pub const fn is_held(&self) -> bool {
        self.hold.is_on
    }

    /// Has it resigned?
    pub const fn has_resigned(&self) -> bool {
        self.resignation.is_on()
    }

    /// Until when it is held down after a failure, if it is.
    pub fn held_down_until(&self, now: Time) -> Option<Time> {
        self.hold_down.until.filter(|&until| now < until)
    }

    /// The storage was lost to a fence or a failure, and no master was heard since.
    pub const fn has_lost_storage(&self) -> bool {
        self.lost
    }

    /// What it holds, as it is written down.
    pub const fn held(&self) -> Held {
        self.former
    }

    /// A former run held the storage.
    pub(super) fn resumes(&self) -> bool {
        self.spec.gate.is_some() && self.former == Held::Held
    }

    /// When this timer runs out, if it runs.
    fn at(&self, timer: Timer) -> Option<Time> {
        match timer {
            Timer::Farewell => self.farewell.as_ref().map(|farewell| farewell.next_at),
            Timer::Advert => match &self.phase {
                Phase::Acquiring(Acquiring { advert_at, .. }) | Phase::Master { advert_at, .. } => {
                    Some(*advert_at)
                }
                Phase::Releasing(releasing) => releasing.advert_at,
                Phase::Probing(probing) => Some(probing.heartbeat_at),
                Phase::Init
                | Phase::Backup { .. }
                | Phase::Fault
                | Phase::Stuck(_)
                | Phase::Stopped => None,
            },
            Timer::Phase => match &self.phase {
                Phase::Backup { down_at } => Some(*down_at),
                Phase::Acquiring(acquiring) => match acquiring.step {
                    Step::AwaitingRelease { until } | Step::Listening { until } => Some(until),
                    Step::Pausing { retry_at, .. } => Some(retry_at),
                    Step::Running { .. } | Step::Following => None,
                },
                Phase::Probing(probing) => probing.listen_until,
                Phase::Fault => self.hold_down.until,
                // Its leader tries, and not while a hook still runs.
                Phase::Stuck(_) if self.bond.is_follower() || self.mount_running.is_some() => None,
                Phase::Stuck(stuck) => Some(stuck.retry_at),
                Phase::Init | Phase::Master { .. } | Phase::Releasing(_) | Phase::Stopped => None,
            },
            Timer::SecondBurst => self.bursts.second_at,
            Timer::LowerPriorityBurst => self.bursts.lower_prio_at,
            Timer::Refresh => self.bursts.refresh_at,
            Timer::ExtraRefresh => self.bursts.extra_at,
            Timer::Watch => self.watch.next_at.filter(|_| self.mount_running.is_none()),
            Timer::Grace => self.grace.ends_at(&self.spec.track_checks),
        }
    }

    fn run_out(&mut self, timer: Timer, ctx: &mut Ctx<'_>) {
        let garp = self.spec.garp;
        match timer {
            Timer::Farewell => self.repeat_farewell(ctx),
            Timer::Advert => self.advert_is_due(ctx),
            Timer::Phase => self.phase_is_over(ctx),
            Timer::SecondBurst => {
                self.bursts.second_at = None;
                self.announce(garp.repeat, ctx);
            }
            Timer::LowerPriorityBurst => {
                self.bursts.lower_prio_at = None;
                self.announce(garp.lower_prio_repeat, ctx);
            }
            Timer::Refresh => {
                self.bursts.refresh_at = Some(ctx.now + garp.refresh);
                self.announce(garp.refresh_repeat, ctx);
            }
            Timer::ExtraRefresh => {
                self.bursts.extra_at = Some(ctx.now + garp.extra);
                let addresses = self.spec.extra_addresses();
                ctx.out.push(Action::AnnounceSome { instance: self.id, addresses });
            }
            Timer::Watch => self.run_probe(ctx),
            Timer::Grace => {
                self.grace.end();
                self.review(ctx);
            }
        }
    }

    /// The earliest deadline, if any.
    pub fn deadline(&self) -> Option<Time> {
        Timer::ALL.into_iter().filter_map(|timer| self.at(timer)).min()
    }

    /// Does everything that is due.
    pub fn tick(&mut self, ctx: &mut Ctx<'_>) {
        for timer in Timer::ALL {
            if self.at(timer).is_some_and(|at| at <= ctx.now) {
                self.run_out(timer, ctx);
            }
        }
    }

    /// Sends an advert that is due. One that is late by its interval waits until all is read that has
    /// come in: who stood still for so long may have to hear that it is no master any more.
    pub(super) fn advert_in_time(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now;
        let is_in_time = |at: &Time| *at <= now && now.since(*at) < self.spec.advert_interval;
        if self.at(Timer::Advert).as_ref().is_some_and(is_in_time) {
            self.run_out(Timer::Advert, ctx);
        }
    }

    fn advert_is_due(&mut self, ctx: &mut Ctx<'_>) {
        let interval = self.spec.advert_interval;
        match &mut self.phase {
            // It sends nothing; but a freeze is to be noticed here too.
            Phase::Probing(probing) => probing.heartbeat_at = ctx.now + interval,
            Phase::Acquiring(Acquiring { advert_at: at, .. })
            | Phase::Master { advert_at: at, .. }
            | Phase::Releasing(Releasing { advert_at: Some(at), .. }) => {
                *at = next_advert(*at, interval, ctx.now);
                self.send_advert(ctx);
            }
            Phase::Releasing(_)
            | Phase::Init
            | Phase::Backup { .. }
            | Phase::Fault
            | Phase::Stuck(_)
            | Phase::Stopped => {}
        }
    }

    fn phase_is_over(&mut self, ctx: &mut Ctx<'_>) {
        match &self.phase {
            Phase::Backup { .. } if self.bond.is_bound() => self.wait_for_others(ctx),
            Phase::Backup { .. } => self.take_over(ctx),
            Phase::Acquiring(_) => self.go_on_acquiring(ctx),
            Phase::Probing(_) => self.go_on(ctx),
            Phase::Fault => {
                self.hold_down.ends(ctx.now);
                self.review(ctx);
            }
            Phase::Stuck(_) => self.run_release(ctx),
            Phase::Init | Phase::Master { .. } | Phase::Releasing(_) | Phase::Stopped => {}
        }
    }

    /// What it sees of everything that it tracks.
    pub(super) fn tracked<'a>(&'a self, world: World<'a>) -> Tracked<'a> {
        let listens = matches!(self.phase, Phase::Init | Phase::Backup { .. } | Phase::Fault);
        let keeps =
            matches!(self.phase, Phase::Master { .. } | Phase::Acquiring(_) | Phase::Probing(_));
        Tracked {
            spec: &self.spec,
            world,
            troubles: &self.troubles,
            grace: &self.grace,
            source: self.source,
            listens,
            ignores_checks: self.hold.is_on && keeps,
        }
    }

    /// The first reason why this instance must not be master, if there is one: its own, or another
    /// member's of its sync group.
    pub(super) fn cause(&self, world: World<'_>) -> Option<(Reason, String)> {
        self.tracked(world).cause().or_else(|| self.bond.others_cause.clone())
    }

    /// What keeps a running instance from being or staying master. An equal among others is pulled
    /// by them; a leader decides for all.
    fn pressing_cause(&self, world: World<'_>) -> Option<(Reason, String)> {
        match self.bond.role {
            Role::Leader(_) => self.cause(world),
            Role::Alone | Role::Member(_) | Role::Follower(_) | Role::Orphan => {
                self.tracked(world).cause()
            }
        }
    }

    /// Looks at everything that is tracked, and draws the conclusions.
    pub fn review(&mut self, ctx: &mut Ctx<'_>) {
        self.source = ctx.world.links[self.spec.link.0].source(&self.spec, self.source);
        self.update_priority(ctx);
        match &self.phase {
            _ if self.bond.is_follower() => self.review_follower(ctx),
            Phase::Init if self.tracked(ctx.world).is_known(self.resumes()) => {
                if !self.bond.are_others_unready && !self.is_held_back {
                    self.start(ctx);
                }
            }
            // What a former run left is found out whatever else is wrong.
            Phase::Probing(probing) if probing.why == Doubt::Start => {}
            Phase::Backup { .. }
            | Phase::Acquiring(_)
            | Phase::Probing(_)
            | Phase::Master { .. } => {
                if let Some((reason, detail)) = self.pressing_cause(ctx.world) {
                    self.let_go(Goal::Fault, reason, detail, ctx);
                }
            }
            Phase::Fault => {
                if self.cause(ctx.world).is_none() && self.hold_down.is_over(ctx.now) {
                    self.enter_backup(Reason::FaultGone, String::new(), ctx);
                }
            }
            Phase::Releasing(releasing) => {
                if releasing.advert_at.is_some() && !self.can_send(ctx) {
                    self.fall_silent();
                }
            }
            Phase::Init | Phase::Stuck(_) | Phase::Stopped => {}
        }
    }

    /// A follower is told where to go; what it looks after itself is its voice.
    fn review_follower(&mut self, ctx: &mut Ctx<'_>) {
        if matches!(self.phase, Phase::Releasing(_)) && !self.can_send(ctx) {
            self.fall_silent();
        }
    }

    /// Adds up base priority and weights. While backup, the running master down timer moves by
    /// the change of the skew.
    fn update_priority(&mut self, ctx: &mut Ctx<'_>) {
        let added: i32 = self.tracked(ctx.world).parts().map(|part| part.adds).sum();
        let total = i32::from(self.spec.priority) + added;
        if total == self.total || self.spec.priority == u8::MAX {
            return;
        }
        let (old, old_skew) = (self.priority(), self.skew());
        self.total = total;
        let (new, new_skew) = (self.priority(), self.skew());
        if let Phase::Backup { down_at } = &mut self.phase {
            *down_at = *down_at - old_skew + new_skew;
        }
        if old != new {
            let text = format!("Changing effective priority from {old} to {new}");
            self.report(Level::Info, text, ctx);
            let is_master = matches!(self.phase, Phase::Master { .. });
            ctx.out.push(Action::TellPriority { instance: self.id, is_master, priority: new });
        }
    }

    /// A check has succeeded: what is tracked by it is judged from now on.
    pub fn check_succeeded(&mut self, check: CheckId) {
        self.grace.check_succeeded(check, &self.spec.track_checks);
    }

    /// A person puts it on hold, or takes it off.
    pub fn put_on_hold(&mut self, is_on: bool, ctx: &mut Ctx<'_>) {
        if let Some(text) = self.hold.set(is_on) {
            self.report(Level::Warning, text.into(), ctx);
            self.review(ctx);
        }
    }

    /// Does it leave mastership to others, whatever its priority?
    pub(super) const fn is_barred(&self) -> bool {
        self.hold.is_on || self.resignation.is_on()
    }

    /// Would it stay backup if nobody were master?
    pub(super) const fn is_kept_backup(&self) -> bool {
        self.hold.is_on || self.resignation.awaits_master()
    }

    /// Nobody is master any more. Does it stay backup all the same? Then its timer begins anew.
    pub(super) fn stays_backup(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let text = match self.hold.is_on {
            true => self.hold.keeps_backup(),
            false => self.resignation.nobody_is_master(),
        };
        if let Some(text) = text {
            self.report(Level::Warning, text.into(), ctx);
        }
        if self.is_barred() {
            self.phase = Phase::Backup { down_at: ctx.now + self.master_down_interval() };
        }
        self.is_barred()
    }

    /// Why it does not resign, in words for the person who asked; nothing if it does.
    ///
    /// While it is master, a node that takes part in VRRP properly cannot be heard: then it is
    /// enough that one was ever heard. If nobody takes over, the mastership is taken back.
    pub(super) fn resign_refusal(&self, is_forced: bool, now: Time) -> Option<String> {
        let others_are_silent = match self.phase {
            Phase::Stopped => return Some("it is stopped".into()),
            Phase::Probing(_) => {
                return Some(
                    "it is being found out whether the storage is held here; try again in a moment"
                        .into(),
                );
            }
            Phase::Master { .. } | Phase::Acquiring(_) | Phase::Releasing(_) => true,
            Phase::Init | Phase::Backup { .. } | Phase::Fault | Phase::Stuck(_) => false,
        };
        if is_forced {
            return None;
        }
        if self.is_held() {
            let text = "it is on hold, and would not take back what nobody takes over";
            return Some(text.into());
        }
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
        let text = self.resignation.begin(is_forced);
        self.report(Level::Warning, text, ctx);
        let is_master = matches!(self.phase, Phase::Master { .. });
        if is_master && self.spec.gate.is_none() {
            (0..RESIGNATION_ZEROS).for_each(|_| self.send_priority_zero(ctx));
        }
        if is_master || matches!(self.phase, Phase::Acquiring(_)) {
            let detail = "a person wants it handed over".to_owned();
            self.let_go(Goal::Backup, Reason::Resign, detail, ctx);
        }
    }

    /// A person wants no more of it.
    pub fn cancel_resignation(&mut self, ctx: &mut Ctx<'_>) {
        if self.resignation.cancel() {
            self.report(Level::Warning, "the resignation is cancelled".into(), ctx);
        }
    }

    /// Goes on under a changed configuration. What changed in its addresses the shell puts and
    /// takes.
    pub(super) fn adopt(&mut self, spec: Shared<InstanceSpec>) {
        if self.spec.track_checks.len() != spec.track_checks.len() {
            self.grace = Grace::default();
        }
        if self.spec.source != spec.source {
            self.source = spec.source;
        }
        self.spec = spec;
    }

    /// Forgets what it tracks and the configuration does not have any more, and goes on without virtual
    /// MAC addresses: their interfaces are another's now, or nobody's, and what is left to say goes out of
    /// the interface itself.
    pub(super) fn forget_what_is_gone(&mut self, checks: &Table<CheckId, Check>, senses: &Senses) {
        self.grace = Grace::default();
        let spec = &mut *self.spec;
        spec.xmit = None;
        spec.vmacs.clear();
        spec.track_checks.retain(|track| checks.contains(track.check));
        spec.track_processes.retain(|(id, _)| senses.has_process(*id));
        spec.track_files.retain(|(id, _)| senses.has_file(*id));
        spec.track_bfds.retain(|(id, _)| senses.has_bfd(*id));
    }

    /// The interface is up and has an address to send from.
    pub(super) fn can_send(&self, ctx: &Ctx<'_>) -> bool {
        let mut needed = self.spec.xmit.iter().chain([&self.spec.link]);
        self.source.is_some() && needed.all(|id| ctx.world.links[id.0].is_up)
    }

    /// Sends an advert at our own priority; not while an acquire goes on that was frozen.
    pub(super) fn send_advert(&mut self, ctx: &mut Ctx<'_>) {
        if matches!(&self.phase, Phase::Acquiring(acquiring) if acquiring.is_lapsed) {
            return;
        }
        if self.highest_sent < self.priority() {
            self.highest_sent = self.priority();
            if self.spec.gate.is_some() {
                self.remember(self.former, ctx);
            }
        }
        self.send(self.priority(), ctx);
    }

    /// Says that we give up.
    pub(super) fn send_priority_zero(&mut self, ctx: &mut Ctx<'_>) {
        if self.can_send(ctx) {
            self.stats.priority_zero_sent += 1;
            self.send(0, ctx);
            self.report(Level::Detail, "sent 0 priority".into(), ctx);
        }
    }

    fn send(&mut self, priority: u8, ctx: &mut Ctx<'_>) {
        let Some(source) = self.source else { return };
        self.stats.adverts_sent += 1;
        self.voice.send(self.id, &self.spec, (source, priority), ctx);
    }

    /// Says that the storage is free, as often as it takes.
    pub(super) fn say_farewell(&mut self, goal: Goal, is_acknowledgement: bool, ctx: &mut Ctx<'_>) {
        if self.can_send(ctx) {
            let interval = self.spec.advert_interval;
            self.farewell = Some(Farewell::new(goal, is_acknowledgement, interval, ctx.now));
            self.repeat_farewell(ctx);
        }
    }

    fn repeat_farewell(&mut self, ctx: &mut Ctx<'_>) {
        let Some(farewell) = self.farewell.take() else { return };
        self.farewell = farewell.after_repeat(ctx.now);
        self.send_priority_zero(ctx);
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
