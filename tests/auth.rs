//! Signed adverts (`auth_hmac`) between two daemons: version 2 by unicast, version 3 by multicast, over
//! IPv4 and IPv6. Keys are rotated while they run, a wrong one is not believed, and neither is what
//! was recorded.

mod lab;

use lab::{Daemon, Frame, Host, Lab, Subject, seconds};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// One virtual address of each instance.
const ADDRESSES: [&str; 3] = ["172.16.51.70/32", "172.16.51.71/32", "fd00:51::70/128"];
const LIMIT: f64 = 15.0;
const KEY_FILE: &str = "/etc/glha/vrrp.key";
/// Length of a trailer.
const TRAILER: usize = 28;

/// Three instances that sign with `auth`, on a host with this address.
fn conf(priority: u8, own: &str, other: &str, auth: &str) -> String {
    let instance = |name: &str, more: &str| {
        format!(
            "vrrp_instance {name} {{
    interface eth0
    virtual_router_id 51
    priority {priority}
    {more}
    auth_hmac {{
        {auth}
    }}
}}
"
        )
    };
    let addresses = ADDRESSES.map(|address| format!("virtual_ipaddress {{\n{address}\n}}"));
    let unicast = format!("unicast_src_ip {own}\nunicast_peer {{\n{other}\n}}\nadvert_int 1\n");
    let [a, b, c] = addresses;
    let c = c.replace('\n', "\nfe80::51:70/64\n").replacen("}\nfe80::51:70/64", "}", 1);
    instance("V2", &format!("{unicast}{a}"))
        + &instance("V3", &format!("version 3\nadvert_int 0.1\n{b}")).replace("_id 51", "_id 52")
        + &instance("V6", &format!("advert_int 0.1\n{c}"))
}

fn put_key(host: &Host, digit: &str) {
    host.write(KEY_FILE, &format!("hex:{}\n", digit.repeat(64)));
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(host.path(KEY_FILE), mode).expect("permissions");
}

/// Two hosts with IPv6 and the key file.
fn lab() -> Lab {
    let lab = Lab::pair();
    for host in &lab.hosts {
        host.sh("cd /proc/sys/net/ipv6/conf/eth0; echo 0 >accept_dad; echo 0 >disable_ipv6");
        put_key(host, "5");
    }
    lab
}

fn conf_of(host: &Host, auth: &str) -> String {
    match host.name {
        "a" => conf(150, "172.16.51.11", "172.16.51.12", auth),
        _ => conf(100, "172.16.51.12", "172.16.51.11", auth),
    }
}

fn start(host: &Host, auth: &str) -> Daemon {
    Subject::Glha.start(host, &conf_of(host, auth))
}

fn reload(lab: &Lab, host: &Host, daemon: &Daemon, auth: &str) {
    let count = || daemon.log().matches("Reloaded; 3 instances").count();
    let before = count();
    host.write("/etc/keepalived/keepalived.conf", &conf_of(host, auth));
    daemon.signal(Signal::SIGHUP);
    lab.wait_for("the reload", seconds(LIMIT), || count() > before);
}

/// How many of the virtual addresses are on this host.
fn owned(host: &Host) -> usize {
    let shown = host.run("ip -o addr show dev eth0").said;
    ADDRESSES.iter().filter(|address| shown.contains(*address)).count()
}

fn settles_on(lab: &Lab, one: usize) {
    lab.wait_for("one alone has all addresses", seconds(LIMIT), || {
        owned(&lab.hosts[one]) == 3 && owned(&lab.hosts[1 - one]) == 0
    });
}

/// The trailers of adverts that a host sent since `from`, of all instances.
fn trailers(lab: &Lab, host: &str, from: usize) -> Vec<Vec<u8>> {
    let frames = lab.frames();
    let of_host = frames.iter().skip(from).filter(|frame| frame.from == host);
    of_host.filter_map(|frame| vrrp(frame)?.last_chunk::<TRAILER>().map(|t| t.to_vec())).collect()
}

/// The VRRP message of a frame, with its trailer.
fn vrrp(frame: &Frame) -> Option<&[u8]> {
    let bytes = &frame.bytes;
    match (bytes.get(12..14)?, bytes.get(23), bytes.get(20)) {
        ([0x08, 0x00], Some(112), _) => {
            let length = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
            bytes.get(34..14 + length)
        }
        ([0x86, 0xdd], _, Some(112)) => bytes.get(54..),
        _ => None,
    }
}

/// Waits until this host has sent an advert of each family with that key, and sends no other.
fn signs_with(lab: &Lab, host: &str, key: u8) {
    let from = lab.frames().len();
    lab.wait_for("adverts of all instances", seconds(LIMIT), || {
        trailers(lab, host, from).len() > 22
    });
    let all = trailers(lab, host, from);
    lab.check("all with this key", all.iter().all(|trailer| trailer[..4] == [1, key, 0, 0]));
}

/// A frame once more, from the client's place on the switch.
fn send_again(lab: &Lab, frame: &Frame) {
    let bytes = frame.bytes.clone();
    let send = move || {
        let index = nix::net::if_::if_nametoindex("eth0").expect("eth0");
        let to = bytes.first_chunk().copied().expect("an Ethernet header");
        let to = glha::shell::host::sys::ethernet(index, 0x0800, to);
        let kind = socket2::Type::RAW;
        let socket = socket2::Socket::new(socket2::Domain::PACKET, kind, None).expect("socket");
        socket.send_to(&bytes, &to).expect("sent");
    };
    lab.client.spawn(send).join().expect("sends");
}

#[test]
fn keys_are_rotated_while_adverts_go_on() {
    let first = format!("key 1 file:{KEY_FILE}\nactive_key 1");
    let second_key = "key 2 \"a passphrase of the second generation\"";
    let lab = lab();
    let (a, b) = (start(&lab.hosts[0], &first), start(&lab.hosts[1], &first));
    settles_on(&lab, 0);
    signs_with(&lab, "a", 1);
    let transitions = |daemon: &Daemon| daemon.log().matches(" STATE (").count();
    let before = (transitions(&a), transitions(&b));
    let both = [(&lab.hosts[0], &a), (&lab.hosts[1], &b)];
    for (host, daemon) in both {
        reload(&lab, host, daemon, &format!("{first}\n{second_key}"));
    }
    signs_with(&lab, "a", 1);
    let second = format!("key 1 file:{KEY_FILE}\n{second_key}\nactive_key 2");
    for (host, daemon) in both {
        reload(&lab, host, daemon, &second);
    }
    signs_with(&lab, "a", 2);
    for (host, daemon) in both {
        reload(&lab, host, daemon, &format!("{second_key}\nactive_key 2"));
    }
    signs_with(&lab, "a", 2);
    lab.check("no transition", (transitions(&a), transitions(&b)) == before);
    lab.check("no address was touched", !a.log().contains("was removed by somebody"));

    // A key that cannot be read changes nothing.
    let broken = "key 3 file:/etc/glha/none\nactive_key 3";
    lab.hosts[0].write("/etc/keepalived/keepalived.conf", &conf_of(&lab.hosts[0], broken));
    a.signal(Signal::SIGHUP);
    lab.wait_for("a reload that changes nothing", seconds(LIMIT), || {
        a.log().contains("the running one goes on unchanged")
    });
    signs_with(&lab, "a", 2);

    // Nothing shows a key.
    a.signal(Signal::SIGUSR1);
    let data = || lab.hosts[0].read("/tmp/keepalived.data");
    lab.wait_for("the dump", seconds(LIMIT), || data().contains("HMAC active key = 2"));
    let shown = [data(), a.log(), b.log()].concat();
    lab.check("no key is shown", !shown.contains("passphrase") && !shown.contains("5555"));
}

#[test]
fn what_is_signed_wrongly_or_recorded_is_not_believed() {
    let auth = format!("key 1 file:{KEY_FILE}\nactive_key 1\ntime_window 60");
    let lab = lab();
    let (mut a, b) = (start(&lab.hosts[0], &auth), start(&lab.hosts[1], &auth));
    settles_on(&lab, 0);

    // Another key under the same id: each is alone.
    put_key(&lab.hosts[1], "7");
    reload(&lab, &lab.hosts[1], &b, &auth);
    lab.wait_for("both are masters", seconds(LIMIT), || {
        owned(&lab.hosts[0]) == 3 && owned(&lab.hosts[1]) == 3
    });
    lab.check("the log says why", b.log().contains("wrong signature"));
    put_key(&lab.hosts[1], "5");
    reload(&lab, &lab.hosts[1], &b, &auth);
    settles_on(&lab, 0);

    // The old master is gone; what it said once makes nobody yield.
    a.signal(Signal::SIGKILL);
    a.wait(seconds(LIMIT));
    lab.hosts[0].sh("ip addr flush dev eth0");
    settles_on(&lab, 1);
    let is_better = |frame: &&Frame| {
        let version = |vrrp: &[u8]| vrrp.first() == Some(&0x21) && vrrp.get(2) == Some(&150);
        frame.from == "a" && vrrp(frame).is_some_and(version)
    };
    let recorded = lab.frames().iter().rfind(is_better).cloned().expect("an advert of a");
    let entered = || b.log().matches("(V2) Entering BACKUP STATE").count();
    let before = entered();
    send_again(&lab, &recorded);
    lab.wait_for("the log says it", seconds(LIMIT), || b.log().contains("replayed"));
    let mut forged = recorded;
    // Another priority, and a checksum that says so: one's complement arithmetic.
    forged.bytes[36] += 1;
    let sum = u16::from_be_bytes([forged.bytes[40], forged.bytes[41]]);
    let (sum, borrow) = sum.overflowing_sub(0x0100);
    let sum = sum.wrapping_sub(u16::from(borrow));
    forged.bytes[40..42].copy_from_slice(&sum.to_be_bytes());
    let wrong = || b.log().matches("wrong signature").count();
    let known = wrong();
    // Such lines come ever more rarely, so more than one is needed.
    for _ in 0..64 {
        send_again(&lab, &forged);
    }
    lab.wait_for("the log says it", seconds(LIMIT), || wrong() > known);
    lab.check("it stays master", owned(&lab.hosts[1]) == 3 && entered() == before);
}
