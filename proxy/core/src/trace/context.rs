//! The identity of a span as it travels with a message (W3C Trace Context).
//!
//! Ids are fixed-size arrays that are only made by functions which refuse the all-zero value, so an invalid id cannot
//! be carried around. The parsers of text forms are total: they return `Some` or `None` for any bytes and never panic.

use alloc::sync::Arc;
use core::fmt;

use super::time::UnixNanos;

/// A trace id: 16 bytes, never all zero (W3C Trace Context, section 3.2.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// The smallest valid id.
    pub const MIN: Self = Self(1u128.to_be_bytes());

    /// The id with these bytes; `None` if all of them are zero.
    pub const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        if u128::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// The id whose bytes are `value` in network order; `None` if it is zero.
    pub const fn from_u128(value: u128) -> Option<Self> {
        Self::from_bytes(value.to_be_bytes())
    }

    /// The 16 bytes in network order.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The low 8 bytes as a big-endian number, which ratio sampling reads.
    pub const fn low_u64(self) -> u64 {
        let [_, _, _, _, _, _, _, _, low @ ..] = self.0;
        u64::from_be_bytes(low)
    }
}

/// A span id: 8 bytes, never all zero (W3C Trace Context, section 3.2.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// The smallest valid id.
    pub const MIN: Self = Self(1u64.to_be_bytes());

    /// The id with these bytes; `None` if all of them are zero.
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        if u64::from_be_bytes(bytes) == 0 { None } else { Some(Self(bytes)) }
    }

    /// The id whose bytes are `value` in network order; `None` if it is zero.
    pub const fn from_u64(value: u64) -> Option<Self> {
        Self::from_bytes(value.to_be_bytes())
    }

    /// The 8 bytes in network order.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

/// The trace flags byte. Bit 0 is *sampled* and bit 1 is *random trace id* (Level 2). Both are passed on as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TraceFlags(u8);

impl TraceFlags {
    /// Bit 0: the caller may have recorded the span.
    pub const SAMPLED: Self = Self(0x01);
    /// Bit 1: the low 7 bytes of the trace id are random.
    pub const RANDOM: Self = Self(0x02);
    const KNOWN: u8 = 0x03;

    /// The flags in `byte`. Only the two known bits are kept, because the specification has the others sent as zero.
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte & Self::KNOWN)
    }

    /// The byte as it is sent.
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Whether bit 0 is set.
    pub const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// The same flags with bit 0 set or cleared.
    #[must_use]
    pub const fn with_sampled(self, sampled: bool) -> Self {
        if sampled { Self(self.0 | Self::SAMPLED.0) } else { Self(self.0 & !Self::SAMPLED.0) }
    }
}

/// The identity of a span: its trace, its id and its flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SpanContext {
    /// The trace that the span belongs to.
    pub trace_id: TraceId,
    /// The id of the span within the trace.
    pub span_id: SpanId,
    /// The *sampled* and *random* bits.
    pub flags: TraceFlags,
}

/// Everything that is propagated beside a message: the span context and, if present, `tracestate` and `baggage`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// The span that the message comes from.
    pub span: SpanContext,
    /// W3C `tracestate`, at most [`MAX_TRACE_STATE`] bytes of printable ASCII.
    pub trace_state: Option<Arc<str>>,
    /// W3C `baggage`, at most [`MAX_BAGGAGE`] bytes of printable ASCII.
    pub baggage: Option<Arc<str>>,
    /// When the message was published, by the wall clock of the publisher's proxy. Only a trailer carries this.
    pub published: Option<UnixNanos>,
}

/// Longest `tracestate` that is carried, in bytes. W3C Trace Context, section 3.3.1.5, asks to propagate at least as much.
pub const MAX_TRACE_STATE: usize = 512;

/// Most members of a `tracestate` that are passed on (W3C Trace Context, section 3.3.1.1).
pub const MAX_TRACE_STATE_MEMBERS: usize = 32;

/// Longest `baggage` that is carried, in bytes, which is what W3C Baggage asks for (section "Limits"). The proxy never reads it; it only
/// passes on what a payload held.
pub const MAX_BAGGAGE: usize = 8192;

/// Length of the text form of a `traceparent`, in bytes.
pub const TRACEPARENT_LEN: usize = 55;

impl From<SpanContext> for Context {
    fn from(span: SpanContext) -> Self {
        Self { span, trace_state: None, baggage: None, published: None }
    }
}

impl SpanContext {
    /// Reads a W3C `traceparent` (section 3.2). A future version is read by its first four fields, as the
    /// specification asks. Version `ff`, upper-case digits and all-zero ids are refused.
    pub fn parse_traceparent(text: &[u8]) -> Option<Self> {
        let head = text.first_chunk::<TRACEPARENT_LEN>()?;
        let [version] = hex_array::<1>(head.get(..2)?)?;
        let longer = text.get(TRACEPARENT_LEN..)?;
        match version {
            0xff => return None,
            0 if !longer.is_empty() => return None,
            _ if longer.first().is_some_and(|next| *next != b'-') => return None,
            _ => {}
        }
        if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return None;
        }
        Some(Self {
            trace_id: TraceId::from_bytes(hex_array(head.get(3..35)?)?)?,
            span_id: SpanId::from_bytes(hex_array(head.get(36..52)?)?)?,
            flags: TraceFlags::from_byte(hex_array::<1>(head.get(53..55)?)?[0]),
        })
    }

    /// The W3C `traceparent` text, version 00.
    pub fn to_traceparent(self) -> [u8; TRACEPARENT_LEN] {
        let mut text = [b'-'; TRACEPARENT_LEN];
        write_hex(&[0], &mut text[0..2]);
        write_hex(&self.trace_id.0, &mut text[3..35]);
        write_hex(&self.span_id.0, &mut text[36..52]);
        write_hex(&[self.flags.0], &mut text[53..55]);
        text
    }

    /// Reads a Jaeger `uber-trace-id`, `{trace}:{span}:{parent}:{flags}`. Ids may lack leading zeros, and `%3A` may stand
    /// for `:`. The flags are hexadecimal, and their bit 0 is *sampled*. The parent is not used. The longest legal text has
    /// 69 characters: 32, 16, 16 and 2 digits, and the colons.
    pub fn parse_uber_trace_id(text: &[u8]) -> Option<Self> {
        let mut plain = [0u8; 69];
        let mut len = 0;
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            let (byte, after) = match rest.first_chunk::<3>() {
                Some(b"%3A" | b"%3a") => (b':', rest.get(3..)?),
                _ => (first, after),
            };
            *plain.get_mut(len)? = byte;
            len += 1;
            rest = after;
        }
        let mut fields = plain.get(..len)?.split(|&b| b == b':');
        let (trace, span, _parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        Some(Self {
            trace_id: TraceId::from_u128(hex_number(trace, 32)?)?,
            span_id: SpanId::from_u64(u64::try_from(hex_number(span, 16)?).ok()?)?,
            flags: TraceFlags::default().with_sampled(hex_number(flags, 2)? & 1 == 1),
        })
    }

    /// Reads a B3 single header, `{trace}-{span}[-{0|1|d}[-{parent}]]`. A 64-bit trace id is padded on the left. An
    /// absent sampling field counts as not sampled: B3 lets it mean that the decision is still open.
    pub fn parse_b3_single(text: &[u8]) -> Option<Self> {
        let mut fields = text.split(|&b| b == b'-');
        let (trace, span) = (fields.next()?, fields.next()?);
        let sampled = match fields.next() {
            Some(b"d") => Some("1"),
            Some(state @ (b"0" | b"1")) => core::str::from_utf8(state).ok(),
            Some(_) => return None,
            None => None,
        };
        Self::parse_b3(trace, span, sampled)
    }

    /// Reads the ids of B3, and the decision as `X-B3-Sampled` says it: `1` or `0`, `true` or `false`. Without one the context
    /// counts as not sampled.
    pub fn parse_b3(trace: &[u8], span: &[u8], sampled: Option<&str>) -> Option<Self> {
        if !matches!(trace.len(), 16 | 32) || span.len() != 16 {
            return None;
        }
        let sampled = match sampled {
            Some("1" | "true") => true,
            Some("0" | "false") | None => false,
            Some(_) => return None,
        };
        Some(Self {
            trace_id: TraceId::from_u128(hex_number(trace, 32)?)?,
            span_id: SpanId::from_u64(u64::try_from(hex_number(span, 16)?).ok()?)?,
            flags: TraceFlags::default().with_sampled(sampled),
        })
    }
}

/// The first [`MAX_TRACE_STATE_MEMBERS`] members of a `tracestate`. Members are left out as wholes and from the end, as the
/// specification asks (section 3.3.1.5).
pub(crate) fn limited_trace_state(text: &Arc<str>) -> Arc<str> {
    let end = text.match_indices(',').nth(MAX_TRACE_STATE_MEMBERS - 1).map(|(end, _)| end);
    end.and_then(|end| text.get(..end)).map_or_else(|| Arc::clone(text), Arc::from)
}

/// Reads exactly `2 * N` lower-case hexadecimal digits.
pub(crate) fn hex_array<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut out = [0u8; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
        *byte = lower_digit(high)? << 4 | lower_digit(low)?;
    }
    Some(out)
}

/// Reads 1 to `max` hexadecimal digits of either case.
fn hex_number(digits: &[u8], max: usize) -> Option<u128> {
    if digits.is_empty() || digits.len() > max {
        return None;
    }
    digits
        .iter()
        .try_fold(0u128, |value, digit| Some(value << 4 | u128::from(lower_digit(digit.to_ascii_lowercase())?)))
}

fn lower_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

pub(crate) fn write_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (place, digit) in out.iter_mut().zip(digits) {
        *place = DIGITS.get(usize::from(digit)).copied().unwrap_or_default();
    }
}

fn fmt_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_hex(&self.0, f)
    }
}

impl fmt::Debug for TraceFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_round_trips() {
        let context = SpanContext::parse_traceparent(TEXT).unwrap();
        assert!(context.flags.is_sampled());
        assert_eq!(&context.to_traceparent()[..], TEXT);
    }

    #[test]
    fn traceparent_of_a_future_version_is_read_by_its_known_fields() {
        let text = b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds";
        assert!(SpanContext::parse_traceparent(text).is_some());
        let glued = b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what";
        assert!(SpanContext::parse_traceparent(glued).is_none());
    }

    #[test]
    fn malformed_traceparents_are_refused() {
        for text in [
            &b""[..],
            b"00",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        ] {
            assert_eq!(SpanContext::parse_traceparent(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn uber_trace_id_pads_ids_and_reads_hex_flags() {
        let context = SpanContext::parse_uber_trace_id(b"abc%3A12:0:3").unwrap();
        assert_eq!(context.trace_id, TraceId::from_u128(0xabc).unwrap());
        assert_eq!(context.span_id, SpanId::from_u64(0x12).unwrap());
        assert!(context.flags.is_sampled());
        assert!(!SpanContext::parse_uber_trace_id(b"abc:12:0:2").unwrap().flags.is_sampled());
        for text in [&b"0:12:0:1"[..], b"abc:0:0:1", b"abc:12:0", b"abc:12:0:1:9", b"x:12:0:1", b"", b"abc:12:0:111"] {
            assert_eq!(SpanContext::parse_uber_trace_id(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(SpanContext::parse_uber_trace_id(&[b'a'; 500]), None);
    }

    #[test]
    fn the_longest_uber_trace_id_is_read_and_a_longer_one_is_not() {
        for separator in [":", "%3A"] {
            let fields = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "0000000000000000"];
            let text = [fields[0], fields[1], fields[2], "01"].join(separator);
            assert_eq!(SpanContext::parse_uber_trace_id(text.as_bytes()), SpanContext::parse_traceparent(TEXT));
            let longer = [fields[0], fields[1], "00000000000000000", "01"].join(separator);
            assert_eq!(SpanContext::parse_uber_trace_id(longer.as_bytes()), None);
        }
    }

    #[test]
    fn of_a_long_trace_state_the_first_members_are_kept() {
        let members = |count: usize| {
            Arc::<str>::from((0..count).map(|n| alloc::format!("k{n}=1")).collect::<alloc::vec::Vec<_>>().join(","))
        };
        for count in [0, 1, 31, 32] {
            assert_eq!(limited_trace_state(&members(count)), members(count));
        }
        assert_eq!(limited_trace_state(&members(33)), members(32));
        assert_eq!(limited_trace_state(&members(100)), members(32));
    }

    #[test]
    fn b3_single_is_read_with_and_without_a_decision() {
        let text = b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";
        assert!(SpanContext::parse_b3_single(text).unwrap().flags.is_sampled());
        assert!(!SpanContext::parse_b3_single(b"a4fe8b2a57d3eff7-e457b5a2e4d86bd1").unwrap().flags.is_sampled());
        assert_eq!(SpanContext::parse_b3_single(b"0"), None);
        assert_eq!(SpanContext::parse_b3_single(b"a4fe8b2a57d3eff7-e457b5a2e4d86bd1-x"), None);
    }
}
