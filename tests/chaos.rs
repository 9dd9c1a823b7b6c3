//! What hosts do to a pair of nodes, drawn from a seed: interfaces that flap, addresses that others
//! take and give, routes and filters that go, reloads, freezes, kills. After each blow the pair has to
//! come to rest: one master, which has everything, and nothing of it anywhere else; with storage, never
//! on both; and nobody's adverts were late to whom nothing was done that concerns them.
//!
//! `GLHA_CHAOS_SEEDS=n` plays so many seeds (`make chaos CHAOS=n`), `GLHA_CHAOS_SEED=k` that one.

mod lab;

#[path = "chaos/blows.rs"]
mod blows;
#[path = "chaos/random.rs"]
mod random;
#[path = "chaos/shape.rs"]
mod shape;
#[path = "chaos/world.rs"]
mod world;

use random::Random;
use shape::Shape;
use world::World;

/// Blows of a short plan.
const BLOWS_SHORT: usize = 4;
/// Blows of a plan of `make chaos`.
const BLOWS_LONG: usize = 14;
/// Seeds of short plans: as many as there are kinds of pairs.
const SEEDS_SHORT: u64 = 9;

fn play(seed: u64, blows: usize, minds_time: bool) {
    let mut random = Random(seed);
    let shape = Shape::draw(seed, &mut random);
    World::new(shape, minds_time).plays(seed, &mut random, blows);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// Every third seed, so that the harness plays three at a time.
fn share(offset: u64) {
    if let Some(seed) = number("GLHA_CHAOS_SEED") {
        if offset == 0 {
            play(seed, BLOWS_LONG, true);
        }
        return;
    }
    let (count, blows, minds_time) = match number("GLHA_CHAOS_SEEDS") {
        Some(count) => (count, BLOWS_LONG, true),
        None => (SEEDS_SHORT, BLOWS_SHORT, false),
    };
    for seed in (0..count).filter(|seed| seed % 3 == offset) {
        play(seed, blows, minds_time);
    }
}

#[test]
fn a_pair_comes_to_rest_whatever_happens_to_it() {
    share(0);
}

#[test]
fn another_pair_comes_to_rest() {
    share(1);
}

#[test]
fn a_third_pair_comes_to_rest() {
    share(2);
}
