//! Nothing makes the daemon's loop wait: whatever its host holds up for seconds, its adverts go out.
//! `docs/loop.md` says why, system call by system call.
//!
//! Needs root, strace and a C compiler. A kernel without pidfds is played here too, since strace can.

mod lab;

use lab::{DEVICE, Daemon, Guard, Host, Lab, Plan, Subject, seconds};
use nix::sys::signal::Signal;
use std::time::{Duration, SystemTime};

/// What is held up is held up for so long, in microseconds as strace takes it.
const DELAY: &str = "delay_enter=3000000";
/// Adverts every 0.2 s may be so far apart on a busy machine; without care they are 3 s apart.
const GAP_MAX: Duration = Duration::from_secs(2);
/// What takes a delay or two, or five.
const SOON: f64 = 30.0;
/// IP's number of VRRP, and where it stands in an Ethernet frame.
const VRRP: u8 = 112;
const PROTOCOL_AT: usize = 14 + 9;

const CONF: &str = "
    global_defs {
        enable_script_security
        script_user root
        vrrp_version 3
    }
    vrrp_script check {
        script /etc/glha/check.sh
        interval 1
        timeout 20
        weight 1
    }
    vrrp_instance VI_1 {
        state MASTER
        interface eth0
        virtual_router_id 51
        priority 100
        advert_int 0.2
        virtual_ipaddress {
            172.16.51.70
        }
        track_script {
            check
        }
        notify /etc/glha/notify.sh
    }";
const PATH: &str = "/etc/keepalived/keepalived.conf";
const ARGUMENTS: [&str; 11] =
    ["-n", "-l", "-D", "-G", "-f", PATH, "-p", "/run/d.pid", "-r", "/run/v.pid", "-P"];

/// A host with a master that was started by `program` and its `words`.
struct World {
    lab: Lab,
    daemon: Daemon,
}

impl World {
    fn new(lab: Lab, program: &str, words: &[&str]) -> Self {
        let host = &lab.hosts[0];
        host.write(PATH, CONF);
        host.write_script("/etc/glha/check.sh", "#!/bin/sh\necho checked >>/run/lab/checked\n");
        host.write_script("/etc/glha/notify.sh", "#!/bin/sh\necho \"$3\" >>/run/lab/told\n");
        let daemon = host.start(program, &[words, &ARGUMENTS].concat());
        let world = Self { lab, daemon };
        world.wait_for("it is master", || world.host().has_address("172.16.51.70"));
        world
    }

    /// What strace is told is done to every process of the daemon.
    fn traced(what: &[&str]) -> Self {
        lab::require(&["strace"]);
        let words = [&["-f", "-qq", "-o", "/run/lab/trace"], what, &[Subject::Glha.program()]];
        Self::new(Lab::single(), "strace", &words.concat())
    }

    fn host(&self) -> &Host {
        &self.lab.hosts[0]
    }

    fn glha(&self, words: &str) -> lab::Ran {
        self.host().run(&format!("{} {words}", Subject::Glha.program()))
    }

    #[track_caller]
    fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        self.lab.wait_for(what, seconds(SOON), condition);
    }

    /// How often it was told something in the log.
    fn count(&self, text: &str) -> usize {
        self.daemon.log().matches(text).count()
    }

    /// How often a system call was held up.
    fn delays(&self) -> usize {
        self.host().read("/run/lab/trace").matches("(DELAYED)").count()
    }

    /// The longest time without an advert from then until now.
    #[track_caller]
    fn adverts_went_out_since(&self, began: SystemTime) {
        let is_advert = |frame: &lab::Frame| frame.bytes.get(PROTOCOL_AT) == Some(&VRRP);
        let frames = self.lab.frames().into_iter();
        let mut times: Vec<SystemTime> =
            frames.filter(is_advert).map(|frame| frame.at).filter(|at| *at >= began).collect();
        times.insert(0, began);
        times.push(SystemTime::now());
        let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default());
        let longest = gaps.max().unwrap_or_default();
        println!("longest time without an advert: {longest:?}");
        self.lab.check(&format!("{longest:?} without an advert"), longest < GAP_MAX);
    }
}

#[test]
fn exec_takes_seconds() {
    lab::require(&["nft"]);
    let inject = format!("inject=execve:{DELAY}");
    let world = World::traced(&["-e", "trace=execve", "-e", &inject]);
    let began = SystemTime::now();
    let checks = || world.host().read("/run/lab/checked").lines().count();
    let before = checks();
    world.wait_for("checks run all the same", || checks() >= before + 2);
    world.wait_for("notify scripts too", || world.host().read("/run/lab/told").contains("MASTER"));
    world.lab.check("it was held up", world.delays() >= 2);
    // A program that the daemon needs itself, at a reload.
    world.host().write(PATH, &CONF.replace("advert_int 0.2", "advert_int 0.2\nno_accept"));
    world.host().signal("glha", Signal::SIGHUP);
    world.wait_for("nft is not waited for", || world.count("nft does not end") == 1);
    world.adverts_went_out_since(began);
}

#[test]
fn the_files_of_scripts_take_seconds() {
    let inject = format!("inject=openat:{DELAY}");
    let of = ["-P", "/etc/glha/check.sh", "-e", "trace=openat", "-e", &inject];
    let world = World::traced(&of);
    let began = SystemTime::now();
    let checks = || world.host().read("/run/lab/checked").lines().count();
    let before = checks();
    world.wait_for("checks run all the same", || checks() >= before + 2);
    world.lab.check("it was held up", world.delays() >= 2);
    world.adverts_went_out_since(began);
}

#[test]
fn the_configuration_takes_seconds() {
    let inject = format!("inject=openat:{DELAY}");
    let world = World::traced(&["-P", PATH, "-e", "trace=openat", "-e", &inject]);
    let began = SystemTime::now();
    let (before, delays) = (world.count("Reloaded"), world.delays());
    world.host().signal("glha", Signal::SIGHUP);
    world.wait_for("the reload begins", || world.delays() > delays);
    // What comes meanwhile is not lost.
    world.host().write(PATH, &CONF.replace("priority 100", "priority 90"));
    world.host().signal("glha", Signal::SIGHUP);
    world.wait_for("both reloads", || world.count("Reloaded") == before + 2);
    world.adverts_went_out_since(began);
    let said = world.glha("status").said;
    world.lab.check(&format!("the later one counts: {said}"), said.contains("91 = 90"));
}

#[test]
fn the_disk_of_holds_and_records_takes_seconds() {
    const HOLDS: &str = "/var/lib/glha/hold.json";
    const RECORDS: &str = "/var/lib/glha/events.jsonl";
    let inject = format!("inject=openat,write,fsync:{DELAY}");
    let new = "/var/lib/glha/hold.new";
    let of = ["-P", "/var/lib/glha", "-P", HOLDS, "-P", new, "-P", RECORDS];
    let which = ["-e", "trace=openat,write,fsync", "-e", &inject];
    let world = World::traced(&[&of[..], &which].concat());
    let began = SystemTime::now();
    let asked = world.glha("hold VI_1");
    world.lab.check("it says that the disk is slow", !asked.status.success());
    world.lab.check(&asked.said, asked.said.contains("VI_1: on hold"));
    world.lab.check(&asked.said, asked.said.contains("may be lost"));
    world.lab.check("it counts", world.glha("status").said.contains("on hold"));
    world.wait_for("it is on the disk", || world.host().read(HOLDS).contains("VI_1"));
    world.wait_for("so are the records", || world.host().read(RECORDS).contains("\"hold\""));
    world.adverts_went_out_since(began);
}

/// Lets go of a file system whatever happens: one that stays frozen holds up the whole machine.
struct Frozen<'a>(&'a Host);

impl<'a> Frozen<'a> {
    fn new(host: &'a Host) -> Self {
        host.sh("fsfreeze -f /var/lib/glha");
        Self(host)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.run("fsfreeze -u /var/lib/glha");
    }
}

#[test]
fn a_frozen_file_system() {
    let plan = Plan {
        hosts: vec![("a", "172.16.51.11")],
        disk: Some(Guard::None),
        glha: Subject::Glha.path(),
    };
    let lab = Lab::new(&plan);
    let host = &lab.hosts[0];
    host.sh(&format!(
        "mkdir -p /var/lib/glha; mount {DEVICE} /var/lib/glha; chmod 700 /var/lib/glha"
    ));
    let world = World::new(lab, Subject::Glha.program(), &[]);
    let frozen = Frozen::new(world.host());
    // Transitions are recorded, or not: nobody waits for that.
    world.host().sh("ip link set eth0 down");
    world.wait_for("no master", || !world.host().has_address("172.16.51.70"));
    world.host().sh("ip link set eth0 up");
    world.wait_for("master again", || world.host().has_address("172.16.51.70"));
    let began = SystemTime::now();
    let asked = world.glha("hold VI_1");
    world.lab.check(&asked.said, !asked.status.success() && asked.said.contains("may be lost"));
    world.adverts_went_out_since(began);
    world.lab.check("it is frozen", !world.host().exists("/var/lib/glha/hold.json"));
    drop(frozen);
    world.wait_for("the hold is on the disk", || {
        world.host().read("/var/lib/glha/hold.json").contains("VI_1")
    });
}

#[test]
fn a_stop_does_not_wait_for_a_frozen_file_system() {
    let plan = Plan {
        hosts: vec![("a", "172.16.51.11")],
        disk: Some(Guard::None),
        glha: Subject::Glha.path(),
    };
    let lab = Lab::new(&plan);
    let host = &lab.hosts[0];
    host.sh(&format!(
        "mkdir -p /var/lib/glha; mount {DEVICE} /var/lib/glha; chmod 700 /var/lib/glha"
    ));
    let mut world = World::new(lab, Subject::Glha.program(), &[]);
    world.host().sh("fsfreeze -f /var/lib/glha");
    world.daemon.signal(Signal::SIGTERM);
    let has_ended = lab::wait_until(seconds(SOON), || world.daemon.ended().is_some());
    world.host().sh("fsfreeze -u /var/lib/glha");
    assert!(has_ended, "{}", world.daemon.log());
    world.wait_for("the records are written after all", || {
        world.host().read("/var/lib/glha/events.jsonl").contains("\"stopped\"")
    });
}

/// An NSS module that knows nobody, after three seconds.
const MODULE: &str = "
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>
enum nss_status _nss_glhaslow_getpwnam_r(const char *name, struct passwd *entry, char *buffer,
    size_t length, int *error)
{
    FILE *asked = fopen(\"/run/lab/asked\", \"a\");
    if (asked) {
        fprintf(asked, \"%s\\n\", name);
        fclose(asked);
    }
    sleep(3);
    return NSS_STATUS_NOTFOUND;
}
";

#[test]
fn a_directory_server_takes_seconds() {
    lab::require(&["cc"]);
    let lab = Lab::single();
    let host = &lab.hosts[0];
    host.write("/run/lab/slow.c", MODULE);
    host.sh("cd /run/lab && cc -shared -fPIC -o libnss_glhaslow.so.2 slow.c
        sed 's/^passwd:.*/passwd: files glhaslow/' /etc/nsswitch.conf >/run/lab/nsswitch
        grep -q glhaslow /run/lab/nsswitch || echo 'passwd: files glhaslow' >>/run/lab/nsswitch
        cp /run/lab/nsswitch /etc/nsswitch.conf");
    let library = "LD_LIBRARY_PATH=/run/lab";
    let world = World::new(lab, "env", &[library, Subject::Glha.program()]);
    let asked = || world.host().read("/run/lab/asked").lines().count();
    let checks = || world.host().read("/run/lab/checked").lines().count();
    // Nobody has to be asked for root.
    let began = SystemTime::now();
    let (before, asked_before) = (checks(), asked());
    world.wait_for("checks run", || checks() >= before + 3);
    world.lab.check("nobody is asked for them", asked() == asked_before);
    // This account is known to nobody, but that takes a while.
    let conf = CONF.replace("script_user root", "script_user somebody");
    world.host().write(PATH, &conf);
    let refused = world.glha("reload");
    world.lab.check(&refused.said, refused.said.contains("somebody"));
    world.lab.check("the server was asked", asked() > asked_before);
    world.adverts_went_out_since(began);
}

#[test]
fn a_kernel_without_pidfds_is_mentioned_once() {
    let world = World::traced(&["-e", "inject=pidfd_open:error=ENOSYS"]);
    let began = SystemTime::now();
    let checks = || world.host().read("/run/lab/checked").lines().count();
    let before = checks();
    world.wait_for("checks run", || checks() >= before + 3);
    world.lab.check("it is said once", world.count("pidfd_open") == 1);
    world.adverts_went_out_since(began);
}
