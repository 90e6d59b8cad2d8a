//! A context as the last two fields of an entry of a stream, for consumers without a proxy that can read `traceparent`.
//!
//! These bytes are added behind the last field of an `XADD`, whose array then has four elements more. Replies have the same bytes
//! at the end of the entry's fields:
//!
//! ```text
//! $11␍traceparent␍$55␍00-<trace id>-<span id>-<flags>␍
//! $10␍tracestate␍$<length>␍redistributed=<span id>-<checksum>[-<MAC>][,<other entries>]␍
//! ```
//!
//! `␍` is CRLF, and nothing is between the two lines. Both fields are what W3C Trace Context calls by these names, so that whoever
//! reads the stream without a proxy has a context to go on from. The entry `redistributed` is the mark of a proxy (`mark.rs`): a
//! `traceparent` alone, or one with another `tracestate`, was put there by the application, and stays.
//!
//! The checksum is the CRC-32 (ISO-HDLC, as in zlib) of all other fields, followed by the value of `traceparent`. A field counts as
//! it stands in RESP: `$<length>␍<name>␍$<length>␍<value>␍`. So the two fields are a proxy's only behind the fields that they were
//! added to, and an application that puts a context which it has read behind other fields keeps it.
//!
//! With keys the mark has a MAC as well (see [`keys`](super::keys)). It covers an empty channel, the other fields in RESP as the
//! payload, and as the context the values of `traceparent` and `tracestate`, the latter without the hyphen and the digits of the
//! MAC. The key of the stream is in neither, because an entry is still what it was after `RENAME`, `COPY` or `MIGRATE`, and in a
//! stream that others copy it to.

use alloc::vec::Vec;

use memchr::memmem;

use super::ContextKeys;
use super::keys::Covered;
use super::mark::{self, MAC_PART_LEN, Mark};
use super::texts::{TRACEPARENT, TRACESTATE};
use super::trailer::carried_text;
use crate::choice;
use crate::resp::complete::BulkStrings;
use crate::resp::{MAX_HEADER_LEN, write_header};
use crate::trace::context::{MAX_TRACE_STATE, TRACEPARENT_LEN};
use crate::trace::{Context, SpanContext};

choice! {
    /// How the entries of a stream carry contexts (`--stream-carrier`).
    pub enum StreamCarrier, default None {
        /// Nothing is added to them.
        None = "none",
        /// Two fields at the end of the entry: `traceparent` and `tracestate`.
        Field = "field",
    }
}

/// How many elements are added to an entry: two names and two values.
pub(crate) const ADDED_ELEMENTS: usize = 4;

/// The beginning of what is added.
const BEGIN: &[u8] = b"$11\r\ntraceparent\r\n$55\r\n";

/// Most bytes that are added to an entry.
const MAX_LEN: usize = BEGIN.len() + TRACEPARENT_LEN + 2 + 17 + MAX_HEADER_LEN + mark::MAX_LEN + 2;

/// The two fields that a proxy has added to an entry, or that somebody made look so.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedFields {
    /// Where they begin in the fields of the entry in RESP, whose last they are.
    pub start: usize,
    /// The context, without the mark of the proxy; `None` if it is forged.
    pub context: Option<Context>,
    /// Whether there is a MAC, right or not.
    pub has_mac: bool,
}

/// Appends the two fields for `context` to `out`, for an entry that has these `fields` in RESP.
pub(crate) fn write(context: &Context, fields: &[u8], keys: &ContextKeys, out: &mut Vec<u8>) {
    let traceparent = context.span.to_traceparent();
    let mut value = Vec::with_capacity(mark::MAX_LEN);
    let mac_at = mark::write(context, checksum(fields, &traceparent), &mut value);
    if !keys.is_empty() {
        let covered = [&traceparent, &value[..]].concat();
        let mac = keys.sign(&Covered { channel: b"", payload: [fields, b""], context: [&covered, b""] });
        mark::insert_mac(&mac, mac_at, &mut value);
    }
    push(TRACEPARENT.as_bytes(), out);
    push(&traceparent, out);
    push(TRACESTATE.as_bytes(), out);
    push(&value, out);
}

/// Appends a bulk string.
fn push(body: &[u8], out: &mut Vec<u8>) {
    let mut buffer = [0; MAX_HEADER_LEN];
    out.extend_from_slice(write_header(b'$', u64::try_from(body.len()).unwrap_or(u64::MAX), &mut buffer));
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// Finds the two fields that a proxy has added to an entry with these `fields`, which are in RESP and end with the last one. With
/// keys, they are forged if their MAC is not right.
pub fn find(fields: &[u8], keys: &ContextKeys) -> Option<AddedFields> {
    // Nearly every entry without a context ends here.
    let search_from = fields.len().saturating_sub(MAX_LEN);
    let start = search_from + memmem::rfind(fields.get(search_from..)?, BEGIN)?;
    let (before, added) = fields.split_at_checked(start)?;
    let mut values = BulkStrings::new(added, 0);
    let (traceparent, name, value) = (values.nth(1)?, values.next()?, values.next()?);
    if name != TRACESTATE.as_bytes() || values.pos != added.len() || !are_pairs(before) {
        return None; // a value that only ends as such fields do
    }
    let span = SpanContext::parse_traceparent(traceparent)?;
    let mark = Mark::read(value)?;
    let trace_state = match mark.others()? {
        [] => None,
        others => Some(carried_text(others, MAX_TRACE_STATE)?),
    };
    if traceparent.get(36..52)? != mark.span_id || checksum(before, traceparent) != mark.checksum {
        return None; // they were added to another entry
    }
    let is_proven = keys.is_empty() || has_right_mac(before, traceparent, value, &mark, keys);
    let context = is_proven.then_some(Context { trace_state, ..span.into() });
    Some(AddedFields { start, context, has_mac: mark.mac.is_some() })
}

/// Whether the mark, which `value` begins with, has a right MAC.
fn has_right_mac(fields: &[u8], traceparent: &[u8], value: &[u8], mark: &Mark<'_>, keys: &ContextKeys) -> bool {
    let Some(mac) = &mark.mac else { return false };
    let marked = value.len() - mark.entries.len();
    let without_mac = value.get(..marked.saturating_sub(MAC_PART_LEN)).unwrap_or_default();
    let covered = [traceparent, without_mac, mark.entries].concat();
    keys.verify(&Covered { channel: b"", payload: [fields, b""], context: [&covered, b""] }, mac)
}

/// Whether these bytes are pairs of bulk strings.
pub(crate) fn are_pairs(fields: &[u8]) -> bool {
    let mut strings = BulkStrings::new(fields, 0);
    strings.by_ref().count().is_multiple_of(2) && strings.pos == fields.len()
}

/// The checksum that binds the two fields to the others.
fn checksum(fields: &[u8], traceparent: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fields);
    hasher.update(traceparent);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const FIELDS: &[u8] = b"$2\r\nid\r\n$1\r\n7\r\n";

    fn context(trace_state: Option<&str>) -> Context {
        let span = SpanContext::parse_traceparent(PARENT.as_bytes()).unwrap();
        Context { trace_state: trace_state.map(Into::into), ..span.into() }
    }

    fn with_context(fields: &[u8], context: &Context, keys: &ContextKeys) -> Vec<u8> {
        let mut bytes = fields.to_vec();
        write(context, fields, keys, &mut bytes);
        assert!(bytes.len() - fields.len() <= MAX_LEN);
        bytes
    }

    /// Computed by Python, as `proxy/docs/queues.md` says.
    #[test]
    fn these_are_the_bytes_that_other_languages_write() {
        let plain = with_context(FIELDS, &context(None), &ContextKeys::default());
        let expected = "$2\r\nid\r\n$1\r\n7\r\n$11\r\ntraceparent\r\n$55\r\n00-4bf92f3577b34da6a3ce929d0e0e4736-\
            00f067aa0ba902b7-01\r\n$10\r\ntracestate\r\n$39\r\nredistributed=00f067aa0ba902b7-a96d9813\r\n";
        assert_eq!(String::from_utf8(plain).unwrap(), expected);
        let keyed = with_context(FIELDS, &context(Some("a=1")), &ContextKeys::new(["fleet"]));
        let expected = "$2\r\nid\r\n$1\r\n7\r\n$11\r\ntraceparent\r\n$55\r\n00-4bf92f3577b34da6a3ce929d0e0e4736-\
            00f067aa0ba902b7-01\r\n$10\r\ntracestate\r\n$76\r\nredistributed=00f067aa0ba902b7-a96d9813-\
            ced01d31f7d49b380ca2f3af5c85474a,a=1\r\n";
        assert_eq!(String::from_utf8(keyed).unwrap(), expected);
    }

    #[test]
    fn what_is_added_is_found_and_nothing_else_is() {
        let keys = ContextKeys::default();
        for trace_state in [None, Some("a=1,b=2")] {
            let context = context(trace_state);
            for fields in [FIELDS, b"", b"$11\r\ntraceparent\r\n$0\r\n\r\n"] {
                let bytes = with_context(fields, &context, &keys);
                let expected = AddedFields { start: fields.len(), context: Some(context.clone()), has_mac: false };
                assert_eq!(find(&bytes, &keys), Some(expected));
                for cut in 0..bytes.len() {
                    assert_eq!(find(&bytes[..cut], &keys), None, "{cut}");
                }
                // Whoever changes a byte of the others, or puts fields around it, has a context of their own.
                if let Some(first) = bytes[..fields.len()].iter().position(u8::is_ascii_lowercase) {
                    let mut changed = bytes.clone();
                    changed[first] ^= 1;
                    assert_eq!(find(&changed, &keys), None);
                }
                assert_eq!(find(&[&bytes[..], FIELDS].concat(), &keys), None);
                assert_eq!(find(&[FIELDS, &bytes[..]].concat(), &keys), None);
            }
        }
    }

    #[test]
    fn a_value_that_ends_as_the_fields_do_is_no_context() {
        // The checksum is right, because it covers bytes and not what they mean.
        let keys = ContextKeys::default();
        let before = [b"$1\r\nf\r\n$999\r\n", FIELDS].concat();
        let bytes = with_context(&before, &context(None), &keys);
        let len = bytes.len() - b"$1\r\nf\r\n$999\r\n".len() - 2;
        let before = [b"$1\r\nf\r\n", format!("${len}\r\n").as_bytes(), FIELDS].concat();
        let bytes = with_context(&before, &context(None), &keys);
        assert_eq!(BulkStrings::new(&bytes, 0).map(<[u8]>::len).collect::<Vec<_>>(), [1, len]);
        assert_eq!(find(&bytes, &keys), None);
        let odd = b"$1\r\nf\r\n";
        assert_eq!(find(&with_context(odd, &context(None), &keys), &keys), None);
    }

    #[test]
    fn a_copied_context_belongs_to_the_application() {
        let keys = ContextKeys::default();
        let other = with_context(b"$2\r\nid\r\n$1\r\n8\r\n", &context(None), &keys);
        let copied = [FIELDS, &other[FIELDS.len()..]].concat();
        assert_eq!(find(&copied, &keys), None);
        let supplied = [FIELDS, b"$11\r\ntraceparent\r\n$55\r\n", PARENT.as_bytes(), b"\r\n"].concat();
        assert_eq!(find(&supplied, &keys), None);
        for state in ["a=1", "redistributed=1"] {
            let mut with_state = supplied.clone();
            push(b"tracestate", &mut with_state);
            push(state.as_bytes(), &mut with_state);
            assert_eq!(find(&with_state, &keys), None);
        }
    }

    #[test]
    fn with_keys_only_a_right_mac_is_believed() {
        let [ours, others] = [["new", "old"], ["x", "y"]].map(ContextKeys::new);
        let signed = with_context(FIELDS, &context(Some("a=1")), &ContextKeys::new(["old"]));
        assert_eq!(find(&signed, &ours).unwrap().context, Some(context(Some("a=1"))));
        assert_eq!(find(&signed, &ContextKeys::default()).unwrap().context, Some(context(Some("a=1"))));
        let forged = |has_mac| Some(AddedFields { start: FIELDS.len(), context: None, has_mac });
        assert_eq!(find(&signed, &others), forged(true));
        assert_eq!(find(&with_context(FIELDS, &context(None), &ContextKeys::default()), &ours), forged(false));
        let at = signed.len() - b"1\r\n".len();
        let mut changed = signed.clone();
        changed[at] = b'2';
        assert_eq!(find(&changed, &ours), forged(true), "the other entries of the trace state are covered");
    }
}
