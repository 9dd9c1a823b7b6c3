//! Simple commands: those of the shell itself, functions, other scripts, and what is met.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::super::library::{MISSING, is_shell};
use super::super::meaning::{mentions_storage, without_prefixes};
use super::super::tree::{Command, Part, Place, Simple, Word};
use super::super::value::{self, UNKNOWN, Val, Value, Variables};
use super::{CALLS_MAX, End, Flow, ON, SCRIPTS_MAX, VALUES_MAX, Visit, Walker, names};

/// Where the programs of the system are.
const SYSTEM: [&str; 6] =
    ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/etc/init.d/", "/etc/rc.d/"];

impl Walker<'_, '_> {
    pub(super) fn simple(&mut self, simple: &Simple, place: Place) -> End {
        let mut assigned: Vec<(&str, bool, Value)> = Vec::new();
        for one in &simple.assigned {
            let value = match one.values.as_slice() {
                [word] if !one.is_array => Value::One(self.one(word)),
                words => Value::Many(words.iter().flat_map(|word| self.expand(word)).collect()),
            };
            assigned.push((&one.name, one.appends, value));
        }
        for target in &simple.targets {
            self.one(target);
        }
        let Some((first, behind)) = simple.words.split_first() else {
            for (name, appends, value) in assigned {
                self.assign(name, appends, value);
            }
            return ON;
        };
        let declares = ["export", "readonly", "local", "declare", "typeset"];
        if let Some(at) = first.bare().and_then(|name| declares.iter().position(|d| *d == name)) {
            behind.iter().for_each(|word| self.declare(word, at > 1));
            return ON;
        }
        let words: Vec<Val> = simple.words.iter().flat_map(|word| self.expand(word)).collect();
        let stripped = without_prefixes(&words).and_then(<[Val]>::split_first);
        let Some((Some(name), rest)) = stripped.map(|(first, rest)| (first.known(), rest)) else {
            self.meet_command(simple, place, words);
            return ON;
        };
        if let Some(end) = self.builtin(name, rest) {
            return end;
        }
        // What runs a command runs no function.
        let is_direct = rest.len() + 1 == words.len();
        if let Some((file, body)) = self.functions.get(name).filter(|_| is_direct).cloned() {
            return self.call(name, file, &body, rest.to_vec());
        }
        if matches!(name, "." | "source") {
            return (None, self.source(rest, place));
        }
        let is_exec = words.first().and_then(Val::known) == Some("exec");
        let called = self.called(name, rest);
        self.meet_command(simple, place, words);
        if let Some((file, given)) = called {
            self.trail.names.insert((self.file, place, file));
            self.run(file, given, place);
        }
        (None, if is_exec { Flow::Exit } else { Flow::On })
    }

    fn meet_command(&mut self, simple: &Simple, place: Place, words: Vec<Val>) {
        if self.is_quiet {
            return;
        }
        self.trail.visits.push(Visit {
            file: self.file,
            place,
            when: self.when,
            words,
            unsure: self.unsure,
            writes_storage: simple.document.as_deref().is_some_and(mentions_storage),
            has_document: simple.document.is_some(),
            is_inner: self.is_inner,
        });
    }

    fn puzzle(&mut self, file: usize, line: usize, why: &str) {
        if !self.is_quiet {
            self.trail.puzzles.insert((file, line, why.to_owned()));
        }
    }

    fn assign(&mut self, name: &str, appends: bool, value: Value) {
        let value = match (appends, self.variables.get(name).cloned(), value) {
            (false, _, value) => value,
            (true, Some(Value::One(old)), Value::One(new)) => Value::One(old.and(new)),
            (true, Some(Value::Many(mut old)), Value::Many(new)) if old.len() < VALUES_MAX => {
                old.extend(new);
                Value::Many(old)
            }
            _ => Value::One(UNKNOWN),
        };
        self.variables.restore(name, Some(value));
    }

    /// A word behind `local` and its like.
    fn declare(&mut self, word: &Word, is_local: bool) {
        let mut value = word.clone();
        let (mut name, mut has_value) = (String::new(), false);
        if let Some(Part::Text { text, is_quoted: false }) = value.parts.first_mut() {
            if let Some((before, after)) = text.split_once('=') {
                (name, *text, has_value) = (before.to_owned(), after.to_owned(), true);
            } else if word.parts.len() == 1 {
                name.clone_from(text);
            }
        }
        let appends = name.ends_with('+');
        let name = name.trim_end_matches('+');
        if name.starts_with('-') && !has_value {
            return;
        }
        if names(name).ne([name]) {
            return self.variables.lose();
        }
        if is_local && let Some(own) = self.locals.last_mut() {
            own.push((name.to_owned(), self.variables.get(name).cloned()));
            if !has_value {
                self.variables.set(name, Val::of(""));
            }
        }
        if has_value {
            let value = Value::One(self.one(&value));
            self.assign(name, appends, value);
        }
    }

    /// A command of the shell itself.
    fn builtin(&mut self, name: &str, words: &[Val]) -> Option<End> {
        let first = words.first().and_then(Val::known);
        match name {
            "exit" => return Some((None, Flow::Exit)),
            "return" => return Some((None, Flow::Return)),
            "break" | "continue" => return Some((None, Flow::Break)),
            ":" | "true" => return Some((Some(true), Flow::On)),
            "false" => return Some((Some(false), Flow::On)),
            "[" => {
                let inside = words.split_last().map_or(&[][..], |(_, inside)| inside);
                return Some((value::test(inside), Flow::On));
            }
            "test" => return Some((value::test(words), Flow::On)),
            "printf" if first != Some("-v") => {}
            "read" | "unset" | "getopts" | "mapfile" | "readarray" | "let" | "printf" => {
                for word in words {
                    match word.known() {
                        Some(text) => names(text).for_each(|n| self.variables.set(n, UNKNOWN)),
                        None => self.variables.lose(),
                    }
                }
            }
            "shift" => {
                let count = words.first().map_or(Some(1), |word| word.known()?.parse().ok());
                let rest = |given: &Vec<Val>| Some(given.get(count?..)?.to_vec());
                self.given = self.given.as_ref().and_then(rest);
            }
            "set" => {
                let is_option = |word: &Val| {
                    word.known().is_some_and(|word| word != "--" && word.starts_with(['-', '+']))
                };
                // `set -o errexit`, `set -euo pipefail`
                let names_option = first.is_some_and(|word| {
                    matches!(word, "-o" | "+o") || (word.ends_with('o') && word.starts_with('-'))
                });
                if !names_option && !words.iter().all(is_option) {
                    self.given = None;
                }
            }
            "eval" => {
                self.variables.lose();
                return None;
            }
            "cd" | "umask" | "ulimit" | "hash" | "wait" | "jobs" | "alias" | "pwd" => {}
            _ => return None,
        }
        Some(ON)
    }

    fn call(&mut self, name: &str, file: usize, body: &Rc<Command>, words: Vec<Val>) -> End {
        if self.calls.len() >= CALLS_MAX || self.calls.iter().any(|call| call == name) {
            return ON;
        }
        self.calls.push(name.to_owned());
        let given = self.given.replace(words);
        let own = std::mem::replace(&mut self.file, file);
        let was_unsure = self.unsure;
        self.locals.push(Vec::new());
        let (truth, flow) = self.command(body);
        for (name, value) in self.locals.pop().unwrap_or_default().into_iter().rev() {
            self.variables.restore(&name, value);
        }
        (self.file, self.given) = (own, given);
        self.calls.pop();
        if flow == Flow::Exit {
            return (truth, flow);
        }
        self.unsure = was_unsure;
        ON
    }

    /// Can a script be followed from here? If not, it is named.
    fn may_follow(&mut self, file: usize, is_read: bool, line: usize) -> bool {
        let done = if is_read { "a file is read here" } else { "a script is called here" };
        let why = if self.scripts.contains(&file) {
            format!("{done} that is being read already")
        } else if self.scripts.len() > SCRIPTS_MAX {
            format!("{done} by one that was read or called itself: it is not followed")
        } else {
            return true;
        };
        self.puzzle(self.file, line, &why);
        false
    }

    /// A file that is read into this script.
    fn source(&mut self, words: &[Val], place: Place) -> Flow {
        let path = words.first().and_then(Val::known);
        let Some(path) = path.filter(|path| path.starts_with('/')) else {
            let why = match path {
                None => "which file is read here depends on what the script does not say",
                Some(_) => {
                    "a file is read here by a name that does not begin with /: which one is not clear"
                }
            };
            self.variables.lose();
            self.puzzle(self.file, place.line, why);
            return Flow::On;
        };
        let file = self.library.script(Path::new(path));
        self.trail.names.insert((self.file, place, file));
        if !self.may_follow(file, true, place.line) {
            self.variables.lose();
            return Flow::On;
        }
        let mut flow = Flow::On;
        match self.library.files.get(file).map(|file| file.list.clone()) {
            Some(Ok(list)) => {
                let own = std::mem::replace(&mut self.file, file);
                self.scripts.push(file);
                flow = self.list(&list);
                self.scripts.pop();
                self.file = own;
            }
            Some(Err((line, why))) => {
                // What is not there sets nothing either.
                if why != MISSING {
                    self.variables.lose();
                }
                self.puzzle(file, line, &why);
            }
            None => {}
        }
        if flow == Flow::Exit { flow } else { Flow::On }
    }

    /// The script that a command calls, with the words it is given. Programs of the system are none.
    fn called(&mut self, name: &str, words: &[Val]) -> Option<(usize, Vec<Val>)> {
        let (path, given) = if is_shell(name) {
            let at = words.iter().position(|word| {
                word.known().is_none_or(|word| !word.starts_with('-') || word.contains('c'))
            })?;
            (words.get(at)?.known()?, words.get(at + 1..)?)
        } else if SYSTEM.iter().any(|folder| name.starts_with(folder)) {
            return None;
        } else {
            (name, words)
        };
        path.starts_with('/').then(|| (self.library.script(Path::new(path)), given.to_vec()))
    }

    /// Another script is run from here.
    fn run(&mut self, file: usize, given: Vec<Val>, place: Place) {
        if self.is_quiet {
            return;
        }
        let Some(script) = self.library.files.get(file).cloned() else { return };
        let list = match script.list {
            Ok(list) => list,
            // A program does not mount by itself.
            Err((0, _)) => return,
            Err((line, why)) => return self.puzzle(file, line, &why),
        };
        if !self.may_follow(file, false, place.line) {
            return;
        }
        let mut inner = Walker {
            library: &mut *self.library,
            trail: std::mem::take(&mut self.trail),
            file,
            name: script.path,
            variables: Variables::default(),
            given: Some(given),
            functions: BTreeMap::new(),
            calls: Vec::new(),
            locals: Vec::new(),
            scripts: [self.scripts.as_slice(), &[file]].concat(),
            is_inner: false,
            ..*self
        };
        inner.list(&list);
        (self.steps, self.trail) = (inner.steps, inner.trail);
    }
}
