//! A script is followed as if it ran, with everything unknown that it does not say itself. Nothing is run.
//!
//! Each way in is followed by itself: once for each state that it is called for, with the words that it
//! is called with then. So a `case` on the state needs no guess, and neither does a function that is
//! given a device. Where a condition cannot be told, all branches are followed, and what is known after
//! them is what they agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use super::gather::Remark;
use super::library::Library;
use super::tree::{Arm, Chain, Command, Kind, List, Pipeline, Place, Word};
use super::value::{self, ITSELF, UNKNOWN, Val, Value, Variables};

mod asks;
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

/// What was met on a way in.
#[derive(Debug, Default)]
pub struct Trail {
    /// Every command that does something, in order.
    pub visits: Vec<Visit>,
    /// What was not followed, with line 0 for a file as a whole.
    pub puzzles: BTreeSet<Remark>,
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

/// Whether a command succeeds, if that can be told, and how it ends.
type End = (Option<bool>, Flow);

const ON: End = (None, Flow::On);

/// Who follows a script.
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

/// What a subshell forgets.
type Outer = (Variables, Option<Vec<Val>>, Option<usize>, bool);

/// Branches, each with the variables behind it and how it ends.
struct Fork {
    ends: Vec<(Variables, Flow)>,
    /// All conditions are of the thing itself.
    is_itself: bool,
    /// The line of the first one that cannot be told.
    line: Option<usize>,
    was_unsure: Option<usize>,
    /// No other branch can be taken.
    is_decided: bool,
}

/// Follows a way in.
pub fn follow(library: &mut Library<'_>, entry: &Entry) -> Trail {
    let Some(file) = library.files.get(entry.file) else { return Trail::default() };
    let name = file.path.clone();
    let list = match file.list.clone() {
        Ok(list) => list,
        Err((line, why)) => {
            let puzzles = BTreeSet::from([(entry.file, line, why)]);
            return Trail { puzzles, ..Trail::default() };
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
        walker.trail.puzzles.insert((entry.file, 0, why));
        walker.trail.visits.clear();
    }
    walker.trail
}

impl Walker<'_, '_> {
    fn list(&mut self, list: &List) -> Flow {
        self.list_end(list).1
    }

    fn list_end(&mut self, list: &List) -> End {
        let mut end = ON;
        for chain in &list.0 {
            end = self.chain(chain);
            if end.1 != Flow::On {
                break;
            }
        }
        end
    }

    /// Whether the condition holds, if that can be told, whether it is one of the thing itself, and how
    /// it ends.
    fn condition(&mut self, list: &List) -> (Option<bool>, bool, Flow) {
        let is_itself = self.asks_itself(list);
        let (truth, flow) = self.list_end(list);
        (truth, is_itself, flow)
    }

    fn chain(&mut self, chain: &Chain) -> End {
        let (mut truth, mut is_itself) = (Some(true), true);
        for pipeline in &chain.parts {
            match truth {
                Some(truth) if truth == pipeline.is_or => continue,
                Some(_) => {
                    let (found, flow) = self.pipeline(pipeline);
                    truth = found;
                    if flow != Flow::On {
                        return (truth, flow);
                    }
                }
                None => {
                    let (before, was_unsure) = (self.snapshot(), self.unsure);
                    self.doubt(is_itself, Some(pipeline.place.line));
                    let (_, flow) = self.pipeline(pipeline);
                    if flow == Flow::On {
                        self.join(&before);
                    } else {
                        self.variables = before;
                    }
                    // What follows depends on it from now on if this leads away.
                    if flow == Flow::On || is_itself {
                        self.unsure = was_unsure;
                    }
                }
            }
            is_itself &= self.quietly(|walker| walker.pipeline_asks(pipeline));
        }
        (truth, Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> End {
        let (truth, flow) = match pipeline.only() {
            Some(one) => self.command(one),
            None => {
                for command in &pipeline.commands {
                    self.inside(|walker| walker.command(command));
                }
                ON
            }
        };
        (truth.map(|truth| truth != pipeline.is_negated), flow)
    }

    /// The variables as they are now.
    fn snapshot(&mut self) -> Variables {
        self.steps += self.variables.len() / COPIES_A_STEP;
        self.variables.clone()
    }

    /// They are as now, or as they were.
    fn join(&mut self, before: &Variables) {
        self.variables = std::mem::take(&mut self.variables).join(before);
    }

    /// What follows depends on a condition in that line.
    fn doubt(&mut self, is_itself: bool, line: Option<usize>) {
        if !is_itself {
            self.unsure = self.unsure.or(line);
        }
    }

    /// What is found out without writing anything down.
    fn quietly<T>(&mut self, find: impl FnOnce(&mut Self) -> T) -> T {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        let found = find(self);
        self.is_quiet = was_quiet;
        found
    }

    /// In a subshell: what it changes is forgotten.
    fn inside<T>(&mut self, follow: impl FnOnce(&mut Self) -> T) {
        let was: Outer = (self.snapshot(), self.given.clone(), self.unsure, self.is_inner);
        self.is_inner = true;
        follow(self);
        (self.variables, self.given, self.unsure, self.is_inner) = was;
    }

    fn command(&mut self, command: &Command) -> End {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return (None, Flow::Exit);
        }
        let flow = match &command.kind {
            Kind::Simple(simple) => return self.simple(simple, command.place),
            Kind::Group(list) => self.list(list),
            Kind::Subshell(list) => {
                self.inside(|walker| walker.list(list));
                Flow::On
            }
            Kind::If(arms, otherwise) => self.conditional(arms, otherwise),
            Kind::Loop(condition, body) => self.loops(|walker| {
                let (truth, is_itself, flow) = walker.condition(condition);
                let line = condition.0.first().map(|chain| chain.place.line);
                if flow != Flow::On || truth == Some(false) {
                    return (truth, flow);
                }
                walker.doubt(is_itself || truth.is_some(), line);
                (truth, walker.list(body))
            }),
            Kind::For(name, words, body) => self.counted(name, words.as_deref(), body),
            Kind::Case(subject, arms) => self.case(subject, arms),
            Kind::Function(name, body) => {
                self.functions.insert(name.clone(), (self.file, Rc::clone(body)));
                return (Some(true), Flow::On);
            }
            Kind::Test(words) => {
                let words: Vec<Val> = words.iter().map(|word| self.one(word)).collect();
                return (value::test(&words), Flow::On);
            }
            Kind::Arithmetic(text) => {
                names(text).for_each(|name| self.variables.set(name, ITSELF));
                Flow::On
            }
        };
        (None, flow)
    }

    fn fork(&self, is_itself: bool, line: Option<usize>) -> Fork {
        let was_unsure = self.unsure;
        Fork { ends: Vec::new(), is_itself, line, was_unsure, is_decided: false }
    }

    /// A branch that is taken, or, where that cannot be told, may be.
    fn branch(&mut self, fork: &mut Fork, body: &List, is_itself: bool) {
        self.doubt(fork.is_decided || is_itself, fork.line);
        let (before, unsure) = (self.snapshot(), self.unsure);
        let flow = self.list(body);
        fork.ends.push((std::mem::replace(&mut self.variables, before), flow));
        self.unsure = unsure;
    }

    /// Branches come together.
    fn meet(&mut self, fork: Fork) -> Flow {
        let Fork { ends, is_itself, line, was_unsure, .. } = fork;
        self.unsure = was_unsure;
        let weakest = ends.iter().map(|(_, flow)| *flow).min().unwrap_or(Flow::On);
        let some_end = ends.iter().any(|(_, flow)| *flow != Flow::On);
        let mut going = ends.into_iter().filter(|(_, flow)| *flow == weakest).map(|(all, _)| all);
        if let Some(first) = going.next() {
            self.variables = going.fold(first, |all, other| all.join(&other));
        }
        if weakest == Flow::On {
            self.doubt(is_itself || !some_end, line);
        }
        weakest
    }

    fn conditional(&mut self, arms: &[(List, List)], otherwise: &List) -> Flow {
        let mut fork = self.fork(true, None);
        for (condition, body) in arms {
            let (truth, is_itself, flow) = self.condition(condition);
            if flow != Flow::On {
                fork.ends.push((self.snapshot(), flow));
                return self.meet(fork);
            }
            fork.is_decided = truth == Some(true);
            if truth.is_none() {
                fork.is_itself &= is_itself;
                fork.line = fork.line.or_else(|| Some(condition.0.first()?.place.line));
            }
            if truth != Some(false) {
                self.branch(&mut fork, body, is_itself);
            }
            if fork.is_decided {
                return self.meet(fork);
            }
        }
        fork.is_decided = true;
        self.branch(&mut fork, otherwise, true);
        self.meet(fork)
    }

    fn case(&mut self, subject: &Word, arms: &[Arm]) -> Flow {
        let value = self.one(subject);
        let mut fork = self.fork(value.is_itself(), Some(subject.place.line));
        let mut falls = false;
        for arm in arms {
            self.steps += arm.patterns.len();
            if self.steps > STEPS_MAX {
                return Flow::Exit;
            }
            let truth = if falls { None } else { self.matches(&value, arm) };
            falls = arm.falls;
            fork.is_decided = truth == Some(true) && !falls;
            if truth != Some(false) {
                let is_itself = fork.is_itself;
                self.branch(&mut fork, &arm.body, is_itself);
            }
            if fork.is_decided {
                return self.meet(fork);
            }
        }
        fork.ends.push((self.snapshot(), Flow::On));
        self.meet(fork)
    }

    /// One round of a loop after the other: whatever it changes on its way is unknown in it.
    fn loops(&mut self, mut round: impl FnMut(&mut Self) -> End) -> Flow {
        let was_unsure = self.unsure;
        while self.steps <= STEPS_MAX {
            self.steps += 1;
            let (before, given) = (self.snapshot(), self.given.clone());
            self.quietly(&mut round);
            self.unsure = was_unsure;
            self.join(&before);
            if self.given != given {
                self.given = None;
            } else if self.variables == before {
                break;
            }
        }
        let before = self.snapshot();
        let (truth, flow) = round(self);
        self.join(&before);
        self.unsure = was_unsure;
        // Nothing comes behind what surely ends in it.
        if truth == Some(true) && flow > Flow::Break { flow } else { Flow::On }
    }

    fn counted(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Flow {
        let words: Option<Vec<Val>> =
            words.map(|words| words.iter().flat_map(|word| self.expand(word)).collect());
        let known = words.filter(|words| {
            words.len() <= VALUES_MAX && words.iter().all(|word| word.known().is_some())
        });
        let Some(words) = known else {
            return self.loops(|walker| {
                walker.variables.set(name, UNKNOWN);
                (None, walker.list(body))
            });
        };
        let was_unsure = self.unsure;
        for word in words {
            self.variables.set(name, word);
            match self.list(body) {
                Flow::On => {}
                Flow::Break => {
                    self.unsure = was_unsure;
                    return Flow::On;
                }
                flow => return flow,
            }
        }
        Flow::On
    }

    fn matches(&self, value: &Val, arm: &Arm) -> Option<bool> {
        if arm.patterns.iter().any(|word| word.bare() == Some("*")) {
            return Some(true);
        }
        let text = value.known()?;
        let lookup = |name: &str| Some(self.variable(name)?.one()?.known()?.to_owned());
        let all = arm.patterns.iter().map(|pattern| value::matches(text, pattern, &lookup));
        let all: Vec<_> = all.collect();
        // One that matches decides, and one that cannot be told leaves it open.
        match all.contains(&Some(true)) {
            true => Some(true),
            false => (!all.contains(&None)).then_some(false),
        }
    }
}

/// The names of variables in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
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
        all.extend(trail.puzzles.iter().map(|(_, line, why)| format!("{line}: {why}")));
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
