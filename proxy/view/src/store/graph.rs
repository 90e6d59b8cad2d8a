//! Services and channels as a graph, with rates and latencies, of what has come lately.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::transaction::Transaction;
use crate::entry::{Entry, Role};

/// The time that the graph is about, in milliseconds: the last one of it in which something came.
const WINDOW_MS: u64 = 60_000;

/// The graph of the last minute in which something came.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The time that rates are of, in seconds: a minute, or less if the first span is younger.
    pub(crate) window_s: f64,
    /// For each service the number of its spans, and that of those that failed.
    pub(crate) services: BTreeMap<Arc<str>, (usize, usize)>,
    /// For each channel the number of publishes, and the times from a publish to the begin of a delivery.
    pub(crate) channels: BTreeMap<Arc<str>, (usize, Times)>,
    /// What goes from whom to whom.
    pub(crate) edges: BTreeMap<(Node, Node), Edge>,
}

/// A service, a channel, the clients or Redis: what an edge of the graph begins or ends at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Service(Arc<str>),
    Channel(Arc<str>),
    /// Whoever sends requests and is not known by a span.
    Client,
    Redis,
}

/// What goes along an edge.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    pub(crate) count: usize,
    pub(crate) errors: usize,
    /// The number of spans whose parent or link was inferred.
    pub(crate) inferred: usize,
    pub(crate) times: Times,
}

/// Durations, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    /// The duration that so many hundredths of all are not longer than, in nanoseconds; `None` if there is none.
    pub(crate) fn percentile(&mut self, hundredths: usize) -> Option<u64> {
        let last = self.0.len().checked_sub(1)?;
        let at = (self.0.len() * hundredths).div_ceil(100).saturating_sub(1).min(last);
        Some(*self.0.select_nth_unstable(at).1)
    }
}

impl Store {
    /// The graph of the last minute in which something came.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph::default();
        let inner = self.lock();
        let latest = inner.by_update.last_key_value().and_then(|(_, trace)| inner.transactions.get(trace));
        let newest =
            latest.map_or(0, |transaction| transaction.spans.values().map(|span| span.arrived_ms).max().unwrap_or(0));
        let since = newest.saturating_sub(WINDOW_MS);
        let mut oldest = newest;
        for trace in inner.by_update.values().rev() {
            let Some(transaction) = inner.transactions.get(trace) else { continue };
            let mut is_recent = false;
            for span in transaction.spans.values().filter(|span| span.arrived_ms >= since) {
                is_recent = true;
                oldest = oldest.min(span.arrived_ms);
                graph.add(transaction, span);
            }
            // Those with older news follow.
            if !is_recent {
                break;
            }
        }
        let whole = Duration::from_millis(newest - oldest).as_secs_f64();
        graph.window_s = whole.clamp(1.0, Duration::from_millis(WINDOW_MS).as_secs_f64());
        graph
    }
}

impl Graph {
    fn add(&mut self, transaction: &Transaction, span: &Entry) {
        let service = &span.origin.resource.service;
        let (spans, errors) = self.services.entry(Arc::clone(service)).or_default();
        *spans += 1;
        *errors += usize::from(span.is_error);
        let own = Node::Service(Arc::clone(service));
        let parent = span.parent.and_then(|parent| transaction.spans.get(&parent));
        let (from, to) = match (&span.role, &span.channel) {
            (Role::Publish { .. }, Some(channel)) => {
                self.channels.entry(Arc::clone(&channel.name)).or_default().0 += 1;
                (own, Node::Channel(Arc::clone(&channel.name)))
            }
            (Role::Delivery, Some(channel)) => {
                let (_, times) = self.channels.entry(Arc::clone(&channel.name)).or_default();
                if let Some(publish) = parent.filter(|parent| matches!(parent.role, Role::Publish { .. })) {
                    times.0.push(span.start.saturating_sub(publish.start));
                }
                (Node::Channel(Arc::clone(&channel.name)), own)
            }
            (Role::Request, _) => {
                let asker = parent.map(|parent| &parent.origin.resource.service).filter(|asker| *asker != service);
                (asker.map_or(Node::Client, |asker| Node::Service(Arc::clone(asker))), own)
            }
            (Role::Command, _) => (own, Node::Redis),
            _ => return,
        };
        let edge = self.edges.entry((from, to)).or_default();
        edge.count += 1;
        edge.errors += usize::from(span.is_error);
        edge.inferred += usize::from(span.is_inferred);
        edge.times.0.push(span.duration());
    }
}
