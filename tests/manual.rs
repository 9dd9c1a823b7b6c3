//! The manual pages: well formed, and complete where a list can be compared with the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use glha::conf::parse::{self, Known};
use glha::core::event::Reason;

mod told;

#[test]
fn pages_are_clean() {
    for page in ["glha.8", "glha.conf.5", "glha-hooks.7"] {
        let path = root().join("man").join(page);
        let out = Command::new("mandoc")
            .args(["-Tlint", "-W", "style"])
            .arg(&path)
            .output()
            .unwrap_or_else(|e| panic!("cannot run mandoc ({e}): install the package mandoc"));
        // Whether a page that is referred to is installed here is no property of this one.
        let said: Vec<_> = lines(&out.stdout)
            .filter(|line| !line.contains("referenced manual not found"))
            .collect();
        assert!(said.is_empty(), "{page}:\n{}", said.join("\n"));
    }
}

#[test]
fn every_long_option_is_in_the_manual() {
    let out = Command::new(env!("CARGO_BIN_EXE_glha")).arg("--help").output().expect("glha runs");
    // keepalived prints its help to standard error; which of the two is not this test's concern.
    let help: Vec<_> = lines(&out.stdout).chain(lines(&out.stderr)).collect();
    let options = long_options(&help.join("\n"));
    assert!(!options.is_empty(), "glha --help names no option");
    let described = long_options(&page("glha.8"));
    let missing: Vec<_> = options.difference(&described).collect();
    assert!(missing.is_empty(), "in glha --help, but not in glha(8): {missing:?}");
}

#[test]
fn every_keyword_is_in_the_manual() {
    let known = parse::keywords();
    assert!(known.len() > 200, "only {} keywords", known.len());
    let page = page("glha.conf.5");
    let described = keywords_of(&page);
    for Known { block, keyword, .. } in known {
        // What belongs into `authentication` stands on the line of that block.
        let is_there =
            described.contains(&keyword) || block == "authentication" && page.contains(keyword);
        assert!(is_there, "{block}: {keyword} is not in glha.conf(5)");
    }
}

#[test]
fn every_deviation_has_its_reason() {
    let page = page("glha.conf.5");
    let caveats = section(&page, "CAVEATS");
    let items: Vec<_> = caveats.split("\n.It\n").skip(1).collect();
    assert!(items.len() > 30, "only {} deviations: does this test look aside?", items.len());
    for item in items {
        let item = item.split("\n.El").next().unwrap_or_default();
        let sentences = format!("{item}\n").matches(".\n").count();
        let gives_one = words(item).any(|word| ["since", "as", "which", "so"].contains(&word));
        assert!(sentences > 1 || gives_one || item.contains(':'), "why?\n{item}");
    }
}

#[test]
fn every_variable_of_a_hook_is_in_the_manual() {
    let page = page("glha-hooks.7");
    let words: BTreeSet<_> = words(&page).collect();
    for name in variables() {
        assert!(words.contains(name.as_str()), "{name} is not in glha-hooks(7)");
    }
    for word in words.iter().filter(|word| word.starts_with("GLHA_") && **word != "GLHA_") {
        assert!(variables().contains(*word), "glha-hooks(7) names {word}, which no hook is given");
    }
}

#[test]
fn the_shipped_hooks_use_no_other_variable() {
    let known = variables();
    for (name, text) in hooks() {
        for word in words(&text).filter(|word| word.starts_with("GLHA_")) {
            assert!(known.contains(word), "{name} uses {word}, which no hook is given");
        }
    }
}

#[test]
fn every_setting_of_a_shipped_hook_is_in_the_manual() {
    let page = page("glha-hooks.7");
    let described: BTreeSet<_> = words(&page).collect();
    // The parts of mount.sh have none of their own.
    for (name, text) in hooks().into_iter().filter(|(name, _)| !name.contains("/lib/")) {
        let settings = settings(&text);
        assert!(!settings.is_empty(), "{name} has no settings: does this test look aside?");
        for setting in settings {
            assert!(
                described.contains(setting.as_str()),
                "{name}: {setting} is not in glha-hooks(7)"
            );
        }
    }
}

#[test]
fn settings_are_found_at_the_head() {
    let text = ": \"${A:=}\"   # why\n: \"${B=x}\"\n: \"${GLHA_C:=0}\"\necho ${D:=1}\n";
    assert_eq!(settings(text), ["A", "B"]);
}

#[test]
fn every_field_of_an_event_is_in_the_manual() {
    let page = page("glha-hooks.7");
    let described: BTreeSet<_> = words(&page).collect();
    for (name, event) in told::examples() {
        for field in event.as_object().expect("an object").keys() {
            let item = format!(".It Cm {field}\n");
            assert!(page.contains(&item), "{name}: field {field} is not in glha-hooks(7)");
        }
        for field in event["peer"].as_object().into_iter().flat_map(|peer| peer.keys()) {
            assert!(described.contains(field.as_str()), "peer.{field} is not in glha-hooks(7)");
        }
    }
}

#[test]
fn every_reason_is_in_the_manual() {
    let page = page("glha-hooks.7");
    let section = section(&page, "REASONS");
    for reason in REASONS {
        let item = format!(".It Cm {}\n", reason.word());
        assert!(section.contains(&item), "{} is not among the reasons", reason.word());
    }
}

#[test]
fn options_are_told_from_other_dashes() {
    let found = long_options(
        "-n --dont-fork, --use-file=FILE [--vrrp_pid] a--b -- Fl -all-config , -check",
    );
    let expected = ["all-config", "check", "dont-fork", "use-file", "vrrp-pid"];
    assert_eq!(found, expected.map(str::to_owned).into());
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    let path = root().join("man").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or("")
}

/// All `--word` of a text, `_` as `-`; mdoc's `Fl -word`, also after a comma, is the same.
fn long_options(text: &str) -> BTreeSet<String> {
    text.replace("Fl -", "--")
        .replace(", -", " --")
        .replace("---", "--")
        .split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_')
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|word| word.starts_with(char::is_alphabetic))
        .map(|word| word.replace('_', "-"))
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// A section of a page, without its heading.
fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, after) = page.split_once(&format!(".Sh {name}\n")).unwrap_or_default();
    after.split("\n.Sh ").next().unwrap_or_default()
}

/// The keywords that a page has a line for.
fn keywords_of(page: &str) -> Vec<&str> {
    let after = |line: &'static str| move |text| str::strip_prefix(text, line);
    let lines = page.lines();
    lines.filter_map(|l| after(".Ic ")(l).or_else(|| after(".It Ic ")(l))).map(first_word).collect()
}

/// Every variable that any hook is given, less its own settings.
fn variables() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    told::each(|_, told| {
        let names = told.variables().into_iter().map(|(name, _)| name.into_string().expect("text"));
        all.extend(names.filter(|name| name.starts_with("GLHA_")));
    });
    // Of the daemon's place, which no event knows: for mount hooks.
    all.insert("GLHA_RUN_DIR".to_owned());
    all
}

/// The shipped hooks, each with its text.
fn hooks() -> Vec<(String, String)> {
    let folder = root().join("hooks");
    let files = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        entries.map(|entry| entry.expect("a readable folder").path()).collect::<Vec<_>>()
    };
    let paths = [files(&folder), files(&folder.join("lib"))].concat();
    let all: Vec<_> = paths
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a readable script");
            (path.display().to_string(), text)
        })
        .collect();
    assert!(!all.is_empty(), "{} is empty", folder.display());
    all
}

/// The settings at the head of a hook: `: "${NAME:=...}"`.
fn settings(text: &str) -> Vec<String> {
    let names =
        text.lines().filter_map(|line| line.strip_prefix(": \"${")?.split([':', '=']).next());
    names.filter(|name| !name.starts_with("GLHA_")).map(str::to_owned).collect()
}

/// All reasons.
const REASONS: [Reason; 26] = [
    Reason::Start,
    Reason::MasterDown,
    Reason::PriorityZero,
    Reason::Preempt,
    Reason::BetterMaster,
    Reason::BackedOff,
    Reason::LinkDown,
    Reason::NoAddress,
    Reason::CheckFailed,
    Reason::StaticMissing,
    Reason::NoSocket,
    Reason::FaultGone,
    Reason::Acquired,
    Reason::AcquireFailed,
    Reason::Released,
    Reason::ReleaseFailed,
    Reason::StorageFailed,
    Reason::Resume,
    Reason::Lapse,
    Reason::Probe,
    Reason::Conflict,
    Reason::Person,
    Reason::Group,
    Reason::Resign,
    Reason::Stop,
    // A new one belongs in here: the count is that of the variants.
    Reason::Removed,
];

#[test]
fn no_reason_is_forgotten() {
    assert_eq!(REASONS.len(), Reason::Removed as usize + 1);
}
