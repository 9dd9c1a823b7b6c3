//! Lines of `virtual_rules` and `static_rules`.

use std::sync::Arc;

use super::super::diagnostic::Span;
use super::super::lex::{Statement, Word};
use super::super::route::{Entry, KINDS, Net, PROTOCOL, Rule, RuleAction};
use super::destination::family_of;
use super::line::{Cursor, Dropped, Outcome, everything};
use super::{Reader, names};
use crate::core::spec::Family;

/// The priority that keepalived gives to the first rule without one; each further one gets one
/// less, so that they come before those that were there.
pub(super) const PRIORITY_FIRST: u32 = 16384;
/// keepalived's greatest number of a protocol above IP.
const IP_PROTOCOL_MAX: u32 = 127;

/// A rule as far as it has been read.
struct Draft {
    rule: Rule,
    family: Option<Family>,
    priority: Option<u32>,
    action: Option<RuleAction>,
    no_track: bool,
    group: Option<String>,
}

/// What keepalived says of two actions in one rule.
const TWO_ACTIONS: &str =
    "Cannot specify more than one of table/nop/goto/blackhole/prohibit/unreachable";

impl Reader {
    /// One rule; none if it does not hold. A `track_group` is for what is static.
    pub(super) fn rule(&mut self, line: &Statement, is_static: bool) -> Option<Entry<Rule>> {
        let rule = Rule {
            family: Family::V4,
            invert: false,
            from: None,
            to: None,
            priority: 0,
            tos: 0,
            mark: None,
            input: None,
            output: None,
            suppress_prefix: None,
            suppress_group: None,
            tunnel: None,
            users: None,
            protocol: None,
            ip_protocol: None,
            source_ports: None,
            destination_ports: None,
            realms: None,
            action: RuleAction::Nop,
        };
        let mut draft = Draft {
            rule,
            family: None,
            priority: None,
            action: None,
            no_track: false,
            group: None,
        };
        let mut words = Cursor::new(line);
        while let Some(word) = words.next() {
            if is_static && word.text == "track_group" {
                self.track_group(&mut words, word, &mut draft.group).ok()?;
            } else {
                self.rule_word(&mut words, word, &mut draft).ok()?;
            }
        }
        self.finish_rule(line, draft, is_static)
    }

    fn rule_word(&mut self, words: &mut Cursor<'_>, word: &Word, draft: &mut Draft) -> Outcome {
        match word.text.as_str() {
            "not" => draft.rule.invert = true,
            "no_track" => draft.no_track = true,
            "l3mdev" => {
                if draft.action.is_some() {
                    return self
                        .dropped(word, "Cannot specify l3mdev with other action".to_owned());
                }
                draft.action = Some(RuleAction::L3mdev);
            }
            // keepalived 2.2.7 leaves out the word that follows; here they mean what its manual says.
            "inet" | "inet6" => {
                let family = if word.text == "inet" { Family::V4 } else { Family::V6 };
                if *draft.family.get_or_insert(family) != family {
                    let other = if family == Family::V4 { "IPv6" } else { "IPv4" };
                    return self.dropped(word, format!("{} specified for {other} rule", word.text));
                }
            }
            "from"
            | "to"
            | "table"
            | "lookup"
            | "preference"
            | "order"
            | "priority"
            | "tos"
            | "dsfield"
            | "fwmark"
            | "realms"
            | "suppress_prefixlength"
            | "sup_pl"
            | "suppress_ifgroup"
            | "sup_group"
            | "dev"
            | "iif"
            | "oif"
            | "tunnel-id"
            | "uidrange"
            | "protocol"
            | "ipproto"
            | "sport"
            | "dport" => {
                let value = self.parameter(words, word)?;
                return self.rule_value(word, value, draft);
            }
            _ => return self.rule_action(words, word, draft),
        }
        Ok(())
    }

    fn rule_value(&mut self, word: &Word, value: &Word, draft: &mut Draft) -> Outcome {
        let text = value.text.as_str();
        let rule = &mut draft.rule;
        match word.text.as_str() {
            "from" => rule.from = self.end(value, "from", &mut draft.family)?,
            "to" => rule.to = self.end(value, "to", &mut draft.family)?,
            "table" | "lookup" => {
                let Some(table) = names::find(&self.names.tables, text, u32::MAX) else {
                    return self.dropped(value, format!("Routing table {text} not found for rule"));
                };
                if table == 0 {
                    return self.dropped(value, "Table 0 is not valid".to_owned());
                }
                if draft.action.is_some() {
                    return self.dropped(word, format!("{TWO_ACTIONS} for rule"));
                }
                draft.action = Some(RuleAction::Table(table));
            }
            "preference" | "order" | "priority" => {
                draft.priority = names::number(text);
                if draft.priority.is_none() {
                    return self
                        .dropped(value, format!("Invalid rule preference {text} specified"));
                }
            }
            "tos" | "dsfield" => rule.tos = self.field(value)?,
            "fwmark" => {
                rule.mark = mark(text);
                if rule.mark.is_none() {
                    return self.dropped(value, format!("Invalid rule fwmark {text} specified"));
                }
            }
            "realms" => {
                rule.realms = self.realms(text);
                if rule.realms.is_none() {
                    return self.dropped(value, format!("invalid realms {text} for rule"));
                }
                if *draft.family.get_or_insert(Family::V4) != Family::V4 {
                    return self.dropped(value, "realms is only valid for IPv4".to_owned());
                }
            }
            "dev" | "iif" => rule.input = Some(self.device(value)?),
            "oif" => rule.output = Some(self.device(value)?),
            _ => return self.rule_match(word, value, rule),
        }
        Ok(())
    }

    /// The rarer ones. Of the last four keepalived leaves out what does not hold, and keeps the rule.
    fn rule_match(&mut self, word: &Word, value: &Word, rule: &mut Rule) -> Outcome {
        let text = value.text.as_str();
        let keyword = word.text.as_str();
        match keyword {
            "suppress_prefixlength" | "sup_pl" => {
                rule.suppress_prefix =
                    text.parse().ok().filter(|length| *length <= i32::MAX.cast_unsigned());
                if rule.suppress_prefix.is_none() {
                    let message = format!("Invalid suppress_prefixlength {text} specified");
                    return self.dropped(value, message);
                }
            }
            "suppress_ifgroup" | "sup_group" => {
                rule.suppress_group = names::find(&self.names.groups, text, u32::MAX);
                if rule.suppress_group.is_none() {
                    return self.dropped(value, format!("suppress_group {text} is invalid"));
                }
            }
            "tunnel-id" => {
                let Ok(id) = text.parse::<u64>() else {
                    return self.dropped(value, format!("Invalid tunnel-id {text} specified"));
                };
                rule.tunnel = Some(id).filter(|id| *id != 0);
            }
            "uidrange" => {
                rule.users = range(text);
                if rule.users.is_none() {
                    return self.dropped(value, format!("Invalid uidrange {text} specified"));
                }
            }
            "protocol" => match text.parse() {
                Ok(protocol) => rule.protocol = Some(protocol),
                Err(_) => self.fault(value.span, format!("Invalid protocol {text}; it is ignored")),
            },
            "ipproto" => {
                let found = names::find(&self.names.ip_protocols, text, IP_PROTOCOL_MAX)
                    .or_else(|| self.names.ip_protocols.get(&text.to_lowercase()).copied());
                rule.ip_protocol = found.and_then(|number| u8::try_from(number).ok());
                if rule.ip_protocol.is_none() {
                    self.fault(value.span, format!("Invalid ipproto {text}; it is ignored"));
                }
            }
            _ => {
                let ports = range(text);
                if ports.is_none() {
                    let message = format!("invalid {keyword} range {text}; it is ignored");
                    self.fault(value.span, message);
                }
                match keyword {
                    "sport" => rule.source_ports = ports,
                    _ => rule.destination_ports = ports,
                }
            }
        }
        Ok(())
    }

    fn rule_action(&mut self, words: &mut Cursor<'_>, word: &Word, draft: &mut Draft) -> Outcome {
        let word = if word.text == "type" { self.parameter(words, word)? } else { word };
        let text = word.text.as_str();
        let action = match text {
            "goto" => {
                let value = self.parameter(words, word)?;
                let Ok(target) = value.text.parse() else {
                    let message = format!("Invalid target {} specified", value.text);
                    return self.dropped(value, message);
                };
                RuleAction::Goto(target)
            }
            "nop" => RuleAction::Nop,
            _ => match KINDS.into_iter().find(|(name, _)| *name == text) {
                Some((_, number @ 6..=8)) => RuleAction::Refuse(number),
                Some(_) => return self.dropped(word, format!("Invalid rule action {text}")),
                None => return self.dropped(word, format!("Unknown rule option {text}")),
            },
        };
        if draft.action.replace(action).is_some() {
            return self.dropped(word, format!("{TWO_ACTIONS}/l3mdev for rule"));
        }
        Ok(())
    }

    fn end(
        &mut self,
        word: &Word,
        which: &str,
        family: &mut Option<Family>,
    ) -> Result<Option<Net>, Dropped> {
        let Some(net) = self.net(word) else {
            let message = format!("Invalid rule {which} address {}", word.text);
            self.fault(word.span, message);
            return Err(Dropped);
        };
        if let Some((ip, _)) = net
            && *family.get_or_insert(family_of(ip)) != family_of(ip)
        {
            self.fault(word.span, "rule specification has mixed IPv4 and IPv6");
            return Err(Dropped);
        }
        // Of which family `all` is the rest of the line tells.
        Ok(Some(net.unwrap_or(everything(Family::V4))))
    }

    fn finish_rule(
        &mut self,
        line: &Statement,
        draft: Draft,
        is_static: bool,
    ) -> Option<Entry<Rule>> {
        let Draft { mut rule, family, priority, action, no_track, mut group } = draft;
        let span = line.span;
        let mut drop = |message: String| {
            self.fault(span, message);
            None
        };
        match (action, priority) {
            (Some(RuleAction::Goto(target)), Some(own)) if own >= target => {
                return drop(format!("Invalid rule - preference {own} >= goto target {target}"));
            }
            (Some(RuleAction::Goto(target)), None) => {
                return drop(format!(
                    "Invalid rule - goto target {target} specified without preference"
                ));
            }
            (None, _) => return drop("No action specified for rule - ignoring".to_owned()),
            _ => {}
        }
        rule.action = action?;
        let is_lookup = matches!(rule.action, RuleAction::Table(_) | RuleAction::L3mdev);
        let suppresses = rule.suppress_prefix.is_some() || rule.suppress_group.is_some();
        if !is_lookup && (suppresses || rule.realms.is_some()) {
            let message = "suppressor/realm specified for non table action - skipping";
            return drop(message.to_owned());
        }
        if !no_track {
            if rule.protocol.is_some_and(|protocol| protocol != PROTOCOL) {
                let message = format!(
                    "Rule cannot be tracked if protocol is not RTPROT_KEEPALIVED({PROTOCOL}), \
                     resetting protocol"
                );
                self.fault(span, message);
            }
            rule.protocol = Some(PROTOCOL);
        }
        if rule.input.is_none() && group.take().is_some() {
            self.fault(span, "Static rule cannot have track_group if dev/iif not specified");
        }
        rule.family = family.unwrap_or(Family::V4);
        for net in [&mut rule.from, &mut rule.to].into_iter().flatten().filter(|net| net.1 == 0) {
            *net = everything(rule.family);
        }
        rule.priority = priority.unwrap_or_else(|| self.rule_priority(span, rule.family));
        self.either(span, is_static, no_track, &mut group, "rule");
        Some(Entry { what: Arc::new(rule), no_track, group, tracked_by: Vec::new(), span })
    }

    fn rule_priority(&mut self, span: Span, family: Family) -> u32 {
        let next = self.rule_priorities.entry(family).or_insert(PRIORITY_FIRST);
        let priority = *next;
        *next = next.saturating_sub(1);
        let message = format!(
            "Rule has no preference specified - setting to {priority}. This is probably not what \
             you want."
        );
        self.fault(span, message);
        priority
    }
}

/// `MARK` or `MARK/MASK`; an empty mask is 0, as with keepalived.
fn mark(text: &str) -> Option<(u32, Option<u32>)> {
    match text.split_once('/') {
        Some((mark, "")) => Some((names::number(mark)?, Some(0))),
        Some((mark, mask)) => Some((names::number(mark)?, Some(names::number(mask)?))),
        None => Some((names::number(text)?, None)),
    }
}

/// `FROM-TO`.
fn range<T: std::str::FromStr>(text: &str) -> Option<(T, T)> {
    let (from, to) = text.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}
