//! What is there whatever the state of any instance: `static_ipaddress`, `static_routes`,
//! `static_rules`, and `track_group`, whose instances follow it.

use std::sync::Arc;

use super::super::diagnostic::Span;
use super::super::lex::Statement;
use super::super::route::{Entry, Route, Rule};
use super::{AddressRaw, Blame, Keyword, Raw, Reader, block};

/// The static blocks as they are written.
#[derive(Debug, Default)]
pub struct StaticsRaw {
    /// `static_ipaddress`.
    pub addresses: Vec<Entry<AddressRaw>>,
    /// `static_routes`.
    pub routes: Vec<Entry<Route>>,
    /// `static_rules`.
    pub rules: Vec<Entry<Rule>>,
    /// The `track_group` blocks.
    pub groups: Vec<GroupRaw>,
}

/// A `track_group` block.
#[derive(Debug, Default)]
pub struct GroupRaw {
    /// Its name.
    pub name: String,
    /// The names in its `group` block, and where they stand.
    pub instances: Vec<(String, Span)>,
}

pub(super) const GROUP: &[Keyword<GroupRaw>] = &[block("group", |reader, statement, group| {
    let lines = reader.lines(statement);
    let words = lines.into_iter().flat_map(|line| &line.words);
    group.instances.extend(words.map(|word| (word.text.clone(), word.span)));
})];

pub(super) fn track_group(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    let Some(name) = reader.block_name(statement) else { return };
    if raw.statics.groups.iter().any(|group| group.name == name.text) {
        let message = format!("track_group {} already defined; its block is skipped", name.text);
        return reader.fault(name.span, message);
    }
    let mut group = GroupRaw { name: name.text.clone(), ..GroupRaw::default() };
    reader.read_block(statement, GROUP, Blame::Keepalived, &mut group);
    if group.instances.is_empty() {
        let message = format!("Static track group {} has no VRRP instance(s)", name.text);
        reader.fault(name.span, message);
    }
    raw.statics.groups.push(group);
}

pub(super) fn addresses(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    for line in reader.lines(statement) {
        reader.in_static = true;
        let address = reader.address(line);
        reader.in_static = false;
        let Some(address) = address else { continue };
        let mut group = reader.known_group(address.group.clone(), line.span, raw);
        reader.either(line.span, true, address.no_track, &mut group, "address");
        raw.statics.addresses.push(Entry {
            no_track: address.no_track,
            span: address.span,
            what: Arc::new(address),
            group,
            tracked_by: Vec::new(),
        });
    }
}

pub(super) fn routes(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    for line in reader.lines(statement) {
        if let Some(mut route) = reader.route(line, true) {
            route.group = reader.known_group(route.group, line.span, raw);
            raw.statics.routes.push(route);
        }
    }
}

pub(super) fn rules(reader: &mut Reader, statement: &Statement, raw: &mut Raw) {
    for line in reader.lines(statement) {
        if let Some(mut rule) = reader.rule(line, true) {
            rule.group = reader.known_group(rule.group, line.span, raw);
            raw.statics.rules.push(rule);
        }
    }
}

impl Reader {
    /// A group has to be defined before it is used, as with keepalived.
    fn known_group(&mut self, group: Option<String>, span: Span, raw: &Raw) -> Option<String> {
        let name = group?;
        let is_known = raw.statics.groups.iter().any(|group| group.name == name);
        if !is_known {
            self.fault(span, format!("track_group {name} not found"));
        }
        is_known.then_some(name)
    }
}
