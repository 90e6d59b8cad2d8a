//! The context that a library for queues has put into an item, where its own instrumentation puts it.
//!
//! Only these places are looked at, so that no `traceparent` that happens to be in somebody's data becomes a parent. Of an item of
//! a list or a sorted set:
//!
//! - the members of its JSON object: Sidekiq and Resque, by `instrumentation/sidekiq` (`tracer_middleware.rb`) and
//!   `instrumentation/resque` (`resque_module.rb`) of `opentelemetry-ruby-contrib`
//! - its object `headers`: Celery, by `opentelemetry-instrumentation-celery`, in the message of `kombu.transport.virtual`; FastStream
//!   before 0.7, by `JSONMessageFormat`
//! - the object `trace_ctx` in its object `options`: Dramatiq, by `opentelemetry-instrumentation-dramatiq`
//! - its object `labels`: taskiq, by `taskiq/middlewares/opentelemetry_middleware.py`
//! - the headers of a binary envelope: FastStream, by `BinaryMessageFormatV1` in `faststream/redis/parser/binary.py`
//!
//! Of an entry of a stream:
//!
//! - its fields, with the names of the propagators: whoever writes streams by hand
//! - the object `labels` in its field `data`: taskiq, by `RedisStreamBroker` of `taskiq_redis`
//! - `headers` in its field `__data__`, JSON or binary: FastStream, by `faststream/redis/message.py`
//!
//! Names in JSON count in any case, others exactly. Among several places the first in this order counts.
//!
//! Of a job of BullMQ: the JSON object in the text `tm` of its options, by `src/classes/job.ts` (`telemetry.metadata`), which
//! `bullmq-otel` and others fill.
//!
//! No item has the context of RQ, whose lists hold ids of jobs.
//!
//! Where contexts are written too (`--envelope`), [`carrier::envelope`](crate::carrier::envelope) names the place.

use alloc::borrow::Cow;

use super::Item;
use crate::carrier::envelope::options::CONTEXT;
use crate::carrier::envelope::{HEADERS, ITEM, LABELS};
use crate::carrier::faststream;
use crate::carrier::json::{text_member, wrapped_context};
use crate::carrier::texts::{self, TRACEPARENT};
use crate::trace::{Context, Propagators};

/// The objects of an item of a list or a sorted set that may hold a context. The first one is the item itself.
const IN_ITEM: &[&str] = &[ITEM, HEADERS, "options.trace_ctx", LABELS];

/// The fields of an entry that may hold an envelope, and the objects of it that may hold a context.
const IN_FIELDS: [(&str, &[&str]); 2] = [("data", &[LABELS]), ("__data__", &[HEADERS])];

/// The context that an item carries in one of these formats.
pub(crate) fn context(item: &Item<'_>, formats: Propagators) -> Option<Context> {
    if !formats.carries_traces() {
        return None;
    }
    if item.job.is_some() {
        return of_job(item, formats);
    }
    if item.id.is_none() {
        return in_envelope(item.values.as_slice().first()?, item.is_cut_off, IN_ITEM, formats);
    }
    let whole = |name: &str| field(item, name).filter(|(_, is_cut_off)| !is_cut_off).map(|(value, _)| value);
    texts::context(|name| whole(name).map(Cow::Borrowed), TRACEPARENT, formats).or_else(|| {
        IN_FIELDS.iter().find_map(|(name, objects)| {
            let (value, is_cut_off) = field(item, name)?;
            in_envelope(value, is_cut_off, objects, formats)
        })
    })
}

/// The context in the options of a job, which the script that adds the job has in MessagePack, and Redis in JSON.
fn of_job(item: &Item<'_>, formats: Propagators) -> Option<Context> {
    let in_text = |text: &[u8]| wrapped_context(text, false, &[""], formats);
    match field(item, CONTEXT) {
        Some((text, _)) => in_text(text),
        None => field(item, "opts")
            .and_then(|(options, is_cut_off)| in_text(text_member(options, is_cut_off, CONTEXT)?.as_bytes())),
    }
}

/// The value of an entry's field, and whether it is cut off. With several of one name nobody can say which one counts.
fn field<'a>(item: &Item<'a>, name: &str) -> Option<(&'a [u8], bool)> {
    let (names, values) = (item.names.as_slice(), item.values.as_slice());
    let mut found = names.iter().zip(values).enumerate().filter(|(_, (known, _))| **known == name.as_bytes());
    let (index, (_, value)) = found.next()?;
    found.next().is_none().then_some((*value, item.is_cut_off && index + 1 == values.len()))
}

/// The context in an envelope, in one of these objects of it if it is JSON.
fn in_envelope(envelope: &[u8], is_cut_off: bool, objects: &[&str], formats: Propagators) -> Option<Context> {
    if faststream::is_envelope(envelope) {
        return faststream::find(envelope, is_cut_off, formats);
    }
    // Nearly every item that is no object ends here.
    let is_object = envelope.trim_ascii_start().first() == Some(&b'{');
    if is_object { wrapped_context(envelope, is_cut_off, objects, formats) } else { None }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::handover::{Shape, items};
    use crate::service::Bulks;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const ENVELOPES: [&[u8]; 4] = [
        include_bytes!("../../tests/envelopes/celery.json"),
        include_bytes!("../../tests/envelopes/taskiq.json"),
        include_bytes!("../../tests/envelopes/faststream.bin"),
        include_bytes!("../../tests/envelopes/faststream.json"),
    ];

    fn read(value: &[u8], is_cut_off: bool) -> Option<String> {
        let (names, values) = (Bulks::new([]), Bulks::new([value]));
        let item = Item { names, values, is_cut_off, ..Item::begin(None, None) };
        context(&item, Propagators::default()).map(|context| format!("{} {:?}", context.span.span_id, context.baggage))
    }

    #[test]
    fn an_envelope_that_is_cut_off_has_the_same_context_or_none() {
        for envelope in ENVELOPES {
            let whole = read(envelope, false);
            assert!(whole.is_some());
            let mut complete = 0;
            for cut in 0..envelope.len() {
                assert!(read(&envelope[..cut], true).is_none_or(|context| Some(context) == whole), "{cut}");
                complete += usize::from(read(&envelope[..cut], true).is_some());
                // An item that is whole and ends like this is no envelope.
                let is_json = envelope.starts_with(b"{");
                assert!(!is_json || read(&envelope[..cut], false).is_none(), "{cut}");
            }
            assert!(complete > 0, "a context that is there whole counts");
        }
    }

    #[test]
    fn in_a_reply_that_is_cut_off_an_item_has_the_same_context_or_none() {
        let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        for (envelope, field) in ENVELOPES.into_iter().zip(["", "data", "__data__", "__data__"]) {
            let list = [b"*2\r\n$1\r\nq\r\n", &bulk(envelope)[..]].concat();
            let stream = |head: &str| {
                let fields = [&b"*4\r\n"[..], &bulk(b"id"), &bulk(b"7"), &bulk(field.as_bytes()), &bulk(envelope)];
                [head.as_bytes(), b"$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n", &fields.concat()].concat()
            };
            let resp2 = (Shape::Entries, stream("*1\r\n*2\r\n"));
            let resp3 = (Shape::Entries, stream("%1\r\n"));
            for (shape, reply) in [(Shape::KeyAndValue, list), resp2, resp3] {
                let found = |cut: usize| {
                    let handed = items(shape, &reply[..cut]);
                    handed.items.first().and_then(|item| context(item, Propagators::default()))
                };
                let whole = found(reply.len());
                assert_eq!(whole.is_some(), shape == Shape::KeyAndValue || !field.is_empty());
                assert!((0..reply.len()).all(|cut| found(cut).is_none_or(|context| Some(context) == whole)));
            }
        }
    }

    #[test]
    fn any_byte_of_an_envelope_may_be_another_one() {
        for envelope in ENVELOPES {
            let mut bytes = envelope.to_vec();
            for at in 0..bytes.len() {
                for other in [0, 0x7f, 0xff, b'"', b'{', b'}', b'\\'] {
                    let own = core::mem::replace(&mut bytes[at], other);
                    let (whole, cut_off) = (read(&bytes, false), read(&bytes, true));
                    assert!(whole.is_none() || whole == cut_off, "{at} {other}");
                    bytes[at] = own;
                }
            }
        }
    }

    #[test]
    fn what_is_nested_long_repeated_or_no_text_is_read_in_bounded_memory() {
        let deep = format!("{{\"headers\":{}1{}}}", "{\"headers\":".repeat(100_000), "}".repeat(100_000));
        assert_eq!(read(deep.as_bytes(), false), None);
        assert_eq!(read("{\"headers\":".repeat(100_000).as_bytes(), true), None);
        assert_eq!(read("[".repeat(100_000).as_bytes(), true), None);
        let long = format!("{{\"args\":\"{}\",\"labels\":{{\"traceparent\":\"{PARENT}\"}}}}", "x".repeat(1 << 20));
        assert!(read(long.as_bytes(), false).is_some());
        // Of members that repeat, the last counts.
        let member = |value: &str| format!("\"traceparent\":\"{value}\"");
        let many = format!("{{{}{}}}", format!("{},", member("x")).repeat(20_000), member(PARENT));
        assert!(read(many.as_bytes(), false).is_some());
        assert_eq!(read(format!("{{{},{}}}", member(PARENT), member("x")).as_bytes(), false), None);
        let invalid = [b"{\"traceparent\":\"\xff", PARENT.as_bytes(), b"\"}"].concat();
        assert_eq!(read(&invalid, false), None);
        let name = [b"{\"\xff\":1,", member(PARENT).as_bytes(), b"}"].concat();
        assert_eq!(read(&name, false), None);
    }

    #[test]
    fn a_message_of_dramatiq_has_it_among_its_options() {
        let options = format!("{{\"retries\":0,\"trace_ctx\":{{\"traceparent\":\"{PARENT}\"}}}}");
        let message = format!("{{\"queue_name\":\"default\",\"options\":{options}}}");
        assert_eq!(read(message.as_bytes(), false).as_deref(), Some("00f067aa0ba902b7 None"));
        let elsewhere = format!("{{\"args\":{{\"trace_ctx\":{{\"traceparent\":\"{PARENT}\"}}}}}}");
        assert_eq!(read(elsewhere.as_bytes(), false), None);
    }

    #[test]
    fn a_job_of_bullmq_has_it_in_the_text_of_an_option() {
        let text = format!("{{\"traceparent\":\"{PARENT}\"}}");
        let job = |name: &str, value: &str, is_cut_off| {
            let (names, values) =
                (Bulks::new([&b"data"[..], name.as_bytes()]), Bulks::new([&b"{}"[..], value.as_bytes()]));
            let item = Item { job: Some(b"17"), names, values, is_cut_off, ..Item::begin(None, None) };
            context(&item, Propagators::default()).map(|context| format!("{}", context.span.span_id))
        };
        assert_eq!(job("tm", &text, false).as_deref(), Some("00f067aa0ba902b7"));
        let options = format!("{{\"attempts\":0,\"tm\":\"{}\"}}", text.replace('"', "\\\""));
        assert_eq!(job("opts", &options, false).as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!([job("opts", &text, false), job("data", &options, false)], [None, None]);
        for cut in 0..options.len() {
            assert!(job("opts", &options[..cut], true).is_none_or(|span| span == "00f067aa0ba902b7"), "{cut}");
        }
    }

    #[test]
    fn the_places_of_an_item_have_an_order() {
        let other = PARENT.replace("00f067aa0ba902b7", "1111111111111111");
        let object = |parent: &str| format!("{{\"traceparent\":\"{parent}\"}}");
        let item = format!("{{\"labels\":{},\"Headers\":{}}}", object(&other), object(PARENT));
        assert_eq!(read(item.as_bytes(), false).as_deref(), Some("00f067aa0ba902b7 None"));
        let item = format!("{{\"labels\":{},\"headers\":{}}}", object(&other), object("x"));
        assert_eq!(read(item.as_bytes(), false).as_deref(), Some("1111111111111111 None"));
    }
}
