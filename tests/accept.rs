//! `no_accept` and strict mode: what a master takes, and the tables that see to it, beside those of a
//! keepalived that is given the same file.

mod lab;

use lab::{Daemon, Host, Lab, Subject, conf, require, seconds};
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

const LIMIT: f64 = 15.0;
const VIP: &str = "172.16.51.70";

/// Both families, a link-local address among them, in two instances; quick.
fn closed(priority: u8) -> String {
    format!(
        "global_defs {{
    nftables walls
    nftables_priority -7
    nftables_counters
}}
vrrp_instance FOUR {{
    interface eth0
    virtual_router_id 51
    priority {priority}
    version 3
    advert_int 0.2
    no_accept
    virtual_ipaddress {{
        {VIP}
        172.16.51.71/24
    }}
    virtual_ipaddress_excluded {{
        fd00:51::99
    }}
}}
vrrp_instance SIX {{
    interface eth0
    virtual_router_id 52
    priority {priority}
    advert_int 0.2
    no_accept
    virtual_ipaddress {{
        fe80::51:70
        fd00:51::70
    }}
}}
vrrp_instance OPEN {{
    interface eth0
    virtual_router_id 53
    priority {priority}
    version 3
    advert_int 0.2
    virtual_ipaddress {{
        172.16.51.72
    }}
}}
"
    )
}

/// The tables of a host, in an order of their own, without what was counted.
fn tables(host: &Host) -> Vec<String> {
    let shown = host.sh("nft list ruleset");
    let mut tables: Vec<String> =
        shown.split("\ntable ").map(|table| table.trim_start_matches("table ").into()).collect();
    for table in &mut tables {
        let words: Vec<&str> = table.split_whitespace().collect();
        let is_count = |at: usize| at > 0 && ["packets", "bytes"].contains(&words[at - 1]);
        *table = words
            .iter()
            .enumerate()
            .map(|(at, word)| if is_count(at) { "N" } else { word })
            .collect::<Vec<_>>()
            .join(" ");
    }
    tables.retain(|table| !table.is_empty());
    tables.sort();
    tables
}

fn with_ipv6(host: &Host) {
    host.sh("cd /proc/sys/net/ipv6/conf/eth0; echo 0 >accept_dad; echo 0 >disable_ipv6");
}

fn has_all(host: &Host) -> bool {
    let shown = host.run("ip -o addr show dev eth0").said;
    ["172.16.51.72/32", "172.16.51.71/24", "fd00:51::70/128", "fd00:51::99/128", "fe80::51:70/128"]
        .iter()
        .all(|address| shown.contains(address))
}

fn start(lab: &Lab, subject: Subject, n: usize, text: &str) -> Daemon {
    let daemon = subject.start(&lab.hosts[n], text);
    let is_master = |name: &str| daemon.log().contains(&format!("({name}) Entering MASTER STATE"));
    lab.wait_for("a master", seconds(LIMIT), || {
        ["FOUR", "SIX", "OPEN"].into_iter().all(is_master) && has_all(&lab.hosts[n])
    });
    daemon
}

/// Does the host say anything to who knocks at a port that nobody listens on?
fn answers(lab: &Lab, address: &str) -> bool {
    let to = SocketAddr::new(address.parse().expect("address"), 9);
    let knock = move || TcpStream::connect_timeout(&to, seconds(0.5)).map_err(|e| e.kind());
    let outcome = lab.client.spawn(knock).join().expect("knocks");
    matches!(outcome, Err(ErrorKind::ConnectionRefused))
}

#[test]
fn the_tables_are_keepalived_s() {
    require(&["nft", "keepalived"]);
    let lab = Lab::pair();
    lab.hosts.iter().for_each(with_ipv6);
    let text = closed(100);
    let mut real = start(&lab, Subject::Keepalived, 0, &text);
    let expected = tables(&lab.hosts[0]);
    real.signal(Signal::SIGTERM);
    real.wait(seconds(LIMIT));
    lab.check("there were tables of both families", expected.len() == 2);

    let mut ours = start(&lab, Subject::Glha, 1, &text);
    let found = tables(&lab.hosts[1]);
    assert_eq!(found, expected);
    lab.check("a closed address does not answer", !answers(&lab, VIP));
    lab.check("an open one does", answers(&lab, "172.16.51.72"));

    // A reload opens one instance.
    let host = &lab.hosts[1];
    let open = text.replacen("    no_accept\n", "", 1);
    host.write("/etc/keepalived/keepalived.conf", &open);
    ours.signal(Signal::SIGHUP);
    lab.wait_for("the reload", seconds(LIMIT), || ours.log().contains("Reloaded; 3 instances"));
    lab.check("it answers now", answers(&lab, VIP));
    // Their lines have moved, nothing else.
    lab.check("no address was touched", !ours.log().contains("was removed by somebody"));
    let shown = tables(host).concat();
    lab.check(
        "the other stays closed",
        shown.contains("fd00:51::70") && !shown.contains("ip walls"),
    );
    lab.check("what is open is in no set", !shown.contains("fd00:51::99"));

    // A daemon that is killed leaves them, the next one takes them over, and a backup has none in
    // its sets.
    ours.signal(Signal::SIGKILL);
    ours.wait(seconds(LIMIT));
    lab.check("they are left", tables(host).concat().contains("fd00:51::70"));
    let mut again = start(&lab, Subject::Glha, 1, &open);
    lab.check("they are there again", tables(host).concat().contains("fd00:51::70"));
    let _better = start(&lab, Subject::Keepalived, 0, &closed(200));
    lab.wait_for("a backup", seconds(LIMIT), || !tables(host).concat().contains("fd00:51"));
    again.signal(Signal::SIGTERM);
    again.wait(seconds(LIMIT));
    lab.check("a stop removes them", tables(host).is_empty());
}

/// Two daemons on a host: neither takes the other's tables for what a former run has left.
#[test]
fn each_daemon_has_tables_of_its_own() {
    require(&["nft"]);
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let text = conf(100, "no_accept");
    let other = text.replace("router_id 51", "router_id 52").replace(VIP, "172.16.51.80");
    host.write("/etc/two.conf", &format!("instance two\n{other}"));
    let mut first = Subject::Glha.start(host, &text);
    let mut second =
        host.start(Subject::Glha.program(), &["-n", "-l", "-D", "-f", "/etc/two.conf"]);
    let shown = || host.sh("nft list ruleset");
    let closed = |address: &str| shown().contains(&format!("elements = {{ {address} }}"));
    lab.wait_for("both are closed", seconds(LIMIT), || closed(VIP) && closed("172.16.51.80"));
    lab.check(
        &shown(),
        shown().contains("ip keepalived {") && shown().contains("keepalived.two {"),
    );
    first.signal(Signal::SIGTERM);
    first.wait(seconds(LIMIT));
    lab.check(&shown(), closed("172.16.51.80") && !shown().contains("ip keepalived {"));
    second.signal(Signal::SIGTERM);
    second.wait(seconds(LIMIT));
    lab.check("nobody was disturbed", !second.log().contains("taken away"));
    lab.check("nothing is left", shown().is_empty());
}

/// A packet filter that is started anew begins with `flush ruleset`; others take away less.
#[test]
fn tables_that_are_taken_away_come_back() {
    require(&["nft"]);
    let lab = Lab::single();
    let host = &lab.hosts[0];
    with_ipv6(host);
    let mut daemon = start(&lab, Subject::Glha, 0, &closed(100));
    lab.wait_for("a master", seconds(LIMIT), || tables(host).concat().contains("fd00:51::70"));
    let ours = || -> Vec<String> {
        tables(host).into_iter().filter(|table| table.contains("walls")).collect()
    };
    let whole = ours();
    let others = "table inet other { chain c { type filter hook input priority 5; }; }";
    for loss in [
        "flush ruleset\\ntable inet other { }",
        "flush chain ip6 walls in",
        "flush set ip walls vips",
        "flush ruleset\\ntable ip walls",
    ] {
        host.sh(&format!("printf '{loss}\n' | nft -f -"));
        lab.wait_for(loss, seconds(LIMIT), || ours() == whole);
        lab.check("it does not answer", !answers(&lab, VIP));
    }
    let log = daemon.log();
    lab.check(&log, log.contains("it was taken away by somebody; made again"));
    host.sh("nft delete table inet other 2>/dev/null || :");
    // What is no business of ours is left alone.
    let said = log.matches("made again").count();
    host.sh(&format!(
        "printf '{others}\nflush table inet other\ndelete table inet other\n' | nft -f -"
    ));
    lab.holds("nothing is made", seconds(1.5), || {
        daemon.log().matches("made again").count() == said
    });
    // While it stops, they go.
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(LIMIT));
    lab.check("nothing is left", tables(host).is_empty());
}

#[test]
fn strict_mode_closes_and_release_opens() {
    require(&["nft"]);
    let lab = Lab::single();
    let host = &lab.hosts[0];
    let strict = conf(100, "").replacen("global_defs {", "global_defs {\nvrrp_strict", 1);
    let mut daemon = Subject::Glha.start(host, &strict);
    lab.wait_for("a master", seconds(LIMIT), || host.has_address(VIP));
    lab.check("it does not answer", !answers(&lab, VIP));
    lab.check("and says that it has no password", {
        daemon.log().contains("Strict mode does not support authentication. Ignoring.")
    });
    let advert = lab.adverts("a").pop().map(|(frame, _)| frame.bytes);
    lab.check("no password in adverts", advert.is_some_and(|bytes| bytes[38] == 0));
    daemon.signal(Signal::SIGKILL);
    daemon.wait(seconds(LIMIT));
    lab.check("the tables are left", tables(host).concat().contains(VIP));
    host.sh("/run/lab/glha release -f /etc/keepalived/keepalived.conf");
    lab.check("nothing is left", tables(host).is_empty() && !host.has_address(VIP));
}
