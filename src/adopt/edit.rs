//! A script without the commands that belong to mount.sh from now on.
//!
//! A command that goes has succeeded, as far as the rest of the script is concerned: the hook ran before.
//! Where something depends on it, `:` stands in its place; where nothing does, its line goes.

use std::ops::Range;

use super::gather::Verdict;
use super::read::read;
use super::tree::{Chain, Command, Kind, List, Part, Pipeline, Simple, Word};

/// A part of the text, and what stands there instead.
type Edit = (Range<usize>, String);

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

fn apply(text: &str, mut edits: Vec<Edit>) -> Option<String> {
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
        let is_gone = |chain: &Chain| self.is_gone(chain);
        let last = list.0.len().saturating_sub(1);
        // One that stays as `:`, where all go, or the last one is asked.
        let kept = match body {
            _ if !list.0.iter().all(is_gone) => {
                let is_asked = body == Body::Asked && !list.0.iter().any(|one| self.ends(one));
                is_asked.then_some(last)
            }
            Body::Loose => None,
            Body::Filled | Body::Asked => Some(0),
        };
        for (at, chain) in list.0.iter().enumerate() {
            if !is_gone(chain) {
                self.chain(chain, body == Body::Asked && at == last, edits);
            } else if kept == Some(at) || self.is_asked_for(chain.place.end) {
                edits.push((chain.place.start..chain.place.end, ":".to_owned()));
            } else {
                edits.push((self.statement(chain.place.start, chain.place.end), String::new()));
            }
        }
    }

    /// Is it a command that becomes the end of the script, so that nothing comes after it?
    fn ends(&self, chain: &Chain) -> bool {
        let verdict = (self.verdict)(chain.place.start);
        let is_alone = chain.rest.is_empty() && chain.first.commands.len() == 1;
        is_alone && matches!(verdict, Some(Verdict::End | Verdict::Fail))
    }

    /// Does the next line ask how this ended?
    fn is_asked_for(&self, end: usize) -> bool {
        let rest = self.text.get(end..).unwrap_or_default();
        // The rest of the line, and the next one that has something in it.
        let mut lines = rest.split('\n');
        let own = lines.next().unwrap_or_default();
        let next = lines.find(|line| !line.trim().is_empty()).unwrap_or_default();
        own.contains("$?") || next.contains("$?")
    }

    /// A command with what ends it, and with its lines if nothing else is on them.
    fn statement(&self, start: usize, end: usize) -> Range<usize> {
        let before = self.text.get(..start).unwrap_or_default();
        let after = self.text.get(end..).unwrap_or_default();
        let trimmed = after.trim_start_matches([' ', '\t']);
        let mut end = end;
        let mut rest = after;
        // One that ends it, but not the two that end an arm.
        if trimmed.starts_with([';', '&'])
            && !trimmed.starts_with(";;")
            && !trimmed.starts_with(";&")
        {
            rest = trimmed.get(1..).unwrap_or_default();
            end += after.len() - trimmed.len() + 1;
        }
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let tail = rest.get(..line_end).unwrap_or_default().trim();
        let is_alone = before.get(line_start..).is_some_and(|head| head.trim().is_empty());
        if is_alone && (tail.is_empty() || tail.starts_with('#')) {
            return line_start..end + line_end;
        }
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        // At the end of a line no blank is left over.
        let start =
            if tail.is_empty() { before.trim_end_matches([' ', '\t']).len() } else { start };
        start..end + blanks
    }

    /// Does all of it go?
    fn is_gone(&self, chain: &Chain) -> bool {
        let (mut any, mut is_true) = (false, true);
        let first = (true, &chain.first);
        let rest = chain.rest.iter().map(|joined| (joined.is_and, &joined.pipeline));
        for (is_and, pipeline) in std::iter::once(first).chain(rest) {
            if self.goes(pipeline) {
                any = true;
                is_true |= !is_and;
            } else if is_and || !is_true {
                // What was asked is of no matter where nothing follows from it any more.
                if !is_question(pipeline) {
                    return false;
                }
                is_true = false;
            } else if (self.is_left)(pipeline.place.start..pipeline.place.end) {
                return false;
            }
        }
        any
    }

    /// A pipeline that is nothing but a command that goes, perhaps with its output sent on.
    fn goes(&self, pipeline: &Pipeline) -> bool {
        let Some((first, rest)) = pipeline.commands.split_first() else { return false };
        let is_outlet = |command: &Command| match &command.kind {
            Kind::Simple(simple) => {
                let name = simple.words.first().and_then(Word::bare);
                simple.assigned.is_empty()
                    && name.is_some_and(|name| matches!(name, "tee" | "logger" | "cat"))
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
        let parts: Vec<(Option<bool>, usize, &Pipeline)> =
            std::iter::once((None, chain.place.start, &chain.first))
                .chain(chain.rest.iter().map(|one| (Some(one.is_and), one.joint, &one.pipeline)))
                .collect();
        // The end of what is kept so far; none while all before is gone, so true.
        let mut kept_end: Option<usize> = None;
        let mut pending: Option<usize> = Some(chain.place.start);
        for (is_and, joint, pipeline) in parts {
            let is_left = (self.is_left)(pipeline.place.start..pipeline.place.end);
            let can_go = match (is_and, kept_end) {
                (None | Some(true), _) => self.goes(pipeline),
                // It would run only if what is gone had failed.
                (Some(false), None) => !is_left,
                (Some(false), Some(_)) => false,
            };
            if can_go {
                pending = pending.or(kept_end);
                continue;
            }
            if let Some(from) = pending.take() {
                let to = if kept_end.is_none() { pipeline.place.start } else { joint };
                // What is left may not run where all before is gone, so that stays as a `:`.
                if kept_end.is_none() && is_and == Some(false) {
                    edits.push((from..joint, ": ".to_owned()));
                } else if from < to {
                    let gap = if kept_end.is_none() { "" } else { " " };
                    edits.push((from..to, gap.to_owned()));
                }
            }
            self.pipeline(pipeline, is_last && chain.rest.is_empty(), edits);
            kept_end = Some(pipeline.place.end);
        }
        if let (Some(from), Some(_)) = (pending, kept_end) {
            // With errexit a command may fail only where something is joined to it.
            let end = if self.has_errexit() { " && :" } else { "" };
            edits.push((from..chain.place.end, end.to_owned()));
        }
    }

    /// Does it end where a command fails (`set -e`)?
    fn has_errexit(&self) -> bool {
        let is_set = |line: &str| {
            let mut words = line.split_whitespace();
            let is_set = words.next().is_some_and(|word| word == "set" || word.starts_with("#!"));
            let has_e =
                |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('e');
            is_set && words.any(|word| has_e(word) || word == "errexit")
        };
        self.text.lines().any(is_set)
    }

    fn pipeline(&self, pipeline: &Pipeline, is_last: bool, edits: &mut Vec<Edit>) {
        let is_last = is_last && pipeline.commands.len() == 1;
        for command in &pipeline.commands {
            self.command(command, is_last, edits);
        }
    }

    /// `is_last`: its status is that of the list around it, which is asked for.
    fn command(&self, command: &Command, is_last: bool, edits: &mut Vec<Edit>) {
        let range = command.place.start..command.place.end;
        match (self.verdict)(command.place.start) {
            Some(Verdict::Remove) if self.is_removed(command) => {
                return edits.push((range, ":".to_owned()));
            }
            Some(Verdict::End) => return edits.push((range, "exit 0".to_owned())),
            Some(Verdict::Fail) => return edits.push((range, "exit 1".to_owned())),
            _ => {}
        }
        let body = if is_last { Body::Asked } else { Body::Filled };
        match &command.kind {
            Kind::Simple(simple) => self.simple(simple, edits),
            Kind::Group(list) => self.list(list, body, edits),
            Kind::Subshell(list) => self.list(list, Body::Asked, edits),
            Kind::If(arms, otherwise) => {
                for (condition, list) in arms {
                    self.list(condition, Body::Asked, edits);
                    self.list(list, body, edits);
                }
                otherwise.iter().for_each(|list| self.list(list, body, edits));
            }
            Kind::Loop(condition, list) => {
                self.list(condition, Body::Asked, edits);
                self.list(list, body, edits);
            }
            Kind::For(_, words, list) => {
                words.iter().flatten().for_each(|word| self.word(word, edits));
                self.list(list, body, edits);
            }
            Kind::Case(subject, arms) => {
                self.word(subject, edits);
                let body = if is_last { Body::Asked } else { Body::Loose };
                arms.iter().for_each(|arm| self.list(&arm.body, body, edits));
            }
            Kind::Function(_, function) => match &function.kind {
                Kind::Group(list) => self.list(list, Body::Asked, edits),
                _ => self.command(function, true, edits),
            },
            Kind::Test(words) => words.iter().for_each(|word| self.word(word, edits)),
            Kind::Arithmetic(_) => {}
        }
    }

    fn simple(&self, simple: &Simple, edits: &mut Vec<Edit>) {
        use super::tree::Assignable::{Array, Word};
        for one in &simple.assigned {
            match &one.value {
                Word(word) => self.word(word, edits),
                Array(words) => words.iter().for_each(|word| self.word(word, edits)),
            }
        }
        simple.words.iter().chain(&simple.targets).for_each(|word| self.word(word, edits));
    }

    fn word(&self, word: &Word, edits: &mut Vec<Edit>) {
        for part in &word.parts {
            match part {
                Part::Output(list) => self.list(list, Body::Asked, edits),
                Part::Variable { change: super::tree::Change::Default(_, word), .. } => {
                    self.word(word, edits);
                }
                _ => {}
            }
        }
    }
}

/// A test, or `mountpoint -q`, that does nothing else.
fn is_question(pipeline: &Pipeline) -> bool {
    let [command] = pipeline.commands.as_slice() else { return false };
    let words = match &command.kind {
        Kind::Test(words) => words,
        Kind::Simple(simple) => {
            let mut bare = simple.words.iter().map(Word::bare);
            match bare.next().flatten() {
                Some("[" | "test") => {}
                Some("mountpoint") if bare.next().flatten() == Some("-q") => {}
                _ => return false,
            }
            &simple.words
        }
        _ => return false,
    };
    let runs_nothing = |word: &Word| !word.parts.iter().any(|part| matches!(part, Part::Output(_)));
    words.iter().all(runs_nothing)
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
