//! A script is followed as if it ran, with everything unknown that it does not say itself. Nothing is run.
//!
//! Each way in is followed by itself: once for each state that it is called for, with the words that it
//! is called with then. So a `case` on the state needs no guess, and neither does a function that is
//! given a device. Where a condition cannot be told, all branches are followed, and what is known after
//! them is what they agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use super::library::Library;
use super::tree::{Arm, Chain, Command, Kind, List, Pipeline, Place, Word};
use super::value::{self, Val, Value, Variables};
use changed::names;

mod asks;
mod changed;
mod command;
mod expand;

/// So much of one way in is followed: a step is a command, a word, a part of one.
const STEPS_MAX: usize = 20_000;
/// So much of all ways in together.
const STEPS_ALL_MAX: usize = 1_000_000;
/// What copies so many variables is a step.
const COPIES_A_STEP: usize = 16;
/// So many values of a `for` are tried one by one.
const VALUES_MAX: usize = 32;
/// Functions that call functions.
const CALLS_MAX: usize = 20;
/// Scripts are followed into what they source or call, and no further.
const SCRIPTS_MAX: usize = 1;

/// Why a way in is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The node has become master.
    Master,
    /// It has become backup.
    Backup,
    /// There is a fault.
    Fault,
    /// The daemon stops, or the instance is gone.
    Stop,
    /// A check is due.
    Check,
    /// Something else has happened.
    Other,
}

/// A way into a script.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the library.
    pub file: usize,
    /// Why it is called.
    pub when: When,
    /// The words behind its name.
    pub words: Vec<Val>,
}

/// A command as it was met.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The file it stands in.
    pub file: usize,
    /// Where.
    pub place: Place,
    /// Why it is run.
    pub when: When,
    /// Its words.
    pub words: Vec<Val>,
    /// The line of a condition that it depends on and that has nothing to do with it.
    pub unsure: Option<usize>,
    /// A text that it is given (a here-document) is about storage.
    pub writes_storage: bool,
    /// It has a here-document.
    pub has_document: bool,
    /// What it prints is used, or goes on through a pipe, or its end is that of a subshell.
    pub is_inner: bool,
}

/// Something that was not followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Puzzle {
    /// The file.
    pub file: usize,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// What was met on a way in.
#[derive(Debug, Default)]
pub struct Trail {
    /// Every command that does something, in order.
    pub visits: Vec<Visit>,
    /// What was not followed.
    pub puzzles: BTreeSet<Puzzle>,
    /// Where a script is named that is read or called: file, place, and that script.
    pub names: BTreeSet<(usize, Place, usize)>,
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flow {
    /// The next one follows.
    On,
    /// The loop is over.
    Break,
    /// The function is over.
    Return,
    /// The script is over.
    Exit,
}

/// Somebody who follows a script.
struct Walker<'a, 'b> {
    library: &'a mut Library<'b>,
    trail: Trail,
    file: usize,
    /// `$0`
    name: PathBuf,
    when: When,
    variables: Variables,
    /// `$1` and so on; none if their number is not known.
    given: Option<Vec<Val>>,
    functions: BTreeMap<String, (usize, Rc<Command>)>,
    calls: Vec<String>,
    /// Of each function that is being run, its own variables and what they were before.
    locals: Vec<Vec<(String, Option<Value>)>>,
    scripts: Vec<usize>,
    steps: usize,
    unsure: Option<usize>,
    is_inner: bool,
    /// Nothing is written down.
    is_quiet: bool,
}

/// Follows a way in.
pub fn follow(library: &mut Library<'_>, entry: &Entry) -> Trail {
    let Some(file) = library.files.get(entry.file) else { return Trail::default() };
    let name = file.path.clone();
    let list = match &file.list {
        Ok(list) => Rc::clone(list),
        Err((line, why)) => {
            let puzzle = Puzzle { file: entry.file, line: *line, why: why.clone() };
            return Trail { puzzles: BTreeSet::from([puzzle]), ..Trail::default() };
        }
    };
    let mut walker = Walker {
        library,
        trail: Trail::default(),
        file: entry.file,
        name,
        when: entry.when,
        variables: Variables::default(),
        given: Some(entry.words.clone()),
        functions: BTreeMap::new(),
        calls: Vec::new(),
        locals: Vec::new(),
        scripts: vec![entry.file],
        steps: 0,
        unsure: None,
        is_inner: false,
        is_quiet: false,
    };
    if walker.library.steps <= STEPS_ALL_MAX {
        walker.list(&list);
        walker.library.steps += walker.steps;
    }
    if walker.steps > STEPS_MAX || walker.library.steps > STEPS_ALL_MAX {
        let why = "so much happens in it that it is not followed to its end".to_owned();
        walker.trail.puzzles.insert(Puzzle { file: entry.file, line: 0, why });
        walker.trail.visits.clear();
    }
    walker.trail
}

impl Walker<'_, '_> {
    fn list(&mut self, list: &List) -> Flow {
        for chain in &list.0 {
            let (_, flow) = self.chain(chain);
            if flow != Flow::On {
                return flow;
            }
        }
        Flow::On
    }

    /// Whether the condition holds, if that can be told, whether it is one of the thing itself, and how
    /// it ends.
    fn condition(&mut self, list: &List) -> (Option<bool>, bool, Flow) {
        let mut truth = None;
        let is_itself = self.asks_itself(list);
        for chain in &list.0 {
            let (found, flow) = self.chain(chain);
            truth = found;
            if flow != Flow::On {
                return (truth, is_itself, flow);
            }
        }
        (truth, is_itself, Flow::On)
    }

    fn chain(&mut self, chain: &Chain) -> (Option<bool>, Flow) {
        let (mut truth, flow) = self.pipeline(&chain.first);
        if flow != Flow::On {
            return (truth, flow);
        }
        let mut is_itself = self.pipeline_asks_itself(&chain.first);
        for joined in &chain.rest {
            match truth.map(|truth| truth == joined.is_and) {
                Some(false) => continue,
                Some(true) => {
                    let (found, flow) = self.pipeline(&joined.pipeline);
                    truth = found;
                    if flow != Flow::On {
                        return (truth, flow);
                    }
                }
                None => {
                    let line = joined.pipeline.place.line;
                    let (before, was_unsure) = (self.snapshot(), self.unsure);
                    if !is_itself {
                        self.unsure = self.unsure.or(Some(line));
                    }
                    let (_, flow) = self.pipeline(&joined.pipeline);
                    if flow == Flow::On {
                        self.variables = std::mem::take(&mut self.variables).join(&before);
                        self.unsure = was_unsure;
                    } else {
                        self.variables = before;
                        // What follows depends on it from now on.
                        if is_itself {
                            self.unsure = was_unsure;
                        }
                    }
                }
            }
            is_itself &= self.pipeline_asks_itself(&joined.pipeline);
        }
        (truth, Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> (Option<bool>, Flow) {
        let (truth, flow) = match pipeline.commands.as_slice() {
            [one] => self.command(one),
            many => {
                for command in many {
                    let was = self.begin_inner();
                    self.command(command);
                    self.end_inner(was);
                }
                (None, Flow::On)
            }
        };
        (if pipeline.is_negated { truth.map(|truth| !truth) } else { truth }, flow)
    }

    /// The variables as they are now.
    fn snapshot(&mut self) -> Variables {
        self.steps += self.variables.len() / COPIES_A_STEP;
        self.variables.clone()
    }

    /// A subshell begins: what it changes is forgotten.
    fn begin_inner(&mut self) -> (Variables, Option<Vec<Val>>, Option<usize>, bool) {
        let was = (self.snapshot(), self.given.clone(), self.unsure, self.is_inner);
        self.is_inner = true;
        was
    }

    fn end_inner(&mut self, was: (Variables, Option<Vec<Val>>, Option<usize>, bool)) {
        (self.variables, self.given, self.unsure, self.is_inner) = was;
    }

    fn command(&mut self, command: &Command) -> (Option<bool>, Flow) {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return (None, Flow::Exit);
        }
        match &command.kind {
            Kind::Simple(simple) => self.simple(simple, command.place),
            Kind::Group(list) => (None, self.list(list)),
            Kind::Subshell(list) => {
                let was = self.begin_inner();
                self.list(list);
                self.end_inner(was);
                (None, Flow::On)
            }
            Kind::If(arms, otherwise) => (None, self.conditional(arms, otherwise.as_ref())),
            Kind::Loop(condition, body) => (None, self.loops(condition, body)),
            Kind::For(name, words, body) => (None, self.counted(name, words.as_deref(), body)),
            Kind::Case(subject, arms) => (None, self.case(subject, arms)),
            Kind::Function(name, body) => {
                self.functions.insert(name.clone(), (self.file, Rc::clone(body)));
                (Some(true), Flow::On)
            }
            Kind::Test(words) => {
                let words: Vec<Val> = words.iter().map(|word| self.one(word)).collect();
                (value::test(&words), Flow::On)
            }
            Kind::Arithmetic(text) => {
                for name in names(text) {
                    self.variables.set(&name, Value::One(Val::Unknown { itself: true }));
                }
                (None, Flow::On)
            }
        }
    }

    fn conditional(&mut self, arms: &[(List, List)], otherwise: Option<&List>) -> Flow {
        let was_unsure = self.unsure;
        let mut all_itself = true;
        let mut line = None;
        let mut ends: Vec<(Variables, Flow)> = Vec::new();
        let mut is_decided = false;
        for (condition, body) in arms {
            let (truth, is_itself, flow) = self.condition(condition);
            if flow != Flow::On {
                ends.push((self.snapshot(), flow));
                is_decided = true;
                break;
            }
            match truth {
                Some(false) => {}
                Some(true) => {
                    let flow = self.list(body);
                    ends.push((self.snapshot(), flow));
                    is_decided = true;
                    break;
                }
                None => {
                    all_itself &= is_itself;
                    line = line.or_else(|| condition.0.first().map(|chain| chain.place.line));
                    if !is_itself {
                        self.unsure = self.unsure.or(line);
                    }
                    let (before, unsure) = (self.snapshot(), self.unsure);
                    let flow = self.list(body);
                    ends.push((std::mem::replace(&mut self.variables, before), flow));
                    self.unsure = unsure;
                }
            }
        }
        if !is_decided {
            let flow = otherwise.map_or(Flow::On, |list| self.list(list));
            ends.push((self.snapshot(), flow));
        }
        self.unsure = was_unsure;
        self.meet(ends, all_itself, line)
    }

    /// Branches come together.
    fn meet(&mut self, ends: Vec<(Variables, Flow)>, is_itself: bool, line: Option<usize>) -> Flow {
        let weakest = ends.iter().map(|(_, flow)| *flow).min().unwrap_or(Flow::On);
        if weakest != Flow::On {
            return weakest;
        }
        let some_end = ends.iter().any(|(_, flow)| *flow != Flow::On);
        let mut going = ends.into_iter().filter(|(_, flow)| *flow == Flow::On).map(|(all, _)| all);
        if let Some(first) = going.next() {
            self.variables = going.fold(first, |all, other| all.join(&other));
        }
        if some_end && !is_itself {
            self.unsure = self.unsure.or(line);
        }
        Flow::On
    }

    fn loops(&mut self, condition: &List, body: &List) -> Flow {
        let was_unsure = self.unsure;
        self.taint(&[condition, body]);
        let (truth, is_itself, flow) = self.condition(condition);
        if flow != Flow::On || truth == Some(false) {
            return flow;
        }
        let before = self.snapshot();
        let line = condition.0.first().map(|chain| chain.place.line);
        if !is_itself && truth.is_none() {
            self.unsure = self.unsure.or(line);
        }
        let flow = self.list(body);
        self.variables = std::mem::take(&mut self.variables).join(&before);
        self.unsure = was_unsure;
        match flow {
            Flow::Return | Flow::Exit if truth == Some(true) => flow,
            _ => Flow::On,
        }
    }

    fn counted(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Flow {
        let words: Option<Vec<Val>> =
            words.map(|words| words.iter().flat_map(|word| self.expand(word)).collect());
        let known = words.filter(|words| {
            words.len() <= VALUES_MAX && words.iter().all(|word| word.known().is_some())
        });
        let was_unsure = self.unsure;
        let flow = match known {
            Some(words) => {
                let mut flow = Flow::On;
                for word in words {
                    self.variables.set(name, Value::One(word));
                    flow = self.list(body);
                    if flow != Flow::On {
                        break;
                    }
                }
                flow
            }
            None => {
                self.taint(&[body]);
                self.variables.forget(name);
                let before = self.snapshot();
                self.list(body);
                self.variables = std::mem::take(&mut self.variables).join(&before);
                Flow::On
            }
        };
        if flow == Flow::Break {
            self.unsure = was_unsure;
            return Flow::On;
        }
        flow
    }

    fn case(&mut self, subject: &Word, arms: &[Arm]) -> Flow {
        let value = self.one(subject);
        let (is_itself, line) = (value.is_itself(), subject.place.line);
        let was_unsure = self.unsure;
        let mut ends = Vec::new();
        let mut is_decided = false;
        let mut falls = false;
        for arm in arms {
            self.steps += arm.patterns.len();
            if self.steps > STEPS_MAX {
                return Flow::Exit;
            }
            let truth = if falls { None } else { self.matches(&value, arm) };
            falls = arm.falls;
            match truth {
                Some(false) => continue,
                Some(true) if !falls => {
                    let flow = self.list(&arm.body);
                    ends.push((self.snapshot(), flow));
                    is_decided = true;
                    break;
                }
                _ => {
                    if !is_itself {
                        self.unsure = self.unsure.or(Some(line));
                    }
                    let (before, unsure) = (self.snapshot(), self.unsure);
                    let flow = self.list(&arm.body);
                    ends.push((std::mem::replace(&mut self.variables, before), flow));
                    self.unsure = unsure;
                }
            }
        }
        if !is_decided {
            ends.push((self.snapshot(), Flow::On));
        }
        self.unsure = was_unsure;
        self.meet(ends, is_itself, Some(line))
    }

    fn matches(&self, value: &Val, arm: &Arm) -> Option<bool> {
        let is_any = |word: &Word| word.bare() == Some("*");
        if arm.patterns.iter().any(is_any) {
            return Some(true);
        }
        let text = value.known()?;
        let lookup = |name: &str| match self.variable(name) {
            Some(Value::One(Val::Known(text))) => Some(text),
            _ => None,
        };
        let all: Vec<Option<bool>> =
            arm.patterns.iter().map(|pattern| value::matches(text, pattern, &lookup)).collect();
        if all.contains(&Some(true)) {
            Some(true)
        } else if all.contains(&None) {
            None
        } else {
            Some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::library::MISSING;
    use super::*;

    /// What is met in `/s`, with its words, `?` for what is unknown and `(?)` behind what depends on a
    /// condition that is not its own.
    fn met(text: &str, when: When, words: &[&str]) -> Vec<String> {
        let mut read = |path: &Path| match path.to_str() {
            Some("/s") => Ok(text.as_bytes().to_vec()),
            Some("/lib") => Ok(b"DEV=/dev/lib\n. /lib2\nrun() { mount $DEV $1; }\n".to_vec()),
            Some("/loop") => Ok(b". /loop\nmount a /loop\n".to_vec()),
            Some("/called") => Ok(b"umount $1\n".to_vec()),
            _ => Err(MISSING.to_owned()),
        };
        let mut library = Library::new(&mut read);
        let file = library.script(Path::new("/s"));
        let words = words.iter().map(|word| Val::Known((*word).to_owned())).collect();
        let trail = follow(&mut library, &Entry { file, when, words });
        let show = |visit: &Visit| {
            let words: Vec<&str> =
                visit.words.iter().map(|word| word.known().unwrap_or("?")).collect();
            let unsure = if visit.unsure.is_some() { " (?)" } else { "" };
            format!("{}{unsure}", words.join(" "))
        };
        let mut all: Vec<String> = trail.visits.iter().map(show).collect();
        all.extend(trail.puzzles.iter().map(|puzzle| format!("{}: {}", puzzle.line, puzzle.why)));
        all
    }

    fn master(text: &str) -> Vec<String> {
        met(text, When::Master, &["INSTANCE", "VI_1", "MASTER", "100"])
    }

    #[test]
    fn variables_are_followed() {
        assert_eq!(master("D=/dev/a; P=\"/b\"\nmount \"$D\" ${P}"), ["mount /dev/a /b"]);
        assert_eq!(master("O=\"-t ext4\"; mount $O /dev/a /b"), ["mount -t ext4 /dev/a /b"]);
        assert_eq!(master("mount $D /b"), ["mount ? /b"]);
        assert_eq!(master("M=/bin/mount; $M ${D:-/dev/a} /b"), ["/bin/mount ? /b"]);
        assert_eq!(master("mount ${5:-/dev/a} ${3:-x}"), ["mount /dev/a MASTER"]);
        assert_eq!(master("if x; then D=a; else D=a; fi; mount $D /b"), ["x", "mount a /b"]);
        assert_eq!(master("if x; then D=a; else D=b; fi; mount $D /b"), ["x", "mount ? /b"]);
        assert_eq!(master("read D; mount $D /b"), ["mount ? /b"]);
        assert_eq!(master("D=a; eval x; mount $D /b"), ["eval x", "mount ? /b"]);
        assert_eq!(
            master("D=a; . .env; P=/b; mount $D $P").first().map(String::as_str),
            Some("mount ? /b")
        );
        assert_eq!(master("(D=b); D=a; echo | D=c; mount $D /b"), ["echo", "mount a /b"]);
        assert_eq!(master("D=a; [ -e /none ] && . /none; mount $D /b")[0], "mount a /b");
        assert_eq!(master("L=\"logger -t x[$$]\"; $L text; umount /b$$")[0], "logger -t ? text");
        assert_eq!(master("D=a; f() { local D=b; x $D; }; f; mount $D /b"), ["x b", "mount a /b"]);
        assert_eq!(master("D=a; f() { local x=$(y); }; f; mount $D /b"), ["y", "mount a /b"]);
        assert_eq!(
            master("export D=\"/dev/$3\"; readonly P=/b; mount $D $P"),
            ["mount /dev/MASTER /b"]
        );
        assert_eq!(master("L=(a 'b c'); mount \"${L[@]}\""), ["mount a b c"]);
        assert_eq!(master("for d in a b; do mount /dev/$d /$d; done").len(), 2);
        assert_eq!(master("for d in /dev/*; do mount $d /b; done"), ["mount ? /b"]);
        assert_eq!(master("export D=/dev/a; mount $D `cat x`"), ["cat x", "mount /dev/a ?"]);
        assert_eq!(master("D=a; while x; do mount $D /b; D=b; done"), ["x", "mount ? /b (?)"]);
    }

    #[test]
    fn the_state_decides_where_it_is_asked_for() {
        let case = "case $3 in MASTER) mount a;; \"BACKUP\"|FAULT) umount b;; *) other;; esac";
        assert_eq!(master(case), ["mount a"]);
        assert_eq!(met(case, When::Fault, &["INSTANCE", "V", "FAULT", "1"]), ["umount b"]);
        assert_eq!(met(case, When::Stop, &["INSTANCE", "V", "STOP", "1"]), ["other"]);
        let test = "S=$3\nif [ \"$S\" = MASTER ]; then mount a; elif [[ $S == BACKUP ]]; then umount b; fi";
        assert_eq!(master(test), ["mount a"]);
        assert_eq!(met(test, When::Backup, &["I", "V", "BACKUP", "1"]), ["umount b"]);
        assert_eq!(
            met("case $1 in master) a;; backup) b;; esac", When::Backup, &["backup"]),
            ["b"]
        );
        assert_eq!(master("case ${3,,} in master) a;; *) b;; esac"), ["a"]);
        // It would run if the other failed.
        assert_eq!(master("[ $3 = MASTER ] && a || b"), ["a", "b (?)"]);
        assert_eq!(master("[ $3 = MASTER ] || b"), [""; 0]);
        assert_eq!(master("[ $3 = BACKUP ] && exit; a"), ["a"]);
        assert_eq!(master("exit 0\na"), [""; 0]);
    }

    #[test]
    fn functions_and_files_are_followed() {
        assert_eq!(master("f() { mount $1 $P; }\nP=/b\nf /dev/a"), ["mount /dev/a /b"]);
        assert_eq!(master("f() { f; g; }\nf"), ["g"]);
        assert_eq!(master("mount() { command mount $@; }\nmount a b"), ["command mount a b"]);
        assert_eq!(
            master(". /lib; run /b"),
            [
                "mount ? /b",
                "2: a file is read here by one that was read or called itself: it is not followed"
            ]
        );
        assert_eq!(
            master(". /loop"),
            ["mount a /loop", "1: a file is read here that is being read already"]
        );
        assert_eq!(master("/called /b"), ["/called /b", "umount /b"]);
        assert_eq!(master("sh -x /called /b"), ["sh -x /called /b", "umount /b"]);
        assert_eq!(master(". /none"), ["0: there is no such file"]);
        assert_eq!(master(". ./x").len(), 1);
        assert_eq!(
            met("mount a $(dirname \"$0\")/x ${0##*/}", When::Master, &[]),
            ["dirname /s", "mount a ? s"]
        );
    }

    #[test]
    fn a_condition_of_the_thing_itself_is_told_from_others() {
        for own in [
            "if ! mountpoint -q /b; then mount a /b; fi",
            "grep -q /b /proc/mounts || mount a /b",
            "[ -b /dev/a ] && mount a /b",
            "mount a /b || { logger x; exit 1; }\nmount a /b",
            "n=`ps -C x | wc -l`; if [ $n -eq 0 ]; then mount a /b; fi",
            "i=0; while [ $i -lt 5 ]; do mount a /b && break; i=$((i+1)); sleep 1; done",
            "t() { if mount x; then local d=$(date); else return 1; fi; }\nt && mount a /b",
            "is() { mount | grep -q /b; }\nif ! is; then mount a /b; fi",
            "x; if [ $? -eq 0 ]; then mount a /b; fi",
        ] {
            let met = master(own);
            assert!(met.contains(&"mount a /b".to_owned()), "{own}: {met:?}");
        }
        for other in [
            "[ -f /etc/x ] && mount a /b",
            "if [ \"$(hostname)\" = x ]; then mount a /b; fi",
            "[ -e /tmp/off ] && exit 0\nmount a /b",
            "test -n \"$X\" || return\nmount a /b",
            "case $(hostname) in x) mount a /b;; esac",
            "if ping -c1 x; then mount a /b; fi",
            "while read l; do mount a /b; done",
        ] {
            let met = master(other);
            assert!(met.contains(&"mount a /b (?)".to_owned()), "{other}: {met:?}");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let mut text = "f0() { x; }\n".to_owned();
        for n in 1..=18 {
            text.push_str(&format!("f{n}() {{ f{0}; f{0}; f{0}; }}\n", n - 1));
        }
        text.push_str("f18\n");
        assert_eq!(master(&text), ["0: so much happens in it that it is not followed to its end"]);
        let mut text = "A=xxxxxxxx\n".to_owned();
        for _ in 0..40 {
            text.push_str("A=$A$A\n");
        }
        assert_eq!(master(&(text + "m $A")), ["m ?"]);
    }
}
