//! What the core is told to do: the part of a configuration that decides who is master.
//!
//! Made by `conf`, checked there; the core relies on the ranges given here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{Shared, Table};
use crate::wire::ah;
use crate::wire::trailer::Key;
use crate::wire::vrrp;

/// Declares ids. They are given when something is configured for the first time and kept over every
/// reload; none is used twice while the daemon runs ([`crate::conf::Numbering`]).
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub usize);

        impl From<usize> for $name {
            fn from(number: usize) -> Self {
                Self(number)
            }
        }
    )*};
}

ids! {
    /// An instance of [`Spec::instances`].
    InstanceId;
    /// A check of [`Spec::checks`].
    CheckId;
    /// A tracked process of [`Spec::processes`].
    ProcessId;
    /// A tracked file of [`Spec::files`].
    FileId;
    /// A BFD session of [`Spec::bfds`].
    BfdId;
    /// A sync group of [`Spec::groups`].
    GroupId;
    /// The place of an interface's name in [`Spec::links`].
    LinkId;
}

/// Everything the core needs to know of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Names of all interfaces that anything refers to or has referred to since the daemon began, each
    /// once; a reload only adds to them.
    pub links: Vec<String>,
    /// The check scripts that at least one instance tracks.
    pub checks: Table<CheckId, CheckSpec>,
    /// The processes that at least one instance tracks.
    pub processes: Table<ProcessId, ProcessSpec>,
    /// The files that at least one instance tracks.
    pub files: Table<FileId, FileSpec>,
    /// The BFD sessions, tracked or not, in the order of the file; no two have the same addresses.
    pub bfds: Table<BfdId, BfdSpec>,
    /// The VRRP instances, in the order of the file.
    pub instances: Table<InstanceId, Shared<InstanceSpec>>,
    /// The sync groups, in the order of the file.
    pub groups: Table<GroupId, GroupSpec>,
    /// How long changes of interfaces are held back; at once, where nothing is said.
    pub link_delays: Vec<LinkDelay>,
}

/// How long a change of an interface is held back: one that is undone meanwhile never was
/// (`interface_up_down_delays`). Shortened where it would outlast a master down timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkDelay {
    /// Which interface.
    pub link: LinkId,
    /// How long it has to be down; 0 to 255 s.
    pub down: Duration,
    /// How long it has to be up; 0 to 255 s.
    pub up: Duration,
}

/// Instances that change state together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// Its name in the configuration, unique among groups.
    pub name: String,
    /// Its members, in the order of the file: at least one, and no instance is in two groups.
    pub members: Vec<InstanceId>,
    /// The group has a storage. The first member leads: its gate is the only one that is used. All
    /// members have the same one, since they behave on the wire as instances with storage do.
    pub is_gated: bool,
}

/// One VRRP instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceSpec {
    /// Its name in the configuration, unique.
    pub name: String,
    /// The interface that adverts are sent and heard on. Its name is empty where the routing table
    /// chooses: unicast peers, with a source address, and no interface.
    pub link: LinkId,
    /// The interface that adverts are sent on, where that is another: one with the virtual MAC
    /// address (`use_vmac` without `vmac_xmit_base`). They have an address of [`Self::link`] all
    /// the same, and are heard there.
    pub xmit: Option<LinkId>,
    /// Interfaces with a virtual MAC address that the instance cannot do without: its own first,
    /// then those of single addresses.
    pub vmacs: Vec<LinkId>,
    /// Virtual router id, 1 to 255.
    pub vrid: u8,
    /// Base priority, 1 to 255; 255 is the owner of the addresses, which weights never change.
    pub priority: u8,
    /// VRRP version.
    pub version: Version,
    /// Address family of its adverts and of [`Self::addresses`]. Excluded addresses may be of both.
    pub family: Family,
    /// Interval between adverts: whole seconds from 1 to 255 in version 2, 10 ms to 40.95 s in
    /// steps of 10 ms in version 3.
    pub advert_interval: Duration,
    /// Missed adverts after which a master counts as gone, 1 to 100; keepalived's default is 3.
    pub down_timer_adverts: u32,
    /// How adverts are authenticated; version 2 over IPv4 only.
    pub auth: Auth,
    /// How adverts are signed (`auth_hmac`), in either version and family.
    pub hmac: Option<HmacSpec>,
    /// Where adverts go, and where from they come.
    pub destination: Destination,
    /// Source address of adverts (`mcast_src_ip`, `unicast_src_ip`); otherwise the first of the
    /// interface that is not a virtual one (IPv6: the first link-local one).
    pub source: Option<IpAddr>,
    /// The IPv4 checksum of version 3 leaves out the pseudo header (`v3_checksum_as_v2`).
    pub v3_checksum_as_v2: bool,
    /// Fault while the configured source address is missing (`track_src_ip`).
    pub track_source: bool,
    /// The configured start state was MASTER: with priority 255 the wait at start is skipped.
    pub wants_master: bool,
    /// Addresses that are advertised, in the order of the file, which is the order on the wire.
    pub addresses: Vec<Address>,
    /// Addresses that are only set and announced (`virtual_ipaddress_excluded`).
    pub excluded: Vec<Address>,
    /// What a better priority of ours does to a living master.
    pub preempt: Preempt,
    /// Delay of a preemption, from the first lower-priority advert; 0 to 1000 s.
    pub preempt_delay: Duration,
    /// Gratuitous ARP.
    pub garp: GarpSpec,
    /// The own interface's state does not matter (`dont_track_primary`).
    pub dont_track_primary: bool,
    /// Other interfaces that are tracked.
    pub track_links: Vec<(LinkId, Weight)>,
    /// Other interfaces that its addresses, routes and rules, and what is static in its track group,
    /// are on; a fault while one is down. With unicast peers and a configured source also the interface without a
    /// name, which has the addresses of all: a fault at the start and as backup, if it lacks that.
    pub needs_links: Vec<LinkId>,
    /// Checks that are tracked.
    pub track_checks: Vec<TrackCheck>,
    /// Processes that are tracked.
    pub track_processes: Vec<(ProcessId, Weight)>,
    /// Files that are tracked.
    pub track_files: Vec<(FileId, Weight)>,
    /// BFD sessions whose state counts; a weight of 0 means that one that is down is a fault.
    pub track_bfds: Vec<(BfdId, Weight)>,
    /// Do not answer lower-priority adverts while master.
    pub lower_prio_no_advert: bool,
    /// Send one more advert before yielding to a better master.
    pub higher_prio_send_advert: bool,
    /// Leave out the check of an advert's address list if its sender is the last one's.
    pub skip_check_adv_addr: bool,
    /// Hears no adverts while its priority is 255 (`owner_ignore_adverts`).
    pub owner_ignores_adverts: bool,
    /// The highest priority of the other nodes: a master that must not preempt and finds that this
    /// one has had the time to take over becomes backup (`timer_expired_backup`).
    pub late_backup: Option<u8>,
    /// When a reload has removed it, notify scripts are told DELETED, not FAULT
    /// (`notify_deleted`).
    pub notifies_deleted: bool,
    /// The storage, if the instance has a mount hook.
    pub gate: Option<GateSpec>,
}

impl InstanceSpec {
    /// The interface that adverts are sent on.
    pub fn advert_link(&self) -> LinkId {
        self.xmit.unwrap_or(self.link)
    }

    /// What [`GarpSpec::extra`] announces: the first address on each interface that adverts do not
    /// keep known.
    pub fn extra_addresses(&self) -> Vec<(LinkId, IpAddr)> {
        let mut seen = BTreeSet::from([self.advert_link()]);
        let all = self.addresses.iter().chain(&self.excluded);
        all.filter(|a| self.garp.extra_all || self.vmacs.contains(&a.link))
            .filter(|a| seen.insert(a.link))
            .map(|a| (a.link, a.ip))
            .collect()
    }
}

/// VRRP version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768; IPv4 only.
    #[default]
    V2,
    /// RFC 5798 and 9568.
    V3,
}

/// Address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

/// Where adverts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a group: by default 224.0.0.18 or ff02::12, or `mcast_dst_ip`.
    Group(IpAddr),
    /// To each of these nodes (`unicast_peer`).
    Peers {
        /// The others, in the order of the file.
        peers: Vec<UnicastPeer>,
        /// `unicast_ttl`; otherwise 255 for IPv4 and the kernel's for IPv6.
        ttl: Option<u8>,
        /// Adverts of anybody else are dropped (`check_unicast_src`, or any TTL limit).
        check_source: bool,
    },
}

/// One other node of a unicast instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastPeer {
    /// Its address.
    pub ip: IpAddr,
    /// The least TTL of its adverts (`min_ttl`).
    pub min_ttl: Option<u8>,
    /// The greatest (`max_ttl`).
    pub max_ttl: Option<u8>,
}

impl Default for Destination {
    fn default() -> Self {
        Self::Group(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)))
    }
}

/// A virtual address, as far as the core is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix, 0 to 32 or 128.
    pub prefix_len: u8,
    /// The interface it is set on.
    pub link: LinkId,
    /// Do not care when somebody removes it (`no_track`).
    pub no_track: bool,
}

/// Authentication of VRRPv2 adverts (RFC 2338, removed by RFC 3768, kept by keepalived).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// Type 0.
    #[default]
    None,
    /// Type 1: up to eight bytes, padded with zeros on the right.
    Pass([u8; 8]),
    /// Type 2: an authentication header whose key are up to eight bytes, padded likewise. IPv4 only.
    Ah(ah::Key),
}

impl Auth {
    /// The IP protocol of adverts.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::None | Self::Pass(_) => vrrp::PROTOCOL,
            Self::Ah(_) => ah::PROTOCOL,
        }
    }
}

/// Without the password: configurations are logged.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Pass(_) => "Pass(********)",
            Self::Ah(_) => "Ah(********)",
        })
    }
}

/// Signed adverts (`auth_hmac`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacSpec {
    /// The keys by their ids, 1 to 255; an advert that is signed with any of them is believed.
    pub keys: BTreeMap<u8, Key>,
    /// The one that this node signs with, one of [`Self::keys`].
    pub active_key: u8,
    /// How old adverts are told from new ones.
    pub anti_replay: AntiReplay,
    /// Who signs, and who has to.
    pub mode: HmacMode,
}

/// How replayed adverts are told from new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AntiReplay {
    /// The sequence of each sender grows, and is the time of day, give or take the window.
    Time {
        /// Seconds, 1 to 300.
        window: u16,
    },
    /// The sequence of each sender grows; clocks need not agree.
    Monotonic,
}

/// Who signs adverts, and who has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacMode {
    /// Signs, and believes only what is signed.
    Enforce,
    /// Signs, and believes what is not signed too.
    Permissive,
    /// Does not sign yet, and believes both.
    ReceiveOnly,
}

/// What a better priority of ours does to a living master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// It takes over: VRRP's default.
    Always,
    /// It takes over only from a master that is below the highest priority it ever advertised:
    /// the default of instances with storage.
    Weakened,
    /// It never takes over (`nopreempt`).
    Never,
}

/// Gratuitous ARP (design of keepalived; counts per address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GarpSpec {
    /// Rounds at once on becoming master (`garp_master_repeat`, default 5).
    pub repeat: u32,
    /// When the second burst follows (`garp_master_delay`, default 5 s); zero: never.
    pub delay: Duration,
    /// Rounds on hearing a lower-priority advert (`garp_lower_prio_repeat`).
    pub lower_prio_repeat: u32,
    /// When their second burst follows (`garp_lower_prio_delay`); zero: never.
    pub lower_prio_delay: Duration,
    /// Period of announcements while master (`garp_master_refresh`); zero: none.
    pub refresh: Duration,
    /// Rounds of each of these (`garp_master_refresh_repeat`, default 1).
    pub refresh_repeat: u32,
    /// Pause between two gratuitous ARPs on one interface (`garp_interval`); zero: none.
    pub interval: Duration,
    /// Pause between two unsolicited neighbour advertisements (`gna_interval`); zero: none.
    pub na_interval: Duration,
    /// Period of an announcement of one address per interface that adverts are not sent on
    /// (`garp_extra_if`), so that switches remember where its MAC address is; zero: none.
    pub extra: Duration,
    /// The same on every interface (`garp_extra_if all`), not only on those with a virtual MAC
    /// address.
    pub extra_all: bool,
}

impl Default for GarpSpec {
    fn default() -> Self {
        Self {
            repeat: 5,
            delay: Duration::from_secs(5),
            lower_prio_repeat: 5,
            lower_prio_delay: Duration::from_secs(5),
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            interval: Duration::ZERO,
            na_interval: Duration::ZERO,
            extra: Duration::ZERO,
            extra_all: false,
        }
    }
}

/// What the state of something tracked does to an instance's priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// -253 to 253, of processes and files -254 to 254; 0 means that failure is a fault.
    pub value: i16,
    /// Turn its meaning round (`reverse`).
    pub reverse: bool,
}

/// One tracked check of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackCheck {
    /// Which check.
    pub check: CheckId,
    /// What it does here.
    pub weight: Weight,
    /// For so long after an acquire has ended, failures are not counted (until the first success).
    pub grace: Duration,
}

/// When a check runs and how its results are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSpec {
    /// Its name in the configuration (a `check` hook: `NAME.check`).
    pub name: String,
    /// From start to start.
    pub interval: Duration,
    /// After this the run is ended and counts as failed.
    pub timeout: Duration,
    /// Consecutive successes that make it good again, at least 1.
    pub rise: u32,
    /// Consecutive failures that make it fail, at least 1.
    pub fall: u32,
    /// Starts as failed.
    pub init_fail: bool,
}

/// How many processes there have to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSpec {
    /// Its name in the configuration.
    pub name: String,
    /// So many at least.
    pub quorum: u32,
    /// So many at most.
    pub quorum_max: Option<u32>,
    /// How long a change is held back that more processes make.
    pub fork_delay: Duration,
    /// How long a change is held back that fewer processes make.
    pub terminate_delay: Duration,
}

impl ProcessSpec {
    /// Are so many processes neither too few nor too many?
    pub fn has_quorum(&self, count: u32) -> bool {
        count >= self.quorum && self.quorum_max.is_none_or(|max| count <= max)
    }
}

/// A file with a number in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSpec {
    /// Its name in the configuration.
    pub name: String,
}

/// A BFD session with a neighbour (`bfd_instance`). Its intervals are from 1 ms to 4294967 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdSpec {
    /// Its name in the configuration.
    pub name: String,
    /// With whom.
    pub neighbor: IpAddr,
    /// The own address, of the same family; otherwise the one that the routing table chooses.
    pub source: Option<IpAddr>,
    /// So often it can receive.
    pub min_rx: Duration,
    /// So often it would like to send while it is up.
    pub min_tx: Duration,
    /// So often it would like to send while it is not: a second or more.
    pub idle_tx: Duration,
    /// So many of its packets the neighbour has to miss; 1 to 255.
    pub multiplier: u8,
    /// It sends nothing before it has heard something.
    pub passive: bool,
    /// TTL or hop limit of its packets, 1 to 255.
    pub ttl: Option<u8>,
    /// The neighbour's packets may have come over so many hops; 255: over any number of them.
    pub max_hops: u8,
}

impl BfdSpec {
    /// What packets are sent with. Without a configured one it is what RFC 5881, 5 wants of
    /// neighbours on one link; keepalived's is 64 over IPv6.
    pub fn ttl_sent(&self) -> u8 {
        self.ttl.unwrap_or(u8::MAX)
    }

    /// What the neighbour's packets have to be left with. Like keepalived it is taken for granted
    /// that the neighbour sends them with the TTL that is configured here.
    pub fn ttl_min(&self) -> u8 {
        let default = if self.neighbor.is_ipv4() { u8::MAX } else { 64 };
        self.ttl.unwrap_or(default).saturating_sub(self.max_hops)
    }

    /// Is the neighbour on another link?
    pub const fn is_multihop(&self) -> bool {
        self.max_hops > 0
    }
}

/// The storage of an instance and the mount hook that gates it.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSpec {
    /// Deadline of `acquire` and of `release`.
    pub timeout: Duration,
    /// Period of `probe` while master, if any.
    pub probe: Option<Duration>,
    /// How long a preempting node waits for the old master's acknowledgement.
    pub handover_wait: Duration,
    /// Every node of the cluster gates its storage (`peers glha`), so that a priority 0 from the
    /// followed master is proof of release.
    pub peers_glha: bool,
    /// There are two nodes and no third, as far as the configuration says: only then a priority 0 is
    /// proof, since it proves that its sender holds nothing, and says nothing of others.
    pub is_pair: bool,
    /// A release that fails resets the machine (`release_failure reboot`).
    pub reboot_on_failure: bool,
}
