//! The vocabulary of the core: everything that can come in, and everything that can go out.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::spec::{BfdId, CheckId, FileId, GroupId, InstanceId, LinkId, ProcessId};

/// A datagram that came to one of BFD's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: IpAddr,
    /// To which address of ours.
    pub destination: IpAddr,
    /// TTL or hop limit that it arrived with.
    pub ttl: u8,
    /// To which UDP port.
    pub port: u16,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed; look at the deadlines. Without one that is due it does nothing.
    Tick,
    /// Time has passed, and more packets wait than could be read so far: what hangs on silence cannot be
    /// judged, but an advert that is due just now goes out.
    Backlog,
    /// A packet of protocol 112 was read from a socket of a link.
    Packet {
        /// Where it was received.
        link: LinkId,
        /// What was received.
        packet: Received,
    },
    /// A datagram was read from one of BFD's ports.
    Bfd {
        /// What was received.
        datagram: Datagram,
    },
    /// What is known of an interface, whole, whenever any of it may have changed.
    Link {
        /// Which one.
        link: LinkId,
        /// All that is known of it now.
        state: LinkState,
    },
    /// A run of a check has ended.
    CheckEnded {
        /// Which check.
        check: CheckId,
        /// How.
        end: HookEnd,
    },
    /// The number of processes that match, whenever it has changed, and once at the start.
    ProcessesCounted {
        /// Of which tracked process.
        process: ProcessId,
        /// How many there are now.
        count: u32,
    },
    /// A tracked file was read: at the start, and whenever it may have changed.
    FileRead {
        /// Which.
        file: FileId,
        /// The number in it, 0 if there is none or no file.
        value: i64,
    },
    /// The mount hook of an instance has ended, with every process of its group.
    MountEnded {
        /// Whose.
        instance: InstanceId,
        /// The action it was started for.
        action: MountAction,
        /// How.
        end: HookEnd,
    },
    /// The mount hook of an instance is past its deadline and cannot be killed. Its
    /// `MountEnded` follows if it ever ends.
    MountUnkillable {
        /// Whose.
        instance: InstanceId,
        /// The action it was started for.
        action: MountAction,
    },
    /// Somebody else says on the wire that an address is theirs.
    ForeignOwner {
        /// The address.
        ip: IpAddr,
        /// The hardware address they gave.
        mac: [u8; 6],
    },
    /// Something static that an instance tracks cannot be set, or nothing any more.
    StaticMissing {
        /// Whose.
        instance: InstanceId,
        /// What, in keepalived's words.
        what: Option<String>,
    },
    /// Adverts of an instance cannot be sent or heard, or can be now.
    NoSocket {
        /// Whose.
        instance: InstanceId,
        /// Why not.
        why: Option<String>,
    },
    /// Adverts of an instance are refused by the kernel, by a packet filter for example, or go out
    /// again.
    Mute {
        /// Whose.
        instance: InstanceId,
        /// Why.
        why: Option<String>,
    },
    /// What of an instance's addresses, routes and rules the kernel does not take, one sentence each;
    /// it is tried again. Nothing: all is as wanted.
    Unset {
        /// Whose.
        instance: InstanceId,
        /// What, and why.
        what: Vec<String>,
    },
    /// Addresses of an instance had been taken away by somebody, and are there again.
    Restored {
        /// Whose.
        instance: InstanceId,
        /// Which; at least one.
        addresses: Vec<IpAddr>,
    },
    /// A person's word that the storage of an instance is free.
    Released {
        /// Whose.
        instance: InstanceId,
    },
    /// A person puts an instance on hold, or takes it off.
    Hold {
        /// Which.
        instance: InstanceId,
        /// On hold from now.
        is_on: bool,
    },
    /// A person wants an instance to hand over and to stay backup.
    Resign {
        /// Which.
        instance: InstanceId,
        /// Even if nobody is there to take over.
        is_forced: bool,
    },
    /// A person wants no more of that.
    ResignCancelled {
        /// Which.
        instance: InstanceId,
    },
    /// Stop in order: hand everything over.
    Stop,
}

/// A packet, as the kernel hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// IPv4: everything from the IP header on.
    V4(Vec<u8>),
    /// IPv6: what follows the header, and what stood in it. The kernel has checked the checksum.
    V6 {
        /// The VRRP message.
        message: Vec<u8>,
        /// Who sent it.
        source: std::net::Ipv6Addr,
        /// Where to.
        destination: std::net::Ipv6Addr,
        /// Hop limit.
        hop_limit: u8,
    },
}

/// What is known of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// There is an interface of that name.
    pub present: bool,
    /// It is up and running (IFF_UP and IFF_RUNNING).
    pub up: bool,
    /// Its addresses with their prefix lengths, IPv4 before IPv6, each in the kernel's order. Those
    /// of IPv6 that are still tentative are left out.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// What a mount hook is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountAction {
    /// Prove that the storage is free, and take it.
    Acquire,
    /// Give it back, and prove that it is given back.
    Release,
    /// Tell whether it is held and healthy.
    Probe,
}

impl MountAction {
    /// The word on the hook's command line and in its event.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Probe => "probe",
        }
    }
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEnd {
    /// With an exit status.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// By our signal, after its deadline (whatever status it then returned).
    TimedOut,
    /// By our signal, because it was told to end before its deadline.
    Ended,
    /// It could not be started, and why.
    NotStarted(String),
}

impl HookEnd {
    /// Did it succeed?
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl fmt::Display for HookEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Signalled(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut => write!(f, "timed_out"),
            Self::Ended => write!(f, "ended by us"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// Something the shell shall do. Carried out in order; results come back as events.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this advert on the instance's link: for IPv4 a whole packet from its IP header on, for
    /// IPv6 the message, whose checksum the kernel fills in.
    Send {
        /// Whose advert it is.
        instance: InstanceId,
        /// Where from; IPv4 has it in its header too.
        source: IpAddr,
        /// Where to: the group, or one of the peers.
        to: IpAddr,
        /// The packet or message.
        bytes: Vec<u8>,
    },
    /// Send this packet to the neighbour of a BFD session; of one that is not configured any more, too.
    SendBfd {
        /// Whose packet it is.
        session: BfdId,
        /// The neighbour's address.
        to: IpAddr,
        /// To which UDP port.
        port: u16,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// The virtual and excluded addresses of the instance shall be on their interfaces.
    PutAddresses {
        /// Whose.
        instance: InstanceId,
    },
    /// They shall not be there.
    TakeAddresses {
        /// Whose.
        instance: InstanceId,
    },
    /// Announce all addresses of the instance by gratuitous ARP or unsolicited neighbour
    /// advertisements.
    Announce {
        /// Whose.
        instance: InstanceId,
        /// How often each; a round covers all addresses before the next begins.
        rounds: u32,
    },
    /// Announce, once and at once, the own address that an instance with unicast peers sends from.
    AnnounceSource {
        /// Whose.
        instance: InstanceId,
        /// The address.
        source: IpAddr,
    },
    /// Announce these addresses of the instance once, unless others of it still wait to be.
    AnnounceSome {
        /// Whose.
        instance: InstanceId,
        /// Which, with the interfaces they are on.
        addresses: Vec<(LinkId, IpAddr)>,
    },
    /// Forget announcements that are still waiting to be sent.
    StopAnnouncing {
        /// Whose.
        instance: InstanceId,
    },
    /// Start a check. Its end comes back as [`Event::CheckEnded`].
    RunCheck {
        /// Which.
        check: CheckId,
    },
    /// End all checks that are running (TERM, later KILL). Their ends are of no interest.
    StopChecks,
    /// Start the mount hook. Its end comes back as [`Event::MountEnded`].
    RunMount {
        /// Whose.
        instance: InstanceId,
        /// What to do.
        action: MountAction,
        /// When it has to be over, from now.
        timeout: Duration,
        /// What it is told.
        facts: Box<Facts>,
    },
    /// End the running mount hook (TERM to its group, later KILL).
    StopMount {
        /// Whose.
        instance: InstanceId,
    },
    /// Write this down where a restarted daemon finds it, before anything that follows.
    Remember {
        /// Whose.
        instance: InstanceId,
        /// What.
        memory: Memory,
    },
    /// The storage could not be released and the configuration wants this node to fence itself:
    /// reset it at once, without syncing or unmounting.
    Reboot {
        /// Whose storage it is.
        instance: InstanceId,
    },
    /// Put no more of the addresses, routes and rules of an instance: what is there stays, what is
    /// not there waits, until the next `PutAddresses` or `TakeAddresses`.
    KeepAddresses {
        /// Whose.
        instance: InstanceId,
    },
    /// Tell the notify hook, and only it, about something that is no change of state.
    Tell {
        /// Whose.
        instance: InstanceId,
        /// What.
        facts: Box<Facts>,
    },
    /// Queue the notify scripts and the notify hook of the instance for this state.
    Notify {
        /// Whose.
        instance: InstanceId,
        /// The state that holds now.
        state: NotifyState,
        /// What they are told.
        facts: Box<Facts>,
    },
    /// An instance has entered another phase. For the record; nothing is to be done.
    Entered {
        /// Which.
        instance: InstanceId,
        /// What holds from now on.
        facts: Box<Facts>,
    },
    /// The effective priority is another; for who asked to be told of that.
    TellPriority {
        /// Whose.
        instance: InstanceId,
        /// It is master.
        is_master: bool,
        /// The new one, 1 to 254.
        priority: u8,
    },
    /// Queue the notify scripts and the notify hook of a sync group for this state.
    NotifyGroup {
        /// Whose.
        group: GroupId,
        /// Its members.
        members: Vec<InstanceId>,
        /// The state that holds now for all members.
        state: NotifyState,
        /// What they are told: of the member that brought it about, without its name.
        facts: Box<Facts>,
    },
    /// Something a person should know; one log line.
    Report(Report),
}

/// The state a notify script is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyState {
    /// Addresses (and storage) are here.
    Master,
    /// They are not, and we would take them.
    Backup,
    /// They are not, and we would not take them.
    Fault,
    /// The daemon ends; they are not here.
    Stop,
    /// A reload has removed the instance, and it wants that to be told (`notify_deleted`).
    Deleted,
    /// No change: another master was heard, and it is worse (`notify_master_rx_lower_pri`).
    LowerPriority,
}

impl NotifyState {
    /// The word on the script's command line: keepalived's.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
            Self::LowerPriority => "MASTER_RX_LOWER_PRI",
        }
    }
}

/// The facts that a hook is told: as JSON on its input and as `GLHA_*` variables.
///
/// What the core does not know (time, node name, addresses as written, timeout) the shell adds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Name of the instance; empty when it is about a whole group.
    pub instance: String,
    /// Name of its sync group, if it belongs to one.
    pub group: Option<String>,
    /// What VRRP calls its state now: `MASTER`, `BACKUP`, `FAULT`, `STOP` or `INIT`.
    pub state: &'static str,
    /// What it was before the last change.
    pub previous: &'static str,
    /// The phase, finer than the state.
    pub phase: &'static str,
    /// Why the last transition came about, one word.
    pub reason: &'static str,
    /// The same in words for a person.
    pub detail: String,
    /// Number of the transition, counted from the daemon's start.
    pub transition: u64,
    /// Virtual router id.
    pub vrid: u8,
    /// Effective priority, 1 to 255.
    pub priority: u8,
    /// The other node, if one was heard.
    pub peer: Option<PeerFacts>,
    /// How the acquire came about, if this belongs to one: `released`, `preempting`, `silent`,
    /// `cold` or `person`.
    pub how: Option<&'static str>,
    /// The storage's release by the old master is proven.
    pub released: bool,
    /// This node lost the storage to a fence or a failure, and has not heard of a master since: a
    /// guard that fences must not fence back.
    pub lost: bool,
}

/// What an instance holds, as it is written down for a daemon that is started after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    #[default]
    Free,
    /// Perhaps something: an acquire was begun.
    Acquiring,
    /// The storage.
    Held,
    /// Perhaps something: a release was begun.
    Releasing,
}

/// What must outlive the daemon, as long as the machine does not boot anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is held.
    pub held: Held,
    /// The highest priority this node ever advertised.
    pub highest_sent: u8,
    /// The highest priority that each other node ever advertised.
    pub peers: Vec<(IpAddr, u8)>,
    /// The storage was lost to a fence or a failure, and no master was heard since.
    pub lost: bool,
}

/// What is known of the other node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFacts {
    /// The source address of its adverts.
    pub address: IpAddr,
    /// The priority of its last advert.
    pub priority: u8,
    /// How long ago that was heard.
    pub last_seen: Duration,
}

/// One thing a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which instance it is about, if one.
    pub instance: Option<InstanceId>,
    /// How loud.
    pub level: Level,
    /// The text, in keepalived's words where it has a line for it.
    pub text: String,
}

impl Report {
    /// Something in the normal course of things that is about no instance.
    pub const fn of_node(text: String) -> Self {
        Self { instance: None, level: Level::Info, text }
    }
}

/// How loud a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Wrong, and somebody must act.
    Error,
    /// Wrong or odd, and dealt with.
    Warning,
    /// The normal course of things.
    Info,
    /// Shown with `-D` only.
    Detail,
}

/// Why an instance went from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The daemon started.
    Start,
    /// No master was heard for a master down interval.
    MasterDown,
    /// The master gave up: priority 0.
    PriorityZero,
    /// A living master is worse than we are.
    Preempt,
    /// A better master was heard.
    BetterMaster,
    /// Another node claims the storage too, and it goes first.
    BackedOff,
    /// Its own or a tracked interface is down.
    LinkDown,
    /// The interface has no address to send from.
    NoAddress,
    /// A check fails.
    CheckFailed,
    /// A static address, route or rule of its track group cannot be set.
    StaticMissing,
    /// Its adverts cannot be sent or heard.
    NoSocket,
    /// What made it a fault is gone.
    FaultGone,
    /// The mount hook took the storage.
    Acquired,
    /// The mount hook could not take it.
    AcquireFailed,
    /// The mount hook gave it back.
    Released,
    /// The mount hook could not give it back.
    ReleaseFailed,
    /// The storage that was held is gone, read-only or in error.
    StorageFailed,
    /// A former run of the daemon held the storage.
    Resume,
    /// The node was frozen: it has not sent an advert for three intervals.
    Lapse,
    /// It is time to look at what is held.
    Probe,
    /// Another master was heard beside this one.
    Conflict,
    /// A person said so.
    Person,
    /// Its sync group changes state.
    Group,
    /// A person wanted it handed over.
    Resign,
    /// The daemon was told to stop.
    Stop,
    /// A reload took the instance out of the configuration.
    Removed,
}

impl Reason {
    /// The word in events and in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::MasterDown => "master_down",
            Self::PriorityZero => "priority_zero",
            Self::Preempt => "preempt",
            Self::BetterMaster => "better_master",
            Self::BackedOff => "backed_off",
            Self::LinkDown => "link_down",
            Self::NoAddress => "no_address",
            Self::CheckFailed => "check_failed",
            Self::StaticMissing => "static_missing",
            Self::NoSocket => "no_socket",
            Self::FaultGone => "fault_gone",
            Self::Acquired => "acquired",
            Self::AcquireFailed => "acquire_failed",
            Self::Released => "released",
            Self::ReleaseFailed => "release_failed",
            Self::StorageFailed => "storage_failed",
            Self::Resume => "resume",
            Self::Lapse => "lapse",
            Self::Probe => "probe",
            Self::Conflict => "conflict",
            Self::Person => "person",
            Self::Group => "group",
            Self::Resign => "resign",
            Self::Stop => "stop",
            Self::Removed => "removed",
        }
    }
}
