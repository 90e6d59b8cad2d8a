use redistributed_core::trace::{PublishNumber, SpanContext, SpanId};

use super::recent::MAX_KEPT;
use super::window::MAX_OF_WINDOW;
use super::*;

mod chance;

const REDIS: u64 = 1;

fn at(millis: u64) -> UnixNanos {
    UnixNanos(1_000_000_000_000 + millis * MILLISECOND)
}

fn context(id: u64) -> Context {
    let text = format!("00-{id:032x}-00f067aa0ba902b7-01");
    SpanContext::parse_traceparent(text.as_bytes()).unwrap().into()
}

fn name(id: u64) -> TraceId {
    context(id).span.trace_id
}

/// The context of a publish on a connection of its own.
fn notice(of: u64, told: u64) -> Vec<Notice> {
    vec![notice_of(of, told, told, 0)]
}

fn notice_of(of: u64, told: u64, connection: u64, number: u32) -> Notice {
    let publish = PublishNumber { connection: SpanId::from_u64(connection).unwrap(), number };
    Notice { name: name(of), context: Some(context(told)), about: About::Message(publish) }
}

fn message(delivery: u64, connection: u32) -> Message {
    Message { delivery, subscription: (connection, 0), holds_id: false, derived: None, lateness: Arc::default() }
}

fn with_id(delivery: u64, connection: u32) -> Message {
    Message { holds_id: true, ..message(delivery, connection) }
}

/// A message that waits no longer, and the context that was told of it.
type Matched = (u64, Option<Context>);

/// The messages that wait no longer. From none of their names a context follows.
fn taken(messages: &mut Messages, now: u64) -> Vec<Matched> {
    let told = |(delivery, found)| match found {
        Found::Context(context) => (delivery, Some(context)),
        Found::Nothing => (delivery, None),
        Found::Derived(derived) => panic!("{derived:?}"),
    };
    messages.take_decided(at(now)).into_iter().map(told).collect()
}

/// What is decided in each of these milliseconds, by when.
fn decided(messages: &mut Messages, from: u64, until: u64) -> Vec<(u64, Matched)> {
    (from..=until).flat_map(|now| taken(messages, now).into_iter().map(move |one| (now, one))).collect()
}

#[test]
fn the_only_context_is_that_of_the_only_message_once_nothing_more_has_come() {
    for is_told_first in [false, true] {
        let mut messages = Messages::default();
        if is_told_first {
            messages.heard(at(0), REDIS, notice(1, 10));
        }
        assert!(messages.delivered(at(1), REDIS, name(1), message(5, 1)));
        // Two connections are subscribed, and the second one has a context told by a pattern as well.
        assert!(messages.delivered(at(2), REDIS, name(1), message(6, 2)));
        messages.heard(at(3), REDIS, notice(1, 10));
        messages.heard(at(3), REDIS, notice(1, 10));
        let mut found = decided(&mut messages, 3, 300);
        found.sort_by_key(|(_, (delivery, _))| *delivery);
        let expected = [(5, Some(context(10))), (6, Some(context(10)))];
        assert_eq!(found.iter().map(|(_, found)| found.clone()).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|(when, _)| (53..110).contains(when)), "{found:?}");
        assert!(messages.is_empty());
    }
}

#[test]
fn a_payload_that_holds_an_id_is_certain_sooner() {
    let mut messages = Messages::default();
    messages.delivered(at(0), REDIS, name(1), with_id(5, 1));
    messages.heard(at(1), REDIS, notice(1, 10));
    assert_eq!(decided(&mut messages, 1, 300), [(11, (5, Some(context(10))))]);
    // The context may come some time later.
    messages.delivered(at(400), REDIS, name(2), with_id(6, 1));
    assert_eq!(decided(&mut messages, 400, 500), []);
    messages.heard(at(501), REDIS, notice(2, 20));
    assert_eq!(decided(&mut messages, 501, 900), [(511, (6, Some(context(20))))]);
}

#[test]
fn of_the_same_bytes_nothing_is_said_if_they_are_not_one_message_with_one_context() {
    type Comes<'a> = &'a dyn Fn(&mut Messages, u64);
    let told = |told: u64| move |messages: &mut Messages, now| messages.heard(at(now), REDIS, notice(1, told));
    let comes = |id: u64, connection: u32| {
        move |messages: &mut Messages, now: u64| {
            let waits = messages.delivered(at(now), REDIS, name(1), message(id, connection));
            assert!(waits || messages.windows[&(REDIS, name(1))].is_in_doubt());
        }
    };
    let (a, b, first, second, other) = (told(10), told(11), comes(5, 1), comes(6, 1), comes(7, 2));
    let cases: [&[Comes<'_>]; 6] = [
        &[&first, &second, &a],
        &[&first, &a, &second],
        &[&a, &first, &second, &other],
        &[&a, &b, &first],
        &[&first, &a, &b],
        &[&first, &second, &a, &b],
    ];
    for case in cases {
        let mut messages = Messages::default();
        for (now, comes) in case.iter().enumerate() {
            comes(&mut messages, now as u64 * 9);
        }
        let found = decided(&mut messages, 0, 400);
        assert!(messages.is_empty() && found.iter().all(|(_, (_, context))| context.is_none()), "{found:?}");
        // For a while there is reason for doubt.
        assert!(!messages.delivered(at(5_000), REDIS, name(1), message(8, 1)));
        messages.heard(at(5_000), REDIS, notice(1, 12));
        assert_eq!(decided(&mut messages, 5_000, 6_000), []);
        assert!(messages.delivered(at(5_000 + 10_001), REDIS, name(1), message(9, 1)), "and then not any more");
        assert!(messages.delivered(at(5_000), REDIS + 1, name(1), message(9, 1)), "at another Redis there is none");
    }
}

/// Delivers the message with this id to a connection, which has to wait for its context.
fn waits(messages: &mut Messages, now: u64, delivery: u64, connection: u32) {
    assert!(messages.delivered(at(now), REDIS, name(1), message(delivery, connection)));
}

/// Which context each message got, in the order of the messages.
fn sorted(found: Vec<(u64, Matched)>) -> Vec<Matched> {
    let mut found: Vec<_> = found.into_iter().map(|(_, one)| one).collect();
    found.sort_by_key(|(delivery, _)| *delivery);
    found
}

#[test]
fn the_same_bytes_of_one_connection_are_matched_in_their_order() {
    let mut messages = Messages::default();
    // Notices may come in another order than the messages, and several times, and there are gaps between their numbers.
    messages.heard(at(0), REDIS, vec![notice_of(1, 12, 9, 70), notice_of(1, 10, 9, 3)]);
    for (nth, delivery) in [100, 101, 102].into_iter().enumerate() {
        waits(&mut messages, 1 + nth as u64, delivery, 1);
        let pattern = Message { subscription: (1, 77), ..message(delivery + 100, 1) };
        assert!(messages.delivered(at(1 + nth as u64), REDIS, name(1), pattern));
    }
    (0..3).for_each(|nth| waits(&mut messages, 20 + nth, 300 + nth, 2));
    messages.heard(at(40), REDIS, vec![notice_of(1, 11, 9, 4), notice_of(1, 10, 9, 3)]);
    let found = decided(&mut messages, 1, 400);
    assert!(found.iter().all(|(when, _)| (90..150).contains(when)), "{found:?}");
    let expected = [100, 200, 300].into_iter().flat_map(|first| (0..3).map(move |nth| (first + nth, 10 + nth)));
    let expected: Vec<_> = expected.map(|(delivery, told)| (delivery, Some(context(told)))).collect();
    assert_eq!(sorted(found), expected);
    // There is no reason for doubt.
    waits(&mut messages, 500, 400, 1);
    messages.heard(at(501), REDIS, vec![notice_of(1, 13, 9, 71)]);
    assert_eq!(sorted(decided(&mut messages, 501, 900)), [(400, Some(context(13)))]);
}

/// Whether two messages of one connection, and what comes with them, are matched.
fn are_two_matched(holds_id: bool, and: impl Fn(&mut Messages, &Arc<Lateness>)) -> bool {
    let (mut messages, lateness) = (Messages::default(), Arc::<Lateness>::default());
    for delivery in [1, 2] {
        let message = Message { holds_id, lateness: Arc::clone(&lateness), ..message(delivery, 1) };
        messages.delivered(at(delivery), REDIS, name(1), message);
    }
    messages.heard(at(3), REDIS, vec![notice_of(1, 10, 9, 0), notice_of(1, 11, 9, 1)]);
    and(&mut messages, &lateness);
    let found = sorted(decided(&mut messages, 3, 600));
    assert!(messages.is_empty());
    let is_matched = found.iter().any(|(_, context)| context.is_some());
    if is_matched {
        assert_eq!(found[..2], [(1, Some(context(10))), (2, Some(context(11)))]);
    }
    assert_eq!(messages.is_doubted(at(700), (REDIS, name(1))), !is_matched);
    is_matched
}

#[test]
fn of_the_same_bytes_none_is_matched_where_their_order_is_not_certain() {
    for holds_id in [false, true] {
        let are_matched = |and: &dyn Fn(&mut Messages, &Arc<Lateness>)| are_two_matched(holds_id, and);
        assert!(are_matched(&|_, _| {}));
        assert!(are_matched(&|messages, _| messages.heard(at(4), REDIS, vec![notice_of(2, 12, 8, 1)])));
        // A publish of another connection, or a further one of the same whose message has not come, as where it came to others
        // only.
        assert!(!are_matched(&|messages, _| messages.heard(at(4), REDIS, notice(1, 12))));
        assert!(!are_matched(&|messages, _| messages.heard(at(4), REDIS, vec![notice_of(1, 12, 9, 2)])));
        // Two contexts of one publish.
        assert!(!are_matched(&|messages, _| messages.heard(at(4), REDIS, vec![notice_of(1, 12, 9, 1)])));
        // A message of somebody without a proxy, or of a publish that was not told, before they are decided.
        let further = |now, connection| {
            move |messages: &mut Messages, _: &Arc<Lateness>| {
                messages.delivered(at(now), REDIS, name(1), message(3, connection));
            }
        };
        assert!(!are_matched(&further(40, 1)));
        // Another subscription has got fewer: it has begun or ended in between.
        assert!(!are_matched(&further(4, 2)));
        // This one has ended, and somebody else may have published what it got before.
        assert!(!are_matched(&|_, lateness| lateness.ended(at(30))));
        assert!(!are_matched(&|messages, _| messages.interrupt()));
        assert!(!are_matched(&|_, lateness| lateness.behind(at(1), true)));
    }
    // One that is young may have begun in between, even if what it gets holds an id.
    let mut messages = Messages::default();
    for delivery in [1, 2] {
        let message = with_id(delivery, 1);
        message.lateness.subscribed(at(0));
        assert!(messages.delivered(at(delivery), REDIS, name(1), message));
    }
    messages.heard(at(3), REDIS, vec![notice_of(1, 10, 9, 0), notice_of(1, 11, 9, 1)]);
    assert!(sorted(decided(&mut messages, 3, 600)).iter().all(|(_, context)| context.is_none()));
}

#[test]
fn a_context_that_comes_while_a_subscription_is_young_is_of_no_message_that_comes_later() {
    for young_at in [0, 1] {
        let mut messages = Messages::default();
        let message = message(5, 1);
        message.lateness.subscribed(at(young_at));
        // It is of a message before the subscription, unless nobody has begun one for long.
        messages.heard(at(250), REDIS, notice(1, 10));
        assert!(messages.delivered(at(260), REDIS, name(1), message));
        let expected = (young_at == 0).then(|| context(10));
        assert_eq!(sorted(decided(&mut messages, 260, 600)), [(5, expected)]);
    }
}

#[test]
fn what_comes_after_the_same_bytes_were_decided_is_not_of_them() {
    let mut messages = Messages::default();
    (1..=3).for_each(|delivery| waits(&mut messages, delivery, delivery, 1));
    messages.heard(at(4), REDIS, vec![notice_of(1, 10, 9, 0), notice_of(1, 11, 9, 1)]);
    let found = decided(&mut messages, 4, 400);
    assert!(found.iter().all(|(when, (_, context))| (251..320).contains(when) && context.is_none()), "{found:?}");
    messages.heard(at(401), REDIS, vec![notice_of(1, 12, 9, 2)]);
    assert!(!messages.delivered(at(402), REDIS, name(1), message(4, 1)) && messages.is_empty());
}

#[test]
fn a_context_that_is_told_again_after_its_message_was_found_is_of_no_other_message() {
    let mut messages = Messages::default();
    for (now, delivery) in [(0, 1), (400, 2)] {
        // Somebody who tells nothing may have published the second one.
        assert!(messages.delivered(at(now), REDIS, name(1), with_id(delivery, 1)));
        messages.heard(at(now + 1), REDIS, vec![notice_of(1, 10, 9, 0)]);
        let expected = (delivery == 1).then(|| context(10));
        assert_eq!(sorted(decided(&mut messages, now + 1, now + 390)), [(delivery, expected)]);
    }
}

#[test]
fn the_same_bytes_without_a_quiet_moment_are_matched_to_nothing_and_end_all_the_same() {
    for holds_id in [false, true] {
        let (mut messages, mut most, mut longest) = (Messages::default(), 0, 0);
        for now in 0..2_000 {
            messages.delivered(at(now), REDIS, name(1), Message { holds_id, ..message(now, 1) });
            messages.heard(at(now), REDIS, vec![notice_of(1, 10 + now, 9, now as u32)]);
            for (delivery, context) in taken(&mut messages, now) {
                assert_eq!(context, None);
                longest = longest.max(now - delivery);
            }
            most = most.max(messages.windows.len() + messages.due.len() + messages.due_soon.len());
        }
        assert!(longest <= (PATIENCE + 2 * QUIET) / MILLISECOND && most < 10, "{longest} {most}");
    }
}

#[test]
fn of_too_many_messages_with_the_same_bytes_none_is_matched() {
    for (count, is_matched) in [(MAX_OF_WINDOW / 2, true), (MAX_OF_WINDOW / 2 + 1, false)] {
        let mut messages = Messages::default();
        let told = (0..count).map(|nth| notice_of(1, 10 + nth as u64, 9, nth as u32)).collect();
        messages.heard(at(0), REDIS, told);
        for nth in 0..count as u64 {
            messages.delivered(at(1), REDIS, name(1), message(nth, 1));
        }
        let found = sorted(decided(&mut messages, 1, 400));
        let expected = |nth: u64| is_matched.then(|| context(10 + nth));
        assert!(found.len() + 1 >= count && found.iter().all(|(nth, context)| *context == expected(*nth)));
    }
}

#[test]
fn what_is_alone_for_too_long_is_not_matched_with_what_comes_later() {
    let mut messages = Messages::default();
    messages.delivered(at(0), REDIS, name(1), message(5, 1));
    let found = decided(&mut messages, 0, 400);
    assert!(matches!(found[..], [(250..=300, (5, None))]), "{found:?}");
    messages.heard(at(401), REDIS, notice(1, 10));
    assert!(!messages.delivered(at(402), REDIS, name(1), message(6, 1)));
    // The same where a context comes without a message.
    messages.heard(at(401), REDIS, notice(2, 20));
    assert_eq!(decided(&mut messages, 401, 900), []);
    assert!(!messages.delivered(at(901), REDIS, name(2), message(7, 1)));
    // With an id there is no doubt before anything contradicts.
    messages.delivered(at(901), REDIS, name(3), with_id(8, 1));
    assert!(matches!(decided(&mut messages, 901, 1_300)[..], [(_, (8, None))]));
    assert!(messages.delivered(at(1_301), REDIS, name(3), with_id(9, 1)));
}

#[test]
fn a_connection_that_lags_behind_puts_what_it_gets_in_doubt() {
    let mut messages = Messages::default();
    messages.delivered(at(0), REDIS, name(1), message(5, 1));
    messages.heard(at(1), REDIS, notice(1, 10));
    let late = message(6, 2);
    late.lateness.stalled(at(2), true);
    assert!(!messages.delivered(at(2), REDIS, name(1), late));
    assert!(matches!(decided(&mut messages, 2, 400)[..], [(_, (5, None))]));
    messages.delivered(at(500), REDIS, name(2), message(7, 1));
    messages.begin(at(400));
    assert!(messages.delivered(at(501), REDIS, name(3), message(8, 1)), "nothing was missed before it began");
    messages.begin(at(501));
    assert!(!messages.delivered(at(501), REDIS, name(4), message(9, 1)));
    messages.heard(at(502), REDIS, notice(2, 20));
    let found = decided(&mut messages, 502, 900);
    assert!(matches!(found[..], [(_, (7, None)), (_, (8, None))]), "events were missed: {found:?}");
    assert!(messages.delivered(at(1_002), REDIS, name(5), message(10, 1)));
}

#[test]
fn nothing_is_decided_before_all_is_read_that_had_come() {
    for holds_id in [false, true] {
        let (mut messages, message) = (Messages::default(), Message { holds_id, ..message(5, 1) });
        message.lateness.behind(at(0), true);
        messages.delivered(at(0), REDIS, name(1), message.clone());
        messages.heard(at(1), REDIS, notice(1, 10));
        assert_eq!(decided(&mut messages, 1, 150), []);
        message.lateness.behind(at(150), false);
        assert!(matches!(&decided(&mut messages, 151, 250)[..], [(_, (5, Some(_)))]));
        // One that is behind all the time is not waited for.
        message.lateness.behind(at(300), true);
        messages.delivered(at(300), REDIS, name(2), message);
        messages.heard(at(301), REDIS, notice(2, 20));
        assert!(matches!(&decided(&mut messages, 301, 900)[..], [(_, (5, None))]));
    }
}

#[test]
fn a_message_of_which_nothing_was_told_has_what_follows_from_its_name_unless_that_is_in_doubt() {
    let derived = context(1).span;
    let named = |delivery, connection| Message { derived: Some(derived), ..with_id(delivery, connection) };
    let found = |and: &dyn Fn(&mut Messages)| {
        let mut messages = Messages::default();
        assert!(messages.is_first(REDIS, name(1)));
        messages.delivered(at(0), REDIS, name(1), named(1, 1));
        assert!(!messages.is_first(REDIS, name(1)) && messages.is_first(REDIS, name(2)));
        // Another subscription gets it too.
        messages.delivered(at(3), REDIS, name(1), named(2, 2));
        and(&mut messages);
        let decided = (4..=500).flat_map(|now| messages.take_decided(at(now)).into_iter().map(move |one| (now, one)));
        let mut found: Vec<_> = decided.collect();
        found.sort_by_key(|(_, (delivery, _))| *delivery);
        found
    };
    let of = |found: Found| [(250, (1, found.clone())), (250, (2, found))];
    // What waits for it waits as long and no longer.
    assert_eq!(found(&|_| {}), of(Found::Derived(derived)));
    let told = found(&|messages| messages.heard(at(5), REDIS, notice(1, 10)));
    assert!(told.iter().all(|(_, (_, found))| *found == Found::Context(context(10))), "{told:?}");
    let doubts: [&dyn Fn(&mut Messages); 4] = [
        &|messages| assert!(messages.delivered(at(9), REDIS, name(1), named(3, 2))),
        &|messages| messages.heard(at(5), REDIS, [notice(1, 10), notice(1, 11)].concat()),
        &|messages| messages.heard(at(5), REDIS, vec![notice_of(1, 10, 9, 0), notice_of(1, 11, 9, 1)]),
        &Messages::interrupt,
    ];
    for doubt in doubts {
        let found = found(doubt);
        assert!(found.len() >= 2 && found.iter().all(|(_, (_, found))| *found == Found::Nothing), "{found:?}");
    }
}

#[test]
fn memory_is_bounded_and_time_empties_it() {
    let mut messages = Messages::default();
    for id in 0..100_000 {
        messages.delivered(at(1), REDIS, name(id + 1), message(id, 1));
        messages.heard(at(1), REDIS, notice(id + 200_000, 1));
    }
    let given_up = taken(&mut messages, 1);
    assert!(messages.windows.len() <= MAX_WINDOWS && messages.doubted.lens() == (MAX_KEPT, MAX_KEPT));
    let rest: Vec<_> = decided(&mut messages, 2, 400).into_iter().map(|(_, one)| one).collect();
    assert_eq!(given_up.len() + rest.len(), 100_000, "each of them is told that it waits no longer");
    assert!(given_up.iter().chain(&rest).all(|(_, context)| context.is_none()));
    messages.take_decided(at(20_000));
    let sizes = (messages.windows.len(), messages.doubted.lens(), messages.found.lens(), messages.due.len());
    assert_eq!((sizes, messages.due_soon.len()), ((0, (0, 0), (0, 0), 0), 0));
}

#[test]
fn where_nobody_tells_anything_messages_are_not_named_until_somebody_does() {
    let mut messages = Messages::default();
    messages.begin(at(0));
    for id in 0..MOST_IN_VAIN {
        assert!(messages.are_awaited());
        messages.delivered(at(id), REDIS, name(id + 1), with_id(id, 1));
        messages.take_decided(at(id));
    }
    messages.take_decided(at(MOST_IN_VAIN + 1_000));
    assert!(!messages.are_awaited());
    let now = MOST_IN_VAIN + 2_000;
    messages.heard(at(now), REDIS, notice(1, 10));
    assert!(messages.are_awaited());
    // What was told may be of a message that came before.
    assert!(!messages.delivered(at(now + 1), REDIS, name(1), message(1, 1)));
    assert!(messages.delivered(at(now + 501), REDIS, name(2), message(2, 1)));
}

#[test]
fn contexts_are_likely_for_a_minute_after_one_was_told() {
    let mut messages = Messages::default();
    assert!(!messages.is_likely(at(0), REDIS));
    messages.heard(at(0), REDIS, notice(1, 10));
    assert!(messages.is_likely(at(59_999), REDIS) && !messages.is_likely(at(60_000), REDIS));
    assert!(!messages.is_likely(at(1), REDIS + 1));
}
