//! The trailer, version 1: a context appended to the payload.
//!
//! All numbers are big-endian. `L` is the length of the whole trailer.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | `00`, where a program that reads the payload as a C string stops |
//! | 1 | 16 | trace id, not all zero |
//! | 17 | 8 | span id, not all zero |
//! | 25 | 1 | trace flags: bit 0 sampled, bit 1 random; the others are sent as 0 and ignored |
//! | 26 | `L` − 41 | fields, each of a type (1 byte), a length (2 bytes) and a value |
//! | `L` − 15 | 2 | `L`, from the `00` to the last byte of the magic: 16 to 4096 |
//! | `L` − 13 | 1 | version, `01` |
//! | `L` − 12 | 4 | CRC-32 (ISO-HDLC, as in zlib) of bytes 0 to `L` − 13, version included |
//! | `L` − 8 | 8 | magic `fb 72 64 74 72 61 63 fe` |
//!
//! Version 1 has these fields. Type 1 is `tracestate`, at most 512 bytes of printable ASCII. Type 2 is `baggage`, at most
//! 1024 bytes of printable ASCII. Type 3 is the time of the publish by the writer's wall clock, 8 bytes, in nanoseconds
//! since 1970. A reader ignores a field of another type or with another value. A trailer without fields has 41 bytes.
//!
//! A reader starts at the end. It checks the magic, the length, the `00` and the checksum. If all are right the trailer is
//! removed, whatever its version. The bytes between the `00` and the length are understood only if the version is 1. The
//! bytes `fb` and `fe` occur in no UTF-8 text, so a text payload fails at its last byte. A random payload passes all four
//! checks with probability 2^-104 for each possible length.
//!
//! `proxy/core/tests/vectors/trailer.txt` has vectors for readers and writers in other languages.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Added, Carrier};
use crate::trace::context::{MAX_BAGGAGE, MAX_TRACE_STATE};
use crate::trace::{Context, SpanContext, SpanId, TraceFlags, TraceId, UnixNanos};

/// The last eight bytes of every trailer.
pub const MAGIC: [u8; 8] = *b"\xfbrdtrac\xfe";

/// Longest trailer of any version, in bytes.
pub const MAX_LEN: usize = 4096;

/// Length of a trailer without fields, in bytes.
pub const MIN_LEN: usize = CONTENT_LEN + FOOTER_LEN;

/// Length of the shortest trailer of any version, in bytes. Other versions may have less content than version 1.
const MIN_LEN_ANY_VERSION: usize = 1 + FOOTER_LEN;
const VERSION: u8 = 1;
const CONTENT_LEN: usize = 26;
const TRACE_ID: Range<usize> = 1..17;
const SPAN_ID: Range<usize> = 17..25;
const FLAGS: Range<usize> = 25..CONTENT_LEN;
const FOOTER_LEN: usize = 15;
const FIELD_HEADER_LEN: usize = 3;
const TRACE_STATE: u8 = 1;
const BAGGAGE: u8 = 2;
const PUBLISHED: u8 = 3;

/// Appends a trailer for `context` to `out`: at most [`MAX_LEN`] bytes.
pub fn write(context: &Context, out: &mut Vec<u8>) {
    let start = out.len();
    // The trailer is written in few pieces, because a piece costs more than the bytes in it.
    let mut content = [0; CONTENT_LEN];
    put(&mut content, TRACE_ID, &context.span.trace_id.to_bytes());
    put(&mut content, SPAN_ID, &context.span.span_id.to_bytes());
    put(&mut content, FLAGS, &[context.span.flags.to_byte()]);
    out.extend_from_slice(&content);
    write_text(TRACE_STATE, context.trace_state.as_deref(), MAX_TRACE_STATE, out);
    write_text(BAGGAGE, context.baggage.as_deref(), MAX_BAGGAGE, out);
    if let Some(UnixNanos(published)) = context.published {
        write_field(PUBLISHED, &published.to_be_bytes(), out);
    }
    let len = out.len() - start + FOOTER_LEN;
    let [high, low] = u16::try_from(len).unwrap_or_default().to_be_bytes(); // the fields are bounded far below 64 KiB
    out.extend_from_slice(&[high, low, VERSION]);
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    let mut end = [0; 4 + MAGIC.len()];
    put(&mut end, 0..4, &checksum.to_be_bytes());
    put(&mut end, 4..12, &MAGIC);
    out.extend_from_slice(&end);
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

/// Finds the trailer at the end of `payload`.
#[inline]
pub fn find(payload: &[u8]) -> Option<Added> {
    // Nearly every payload without a trailer ends here.
    if payload.last_chunk() == Some(&MAGIC) { find_before_magic(payload) } else { None }
}

fn find_before_magic(payload: &[u8]) -> Option<Added> {
    let (before, _) = payload.split_last_chunk::<{ MAGIC.len() }>()?;
    let (before, checksum) = before.split_last_chunk::<4>()?;
    let (_, [high, low, version]) = before.split_last_chunk::<3>()?;
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if !(MIN_LEN_ANY_VERSION..=MAX_LEN).contains(&len) {
        return None;
    }
    let start = payload.len().checked_sub(len)?;
    let checked = before.get(start..)?;
    if checked.first() != Some(&0) || crc32fast::hash(checked) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let content = checked.get(..checked.len() - 3)?;
    let context = if *version == VERSION { read_content(content) } else { None };
    Some(Added { form: Carrier::Trailer, range: start..payload.len(), context })
}

#[inline]
fn read_content(content: &[u8]) -> Option<Context> {
    let (head, mut fields) = content.split_first_chunk::<CONTENT_LEN>()?;
    let mut context = Context::from(SpanContext {
        trace_id: TraceId::from_bytes(*head.get(TRACE_ID)?.first_chunk()?)?,
        span_id: SpanId::from_bytes(*head.get(SPAN_ID)?.first_chunk()?)?,
        flags: TraceFlags::from_byte(*head.last()?),
    });
    while let Some(([kind, high, low], rest)) = fields.split_first_chunk::<FIELD_HEADER_LEN>() {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(len)?;
        match *kind {
            TRACE_STATE => context.trace_state = carried_text(value, MAX_TRACE_STATE),
            BAGGAGE => context.baggage = carried_text(value, MAX_BAGGAGE),
            PUBLISHED => context.published = value.try_into().ok().map(u64::from_be_bytes).map(UnixNanos),
            _ => {}
        }
        fields = rest;
    }
    Some(context)
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
        for payload in [&b""[..], b"hello", b"\0", &MAGIC] {
            for context in [context(), context().span.into()] {
                let found = find(&append(payload, &context)).unwrap();
                assert_eq!(found.range.start, payload.len());
                assert_eq!(found.context, Some(context));
            }
        }
    }

    #[test]
    fn without_fields_it_has_41_bytes() {
        assert_eq!(append(b"", &context().span.into()).len(), 41);
        assert_eq!(MIN_LEN, 41);
    }

    #[test]
    fn a_trailer_changed_or_cut_anywhere_is_payload() {
        let whole = append(b"payload", &context());
        for at in 7..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert_eq!(find(&changed), None, "changed at {at}");
            assert_eq!(find(&whole[..at]), None, "cut at {at}");
        }
        for from in 8..whole.len() {
            assert_eq!(find(&whole[from..]), None, "without its first bytes, from {from}");
        }
    }

    fn framed(content: &[u8], version: u8) -> Vec<u8> {
        let mut out = content.to_vec();
        out.extend_from_slice(&((content.len() + FOOTER_LEN) as u16).to_be_bytes());
        out.push(version);
        out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
        out.extend_from_slice(&MAGIC);
        out
    }

    #[test]
    fn another_version_is_removed_and_not_understood() {
        let trailer = framed(b"\0what the future holds", 2);
        let found = find(&[b"payload", &trailer[..]].concat()).unwrap();
        assert_eq!(found.range, 7..7 + trailer.len());
        assert_eq!(found.context, None);
    }

    #[test]
    fn content_that_makes_no_sense_is_removed_and_not_understood() {
        let mut zero_ids = vec![0; CONTENT_LEN];
        assert_eq!(find(&framed(&zero_ids, 1)).unwrap().context, None);
        zero_ids[1] = 1;
        zero_ids[17] = 1;
        assert!(find(&framed(&zero_ids, 1)).unwrap().context.is_some());
        let field_too_long = [&zero_ids[..], &[1, 0, 9, b'x']].concat();
        assert_eq!(find(&framed(&field_too_long, 1)).unwrap().context, None);
        let unknown_field = [&zero_ids[..], &[99, 0, 1, b'x']].concat();
        assert!(find(&framed(&unknown_field, 1)).unwrap().context.is_some());
    }

    #[test]
    fn fields_over_their_limits_are_left_out() {
        let long = Context { trace_state: Some("x".repeat(MAX_TRACE_STATE + 1).into()), ..context() };
        let found = find(&append(b"", &long)).unwrap();
        assert_eq!(found.context.unwrap().trace_state, None);
        let largest = Context {
            trace_state: Some("x".repeat(MAX_TRACE_STATE).into()),
            baggage: Some("x".repeat(MAX_BAGGAGE).into()),
            ..context()
        };
        let trailer = append(b"", &largest);
        assert!(trailer.len() <= MAX_LEN);
        assert_eq!(find(&trailer).unwrap().context, Some(largest));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let trailer = append(b"", &context().span.into());
        for len in [0u16, 15, 40, 42, 4097, u16::MAX] {
            let mut changed = trailer.clone();
            let at = changed.len() - FOOTER_LEN;
            changed[at..at + 2].copy_from_slice(&len.to_be_bytes());
            assert_eq!(find(&changed), None);
        }
    }
}
