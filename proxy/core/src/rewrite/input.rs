//! The input of one call of the session.

use super::Edits;
use crate::output::Output;

/// The bytes of one call, how far they have been read, and how far they have been passed on or kept.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    /// Position of the next byte to read.
    pub(crate) pos: usize,
    /// Position after the last byte that was passed on or kept. It is at most `pos`.
    pub(crate) sent: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, sent: 0 }
    }

    /// The next byte to read, without reading it.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    /// The bytes that have not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// The bytes that have been read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.pos).unwrap_or_default()
    }

    /// The bytes that have been read and neither passed on nor kept.
    pub(crate) fn unsent(&self) -> &'a [u8] {
        self.since(self.sent)
    }

    /// Sends the bytes up to the end of the last edit. Positions in `edits` count from `start`. The bytes after the last
    /// edit are sent with those that follow them.
    pub(crate) fn edit(&mut self, start: usize, edits: &Edits, out: &mut Output) {
        for (range, replacement) in edits.iter() {
            out.forward(self.bytes, self.sent..start + range.start);
            out.insert(replacement);
            self.sent = start + range.end;
        }
    }

    /// Reads up to `left` bytes, and subtracts them from `left`.
    pub(crate) fn take(&mut self, left: &mut u64) -> &'a [u8] {
        let rest = self.rest();
        let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
        self.pos += here;
        *left = left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
        rest.get(..here).unwrap_or_default()
    }
}
