//! What goes wrong in a world, and its end.

use std::time::Duration;

use super::check::{Invariant, name};
use super::hook::{Hook, MountHook, Run};
use super::node::Daemon;
use super::wire::Quality;
use super::{Due, World};
use crate::core::event::{Event, Held, MountAction};
use crate::core::spec::{InstanceId, LinkId, Preempt};
use crate::core::{Phase, Time};

/// Something that happens to a world. Where it makes no sense (a node that is off loses its
/// power) it does nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nothing gets through from one node to another.
    Cut(usize, usize),
    /// It does again.
    Mend(usize, usize),
    /// How good the wire is.
    Wire(Quality),
    /// A node's cable is pulled, or put in.
    Cable(usize, bool),
    /// The same of its second interface.
    SecondCable(usize, bool),
    /// Nothing gets through from one node to another on the second segment.
    CutSecond(usize, usize),
    /// It does again.
    MendSecond(usize, usize),
    /// A reload that takes the second member out of the sync group, or puts it in again.
    Member(usize, bool),
    /// A node's way to the disk.
    Path(usize, bool),
    /// The daemon is stopped (SIGSTOP); its hooks go on.
    FreezeDaemon(usize),
    /// It goes on.
    ThawDaemon(usize),
    /// The whole host stands still; with it its memory of the packets that arrive, or not.
    FreezeHost(usize),
    /// It goes on.
    ThawHost(usize),
    /// The daemon is killed; a supervisor starts it after so long, or never.
    Kill(usize, Option<Duration>),
    /// It will be killed in the middle of its work, after so many more actions, and started again.
    KillAfter(usize, u32),
    /// The daemon is told to stop.
    Stop(usize),
    /// It is started, if there is none.
    Start(usize),
    /// The power goes.
    PowerOff(usize),
    /// The power comes back, and the node boots.
    Boot(usize),
    /// A reload with another priority and another rule of preemption.
    Reload(usize, u8, Preempt),
    /// A reload that gives the instance another name, or its old one back.
    Rename(usize),
    /// From now on the kernel takes so long to put or take addresses.
    Kernel(usize, Duration),
    /// From now on an action of the mount hook does this.
    Hook(usize, MountAction, Hook),
    /// From now on the checks say so.
    Checks(usize, bool),
    /// A person looks whether the storage is free, and says so if it is.
    Person(usize),
    /// Somebody takes the virtual addresses off by hand.
    TakeAddresses(usize),
    /// A person puts a node on hold, or takes it off. Nothing happens where no daemon answers.
    Hold(usize, bool),
    /// A person wants a node to hand over, even if nobody is there.
    Resign(usize, bool),
    /// And wants no more of it.
    CancelResign(usize),
}

impl World {
    /// Something will happen at a time.
    pub fn plan(&mut self, at: Time, fault: Fault) {
        self.at(at.since(self.now), Due::Fault(fault));
    }

    /// Something happens now.
    pub fn apply(&mut self, fault: Fault) {
        if let Some(node) = fault.node() {
            self.note(node, || format!("--- {fault:?}"));
        }
        match fault {
            Fault::Cut(from, to) => drop(self.wire.cuts.insert((from, to))),
            Fault::Mend(from, to) => drop(self.wire.cuts.remove(&(from, to))),
            Fault::Wire(quality) => self.wire.quality = quality,
            Fault::Cable(node, is_in) => {
                self.nodes[node].has_link = is_in;
                let event = self.nodes[node].link_event(LinkId(0));
                self.notice(node, event);
            }
            Fault::SecondCable(node, is_in) => {
                if self.nodes[node].spec.links.len() > 1 {
                    self.nodes[node].has_second_link = is_in;
                    let event = self.nodes[node].link_event(LinkId(1));
                    self.notice(node, event);
                }
            }
            Fault::CutSecond(from, to) => drop(self.wire.second_cuts.insert((from, to))),
            Fault::MendSecond(from, to) => drop(self.wire.second_cuts.remove(&(from, to))),
            Fault::Member(node, is_in) => self.change_members(node, is_in),
            Fault::Path(node, is_there) => {
                self.nodes[node].has_disk = is_there;
                self.reach(node);
            }
            Fault::FreezeDaemon(node) => self.change_daemon(node, Daemon::Runs, Daemon::Frozen),
            Fault::ThawDaemon(node) => {
                self.change_daemon(node, Daemon::Frozen, Daemon::Runs);
                self.wake(node);
            }
            Fault::FreezeHost(node) => {
                self.nodes[node].is_frozen = self.nodes[node].is_on;
                self.reach(node);
            }
            Fault::ThawHost(node) => {
                if std::mem::take(&mut self.nodes[node].is_frozen) {
                    self.reach(node);
                    self.wake(node);
                }
            }
            Fault::Kill(node, again) => self.kill(node, again),
            Fault::KillAfter(node, actions) => {
                if self.nodes[node].is_awake() {
                    self.nodes[node].dies_after = Some(actions);
                }
            }
            Fault::Stop(node) => self.notice(node, Event::Stop),
            Fault::Start(node) => self.start(node),
            Fault::PowerOff(node) => self.power_off(node),
            Fault::Boot(node) => self.boot(node),
            Fault::Reload(node, priority, preempt) => self.reload(node, priority, preempt),
            Fault::Rename(node) => self.rename(node),
            Fault::Kernel(node, takes) => self.nodes[node].kernel = takes,
            Fault::Hook(node, action, hook) => {
                let hooks = &mut self.nodes[node].mount;
                match action {
                    MountAction::Acquire => hooks.acquire = hook,
                    MountAction::Release => hooks.release = hook,
                    MountAction::Probe => hooks.probe = hook,
                }
            }
            Fault::Checks(node, are_good) => self.nodes[node].checks.fill(are_good),
            Fault::Person(node) => {
                let uses = |place: usize| {
                    let takes = |run: &Run| run.action == MountAction::Acquire;
                    self.disk.mounts[place].is_some()
                        || self.nodes[place].run.as_ref().is_some_and(takes)
                        || matches!(self.nodes[place].phase(), Phase::Acquiring(_))
                };
                if !(0..self.nodes.len()).any(uses) {
                    self.notice(node, Event::Released { instance: InstanceId(0) });
                }
            }
            Fault::TakeAddresses(node) => {
                let had = self.nodes[node].has_addresses();
                self.nodes[node].addresses.fill(false);
                for link in (0..self.nodes[node].spec.links.len()).map(LinkId).filter(|_| had) {
                    self.at(Duration::ZERO, Due::Netlink { node, link });
                }
            }
            Fault::Hold(node, is_on) => {
                if self.nodes[node].is_awake() {
                    self.nodes[node].is_held = is_on;
                    self.notice(node, Event::Hold { instance: InstanceId(0), is_on });
                }
            }
            Fault::Resign(node, is_forced) => self.resign(node, is_forced),
            Fault::CancelResign(node) => {
                if self.nodes[node].is_awake() {
                    self.nodes[node].watch.must_hear_master = false;
                    self.notice(node, Event::ResignCancelled { instance: InstanceId(0) });
                }
            }
        }
        self.look();
    }

    /// A master that has resigned is none any more, and who was forced to stays out of it.
    fn resign(&mut self, place: usize, is_forced: bool) {
        let node = &mut self.nodes[place];
        if !node.is_awake() {
            return;
        }
        let agrees = node.core.resign_refusal(InstanceId(0), is_forced, self.now).is_none();
        // The daemon may die of it, in the middle of the turn.
        let is_judged = agrees && node.dies_after.is_none() && !node.core.is_stopping();
        node.watch.must_hear_master = is_judged && is_forced;
        self.notice(place, Event::Resign { instance: InstanceId(0), is_forced });
        if is_judged && self.nodes[place].is_master() {
            self.violate(Invariant::ResignBroken, format!("{} is master still", name(place)));
        }
    }

    fn reach(&mut self, place: usize) {
        let node = &self.nodes[place];
        self.disk.reach(place, node.host_runs() && node.has_disk);
    }

    fn change_daemon(&mut self, place: usize, from: Daemon, to: Daemon) {
        let node = &mut self.nodes[place];
        if node.is_on && node.daemon == from {
            node.daemon = to;
        }
    }

    /// Cuts the power of a node: addresses and mount are gone with it.
    pub fn power_off(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if !node.is_on {
            return;
        }
        (node.is_on, node.is_frozen) = (false, false);
        node.addresses.fill(false);
        node.daemon = Daemon::Gone;
        node.life += 1;
        node.dies_after = None;
        node.run = None;
        node.moves.clear();
        node.inbox.clear();
        node.unnoticed.clear();
        node.watch = Default::default();
        self.disk.lose(place);
        self.note(place, || "power off".into());
    }

    /// The node has power again and boots.
    pub fn boot(&mut self, place: usize) {
        let now = self.now;
        let node = &mut self.nodes[place];
        if node.is_on {
            return;
        }
        node.is_on = true;
        node.life += 1;
        node.memory.held = Held::Free;
        node.is_alone = false;
        node.begin(now);
        self.reach(place);
        self.note(place, || "boots".into());
        self.greet(place);
    }

    fn reload(&mut self, place: usize, priority: u8, preempt: Preempt) {
        for instance in &mut self.nodes[place].spec.instances {
            (instance.priority, instance.preempt) = (priority, preempt);
        }
        self.reload_spec(place);
    }

    fn rename(&mut self, place: usize) {
        if let Some(instance) = self.nodes[place].spec.instances.first_mut() {
            let is_first = instance.name == "VI_1";
            instance.name = if is_first { "VI_one".into() } else { "VI_1".into() };
        }
        self.reload_spec(place);
    }

    fn reload_spec(&mut self, place: usize) {
        let now = self.now;
        let node = &mut self.nodes[place];
        if node.is_awake() {
            let spec = node.daemon_spec();
            node.core.reload(spec, now);
            self.hand_in(place, vec![]);
        }
    }

    /// The second member leaves the group for good, or comes back; the group stays.
    fn change_members(&mut self, place: usize, is_in: bool) {
        let node = &mut self.nodes[place];
        if node.spec.groups.is_empty() || !node.is_awake() {
            return;
        }
        // Who is told to stop takes no reload; the file is another for the next daemon all the same.
        node.joins += usize::from(is_in && node.is_alone);
        node.is_alone = !is_in;
        self.reload_spec(place);
    }

    /// Everything works again: wires, hooks, disks, checks; everybody is awake, on and started. The
    /// last node stays on hold if it is: the others must do.
    pub fn heal(&mut self) {
        self.wire.cuts.clear();
        self.wire.second_cuts.clear();
        self.wire.quality = Quality::GOOD;
        for place in 0..self.nodes.len() {
            let is_last = place + 1 == self.nodes.len();
            let node = &mut self.nodes[place];
            node.mount = MountHook::good();
            node.checks.fill(true);
            node.dies_after = None;
            node.kernel = Duration::ZERO;
            for fault in [
                Fault::Path(place, true),
                Fault::ThawHost(place),
                Fault::ThawDaemon(place),
                Fault::Boot(place),
                Fault::Start(place),
            ] {
                self.apply(fault);
            }
            if self.nodes[place].is_alone {
                self.apply(Fault::Member(place, true));
            }
            if !self.nodes[place].has_link {
                self.apply(Fault::Cable(place, true));
            }
            if !self.nodes[place].has_second_link {
                self.apply(Fault::SecondCable(place, true));
            }
            self.apply(Fault::CancelResign(place));
            if !is_last {
                self.apply(Fault::Hold(place, false));
            }
        }
    }
}

impl Fault {
    /// Whom it is about, first of all.
    pub(super) const fn node(&self) -> Option<usize> {
        match self {
            Self::Wire(_) => None,
            Self::Cut(node, _)
            | Self::Mend(node, _)
            | Self::CutSecond(node, _)
            | Self::MendSecond(node, _)
            | Self::SecondCable(node, _)
            | Self::Member(node, _)
            | Self::Cable(node, _)
            | Self::Path(node, _)
            | Self::FreezeDaemon(node)
            | Self::ThawDaemon(node)
            | Self::FreezeHost(node)
            | Self::ThawHost(node)
            | Self::Kill(node, _)
            | Self::KillAfter(node, _)
            | Self::Stop(node)
            | Self::Start(node)
            | Self::PowerOff(node)
            | Self::Boot(node)
            | Self::Reload(node, ..)
            | Self::Rename(node)
            | Self::Kernel(node, _)
            | Self::Hook(node, ..)
            | Self::Checks(node, _)
            | Self::Person(node)
            | Self::Hold(node, _)
            | Self::Resign(node, _)
            | Self::CancelResign(node)
            | Self::TakeAddresses(node) => Some(*node),
        }
    }
}
