//! The tap: who asks is shown each message's envelope as it passes, and nobody pays while nobody asks.
//!
//! A connection looks at one number before each read it handles. While it is not zero, the session makes a record of every
//! message, spans or not, and the connection puts them into a ring that listeners read from. A listener that is slower than
//! the traffic misses records and is told how many; nobody ever waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use redistributed_core::trace::{Operation, SpanRecord};
use tokio::sync::broadcast::{self, error::RecvError};

/// Records that a listener may be behind before it misses some.
const CAPACITY: usize = 1024;

/// Listeners at a time.
pub const MAX_LISTENERS: usize = 4;

/// A message that passed.
#[derive(Debug)]
pub struct Passed {
    /// The name of its service.
    pub service: Arc<str>,
    /// A publish or a delivery.
    pub record: SpanRecord,
}

/// Where messages can be watched.
#[derive(Debug)]
pub struct Tap {
    listeners: AtomicUsize,
    missed: AtomicU64,
    ring: broadcast::Sender<Arc<Passed>>,
}

/// What a listener gets.
#[derive(Debug)]
pub enum Seen {
    /// A message.
    Message(Arc<Passed>),
    /// So many messages that it was too slow for.
    Missed(u64),
}

/// One who watches, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    tap: Arc<Tap>,
    ring: broadcast::Receiver<Arc<Passed>>,
}

impl Default for Tap {
    fn default() -> Self {
        Self { listeners: AtomicUsize::new(0), missed: AtomicU64::new(0), ring: broadcast::Sender::new(CAPACITY) }
    }
}

impl Tap {
    /// Whether anybody watches.
    pub fn is_open(&self) -> bool {
        self.listeners() > 0
    }

    /// How many watch.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// How many messages listeners were too slow for, in all.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// One more who watches; `None` if there are [`MAX_LISTENERS`].
    pub fn listen(self: &Arc<Self>) -> Option<Listener> {
        let more = |now| (now < MAX_LISTENERS).then_some(now + 1);
        self.listeners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Listener { tap: Arc::clone(self), ring: self.ring.subscribe() })
    }

    /// Shows a finished record to those who watch, if it is a message's.
    pub fn show(&self, service: &Arc<str>, record: SpanRecord) {
        if !matches!(record.operation, Operation::Command { .. }) {
            // Nobody is there any more: then nobody misses it.
            let _ = self.ring.send(Arc::new(Passed { service: Arc::clone(service), record }));
        }
    }
}

impl Listener {
    /// What comes next. Cancel safe.
    pub async fn next(&mut self) -> Seen {
        loop {
            match self.ring.recv().await {
                Ok(message) => return Seen::Message(message),
                Err(RecvError::Lagged(missed)) => {
                    self.tap.missed.fetch_add(missed, Ordering::Relaxed);
                    return Seen::Missed(missed);
                }
                // The tap, which the listener holds, has the other end.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tap.listeners.fetch_sub(1, Ordering::Relaxed);
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
    async fn every_listener_sees_the_messages_from_its_beginning_on_and_no_commands() {
        let tap = Arc::new(Tap::default());
        tap.show(&"api".into(), record(1, publish()));
        let (mut first, mut second) = (tap.listen().unwrap(), tap.listen().unwrap());
        tap.show(&"api".into(), record(2, Operation::Command { name: "GET".into(), database: 0, batch_size: None }));
        tap.show(&"worker".into(), record(3, publish()));
        for listener in [&mut first, &mut second] {
            let Seen::Message(passed) = listener.next().await else { panic!("nothing was missed") };
            assert_eq!((&*passed.service, passed.record.start), ("worker", UnixNanos(3)));
        }
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_what_it_missed() {
        let tap = Arc::new(Tap::default());
        let mut listener = tap.listen().unwrap();
        (0..CAPACITY as u64 + 5).for_each(|start| tap.show(&"api".into(), record(start, publish())));
        assert!(matches!(listener.next().await, Seen::Missed(5)));
        let Seen::Message(passed) = listener.next().await else { panic!("told twice") };
        assert_eq!((passed.record.start, tap.missed()), (UnixNanos(5), 5));
    }

    #[test]
    fn a_place_is_free_again_when_its_listener_is_gone() {
        let tap = Arc::new(Tap::default());
        let mut listeners: Vec<_> = (0..MAX_LISTENERS).map(|_| tap.listen().unwrap()).collect();
        assert!(tap.listen().is_none() && tap.is_open());
        listeners.pop();
        assert!(tap.listen().is_some());
        listeners.clear();
        assert!(!tap.is_open());
    }
}
