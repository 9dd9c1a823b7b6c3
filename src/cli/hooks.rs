//! `glha hooks list|run|check`: the scripts of a configuration, one by one.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FromArgs};
use serde_json::{Map, Value};

use super::{absolute, context_of, running_daemon, say, status, unreadable};
use crate::conf::{self, Config, Loaded, NotifyScripts, Script, Severity};
use crate::core::event::{Facts, HookEnd, MountAction, NotifyState, PeerFacts};
use crate::core::spec::{CheckId, GateSpec, InstanceId};
use crate::shell::audit::load::{self, load};
use crate::shell::audit::{audit, look_around};
use crate::shell::hooks::commands::NOTIFY_TIMEOUT;
use crate::shell::hooks::compose::Hooks;
use crate::shell::hooks::run::Run;
use crate::shell::hooks::wait::wait_for;
use crate::shell::host::log::{self as logging, LogSettings};
use crate::shell::host::pidfile;
use crate::work::Key;

/// A hook was ended after its timeout; as timeout(1) says it.
const TIMED_OUT: i32 = 124;
/// A hook could not be started; as a shell says it.
const NOT_STARTED: i32 = 126;
/// `check`: something above a note was found.
const FOUND: i32 = 1;

/// The scripts of a configuration: which there are, one of them as the daemon would run it, and
/// what looks wrong in them.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help"))]
struct Options {
    /// configuration file; otherwise that of the daemon
    #[argh(option, short = 'f', arg_name = "FILE")]
    use_file: Option<PathBuf>,

    /// the node's id, for lines that begin with @ID
    #[argh(option, short = 'i', arg_name = "ID")]
    config_id: Option<String>,

    #[argh(subcommand)]
    command: Command,
}

#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
enum Command {
    List(List),
    Run(RunOne),
    Check(Check),
}

/// Lists every script, when it runs, for how long it may, as whom.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list", help_triggers("-h", "--help"))]
struct List {}

/// Looks into every script for what is likely to go wrong. Runs none of them, but asks a mount hook that
/// knows the action `check`.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "check",
    help_triggers("-h", "--help"),
    error_code(0, "nothing above a note was found"),
    error_code(1, "something was found"),
    error_code(4, "glha would not start with it")
)]
struct Check {}

/// Runs one hook exactly as the daemon would: arguments, standard input, environment, user, timeout.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "run",
    help_triggers("-h", "--help"),
    note = "What is run:\n\
            mount acquire|release|probe NAME       the mount hook of an instance\n\
            notify MASTER|BACKUP|FAULT|STOP NAME   its notify scripts, in order\n\
            check NAME                             a vrrp_script, or the check hook of an instance\n\n\
            EVENT is a JSON object; its fields replace those that are made up: state, previous, phase,\n\
            reason, detail, transition, priority, how, released, lost, peer.",
    example = "See what the mount hook would be told, then let it look at the disk:\n\
               {command_name} --dry-run mount acquire VI_1\n{command_name} mount probe VI_1",
    error_code(0, "the hook's own exit status; of several, the first that is not 0"),
    error_code(124, "it was ended after its timeout"),
    error_code(126, "it could not be started")
)]
struct RunOne {
    /// show what would be run, and run nothing
    #[argh(switch)]
    dry_run: bool,

    /// take or give back storage although a daemon runs
    #[argh(switch)]
    force: bool,

    /// a file with an event, - for standard input
    #[argh(option, arg_name = "EVENT")]
    event: Option<PathBuf>,

    /// which hook
    #[argh(positional, arg_name = "HOOK")]
    what: Vec<String>,
}

/// The end of a command before its end.
type Fail = (String, i32);

/// What it may be followed by.
pub(super) fn info() -> CommandInfoWithArgs {
    Options::get_args_info()
}

/// Runs the command and returns its exit status.
pub(super) fn main(argv: impl Iterator<Item = OsString>) -> i32 {
    let words: Vec<String> = argv.map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match Options::from_args(&["glha", "hooks"], &words) {
        Ok(options) => obey(&options).unwrap_or_else(|(text, status)| {
            say(&text);
            status
        }),
        Err(EarlyExit { output, status: Ok(()) }) => {
            print!("{output}");
            status::SUCCESS
        }
        Err(EarlyExit { output, status: Err(()) }) => {
            say(output.trim_end());
            status::FAILURE
        }
    }
}

fn obey(options: &Options) -> Result<i32, Fail> {
    let path = absolute(options.use_file.clone().unwrap_or_else(load::default_path));
    let loaded = load(&path, &context_of(options.config_id.clone()))
        .map_err(|error| (unreadable(&path, &error), status::NOT_CONFIGURED))?;
    match &options.command {
        Command::List(_) => {
            print!("{}", list(&loaded.config));
            Ok(status::SUCCESS)
        }
        Command::Check(_) => Ok(check(&loaded)),
        Command::Run(run) => run_one(&loaded.config, run),
    }
}

/// A line of the list.
struct Row<'a> {
    owner: &'a str,
    hook: String,
    when: String,
    timeout: Duration,
    script: &'a Script,
}

fn list(config: &Config) -> String {
    let rows = rows(config);
    if rows.is_empty() {
        return "no scripts\n".to_owned();
    }
    let default = config.global.script_user.as_ref().map(|user| user.user.as_str());
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            let user = row.script.user.as_ref().map(|user| user.user.as_str()).or(default);
            [
                row.owner.to_owned(),
                row.hook.clone(),
                row.when.clone(),
                seconds(row.timeout),
                user.unwrap_or("-").to_owned(),
                row.script.argv.join(" "),
            ]
        })
        .collect();
    let head = ["OF", "HOOK", "RUNS", "TIMEOUT", "USER", "COMMAND"].map(str::to_owned);
    let all: Vec<&[String; 6]> = std::iter::once(&head).chain(&cells).collect();
    let mut out = String::new();
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn rows(config: &Config) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (spec, conf) in config.spec.instances.iter().zip(&config.instances) {
        let gate = spec.gate.as_ref();
        rows.extend(of_one(&spec.name, conf.hooks.as_deref(), gate, &conf.notify));
    }
    for (spec, conf) in config.spec.groups.iter().zip(&config.groups) {
        // All members have the group's gate.
        let first = spec.members.first().and_then(|id| config.spec.instances.get(*id));
        let gate = first.and_then(|first| first.gate.as_ref());
        rows.extend(of_one(&spec.name, conf.hooks.as_deref(), gate, &conf.notify));
    }
    for (spec, conf) in config.spec.checks.iter().zip(&config.checks) {
        let when =
            format!("every {}, fall {}, rise {}", seconds(spec.interval), spec.fall, spec.rise);
        rows.push(Row {
            owner: &spec.name,
            hook: if conf.hook_of.is_some() { "check hook" } else { "vrrp_script" }.into(),
            when,
            timeout: spec.timeout,
            script: &conf.script,
        });
    }
    rows
}

/// What an instance or a group has: the hooks of its block, and its notify scripts of
/// keepalived.conf, of the states master, backup, fault and stop, and of all.
fn of_one<'a>(
    owner: &'a str,
    hooks: Option<&'a conf::Hooks>,
    gate: Option<&GateSpec>,
    scripts: &'a NotifyScripts,
) -> Vec<Row<'a>> {
    let told = [
        ("notify_master", "on MASTER", &scripts.master),
        ("notify_backup", "on BACKUP", &scripts.backup),
        ("notify_fault", "on FAULT", &scripts.fault),
        ("notify_stop", "on STOP", &scripts.stop),
        ("notify_deleted", "on DELETED", &scripts.deleted),
        ("notify_master_rx_lower_pri", "on MASTER_RX_LOWER_PRI", &scripts.lower_priority),
        ("notify", "on every state", &scripts.every),
    ];
    let mut rows = Vec::new();
    if let (Some(mount), Some(gate)) = (hooks.and_then(|hooks| hooks.mount.as_ref()), gate) {
        let probe = gate.probe.map(|every| format!(", probe every {}", seconds(every)));
        let when = format!("acquire, release{}", probe.unwrap_or_default());
        let (timeout, script) = (gate.timeout, &mount.script);
        rows.push(Row { owner, hook: "mount".into(), when, timeout, script });
    }
    let notify = hooks.and_then(|hooks| hooks.notify.as_ref());
    let timeout = notify.map_or(NOTIFY_TIMEOUT, |hook| hook.timeout);
    for (hook, when, script) in told {
        let row = |script| Row { owner, hook: hook.into(), when: when.into(), timeout, script };
        rows.extend(script.as_deref().map(row));
    }
    rows.extend(notify.map(|hook| Row {
        owner,
        hook: "notify hook".into(),
        when: "on every state, and on conflicts".into(),
        timeout,
        script: &hook.script,
    }));
    rows
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

fn check(loaded: &Loaded) -> i32 {
    let mut found = audit(&loaded.config);
    found.extend(look_around(&loaded.config, false));
    found.sort_by_key(|diagnostic| diagnostic.span);
    for diagnostic in &found {
        println!("{}", loaded.sources.render(diagnostic));
    }
    match found.iter().map(|diagnostic| diagnostic.severity).max() {
        None => {
            println!("nothing to say");
            status::SUCCESS
        }
        Some(Severity::Note) => status::SUCCESS,
        Some(Severity::Warning | Severity::Fault) => FOUND,
        Some(Severity::Error) => status::WOULD_NOT_START,
    }
}

fn run_one(config: &Config, options: &RunOne) -> Result<i32, Fail> {
    let words: Vec<&str> = options.what.iter().map(String::as_str).collect();
    let event = options.event.as_deref().map(read_event).transpose()?;
    let (key, runs) = runs(config, &words, event.as_ref())?;
    if options.dry_run {
        runs.iter().for_each(|run| print!("{}", show(run)));
        return Ok(status::SUCCESS);
    }
    if !nix::unistd::geteuid().is_root() {
        let text = "glha: hooks run must be run as root, as the daemon does; --dry-run shows what would be run";
        return Err((text.to_owned(), status::NO_PERMISSION));
    }
    let moves_storage = matches!(words.as_slice(), ["mount", "acquire" | "release", _]);
    let daemon =
        running_daemon(&pidfile::default_paths(config.global.use_pid_dir, &config.global.daemon));
    if let Some(pid) = daemon.filter(|_| moves_storage && !options.force) {
        let text = format!(
            "glha: a daemon runs (process {pid}), and the storage is its business; stop it first, or say \
             --force if you know that it does not matter"
        );
        return Err((text, status::FAILURE));
    }
    let settings = LogSettings { console: true, detail: false, syslog: None, file: None };
    if logging::install(&settings).is_err() {
        return Err(("glha: the log is set up already".to_owned(), status::FAILURE));
    }
    let mut worst = status::SUCCESS;
    for run in runs {
        let name = run.name.clone();
        let timeout = Some(run.timeout.unwrap_or(NOTIFY_TIMEOUT));
        let end = wait_for(key, Run { timeout, ..run }, None)
            .map_err(|error| (format!("glha: {name}: {error}"), status::FAILURE))?
            .end;
        log::info!("{name}: {end}");
        if worst == status::SUCCESS {
            worst = exit_status(&end);
        }
    }
    Ok(worst)
}

const fn exit_status(end: &HookEnd) -> i32 {
    match end {
        HookEnd::Exited(status) => *status,
        HookEnd::Signalled(signal) => 128 + *signal,
        HookEnd::TimedOut | HookEnd::Ended => TIMED_OUT,
        HookEnd::NotStarted(_) => NOT_STARTED,
    }
}

/// What is to be run, by the words of the command line.
fn runs(
    config: &Config,
    words: &[&str],
    event: Option<&Map<String, Value>>,
) -> Result<(Key, Vec<Run>), Fail> {
    let mut hooks = Hooks::new();
    match words {
        ["mount", action, name] => {
            let all = [MountAction::Acquire, MountAction::Release, MountAction::Probe];
            let action = *one_of(action, &all, MountAction::word)?;
            let id = instance(config, name)?;
            let facts = facts(config, id, Sample::Mount(action), event)?;
            let gate = config.spec.instances.get(id).and_then(|spec| spec.gate.as_ref());
            let timeout = gate.map_or(Duration::ZERO, |gate| gate.timeout);
            let run = hooks.mount(config, id, action, timeout, &facts);
            let run = run.ok_or_else(|| wrong(&format!("{name} has no mount hook")))?;
            Ok((Key::Mount(id), vec![run]))
        }
        ["notify", state, name] => {
            use NotifyState::{Backup, Deleted, Fault, LowerPriority, Master, Stop};
            let all = [Master, Backup, Fault, Stop, Deleted, LowerPriority];
            let state = *one_of(state, &all, NotifyState::word)?;
            let id = instance(config, name)?;
            let facts = facts(config, id, Sample::Notify(state), event)?;
            let runs = hooks.notify(config, id, state, &facts);
            if runs.is_empty() {
                return Err(wrong(&format!("{name} has no notify script for {}", state.word())));
            }
            Ok((Key::Notify(id), runs))
        }
        ["check", name] => {
            let hook = format!("{name}.check");
            let checks = &config.spec.checks;
            let place = checks.iter().position(|check| check.name == *name || check.name == hook);
            let id = CheckId(place.ok_or_else(|| {
                let known = checks.iter().map(|check| check.name.as_str());
                unknown("check", name, known)
            })?);
            let owner = config.checks.get(id).and_then(|conf| conf.hook_of);
            let about = match owner {
                Some(owner) => Some((owner, facts(config, owner, Sample::Check, event)?)),
                None => None,
            };
            let run = hooks.check(config, id, about);
            let run = run.ok_or_else(|| wrong(&format!("{name} has no script")))?;
            Ok((Key::Check(id), vec![run]))
        }
        _ => Err(wrong(
            "run what? mount acquire|release|probe NAME, notify MASTER|BACKUP|FAULT|STOP NAME, or check NAME",
        )),
    }
}

fn wrong(text: &str) -> Fail {
    (format!("glha: {text}"), status::FAILURE)
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Fail {
    let known: Vec<&str> = known.collect();
    wrong(&format!("there is no {what} {name}; there are: {}", known.join(", ")))
}

fn one_of<'a, T>(word: &str, all: &'a [T], name: fn(T) -> &'static str) -> Result<&'a T, Fail>
where
    T: Copy,
{
    all.iter().find(|&&one| name(one) == word).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&one| name(one)).collect();
        wrong(&format!("{word}: one of {} is meant", names.join(", ")))
    })
}

fn instance(config: &Config, name: &str) -> Result<InstanceId, Fail> {
    let specs = &config.spec.instances;
    let group = config.spec.groups.iter().find(|group| group.name == name);
    let first = group.and_then(|group| group.members.first()).map(|id| id.0);
    // A group's hooks are told about its first member.
    let place = specs.iter().position(|spec| spec.name == name).or(first);
    let names = specs.iter().map(|spec| spec.name.as_str());
    place.map(InstanceId).ok_or_else(|| unknown("instance", name, names))
}

/// What the made-up event is about.
#[derive(Clone, Copy)]
enum Sample {
    Mount(MountAction),
    Notify(NotifyState),
    Check,
}

/// What the core would say: made up for the occasion, with the fields of an event in place of its
/// own.
fn facts(
    config: &Config,
    id: InstanceId,
    sample: Sample,
    event: Option<&Map<String, Value>>,
) -> Result<Facts, Fail> {
    let Some(spec) = config.spec.instances.get(id) else {
        return Err(wrong("there is no such instance"));
    };
    let (state, previous, phase, reason, how) = match sample {
        Sample::Mount(MountAction::Acquire) => {
            ("MASTER", "BACKUP", "acquiring", "master_down", Some("silent"))
        }
        Sample::Mount(MountAction::Release) => ("BACKUP", "MASTER", "releasing", "person", None),
        Sample::Mount(MountAction::Probe) => ("MASTER", "BACKUP", "master", "probe", None),
        Sample::Notify(NotifyState::Master) => ("MASTER", "BACKUP", "master", "acquired", None),
        Sample::Notify(NotifyState::Backup) => {
            ("BACKUP", "MASTER", "backup", "better_master", None)
        }
        Sample::Notify(NotifyState::Fault) => ("FAULT", "MASTER", "fault", "check_failed", None),
        Sample::Notify(NotifyState::Stop) => ("STOP", "MASTER", "stopped", "stop", None),
        Sample::Notify(NotifyState::Deleted) => ("STOP", "BACKUP", "stopped", "removed", None),
        Sample::Notify(NotifyState::LowerPriority) => {
            ("MASTER", "BACKUP", "master", "conflict", None)
        }
        Sample::Check => ("MASTER", "BACKUP", "master", "acquired", None),
    };
    let group = config.group_of(id).and_then(|place| config.spec.groups.get(place));
    let mut facts = Facts {
        instance: spec.name.clone(),
        group: group.map(|group| group.name.clone()),
        state,
        previous,
        phase,
        reason,
        detail: "a trial by hand".into(),
        transition: 1,
        vrid: spec.vrid,
        priority: spec.priority,
        peer: None,
        how,
        released: false,
        lost: false,
    };
    for (key, value) in event.into_iter().flatten() {
        set(&mut facts, key, value).map_err(|why| wrong(&format!("the event's {key}: {why}")))?;
    }
    Ok(facts)
}

/// Takes over a field of an event. The command ends soon, so words may stay for ever.
fn set(facts: &mut Facts, key: &str, value: &Value) -> Result<(), String> {
    let word = || value.as_str().map(str::to_owned).ok_or("a string is meant");
    let lasting = || word().map(|word| &*word.leak());
    let switch = || value.as_bool().ok_or("true or false is meant");
    let small = |value: &Value| {
        let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
        number.ok_or("a number from 0 to 255 is meant")
    };
    match key {
        "state" => facts.state = lasting()?,
        "previous" => facts.previous = lasting()?,
        "phase" => facts.phase = lasting()?,
        "reason" => facts.reason = lasting()?,
        "detail" => facts.detail = word()?,
        "transition" => facts.transition = value.as_u64().ok_or("a number is meant")?,
        "priority" => facts.priority = small(value)?,
        "how" => facts.how = Some(lasting()?),
        "released" => facts.released = switch()?,
        "lost" => facts.lost = switch()?,
        "peer" => {
            let address = value.get("address").and_then(Value::as_str).unwrap_or_default();
            let last_seen = value.get("last_seen_ms").and_then(Value::as_u64).unwrap_or_default();
            facts.peer = Some(PeerFacts {
                address: address.parse().map_err(|_| "its address is none".to_owned())?,
                priority: small(value.get("priority").unwrap_or(&Value::Null))?,
                last_seen: Duration::from_millis(last_seen),
            });
        }
        // The rest of an event that was recorded: the configuration and the clock say it anew.
        "schema" | "id" | "time" | "node" | "event" | "action" | "check" | "instance" | "group"
        | "vrid" | "interface" | "addresses" | "timeout_ms" | "env" | "mail" => {}
        _ => return Err("no such field".into()),
    }
    Ok(())
}

fn read_event(path: &Path) -> Result<Map<String, Value>, Fail> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|whole| text = whole)
    };
    let fail = |why: &dyn std::fmt::Display| wrong(&format!("{}: {why}", path.display()));
    read.map_err(|error| fail(&error))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(fail(&"an event is a JSON object")),
        Err(error) => Err(fail(&error)),
    }
}

/// Everything that a run would be started with.
fn show(run: &Run) -> String {
    let mut out = format!("# {}\n", run.name);
    let user = run.user.map_or_else(
        || "that of the daemon".to_owned(),
        |ids| format!("uid {}, gid {}", ids.uid, ids.gid),
    );
    let _ = writeln!(out, "argv     {}", run.argv.join(" "));
    let _ = writeln!(out, "user     {user}");
    let _ = writeln!(out, "timeout  {}", run.timeout.map_or("none".into(), seconds));
    let _ = writeln!(out, "environment");
    for (key, value) in &run.env {
        let _ = writeln!(out, "  {}={}", key.display(), value.display());
    }
    let _ = writeln!(out, "standard input");
    let _ = write!(out, "  {}", String::from_utf8_lossy(&run.stdin));
    out
}
