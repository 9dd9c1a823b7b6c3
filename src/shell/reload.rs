//! A reload: the same daemon under another configuration.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use mio::Token;
use mio::unix::SourceFd;

use crate::conf::{Config, Diagnostic, InstanceConf, Loaded, Severity, VirtualAddress};
use crate::core::spec::{InstanceId, LinkId};
use crate::core::{Phase, Time};
use crate::shell::audit::reading::Task;
use crate::shell::daemon::Daemon;
use crate::shell::hooks::fifo;
use crate::shell::host::{clock, process};
use crate::shell::kernel::assigned::Addresses;
use crate::shell::kernel::desired;
use crate::shell::operator::control::protocol::Refusal;
use crate::shell::sockets::announce::{self, Pauses};
use crate::work::Key;

impl Daemon {
    /// Has the configuration read again, beside the loop; [`Self::go_over`] follows. What comes while
    /// that is under way is read once more after it.
    pub(in crate::shell) fn reload(&mut self, now: Time) {
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
    pub(in crate::shell) fn read_reload(&mut self, _: &[Token], now: Time) {
        match self.reading.take(now) {
            Some(_) if self.core.is_stopping() => {
                self.control.answer_reload(Err(vec!["the daemon is stopping".to_owned()]), now);
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
        self.control.answer_reload(result, now);
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
        let added = added(&old, &config);
        self.children.disown_matching(|key| matches!(key, Key::Check(_)), now);
        self.core.reload(config.spec.clone(), now);
        for id in self.core.instances().ids() {
            if let (false, Some(conf)) = (config.instances.contains(id), old.instances.get(id)) {
                // What it needs to let go it takes along, be it its group's.
                let mut conf = conf.clone();
                conf.hooks = old.gating_hooks(id).cloned().map(Box::new).or(conf.hooks);
                config.instances.insert(id, conf);
            }
        }
        self.settings.context.ids = config.ids.clone();
        self.config = config;
        self.has_read = true;
        self.announcer.set_groups(announce::groups(&self.config));
        self.promoted.restore();
        self.follow_links();
        self.vmacs.configure(&self.config, &mut self.links);
        self.vmacs.mend(&mut self.links);
        self.addresses = Addresses::new(&self.config);
        self.watch_senses(false, now);
        self.notebook.follow(&self.config);
        self.control.observed.forget_checks();
        self.desired.configure(&self.config, &mut self.links);
        self.poll_links(now);
        let read = self.news_of_links(now);
        self.tell_links((0..self.config.spec.links.len()).map(LinkId), now);
        process::raise_descriptors(&self.config);
        self.open_ports(now);
        self.desired.hear(&read, &mut self.links);
        self.watch_foreign();
        let masters: Vec<InstanceId> = self.masters().collect();
        let (firewall, present) = self.firewall();
        firewall.reload(masters.into_iter(), present);
        self.announce_added(&added);
        self.open_fifos();
        self.schedule.configure(&self.config.global.daemon, now);
        if self.config.global.daemon.fifo_states_on_reload {
            self.tell_states(now);
        }
        self.control.restore_holds(&mut self.core, now);
        for instance in self.core.instances() {
            if self.hooks.keeps_former_settings(&self.config, instance.id) {
                let name = &instance.spec.name;
                log::warn!(
                    "({name}) env has changed while the storage is held: it is released with the former \
                     settings, the new ones hold from the next acquire on"
                );
            }
        }
        log::info!("Reloaded; {count} instances");
    }

    /// `fifo_write_vrrp_states_on_reload`: what holds, once more.
    fn tell_states(&mut self, now: Time) {
        for facts in self.core.instances().iter().map(|instance| instance.facts(now)) {
            let (name, state) = (&facts.instance, facts.state);
            self.fifos.write(&fifo::line(fifo::Subject::Instance, name, state, facts.priority));
        }
    }

    fn masters(&self) -> impl Iterator<Item = InstanceId> {
        let instances = self.core.instances().iter();
        instances.filter(|i| matches!(i.phase, Phase::Master { .. })).map(|i| i.id)
    }

    fn follow_links(&mut self) {
        let fd = self.links.fd().as_raw_fd();
        match self.links.follow(&self.config.spec.links, desired::needs_routes(&self.config)) {
            Ok(false) => {}
            Ok(true) => {
                // The old one is closed, and forgotten by the poll with it.
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
                if let Err(error) = self.register_links() {
                    log::error!("netlink: {error}; changes of interfaces go unseen");
                }
                self.links_unread = true;
            }
            Err(error) => log::error!("netlink: {error}; removed routes go unseen"),
        }
    }

    /// Announces the addresses that the new configuration adds to masters.
    fn announce_added(&mut self, added: &[(InstanceId, Vec<(LinkId, IpAddr)>)]) {
        for (instance, addresses) in added {
            let Some(of) = self.core.instances().get(*instance) else { continue };
            if matches!(of.phase, Phase::Master { .. }) {
                let rounds = of.spec.garp.repeat;
                self.announcer.announce(*instance, addresses, rounds, Pauses::default());
            }
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
    let said = loaded.sources.render_all(worst);
    said.into_iter().map(|(_, text)| text).take(FINDINGS_MAX).collect()
}

/// The addresses that instances which go on get with a new configuration.
fn added(old: &Config, new: &Config) -> Vec<(InstanceId, Vec<(LinkId, IpAddr)>)> {
    let places: HashMap<&str, usize> =
        new.spec.links.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let of = |(id, conf): (InstanceId, &InstanceConf)| {
        let at = |a: &Arc<VirtualAddress>| (a.interface.clone(), a.ip);
        let before: HashSet<_> = old.instances.get(id)?.addresses.iter().map(at).collect();
        let new = conf.addresses.iter().filter(|a| !before.contains(&at(a)));
        let new = new.filter_map(|a| Some((LinkId(*places.get(a.interface.as_str())?), a.ip)));
        Some((id, new.collect::<Vec<_>>()))
    };
    let all = new.instances.entries().filter_map(of);
    all.filter(|(_, addresses)| !addresses.is_empty()).collect()
}

/// Says everything that was found, each where it belongs.
fn log_findings(loaded: &Loaded) {
    for (severity, text) in loaded.sources.render_all(&loaded.diagnostics) {
        match severity {
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
