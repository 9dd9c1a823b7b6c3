//! The Chinese README says what the English one says: the same sections, commands, figures and links.
//! And neither has a link that leads nowhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGES: [&str; 2] = ["README.md", "README.zh-CN.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A heading with what follows it.
#[derive(Default)]
struct Section {
    heading: String,
    text: Vec<String>,
    /// Indented lines: commands and what they print.
    code: Vec<String>,
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    for line in text.lines() {
        let last = sections.last_mut().expect("at least one");
        // Text goes on at three columns, in a list.
        if let Some(code) = line.strip_prefix("    ") {
            last.code.push(code.to_owned());
        } else if line.starts_with('#') {
            sections.push(Section { heading: line.to_owned(), ..Section::default() });
        } else {
            last.text.push(line.to_owned());
        }
    }
    sections
}

impl Section {
    fn level(&self) -> usize {
        self.heading.chars().take_while(|&c| c == '#').count()
    }

    /// What stands in backquotes.
    fn quoted(&self) -> BTreeSet<String> {
        let text = self.text.join(" ");
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Numbers in digits, outside of backquotes and links.
    fn figures(&self) -> BTreeSet<String> {
        let text = self.text.join(" ");
        let outside: String = text.split('`').step_by(2).collect();
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let numbers = outside.split(|c: char| !is_digit(c)).map(|n| n.trim_matches('.'));
        numbers.filter(|n| !n.is_empty()).map(str::to_owned).collect()
    }

    /// Rows of tables and entries of lists.
    fn rows(&self) -> (usize, usize) {
        let count = |is: fn(&&String) -> bool| self.text.iter().filter(is).count();
        (count(|line| line.starts_with('|')), count(|line| line.starts_with("- ")))
    }
}

/// What links lead to.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

#[test]
fn both_have_the_same_sections_commands_and_figures() {
    let [english, chinese] = PAGES.map(|name| sections(&page(name)));
    assert!(english.len() > 8, "the sections are found");
    assert_eq!(english.len(), chinese.len(), "sections");
    for (own, other) in english.iter().zip(&chinese) {
        let name = format!("{} and {}", own.heading, other.heading);
        assert_eq!(own.level(), other.level(), "{name}");
        assert_eq!(own.code, other.code, "{name}: commands and what they print");
        assert_eq!(own.quoted(), other.quoted(), "{name}: what stands in backquotes");
        assert_eq!(own.figures(), other.figures(), "{name}: figures");
        assert_eq!(own.rows(), other.rows(), "{name}: rows of tables, entries of lists");
    }
    let to_files = |name: &str| {
        let mut all = links(&page(name));
        all.retain(|link| !link.starts_with('#') && !link.starts_with("README"));
        all
    };
    assert_eq!(to_files(PAGES[0]), to_files(PAGES[1]), "links");
}

/// As the hosts of such pages make it: small letters, blanks to dashes, no punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for name in PAGES {
        let text = page(name);
        let anchors: BTreeSet<String> = sections(&text)
            .iter()
            .map(|section| format!("#{}", anchor(&section.heading)))
            .collect();
        for link in links(&text) {
            let leads = anchors.contains(&link) || Path::new(&root().join(&link)).exists();
            assert!(leads, "{name}: {link}");
        }
        // The contents name every section.
        for section in sections(&text).iter().filter(|section| section.level() == 2) {
            let entry = format!("](#{})", anchor(&section.heading));
            assert!(text.contains(&entry), "{name}: the contents lack {}", section.heading);
        }
    }
}
