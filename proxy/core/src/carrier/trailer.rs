//! The trailer, version 1: a context appended to the payload.
//!
//! All numbers are big-endian. `L` is the length of the whole trailer.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | mark `00 fb 72 64 74 72 61 63`; a program that reads the payload as a C string stops before it |
//! | 8 | 16 | trace id, not all zero |
//! | 24 | 8 | span id, not all zero |
//! | 32 | 1 | trace flags: bit 0 sampled, bit 1 random, the others 0 |
//! | 33 | 8 | mark `fb 72 64 74 72 61 63 fe` |
//!
//! These 41 bytes are a trailer without fields. A trailer with fields has another end, which says how long it is:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 33 | `L` − 43 | one or more fields, each of a type (1 byte), a length (2 bytes) and a value |
//! | `L` − 10 | 2 | `L`, from the first mark to the last: 47 to 12288 |
//! | `L` − 8 | 8 | mark `fb 72 64 74 72 61 63 ff` |
//!
//! The fields are in the order of their types, and none occurs twice:
//!
//! | type | value |
//! |---|---|
//! | 1 | `tracestate`, 1 to 512 bytes of printable ASCII |
//! | 2 | `baggage`, 1 to 8192 bytes of printable ASCII |
//! | 3 | the time of the publish by the writer's wall clock, 8 bytes, in nanoseconds since 1970, less than 2^63 |
//! | 4 | a MAC, 16 bytes, which [`keys`](super::keys) describes |
//!
//! A reader starts at the end. **Whatever is not exactly of this form is no trailer, and stays.** So nobody can make bytes
//! part of a trailer that he did not write: the first mark delimits it, and between the marks there is room for nothing but
//! valid ids and known fields. What could still be lost is a beginning of the mark that happens to be the end of somebody
//! else's bytes, which means a final NUL byte; a MAC excludes that too. There is no checksum, because it would prove no
//! origin: it is for the marks to tell a trailer from payload, and for the MAC to tell whose it is.
//!
//! A random payload looks like a trailer with a probability of 2^-128 for each possible length. `fb`, `fe` and `ff` occur in
//! no UTF-8 text, so a text payload fails at its last byte. Another version of the format will have other marks.
//!
//! `proxy/core/tests/vectors/trailer.txt` has vectors for readers and writers in other languages.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::keys::{MAC_LEN, Mac};
use super::{Added, Carrier};
use crate::trace::context::{MAX_BAGGAGE, MAX_TRACE_STATE};
use crate::trace::{Context, SpanContext, SpanId, TraceFlags, TraceId, UnixNanos};

/// The first eight bytes of every trailer.
pub const BEGIN: [u8; MARK_LEN] = *b"\0\xfbrdtrac";

/// The last eight bytes of a trailer without fields.
pub const END: [u8; MARK_LEN] = *b"\xfbrdtrac\xfe";

/// The last eight bytes of a trailer with fields.
pub const END_WITH_FIELDS: [u8; MARK_LEN] = *b"\xfbrdtrac\xff";

/// Length of a mark, in bytes.
pub const MARK_LEN: usize = 8;

/// Length of a trailer without fields, in bytes.
pub const MIN_LEN: usize = HEAD_LEN + MARK_LEN;

/// Longest trailer, in bytes: all fields at their limits, rounded up.
pub const MAX_LEN: usize =
    (MIN_LEN + LEN_LEN + 4 * FIELD_HEADER_LEN + MAX_TRACE_STATE + MAX_BAGGAGE + 8 + MAC_LEN).next_multiple_of(4096);

/// Length of the first mark, the ids and the flags, in bytes.
const HEAD_LEN: usize = 33;
const TRACE_ID: Range<usize> = 8..24;
const SPAN_ID: Range<usize> = 24..32;
const LEN_LEN: usize = 2;
const FIELD_HEADER_LEN: usize = 3;
const TRACE_STATE: u8 = 1;
const BAGGAGE: u8 = 2;
const PUBLISHED: u8 = 3;
const MAC: u8 = 4;

/// Appends a trailer for `context` to `out`: at most [`MAX_LEN`] bytes.
pub fn write(context: &Context, out: &mut Vec<u8>) {
    if let Context { span, trace_state: None, baggage: None, published: None } = context {
        return write_without_fields(span, out);
    }
    let start = out.len();
    out.extend_from_slice(&head(&context.span));
    write_fields(context, out);
    write_end(start, out);
}

#[inline]
fn write_without_fields(span: &SpanContext, out: &mut Vec<u8>) {
    // In one piece, because a piece costs more than the bytes in it.
    let mut trailer = [0; MIN_LEN];
    put(&mut trailer, 0..HEAD_LEN, &head(span));
    put(&mut trailer, HEAD_LEN..MIN_LEN, &END);
    out.extend_from_slice(&trailer);
}

/// Appends a trailer with a MAC to `out`: at most [`MAX_LEN`] bytes. `mac` gets the bytes of the trailer before the MAC.
pub(super) fn write_with_mac(context: &Context, mac: impl FnOnce(&[u8]) -> Mac, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&head(&context.span));
    write_fields(context, out);
    out.extend_from_slice(&MAC_HEADER);
    let mac = mac(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&mac);
    write_end(start, out);
}

/// The type and the length of the field that holds the MAC.
const MAC_HEADER: [u8; FIELD_HEADER_LEN] = [MAC, 0, 16];

/// The bytes that every trailer begins with.
#[inline]
fn head(span: &SpanContext) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    put(&mut head, 0..MARK_LEN, &BEGIN);
    put(&mut head, TRACE_ID, &span.trace_id.to_bytes());
    put(&mut head, SPAN_ID, &span.span_id.to_bytes());
    put(&mut head, SPAN_ID.end..HEAD_LEN, &[span.flags.to_byte()]);
    head
}

fn write_fields(context: &Context, out: &mut Vec<u8>) {
    write_text(TRACE_STATE, context.trace_state.as_deref(), MAX_TRACE_STATE, out);
    write_text(BAGGAGE, context.baggage.as_deref(), MAX_BAGGAGE, out);
    if let Some(UnixNanos(published)) = context.published.filter(is_time) {
        write_field(PUBLISHED, &published.to_be_bytes(), out);
    }
}

fn write_end(start: usize, out: &mut Vec<u8>) {
    let len = out.len() - start;
    if len == HEAD_LEN {
        out.extend_from_slice(&END);
        return;
    }
    // The fields are bounded far below 64 KiB.
    let len = u16::try_from(len + LEN_LEN + MARK_LEN).unwrap_or_default();
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&END_WITH_FIELDS);
}

/// Writes `bytes` to a place of the same length.
#[inline]
fn put(buffer: &mut [u8], at: Range<usize>, bytes: &[u8]) {
    if let Some(place) = buffer.get_mut(at) {
        place.copy_from_slice(bytes);
    }
}

fn write_text(kind: u8, value: Option<&str>, limit: usize, out: &mut Vec<u8>) {
    if let Some(value) = value.filter(|value| is_carried(value.as_bytes(), limit)) {
        write_field(kind, value.as_bytes(), out);
    }
}

fn write_field(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    // Every field's limit is below 64 KiB.
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(value);
}

/// Finds the trailer at the end of `payload`. Whether its MAC is right, if it has one, is not looked at.
#[inline]
pub fn find(payload: &[u8]) -> Option<Added> {
    // Nearly every payload without a trailer ends here.
    match *payload.last_chunk::<MARK_LEN>()? {
        END => {
            let start = payload.len().checked_sub(MIN_LEN)?;
            let context = read_head(payload.get(start..)?.first_chunk()?)?;
            Some(Added::new(Carrier::Trailer, start..payload.len(), context))
        }
        END_WITH_FIELDS => find_with_fields(payload),
        _ => None,
    }
}

#[inline]
fn read_head(head: &[u8; HEAD_LEN]) -> Option<Context> {
    let flags = *head.last()?;
    if !head.starts_with(&BEGIN) || flags != TraceFlags::from_byte(flags).to_byte() {
        return None;
    }
    Some(Context::from(SpanContext {
        trace_id: TraceId::from_bytes(*head.get(TRACE_ID)?.first_chunk()?)?,
        span_id: SpanId::from_bytes(*head.get(SPAN_ID)?.first_chunk()?)?,
        flags: TraceFlags::from_byte(flags),
    }))
}

fn find_with_fields(payload: &[u8]) -> Option<Added> {
    let (before, _) = payload.split_last_chunk::<MARK_LEN>()?;
    let (_, len) = before.split_last_chunk::<LEN_LEN>()?;
    let len = usize::from(u16::from_be_bytes(*len));
    if len > MAX_LEN {
        return None;
    }
    let start = payload.len().checked_sub(len)?;
    let (head, rest) = payload.get(start..)?.split_first_chunk::<HEAD_LEN>()?;
    let mut fields = rest.get(..rest.len().checked_sub(LEN_LEN + MARK_LEN)?)?;
    let mut added = Added::new(Carrier::Trailer, start..payload.len(), read_head(head)?);
    let context = added.context.as_mut()?;
    let mut last = 0;
    while let Some(([kind, high, low], rest)) = fields.split_first_chunk::<FIELD_HEADER_LEN>() {
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        match *kind {
            kind if kind <= last => return None,
            TRACE_STATE => context.trace_state = Some(carried_text(value, MAX_TRACE_STATE)?),
            BAGGAGE => context.baggage = Some(carried_text(value, MAX_BAGGAGE)?),
            PUBLISHED => {
                let published = UnixNanos(u64::from_be_bytes(value.try_into().ok()?));
                context.published = Some(published).filter(is_time);
                context.published?;
            }
            MAC if value.len() == MAC_LEN => added.has_mac = true,
            _ => return None,
        }
        (last, fields) = (*kind, rest);
    }
    (fields.is_empty() && last > 0).then_some(added)
}

/// The MAC of a trailer that has one, behind the bytes that it covers.
pub(super) fn mac(trailer: &[u8]) -> Option<(&[u8], &Mac)> {
    let (before, _) = trailer.split_last_chunk::<{ LEN_LEN + MARK_LEN }>()?;
    before.split_last_chunk()
}

/// Whether a time can be that of a clock. From 2262 on it has the highest bit set, and no signed number holds it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is a predicate of `Option::filter`")]
fn is_time(time: &UnixNanos) -> bool {
    i64::try_from(time.0).is_ok()
}

/// Whether `value` is printable ASCII of 1 to `limit` bytes.
pub(super) fn is_carried(value: &[u8], limit: usize) -> bool {
    !value.is_empty() && value.len() <= limit && value.iter().all(|byte| (b' '..=b'~').contains(byte))
}

pub(super) fn carried_text(value: &[u8], limit: usize) -> Option<Arc<str>> {
    if !is_carried(value, limit) {
        return None;
    }
    core::str::from_utf8(value).ok().map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn context() -> Context {
        Context {
            span: SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap(),
            trace_state: Some("congo=t61rcWkgMzE".into()),
            baggage: Some("user=7".into()),
            published: Some(UnixNanos(1_700_000_000_123_456_789)),
        }
    }

    fn append(payload: &[u8], context: &Context) -> Vec<u8> {
        let mut out = payload.to_vec();
        write(context, &mut out);
        out
    }

    #[test]
    fn what_is_written_is_found() {
        for payload in [&b""[..], b"hello", b"\0", &BEGIN, &END, &END_WITH_FIELDS] {
            for context in [context(), context().span.into()] {
                let found = find(&append(payload, &context)).unwrap();
                assert_eq!((found.range.start, found.has_mac), (payload.len(), false));
                assert_eq!(found.context, Some(context));
            }
        }
    }

    #[test]
    fn without_fields_it_has_41_bytes() {
        assert_eq!(append(b"", &context().span.into()).len(), 41);
        assert_eq!((MIN_LEN, MAX_LEN), (41, 12_288));
    }

    #[test]
    fn a_trailer_cut_anywhere_or_changed_in_its_marks_or_its_length_is_payload() {
        for context in [context(), context().span.into()] {
            let whole = append(b"payload", &context);
            let end = if whole.ends_with(&END) { MARK_LEN } else { MARK_LEN + LEN_LEN };
            for at in (7..7 + MARK_LEN).chain(whole.len() - end..whole.len()) {
                for bit in 0..8 {
                    let mut changed = whole.clone();
                    changed[at] ^= 1 << bit;
                    assert_eq!(find(&changed), None, "bit {bit} changed at {at}");
                }
            }
            for at in 7..whole.len() {
                assert_eq!(find(&whole[..at]), None, "cut at {at}");
                assert_eq!(find(&[&whole[..at], &whole[at + 1..]].concat()), None, "without byte {at}");
                assert_eq!(find(&[&whole[..at + 1], b"x", &whole[at + 1..]].concat()), None, "a byte behind {at}");
            }
            for from in 8..whole.len() {
                assert_eq!(find(&whole[from..]), None, "without its first bytes, from {from}");
            }
        }
    }

    /// A trailer with these fields, well-formed or not.
    fn with_fields(fields: &[u8]) -> Vec<u8> {
        let mut out = head(&context().span).to_vec();
        out.extend_from_slice(fields);
        out.extend_from_slice(&((out.len() + LEN_LEN + MARK_LEN) as u16).to_be_bytes());
        out.extend_from_slice(&END_WITH_FIELDS);
        out
    }

    #[test]
    fn only_known_and_well_formed_fields_in_their_order_make_a_trailer() {
        let state = [1, 0, 1, b'a'];
        let baggage = [2, 0, 1, b'b'];
        let published = [3, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1];
        let mac = [&MAC_HEADER[..], &[7; 16]].concat();
        for good in [&state[..], &[state, baggage].concat(), &[&published[..], &mac].concat(), &mac] {
            assert!(find(&with_fields(good)).is_some(), "{}", good.escape_ascii());
        }
        for bad in [
            &b""[..],
            &[0, 0, 1, b'a'],
            &[5, 0, 1, b'a'],
            &[1, 0, 0],
            &[1, 0, 2, b'a'],
            &[1, 0, 1, 7],
            &[1, 0, 1, 0xff],
            &[1, 0],
            &[3, 0, 7, 0, 0, 0, 0, 0, 0, 1],
            &[3, 0, 8, 0x80, 0, 0, 0, 0, 0, 0, 1],
            &mac[..18],
            &[4, 0, 15, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
            &[state, state].concat(),
            &[baggage, state].concat(),
            &[&state[..], b"x"].concat(),
        ] {
            assert_eq!(find(&with_fields(bad)), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn ids_of_zeros_and_unknown_flags_are_payload() {
        let whole = append(b"", &context().span.into());
        for (place, value) in [(TRACE_ID, 0), (SPAN_ID, 0), (32..33, 5)] {
            let mut changed = whole.clone();
            changed[place].fill(value);
            assert_eq!(find(&changed), None);
        }
    }

    #[test]
    fn bytes_in_front_cannot_be_taken_along_by_who_writes_only_the_end() {
        // A service's frame around bytes of somebody else, who knows the frame and says how long all of it is.
        let service = b"\0\0\0\xc8acct=42;role=user;";
        for tail_len in 0..400usize {
            for len in [tail_len + service.len(), 41, MAX_LEN] {
                let mut tail = vec![b'A'; tail_len.saturating_sub(10)];
                tail.extend_from_slice(&(len as u16).to_be_bytes());
                tail.extend_from_slice(&END_WITH_FIELDS);
                assert_eq!(find(&[&service[..], &tail].concat()), None);
            }
        }
    }

    #[test]
    fn fields_over_their_limits_are_left_out() {
        let long = Context { trace_state: Some("x".repeat(MAX_TRACE_STATE + 1).into()), ..context() };
        let found = find(&append(b"", &long)).unwrap();
        assert_eq!(found.context.unwrap().trace_state, None);
        let late = Context { published: Some(UnixNanos(u64::MAX)), ..context() };
        assert_eq!(find(&append(b"", &late)).unwrap().context.unwrap().published, None);
        let largest = Context {
            trace_state: Some("x".repeat(MAX_TRACE_STATE).into()),
            baggage: Some("x".repeat(MAX_BAGGAGE).into()),
            ..context()
        };
        let mut trailer = Vec::new();
        write_with_mac(&largest, |covered| [covered.len() as u8; MAC_LEN], &mut trailer);
        assert!(trailer.len() <= MAX_LEN);
        let found = find(&trailer).unwrap();
        assert_eq!((found.context, found.has_mac), (Some(largest), true));
        let (covered, mac) = super::mac(&trailer).unwrap();
        assert_eq!(covered.len() + MAC_LEN + LEN_LEN + MARK_LEN, trailer.len());
        assert_eq!(*mac, [covered.len() as u8; MAC_LEN]);
    }
}
