//! What an instance does about the adverts it hears, phase by phase (RFC 3768, section 6.4, as
//! keepalived does it; and who gives way when two nodes claim the same storage).

use std::net::IpAddr;
use std::time::Duration;

use super::Time;
use super::bond::{Calls, Role};
use super::context::Ctx;
use super::event::{Action, Level, NotifyState, Reason};
use super::hmac::Mistrust;
use super::instance::Instance;
use super::phase::{Claim, Goal, How, Phase, Step};
use super::receive::{self, Discard, Heard};
use super::spec::{Destination, Preempt};
use super::storage::LISTEN;
use crate::wire::vrrp::Packet;

/// A holder with no reason to move yields to a better claim that lasts for so many intervals.
pub const HOLDER_YIELDS_AFTER: u32 = 4;
/// An acquirer gives way after so many half intervals, so always first.
const ACQUIRER_YIELDS_AFTER_HALVES: u32 = 3;

impl Instance {
    /// Takes in a packet that carries this instance's VRID.
    pub fn packet(&mut self, packet: &Packet<'_>, ctx: &mut Ctx<'_>) {
        if self.spec.owner_ignores_adverts && self.spec.priority == u8::MAX {
            return;
        }
        let verdict = self.judge(packet, ctx);
        match self.phase {
            Phase::Init | Phase::Probing(_) | Phase::Fault | Phase::Stuck(_) | Phase::Stopped => {
                // Deaf, but for what the storage needs to know.
                if let Ok(heard) = verdict {
                    self.overhear(heard, ctx);
                }
            }
            Phase::Backup { .. }
            | Phase::Acquiring(_)
            | Phase::Master { .. }
            | Phase::Releasing(_) => match verdict {
                Ok(heard) => self.hear(heard, ctx),
                Err(discard) => {
                    self.discard(packet.source(), discard, ctx);
                    if let Discard::Signature(Mistrust::Stale(_)) = discard {
                        self.read_late(ctx.now);
                    }
                }
            },
        }
    }

    /// Does this packet count? Its signature is the last thing that is looked at, since that costs
    /// most.
    fn judge(&mut self, packet: &Packet<'_>, ctx: &mut Ctx<'_>) -> Result<Heard, Discard> {
        let Some(hmac) = &self.spec.hmac else {
            let heard = receive::check(&self.spec, packet, self.peers.followed)?;
            self.voice.row.check(self.spec.auth, packet).map_err(Discard::Ah)?;
            return Ok(heard);
        };
        let (packet, trailer) = packet.split_trailer();
        let heard = receive::check(&self.spec, &packet, self.peers.followed)?;
        let peers = match &self.spec.destination {
            Destination::Group(_) => 0,
            Destination::Peers { peers, .. } => peers.len(),
        };
        let utc = ctx.wall.at(ctx.now);
        let skew = self.voice.signing.check(hmac, peers, &packet, trailer, utc);
        if let Some(skew) = skew.map_err(Discard::Signature)? {
            let text = format!(
                "the clock of {} differs from ours by {} s, more than half of `time_window`, \
                 beyond which its adverts are dropped: see what sets the clocks",
                heard.from,
                skew.unsigned_abs()
            );
            self.report(Level::Warning, text, ctx);
        }
        Ok(heard)
    }

    /// A backup that was stalled finds adverts that have become too old meanwhile. They say nothing of
    /// now; but newer ones may have been lost, since a socket keeps the oldest. So the master gets
    /// one more master down interval; only one, or whoever has recorded adverts could keep us waiting.
    /// But he cannot make our timer late: where it is, we were stalled once more.
    fn read_late(&mut self, now: Time) {
        let next = now + self.master_down_interval();
        let interval = self.master_interval();
        if let Phase::Backup { down_at } = &mut self.phase
            && *down_at <= now
        {
            let is_stalled = now.since(*down_at) >= interval;
            let has_waited = std::mem::replace(&mut self.voice.signing.has_waited, true);
            if is_stalled || !has_waited {
                *down_at = next;
            }
        }
    }

    /// An advert in a phase that does not take part in VRRP: it may be the answer to a farewell, a
    /// rival while we are in doubt, or the first sign of a master since the storage was lost.
    fn overhear(&mut self, heard: Heard, ctx: &mut Ctx<'_>) {
        if Some(heard.from) == self.source {
            return;
        }
        self.lost = false;
        self.bond.calls.has_heard = true;
        if heard.priority > 0 {
            self.peers.heard(heard.from, heard.priority, ctx.now);
            self.follows(&heard);
            self.has_person_s_word = false;
            self.resignation.hears_master();
            self.master_answers(ctx.now);
            self.hear_in_doubt(ctx);
        }
    }

    /// Counts a packet that does not count, and says so: the first time, and then ever more
    /// rarely (the 2nd, 4th, 8th ... time), so that nobody can fill the log with it.
    fn discard(&mut self, from: IpAddr, discard: Discard, ctx: &mut Ctx<'_>) {
        let count = self.stats.count(discard);
        if count.is_power_of_two() {
            let again = if count > 1 { format!(" ({count} times)") } else { String::new() };
            self.report(Level::Info, format!("advert from {from}: {discard}{again}"), ctx);
        }
    }

    fn hear(&mut self, heard: Heard, ctx: &mut Ctx<'_>) {
        if Some(heard.from) == self.source {
            let text =
                format!("received our own advert, or one from our own address {}", heard.from);
            return self.report(Level::Detail, text, ctx);
        }
        self.stats.adverts_received += 1;
        self.hear_difference(&heard, ctx);
        self.lost = false;
        self.bond.calls.has_heard = true;
        if heard.priority == 0 {
            self.stats.priority_zero_received += 1;
            self.hear_priority_zero(heard, ctx);
            return;
        }
        self.master_answers(ctx.now);
        self.resignation.hears_master();
        self.has_person_s_word = false;
        self.bond.calls.is_claimed = true;
        match self.phase {
            Phase::Backup { .. } => self.hear_as_backup(heard, ctx),
            Phase::Acquiring(_) => self.hear_as_acquirer(heard, ctx),
            Phase::Master { .. } => self.hear_as_master(heard, ctx),
            Phase::Releasing(_) => self.hear_while_releasing(heard, ctx),
            Phase::Init | Phase::Probing(_) | Phase::Fault | Phase::Stuck(_) | Phase::Stopped => {}
        }
    }

    fn hear_difference(&mut self, heard: &Heard, ctx: &mut Ctx<'_>) {
        let Some(difference) = heard.addresses_differ else { return };
        self.stats.address_list_errors += 1;
        if self.stats.address_list_errors.is_power_of_two() {
            let text = format!("advert from {}: {difference} (used all the same)", heard.from);
            self.report(Level::Warning, text, ctx);
        }
    }

    fn hear_priority_zero(&mut self, heard: Heard, ctx: &mut Ctx<'_>) {
        let is_from_master = self.peers.followed.is_none_or(|master| master == heard.from);
        self.peers.heard(heard.from, 0, ctx.now);
        // One that was read late, after a freeze, says nothing about now.
        let is_late = matches!(&self.phase, Phase::Backup { down_at } if *down_at <= ctx.now);
        if is_from_master && !is_late {
            self.peers.followed_released(ctx.now);
        }
        match &self.phase {
            Phase::Backup { .. } if is_from_master => {
                // With proof there is no other backup to be let through first.
                let is_proven = self.is_release_proven(ctx.now);
                let wait = if is_proven { Duration::ZERO } else { self.skew() };
                let down_at = ctx.now + wait;
                self.phase = Phase::Backup { down_at };
                self.report(Level::Detail, "Backup received priority 0 advertisement".into(), ctx);
            }
            Phase::Backup { .. } => {
                let text = format!("priority 0 from {} ignored: not the master", heard.from);
                self.report(Level::Detail, text, ctx);
            }
            Phase::Acquiring(_) => {
                self.send_advert(ctx);
                if is_from_master {
                    self.acquirer_hears_release(ctx);
                }
            }
            Phase::Master { .. } => {
                self.send_advert(ctx);
                self.notice_conflict(heard.from, ctx);
            }
            Phase::Releasing(releasing) => {
                if releasing.advert_at.is_some() {
                    self.send_advert(ctx);
                }
            }
            Phase::Init | Phase::Probing(_) | Phase::Fault | Phase::Stuck(_) | Phase::Stopped => {}
        }
    }

    /// With storage: another master beside us is a conflict, and its priority 0 the end of one. Its
    /// neighbours may have learnt the wrong place of the addresses without our hearing it; so they
    /// are told again, the storage is looked at, and the notify hook is told.
    fn notice_conflict(&mut self, from: IpAddr, ctx: &mut Ctx<'_>) {
        if self.spec.gate.is_none() {
            return;
        }
        self.announce(self.spec.garp.repeat, ctx);
        self.watch.meet_conflict();
        self.look_soon(ctx.now);
        self.tell_conflict(format!("another master was heard: {from}"), ctx);
    }

    /// Somebody else uses one of our addresses while we are master. Announced again (with storage
    /// only: otherwise nothing goes out that keepalived would not send), at most now and then, or
    /// two nodes would answer each other for ever.
    pub fn foreign_owner(&mut self, ip: IpAddr, mac: [u8; 6], ctx: &mut Ctx<'_>) {
        let mut all = self.spec.addresses.iter().chain(&self.spec.excluded);
        let is_ours = all.any(|address| address.ip == ip);
        if !is_ours || !matches!(self.phase, Phase::Master { .. }) {
            return;
        }
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let is_news = self.tell_conflict(format!("{ip} is used by another host too: {mac}"), ctx);
        if is_news && self.spec.gate.is_some() {
            self.announce(self.spec.garp.repeat, ctx);
            self.look_soon(ctx.now);
        }
    }

    /// Says that something is wrong, unless that was said just before. True if it was news.
    fn tell_conflict(&mut self, text: String, ctx: &mut Ctx<'_>) -> bool {
        let is_news = self.conflict.is_news(ctx.now);
        if is_news {
            self.report(Level::Warning, text.clone(), ctx);
            let mut facts = self.facts(ctx.now);
            (facts.reason, facts.detail) = (Reason::Conflict.word(), text);
            ctx.out.push(Action::Tell { instance: self.id, facts: Box::new(facts) });
        }
        is_news
    }

    /// The old master's priority 0 while acquiring may be the proof that is being waited for. Where
    /// it proves nothing, because there is a third node, there is at least nothing to wait for.
    fn acquirer_hears_release(&mut self, ctx: &mut Ctx<'_>) {
        if self.bond.is_follower() {
            return;
        }
        let is_proven = self.is_release_proven(ctx.now);
        let Phase::Acquiring(acquiring) = &mut self.phase else { return };
        let is_awaited = matches!(acquiring.step, Step::AwaitingRelease { .. });
        if acquiring.has_begun() || !(is_proven || is_awaited) {
            return;
        }
        acquiring.is_proven = is_proven;
        if !is_proven {
            let until = ctx.now + LISTEN.min(self.spec.advert_interval);
            acquiring.step = Step::Listening { until };
            return;
        }
        self.report(Level::Info, "the old master has let go of the storage".into(), ctx);
        self.run_acquire(ctx);
    }

    fn hear_as_backup(&mut self, heard: Heard, ctx: &mut Ctx<'_>) {
        let Heard { from, priority, .. } = heard;
        let before = self.peers.highest();
        let peer = self.peers.heard(from, priority, ctx.now);
        if self.spec.gate.is_some() && self.peers.highest() != before {
            self.remember(self.former, ctx);
        }
        let was_followed = self.peers.followed.replace(from) == Some(from);
        let is_worse = priority < self.priority();
        let is_weakened = is_worse && priority < peer.highest;
        // The leader knows whether a master is weakened; a follower only, whether it is worse.
        let rule = match self.bond.is_follower() {
            true => Preempt::Always,
            false => self.spec.preempt,
        };
        let may_preempt = match rule {
            Preempt::Always => is_worse,
            Preempt::Weakened => is_weakened && was_followed,
            Preempt::Never => false,
        };
        if !may_preempt || self.is_barred() {
            self.preempt_delay_until = None;
            return self.follow(heard.interval, ctx);
        }
        if self.is_preempt_delayed(ctx) {
            return self.follow(heard.interval, ctx);
        }
        let skew = self.skew();
        if let Phase::Backup { down_at } = &mut self.phase
            && rule == Preempt::Weakened
        {
            // It says itself that its service fails: no need to wait a master down interval.
            *down_at = (*down_at).min(ctx.now + skew);
        }
        let text = format!("received lower priority ({priority}) advert from {from} - discarding");
        self.report(Level::Detail, text, ctx);
    }

    /// The advert counts: the master lives.
    fn follow(&mut self, interval: Duration, ctx: &Ctx<'_>) {
        self.bond.is_due = false;
        self.learned_interval = interval;
        self.conflict.follow(self.spec.advert_interval, ctx.now);
        let down_at = ctx.now + self.master_down_interval() + self.claim_pause();
        self.phase = Phase::Backup { down_at };
    }

    /// What a leader that had to back off again and again waits besides.
    pub(super) fn claim_pause(&self) -> Duration {
        match self.bond.role {
            Role::Leader(_) => self.conflict.pause(self.source, self.spec.advert_interval),
            Role::Alone | Role::Member(_) | Role::Follower(_) | Role::Orphan => Duration::ZERO,
        }
    }

    /// Is a preemption to wait (`preempt_delay`)? Its time runs from the first worse advert.
    fn is_preempt_delayed(&mut self, ctx: &mut Ctx<'_>) -> bool {
        if self.spec.preempt_delay.is_zero() {
            return false;
        }
        if self.preempt_delay_until.is_none() {
            self.preempt_delay_until = Some(ctx.now + self.spec.preempt_delay);
            let text = format!("start preempt delay ({} s)", self.spec.preempt_delay.as_secs());
            self.report(Level::Info, text, ctx);
        }
        self.preempt_delay_until.is_some_and(|until| ctx.now < until)
    }

    /// Does a claim with this priority and address go before ours?
    fn is_better(&self, heard: &Heard) -> bool {
        let ours = self.priority();
        heard.priority > ours
            || heard.priority == ours && self.source.is_none_or(|source| heard.from > source)
    }

    fn hear_as_master(&mut self, heard: Heard, ctx: &mut Ctx<'_>) {
        let Heard { from, priority, .. } = heard;
        self.peers.heard(from, priority, ctx.now);
        let ours = self.priority();
        if !self.is_better(&heard) {
            self.insist(from, priority, ctx);
            return self.notice_conflict(from, ctx);
        }
        if self.keeps_storage_from(&heard, ctx) {
            if self.may_answer(ctx.now) {
                self.send_advert(ctx);
            }
            return;
        }
        let how = if priority == ours {
            "with same priority but higher IP address than ours".to_owned()
        } else {
            format!("with higher priority {priority}, ours {ours}")
        };
        let detail = format!("Master received advert from {from} {how}");
        self.follows(&heard);
        self.yield_to(Reason::BetterMaster, detail, ctx);
    }

    /// A worse master: tell it, and tell the neighbours whose the addresses are.
    fn insist(&mut self, from: IpAddr, priority: u8, ctx: &mut Ctx<'_>) {
        let Some(count) = self.conflict.insist(self.spec.advert_interval, ctx.now) else { return };
        let text = format!(
            "Received advert from {from} with lower priority {priority}, ours {}, forcing new election",
            self.priority()
        );
        if count.is_power_of_two() {
            let again = if count > 1 { format!(" ({count} times)") } else { String::new() };
            self.report(Level::Info, format!("{text}{again}"), ctx);
        }
        if !self.spec.lower_prio_no_advert {
            self.send_advert(ctx);
        }
        let garp = self.spec.garp;
        self.announce(garp.lower_prio_repeat, ctx);
        if !garp.lower_prio_delay.is_zero() {
            self.bursts.lower_prio_at = Some(ctx.now + garp.lower_prio_delay);
        }
        let mut facts = self.facts(ctx.now);
        (facts.reason, facts.detail) = (Reason::Conflict.word(), text);
        let state = NotifyState::LowerPriority;
        ctx.out.push(Action::Notify { instance: self.id, state, facts: Box::new(facts) });
    }

    fn may_answer(&mut self, now: Time) -> bool {
        self.conflict.may_answer(self.spec.advert_interval, now)
    }

    /// A holder with no reason to move, among nodes that all gate, lets a better claim last for a
    /// while: the acquirer gives way first. Beside a keepalived it yields at once.
    fn keeps_storage_from(&mut self, heard: &Heard, ctx: &Ctx<'_>) -> bool {
        let Some(gate) = &self.spec.gate else { return false };
        let is_weakened = self.priority() < self.highest_sent;
        let has_reason = match self.spec.preempt {
            Preempt::Always => true,
            Preempt::Weakened | Preempt::Never => is_weakened,
        };
        if !gate.peers_glha || has_reason {
            return false;
        }
        let interval = self.shared_interval(heard);
        let patience = interval * HOLDER_YIELDS_AFTER;
        let forgotten_after = self.down_after(interval);
        let Phase::Master { better, .. } = &mut self.phase else { return false };
        let claim = Claim::heard(*better, heard.from, forgotten_after, ctx);
        *better = Some(claim);
        ctx.now.since(claim.since) < patience
    }

    /// The interval by which two nodes measure each other's claims: to VRRP version 3 they may have
    /// different ones, and then it is the longer, so that both count alike and neither forgets a claim
    /// between two of its adverts.
    fn shared_interval(&self, heard: &Heard) -> Duration {
        self.spec.advert_interval.max(heard.interval)
    }

    fn hear_as_acquirer(&mut self, heard: Heard, ctx: &mut Ctx<'_>) {
        let Heard { from, priority, .. } = heard;
        self.peers.heard(from, priority, ctx.now);
        let is_better = self.is_better(&heard);
        let interval = self.shared_interval(&heard);
        let patience = interval * ACQUIRER_YIELDS_AFTER_HALVES / 2;
        let forgotten_after = self.down_after(interval);
        let Phase::Acquiring(acquiring) = &mut self.phase else { return };
        if !is_better && acquiring.how == How::Preempting {
            return;
        }
        let is_new = acquiring.worse.is_none_or(|claim| claim.from != from);
        let claim = Claim::heard(acquiring.worse, from, forgotten_after, ctx);
        acquiring.worse = Some(claim);
        let persists = ctx.now.since(claim.since) >= patience;
        if !is_better && !persists {
            if is_new {
                self.send_advert(ctx);
            }
            return;
        }
        let acquiring = acquiring.clone();
        let why = if is_better { "goes before ours" } else { "persists" };
        let detail = format!("the claim of {from} (priority {priority}) {why}");
        self.follows(&heard);
        self.abandon(acquiring, Goal::Backup, Reason::BackedOff, detail, ctx);
    }

    fn hear_while_releasing(&mut self, heard: Heard, ctx: &mut Ctx<'_>) {
        self.peers.heard(heard.from, heard.priority, ctx.now);
        let Phase::Releasing(releasing) = &self.phase else { return };
        if releasing.advert_at.is_none() {
            self.follows(&heard);
        } else if self.is_better(&heard) {
            self.follows(&heard);
            self.fall_silent();
        } else if self.may_answer(ctx.now) {
            self.send_advert(ctx);
        }
    }

    /// A master was heard: whoever says farewell may be through with it.
    fn master_answers(&mut self, now: Time) {
        if self.farewell.as_ref().is_some_and(|farewell| farewell.is_answered(now)) {
            self.farewell = None;
        }
    }

    /// A leader hears what a follower has heard.
    pub(super) fn answer_calls(&mut self, calls: Calls, ctx: &mut Ctx<'_>) {
        if calls.has_heard {
            self.lost = false;
        }
        if calls.is_claimed {
            self.has_person_s_word = false;
            self.resignation.hears_master();
            self.hear_in_doubt(ctx);
        }
        if calls.wants_probe && matches!(self.phase, Phase::Master { .. }) {
            self.watch.meet_conflict();
            self.look_soon(ctx.now);
        }
        if let (Some(detail), Phase::Master { .. }) = (calls.yields, &self.phase) {
            self.yield_to(Reason::BetterMaster, detail, ctx);
        }
        if let (Some(detail), Phase::Acquiring(acquiring)) = (calls.backs_off, &self.phase) {
            let acquiring = acquiring.clone();
            self.abandon(acquiring, Goal::Backup, Reason::BackedOff, detail, ctx);
        }
    }
}

impl Claim {
    /// The claim heard now: the one known before if it is the same node's and was not silent for
    /// longer than `forgotten_after`, otherwise a new one.
    fn heard(before: Option<Self>, from: IpAddr, forgotten_after: Duration, ctx: &Ctx<'_>) -> Self {
        let now = ctx.now;
        match before {
            Some(claim) if claim.from == from && now.since(claim.heard_at) < forgotten_after => {
                Self { heard_at: now, ..claim }
            }
            Some(_) | None => Self { from, since: now, heard_at: now },
        }
    }
}
