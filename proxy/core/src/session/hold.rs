//! Bytes that wait because they may still be rewritten: the length and the body of one payload.

use alloc::vec::Vec;
use core::ops::Range;

use super::output::Output;
use crate::resp::MAX_DECIMAL_LEN;

/// Above this capacity, in bytes, the buffer is given back after use.
const KEPT_CAPACITY: usize = 4096;

/// How far one call's input has been passed on, and what was held back of earlier inputs.
///
/// While nothing is held, what lies before the scanner's position goes on as it came. [`Hold::begin`] stops that at a
/// bulk string's header; [`Hold::release`] lets go unchanged, [`Hold::finish`] with the payload rewritten.
#[derive(Debug, Default)]
pub(super) struct Hold {
    active: bool,
    kept: Vec<u8>,
}

/// Replacement of a part of the payload.
#[derive(Debug)]
pub(super) struct Splice<'a> {
    pub(super) range: Range<usize>,
    pub(super) insert: &'a [u8],
}

impl Hold {
    /// Everything up to `pos` goes on; what follows waits.
    pub(super) fn begin(&mut self, sent: &mut usize, pos: usize, out: &mut Output) {
        out.forward(*sent..pos);
        *sent = pos;
        self.active = true;
    }

    /// Expects `len` more bytes, so that a long payload is not copied over and over while it grows.
    pub(super) fn expect(&mut self, len: usize, available: usize) {
        if available < len {
            self.kept.reserve_exact(len.saturating_add(MAX_DECIMAL_LEN + 3));
        }
    }

    /// What waited goes on as it came.
    pub(super) fn release(&mut self, sent: &mut usize, pos: usize, out: &mut Output) {
        out.insert(&self.kept);
        out.forward(*sent..pos);
        *sent = pos;
        self.reset();
    }

    /// The payload's `len` bytes, the last of which is before `pos`.
    pub(super) fn payload<'a>(&'a mut self, input: &'a [u8], sent: &mut usize, pos: usize, len: usize) -> &'a [u8] {
        if self.kept.is_empty() {
            return input.get(pos - len..pos).unwrap_or_default();
        }
        self.keep(input, sent, pos);
        self.kept.get(self.kept.len() - len..).unwrap_or_default()
    }

    /// Sends the payload of `len` bytes, which ends before `pos`, with `splice` applied to it and its length set
    /// accordingly.
    pub(super) fn finish(
        &mut self,
        input: &[u8],
        sent: &mut usize,
        pos: usize,
        len: usize,
        splice: &Splice<'_>,
        out: &mut Output,
    ) {
        let new_len = len - splice.range.len() + splice.insert.len();
        out.insert_bulk_header(new_len as u64);
        if self.kept.is_empty() {
            let start = pos - len;
            out.forward(start..start + splice.range.start);
            out.insert(splice.insert);
            out.forward(start + splice.range.end..pos);
        } else {
            self.keep(input, sent, pos);
            let payload = self.kept.get(self.kept.len() - len..).unwrap_or_default();
            out.insert(payload.get(..splice.range.start).unwrap_or_default());
            out.insert(splice.insert);
            out.insert(payload.get(splice.range.end..).unwrap_or_default());
        }
        *sent = pos;
        self.reset();
    }

    /// The input is used up: what waits is kept, the rest goes on.
    pub(super) fn end_of_input(&mut self, input: &[u8], sent: usize, out: &mut Output) {
        if self.active {
            self.kept.extend_from_slice(input.get(sent..).unwrap_or_default());
        } else {
            out.forward(sent..input.len());
        }
    }

    /// What was kept goes on as it came, and nothing is held any more.
    pub(super) fn stop(&mut self, out: &mut Output) {
        out.insert(&self.kept);
        self.reset();
    }

    fn keep(&mut self, input: &[u8], sent: &mut usize, pos: usize) {
        self.kept.extend_from_slice(input.get(*sent..pos).unwrap_or_default());
        *sent = pos;
    }

    fn reset(&mut self) {
        self.active = false;
        self.kept.clear();
        if self.kept.capacity() > KEPT_CAPACITY {
            self.kept = Vec::new();
        }
    }
}
