//! Publishers and subscribers that go on whatever happens, and a check of the messages that arrived.
//!
//! Every payload names its publisher, the connection of the publisher, and a number. The rest of the payload follows
//! from these and from the seed, so the check knows every byte that may arrive. Redis itself guarantees two things
//! under any fault, and so must the proxy: From one connection of a publisher, one connection of a subscriber receives
//! numbers in order, without a gap and without duplicates, until one of the connections ends. And what is published
//! while all connections are open is received by all subscribers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::faults::wire::{Reply, Wire, request};
use crate::support::{DEADLINE, Rng};

/// The pause before a client reconnects.
const AGAIN: Duration = Duration::from_millis(5);

/// The largest number of publishes that are sent together.
pub(crate) const BATCH: usize = 16;

const CHANNEL: &[u8] = b"faults";

/// The origin of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) publisher: u64,
    pub(crate) connection: u64,
    /// The number of the message, counted over all connections of the publisher.
    pub(crate) number: u64,
}

impl Id {
    /// The whole payload. Most are short; one in a hundred has up to 200 kB.
    fn payload(self, seed: u64) -> Vec<u8> {
        let mixed = seed ^ self.publisher.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (self.number << 20);
        let mut rng = Rng(mixed ^ self.connection);
        let most = if rng.below(100) == 0 { 200_000 } else { 600 };
        let length = rng.below(most);
        let mut payload = format!("{} {} {} ", self.publisher, self.connection, self.number).into_bytes();
        payload.extend(rng.bytes(length));
        payload
    }

    /// Parses the head of a payload, and compares all of it with what was published.
    fn checked(payload: &[u8], seed: u64) -> Self {
        let mut words =
            payload.splitn(4, |byte| *byte == b' ').map(|word| std::str::from_utf8(word).ok()?.parse().ok());
        let mut word = || words.next().flatten().expect("a payload begins with three numbers");
        let id = Self { publisher: word(), connection: word(), number: word() };
        assert!(payload == id.payload(seed), "{id:?} was altered");
        id
    }
}

/// Running publishers and subscribers.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<Vec<Id>>>,
    subscribers: Vec<JoinHandle<Vec<Vec<Id>>>>,
}

struct Shared {
    address: SocketAddr,
    seed: u64,
    stop_publishing: AtomicBool,
    stop: AtomicBool,
    /// For each publisher, the number of publishes that were answered.
    acknowledged: Vec<AtomicU64>,
    subscribed: AtomicUsize,
}

/// What was published, and what arrived.
pub(crate) struct Outcome {
    /// The replies of Redis.
    pub(crate) acknowledged: Vec<Id>,
    /// For each subscriber, the messages that each of its connections received.
    pub(crate) received: Vec<Vec<Vec<Id>>>,
}

impl Traffic {
    /// Starts the subscribers, waits until all are subscribed, and starts the publishers.
    pub(crate) fn start(address: SocketAddr, seed: u64, publishers: usize, subscribers: usize) -> Self {
        let shared = Arc::new(Shared {
            address,
            seed,
            stop_publishing: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            acknowledged: (0..publishers).map(|_| AtomicU64::new(0)).collect(),
            subscribed: AtomicUsize::new(0),
        });
        let spawn_subscriber = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.subscribe())
        };
        let subscribers: Vec<_> = (0..subscribers).map(spawn_subscriber).collect();
        let mut traffic = Self { shared, publishers: Vec::new(), subscribers };
        traffic.wait_until_subscribed();
        traffic.publishers = (0..publishers as u64)
            .map(|publisher| {
                let shared = Arc::clone(&traffic.shared);
                thread::spawn(move || shared.publish(publisher))
            })
            .collect();
        traffic
    }

    /// Waits until Redis has answered `more` more publishes.
    pub(crate) fn wait_for(&self, more: u64) {
        let now = || self.shared.acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
        let enough = now() + more;
        self.wait("publishes to be answered", || now() >= enough);
    }

    /// Waits until every subscriber is subscribed, by its own account and by that of Redis.
    pub(crate) fn wait_until_subscribed(&self) {
        let all = self.subscribers.len();
        self.wait("all to be subscribed", || {
            self.shared.subscribed.load(Ordering::Relaxed) == all
                && self.shared.subscriptions().is_ok_and(|now| now == all as i64)
        });
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < DEADLINE, "{what} took too long");
            let running = self.publishers.iter().all(|thread| !thread.is_finished());
            assert!(running && self.subscribers.iter().all(|thread| !thread.is_finished()), "a client has failed");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the publishers, ends the subscribers once everything has arrived, and checks what arrived. The messages
    /// that were published last, while all connections were open, must have been received by all.
    pub(crate) fn end(self) -> Outcome {
        self.wait_until_subscribed();
        for publisher in &self.shared.acknowledged {
            let enough = publisher.load(Ordering::Relaxed) + 50;
            self.wait("each publisher to be answered", || publisher.load(Ordering::Relaxed) >= enough);
        }
        self.shared.stop_publishing.store(true, Ordering::Relaxed);
        let acknowledged: Vec<Id> =
            self.publishers.into_iter().flat_map(|thread| thread.join().expect("a publisher")).collect();
        // This message comes after all others on the connection of each subscriber.
        let mut last = Wire::open(self.shared.address).expect("somebody listens");
        let reply = last.ask(&[b"PUBLISH", CHANNEL, b"end"]).expect("an answer");
        assert_eq!(reply, Reply::Number(self.subscribers.len() as i64), "all are subscribed");
        self.shared.stop.store(true, Ordering::Relaxed);
        let received = self.subscribers.into_iter().map(|thread| thread.join().expect("a subscriber")).collect();
        let outcome = Outcome { acknowledged, received };
        outcome.check();
        outcome
    }
}

impl Outcome {
    fn check(&self) {
        for (subscriber, runs) in self.received.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for run in runs {
                let mut last = BTreeMap::<u64, Id>::new();
                for id in run {
                    assert!(seen.insert((id.publisher, id.number)), "subscriber {subscriber} got {id:?} twice");
                    if let Some(before) = last.insert(id.publisher, *id) {
                        let follows = id.number == before.number + 1 && id.connection == before.connection;
                        let new = id.number > before.number && id.connection > before.connection;
                        assert!(follows || new, "subscriber {subscriber} got {id:?} after {before:?}");
                    }
                }
            }
            // There were no faults at the end: the messages of each publisher's last connection have no gap, from the
            // beginning of the subscriber's last connection up to the last message that was acknowledged.
            let calm = runs.last().expect("a connection");
            for last in self.last_acknowledged() {
                assert!(
                    calm.contains(&last),
                    "subscriber {subscriber} did not get {last:?}, which was published in peace"
                );
            }
        }
    }

    fn last_acknowledged(&self) -> impl Iterator<Item = Id> + '_ {
        let publishers: BTreeSet<u64> = self.acknowledged.iter().map(|id| id.publisher).collect();
        publishers.into_iter().filter_map(|publisher| {
            self.acknowledged.iter().filter(|id| id.publisher == publisher).max_by_key(|id| id.number).copied()
        })
    }

    /// For each subscriber, the number of acknowledged messages that it did not receive.
    pub(crate) fn missed(&self) -> Vec<usize> {
        let missed = |runs: &Vec<Vec<Id>>| {
            let got: BTreeSet<Id> = runs.iter().flatten().copied().collect();
            self.acknowledged.iter().filter(|id| !got.contains(id)).count()
        };
        self.received.iter().map(missed).collect()
    }
}

impl Outcome {
    /// For each subscriber, the number of acknowledged messages that it did not receive although it was subscribed,
    /// because its connection ended first.
    pub(crate) fn cut_off(&self) -> Vec<usize> {
        let cut_off = |runs: &Vec<Vec<Id>>| {
            // For each connection of a publisher, the last message that arrived. Later messages came after the
            // subscriber's connection had ended.
            let last: BTreeMap<(u64, u64), u64> =
                runs.iter().flatten().map(|id| ((id.publisher, id.connection), id.number)).collect();
            let came_later = |id: &&Id| last.get(&(id.publisher, id.connection)).is_some_and(|last| id.number > *last);
            self.acknowledged.iter().filter(came_later).count()
        };
        self.received.iter().map(cut_off).collect()
    }
}

impl Shared {
    /// The number of subscriptions, as Redis reports it.
    fn subscriptions(&self) -> io::Result<i64> {
        let reply = Wire::open(self.address)?.ask(&[b"PUBSUB", b"NUMSUB", CHANNEL])?;
        let Reply::Array(parts) = &reply else { panic!("{reply:?}") };
        let Some(Reply::Number(count)) = parts.last() else { panic!("{reply:?}") };
        Ok(*count)
    }

    /// Publishes on one connection after the other. Returns the replies.
    fn publish(&self, publisher: u64) -> Vec<Id> {
        let mut rng = Rng(self.seed ^ publisher);
        let mut next = Id { publisher, connection: 0, number: 0 };
        let mut acknowledged = Vec::new();
        while !self.stop_publishing.load(Ordering::Relaxed) {
            next.connection += 1;
            // This ends with the connection. The next message is sent on a new one, and none is sent twice.
            let _ = self.publish_on_one(&mut next, &mut rng, &mut acknowledged);
            thread::sleep(AGAIN);
        }
        acknowledged
    }

    fn publish_on_one(&self, next: &mut Id, rng: &mut Rng, acknowledged: &mut Vec<Id>) -> io::Result<()> {
        let mut wire = Wire::open(self.address)?;
        while !self.stop_publishing.load(Ordering::Relaxed) {
            let batch: Vec<Id> =
                (0..1 + rng.below(BATCH) as u64).map(|n| Id { number: next.number + n, ..*next }).collect();
            next.number += batch.len() as u64;
            let bytes: Vec<u8> =
                batch.iter().flat_map(|id| request(&[b"PUBLISH", CHANNEL, &id.payload(self.seed)])).collect();
            wire.send(&bytes)?;
            for id in batch {
                let reply = wire.reply()?;
                assert!(matches!(reply, Reply::Number(_)), "{reply:?}");
                acknowledged.push(id);
                self.acknowledged[id.publisher as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Subscribes on one connection after the other. Returns the messages that each received.
    fn subscribe(&self) -> Vec<Vec<Id>> {
        let mut runs = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let mut run = Vec::new();
            let mut subscribed = false;
            // This ends with the connection.
            let ended = self.subscribe_on_one(&mut run, &mut subscribed);
            if subscribed {
                self.subscribed.fetch_sub(1, Ordering::Relaxed);
                runs.push(run);
            }
            if ended.is_ok() {
                break;
            }
            thread::sleep(AGAIN);
        }
        runs
    }

    fn subscribe_on_one(&self, run: &mut Vec<Id>, subscribed: &mut bool) -> io::Result<()> {
        let mut wire = Wire::open(self.address)?;
        wire.ask(&[b"SUBSCRIBE", CHANNEL])?;
        *subscribed = true;
        self.subscribed.fetch_add(1, Ordering::Relaxed);
        loop {
            let Reply::Array(mut parts) = wire.reply()? else { panic!("not a message") };
            let Some(Reply::Bulk(Some(payload))) = parts.pop() else { panic!("a message without a payload") };
            if payload == b"end" {
                return Ok(());
            }
            run.push(Id::checked(&payload, self.seed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the check accepts what one subscriber received on its connections, of messages 0 to 3.
    fn passes(received: &[&[u64]]) -> bool {
        let id = |number| Id { publisher: 0, connection: 1, number };
        let runs = received.iter().map(|run| run.iter().copied().map(id).collect()).collect();
        let outcome = Outcome { acknowledged: (0..4).map(id).collect(), received: vec![runs] };
        std::panic::catch_unwind(move || outcome.check()).is_ok()
    }

    #[test]
    fn the_judge_sees_what_is_missing_doubled_or_out_of_order() {
        assert!(passes(&[&[0, 1, 2, 3]]));
        assert!(passes(&[&[0], &[2, 3]]), "what was published between two connections");
        assert!(!passes(&[&[0, 2, 3]]), "a gap");
        assert!(!passes(&[&[0, 1, 1, 2, 3]]), "one of them twice");
        assert!(!passes(&[&[0, 1], &[1, 2, 3]]), "again on the next connection");
        assert!(!passes(&[&[1, 0, 2, 3]]), "in another order");
        assert!(!passes(&[&[0, 1, 2]]), "the last one, which was published in peace");
    }

    #[test]
    fn an_altered_payload_is_seen() {
        let id = Id { publisher: 1, connection: 2, number: 3 };
        let mut payload = id.payload(7);
        assert_eq!(Id::checked(&payload, 7), id);
        payload.push(0);
        assert!(std::panic::catch_unwind(|| Id::checked(&payload, 7)).is_err());
    }
}
