//! `glha rehearse CONF [PEER.CONF ...]`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FromArgs};

use super::{context_of, say, status};
use crate::conf::{Loaded, Severity, printable};
use crate::rehearse::{Actor, instances, rehearse};
use crate::shell::audit::load::load;

/// Everything came back, and nothing was found.
const CONTENT: i32 = 0;
/// There are warnings, or a scene ends badly.
const DOUBTFUL: i32 = 1;

/// Plays failures of a pair through the real rules, in simulated time: which scripts run where, in
/// which order, and how long the service is away. Runs and changes nothing.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help"),
    note = "Each node's configuration is a FILE, or FILE@ID: the file as the node with that id (-i) reads\n\
            it. With one FILE both nodes have it.",
    example = "The two nodes of the example configuration:\n\
               {command_name} /etc/glha/glha.conf@first /etc/glha/glha.conf@second",
    error_code(0, "the service came back in every scene, and nothing else was found"),
    error_code(1, "there are warnings, or a scene ends badly"),
    error_code(2, "a configuration has an error"),
    error_code(6, "a configuration cannot be read")
)]
struct Options {
    /// draw the scenes into FILE as well (SVG)
    #[argh(option, arg_name = "FILE")]
    svg: Option<PathBuf>,

    /// the instance; otherwise the first one with storage, or the first one
    #[argh(option, arg_name = "NAME")]
    instance: Option<String>,

    /// the configurations of the nodes
    #[argh(positional, arg_name = "FILE[@ID]")]
    files: Vec<String>,
}

/// What it may be followed by.
pub(super) fn info() -> CommandInfoWithArgs {
    Options::get_args_info()
}

/// Runs the command and returns its exit status.
pub(super) fn main(argv: impl Iterator<Item = OsString>) -> i32 {
    let words: Vec<String> = argv.map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let options = match Options::from_args(&["glha", "rehearse"], &words) {
        Ok(options) => options,
        Err(EarlyExit { output, status: Ok(()) }) => {
            print!("{output}");
            return status::SUCCESS;
        }
        Err(EarlyExit { output, status: Err(()) }) => {
            say(output.trim_end());
            return status::FAILURE;
        }
    };
    play(options).unwrap_or_else(|(text, status)| {
        say(&text);
        status
    })
}

fn play(options: Options) -> Result<i32, (String, i32)> {
    let mut files = options.files;
    match files.as_slice() {
        [] => {
            let text = "glha: rehearse what? Name the configuration of each node: glha rehearse FILE [FILE]";
            return Err((text.into(), status::FAILURE));
        }
        [only] => files.push(only.clone()),
        [_, _, ..] => {}
    }
    let loaded = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let names = names(&files, &loaded);
    let actors: Vec<Actor<'_>> = names
        .iter()
        .zip(&loaded)
        .map(|(name, loaded)| Actor { name, config: &loaded.config })
        .collect();
    let known = instances(&actors);
    let instance = match &options.instance {
        Some(name) => name,
        None => known.first().ok_or_else(|| {
            let text = "glha: these configurations have no instance in common, by name".to_owned();
            (text, status::CONFIG)
        })?,
    };
    let rehearsal = rehearse(&actors, instance).map_err(|why| {
        let known = known.join(", ");
        (format!("glha: {why}; all nodes have: {known}"), status::FAILURE)
    })?;
    let is_advised = advise(&files, &loaded);
    print!("{}", printable(&rehearsal.text()));
    let rest: Vec<&str> =
        known.iter().map(String::as_str).filter(|name| *name != instance).collect();
    if !rest.is_empty() && options.instance.is_none() {
        println!("Not played: {} (--instance NAME)", rest.join(", "));
    }
    if let Some(path) = &options.svg {
        fs::write(path, rehearsal.picture())
            .map_err(|error| (format!("glha: {}: {error}", path.display()), status::FAILURE))?;
    }
    Ok(if rehearsal.is_content() && !is_advised { CONTENT } else { DOUBTFUL })
}

/// Prints what `glha -t` has to say about each file, each thing once; was there more than notes?
fn advise(files: &[String], loaded: &[Loaded]) -> bool {
    let mut said = Vec::new();
    let mut is_advised = false;
    for (file, loaded) in files.iter().zip(loaded) {
        for diagnostic in &loaded.diagnostics {
            let place = loaded.sources.locate(diagnostic.span);
            let word = diagnostic.severity;
            let line = format!("{place}: {word}: {}", diagnostic.message);
            is_advised |= diagnostic.severity > Severity::Note;
            if !said.contains(&line) {
                if said.is_empty() {
                    println!("What `glha -t` says (with {} first):", file);
                }
                println!("{line}");
                said.push(line);
            }
        }
    }
    if !said.is_empty() {
        println!();
    }
    is_advised
}

/// The configuration of `FILE` or `FILE@ID`.
fn read(file: &str) -> Result<Loaded, (String, i32)> {
    let (path, id) = split(file);
    let context = context_of(id.map(str::to_owned));
    let loaded = load(path, &context)
        .map_err(|error| (format!("glha: {}: {error}", path.display()), status::NOT_CONFIGURED))?;
    let errors: Vec<String> = loaded
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| loaded.sources.render(diagnostic))
        .collect();
    // An interface that only the other machine has, or a script that is only there, is no reason
    // not to play: what counts is that the core can be given something to do.
    if loaded.config.spec.instances.is_empty() {
        let text = format!("{}glha: {}: no instance to play", errors.concat(), path.display());
        return Err((text, status::CONFIG));
    }
    Ok(loaded)
}

fn split(file: &str) -> (&Path, Option<&str>) {
    match file.rsplit_once('@') {
        Some((path, id)) if !Path::new(file).exists() => (Path::new(path), Some(id)),
        _ => (Path::new(file), None),
    }
}

/// Names that tell the nodes apart: ids, router ids, file names, or letters.
fn names(files: &[String], loaded: &[Loaded]) -> Vec<String> {
    let ids = files.iter().map(|file| split(file).1.unwrap_or_default().to_owned());
    let routers = loaded.iter().map(|loaded| loaded.config.global.router_id.clone());
    let stems = files.iter().map(|file| {
        let stem = split(file).0.file_stem();
        stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    });
    let letters = (0..files.len()).map(|place| char::from(b'a' + place as u8).to_string());
    [ids.collect::<Vec<_>>(), routers.collect(), stems.collect()]
        .into_iter()
        .find(|names| are_distinct(names))
        .unwrap_or_else(|| letters.collect())
}

fn are_distinct(names: &[String]) -> bool {
    let is_first = |(place, name): (usize, &String)| {
        !name.is_empty() && name.len() <= 20 && !names[..place].contains(name)
    };
    names.iter().enumerate().all(is_first)
}
