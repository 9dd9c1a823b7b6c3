//! The configuration's language from outside: text in, statements and diagnostics out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use glha::conf::lex::{Lexed, Statement, lex};
use glha::conf::{Context, Files, Severity};

fn context() -> Context {
    Context {
        config_id: "main".to_owned(),
        environment: BTreeMap::from([("SITE".to_owned(), "north".to_owned())]),
        ..Context::default()
    }
}

/// Lexes `/c/main` out of a disk that is a list of paths and contents.
fn read(disk: &[(&str, &[u8])], context: &Context) -> Lexed {
    let mut read = |path: &Path| {
        let mut real = PathBuf::new();
        for part in path.components() {
            if part.as_os_str() == ".." {
                real.pop();
            } else {
                real.push(part)
            }
        }
        let found = disk.iter().find(|(name, _)| Path::new(name) == real);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let mut list = |folder: &Path| {
        let names = disk.iter().filter_map(|(name, _)| {
            let name = Path::new(name);
            (name.parent() == Some(folder)).then(|| name.file_name().map(OsString::from)).flatten()
        });
        Ok(names.collect())
    };
    lex(Path::new("/c/main"), &mut Files { read: &mut read, list: &mut list }, context)
}

fn text(text: &str) -> Lexed {
    read(&[("/c/main", text.as_bytes())], &context())
}

/// Statements on one line: words joined by `|`, statements by `;`, blocks in braces.
fn show(statements: &[Statement]) -> String {
    let each = |statement: &Statement| {
        let words: Vec<&str> = statement.words.iter().map(|word| word.text.as_str()).collect();
        let block = statement.block.as_ref().map(|block| format!("{{{}}}", show(block)));
        words.join("|") + &block.unwrap_or_default()
    };
    statements.iter().map(each).collect::<Vec<_>>().join(";")
}

fn messages(lexed: &Lexed) -> Vec<String> {
    let shown = lexed
        .diagnostics
        .iter()
        .map(|d| format!("{} {:?} {}", lexed.sources.locate(d.span), d.severity, d.message));
    shown.collect()
}

/// Cases that leave nothing to say.
#[test]
fn plain_language() {
    for (from, want) in [
        ("", ""),
        ("a b\tc # d", "a|b|c"),
        ("a! b\n#c\n! d\n e", "a;e"),
        ("a \\# b \\!c", "a|#|b|!c"),
        ("a \"b # c\" d", "a|b # c|d"),
        ("a\"b c\"d \"\" 'e f'", "a|b c|d||'e|f'"),
        ("a\r\nb \r\n", "a;b"),
        ("a{b}", "a{b}"),
        ("a\n{\nb\n}\nc", "a{b};c"),
        ("a { b { c } d } e", "a{b{c};d};e"),
        ("a { \"{x}\" }", "a{{x}}"),
        ("{ a }", "{a}"),
        ("a { } { b }", "a{};{b}"),
        ("a\\\nb", "a\\;b"),
        // Conditions.
        ("@main a b\n@other c\n@^main d\n@^other e", "a|b;e"),
        ("a { @other b { c\n}", "a{}"),
        ("@main @main a\n@main\n@ a", "@main|a"),
        ("$C=@main\n$C a\n$D=@other\n$D b", "a"),
        // Variables.
        ("$A=x y\n$A\nq${A}r \"${A}\"", "x|y;qx|yr|x y"),
        ("$A=x\n$Ab $A-x $A$A \"$A\" $A/$A", "$Ab|$A-x|$Ax|$A|$A/x"),
        ("$A = x\n$1=y", "$A|=|x;$1=y"),
        ("$A=1.${B}\n$B=0\n${A}.9\n$B=10\n${A}.9", "1.0.9;1.10.9"),
        ("$A=\nx $A y\n$A", "x|y"),
        ("$A=b { c\n$A }", "b{c}"),
        ("a { $B=1\nc $B }", "a{c|1}"),
        ("$P=/x # no\n$P y", "/x|y"),
        ("${_PWD} $_INSTANCE x${_HASH}y${_BANG}z ${_RANDOM 5 5}", "/c|main|x#y!z|5"),
        ("${_ENV SITE}-1", "north-1"),
        ("\"${UNDEF}\" $UNDEF", "${UNDEF}|$UNDEF"),
        // Definitions of several lines.
        ("$A= \\\nb $N \\\nc # d\n$N=1\n$A\ne", "b|1;c;e"),
        ("$A= \\\n b { \\\n  @other x \\\n  y \\\n }\n$A", "b{y}"),
        ("$A= \\\n b \\\n\nc\n$A", "c;b"),
        ("$I= \\\n i $N \\\n j\n$O= \\\n $N=1 \\\n $I \\\n $N=2 \\\n $I\n$O", "i|1;j;i|2;j"),
        ("$A= \\\n b # x \\\n# y\n \n c\nd\n$A", "d;b;c"),
        // Repetition.
        ("~SEQ(I,0,2) a ${I}", "a|0;a|1;a|2"),
        ("~SEQ(A,1,2) ~LST(B,x,y) ${A}${B}", "1x;1y;2x;2y"),
        ("v { ~SEQx(I,9,11) f${I}\n}", "v{f9;fa;fb}"),
        ("$E=2\n~SEQ(I,1,$E ) ${I}", "1;2"),
        ("$E=2\n~SEQ(I,1,${E}) ${I}", "1;2"),
        ("$V= \\\n v${I} { \\\n w \\\n }\n~SEQ(I,1,2) $V", "v1{w};v2{w}"),
        ("~LST({I, J},{1,2},{3,4}) ${I}${J}", "12;34"),
        ("a ~SEQ", "a|~SEQ"),
        ("include_check match\ninclude\nincludex y", "include_check|match;include;includex|y"),
    ] {
        let lexed = text(from);
        let said: Vec<String> = messages(&lexed)
            .into_iter()
            .filter(|m| !m.contains("never closed") && !m.contains("Note"))
            .collect();
        assert_eq!(show(&lexed.statements), want, "{from:?}");
        assert_eq!(said, Vec::<String>::new(), "{from:?}");
    }
}

/// Each problem with its place and how bad it is.
#[test]
fn problems() {
    for (from, want) in [
        ("a {\n b {\n }", "/c/main:1:1 Fault 'a' is never closed"),
        ("a\n }\n", "/c/main:2:2 Fault extra '}'"),
        ("a \"b", "/c/main:1:3 Fault the '\"' is never closed"),
        ("a\n ~SEQ(I,a) b", "/c/main:2:2 Fault 'a' is not a whole number"),
        ("~SEQ(I,1", "/c/main:1:1 Fault ~SEQ lacks its ')'"),
        ("$A=${A}\n x ${A}", "/c/main:2:4 Error this variable refers to itself"),
        ("$A= \\\n b \\\n $A\n\n$A", "/c/main:5:1 Error this variable refers to itself"),
        ("~SEQ(A,1,60000) ~SEQ(B,1,60000) @no x", "/c/main:1:33 Error variables and repetitions"),
        ("include nosuch", "/c/main:1:9 Warning no file to include matches 'nosuch'"),
        ("includer nosuch", "/c/main:1:10 Warning no file"),
        ("includem nosuch", "/c/main:1:10 Error no file"),
        ("includew no*", "/c/main:1:10 Error no file"),
        ("includeb {main,b}x", "/c/main:1:10 Error no file"),
        ("includea nosuch", "/c/main:1:10 Error no file"),
        ("global_defs { include_check match\ninclude nosuch\n}", "/c/main:2:9 Error no file"),
        ("global_defs { include_check foo }", "/c/main:1:29 Fault include_check knows"),
        ("include main", "/c/main:1:9 Error '/c/main' includes itself"),
        ("include ./../c/main", "/c/main:1:9 Error '/c/./../c/main' includes itself"),
        ("x ${_ENV NOT}", "/c/main:1:3 Warning the environment has no variable 'NOT'"),
        ("x ${_RANDOM}", "/c/main:1:3 Note the number"),
        ("\u{feff}a b", "/c/main:1:1 Fault the file begins with a byte order mark"),
    ] {
        let said = messages(&text(from));
        assert!(said.first().is_some_and(|m| m.starts_with(want)), "{from:?}: {said:?}");
    }
    for (from, want) in [
        ("{".repeat(99), "blocks stand"),
        ("a".repeat(20_000), "longer than"),
        ("x\n".repeat(100_001), "more than 100000 lines"),
        ("}".repeat(9_999), "1000 problems"),
    ] {
        let said = messages(&text(&from));
        assert!(
            said.iter().any(|m| m.contains(want) && m.contains("Error")),
            "{want}: {:?}",
            said.last()
        );
    }
}

#[test]
fn unreadable_main_file_and_bytes_that_are_not_text() {
    let lexed = read(&[], &context());
    assert!(messages(&lexed)[0].starts_with("/c/main Error cannot read the configuration file"));
    let lexed = read(&[("/c/main", b"a\nb \xff c\n")], &context());
    assert_eq!(show(&lexed.statements), "a;b|\u{fffd}|c");
    assert!(messages(&lexed)[0].starts_with("/c/main:2:1 Warning not UTF-8 in line 2"));
}

#[test]
fn includes() {
    let disk: &[(&str, &[u8])] = &[
        (
            "/c/main",
            b"a {\ninclude d/[xy]*.conf\nb\ninclude d/{y2,no}.conf\ninclude d/no*\nc ${_PWD}",
        ),
        ("/c/d/x1.conf", b"x1 ${_PWD}\ninclude ../e\n"),
        ("/c/d/y2.conf", b"y2 }"),
        ("/c/d/.x.conf", b"hidden"),
        ("/c/e", b"$V=/c/d/z\ninclude $V"),
        ("/c/d/z", b"z"),
    ];
    let lexed = read(disk, &context());
    assert_eq!(show(&lexed.statements), "a{x1|/c/d;z;y2};b;y2;c|/c");
    let b = &lexed.statements[1];
    assert_eq!(lexed.sources.locate(b.span), "/c/main:3:1");
    let strict = Context { all_includes: true, ..context() };
    let errors = |c: &Context| {
        read(disk, c).diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    };
    assert_eq!((errors(&context()), errors(&strict)), (0, 2));
}

#[test]
fn included_files_keep_their_depth_and_checks() {
    let names: Vec<(String, String)> =
        (0..40).map(|i| (format!("/c/f{i}"), format!("include f{}", i + 1))).collect();
    let mut disk: Vec<(&str, &[u8])> =
        names.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    disk.push(("/c/main", b"include f0"));
    let said = messages(&read(&disk, &context()));
    assert!(said.len() == 1 && said[0].contains("16 files deep"), "{said:?}");
    let disk: &[(&str, &[u8])] = &[
        ("/c/main", b"include g\ninclude no1"),
        ("/c/g", b"global_defs {\ninclude_check\n}\ninclude no2"),
    ];
    let severities: Vec<Severity> =
        read(disk, &context()).diagnostics.iter().map(|d| d.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning]);
}

#[test]
fn every_word_keeps_its_place() {
    let lexed = text("$A=10.0\nblock {\n\tip ${A}.1/24 \"q r\" $A\n}");
    let line = &lexed.statements[0].block.as_ref().expect("a block")[0];
    let places: Vec<_> =
        line.words.iter().map(|w| (w.span.line, w.span.column, w.span.length)).collect();
    assert_eq!(places, [(3, 2, 2), (3, 5, 9), (3, 15, 5), (3, 21, 2)]);
    assert_eq!(line.rest, "10.0.1/24 \"q r\" 10.0");
    let umlauts = text("ä \"ö\" ü");
    assert_eq!(umlauts.statements[0].words[2].span.column, 7);
}

/// A small generator of repeatable noise.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

#[test]
fn a_thousand_broken_texts_end_without_panic() {
    let bases = [
        "global_defs {\n router_id x # c\n enable_script_security\n}\nvrrp_instance V {\n state MASTER\n \
         notify \"/x/y.sh a 'b c'\" root\n virtual_ipaddress {\n 10.0.0.1/24 dev eth0 label eth0:1\n }\n}\n",
        "$I= \\\n vrrp_instance V${N} { \\\n priority ${P} \\\n @main state MASTER \\\n }\n$P=1${N}\n\
         $N=1\n$I\n~SEQ(N,1,2,9) $I\n~LST({A,B},{1,2},{3,4}) x${A} { ${B} }\n",
        "include d/*.{conf,txt}\nincludea main\n@^main a ${_RANDOM 1 9} ${_HASH}${_PWD}\ninclude_check +match\n\
         global_defs { include_check -brace_match }\nx \\# \\! \"q\\\" {\" }\n",
    ];
    let spice = b"{}\"'\\#!$@~(),= \n\t\r\xff\x00\xef9A_";
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..1_000 {
        let mut bytes = bases[round % bases.len()].as_bytes().to_vec();
        for _ in 0..=noise.below(8) {
            let at = noise.below(bytes.len());
            match noise.below(5) {
                0 => bytes.truncate(at.max(1)),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, spice[noise.below(spice.len())]),
                3 => bytes[at] = spice[noise.below(spice.len())],
                _ => {
                    let end = at + noise.below(bytes.len() - at);
                    let piece = bytes[at..end].to_vec();
                    let to = noise.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            bytes.push(b'\n');
        }
        let lexed = read(&[("/c/main", &bytes), ("/c/d/a.conf", b"a {")], &context());
        for diagnostic in &lexed.diagnostics {
            assert!(!lexed.sources.render(diagnostic).is_empty());
        }
        commands(&lexed.statements);
    }
}

fn commands(statements: &[Statement]) {
    for statement in statements {
        let _ = glha::conf::command::script_words(statement);
        commands(statement.block.as_deref().unwrap_or_default());
    }
}
