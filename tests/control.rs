//! The control socket and its commands, on hosts of a lab.

mod lab;

use lab::gated::{
    SHIPPED, TAKEOVER, advertised, count, install, master, mount_hook, mount_hook_with_probe, note,
    start,
};
use lab::nginx::MOUNT_POINT;
use lab::{ARTICLE_VIP, Daemon, Guard, Host, Lab, Ran, Subject, seconds};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

/// Resident memory of a daemon with a hundred clients that never read.
const RESIDENT_KIB_MAX: u64 = 48 * 1024;
/// So many clients that do not behave.
const CLIENTS: usize = 100;

fn glha(host: &Host, words: &str) -> Ran {
    host.run(&format!("{} {words}", Subject::Glha.program()))
}

/// Runs a command that has to succeed.
#[track_caller]
fn done(lab: &Lab, host: &Host, words: &str) -> String {
    let ran = glha(host, words);
    lab.check(&format!("glha {words}: {}", ran.said), ran.status.success());
    ran.said
}

#[track_caller]
fn json(lab: &Lab, host: &Host, words: &str) -> Value {
    let said = glha(host, words).said;
    serde_json::from_str(&said)
        .unwrap_or_else(|error| lab.fail(&format!("{words}: {error}: {said}")))
}

fn records(lab: &Lab, host: &Host, words: &str) -> Vec<Value> {
    let said = glha(host, &format!("events --json -n 1000 {words}")).said;
    let read = |line: &str| serde_json::from_str(line);
    let all: Result<Vec<Value>, _> =
        said.lines().filter(|line| line.starts_with('{')).map(read).collect();
    all.unwrap_or_else(|error| lab.fail(&format!("{error}: {said}")))
}

/// Clients that ask and never read, that write no request, and that write one without an end.
fn misbehave(host: &Host) -> Vec<UnixStream> {
    let path = host.path("/run/glha/control.sock");
    let client = |n: usize| {
        let mut stream = UnixStream::connect(&path).expect("the socket takes connections");
        stream.set_nonblocking(true).expect("a socket");
        let bytes = match n % 4 {
            0 => b"{\"command\":\"status\"}\n{\"command\":\"metrics\"}\n".repeat(500),
            1 => b"\xff\xfe{}\n[]\nnull\n\n{\"command\":\"reload\",\"x\":1}\n\0\n".repeat(100),
            2 => vec![b'x'; 100_000],
            _ => Vec::new(),
        };
        // What does not fit is not written; the daemon may have hung up already.
        let _ = stream.write(&bytes);
        stream
    };
    (0..CLIENTS).map(client).collect()
}

#[test]
fn it_answers_while_a_hook_hangs_and_a_hundred_clients_never_read() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    // A socket of a former run; nobody listens there.
    host.sh("mkdir -p /run/glha; chmod 755 /run/glha");
    drop(std::os::unix::net::UnixListener::bind(host.path("/run/glha/control.sock")).unwrap());
    lab.check("not running", glha(host, "status").status.code() == Some(3));
    let acquire = "cat >/run/told; while [ ! -e /run/go ]; do sleep 0.1; done";
    let daemon = start(host, 100, "mount timeout 60\nenv GUARD mmp", &mount_hook(acquire, ":"));
    lab.wait_for("the mount hook", seconds(TAKEOVER), || note(host, "acquire begin").is_some());
    let begun = SystemTime::now();
    let follower = host.start(Subject::Glha.program(), &["events", "--follow", "--json"]);
    let ran = glha(host, "status");
    lab.check(&ran.said, ran.status.code() == Some(1));
    lab.check(&ran.said, ran.said.contains("guard mmp, the mount hook runs: acquire"));
    let mode = std::fs::metadata(host.path("/run/glha/control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only root may ask");

    let clients = misbehave(host);
    let ran = glha(host, "status --json VI_1");
    lab.check(&ran.said, ran.status.code() == Some(1) && ran.said.contains("\"acquiring\""));
    lab.holds("memory is bounded", seconds(1.0), || daemon.resident_kib() < RESIDENT_KIB_MAX);
    lab.check("and it still answers", glha(host, "status").status.code() == Some(1));
    drop(clients);

    host.write("/run/go", "");
    master(&lab, host);
    advertised(&lab, "a", begun, SystemTime::now());
    lab.check("status is 0 for a master", glha(host, "status").status.code() == Some(0));
    lab.wait_for("the follower to see it", seconds(5.0), || {
        follower.log().contains("\"phase\":\"master\"")
    });
    let told: Value = serde_json::from_str(&host.read("/run/told")).expect("the hook's event");
    let records = records(&lab, host, "VI_1");
    let acquiring = records.iter().find(|r| r["phase"] == "acquiring").expect("the transition");
    assert_eq!(acquiring["id"], told["id"], "the record and the hook's event are the same");
    assert_eq!(acquiring["reason"], told["reason"]);
    let hook = records.iter().find(|r| r["hook"] == "mount acquire").expect("the hook's end");
    assert_eq!(hook["success"], true);

    let ran = glha(host, "hold VI_11");
    let guessed = "there is no instance VI_11; perhaps VI_1? There are: VI_1";
    lab.check(&ran.said, ran.status.code() == Some(1) && ran.said.contains(guessed));
}

/// Every line of Prometheus' text format: a sample's name, labels in quotes, and a number.
fn parse_metrics(text: &str) -> Vec<(String, f64)> {
    let mut typed = Vec::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(!typed.contains(&name), "twice: {line}");
            typed.push(name);
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a sample");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        assert_eq!(typed.last(), Some(&name), "{line}");
        let labels = labels.strip_suffix('}').expect("the end of the labels");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, quoted) = label.split_once('=').expect("a label");
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            assert!(
                quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"'),
                "{line}"
            );
        }
        samples.push((sample.to_owned(), value.parse().expect("a number")));
    }
    samples
}

/// A pair with a disk that nothing guards.
fn start_pair(lab: &Lab) -> Vec<Daemon> {
    let block = format!(
        "mount timeout 20\npeers glha\nenv MOUNT_DEVICE {}\nenv MOUNT_POINT {MOUNT_POINT}\nenv GUARD none",
        lab::DEVICE
    );
    let hook = mount_hook_with_probe(SHIPPED, SHIPPED, SHIPPED);
    let start = |(host, priority): (&Host, u8)| start(host, priority, &block, &hook);
    lab.hosts.iter().zip([150, 100]).map(start).collect()
}

#[test]
fn a_pair_without_a_guard_is_started_handed_over_held_and_looked_at() {
    let lab = Lab::pair_with(Some(Guard::None));
    let (a, b) = (&lab.hosts[0], &lab.hosts[1]);
    let mut daemons = start_pair(&lab);

    // Without a guard the first start needs a person.
    lab.wait_for("a refused acquire", seconds(TAKEOVER), || count(a, "acquire end") > 0);
    lab.check("nothing is mounted", a.mounted(MOUNT_POINT).is_none());
    done(&lab, a, "released VI_1");
    master(&lab, a);
    assert!(a.mounted(MOUNT_POINT).is_some());

    // a was never answered by b: a backup is silent.
    lab.wait_for("b is backup", seconds(TAKEOVER), || {
        json(&lab, b, "status --json")["instances"][0]["phase"] == "backup"
    });
    if json(&lab, a, "status --json")["instances"][0]["peers"] == Value::Array(Vec::new()) {
        let ran = glha(a, "resign VI_1");
        lab.check(&ran.said, ran.status.code() == Some(1) && ran.said.contains("--force"));
    }
    done(&lab, a, "resign --force VI_1");
    master(&lab, b);
    assert_eq!(a.mounted(MOUNT_POINT), None);
    lab.check("a is backup", glha(a, "status VI_1").status.code() == Some(1));
    done(&lab, b, "resign VI_1");
    master(&lab, a);
    lab.wait_for("b has let go", seconds(5.0), || b.mounted(MOUNT_POINT).is_none());

    // A hold outlives the daemon, which goes on as master.
    done(&lab, a, "hold VI_1");
    daemons[0].signal(Signal::SIGKILL);
    daemons[0].wait(seconds(5.0));
    daemons[0] = Subject::Glha.start_with(a, "/etc/glha/glha.conf");
    lab.wait_for("a goes on, on hold", seconds(TAKEOVER), || {
        let status = glha(a, "status --json").said;
        status.contains("\"phase\":\"master\"") && status.contains("\"hold\":true")
    });
    lab.check("no failover", b.mounted(MOUNT_POINT).is_none() && !b.has_address(ARTICLE_VIP));
    let kinds: Vec<Value> =
        records(&lab, a, "").into_iter().map(|mut r| r["kind"].take()).collect();
    let of = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    assert_eq!((of("start"), of("hold"), of("resign"), of("released")), (2, 1, 1, 1), "{kinds:?}");
    let why = done(&lab, a, "why VI_1");
    for text in ["VI_1 is MASTER", "on hold by a person", "resign: a person wants it", "released"] {
        lab.check(&format!("{text} in {why}"), why.contains(text));
    }

    // A reload that is refused says why, also later.
    let good = a.read("/etc/glha/glha.conf");
    a.write("/etc/glha/glha.conf", &good.replace("GUARD none", "GUARD none\nbogus"));
    let ran = glha(a, "reload");
    lab.check(&ran.said, ran.status.code() == Some(1) && ran.said.contains("'bogus'"));
    let said = glha(a, "status").said;
    lab.check(&said, said.contains("was refused") && said.contains("'bogus'"));
    a.write("/etc/glha/glha.conf", &good);
    done(&lab, a, "reload");
    lab.check("forgotten", !glha(a, "status").said.contains("was refused"));

    let samples = parse_metrics(&done(&lab, a, "metrics"));
    let value = |name: &str| samples.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
    assert_eq!(value("glha_master{instance=\"VI_1\"}"), Some(1.0));
    assert_eq!(value("glha_hold{instance=\"VI_1\"}"), Some(1.0));
    assert_eq!(value("glha_phase{instance=\"VI_1\",phase=\"master\"}"), Some(1.0));
    done(&lab, a, "metrics --file /tmp/glha.prom");
    assert!(!parse_metrics(&a.read("/tmp/glha.prom")).is_empty());
    assert_eq!(a.sh("ls /tmp").trim(), "glha.prom");

    // An unreadable file of holds is named, and holds.
    drop(daemons);
    a.write("/var/lib/glha/hold.json", "{");
    install(a, 150, "mount timeout 20", &mount_hook(":", ":"));
    let _a = Subject::Glha.start_with(a, "/etc/glha/glha.conf");
    lab.wait_for("it is on hold", seconds(TAKEOVER), || {
        let status = glha(a, "status").said;
        status.contains("/var/lib/glha/hold.json") && status.contains("glha unhold VI_1")
    });
    done(&lab, a, "unhold VI_1");
    lab.check("mended", !glha(a, "status").said.contains("hold.json"));
}
