//! What spans share, kept once: resources, scopes, and the names of services and channels.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::Arc;

use crate::entry::Shared;

/// Values of one kind, each with the number of spans that have it.
#[derive(Debug)]
pub(super) struct Pool<T> {
    values: HashMap<ByBytes<T>, usize>,
}

/// A value that is found by its bytes.
#[derive(Debug)]
struct ByBytes<T>(Arc<T>);

impl<T: Shared> Borrow<[u8]> for ByBytes<T> {
    fn borrow(&self) -> &[u8] {
        self.0.encoded()
    }
}

impl<T: Shared> Hash for ByBytes<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.encoded().hash(state);
    }
}

impl<T: Shared> PartialEq for ByBytes<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.encoded() == other.0.encoded()
    }
}

impl<T: Shared> Eq for ByBytes<T> {}

impl<T: Shared> Pool<T> {
    /// Makes a pool that holds no value yet.
    pub(super) fn new() -> Self {
        Self { values: HashMap::new() }
    }

    /// Replaces `value` by the one with the same bytes, and counts a span that has it. Returns the memory that this takes, in
    /// bytes.
    pub(super) fn add(&mut self, value: &mut Arc<T>) -> usize {
        if let Some((known, _)) = self.values.get_key_value(value.encoded()) {
            *value = Arc::clone(&known.0);
        }
        let spans = self.values.entry(ByBytes(Arc::clone(value))).or_default();
        *spans += 1;
        if *spans == 1 { Self::cost(value) } else { 0 }
    }

    /// Counts a span less that has `value`. Returns the memory that this gives back, in bytes.
    pub(super) fn remove(&mut self, value: &Arc<T>) -> usize {
        let Some(spans) = self.values.get_mut(value.encoded()) else { return 0 };
        *spans -= 1;
        if *spans > 0 {
            return 0;
        }
        self.values.remove(value.encoded());
        Self::cost(value)
    }

    /// The bytes, the value with a name of its own length, and the place in the table, of which a half may be empty.
    fn cost(value: &Arc<T>) -> usize {
        const TABLE: usize = 48;
        2 * value.encoded().len() + size_of::<T>() + TABLE
    }
}

/// Which transactions have something to do with a name, by the numbers of the transactions.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: BTreeMap<Arc<str>, BTreeSet<u64>>,
}

impl Index {
    /// The memory of a number, in bytes: here and, as a name, in the transaction. Trees may be half empty.
    const NUMBER: usize = 2 * (8 + 24);
    /// The memory that a name takes besides its text, in bytes: the first node of its tree among it.
    const NAME: usize = 256;

    /// Replaces `name` by the one with the same text.
    pub(super) fn share(&self, name: &mut Arc<str>) {
        if let Some((known, _)) = self.names.get_key_value(&**name) {
            *name = Arc::clone(known);
        }
    }

    /// Adds that the transaction `number` has `name`. Returns the memory that this takes, in bytes.
    pub(super) fn add(&mut self, name: &Arc<str>, number: u64) -> usize {
        let mut cost = 0;
        let numbers = self.names.entry(Arc::clone(name)).or_insert_with(|| {
            cost = Self::NAME + name.len();
            BTreeSet::new()
        });
        cost + if numbers.insert(number) { Self::NUMBER } else { 0 }
    }

    /// Removes that the transaction `number` has `name`. Returns the memory that this gives back, in bytes.
    pub(super) fn remove(&mut self, name: &Arc<str>, number: u64) -> usize {
        let Some(numbers) = self.names.get_mut(name) else { return 0 };
        let cost = if numbers.remove(&number) { Self::NUMBER } else { 0 };
        if !numbers.is_empty() {
            return cost;
        }
        self.names.remove(name);
        cost + Self::NAME + name.len()
    }

    /// The numbers of the transactions with `name`.
    pub(super) fn get(&self, name: &str) -> Option<&BTreeSet<u64>> {
        self.names.get(name)
    }
}
