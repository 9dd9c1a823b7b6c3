//! The manual pages: well formed, and complete where a list can be compared with the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Every variable that a hook is given.
const VARIABLES: &[&str] = &[
    "GLHA_EVENT",
    "GLHA_ACTION",
    "GLHA_INSTANCE",
    "GLHA_STATE",
    "GLHA_PREVIOUS",
    "GLHA_PHASE",
    "GLHA_REASON",
    "GLHA_DETAIL",
    "GLHA_TRANSITION",
    "GLHA_NODE",
    "GLHA_VRID",
    "GLHA_INTERFACE",
    "GLHA_PRIORITY",
    "GLHA_ADDRESSES",
    "GLHA_PEER_ADDRESS",
    "GLHA_PEER_PRIORITY",
    "GLHA_RELEASED",
    "GLHA_HOW",
    "GLHA_TIMEOUT_MS",
    "GLHA_MAIL_TO",
    "GLHA_MAIL_FROM",
];

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
    let conf = root().join("src/conf");
    let mut known =
        keywords(&fs::read_to_string(conf.join("parse.rs")).expect("src/conf/parse.rs"));
    for file in fs::read_dir(conf.join("parse")).expect("src/conf/parse") {
        let path = file.expect("a readable folder").path();
        known.extend(keywords(&fs::read_to_string(path).expect("a readable source")));
    }
    assert!(
        known.len() > 200,
        "only {} keywords: are the tables still where they were?",
        known.len()
    );
    let page = page("glha.conf.5");
    let words: BTreeSet<_> = page.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = known.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in glha.conf(5): {missing:?}");
}

#[test]
fn keywords_are_found_in_their_tables() {
    let source =
        "line(\"state\", state), block(\n    \"hooks\", f), refused(\"vrf\"), format(\"not\")
        Keyword { name: \"vrrp_sync_group\", fate }, idle(\"debug\", x), silent(\"accept\")";
    let expected = ["accept", "debug", "hooks", "state", "vrf", "vrrp_sync_group"];
    assert_eq!(keywords(source), expected.map(str::to_owned).into());
}

#[test]
fn every_variable_of_a_hook_is_in_the_manual() {
    let page = page("glha-hooks.7");
    let words: BTreeSet<_> = page.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = VARIABLES.iter().filter(|name| !words.contains(*name)).collect();
    assert!(missing.is_empty(), "not in glha-hooks(7): {missing:?}");
}

#[test]
fn the_shipped_hooks_use_no_other_variable() {
    let folder = root().join("hooks");
    let scripts = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut seen = 0;
    for script in scripts.map(|entry| entry.expect("a readable folder").path()) {
        let text = fs::read_to_string(&script).expect("a readable script");
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
            let is_known = !word.starts_with("GLHA_") || VARIABLES.contains(&word);
            assert!(is_known, "{} uses {word}, which no hook is given", script.display());
        }
        seen += 1;
    }
    assert!(seen > 0, "{} is empty", folder.display());
}

#[test]
fn the_event_of_the_manual_fits_the_schema() {
    let schema = fs::read_to_string(root().join("etc/event.schema.json")).expect("the schema");
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("the schema is JSON");
    let properties = schema["properties"].as_object().expect("an object with properties");
    let manual = page("glha-hooks.7");
    let described: BTreeSet<_> =
        manual.lines().filter_map(|line| line.strip_prefix(".It Cm ")).map(first_word).collect();
    for name in properties.keys() {
        assert!(described.contains(name.as_str()), "field {name} is not in glha-hooks(7)");
    }
    let example =
        manual.lines().find(|line| line.starts_with("{\"schema\"")).expect("an example event");
    // A backslash begins an escape in a manual page; the example has none but this.
    let example: serde_json::Value =
        serde_json::from_str(&example.replace("\\-", "-")).expect("the example event is JSON");
    for name in example.as_object().expect("an object").keys() {
        assert!(properties.contains_key(name), "field {name} is not in the schema");
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

/// The keywords in the tables of the parser.
fn keywords(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for maker in ["line(", "block(", "refused(", "idle(", "silent(", "name: "] {
        let pieces = source.split(maker).skip(1).map(str::trim_start);
        let names = pieces.filter_map(|piece| piece.strip_prefix('"')?.split('"').next());
        found.extend(names.map(str::to_owned));
    }
    found
}
