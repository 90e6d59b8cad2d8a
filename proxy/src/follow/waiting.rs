//! The spans that wait: deliveries for the work that they cause or for their acknowledgement, commands for the cause that may become
//! known. There is a most of each, and with more the oldest waits no longer.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use redistributed_core::service::EntryId;
use redistributed_core::trace::{SpanContext, SpanRecord, UnixNanos};

use super::Leaving;
use super::deliveries::{Deliveries, Origin, Windows};
use super::finished::{Ended, Finished, Found};
use super::queue::Queue;
use crate::telemetry::SpanSink;

/// How long a command waits for its cause, in nanoseconds: as long as causes are remembered.
const COMMAND_WAITS: u64 = 10_000_000_000;

/// After this time, in nanoseconds, other proxies are told of the items that a command has added though its cause is not known. They wait
/// for little longer.
const UNTOLD: u64 = 100_000_000;

/// The spans of a service that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    recorded: Deliveries,
    /// Deliveries that are measured and not recorded, however many of them there are: they take no place of one that is recorded.
    measured: Deliveries,
    /// When acknowledgements may have been missed.
    missed: UnixNanos,
    /// Hashes what an acknowledgement names.
    hasher: RandomState,
    commands: Queue<Ended>,
    /// The causes of commands that have not ended yet.
    causes: Queue<Found>,
    /// The command that has ended last with a cause that was known before, for the further spans that it may have.
    known: Option<(u64, Found)>,
    /// Commands of whose items other proxies are told soon, with their causes or without.
    untold: VecDeque<(UnixNanos, u64)>,
    /// Commands that wait no longer, and have not been taken yet.
    finished: Vec<Finished>,
}

impl Waiting {
    /// The numbers of deliveries and of commands that wait. Deliveries that are only measured do not count.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.recorded.len(), self.commands.len())
    }

    /// Whether no span waits, neither one that is recorded nor one that is only measured.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == (0, 0) && self.measured.len() == 0
    }

    /// A message is about to be delivered whose span has this id, and is recorded or only measured.
    pub(super) fn delivery_begins(&mut self, now: UnixNanos, id: u64, is_recorded: bool) {
        let deliveries = if is_recorded { &mut self.recorded } else { &mut self.measured };
        deliveries.begin(now, id);
    }

    /// What stands for an entry of a stream that a group has handed over.
    pub(super) fn entry(&self, database: u32, key: &[u8], group: &[u8], id: EntryId) -> u64 {
        self.hasher.hash_one((database, key, group, id))
    }

    /// An entry of a stream is about to be delivered that waits for its acknowledgement. Its span has this id, and this context if
    /// it is recorded and not only measured.
    pub(super) fn entry_begins(&mut self, now: UnixNanos, entry: u64, id: u64, span: Option<SpanContext>) {
        let deliveries = if span.is_some() { &mut self.recorded } else { &mut self.measured };
        deliveries.begin_entry(now, entry, id, span);
    }

    /// An entry is about to be delivered. Returns the span of its first delivery if this is a redelivery.
    pub(super) fn delivered_again(&mut self, entry: u64, is_redelivery: bool) -> Option<SpanContext> {
        self.measured.deliver_again(entry, is_redelivery);
        self.recorded.deliver_again(entry, is_redelivery)
    }

    /// An entry is acknowledged, which ends its span.
    pub(super) fn acknowledged(&mut self, now: UnixNanos, entry: u64) {
        self.recorded.acknowledge(now, entry);
        self.measured.acknowledge(now, entry);
    }

    /// Acknowledgements may have been missed until now.
    pub(super) fn missed_acknowledgements(&mut self, now: UnixNanos) {
        self.missed = now;
    }

    /// The message with this id has been written to the service. Returns the span if it need not wait.
    pub(super) fn delivered(&mut self, id: u64, span: Leaving) -> Option<Leaving> {
        self.deliveries_of(id).written(id, span)
    }

    /// The service has done something that this message has caused, if it is one.
    pub(super) fn work_of(&mut self, cause: u64, now: UnixNanos) {
        self.deliveries_of(cause).work_of(cause, now);
    }

    /// Those among which the delivery with this id would be.
    fn deliveries_of(&mut self, id: u64) -> &mut Deliveries {
        if self.measured.contains(id) { &mut self.measured } else { &mut self.recorded }
    }

    /// A command has ended whose cause may become known. Returns its span if that is known by now. It ends once for each span.
    pub(super) fn command_ends(&mut self, now: UnixNanos, command: u64, span: Leaving) -> Option<Finished> {
        if let Some(found) = self.causes.remove(command) {
            self.known = Some((command, found));
        }
        if let Some((_, found)) = self.known.as_ref().filter(|(known, _)| *known == command) {
            return Some(Finished::Command { span, found: Some(found.clone()) });
        }
        if span.record.is_to_be_told() {
            self.untold.push_back((now, command));
        }
        if let Some(ended) = self.commands.get(command) {
            ended.others.push(span);
            return None;
        }
        let oldest = self.commands.insert(now, command, Ended { first: span, others: Vec::new() });
        self.finished.extend(oldest.into_iter().flat_map(|(_, ended)| ended.finished(None)));
        None
    }

    /// The command's cause has become known. Returns its first span if the command has ended.
    pub(super) fn cause_found(&mut self, now: UnixNanos, command: u64, found: Found) -> Option<Finished> {
        let Some(ended) = self.commands.remove(command) else {
            self.causes.insert(now, command, found);
            return None;
        };
        let mut spans = ended.finished(Some(&found));
        let first = spans.next();
        self.finished.extend(spans);
        first
    }

    /// The commands whose causes have not become known for so long that other proxies are told of their items without. Their spans
    /// stay in their traces from now on.
    pub(super) fn take_untold(&mut self, now: UnixNanos) -> Vec<(SpanRecord, SpanSink)> {
        let mut untold = Vec::new();
        while let Some((_, command)) =
            self.untold.front().filter(|(since, _)| now.0.saturating_sub(since.0) >= UNTOLD).copied()
        {
            self.untold.pop_front();
            let Some(Ended { first, others }) = self.commands.get(command) else { continue };
            for span in std::iter::once(first).chain(others).filter(|span| span.record.is_to_be_told()) {
                untold.push((span.record.clone(), span.sink.clone()));
                span.record.mark_told();
            }
        }
        untold
    }

    /// The trace of a delivery has become known.
    pub(super) fn origin_found(&mut self, delivery: u64, origin: Origin) {
        self.deliveries_of(delivery).origin_found(delivery, origin);
    }

    /// Takes the spans that have waited for long enough, but for deliveries that have to wait all the same, by their ids.
    pub(super) fn take_due(
        &mut self,
        now: UnixNanos,
        windows: Windows,
        has_to_wait: impl Fn(u64) -> bool,
    ) -> Vec<Finished> {
        for deliveries in [&mut self.recorded, &mut self.measured] {
            deliveries.end_due(now, windows, self.missed, &has_to_wait);
        }
        let is_due = |since: UnixNanos| now.0.saturating_sub(since.0) >= COMMAND_WAITS;
        while let Some((_, ended)) = self.commands.pop_if(is_due) {
            self.finished.extend(ended.finished(None));
        }
        while self.causes.pop_if(is_due).is_some() {}
        self.take_finished().collect()
    }

    /// Takes all spans that wait, because the process stops.
    pub(super) fn take_all(&mut self) -> Vec<Finished> {
        self.recorded.end_all();
        self.measured.end_all();
        while let Some((_, ended)) = self.commands.pop_if(|_| true) {
            self.finished.extend(ended.finished(None));
        }
        self.take_finished().collect()
    }

    /// Takes the spans that wait no longer.
    pub(super) fn take_finished(&mut self) -> impl Iterator<Item = Finished> {
        let deliveries = self.recorded.finished.drain(..).chain(self.measured.finished.drain(..));
        deliveries.map(Finished::Delivery).chain(self.finished.drain(..))
    }
}

#[cfg(test)]
mod tests;
