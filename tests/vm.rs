//! Two machines with Debian's kernel and a real systemd, one shared disk, one network: from a running
//! keepalived to glha, what machines go through, and back. `make vm` runs it, as root; it needs qemu and
//! debootstrap, which tests/vm/means.sh installs, and no KVM. It wants the machine for itself: an emulated
//! processor that gets no time lets a probe run out, and then a node that was killed does not resume but release.
//!
//! A client asks the service through the virtual address all the time. Each scenario is a line of a
//! table: how long nobody answered, and what happened in which order. No acknowledged write may be lost,
//! and the disk is never mounted on both.

#[path = "vm/client.rs"]
mod client;
#[path = "vm/guest.rs"]
mod guest;
#[path = "vm/manual.rs"]
mod manual;
#[path = "vm/pair.rs"]
mod pair;
#[path = "vm/scenarios.rs"]
mod scenarios;
#[path = "lab/space.rs"]
#[allow(dead_code)]
mod space;
#[path = "vm/storage.rs"]
mod storage;
#[path = "vm/story.rs"]
mod story;
#[path = "vm/target.rs"]
mod target;

use pair::Pair;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

/// `GLHA_VM` names the scenarios that are to be played, all without it; `GLHA_VM_DEB` is the package.
#[test]
#[ignore = "minutes, with qemu: make vm"]
fn two_machines() {
    let package = env::var_os("GLHA_VM_DEB").map(PathBuf::from);
    let package =
        package.expect("GLHA_VM_DEB: the Debian package; `make vm` builds it and names it");
    let package = package.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", package.display()));
    let chosen = env::var("GLHA_VM").ok();
    let is_chosen = |name: &str| {
        chosen.as_deref().is_some_and(|chosen| chosen.split(' ').any(|one| name.contains(one)))
    };
    let is_storage = storage::ALL.iter().any(|(name, _)| is_chosen(name));
    // The second set begins with fresh guests, so it is played alone.
    let (all, needed) = match is_storage {
        true => (storage::ALL, &[][..]),
        false => (scenarios::ALL, scenarios::NEEDED),
    };

    let begun = Instant::now();
    let mut pair = Pair::new(&package);
    println!("processors: {:?}", pair.accelerator);
    pair.power();
    println!("{:>5.0} s  both guests have booted", begun.elapsed().as_secs_f64());
    println!("{:<44} {:>8}  in order", "scenario", "outage");
    let mut failed = Vec::new();
    for (name, play) in all {
        let is_needed = needed.contains(name);
        if !is_needed && chosen.is_some() && !is_chosen(name) {
            continue;
        }
        let since = Instant::now();
        let played = catch_unwind(AssertUnwindSafe(|| {
            play(&mut pair);
            if !storage::FENCED.contains(name) {
                story::never_two(&story::since(&pair.guests, begun));
            }
        }));
        if played.is_ok() {
            // Of the second set each has rows of its own.
            if !is_storage {
                pair.row(name, since, "");
            }
            continue;
        }
        pair.row(name, since, "FAILED  ");
        failed.push(*name);
        tell(&pair, since);
        if is_needed {
            break;
        }
        // The next one begins with whole machines, whatever this one has left.
        if !start_afresh(&mut pair) {
            break;
        }
    }
    if failed.is_empty() && !is_storage {
        pair.look_at_the_disk();
    }
    println!("{:>5.0} s in all", begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// The consoles since then, as far as they may tell what went wrong.
fn tell(pair: &Pair, since: Instant) {
    for guest in &pair.guests {
        let said = guest.said_since(since);
        println!("--- console of {} since then", guest.name());
        for line in said.iter().rev().take(CONSOLE_LINES).rev() {
            println!("{:>8.2} {}", (line.at - since).as_secs_f64(), line.text);
        }
    }
}

/// Both machines lose their power and boot; false if they do not.
fn start_afresh(pair: &mut Pair) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        for guest in &mut pair.guests {
            guest.cut();
        }
        pair.power();
    }))
    .is_ok()
}

/// Of each console, when a scenario has failed.
const CONSOLE_LINES: usize = 150;
