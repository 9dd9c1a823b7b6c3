//! What all scripts of a configuration do together: the storage of each owner, and for every line whether
//! it belongs to mount.sh from now on.
//!
//! A line goes only if everything it was met for is what mount.sh does. Whatever is about storage and is
//! not, is named.

use std::collections::{BTreeMap, BTreeSet};

use super::meaning::{Meaning, Mount, Verb, may_move, meaning, plain_path};
use super::value::Val;
use super::walk::{Trail, Visit, When};

/// A line that goes may make another one stay; it is looked at again at most so often.
const ROUNDS_MAX: usize = 10;

/// More file systems are in no table that a person wrote.
const MOUNTS_MAX: usize = 50;

/// A place in a script: file and first byte.
pub type Key = (usize, usize);

/// A remark, with file and line.
pub type Remark = (usize, usize, String);

/// What follows for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// mount.sh does it.
    Remove,
    /// mount.sh does it, and the script ends here (`exec`).
    End,
    /// It stops the daemon in a check: to fail is enough.
    Fail,
}

/// A way into the scripts, and for whom.
#[derive(Debug)]
pub struct Way {
    /// Whose storage it may be about, by their places.
    pub owners: Vec<usize>,
    /// What is met on it.
    pub trail: Trail,
}

/// A file system that scripts mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The device, as it is written.
    pub device: String,
    /// The folder.
    pub point: String,
    /// Its type, if it is said.
    pub kind: Option<String>,
    /// Its options, if there are any.
    pub options: Option<String>,
    /// A line of fstab(5) mounts it at boot.
    pub is_booted: bool,
    /// File and line.
    pub from: (usize, usize),
}

/// What an owner has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// In the order of mounting.
    pub mounts: Vec<Mounted>,
    /// In the order of starting.
    pub services: Vec<String>,
    /// Of the mounted root.
    pub owner: Option<String>,
    /// Of the mounted root.
    pub mode: Option<String>,
    /// The resource of DRBD, if scripts promote one.
    pub resource: Option<String>,
    /// Volume groups that scripts activate.
    pub groups: Vec<String>,
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What each owner has; none if its scripts mount nothing.
    pub storages: Vec<Option<Storage>>,
    /// What happens with commands; of one that is not in it, nothing.
    pub verdicts: BTreeMap<Key, Verdict>,
    /// What is left to a person.
    pub left: BTreeSet<Remark>,
    /// What a person should know.
    pub notes: BTreeSet<Remark>,
}

/// A line of fstab(5): device, folder, type, options.
pub type Line = [String; 4];

/// The lines of a text in the format of fstab(5).
pub fn fstab(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(|word| word.replace("\\040", " "));
        let device = words.next().filter(|word| !word.starts_with('#'))?;
        let point = plain_path(&words.next()?);
        Some([device, point, words.next()?, words.next().unwrap_or_else(|| "defaults".into())])
    };
    text.lines().filter_map(line).collect()
}

/// What one visit is about.
enum Found {
    /// mount.sh does it; what a person should know of that.
    Remove(Option<String>),
    /// A check that fails is enough.
    Fail,
    /// Nothing that concerns storage.
    Keep,
    /// It stays, and is named.
    Left(String),
}

/// A command that was met, with what it means.
struct Met<'a> {
    way: usize,
    owners: &'a [usize],
    visit: &'a Visit,
    meaning: Meaning,
}

impl Met<'_> {
    const fn key(&self) -> Key {
        (self.visit.file, self.visit.place.start)
    }
}

/// Puts together what was met on all ways.
pub fn gather(ways: &[Way], owners: &[String], fstab: &[Line]) -> Gathered {
    let met: Vec<Met<'_>> = ways
        .iter()
        .enumerate()
        .flat_map(|(way, one)| {
            one.trail.visits.iter().map(move |visit| {
                let meaning = meaning(&visit.words);
                Met { way, owners: &one.owners, visit, meaning }
            })
        })
        .collect();
    let mut by_owner: Vec<Vec<usize>> = vec![Vec::new(); owners.len()];
    for (at, one) in met.iter().enumerate() {
        for &owner in one.owners {
            by_owner.get_mut(owner).into_iter().for_each(|all| all.push(at));
        }
    }
    // Commands that stay although they were met for something of mount.sh.
    let mut stays: BTreeSet<Key> = BTreeSet::new();
    let mut gathered = Gathered::default();
    for _ in 0..ROUNDS_MAX {
        let mut round = Round {
            met: &met,
            by_owner: &by_owner,
            owners,
            fstab,
            stays: &stays,
            clashes: Vec::new(),
            out: Gathered::default(),
        };
        round.storages();
        round.verdicts();
        round.moved(ways);
        let mut out = round.out;
        let more: BTreeSet<Key> = met
            .iter()
            .filter(|one| matters(&one.meaning) && !out.verdicts.contains_key(&one.key()))
            .map(Met::key)
            .collect();
        // Once named, for a reason that a later round may not see any more.
        out.left.append(&mut gathered.left);
        gathered = out;
        if more.is_subset(&stays) {
            break;
        }
        stays.extend(more);
    }
    for way in ways {
        for puzzle in &way.trail.puzzles {
            gathered.left.insert((puzzle.file, puzzle.line, puzzle.why.clone()));
        }
    }
    gathered
}

/// Does it give something to the settings?
const fn matters(meaning: &Meaning) -> bool {
    matches!(
        meaning,
        Meaning::Mount(_)
            | Meaning::Service(..)
            | Meaning::Owner(..)
            | Meaning::Mode(..)
            | Meaning::Role(..)
            | Meaning::Volumes(..)
    )
}

struct Round<'a> {
    met: &'a [Met<'a>],
    /// The places in [`Self::met`] of what each owner's ways meet.
    by_owner: &'a [Vec<usize>],
    owners: &'a [String],
    fstab: &'a [Line],
    stays: &'a BTreeSet<Key>,
    /// Why the mounts of each owner cannot be told apart.
    clashes: Vec<Option<String>>,
    out: Gathered,
}

const UNSURE: &str = "it depends on a condition that has nothing to do with it, in line";

impl Round<'_> {
    // --- what there is

    fn storages(&mut self) {
        let mut all: Vec<Vec<Mounted>> = vec![Vec::new(); self.owners.len()];
        for one in self.met {
            let Meaning::Mount(mount) = &one.meaning else { continue };
            let Ok(mounted) = self.mounted(one, mount) else { continue };
            for &owner in one.owners {
                let Some(mounts) = all.get_mut(owner).filter(|all| all.len() <= MOUNTS_MAX) else {
                    continue;
                };
                match mounts.iter_mut().find(|known| same(known, &mounted)) {
                    Some(known) => {
                        known.kind = known.kind.take().or_else(|| mounted.kind.clone());
                        known.options = known.options.take().or_else(|| mounted.options.clone());
                    }
                    None => mounts.push(mounted.clone()),
                }
            }
        }
        self.clashes = (0..all.len()).map(|owner| self.clash(&all, owner)).collect();
        let storage = |(mounts, clash): (Vec<Mounted>, &Option<String>)| {
            let is_good = !mounts.is_empty() && clash.is_none();
            is_good.then(|| Storage { mounts, ..Storage::default() })
        };
        self.out.storages = all.into_iter().zip(&self.clashes).map(storage).collect();
        for owner in 0..self.owners.len() {
            let services = self.services(owner);
            let (own, mode) = (self.root_setting(owner, false), self.root_setting(owner, true));
            let (resource, groups) = (self.resource(owner), self.groups(owner));
            if let Some(Some(storage)) = self.out.storages.get_mut(owner) {
                (storage.services, storage.owner, storage.mode) = (services, own, mode);
                (storage.resource, storage.groups) = (resource, groups);
            }
        }
    }

    /// What a `mount` mounts, or why that is left to a person.
    fn mounted(&self, one: &Met<'_>, mount: &Mount) -> Result<Mounted, String> {
        if self.stays.contains(&one.key()) {
            return Err(String::new());
        }
        if let Some(line) = one.visit.unsure {
            return Err(format!("{UNSURE} {line}"));
        }
        let from = (one.visit.file, one.visit.place.line);
        let (Some(point), device) = (mount.point.clone(), mount.device.clone()) else {
            return Err("what is mounted depends on what the script does not say".into());
        };
        let mut found = Mounted {
            device: device.unwrap_or_default(),
            point,
            kind: mount.kind.clone().filter(|kind| kind != "auto"),
            options: mount.options.clone(),
            is_booted: false,
            from,
        };
        if mount.is_short {
            let name = plain_path(&found.point);
            let line = self
                .fstab
                .iter()
                .find(|[device, point, ..]| *device == found.point || *point == name);
            let Some([device, point, kind, options]) = line else {
                return Err(format!(
                    "{} is looked up in fstab, which has no such line here",
                    found.point
                ));
            };
            (found.device, found.point) = (device.clone(), point.clone());
            found.kind = found.kind.or_else(|| Some(kind.clone()).filter(|kind| kind != "auto"));
            let of_boot = |option: &&str| {
                !matches!(
                    *option,
                    "noauto" | "auto" | "nofail" | "_netdev" | "defaults" | "user" | "users"
                ) && !option.starts_with("x-")
            };
            let kept: Vec<&str> = options.split(',').filter(of_boot).collect();
            found.options =
                found.options.or_else(|| Some(kept.join(","))).filter(|text| !text.is_empty());
        }
        let at_boot = |[device, point, _, options]: &Line| {
            (*device == found.device || *point == found.point)
                && !options.split(',').any(|option| option == "noauto")
        };
        found.is_booted = self.fstab.iter().any(at_boot);
        let tags = ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="];
        let is_block = tags.iter().any(|tag| found.device.starts_with(tag));
        let network =
            ["nfs", "nfs4", "cifs", "glusterfs", "ceph", "tmpfs", "overlay", "gfs2", "ocfs2", "9p"];
        if !is_block || found.kind.as_deref().is_some_and(|kind| network.contains(&kind)) {
            let (device, point) = (&found.device, &found.point);
            return Err(format!(
                "{device} on {point} is no block device with a file system of its own, and mount.sh mounts nothing else"
            ));
        }
        if !found.point.starts_with('/') {
            return Err(format!("{} is no path that begins with /", found.point));
        }
        let texts =
            [Some(&found.device), Some(&found.point), found.kind.as_ref(), found.options.as_ref()];
        if !texts.into_iter().flatten().all(|text| can_be_written(text)) {
            return Err("a name in it cannot be written into a configuration".into());
        }
        Ok(found)
    }

    /// Why the mounts of an owner cannot be told apart: not one device for each folder, or not its own.
    fn clash(&self, all: &[Vec<Mounted>], owner: usize) -> Option<String> {
        let own = all.get(owner).filter(|own| !own.is_empty())?;
        if own.len() > MOUNTS_MAX {
            return Some(format!("more than {MOUNTS_MAX} file systems are mounted"));
        }
        for (at, one) in own.iter().enumerate() {
            let others = own.iter().skip(at + 1);
            let mut alike =
                others.filter(|other| one.point == other.point || one.device == other.device);
            if let Some(other) = alike.next() {
                return Some(format!(
                    "there is {} on {}, and {} on {}: which of them is meant is not clear",
                    one.device, one.point, other.device, other.point
                ));
            }
        }
        for (place, others) in all.iter().enumerate().filter(|(place, _)| *place != owner) {
            let is_shared = |one: &&Mounted| {
                others.iter().any(|other| other.device == one.device || other.point == one.point)
            };
            if let Some(one) = own.iter().find(is_shared) {
                let (a, b) = (self.owners.get(owner)?, self.owners.get(place)?);
                return Some(format!(
                    "both {a} and {b} mount {}: storage has one owner; put the instances into a sync group",
                    one.device
                ));
            }
        }
        None
    }

    /// What was met on the ways of an owner.
    fn of(&self, owner: usize) -> impl Iterator<Item = &Met<'_>> {
        self.by_owner.get(owner).into_iter().flatten().filter_map(|&at| self.met.get(at))
    }

    /// What was met on a way, in order.
    fn way(&self, way: usize) -> &[Met<'_>] {
        let begin = self.met.partition_point(|met| met.way < way);
        let end = self.met.partition_point(|met| met.way <= way);
        self.met.get(begin..end).unwrap_or_default()
    }

    /// The storages that a command may be about.
    fn storages_of(&self, one: &Met<'_>) -> impl Iterator<Item = &Storage> {
        one.owners.iter().filter_map(|&owner| self.storage(owner))
    }

    fn storage(&self, owner: usize) -> Option<&Storage> {
        self.out.storages.get(owner)?.as_ref()
    }

    /// The services that start after the mount and stop before the unmount.
    fn services(&self, owner: usize) -> Vec<String> {
        if self.storage(owner).is_none() {
            return Vec::new();
        }
        let mut started: Vec<String> = Vec::new();
        let (mut stopped, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let mut mounting = BTreeSet::new();
        for one in self.of(owner) {
            match &one.meaning {
                Meaning::Mount(mount) if self.mounted(one, mount).is_ok() => {
                    mounting.insert(one.way);
                }
                Meaning::Service(names, verb) if one.visit.when != When::Check => {
                    let is_refused = self.stays.contains(&one.key());
                    for name in names {
                        let is_plain =
                            name.chars().all(|c| c.is_ascii_alphanumeric() || "@._:-".contains(c));
                        if is_refused || !is_plain {
                            refused.insert(name.clone());
                            continue;
                        }
                        match (verb, one.visit.when) {
                            (Verb::Start, When::Master)
                                if one.visit.unsure.is_none() && mounting.contains(&one.way) =>
                            {
                                if !started.contains(name) {
                                    started.push(name.clone());
                                }
                            }
                            (Verb::Start, _) | (Verb::Stop, When::Master) => {
                                refused.insert(name.clone());
                            }
                            (Verb::Stop, _) => {
                                stopped.insert(name.clone());
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        started.retain(|name| stopped.contains(name) && !refused.contains(name));
        started
    }

    /// Owner or mode of the mounted root, if scripts agree on it.
    fn root_setting(&self, owner: usize, is_mode: bool) -> Option<String> {
        let [only] = self.storage(owner)?.mounts.as_slice() else { return None };
        let mut values = BTreeSet::new();
        for one in self.of(owner) {
            let (value, path) = match (&one.meaning, is_mode) {
                (Meaning::Owner(value, path), false) | (Meaning::Mode(value, path), true) => {
                    (value, path)
                }
                _ => continue,
            };
            let is_good = if is_mode {
                value.len() <= 4 && value.chars().all(|c| c.is_digit(8))
            } else {
                value.matches(':').count() <= 1
                    && value.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c))
                    && !value.starts_with(['-', ':'])
            };
            if *path == only.point {
                let is_sure = one.visit.unsure.is_none() && one.visit.when == When::Master;
                if !is_good || !is_sure || self.stays.contains(&one.key()) {
                    return None;
                }
                values.insert(value.clone());
            }
        }
        values.pop_first().filter(|_| values.is_empty())
    }

    fn resource(&self, owner: usize) -> Option<String> {
        let storage = self.storage(owner)?;
        let is_drbd = storage.mounts.iter().any(|one| one.device.starts_with("/dev/drbd"));
        let mut promoted = BTreeSet::new();
        for one in self.of(owner) {
            if let Meaning::Role(true, resource, _) = &one.meaning
                && one.visit.unsure.is_none()
                && !self.stays.contains(&one.key())
            {
                promoted.insert(resource.clone()?);
            }
        }
        promoted.pop_first().filter(|name| is_drbd && promoted.is_empty() && is_word(name))
    }

    fn groups(&self, owner: usize) -> Vec<String> {
        let mut groups = Vec::new();
        for one in self.of(owner) {
            if let Meaning::Volumes(true, Some(group)) = &one.meaning
                && self.lies_on(owner, group)
                && !self.stays.contains(&one.key())
                && one.visit.unsure.is_none()
                && !groups.contains(group)
            {
                groups.push(group.clone());
            }
        }
        groups
    }

    /// Is a device of the owner a volume of this group?
    fn lies_on(&self, owner: usize, group: &str) -> bool {
        let mapped = format!("/dev/mapper/{}-", group.replace('-', "--"));
        let plain = format!("/dev/{group}/");
        let is_on =
            |one: &Mounted| one.device.starts_with(&mapped) || one.device.starts_with(&plain);
        is_word(group)
            && self.storage(owner).is_some_and(|storage| storage.mounts.iter().any(is_on))
    }

    // --- what happens with the lines

    fn verdicts(&mut self) {
        let mut all: BTreeMap<Key, Vec<(usize, usize, Found)>> = BTreeMap::new();
        for one in self.met {
            let (file, line) = (one.visit.file, one.visit.place.line);
            let found = self.found(one);
            if let Found::Remove(Some(text)) = &found {
                self.out.notes.insert((file, line, text.clone()));
            }
            all.entry(one.key()).or_default().push((file, line, found));
        }
        let ends: BTreeSet<Key> = self
            .met
            .iter()
            .filter(|one| one.visit.words.first().and_then(Val::known) == Some("exec"))
            .map(Met::key)
            .collect();
        for (key, found) in all {
            let removes = found.iter().filter(|(.., one)| matches!(one, Found::Remove(_))).count();
            let fails = found.iter().filter(|(.., one)| matches!(one, Found::Fail)).count();
            if removes == found.len() {
                let ends = ends.contains(&key);
                let verdict = if ends { Verdict::End } else { Verdict::Remove };
                self.out.verdicts.insert(key, verdict);
            } else if fails == found.len() {
                self.out.verdicts.insert(key, Verdict::Fail);
            } else {
                let mut named = false;
                for (file, line, one) in &found {
                    if let Found::Left(why) = one {
                        self.out.left.insert((*file, *line, why.clone()));
                        named = true;
                    }
                }
                if let (Some((file, line, _)), true) =
                    (found.first(), !named && removes + fails > 0)
                {
                    let why = "it does something for the storage in one case, and something else in another";
                    self.out.left.insert((*file, *line, why.to_owned()));
                }
            }
        }
    }

    /// What ran before the disk was there, or went, and runs after it now.
    fn moved(&mut self, ways: &[Way]) {
        for (way, one) in ways.iter().enumerate() {
            let met = || self.way(way).iter();
            let turns = |met: &&Met<'_>| {
                let is_turn = match met.visit.when {
                    When::Master => matches!(met.meaning, Meaning::Mount(_)),
                    When::Backup | When::Fault | When::Stop => {
                        matches!(met.meaning, Meaning::Unmount(..))
                    }
                    When::Check | When::Other => false,
                };
                is_turn && self.out.verdicts.contains_key(&met.key())
            };
            let Some(turn) = met().position(|met| turns(&met)) else { continue };
            let calls = |visit: &Visit| {
                one.trail
                    .names
                    .iter()
                    .any(|(file, place, _)| (*file, place.start) == (visit.file, visit.place.start))
            };
            let moved = met().take(turn).filter(|met| {
                met.meaning == Meaning::Nothing && !may_move(&met.visit.words) && !calls(met.visit)
            });
            let remarks: Vec<Remark> = moved
                .map(|met| {
                    let why = if met.visit.when == When::Master {
                        "it ran before the mount, and runs after it now; if the disk needs it, it belongs \
                         in before_mount() of mount.sh"
                    } else {
                        "it ran before the unmount, and runs after it now; if it ends what uses the disk, \
                         it belongs in before_unmount() of mount.sh"
                    };
                    (met.visit.file, met.visit.place.line, why.to_owned())
                })
                .collect();
            self.out.left.extend(remarks);
        }
    }

    fn found(&self, one: &Met<'_>) -> Found {
        if one.visit.writes_storage {
            return Found::Left(
                "it writes a text about storage; what is made here is not looked into".into(),
            );
        }
        let found = self.found_of_meaning(one);
        match found {
            Found::Remove(_) | Found::Fail if one.visit.has_document => {
                Found::Left("it is given a text (<<), which would be left over".into())
            }
            found => found,
        }
    }

    fn found_of_meaning(&self, one: &Met<'_>) -> Found {
        let is_known = |what: &str| self.is_known(one.owners, what);
        let of_any = |is: &dyn Fn(&Storage) -> bool| self.storages_of(one).any(is);
        let has_storage = of_any(&|_| true);
        let left = |why: &str| Found::Left(why.to_owned());
        let when_stored = |why: &str| if has_storage { left(why) } else { Found::Keep };
        let remove = |is_noted: bool, text: &str| Found::Remove(is_noted.then(|| text.to_owned()));
        match &one.meaning {
            Meaning::Nothing => Found::Keep,
            Meaning::Odd(why) => left(why),
            Meaning::OddService(why) => when_stored(why),
            Meaning::Mount(mount) => self.found_mount(one, mount),
            Meaning::Unmount(None, _) => {
                left("what is unmounted depends on what the script does not say")
            }
            Meaning::Unmount(Some(what), _) if !is_known(what) => {
                Found::Left(format!("{what} is mounted by no script that is understood"))
            }
            Meaning::Unmount(Some(_), is_lazy) => remove(
                *is_lazy,
                "mount.sh never unmounts lazily: that hides a mount and leaves it writing",
            ),
            Meaning::Service(names, verb) => self.found_service(one, names, *verb),
            Meaning::Owner(value, path) | Meaning::Mode(value, path) => {
                let is_set = |storage: &Storage| {
                    let set = match one.meaning {
                        Meaning::Owner(..) => &storage.owner,
                        _ => &storage.mode,
                    };
                    storage.mounts.iter().any(|mounted| mounted.point == *path)
                        && set.as_ref() == Some(value)
                };
                let is_below = |storage: &Storage| {
                    storage.mounts.iter().any(|mounted| {
                        *path == mounted.point || path.starts_with(&format!("{}/", mounted.point))
                    })
                };
                if one.visit.when == When::Master && of_any(&is_set) {
                    remove(false, "")
                } else if of_any(&is_below) {
                    left(
                        "owners and modes on the disk: the services run before it now; it belongs in after_mount() of mount.sh",
                    )
                } else {
                    Found::Keep
                }
            }
            Meaning::Role(_, resource, is_forced) => {
                if of_any(&|storage| storage.resource.is_some() && storage.resource == *resource) {
                    remove(*is_forced, "the guard drbd never forces a promotion")
                } else {
                    when_stored("which resource of DRBD carries the storage is not clear")
                }
            }
            Meaning::Volumes(_, group) => {
                if of_any(&|storage| storage.groups.iter().any(|one| Some(one) == group.as_ref())) {
                    remove(false, "")
                } else {
                    when_stored("whether the storage lies on this volume group is not clear")
                }
            }
            Meaning::KillUsers(Some(what)) if is_known(what) => remove(false, ""),
            Meaning::Repair(Some(what)) if is_known(what) => remove(
                true,
                "mount.sh repairs an ext4 with e2fsck -p where it must; any other repair is for a person",
            ),
            Meaning::KillUsers(Some(_)) | Meaning::Repair(Some(_)) => Found::Keep,
            Meaning::KillUsers(None) => {
                when_stored("whose users are ended depends on what the script does not say")
            }
            Meaning::Repair(None) => when_stored(
                "which device is checked depends on what the script does not say; mount.sh mounts before it now",
            ),
            Meaning::StopDaemon if !has_storage => Found::Keep,
            Meaning::StopDaemon => match one.visit.when {
                When::Check if !one.visit.is_inner => Found::Fail,
                When::Check => {
                    left("the daemon is stopped in a subshell: let the check fail instead")
                }
                _ => left(
                    "a script that is told of a state stops the daemon; let a check fail instead",
                ),
            },
        }
    }

    fn found_mount(&self, one: &Met<'_>, mount: &Mount) -> Found {
        let mounted = match self.mounted(one, mount) {
            Ok(mounted) => mounted,
            Err(why) if why.is_empty() => return Found::Keep,
            Err(why) => return Found::Left(why),
        };
        if let Some(why) =
            one.owners.iter().find_map(|&owner| self.clashes.get(owner).cloned().flatten())
        {
            return Found::Left(why);
        }
        if !self.storages_of(one).any(|storage| storage.mounts.iter().any(|m| same(m, &mounted))) {
            return Found::Left("for which instance it is mounted is not clear".into());
        }
        let agrees = |known: &Option<String>, own: &Option<String>| own.is_none() || known == own;
        let is_same = self.storages_of(one).any(|storage| {
            storage.mounts.iter().any(|known| {
                same(known, &mounted)
                    && agrees(&known.kind, &mounted.kind)
                    && agrees(&known.options, &mounted.options)
            })
        });
        if !is_same {
            return Found::Left(format!(
                "{} is mounted with other options elsewhere",
                mounted.device
            ));
        }
        let when = match one.visit.when {
            When::Master | When::Check | When::Other => None,
            When::Backup => Some("BACKUP"),
            When::Fault => Some("FAULT"),
            When::Stop => Some("STOP"),
        };
        Found::Remove(when.map(|state| {
            format!(
                "it mounts for {state}; mount.sh mounts for who becomes master, and for nobody else"
            )
        }))
    }

    fn found_service(&self, one: &Met<'_>, names: &[String], verb: Verb) -> Found {
        let storages: Vec<&Storage> = self.storages_of(one).collect();
        let is_ours =
            |name: &String| storages.iter().any(|storage| storage.services.contains(name));
        if one.visit.when == When::Check && verb == Verb::Start && names.iter().any(is_ours) {
            return Found::Left(
                "a check starts it, also on a node that does not have the disk; it is enough that the check fails"
                    .to_owned(),
            );
        }
        if storages.is_empty() || one.visit.when == When::Check {
            return Found::Keep;
        }
        if names.iter().all(is_ours) {
            return Found::Remove(None);
        }
        let why = match (verb, one.visit.when) {
            _ if names.len() > 1 && names.iter().any(is_ours) => "only some of them are started after the mount and stopped again".to_owned(),
            (Verb::Start, When::Master) => match one.visit.unsure {
                Some(line) => format!("{UNSURE} {line}; if it uses the disk, it belongs in SERVICES"),
                None if self.mounts_before(one) => "it is started after the mount, and nobody stops it before the disk goes; if it uses the disk, it belongs in SERVICES".to_owned(),
                None => "it is not started after the mount; if it uses the disk, it belongs in SERVICES, and if the disk needs it, in before_mount() of mount.sh".to_owned(),
            },
            _ => "it is not started after the mount and stopped for the other node; if it uses the disk, it belongs in SERVICES".to_owned(),
        };
        Found::Left(why)
    }

    /// Was something mounted before, on the same way?
    fn mounts_before(&self, one: &Met<'_>) -> bool {
        let before =
            self.way(one.way).iter().take_while(|other| !std::ptr::eq(other.visit, one.visit));
        before.into_iter().any(|other| matches!(other.meaning, Meaning::Mount(_)))
    }

    /// Is this the device or the folder of something that an owner mounts?
    fn is_known(&self, owners: &[usize], what: &str) -> bool {
        let what = plain_path(what);
        owners.iter().filter_map(|&owner| self.storage(owner)).any(|storage| {
            storage.mounts.iter().any(|mounted| mounted.device == what || mounted.point == what)
        })
    }
}

fn same(a: &Mounted, b: &Mounted) -> bool {
    a.device == b.device && a.point == b.point
}

/// Can it stand in a configuration, in quotes?
fn can_be_written(text: &str) -> bool {
    text.chars().all(|c| {
        !c.is_control() && !matches!(c, '"' | '\'' | '$' | '\\' | '~' | '{' | '}' | '#' | '!' | '@')
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:+-".contains(c))
}
