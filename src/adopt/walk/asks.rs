//! Conditions: which of them are about nothing but the thing that is done or left alone.

use super::super::library::base;
use super::super::meaning::without_prefixes;
use super::super::tree::{Kind, List, Pipeline, Simple};
use super::super::value::Val;
use super::{CALLS_MAX, STEPS_MAX, Walker};

impl Walker<'_, '_> {
    /// Do these commands ask for nothing but the state of what is mounted, started or stopped here? Then
    /// what depends on them depends on nothing that mount.sh would not look at, too.
    pub(super) fn asks_itself(&mut self, list: &List) -> bool {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        self.steps += 1;
        let answer = self.steps <= STEPS_MAX
            && list.0.iter().all(|chain| {
                let mut all = std::iter::once(&chain.first)
                    .chain(chain.rest.iter().map(|joined| &joined.pipeline));
                all.all(|pipeline| self.pipeline_asks(pipeline))
            });
        self.is_quiet = was_quiet;
        answer
    }

    pub(super) fn pipeline_asks_itself(&mut self, pipeline: &Pipeline) -> bool {
        let was_quiet = std::mem::replace(&mut self.is_quiet, true);
        let answer = self.pipeline_asks(pipeline);
        self.is_quiet = was_quiet;
        answer
    }

    pub(super) fn pipeline_asks(&mut self, pipeline: &Pipeline) -> bool {
        pipeline.commands.iter().enumerate().all(|(at, command)| {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return false;
            }
            match &command.kind {
                Kind::Simple(simple) => self.simple_asks(simple, at > 0),
                Kind::Group(list) | Kind::Subshell(list) => self.asks_itself(list),
                Kind::Test(words) => {
                    let words: Vec<Val> = words.iter().map(|word| self.one(word)).collect();
                    test_asks(&words)
                }
                Kind::If(arms, otherwise) => {
                    let mut all = arms.iter().flat_map(|(condition, body)| [condition, body]);
                    all.all(|list| self.asks_itself(list))
                        && otherwise.as_ref().is_none_or(|list| self.asks_itself(list))
                }
                Kind::Arithmetic(_) => true,
                _ => false,
            }
        })
    }

    pub(super) fn simple_asks(&mut self, simple: &Simple, is_behind_pipe: bool) -> bool {
        let words: Vec<Val> = simple.words.iter().flat_map(|word| self.expand(word)).collect();
        if words.is_empty() {
            return simple.words.is_empty();
        }
        let words = without_prefixes(&words).map(<[Val]>::to_vec).unwrap_or_default();
        let Some(name) = words.first().and_then(Val::known).map(str::to_owned) else {
            return false;
        };
        if let Some((_, body)) = self.functions.get(&name).cloned() {
            if self.calls.len() >= CALLS_MAX || self.calls.contains(&name) {
                return false;
            }
            self.calls.push(name);
            let answer = match &body.kind {
                Kind::Group(list) => self.asks_itself(list),
                _ => false,
            };
            self.calls.pop();
            return answer;
        }
        let rest = words.get(1..).unwrap_or_default();
        let reads_kernel = || {
            let paths: Vec<&str> =
                rest.iter().filter_map(Val::known).filter(|word| word.starts_with('/')).collect();
            paths.iter().any(|path| path.starts_with("/proc/") || *path == "/etc/mtab")
        };
        match base(&name) {
            "[" => test_asks(rest.split_last().map(|(_, inside)| inside).unwrap_or_default()),
            "test" => test_asks(rest),
            "mount" | "umount" | "mountpoint" | "findmnt" | "systemctl" | "service" | "pgrep"
            | "pidof" | "ps" | "killall" | "sleep" | ":" | "true" | "false" | "drbdadm"
            | "drbdsetup" | "df" | "lsblk" | "blkid" | "fsck" | "e2fsck" | "echo" | "printf"
            | "logger" | "sync" | "fuser" | "lsof" | "exit" | "return" | "break" | "continue"
            | "chown" | "chmod" | "mkdir" | "vgchange" | "wc" | "log" | "date" | "let" | "vgs"
            | "lvs" | "local" | "export" | "tee" => true,
            "grep" | "egrep" | "fgrep" | "awk" | "sed" | "cut" | "head" | "tail" | "tr" => {
                is_behind_pipe || reads_kernel()
            }
            "cat" => reads_kernel(),
            _ => false,
        }
    }
}

/// A test of nothing but values that come from the thing itself, or of devices and folders.
fn test_asks(words: &[Val]) -> bool {
    let is_file_test =
        |word: &str| word.len() == 2 && word.starts_with('-') && !matches!(word, "-z" | "-n");
    words.iter().all(Val::is_itself)
        && words.iter().enumerate().all(|(at, word)| match word.known() {
            Some("-b" | "-d" | "-a" | "-o") | None => true,
            Some(text) if is_file_test(text) => {
                let next = words.get(at + 1).and_then(Val::known);
                next.is_none_or(|path| path.starts_with("/dev/") || path.parse::<i64>().is_ok())
                    || matches!(text, "-eq" | "-ne" | "-lt" | "-gt" | "-le" | "-ge")
            }
            Some(_) => true,
        })
}
