//! A context as members of a JSON object, for consumers without a proxy that can read `traceparent`.
//!
//! These members are added directly before the object's closing brace, without white space:
//!
//! ```text
//! ,"traceparent":"00-<trace id>-<span id>-<flags>","tracestate":"redistributed=<span id>-<checksum>[-<MAC>][,<other entries>]"
//! ```
//!
//! The leading comma is absent if the object had no members. The entry of `tracestate` is the mark of a proxy (`mark.rs`). The
//! checksum is the CRC-32 (ISO-HDLC, as in zlib) of the payload without the members, followed by the value of `traceparent`. So a
//! proxy knows that a proxy added the members to this very object, and removes them again, byte for byte. Whoever copies the
//! entry into another message does not make its members vanish: they belong to the application. The MAC, 32 digits, is there if
//! the proxies have keys (see [`keys`](super::keys)).

mod members;
mod object;

use alloc::vec::Vec;

use memchr::memmem;
use serde::de::IgnoredAny;

pub use members::supplied_members;
pub(crate) use members::{Member, members};
pub use object::{JsonPath, Object};
pub(crate) use object::{text_member, wrapped_context};

use super::keys::{Covered, Mac};
use super::mark::{self, MAC_PART_LEN, Mark};
use super::trailer::carried_text;
use super::{Added, Carrier, Place};
use crate::trace::context::{MAX_TRACE_STATE, TRACEPARENT_LEN};
use crate::trace::{Context, SpanContext};

const TRACEPARENT: &[u8] = b"\"traceparent\":\"";
const TRACESTATE: &[u8] = b"\",\"tracestate\":\"";

/// Most bytes that are added to a payload.
pub const MAX_LEN: usize = 1 + TRACEPARENT.len() + TRACEPARENT_LEN + TRACESTATE.len() + mark::MAX_LEN + 1;

/// Appends the members for `context` to `out`, with a leading comma if they follow another member. `payload` is the one
/// without them, before and behind their place.
pub(super) fn write(
    context: &Context,
    follows_a_member: bool,
    payload: [&[u8]; 2],
    place: &Place<'_>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    if follows_a_member {
        out.push(b',');
    }
    let traceparent = context.span.to_traceparent();
    out.extend_from_slice(TRACEPARENT);
    out.extend_from_slice(&traceparent);
    out.extend_from_slice(TRACESTATE);
    let mac_at = mark::write(context, checksum(payload, &traceparent), out);
    out.push(b'"');
    if !place.keys.is_empty() {
        let (before, behind) = (out.get(start..mac_at), out.get(mac_at..));
        let context = [before.unwrap_or_default(), behind.unwrap_or_default()];
        let mac = place.keys.sign(&Covered { channel: place.channel, payload, context });
        mark::insert_mac(&mac, mac_at, out);
    }
}

/// Appends the members for `context` as an application would write them, without a mark.
pub(crate) fn write_plain(context: &Context, out: &mut Vec<u8>) {
    out.extend_from_slice(TRACEPARENT);
    out.extend_from_slice(&context.span.to_traceparent());
    out.push(b'"');
    let trace_state = context.trace_state.as_deref().filter(|state| !state.is_empty());
    // It may hold quotation marks and backslashes.
    if let Some(text) = trace_state.and_then(|state| serde_json::to_string(state).ok()) {
        out.extend_from_slice(b",\"tracestate\":");
        out.extend_from_slice(text.as_bytes());
    }
}

/// The checksum that binds the members to the rest of the payload.
fn checksum(payload: [&[u8]; 2], traceparent: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    payload.into_iter().chain([traceparent]).for_each(|piece| hasher.update(piece));
    hasher.finalize()
}

/// Finds members that a proxy added. Whether their MAC is right, if they have one, is not looked at.
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
    let members = Written::read(payload.get(start..end)?)?;
    let span = SpanContext::parse_traceparent(members.traceparent)?;
    let trace_state = match members.mark.others()? {
        [] => None,
        others => Some(carried_text(others, MAX_TRACE_STATE)?),
    };
    let before = payload.get(..start)?;
    let start = match before.split_last() {
        Some((b',', _)) => start - 1,
        Some(_) if before.trim_ascii() == b"{" => start,
        _ => return None,
    };
    if checksum([payload.get(..start)?, payload.get(end..)?], members.traceparent) != members.mark.checksum
        || !is_object(payload)
    {
        return None; // somebody else's members, or text that only ends as a proxy's members do
    }
    let context = Context { trace_state, ..span.into() };
    Some(Added { has_mac: members.mark.mac.is_some(), ..Added::new(Carrier::Json, start..end, context) })
}

/// The parts of members that have been written by [`write`], without the leading comma.
struct Written<'a> {
    traceparent: &'a [u8; TRACEPARENT_LEN],
    mark: Mark<'a>,
}

impl<'a> Written<'a> {
    fn read(members: &'a [u8]) -> Option<Self> {
        let (traceparent, rest) = members.strip_prefix(TRACEPARENT)?.split_first_chunk::<TRACEPARENT_LEN>()?;
        let value = rest.strip_prefix(TRACESTATE)?.strip_suffix(b"\"")?;
        let mark = Mark::read(value)?;
        let is_ours = traceparent.get(36..52)? == mark.span_id && !value.contains(&b'"');
        is_ours.then_some(Self { traceparent, mark })
    }
}

/// The MAC of `members` that have one, and what it covers of them.
pub(super) fn mac(members: &[u8]) -> Option<([&[u8]; 2], Mac)> {
    let without_comma = members.strip_prefix(b",").unwrap_or(members);
    let Written { mark: Mark { entries, mac, .. }, .. } = Written::read(without_comma)?;
    let entries_at = members.len() - 1 - entries.len(); // behind them is the quotation mark
    let before = members.get(..entries_at.checked_sub(MAC_PART_LEN)?)?;
    Some(([before, members.get(entries_at..)?], mac?))
}

/// Writes `members` with the context of `span` in them, and without the `redistributed` entry. White space takes its place.
pub(super) fn hand_on(members: &[u8], span: SpanContext, out: &mut Vec<u8>) {
    let end = out.len() + members.len();
    let without_comma = members.strip_prefix(b",").unwrap_or(members);
    let entries = Written::read(without_comma).map(|written| written.mark.entries).unwrap_or_default();
    if without_comma.len() < members.len() {
        out.push(b',');
    }
    out.extend_from_slice(TRACEPARENT);
    out.extend_from_slice(&span.to_traceparent());
    if let Some((_, others)) = entries.split_first() {
        out.extend_from_slice(TRACESTATE);
        out.extend_from_slice(others);
    }
    out.push(b'"');
    out.resize(end, b' ');
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

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::sync::Arc;

    use super::*;
    use crate::carrier::{self, ContextKeys};
    use crate::trace::Propagators;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(trace_state: Option<&str>) -> Context {
        Context {
            trace_state: trace_state.map(Arc::from),
            ..SpanContext::parse_traceparent(PARENT.as_bytes()).unwrap().into()
        }
    }

    fn place(keys: &ContextKeys) -> Place<'_> {
        Place { channel: b"ch", carrier: Carrier::Json, keys }
    }

    fn add_with(payload: &str, context: &Context, keys: &ContextKeys) -> String {
        let mut members = Vec::new();
        let at = carrier::add(payload.as_bytes(), &place(keys), context, Propagators::default(), &mut members).unwrap();
        let mut out = payload.as_bytes().to_vec();
        out.splice(at..at, members);
        String::from_utf8(out).unwrap()
    }

    fn add(payload: &str, context: &Context) -> String {
        add_with(payload, context, &ContextKeys::default())
    }

    #[test]
    fn what_is_added_is_valid_json_and_is_removed_exactly() {
        for payload in [r#"{}"#, "{ \n}", r#"{"id":7}"#, " {\"a\":{\"traceparent\":\"x\"}} \r\n\t", r#"{"a":"}"}"#] {
            for state in [None, Some("congo=t61,rojo=1"), Some("redistributed=0000000000000001,x=1")] {
                for keys in [ContextKeys::default(), ContextKeys::new(["key"])] {
                    let added = add_with(payload, &context(state), &keys);
                    serde_json::from_str::<IgnoredAny>(&added).unwrap();
                    let found = carrier::find_added(added.as_bytes(), &place(&keys)).unwrap();
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
    }

    #[test]
    fn a_mac_of_another_key_channel_payload_or_context_is_forged() {
        let keys = ContextKeys::new(["key"]);
        let added = add_with(r#"{"id":7}"#, &context(Some("a=1")), &keys);
        let found = |payload: &str, place: &Place<'_>| carrier::find_added(payload.as_bytes(), place);
        assert!(found(&added, &place(&keys)).is_some_and(|added| !added.is_forged));
        assert!(found(&added, &Place { carrier: Carrier::Trailer, ..place(&keys) }).is_some(), "a MAC proves them");
        assert!(found(&added, &place(&ContextKeys::new(["other"]))).unwrap().is_forged);
        assert!(found(&added, &Place { channel: b"other", ..place(&keys) }).unwrap().is_forged);
        assert!(found(&added.replace("a=1", "a=2"), &place(&keys)).unwrap().is_forged);
        let without_mac = add(r#"{"id":7}"#, &context(None));
        assert!(found(&without_mac, &place(&keys)).unwrap().is_forged);
        assert_eq!(found(&without_mac, &Place { carrier: Carrier::Trailer, ..place(&keys) }), None);
        assert!(found(&added, &place(&ContextKeys::default())).is_some_and(|added| !added.is_forged));
    }

    #[test]
    fn text_that_ends_as_ours_does_is_no_object_and_is_left_alone() {
        for text in ["hello world", "{hello world", r#"["id",7"#, r#""id":7"#, r#"{"id":7} {"id":8"#] {
            let keys = ContextKeys::default();
            let mut forged = text.as_bytes().to_vec();
            // With a right checksum.
            write(&context(None), true, [text.as_bytes(), b"}"], &place(&keys), &mut forged);
            forged.push(b'}');
            assert_eq!(find(&forged), None, "{text}");
        }
        assert!(find(add(r#"{"id":7}"#, &context(None)).as_bytes()).is_some());
    }

    #[test]
    fn forged_damaged_or_copied_members_are_payload() {
        let added = add(r#"{"id":7}"#, &context(None));
        for damaged in [
            added.replace("redistributed=00f0", "redistributed=00f1"),
            added.replace("redistributed=", "redistribute="),
            added.replace("\"}", "\" }"),
            added.replace(",\"traceparent", ", \"traceparent"),
            added.replace("-01\"", "-0g\""),
            added.replace("-01\"", "-00\""),
            added.replace("{\"id\":7", "{\"id\":8"),
            added.replace("}", "}\n"),
        ] {
            assert_eq!(find(damaged.as_bytes()), None, "{damaged}");
        }
    }

    #[test]
    fn what_is_handed_on_is_valid_as_long_as_before_and_no_longer_ours() {
        let span = SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000aa-00").unwrap();
        for payload in ["{}", r#"{"id":7}"#] {
            for state in [None, Some("congo=t61,rojo=1")] {
                for keys in [ContextKeys::default(), ContextKeys::new(["key"])] {
                    let payload = add_with(payload, &context(state), &keys);
                    let added = carrier::find_added(payload.as_bytes(), &place(&keys)).unwrap();
                    let mut bytes = Vec::new();
                    carrier::hand_on(payload.as_bytes(), &added, span, &mut bytes);
                    assert_eq!(bytes.len(), added.range.len());
                    let mut handed_on = payload.clone();
                    handed_on.replace_range(added.range, core::str::from_utf8(&bytes).unwrap());
                    assert_eq!(find(handed_on.as_bytes()), None);
                    let object = Object::parse(handed_on.as_bytes(), Propagators::default(), &JsonPath::default());
                    let supplied = object.unwrap().supplied.unwrap();
                    assert_eq!((supplied.span, supplied.trace_state.as_deref()), (span, state));
                }
            }
        }
    }
}
