//! Random worlds: real cores under faults. One number is the whole world.
//!
//! `GLHA_SEEDS=n` runs so many; `GLHA_SEED=n` runs that one and shows what happens in it;
//! `the_sum_of_the_stories` (ignored unless asked for) prints a checksum of the first 20,000.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use glha::sim::Plan;

/// How many worlds are run unless somebody says otherwise.
const SEEDS_DEFAULT: u64 = 6000;
/// So many failures are enough to see.
const FAILURES_MAX: usize = 5;
/// The checksum is over so many.
const SEEDS_SUMMED: u64 = 20_000;

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

/// Runs some worlds, beside each other, until one of the answers is not to go on.
fn run_worlds(first: u64, seeds: u64, what: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(first);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            if !what(seed) {
                next.store(first + seeds, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..count {
            scope.spawn(work);
        }
    });
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
    let failures = Mutex::new(Vec::new());
    run_worlds(first, number("GLHA_SEEDS").unwrap_or(SEEDS_DEFAULT), |seed| {
        let Some(violation) = Plan::from_seed(seed).run(false).violation else { return true };
        let mut failures = failures.lock().expect("no thread panics while it has it");
        failures.push((seed, violation));
        failures.len() < FAILURES_MAX
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

/// FNV-1a, 64 bits.
fn checksum(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What happens in the first worlds, as one number: a change that shall change nothing keeps it.
/// `GLHA_SUM_FILE` gets a line for each world, so that the first one that differs is found.
#[test]
#[ignore = "a number to compare with that of another revision"]
fn the_sum_of_the_stories() {
    let sums = Mutex::new(BTreeMap::new());
    run_worlds(1, SEEDS_SUMMED, |seed| {
        let sum = checksum(Plan::from_seed(seed).run(true).story.bytes());
        sums.lock().expect("no thread panics while it has it").insert(seed, sum);
        true
    });
    let sums = sums.into_inner().expect("no thread panics while it has it");
    if let Ok(file) = env::var("GLHA_SUM_FILE") {
        let lines: String = sums.iter().map(|(seed, sum)| format!("{seed} {sum:016x}\n")).collect();
        fs::write(&file, lines).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
    let sum = checksum(sums.values().flat_map(|sum| sum.to_be_bytes()));
    println!("the stories of seeds 1 to {SEEDS_SUMMED}: {sum:016x}");
}
