//! Hooks as supervised children, driven by a small loop of the kind the daemon has.
//!
//! Needs root (for another user's rights, and to make a process that cannot be killed).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use glha::core::Time;
use glha::core::event::HookEnd;
use glha::core::spec::{CheckId, InstanceId};
use glha::shell::hooks::child::{Children, Ended, LINGERING_MAX, RUNS_MAX};
use glha::shell::hooks::run::{Ids, Run};
use glha::work::{Key, NotifyQueue};
use mio::{Events, Poll, Token};

const FIRST_TOKEN: usize = 10;
/// A test that waits longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const MOUNT: Key = Key::Mount(InstanceId(0));

/// Everything that was logged, to be searched by name.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}

fn logged(start: &str) -> Vec<String> {
    LOGGED.lock().unwrap().iter().filter(|line| line.starts_with(start)).cloned().collect()
}

/// The end of one run.
#[derive(Debug)]
struct End {
    end: HookEnd,
    output: Vec<String>,
    took: Duration,
}

/// A loop with nothing but children, and a folder for their files.
struct Bench {
    poll: Poll,
    children: Children,
    epoch: Instant,
    folder: PathBuf,
    ends: BTreeMap<Key, End>,
    unkillable: Vec<Key>,
}

impl Bench {
    fn new(name: &str) -> Self {
        static LOGGER: Once = Once::new();
        LOGGER.call_once(|| {
            log::set_logger(&Recorder).unwrap();
            log::set_max_level(log::LevelFilter::Info);
        });
        let folder =
            std::env::temp_dir().join(format!("glha-children-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let poll = Poll::new().unwrap();
        let children = Children::new(poll.registry().try_clone().unwrap(), FIRST_TOKEN);
        Self {
            poll,
            children,
            epoch: Instant::now(),
            folder,
            ends: BTreeMap::new(),
            unkillable: Vec::new(),
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    /// A script in the folder. Another process writes it: were it this one, a child forked by a
    /// test beside could hold it open for writing, and it would not start.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh", &path])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
        path
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn start(&mut self, key: Key, run: Run) {
        assert!(self.children.start(key, run));
    }

    /// One turn of the loop.
    fn turn(&mut self) {
        let now = self.now();
        let wait = self.children.deadline().map(|at| at.since(now));
        let wait = wait.unwrap_or(PATIENCE).min(PATIENCE);
        let mut events = Events::with_capacity(64);
        match self.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => other.unwrap(),
        }
        assert!(self.epoch.elapsed() < PATIENCE, "nothing happens any more: {:?}", self.children);
        let now = self.now();
        for event in &events {
            self.children.handle_ready(event.token(), now);
        }
        self.children.handle_timeout(now);
        for ended in self.children.drain() {
            match ended {
                Ended::Hook { key, end, output, took } => {
                    let before = self.ends.insert(key, End { end, output, took });
                    assert!(before.is_none(), "{key:?} ended twice: {before:?}");
                }
                Ended::Unkillable { key } => self.unkillable.push(key),
            }
        }
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.turn();
        }
    }

    /// Turns the loop until `done`, which nothing in the loop announces.
    fn poll_until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let mut events = Events::with_capacity(64);
            self.poll.poll(&mut events, Some(Duration::from_millis(10))).unwrap();
            let now = self.now();
            for event in &events {
                self.children.handle_ready(event.token(), now);
            }
            self.children.handle_timeout(now);
            assert!(self.epoch.elapsed() < PATIENCE, "waited in vain");
        }
    }

    fn end_of(&mut self, key: Key) -> End {
        self.until(|bench| bench.ends.contains_key(&key));
        self.ends.remove(&key).unwrap()
    }

    fn run(&mut self, run: Run) -> End {
        self.start(MOUNT, run);
        self.end_of(MOUNT)
    }

    /// Runs shell commands.
    fn shell(&mut self, text: &str) -> End {
        let run = self.run_of(text);
        self.run(run)
    }

    fn run_of(&self, text: &str) -> Run {
        let name = self.folder.file_name().unwrap().to_str().unwrap().to_owned();
        let folder = self.folder.to_str().unwrap();
        Run {
            name,
            argv: ["/bin/sh", "-c", text, "sh", folder].map(str::to_owned).to_vec(),
            env: vec![
                ("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into()),
                ("GLHA_INSTANCE".into(), "VI_1".into()),
            ],
            ..Run::default()
        }
    }

    fn command(&self, argv: &[&str]) -> Run {
        Run { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ..self.run_of("") }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat.rsplit_once(')').map_or("", |(_, after)| after.trim_start());
    !matches!(state.chars().next(), None | Some('Z' | 'X'))
}

fn need_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root");
}

#[test]
fn the_end_is_told_as_it_was() {
    let mut bench = Bench::new("end");
    let ok = bench.shell("echo fine; echo hm >&2");
    assert_eq!(ok.end, HookEnd::Exited(0));
    let mut output = ok.output;
    output.sort();
    assert_eq!(output, ["fine", "hm"]);
    assert_eq!(bench.shell("exit 75").end, HookEnd::Exited(75));
    assert_eq!(bench.shell("kill -9 $$").end, HookEnd::Signalled(9));
    assert!(bench.children.is_idle());
    assert_eq!(bench.children.deadline(), None);
}

#[test]
fn the_world_it_finds() {
    let mut bench = Bench::new("world");
    let text = "
        pwd; umask; env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort
        cat /proc/self/stat | { read -r a b c d pgrp rest; [ \"$pgrp\" = $$ ] && echo leader; }
        grep -e SigBlk -e SigIgn /proc/self/status | tr -d '\\t'";
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    nix::sys::stat::umask(umask);
    let end = bench.shell(text);
    assert_eq!(end.end, HookEnd::Exited(0));
    let mut lines = end.output.iter();
    assert_eq!(lines.next().map(String::as_str), Some("/"));
    assert_eq!(lines.next().cloned(), Some(format!("{:04o}", umask.bits())));
    assert_eq!(lines.next().map(String::as_str), Some("GLHA_INSTANCE=VI_1"));
    assert_eq!(lines.next().map(String::as_str), Some("PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
    assert_eq!(lines.next().map(String::as_str), Some("leader"));
    assert_eq!(lines.next().map(String::as_str), Some("SigBlk:0000000000000000"));
    let ignored = lines.next().and_then(|line| line.strip_prefix("SigIgn:")).unwrap();
    // The two signals that glibc keeps for itself do not count.
    let ignored = u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_ffff;
    assert_eq!(ignored, 0, "signals ignored: {ignored:#x}");
    // One that the daemon inherited from whoever started it must not reach a hook.
    let stray = fs::File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&stray, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let mut bench = Bench::new("descriptors");
    let run = bench.command(&["/bin/ls", "/proc/self/fd"]);
    assert_eq!(bench.run(run).output, ["0", "1", "2", "3"], "3 is the folder that ls reads");
}

#[test]
fn another_user_has_his_rights_only() {
    need_root();
    let mut bench = Bench::new("user");
    let user = nix::unistd::User::from_name("nobody").unwrap().expect("user nobody");
    let ids = Ids { uid: user.uid.as_raw(), gid: user.gid.as_raw() };
    let text =
        "id -u; id -g; id -G; pwd; [ \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$ ] && echo leader";
    let end = bench.run(Run { user: Some(ids), ..bench.run_of(text) });
    let (uid, gid) = (ids.uid.to_string(), ids.gid.to_string());
    assert_eq!(end.output, [&uid, &gid, &gid, "/", "leader"]);
}

#[test]
fn a_timeout_takes_the_whole_group() {
    for whole_group in [true, false] {
        let mut bench = Bench::new(&format!("timeout-{whole_group}"));
        let text = "trap '' TERM; (trap '' TERM; sh -c 'echo $$ >\"$1/grandchild\"; while :; do sleep 1; done' sh \"$1\") &
            echo $$ >\"$1/leader\"; while :; do sleep 1; done";
        let run =
            Run { timeout: Some(Duration::from_millis(300)), whole_group, ..bench.run_of(text) };
        let end = bench.run(run);
        assert_eq!(end.end, HookEnd::TimedOut);
        assert!(end.took >= Duration::from_millis(2300), "{:?}", end.took);
        assert!(!alive(&bench.read("leader")) && !alive(&bench.read("grandchild")));
        assert!(bench.unkillable.is_empty());
    }
}

#[test]
fn a_timeout_counts_even_if_the_hook_then_succeeds() {
    let mut bench = Bench::new("late");
    let text = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let run = Run { timeout: Some(Duration::from_millis(100)), ..bench.run_of(text) };
    assert_eq!(bench.run(run).end, HookEnd::TimedOut);
}

#[test]
fn a_deadline_that_the_hook_has_met_is_met() {
    let mut bench = Bench::new("met");
    let text = "echo $$ >\"$1/pid\"";
    bench.start(MOUNT, Run { timeout: Some(Duration::from_secs(5)), ..bench.run_of(text) });
    let now = bench.now();
    bench.children.handle_timeout(now);
    // The daemon is frozen meanwhile, and finds the deadline past when it goes on.
    while bench.read("pid").is_empty() || alive(&bench.read("pid")) {
        std::thread::yield_now();
    }
    bench.children.handle_timeout(now + Duration::from_secs(3600));
    let ended = bench.children.drain();
    let met = |ended: &Ended| matches!(ended, Ended::Hook { end: HookEnd::Exited(0), .. });
    assert!(ended.len() == 1 && ended.iter().all(met), "{ended:?}");
}

#[test]
fn stop_ends_what_runs_and_what_waits() {
    let mut bench = Bench::new("stop");
    let sleeper = bench.run_of("echo up; sleep 1000");
    bench.start(MOUNT, sleeper.clone());
    let now = bench.now();
    bench.children.stop(MOUNT, now);
    assert_eq!(bench.end_of(MOUNT).end, HookEnd::Ended, "not started yet");

    bench.start(MOUNT, sleeper.clone());
    bench.start(Key::Check(CheckId(3)), sleeper.clone());
    assert!(!bench.children.start(MOUNT, sleeper), "one run per key");
    bench.turn();
    bench.children.stop_matching(|key| matches!(key, Key::Mount(_)), now);
    assert_eq!(bench.end_of(MOUNT).end, HookEnd::Ended);
    assert!(bench.children.running(Key::Check(CheckId(3))));
    let now = bench.now();
    bench.children.stop_matching(|_| true, now);
    assert_eq!(bench.end_of(Key::Check(CheckId(3))).end, HookEnd::Ended);
}

#[test]
fn a_failed_mount_leaves_nothing_behind() {
    let mut bench = Bench::new("group");
    let text =
        "sh -c 'trap \"\" TERM; echo $$ >\"$1/service\"; while :; do sleep 1; done' sh \"$1\" &
        until [ -s \"$1/service\" ]; do :; done; exit 1";
    let end = bench.run(Run { whole_group: true, ..bench.run_of(text) });
    assert_eq!(end.end, HookEnd::Exited(1));
    assert!(!alive(&bench.read("service")));
    assert!(end.took >= Duration::from_secs(2), "{:?}", end.took);

    let end = bench.run(Run { whole_group: true, ..bench.run_of("sleep 1000 & exit 1") });
    assert_eq!(end.end, HookEnd::Exited(1));
}

#[test]
fn a_successful_mount_leaves_its_services_alone() {
    let mut bench = Bench::new("service");
    let text = "sh -c 'echo $$ >\"$1/service\"; until [ -e \"$1/go\" ]; do sleep 0.02; done
            echo from service; echo more; : >\"$1/done\"' sh \"$1\" &
        until [ -s \"$1/service\" ]; do :; done; echo started";
    let end = bench.run(Run { whole_group: true, ..bench.run_of(text) });
    assert_eq!((end.end, end.output), (HookEnd::Exited(0), vec!["started".to_owned()]));
    assert!(alive(&bench.read("service")));
    assert!(bench.children.is_idle());
    // It may still write, is not killed by that, and is heard.
    fs::write(bench.path("go"), "").unwrap();
    let name = bench.run_of("").name;
    bench.poll_until(|bench| {
        Path::new(&bench.path("done")).exists() && logged(&format!("{name}: more")).len() == 1
    });
}

#[test]
fn lingering_outputs_are_bounded() {
    let mut bench = Bench::new("linger");
    let count = LINGERING_MAX + 16;
    for n in 0..count {
        let key = Key::Check(CheckId(n));
        let run = bench.run_of("sleep 1000 & echo $! >>\"$1/pids\"");
        bench.start(key, run);
        assert_eq!(bench.end_of(key).end, HookEnd::Exited(0));
    }
    let ours: Vec<PathBuf> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    let read_by_us: Vec<bool> = bench
        .read("pids")
        .lines()
        .map(|pid| ours.contains(&fs::read_link(format!("/proc/{pid}/fd/1")).unwrap()))
        .collect();
    for pid in bench.read("pids").lines() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let oldest = read_by_us.iter().take_while(|open| !**open).count();
    assert_eq!((read_by_us.len(), oldest), (count, count - LINGERING_MAX), "{read_by_us:?}");
}

#[test]
fn what_one_turn_leaves_in_a_pipe_is_read_in_the_next() {
    let mut bench = Bench::new("big-pipe");
    // A pipe made larger (F_SETPIPE_SZ is 1031) takes all of it at once, so that no later write
    // wakes the loop.
    let perl =
        "fcntl(STDOUT, 1031, 1048576) or die; syswrite(STDOUT, 'x' x 500000 . \"\\nmarker\\n\");
        until (-e \"$ARGV[0]/go\") { select(undef, undef, undef, 0.02) }";
    let folder = bench.path("");
    let run = bench.command(&["perl", "-e", perl, &folder]);
    let marker = format!("{}: marker", run.name);
    bench.start(MOUNT, run);
    bench.poll_until(|_| logged(&marker).len() == 1);
    assert!(bench.children.running(MOUNT));
    fs::write(bench.path("go"), "").unwrap();
    assert_eq!(bench.end_of(MOUNT).end, HookEnd::Exited(0));
}

#[test]
fn input_arrives_whole_and_needs_no_reader() {
    let mut bench = Bench::new("stdin");
    let big: Vec<u8> = (0..1_000_000u32).map(|n| b'a' + (n % 26) as u8).collect();
    let run = Run { stdin: big.clone(), ..bench.run_of("cat >\"$1/copy\"") };
    assert_eq!(bench.run(run).end, HookEnd::Exited(0));
    assert!(bench.read("copy").as_bytes() == big);

    for text in ["exit 0", "sleep 0.2", "exec <&-; sleep 0.2", "head -c 100000 >/dev/null"] {
        let run = Run { stdin: big.clone(), ..bench.run_of(text) };
        assert_eq!(bench.run(run).end, HookEnd::Exited(0), "{text}");
    }
    let run = Run {
        stdin: b"{}\n".to_vec(),
        ..bench.run_of("read -r line; echo \"$line\"; read -r more")
    };
    let end = bench.run(run);
    assert_eq!((end.end, end.output), (HookEnd::Exited(1), vec!["{}".to_owned()]));
}

#[test]
fn a_flood_of_output_is_drained_and_bounded() {
    let mut bench = Bench::new("flood");
    let text = "dd if=/dev/zero bs=1M count=20 status=none | tr '\\0' 'x'; echo
        yes 'a line' | head -n 300000 >&2; echo the last";
    let end = bench.shell(text);
    assert_eq!(end.end, HookEnd::Exited(0));
    assert!(end.output.contains(&"the last".to_owned()));
    assert!(end.output.iter().all(|line| line.len() < 1100));
    let lines = logged(&bench.run_of("").name);
    assert!(lines.len() < 1100, "{}", lines.len());
    assert!(lines.last().unwrap().contains("more lines not logged"), "{:?}", lines.last());
}

#[test]
fn a_hook_that_closes_everything_is_waited_for() {
    let mut bench = Bench::new("close");
    let end = bench.shell("exec <&- >&- 2>&-; sleep 0.3; exit 4");
    assert_eq!(end.end, HookEnd::Exited(4));
    assert!(end.took >= Duration::from_millis(300));
}

#[test]
fn scripts_without_a_proper_first_line() {
    need_root();
    let mut bench = Bench::new("shebang");
    let nobody = Some(Ids { uid: 65534, gid: 65534 });
    let plain = bench.script("plain.sh", "echo \"plain $1\"; exit 3\n");
    let broken =
        bench.script("broken.sh", "\\#!/bin/bash\necho \"${BASH_VERSION:+bash} $1\"; exit 4\n");
    let empty = bench.script("empty.sh", "");
    for user in [None, nobody] {
        let end = bench.run(Run { user, ..bench.command(&[&plain, "one"]) });
        assert_eq!((end.end, end.output), (HookEnd::Exited(3), vec!["plain one".to_owned()]));
        let end = bench.run(Run { user, ..bench.command(&[&broken, "two"]) });
        assert_eq!(end.end, HookEnd::Exited(4));
        assert_eq!(end.output.last().map(String::as_str), Some("bash two"));
        let end = bench.run(Run { user, ..bench.command(&[&empty]) });
        assert_eq!(end.end, HookEnd::Exited(0));
    }
    let remarks: Vec<String> = logged(&bench.run_of("").name)
        .into_iter()
        .filter(|line| line.contains("#! line"))
        .collect();
    assert_eq!(remarks.len(), 3, "each once: {remarks:?}");
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut bench = Bench::new("missing");
    let reason = |bench: &mut Bench, run: Run| match bench.run(run).end {
        HookEnd::NotStarted(why) => why,
        other => panic!("{other:?}"),
    };
    let missing = bench.command(&["/no/such/script"]);
    assert!(reason(&mut bench, missing).contains("/no/such/script: No such file"));
    let plain = bench.script("plain", "#!/bin/sh\n");
    fs::set_permissions(&plain, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let run = bench.command(&[&plain]);
    assert!(reason(&mut bench, run).contains("chmod +x"));
    let lost = bench.script("lost", "#!/no/such/interpreter\n");
    let run = bench.command(&[&lost]);
    assert!(reason(&mut bench, run).contains("No such file"));
    let run = bench.command(&["no-such-command"]);
    assert!(reason(&mut bench, run).contains("not found in PATH"));
    let run = Run { must_be_secure: true, ..bench.command(&[&lost]) };
    assert!(reason(&mut bench, run).contains("/tmp (mode 1777)"));
    let run = Run { argv: Vec::new(), ..bench.run_of("") };
    assert!(!reason(&mut bench, run).is_empty());

    let run = bench.command(&["true"]);
    assert_eq!(bench.run(run).end, HookEnd::Exited(0), "found in PATH");
    let run = bench.command(&["</etc/passwd"]);
    assert_eq!(bench.run(run).end, HookEnd::Exited(0), "keepalived's test of a file");
    let run = bench.command(&["</no/such"]);
    assert_ne!(bench.run(run).end, HookEnd::Exited(0));
}

#[test]
fn more_runs_than_may_run_wait_their_turn() {
    let mut bench = Bench::new("many");
    let count = RUNS_MAX + 20;
    for n in 0..count {
        let run = bench.run_of("until [ -e \"$1/go\" ]; do sleep 0.5; done");
        bench.start(Key::Check(CheckId(n)), run);
    }
    let mount = bench.run_of("echo urgent");
    bench.start(MOUNT, mount);
    let end = bench.end_of(MOUNT);
    assert_eq!(end.output, ["urgent"], "a mount hook goes first");
    fs::write(bench.path("go"), "").unwrap();
    bench.until(|bench| bench.ends.len() == count);
    assert!(bench.ends.values().all(|end| end.end == HookEnd::Exited(0)));
    assert!(bench.children.is_idle());
}

#[test]
fn notify_runs_keep_their_order() {
    let mut bench = Bench::new("notify");
    let mut queue = NotifyQueue::default();
    let text = "mkdir \"$1/lock\" || echo overlap >>\"$1/log\"
        sleep 0.05; echo \"$GLHA_N\" >>\"$1/log\"; rmdir \"$1/lock\"";
    let mut expected = String::new();
    for change in 0..20 {
        let runs = (0..2).map(|script| {
            let number = format!("{change}.{script}");
            expected.push_str(&format!("{number}\n"));
            let mut run = bench.run_of(text);
            run.env.push(("GLHA_N".into(), number.into()));
            run
        });
        let runs = runs.collect();
        assert!(queue.push(Key::Notify(InstanceId(0)), runs).is_empty());
    }
    // Another instance's does not wait for them.
    let other = queue.push(Key::Notify(InstanceId(1)), vec![bench.run_of("exit 9")]);
    assert!(other.is_empty());
    let mut ended = 0;
    while !(queue.is_empty() && bench.children.is_idle()) {
        while let Some((key, run)) = queue.next(|key| bench.children.running(key)) {
            bench.children.start(key, run);
        }
        bench.turn();
        for end in std::mem::take(&mut bench.ends) {
            ended += 1;
            if end.0 == Key::Notify(InstanceId(1)) {
                assert_eq!(end.1.end, HookEnd::Exited(9));
                assert!(ended < 20, "the other instance waited");
            }
        }
    }
    assert_eq!(bench.read("log"), expected);
    assert_eq!(ended, 41);
}

/// A file system that is frozen, so that a process that writes to it cannot be killed.
struct Frozen(PathBuf);

impl Frozen {
    fn new(folder: &Path) -> Self {
        let (image, point) = (folder.join("image"), folder.join("point"));
        fs::create_dir_all(&point).unwrap();
        let script = "truncate -s 8M \"$1\" && mkfs.ext4 -q \"$1\" && mount -o loop \"$1\" \"$2\" \
             && fsfreeze -f \"$2\"";
        let status = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .args([&image, &point])
            .status()
            .unwrap();
        assert!(status.success(), "this test needs loop devices, mkfs.ext4 and fsfreeze");
        Self(point)
    }

    fn thaw(&self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).stderr(Stdio::null()).status();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn what_cannot_be_killed_is_told_and_keeps_its_place() {
    need_root();
    let mut bench = Bench::new("stuck");
    let frozen = Frozen::new(&bench.folder);
    let run = Run {
        timeout: Some(Duration::from_millis(100)),
        whole_group: true,
        ..bench.run_of("exec touch \"$1/point/file\"")
    };
    bench.start(MOUNT, run);
    bench.until(|bench| !bench.unkillable.is_empty());
    assert_eq!(bench.unkillable, [MOUNT]);
    assert!(bench.children.running(MOUNT));
    let other = bench.run_of("exit 0");
    bench.start(Key::Check(CheckId(0)), other);
    assert_eq!(bench.end_of(Key::Check(CheckId(0))).end, HookEnd::Exited(0), "the loop goes on");
    frozen.thaw();
    assert_eq!(bench.end_of(MOUNT).end, HookEnd::TimedOut);
    assert_eq!(bench.unkillable.len(), 1, "told once");
}

#[test]
fn a_hook_outlives_the_daemon_and_may_go_on_writing() {
    let mut bench = Bench::new("orphan");
    let text = "echo begun; : >\"$1/begun\"; until [ -e \"$1/go\" ]; do sleep 0.01; done
        set -e; echo one; echo two >&2; /bin/echo three; : >\"$1/done\"";
    let run = bench.run_of(text);
    bench.start(MOUNT, run);
    bench.poll_until(|bench| Path::new(&bench.path("begun")).exists());
    // All that the death of a daemon means to its hooks: its ends of the pipes are closed.
    bench.children = Children::new(bench.poll.registry().try_clone().unwrap(), FIRST_TOKEN);
    fs::write(bench.path("go"), "").unwrap();
    bench.poll_until(|bench| Path::new(&bench.path("done")).exists());
}

#[test]
fn strange_tokens_are_left_alone() {
    let mut bench = Bench::new("tokens");
    let now = bench.now();
    for token in [0, FIRST_TOKEN, FIRST_TOKEN + 3, usize::MAX] {
        bench.children.handle_ready(Token(token), now);
    }
    assert!(bench.children.is_idle());
}
