//! A script without the commands that belong to mount.sh from now on.
//!
//! A command that goes has succeeded, as far as the rest of the script is concerned: the hook ran before.
//! Where something depends on it, `:` stands in its place; where nothing does, its line goes.

use std::ops::Range;

use super::gather::Verdict;
use super::read::read;
use super::tree::{Chain, Change, Command, Kind, List, Part, Pipeline, Word};

/// A part of the text, and what stands there instead.
pub type Edit = (Range<usize>, String);

/// What becomes of the commands of one script, and what they are.
pub struct Script<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its commands.
    pub list: &'a List,
    /// What happens with the command that begins at a byte.
    pub verdict: &'a dyn Fn(usize) -> Option<Verdict>,
    /// Is a command named that begins in these bytes, and stays?
    pub is_left: &'a dyn Fn(Range<usize>) -> bool,
    /// Its own status is asked for: it is a check.
    pub is_check: bool,
}

/// Where a list stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// It may be empty.
    Loose,
    /// Something has to be in it.
    Filled,
    /// Its last status is what others go by.
    Asked,
}

/// The new text; none if nothing changes.
///
/// # Errors
///
/// The result would not be a script. It is left to a person then.
pub fn edit(script: &Script<'_>, more: Vec<Edit>) -> Result<Option<String>, String> {
    let mut edits = more;
    let body = if script.is_check { Body::Asked } else { Body::Loose };
    script.list(script.list, body, &mut edits);
    if edits.is_empty() {
        return Ok(None);
    }
    let text = apply(script.text, edits).ok_or("two changes of it overlap")?;
    match read(&text) {
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(format!("without these lines it would be no script: {}", error.why)),
    }
}

/// A text with other words in some places; none if these overlap.
pub fn apply(text: &str, mut edits: Vec<Edit>) -> Option<String> {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    edits.dedup();
    let (mut out, mut at) = (String::new(), 0);
    for (range, new) in edits {
        out.push_str(text.get(at..range.start)?);
        out.push_str(&new);
        at = range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

impl Script<'_> {
    fn list(&self, list: &List, body: Body, edits: &mut Vec<Edit>) {
        let last = list.0.len().saturating_sub(1);
        // One that stays as `:`, where all go, or the last one is asked.
        let kept = if list.0.iter().all(|chain| self.is_gone(chain)) {
            (body != Body::Loose).then_some(0)
        } else {
            let is_asked = body == Body::Asked && !list.0.iter().any(|one| self.ends(one));
            is_asked.then_some(last)
        };
        for (at, chain) in list.0.iter().enumerate() {
            if !self.is_gone(chain) {
                self.chain(chain, body == Body::Asked && at == last, edits);
            } else if kept == Some(at) || self.is_asked_for(chain.place.end) {
                edits.push((chain.place.range(), ":".to_owned()));
            } else {
                edits.push((self.statement(chain.place.range()), String::new()));
            }
        }
    }

    /// Is it a command that becomes the end of the script, so that nothing comes after it?
    fn ends(&self, chain: &Chain) -> bool {
        let is_alone = matches!(chain.parts.as_slice(), [one] if one.only().is_some());
        let verdict = (self.verdict)(chain.place.start);
        is_alone && matches!(verdict, Some(Verdict::End | Verdict::Fail))
    }

    /// Does the rest of the line, or the next one that has something in it, ask how this ended?
    fn is_asked_for(&self, end: usize) -> bool {
        let mut lines = self.text.get(end..).unwrap_or_default().split('\n');
        let own = lines.next().unwrap_or_default();
        let next = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
        own.contains("$?") || next.contains("$?")
    }

    /// A command with what ends it, and with its lines if nothing else is on them.
    fn statement(&self, place: Range<usize>) -> Range<usize> {
        const BLANKS: [char; 2] = [' ', '\t'];
        let before = self.text.get(..place.start).unwrap_or_default();
        let mut rest = self.text.get(place.end..).unwrap_or_default();
        // One that ends it, but not the two that end an arm.
        if let Some(behind) = rest.trim_start_matches(BLANKS).strip_prefix([';', '&'])
            && !rest.trim_start_matches(BLANKS).starts_with(";;")
            && !rest.trim_start_matches(BLANKS).starts_with(";&")
        {
            rest = behind;
        }
        let end = self.text.len() - rest.len();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let tail = rest.get(..line_end).unwrap_or_default().trim();
        let is_alone = before.get(line_start..).is_some_and(|head| head.trim().is_empty());
        if is_alone && (tail.is_empty() || tail.starts_with('#')) {
            return line_start..end + line_end;
        }
        // At the end of a line no blank is left over.
        let start =
            if tail.is_empty() { before.trim_end_matches(BLANKS).len() } else { place.start };
        start..self.text.len() - rest.trim_start_matches(BLANKS).len()
    }

    fn is_left(&self, pipeline: &Pipeline) -> bool {
        (self.is_left)(pipeline.place.range())
    }

    /// Does all of it go?
    fn is_gone(&self, chain: &Chain) -> bool {
        let (mut any, mut is_true) = (false, true);
        for pipeline in &chain.parts {
            if self.goes(pipeline) {
                any = true;
                is_true |= pipeline.is_or;
            } else if !pipeline.is_or || !is_true {
                // What was asked is of no matter where nothing follows from it any more.
                if !is_question(pipeline) {
                    return false;
                }
                is_true = false;
            } else if self.is_left(pipeline) {
                return false;
            }
        }
        any
    }

    /// A pipeline that is nothing but a command that goes, perhaps with its output sent on.
    fn goes(&self, pipeline: &Pipeline) -> bool {
        let Some((first, rest)) = pipeline.commands.split_first() else { return false };
        let is_outlet = |command: &Command| match &command.kind {
            Kind::Simple(simple) if simple.assigned.is_empty() => {
                let name = simple.words.first().and_then(Word::bare);
                matches!(name, Some("tee" | "logger" | "cat"))
            }
            _ => false,
        };
        !pipeline.is_negated && self.is_removed(first) && rest.iter().all(is_outlet)
    }

    fn is_removed(&self, command: &Command) -> bool {
        let is_simple = matches!(&command.kind, Kind::Simple(simple) if simple.assigned.is_empty());
        is_simple && (self.verdict)(command.place.start) == Some(Verdict::Remove)
    }

    /// One that stays, at least in part.
    fn chain(&self, chain: &Chain, is_last: bool, edits: &mut Vec<Edit>) {
        // Does anything stay of what is before? If not, that is true.
        let mut keeps = false;
        // Where begins what goes, behind the last one that stays.
        let mut gone_from = Some(chain.place.start);
        let mut kept_end = chain.place.start;
        for pipeline in &chain.parts {
            // Behind `||` it would run only if what is gone had failed.
            let can_go = if pipeline.is_or {
                !keeps && !self.is_left(pipeline)
            } else {
                self.goes(pipeline)
            };
            if can_go {
                gone_from = gone_from.or(Some(kept_end));
                continue;
            }
            match gone_from.take() {
                // What is left may not run where all before is gone, so that stays as a `:`.
                Some(from) if !keeps && pipeline.is_or => {
                    edits.push((from..pipeline.joint, ": ".to_owned()));
                }
                Some(from) if !keeps && from < pipeline.place.start => {
                    edits.push((from..pipeline.place.start, String::new()));
                }
                Some(from) if keeps => edits.push((from..pipeline.joint, " ".to_owned())),
                _ => {}
            }
            let is_last = is_last && chain.parts.len() == 1 && pipeline.only().is_some();
            pipeline.commands.iter().for_each(|command| self.command(command, is_last, edits));
            (keeps, kept_end) = (true, pipeline.place.end);
        }
        if let Some(from) = gone_from.filter(|_| keeps) {
            // With errexit a command may fail only where something is joined to it.
            let end = if self.has_errexit() { " && :" } else { "" };
            edits.push((from..chain.place.end, end.to_owned()));
        }
    }

    /// Does it end where a command fails (`set -e`)?
    fn has_errexit(&self) -> bool {
        self.text.lines().any(|line| {
            let mut words = line.split_whitespace();
            let is_set = words.next().is_some_and(|word| word == "set" || word.starts_with("#!"));
            let has_e =
                |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('e');
            is_set && words.any(|word| has_e(word) || word == "errexit")
        })
    }

    /// `is_last`: its status is that of the list around it, which is asked for.
    fn command(&self, command: &Command, is_last: bool, edits: &mut Vec<Edit>) {
        let new = match (self.verdict)(command.place.start) {
            Some(Verdict::Remove) if self.is_removed(command) => ":",
            Some(Verdict::End) => "exit 0",
            Some(Verdict::Fail) => "exit 1",
            _ => return self.inside(command, is_last, edits),
        };
        edits.push((command.place.range(), new.to_owned()));
    }

    fn inside(&self, command: &Command, is_last: bool, edits: &mut Vec<Edit>) {
        let body = if is_last { Body::Asked } else { Body::Filled };
        match &command.kind {
            Kind::Simple(simple) => {
                let assigned = simple.assigned.iter().flat_map(|one| &one.values);
                self.words(assigned.chain(&simple.words).chain(&simple.targets), edits);
            }
            Kind::Group(list) => self.list(list, body, edits),
            Kind::Subshell(list) => self.list(list, Body::Asked, edits),
            Kind::If(arms, otherwise) => {
                for (condition, list) in arms {
                    self.list(condition, Body::Asked, edits);
                    self.list(list, body, edits);
                }
                self.list(otherwise, body, edits);
            }
            Kind::Loop(condition, list) => {
                self.list(condition, Body::Asked, edits);
                self.list(list, body, edits);
            }
            Kind::For(_, words, list) => {
                self.words(words.iter().flatten(), edits);
                self.list(list, body, edits);
            }
            Kind::Case(subject, arms) => {
                self.words([subject], edits);
                let body = if is_last { Body::Asked } else { Body::Loose };
                arms.iter().for_each(|arm| self.list(&arm.body, body, edits));
            }
            Kind::Function(_, function) => self.command(function, true, edits),
            Kind::Test(words) => self.words(words, edits),
            Kind::Arithmetic(_) => {}
        }
    }

    fn words<'b>(&self, words: impl IntoIterator<Item = &'b Word>, edits: &mut Vec<Edit>) {
        words.into_iter().for_each(|word| self.word(word, edits));
    }

    fn word(&self, word: &Word, edits: &mut Vec<Edit>) {
        for part in &word.parts {
            match part {
                Part::Output(list) => self.list(list, Body::Asked, edits),
                Part::Variable { change: Change::Default(_, word), .. } => self.word(word, edits),
                _ => {}
            }
        }
    }
}

/// A test, or `mountpoint -q`, that does nothing else.
fn is_question(pipeline: &Pipeline) -> bool {
    let words = match pipeline.only().map(|command| &command.kind) {
        Some(Kind::Test(words)) => words,
        Some(Kind::Simple(simple)) => {
            let mut bare = simple.words.iter().map(Word::bare);
            match (bare.next().flatten(), bare.next().flatten()) {
                (Some("[" | "test"), _) | (Some("mountpoint"), Some("-q")) => &simple.words,
                _ => return false,
            }
        }
        _ => return false,
    };
    let mut parts = words.iter().flat_map(|word| &word.parts);
    !parts.any(|part| matches!(part, Part::Output(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without commands that begin with `mount`, and with `odd` as something that is named.
    fn without(text: &str) -> String {
        without_of(text, false)
    }

    fn without_of(text: &str, is_check: bool) -> String {
        let list = read(text).expect(text);
        let begins = |at: usize, word: &str| text[at..].starts_with(word);
        let verdict = |at: usize| {
            if begins(at, "mount ") {
                Some(Verdict::Remove)
            } else if begins(at, "exec mount") {
                Some(Verdict::End)
            } else {
                begins(at, "stop").then_some(Verdict::Fail)
            }
        };
        let is_left = |range: Range<usize>| text[range].contains("odd");
        let script = Script { text, list: &list, verdict: &verdict, is_left: &is_left, is_check };
        edit(&script, Vec::new()).expect(text).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn a_line_that_nothing_depends_on_goes() {
        for (text, left) in [
            ("a\nmount x >>log 2>&1 # why\nb\n", "a\nb\n"),
            ("a; mount x; b\n", "a; b\n"),
            ("a; mount x\nb\n", "a;\nb\n"),
            ("mount x \\\n  y\nb\n", "b\n"),
            ("mount x &\nb\n", "b\n"),
            (
                "case x in\n  A)\n    mount x\n    ;;\n  B) mount y ;;\nesac\n",
                "case x in\n  A)\n    ;;\n  B) ;;\nesac\n",
            ),
            ("mount x || exit 1\nb\n", "b\n"),
            ("mount x || { logger no; exit 1; }\nb\n", "b\n"),
            ("mount x && mount y || mount z\nb\n", "b\n"),
            ("mount x | tee -a log\nb\n", "b\n"),
            ("mount x", ""),
            ("[ a = b ] && mount x\nb\n", "b\n"),
            ("mountpoint -q x || mount x || odd\nb\n", "mountpoint -q x || : || odd\nb\n"),
            ("mountpoint -q x || mount x\nb\n", "b\n"),
            ("! [[ -n $a ]] && mount x || mount y\nb\n", "b\n"),
            ("[ a ] && b || mount x\n", "[ a ] && b || :\n"),
            ("[ a ] && mount x || b\n", "[ a ] || b\n"),
            ("[ $(a) ] && mount x\n", "[ $(a) ]\n"),
            ("[ a ] || exit 1\n", "[ a ] || exit 1\n"),
            ("if a; then\n  mount x\n  b\nfi\n", "if a; then\n  b\nfi\n"),
        ] {
            assert_eq!(without(text), left, "{text:?}");
        }
    }

    #[test]
    fn where_something_depends_on_it_it_has_succeeded() {
        for (text, left) in [
            ("if mount x; then a; else b; fi\n", "if :; then a; else b; fi\n"),
            ("if a; then mount x; fi\n", "if a; then :; fi\n"),
            ("if a; then\n  mount x\n  mount y\nfi\n", "if a; then\n  :\nfi\n"),
            ("while ! mount x; do sleep 1; done\n", "while ! :; do sleep 1; done\n"),
            ("mount x\nif [ $? -ne 0 ]; then a; fi\n", ":\nif [ $? -ne 0 ]; then a; fi\n"),
            ("mount x; rc=$?\n", ":; rc=$?\n"),
            ("f() {\n  a\n  mount x\n}\nf || b\n", "f() {\n  a\n  :\n}\nf || b\n"),
            ("f() { mount x; }\n", "f() { :; }\n"),
            ("x=$(mount x 2>&1)\n", "x=$(:)\n"),
            ("x=`mount x`\n", "x=`:`\n"),
            ("mount x | grep y\n", ": | grep y\n"),
            ("(mount x)\n", "(:)\n"),
            ("{ mount x; } >log\n", "{ :; } >log\n"),
            ("! mount x\n", "! :\n"),
        ] {
            assert_eq!(without(text), left, "{text:?}");
        }
    }

    #[test]
    fn what_is_joined_to_it_is_kept_as_it_was() {
        for (text, left) in [
            ("mount x && a\n", "a\n"),
            ("a && mount x\n", "a\n"),
            ("a && mount x && b\n", "a && b\n"),
            ("a && mount x || b\n", "a || b\n"),
            ("a || mount x\n", "a || :\n"),
            ("mount x || a && b\n", "b\n"),
            ("mount x || odd\n", ": || odd\n"),
            ("mount x && a || b\n", "a || b\n"),
            ("a &&\n  mount x\nb\n", "a\nb\n"),
        ] {
            assert_eq!(without(text), left, "{text:?}");
        }
    }

    #[test]
    fn a_status_that_is_asked_for_stays_what_it_was() {
        assert_eq!(without("set -e\na && mount x\n"), "set -e\na && :\n");
        assert_eq!(
            without("f() {\n  if a; then\n    b\n    mount x\n  fi\n}\n"),
            "f() {\n  if a; then\n    b\n    :\n  fi\n}\n"
        );
        assert_eq!(without_of("a\nmount x\n", true), "a\n:\n");
        let case = "case a in\n b) c; mount x;;\nesac\n";
        assert_eq!(without_of(case, true), "case a in\n b) c; :;;\nesac\n");
    }

    #[test]
    fn a_script_that_ended_ends() {
        assert_eq!(without("exec mount x >log\na\n"), "exit 0\na\n");
    }

    #[test]
    fn a_check_that_stops_the_daemon_fails() {
        let text = "if [ $n -eq 0 ]; then\n  stop keepalived\n  mount x\nfi\n";
        for is_check in [false, true] {
            let left = without_of(text, is_check);
            assert_eq!(left, "if [ $n -eq 0 ]; then\n  exit 1\nfi\n");
        }
    }
}
