use std::net::SocketAddr;

use SubscriptionKind::{Channel, Pattern, Shard};

use super::super::server_identity::ServerIdentity;
use super::*;

fn server(run_id: &str) -> ServerIdentity {
    ServerIdentity { peer: peer(), run_id: run_id.into() }
}

fn peer() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 6379).into())
}

fn registry() -> Arc<SubscriptionRegistry> {
    let tracker = Arc::<ServerTracker>::default();
    tracker.connected(&server("a"));
    SubscriptionRegistry::new(tracker)
}

/// Adds a connection to the current server.
fn register(registry: &Arc<SubscriptionRegistry>) -> Registration {
    registry.register(registry.server.destination(peer()))
}

fn subscribed(kind: SubscriptionKind, name: &str, count: u64) -> SubscriptionChange {
    SubscriptionChange::Confirmed { kind, begun: true, name: name.into(), count }
}

fn unsubscribed(kind: SubscriptionKind, name: &str, count: u64) -> SubscriptionChange {
    SubscriptionChange::Confirmed { kind, begun: false, name: name.into(), count }
}

type Change = (SubscriptionKind, String, u32);

fn change(kind: SubscriptionKind, name: &str, count: u32) -> Change {
    (kind, name.to_owned(), count)
}

fn changes(registry: &SubscriptionRegistry) -> Vec<Change> {
    let changes = registry.take_changes().into_iter();
    let mut changes: Vec<_> =
        changes.map(|(topic, count)| change(topic.kind, &String::from_utf8_lossy(&topic.name), count)).collect();
    changes.sort();
    changes
}

#[test]
fn connections_are_counted_for_each_topic() {
    let registry = registry();
    let (first, second) = (register(&registry), register(&registry));
    first.apply(subscribed(Channel, "a", 1));
    first.apply(subscribed(Channel, "a", 1));
    first.apply(subscribed(Pattern, "a", 2));
    first.apply(subscribed(Shard, "a", 1));
    second.apply(subscribed(Channel, "a", 1));
    let all = [change(Channel, "a", 2), change(Pattern, "a", 1), change(Shard, "a", 1)];
    assert_eq!(changes(&registry), all, "a connection that subscribes twice counts once");
    assert_eq!(changes(&registry), [], "the changes have been taken");
    first.apply(unsubscribed(Channel, "a", 1));
    first.apply(unsubscribed(Channel, "never", 1));
    assert_eq!(changes(&registry), [change(Channel, "a", 1)]);
    second.apply(SubscriptionChange::Reset);
    assert_eq!(changes(&registry), [change(Channel, "a", 0)]);
    drop(first);
    assert_eq!(changes(&registry), [change(Pattern, "a", 0), change(Shard, "a", 0)]);
    assert!(registry.state().counts.is_empty(), "topics without subscribers take memory");
}

#[test]
fn a_connection_whose_server_counts_differently_is_excluded_for_good() {
    let registry = registry();
    for (kind, count) in [(Channel, 3), (Shard, 2)] {
        let connection = register(&registry);
        connection.apply(subscribed(Channel, "a", 1));
        assert_eq!(changes(&registry), [change(Channel, "a", 1)]);
        connection.apply(subscribed(kind, "b", count));
        connection.apply(subscribed(Channel, "c", 3));
        let taken = changes(&registry);
        assert!(taken.contains(&change(Channel, "a", 0)) && taken.iter().all(|(_, _, count)| *count == 0), "{taken:?}");
    }
}

#[test]
fn a_connection_is_excluded_while_it_is_not_read_from_one_review_to_the_next() {
    let registry = registry();
    let connection = register(&registry);
    connection.apply(subscribed(Channel, "a", 1));
    changes(&registry);
    connection.set_stalled(true);
    registry.review();
    assert_eq!(changes(&registry), [], "it may have stalled just now");
    registry.review();
    assert_eq!(changes(&registry), [change(Channel, "a", 0)]);
    connection.apply(subscribed(Channel, "b", 2));
    assert_eq!(changes(&registry), [], "an excluded connection adds nothing");
    connection.set_stalled(false);
    registry.review();
    assert_eq!(changes(&registry), [change(Channel, "a", 1), change(Channel, "b", 1)]);
}

#[test]
fn a_connection_to_another_server_is_excluded() {
    let registry = registry();
    let (same, other) = (register(&registry), registry.register(registry.server.destination(None)));
    same.apply(subscribed(Channel, "a", 1));
    other.apply(subscribed(Channel, "a", 1));
    assert_eq!(changes(&registry), [change(Channel, "a", 1)]);
    registry.server.disconnected();
    registry.server.connected(&server("b"));
    registry.review();
    assert_eq!(changes(&registry), [change(Channel, "a", 0)], "another server has taken over the address");
    register(&registry).apply(subscribed(Channel, "a", 1));
    assert_eq!(changes(&registry), [change(Channel, "a", 0)], "that connection has been closed again");
}

#[test]
fn nothing_is_announced_while_another_proxy_announces_through_this_one() {
    let registry = registry();
    let (service, proxy) = (register(&registry), register(&registry));
    service.apply(subscribed(Channel, "a", 1));
    changes(&registry);
    proxy.apply(subscribed(Channel, "__redistributed:1:0000000000000001:b:1:1000:1", 1));
    service.apply(subscribed(Channel, "b", 2));
    let taken = changes(&registry);
    assert!(taken.len() >= 2 && taken.iter().all(|(_, _, count)| *count == 0), "{taken:?}");
    drop(proxy);
    let taken = changes(&registry);
    assert!(taken.contains(&change(Channel, "a", 1)) && taken.contains(&change(Channel, "b", 1)), "{taken:?}");
}

#[test]
fn a_connection_with_too_many_subscriptions_is_excluded() {
    let registry = registry();
    let connection = register(&registry);
    for index in 0..MAX_SUBSCRIPTIONS {
        connection.apply(subscribed(Channel, &index.to_string(), index as u64 + 1));
    }
    assert_eq!(changes(&registry).len(), MAX_SUBSCRIPTIONS);
    connection.apply(subscribed(Channel, "one more", MAX_SUBSCRIPTIONS as u64 + 1));
    assert!(changes(&registry).iter().all(|(_, _, count)| *count == 0));
    assert!(registry.state().connections.is_empty() && registry.state().counts.is_empty());
}

#[test]
fn a_connection_that_needs_too_many_topics_is_excluded() {
    let registry = registry();
    let connections: Vec<_> = (0..=MAX_TOPICS / MAX_SUBSCRIPTIONS).map(|_| register(&registry)).collect();
    for (index, connection) in connections.iter().enumerate() {
        for topic in 0..MAX_SUBSCRIPTIONS {
            connection.apply(subscribed(Channel, &format!("{index} {topic}"), topic as u64 + 1));
        }
    }
    let state = registry.state();
    assert_eq!((state.counts.len(), state.connections.len()), (MAX_TOPICS, connections.len() - 1));
}

#[tokio::test]
async fn whoever_waits_for_a_decrease_is_woken_by_nothing_else() {
    let registry = registry();
    let connection = register(&registry);
    let is_notified = |registry: &SubscriptionRegistry| {
        let mut notified = std::pin::pin!(registry.decreased.notified());
        notified.as_mut().enable()
    };
    connection.apply(subscribed(Channel, "a", 1));
    assert!(!is_notified(&registry));
    connection.apply(unsubscribed(Channel, "a", 0));
    assert!(is_notified(&registry));
    connection.apply(SubscriptionChange::Untracked);
    assert!(is_notified(&registry));
    drop(register(&registry));
    assert!(is_notified(&registry));
}
