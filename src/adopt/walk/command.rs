//! Simple commands: those of the shell itself, functions, other scripts, and what is met.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::library::{MISSING, base};
use super::super::meaning::{mentions_storage, without_prefixes};
use super::super::tree::{Assignable, Command, Part, Place, Simple, Word};
use super::super::value::{self, Val, Value};
use super::changed::names;
use super::{CALLS_MAX, Flow, Puzzle, SCRIPTS_MAX, VALUES_MAX, Visit, Walker};

impl Walker<'_, '_> {
    pub(super) fn simple(&mut self, simple: &Simple, place: Place) -> (Option<bool>, Flow) {
        let assigned: Vec<(String, bool, Value)> = simple
            .assigned
            .iter()
            .map(|one| {
                let value = match &one.value {
                    Assignable::Word(word) => Value::One(self.one(word)),
                    Assignable::Array(words) => {
                        Value::Many(words.iter().flat_map(|word| self.expand(word)).collect())
                    }
                };
                (one.name.clone(), one.appends, value)
            })
            .collect();
        for target in &simple.targets {
            self.one(target);
        }
        if let Some(declares) =
            simple.words.first().and_then(Word::bare).filter(|name| {
                matches!(*name, "export" | "local" | "declare" | "typeset" | "readonly")
            })
        {
            self.declare(declares, simple.words.get(1..).unwrap_or_default());
            return (None, Flow::On);
        }
        let words: Vec<Val> = simple.words.iter().flat_map(|word| self.expand(word)).collect();
        if simple.words.is_empty() {
            for (name, appends, value) in assigned {
                self.assign(&name, appends, value);
            }
            return (None, Flow::On);
        }
        let stripped = without_prefixes(&words).map(<[Val]>::to_vec);
        let Some(first) = stripped.as_ref().and_then(|words| words.first()) else {
            self.meet_command(simple, place, words);
            return (None, Flow::On);
        };
        let Some(name) = first.known().map(str::to_owned) else {
            self.meet_command(simple, place, words);
            return (None, Flow::On);
        };
        let is_exec = words.first().and_then(Val::known) == Some("exec");
        let rest = stripped.as_ref().and_then(|words| words.get(1..)).unwrap_or_default().to_vec();
        if let Some((truth, flow)) = self.builtin(&name, &rest) {
            return (truth, flow);
        }
        // What runs a command runs no function.
        let is_direct = stripped.as_ref().is_some_and(|rest| rest.len() == words.len());
        if let Some((file, body)) = self.functions.get(&name).filter(|_| is_direct).cloned() {
            return self.call(&name, file, &body, rest);
        }
        if matches!(name.as_str(), "." | "source") {
            return (None, self.source(&rest, place));
        }
        let calls = self.called(&name, &rest);
        self.meet_command(simple, place, words);
        if let Some((file, given)) = calls {
            self.trail.names.insert((self.file, place, file));
            self.run(file, given, place);
        }
        (None, if is_exec { Flow::Exit } else { Flow::On })
    }

    pub(super) fn meet_command(&mut self, simple: &Simple, place: Place, words: Vec<Val>) {
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

    pub(super) fn puzzle(&mut self, line: usize, why: &str) {
        if !self.is_quiet {
            self.trail.puzzles.insert(Puzzle { file: self.file, line, why: why.to_owned() });
        }
    }

    pub(super) fn assign(&mut self, name: &str, appends: bool, value: Value) {
        let value = match (appends, self.variables.get(name).cloned(), value) {
            (false, _, value) => value,
            (true, Some(Value::One(old)), Value::One(new)) => Value::One(old.and(new)),
            (true, Some(Value::Many(mut old)), Value::Many(new)) if old.len() < VALUES_MAX => {
                old.extend(new);
                Value::Many(old)
            }
            _ => Value::One(Val::Unknown { itself: false }),
        };
        self.variables.set(name, value);
    }

    /// `local NAME=VALUE ...` and its like.
    fn declare(&mut self, declares: &str, words: &[Word]) {
        for word in words {
            let mut value = word.clone();
            let mut name = String::new();
            let mut has_value = false;
            if let Some(Part::Text { text, is_quoted: false }) = value.parts.first_mut() {
                match text.split_once('=') {
                    Some((before, after)) => {
                        name = before.to_owned();
                        *text = after.to_owned();
                        has_value = true;
                    }
                    None if word.parts.len() == 1 => name.clone_from(text),
                    None => {}
                }
            }
            let appends = name.ends_with('+');
            let name = name.trim_end_matches('+');
            if name.starts_with('-') && !has_value {
                continue;
            }
            if names(name).ne([name.to_owned()]) {
                self.variables.lose();
                continue;
            }
            let is_own = declares == "local" || (declares != "export" && declares != "readonly");
            if is_own && let Some(own) = self.locals.last_mut() {
                own.push((name.to_owned(), self.variables.get(name).cloned()));
                if !has_value {
                    self.variables.set(name, Value::One(Val::Known(String::new())));
                }
            }
            if has_value {
                let value = Value::One(self.one(&value));
                self.assign(name, appends, value);
            }
        }
    }

    /// A command of the shell itself.
    pub(super) fn builtin(&mut self, name: &str, words: &[Val]) -> Option<(Option<bool>, Flow)> {
        let on = Some((None, Flow::On));
        match name {
            "exit" => Some((None, Flow::Exit)),
            "return" => Some((None, Flow::Return)),
            "break" | "continue" => Some((None, Flow::Break)),
            ":" | "true" => Some((Some(true), Flow::On)),
            "false" => Some((Some(false), Flow::On)),
            "[" => {
                let inside = words.split_last().map(|(_, inside)| inside).unwrap_or_default();
                Some((value::test(inside), Flow::On))
            }
            "test" => Some((value::test(words), Flow::On)),
            "read" | "unset" | "getopts" | "mapfile" | "readarray" | "let" | "printf" => {
                if name == "printf" && words.first().and_then(Val::known) != Some("-v") {
                    return on;
                }
                for word in words {
                    match word.known() {
                        Some(text) => names(text).for_each(|name| self.variables.forget(&name)),
                        None => self.variables.lose(),
                    }
                }
                on
            }
            "shift" => {
                let count = words.first().map_or(Some(1), |word| word.known()?.parse().ok());
                let rest = |given: &Vec<Val>| Some(given.get(count?..)?.to_vec());
                self.given = self.given.as_ref().and_then(rest);
                on
            }
            "set" => {
                let sets = words.iter().any(|word| {
                    word.known().is_none_or(|word| word == "--" || !word.starts_with(['-', '+']))
                });
                let is_option = words.first().and_then(Val::known).is_some_and(|word| {
                    matches!(word, "-o" | "+o") || (word.ends_with('o') && word.starts_with('-'))
                });
                if sets && !is_option {
                    self.given = None;
                }
                on
            }
            "eval" => {
                self.variables.lose();
                None
            }
            "cd" | "umask" | "ulimit" | "hash" | "wait" | "jobs" | "alias" | "pwd" => on,
            _ => None,
        }
    }

    pub(super) fn call(
        &mut self,
        name: &str,
        file: usize,
        body: &Rc<Command>,
        words: Vec<Val>,
    ) -> (Option<bool>, Flow) {
        if self.calls.len() >= CALLS_MAX || self.calls.iter().any(|call| call == name) {
            return (None, Flow::On);
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
        if flow != Flow::Exit {
            self.unsure = was_unsure;
        }
        self.file = own;
        self.given = given;
        self.calls.pop();
        match flow {
            Flow::Exit => (truth, Flow::Exit),
            _ => (None, Flow::On),
        }
    }

    /// A file that is read into this script.
    pub(super) fn source(&mut self, words: &[Val], place: Place) -> Flow {
        let Some(path) = words.first().and_then(Val::known) else {
            self.variables.lose();
            self.puzzle(
                place.line,
                "which file is read here depends on what the script does not say",
            );
            return Flow::On;
        };
        if !path.starts_with('/') {
            self.variables.lose();
            let why =
                "a file is read here by a name that does not begin with /: which one is not clear";
            self.puzzle(place.line, why);
            return Flow::On;
        }
        let path = PathBuf::from(path);
        let file = self.library.script(&path);
        self.trail.names.insert((self.file, place, file));
        if self.scripts.contains(&file) {
            self.variables.lose();
            self.puzzle(place.line, "a file is read here that is being read already");
            return Flow::On;
        }
        if self.scripts.len() > SCRIPTS_MAX {
            self.variables.lose();
            let why =
                "a file is read here by one that was read or called itself: it is not followed";
            self.puzzle(place.line, why);
            return Flow::On;
        }
        let list = self.library.files.get(file).map(|file| file.list.clone());
        match list {
            Some(Ok(list)) => {
                let own = std::mem::replace(&mut self.file, file);
                self.scripts.push(file);
                let flow = self.list(&list);
                self.scripts.pop();
                self.file = own;
                if flow == Flow::Exit { Flow::Exit } else { Flow::On }
            }
            Some(Err((line, why))) => {
                // What is not there sets nothing either.
                if why != MISSING {
                    self.variables.lose();
                }
                let puzzle = Puzzle { file, line, why };
                if !self.is_quiet {
                    self.trail.puzzles.insert(puzzle);
                }
                Flow::On
            }
            None => Flow::On,
        }
    }

    /// The script that a command calls, with the words it is given. Programs of the system are none.
    pub(super) fn called(&mut self, name: &str, words: &[Val]) -> Option<(usize, Vec<Val>)> {
        let is_shell = matches!(base(name), "sh" | "bash" | "dash");
        let (path, given) = if is_shell {
            let at = words.iter().position(|word| {
                word.known().is_none_or(|word| !word.starts_with('-') || word.contains('c'))
            })?;
            (words.get(at)?.known()?.to_owned(), words.get(at + 1..)?.to_vec())
        } else {
            (name.to_owned(), words.to_vec())
        };
        let is_system =
            ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/etc/init.d/", "/etc/rc.d/"]
                .iter()
                .any(|folder| path.starts_with(folder));
        if !path.starts_with('/') || (is_system && !is_shell) {
            return None;
        }
        Some((self.library.script(Path::new(&path)), given))
    }

    /// Another script is run from here.
    pub(super) fn run(&mut self, file: usize, given: Vec<Val>, place: Place) {
        if self.is_quiet {
            return;
        }
        let Some((list, path)) =
            self.library.files.get(file).map(|file| (file.list.clone(), file.path.clone()))
        else {
            return;
        };
        let list = match list {
            Ok(list) => list,
            // A program does not mount by itself.
            Err((0, _)) => return,
            Err((line, why)) => {
                self.trail.puzzles.insert(Puzzle { file, line, why });
                return;
            }
        };
        if self.scripts.contains(&file) {
            self.puzzle(place.line, "a script is called here that is being read already");
            return;
        }
        if self.scripts.len() > SCRIPTS_MAX {
            let why =
                "a script is called here by one that was read or called itself: it is not followed";
            self.puzzle(place.line, why);
            return;
        }
        let own = std::mem::replace(&mut self.file, file);
        let name = std::mem::replace(&mut self.name, path);
        let variables = std::mem::take(&mut self.variables);
        let functions = std::mem::take(&mut self.functions);
        let calls = std::mem::take(&mut self.calls);
        let locals = std::mem::take(&mut self.locals);
        let before = self.given.replace(given);
        let (was_unsure, was_inner) = (self.unsure, std::mem::replace(&mut self.is_inner, false));
        self.scripts.push(file);
        self.list(&list);
        self.scripts.pop();
        (self.file, self.name, self.variables, self.functions) = (own, name, variables, functions);
        self.locals = locals;
        (self.calls, self.given, self.unsure, self.is_inner) =
            (calls, before, was_unsure, was_inner);
    }
}
