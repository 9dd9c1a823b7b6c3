//! `glha rehearse`: the configurations of a pair, played through the real core in simulated time.
//!
//! Nothing is read or run here: configurations go in, and what would happen comes out, as text and
//! as a picture. What a simulated hook does and how long it takes is made up (`scene`); what the
//! nodes decide is not.

#![forbid(unsafe_code)]

mod cast;
mod film;
mod pair;
mod picture;
mod scene;
mod text;

use crate::conf::Config;
use film::Film;

/// A node that takes part.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// What it is called in the report.
    pub name: &'a str,
    /// What it is configured to do.
    pub config: &'a Config,
}

/// Most nodes that are played at once.
pub const ACTORS_MAX: usize = 8;

/// How everything came out.
#[derive(Debug)]
pub struct Rehearsal {
    /// The instance that was played.
    pub instance: String,
    /// What these configurations cannot survive, or not as one would expect.
    pub doubts: Vec<String>,
    names: Vec<String>,
    is_gated: bool,
    films: Vec<Film>,
}

/// The instances worth playing: those that every node has, those with storage before all others.
pub fn instances(actors: &[Actor<'_>]) -> Vec<String> {
    let Some((first, others)) = actors.split_first() else { return Vec::new() };
    let has = |actor: &Actor<'_>, name: &str| cast::find(actor.config, name).is_some();
    let common = first.config.spec.instances.iter();
    let common = common.filter(|spec| others.iter().all(|other| has(other, &spec.name)));
    let mut common: Vec<_> = common.collect();
    common.sort_by_key(|spec| spec.gate.is_none());
    common.into_iter().map(|spec| spec.name.clone()).collect()
}

/// Plays an instance.
///
/// # Errors
/// A node does not have it, or there are not 2 to [`ACTORS_MAX`] nodes.
pub fn rehearse(actors: &[Actor<'_>], instance: &str) -> Result<Rehearsal, String> {
    if !(2..=ACTORS_MAX).contains(&actors.len()) {
        return Err(format!("{} nodes; a rehearsal takes 2 to {ACTORS_MAX}", actors.len()));
    }
    let roles = actors
        .iter()
        .map(|actor| cast::Role::new(*actor, instance))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Rehearsal {
        instance: instance.to_owned(),
        doubts: pair::doubts(&roles),
        names: actors.iter().map(|actor| actor.name.to_owned()).collect(),
        is_gated: roles.iter().any(cast::Role::is_gated),
        films: scene::play_all(&roles),
    })
}

impl Rehearsal {
    /// Nothing was found that a person would have to see to: no doubts, and in every scene the
    /// service was back before its end, without ever being in two places.
    pub fn is_content(&self) -> bool {
        self.doubts.is_empty() && self.films.iter().all(|film| film.outcome().is_good())
    }

    /// The report for a terminal.
    pub fn text(&self) -> String {
        text::report(self)
    }

    /// The same as a picture (SVG).
    pub fn picture(&self) -> String {
        picture::draw(self)
    }
}
