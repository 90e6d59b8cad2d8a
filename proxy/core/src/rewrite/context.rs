//! The identity of new spans, and their records.

use super::channel_cache::text;
use crate::carrier::json::JsonPath;
use crate::carrier::{self, Carrier};
use crate::output::Call;
use crate::policy::{Policy, Rule};
use crate::trace::{
    Change, Context, Handling, Ids, Operation, SpanContext, SpanId, SpanRecord, TraceFlags, TraceId, UNKNOWN_COMMAND,
    UnixNanos,
};

/// The identity of a new span below `parent`, and whether the span is recorded. The flags carry that decision.
pub(crate) fn child_of(parent: Option<&Context>, policy: &Policy, ids: &mut dyn Ids) -> (SpanContext, bool) {
    let Some(SpanContext { trace_id, flags, .. }) = parent.map(|parent| parent.span) else {
        return linked_to(None, policy, ids);
    };
    let sampled = policy.sampler.samples(trace_id, parent.map(|parent| &parent.span));
    (SpanContext { trace_id, span_id: ids.span_id(), flags: flags.with_sampled(sampled) }, sampled)
}

/// The identity of a new span that begins a trace, and whether the span is recorded. The decision about the span that it is
/// linked to counts for it too, because otherwise most links would lead to spans that nobody has recorded.
pub(super) fn linked_to(link: Option<&Context>, policy: &Policy, ids: &mut dyn Ids) -> (SpanContext, bool) {
    let trace_id = ids.trace_id();
    let sampled = match link {
        Some(Context { span, .. }) => policy.sampler.samples(span.trace_id, Some(span)),
        None => policy.sampler.samples(trace_id, None),
    };
    let flags = if ids.are_random() { TraceFlags::RANDOM } else { TraceFlags::default() }.with_sampled(sampled);
    (SpanContext { trace_id, span_id: ids.span_id(), flags }, sampled)
}

/// The context that a payload carries, whoever put it there. It is moved out of `added`, if a proxy put it there. With
/// `OTEL_PROPAGATORS=none` there is none.
#[inline]
pub(super) fn carried_by(
    payload: &[u8],
    added: Option<&mut carrier::Added>,
    rule: Rule,
    policy: &Policy,
) -> Option<Context> {
    if !policy.propagators.carries_traces() {
        return None;
    }
    match added {
        Some(added) => added.context.take(),
        None => supplied_in(payload, rule, policy),
    }
}

/// The context that the application put into a payload, if the policy says that it is read.
fn supplied_in(payload: &[u8], rule: Rule, policy: &Policy) -> Option<Context> {
    let outermost;
    let path = match rule.read_json.and_then(|index| policy.read_json.get(index)) {
        Some((_, path)) => Some(path),
        None if rule.carrier == Carrier::Json => {
            outermost = JsonPath::default();
            Some(&outermost)
        }
        None => None,
    };
    carrier::find_supplied(payload, rule.carrier, path, policy.propagators)
}

/// The record of a span that has begun. Its end equals its start until the span ends.
pub(super) fn record(
    context: SpanContext,
    parent: Option<&Context>,
    link: Option<&Context>,
    start: UnixNanos,
    payload: Change,
    operation: Operation,
) -> SpanRecord {
    SpanRecord {
        parent: parent.map(|parent| parent.span.span_id),
        link: link.map(|link| link.span),
        trace_state: parent.or(link).and_then(|context| context.trace_state.clone()),
        handling: Handling { payload, untraced: false },
        ..SpanRecord::new(context, start, operation)
    }
}

/// The record of a message that has no span, for those who watch messages.
#[cold]
pub(super) fn untraced(
    parent: Option<&Context>,
    start: UnixNanos,
    payload: Change,
    operation: Operation,
) -> SpanRecord {
    let trace_id = parent.map_or(TraceId::MIN, |parent| parent.span.trace_id);
    // No id is taken from the source, so that the ids of spans do not depend on whether somebody watches.
    let context = SpanContext { trace_id, span_id: SpanId::MIN, flags: TraceFlags::default() };
    let handling = Handling { payload, untraced: true };
    SpanRecord { handling, ..record(context, parent, None, start, payload, operation) }
}

/// The CLIENT span of a command (`--commands`), which has no parent. There is none if it is not wanted or not sampled.
pub(crate) fn command_span(name: &[u8], database: u32, start: UnixNanos, call: &mut Call<'_>) -> Option<SpanRecord> {
    let policy = &**call.env.policy;
    if !policy.commands.any() || !policy.enabled {
        return None;
    }
    let (context, sampled) = child_of(None, policy, call.env.ids);
    // The name is empty if it is too long to be a command's.
    let name = || if name.is_empty() { UNKNOWN_COMMAND.into() } else { text(name) };
    let operation = || Operation::Command { name: name(), database, batch_size: None };
    sampled.then(|| record(context, None, None, start, Change::None, operation()))
}
