//! Conditions: which of them are about nothing but the thing that is done or left alone.

use super::super::library::base;
use super::super::meaning::{is_among, without_prefixes};
use super::super::tree::{Command, Kind, List, Pipeline, Simple};
use super::super::value::Val;
use super::{CALLS_MAX, STEPS_MAX, Walker};

/// Programs that tell of nothing else, or nothing at all.
const ASKING: &str = "\
    mount umount mountpoint findmnt systemctl service pgrep pidof ps killall sleep : true false \
    drbdadm drbdsetup df lsblk blkid fsck e2fsck echo printf logger sync fuser lsof exit return \
    break continue chown chmod mkdir vgchange wc log date let vgs lvs local export tee";

/// Programs that tell of what they are given.
const FILTERS: &str = "grep egrep fgrep awk sed cut head tail tr";

impl Walker<'_, '_> {
    /// Do these commands ask for nothing but the state of what is mounted, started or stopped here? Then
    /// what depends on them depends on nothing that mount.sh would not look at, too.
    pub(super) fn asks_itself(&mut self, list: &List) -> bool {
        self.steps += 1;
        self.steps <= STEPS_MAX
            && self.quietly(|walker| {
                let mut all = list.0.iter().flat_map(|chain| &chain.parts);
                all.all(|pipeline| walker.pipeline_asks(pipeline))
            })
    }

    pub(super) fn pipeline_asks(&mut self, pipeline: &Pipeline) -> bool {
        let mut all = pipeline.commands.iter().enumerate();
        all.all(|(at, command)| self.command_asks(command, at > 0))
    }

    fn command_asks(&mut self, command: &Command, is_behind_pipe: bool) -> bool {
        self.steps += 1;
        match &command.kind {
            _ if self.steps > STEPS_MAX => false,
            Kind::Simple(simple) => self.simple_asks(simple, is_behind_pipe),
            Kind::Group(list) | Kind::Subshell(list) => self.asks_itself(list),
            Kind::Test(words) => {
                let words: Vec<Val> = words.iter().map(|word| self.one(word)).collect();
                test_asks(&words)
            }
            Kind::If(arms, otherwise) => {
                let mut all = arms.iter().flat_map(|(condition, body)| [condition, body]);
                all.all(|list| self.asks_itself(list)) && self.asks_itself(otherwise)
            }
            Kind::Arithmetic(_) => true,
            _ => false,
        }
    }

    fn simple_asks(&mut self, simple: &Simple, is_behind_pipe: bool) -> bool {
        let words: Vec<Val> = simple.words.iter().flat_map(|word| self.expand(word)).collect();
        if words.is_empty() {
            return simple.words.is_empty();
        }
        let Some((first, rest)) = without_prefixes(&words).and_then(<[Val]>::split_first) else {
            return false;
        };
        let Some(name) = first.known() else { return false };
        if let Some((_, body)) = self.functions.get(name).cloned() {
            if self.calls.len() >= CALLS_MAX || self.calls.iter().any(|call| call == name) {
                return false;
            }
            self.calls.push(name.to_owned());
            let answer = matches!(&body.kind, Kind::Group(list) if self.asks_itself(list));
            self.calls.pop();
            return answer;
        }
        let reads_kernel = || {
            let mut words = rest.iter().filter_map(Val::known);
            words.any(|path| path.starts_with("/proc/") || path == "/etc/mtab")
        };
        match base(name) {
            "[" => test_asks(rest.split_last().map_or(&[], |(_, inside)| inside)),
            "test" => test_asks(rest),
            "cat" => reads_kernel(),
            name if is_among(FILTERS, name) => is_behind_pipe || reads_kernel(),
            name => is_among(ASKING, name),
        }
    }
}

/// A test of nothing but values that come from the thing itself, or of devices and folders.
fn test_asks(words: &[Val]) -> bool {
    let is_plain = |(at, word): (usize, &Val)| match word.known() {
        Some("-b" | "-d" | "-a" | "-o" | "-z" | "-n") => true,
        Some(text) if text.len() == 2 && text.starts_with('-') => {
            let next = words.get(at + 1).and_then(Val::known);
            next.is_none_or(|path| path.starts_with("/dev/") || path.parse::<i64>().is_ok())
        }
        _ => true,
    };
    words.iter().all(Val::is_itself) && words.iter().enumerate().all(is_plain)
}
