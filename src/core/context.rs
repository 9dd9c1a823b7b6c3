//! What an instance sees of its node while it handles an event, and where its actions go.

use super::event::Action;
use super::link::Link;
use super::sense::Senses;
use super::spec::CheckId;
use super::track::Check;
use super::{Table, Time, WallClock};

/// What is known of the host.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// All interfaces, by [`super::spec::LinkId`].
    pub links: &'a [Link],
    /// All checks.
    pub checks: &'a Table<CheckId, Check>,
    /// What is known of tracked processes and files.
    pub senses: &'a Senses,
}

/// One event.
pub struct Ctx<'a> {
    /// When it is.
    pub now: Time,
    /// The clock on the wall.
    pub wall: WallClock,
    /// What is known of the host.
    pub world: World<'a>,
    /// Where the actions go.
    pub out: &'a mut Vec<Action>,
}
