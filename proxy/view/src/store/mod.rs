//! The spans that are kept, in memory of a stated size.
//!
//! The unit is the transaction: all spans of a trace. When the memory is full, the transaction that has been without news for
//! longest is forgotten whole. What is counted is what the spans take: their bytes, what is kept beside them, and their places
//! in the
//! tables. No transaction may take more than half of the memory, because a trace that never ends would drive out all others.
//!
//! A span that came before is not kept twice, so a sender may repeat a request.
//!
//! | module | what it knows |
//! |---|---|
//! | `transaction` | one transaction |
//! | `shared` | what spans share, and which transactions have a name |
//! | `search` | which transactions match a question |
//! | `graph` | services and channels with rates and latencies |
//! | `channels` | who publishes and who receives, and which messages are not followed |

mod channels;
mod graph;
mod search;
mod shared;
#[cfg(test)]
mod tests;
mod transaction;

#[cfg(test)]
pub(crate) use tests::fill;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use redistributed_core::trace::{SpanId, TraceId};
use tokio::sync::watch;

pub(crate) use channels::{ChannelReport, UntracedReport};
pub(crate) use graph::{Edge, Graph, Node};
pub(crate) use search::{Found, Query};
pub(crate) use transaction::Summary;

use crate::entry::{self, Batch, Entry};
use shared::{Index, Pool};
use transaction::Transaction;

/// The store. It is shared by those who bring spans and those who ask.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    /// The sequence of the last change.
    changes: watch::Sender<u64>,
    began: Instant,
}

/// What the store keeps, what it may keep, and what it has forgotten or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) spans: usize,
    pub(crate) transactions: usize,
    /// The memory that they take.
    pub(crate) bytes: usize,
    /// The memory that they may take.
    pub(crate) limit_bytes: usize,
    pub(crate) forgotten_transactions: u64,
    /// The spans that were not kept, because they are malformed or their transaction is too large.
    pub(crate) refused_spans: u64,
}

/// A link from one span to another. The order is that of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LinkedFrom {
    target: (TraceId, SpanId),
    from: (TraceId, SpanId),
}

#[derive(Debug)]
struct Inner {
    transactions: BTreeMap<TraceId, Transaction>,
    by_number: BTreeMap<u64, TraceId>,
    by_update: BTreeMap<u64, TraceId>,
    services: Index,
    channels: Index,
    resources: Pool<entry::Resource>,
    scopes: Pool<entry::Scope>,
    links: BTreeSet<LinkedFrom>,
    kept: Kept,
    sequence: u64,
    numbers: u64,
}

/// A transaction as it was at one time, with all its spans in the order of their begin, then of their arrival.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) summary: Summary,
    pub(crate) spans: Vec<SpanView>,
}

/// A span of a snapshot.
#[derive(Debug)]
pub(crate) struct SpanView {
    pub(crate) entry: Arc<Entry>,
    /// For each link of the span, whether its target is kept.
    pub(crate) known_links: Vec<bool>,
    /// The spans that link to it.
    pub(crate) linked_from: Vec<(TraceId, SpanId)>,
}

/// The transactions that have changed.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The transactions, those with the latest changes first.
    pub(crate) transactions: Vec<Summary>,
    /// Whether more have changed.
    pub(crate) is_cut: bool,
    pub(crate) kept: Kept,
    /// The sequence of the last change.
    pub(crate) sequence: u64,
}

impl Store {
    /// A store for so many bytes.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let inner = Inner {
            transactions: BTreeMap::new(),
            by_number: BTreeMap::new(),
            by_update: BTreeMap::new(),
            services: Index::default(),
            channels: Index::default(),
            resources: Pool::new(),
            scopes: Pool::new(),
            links: BTreeSet::new(),
            kept: Kept { limit_bytes, ..Kept::default() },
            sequence: 0,
            numbers: 0,
        };
        Self { inner: Mutex::new(inner), changes: watch::Sender::new(0), began: Instant::now() }
    }

    /// Keeps spans, and forgets others for them. Returns how many of them were refused now or before, with the reason of the first.
    pub(crate) fn insert(&self, batch: Batch) -> (u64, Option<&'static str>) {
        let arrived_ms = self.now_ms();
        let (mut refused, mut reason) = (batch.refused, batch.reason);
        let mut inner = self.lock();
        let mut touched = BTreeSet::new();
        for (trace, entry) in batch.spans {
            if !inner.add(trace, Entry { arrived_ms, ..entry }, &mut touched) {
                refused += 1;
                reason.get_or_insert("a transaction may take half of the memory of the viewer (--memory)");
            }
        }
        inner.kept.refused_spans += refused;
        let sequence = inner.sequence;
        drop(inner);
        self.changes.send_replace(sequence);
        (refused, reason)
    }

    /// Tells of changes by their sequence.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How much is kept.
    pub(crate) fn kept(&self) -> Kept {
        self.lock().kept
    }

    /// The summaries of the transactions of `traces` that are kept.
    pub(crate) fn summaries(&self, traces: &BTreeSet<TraceId>) -> Vec<Summary> {
        let inner = self.lock();
        traces.iter().filter_map(|trace| inner.transactions.get(trace)).map(Transaction::summary).collect()
    }

    /// What has changed since `sequence`: at most so many transactions.
    pub(crate) fn changes_since(&self, sequence: u64, most: usize) -> Changes {
        let inner = self.lock();
        let mut changed = inner.by_update.range(sequence.saturating_add(1)..).rev();
        let latest = changed.by_ref().take(most).filter_map(|(_, trace)| inner.transactions.get(trace));
        let transactions = latest.map(Transaction::summary).collect();
        Changes { transactions, is_cut: changed.next().is_some(), kept: inner.kept, sequence: inner.sequence }
    }

    /// The transaction of `trace`; `None` if it is not kept.
    pub(crate) fn transaction(&self, trace: TraceId) -> Option<Snapshot> {
        let inner = self.lock();
        let transaction = inner.transactions.get(&trace)?;
        let mut spans: Vec<_> = transaction
            .spans
            .values()
            .map(|entry| SpanView {
                entry: Arc::clone(entry),
                known_links: entry.links.iter().map(|target| inner.has(*target)).collect(),
                linked_from: inner.linked_from((trace, entry.id)),
            })
            .collect();
        let summary = transaction.summary();
        drop(inner);
        // Commands that were sent at once begin at once, and their spans come in the order of the commands.
        spans.sort_by_key(|span| (span.entry.start, span.entry.place));
        Some(Snapshot { summary, spans })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere may have left out a part of a change, which is no reason to show nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Keeps a span; false if its transaction is too large. `touched` are the transactions that its batch has changed.
    fn add(&mut self, trace: TraceId, mut entry: Entry, touched: &mut BTreeSet<TraceId>) -> bool {
        let cost = transaction::cost(&entry);
        let half = self.kept.limit_bytes / 2;
        match self.transactions.get(&trace) {
            Some(transaction) if transaction.spans.contains_key(&entry.id) => return true,
            Some(transaction) if transaction.bytes + cost > half => return false,
            None if Transaction::COST + cost > half => return false,
            _ => {}
        }
        if touched.insert(trace) || !self.transactions.contains_key(&trace) {
            self.touch(trace);
        }
        self.kept.bytes += cost + self.share(&mut entry);
        self.kept.spans += 1;
        self.links.extend(entry.links.iter().map(|target| LinkedFrom { target: *target, from: (trace, entry.id) }));
        if let Some(transaction) = self.transactions.get_mut(&trace) {
            let service = &entry.origin.resource.service;
            if transaction.services.insert(service.clone()) {
                self.kept.bytes += self.services.add(service, transaction.number);
            }
            if let Some(channel) = &entry.channel
                && transaction.channels.insert(channel.clone())
            {
                self.kept.bytes += self.channels.add(&channel.name, transaction.number);
            }
            entry.place = transaction.spans.len();
            transaction.add(Arc::new(entry), cost);
        }
        while self.kept.bytes > self.kept.limit_bytes {
            match self.by_update.first_key_value() {
                Some((_, oldest)) if *oldest != trace => self.forget(*oldest),
                _ => break,
            }
        }
        true
    }

    /// Makes the transaction the one with the latest news.
    fn touch(&mut self, trace: TraceId) {
        self.sequence += 1;
        let transaction = self.transactions.entry(trace).or_insert_with(|| {
            self.numbers += 1;
            self.by_number.insert(self.numbers, trace);
            self.kept.transactions += 1;
            self.kept.bytes += Transaction::COST;
            Transaction::new(trace, self.numbers)
        });
        self.by_update.remove(&transaction.updated);
        transaction.updated = self.sequence;
        self.by_update.insert(self.sequence, trace);
    }

    /// Lets the span share what others have too. Returns the memory that is taken for what is new.
    fn share(&mut self, entry: &mut Entry) -> usize {
        if let Some(channel) = &mut entry.channel {
            self.channels.share(&mut channel.name);
        }
        self.resources.add(&mut entry.origin.resource) + self.scopes.add(&mut entry.origin.scope)
    }

    fn forget(&mut self, trace: TraceId) {
        let Some(transaction) = self.transactions.remove(&trace) else { return };
        self.by_number.remove(&transaction.number);
        self.by_update.remove(&transaction.updated);
        let mut bytes = transaction.bytes;
        for service in &transaction.services {
            bytes += self.services.remove(service, transaction.number);
        }
        for channel in &transaction.channels {
            bytes += self.channels.remove(&channel.name, transaction.number);
        }
        for entry in transaction.spans.values() {
            bytes += self.resources.remove(&entry.origin.resource) + self.scopes.remove(&entry.origin.scope);
            for target in &entry.links {
                self.links.remove(&LinkedFrom { target: *target, from: (trace, entry.id) });
            }
        }
        self.kept.bytes = self.kept.bytes.saturating_sub(bytes);
        self.kept.spans -= transaction.spans.len();
        self.kept.transactions -= 1;
        self.kept.forgotten_transactions += 1;
    }

    fn has(&self, (trace, span): (TraceId, SpanId)) -> bool {
        self.transactions.get(&trace).is_some_and(|transaction| transaction.spans.contains_key(&span))
    }

    fn linked_from(&self, target: (TraceId, SpanId)) -> Vec<(TraceId, SpanId)> {
        let least = LinkedFrom { target, from: (TraceId::MIN, SpanId::MIN) };
        let links = self.links.range(least..).take_while(|link| link.target == target);
        links.map(|link| link.from).take(MOST_LINKS).collect()
    }

    /// The transactions, the newest first.
    fn newest(&self) -> impl Iterator<Item = &Transaction> {
        self.by_number.values().rev().filter_map(|trace| self.transactions.get(trace))
    }
}

/// The number of links to one span that are told at most.
const MOST_LINKS: usize = 1_000;
