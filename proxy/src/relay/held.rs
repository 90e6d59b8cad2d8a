//! What all connections of the process hold together, so that the next one holds less when it is much.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that connections may hold together, in bytes, besides [`FREE`] for each and one delivered payload for each.
const MAX_HELD: usize = 64 << 20;

/// What a connection may hold without being counted, in bytes. Nearly all connections hold less, and cost nothing here.
const FREE: usize = 64 * 1024;

/// The unit in which is counted, in bytes, so that the threads seldom write to the same counter.
const UNIT: usize = 64 * 1024;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// What one connection holds of the whole.
#[derive(Debug, Default)]
pub(super) struct Held {
    counted: usize,
}

impl Held {
    /// Whether all connections together hold as much as they may.
    pub(super) fn memory_is_scarce() -> bool {
        HELD.load(Ordering::Relaxed) >= MAX_HELD
    }

    /// Takes note that the connection now holds this many bytes.
    pub(super) fn set(&mut self, bytes: usize) {
        let counted = bytes.saturating_sub(FREE).next_multiple_of(UNIT);
        if counted != self.counted {
            if counted > self.counted {
                HELD.fetch_add(counted - self.counted, Ordering::Relaxed);
            } else {
                HELD.fetch_sub(self.counted - counted, Ordering::Relaxed);
            }
            self.counted = counted;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}
