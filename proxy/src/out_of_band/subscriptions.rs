//! The subscriptions of clients, whose messages other proxies may tell the contexts of.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redistributed_core::carrier::out_of_band::{CompanionChannel, MessagesOf};
use redistributed_core::service::{SubscriptionChange, SubscriptionKind};
use tokio::sync::Notify;

/// The most subscriptions of one connection that are listened for. Messages of further ones get no context.
const MAX_OF_CONNECTION: usize = 4096;

/// The most different subscriptions that are listened for.
const MAX_SUBSCRIPTIONS: usize = 65_536;

/// The beginning of channels whose messages never have a context.
const RESERVED: &[u8] = b"__";

/// What the connections of an endpoint are subscribed to.
#[derive(Debug, Default)]
pub struct Subscriptions {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of subscribed connections, by the companion of what they are subscribed to.
    counts: HashMap<CompanionChannel, u32>,
    /// The companions of what has begun or ended since the changes were taken last.
    changed: HashSet<CompanionChannel>,
}

/// The subscriptions of one connection. They end with it.
#[derive(Debug)]
pub struct SubscriptionsOfConnection {
    all: Arc<Subscriptions>,
    own: HashSet<CompanionChannel>,
}

impl Subscriptions {
    /// Adds a connection, which is not subscribed to anything.
    pub fn of_connection(self: &Arc<Self>) -> SubscriptionsOfConnection {
        SubscriptionsOfConnection { all: Arc::clone(self), own: HashSet::new() }
    }

    /// Completes when something has begun or ended.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether nobody is subscribed to anything.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().counts.is_empty()
    }

    /// The companions that are to be listened to from now on, and those that are not any more. With `all` it is as if nothing had been
    /// taken before.
    pub(super) fn take_changes(&self, all: bool) -> (Vec<CompanionChannel>, Vec<CompanionChannel>) {
        let State { counts, changed } = &mut *self.lock();
        if all {
            changed.clear();
            return (counts.keys().cloned().collect(), Vec::new());
        }
        changed.drain().partition(|companion| counts.contains_key(companion))
    }

    fn begin(&self, companion: &CompanionChannel) -> bool {
        let State { counts, changed } = &mut *self.lock();
        if let Some(count) = counts.get_mut(companion) {
            *count += 1;
            return true;
        }
        if counts.len() >= MAX_SUBSCRIPTIONS {
            return false;
        }
        counts.insert(companion.clone(), 1);
        changed.insert(companion.clone());
        self.changed.notify_one();
        true
    }

    fn end(&self, companion: CompanionChannel) {
        let State { counts, changed } = &mut *self.lock();
        let Some(count) = counts.get_mut(&companion) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&companion);
            changed.insert(companion);
            self.changed.notify_one();
        }
    }

    /// A panic elsewhere leaves the tables whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubscriptionsOfConnection {
    /// Takes a change of the connection's subscriptions.
    pub fn apply(&mut self, change: &SubscriptionChange) {
        match change {
            SubscriptionChange::Confirmed { kind, begun, name, .. } => {
                let of = match kind {
                    SubscriptionKind::Channel => MessagesOf::Channel,
                    SubscriptionKind::Shard => MessagesOf::ShardChannel,
                    SubscriptionKind::Pattern => MessagesOf::Pattern,
                };
                let companion = CompanionChannel::Messages(of, name.as_slice().into());
                if !begun {
                    if self.own.remove(&companion) {
                        self.all.end(companion);
                    }
                } else if self.own.len() < MAX_OF_CONNECTION
                    && !name.starts_with(RESERVED)
                    && !self.own.contains(&companion)
                    && self.all.begin(&companion)
                {
                    self.own.insert(companion);
                }
            }
            SubscriptionChange::Reset | SubscriptionChange::Untracked => self.end_all(),
        }
    }

    fn end_all(&mut self) {
        self.own.drain().for_each(|companion| self.all.end(companion));
    }
}

impl Drop for SubscriptionsOfConnection {
    fn drop(&mut self) {
        self.end_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: SubscriptionKind, begun: bool, name: &str) -> SubscriptionChange {
        SubscriptionChange::Confirmed { kind, begun, name: name.into(), count: 1 }
    }

    fn names(companions: &[CompanionChannel]) -> Vec<String> {
        let mut names: Vec<_> =
            companions.iter().map(|companion| String::from_utf8(companion.name()).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_any_connection_is_subscribed_to_is_listened_for_until_the_last_one_ends() {
        use SubscriptionKind::{Channel, Pattern, Shard};
        let all = Arc::<Subscriptions>::default();
        let (mut one, mut other) = (all.of_connection(), all.of_connection());
        one.apply(&change(Channel, true, "a"));
        one.apply(&change(Channel, true, "a"));
        one.apply(&change(Pattern, true, "a*"));
        other.apply(&change(Channel, true, "a"));
        other.apply(&change(Shard, true, "a"));
        other.apply(&change(Channel, true, "__keyspace@0__:a"));
        let (begun, ended) = all.take_changes(false);
        let prefix = "__redistributed:message:1:";
        assert_eq!(names(&begun), ["c:a", "p:a*", "s:a"].map(|name| format!("{prefix}{name}")));
        assert!(ended.is_empty());
        one.apply(&change(Channel, false, "a"));
        assert_eq!(all.take_changes(false), (vec![], vec![]), "the other one is still subscribed");
        assert_eq!(all.take_changes(true).0.len(), 3, "a new connection listens to all of them");
        other.apply(&SubscriptionChange::Untracked);
        assert_eq!(names(&all.take_changes(false).1), ["c:a", "s:a"].map(|name| format!("{prefix}{name}")));
        one.apply(&change(Channel, true, "b"));
        one.apply(&change(Channel, false, "b"));
        let (begun, ended) = all.take_changes(false);
        assert_eq!((begun.len(), names(&ended)), (0, vec![format!("{prefix}c:b")]), "to end it once more does no harm");
        drop(one);
        assert!(all.is_empty());
    }

    #[test]
    fn further_subscriptions_than_there_may_be_are_left_out() {
        let all = Arc::<Subscriptions>::default();
        let mut connection = all.of_connection();
        for number in 0..=MAX_OF_CONNECTION {
            connection.apply(&change(SubscriptionKind::Channel, true, &number.to_string()));
        }
        assert_eq!(all.take_changes(false).0.len(), MAX_OF_CONNECTION);
        connection.apply(&SubscriptionChange::Reset);
        assert!(all.is_empty());
    }
}
