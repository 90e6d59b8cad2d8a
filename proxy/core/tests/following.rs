//! What a session tells the inference of causes, and what becomes of its answers (`--follow`). Each conversation runs whole and
//! byte by byte, and has to come out the same.

mod scripted;

use std::num::NonZeroU32;
use std::sync::Arc;

use redistributed_core::policy::{Commands, Follow, Mode};
use redistributed_core::trace::{CommandId, Operation, SpanContext, SpanRecord};
use redistributed_core::{Policy, Side};

pub(crate) use self::scripted::{Conversation, both_ways, following};
use crate::support::Driver;

pub(crate) const CAUSE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED_CAUSE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
pub(crate) const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-01";

pub(crate) fn span(text: &str) -> SpanContext {
    SpanContext::parse_traceparent(text.as_bytes()).unwrap()
}

#[test]
fn commands_and_their_replies_are_told_in_order() {
    both_ways(&following(Commands::None), |mut talk| {
        talk.client(&["SET", "k", "v"]);
        talk.client(&["get", "k"]);
        talk.client(&["PUBLISH", "ch", "hello"]);
        assert_eq!(talk.told(), ["1 SET k v", "2 get k", "3 PUBLISH ch hello", "3 injected"]);
        talk.server("+OK\r\n*2\r\n$1\r\nv\r\n:7\r\n");
        talk.server(":1\r\n");
        assert_eq!(talk.told(), ["1 answered OK", "2 answered v 7", "3 answered 1"]);
        talk.client(&["GET", "nothing"]);
        talk.server("$-1\r\n");
        talk.client(&["LPUSH", "k", "x"]);
        talk.server("-WRONGTYPE Operation\r\n");
        assert_eq!(talk.told()[1..], ["4 answered ", "5 LPUSH k x", "5 answered WRONGTYPE Operation"]);
    });
}

#[test]
fn of_what_sets_up_a_connection_or_waits_only_what_takes_work_is_told() {
    both_ways(&following(Commands::None), |mut talk| {
        for words in [&["SUBSCRIBE", "ch"][..], &["BLPOP", "k", "0"], &["HELLO", "3"], &["CLIENT", "REPLY", "ON"]] {
            talk.client(words);
        }
        talk.feed(Side::Client, b"GET inline\r\n");
        assert_eq!(talk.told(), ["1 reads k true"]);
    });
}

#[test]
fn the_commands_of_a_transaction_are_answered_by_its_elements() {
    both_ways(&following(Commands::Caused), |mut talk| {
        for words in [&["MULTI"][..], &["SET", "k", "caused"], &["INCR", "n"], &["EXEC"]] {
            talk.client(words);
        }
        assert_eq!(talk.told(), ["1 MULTI ", "2 SET k caused", "3 INCR n", "4 EXEC "]);
        talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:8\r\n");
        assert_eq!(talk.told(), ["1 answered OK", "2 answered OK", "3 answered 8"]);
        // The one span of the transaction has the cause of its commands.
        let spans = talk.spans();
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert_eq!(spans[0].parent, Some(span(CAUSE).span_id));
        assert_eq!(spans[0].context.trace_id, span(CAUSE).trace_id);
        assert_eq!(spans[0].inferred.as_ref().unwrap().rule, Some("token"));
    });
}

#[test]
fn a_transaction_without_a_cause_has_no_span_where_only_caused_commands_have_one() {
    both_ways(&following(Commands::Caused), |mut talk| {
        for words in [&["MULTI"][..], &["SET", "k", "v"], &["EXEC"], &["GET", "k"]] {
            talk.client(words);
        }
        talk.server("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$1\r\nv\r\n");
        assert!(talk.spans().is_empty());
    });
}

#[test]
fn only_caused_commands_have_spans_and_these_are_below_their_cause() {
    both_ways(&following(Commands::Caused), |mut talk| {
        for word in ["caused", "batch", "later", "nobody", "quiet"] {
            talk.client(&["SET", "k", word]);
            talk.server("+OK\r\n");
        }
        let spans = talk.spans();
        let [caused, batch, later] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((caused.context.trace_id, caused.parent), (span(CAUSE).trace_id, Some(span(CAUSE).span_id)));
        assert!(caused.is_exported() && caused.link.is_none());
        assert_eq!((batch.parent, &batch.inferred.as_ref().unwrap().links), (None, &vec![span(CAUSE), span(OTHER)]));
        assert_eq!(later.inferred.as_ref().unwrap().undecided, NonZeroU32::new(3).map(CommandId));
        assert!(later.parent.is_none());
        // The last cause is not recorded, so what it causes is not either.
    });
}

#[test]
fn a_publish_continues_the_trace_of_its_cause() {
    both_ways(&following(Commands::Caused), |mut talk| {
        talk.client(&["PUBLISH", "ch", "caused"]);
        talk.server(":1\r\n");
        let spans = talk.spans();
        assert_eq!((spans[0].parent, spans[0].context.trace_id), (Some(span(CAUSE).span_id), span(CAUSE).trace_id));
        let sent = &talk.driver.to_server;
        let trace = span(CAUSE).trace_id.to_bytes();
        assert!(sent.windows(16).any(|window| window == trace), "the message carries on the trace");
    });
}

#[test]
fn with_links_a_publish_begins_a_trace_of_its_own() {
    both_ways(&Policy { follow: Follow::Link, ..following(Commands::Caused) }, |mut talk| {
        talk.client(&["PUBLISH", "ch", "caused"]);
        talk.server(":1\r\n");
        let spans = talk.spans();
        assert_eq!((spans[0].parent, spans[0].link), (None, Some(span(CAUSE))));
        assert_ne!(spans[0].context.trace_id, span(CAUSE).trace_id);
    });
}

#[test]
fn a_context_that_the_payload_carries_wins() {
    let policy = Policy {
        read_json: vec![(redistributed_core::glob::Glob::new("*").unwrap(), Default::default())],
        ..following(Commands::None)
    };
    both_ways(&policy, |mut talk| {
        talk.client(&["PUBLISH", "ch", &format!("{{\"traceparent\":\"{OTHER}\",\"x\":\"caused\"}}")]);
        talk.server(":1\r\n");
        let spans = talk.spans();
        assert_eq!(spans[0].parent, Some(span(OTHER).span_id));
        assert_eq!(spans[0].inferred, None);
    });
}

#[test]
fn a_publish_that_is_too_long_for_a_context_has_its_cause_all_the_same() {
    both_ways(&Policy { inject_limit: 8, ..following(Commands::None) }, |mut talk| {
        talk.client(&["PUBLISH", "ch", "caused and long"]);
        assert_eq!(talk.told(), ["1 PUBLISH ch caused and long"]);
        talk.server(":1\r\n");
        let spans = talk.spans();
        assert_eq!((spans[0].parent, spans[0].context.trace_id), (Some(span(CAUSE).span_id), span(CAUSE).trace_id));
    });
}

#[test]
fn every_delivery_is_told_without_its_context() {
    both_ways(&following(Commands::None), |mut talk| {
        talk.client(&["PUBLISH", "ch", "hello"]);
        let published = talk.driver.to_server.clone();
        talk.server(":1\r\n");
        let producer = talk.spans().remove(0).context.span_id;
        talk.client(&["SUBSCRIBE", "ch", "__keyevent@0__:expired"]);
        talk.server("*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n");
        talk.server("*3\r\n$9\r\nsubscribe\r\n$22\r\n__keyevent@0__:expired\r\n:2\r\n");
        talk.told();
        let payload = published.split(|byte| *byte == b'\n').skip(6).collect::<Vec<_>>().join(&b'\n');
        let payload = payload.strip_suffix(b"\r\n").unwrap_or(&payload);
        let mut message = format!("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n${}\r\n", payload.len()).into_bytes();
        message.extend_from_slice(payload);
        message.extend_from_slice(b"\r\n");
        talk.feed(Side::Server, &message);
        talk.server("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nplain\r\n");
        talk.server("*3\r\n$7\r\nmessage\r\n$22\r\n__keyevent@0__:expired\r\n$3\r\nkey\r\n");
        assert_eq!(
            talk.told(),
            [
                format!("delivered ch hello traced=true publish=Some({:?})", producer.to_string()),
                "delivered ch plain traced=true publish=None".to_owned(),
                "delivered __keyevent@0__:expired  traced=false publish=None".to_owned(),
            ]
        );
        let names: Vec<_> =
            talk.driver.deliveries.iter().map(|record| matches!(record.operation, Operation::Deliver { .. })).collect();
        assert_eq!(names, [true, true]);
    });
}

#[test]
fn only_the_beginning_of_a_long_command_is_kept() {
    both_ways(&following(Commands::None), |mut talk| {
        let long = "x".repeat(100_000);
        talk.client(&["SET", "k", &long]);
        talk.server("+OK\r\n");
        talk.client(&["GET", "k"]);
        talk.server(&format!("$100000\r\n{long}\r\n"));
        let told = talk.told();
        assert!(told[0].starts_with("1 SET k") && told[1] == "1 answered OK" && told[2] == "2 GET k");
    });
}

#[test]
fn a_transaction_that_is_not_answered_has_no_span_without_a_cause() {
    both_ways(&following(Commands::Caused), |mut talk| {
        talk.client(&["CLIENT", "REPLY", "OFF"]);
        talk.client(&["MULTI"]);
        talk.client(&["SET", "k", "v"]);
        talk.client(&["EXEC"]);
        talk.driver.close();
        assert!(talk.spans().is_empty());
    });
}

#[test]
fn the_bytes_are_the_same_whether_somebody_is_told_or_not() {
    const REPLIES: &str = "+OK\r\n*2\r\n$1\r\nv\r\n:7\r\n-ERR no\r\n$-1\r\n:1\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n\
                           *3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nplain\r\n";
    // Ids differ, so that contexts would.
    let policy = Policy { mode: Mode::Strip, ..following(Commands::All) };
    let run = |is_told: bool, by_byte: bool| {
        let mut talk = Conversation::new(policy.clone(), by_byte);
        if !is_told {
            talk.driver = Driver::new(&Arc::new(policy.clone()));
        }
        for words in [
            &["SET", "k", "caused"][..],
            &["LRANGE", "k", "0", "-1"],
            &["LPUSH", "k", "later"],
            &["GET", "nothing"],
            &["PUBLISH", "ch", "nobody"],
            &["MULTI"],
            &["GET", "k"],
            &["EXEC"],
            &["SUBSCRIBE", "ch"],
        ] {
            talk.client(words);
        }
        talk.server(REPLIES);
        assert_eq!(talk.told().is_empty(), !is_told);
        (talk.driver.to_server, talk.driver.to_client)
    };
    for by_byte in [false, true] {
        assert_eq!(run(true, by_byte), run(false, by_byte));
    }
}

#[test]
fn a_read_is_linked_to_those_who_have_written_what_it_got() {
    let writers = |record: &SpanRecord| record.inferred.as_ref().map(|inferred| inferred.writers.clone());
    both_ways(&following(Commands::All), |mut talk| {
        talk.client(&["GET", "k"]);
        talk.client(&["MGET", "k", "other"]);
        talk.client(&["GET", "k"]);
        talk.server("$8\r\nby-cause\r\n*2\r\n$8\r\nby-cause\r\n$8\r\nby-other\r\n$1\r\nv\r\n");
        let spans = talk.spans();
        assert_eq!(spans.len(), 3);
        assert_eq!(writers(&spans[0]), Some(vec![span(CAUSE)]));
        assert_eq!(writers(&spans[1]), Some(vec![span(CAUSE), span(OTHER)]));
        assert_eq!(writers(&spans[2]), None);
    });
}

#[test]
fn the_reads_of_a_transaction_link_its_span() {
    both_ways(&following(Commands::All), |mut talk| {
        for words in [&["MULTI"][..], &["GET", "k"], &["GET", "k"], &["GET", "k"], &["EXEC"]] {
            talk.client(words);
        }
        talk.server("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
        talk.server("*3\r\n$8\r\nby-other\r\n$8\r\nby-other\r\n$8\r\nby-cause\r\n");
        let spans = talk.spans();
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert_eq!(spans[0].inferred.as_ref().unwrap().writers, [span(OTHER), span(CAUSE)]);
    });
}

#[test]
fn a_reply_without_a_span_links_no_other_one() {
    both_ways(&following(Commands::Caused), |mut talk| {
        talk.client(&["SET", "k", "caused"]);
        talk.client(&["GET", "k"]);
        talk.server("+OK\r\n$8\r\nby-other\r\n");
        let spans = talk.spans();
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert!(spans[0].inferred.as_ref().unwrap().writers.is_empty());
    });
}

#[test]
fn a_command_is_told_with_the_database_that_was_asked_for() {
    both_ways(&following(Commands::None), |mut talk| {
        talk.client(&["GET", "k"]);
        talk.client(&["SELECT", "3"]);
        talk.client(&["GET", "k"]);
        talk.client(&["RESET"]);
        talk.client(&["GET", "k"]);
        assert_eq!(talk.databases(), [0, 3, 0]);
    });
}
