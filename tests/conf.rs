//! The configuration: every file of `tests/data/conf` gives exactly what its `.expect` says, and
//! whatever is done to them, loading neither panics nor drops something without a word.
//!
//! `BLESS=1 cargo test --test conf` writes the expectations anew; read the difference.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glha::conf::{self, Context, Files, Loaded, Severity};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conf")
}

/// All configurations of the test data, by file name.
fn configurations() -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(data()).expect("tests/data/conf is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
            found.insert(name, fs::read(&path).expect("readable"));
        }
    }
    assert!(found.len() >= 10, "the configurations of tests/data/conf are missing");
    found
}

/// Loads one of several files that are held in memory.
fn load(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Loaded {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let mut read =
        |path: &Path| files.get(path.to_string_lossy().as_ref()).cloned().ok_or_else(missing);
    let mut list = |_: &Path| Ok(files.keys().map(OsString::from).collect());
    let context = Context {
        config_id: "node1".to_owned(),
        host_name: "node1.example.org".to_owned(),
        ..Context::default()
    };
    conf::load(Path::new(name), &mut Files { read: &mut read, list: &mut list }, &context)
}

fn show(loaded: &Loaded) -> String {
    let mut out = String::new();
    for diagnostic in &loaded.diagnostics {
        let _ = writeln!(out, "{}", loaded.sources.render(diagnostic));
    }
    let (status, strict) = (conf::exit_status(loaded), conf::strict_exit_status(loaded));
    let _ = writeln!(out, "status {status}, strict {strict}\n");
    out.push_str(&dump(loaded));
    out
}

/// The typed result, without the places that the diagnostics show already.
fn dump(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut skipped = None;
    for line in format!("{:#?}", loaded.config).lines() {
        let indent = line.len() - line.trim_start().len();
        match skipped {
            Some(depth) if indent > depth => {}
            Some(_) => skipped = None,
            None if line.trim_start() == "span: Span {" => skipped = Some(indent),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[test]
fn every_file_gives_what_is_expected() {
    let files = configurations();
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for name in files.keys() {
        let expectation = data().join(name).with_extension("expect");
        let shown = show(&load(&files, name));
        if bless {
            fs::write(&expectation, shown).expect("can write the expectation");
        } else if fs::read_to_string(&expectation).ok().as_ref() != Some(&shown) {
            wrong.push(format!("{name}, now:\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "not as expected: {}", wrong.join("\n"));
}

#[test]
fn the_article_runs_unchanged() {
    let files = configurations();
    for (name, master) in [("article-master.conf", true), ("article-backup.conf", false)] {
        let loaded = load(&files, name);
        let faults: Vec<&str> = loaded
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity > Severity::Note)
            .map(|diagnostic| diagnostic.message.as_str())
            .collect();
        // Whether its scripts are there, and secure, is for the audit to see.
        assert_eq!(faults, ["Unknown keyword '#Define'"], "{name}");
        assert_eq!(conf::exit_status(&loaded), 5);
        let [instance] = loaded.config.spec.instances.as_slice() else { panic!("one instance") };
        assert_eq!((instance.vrid, instance.priority), (51, 101));
        assert_eq!(instance.wants_master, master);
    }
}

/// Nothing that is not carried out is ignored without a word.
#[test]
fn what_is_refused_is_named() {
    let files = configurations();
    let loaded = load(&files, "refused.conf");
    let errors: Vec<&str> = loaded
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error && diagnostic.span.line > 0)
        .map(|diagnostic| diagnostic.message.as_str())
        .collect();
    let wanted = "not supported yet: old_unicast_checksum";
    assert!(errors.iter().any(|error| error.starts_with(wanted)), "{errors:#?}");
    assert_eq!(conf::exit_status(&loaded), 4);
}

#[test]
fn keyword_tables_hold_no_name_twice() {
    let mut keywords = conf::parse::keywords();
    let count = keywords.len();
    assert!(count > 200);
    keywords.sort_unstable();
    keywords.dedup();
    assert_eq!(keywords.len(), count);
}

/// xorshift64*: the same configurations on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or(0) % bound.max(1)
    }
}

const SCRAPS: [&str; 24] = [
    "{",
    "}",
    "\"",
    "'",
    "\\",
    "#",
    "!",
    "\n",
    "\r\n",
    "\0",
    "$",
    "${",
    "@",
    "~SEQ(i,1,3) ",
    "é",
    "-1",
    "99999999999999999999",
    "include *.conf\n",
    "vrrp_instance",
    "hooks",
    "virtual_ipaddress",
    "weight",
    "\u{feff}",
    "$A=\\\n",
];

fn mutate(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(text.len() + 1);
        let end = (at + random.below(40)).min(text.len());
        match random.below(6) {
            0 => text.truncate(at),
            1 => drop(text.drain(at..end)),
            2 => {
                let piece = text[at..end].to_vec();
                let to = random.below(text.len() + 1);
                text.splice(to..to, piece).for_each(drop);
            }
            3 | 4 => text.splice(at..at, SCRAPS[random.below(SCRAPS.len())].bytes()).for_each(drop),
            _ => {
                if let Some(byte) = text.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).unwrap_or(0);
                }
            }
        }
    }
    text
}

/// The status of `-t` for one file.
fn status_of(text: &[u8]) -> i32 {
    let files = BTreeMap::from([("a.conf".to_owned(), text.to_vec())]);
    conf::exit_status(&load(&files, "a.conf"))
}

#[test]
fn names_of_tables_are_those_that_nft_takes() {
    let status =
        |name: &str| status_of(format!("global_defs {{\n nftables {name}\n}}\n").as_bytes());
    for good in ["keepalived", "keep-alived", "a.b", "a/b", "a_b", "a1", "A-1./_"] {
        assert_ne!(status(good), 4, "{good}");
    }
    for bad in ["1a", "-a", ".a", "/a", "a+b", "a;b", "a:b"] {
        assert_eq!(status(bad), 4, "{bad}");
    }
}

#[test]
fn a_password_that_would_be_other_bytes_is_refused() {
    let file = |password: &[u8]| {
        let text =
            b"vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n \
            192.0.2.1\n }\n authentication {\n auth_type PASS\n auth_pass ";
        [text.as_slice(), password, b"\n }\n}\n"].concat()
    };
    for good in ["pass".as_bytes(), "p\u{e4}ss".as_bytes()] {
        assert_ne!(status_of(&file(good)), 4, "{good:?}");
    }
    for bad in [b"p\xe4ss".as_slice(), b"\xff", b"pas\xc3"] {
        assert_eq!(status_of(&file(bad)), 4, "{bad:?}");
    }
}

#[test]
fn a_proof_among_two_is_refused_with_more_peers() {
    let status = |peers: &str, env: &str| {
        let text = format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n unicast_peer {{\n {peers}\n \
             }}\n virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\nhooks V {{\n mount\n peers glha\n \
             {env}\n}}\n"
        );
        status_of(text.as_bytes())
    };
    for weak in ["env GUARD none", "env GUARD fence\nenv FENCE_WHEN unproven"] {
        assert_ne!(status("192.0.2.2", weak), 4, "{weak}");
        assert_eq!(status("192.0.2.2\n 192.0.2.3", weak), 4, "{weak}");
    }
    assert_ne!(status("192.0.2.2\n 192.0.2.3", "env GUARD mmp"), 4);
}

#[test]
fn a_thousand_broken_configurations() {
    let originals = configurations();
    let names: Vec<&String> = originals.keys().collect();
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut reported = 0;
    for round in 0..1000 {
        let mut files = originals.clone();
        let name = names[random.below(names.len())];
        let broken = mutate(&originals[name], &mut random);
        files.insert("broken.conf".to_owned(), broken.clone());
        let loaded = load(&files, "broken.conf");
        let positioned = loaded.diagnostics.iter().filter(|d| d.span.line > 0).count();
        let starts = conf::exit_status(&loaded) != 4;
        assert!(
            positioned > 0 || starts,
            "round {round}: refused without a place:\n{}",
            String::from_utf8_lossy(&broken)
        );
        for diagnostic in &loaded.diagnostics {
            assert!(!loaded.sources.render(diagnostic).is_empty());
        }
        let instances = loaded.config.spec.instances.len();
        assert_eq!(loaded.config.instances.len(), instances);
        assert_eq!(loaded.config.groups.len(), loaded.config.spec.groups.len());
        assert_eq!(loaded.config.checks.len(), loaded.config.spec.checks.len());
        assert_eq!(loaded.config.processes.len(), loaded.config.spec.processes.len());
        assert_eq!(loaded.config.files.len(), loaded.config.spec.files.len());
        reported += usize::from(positioned > 0);
    }
    assert!(reported > 500, "most of them are broken: {reported}");
}
