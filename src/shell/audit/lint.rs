//! What is wrong with a shell script, seen by reading it line by line.
//!
//! Honest guesses, not a shell: comments, continued lines, simple assignments and the words of
//! simple commands are understood; here-documents, functions and loops are not.

use std::collections::BTreeMap;
use std::time::Duration;

/// A simple command of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Its words, unquoted, simple variables replaced; the first is the program's bare name.
    pub words: Vec<String>,
    /// The patterns of the `case` branch it stands in, if any.
    pub branch: Option<String>,
}

/// A script, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Its simple commands, in order.
    pub steps: Vec<Step>,
    /// The patterns of its `case` branches, with their lines.
    pub branches: Vec<(usize, String)>,
    /// The first line that ends in CR LF.
    pub crlf_line: Option<usize>,
}

/// Words after which a command begins.
const BEFORE_COMMANDS: [&str; 14] = [
    "if", "then", "else", "elif", "while", "until", "do", "!", "time", "exec", "command", "nohup",
    "sudo", "eval",
];

impl Text {
    /// Takes a script apart.
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        let mut variables = BTreeMap::new();
        let mut branch: Option<String> = None;
        for (line, code) in code_lines(text, &mut out.crlf_line) {
            let (label, rest) = split_label(&code);
            if let Some(label) = label {
                out.branches.push((line, label.clone()));
                branch = Some(label);
            }
            for words in commands(rest) {
                let words = strip_prefixes(expand(words, &variables), &mut variables);
                if !words.is_empty() {
                    out.steps.push(Step { line, words, branch: branch.clone() });
                }
            }
            if code.contains(";;") || code == "esac" {
                branch = None;
            }
        }
        out
    }

    /// Commands that mount or unmount something.
    pub fn mounts(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is("mount") || step.is("umount"))
    }

    /// Sleeps that last at least `timeout`, with their length in seconds.
    pub fn long_sleeps(&self, timeout: Duration) -> impl Iterator<Item = (usize, f64)> {
        let sleeps = self.steps.iter().filter(|step| step.is("sleep"));
        sleeps
            .filter_map(|step| Some((step.line, seconds(step.words.get(1)?)?)))
            .filter(move |(_, length)| *length >= timeout.as_secs_f64())
    }

    /// Commands that stop or restart keepalived or glha.
    pub fn daemon_stops(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.stops_daemon())
    }

    /// Lazy unmounts.
    pub fn lazy_unmounts(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| {
            let lazy = |word: &String| {
                word == "--lazy"
                    || word.strip_prefix('-').is_some_and(|flags| {
                        !flags.starts_with('-') && flags.contains('l') && !flags.contains('t')
                    })
            };
            step.is("umount") && step.words.iter().skip(1).any(lazy)
        })
    }

    /// Commands that mount in the branch for BACKUP.
    pub fn mounts_on_backup(&self) -> impl Iterator<Item = &Step> {
        let backup = |step: &&Step| {
            step.branch.as_ref().is_some_and(|b| b.contains("BACKUP") && !b.contains("MASTER"))
        };
        self.steps.iter().filter(|step| step.is("mount") && step.adds_a_mount()).filter(backup)
    }

    /// The first branch for a state, if no branch is for STOP; and whether `*` catches it.
    pub fn missing_stop(&self) -> Option<(usize, bool)> {
        let states = |label: &str| label.contains("MASTER") || label.contains("BACKUP");
        let (line, _) = self.branches.iter().find(|(_, label)| states(label))?;
        let has = |word: &str| self.branches.iter().any(|(_, label)| label.contains(word));
        (!has("STOP")).then_some((*line, has("*")))
    }

    /// A number that it prints at its end, if it never exits with a status other than 0 by itself:
    /// the line and the number. What a check prints counts for nothing.
    pub fn printed_result(&self) -> Option<(usize, &str)> {
        let fails = |step: &Step| match step.word(0) {
            "exit" | "return" => !matches!(step.word(1), "0"),
            "false" => true,
            "set" => step.word(1).starts_with('-') && step.word(1).contains('e'),
            _ => false,
        };
        if self.steps.iter().any(fails) {
            return None;
        }
        let closes = |step: &&Step| matches!(step.word(0), "fi" | "done" | "esac" | "}");
        let succeeds = |step: &&Step| step.is("exit");
        let last = self.steps.iter().rev().find(|step| !closes(step) && !succeeds(step))?;
        let number = last.words.last()?;
        let prints = last.is("echo") || last.is("printf");
        (prints && number.trim_end_matches("\\n").parse::<u8>().is_ok())
            .then_some((last.line, number.trim_end_matches("\\n")))
    }

    /// The only command that it has, but for a bare `exit` of its status.
    pub fn only_command(&self) -> Option<&Step> {
        let is_end = |step: &&Step| !(step.is("exit") && matches!(step.word(1), "" | "$?"));
        let mut steps = self.steps.iter().filter(is_end);
        steps.next().filter(|_| steps.next().is_none())
    }

    /// The first mount of a script that unmounts nothing.
    pub fn mount_for_ever(&self) -> Option<&Step> {
        let has_umount = self.steps.iter().any(|step| step.is("umount"));
        let mut mounts = self.steps.iter().filter(|step| step.is("mount") && step.adds_a_mount());
        mounts.next().filter(|_| !has_umount)
    }

    /// Services that it starts or restarts.
    pub fn started_services(&self) -> Vec<&str> {
        self.steps.iter().filter_map(Step::started_service).collect()
    }
}

impl Step {
    fn is(&self, program: &str) -> bool {
        self.words.first().is_some_and(|word| word == program)
    }

    fn word(&self, place: usize) -> &str {
        self.words.get(place).map_or("", String::as_str)
    }

    /// The command as it reads.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }

    /// A `mount` that does more than list what is mounted.
    pub fn adds_a_mount(&self) -> bool {
        self.words.len() > 1
    }

    fn stops_daemon(&self) -> bool {
        let ours = |word: &str| matches!(word.trim_end_matches(".service"), "keepalived" | "glha");
        let verb =
            |word: &str| matches!(word, "stop" | "restart" | "kill" | "try-restart" | "force-stop");
        let rest = || self.words.iter().skip(1).map(String::as_str);
        match self.word(0) {
            "service" => ours(self.word(1)) && verb(self.word(2)),
            "systemctl" => rest().any(ours) && rest().any(verb),
            "killall" | "pkill" => rest().any(ours),
            name => ours(name) && verb(self.word(1)),
        }
    }

    fn started_service(&self) -> Option<&str> {
        let starts = |word: &str| matches!(word, "start" | "restart");
        let service = match self.word(0) {
            "service" if starts(self.word(2)) => self.word(1),
            "systemctl" if starts(self.word(1)) => self.word(2),
            name if starts(self.word(1)) => name,
            _ => return None,
        };
        Some(service.trim_end_matches(".service"))
    }
}

/// The lines without comments, continued ones put together, with the number of their first.
fn code_lines(text: &str, crlf_line: &mut Option<usize>) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        if line.ends_with('\r') && crlf_line.is_none() {
            *crlf_line = Some(number);
        }
        let code = without_comment(line.trim());
        let (code, continued) = match code.strip_suffix('\\') {
            Some(code) => (code, true),
            None => (code, false),
        };
        match lines.last_mut() {
            Some((_, before)) if goes_on => {
                before.push(' ');
                before.push_str(code.trim());
            }
            _ => lines.push((number, code.trim().to_owned())),
        }
        goes_on = continued;
    }
    lines.retain(|(_, code)| !code.is_empty());
    lines
}

/// Cuts a comment off. `\#` at the start of a line is how the article's page prints one.
fn without_comment(line: &str) -> &str {
    if line.starts_with("\\#") {
        return "";
    }
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open && before != '\\' => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if before != '\\' => quote = Some(c),
            (None, '#') if before.is_whitespace() || before == ';' => {
                return line.get(..at).unwrap_or(line).trim_end();
            }
            (None, _) => {}
        }
        before = c;
    }
    line
}

/// `"MASTER"|BACKUP) rest` into the patterns and the rest.
fn split_label(code: &str) -> (Option<String>, &str) {
    let start = code.rfind(" in ").filter(|_| code.starts_with("case ")).map_or(0, |at| at + 4);
    let tail = code.get(start..).unwrap_or(code).trim_start();
    let Some((label, rest)) = tail.split_once(')') else {
        return (None, code);
    };
    let label = label.trim_start_matches('(').trim();
    let pattern = |c: char| c.is_alphanumeric() || "\"'*|_-?[] ".contains(c);
    let spaced = label.split('|').any(|one| one.split_whitespace().count() != 1);
    if label.is_empty() || spaced || !label.chars().all(pattern) {
        return (None, code);
    }
    (Some(label.replace(['"', '\''], "")), rest)
}

/// The simple commands of a line as words without their quotes.
fn commands(code: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in code.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            // What is substituted inside double quotes is a command too.
            (Some(_), '`') | (None, ';' | '&' | '|' | '(' | ')' | '`' | '\n') => {
                push_word(&mut all, &mut word);
                all.push(Vec::new());
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => push_word(&mut all, &mut word),
            _ => word.get_or_insert_default().push(c),
        }
    }
    push_word(&mut all, &mut word);
    all.retain(|words| !words.is_empty());
    all
}

fn push_word(all: &mut [Vec<String>], word: &mut Option<String>) {
    if let (Some(words), Some(word)) = (all.last_mut(), word.take()) {
        words.push(word);
    }
}

fn expand(words: Vec<String>, variables: &BTreeMap<String, String>) -> Vec<String> {
    let replace = |mut word: String| {
        if word.contains('$') {
            // Longest name first, so that $DEV does not eat into $DEVICE.
            for (name, value) in variables.iter().rev() {
                word = word.replace(&format!("${{{name}}}"), value);
                word = word.replace(&format!("${name}"), value);
            }
        }
        word
    };
    words.into_iter().map(replace).collect()
}

/// Leaves the command itself: takes in assignments, drops `if`, `sudo`, `timeout 5` and their like,
/// and the path of the program.
fn strip_prefixes(words: Vec<String>, variables: &mut BTreeMap<String, String>) -> Vec<String> {
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.peek() {
        if BEFORE_COMMANDS.contains(&word.as_str())
            || word == "{"
            || word == "}"
            || word == "export"
        {
            words.next();
        } else if word == "timeout" {
            words.next();
            while words
                .next_if(|word| word.starts_with(|c: char| c == '-' || c.is_ascii_digit()))
                .is_some()
            {}
        } else if let Some((name, value)) = assignment(word) {
            variables.insert(name, value);
            words.next();
        } else {
            break;
        }
    }
    let mut words: Vec<String> = words.collect();
    if let Some(first) = words.first_mut()
        && let Some((_, name)) = first.rsplit_once('/')
    {
        *first = name.to_owned();
    }
    words
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(good)).then(|| (name.to_owned(), value.to_owned()))
}

fn seconds(word: &str) -> Option<f64> {
    let (number, factor) = match word.chars().last()? {
        's' => (word.trim_end_matches('s'), 1.0),
        'm' => (word.trim_end_matches('m'), 60.0),
        'h' => (word.trim_end_matches('h'), 3600.0),
        _ => (word, 1.0),
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<String> {
        Text::parse(text).steps.iter().map(|s| format!("{}: {}", s.line, s.text())).collect()
    }

    #[test]
    fn commands_are_found_where_they_hide() {
        assert_eq!(
            steps("#!/bin/sh\nif ! /bin/mount /dev/a /b; then sleep 3 & fi # mount x\n"),
            ["2: mount /dev/a /b", "2: sleep 3", "2: fi"]
        );
        assert_eq!(steps("A=1 mount -o ro \\\n  /dev/a \\\n /b"), ["1: mount -o ro /dev/a /b"]);
        assert_eq!(steps("x=`umount /b`"), ["1: umount /b"]);
        assert_eq!(steps("sudo timeout -k 5 10 umount '/b c'"), ["1: umount /b c"]);
        assert_eq!(steps("echo 'mount /b'; #umount /b\n\\# umount /c"), ["1: echo mount /b"]);
    }

    #[test]
    fn simple_variables_are_followed() {
        let text = "DEV=/dev/a\nDEVICE=\"/dev/b\"\nmount ${DEV} $DEVICE $OTHER";
        assert_eq!(steps(text), ["3: mount /dev/a /dev/b $OTHER"]);
    }

    #[test]
    fn branches_of_a_case_are_known() {
        let text = "case $1 in\n \"MASTER\")\n mount /a ;;\n FAULT) mount /d;;\n BACKUP|FAULT) mount /b\n ;;\nesac\nmount /c";
        let text = Text::parse(text);
        let backup: Vec<String> = text.mounts_on_backup().map(Step::text).collect();
        assert_eq!(backup, ["mount /b"]);
        assert_eq!(text.missing_stop(), Some((2, false)));
        let good = "case $1 in MASTER) a;; esac; case $1 in\nBACKUP) c;;\nSTOP) d;;\nesac";
        assert_eq!(Text::parse(good).missing_stop(), None);
        assert_eq!(Text::parse("case $1 in\nstart) a;;\nesac").missing_stop(), None);
        let caught = Text::parse("case $1 in\nMASTER) a;;\n*) b;;\nesac").missing_stop();
        assert_eq!(caught, Some((2, true)));
        assert_eq!(Text::parse("f() { mount /a; }").branches, []);
    }

    #[test]
    fn stopping_the_daemon_is_seen() {
        let stops = |text: &str| Text::parse(text).daemon_stops().count();
        for text in [
            "service keepalived stop",
            "systemctl stop glha.service",
            "/etc/init.d/keepalived stop",
            "killall -9 keepalived",
            "/usr/bin/systemctl --no-block restart keepalived",
        ] {
            assert_eq!(stops(text), 1, "{text}");
        }
        for text in ["service keepalived status", "systemctl stop nginx", "echo stop keepalived"] {
            assert_eq!(stops(text), 0, "{text}");
        }
    }

    #[test]
    fn sleeps_and_lazy_unmounts() {
        let sleeps = |text: &str| {
            Text::parse(text)
                .long_sleeps(Duration::from_secs(2))
                .map(|(_, s)| s)
                .collect::<Vec<_>>()
        };
        assert_eq!(sleeps("sleep 1; sleep 2\nsleep 1m; sleep $x; sleep 0.5s"), [2.0, 60.0]);
        let lazy = |text: &str| Text::parse(text).lazy_unmounts().count();
        assert_eq!(lazy("umount -fl /a; umount --lazy /a; umount -l /a"), 3);
        assert_eq!(lazy("umount /a-l; umount -t ext4,nolazy /a; ls -l"), 0);
    }

    #[test]
    fn a_printed_number_is_no_result() {
        let printed = |text: &str| {
            let text = Text::parse(text);
            text.printed_result().map(|(line, number)| format!("{line}: {number}"))
        };
        assert_eq!(printed("pidof x\necho 1").as_deref(), Some("2: 1"));
        assert_eq!(
            printed("if pidof x; then\n echo 0\nelse\n echo 5\nfi\n").as_deref(),
            Some("4: 5")
        );
        assert_eq!(printed("printf '1\\n'\nexit 0").as_deref(), Some("1: 1"));
        for text in [
            "pidof x || exit 1\necho 0",
            "set -e\npidof x\necho 0",
            "echo ok",
            "echo 1; pidof x",
            "n=`wc -l`; exit $n; echo 1",
            "",
        ] {
            assert_eq!(printed(text), None, "{text}");
        }
    }

    #[test]
    fn a_single_command_is_seen() {
        let only = |text: &str| Text::parse(text).only_command().map(Step::text);
        assert_eq!(only("#!/bin/sh\n# alive?\npidof x\nexit $?").as_deref(), Some("pidof x"));
        assert_eq!(only("pidof x && exit 0"), None);
        assert_eq!(only("pidof x\nping y"), None);
        let mounts = |text: &str| Text::parse(text).mount_for_ever().map(|step| step.line);
        assert_eq!(mounts("#umount /b\nmount /b"), Some(2));
        assert_eq!(mounts("mount /b\numount /b"), None);
        assert_eq!(mounts("mount | grep b"), None);
    }

    #[test]
    fn services_that_are_started() {
        let text =
            "service nginx start; systemctl restart gitlab.service\n/etc/init.d/x start; a stop";
        assert_eq!(Text::parse(text).started_services(), ["nginx", "gitlab", "x"]);
    }
}
