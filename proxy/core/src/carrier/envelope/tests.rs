//! What is an envelope, what is none, and what becomes of it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::choice::Choice;
use crate::trace::SpanContext;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const CELERY: &str = concat!(
    r#"{"body": "W10=", "content-encoding": "utf-8", "content-type": "application/json","#,
    r#" "headers": {"lang": "py", "task": "t", "id": "7"},"#,
    r#" "properties": {"delivery_info": {"exchange": ""}, "delivery_tag": "9"}}"#
);
const TASKIQ: &str =
    r#"{"task_id":"7","task_name":"t","labels":{},"labels_types":null,"args":[{"headers":{}}],"kwargs":{}}"#;
const SIDEKIQ: &str = r#"{"retry":true,"queue":"default","class":"Job","args":[7],"jid":"6d3b0a1e2f3c4d5e6f708192"}"#;

fn context(trace_state: Option<&str>) -> Context {
    let span = SpanContext::parse_traceparent(PARENT.as_bytes()).unwrap();
    Context { trace_state: trace_state.map(Into::into), ..span.into() }
}

/// The element with a context, if it gets one of any library.
fn written(key: &str, element: &[u8], trace_state: Option<&str>) -> Option<Vec<u8>> {
    let gap = gap(key.as_bytes(), element, Envelope::ALL)?;
    let (before, behind) = element.split_at(gap.at);
    let mut out = before.to_vec();
    gap.write(&context(trace_state), &mut out);
    out.extend_from_slice(behind);
    Some(out)
}

fn added(key: &str, element: &str) -> Option<String> {
    written(key, element.as_bytes(), None).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_context_stands_where_the_library_has_it_and_no_other_byte_changes() {
    let member = format!(r#""traceparent":"{PARENT}""#);
    let expected = CELERY.replace(r#""id": "7"}"#, &format!(r#""id": "7",{member}}}"#));
    assert_eq!(added("celery", CELERY), Some(expected));
    assert_eq!(added("q", TASKIQ), Some(TASKIQ.replacen("{}", &format!("{{{member}}}"), 1)));
    let expected = SIDEKIQ.replace(r#"92"}"#, &format!(r#"92",{member}}}"#));
    assert_eq!(added("queue:default", SIDEKIQ), Some(expected));
    let state = written("queue:default", SIDEKIQ.as_bytes(), Some(r#"a="\,b=2"#)).unwrap();
    let expected = format!(r#"92",{member},"tracestate":"a=\"\\,b=2"}}"#);
    assert!(String::from_utf8(state).unwrap().ends_with(&expected));
}

#[test]
fn white_space_and_the_order_of_members_do_not_matter() {
    for element in [
        TASKIQ.replace("\"labels\":{}", "\"labels\" : { \"a\" : 1 } "),
        TASKIQ.replace(",\"labels_types\":null", ""),
        TASKIQ.replace("null", "{\"a\":1}"),
        format!("{TASKIQ} \n"),
        TASKIQ.replace("{\"task_id\":\"7\",", "{").replace("\"kwargs\":{}", "\"kwargs\":{},\"task_id\":\"7\""),
        TASKIQ.replace("\"labels\":{}", r#""labels":{"a":"}\"{","b":[{"traceparent":"x"}]}"#),
        TASKIQ.replace("\"labels\":{}", r#""labels":{"baggage":"a=1"}"#),
    ] {
        let added = added("q", &element).expect(&element);
        let member = format!(r#""traceparent":"{PARENT}""#);
        let without = added.replacen(&format!(",{member}"), "", 1).replacen(&member, "", 1);
        assert_eq!(without, element);
        serde_json::from_str::<serde::de::IgnoredAny>(&added).expect(&added);
    }
}

#[test]
fn what_differs_in_anything_is_no_envelope() {
    let changed = |envelope: &str, from: &str, to: &str| {
        let element = envelope.replacen(from, to, 1);
        assert_ne!(element, envelope, "{from}");
        element
    };
    for (from, to) in [
        ("\"body\": \"W10=\"", "\"body\": 7"),
        ("\"body\"", "\"Body\""),
        ("\"body\"", "\"bod\\u0079\""),
        ("\"body\": \"W10=\", ", ""),
        ("\"body\"", "\"more\": 1, \"body\""),
        ("\"task\": \"t\", ", ""),
        ("\"task\": \"t\"", "\"task\": null"),
        ("\"id\": \"7\"", "\"id\": 7"),
        ("\"delivery_tag\": \"9\"", "\"delivery_tag\": 9"),
        ("\"lang\"", "\"traceparent\": \"x\", \"lang\""),
        ("\"lang\"", "\"TraceParent\" : null, \"lang\""),
        ("\"lang\"", "\"tracestate\": \"a=1\", \"lang\""),
        ("\"lang\"", "\"b3\": \"0\", \"lang\""),
        ("\"lang\"", "\"trace\\u0070arent\": \"x\", \"lang\""),
        ("\"lang\": \"py\"", "\"lang\": \"py\", \"lang\": \"py\""),
        ("\"lang\": \"py\"", "\"lang\": \"py\", \"LANG\": \"py\""),
        ("\"headers\"", "\"headers\": {}, \"headers\""),
        ("{\"lang\": \"py\",", "[{\"lang\": \"py\","),
        ("\"9\"}}", "\"9\"}"),
        ("\"9\"}}", "\"9\"}} {}"),
        ("\"9\"}}", "\"9\"}}}"),
        ("\"py\"", "NaN"),
        ("{\"body\"", " {\"body\""),
    ] {
        assert_eq!(added("celery", &changed(CELERY, from, to)), None, "{to}");
    }
    for (from, to) in [
        ("\"7\"", "7"),
        ("\"labels\":{}", "\"labels\":[]"),
        ("\"labels\":{}", "\"labels\":null"),
        ("\"args\":[", "\"args\":{},\"x\":["),
        ("null", "7"),
        ("null", "null,\"traceparent\":\"x\""),
    ] {
        assert_eq!(added("q", &changed(TASKIQ, from, to)), None, "{to}");
    }
    for (from, to) in [
        ("\"jid\"", "\"id\""),
        ("\"args\":[7]", "\"args\":7"),
        ("\"default\"", "\"other\""),
        ("\"default\"", "\"d\\u0065fault\""),
        ("\"retry\"", "\"traceparent\":\"\",\"retry\""),
    ] {
        assert_eq!(added("queue:default", &changed(SIDEKIQ, from, to)), None, "{to}");
    }
    assert_eq!(added("default", SIDEKIQ), None);
    for other in ["", "{", "{}", "[]", "7", "null", "\"headers\"", "{\"headers\":{}}", "job", "28bbef77"] {
        assert_eq!(added("celery", other), None, "{other}");
    }
}

#[test]
fn only_the_envelopes_of_named_libraries_count() {
    let all = [("celery", CELERY), ("q", TASKIQ), ("queue:default", SIDEKIQ)];
    for named in Envelope::ALL {
        let gets = |(key, element): (&str, &str)| gap(key.as_bytes(), element.as_bytes(), &[*named]).is_some();
        let adds_elements = usize::from(*named != Envelope::BullMq);
        assert_eq!(all.into_iter().filter(|job| gets(*job)).count(), adds_elements, "{named}");
    }
    assert!(all.into_iter().all(|(key, element)| gap(key.as_bytes(), element.as_bytes(), &[]).is_none()));
}

#[test]
fn an_envelope_with_a_context_gets_no_other_one() {
    for (key, element) in [("celery", CELERY), ("q", TASKIQ), ("queue:default", SIDEKIQ)] {
        assert_eq!(added(key, &added(key, element).unwrap()), None);
    }
}

#[test]
fn any_byte_may_be_another_one_or_be_missing() {
    for (key, element) in [("celery", CELERY), ("q", TASKIQ), ("queue:default", SIDEKIQ)] {
        let mut bytes = element.as_bytes().to_vec();
        for at in 0..bytes.len() {
            assert_eq!(written(key, &bytes[..at], None), None, "{at}");
            for other in [0, 0x7f, 0xc3, 0xff, b'"', b'{', b'}', b'[', b']', b'\\', b',', b':', b' '] {
                let own = core::mem::replace(&mut bytes[at], other);
                if let Some(added) = written(key, &bytes, None) {
                    serde_json::from_slice::<serde::de::IgnoredAny>(&added).unwrap();
                }
                bytes[at] = own;
            }
        }
    }
}

#[test]
fn what_is_nested_or_has_very_many_members_is_read_in_bounded_memory() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = TASKIQ.replace("\"args\":[", &format!("\"args\":[{nested},"));
    assert!(added("q", &deep).is_some(), "values are passed over without recursion");
    let many: String = (0..100_000).map(|number| format!("\"m{number}\":1,")).collect();
    assert_eq!(added("queue:default", &SIDEKIQ.replace("\"retry\"", &format!("{many}\"retry\""))), None);
    assert_eq!(added("q", &"{\"labels\":".repeat(100_000)), None);
}
