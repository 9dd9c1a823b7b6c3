//! `glha rehearse`: what it says of pairs of configurations, and how their failures come out.
//!
//! The reports of the example configuration and of the article's are in `data/rehearse`;
//! `BLESS=1 cargo test --test rehearse` writes them anew.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use glha::conf::{self, Config, Context, Files};
use glha::rehearse::{Actor, Rehearsal, instances, rehearse};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The configuration of a text, on the node with this id.
fn load(text: &str, id: &str) -> Config {
    let mut read = |_: &Path| -> io::Result<Vec<u8>> { Ok(text.as_bytes().to_vec()) };
    let mut list = |_: &Path| -> io::Result<Vec<OsString>> { Ok(Vec::new()) };
    let mut files = Files { read: &mut read, list: &mut list };
    let context = Context { config_id: id.into(), host_name: id.into(), ..Context::default() };
    conf::load(Path::new("test.conf"), &mut files, &context).config
}

fn play(texts: &[(&str, &str)]) -> Rehearsal {
    let configs: Vec<Config> = texts.iter().map(|(name, text)| load(text, name)).collect();
    let actors: Vec<Actor<'_>> =
        texts.iter().zip(&configs).map(|((name, _), config)| Actor { name, config }).collect();
    let name = instances(&actors).into_iter().next().expect("an instance in common");
    rehearse(&actors, &name).expect("it can be played")
}

/// An instance with these lines inside, and this after it.
fn conf(priority: u8, inside: &str, after: &str) -> String {
    format!(
        "vrrp_script chk {{\n script /bin/true\n interval 1\n}}\n\
         vrrp_instance VI {{\n interface eth0\n virtual_router_id 51\n priority {priority}\n\
         {inside}\n virtual_ipaddress {{\n 10.9.0.70\n }}\n}}\n{after}\n"
    )
}

const STORAGE: &str = "hooks VI {\n mount timeout 60 probe 10\n peers glha\n env GUARD mmp\n}";

/// Of the interfaces only one is played.
#[test]
fn other_interfaces_are_left_out() {
    let inside = "use_vmac\n track_interface {\n eth1\n }\n\
                  virtual_routes {\n 10.8.0.0/16 via 10.9.0.1 dev eth2\n }\n\
                  unicast_src_ip 10.9.0.1\n unicast_peer {\n 10.9.0.2\n }";
    let text = conf(101, inside, "");
    let config = load(&text, "n1");
    let [spec] = config.spec.instances.as_slice() else { panic!("one instance") };
    assert!(!spec.vmacs.is_empty() && spec.needs_links.len() == 2);
    let all = play(&[("n1", &text), ("n2", &conf(100, inside, ""))]);
    assert!(!all.text().is_empty());
}

/// Everything that can be seen of two files without playing them: each with the one sentence that
/// names it, and the same pair without the fault says nothing.
#[test]
fn every_fault_of_a_pair_is_named() {
    let tracked = |weight: &str| format!("track_script {{\n chk {weight}\n }}");
    let guard = |settings: &str| STORAGE.replace("env GUARD mmp", settings);
    let cases: Vec<(&str, String, String)> = vec![
        ("equal priorities", conf(100, "", ""), conf(100, "", "")),
        (
            "different virtual_router_id",
            conf(101, "", ""),
            conf(100, "", "").replace("router_id 51", "router_id 52"),
        ),
        ("different advert_int", conf(101, "", ""), conf(100, "advert_int 2", "")),
        ("different VRRP version", conf(101, "", ""), conf(100, "version 3", "")),
        (
            "different passwords",
            conf(101, "authentication {\n auth_type PASS\n auth_pass one\n}", ""),
            conf(100, "authentication {\n auth_type PASS\n auth_pass two\n}", ""),
        ),
        (
            "different kind of peers",
            conf(101, "", ""),
            conf(100, "unicast_peer {\n 10.9.0.1\n}", ""),
        ),
        (
            "among its unicast_peer",
            conf(101, "unicast_src_ip 10.9.0.1\n unicast_peer {\n 10.9.0.3\n}", ""),
            conf(100, "unicast_src_ip 10.9.0.2\n unicast_peer {\n 10.9.0.1\n}", ""),
        ),
        (
            "different virtual addresses: b does not have 10.9.0.70",
            conf(101, "", ""),
            conf(100, "", "").replace("10.9.0.70", "10.9.0.71"),
        ),
        ("never a fault", conf(101, &tracked("weight -20"), ""), conf(100, "", "")),
        ("nothing fails over", conf(150, &tracked("weight -20"), ""), conf(100, "", "")),
        ("nopreempt keeps b", conf(101, &tracked("weight -20"), ""), conf(100, "nopreempt", "")),
        ("b has none", conf(101, "", STORAGE), conf(100, "", "")),
        (
            "`peers` is not the same",
            conf(101, "", STORAGE),
            conf(100, "", &STORAGE.replace("peers glha", "peers mixed")),
        ),
        (
            "`preempt` is not the same",
            conf(101, "", STORAGE),
            conf(100, "", &guard("env GUARD mmp\n preempt never")),
        ),
        (
            "`preempt always` moves the disk",
            conf(101, "", &guard("env GUARD mmp\n preempt always")),
            conf(100, "", &guard("env GUARD mmp\n preempt always")),
        ),
        (
            "MOUNT_DEVICE is /dev/a on a and /dev/b on b",
            conf(101, "", &guard("env GUARD mmp\n env MOUNT_DEVICE /dev/a")),
            conf(100, "", &guard("env GUARD mmp\n env MOUNT_DEVICE /dev/b")),
        ),
        (
            "GUARD none proves nothing by itself",
            conf(101, "", &guard("env GUARD none")),
            conf(100, "", &guard("env GUARD none")),
        ),
        (
            "GUARD none without `peers glha` proves nothing at all",
            conf(101, "", &guard("env GUARD none").replace("peers glha", "peers mixed")),
            conf(100, "", &guard("env GUARD none").replace("peers glha", "peers mixed")),
        ),
        (
            "the disk is mounted twice",
            conf(101, "", &guard("env GUARD none\n env ACCEPT_RISK yes")),
            conf(100, "", &guard("env GUARD none\n env ACCEPT_RISK yes")),
        ),
    ];
    for (sentence, a, b) in &cases {
        let doubts = play(&[("a", a), ("b", b)]).doubts;
        assert!(doubts.iter().any(|doubt| doubt.contains(sentence)), "{sentence}: {doubts:#?}");
    }
    for (a, b) in
        [(conf(101, "", ""), conf(100, "", "")), (conf(101, "", STORAGE), conf(100, "", STORAGE))]
    {
        let rehearsal = play(&[("a", &a), ("b", &b)]);
        assert_eq!(rehearsal.doubts, Vec::<String>::new());
        assert!(rehearsal.is_content(), "{}", rehearsal.text());
    }
}

#[test]
fn a_pair_that_cannot_hear_each_other_is_not_content() {
    let (a, b) = (conf(101, "", ""), conf(100, "version 3", ""));
    let rehearsal = play(&[("a", &a), ("b", &b)]);
    assert!(rehearsal.text().contains("addresses on two nodes"), "{}", rehearsal.text());
    assert!(!rehearsal.is_content());
}

/// A weight that moves nothing shows in the scene too, not only in the warning.
#[test]
fn a_check_that_moves_nothing_leaves_the_service_away() {
    let tracked = "track_script {\n chk weight -20\n }";
    let rehearsal = play(&[("a", &conf(150, tracked, "")), ("b", &conf(100, "", ""))]);
    let text = rehearsal.text();
    let scene = text.split("\n\n").skip_while(|part| !part.contains("a check fails")).nth(2);
    let verdict = scene.unwrap_or_default();
    assert!(verdict.contains("service away for 90"), "{text}");
}

#[test]
fn three_nodes_and_ipv6_can_be_played() {
    let inside = "version 3\n advert_int 0.5\n mcast_src_ip fe80::1";
    let texts = [200, 150, 100]
        .map(|priority| conf(priority, inside, "").replace("10.9.0.70", "fe80::70\n 2001:db8::70"));
    let rehearsal = play(&[("a", &texts[0]), ("b", &texts[1]), ("c", &texts[2])]);
    assert!(rehearsal.is_content(), "{}", rehearsal.text());
}

#[test]
fn the_example_configuration_comes_through() {
    let text = fs::read_to_string(root().join("etc/glha.conf.example")).expect("example");
    let rehearsal = play(&[("first", &text), ("second", &text)]);
    assert_eq!(rehearsal.doubts, Vec::<String>::new());
    assert!(rehearsal.is_content(), "{}", rehearsal.text());
    compare("example.txt", &rehearsal.text());
    compare("example.svg", &rehearsal.picture());
    compare("failover.svg", &scene(&rehearsal.picture(), "power-off of the master"));
}

#[test]
fn the_article_s_pair_is_warned() {
    let read =
        |name: &str| fs::read_to_string(root().join("tests/data/conf").join(name)).expect("file");
    let (master, backup) = (read("article-master.conf"), read("article-backup.conf"));
    let rehearsal = play(&[("master", &master), ("backup", &backup)]);
    assert!(rehearsal.doubts.iter().any(|doubt| doubt.contains("equal priorities")));
    assert!(
        rehearsal
            .doubts
            .iter()
            .any(|doubt| doubt.contains("weight 2, so its failure is never a fault"))
    );
    compare("article.txt", &rehearsal.text());
}

#[test]
fn the_command_takes_one_file_two_or_a_file_with_ids() {
    let example = root().join("etc/glha.conf.example");
    let file = example.to_string_lossy().into_owned();
    let (first, second) = (format!("{file}@first"), format!("{file}@second"));
    let said = run(&["rehearse", &first, &second]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    // The hooks are not installed where the tests run, and that is said before everything else.
    assert!(text.contains("Instance VI_1 on first, second, with storage"), "{text}");
    assert!(
        text.contains("11 scenes, no warnings; the service came back in all of them"),
        "{text}"
    );

    let said = run(&["rehearse", &first]);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stdout).contains("equal priorities"));

    let folder = std::env::temp_dir().join(format!("glha-rehearse-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("folder");
    let svg = folder.join("scenes.svg");
    let said = run(&["rehearse", "--svg", &svg.to_string_lossy(), &first, &second]);
    assert!(!String::from_utf8_lossy(&said.stdout).is_empty());
    let picture = fs::read_to_string(&svg).expect("picture");
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    fs::remove_dir_all(&folder).expect("clean up");

    let licence = root().join("LICENSE-MIT").to_string_lossy().into_owned();
    for (arguments, status, text) in [
        (&["rehearse"][..], 1, "Name the configuration"),
        (&["rehearse", "/nowhere"], 6, "/nowhere: No such file"),
        (&["rehearse", "--instance", "VI_9", &first], 1, "no instance VI_9; all nodes have: VI_1"),
        (&["rehearse", "--wrong", &first], 1, "--wrong"),
        (&["rehearse", &licence], 2, "no instance to play"),
    ] {
        let said = run(arguments);
        let error = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(error.contains(text), "{arguments:?}: {error}");
    }
}

/// The picture of one scene alone: what the README begins with.
fn scene(picture: &str, title: &str) -> String {
    let (head, panels) = picture.split_once("<g ").expect("scenes");
    let mut panels = panels.split("<g ");
    let scene = panels.find(|panel| panel.contains(title)).expect("that scene");
    let scene = scene.split_once('>').expect("a group").1.trim_end_matches("</svg>\n");
    let (first, rest) = head.split_once('\n').expect("lines");
    let height = first.split('"').nth(5).expect("a height");
    let first = first.replace(height, "250");
    format!("{first}\n{rest}<g transform=\"translate(0 72.0)\">{scene}</svg>\n")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_glha")).args(arguments).output().expect("glha")
}

fn compare(name: &str, text: &str) {
    let path = root().join("tests/data/rehearse").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).expect("write");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        let line = expected.lines().zip(text.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| expected.lines().count().min(text.lines().count()));
        panic!(
            "{}:{}: `{}` is now `{}`; if that is meant: BLESS=1 cargo test --test rehearse",
            path.display(),
            line + 1,
            expected.lines().nth(line).unwrap_or_default(),
            text.lines().nth(line).unwrap_or_default()
        );
    }
}
