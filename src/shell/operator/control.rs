//! The control socket, and what is kept for those who ask there: the flight recorder, holds, and how
//! hooks have ended.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::conf::Config;
use crate::core::event::{Event, Facts};
use crate::core::spec::InstanceId;
use crate::core::{Core, Instance, Phase, Time};
use crate::shell::hooks::child::Ended;
use crate::shell::hooks::run::Run;
use crate::shell::host::errand::{self, Errand, Errands};
use crate::shell::host::scribe::Scribe;
use crate::shell::kernel::assigned::Addresses;
use crate::shell::kernel::link::Links;
use crate::shell::state::holds::Holds;
use crate::shell::state::record::{HookEnd, Record, RecordFile, Recorder};
use crate::work::{Executor, Key};

mod hold;
mod metrics;
mod observed;
pub mod protocol;
mod reload;
mod server;
mod status;

pub use observed::Observed;

use hold::Pending;
use protocol::{Metrics, Refusal, Reply, Request, Why};
use reload::Asked;
use server::{Follow, Server};
use status::Clocks;
pub use status::summary;

/// So many tokens belong to [`Control`].
pub const TOKENS: usize = server::TOKENS + errand::TOKENS + 1;

/// The name of the socket in the folder of run-time files.
pub const SOCKET: &str = "control.sock";
/// The names of the files of holds and of records in the folder that outlives a boot.
pub const HOLDS: &str = "hold.json";
/// See [`HOLDS`].
pub const RECORDS: &str = "events.jsonl";
/// Where that is.
const STATE_FOLDER: &str = "/var/lib/glha";
/// The folder of run-time files; its subfolders have counterparts in [`STATE_FOLDER`].
pub const RUN_FOLDER: &str = "/run/glha";
/// So many records are told unless a client says how many it wants,
const RECORDS_DEFAULT: usize = 50;
/// and with a reason.
const WHY_RECORDS: usize = 20;
/// So many bytes of records are handed to a follower in one turn of the loop.
const FEED_BYTES_MAX: usize = 256 << 10;

/// The daemon around the socket, as it is in one turn of the loop.
pub struct Running<'a> {
    /// The configuration it runs with.
    pub config: &'a Config,
    /// Where that is from.
    pub config_path: &'a Path,
    /// What is decided.
    pub core: &'a mut Core,
    /// What the kernel says.
    pub links: &'a Links,
    /// The virtual addresses of the instances.
    pub addresses: &'a Addresses,
    /// Hooks that run or wait.
    pub executor: &'a Executor<Run>,
    /// A configuration is being read.
    pub is_reading: bool,
    /// The time of the turn.
    pub now: Time,
}

/// Everything around the socket.
pub struct Control {
    server: Server,
    first_token: usize,
    pub(in crate::shell) recorder: Recorder,
    pub(in crate::shell) holds: Holds,
    /// Answers that wait for the disk.
    pending: Vec<Pending>,
    /// Who waits for a reload.
    asked: Vec<Asked>,
    pub(in crate::shell) errands: Errands,
    /// The counters begin anew when they are written.
    pub(in crate::shell) clears_stats: bool,
    registry: Registry,
    pub(in crate::shell) observed: Observed,
    /// Somebody wants a reload.
    wants_reload: bool,
    /// The last reload, if it was refused.
    pub(in crate::shell) refused: Option<Refusal>,
    started_at: Time,
    /// A transition has happened in this turn.
    has_changed: bool,
    /// Numbers the records that are no transition.
    count: u64,
}

impl Control {
    /// Opens the socket in the folder of run-time files, and reads what former runs have left. `pen` will
    /// write the records, if it is started already.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn open(
        folder: &Path,
        registry: Registry,
        first_token: usize,
        pen: Option<Scribe>,
        is_logging: bool,
    ) -> io::Result<Self> {
        let now = crate::shell::host::clock::now();
        let state = state_folder(folder);
        let file = RecordFile::new(state.join(RECORDS));
        let holds = Holds::open(state.join(HOLDS));
        if let Some(why) = holds.doubt() {
            log::error!(
                "{why}; every instance is on hold until glha hold or unhold writes it anew"
            );
        }
        let first_errand = first_token + server::TOKENS;
        let mut control = Self {
            server: Server::open(folder.join(SOCKET), registry.try_clone()?, first_token, now),
            first_token,
            recorder: Recorder::open(Some(file), pen, is_logging),
            holds,
            pending: Vec::new(),
            asked: Vec::new(),
            errands: Errands::new(registry.try_clone()?, first_errand),
            clears_stats: false,
            registry,
            observed: Observed::default(),
            wants_reload: false,
            refused: None,
            started_at: now,
            has_changed: false,
            count: 0,
        };
        control.watch_recorder();
        Ok(control)
    }

    const fn recorder_token(&self) -> Token {
        Token(self.first_token + server::TOKENS + errand::TOKENS)
    }

    /// Unwatched, it is not said what is wrong with the file.
    fn watch_recorder(&mut self) {
        if let Some(fd) = self.recorder.fd() {
            let fd = fd.as_raw_fd();
            let token = self.recorder_token();
            let _ = self.registry.register(&mut SourceFd(&fd), token, Interest::READABLE);
        }
    }

    /// Must the loop go on at once?
    pub fn is_urgent(&self) -> bool {
        self.server.is_urgent()
    }

    /// When it wants to be looked at next.
    pub fn deadline(&self) -> Option<Time> {
        let pending = self.pending.iter().map(|pending| pending.give_up_at);
        let asked = self.asked.iter().map(|asked| asked.give_up_at);
        pending.chain(asked).chain(self.server.deadline()).chain(self.holds.deadline()).min()
    }

    /// Records something that is no transition.
    pub(in crate::shell) fn record(&mut self, node: &str, record: Record) {
        self.count += 1;
        let id = format!("{node}-{}-r{}", std::process::id(), self.count);
        self.recorder.add(node, id, record);
    }
}

impl Running<'_> {
    /// Finds an instance by its name, or the members of a sync group, at least one; or says which
    /// there are.
    fn find(&self, name: &str) -> Result<Vec<InstanceId>, Box<Reply>> {
        const NAMES_MAX: usize = 20;
        let (instances, groups) = (self.core.instances(), self.core.groups());
        if let Some(found) = instances.iter().find(|instance| instance.spec.name == name) {
            return Ok(vec![found.id]);
        }
        let group = groups.iter().find(|group| group.spec.name == name);
        if let Some(group) = group.filter(|group| !group.spec.members.is_empty()) {
            return Ok(group.spec.members.clone());
        }
        let names = || {
            let groups = groups.iter().map(|group| group.spec.name.as_str());
            groups.chain(instances.iter().map(|instance| instance.spec.name.as_str()))
        };
        let guess = crate::conf::nearest(name, names())
            .map(|guess| format!("; perhaps {guess}?"))
            .unwrap_or_default();
        let more = names().count().saturating_sub(NAMES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let list: Vec<&str> = names().take(NAMES_MAX).collect();
        let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        let what = if groups.is_empty() { "instance" } else { "instance or group" };
        let text = format!("there is no {what} {name}{guess} There are: {list}{more}");
        let text =
            if guess.is_empty() { text.replacen(" There are", "; there are", 1) } else { text };
        Err(Box::new(Reply::refused("unknown_instance", text)))
    }

    /// The names by which records are found of an instance, or of a group and its members.
    fn names_of(&self, name: &str) -> Vec<String> {
        let found = self.find(name).unwrap_or_default();
        let members = found.iter().map(|id| self.core.instances()[*id].spec.name.clone());
        std::iter::once(name.to_owned()).chain(members.filter(|member| member != name)).collect()
    }
}

/// The counterpart of a folder of run-time files that outlives a boot.
pub fn state_folder(run: &Path) -> PathBuf {
    let below = run.strip_prefix(RUN_FOLDER).unwrap_or_else(|_| Path::new(""));
    if below == Path::new("") { STATE_FOLDER.into() } else { Path::new(STATE_FOLDER).join(below) }
}

/// What a client is told that comes when there are too many.
fn busy() -> Vec<u8> {
    line(&Reply::refused("busy", "too many clients; try again in a moment"))
}

/// What a client is told whose request has no end.
fn too_long() -> Vec<u8> {
    let text = format!("a request is one line of at most {} bytes", server::REQUEST_BYTES_MAX);
    line(&Reply::refused("bad_request", text))
}

/// Strings, numbers and maps with string keys always serialise.
fn line(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

impl Control {
    /// Tells the core of the holds that there are. To be called at the start and after a reload.
    pub fn restore_holds(&mut self, core: &mut Core, now: Time) {
        let ids = |i: &Instance| (i.id, i.spec.name.clone());
        let all: Vec<_> = core.instances().iter().map(ids).collect();
        let is_held = |core: &Core, id: InstanceId| core.instances()[id].is_held();
        for (instance, name) in &all {
            let company = core.company_of(*instance);
            let are_held = company.iter().all(|member| is_held(core, *member));
            if self.holds.is_held(name) && !are_held {
                core.handle(Event::Hold { instance: *instance, is_on: true }, now);
            }
        }
        for (instance, name) in &all {
            if is_held(core, *instance) && !self.holds.is_held(name) {
                // It has another name now, or has come into a group that is on hold.
                self.keep_hold(core, name, true);
            }
        }
    }

    /// Serves clients as far as that is possible without waiting. True if one of them wants a reload.
    #[must_use]
    pub fn work(&mut self, tokens: &[Token], running: &mut Running<'_>) -> bool {
        let now = running.now;
        let first = self.first_token;
        for &token in tokens {
            if token.0 < first + server::TOKENS {
                self.server.handle_ready(token, now);
            } else if token == self.recorder_token() {
                if self.recorder.handle_ready() {
                    self.watch_recorder();
                }
            } else if let Some((errand, result)) = self.errands.handle_ready(token) {
                self.errand_ended(errand, result, running);
            }
        }
        self.server.handle_timeout(now);
        for (client, request) in self.server.work(now) {
            let reply = self.answer(client, &request, running);
            // An answer may have to wait for the disk.
            let Some(reply) = reply else { continue };
            if !self.server.reply(client, &reply, now) {
                let text = "the answer is too long; ask for one instance, or for less";
                let reply = line(&Reply::refused("too_long", text));
                self.server.reply(client, &reply, now);
            }
        }
        std::mem::take(&mut self.wants_reload)
    }

    /// A process has done something on a disk, or could not.
    fn errand_ended(
        &mut self,
        errand: Errand,
        result: Result<(), String>,
        running: &mut Running<'_>,
    ) {
        match (errand, result) {
            (Errand::Holds, result) => self.holds.ended(result, running.now),
            // Only when they are written the counters begin anew.
            (Errand::Stats, Ok(())) if std::mem::take(&mut self.clears_stats) => {
                running.core.clear_stats();
            }
            (Errand::Stats, Err(why)) => {
                self.clears_stats = false;
                log::error!("{why}");
            }
            (Errand::Data | Errand::Json | Errand::Stats, Ok(())) => {}
            (Errand::Data | Errand::Json, Err(why)) => log::error!("{why}"),
        }
    }

    /// The end of a turn: what has happened is written down and told to those who follow. True if
    /// there was a transition.
    pub fn finish_turn(&mut self, now: Time) -> bool {
        for (client, follow) in self.server.followers() {
            let mut lines = Vec::new();
            let mut next = follow.next;
            for entry in self.recorder.since(follow.next) {
                if lines.len() > FEED_BYTES_MAX {
                    break;
                }
                next = entry.number + 1;
                if entry.is_of(follow.whose.as_deref()) {
                    lines.extend_from_slice(entry.line.as_bytes());
                    lines.push(b'\n');
                }
            }
            if next != follow.next {
                self.server.feed(client, &lines, next, now);
            }
        }
        self.write_holds(now);
        self.give_up_reload(now);
        std::mem::take(&mut self.has_changed)
    }

    /// A transition. Its hooks are told the same id.
    pub fn record_transition(&mut self, node: &str, id: String, facts: &Facts) {
        self.has_changed = true;
        self.recorder.add(node, id, Record::transition(facts));
    }

    /// A hook has ended. Checks and routine probes are recorded when they say something new.
    pub fn record_hook(&mut self, ended: &Ended, running: &Running<'_>) {
        let node = &running.config.global.router_id;
        let now = running.now;
        let name = |id: InstanceId| {
            running.core.instances().get(id).map(|instance| instance.spec.name.clone())
        };
        let (hook, instance, end, took, output) = match ended {
            Ended::Unkillable { key } => {
                let (Key::Mount(id) | Key::Notify(id)) = *key else { return };
                let text = "a hook is past its deadline and cannot be killed";
                let record = Record::event("unkillable", name(id).as_deref(), text);
                return self.record(node, record);
            }
            Ended::Hook { key: Key::Check(id), end, output, took } => {
                let is_news = self.observed.check_ended(*id, end, *took, now);
                let Some(check) = running.core.checks().get(*id).filter(|_| is_news) else {
                    return;
                };
                (format!("check {}", check.spec.name), None, end, took, output)
            }
            Ended::Hook { key: Key::Mount(id), end, output, took } => {
                let Some(action) = running.executor.mount(*id) else { return };
                if !self.observed.mount_ended(*id, action, end, *took, now) {
                    return;
                }
                (format!("mount {}", action.word()), name(*id), end, took, output)
            }
            Ended::Hook { key: Key::Notify(id), end, output, took } => {
                ("notify".to_owned(), name(*id), end, took, output)
            }
            Ended::Hook { key: Key::Group(id), end, output, took } => {
                let group = running.core.groups().get(*id).map(|group| group.spec.name.clone());
                ("notify".to_owned(), group, end, took, output)
            }
            Ended::Hook { key: Key::Fifo(_) | Key::Edge, .. } => return,
        };
        let end = HookEnd {
            how: end.to_string(),
            is_success: end.is_success(),
            took: *took,
            output: output.clone(),
        };
        self.record(node, Record::hook(hook, instance, &end));
    }

    /// The answer to a request; none if it follows later.
    fn answer(
        &mut self,
        client: usize,
        request: &[u8],
        running: &mut Running<'_>,
    ) -> Option<Vec<u8>> {
        let request: Request = match serde_json::from_slice(request) {
            Ok(request) => request,
            Err(error) => return Some(line(&Reply::refused("bad_request", error.to_string()))),
        };
        let reply = match request {
            Request::Status { instance: None } => return Some(line(&self.status(running, None))),
            Request::Status { instance: Some(name) } => match running.find(&name) {
                Ok(found) => return Some(line(&self.status(running, Some(&found)))),
                Err(refused) => *refused,
            },
            Request::Events { instance, last, follow } => {
                return Some(self.answer_events(running, client, instance, last, follow));
            }
            Request::Why { instance } => match running.find(&instance) {
                Ok(found) => return Some(self.why(running, &instance, &found)),
                Err(refused) => *refused,
            },
            Request::Resign { instance, force, cancel } => {
                self.on(running, &instance, |control, running, id| {
                    control.resign(running, id, force, cancel)
                })
            }
            Request::Released { instance } => self.on(running, &instance, Self::released),
            Request::Hold { instance } => {
                return self.answer_hold(running, client, &instance, true);
            }
            Request::Unhold { instance } => {
                return self.answer_hold(running, client, &instance, false);
            }
            Request::Reload => return self.answer_reload_later(running, client),
            Request::Metrics => {
                let schema = "glha.metrics/1".into();
                return Some(line(&Metrics { schema, metrics: self.metrics(running) }));
            }
        };
        Some(line(&reply))
    }

    fn on(
        &mut self,
        running: &mut Running<'_>,
        name: &str,
        what: impl FnOnce(&mut Self, &mut Running<'_>, InstanceId) -> Result<String, String>,
    ) -> Reply {
        // What is done to a member is done to its group.
        let id = match running.find(name).map(|found| found.first().copied()) {
            Ok(Some(id)) => id,
            Ok(None) => {
                return Reply::refused("unknown_instance", format!("{name} has no members"));
            }
            Err(refused) => return *refused,
        };
        if running.core.is_stopping() {
            return Reply::refused("refused", "the daemon is stopping");
        }
        match what(self, running, id) {
            Ok(text) => {
                let group = running.core.instances()[id].group();
                let group = group.filter(|group| *group != name);
                let whole = group.map(|group| format!(" (with all of group {group})"));
                Reply::done(format!("{name}{}: {text}", whole.unwrap_or_default()))
            }
            Err(why) => Reply::refused("refused", format!("{name}: {why}")),
        }
    }

    fn resign(
        &mut self,
        running: &mut Running<'_>,
        id: InstanceId,
        is_forced: bool,
        cancel: bool,
    ) -> Result<String, String> {
        let now = running.now;
        let id = running.core.leader_of(id);
        let instance = &running.core.instances()[id];
        if cancel {
            let had = instance.has_resigned();
            self.record_of_company(running, "resign_cancelled", id, "");
            running.core.handle(Event::ResignCancelled { instance: id }, now);
            let text = if had { "no longer resigned" } else { "it had not resigned" };
            return Ok(text.into());
        }
        if let Some(why) = running.core.resign_refusal(id, is_forced, now) {
            return Err(format!("{why}; --force resigns all the same"));
        }
        let was_master = matches!(instance.phase, Phase::Master { .. } | Phase::Acquiring(_));
        let detail = if is_forced { "forced" } else { "" };
        self.record_of_company(running, "resign", id, detail);
        running.core.handle(Event::Resign { instance: id, is_forced }, now);
        let then = if is_forced {
            "until another master was heard and is gone; glha resign --cancel ends it"
        } else {
            "until the other master is gone; if nobody takes over, it takes it back"
        };
        let what = if was_master { "hands over, and stays backup" } else { "stays backup" };
        Ok(format!("{what} {then}"))
    }

    fn released(&mut self, running: &mut Running<'_>, id: InstanceId) -> Result<String, String> {
        let id = running.core.leader_of(id);
        let instance = &running.core.instances()[id];
        if instance.spec.gate.is_none() {
            return Err("it has no mount hook, so no storage".into());
        }
        let action = running.executor.mount(id);
        let text = match (&instance.phase, action) {
            (Phase::Stuck(_), Some(action)) => {
                let word = action.word();
                return Err(format!("its mount hook still runs ({word}); end that first"));
            }
            (Phase::Master { .. }, _) => {
                return Err("it is master, and holds the storage itself".into());
            }
            (Phase::Stuck(_), None) => "no longer stuck; the other node is told that it is free",
            _ => "that is the proof for its next acquire, unless another master is heard before",
        };
        self.record_of_company(running, "released", id, "a person says that the storage is free");
        running.core.handle(Event::Released { instance: id }, running.now);
        Ok(text.into())
    }

    /// What a person does to an instance is done to its group, and recorded of every member.
    fn record_of_company(
        &mut self,
        running: &Running<'_>,
        kind: &str,
        id: InstanceId,
        detail: &str,
    ) {
        for member in running.core.company_of(id) {
            let name = &running.core.instances()[member].spec.name;
            self.record(&running.config.global.router_id, Record::event(kind, Some(name), detail));
        }
    }

    /// Of a group that is its first member, which decides where there is storage.
    fn why(&self, running: &Running<'_>, name: &str, found: &[InstanceId]) -> Vec<u8> {
        let first = found.first().copied();
        let status =
            first.and_then(|id| self.instance_status(running, id, Clocks::read(running.now)));
        let Some(instance) = status else {
            return line(&Reply::refused("refused", "it is leaving"));
        };
        let entries = self.recorder.last(WHY_RECORDS, Some(&running.names_of(name)));
        let records = entries.iter().filter_map(|entry| serde_json::from_str(&entry.line).ok());
        line(&Why { schema: "glha.why/1".into(), records: records.collect(), instance })
    }

    fn answer_events(
        &mut self,
        running: &Running<'_>,
        client: usize,
        instance: Option<String>,
        last: Option<usize>,
        follow: bool,
    ) -> Vec<u8> {
        let whose = instance.map(|name| running.names_of(&name));
        let recorder = &self.recorder;
        let mut lines = Vec::new();
        for entry in recorder.last(last.unwrap_or(RECORDS_DEFAULT), whose.as_deref()) {
            lines.extend_from_slice(entry.line.as_bytes());
            lines.push(b'\n');
        }
        if follow {
            let next = recorder.next();
            self.server.follow(client, Follow { next, whose });
        }
        let then = if follow { "more follows when it happens" } else { "that is all" };
        lines.extend(line(&Reply::done(then)));
        lines
    }
}
