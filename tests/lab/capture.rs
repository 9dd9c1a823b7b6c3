//! What the hosts send, as it comes to the switch, with the kernel's time of receipt.

use super::Space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// `PACKET_OUTGOING` of linux/if_packet.h: what the switch itself sends on.
const OUTGOING: u8 = 4;
/// The largest frame.
const FRAME_BYTES_MAX: usize = 2048;
/// Room for a burst of everything.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// How soon the thread sees that it shall end.
const WAKE: TimeVal = TimeVal::new(0, 50_000);

/// One frame that a host sent.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The port it came in on, which has the host's name.
    pub from: String,
    /// When the kernel received it.
    pub at: SystemTime,
    /// All of it, from the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// What a frame is, as far as these tests care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A VRRPv2 advert.
    Advert(Advert),
    /// Any ARP packet for IPv4.
    Arp(Arp),
    /// Anything else.
    Other,
}

/// The fields of a VRRPv2 advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// IP source.
    pub source: Ipv4Addr,
    /// Virtual router id.
    pub vrid: u8,
    /// 0 on leaving.
    pub priority: u8,
    /// Seconds.
    pub interval: u8,
    /// In the order of the packet.
    pub addresses: Vec<Ipv4Addr>,
}

/// The fields of an ARP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 is a request, 2 a reply.
    pub operation: u16,
    /// Sender protocol address.
    pub sender: Ipv4Addr,
    /// Target protocol address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Whether it announces its sender's own address.
    pub fn gratuitous(&self) -> bool {
        self.sender == self.target
    }
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn advert(ip: &[u8]) -> Option<Advert> {
    let mut header = usize::from(ip.first()? & 15) * 4;
    let mut protocol = *ip.get(9)?;
    if protocol == 51 {
        // Behind an authentication header.
        protocol = *ip.get(header)?;
        header += 24;
    }
    let vrrp = ip.get(header..)?;
    if protocol != 112 || *vrrp.first()? != 0x21 {
        return None;
    }
    let count = usize::from(*vrrp.get(3)?);
    let addresses = vrrp.get(8..8 + 4 * count)?.chunks(4).filter_map(ipv4).collect();
    Some(Advert {
        source: ipv4(ip.get(12..16)?)?,
        vrid: *vrrp.get(1)?,
        priority: *vrrp.get(2)?,
        interval: *vrrp.get(5)?,
        addresses,
    })
}

fn arp(body: &[u8]) -> Option<Arp> {
    let operation = u16::from_be_bytes(body.get(6..8)?.try_into().ok()?);
    Some(Arp { operation, sender: ipv4(body.get(14..18)?)?, target: ipv4(body.get(24..28)?)? })
}

impl Frame {
    /// What it is.
    pub fn packet(&self) -> Packet {
        let body = self.bytes.get(14..).unwrap_or_default();
        let found = match self.bytes.get(12..14) {
            Some([8, 0]) => advert(body).map(Packet::Advert),
            Some([8, 6]) => arp(body).map(Packet::Arp),
            _ => None,
        };
        found.unwrap_or(Packet::Other)
    }

    /// The advert, if it is one.
    pub fn advert(&self) -> Option<Advert> {
        match self.packet() {
            Packet::Advert(advert) => Some(advert),
            _ => None,
        }
    }

    /// The address it announces, if it is a gratuitous ARP.
    pub fn announces(&self) -> Option<Ipv4Addr> {
        match self.packet() {
            Packet::Arp(arp) if arp.gratuitous() => Some(arp.sender),
            _ => None,
        }
    }

    /// One line for a person, its time counted from `began`.
    pub fn describe(&self, began: SystemTime) -> String {
        let at = self.at.duration_since(began).unwrap_or_default().as_secs_f64();
        let what = match self.packet() {
            Packet::Advert(a) => format!(
                "advert vrid {} priority {} interval {} {:?}",
                a.vrid, a.priority, a.interval, a.addresses
            ),
            Packet::Arp(a) if a.gratuitous() => format!("announces {}", a.sender),
            Packet::Arp(a) => format!("arp {} {} -> {}", a.operation, a.sender, a.target),
            Packet::Other => match self.sent() {
                Some(sent) => format!("{sent:?}"),
                None => format!("{} bytes", self.bytes.len()),
            },
        };
        format!("{at:9.4} {:6} {what}", self.from)
    }
}

/// The thread that listens on every port of a switch.
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Listens from now on; when this returns, nothing is missed any more.
    pub fn start(switch: &Space) -> Self {
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, ends) = (Arc::clone(&frames), Arc::clone(&stop));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = switch.spawn(move || {
            let socket = open();
            let _ = ready.send(());
            listen(&socket, &theirs, &ends);
        });
        is_ready.recv().expect("the capture starts");
        Self { frames, stop, thread: Some(thread) }
    }

    /// A copy of what was captured so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open() -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
    let socket = socket.expect("a packet socket");
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("SO_TIMESTAMPNS");
    setsockopt(&socket, sockopt::ReceiveTimeout, &WAKE).expect("SO_RCVTIMEO");
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).expect("SO_RCVBUFFORCE");
    socket
}

fn listen(socket: &OwnedFd, frames: &Mutex<Vec<Frame>>, stop: &AtomicBool) {
    let mut names = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let Some((index, at, bytes)) = receive(socket) else { continue };
        let name = names.entry(index).or_insert_with(|| {
            let name = nix::net::if_::if_indextoname(u32::try_from(index).unwrap_or(0));
            name.map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
        });
        if matches!(name.as_str(), "" | "br0" | "lo") {
            continue;
        }
        let frame = Frame { from: name.clone(), at, bytes };
        frames.lock().unwrap_or_else(|e| e.into_inner()).push(frame);
    }
}

/// The next frame that came in from a port: the port's index, the time, the bytes.
fn receive(socket: &OwnedFd) -> Option<(usize, SystemTime, Vec<u8>)> {
    let mut buffer = [0; FRAME_BYTES_MAX];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let fd = socket.as_raw_fd();
    let message =
        recvmsg::<LinkAddr>(fd, &mut slices, Some(&mut control), MsgFlags::empty()).ok()?;
    let from = message.address?;
    let at = message.cmsgs().ok()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(t) => Some(Duration::from(t)),
        _ => None,
    })?;
    let length = message.bytes;
    (from.pkttype() != OUTGOING)
        .then(|| (from.ifindex(), SystemTime::UNIX_EPOCH + at, buffer[..length].to_vec()))
}
