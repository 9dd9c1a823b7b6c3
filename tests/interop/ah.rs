//! `auth_type AH`: whatever is true of keepalived's authentication headers is true of glha's. One of each
//! at a time: what both do with the same daemon on both sides is in the scenarios with a password.

use super::lab::{ARTICLE_VIP, Daemon, Lab, Subject, conf, seconds, with_mixed_pairs};
use super::{TAKEOVER, is_backup, settles_on};
use nix::sys::signal::Signal;

with_mixed_pairs! {
    takes_over_and_back
    unicast
    a_master_with_the_lower_numbers_is_believed
    another_password
}

fn with_ah(conf: &str) -> String {
    assert!(conf.contains("auth_type PASS"));
    conf.replace("auth_type PASS", "auth_type AH")
}

/// The numbers of the adverts that a host sent.
fn numbers(lab: &Lab, host: &str) -> Vec<u32> {
    let frames = lab.frames();
    let sent = frames.iter().filter(|f| f.from == host && f.advert().is_some());
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[42..46].try_into().expect("four bytes"));
    sent.inspect(|f| assert_eq!(f.bytes[23], 51, "protocol")).map(|f| number(&f.bytes)).collect()
}

fn is_growing(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

mod scenario {
    use super::*;

    /// A backup hears its master, takes over from one that stops, and is preempted.
    pub fn takes_over_and_back(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let mut first = a.start(&lab.hosts[0], &with_ah(&conf(150, "")));
        settles_on(&lab, "a");
        let second = b.start(&lab.hosts[1], &with_ah(&conf(100, "")));
        is_backup(&lab, &second, &lab.hosts[1]);
        lab.check("the backup is silent", lab.adverts("b").is_empty());
        first.signal(Signal::SIGTERM);
        settles_on(&lab, "b");
        first.wait(seconds(TAKEOVER));
        let _first = a.start(&lab.hosts[0], &with_ah(&conf(150, "")));
        settles_on(&lab, "a");
        let all = [numbers(&lab, "a"), numbers(&lab, "b")];
        lab.check("the numbers of each grow", all.iter().all(|numbers| is_growing(numbers)));
        lab.check("b goes on where a was", all[1].first() > all[0].first());
    }

    /// To a node, with a time to live that routers may lower.
    pub fn unicast(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let to = |own: &str, peer: &str| {
            format!("unicast_src_ip {own}\nunicast_ttl 64\nunicast_peer {{\n{peer}\n}}")
        };
        let (one, other) = ("172.16.51.11", "172.16.51.12");
        let mut first = a.start(&lab.hosts[0], &with_ah(&conf(150, &to(one, other))));
        settles_on(&lab, "a");
        let second = b.start(&lab.hosts[1], &with_ah(&conf(100, &to(other, one))));
        is_backup(&lab, &second, &lab.hosts[1]);
        lab.check("the backup is silent", lab.adverts("b").is_empty());
        first.signal(Signal::SIGTERM);
        settles_on(&lab, "b");
        first.wait(seconds(TAKEOVER));
    }

    /// Two masters apart, of which the worse one's numbers are higher: together again, the better
    /// one comes to the top of the row and stays.
    pub fn a_master_with_the_lower_numbers_is_believed(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let _second = b.start(&lab.hosts[1], &with_ah(&conf(100, "")));
        settles_on(&lab, "b");
        lab.unplug(0);
        let _first = a.start(&lab.hosts[0], &with_ah(&conf(150, "")));
        lab.wait_for("two masters apart", seconds(TAKEOVER), || {
            lab.owners(ARTICLE_VIP) == ["a", "b"]
        });
        lab.plug(0);
        settles_on(&lab, "a");
    }

    /// Neither believes the other, and the logs say why.
    pub fn another_password(a: Subject, b: Subject) {
        let lab = Lab::pair();
        let first = a.start(&lab.hosts[0], &with_ah(&conf(150, "")));
        settles_on(&lab, "a");
        let other = with_ah(&conf(100, "")).replace("1111", "2222");
        let second = b.start(&lab.hosts[1], &other);
        lab.wait_for("both own the address", seconds(TAKEOVER), || {
            lab.owners(ARTICLE_VIP) == ["a", "b"]
        });
        let says_why = |daemon: &Daemon| {
            daemon.log().contains("IPSEC-AH : invalid") && daemon.log().contains("HMAC-MD5 value")
        };
        lab.wait_for("the logs say why", seconds(TAKEOVER), || says_why(&second));
        lab.check("it is no mistake of the first", first.log().contains("Entering MASTER STATE"));
    }
}
