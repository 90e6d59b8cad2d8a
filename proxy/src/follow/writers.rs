//! Who has written what the services of this process read from Redis (`--link-writers`).
//!
//! A request that reads a value belongs to another trace than what wrote the value. All connections of the process tell here which
//! keys they are about to write, on whose behalf, and what. A read is linked to the request or message whose work has written the
//! value, if all of this holds:
//!
//! - The last write of the key that this process has seen had a certain cause, and Redis has confirmed it.
//! - No other write of the key was unanswered at the same time, so that it is known which came last.
//! - From the moment when the read was sent until it was answered, no write of the key was sent.
//! - The value that was read is the one that was written.
//!
//! The last condition also holds off writers that are not seen, such as those behind another sidecar. Only keyed hashes of keys,
//! fields and values are kept. A command that is not understood is taken as a write of all that it names.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redistributed_core::trace::{SpanContext, TraceId, UnixNanos};

use super::access::{Access, is_confirmed};

/// The most keys that are remembered. The oldest makes room for further ones.
const MAX_KEYS: usize = 4096;

/// The most fields of a hash that are remembered.
const MAX_FIELDS: usize = 8;

/// The most spans that one read is linked to.
const MAX_LINKS: usize = 8;

/// How long a write is remembered, in nanoseconds.
const KEPT: u64 = 10 * 60 * 1_000_000_000;

/// What all connections of the process know together of who wrote which key.
#[derive(Debug, Default)]
pub struct Writers {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<u64, Key>,
    /// When each key began to be known, the number of the write by which it did, and the key. Those of keys that are
    /// gone are passed over.
    by_age: VecDeque<(UnixNanos, u64, u64)>,
    /// The number of the last write of any key.
    last: u64,
}

/// What is known of one key.
#[derive(Debug, Default)]
struct Key {
    /// The number of the first write since the key is known.
    first: u64,
    /// The number of the last write of the key that was sent.
    write: u64,
    /// How many writes are not answered.
    unanswered: u32,
    /// Whether several of them were unanswered at the same time, so that it is not known which came last.
    is_contended: bool,
    written: Vec<(Cell, SpanContext)>,
}

/// What is under a key: the hash of the field of a hash, and that of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    field: Option<u64>,
    value: u64,
}

/// What a connection keeps of a command until the reply comes.
#[derive(Debug)]
pub(super) enum Pending {
    Write {
        key: u64,
        write: u64,
        cells: Vec<Cell>,
        /// Whether nothing else is left under the key.
        replaces: bool,
        /// Who is the cause; `None` if that is not known, or not recorded.
        writer: Option<SpanContext>,
    },
    /// What may have written these keys.
    Names(Vec<u64>),
    Read {
        /// The keys, each with the number of its last write.
        keys: Vec<(u64, u64)>,
        reply: Reply,
        /// The trace of the request or message that the read belongs to.
        trace: Option<TraceId>,
    },
}

/// What the values of a reply are.
#[derive(Debug)]
pub(super) enum Reply {
    /// One for each key.
    Values,
    /// One for each of these fields.
    Fields(Vec<u64>),
    /// A field and its value in turns.
    Hash,
}

/// One connection's view of the keys that its process knows.
#[derive(Clone, Debug)]
pub(super) struct WritersOf {
    writers: Arc<Writers>,
    /// The Redis that it leads to, as the settings name it.
    redis: Arc<str>,
}

impl WritersOf {
    pub(super) fn new(writers: Arc<Writers>, redis: Arc<str>) -> Self {
        Self { writers, redis }
    }

    /// A command is about to be sent that accesses keys of `database`, on behalf of `cause`. Returns what is needed
    /// when the reply comes.
    pub(super) fn sent(
        &self,
        now: UnixNanos,
        database: u32,
        access: &Access<'_>,
        cause: Option<SpanContext>,
    ) -> Option<Pending> {
        let hash = |key: &[u8]| self.writers.hasher.hash_one((&self.redis, database, key));
        let part = |bytes: &[u8]| self.writers.hash(bytes);
        let write = |key: u64, cells, replaces| {
            let write = self.writers.state().begin(now, key);
            Some(Pending::Write { key, write, cells, replaces, writer: cause.filter(|cause| cause.flags.is_sampled()) })
        };
        let read = |keys: Vec<u64>, reply| self.writers.state().read(&keys, reply, cause.map(|cause| cause.trace_id));
        match access {
            Access::None => None,
            Access::Everything => {
                self.writers.state().forget_all();
                None
            }
            Access::Values(keys) => read(keys.iter().map(|key| hash(key)).collect(), Reply::Values),
            Access::Fields(key, fields) => {
                read(vec![hash(key)], Reply::Fields(fields.iter().map(|field| part(field)).collect()))
            }
            Access::Hash(key) => read(vec![hash(key)], Reply::Hash),
            Access::Value(key, value) => write(hash(key), vec![Cell { field: None, value: part(value) }], true),
            Access::FieldValues(key, pairs) => {
                let cells = pairs.iter().map(|(field, value)| Cell { field: Some(part(field)), value: part(value) });
                write(hash(key), cells.collect(), false)
            }
            Access::Names(names) => {
                let names: Vec<u64> = names.iter().map(|name| hash(name)).collect();
                self.writers.state().names(names)
            }
        }
    }

    /// Redis has answered with these values. Returns the spans of those who have written what was read.
    pub(super) fn answered(&self, pending: Pending, values: &[&[u8]]) -> Vec<SpanContext> {
        match pending {
            Pending::Write { key, write, cells, replaces, writer } => {
                let writer = writer.filter(|_| is_confirmed(values));
                self.writers.state().written(key, Some(write), |key| key.store(&cells, replaces, writer));
                Vec::new()
            }
            Pending::Names(keys) => {
                let mut state = self.writers.state();
                keys.into_iter().for_each(|key| state.written(key, None, |_| {}));
                Vec::new()
            }
            Pending::Read { keys, reply, trace } => {
                let cells = self.writers.cells(&reply, keys.len(), values);
                let state = self.writers.state();
                let mut writers = Vec::new();
                for (key, cell) in cells {
                    let known = keys.get(key).and_then(|(key, write)| state.unchanged(*key, *write));
                    // What the same trace has written is in it already.
                    let writer =
                        known.and_then(|key| key.writer_of(cell)).filter(|writer| Some(writer.trace_id) != trace);
                    writers.extend(writer.filter(|writer| writers.len() < MAX_LINKS && !writers.contains(writer)));
                }
                writers
            }
        }
    }
}

impl Writers {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    /// What the values of a reply say of which key. If a value is missing, it is not known which are there.
    fn cells(&self, reply: &Reply, keys: usize, values: &[&[u8]]) -> Vec<(usize, Cell)> {
        let value = |value: &&[u8]| self.hash(value);
        match reply {
            Reply::Values if values.len() == keys => {
                values.iter().enumerate().map(|(at, text)| (at, Cell { field: None, value: value(text) })).collect()
            }
            Reply::Fields(fields) if values.len() == fields.len() => {
                let pairs = fields.iter().zip(values);
                pairs.map(|(field, text)| (0, Cell { field: Some(*field), value: value(text) })).collect()
            }
            Reply::Hash => {
                let pairs = values.chunks_exact(2);
                pairs.map(|pair| (0, Cell { field: Some(value(&pair[0])), value: value(&pair[1]) })).collect()
            }
            Reply::Values | Reply::Fields(_) => Vec::new(),
        }
    }

    /// A panic elsewhere may have left it half way through an event. It only costs links.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A write of the key is about to be sent. Returns its number.
    fn begin(&mut self, now: UnixNanos, key: u64) -> u64 {
        self.forget_old(now);
        self.last += 1;
        let number = self.last;
        let entry = self.keys.entry(key).or_insert_with(|| {
            self.by_age.push_back((now, number, key));
            Key { first: number, ..Key::default() }
        });
        entry.unanswered = entry.unanswered.saturating_add(1);
        entry.is_contended |= entry.unanswered > 1;
        entry.write = number;
        number
    }

    /// Something is about to be sent that may write what these names stand for. Only those that are known matter.
    fn names(&mut self, mut names: Vec<u64>) -> Option<Pending> {
        names.sort_unstable();
        names.dedup();
        names.retain(|name| self.keys.contains_key(name));
        for name in &names {
            self.last += 1;
            if let Some(entry) = self.keys.get_mut(name) {
                entry.write = self.last;
                entry.unanswered = entry.unanswered.saturating_add(1);
                entry.is_contended = true;
            }
        }
        (!names.is_empty()).then_some(Pending::Names(names))
    }

    fn read(&self, keys: &[u64], reply: Reply, trace: Option<TraceId>) -> Option<Pending> {
        // No write has the number 0.
        let write = |key: &u64| self.keys.get(key).filter(|key| key.unanswered == 0).map_or(0, |key| key.write);
        let keys: Vec<_> = keys.iter().map(|key| (*key, write(key))).collect();
        keys.iter().any(|(_, write)| *write > 0).then_some(Pending::Read { keys, reply, trace })
    }

    /// A write of the key was answered. If it was the last one and the only one, `store` may add what it has written,
    /// otherwise it is not known what is there.
    fn written(&mut self, key: u64, write: Option<u64>, store: impl FnOnce(&mut Key)) {
        let Some(entry) = self.keys.get_mut(&key) else { return };
        entry.unanswered = entry.unanswered.saturating_sub(1);
        if write == Some(entry.write) && !entry.is_contended {
            store(entry);
        } else {
            entry.written.clear();
        }
        if entry.unanswered == 0 {
            entry.is_contended = false;
            if entry.written.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    /// The key, if no write of it was sent since this one.
    fn unchanged(&self, key: u64, write: u64) -> Option<&Key> {
        self.keys.get(&key).filter(|key| key.write == write && key.unanswered == 0)
    }

    fn forget_old(&mut self, now: UnixNanos) {
        let keys = &mut self.keys;
        let is_known =
            |keys: &HashMap<u64, Key>, first: u64, key: u64| keys.get(&key).is_some_and(|key| key.first == first);
        if self.by_age.len() >= 2 * MAX_KEYS {
            self.by_age.retain(|(_, first, key)| is_known(keys, *first, *key));
        }
        let is_old = |since: UnixNanos| now.0.saturating_sub(since.0) > KEPT;
        while let Some((since, first, key)) = self.by_age.front().copied() {
            if keys.len() < MAX_KEYS && !is_old(since) {
                break;
            }
            self.by_age.pop_front();
            if is_known(keys, first, key) {
                keys.remove(&key);
            }
        }
    }

    fn forget_all(&mut self) {
        self.keys.clear();
        self.by_age.clear();
    }
}

impl Key {
    fn store(&mut self, cells: &[Cell], replaces: bool, writer: Option<SpanContext>) {
        let Some(writer) = writer else { return self.written.clear() };
        let is_replaced = |old: &Cell| replaces || cells.iter().any(|cell| cell.field == old.field);
        self.written.retain(|(old, _)| old.field.is_some() && !is_replaced(old));
        self.written.extend(cells.iter().map(|cell| (*cell, writer)));
        let surplus = self.written.len().saturating_sub(MAX_FIELDS);
        self.written.drain(..surplus);
    }

    fn writer_of(&self, cell: Cell) -> Option<SpanContext> {
        self.written.iter().find(|(written, _)| *written == cell).map(|(_, writer)| *writer)
    }
}

#[cfg(test)]
mod tests;
