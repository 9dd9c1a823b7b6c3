//! A text for the terminal it is shown on: its width, and colours where they help. What goes into a
//! file or a pipe stays as it is.

use std::io::{self, IsTerminal};

use crate::conf::printable;
use crate::shell::host::sys;

/// Where the texts of a row of `glha status` begin, and so what continues them.
const ROW_INDENT: usize = 13;
/// The width of a terminal that does not tell.
const COLUMNS_DEFAULT: usize = 80;
/// Below this, cutting a text helps nobody.
const COLUMNS_MIN: usize = 40;

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// What a text is shown on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Longer lines are folded; none where nobody looks.
    pub columns: Option<usize>,
    /// Colours are wanted.
    pub has_colours: bool,
}

impl Screen {
    /// What standard output is. Colours unless NO_COLOR is set (no-color.org) or the terminal has none.
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let columns = sys::columns(stdout).unwrap_or(COLUMNS_DEFAULT).max(COLUMNS_MIN);
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        Self { columns: Some(columns), has_colours: !is_set("NO_COLOR") && !is_dumb }
    }

    /// The text as it is shown here.
    pub fn show(self, text: &str) -> String {
        let mut out = String::new();
        for line in printable(text).lines() {
            for part in self.fold(line) {
                out += &if self.has_colours { paint(&part) } else { part };
                out.push('\n');
            }
        }
        out
    }

    /// A line in lines that fit. A line of a table is cut instead: below it nothing could stand.
    fn fold(self, line: &str) -> Vec<String> {
        let Some(columns) = self.columns.filter(|&columns| line.chars().count() > columns) else {
            return vec![line.to_owned()];
        };
        if is_table(line) {
            let cut: String = line.chars().take(columns - 1).collect();
            return vec![cut.trim_end().to_owned() + "…"];
        }
        // What is before the first word of the text stays there.
        let own = line.chars().take_while(|&c| c == ' ').count();
        let (start, indent) =
            if is_row(line) { (ROW_INDENT, ROW_INDENT) } else { (own, own.max(2)) };
        let start = line.char_indices().nth(start).map_or(line.len(), |(at, _)| at);
        let (before, text) = line.split_at(start);
        let mut parts = vec![before.to_owned()];
        let mut is_first = true;
        for word in text.split_inclusive(' ') {
            let last = parts.last().map_or("", String::as_str);
            let length = last.chars().count() + word.trim_end().chars().count();
            if length > columns && !is_first {
                parts.push(" ".repeat(indent.min(columns / 2)));
            }
            is_first = false;
            if let Some(last) = parts.last_mut() {
                last.push_str(word);
            }
        }
        parts.iter().map(|part| part.trim_end().to_owned()).collect()
    }
}

/// A row of `glha status`: two blanks, one word, and blanks up to its text.
fn is_row(line: &str) -> bool {
    let head: String = line.chars().take(ROW_INDENT).collect();
    let is_one_word = head.trim().split(' ').count() == 1 && !head.trim().is_empty();
    head.starts_with("  ") && !head.starts_with("   ") && head.ends_with(' ') && is_one_word
}

/// A line of columns: nothing before its first word, several blanks after it.
fn is_table(line: &str) -> bool {
    !line.starts_with(' ') && line.trim_end().contains("  ")
}

/// Colours what a person should see first.
fn paint(line: &str) -> String {
    let text = line.trim_start();
    if text.starts_with("! ") || text.starts_with("WARNING: ") {
        return format!("{YELLOW}{line}{PLAIN}");
    }
    if line == "Next:" {
        return format!("{BOLD}{line}{PLAIN}");
    }
    let is_state = !line.starts_with(' ');
    let mut out = String::new();
    for word in line.split_inclusive(' ') {
        let bare = word.trim_end_matches([' ', ',', ':']);
        let rest = &word[bare.len()..];
        let colour = match bare {
            "MASTER" if is_state => GREEN,
            "FAULT" | "STUCK" | "(stuck)" if is_state => RED,
            "failing" => RED,
            _ => "",
        };
        if colour.is_empty() {
            out += word;
        } else {
            out += &format!("{colour}{bare}{PLAIN}{rest}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "VI_1 is FAULT for 12 s, since 2026-11-23 05:37:37.334Z
  why        check_failed: chk_http_port failed three times in a row, and it is a fault
  priority   101 = 101, check chk_http_port failing (a failure is a fault)
  !          on hold

Next:
  Mend what chk_http_port looks at; glha events VI_1 has what it printed, and more words
";

    #[test]
    fn a_file_gets_the_text_as_it_is() {
        assert_eq!(Screen::default().show(TEXT), TEXT);
    }

    #[test]
    fn a_terminal_gets_lines_that_fit() {
        for columns in [40, 60, 80] {
            let screen = Screen { columns: Some(columns), has_colours: false };
            let shown = screen.show(TEXT);
            let longest = shown.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(columns), "{columns}:\n{shown}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&shown), words(TEXT), "{columns}");
        }
        let narrow = Screen { columns: Some(60), has_colours: false };
        let shown = narrow.show(TEXT);
        assert!(shown.contains("failed three times\n             in a row, and"), "{shown}");
        assert!(shown.contains("glha events VI_1 has\n  what it printed"), "{shown}");
    }

    #[test]
    fn a_word_longer_than_the_terminal_stays_whole() {
        let screen = Screen { columns: Some(40), has_colours: false };
        let path = "/a".repeat(30);
        assert_eq!(screen.show(&format!("  why        {path}")), format!("  why        {path}\n"));
    }

    #[test]
    fn a_table_is_cut() {
        let screen = Screen { columns: Some(40), has_colours: false };
        let line = "VI_1  MASTER  master  0.0 s  101  -  master_down: no master was heard";
        assert_eq!(screen.show(line), "VI_1  MASTER  master  0.0 s  101  -  ma…\n");
    }

    #[test]
    fn colours_are_for_states_and_failures() {
        let screen = Screen { columns: None, has_colours: true };
        let shown = screen.show(TEXT);
        assert!(shown.starts_with("VI_1 is \x1b[1;31mFAULT\x1b[0m for 12 s"), "{shown}");
        assert!(shown.contains("chk_http_port \x1b[1;31mfailing\x1b[0m (a failure"), "{shown}");
        assert!(shown.contains("\x1b[33m  !          on hold\x1b[0m\n"), "{shown}");
        assert!(screen.show("VI_1 is MASTER for").contains("\x1b[32mMASTER\x1b[0m"));
        assert_eq!(screen.show("  peer       172.16.51.12"), "  peer       172.16.51.12\n");
    }
}
