//! The spans of scripts that publish one payload on several channels (`--follow`): one PRODUCER span for each channel.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Parts;
use crate::handover::Script;
use crate::rewrite::Publish;
use crate::service::{Attribution, Event};
use crate::trace::{Operation, SpanId, SpanRecord, UnixNanos};

/// Most scripts of a connection whose further spans wait for the reply. The oldest makes room, and its further spans are lost.
const MAX_WAITING: usize = 64;

/// The spans of all channels but the first, by the span of the first, in the order of the commands.
#[derive(Debug, Default)]
pub(super) struct Broadcasts(VecDeque<(SpanId, Vec<SpanRecord>)>);

impl Broadcasts {
    fn push(&mut self, first: SpanId, others: Vec<SpanRecord>) {
        if self.0.len() >= MAX_WAITING {
            self.0.pop_front();
        }
        self.0.push_back((first, others));
    }

    /// The other spans of the script whose first span has ended. Those before it will not be answered any more.
    fn take(&mut self, first: SpanId) -> Vec<SpanRecord> {
        let Some(at) = self.0.iter().position(|(waiting, _)| *waiting == first) else { return Vec::new() };
        let found = self.0.drain(..=at).next_back();
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        found.map(|(_, others)| others).unwrap_or_default()
    }

    /// The bytes of memory that are taken. It is asked after each call, mostly of nobody who publishes like that.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        if self.0.capacity() == 0 {
            return 0;
        }
        let told = |span: &SpanRecord| span.told_message().map_or(0, |told| size_of_val(told) + told.channel.len());
        let of_one = |(_, others): &(SpanId, Vec<SpanRecord>)| {
            others.capacity() * size_of::<SpanRecord>() + others.iter().map(told).sum::<usize>()
        };
        self.0.capacity() * size_of::<(SpanId, Vec<SpanRecord>)>() + self.0.iter().map(of_one).sum::<usize>()
    }
}

/// The first span of a script that only publishes, if a span is recorded. `None` if it is any other script. The request in RESP is
/// `frame`.
pub(super) fn span_of(
    frame: &[u8],
    start: UnixNanos,
    attribution: Option<&Attribution>,
    parts: &mut Parts<'_>,
) -> Option<Option<SpanRecord>> {
    parts.call.env.inference.as_ref()?;
    let Script::Publishes { payload, channels } = Script::of_request(frame)? else { return None };
    let of_channel = |channel| {
        let publish = Publish { channel: Some(channel), sharded: false, start };
        parts.publish.span_of_script(&publish, payload, attribution, &mut parts.call)
    };
    let mut spans = channels.into_iter().filter_map(of_channel);
    let first = spans.next();
    let others: Vec<_> = spans.collect();
    if let Some(first) = first.as_ref().filter(|_| !others.is_empty()) {
        parts.broadcasts.push(first.context.span_id, others);
    }
    Some(first)
}

/// Ends the other spans of a script with its reply, if the last event is the end of its first span.
#[inline]
pub(super) fn ended(parts: &mut Parts<'_>) {
    if !parts.broadcasts.0.is_empty() {
        end_others(parts);
    }
}

#[cold]
fn end_others(parts: &mut Parts<'_>) {
    let Some(Event::SpanEnded(first)) = parts.call.out.events.last() else { return };
    if !matches!(first.operation, Operation::Publish { .. }) {
        return;
    }
    let (end, error) = (first.end, first.error.clone());
    let others = parts.broadcasts.take(first.context.span_id);
    let ended = others.into_iter().map(|span| Event::SpanEnded(SpanRecord { end, error: error.clone(), ..span }));
    parts.call.out.events.extend(ended);
}
