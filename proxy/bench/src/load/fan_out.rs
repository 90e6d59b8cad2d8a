//! One publisher to many subscribers, as fast as they take it: messages are published while no more than [`WINDOW`] of
//! them are on their way, and each subscriber must get each message, whole and in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::{Connection, Moved};
use super::message::{self, Payloads};
use super::poller::Poller;
use super::{READ, STALLED_AFTER};
use crate::failure::Failure;

/// Most messages that some subscriber has not got yet.
const WINDOW: u64 = 64;

/// Messages published together, in one write.
const BURST: u64 = 16;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) messages: u64,
    pub(crate) deliveries: u64,
    pub(crate) elapsed: Duration,
}

pub(crate) struct FanOut {
    publisher: Connection,
    subscribers: Vec<Subscriber>,
    poller: Poller,
    buffer: Vec<u8>,
    channels: Vec<Vec<u8>>,
    payloads: Payloads,
    /// What the publisher still has to send.
    unsent: VecDeque<u8>,
    /// The reply to each publish, and what the publisher must still read of them.
    reply: Vec<u8>,
    replies_owed: u64,
    reply_read: usize,
    published: u64,
    /// Messages on their way: the oldest is number `published - in_flight.len()`.
    in_flight: VecDeque<InFlight>,
}

struct InFlight {
    frame: Vec<u8>,
    /// Subscribers that have not got it.
    missing: usize,
}

struct Subscriber {
    connection: Connection,
    /// The message it gets now, and how much of that it has got.
    next: u64,
    offset: usize,
}

impl FanOut {
    /// Connects one publisher to `to`, and `subscribers` that take all `channels`, to `from`.
    pub(crate) fn connect(
        to: SocketAddr,
        from: SocketAddr,
        subscribers: usize,
        channels: usize,
        size: usize,
    ) -> Result<Self, Failure> {
        let poller = Poller::new()?;
        let channels = message::new_channels(channels);
        let (subscribe, answers) = message::subscribe(&channels);
        let subscribed = (0..subscribers).map(|index| {
            let mut connection = Connection::open(from)?;
            connection.exchange("SUBSCRIBE", &subscribe, &answers)?;
            connection.stop_blocking()?;
            poller.add(&connection, index)?;
            Ok(Subscriber { connection, next: 0, offset: 0 })
        });
        let subscribed = subscribed.collect::<Result<_, Failure>>()?;
        let mut publisher = Connection::open(to)?;
        publisher.exchange("PING", b"PING\r\n", b"+PONG\r\n")?;
        publisher.stop_blocking()?;
        poller.add(&publisher, subscribers)?;
        Ok(Self {
            publisher,
            subscribers: subscribed,
            poller,
            buffer: vec![0; READ],
            channels,
            payloads: Payloads::new(size),
            unsent: VecDeque::new(),
            reply: format!(":{subscribers}\r\n").into_bytes(),
            replies_owed: 0,
            reply_read: 0,
            published: 0,
            in_flight: VecDeque::new(),
        })
    }

    /// Publishes for `duration`, and then waits until everything has been delivered and answered.
    ///
    /// # Errors
    /// The first byte that differs, a closed connection, or silence while something is missing.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Delivered, Failure> {
        let (begin, first) = (Instant::now(), self.published);
        let mut ready = Vec::new();
        loop {
            if begin.elapsed() < duration {
                while self.in_flight.len() as u64 + BURST <= WINDOW {
                    self.publish(BURST);
                }
            } else if self.in_flight.is_empty() && self.replies_owed == 0 {
                break;
            }
            self.send()?;
            self.poller.wait(STALLED_AFTER, &mut ready)?;
            if ready.is_empty() {
                let what = format!("{} messages and {} replies are missing", self.in_flight.len(), self.replies_owed);
                return Err(Failure::Stalled { what, waited: STALLED_AFTER });
            }
            for &index in &ready {
                if index == self.subscribers.len() { self.take_replies()? } else { self.take_messages(index)? }
            }
        }
        let messages = self.published - first;
        let deliveries = messages * self.subscribers.len() as u64;
        Ok(Delivered { messages, deliveries, elapsed: begin.elapsed() })
    }

    fn publish(&mut self, count: u64) {
        for _ in 0..count {
            let channel = &self.channels[(self.published % self.channels.len() as u64) as usize];
            let payload = self.payloads.of(0, self.published);
            self.unsent.extend(message::publish(channel, &payload));
            let frame = message::delivery(channel, &payload);
            self.in_flight.push_back(InFlight { frame, missing: self.subscribers.len() });
            self.published += 1;
            self.replies_owed += 1;
        }
    }

    fn send(&mut self) -> Result<(), Failure> {
        while !self.unsent.is_empty() {
            match self.publisher.write(self.unsent.make_contiguous())? {
                Moved::Bytes(n) => drop(self.unsent.drain(..n)),
                Moved::Nothing => break,
            }
        }
        Ok(())
    }

    fn take_replies(&mut self) -> Result<(), Failure> {
        while let Moved::Bytes(n) = self.publisher.read(&mut self.buffer)? {
            for &byte in &self.buffer[..n] {
                if self.replies_owed == 0 || byte != self.reply[self.reply_read] {
                    return Err(Failure::wrong("a reply to PUBLISH", &self.reply, &self.buffer[..n]));
                }
                self.reply_read += 1;
                if self.reply_read == self.reply.len() {
                    self.reply_read = 0;
                    self.replies_owed -= 1;
                }
            }
            if n < self.buffer.len() {
                break;
            }
        }
        Ok(())
    }

    fn take_messages(&mut self, index: usize) -> Result<(), Failure> {
        let subscriber = &mut self.subscribers[index];
        while let Moved::Bytes(n) = subscriber.connection.read(&mut self.buffer)? {
            let mut got = &self.buffer[..n];
            while !got.is_empty() {
                let oldest = self.published - self.in_flight.len() as u64;
                let Some(message) = self.in_flight.get_mut((subscriber.next - oldest) as usize) else {
                    return Err(Failure::wrong(format!("subscriber {index}, after the last message"), b"", got));
                };
                let expected = &message.frame[subscriber.offset..];
                let part = expected.len().min(got.len());
                if expected[..part] != got[..part] {
                    let what = format!("subscriber {index}, message {}", subscriber.next);
                    return Err(Failure::wrong(what, expected, got));
                }
                got = &got[part..];
                subscriber.offset += part;
                if subscriber.offset == message.frame.len() {
                    (subscriber.next, subscriber.offset) = (subscriber.next + 1, 0);
                    message.missing -= 1;
                }
            }
            if n < self.buffer.len() {
                break;
            }
        }
        while self.in_flight.front().is_some_and(|message| message.missing == 0) {
            self.in_flight.pop_front();
        }
        Ok(())
    }
}
