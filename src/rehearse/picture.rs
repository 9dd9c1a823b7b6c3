//! The report as a picture (SVG 1.1): a lane for each node, time to the right.

use std::fmt::Write;
use std::time::Duration;

use super::Rehearsal;
use super::film::{Film, Seen, Shot};
use super::text::{seconds, verdict};

/// Measures in pixels.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 16.0;
const NAMES: f64 = 130.0;
const LANE: f64 = 22.0;
const BAR: f64 = 6.0;
const GAP: f64 = 8.0;
const TITLE: f64 = 46.0;
const AXIS: f64 = 26.0;
/// A scene is shown until so long after its last event.
const TAIL: Duration = Duration::from_secs(3);

/// What has which colour, in the order of the legend.
const COLOURS: [(&str, &str); 9] = [
    ("master", "#2e9e5b"),
    ("backup", "#c9ced6"),
    ("acquiring", "#f2c14e"),
    ("releasing", "#f08a4b"),
    ("probing", "#8ecae6"),
    ("fault", "#d1495b"),
    ("stuck", "#7b1e3a"),
    ("off", "#3a3f47"),
    ("frozen", "#7aa5d8"),
];
const ADDRESS: &str = "#1d4ed8";
const DISK: &str = "#7c3aed";
const AWAY: &str = "#d1495b";
const SERVED: &str = "#2e9e5b";

/// Draws all scenes, one below the other.
pub(super) fn draw(rehearsal: &Rehearsal) -> String {
    let lanes = rehearsal.names.len() as f64;
    let panel = TITLE + lanes * (LANE + 2.0 * BAR + GAP) + BAR + GAP + AXIS;
    let legend = 56.0;
    let height = MARGIN + legend + panel * rehearsal.films.len() as f64 + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    draw_legend(&mut out);
    for (place, film) in rehearsal.films.iter().enumerate() {
        let top = MARGIN + legend + panel * place as f64;
        let _ = writeln!(out, "<g transform=\"translate(0 {top:.1})\">");
        draw_scene(&mut out, place, film, &rehearsal.names, rehearsal.is_gated);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn draw_legend(out: &mut String) {
    let bars = [("addresses", ADDRESS), ("disk", DISK), ("service away", AWAY)];
    let mut x = MARGIN;
    for (word, colour) in COLOURS.into_iter().chain(bars) {
        rect(out, x, MARGIN, 12.0, 12.0, colour);
        text(out, x + 16.0, MARGIN + 10.5, "start", "", word);
        x += 30.0 + 6.6 * word.len() as f64;
    }
}

fn draw_scene(out: &mut String, place: usize, film: &Film, names: &[String], is_gated: bool) {
    let shown = (film.last_event() + TAIL).min(film.length).max(Duration::from_secs(1));
    let scale = (WIDTH - NAMES - 2.0 * MARGIN) / seconds(shown);
    let x = |at: Duration| MARGIN + NAMES + seconds(at.min(shown)) * scale;
    let title = format!("{place}. {}", film.title);
    text(out, MARGIN, 16.0, "start", " font-size=\"14\" font-weight=\"bold\"", &title);
    text(out, MARGIN, 33.0, "start", " fill=\"#555\"", &verdict(film));
    let mut y = TITLE;
    for (name, lane) in names.iter().zip(&film.lanes) {
        text(out, MARGIN + NAMES - 8.0, y + 15.0, "end", "", name);
        let ends = lane.iter().skip(1).map(|&(at, _)| at).chain([shown]);
        for (&(from, shot), to) in lane.iter().zip(ends) {
            if from >= shown {
                continue;
            }
            let wide = x(to) - x(from);
            rect(out, x(from), y, wide, LANE, colour(shot.seen));
            if shot.address {
                rect(out, x(from), y + LANE + 1.0, wide, BAR - 1.0, ADDRESS);
            }
            if shot.disk && is_gated {
                rect(out, x(from), y + LANE + BAR + 1.0, wide, BAR - 1.0, DISK);
            }
            label(out, x(from), y, wide, shot);
        }
        y += LANE + 2.0 * BAR + GAP;
    }
    text(out, MARGIN + NAMES - 8.0, y + BAR, "end", "", "service");
    let ends = film.service.iter().skip(1).map(|&(at, _)| at).chain([shown]);
    for (&(from, served), to) in film.service.iter().zip(ends) {
        if from < shown {
            let colour = if served { SERVED } else { AWAY };
            rect(out, x(from), y, x(to) - x(from), BAR, colour);
        }
    }
    y += BAR + 4.0;
    draw_axis(out, y, shown, x);
}

fn label(out: &mut String, x: f64, y: f64, wide: f64, shot: Shot) {
    let word = word(shot.seen);
    if wide > 7.0 * word.len() as f64 {
        let dark = matches!(shot.seen, Seen::Off | Seen::In("master" | "fault" | "stuck"));
        let fill = if dark { " fill=\"white\"" } else { "" };
        text(out, x + 4.0, y + 15.0, "start", fill, word);
    }
}

/// Ticks at round numbers, some ten of them.
fn draw_axis(out: &mut String, y: f64, shown: Duration, x: impl Fn(Duration) -> f64) {
    let steps = [1_u64, 2, 5, 10, 20, 30, 60];
    let step = steps.into_iter().find(|step| shown.as_secs() / step <= 12).unwrap_or(60);
    let mut at = 0;
    while at <= shown.as_secs() {
        let place = x(Duration::from_secs(at));
        rect(out, place, y, 1.0, 4.0, "#888");
        text(out, place, y + 15.0, "middle", " fill=\"#555\" font-size=\"10\"", &format!("{at} s"));
        at += step;
    }
}

const fn word(seen: Seen) -> &'static str {
    match seen {
        Seen::Off => "off",
        Seen::Frozen => "frozen",
        Seen::NoDaemon => "no daemon",
        Seen::In(phase) => phase,
    }
}

fn colour(seen: Seen) -> &'static str {
    let name = word(seen);
    COLOURS.iter().find(|(known, _)| *known == name).map_or("#ececec", |(_, colour)| colour)
}

fn rect(out: &mut String, x: f64, y: f64, wide: f64, high: f64, fill: &str) {
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\" fill=\"{fill}\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, style: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{style}>{text}</text>"
    );
}
