//! Messages with work behind them: a worker gets a message through the subscribers' sidecar, stores a value whose key has
//! the message's id, and publishes that it is done, through the same sidecar. Each worker has a publisher that sends the next
//! message when the work of the last one has been answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::STALLED_AFTER;
use super::closed_loop::Ran;
use super::connection::{Connection, Moved};
use super::message::{delivery, new_channels, publish, subscribe};
use super::poller::Poller;
use super::resp::command;
use crate::failure::Failure;
use crate::stats::Latencies;

/// Spans of a message: of its publish, its delivery, and the worker's publish.
pub(crate) const SPANS: f64 = 3.0;

/// Of the value that a worker stores, where causes are followed.
pub(crate) const FOLLOWED_SPANS: f64 = 1.0;

pub(crate) struct Work {
    workers: Vec<Worker>,
    poller: Poller,
}

struct Worker {
    number: usize,
    channel: Vec<u8>,
    done: Vec<u8>,
    count: u64,
    publisher: Line,
    subscriber: Line,
    commands: Line,
    started: Instant,
    /// Whether the message has come and its work was sent.
    is_working: bool,
}

/// A connection, and what must still come on it.
struct Line {
    connection: Connection,
    expected: Vec<u8>,
    received: usize,
}

impl Work {
    /// Connects `workers` workers to `from` and the publisher of each to `to`.
    pub(crate) fn connect(to: SocketAddr, from: SocketAddr, workers: usize) -> Result<Self, Failure> {
        let poller = Poller::new()?;
        let mut channels = new_channels(workers);
        let workers = channels.drain(..).enumerate().map(|(number, channel)| {
            let (request, answer) = subscribe(std::slice::from_ref(&channel));
            let open = |address, request: &[u8], answer: &[u8]| {
                let mut connection = Connection::open(address)?;
                connection.exchange("the first command", request, answer)?;
                connection.stop_blocking()?;
                Ok::<_, Failure>(Line { connection, expected: Vec::new(), received: 0 })
            };
            let ping = (&b"PING\r\n"[..], &b"+PONG\r\n"[..]);
            let worker = Worker {
                number,
                done: [&b"done:"[..], &channel].concat(),
                subscriber: open(from, &request, &answer)?,
                publisher: open(to, ping.0, ping.1)?,
                commands: open(from, ping.0, ping.1)?,
                channel,
                count: 0,
                started: Instant::now(),
                is_working: false,
            };
            for line in [&worker.publisher, &worker.subscriber, &worker.commands] {
                poller.add(&line.connection, number)?;
            }
            Ok(worker)
        });
        let workers = workers.collect::<Result<_, Failure>>()?;
        Ok(Self { workers, poller })
    }

    /// Runs for `duration`, and then until the work under way is done.
    ///
    /// # Errors
    /// The first byte that differs, a closed connection, or silence.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Ran, Failure> {
        let begin = Instant::now();
        let mut ran = Ran { operations: 0, elapsed: duration, latencies: Latencies::default() };
        for worker in &mut self.workers {
            worker.publish()?;
        }
        let (mut active, mut ready) = (self.workers.len(), Vec::new());
        while active > 0 {
            self.poller.wait(STALLED_AFTER, &mut ready)?;
            if ready.is_empty() {
                let what = format!("{active} of {} workers", self.workers.len());
                return Err(Failure::Stalled { what, waited: STALLED_AFTER });
            }
            ready.sort_unstable();
            ready.dedup();
            for &number in &ready {
                let worker = &mut self.workers[number];
                if !worker.progress()? {
                    continue;
                }
                let now = Instant::now();
                ran.operations += 1;
                ran.latencies.add(now - worker.started);
                if now - begin < duration {
                    worker.publish()?;
                } else {
                    active -= 1;
                }
            }
        }
        ran.elapsed = begin.elapsed();
        Ok(ran)
    }
}

impl Worker {
    fn id(&self) -> Vec<u8> {
        format!("r{:04x}{:012x}", self.number, self.count).into_bytes()
    }

    fn publish(&mut self) -> Result<(), Failure> {
        self.count += 1;
        let payload = [b"{\"report\":\"", self.id().as_slice(), b"\",\"kind\":\"pdf\",\"pages\":12}"].concat();
        self.started = Instant::now();
        self.is_working = false;
        self.subscriber.expect(delivery(&self.channel, &payload));
        self.publisher.ask(&publish(&self.channel, &payload), b":1\r\n".to_vec())
    }

    /// Does what can be done now. Returns whether the work is done and everything has been answered.
    fn progress(&mut self) -> Result<bool, Failure> {
        // A worker that has nothing to do is reported for what is behind it.
        if self.publisher.expected.is_empty() {
            return Ok(false);
        }
        self.publisher.take()?;
        if self.subscriber.take()? && !self.is_working {
            self.is_working = true;
            let id = self.id();
            let mut work = command(&[b"SET", &[b"report:", id.as_slice()].concat(), b"finished"]);
            work.extend_from_slice(&publish(&self.done, &[b"{\"report\":\"", id.as_slice(), b"\"}"].concat()));
            self.commands.ask(&work, b"+OK\r\n:0\r\n".to_vec())?;
        }
        let is_done = self.is_working && self.commands.take()? && self.publisher.is_complete();
        if is_done {
            self.publisher.expected.clear();
        }
        Ok(is_done)
    }
}

impl Line {
    fn expect(&mut self, bytes: Vec<u8>) {
        (self.expected, self.received) = (bytes, 0);
    }

    /// Sends a request as [`Connection::send`] does.
    fn ask(&mut self, request: &[u8], reply: Vec<u8>) -> Result<(), Failure> {
        self.expect(reply);
        self.connection.send(request)
    }

    fn is_complete(&self) -> bool {
        self.received == self.expected.len()
    }

    /// Reads what has come. Returns whether all of it has.
    fn take(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 1024];
        while let Moved::Bytes(n) = self.connection.read(&mut buffer)? {
            let expected = &self.expected[self.received..];
            if !expected.starts_with(&buffer[..n]) {
                return Err(Failure::wrong("a reply or a message", expected, &buffer[..n]));
            }
            self.received += n;
        }
        Ok(self.is_complete())
    }
}
