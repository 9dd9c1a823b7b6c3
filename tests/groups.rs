//! Sync groups beside keepalived, and in its place; and a group whose storage a mount hook gates.
//!
//! Every host has a member over IPv4 on eth0 and one over IPv6 on eth1.

mod lab;

use lab::{Daemon, Host, Lab, Plan, Subject, seconds};
use nix::sys::signal::Signal;

/// A takeover at an interval of 1 s takes at most 4 s; the rest is for a busy machine.
const TAKEOVER: f64 = 20.0;
/// The virtual address of the member on eth0.
const FOUR: &str = "172.16.51.70";
/// That of the member on eth1, and as the kernel lists it.
const SIX: &str = "fd00:51::70";
const SIX_HEX: &str = "fd000051000000000000000000000070";

/// Notes its arguments.
const NOTE: &str = "#!/bin/sh\necho \"$*\" >>/run/notify.log\n";

fn pair() -> Lab {
    let glha = Subject::Glha.path();
    let hosts = vec![("a", "172.16.51.11"), ("b", "172.16.51.12")];
    let lab = Lab::new(&Plan { hosts, disk: None, glha });
    for (n, host) in lab.hosts.iter().enumerate() {
        host.sh(&format!(
            "ip link add link eth0 name eth1 type macvlan mode bridge
            echo 0 >/proc/sys/net/ipv6/conf/eth1/disable_ipv6
            echo 0 >/proc/sys/net/ipv6/conf/eth1/accept_dad
            echo none >/proc/sys/net/ipv6/conf/eth1/addr_gen_mode 2>/dev/null || :
            echo 1 >/proc/sys/net/ipv6/conf/eth1/keep_addr_on_down
            ip link set eth1 up
            ip addr add fe80::{n}1/64 dev eth1 nodad"
        ));
        host.write_script("/etc/note.sh", NOTE);
    }
    lab
}

/// The members and their group, which notes everything that it and its members are told.
fn conf(priority: u8) -> String {
    let notify = |what: &str| {
        let states = ["master", "backup", "fault", "stop"];
        let line = |state: &str| format!("notify_{state} \"/etc/note.sh {what} {state}\"\n");
        states.map(line).concat() + "notify /etc/note.sh\n"
    };
    format!(
        "global_defs {{
enable_script_security
script_user root
}}
vrrp_sync_group G {{
group {{
four
six
}}
{}}}
vrrp_instance four {{
interface eth0
virtual_router_id 51
priority {priority}
advert_int 1
virtual_ipaddress {{
{FOUR}
}}
{}}}
vrrp_instance six {{
interface eth1
virtual_router_id 51
priority {priority}
advert_int 1
virtual_ipaddress {{
fe80::70
{SIX}
}}
{}}}
",
        notify("G"),
        notify("four"),
        notify("six"),
    )
}

/// The lines that the scripts of a host have noted since `from`, sorted: scripts of several owners
/// run beside one another.
fn noted(host: &Host, from: usize) -> Vec<String> {
    let mut lines: Vec<String> =
        host.read("/run/notify.log").lines().skip(from).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What a whole group is told when it enters a state.
fn told(state: &str, priority: u8) -> Vec<String> {
    let small = state.to_lowercase();
    let mut lines = vec![format!("GROUP G {state} 0"), format!("G {small}")];
    for member in ["four", "six"] {
        lines.push(format!("INSTANCE {member} {state} {priority}"));
        lines.push(format!("{member} {small}"));
    }
    lines.sort();
    lines
}

/// Waits until the scripts of a host were told this, and nothing else, since `from`; tells how many
/// lines there are then.
#[track_caller]
fn was_told(lab: &Lab, host: &Host, from: usize, state: &str, priority: u8) -> usize {
    let expected = told(state, priority);
    let what = format!("{}: {state}: {expected:?}", host.name);
    lab.wait_for(&what, seconds(TAKEOVER), || noted(host, from) == expected);
    from + expected.len()
}

#[track_caller]
fn owns_both(lab: &Lab, name: &str) {
    let what = format!("{name} has both addresses, and nobody else any");
    lab.wait_for(&what, seconds(TAKEOVER), || {
        let has_six = |host: &&Host| host.read("/proc/1/net/if_inet6").contains(SIX_HEX);
        let six: Vec<&str> = lab.hosts.iter().filter(has_six).map(|host| host.name).collect();
        lab.owners(FOUR) == [name] && six == [name]
    });
}

/// From start to stop, with one member's interface going down and up between.
fn failover(a: Subject, b: Subject) {
    let lab = pair();
    let [first, second] = [&lab.hosts[0], &lab.hosts[1]];
    let mut a: Daemon = a.start(first, &conf(150));
    owns_both(&lab, "a");
    let at = was_told_both(&lab, first);
    let _b = b.start(second, &conf(100));
    let b_at = was_told(&lab, second, 0, "BACKUP", 100);

    first.sh("ip link set eth1 down");
    owns_both(&lab, "b");
    let at = was_told(&lab, first, at, "FAULT", 150);
    let b_at = was_told(&lab, second, b_at, "MASTER", 100);
    let zeros = zeros(&lab, "a");
    lab.check(&format!("one priority 0 of the member that could speak, not {zeros}"), zeros == 1);

    // It comes back as a backup, and takes both over again.
    first.sh("ip link set eth1 up");
    owns_both(&lab, "a");
    let expected = [told("BACKUP", 150), told("MASTER", 150)].concat().len();
    lab.wait_for("the scripts of a", seconds(TAKEOVER), || noted(first, at).len() == expected);
    let at = at + expected;
    let b_at = was_told(&lab, second, b_at, "BACKUP", 100);

    a.signal(Signal::SIGTERM);
    owns_both(&lab, "b");
    a.wait(seconds(TAKEOVER));
    was_told(&lab, first, at, "STOP", 150);
    was_told(&lab, second, b_at, "MASTER", 100);
    let zeros = self::zeros(&lab, "a");
    lab.check(&format!("one more at the stop, not {zeros}"), zeros == 2);
}

/// The start of the first: a backup, then master.
#[track_caller]
fn was_told_both(lab: &Lab, host: &Host) -> usize {
    let mut expected = [told("BACKUP", 150), told("MASTER", 150)].concat();
    expected.sort();
    lab.wait_for("the scripts of the start", seconds(TAKEOVER), || noted(host, 0) == expected);
    expected.len()
}

/// How many adverts of priority 0 the member on eth0 has sent.
fn zeros(lab: &Lab, name: &str) -> usize {
    lab.adverts(name).iter().filter(|(_, advert)| advert.priority == 0).count()
}

#[test]
fn keepalived_keepalived() {
    failover(Subject::Keepalived, Subject::Keepalived);
}

#[test]
fn keepalived_glha() {
    failover(Subject::Keepalived, Subject::Glha);
}

#[test]
fn glha_keepalived() {
    failover(Subject::Glha, Subject::Keepalived);
}

/// The mount hook of a group: what it saw of the addresses, and its name.
const MOUNT: &str = "#!/bin/sh
addresses() { ip -o addr | grep -c -e '172.16.51.70/' -e 'fd00:51::70/'; }
[ \"$1\" = probe ] && exit 1
echo \"$* $GLHA_GROUP begin $(addresses)\" >>/run/mount.log
[ \"$1\" = acquire ] && sleep 1.5
echo \"$* $GLHA_GROUP end $(addresses)\" >>/run/mount.log
";

/// The group has the storage: taken once before any address, given back once after the last.
#[test]
fn a_group_with_a_mount_hook() {
    let lab = pair();
    let mut daemons = Vec::new();
    for (host, priority) in lab.hosts.iter().zip([150, 100]) {
        host.write_script("/etc/glha/hooks/mount.sh", MOUNT);
        host.write("/etc/keepalived/keepalived.conf", &conf(priority));
        let block = "mount timeout 20\npeers glha";
        let text = format!("include /etc/keepalived/keepalived.conf\nhooks G {{\n{block}\n}}\n");
        host.write("/etc/glha/glha.conf", &text);
        daemons.push(Subject::Glha.start_with(host, "/etc/glha/glha.conf"));
        if host.name == "a" {
            owns_both(&lab, "a");
        }
    }
    let [first, second] = [&lab.hosts[0], &lab.hosts[1]];
    was_told(&lab, second, 0, "BACKUP", 100);
    let adverts = lab.adverts("a").len();
    lab.check("adverts while the storage was taken", adverts >= 2);
    lab.wait_for("b hears the master", seconds(TAKEOVER), || lab.adverts("a").len() > adverts + 1);

    first.sh("ip link set eth1 down");
    owns_both(&lab, "b");
    let log = |host: &Host| host.read("/run/mount.log");
    let of_a = "acquire G G begin 0\nacquire G G end 0\nrelease G G begin 0\nrelease G G end 0\n";
    lab.check(&format!("the hook of a: {}", log(first)), log(first) == of_a);
    let of_b = "acquire G G begin 0\nacquire G G end 0\n";
    lab.check(&format!("the hook of b: {}", log(second)), log(second) == of_b);
    // The leader's interface is up: its priority 0 was the proof, so nobody had to wait.
    let log = daemons[1].log();
    lab.check("the release was proven", log.contains("Acquiring the storage, released"));
}
