//! The command line from outside: what is printed where, and the exit status.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// What a run has left behind.
#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

fn glha(args: &[&str]) -> Ran {
    finish(Command::new(env!("CARGO_BIN_EXE_glha")).args(args))
}

fn finish(command: &mut Command) -> Ran {
    let output = command.output().expect("glha starts");
    Ran {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("glha-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("folder");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).expect("write");
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn need_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root: the daemon does");
}

#[test]
fn version_and_help_go_to_standard_error() {
    for flag in ["-v", "--version", "-nv"] {
        let ran = glha(&[flag]);
        assert_eq!((ran.status, ran.out.as_str()), (Some(0), ""), "{flag}");
        assert!(ran.err.starts_with(concat!("glha v", env!("CARGO_PKG_VERSION"), "\n")));
    }
    for flag in ["-h", "--help", "-nh"] {
        let ran = glha(&[flag]);
        assert_eq!((ran.status, ran.out.as_str()), (Some(0), ""), "{flag}");
        assert!(ran.err.starts_with("Usage: glha ["), "{}", ran.err);
        for name in ["--use-file", "--config-test", "--strict", "--signum", "--vrrp-pid"] {
            assert!(ran.err.contains(name), "{name} is missing");
        }
        assert!(!ran.err.contains("config-test-log"), "internal names are not shown");
    }
}

/// What clients look for in the output of `keepalived -v`: Ansible, Puppet and neutron take the
/// version by these rules, exporters look for JSON by the option.
#[test]
fn called_as_keepalived_it_says_whose_behaviour_it_has() {
    let folder = Folder::new("name");
    let link = folder.0.join("keepalived");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_glha"), &link).expect("a link");
    for flag in ["-v", "--version"] {
        let ran = finish(Command::new(&link).arg(flag));
        assert_eq!((ran.status, ran.out.as_str()), (Some(0), ""), "{flag}");
        let lines: Vec<&str> = ran.err.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[0], "Keepalived v2.2.7 (01/16,2022)");
        assert_eq!(lines[1], concat!("glha v", env!("CARGO_PKG_VERSION")));
        let options = ran.err.lines().find(|line| line.starts_with("configure options:"));
        assert!(options.is_some_and(|line| line.contains(" --enable-json")), "{}", ran.err);
        // The second word of the first line, without its v, is numbers and points.
        let version = ran.err.split_whitespace().nth(1).expect("a word");
        let numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
        assert!(numbers.eq([Ok(2), Ok(2), Ok(7)]), "{version}");
    }
    // By the name it is called by, whatever the file is called.
    let ran =
        finish(Command::new(env!("CARGO_BIN_EXE_glha")).arg0("/usr/sbin/keepalived").arg("-v"));
    assert!(ran.err.starts_with("Keepalived v2.2.7 "), "{}", ran.err);
    let ran = finish(Command::new(env!("CARGO_BIN_EXE_glha")).arg0("keepalived-old").arg("-v"));
    assert!(ran.err.starts_with("glha v"), "{}", ran.err);
}

#[test]
fn signum_prints_keepaliveds_numbers() {
    for (name, number) in [("STOP", "15\n"), ("JSON", "36\n"), ("STATS_CLEAR", "63\n")] {
        let ran = glha(&["--signum", name]);
        assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (Some(0), number, ""));
    }
    let ran = glha(&["--signum=TDATA"]);
    assert_eq!(
        (ran.status, ran.out.as_str(), ran.err.as_str()),
        (Some(1), "", "Unknown sigfunc TDATA\n")
    );
}

#[test]
fn a_wrong_command_line_gives_usage_and_status_1() {
    let cases: [(&[&str], &str); 7] = [
        (&["--bogus"], "unknown option --bogus"),
        (&["-nQ"], "unknown option -Q"),
        (&["-f"], "missing parameter for option -f"),
        (&["--log"], "option --log is ambiguous"),
        (&["-s", "../blue", "-n"], "is not the name of a network namespace"),
        (&["-u", "999"], "invalid umask '999'"),
        (&["unexpected"], "unexpected"),
    ];
    for (args, message) in cases {
        let ran = glha(args);
        assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""), "{args:?}");
        assert!(ran.err.starts_with("glha: ") && ran.err.contains(message), "{}", ran.err);
        assert!(ran.err.contains("\nUsage: glha [OPTION...]"), "{}", ran.err);
    }
}

#[test]
fn keepaliveds_options_are_accepted() {
    let values =
        [("-f", "x"), ("-S", "1"), ("-p", "x"), ("-r", "x"), ("-u", "022"), ("-i", "node")];
    for (flag, value) in values {
        assert_eq!(glha(&[flag, value, "-v"]).status, Some(0), "{flag}");
    }
    let ran = glha(&["-nlDPdeVXRaGCBImxv", "--all", "--flush-log-file", "--strict"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
}

#[test]
fn a_file_that_is_no_configuration_fails_the_test() {
    let folder = Folder::new("unfit");
    let script = folder.file("script", "");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    let cases = [
        (folder.path("missing"), "No such file"),
        (folder.0.display().to_string(), "not a regular non-executable file"),
        (script, "not a regular non-executable file"),
    ];
    for (path, message) in cases {
        let ran = glha(&["-t", "-f", &path]);
        assert_eq!((ran.status, ran.out.as_str()), (Some(4), ""), "{path}");
        assert!(ran.err.starts_with(&format!("{path}: error: {message}")), "{}", ran.err);
        assert_eq!(ran.err.lines().last(), Some("would not start"));
        assert_eq!(glha(&["-t", "--strict", "-f", &path]).status, Some(1), "{path}");
    }
}

#[test]
fn a_good_configuration_would_start() {
    let folder = Folder::new("good");
    let path = folder.file("good.conf", "! nothing yet\n");
    let report = folder.path("report");
    let ran = glha(&["-t", "-f", &path]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(ran.err.lines().last(), Some("would start"));
    let ran = glha(&[&format!("-t{report}"), "--strict", "--use-file", &path]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    let text = fs::read_to_string(&report).expect("the report");
    assert_eq!(text.lines().last(), Some("would start"));
}

#[test]
fn no_configuration_no_daemon() {
    need_root();
    let folder = Folder::new("none");
    let missing = folder.path("missing");
    let ran = glha(&["-G", "-f", &missing]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(6), ""));
    assert!(ran.err.contains(&format!("{missing}: error: No such file")), "{}", ran.err);
    // With -l it is in the log, once, with the time before it.
    let ran = glha(&["-lG", "-f", &missing]);
    assert_eq!(ran.status, Some(6));
    let line = ran.err.lines().find(|line| line.contains(&missing)).expect("told");
    assert_eq!(line.find(&format!(": {missing}")), Some("Sun Nov 22 21:57:16 2026".len()));
    assert_eq!(ran.err.matches(missing.as_str()).count(), 1, "{}", ran.err);
}

/// systemd connects standard error to the journal, where the lines of syslog(3) are too.
#[test]
fn nothing_stands_twice_in_the_journal() {
    need_root();
    let folder = Folder::new("journal");
    let missing = folder.path("missing");
    let said = |stream: &str, flags: &[&str]| {
        let path = folder.file("journal", "");
        let file = fs::File::options().append(true).open(&path).expect("opened");
        let own = file.metadata().expect("metadata");
        let own = format!("{}:{}", own.dev(), own.ino());
        let stream = if stream.is_empty() { &own } else { stream };
        let mut command = Command::new(env!("CARGO_BIN_EXE_glha"));
        command.args(flags).args(["-f", &missing]).env("JOURNAL_STREAM", stream).stderr(file);
        assert_eq!(command.status().expect("glha starts").code(), Some(6));
        fs::read_to_string(&path).expect("read")
    };
    assert_eq!(said("", &["-n"]), "");
    // It goes nowhere else; or standard error is something else than the journal.
    assert!(said("", &["-n", "-G"]).contains(&missing));
    assert!(said("1:1", &["-n"]).contains(&missing));
    assert!(said("", &["-n", "-l"]).contains(&missing));
}

#[test]
fn a_second_daemon_does_not_start() {
    need_root();
    let folder = Folder::new("second");
    let keepalived = folder.0.join("keepalived");
    fs::copy("/bin/sleep", &keepalived).expect("sleep(1)");
    let other = Ended(spawn(&keepalived));
    let conf = folder.file("a.conf", "");
    let pid_file = folder.file("vrrp.pid", &format!("{}\n", other.0.id()));
    let parent = folder.path("parent.pid");
    let ran = glha(&["-G", "-f", &conf, "-p", &parent, &format!("--vrrp_pid={pid_file}")]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.err.contains("daemon is already running"), "{}", ran.err);
    assert!(!Path::new(&parent).exists());
    assert!(Path::new(&pid_file).exists());
}

#[test]
fn without_privilege_only_the_test_runs() {
    need_root();
    let folder = Folder::new("nobody");
    // Where this test was built, others may have no access.
    let program = folder.0.join("glha");
    fs::copy(env!("CARGO_BIN_EXE_glha"), &program).expect("copy");
    let conf = folder.file("a.conf", "");
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.uid(65534).gid(65534).args(args);
        retry_busy(|| command.output()).expect("started")
    };
    let output = as_nobody(&["-nG", "-f", &conf]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("must be run as root"));
    assert_eq!(as_nobody(&["-t", "-f", &conf]).status.code(), Some(0));
}

fn spawn(program: &Path) -> Child {
    retry_busy(|| Command::new(program).arg("1000").spawn()).expect("started")
}

/// A sibling test that forks may hold a fresh copy of a program open for writing for a moment.
fn retry_busy<T>(mut start: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match start() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            result => return result,
        }
    }
}
