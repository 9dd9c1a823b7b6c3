//! A network namespace that lives as long as its holder: a process that waits for its standard
//! input to end.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// The environment of every command in the lab.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of an HTTP answer that are looked at.
const ANSWER_BYTES_MAX: u64 = 65_536;

/// A command with the lab's own environment and no input.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("HOME", "/nonexistent");
    command.stdin(Stdio::null());
    command
}

/// The output of a finished command, both streams, for a message.
pub fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

/// A network namespace with nothing but its network of its own.
pub struct Space {
    holder: Child,
}

impl Space {
    /// An empty one: a loopback interface, down.
    pub fn new() -> Self {
        let mut holder = command("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut byte = [0];
        holder.stdin.as_mut().expect("piped").write_all(b"!").expect("the holder reads");
        let echoed = holder.stdout.as_mut().expect("piped").read_exact(&mut byte);
        assert!(echoed.is_ok(), "no network namespace: is this root, with CAP_SYS_ADMIN?");
        Self { holder }
    }

    /// The process that holds it.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Runs a shell script in it, fails if the script does.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let pid = self.pid().to_string();
        let output = command("nsenter")
            .args(["-t", &pid, "-n", "--", "sh", "-ec", script])
            .output()
            .expect("nsenter starts");
        assert!(output.status.success(), "{script}\n{}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `work` on a thread of its own that lives in this namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).expect("namespace");
        thread::spawn(move || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("setns");
            drop(namespace);
            work()
        })
    }

    /// One HTTP request from this namespace, see [`fetch`].
    pub fn fetch(&self, address: &str, path: &str, limit: Duration) -> Option<String> {
        let (address, path) = (address.to_owned(), path.to_owned());
        self.spawn(move || fetch(&address, &path, limit)).join().expect("fetch does not panic")
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The whole answer to `GET path` of `address`, port 80, if its status is 200; from the
/// namespace of the calling thread.
pub fn fetch(address: &str, path: &str, limit: Duration) -> Option<String> {
    let to: SocketAddr = format!("{address}:80").parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&to, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.set_write_timeout(Some(limit)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).is_some_and(|s| s == "200").then_some(answer)
}
