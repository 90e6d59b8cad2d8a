use SubscriptionKind::{Channel, Shard};

use super::*;
use crate::redis::Refusal;

const ALONE: &str = "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n";
const NO_CLUSTER: &str = "# Cluster\r\ncluster_enabled:0\r\n";

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn counts(pairs: &[(&str, i64)]) -> Reply {
    Reply::Array(pairs.iter().flat_map(|(name, count)| [bulk(name), Reply::Integer(*count)]).collect())
}

fn refused(line: &str) -> Reply {
    Reply::Error(Refusal::new(line))
}

fn query<'a>(channels: &'a [Topic], shard_channels: &'a [Topic]) -> Query<'a> {
    Query {
        channels: channels.iter().collect(),
        shard_channels: shard_channels.iter().collect(),
        known: None,
        all_channels: false,
        with_clients: false,
        ignore_replicas: false,
    }
}

/// The replies to a query whose transaction has these results.
fn executed(query: &Query<'_>, results: Vec<Reply>) -> VecDeque<Reply> {
    let queued = (0..query.requests().len() - 2).map(|_| Reply::Status(b"QUEUED".to_vec()));
    let replies = std::iter::once(Reply::Status(b"OK".to_vec())).chain(queued);
    replies.chain([Reply::Array(results)]).collect()
}

fn read(query: &Query<'_>, results: Vec<Reply>) -> Result<QueryResult, Unanswered> {
    query.read(7, executed(query, results))
}

#[test]
fn a_snapshot_that_searches_reports_all_announcements_and_how_many_channels_there_are() {
    let (channels, shard_channels) = ([Topic::new(Channel, b"a")], [Topic::new(Shard, b"a")]);
    let query = Query { with_clients: true, ..query(&channels, &shard_channels) };
    let results = vec![
        bulk(ALONE),
        bulk(NO_CLUSTER),
        bulk("# Stats\r\npubsub_channels:12\r\n"),
        Reply::Array(vec![bulk("announcement 1"), bulk("announcement 2")]),
        Reply::Integer(3),
        counts(&[("a", 4)]),
        counts(&[("a", 5)]),
        bulk("id=1 psub=2 ssub=0\nid=2 psub=4 ssub=0\n"),
    ];
    let QueryResult { snapshot, searched_channels } = read(&query, results).unwrap();
    assert_eq!(searched_channels, Some(12));
    assert_eq!(snapshot.at, 7);
    assert_eq!(snapshot.announcements, [b"announcement 1", b"announcement 2"]);
    assert_eq!(snapshot.subscribers, [(channels[0].clone(), 4), (shard_channels[0].clone(), 5)].into());
    assert_eq!((snapshot.patterns, snapshot.pattern_subscriptions), (3, Some(6)));
    assert_eq!((snapshot.other_servers, snapshot.active), (None, None));
}

#[test]
fn a_search_for_all_channels_tells_those_of_proxies_from_the_others() {
    let query = Query { all_channels: true, ..query(&[], &[]) };
    let results = vec![
        bulk(ALONE),
        bulk(NO_CLUSTER),
        bulk("# Stats\r\npubsub_channels:2\r\n"),
        Reply::Array(vec![bulk("orders"), bulk("__redistributed:1:x")]),
        Reply::Integer(0),
    ];
    let QueryResult { snapshot, .. } = read(&query, results).unwrap();
    assert_eq!(snapshot.announcements, [b"__redistributed:1:x"]);
    assert_eq!(snapshot.active, Some([b"orders".to_vec()].into()));
}

#[test]
fn a_snapshot_that_does_not_search_reports_the_known_announcements_that_are_still_in_place() {
    let known = Some(vec![b"here".to_vec(), b"gone".to_vec()]);
    let query = Query { known, ..query(&[], &[]) };
    let results = vec![bulk(ALONE), bulk(NO_CLUSTER), counts(&[("here", 1), ("gone", 0)]), Reply::Integer(0)];
    let QueryResult { snapshot, searched_channels } = read(&query, results).unwrap();
    assert_eq!((snapshot.announcements, searched_channels), (vec![b"here".to_vec()], None));
}

#[test]
fn other_servers_are_reported_unless_the_operator_says_that_nobody_subscribes_there() {
    let with_replica = "role:master\r\nconnected_slaves:1\r\n";
    let replica = "role:slave\r\nconnected_slaves:0\r\n";
    for (replication, cluster, ignore_replicas, expected) in [
        (ALONE, NO_CLUSTER, false, None),
        (with_replica, NO_CLUSTER, false, Some(NotProven::Replicas)),
        (with_replica, NO_CLUSTER, true, None),
        (replica, NO_CLUSTER, false, Some(NotProven::Replicas)),
        (ALONE, "cluster_enabled:1\r\n", true, Some(NotProven::Cluster)),
        (ALONE, "", true, Some(NotProven::Cluster)),
    ] {
        assert_eq!(other_servers(&bulk(replication), &bulk(cluster), ignore_replicas), expected, "{replication}");
    }
}

#[test]
fn a_missing_permission_is_told_apart_if_the_rest_can_be_asked_without_it() {
    let shard_channels = [Topic::new(Shard, b"a")];
    let query = Query { with_clients: true, ..query(&[], &shard_channels) };
    let with_refusal_at = |from_the_end: usize, line: &str| {
        let mut replies = executed(&query, Vec::new());
        let index = replies.len() - from_the_end;
        replies[index] = refused(line);
        *replies.back_mut().unwrap() = refused("EXECABORT Transaction discarded because of previous errors.");
        query.read(0, replies)
    };
    let no_permission = "NOPERM this user has no permissions";
    assert!(matches!(with_refusal_at(2, no_permission), Err(Unanswered::ClientListRefused)));
    assert!(matches!(with_refusal_at(2, "ERR unknown"), Err(Unanswered::Failed(Error::Refused(_)))));
    assert!(matches!(with_refusal_at(3, "ERR unknown subcommand"), Err(Unanswered::ShardChannelsRefused)));
    assert!(matches!(with_refusal_at(4, no_permission), Err(Unanswered::Failed(Error::Refused(_)))));
}

#[test]
fn replies_of_another_form_are_an_error() {
    let query = query(&[], &[]);
    let good = vec![bulk(ALONE), bulk(NO_CLUSTER), bulk("pubsub_channels:0\r\n"), counts(&[]), Reply::Integer(0)];
    assert!(read(&query, good.clone()).is_ok());
    for (index, bad) in [(2, bulk("")), (3, Reply::Integer(1)), (3, counts(&[("a", 1)])), (4, Reply::Integer(-1))] {
        let mut results = good.clone();
        results[index] = bad;
        assert!(matches!(read(&query, results), Err(Unanswered::Failed(Error::Protocol(_)))), "result {index}");
    }
    for len in 0..good.len() {
        assert!(matches!(read(&query, good[..len].to_vec()), Err(Unanswered::Failed(Error::Protocol(_)))), "{len}");
    }
    assert_eq!(sum_of_psub(&bulk("id=1 psub=1\nid=2\n")), None);
}
