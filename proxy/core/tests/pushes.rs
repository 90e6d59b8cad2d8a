//! What a session makes of commands that add items to lists, sorted sets and streams (`--follow`), and how those who take the items
//! find the same trace.

use redistributed_core::Policy;
use redistributed_core::carrier::ContextKeys;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Follow, Mode, OutOfBand};
use redistributed_core::trace::sampler::Root;
use redistributed_core::trace::{Context, Operation, Sampler, Sent, SpanContext, SpanRecord};

use crate::following::{CAUSE, Conversation, OTHER, both_ways, following, span};

/// An element with an id, and its context: HMAC-SHA-256, as `carrier::derived` says, by Python.
const ELEMENT: &str = r#"{"id":"550e8400-e29b-41d4-a716-446655440000","task":"add"}"#;
const OF_ELEMENT: &str = "00-12030d0cab3914973399985938b2e944-310e7e0a1c69ea99-01";
/// The entry `1700000000000-0` of the stream `orders` in database 2.
const OF_ENTRY: &str = "00-8d15f970d6434d5013314fb4b1cf0fc7-8ddcdea75c788a5d-01";
const ID: &str = "$15\r\n1700000000000-0\r\n";

fn policy() -> Policy {
    let [queues, key_templates] = ["jobs:*", "jobs:m*"].map(|glob| vec![Glob::new(glob).unwrap()]);
    Policy { queues, key_templates, ..following(Commands::None) }
}

/// The only span that has ended, and what it tells of the items.
fn sent(talk: &mut Conversation) -> (SpanRecord, Sent) {
    let [record] = <[SpanRecord; 1]>::try_from(talk.spans()).expect("one span");
    let Operation::Send(sent) = &record.operation else { panic!("{record:?}") };
    let sent = Sent::clone(sent);
    (record, sent)
}

fn taken(talk: &mut Conversation) -> SpanRecord {
    let [record] = <[SpanRecord; 1]>::try_from(std::mem::take(&mut talk.driver.deliveries)).expect("one item");
    record
}

#[test]
fn who_adds_an_element_with_an_id_and_who_takes_it_share_a_trace() {
    both_ways(&policy(), |mut talk| {
        talk.client(&["LPUSH", "jobs:mail", ELEMENT]);
        talk.server(":1\r\n");
        let (record, sent) = sent(&mut talk);
        assert_eq!((record.context, record.parent, record.link), (span(OF_ELEMENT), None, None));
        assert!(record.end > record.start && sent.items.is_empty());
        assert_eq!((sent.queue.as_deref(), sent.count, sent.body_size), (Some("jobs:m*"), 1, ELEMENT.len() as u64));
    });
    // The key may be another one, because a scheduler may have moved the element meanwhile.
    both_ways(&policy(), |mut talk| {
        talk.client(&["BRPOP", "queue:other", "0"]);
        talk.server(&format!("*2\r\n$11\r\nqueue:other\r\n${}\r\n{ELEMENT}\r\n", ELEMENT.len()));
        let record = taken(&mut talk);
        assert_eq!((record.link, record.parent), (Some(span(OF_ELEMENT)), None));
        assert_eq!(record.context.trace_id, span(OF_ELEMENT).trace_id);
        assert_ne!(record.context.span_id, span(OF_ELEMENT).span_id);
    });
}

#[test]
fn an_entry_of_a_stream_is_named_by_the_reply_that_has_its_id() {
    both_ways(&policy(), |mut talk| {
        talk.client(&["SELECT", "2"]);
        talk.client(&["XADD", "orders", "MAXLEN", "~", "1000", "*", "field", "value"]);
        talk.server("+OK\r\n");
        talk.server(ID);
        let (record, sent) = sent(&mut talk);
        assert_eq!((record.context, sent.id.as_deref()), (span(OF_ENTRY), Some("1700000000000-0")));
        assert_eq!((sent.body_size, sent.items.len(), sent.entry), (10, 0, None));
        talk.client(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "queue", ">"]);
        talk.server(
            "*1\r\n*2\r\n$5\r\nqueue\r\n*1\r\n*2\r\n$15\r\n1700000000000-0\r\n*2\r\n$5\r\nfield\r\n$5\r\nvalue\r\n",
        );
        assert_ne!(taken(&mut talk).link, Some(span(OF_ENTRY)), "it is an entry of another stream");
    });
    both_ways(&policy(), |mut talk| {
        // The inference knows these keys as queues.
        talk.client(&["XADD", "queue:orders", "*", "f", "v"]);
        talk.server(ID);
        let (producer, _) = sent(&mut talk);
        talk.client(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "queue:orders", ">"]);
        talk.server(
            "*1\r\n*2\r\n$12\r\nqueue:orders\r\n*1\r\n*2\r\n$15\r\n1700000000000-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
        );
        let consumer = taken(&mut talk);
        assert_eq!(consumer.link, Some(producer.context));
        assert_eq!(consumer.context.trace_id, producer.context.trace_id);
    });
}

#[test]
fn the_entries_of_a_pipeline_and_of_a_transaction_each_get_their_own_id() {
    both_ways(&policy(), |mut talk| {
        for words in [&["XADD", "a", "*", "f", "v"][..], &["XADD", "b", "*", "f", "v"], &["XADD", "a", "*", "f", "v"]] {
            talk.client(words);
        }
        talk.server("$3\r\n1-0\r\n-WRONGTYPE Operation\r\n$3\r\n2-0\r\n");
        let ids = |talk: &mut Conversation| {
            let spans = talk.spans();
            let of = |record: &SpanRecord| match &record.operation {
                Operation::Send(sent) => sent.id.as_deref().unwrap_or("-").to_owned(),
                other => format!("{other:?}"),
            };
            spans.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(ids(&mut talk), ["1-0", "-", "2-0"]);
        for words in [&["MULTI"][..], &["XADD", "a", "*", "f", "v"], &["XADD", "b", "*", "f", "v"], &["EXEC"]] {
            talk.client(words);
        }
        talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n3-0\r\n$3\r\n4-0\r\n");
        assert_eq!(ids(&mut talk), ["3-0", "4-0"]);
        // Nothing is added to a stream that is not there.
        talk.client(&["XADD", "none", "NOMKSTREAM", "*", "f", "v"]);
        talk.server("$-1\r\n");
        assert_eq!(ids(&mut talk), ["-"]);
    });
}

#[test]
fn what_a_request_has_caused_is_below_it_and_has_a_link_to_where_the_item_is_found() {
    both_ways(&policy(), |mut talk| {
        let element = format!("caused {ELEMENT}");
        talk.client(&["LPUSH", "jobs:mail", &element]);
        talk.server(":1\r\n");
        let (record, sent) = sent(&mut talk);
        assert_eq!((record.parent, record.context.trace_id), (Some(span(CAUSE).span_id), span(CAUSE).trace_id));
        talk.client(&["BRPOP", "queue", "0"]);
        talk.server(&format!("*2\r\n$5\r\nqueue\r\n${}\r\n{element}\r\n", element.len()));
        let consumer = taken(&mut talk);
        assert_eq!(sent.items, [consumer.link.unwrap()]);
        assert_eq!(consumer.context.trace_id, sent.items[0].trace_id);
        // An entry gets its link with its id.
        talk.client(&["SELECT", "2"]);
        talk.client(&["XADD", "orders", "*", "caused", "v"]);
        talk.server(&format!("+OK\r\n{ID}"));
        let (record, sent) = self::sent(&mut talk);
        assert_eq!((record.parent, sent.items), (Some(span(CAUSE).span_id), vec![span(OF_ENTRY)]));
    });
    both_ways(&Policy { follow: Follow::Link, ..policy() }, |mut talk| {
        talk.client(&["LPUSH", "jobs:mail", &format!("caused {ELEMENT}")]);
        talk.server(":1\r\n");
        let (record, sent) = sent(&mut talk);
        assert_eq!((record.parent, record.link, sent.items.len()), (None, Some(span(CAUSE)), 1));
        assert_ne!(record.context.trace_id, sent.items[0].trace_id);
    });
}

#[test]
fn a_context_that_the_item_itself_carries_comes_first_at_both_ends() {
    both_ways(&policy(), |mut talk| {
        let job = format!(r#"{{"jid":"b4a577edbccf1d805744efa9","note":"caused","traceparent":"{OTHER}"}}"#);
        talk.client(&["LPUSH", "queue:mail", &job]);
        talk.client(&["XADD", "queue:orders", "*", "note", "caused", "traceparent", OTHER]);
        talk.server(":1\r\n$3\r\n1-0\r\n");
        for record in talk.spans() {
            assert_eq!((record.parent, record.context.trace_id), (Some(span(OTHER).span_id), span(OTHER).trace_id));
            let Operation::Send(sent) = &record.operation else { panic!("{record:?}") };
            assert!(sent.items.is_empty() && record.inferred.is_none(), "{record:?}");
        }
        talk.client(&["BRPOP", "queue:mail", "0"]);
        talk.server(&format!("*2\r\n$10\r\nqueue:mail\r\n${}\r\n{job}\r\n", job.len()));
        let record = taken(&mut talk);
        assert_eq!((record.parent, record.link), (Some(span(OTHER).span_id), None));
    });
}

#[test]
fn a_cause_that_becomes_known_later_moves_the_span_and_leaves_a_link() {
    both_ways(&policy(), |mut talk| {
        talk.client(&["SELECT", "2"]);
        talk.client(&["XADD", "orders", "*", "later", "v"]);
        talk.server(&format!("+OK\r\n{ID}"));
        let (mut record, sent) = sent(&mut talk);
        assert!(sent.is_named_by_item && record.inferred.as_ref().unwrap().undecided.is_some());
        policy().attribute(&mut record, &Context::from(span(CAUSE)), "joined");
        let Operation::Send(sent) = &record.operation else { panic!("{record:?}") };
        assert_eq!((record.context.trace_id, record.parent), (span(CAUSE).trace_id, Some(span(CAUSE).span_id)));
        assert_eq!(sent.items, [span(OF_ENTRY)]);
    });
}

#[test]
fn a_command_that_adds_several_items_has_a_link_for_each_that_is_named() {
    both_ways(&policy(), |mut talk| {
        talk.client(&["RPUSH", "jobs:mail", ELEMENT, "no id", &format!("{ELEMENT} ")]);
        talk.server(":3\r\n");
        let (record, sent) = sent(&mut talk);
        assert_eq!((sent.count, sent.items.len(), sent.items[0]), (3, 2, span(OF_ELEMENT)));
        assert!(sent.items.iter().all(|item| item.trace_id != record.context.trace_id));
        talk.client(&["ZADD", "jobs:later", "NX", "1700000000", ELEMENT]);
        talk.server(":1\r\n");
        assert_eq!(self::sent(&mut talk).0.context, span(OF_ELEMENT), "a job for later is added to a sorted set");
    });
}

#[test]
fn what_is_nothing_but_an_id_is_only_told_and_names_no_trace() {
    const ID: &str = "550e8400-e29b-41d4-a716-446655440000";
    // HMAC-SHA-256, as `carrier::derived` says, by Python.
    const NAME: &str = "da3056c7c3a1be59777c2e514b7f0440";
    let told = Policy { out_of_band: OutOfBand::On, ..policy() };
    both_ways(&told, |mut talk| {
        talk.client(&["SELECT", "2"]);
        talk.server("+OK\r\n");
        let names = |sent: &Sent| sent.ids.iter().map(|name| format!("{name}")).collect::<Vec<_>>();
        for (command, is_clear) in [("RPUSH", true), ("lpush", true), ("LPUSHX", false)] {
            talk.client(&[command, "rq:queue:default", ID, "no id"]);
            talk.server(":2\r\n");
            let (record, sent) = sent(&mut talk);
            assert_eq!((names(&sent), sent.items.len(), sent.is_named_by_item), (vec![NAME.to_owned()], 0, false));
            assert_eq!(sent.repeated.is_empty(), is_clear, "{command} may add nothing");
            assert_eq!((sent.companion.is_some(), record.parent, record.link), (true, None, None));
        }
        talk.client(&["LINSERT", "rq:queue:default", "BEFORE", "pivot", ID]);
        talk.client(&["RPUSH", "rq:queue:high", ID]);
        talk.client(&["ZADD", "rq:queue:default", "1", ID]);
        talk.server(":3\r\n:1\r\n:1\r\n");
        let spans = talk.spans();
        let sent: Vec<_> = spans
            .iter()
            .map(|record| match &record.operation {
                Operation::Send(sent) => sent,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((names(sent[0]), sent[0].repeated.len()), (vec![NAME.to_owned()], 1));
        assert!(sent[1].ids.len() == 1 && names(sent[1]) != [NAME], "it is in another list");
        assert_eq!((sent[2].ids.len(), sent[2].companion), (0, None), "a sorted set may have it already");
    });
    both_ways(&policy(), |mut talk| {
        talk.client(&["RPUSH", "rq:queue:default", ID]);
        talk.server(":1\r\n");
        assert!(sent(&mut talk).1.ids.is_empty(), "nothing is told");
    });
}

#[test]
fn what_is_no_queue_has_the_span_of_any_other_command() {
    both_ways(&Policy { commands: Commands::All, ..policy() }, |mut talk| {
        talk.client(&["LPUSH", "cache:7", ELEMENT]);
        talk.client(&["LPUSH", "rq:queue:high", "550e8400-e29b-41d4-a716-446655440000"]);
        talk.server(":1\r\n:1\r\n");
        let operations: Vec<_> = talk.spans().into_iter().map(|record| record.operation).collect();
        assert!(
            matches!(&operations[..], [Operation::Command { name, .. }, Operation::Send(sent)]
                if &**name == "LPUSH" && sent.items.is_empty()),
            "{operations:?}"
        );
    });
    for policy in [
        Policy { mode: Mode::Observe, ..policy() },
        Policy { enabled: false, ..policy() },
        Policy { sampler: Sampler { parent_based: false, root: Root::AlwaysOff }, ..policy() },
    ] {
        both_ways(&policy, |mut talk| {
            talk.client(&["LPUSH", "jobs:mail", ELEMENT]);
            talk.client(&["XADD", "s", "*", "f", "v"]);
            talk.server(&format!(":1\r\n{ID}"));
            assert!(talk.spans().iter().all(|record| !record.is_exported()));
        });
    }
}

#[test]
fn a_long_element_is_named_however_it_is_cut_and_a_very_long_one_is_not() {
    let element = |len: usize| format!("{ELEMENT}{}", "x".repeat(len - ELEMENT.len()));
    let mut contexts = Vec::new();
    for len in [60_000, 65_536, 65_537] {
        let found = std::sync::Mutex::new(Vec::new());
        both_ways(&policy(), |mut talk| {
            talk.client(&["LPUSH", "jobs:mail", &element(len)]);
            talk.client(&["BRPOP", "queue", "0"]);
            talk.server(&format!(":1\r\n*2\r\n$5\r\nqueue\r\n${len}\r\n{}\r\n", element(len)));
            let (producer, sent) = sent(&mut talk);
            let named: Option<SpanContext> = sent.is_named_by_item.then_some(producer.context);
            assert_eq!(taken(&mut talk).link, named, "{len}");
            found.lock().unwrap().push(named);
        });
        let found = found.into_inner().unwrap();
        assert_eq!(found[0], found[1], "whole and byte by byte");
        contexts.push(found[0]);
    }
    assert!(contexts[0].is_some() && contexts[1].is_some() && contexts[2].is_none());
}

#[test]
fn a_fleet_with_a_key_has_contexts_that_nobody_else_can_compute() {
    let with_key = Policy { keys: ContextKeys::new(["fleet"]), ..policy() };
    both_ways(&with_key, |mut talk| {
        talk.client(&["LPUSH", "jobs:mail", ELEMENT]);
        talk.server(":1\r\n");
        assert_eq!(sent(&mut talk).0.context, span("00-a0316fe9f4b3a697ca1e9faf8da00c37-4f30f0e97c3cce00-01"));
    });
}
