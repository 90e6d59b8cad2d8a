//! The properties that hold for any bytes. Each is a function that panics if the property does not hold.
//!
//! The fuzz targets in `proxy/fuzz` call these functions with inputs that they generate. The tests below call them with the
//! seeds in `proxy/fuzz/seeds`, so that `cargo test` checks every property too.

mod causes;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::carrier::json::JsonPath;
use crate::carrier::out_of_band::notices;
use crate::carrier::{self, Carrier, ContextKeys, Envelope, Place, StreamCarrier, field, json, opencensus, trailer};
use crate::choice::Choice;
use crate::glob::Glob;
use crate::http::{self, HttpSession};
use crate::policy::{Commands, Mode};
use crate::resp::{NumberLine, Progress, Scan};
use crate::service::{Audience, Environment, Event, ExpectedReceivers, NotProven, SubscriptionChange};
use crate::trace::ids::CountingIds;
use crate::trace::{Context, Ids, Propagators, Sampler, SpanContext, SpanRecord, UnixNanos, sampler::Root};
use crate::{Counter, Output, Policy, Session, Side};

pub use causes::causes;

/// The scanner finds the same ends however the bytes are cut. The first byte is the length of the pieces.
pub fn scan(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = ends(stream, stream.len().max(1));
    assert_eq!(ends(stream, 1), whole, "byte by byte");
    assert_eq!(ends(stream, usize::from(size).max(1)), whole, "in pieces of {size}");
    let mut number = NumberLine::default();
    let mut pos = 0;
    let in_one = number.read(stream, &mut pos);
    let mut number = NumberLine::default();
    let in_bytes = stream.iter().map(|byte| number.read(&[*byte], &mut 0)).find(|progress| *progress != Progress::More);
    assert_eq!(in_bytes.unwrap_or(Progress::More), in_one);
}

/// The ends of all complete values at the start of `stream`, and whether invalid bytes follow them.
fn ends(stream: &[u8], size: usize) -> (Vec<usize>, bool) {
    let (mut found, mut fed) = (Vec::new(), 0);
    let mut scan = Scan::values(1);
    for piece in stream.chunks(size) {
        let mut pos = 0;
        // The loop ends with the piece, because a scan for one value is never done without a byte.
        while pos < piece.len() {
            match scan.advance(piece, &mut pos) {
                Progress::More => assert_eq!(pos, piece.len(), "all bytes are taken while more are needed"),
                Progress::Invalid => return (found, true),
                Progress::Done(()) => {
                    found.push(fed + pos);
                    scan = Scan::values(1);
                }
            }
        }
        fed += piece.len();
    }
    (found, false)
}

/// The readers of all carriers are total, and a context that is added to a payload is found and removed again exactly, with
/// keys and without. The first byte chooses the context. If its high bit is set, the rest becomes the fields of a trailer.
pub fn carrier(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let framed = (choice & 0x80 != 0).then(|| framed(rest));
    let payload = framed.as_deref().unwrap_or(rest);
    let context = a_context(choice);
    let formats = Propagators { trace_context: true, baggage: true, b3: true, b3_multi: false, jaeger: true };
    if let Some(found) = trailer::find(payload) {
        assert_eq!(found.range.end, payload.len());
        assert!((trailer::MIN_LEN..=trailer::MAX_LEN).contains(&found.range.len()));
        let bytes = &payload[found.range.clone()];
        assert!(bytes.starts_with(&trailer::BEGIN), "it begins with its mark");
        let mut written = Vec::new();
        trailer::write(&found.context.expect("it is understood"), &mut written);
        assert!(found.has_mac || written == bytes, "there is one way to write it");
    }
    json::Object::parse(payload, formats, &JsonPath::default());
    opencensus::find(payload);
    added_to_fields(payload, &context);
    if let Some((_, ranges)) = carrier::find_removable(payload, formats) {
        ranges.iter().fold(0, |end, range| {
            assert!(end <= range.start && range.start < range.end && range.end <= payload.len());
            range.end
        });
    }
    for keys in [ContextKeys::default(), ContextKeys::new(["a key", "an old key"])] {
        told(payload, &keys);
        for form in [Carrier::Trailer, Carrier::Json, Carrier::OpenCensus] {
            carrier::find_supplied(payload, form, (choice & 4 != 0).then(JsonPath::default).as_ref(), formats);
            // A prefix has no room for a MAC.
            if keys.is_empty() || form != Carrier::OpenCensus {
                added_and_removed(payload, &Place { channel: b"ch", carrier: form, keys: &keys }, &context, formats);
            }
        }
    }
}

/// What proxies tell each other can be read whatever it is, and what was read can be told again.
fn told(message: &[u8], keys: &ContextKeys) {
    let read = |message: &[u8]| notices(b"ch", message, keys).collect::<Vec<_>>();
    let (found, mut written) = (read(message), Vec::new());
    found.iter().for_each(|notice| notice.write(b"ch", keys, &mut written));
    assert_eq!(read(&written), found);
}

/// A context that is added to `fields` is found again, if these are pairs of bulk strings. Whatever is found begins behind such
/// pairs.
fn added_to_fields(fields: &[u8], context: &Context) {
    for keys in [ContextKeys::default(), ContextKeys::new(["a key", "an old key"])] {
        if let Some(found) = field::find(fields, &keys) {
            assert!(field::are_pairs(&fields[..found.start]) && field::are_pairs(&fields[found.start..]));
        }
        let mut bytes = fields.to_vec();
        field::write(context, fields, &keys, &mut bytes);
        match field::find(&bytes, &keys) {
            Some(found) => {
                assert!(field::are_pairs(fields) && found.start == fields.len());
                assert_eq!(found.context.expect("ours is believed").span, context.span);
            }
            None => assert!(!field::are_pairs(fields)),
        }
    }
}

/// A context is added to `payload`, or replaces the one in it, and is found and removed again.
fn added_and_removed(payload: &[u8], place: &Place<'_>, context: &Context, formats: Propagators) {
    let mut bytes = Vec::new();
    let added = carrier::find_added(payload, place).filter(|added| !added.is_forged);
    let form = added.as_ref().map_or(place.carrier, |added| added.form);
    let context =
        &Context { span: carrier::carried_span(context.span, form, payload, added.as_ref()), ..context.clone() };
    if let Some(added) = added {
        assert!(added.range.end <= payload.len());
        let mut handed_on = Vec::new();
        carrier::hand_on(payload, &added, context.span, &mut handed_on);
        assert_eq!(handed_on.len(), added.range.len());
        carrier::replace(payload, &added, place, context, &mut bytes);
        let replaced = spliced(payload, added.range, &bytes);
        let found = carrier::find_added(&replaced, place).expect("a replaced context is found");
        assert_eq!((found.form, found.range.len()), (added.form, bytes.len()));
        assert_eq!(found.context.expect("ours is believed").span, carried_span(context, found.form));
    } else if let Some(at) = carrier::add(payload, place, context, formats, &mut bytes) {
        let longer = spliced(payload, at..at, &bytes);
        let found = carrier::find_added(&longer, place).expect("an added context is found");
        assert_eq!(found.form, form);
        assert_eq!(spliced(&longer, found.range, &[]), payload, "and removed exactly");
        let read = found.context.expect("ours is believed");
        assert_eq!(read.span, carried_span(context, form));
        if form == Carrier::Trailer {
            assert_eq!(read, *context);
        }
    } else {
        assert!(bytes.is_empty(), "nothing is written if the payload does not fit");
    }
}

/// The span context as `form` carries it. OpenCensus has no flag but *sampled*.
fn carried_span(context: &Context, form: Carrier) -> SpanContext {
    let span = context.span;
    let only_sampled = crate::trace::TraceFlags::default().with_sampled(span.flags.is_sampled());
    if form == Carrier::OpenCensus { SpanContext { flags: only_sampled, ..span } } else { span }
}

fn spliced(payload: &[u8], range: core::ops::Range<usize>, insert: &[u8]) -> Vec<u8> {
    [&payload[..range.start], insert, &payload[range.end..]].concat()
}

fn a_context(choice: u8) -> Context {
    let mut ids = CountingIds::default();
    let flags = crate::trace::TraceFlags::from_byte(choice);
    Context {
        span: SpanContext { trace_id: ids.trace_id(), span_id: ids.span_id(), flags },
        trace_state: (choice & 8 != 0).then(|| "a=1,redistributed=0000000000000009,b=2".into()),
        baggage: (choice & 16 != 0).then(|| "user=7".into()),
        published: (choice & 32 != 0).then_some(UnixNanos(1_700_000_000_000_000_001)),
    }
}

/// A trailer with valid ids and a valid length around any fields.
fn framed(fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    trailer::write(&a_context(1).span.into(), &mut out);
    out.truncate(out.len() - trailer::MARK_LEN);
    out.extend_from_slice(fields);
    out.extend_from_slice(&((out.len() + 10) as u16).to_be_bytes()); // the reader refuses what does not fit
    out.extend_from_slice(&trailer::END_WITH_FIELDS);
    out
}

/// The parsers of text forms are total, and a context that one of them reads can be written as a
/// `traceparent` and read again.
pub fn traceparent(data: &[u8]) {
    let parsers = [SpanContext::parse_traceparent, SpanContext::parse_uber_trace_id, SpanContext::parse_b3_single];
    for context in parsers.into_iter().filter_map(|parse| parse(data)) {
        assert_ne!(context.trace_id.to_bytes(), [0; 16]);
        assert_ne!(context.span_id.to_bytes(), [0; 8]);
        assert_eq!(SpanContext::parse_traceparent(&context.to_traceparent()), Some(context));
    }
    if let Ok(Ok(glob)) = core::str::from_utf8(data.get(..data.len().min(64)).unwrap_or_default()).map(Glob::new) {
        glob.matches(data);
    }
}

/// A conversation gives the same bytes, records and counts however it is cut. If nothing is rewritten, these are the bytes
/// that came. The first byte chooses the policy. Each further byte says by bit 7 which side sends. With bit 6, its other
/// bits choose from [`CLIENT`] or [`SERVER`]. Without it, they say how many of the bytes that follow the side sends.
pub fn session(data: &[u8]) {
    let Some((&choice, script)) = data.split_first() else { return };
    let policy = Arc::new(a_policy(choice));
    let pieces = conversation(script);
    let unwatched = |pieces: &[(Side, Vec<u8>)], size| Transcript::of(&policy, pieces, size, false);
    let whole = unwatched(&joined(&pieces), usize::MAX);
    assert_eq!(unwatched(&pieces, usize::MAX), whole, "as it was cut");
    assert_eq!(unwatched(&pieces, 1), whole, "byte by byte");
    assert_eq!(unwatched(&pieces, 7), whole, "in pieces of 7");
    let watched = Transcript::of(&policy, &pieces, 7, true);
    assert_eq!(watched.without_the_watchers(&whole), whole, "while somebody watches");
    let injected = [Counter::Injected, Counter::EntriesInjected];
    let stripped = [Counter::Stripped, Counter::EntriesStripped];
    for (side, rewritten) in [(Side::Client, injected), (Side::Server, stripped)] {
        if rewritten.iter().all(|counter| whole.count(*counter) == 0) {
            let came: Vec<u8> = pieces.iter().filter(|(from, _)| *from == side).flat_map(|(_, b)| b.clone()).collect();
            assert_eq!(whole.bytes[side as usize], came, "what is not rewritten goes on as it came");
        }
    }
}

/// The requests that [`session`] chooses from.
pub const CLIENT: [&[u8]; 29] = [
    b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$2\r\nhi\r\n",
    b"*3\r\n$8\r\nSPUBLISH\r\n$2\r\nch\r\n$8\r\n{\"id\":7}\r\n",
    b"*3\r\n$7\r\nPUBLISH\r\n$4\r\n__ch\r\n$2\r\nhi\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n",
    b"*3\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n$2\r\nc*\r\n",
    b"*2\r\n$10\r\nSSUBSCRIBE\r\n$2\r\nch\r\n",
    b"*1\r\n$11\r\nUNSUBSCRIBE\r\n",
    b"*2\r\n$12\r\nPUNSUBSCRIBE\r\n$1\r\n*\r\n",
    b"*1\r\n$12\r\nSUNSUBSCRIBE\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*1\r\n$7\r\nDISCARD\r\n",
    b"*1\r\n$5\r\nRESET\r\n",
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n",
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n",
    b"*1\r\n$7\r\nMONITOR\r\n",
    b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n",
    b"publish ch \"hi\"\r\n",
    b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n",
    b"*4\r\n$6\r\nXRANGE\r\n$1\r\ns\r\n$1\r\n-\r\n$1\r\n+\r\n",
    b"*4\r\n$5\r\nXREAD\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n0\r\n",
    b"*3\r\n$5\r\nXINFO\r\n$6\r\nSTREAM\r\n$1\r\ns\r\n",
    b"*3\r\n$5\r\nLPUSH\r\n$6\r\ntaskiq\r\n\
        $65\r\n{\"task_id\":\"7\",\"task_name\":\"t\",\"labels\":{},\"args\":[],\"kwargs\":{}}\r\n",
];

/// The replies, pushes and messages that [`session`] chooses from. A `T` at the end stands for a payload of
/// `hi` and a trailer, and an `E` for the fields of an entry with a context.
pub const SERVER: [&[u8]; 28] = [
    b"+OK\r\n",
    b"+QUEUED\r\n",
    b":1\r\n",
    b"-ERR no\r\n",
    b"$2\r\nhi\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"_\r\n",
    b"*2\r\n",
    b"*1\r\n",
    b"%1\r\n+proto\r\n:3\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n",
    b">3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n",
    b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n",
    b">3\r\n$12\r\nsunsubscribe\r\n_\r\n:0\r\n",
    b">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:2\r\n",
    b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\nT",
    b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\nT",
    b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\nch\r\nT",
    b">3\r\n$8\r\nsmessage\r\n$2\r\nch\r\nT",
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
    b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n",
    b"+RESET\r\n",
    b"+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n",
    b"*1\r\n*2\r\n$3\r\n1-0\r\nE",
    b"*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n*2\r\n$3\r\n1-1\r\nE",
    b"%1\r\n$1\r\ns\r\n*1\r\n*4\r\n$3\r\n1-0\r\n*-1\r\n:1\r\n:1\r\n",
    b"*2\r\n$11\r\nfirst-entry\r\n*2\r\n$3\r\n1-0\r\nE",
];

fn conversation(mut script: &[u8]) -> Vec<(Side, Vec<u8>)> {
    let mut pieces = Vec::new();
    while let Some((&control, rest)) = script.split_first() {
        let (side, canned) =
            if control & 0x80 == 0 { (Side::Client, &CLIENT[..]) } else { (Side::Server, &SERVER[..]) };
        let number = usize::from(control & 0x3f);
        let mut bytes;
        if control & 0x40 == 0 {
            let (piece, after) = rest.split_at(number.min(rest.len()));
            (bytes, script) = (piece.to_vec(), after);
        } else {
            (bytes, script) = (canned[number % canned.len()].to_vec(), rest);
            if bytes.pop_if(|last| *last == b'E').is_some() {
                let fields = b"$1\r\nf\r\n$1\r\nv\r\n";
                bytes.extend_from_slice(b"*6\r\n");
                bytes.extend_from_slice(fields);
                field::write(&a_context(1), fields, &ContextKeys::default(), &mut bytes);
            }
            if bytes.pop_if(|last| *last == b'T').is_some() {
                bytes.extend_from_slice(b"$43\r\nhi");
                trailer::write(&a_context(1).span.into(), &mut bytes);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        pieces.push((side, bytes));
    }
    pieces
}

fn joined(pieces: &[(Side, Vec<u8>)]) -> Vec<(Side, Vec<u8>)> {
    let mut joined: Vec<(Side, Vec<u8>)> = Vec::new();
    for (side, bytes) in pieces {
        match joined.last_mut() {
            Some((last, all)) if last == side => all.extend_from_slice(bytes),
            _ => joined.push((*side, bytes.clone())),
        }
    }
    joined
}

fn a_policy(choice: u8) -> Policy {
    let mut policy = Policy { mode: Mode::Inject, ..Policy::default() };
    if choice & 1 != 0 {
        policy.commands = Commands::All;
    }
    if choice & 2 != 0 {
        policy.inject_limit = 5;
    }
    if choice & 4 != 0 {
        policy.sampler = Sampler { parent_based: false, root: Root::AlwaysOff };
    }
    if choice & 0x20 != 0 {
        policy.mode = Mode::Auto;
    }
    if choice & 0x40 != 0 {
        policy.stream_carriers.extend(Glob::new("s*").map(|glob| (glob, StreamCarrier::Field)));
    }
    if choice & 0x80 != 0 {
        policy.envelopes = Envelope::ALL.to_vec();
    }
    let all = Glob::new("*").into_iter();
    match choice & 0x18 {
        0x08 => policy.carriers.extend(all.map(|glob| (glob, Carrier::Json))),
        0x10 => policy.carriers.extend(all.map(|glob| (glob, Carrier::OpenCensus))),
        0x18 => policy.carriers.extend(all.map(|glob| (glob, Carrier::Beside))),
        _ => {}
    }
    policy
}

/// Everything that left a session.
#[derive(Debug, PartialEq)]
struct Transcript {
    bytes: [Vec<u8>; 2],
    spans: Vec<SpanRecord>,
    deliveries: Vec<SpanRecord>,
    counts: [u64; Counter::NAMES.len()],
    subscriptions: Vec<SubscriptionChange>,
    contradicted: Vec<u64>,
    names: Vec<Option<Arc<str>>>,
    round_trips: usize,
}

/// An audience that expects one receiver of each `PUBLISH` and none of an `SPUBLISH`.
#[derive(Debug)]
struct OneReceiver;

impl Audience for OneReceiver {
    fn expected_receivers(&self, channel: &[u8], sharded: bool) -> Result<ExpectedReceivers, NotProven> {
        let expected = ExpectedReceivers { count: 1, max_payload: usize::MAX, evidence: channel.len() as u64 };
        if sharded { Err(NotProven::Nobody) } else { Ok(expected) }
    }
}

/// The environment of every call. Somebody watches messages if `watched`.
fn environment<'a>(policy: &'a Arc<Policy>, watched: bool, ids: &'a mut CountingIds) -> Environment<'a> {
    Environment { watched, audience: Some(&OneReceiver), ..Environment::new(UnixNanos(1), policy, ids) }
}

impl Transcript {
    fn of(policy: &Arc<Policy>, pieces: &[(Side, Vec<u8>)], size: usize, watched: bool) -> Self {
        let (mut session, mut ids, mut out) = (Session::new(), CountingIds::default(), Output::default());
        let mut transcript = Self {
            bytes: [Vec::new(), Vec::new()],
            spans: Vec::new(),
            deliveries: Vec::new(),
            counts: [0; Counter::NAMES.len()],
            subscriptions: Vec::new(),
            contradicted: Vec::new(),
            names: Vec::new(),
            round_trips: 0,
        };
        for (side, bytes) in pieces {
            for piece in bytes.chunks(size) {
                session.receive(*side, piece, environment(policy, watched, &mut ids), &mut out);
                transcript.take(*side, piece, &mut out);
            }
        }
        for side in [Side::Client, Side::Server] {
            session.end_of_stream(side, &mut out);
            transcript.take(side, &[], &mut out);
        }
        session.close(environment(policy, watched, &mut ids), &mut out);
        transcript.take(Side::Client, &[], &mut out);
        transcript
    }

    fn take(&mut self, from: Side, input: &[u8], out: &mut Output) {
        out.chunks(input).for_each(|chunk| self.bytes[from as usize].extend_from_slice(chunk));
        for event in out.events.drain(..) {
            match event {
                Event::SpanEnded(span) => self.spans.push(span),
                Event::Delivered(span) => self.deliveries.push(span),
                Event::Subscription(change) => self.subscriptions.push(change),
                Event::Contradicted(evidence) => self.contradicted.push(evidence),
                Event::RoundTrip(_) => self.round_trips += 1,
                Event::ClientNamed(name) => self.names.push(name),
                Event::PublishedAt(_) => {}
            }
        }
        out.counts.nonzero().for_each(|(index, value)| self.counts[index] += value);
        out.clear();
    }

    /// The transcript without the records that are made only for those who watch. Publishes that have such a record are not
    /// timed, so the number of times is taken from `unwatched`.
    fn without_the_watchers(mut self, unwatched: &Self) -> Self {
        for records in [&mut self.spans, &mut self.deliveries] {
            records.retain(SpanRecord::is_exported);
        }
        Self { round_trips: unwatched.round_trips, ..self }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }
}

/// What leaves an HTTP connection does not depend on the cut; where no header is added, it is what came. The first byte is the length
/// of the pieces. In the rest, each byte 0xfe is a change of the one who speaks, of whom the client begins.
pub fn http(data: &[u8]) {
    let Some((&size, turns)) = data.split_first() else { return };
    let came = [0, 1].map(|side| {
        let turns: Vec<&[u8]> = turns.split(|byte| *byte == 0xfe).skip(side).step_by(2).collect();
        turns.concat()
    });
    for mode in [Mode::Observe, Mode::Inject] {
        let policy = Arc::new(Policy { mode, ..Policy::default() });
        let whole = http_conversation(turns, usize::MAX, &policy);
        assert_eq!(http_conversation(turns, usize::from(size).max(1), &policy), whole, "in pieces of {size}");
        assert!(mode == Mode::Inject || whole.0 == came, "bytes are lost or made up");
    }
}

/// The bytes that leave to the service and to the client, and the number of spans.
fn http_conversation(turns: &[u8], size: usize, policy: &Arc<Policy>) -> ([Vec<u8>; 2], usize) {
    let (mut sent, mut spans, mut ids) = ([Vec::new(), Vec::new()], 0, CountingIds::default());
    let mut session = HttpSession::new(Arc::default(), false);
    let sides = [Side::Client, Side::Server];
    let mut call = |side: usize, piece: Option<&[u8]>| {
        let mut out = Output::default();
        let mut env = http::Environment { now: UnixNanos(1), policy, measured: false, ids: &mut ids, witness: None };
        match piece {
            Some(piece) => session.receive(sides[side], piece, &mut env, &mut out),
            None => session.end_of_stream(sides[side], &mut env, &mut out),
        }
        out.chunks(piece.unwrap_or_default()).for_each(|piece| sent[side].extend_from_slice(piece));
        spans += out.events.len();
    };
    for (turn, words) in turns.split(|byte| *byte == 0xfe).enumerate() {
        words.chunks(size).for_each(|piece| call(turn % 2, Some(piece)));
    }
    call(0, None);
    call(1, None);
    (sent, spans)
}

#[cfg(test)]
mod tests;
