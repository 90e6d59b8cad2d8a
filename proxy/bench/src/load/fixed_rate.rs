//! Messages at a fixed rate, whatever becomes of them: the latency that a service would see.
//!
//! Message `i` is due at `i` times the interval, and its latency runs from then on, not from when it was sent: whatever
//! holds up the publishers is measured too, and a slow moment counts for every message that was due in it.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::connection::{Connection, Moved};
use super::message::{self, HEAD, Payloads};
use super::{READ, STALLED_AFTER};
use crate::failure::Failure;
use crate::stats::Latencies;

/// How many messages of what size, from how many publishers to the one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) messages_per_second: usize,
    pub(crate) publishers: usize,
    pub(crate) size: usize,
}

pub(crate) struct FixedRate {
    rate: Rate,
    channel: Vec<u8>,
    publishers: Vec<Connection>,
    subscriber: Subscriber,
}

struct Subscriber {
    connection: Connection,
    buffer: Vec<u8>,
    /// Bytes of a message whose end has not come.
    started: Vec<u8>,
    /// Which message of each publisher comes next.
    next: Vec<u64>,
}

impl FixedRate {
    /// Connects the publishers to `to` and the subscriber to `from`.
    pub(crate) fn connect(to: SocketAddr, from: SocketAddr, rate: Rate) -> Result<Self, Failure> {
        let mut connection = Connection::open(from)?;
        let channels = message::new_channels(1);
        let (subscribe, answers) = message::subscribe(&channels);
        connection.exchange("SUBSCRIBE", &subscribe, &answers)?;
        let publishers = (0..rate.publishers).map(|_| {
            let mut publisher = Connection::open(to)?;
            publisher.exchange("PING", b"PING\r\n", b"+PONG\r\n")?;
            publisher.stop_blocking()?;
            Ok(publisher)
        });
        let publishers = publishers.collect::<Result<_, Failure>>()?;
        let next = vec![0; rate.publishers];
        let subscriber = Subscriber { connection, buffer: vec![0; READ], started: Vec::new(), next };
        let channel = channels.concat();
        Ok(Self { rate, channel, publishers, subscriber })
    }

    /// Publishes for `duration`, and then waits for the last message.
    ///
    /// # Errors
    /// The first byte that differs, a message that is lost or out of its publisher's order, a closed connection.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Latencies, Failure> {
        let total = (duration.as_secs_f64() * self.rate.messages_per_second as f64) as u64;
        // Full turns, so that the next run begins with the first publisher again.
        let total = total.next_multiple_of(self.rate.publishers as u64);
        let sent_before: u64 = self.subscriber.next.iter().sum();
        let schedule = Schedule { start: Instant::now(), interval: self.interval() };
        let (publishers, subscriber) = (&mut self.publishers, &mut self.subscriber);
        let load = Load { rate: self.rate, channel: &self.channel, schedule, sent_before, total };
        std::thread::scope(|scope| {
            let publishing = scope.spawn(move || publish(publishers, load));
            let received = subscriber.receive(load);
            publishing.join().map_err(|_| Failure::Panicked { what: "the publishers" })??;
            received
        })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.rate.messages_per_second as u32
    }
}

/// What publishers and subscriber know of a run.
#[derive(Clone, Copy)]
struct Load<'a> {
    rate: Rate,
    channel: &'a [u8],
    schedule: Schedule,
    /// Messages of earlier runs.
    sent_before: u64,
    total: u64,
}

/// When each message is due.
#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    interval: Duration,
}

impl Schedule {
    fn due(self, index: u64) -> Instant {
        self.start + self.interval * index as u32
    }
}

/// Sends all messages, the publishers in turn, each as soon as it is due.
fn publish(publishers: &mut [Connection], load: Load<'_>) -> Result<(), Failure> {
    let Load { rate, channel, schedule, sent_before, total } = load;
    // A sleeping thread is woken up to 50 us late unless it asks for better. If that is refused the latencies say so.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let payloads = Payloads::new(rate.size);
    let count = publishers.len() as u64;
    let mut replies = vec![Replies::default(); publishers.len()];
    for index in 0..total {
        let turn = (index % count) as usize;
        let command = message::publish(channel, &payloads.of(turn, (sent_before + index) / count));
        let publisher = &mut publishers[turn];
        if let Some(early) = schedule.due(index).checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let mut sent = 0;
        while sent < command.len() {
            if let Moved::Bytes(n) = publisher.write(&command[sent..])? {
                sent += n;
            }
        }
        replies[turn].owed += 1;
        replies[turn].take(publisher)?;
    }
    for (publisher, replies) in publishers.iter_mut().zip(&mut replies) {
        let start = Instant::now();
        while replies.owed > 0 {
            replies.take(publisher)?;
            if start.elapsed() > STALLED_AFTER {
                let what = format!("{} replies to PUBLISH are missing", replies.owed);
                return Err(Failure::Stalled { what, waited: STALLED_AFTER });
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    Ok(())
}

/// The replies to one publisher.
#[derive(Clone, Copy, Default)]
struct Replies {
    owed: u64,
    /// How much of the next one has come.
    read: usize,
}

impl Replies {
    const ONE: &[u8] = b":1\r\n";

    /// Reads those that have come.
    fn take(&mut self, publisher: &mut Connection) -> Result<(), Failure> {
        let mut buffer = [0; 1024];
        if let Moved::Bytes(n) = publisher.read(&mut buffer)? {
            for &byte in &buffer[..n] {
                if self.owed == 0 || byte != Self::ONE[self.read] {
                    return Err(Failure::wrong("a reply to PUBLISH", Self::ONE, &buffer[..n]));
                }
                self.read = (self.read + 1) % Self::ONE.len();
                self.owed -= u64::from(self.read == 0);
            }
        }
        Ok(())
    }
}

impl Subscriber {
    /// Takes all messages.
    fn receive(&mut self, load: Load<'_>) -> Result<Latencies, Failure> {
        let Load { rate, channel, schedule, sent_before, total } = load;
        let payloads = Payloads::new(rate.size);
        let frame_length = message::delivery(channel, &payloads.of(0, 0)).len();
        let publishers = self.next.len() as u64;
        let mut latencies = Latencies::default();
        let mut received = 0;
        while received < total {
            let n = match self.connection.read(&mut self.buffer)? {
                Moved::Bytes(n) => n,
                Moved::Nothing => {
                    let what = format!("{} of {total} messages are missing", total - received);
                    return Err(Failure::Stalled { what, waited: STALLED_AFTER });
                }
            };
            let now = Instant::now();
            self.started.extend_from_slice(&self.buffer[..n]);
            let mut frames = self.started.chunks_exact(frame_length);
            for frame in frames.by_ref() {
                let payload = &frame[frame_length - rate.size.max(HEAD) - b"\r\n".len()..];
                let publisher = message::publisher_of(payload).filter(|&publisher| publisher < self.next.len());
                let Some(publisher) = publisher else {
                    return Err(Failure::wrong("a message", b"(a publisher)", frame));
                };
                let count = self.next[publisher];
                let expected = message::delivery(channel, &payloads.of(publisher, count));
                if frame != expected {
                    let what = format!("message {count} of publisher {publisher}");
                    return Err(Failure::wrong(what, &expected, frame));
                }
                self.next[publisher] += 1;
                let index = count * publishers + publisher as u64 - sent_before;
                latencies.add(now.saturating_duration_since(schedule.due(index)));
                received += 1;
            }
            self.started = frames.remainder().to_vec();
        }
        if self.started.is_empty() {
            Ok(latencies)
        } else {
            Err(Failure::wrong("after the last message", b"", &self.started))
        }
    }
}
