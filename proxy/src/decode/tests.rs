//! What is reported about payloads and captures as users have them.

use clap::{CommandFactory, Parser};
use redistributed_core::carrier::{self, Carrier, ContextKeys, Place, trailer};
use redistributed_core::trace::{Context, SpanContext, UnixNanos};

use super::payload_context::ALL_FORMATS;
use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn context() -> Context {
    let mut context = Context::from(SpanContext::parse_traceparent(PARENT.as_bytes()).unwrap());
    context.trace_state = Some("congo=t61".into());
    context.baggage = Some("user=hunter2,tenant=9;p=1".into());
    context.published = Some(UnixNanos(1_700_000_000_123_456_789));
    context
}

fn with_context(payload: &[u8], carrier: Carrier) -> Vec<u8> {
    let mut added = Vec::new();
    let mut context = context();
    context.span = carrier::carried_span(context.span, carrier, payload, None);
    let place = Place { channel: b"orders", carrier, keys: &ContextKeys::default() };
    let at = carrier::add(payload, &place, &context, ALL_FORMATS, &mut added).unwrap();
    [&payload[..at], &added, &payload[at..]].concat()
}

/// Whether there is a context, standard output, and standard error.
fn decode(arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
    let args = DecodeArgs::try_parse_from(["decode"].iter().chain(arguments)).unwrap();
    let (mut output, mut diagnostics) = (Vec::new(), Vec::new());
    let carries = run(&args, &mut &*input, &mut output, &mut diagnostics).unwrap();
    (carries, output, String::from_utf8(diagnostics).unwrap())
}

fn text(arguments: &[&str], input: &[u8]) -> String {
    String::from_utf8(decode(arguments, input).1).unwrap()
}

#[test]
fn the_definition_is_consistent() {
    DecodeArgs::command().debug_assert();
}

#[test]
fn a_context_in_every_carrier_is_reported_and_can_be_stripped() {
    for (carrier, payload, name) in [
        (Carrier::Trailer, &b"hello"[..], "trailer, version 1"),
        (Carrier::Trailer, b"hello\n", "trailer"),
        (Carrier::Json, b"{\"a\":1}", "JSON object"),
        (Carrier::OpenCensus, b"hello", "OpenCensus"),
    ] {
        let carrying = with_context(payload, carrier);
        let page = text(&[], &carrying);
        for says in [name, "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa", "sampled      yes", "proxy added"] {
            assert!(page.contains(says), "no {says} in\n{page}");
        }
        assert!(page.contains(&format!("{} bytes without it", payload.len())), "{page}");
        assert!(!page.contains("hello") && !page.contains("hunter2"), "{page}");
        let (carries, stripped, aside) = decode(&["--strip"], &carrying);
        assert!(carries && stripped == payload, "{}", stripped.escape_ascii());
        assert_eq!(aside, page);
    }
    let page = text(&[], &with_context(b"hello", Carrier::Trailer));
    assert!(page.contains("user, tenant (values") && page.contains("congo=t61"), "{page}");
    assert!(page.contains("from byte 5 up to byte"), "{page}");
    assert!(page.contains("published    2023-11-14T22:13:20.123456Z"), "{page}");
}

#[test]
fn a_context_of_the_application_is_reported_and_not_stripped() {
    let payload = format!("{{\"traceparent\":\"{PARENT}\"}}");
    let page = text(&[], payload.as_bytes());
    assert!(page.contains("the application put there") && page.contains("--read-json"), "{page}");
    assert_eq!(decode(&["--strip"], payload.as_bytes()).1, payload.as_bytes());
    let b3 = br#"{"b3":"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0"}"#;
    assert!(text(&[], b3).contains("sampled      no"));
}

#[test]
fn a_payload_without_a_context_is_none() {
    for payload in [&b""[..], b"hello", b"{}", b"\n", &[0xff; 100]] {
        let (carries, page, _) = decode(&[], payload);
        assert!(!carries && String::from_utf8(page).unwrap().contains("no trace context"));
    }
    let carrying = with_context(b"hello", Carrier::Trailer);
    assert!(!decode(&["--carrier", "json"], &carrying).0);
    // A later version has other marks.
    let later = [&carrying[..carrying.len() - 1], &[0xfd]].concat();
    assert!(text(&[], &later).contains("no trace context"));
}

#[test]
fn every_encoding_of_a_payload_is_understood_and_recognised() {
    let carrying = with_context(b"a\"\\\x01\r\n", Carrier::Trailer);
    let expected = text(&[], &carrying);
    let hex: String = carrying.iter().map(|byte| format!("{byte:02X} ")).collect();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, &carrying);
    let shown: String = carrying.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    for (written, input) in [
        ("hex", hex.clone()),
        ("base64", format!("{base64}\n")),
        ("escaped", format!("\"{shown}\"\n")),
        ("escaped", shown.replacen("\\x61\\x22\\x5c", "a\\\"\\\\", 1).replacen("\\x0d\\x0a", "\\r\\n", 1)),
    ] {
        let page = text(&["--input", written], input.as_bytes());
        assert!(page.starts_with("input  ") && page.ends_with(&format!("\n\n{expected}")), "{written}: {page}");
    }
    // And nobody has to say which it is.
    for input in [hex, format!("{base64}\n"), format!("\"{shown}\"\n"), shown] {
        let (header, page) =
            text(&[], input.as_bytes()).split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(header.starts_with("input  ") && page == expected, "{header}\n{page}");
    }
    // With the line break that `echo` adds.
    let page = text(&[], &[&carrying[..], b"\n"].concat());
    assert_eq!(page, format!("{expected}note         one line break at the end of the input was left out\n"));
}

#[test]
fn input_in_another_format_than_named_is_refused_and_not_repeated() {
    for (written, input) in
        [("hex", "hunter2"), ("hex", "abc"), ("base64", "hunter2!"), ("escaped", "hunter2\\q"), ("resp", "hunter2")]
    {
        let args = DecodeArgs::try_parse_from(["decode", "--input", written]).unwrap();
        let refused = run(&args, &mut input.as_bytes(), &mut Vec::new(), &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("the input is not") && !refused.contains("hunter2"), "{refused}");
    }
}

/// An array of bulk strings.
fn frame(words: &[&[u8]]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        frame.extend_from_slice(&[format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
    }
    frame
}

/// A string as redis-cli prints it on a terminal.
fn shown(word: &[u8]) -> String {
    let bytes = word.iter().map(|byte| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    format!("\"{}\"", bytes.collect::<String>())
}

/// The words of an entry's fields, to which a proxy has added two. Their checksum is that of `carrier::field`'s tests.
const FIELDS: [&[u8]; 6] =
    [b"id", b"7", b"traceparent", PARENT.as_bytes(), b"tracestate", b"redistributed=00f067aa0ba902b7-a96d9813"];

/// The reply to an `XRANGE` with two entries, of which a proxy has added fields to the second.
fn entries() -> Vec<u8> {
    let entry = |id: &[u8], fields: &[&[u8]]| [b"*2\r\n$15\r\n", id, b"\r\n", &frame(fields)].concat();
    let (plain, ours) = (entry(b"1700000000000-0", &[b"id", b"hunter2"]), entry(b"1700000000000-1", &FIELDS));
    [&b"*2\r\n"[..], &plain, &ours].concat()
}

#[test]
fn the_fields_that_a_proxy_has_added_to_an_entry_are_reported_and_can_be_stripped() {
    let added = frame(&[&[&b"XADD"[..], b"jobs", b"MAXLEN", b"~", b"1000", b"*"], &FIELDS[..]].concat());
    let quoted = |words: &[&[u8]]| words.iter().map(|word| format!("{}\n", shown(word))).collect::<String>();
    let printed = quoted(&[&[b"1700000000000-0", &b"id"[..], b"hunter2", b"1700000000000-1"], &FIELDS[..]].concat());
    for input in [&entries(), &added, printed.as_bytes(), shown(&added).as_bytes()] {
        let page = text(&[], input);
        for says in [
            "messages 0, entries of streams 1, other strings shown 0; with a context 1",
            "which a proxy added to the fields of an entry",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "15 bytes of fields in RESP without it",
        ] {
            assert!(page.contains(says), "no {says} in\n{page}");
        }
        assert!(!page.contains("hunter2"), "{page}");
        assert_eq!(decode(&["--strip"], input).1, b"$2\r\nid\r\n$1\r\n7\r\n");
        assert_eq!(text(&["--carrier", "field"], input), page);
        assert!(!decode(&["--carrier", "trailer"], input).0);
    }
    let object: serde_json::Value = serde_json::from_str(&text(&["--format", "json"], &entries())).unwrap();
    let [by, carrier] = ["added_by", "carrier"].map(|name| object[name].as_str().unwrap());
    assert_eq!(
        (by, carrier, object["start"].as_u64(), object["mac"].as_bool()),
        ("proxy", "field", Some(15), Some(false))
    );
    // An entry whose context the application has copied from another one is its own.
    let copied = frame(&[&[&b"XADD"[..], b"jobs", b"*", b"id", b"8"], &FIELDS[2..]].concat());
    assert!(!decode(&[], &copied).0);
}

#[test]
fn the_messages_of_a_resp_stream_are_reported_one_by_one() {
    let (trailer, members) = (with_context(b"hello", Carrier::Trailer), with_context(b"{\"a\":1}", Carrier::Json));
    let stream = [
        &b"ok\r\n:1\r\n"[..],
        &frame(&[b"message", b"orders", &trailer]),
        &frame(&[b"pmessage", b"*", b"a\nb", &members]),
        &frame(&[b"PUBLISH", b"plain", b"hunter2"]),
        &frame(&[b"SET", b"hunter2", &trailer]),
        b"$300\r\nhunt",
    ]
    .concat();
    let page = text(&[], &stream);
    for says in [
        "RESP; messages 3, other strings shown 1; with a context 3",
        "ends within a string: 4 of its 300 bytes",
        "message      message orders",
        "message      pmessage a\\nb",
        "message      PUBLISH plain",
        "carries      no trace context",
    ] {
        assert!(page.contains(says), "no {says} in\n{page}");
    }
    assert_eq!(page.matches("4bf92f3577b34da6a3ce929d0e0e4736").count(), 3, "{page}");
    assert!(!page.contains("hunter2") && !page.contains("hello"), "{page}");
    assert_eq!(text(&["--input", "resp"], &stream), page);
    let hex: String = stream.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(text(&[], hex.as_bytes()).contains("hexadecimal digits, with RESP in it; messages 3"), "{hex}");
    // Messages without contexts are messages too; what a payload looks like does not matter where it is said to be one.
    let (carries, page, _) = decode(&[], &frame(&[b"message", b"orders", b"hello"]));
    let page = String::from_utf8(page).unwrap();
    assert!(!carries && page.contains("messages 1") && page.contains("message orders"), "{page}");
    assert!(!text(&["--input", "raw"], &stream).contains("orders"));
    let cut = text(&[], b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$100\r\nabc");
    assert!(cut.contains("3 of its 100 bytes"), "{cut}");
    let lines = text(&["--format", "json"], &stream);
    let objects: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&objects[0]["input"], &objects[0]["channel"]), (&"resp".into(), &"orders".into()));
    assert_eq!((&objects[2]["message"], &objects[2]["carries"]), (&"PUBLISH".into(), &false.into()));
    assert_eq!((objects.len(), &objects[3]["message"]), (4, &serde_json::Value::Null));
}

#[test]
fn the_messages_that_redis_cli_prints_are_reported_one_by_one() {
    let trailer = shown(&with_context(b"say \"hi\"\\", Carrier::Trailer));
    let listing = format!(
        "Reading messages... (press Ctrl-C to quit)\n1) \"subscribe\"\n2) \"message\"\n3) (integer) 1\n1) \"message\"\n2) \
         \"message\"\n3) {trailer}\n1) \"message\"\n2) \"message\"\n3) \"hunter2\"\n"
    );
    let page = text(&[], listing.as_bytes());
    assert!(page.contains("as redis-cli shows strings; messages 2, other strings shown 0; with a context 1"), "{page}");
    assert!(page.contains("9 bytes without it") && !page.contains("hunter2"), "{page}");
    let monitor = format!("OK\n1700000000.123456 [0 127.0.0.1:5] \"SPUBLISH\" \"orders\" {trailer}\n");
    assert!(text(&[], monitor.as_bytes()).contains("message      SPUBLISH orders"), "{monitor}");
    // One reply, with either carrier.
    for (carrier, payload) in [(Carrier::Trailer, &b"hello"[..]), (Carrier::Json, b"{\"a\":1}")] {
        let reply = shown(&with_context(payload, carrier));
        assert_eq!(decode(&["--strip"], reply.as_bytes()).1, payload, "{reply}");
    }
    // What stands in quotation marks within a payload is not what a proxy reads.
    let envelope = serde_json::json!({ "inner": format!("{{\"traceparent\":\"{PARENT}\"}}") });
    assert!(!decode(&[], envelope.to_string().as_bytes()).0);
}

#[test]
fn every_trailer_in_a_capture_is_reported() {
    let trailer = with_context(b"hello", Carrier::Trailer);
    let piped = [&b"subscribe\norders\n1\nmessage\norders\n"[..], &trailer, b"\n"].concat();
    let page = text(&[], &piped);
    assert!(page.contains("a capture; trailers found 1") && page.contains("cannot be told"), "{page}");
    let page = text(&[], &[&piped[..], b"message\norders\n", &trailer, b"\n"].concat());
    assert!(page.contains("trailers found 2") && page.contains("byte 39 of the input"), "{page}");
    for byte in [b'"', b'\\'] {
        let piped = [&b"subscribe\norders\n1\nmessage\norders\n"[..], &[byte], &trailer, b"\n"].concat();
        assert!(text(&[], &piped).contains("trailers found 1"));
    }
    let long = [&[0xfb; 10_000][..], &trailer::END, &trailer, &[0; 50]].concat();
    assert!(text(&["--input", "capture"], &long).contains("trailers found 1"));
    assert!(!decode(&["--input", "capture"], b"hello").0);
}

#[test]
fn only_one_payload_can_be_stripped() {
    let message = frame(&[b"message", b"orders", &with_context(b"hello", Carrier::Trailer)]);
    assert_eq!(decode(&["--strip"], &message).1, b"hello");
    let args = DecodeArgs::try_parse_from(["decode", "--strip"]).unwrap();
    let mut to = Vec::new();
    let refused = run(&args, &mut &*message.repeat(2), &mut to, &mut Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("--strip writes the payload of one") && to.is_empty(), "{refused}");
}

#[test]
fn the_json_report_has_one_object() {
    let object: serde_json::Value =
        serde_json::from_str(&text(&["--format", "json"], &with_context(b"hello", Carrier::Trailer))).unwrap();
    assert_eq!(object["carries"], true);
    assert_eq!(object["carrier"], "trailer");
    assert_eq!(object["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(object["baggage_keys"], serde_json::json!(["user", "tenant"]));
    assert_eq!(object["published"], "2023-11-14T22:13:20.123456Z");
    assert_eq!((&object["start"], &object["payload_length"], &object["version"]), (&5.into(), &5.into(), &1.into()));
    let object: serde_json::Value = serde_json::from_str(&text(&["--format", "json"], b"hello")).unwrap();
    assert_eq!((&object["carries"], &object["added_by"]), (&false.into(), &serde_json::Value::Null));
}
