//! The commands that talk to a running daemon.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FromArgs};

use super::client::{self, Trouble};
use super::screen::Screen;
use super::{say, show};
use crate::conf::printable;
use crate::shell::operator::control::protocol::{Metrics, Reply, Request, Status, Why};
use crate::shell::operator::control::{RECORDS, state_folder};
use crate::shell::state::record::{Record, RecordFile};

/// Exit statuses.
mod status {
    pub(super) const SUCCESS: i32 = 0;
    /// Refused, or it did not work.
    pub(super) const FAILURE: i32 = 1;
    /// There is no daemon.
    pub(super) const NOT_RUNNING: i32 = 3;
    /// `glha status` cannot tell: 1 means something else there.
    pub(super) const UNKNOWN: i32 = 4;
}

/// How often `glha status --watch` looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The names of the commands.
pub const NAMES: [&str; 9] =
    ["status", "events", "why", "resign", "released", "hold", "unhold", "reload", "metrics"];

/// Shows what each instance is, since when, and why. With several instances the exit status is the
/// highest of theirs.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    error_code(0, "every instance is master"),
    error_code(1, "backup, or on its way"),
    error_code(2, "fault or stuck"),
    error_code(3, "glha is not running"),
    error_code(4, "it cannot be told")
)]
struct StatusArgs {
    /// the answer as it comes, one JSON object
    #[argh(switch)]
    json: bool,
    /// again every second, until it is interrupted
    #[argh(switch)]
    watch: bool,
    /// folder of the daemon's run-time files (/run/glha)
    #[argh(option, arg_name = "FOLDER")]
    run: Option<PathBuf>,
    /// one instance or sync group only
    #[argh(positional)]
    name: Option<String>,
}

/// Shows what happened last, also before a restart: transitions, ends of hooks, what people wanted.
#[derive(FromArgs, ArgsInfo)]
struct EventsArgs {
    /// go on with what happens from now on
    #[argh(switch)]
    follow: bool,
    /// records as they are kept, one JSON object a line
    #[argh(switch)]
    json: bool,
    /// so many at most (50)
    #[argh(option, short = 'n', arg_name = "N")]
    last: Option<usize>,
    /// folder of the daemon's run-time files (/run/glha)
    #[argh(option, arg_name = "FOLDER")]
    run: Option<PathBuf>,
    /// one instance or sync group only
    #[argh(positional)]
    name: Option<String>,
}

/// Says why an instance is where it is, and how it came to this.
#[derive(FromArgs, ArgsInfo)]
struct WhyArgs {
    /// the answer as it comes, one JSON object
    #[argh(switch)]
    json: bool,
    /// folder of the daemon's run-time files (/run/glha)
    #[argh(option, arg_name = "FOLDER")]
    run: Option<PathBuf>,
    /// the instance, or a sync group
    #[argh(positional)]
    name: String,
}

/// Hands an instance over. It stays backup until the other master is gone. If nobody takes over, it
/// takes it back; refused if no other node is known to be there.
#[derive(FromArgs, ArgsInfo)]
struct ResignArgs {
    /// be what it would be, had it not resigned
    #[argh(switch)]
    cancel: bool,
    /// even if nobody is there, and without taking it back
    #[argh(switch)]
    force: bool,
    /// the answer as it comes, one JSON object
    #[argh(switch)]
    json: bool,
    /// folder of the daemon's run-time files (/run/glha)
    #[argh(option, arg_name = "FOLDER")]
    run: Option<PathBuf>,
    /// the instance, or a sync group
    #[argh(positional)]
    name: String,
}

/// Does what its name says with an instance: released is your word that its storage is free
/// everywhere, hold begins maintenance, unhold ends it.
#[derive(FromArgs, ArgsInfo)]
struct InstanceArgs {
    /// the answer as it comes, one JSON object
    #[argh(switch)]
    json: bool,
    /// folder of the daemon's run-time files (/run/glha)
    #[argh(option, arg_name = "FOLDER")]
    run: Option<PathBuf>,
    /// the instance, or a sync group
    #[argh(positional)]
    name: String,
}

/// Has the daemon read its configuration again, and says what is wrong with it if it is refused.
#[derive(FromArgs, ArgsInfo)]
struct ReloadArgs {
    /// the answer as it comes, one JSON object
    #[argh(switch)]
    json: bool,
    /// folder of the daemon's run-time files (/run/glha)
    #[argh(option, arg_name = "FOLDER")]
    run: Option<PathBuf>,
    /// the daemon with this process id, of several
    #[argh(option, arg_name = "PID")]
    pid: Option<i32>,
}

/// Prints states and counters in Prometheus' text format.
#[derive(FromArgs, ArgsInfo)]
struct MetricsArgs {
    /// write them to FILE, whole or not at all, for the textfile collector of node_exporter
    #[argh(option, arg_name = "FILE")]
    file: Option<PathBuf>,
    /// folder of the daemon's run-time files (/run/glha)
    #[argh(option, arg_name = "FOLDER")]
    run: Option<PathBuf>,
}

/// Runs a command; returns the exit status.
pub fn main(name: &str, words: &[&str]) -> i32 {
    let failure = if name == "status" { status::UNKNOWN } else { status::FAILURE };
    let result = match name {
        "status" => parse(name, words, failure).and_then(|args: StatusArgs| {
            if args.watch { watch(&args) } else { tried(failure, show_status(&args)) }
        }),
        "events" => parse(name, words, failure).and_then(|args| tried(failure, show_events(&args))),
        "why" => parse(name, words, failure).and_then(|args| tried(failure, show_why(&args))),
        "resign" => parse(name, words, failure).and_then(|args: ResignArgs| {
            let ResignArgs { cancel, force, json, run, name: instance } = args;
            let request = Request::Resign { instance, force, cancel };
            tried(failure, do_it(run.as_deref(), &request, json))
        }),
        "reload" => {
            parse(name, words, failure).and_then(|args: ReloadArgs| tried(failure, reload(&args)))
        }
        "metrics" => parse(name, words, failure).and_then(|args| tried(failure, metrics(&args))),
        _ => parse(name, words, failure).and_then(|args: InstanceArgs| {
            let instance = args.name;
            let request = match name {
                "released" => Request::Released { instance },
                "hold" => Request::Hold { instance },
                _ => Request::Unhold { instance },
            };
            tried(failure, do_it(args.run.as_deref(), &request, args.json))
        }),
    };
    result.unwrap_or_else(|status| status)
}

/// All commands, with what each may be followed by.
pub fn infos() -> Vec<(&'static str, CommandInfoWithArgs)> {
    let info = |name| match name {
        "status" => StatusArgs::get_args_info(),
        "events" => EventsArgs::get_args_info(),
        "why" => WhyArgs::get_args_info(),
        "resign" => ResignArgs::get_args_info(),
        "reload" => ReloadArgs::get_args_info(),
        "metrics" => MetricsArgs::get_args_info(),
        _ => InstanceArgs::get_args_info(),
    };
    NAMES.iter().map(|&name| (name, info(name))).collect()
}

/// The arguments of a command; without them, the exit status.
pub(super) fn parse<T: FromArgs>(name: &str, words: &[&str], failure: i32) -> Result<T, i32> {
    T::from_args(&["glha", name], words).map_err(|EarlyExit { output, status }| {
        if status.is_ok() {
            print(&output);
            return status::SUCCESS;
        }
        say(&format!("glha {name}: {}\nglha {name} --help tells more", output.trim_end()));
        failure
    })
}

/// Says what went wrong; the exit status.
fn tried(failure: i32, result: Result<i32, Trouble>) -> Result<i32, i32> {
    result.map_err(|trouble| match trouble {
        Trouble::NotRunning(text) => {
            say(&text);
            status::NOT_RUNNING
        }
        Trouble::Refused(reply) => {
            say(&format!("glha: {}", reply.text));
            reply.diagnostics.iter().for_each(|diagnostic| say(diagnostic));
            failure
        }
        Trouble::Failed(text) => {
            say(&format!("glha: {text}"));
            failure
        }
    })
}

/// Shows it again and again; also while there is no daemon, whose start is worth to be seen. Ends when
/// nobody reads it any more.
fn watch(args: &StatusArgs) -> Result<i32, i32> {
    let is_screen = io::stdout().is_terminal();
    loop {
        let shown =
            ask_status(args).map(|(text, _)| text).unwrap_or_else(|trouble| match trouble {
                Trouble::NotRunning(text) | Trouble::Failed(text) => format!("{text}\n"),
                Trouble::Refused(reply) => format!("{}\n", reply.text),
            });
        // From the top left, each line and then the screen cleared of what stood there before.
        let shown = if is_screen {
            format!("\x1b[H{}\x1b[J", shown.replace('\n', "\x1b[K\n"))
        } else if args.json {
            shown
        } else {
            shown + "\n"
        };
        if !print(&shown) {
            return Ok(status::SUCCESS);
        }
        thread::sleep(WATCH_INTERVAL);
    }
}

fn show_status(args: &StatusArgs) -> Result<i32, Trouble> {
    let (text, status) = ask_status(args)?;
    print(&text);
    Ok(status)
}

/// What is to be shown, and the exit status.
fn ask_status(args: &StatusArgs) -> Result<(String, i32), Trouble> {
    let request = Request::Status { instance: args.name.clone() };
    let folder = client::folder(args.run.as_deref())?;
    let (line, told): (String, Status) = client::ask(&folder, &request)?.whole()?;
    let text = if args.json { line } else { Screen::of_stdout().show(&show::status(&told)) };
    let worst = told.instances.iter().map(|instance| match instance.phase.as_str() {
        "master" => 0,
        "fault" | "stuck" => 2,
        _ => 1,
    });
    Ok((text, worst.max().unwrap_or(1)))
}

fn show_why(args: &WhyArgs) -> Result<i32, Trouble> {
    let request = Request::Why { instance: args.name.clone() };
    let folder = client::folder(args.run.as_deref())?;
    let (line, told): (String, Why) = client::ask(&folder, &request)?.whole()?;
    print(&if args.json { line } else { printable(&show::why(&told)).into_owned() });
    Ok(status::SUCCESS)
}

fn show_events(args: &EventsArgs) -> Result<i32, Trouble> {
    let request =
        Request::Events { instance: args.name.clone(), last: args.last, follow: args.follow };
    let show = |line: &str| {
        let record = serde_json::from_str::<Record>(line).ok();
        match record.filter(|_| !args.json) {
            Some(record) => print(&(show::event(&record, true) + "\n")),
            None => print(&format!("{line}\n")),
        }
    };
    let folder = client::folder(args.run.as_deref())?;
    let answer = match client::ask(&folder, &request) {
        Err(Trouble::NotRunning(text)) => {
            former_records(&folder, args).iter().for_each(|line| {
                show(line);
            });
            return Err(Trouble::NotRunning(text));
        }
        answer => answer?,
    };
    answer.each(args.follow, |line| {
        // Those that were kept end with a word of the daemon.
        if serde_json::from_str::<Reply>(line).is_ok() { args.follow } else { show(line) }
    })?;
    Ok(status::SUCCESS)
}

/// So much of the end of the files is looked through where no daemon runs.
const FORMER_BYTES_MAX: u64 = 1 << 20;

/// What a daemon that is gone has written.
fn former_records(folder: &Path, args: &EventsArgs) -> Vec<String> {
    let file = RecordFile::new(state_folder(folder).join(RECORDS));
    let mut lines = file.read(FORMER_BYTES_MAX);
    lines.retain(|(instance, _)| args.name.is_none() || *instance == args.name);
    let last = lines.split_off(lines.len().saturating_sub(args.last.unwrap_or(50)));
    last.into_iter().map(|(_, line)| line).collect()
}

/// A request that is answered in a sentence.
fn do_it(run: Option<&Path>, request: &Request, is_json: bool) -> Result<i32, Trouble> {
    let folder = client::folder(run)?;
    let answer = client::ask(&folder, request)?;
    match answer.whole::<Reply>() {
        Ok((line, reply)) => {
            print(&if is_json { line } else { format!("{}\n", reply.text) });
            match reply.warning {
                None => Ok(status::SUCCESS),
                Some(warning) => Err(Trouble::Failed(warning)),
            }
        }
        Err(Trouble::Refused(reply)) if is_json => {
            print(&format!("{}\n", serde_json::to_string(&reply).unwrap_or_default()));
            Ok(status::FAILURE)
        }
        Err(trouble) => Err(trouble),
    }
}

fn reload(args: &ReloadArgs) -> Result<i32, Trouble> {
    let of_pid = args.pid.map(client::folder_of).transpose()?;
    do_it(of_pid.as_deref().or(args.run.as_deref()), &Request::Reload, args.json)
}

fn metrics(args: &MetricsArgs) -> Result<i32, Trouble> {
    let folder = client::folder(args.run.as_deref())?;
    let (_, told): (_, Metrics) = client::ask(&folder, &Request::Metrics)?.whole()?;
    match &args.file {
        None => {
            print(&told.metrics);
        }
        Some(path) => replace(path, told.metrics.as_bytes())
            .map_err(|error| Trouble::Failed(format!("{}: {error}", path.display())))?,
    }
    Ok(status::SUCCESS)
}

/// Others must be able to read it, and only whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// To standard output; false if nobody reads it any more.
pub(super) fn print(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}
