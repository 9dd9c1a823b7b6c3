//! Completion of the command line, as the shells themselves do it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program's folder first, so that what a completion calls is this program.
fn path() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_glha")).parent().expect("a folder");
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .env("HOME", "/nonexistent")
        .output()
        .unwrap_or_else(|e| panic!("cannot run {program} ({e}): tests/means.sh installs it"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {arguments:?}: {said}");
    assert_eq!(said, "", "{program} {arguments:?}");
    String::from_utf8(out.stdout).expect("text")
}

fn made(shell: &str) -> String {
    run(env!("CARGO_BIN_EXE_glha"), &["completions", shell])
}

/// What the shell offers for the last of these words.
fn offered(shell: &str, words: &[&str]) -> BTreeSet<String> {
    let said = match shell {
        "bash" => {
            let script = "eval \"$(glha completions bash)\"; COMP_WORDS=(glha \"$@\"); COMP_CWORD=$#; \
                          _glha; printf '%s\\n' \"${COMPREPLY[@]}\"";
            run("bash", &[&["--norc", "-c", script, "bash"], words].concat())
        }
        _ => {
            let line = format!("glha {}", words.join(" "));
            let script = format!("glha completions fish | source; complete -C '{line}'");
            run("fish", &["--no-config", "-c", &script])
        }
    };
    let first = |line: &str| line.split('\t').next().map(str::to_owned);
    said.lines().filter_map(first).filter(|word| !word.is_empty()).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn commands_and_options_are_offered() {
    for shell in ["bash", "fish"] {
        assert_eq!(offered(shell, &["st"]), set(&["status"]), "{shell}");
        assert_eq!(
            offered(shell, &["re"]),
            set(&["rehearse", "release", "released", "reload", "resign"])
        );
        assert_eq!(offered(shell, &["status", "--w"]), set(&["--watch"]), "{shell}");
        assert_eq!(offered(shell, &["completions", "z"]), set(&["zsh"]), "{shell}");
        assert_eq!(offered(shell, &["hooks", "l"]), set(&["list"]), "{shell}");
        assert_eq!(offered(shell, &["--conf"]), set(&["--config-id", "--config-test"]), "{shell}");
        // An option of one command is none of another.
        assert_eq!(offered(shell, &["hold", "--f"]), set(&[]), "{shell}");
        assert_eq!(offered(shell, &["resign", "--f"]), set(&["--force"]), "{shell}");
    }
}

#[test]
fn a_file_is_offered_where_one_is_wanted() {
    let folder = std::env::temp_dir().join(format!("glha-completions-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("folder");
    let _gone = Gone(folder.clone());
    let file = folder.join("pair.conf").display().to_string();
    fs::write(&file, "").expect("file");
    let begun = folder.join("pa").display().to_string();
    for words in [&["--use-file", &begun][..], &["-f", &begun], &["rehearse", &begun]] {
        for shell in ["bash", "fish"] {
            assert_eq!(offered(shell, words), set(&[&file]), "{shell} {words:?}");
        }
    }
    // The value of something else is not guessed.
    assert_eq!(offered("bash", &["-S", ""]), set(&[]));
}

struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Each option of each help stands in each of them.
#[test]
fn no_option_is_left_out() {
    let texts = ["bash", "zsh", "fish"].map(made);
    let commands =
        ["status", "events", "why", "resign", "reload", "metrics", "adopt", "rehearse", "hooks"];
    for command in commands.iter().copied().chain([""]) {
        let words: Vec<&str> = [command, "--help"].into_iter().filter(|w| !w.is_empty()).collect();
        let out = Command::new(env!("CARGO_BIN_EXE_glha")).args(&words).output().expect("glha");
        let help = [out.stdout, out.stderr].concat();
        let help = String::from_utf8_lossy(&help);
        let options = help.split([' ', ',', '\n', '[', ']']).filter(|word| word.starts_with("--"));
        for option in options.map(|word| word.trim_end_matches(['.', ';'])) {
            let bare = option.trim_start_matches('-');
            if bare == "help" || bare.contains(['=', '_']) || bare.is_empty() {
                continue;
            }
            for text in &texts {
                let is_there = text.contains(option) || text.contains(&format!("-l {bare} "));
                assert!(is_there, "{command} {option} is not in\n{text}");
            }
        }
    }
}

#[test]
fn zsh_can_read_it_and_knows_the_function() {
    let folder = std::env::temp_dir().join(format!("glha-zsh-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("folder");
    let _gone = Gone(folder.clone());
    fs::write(folder.join("_glha"), made("zsh")).expect("file");
    let script = format!(
        "fpath=({} $fpath); autoload -U compinit; compinit -D -u; print ${{_comps[glha]}}; \
         autoload -U +X _glha; whence -w _glha",
        folder.display()
    );
    assert_eq!(run("zsh", &["-f", "-c", &script]), "_glha\n_glha: function\n");
}

#[test]
fn another_shell_is_refused() {
    let out = Command::new(env!("CARGO_BIN_EXE_glha")).args(["completions", "csh"]).output();
    let out = out.expect("glha");
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("csh"));
}
