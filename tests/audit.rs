//! A configuration held against the machine: the original article's scripts, and worse ones.

use std::path::Path;
use std::time::Duration;

use glha::conf::daemon::{Edge, Fifo};
use glha::conf::parse::At;
use glha::conf::{
    CheckConf, Config, Diagnostic, GroupConf, Hooks, InstanceConf, MountHook, NotifyHook,
    NotifyScripts, Rights, Script, Severity, Span, User, VirtualAddress,
};
use glha::core::spec::{
    AntiReplay, Auth, CheckId, CheckSpec, Destination, Family, GarpSpec, GateSpec, GroupId,
    HmacMode, HmacSpec, InstanceId, InstanceSpec, LinkId, Preempt, TrackCheck, Version, Weight,
};
use glha::shell::audit;
use glha::shell::host::user::resolve;

/// As it is loaded: with everybody looked up.
fn audit(config: &Config) -> Vec<Diagnostic> {
    let mut config = config.clone();
    resolve(&mut config);
    audit::audit(&config)
}

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scripts").join(name);
    path.to_str().unwrap().to_owned()
}

fn script(path: &str) -> Script {
    Script::new(vec![path.to_owned()], None, Span { line: 7, ..Span::default() })
}

fn instance() -> InstanceSpec {
    InstanceSpec {
        name: "VI_1".to_owned(),
        link: LinkId(0),
        xmit: None,
        vmacs: vec![],
        vrid: 51,
        priority: 101,
        advert_interval: Duration::from_secs(1),
        down_timer_adverts: 3,
        auth: Auth::None,
        hmac: None,
        version: Version::V2,
        family: Family::V4,
        destination: Destination::default(),
        v3_checksum_as_v2: false,
        source: None,
        track_source: false,
        wants_master: false,
        addresses: Vec::new(),
        excluded: Vec::new(),
        preempt: Preempt::Always,
        preempt_delay: Duration::ZERO,
        garp: GarpSpec::default(),
        dont_track_primary: false,
        track_links: Vec::new(),
        needs_links: Vec::new(),
        track_checks: Vec::new(),
        track_processes: Vec::new(),
        track_files: Vec::new(),
        track_bfds: Vec::new(),
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_adv_addr: false,
        owner_ignores_adverts: false,
        late_backup: None,
        notifies_deleted: false,
        gate: None,
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.spec.links.push("lo".to_owned());
    config.spec.instances.push(instance().into());
    config.instances.push(InstanceConf::default());
    config
}

fn add_check(config: &mut Config, name: &str, path: &str, hook_of: Option<InstanceId>) {
    let check = CheckId(config.checks.len());
    let weight = Weight { value: 2, reverse: false };
    config.spec.checks.push(CheckSpec {
        name: name.to_owned(),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        rise: 1,
        fall: 1,
        init_fail: false,
    });
    config.checks.push(CheckConf { script: script(path), weight, timeout: None, hook_of });
    let track = TrackCheck { check, weight, grace: Duration::ZERO };
    config.spec.instances[InstanceId(0)].track_checks.push(track);
}

/// The article's configuration, of one of its two nodes.
fn article(node: &str) -> Config {
    let mut config = config();
    config.instances[InstanceId(0)].notify.every =
        Some(Box::new(script(&data(&format!("article-{node}-notify")))));
    add_check(&mut config, "chk_http_port", &data(&format!("article-{node}-check_nginx")), None);
    config
}

fn gate(config: &mut Config) -> &mut Hooks {
    let env = [
        ("MOUNT_DEVICE", "/dev/mapper/mpath0-part1"),
        ("MOUNT_POINT", "/home/git/gitlab-data"),
        ("SERVICES", "nginx gitlab"),
    ];
    let mount = MountHook { script: script("/bin/true") };
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let hooks = Hooks { mount: Some(mount), env, ..Hooks::default() };
    config.instances[InstanceId(0)].hooks.insert(hooks.into())
}

/// Severity and message, without where this checkout lies and whether it is safe there.
fn said(config: &Config) -> Vec<(Severity, String)> {
    let folder = data("");
    let tell = |one: Diagnostic| (one.severity, one.message.replace(&folder, ""));
    audit(config).into_iter().map(tell).filter(|(_, text)| !text.contains("is not safe")).collect()
}

/// Only what begins with this place.
fn at(config: &Config, place: &str) -> Vec<(Severity, String)> {
    said(config).into_iter().filter(|(_, text)| text.starts_with(place)).collect()
}

fn assert_one(found: &[(Severity, String)], severity: Severity, part: &str) {
    let fits = |one: &&(Severity, String)| one.0 == severity && one.1.contains(part);
    assert_eq!(found.iter().filter(fits).count(), 1, "{severity:?} {part:?} in {found:#?}");
}

#[test]
fn the_articles_scripts_are_explained() {
    for (node, count) in [("master", 9), ("backup", 8)] {
        let config = article(node);
        let found = said(&config);
        for text in [
            "check_nginx:1: broken #! line, make it '#!/bin/bash'",
            "check_nginx:8: sleeps 3 s, but the script is ended after 2 s",
            "check_nginx:10: 'service keepalived stop' in a check",
            "check_nginx:11: 'umount /home/git/gitlab-data': nothing keeps both nodes",
            "notify:1: broken #! line",
        ] {
            assert_one(&found, Severity::Warning, text);
        }
        assert_one(&found, Severity::Note, "notify:6: no case for STOP");
        assert_eq!(found.len(), count, "{found:#?}");
        assert!(audit(&config).iter().all(|one| one.span.line == 7));
    }
    let master = said(&article("master"));
    assert_one(&master, Severity::Warning, "notify:12: mounts on BACKUP");
    assert_one(&master, Severity::Warning, "notify:12: 'mount /dev/mapper/mpath0-part1");
    assert_one(&master, Severity::Warning, "notify:12: mounts, and unmounts nowhere");
    let backup = said(&article("backup"));
    assert_one(&backup, Severity::Warning, "notify:8: 'mount /dev/mapper/mpath0-part1");
    assert_one(&backup, Severity::Warning, "notify:13: 'umount /home/git/gitlab-data'");
}

#[test]
fn what_mounts_behind_the_gate_is_refused() {
    let mut config = article("backup");
    gate(&mut config);
    for place in
        ["article-backup-notify:8:", "article-backup-notify:13:", "article-backup-check_nginx:11:"]
    {
        let found = at(&config, place);
        assert_one(&found, Severity::Error, "goes behind the mount hook of VI_1");
        assert!(found[0].1.contains("delete this line"), "{found:?}");
    }
    let errors = said(&config).into_iter().filter(|one| one.0 == Severity::Error).count();
    assert_eq!(errors, 3);

    gate(&mut config).accept_legacy_mount = true;
    assert!(said(&config).iter().all(|one| one.0 < Severity::Error));
    assert_one(&at(&config, "article-backup-notify:8:"), Severity::Warning, "mount hook of VI_1");
}

#[test]
fn other_mounts_are_let_alone() {
    let mut config = article("backup");
    gate(&mut config).env = vec![("MOUNT_POINT".to_owned(), "/home/git".to_owned())];
    assert!(said(&config).iter().all(|(_, text)| !text.contains("mount hook")));
    // Not told what the storage is: perhaps.
    gate(&mut config).env.clear();
    assert_one(&at(&config, "article-backup-notify:8:"), Severity::Warning, "is this the storage");
    // Comments and texts are no commands.
    let mut config = self::config();
    config.instances[InstanceId(0)].notify.every = Some(Box::new(script(&data("careful-notify"))));
    gate(&mut config);
    assert_eq!(said(&config), []);
}

#[test]
fn a_mount_is_found_through_a_variable() {
    let mut config = config();
    config.instances[InstanceId(0)].notify.backup = Some(Box::new(script(&data("by-variable"))));
    gate(&mut config);
    let found = at(&config, "by-variable:4:");
    assert_one(&found, Severity::Error, "goes behind the mount hook");
    assert_one(&found, Severity::Warning, "a lazy umount");
    assert_eq!(found.len(), 2);
}

#[test]
fn broken_files_are_named() {
    let mut config = config();
    config.instances[InstanceId(0)].notify.every = Some(Box::new(script(&data("crlf"))));
    add_check(&mut config, "gone", "/no/such/script", None);
    add_check(&mut config, "plain", &data("not-executable"), None);
    let found = said(&config);
    assert_one(&found, Severity::Warning, "crlf:1: lines end in CR LF");
    assert_one(&found, Severity::Fault, "track script gone: /no/such/script: No such file");
    assert_one(&found, Severity::Warning, "not-executable is not executable (chmod +x");

    gate(&mut config).mount = Some(MountHook { script: script("/no/such/mount.sh") });
    gate(&mut config).mount.as_mut().unwrap().script = script("/no/such/mount.sh");
    let hook = NotifyHook { script: script("/no/notify"), timeout: Duration::from_secs(30) };
    config.instances[InstanceId(0)].hooks.as_mut().unwrap().notify = Some(hook);
    let found = said(&config);
    assert_one(&found, Severity::Error, "mount hook of VI_1: /no/such/mount.sh");
    assert_one(&found, Severity::Warning, "/no/notify: No such file");
}

#[test]
fn missing_interfaces_are_named_unless_they_may_come_later() {
    let mut config = config();
    config.spec.links = ["none0", "none1", "lo"].map(str::to_owned).to_vec();
    config.spec.instances[InstanceId(0)].track_links = vec![
        (LinkId(1), Weight { value: 0, reverse: false }),
        (LinkId(2), Weight { value: 0, reverse: false }),
    ];
    for interface in ["none0", "none2", "lo"] {
        let address = VirtualAddress {
            ip: [10, 0, 0, 9].into(),
            prefix_len: 32,
            interface: interface.to_owned(),
            base: None,
            use_vmac: false,
            broadcast: None,
            label: None,
            scope: 0,
            no_prefix_route: false,
            peer: None,
            flags: Default::default(),
            preferred_lft: None,
            text: "10.0.0.9".to_owned(),
            span: Span::default(),
        };
        config.instances[InstanceId(0)].addresses.push(address.into());
    }
    config.global.interfaces.push(At { value: "none3".to_owned(), span: Span::default() });
    let found = said(&config);
    assert_one(&found, Severity::Error, "interface none0 for vrrp_instance VI_1 doesn't exist");
    assert_one(&found, Severity::Error, "(VI_1) tracked interface none1 doesn't exist");
    assert_one(&found, Severity::Error, "interface none2 for ip address 10.0.0.9 doesn't exist");
    assert_one(&found, Severity::Error, "interface none3, of which delays are given");
    assert_eq!(found.len(), 4);
    config.global.dynamic_interfaces = true;
    assert_eq!(said(&config), []);
}

#[test]
fn unknown_users_are_named() {
    let user = |name: &str, group: Option<&str>| {
        let group = group.map(str::to_owned);
        Some(User { user: name.to_owned(), group, span: Span::default() })
    };
    let mut config = config();
    config.global.script_user = user("nosuchuser", None);
    let own = user("root", Some("nosuchgroup")).map(Box::new);
    config.instances[InstanceId(0)].notify.every =
        Some(Box::new(Script { user: own, ..script("/bin/true") }));
    let found = said(&config);
    assert_one(&found, Severity::Fault, "Error setting global script uid/gid: there is no user");
    assert_one(
        &found,
        Severity::Warning,
        "Unable to set uid/gid for script '/bin/true': there is no group",
    );
    assert_eq!(found.len(), 2);
}

/// keepalived knows users by their names only.
#[test]
fn users_by_number_are_named() {
    let user = |name: &str, group: &str| {
        let (user, group) = (name.to_owned(), Some(group.to_owned()));
        Some(User { user, group, span: Span::default() })
    };
    let mut config = config();
    config.global.script_user = user("root", "root");
    assert_eq!(said(&config), []);
    config.global.script_user = user("0", "root");
    assert_one(&said(&config), Severity::Fault, "0 is a number");
    config.global.script_user = None;
    let user = user("root", "54321").map(Box::new);
    config.instances[InstanceId(0)].notify.every =
        Some(Box::new(Script { user, ..script("/bin/true") }));
    assert_one(&said(&config), Severity::Warning, "54321 is a number");
}

/// A check that is left out neither fails nor succeeds.
#[test]
fn what_is_left_out_is_not_said_to_fail() {
    let mut config = config();
    add_check(&mut config, "chk", "/no/such/check", None);
    let counts =
        |config: &Config| said(config).iter().any(|(_, text)| text.contains("counts as failed"));
    assert!(counts(&config));
    config.global.script_user =
        Some(User { user: "nosuchuser".into(), group: None, span: Span::default() });
    assert!(!counts(&config), "{:?}", said(&config));
}

/// keepalived does not run what it cannot give the user it was told to.
#[test]
fn scripts_of_unknown_users_are_dropped() {
    let user = |name: &str| {
        let (user, group) = (name.to_owned(), None);
        Some(User { user, group, span: Span::default() })
    };
    let of = |name: &str| {
        Some(Box::new(Script { user: user(name).map(Box::new), ..script("/bin/true") }))
    };
    let mut config = config();
    add_check(&mut config, "chk", "/bin/true", None);
    config.instances[InstanceId(0)].notify.every = Some(Box::new(script("/bin/true")));
    config.instances[InstanceId(0)].notify.master = of("root");
    config.instances[InstanceId(0)].notify.deleted = of("nosuchuser");
    // A sync group's are no exception.
    config.groups.push(GroupConf {
        notify: NotifyScripts {
            every: Some(Box::new(script("/bin/true"))),
            master: of("root"),
            fault: of("nosuchuser"),
            ..NotifyScripts::default()
        },
        ..GroupConf::default()
    });
    let edge = |name: &str| Some(Edge { script: *of(name).unwrap(), timeout: Duration::MAX });
    config.global.daemon.startup = edge("root");
    config.global.daemon.shutdown = edge("nosuchuser");
    config.global.daemon.fifos = ["root", "nosuchuser"]
        .map(|name| Fifo {
            keyword: "notify_fifo",
            path: "/run/fifo".into(),
            owner: None,
            owner_rights: Rights::Own,
            script: of(name).map(|script| *script),
        })
        .into();
    let tracked = config.spec.instances[InstanceId(0)].track_checks.len();
    let left = |script_user| {
        let mut config = config.clone();
        config.global.script_user = script_user;
        resolve(&mut config);
        audit::drop_disabled(&mut config);
        let conf = &config.instances[InstanceId(0)];
        let all = [&conf.notify.every, &conf.notify.master, &conf.notify.deleted];
        let group = &config.groups[GroupId(0)];
        let of_group = [&group.notify.every, &group.notify.master, &group.notify.fault];
        assert_eq!(of_group.map(Option::is_some), all.map(Option::is_some));
        let daemon = &config.global.daemon;
        assert!(daemon.startup.is_some() && daemon.shutdown.is_none());
        let fifos: Vec<bool> = daemon.fifos.iter().map(|fifo| fifo.script.is_some()).collect();
        assert_eq!(fifos, [true, false]);
        (all.map(Option::is_some), config.spec.instances[InstanceId(0)].track_checks.len())
    };
    assert_eq!(left(user("root")), ([true, true, false], tracked));
    assert_eq!(left(None), ([true, true, false], tracked));
    assert_eq!(left(user("nosuchuser")), ([false, true, false], tracked - 1));
}

#[test]
fn insecure_paths_are_named_with_their_reason() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    let folder = std::env::temp_dir().join(format!("glha-audit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("check");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut config = config();
    add_check(&mut config, "chk", path.to_str().unwrap(), None);
    let unsafe_ones = |config: &Config| {
        let all = audit(config).into_iter().map(|one| (one.severity, one.message));
        all.filter(|(_, text)| text.contains("is not safe")).collect::<Vec<_>>()
    };
    assert_one(&unsafe_ones(&config), Severity::Warning, "/tmp (mode 1777)");
    config.global.script_security = true;
    let root = User { user: "root".to_owned(), group: None, span: Span::default() };
    config.global.script_user = Some(root);
    assert_one(&unsafe_ones(&config), Severity::Fault, "/tmp (mode 1777)");
    // Somebody else's rights are his own business.
    config.global.script_user.as_mut().unwrap().user = "nobody".to_owned();
    assert_eq!(unsafe_ones(&config), []);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn without_a_guard_adverts_must_be_signed() {
    let mut config = config();
    gate(&mut config).env.push(("GUARD".to_owned(), "none".to_owned()));
    let instance = &mut config.spec.instances[InstanceId(0)];
    instance.gate = Some(GateSpec {
        timeout: Duration::from_secs(60),
        probe: None,
        handover_wait: Duration::from_secs(30),
        peers_glha: true,
        is_pair: true,
        reboot_on_failure: false,
    });
    let by_time = AntiReplay::Time { window: 5 };
    for (hmac, why) in [
        (None, Some("adverts are not signed")),
        (Some((HmacMode::Permissive, by_time)), Some("adverts that are not signed are believed")),
        (Some((HmacMode::Enforce, AntiReplay::Monotonic)), Some("believes recorded adverts")),
        (Some((HmacMode::Enforce, by_time)), None),
    ] {
        config.spec.instances[InstanceId(0)].hmac = hmac.map(|(mode, anti_replay)| HmacSpec {
            keys: std::collections::BTreeMap::new(),
            active_key: 1,
            anti_replay,
            mode,
        });
        let found = said(&config);
        let is_forgery = |(_, text): &&(Severity, String)| text.contains("one forged packet");
        let found = found.iter().find(is_forgery);
        assert_eq!(found.is_some_and(|(_, text)| text.contains(why.unwrap_or("?"))), why.is_some());
        assert_eq!(found.is_some(), why.is_some(), "{hmac:?}");
        assert!(found.is_none_or(|(severity, _)| *severity == Severity::Warning));
    }
}

#[test]
fn two_checks_of_one_service_are_noted() {
    let mut config = article("master");
    config.instances[InstanceId(0)].notify.every = None;
    add_check(&mut config, "VI_1.check", &data("check-hook"), Some(InstanceId(0)));
    let doubled = |config: &Config| {
        let all = said(config).into_iter();
        all.filter(|(_, text)| text.contains("both look after nginx")).collect::<Vec<_>>()
    };
    assert_one(
        &doubled(&config),
        Severity::Note,
        "vrrp_script chk_http_port and the check hook of VI_1",
    );
    config.checks[CheckId(1)].script = script(&data("careful-notify"));
    assert_eq!(doubled(&config), []);
    // The service may also be named in the block's settings.
    gate(&mut config);
    assert_eq!(doubled(&config).len(), 1);
}

/// What the article's own files, as they are pasted, are told by `-t`: all of it, in one place.
#[test]
fn the_article_is_told_what_is_wrong_with_it() {
    let folder = Folder::new("article");
    for node in ["master", "backup"] {
        let conf = data(&format!("../conf/article-{node}.conf"));
        let conf = std::fs::read_to_string(conf).unwrap();
        let script = |name: &str| data(&format!("article-{node}-{name}"));
        let conf = conf
            .replace("/etc/keepalived/check_nginx.sh", &script("check_nginx"))
            .replace("/etc/keepalived/notify.sh", &script("notify"))
            // The machine of the test has no eth0, perhaps.
            .replace("global_defs {", "global_defs {\n dynamic_interfaces");
        let (status, said) = check(&folder.file(&format!("{node}.conf"), &conf));
        for sentence in [
            // The check gives up after its daemon has ended it.
            "check_nginx:8: sleeps 3 s, but the script is ended after 2 s",
            "check_nginx:10: 'service keepalived stop' in a check",
            // Weight 2 on both sides moves the address to a node where nginx is dead, too.
            "note: (VI_1) a failure of chk_http_port only makes the priority 2 lower (weight 2), it \
             is never a fault",
            "check_nginx:1: broken #! line, make it '#!/bin/bash'",
            "notify:1: broken #! line, make it '#!/bin/bash'",
            "notify:6: no case for STOP, the state when the daemon ends",
        ] {
            assert!(said.contains(sentence), "{node}: no {sentence:?} in\n{said}");
        }
        for sentence in ["notify:12: mounts on BACKUP", "notify:12: mounts, and unmounts nowhere"] {
            assert_eq!(said.contains(sentence), node == "master", "{sentence:?} in\n{said}");
        }
        assert!(said.ends_with("would start\n"), "{said}");
        assert_eq!(status, Some(6));
    }
}

#[test]
fn what_a_check_prints_counts_for_nothing() {
    let mut config = config();
    add_check(&mut config, "chk", &data("prints-result"), None);
    let found = at(&config, "prints-result:6:");
    assert_one(&found, Severity::Warning, "prints 1, but only the exit status of a check counts");
    assert!(found[0].1.ends_with("write 'exit 1'"));
    // What a notify script prints is its own business.
    let mut config = self::config();
    config.instances[InstanceId(0)].notify.every = Some(Box::new(script(&data("prints-result"))));
    assert_eq!(said(&config), []);
}

#[test]
fn a_script_that_only_asks_for_a_process_is_noted() {
    let mut config = config();
    add_check(&mut config, "chk", &data("only-killall"), None);
    let text = "vrrp_script chk only asks whether haproxy runs";
    assert_one(&at(&config, "only-killall:2:"), Severity::Note, text);
    // There is no track_process in a hooks block.
    config.checks[CheckId(0)].hook_of = Some(InstanceId(0));
    assert_eq!(said(&config), []);
}

#[test]
fn a_notify_script_that_never_unmounts_is_named() {
    let mut config = config();
    config.instances[InstanceId(0)].notify.every = Some(Box::new(script(&data("never-unmounts"))));
    let found = at(&config, "never-unmounts:3:");
    assert_one(&found, Severity::Warning, "mounts, and unmounts nowhere: after a failover both");
    // The one for a single state has its counterpart elsewhere.
    let notify = &mut config.instances[InstanceId(0)].notify;
    notify.master = notify.every.take();
    let found = said(&config);
    assert!(found.iter().all(|(_, text)| !text.contains("nowhere")), "{found:?}");
}

#[test]
fn a_word_behind_the_command_is_said_to_be_no_argument() {
    let folder = Folder::new("words");
    let file = folder.file(
        "words.conf",
        "global_defs {\n dynamic_interfaces\n}\nvrrp_instance V {\n interface eth0\n \
         virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.9\n }\n notify /bin/true verbose\n}\n",
    );
    let (_, said) = check(&file);
    let text = "there is no user verbose; it is not run, as with keepalived; if verbose is an \
                argument, put it inside the quotes: \"/bin/true verbose\"";
    assert!(said.contains(text), "{said}");
}

/// Each way to be insecure names the part of the path, its mode, and the remedy.
#[test]
fn insecure_parts_of_a_path_have_their_remedy() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
    // Below a folder of root's, unlike /tmp.
    let folder = Folder::below(Path::new("/var/lib"), "secure");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(&folder.0, 0o755);
    let inner = folder.0.join("inner");
    std::fs::create_dir(&inner).unwrap();
    mode(&inner, 0o755);
    let (path, link) = (inner.join("check"), folder.0.join("link"));
    std::fs::write(&path, "#!/bin/sh\ncurl localhost\n").unwrap();
    mode(&path, 0o755);
    symlink("inner/check", &link).unwrap();
    let unsafe_ones = |path: &Path| {
        let mut config = config();
        config.global.script_security = true;
        add_check(&mut config, "chk", path.to_str().unwrap(), None);
        let root = User { user: "root".to_owned(), group: None, span: Span::default() };
        config.global.script_user = Some(root);
        let all = audit(&config).into_iter().map(|one| one.message);
        all.filter(|text| text.contains("is not safe")).collect::<Vec<_>>()
    };
    assert_eq!(unsafe_ones(&link), [""; 0]);

    let expect = |part: &Path, what: &str| {
        for path in [&path, &link] {
            let found = unsafe_ones(path);
            let wanted = format!("is not safe: {} {what}", part.display());
            assert!(found.len() == 1 && found[0].contains(&wanted), "{wanted:?}: {found:?}");
        }
    };
    mode(&path, 0o757);
    expect(
        &path,
        &format!("(mode 0757) can be changed by others than root: chmod go-w {}", path.display()),
    );
    mode(&path, 0o755);
    mode(&inner, 0o777);
    expect(
        &inner,
        &format!("(mode 0777) can be changed by others than root: chmod go-w {}", inner.display()),
    );
    mode(&inner, 0o1777);
    expect(&inner, "(mode 1777) can be changed by others than root; keep scripts elsewhere");
    mode(&inner, 0o775);
    assert_eq!(unsafe_ones(&path), [""; 0], "the group of root is root");
    chown(&inner, None, Some(1)).unwrap();
    expect(&inner, "(mode 0775) can be changed by others than root: chmod go-w");
    mode(&inner, 0o755);
    assert_eq!(unsafe_ones(&path), [""; 0]);
    chown(&path, Some(65534), None).unwrap();
    expect(
        &path,
        &format!("(mode 0755) belongs to user 65534, not root: chown root {}", path.display()),
    );
}

/// What only `-t` looks for: the storage and the addresses of this machine.
#[test]
fn the_machine_is_looked_at() {
    let folder = Folder::new("machine");
    let conf = |device: &str, point: &str, rest: &str| {
        let mount = data("../../../hooks/mount.sh");
        let text = format!(
            "global_defs {{\n enable_script_security\n script_user root\n dynamic_interfaces\n}}\n\
             vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{\n \
             127.0.0.1 dev lo\n }}\n}}\n\
             hooks V {{\n mount {mount} timeout 60\n env MOUNT_DEVICE {device}\n \
             env MOUNT_POINT {point}\n {rest}\n}}\n"
        );
        check(&folder.file("machine.conf", &text)).1
    };
    let said = conf("/dev/no-such-disk", "/no/such/folder", "env GUARD fence");
    for text in [
        "note: (V) lo has the virtual address 127.0.0.1 already",
        "warning: (V) MOUNT_DEVICE /dev/no-such-disk: No such file",
        "warning: (V) MOUNT_POINT /no/such/folder is missing: install -d -m 0 /no/such/folder",
        "warning: (V) GUARD is fence, but FENCE_COMMAND is empty",
    ] {
        assert!(said.contains(text), "no {text:?} in\n{said}");
    }
    let said = conf("/dev/null", "/dev/null", "env GUARD fence\n env FENCE_COMMAND /bin/true");
    assert!(said.contains("(V) MOUNT_DEVICE /dev/null is not a block device"), "{said}");
    assert!(said.contains("(V) MOUNT_POINT /dev/null is not a folder"), "{said}");
    assert!(!said.contains("FENCE_COMMAND is empty"), "{said}");
}

#[test]
fn two_owners_of_one_disk_are_named() {
    let mut config = config();
    gate(&mut config).env[0].1 = "/dev/../dev/null".to_owned();
    config.instances[InstanceId(0)].hooks.as_mut().expect("its block").span.line = 7;
    config.spec.instances[InstanceId(0)].gate = None;
    let mut second = instance();
    second.name = "VI_2".to_owned();
    config.spec.instances.push(second.into());
    let mut hooks = config.instances[InstanceId(0)].hooks.clone().expect("a block");
    hooks.span.line = 17;
    hooks.env[0].1 = "/dev/null".to_owned();
    config.instances.push(InstanceConf { hooks: Some(hooks), ..InstanceConf::default() });
    let said = |config: &Config| {
        let found = glha::shell::audit::look_around(config, false);
        found
            .iter()
            .any(|one| one.message.contains("(VI_2) MOUNT_DEVICE /dev/null is that of VI_1 too"))
    };
    assert!(said(&config));
    config.instances[InstanceId(1)].hooks.as_mut().expect("its block").env[0].1 =
        "/dev/zero".to_owned();
    assert!(!said(&config));
}

/// The status of `glha -t` and what it says.
fn check(file: &str) -> (Option<i32>, String) {
    let mut glha = std::process::Command::new(env!("CARGO_BIN_EXE_glha"));
    let output = glha.args(["-t", "-f", file]).output().expect("glha starts");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

/// A folder of its own, gone with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    fn below(parent: &Path, name: &str) -> Self {
        let path = parent.join(format!("glha-audit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).expect("write");
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
