//! `glha hooks list|run|check`: one script at a time, as the daemon would run it. Needs root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A configuration with scripts of its own in a folder of its own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let path = path.join(format!("hooks-command-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("folder");
        let place = Self(path);
        place.script(
            "mount.sh",
            "#!/bin/sh\ncat >\"$0.stdin\"\nenv >\"$0.env\"\necho \"$@\"\nexit 7\n",
        );
        place.script("notify.sh", "#!/bin/sh\necho \"told $*\"\n");
        place.script("check.sh", "#!/bin/sh\nsleep 60\n");
        let folder = place.0.display();
        let text = format!(
            "global_defs {{\n router_id here\n script_user root\n}}\n\
             vrrp_script chk {{\n script \"{folder}/check.sh a 'b c'\"\n interval 3\n timeout 1\n}}\n\
             vrrp_instance VI_1 {{\n interface lo0\n virtual_router_id 51\n priority 101\n\
             virtual_ipaddress {{\n 10.9.0.70/24\n }}\n track_script {{\n chk\n }}\n\
             notify_master {folder}/notify.sh\n notify {folder}/notify.sh\n}}\n\
             hooks VI_1 {{\n dir {folder}\n mount timeout 20 probe 5\n notify timeout 9\n\
             env MOUNT_POINT /srv/x\n}}\n"
        );
        fs::write(place.0.join("test.conf"), text).expect("configuration");
        place
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::write(&path, text).expect("script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    fn hooks(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glha"));
        command.arg("hooks").arg("-f").arg(self.0.join("test.conf")).args(arguments);
        command.stdin(Stdio::null()).output().expect("glha")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_list_names_every_script_when_it_runs_and_for_how_long() {
    let place = Place::new("list");
    let listed = out(&place.hooks(&["list"]));
    let rows: Vec<String> = listed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|line| line.replace(&format!("{}/", place.0.display()), ""))
        .collect();
    assert_eq!(
        rows,
        [
            "OF HOOK RUNS TIMEOUT USER COMMAND",
            "VI_1 mount acquire, release, probe every 5 s 20 s root mount.sh",
            "VI_1 notify_master on MASTER 9 s root notify.sh",
            "VI_1 notify on every state 9 s root notify.sh",
            "VI_1 notify hook on every state, and on conflicts 9 s root notify.sh",
            "chk vrrp_script every 3 s, fall 1, rise 1 1 s root check.sh a b c",
        ]
    );
}

#[test]
fn no_script_of_a_state_is_missing_from_the_list() {
    let place = Place::new("states");
    let states = [
        "notify_master",
        "notify_backup",
        "notify_fault",
        "notify_stop",
        "notify_deleted",
        "notify_master_rx_lower_pri",
        "notify",
    ];
    let script = place.0.join("notify.sh");
    let lines = states.map(|state| format!("{state} {}\n", script.display())).concat();
    let text = format!(
        "global_defs {{\nscript_user root\n}}\nvrrp_instance VI_1 {{\ninterface lo0\nvirtual_router_id 51\n\
         virtual_ipaddress {{\n10.9.0.70/24\n}}\n{lines}}}\n"
    );
    fs::write(place.0.join("test.conf"), text).expect("configuration");
    let listed = out(&place.hooks(&["list"]));
    let named = listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
    assert_eq!(named.collect::<Vec<_>>(), states, "{listed}");
}

#[test]
fn a_run_is_the_daemon_s_and_its_status_the_hook_s() {
    let place = Place::new("run");
    let ran = place.hooks(&["run", "mount", "acquire", "VI_1"]);
    assert_eq!(ran.status.code(), Some(7), "{}", err(&ran));
    assert!(err(&ran).contains("VI_1 mount acquire: acquire VI_1"), "{}", err(&ran));
    let event: Value = serde_json::from_str(&place.read("mount.sh.stdin")).expect("JSON");
    for (field, value) in [
        ("schema", "glha.event/1"),
        ("node", "here"),
        ("event", "mount"),
        ("action", "acquire"),
        ("instance", "VI_1"),
        ("how", "silent"),
        ("interface", "lo0"),
    ] {
        assert_eq!(event[field], value, "{field}");
    }
    assert_eq!(event["timeout_ms"], 20_000);
    let env = place.read("mount.sh.env");
    for line in [
        "GLHA_ACTION=acquire",
        "GLHA_PRIORITY=101",
        "GLHA_RUN_DIR=/run/glha",
        "MOUNT_POINT=/srv/x",
        "PWD=/",
    ] {
        assert!(env.lines().any(|known| known == line), "{line} is not in {env}");
    }
}

#[test]
fn an_event_replaces_what_is_made_up() {
    let place = Place::new("event");
    let event = r#"{"reason":"preempt","released":true,"priority":77,"time":"then",
        "peer":{"address":"10.9.0.2","priority":5,"last_seen_ms":10}}"#;
    fs::write(place.0.join("event.json"), event).expect("event");
    let file = place.0.join("event.json");
    let ran = place.hooks(&["run", "--event", &file.to_string_lossy(), "mount", "acquire", "VI_1"]);
    assert_eq!(ran.status.code(), Some(7), "{}", err(&ran));
    let told: Value = serde_json::from_str(&place.read("mount.sh.stdin")).expect("JSON");
    assert_eq!(told["reason"], "preempt");
    assert_eq!(told["priority"], 77);
    assert_eq!(told["peer"]["address"], "10.9.0.2");
    assert_ne!(told["time"], "then");
    for (bad, why) in [
        ("[]", "an event is a JSON object"),
        ("{", "EOF"),
        (r#"{"colour":"red"}"#, "the event's colour: no such field"),
        (r#"{"priority":300}"#, "the event's priority: a number from 0 to 255"),
        (r#"{"peer":{"address":"x","priority":1}}"#, "the event's peer: its address is none"),
    ] {
        fs::write(&file, bad).expect("event");
        let ran =
            place.hooks(&["run", "--event", &file.to_string_lossy(), "mount", "probe", "VI_1"]);
        assert_eq!(ran.status.code(), Some(1), "{bad}");
        assert!(err(&ran).contains(why), "{bad}: {}", err(&ran));
    }
}

#[test]
fn a_dry_run_shows_everything_and_runs_nothing() {
    let place = Place::new("dry");
    let shown = place.hooks(&["run", "--dry-run", "mount", "probe", "VI_1"]);
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    let text = out(&shown);
    for line in [
        "# VI_1 mount probe".to_owned(),
        format!("argv     {}/mount.sh probe VI_1", place.0.display()),
        "timeout  20 s".to_owned(),
        "  GLHA_ACTION=probe".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
    }
    let json = text.lines().last().expect("a last line").trim();
    assert_eq!(serde_json::from_str::<Value>(json).expect("JSON")["action"], "probe");
    assert!(!place.0.join("mount.sh.stdin").exists(), "it was run");
}

#[test]
fn notify_scripts_run_in_their_order_and_a_check_to_its_timeout() {
    let place = Place::new("more");
    let ran = place.hooks(&["run", "notify", "MASTER", "VI_1"]);
    assert_eq!(ran.status.code(), Some(0), "{}", err(&ran));
    let said: Vec<String> = err(&ran)
        .lines()
        .filter_map(|line| line.split_once("told").map(|(_, said)| said.to_owned()))
        .collect();
    assert_eq!(said, ["", " INSTANCE VI_1 MASTER 101", " INSTANCE VI_1 MASTER 101"]);
    let ran = place.hooks(&["run", "check", "chk"]);
    assert_eq!(ran.status.code(), Some(124), "{}", err(&ran));
}

#[test]
fn what_cannot_be_run_is_named() {
    let place = Place::new("wrong");
    for (words, why) in [
        (&["run"][..], "run what?"),
        (&["run", "mount", "acquire", "VI_2"], "there is no instance VI_2; there are: VI_1"),
        (&["run", "mount", "steal", "VI_1"], "steal: one of acquire, release, probe is meant"),
        (&["run", "notify", "ASLEEP", "VI_1"], "one of MASTER, BACKUP, FAULT, STOP"),
        (&["run", "check", "nothing"], "there is no check nothing; there are: chk"),
        (&["walk"], "walk"),
    ] {
        let ran = place.hooks(words);
        assert_eq!(ran.status.code(), Some(1), "{words:?}");
        assert!(err(&ran).contains(why), "{words:?}: {}", err(&ran));
    }
    let ran = Command::new(env!("CARGO_BIN_EXE_glha"))
        .args(["hooks", "-f", "/nowhere", "list"])
        .output()
        .expect("glha");
    assert_eq!(ran.status.code(), Some(6));
    assert!(err(&ran).contains("/nowhere"), "{}", err(&ran));
}

#[test]
fn a_check_of_the_scripts_finds_what_is_wrong_with_them() {
    let place = Place::new("check");
    place.script("notify.sh", "\\#!/bin/bash\ncase $3 in\nMASTER)\n umount -l /srv/x ;;\nesac\n");
    let found = place.hooks(&["check"]);
    let text = out(&found);
    for part in ["notify.sh:1: broken #! line", "check.sh:2: sleeps 60 s", "no case for STOP"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // It unmounts behind the gate's back, and the interface is not there.
    assert_eq!(found.status.code(), Some(4), "{text}");
}

/// What the mount hook says of itself stands among the rest, and only a hook that says so is asked.
#[test]
fn a_mount_hook_that_can_check_itself_is_asked() {
    let place = Place::new("asked");
    let mount = |mark: &str, rest: &str| {
        let text =
            format!("#!/bin/sh\n{mark}\necho \"$@\" >>\"$0.asked\"\nenv >\"$0.env\"\n{rest}\n");
        place.script("mount.sh", &text);
        let found = out(&place.hooks(&["check"]));
        let asked = fs::read_to_string(place.0.join("mount.sh.asked")).unwrap_or_default();
        let _ = fs::remove_file(place.0.join("mount.sh.asked"));
        (found, asked)
    };
    let (found, asked) = mount("# glha: check", "echo first; echo second >&2; exit 1");
    for text in ["warning: (VI_1) first", "warning: (VI_1) second"] {
        assert!(found.contains(text), "no {text:?} in {found}");
    }
    assert_eq!(asked, "check VI_1\n");
    let env = place.read("mount.sh.env");
    for line in ["GLHA_ACTION=check", "GLHA_TIMEOUT_MS=20000", "MOUNT_POINT=/srv/x"] {
        assert!(env.lines().any(|known| known == line), "{line} is not in {env}");
    }
    // No answer: what can be seen from outside is said, as of a hook that is not asked.
    let missing = "warning: (VI_1) MOUNT_POINT /srv/x is missing";
    for (rest, is_said) in [("echo usage; exit 64", true), ("kill $$", true), ("exit 0", false)] {
        let (found, asked) = mount("# glha: check", rest);
        assert_eq!((found.contains(missing), asked.as_str()), (is_said, "check VI_1\n"), "{found}");
        assert!(!found.contains("usage"), "{found}");
    }
    let (found, asked) = mount("", "mount /dev/sdb1 /srv/x");
    assert_eq!((found.contains(missing), asked.as_str()), (true, ""), "{found}");
}

/// A device that does not answer holds up nobody.
#[test]
fn a_mount_hook_that_does_not_answer_is_ended() {
    let place = Place::new("silent");
    place.script("mount.sh", "#!/bin/sh\n# glha: check\necho half an answer\nsleep 600\n");
    let found = out(&place.hooks(&["check"]));
    assert!(found.contains("MOUNT_POINT /srv/x is missing") && !found.contains("half"), "{found}");
}
