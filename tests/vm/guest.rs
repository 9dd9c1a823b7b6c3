//! A guest: an emulated machine with a disk of its own, the shared disk, and an interface in the test's
//! network. Its console tells what happens in it, as the host sees it come.

use super::space::{Space, command};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that anything which is awaited may take on an emulated processor.
pub const LIMIT: Duration = Duration::from_secs(400);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(500);
/// Megabytes of memory of a guest.
const MEMORY: &str = "512";
/// Bytes of the disk that only one guest has; XFS wants 300 MiB.
const PRIVATE_BYTES: u64 = 512 << 20;

/// A line of a console, and when it came.
#[derive(Clone, Debug)]
pub struct Line {
    /// When the host read it.
    pub at: Instant,
    /// Without colours.
    pub text: String,
}

/// How the processor of a guest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// By the kernel.
    Kvm,
    /// By emulation, anywhere.
    Tcg,
}

impl Accelerator {
    fn arguments(self) -> [&'static str; 2] {
        match self {
            Self::Kvm => ["-accel", "kvm"],
            Self::Tcg => ["-accel", "tcg,thread=multi,tb-size=256"],
        }
    }

    /// KVM, if a kernel says its first words with it: that the device opens does not say that a guest
    /// gets anywhere.
    pub fn that_works(folder: &Path, limit: Duration) -> Self {
        if !Path::new("/dev/kvm").exists() {
            return Self::Tcg;
        }
        let mut qemu = command("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(Self::Kvm.arguments());
        qemu.args([
            "-m",
            MEMORY,
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ]);
        qemu.arg("-kernel").arg(folder.join("vmlinuz")).args(["-append", "console=ttyS0 panic=-1"]);
        let Ok(mut child) = qemu.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
            return Self::Tcg;
        };
        let out = child.stdout.take().expect("piped");
        let (said, heard) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            let lines = BufReader::new(out).split(b'\n').map_while(Result::ok);
            let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
            // The last that a kernel without a root says: so it got through its start.
            if lines.any(|line| line.contains("Kernel panic")) {
                let _ = said.send(());
            }
        });
        let works = heard.recv_timeout(limit).is_ok();
        let _ = child.kill();
        let _ = child.wait();
        let _ = reader.join();
        if works { Self::Kvm } else { Self::Tcg }
    }
}

/// Waits until `condition` gives something.
#[track_caller]
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "awaited in vain: {what}");
        thread::sleep(LOOK);
    }
}

/// A machine that runs, or is without power.
pub struct Guest {
    /// 1 or 2; 3 has a disk for both.
    pub number: usize,
    accelerator: Accelerator,
    seed: PathBuf,
    folder: PathBuf,
    qemu: Option<Child>,
    reader: Option<thread::JoinHandle<()>>,
    hand: Option<UnixStream>,
    heard: Vec<u8>,
    asked: u64,
    console: Arc<Console>,
}

impl Guest {
    /// Without power, with a fresh disk of its own in `folder`, whose base lies in `seed`.
    pub fn new(number: usize, accelerator: Accelerator, seed: &Path, folder: &Path) -> Self {
        let image = folder.join(format!("node{number}.qcow2"));
        let kept = File::create(seed.join(format!("node{number}.console"))).expect("target/vm");
        let output = command("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(seed.join("seed.img"))
            .arg(&image)
            .output()
            .expect("qemu-img starts");
        assert!(output.status.success(), "qemu-img: {}", super::space::said(&output));
        let private = File::create(folder.join(format!("private{number}.img")));
        private.and_then(|file| file.set_len(PRIVATE_BYTES)).expect("target/vm/run");
        Self {
            number,
            accelerator,
            seed: seed.to_owned(),
            folder: folder.to_owned(),
            qemu: None,
            reader: None,
            hand: None,
            heard: Vec::new(),
            asked: 0,
            console: Arc::new(Console { lines: Mutex::default(), kept }),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("node{}", self.number)
    }

    /// Gives it power; [`Self::ready`] waits for it.
    pub fn boot(&mut self, space: &Space) {
        assert!(self.qemu.is_none(), "{} has power", self.name());
        let n = self.number;
        let hand = self.folder.join(format!("node{n}.hand"));
        let _ = std::fs::remove_file(&hand);
        let own = self.folder.join(format!("node{n}.qcow2"));
        let mut qemu = command("nsenter");
        qemu.args(["-t", &space.pid().to_string(), "-n", "--"]);
        qemu.args(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args(self.accelerator.arguments());
        qemu.args(["-m", MEMORY, "-nodefaults", "-display", "none"]);
        // A machine that resets itself ends, and is given power again: an emulator that goes on stumbles for
        // minutes over what it has translated before.
        qemu.arg("-no-reboot");
        qemu.arg("-kernel").arg(self.seed.join("vmlinuz"));
        // A command that the emulated disk has overlooked, as it may on a busy host, is tried again soon.
        qemu.arg("-append").arg(format!(
            "nvme_core.io_timeout=5 nvme_core.max_retries=20 root=/dev/nvme0n1 rootwait rw console=ttyS0 loglevel=7 mitigations=off net.ifnames=0 panic=-1 \
             systemd.hostname=node{n} systemd.machine_id={n:032x} systemd.show_status=no \
             systemd.journald.forward_to_console=1"
        ));
        let drive = |file: &Path, id: &str, more: &str| {
            format!("file={},if=none,id={id},{more}", file.display())
        };
        qemu.arg("-drive").arg(drive(&own, "own", "format=qcow2,cache=unsafe"));
        qemu.args(["-device", "nvme,drive=own,serial=own,addr=5"]);
        // The page cache of this host is what both see: vda, and vdc for a second one. vdb is the package, vdd
        // belongs to this guest.
        let common = "format=raw,cache=writeback,file.locking=off";
        let private = format!("private{n}.img");
        let disks = [
            ("shared", "shared.img", common, ",share-rw=on"),
            ("package", "package.tar", "format=raw,readonly=on", ""),
            ("second", "second.img", common, ",share-rw=on"),
            ("private", &private, "format=raw,cache=writeback", ""),
        ];
        for (place, (id, file, drive_more, more)) in (6..).zip(disks) {
            qemu.arg("-drive").arg(drive(&self.folder.join(file), id, drive_more));
            qemu.args(["-device", &format!("virtio-blk-pci,drive={id}{more},addr={place}")]);
        }
        qemu.args(["-netdev", &format!("tap,id=net,ifname=tap{n},script=no,downscript=no")]);
        qemu.args([
            "-device",
            &format!("virtio-net-pci,netdev=net,mac=52:54:00:00:00:0{n},addr=4"),
        ]);
        qemu.args(["-serial", "stdio"]);
        qemu.arg("-chardev")
            .arg(format!("socket,id=hand,path={},server=on,wait=off", hand.display()));
        qemu.args(["-serial", "chardev:hand"]);
        qemu.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = qemu.spawn().expect("nsenter starts");
        let (out, complaints) = (child.stdout.take(), child.stderr.take());
        let console = Arc::clone(&self.console);
        self.reader = Some(thread::spawn(move || note(out.expect("piped"), &console)));
        self.qemu = Some(child);
        let mut complaints = complaints.expect("piped");
        self.hand = Some(until("the guest's serial line", || {
            let ended =
                self.qemu.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            if ended {
                let mut said = String::new();
                let _ = complaints.read_to_string(&mut said);
                panic!("qemu did not start: {said}");
            }
            UnixStream::connect(&hand).ok()
        }));
        // It may complain for as long as it lives.
        thread::spawn(move || std::io::copy(&mut complaints, &mut std::io::sink()));
        self.heard.clear();
    }

    /// Waits until it takes commands, after a boot.
    pub fn ready(&mut self) {
        self.hear("<<ready>>");
    }

    /// Exit status and output of a command of one line.
    #[track_caller]
    pub fn sh(&mut self, script: &str) -> (i32, String) {
        self.send(script);
        self.answer()
    }

    /// Exit status and output of the command that was sent last.
    #[track_caller]
    pub fn answer(&mut self) -> (i32, String) {
        let said = self.hear(&format!("<<end {} ", self.asked));
        let status = self.hear(">>");
        (status.trim().parse().unwrap_or(-1), said.replace('\r', "").trim().to_owned())
    }

    /// The output of a command, which has to succeed.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> String {
        let (status, said) = self.sh(script);
        assert_eq!(status, 0, "{}: {script}\n{said}", self.name());
        said
    }

    /// Whether a command succeeds.
    pub fn is(&mut self, script: &str) -> bool {
        self.sh(script).0 == 0
    }

    /// A command whose end is not awaited: a reboot.
    pub fn send(&mut self, script: &str) {
        assert!(!script.contains('\n'), "one line: {script}");
        self.asked += 1;
        self.console.add(format!("$ {script}"));
        let line = format!("{} {script}\n", self.asked);
        let hand = self.hand.as_mut().expect("the guest has power");
        hand.write_all(line.as_bytes()).expect("the guest's serial line");
    }

    /// Writes a file in it.
    #[track_caller]
    pub fn write(&mut self, path: &str, text: &str) {
        let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
        self.run(&format!("printf %s $'{escaped}' >{path}"));
    }

    /// Takes its power.
    pub fn cut(&mut self) {
        if let Some(mut child) = self.qemu.take() {
            let _ = child.kill();
            self.gone(&mut child);
        }
    }

    /// Waits until it has powered itself off, or reset itself.
    #[track_caller]
    pub fn off(&mut self) {
        let mut child = self.qemu.take().expect("the guest has power");
        until("the guest's machine ends", || child.try_wait().ok().flatten());
        self.gone(&mut child);
    }

    fn gone(&mut self, child: &mut Child) {
        let _ = child.wait();
        self.hand = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Whether it has power.
    pub fn has_power(&self) -> bool {
        self.qemu.is_some()
    }

    /// What its console has said since then.
    pub fn said_since(&self, since: Instant) -> Vec<Line> {
        let console = self.console.lines.lock().expect("no panic while locked");
        console.iter().filter(|line| line.at >= since).cloned().collect()
    }

    /// Waits until the console has said something since then.
    #[track_caller]
    pub fn says(&self, since: Instant, words: &str) -> Line {
        until(&format!("{} says {words:?}", self.name()), || {
            self.said_since(since).into_iter().find(|line| line.text.contains(words))
        })
    }

    /// What came before `mark` on the serial line.
    #[track_caller]
    fn hear(&mut self, mark: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let at = self.heard.windows(mark.len()).position(|window| window == mark.as_bytes());
            if let Some(at) = at {
                let before = self.heard.drain(..at + mark.len()).take(at).collect::<Vec<_>>();
                return String::from_utf8_lossy(&before).into_owned();
            }
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let hand = self.hand.as_mut().expect("the guest has power");
            hand.set_read_timeout(Some(left)).expect("a time");
            let mut more = [0; 4096];
            match hand.read(&mut more) {
                Ok(0) => panic!("node{} has ended while {mark:?} was awaited", self.number),
                Ok(n) => self.heard.extend_from_slice(&more[..n]),
                Err(e) => panic!(
                    "node{} does not answer {mark:?} ({e}); heard: {}",
                    self.number,
                    String::from_utf8_lossy(&self.heard)
                ),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cut();
    }
}

/// What is known of a guest, also in a file that stays.
struct Console {
    lines: Mutex<Vec<Line>>,
    kept: File,
}

impl Console {
    fn add(&self, text: String) {
        let _ = writeln!(&self.kept, "{text}");
        self.lines.lock().expect("no panic while locked").push(Line { at: Instant::now(), text });
    }
}

/// Notes each line of a console until it ends, and its end.
fn note(out: impl Read, console: &Console) {
    for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
        console.add(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
    console.add(super::story::WITHOUT_POWER.to_owned());
}
