//! What is remembered for some seconds.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use redistributed_core::trace::UnixNanos;

/// How long it is remembered, in nanoseconds.
const KEPT: u64 = 10_000_000_000;

/// The most that is remembered. The oldest makes room.
pub(super) const MAX_KEPT: usize = 65_536;

/// A set of what was so lately.
#[derive(Debug)]
pub(super) struct Recent<K> {
    until: HashMap<K, UnixNanos>,
    by_age: VecDeque<(UnixNanos, K)>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self { until: HashMap::new(), by_age: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Recent<K> {
    /// Remembers it from now on.
    pub(super) fn keep(&mut self, now: UnixNanos, key: K) {
        let until = UnixNanos(now.0.saturating_add(KEPT));
        if self.until.insert(key, until).is_some() {
            return;
        }
        self.by_age.push_back((until, key));
        if self.by_age.len() > MAX_KEPT
            && let Some((_, oldest)) = self.by_age.pop_front()
        {
            self.until.remove(&oldest);
        }
    }

    /// Whether it is remembered.
    pub(super) fn is_kept(&self, now: UnixNanos, key: &K) -> bool {
        self.until.get(key).is_some_and(|until| now < *until)
    }

    /// Forgets what was so long ago.
    pub(super) fn forget_old(&mut self, now: UnixNanos) {
        while let Some((_, key)) = self.by_age.front().copied().filter(|(until, _)| *until <= now) {
            self.by_age.pop_front();
            match self.until.get(&key) {
                // It was so again meanwhile.
                Some(until) if *until > now => self.by_age.push_back((*until, key)),
                _ => drop(self.until.remove(&key)),
            }
        }
    }

    /// How many are remembered, and how many of them are to be forgotten at some time.
    #[cfg(test)]
    pub(super) fn lens(&self) -> (usize, usize) {
        (self.until.len(), self.by_age.len())
    }
}
