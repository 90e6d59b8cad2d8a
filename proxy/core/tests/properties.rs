//! The properties that hold for any input, checked with generated inputs.

mod jobs;

use std::sync::Arc;

use crate::support::{Driver, Rng, bulk, injecting, multibulk};
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode as decode_resp2;
use redis_protocol::resp3::decode::complete::decode as decode_resp3;
use redistributed_core::carrier::json::JsonPath;
use redistributed_core::carrier::{self, Carrier, ContextKeys, Envelope, Place, StreamCarrier, trailer};
use redistributed_core::choice::Choice;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Mode};
use redistributed_core::resp::{Progress, Scan};
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::{Counter, Policy, Side};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_leave_the_same_however_they_are_cut(
        pieces in vec((side(), bytes(200)), 0..12), policy in policy(), seed in any::<u64>()
    ) {
        same_however_it_is_cut(&pieces, &policy, seed)?;
    }

    #[test]
    fn conversations_leave_the_same_however_they_are_cut(
        pieces in vec(prop_oneof![(Just(Side::Client), request()), (Just(Side::Server), frame())], 0..40),
        policy in policy(),
        seed in any::<u64>(),
    ) {
        same_however_it_is_cut(&pieces, &policy, seed)?;
    }

    #[test]
    fn without_publish_or_delivery_the_output_is_the_input(
        pieces in vec(prop_oneof![(Just(Side::Client), other_request()), (Just(Side::Server), value())], 0..40),
        policy in policy(),
        seed in any::<u64>(),
    ) {
        let driver = run(&pieces, &policy, &mut Rng(seed), 50);
        prop_assert_eq!(&driver.to_server, &sent(&pieces, Side::Client));
        prop_assert_eq!(&driver.to_client, &sent(&pieces, Side::Server));
    }

    #[test]
    fn without_publish_or_delivery_no_byte_waits(
        pieces in vec(prop_oneof![(Just(Side::Client), other_request()), (Just(Side::Server), value())], 0..20),
        seed in any::<u64>(),
    ) {
        let mut driver = Driver::new(&Arc::new(injecting()));
        let (mut ids, mut rng) = (CountingIds::default(), Rng(seed));
        for (side, bytes) in &pieces {
            for piece in cut(bytes, &mut rng, 20) {
                let before = driver.to_server.len() + driver.to_client.len();
                driver.feed(*side, piece, &mut ids);
                prop_assert_eq!(driver.to_server.len() + driver.to_client.len() - before, piece.len());
            }
        }
    }

    #[test]
    fn observe_changes_no_byte(
        pieces in vec(prop_oneof![(Just(Side::Client), request()), (Just(Side::Server), frame())], 0..40),
        carrier in carrier(),
        seed in any::<u64>(),
    ) {
        let policy = Arc::new(Policy { mode: Mode::Observe, ..with_carrier(carrier) });
        let driver = run(&pieces, &policy, &mut Rng(seed), 50);
        prop_assert_eq!(&driver.to_server, &sent(&pieces, Side::Client));
        prop_assert_eq!(&driver.to_client, &sent(&pieces, Side::Server));
    }

    #[test]
    fn what_is_published_is_delivered_exactly(
        payload in payload(), channel in "[a-z]{0,8}", carrier in carrier(), resp3: bool, seed in any::<u64>()
    ) {
        let policy = Arc::new(with_carrier(carrier));
        let (mut ids, mut rng) = (CountingIds::default(), Rng(seed));
        let mut publisher = Driver::new(&policy);
        let request = multibulk(&[b"PUBLISH", channel.as_bytes(), &payload]);
        cut(&request, &mut rng, 30).for_each(|piece| publisher.feed(Side::Client, piece, &mut ids));

        let delivered = subscriber_gets(&policy, published_payload(&publisher.to_server), &channel, resp3, &mut rng, &mut ids);
        let (expected, got) = (message(resp3, channel.as_bytes(), &payload), &delivered.to_client);
        prop_assert!(got.ends_with(&expected), "{}", got.escape_ascii());
        let injected = publisher.counts[Counter::Injected as usize];
        prop_assert_eq!(delivered.counts[Counter::Stripped as usize], injected);
        prop_assert_eq!(injected, u64::from(carrier != Carrier::Json || is_json_object(&payload)));
        let [span] = &delivered.deliveries[..] else { panic!("one message") };
        publisher.feed(Side::Server, b":1\r\n", &mut ids);
        if injected == 1 {
            prop_assert_eq!(span.parent, Some(publisher.spans[0].context.span_id));
        }
    }

    #[test]
    fn what_is_added_to_a_stream_is_read_exactly(
        fields in vec((bytes(20), bytes(300)), 1..6), keyed: bool, shape in 0..4, seed in any::<u64>()
    ) {
        let keys = if keyed { ContextKeys::new(["a key"]) } else { ContextKeys::default() };
        let policy = Arc::new(Policy { keys, ..with_fields(injecting()) });
        let (mut ids, mut rng) = (CountingIds::default(), Rng(seed));
        let mut producer = Driver::new(&policy);
        producer.feed(Side::Client, &multibulk(&["AUTH", "x"]), &mut ids);
        producer.feed(Side::Server, b"+OK\r\n", &mut ids);
        let before = producer.to_server.len();
        let mut words: Vec<&[u8]> = vec![b"XADD", b"s", b"*"];
        words.extend(fields.iter().flat_map(|(name, value)| [&name[..], value]));
        let request = multibulk(&words);
        cut(&request, &mut rng, 30).for_each(|piece| producer.feed(Side::Client, piece, &mut ids));
        let sent = &producer.to_server[before..];
        let (count, sent) = sent.split_at(sent.iter().position(|byte| *byte == b'\n').unwrap() + 1);
        prop_assert_eq!(std::str::from_utf8(count).unwrap(), format!("*{}\r\n", words.len() + 4));
        let (head, own) = (b"$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n".len(), &request[request.len() - fields_len(&fields)..]);
        let stored = |fields: &[u8], count: usize| {
            let entry = [b"*2\r\n$3\r\n1-0\r\n", format!("*{count}\r\n").as_bytes(), fields].concat();
            let head: &[u8] = match shape {
                0 => b"*1\r\n",
                1 => b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n",
                2 => b"%1\r\n$1\r\ns\r\n*1\r\n",
                _ => b"*3\r\n$3\r\n0-0\r\n*1\r\n",
            };
            let end: &[u8] = if shape == 3 { b"*0\r\n" } else { b"" };
            [head, &entry, end].concat()
        };
        let reading: &[&str] = match shape {
            0 => &["XRANGE", "s", "-", "+"],
            1 | 2 => &["XREAD", "STREAMS", "s", "0"],
            _ => &["XAUTOCLAIM", "s", "g", "c", "0", "0"],
        };
        let mut consumer = Driver::new(&policy);
        consumer.feed(Side::Client, &multibulk(reading), &mut ids);
        let reply = stored(&sent[head..], 2 * fields.len() + 4);
        cut(&reply, &mut rng, 30).for_each(|piece| consumer.feed(Side::Server, piece, &mut ids));
        prop_assert_eq!(&consumer.to_client, &stored(own, 2 * fields.len()));
        prop_assert_eq!(consumer.counts[Counter::EntriesStripped as usize], 1);
    }

    #[test]
    fn readers_of_carriers_take_any_bytes(payload in bytes(300), carrier in carrier(), read_json: bool) {
        let keys = ContextKeys::default();
        if let Some(found) = carrier::find_added(&payload, &Place { channel: b"ch", carrier, keys: &keys }) {
            prop_assert!(found.range.end <= payload.len());
        }
        carrier::find_supplied(&payload, carrier, read_json.then(JsonPath::default).as_ref(), Default::default());
    }

    #[test]
    fn no_byte_vanishes_that_was_there_before_the_first_mark(
        payload in bytes(60), tail in bytes(120), len: u16, with_fields: bool
    ) {
        // Whoever writes only the tail knows everything in front of it, and may claim any length.
        let end = if with_fields { trailer::END_WITH_FIELDS } else { trailer::END };
        let whole = [&payload[..], &tail, &len.to_be_bytes(), &end].concat();
        prop_assert_eq!(trailer::find(&whole), None);
        let claimed = [&payload[..], &tail, &((payload.len() + tail.len() + 10) as u16).to_be_bytes(), &end].concat();
        prop_assert_eq!(trailer::find(&claimed), None);
    }

    #[test]
    fn the_scanner_agrees_with_a_decoder_of_resp2(value in resp2(), rest in bytes(20)) {
        let stream = [&value[..], &rest].concat();
        let (_, len) = decode_resp2(&stream).unwrap().unwrap();
        prop_assert_eq!(len, value.len());
        prop_assert_eq!(end_of_first(&stream), Progress::Done(len));
        for cut in 0..value.len() {
            prop_assert_eq!(end_of_first(&value[..cut]), Progress::More);
        }
    }

    #[test]
    fn the_scanner_agrees_with_a_decoder_of_resp3(value in resp3(), rest in bytes(20)) {
        let stream = [&value[..], &rest].concat();
        let (_, len) = decode_resp3(&stream).unwrap().unwrap();
        prop_assert_eq!(len, value.len());
        prop_assert_eq!(end_of_first(&stream), Progress::Done(len));
    }
}

fn same_however_it_is_cut(pieces: &[(Side, Vec<u8>)], policy: &Arc<Policy>, seed: u64) -> Result<(), TestCaseError> {
    let whole = run(pieces, policy, &mut Rng(0), usize::MAX);
    for largest in [1, 3, 40] {
        let cut = run(pieces, policy, &mut Rng(seed), largest);
        prop_assert_eq!(&cut.to_server, &whole.to_server);
        prop_assert_eq!(&cut.to_client, &whole.to_client);
        prop_assert_eq!(cut.counts, whole.counts);
        let told = |driver: &Driver| -> Vec<_> {
            let all = driver.spans.iter().chain(&driver.deliveries);
            all.map(|span| (span.context, span.parent, span.error.clone(), span.operation.clone())).collect()
        };
        prop_assert_eq!(told(&cut), told(&whole));
    }
    Ok(())
}

/// Feeds all pieces, cut at random into at most `largest` bytes, and ends both streams.
fn run(pieces: &[(Side, Vec<u8>)], policy: &Arc<Policy>, rng: &mut Rng, largest: usize) -> Driver {
    let mut driver = Driver::new(policy);
    let mut ids = CountingIds::default();
    for (side, bytes) in pieces {
        cut(bytes, rng, largest).for_each(|piece| driver.feed(*side, piece, &mut ids));
    }
    driver.end_of_stream(Side::Client);
    driver.end_of_stream(Side::Server);
    driver.close();
    driver
}

fn cut<'a>(mut bytes: &'a [u8], rng: &mut Rng, largest: usize) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(move || {
        let len = if largest == usize::MAX { bytes.len() } else { (1 + rng.below(largest)).min(bytes.len()) };
        let (piece, rest) = bytes.split_at(len);
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn sent(pieces: &[(Side, Vec<u8>)], from: Side) -> Vec<u8> {
    pieces.iter().filter(|(side, _)| *side == from).flat_map(|(_, bytes)| bytes.clone()).collect()
}

fn end_of_first(stream: &[u8]) -> Progress<usize> {
    let mut pos = 0;
    match Scan::values(1).advance(stream, &mut pos) {
        Progress::Done(()) => Progress::Done(pos),
        Progress::More => Progress::More,
        Progress::Invalid => Progress::Invalid,
    }
}

/// What a subscriber behind a session gets, from the confirmation of its subscription on.
fn subscriber_gets(
    policy: &Arc<Policy>,
    payload: &[u8],
    channel: &str,
    resp3: bool,
    rng: &mut Rng,
    ids: &mut CountingIds,
) -> Driver {
    let mut subscriber = Driver::new(policy);
    subscriber.feed(Side::Client, &multibulk(&["HELLO", if resp3 { "3" } else { "2" }]), ids);
    subscriber.feed(Side::Server, b"*0\r\n", ids);
    subscriber.feed(Side::Client, &multibulk(&["SUBSCRIBE", channel]), ids);
    let mut confirmation = frame_of(resp3, &[b"subscribe", channel.as_bytes()], 3);
    confirmation.extend(b":1\r\n");
    subscriber.feed(Side::Server, &confirmation, ids);
    cut(&message(resp3, channel.as_bytes(), payload), rng, 30)
        .for_each(|piece| subscriber.feed(Side::Server, piece, ids));
    subscriber
}

fn message(resp3: bool, channel: &[u8], payload: &[u8]) -> Vec<u8> {
    frame_of(resp3, &[b"message", channel, payload], 3)
}

fn frame_of(resp3: bool, words: &[&[u8]], count: usize) -> Vec<u8> {
    let mut out = format!("{}{count}\r\n", if resp3 { '>' } else { '*' }).into_bytes();
    words.iter().for_each(|word| bulk(word, &mut out));
    out
}

/// The third argument of a publish.
fn published_payload(request: &[u8]) -> &[u8] {
    let mut rest = &request[4..];
    for _ in 0..2 {
        rest = bulk_of(rest).1;
    }
    bulk_of(rest).0
}

fn bulk_of(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\r').unwrap();
    let len: usize = std::str::from_utf8(&bytes[1..end]).unwrap().parse().unwrap();
    (&bytes[end + 2..end + 2 + len], &bytes[end + 4 + len..])
}

fn is_json_object(payload: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(payload).is_ok_and(|value| value.is_object())
}

fn with_carrier(carrier: Carrier) -> Policy {
    Policy { carriers: vec![(Glob::new("*").unwrap(), carrier)], ..injecting() }
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn carrier() -> impl Strategy<Value = Carrier> {
    prop_oneof![Just(Carrier::Trailer), Just(Carrier::Json), Just(Carrier::OpenCensus)]
}

fn policy() -> impl Strategy<Value = Arc<Policy>> {
    (carrier(), any::<bool>(), any::<bool>(), any::<bool>(), prop_oneof![Just(5), Just(1000)]).prop_map(
        |(carrier, all, has_fields, has_envelopes, inject_limit)| {
            let commands = if all { Commands::All } else { Commands::None };
            let envelopes = if has_envelopes { Envelope::ALL.to_vec() } else { Vec::new() };
            let policy = Policy { commands, inject_limit, envelopes, ..with_carrier(carrier) };
            Arc::new(if has_fields { with_fields(policy) } else { policy })
        },
    )
}

/// The same with contexts in the entries of streams whose key begins with `s`.
fn with_fields(policy: Policy) -> Policy {
    Policy { stream_carriers: vec![(Glob::new("s*").unwrap(), StreamCarrier::Field)], ..policy }
}

/// Length of fields in RESP, in bytes.
fn fields_len(fields: &[(Vec<u8>, Vec<u8>)]) -> usize {
    let mut out = Vec::new();
    fields.iter().for_each(|(name, value)| [name, value].into_iter().for_each(|word| bulk(word, &mut out)));
    out.len()
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    // Bytes of the protocol often, so that not every stream is invalid at once.
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"*$+-:>%\r\n0123ab"[..])];
    vec(byte, 0..most)
}

/// Bytes, text and JSON objects that an application may publish. None ends in a trailer, because such a payload is a message
/// that is published again, and its trailer is replaced.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let name = "[a-z]{1,6}";
    prop_oneof![
        bytes(300),
        vec(any::<u8>(), 0..3000),
        (" {0,2}", vec((name, "[a-z\"\\\\{},]{0,9}"), 0..4), "[ \n]{0,2}").prop_map(|(before, members, after)| {
            let members: serde_json::Map<_, _> = members.into_iter().map(|(k, v)| (k, v.into())).collect();
            format!("{before}{}{after}", serde_json::Value::Object(members)).into_bytes()
        }),
    ]
}

fn other_request() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("GET"),
        Just("set"),
        Just("MULTI"),
        Just("EXEC"),
        Just("HELLO"),
        Just("RESET"),
        Just("CLIENT"),
        Just("PUBLISHX"),
        Just("SELECT"),
        Just("REPLCONF"),
        Just("DISCARD"),
        Just("UNSUBSCRIBE"),
        Just("MONITOR"),
    ];
    let argument = prop_oneof![bytes(60), Just(b"REPLY".to_vec()), Just(b"OFF".to_vec()), Just(b"3".to_vec())];
    let multibulk = (name, vec(argument, 0..4)).prop_map(|(name, mut arguments)| {
        arguments.insert(0, name.as_bytes().to_vec());
        multibulk(&arguments)
    });
    prop_oneof![4 => multibulk, 1 => "[a-z ]{0,20}\r\n".prop_map(String::into_bytes), 1 => Just(b"*0\r\n".to_vec())]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just("PUBLISH"), Just("SUBSCRIBE"), Just("psubscribe"), Just("SPUBLISH")];
    let channel = prop_oneof![Just("ch"), Just("__ch")];
    let publish = (name, channel, payload())
        .prop_map(|(name, channel, payload)| multibulk(&[name.as_bytes(), channel.as_bytes(), &payload]));
    let add = (prop_oneof![Just("s"), Just("t")], vec(bytes(20), 0..5)).prop_map(|(key, fields)| {
        let mut words = vec![b"xadd".to_vec(), key.into(), b"*".to_vec()];
        words.extend(fields);
        multibulk(&words)
    });
    let read =
        prop::sample::select(&["XRANGE s - +", "XREAD STREAMS s 0", "XAUTOCLAIM s g c 0 0", "XINFO STREAM s"][..]);
    let read = read.prop_map(|words| multibulk(&words.split(' ').collect::<Vec<_>>()));
    prop_oneof![2 => publish, 2 => other_request(), 1 => add, 1 => read, 1 => jobs::job()]
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let carried = payload().prop_map(|payload| {
        let mut prefix = Vec::new();
        let span = carrier::carried_span(span_context(), Carrier::OpenCensus, &payload, None);
        carrier::opencensus::write(span, &mut prefix);
        let mut payload = [prefix, payload].concat();
        trailer::write(&span_context().into(), &mut payload);
        payload
    });
    let pubsub = (any::<bool>(), prop_oneof![payload(), carried], 0..4).prop_map(|(resp3, payload, kind)| match kind {
        0 => [frame_of(resp3, &[b"subscribe", b"ch"], 3), b":1\r\n".to_vec()].concat(),
        1 => [frame_of(resp3, &[b"unsubscribe", b"ch"], 3), b":0\r\n".to_vec()].concat(),
        2 => frame_of(resp3, &[b"pmessage", b"*", b"ch", &payload], 4),
        _ => message(resp3, b"ch", &payload),
    });
    let line = prop_oneof![Just("+OK\r\n"), Just("+QUEUED\r\n"), Just("*2\r\n"), Just("+RESET\r\n"), Just(":1\r\n")];
    prop_oneof![3 => pubsub, 2 => line.prop_map(|line| line.as_bytes().to_vec()), 1 => value(), 1 => entries()]
}

/// Replies with entries of streams, some of which carry a context.
fn entries() -> impl Strategy<Value = Vec<u8>> {
    // The context of trace 7 and span 8, as the transcripts have it.
    const WITH_CONTEXT: &str = "*2\r\n$3\r\n1-0\r\n*6\r\n$1\r\nf\r\n$1\r\nv\r\n$11\r\ntraceparent\r\n$55\r\n\
        00-00000000000000000000000000000007-0000000000000008-01\r\n$10\r\ntracestate\r\n$39\r\n\
        redistributed=0000000000000008-c8e232ed\r\n";
    let entry = prop_oneof![
        Just(WITH_CONTEXT.to_owned()),
        Just("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n".to_owned()),
        Just("*2\r\n$3\r\n1-0\r\n*-1\r\n".to_owned()),
        Just("*-1\r\n".to_owned()),
    ];
    (
        prop::sample::select(&["", "*1\r\n*2\r\n$1\r\ns\r\n", "%1\r\n$1\r\ns\r\n", "*2\r\n$3\r\n0-0\r\n"][..]),
        vec(entry, 0..4),
    )
        .prop_map(|(head, entries)| format!("{head}*{}\r\n{}", entries.len(), entries.concat()).into_bytes())
}

fn span_context() -> redistributed_core::trace::SpanContext {
    redistributed_core::trace::SpanContext {
        trace_id: redistributed_core::trace::TraceId::MIN,
        span_id: redistributed_core::trace::SpanId::MIN,
        flags: Default::default(),
    }
}

/// Any value that a server sends, other than a message.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![resp2(), resp3(), Just(b"|1\r\n+a\r\n:1\r\n+described\r\n".to_vec())]
}

/// Values that the oracle reads as Redis does. They have no number with a sign or leading zeros, and no lone `\r` or `\n`.
fn resp2() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        "[a-zA-Z ]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        "[A-Z]{1,5} [a-z ]{0,20}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        vec(any::<u8>(), 0..40).prop_map(|body| {
            let mut out = Vec::new();
            bulk(&body, &mut out);
            out
        }),
        Just(b"$-1\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| vec(inner, 0..5).prop_map(|items| aggregate('*', 1, &items)))
}

/// Values that the oracle reads as the scanner does. They have no RESP2 nulls, no verbatim strings but `txt`, no aggregates
/// as keys, and no equal members of a set.
fn resp3() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        "[a-zA-Z ]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        vec(any::<u8>(), 0..40).prop_map(|body| {
            let mut out = Vec::new();
            bulk(&body, &mut out);
            out
        }),
        Just(b"_\r\n".to_vec()),
        any::<bool>().prop_map(|yes| format!("#{}\r\n", if yes { 't' } else { 'f' }).into_bytes()),
        (-1000..1000i32).prop_map(|number| format!(",{}.5\r\n", number).into_bytes()),
        "[1-9][0-9]{0,40}".prop_map(|number| format!("({number}\r\n").into_bytes()),
        "[a-z]{0,20}".prop_map(|text| format!("={}\r\ntxt:{text}\r\n", text.len() + 4).into_bytes()),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let members = vec(inner.clone(), 0..4).prop_map(|values| {
            let keyed =
                values.into_iter().enumerate().flat_map(|(i, value)| [format!("+k{i}\r\n").into_bytes(), value]);
            aggregate('%', 2, &keyed.collect::<Vec<_>>())
        });
        let set = (0..4usize)
            .prop_map(|n| aggregate('~', 1, &(0..n).map(|i| format!(":{i}\r\n").into_bytes()).collect::<Vec<_>>()));
        prop_oneof![vec(inner, 0..5).prop_map(|items| aggregate('*', 1, &items)), members, set]
    })
}

fn aggregate(kind: char, values_each: usize, items: &[Vec<u8>]) -> Vec<u8> {
    [format!("{kind}{}\r\n", items.len() / values_each).into_bytes(), items.concat()].concat()
}
