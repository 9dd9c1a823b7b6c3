//! The bridge between keepalived's command line, which is getopt's, and argh.
//!
//! argh knows neither `-nlD`, `-fFILE`, `--use-file=FILE`, `--vrrp_pid`, optional values nor
//! abbreviated names. Here every option is brought into the one shape that it knows. Options of
//! keepalived that mean nothing to glha end here, with a note or with a refusal.

/// Whether an option is followed by a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// Never.
    None,
    /// Always, attached or as the next word.
    Required,
    /// Only attached: `-tFILE`, `--config-test=FILE`. It becomes an option of its own, by this name.
    Optional(&'static str),
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is handed on.
    Passed,
    /// It is dropped without a word: glha does anyway what it asks for.
    Granted,
    /// It is dropped, and this is said.
    Ignored(&'static str),
    /// It cannot be: glha would do something else than what it asks for.
    Refused(&'static str),
}

/// An option as getopt sees it.
struct Flag {
    short: Option<char>,
    long: &'static str,
    value: Value,
    fate: Fate,
}

const fn flag(short: char, long: &'static str, value: Value, fate: Fate) -> Flag {
    Flag { short: Some(short), long, value, fate }
}

const fn long(long: &'static str, value: Value, fate: Fate) -> Flag {
    Flag { short: None, long, value, fate }
}

const LVS: Fate = Fate::Ignored("glha has no health checkers; run keepalived -C beside it");
const BFD: Fate = Fate::Ignored("glha has no BFD process");
const DEBUG: Fate = Fate::Ignored("it is for debugging keepalived itself");
const SNMP: Fate = Fate::Ignored("glha has no SNMP agent, see glha metrics");
const GENHASH: Fate =
    Fate::Refused("it is keepalived's genhash mode; run keepalived -T or genhash");

/// All options, in the order of keepalived(8), with dashes for underscores; then glha's own.
const FLAGS: &[Flag] = &[
    flag('f', "use-file", Value::Required, Fate::Passed),
    flag('P', "vrrp", Value::None, Fate::Granted),
    flag('C', "check", Value::None, LVS),
    flag('B', "no-bfd", Value::None, Fate::Passed),
    long("all", Value::None, LVS),
    flag('l', "log-console", Value::None, Fate::Passed),
    flag('D', "log-detail", Value::None, Fate::Passed),
    flag('S', "log-facility", Value::Required, Fate::Passed),
    flag('g', "log-file", Value::Optional("log-file-name"), Fate::Passed),
    // Every line is written at once anyway.
    long("flush-log-file", Value::None, Fate::Granted),
    flag('G', "no-syslog", Value::None, Fate::Passed),
    // Whoever leaves takes off all its addresses anyway, also those that it has not set itself.
    flag('X', "release-vips", Value::None, Fate::Granted),
    flag('V', "dont-release-vrrp", Value::None, Fate::Passed),
    flag('I', "dont-release-ipvs", Value::None, LVS),
    // One process: there is no child that could be started again.
    flag('R', "dont-respawn", Value::None, Fate::Granted),
    flag('n', "dont-fork", Value::None, Fate::Passed),
    flag('d', "dump-conf", Value::None, Fate::Passed),
    flag('p', "pid", Value::Required, Fate::Passed),
    flag('r', "vrrp-pid", Value::Required, Fate::Passed),
    flag('T', "genhash", Value::None, GENHASH),
    flag('c', "checkers-pid", Value::Required, LVS),
    flag('a', "address-monitoring", Value::None, Fate::Passed),
    flag('b', "bfd-pid", Value::Required, BFD),
    flag('s', "namespace", Value::Required, Fate::Passed),
    flag('e', "all-config", Value::None, Fate::Passed),
    flag('i', "config-id", Value::Required, Fate::Passed),
    flag('x', "snmp", Value::None, SNMP),
    flag('A', "snmp-agent-socket", Value::Required, SNMP),
    flag('u', "umask", Value::Required, Fate::Passed),
    flag('m', "core-dump", Value::None, DEBUG),
    flag('M', "core-dump-pattern", Value::Optional(""), DEBUG),
    long("signum", Value::Required, Fate::Passed),
    flag('t', "config-test", Value::Optional("config-test-log"), Fate::Passed),
    long("perf", Value::Optional(""), DEBUG),
    long("no-mem-check", Value::None, DEBUG),
    flag('L', "mem-check-log", Value::None, DEBUG),
    long("debug", Value::Optional(""), DEBUG),
    long("ignore-sigint", Value::None, DEBUG),
    flag('v', "version", Value::None, Fate::Passed),
    flag('h', "help", Value::None, Fate::Passed),
    long("strict", Value::None, Fate::Passed),
    long("log-events", Value::None, Fate::Passed),
];

/// The options that mean something here: short and long name, and whether a value may follow.
pub fn passed() -> impl Iterator<Item = (Option<char>, &'static str, bool)> {
    let flags = FLAGS.iter().filter(|flag| flag.fate == Fate::Passed);
    flags.map(|flag| (flag.short, flag.long, flag.value == Value::Required))
}

/// A command line that argh understands.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Normal {
    /// The words: `--name` or `--name`, `VALUE`.
    pub args: Vec<String>,
    /// What was left out and should be told, a sentence each.
    pub notes: Vec<String>,
}

/// Brings a command line, without the program's name, into the shape that argh understands.
///
/// As with getopt the last of several equal options counts, `--` ends the options, and a long name
/// may be cut short where it stays unambiguous. Everything from the first word that is no option
/// on is handed over untouched.
///
/// # Errors
///
/// One line for the user: an unknown or ambiguous option, a value that is missing or too much, or
/// an option that glha refuses.
pub fn normalise(argv: &[String]) -> Result<Normal, String> {
    let mut seen: Vec<Seen> = Vec::new();
    let mut words = argv.iter();
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.extend(words.cloned());
            break;
        } else if let Some(text) = word.strip_prefix("--") {
            seen.push(long_option(text, &mut words)?);
        } else if word.len() > 1 && word.starts_with('-') {
            cluster(word, &mut words, &mut seen)?;
        } else {
            rest.push(word.clone());
            rest.extend(words.cloned());
            break;
        }
    }
    let mut normal = settle(seen)?;
    normal.args.extend(rest);
    Ok(normal)
}

/// An option that was given, with its value.
struct Seen {
    flag: &'static Flag,
    value: Option<String>,
}

type Words<'a> = std::slice::Iter<'a, String>;

/// `--name`, `--name=VALUE` or `--name VALUE`.
fn long_option(text: &str, words: &mut Words<'_>) -> Result<Seen, String> {
    let (name, attached) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let flag = find_long(name)?;
    let given = format!("--{name}");
    let value = match flag.value {
        Value::None if attached.is_some() => {
            return Err(format!("option {given} takes no value"));
        }
        Value::Required => Some(required(&given, attached, words)?),
        Value::None | Value::Optional(_) => attached.filter(|value| !value.is_empty()),
    };
    Ok(Seen { flag, value })
}

/// `-nlD`, `-nfFILE` or `-nf FILE`: all options of one word.
fn cluster(word: &str, words: &mut Words<'_>, seen: &mut Vec<Seen>) -> Result<(), String> {
    let mut letters = word.chars();
    letters.next();
    while let Some(letter) = letters.next() {
        let flag = FLAGS
            .iter()
            .find(|flag| flag.short == Some(letter))
            .ok_or_else(|| format!("unknown option -{letter}"))?;
        if flag.value == Value::None {
            seen.push(Seen { flag, value: None });
            continue;
        }
        let attached = Some(letters.as_str().to_owned()).filter(|value| !value.is_empty());
        let value = match flag.value {
            Value::Required => Some(required(&format!("-{letter}"), attached, words)?),
            Value::None | Value::Optional(_) => attached,
        };
        seen.push(Seen { flag, value });
        return Ok(());
    }
    Ok(())
}

/// The value of an option that must have one. An empty one counts as missing, as with keepalived.
fn required(
    given: &str,
    attached: Option<String>,
    words: &mut Words<'_>,
) -> Result<String, String> {
    attached
        .or_else(|| words.next().cloned())
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("missing parameter for option {given}"))
}

/// The option of this name, or the only one whose name begins so.
fn find_long(name: &str) -> Result<&'static Flag, String> {
    let wanted = name.replace('_', "-");
    if let Some(flag) = FLAGS.iter().find(|flag| flag.long == wanted) {
        return Ok(flag);
    }
    let near: Vec<&Flag> =
        FLAGS.iter().filter(|flag| !wanted.is_empty() && flag.long.starts_with(&wanted)).collect();
    match near.as_slice() {
        [] => Err(format!("unknown option --{name}")),
        [flag] => Ok(flag),
        _ => {
            let names: Vec<String> = near.iter().map(|flag| format!("--{}", flag.long)).collect();
            Err(format!("option --{name} is ambiguous: {}", names.join(", ")))
        }
    }
}

/// From what was given to what argh shall see: last one wins, fates are met.
fn settle(seen: Vec<Seen>) -> Result<Normal, String> {
    let mut last: Vec<Seen> = Vec::new();
    for option in seen {
        last.retain(|earlier| earlier.flag.long != option.flag.long);
        last.push(option);
    }
    let mut normal = Normal::default();
    for Seen { flag, value } in last {
        match flag.fate {
            Fate::Passed => pass(flag, value, &mut normal.args),
            Fate::Granted => {}
            Fate::Ignored(why) => normal.notes.push(format!("option {flag} is ignored: {why}")),
            Fate::Refused(why) => return Err(format!("option {flag} is refused: {why}")),
        }
    }
    Ok(normal)
}

fn pass(flag: &Flag, value: Option<String>, args: &mut Vec<String>) {
    args.push(format!("--{}", flag.long));
    match (flag.value, value) {
        (Value::Optional(name), Some(value)) => args.extend([format!("--{name}"), value]),
        (Value::None | Value::Required | Value::Optional(_), value) => args.extend(value),
    }
}

impl std::fmt::Display for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.short {
            Some(short) => write!(f, "-{short}/--{}", self.long),
            None => write!(f, "--{}", self.long),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(words: &[&str]) -> Result<Normal, String> {
        normalise(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[track_caller]
    fn becomes(words: &[&str], expected: &[&str]) {
        let args = normal(words).map(|normal| normal.args);
        assert_eq!(args.as_deref(), Ok(expected.map_owned().as_slice()), "from {words:?}");
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }
    impl MapOwned for [&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|&word| word.to_owned()).collect()
        }
    }

    #[track_caller]
    fn fails(words: &[&str], message: &str) {
        assert_eq!(normal(words), Err(message.to_owned()), "from {words:?}");
    }

    #[test]
    fn short_options_alone_and_in_clusters() {
        becomes(&[], &[]);
        becomes(&["-n", "-l", "-D"], &["--dont-fork", "--log-console", "--log-detail"]);
        becomes(&["-nlD"], &["--dont-fork", "--log-console", "--log-detail"]);
        becomes(&["-nlDP"], &["--dont-fork", "--log-console", "--log-detail"]);
    }

    #[test]
    fn values_attached_or_apart() {
        becomes(&["-f", "a b"], &["--use-file", "a b"]);
        becomes(&["-fFILE"], &["--use-file", "FILE"]);
        becomes(&["-nfFILE", "-D"], &["--dont-fork", "--use-file", "FILE", "--log-detail"]);
        becomes(&["-nf", "FILE"], &["--dont-fork", "--use-file", "FILE"]);
        becomes(&["-S1"], &["--log-facility", "1"]);
        becomes(&["-f", "-n"], &["--use-file", "-n"]);
        becomes(&["--use-file", "FILE"], &["--use-file", "FILE"]);
        becomes(&["--use-file=FILE"], &["--use-file", "FILE"]);
        becomes(&["--use-file=A=B"], &["--use-file", "A=B"]);
    }

    #[test]
    fn optional_values_are_only_attached() {
        becomes(&["-t"], &["--config-test"]);
        becomes(&["-tLOG"], &["--config-test", "--config-test-log", "LOG"]);
        becomes(&["--config-test"], &["--config-test"]);
        becomes(&["--config-test=LOG"], &["--config-test", "--config-test-log", "LOG"]);
        becomes(&["--config-test="], &["--config-test"]);
        becomes(&["-t", "-f", "FILE"], &["--config-test", "--use-file", "FILE"]);
        becomes(&["-ntLOG"], &["--dont-fork", "--config-test", "--config-test-log", "LOG"]);
        becomes(&["-gLOG"], &["--log-file", "--log-file-name", "LOG"]);
    }

    #[test]
    fn long_names_with_underscores_and_cut_short() {
        becomes(&["--vrrp_pid", "P"], &["--vrrp-pid", "P"]);
        becomes(&["--vrrp_pid=P"], &["--vrrp-pid", "P"]);
        becomes(&["--vrrp-pid=P"], &["--vrrp-pid", "P"]);
        becomes(&["--use-f", "FILE"], &["--use-file", "FILE"]);
        becomes(&["--sig=STOP"], &["--signum", "STOP"]);
        // Also the beginning of --vrrp_pid, but whole.
        becomes(&["--vrrp"], &[]);
        fails(
            &["--log"],
            "option --log is ambiguous: --log-console, --log-detail, --log-facility, --log-file, --log-events",
        );
        fails(&["--="], "unknown option --");
    }

    #[test]
    fn the_last_of_equals_counts() {
        becomes(&["-fA", "-n", "--use-file=B"], &["--dont-fork", "--use-file", "B"]);
        becomes(&["-n", "-n"], &["--dont-fork"]);
    }

    #[test]
    fn mistakes_are_named() {
        fails(&["-Q"], "unknown option -Q");
        fails(&["-nQ"], "unknown option -Q");
        fails(&["-n=1"], "unknown option -=");
        fails(&["--dont-fork=1"], "option --dont-fork takes no value");
        fails(&["--bogus"], "unknown option --bogus");
        fails(&["--config-test-log=X"], "unknown option --config-test-log");
        fails(&["-f"], "missing parameter for option -f");
        fails(&["--signum="], "missing parameter for option --signum");
    }

    #[test]
    fn what_glha_has_not_is_told_or_refused() {
        let normal = normal(&["-C", "-P", "-c", "/x", "-Mcore"]).expect("accepted");
        assert_eq!(normal.args, Vec::<String>::new());
        assert_eq!(normal.notes.len(), 3, "{:?}", normal.notes);
        assert!(normal.notes.iter().any(|note| note.contains("-c/--checkers-pid")));
        fails(
            &["-T"],
            "option -T/--genhash is refused: it is keepalived's genhash mode; run keepalived -T or genhash",
        );
    }

    #[test]
    fn snmp_is_told_and_left_out() {
        for words in [&["-nx"][..], &["-n", "--snmp"], &["-n", "-A", "udp:localhost:705"]] {
            let normal = normal(words).expect("accepted");
            assert_eq!(normal.args, ["--dont-fork"], "{words:?}");
            assert!(
                matches!(normal.notes.as_slice(), [note] if note.contains("SNMP")),
                "{words:?}"
            );
        }
    }

    #[test]
    fn words_that_are_no_options_are_left_alone() {
        becomes(&["status", "--json", "-nl"], &["status", "--json", "-nl"]);
        becomes(&["-n", "--", "-l"], &["--dont-fork", "-l"]);
        becomes(&["-"], &["-"]);
    }

    #[test]
    fn names_are_unique() {
        for (index, flag) in FLAGS.iter().enumerate() {
            for other in FLAGS.iter().skip(index + 1) {
                assert_ne!(flag.long, other.long);
                assert!(flag.short.is_none() || flag.short != other.short, "{flag} and {other}");
            }
        }
    }
}
