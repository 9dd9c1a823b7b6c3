//! What is legal, and yet seldom what its writer hopes for. Notes only: whoever means it may leave it
//! as it is.

use std::time::Duration;

use super::super::Tracked;
use super::super::command::{asked_process, use_track_process};
use super::super::diagnostic::{Severity, Span};
use super::super::parse::{HooksRaw, InstanceRaw, ScriptRaw, SyncGroupRaw};
use super::{Checker, NO_WEIGHT, priority};
use crate::core::spec::{InstanceSpec, Preempt, Weight};

impl Checker<'_> {
    /// About the instances, with what their groups track on their behalf; to be called when everything
    /// else has been checked.
    pub(super) fn advice(&mut self, instances: &[InstanceRaw]) {
        for script in self.raw.scripts.iter().filter(|script| script.script.is_some()) {
            let trackers = trackers(script, instances);
            if trackers.is_empty() {
                continue;
            }
            self.slow_timeout(script);
            self.single_failure(script, &trackers);
            self.asks_for_a_process(script);
        }
        for instance in instances {
            self.weights(instance);
            self.idle_weights(instance);
            self.idle_preempt_delay(instance);
            self.own_places(instance);
        }
    }

    fn note(&mut self, span: Span, message: String) {
        self.say(Severity::Note, span, message);
    }

    fn slow_timeout(&mut self, script: &ScriptRaw) {
        let interval = script.interval.unwrap_or(Duration::from_secs(1));
        let Some(timeout) = script.timeout.filter(|timeout| *timeout > interval) else { return };
        let message = format!(
            "vrrp_script {}: timeout {} s is longer than interval {} s: a check that runs is not \
             started again, so one that hangs is noticed only after {1} s; make it no longer than \
             the interval",
            script.name,
            timeout.as_secs_f64(),
            interval.as_secs_f64()
        );
        self.note(script.span, message);
    }

    fn single_failure(&mut self, script: &ScriptRaw, trackers: &[(&InstanceRaw, Weight)]) {
        if script.fall.unwrap_or(1) > 1 {
            return;
        }
        let moved: Vec<&str> = trackers
            .iter()
            .filter(|(_, weight)| weight.value == 0)
            .map(|(instance, _)| instance.name.as_str())
            .collect();
        if moved.is_empty() {
            return;
        }
        let why = if script.fall.is_some() { "`fall 1`" } else { "no `fall`" };
        let message = format!(
            "vrrp_script {}: {why} and no weight: one failed or slow check is a fault of {} and \
             moves the service; `fall 2` or more bears with it",
            script.name,
            moved.join(", ")
        );
        self.note(script.span, message);
    }

    fn asks_for_a_process(&mut self, script: &ScriptRaw) {
        let Some(command) = &script.script else { return };
        let Some(process) = asked_process(&command.argv) else { return };
        let (span, message) = (command.span, use_track_process(&script.name, &process));
        self.note(span, message);
    }

    /// Weighted checks are never faults.
    fn weights(&mut self, instance: &InstanceRaw) {
        if priority(instance) == u8::MAX {
            return;
        }
        for track in instance.tracked(Tracked::Script) {
            let defined = self.raw.scripts.iter().find(|script| script.name == track.name);
            let Some(script) = defined.filter(|script| script.script.is_some()) else { continue };
            let weight = track.weight.or(script.weight).unwrap_or(NO_WEIGHT);
            if weight.value == 0 || weight.reverse {
                continue;
            }
            let message = format!(
                "({}) a failure of {} only makes the priority {} lower (weight {}), it is never a \
                 fault: if no better node is there, the service stays here without working; \
                 without a weight it is a fault",
                instance.name,
                track.name,
                weight.value.unsigned_abs(),
                weight.value
            );
            self.note(track.span, message);
        }
    }

    /// Weights that move nothing, because nobody preempts.
    fn idle_weights(&mut self, raw: &InstanceRaw) {
        let Some(spec) = self.spec_of(raw) else { return };
        if spec.preempt != Preempt::Never || !is_weighted(spec) {
            return;
        }
        let hooks = self.gating_hooks(raw).filter(|_| spec.gate.is_some());
        let by_hooks = hooks.and_then(|hooks| hooks.preempt);
        let (span, keyword, remedy) = match (by_hooks, raw.nopreempt) {
            (Some(at), _) => (at.span, "preempt never", "write `preempt weakened`"),
            (None, Some(span)) => (span, "nopreempt", "remove nopreempt"),
            (None, None) => return,
        };
        let message = format!(
            "({}) {keyword} and weights: a master whose priority a failed check has lowered is not \
             preempted by a node with {keyword}, so nothing moves; {remedy} here and on the other \
             nodes, or track without a weight",
            raw.name
        );
        self.note(span, message);
    }

    fn idle_preempt_delay(&mut self, raw: &InstanceRaw) {
        let Some(spec) = self.spec_of(raw) else { return };
        let Some(delay) = raw.preempt_delay else { return };
        let message = if spec.gate.is_some() && spec.preempt == Preempt::Never {
            let hooks = self.gating_hooks(raw).map_or("", |hooks| hooks.name.as_str());
            format!(
                "({}) preempt_delay has no effect with `preempt never` in `hooks {hooks}`: remove one",
                raw.name
            )
        } else if delay.value.is_zero() {
            format!("({}) preempt_delay 0 has no effect: there is no delay without it", raw.name)
        } else {
            return;
        };
        self.note(delay.span, message);
    }

    /// A virtual address that is also where a node sends from.
    fn own_places(&mut self, raw: &InstanceRaw) {
        for address in raw.addresses.iter().chain(&raw.excluded) {
            let ip = address.ip;
            let what = if raw.source.is_some_and(|source| source.value == ip) {
                "the source address of this node's adverts"
            } else if raw.peers.iter().any(|peer| peer.value.ip == ip) {
                "a unicast peer"
            } else {
                continue;
            };
            let message = format!(
                "({}) this virtual address is also {what}: it moves from node to node, so give an \
                 address that the node keeps",
                raw.name
            );
            self.note(address.span, message);
        }
    }

    /// The `hooks` block with the storage of an instance, its own or its group's.
    fn gating_hooks(&self, raw: &InstanceRaw) -> Option<&HooksRaw> {
        let is_in = |group: &&SyncGroupRaw| {
            group.members.iter().flatten().any(|member| member.value == raw.name)
        };
        let group = self.raw.groups.iter().find(is_in).map(|group| &group.name);
        let mut gating = self.raw.hooks.iter().filter(|hooks| hooks.mount.is_some());
        gating.find(|hooks| hooks.name == raw.name || Some(&hooks.name) == group)
    }

    fn spec_of(&self, raw: &InstanceRaw) -> Option<&InstanceSpec> {
        self.config.spec.instances.iter().map(|spec| &**spec).find(|spec| spec.name == raw.name)
    }
}

/// The instances that track a script, with the weight that it has there.
fn trackers<'a>(
    script: &ScriptRaw,
    instances: &'a [InstanceRaw],
) -> Vec<(&'a InstanceRaw, Weight)> {
    let default = script.weight.unwrap_or(NO_WEIGHT);
    let of = |instance: &'a InstanceRaw| {
        let track = instance.tracked(Tracked::Script).find(|track| track.name == script.name)?;
        Some((instance, track.weight.unwrap_or(default)))
    };
    instances.iter().filter_map(of).collect()
}

/// Does anything change the priority?
fn is_weighted(spec: &InstanceSpec) -> bool {
    let links = spec.track_links.iter().map(|(_, weight)| weight);
    let checks = spec.track_checks.iter().map(|track| &track.weight);
    let processes = spec.track_processes.iter().map(|(_, weight)| weight);
    // A tracked file is often a person's own lever, and then moves what he wants moved.
    let bfds = spec.track_bfds.iter().map(|(_, weight)| weight);
    links.chain(checks).chain(processes).chain(bfds).any(|weight| weight.value != 0)
}
