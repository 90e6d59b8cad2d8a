//! The test vectors of the trailer in `vectors/trailer.txt`, which readers and writers in other languages can use too.

use std::collections::BTreeMap;

use redistributed_core::carrier::{self, Carrier, ContextKeys, Place, trailer};
use redistributed_core::trace::{Context, Propagators, SpanContext, UnixNanos};

#[test]
fn writers_and_readers_of_the_trailer_agree_with_its_vectors() {
    let vectors = include_str!("vectors/trailer.txt").split("\n== ").skip(1);
    let mut count = 0;
    for vector in vectors {
        let (name, lines) = vector.split_once('\n').unwrap();
        let lines: BTreeMap<_, _> = lines
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
            .collect();
        check(name, &lines);
        count += 1;
    }
    assert_eq!(count, 57);
}

fn check(name: &str, vector: &BTreeMap<&str, &str>) {
    let bytes = hex(vector["bytes"]);
    if vector.contains_key("no-trailer") {
        return assert_eq!(trailer::find(&bytes), None, "{name}");
    }
    let payload = hex(vector["payload"]);
    let found = trailer::find(&bytes).unwrap_or_else(|| panic!("{name}: a trailer"));
    assert_eq!(found.range, payload.len()..bytes.len(), "{name}");
    assert!(bytes.starts_with(&payload), "{name}");
    let context = context(vector);
    assert_eq!(found.context, Some(context.clone()), "{name}");
    let keys = vector.get("key").map_or_else(ContextKeys::default, |key| ContextKeys::new([key]));
    assert_eq!(found.has_mac, !keys.is_empty(), "{name}");
    let channel = vector.get("channel").copied().unwrap_or_default().as_bytes();
    let place = Place { channel, carrier: Carrier::Trailer, keys: &keys };
    let proven = carrier::find_added(&bytes, &place).unwrap();
    assert!(!proven.is_forged, "{name}: the MAC");
    let mut written = Vec::new();
    carrier::add(&payload, &place, &context, Propagators::default(), &mut written).unwrap();
    assert_eq!([payload, written].concat(), bytes, "{name}");
}

fn context(vector: &BTreeMap<&str, &str>) -> Context {
    let traceparent = format!("00-{}-{}-{}", vector["trace"], vector["span"], vector["flags"]);
    let text = |key| vector.get(key).map(|text: &&str| (*text).into());
    Context {
        span: SpanContext::parse_traceparent(traceparent.as_bytes()).unwrap(),
        trace_state: text("tracestate"),
        baggage: text("baggage"),
        published: vector.get("published").map(|nanos| UnixNanos(nanos.parse().unwrap())),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2));
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
