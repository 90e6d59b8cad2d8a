//! The tap: watchers are shown the envelope of each message as it passes, and connections pay nothing while there are none.
//!
//! A connection reads one number before each read that it handles. While it is not zero, the session makes a record of every
//! message, spans or not, and the connection puts them into a ring that watchers read from. A watcher that is slower than the
//! traffic misses records and is told how many; no connection ever waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use redistributed_core::trace::{Operation, SpanRecord};
use tokio::sync::broadcast::{self, error::RecvError};

/// The number of records that a watcher may be behind before it misses some.
const CAPACITY: usize = 1024;

/// The most watchers at a time.
pub const MAX_WATCHERS: usize = 4;

/// A message that passed.
#[derive(Debug)]
pub struct Passed {
    /// The name of the message's service.
    pub service: Arc<str>,
    /// The record of a publish or a delivery.
    pub record: SpanRecord,
}

/// The tap of the process.
#[derive(Debug)]
pub struct Tap {
    watchers: AtomicUsize,
    missed: AtomicU64,
    ring: broadcast::Sender<Arc<Passed>>,
}

/// What a watcher receives.
#[derive(Debug)]
pub enum Seen {
    /// A message has passed.
    Message(Arc<Passed>),
    /// The number of messages for which the watcher was too slow.
    Missed(u64),
}

/// A watcher, until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    tap: Arc<Tap>,
    ring: broadcast::Receiver<Arc<Passed>>,
}

impl Default for Tap {
    fn default() -> Self {
        Self { watchers: AtomicUsize::new(0), missed: AtomicU64::new(0), ring: broadcast::Sender::new(CAPACITY) }
    }
}

impl Tap {
    /// Whether there is a watcher.
    pub fn is_open(&self) -> bool {
        self.watchers() > 0
    }

    /// The number of watchers.
    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// The number of messages for which watchers were too slow, in all.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Adds a watcher; `None` if there are [`MAX_WATCHERS`].
    pub fn watch(self: &Arc<Self>) -> Option<Watcher> {
        let more = |now| (now < MAX_WATCHERS).then_some(now + 1);
        self.watchers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Watcher { tap: Arc::clone(self), ring: self.ring.subscribe() })
    }

    /// Shows a finished record to the watchers, if it is the record of a message.
    pub fn show(&self, service: &Arc<str>, record: SpanRecord) {
        if matches!(record.operation, Operation::Publish { .. } | Operation::Deliver { .. }) {
            // Nobody is there any more: then nobody misses it.
            let _ = self.ring.send(Arc::new(Passed { service: Arc::clone(service), record }));
        }
    }
}

impl Watcher {
    /// Waits for the next message. Cancel safe.
    pub async fn next(&mut self) -> Seen {
        loop {
            match self.ring.recv().await {
                Ok(message) => return Seen::Message(message),
                Err(RecvError::Lagged(missed)) => {
                    self.tap.missed.fetch_add(missed, Ordering::Relaxed);
                    return Seen::Missed(missed);
                }
                // The tap, which the watcher holds, has the other end.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tap.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::trace::{SpanContext, UnixNanos};

    use super::*;

    fn record(start: u64, operation: Operation) -> SpanRecord {
        let context =
            SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        SpanRecord::new(context, UnixNanos(start), operation)
    }

    fn publish() -> Operation {
        Operation::Publish { channel: "ch".into(), sharded: false, receivers: None, body_size: 2 }
    }

    #[tokio::test]
    async fn every_watcher_sees_the_messages_from_its_beginning_on_and_no_commands() {
        let tap = Arc::new(Tap::default());
        tap.show(&"api".into(), record(1, publish()));
        let (mut first, mut second) = (tap.watch().unwrap(), tap.watch().unwrap());
        tap.show(
            &"api".into(),
            record(2, Operation::Command { name: "GET".into(), summary: None, database: 0, batch_size: None }),
        );
        tap.show(&"worker".into(), record(3, publish()));
        for watcher in [&mut first, &mut second] {
            let Seen::Message(passed) = watcher.next().await else { panic!("nothing was missed") };
            assert_eq!((&*passed.service, passed.record.start), ("worker", UnixNanos(3)));
        }
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_what_it_missed() {
        let tap = Arc::new(Tap::default());
        let mut watcher = tap.watch().unwrap();
        (0..CAPACITY as u64 + 5).for_each(|start| tap.show(&"api".into(), record(start, publish())));
        assert!(matches!(watcher.next().await, Seen::Missed(5)));
        let Seen::Message(passed) = watcher.next().await else { panic!("told twice") };
        assert_eq!((passed.record.start, tap.missed()), (UnixNanos(5), 5));
    }

    #[test]
    fn a_place_is_free_again_when_its_watcher_is_gone() {
        let tap = Arc::new(Tap::default());
        let mut watchers: Vec<_> = (0..MAX_WATCHERS).map(|_| tap.watch().unwrap()).collect();
        assert!(tap.watch().is_none() && tap.is_open());
        watchers.pop();
        assert!(tap.watch().is_some());
        watchers.clear();
        assert!(!tap.is_open());
    }
}
