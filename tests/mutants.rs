//! Planted faults: the simulator must catch the absence of each rule, by the promise that is
//! broken without it. `make sim-mutants` plants them one at a time; that takes minutes, so it is
//! no part of an ordinary run. That they can still be planted is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// So many worlds each.
const SEEDS: &str = "20000";
/// What the simulator needs of this package.
const PARTS: [&str; 5] = ["Cargo.toml", "Cargo.lock", "src", "tests/sim.rs", "hooks"];

/// A fault: some text of a source file, and what stands there instead.
struct Mutant {
    name: String,
    about: String,
    file: String,
    /// The promises one of which must be found broken.
    caught_by: Vec<String>,
    find: String,
    replace: String,
}

impl Mutant {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a file of this folder");
        let bad = |what: &str| -> ! { panic!("{}: {what}", path.display()) };
        let Some((head, rest)) = text.split_once("--- find\n") else { bad("no '--- find'") };
        let Some((find, replace)) = rest.split_once("\n--- replace\n") else {
            bad("no '--- replace'")
        };
        let value = |key: &str| -> String {
            let line = head.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| bad(&format!("no '{key}'"))).trim().to_owned()
        };
        Self {
            name: path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            about: value("# "),
            file: value("file: "),
            caught_by: value("caught by: ").split_whitespace().map(str::to_owned).collect(),
            find: find.to_owned(),
            replace: replace.trim_end_matches('\n').to_owned(),
        }
    }

    /// The file with the fault in it.
    fn plant(&self) -> String {
        let source = fs::read_to_string(root().join(&self.file)).expect("the mutant's file");
        let count = source.matches(&self.find).count();
        assert_eq!(
            count, 1,
            "tests/mutants/{}.txt: its text to find is {count} times in {}; the code has \
             changed, so say anew where the fault is to be planted:\n{}",
            self.name, self.file, self.find
        );
        source.replace(&self.find, &self.replace)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn mutants() -> Vec<Mutant> {
    let folder = fs::read_dir(root().join("tests/mutants")).expect("tests/mutants");
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| Mutant::read(path)).collect()
}

#[test]
fn every_fault_can_still_be_planted() {
    let mutants = mutants();
    assert!(mutants.len() >= 14, "only {} mutants", mutants.len());
    for mutant in mutants {
        assert!(!mutant.caught_by.is_empty(), "{}", mutant.name);
        mutant.plant();
    }
}

/// A copy of the package that can be spoilt, always in the same place so that little is built anew.
fn copy() -> PathBuf {
    let copy = root().join("target/mutants/package");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(copy.join("tests")).expect("a folder in target");
    for part in PARTS {
        let to = copy.join(part);
        // With new times: what was built last in there was spoilt.
        let status = Command::new("cp").arg("-R").arg(root().join(part)).arg(to).status();
        assert!(status.expect("cp").success(), "cannot copy {part}");
    }
    copy
}

/// Runs the simulator on the copy; what it says.
fn simulate(copy: &Path) -> (bool, String) {
    let seeds = env::var("GLHA_SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--locked", "--profile", "sim", "--test", "sim"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", root().join("target/mutants/target"))
        .env("GLHA_SEEDS", seeds)
        .env("RUST_BACKTRACE", "0")
        .env_remove("GLHA_SEED")
        .output()
        .expect("cargo");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The seeds and promises of a run that failed: `GLHA_SEED=7: storage-on-two at ...`.
fn caught(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("GLHA_SEED="));
    lines
        .filter_map(|line| {
            let (seed, rest) = line.split_once(": ")?;
            Some((seed.to_owned(), rest.split_whitespace().next()?.to_owned()))
        })
        .collect()
}

#[test]
#[ignore = "takes minutes: make sim-mutants"]
fn the_simulator_catches_every_fault() {
    let copy = copy();
    let (is_good, text) = simulate(&copy);
    assert!(is_good, "the simulator fails without any planted fault:\n{text}");
    let only = env::var("GLHA_MUTANT").unwrap_or_default();
    let is_wanted =
        |mutant: &Mutant| only.split_whitespace().any(|name| mutant.name.contains(name));
    let mut escaped = Vec::new();
    for mutant in mutants().into_iter().filter(|mutant| only.is_empty() || is_wanted(mutant)) {
        let file = copy.join(&mutant.file);
        fs::write(&file, mutant.plant()).expect("the copy can be written");
        let (is_good, text) = simulate(&copy);
        fs::copy(root().join(&mutant.file), &file).expect("the copy can be written");
        let caught = caught(&text);
        assert!(is_good || !caught.is_empty(), "{}: it does not build:\n{text}", mutant.name);
        let by = caught.iter().find(|(_, invariant)| mutant.caught_by.contains(invariant));
        let verdict = match (by, caught.first()) {
            (Some((seed, invariant)), _) => format!("{invariant} (seed {seed})"),
            (None, Some((seed, invariant))) => format!("ONLY BY {invariant} (seed {seed})"),
            (None, None) => "ESCAPED".to_owned(),
        };
        println!("{:32} {verdict:44} {}", mutant.name, mutant.about);
        if by.is_none() {
            escaped.push(mutant.name);
        }
    }
    assert!(escaped.is_empty(), "not caught, or not as expected: {escaped:?}");
}
