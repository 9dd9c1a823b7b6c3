//! `glha release`: lets go of everything that a daemon which is gone has left behind.

use std::time::Duration;

use crate::conf::Config;
use crate::core::event::{Facts, Held, HookEnd, Memory, MountAction};
use crate::core::spec::{Family, InstanceId};
use crate::shell::hooks::compose::Hooks;
use crate::shell::hooks::wait::wait_for;
use crate::shell::host::paths;
use crate::shell::kernel::address::{Outcome, refusal};
use crate::shell::kernel::desired;
use crate::shell::kernel::firewall;
use crate::shell::kernel::link::Links;
use crate::shell::kernel::vmac::Vmacs;
use crate::shell::state::phase_file::Notebook;
use crate::work::Key;

/// What taking off the addresses may cost.
const ADDRESSES_MAX: Duration = Duration::from_secs(10);

/// Takes the addresses, routes and rules of all instances off, and what is static, and then gives
/// back the storage that the phase files say is held, by the same hooks as the daemon. One after the
/// other, as a person would.
///
/// # Errors
/// What may still be held, for the administrator. Everything was tried.
pub fn release(config: &Config) -> Result<(), String> {
    let mut still_held: Vec<String> = take_addresses(config).err().into_iter().collect();
    let mut notebook = Notebook::at(paths::run_folder(&config.global.daemon));
    let found = notebook.read(config).map_err(|why| {
        let all: Vec<&str> = still_held.iter().map(String::as_str).chain([why.as_str()]).collect();
        all.join("; ")
    })?;
    for (id, found) in config.spec.instances.ids().zip(found) {
        let Some(spec) = config.spec.instances.get(id) else { continue };
        if spec.gate.is_none() || found.memory.held == Held::Free {
            continue;
        }
        let end = found
            .end_process()
            .and_then(|()| run_release(config, id))
            .and_then(|end| if end.is_success() { Ok(()) } else { Err(end.to_string()) });
        match end {
            Ok(()) => {
                log::info!("({}) the storage is released", spec.name);
                let memory = Memory { held: Held::Free, ..found.memory };
                notebook.write(id, &spec.name, &memory);
            }
            Err(why) => {
                let name = &spec.name;
                still_held.push(format!("the storage of {name} may still be held: release {why}"));
            }
        }
    }
    still_held.extend(notebook.strangers(config));
    if still_held.is_empty() { Ok(()) } else { Err(still_held.join("; ")) }
}

fn take_addresses(config: &Config) -> Result<(), String> {
    if let Some(name) = &config.global.daemon.net_namespace
        && paths::enter(name).is_err()
    {
        // Gone, with its addresses; those of this network are another's.
        return Ok(());
    }
    firewall::remove(&config.global.firewall.table, &[Family::V4, Family::V6]);
    let names = &config.spec.links;
    let mut links = Links::open(names).map_err(|error| format!("netlink: {error}"))?;
    links.take_things(desired::everything(config));
    let in_time = links.finish(ADDRESSES_MAX);
    // What was removed with its interface needs not be taken off any more.
    let mut vmacs = Vmacs::open(&paths::run_folder(&config.global.daemon));
    vmacs.finish(&mut links);
    let failed = |outcome: Outcome| {
        let why = outcome.error?;
        Some(format!("{}: {why}", refusal(&outcome.what, outcome.wish)))
    };
    let failures: Vec<String> = links.outcomes().into_iter().filter_map(failed).collect();
    if in_time && failures.is_empty() {
        return Ok(());
    }
    Err(format!("not all addresses could be taken off: {}", failures.join("; ")))
}

/// Runs the mount hook for `release` and waits for its end.
fn run_release(config: &Config, id: InstanceId) -> Result<HookEnd, String> {
    let spec = config.spec.instances.get(id).ok_or("there is no such instance")?;
    let timeout = spec.gate.as_ref().map_or(Duration::ZERO, |gate| gate.timeout);
    let facts = Facts {
        group: None,
        instance: spec.name.clone(),
        state: "FAULT",
        previous: "MASTER",
        phase: "releasing",
        reason: "released",
        detail: "glha release".into(),
        transition: 0,
        vrid: spec.vrid,
        priority: spec.priority,
        peer: None,
        how: None,
        released: false,
        lost: false,
    };
    let run = Hooks::new()
        .mount(config, id, MountAction::Release, timeout, &facts)
        .ok_or("it has no mount hook")?;
    let waited = wait_for(Key::Mount(id), run, None);
    waited.map(|waited| waited.end).map_err(|error| format!("hook: {error}"))
}
