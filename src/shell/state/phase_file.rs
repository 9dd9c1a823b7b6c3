//! What must outlive the daemon: one small file per instance, written before what it says is done.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::conf::Config;
use crate::core::event::{Held, Memory};
use crate::core::spec::{InstanceId, InstanceSpec};
use crate::shell::host::page;
use crate::shell::host::paths::encode;

const SCHEMA: &str = "glha.phase/1";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// No file of ours is longer.
const PAGE_BYTES_MAX: u64 = 64 * 1024;
/// From SIGTERM to SIGKILL for a hook of a former run, and from there to giving up.
const END_GRACE: Duration = Duration::from_secs(2);
const END_POLL: Duration = Duration::from_millis(20);

/// What tells this boot from others.
pub(in crate::shell) fn boot_id() -> String {
    fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned()
}

/// All pages of this machine's instances.
#[derive(Debug)]
pub struct Notebook {
    folder: PathBuf,
    boot_id: String,
    pages: BTreeMap<InstanceId, Page>,
}

/// What is written down of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    schema: String,
    boot_id: String,
    instance: String,
    interface: String,
    vrid: u8,
    held: Word,
    highest_sent: u8,
    peers: Vec<(IpAddr, u8)>,
    #[serde(default)]
    lost: bool,
    /// The mount hook that was started last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    mount: Option<Process>,
}

/// A process that cannot be taken for another that got its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    pid: u32,
    /// When it was started, in the kernel's ticks since boot.
    started: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Free,
    Acquiring,
    Held,
    Releasing,
}

/// What was found of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What the core is to know.
    pub memory: Memory,
    /// A mount hook of the former run that may still run.
    process: Option<Process>,
}

impl Notebook {
    /// Where its pages are, and everything else of this daemon that ends with the boot.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The notebook in this folder, which need not be there.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, boot_id: boot_id(), pages: BTreeMap::new() }
    }

    /// What a former run of the daemon wrote down of the instances of this configuration. What
    /// cannot be read or believed counts as held, perhaps.
    ///
    /// # Errors
    /// The folder is another's: nothing that is there can be believed, and nothing is written there.
    pub fn read(&mut self, config: &Config) -> Result<Vec<Found>, String> {
        page::trust_folder(&self.folder).map_err(|error| error.to_string())?;
        self.pages.clear();
        let all = config.spec.instances.entries();
        Ok(all.map(|(id, spec)| self.open_page(id, spec, config).unwrap_or_default()).collect())
    }

    /// None for an instance without storage: it has no page, and does not write over that of a
    /// former run which had the storage.
    fn open_page(&mut self, id: InstanceId, spec: &InstanceSpec, config: &Config) -> Option<Found> {
        spec.gate.as_ref()?;
        let interface = config.spec.links.get(spec.link.0).cloned().unwrap_or_default();
        let mut page = Page {
            schema: SCHEMA.into(),
            boot_id: self.boot_id.clone(),
            instance: spec.name.clone(),
            interface,
            vrid: spec.vrid,
            held: Word::Free,
            highest_sent: 0,
            peers: Vec::new(),
            lost: false,
            mount: None,
        };
        let path = self.path(&spec.name);
        let own = match read_page(&path) {
            Ok(None) => Ok(self.page_of_router(&page, config)),
            own => own,
        };
        let former = match own {
            Ok(None) => Found::default(),
            Ok(Some(former)) => {
                let found = self.judge(&former, &page);
                // Until it is written anew it stands where it was found.
                page.instance = former.instance;
                found
            }
            Err(why) => {
                log::warn!("{}: {why}; as if the storage were held", path.display());
                let memory = Memory { held: Held::Releasing, ..Memory::default() };
                Found { memory, process: None }
            }
        };
        // What is written next must not forget what holds until the core says otherwise.
        page.remember(&former.memory);
        self.pages.insert(id, page);
        Some(former)
    }

    /// The page of an instance that was on the same interface with the same VRID under another name,
    /// which the configuration does not have any more: it was renamed.
    fn page_of_router(&self, fresh: &Page, config: &Config) -> Option<Page> {
        let is_it = |page: &Page| {
            let is_same = page.interface == fresh.interface && page.vrid == fresh.vrid;
            is_same && config.spec.instances.iter().all(|spec| spec.name != page.instance)
        };
        self.all_pages().into_iter().map(|(_, page)| page).find(is_it)
    }

    /// Every page in the folder that can be believed.
    fn all_pages(&self) -> Vec<(PathBuf, Page)> {
        let Ok(folder) = fs::read_dir(&self.folder) else { return Vec::new() };
        let paths = folder.flatten().map(|entry| entry.path());
        let pages = paths.filter(|path| path.extension().is_some_and(|e| e == "json"));
        pages.filter_map(|path| Some((path.clone(), read_page(&path).ok()??))).collect()
    }

    /// A sentence for each instance whose page says that it may hold storage, and that this
    /// configuration does not know or knows without a mount hook.
    pub fn strangers(&self, config: &Config) -> Vec<String> {
        let known: Vec<PathBuf> = config
            .spec
            .instances
            .iter()
            .filter(|spec| spec.gate.is_some())
            .map(|spec| self.path(&spec.name))
            .chain(self.pages.values().map(|page| self.path(&page.instance)))
            .collect();
        let all = self.all_pages().into_iter();
        let mut names: Vec<String> = all
            .filter(|(path, _)| !known.contains(path))
            .map(|(_, page)| page)
            .filter(|page| page.boot_id == self.boot_id && page.held != Word::Free)
            .map(|page| page.instance)
            .collect();
        names.sort();
        let told = |name| {
            format!(
                "the storage of {name} may still be held: a former run had it, and this \
                 configuration does not say how it is released"
            )
        };
        names.into_iter().map(told).collect()
    }

    /// What a page says now: nothing is held any more after a boot, and what was held under another
    /// interface or VRID has to be released first.
    fn judge(&self, page: &Page, fresh: &Page) -> Found {
        let is_same_router = page.interface == fresh.interface && page.vrid == fresh.vrid;
        let held = match page.held {
            _ if page.boot_id != self.boot_id => Held::Free,
            Word::Free => Held::Free,
            Word::Acquiring => Held::Acquiring,
            Word::Held if is_same_router => Held::Held,
            Word::Held | Word::Releasing => Held::Releasing,
        };
        let is_same_boot = page.boot_id == self.boot_id;
        let memory = Memory {
            held,
            highest_sent: page.highest_sent,
            peers: page.peers.clone(),
            lost: page.lost,
        };
        Found { memory, process: page.mount.filter(|_| is_same_boot) }
    }

    /// Writes a page anew, whole or not at all, under the name that the instance has now.
    pub fn write(&mut self, instance: InstanceId, name: &str, memory: &Memory) {
        let Some(page) = self.pages.get_mut(&instance) else { return };
        page.remember(memory);
        let before = std::mem::replace(&mut page.instance, name.to_owned());
        let page = page.clone();
        self.put(&page);
        if before != name && self.pages.values().all(|other| other.instance != before) {
            // It would be taken for the page of an instance that is not configured any more.
            let _ = fs::remove_file(self.path(&before));
        }
    }

    /// Notes the process of a mount hook that has just been started.
    pub fn write_process(&mut self, instance: InstanceId, pid: u32) {
        let Some(page) = self.pages.get_mut(&instance) else { return };
        page.mount = started(pid).map(|started| Process { pid, started });
        let page = page.clone();
        self.put(&page);
    }

    fn put(&self, page: &Page) {
        let path = self.path(&page.instance);
        if let Err(error) = self.replace(&path, page) {
            log::error!(
                "{}: {error}; a daemon that is started after a crash will not know what is held",
                path.display()
            );
        }
    }

    fn replace(&self, path: &Path, page: &Page) -> io::Result<()> {
        page::private_folder(&self.folder)?;
        page::put(path, &serde_json::to_vec(page)?)
    }

    /// Goes over to another configuration: instances whose storage is new get a page.
    pub fn follow(&mut self, config: &Config) {
        let new: Vec<_> = config
            .spec
            .instances
            .entries()
            .filter(|(id, _)| !self.pages.contains_key(id))
            .collect();
        for (id, spec) in new {
            let _ = self.open_page(id, spec, config);
        }
    }

    fn path(&self, instance: &str) -> PathBuf {
        self.folder.join(format!("{}.json", encode(instance)))
    }
}

impl Page {
    fn remember(&mut self, memory: &Memory) {
        self.held = match memory.held {
            Held::Free => Word::Free,
            Held::Acquiring => Word::Acquiring,
            Held::Held => Word::Held,
            Held::Releasing => Word::Releasing,
        };
        self.highest_sent = memory.highest_sent;
        self.peers.clone_from(&memory.peers);
        self.lost = memory.lost;
    }
}

impl Found {
    /// Ends a mount hook that a former run left running: TERM, then KILL, to its group.
    ///
    /// # Errors
    /// It cannot be ended; who it is.
    pub fn end_process(&self) -> Result<(), String> {
        let Some(process) = self.process.filter(Process::is_alive) else { return Ok(()) };
        let pid = process.pid;
        log::warn!("a mount hook of a former run still runs (process {pid}); ending it");
        let group = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            // It may have ended just now.
            let _ = killpg(group, signal);
            let start = Instant::now();
            while start.elapsed() < END_GRACE {
                if !process.is_alive() && killpg(group, None).is_err() {
                    return Ok(());
                }
                std::thread::sleep(END_POLL);
            }
        }
        Err(format!(
            "the mount hook of a former run (process {pid}) cannot be killed; nothing is known of \
             the storage while it exists. See what it waits for"
        ))
    }
}

impl Process {
    fn is_alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

/// When a process was started, in ticks since boot (proc(5), stat, field 22); none if it is gone or
/// a zombie.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets, and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A page, if there is one that root alone could have written.
fn read_page(path: &Path) -> Result<Option<Page>, String> {
    let text = page::read(path, PAGE_BYTES_MAX).map_err(|error| error.to_string())?;
    let Some(text) = text else { return Ok(None) };
    let page: Page = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if page.schema != SCHEMA {
        return Err(format!("of another version ({})", page.schema));
    }
    Ok(Some(page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Context, Files};
    use std::os::unix::fs::PermissionsExt;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("glha-notebook-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn page(notebook: &Notebook) -> Page {
        Page {
            schema: SCHEMA.into(),
            boot_id: notebook.boot_id.clone(),
            instance: "VI/1".into(),
            interface: "eth0".into(),
            vrid: 51,
            held: Word::Held,
            highest_sent: 103,
            peers: vec![([127, 0, 0, 1].into(), 101)],
            lost: false,
            mount: None,
        }
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let folder = Folder::new("whole");
        let notebook = Notebook::at(folder.0.clone());
        let page = page(&notebook);
        notebook.put(&page);
        let path = notebook.path("VI/1");
        assert_eq!(path.file_name().and_then(|n| n.to_str()), Some("VI%2f1.json"));
        assert_eq!(read_page(&path), Ok(Some(page.clone())));
        let found = notebook.judge(&page, &page);
        assert_eq!((found.memory.held, found.memory.highest_sent), (Held::Held, 103));
    }

    /// A configuration with one instance of this name, with storage.
    fn config(name: &str) -> Config {
        config_with(name, &format!("hooks {name} {{\nmount\n}}\n"))
    }

    fn config_with(name: &str, hooks: &str) -> Config {
        let text = format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{\n\
             10.0.0.1\n}}\n}}\n{hooks}"
        );
        let (mut read, mut list) =
            (|_: &Path| Ok(text.clone().into_bytes()), |_: &Path| Ok(vec![]));
        let mut files = Files { read: &mut read, list: &mut list };
        crate::conf::load(Path::new("x"), &mut files, &Context::default()).config
    }

    #[test]
    fn an_instance_that_was_renamed_is_known_by_its_router() {
        let folder = Folder::new("renamed");
        let mut notebook = Notebook::at(folder.0.clone());
        notebook.put(&page(&notebook));
        let renamed = config("other");
        assert_eq!(notebook.read(&renamed).expect("a folder of ours")[0].memory.held, Held::Held);
        assert_eq!(notebook.strangers(&renamed), Vec::<String>::new());
        let memory = Memory { held: Held::Held, highest_sent: 104, ..Memory::default() };
        notebook.write(InstanceId(0), "other", &memory);
        assert_eq!(read_page(&notebook.path("VI/1")), Ok(None), "it has moved");
        let again = Notebook::at(folder.0.clone()).read(&renamed).expect("a folder of ours");
        assert_eq!((again[0].memory.held, again[0].memory.highest_sent), (Held::Held, 104));
    }

    #[test]
    fn an_instance_that_has_lost_its_mount_hook_may_still_hold_its_storage() {
        let folder = Folder::new("lost-hook");
        let mut notebook = Notebook::at(folder.0.clone());
        let held = Page { instance: "VI".into(), ..page(&notebook) };
        notebook.put(&held);
        let without = config_with("VI", "");
        assert_eq!(notebook.read(&without).expect("a folder of ours"), [Found::default()]);
        notebook.follow(&without);
        let told = notebook.strangers(&without);
        assert!(matches!(&told[..], [one] if one.contains("storage of VI may")), "{told:?}");
        // Whatever the instance does now, it does not write over what is known of the storage.
        notebook.write(InstanceId(0), "VI", &Memory::default());
        assert_eq!(read_page(&notebook.path("VI")), Ok(Some(held)));
        // With the hook back it is known again, whether at a start or by a reload.
        let mut again = Notebook::at(folder.0.clone());
        assert_eq!(again.read(&config("VI")).expect("ours")[0].memory.held, Held::Held);
        notebook.follow(&config("VI"));
        assert_eq!(notebook.strangers(&config("VI")), Vec::<String>::new());
    }

    #[test]
    fn instances_that_swap_their_names_keep_their_pages() {
        let folder = Folder::new("swapped");
        let mut notebook = Notebook::at(folder.0.clone());
        let held = |held| Memory { held, ..Memory::default() };
        for (place, name) in ["A", "B"].into_iter().enumerate() {
            let page = Page { instance: name.into(), vrid: place as u8, ..page(&notebook) };
            notebook.pages.insert(InstanceId(place), page);
        }
        notebook.write(InstanceId(0), "B", &held(Held::Held));
        notebook.write(InstanceId(1), "A", &held(Held::Free));
        let vrid = |name| read_page(&notebook.path(name)).expect("readable").map(|page| page.vrid);
        assert_eq!((vrid("A"), vrid("B")), (Some(1), Some(0)));
    }

    #[test]
    fn noting_a_process_forgets_nothing() {
        let folder = Folder::new("process");
        let mut notebook = Notebook::at(folder.0.clone());
        let written = config("VI/1");
        notebook.put(&page(&notebook));
        assert_eq!(notebook.read(&written).expect("a folder of ours")[0].memory.held, Held::Held);
        notebook.write_process(InstanceId(0), std::process::id());
        let read = read_page(&notebook.path("VI/1")).expect("readable").expect("there");
        assert_eq!((read.held, read.highest_sent), (Word::Held, 103));
        assert!(read.mount.is_some());
    }

    #[test]
    fn what_cannot_be_believed_is_an_error() {
        let folder = Folder::new("bad");
        let notebook = Notebook::at(folder.0.clone());
        notebook.put(&page(&notebook));
        let path = notebook.path("VI/1");
        let whole = fs::read(&path).expect("page");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("write");
            assert!(read_page(&path).is_err(), "{length} bytes");
        }
        fs::write(&path, &whole).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("chmod");
        assert!(read_page(&path).is_err());
        fs::remove_file(&path).expect("remove");
        assert_eq!(read_page(&path), Ok(None));
        std::os::unix::fs::symlink("/etc/passwd", &path).expect("link");
        assert!(read_page(&path).is_err());
    }

    #[test]
    fn another_boot_holds_nothing_and_another_router_is_released_first() {
        let folder = Folder::new("judge");
        let notebook = Notebook::at(folder.0.clone());
        let fresh = page(&notebook);
        let mut old = fresh.clone();
        old.boot_id = "another".into();
        assert_eq!(notebook.judge(&old, &fresh).memory.held, Held::Free);
        assert_eq!(notebook.judge(&old, &fresh).memory.highest_sent, 103);
        let mut other = fresh.clone();
        other.vrid = 52;
        assert_eq!(notebook.judge(&other, &fresh).memory.held, Held::Releasing);
    }

    #[test]
    fn a_hook_of_a_former_run_is_ended_and_nobody_else() {
        let mut child = std::os::unix::process::CommandExt::process_group(
            std::process::Command::new("sh").args(["-c", "trap '' TERM; sleep 60 & wait"]),
            0,
        )
        .spawn()
        .expect("sh");
        let pid = child.id();
        let process = started(pid).map(|started| Process { pid, started });
        let other = process.map(|p| Process { started: p.started + 1, ..p });
        let found = |process| Found { memory: Memory::default(), process };
        assert_eq!(found(other).end_process(), Ok(()));
        assert!(child.try_wait().expect("wait").is_none(), "another process was killed");
        let waiter = std::thread::spawn(move || child.wait());
        assert_eq!(found(process).end_process(), Ok(()));
        waiter.join().expect("thread").expect("it ended");
    }
}
