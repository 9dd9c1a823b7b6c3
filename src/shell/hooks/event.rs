//! What a hook is told: one JSON object on its standard input, and the same as `GLHA_*` variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::conf::Config;
use crate::conf::Mail;
use crate::core::event::Facts;
use crate::core::spec::GroupId;

/// The event, as `etc/event.schema.json` describes it. Fields that do not apply are left out.
#[derive(Debug, Serialize)]
pub struct HookEvent<'a> {
    schema: &'static str,
    id: String,
    time: String,
    node: &'a str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'a str>,
    #[serde(flatten)]
    instance: Option<InstanceEvent<'a>>,
    timeout_ms: u128,
    env: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<MailEvent<'a>>,
}

#[derive(Debug, Serialize)]
struct InstanceEvent<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    state: &'static str,
    previous: &'static str,
    phase: &'static str,
    reason: &'static str,
    detail: &'a str,
    transition: u64,
    vrid: u8,
    interface: &'a str,
    priority: u8,
    addresses: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    released: bool,
    lost: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<PeerEvent>,
}

#[derive(Debug, Serialize)]
struct PeerEvent {
    address: String,
    priority: u8,
    last_seen_ms: u128,
    released: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct MailEvent<'a> {
    to: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
}

/// What kind of hook is told.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// The mount hook, and for which action.
    Mount(&'static str),
    /// A notify script or hook.
    Notify,
    /// A check, and its name.
    Check(&'a str),
    /// A script of the daemon itself: `startup`, `shutdown`, `fifo`.
    Daemon(&'static str),
}

/// Everything around the facts.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// What kind of hook it is.
    pub kind: Kind<'a>,
    /// `router_id`.
    pub node: &'a str,
    /// Of an instance, if the hook belongs to one: what the core says, the interface's name, and
    /// the addresses as written.
    pub about: Option<(&'a Facts, &'a str, Vec<&'a str>)>,
    /// The hook's deadline.
    pub timeout: Duration,
    /// The settings of the `hooks` block.
    pub env: &'a [(String, String)],
    /// Where to send mail, if that is wanted.
    pub mail: Option<&'a Mail>,
    /// Distinguishes events of one daemon.
    pub count: u64,
}

impl<'a> Told<'a> {
    /// It is about a whole group: all its addresses are shown.
    pub fn show_all(&mut self, config: &'a Config, group: GroupId) {
        let Some(((_, _, addresses), group)) =
            self.about.as_mut().zip(config.spec.groups.get(group))
        else {
            return;
        };
        let confs = group.members.iter().filter_map(|member| config.instances.get(*member));
        *addresses = confs.flat_map(|conf| &conf.addresses).map(|a| a.text.as_str()).collect();
    }

    /// The JSON object on one line.
    pub fn json(&self) -> Vec<u8> {
        let (event, action, check) = match self.kind {
            Kind::Mount(action) => ("mount", Some(action), None),
            Kind::Notify => ("notify", None, None),
            Kind::Check(name) => ("check", None, Some(name)),
            Kind::Daemon(what) => (what, None, None),
        };
        let event = HookEvent {
            schema: "glha.event/1",
            id: event_id(self.node, self.count),
            time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            node: self.node,
            event,
            action,
            check,
            instance: self.about.as_ref().map(instance_event),
            timeout_ms: self.timeout.as_millis(),
            env: self.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            mail: self.mail.map(|mail| MailEvent {
                to: &mail.to,
                from: mail.from.as_deref(),
                server: mail.server.as_deref(),
            }),
        };
        // Strings, numbers and maps with string keys always serialise.
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The same facts as environment variables, then the settings of the block.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let mut all = vec![
            ("GLHA_EVENT", self.event_word().to_owned()),
            ("GLHA_NODE", self.node.to_owned()),
            ("GLHA_TIMEOUT_MS", self.timeout.as_millis().to_string()),
        ];
        match self.kind {
            Kind::Mount(action) => all.push(("GLHA_ACTION", action.to_owned())),
            Kind::Check(name) => all.push(("GLHA_CHECK", name.to_owned())),
            Kind::Notify | Kind::Daemon(_) => {}
        }
        if let Some((facts, interface, addresses)) = &self.about {
            all.extend(instance_variables(facts, interface, addresses));
        }
        if let Some(Mail { to, from, server, .. }) = self.mail {
            all.push(("GLHA_MAIL_TO", to.join(" ")));
            all.extend(from.clone().map(|from| ("GLHA_MAIL_FROM", from)));
            all.extend(server.clone().map(|server| ("GLHA_MAIL_SERVER", server)));
        }
        let own = all.into_iter().map(|(key, value)| (key.into(), value.into()));
        let env = self.env.iter().map(|(key, value)| (key.into(), value.into()));
        own.chain(env).collect()
    }

    const fn event_word(&self) -> &'static str {
        match self.kind {
            Kind::Mount(_) => "mount",
            Kind::Notify => "notify",
            Kind::Check(_) => "check",
            Kind::Daemon(what) => what,
        }
    }
}

/// The id of an event: the node, the process, and a number.
pub fn event_id(node: &str, count: u64) -> String {
    format!("{node}-{}-{count}", std::process::id())
}

fn instance_event<'a>(
    (facts, interface, addresses): &(&'a Facts, &'a str, Vec<&'a str>),
) -> InstanceEvent<'a> {
    InstanceEvent {
        instance: &facts.instance,
        group: facts.group.as_deref(),
        state: facts.state,
        previous: facts.previous,
        phase: facts.phase,
        reason: facts.reason,
        detail: &facts.detail,
        transition: facts.transition,
        vrid: facts.vrid,
        interface,
        priority: facts.priority,
        addresses: addresses.clone(),
        how: facts.how,
        released: facts.released,
        lost: facts.lost,
        peer: facts.peer.as_ref().map(|peer| PeerEvent {
            address: peer.address.to_string(),
            priority: peer.priority,
            last_seen_ms: peer.last_seen.as_millis(),
            released: facts.released,
            how: facts.how,
        }),
    }
}

/// The kernel starts no program with a longer variable than 128 KiB (MAX_ARG_STRLEN), name and end
/// included.
const VARIABLE_BYTES_MAX: usize = 128 * 1024 - 64;

fn instance_variables(
    facts: &Facts,
    interface: &str,
    addresses: &[&str],
) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("GLHA_STATE", facts.state.to_owned()),
        ("GLHA_PREVIOUS", facts.previous.to_owned()),
        ("GLHA_PHASE", facts.phase.to_owned()),
        ("GLHA_REASON", facts.reason.to_owned()),
        ("GLHA_DETAIL", facts.detail.clone()),
        ("GLHA_TRANSITION", facts.transition.to_string()),
        ("GLHA_VRID", facts.vrid.to_string()),
        ("GLHA_INTERFACE", interface.to_owned()),
        ("GLHA_PRIORITY", facts.priority.to_string()),
        ("GLHA_RELEASED", u8::from(facts.released).to_string()),
        ("GLHA_LOST", u8::from(facts.lost).to_string()),
    ];
    if !facts.instance.is_empty() {
        all.push(("GLHA_INSTANCE", facts.instance.clone()));
    }
    all.extend(facts.group.clone().map(|group| ("GLHA_GROUP", group)));
    let list = Some(addresses.join(" ")).filter(|list| list.len() < VARIABLE_BYTES_MAX);
    all.extend(list.map(|list| ("GLHA_ADDRESSES", list)));
    all.extend(facts.how.map(|how| ("GLHA_HOW", how.to_owned())));
    if let Some(peer) = &facts.peer {
        all.push(("GLHA_PEER_ADDRESS", peer.address.to_string()));
        all.push(("GLHA_PEER_PRIORITY", peer.priority.to_string()));
    }
    all
}
