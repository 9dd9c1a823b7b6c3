//! A process that writes what it is handed to a file, so that a disk that hangs stops nothing else.
//!
//! A thread would not do: one that waits for a disk cannot be killed, and keeps the whole process
//! from ending, with its sockets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, setsockopt, shutdown,
    socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use crate::shell::host::sys;

/// So much may wait for the disk, counted as the kernel does: more than twice the bytes of short lines.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// No packet is longer.
const PACKET_BYTES_MAX: usize = 64 << 10;
/// How these processes are called.
const NAME: &std::ffi::CStr = c"glha-scribe";

/// The daemon's end. When it is dropped the process writes what it has and ends; it outlives the daemon
/// for that.
#[derive(Debug)]
pub struct Scribe {
    socket: OwnedFd,
}

/// The other end, in the process.
#[derive(Debug)]
pub struct Inbox {
    socket: File,
    buffer: Vec<u8>,
}

impl Scribe {
    /// Starts a process that does `work` with its inbox, to its end. Its standard error is `stderr`;
    /// the rest is as [`sys::fork`] says.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(stderr: Option<BorrowedFd<'_>>, work: impl FnOnce(Inbox)) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        // Without the right to it, what is usual has to do.
        setsockopt(&ours, sockopt::SndBufForce, &WAITING_BYTES_MAX)
            .or_else(|_| setsockopt(&ours, sockopt::SndBuf, &WAITING_BYTES_MAX))?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let null = null.as_fd();
        let descriptors = [null, null, stderr.unwrap_or(null), theirs.as_fd()];
        sys::fork(&descriptors, |socket| {
            // It ends when the daemon has, and not before: not with a terminal's ^C either.
            let _ = SigSet::all().thread_set_mask();
            let _ = nix::sys::prctl::set_name(NAME);
            // Where it was started may be unmounted.
            let _ = nix::unistd::chdir("/");
            work(Inbox { socket, buffer: vec![0; PACKET_BYTES_MAX] });
            0
        })?;
        Ok(Self { socket: ours })
    }

    /// Starts one that writes every packet to this file.
    ///
    /// # Errors
    /// The kernel's.
    pub fn copy_to(file: BorrowedFd<'_>) -> io::Result<Self> {
        Self::start(Some(file), |mut inbox| {
            let mut lost_count = 0u64;
            let mut out = io::stderr();
            while let Some(line) = inbox.take() {
                if lost_count > 0 {
                    let notice = format!("{lost_count} lines of the log were lost here\n");
                    lost_count *= u64::from(out.write_all(notice.as_bytes()).is_err());
                }
                lost_count += u64::from(out.write_all(line).is_err());
            }
        })
    }

    /// Hands over a packet, whole or not at all, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if too much waits already; otherwise the process is gone.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        send(self.socket.as_raw_fd(), packet, flags)?;
        Ok(())
    }

    /// What the process has to tell, if there is something; an empty text is its end.
    pub fn heard(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(count) => Some(String::from_utf8_lossy(buffer.get(..count)?).into_owned()),
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Err(_) => Some(String::new()),
        }
    }

    /// Waits until everything is written, at most so long; then the process goes on without us. True
    /// if all is written.
    pub fn finish(self, at_most: Duration) -> bool {
        let wait = TimeVal::new(at_most.as_secs().cast_signed(), at_most.subsec_micros().into());
        let set = setsockopt(&self.socket, sockopt::ReceiveTimeout, &wait);
        let mut buffer = [0; 4096];
        set.and_then(|()| shutdown(self.socket.as_raw_fd(), Shutdown::Write))
            .and_then(|()| {
                loop {
                    match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())? {
                        0 => return Ok(()),
                        count => {
                            let text = buffer.get(..count).unwrap_or_default();
                            log::error!("{}", String::from_utf8_lossy(text));
                        }
                    }
                }
            })
            .is_ok()
    }
}

impl AsFd for Scribe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Inbox {
    /// The next packet; none at the end.
    pub fn take(&mut self) -> Option<&[u8]> {
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(0) => return None,
                Ok(count) => return self.buffer.get(..count),
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Says something to the daemon; it is lost if that is gone or does not listen.
    pub fn tell(&self, text: &str) {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let _ = send(self.socket.as_raw_fd(), text.as_bytes(), flags);
    }
}
