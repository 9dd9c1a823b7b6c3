//! `glha completions SHELL`: what a shell needs to complete the command line, made from the option
//! tables themselves.

use std::fmt::Write;

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs};

use super::{adopt, command, getopt, hooks, rehearse};

/// Prints what a shell needs to complete glha's command line.
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// bash, zsh or fish
    #[argh(positional)]
    shell: String,
}

/// What stands after a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    /// A file or folder.
    Path,
    /// The name of an instance or sync group of a running daemon.
    Name,
    /// Something that cannot be known.
    Other,
}

impl Value {
    /// By the name that the help gives it.
    fn of(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "FILE" | "FOLDER" | "EVENT" | "FILE[@ID]" => Self::Path,
            "NAME" => Self::Name,
            _ => Self::Other,
        }
    }
}

/// An option: how it is written, what follows it, what it is for.
struct Flag {
    long: String,
    short: Option<char>,
    value: Value,
    about: String,
}

/// A command with what may follow it. The first one has no name: it is the daemon.
struct Command {
    name: String,
    about: String,
    flags: Vec<Flag>,
    /// Words and names that may follow, beside options.
    words: Vec<String>,
    value: Value,
}

/// Runs the command and returns its exit status.
pub(super) fn main(words: &[&str]) -> i32 {
    let text = match command::parse::<Options>("completions", words, super::status::FAILURE) {
        Err(status) => return status,
        Ok(options) => match options.shell.as_str() {
            "bash" => bash(&all()),
            "zsh" => zsh(&all()),
            "fish" => fish(&all()),
            other => {
                super::say(&format!("glha completions: {other}: not bash, zsh or fish"));
                return super::status::FAILURE;
            }
        },
    };
    command::print(&text);
    super::status::SUCCESS
}

/// Everything there is.
fn all() -> Vec<Command> {
    let own: CommandInfoWithArgs = super::Options::get_args_info();
    let daemon = Command {
        name: String::new(),
        about: String::new(),
        flags: getopt::passed()
            .map(|(short, long, has_value)| {
                let known = own.flags.iter().find(|flag| bare(flag) == long);
                let value = match known.map(value) {
                    // A facility, a signal or a network namespace, not an instance.
                    Some(Value::Name) => Value::Other,
                    Some(value) if has_value => value,
                    _ => Value::None,
                };
                let about = known.map_or("", |flag| flag.description);
                Flag { long: format!("--{long}"), short, value, about: short_about(about) }
            })
            .collect(),
        words: Vec::new(),
        value: Value::None,
    };
    let mut all = vec![daemon];
    let parts = command::infos().into_iter().chain([
        ("adopt", adopt::info()),
        ("rehearse", rehearse::info()),
        ("hooks", hooks::info()),
        ("completions", Options::get_args_info()),
    ]);
    all.extend(parts.map(|(name, info)| of_info(name, &info)));
    let release = all.first().map(|daemon| daemon.flags.iter().map(Flag::same).collect());
    all.push(Command {
        name: super::RELEASE.into(),
        about: "Lets go of what a daemon that is gone has left behind".into(),
        flags: release.unwrap_or_default(),
        words: Vec::new(),
        value: Value::None,
    });
    all
}

fn of_info(name: &str, info: &CommandInfoWithArgs) -> Command {
    let below = info.commands.iter().flat_map(|below| below.command.flags);
    let flags = info.flags.iter().chain(below).filter(|flag| !flag.hidden);
    let words = info.commands.iter().map(|below| below.name.to_owned());
    let shells = ["bash", "zsh", "fish"].iter().filter(|_| name == "completions");
    Command {
        name: name.to_owned(),
        about: short_about(info.description),
        flags: flags
            .map(|flag| Flag {
                long: format!("--{}", bare(flag)),
                short: flag.short,
                value: value(flag),
                about: short_about(flag.description),
            })
            .collect(),
        words: words.chain(shells.map(|&shell| shell.to_owned())).collect(),
        value: info.positionals.first().map_or(Value::None, |of| Value::of(of.name)),
    }
}

impl Flag {
    fn same(&self) -> Self {
        Self { long: self.long.clone(), about: self.about.clone(), ..*self }
    }

    /// `--file -f`
    fn written(&self) -> String {
        let short = self.short.map(|short| format!(" -{short}")).unwrap_or_default();
        format!("{}{short}", self.long)
    }
}

fn bare<'a>(flag: &FlagInfo<'a>) -> &'a str {
    flag.long.trim_start_matches('-')
}

fn value(flag: &FlagInfo<'_>) -> Value {
    match flag.kind {
        FlagInfoKind::Switch => Value::None,
        FlagInfoKind::Option { arg_name } => Value::of(arg_name),
    }
}

/// The first part of a description, in one line and without what a shell reads into it.
fn short_about(text: &str) -> String {
    let text = text.split(['.', ';', ':', '(']).next().unwrap_or_default();
    let plain = |c: char| !matches!(c, '\'' | '"' | '[' | ']' | '\\' | '`' | '$');
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|&c| plain(c)).collect()
}

/// Names of instances and groups, from a daemon that runs; nothing where there is none.
const NAMES: &str = "glha status --json 2>/dev/null | grep -o '\"\\(instance\\|group\\)\":\"[^\"]*\"' | cut -d'\"' -f4 | sort -u";

fn bash(all: &[Command]) -> String {
    let mut out = String::from(
        "# bash completion of glha, made by `glha completions bash`.\n\
         _glha() {\n\
         \x20   local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words='' kind=''\n\
         \x20   case ${COMP_WORDS[1]} in\n",
    );
    for command in all.iter().filter(|command| !command.name.is_empty()) {
        case(&mut out, &command.name, command);
    }
    let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).filter(|n| !n.is_empty()).collect();
    if let Some(daemon) = all.first() {
        case(&mut out, "*", daemon);
    }
    let _ = write!(
        out,
        "    esac\n\
         \x20   [ \"$COMP_CWORD\" -ne 1 ] || words=\"$words {}\"\n\
         \x20   COMPREPLY=()\n\
         \x20   case $kind in\n\
         \x20   other) return ;;\n\
         \x20   path) mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n\
         \x20   name) words=$({NAMES}) ;;\n\
         \x20   esac\n\
         \x20   mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n\
         }}\n\
         complete -o filenames -F _glha glha\n",
        names.join(" ")
    );
    out
}

/// What may follow the words of this command.
fn case(out: &mut String, pattern: &str, command: &Command) {
    let options: Vec<String> = command.flags.iter().map(Flag::written).collect();
    let words = [command.words.join(" "), options.join(" ")].join(" ");
    let _ = writeln!(out, "    {pattern})\n        words='{}'", words.trim());
    let positional = match command.value {
        Value::Path => "case $current in -*) ;; *) kind=path ;; esac",
        Value::Name => "case $current in -*) ;; *) kind=name ;; esac",
        Value::None | Value::Other => ":",
    };
    let _ = writeln!(out, "        case $before in");
    for (kind, name) in [(Value::Path, "path"), (Value::Name, "name"), (Value::Other, "other")] {
        let of_kind = command.flags.iter().filter(|flag| flag.value == kind);
        let patterns: Vec<String> =
            of_kind.map(|flag| flag.written().replace(' ', " | ")).collect();
        if !patterns.is_empty() {
            let _ = writeln!(out, "        {}) kind={name} ;;", patterns.join(" | "));
        }
    }
    let _ = writeln!(out, "        *) {positional} ;;\n        esac\n        ;;");
}

fn zsh(all: &[Command]) -> String {
    let mut out = String::from(
        "#compdef glha\n# zsh completion of glha, made by `glha completions zsh`.\n\
         _glha_names() {\n    local -a names\n",
    );
    let _ =
        writeln!(out, "    names=(${{(f)\"$({NAMES})\"}})\n    compadd -a names\n}}\n_glha() {{");
    out += "    local -a commands\n    commands=(\n";
    let named = || all.iter().filter(|command| !command.name.is_empty());
    for command in named() {
        let _ = writeln!(out, "        '{}:{}'", command.name, command.about);
    }
    out += "    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n    fi\n    case $words[2] in\n";
    let arguments = |command: &Command| {
        let mut text = String::new();
        for flag in &command.flags {
            let after = match flag.value {
                Value::None => "",
                Value::Path => ":file:_files",
                Value::Name => ":name:_glha_names",
                Value::Other => ":value: ",
            };
            for written in flag.written().split(' ') {
                let _ = write!(text, " \\\n            '{written}[{}]{after}'", flag.about);
            }
        }
        let words = command.words.join(" ");
        let rest = match command.value {
            _ if !words.is_empty() => format!("'*:word:({words})'"),
            Value::Path => "'*:file:_files'".to_owned(),
            Value::Name => "'*:name:_glha_names'".to_owned(),
            Value::None | Value::Other => "'*: :'".to_owned(),
        };
        format!("_arguments{text} \\\n            {rest}")
    };
    for command in named() {
        let _ = writeln!(
            out,
            "    {})\n        shift words; ((CURRENT--))\n        {}\n        ;;",
            command.name,
            arguments(command)
        );
    }
    if let Some(daemon) = all.first() {
        let _ = writeln!(out, "    *)\n        {}\n        ;;", arguments(daemon));
    }
    out += "    esac\n}\nif [ \"$funcstack[1]\" = _glha ]; then\n    _glha \"$@\"\nelse\n    compdef _glha glha\nfi\n";
    out
}

fn fish(all: &[Command]) -> String {
    let mut out = String::from(
        "# fish completion of glha, made by `glha completions fish`.\n\
         function __glha_names\n",
    );
    let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).filter(|n| !n.is_empty()).collect();
    let _ = writeln!(out, "    {NAMES}\nend\ncomplete -c glha -f");
    let bare = format!("not __fish_seen_subcommand_from {}", names.join(" "));
    for command in all {
        let seen = if command.name.is_empty() {
            bare.clone()
        } else {
            let (name, about) = (&command.name, &command.about);
            let _ = writeln!(out, "complete -c glha -n '{bare}' -a {name} -d '{about}'");
            format!("__fish_seen_subcommand_from {name}")
        };
        for flag in &command.flags {
            let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
            let value = match flag.value {
                Value::None => "",
                Value::Path => " -r -F",
                Value::Name => " -x -a '(__glha_names)'",
                Value::Other => " -x",
            };
            let (long, about) = (flag.long.trim_start_matches('-'), &flag.about);
            let _ =
                writeln!(out, "complete -c glha -n '{seen}'{short} -l {long}{value} -d '{about}'");
        }
        for word in &command.words {
            let _ = writeln!(out, "complete -c glha -n '{seen}' -a {word}");
        }
        match command.value {
            Value::Name => {
                let _ = writeln!(out, "complete -c glha -n '{seen}' -a '(__glha_names)'");
            }
            Value::Path => {
                let _ = writeln!(out, "complete -c glha -n '{seen}' -F");
            }
            Value::None | Value::Other => {}
        }
    }
    out
}
