//! The main job for real on one machine: two hosts, one disk, nginx, three failures.
//!
//! `cargo run --release --example demo`, as root. The hosts, the switch and the disk are those of
//! the tests; the configuration is in `demo`. Exits 0 if everything was as it should be, 1 if
//! not, 130 if interrupted; whatever happens, nothing stays behind.

#[path = "../tests/lab/mod.rs"]
mod lab;

use lab::nginx::{self, MOUNT_POINT};
use lab::{ARTICLE_VIP, Daemon, Guard, Host, Lab, Plan, Subject};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How often the client fetches the file.
const FETCH_EVERY: Duration = Duration::from_millis(100);
/// How long it waits for an answer.
const FETCH_LIMIT: Duration = Duration::from_millis(500);
/// How often the hosts are looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// A host is taken for advertising for so long after each advert.
const ADVERT_LASTS: Duration = Duration::from_millis(1500);
/// After a priority 0, its sender must not be seen with the disk for so long.
const RELEASED_SPAN: Duration = Duration::from_millis(300);
/// What is told of the daemons' logs: the transitions, with their reasons.
const TOLD: &[&str] = &["Entering", "Reason", "Acquiring", "Releasing", "STUCK", "Stopped ("];
/// The file on the shared disk that the client fetches.
const FILE: &str = "index.html";

/// Why the demo ends early.
#[derive(Debug)]
enum Trouble {
    /// Ctrl-C or TERM.
    Interrupted,
    /// Something that was waited for did not come.
    Missed(String),
}

/// What the client has seen last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    None,
    From(char),
}

/// One fetch.
struct Fetch {
    at: Instant,
    answer: Answer,
}

/// One look at a host from outside.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    address: bool,
    disk: bool,
}

/// One line's worth of state.
#[derive(Clone, PartialEq, Eq, Default)]
struct Row {
    adverts: String,
    address: String,
    disk: String,
    client: String,
}

/// Everything that was noticed.
struct Notes {
    row: Row,
    fetches: Vec<Fetch>,
    disks: Vec<(SystemTime, [bool; 2])>,
    wrongs: Vec<String>,
}

/// The demo: the lab, and what is known about it.
struct Show {
    lab: Lab,
    began: Instant,
    notes: Arc<Mutex<Notes>>,
    stop: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

fn main() -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let flag = Arc::clone(&interrupted);
        if let Err(error) = signal_hook::flag::register(signal as i32, flag) {
            eprintln!("demo: {signal}: {error}");
            return ExitCode::FAILURE;
        }
    }
    lab::require(&["nginx", "ps", "service", "mkfs.ext4", "fuser"]);
    let Some(glha) = build() else {
        eprintln!("demo: glha could not be built: cargo build --release");
        return ExitCode::FAILURE;
    };
    println!("Two hosts a and b, one disk, nginx on both, a client that fetches a file from");
    println!("the disk through {ARTICLE_VIP} ten times a second. Each line is a change:");
    let show = Show::new(glha, interrupted);
    show.run()
}

/// Builds glha beside this program, so that what is shown is what stands in the source; unless
/// the variable `GLHA` names another.
fn build() -> Option<PathBuf> {
    if std::env::var_os("GLHA").is_some() {
        return Subject::Glha.path();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--bin", "glha"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !build.status().ok()?.success() {
        return None;
    }
    Subject::Glha.path()
}

fn printed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Show {
    fn new(glha: PathBuf, interrupted: Arc<AtomicBool>) -> Self {
        let lab = Lab::new(&Plan {
            hosts: vec![("a", "172.16.51.11"), ("b", "172.16.51.12")],
            disk: Some(Guard::Mmp),
            glha: Some(glha),
        });
        let prepare = format!("echo 'a file on the shared disk' >{FILE}");
        lab.disk.as_ref().expect("planned").prepare(&prepare);
        for (host, which) in lab.hosts.iter().zip(["master", "backup"]) {
            install(host, which);
        }
        let notes = Notes { row: Row::default(), fetches: vec![], disks: vec![], wrongs: vec![] };
        Self {
            lab,
            began: Instant::now(),
            notes: Arc::new(Mutex::new(notes)),
            stop: Arc::new(AtomicBool::new(false)),
            interrupted,
        }
    }

    /// Shows everything, with a client and an observer beside it.
    fn run(&self) -> ExitCode {
        println!("\n   time  adverts  address  disk  client");
        let (notes, stop) = (Arc::clone(&self.notes), Arc::clone(&self.stop));
        let client = self.lab.client.spawn(move || fetch_until(&notes, &stop));
        let outcome = thread::scope(|scope| {
            let observer = scope.spawn(|| self.observe());
            let outcome = self.play();
            self.stop.store(true, Ordering::Relaxed);
            let _ = observer.join();
            outcome
        });
        let _ = client.join();
        match outcome {
            Err(Trouble::Interrupted) => {
                println!("interrupted; everything is taken away again");
                return ExitCode::from(130);
            }
            Err(Trouble::Missed(what)) => {
                self.wrong(format!("did not happen: {what}"));
                println!("{}", self.lab.dump());
            }
            Ok(outages) => self.summarize(&outages),
        }
        self.check_priority_zero();
        self.verdict()
    }

    /// The three failures; the client's outage of each.
    fn play(&self) -> Result<Vec<(&'static str, Duration)>, Trouble> {
        let [a, b] = &self.lab.hosts[..] else { unreachable!("two hosts are planned") };
        let mut outages = Vec::new();
        self.wait("a first look", 5, || self.notes().row != Row::default())?;
        self.say("glha starts on a");
        let mut on_a = start(a);
        self.served_by('a', 20)?;
        self.say("glha starts on b, which stays backup");
        let _on_b = start(b);
        self.stays(3)?;

        self.title("1. a stops in order (maintenance): TERM to its glha");
        let at = Instant::now();
        on_a.signal(Signal::SIGTERM);
        self.served_by('b', 20)?;
        outages.push(("orderly stop of a", self.outage(at)));
        self.wait("glha ends on a", 20, || on_a.ended().is_some())?;
        self.say("glha starts on a again, and stays backup: who has the disk keeps it");
        drop(on_a);
        let _on_a = start(a);
        self.stays(6)?;

        self.title("2. nginx dies on b and cannot be started again");
        let at = Instant::now();
        nginx::destroy(b);
        self.served_by('a', 30)?;
        outages.push(("nginx dead on b", self.outage(at)));
        self.say("nginx on b is repaired");
        nginx::configure(b);
        b.sh("service nginx start >/dev/null 2>&1 || :");
        self.stays(6)?;

        self.title("3. a loses its power; MMP makes b wait until a is surely dead");
        let at = Instant::now();
        self.lab.power_off(0);
        self.served_by('b', 70)?;
        outages.push(("power-off of a", self.outage(at)));
        self.stays(3)?;
        Ok(outages)
    }

    // --- waiting

    /// Waits until the client is served by that host, which alone has address and disk.
    fn served_by(&self, host: char, limit_seconds: u64) -> Result<(), Trouble> {
        let what = format!("{host} alone has address and disk and serves the client");
        self.wait(&what, limit_seconds, || {
            let notes = self.notes();
            let row = &notes.row;
            let last = notes.fetches.last().map(|f| f.answer);
            [&row.address, &row.disk].iter().all(|x| **x == host.to_string())
                && last == Some(Answer::From(host))
        })
    }

    /// Nothing may change for so long: the client is served by the same host all the time.
    fn stays(&self, seconds: u64) -> Result<(), Trouble> {
        let from = Instant::now();
        let _ = self.wait_or_time(seconds, || false)?;
        let notes = self.notes();
        let since: Vec<_> = notes.fetches.iter().filter(|f| f.at > from).collect();
        let same = since.windows(2).all(|w| w[0].answer == w[1].answer);
        let good = same && since.first().is_some_and(|f| f.answer != Answer::None);
        drop(notes);
        if !good {
            self.wrong("the client was disturbed while nothing was wrong".to_owned());
        }
        Ok(())
    }

    fn wait(
        &self,
        what: &str,
        seconds: u64,
        condition: impl FnMut() -> bool,
    ) -> Result<(), Trouble> {
        match self.wait_or_time(seconds, condition)? {
            true => Ok(()),
            false => Err(Trouble::Missed(format!("{what} (waited {seconds} s)"))),
        }
    }

    fn wait_or_time(
        &self,
        seconds: u64,
        mut condition: impl FnMut() -> bool,
    ) -> Result<bool, Trouble> {
        let over = lab::wait_until(Duration::from_secs(seconds), || {
            self.interrupted.load(Ordering::Relaxed) || condition()
        });
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Trouble::Interrupted),
            false => Ok(over),
        }
    }

    // --- observing

    /// Looks at both hosts again and again, prints what changes, notes what must not be.
    fn observe(&self) {
        let mut told = HashMap::new();
        while !self.stop.load(Ordering::Relaxed) {
            let at = SystemTime::now();
            let seen = [self.look(0), self.look(1)];
            self.judge(seen);
            let row = self.row(seen, at);
            let mut notes = self.notes();
            notes.disks.push((at, [seen[0].disk, seen[1].disk]));
            if notes.row != row {
                notes.row = row;
                self.print(&notes.row, "");
            }
            drop(notes);
            self.tell_reasons(&mut told);
            thread::sleep(SAMPLE_EVERY);
        }
    }

    /// Prints what the daemons have logged of their transitions since the last time.
    fn tell_reasons(&self, told: &mut HashMap<String, usize>) {
        for (name, content) in self.lab.logs() {
            let lines: Vec<_> = content.lines().collect();
            let from = told.insert(name.clone(), lines.len()).unwrap_or_default();
            for line in &lines[from.min(lines.len())..] {
                let Some((_, what)) = line.split_once("(VI_1) ") else { continue };
                if TOLD.iter().any(|word| what.starts_with(word)) {
                    println!("{:9}{}: {what}", "", &name[..1]);
                }
            }
        }
    }

    fn look(&self, n: usize) -> Seen {
        let host = &self.lab.hosts[n];
        Seen { address: host.has_address(ARTICLE_VIP), disk: host.mounted(MOUNT_POINT).is_some() }
    }

    /// What must never be. What the hosts look like has changed when it took long to look, so
    /// everything suspicious is looked at again and counts if it is still there.
    fn judge(&self, seen: [Seen; 2]) {
        let [a, b] = seen;
        let still = |n: usize| self.look(n) == seen[n];
        if a.disk && b.disk && still(0) && still(1) {
            self.wrong("the disk is mounted on both hosts".to_owned());
        }
        if a.address && b.address && still(0) && still(1) {
            self.wrong("both hosts have the address".to_owned());
        }
        for (n, name) in ["a", "b"].iter().enumerate() {
            if seen[n].address && !seen[n].disk && still(n) {
                self.wrong(format!("{name} has the address without the disk"));
            }
        }
    }

    fn row(&self, seen: [Seen; 2], now: SystemTime) -> Row {
        let names = |has: &dyn Fn(&Seen) -> bool| {
            let with: Vec<_> =
                ["a", "b"].iter().zip(&seen).filter(|(_, s)| has(s)).map(|(n, _)| *n).collect();
            if with.is_empty() { "-".to_owned() } else { with.join("+") }
        };
        let frames = self.lab.frames();
        let since = |at: SystemTime| now.duration_since(at).unwrap_or_default();
        let last = frames.iter().rev().take_while(|f| since(f.at) < ADVERT_LASTS);
        let last = last.filter_map(|f| f.advert().map(|a| (f, a))).next();
        let adverts = match last {
            Some((frame, advert)) if advert.priority == 0 => format!("{} leaves", frame.from),
            Some((frame, advert)) => format!("{} {}", frame.from, advert.priority),
            None => "-".to_owned(),
        };
        let client = match self.notes().fetches.last().map(|f| f.answer) {
            Some(Answer::From(host)) => format!("served by {host}"),
            Some(Answer::None) => "no answer".to_owned(),
            None => "-".to_owned(),
        };
        Row { adverts, address: names(&|s| s.address), disk: names(&|s| s.disk), client }
    }

    // --- telling

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn print(&self, row: &Row, what: &str) {
        let Row { adverts, address, disk, client } = row;
        let time = self.began.elapsed().as_secs_f64();
        let line = format!("{time:7.2}  {adverts:8} {address:8} {disk:5} {client:12}{what}");
        println!("{}", line.trim_end());
    }

    fn say(&self, what: &str) {
        let row = self.notes().row.clone();
        self.print(&row, &format!(" <- {what}"));
    }

    fn title(&self, what: &str) {
        println!("\n--- {what}");
    }

    fn wrong(&self, what: String) {
        let mut notes = self.notes();
        if !notes.wrongs.contains(&what) {
            println!("{:7.2}  WRONG: {what}", self.began.elapsed().as_secs_f64());
            notes.wrongs.push(what);
        }
    }

    /// From the last answer that began before the fault, or the fault if later, to the first of
    /// the host that took over.
    fn outage(&self, from: Instant) -> Duration {
        let notes = self.notes();
        let answered = |f: &&Fetch| f.answer != Answer::None;
        let gaps: Vec<_> = notes.fetches.iter().filter(answered).map(|f| f.at).collect();
        let relevant = gaps.windows(2).filter(|w| w[1] > from).map(|w| w[1] - w[0].max(from));
        relevant.max().unwrap_or_default()
    }

    /// A priority 0 says that the disk is free: its sender must not be seen with it any more.
    fn check_priority_zero(&self) {
        let mut zeros = 0;
        for (n, name) in ["a", "b"].iter().enumerate() {
            for (frame, advert) in self.lab.adverts(name) {
                if advert.priority > 0 {
                    continue;
                }
                zeros += 1;
                let after = frame.at..frame.at + RELEASED_SPAN;
                let held = |(at, disks): &(SystemTime, [bool; 2])| after.contains(at) && disks[n];
                if self.notes().disks.iter().any(held) {
                    self.wrong(format!("{name} sent priority 0 before it had released the disk"));
                }
            }
        }
        if zeros == 0 {
            self.wrong("no priority 0 was sent, though a master stopped in order".to_owned());
        }
    }

    fn summarize(&self, outages: &[(&str, Duration)]) {
        println!("\n--- summary");
        for (what, outage) in outages {
            println!(
                "{what:20} the client was without an answer for {:5.2} s",
                outage.as_secs_f64()
            );
        }
        let notes = self.notes();
        let answered = notes.fetches.iter().filter(|f| f.answer != Answer::None).count();
        println!("{} of {} fetches were answered", answered, notes.fetches.len());
        println!("both hosts were looked at {} times:", notes.disks.len());
    }

    fn verdict(&self) -> ExitCode {
        let notes = self.notes();
        if notes.wrongs.is_empty() {
            println!("never two mounts, never two owners, no address without the disk,");
            println!("no priority 0 before the disk was released: all is well");
            return ExitCode::SUCCESS;
        }
        for wrong in &notes.wrongs {
            println!("WRONG: {wrong}");
        }
        ExitCode::FAILURE
    }
}

/// The original configuration untouched, the original scripts less their mount lines, the
/// project's hooks, and the ten lines of glha.conf.
fn install(host: &Host, which: &str) {
    let keepalived_conf = printed(&format!("demo/article/keepalived.conf.{which}"));
    host.write("/etc/keepalived/keepalived.conf", &keepalived_conf);
    let check = printed("demo/migrated/check_nginx.sh.both");
    host.write_script("/etc/keepalived/check_nginx.sh", &check);
    let notify = printed(&format!("demo/migrated/notify.sh.{which}"));
    host.write_script("/etc/keepalived/notify.sh", &notify);
    for hook in ["mount.sh", "notify.sh"] {
        host.write_script(&format!("/etc/glha/hooks/{hook}"), &printed(&format!("hooks/{hook}")));
    }
    host.write_hook_parts();
    host.write("/etc/glha/glha.conf", &printed("demo/glha.conf"));
    nginx::configure(host);
    host.sh("service nginx start >/dev/null");
}

fn start(host: &Host) -> Daemon {
    Subject::Glha.start_with(host, "/etc/glha/glha.conf")
}

/// The client: one request after another until it is told to stop.
fn fetch_until(notes: &Mutex<Notes>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let at = Instant::now();
        let answer = lab::fetch(ARTICLE_VIP, &format!("/{FILE}"), FETCH_LIMIT);
        let answer = answer.filter(|text| text.contains("a file on the shared disk"));
        let host = answer.and_then(|text| text.split("X-Host: ").nth(1)?.chars().next());
        let answer = host.map_or(Answer::None, Answer::From);
        notes.lock().unwrap_or_else(|e| e.into_inner()).fetches.push(Fetch { at, answer });
        thread::sleep(FETCH_EVERY.saturating_sub(at.elapsed()));
    }
}
