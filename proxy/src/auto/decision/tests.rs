//! Single decisions. The proof that they are right is tested in `model`.

use std::time::Duration;

use SubscriptionKind::{Channel, Pattern, Shard};

use super::*;

pub(super) const SECOND: u64 = 1_000_000_000;

/// A heartbeat of an announcer that sends one with every snapshot.
pub(super) fn heartbeat(announcer: u64, sequence: u64) -> Vec<u8> {
    let heartbeat = Heartbeat { sequence, interval: Duration::from_secs(1), search_limit: 1000 + announcer };
    Announcement::from(heartbeat).to_channel(AnnouncerId(announcer))
}

pub(super) fn subscribers(announcer: u64, kind: SubscriptionKind, name: &str, serial: u64, count: u32) -> Vec<u8> {
    let topic = Topic::new(kind, name.as_bytes());
    Announcement::Subscribers { topic, serial, count }.to_channel(AnnouncerId(announcer))
}

pub(super) fn channel(name: &str) -> Topic {
    Topic::new(Channel, name.as_bytes())
}

/// An evaluator that is given a snapshot each second.
#[derive(Default)]
struct Polled {
    evaluator: Evaluator,
    snapshots: u64,
}

impl Polled {
    /// The decision on `ch` after a snapshot with `announcements` and a new heartbeat of announcers 1 and 2.
    fn snapshot(&mut self, subscribers: u64, announcements: &[Vec<u8>]) -> Result<u32, NotProven> {
        self.snapshot_with(subscribers, announcements, |_| {})
    }

    /// The same after `change` has been made to the snapshot.
    fn snapshot_with(
        &mut self,
        subscribers: u64,
        announcements: &[Vec<u8>],
        change: impl FnOnce(&mut Snapshot),
    ) -> Result<u32, NotProven> {
        self.decide(subscribers, announcements, change).map(|receivers| receivers.count)
    }

    fn decide(&mut self, subscribers: u64, announcements: &[Vec<u8>], change: impl FnOnce(&mut Snapshot)) -> Decision {
        self.snapshots += 1;
        let heartbeats = [heartbeat(1, self.snapshots), heartbeat(2, self.snapshots)];
        let mut snapshot = Snapshot {
            at: self.snapshots * SECOND,
            announcements: [&heartbeats, announcements].concat(),
            subscribers: [(channel("ch"), subscribers)].into(),
            ..Snapshot::default()
        };
        change(&mut snapshot);
        let decisions = self.evaluator.evaluate(&snapshot);
        decisions.into_iter().find(|(topic, _)| *topic.name == *b"ch").unwrap().1
    }

    /// The decision on the first snapshot that can prove the receivers, if all are the same.
    fn proven(&mut self, subscribers: u64, announcements: &[Vec<u8>]) -> Result<u32, NotProven> {
        for _ in 0..HEARTBEATS_TO_PROVE {
            self.snapshot(subscribers, announcements).unwrap_err();
        }
        self.snapshot(subscribers, announcements)
    }
}

#[test]
fn receivers_are_proven_by_three_more_heartbeats() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 2), subscribers(2, Channel, "ch", 1, 1)];
    for _ in 0..HEARTBEATS_TO_PROVE {
        assert_eq!(polled.snapshot(3, &announcements), Err(NotProven::Proving));
    }
    assert_eq!(polled.snapshot(3, &announcements), Ok(3));
    assert_eq!(polled.snapshot(4, &announcements), Err(NotProven::Unproxied), "one subscriber more is not announced");
    assert_eq!(polled.snapshot(3, &announcements), Err(NotProven::Proving), "the proof begins anew");
}

#[test]
fn a_new_announcement_begins_the_proof_anew() {
    let mut polled = Polled::default();
    assert_eq!(polled.proven(1, &[subscribers(1, Channel, "ch", 1, 1)]), Ok(1));
    for (announcer, serial, what) in [(1, 2, "another serial number"), (2, 2, "another announcer")] {
        let announcements = [subscribers(announcer, Channel, "ch", serial, 1)];
        assert_eq!(polled.snapshot(1, &announcements), Err(NotProven::Proving), "{what}");
    }
}

#[test]
fn more_or_fewer_subscribers_than_announced_are_not_proven() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 2)];
    for count in [0, 1, 3] {
        for _ in 0..2 * HEARTBEATS_TO_PROVE {
            assert_eq!(polled.snapshot(count, &announcements), Err(NotProven::Unproxied));
        }
    }
    assert_eq!(polled.snapshot(0, &[]), Err(NotProven::Nobody));
}

#[test]
fn an_announcer_without_recent_heartbeats_is_not_trusted() {
    let mut polled = Polled::default();
    let announced = subscribers(3, Channel, "ch", 1, 1);
    assert_eq!(polled.snapshot(1, std::slice::from_ref(&announced)), Err(NotProven::Unproxied), "it has sent none");
    let with_heartbeat = |sequence| [announced.clone(), heartbeat(3, sequence)];
    for sequence in 1..=HEARTBEATS_TO_PROVE {
        assert_eq!(polled.snapshot(1, &with_heartbeat(sequence)), Err(NotProven::Proving));
    }
    for _ in 0..=MISSED_HEARTBEATS {
        assert_eq!(polled.snapshot(1, &with_heartbeat(4)), Ok(1));
    }
    assert_eq!(polled.snapshot(1, &with_heartbeat(4)), Err(NotProven::Unproxied), "three heartbeats are missing");
    assert_eq!(polled.snapshot(1, &with_heartbeat(5)), Err(NotProven::Proving));
}

#[test]
fn of_two_announcements_of_one_announcer_the_smaller_counts() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 3), subscribers(1, Channel, "ch", 2, 1)];
    assert_eq!(polled.proven(1, &announcements), Ok(1));
    assert_eq!(polled.snapshot(4, &announcements), Err(NotProven::Unproxied));
}

#[test]
fn the_search_limit_is_the_smallest_of_the_announcers_concerned() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 1), subscribers(2, Channel, "ch", 1, 1)];
    polled.proven(2, &announcements).unwrap();
    let decision = polled.decide(2, &announcements, |_| {});
    assert_eq!(decision, Ok(ProvenReceivers { count: 2, search_limit: 1001, proven_at: 2 }));
}

#[test]
fn a_pattern_counts_where_it_matches_and_every_pattern_must_be_announced() {
    let announcements =
        [subscribers(1, Channel, "ch", 1, 1), subscribers(1, Pattern, "c*", 2, 2), subscribers(2, Pattern, "x*", 1, 1)];
    let patterns = |count, subscriptions| {
        move |snapshot: &mut Snapshot| {
            snapshot.patterns = count;
            snapshot.pattern_subscriptions = subscriptions;
        }
    };
    let mut polled = Polled::default();
    assert_eq!(polled.snapshot_with(1, &announcements, patterns(2, None)), Err(NotProven::Pattern));
    assert!(polled.evaluator.needs_client_list(), "only that shows whether every subscription is announced");
    for _ in 0..HEARTBEATS_TO_PROVE {
        assert_eq!(polled.snapshot_with(1, &announcements, patterns(2, Some(3))), Err(NotProven::Proving));
    }
    assert_eq!(polled.snapshot_with(1, &announcements, patterns(2, Some(3))), Ok(3));
    for (count, subscriptions, what) in [(2, Some(4), "one subscription more"), (3, Some(3), "one pattern more")] {
        let decision = polled.snapshot_with(1, &announcements, patterns(count, subscriptions));
        assert_eq!(decision, Err(NotProven::Pattern), "{what}");
    }
}

#[test]
fn where_no_pattern_matches_it_is_enough_that_all_are_announced() {
    let announcements = [subscribers(1, Channel, "ch", 1, 1), subscribers(2, Pattern, "x*", 1, 1)];
    let mut polled = Polled::default();
    for _ in 0..HEARTBEATS_TO_PROVE {
        let decision = polled.snapshot_with(1, &announcements, |snapshot| snapshot.patterns = 1);
        assert_eq!(decision, Err(NotProven::Proving));
    }
    assert_eq!(polled.snapshot_with(1, &announcements, |snapshot| snapshot.patterns = 1), Ok(1));
    assert!(!polled.evaluator.needs_client_list());
}

#[test]
fn a_pattern_that_redis_may_read_differently_counts_as_a_match() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 1), subscribers(1, Pattern, "x[", 2, 1)];
    let decision = polled.snapshot_with(1, &announcements, |snapshot| snapshot.patterns = 1);
    assert_eq!(decision, Err(NotProven::Pattern));
}

#[test]
fn shard_channels_are_independent_of_channels_and_patterns() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Shard, "ch", 1, 1)];
    let shard = |count| {
        move |snapshot: &mut Snapshot| {
            snapshot.subscribers = [(Topic::new(Shard, b"ch"), count)].into();
            snapshot.patterns = 7;
        }
    };
    for _ in 0..HEARTBEATS_TO_PROVE {
        assert_eq!(polled.snapshot_with(0, &announcements, shard(1)), Err(NotProven::Proving));
    }
    assert_eq!(polled.snapshot_with(0, &announcements, shard(1)), Ok(1));
    assert_eq!(polled.snapshot(1, &announcements), Err(NotProven::Unproxied));
}

#[test]
fn receivers_on_other_servers_cannot_be_proven() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 1)];
    polled.proven(1, &announcements).unwrap();
    for reason in [NotProven::Replicas, NotProven::Cluster] {
        let decision = polled.snapshot_with(1, &announcements, |snapshot| snapshot.other_servers = Some(reason));
        assert_eq!(decision, Err(reason));
    }
}

#[test]
fn receivers_are_proven_by_the_answers_of_all_announcers_concerned() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 2), subscribers(2, Channel, "ch", 1, 1)];
    let with_answers = |answers: &[(u64, u64)]| {
        let answers = answers
            .iter()
            .map(|(announcer, token)| Announcement::Checked { token: *token }.to_channel(AnnouncerId(*announcer)));
        announcements.iter().cloned().chain(answers).collect::<Vec<_>>()
    };
    let asked = |polled: &Polled| polled.evaluator.to_ask().map(|announcer| announcer.0).collect::<Vec<_>>();
    assert_eq!(polled.snapshot(3, &announcements), Err(NotProven::Proving));
    assert_eq!(asked(&polled), [1, 2]);
    polled.evaluator.ask(AnnouncerId(1), 10, SECOND);
    polled.evaluator.ask(AnnouncerId(2), 20, SECOND);
    assert!(polled.evaluator.awaits_answer());
    let soon = |snapshot: &mut Snapshot| snapshot.at = SECOND + ANSWER_TIME;
    for answers in [&[][..], &[(1, 10)], &[(1, 10), (2, 10)], &[(1, 10), (2, 21)]] {
        let announcements = with_answers(answers);
        assert_eq!(polled.snapshot_with(3, &announcements, soon), Err(NotProven::Proving), "{answers:?}");
        polled.snapshots -= 1;
        assert!(polled.evaluator.awaits_answer() && asked(&polled).is_empty(), "{answers:?}");
    }
    assert_eq!(polled.snapshot_with(3, &with_answers(&[(1, 10), (2, 20)]), soon), Ok(3));
    assert!(!polled.evaluator.awaits_answer());
    polled.snapshots -= 1;
    let changed = [subscribers(1, Channel, "ch", 2, 2), announcements[1].clone()];
    assert_eq!(polled.snapshot_with(3, &changed, soon), Err(NotProven::Proving), "what was checked is over");
    assert_eq!(asked(&polled), [1, 2], "they are asked anew");
}

#[test]
fn an_announcer_that_does_not_answer_is_not_asked_again_at_once() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 1)];
    let mut at = |after: u64| {
        let _ = polled.snapshot_with(1, &announcements, |snapshot| snapshot.at = SECOND + after);
        polled.snapshots -= 1;
        let evaluator = &mut polled.evaluator;
        let asked = evaluator.to_ask().next().is_some();
        if asked {
            evaluator.ask(AnnouncerId(1), after, SECOND + after);
        }
        (asked, evaluator.awaits_answer())
    };
    assert_eq!(at(0), (true, true));
    assert_eq!(at(ANSWER_TIME), (false, true));
    assert_eq!(at(ANSWER_TIME + 1), (false, false));
    assert_eq!(at(ASKING_PAUSE), (false, false));
    assert_eq!(at(ASKING_PAUSE + 1), (true, true));
}

#[test]
fn subscriptions_to_patterns_are_proven_where_all_of_them_are_announced() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Pattern, "c*", 1, 2), subscribers(2, Pattern, "x*", 1, 1)];
    let subscriptions = |count| {
        move |snapshot: &mut Snapshot| {
            snapshot.patterns = 2;
            snapshot.pattern_subscriptions = count;
        }
    };
    for _ in 0..=HEARTBEATS_TO_PROVE {
        let _ = polled.snapshot_with(0, &announcements, subscriptions(Some(3)));
        assert!(polled.evaluator.patterns().is_none(), "nobody wants to know");
    }
    polled.evaluator.want_patterns(true);
    assert!(polled.evaluator.needs_client_list());
    for _ in 0..HEARTBEATS_TO_PROVE {
        let _ = polled.snapshot_with(0, &announcements, subscriptions(Some(3)));
        assert!(polled.evaluator.patterns().is_none());
    }
    let _ = polled.snapshot_with(0, &announcements, subscriptions(Some(3)));
    let receivers = polled.evaluator.patterns().expect("all are proven");
    assert_eq!((receivers.counts.matching(b"c"), receivers.search_limit), (2, 1001));
    for (count, what) in [(Some(4), "one subscription is not announced"), (None, "they were not counted")] {
        let _ = polled.snapshot_with(0, &announcements, subscriptions(count));
        assert!(polled.evaluator.patterns().is_none(), "{what}");
    }
}

#[test]
fn an_invalidated_topic_is_proven_anew_by_later_heartbeats_only() {
    let mut polled = Polled::default();
    let announcements = [subscribers(1, Channel, "ch", 1, 1)];
    polled.proven(1, &announcements).unwrap();
    polled.evaluator.invalidate(&channel("ch"));
    assert_eq!(polled.proven(1, &announcements), Ok(1));
}
