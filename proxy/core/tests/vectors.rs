//! The test vectors of the trailer in `vectors/trailer.txt`, which readers and writers in other languages can use too.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use redistributed_core::carrier::trailer;
use redistributed_core::trace::{Context, SpanContext, UnixNanos};

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
    assert_eq!(count, 36);
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
    if vector.contains_key("not-understood") {
        return assert_eq!(found.context, None, "{name}");
    }
    let context = context(vector);
    assert_eq!(found.context, Some(context.clone()), "{name}");
    if !vector.contains_key("read-only") {
        let mut written = payload;
        trailer::write(&context, &mut written);
        assert_eq!(written, bytes, "{name}");
    }
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
