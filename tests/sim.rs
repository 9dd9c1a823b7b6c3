//! Random worlds: real cores under faults. One number is the whole world.
//!
//! `GLHA_SEEDS=n` runs so many; `GLHA_SEED=n` runs that one and shows what happens in it.

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use glha::sim::Plan;

/// How many worlds are run unless somebody says otherwise.
const SEEDS_DEFAULT: u64 = 2000;
/// So many failures are enough to see.
const FAILURES_MAX: usize = 5;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// What a person needs to see of a seed that fails.
fn show(seed: u64) -> Option<String> {
    let plan = Plan::from_seed(seed);
    let violation = plan.run(false).violation?;
    let small = plan.shrink(violation.invariant);
    let outcome = small.run(true);
    let found = outcome.violation.map_or_else(String::new, |found| found.to_string());
    Some(format!(
        "seed {seed} breaks {violation}\nwith no more than is needed for that:\n{}{}{found}\n",
        small.describe(),
        outcome.story
    ))
}

#[test]
fn every_world_keeps_the_promises() {
    if let Some(seed) = number("GLHA_SEED") {
        match show(seed) {
            Some(text) => panic!("{text}"),
            None => return println!("{}", Plan::from_seed(seed).run(true).story),
        }
    }
    let first = number("GLHA_FIRST").unwrap_or(1);
    let seeds = number("GLHA_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            if let Some(violation) = Plan::from_seed(seed).run(false).violation {
                let mut failures = failures.lock().expect("no thread panics while it has it");
                failures.push((seed, violation));
                if failures.len() >= FAILURES_MAX {
                    next.store(first + seeds, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..count {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics while it has it");
    failures.sort_by_key(|&(seed, _)| seed);
    let Some((seed, _)) = failures.first() else { return };
    let list: String = failures
        .iter()
        .map(|(seed, violation)| format!("GLHA_SEED={seed}: {violation}\n"))
        .collect();
    panic!("{list}{}", show(*seed).unwrap_or_default());
}
