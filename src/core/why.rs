//! Questions to the core, answered for a person: what a priority is made of, and why an instance is
//! where it is at this moment.

use std::time::Duration;

use super::instance::{Ctx, Instance};
use super::phase::{Doubt, Goal, Phase, Step};
use super::spec::{InstanceId, Preempt, Weight};
use super::{Core, Time};

/// Something tracked: how it is, and what it does to the priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `interface`, `check`, `process` or `file`.
    pub kind: &'static str,
    /// Its name in the configuration.
    pub name: String,
    /// What it does here.
    pub weight: Weight,
    /// What it says, as far as that is known.
    pub is_good: Option<bool>,
    /// What it adds to the priority now.
    pub adds: i32,
}

impl Core {
    /// What is added to the base priority of an instance, in the order of the configuration.
    pub fn parts(&self, id: InstanceId) -> Vec<Part> {
        let Some(instance) = self.instances().get(id) else { return Vec::new() };
        let part = |kind, name: &str, weight: Weight, is_good| Part {
            kind,
            name: name.to_owned(),
            weight,
            is_good,
            adds: instance.weigh(weight, is_good),
        };
        let links = instance.spec.track_links.iter().map(|&(id, weight)| {
            let link = &self.links[id.0];
            let is_good = link.is_known.then_some(link.is_up);
            Part {
                adds: weight.contribution(is_good),
                ..part("interface", &link.name, weight, is_good)
            }
        });
        let checks = instance.spec.track_checks.iter().enumerate().map(|(place, track)| {
            let check = &self.checks[track.check];
            let counts = check.is_good.map(|is_good| is_good || instance.is_excused(place));
            let adds = instance.weigh(track.weight, counts);
            Part { adds, ..part("check", &check.spec.name, track.weight, check.is_good) }
        });
        links
            .chain(checks)
            .chain(self.senses.parts(&instance.spec, instance.ignores_checks()))
            .collect()
    }

    /// Why an instance is where it is, in sentences without a full stop; the most important first.
    pub fn explain(&self, id: InstanceId, now: Time) -> Vec<String> {
        let Some(instance) = self.instances().get(id) else { return Vec::new() };
        let (links, checks, senses) = (&self.links, &self.checks, &self.senses);
        let mut out = Vec::new();
        let ctx = Ctx { now, wall: self.wall, links, checks, senses, out: &mut out };
        let mut said = Vec::new();
        instance.explain_phase(&ctx, &mut said);
        instance.explain_rest(&ctx, &mut said);
        said
    }
}

impl Instance {
    fn explain_phase(&self, ctx: &Ctx<'_>, said: &mut Vec<String>) {
        let now = ctx.now;
        let left = |until: Time| seconds(until.since(now));
        match &self.phase {
            Phase::Init => {
                said.push("waits for its interface and for the first results of its checks".into());
            }
            Phase::Backup { down_at } => self.explain_backup(*down_at, now, said),
            Phase::Acquiring(acquiring) => {
                let step = match acquiring.step {
                    Step::AwaitingRelease { until } => {
                        format!("the old master is to let go first, for {} more", left(until))
                    }
                    Step::Listening { until } => {
                        format!("listens {} more for a holder's answer", left(until))
                    }
                    Step::Running { until } => {
                        format!(
                            "the mount hook takes the storage, for {} more at most",
                            left(until)
                        )
                    }
                    Step::Following => "the first member of its group takes the storage".into(),
                    Step::Pausing { retry_at, .. } => {
                        format!("the mount hook asked for another try, in {}", left(retry_at))
                    }
                };
                said.push(step);
            }
            Phase::Probing(probing) => said.push(match probing.why {
                Doubt::Start => "asks the mount hook whether the storage is in use here".into(),
                Doubt::Resume | Doubt::Lapse => {
                    "asks the mount hook whether the storage is still its own alone".into()
                }
            }),
            Phase::Master { better, .. } => {
                let what = if self.spec.gate.is_some() { " and the storage" } else { "" };
                if self.unset.is_empty() {
                    said.push(format!("has the addresses{what}"));
                } else {
                    said.push(format!("is to have the addresses{what}, and has not all"));
                    said.extend(self.unset.iter().cloned());
                }
                if let Some(claim) = better {
                    let since = seconds(now.since(claim.since));
                    said.push(format!(
                        "{} has claimed it with a better priority for {since}; it is answered",
                        claim.from
                    ));
                }
            }
            Phase::Releasing(releasing) => {
                let then = match releasing.goal {
                    Goal::Backup => "backup",
                    Goal::Fault => "fault",
                    Goal::Stop => "stopped",
                };
                said.push(format!("the mount hook gives the storage back; then it is {then}"));
            }
            Phase::Fault => {}
            Phase::Stuck(stuck) => {
                let next = if self.mount_running.is_some() {
                    "the mount hook is trying to give it back".to_owned()
                } else {
                    format!("the next try to give it back is in {}", left(stuck.retry_at))
                };
                said.push(format!(
                    "the storage may still be held here, and no other node is told that it is \
                     free; {next}. If it is surely free, say so: glha released {}",
                    self.spec.name
                ));
            }
            Phase::Stopped => said.push("it is stopped".into()),
        }
    }

    fn explain_backup(&self, down_at: Time, now: Time, said: &mut Vec<String>) {
        let ours = self.priority();
        let master = self.peers.master().filter(|master| {
            master.released_at.is_none() && now.since(master.heard_at) < self.master_down_interval()
        });
        let Some(master) = master else {
            let then = if self.is_barred() { "would be due" } else { "takes over" };
            return said
                .push(format!("no master is heard; {then} in {}", seconds(down_at.since(now))));
        };
        let theirs = master.priority;
        said.push(format!(
            "{} is master with priority {theirs}, ours is {ours}; last heard {} ago",
            master.address,
            seconds(now.since(master.heard_at))
        ));
        if ours <= theirs || self.is_barred() {
            return;
        }
        said.push(match self.spec.preempt {
            Preempt::Never => "a better priority takes nothing over here (nopreempt)".into(),
            Preempt::Weakened => format!(
                "storage moves only for a reason, and {} is as good as it ever was (preempt weakened)",
                master.address
            ),
            Preempt::Always => match self.preempt_delay_until.filter(|&until| now < until) {
                Some(until) => format!("preempts it in {}", seconds(until.since(now))),
                None => "is about to preempt it".into(),
            },
        });
    }

    fn explain_rest(&self, ctx: &Ctx<'_>, said: &mut Vec<String>) {
        if let Some(why) = &self.mute {
            said.push(format!(
                "its adverts do not go out ({why}): another node becomes master too"
            ));
        }
        let cause = self.cause(ctx);
        if let Some((reason, detail)) = &cause {
            said.push(format!("must not be master: {} ({detail})", reason.word()));
        }
        if let Some(until) = self.hold_down.until.filter(|&until| ctx.now < until) {
            let left = seconds(until.since(ctx.now));
            said.push(format!("held down for {left} more, so that nothing flaps"));
        } else if matches!(self.phase, Phase::Fault) && cause.is_none() {
            said.push("no cause of the fault is left".into());
        }
        if self.is_held() {
            said.push(format!("on hold by a person; glha unhold {} ends it", self.spec.name));
        }
        if self.has_resigned() {
            said.push(format!(
                "resigned by a person; glha resign --cancel {} ends it",
                self.spec.name
            ));
        }
        if self.lost {
            said.push(
                "the storage was lost to a fence or a failure, and no master was heard since; it \
                 does not fence back"
                    .into(),
            );
        }
        if self.has_person_s_word {
            said.push("a person says that the storage is free: proof for the next acquire".into());
        }
    }

    /// Until when it is held down after a failure, if it is.
    pub fn held_down_until(&self, now: Time) -> Option<Time> {
        self.hold_down.until.filter(|&until| now < until)
    }

    /// The storage was lost to a fence or a failure, and no master was heard since.
    pub const fn has_lost_storage(&self) -> bool {
        self.lost
    }

    /// What it holds, as it is written down.
    pub const fn held(&self) -> super::event::Held {
        self.former
    }
}

/// A span for a person: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`.
fn seconds(span: Duration) -> String {
    let whole = span.as_secs();
    match whole {
        0..10 => format!("{:.1} s", span.as_secs_f64()),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min", whole / 60),
        7200..172_800 => format!("{} h", whole / 3600),
        _ => format!("{} d", whole / 86_400),
    }
}
