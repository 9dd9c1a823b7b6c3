//! The command line: keepalived's options, and what happens before the loop begins and after it
//! has ended.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, EarlyExit, FromArgs};

use crate::conf::{self, Context, Diagnostic, Loaded, Severity, printable};
use crate::shell::audit::load::{self, load, load_closely};
use crate::shell::host::log::{self as logging, Facility, LogSettings};
use crate::shell::host::paths::run_folder;
use crate::shell::host::pidfile::{self, Found, PidFile, Refused};
use crate::shell::host::signals::{Request, Signals};
use crate::shell::host::{background, sys};
use crate::shell::state::record::spare_pen;
use crate::shell::{self, Settings};

mod adopt;
mod client;
mod command;
mod completions;
mod getopt;
mod hooks;
mod rehearse;
mod screen;
mod show;

/// Exit statuses; keepalived's where it has one.
mod status {
    pub(super) const SUCCESS: i32 = 0;
    /// Wrong use of the command line, or something that should not happen.
    pub(super) const FAILURE: i32 = 1;
    /// The configuration has an error.
    pub(super) const CONFIG: i32 = 2;
    /// Not root.
    pub(super) const NO_PERMISSION: i32 = 4;
    /// `-t`: glha would not start.
    pub(super) const WOULD_NOT_START: i32 = 4;
    /// There is no configuration.
    pub(super) const NOT_CONFIGURED: i32 = 6;
}

/// The command that takes away what is held, without a daemon.
const RELEASE: &str = "release";

/// The command that plays failures.
const REHEARSE: &str = "rehearse";
/// The command for the change from keepalived.
const ADOPT: &str = "adopt";
/// The command about the scripts of a configuration.
const HOOKS: &str = "hooks";
/// The command that helps a shell.
const COMPLETIONS: &str = "completions";

/// The keepalived whose behaviour this is, as it names itself.
const KEEPALIVED: &str = "Keepalived v2.2.7 (01/16,2022)";

/// keepalived's `-g` without a name.
const LOG_FILE: &str = "/tmp/keepalived.log";

/// VRRP failover for a pair of servers, with hooks that you edit and storage that gates
/// mastership. Reads keepalived's configuration and takes its options.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    usage = "[COMMAND] [OPTION...]",
    help_triggers("--help"),
    note = "glha release takes off the addresses and gives back the storage that a daemon which is gone\n\
            has left behind, by the same hooks; it refuses while a daemon runs.\n\
            glha rehearse CONF [PEER.CONF] plays failures of a pair in simulated time; see glha rehearse --help.\n\
            glha adopt [FILE] shows what the change from keepalived would be; see glha adopt --help.\n\
            glha hooks list|run|check is about the scripts of a configuration; see glha hooks --help.\n\
            glha completions bash|zsh|fish prints what that shell needs to complete all this.\n\n\
            status, events, why, resign, released, hold, unhold, reload and metrics ask a running\n\
            daemon; with --help each tells more about itself.\n\n\
            Options may be written as for keepalived: together (-nlD), with their value (-fFILE or\n\
            --use-file=FILE), with an underscore (--vrrp_pid), or cut short. What keepalived has and glha does not is accepted with a note in the log.",
    example = "Look for mistakes, then run in the foreground with the log on the terminal:\n\
               {command_name} -t\n{command_name} -nlD",
    error_code(0, "all is well"),
    error_code(1, "wrong use of the command line"),
    error_code(2, "the configuration has an error"),
    error_code(4, "not root; -t: would not start"),
    error_code(5, "-t: keepalived has something to report, but runs; so does glha"),
    error_code(6, "no configuration; -t: scripts without enable_script_security")
)]
struct Options {
    /// configuration file; otherwise /etc/glha/glha.conf, or /etc/keepalived/keepalived.conf
    /// where that is missing
    #[argh(option, short = 'f', arg_name = "FILE")]
    use_file: Option<PathBuf>,

    /// check the configuration and exit; the findings go to standard error, or to FILE with
    /// -tFILE
    #[argh(switch, short = 't')]
    config_test: bool,

    /// where the findings of -t go
    #[argh(option, hidden_help)]
    config_test_log: Option<PathBuf>,

    /// with -t: exit with 1 if there is anything above a note, else 0
    #[argh(switch)]
    strict: bool,

    /// stay in the foreground
    #[argh(switch, short = 'n')]
    dont_fork: bool,

    /// log to standard error too
    #[argh(switch, short = 'l')]
    log_console: bool,

    /// log details
    #[argh(switch, short = 'D')]
    log_detail: bool,

    /// syslog facility: 0 to 7, local0 to local7, user or daemon (default)
    #[argh(option, short = 'S', arg_name = "NAME")]
    log_facility: Option<String>,

    /// log to a file too: with -gFILE to FILE, with _vrrp before its last dot
    /// (/tmp/keepalived_vrrp.log)
    #[argh(switch, short = 'g')]
    log_file: bool,

    /// the file of -g
    #[argh(option, hidden_help)]
    log_file_name: Option<PathBuf>,

    /// log every record of the flight recorder too, a line of JSON each
    #[argh(switch)]
    log_events: bool,

    /// do not log to syslog
    #[argh(switch, short = 'G')]
    no_syslog: bool,

    /// log the configuration at start
    #[argh(switch, short = 'd')]
    dump_conf: bool,

    /// log every change of an address
    #[argh(switch, short = 'a')]
    address_monitoring: bool,

    /// run no BFD session: what tracks one sees it down
    #[argh(switch, short = 'B')]
    no_bfd: bool,

    /// what @ID at the start of a line is compared with; otherwise the host name up to its
    /// first dot
    #[argh(option, short = 'i', arg_name = "ID")]
    config_id: Option<String>,

    /// a missing include file is an error
    #[argh(switch, short = 'e')]
    all_config: bool,

    /// pid file (/run/keepalived.pid, so that neither daemon starts beside the other)
    #[argh(option, short = 'p', arg_name = "FILE")]
    pid: Option<PathBuf>,

    /// the other pid file (/run/vrrp.pid)
    #[argh(option, short = 'r', arg_name = "FILE")]
    vrrp_pid: Option<PathBuf>,

    /// run in this network namespace, one of `ip netns`
    #[argh(option, short = 's', arg_name = "NAME", from_str_fn(parse_namespace))]
    namespace: Option<String>,

    /// umask of scripts, in numbers (022)
    #[argh(option, short = 'u', arg_name = "MASK", from_str_fn(parse_umask))]
    umask: Option<u32>,

    /// leave the addresses in place at a stop
    #[argh(switch, short = 'V')]
    dont_release_vrrp: bool,

    /// print the number of a signal: STOP, RELOAD, DATA, STATS, STATS_CLEAR or JSON
    #[argh(option, arg_name = "NAME")]
    signum: Option<String>,

    /// print the version
    #[argh(switch, short = 'v')]
    version: bool,
}

/// Does what the command line asks for, and returns the exit status. `argv` begins with the program's
/// name.
pub fn main(argv: impl IntoIterator<Item = std::ffi::OsString>) -> i32 {
    if let Err(error) = sys::restore_signals() {
        say(&format!("glha: signals: {error}"));
    }
    let mut argv = argv.into_iter().peekable();
    let name = argv.next().map(PathBuf::from).unwrap_or_default();
    let is_command = |word: &std::ffi::OsString| command::NAMES.iter().any(|name| word == name);
    if let Some(name) = argv.next_if(is_command) {
        return client_command(&name.to_string_lossy(), argv);
    }
    if argv.next_if(|word| word == REHEARSE).is_some() {
        return rehearse::main(argv);
    }
    if argv.next_if(|word| word == COMPLETIONS).is_some() {
        let words: Vec<String> = argv.map(|word| word.to_string_lossy().into_owned()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        return completions::main(&words);
    }
    if argv.next_if(|word| word == ADOPT).is_some() {
        return adopt::main(argv);
    }
    if argv.next_if(|word| word == HOOKS).is_some() {
        return hooks::main(argv);
    }
    let is_release = argv.next_if(|word| word == RELEASE).is_some();
    let (options, notes) = match parse(argv) {
        Ok(parsed) => parsed,
        Err(Stop { text, status }) => {
            say(&text);
            return status;
        }
    };
    if options.version {
        say(&version(name.file_name().is_some_and(|name| name == "keepalived")));
        status::SUCCESS
    } else if let Some(name) = &options.signum {
        signum(name)
    } else if options.config_test {
        config_test(&options)
    } else if is_release {
        release(&options)
    } else {
        run(&options, &notes)
    }
}

/// A command that a running daemon answers.
fn client_command(name: &str, argv: impl Iterator<Item = std::ffi::OsString>) -> i32 {
    let words: Vec<String> = argv.map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    command::main(name, &words)
}

/// The end of a command line that asks for help or cannot be understood.
struct Stop {
    text: String,
    status: i32,
}

/// The options, and what should be said about those that are ignored.
fn parse(
    argv: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<(Options, Vec<String>), Stop> {
    let wrong = |message: &str| Stop {
        text: format!("glha: {message}\nUsage: glha [OPTION...]; glha --help lists the options"),
        status: status::FAILURE,
    };
    let words: Vec<String> = argv
        .into_iter()
        .map(std::ffi::OsString::into_string)
        .collect::<Result<_, _>>()
        .map_err(|word| wrong(&format!("{}: not UTF-8", word.display())))?;
    let normal = getopt::normalise(&words).map_err(|message| wrong(&message))?;
    let args: Vec<&str> = normal.args.iter().map(String::as_str).collect();
    match Options::from_args(&["glha"], &args) {
        Ok(options) => Ok((options, normal.notes)),
        Err(EarlyExit { output, status: Ok(()) }) => {
            Err(Stop { text: output, status: status::SUCCESS })
        }
        Err(EarlyExit { output, status: Err(()) }) => {
            Err(wrong(output.lines().next().unwrap_or_default()))
        }
    }
}

/// A part of paths.
fn parse_namespace(text: &str) -> Result<String, String> {
    if conf::parse::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("'{text}' is not the name of a network namespace"))
    }
}

/// A number as strtoul(3) reads it: octal after `0`, hexadecimal after `0x`.
fn parse_umask(text: &str) -> Result<u32, String> {
    let number = if let Some(digits) = text.strip_prefix("0x") {
        u32::from_str_radix(digits, 16)
    } else if let Some(digits) = text.strip_prefix('0').filter(|digits| !digits.is_empty()) {
        u32::from_str_radix(digits, 8)
    } else {
        text.parse()
    };
    number
        .ok()
        .filter(|&mask| mask <= 0o777)
        .ok_or_else(|| format!("invalid umask '{text}': a number from 0 to 0777 is wanted"))
}

/// Programs decide by keepalived's first line, `Keepalived vX.Y.Z (MM/DD,YYYY)`, what it can do, and
/// by its options whether it writes JSON. So the program says under that name whose behaviour it has,
/// and then what it is.
fn version(is_keepalived: bool) -> String {
    let own = concat!("glha v", env!("CARGO_PKG_VERSION"));
    let first = if is_keepalived { format!("{KEEPALIVED}\n\n{own}") } else { own.to_owned() };
    format!(
        "{first}\n\nVRRP versions 2 and 3 over IPv4 and IPv6, as keepalived 2.2.7; reads keepalived.conf.\n\n\
         configure options: --enable-json\n\n\
         Config options:  NFTABLES VRRP VRRP_AUTH VRRP_VMAC JSON SYSTEMD_NOTIFY"
    )
}

fn signum(name: &str) -> i32 {
    if let Some(number) = Request::number_of(name) {
        let _ = writeln!(io::stdout(), "{number}");
        status::SUCCESS
    } else {
        say(&format!("Unknown sigfunc {name}"));
        status::FAILURE
    }
}

/// `-t`: says everything that can be said of the configuration. The status is keepalived's (its
/// scripts depend on it), or with `--strict` that of the question whether all is well.
fn config_test(options: &Options) -> i32 {
    let mut out: Box<dyn Write> = match options.config_test_log.as_deref().map(open_report) {
        None => Box::new(io::stderr()),
        Some(Ok(file)) => Box::new(file),
        Some(Err(message)) => {
            say(&message);
            return status::FAILURE;
        }
    };
    let path = options.use_file.clone().unwrap_or_else(load::default_path);
    let (report, plain, strict) = match load_closely(&path, &context(options)) {
        Ok(loaded) => judge(&loaded),
        Err(error) => {
            let report = format!("{}\nwould not start\n", unreadable(&path, &error));
            (report, status::WOULD_NOT_START, status::FAILURE)
        }
    };
    if let Err(error) = out.write_all(report.as_bytes()).and_then(|()| out.flush()) {
        say(&format!("glha: the findings cannot be written: {error}"));
        return status::FAILURE;
    }
    if options.strict { strict } else { plain }
}

fn open_report(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("glha: {}: {error}", path.display()))
}

/// The findings of `-t`, its status, and its status with `--strict`.
fn judge(loaded: &Loaded) -> (String, i32, i32) {
    let worst = loaded.diagnostics.iter().map(|diagnostic| diagnostic.severity).max();
    let verdict = if starts(loaded) { "would start" } else { "would not start" };
    let report: String = loaded
        .sources
        .render_all(&loaded.diagnostics)
        .into_iter()
        .map(|(_, text)| text)
        .chain([verdict.to_owned()])
        .map(|text| text + "\n")
        .collect();
    let strict = match worst {
        None | Some(Severity::Note) => status::SUCCESS,
        Some(Severity::Warning | Severity::Fault | Severity::Error) => status::FAILURE,
    };
    (report, conf::exit_status(loaded), strict)
}

fn starts(loaded: &Loaded) -> bool {
    !loaded.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{}: error: {error}", path.display())
}

/// Runs the daemon.
fn run(options: &Options, notes: &[String]) -> i32 {
    if !nix::unistd::geteuid().is_root() {
        say("glha: must be run as root (only -t, -v, -h and --signum need not)");
        return status::NO_PERMISSION;
    }
    let (log_settings, facility_note) = log_settings(options);
    let Ok(log) = logging::install(&log_settings) else {
        say("glha: the log is set up already");
        return status::FAILURE;
    };
    // First of all: a reload that is asked for while the configuration is read is one for later, and no
    // end of the daemon.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tell(options, &format!("cannot start: signal handlers: {error}"));
            return status::FAILURE;
        }
    };
    for note in notes.iter().chain(&facility_note) {
        log::warn!("{note}");
    }
    log::info!("Starting glha v{}", env!("CARGO_PKG_VERSION"));
    let path = absolute(options.use_file.clone().unwrap_or_else(load::default_path));
    let context = context(options);
    // A copy of this process: the less there is in its memory, the better.
    let pen = spare_pen();
    let loaded = match load(&path, &context) {
        Ok(loaded) => loaded,
        Err(error) => {
            tell(options, &unreadable(&path, &error));
            return status::NOT_CONFIGURED;
        }
    };
    log::info!("Configuration file {}", path.display());
    if let Some(mark) = loaded.config.global.daemon.mark() {
        log.set_mark(&mark);
    }
    let pid_paths = pid_paths(options, &loaded);
    if let Some(pid) = running_daemon(&pid_paths) {
        return already_running(options, pid);
    }
    if let Some(pid) = client::listener(&run_folder(&loaded.config.global.daemon)) {
        return folder_taken(options, &loaded, pid);
    }
    report(options, &loaded);
    if !starts(&loaded) {
        return status::CONFIG;
    }
    if !options.dont_fork
        && let Err(error) = background::detach(&log)
    {
        tell(options, &format!("cannot go to the background: {error}"));
        return status::FAILURE;
    }
    let pid_files = match create_pid_files(&pid_paths) {
        Ok(pid_files) => pid_files,
        Err(Refused::Running(pid)) => return already_running(options, pid),
        Err(Refused::Failed(error)) => {
            tell(options, &format!("pid file: {error}; the daemon cannot be found without it"));
            return status::FAILURE;
        }
    };
    // From now on there may be something to let go of.
    let _ = std::fs::remove_file(released_mark(&loaded));
    if loaded.config.instances.is_empty() {
        log::info!("glha has no configuration to run");
    }
    if options.no_bfd && !loaded.config.spec.bfds.is_empty() {
        log::warn!("-B: no BFD session is run, and each is taken for down by who tracks it");
    }
    let settings = Settings {
        config_path: path,
        context,
        loaded,
        log,
        pid_files,
        pen,
        dont_release: options.dont_release_vrrp,
        dump_conf: options.dump_conf,
        address_monitoring: options.address_monitoring,
        no_bfd: options.no_bfd,
        log_events: options.log_events,
        umask: options.umask,
    };
    shell::run(settings, signals)
}

/// It exists from a release that let go of everything to the next start of a daemon.
fn released_mark(loaded: &Loaded) -> PathBuf {
    run_folder(&loaded.config.global.daemon).join("released")
}

/// `glha release`: without a daemon, lets go of what a former run still holds.
fn release(options: &Options) -> i32 {
    if !nix::unistd::geteuid().is_root() {
        say("glha: release must be run as root");
        return status::NO_PERMISSION;
    }
    let (log_settings, _) = log_settings(options);
    let console = options.no_syslog || !is_journal();
    if logging::install(&LogSettings { console, ..log_settings }).is_err() {
        say("glha: the log is set up already");
        return status::FAILURE;
    }
    let path = absolute(options.use_file.clone().unwrap_or_else(load::default_path));
    let loaded = match load(&path, &context(options)) {
        Ok(loaded) => loaded,
        Err(error) => {
            say(&unreadable(&path, &error));
            return status::NOT_CONFIGURED;
        }
    };
    let folder = run_folder(&loaded.config.global.daemon);
    let running = running_daemon(&pid_paths(options, &loaded));
    if let Some(pid) = running.or_else(|| client::listener(&folder)) {
        say(&format!("glha: a daemon runs (process {pid}); stop it, and it releases everything"));
        return status::FAILURE;
    }
    if !starts(&loaded) {
        // What is understood of it is enough to let go of that.
        report(options, &loaded);
        log::warn!("The configuration has errors; what is understood of it is released");
    }
    match shell::release::release(&loaded.config) {
        Ok(()) => {
            // glha-release.service asks for it. Without it that runs once more, for nothing.
            let _ = std::fs::write(released_mark(&loaded), "");
            status::SUCCESS
        }
        Err(why) => {
            log::error!("{why}");
            status::FAILURE
        }
    }
}

/// Where the log goes, and what to say of a facility that does not exist: as keepalived, which
/// goes on with its default.
fn log_settings(options: &Options) -> (LogSettings, Option<String>) {
    let name = options.log_facility.as_deref();
    let facility = name.map_or(Some(Facility::DAEMON), Facility::from_name);
    let note = facility
        .is_none()
        .then(|| format!("Invalid log facility '{}', daemon is used", name.unwrap_or_default()));
    let file = options.log_file.then(|| {
        let name = options.log_file_name.clone().unwrap_or_else(|| LOG_FILE.into());
        absolute(logging::vrrp_file(&name))
    });
    let settings = LogSettings {
        console: options.log_console,
        detail: options.log_detail,
        syslog: (!options.no_syslog).then_some(facility.unwrap_or(Facility::DAEMON)),
        file,
    };
    (settings, note)
}

fn context(options: &Options) -> Context {
    Context {
        all_includes: options.all_config,
        net_namespace: options.namespace.clone(),
        ..context_of(options.config_id.clone())
    }
}

/// What the language is told from outside, on the node with this id; none: on this host.
fn context_of(config_id: Option<String>) -> Context {
    let host_name = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let config_id =
        config_id.unwrap_or_else(|| host_name.split('.').next().unwrap_or_default().to_owned());
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Context { config_id, host_name, all_includes: false, environment, ..Context::default() }
}

/// The daemon's working directory will be another.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn pid_paths(options: &Options, loaded: &Loaded) -> Vec<PathBuf> {
    let global = &loaded.config.global;
    let [parent, vrrp] = pidfile::default_paths(global.use_pid_dir, &global.daemon);
    let mut paths = vec![
        absolute(options.pid.clone().unwrap_or(parent)),
        absolute(options.vrrp_pid.clone().unwrap_or(vrrp)),
    ];
    paths.dedup();
    paths
}

fn running_daemon(pid_paths: &[PathBuf]) -> Option<i32> {
    pid_paths.iter().find_map(|path| match pidfile::look(path) {
        Found::Running(pid) => Some(pid),
        Found::Nothing | Found::Ours | Found::Stale => None,
    })
}

fn create_pid_files(paths: &[PathBuf]) -> Result<Vec<PidFile>, Refused> {
    paths.iter().map(|path| PidFile::create(path)).collect()
}

/// Not a failure, as with keepalived: what was asked for is the case.
fn already_running(options: &Options, pid: i32) -> i32 {
    tell(options, &format!("daemon is already running, pid {pid}"));
    status::SUCCESS
}

/// It goes by other pid files, or they were removed. Two of them would take each other's addresses away,
/// and the second would let go of the first one's storage as a former run's.
fn folder_taken(options: &Options, loaded: &Loaded, pid: i32) -> i32 {
    let folder = run_folder(&loaded.config.global.daemon);
    tell(
        options,
        &format!(
            "{} is in use by the daemon with process id {pid}; another one needs a name of its own \
             (instance NAME at the top of its configuration)",
            folder.display()
        ),
    );
    status::FAILURE
}

/// Puts the findings into the log, a line each, and before a person at the terminal, with their
/// source lines. Advice is for `-t`.
fn report(options: &Options, loaded: &Loaded) {
    let serious = |diagnostic: &&Diagnostic| diagnostic.severity > Severity::Note;
    for (severity, text) in loaded.sources.render_all(loaded.diagnostics.iter().filter(serious)) {
        let line = text.lines().next().unwrap_or_default();
        match severity {
            Severity::Error => log::error!("{line}"),
            Severity::Note | Severity::Warning | Severity::Fault => log::warn!("{line}"),
        }
        if !is_seen(options) {
            say(&text);
        }
    }
}

/// To the log, and to a person who does not see it. After the daemon has left the terminal,
/// standard error is /dev/null.
fn tell(options: &Options, text: &str) {
    log::error!("{text}");
    if !is_seen(options) {
        say(&format!("glha: {text}"));
    }
}

/// What is logged comes to standard error by itself: either it is a log, or both end in the journal,
/// where everything would stand twice.
fn is_seen(options: &Options) -> bool {
    options.log_console || !options.no_syslog && is_journal()
}

/// Standard error is a stream to the journal (JOURNAL_STREAM of systemd.exec(5)).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let own = nix::sys::stat::fstat(io::stderr());
    own.is_ok_and(|own| stream == format!("{}:{}", own.st_dev, own.st_ino))
}

/// To standard error; a terminal that is gone is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text.trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::diagnostic::{Source, Sources};
    use crate::conf::{Config, Span};

    fn options(words: &[&str]) -> Options {
        match parse(words.iter().map(Into::into)) {
            Ok((options, _)) => options,
            Err(stop) => panic!("{words:?}: {}", stop.text),
        }
    }

    fn loaded(found: &[(u32, Severity)]) -> Loaded {
        let diagnostics = found
            .iter()
            .map(|&(line, severity)| Diagnostic {
                span: Span { file: 0, line, column: 1, length: 3 },
                severity,
                message: format!("number {line}"),
                suggestion: None,
            })
            .collect();
        let file = Source::new("a.conf".into(), "one\ntwo\n".into());
        let sources = Sources { files: vec![file] };
        Loaded { config: Config::default(), untracked: Vec::new(), diagnostics, sources }
    }

    #[test]
    fn options_reach_their_place() {
        let options = options(&["-nlDfA", "--vrrp_pid=R", "-gLOG", "-i", "node", "-u022"]);
        assert!(options.dont_fork && options.log_console && options.log_detail);
        assert_eq!(options.use_file.as_deref(), Some(Path::new("A")));
        assert_eq!(options.vrrp_pid.as_deref(), Some(Path::new("R")));
        assert_eq!(options.umask, Some(0o22));
        assert_eq!(context(&options).config_id, "node");
        let (settings, note) = log_settings(&options);
        assert!(settings.file.expect("a file").ends_with("LOG_vrrp"));
        assert_eq!(note, None);
    }

    #[test]
    fn a_facility_that_does_not_exist_is_told() {
        let (settings, note) = log_settings(&options(&["-S9"]));
        assert_eq!(settings.syslog, Some(Facility::DAEMON));
        assert!(note.is_some());
        assert_eq!(log_settings(&options(&["-GS1"])).0.syslog, None);
    }

    #[test]
    fn umasks_are_read_as_c_reads_numbers() {
        assert_eq!(parse_umask("022"), Ok(0o22));
        assert_eq!(parse_umask("0x12"), Ok(0o22));
        assert_eq!(parse_umask("18"), Ok(0o22));
        assert_eq!(parse_umask("0"), Ok(0));
        for text in ["", "-1", "0o22", "8z", "01000", "089", "+"] {
            assert!(parse_umask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_verdict_follows_from_the_worst() {
        let (report, _, strict) = judge(&loaded(&[(1, Severity::Note)]));
        assert_eq!(report, "a.conf:1:1: note: number 1\n    one\n    ^~~\nwould start\n");
        assert_eq!(strict, 0);
        let (report, _, strict) = judge(&loaded(&[(1, Severity::Warning), (2, Severity::Note)]));
        assert!(report.ends_with("would start\n"));
        assert_eq!(strict, 1);
        let (report, plain, strict) = judge(&loaded(&[(2, Severity::Error)]));
        assert!(report.ends_with("    two\n    ^~~\nwould not start\n"), "{report}");
        assert_eq!((plain, strict), (4, 1));
    }
}
