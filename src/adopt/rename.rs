//! A configuration that names the new scripts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::conf::Span;
use crate::conf::diagnostic::Sources;

/// A path with the ending that what is written here has.
pub fn renamed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".glha");
    name.into()
}

/// The files of a configuration that change, by path, with their new texts.
pub type Changed = BTreeMap<PathBuf, String>;

/// Has every configuration file name the new scripts, and the new files that include them. Returns what
/// could not be done: the path of the file, the line, and why.
pub fn rename(
    sources: &Sources,
    texts: &BTreeMap<PathBuf, String>,
    scripts: &[(Span, PathBuf)],
) -> (Changed, Vec<(PathBuf, usize, String)>) {
    let mut edits: BTreeMap<PathBuf, Vec<(usize, usize)>> = BTreeMap::new();
    let mut left = Vec::new();
    let all_lines: BTreeMap<&PathBuf, Vec<(usize, &str)>> =
        texts.iter().map(|(path, text)| (path, lines(text).collect())).collect();
    for (span, script) in scripts {
        let Some(path) = sources.files.get(span.file as usize).map(|file| &file.path) else {
            continue;
        };
        let line = span.line as usize;
        let name = script.display().to_string();
        match all_lines.get(path).and_then(|lines| find(lines, line, &name)) {
            Some(at) => edits.entry(path.clone()).or_default().push((at, at + name.len())),
            None => {
                let new = renamed(script);
                let why = format!(
                    "{name} is not written out here, so {} has to be put in by hand",
                    new.display()
                );
                left.push((path.clone(), line, why));
            }
        }
    }
    // Who includes a file that changes, changes.
    let mut known: Vec<PathBuf> = edits.keys().cloned().collect();
    let mut at = 0;
    while let Some(child) = known.get(at).cloned() {
        at += 1;
        if sources.files.first().is_some_and(|first| first.path == child) {
            continue;
        }
        let mut is_included = false;
        for (parent, text) in texts {
            for (begin, end) in includes(text, parent, &child) {
                is_included = true;
                edits.entry(parent.clone()).or_default().push((begin, end));
                if !known.contains(parent) {
                    known.push(parent.clone());
                }
            }
        }
        if !is_included {
            let why = format!(
                "no include names this file by itself, so {} has to be put into one by hand",
                renamed(&child).display()
            );
            left.push((child, 0, why));
        }
    }
    let mut changed = Changed::new();
    for (path, mut places) in edits {
        let Some(text) = texts.get(&path) else { continue };
        places.sort_unstable();
        places.dedup();
        let (mut new, mut at) = (String::new(), 0);
        for (_, end) in places {
            new.push_str(text.get(at..end).unwrap_or_default());
            new.push_str(".glha");
            at = end;
        }
        new.push_str(text.get(at..).unwrap_or_default());
        changed.insert(path, new);
    }
    (changed, left)
}

/// The bytes of the lines of a text.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let begin = at;
        at += line.len();
        (begin, line)
    })
}

/// Where a path stands in a line, as a whole.
fn find(lines: &[(usize, &str)], line: usize, path: &str) -> Option<usize> {
    let &(begin, line) = lines.get(line.checked_sub(1)?)?;
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let found = line.match_indices(path).find(|(at, _)| {
        let before = line.get(..*at).unwrap_or_default();
        let after = line.get(at + path.len()..).unwrap_or_default();
        !before.ends_with(is_part) && !after.starts_with(is_part)
    });
    found.map(|(at, _)| begin + at)
}

/// Where a file includes another one by its name.
fn includes(text: &str, parent: &Path, child: &Path) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (begin, line) in lines(text) {
        let mut words = line.split_whitespace();
        let is_include = words.next().is_some_and(|word| {
            word.strip_prefix("include")
                .is_some_and(|rest| matches!(rest, "" | "r" | "m" | "w" | "b" | "a"))
        });
        let Some(word) = words.next().filter(|_| is_include) else { continue };
        let name = word.trim_matches('"');
        let folder = parent.parent().unwrap_or_else(|| Path::new("/"));
        if folder.join(name) == child
            && let Some(at) = line.find(name)
        {
            found.push((begin + at, begin + at + name.len()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::diagnostic::Source;

    fn texts(all: &[(&str, &str)]) -> (Sources, BTreeMap<PathBuf, String>) {
        let files =
            all.iter().map(|(path, text)| Source::new(path.into(), (*text).to_owned())).collect();
        let texts = all.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect();
        (Sources { files }, texts)
    }

    #[test]
    fn scripts_and_the_files_that_name_them_get_new_names() {
        let (sources, all) = texts(&[
            ("/k/main.conf", "include \"sub.conf\" # why\nnotify /k/n.sh\n"),
            ("/k/sub.conf", "x\nscript \"/k/n.sh /k/n.sh.old\"\n"),
        ]);
        let span = |file, line| Span { file, line, ..Span::default() };
        let n = PathBuf::from("/k/n.sh");
        let (changed, left) =
            rename(&sources, &all, &[(span(0, 2), n.clone()), (span(1, 2), n.clone())]);
        assert_eq!(left, []);
        let of = |path: &str| changed[Path::new(path)].as_str();
        assert_eq!(of("/k/main.conf"), "include \"sub.conf.glha\" # why\nnotify /k/n.sh.glha\n");
        assert_eq!(of("/k/sub.conf"), "x\nscript \"/k/n.sh.glha /k/n.sh.old\"\n");

        let (sources, all) = texts(&[
            ("/k/main.conf", "include *.conf\n"),
            ("/k/sub.conf", "notify $SCRIPT\nnotify /k/n.sh\n"),
        ]);
        let (changed, left) = rename(&sources, &all, &[(span(1, 1), n.clone()), (span(1, 2), n)]);
        assert_eq!(changed.len(), 1);
        let left: Vec<_> = left.iter().map(|(path, line, _)| (path.to_str(), *line)).collect();
        assert_eq!(left, [(Some("/k/sub.conf"), 1), (Some("/k/sub.conf"), 0)]);
    }
}
