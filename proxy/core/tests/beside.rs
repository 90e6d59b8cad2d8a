//! Contexts beside messages: what a session tells and awaits. Each conversation runs whole and byte by byte.

use std::sync::Arc;

use redistributed_core::carrier::out_of_band::{About, CompanionChannel, MessagesOf, Notice, notices_of};
use redistributed_core::carrier::{Carrier, trailer};
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Mode, OutOfBand};
use redistributed_core::service::{Audience, ExpectedReceivers, NotProven};
use redistributed_core::trace::{Change, PublishNumber, SpanRecord};
use redistributed_core::{Counter, Policy};

use crate::following::{CAUSE, Conversation, both_ways, following, span};
use crate::support::multibulk;

/// What names the message `hello` on `orders`, computed in Python as `docs/queues.md` says.
const NAME: &str = "1a30c92db2efbf8351a6aeaf16f0a15c";

fn beside(mode: Mode) -> Policy {
    let carriers = vec![(Glob::new("*").unwrap(), Carrier::Beside)];
    Policy { mode, carriers, out_of_band: OutOfBand::On, ..following(Commands::None) }
}

fn auto() -> Policy {
    Policy { mode: Mode::Auto, out_of_band: OutOfBand::On, ..following(Commands::None) }
}

fn told(span: &SpanRecord) -> Vec<(CompanionChannel, Notice)> {
    let told = notices_of(span).map(|(channel, notices)| notices.map(|notice| (channel.clone(), notice)).collect());
    told.unwrap_or_default()
}

fn publish(talk: &mut Conversation, payload: &str, reply: &str) -> SpanRecord {
    talk.client(&["PUBLISH", "orders", payload]);
    talk.server(reply);
    let spans = talk.spans();
    let [span] = &spans[..] else { panic!("{spans:?}") };
    span.clone()
}

#[test]
fn a_publish_is_told_with_its_reply_and_passes_as_it_came() {
    for mode in [Mode::Inject, Mode::Auto] {
        both_ways(&beside(mode), |mut talk| {
            let span = publish(&mut talk, "hello", ":2\r\n");
            assert_eq!(talk.driver.to_server, multibulk(&["PUBLISH", "orders", "hello"]));
            assert_eq!(span.handling.payload, Change::Skipped(Counter::SkippedBeside));
            let [(channel, notice)] = &told(&span)[..] else { panic!("{span:?}") };
            assert_eq!(*channel, CompanionChannel::Messages(MessagesOf::Channel, b"orders"[..].into()));
            assert_eq!(notice.context.as_ref().map(|context| context.span), Some(span.context));
            assert!(notice.name.to_string() == NAME, "{}", notice.name);
            for reply in [":0\r\n", "-NOPERM no\r\n"] {
                assert_eq!(told(&publish(&mut talk, "hello", reply)), [], "{reply}");
            }
        });
    }
}

/// The numbers of the publishes that are told of these spans, all of one connection.
fn numbers(spans: &[SpanRecord]) -> Vec<u32> {
    let of = |(_, notice): (CompanionChannel, Notice)| match notice.about {
        About::Message(publish) => publish,
        other => panic!("{other:?}"),
    };
    let numbers: Vec<PublishNumber> = spans.iter().flat_map(told).map(of).collect();
    assert!(numbers.iter().all(|number| number.connection == numbers[0].connection));
    numbers.iter().map(|number| number.number).collect()
}

#[test]
fn the_publishes_of_a_connection_are_told_with_their_numbers_whether_others_fail_or_nobody_gets_them() {
    both_ways(&beside(Mode::Inject), |mut talk| {
        for payload in ["hello", "other", "hello", "hello", "hello"] {
            talk.client(&["PUBLISH", "orders", payload]);
        }
        talk.server(":1\r\n:0\r\n-NOPERM no\r\n:2\r\n:1\r\n");
        assert_eq!(numbers(&talk.spans()), [0, 3, 4]);
        for words in [&["MULTI"][..], &["PUBLISH", "orders", "hello"], &["PUBLISH", "orders", "hello"], &["EXEC"]] {
            talk.client(words);
        }
        talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        assert_eq!(talk.spans(), [], "nothing is told before it is executed");
        talk.server("*2\r\n:1\r\n:1\r\n");
        assert_eq!(numbers(&talk.spans()), [5, 6]);
        for words in [&["MULTI"][..], &["PUBLISH", "orders", "hello"], &["EXEC"]] {
            talk.client(words);
        }
        talk.server("+OK\r\n+QUEUED\r\n*-1\r\n");
        let aborted = talk.spans();
        assert!(aborted.len() == 1 && told(&aborted[0]).is_empty(), "{aborted:?}");
    });
}

#[test]
fn a_publish_without_a_reply_is_not_told() {
    both_ways(&beside(Mode::Inject), |mut talk| {
        talk.client(&["CLIENT", "REPLY", "SKIP"]);
        talk.client(&["PUBLISH", "orders", "hello"]);
        talk.client(&["PUBLISH", "orders", "hello"]);
        talk.server(":1\r\n");
        assert_eq!(numbers(&talk.spans()), [1]);
        talk.client(&["CLIENT", "REPLY", "OFF"]);
        talk.client(&["PUBLISH", "orders", "hello"]);
        let spans = talk.spans();
        assert!(spans.len() == 1 && told(&spans[0]).is_empty(), "{spans:?}");
    });
    // What the connection's end takes along may have been executed or not.
    both_ways(&beside(Mode::Inject), |mut talk| {
        talk.client(&["PUBLISH", "orders", "hello"]);
        talk.driver.close();
        assert!(talk.spans().iter().all(|span| told(span).is_empty()));
    });
}

#[test]
fn the_inference_learns_when_subscriptions_begin_and_end_or_are_not_known_any_more() {
    both_ways(&beside(Mode::Inject), |mut talk| {
        talk.client(&["SUBSCRIBE", "orders"]);
        talk.server(SUBSCRIBED);
        assert_eq!(talk.changes(), [true]);
        talk.client(&["UNSUBSCRIBE", "orders"]);
        talk.server("*3\r\n$11\r\nunsubscribe\r\n$6\r\norders\r\n:0\r\n");
        assert_eq!(talk.changes(), [false]);
        talk.client(&["RESET"]);
        talk.server("+RESET\r\n");
        assert_eq!(talk.changes(), [false]);
        talk.server("no RESP\r\n");
        assert!(talk.changes().contains(&false), "messages may not be seen any more");
    });
}

/// A payload that holds an id besides other bytes, and the ids that follow from it, computed in Python as `docs/queues.md` says.
const WITH_ID: &str = r#"{"id":"550e8400-e29b-41d4-a716-446655440000"}"#;
const DERIVED: &str = "00-fa69e89ba1704b165547e41db20ee056-60bb6bf812bd42b2-01";

#[test]
fn a_publish_is_in_the_trace_that_follows_from_its_payload_or_has_a_link_to_it() {
    both_ways(&beside(Mode::Inject), |mut talk| {
        let first = publish(&mut talk, WITH_ID, ":1\r\n");
        assert_eq!((first.context.trace_id, first.link_of_message()), (span(DERIVED).trace_id, None));
        assert_eq!((first.parent, first.context.flags), (None, span(DERIVED).flags));
        assert_ne!(first.context.span_id, span(DERIVED).span_id, "somebody else may publish the same bytes");
        assert_eq!(told(&first)[0].1.name, span(DERIVED).trace_id);
        // The same bytes again have a trace of their own.
        talk.repeats();
        let again = publish(&mut talk, WITH_ID, ":1\r\n");
        assert_ne!(again.context.trace_id, span(DERIVED).trace_id);
        assert_eq!((again.link_of_message(), again.link), (Some(&span(DERIVED)), None));
        let caused = r#"{"id":"550e8400-e29b-41d4-a716-446655440001","caused":1}"#;
        let caused = publish(&mut talk, caused, ":1\r\n");
        assert_eq!(caused.parent, Some(span(CAUSE).span_id));
        assert!(caused.link_of_message().is_some_and(|link| link.trace_id == told(&caused)[0].1.name));
        for other in ["hello", "550e8400-e29b-41d4-a716-446655440000", "\"550e8400-e29b-41d4-a716-446655440000\""] {
            let other = publish(&mut talk, other, ":1\r\n");
            assert_ne!(other.context.trace_id, told(&other)[0].1.name, "libraries may publish it again");
            assert_eq!(other.link_of_message(), None);
        }
    });
    let silent = [following(Commands::None), Policy { out_of_band: OutOfBand::Off, ..beside(Mode::Inject) }];
    for policy in silent {
        both_ways(&policy, |mut talk| {
            let publish = publish(&mut talk, WITH_ID, ":1\r\n");
            assert_ne!(publish.context.trace_id, span(DERIVED).trace_id);
            assert_eq!(publish.link_of_message(), None);
        });
    }
}

#[test]
fn a_publish_whose_cause_becomes_known_later_moves_to_its_trace_with_a_link_to_what_follows_from_its_payload() {
    let policy = beside(Mode::Inject);
    both_ways(&policy, |mut talk| {
        let payload = r#"{"id":"550e8400-e29b-41d4-a716-446655440002","later":1}"#;
        let mut publish = publish(&mut talk, payload, ":1\r\n");
        let derived = publish.context.trace_id;
        assert_eq!(publish.link_of_message(), None);
        policy.attribute(&mut publish, &span(CAUSE).into(), "token");
        let linked = publish.link_of_message().map(|link| link.trace_id);
        assert_eq!((publish.context.trace_id, linked), (span(CAUSE).trace_id, Some(derived)));
    });
}

#[test]
fn what_is_not_sampled_is_told_too_and_what_carries_a_context_is_not() {
    let never = redistributed_core::trace::Sampler {
        parent_based: true,
        root: redistributed_core::trace::sampler::Root::AlwaysOff,
    };
    both_ways(&Policy { sampler: never, ..beside(Mode::Inject) }, |mut talk| {
        let span = publish(&mut talk, "hello", ":1\r\n");
        assert!(!span.is_exported() && told(&span).len() == 1);
    });
    both_ways(&beside(Mode::Inject), |mut talk| {
        let mut payload = b"hello".to_vec();
        trailer::write(&span(CAUSE).into(), &mut payload);
        talk.feed(redistributed_core::Side::Client, &multibulk(&[&b"PUBLISH"[..], b"orders", &payload]));
        talk.server(":1\r\n");
        let spans = talk.spans();
        assert!(spans.iter().all(|span| told(span).is_empty()), "{spans:?}");
    });
    let silent = [
        Policy { out_of_band: OutOfBand::Off, ..beside(Mode::Inject) },
        Policy { enabled: false, ..beside(Mode::Inject) },
        beside(Mode::Strip),
        beside(Mode::Observe),
    ];
    for policy in silent {
        both_ways(&policy, |mut talk| {
            talk.client(&["PUBLISH", "orders", "hello"]);
            talk.server(":1\r\n");
            assert!(talk.spans().iter().all(|span| told(span).is_empty()));
        });
    }
}

/// An audience that says this of everything.
#[derive(Debug)]
struct Says(NotProven, bool);

impl Audience for Says {
    fn expected_receivers(&self, _channel: &[u8], _sharded: bool) -> Result<ExpectedReceivers, NotProven> {
        Err(self.0)
    }

    fn companions_are_unseen(&self) -> bool {
        self.1
    }
}

#[test]
fn mode_auto_tells_where_somebody_may_have_no_proxy_and_nobody_else_would_see_it() {
    use NotProven::{Cluster, Contradicted, NoEvidence, Nobody, Order, Pattern, Proving, Replicas, Unproxied};
    let is_told = [NoEvidence, Unproxied, Proving, Contradicted, Order];
    for reason in [NoEvidence, Unproxied, Pattern, Replicas, Cluster, Nobody, Proving, Contradicted, Order] {
        for is_unseen in [false, true] {
            both_ways(&auto(), |mut talk| {
                talk.driver.set_audience(Arc::new(Says(reason, is_unseen)));
                let span = publish(&mut talk, "hello", ":1\r\n");
                let expected = usize::from(is_unseen && is_told.contains(&reason));
                assert_eq!(told(&span).len(), expected, "{reason:?} {is_unseen}");
                assert_eq!(span.handling.payload, Change::Skipped(reason.counter()));
            });
        }
    }
}

const SUBSCRIBED: &str = "*3\r\n$9\r\nsubscribe\r\n$6\r\norders\r\n:1\r\n";
const HELLO: &str = "*3\r\n$7\r\nmessage\r\n$6\r\norders\r\n$5\r\nhello\r\n";

#[test]
fn a_message_without_a_context_awaits_one_and_passes_as_it_came() {
    for (policy, is_kept) in [(auto(), false), (beside(Mode::Inject), true), (beside(Mode::Strip), false)] {
        both_ways(&policy, |mut talk| {
            talk.client(&["SUBSCRIBE", "orders"]);
            talk.server(SUBSCRIBED);
            talk.server(HELLO);
            let told = talk.told();
            let [line] = &told[..] else { panic!("{told:?}") };
            let expected = format!("delivered orders hello traced={is_kept} publish=None awaits={NAME}");
            assert!(
                line.starts_with(&expected) && line.ends_with("holds_id=false pattern=None derived=None"),
                "{line}"
            );
            assert_eq!(talk.driver.to_client, [SUBSCRIBED, HELLO].concat().as_bytes());
            let [span] = &talk.driver.deliveries[..] else { panic!("{:?}", talk.driver.deliveries) };
            assert_eq!((span.is_exported(), span.needs_context()), (is_kept, !is_kept));
        });
    }
    for policy in [beside(Mode::Observe), Policy { out_of_band: OutOfBand::Off, ..auto() }] {
        both_ways(&policy, |mut talk| {
            talk.client(&["SUBSCRIBE", "orders"]);
            talk.server(SUBSCRIBED);
            talk.server(HELLO);
            assert_eq!(talk.told(), ["delivered orders hello traced=false publish=None"]);
            assert_eq!(talk.driver.deliveries, []);
        });
    }
}

#[test]
fn a_message_that_holds_an_id_besides_other_bytes_awaits_also_what_follows_from_it() {
    for (payload, derived) in [(WITH_ID, "Some(60bb6bf812bd42b2)"), ("550e8400-e29b-41d4-a716-446655440000", "None")] {
        both_ways(&beside(Mode::Inject), |mut talk| {
            talk.client(&["SUBSCRIBE", "orders"]);
            talk.server(SUBSCRIBED);
            talk.server(&format!("*3\r\n$7\r\nmessage\r\n$6\r\norders\r\n${}\r\n{payload}\r\n", payload.len()));
            let told = talk.told();
            assert!(told[0].ends_with(&format!("holds_id=true pattern=None derived={derived}")), "{told:?}");
        });
    }
}

#[test]
fn a_message_with_a_context_awaits_none() {
    both_ways(&auto(), |mut talk| {
        talk.client(&["SUBSCRIBE", "orders"]);
        talk.server(SUBSCRIBED);
        let mut payload = b"hello".to_vec();
        trailer::write(&span(CAUSE).into(), &mut payload);
        let mut message = format!("*3\r\n$7\r\nmessage\r\n$6\r\norders\r\n${}\r\n", payload.len()).into_bytes();
        message.extend_from_slice(&payload);
        message.extend_from_slice(b"\r\n");
        talk.feed(redistributed_core::Side::Server, &message);
        let told = talk.told();
        assert!(told.len() == 1 && !told[0].contains("awaits"), "{told:?}");
        assert_eq!(talk.driver.deliveries.len(), 1);
    });
}

/// The script by which Laravel broadcasts.
const BROADCAST: &str = "for i = 2, #ARGV do\n  redis.call('publish', ARGV[i], ARGV[1])\nend";

/// The spans of a script that publishes this on three channels, and that is answered like this.
fn broadcast(talk: &mut Conversation, payload: &[u8], reply: &str) -> Vec<SpanRecord> {
    let channels = [&b"news"[..], b"orders", b"private-7"];
    let words = [&[b"EVAL", BROADCAST.as_bytes(), b"0", payload][..], &channels].concat();
    let before = talk.driver.to_server.len();
    talk.feed(redistributed_core::Side::Client, &multibulk(&words));
    talk.server(reply);
    assert_eq!(talk.driver.to_server[before..], multibulk(&words));
    talk.spans()
}

#[test]
fn what_a_script_publishes_is_told_of_each_channel_when_it_has_succeeded() {
    for mode in [Mode::Inject, Mode::Auto] {
        both_ways(&beside(mode), |mut talk| {
            let spans = broadcast(&mut talk, b"hello", "$-1\r\n");
            let all: Vec<_> = spans.iter().flat_map(told).collect();
            assert_eq!((spans.len(), all.len()), (3, 3));
            for ((span, (companion, notice)), channel) in spans.iter().zip(&all).zip(["news", "orders", "private-7"]) {
                assert_eq!(span.handling.payload, Change::Skipped(Counter::SkippedBeside));
                let expected = CompanionChannel::Messages(MessagesOf::Channel, channel.as_bytes().into());
                assert_eq!((companion, notice.context.as_ref().unwrap().span), (&expected, span.context));
                assert_eq!(notice.name.to_string() == NAME, channel == "orders", "as of a publish");
            }
            let spans = broadcast(&mut talk, b"hello", "-NOPERM no\r\n");
            assert!(spans.len() == 3 && spans.iter().all(|span| told(span).is_empty()));
            let mut payload = b"hello".to_vec();
            trailer::write(&span(CAUSE).into(), &mut payload);
            let spans = broadcast(&mut talk, &payload, "$-1\r\n");
            assert!(spans.len() == 3 && spans.iter().all(|span| told(span).is_empty()), "who gets it finds that one");
        });
    }
    let silent = [
        Policy { carriers: vec![], ..beside(Mode::Inject) },
        Policy { out_of_band: OutOfBand::Off, ..beside(Mode::Inject) },
        beside(Mode::Strip),
        beside(Mode::Observe),
    ];
    for policy in silent {
        both_ways(&policy, |mut talk| {
            assert!(broadcast(&mut talk, b"hello", "$-1\r\n").iter().all(|span| told(span).is_empty()));
        });
    }
}

#[test]
fn mode_auto_tells_what_a_script_publishes_unless_somebody_else_would_see_it() {
    for reason in [NotProven::NoEvidence, NotProven::Unproxied, NotProven::Order] {
        for is_unseen in [false, true] {
            both_ways(&auto(), |mut talk| {
                talk.driver.set_audience(Arc::new(Says(reason, is_unseen)));
                let spans = broadcast(&mut talk, b"hello", "$-1\r\n");
                let count = spans.iter().flat_map(told).count();
                assert_eq!((spans.len(), count), (3, if is_unseen { 3 } else { 0 }), "{reason:?}");
            });
        }
    }
}

#[test]
fn nothing_is_told_without_a_reply() {
    for mode in ["OFF", "SKIP"] {
        both_ways(&beside(Mode::Inject), |mut talk| {
            talk.client(&["CLIENT", "REPLY", mode]);
            talk.client(&["PUBLISH", "orders", "hello"]);
            let mut spans = talk.spans();
            talk.client(&["CLIENT", "REPLY", mode]);
            spans.extend(broadcast(&mut talk, b"hello", ""));
            talk.client(&["CLIENT", "REPLY", "ON"]);
            talk.server("+OK\r\n");
            spans.extend(talk.spans());
            assert!(spans.len() >= 2 && spans.iter().all(|span| told(span).is_empty()), "{spans:?}");
        });
    }
}
