//! Carrying out what the core wants, in the order of its urgency, in bounded pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::core::event::{Action, Event, HookEnd, Level, NotifyState, Report};
use crate::core::spec::{CheckId, Destination, InstanceId, LinkId};
use crate::core::{Instance, Time};
use crate::shell::daemon::Daemon;
use crate::shell::hooks::fifo;
use crate::shell::hooks::run::Run;
use crate::shell::host::reboot;
use crate::shell::kernel::address::{Thing, refusal};
use crate::shell::kernel::desired::{Owner, Settled, Unmet, What};
use crate::shell::kernel::rtnl::Wish;
use crate::shell::sockets::announce::Pauses;
use crate::work::{Key, Next};

/// So much of what an instance has not got is told one by one.
const UNSET_TOLD_MAX: usize = 8;
/// So many adverts in a row that could not be sent are worth saying: one may meet a full queue.
const MUTE_AFTER: u32 = 2;
/// So often may actions bring on others in one turn of the loop.
const ROUNDS_MAX: usize = 8;

/// What was begun and is not finished.
#[derive(Debug, Default)]
pub struct Work {
    /// What instances miss of the statics that they track, as the core was told.
    missing: BTreeMap<InstanceId, String>,
    /// So many adverts in a row could not be sent, of an instance to an address.
    unsent: BTreeMap<(InstanceId, IpAddr), u32>,
    /// There is more for the kernel to do than one turn may take.
    pub(in crate::shell) is_urgent: bool,
    /// More has happened than adverts that come and go.
    pub(in crate::shell) is_eventful: bool,
    /// When the announcer wants to go on.
    pub(in crate::shell) next_at: Option<Time>,
}

impl Daemon {
    /// Carries out everything that is wanted and possible now.
    ///
    /// An action may fail at once and so bring on others; they belong to the same turn.
    pub(in crate::shell) fn carry_out(&mut self, now: Time) {
        self.desired.retry(now, &mut self.links);
        let mut has_announced = false;
        for _ in 0..ROUNDS_MAX {
            let actions = self.core.take_actions();
            let is_quiet = actions.is_empty();
            let is_advert =
                |action: &Action| matches!(action, Action::Send { .. } | Action::SendBfd { .. });
            self.work.is_eventful |= !actions.iter().all(is_advert);
            self.executor.submit(actions);
            while let Some(action) = self.executor.next_soon() {
                self.carry_out_one(action, now);
            }
            self.work.is_urgent = self.links.work();
            let is_news = self.settle(now);
            self.tell_arrivals();
            while let Some(next) = self.executor.next_late() {
                match next {
                    Next::Do(action) => {
                        // Neighbours are told before the log and the hooks are, once in a turn.
                        if !has_announced && !is_announcement(&action) {
                            has_announced = true;
                            self.announcer.work(now, &self.links);
                        }
                        self.carry_out_one(action, now);
                    }
                    Next::Tell(event) => self.core.handle(event, now),
                }
            }
            self.work.is_eventful |= is_news;
            if is_quiet && !is_news {
                break;
            }
        }
        self.work.next_at = self.announcer.work(now, &self.links);
        // These look at every instance.
        if std::mem::take(&mut self.work.is_eventful) {
            self.start_notifies();
            self.keep_promises(now);
        }
    }

    /// Tells the executor whose addresses have arrived.
    fn tell_arrivals(&mut self) {
        for owner in self.desired.arrived(&mut self.links) {
            if let Owner::Instance(instance) = owner {
                if !self.desired.is_on(owner) {
                    let (firewall, present) = self.firewall();
                    firewall.open_after(instance, present);
                }
                self.executor.arrived(instance);
            }
        }
    }

    /// Takes in what came of requests to the kernel, and says it. True if the core was told something.
    pub(in crate::shell) fn settle(&mut self, now: Time) -> bool {
        let outcomes = self.links.outcomes();
        if outcomes.is_empty() {
            return false;
        }
        let settled = self.desired.settle(outcomes, now);
        for news in &settled {
            self.report_settled(news);
        }
        self.tell_restored(&settled, now);
        if settled.is_empty() {
            return false;
        }
        self.tell_unset(now);
        self.tell_missing(now);
        true
    }

    fn report_settled(&mut self, Settled { owner, thing, what }: &Settled) {
        let of = match owner {
            Owner::Instance(id) => self.core.instances().get(*id),
            Owner::Statics => None,
        };
        let name = of.map_or_else(String::new, |of| format!("({}) ", of.spec.name));
        let kind = if matches!(thing, Thing::Address(..)) { "address " } else { "" };
        let on = match thing {
            Thing::Address(link, _) => format!("{}: ", self.links.name(*link)),
            Thing::Route(_) | Thing::Rule(_) => String::new(),
        };
        match what {
            // The core says so, once for all that are gone at a time.
            What::Restored if of.is_some() && matches!(thing, Thing::Address(..)) => {}
            What::Restored if of.is_some() => {
                log::warn!("{name}virtual {thing} was gone; it is put back");
            }
            What::Restored => log::warn!("Restoring deleted static {kind}{thing}"),
            What::Refused(wish, why) => {
                log::error!("{name}{on}{}: {why}; it is tried again", refusal(thing, *wish));
            }
            What::Met(Wish::Put) => {
                log::warn!("{name}{on}{kind}{thing} is set now");
                let at = match thing {
                    Thing::Address(link, address) => Some((*link, address.ip)),
                    Thing::Route(_) | Thing::Rule(_) => None,
                };
                if let (Some(at), Some(of)) = (at, of) {
                    // It could not be announced with the others.
                    let (id, rounds) = (of.id, of.spec.garp.repeat);
                    let pauses =
                        Pauses { arp: of.spec.garp.interval, na: of.spec.garp.na_interval };
                    self.announcer.announce(id, &[at], rounds, pauses);
                }
            }
            What::Met(Wish::Take) => log::warn!("{name}{on}{kind}{thing} is gone now"),
        }
    }

    /// Tells the core whose addresses had been taken away and are there again.
    fn tell_restored(&mut self, settled: &[Settled], now: Time) {
        let mut restored: BTreeMap<InstanceId, Vec<IpAddr>> = BTreeMap::new();
        for Settled { owner, thing, what } in settled {
            if let (Owner::Instance(id), Thing::Address(_, address), What::Restored) =
                (owner, thing, what)
            {
                restored.entry(*id).or_default().push(address.ip);
            }
        }
        for (instance, addresses) in restored {
            self.core.handle(Event::Restored { instance, addresses }, now);
        }
    }

    /// Tells the core what instances have not got of what they want.
    fn tell_unset(&mut self, now: Time) {
        let text = |unmet: &&Unmet| {
            let on = match &unmet.thing {
                Thing::Address(link, _) => format!("{}: ", self.links.name(*link)),
                Thing::Route(_) | Thing::Rule(_) => String::new(),
            };
            format!("{on}{}: {}", refusal(&unmet.thing, unmet.wish), unmet.why)
        };
        let of = |id: InstanceId| {
            let unset = self.desired.unset(Owner::Instance(id));
            let mut said: Vec<String> = unset.iter().take(UNSET_TOLD_MAX).map(text).collect();
            if unset.len() > said.len() {
                said.push(format!("and {} more", unset.len() - said.len()));
            }
            (id, said)
        };
        let all = self.core.instances();
        let news =
            all.iter().map(|i| (i, of(i.id))).filter(|(i, (_, said))| i.troubles.unset != *said);
        let news: Vec<_> = news.map(|(_, told)| told).collect();
        for (instance, what) in news {
            self.core.handle(Event::Unset { instance, what }, now);
        }
    }

    /// Tells the core which instances miss something static that they track.
    fn tell_missing(&mut self, now: Time) {
        let mut missing = BTreeMap::new();
        let statics = &self.config.statics;
        let addresses =
            statics.addresses.iter().filter(|e| !e.tracked_by.is_empty()).map(|entry| {
                let link =
                    self.config.spec.links.iter().position(|name| *name == entry.what.interface);
                let link = LinkId(link.unwrap_or(usize::MAX));
                (Thing::Address(link, Arc::clone(&entry.what)), &entry.tracked_by)
            });
        let routes = statics.routes.iter().map(|e| (Thing::Route(e.what.clone()), &e.tracked_by));
        let rules = statics.rules.iter().map(|e| (Thing::Rule(e.what.clone()), &e.tracked_by));
        for (thing, instances) in addresses.chain(routes).chain(rules) {
            if !instances.is_empty() && self.desired.is_missing(&thing) {
                for &instance in instances {
                    missing.entry(instance).or_insert_with(|| thing.to_string());
                }
            }
        }
        let told = std::mem::replace(&mut self.work.missing, missing.clone());
        let all: BTreeSet<InstanceId> = told.keys().chain(missing.keys()).copied().collect();
        for instance in all.into_iter().filter(|id| told.get(id) != missing.get(id)) {
            let what = missing.get(&instance).cloned();
            self.core.handle(Event::StaticMissing { instance, what }, now);
        }
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
    /// would wait for ever, with its storage held and nobody told; so it is looked at in every turn in
    /// which that can become so.
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
            if let Action::TakeAddresses { instance } = action {
                // They are where they shall be.
                self.executor.arrived(instance);
            }
            return;
        }
        match action {
            Action::Send { instance, source, to, bytes } => {
                self.send(instance, (source, to), &bytes, now);
            }
            Action::SendBfd { .. } if self.settings.no_bfd => {}
            Action::SendBfd { session, to, port, bytes } => {
                // To nobody it is sent again and again; the session says what comes of it.
                if let Err(error) = self.bfd.send(session, to, port, &bytes) {
                    log::debug!("a BFD packet to {to} cannot be sent: {error}");
                }
            }
            Action::PutAddresses { instance } => {
                let (firewall, present) = self.firewall();
                firewall.close_for(instance, present);
                self.desired.hold(Owner::Instance(instance), true, &mut self.links);
            }
            Action::KeepAddresses { instance } => {
                self.desired.keep(Owner::Instance(instance), &mut self.links);
            }
            Action::TakeAddresses { instance } => {
                self.desired.hold(Owner::Instance(instance), false, &mut self.links);
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
            Action::Entered { instance, facts } => {
                let node = &self.config.global.router_id;
                let id = self.hooks.entered(node, instance, facts.transition);
                self.control.record_transition(node, id, &facts);
            }
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

    fn send(&mut self, instance: InstanceId, way: (IpAddr, IpAddr), bytes: &[u8], now: Time) {
        let Some(of) = self.core.instances().get(instance) else { return };
        let link = of.spec.advert_link();
        let hop_limit = match of.spec.destination {
            Destination::Group(_) => None,
            Destination::Peers { ttl, .. } => ttl,
        };
        let why = match self.ports.send(link, way, hop_limit, bytes) {
            Ok(()) => None,
            Err(error) => {
                let on = self.links.name(link);
                let text = format!("adverts to {} cannot be sent on {on}: {error}", way.1);
                log::debug!("({}) {text}", of.spec.name);
                // A peer that is away says nothing of this node.
                let is_peer_s =
                    matches!(error.raw_os_error(), Some(libc::EHOSTUNREACH | libc::ENETUNREACH));
                Some(text).filter(|_| !is_peer_s)
            }
        };
        let failures = self.work.unsent.entry((instance, way.1)).or_default();
        *failures = if why.is_some() { failures.saturating_add(1) } else { 0 };
        let is_news = (why.is_none() || *failures >= MUTE_AFTER)
            && why.is_some() != of.troubles.mute.is_some();
        if !is_news {
            return;
        }
        let name = of.spec.name.clone();
        match &why {
            Some(why) => log::warn!("({name}) {why}; this is said once"),
            None => log::warn!("({name}) adverts go out again"),
        }
        self.record("mute", Some(&name), why.as_deref().unwrap_or("adverts go out again"));
        self.core.handle(Event::Mute { instance, why }, now);
    }

    fn announce(&mut self, instance: InstanceId, rounds: u32) {
        let Some(of) = self.core.instances().get(instance) else { return };
        let all = self.addresses.written(instance);
        // What could not be set is not announced; it is when it is set at last.
        let missing: BTreeSet<(LinkId, IpAddr)> = self
            .desired
            .unset(Owner::Instance(instance))
            .into_iter()
            .filter_map(|unmet| match &unmet.thing {
                Thing::Address(link, address) => Some((*link, address.ip)),
                Thing::Route(_) | Thing::Rule(_) => None,
            })
            .collect();
        let all = all.iter().map(|(link, address)| (*link, address.ip));
        let addresses: Vec<_> = all.filter(|address| !missing.contains(address)).collect();
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

const fn is_announcement(action: &Action) -> bool {
    matches!(
        action,
        Action::Announce { .. }
            | Action::AnnounceSome { .. }
            | Action::AnnounceSource { .. }
            | Action::StopAnnouncing { .. }
    )
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
