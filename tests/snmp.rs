//! What stands in for keepalived's SNMP agent: `etc/vrrp-mib.py`, asked as snmpd asks it. Needs root and
//! Python.

mod lab;

use lab::{ARTICLE_VIP, Lab, Subject, conf, seconds};

const SOON: f64 = 20.0;
const TABLE: &str = ".1.3.6.1.2.1.68.1.3.1";

/// All that a walk finds from the beginning of the table: OIDs without it, types and values.
fn walk(lab: &Lab, host: usize, file: &str) -> Vec<(String, String, String)> {
    let (mut oid, mut found) = (TABLE.to_owned(), Vec::new());
    loop {
        let said =
            lab.hosts[host].sh(&format!("PATH=/run/lab:$PATH python3 /run/mib {file} -n {oid}"));
        let lines: Vec<&str> = said.lines().collect();
        let [next, kind, value] = lines[..] else { return found };
        let short = next.trim_start_matches(TABLE).to_owned();
        // What is got by itself is the same.
        let again =
            lab.hosts[host].sh(&format!("PATH=/run/lab:$PATH python3 /run/mib {file} -g {next}"));
        assert_eq!(again, said);
        found.push((short, kind.to_owned(), value.to_owned()));
        next.clone_into(&mut oid);
        assert!(found.len() < 100, "{found:?}");
    }
}

#[test]
fn the_state_is_that_of_the_vrrp_mib() {
    lab::require(&["python3"]);
    let lab = Lab::pair();
    let script = include_str!("../etc/vrrp-mib.py");
    for host in &lab.hosts {
        host.write_script("/run/mib", script);
    }
    assert_eq!(walk(&lab, 0, ""), [], "nothing runs");
    let _a = Subject::Glha.start(&lab.hosts[0], &conf(150, ""));
    lab.wait_for("a is master", seconds(SOON), || lab.owners(ARTICLE_VIP) == ["a"]);
    let faulty = conf(100, "").replace("VI_1", "VI_2").replace("router_id 51", "router_id 7");
    let faulty = faulty.replace("BACKUP\n", "BACKUP\n    track_interface {\n down0\n }\n");
    lab.hosts[1].sh("ip link add down0 type veth peer name down1");
    let both = conf(100, "") + &faulty.replace(ARTICLE_VIP, "172.16.51.71");
    let b = Subject::Glha.start(&lab.hosts[1], &both);
    let known = || b.log().contains("(VI_1) Entering BACKUP") && b.log().contains("Entering FAULT");
    lab.wait_for("b is backup", seconds(SOON), known);
    let index = |host: usize| {
        let said = lab.hosts[host].sh("ip -o link show dev eth0");
        said.split(':').next().unwrap_or_default().to_owned()
    };
    let row = |column: u8, host: usize, vrid: u8, kind: &str, value: &str| {
        (format!(".1.{column}.{}.{vrid}", index(host)), kind.to_owned(), value.to_owned())
    };
    let wanted = [
        row(3, 0, 51, "integer", "3"),
        row(5, 0, 51, "integer", "150"),
        row(6, 0, 51, "integer", "1"),
        row(7, 0, 51, "ipaddress", "172.16.51.11"),
    ];
    assert_eq!(walk(&lab, 0, ""), wanted);
    lab.wait_for("b knows the master", seconds(SOON), || {
        walk(&lab, 1, "").iter().any(|(_, _, value)| value == "172.16.51.11")
    });
    // Its exit status tells of the fault.
    lab.hosts[1].run("/run/lab/glha status --json >/run/status.json");
    let wanted = [
        row(3, 1, 7, "integer", "1"),
        row(3, 1, 51, "integer", "2"),
        row(5, 1, 7, "integer", "100"),
        row(5, 1, 51, "integer", "100"),
        row(6, 1, 7, "integer", "1"),
        row(6, 1, 51, "integer", "1"),
        row(7, 1, 7, "ipaddress", "0.0.0.0"),
        row(7, 1, 51, "ipaddress", "172.16.51.11"),
    ];
    assert_eq!(walk(&lab, 1, "/run/status.json"), wanted, "from a file");
}
