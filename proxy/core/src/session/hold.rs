//! Bytes that wait because they may still be rewritten: the length and the body of one payload.

use alloc::vec::Vec;
use core::ops::Range;

use super::input::Input;
use super::output::Output;
use crate::resp::MAX_DECIMAL_LEN;

/// Above this capacity, in bytes, the buffer is given back after use.
const KEPT_CAPACITY: usize = 4096;

/// Whether bytes are held back, and those of earlier inputs that are.
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

impl Splice<'_> {
    fn new_len(&self, len: usize) -> usize {
        len - self.range.len() + self.insert.len()
    }

    /// Sends a new length and, up to the end of the replacement, the payload that is at `payload` in the input. The
    /// rest of it goes on with what follows.
    pub(super) fn apply(&self, payload: Range<usize>, input: &mut Input<'_>, out: &mut Output) {
        out.insert_bulk_header(self.new_len(payload.len()) as u64);
        out.forward(input.bytes, payload.start..payload.start + self.range.start);
        out.insert(self.insert);
        input.sent = payload.start + self.range.end;
    }
}

impl Hold {
    /// Everything up to `at` goes on; what follows waits.
    pub(super) fn begin(&mut self, input: &mut Input<'_>, at: usize, out: &mut Output) {
        out.forward(input.bytes, input.sent..at);
        input.sent = at;
        self.active = true;
    }

    /// Expects `len` more bytes, so that a long payload is not copied over and over while it grows.
    pub(super) fn expect(&mut self, input: &Input<'_>, len: usize) {
        if input.rest().len() < len {
            self.kept.reserve_exact(len.saturating_add(MAX_DECIMAL_LEN + 3));
        }
    }

    /// What waited goes on as it came.
    pub(super) fn release(&mut self, input: &mut Input<'_>, out: &mut Output) {
        out.insert(&self.kept);
        out.forward(input.bytes, input.sent..input.pos);
        input.sent = input.pos;
        self.reset();
    }

    /// The payload: the last `len` bytes that were read.
    pub(super) fn payload<'a>(&'a mut self, input: &'a mut Input<'_>, len: usize) -> &'a [u8] {
        if self.kept.is_empty() {
            return input.bytes.get(input.pos - len..input.pos).unwrap_or_default();
        }
        self.keep(input);
        self.kept.get(self.kept.len() - len..).unwrap_or_default()
    }

    /// Sends the payload, the last `len` bytes that were read, with `splice` applied to it and its length set
    /// accordingly.
    pub(super) fn finish(&mut self, input: &mut Input<'_>, len: usize, splice: &Splice<'_>, out: &mut Output) {
        if self.kept.is_empty() {
            splice.apply(input.pos - len..input.pos, input, out);
        } else {
            out.insert_bulk_header(splice.new_len(len) as u64);
            self.keep(input);
            let payload = self.kept.get(self.kept.len() - len..).unwrap_or_default();
            out.insert(payload.get(..splice.range.start).unwrap_or_default());
            out.insert(splice.insert);
            out.insert(payload.get(splice.range.end..).unwrap_or_default());
        }
        self.reset();
    }

    /// The input is used up: what waits is kept, the rest goes on.
    pub(super) fn end_of_input(&mut self, input: &Input<'_>, out: &mut Output) {
        if self.active {
            self.kept.extend_from_slice(input.bytes.get(input.sent..).unwrap_or_default());
        } else {
            out.forward(input.bytes, input.sent..input.bytes.len());
        }
    }

    /// What was kept goes on as it came, and nothing is held any more.
    pub(super) fn stop(&mut self, out: &mut Output) {
        out.insert(&self.kept);
        self.reset();
    }

    fn keep(&mut self, input: &mut Input<'_>) {
        self.kept.extend_from_slice(input.bytes.get(input.sent..input.pos).unwrap_or_default());
        input.sent = input.pos;
    }

    fn reset(&mut self) {
        self.active = false;
        self.kept.clear();
        if self.kept.capacity() > KEPT_CAPACITY {
            self.kept = Vec::new();
        }
    }
}
