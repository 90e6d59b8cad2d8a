//! How many connections of this proxy are subscribed to what, as far as their messages are surely searched.
//!
//! Each connection's subscriptions are kept as the server has confirmed them. A connection is left out for good when its
//! subscriptions can no longer be vouched for, and for a while when it is not being read: then it would not be noticed if
//! Redis had closed it. Counting too few is always safe, counting too many is not.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redistributed_core::service::{Subscription, SubscriptionKind};
use tokio::sync::Notify;

use super::home::{Home, Whereabouts};
use super::marker::{FAMILY, Name};

/// Most subscriptions of one connection that are kept; with more it is left out.
pub const MAX_OF_CONNECTION: usize = 4096;

/// Most different names that are kept for a route; a connection that would need more is left out.
pub const MAX_NAMES: usize = 65_536;

/// The subscriptions of one route.
#[derive(Debug)]
pub struct Ledger {
    home: Arc<Home>,
    state: Mutex<State>,
    /// Something has become less.
    pub shrunk: Notify,
}

#[derive(Debug, Default)]
struct State {
    connections: HashMap<u64, Connection>,
    last: u64,
    /// Connections that count, of each name; with none it stays until it has been told.
    counts: HashMap<Arc<Name>, u32>,
    /// Names whose number has changed since it was told.
    changed: HashSet<Arc<Name>>,
    /// Connections behind which another proxy announces: it counts the same clients.
    proxies: usize,
}

#[derive(Debug)]
struct Connection {
    names: HashSet<Arc<Name>>,
    /// How many of them are shard channels, which the server counts apart.
    shards: usize,
    whereabouts: Whereabouts,
    stalled: Arc<AtomicBool>,
    /// Whether it was stalled at the last beat too.
    was_stalled: bool,
    /// Whether its names are in the counts.
    counted: bool,
    /// Whether another proxy announces through it.
    is_proxy: bool,
}

/// A connection's part of the ledger. Dropping it ends all of its subscriptions.
#[derive(Debug)]
pub struct Registration {
    ledger: Arc<Ledger>,
    id: u64,
    stalled: Arc<AtomicBool>,
}

impl Ledger {
    /// Of a route without connections.
    pub fn new(home: Arc<Home>) -> Arc<Self> {
        Arc::new(Self { home, state: Mutex::default(), shrunk: Notify::new() })
    }

    /// A new connection without subscriptions.
    pub fn open(self: &Arc<Self>, whereabouts: Whereabouts) -> Registration {
        let stalled = Arc::<AtomicBool>::default();
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        let connection = Connection {
            names: HashSet::new(),
            shards: 0,
            whereabouts,
            stalled: Arc::clone(&stalled),
            was_stalled: false,
            counted: self.home.holds(whereabouts),
            is_proxy: false,
        };
        state.connections.insert(id, connection);
        Registration { ledger: Arc::clone(self), id, stalled }
    }

    /// To be called before each beat: leaves out the connections that have not been read for a whole period, or lead to
    /// another server, and takes in those that are well again.
    pub fn inspect(&self) {
        let mut state = self.state();
        let State { connections, counts, changed, .. } = &mut *state;
        for connection in connections.values_mut() {
            let stalled = connection.stalled.load(Ordering::Acquire);
            let unread = stalled && connection.was_stalled;
            connection.was_stalled = stalled;
            let counts_now = !unread && self.home.holds(connection.whereabouts);
            if counts_now != connection.counted {
                connection.counted = counts_now;
                connection.names.iter().for_each(|name| adjust(counts, changed, name, counts_now));
            }
        }
    }

    /// The names whose number has changed since the last call, with what it is now.
    pub fn changes(&self) -> Vec<(Arc<Name>, u32)> {
        let mut state = self.state();
        let State { counts, changed, proxies, .. } = &mut *state;
        let hidden = *proxies > 0;
        let told = changed.drain().map(|name| {
            let count = counts.get(&name).copied().unwrap_or_default();
            if count == 0 {
                counts.remove(&name);
            }
            (name, if hidden { 0 } else { count })
        });
        told.collect()
    }

    /// All names count as changed: nobody has been told of any.
    pub fn tell_all(&self) {
        let State { counts, changed, .. } = &mut *self.state();
        changed.extend(counts.keys().cloned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Takes over what the session reports.
    pub fn apply(&self, report: Subscription) {
        let mut state = self.ledger.state();
        let fewer = match report {
            Subscription::Confirmed { kind, begun, name, count } => {
                let name = Name { kind, text: name.into() };
                if begun {
                    state.begin(self.id, name)
                } else {
                    state.end(self.id, &name)
                };
                // What the server counts must be what is kept.
                if !state.agrees(self.id, kind, count) {
                    state.remove(self.id);
                }
                !begun || !state.connections.contains_key(&self.id) || state.proxies > 0
            }
            Subscription::Reset => {
                state.clear(self.id);
                true
            }
            Subscription::Unaccountable => {
                state.remove(self.id);
                true
            }
        };
        drop(state);
        if fewer {
            self.ledger.shrunk.notify_one();
        }
    }

    /// Whether the connection is not being read, because its client does not take what has come.
    pub fn stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// The connection is over, or about to be.
    pub fn close(&self) {
        if self.ledger.state().remove(self.id) {
            self.ledger.shrunk.notify_one();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn begin(&mut self, id: u64, name: Name) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if name.text.starts_with(FAMILY) && !connection.is_proxy {
            connection.is_proxy = true;
            self.proxies += 1;
            self.changed.extend(self.counts.keys().cloned());
        }
        let kept = self.counts.get_key_value(&name).map(|(name, _)| Arc::clone(name));
        if connection.names.len() >= MAX_OF_CONNECTION || kept.is_none() && self.counts.len() >= MAX_NAMES {
            self.remove(id);
            return;
        }
        let name = kept.unwrap_or_else(|| Arc::new(name));
        if connection.names.insert(Arc::clone(&name)) {
            connection.shards += usize::from(name.kind == SubscriptionKind::Shard);
            if connection.counted {
                adjust(&mut self.counts, &mut self.changed, &name, true);
            } else {
                self.counts.entry(name).or_default();
            }
        }
    }

    fn end(&mut self, id: u64, name: &Name) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(name) = connection.names.take(name) else { return };
        connection.shards -= usize::from(name.kind == SubscriptionKind::Shard);
        if connection.counted {
            adjust(&mut self.counts, &mut self.changed, &name, false);
        }
    }

    fn clear(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.shards = 0;
        for name in connection.names.drain() {
            if connection.counted {
                adjust(&mut self.counts, &mut self.changed, &name, false);
            }
        }
    }

    /// Whether the connection was there.
    fn remove(&mut self, id: u64) -> bool {
        self.clear(id);
        let Some(connection) = self.connections.remove(&id) else { return false };
        if connection.is_proxy {
            self.proxies -= 1;
            self.changed.extend(self.counts.keys().cloned());
        }
        true
    }

    fn agrees(&self, id: u64, kind: SubscriptionKind, count: u64) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        let kept = match kind {
            SubscriptionKind::Shard => connection.shards,
            _ => connection.names.len() - connection.shards,
        };
        kept as u64 == count
    }
}

fn adjust(counts: &mut HashMap<Arc<Name>, u32>, changed: &mut HashSet<Arc<Name>>, name: &Arc<Name>, more: bool) {
    let count = counts.entry(Arc::clone(name)).or_default();
    *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
    changed.insert(Arc::clone(name));
}

#[cfg(test)]
mod tests;
