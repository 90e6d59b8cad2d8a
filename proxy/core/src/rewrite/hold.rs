//! The bytes that are held back because they may still be changed.

use alloc::vec::Vec;

use super::{Edits, Input};
use crate::output::Output;

/// Capacity, in bytes, above which the buffer is released after use.
const KEPT_CAPACITY: usize = 4096;

/// Whether bytes are held back, and the held bytes of earlier inputs.
///
/// While nothing is held, the bytes before the reader's position go on as they came. [`Hold::begin`] holds back all
/// bytes from the first one that a plan may change. [`Hold::release`] sends them unchanged, and [`Hold::apply`]
/// sends them with edits.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    active: bool,
    kept: Vec<u8>,
}

impl Hold {
    /// Sends everything up to `at`, and holds back what follows.
    pub(crate) fn begin(&mut self, input: &mut Input<'_>, at: usize, out: &mut Output) {
        out.forward(input.bytes, input.sent..at);
        input.sent = at;
        self.active = true;
    }

    /// Reserves memory for `more` bytes, if they are not all in the input, so that a long payload is not copied each time
    /// the buffer grows.
    pub(crate) fn expect(&mut self, input: &Input<'_>, more: usize) {
        if input.rest().len() < more {
            self.kept.reserve_exact(input.unsent().len().saturating_add(more));
        }
    }

    /// The held bytes, up to the reader's position.
    pub(crate) fn held<'a>(&'a mut self, input: &'a mut Input<'_>) -> &'a [u8] {
        if self.kept.is_empty() {
            return input.unsent();
        }
        self.keep(input);
        &self.kept
    }

    /// Sends the held bytes, up to the reader's position, as they came.
    pub(crate) fn release(&mut self, input: &mut Input<'_>, out: &mut Output) {
        out.insert(&self.kept);
        out.forward(input.bytes, input.sent..input.pos);
        input.sent = input.pos;
        self.reset();
    }

    /// Sends the held bytes with `edits` applied to them.
    pub(crate) fn apply(&mut self, edits: &Edits, input: &mut Input<'_>, out: &mut Output) {
        if self.kept.is_empty() {
            input.edit(input.sent, edits, out);
        } else {
            self.keep(input);
            let mut sent = 0;
            for (range, replacement) in edits.iter() {
                out.insert(self.kept.get(sent..range.start).unwrap_or_default());
                out.insert(replacement);
                sent = range.end;
            }
            out.insert(self.kept.get(sent..).unwrap_or_default());
        }
        self.reset();
    }

    /// Keeps the rest of the input if bytes are held back, and sends it otherwise.
    pub(crate) fn end_of_input(&mut self, input: &Input<'_>, out: &mut Output) {
        if self.active {
            self.kept.extend_from_slice(input.bytes.get(input.sent..).unwrap_or_default());
        } else {
            out.forward(input.bytes, input.sent..input.bytes.len());
        }
    }

    /// Sends the kept bytes as they came, and holds nothing back any more.
    pub(crate) fn stop(&mut self, out: &mut Output) {
        out.insert(&self.kept);
        self.reset();
    }

    /// The number of bytes that are held back.
    pub(crate) fn len(&self, input: &Input<'_>) -> usize {
        if self.active { self.kept.len() + input.unsent().len() } else { 0 }
    }

    /// Whether more than `len` bytes are held back.
    pub(crate) fn exceeds(&self, input: &Input<'_>, len: usize) -> bool {
        self.len(input) > len
    }

    /// The bytes of memory that are taken.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.capacity()
    }

    fn keep(&mut self, input: &mut Input<'_>) {
        self.kept.extend_from_slice(input.unsent());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of an array's count, two bulk strings and a line.
    const FRAME: &[u8] = b"*2\r\n$3\r\nkey\r\n$5\r\nvalue\r\n-MOVED 1 a:1\r\n";
    const EDITED: &[u8] = b"*4\r\n$3\r\nkey\r\n$8\r\nvanew\r\n\r\n-MOVED 1 b:22\r\n";

    fn edits() -> Edits {
        let mut edits = Edits::default();
        edits.begin().extend_from_slice(b"new\r\nb:22");
        edits.replace_number(0..4, b'*', 4);
        let bulk_start = 13;
        edits.replace_number(bulk_start..bulk_start + 4, b'$', 8);
        edits.replace(19..22, 0..5);
        edits.replace(33..36, 5..9);
        edits
    }

    #[test]
    fn edits_of_counts_bodies_and_lines_are_the_same_however_the_frame_was_cut() {
        for cut in 0..FRAME.len() {
            let (mut hold, edits, mut sent) = (Hold::default(), edits(), Vec::new());
            let stream = [b"+OK\r\n", FRAME, b"+NEXT\r\n"].concat();
            let (first, second) = stream.split_at(5 + cut);
            for (bytes, is_last) in [(first, false), (second, true)] {
                let (mut input, mut out) = (Input::new(bytes), Output::default());
                if !is_last {
                    input.pos = bytes.len();
                    hold.begin(&mut input, 5, &mut out);
                } else {
                    input.pos = FRAME.len() - cut;
                    if cut == 0 {
                        hold.begin(&mut input, 0, &mut out);
                    }
                    assert_eq!(hold.held(&mut input), FRAME);
                    hold.apply(&edits, &mut input, &mut out);
                    input.pos = bytes.len();
                }
                hold.end_of_input(&input, &mut out);
                out.chunks(bytes).for_each(|chunk| sent.extend_from_slice(chunk));
            }
            assert_eq!(sent, [b"+OK\r\n", EDITED, b"+NEXT\r\n"].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_let_go_has_not_changed() {
        let (mut hold, mut sent) = (Hold::default(), Vec::new());
        for (bytes, is_last) in [(&FRAME[..7], false), (&FRAME[7..], true)] {
            let (mut input, mut out) = (Input::new(bytes), Output::default());
            if !is_last {
                hold.begin(&mut input, 0, &mut out);
            }
            input.pos = bytes.len();
            if is_last {
                hold.release(&mut input, &mut out);
            }
            hold.end_of_input(&input, &mut out);
            assert_eq!(out.byte_len(), if is_last { FRAME.len() } else { 0 });
            out.chunks(bytes).for_each(|chunk| sent.extend_from_slice(chunk));
        }
        assert_eq!(sent, FRAME);
    }
}
