//! A bounded map whose entries leave it in the order in which they came.

use std::collections::{HashMap, VecDeque};

use redistributed_core::trace::UnixNanos;

/// The most entries of a queue that needs no more.
pub(super) const MAX_ENTRIES: usize = 4096;

/// Entries by a key, with the order in which they came. There are `MAX` at most, and with more the oldest leaves.
#[derive(Debug)]
pub(super) struct Queue<T, const MAX: usize = MAX_ENTRIES> {
    entries: HashMap<u64, T>,
    /// Keys of entries that are gone are passed over.
    order: VecDeque<(UnixNanos, u64)>,
}

impl<T, const MAX: usize> Default for Queue<T, MAX> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T, const MAX: usize> Queue<T, MAX> {
    /// Adds an entry, and returns the oldest with its key if there are too many.
    pub(super) fn insert(&mut self, now: UnixNanos, key: u64, entry: T) -> Option<(u64, T)> {
        self.order.push_back((now, key));
        self.entries.insert(key, entry);
        let oldest = (self.entries.len() > MAX).then(|| self.pop_if(|_| true)).flatten();
        if self.order.len() > 2 * MAX {
            self.order.retain(|(_, key)| self.entries.contains_key(key));
        }
        oldest
    }

    pub(super) fn get(&mut self, key: u64) -> Option<&mut T> {
        self.entries.get_mut(&key)
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.entries.contains_key(&key)
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        self.entries.remove(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes the oldest entry, if it came at a time of which this is true.
    pub(super) fn pop_if(&mut self, is_due: impl Fn(UnixNanos) -> bool) -> Option<(u64, T)> {
        while let Some(&(_, key)) = self.order.front().filter(|(since, _)| is_due(*since)) {
            self.order.pop_front();
            if let Some(entry) = self.entries.remove(&key) {
                return Some((key, entry));
            }
        }
        None
    }
}
