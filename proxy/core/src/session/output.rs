//! What a call of the session hands back.

use alloc::vec::Vec;
use core::ops::Range;

use crate::counts::Counts;
use crate::resp::{MAX_DECIMAL_LEN, write_decimal};
use crate::service::Subscription;
use crate::trace::{SpanRecord, UnixNanos};

/// Bytes to send to the other side, spans, and counts. Reused from call to call: [`Output::clear`] keeps capacity.
///
/// The bytes are a list of pieces of the input that was just given and of bytes that the session made or held back. What is
/// not rewritten is not copied, except for short pieces between two that are.
#[derive(Debug, Default)]
pub struct Output {
    segments: Vec<Segment>,
    own: Vec<u8>,
    /// Spans that are complete.
    pub spans: Vec<SpanRecord>,
    /// Consumer spans whose message is among the bytes: their end is the moment these bytes have been written, and
    /// the caller sets it.
    pub deliveries: Vec<SpanRecord>,
    /// What the connection's subscriptions have become, in order; empty unless
    /// [`Session::report_subscriptions`](super::Session::report_subscriptions) asked for it.
    pub subscriptions: Vec<Subscription>,
    /// The tokens of audiences that a reply has contradicted.
    pub contradicted: Vec<u64>,
    /// What happened, for metrics.
    pub counts: Counts,
    /// How long publishes without a span took from their first byte to Redis's reply, in nanoseconds, for metrics: those
    /// that were sent while nothing else was unanswered. Of the others `spans` tells.
    pub round_trips: Vec<u64>,
    /// When messages that were delivered had been published, by the wall clock of their publisher's proxy
    /// ([`Policy::transit_time`](crate::Policy::transit_time)).
    pub published_at: Vec<UnixNanos>,
    /// Set by the caller, and kept by [`Output::clear`]: somebody watches messages, so that records are made of those too
    /// which have no span. Their context is not sampled, and they are not for export.
    pub watched: bool,
    /// Set by the caller, and kept by [`Output::clear`]: by how many nanoseconds the wall clock is ahead of the time that
    /// sessions are given.
    pub wall_offset: i64,
}

/// Bytes of own capacity that stay from call to call: enough for the trailers of a full read of short publishes.
const KEPT_CAPACITY: usize = 128 * 1024;

/// Longest piece of the input, in bytes, that is copied to the own bytes before it.
const MAX_COPIED: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Input(Range<usize>),
    Own(Range<usize>),
}

impl Output {
    /// Forgets everything, keeps the allocations unless they are as large as a long payload makes them.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.own.clear();
        self.own.shrink_to(KEPT_CAPACITY);
        self.spans.clear();
        self.deliveries.clear();
        self.subscriptions.clear();
        self.contradicted.clear();
        self.round_trips.clear();
        self.published_at.clear();
        self.counts.clear();
    }

    /// The bytes to send, in order. `input` is the slice that was given to the call that filled this output.
    pub fn chunks<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.segments.iter().map(move |segment| match segment {
            Segment::Input(range) => input.get(range.clone()).unwrap_or_default(),
            Segment::Own(range) => self.own.get(range.clone()).unwrap_or_default(),
        })
    }

    /// How many bytes there are to send.
    pub fn byte_len(&self) -> usize {
        self.segments.iter().map(|(Segment::Input(range) | Segment::Own(range))| range.len()).sum()
    }

    /// A piece of `input`, which goes on as it came. A short one between bytes that were made is copied to them, because
    /// the system takes longer to send one more piece than it takes to copy it.
    pub(super) fn forward(&mut self, input: &[u8], range: Range<usize>) {
        match self.segments.last_mut() {
            _ if range.is_empty() => {}
            Some(Segment::Input(last)) if last.end == range.start => last.end = range.end,
            Some(Segment::Own(_)) if range.len() <= MAX_COPIED => self.insert(input.get(range).unwrap_or_default()),
            _ => self.segments.push(Segment::Input(range)),
        }
    }

    /// The header of a bulk string of `len` bytes.
    pub(super) fn insert_bulk_header(&mut self, len: u64) {
        let mut header = [0; MAX_DECIMAL_LEN + 3];
        header[0] = b'$';
        let mut digits = [0; MAX_DECIMAL_LEN];
        let digits = write_decimal(len, &mut digits);
        let end = 1 + digits.len();
        header[1..end].copy_from_slice(digits);
        header[end..end + 2].copy_from_slice(b"\r\n");
        self.insert(&header[..end + 2]);
    }

    /// Bytes that are not in the input.
    pub(super) fn insert(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        match self.segments.last_mut() {
            Some(Segment::Own(last)) if last.end == start => last.end = self.own.len(),
            _ => self.segments.push(Segment::Own(start..self.own.len())),
        }
    }
}
