//! A head that comes in pieces.
//!
//! Its lines are passed on as they come, so that a service sees a slow client's head as it would see it without the proxy, and its
//! own time limits hold. What waits is the line that is not complete, because it could be the last, and everything behind the first
//! header that may be replaced.

use alloc::vec::Vec;
use core::ops::Range;

use crate::output::Output;

/// The capacity of the buffer that is kept for the next head, in bytes.
const KEPT: usize = 2 * 1024;

/// The bytes of a head, until it is complete.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    /// How many of the head's bytes have been passed on.
    sent: usize,
    /// Where the line begins that is not complete.
    line: usize,
    /// Where the first line stands that may be replaced. From there on nothing is passed on before the head is complete.
    held_from: Option<usize>,
}

/// What is known of a head after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    NotYet,
    Complete,
    /// The head is longer than the limit.
    TooLong,
}

/// A change of a complete head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The bytes that are replaced; none at the place where something is added.
    pub(super) range: Range<usize>,
    pub(super) with: Vec<u8>,
}

impl Head {
    /// Whether no byte of the head has come.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the bytes of `input` from `at` on that belong to the head. `holds` says of a line whether it may be replaced.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        at: &mut usize,
        limit: usize,
        holds: impl Fn(&[u8]) -> bool,
    ) -> Progress {
        while let Some(rest) = input.get(*at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest);
            let len = end.map_or(rest.len(), |end| end + 1);
            if self.bytes.len() + len > limit {
                return Progress::TooLong;
            }
            self.bytes.extend_from_slice(rest.get(..len).unwrap_or_default());
            *at += len;
            if end.is_some() {
                let line = self.bytes.get(self.line..).unwrap_or_default();
                if matches!(line, b"\r\n" | b"\n") {
                    return Progress::Complete;
                }
                if self.held_from.is_none() && holds(line) {
                    self.held_from = Some(self.line);
                }
                self.line = self.bytes.len();
            }
        }
        Progress::NotYet
    }

    /// Passes on the lines that are complete, unless they wait.
    pub(super) fn pass_lines(&mut self, out: &mut Output) {
        let end = self.held_from.unwrap_or(self.line);
        out.insert(self.bytes.get(self.sent..end).unwrap_or_default());
        self.sent = end;
    }

    /// Passes on all that is left, with these changes, which are in the order of their places. Nothing of the head is kept.
    pub(super) fn pass(&mut self, edits: &[Edit], out: &mut Output) {
        let mut at = self.sent;
        for Edit { range, with } in edits {
            out.insert(self.bytes.get(at..range.start).unwrap_or_default());
            out.insert(with);
            at = range.end;
        }
        out.insert(self.bytes.get(at..).unwrap_or_default());
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        (self.sent, self.line, self.held_from) = (0, 0, None);
    }
}
