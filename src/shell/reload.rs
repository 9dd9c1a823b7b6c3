//! A reload: the same daemon under another configuration.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;

use super::address::Thing;
use super::announce::Pauses;
use super::child::Key;
use super::control::protocol::Refusal;
use super::daemon::Daemon;
use super::keep;
use super::link::Links;
use super::reading::Task;
use super::{clock, fifo, interfaces};
use crate::conf::{Config, Diagnostic, Entry, Loaded, Severity, VirtualAddress};
use crate::core::spec::{GroupId, InstanceId, LinkId};
use crate::core::{Phase, Time};

/// What addresses that are still under way may cost before the interfaces are looked at anew.
const FINISH_MAX: Duration = Duration::from_millis(500);

impl Daemon {
    /// Has the configuration read again, beside the loop; [`Self::go_over`] follows. What comes while
    /// that is under way is read once more after it.
    pub(super) fn reload(&mut self, now: Time) {
        if self.core.is_stopping() {
            return;
        }
        if self.reading.is_under_way() {
            self.reads_again = true;
            return;
        }
        let path = self.settings.config_path.clone();
        log::info!("Reloading {}", path.display());
        self.ready.reloading();
        let task = Task { path, context: self.settings.context.clone(), mark: self.reading_mark() };
        if let Err(error) = self.reading.begin(task, now) {
            self.go_over(Err(error), now);
        }
    }

    /// Goes over to a configuration that was read, and has the next one read. To be called in every
    /// turn.
    pub(super) fn read_reload(&mut self, now: Time) {
        match self.reading.take(now) {
            Some(_) if self.core.is_stopping() => {
                self.answer_reload(Err(vec!["the daemon is stopping".to_owned()]), now);
            }
            Some(loaded) => self.go_over(loaded, now),
            None => {}
        }
        if !self.reading.is_under_way() && std::mem::take(&mut self.reads_again) {
            self.reload(now);
        }
    }

    /// Goes over to what was read. A configuration that glha would not start with changes nothing; nor
    /// does one with a mistake that the running one does not have, since keepalived would drop the
    /// line or the block, and with it perhaps an instance that is master.
    fn go_over(&mut self, loaded: io::Result<Loaded>, now: Time) {
        let refused = match loaded {
            Ok(mut loaded) => {
                log_findings(&loaded);
                self.keep_names(&mut loaded.config);
                if is_worse(&loaded, &self.settings.loaded) {
                    log::error!("The configuration has errors; the running one goes on unchanged");
                    Some(findings(&loaded))
                } else {
                    self.settings.loaded.diagnostics = loaded.diagnostics;
                    self.replace(loaded.config, now);
                    None
                }
            }
            Err(error) => {
                let path = self.settings.config_path.display();
                log::error!("{path}: {error}; the running configuration goes on unchanged");
                Some(vec![format!("{path}: {error}")])
            }
        };
        self.note_reload(refused.as_deref());
        self.ready.ready();
        self.tell_status();
        let result = refused.map_or(Ok(self.config.spec.instances.len()), Err);
        self.answer_reload(result, now);
    }

    /// Remembers how it went, for those who ask.
    fn note_reload(&mut self, refused: Option<&[String]>) {
        let Some(diagnostics) = refused else {
            self.control.refused = None;
            return self.record("reload", None, "");
        };
        let first = diagnostics.first().and_then(|text| text.lines().next()).unwrap_or_default();
        self.record("reload_refused", None, first);
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        self.control.refused = Some(Refusal { time, diagnostics: diagnostics.to_vec() });
    }

    /// The file of `reload_file`: who changes the configuration waits for its end.
    fn reading_mark(&self) -> Option<PathBuf> {
        let path = self.config.global.daemon.reload_file.clone()?;
        if path.as_os_str().is_empty() {
            return Some(
                self.settings.pid_files.first()?.path().with_file_name("keepalived.reload"),
            );
        }
        Some(path)
    }

    /// What a running daemon is called and where it is stays as it is.
    fn keep_names(&self, config: &mut Config) {
        let (old, new) = (&self.config.global.daemon, &mut config.global.daemon);
        if (&old.instance, &old.net_namespace) != (&new.instance, &new.net_namespace) {
            log::warn!(
                "instance and net_namespace cannot be changed by a reload, only by a restart"
            );
            new.instance.clone_from(&old.instance);
            new.net_namespace.clone_from(&old.net_namespace);
        }
    }

    /// Goes over to another configuration.
    fn replace(&mut self, mut config: Config, now: Time) {
        let old = std::mem::take(&mut self.config);
        let count = config.spec.instances.len();
        self.children.stop_matching(|key| matches!(key, Key::Check(_)), now);
        let moved = self.core.reload(config.spec.clone(), now);
        config.spec.links = moved.links;
        config.instances.resize_with(self.core.instances().len(), Default::default);
        let mut gone = Vec::new();
        let mut gone_routes = without(keep::static_routes(&old), &keep::static_routes(&config));
        for entry in &old.statics.addresses {
            let is_kept = |other: &Entry<VirtualAddress>| is_same(&entry.what, &other.what);
            if !config.statics.addresses.iter().any(is_kept) {
                gone.push(VirtualAddress::clone(&entry.what));
            }
        }
        for (place, new) in moved.instances.iter().enumerate() {
            let (Some(new), Some(conf)) = (new, old.instances.get(place)) else { continue };
            if new.0 >= count {
                // What it needs to let go it takes along, be it its group's.
                let hooks = old.gating_hooks(InstanceId(place)).cloned();
                config.instances[new.0] = conf.clone();
                let own = &mut config.instances[new.0].hooks;
                *own = hooks.or_else(|| own.take());
                continue;
            }
            let kept = &config.instances[new.0].addresses;
            let is_kept = |a: &VirtualAddress| kept.iter().any(|k| k.is_as(a));
            gone.extend(conf.addresses.iter().filter(|a| !is_kept(a)).cloned());
            let kept = keep::routes(&config.instances[new.0]);
            gone_routes.extend(without(keep::routes(conf), &kept));
        }
        self.config = config;
        let names = self.config.spec.links.clone();
        self.announcer.set_groups(interfaces::groups(&self.config));
        self.promoted.restore();
        self.replace_links(&names);
        self.vmacs.configure(&self.config, &mut self.links);
        self.vmacs.mend(&mut self.links);
        self.links.read();
        self.work.configure(&self.config);
        self.watch_senses(false, now);
        self.remap(&moved.instances, &old);
        let link = |name: &str| LinkId(names.iter().position(|n| n == name).unwrap_or(usize::MAX));
        let gone: Vec<_> = gone.into_iter().map(|a| (link(&a.interface), a)).collect();
        self.links.take_things(keep::in_order_of_removal(gone_routes));
        self.links.take(&gone);
        self.keep_anew(now);
        self.links.put_things(keep::statics(&self.config));
        self.reopen_ports(now);
        self.watch_foreign();
        self.reload_firewall(|old| moved.instances.get(old.0).copied().flatten());
        self.put_again();
        self.open_fifos();
        self.schedule.configure(&self.config.global.daemon, now);
        if self.config.global.daemon.fifo_states_on_reload {
            self.tell_states(now);
        }
        self.restore_holds(now);
        log::info!("Reloaded; {count} instances");
    }

    /// `fifo_write_vrrp_states_on_reload`: what holds, once more.
    fn tell_states(&mut self, now: Time) {
        for facts in self.core.instances().iter().map(|instance| instance.facts(now)) {
            let (name, state) = (&facts.instance, facts.state);
            self.fifos.write(&fifo::line(fifo::Subject::Instance, name, state, facts.priority));
        }
    }

    fn replace_links(&mut self, names: &[String]) {
        let fd = self.links.fd().as_raw_fd();
        // What is still under way is for the old interfaces.
        self.links.finish(FINISH_MAX);
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        match Links::open_for(names, keep::needs_routes(&self.config)) {
            Ok(links) => self.links = links,
            Err(error) => log::error!("netlink: {error}; interfaces are as they were known"),
        }
        if let Err(error) = self.register_links() {
            log::error!("netlink: {error}; changes of interfaces go unseen");
        }
        self.links_unread = true;
    }

    fn reopen_ports(&mut self, now: Time) {
        self.unread.clear();
        for failure in self.ports.sync(&self.links, &BTreeSet::new(), self.poll.registry()) {
            log::debug!("closing a socket: {}", failure.error);
        }
        self.tell_links((0..self.config.spec.links.len()).map(LinkId), now);
        self.open_ports();
    }

    fn remap(&mut self, moved: &[Option<InstanceId>], old: &Config) {
        let group = |id: GroupId| {
            let name = &old.spec.groups.get(id.0)?.name;
            self.config.spec.groups.iter().position(|group| group.name == *name).map(GroupId)
        };
        let new = |old: InstanceId| moved.get(old.0).copied().flatten();
        self.work.mounts = std::mem::take(&mut self.work.mounts)
            .into_iter()
            .filter_map(|(old, action)| Some((new(old)?, action)))
            .collect();
        let key = |key: Key| match key {
            Key::Mount(old) => new(old).map(Key::Mount),
            Key::Notify(old) => new(old).map(Key::Notify),
            Key::Group(old) => group(old).map(Key::Group),
            Key::Fifo(keyword) => Some(Key::Fifo(keyword)),
            Key::Check(_) | Key::Edge => None,
        };
        self.children.rekey(key);
        self.queue.rekey(key);
        self.notebook.rekey(&self.config, new);
        self.hooks.rekey(new);
        self.control.observed.rekey(new);
        self.work.tickets.clear();
        for (_, action) in std::mem::take(&mut self.work.held) {
            log::debug!("dropped by the reload: {action:?}");
        }
    }

    /// Addresses that the new configuration adds to a master.
    fn put_again(&mut self) {
        let masters: Vec<(InstanceId, u32)> = self
            .core
            .instances()
            .iter()
            .filter(|i| matches!(i.phase, Phase::Master { .. }))
            .map(|i| (i.id, i.spec.garp.repeat))
            .collect();
        for (instance, rounds) in masters {
            let state = |(link, a): &(LinkId, VirtualAddress)| {
                !self.links.state(*link).addresses.contains(&(a.ip, a.prefix_len))
            };
            let missing: Vec<_> =
                self.work.addresses(instance).iter().filter(|a| state(a)).cloned().collect();
            self.links.put(&missing);
            // What is there already stays as it is.
            self.links.put_things(
                self.config.instances.get(instance.0).map_or_else(Vec::new, keep::routes),
            );
            if missing.is_empty() {
                continue;
            }
            let added: Vec<_> = missing.iter().map(|(link, a)| (*link, a.ip)).collect();
            self.announcer.announce(instance, &added, rounds, Pauses::default());
        }
        self.work.next_at = Some(clock::now());
    }
}

/// What is worth telling to a person who wanted a reload, at most so much.
fn findings(loaded: &Loaded) -> Vec<String> {
    const FINDINGS_MAX: usize = 50;
    let is_serious = |found: &&Diagnostic| found.severity >= Severity::Warning;
    let mut worst: Vec<&Diagnostic> = loaded.diagnostics.iter().filter(is_serious).collect();
    worst.sort_by_key(|found| std::cmp::Reverse(found.severity));
    worst.truncate(FINDINGS_MAX);
    worst.into_iter().map(|found| loaded.sources.render(found)).collect()
}

/// The same address to the kernel.
fn is_same(one: &VirtualAddress, other: &VirtualAddress) -> bool {
    (&one.interface, one.ip, one.prefix_len) == (&other.interface, other.ip, other.prefix_len)
}

/// What is in the first and not in the second.
fn without(things: Vec<Thing>, others: &[Thing]) -> Vec<Thing> {
    let others: HashSet<_> = others.iter().map(Thing::key).collect();
    things.into_iter().filter(|thing| !others.contains(&thing.key())).collect()
}

/// Says everything that was found, each where it belongs.
fn log_findings(loaded: &Loaded) {
    for diagnostic in &loaded.diagnostics {
        let text = loaded.sources.render(diagnostic);
        match diagnostic.severity {
            Severity::Note => log::debug!("{text}"),
            Severity::Warning | Severity::Fault => log::warn!("{text}"),
            Severity::Error => log::error!("{text}"),
        }
    }
}

/// Does a configuration have an error, or a mistake that the running one does not have?
fn is_worse(new: &Loaded, running: &Loaded) -> bool {
    let is_known =
        |found: &Diagnostic| running.diagnostics.iter().any(|known| known.message == found.message);
    new.diagnostics.iter().any(|found| match found.severity {
        Severity::Error => true,
        Severity::Fault => !is_known(found),
        Severity::Warning | Severity::Note => false,
    })
}
