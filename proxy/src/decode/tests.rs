//! Payloads as users have them, and what is said of them.

use clap::CommandFactory;
use redistributed_core::trace::{SpanContext, UnixNanos};

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
    let at = carrier::add(payload, carrier, &context(), ALL_FORMATS, &mut added).unwrap();
    [&payload[..at], &added, &payload[at..]].concat()
}

/// Whether it carries one, and both outputs.
fn decode(arguments: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
    let args = DecodeArgs::try_parse_from(["decode"].iter().chain(arguments)).unwrap();
    let (mut to, mut aside) = (Vec::new(), Vec::new());
    let carries = run(&args, &mut &*input, &mut to, &mut aside).unwrap();
    (carries, to, String::from_utf8(aside).unwrap())
}

fn text(arguments: &[&str], input: &[u8]) -> String {
    String::from_utf8(decode(arguments, input).1).unwrap()
}

#[test]
fn the_definition_is_consistent() {
    DecodeArgs::command().debug_assert();
}

#[test]
fn every_carrier_is_told_and_its_payload_comes_out_again() {
    for (carrier, payload, name) in [
        (Carrier::Trailer, &b"hello"[..], "trailer, version 1"),
        (Carrier::Trailer, b"hello\n", "trailer"),
        (Carrier::Json, b"{\"a\":1}", "JSON object"),
        (Carrier::OpenCensus, b"hello", "OpenCensus"),
    ] {
        let carrying = with_context(payload, carrier);
        let page = text(&[], &carrying);
        for says in [name, "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "sampled      yes", "proxy added"] {
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
fn what_the_application_supplied_is_told_and_stays() {
    let payload = format!("{{\"traceparent\":\"{PARENT}\"}}");
    let page = text(&[], payload.as_bytes());
    assert!(page.contains("the application put there") && page.contains("--read-json"), "{page}");
    assert_eq!(decode(&["--strip"], payload.as_bytes()).1, payload.as_bytes());
    let b3 = br#"{"b3":"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0"}"#;
    assert!(text(&[], b3).contains("sampled      no"));
}

#[test]
fn a_payload_without_a_context_is_none_and_one_of_a_later_version_is_one() {
    for payload in [&b""[..], b"hello", b"{}", b"\n", &[0xff; 100]] {
        let (carries, page, _) = decode(&[], payload);
        assert!(!carries && String::from_utf8(page).unwrap().contains("no trace context"));
    }
    let carrying = with_context(b"hello", Carrier::Trailer);
    assert!(!decode(&["--carrier", "json"], &carrying).0);
    let content = b"\0later";
    let mut later = [&b"hello"[..], content, &21u16.to_be_bytes(), &[2]].concat();
    let checksum = crc32(&later[5..]);
    later.extend_from_slice(&[&checksum.to_be_bytes()[..], &trailer::MAGIC].concat());
    let page = text(&[], &later);
    assert!(
        page.contains("version 2") && page.contains("not understood") && page.contains("5 bytes without"),
        "{page}"
    );
}

/// CRC-32 (ISO-HDLC), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn payloads_may_be_written_in_four_ways() {
    let carrying = with_context(b"a\"\\\x01\r\n", Carrier::Trailer);
    let expected = text(&[], &carrying);
    let hex: String = carrying.iter().map(|byte| format!("{byte:02X} ")).collect();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, &carrying);
    let shown: String = carrying.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    for (written, input) in [
        ("hex", hex),
        ("base64", format!("{base64}\n")),
        ("escaped", format!("\"{shown}\"\n")),
        ("escaped", shown.replacen("\\x61\\x22\\x5c", "a\\\"\\\\", 1).replacen("\\x0d\\x0a", "\\r\\n", 1)),
    ] {
        assert_eq!(text(&["--input", written], input.as_bytes()), expected, "{written}");
    }
    // As `echo` leaves it.
    let page = text(&[], &[&carrying[..], b"\n"].concat());
    assert_eq!(page, format!("{expected}note         one line break at the end of the input was left out\n"));
}

#[test]
fn input_that_is_not_as_it_was_said_to_be_is_refused_and_not_repeated() {
    for (written, input) in [("hex", "hunter2"), ("hex", "abc"), ("base64", "hunter2!"), ("escaped", "hunter2\\q")] {
        let args = DecodeArgs::try_parse_from(["decode", "--input", written]).unwrap();
        let refused = run(&args, &mut input.as_bytes(), &mut Vec::new(), &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.contains("the input is not") && !refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn programs_get_one_object() {
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
