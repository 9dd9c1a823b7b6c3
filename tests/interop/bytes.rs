//! Byte for byte, whatever the kind of virtual router: the adverts of a whole life, the
//! announcements of both families, the addresses.

use super::lab::{Frame, Lab, Subject, seconds};
use super::routers::{self, ROUTERS, Router};
use super::{Subject::Glha, Subject::Keepalived, TAKEOVER};
use nix::sys::signal::Signal;
use std::net::IpAddr;
use std::thread;

/// Rounds of announcements in both bursts.
const ROUNDS: usize = 2 * 5;

/// What one daemon sends for one router, from its start as the only one to the end of a stop.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    vrid: usize,
    /// In hexadecimal digits, as the others; each that is like the one before is left out.
    adverts: Vec<String>,
    /// All of them.
    announcements: Vec<String>,
    /// The first frame is an advert.
    begins_with_an_advert: bool,
}

/// An advert without what counts and without what the kernel draws by lot: the identification of an
/// IPv4 packet with the header's checksum, and the flow label of IPv6.
fn comparable(frame: &Frame) -> String {
    let mut bytes = frame.bytes.clone();
    match bytes[12..14] {
        [8, 0] => {
            bytes[18..20].fill(0);
            bytes[24..26].fill(0);
        }
        _ => bytes[15..18].fill(0),
    }
    digits(&bytes)
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Is the frame an announcement of one of the router's addresses?
fn announces(frame: &Frame, router: &Router) -> bool {
    router.all_addresses().any(|address| match address.parse() {
        Ok(IpAddr::V4(ip)) => frame.announces() == Some(ip),
        Ok(IpAddr::V6(ip)) => frame.tells() == Some(ip),
        Err(_) => false,
    })
}

fn life(frames: &[Frame], (place, router): (usize, &Router)) -> Life {
    let is_advert = |f: &Frame| f.sent().is_some_and(|s| usize::from(s.vrid) == place + 1);
    let mut adverts: Vec<_> = frames.iter().filter(|f| is_advert(f)).map(comparable).collect();
    adverts.dedup();
    let announcements = frames.iter().filter(|f| announces(f, router));
    Life {
        vrid: place + 1,
        adverts,
        announcements: announcements.map(|f| digits(&f.bytes)).collect(),
        begins_with_an_advert: frames
            .iter()
            .find(|f| is_advert(f) || announces(f, router))
            .is_some_and(is_advert),
    }
}

/// The lives of all routers, and the addresses of the interface while master, as `ip` shows them.
fn live(subject: Subject) -> (Vec<Life>, Vec<String>) {
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.enable_ipv6("fd00:51::11");
    // The peer of the unicast routers is not there, but its hardware address is known.
    for peer in ["172.16.51.12", "fd00:51::12"] {
        host.sh(&format!("ip neigh add {peer} lladdr 02:51:00:00:00:0b dev eth0"));
    }
    let mut daemon = routers::start(subject, host, 0, 200);
    let is_announced = |frames: &[Frame], router: &Router| {
        let wanted = ROUNDS * router.all_addresses().count();
        frames.iter().filter(|f| announces(f, router)).count() >= wanted
    };
    lab.wait_for("both bursts of every router", seconds(TAKEOVER), || {
        let frames = lab.frames();
        ROUTERS.iter().all(|router| is_announced(&frames, router))
    });
    let shown = host.sh("ip -o addr show dev eth0");
    let mut shown: Vec<_> = shown.lines().map(str::to_owned).collect();
    shown.sort();
    daemon.signal(Signal::SIGTERM);
    daemon.wait(seconds(TAKEOVER));
    let frames: Vec<_> = lab.frames().into_iter().filter(|f| f.from == "a").collect();
    for (place, router) in ROUTERS.iter().enumerate() {
        let mut sent =
            frames.iter().filter_map(Frame::sent).filter(|s| s.vrid as usize == place + 1);
        let verdict = sent.find_map(|s| router.is_right(&s, "a").err());
        lab.check(&format!("{verdict:?} of router {}", place + 1), verdict.is_none());
    }
    (ROUTERS.iter().enumerate().map(|router| life(&frames, router)).collect(), shown)
}

/// Two daemons, each alone in a lab, at the same time.
fn compare(a: Subject, b: Subject) {
    let other = thread::spawn(move || live(b));
    let (a_lives, a_shown) = live(a);
    let (b_lives, b_shown) = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    for (a, b) in a_lives.into_iter().zip(b_lives) {
        assert_eq!(a.adverts.len(), 2, "an advert, and priority 0, of router {}", a.vrid);
        assert_eq!(a, b);
    }
    assert_eq!(a_shown, b_shown, "addresses of the interface");
}

#[test]
fn keepalived_repeats_itself() {
    compare(Keepalived, Keepalived);
}

#[test]
fn glha_sends_what_keepalived_sends() {
    compare(Keepalived, Glha);
}
