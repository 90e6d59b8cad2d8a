use std::net::SocketAddr;

use SubscriptionKind::{Channel, Pattern, Shard};

use super::super::home::Server;
use super::*;

fn peer() -> Option<SocketAddr> {
    Some(([127, 0, 0, 1], 6379).into())
}

/// A ledger whose connections lead to the right server.
fn ledger() -> Arc<Ledger> {
    let home = Arc::<Home>::default();
    home.found(Server { peer: peer(), run_id: b"a".to_vec() });
    Ledger::new(home)
}

fn open(ledger: &Arc<Ledger>) -> Registration {
    ledger.open(ledger.home.note(peer()))
}

fn confirmed(kind: SubscriptionKind, begun: bool, name: &str, count: u64) -> Subscription {
    Subscription::Confirmed { kind, begun, name: name.into(), count }
}

/// What has changed, in order.
fn changes(ledger: &Ledger) -> Vec<(SubscriptionKind, String, u32)> {
    let text = |name: &Name| String::from_utf8_lossy(&name.text).into_owned();
    let mut changes: Vec<_> =
        ledger.changes().into_iter().map(|(name, count)| (name.kind, text(&name), count)).collect();
    changes.sort();
    changes
}

fn change(kind: SubscriptionKind, name: &str, count: u32) -> (SubscriptionKind, String, u32) {
    (kind, name.to_owned(), count)
}

#[test]
fn connections_are_counted_by_what_they_are_subscribed_to() {
    let ledger = ledger();
    let (first, second) = (open(&ledger), open(&ledger));
    first.apply(confirmed(Channel, true, "a", 1));
    first.apply(confirmed(Channel, true, "a", 1));
    first.apply(confirmed(Pattern, true, "a", 2));
    first.apply(confirmed(Shard, true, "a", 1));
    second.apply(confirmed(Channel, true, "a", 1));
    let all = [change(Channel, "a", 2), change(Pattern, "a", 1), change(Shard, "a", 1)];
    assert_eq!(changes(&ledger), all, "twice by one connection is once");
    assert_eq!(changes(&ledger), [], "it has been told");
    first.apply(confirmed(Channel, false, "a", 1));
    first.apply(confirmed(Channel, false, "never", 1));
    assert_eq!(changes(&ledger), [change(Channel, "a", 1)]);
    second.apply(Subscription::Reset);
    assert_eq!(changes(&ledger), [change(Channel, "a", 0)]);
    drop(first);
    assert_eq!(changes(&ledger), [change(Pattern, "a", 0), change(Shard, "a", 0)]);
    assert!(ledger.state().counts.is_empty(), "names that nobody uses are kept");
}

#[test]
fn a_connection_whose_server_counts_otherwise_is_left_out_for_good() {
    let ledger = ledger();
    for (kind, count) in [(Channel, 3), (Shard, 2)] {
        let connection = open(&ledger);
        connection.apply(confirmed(Channel, true, "a", 1));
        assert_eq!(changes(&ledger), [change(Channel, "a", 1)]);
        connection.apply(confirmed(kind, true, "b", count));
        connection.apply(confirmed(Channel, true, "c", 3));
        let told = changes(&ledger);
        assert!(told.contains(&change(Channel, "a", 0)) && told.iter().all(|(_, _, count)| *count == 0), "{told:?}");
    }
}

#[test]
fn a_connection_that_is_not_read_for_a_period_is_left_out_until_it_is() {
    let ledger = ledger();
    let connection = open(&ledger);
    connection.apply(confirmed(Channel, true, "a", 1));
    changes(&ledger);
    connection.stalled(true);
    ledger.inspect();
    assert_eq!(changes(&ledger), [], "it may just have begun");
    ledger.inspect();
    assert_eq!(changes(&ledger), [change(Channel, "a", 0)]);
    connection.apply(confirmed(Channel, true, "b", 2));
    assert_eq!(changes(&ledger), [], "nothing of it counts");
    connection.stalled(false);
    ledger.inspect();
    assert_eq!(changes(&ledger), [change(Channel, "a", 1), change(Channel, "b", 1)]);
}

#[test]
fn a_connection_to_another_server_is_left_out() {
    let ledger = ledger();
    let (here, elsewhere) = (open(&ledger), ledger.open(ledger.home.note(None)));
    here.apply(confirmed(Channel, true, "a", 1));
    elsewhere.apply(confirmed(Channel, true, "a", 1));
    assert_eq!(changes(&ledger), [change(Channel, "a", 1)]);
    ledger.home.broke();
    ledger.home.found(Server { peer: peer(), run_id: b"b".to_vec() });
    ledger.inspect();
    assert_eq!(changes(&ledger), [change(Channel, "a", 0)], "the address leads elsewhere now");
    open(&ledger).apply(confirmed(Channel, true, "a", 1));
    assert_eq!(changes(&ledger), [change(Channel, "a", 0)], "opened and closed");
}

#[test]
fn where_another_proxy_announces_nothing_is_announced() {
    let ledger = ledger();
    let (service, proxy) = (open(&ledger), open(&ledger));
    service.apply(confirmed(Channel, true, "a", 1));
    changes(&ledger);
    proxy.apply(confirmed(Channel, true, "__redistributed:1:0000000000000001:b:1:1000:1", 1));
    service.apply(confirmed(Channel, true, "b", 2));
    let told = changes(&ledger);
    assert!(told.len() >= 2 && told.iter().all(|(_, _, count)| *count == 0), "{told:?}");
    drop(proxy);
    let told = changes(&ledger);
    assert!(told.contains(&change(Channel, "a", 1)) && told.contains(&change(Channel, "b", 1)), "{told:?}");
}

#[test]
fn what_would_take_too_much_memory_is_left_out() {
    let ledger = ledger();
    let connection = open(&ledger);
    for index in 0..MAX_OF_CONNECTION {
        connection.apply(confirmed(Channel, true, &index.to_string(), index as u64 + 1));
    }
    assert_eq!(changes(&ledger).len(), MAX_OF_CONNECTION);
    connection.apply(confirmed(Channel, true, "one more", MAX_OF_CONNECTION as u64 + 1));
    assert!(changes(&ledger).iter().all(|(_, _, count)| *count == 0));
    assert!(ledger.state().connections.is_empty() && ledger.state().counts.is_empty());

    let connections: Vec<_> = (0..=MAX_NAMES / MAX_OF_CONNECTION).map(|_| open(&ledger)).collect();
    for (index, connection) in connections.iter().enumerate() {
        for name in 0..MAX_OF_CONNECTION {
            connection.apply(confirmed(Channel, true, &format!("{index} {name}"), name as u64 + 1));
        }
    }
    let state = ledger.state();
    assert_eq!((state.counts.len(), state.connections.len()), (MAX_NAMES, connections.len() - 1));
}

#[tokio::test]
async fn only_what_becomes_less_is_urgent() {
    let ledger = ledger();
    let connection = open(&ledger);
    let urgent = |ledger: &Ledger| {
        let mut notified = std::pin::pin!(ledger.shrunk.notified());
        notified.as_mut().enable()
    };
    connection.apply(confirmed(Channel, true, "a", 1));
    assert!(!urgent(&ledger));
    connection.apply(confirmed(Channel, false, "a", 0));
    assert!(urgent(&ledger));
    connection.apply(Subscription::Unaccountable);
    assert!(urgent(&ledger));
    drop(open(&ledger));
    assert!(urgent(&ledger));
}
