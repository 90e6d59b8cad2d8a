use SubscriptionKind::{Channel, Pattern, Shard};

use super::*;

const NOW: u64 = 1_000;
const FOREVER: u64 = u64::MAX;

fn proven(count: u32) -> Decision {
    Ok(ProvenReceivers { count, search_limit: 1000, proven_at: 1 })
}

fn topic(kind: SubscriptionKind, name: &str) -> Topic {
    Topic::new(kind, name.as_bytes())
}

/// A cache of channels on which something was published just now.
fn cache_of(topics: &[Topic]) -> DecisionCache {
    let cache = DecisionCache::default();
    for topic in topics {
        assert_eq!(cache.receivers(topic.kind, &topic.name, NOW), Err(NotProven::NoEvidence));
    }
    cache
}

#[test]
fn receivers_are_unknown_until_a_snapshot_has_shown_them() {
    let cache = cache_of(&[topic(Channel, "ch"), topic(Shard, "ch")]);
    let mut polled = cache.topics_to_poll(0, 0, |_| false);
    polled.sort();
    assert_eq!(polled, [(topic(Channel, "ch"), false), (topic(Shard, "ch"), false)]);
    let decisions = vec![(topic(Channel, "ch"), proven(2)), (topic(Shard, "ch"), Err(NotProven::Unproxied))];
    assert_eq!(cache.update(decisions, FOREVER), []);
    let receivers = cache.receivers(Channel, b"ch", NOW).unwrap();
    assert_eq!((receivers.count, receivers.max_payload), (2, 1000));
    assert_eq!(cache.receivers(Shard, b"ch", NOW), Err(NotProven::Unproxied));
    assert_eq!(cache.counts(NOW), DecisionCounts { proven: 1, unknown: [(NotProven::Unproxied, 1)].into() });
}

#[test]
fn a_decision_holds_until_it_is_no_longer_fresh_or_the_cache_is_cleared() {
    let cache = cache_of(&[topic(Channel, "ch")]);
    cache.update(vec![(topic(Channel, "ch"), proven(2))], NOW);
    assert!(cache.receivers(Channel, b"ch", NOW).is_ok());
    assert_eq!(cache.receivers(Channel, b"ch", NOW + 1), Err(NotProven::NoEvidence));
    assert_eq!(cache.counts(NOW + 1).unknown, [(NotProven::NoEvidence, 1)].into());
    cache.update(vec![(topic(Channel, "ch"), proven(2))], FOREVER);
    assert!(cache.receivers(Channel, b"ch", NOW + 1).is_ok());
    cache.clear();
    assert_eq!(cache.receivers(Channel, b"ch", NOW), Err(NotProven::NoEvidence));
}

#[test]
fn a_contradiction_counts_at_once_and_outlasts_a_snapshot_that_was_asked_for_before() {
    let cache = cache_of(&[topic(Channel, "ch")]);
    let update = || cache.update(vec![(topic(Channel, "ch"), proven(2))], FOREVER);
    update();
    cache.contradict(cache.receivers(Channel, b"ch", NOW).unwrap().evidence);
    assert_eq!(cache.receivers(Channel, b"ch", NOW), Err(NotProven::Contradicted));
    assert_eq!(update(), [topic(Channel, "ch")], "that snapshot was asked for before the contradiction");
    assert_eq!(cache.receivers(Channel, b"ch", NOW), Err(NotProven::Contradicted));
    assert_eq!(cache.topics_to_poll(0, 0, |_| false), [(topic(Channel, "ch"), true)]);
    assert_eq!(update(), []);
    assert!(cache.receivers(Channel, b"ch", NOW).is_ok());
}

#[test]
fn an_idle_channel_is_removed_and_its_evidence_is_void() {
    let cache = cache_of(&[topic(Channel, "old")]);
    cache.update(vec![(topic(Channel, "old"), proven(2))], FOREVER);
    let evidence = cache.receivers(Channel, b"old", NOW).unwrap().evidence;
    assert_eq!(cache.topics_to_poll(NOW + 1, 0, |_| false), [], "nothing was published since");
    let _ = cache.receivers(Channel, b"new", NOW);
    cache.update(vec![(topic(Channel, "new"), proven(3))], FOREVER);
    cache.contradict(evidence);
    assert!(
        cache.receivers(Channel, b"new", NOW).is_ok(),
        "the evidence is that of the channel that had the slot before"
    );
    assert_eq!(cache.receivers(Channel, b"old", NOW), Err(NotProven::NoEvidence));
}

#[test]
fn channels_beyond_the_limit_are_added_when_others_have_been_removed() {
    let names: Vec<String> = (0..=MAX_CHANNELS).map(|index| index.to_string()).collect();
    let topics: Vec<_> = names.iter().map(|name| topic(Channel, name)).collect();
    let cache = cache_of(&topics);
    assert_eq!(cache.topics_to_poll(0, 0, |_| false).len(), MAX_CHANNELS);
    cache.topics_to_poll(NOW + 1, 0, |_| false);
    let last = topics.last().unwrap();
    let _ = cache.receivers(last.kind, &last.name, NOW);
    assert_eq!(cache.topics_to_poll(0, 0, |_| false), [(last.clone(), false)]);
}

#[test]
fn a_withdrawal_counts_at_once_on_the_channels_that_it_concerns() {
    let topics = [topic(Channel, "a"), topic(Channel, "b"), topic(Shard, "a")];
    let cache = cache_of(&topics);
    let is_proven = || topics.each_ref().map(|topic| cache.receivers(topic.kind, &topic.name, NOW).is_ok());
    for (withdrawal, left) in [
        (Withdrawal::Topics(vec![topic(Channel, "a"), topic(Channel, "not in the cache")]), [false, true, true]),
        (Withdrawal::Topics(vec![topic(Pattern, "x*")]), [false; 3]),
        (Withdrawal::Any, [false; 3]),
    ] {
        cache.topics_to_poll(0, 0, |_| false);
        cache.update(topics.iter().map(|topic| (topic.clone(), proven(1))).collect(), FOREVER);
        assert_eq!(is_proven(), [true; 3]);
        cache.withdraw(&withdrawal);
        assert_eq!(is_proven(), left, "{withdrawal:?}");
        assert_eq!(cache.receivers(Channel, b"a", NOW), Err(NotProven::Proving));
    }
}

#[test]
fn a_channel_on_which_nobody_subscribes_is_removed_sooner() {
    let cache = cache_of(&[topic(Channel, "reply-1"), topic(Channel, "orders")]);
    let decisions = vec![(topic(Channel, "reply-1"), Err(NotProven::Nobody)), (topic(Channel, "orders"), proven(1))];
    cache.update(decisions, FOREVER);
    assert_eq!(cache.topics_to_poll(0, NOW + 1, |_| false), [(topic(Channel, "orders"), false)]);
}

#[test]
fn an_announced_channel_has_a_decision_before_the_first_publish() {
    let cache = DecisionCache::default();
    let orders = topic(Channel, "orders");
    cache.adopt([&orders].into_iter());
    assert_eq!(cache.topics_to_poll(1, 1, |topic| *topic == orders), [(orders.clone(), false)]);
    cache.update(vec![(orders.clone(), proven(1))], FOREVER);
    assert_eq!(cache.receivers(Channel, b"orders", NOW).unwrap().count, 1);
    assert_eq!(cache.topics_to_poll(NOW + 1, NOW + 1, |_| false), [], "it is not announced any more");
}

#[test]
fn of_many_announced_channels_those_are_added_whose_names_are_like_those_of_publishes() {
    let cache = cache_of(&[topic(Channel, "celery-task-meta-2f1c77e4-0a4d-4b53-9d3e-beefbeefbeef")]);
    let others: Vec<_> = (0..2 * MAX_ADOPTED).map(|index| topic(Channel, &format!("other.{index}"))).collect();
    cache.adopt(others.iter());
    assert_eq!(cache.topics_to_poll(NOW, NOW, |_| true).len(), 1 + MAX_ADOPTED);
    let reply = topic(Channel, "celery-task-meta-00000000-cafe-4b53-9d3e-0a4d77e40a4d");
    cache.adopt([&reply].into_iter());
    assert!(cache.topics_to_poll(NOW, NOW, |_| true).contains(&(reply, false)));
    let many: Vec<_> = (0..MAX_CHANNELS)
        .map(|index| topic(Channel, &format!("celery-task-meta-{index:08}-0000-0000-0000-000000000000")))
        .collect();
    cache.adopt(many.iter());
    assert_eq!(cache.topics_to_poll(NOW, NOW, |_| true).len(), 1 + MAX_ADOPTED_BY_SHAPE, "publishes need room too");
}

#[test]
fn names_that_differ_in_an_id_have_one_shape() {
    for (name, expected) in [
        ("orders", "orders"),
        ("celery-task-meta-2f1c77e4-0a4d-4b53-abcd-beef00beefbe", "celery-task-meta-#-#-#-#-#"),
        ("user:17:events", "user:#:events"),
        ("a1.b.c_2", "#.b.c_#"),
        ("", ""),
    ] {
        assert_eq!(String::from_utf8_lossy(&shape(name.as_bytes())), expected);
    }
}
