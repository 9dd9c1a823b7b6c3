//! nf_tables: the tables are written down for nft(8), once; their sets are filled over netlink, which
//! is quick enough for a node that becomes master.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::conf::FirewallConf;
use crate::core::spec::Family;
use crate::shell::host::sys;

/// The program that makes tables, and where it is looked for.
const NFT: &str = "nft";
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// It could not be run.
const STATUS_NOT_STARTED: i32 = 127;
/// What is said of an nft that hangs.
pub const TOO_LONG: &str = "nft does not end";
/// How often it is looked at whether nft has ended.
const POLL: Duration = Duration::from_millis(2);

// linux/netfilter/nfnetlink.h and nf_tables.h
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const DELETE_CHAIN: u16 = SUBSYSTEM << 8 | 5;
const DELETE_RULE: u16 = SUBSYSTEM << 8 | 8;
const DELETE_SET: u16 = SUBSYSTEM << 8 | 11;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const TABLE_NAME: u16 = 1;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const DATA_VALUE: u16 = 1;
/// What tells of tables, chains, rules, sets and elements that come and go: NFNLGRP_NFTABLES, number 7.
const NEWS: u32 = 1 << 6;
/// So many datagrams of news are read in one turn.
const DATAGRAMS_PER_READ_MAX: usize = 256;
const NESTED: u16 = 0x8000;
const NLMSG_ERROR: u16 = 2;

/// An address whose packets are dropped. One that is link-local has an interface, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// The address.
    pub ip: IpAddr,
    /// The interface of a link-local one.
    pub index: Option<u32>,
}

impl Element {
    const fn family(&self) -> Family {
        match self.ip {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    const fn set(&self) -> &'static str {
        if self.index.is_some() { "vips_link_local" } else { "vips" }
    }

    fn key(&self) -> Vec<u8> {
        let mut key = match self.ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        key.extend(self.index.into_iter().flat_map(u32::to_ne_bytes));
        key
    }
}

/// What nft is told: the tables of keepalived, with empty sets, in place of what there was.
pub fn tables(conf: &FirewallConf, families: &[Family]) -> String {
    let FirewallConf { table, priority, has_counters } = conf;
    let count = if *has_counters { "counter " } else { "" };
    let mut out = String::new();
    for family in families {
        let chain = |name: &str, hook: &str, rules: &str| {
            format!(
                " chain {name} {{\n  type filter hook {hook} priority {priority}; policy accept;\n\
                 {rules} }}\n"
            )
        };
        let body = match family {
            Family::V4 => {
                let rule = |side: &str| format!("  ip {side} @vips {count}drop\n");
                " set vips {\n  type ipv4_addr\n }\n".to_owned()
                    + &chain("out", "output", &rule("saddr"))
                    + &chain("in", "input", &rule("daddr"))
            }
            Family::V6 => {
                let rules = |side: &str, to: &str| {
                    format!(
                        "  icmpv6 type @neighbor-discovery {count}accept\n\
                         \x20 ip6 {side} fe80::/10 {count}goto {to}_link_local\n\
                         \x20 ip6 {side} @vips {count}drop\n"
                    )
                };
                let local = |name: &str, side: &str, interface: &str| {
                    format!(
                        " chain {name}_link_local {{\n\
                         \x20 ip6 {side} . {interface} @vips_link_local {count}drop\n }}\n"
                    )
                };
                " set vips {\n  type ipv6_addr\n }\n set neighbor-discovery {\n  type icmpv6_type\n  \
                 flags constant\n  elements = { nd-neighbor-solicit, nd-neighbor-advert }\n }\n set \
                 vips_link_local {\n  type ipv6_addr . iface_index\n }\n"
                    .to_owned()
                    + &chain("out", "output", &rules("saddr", "out"))
                    + &chain("in", "input", &rules("daddr", "in"))
                    + &local("in", "daddr", "iif")
                    + &local("out", "saddr", "oif")
            }
        };
        let name = if *family == Family::V4 { "ip" } else { "ip6" };
        // Deleted and made in one transaction; what is not there cannot be deleted.
        let _ = write!(
            out,
            "table {name} {table}\ndelete table {name} {table}\ntable {name} {table} {{\n{body}}}\n"
        );
    }
    out
}

/// Has nft carry out a script, for at most so long, whatever makes it or its start hang.
///
/// # Errors
/// It is not there, does not end, or its own words.
pub fn run(script: &str, at_most: Duration) -> Result<(), String> {
    let mut started = start(script)?;
    let Some(status) = wait(started.pid, at_most) else {
        give_up(started.pid);
        return Err(TOO_LONG.to_owned());
    };
    if matches!(status, WaitStatus::Exited(_, 0)) {
        return Ok(());
    }
    // It has ended, and with it everything that could write there.
    let mut said = String::new();
    let _ = started.output.read_to_string(&mut said);
    Err(words(&said))
}

/// What nft says of what has failed.
pub fn words(said: &str) -> String {
    format!("{NFT}: {}", said.lines().next().unwrap_or("it failed"))
}

/// nft at work.
#[derive(Debug)]
pub struct Started {
    /// Its process; whoever reaps children reaps it.
    pub pid: Pid,
    /// What it says: nothing if all is well. It ends with the program.
    pub output: PipeReader,
}

/// It is not waited for: what hangs in the kernel cannot be killed either.
pub fn give_up(nft: Pid) {
    let _ = kill(nft, Signal::SIGKILL);
}

/// Has nft carry out a script, and waits for nothing.
///
/// # Errors
/// No process could be started.
pub fn start(script: &str) -> Result<Started, String> {
    let failed = |error: io::Error| format!("{NFT}: {error}");
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
    let (input, mut to) = io::pipe().map_err(failed)?;
    let (from, output) = io::pipe().map_err(failed)?;
    // Less than a pipe holds, so this does not wait.
    to.write_all(script.as_bytes()).map_err(failed)?;
    drop(to);
    let descriptors = [input.as_fd(), null.as_fd(), output.as_fd(), output.as_fd()];
    let pid = sys::fork(&descriptors, |mut says| {
        let mut command = Command::new(NFT);
        command.args(["-f", "-"]).env_clear().env("PATH", SEARCH_PATH).env("LC_ALL", "C");
        let error = command.exec();
        let text = format!("cannot be run: {error}; install nftables, or do without no_accept");
        let _ = says.write_all(text.as_bytes());
        STATUS_NOT_STARTED
    });
    Ok(Started { pid: pid.map_err(failed)?, output: from })
}

fn wait(pid: Pid, at_most: Duration) -> Option<WaitStatus> {
    let start = Instant::now();
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if start.elapsed() < at_most => std::thread::sleep(POLL),
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(status) => return Some(status),
        }
    }
}

/// Is nft there?
pub fn is_installed() -> bool {
    SEARCH_PATH.split(':').any(|folder| std::path::Path::new(folder).join(NFT).is_file())
}

/// A socket of netfilter's netlink that hears these groups.
fn netfilter(groups: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkNetFilter;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// A netlink socket for nf_tables.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's: it has no nf_tables, or this is not root.
    pub fn open() -> io::Result<Self> {
        netfilter(0).map(Self)
    }

    /// Takes elements out of their sets and puts others in; all of it or nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn change(&self, table: &str, gone: &[Element], new: &[Element]) -> io::Result<()> {
        let gone = gone.iter().map(|element| (DELETE_ELEMENT, 0, element));
        let new = new.iter().map(|element| (NEW_ELEMENT, NLM_F_CREATE, element));
        let messages = gone.chain(new).map(|(kind, flags, element)| {
            let key = attribute(ELEMENT_KEY | NESTED, &attribute(DATA_VALUE, &element.key()));
            let list = attribute(LIST_ELEMENT | NESTED, &key);
            let body = [
                attribute(LIST_TABLE, &text(table)),
                attribute(LIST_SET, &text(element.set())),
                attribute(LIST_ELEMENTS | NESTED, &list),
            ];
            message(kind, flags, family_number(element.family()), 0, &body.concat())
        });
        self.transact(messages.collect())
    }

    /// Deletes the table of a family. It is no error if there is none.
    ///
    /// Looking first costs nothing; a deletion that fails waits for all processors, some ten
    /// milliseconds.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_table(&self, table: &str, family: Family) -> io::Result<()> {
        if !self.has_table(table, family)? {
            return Ok(());
        }
        let body = attribute(TABLE_NAME, &text(table));
        match self.transact(vec![message(DELETE_TABLE, 0, family_number(family), 0, &body)]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Is there such a table?
    ///
    /// # Errors
    /// The kernel's.
    pub fn has_table(&self, table: &str, family: Family) -> io::Result<bool> {
        let body = attribute(TABLE_NAME, &text(table));
        let request = message(GET_TABLE, 0, family_number(family), 0, &body);
        match self.ask(&request) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    /// One batch: all of it or nothing.
    fn transact(&self, messages: Vec<Vec<u8>>) -> io::Result<()> {
        let mut bytes = message(BATCH_BEGIN, 0, 0, SUBSYSTEM, &[]);
        bytes.extend(messages.concat());
        bytes.extend(message(BATCH_END, 0, 0, SUBSYSTEM, &[]));
        self.ask(&bytes)
    }

    /// The kernel has carried a request out, and answered, when `send` returns; the first error of the
    /// answers, if there is one.
    fn ask(&self, request: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), request, MsgFlags::MSG_DONTWAIT)?;
        let mut first = Ok(());
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(nix::Error::EAGAIN) => return first,
                Err(nix::Error::EINTR) => continue,
                Err(error) => return first.and(Err(error.into())),
            };
            for errno in errors(buffer.get(..length).unwrap_or_default()) {
                if errno != 0 && first.is_ok() {
                    first = Err(io::Error::from_raw_os_error(errno));
                }
            }
        }
    }
}

/// Tells when something of a table is taken away.
#[derive(Debug)]
pub struct Monitor(OwnedFd);

impl Monitor {
    /// Hears everything from now on.
    ///
    /// # Errors
    /// The kernel's: it has no nf_tables, or this is not root.
    pub fn open() -> io::Result<Self> {
        netfilter(NEWS).map(Self)
    }

    /// The descriptor to wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads what waits. Was anything of this table taken away, or may it have been, since some was lost?
    /// The second: there may be more to read.
    pub fn read(&self, table: &str) -> (bool, bool) {
        let mut buffer = vec![0; 64 * 1024];
        let mut is_disturbed = false;
        for _ in 0..DATAGRAMS_PER_READ_MAX {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    is_disturbed |= takes_away(buffer.get(..length).unwrap_or_default(), table);
                }
                Err(nix::Error::EAGAIN) => return (is_disturbed, false),
                Err(nix::Error::EINTR) => {}
                // ENOBUFS: there was more than the socket could keep.
                Err(_) => is_disturbed = true,
            }
        }
        (is_disturbed, true)
    }
}

/// Does a datagram tell that something of this table is gone?
fn takes_away(datagram: &[u8], table: &str) -> bool {
    const LOSSES: [u16; 5] = [DELETE_TABLE, DELETE_CHAIN, DELETE_RULE, DELETE_SET, DELETE_ELEMENT];
    // In each of them the first attribute, number 1, is the name of the table.
    let named = attribute(TABLE_NAME, &text(table));
    let is_loss = |(kind, body): (u16, &[u8])| {
        LOSSES.contains(&kind) && body.get(4..).is_some_and(|body| body.starts_with(&named))
    };
    messages(datagram).into_iter().any(is_loss)
}

const fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => libc::AF_INET as u8,
        Family::V6 => libc::AF_INET6 as u8,
    }
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// Type, length and value, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut out = (length as u16).to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(length.next_multiple_of(4), 0);
    out
}

/// A message with nfnetlink's header: family, version, resource.
fn message(kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) -> Vec<u8> {
    let is_batch = kind == BATCH_BEGIN || kind == BATCH_END;
    let flags = flags | NLM_F_REQUEST | if is_batch { 0 } else { NLM_F_ACK };
    let mut out = (20 + body.len() as u32).to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend([0; 8]);
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    out.extend(body);
    out
}

/// The error numbers of the answers in a datagram.
fn errors(datagram: &[u8]) -> Vec<i32> {
    let errno = |(kind, body): (u16, &[u8])| {
        let errno = body.first_chunk().filter(|_| kind == NLMSG_ERROR)?;
        Some(i32::from_ne_bytes(*errno).wrapping_neg())
    };
    messages(datagram).into_iter().filter_map(errno).collect()
}

/// The messages of a datagram: the kind of each, and what follows its header.
fn messages(datagram: &[u8]) -> Vec<(u16, &[u8])> {
    let mut out = Vec::new();
    let mut rest = datagram;
    while let (Some(length), Some(kind)) = (
        rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes) as usize),
        rest.get(4..6).and_then(|bytes| bytes.first_chunk()).map(|b| u16::from_ne_bytes(*b)),
    ) {
        let end = length.clamp(16, rest.len().max(16));
        out.extend(rest.get(16..end).map(|body| (kind, body)));
        rest = rest.get(end.next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `flush ruleset` and its like are told of, among other news.
    #[test]
    fn what_is_taken_away_is_seen() {
        let named = |kind, table: &str| {
            let more = attribute(2, &text("chain"));
            message(kind, 0, 2, 1, &[attribute(1, &text(table)), more].concat())
        };
        let other = named(SUBSYSTEM << 8, "keepalived");
        for kind in [DELETE_TABLE, DELETE_CHAIN, DELETE_RULE, DELETE_SET, DELETE_ELEMENT] {
            let both = [other.clone(), named(kind, "keepalived")].concat();
            assert!(takes_away(&both, "keepalived"), "{kind}");
            assert!(!takes_away(&both, "keep"), "{kind}");
            assert!(!takes_away(&named(kind, "filter"), "keepalived"), "{kind}");
        }
        assert!(!takes_away(&[other, named(NEW_ELEMENT, "keepalived")].concat(), "keepalived"));
    }

    #[test]
    fn broken_datagrams_do_no_harm() {
        let whole = message(DELETE_TABLE, 0, 2, 1, &attribute(1, &text("keepalived")));
        for end in 0..whole.len() {
            assert!(!takes_away(&whole[..end], "keepalived"));
            let _ = errors(&whole[..end]);
        }
        for length in [0_u32, 1, 15, 17, u32::MAX] {
            let mut broken = whole.clone();
            broken[..4].copy_from_slice(&length.to_ne_bytes());
            let _ = (takes_away(&broken, "keepalived"), errors(&broken));
        }
    }
}
