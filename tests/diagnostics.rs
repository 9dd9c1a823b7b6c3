//! The log lines that glha(8) explains: each is in the program, or in the shipped mount hook.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_line_that_the_manual_explains_can_be_logged() {
    let quoted = quoted(&read("man/glha.8"));
    assert!(quoted.len() > 10, "only {} lines: does this test look aside?", quoted.len());
    let mut texts = Vec::new();
    for path in [sources(&root().join("hooks")), sources(&root().join("src"))].concat() {
        texts.extend(literals(&fs::read_to_string(&path).expect("a source")));
    }
    for line in &quoted {
        assert!(texts.iter().any(|text| is_in(line, text)), "nothing logs this: {line}");
    }
}

#[test]
fn no_message_ends_in_the_middle() {
    const GOES_ON: [&str; 13] =
        ["a", "an", "and", "are", "can", "for", "in", "is", "of", "or", "that", "the", "to"];
    let files = sources(&root().join("tests/data/conf"));
    let expected = files.iter().filter(|path| path.extension().is_some_and(|e| e == "expect"));
    let mut count = 0;
    for path in expected {
        let text = fs::read_to_string(path).expect("an expectation");
        let found = text.lines().filter(|line| {
            [": note: ", ": warning: ", ": error: "].iter().any(|severity| line.contains(severity))
        });
        for line in found {
            let last = line.split_whitespace().next_back().unwrap_or_default();
            assert!(!GOES_ON.contains(&last), "{}: {line}", path.display());
            count += 1;
        }
    }
    assert!(count > 300, "only {count} messages: does this test look aside?");
}

#[test]
fn lines_are_found_in_literals() {
    let texts =
        literals("say(\"the {} of \\\n     {x}; gone\", \"\\\"a\\\"\") // \"no\ne\" '\"' \"b\"");
    assert_eq!(texts[..2], ["the {} of {x}; gone", "\"a\""].map(str::to_owned));
    assert!(is_in("the ... of ...; gone", &texts[0]));
    assert!(!is_in("the ... gone; of", &texts[0]));
    assert!(!is_in("of ...; gone", &texts[0]) && !is_in("the ... of", &texts[0]));
    assert!(is_in("first.", "first. second"), "a sentence may be left out at the end");
    assert_eq!(quoted(".Ss When something is wrong\n.It Ql a b\nc\n.Ss D\n.It Ql c\n"), ["a b"]);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The lines in the list of the section about trouble.
fn quoted(page: &str) -> Vec<String> {
    let (_, after) = page.split_once(".Ss When something is wrong\n").expect("the section");
    let list = after.split("\n.Ss ").next().unwrap_or_default();
    let items = list.lines().filter_map(|line| line.strip_prefix(".It Ql "));
    items.map(|line| line.replace("\\&", "")).collect()
}

/// Everything between double quotes, escapes and broken lines undone. Quotes in comments and
/// character literals may put this out of step; the count is then wrong, never a text made up.
fn literals(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for piece in statements(source) {
        let mut chars = piece.chars();
        while chars.by_ref().any(|ch| ch == '"') {
            let mut text = String::new();
            while let Some(ch) = chars.next() {
                match ch {
                    '"' => break,
                    '\\' => match chars.next() {
                        Some('\n') => {
                            let rest = chars.as_str().trim_start();
                            chars = rest.chars();
                        }
                        Some(escaped) => text.push(escaped),
                        None => break,
                    },
                    ch => text.push(ch),
                }
            }
            texts.push(text);
        }
    }
    texts
}

/// The source in pieces, each a line with those that a backslash at its end joins to it, so that a
/// lone quote does no harm to the next one.
fn statements(source: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
        match pieces.last_mut().filter(|_| goes_on) {
            Some(piece) => piece.extend(["\n", line]),
            None => pieces.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    pieces
}

/// Is a line of the manual, with `...` for what differs, the beginning of this text? What differs
/// is `{...}` in a literal of Rust, `$NAME` in one of sh.
fn is_in(line: &str, text: &str) -> bool {
    let mut rest = text;
    for (index, part) in line.split("...").enumerate() {
        if index > 0 {
            let Some(mut after) = placeholder(rest) else { return false };
            while let Some(further) = placeholder(after) {
                after = further;
            }
            rest = after;
        }
        let Some(after) = rest.strip_prefix(part) else { return false };
        rest = after;
    }
    rest.is_empty() || line.ends_with(['.', ')', '?'])
}

fn placeholder(text: &str) -> Option<&str> {
    if let Some(inside) = text.strip_prefix('{') {
        return inside.split_once('}').map(|(_, after)| after);
    }
    let name = text.strip_prefix('$')?;
    Some(name.trim_start_matches(|ch: char| ch.is_ascii_alphanumeric() || ch == '_'))
}
