//! Commands of the configuration, split into arguments as keepalived does it.

use super::bytes;
use super::diagnostic::{Diagnostic, Severity, Span};
use super::lex::{Statement, Word};

/// A command and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its own arguments; never empty.
    pub argv: Vec<String>,
    /// The words behind the command: user, then group.
    pub following: Vec<Word>,
    /// Where the command stands.
    pub span: Span,
}

/// The command of a statement such as `notify "/x/y.sh a 'b c'" user group`.
///
/// The line is split as a shell would, and its first word behind the keyword, which is the whole
/// command if it was quoted, is split a second time into the program and its arguments.
///
/// # Errors
///
/// No command at all, a quote that is not closed, or an empty command.
pub fn script_words(statement: &Statement) -> Result<Command, Diagnostic> {
    let keyword = statement.words.first().map_or("", |word| word.text.as_str());
    let fail = |message: String| Diagnostic {
        span: statement.words.get(1).map_or(statement.span, |word| word.span),
        severity: Severity::Fault,
        message,
        suggestion: None,
    };
    let open = |quote: char| {
        fail(format!("the {quote} of this command is never closed: add the missing {quote}"))
    };
    let mut parts = split(&statement.rest).map_err(open)?.into_iter();
    let argv = split(&parts.next().unwrap_or_default()).map_err(open)?;
    if argv.first().is_none_or(String::is_empty) {
        // keepalived says nothing of it.
        let message = format!("'{keyword}' names no command: give the path of a program");
        return Err(Diagnostic { severity: Severity::Warning, ..fail(message) });
    }
    // A number behind a backslash may be any byte; what stands there as such is named by the reader.
    let is_whole = !statement.words.iter().any(|word| bytes::is_replaced(&word.text));
    if is_whole && argv.iter().any(|word| bytes::is_replaced(word)) {
        return Err(Diagnostic { severity: Severity::Error, ..fail(bytes::NOT_TEXT.to_owned()) });
    }
    // The words of the line have places, those of the command's splitting have not; quotes in the
    // middle of a word are all that makes their numbers differ.
    let following: Vec<String> = parts.collect();
    let spans: Vec<Span> = statement.words.iter().map(|word| word.span).collect();
    let same = spans.len() == following.len() + 2;
    let span = match spans.get(1) {
        Some(span) if same => *span,
        _ => statement.span,
    };
    let place = |index: usize| spans.get(index + 2).copied().filter(|_| same).unwrap_or(span);
    let following = following
        .into_iter()
        .enumerate()
        .map(|(index, text)| Word { text, span: place(index) })
        .collect();
    Ok(Command { argv, following, span })
}

impl Command {
    /// The first word that only a shell understands (a redirection, a pipe, `&&`), where no shell
    /// reads the command.
    pub fn shell_word(&self) -> Option<&str> {
        let (program, args) = self.argv.split_first()?;
        let words = args.iter().map(String::as_str);
        let has_shell = is_shell(program) && args.iter().any(|word| word.starts_with('-'));
        words.into_iter().find(|word| !has_shell && is_operator(word))
    }

    /// What is wrong with the words that follow, which are a user and a group: the word, and why.
    pub fn stray_word(&self) -> Option<(&Word, String)> {
        let whole: Vec<&str> = self
            .argv
            .iter()
            .map(String::as_str)
            .chain(self.following.iter().map(|word| word.text.as_str()))
            .collect();
        let whole = whole.join(" ");
        let is_no_name =
            |word: &&Word| word.text.starts_with(['/', '-']) || word.text.contains(['=', '$', '*']);
        if let Some(word) = self.following.iter().find(|word| is_operator(&word.text)) {
            let remedy = "no shell reads this line, so do that inside the script";
            return Some((word, remedy.to_owned()));
        }
        let remedy = format!("arguments go inside the quotes: \"{whole}\"");
        let stray = self.following.iter().find(is_no_name).or_else(|| self.following.get(2))?;
        Some((stray, remedy))
    }
}

/// What `script "</path"` runs: it asks whether the file can be opened.
const READABLE: &str = ": < \"$1\"";

/// The command for `script "</path"`.
pub fn readable(path: &str) -> Vec<String> {
    ["/bin/sh", "-c", READABLE, "sh", path].map(str::to_owned).to_vec()
}

/// Is it such a command? keepalived finds no program in it.
pub fn is_readable(argv: &[String]) -> bool {
    argv.get(2).is_some_and(|word| word == READABLE)
}

/// The process that a command asks for, if it does nothing else: `pidof X`, `pgrep X`,
/// `killall -0 X`, also under a shell.
pub fn asked_process(argv: &[String]) -> Option<String> {
    let mut argv: Vec<String> = argv.to_vec();
    if let [program, option, line] = argv.as_slice()
        && is_shell(program)
        && option == "-c"
    {
        argv = split(line).ok()?;
    }
    // Where the output goes does not matter.
    argv.retain(|word| {
        !["/dev/null", ">/dev/null", "2>&1", ">", "2>/dev/null"].contains(&word.as_str())
    });
    let (program, args) = argv.split_first()?;
    let (flags, names): (Vec<&str>, Vec<&str>) =
        args.iter().map(String::as_str).partition(|word| word.starts_with('-'));
    let known: &[&str] = match base(program) {
        "pidof" => &["-s", "-x", "-q"],
        "pgrep" => &["-x", "-c"],
        "killall" if flags.contains(&"-0") => &["-0", "-q", "-s"],
        _ => return None,
    };
    let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "._/-".contains(c));
    match names.as_slice() {
        [name] if flags.iter().all(|flag| known.contains(flag)) && is_plain(name) => {
            Some(base(name).to_owned())
        }
        _ => None,
    }
}

/// What is said of a check that only asks whether a process is there.
pub fn use_track_process(check: &str, process: &str) -> String {
    format!(
        "vrrp_script {check} only asks whether {process} runs: `vrrp_track_process NAME {{ process \
         {process} }}` and `track_process {{ NAME }}` in the instance see it at once, and start \
         nothing"
    )
}

fn is_shell(program: &str) -> bool {
    matches!(base(program), "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh" | "busybox")
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_operator(word: &str) -> bool {
    let redirects = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
    redirects.starts_with(['>', '<'])
        || matches!(word, "|" | "||" | "&&" | "&" | ";" | "|&")
        || (word.len() > 1 && word.ends_with(';'))
}

/// Splits at blanks; quotes of both kinds group and may join parts of a word, escapes count
/// everywhere. The error is the quote that is not closed.
fn split(text: &str) -> Result<Vec<String>, char> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(ch) = chars.next() {
        match (ch, quote) {
            ('\\', _) => {
                let escaped = word.get_or_insert_default();
                escape(&mut chars, escaped);
            }
            ('"' | '\'', None) => {
                quote = Some(ch);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == ch => quote = None,
            (_, None) if ch.is_ascii_whitespace() => words.extend(word.take()),
            _ => push(word.get_or_insert_default(), ch),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(open),
        None => Ok(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()),
    }
}

fn push(word: &mut Vec<u8>, ch: char) {
    word.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What follows a backslash. A number means a byte; the byte 0 cannot be in an argument and is
/// left out.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut Vec<u8>) {
    let Some(ch) = chars.next() else { return };
    let byte = match ch {
        'a' => 0x07,
        'b' => 0x08,
        'E' => 0x1b,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => {
            digits(chars, 0, 16, usize::MAX)
        }
        '0'..='7' => digits(chars, ch.to_digit(8).unwrap_or(0), 8, 2),
        'c' => match chars.next() {
            Some(letter) => u8::try_from(letter).unwrap_or(0) & 0x1f,
            None => return,
        },
        other => return push(word, other),
    };
    if byte != 0 {
        word.push(byte);
    }
}

/// At most `most` further digits; the lowest eight bits of their value.
fn digits(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    first: u32,
    radix: u32,
    most: usize,
) -> u8 {
    let mut value = first;
    for _ in 0..most {
        let Some(digit) = chars.peek().and_then(|ch| ch.to_digit(radix)) else { break };
        chars.next();
        value = value.wrapping_mul(radix).wrapping_add(digit);
    }
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(rest: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let words = vec![Word { text: "notify".to_owned(), span: Span::default() }];
        let statement =
            Statement { words, rest: rest.to_owned(), block: None, span: Span::default() };
        script_words(&statement)
            .map(|c| (c.argv, c.following.into_iter().map(|word| word.text).collect()))
            .map_err(|diagnostic| diagnostic.message)
    }

    #[test]
    fn arguments_user_and_group() {
        for (rest, argv, following) in [
            ("/bin/x", "/bin/x", ""),
            ("/bin/x root wheel", "/bin/x", "root|wheel"),
            (r#""/x/y.sh a 'b c' d" root"#, "/x/y.sh|a|b c|d", "root"),
            ("'/bin/x \"a b\"' root", "/bin/x|a b", "root"),
            (r#"/bin/f"oo b"ar u"#, "/bin/foo|bar", "u"),
            (r#""/bin/x \"a b\" c""#, "/bin/x|a b|c", ""),
            (r#""/bin/x \x41\102\cA" "ro ot""#, "/bin/x|AB\u{1}", "ro ot"),
            (r#""/bin/x \\E\\q\\\\""#, "/bin/x|\u{1b}q\\", ""),
            (r#"/bin/x\ y"#, "/bin/x|y", ""),
            ("\"/bin/x \"\"y z\" u", "/bin/x|y|z", "u"),
            ("\"/bin/x '' y\"", "/bin/x||y", ""),
        ] {
            let list = |text: &str| match text {
                "" => Vec::new(),
                text => text.split('|').map(str::to_owned).collect::<Vec<_>>(),
            };
            assert_eq!(command(rest), Ok((list(argv), list(following))), "{rest}");
        }
    }

    #[test]
    fn a_check_of_a_process_is_known() {
        for (line, process) in [
            ("killall -0 haproxy", Some("haproxy")),
            ("/usr/bin/pidof /usr/sbin/nginx", Some("nginx")),
            ("sh -c 'pgrep -x nginx >/dev/null 2>&1'", Some("nginx")),
            ("killall -9 haproxy", None),
            ("pgrep -f 'java -jar x'", None),
            ("pgrep -u root nginx", None),
            ("sh -c 'pidof nginx && curl localhost'", None),
            ("pidof a b", None),
            ("/x.sh pidof", None),
        ] {
            let argv = split(line).unwrap();
            assert_eq!(asked_process(&argv).as_deref(), process, "{line}");
        }
    }

    #[test]
    fn words_for_a_shell_are_known() {
        for word in [">", ">>", ">/tmp/log", "2>&1", "&>x", "<", "|", "&&", ";", "true;"] {
            assert!(is_operator(word), "{word}");
        }
        for word in ["", "root", "2", "-x", "a&b", "a|b", "http://x/?a=1&b=2"] {
            assert!(!is_operator(word), "{word}");
        }
    }

    #[test]
    fn nothing_to_run() {
        for rest in ["", "  ", "\"\"", "'' root", "\"/bin/x", "/bin/x 'a", "\"/bin/x 'a\" b"] {
            assert!(command(rest).is_err(), "{rest}");
        }
    }
}
