//! The lists and sorted sets for which a service waits, so that what it adds there is work for somebody.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use redistributed_core::trace::UnixNanos;

/// The most keys that are remembered. The one that was not waited for, and to which nothing was added, for longest makes room.
const MAX_KEYS: usize = 256;

/// How long a key is remembered for which nobody waits any more, and to which nothing is added.
const KEPT: Duration = Duration::from_secs(3600);

/// The keys, as hashes, and when each was used last.
#[derive(Debug, Default)]
pub(super) struct Waited {
    used: Vec<(u64, UnixNanos)>,
    hasher: RandomState,
}

impl Waited {
    /// The service waits for something at this key of a database.
    pub(super) fn waits(&mut self, now: UnixNanos, database: u32, key: &[u8]) {
        if self.uses(now, database, key) {
            return;
        }
        let oldest = self.used.iter().enumerate().min_by_key(|(_, (_, used))| *used).map(|(place, _)| place);
        if let Some(oldest) = oldest.filter(|_| self.used.len() >= MAX_KEYS) {
            self.used.swap_remove(oldest);
        }
        self.used.push((self.hasher.hash_one((database, key)), now));
    }

    /// Whether the service has waited for something at this key, which is being used again.
    pub(super) fn uses(&mut self, now: UnixNanos, database: u32, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one((database, key));
        let kept = u64::try_from(KEPT.as_nanos()).unwrap_or(u64::MAX);
        self.used.retain(|(_, used)| now.0.saturating_sub(used.0) < kept);
        let found = self.used.iter_mut().find(|(known, _)| *known == hash);
        found.map(|(_, used)| *used = now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_key_is_a_queue_until_it_was_not_used_for_an_hour() {
        let mut waited = Waited::default();
        let uses = |waited: &mut Waited, second: u64| waited.uses(UnixNanos(second * SECOND), 0, b"jobs");
        assert!(!uses(&mut waited, 0));
        waited.waits(UnixNanos(0), 0, b"jobs");
        assert!(!waited.uses(UnixNanos(0), 1, b"jobs"), "that is another database");
        assert!(!waited.uses(UnixNanos(0), 0, b"cache"));
        assert!(uses(&mut waited, 3599) && uses(&mut waited, 7198), "each use counts");
        assert!(!uses(&mut waited, 10_798));
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_makes_room() {
        let mut waited = Waited::default();
        let key = |number: u64| format!("jobs:{number}").into_bytes();
        for number in 0..MAX_KEYS as u64 {
            waited.waits(UnixNanos(number), 0, &key(number));
        }
        waited.waits(UnixNanos(1000), 0, &key(0));
        waited.waits(UnixNanos(1001), 0, &key(9999));
        assert_eq!(waited.used.len(), MAX_KEYS);
        assert!(waited.uses(UnixNanos(1002), 0, &key(0)) && waited.uses(UnixNanos(1002), 0, &key(9999)));
        assert!(!waited.uses(UnixNanos(1002), 0, &key(1)));
    }
}
