//! The `hooks` block of an owner: settings for mount.sh, and what a person has to do beside.

use std::fmt::Write as _;

use super::gather::{Mounted, Storage};

/// The timeout of `mount`, unless the disk needs more, in seconds.
const TIMEOUT: u64 = 60;
/// What a mount hook does beside waiting for MMP, in seconds.
const SPARE: u64 = 5;

/// What is found out about a device on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// There is no such device here, or it may not be read.
    Unseen,
    /// It is here.
    Seen(Facts),
}

/// A device that is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The type of its file system, as blkid(8) says it.
    pub kind: Option<String>,
    /// It is ext4 with multiple mount protection: how long a mount may wait for it, in seconds.
    pub mmp: Option<u64>,
    /// It takes SCSI-3 persistent reservations.
    pub reserves: bool,
}

/// A block, and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The block, as it is written into the configuration.
    pub text: String,
    /// The table that it names, and its text.
    pub table: Option<(String, String)>,
    /// What is run once, and where.
    pub steps: Vec<String>,
    /// What is not known: the place of the mount, and why it is left to a person.
    pub left: Vec<((usize, usize), String)>,
}

impl Block {
    /// A setting for mount.sh.
    fn set(&mut self, name: &str, value: &str) {
        let quoted = value.contains(|c: char| c.is_whitespace() || c == ',' || c == '=');
        let quote = if quoted { "\"" } else { "" };
        let _ = writeln!(self.text, "    env     {name:<12} {quote}{value}{quote}");
    }
}

/// How the storage is guarded.
struct Guard {
    name: Option<&'static str>,
    timeout: u64,
}

/// Makes the block. `table` is the path that a table of several file systems would have.
pub fn block(
    owner: &str,
    storage: &Storage,
    table: &str,
    disk: &mut dyn FnMut(&str) -> Disk,
) -> Block {
    let mut out = Block::default();
    let disks: Vec<Disk> = storage.mounts.iter().map(|one| disk(&one.device)).collect();
    let guard = guard(storage, &disks, &mut out);
    let kinds: Vec<Option<String>> = storage.mounts.iter().zip(&disks).map(kind).collect();
    let _ = writeln!(out.text, "hooks {owner} {{");
    let _ = writeln!(out.text, "    mount   timeout {} probe 10", guard.timeout);
    match storage.mounts.as_slice() {
        [one] => {
            out.set("MOUNT_DEVICE", &one.device);
            out.set("MOUNT_POINT", &one.point);
            // What mount(8) takes without -t.
            let kind = kinds.first().and_then(Option::as_deref).unwrap_or("auto");
            out.set("MOUNT_TYPE", kind);
            if let Some(options) = &one.options {
                out.set("MOUNT_OPTIONS", options);
            }
        }
        many => {
            out.set("MOUNT_TABLE", table);
            let mut text = String::new();
            for (one, kind) in many.iter().zip(&kinds) {
                let escape = |text: &str| text.replace(' ', "\\040");
                let (kind, options) = (kind.as_deref().unwrap_or("auto"), one.options.as_deref());
                let (device, point) = (escape(&one.device), escape(&one.point));
                let options = options.unwrap_or("defaults");
                let _ = writeln!(text, "{device}  {point}  {kind}  {options}  0 0");
            }
            out.table = Some((table.to_owned(), text));
        }
    }
    storage.owner.iter().for_each(|owner| out.set("MOUNT_OWNER", owner));
    storage.mode.iter().for_each(|mode| out.set("MOUNT_MODE", mode));
    if !storage.groups.is_empty() {
        let layers: Vec<String> =
            storage.groups.iter().map(|group| format!("lvm:{group}")).collect();
        out.set("LAYERS", &layers.join(" "));
    }
    match guard.name {
        Some(name) => out.set("GUARD", name),
        None => {
            let _ = writeln!(
                out.text,
                "    # env   GUARD: what the disk can do is not known here; mmp unless given"
            );
        }
    }
    if let Some(resource) = resource(storage) {
        out.set("DRBD_RESOURCE", &resource);
    }
    if !storage.services.is_empty() {
        let services = storage.services.join(" ");
        out.set("SERVICES", &services);
        out.steps.push(format!("on both nodes: systemctl disable {services}"));
    }
    let _ = writeln!(out.text, "    # peers glha      when both nodes run glha\n}}");
    for one in storage.mounts.iter().filter(|one| one.is_booted) {
        out.steps.push(format!("on both nodes: noauto for {} in /etc/fstab", one.point));
    }
    out
}

/// The type of a file system: as a script has it, else as the disk has it.
fn kind((one, disk): (&Mounted, &Disk)) -> Option<String> {
    let of_disk = || match disk {
        Disk::Seen(facts) => facts.kind.clone(),
        Disk::Unseen => None,
    };
    one.kind.clone().or_else(of_disk)
}

/// The resource of DRBD, by a script or by the name of the device.
fn resource(storage: &Storage) -> Option<String> {
    let by_name = |one: &Mounted| {
        let rest = one.device.strip_prefix("/dev/drbd/by-res/")?;
        rest.split('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
    };
    storage.resource.clone().or_else(|| storage.mounts.iter().find_map(by_name))
}

fn guard(storage: &Storage, disks: &[Disk], out: &mut Block) -> Guard {
    let Some(first) = storage.mounts.first() else { return Guard { name: None, timeout: TIMEOUT } };
    let device = &first.device;
    let plain = |name| Guard { name: Some(name), timeout: TIMEOUT };
    if storage.mounts.iter().any(|one| one.device.starts_with("/dev/drbd")) {
        if resource(storage).is_none() {
            let why = format!(
                "DRBD_RESOURCE: which resource {device} is, no script says; drbdadm sh-dev all and \
                 drbdadm sh-resources do"
            );
            out.left.push((first.from, why));
        }
        return plain("drbd");
    }
    let mut seen = Vec::new();
    for (one, disk) in storage.mounts.iter().zip(disks) {
        let Disk::Seen(facts) = disk else {
            let device = &one.device;
            let why = format!(
                "GUARD: {device} cannot be looked at here; on a node that has it, dumpe2fs -h {device} | \
                 grep -i mmp tells whether MMP is on, sg_persist -n -k {device} whether it takes \
                 reservations"
            );
            out.left.push((one.from, why));
            out.steps.push(format!(
                "if it is ext4 without MMP, with the disk unmounted on every node, on one of them: {}",
                switch_on(device)
            ));
            continue;
        };
        seen.push((one, facts));
    }
    if seen.len() < storage.mounts.len() {
        return Guard { name: None, timeout: TIMEOUT };
    }
    let is_ext4 = |(one, facts): &(&Mounted, &Facts)| {
        one.kind.as_deref().or(facts.kind.as_deref()).is_some_and(|kind| kind == "ext4")
    };
    let wait = seen.iter().filter_map(|(_, facts)| facts.mmp).max().unwrap_or_default();
    let timeout = if wait + SPARE > TIMEOUT { (wait + SPARE).div_ceil(10) * 10 } else { TIMEOUT };
    if seen.iter().all(|(_, facts)| facts.mmp.is_some()) {
        return Guard { name: Some("mmp"), timeout };
    }
    if seen.iter().all(|(_, facts)| facts.reserves) {
        return plain("scsi-pr");
    }
    if seen.iter().all(is_ext4) {
        for (one, _) in seen.iter().filter(|(_, facts)| facts.mmp.is_none()) {
            out.steps.push(format!(
                "with the disk unmounted on every node, on one of them: {}",
                switch_on(&one.device)
            ));
        }
        return Guard { name: Some("mmp"), timeout };
    }
    let why = format!(
        "GUARD none: {device} has neither MMP nor reservations, so it is mounted only after a proven release; \
         fence, with a FENCE_COMMAND, can do more"
    );
    out.left.push((first.from, why));
    plain("none")
}

fn switch_on(device: &str) -> String {
    format!("tune2fs -O mmp -E mmp_update_interval=1 {device}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(device: &str, kind: Option<&str>) -> Storage {
        let mounted = Mounted {
            device: device.into(),
            point: "/srv/data".into(),
            kind: kind.map(str::to_owned),
            options: None,
            is_booted: false,
            from: (0, 1),
        };
        Storage { mounts: vec![mounted], ..Storage::default() }
    }

    /// The guard that is written, the timeout, and how many remarks and steps there are.
    fn guard_of(device: &str, disk: &Disk) -> (Option<String>, String, usize, usize) {
        let block = block("V", &storage(device, None), "/t", &mut |_| disk.clone());
        let find = |start: &str| {
            block.text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::to_owned)
        };
        let guard = find("env     GUARD        ");
        (guard, find("mount   timeout ").expect("a mount"), block.left.len(), block.steps.len())
    }

    #[test]
    fn the_guard_is_what_the_disk_can_do() {
        let facts = |kind: &str, mmp, reserves| {
            Disk::Seen(Facts { kind: Some(kind.to_owned()), mmp, reserves })
        };
        let said = |guard: Option<&str>, timeout: u64, left, steps| {
            (guard.map(str::to_owned), format!("{timeout} probe 10"), left, steps)
        };
        let of = |disk| guard_of("/dev/a", &disk);
        assert_eq!(of(facts("ext4", Some(25), true)), said(Some("mmp"), 60, 0, 0));
        assert_eq!(of(facts("ext4", Some(88), false)), said(Some("mmp"), 100, 0, 0));
        assert_eq!(of(facts("ext4", None, false)), said(Some("mmp"), 60, 0, 1));
        assert_eq!(of(facts("ext4", None, true)), said(Some("scsi-pr"), 60, 0, 0));
        assert_eq!(of(facts("xfs", None, true)), said(Some("scsi-pr"), 60, 0, 0));
        assert_eq!(of(facts("xfs", None, false)), said(Some("none"), 60, 1, 0));
        assert_eq!(of(Disk::Unseen), said(None, 60, 1, 1));
        assert_eq!(guard_of("/dev/drbd0", &Disk::Unseen), said(Some("drbd"), 60, 1, 0));
        assert_eq!(guard_of("/dev/drbd/by-res/r0/0", &Disk::Unseen), said(Some("drbd"), 60, 0, 0));
    }

    #[test]
    fn several_file_systems_have_a_table() {
        let mut both = storage("/dev/a", Some("xfs"));
        both.mounts.push(Mounted {
            device: "/dev/b".into(),
            point: "/srv/a b".into(),
            options: Some("noatime".into()),
            ..both.mounts[0].clone()
        });
        let block = block("V", &both, "/etc/t", &mut |_| Disk::Unseen);
        assert!(block.text.contains("    env     MOUNT_TABLE  /etc/t\n"), "{}", block.text);
        let text =
            "/dev/a  /srv/data  xfs  defaults  0 0\n/dev/b  /srv/a\\040b  xfs  noatime  0 0\n";
        assert_eq!(block.table, Some(("/etc/t".into(), text.into())));
    }
}
