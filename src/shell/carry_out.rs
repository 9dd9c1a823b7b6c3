//! Carrying out what the core wants, in the order of its urgency, in bounded pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::address::{Thing, Ticket};
use super::announce::Pauses;
use super::daemon::Daemon;
use super::keep::{self, Kept};
use super::queue::NOTIFY_TIMEOUT;
use super::run::Run;
use super::{fifo, reboot};
use crate::conf::{Config, VirtualAddress};
use crate::core::event::{Action, Event, HookEnd, Level, NotifyState, Report};
use crate::core::spec::{CheckId, Destination, InstanceId, LinkId};
use crate::core::{Instance, Time};
use crate::work::{Key, Next};

/// So often may actions bring on others in one turn of the loop.
const ROUNDS_MAX: usize = 8;

/// What was begun and is not finished.
#[derive(Debug, Default)]
pub struct Work {
    /// Of each instance its addresses as they are written, each announced as often as it is.
    written: BTreeMap<InstanceId, Vec<(LinkId, VirtualAddress)>>,
    /// Of each instance its addresses with their interfaces, each once.
    addresses: BTreeMap<InstanceId, Vec<(LinkId, VirtualAddress)>>,
    /// Of each instance all that it puts, in order: addresses, routes, rules.
    things: BTreeMap<InstanceId, Vec<Thing>>,
    pub(super) kept: Kept,
    /// Per instance with addresses on their way: when they have arrived.
    pub(super) tickets: BTreeMap<InstanceId, Ticket>,
    has_addresses_left: bool,
    /// When the announcer wants to go on.
    pub(super) next_at: Option<Time>,
    notify_timeout: Duration,
}

impl Work {
    /// Nothing to do yet.
    pub fn new(config: &Config) -> Self {
        let mut work = Self::default();
        work.configure(config);
        work
    }

    pub(super) fn configure(&mut self, config: &Config) {
        let names = &config.spec.links;
        let link = |name: &str| LinkId(names.iter().position(|n| n == name).unwrap_or(usize::MAX));
        let of = |addresses: &Vec<VirtualAddress>| -> Vec<_> {
            addresses.iter().map(|a| (link(&a.interface), a.clone())).collect()
        };
        self.written =
            config.instances.entries().map(|(id, conf)| (id, of(&conf.addresses))).collect();
        self.addresses.clone_from(&self.written);
        for addresses in self.addresses.values_mut() {
            // Of an address that is written twice the first counts, as with keepalived.
            let mut seen = BTreeSet::new();
            addresses.retain(|(link, a)| seen.insert((*link, a.ip, a.prefix_len)));
        }
        let put = |(id, conf)| {
            let addresses = self.addresses(id).iter();
            let addresses = addresses.map(|(link, a)| Thing::Address(*link, a.clone()));
            (id, addresses.chain(keep::routes(conf)).collect())
        };
        self.things = config.instances.entries().map(put).collect();
        let instances = config.instances.iter().map(|conf| &conf.hooks);
        let groups = config.groups.iter().map(|conf| &conf.hooks);
        let timeouts = instances.chain(groups).map(|hooks| {
            let hook = hooks.as_ref().and_then(|hooks| hooks.notify.as_ref());
            hook.map_or(NOTIFY_TIMEOUT, |hook| hook.timeout)
        });
        self.notify_timeout = timeouts.max().unwrap_or(NOTIFY_TIMEOUT);
    }

    /// Must the loop go on at once?
    pub const fn is_urgent(&self) -> bool {
        self.has_addresses_left
    }

    /// The longest deadline of a notify script.
    pub const fn notify_timeout(&self) -> Duration {
        self.notify_timeout
    }

    fn things(&self, instance: InstanceId) -> Vec<Thing> {
        self.things.get(&instance).cloned().unwrap_or_default()
    }

    pub(super) fn addresses(&self, instance: InstanceId) -> &[(LinkId, VirtualAddress)] {
        self.addresses.get(&instance).map_or(&[], Vec::as_slice)
    }
}

impl Daemon {
    /// Carries out everything that is wanted and possible now.
    ///
    /// An action may fail at once and so bring on others; they belong to the same turn.
    pub(super) fn carry_out(&mut self, now: Time) {
        for _ in 0..ROUNDS_MAX {
            let actions = self.core.take_actions();
            let is_quiet = actions.is_empty();
            self.executor.submit(actions);
            while let Some(action) = self.executor.next_soon() {
                self.carry_out_one(action, now);
            }
            self.work.has_addresses_left = self.links.work();
            let is_news = self.account(now);
            self.settle_addresses();
            while let Some(next) = self.executor.next_late() {
                match next {
                    Next::Do(action) => self.carry_out_one(action, now),
                    Next::Tell(event) => self.core.handle(event, now),
                }
            }
            if is_quiet && !is_news {
                break;
            }
        }
        self.work.next_at = self.announcer.work(now, &self.links);
        self.start_notifies();
        self.keep_promises(now);
    }

    /// Tells the executor whose addresses have arrived.
    fn settle_addresses(&mut self) {
        self.settle_firewall();
        let (links, executor) = (&self.links, &mut self.executor);
        self.work.tickets.retain(|&instance, ticket| {
            let is_done = links.is_done(*ticket);
            if is_done {
                executor.arrived(instance);
            }
            !is_done
        });
    }

    fn start_notifies(&mut self) {
        let Self { executor, children, .. } = self;
        while let Some((key, run)) = executor.notifies.next(|key| children.running(key)) {
            children.start(key, run);
        }
    }

    /// Queues notify scripts, and says what had to be dropped for them.
    fn queue_notify(&mut self, key: Key, runs: Vec<Run>) {
        for run in self.executor.notifies.push(key, runs) {
            let count = self.executor.notifies.dropped_count(key);
            log::warn!("{}: dropped, too many wait ({count} dropped so far)", run.name);
        }
    }

    /// An instance that waits for its mount hook has one that runs or will. Were that ever untrue, it
    /// would wait for ever, with its storage held and nobody told; so it is looked at in every turn.
    fn keep_promises(&mut self, now: Time) {
        let lost = |instance: &Instance| {
            let action = instance.mount_running()?;
            let is_kept = self.executor.mount_promised(instance.id) == Some(action);
            (!is_kept).then(|| (instance.id, action, instance.spec.name.clone()))
        };
        let lost: Vec<_> = self.core.instances().iter().filter_map(lost).collect();
        for (instance, action, name) in lost {
            let what = action.word();
            log::error!("({name}) BUG: the mount hook's {what} is awaited and was never started");
            let end = HookEnd::NotStarted("it was lost".into());
            self.core.handle(Event::MountEnded { instance, action, end }, now);
        }
    }

    /// `-V` leaves the addresses of a plain instance in place at a stop, and tells nobody.
    fn stays(&self, action: &Action) -> bool {
        let (Action::TakeAddresses { instance } | Action::Send { instance, .. }) = action else {
            return false;
        };
        let has_gate = |i: &crate::core::Instance| i.spec.gate.is_some();
        self.settings.dont_release
            && self.core.is_stopping()
            && !self.core.instances().get(*instance).is_some_and(has_gate)
    }

    fn carry_out_one(&mut self, action: Action, now: Time) {
        if self.stays(&action) {
            return;
        }
        match action {
            Action::Send { instance, source, to, bytes } => {
                self.send(instance, (source, to), &bytes);
            }
            Action::PutAddresses { instance } => {
                self.close_for(instance);
                let things = self.work.things(instance);
                self.forget_missing(&things);
                let ticket = self.links.put_things(things);
                self.work.tickets.insert(instance, ticket);
            }
            Action::TakeAddresses { instance } => {
                let things = keep::in_order_of_removal(self.work.things(instance));
                let ticket = self.links.take_things(things);
                self.work.tickets.insert(instance, ticket);
                self.open_after(instance, ticket);
            }
            Action::Announce { instance, rounds } => self.announce(instance, rounds),
            Action::AnnounceSource { instance, source } => {
                if let Some(of) = self.core.instances().get(instance) {
                    let (what, name) = (kind(source), self.links.name(of.spec.link));
                    log::debug!("Sending {what} on {name} for {source}");
                    self.announcer.announce_once(of.spec.link, source, &self.links);
                }
            }
            Action::AnnounceSome { instance, addresses } => {
                self.announce_some(instance, &addresses);
            }
            Action::StopAnnouncing { instance } => {
                self.announcer.stop(instance);
            }
            Action::Entered { instance, facts } => self.record_transition(instance, &facts),
            Action::Report(report) => log_report(&report),
            Action::RunCheck { check } => self.run_check(check, now),
            Action::StopChecks => {
                self.children.stop_matching(|key| matches!(key, Key::Check(_)), now);
            }
            Action::StopMount { instance } => {
                self.children.stop(Key::Mount(instance), now);
            }
            Action::RunMount { instance, action, timeout, facts } => {
                let run = self.hooks.mount(&self.config, instance, action, timeout, &facts);
                match run {
                    Some(run) => drop(self.children.start(Key::Mount(instance), run)),
                    None => {
                        self.executor.mount_over(instance);
                        let end = HookEnd::NotStarted("it is not configured".into());
                        self.core.handle(Event::MountEnded { instance, action, end }, now);
                    }
                }
            }
            Action::Remember { instance, memory } => {
                if let Some(of) = self.core.instances().get(instance) {
                    self.notebook.write(instance, &of.spec.name, &memory);
                }
            }
            Action::Reboot { instance } => {
                let name = self.core.instances().get(instance).map_or("", |i| &i.spec.name);
                reboot::now(name);
            }
            Action::Tell { instance, facts } => {
                self.record(facts.reason, Some(&facts.instance), &facts.detail);
                let run = self.hooks.tell(&self.config, instance, &facts);
                self.queue_notify(Key::Notify(instance), run.into_iter().collect());
            }
            Action::TellPriority { instance, is_master, priority } => {
                let conf = self.config.instances.get(instance);
                if conf.is_some_and(|conf| conf.tells_priority)
                    && let Some(of) = self.core.instances().get(instance)
                {
                    let event = if is_master { "MASTER_PRIORITY" } else { "BACKUP_PRIORITY" };
                    self.fifos.write(&fifo::line(
                        fifo::Subject::Instance,
                        &of.spec.name,
                        event,
                        priority,
                    ));
                }
            }
            Action::Notify { instance, state, facts } => {
                let (name, state_word) = (&facts.instance, state.word());
                let subject = fifo::Subject::Instance;
                self.fifos.write(&fifo::line(subject, name, state_word, facts.priority));
                let runs = self.hooks.notify(&self.config, instance, state, &facts);
                let key = Key::Notify(instance);
                let name = runs.first().map(|run| &run.name);
                let is_like = |waiting: &Run| Some(&waiting.name) == name;
                // It may come often, and is no change of state.
                let is_once = state == NotifyState::LowerPriority;
                if !(is_once && self.executor.notifies.holds(key, is_like)) {
                    self.queue_notify(key, runs);
                }
            }
            Action::NotifyGroup { group, state, facts, .. } => {
                if let Some(of) = self.config.spec.groups.get(group) {
                    let subject = fifo::Subject::Group;
                    self.fifos.write(&fifo::line(subject, &of.name, state.word(), 0));
                }
                let runs = self.hooks.notify_group(&self.config, group, state, &facts);
                self.queue_notify(Key::Group(group), runs);
            }
        }
    }

    fn send(&mut self, instance: InstanceId, way: (IpAddr, IpAddr), bytes: &[u8]) {
        let Some(of) = self.core.instances().get(instance) else { return };
        let link = of.spec.advert_link();
        let hop_limit = match of.spec.destination {
            Destination::Group(_) => None,
            Destination::Peers { ttl, .. } => ttl,
        };
        if let Err(error) = self.ports.send(link, way, hop_limit, bytes) {
            let name = self.links.name(link);
            log::debug!("({}) sending an advert on {name} to {}: {error}", of.spec.name, way.1);
        }
    }

    fn announce(&mut self, instance: InstanceId, rounds: u32) {
        let Some(of) = self.core.instances().get(instance) else { return };
        let all = self.work.written.get(&instance).map_or(&[][..], Vec::as_slice);
        let addresses: Vec<(LinkId, IpAddr)> = all.iter().map(|(l, a)| (*l, a.ip)).collect();
        for (link, ip) in &addresses {
            log::debug!("Sending {} on {} for {ip}", kind(*ip), self.links.name(*link));
        }
        let pauses = Pauses { arp: of.spec.garp.interval, na: of.spec.garp.na_interval };
        self.announcer.announce(instance, &addresses, rounds, pauses);
    }

    fn announce_some(&mut self, instance: InstanceId, addresses: &[(LinkId, IpAddr)]) {
        if !self.announcer.is_busy(instance) {
            self.announcer.announce(instance, addresses, 1, Pauses::default());
        }
    }

    fn run_check(&mut self, check: CheckId, now: Time) {
        let owner = self.config.checks.get(check).and_then(|conf| conf.hook_of);
        let facts = owner.and_then(|id| {
            let instance = self.core.instances().get(id)?;
            Some((id, instance.facts(now)))
        });
        if let Some(run) = self.hooks.check(&self.config, check, facts) {
            self.children.start(Key::Check(check), run);
        }
    }
}

/// keepalived's name of an announcement.
const fn kind(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "gratuitous ARP" } else { "unsolicited Neighbour Advert" }
}

fn log_report(report: &Report) {
    let text = &report.text;
    match report.level {
        Level::Error => log::error!("{text}"),
        Level::Warning => log::warn!("{text}"),
        Level::Info => log::info!("{text}"),
        Level::Detail => log::debug!("{text}"),
    }
}
