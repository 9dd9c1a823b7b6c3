//! Two guests, their shared disk, their network and a client.

use super::client::Client;
use super::guest::{Accelerator, Guest, until};
use super::space::{Space, command, said};
use super::story;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of the shared disk.
const SHARED_BYTES: u64 = 128 << 20;
/// Bytes of a second one; XFS wants 300 MiB.
const SECOND_BYTES: u64 = 512 << 20;
/// How long a kernel may take to say its first words with KVM.
const KVM_LIMIT: Duration = Duration::from_secs(15);

/// Both guests and what is between them. All of it goes with this value.
pub struct Pair {
    /// node1 and node2.
    pub guests: [Guest; 2],
    /// Asks the service from the start.
    pub client: Client,
    /// The network of both and of the client; no other has a way into it.
    pub space: Space,
    /// How the processors are made.
    pub accelerator: Accelerator,
    /// The third guest, where it is needed.
    pub target: Option<Guest>,
    begun: Instant,
    seed: PathBuf,
    folder: PathBuf,
    _alone: Flock<File>,
}

impl Pair {
    /// Guests without power, beside a fresh disk. `package` is the Debian package that they find as
    /// `/dev/vdb`, in a tar.
    pub fn new(package: &Path) -> Self {
        let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm");
        fs::create_dir_all(&seed).expect("target/vm");
        let lock = File::create(seed.join("lock")).expect("target/vm/lock");
        let alone = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
        let alone = alone.unwrap_or_else(|_| panic!("another run uses target/vm"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/seed.sh");
        // It may say that it takes a while.
        let status = command(&script.to_string_lossy()).arg(&seed).status().expect("seed.sh");
        assert!(status.success(), "seed.sh: {status}");

        // What a run that was killed has left.
        let folder = seed.join("run");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("target/vm/run");
        let shared = folder.join("shared.img");
        File::create(&shared).and_then(|file| file.set_len(SHARED_BYTES)).expect("the shared disk");
        let run = |program: &str, arguments: &[&str], file: &Path| {
            let output = command(program).args(arguments).arg(file).output();
            let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
            assert!(output.status.success(), "{program}: {}", said(&output));
        };
        let second = File::create(folder.join("second.img"));
        second.and_then(|file| file.set_len(SECOND_BYTES)).expect("the second disk");
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-F", "-e", "remount-ro", "-E", lazy], &shared);
        let name = package.file_name().expect("a package").to_string_lossy().into_owned();
        let tar = folder.join("package.tar").to_string_lossy().into_owned();
        let parent = package.parent().expect("a folder").to_string_lossy().into_owned();
        let renamed = format!("--transform=s/{name}/glha.deb/");
        run("tar", &["-cf", &tar, "-C", &parent, &renamed], Path::new(&name));

        let space = Space::new();
        space.sh("ip link set lo up
            ip link add br0 type bridge mcast_snooping 0
            ip address add 10.20.0.9/24 dev br0
            ip link set br0 up
            for n in 1 2 3; do
                ip tuntap add tap$n mode tap
                ip link set tap$n master br0 up
            done");
        let accelerator = Accelerator::that_works(&seed, KVM_LIMIT);
        let guest = |number| Guest::new(number, accelerator, &seed, &folder);
        let guests = [guest(1), guest(2)];
        let client = Client::start(&space);
        let begun = Instant::now();
        Self {
            guests,
            client,
            space,
            accelerator,
            target: None,
            begun,
            seed,
            folder,
            _alone: alone,
        }
    }

    /// Gives power to those that have none, and waits for all.
    pub fn power(&mut self) {
        let off = self.guests.iter_mut().filter(|guest| !guest.has_power());
        let mut off: Vec<&mut Guest> = off.collect();
        for guest in &mut off {
            guest.boot(&self.space);
        }
        for guest in &mut off {
            guest.ready();
        }
    }

    /// Gives power to one, and waits for it.
    pub fn power_one(&mut self, number: usize) {
        let guest = &mut self.guests[number - 1];
        guest.boot(&self.space);
        guest.ready();
    }

    /// A node by its number.
    pub fn node(&mut self, number: usize) -> &mut Guest {
        &mut self.guests[number - 1]
    }

    /// A third guest, with power: neither of the two knows it.
    pub fn third(&self) -> Guest {
        let mut guest = Guest::new(3, self.accelerator, &self.seed, &self.folder);
        guest.boot(&self.space);
        guest.ready();
        guest
    }

    /// A line of the table: the longest time without an answer since then, and what happened meanwhile.
    pub fn row(&self, name: &str, since: Instant, verdict: &str) {
        let outage = self.client.outage_since(since);
        let told = story::told(&story::since(&self.guests, since));
        println!("{name:<44} {outage:>6.1} s  {verdict}{told}");
    }

    /// Waits until that node answers the client, from now on.
    #[track_caller]
    pub fn served_by(&self, number: usize) {
        let now = Instant::now();
        until(&format!("an answer of node{number}"), || {
            self.client.served_since(now).filter(|by| *by == format!("node{number}"))
        });
    }

    /// Waits until one node is master and answers, and the other is backup: their numbers, in this order.
    #[track_caller]
    pub fn settled(&mut self) -> (usize, usize) {
        let states = until("a master and a backup", || {
            // A daemon without an instance says 1, too.
            let states = [1, 2].map(|number| match self.node(number).sh("glha status") {
                (state, said) if said.contains("VI_1") => state,
                _ => -1,
            });
            [([0, 1], (1, 2)), ([1, 0], (2, 1))].into_iter().find(|(pair, _)| *pair == states)
        });
        self.served_by(states.1.0);
        states.1
    }

    /// The master gives up, also for a backup that it has never heard. It may ask for a moment first, after
    /// one in which the machine stood still.
    #[track_caller]
    pub fn resign(&mut self, master: usize) {
        until("a resignation", || {
            let (status, said) = self.node(master).sh("glha resign --force VI_1");
            assert!(status == 0 || said.contains("try again"), "{said}");
            (status == 0).then_some(())
        });
    }

    /// Ends both in order and looks at the disk itself: what the file system says, and all numbers.
    #[track_caller]
    pub fn look_at_the_disk(&mut self) {
        for guest in &mut self.guests {
            if guest.has_power() {
                guest.send("systemctl poweroff");
            }
        }
        for guest in &mut self.guests {
            if guest.has_power() {
                guest.off();
            }
        }
        story::never_two(&story::since(&self.guests, self.begun));
        let shared = self.folder.join("shared.img");
        let checked = command("e2fsck").args(["-f", "-n"]).arg(&shared).output().expect("e2fsck");
        assert!(checked.status.success(), "the file system is damaged:\n{}", said(&checked));
        let there =
            command("debugfs").args(["-R", "cat numbers"]).arg(&shared).output().expect("debugfs");
        let (given, lost) =
            self.client.lost(self.begun..Instant::now(), &String::from_utf8_lossy(&there.stdout));
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        println!("the file system is whole; {given} writes were acknowledged, none is lost");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for guest in &mut self.guests {
            guest.cut();
        }
        self.target = None;
        let _ = fs::remove_dir_all(&self.folder);
    }
}
