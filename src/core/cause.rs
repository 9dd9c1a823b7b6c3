//! What is tracked: whether an instance may be master at all, and how good it is.

use std::net::IpAddr;

use super::context::World;
use super::event::Reason;
use super::grace::Grace;
use super::spec::{Family, InstanceSpec};
use super::track::Part;

/// What the host does not give an instance, though it should.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// Something static that it tracks and that the kernel does not take.
    pub(super) static_missing: Option<String>,
    /// Why its adverts cannot be sent or heard, if they cannot.
    pub no_socket: Option<String>,
    /// Why its adverts do not go out, if they do not.
    pub mute: Option<String>,
    /// What of its addresses, routes and rules is not set although it is master, and why.
    pub unset: Vec<String>,
}

/// What an instance sees of everything that it tracks.
pub(super) struct Tracked<'a> {
    pub(super) spec: &'a InstanceSpec,
    pub(super) world: World<'a>,
    pub(super) troubles: &'a Troubles,
    pub(super) grace: &'a Grace,
    /// Where its adverts come from.
    pub(super) source: Option<IpAddr>,
    /// It is no master, so that it has to hear one.
    pub(super) listens: bool,
    /// It is on hold and keeps what it has: failing checks, processes and files count for nothing.
    pub(super) ignores_checks: bool,
}

impl<'a> Tracked<'a> {
    /// Everything that decides about the start has been heard of: the interfaces, and the first
    /// result of every check whose failure would be a fault. A node that resumes does not wait for
    /// those: it was master a moment ago, and the others are counting.
    pub(super) fn is_known(&self, resumes: bool) -> bool {
        let spec = self.spec;
        let own = std::iter::once(spec.link);
        let tracked = spec.track_links.iter().map(|&(link, _)| link);
        let vmacs = spec.vmacs.iter().copied();
        let needed = spec.needs_links.iter().copied();
        let mut decisive = spec.track_checks.iter().filter(|track| track.weight.value == 0);
        own.chain(tracked).chain(vmacs).chain(needed).all(|link| self.world.links[link.0].is_known)
            && (resumes
                || self.world.senses.are_known(spec)
                    && decisive.all(|track| self.world.checks[track.check].is_good.is_some()))
    }

    /// The first reason why the instance must not be master, if there is one.
    pub(super) fn cause(&self) -> Option<(Reason, String)> {
        let (spec, links) = (self.spec, self.world.links);
        let link = &links[spec.link.0];
        if !spec.dont_track_primary && !link.is_up {
            return Some((Reason::LinkDown, "interface down".into()));
        }
        let vmacs = spec.vmacs.iter().filter(|_| !spec.dont_track_primary);
        if let Some(vmac) = vmacs.copied().find(|id| !links[id.0].is_up) {
            return Some((Reason::LinkDown, format!("interface {} down", links[vmac.0].name)));
        }
        if link.lacks_source(spec, self.source) {
            return Some((Reason::NoAddress, no_address(spec.family).into()));
        }
        if self.is_deaf() {
            return Some((Reason::NoAddress, "src address not configured".into()));
        }
        // Deaf, it would become master beside another; mute, another beside it.
        if let Some(why) = &self.troubles.no_socket {
            return Some((Reason::NoSocket, why.clone()));
        }
        if spec.track_links.iter().any(|&(id, weight)| weight.is_fault(links[id.0].is_up)) {
            return Some((Reason::LinkDown, "tracked interface down".into()));
        }
        if let Some(id) = spec.needs_links.iter().find(|id| !links[id.0].is_up) {
            return Some((Reason::LinkDown, format!("interface {} down", links[id.0].name)));
        }
        if let Some(what) = &self.troubles.static_missing {
            return Some((Reason::StaticMissing, format!("static {what} cannot be set")));
        }
        if self.ignores_checks {
            return None;
        }
        self.failed_check().or_else(|| self.world.senses.cause(spec))
    }

    fn failed_check(&self) -> Option<(Reason, String)> {
        let checks = self.world.checks;
        let fails = |place: usize| {
            let track = &self.spec.track_checks[place];
            let is_good = checks[track.check].is_good?;
            track.weight.is_fault(is_good || self.grace.is_excused(place)).then_some(track.check)
        };
        let failed = (0..self.spec.track_checks.len()).find_map(fails)?;
        Some((Reason::CheckFailed, format!("due to script {}", checks[failed].spec.name)))
    }

    /// The address that its peers send to is on no interface of this host: it would hear none of
    /// them and become master beside another. One that is master stays, since the others hear it.
    fn is_deaf(&self) -> bool {
        let mut needed = self.spec.needs_links.iter().map(|id| &self.world.links[id.0]);
        let anywhere = needed.find(|link| self.listens && link.name.is_empty());
        anywhere.zip(self.source).is_some_and(|(anywhere, source)| !anywhere.has_ip(source))
    }

    /// What each thing that is tracked adds to the priority, in the order of the configuration.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        let Self { spec, world: World { links, checks, senses }, grace, .. } = *self;
        let ignores = self.ignores_checks;
        let links = spec.track_links.iter().map(move |&(id, weight)| {
            let link = &links[id.0];
            Part::new("interface", &link.name, weight, link.is_known.then_some(link.is_up))
        });
        let checks = spec.track_checks.iter().enumerate().map(move |(place, track)| {
            let check = &checks[track.check];
            let counts = check.is_good.map(|is_good| is_good || grace.is_excused(place));
            let adds = track.weight.adds(counts, ignores);
            Part { adds, ..Part::new("check", &check.spec.name, track.weight, check.is_good) }
        });
        links.chain(checks).chain(senses.parts(spec, ignores))
    }
}

/// keepalived's words.
const fn no_address(family: Family) -> &'static str {
    match family {
        Family::V4 => "no IPv4 address for interface",
        Family::V6 => "no link-local address for interface",
    }
}
