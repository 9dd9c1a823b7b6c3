//! Grammars in ABNF (RFC 5234), as far as glha.conf(5) uses it: read, and turned into sentences.

use std::collections::BTreeMap;

/// What may stand for a rule.
#[derive(Clone, Debug)]
pub enum Part {
    /// One of these.
    Either(Vec<Self>),
    /// All of these.
    All(Vec<Self>),
    /// From so often to so often.
    Times(usize, usize, Box<Self>),
    /// A rule.
    Rule(String),
    /// Itself.
    Text(String),
    /// Words for a person.
    Prose,
}

/// A piece of a sentence, and the rules it came from.
#[derive(Clone, Debug)]
pub enum Node {
    Text(String),
    Rule(String, Vec<Self>),
}

impl Node {
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Rule(_, inside) => inside.iter().map(Self::text).collect(),
        }
    }

    /// All nodes of a rule inside, not those in each other.
    pub fn all<'a>(&'a self, wanted: &str) -> Vec<&'a Self> {
        let Self::Rule(_, inside) = self else { return Vec::new() };
        let mut found = Vec::new();
        for node in inside {
            match node {
                Self::Rule(name, _) if name == wanted => found.push(node),
                node => found.extend(node.all(wanted)),
            }
        }
        found
    }
}

pub type Grammar = BTreeMap<String, Part>;

/// What a `*` without a number means here: enough to see that it repeats.
const MANY: usize = 3;
/// Rules deeper in each other than this are as short as they can be.
const DEPTH_MAX: usize = 24;

/// Reads a grammar; lines that begin with a blank go on with a rule.
pub fn read(text: &str) -> Grammar {
    let mut rules: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with(' ') {
            rules.last_mut().expect("a rule to go on with").1.push_str(line);
        } else {
            let (name, is) = line.split_once('=').unwrap_or_else(|| panic!("no rule: {line}"));
            rules.push((name.trim().to_owned(), is.to_owned()));
        }
    }
    let mut grammar = Grammar::new();
    for (name, is) in rules {
        let mut rest = is.as_str();
        let part = either(&mut rest);
        assert_eq!(rest.trim(), "", "in the rule {name}");
        assert!(grammar.insert(name.clone(), part).is_none(), "{name} is defined twice");
    }
    grammar
}

fn either(rest: &mut &str) -> Part {
    let mut parts = vec![all(rest)];
    while let Some(after) = rest.trim_start().strip_prefix('/') {
        *rest = after;
        parts.push(all(rest));
    }
    if parts.len() == 1 { parts.remove(0) } else { Part::Either(parts) }
}

fn all(rest: &mut &str) -> Part {
    let mut parts = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(['/', ')', ']']) {
            break;
        }
        parts.push(times(rest));
    }
    assert!(!parts.is_empty(), "nothing before {rest}");
    if parts.len() == 1 { parts.remove(0) } else { Part::All(parts) }
}

fn times(rest: &mut &str) -> Part {
    let least = take(rest, |ch| ch.is_ascii_digit());
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        let least: usize = least.parse().unwrap_or(0);
        return Part::Times(least, least + MANY, Box::new(one(rest)));
    }
    assert_eq!(least, "", "a number without a star");
    one(rest)
}

fn one(rest: &mut &str) -> Part {
    let first = rest.chars().next().unwrap_or(' ');
    let closing = match first {
        '(' => ')',
        '[' => ']',
        '"' => '"',
        '<' => '>',
        _ => {
            let name = take(rest, |ch| ch.is_ascii_alphanumeric());
            assert!(!name.is_empty(), "what is this: {rest}");
            return Part::Rule(name);
        }
    };
    *rest = &rest[1..];
    let part = match first {
        '(' => either(rest),
        '[' => Part::Times(0, 1, Box::new(either(rest))),
        _ => {
            let text = take(rest, |ch| ch != closing);
            if first == '"' { Part::Text(text) } else { Part::Prose }
        }
    };
    *rest = rest.trim_start().strip_prefix(closing).unwrap_or_else(|| panic!("no {closing}"));
    part
}

fn take(rest: &mut &str, is_wanted: impl Fn(char) -> bool) -> String {
    let end = rest.find(|ch| !is_wanted(ch)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    taken.to_owned()
}

/// All rules that a part names.
pub fn names(part: &Part) -> Vec<String> {
    match part {
        Part::Either(parts) | Part::All(parts) => parts.iter().flat_map(names).collect(),
        Part::Times(_, _, part) => names(part),
        Part::Rule(name) => vec![name.clone()],
        Part::Text(_) | Part::Prose => Vec::new(),
    }
}

/// Makes sentences, always the same ones.
pub struct Speaker<'a> {
    pub grammar: &'a Grammar,
    /// What stands for rules that prose describes, or that are only to be seen in part.
    pub pools: &'a [(&'a str, &'a [&'a str])],
    pub state: u64,
}

impl Speaker<'_> {
    fn below(&mut self, count: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        usize::try_from((self.state >> 33) % count as u64).expect("small")
    }

    /// A sentence of a rule.
    pub fn say(&mut self, rule: &str, depth: usize) -> Node {
        if let Some((_, pool)) = self.pools.iter().find(|(name, _)| *name == rule) {
            let text = pool[self.below(pool.len())].to_owned();
            return Node::Rule(rule.to_owned(), vec![Node::Text(text)]);
        }
        let part = self.grammar.get(rule).unwrap_or_else(|| panic!("no rule {rule}"));
        let mut inside = Vec::new();
        self.part(part, depth + 1, &mut inside);
        Node::Rule(rule.to_owned(), inside)
    }

    fn part(&mut self, part: &Part, depth: usize, out: &mut Vec<Node>) {
        match part {
            Part::Either(parts) => {
                let place = if depth > DEPTH_MAX { 0 } else { self.below(parts.len()) };
                self.part(&parts[place], depth, out);
            }
            Part::All(parts) => parts.iter().for_each(|part| self.part(part, depth, out)),
            Part::Times(least, most, part) => {
                let more = if depth > DEPTH_MAX { 0 } else { self.below(most - least + 1) };
                (0..least + more).for_each(|_| self.part(part, depth, out));
            }
            Part::Rule(name) => out.push(self.say(name, depth)),
            Part::Text(text) => out.push(Node::Text(text.clone())),
            Part::Prose => panic!("what is described in words needs a pool"),
        }
    }
}
