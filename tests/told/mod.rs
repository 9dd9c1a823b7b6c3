//! Events as the daemon makes them, for the tests of what is documented about them.

use std::net::Ipv4Addr;
use std::time::Duration;

use glha::conf::Mail;
use glha::core::event::{Facts, PeerFacts};
use glha::shell::hooks::event::{Kind, Told};
use serde_json::Value;

/// An instance with everything that can be said of one.
pub fn facts() -> Facts {
    Facts {
        instance: "VI_1".into(),
        group: Some("G".into()),
        state: "MASTER",
        previous: "BACKUP",
        phase: "acquiring",
        reason: "master_down",
        detail: "no advert".into(),
        transition: 7,
        vrid: 51,
        priority: 100,
        peer: Some(PeerFacts {
            address: Ipv4Addr::LOCALHOST.into(),
            priority: 101,
            last_seen: Duration::from_millis(3609),
        }),
        how: Some("silent"),
        released: false,
        lost: true,
    }
}

/// A hook that belongs to no instance: the check of a `vrrp_script`.
pub fn about_nobody(kind: Kind<'_>) -> Told<'_> {
    let timeout = Duration::from_secs(60);
    Told { kind, node: "first", about: None, timeout, env: &[], mail: None, count: 17 }
}

/// What a script reads.
pub fn event(told: &Told<'_>) -> Value {
    serde_json::from_slice(&told.json()).expect("an event is JSON")
}

/// Gives each kind of hook, with all that can be said and with as little as possible, to `take`.
pub fn each(mut take: impl FnMut(&'static str, &Told<'_>)) {
    let full = facts();
    let bare = Facts { peer: None, how: None, ..facts() };
    let env = [("MOUNT_DEVICE".to_owned(), "/dev/sdb1".to_owned())];
    let mail = Mail {
        to: ["a@example.org", "b@example.org"].map(str::to_owned).into(),
        from: Some("c@example.org".into()),
        server: Some("192.0.2.25".into()),
        no_faults: false,
    };
    let addresses = || vec!["172.16.51.70/32", "10.0.0.1/24"];
    take("check of a vrrp_script", &about_nobody(Kind::Check("chk")));
    for what in ["startup", "shutdown", "fifo"] {
        take(what, &about_nobody(Kind::Daemon(what)));
    }
    for (name, kind) in [
        ("acquire", Kind::Mount("acquire")),
        ("release", Kind::Mount("release")),
        ("probe", Kind::Mount("probe")),
        ("notify", Kind::Notify),
        ("check hook", Kind::Check("VI_1.check")),
    ] {
        let told = about_nobody(kind);
        take(name, &Told { about: Some((&bare, "eth0", Vec::new())), ..told.clone() });
        let about = Some((&full, "eth0", addresses()));
        let told = Told { about, env: &env, mail: Some(&mail), ..told };
        take(name, &told);
    }
}

/// The events of all kinds, each with what it is.
#[allow(dead_code, reason = "not every test that includes this module needs all of it")]
pub fn examples() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    each(|name, told| all.push((name, event(told))));
    all
}
