//! `no_accept`: while this node is master, packets to and from its virtual addresses are dropped, by
//! the tables that keepalived makes.
//!
//! The tables, with empty sets, are made at the start and at a reload. The addresses of an instance are
//! in them from before they are put until after they are taken off. Where somebody takes them away
//! (`nft flush ruleset`, a restart of a packet filter), they are made again.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use nix::unistd::Pid;

use super::assigned::Addresses;
use super::link::Links;
use crate::conf::{Config, FirewallConf};
use crate::core::Time;
use crate::core::spec::{Family, InstanceId};
use crate::shell::kernel::nftables::{self, Element, Monitor, Socket, Started};

/// What nft may take at the start, when nothing is held up by it, and at a reload.
const START_MAX: Duration = Duration::from_secs(5);
const RELOAD_MAX: Duration = Duration::from_millis(500);
/// What nft may take beside the loop.
const MEND_MAX: Duration = Duration::from_secs(5);
/// Tables that are taken away again and again, or cannot be made, are made so often: first,
const MEND_PAUSE_MIN: Duration = Duration::from_secs(1);
/// and then less and less often.
const MEND_PAUSE_MAX: Duration = Duration::from_secs(4);
/// So much of what nft says is read.
const WORDS_MAX: usize = 4096;
/// How many tokens belong to a [`Firewall`]: of its news, and of nft.
pub const TOKENS: usize = 2;

/// What the sets are filled from.
#[derive(Clone, Copy)]
pub struct Present<'a> {
    /// Says which instances have `no_accept`.
    pub config: &'a Config,
    /// The addresses of each.
    pub addresses: &'a Addresses,
    /// The interfaces that they belong on.
    pub links: &'a Links,
}

/// nft at work beside the loop.
#[derive(Debug)]
struct Mending {
    nft: Pid,
    from: Receiver,
    said: Vec<u8>,
    /// Then it is given up.
    ends_at: Time,
}

impl Mending {
    fn start(script: &str, registry: &Registry, token: Token, now: Time) -> Result<Self, String> {
        let Started { pid, output } = nftables::start(script)?;
        let mut from = Receiver::from(OwnedFd::from(output));
        let outcome = from.set_nonblocking(true);
        let outcome =
            outcome.and_then(|()| registry.register(&mut from, token, Interest::READABLE));
        match outcome {
            Ok(()) => Ok(Self { nft: pid, from, said: Vec::new(), ends_at: now + MEND_MAX }),
            Err(error) => {
                nftables::give_up(pid);
                Err(error.to_string())
            }
        }
    }

    /// Takes in what is said. None before the end.
    fn outcome(&mut self, now: Time) -> Option<Result<(), String>> {
        let mut buffer = [0; 1024];
        loop {
            match self.from.read(&mut buffer) {
                // It says nothing if all is well.
                Ok(0) if self.said.is_empty() => return Some(Ok(())),
                Ok(0) => {
                    return Some(Err(nftables::words(&String::from_utf8_lossy(&self.said))));
                }
                Ok(count) if self.said.len() < WORDS_MAX => {
                    self.said.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if now < self.ends_at => return None,
                Err(_) => {
                    nftables::give_up(self.nft);
                    return Some(Err(nftables::TOO_LONG.to_owned()));
                }
            }
        }
    }
}

/// The tables and what is in them.
#[derive(Debug)]
pub struct Firewall {
    registry: Registry,
    first_token: usize,
    /// Tells when something of the tables is taken away; none without tables.
    monitor: Option<Monitor>,
    /// There may be more news.
    is_unread: bool,
    /// Something is gone.
    is_lost: bool,
    mending: Option<Mending>,
    /// Not made again before,
    mend_at: Time,
    /// which is so long after the last time.
    pause: Duration,
    /// What was wrong last, so that it is said once.
    trouble: Option<String>,
    /// How the tables were made, if there are any.
    made: Option<(FirewallConf, Vec<Family>)>,
    /// What is in their sets.
    present: BTreeSet<Element>,
    /// Instances whose addresses are put.
    holding: BTreeSet<InstanceId>,
}

impl Firewall {
    /// Makes the tables that a configuration needs, and removes what a former run has left. Registers
    /// with `registry`, using [`TOKENS`] tokens from `first_token` on.
    ///
    /// # Errors
    /// They are needed and cannot be made.
    pub fn open(config: &Config, registry: Registry, first_token: usize) -> Result<Self, String> {
        let mut firewall = Self {
            registry,
            first_token,
            monitor: None,
            is_unread: false,
            is_lost: false,
            mending: None,
            mend_at: Time::ZERO,
            pause: Duration::ZERO,
            trouble: None,
            made: None,
            present: BTreeSet::new(),
            holding: BTreeSet::new(),
        };
        remove(&config.global.firewall.table, &[Family::V4, Family::V6]);
        firewall.make(config, START_MAX)?;
        Ok(firewall)
    }

    /// Makes the tables anew if others are needed than there are.
    fn make(&mut self, config: &Config, at_most: Duration) -> Result<(), String> {
        let families = families(config);
        let wanted = (!families.is_empty()).then(|| (config.global.firewall.clone(), families));
        if wanted == self.made {
            return Ok(());
        }
        self.stop_listening();
        if let Some((conf, families)) = self.made.take() {
            remove(&conf.table, &families);
        }
        self.present.clear();
        if let Some((conf, families)) = &wanted {
            nftables::run(&nftables::tables(conf, families), at_most)?;
        }
        self.made = wanted;
        self.listen();
        Ok(())
    }

    /// Hears what others do to the tables from now on.
    fn listen(&mut self) {
        if self.made.is_none() {
            return;
        }
        let registered = Monitor::open().and_then(|monitor| {
            let fd = monitor.fd().as_raw_fd();
            let token = Token(self.first_token);
            self.registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
            Ok(monitor)
        });
        self.monitor = registered
            .inspect_err(|error| log::warn!("nftables: {error}; lost tables go unseen"))
            .ok();
    }

    fn stop_listening(&mut self) {
        // It is forgotten by the poll with its socket.
        self.monitor = None;
        (self.is_lost, self.is_unread) = (false, false);
        if let Some(mending) = self.mending.take() {
            nftables::give_up(mending.nft);
        }
    }

    /// Takes in what others have done to the tables, and makes them again where they took something away.
    pub fn work(&mut self, now: Time, present: Present<'_>) {
        self.hear();
        if let Some(outcome) = self.mending.as_mut().and_then(|mending| mending.outcome(now)) {
            // With nft's end everything is there that it has brought about.
            self.hear();
            self.mending = None;
            match outcome {
                Ok(()) => self.mended(present),
                Err(why) => self.fail(why),
            }
        }
        if self.is_lost && self.mending.is_none() && self.mend_at <= now {
            self.mend(now);
        }
    }

    /// When it wants its turn at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let mending = self.mending.as_ref().map(|mending| mending.ends_at);
        mending.or_else(|| self.is_lost.then_some(self.mend_at))
    }

    /// Is there something to read at once?
    pub const fn is_urgent(&self) -> bool {
        self.is_unread
    }

    fn hear(&mut self) {
        if let (Some(monitor), Some((conf, _))) = (&self.monitor, &self.made) {
            let (is_disturbed, more) = monitor.read(&conf.table);
            self.is_unread = more;
            // What nft takes away to make the tables anew is no loss.
            self.is_lost |= is_disturbed && self.mending.is_none();
        }
    }

    fn mend(&mut self, now: Time) {
        let Some((conf, families)) = &self.made else { return };
        self.is_lost = false;
        let is_again = now < self.mend_at + MEND_PAUSE_MAX;
        let pause = if is_again { self.pause * 2 } else { MEND_PAUSE_MIN };
        self.pause = pause.clamp(MEND_PAUSE_MIN, MEND_PAUSE_MAX);
        self.mend_at = now + self.pause;
        let script = nftables::tables(conf, families);
        let token = Token(self.first_token + 1);
        match Mending::start(&script, &self.registry, token, now) {
            Ok(mending) => self.mending = Some(mending),
            Err(why) => self.fail(why),
        }
    }

    /// The tables are there again, and empty; unless somebody took them away at once.
    fn mended(&mut self, present: Present<'_>) {
        let Some((conf, families)) = self.made.clone() else { return };
        self.present.clear();
        self.fill(present);
        let is_there = |family: &Family| {
            Socket::open()
                .and_then(|socket| socket.has_table(&conf.table, *family))
                .unwrap_or(false)
        };
        if !self.is_lost && families.iter().all(is_there) {
            self.trouble = None;
            log::warn!("nftables, table {}: it was taken away by somebody; made again", conf.table);
        } else {
            self.is_lost = true;
        }
    }

    fn fail(&mut self, why: String) {
        self.is_lost = true;
        if self.trouble.as_ref() != Some(&why) {
            log::error!(
                "{why}; packets for the virtual addresses are not dropped; it is tried again"
            );
            self.trouble = Some(why);
        }
    }

    /// Removes the tables.
    pub fn close(&mut self) {
        self.stop_listening();
        if let Some((conf, families)) = self.made.take() {
            remove(&conf.table, &families);
        }
    }

    /// Addresses are about to be put.
    pub fn close_for(&mut self, instance: InstanceId, present: Present<'_>) {
        if self.holding.insert(instance) {
            self.fill(present);
        }
    }

    /// Addresses are off their interfaces.
    pub fn open_after(&mut self, instance: InstanceId, present: Present<'_>) {
        if self.holding.remove(&instance) {
            self.fill(present);
        }
    }

    /// What a former run has left on the interfaces stays closed until it is taken off or ours.
    pub fn close_for_leftovers(&mut self, present: Present<'_>) {
        for instance in present.config.instances.ids() {
            let is_set = present.addresses.of(instance).iter().any(|(link, a)| {
                present.links.state(*link).addresses.contains(&(a.ip, a.prefix_len))
            });
            if is_set {
                self.holding.insert(instance);
            }
        }
        self.fill(present);
    }

    /// Follows a reload, which may want other tables.
    pub fn reload(&mut self, masters: impl Iterator<Item = InstanceId>, present: Present<'_>) {
        self.holding.extend(masters);
        if let Err(error) = self.make(present.config, RELOAD_MAX) {
            log::error!("{error}; packets for the virtual addresses are not dropped");
        }
        self.fill(present);
    }

    /// Makes the sets hold the addresses of the instances that hold theirs.
    fn fill(&mut self, present: Present<'_>) {
        let mut wanted = BTreeSet::new();
        for &instance in &self.holding {
            if !present.config.instances.get(instance).is_some_and(|conf| conf.no_accept) {
                continue;
            }
            for (link, address) in present.addresses.of(instance) {
                let is_local = matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
                let index = present.links.index(*link).filter(|_| is_local);
                if index.is_some() || !is_local {
                    wanted.insert(Element { ip: address.ip, index });
                }
            }
        }
        self.change(wanted);
    }

    /// Makes the sets hold these addresses and no others.
    fn change(&mut self, wanted: BTreeSet<Element>) {
        let Some((conf, _)) = &self.made else { return };
        let gone: Vec<Element> = self.present.difference(&wanted).copied().collect();
        let new: Vec<Element> = wanted.difference(&self.present).copied().collect();
        if gone.is_empty() && new.is_empty() {
            return;
        }
        let table = conf.table.clone();
        self.hear();
        match Socket::open().and_then(|socket| socket.change(&table, &gone, &new)) {
            Ok(()) => {
                self.present = wanted;
                self.forget_own();
            }
            // What is not there any more is made again soon.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.is_lost = true,
            Err(error) => log::error!(
                "nftables, table {table}: {error}; packets for the virtual addresses are not dropped as \
                 no_accept wants it"
            ),
        }
    }

    /// What we take out ourselves is no loss.
    fn forget_own(&mut self) {
        let was_lost = self.is_lost;
        self.hear();
        self.is_lost = was_lost;
    }
}

/// Removes the tables of these families, if they are there.
pub fn remove(table: &str, families: &[Family]) {
    // Without nf_tables in the kernel there is nothing to remove.
    let Ok(socket) = Socket::open() else { return };
    for &family in families {
        if let Err(error) = socket.delete_table(table, family) {
            log::debug!("nftables, table {table}: {error}");
        }
    }
}

/// The families of all addresses whose packets may have to be dropped.
fn families(config: &Config) -> Vec<Family> {
    let no_accept = config.instances.iter().filter(|conf| conf.no_accept);
    let families = no_accept.flat_map(|conf| &conf.addresses).map(|address| match address.ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    });
    families.collect::<BTreeSet<_>>().into_iter().collect()
}
