//! What can be seen without playing anything: where two configurations do not fit each other.

use std::net::IpAddr;

use super::cast::Role;
use crate::core::spec::{Auth, Destination, Preempt, Version};
use crate::sim::Guard;

/// Everything that these nodes cannot survive, or not as one would expect.
pub(super) fn doubts(roles: &[Role<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, one) in roles.iter().enumerate() {
        for other in &roles[place + 1..] {
            found.extend(deaf(one, other));
            found.extend(unlike(one, other));
        }
    }
    found.extend(equal_priorities(roles));
    for one in roles {
        found.extend(weights(one, roles));
        found.extend(storage(one, roles));
    }
    found
}

/// Why these two do not hear each other, so that both become master.
fn deaf(one: &Role<'_>, other: &Role<'_>) -> Vec<String> {
    let (a, b) = (one.spec, other.spec);
    let mut found = Vec::new();
    let mut differ = |what: &str, first: String, second: String| {
        if first != second {
            found.push(format!(
                "different {what}: {first} on {}, {second} on {}: they ignore each other, and both \
                 become master",
                one.name, other.name
            ));
        }
    };
    differ("virtual_router_id", a.vrid.to_string(), b.vrid.to_string());
    differ("VRRP version", version(a.version).into(), version(b.version).into());
    differ("address family", format!("IP{:?}", a.family), format!("IP{:?}", b.family));
    differ("kind of peers", kind(&a.destination).into(), kind(&b.destination).into());
    if a.version == Version::V2 && b.version == Version::V2 {
        differ("advert_int", seconds(a.advert_interval), seconds(b.advert_interval));
        // The passwords themselves are nobody's business.
        if a.auth != b.auth {
            let word = |auth: Auth| match auth {
                Auth::None => "no password",
                Auth::Pass(_) => "a password",
                Auth::Ah(_) => "a password of auth_type AH",
            };
            found.push(format!(
                "different passwords ({} has {}, {} has {}{}): they ignore each other, and both \
                 become master",
                one.name,
                word(a.auth),
                other.name,
                word(b.auth),
                if word(a.auth) == word(b.auth) { ", another one" } else { "" }
            ));
        }
    }
    found.extend(unicast(one, other));
    found.extend(unicast(other, one));
    found
}

/// Does `one` send to where `other` is, as far as that is known?
fn unicast(one: &Role<'_>, other: &Role<'_>) -> Option<String> {
    let (Destination::Peers { peers, .. }, Some(source)) =
        (&one.spec.destination, other.spec.source)
    else {
        return None;
    };
    let knows = peers.iter().any(|peer| peer.ip == source);
    (!knows).then(|| {
        format!(
            "{} does not have {source}, from where {} sends, among its unicast_peer",
            one.name, other.name
        )
    })
}

/// What should be the same, though adverts get through.
fn unlike(one: &Role<'_>, other: &Role<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let ips = |role: &Role<'_>| {
        let mut ips: Vec<IpAddr> = role.spec.addresses.iter().map(|address| address.ip).collect();
        ips.sort();
        ips
    };
    let (first, second) = (ips(one), ips(other));
    for (role, missing) in [(one, missing(&second, &first)), (other, missing(&first, &second))] {
        if let Some(ip) = missing {
            found.push(format!(
                "different virtual addresses: {} does not have {ip}; adverts of the other node are \
                 dropped for it, and both become master",
                role.name
            ));
        }
    }
    if one.is_gated() != other.is_gated() {
        let (with, without) = if one.is_gated() { (one, other) } else { (other, one) };
        found.push(format!(
            "{} has a mount hook and {} has none: nothing keeps {} off the disk",
            with.name, without.name, without.name
        ));
    }
    if let (Some(a), Some(b)) = (&one.spec.gate, &other.spec.gate) {
        if a.peers_glha != b.peers_glha {
            found.push(format!(
                "`peers` is not the same on {} and {}: one of them waits for a proof that the other \
                 does not give",
                one.name, other.name
            ));
        }
        if one.spec.preempt != other.spec.preempt {
            found.push(format!(
                "`preempt` is not the same on {} and {}: who keeps the disk then depends on who has \
                 it",
                one.name, other.name
            ));
        }
        for name in ["MOUNT_DEVICE", "MOUNT_POINT", "GUARD"] {
            let (a, b) = (one.setting(name), other.setting(name));
            if a != b {
                let word = |value: Option<&str>| value.unwrap_or("nothing").to_owned();
                found.push(format!(
                    "{name} is {} on {} and {} on {}",
                    word(a),
                    one.name,
                    word(b),
                    other.name
                ));
            }
        }
    }
    found
}

fn missing(wanted: &[IpAddr], there: &[IpAddr]) -> Option<IpAddr> {
    wanted.iter().find(|ip| !there.contains(ip)).copied()
}

fn equal_priorities(roles: &[Role<'_>]) -> Option<String> {
    let first = roles.first()?.spec.priority;
    roles.iter().all(|role| role.spec.priority == first).then(|| {
        let names: Vec<&str> = roles.iter().map(|role| role.name).collect();
        format!(
            "equal priorities: {} have {first} each; who becomes master when they start together is \
             decided by their addresses. Give the preferred one a higher priority",
            names.join(" and ")
        )
    })
}

/// Checks whose failure moves nothing.
fn weights(one: &Role<'_>, roles: &[Role<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let tracked = &one.staged.instances.first().map_or(&[][..], |i| &i.track_checks);
    for track in tracked.iter().filter(|track| track.weight.value != 0) {
        let Some(check) = one.staged.checks.get(track.check) else { continue };
        let (name, weight) = (&check.name, track.weight.value);
        found.push(format!(
            "{}: {name} has weight {weight}, so its failure is never a fault: with no better node \
             there, this one stays master without the service",
            one.name
        ));
        let failed = full(one) - i32::from(weight.unsigned_abs());
        let others = || roles.iter().filter(|other| other.name != one.name);
        let best = others().map(|other| (full(other), other)).max_by_key(|&(best, _)| best);
        let Some((best, other)) = best else { continue };
        if one.spec.priority != u8::MAX && full(one) >= best && failed >= best {
            found.push(format!(
                "{}: when {name} fails, its priority is still {failed} against {best} of {}: nothing \
                 fails over. The weight must be more than the distance of the priorities, {}",
                one.name,
                other.name,
                full(one) - best
            ));
        }
        if failed < best && other.spec.preempt == Preempt::Never {
            found.push(format!(
                "{}: nopreempt keeps {} from taking over when {name} fails on {}; without a weight \
                 the failure is a fault, and {} gives up by itself",
                other.name, other.name, one.name, one.name
            ));
        }
    }
    found
}

/// The priority with everything well: weights above zero are added, those below are not.
fn full(role: &Role<'_>) -> i32 {
    let tracked = role.staged.instances.iter().flat_map(|instance| &instance.track_checks);
    let gained = tracked.map(|track| i32::from(track.weight.value.max(0))).sum::<i32>();
    (i32::from(role.spec.priority) + gained).clamp(1, 255)
}

fn storage(one: &Role<'_>, roles: &[Role<'_>]) -> Vec<String> {
    let Some(gate) = &one.spec.gate else { return Vec::new() };
    let mut found = Vec::new();
    if one.spec.preempt == Preempt::Always {
        found.push(format!(
            "{}: `preempt always` moves the disk away from a healthy master whenever this node comes \
             back: an outage for nothing. `preempt weakened` is the default",
            one.name
        ));
    }
    if one.guard() == Guard::None {
        let is_accepted = one.setting("ACCEPT_RISK") == Some("yes");
        found.push(if is_accepted {
            format!(
                "{}: GUARD none with ACCEPT_RISK yes mounts without any proof: in a partition the \
                 disk is mounted twice",
                one.name
            )
        } else if gate.peers_glha && roles.len() == 2 {
            format!(
                "{}: GUARD none proves nothing by itself: when the other node dies without saying \
                 so, the service waits for a person (`glha released {}`)",
                one.name, one.spec.name
            )
        } else {
            format!(
                "{}: GUARD none without `peers glha` proves nothing at all: every takeover waits for \
                 a person (`glha released {}`)",
                one.name, one.spec.name
            )
        });
    }
    found
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::V2 => "2",
        Version::V3 => "3",
    }
}

const fn kind(destination: &Destination) -> &'static str {
    match destination {
        Destination::Group(_) => "a group",
        Destination::Peers { .. } => "single peers",
    }
}

fn seconds(span: std::time::Duration) -> String {
    format!("{} s", span.as_secs_f64())
}
