//! How many of this proxy's connections are subscribed to each topic, counting only connections whose messages are certain
//! to be searched for contexts.
//!
//! The registry keeps the subscriptions of each connection as the server has confirmed them. A connection is excluded for
//! good once its subscriptions are no longer certain, and temporarily while it is not being read, because then the proxy
//! would not notice that Redis has closed it. A count that is too low is always safe; one that is too high is not.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redistributed_core::service::{SubscriptionChange, SubscriptionKind};
use tokio::sync::Notify;

use super::announcement::RESERVED_PREFIX;
use super::server_identity::{Destination, ServerTracker};
use super::topic::Topic;

/// The largest number of subscriptions that are kept for one connection. A connection with more is excluded.
pub const MAX_SUBSCRIPTIONS: usize = 4096;

/// The largest number of different topics that are kept for one route. A connection that needs more is excluded.
pub const MAX_TOPICS: usize = 65_536;

/// The subscriptions of the connections of one route.
#[derive(Debug)]
pub struct SubscriptionRegistry {
    server: Arc<ServerTracker>,
    state: Mutex<State>,
    /// Notified when the count of a topic may have decreased.
    pub decreased: Notify,
    /// Notified when the count of a topic may have increased, and none has decreased.
    pub increased: Notify,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<u64, Connection>,
    last_id: u64,
    /// The subscribed connections of each topic. A topic stays here with a count of 0 until that change was taken.
    counts: HashMap<Arc<Topic>, u32>,
    /// The topics whose count has changed since the changes were last taken.
    changed: HashSet<Arc<Topic>>,
    /// The number of connections of other proxies that announce. Those proxies announce the same clients, so while there is
    /// one, this proxy announces nothing.
    announcing_proxies: usize,
}

#[derive(Debug)]
struct Connection {
    topics: HashSet<Arc<Topic>>,
    /// How many of the topics are shard channels, which the server counts separately.
    shard_channels: usize,
    destination: Destination,
    reading: Arc<Reading>,
    /// Whether the connection was stalled at the previous review.
    was_stalled: bool,
    /// Whether the connection contributes to the counts.
    counted: bool,
    /// Whether another proxy announces through the connection.
    is_announcing_proxy: bool,
}

/// Whether a connection is being read.
#[derive(Debug, Default)]
struct Reading {
    stalled: AtomicBool,
    behind: AtomicBool,
}

/// The entry of one connection in the registry. Dropping it ends all of the connection's subscriptions.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<SubscriptionRegistry>,
    id: u64,
    reading: Arc<Reading>,
}

impl SubscriptionRegistry {
    /// Creates a registry without connections.
    pub fn new(server: Arc<ServerTracker>) -> Arc<Self> {
        Arc::new(Self { server, state: Mutex::default(), decreased: Notify::new(), increased: Notify::new() })
    }

    /// Adds a connection that has no subscriptions yet.
    pub fn register(self: &Arc<Self>, destination: Destination) -> Registration {
        let reading = Arc::<Reading>::default();
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        let connection = Connection {
            topics: HashSet::new(),
            shard_channels: 0,
            destination,
            reading: Arc::clone(&reading),
            was_stalled: false,
            counted: self.server.is_reached_by(destination),
            is_announcing_proxy: false,
        };
        state.connections.insert(id, connection);
        Registration { registry: Arc::clone(self), id, reading }
    }

    /// Decides anew which connections are counted. Called before each heartbeat, it excludes the connections that have not
    /// been read since the previous call or lead to another server, and includes those for which that is over.
    pub fn review(&self) {
        let mut state = self.state();
        let State { connections, counts, changed, .. } = &mut *state;
        for connection in connections.values_mut() {
            let stalled = connection.reading.stalled.load(Ordering::Acquire);
            let unread = stalled && connection.was_stalled;
            connection.was_stalled = stalled;
            let counted = !unread && self.server.is_reached_by(connection.destination);
            if counted != connection.counted {
                connection.counted = counted;
                connection.topics.iter().for_each(|topic| adjust(counts, changed, topic, counted));
            }
        }
    }

    /// Whether a connection that is counted and subscribed has more to be read than has been read yet, as far as the proxy
    /// knows. What Redis has done to that connection may be among it.
    pub fn is_behind(&self) -> bool {
        let is_behind = |Connection { counted, topics, reading, .. }: &Connection| {
            let unread = || reading.stalled.load(Ordering::Acquire) || reading.behind.load(Ordering::Acquire);
            *counted && !topics.is_empty() && unread()
        };
        self.state().connections.values().any(is_behind)
    }

    /// Returns the topics whose count has changed since the previous call, each with its count now.
    pub fn take_changes(&self) -> Vec<(Arc<Topic>, u32)> {
        let mut state = self.state();
        let State { counts, changed, announcing_proxies, .. } = &mut *state;
        let hidden = *announcing_proxies > 0;
        let changes = changed.drain().map(|topic| {
            let count = counts.get(&topic).copied().unwrap_or_default();
            if count == 0 {
                counts.remove(&topic);
            }
            (topic, if hidden { 0 } else { count })
        });
        changes.collect()
    }

    /// Has the next [`take_changes`](Self::take_changes) return every topic.
    pub fn mark_all_changed(&self) {
        let State { counts, changed, .. } = &mut *self.state();
        changed.extend(counts.keys().cloned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves no change half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Records a change of the connection's subscriptions.
    pub fn apply(&self, change: SubscriptionChange) {
        let mut state = self.registry.state();
        let may_decrease = match change {
            SubscriptionChange::Confirmed { kind, begun, name, count } => {
                let topic = Topic { kind, name: name.into() };
                if begun {
                    state.add_subscription(self.id, topic);
                } else {
                    state.remove_subscription(self.id, &topic);
                }
                // Otherwise the registry has missed something, and nothing is certain any more.
                if !state.agrees_with_server(self.id, kind, count) {
                    state.remove_connection(self.id);
                }
                !begun || !state.connections.contains_key(&self.id) || state.announcing_proxies > 0
            }
            SubscriptionChange::Reset => {
                state.remove_all_subscriptions(self.id);
                true
            }
            SubscriptionChange::Untracked => {
                state.remove_connection(self.id);
                true
            }
        };
        drop(state);
        let changed = if may_decrease { &self.registry.decreased } else { &self.registry.increased };
        changed.notify_one();
    }

    /// Records whether the proxy has stopped reading the connection, because the client does not take what has come.
    pub fn set_stalled(&self, stalled: bool) {
        self.reading.stalled.store(stalled, Ordering::Release);
    }

    /// Records whether Redis may have sent more than the proxy has read, because other connections have their turn.
    pub fn set_behind(&self, behind: bool) {
        self.reading.behind.store(behind, Ordering::Release);
    }

    /// Ends all of the connection's subscriptions.
    pub fn close(&self) {
        if self.registry.state().remove_connection(self.id) {
            self.registry.decreased.notify_one();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn add_subscription(&mut self, id: u64, topic: Topic) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if topic.name.starts_with(RESERVED_PREFIX) && !connection.is_announcing_proxy {
            connection.is_announcing_proxy = true;
            self.announcing_proxies += 1;
            self.changed.extend(self.counts.keys().cloned());
        }
        let existing = self.counts.get_key_value(&topic).map(|(topic, _)| Arc::clone(topic));
        if connection.topics.len() >= MAX_SUBSCRIPTIONS || existing.is_none() && self.counts.len() >= MAX_TOPICS {
            self.remove_connection(id);
            return;
        }
        let topic = existing.unwrap_or_else(|| Arc::new(topic));
        if connection.topics.insert(Arc::clone(&topic)) {
            connection.shard_channels += usize::from(topic.kind == SubscriptionKind::Shard);
            if connection.counted {
                adjust(&mut self.counts, &mut self.changed, &topic, true);
            } else {
                self.counts.entry(topic).or_default();
            }
        }
    }

    fn remove_subscription(&mut self, id: u64, topic: &Topic) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(topic) = connection.topics.take(topic) else { return };
        connection.shard_channels -= usize::from(topic.kind == SubscriptionKind::Shard);
        if connection.counted {
            adjust(&mut self.counts, &mut self.changed, &topic, false);
        }
    }

    fn remove_all_subscriptions(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.shard_channels = 0;
        for topic in connection.topics.drain() {
            if connection.counted {
                adjust(&mut self.counts, &mut self.changed, &topic, false);
            }
        }
    }

    /// Returns false if the connection had been removed before.
    fn remove_connection(&mut self, id: u64) -> bool {
        self.remove_all_subscriptions(id);
        let Some(connection) = self.connections.remove(&id) else { return false };
        if connection.is_announcing_proxy {
            self.announcing_proxies -= 1;
            self.changed.extend(self.counts.keys().cloned());
        }
        true
    }

    /// Whether the server counts as many subscriptions of this kind as the registry. For a connection that has been removed
    /// there is nothing to compare.
    fn agrees_with_server(&self, id: u64, kind: SubscriptionKind, count: u64) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        let kept = match kind {
            SubscriptionKind::Shard => connection.shard_channels,
            _ => connection.topics.len() - connection.shard_channels,
        };
        kept as u64 == count
    }
}

fn adjust(counts: &mut HashMap<Arc<Topic>, u32>, changed: &mut HashSet<Arc<Topic>>, topic: &Arc<Topic>, up: bool) {
    let count = counts.entry(Arc::clone(topic)).or_default();
    *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
    changed.insert(Arc::clone(topic));
}

#[cfg(test)]
mod tests;
