//! One transaction: the spans of a trace, and what a list tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::size_of;
use std::sync::Arc;

use redistributed_core::trace::{SpanId, TraceId};

use crate::entry::{Channel, Entry, Role};

/// The number of services, and of channels, that a summary names at most.
const MOST_NAMES: usize = 50;

/// The number of characters of a name that a summary shows at most.
const MOST_OF_A_NAME: usize = 100;

/// The spans of one trace that are kept.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) trace: TraceId,
    /// Its number by the arrival of its first span.
    pub(super) number: u64,
    /// The store's sequence at its last change.
    pub(super) updated: u64,
    /// The memory that it takes, in bytes, without what it shares with others.
    pub(super) bytes: usize,
    pub(super) spans: BTreeMap<SpanId, Arc<Entry>>,
    pub(super) services: BTreeSet<Arc<str>>,
    pub(super) channels: BTreeSet<Channel>,
    start: u64,
    end: u64,
    errors: usize,
    inferred: usize,
    roots: usize,
    title: Option<Title>,
}

/// The span that a transaction is called after: the first root, or the first span as long as there is no root.
#[derive(Debug)]
struct Title {
    is_root: bool,
    start: u64,
    name: Box<str>,
    service: Arc<str>,
}

/// What a list tells of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) trace: TraceId,
    /// The begin of the name of the first root; that of the first span if no root has come.
    pub(crate) name: Box<str>,
    /// The service of the same span.
    pub(crate) service: Arc<str>,
    /// The begin of the first span, in nanoseconds since the epoch.
    pub(crate) start: u64,
    /// The time from the begin of the first span to the end of the last, in nanoseconds.
    pub(crate) duration: u64,
    pub(crate) spans: usize,
    /// The number of spans that failed.
    pub(crate) errors: usize,
    /// The services that take part, at most 50 of them.
    pub(crate) services: Vec<Arc<str>>,
    /// The channels, at most 50 of them.
    pub(crate) channels: Vec<Arc<str>>,
    /// The number of spans whose parent or link was inferred.
    pub(crate) inferred: usize,
    /// Whether no span without a parent has come.
    pub(crate) is_missing_root: bool,
    /// The store's sequence at the last change.
    pub(crate) updated: u64,
}

impl Transaction {
    /// The memory of a transaction without spans, in bytes: with its places in the trees of the store, and the first nodes of its
    /// own trees.
    pub(super) const COST: usize = 2 * (size_of::<TraceId>() + size_of::<Self>() + 2 * 24) + 3 * 240 + MOST_OF_A_NAME;

    pub(super) fn new(trace: TraceId, number: u64) -> Self {
        Self {
            trace,
            number,
            updated: 0,
            bytes: Self::COST,
            spans: BTreeMap::new(),
            services: BTreeSet::new(),
            channels: BTreeSet::new(),
            start: u64::MAX,
            end: 0,
            errors: 0,
            inferred: 0,
            roots: 0,
            title: None,
        }
    }

    /// Adds a span that it does not have yet.
    pub(super) fn add(&mut self, entry: Arc<Entry>, cost: usize) {
        self.bytes += cost;
        self.start = self.start.min(entry.start);
        self.end = self.end.max(entry.end);
        self.errors += usize::from(entry.is_error);
        self.inferred += usize::from(entry.is_inferred);
        let is_root = entry.parent.is_none();
        self.roots += usize::from(is_root);
        let is_better = self
            .title
            .as_ref()
            .is_none_or(|title| (is_root && !title.is_root) || (is_root == title.is_root && entry.start < title.start));
        if is_better {
            let (name, service) = (shortened(entry.name()), Arc::clone(&entry.origin.resource.service));
            self.title = Some(Title { is_root, start: entry.start, name, service });
        }
        self.spans.insert(entry.id, entry);
    }

    /// How long it took so far, in nanoseconds.
    pub(super) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn summary(&self) -> Summary {
        let (name, service) = match &self.title {
            Some(title) => (title.name.clone(), Arc::clone(&title.service)),
            None => (Box::default(), Arc::default()),
        };
        let mut channels: Vec<_> =
            self.channels.iter().map(|channel| Arc::clone(&channel.name)).take(MOST_NAMES).collect();
        channels.dedup();
        Summary {
            trace: self.trace,
            name,
            service,
            start: self.start,
            duration: self.duration(),
            spans: self.spans.len(),
            errors: self.errors,
            services: self.services.iter().map(Arc::clone).take(MOST_NAMES).collect(),
            channels,
            inferred: self.inferred,
            is_missing_root: self.roots == 0,
            updated: self.updated,
        }
    }
}

/// The begin of a name, for a list.
fn shortened(name: &str) -> Box<str> {
    match name.char_indices().nth(MOST_OF_A_NAME) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()).into(),
        None => name.into(),
    }
}

/// The memory that a span takes in a transaction, in bytes, without what it shares.
pub(super) fn cost(entry: &Entry) -> usize {
    /// The counters of a shared value, and what the allocator needs.
    const ALLOCATION: usize = 32;
    /// The span's place in the tree, which may be half empty.
    const PLACE: usize = 2 * (size_of::<SpanId>() + size_of::<Arc<Entry>>());
    /// A link stands in the span, and in the tree of those who link to a span.
    const LINK: usize = 24 + 2 * 48;
    let skipped = match &entry.role {
        Role::Publish { skipped: Some(reason), .. } => ALLOCATION + reason.len(),
        _ => 0,
    };
    let links = if entry.links.is_empty() { 0 } else { ALLOCATION + entry.links.len() * LINK };
    PLACE + size_of::<Entry>() + 2 * ALLOCATION + entry.encoded.len() + links + skipped
}
