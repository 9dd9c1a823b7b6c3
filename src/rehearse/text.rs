//! The report for a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::Rehearsal;
use super::film::{Film, Note};

/// The whole report.
pub(super) fn report(rehearsal: &Rehearsal) -> String {
    let mut out = String::new();
    let names = rehearsal.names.join(", ");
    let storage = if rehearsal.is_gated { ", with storage" } else { "" };
    let _ = writeln!(out, "Instance {} on {names}{storage}. Times in seconds.", rehearsal.instance);
    if !rehearsal.doubts.is_empty() {
        let _ = writeln!(out);
        for doubt in &rehearsal.doubts {
            let _ = writeln!(out, "warning: {doubt}");
        }
    }
    let width = rehearsal.names.iter().map(String::len).max().unwrap_or(0);
    for (place, film) in rehearsal.films.iter().enumerate() {
        let _ = writeln!(out, "\n{place}. {}\n", film.title);
        for Shown { note, again } in without_repeats(&film.notes) {
            let name = note.node.and_then(|node| rehearsal.names.get(node));
            let name = name.map_or("", String::as_str);
            let _ = write!(out, "  {:7.2}  {name:width$}  {}", seconds(note.at), note.text);
            let _ = match again {
                None => writeln!(out),
                Some((times, 1)) => writeln!(out, " (repeated: {times})"),
                Some((times, lines)) => writeln!(out, " (these {lines} lines repeated: {times})"),
            };
        }
        let _ = writeln!(out, "\n  => {}", verdict(film));
    }
    let _ = writeln!(out, "\n{}", summary(rehearsal));
    out
}

/// A group of lines that is repeated has so many at most: a hook starts, ends, and asks for another
/// try.
const GROUP_MAX: usize = 3;

/// A line that is shown.
struct Shown<'a> {
    note: &'a Note,
    /// How often the group that ends here was repeated, and how many lines it has.
    again: Option<(usize, usize)>,
}

/// The notes, less those that only repeat the few before them.
fn without_repeats(notes: &[Note]) -> Vec<Shown<'_>> {
    let mut shown: Vec<Shown<'_>> = Vec::new();
    let mut rest = notes;
    while let Some((next, after)) = rest.split_first() {
        let Some(lines) = repeated(&shown, rest) else {
            shown.push(Shown { note: next, again: None });
            rest = after;
            continue;
        };
        if let Some(last) = shown.last_mut() {
            let (times, _) = last.again.unwrap_or_default();
            last.again = Some((times + 1, lines));
        }
        rest = &rest[lines..];
    }
    shown
}

/// How many of the next lines are those that were shown last.
fn repeated(shown: &[Shown<'_>], rest: &[Note]) -> Option<usize> {
    let known = shown.last()?.again.map(|(_, lines)| lines);
    (1..=GROUP_MAX).filter(|&lines| known.is_none_or(|known| known == lines)).find(|&lines| {
        let last = shown.len().checked_sub(lines).and_then(|from| shown.get(from..));
        let is_same = |(a, b): (&Shown<'_>, &Note)| a.note.node == b.node && a.note.text == b.text;
        rest.len() >= lines && last.is_some_and(|last| last.iter().zip(rest).all(is_same))
    })
}

/// One line on what it meant for clients.
pub(super) fn verdict(film: &Film) -> String {
    let outcome = film.outcome();
    let mut out = match (outcome.away.is_zero(), outcome.is_back) {
        (true, _) => "service never away".to_owned(),
        (false, true) => format!("service away for {:.2} s", seconds(outcome.away)),
        (false, false) => {
            format!("service away for {:.2} s, and NOT BACK at the end", seconds(outcome.away))
        }
    };
    if !film.doubled.is_zero() {
        let _ = write!(out, "; addresses on two nodes for {:.2} s", seconds(film.doubled));
    }
    if !film.shared.is_zero() {
        let _ = write!(out, "; DISK WRITABLE ON TWO NODES for {:.2} s", seconds(film.shared));
    }
    if let Some(broken) = &film.broken {
        let _ = write!(out, "; a rule was broken, which is a mistake in glha itself: {broken}");
    }
    out
}

fn summary(rehearsal: &Rehearsal) -> String {
    let bad = rehearsal.films.iter().filter(|film| !film.outcome().is_good()).count();
    let scenes = rehearsal.films.len();
    let warnings = match rehearsal.doubts.len() {
        0 => "no warnings".to_owned(),
        1 => "1 warning".to_owned(),
        count => format!("{count} warnings"),
    };
    match bad {
        0 => format!("{scenes} scenes, {warnings}; the service came back in all of them"),
        bad => format!("{scenes} scenes, {warnings}; {bad} of them end badly"),
    }
}

pub(super) fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}
