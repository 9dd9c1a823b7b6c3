//! Throwaway.
use super::lex::{Statement, Word};
use super::*;
use std::path::Path;
pub struct Lexed {
    pub statements: Vec<Statement>,
    pub diagnostics: Vec<Diagnostic>,
    pub sources: diagnostic::Sources,
}
pub fn lex(path: &Path, files: &mut Files<'_>, _: &Context) -> Lexed {
    let text =
        (files.read)(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let mut stack: Vec<(Statement, Vec<Statement>)> = vec![];
    let mut out: Vec<Statement> = vec![];
    for (n, line) in text.lines().enumerate() {
        let mut words: Vec<Word> = vec![];
        let mut rest = String::new();
        let cs: Vec<char> = line.chars().collect();
        let mut i = 0;
        let flush = |words: &mut Vec<Word>, rest: &mut String, out: &mut Vec<Statement>| {
            if words.is_empty() {
                rest.clear();
                return;
            }
            let words = std::mem::take(words);
            let span = words[0].span;
            let first = words[0].text.clone();
            let rest = std::mem::take(rest);
            let rest = rest.trim().strip_prefix(&first).unwrap_or("").trim().to_owned();
            out.push(Statement { words, rest, block: None, span });
        };
        while i < cs.len() {
            let c = cs[i];
            if c == '#' || c == '!' {
                break;
            }
            if c.is_whitespace() {
                rest.push(c);
                i += 1;
                continue;
            }
            if c == '{' {
                let sp = Span { file: 0, line: n as u32 + 1, column: i as u32 + 1, length: 1 };
                flush(&mut words, &mut rest, &mut out);
                let st = if out.last().is_some_and(|s: &Statement| s.block.is_none()) {
                    out.pop().unwrap()
                } else {
                    Statement { words: vec![], rest: String::new(), block: None, span: sp }
                };
                stack.push((st, std::mem::take(&mut out)));
                i += 1;
                continue;
            }
            if c == '}' {
                flush(&mut words, &mut rest, &mut out);
                if let Some((mut st, before)) = stack.pop() {
                    st.block = Some(std::mem::replace(&mut out, before));
                    out.push(st);
                }
                i += 1;
                continue;
            }
            let start = i;
            let mut w = String::new();
            while i < cs.len() && !cs[i].is_whitespace() && !"{}#!".contains(cs[i]) {
                if cs[i] == '"' {
                    i += 1;
                    while i < cs.len() && cs[i] != '"' {
                        w.push(cs[i]);
                        i += 1;
                    }
                    i += 1;
                    continue;
                }
                if cs[i] == '\\' && i + 1 < cs.len() {
                    w.push(cs[i + 1]);
                    i += 2;
                    continue;
                }
                w.push(cs[i]);
                i += 1;
            }
            let i = i.min(cs.len());
            rest.extend(&cs[start..i]);
            words.push(Word {
                text: w,
                span: Span {
                    file: 0,
                    line: n as u32 + 1,
                    column: start as u32 + 1,
                    length: (i - start) as u32,
                },
            });
        }
        flush(&mut words, &mut rest, &mut out);
    }
    while let Some((mut st, before)) = stack.pop() {
        st.block = Some(std::mem::replace(&mut out, before));
        out.push(st);
    }
    Lexed {
        statements: out,
        diagnostics: vec![],
        sources: diagnostic::Sources { files: vec![(path.to_owned(), text)] },
    }
}
