//! The first bytes of a frame that did not come in one read.

use alloc::vec::Vec;

/// Most bytes of a frame that are kept. What they name is looked for only at the beginning of a frame anyway.
pub(super) const MAX_LEN: usize = 4 * 1024;

/// Keeps the beginning of the frame that is being read, from one input to the next. While it is not used it takes no memory.
#[derive(Debug, Default)]
pub(super) struct Capture {
    kept: Vec<u8>,
    /// Where the frame begins in the input, or 0 if it has begun in an earlier one.
    start: usize,
    /// Most bytes that are kept of this frame.
    most: usize,
}

impl Capture {
    /// A frame begins at this position of the input, of which `most` bytes are kept at most.
    pub(super) fn begin(&mut self, start: usize, most: usize) {
        self.kept.clear();
        self.start = start;
        self.most = most;
    }

    /// So many bytes are kept of the frame that is being read.
    pub(super) fn keep_most(&mut self, most: usize) {
        self.most = most;
    }

    /// The input ends, within a frame or not. Between frames no memory is taken.
    #[cold]
    #[inline(never)]
    pub(super) fn end_of_input(&mut self, input: &[u8], is_within_frame: bool) {
        if is_within_frame {
            self.keep(input);
        } else {
            *self = Self::default();
        }
    }

    fn keep(&mut self, input: &[u8]) {
        let room = self.most.saturating_sub(self.kept.len());
        let piece = input.get(self.start..).unwrap_or_default();
        self.kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
        self.start = 0;
    }

    /// The beginning of the frame, which ends at this position of the input.
    pub(super) fn frame<'a>(&'a mut self, input: &'a [u8], end: usize) -> &'a [u8] {
        if self.kept.is_empty() {
            return input.get(self.start..end).unwrap_or_default();
        }
        self.keep(input.get(..end).unwrap_or(input));
        &self.kept
    }

    /// The bytes of memory that are taken.
    pub(super) fn bytes(&self) -> usize {
        self.kept.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_the_same_however_it_is_cut() {
        let stream = b"before*1\r\n$4\r\nPING\r\nafter";
        let (start, end) = (6, 20);
        for cut in start..=end {
            let mut capture = Capture::default();
            capture.begin(start, MAX_LEN);
            if cut < end {
                capture.end_of_input(&stream[..cut], true);
                assert_eq!(capture.frame(&stream[cut..], end - cut), &stream[start..end], "{cut}");
            } else {
                assert_eq!(capture.frame(stream, end), &stream[start..end]);
            }
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_frame_is_kept() {
        let mut capture = Capture::default();
        capture.begin(0, MAX_LEN);
        for _ in 0..100 {
            capture.end_of_input(&[b'x'; 1000], true);
        }
        assert!(capture.frame(b"y", 1).iter().all(|byte| *byte == b'x'));
        assert!(capture.bytes() <= 2 * MAX_LEN);
        capture.end_of_input(b"", false);
        assert_eq!(capture.bytes(), 0);
    }
}
