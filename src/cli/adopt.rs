//! `glha adopt [FILE]`: the change from keepalived, shown, written beside, or taken back.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FromArgs};

use super::command::print;
use super::{absolute, context_of, say, status};
use crate::adopt::Plan;
use crate::conf;
use crate::shell::audit::adopt::{look, undo, write};

/// Everything was understood.
const UNDERSTOOD: i32 = 0;
/// Something is left to a person; `--undo`: something was kept.
const LEFT: i32 = 1;
/// Wrong use, or something cannot be read or written.
const REFUSED: i32 = 2;

/// Shows the change from keepalived: a glha.conf with hooks blocks, and the scripts without what mount.sh
/// does from then on. Runs no script, and changes no file.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    help_triggers("-h", "--help"),
    note = "FILE is keepalived's configuration, /etc/keepalived/keepalived.conf unless given. Its scripts are read,\n\
            and what they read or call. What is not understood stays in them and is named with its line.\n\n\
            What --write writes stands beside what it is made from, with .glha at the end of its name, and\n\
            glha.conf beside FILE. The list glha-adopt.manifest there has their checksums.",
    example = "Look, write, check, and take it back:\n\
               {command_name}\n{command_name} --write\nglha -t -f /etc/keepalived/glha.conf\n{command_name} --undo",
    error_code(0, "all of it was understood"),
    error_code(1, "something is left to a person, or was edited since and kept by --undo"),
    error_code(
        2,
        "wrong use, or something cannot be read or written, or differs from what is there"
    )
)]
struct Options {
    /// write the new files beside the present ones
    #[argh(switch)]
    write: bool,

    /// take away what --write has written
    #[argh(switch)]
    undo: bool,

    /// the node's id, for lines that begin with @ID
    #[argh(option, short = 'i', arg_name = "ID")]
    config_id: Option<String>,

    /// keepalived's configuration
    #[argh(positional, arg_name = "FILE")]
    file: Option<PathBuf>,
}

/// What it may be followed by.
pub(super) fn info() -> CommandInfoWithArgs {
    Options::get_args_info()
}

/// Runs the command and returns its exit status.
pub(super) fn main(argv: impl Iterator<Item = OsString>) -> i32 {
    let words: Vec<String> = argv.map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match Options::from_args(&["glha", "adopt"], &words) {
        Ok(options) if options.write && options.undo => {
            Err("--write and --undo do the opposite of each other".to_owned())
        }
        Ok(options) => obey(options),
        Err(EarlyExit { output, status: Ok(()) }) => {
            print(&output);
            return status::SUCCESS;
        }
        Err(EarlyExit { output, status: Err(()) }) => {
            Err(format!("{}\nglha adopt --help tells more", output.trim_end()))
        }
    };
    result.unwrap_or_else(|why| {
        say(&format!("glha adopt: {why}"));
        REFUSED
    })
}

fn obey(options: Options) -> Result<i32, String> {
    let [_, keepalived] = conf::default_paths();
    let path = absolute(options.file.unwrap_or(keepalived));
    if options.undo {
        let undone = undo(&path)?;
        let mut text = String::new();
        for path in &undone.removed {
            text.push_str(&format!("removed {}\n", path.display()));
        }
        for path in &undone.kept {
            text.push_str(&format!(
                "kept {}: it was edited since it was written\n",
                path.display()
            ));
        }
        print(&text);
        return Ok(if undone.kept.is_empty() { UNDERSTOOD } else { LEFT });
    }
    let plan = look(&path, &context_of(options.config_id))?;
    let mut text = plan.report();
    if options.write && !plan.files.is_empty() {
        write(&path, &plan)?;
        text.push_str(&written(&path, &plan));
    } else if !plan.files.is_empty() {
        text.push_str(
            "\nNothing was written: --write writes the new files beside the present ones.\n",
        );
    }
    print(&text);
    Ok(if plan.left.is_empty() { UNDERSTOOD } else { LEFT })
}

fn written(path: &Path, plan: &Plan) -> String {
    let mut text = "\nWritten:\n".to_owned();
    for new in &plan.files {
        text.push_str(&format!("  {}\n", new.path.display()));
    }
    let conf = plan.conf.display();
    text + &format!(
        "Now look: glha -t -f {conf}\n\
         When all is right: install -m 644 {conf} /etc/glha/glha.conf\n\
         To take it back: glha adopt --undo {}\n",
        path.display()
    )
}
