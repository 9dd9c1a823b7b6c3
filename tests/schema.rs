//! What hooks are told, against `etc/event.schema.json`: real events, made as the daemon makes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use glha::core::How;
use glha::core::event::{Facts, MountAction, NotifyState};
use glha::shell::hooks::event::{Kind, Told};
use glha::sim::Plan;
use serde_json::{Value, json};

mod told;

/// So many random worlds; a few already tell every reason that there is without a person.
const WORLDS: u64 = 200;

#[test]
fn every_kind_of_event_fits_the_schema() {
    let schema = schema();
    for (name, event) in told::examples() {
        let breaches = check(&schema, &event, "event");
        assert!(breaches.is_empty(), "{name}: {event}\n{}", breaches.join("\n"));
    }
}

#[test]
fn every_word_of_the_core_is_in_the_schema() {
    let schema = schema();
    for phase in phase_words() {
        let facts = Facts { phase: Box::leak(phase.into_boxed_str()), ..told::facts() };
        fits(&schema, Kind::Notify, &facts);
    }
    for how in [How::Released, How::Preempting, How::Silent, How::Cold, How::Person] {
        let facts = Facts { how: Some(how.word()), ..told::facts() };
        fits(&schema, Kind::Notify, &facts);
    }
    for action in [MountAction::Acquire, MountAction::Release, MountAction::Probe] {
        fits(&schema, Kind::Mount(action.word()), &told::facts());
    }
    // Those that only scripts are told have a state of these as well.
    for state in [NotifyState::Master, NotifyState::Backup, NotifyState::Fault, NotifyState::Stop] {
        let facts = Facts { state: state.word(), previous: state.word(), ..told::facts() };
        fits(&schema, Kind::Notify, &facts);
    }
}

/// Whatever happens to a cluster, faults of all kinds included.
#[test]
fn every_event_of_random_worlds_fits_the_schema() {
    let schema = schema();
    let mut reasons = BTreeSet::new();
    for seed in 1..=WORLDS {
        for (action, facts) in Plan::from_seed(seed).run(true).told {
            let kind = action.map_or(Kind::Notify, |action| Kind::Mount(action.word()));
            fits(&schema, kind, &facts);
            reasons.insert(facts.reason);
        }
    }
    assert!(reasons.len() > 12, "these worlds are dull: {reasons:?}");
}

#[test]
fn every_field_is_described() {
    fn look(schema: &Value, place: &str) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            let text = field["description"].as_str().unwrap_or_default();
            assert!(text.ends_with('.'), "{place} has no description");
            look(field, &place);
        }
    }
    look(&schema(), "event");
}

#[test]
fn the_event_of_the_manual_fits_the_schema() {
    let manual = read("man/glha-hooks.7");
    let example =
        manual.lines().find(|line| line.starts_with("{\"schema\"")).expect("an example event");
    let example: Value = serde_json::from_str(example).expect("the example event is JSON");
    let breaches = check(&schema(), &example, "event");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn each_breach_is_found() {
    let schema = json!({
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": { "type": "string", "minLength": 1 },
            "b": { "type": "integer", "minimum": 1, "maximum": 9 },
            "c": { "enum": ["x", "y"] },
            "d": { "const": "z" },
            "e": { "type": "array", "items": { "type": "boolean" } },
            "f": { "type": "object", "additionalProperties": { "type": "string" } }
        }
    });
    let good =
        json!({"a": "1", "b": 1, "c": "x", "d": "z", "e": [true, false], "f": {"any": "thing"}});
    assert_eq!(check(&schema, &good, "event"), Vec::<String>::new());
    for bad in [
        json!([]),
        json!({}),
        json!({"a": 1}),
        json!({"a": ""}),
        json!({"a": "1", "b": 0}),
        json!({"a": "1", "b": 10}),
        json!({"a": "1", "b": 1.5}),
        json!({"a": "1", "c": "z"}),
        json!({"a": "1", "c": null}),
        json!({"a": "1", "d": "x"}),
        json!({"a": "1", "e": [true, 1]}),
        json!({"a": "1", "f": {"any": 1}}),
        json!({"a": "1", "new": 1}),
    ] {
        assert_eq!(check(&schema, &bad, "event").len(), 1, "{bad}");
    }
    assert_eq!(check(&json!({"pattern": "^a$"}), &json!("a"), "event").len(), 1);
}

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn schema() -> Value {
    serde_json::from_str(&read("etc/event.schema.json")).expect("the schema is JSON")
}

fn fits(schema: &Value, kind: Kind<'_>, facts: &Facts) {
    let told = Told { about: Some((facts, "eth0", Vec::new())), ..told::about_nobody(kind) };
    let event = told::event(&told);
    let breaches = check(schema, &event, "event");
    assert!(breaches.is_empty(), "{event}\n{}", breaches.join("\n"));
}

/// The words of all phases, read from the source: a phase has data that is no concern of a reader.
fn phase_words() -> Vec<String> {
    let source = read("src/core/phase.rs");
    let (_, after) = source.split_once("pub const fn word(&self)").expect("Phase::word");
    let body = after.split("\n    }\n").next().unwrap_or_default();
    let words: Vec<_> = body.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(words.len() >= 9 && words.contains(&"stuck".to_owned()), "{words:?}");
    words
}

// ---------------------------------------------------------------------------------------------
// As much of JSON Schema as the schema uses. A keyword that is not known here is a breach, and so is a
// field that the schema does not describe: a reader may meet new ones, but we may not send them.

const NO_RULES: &[&str] = &["$schema", "$id", "title", "description", "format"];

/// Everything in which a value does not fit; `place` is what it is called.
fn check(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let Some(rules) = schema.as_object() else { return vec![format!("{place}: no schema")] };
    let mut breaches = Vec::new();
    for (rule, wanted) in rules {
        let fits = match rule.as_str() {
            "type" => is_of_type(value, wanted),
            "const" => value == wanted,
            "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value.as_i64().is_none_or(|n| wanted.as_i64().is_some_and(|m| n >= m)),
            "maximum" => value.as_i64().is_none_or(|n| wanted.as_i64().is_some_and(|m| n <= m)),
            "minLength" => {
                let length = value.as_str().map(|text| text.chars().count() as u64);
                length.is_none_or(|length| wanted.as_u64().is_some_and(|least| length >= least))
            }
            "required" | "properties" | "additionalProperties" | "items" => true,
            known if NO_RULES.contains(&known) => true,
            _ => false,
        };
        if !fits {
            breaches.push(format!("{place}: {value} breaks {rule} {wanted}"));
        }
    }
    breaches.extend(check_fields(schema, value, place));
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        breaches.extend(check(&schema["items"], item, &format!("{place}[{index}]")));
    }
    breaches
}

fn check_fields(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let Some(fields) = value.as_object() else { return Vec::new() };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut breaches: Vec<String> = required
        .filter(|name| !fields.contains_key(*name))
        .map(|name| format!("{place}: {name} is missing"))
        .collect();
    for (name, value) in fields {
        let place = format!("{place}.{name}");
        match schema["properties"].get(name).or_else(|| schema.get("additionalProperties")) {
            Some(schema) => breaches.extend(check(schema, value, &place)),
            None => breaches.push(format!("{place} is not described")),
        }
    }
    breaches
}

fn is_of_type(value: &Value, wanted: &Value) -> bool {
    match wanted.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => false,
    }
}
