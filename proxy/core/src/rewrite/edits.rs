//! The changes to a frame, as an ordered list of replacements.

use alloc::vec::Vec;
use core::ops::Range;

use super::Bulk;
use crate::resp::{MAX_HEADER_LEN, write_header};

/// Replacements of ranges of a byte string, in the order of their positions and without overlap.
///
/// The same value is used for one frame after another, so that a change costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    edits: Vec<Edit>,
    /// The new bytes of all edits.
    bytes: Vec<u8>,
}

/// The position of the replaced bytes in the frame, and that of the new bytes in [`Edits::bytes`].
#[derive(Debug)]
struct Edit {
    range: Range<usize>,
    replacement: Range<usize>,
}

impl Edits {
    /// Removes the edits of the last frame. Returns the buffer for the new bytes of this frame. The replacements are
    /// ranges of this buffer.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        self.edits.clear();
        self.bytes.clear();
        &mut self.bytes
    }

    /// Replaces `range` of a bulk string's body by bytes that have been written, and the length in its header accordingly.
    pub(crate) fn replace_in_bulk(&mut self, bulk: Bulk<'_>, range: Range<usize>, replacement: Range<usize>) {
        let len = bulk.body().len().saturating_sub(range.len()).saturating_add(replacement.len());
        self.replace_number(bulk.header(), b'$', len);
        self.replace(bulk.position(range), replacement);
    }

    /// Removes these ranges of a bulk string's body, which are in order and do not overlap.
    pub(crate) fn remove_from_bulk(&mut self, bulk: Bulk<'_>, ranges: &[Range<usize>]) {
        let removed: usize = ranges.iter().map(Range::len).sum();
        self.replace_number(bulk.header(), b'$', bulk.body().len().saturating_sub(removed));
        ranges.iter().for_each(|range| self.replace(bulk.position(range.clone()), 0..0));
    }

    /// Replaces the line of a length or a count, which is the type byte `kind` and a number.
    pub(crate) fn replace_number(&mut self, line: Range<usize>, kind: u8, number: usize) {
        let start = self.bytes.len();
        let mut buffer = [0; MAX_HEADER_LEN];
        self.bytes.extend_from_slice(write_header(kind, u64::try_from(number).unwrap_or(u64::MAX), &mut buffer));
        self.replace(line, start..self.bytes.len());
    }

    /// Replaces `range` by bytes that have been written.
    pub(crate) fn replace(&mut self, range: Range<usize>, replacement: Range<usize>) {
        debug_assert!(self.edits.last().is_none_or(|last| last.range.end <= range.start), "edits are in order");
        self.edits.push(Edit { range, replacement });
    }

    /// Each range with the bytes that replace it, in order.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Range<usize>, &[u8])> {
        let bytes = |edit: &Edit| self.bytes.get(edit.replacement.start..edit.replacement.end).unwrap_or_default();
        self.edits.iter().map(move |edit| (&edit.range, bytes(edit)))
    }
}
