//! The examples of the manual pages and the README: every one is known here, the scripts and the
//! configurations among them are right, and the recipes do what the text says. Needs root.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

mod examples_support;

use examples_support::blocks::{Block, Kind, all, find};
use examples_support::stage::Stage;

#[test]
fn every_example_is_of_a_known_kind() {
    let blocks = all();
    assert!(blocks.len() > 30, "only {} examples: does this test look aside?", blocks.len());
    for kind in [Kind::Sh, Kind::Python, Kind::Commands, Kind::Conf, Kind::InHooks, Kind::Notify] {
        assert!(blocks.iter().any(|block| block.kind() == kind), "no example is {kind:?}");
    }
}

#[test]
fn scripts_and_commands_are_shell() {
    for block in all() {
        let text = match block.kind() {
            Kind::Sh | Kind::Commands => block.commands(),
            Kind::Notify => with_functions(&block.text),
            _ => continue,
        };
        for shell in ["sh", "dash"] {
            let out = piped(Command::new(shell).arg("-n"), &text);
            assert!(out.status.success(), "{block}: {shell} -n says\n{}", said(&out));
        }
        if block.kind() != Kind::Commands {
            let out = piped(Command::new("shellcheck").args(["-s", "sh", "-"]), &text);
            assert!(out.status.success(), "{block}: shellcheck says\n{}", said(&out));
        }
    }
}

#[test]
fn python_compiles() {
    for block in all().iter().filter(|block| block.kind() == Kind::Python) {
        let source = "import sys; compile(sys.stdin.read(), 'example', 'exec')";
        let out = piped(Command::new("python3").args(["-c", source]), &block.text);
        assert!(out.status.success(), "{block}: {}", said(&out));
    }
}

#[test]
fn json_is_json() {
    for block in all().iter().filter(|block| block.kind() == Kind::Json) {
        for line in block.text.lines() {
            let read = serde_json::from_str::<serde_json::Value>(line);
            assert!(read.is_ok_and(|value| value.is_object()), "{block}: {line}");
        }
    }
}

#[test]
fn configurations_would_start() {
    let stage = Stage::new("conf");
    for block in all().iter().filter(|block| block.kind() == Kind::Sh) {
        // The second line says what it is called.
        let name =
            block.text.lines().nth(1).and_then(|line| line.strip_prefix("# ")?.split_once(':'));
        stage.script(name.map_or("nameless.sh", |(name, _)| name), &block.text);
    }
    for block in all() {
        let text = match block.kind() {
            Kind::Conf => block.text.clone(),
            Kind::InHooks => {
                let mount = if block.text.contains("mount ") { "" } else { "    mount\n" };
                format!("hooks VI_1 {{\n{mount}{}}}\n", block.text)
            }
            Kind::InInstance => {
                let inside =
                    "interface eth0\nvirtual_router_id 9\nvirtual_ipaddress { 10.9.0.9 }\n";
                format!("vrrp_instance I {{\n{inside}{}}}\n", block.text)
            }
            _ => continue,
        };
        stage.configure(&text);
        let out = stage.glha(&["-t", "-f", &stage.conf()], "");
        let text = said(&out);
        assert!(text.ends_with("would start\n"), "{block}:\n{text}");
        assert!(!text.contains(": error: "), "{block}:\n{text}");
    }
}

/// `tests/rehearse.rs` keeps the report of the example configuration current.
#[test]
fn rehearsals_are_what_rehearse_prints() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/rehearse/example.txt");
    let report = fs::read_to_string(path).expect("the report");
    let all = all();
    let shown: Vec<&Block> = all.iter().filter(|block| block.kind() == Kind::Rehearsal).collect();
    assert!(!shown.is_empty(), "the README shows none");
    for block in shown {
        let lines: String =
            block.text.lines().map(|line| format!("     {}\n", line.trim_start())).collect();
        assert!(report.contains(&lines), "{block}: rehearse prints something else");
    }
}

#[test]
fn nginx_is_started_once_and_restarted_when_it_does_not_answer() {
    let stage = Stage::new("nginx");
    let block = find("glha-hooks.7", "nginx", 0);
    // A process of that name may run on this machine.
    let name = format!("ngx{}", std::process::id());
    let sleeper = stage.path(&name);
    fs::copy("/bin/sleep", &sleeper).expect("a copy of sleep");
    stage.stand_in("curl", "");
    stage.stand_in_for_services(&format!(
        "[ \"$1\" = start ] || exit 0\n{} 60 >/dev/null 2>&1 &\necho $! >>{}",
        sleeper.display(),
        stage.path("pids").display()
    ));
    stage.configure(
        &block.text.replace("    mount", &format!("    env CHECK_PROCESS {name}\n    mount")),
    );
    let out = stage.run(&["check", "VI_1"], "");
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let asks = "curl|-s|-f|-o|/dev/null|--max-time|2|http://127.0.0.1/";
    assert_eq!(stage.calls(), ["systemctl|start|nginx", asks]);
    stage.stand_in("curl", "exit 22");
    let out = stage.run(&["check", "VI_1"], "");
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let calls = stage.calls();
    assert_eq!(
        calls.iter().filter(|call| *call == "systemctl|restart|nginx").count(),
        1,
        "{calls:?}"
    );
    assert!(calls.iter().filter(|call| *call == asks).count() > 2, "{calls:?}");
}

#[test]
fn gitlab_is_asked_for_its_readiness_on_the_master_only() {
    let stage = Stage::new("gitlab");
    stage.stand_in("curl", "exit 22");
    stage.configure(&find("glha-hooks.7", "GitLab", 0).text);
    let out = stage.run(&["check", "VI_1"], "");
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let asks = "curl|-s|-f|-o|/dev/null|--max-time|2|http://127.0.0.1/-/readiness";
    assert_eq!(stage.calls(), [asks]);
    let out = stage.run(&["check", "VI_1"], r#"{"phase":"backup"}"#);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert_eq!(stage.calls(), [""; 0]);
}

#[test]
fn postgresql_is_asked_where_it_has_to_run() {
    let stage = Stage::new("postgresql");
    stage.script("check-postgresql.sh", &find("glha-hooks.7", "PostgreSQL", 1).text);
    stage.configure(&find("glha-hooks.7", "PostgreSQL", 0).text);
    for (answer, event, status, calls) in [
        ("", "", 0, &["pg_isready|-t|3"][..]),
        ("exit 2", "", 2, &["pg_isready|-t|3"]),
        ("exit 2", r#"{"phase":"backup"}"#, 0, &[]),
    ] {
        stage.stand_in("pg_isready", answer);
        let out = stage.run(&["check", "DB"], event);
        assert_eq!(out.status.code(), Some(status), "{answer} {event}: {}", said(&out));
        assert_eq!(stage.calls(), calls, "{answer} {event}");
    }
}

/// In the opposite order of their start, which tests/hooks.rs looks at.
#[test]
fn services_of_a_recipe_are_stopped_before_the_unmount() {
    for (section, instance, stopped) in [
        ("GitLab", "VI_1", &["gitlab-runsvdir.service"][..]),
        ("PostgreSQL", "DB", &["postgresql@15-main.service"]),
        ("NFS", "NFS", &["nfs-kernel-server.service", "nfsdcld.service"]),
    ] {
        let stage = Stage::new("services");
        stage.stand_in_for_services("");
        stage.script("check-postgresql.sh", "#!/bin/sh\n");
        stage.configure(&find("glha-hooks.7", section, 0).text);
        // There is no such disk here; what comes after the services is tested elsewhere.
        let out = stage.run(&["mount", "release", instance], "");
        let want: Vec<String> =
            stopped.iter().map(|unit| format!("systemctl|stop|{unit}")).collect();
        assert_eq!(stage.calls(), want, "{section}: {}", said(&out));
    }
}

#[test]
fn an_export_goes_with_its_disk() {
    let stage = Stage::new("export");
    stage.script("mount-export.sh", &find("glha-hooks.7", "One export among others", 0).text);
    stage.configure(&find("glha-hooks.7", "One export among others", 1).text);
    let exported = "exportfs|-o|rw,sync,fsid=17|10.0.0.0/24:/srv/nfs";
    let withdrawn = ["exportfs|-u|10.0.0.0/24:/srv/nfs", "exportfs|-f"];
    for (action, mount, exportfs, status, calls) in [
        ("acquire", "exit 0", "", 0, vec!["mount.sh|acquire|NFS", exported]),
        ("acquire", "exit 75", "", 75, vec!["mount.sh|acquire|NFS"]),
        ("acquire", "exit 0", "exit 1", 1, vec!["mount.sh|acquire|NFS", exported]),
        ("release", "exit 0", "exit 1", 0, [&withdrawn[..], &["mount.sh|release|NFS"]].concat()),
        ("release", "exit 1", "", 1, [&withdrawn[..], &["mount.sh|release|NFS"]].concat()),
        ("probe", "exit 3", "", 3, vec!["mount.sh|probe|NFS"]),
    ] {
        stage.stand_in("exportfs", exportfs);
        stage.replace_hook("mount.sh", mount);
        let out = stage.run(&["mount", action, "NFS"], "");
        assert_eq!(out.status.code(), Some(status), "{action} {mount}: {}", said(&out));
        assert_eq!(stage.calls(), calls, "{action} {mount}");
    }
}

#[test]
fn a_mail_is_sent_at_each_change() {
    let stage = Stage::new("mail");
    stage.stand_in("sendmail", &format!("cat >{}", stage.path("mail").display()));
    stage.configure(&find("glha-hooks.7", "A mail at each change", 0).text);
    let out = stage.run(&["notify", "FAULT", "VI_1"], r#"{"detail":"due to script x"}"#);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert_eq!(stage.calls(), ["sendmail|-t|-oi"]);
    let mail = fs::read_to_string(stage.path("mail")).expect("a mail");
    for line in ["From: glha@example.org", "To: admin@example.org"] {
        assert!(mail.lines().any(|known| known == line), "{line} is not in {mail}");
    }
    assert!(mail.contains("VI_1 is FAULT") && mail.contains("due to script x"), "{mail}");
}

#[test]
fn a_chat_is_told_in_json_whatever_the_reason_says() {
    let stage = Stage::new("chat");
    let block = find("glha-hooks.7", "A line in a chat", 0);
    stage.script("notify.sh", &with_functions(&block.text));
    stage.stand_in("curl", "");
    stage.configure("hooks VI_1 {\n    notify\n    env LOG_DIR \"\"\n}\n");
    let event = r#"{"reason":"stop","detail":"a \"word\" \\ and more"}"#;
    let out = stage.run(&["notify", "MASTER", "VI_1"], event);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let calls = stage.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let words: Vec<&str> = calls[0].split('|').collect();
    let place = words.iter().position(|word| *word == "-d").expect("data");
    let data: serde_json::Value = serde_json::from_str(words[place + 1]).expect("JSON");
    let text = data["text"].as_str().expect("text");
    assert!(text.ends_with("VI_1 is MASTER (stop: a \"word\" \\ and more)"), "{text}");
    stage.run(&["notify", "BACKUP", "VI_1"], "");
    assert_eq!(stage.calls(), [""; 0], "nobody wants to know of a backup");
}

#[test]
fn a_witness_decides() {
    let stage = Stage::new("witness");
    let block = find("glha-hooks.7", "A witness", 0);
    let quiet = "    env CHECK_PROCESS \"\"\n    env CHECK_SERVICE \"\"\n";
    stage.configure(&format!("hooks VI_1 {{\n{}{quiet}}}\n", block.text));
    let ping = "ping|-c|1|-W|1|172.16.51.1";
    for (answer, status, calls) in [("", 0, &[ping][..]), ("exit 1", 1, &[ping, ping])] {
        stage.stand_in("ping", answer);
        let out = stage.run(&["check", "VI_1"], r#"{"phase":"backup"}"#);
        assert_eq!(out.status.code(), Some(status), "{answer}: {}", said(&out));
        assert_eq!(stage.calls(), calls);
    }
}

#[test]
fn a_field_is_cut_from_the_event_of_the_manual() {
    let event = find("glha-hooks.7", "STANDARD INPUT", 0).text;
    let cut = find("glha-hooks.7", "A field that has no variable", 0).text;
    let out = piped(Command::new("sh").args(["-c", &format!("{cut}\necho \"$seen\"")]), &event);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "3609\n");
}

#[test]
fn a_pool_keeps_to_the_table_of_exit_statuses() {
    let stage = Stage::new("pool");
    stage.script("pool.sh", &find("glha-hooks.7", "A mount hook of one's own", 0).text);
    stage.configure("hooks VI_1 {\n    mount pool.sh\n    env POOL tank\n}\n");
    let (pool, foreign) = (stage.path("pool"), stage.path("foreign"));
    stage.stand_in(
        "zpool",
        &format!(
            "pool={} foreign={}\ncase $1 in\nlist) cat \"$pool\" ;;\n\
             import) [ ! -e \"$foreign\" ] && echo ONLINE >\"$pool\" ;;\nexport) rm \"$pool\" ;;\nesac",
            pool.display(),
            foreign.display()
        ),
    );
    let run = |action: &str, event: &str| {
        let out = stage.run(&["mount", action, "VI_1"], event);
        out.status.code().unwrap_or_else(|| panic!("{action}: {}", said(&out)))
    };
    let resume = r#"{"phase":"probing","reason":"resume"}"#;
    assert_eq!(run("probe", ""), 1, "nothing is held");
    assert_eq!(run("release", ""), 0, "to release nothing succeeds");
    fs::write(&foreign, "").expect("a file");
    assert_eq!(run("acquire", ""), 75, "another host has it");
    fs::remove_file(&foreign).expect("the file");
    assert_eq!((run("acquire", ""), run("acquire", "")), (0, 0), "each step is safe to repeat");
    assert_eq!((run("probe", ""), run("probe", resume)), (0, 2));
    fs::write(&pool, "SUSPENDED").expect("a file");
    assert_eq!(run("probe", ""), 3);
    assert_eq!((run("release", ""), run("probe", "")), (0, 1));
}

#[test]
fn another_language_reads_the_event() {
    let stage = Stage::new("metrics");
    let title = "A notify hook in another language";
    stage.script("metrics.py", &find("glha-hooks.7", title, 0).text);
    let folder = stage.path("metrics");
    fs::create_dir(&folder).expect("a folder");
    let there = folder.display().to_string();
    let conf = find("glha-hooks.7", title, 1).text;
    stage.configure(&conf.replace("/var/lib/prometheus/node-exporter", &there));
    let out = stage.run(&["notify", "BACKUP", "VI_1"], r#"{"transition":7}"#);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let text = fs::read_to_string(folder.join("glha_VI_1.prom")).expect("metrics");
    for line in [
        "glha_notified{name=\"VI_1\",state=\"MASTER\"} 0",
        "glha_notified{name=\"VI_1\",state=\"BACKUP\"} 1",
        "glha_notified_transition{name=\"VI_1\"} 7",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
    }
    assert_eq!(fs::read_dir(&folder).expect("folder").count(), 1, "something is left behind");
}

/// The shipped notify.sh with these functions in place of its own, empty ones of the same names.
fn with_functions(functions: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("hooks/notify.sh");
    let shipped = fs::read_to_string(path).expect("notify.sh");
    let is_replaced = |line: &&str| {
        let name = line.split_once("() { :; }").map(|(name, _)| format!("\n{name}() {{"));
        name.is_some_and(|name| format!("\n{functions}").contains(&name))
    };
    let kept: String =
        shipped.lines().filter(|line| !is_replaced(line)).map(|line| format!("{line}\n")).collect();
    let (head, rest) = kept.split_once("\ntype=$1").expect("the end of the head of notify.sh");
    format!("{head}\n{functions}\ntype=$1{rest}")
}

fn piped(command: &mut Command, text: &str) -> Output {
    examples_support::stage::piped(command.stdout(Stdio::piped()), text)
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

#[test]
fn blocks_are_found_in_pages_and_in_markdown() {
    let page = ".Sh A\n.Bd -literal\n.\\\" aside\na\\eb \\-c\n.Ed\n.Ss B\n.Dl glha x\n";
    let shown = |blocks: Vec<Block>| -> Vec<String> {
        blocks.iter().map(|b| format!("{} {}: {}", b.line, b.section, b.text)).collect()
    };
    assert_eq!(shown(Block::of_page("p", page)), ["2 A: a\\b -c\n", "7 B: glha x\n"]);
    let text = "# A\n\n    x\n      y\n\n    z\nno\n    more\n\n1. b\n\n       c\n";
    assert_eq!(shown(Block::of_markdown("m", text)), ["3 A: x\n  y\n\nz\n", "12 A: c\n"]);
}
