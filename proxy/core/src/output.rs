//! The output of a call of the session.

use alloc::vec::Vec;
use core::ops::Range;

use crate::counts::Counts;
use crate::service::{Environment, Event};

/// The bytes to send to the other side, the events of the call, and its counts. An output can be used for one call after
/// another, because [`Output::clear`] keeps its allocations.
///
/// The bytes are a list of pieces. A piece is part of the input of the call, or of the bytes that the session made or held
/// back. Bytes that are not rewritten are not copied, except for short pieces between two that are.
#[derive(Debug, Default)]
pub struct Output {
    segments: Vec<Segment>,
    own: Vec<u8>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The counts of this call, for metrics.
    pub counts: Counts,
}

/// One call of the session: its environment and its output.
pub(crate) struct Call<'a> {
    pub(crate) env: Environment<'a>,
    pub(crate) out: &'a mut Output,
}

/// Capacity for own bytes that is kept from call to call, in bytes. It is enough for the trailers of a full
/// read of short publishes.
const KEPT_CAPACITY: usize = 128 * 1024;

/// Events whose place stays from call to call: as many as a full read of short publishes or messages causes.
const KEPT_EVENTS: usize = 1024;

/// Longest piece of the input, in bytes, that is copied to own bytes that precede it.
const MAX_COPIED: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Input(Range<usize>),
    Own(Range<usize>),
}

impl Output {
    /// Removes everything. Allocations are kept, except for the large ones that long payloads cause.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.own.clear();
        self.own.shrink_to(KEPT_CAPACITY);
        self.events.clear();
        self.events.shrink_to(KEPT_EVENTS);
        self.counts.clear();
    }

    /// The bytes to send, in order. `input` is the slice that was given to the call that filled this output.
    pub fn chunks<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.segments.iter().map(move |segment| match segment {
            Segment::Input(range) => input.get(range.clone()).unwrap_or_default(),
            Segment::Own(range) => self.own.get(range.clone()).unwrap_or_default(),
        })
    }

    /// The number of bytes to send.
    pub fn byte_len(&self) -> usize {
        self.segments.iter().map(|(Segment::Input(range) | Segment::Own(range))| range.len()).sum()
    }

    /// Sends a piece of `input` as it came. A short piece that follows own bytes is copied to them, because the system
    /// takes longer to send one more piece than it takes to copy it.
    #[inline]
    pub(crate) fn forward(&mut self, input: &[u8], range: Range<usize>) {
        if !range.is_empty() {
            self.forward_piece(input, range);
        }
    }

    fn forward_piece(&mut self, input: &[u8], range: Range<usize>) {
        match self.segments.last_mut() {
            Some(Segment::Input(last)) if last.end == range.start => last.end = range.end,
            Some(Segment::Own(last)) if range.len() <= MAX_COPIED => {
                self.own.extend_from_slice(input.get(range).unwrap_or_default());
                last.end = self.own.len();
            }
            _ => self.segments.push(Segment::Input(range)),
        }
    }

    /// Sends a piece of `input` as it came, and then bytes that are not in the input.
    pub(crate) fn forward_and_insert(&mut self, input: &[u8], range: Range<usize>, bytes: &[u8]) {
        match self.segments.last_mut() {
            Some(Segment::Own(last)) if range.len() <= MAX_COPIED => {
                self.own.extend_from_slice(input.get(range).unwrap_or_default());
                self.own.extend_from_slice(bytes);
                last.end = self.own.len();
            }
            _ => {
                self.forward(input, range);
                self.insert(bytes);
            }
        }
    }

    /// Sends bytes that are not in the input.
    pub(crate) fn insert(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        match self.segments.last_mut() {
            // The segment's bytes are the last of all own bytes.
            Some(Segment::Own(last)) => last.end = self.own.len(),
            _ => self.segments.push(Segment::Own(start..self.own.len())),
        }
    }
}
