//! What the daemon's answers look like to a person.

use std::fmt::Write;

use crate::shell::operator::control::protocol::{
    BfdStatus, Check, InstanceStatus, Part, Peer, Ran, Status, Storage, Why,
};
use crate::shell::state::record::Record;

/// The table of several instances, or everything of a single one.
pub fn status(status: &Status) -> String {
    let mut out = match status.instances.as_slice() {
        [] => "no instances are configured\n".to_owned(),
        [one] => details(one, &status.time),
        many => table(many),
    };
    out += &bfd(&status.bfd);
    if status.stopping {
        out += "\nThe daemon is stopping.\n";
    }
    for warning in &status.warnings {
        let _ = write!(out, "\nWARNING: {warning}\n");
    }
    if let Some(refused) = &status.refused_reload {
        let _ = write!(
            out,
            "\nThe reload of {} was refused; the configuration before it goes on:\n",
            moment(&refused.time)
        );
        for diagnostic in &refused.diagnostics {
            out += &indent(diagnostic);
        }
    }
    let steps = next_steps(status);
    if !steps.is_empty() {
        out += "\nNext:\n";
        steps.iter().for_each(|step| out += &format!("  {step}\n"));
    }
    printable(&out)
}

/// A line for each BFD session.
fn bfd(sessions: &[BfdStatus]) -> String {
    let mut out = String::new();
    for session in sessions {
        let BfdStatus { name, neighbor, state, diag, for_ms, detection_us, .. } = session;
        let why = if diag == "No Diagnostic" { String::new() } else { format!(" ({diag})") };
        let within = detection_us
            .map(|time| format!(", noticed within {} ms", time.div_ceil(1000)))
            .unwrap_or_default();
        let span = span(*for_ms);
        let _ = writeln!(out, "BFD {name} with {neighbor}: {state} for {span}{why}{within}");
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}

/// What a person should do, if anything; what cannot wait first.
fn next_steps(status: &Status) -> Vec<String> {
    let mut steps: Vec<String> = status.instances.iter().filter_map(next_step).collect();
    if status.refused_reload.is_some() {
        steps.push(format!("Mend {}, see that glha -t agrees, then: glha reload", status.config));
    }
    let ends = |instance: &&InstanceStatus| instance.hold || instance.resigned;
    for InstanceStatus { instance: name, hold, resigned, .. } in
        status.instances.iter().filter(ends)
    {
        if *hold {
            steps.push(format!("When the work is done: glha unhold {name}"));
        }
        if *resigned {
            steps.push(format!("If {name} may come back here: glha resign --cancel {name}"));
        }
    }
    steps
}

fn next_step(instance: &InstanceStatus) -> Option<String> {
    let name = &instance.instance;
    let failing = |part: &&Part| part.good == Some(false) && part.weight == 0;
    let failing: Vec<String> = instance
        .priority
        .parts
        .iter()
        .filter(failing)
        .map(|p| format!("{} {}", p.kind, p.name))
        .collect();
    match instance.phase.as_str() {
        "stuck" => Some(format!(
            "End what holds the storage of {name}; glha events {name} names it, and the release is \
             tried again by itself. When it is surely free: glha released {name}"
        )),
        "fault" if !failing.is_empty() => Some(format!(
            "Mend what {name} fails for: {}; glha events {name} has what scripts printed",
            failing.join(", ")
        )),
        // It ends by itself.
        "fault" if instance.hold_down_ms.is_some() => {
            Some(format!("See why the storage was not taken: glha events {name}"))
        }
        "fault" => Some(format!("See how {name} came to this: glha why {name}")),
        _ => None,
    }
}

/// Why an instance is where it is, and how it came to this.
pub fn why(why: &Why) -> String {
    let instance = &why.instance;
    let mut out = headline(instance);
    for sentence in &instance.now {
        let _ = writeln!(out, "  {sentence}");
    }
    let parts = priority(instance);
    let _ = writeln!(out, "  priority {parts}");
    if why.records.is_empty() {
        out += "Nothing is recorded of it.\n";
    } else {
        out += "How it came to this, the last at the end:\n";
    }
    let is_own = |record: &Record| record.instance.as_ref() == Some(&instance.instance);
    let has_others = !why.records.iter().all(is_own);
    for record in &why.records {
        let _ = writeln!(out, "  {}", event(record, has_others));
    }
    printable(&out)
}

/// A record in a line, and the hook's output below it.
pub fn event(record: &Record, has_instance: bool) -> String {
    let mut line = moment(&record.time);
    if has_instance {
        let _ = write!(line, "  {}", record.instance.as_deref().unwrap_or("-"));
    }
    let detail = record.detail.as_deref().unwrap_or_default();
    match record.kind.as_str() {
        "transition" => {
            let phase = record.phase.as_deref().unwrap_or_default();
            let reason = record.reason.as_deref().unwrap_or_default();
            let _ = write!(line, "  {phase} ({reason}");
            if !detail.is_empty() {
                let _ = write!(line, ": {detail}");
            }
            line.push(')');
        }
        "hook" => {
            let took = span(record.took_ms.unwrap_or_default());
            let hook = record.hook.as_deref().unwrap_or_default();
            let meaning = meaning(hook.trim_start_matches("mount "), detail);
            let _ = write!(line, "  hook {hook} {detail}, after {took}{meaning}");
        }
        kind => {
            let _ = write!(line, "  {kind}");
            if !detail.is_empty() {
                let _ = write!(line, ": {detail}");
            }
        }
    }
    for text in &record.output {
        let _ = write!(line, "\n        | {text}");
    }
    printable(&line)
}

fn headline(instance: &InstanceStatus) -> String {
    let InstanceStatus { instance: name, state, phase, since, for_ms, .. } = instance;
    let finer =
        if state.eq_ignore_ascii_case(phase) { String::new() } else { format!(" ({phase})") };
    format!("{name} is {state}{finer} for {}, since {}\n", span(*for_ms), moment(since))
}

fn details(instance: &InstanceStatus, now: &str) -> String {
    let mut out = headline(instance);
    let mut row = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:<10} {text}");
    };
    if let Some(group) = &instance.group {
        row("group", format!("{group}, whose members change state together"));
    }
    row("why", reason(instance));
    instance.now.iter().take(1).for_each(|sentence| row("now", sentence.clone()));
    for note in notes(instance) {
        row("!", note);
    }
    row("priority", priority(instance));
    if instance.peers.is_empty() {
        row("peer", "none was heard".into());
    }
    instance.peers.iter().for_each(|of| row("peer", peer(of)));
    let source = instance.source.as_deref().unwrap_or("no address");
    let InstanceStatus { interface, vrid, version, .. } = instance;
    row("adverts", format!("{interface}, from {source}, vrid {vrid}, version {version}"));
    row("addresses", addresses(instance));
    if let Some(of) = &instance.storage {
        row("storage", storage(of));
        for (action, ran) in &of.last {
            let meaning = meaning(action, &ran.end);
            row("", format!("last {action} {}{meaning}", last_run(ran, now)));
        }
    }
    instance.checks.iter().for_each(|of| row("check", check(of, now)));
    out
}

fn table(instances: &[InstanceStatus]) -> String {
    let mut rows = vec![
        ["INSTANCE", "GROUP", "STATE", "PHASE", "FOR", "PRIO", "PEER", "WHY"].map(str::to_owned),
    ];
    for instance in instances {
        let followed = instance.peers.iter().find(|peer| peer.followed);
        let latest = || instance.peers.iter().min_by_key(|peer| peer.last_heard_ms);
        let of = followed.or_else(latest);
        rows.push([
            instance.instance.clone(),
            instance.group.clone().unwrap_or_else(|| "-".into()),
            instance.state.clone(),
            instance.phase.clone(),
            span(instance.for_ms),
            instance.priority.effective.to_string(),
            of.map_or_else(
                || "-".into(),
                |p| format!("{} ({}) {} ago", p.address, p.priority, span(p.last_heard_ms)),
            ),
            reason(instance),
        ]);
    }
    let has_groups = instances.iter().any(|instance| instance.group.is_some());
    let columns: Vec<usize> = (0..7).filter(|&column| column != 1 || has_groups).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let mut out = String::new();
    for row in &rows {
        for &column in &columns {
            let (text, width) = (&row[column], width(column).unwrap_or(0));
            let _ = write!(out, "{text:<width$}  ");
        }
        let _ = writeln!(out, "{}", row[7]);
    }
    let mut is_first = true;
    for instance in instances {
        for note in notes(instance) {
            if std::mem::take(&mut is_first) {
                out.push('\n');
            }
            let _ = writeln!(out, "{}: {note}", instance.instance);
        }
    }
    out
}

fn reason(instance: &InstanceStatus) -> String {
    let InstanceStatus { reason, detail, .. } = instance;
    if detail.is_empty() { reason.clone() } else { format!("{reason}: {detail}") }
}

/// What a person should not overlook.
fn notes(instance: &InstanceStatus) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    if instance.phase == "stuck" {
        notes.push(
            "STUCK: the storage may still be held here, and no other node is told otherwise".into(),
        );
    }
    if instance.hold {
        let since = instance.hold_since.as_deref().map(moment);
        let since = since.map_or_else(String::new, |since| format!(" since {since}"));
        notes.push(format!("on hold{since}"));
        let failing: Vec<&str> = ignored(instance).map(|part| part.name.as_str()).collect();
        if !failing.is_empty() {
            let failing = failing.join(", ");
            notes.push(format!("failing, and ignored only while on hold: {failing}"));
        }
    }
    if instance.resigned {
        notes.push("resigned, until another master was heard and is gone".into());
    }
    if let Some(left) = instance.hold_down_ms {
        notes.push(format!("held down for {} more", span(left)));
    }
    let count = instance.addresses.len();
    if instance.phase == "master" && instance.addresses_set < count {
        let set = instance.addresses_set;
        notes.push(format!("only {set} of {count} addresses are set"));
    }
    if instance.storage.as_ref().is_some_and(|storage| storage.lost) {
        notes.push("the storage was lost to a fence or a failure".into());
    }
    notes
}

/// Checks that fail, and that a hold keeps from counting.
fn ignored(instance: &InstanceStatus) -> impl Iterator<Item = &Part> {
    let counts = !(instance.hold && instance.state == "MASTER");
    let parts = instance.priority.parts.iter().filter(move |_| !counts);
    parts.filter(|part| part.kind != "interface" && part.good == Some(false))
}

fn priority(instance: &InstanceStatus) -> String {
    let priority = &instance.priority;
    let mut text = format!("{} = {}", priority.effective, priority.base);
    for part in &priority.parts {
        let good = match part.good {
            Some(true) => "good",
            Some(false) if ignored(instance).any(|other| other == part) => "failing, ignored",
            Some(false) => "failing",
            None => "not known yet",
        };
        let (kind, name) = (&part.kind, &part.name);
        let _ = if part.weight == 0 {
            write!(text, ", {kind} {name} {good} (a failure is a fault)")
        } else {
            let turned = if part.reverse { " reversed" } else { "" };
            write!(text, " {:+} {kind} {name} {good} (weight {}{turned})", part.adds, part.weight)
        };
    }
    text
}

fn peer(peer: &Peer) -> String {
    let Peer { address, priority, highest, last_heard_ms, .. } = peer;
    let highest = if highest > priority { format!(", once {highest}") } else { String::new() };
    let what = match (peer.released, peer.followed) {
        (true, _) => ", has given up",
        (false, true) => ", followed",
        (false, false) => "",
    };
    format!("{address} priority {priority}{highest}, heard {} ago{what}", span(*last_heard_ms))
}

fn addresses(instance: &InstanceStatus) -> String {
    const SHOWN_MAX: usize = 8;
    let count = instance.addresses.len();
    let shown = instance.addresses.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    let more = count.saturating_sub(SHOWN_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let set = match instance.addresses_set {
        0 => "not set".to_owned(),
        set if set == count => "set".to_owned(),
        set => format!("{set} of {count} set"),
    };
    format!("{shown}{more} ({set})")
}

fn storage(storage: &Storage) -> String {
    let mut text = storage.held.clone();
    if let Some(guard) = &storage.guard {
        let _ = write!(text, ", guard {guard}");
    }
    if let Some(action) = &storage.running {
        let _ = write!(text, ", the mount hook runs: {action}");
    }
    text
}

fn check(check: &Check, now: &str) -> String {
    let good = match check.good {
        Some(true) => "good",
        Some(false) => "failing",
        None => "not known yet",
    };
    let last = check.last.as_ref();
    let last = last.map_or_else(String::new, |ran| format!("; last run {}", last_run(ran, now)));
    format!("{} {good}{last}", check.name)
}

/// A probe that finds nothing is no failure, though it looks like one.
fn meaning(action: &str, end: &str) -> &'static str {
    if action == "probe" && end == "exited with status 1" { " (not held here)" } else { "" }
}

fn last_run(ran: &Ran, now: &str) -> String {
    let time = |text: &str| humantime::parse_rfc3339(text).ok();
    let ago = time(now).zip(time(&ran.time)).and_then(|(now, then)| now.duration_since(then).ok());
    let ago = ago.and_then(|ago| u64::try_from(ago.as_millis()).ok());
    let ago = ago.map_or_else(|| moment(&ran.time), |ago| format!("{} ago", span(ago)));
    format!("{ago}: {}, after {}", ran.end, span(ran.took_ms))
}

/// `2026-11-23 03:30:12.123Z`
fn moment(rfc3339: &str) -> String {
    let (seconds, fraction) =
        rfc3339.split_once('.').unwrap_or((rfc3339.trim_end_matches('Z'), ""));
    let millis: String = fraction.chars().filter(char::is_ascii_digit).take(3).collect();
    let point = if millis.is_empty() { "" } else { "." };
    format!("{}{point}{millis}Z", seconds.replacen('T', " ", 1))
}

/// `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`
fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Text from outside must not move a terminal's cursor.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::operator::control::protocol::Refusal;

    #[test]
    fn spans_and_moments_are_short() {
        assert_eq!(
            [0, 9_999, 10_000, 119_999, 120_000].map(span),
            ["0.0 s", "9.9 s", "10 s", "119 s", "2 min"]
        );
        assert_eq!([7_200_000, 172_800_000].map(span), ["2 h", "2 d"]);
        assert_eq!(moment("2026-11-23T03:30:12.123456Z"), "2026-11-23 03:30:12.123Z");
        assert_eq!(moment("2026-11-23T03:30:12Z"), "2026-11-23 03:30:12Z");
    }

    /// A status of one instance, as a daemon might tell it.
    fn told(change: impl FnOnce(&mut Status)) -> Status {
        let text = r#"{"schema":"glha.status/1","time":"2026-11-23T03:30:12Z","node":"a",
            "version":"0.1.0","pid":1,"since":"2026-11-23T03:30:12Z","config":"/etc/glha/glha.conf",
            "stopping":false,"instances":[{"instance":"VI_1","state":"MASTER","phase":"master",
            "since":"2026-11-23T03:30:12Z","for_ms":1000,"reason":"master_down","detail":"","now":[],
            "transition":1,"interface":"eth0","vrid":51,"version":2,"priority":{"effective":100,
            "base":100,"parts":[{"kind":"check","name":"chk","weight":0,"reverse":false,"good":false,
            "adds":0}]},"addresses":[],"addresses_set":0,"peers":[],"checks":[],"hold":false,
            "resigned":false}]}"#;
        let mut status = serde_json::from_str(text).expect("a status");
        change(&mut status);
        status
    }

    fn next(change: impl FnOnce(&mut Status)) -> Vec<String> {
        let status = status(&told(change));
        let steps = status.split_once("\nNext:\n").map(|(_, steps)| steps);
        steps.unwrap_or_default().lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn what_to_do_next_stands_at_the_end() {
        assert_eq!(next(|_| {}), Vec::<String>::new());
        let phase =
            |word: &'static str| move |status: &mut Status| status.instances[0].phase = word.into();
        let stuck = next(phase("stuck"));
        assert!(stuck.len() == 1 && stuck[0].ends_with("glha released VI_1"), "{stuck:?}");
        let fault = next(phase("fault"));
        assert!(fault.len() == 1 && fault[0].contains("check chk"), "{fault:?}");
        let down = next(|status| {
            let instance = &mut status.instances[0];
            (instance.phase, instance.hold_down_ms) = ("fault".into(), Some(1000));
            instance.priority.parts.clear();
        });
        assert_eq!(down, ["See why the storage was not taken: glha events VI_1"]);
        let several = next(|status| {
            (status.instances[0].hold, status.instances[0].resigned) = (true, true);
            let time = "2026-11-23T03:30:12Z".into();
            status.refused_reload = Some(Refusal { time, diagnostics: vec!["x".into()] });
        });
        assert!(several[0].starts_with("Mend /etc/glha/glha.conf"), "{several:?}");
        assert!(several[1].ends_with("glha unhold VI_1"), "{several:?}");
        assert!(several[2].ends_with("glha resign --cancel VI_1"), "{several:?}");
    }

    #[test]
    fn a_record_is_a_line_and_harmless() {
        let record = Record {
            time: "2026-11-23T03:30:12.123456Z".into(),
            kind: "transition".into(),
            instance: Some("VI_1".into()),
            phase: Some("backup".into()),
            reason: Some("better_master".into()),
            detail: Some("\u{1b}[2J".into()),
            ..Record::default()
        };
        assert_eq!(
            event(&record, true),
            "2026-11-23 03:30:12.123Z  VI_1  backup (better_master: ?[2J)"
        );
        let bare = Record { kind: "start".into(), ..Record::default() };
        assert!(event(&bare, true).ends_with("-  start"));
    }
}
