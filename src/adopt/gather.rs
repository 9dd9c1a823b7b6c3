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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

    fn remark(&self, why: impl Into<String>) -> Remark {
        (self.visit.file, self.visit.place.line, why.into())
    }
}

/// Puts together what was met on all ways.
pub fn gather(ways: &[Way], owners: &[String], fstab: &[Line]) -> Gathered {
    let mut met: Vec<Vec<Met<'_>>> = Vec::new();
    for (way, Way { owners, trail }) in ways.iter().enumerate() {
        let of = |visit| Met { way, owners, visit, meaning: meaning(&visit.words) };
        met.push(trail.visits.iter().map(of).collect());
    }
    let mut by_owner: Vec<Vec<usize>> = vec![Vec::new(); owners.len()];
    for (at, way) in ways.iter().enumerate() {
        for &owner in &way.owners {
            by_owner.get_mut(owner).into_iter().for_each(|all| all.push(at));
        }
    }
    // Commands that stay although they were met for something of mount.sh.
    let mut stays: BTreeSet<Key> = BTreeSet::new();
    let mut gathered = Gathered::default();
    for _ in 0..ROUNDS_MAX {
        let (clashes, out) = (Vec::new(), Gathered::default());
        let mut round = Round {
            ways,
            met: &met,
            by_owner: &by_owner,
            owners,
            fstab,
            stays: &stays,
            clashes,
            out,
        };
        round.storages();
        round.verdicts();
        round.moved();
        let mut out = round.out;
        // Once named, for a reason that a later round may not see any more.
        out.left.append(&mut gathered.left);
        gathered = out;
        let is_kept = |one: &&Met<'_>| {
            one.meaning.is_setting() && !gathered.verdicts.contains_key(&one.key())
        };
        let before = stays.len();
        stays.extend(met.iter().flatten().filter(is_kept).map(Met::key));
        if stays.len() == before {
            break;
        }
    }
    gathered.left.extend(ways.iter().flat_map(|way| way.trail.puzzles.iter().cloned()));
    gathered
}

struct Round<'a> {
    ways: &'a [Way],
    /// What is met on each way, in order.
    met: &'a [Vec<Met<'a>>],
    /// The ways of each owner.
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
        for one in self.met.iter().flatten() {
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
        for (owner, mounts) in all.into_iter().enumerate() {
            let is_good = !mounts.is_empty() && self.clashes.get(owner) == Some(&None);
            let storage = is_good.then(|| Storage {
                services: self.services(owner),
                owner: self.root_setting(owner, &mounts, false),
                mode: self.root_setting(owner, &mounts, true),
                resource: self.resource(owner, &mounts),
                groups: self.groups(owner, &mounts),
                mounts,
            });
            self.out.storages.push(storage);
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
        let mut found = Mounted {
            device: mount.device.clone().unwrap_or_default(),
            point: mount.point.clone().unwrap_or_default(),
            kind: mount.kind.clone().filter(|kind| kind != "auto"),
            options: mount.options.clone(),
            is_booted: false,
            from: (one.visit.file, one.visit.place.line),
        };
        if mount.is_short {
            let name = plain_path(&found.point);
            let mut lines = self.fstab.iter();
            let Some([device, point, kind, options]) =
                lines.find(|[device, point, ..]| *device == found.point || *point == name)
            else {
                return Err(format!(
                    "{} is looked up in fstab, which has no such line here",
                    found.point
                ));
            };
            (found.device, found.point) = (device.clone(), point.clone());
            found.kind = found.kind.or_else(|| Some(kind.clone()).filter(|kind| kind != "auto"));
            let of_boot = ["noauto", "auto", "nofail", "_netdev", "defaults", "user", "users"];
            let kept: Vec<&str> = options
                .split(',')
                .filter(|option| !of_boot.contains(option) && !option.starts_with("x-"))
                .collect();
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
        let own = all.get(owner)?;
        if own.len() > MOUNTS_MAX {
            return Some(format!("more than {MOUNTS_MAX} file systems are mounted"));
        }
        let alike = |a: &Mounted, b: &Mounted| a.point == b.point || a.device == b.device;
        for (at, one) in own.iter().enumerate() {
            if let Some(other) = own.iter().skip(at + 1).find(|other| alike(one, other)) {
                return Some(format!(
                    "there is {} on {}, and {} on {}: which of them is meant is not clear",
                    one.device, one.point, other.device, other.point
                ));
            }
        }
        for (place, others) in all.iter().enumerate().filter(|(place, _)| *place != owner) {
            if let Some(one) = own.iter().find(|one| others.iter().any(|other| alike(one, other))) {
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
        let ways = self.by_owner.get(owner).into_iter().flatten();
        ways.filter_map(|&way| self.met.get(way)).flatten()
    }

    /// Those of it that happen whatever else is the case, and that do not stay.
    fn sure(&self, owner: usize) -> impl Iterator<Item = &Met<'_>> {
        self.of(owner).filter(|one| self.is_sure(one))
    }

    fn is_sure(&self, one: &Met<'_>) -> bool {
        one.visit.unsure.is_none() && !self.stays.contains(&one.key())
    }

    /// The storages that a command may be about.
    fn storages_of(&self, one: &Met<'_>) -> impl Iterator<Item = &Storage> {
        one.owners.iter().filter_map(|&owner| self.out.storages.get(owner)?.as_ref())
    }

    /// The services that start after the mount and stop before the unmount.
    fn services(&self, owner: usize) -> Vec<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "@._:-".contains(c);
        let mut started: Vec<&String> = Vec::new();
        let (mut stopped, mut refused) = (BTreeSet::new(), BTreeSet::new());
        let mut mounting = BTreeSet::new();
        for one in self.of(owner).filter(|one| one.visit.when != When::Check) {
            if let Meaning::Mount(mount) = &one.meaning
                && self.mounted(one, mount).is_ok()
            {
                mounting.insert(one.way);
            }
            let Meaning::Service(names, verb) = &one.meaning else { continue };
            for name in names {
                let is_good = name.chars().all(is_plain) && !self.stays.contains(&one.key());
                let is_start = one.visit.unsure.is_none() && mounting.contains(&one.way);
                match (verb, one.visit.when) {
                    (Verb::Start, When::Master) if is_good && is_start => started.push(name),
                    (Verb::Stop, when) if is_good && when != When::Master => {
                        stopped.insert(name);
                    }
                    _ => {
                        refused.insert(name);
                    }
                }
            }
        }
        let mut known = BTreeSet::new();
        started.retain(|name| {
            stopped.contains(name) && !refused.contains(name) && known.insert(*name)
        });
        started.into_iter().cloned().collect()
    }

    /// Owner or mode of the mounted root, if scripts agree on it.
    fn root_setting(&self, owner: usize, mounts: &[Mounted], is_mode: bool) -> Option<String> {
        let [only] = mounts else { return None };
        let mut found = None;
        for one in self.of(owner) {
            let value = match &one.meaning {
                Meaning::Owner(value, path) if !is_mode && *path == only.point => value,
                Meaning::Mode(value, path) if is_mode && *path == only.point => value,
                _ => continue,
            };
            let is_good = if is_mode {
                value.len() <= 4 && value.chars().all(|c| c.is_digit(8))
            } else {
                is_word(value) && value.matches(':').count() <= 1 && !value.starts_with(':')
            };
            let is_sure = is_good && self.is_sure(one) && one.visit.when == When::Master;
            if !is_sure || *found.get_or_insert(value) != value {
                return None;
            }
        }
        found.cloned()
    }

    fn resource(&self, owner: usize, mounts: &[Mounted]) -> Option<String> {
        let promoted = |one: &'_ Met<'_>| match &one.meaning {
            Meaning::Role(true, resource, _) => Some(resource.clone()),
            _ => None,
        };
        let mut promoted: BTreeSet<Option<String>> =
            self.sure(owner).filter_map(promoted).collect();
        let is_drbd = mounts.iter().any(|one| one.device.starts_with("/dev/drbd"));
        promoted.pop_first()?.filter(|name| is_drbd && promoted.is_empty() && is_word(name))
    }

    /// The volume groups that devices of the owner lie on.
    fn groups(&self, owner: usize, mounts: &[Mounted]) -> Vec<String> {
        let mut groups: Vec<String> = Vec::new();
        for one in self.sure(owner) {
            let Meaning::Volumes(true, Some(group)) = &one.meaning else { continue };
            let mapped = format!("/dev/mapper/{}-", group.replace('-', "--"));
            let plain = format!("/dev/{group}/");
            let is_on =
                |one: &Mounted| one.device.starts_with(&mapped) || one.device.starts_with(&plain);
            if is_word(group) && mounts.iter().any(is_on) && !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        groups
    }

    // --- what happens with the lines

    fn verdicts(&mut self) {
        let mut all: BTreeMap<Key, Vec<(&Met<'_>, Found)>> = BTreeMap::new();
        for one in self.met.iter().flatten() {
            all.entry(one.key()).or_default().push((one, self.found(one)));
        }
        for (key, all) in all {
            let (mut removes, mut fails, mut left) = (0, 0, BTreeSet::new());
            let mut ends = false;
            for (one, found) in &all {
                ends |= one.visit.words.first().and_then(Val::known) == Some("exec");
                match found {
                    Found::Remove(note) => {
                        removes += 1;
                        self.out.notes.extend(note.iter().map(|why| one.remark(why)));
                    }
                    Found::Fail => fails += 1,
                    Found::Left(why) => _ = left.insert(one.remark(why)),
                    Found::Keep => {}
                }
            }
            if removes == all.len() {
                self.out.verdicts.insert(key, if ends { Verdict::End } else { Verdict::Remove });
            } else if fails == all.len() {
                self.out.verdicts.insert(key, Verdict::Fail);
            } else if left.is_empty() && removes + fails > 0 {
                let why =
                    "it does something for the storage in one case, and something else in another";
                self.out.left.extend(all.first().map(|(one, _)| one.remark(why)));
            }
            self.out.left.append(&mut left);
        }
    }

    /// What ran before the disk was there, or went, and runs after it now.
    fn moved(&mut self) {
        for (way, met) in self.ways.iter().zip(self.met) {
            let turns = |one: &Met<'_>| {
                let is_turn = match one.visit.when {
                    When::Master => matches!(one.meaning, Meaning::Mount(_)),
                    When::Backup | When::Fault | When::Stop => {
                        matches!(one.meaning, Meaning::Unmount(..))
                    }
                    When::Check | When::Other => false,
                };
                is_turn && self.out.verdicts.contains_key(&one.key())
            };
            let Some(turn) = met.iter().position(turns) else { continue };
            let calls: BTreeSet<Key> =
                way.trail.names.iter().map(|(file, place, _)| (*file, place.start)).collect();
            for one in met.iter().take(turn) {
                let may_stay = one.meaning != Meaning::Nothing || may_move(&one.visit.words);
                if may_stay || calls.contains(&one.key()) {
                    continue;
                }
                let why = if one.visit.when == When::Master {
                    "it ran before the mount, and runs after it now; if the disk needs it, it belongs \
                     in before_mount() of mount.sh"
                } else {
                    "it ran before the unmount, and runs after it now; if it ends what uses the disk, \
                     it belongs in before_unmount() of mount.sh"
                };
                self.out.left.insert(one.remark(why));
            }
        }
    }

    fn found(&self, one: &Met<'_>) -> Found {
        if one.visit.writes_storage {
            return Found::Left(
                "it writes a text about storage; what is made here is not looked into".into(),
            );
        }
        match self.found_of_meaning(one) {
            Found::Remove(_) | Found::Fail if one.visit.has_document => {
                Found::Left("it is given a text (<<), which would be left over".into())
            }
            found => found,
        }
    }

    fn found_of_meaning(&self, one: &Met<'_>) -> Found {
        let of_any = |is: &dyn Fn(&Storage) -> bool| self.storages_of(one).any(is);
        let mounts_any = |is: &dyn Fn(&Mounted) -> bool| of_any(&|s| s.mounts.iter().any(is));
        // Is this the device or the folder of something that is mounted?
        let is_known = |what: &String| {
            let what = plain_path(what);
            mounts_any(&|mounted| mounted.device == what || mounted.point == what)
        };
        let has_storage = of_any(&|_| true);
        let left = |why: &str| Found::Left(why.to_owned());
        let when_stored = |why: &str| if has_storage { left(why) } else { Found::Keep };
        let noted = |is_noted: bool, why: &str| Found::Remove(is_noted.then(|| why.to_owned()));
        let removed = Found::Remove(None);
        match &one.meaning {
            Meaning::Nothing => Found::Keep,
            Meaning::Odd(why) => left(why),
            Meaning::OddService(why) => when_stored(why),
            Meaning::Mount(mount) => self.found_mount(one, mount),
            Meaning::Service(names, verb) => self.found_service(one, names, *verb),
            Meaning::Unmount(None, _) => {
                left("what is unmounted depends on what the script does not say")
            }
            Meaning::Unmount(Some(what), _) if !is_known(what) => {
                Found::Left(format!("{what} is mounted by no script that is understood"))
            }
            Meaning::Unmount(Some(_), is_lazy) => noted(
                *is_lazy,
                "mount.sh never unmounts lazily: that hides a mount and leaves it writing",
            ),
            Meaning::Owner(value, path) | Meaning::Mode(value, path) => {
                let is_owner = matches!(one.meaning, Meaning::Owner(..));
                let is_set = |storage: &Storage| {
                    let set = if is_owner { &storage.owner } else { &storage.mode };
                    set.as_ref() == Some(value)
                        && storage.mounts.iter().any(|mounted| mounted.point == *path)
                };
                let is_below = |mounted: &Mounted| {
                    path.strip_prefix(&mounted.point)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                if one.visit.when == When::Master && of_any(&is_set) {
                    removed
                } else if mounts_any(&is_below) {
                    left(
                        "owners and modes on the disk: the services run before it now; it belongs in after_mount() of mount.sh",
                    )
                } else {
                    Found::Keep
                }
            }
            Meaning::Role(_, resource, is_forced)
                if of_any(&|s| s.resource.is_some() && s.resource == *resource) =>
            {
                noted(*is_forced, "the guard drbd never forces a promotion")
            }
            Meaning::Role(..) => {
                when_stored("which resource of DRBD carries the storage is not clear")
            }
            Meaning::Volumes(_, Some(group)) if of_any(&|s| s.groups.contains(group)) => removed,
            Meaning::Volumes(..) => {
                when_stored("whether the storage lies on this volume group is not clear")
            }
            Meaning::KillUsers(Some(what)) if is_known(what) => removed,
            Meaning::Repair(Some(what)) if is_known(what) => noted(
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
            Meaning::StopDaemon if has_storage && one.visit.when == When::Check => {
                if one.visit.is_inner {
                    left("the daemon is stopped in a subshell: let the check fail instead")
                } else {
                    Found::Fail
                }
            }
            Meaning::StopDaemon => when_stored(
                "a script that is told of a state stops the daemon; let a check fail instead",
            ),
        }
    }

    fn found_mount(&self, one: &Met<'_>, mount: &Mount) -> Found {
        let mounted = match self.mounted(one, mount) {
            Ok(mounted) => mounted,
            Err(why) if why.is_empty() => return Found::Keep,
            Err(why) => return Found::Left(why),
        };
        let mut clashes = one.owners.iter().filter_map(|&owner| self.clashes.get(owner)?.as_ref());
        if let Some(why) = clashes.next() {
            return Found::Left(why.clone());
        }
        let known = self.storages_of(one).flat_map(|storage| &storage.mounts);
        let mut known = known.filter(|known| same(known, &mounted)).peekable();
        if known.peek().is_none() {
            return Found::Left("for which instance it is mounted is not clear".into());
        }
        let agrees = |known: &Option<String>, own: &Option<String>| own.is_none() || known == own;
        if !known.any(|known| {
            agrees(&known.kind, &mounted.kind) && agrees(&known.options, &mounted.options)
        }) {
            return Found::Left(format!(
                "{} is mounted with other options elsewhere",
                mounted.device
            ));
        }
        let state = match one.visit.when {
            When::Master | When::Check | When::Other => return Found::Remove(None),
            When::Backup => "BACKUP",
            When::Fault => "FAULT",
            When::Stop => "STOP",
        };
        Found::Remove(Some(format!(
            "it mounts for {state}; mount.sh mounts for who becomes master, and for nobody else"
        )))
    }

    fn found_service(&self, one: &Met<'_>, names: &[String], verb: Verb) -> Found {
        let is_ours = |name: &String| self.storages_of(one).any(|s| s.services.contains(name));
        let some_ours = names.iter().any(is_ours);
        if one.visit.when == When::Check && verb == Verb::Start && some_ours {
            return Found::Left(
                "a check starts it, also on a node that does not have the disk; it is enough that the check fails"
                    .to_owned(),
            );
        }
        if self.storages_of(one).next().is_none() || one.visit.when == When::Check {
            return Found::Keep;
        }
        if names.iter().all(is_ours) {
            return Found::Remove(None);
        }
        let mounts_before = || {
            let before = self.met.get(one.way).into_iter().flatten();
            before
                .take_while(|other| !std::ptr::eq(other.visit, one.visit))
                .any(|other| matches!(other.meaning, Meaning::Mount(_)))
        };
        Found::Left(match (verb, one.visit.when, one.visit.unsure) {
            _ if some_ours => "only some of them are started after the mount and stopped again".to_owned(),
            (Verb::Start, When::Master, Some(line)) => format!("{UNSURE} {line}; if it uses the disk, it belongs in SERVICES"),
            (Verb::Start, When::Master, None) if mounts_before() => "it is started after the mount, and nobody stops it before the disk goes; if it uses the disk, it belongs in SERVICES".to_owned(),
            (Verb::Start, When::Master, None) => "it is not started after the mount; if it uses the disk, it belongs in SERVICES, and if the disk needs it, in before_mount() of mount.sh".to_owned(),
            _ => "it is not started after the mount and stopped for the other node; if it uses the disk, it belongs in SERVICES".to_owned(),
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
