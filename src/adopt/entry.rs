//! The ways into the scripts that a configuration has: which, for whom, with which words.

use std::path::Path;

use super::gather::Way;
use super::library::{BINARY, Library, base};
use super::meaning::{Meaning, meaning};
use super::value::Val;
use super::walk::{Entry, When, follow};
use crate::conf::{Config, Script, Span};
use crate::core::spec::InstanceId;

/// Who may have storage: a sync group, or an instance in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name that a `hooks` block has.
    pub name: String,
    /// It has a mount hook already.
    pub has_mount: bool,
}

/// A script of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Where the configuration names it.
    pub span: Span,
    /// Its place in the library.
    pub file: usize,
}

/// Everything that the configuration runs.
#[derive(Default)]
pub struct Entries {
    /// Who may have storage.
    pub owners: Vec<Owner>,
    /// What was met on each way.
    pub ways: Vec<Way>,
    /// The scripts that are named.
    pub named: Vec<Named>,
    /// Commands in the configuration itself that are about storage, and why they stay.
    pub left: Vec<(Span, String)>,
}

/// A script, why it is called, and the words that are appended to its own.
type Call<'a> = (Option<&'a Script>, When, Vec<Val>);

fn known(text: &str) -> Val {
    Val::Known(text.to_owned())
}

/// `notify` is called for each of these.
const STATES: [(When, &str); 4] = [
    (When::Master, "MASTER"),
    (When::Backup, "BACKUP"),
    (When::Fault, "FAULT"),
    (When::Stop, "STOP"),
];

/// Follows every script of a configuration.
pub fn enter(config: &Config, library: &mut Library<'_>) -> Entries {
    let mut out = Entries::default();
    for (spec, conf) in config.spec.groups.iter().zip(&config.groups) {
        let has_mount = conf.hooks.as_ref().is_some_and(|hooks| hooks.mount.is_some());
        out.owners.push(Owner { name: spec.name.clone(), has_mount });
    }
    let groups = out.owners.len();
    let mut alone = Vec::new();
    for (id, spec) in config.spec.instances.entries() {
        if config.group_of(id).is_none() {
            let has_mount = config.gating_hooks(id).is_some_and(|hooks| hooks.mount.is_some());
            out.owners.push(Owner { name: spec.name.clone(), has_mount });
            alone.push(id);
        }
    }
    let owner = |id: InstanceId| match config.group_of(id) {
        Some(group) => config.spec.groups.entries().position(|(at, _)| at == group),
        None => alone.iter().position(|&one| one == id).map(|at| groups + at),
    };
    for ((id, spec), conf) in config.spec.instances.entries().zip(&config.instances) {
        let owners: Vec<usize> = owner(id).into_iter().collect();
        let mut calls: Vec<Call<'_>> = vec![
            (conf.notify.master.as_deref(), When::Master, Vec::new()),
            (conf.notify.backup.as_deref(), When::Backup, Vec::new()),
            (conf.notify.fault.as_deref(), When::Fault, Vec::new()),
            (conf.notify.stop.as_deref(), When::Stop, Vec::new()),
            (conf.notify.deleted.as_deref(), When::Stop, Vec::new()),
            (conf.notify.lower_priority.as_deref(), When::Other, Vec::new()),
        ];
        for (when, state) in STATES {
            let priority = Val::Unknown { itself: false };
            let words = vec![known("INSTANCE"), known(&spec.name), known(state), priority];
            calls.push((conf.notify.every.as_deref(), when, words));
        }
        calls.into_iter().for_each(|call| out.enter(library, call, &owners));
    }
    for (at, (spec, conf)) in config.spec.groups.iter().zip(&config.groups).enumerate() {
        let mut calls: Vec<Call<'_>> = vec![
            (conf.notify.master.as_deref(), When::Master, Vec::new()),
            (conf.notify.backup.as_deref(), When::Backup, Vec::new()),
            (conf.notify.fault.as_deref(), When::Fault, Vec::new()),
            (conf.notify.stop.as_deref(), When::Stop, Vec::new()),
        ];
        for (when, state) in STATES {
            let words = vec![known("GROUP"), known(&spec.name), known(state), known("0")];
            calls.push((conf.notify.every.as_deref(), when, words));
        }
        calls.into_iter().for_each(|call| out.enter(library, call, &[at]));
    }
    for (id, conf) in config.checks.entries().filter(|(_, conf)| conf.hook_of.is_none()) {
        let tracks = config
            .spec
            .instances
            .entries()
            .filter(|(_, spec)| spec.track_checks.iter().any(|track| track.check == id));
        let mut owners: Vec<usize> = tracks.filter_map(|(id, _)| owner(id)).collect();
        owners.dedup();
        out.enter(library, (Some(&conf.script), When::Check, Vec::new()), &owners);
    }
    let daemon = &config.global.daemon;
    for edge in [&daemon.startup, &daemon.shutdown].into_iter().flatten() {
        out.enter(library, (Some(&edge.script), When::Other, Vec::new()), &[]);
    }
    out
}

impl Entries {
    fn enter(&mut self, library: &mut Library<'_>, call: Call<'_>, owners: &[usize]) {
        let (Some(script), when, appended) = call else { return };
        let Some((program, own)) = script.argv.split_first() else { return };
        if program.starts_with('<') {
            return;
        }
        // A shell that is given a script runs it as if it stood alone.
        let is_shell = matches!(base(program), "sh" | "bash" | "dash");
        let at = own.iter().position(|word| !word.starts_with('-')).filter(|_| is_shell);
        let gives_text = own.iter().any(|word| word.starts_with('-') && word.contains('c'));
        let (path, own) = match at {
            Some(at) if !gives_text => (&own[at], own.get(at + 1..).unwrap_or_default()),
            _ => (program, own),
        };
        let mut words: Vec<Val> = own.iter().map(|word| known(word)).collect();
        words.extend(appended);
        let file = path.starts_with('/').then(|| library.script(Path::new(path)));
        let is_program = |file: usize| {
            library
                .files
                .get(file)
                .is_some_and(|file| matches!(&file.list, Err((0, why)) if why == BINARY))
        };
        match file {
            Some(file) if !(is_program(file) || is_shell && gives_text) => {
                self.named.push(Named { span: script.span, file });
                let trail = follow(library, &Entry { file, when, words });
                self.ways.push(Way { owners: owners.to_vec(), trail });
            }
            _ => {
                let all: Vec<Val> = script.argv.iter().map(|word| known(word)).collect();
                if let Some(why) = why_left(&meaning(&all)) {
                    self.left.push((script.span, why.to_owned()));
                }
            }
        }
    }
}

/// Why a command of the configuration itself stays.
const fn why_left(meaning: &Meaning) -> Option<&'static str> {
    match meaning {
        Meaning::Nothing
        | Meaning::Service(..)
        | Meaning::OddService(_)
        | Meaning::Owner(..)
        | Meaning::Mode(..) => None,
        Meaning::Odd(why) => Some(why),
        Meaning::StopDaemon => Some("it stops the daemon; let a check fail instead"),
        _ => Some(
            "the configuration itself does this, without a script: take it out, mount.sh does it",
        ),
    }
}
