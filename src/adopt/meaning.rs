//! What a command means for storage and services.

use super::library::base;
use super::value::Val;

/// Programs that do something with mounted storage or with what lies below it.
const ABOUT_STORAGE: &str = "\
    mount umount drbdadm drbdsetup vgchange lvchange cryptsetup fuser fsck e2fsck xfs_repair mdadm \
    losetup zpool zfs multipath kpartx iscsiadm mount.nfs swapon swapoff tune2fs sg_persist \
    mpathpersist";

/// Programs that nothing on a disk depends on, whenever they run.
const HARMLESS: &str = "\
    echo printf logger date sleep usleep cat tee sync mountpoint findmnt mount grep egrep fgrep \
    awk sed cut head tail tr wc df du ls hostname basename dirname mkdir touch id whoami ps pgrep \
    pidof ip ifconfig arping curl wget mail mailx sendmail iptables nft sysctl udevadm systemctl \
    service rc-service drbdadm drbdsetup lsof fuser sort uniq seq";

/// May a command run earlier or later than it did, as far as a disk is concerned?
pub fn may_move(words: &[Val]) -> bool {
    let Some(words) = without_prefixes(words) else { return false };
    let Some(program) = words.first().and_then(Val::known) else { return words.is_empty() };
    let asks = words.iter().any(|word| word.known() == Some("-0"));
    is_among(HARMLESS, base(program))
        || (asks && matches!(base(program), "killall" | "pkill" | "kill"))
}

/// What a command means. A value that the script does not say is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing for the storage.
    Nothing,
    /// `mount`
    Mount(Mount),
    /// `umount`: of what, and whether it is lazy.
    Unmount(Option<String>, bool),
    /// A service, or several, is started, stopped or restarted.
    Service(Vec<String>, Verb),
    /// `chown` of one path, not of what is below it: owner and path.
    Owner(String, String),
    /// `chmod` of the same: mode and path.
    Mode(String, String),
    /// `drbdadm primary` (true) or `secondary`: the resource, and whether it is forced.
    Role(bool, Option<String>, bool),
    /// `vgchange -a y` (true) or `n`: the volume group.
    Volumes(bool, Option<String>),
    /// `fuser -k` and its like: of what.
    KillUsers(Option<String>),
    /// A file system is checked or repaired: on which device.
    Repair(Option<String>),
    /// keepalived is stopped or killed.
    StopDaemon,
    /// Something about storage that has no counterpart: why it is left to a person.
    Odd(&'static str),
    /// The same of services.
    OddService(&'static str),
}

/// What is mounted where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// The device; none if it is not said, or if [`Self::is_short`].
    pub device: Option<String>,
    /// The folder, or with [`Self::is_short`] the one word that fstab(5) is asked about.
    pub point: Option<String>,
    /// `-t`
    pub kind: Option<String>,
    /// `-o`
    pub options: Option<String>,
    /// Only one of device and folder is named; fstab(5) has the other.
    pub is_short: bool,
}

/// What is done with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is started, or restarted.
    Start,
    /// It is stopped.
    Stop,
}

/// The words without what only says how, or as whom, a command is run; none if that cannot be told.
pub fn without_prefixes(words: &[Val]) -> Option<&[Val]> {
    let mut words = words;
    loop {
        let Some(first) = words.first() else { return Some(words) };
        let mut rest = words.get(1..)?;
        // Options with a value of their own, and words that stand before the command.
        let Some(name) = first.known() else { return Some(words) };
        let (valued, positional): (&[&str], usize) = match base(name) {
            "sudo" => (&["-u", "-g", "-h", "-p", "-C"], 0),
            "nice" => (&["-n"], 0),
            "ionice" => (&["-c", "-n"], 0),
            "timeout" => (&["-s", "-k"], 1),
            "command"
                if rest.first()?.known() != Some("-v") && rest.first()?.known() != Some("-V") =>
            {
                (&[], 0)
            }
            "nohup" | "builtin" | "setsid" | "exec" => (&[], 0),
            _ => return Some(words),
        };
        while let Some(option) = rest.first() {
            let option = option.known()?;
            if !option.starts_with('-') {
                break;
            }
            rest = rest.get(if valued.contains(&option) { 2 } else { 1 }..)?;
            if option == "--" {
                break;
            }
        }
        words = rest.get(positional..)?;
    }
}

/// What the words of a command mean.
pub fn meaning(words: &[Val]) -> Meaning {
    let Some(words) = without_prefixes(words) else {
        return Meaning::Odd("how it is run is not clear");
    };
    let Some((first, rest)) = words.split_first() else { return Meaning::Nothing };
    let Some(program) = first.known() else {
        return Meaning::Odd("which program this runs depends on what the script does not say");
    };
    let name = base(program);
    match name {
        "mount" => mount(rest),
        "umount" => unmount(rest),
        "service" | "systemctl" | "rc-service" => service(name, rest),
        "chown" | "chmod" => owner(name, rest),
        "drbdadm" => role(rest),
        "vgchange" => volumes(rest),
        "fuser" => kill_users(rest),
        "e2fsck" | "xfs_repair" => Meaning::Repair(last(rest)),
        "keepalived" => Meaning::Nothing,
        "killall" | "pkill" => kill(rest),
        "kill" if rest.iter().any(|word| word.known() == Some("keepalived")) => Meaning::StopDaemon,
        _ if name.starts_with("fsck") => Meaning::Repair(last(rest)),
        _ if is_init_script(program) => {
            let words: Vec<Val> =
                std::iter::once(Val::Known(name.into())).chain(rest.iter().cloned()).collect();
            service("service", &words)
        }
        "cryptsetup" => {
            Meaning::Odd("LUKS is opened and closed by LAYERS of mount.sh: luks:NAME=DEVICE")
        }
        "mdadm" => {
            Meaning::Odd("an array of md is refused by mount.sh: nothing keeps two hosts from it")
        }
        "zpool" | "zfs" => Meaning::Odd("mount.sh has no layer for ZFS"),
        "losetup" | "kpartx" | "iscsiadm" | "multipath" | "lvchange" | "swapon" | "swapoff"
        | "mount.nfs" => Meaning::Odd(
            "mount.sh has no counterpart; if the disk needs it, it belongs in before_mount() of mount.sh",
        ),
        // Text that becomes a command.
        "eval" | "sh" | "bash" | "dash" if rest.iter().any(|word| word.known().is_none()) => {
            Meaning::Odd("what is run here depends on what the script does not say")
        }
        "eval" | "sh" | "bash" | "dash" | "su" | "ssh" | "trap" | "xargs" | "find" | "chroot"
        | "nsenter" | "unshare" | "docker" | "at" | "batch" | "crontab" | "busybox" | "screen"
        | "tmux" | "systemd-run" | "runuser" | "parallel" | "watch" | "env" | "pssh"
        | "ansible" | "expect" => hidden(rest),
        _ => Meaning::Nothing,
    }
}

fn is_init_script(program: &str) -> bool {
    ["/etc/init.d/", "/etc/rc.d/init.d/", "/etc/rc.d/"].iter().any(|dir| program.starts_with(dir))
}

/// A command inside of another one's words.
fn hidden(words: &[Val]) -> Meaning {
    let mentions = |word: &Val| word.known().is_some_and(mentions_storage);
    if words.iter().any(mentions) {
        return Meaning::Odd("a command about storage that another one is given to run");
    }
    Meaning::Nothing
}

fn is_among(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

/// Is a program about storage named in a text?
pub fn mentions_storage(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.split(|c| !is_part(c)).any(|word| is_among(ABOUT_STORAGE, word))
}

fn last(words: &[Val]) -> Option<String> {
    words.last().and_then(Val::known).filter(|word| !word.starts_with('-')).map(str::to_owned)
}

/// A path without what does not matter about it.
pub fn plain_path(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        out.push('/');
        out.push_str(part);
    }
    if out.is_empty() { path.to_owned() } else { out }
}

const UNKNOWN_DEVICE: &str = "what is mounted depends on what the script does not say";

fn mount(words: &[Val]) -> Meaning {
    let mut found = Mount::default();
    let mut named: Vec<String> = Vec::new();
    let mut options: Vec<String> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(word) = word.known() else { return Meaning::Odd(UNKNOWN_DEVICE) };
        let mut value = || words.next().and_then(Val::known).map(str::to_owned);
        match word {
            "-t" | "--types" => match value() {
                Some(kind) => found.kind = Some(kind),
                None => return Meaning::Odd(UNKNOWN_DEVICE),
            },
            "-o" | "--options" => match value() {
                Some(text) => options.push(text),
                None => return Meaning::Odd(UNKNOWN_DEVICE),
            },
            "-L" | "--label" | "-U" | "--uuid" => match value() {
                Some(text) => {
                    let tag = if matches!(word, "-L" | "--label") { "LABEL" } else { "UUID" };
                    named.push(format!("{tag}={text}"));
                }
                None => return Meaning::Odd(UNKNOWN_DEVICE),
            },
            "-r" | "--read-only" => options.push("ro".into()),
            "-v" | "--verbose" | "-n" | "--no-mtab" | "-w" | "--rw" | "--read-write" | "--" => {}
            "-a" | "--all" => return Meaning::Odd("it mounts all of fstab"),
            "-l" | "--show-labels" | "-V" | "--version" | "-h" | "--help" => {
                return Meaning::Nothing;
            }
            "-B" | "--bind" | "-R" | "--rbind" => {
                return Meaning::Odd(
                    "a folder is mounted a second time; a table of mount.sh (MOUNT_TABLE) can",
                );
            }
            word if word.starts_with("-t") && !word.starts_with("--") => {
                found.kind = word.get(2..).map(str::to_owned);
            }
            word if word.starts_with("-o") && !word.starts_with("--") => {
                options.extend(word.get(2..).map(str::to_owned));
            }
            word if word.starts_with('-') => {
                return Meaning::Odd("this option of mount is not known here");
            }
            word => named.push(word.to_owned()),
        }
    }
    let options = options.join(",");
    let is_set = |option: &str| options.split(',').any(|word| word == option);
    if is_set("remount") {
        return Meaning::Odd(
            "a file system that is mounted is changed, and mount.sh does not do that",
        );
    }
    if is_set("bind") || is_set("rbind") || is_set("loop") {
        return Meaning::Odd(
            "no block device is mounted here; a table of mount.sh (MOUNT_TABLE) can bind folders",
        );
    }
    if !options.is_empty() {
        found.options = Some(options);
    }
    match named.as_slice() {
        [] => return Meaning::Nothing,
        [one] => {
            found.point = Some(one.clone());
            found.is_short = true;
        }
        [device, point] => {
            found.device = Some(device.clone());
            found.point = Some(plain_path(point));
        }
        _ => return Meaning::Odd("mount with more than two names"),
    }
    Meaning::Mount(found)
}

fn unmount(words: &[Val]) -> Meaning {
    let mut named: Vec<Option<String>> = Vec::new();
    let mut is_lazy = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.known() {
            None => named.push(None),
            Some("-t" | "--types") => {
                words.next();
            }
            Some("-a" | "--all" | "-A" | "--all-targets") => {
                return Meaning::Odd("it unmounts more than one thing");
            }
            Some("-R" | "--recursive") => {
                return Meaning::Odd("it unmounts what lies below, too");
            }
            Some("--lazy") => is_lazy = true,
            Some(word) if word.starts_with("--") => {}
            Some(word) if word.starts_with('-') => is_lazy |= word.contains('l'),
            Some(word) => named.push(Some(word.to_owned())),
        }
    }
    match named.as_slice() {
        [] => Meaning::Nothing,
        [one] => Meaning::Unmount(one.as_deref().map(plain_or_tag), is_lazy),
        _ => Meaning::Odd("it unmounts more than one thing"),
    }
}

fn plain_or_tag(name: &str) -> String {
    if name.starts_with('/') { plain_path(name) } else { name.to_owned() }
}

fn service(program: &str, words: &[Val]) -> Meaning {
    const UNKNOWN: &str = "which service this is depends on what the script does not say";
    let mut known: Vec<&str> = Vec::new();
    let mut is_unknown = false;
    for word in words {
        match word.known() {
            Some(word) if word.starts_with('-') => {
                if matches!(word, "--now" | "--user" | "-H" | "-M" | "--host" | "--machine") {
                    is_unknown = true;
                }
            }
            Some(word) => known.push(word),
            None => is_unknown = true,
        }
    }
    let (verb, names): (&str, Vec<&str>) = match (program, known.as_slice()) {
        ("systemctl", [verb, names @ ..]) => (verb, names.to_vec()),
        ("service" | "rc-service", [name, verb, ..]) => (verb, vec![name]),
        _ if is_unknown => return Meaning::OddService(UNKNOWN),
        _ => return Meaning::Nothing,
    };
    let names: Vec<String> =
        names.iter().map(|name| name.strip_suffix(".service").unwrap_or(name).to_owned()).collect();
    let verb = match verb {
        "start" | "restart" | "try-restart" | "reload-or-restart" | "force-reload" => Verb::Start,
        "stop" | "kill" => Verb::Stop,
        "enable" | "disable" | "mask" if is_unknown => {
            return Meaning::OddService("it changes what starts at boot");
        }
        _ if is_unknown && program != "systemctl" => return Meaning::OddService(UNKNOWN),
        _ => return Meaning::Nothing,
    };
    if is_unknown {
        return Meaning::OddService(UNKNOWN);
    }
    let is_daemon = |name: &String| matches!(name.as_str(), "keepalived" | "glha");
    match names.as_slice() {
        [] => Meaning::Nothing,
        [one] if is_daemon(one) && verb == Verb::Stop => Meaning::StopDaemon,
        all if all.iter().any(is_daemon) => {
            Meaning::OddService("it starts or stops keepalived itself")
        }
        _ => Meaning::Service(names, verb),
    }
}

fn owner(program: &str, words: &[Val]) -> Meaning {
    let mut known = Vec::new();
    let mut is_deep = false;
    for word in words {
        match word.known() {
            None => return Meaning::Nothing,
            Some(word) if word.starts_with("--") => return Meaning::Nothing,
            Some(word) if word.starts_with('-') && !known.is_empty() => return Meaning::Nothing,
            Some(word) if word.starts_with('-') => is_deep |= word.contains('R'),
            Some(word) => known.push(word),
        }
    }
    match (program, known.as_slice()) {
        // What lies below is not the mounted root: told apart by its path, which no root has.
        (_, [who, path]) if is_deep => {
            Meaning::Owner((*who).to_owned(), format!("{}/", plain_path(path)))
        }
        ("chown", [who, path]) => Meaning::Owner((*who).to_owned(), plain_path(path)),
        (_, [mode, path]) => Meaning::Mode((*mode).to_owned(), plain_path(path)),
        _ => Meaning::Nothing,
    }
}

fn role(words: &[Val]) -> Meaning {
    const FORCED: [&str; 4] = ["--force", "-f", "--overwrite-data-of-peer", "-o"];
    let known: Vec<Option<&str>> = words.iter().map(Val::known).collect();
    let is_forced = known.iter().flatten().any(|word| FORCED.contains(word));
    let is_option = |word: &Option<&str>| word.is_some_and(|word| word.starts_with('-'));
    let plain: Vec<Option<&str>> = known.into_iter().filter(|word| !is_option(word)).collect();
    match plain.as_slice() {
        [Some("primary"), resource] => Meaning::Role(true, resource.map(str::to_owned), is_forced),
        [Some("secondary"), resource] => {
            Meaning::Role(false, resource.map(str::to_owned), is_forced)
        }
        [Some("primary" | "secondary"), ..] => Meaning::Odd("more than one resource of DRBD"),
        [
            Some(
                "up" | "down" | "connect" | "disconnect" | "attach" | "detach" | "invalidate"
                | "invalidate-remote" | "adjust" | "outdate",
            ),
            ..,
        ] => Meaning::Odd(
            "mount.sh promotes and demotes, and does nothing else with DRBD; if this must be done before, \
             it belongs in before_mount() of mount.sh",
        ),
        [None, ..] => {
            Meaning::Odd("what is done with DRBD depends on what the script does not say")
        }
        _ => Meaning::Nothing,
    }
}

fn volumes(words: &[Val]) -> Meaning {
    let mut activates = None;
    let mut named = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.known() {
            Some("-a" | "--activate") => {
                activates = words.next().and_then(Val::known).map(|value| value.ends_with('y'));
            }
            Some("-ay" | "-aay" | "-aey" | "-aly") => activates = Some(true),
            Some("-an" | "-aln" | "-aen") => activates = Some(false),
            Some(word) if word.starts_with('-') => {
                return Meaning::Odd("this option of vgchange is not known here");
            }
            Some(word) => named.push(Some(word.to_owned())),
            None => named.push(None),
        }
    }
    match (activates, named.as_slice()) {
        (Some(activates), [one]) => Meaning::Volumes(activates, one.clone()),
        _ => Meaning::Odd("more than one volume group, or none that is named"),
    }
}

fn kill_users(words: &[Val]) -> Meaning {
    let mut named = Vec::new();
    let mut kills = false;
    for word in words {
        match word.known() {
            Some("--kill") => kills = true,
            Some(word) if word.starts_with('-') && word.chars().skip(1).all(char::is_uppercase) => {
            }
            Some(word) if word.starts_with('-') => kills |= word.contains('k'),
            Some(word) => named.push(Some(plain_or_tag(word))),
            None => named.push(None),
        }
    }
    match named.as_slice() {
        _ if !kills => Meaning::Nothing,
        [one] => Meaning::KillUsers(one.clone()),
        _ => Meaning::Odd("it ends the users of more than one thing"),
    }
}

fn kill(words: &[Val]) -> Meaning {
    let is_asking = words.iter().any(|word| matches!(word.known(), Some("-0")));
    let is_ours = words.iter().any(|word| word.known() == Some("keepalived"));
    if is_ours && !is_asking { Meaning::StopDaemon } else { Meaning::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Meaning {
        let val = |word: &str| match word {
            "UNKNOWN" => Val::Unknown { itself: false },
            word => Val::Known(word.to_owned()),
        };
        meaning(&text.split(' ').map(val).collect::<Vec<_>>())
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn mounts_are_understood_or_odd() {
        let plain =
            |device, point| Mount { device: text(device), point: text(point), ..Mount::default() };
        assert_eq!(of("mount /dev/a /b/"), Meaning::Mount(plain("/dev/a", "/b")));
        assert_eq!(of("sudo -n timeout -k 1 5 /bin/mount -v /dev/a /b"), of("mount /dev/a /b"));
        assert_eq!(
            of("mount -t xfs -o noatime -r /dev/a /b"),
            Meaning::Mount(Mount {
                kind: text("xfs"),
                options: text("noatime,ro"),
                ..plain("/dev/a", "/b")
            })
        );
        assert_eq!(of("mount -U 1-2 /b"), Meaning::Mount(plain("UUID=1-2", "/b")));
        assert_eq!(
            of("mount /b"),
            Meaning::Mount(Mount { point: text("/b"), is_short: true, ..Mount::default() })
        );
        for nothing in ["mount", "mount -l", "umount"] {
            assert_eq!(of(nothing), Meaning::Nothing, "{nothing}");
        }
        for odd in [
            "mount UNKNOWN /b",
            "mount -a",
            "mount --bind /a /b",
            "mount -o remount,rw /b",
            "mount -o loop /a /b",
            "mount --make-rslave /b",
            "UNKNOWN /dev/a /b",
            "sudo UNKNOWN mount",
            "umount -a",
            "umount /a /b",
            "umount -R /a",
            "sh -c umount",
            "eval UNKNOWN",
            "cryptsetup luksOpen /dev/a b",
            "drbdadm up r0",
            "vgchange -ay",
        ] {
            assert!(matches!(of(odd), Meaning::Odd(_)), "{odd}: {:?}", of(odd));
        }
    }

    #[test]
    fn the_others_are_understood() {
        assert_eq!(of("umount -fl /b/"), Meaning::Unmount(text("/b"), true));
        assert_eq!(of("umount UNKNOWN"), Meaning::Unmount(None, false));
        let service = |name: &str, verb| Meaning::Service(vec![name.to_owned()], verb);
        assert_eq!(of("service nfs restart"), service("nfs", Verb::Start));
        assert_eq!(of("/etc/init.d/nfs stop"), service("nfs", Verb::Stop));
        assert_eq!(of("systemctl stop nfs.service"), service("nfs", Verb::Stop));
        assert_eq!(of("systemctl is-active nfs"), Meaning::Nothing);
        assert!(matches!(of("systemctl start UNKNOWN"), Meaning::OddService(_)));
        for stop in ["service keepalived stop", "pkill keepalived", "killall -9 keepalived"] {
            assert_eq!(of(stop), Meaning::StopDaemon, "{stop}");
        }
        assert_eq!(of("killall -0 keepalived"), Meaning::Nothing);
        assert_eq!(of("chown git:git /b"), Meaning::Owner("git:git".into(), "/b".into()));
        assert_eq!(of("chown -R git:git /b"), Meaning::Owner("git:git".into(), "/b/".into()));
        assert_eq!(of("chmod 755 /b"), Meaning::Mode("755".into(), "/b".into()));
        assert_eq!(of("drbdadm primary r0"), Meaning::Role(true, text("r0"), false));
        assert_eq!(of("drbdadm -- -o primary r0"), Meaning::Role(true, text("r0"), true));
        assert_eq!(of("vgchange -a y vg"), Meaning::Volumes(true, text("vg")));
        assert_eq!(of("fuser -km /b"), Meaning::KillUsers(text("/b")));
        assert_eq!(of("fuser -k -TERM -m /b"), Meaning::KillUsers(text("/b")));
        assert_eq!(of("fuser -m /b"), Meaning::Nothing);
        assert_eq!(of("fsck.ext4 -y /dev/a"), Meaning::Repair(text("/dev/a")));
        assert_eq!(of("echo mount /dev/a /b"), Meaning::Nothing);
    }
}
