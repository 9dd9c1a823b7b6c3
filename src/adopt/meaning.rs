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

impl Meaning {
    /// Does it give something to the settings?
    pub const fn is_setting(&self) -> bool {
        matches!(
            self,
            Self::Mount(_)
                | Self::Service(..)
                | Self::Owner(..)
                | Self::Mode(..)
                | Self::Role(..)
                | Self::Volumes(..)
        )
    }
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
pub fn without_prefixes(mut words: &[Val]) -> Option<&[Val]> {
    loop {
        let Some((first, mut rest)) = words.split_first() else { return Some(words) };
        // Options with a value of their own, and words that stand before the command.
        let (valued, positional): (&[&str], usize) = match base(first.known().unwrap_or_default()) {
            "sudo" => (&["-u", "-g", "-h", "-p", "-C"], 0),
            "nice" | "ionice" => (&["-n", "-c"], 0),
            "timeout" => (&["-s", "-k"], 1),
            "command" if !matches!(rest.first()?.known(), Some("-v" | "-V")) => (&[], 0),
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
        _ if is_init_script(program) => service("service", &[&[Val::of(name)], rest].concat()),
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
        | "ansible" | "expect"
            if rest.iter().filter_map(Val::known).any(mentions_storage) =>
        {
            Meaning::Odd("a command about storage that another one is given to run")
        }
        _ => Meaning::Nothing,
    }
}

fn is_init_script(program: &str) -> bool {
    ["/etc/init.d/", "/etc/rc.d/init.d/", "/etc/rc.d/"].iter().any(|dir| program.starts_with(dir))
}

/// Is a word one of these?
pub(super) fn is_among(words: &str, word: &str) -> bool {
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

/// The words of a command.
struct Words<'a> {
    /// Its options, with the value of those that take one.
    options: Vec<(&'a str, Option<&'a str>)>,
    /// The others; none where the script does not say it.
    named: Vec<Option<&'a str>>,
}

/// Tells the options of a command from its other words; `valued` are those that take the next word.
fn split<'a>(words: &'a [Val], valued: &[&str]) -> Words<'a> {
    let mut out = Words { options: Vec::new(), named: Vec::new() };
    let mut words = words.iter().map(Val::known);
    while let Some(word) = words.next() {
        match word.filter(|word| word.starts_with('-')) {
            Some(option) => {
                let value = if valued.contains(&option) { words.next().flatten() } else { None };
                out.options.push((option, value));
            }
            None => out.named.push(word),
        }
    }
    out
}

/// Is it a short option, or several, with this letter among them?
fn has_letter(option: &str, letter: char) -> bool {
    !option.starts_with("--") && option.contains(letter)
}

fn mount(words: &[Val]) -> Meaning {
    const UNKNOWN: Meaning =
        Meaning::Odd("what is mounted depends on what the script does not say");
    const VALUED: [&str; 8] = ["-t", "--types", "-o", "--options", "-L", "--label", "-U", "--uuid"];
    let words = split(words, &VALUED);
    let mut found = Mount::default();
    let (mut named, mut options): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for (option, value) in words.options {
        match (option, value) {
            ("-t" | "--types", Some(kind)) => found.kind = Some(kind.to_owned()),
            ("-o" | "--options", Some(text)) => options.push(text),
            ("-L" | "--label", Some(text)) => named.push(format!("LABEL={text}")),
            ("-U" | "--uuid", Some(text)) => named.push(format!("UUID={text}")),
            (option, None) if VALUED.contains(&option) => return UNKNOWN,
            ("-r" | "--read-only", _) => options.push("ro"),
            (
                "-v" | "--verbose" | "-n" | "--no-mtab" | "-w" | "--rw" | "--read-write" | "--",
                _,
            ) => {}
            ("-a" | "--all", _) => return Meaning::Odd("it mounts all of fstab"),
            ("-l" | "--show-labels" | "-V" | "--version" | "-h" | "--help", _) => {
                return Meaning::Nothing;
            }
            ("-B" | "--bind" | "-R" | "--rbind", _) => {
                return Meaning::Odd(
                    "a folder is mounted a second time; a table of mount.sh (MOUNT_TABLE) can",
                );
            }
            _ => {
                if let Some(kind) = option.strip_prefix("-t") {
                    found.kind = Some(kind.to_owned());
                } else if let Some(text) = option.strip_prefix("-o") {
                    options.push(text);
                } else {
                    return Meaning::Odd("this option of mount is not known here");
                }
            }
        }
    }
    for word in words.named {
        let Some(word) = word else { return UNKNOWN };
        named.push(word.to_owned());
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
    match named.as_slice() {
        [] => return Meaning::Nothing,
        [one] => (found.point, found.is_short) = (Some(one.clone()), true),
        [device, point] => {
            (found.device, found.point) = (Some(device.clone()), Some(plain_path(point)));
        }
        _ => return Meaning::Odd("mount with more than two names"),
    }
    found.options = Some(options).filter(|options| !options.is_empty());
    Meaning::Mount(found)
}

fn unmount(words: &[Val]) -> Meaning {
    const MORE: Meaning = Meaning::Odd("it unmounts more than one thing");
    let words = split(words, &["-t", "--types"]);
    let mut is_lazy = false;
    for (option, _) in words.options {
        match option {
            "-a" | "--all" | "-A" | "--all-targets" => return MORE,
            "-R" | "--recursive" => {
                return Meaning::Odd("it unmounts what lies below, too");
            }
            _ => is_lazy |= option == "--lazy" || has_letter(option, 'l'),
        }
    }
    match words.named.as_slice() {
        [] => Meaning::Nothing,
        [one] => Meaning::Unmount(one.map(plain_or_tag), is_lazy),
        _ => MORE,
    }
}

fn plain_or_tag(name: &str) -> String {
    if name.starts_with('/') { plain_path(name) } else { name.to_owned() }
}

fn service(program: &str, words: &[Val]) -> Meaning {
    const UNKNOWN: Meaning =
        Meaning::OddService("which service this is depends on what the script does not say");
    let words = split(words, &[]);
    let elsewhere = ["--now", "--user", "-H", "-M", "--host", "--machine"];
    let is_unknown = words.named.contains(&None)
        || words.options.iter().any(|(option, _)| elsewhere.contains(option));
    let known: Vec<&str> = words.named.into_iter().flatten().collect();
    let (verb, names): (&str, &[&str]) = match (program, known.as_slice()) {
        ("systemctl", [verb, names @ ..]) => (verb, names),
        ("service" | "rc-service", [name, verb, ..]) => (verb, std::slice::from_ref(name)),
        _ => return if is_unknown { UNKNOWN } else { Meaning::Nothing },
    };
    let verb = match verb {
        "start" | "restart" | "try-restart" | "reload-or-restart" | "force-reload" => Verb::Start,
        "stop" | "kill" => Verb::Stop,
        "enable" | "disable" | "mask" if is_unknown => {
            return Meaning::OddService("it changes what starts at boot");
        }
        _ if is_unknown && program != "systemctl" => return UNKNOWN,
        _ => return Meaning::Nothing,
    };
    let plain = |name: &&str| name.strip_suffix(".service").unwrap_or(name).to_owned();
    let names: Vec<String> = names.iter().map(plain).collect();
    let is_daemon = |name: &String| matches!(name.as_str(), "keepalived" | "glha");
    match names.as_slice() {
        _ if is_unknown => UNKNOWN,
        [] => Meaning::Nothing,
        [one] if is_daemon(one) && verb == Verb::Stop => Meaning::StopDaemon,
        all if all.iter().any(is_daemon) => {
            Meaning::OddService("it starts or stops keepalived itself")
        }
        _ => Meaning::Service(names, verb),
    }
}

fn owner(program: &str, words: &[Val]) -> Meaning {
    let words = split(words, &[]);
    let [Some(value), Some(path)] = words.named.as_slice() else { return Meaning::Nothing };
    if words.options.iter().any(|(option, _)| option.starts_with("--")) {
        return Meaning::Nothing;
    }
    let (value, path) = ((*value).to_owned(), plain_path(path));
    if words.options.iter().any(|(option, _)| option.contains('R')) {
        // What lies below is not the mounted root: told apart by its path, which no root has.
        Meaning::Owner(value, format!("{path}/"))
    } else if program == "chown" {
        Meaning::Owner(value, path)
    } else {
        Meaning::Mode(value, path)
    }
}

fn role(words: &[Val]) -> Meaning {
    const FORCED: [&str; 4] = ["--force", "-f", "--overwrite-data-of-peer", "-o"];
    let words = split(words, &[]);
    let is_forced = words.options.iter().any(|(option, _)| FORCED.contains(option));
    match words.named.as_slice() {
        [Some(role @ ("primary" | "secondary")), resource] => {
            Meaning::Role(*role == "primary", resource.map(str::to_owned), is_forced)
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
    let words = split(words, &["-a", "--activate"]);
    let mut activates = None;
    for (option, value) in words.options {
        activates = match (option, value) {
            ("-a" | "--activate", value) => value.map(|value| value.ends_with('y')),
            ("-ay" | "-aay" | "-aey" | "-aly", _) => Some(true),
            ("-an" | "-aln" | "-aen", _) => Some(false),
            _ => return Meaning::Odd("this option of vgchange is not known here"),
        };
    }
    match (activates, words.named.as_slice()) {
        (Some(activates), [one]) => Meaning::Volumes(activates, one.map(str::to_owned)),
        _ => Meaning::Odd("more than one volume group, or none that is named"),
    }
}

fn kill_users(words: &[Val]) -> Meaning {
    let words = split(words, &[]);
    let kills = |(option, _): &(&str, _)| *option == "--kill" || has_letter(option, 'k');
    match words.named.as_slice() {
        _ if !words.options.iter().any(kills) => Meaning::Nothing,
        [one] => Meaning::KillUsers(one.map(plain_or_tag)),
        _ => Meaning::Odd("it ends the users of more than one thing"),
    }
}

fn kill(words: &[Val]) -> Meaning {
    let has = |wanted: &str| words.iter().any(|word| word.known() == Some(wanted));
    if has("keepalived") && !has("-0") { Meaning::StopDaemon } else { Meaning::Nothing }
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
