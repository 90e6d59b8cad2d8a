//! The binary envelope in which FastStream puts its messages, with headers that may hold a context.
//!
//! It is `BinaryMessageFormatV1` in `faststream/redis/parser/binary.py`:
//!
//! ```text
//! 89 42 49 4e 0d 0a 1a 0a   mark
//! 00 01                     version
//! ?? ?? ?? ??               position of the headers
//! ?? ?? ?? ??               position of the data, which takes the rest
//! ?? ??                     at the position of the headers: their number
//! ?? ?? name ?? ?? value    each header: two strings, each behind its length
//! ```
//!
//! All numbers are big-endian.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::texts::{self, TRACEPARENT};
use crate::trace::{Context, Propagators};

/// The first bytes of an envelope: a mark, and the version in 16 bits.
const HEAD: &[u8] = b"\x89BIN\r\n\x1a\n\0\x01";

/// Whether these bytes begin as an envelope does.
pub(crate) fn is_envelope(bytes: &[u8]) -> bool {
    bytes.starts_with(HEAD)
}

/// The context among the headers of an envelope. If it is cut off, those count that are complete.
pub(crate) fn find(envelope: &[u8], is_cut_off: bool, formats: Propagators) -> Option<Context> {
    let rest = envelope.strip_prefix(HEAD)?;
    let (headers_at, rest) = rest.split_first_chunk()?;
    let (data_at, _) = rest.split_first_chunk()?;
    let [headers_at, data_at] = [headers_at, data_at].map(|bytes| usize::try_from(u32::from_be_bytes(*bytes)).ok());
    let end = if is_cut_off { data_at?.min(envelope.len()) } else { data_at? };
    let (count, mut rest) = envelope.get(headers_at?..end)?.split_first_chunk()?;
    let mut kept: Vec<(&str, &[u8])> = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (Some(name), Some(value)) = (take_string(&mut rest), take_string(&mut rest)) else {
            if is_cut_off {
                break;
            }
            return None;
        };
        if let Some(name) = texts::names().find(|known| known.as_bytes() == name) {
            // Of those that repeat, the last counts, as for FastStream. So many headers cost no memory.
            kept.retain(|(other, _)| *other != name);
            kept.push((name, value));
        }
    }
    let text = |name: &str| kept.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(*value));
    texts::context(text, TRACEPARENT, formats)
}

/// Takes a string behind its length.
fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_first_chunk()?;
    let (string, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    *rest = behind;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::SpanId;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(bytes: &[u8]) -> Option<SpanId> {
        find(bytes, false, Propagators::default()).map(|context| context.span.span_id)
    }

    /// An envelope with these positions, and these bytes behind them.
    fn envelope(headers_at: u32, data_at: u32, headers: &[u8]) -> Vec<u8> {
        [HEAD, &headers_at.to_be_bytes(), &data_at.to_be_bytes(), headers].concat()
    }

    #[test]
    fn headers_are_read_by_their_position_and_only_in_front_of_the_data() {
        let header = |name: &str, value: &str| {
            let string = |text: &str| [&[0, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
            [string(name), string(value)].concat()
        };
        let (first, second) = (header("traceparent", "x"), header("traceparent", PARENT));
        let both = [&[0, 2][..], &first, &second].concat();
        let data_at = 18 + u32::try_from(both.len()).unwrap();
        assert!(read(&envelope(18, data_at, &both)).is_some());
        let gap = [b"gap", &both[..]].concat();
        assert!(read(&envelope(21, data_at + 3, &gap)).is_some());
        let only_first = [&[0, 1][..], &both[2..]].concat();
        let reversed = [&[0, 2][..], &second, &first].concat();
        let more = [&[0xff, 0xff][..], &both[2..]].concat();
        for bytes in [
            envelope(18, data_at, &only_first),
            envelope(18, data_at, &reversed),
            envelope(18, data_at, &more),
            envelope(18, data_at - 1, &both),
            envelope(18, data_at + 1, &both),
            envelope(data_at, 18, &both),
            envelope(u32::MAX, u32::MAX, &both),
            envelope(0, 0, &both),
            envelope(18, data_at, &[]),
            [&HEAD[..9], &[2], &envelope(18, data_at, &both)[10..]].concat(),
        ] {
            assert_eq!(read(&bytes), None, "{}", bytes.escape_ascii());
        }
        // A name is exact, as it is for FastStream.
        let capitals = [&[0, 1][..], &header("Traceparent", PARENT)].concat();
        assert_eq!(read(&envelope(18, 18 + u32::try_from(capitals.len()).unwrap(), &capitals)), None);
    }
}
