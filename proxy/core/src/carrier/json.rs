//! A context as members of a JSON object, for consumers without a proxy that can read `traceparent`.
//!
//! These members are added directly before the object's closing brace, without white space:
//!
//! ```text
//! ,"traceparent":"00-<trace id>-<span id>-<flags>","tracestate":"redistributed=<span id>[,<other entries>]"
//! ```
//!
//! The leading comma is absent if the object had no members. The `redistributed` entry of `tracestate` repeats the span
//! id of `traceparent`, as W3C Trace Context lets a tracing system do. By this entry a proxy knows that a proxy added the
//! members, and removes them again, byte for byte. A `traceparent` without the entry belongs to the application.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use memchr::memmem;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::trailer::{carried_text, is_carried};
use super::{Added, Carrier};
use crate::trace::context::{MAX_BAGGAGE, MAX_TRACE_STATE, TRACEPARENT_LEN, write_hex};
use crate::trace::{Context, Propagators, SpanContext};

const TRACEPARENT: &[u8] = b"\"traceparent\":\"";
const TRACESTATE: &[u8] = b"\",\"tracestate\":\"redistributed=";
const ENTRY: &str = "redistributed=";
const SPAN_ID_LEN: usize = 16;

/// Most bytes that are added to a payload.
pub const MAX_LEN: usize =
    1 + TRACEPARENT.len() + TRACEPARENT_LEN + TRACESTATE.len() + SPAN_ID_LEN + 1 + MAX_TRACE_STATE + 1;

/// Appends the members for `context` to `out`, with a leading comma if they follow another member.
pub fn write(context: &Context, follows_a_member: bool, out: &mut Vec<u8>) {
    if follows_a_member {
        out.push(b',');
    }
    out.extend_from_slice(TRACEPARENT);
    out.extend_from_slice(&context.span.to_traceparent());
    out.extend_from_slice(TRACESTATE);
    let mut span_id = [0; SPAN_ID_LEN];
    write_hex(&context.span.span_id.to_bytes(), &mut span_id);
    out.extend_from_slice(&span_id);
    let entries = context.trace_state.as_deref().unwrap_or_default().split(',').map(str::trim);
    let mut budget = MAX_TRACE_STATE;
    for entry in entries.filter(|entry| !entry.starts_with(ENTRY) && needs_no_escape(entry)) {
        let Some(left) = budget.checked_sub(entry.len() + 1) else { break };
        budget = left;
        out.push(b',');
        out.extend_from_slice(entry.as_bytes());
    }
    out.push(b'"');
}

fn needs_no_escape(entry: &str) -> bool {
    is_carried(entry.as_bytes(), MAX_TRACE_STATE) && !entry.contains(['"', '\\'])
}

/// Finds members that a proxy added.
#[inline]
pub fn find(payload: &[u8]) -> Option<Added> {
    // Nearly every payload that is no JSON object ends here.
    match closing_brace(payload) {
        Some(end) => find_before(payload, end),
        None => None,
    }
}

/// Finds members directly before the closing brace at `end`.
fn find_before(payload: &[u8], end: usize) -> Option<Added> {
    let search_from = end.saturating_sub(MAX_LEN);
    let start = search_from + memmem::rfind(payload.get(search_from..end)?, TRACEPARENT)?;
    let rest = payload.get(start + TRACEPARENT.len()..end)?;
    let (traceparent, rest) = rest.split_first_chunk::<TRACEPARENT_LEN>()?;
    let (span_id, rest) = rest.strip_prefix(TRACESTATE)?.split_first_chunk::<SPAN_ID_LEN>()?;
    let entries = rest.strip_suffix(b"\"")?;
    if traceparent.get(36..52)? != span_id || entries.contains(&b'"') {
        return None;
    }
    let span = SpanContext::parse_traceparent(traceparent)?;
    let trace_state = match entries.split_first() {
        None => None,
        Some((b',', others)) => Some(carried_text(others, MAX_TRACE_STATE)?),
        Some(_) => return None,
    };
    let before = payload.get(..start)?;
    let start = match before.split_last() {
        Some((b',', _)) => start - 1,
        Some(_) if before.trim_ascii() == b"{" => start,
        _ => return None,
    };
    if !is_object(payload) {
        return None; // text that only ends as a proxy's members do
    }
    Some(Added { form: Carrier::Json, range: start..end, context: Some(Context { trace_state, ..span.into() }) })
}

/// Whether the payload is one JSON object, of which nothing is kept.
fn is_object(payload: &[u8]) -> bool {
    let is_begun = payload.trim_ascii_start().first() == Some(&b'{');
    is_begun && serde_json::from_slice::<IgnoredAny>(payload).is_ok()
}

/// Position of the `}` that only white space follows.
#[inline]
fn closing_brace(payload: &[u8]) -> Option<usize> {
    let object = payload.trim_ascii_end();
    (object.last() == Some(&b'}')).then(|| object.len() - 1)
}

/// What a proxy has to know of a JSON object.
#[derive(Debug, PartialEq)]
pub struct Object {
    /// The context that the application put among the members.
    pub supplied: Option<Context>,
    /// Whether a member is called `traceparent` or `tracestate`, whatever its value. No context is added then.
    pub names_context: bool,
    /// Whether the object has no members.
    pub is_empty: bool,
    /// Position of the closing brace in the payload.
    pub end: usize,
}

impl Object {
    /// Reads a payload that is one JSON object; `None` for any other payload. Values are skipped without recursion.
    pub fn parse(payload: &[u8], formats: Propagators) -> Option<Self> {
        if payload.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let end = closing_brace(payload)?;
        let members: Members = serde_json::from_slice(payload).ok()?;
        Some(Self {
            names_context: members.traceparent.is_some() || members.tracestate.is_some(),
            is_empty: members.count == 0,
            supplied: members.context(formats),
            end,
        })
    }
}

#[derive(Default)]
struct Members {
    count: usize,
    traceparent: Option<Text>,
    tracestate: Option<Text>,
    baggage: Option<Text>,
    b3: Option<Text>,
    uber_trace_id: Option<Text>,
}

impl Members {
    fn context(self, formats: Propagators) -> Option<Context> {
        let text =
            |member: &Option<Text>| member.as_ref().map(|Text(text)| text.as_bytes().to_vec()).unwrap_or_default();
        let carried = |member: &Option<Text>, limit| -> Option<Arc<str>> { carried_text(&text(member), limit) };
        let baggage = if formats.baggage { carried(&self.baggage, MAX_BAGGAGE) } else { None };
        if formats.trace_context
            && let Some(span) = SpanContext::parse_traceparent(&text(&self.traceparent))
        {
            let trace_state = carried(&self.tracestate, MAX_TRACE_STATE);
            return Some(Context { trace_state, baggage, ..span.into() });
        }
        let b3 = || SpanContext::parse_b3_single(&text(&self.b3)).filter(|_| formats.b3);
        let jaeger = || SpanContext::parse_uber_trace_id(&text(&self.uber_trace_id)).filter(|_| formats.jaeger);
        Some(Context { baggage, ..b3().or_else(jaeger)?.into() })
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Members::default();
                while let Some(Key(key)) = map.next_key()? {
                    members.count += 1;
                    let member = match &*key {
                        "traceparent" => &mut members.traceparent,
                        "tracestate" => &mut members.tracestate,
                        "baggage" => &mut members.baggage,
                        "b3" => &mut members.b3,
                        "uber-trace-id" => &mut members.uber_trace_id,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *member = Some(map.next_value()?);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member's name, copied only if it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.into()))
            }
        }
        deserializer.deserialize_str(Name).map(Key)
    }
}

/// A member's value if it is a string. Any other value counts as an empty string.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_str<E>(self, text: &str) -> Result<String, E> {
                Ok(text.into())
            }

            fn visit_bool<E>(self, _: bool) -> Result<String, E> {
                Ok(String::new())
            }

            fn visit_i64<E>(self, _: i64) -> Result<String, E> {
                Ok(String::new())
            }

            fn visit_u64<E>(self, _: u64) -> Result<String, E> {
                Ok(String::new())
            }

            fn visit_f64<E>(self, _: f64) -> Result<String, E> {
                Ok(String::new())
            }

            fn visit_unit<E>(self) -> Result<String, E> {
                Ok(String::new())
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<String, S::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(String::new())
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<String, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(String::new())
            }
        }
        deserializer.deserialize_any(Any).map(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(trace_state: Option<&str>) -> Context {
        Context {
            trace_state: trace_state.map(Arc::from),
            ..SpanContext::parse_traceparent(PARENT.as_bytes()).unwrap().into()
        }
    }

    fn add(payload: &str, context: &Context) -> String {
        let object = Object::parse(payload.as_bytes(), Propagators::default()).unwrap();
        let mut members = Vec::new();
        write(context, !object.is_empty, &mut members);
        let mut out = payload.as_bytes().to_vec();
        out.splice(object.end..object.end, members);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_added_is_valid_json_and_is_removed_exactly() {
        for payload in [r#"{}"#, "{ \n}", r#"{"id":7}"#, " {\"a\":{\"traceparent\":\"x\"}} \r\n\t", r#"{"a":"}"}"#] {
            for state in [None, Some("congo=t61,rojo=1"), Some("redistributed=0000000000000001,x=1")] {
                let added = add(payload, &context(state));
                serde_json::from_str::<IgnoredAny>(&added).unwrap();
                let found = find(added.as_bytes()).unwrap();
                let mut restored = added.clone();
                restored.replace_range(found.range, "");
                assert_eq!(restored, payload);
                let found = found.context.unwrap();
                assert_eq!(found.span, context(None).span);
                let expected = state.map(|state| state.trim_start_matches("redistributed=0000000000000001,"));
                assert_eq!(found.trace_state.as_deref(), expected);
            }
        }
    }

    #[test]
    fn an_applications_own_context_is_read_and_not_taken_for_ours() {
        let payload = alloc::format!(r#"{{"id":7,"traceparent":"{PARENT}","tracestate":"a=1"}}"#);
        assert_eq!(find(payload.as_bytes()), None);
        let object = Object::parse(payload.as_bytes(), Propagators::default()).unwrap();
        assert!(object.names_context);
        assert_eq!(object.supplied, Some(context(Some("a=1"))));
    }

    #[test]
    fn other_formats_are_read_only_if_asked_for() {
        let b3 = r#"{"b3":"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"}"#;
        let jaeger = r#"{"uber-trace-id":"abc:12:0:1","baggage":"a=1"}"#;
        let none = Propagators { trace_context: false, baggage: false, b3: false, jaeger: false };
        let supplied = |payload: &str, formats| Object::parse(payload.as_bytes(), formats).unwrap().supplied;
        assert_eq!(supplied(b3, Propagators::default()), None);
        assert!(supplied(b3, Propagators { b3: true, ..none }).is_some());
        assert_eq!(supplied(jaeger, Propagators { jaeger: true, ..none }).unwrap().baggage, None);
        let with_baggage = Propagators { jaeger: true, baggage: true, ..none };
        assert_eq!(supplied(jaeger, with_baggage).unwrap().baggage.as_deref(), Some("a=1"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for payload in ["", "{", "[]", "\"{}\"", "{} {}", "{\"a\":1,}", "null", "x{}"] {
            assert_eq!(Object::parse(payload.as_bytes(), Propagators::default()), None, "{payload}");
        }
    }

    #[test]
    fn text_that_ends_as_ours_does_is_no_object_and_is_left_alone() {
        let ours = add(r#"{"id":7}"#, &context(None));
        let members = ours.strip_prefix(r#"{"id":7"#).unwrap();
        for text in ["hello world", "{hello world", r#"["id",7"#, r#""id":7"#, r#"{"id":7} {"id":8"#] {
            assert_eq!(find(alloc::format!("{text}{members}").as_bytes()), None, "{text}");
        }
        assert!(find(ours.as_bytes()).is_some());
    }

    #[test]
    fn nesting_of_any_depth_is_passed_over() {
        let deep = alloc::format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Object::parse(deep.as_bytes(), Propagators::default()).is_some());
    }

    #[test]
    fn a_context_of_another_type_is_the_applications_and_stays() {
        for value in ["1", "-1", "1.5", "null", "true", "[1]", "{\"a\":1}", "\"\""] {
            let payload = alloc::format!("{{\"traceparent\":{value}}}");
            let object = Object::parse(payload.as_bytes(), Propagators::default()).unwrap();
            assert!(object.names_context, "{value}");
            assert_eq!(object.supplied, None);
        }
    }

    #[test]
    fn forged_or_damaged_members_are_payload() {
        let added = add(r#"{"id":7}"#, &context(None));
        for damaged in [
            added.replace("redistributed=00f0", "redistributed=00f1"),
            added.replace("redistributed=", "redistribute="),
            added.replace("\"}", "\" }"),
            added.replace(",\"traceparent", ", \"traceparent"),
            added.replace("-01\"", "-0g\""),
        ] {
            assert_eq!(find(damaged.as_bytes()), None, "{damaged}");
        }
    }
}
