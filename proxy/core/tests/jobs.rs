//! What a session makes of jobs whose envelopes get contexts (`--envelope`): what Redis gets, what the spans say, and that
//! whoever takes a job is in the trace of who has added it.

use std::sync::Arc;

use redistributed_core::carrier::{ContextKeys, Envelope};
use redistributed_core::choice::Choice;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Follow, Mode, OutOfBand, Trust};
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::sampler::Root;
use redistributed_core::trace::{Operation, Propagators, Sampler, Sent, SpanContext, SpanRecord};
use redistributed_core::{Policy, Side};

use crate::following::{CAUSE, Conversation, OTHER, both_ways, following, span};
use crate::support::{Driver, multibulk};

const TASKIQ: &str = concat!(
    r#"{"task_id":"0f416ded6ffe455cb9df230d28385f4a","task_name":"t","labels":{},"labels_types":{},"#,
    r#""args":[7],"kwargs":{}}"#
);

fn policy() -> Policy {
    let queues = vec![Glob::new("jobs:*").unwrap()];
    Policy { envelopes: Envelope::ALL.to_vec(), queues, ..following(Commands::None) }
}

/// The last word of the request that was sent last.
fn stored(talk: &mut Conversation) -> String {
    let sent = String::from_utf8(std::mem::take(&mut talk.driver.to_server)).unwrap();
    sent.trim_end().rsplit_once("\r\n").unwrap().1.to_owned()
}

/// The context in this element.
fn context_in(element: &str) -> SpanContext {
    let (_, rest) = element.split_once(r#""traceparent":""#).unwrap_or_else(|| panic!("{element}"));
    span(&rest[..55])
}

fn only(talk: &mut Conversation) -> (SpanRecord, Sent) {
    let [record] = <[SpanRecord; 1]>::try_from(talk.spans()).expect("one span");
    let Operation::Send(sent) = &record.operation else { panic!("{record:?}") };
    let sent = Sent::clone(sent);
    (record, sent)
}

/// The span of who takes this element from a queue.
fn taken(talk: &mut Conversation, element: &str) -> SpanRecord {
    talk.client(&["BRPOP", "queue:a", "0"]);
    talk.feed(Side::Server, &multibulk(&["queue:a", element]));
    let [record] = <[SpanRecord; 1]>::try_from(std::mem::take(&mut talk.driver.deliveries)).expect("one item");
    record
}

/// Whether Redis gets these words as the client wrote them.
fn passes_as_it_is(policy: &Policy, words: &[&str]) {
    both_ways(policy, |mut talk| {
        talk.client(words);
        let sent = String::from_utf8_lossy(&talk.driver.to_server).into_owned();
        assert_eq!(sent.as_bytes(), multibulk(words), "{sent}");
    });
}

#[test]
fn who_takes_a_job_is_below_who_has_added_it_for_whatever_cause() {
    for (follow, out_of_band) in [
        (Follow::Parent, OutOfBand::On),
        (Follow::Parent, OutOfBand::Off),
        (Follow::Link, OutOfBand::On),
        (Follow::Link, OutOfBand::Off),
    ] {
        both_ways(&Policy { follow, out_of_band, ..policy() }, |mut talk| {
            for is_caused in [true, false] {
                let element = TASKIQ.replace("\"t\"", if is_caused { "\"caused\"" } else { "\"t\"" });
                talk.client(&["LPUSH", "taskiq", &element]);
                talk.server(":1\r\n");
                let ((record, sent), stored) = (only(&mut talk), stored(&mut talk));
                let context = context_in(&stored);
                assert_eq!(stored, element.replacen("{}", &format!("{{\"traceparent\":\"{}\"}}", text(context)), 1));
                assert_eq!(record.context, context);
                let cause = is_caused.then(|| span(CAUSE));
                match follow {
                    Follow::Parent => {
                        assert_eq!((record.parent, record.link), (cause.map(|cause| cause.span_id), None))
                    }
                    _ => assert_eq!((record.parent, record.link), (None, cause)),
                }
                // It is not told as well, and no other name of it leads to the span.
                assert_eq!((sent.companion, sent.items, sent.repeated), (None, vec![], vec![]));
                assert_eq!((sent.count, sent.body_size, sent.is_named_by_item), (1, stored.len() as u64, false));
                let consumer = taken(&mut talk, &stored);
                assert_eq!((consumer.parent, consumer.link), (Some(context.span_id), None));
                assert_eq!(consumer.context.trace_id, context.trace_id);
                assert!(consumer.inferred.is_none_or(|inferred| !inferred.awaits_context));
                assert!(matches!(consumer.operation, Operation::Item { body_size, .. } if body_size == sent.body_size));
                let got = String::from_utf8_lossy(&talk.driver.to_client).into_owned();
                assert!(got.ends_with(&format!("{stored}\r\n")), "nothing is removed: {got}");
            }
        });
    }
}

fn text(context: SpanContext) -> String {
    String::from_utf8(context.to_traceparent().to_vec()).unwrap()
}

#[test]
fn each_library_has_the_context_where_its_instrumentation_looks_for_it() {
    let celery = include_str!("envelopes/celery.json").trim_end();
    let (start, end) = (celery.find(", \"traceparent\"").unwrap(), celery.find("}, \"properties\"").unwrap());
    let celery = [&celery[..start], &celery[end..]].concat();
    let sidekiq =
        r#"{"retry":true,"queue":"default","class":"Job","args":[7],"jid":"6d3b0a1e2f3c4d5e6f708192","headers":{}}"#;
    for (key, element, before, behind) in [
        ("celery", celery.as_str(), r#""stamps": {},"#, r#"}, "properties""#),
        ("queue:default", sidekiq, r#""headers":{},"#, "}"),
        ("jobs:mine", TASKIQ, r#""labels":{"#, r#"},"labels_types""#),
    ] {
        both_ways(&policy(), |mut talk| {
            talk.client(&["lpush", key, element]);
            talk.server(":1\r\n");
            let ((record, _), stored) = (only(&mut talk), stored(&mut talk));
            let member = format!("\"traceparent\":\"{}\"", text(record.context));
            assert!(stored.contains(&[before, &member, behind].concat()), "{stored}");
            assert_eq!(taken(&mut talk, &stored).parent, Some(record.context.span_id));
        });
        for envelope in Envelope::ALL {
            let one = Policy { envelopes: vec![*envelope], ..policy() };
            both_ways(&one, |mut talk| {
                talk.client(&["LPUSH", key, element]);
                let is_changed = talk.driver.to_server != multibulk(&["LPUSH", key, element]);
                let of = [
                    (Envelope::Celery, "celery"),
                    (Envelope::Sidekiq, "queue:default"),
                    (Envelope::Taskiq, "jobs:mine"),
                ];
                assert_eq!(is_changed, of.contains(&(*envelope, key)));
            });
        }
    }
}

#[test]
fn a_job_that_has_a_context_keeps_it_as_the_parent() {
    both_ways(&policy(), |mut talk| {
        let element = TASKIQ.replace("\"labels\":{}", &format!(r#""labels":{{ "TraceParent" : "{OTHER}" }}"#));
        talk.client(&["LPUSH", "taskiq", &element]);
        talk.server(":1\r\n");
        let ((record, _), stored) = (only(&mut talk), stored(&mut talk));
        assert_eq!((stored, record.parent), (element.clone(), Some(span(OTHER).span_id)));
        // So has one that is put back.
        talk.client(&["LPUSH", "taskiq", TASKIQ]);
        talk.server(":1\r\n");
        let ((first, _), once) = (only(&mut talk), self::stored(&mut talk));
        talk.client(&["LPUSH", "taskiq", &once]);
        talk.server(":1\r\n");
        let ((again, _), twice) = (only(&mut talk), self::stored(&mut talk));
        assert_eq!((twice, again.parent), (once, Some(first.context.span_id)));
    });
}

#[test]
fn whatever_is_in_doubt_goes_on_as_it_came() {
    let policy = policy();
    passes_as_it_is(&policy, &["LPUSH", "taskiq", TASKIQ, TASKIQ]);
    passes_as_it_is(&policy, &["RPUSH", "taskiq", TASKIQ]);
    passes_as_it_is(&policy, &["LPUSHX", "taskiq", TASKIQ]);
    passes_as_it_is(&policy, &["LPUSH", "cache", TASKIQ]);
    passes_as_it_is(&policy, &["LPUSH", "taskiq"]);
    passes_as_it_is(&policy, &["LPUSH", "taskiq", ""]);
    passes_as_it_is(&policy, &["LPUSH", "taskiq", &TASKIQ[1..]]);
    passes_as_it_is(&policy, &["ZADD", "taskiq", "1", TASKIQ]);
    passes_as_it_is(&policy, &["PUBLX", "taskiq", TASKIQ]);
    let long = TASKIQ.replace("[7]", &format!("[\"{}\"]", "x".repeat(1000)));
    passes_as_it_is(&Policy { inject_limit: 1000, ..policy.clone() }, &["LPUSH", "taskiq", &long]);
    for request in [
        format!("*3\r\n$5\r\nLPUSH\r\n$6\r\ntaskiq\r\n${}\r\n{TASKIQ}xx", TASKIQ.len()),
        format!("*3\r\n$5\r\nLPUSH\r\n$6\r\ntaskiq\r\n$0{}\r\n{TASKIQ}\r\n", TASKIQ.len()),
        format!("*3\r\n$5\r\nLPUSH\r\n$6\r\ntaskiq\r\n${}\r\n{TASKIQ}", TASKIQ.len()),
        format!("*3\r\n$5\r\nLPUSH\r\n$6\r\ntaskiq\r\n:{}\r\n{TASKIQ}\r\n", TASKIQ.len()),
        format!("LPUSH taskiq {TASKIQ}\r\n"),
    ] {
        both_ways(&policy, |mut talk| {
            talk.feed(Side::Client, request.as_bytes());
            talk.driver.end_of_stream(Side::Client);
            assert_eq!(String::from_utf8_lossy(&talk.driver.to_server), request);
        });
    }
}

#[test]
fn only_where_contexts_are_passed_on_are_they_written() {
    let words = ["LPUSH", "taskiq", TASKIQ];
    for mode in [Mode::Strip, Mode::Observe] {
        passes_as_it_is(&Policy { mode, ..policy() }, &words);
    }
    passes_as_it_is(&Policy { enabled: false, ..policy() }, &words);
    passes_as_it_is(&Policy { envelopes: vec![], ..policy() }, &words);
    let b3 = Propagators { trace_context: false, baggage: false, b3: true, b3_multi: false, jaeger: false };
    for propagators in [b3, Propagators { b3: false, ..b3 }] {
        passes_as_it_is(&Policy { propagators, ..policy() }, &words);
    }
    both_ways(&Policy { mode: Mode::Auto, ..policy() }, |mut talk| {
        talk.client(&words);
        context_in(&stored(&mut talk));
    });
    // A policy that comes into force within a request counts for it.
    both_ways(&policy(), |mut talk| {
        let request = multibulk(&words);
        let (first, second) = request.split_at(40);
        talk.feed(Side::Client, first);
        talk.driver.set_policy(&Arc::new(Policy { mode: Mode::Observe, ..policy() }));
        talk.feed(Side::Client, second);
        assert_eq!(talk.driver.to_server, request);
    });
}

#[test]
fn a_context_that_is_not_sampled_is_written_too() {
    let sampler = Sampler { parent_based: true, root: Root::AlwaysOff };
    both_ways(&Policy { sampler, ..policy() }, |mut talk| {
        talk.client(&["LPUSH", "taskiq", TASKIQ]);
        talk.server(":1\r\n");
        let context = context_in(&stored(&mut talk));
        assert!(!context.flags.is_sampled() && talk.spans().is_empty());
    });
}

#[test]
fn where_no_item_is_believed_the_ends_are_joined_by_what_redis_got() {
    both_ways(&Policy { trust: Trust::None, ..policy() }, |mut talk| {
        talk.client(&["LPUSH", "taskiq", TASKIQ]);
        talk.server(":1\r\n");
        let ((_, sent), stored) = (only(&mut talk), stored(&mut talk));
        context_in(&stored);
        let [item] = sent.items[..] else { panic!("{sent:?}") };
        assert_eq!((sent.companion, sent.repeated), (None, vec![]));
        let consumer = taken(&mut talk, &stored);
        assert_eq!((consumer.parent, consumer.link), (None, Some(item)));
    });
}

#[test]
fn the_jobs_of_a_pipeline_and_of_a_transaction_each_get_their_own_context() {
    both_ways(&Policy { keys: ContextKeys::new(["a"]), ..policy() }, |mut talk| {
        let jobs = ["1", "2"].map(|number| TASKIQ.replace("[7]", &format!("[{number}]")));
        let words = |job: &str| multibulk(&["LPUSH", "taskiq", job]);
        let requests = [
            multibulk(&["MULTI"]),
            words(&jobs[0]),
            words("other"),
            words(&jobs[1]),
            multibulk(&["EXEC"]),
            words(&jobs[0]),
            multibulk(&["PING"]),
        ];
        talk.feed(Side::Client, &requests.concat());
        talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n:2\r\n:3\r\n:4\r\n+PONG\r\n");
        let sent = String::from_utf8(std::mem::take(&mut talk.driver.to_server)).unwrap();
        let spans = talk.spans();
        let written: Vec<_> = sent.split("\"traceparent\":\"").skip(1).map(|rest| span(&rest[..55])).collect();
        assert_eq!(written.len(), 3);
        assert!(written.iter().all(|context| spans.iter().any(|span| span.context == *context)), "{spans:?}");
        let mut expected = requests.concat();
        for context in &written {
            let at = expected.windows(11).position(|bytes| bytes == b"\"labels\":{}").unwrap() + 10;
            expected.splice(at..at, format!("\"traceparent\":\"{}\"", text(*context)).into_bytes());
        }
        let expected = String::from_utf8(expected).unwrap();
        let (len, longer) = (jobs[0].len(), jobs[0].len() + 71);
        let length = |text: &str| text.replace(&format!("${len}\r\n"), &format!("${longer}\r\n"));
        assert_eq!(sent, length(&expected));
    });
}

#[test]
fn a_request_is_held_back_no_further_than_to_its_key_or_to_the_limit() {
    for (request, held) in [
        ("*3\r\n$3\r\n", 0),
        ("*3\r\n$5\r\nLP", 10),
        ("*3\r\n$5\r\nLTRIM\r\n", 0),
        ("*4\r\n$5\r\nLPUSH\r\n", 0),
        ("*3\r\n$5\r\nLPUSH\r\n$5\r\ncache\r\n", 0),
        ("*3\r\n$5\r\nLPUSH\r\n$6\r\ntaskiq\r\n", 27),
        ("*3\r\n$5\r\nLPUSH\r\n$6\r\ntaskiq\r\n$2000000\r\n", 0),
        ("*3\r\n$5\r\nLPUSH\r\n$1000000\r\n", 0),
    ] {
        both_ways(&policy(), |mut talk| {
            talk.feed(Side::Client, request.as_bytes());
            assert_eq!(request.len() - talk.driver.to_server.len(), held, "{}", request.escape_default());
        });
    }
}

#[test]
fn an_element_gets_no_longer_than_redis_takes_before_authentication() {
    let element = |len: usize| TASKIQ.replace("[7]", &format!("[\"{}\"]", "x".repeat(len - TASKIQ.len() - 1)));
    for (len, is_authenticated, is_changed) in [
        (16 * 1024 - 71, false, true),
        (16 * 1024 - 70, false, false),
        (16 * 1024, false, false),
        (16 * 1024 - 70, true, true),
    ] {
        both_ways(&policy(), |mut talk| {
            if is_authenticated {
                talk.client(&["GET", "k"]);
                talk.server("$-1\r\n");
            }
            talk.driver.to_server.clear();
            let element = element(len);
            assert_eq!(element.len(), len);
            talk.client(&["LPUSH", "taskiq", &element]);
            talk.server(":1\r\n");
            let (record, _) = only(&mut talk);
            let stored = stored(&mut talk);
            assert_eq!(stored.len(), if is_changed { len + 71 } else { len }, "{len}");
            assert_eq!(taken(&mut talk, &stored).context.trace_id, record.context.trace_id);
        });
    }
}

#[test]
fn without_causes_a_job_gets_a_context_too_and_its_span_ends_with_the_reply() {
    let policy = Policy { follow: Follow::Off, ..policy() };
    let (mut driver, mut ids) = (Driver::new(&Arc::new(policy)), CountingIds::default());
    let requests = [multibulk(&["LPUSH", "taskiq", TASKIQ]), multibulk(&["LPUSH", "taskiq", TASKIQ])].concat();
    driver.feed(Side::Client, &requests, &mut ids);
    driver.feed(Side::Server, b":1\r\n-OOM command not allowed\r\n", &mut ids);
    let sent = String::from_utf8_lossy(&driver.to_server).into_owned();
    let written: Vec<_> = sent.split("\"traceparent\":\"").skip(1).map(|rest| span(&rest[..55])).collect();
    assert_eq!(driver.spans.iter().map(|span| span.context).collect::<Vec<_>>(), written);
    assert_eq!(driver.spans.iter().map(|span| span.error.is_some()).collect::<Vec<_>>(), [false, true]);
}
