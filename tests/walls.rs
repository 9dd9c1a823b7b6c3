//! The walls between the folders of `src`: who may know whom, and what the pure parts may not do.
//!
//! It reads the source as text, without comments, strings and test code. What it looks for are paths
//! (`std::fs`), also inside grouped imports, and macros.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder (or a file) of `src`, which others it may import, and whether it is pure.
struct Wall {
    module: &'static str,
    may_import: &'static [&'static str],
    pure: bool,
}

const WALLS: &[Wall] = &[
    Wall { module: "wire", may_import: &[], pure: true },
    Wall { module: "core", may_import: &["wire"], pure: true },
    Wall { module: "conf", may_import: &["core", "wire"], pure: true },
    Wall { module: "adopt", may_import: &["conf", "core"], pure: true },
    Wall { module: "work", may_import: &["core"], pure: true },
    Wall { module: "shell", may_import: &["adopt", "conf", "core", "wire", "work"], pure: false },
    Wall { module: "rehearse", may_import: &["conf", "core", "sim", "wire"], pure: true },
    Wall { module: "sim", may_import: &["conf", "core", "wire", "work"], pure: false },
];

/// The rooms of the shell, each of which may know only itself and those before it; none knows what stands
/// above them, the loop least of all.
const ROOMS: [&str; 8] =
    ["host", "state", "kernel", "sockets", "hooks", "tracking", "operator", "audit"];
/// More files than these stand above the rooms if one of them became a passage.
const TOP_FILES_MAX: usize = 6;
/// Types whose methods may not be spread over more files than this: such a type has no walls inside.
const SPREAD: [(&str, &str, usize); 2] = [("shell", "Daemon", 3), ("core", "Instance", 4)];
/// Folders whose files do not know each other in a circle, so that each can be read after those it needs.
const STRAIGHT: [&str; 1] = ["core"];

/// Files that are longer than this have more than one subject.
const FILE_LINES_MAX: usize = 900;

/// The only place for `unsafe`.
const UNSAFE_FILE: &str = "shell/host/sys.rs";

/// Paths that reach out of the program; they count wherever a path begins with them.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::os",
    "libc",
    "nix",
    "mio",
    "log",
    "env_logger",
    "socket2",
    "signal_hook",
    "signal_hook_mio",
    "argh",
];

/// Names that mean a socket or a clock wherever they stand.
const OUTSIDE_NAMES: &[&str] = &[
    "Instant",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
];

/// Methods of a path that ask the disk.
const OUTSIDE_METHODS: &[&str] = &[
    "exists",
    "try_exists",
    "is_file",
    "is_dir",
    "is_symlink",
    "canonicalize",
    "read_dir",
    "read_link",
];

/// Macros that print or log.
const OUTSIDE_MACROS: &[&str] = &[
    "println", "eprintln", "print", "eprint", "dbg", "log", "error", "warn", "info", "debug",
    "trace",
];

/// One breach, as one line for a person.
type Breaches = Vec<String>;

// ---------------------------------------------------------------------------------------------
// The rules over the real source.

#[test]
fn the_source_keeps_to_its_walls() {
    let src = root().join("src");
    let mut breaches = Breaches::new();
    for file in files_below(&src, "rs") {
        let name = file.strip_prefix(&src).unwrap_or(&file).to_string_lossy().into_owned();
        breaches.extend(check(&name, &read(&file)));
    }
    assert!(breaches.is_empty(), "the walls are broken:\n{}", breaches.join("\n"));
}

#[test]
fn every_wall_that_stands_has_files_behind_it() {
    for module in ["core", "conf", "work", "adopt"] {
        let found = files_below(&root().join("src").join(module), "rs");
        assert!(!found.is_empty(), "src/{module} has no Rust file: does this test look aside?");
    }
}

#[test]
fn the_shell_s_rooms_are_all_there_is() {
    let shell = root().join("src/shell");
    let names = |of: &dyn Fn(&Path) -> bool| -> Vec<String> {
        let entries = fs::read_dir(&shell).expect("src/shell");
        let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| of(path));
        paths.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    };
    let mut rooms = names(&Path::is_dir);
    rooms.sort();
    let mut known = ROOMS.to_vec();
    known.sort_unstable();
    assert_eq!(rooms, known, "the folders of src/shell");
    let top = names(&Path::is_file);
    assert!(top.len() <= TOP_FILES_MAX, "above the rooms: {top:?}");
}

#[test]
fn no_type_is_spread_over_the_house() {
    for (folder, name, most) in SPREAD {
        let files = files_below(&root().join("src").join(folder), "rs");
        let found = files.iter().filter(|file| implements(&read(file), name));
        let found: Vec<_> = found.map(|file| file.display().to_string()).collect();
        assert!(!found.is_empty(), "no file has `impl {name}`: does this test look aside?");
        assert!(found.len() <= most, "`impl {name}` stands in {found:#?}, {most} at most");
    }
}

#[test]
fn files_do_not_know_each_other_in_a_circle() {
    for folder in STRAIGHT {
        let files = files_below(&root().join("src").join(folder), "rs");
        let stem = |file: &Path| file.file_stem().expect("a name").to_string_lossy().into_owned();
        let sources: Vec<_> = files.iter().map(|file| (stem(file), read(file))).collect();
        assert_eq!(circle(folder, &sources), Vec::<String>::new(), "in src/{folder}");
    }
}

#[test]
fn a_circle_is_found() {
    let own = |name: &str, source: &str| (name.to_owned(), source.to_owned());
    let ring = [
        own("mod", "mod a; pub use a::A; use b::B;"),
        own("a", "use super::{Core, b::B};"),
        own("b", "fn f() -> crate::core::c::C { c }"),
        own("c", "use super::a;"),
        own("user", "use super::a::A;"),
        own("used", "use super::Time;"),
    ];
    assert_eq!(circle("core", &ring), ["a", "b", "c"]);
    let without = [&ring[..3], &ring[4..]].concat();
    assert_eq!(circle("core", &without), Vec::<String>::new());
}

#[test]
fn no_file_is_too_long() {
    let mut breaches = Breaches::new();
    for folder in ["src", "tests", "examples", "hooks", "fuzz", "benches"] {
        for kind in ["rs", "sh"] {
            for file in files_below(&root().join(folder), kind) {
                // What scripts are is not always UTF-8.
                let bytes = fs::read(&file).expect("a file");
                let text = String::from_utf8_lossy(&bytes);
                breaches.extend(too_long(&file.to_string_lossy(), &text));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

// ---------------------------------------------------------------------------------------------
// The rules over small strings, so that this test is known to be able to fail.

#[test]
fn each_breach_is_found() {
    for (name, source) in [
        ("core/mod.rs", "use std::fs;"),
        ("core/mod.rs", "use std::{fmt, fs::File};"),
        ("core/mod.rs", "let x = std::process::id();"),
        ("core/mod.rs", "use std::net::UdpSocket;"),
        ("core/mod.rs", "use std::time::{Duration, Instant};"),
        ("core/mod.rs", "let now = Instant::now();"),
        ("core/mod.rs", "log::info!(\"x\");"),
        ("core/mod.rs", "warn!(\"x\");"),
        ("core/mod.rs", "println!();"),
        ("core/mod.rs", "use std::collections::HashMap;"),
        ("wire/vrrp.rs", "unsafe { f() }"),
        ("wire/vrrp.rs", "use libc::c_int;"),
        ("wire/vrrp.rs", "use crate::core::Time;"),
        ("core/mod.rs", "use crate::conf::Config;"),
        ("core/mod.rs", "use crate::{wire::vrrp, shell::host::sys};"),
        ("core/event.rs", "use super::super::shell;"),
        ("core/mod.rs", "use super::shell;"),
        ("conf/parse/global.rs", "use super::super::super::shell::host::sys;"),
        ("conf/mod.rs", "fn f() -> crate::shell::X { x }"),
        ("conf/lex.rs", "if path.exists() {}"),
        ("conf/lex.rs", "let a = '\"'; use std::fs; let b = '\"';"),
        ("conf/lex.rs", "#[cfg(test)] mod tests { use std::fs; } use std::env;"),
        ("shell/mod.rs", "use crate::cli::Options;"),
        ("shell/mod.rs", "use crate::sim::World;"),
        ("shell/sockets/net.rs", "unsafe { f() }"),
        ("sim.rs", "use crate::shell::Daemon;"),
        ("cli.rs", "unsafe fn f() {}"),
        ("shell/kernel/link.rs", "use crate::shell::hooks::child::Children;"),
        ("shell/kernel/link.rs", "use super::super::daemon::Daemon;"),
        ("shell/kernel/link.rs", "fn f() { crate::shell::reload::f() }"),
        ("shell/audit/mod.rs", "use super::daemon::Daemon;"),
        ("shell/operator/control/status.rs", "use crate::shell::{audit::audit, host::clock};"),
    ] {
        assert!(!check(name, source).is_empty(), "not found in {name}: {source}");
    }
}

#[test]
fn what_is_allowed_passes() {
    for (name, source) in [
        ("core/mod.rs", "use std::net::Ipv4Addr; use std::time::Duration;"),
        ("core/mod.rs", "use crate::wire::vrrp::Advert; use crate::core::spec::Spec;"),
        ("core/mod.rs", "// std::fs is never used here\n/* nor /* std::env */ println!() */"),
        ("core/mod.rs", r###"let s = "std::fs \" unsafe"; let r = r#"log::info!("x")"#;"###),
        ("core/mod.rs", "fn f<'a>(x: &'a str) -> &'a str { x } let log = 1; log != 2;"),
        ("core/mod.rs", "#[cfg(test)]\nmod tests { use std::fs; fn f() { println!(); } }"),
        ("conf/parse/global.rs", "use super::super::lex::Statement; use super::value;"),
        ("core/event.rs", "use super::super::wire;"),
        ("conf/mod.rs", "use std::io; use crate::core::spec::Spec; let unsafe_name = 1;"),
        ("shell/host/sys.rs", "unsafe { libc::getpid() }"),
        ("shell/mod.rs", "use crate::conf::Config; use std::fs; log::info!(\"x\");"),
        ("cli.rs", "use crate::shell::Daemon;"),
        ("shell/kernel/link.rs", "use super::address::Wish; use crate::shell::host::clock;"),
        ("shell/operator/control/status.rs", "use super::Control; use super::super::dump::Dump;"),
        ("shell/daemon.rs", "use super::reload; use crate::shell::audit::audit;"),
    ] {
        assert_eq!(check(name, source), Breaches::new(), "in {name}: {source}");
    }
}

#[test]
fn methods_are_found() {
    for source in
        ["impl Daemon {", "impl<'a> Daemon {", "impl Daemon<'_> {", "impl Drop for Daemon {"]
    {
        assert!(implements(source, "Daemon"), "{source}");
    }
    for source in ["impl DaemonConf {", "// impl Daemon {", "impl From<Daemon> for X {"] {
        assert!(!implements(source, "Daemon"), "{source}");
    }
}

#[test]
fn a_long_file_is_found() {
    assert!(too_long("x.rs", &"\n".repeat(FILE_LINES_MAX)).is_none());
    assert!(too_long("x.rs", &"\n".repeat(FILE_LINES_MAX + 1)).is_some());
}

// ---------------------------------------------------------------------------------------------
// How it looks.

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// All files of a kind below a folder, which need not exist.
fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files of a folder, by name and source, that lead back to themselves. What a folder's `mod.rs`
/// offers to all of them does not count.
fn circle(folder: &str, sources: &[(String, String)]) -> Vec<String> {
    let mut left: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, source) in sources.iter().filter(|(name, _)| name != "mod") {
        let known = paths(&without_tests(&tokens(source))).into_iter().filter_map(|path| {
            let first = path.iter().position(|segment| segment != "super")?;
            match path[first].as_str() {
                "crate" if path.get(1).is_some_and(|of| of == folder) => path.get(2).cloned(),
                _ if first == 1 => Some(path[1].clone()),
                _ => None,
            }
        });
        left.insert(name, known.filter(|other| other != name).collect());
    }
    // Who knows nobody that is left, or is known by nobody, is in no circle.
    loop {
        let knows = |name: &str| left[name].iter().any(|other| left.contains_key(other.as_str()));
        let is_known = |name: &str| left.values().any(|known| known.contains(name));
        let out: Vec<&str> =
            left.keys().copied().filter(|name| !knows(name) || !is_known(name)).collect();
        if out.is_empty() {
            return left.into_keys().map(str::to_owned).collect();
        }
        out.iter().for_each(|name| drop(left.remove(name)));
    }
}

fn too_long(name: &str, source: &str) -> Option<String> {
    let lines = source.lines().count();
    (lines > FILE_LINES_MAX).then(|| format!("{name}: {lines} lines, {FILE_LINES_MAX} at most"))
}

/// Everything that is wrong with a file of `src`, named by its path there.
fn check(name: &str, source: &str) -> Breaches {
    let tokens = without_tests(&tokens(source));
    let mut breaches = Breaches::new();
    if name != UNSAFE_FILE && tokens.iter().any(|t| t == "unsafe") {
        breaches.push(format!("src/{name}: unsafe belongs in src/{UNSAFE_FILE}"));
    }
    let module = name.split('/').next().unwrap_or(name).trim_end_matches(".rs");
    let Some(wall) = WALLS.iter().find(|wall| wall.module == module) else { return breaches };
    let paths = paths(&tokens);
    for path in &paths {
        let found = import_breach(wall, name, path).or_else(|| room_breach(name, path));
        breaches.extend(found.map(|what| format!("src/{name}: {what}")));
    }
    // A file of tests, declared with `#[cfg(test)] mod tests;`, may read its data.
    if wall.pure && !name.ends_with("tests.rs") {
        let found = paths.iter().filter_map(|path| path_breach(module, path));
        breaches.extend(found.chain(call_breaches(&tokens)).map(|w| format!("src/{name}: {w}")));
    }
    breaches
}

/// `name` is the file's path below `src`: `super` is resolved by it.
fn import_breach(wall: &Wall, name: &str, path: &[String]) -> Option<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let depth = name.trim_end_matches("/mod.rs").split('/').count();
    let target = match path.first().map(String::as_str) {
        Some("crate") => path.get(1)?,
        Some("super") if supers == depth => path.get(supers)?,
        _ => return None,
    };
    let allowed = target == wall.module || wall.may_import.contains(&target.as_str());
    (!allowed).then(|| format!("{} may not import {}", wall.module, path.join("::")))
}

/// A file of a room may know its own room and those before it.
fn room_breach(name: &str, path: &[String]) -> Option<String> {
    let place = |room: &str| ROOMS.iter().position(|known| *known == room);
    let own = place(name.strip_prefix("shell/")?.split_once('/')?.0)?;
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    let depth = name.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').count();
    let target = match path.first().map(String::as_str) {
        Some("crate") if path.get(1).is_some_and(|module| module == "shell") => path.get(2)?,
        Some("super") if supers + 1 == depth => path.get(supers)?,
        _ => return None,
    };
    let is_before = place(target).is_some_and(|target| target <= own);
    (!is_before).then(|| format!("room {} may not know {}", ROOMS[own], path.join("::")))
}

/// Does the source have methods of this type, its own or a trait's?
fn implements(source: &str, name: &str) -> bool {
    let tokens = without_tests(&tokens(source));
    let mut rest = tokens.as_slice();
    while let Some(at) = rest.iter().position(|token| token == "impl") {
        rest = &rest[at + 1..];
        let end = rest.iter().position(|token| token == "{").unwrap_or(rest.len());
        let head = &rest[..end];
        let of = head.iter().position(|token| token == "for").map_or(0, |at| at + 1);
        let mut depth = 0_usize;
        let whose = head[of..].iter().find(|token| {
            match token.as_str() {
                "<" => depth += 1,
                ">" => depth = depth.saturating_sub(1),
                _ => return depth == 0 && is_identifier(token),
            }
            false
        });
        if whose.is_some_and(|whose| whose == name) {
            return true;
        }
    }
    false
}

fn path_breach(module: &str, path: &[String]) -> Option<String> {
    let joined = path.join("::");
    let is_outside = OUTSIDE.iter().any(|with| leads_to(&joined, with))
        || path.iter().any(|name| OUTSIDE_NAMES.contains(&name.as_str()));
    // Their order differs from run to run; the core's answers must not.
    let is_random =
        module == "core" && path.iter().any(|name| name == "HashMap" || name == "HashSet");
    (is_outside || is_random).then(|| format!("{joined} does not belong in {module}"))
}

/// Does the path lead to that one, or into it? A crate's bare name may be a local variable.
fn leads_to(path: &str, target: &str) -> bool {
    match path.strip_prefix(target) {
        Some("") => target.contains("::"),
        Some(rest) => rest.starts_with("::"),
        None => false,
    }
}

/// Macros that print or log, and methods that ask the disk.
fn call_breaches(tokens: &[String]) -> Breaches {
    let mut breaches = Breaches::new();
    for window in tokens.windows(3) {
        let [a, b, c] = window else { continue };
        if OUTSIDE_MACROS.contains(&a.as_str()) && b == "!" && ["(", "[", "{"].contains(&c.as_str())
        {
            breaches.push(format!("{a}! does not belong here"));
        }
        if a == "." && OUTSIDE_METHODS.contains(&b.as_str()) && c == "(" {
            breaches.push(format!(".{b}() asks the disk"));
        }
    }
    breaches
}

/// Identifiers, `::` and single characters; comments, strings and characters are left out.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i = after_comment(&chars, i);
        } else if let Some(hashes) = raw_string(&chars, i) {
            i = after_raw_string(&chars, i, hashes);
        } else if c == '"' || c == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i = after_quoted(&chars, i);
        } else if c.is_alphanumeric() || c == '_' {
            let start = i;
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            tokens.push(chars[start..i].iter().collect());
        } else if c == ':' && at(i + 1) == ':' {
            tokens.push("::".to_owned());
            i += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            i += 1;
        }
    }
    tokens
}

/// After a block comment, which may have others inside.
fn after_comment(chars: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// The number of `#` if a raw string begins here (its `b` was taken as an identifier already, and
/// does no harm).
fn raw_string(chars: &[char], i: usize) -> Option<usize> {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let before = i.checked_sub(1).and_then(|i| chars.get(i));
    if chars.get(i) != Some(&'r') || before.is_some_and(is_word) {
        return None;
    }
    let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(i + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn after_raw_string(chars: &[char], start: usize, hashes: usize) -> usize {
    let mut i = start + hashes + 2;
    while i < chars.len() {
        let closes = chars[i] == '"'
            && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// After a string or a character, which ends with the quote that it began with.
fn after_quoted(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != chars[start] {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The tokens less every item that is marked `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if tokens[i..].iter().take(MARK.len()).eq(MARK.iter()) {
            i = after_item(tokens, i + MARK.len());
        } else {
            kept.push(tokens[i].clone());
            i += 1;
        }
    }
    kept
}

/// After an item: a semicolon outside of brackets, or the end of its first braces.
fn after_item(tokens: &[String], mut i: usize) -> usize {
    let mut depth = 0_usize;
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ends = depth == 0 && (tokens[i] == ";" || tokens[i] == "}");
        i += 1;
        if ends {
            break;
        }
    }
    i
}

/// Every path of the source, grouped imports spelt out.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let is_start = is_identifier(&tokens[i]) && (i == 0 || tokens[i - 1] != "::");
        if is_start {
            i = collect_path(tokens, i, &[], &mut found);
        } else {
            i += 1;
        }
    }
    found
}

fn is_identifier(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Collects the path that begins at `i`, behind `prefix`; returns where it ends.
fn collect_path(
    tokens: &[String],
    mut i: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    let get = |i: usize| tokens.get(i).map_or("", String::as_str);
    path.push(get(i).to_owned());
    i += 1;
    while get(i) == "::" {
        i += 1;
        if get(i) == "{" {
            return collect_group(tokens, i, &path, found);
        }
        if !is_identifier(get(i)) {
            break;
        }
        path.push(get(i).to_owned());
        i += 1;
    }
    found.push(path);
    i
}

/// Collects the paths of a group in braces.
fn collect_group(
    tokens: &[String],
    mut i: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    found.push(prefix.to_vec());
    i += 1;
    while i < tokens.len() && tokens[i] != "}" {
        if is_identifier(&tokens[i]) {
            i = collect_path(tokens, i, prefix, found);
        } else {
            i += 1;
        }
    }
    i + 1
}
