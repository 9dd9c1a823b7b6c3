//! Configurations that `-t` of keepalived and of glha judge otherwise, in a network with the
//! interfaces eth0 and eth1.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Of one program: the status of `-t`, and what it says (nothing at all, if that is empty).
type Said = (i32, &'static str);

/// A configuration, and what keepalived and glha make of it.
struct Reading {
    text: String,
    theirs: Said,
    ours: Said,
}

const OPENING: &str = "global_defs {\nenable_script_security\nscript_user root\n}\n";

fn global(lines: &str) -> String {
    format!("global_defs {{\n{lines}\n}}\n")
}

fn instance(name: &str, vrid: u8, more: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\npriority 100\n{more}\n\
         virtual_ipaddress {{\n10.9.0.{vrid}/24\n}}\n}}\n"
    )
}

fn block(name: &str, line: &str) -> String {
    instance("A", 1, &format!("{name} {{\n{line}\n}}"))
}

/// Puts every one before both programs and gathers what is otherwise than told here.
fn judge(readings: &[Reading]) {
    super::lab::require(&["keepalived"]);
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = format!("glha-readings-{}-{}", std::process::id(), COUNTER.fetch_add(1, Relaxed));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let network = "ip link add eth0 type veth peer name far0\nip link add eth1 type veth peer name \
                   far1\nip link set eth0 up\nip addr add 10.9.0.100/24 dev eth0\n";
    let mut wrong = String::new();
    for (number, reading) in readings.iter().enumerate() {
        let path = folder.join(format!("{number}.conf"));
        fs::write(&path, OPENING.to_owned() + &reading.text).expect("written");
        let programs = [
            ("keepalived", "/usr/sbin/keepalived", reading.theirs),
            ("glha", env!("CARGO_BIN_EXE_glha"), reading.ours),
        ];
        for (name, program, (status, words)) in programs {
            let script = format!("{network}exec '{program}' -t -f '{}'", path.display());
            let out = Command::new("unshare").args(["-n", "sh", "-ec", &script]).output();
            let out = out.expect("unshare starts");
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            let said = said.trim_end().trim_end_matches("would start").trim_end();
            let is_said = if words.is_empty() { said.is_empty() } else { said.contains(words) };
            if out.status.code() != Some(status) || !is_said {
                let wanted = format!("{status} with `{words}`");
                let _ = writeln!(
                    wrong,
                    "{}{name}: wanted {wanted}, got {:?}\n{said}\n",
                    reading.text, out.status
                );
            }
        }
    }
    let _ = fs::remove_dir_all(&folder);
    assert!(wrong.is_empty(), "{wrong}");
}

/// What ends keepalived, or is left out by it with a word or none, prevents a start of glha.
#[test]
fn what_would_be_another_node_does_not_start() {
    let unicast = |own: &str, other: &str| {
        format!("unicast_src_ip 10.9.0.{own}\nunicast_peer {{\n10.9.0.{other}\n}}\n")
    };
    let of = |text: String, theirs, ours| Reading { text, theirs: (theirs, ""), ours: (4, ours) };
    let named = |text, words, ours| Reading { theirs: (5, words), ..of(text, 5, ours) };
    judge(&[
        // Names that are none.
        of(global("dynamic_interfaces") + &instance("A", 1, "").replace("eth0", "a/b"), 0, "a/b"),
        of(global("nftables a$b") + &instance("A", 1, ""), 0, "not a name for a table"),
        of("instance a/b\n".to_owned() + &instance("A", 1, ""), 0, "a part of paths"),
        // What is unknown, or not done.
        of(
            instance(
                "A",
                1,
                &format!("version 3\nold_unicast_checksum\n{}", unicast("100", "201")),
            ),
            0,
            "not supported yet",
        ),
        of(block("virtual_routes", "10.8.0.0/24 dev eth0 encap ila 1:2:3:4"), 0, "encap ila"),
        named(
            block("virtual_routes", "10.8.0.0/24 dev eth0 encap nosuch 7"),
            "Unknown encap type",
            "encap nosuch",
        ),
        // What shall be tracked and is not there.
        named(block("track_process", "nosuch"), "ignoring", "go on without it"),
        named(block("track_file", "nosuch"), "ignoring", "go on without it"),
        named(block("track_bfd", "nosuch"), "ignoring", "go on without it"),
        // A block without its beginning.
        named(
            instance("A", 1, "track_script\nx\n"),
            "track script { not found",
            "Missing '{' at beginning",
        ),
        named(
            instance("A", 1, "").replace("ipaddress {", "ipaddress"),
            "Extra '}'",
            "Missing '{' at beginning",
        ),
        // An interface that is not there, and one that is another's.
        named(
            instance("A", 1, "").replace("eth0", "eth7"),
            "Non-existent interface",
            "eth7 for vrrp_instance A doesn't exist",
        ),
        named(
            instance("A", 1, "use_vmac eth1"),
            "ignoring vmac if_name",
            "eth1 already exists and is not a private macvlan",
        ),
        named(
            instance("A", 1, &format!("use_vmac va\n{}", unicast("100", "201")))
                + &instance("B", 1, &format!("use_vmac vb\n{}", unicast("202", "203"))),
            "setting",
            "va and vb would both have the MAC address",
        ),
        of(instance("A", 1, "version 2").replace("10.9.0.1", "fd00::1"), 0, "no IPv6"),
        of(
            instance("A", 1, "unicast_src_ip 10.9.0.100\nunicast_fault_no_peer\nunicast_peer {\n}"),
            0,
            "without any peers",
        ),
    ]);
}

/// A script that is not defined is left out by both.
#[test]
fn a_tracked_script_that_is_not_defined_is_left_out() {
    let said = "track script nosuch not found, ignoring";
    judge(&[Reading { text: block("track_script", "nosuch"), theirs: (5, said), ours: (5, said) }]);
}

/// What keepalived names, or ends with, and glha carries out, or has nothing to do with.
#[test]
fn what_is_understood_all_the_same() {
    let of = |text: String, words, ours| Reading { text, theirs: (5, words), ours };
    let long = format!("# {:01030} vrrp_garbage\n", 0);
    let unicast = "unicast_src_ip 10.9.0.200\nunicast_peer {\n10.9.0.201\n}";
    let virtual_server = "virtual_server 10.9.0.9 80 {\nlb_algo nosuch\nreal_server 10.9.0.10 80 \
                          {\nMISC_CHECK {\nmisc_path /nonexistent\n}\n}\n}\n";
    let script = "vrrp_script S {\nscript /bin/true\ninterval 1.5\ntimeout 0.5\nfall 2\n}\n";
    let vmac = instance("A", 1, "use_vmac vrrp.1") + &block("track_interface", "vrrp.1");
    let vmac = vmac.replacen(
        "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\npriority 100\ntrack",
        "vrrp_instance B {\ninterface eth0\nvirtual_router_id 2\npriority 100\ntrack",
        1,
    );
    judge(&[
        of(
            instance("A", 1, unicast)
                .replacen("interface eth0\n", "", 1)
                .replace("/24\n", "/24 dev eth0\n"),
            "Unknown interface",
            (0, ""),
        ),
        of(long + &instance("A", 1, ""), "Unknown keyword '0000", (0, "")),
        of(vmac, "interface vrrp.1 doesn't exist", (0, "")),
        of(
            global("smtp_connect_timeout abc\nlvs_timeouts tcp x") + &instance("A", 1, ""),
            "'abc' must be in",
            (0, "note: smtp_connect_timeout"),
        ),
        of(instance("A", 1, "no_virtual_ipaddress"), "Unknown keyword", (0, "")),
        of(global("vrrp_owner_ignore_adverts") + &instance("A", 1, ""), "Unknown keyword", (0, "")),
        of(
            block("virtual_routes", "inet 10.8.0.0/24 dev eth0"),
            "must have a destination",
            (0, ""),
        ),
        of(
            block("virtual_rules", "inet from 10.8.0.0/24 table 5 priority 7"),
            "Unknown rule option",
            (0, ""),
        ),
        of(
            instance("A", 1, "") + virtual_server,
            "Invalid lvs_scheduler",
            (0, "LVS is not glha's"),
        ),
        of(
            script.to_owned() + &block("track_script", "S"),
            "interval '1.5' must be between",
            (0, "takes whole seconds only"),
        ),
    ]);
}

#[test]
fn a_script_in_a_sticky_folder_is_not_secure() {
    let folder = PathBuf::from(format!("/tmp/glha-sticky-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let script = folder.join("script");
    fs::write(&script, "#!/bin/sh\n").expect("written");
    for (path, mode) in [(&script, 0o755), (&folder, 0o1777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    }
    let text = instance("A", 1, &format!("notify {}", script.display()));
    let ours = (0, "(mode 1777) can be changed by others than root");
    judge(&[Reading { text, theirs: (0, ""), ours }]);
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn a_range_of_ports_ends_where_ports_end() {
    let rule = "from 10.8.0.0/24 sport 1-70000 table 5 priority 77";
    judge(&[Reading {
        text: block("virtual_rules", rule),
        theirs: (0, ""),
        ours: (5, "invalid sport range"),
    }]);
}

/// keepalived takes bytes as they are. They are refused in every value that glha carries out, and no
/// matter in comments and in what has no effect.
#[test]
fn bytes_that_are_no_text_are_refused_where_they_count() {
    super::lab::require(&["keepalived"]);
    let path = std::env::temp_dir().join(format!("glha-bytes-{}.conf", std::process::id()));
    let network = "ip link add eth0 type veth peer name far0\nip link set eth0 up\n\
                   ip addr add 10.9.0.100/24 dev eth0\n";
    let judge = |program: &str, text: &str| {
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("Latin-1")).collect();
        fs::write(&path, OPENING.bytes().chain(bytes).collect::<Vec<u8>>()).expect("written");
        let script = format!("{network}exec '{program}' -t -f '{}'", path.display());
        let out = Command::new("unshare").args(["-n", "sh", "-ec", &script]).output();
        let out = out.expect("unshare starts");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let script =
        |what: &str| format!("vrrp_script S {{\nscript {what}\n}}\n{}", block("track_script", "S"));
    let auth = |word: &str| format!("authentication {{\nauth_type PASS\nauth_pass {word}\n}}");
    let refused = [
        instance("B\u{fc}ro", 1, ""),
        instance("A", 1, "").replace("eth0", "\u{e9}th0"),
        global("router_id caf\u{e9}") + &instance("A", 1, ""),
        instance("A", 1, &auth("p\u{e4}ss")),
        instance("A", 1, "notify \"/bin/true caf\u{e9}\""),
        script("\"/bin/true \u{ff}\""),
        script("\"/bin/true '\\xe9'\""),
        global("vrrp_notify_fifo /run/caf\u{e9}") + &instance("A", 1, ""),
        format!("track_file F {{\nfile /run/caf\u{e9}\n}}\n{}", block("track_file", "F")),
        format!("vrrp_track_process P {{\nprocess caf\u{e9}\n}}\n{}", instance("A", 1, "")),
        format!(
            "vrrp_sync_group caf\u{e9} {{\ngroup {{\nA\nB\n}}\n}}\n{}{}",
            instance("A", 1, ""),
            instance("B", 2, "")
        ),
        "$X=caf\u{e9}\n".to_owned() + &global("router_id $X") + &instance("A", 1, ""),
        format!("include /nonexistent/caf\u{e9}.conf\n{}", instance("A", 1, "")),
        "static_routes {\n10.8.0.0/24 dev \u{e9}th0\n}\n".to_owned() + &instance("A", 1, ""),
    ];
    let (mut wrong, mut starts) = (String::new(), 0);
    for text in refused {
        let (theirs, _) = judge("/usr/sbin/keepalived", &text);
        starts += u32::from(theirs == Some(0));
        let (ours, said) = judge(env!("CARGO_BIN_EXE_glha"), &text);
        let is_named = said.contains("error: not UTF-8");
        if ours != Some(4) || !is_named {
            let _ = writeln!(wrong, "{text}{ours:?} {said}\n");
        }
    }
    assert!(starts >= 8, "keepalived takes only {starts} of them");
    for text in [
        format!("# caf\u{e9}\n{}", instance("A", 1, "# \u{ff}")),
        global("process_name caf\u{e9}") + &instance("A", 1, ""),
        instance("A", 1, "") + "virtual_server caf\u{e9} 80 {\n}\n",
    ] {
        let (ours, said) = judge(env!("CARGO_BIN_EXE_glha"), &text);
        if ours == Some(4) {
            let _ = writeln!(wrong, "{text}{said}\n");
        }
    }
    let _ = fs::remove_file(&path);
    assert!(wrong.is_empty(), "{wrong}");
}
