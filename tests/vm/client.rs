//! A client of the service: it sends one number after another to the virtual address, and keeps in mind
//! which of them were acknowledged, when, and by whom.

use super::space::Space;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The virtual address and the service's port.
const SERVICE: ([u8; 4], u16) = ([10, 20, 0, 70], 8080);
/// How long the client waits for a connection before it tries again.
const CONNECT: Duration = Duration::from_millis(500);
/// How long it waits for an answer.
const ANSWER: Duration = Duration::from_secs(3);
/// The pace of a client that is answered.
const PACE: Duration = Duration::from_millis(100);

/// A number that the service has acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The number.
    pub number: u64,
    /// When the answer came.
    pub at: Instant,
    /// The name of the node.
    pub by: String,
}

/// It asks from its start to its end.
pub struct Client {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Begins to ask.
    pub fn start(space: &Space) -> Self {
        let (acknowledged, ended) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (list, end) = (Arc::clone(&acknowledged), Arc::clone(&ended));
        let thread = space.spawn(move || {
            for number in 1.. {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                if let Some(by) = ask(&format!("{number}\n")) {
                    let (at, by) = (Instant::now(), by.trim().to_owned());
                    list.lock().expect("no panic while locked").push(Acknowledged {
                        number,
                        at,
                        by,
                    });
                }
                thread::sleep(PACE);
            }
        });
        Self { acknowledged, ended, thread: Some(thread) }
    }

    /// All so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().expect("no panic while locked").clone()
    }

    /// Who answered last, if somebody has since then.
    pub fn served_since(&self, since: Instant) -> Option<String> {
        let list = self.acknowledged.lock().expect("no panic while locked");
        list.last().filter(|last| last.at >= since).map(|last| last.by.clone())
    }

    /// The longest time without an answer from then to now, seconds.
    pub fn outage_since(&self, since: Instant) -> f64 {
        let list = self.acknowledged();
        let begin = list.iter().rev().map(|one| one.at).find(|&at| at < since).unwrap_or(since);
        let mut times = vec![begin];
        times.extend(list.iter().map(|one| one.at).filter(|&at| at >= since));
        times.push(Instant::now());
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).fold(0.0, f64::max)
    }

    /// How many numbers were acknowledged in that time, and those of them that `there`, the service's file,
    /// does not have.
    pub fn lost(&self, time: Range<Instant>, there: &str) -> (usize, Vec<u64>) {
        let there: HashSet<u64> = there.lines().filter_map(|line| line.parse().ok()).collect();
        let list = self.acknowledged();
        let given: Vec<u64> =
            list.iter().filter(|one| time.contains(&one.at)).map(|one| one.number).collect();
        let lost = given.iter().copied().filter(|number| !there.contains(number)).collect();
        (given.len(), lost)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// All numbers that the service has.
pub fn all(space: &Space) -> Option<String> {
    space.spawn(|| ask("all\n")).join().expect("no panic")
}

/// One question and its whole answer.
fn ask(question: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(SERVICE), CONNECT).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(question.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.ends_with('\n').then_some(answer)
}
