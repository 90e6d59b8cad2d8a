//! The keys that services read, by their companions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redistributed_core::trace::{Companion, UnixNanos};
use tokio::sync::Notify;

/// The most keys whose contexts are listened to. With more, the one that was not read for longest is left out.
const MAX_COMPANIONS: usize = 1024;

/// How long a key is listened to after it was read, in nanoseconds.
const KEPT: u64 = 3_600_000_000_000;

/// The numbers of the Redises whose contexts are kept apart.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What the connections of an endpoint read.
#[derive(Debug)]
pub struct Interests {
    /// The number of its Redis among those of the process.
    number: u64,
    read: Mutex<HashMap<Companion, UnixNanos>>,
    changed: Notify,
}

impl Default for Interests {
    /// Nothing is read yet, of a Redis with a number of its own.
    fn default() -> Self {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { number, read: Mutex::default(), changed: Notify::new() }
    }
}

impl Interests {
    /// The number of its Redis among those of the process.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A service reads the key with this companion.
    pub fn read(&self, now: UnixNanos, companion: Companion) {
        let mut read = self.lock();
        if let Some(since) = read.get_mut(&companion) {
            *since = now;
            return;
        }
        if read.len() >= MAX_COMPANIONS
            && let Some(oldest) = read.iter().min_by_key(|(_, since)| **since).map(|(companion, _)| *companion)
        {
            read.remove(&oldest);
        }
        read.insert(companion, now);
        drop(read);
        self.changed.notify_one();
    }

    /// Completes when other keys are read than before.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The companions of the keys that are read, without those that were not for long.
    pub(super) fn current(&self, now: UnixNanos) -> Vec<Companion> {
        let mut read = self.lock();
        read.retain(|_, since| now.0.saturating_sub(since.0) < KEPT);
        read.keys().copied().collect()
    }

    /// A panic elsewhere leaves the table whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Companion, UnixNanos>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listened_to_until_they_are_not_read_for_long_or_there_are_too_many() {
        let interests = Interests::default();
        assert_ne!(interests.number(), Interests::default().number());
        let read = |at, companion| interests.read(UnixNanos(at), Companion(companion));
        let current = |at| {
            let mut current: Vec<_> = interests.current(UnixNanos(at)).iter().map(|companion| companion.0).collect();
            current.sort_unstable();
            current
        };
        read(1, 10);
        read(2, 20);
        read(3, 10);
        assert_eq!(current(KEPT + 1), [10, 20]);
        assert_eq!(current(KEPT + 2), [10]);
        for companion in 0..MAX_COMPANIONS as u64 {
            read(100 + companion, 1000 + companion);
        }
        let all = current(KEPT);
        assert_eq!((all.len(), all.contains(&10)), (MAX_COMPANIONS, false));
    }
}
