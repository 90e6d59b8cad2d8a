//! The input of one call of the session.

/// Bytes, how far they have been read, and how far they have been passed on or kept.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    /// Position of the next byte to read.
    pub(super) pos: usize,
    /// Position behind the last byte that was dealt with; never behind `pos`.
    pub(super) sent: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, sent: 0 }
    }

    /// The next byte, which is not taken.
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// Takes bytes until none of `left` is left.
    pub(super) fn take(&mut self, left: &mut u64) -> &'a [u8] {
        let rest = self.rest();
        let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
        self.pos += here;
        *left -= here as u64;
        rest.get(..here).unwrap_or_default()
    }
}
