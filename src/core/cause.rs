//! What is tracked: whether an instance may be master at all, how good it is, and which failing
//! checks are not judged yet, since the service is still starting.

use super::Time;
use super::event::{Action, Held, Level, Reason};
use super::group::Role;
use super::instance::{Ctx, Instance};
use super::phase::Phase;
use super::spec::{CheckId, Family};

/// Which checks are not judged yet, since the service is still starting.
#[derive(Clone, Debug, Default)]
pub(super) struct Grace {
    /// Parallel to the tracked checks; empty when none is excused.
    pub(super) excused: Vec<bool>,
    /// When the acquire ended.
    pub(super) acquired_at: Option<Time>,
}

impl Instance {
    /// Everything that decides about the start has been heard of: the interfaces, and the first
    /// result of every check whose failure would be a fault. A node that resumes does not wait for
    /// those: it was master a moment ago, and the others are counting.
    pub(super) fn is_ready(&self, resumes: bool, ctx: &Ctx<'_>) -> bool {
        let own = std::iter::once(self.spec.link);
        let tracked = self.spec.track_links.iter().map(|&(link, _)| link);
        let vmacs = self.spec.vmacs.iter().copied();
        let needed = self.spec.needs_links.iter().copied();
        own.chain(tracked).chain(vmacs).chain(needed).all(|link| ctx.links[link.0].is_known)
            && (resumes || ctx.senses.are_known(&self.spec))
            && (resumes
                || self
                    .spec
                    .track_checks
                    .iter()
                    .filter(|track| track.weight.value == 0)
                    .all(|track| ctx.checks[track.check].is_good.is_some()))
    }

    /// A former run held the storage.
    pub(super) fn resumes(&self) -> bool {
        self.spec.gate.is_some() && self.former == Held::Held
    }

    /// The first reason why this instance must not be master, if there is one: its own, or another
    /// member's of its sync group.
    pub(super) fn cause(&self, ctx: &Ctx<'_>) -> Option<(Reason, String)> {
        self.own_cause(ctx).or_else(|| self.bond.others_cause.clone())
    }

    /// What keeps a running instance from being or staying master. An equal among others is pulled
    /// by them; a leader decides for all.
    pub(super) fn pressing_cause(&self, ctx: &Ctx<'_>) -> Option<(Reason, String)> {
        match self.bond.role {
            Role::Leader(_) => self.cause(ctx),
            Role::Alone | Role::Member(_) | Role::Follower(_) | Role::Orphan => self.own_cause(ctx),
        }
    }

    /// The first reason of its own.
    pub(super) fn own_cause(&self, ctx: &Ctx<'_>) -> Option<(Reason, String)> {
        let link = &ctx.links[self.spec.link.0];
        if !self.spec.dont_track_primary && !link.is_up {
            return Some((Reason::LinkDown, "interface down".into()));
        }
        let vmacs = self.spec.vmacs.iter().filter(|_| !self.spec.dont_track_primary);
        if let Some(vmac) = vmacs.copied().find(|id| !ctx.links[id.0].is_up) {
            let name = &ctx.links[vmac.0].name;
            return Some((Reason::LinkDown, format!("interface {name} down")));
        }
        if link.lacks_source(&self.spec, self.source) {
            return Some((Reason::NoAddress, no_address(self.spec.family).into()));
        }
        if self.is_deaf(ctx) {
            return Some((Reason::NoAddress, "src address not configured".into()));
        }
        // Deaf, it would become master beside another; mute, another beside it.
        if let Some(why) = &self.no_socket {
            return Some((Reason::NoSocket, why.clone()));
        }
        for &(id, weight) in &self.spec.track_links {
            if weight.is_fault(ctx.links[id.0].is_up) {
                return Some((Reason::LinkDown, "tracked interface down".into()));
            }
        }
        if let Some(id) = self.spec.needs_links.iter().find(|id| !ctx.links[id.0].is_up) {
            let text = format!("interface {} down", ctx.links[id.0].name);
            return Some((Reason::LinkDown, text));
        }
        if let Some(what) = &self.static_missing {
            return Some((Reason::StaticMissing, format!("static {what} cannot be set")));
        }
        if self.ignores_checks() {
            return None;
        }
        for (place, track) in self.spec.track_checks.iter().enumerate() {
            let check = &ctx.checks[track.check];
            let is_good = check.is_good.is_none_or(|good| good || self.is_excused(place));
            if check.is_good.is_some() && track.weight.is_fault(is_good) {
                return Some((Reason::CheckFailed, format!("due to script {}", check.spec.name)));
            }
        }
        ctx.senses.cause(&self.spec)
    }

    /// The address that its peers send to is on no interface of this host: it would hear none of
    /// them and become master beside another. One that is master stays, since the others hear it.
    fn is_deaf(&self, ctx: &Ctx<'_>) -> bool {
        if !matches!(self.phase, Phase::Init | Phase::Backup { .. } | Phase::Fault) {
            return false;
        }
        let mut needed = self.spec.needs_links.iter().map(|id| &ctx.links[id.0]);
        let anywhere = needed.find(|link| link.name.is_empty());
        anywhere.zip(self.source).is_some_and(|(anywhere, source)| !anywhere.has_ip(source))
    }

    /// Adds up base priority and weights. While backup, the running master down timer moves by
    /// the change of the skew.
    pub(super) fn update_priority(&mut self, ctx: &mut Ctx<'_>) {
        let links = self.spec.track_links.iter().map(|&(id, weight)| {
            let link = &ctx.links[id.0];
            weight.contribution(link.is_known.then_some(link.is_up))
        });
        let checks = self.spec.track_checks.iter().enumerate().map(|(place, track)| {
            let is_good = ctx.checks[track.check].is_good;
            self.weigh(track.weight, is_good.map(|good| good || self.is_excused(place)))
        });
        let senses = ctx.senses.contribution(&self.spec, self.ignores_checks());
        let total =
            i32::from(self.spec.priority) + links.sum::<i32>() + checks.sum::<i32>() + senses;
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
            self.report(
                Level::Info,
                format!("Changing effective priority from {old} to {new}"),
                ctx,
            );
            let is_master = matches!(self.phase, Phase::Master { .. });
            ctx.out.push(Action::TellPriority { instance: self.id, is_master, priority: new });
        }
    }

    /// From here until the first success or the end of their grace, failing checks with a grace
    /// are not judged: the service is about to be started.
    pub(super) fn begin_grace(&mut self) {
        let excused = self.spec.track_checks.iter().map(|track| !track.grace.is_zero()).collect();
        self.grace = Grace { excused, acquired_at: None };
    }

    /// A check has succeeded: what is tracked by it is judged from now on.
    pub fn check_succeeded(&mut self, check: CheckId) {
        for (excused, track) in self.grace.excused.iter_mut().zip(&self.spec.track_checks) {
            *excused &= track.check != check || self.grace.acquired_at.is_none();
        }
    }

    /// The tracked checks are others now.
    pub(super) fn forget_grace(&mut self) {
        self.grace = Grace::default();
    }

    pub(super) fn is_excused(&self, place: usize) -> bool {
        self.grace.excused.get(place).copied().unwrap_or(false)
    }

    /// When the last check loses its grace. One deadline for all is enough: who needs a minute
    /// gives every check that minute.
    pub(super) fn grace_ends_at(&self) -> Option<Time> {
        let since = self.grace.acquired_at?;
        let excused = self.spec.track_checks.iter().zip(&self.grace.excused);
        excused.filter(|&(_, &is)| is).map(|(track, _)| since + track.grace).max()
    }
}

/// keepalived's words.
const fn no_address(family: Family) -> &'static str {
    match family {
        Family::V4 => "no IPv4 address for interface",
        Family::V6 => "no link-local address for interface",
    }
}
