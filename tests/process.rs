//! The daemon as a process: notify FIFOs, scripts of start and stop, names, network namespaces. Where
//! keepalived has the same, both live the same life and are compared.

mod lab;

use lab::{Daemon, Host, Lab, Subject, seconds};
use nix::sys::signal::Signal;
use std::os::unix::fs::MetadataExt;

/// For anything that happens at once; the rest is for a busy machine.
const SOON: f64 = 20.0;

const READER: &str = r#"#!/bin/sh
echo $$ >/tmp/reader.pid
for fifo; do :; done
while read -r line; do echo "$line" >>/tmp/lines; done <"$fifo"
"#;
const ORDER: &str = "#!/bin/sh\necho \"$1\" >>/tmp/order\n";

/// An instance that is master after a third of a second.
fn instance(name: &str, link: &str, vrid: u8, more: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface {link}\nvirtual_router_id {vrid}\npriority 100\nversion 3\n\
         advert_int 0.1\nvirtual_ipaddress {{\n172.16.51.{}\n}}\n{more}\n}}\n",
        100 + u32::from(vrid)
    )
}

fn start(subject: Subject, host: &Host, file: &str, options: &[&str]) -> Daemon {
    let all = [&["-n", "-l", "-D", "-P", "-f", file], options].concat();
    host.start(subject.program(), &all)
}

fn pid_files(host: &Host) -> String {
    host.sh("find /run -name '*.pid' | sort")
}

/// What can be seen of one daemon's life from outside.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    pid_files: String,
    mode: u32,
    dump: bool,
    lines: Vec<String>,
    order: String,
    left: String,
    status: Option<i32>,
    reports: Vec<(&'static str, bool)>,
}

fn live(subject: Subject) -> Life {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/reader", READER);
    host.write_script("/etc/order", ORDER);
    let more = "track_file {\nboost weight 1\n}\nnotify \"/etc/order notify\"";
    let conf = format!(
        "instance second
global_defs {{
    enable_script_security
    script_user root
    notify_fifo /run/events
    notify_fifo_script \"/etc/reader with words\"
    vrrp_notify_fifo /run/unread
    vrrp_notify_priority_changes
    startup_script \"/etc/order startup\"
    shutdown_script \"/etc/order shutdown\"
    data_use_instance
    reload_time_file /tmp/when
}}
track_file boost {{\nfile /tmp/boost\n}}\n{}",
        instance("V", "eth0", 1, more)
    );
    host.write("/etc/keepalived/a.conf", &conf);
    let mut daemon = start(subject, host, "/etc/keepalived/a.conf", &[]);
    let has = |text: &str| host.read("/tmp/lines").contains(text);
    let soon = |what: &str, of: &dyn Fn() -> bool| lab.wait_for(what, seconds(SOON), of);
    soon("the line of the master", &|| has("INSTANCE \"V\" MASTER 100\n"));
    let mode = |path: &str| std::fs::metadata(host.path(path)).expect("a FIFO").mode() & 0o7777;
    let pid_files = pid_files(host);
    host.write("/tmp/boost", "10\n");
    soon("the line of the priority", &|| has("INSTANCE \"V\" MASTER_PRIORITY 110\n"));

    // One that has ended is started again by a reload, and not before.
    let reader = host.read("/tmp/reader.pid");
    host.sh(&format!("kill {reader}"));
    soon("the reader is missed", &|| daemon.log().contains("vrrp notify fifo script terminated"));
    host.sh("date -d '2 seconds' +%H:%M:%S >/tmp/when");
    soon("another reader", &|| host.read("/tmp/reader.pid") != reader);
    lab.check("the time is used up", !host.exists("/tmp/when"));

    daemon.signal(Signal::SIGUSR1);
    soon("the dump", &|| host.exists("/tmp/keepalived.second.data"));
    let mode = mode("/run/events");
    let status = daemon.wait_after_term();
    // keepalived ends its reader before it has read the last line, and after a reload tells a
    // priority of a backup that it is not.
    let lines = host.read("/tmp/lines");
    let strange = |line: &&str| line.ends_with(" STOP 110") || line.contains(" BACKUP_PRIORITY ");
    let lines = lines.lines().filter(|line| !strange(line)).map(str::to_owned);
    let log = daemon.log();
    let reports = [
        "Running startup script /etc/order",
        "startup script script succeeded",
        "Scheduling reload for ",
        "Running shutdown script /etc/order",
        "shutdown script script succeeded",
    ];
    if subject == Subject::Glha {
        lab.check("the last line arrives", host.read("/tmp/lines").ends_with(" STOP 110\n"));
    }
    Life {
        pid_files,
        mode,
        dump: host.exists("/tmp/keepalived.data"),
        lines: lines.collect(),
        order: host.read("/tmp/order"),
        left: host.sh("ls -d /run/events /run/unread /run/keepalived 2>&1 || :"),
        status,
        reports: reports.map(|line| (line, log.contains(line))).into(),
    }
}

trait Ending {
    fn wait_after_term(&mut self) -> Option<i32>;
}

impl Ending for Daemon {
    fn wait_after_term(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait(seconds(SOON)).code()
    }
}

#[test]
fn fifos_scripts_and_names_are_keepaliveds() {
    let (theirs, ours) = (live(Subject::Keepalived), live(Subject::Glha));
    assert_eq!(theirs, ours);
    assert_eq!(ours.lines.len(), 3, "BACKUP, MASTER and a priority: {:?}", ours.lines);
    assert!(ours.order.starts_with("startup\nnotify\n"), "{}", ours.order);
    assert!(ours.order.ends_with("notify\nshutdown\n"), "{}", ours.order);
}

/// A startup script that makes the interface, and one that does not end: both are waited for, the
/// latter as long as its deadline.
#[test]
fn a_start_waits_for_its_script_but_not_for_ever() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/order", ORDER);
    host.write_script(
        "/etc/startup",
        "#!/bin/sh\ntrap : TERM\nip link add late type veth peer name wire\nip link set wire up\nip addr add 10.9.9.9/24 dev late\n\
         ip link set late up\n: >/tmp/made\nsleep 1000\nsleep 1000\n",
    );
    let conf = |timeout: u32| {
        format!(
            "global_defs {{\nenable_script_security\nscript_user root\nstartup_script /etc/startup\n\
             startup_script_timeout {timeout}\nshutdown_script \"/etc/order shutdown\"\n}}\n{}",
            instance("V", "late", 1, "")
        )
    };
    host.write("/etc/keepalived/a.conf", &conf(1000));
    let tested = host.run(&format!("{} -t -f /etc/keepalived/a.conf", Subject::Glha.program()));
    lab.check(&tested.said, tested.said.ends_with("would start\n"));
    let mut daemon = start(Subject::Glha, host, "/etc/keepalived/a.conf", &[]);
    lab.wait_for("the script runs", seconds(SOON), || host.exists("/tmp/made"));
    lab.check("nothing else has begun", !daemon.log().contains("BACKUP"));
    let status = daemon.wait_after_term();
    lab.check(
        "told to stop, it stops",
        status == Some(0) && host.read("/tmp/order") == "shutdown\n",
    );

    host.sh("rm /tmp/made; ip link del late");
    host.write("/etc/keepalived/a.conf", &conf(1));
    let mut daemon = start(Subject::Glha, host, "/etc/keepalived/a.conf", &[]);
    lab.wait_for("the address", seconds(SOON), || host.has_address("172.16.51.101"));
    lab.check("it says why", daemon.log().contains("startup script timed out"));
    assert_eq!(daemon.wait_after_term(), Some(0));

    host.write_script("/etc/startup", "#!/bin/sh\n");
    host.sh("ip link del late");
    let mut daemon = start(Subject::Glha, host, "/etc/keepalived/a.conf", &[]);
    lab.check("without the interface", daemon.wait(seconds(SOON)).code() == Some(2));
    lab.check("it says which", daemon.log().contains("interface late for vrrp_instance V"));
}

const NETNS: &str = "ip netns add lb\nip netns exec lb sh -c 'ip link set lo up
    ip link add e0 type veth peer name e1; ip link set e1 up; ip addr add 10.9.9.9/24 dev e0; ip link set e0 up'";

#[test]
fn two_daemons_in_two_networks() {
    let mut seen = Vec::new();
    for subject in [Subject::Keepalived, Subject::Glha] {
        let lab = Lab::single();
        let host = &lab.hosts[0];
        host.sh(NETNS);
        host.write_script(
            "/etc/notify",
            "#!/bin/sh\n[ \"$3\" = MASTER ] || exit 0\nip -br link | grep -c '^e0@' >>/tmp/inside\n",
        );
        let globals = "global_defs {\nenable_script_security\nscript_user root\n}\n";
        let notify = "notify /etc/notify";
        let first = format!("{globals}{}", instance("V", "eth0", 1, notify));
        let second =
            format!("net_namespace lb\ninstance two\n{globals}{}", instance("V", "e0", 2, notify));
        host.write("/etc/keepalived/first.conf", &first);
        host.write("/etc/keepalived/second.conf", &second);
        let begin = |n: &str| start(subject, host, &format!("/etc/keepalived/{n}.conf"), &[]);
        let mut daemons = [begin("first"), begin("second")];
        let inside = |address: &str| {
            host.sh(&format!("ip netns exec lb ip -br addr show to {address} | wc -l")) == "1\n"
        };
        lab.wait_for("two masters", seconds(SOON), || {
            host.has_address("172.16.51.101") && inside("172.16.51.102")
        });
        lab.wait_for("two scripts", seconds(SOON), || host.read("/tmp/inside").len() == 4);
        lab.check("each in its network", host.sh("sort /tmp/inside") == "0\n1\n");
        lab.check("nothing outside", !host.has_address("172.16.51.102"));
        for name in ["first", "second"] {
            let mut again = begin(name);
            assert_eq!(again.wait(seconds(SOON)).code(), Some(0));
            lab.check("not twice", again.log().contains("daemon is already running"));
        }
        seen.push(pid_files(host));
        let mut nowhere = start(subject, host, "/etc/keepalived/first.conf", &["-s", "nowhere"]);
        // keepalived says so, and exits with 0.
        let status = if subject == Subject::Glha { 2 } else { 0 };
        assert_eq!(nowhere.wait(seconds(SOON)).code(), Some(status));
        for daemon in &mut daemons {
            assert_eq!(daemon.wait_after_term(), Some(0));
        }
        lab.check("nothing is left", pid_files(host).is_empty() && !inside("172.16.51.102"));
        lab.check("no folder either", !host.exists("/run/keepalived"));
    }
    assert_eq!(seen[0], seen[1]);
}

/// What a crash has left is given back whatever else is wrong with the configuration, and what the
/// configuration does not know is named.
#[test]
fn release_does_what_it_can() {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write_script("/etc/mount", "#!/bin/sh\necho \"$1\" >>/tmp/order\n");
    let hook = |name: &str| format!("hooks {name} {{\nmount /etc/mount timeout 5\n}}\n");
    let v = format!("{}{}", instance("V", "eth0", 1, ""), hook("V"));
    let w = format!("{}{}", instance("W", "eth0", 2, ""), hook("W"));
    host.write("/etc/keepalived/a.conf", &format!("instance two\n{v}{w}"));
    let mut daemon = start(Subject::Glha, host, "/etc/keepalived/a.conf", &[]);
    let both = || host.has_address("172.16.51.101") && host.has_address("172.16.51.102");
    lab.wait_for("both addresses", seconds(SOON), both);
    lab.check("a folder of its own", host.exists("/run/glha/instance.two/V.json"));
    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(SOON));
    host.sh("rm /tmp/order");
    let release = format!("{} release -f /etc/keepalived/a.conf", Subject::Glha.program());

    host.write(
        "/etc/keepalived/a.conf",
        &format!("instance two\n{v}static_routes {{\n10.77.0.0/16 dev eth0 vrf blue\n}}\n"),
    );
    let ran = host.run(&release);
    lab.check(&ran.said, ran.said.contains("not supported yet") || ran.said.contains("Unknown"));
    lab.check("V is given back", host.read("/tmp/order") == "release\n");
    lab.check("with its address", !host.has_address("172.16.51.101"));
    lab.check(&ran.said, ran.status.code() == Some(1) && ran.said.contains("the storage of W may"));

    host.write("/etc/keepalived/a.conf", &format!("instance two\nno such\nhooks X {{\n}}\n{v}{w}"));
    let ran = host.run(&release);
    lab.check(&ran.said, ran.status.success() && host.read("/tmp/order") == "release\nrelease\n");
    lab.check("nothing is left", !both() && !host.has_address("172.16.51.102"));
}
