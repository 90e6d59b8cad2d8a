//! The ends of the spans that wait for a reply.

use alloc::vec::Vec;
use core::mem;

use super::Pairing;
use super::open_spans::OpenSpan;
use super::queue::Entry;
use crate::commands::{self, Answer};
use crate::counts::Counter;
use crate::output::Call;
use crate::policy::Commands;
use crate::service::{Event, SubscriptionChange};
use crate::trace::{ErrorType, Operation, SpanRecord, UNKNOWN_COMMAND, UnixNanos};

impl Pairing {
    /// Ends all open spans, with `error` if there is one. No further reply is paired.
    pub(crate) fn close(&mut self, error: Option<&'static str>, call: &mut Call<'_>) {
        for mut span in self.take_spans() {
            let Some(error) = error else {
                if !is_command(&span) {
                    count_unpaired(&span, call);
                }
                report_unpaired(span, call);
                continue;
            };
            span.end = call.env.now;
            span.error = Some(ErrorType::named(error));
            if is_reported(&span, call) {
                call.out.events.push(Event::SpanEnded(span));
            }
        }
        self.lost = true;
    }

    /// Gives the pairing up, because replies can no longer be told apart.
    pub(crate) fn lose(&mut self, call: &mut Call<'_>) {
        self.untracked(call);
        if !self.lost {
            call.out.counts.count(Counter::PairingLost);
            self.doubt_unanswered();
            self.close(None, call);
        }
    }

    pub(super) fn lose_with(&mut self, span: Option<OpenSpan>, call: &mut Call<'_>) {
        end_unpaired(span.and_then(|span| self.spans.take(span)), call);
        self.lose(call);
    }

    /// Ends the spans of a transaction that the service wanted to run and that will not run.
    pub(super) fn abort(&mut self, error: ErrorType, call: &mut Call<'_>) {
        for span in self.drop_transaction() {
            self.end_span(span, Some(error.clone()), call);
        }
    }

    /// Drops the spans of a transaction that the service gives up. Nothing was published, so no span is reported.
    pub(super) fn discard(&mut self) {
        for span in self.drop_transaction() {
            self.spans.take(span);
        }
    }

    pub(super) fn drop_transaction(&mut self) -> Vec<OpenSpan> {
        let Some(transaction) = self.transaction.take() else { return Vec::new() };
        self.pending_subscriptions -= transaction.entries.iter().filter(|entry| entry.is_subscription()).count();
        let to_itself = |entry: &&Entry| matches!(entry.answer, Answer::PublishesToItself { .. });
        transaction.entries.iter().filter(to_itself).for_each(|_| self.own_messages.forget_channel());
        transaction.entries.into_iter().filter_map(|entry| entry.span).chain(transaction.span).collect()
    }

    pub(super) fn reset(&mut self, call: &mut Call<'_>) {
        if let Some(inference) = call.env.inference.as_deref_mut() {
            inference.unsubscribed(call.env.now);
        }
        if self.tracked {
            call.out.events.push(Event::Subscription(SubscriptionChange::Reset));
        }
        self.discard();
        if self.names.take() {
            call.out.events.push(Event::ClientNamed(None));
        }
        self.subscriptions.reset();
        self.own_messages.forget_due();
        self.muted = false;
        self.monitoring = false;
        self.authenticated = false;
        self.database = 0;
    }

    /// Redis has executed a publish, and has reported `count` receivers.
    #[inline]
    pub(super) fn end_publish(&mut self, span: Option<OpenSpan>, count: Option<u64>, call: &mut Call<'_>) {
        // No server has more clients. A server that counts otherwise must not make the sum begin anew.
        let receivers = count.unwrap_or(0).min(u64::from(u32::MAX));
        call.out.counts.add(Counter::Receivers, receivers);
        let timed = self.timed.take();
        let Some(span) = span else {
            let round_trip = timed.map(|start| call.env.now.0.saturating_sub(start.0));
            call.out.events.extend(round_trip.map(Event::RoundTrip));
            return;
        };
        if let Some(SpanRecord { operation: Operation::Publish { receivers, .. }, end, .. }) = self.spans.get(&span) {
            *receivers = count;
            *end = call.env.now;
        }
        self.spans.end(span, &mut call.out.events);
    }

    pub(super) fn end_span(&mut self, span: OpenSpan, error: Option<ErrorType>, call: &mut Call<'_>) {
        // The span is changed where it is, because to move it costs more.
        let Some(record) = self.spans.get(&span) else { return };
        record.end = call.env.now;
        record.error = error;
        let awaits_id =
            record.error.is_none() && matches!(&record.operation, Operation::Send(sent) if sent.entry.is_some());
        self.sent = awaits_id.then_some(call.out.events.len());
        if is_reported(record, call) {
            self.spans.end(span, &mut call.out.events);
        } else {
            self.spans.take(span);
        }
    }

    fn take_spans(&mut self) -> Vec<SpanRecord> {
        let transaction = self.transaction.take().unwrap_or_default();
        let entries = mem::take(&mut self.executing).into_iter();
        let entries = entries.chain(transaction.entries).chain(mem::take(&mut self.queue));
        self.pending_subscriptions = 0;
        self.pending_late = 0;
        self.own_messages.lose();
        let open = &mut self.spans;
        let unanswered = entries.filter_map(|entry| open.take(entry.span?)).map(unanswered);
        let mut spans: Vec<_> = unanswered.collect();
        // These spans are named after commands that Redis has queued, so they keep their names.
        spans.extend(transaction.span.into_iter().chain(self.executing_span.take()).filter_map(|span| open.take(span)));
        spans
    }
}

/// Whether a span that has ended is wanted.
fn is_reported(span: &SpanRecord, call: &Call<'_>) -> bool {
    !is_command(span) || (is_of_use(span, call) && call.env.policy.commands.reports(span))
}

/// Whether somebody gets the span of a command. One that is queued in a transaction has a span in any case, because that of the
/// transaction is named after it.
fn is_of_use(span: &SpanRecord, call: &Call<'_>) -> bool {
    let may_get_cause = || span.inferred.as_ref().is_some_and(|inferred| inferred.undecided.is_some());
    span.is_exported() || call.env.watched || may_get_cause()
}

pub(super) fn is_command(span: &SpanRecord) -> bool {
    matches!(span.operation, Operation::Command { .. })
}

/// Ends a span that no reply will end.
pub(super) fn end_unpaired(span: Option<SpanRecord>, call: &mut Call<'_>) {
    if let Some(span) = span.map(unanswered) {
        if is_reported_unpaired(&span, call) {
            count_unpaired(&span, call);
        }
        report_unpaired(span, call);
    }
}

fn count_unpaired(span: &SpanRecord, call: &mut Call<'_>) {
    call.out.counts.add(Counter::SpansUnpaired, u64::from(span.is_exported()));
}

/// Whether a span is wanted that has ended without its reply. When such a command ended, and how, is not known, so that it is
/// neither slow nor failed.
fn is_reported_unpaired(span: &SpanRecord, call: &Call<'_>) -> bool {
    let needs_reply = is_command(span) && matches!(call.env.policy.commands, Commands::Only { .. });
    !needs_reply && is_reported(span, call)
}

/// Reports a span without the reply that would have ended it.
fn report_unpaired(mut span: SpanRecord, call: &mut Call<'_>) {
    span.end = UnixNanos(span.end.0.max(call.env.now.0));
    if is_reported_unpaired(&span, call) {
        call.out.events.push(Event::SpanEnded(span));
    }
}

/// Removes the name of a command without a row, because no reply has shown that the command exists. The
/// word could be anything. Nor are others told of a message, because no reply has shown that it was published.
fn unanswered(mut span: SpanRecord) -> SpanRecord {
    if let Some(inferred) = &mut span.inferred {
        inferred.message = None;
    }
    if let Operation::Command { name, .. } = &span.operation
        && commands::find(name.as_bytes()).is_none()
    {
        forget_name(&mut span);
    }
    span
}

/// Removes the name of a command that may not exist, and what belongs to it.
pub(super) fn forget_name(span: &mut SpanRecord) {
    if let Operation::Command { name, summary, .. } = &mut span.operation {
        *name = UNKNOWN_COMMAND.into();
        *summary = None;
    }
}

/// Names a transaction after its commands: `MULTI SET` if all are `SET`, otherwise `MULTI`. `command` is the span of the
/// command that was queued last. It is `None` for a publish, which keeps its own span, and for a command without a span. The
/// transaction has the template of their keys if all commands have the same name and the same template.
pub(super) fn name_batch(transaction: &mut SpanRecord, count: u64, command: Option<&SpanRecord>) {
    let Operation::Command { name, summary, batch_size, .. } = &mut transaction.operation else { return };
    *batch_size = (count > 1).then_some(count);
    let (queued, template) = match command.map(|span| &span.operation) {
        Some(Operation::Command { name, summary, .. }) => (Some(&**name), summary.as_deref()),
        _ => (None, None),
    };
    if count == 1 {
        *summary = template.map(|template| alloc::format!("MULTI {template}").into());
    } else if summary.as_deref().and_then(|summary| summary.strip_prefix("MULTI ")) != template {
        *summary = None;
    }
    match (queued, name.strip_prefix("MULTI ")) {
        (Some(queued), _) if count == 1 => *name = alloc::format!("MULTI {queued}").into(),
        (queued, Some(first)) if queued != Some(first) => *name = "MULTI".into(),
        _ => {}
    }
}

/// Gives a transaction the cause of a command that was queued, unless it has one. All of its commands have the same.
pub(super) fn take_cause(transaction: &mut SpanRecord, command: Option<SpanRecord>) {
    let Some(command) = command.filter(|command| command.inferred.is_some()) else { return };
    if transaction.parent.is_none() && transaction.link.is_none() {
        transaction.parent = command.parent;
        transaction.link = command.link;
        transaction.trace_state = command.trace_state;
        transaction.inferred = command.inferred;
        transaction.context.trace_id = command.context.trace_id;
        transaction.context.flags = command.context.flags;
    }
}
/// Tells the inference that Redis has refused to add the items of this span, so that they are the first when they are added. A script that
/// Redis does not know is sent again with its text.
#[cold]
pub(super) fn not_added(record: &SpanRecord, call: &mut Call<'_>) {
    let (Operation::Send(sent), Some(inference)) = (&record.operation, call.env.inference.as_deref_mut()) else {
        return;
    };
    let own = sent.is_named_by_item.then_some(record.context);
    for item in sent.items.iter().copied().chain(own) {
        if !sent.repeated.contains(&item.trace_id) {
            inference.not_added(item.span_id);
        }
    }
    for name in &sent.ids {
        inference.id_not_added(*name);
    }
}
