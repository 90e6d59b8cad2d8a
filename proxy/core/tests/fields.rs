//! What a session makes of contexts in fields of entries of streams (`--stream-carrier`), together with causes, and within bounds.
//! The bytes are in `transcripts/streams.txt`.

use std::sync::Arc;

use redistributed_core::carrier::{ContextKeys, StreamCarrier};
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Follow, Trust};
use redistributed_core::service::Environment;
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::trace::{Context, Operation, SpanContext, SpanRecord, UnixNanos};
use redistributed_core::{Counter, Output, Policy, Session, Side};

use crate::following::{CAUSE, Conversation, OTHER, both_ways, following, span};

fn policy() -> Policy {
    let stream_carriers = vec![(Glob::new("queue:*").unwrap(), StreamCarrier::Field)];
    Policy { stream_carriers, ..following(Commands::None) }
}

/// The `traceparent` in the last `XADD` that was sent, and all fields of it.
fn sent_fields(talk: &mut Conversation) -> (SpanContext, String) {
    let sent = String::from_utf8(std::mem::take(&mut talk.driver.to_server)).unwrap();
    let fields = sent.rsplit_once("*\r\n").unwrap().1.to_owned();
    let traceparent = fields.split("\r\n").find(|line| line.starts_with("00-")).unwrap();
    (span(traceparent), fields)
}

/// The only span that has ended.
fn only(talk: &mut Conversation) -> SpanRecord {
    let [record] = <[SpanRecord; 1]>::try_from(talk.spans()).expect("one span");
    record
}

/// Hands an entry with these fields in RESP to a consumer, and returns its span and what the inference was told of it.
fn taken(talk: &mut Conversation, fields: &str) -> (SpanRecord, String) {
    let elements = fields.matches('$').count();
    talk.client(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "queue:s", ">"]);
    talk.server(&format!("*1\r\n*2\r\n$7\r\nqueue:s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*{elements}\r\n{fields}"));
    let told = talk.told().into_iter().find(|line| line.starts_with("item")).unwrap();
    let [record] = <[SpanRecord; 1]>::try_from(std::mem::take(&mut talk.driver.deliveries)).expect("one item");
    (record, told)
}

#[test]
fn who_takes_an_entry_is_below_who_has_added_it_for_whatever_cause() {
    for follow in [Follow::Parent, Follow::Link] {
        both_ways(&Policy { follow, ..policy() }, |mut talk| {
            talk.client(&["XADD", "queue:s", "*", "note", "caused"]);
            talk.server("$3\r\n1-0\r\n");
            let (record, (context, fields)) = (only(&mut talk), sent_fields(&mut talk));
            assert_eq!(record.context, context);
            let cause = span(CAUSE);
            match follow {
                Follow::Parent => assert_eq!((record.parent, record.link), (Some(cause.span_id), None)),
                _ => assert_eq!((record.parent, record.link), (None, Some(cause))),
            }
            let Operation::Send(sent) = &record.operation else { panic!("{record:?}") };
            assert_eq!((sent.id.as_deref(), sent.body_size, sent.items.len()), (Some("1-0"), 10, 0));
            let (consumer, told) = taken(&mut talk, &fields);
            assert_eq!((consumer.parent, consumer.link), (Some(context.span_id), None));
            assert_eq!(consumer.context.trace_id, context.trace_id);
            assert_eq!(told, "item queue:s 1-0 caused traced=true pending=0/g/1-0", "it is not told of the context");
            assert!(matches!(consumer.operation, Operation::Item { body_size: 10, .. }), "{consumer:?}");
            assert!(String::from_utf8_lossy(&talk.driver.to_client).ends_with("*2\r\n$4\r\nnote\r\n$6\r\ncaused\r\n"));
        });
    }
}

#[test]
fn a_context_that_has_left_stays_the_one_of_its_span() {
    both_ways(&policy(), |mut talk| {
        talk.client(&["XADD", "queue:s", "*", "later", "v"]);
        talk.server("$3\r\n1-0\r\n");
        let (mut record, (context, _)) = (only(&mut talk), sent_fields(&mut talk));
        assert_eq!((record.context, record.parent, record.link), (context, None, None));
        policy().attribute(&mut record, &Context::from(span(CAUSE)), "joined");
        assert_eq!((record.context, record.parent, record.link), (context, None, Some(span(CAUSE))));
    });
}

#[test]
fn an_envelope_within_the_entry_is_the_parent_of_what_adds_it() {
    both_ways(&policy(), |mut talk| {
        let envelope = format!(r#"{{"labels":{{"traceparent":"{OTHER}","tracestate":"a=1"}}}}"#);
        talk.client(&["XADD", "queue:s", "*", "data", &envelope]);
        talk.server("$3\r\n1-0\r\n");
        let (record, (context, fields)) = (only(&mut talk), sent_fields(&mut talk));
        assert_eq!((record.parent, context.trace_id), (Some(span(OTHER).span_id), span(OTHER).trace_id));
        assert!(fields.ends_with(",a=1\r\n"), "{fields}");
        let (consumer, _) = taken(&mut talk, &fields);
        assert_eq!((consumer.parent, consumer.trace_state.as_deref()), (Some(context.span_id), Some("a=1")));
    });
}

#[test]
fn an_entry_with_many_fields_has_its_context_at_the_end() {
    both_ways(&policy(), |mut talk| {
        let fields: Vec<String> = (0..40).map(|field| format!("f{field}")).collect();
        let mut words = vec!["XADD", "queue:s", "*"];
        words.extend(fields.iter().map(String::as_str));
        talk.client(&["AUTH", "x"]);
        talk.server("+OK\r\n");
        talk.client(&words);
        let (context, fields) = sent_fields(&mut talk);
        talk.server("$3\r\n1-0\r\n");
        assert_eq!(only(&mut talk).context, context);
        assert_eq!(taken(&mut talk, &fields).0.parent, Some(context.span_id));
    });
}

#[test]
fn a_context_that_no_key_proves_is_no_parent() {
    let keyed = |key: &str| Policy { keys: ContextKeys::new([key]), ..policy() };
    both_ways(&keyed("a"), |mut talk| {
        talk.client(&["XADD", "queue:s", "*", "f", "v"]);
        talk.server("$3\r\n1-0\r\n");
        let (context, fields) = sent_fields(&mut talk);
        assert_eq!(taken(&mut talk, &fields).0.parent, Some(context.span_id));
        let no_trust = Policy { trust: Trust::None, ..keyed("a") };
        for policy in [keyed("b"), no_trust] {
            talk.driver.set_policy(&Arc::new(policy));
            let (consumer, told) = taken(&mut talk, &fields);
            assert_ne!(consumer.context.trace_id, context.trace_id);
            assert_eq!((consumer.parent, told.contains("traceparent")), (None, false));
            assert!(String::from_utf8_lossy(&talk.driver.to_client).ends_with("*2\r\n$1\r\nf\r\n$1\r\nv\r\n"));
        }
    });
}

/// A session whose streams have contexts, and the bytes that have left it to the client.
struct Reader {
    session: Session,
    policy: Arc<Policy>,
    ids: CountingIds,
    out: Output,
    left: usize,
    most_held: usize,
    counts: [u64; Counter::NAMES.len()],
}

impl Reader {
    fn reading() -> Self {
        let (session, policy) = (Session::new(), Arc::new(policy()));
        let (ids, out, counts) = (CountingIds::default(), Output::default(), [0; Counter::NAMES.len()]);
        let mut reader = Self { session, policy, ids, out, left: 0, most_held: 0, counts };
        let range = b"*4\r\n$6\r\nXRANGE\r\n$7\r\nqueue:s\r\n$1\r\n-\r\n$1\r\n+\r\n";
        reader.receive(Side::Client, range);
        reader.left = 0;
        reader
    }

    fn receive(&mut self, from: Side, bytes: &[u8]) {
        self.out.clear();
        let env = Environment::new(UnixNanos(1), &self.policy, &mut self.ids);
        self.session.receive(from, bytes, env, &mut self.out);
        self.left += self.out.byte_len();
        self.most_held = self.most_held.max(self.session.held_bytes());
        self.out.counts.nonzero().for_each(|(index, value)| self.counts[index] += value);
    }
}

#[test]
fn of_a_long_reply_no_more_than_one_entry_is_held_back() {
    const ENTRIES: usize = 1000;
    let mut reader = Reader::reading();
    let entry = format!("*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\nf\r\n$1500\r\n{}\r\n$1\r\ng\r\n$1\r\nv\r\n", "x".repeat(1500));
    let head = format!("*{ENTRIES}\r\n");
    reader.receive(Side::Server, head.as_bytes());
    let mut sent = head.len();
    for _ in 0..ENTRIES {
        for piece in entry.as_bytes().chunks(100) {
            reader.receive(Side::Server, piece);
            sent += piece.len();
            assert!(sent - reader.left <= entry.len(), "what is before the entry has left");
        }
        assert_eq!(sent, reader.left, "and all of it at its end");
    }
    assert!(reader.most_held < 16 * 1024, "{}", reader.most_held);
}

#[test]
fn an_entry_over_the_limit_is_passed_on_as_it_comes_and_the_next_one_is_read() {
    let context = "$11\r\ntraceparent\r\n$55\r\n00-00000000000000000000000000000007-0000000000000008-01\r\n\
        $10\r\ntracestate\r\n$39\r\nredistributed=0000000000000008-c8e232ed\r\n";
    let mut reader = Reader::reading();
    let limit = reader.policy.strip_limit();
    let piece = [b'x'; 64 * 1024];
    let pieces = 2 * limit / piece.len();
    reader.receive(Side::Server, b"*3\r\n*2\r\n$3\r\n1-0\r\n*6\r\n$1\r\nf\r\n");
    let head = format!("${}\r\n", pieces * piece.len());
    reader.receive(Side::Server, head.as_bytes());
    for _ in 0..pieces {
        reader.receive(Side::Server, &piece);
        assert!(reader.session.held_bytes() < limit + 2 * piece.len() + 16 * 1024);
    }
    assert!(reader.session.held_bytes() < 16 * 1024, "what is let go is not kept");
    reader.receive(Side::Server, format!("\r\n{context}").as_bytes());
    // The second one comes in one read.
    let long = format!("*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n${limit}\r\n{}\r\n", "x".repeat(limit));
    reader.receive(Side::Server, long.as_bytes());
    let before = reader.left;
    let fields = "$1\r\nf\r\n$1\r\nv\r\n";
    reader.receive(Side::Server, format!("*2\r\n$3\r\n1-2\r\n*6\r\n{fields}{context}").as_bytes());
    assert_eq!(reader.left - before, "*2\r\n$3\r\n1-2\r\n*2\r\n".len() + fields.len());
    let count = |counter: Counter| reader.counts[counter as usize];
    assert_eq!([Counter::EntriesUnread, Counter::EntriesStripped].map(count), [2, 1]);
}

#[test]
fn a_request_is_held_back_no_further_than_to_its_name_or_to_the_limit() {
    let mut reader = Reader::reading();
    for (request, held) in [
        ("*3\r\n$3\r\n", 0),
        ("*3\r\n$4\r\nXDEL\r\n", 0),
        ("*3\r\n$4\r\nXADD\r\n", 0),
        ("*5\r\n$4\r\nXADD\r\n$5\r\nother\r\n", 0),
        ("*5\r\n$4\r\nXADD\r\n$7\r\nqueue:s\r\n", 27),
        ("*5\r\n$4\r\nXA", 10),
        ("*2147483648\r\n", 0),
        ("*1000\r\n", 7),
        ("*5\r\n$4\r\nXADD\r\n$7\r\nqueue:s\r\n$1\r\n*\r\n$2000000\r\n", 0),
        ("*5\r\n$4\r\nXADD\r\n$1000000\r\n", 0),
    ] {
        reader.session = Session::new();
        reader.left = 0;
        reader.receive(Side::Client, request.as_bytes());
        assert_eq!(request.len() - reader.left, held, "{}", request.escape_default());
    }
}
