//! The spans that wait for a reply.
//!
//! They are kept apart from the entries that they belong to, because entries move from queue to queue. A span that ends
//! leaves its place to the next one, so that a publish costs no allocation of its own.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::service::Event;
use crate::trace::{Operation, SpanRecord};

/// Capacity, in spans of about 180 bytes, above which the memory is released when no span waits.
const KEPT_CAPACITY: usize = 16;

/// The place of a waiting span, counted from 1. It cannot be copied, because it is valid for one [`OpenSpans::take`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OpenSpan(NonZeroU32);

impl OpenSpan {
    fn at(index: usize) -> Self {
        Self(u32::try_from(index + 1).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
    }

    fn index(&self) -> usize {
        usize::try_from(self.0.get()).map_or(usize::MAX, |place| place - 1)
    }
}

/// The places of the open spans of a connection.
#[derive(Debug, Default)]
pub(super) struct OpenSpans {
    places: Vec<Option<SpanRecord>>,
    free: Vec<OpenSpan>,
    bytes: usize,
}

/// The bytes of one place, and of its number in the list of free ones.
const PLACE: usize = size_of::<Option<SpanRecord>>() + size_of::<OpenSpan>();

/// The bytes that a waiting span takes, with its place and with names that it may share with others.
fn bytes_of(span: &SpanRecord) -> usize {
    let channel = match &span.operation {
        Operation::Publish { channel, .. } | Operation::Deliver { channel, .. } => channel.channel().len(),
        Operation::Send(sent) => size_of_val(&**sent) + size_of_val(&*sent.items),
        Operation::Item { .. } | Operation::Command { .. } | Operation::Request(_) => 0,
    };
    let told = span.told_message().map_or(0, |message| size_of_val(message) + message.channel.len());
    PLACE + channel + told + span.trace_state.as_ref().map_or(0, |state| state.len())
}

impl OpenSpans {
    /// The number of spans that wait.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The bytes that the waiting spans take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes that the waiting spans take, with those of places that no span uses for now.
    pub(super) fn reserved_bytes(&self) -> usize {
        self.bytes + self.free.len() * PLACE
    }

    /// Stores a span, if there is one. The caller makes sure that fewer than 2^32 wait.
    #[inline]
    pub(super) fn put(&mut self, span: Option<SpanRecord>) -> Option<OpenSpan> {
        self.bytes += bytes_of(span.as_ref()?);
        let free = self.free.pop().and_then(|free| self.places.get_mut(free.index()).map(|place| (free, place)));
        if let Some((free, place)) = free {
            *place = span;
            Some(free)
        } else {
            self.places.push(span);
            Some(OpenSpan::at(self.places.len() - 1))
        }
    }

    /// The waiting span, so that it can be changed.
    #[inline]
    pub(super) fn get(&mut self, span: &OpenSpan) -> Option<&mut SpanRecord> {
        self.places.get_mut(span.index())?.as_mut()
    }

    /// Removes the span, which waits no more.
    #[inline]
    pub(super) fn take(&mut self, span: OpenSpan) -> Option<SpanRecord> {
        let record = self.uncounted(&span)?.take();
        self.vacate(span);
        record
    }

    /// Moves the span, which waits no more, to the events.
    #[inline]
    pub(super) fn end(&mut self, span: OpenSpan, events: &mut Vec<Event>) {
        let Some(place) = self.uncounted(&span) else { return };
        // As an event at once, because otherwise the record is moved three times instead of twice.
        let ended = place.take().map(Event::SpanEnded);
        if let Some(ended) = ended {
            events.push(ended);
        }
        self.vacate(span);
    }

    /// The place of a span that the caller removes, and that is therefore not counted any more.
    #[inline]
    fn uncounted(&mut self, span: &OpenSpan) -> Option<&mut Option<SpanRecord>> {
        let place = self.places.get_mut(span.index())?;
        self.bytes -= place.as_ref().map_or(0, bytes_of);
        Some(place)
    }

    /// The place of `span` can be used again.
    #[inline]
    fn vacate(&mut self, span: OpenSpan) {
        self.free.push(span);
        if self.free.len() == self.places.len() && self.places.capacity() > KEPT_CAPACITY {
            self.release();
        }
    }

    /// Releases the memory, because no span waits.
    #[cold]
    fn release(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Operation, SpanContext, UnixNanos};

    fn span(start: u64) -> SpanRecord {
        let context =
            SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let operation = Operation::Command { name: "GET".into(), summary: None, database: 0, batch_size: None };
        SpanRecord::new(context, UnixNanos(start), operation)
    }

    #[test]
    fn places_that_one_span_keeps_from_being_released_are_counted() {
        let mut spans = OpenSpans::default();
        let mut waiting: Vec<_> = (0..100).filter_map(|start| spans.put(Some(span(start)))).collect();
        let all = spans.reserved_bytes();
        let last = waiting.pop().unwrap();
        for span in waiting {
            spans.take(span);
        }
        assert!(spans.bytes() < all / 50 && spans.reserved_bytes() > all / 2);
        spans.take(last);
        assert_eq!((spans.bytes(), spans.reserved_bytes()), (0, 0));
    }

    #[test]
    fn each_span_is_found_again_and_its_place_is_used_again() {
        let mut spans = OpenSpans::default();
        let [first, second] = [1, 2].map(|start| spans.put(Some(span(start))).unwrap());
        assert_eq!(spans.len(), 2);
        assert_eq!(spans.take(first), Some(span(1)));
        let third = spans.put(Some(span(3))).unwrap();
        *spans.get(&second).unwrap() = span(20);
        assert_eq!([second, third].map(|key| spans.take(key)), [Some(span(20)), Some(span(3))]);
        assert_eq!((spans.len(), spans.places.len(), spans.bytes()), (0, 2, 0));
    }

    #[test]
    fn many_places_are_given_back_when_all_are_free() {
        let mut spans = OpenSpans::default();
        let keys: Vec<_> = (0..100).filter_map(|start| spans.put(Some(span(start)))).collect();
        for key in keys {
            assert!(spans.places.capacity() > 0 && spans.bytes() > 0);
            spans.take(key);
        }
        assert_eq!(spans.bytes(), 0);
        assert_eq!((spans.places.capacity(), spans.free.capacity()), (0, 0));
    }
}
