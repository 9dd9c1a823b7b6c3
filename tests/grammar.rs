//! The grammar in glha.conf(5): sentences made from it are read by the lexer as it says, and so are
//! its samples.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use glha::conf::lex::{self, Lexed, Statement, lex};
use glha::conf::{Context, Files};

mod grammar_support;

use grammar_support::{Grammar, Node, Speaker, names, read};

/// So many sentences of each kind.
const SENTENCES: u64 = 4_000;

/// What stands for rules in sentences: those that prose describes, and some others, so that their
/// meaning is known without a second lexer.
const POOLS: &[(&str, &[&str])] = &[
    ("LF", &["\n"]),
    ("CR", &["\r"]),
    ("DQUOTE", &["\""]),
    ("blank", &[" ", "\t"]),
    ("letter", &["a", "Z"]),
    ("digit", &["0", "7"]),
    ("any", &["x", " ", "{", "}", "\"", "#", "$", "@", "~"]),
    ("character", &["a", "b", "1", ".", "/", "-", "=", "~", "'", ","]),
    ("inner", &["a", " ", "#", "!", "{", "}", "$", "@", "~", "\\", "'"]),
    ("id", &["main", "other"]),
    ("name", &["A", "B", "C"]),
    ("value", &["x", "7", "y1"]),
    ("environment", &["_ENV SITE"]),
    ("random", &["_RANDOM 5 5"]),
    ("item", &["p", "0", "q.r"]),
    ("number", &["0", "1", "3"]),
    ("pattern", &["x.conf", "a/b.conf"]),
];

#[test]
fn every_rule_is_defined_and_used() {
    let grammar = grammar();
    let core = ["LF", "CR", "DQUOTE"];
    let used: Vec<String> = grammar.values().flat_map(names).collect();
    for name in &used {
        assert!(grammar.contains_key(name) || core.contains(&name.as_str()), "no rule {name}");
    }
    for name in grammar.keys().filter(|name| !["file", "configuration"].contains(&name.as_str())) {
        assert!(used.contains(name), "nothing uses the rule {name}");
    }
}

#[test]
fn files_are_read_as_the_grammar_says() {
    let grammar = grammar();
    let (mut compared, mut without_meaning) = (0, 0);
    for state in 0..SENTENCES {
        let mut speaker = Speaker { grammar: &grammar, pools: POOLS, state };
        let file = speaker.say("file", 0);
        let first: String =
            DEFINED.iter().map(|(name, text)| format!("${name}={text}\n")).collect();
        let text = first + &file.text();
        let Some(meant) = Meaning::of(&file) else {
            without_meaning += 1;
            continue;
        };
        compare(&text, &meant);
        compared += 1;
    }
    assert!(without_meaning < compared / 2, "{without_meaning} of {SENTENCES} were not compared");
}

#[test]
fn blocks_are_made_as_the_grammar_says() {
    let grammar = grammar();
    for state in 0..SENTENCES / 4 {
        let mut speaker = Speaker { grammar: &grammar, pools: POOLS, state };
        let whole = speaker.say("configuration", 0);
        let mut meaning = Meaning { variables: defined(), ..Meaning::default() };
        let mut text: String =
            DEFINED.iter().map(|(name, text)| format!("${name}={text}\n")).collect();
        lay_out(&whole, &mut text, &mut meaning);
        compare(&text, &meaning.tokens);
    }
}

#[test]
fn samples_are_read_as_shown() {
    let page = page();
    let (_, after) =
        page.split_once("between words:\n.Bd -literal -offset indent\n").expect("samples");
    let samples = after.split(".Ed").next().unwrap_or_default().replace("\\e", "\\");
    assert!(samples.lines().count() > 8, "{samples}");
    for sample in samples.lines() {
        let (line, want) = sample.split_once("=>").unwrap_or_else(|| panic!("{sample}"));
        let read = tokens(&lexed(line.trim_end()).statements);
        let shown: Vec<String> = read.iter().map(|token| token.replace('\u{1f}', "|")).collect();
        let shown = shown.join(" ").replace('\u{1e}', "");
        // A block that is left open is closed at the end of the file, which is no part of the line.
        let is_open = line.matches(['{', '}']).count() % 2 == 1;
        let shown = shown.strip_suffix(" }").filter(|_| is_open).unwrap_or(&shown);
        assert_eq!(shown, want.trim(), "{sample}");
    }
}

#[test]
fn bounds_are_those_of_the_lexer() {
    let page = page();
    let (_, after) = page.split_once("There are bounds").expect("the bounds");
    let text = after.split(".Sh").next().unwrap_or_default();
    for (bound, what) in [
        (lex::LINE_CHARS_MAX, "characters in a line"),
        (lex::LINE_SUBSTITUTIONS_MAX as usize, "substitutions in a line"),
        (lex::INCLUDE_DEPTH_MAX, "files that include each other"),
        (lex::SOURCES_MAX, "files and"),
        (lex::SOURCE_BYTES_MAX >> 20, "MiB of text in all"),
        (lex::EXPANDED_CHARS_MAX >> 20, "MiB of text in all"),
        (BLOCK_DEPTH, "blocks in each other"),
        (lex::STATEMENTS_MAX, "statements"),
        (lex::DIAGNOSTICS_MAX, "problems reported"),
    ] {
        assert!(text.contains(&format!("{bound} {what}")), "{bound} {what}");
    }
    let nested = |depth: usize| {
        lexed(&"a {\n".repeat(depth)).diagnostics.iter().any(|d| d.message.contains("deep"))
    };
    assert!(!nested(BLOCK_DEPTH) && nested(BLOCK_DEPTH + 1), "blocks in each other");
}

/// The depth is not public; it is tried.
const BLOCK_DEPTH: usize = 32;

/// Defined at the head of every sentence, so that every name is.
const DEFINED: [(&str, &str); 3] = [("A", "va"), ("B", "vb"), ("C", "vc")];

fn defined() -> BTreeMap<String, String> {
    DEFINED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// What a sentence means: statements, their words joined by a control character, and braces, with
/// one in front.
#[derive(Default)]
struct Meaning {
    tokens: Vec<String>,
    variables: BTreeMap<String, String>,
    /// A condition has dropped the rest of the line.
    is_dropped: bool,
    /// Something that this evaluation does not follow.
    is_unknown: bool,
}

impl Meaning {
    /// None if it is not followed here: a sequence that goes nowhere, a list with too many members,
    /// a reference to a definition of several lines.
    fn of(file: &Node) -> Option<Vec<String>> {
        let mut meaning = Self { variables: defined(), ..Self::default() };
        for line in file.all("line") {
            meaning.is_dropped = false;
            meaning.walk(line);
        }
        (!meaning.is_unknown).then_some(meaning.tokens)
    }

    fn walk(&mut self, node: &Node) {
        let Node::Rule(rule, inside) = node else { return };
        if self.is_dropped {
            return;
        }
        match rule.as_str() {
            "condition" => {
                let id = node.all("id")[0].text();
                self.is_dropped = (id == "main") == node.text().starts_with("@^");
            }
            "words" => {
                let words: Vec<String> =
                    node.all("run").into_iter().flat_map(|run| self.run(run)).collect();
                self.tokens.push(words.join("\u{1f}"));
            }
            "brace" => self.tokens.push(format!("\u{1e}{}", node.text())),
            "definition" => {
                drop(
                    self.variables.insert(node.all("name")[0].text(), node.all("value")[0].text()),
                );
            }
            "long" => drop(self.variables.remove(&node.all("name")[0].text())),
            "sequence" => {
                let numbers: Vec<i64> =
                    direct(node, "number").iter().map(|n| n.parse().expect("a number")).collect();
                let values = sequence(&numbers);
                self.is_unknown |= values.is_none();
                let rounds = values.unwrap_or_default().into_iter().map(|n| {
                    vec![if node.text().starts_with("~SEQx") {
                        format!("{n:x}")
                    } else {
                        n.to_string()
                    }]
                });
                self.repeat(inside, direct(node, "name"), rounds.collect());
            }
            "list" => {
                let of =
                    |node: &Node, rule: &str| node.all(rule).iter().map(|n| n.text()).collect();
                let (names, rounds): (Vec<String>, Vec<Vec<String>>) = match child(inside, "names")
                {
                    Some(names) => (
                        of(names, "name"),
                        inside.iter().filter(|n| is(n, "items")).map(|n| of(n, "item")).collect(),
                    ),
                    None => (
                        direct(node, "name"),
                        direct(node, "item").into_iter().map(|item| vec![item]).collect(),
                    ),
                };
                self.is_unknown |= rounds.iter().any(|round| round.len() > names.len());
                self.repeat(inside, names, rounds);
            }
            "inclusion" | "comment" | "blank" => {}
            _ => inside.iter().for_each(|node| self.walk(node)),
        }
    }

    fn repeat(&mut self, inside: &[Node], names: Vec<String>, rounds: Vec<Vec<String>>) {
        for round in rounds {
            let values = round.into_iter().chain(std::iter::repeat(String::new()));
            self.variables.extend(names.iter().cloned().zip(values));
            self.is_dropped = false;
            child(inside, "repeated").into_iter().for_each(|node| self.walk(node));
        }
        self.is_dropped = true;
    }

    /// The words of a run, every plain and every quoted one.
    fn run(&mut self, run: &Node) -> Vec<String> {
        let Node::Rule(_, inside) = run else { return Vec::new() };
        let word = |node: &Node, me: &mut Self| match node {
            Node::Rule(rule, _) if rule == "short" => me.value(&node.all("name")[0].text()),
            node => me.characters(node),
        };
        // A variable may stand for nothing, and then is no word.
        let words = inside.iter().map(|node| (is(node, "quoted"), word(node, self)));
        words
            .filter(|(is_quoted, word)| *is_quoted || !word.is_empty())
            .map(|(_, word)| word)
            .collect()
    }

    fn characters(&mut self, node: &Node) -> String {
        let Node::Rule(rule, inside) = node else { return String::new() };
        match rule.as_str() {
            "character" | "inner" => node.text(),
            "escape" => node.text().trim_start_matches('\\').to_owned(),
            "environment" => "north".to_owned(),
            "random" => "5".to_owned(),
            "name" => self.value(&node.text()),
            "DQUOTE" => String::new(),
            _ => inside.iter().map(|node| self.characters(node)).collect(),
        }
    }

    fn value(&mut self, name: &str) -> String {
        self.is_unknown |= !self.variables.contains_key(name);
        self.variables.get(name).cloned().unwrap_or_default()
    }
}

fn sequence(numbers: &[i64]) -> Option<Vec<i64>> {
    let (start, step, end) = match *numbers {
        [end] => (if end > 0 { 1 } else { -1 }, None, end),
        [start, end] => (start, None, end),
        [start, step, end] => (start, Some(step), end),
        _ => return None,
    };
    let step = step.unwrap_or(if end >= start { 1 } else { -1 });
    let goes_there = step != 0 && (end == start || (end > start) == (step > 0));
    let values = std::iter::successors(Some(start), |n| Some(n + step));
    goes_there
        .then(|| values.take_while(|n| if step > 0 { *n <= end } else { *n >= end }).collect())
}

fn is(node: &Node, wanted: &str) -> bool {
    matches!(node, Node::Rule(rule, _) if rule == wanted)
}

fn child<'a>(inside: &'a [Node], wanted: &str) -> Option<&'a Node> {
    inside.iter().find(|node| is(node, wanted))
}

/// The texts of the children of this rule.
fn direct(node: &Node, wanted: &str) -> Vec<String> {
    let Node::Rule(_, inside) = node else { return Vec::new() };
    inside.iter().filter(|node| is(node, wanted)).map(Node::text).collect()
}

/// Writes a configuration, each statement on a line of its own.
fn lay_out(node: &Node, text: &mut String, meaning: &mut Meaning) {
    let Node::Rule(rule, inside) = node else { return };
    match rule.as_str() {
        "words" => {
            meaning.walk(node);
            text.push_str(&format!("{}\n", node.text()));
        }
        "block" => {
            for brace in ["{", "}"] {
                if brace == "}" {
                    inside.iter().for_each(|node| lay_out(node, text, meaning));
                }
                meaning.tokens.push(format!("\u{1e}{brace}"));
                text.push_str(&format!("{brace}\n"));
            }
        }
        _ => inside.iter().for_each(|node| lay_out(node, text, meaning)),
    }
}

/// The lexer makes of a text what is meant, and complains of nothing but braces without partner.
fn compare(text: &str, meant: &[String]) {
    let lexed = lexed(text);
    let (mut depth, mut extra) = (0_usize, 0);
    let mut want: Vec<String> = Vec::new();
    for token in meant.iter().filter(|token| !token.is_empty()) {
        match token.as_str() {
            "\u{1e}{" => depth += 1,
            "\u{1e}}" if depth == 0 => {
                extra += 1;
                continue;
            }
            "\u{1e}}" => depth -= 1,
            _ => {}
        }
        want.push(token.clone());
    }
    want.extend((0..depth).map(|_| "\u{1e}}".to_owned()));
    assert_eq!(tokens(&lexed.statements), want, "{text}");
    let said: Vec<&str> = lexed.diagnostics.iter().map(|d| d.message.as_str()).collect();
    let of = |what: &str| said.iter().filter(|text| text.contains(what)).count();
    assert_eq!((of("no block is open here"), of("a '}' is missing")), (extra, depth), "{text}");
    let known = extra + depth + of("stays the same until");
    assert_eq!(said.len(), known, "{text}\n{said:?}");
}

/// Statements flat: words, braces.
fn tokens(statements: &[Statement]) -> Vec<String> {
    let mut all = Vec::new();
    for statement in statements {
        let words: Vec<&str> = statement.words.iter().map(|word| word.text.as_str()).collect();
        if !words.is_empty() {
            all.push(words.join("\u{1f}"));
        }
        if let Some(block) = &statement.block {
            all.push("\u{1e}{".to_owned());
            all.extend(tokens(block));
            all.push("\u{1e}}".to_owned());
        }
    }
    all.retain(|token| !token.is_empty());
    all
}

/// Reads a text; every file that it includes is empty.
fn lexed(text: &str) -> Lexed {
    let mut read = |path: &Path| -> io::Result<Vec<u8>> {
        Ok(if path == Path::new("/c/main") { text.as_bytes().to_vec() } else { Vec::new() })
    };
    let mut list = |_: &Path| -> io::Result<Vec<OsString>> { Ok(Vec::new()) };
    let context = Context {
        config_id: "main".to_owned(),
        environment: BTreeMap::from([("SITE".to_owned(), "north".to_owned())]),
        ..Context::default()
    };
    lex(Path::new("/c/main"), &mut Files { read: &mut read, list: &mut list }, &context)
}

fn page() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man/glha.conf.5");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Both parts of the grammar.
fn grammar() -> Grammar {
    let page = page();
    let (_, section) = page.split_once(".Sh GRAMMAR\n").expect("the section GRAMMAR");
    let blocks = section.split(".Bd -literal -offset indent\n").skip(1).take(2);
    let text: String = blocks.filter_map(|block| block.split(".Ed").next()).collect();
    read(&text.replace("\\e", "\\"))
}
