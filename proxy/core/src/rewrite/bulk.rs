//! A bulk string that has been read up to the last byte of its body.

use core::ops::Range;

/// Length of the CRLF after a bulk string, in bytes.
const TERMINATOR_LEN: usize = 2;

/// The bytes of a bulk string from its `$` to the last byte of its body, without the CRLF after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk<'a> {
    frame: &'a [u8],
    header_len: usize,
}

impl<'a> Bulk<'a> {
    /// The bulk string in `frame`, which ends with a body of `body_len` bytes. All before that is the header.
    pub(crate) fn new(frame: &'a [u8], body_len: usize) -> Self {
        Self { frame, header_len: frame.len().saturating_sub(body_len) }
    }

    /// The bulk string in `input` whose header begins at `header`, whose body has `body_len` bytes, and whose
    /// CRLF ends at `end`.
    pub(crate) fn within(input: &'a [u8], header: usize, body_len: usize, end: usize) -> Self {
        Self::new(input.get(header..end.saturating_sub(TERMINATOR_LEN)).unwrap_or_default(), body_len)
    }

    /// The content of the string.
    pub(crate) fn body(self) -> &'a [u8] {
        self.frame.get(self.header_len..).unwrap_or_default()
    }

    /// Position of the header within the bytes.
    pub(crate) fn header(self) -> Range<usize> {
        0..self.header_len
    }

    /// Position within the bytes of the range `of` of the body.
    pub(crate) fn position(self, of: Range<usize>) -> Range<usize> {
        self.header_len + of.start..self.header_len + of.end
    }
}
