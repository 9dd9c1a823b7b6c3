//! Questions to the core, answered for a person: what a priority is made of, and why an instance is
//! where it is at this moment.

use std::time::Duration;

use super::context::World;
use super::instance::Instance;
use super::phase::{Doubt, Goal, Phase, Step};
use super::spec::{InstanceId, Preempt};
use super::track::Part;
use super::{Core, Time};

impl Core {
    /// What is added to the base priority of an instance, in the order of the configuration.
    pub fn parts(&self, id: InstanceId) -> Vec<Part<'_>> {
        let Some(instance) = self.instances().get(id) else { return Vec::new() };
        instance.tracked(self.world()).parts().collect()
    }

    /// Why an instance is where it is, in sentences without a full stop; the most important first.
    pub fn explain(&self, id: InstanceId, now: Time) -> Vec<String> {
        let Some(instance) = self.instances().get(id) else { return Vec::new() };
        let mut said = Vec::new();
        explain_phase(instance, now, &mut said);
        explain_rest(instance, self.world(), now, &mut said);
        said
    }
}

fn explain_phase(instance: &Instance, now: Time, said: &mut Vec<String>) {
    let left = |until: Time| seconds(until.since(now));
    match &instance.phase {
        Phase::Init => {
            said.push("waits for its interface and for the first results of its checks".into());
        }
        Phase::Backup { down_at } => explain_backup(instance, *down_at, now, said),
        Phase::Acquiring(acquiring) => {
            let step = match acquiring.step {
                Step::AwaitingRelease { until } => {
                    format!("the old master is to let go first, for {} more", left(until))
                }
                Step::Listening { until } => {
                    format!("listens {} more for a holder's answer", left(until))
                }
                Step::Running { until } => {
                    format!("the mount hook takes the storage, for {} more at most", left(until))
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
            let what = if instance.spec.gate.is_some() { " and the storage" } else { "" };
            if instance.troubles.unset.is_empty() {
                said.push(format!("has the addresses{what}"));
            } else {
                said.push(format!("is to have the addresses{what}, and has not all"));
                said.extend(instance.troubles.unset.iter().cloned());
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
            let next = if instance.mount_running.is_some() {
                "the mount hook is trying to give it back".to_owned()
            } else {
                format!("the next try to give it back is in {}", left(stuck.retry_at))
            };
            said.push(format!(
                "the storage may still be held here, and no other node is told that it is \
                 free; {next}. If it is surely free, say so: glha released {}",
                instance.spec.name
            ));
        }
        Phase::Stopped => said.push("it is stopped".into()),
    }
}

fn explain_backup(instance: &Instance, down_at: Time, now: Time, said: &mut Vec<String>) {
    let ours = instance.priority();
    let within = instance.master_down_interval();
    let Some(master) = instance.peers.living_master(within, now) else {
        let then = if instance.is_barred() { "would be due" } else { "takes over" };
        return said.push(format!("no master is heard; {then} in {}", seconds(down_at.since(now))));
    };
    let theirs = master.priority;
    said.push(format!(
        "{} is master with priority {theirs}, ours is {ours}; last heard {} ago",
        master.address,
        seconds(now.since(master.heard_at))
    ));
    if ours <= theirs || instance.is_barred() {
        return;
    }
    said.push(match instance.spec.preempt {
        Preempt::Never => "a better priority takes nothing over here (nopreempt)".into(),
        Preempt::Weakened => format!(
            "storage moves only for a reason, and {} is as good as it ever was (preempt weakened)",
            master.address
        ),
        Preempt::Always => match instance.preempt_delay_until.filter(|&until| now < until) {
            Some(until) => format!("preempts it in {}", seconds(until.since(now))),
            None => "is about to preempt it".into(),
        },
    });
}

fn explain_rest(instance: &Instance, world: World<'_>, now: Time, said: &mut Vec<String>) {
    if let Some(why) = &instance.troubles.mute {
        said.push(format!("its adverts do not go out ({why}): another node becomes master too"));
    }
    let cause = instance.cause(world);
    if let Some((reason, detail)) = &cause {
        said.push(format!("must not be master: {} ({detail})", reason.word()));
    }
    if let Some(until) = instance.held_down_until(now) {
        let left = seconds(until.since(now));
        said.push(format!("held down for {left} more, so that nothing flaps"));
    } else if matches!(instance.phase, Phase::Fault) && cause.is_none() {
        said.push("no cause of the fault is left".into());
    }
    if instance.is_held() {
        said.push(format!("on hold by a person; glha unhold {} ends it", instance.spec.name));
    }
    if instance.has_resigned() {
        said.push(format!(
            "resigned by a person; glha resign --cancel {} ends it",
            instance.spec.name
        ));
    }
    if instance.lost {
        said.push(
            "the storage was lost to a fence or a failure, and no master was heard since; it \
             does not fence back"
                .into(),
        );
    }
    if instance.has_person_s_word {
        said.push("a person says that the storage is free: proof for the next acquire".into());
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
