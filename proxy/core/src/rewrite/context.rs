//! The identity of new spans, and their records.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::channel_cache::text;
use crate::carrier::derived::Identity;
use crate::carrier::json::JsonPath;
use crate::carrier::{self, Carrier};
use crate::output::Call;
use crate::policy::{Commands, Follow, Policy, Relation, Rule};
use crate::service::Attribution;
use crate::trace::{
    Change, Context, Handling, Ids, Inferred, Operation, Sent, SpanContext, SpanId, SpanRecord, TraceFlags, TraceId,
    UNKNOWN_COMMAND, UnixNanos,
};

/// The parent of a new span, and the span in another trace that it is linked to, if its cause is certain.
#[cold]
pub(super) fn parent_and_link(attribution: &Attribution, follow: Follow) -> (Option<&Context>, Option<&Context>) {
    let cause = attribution.cause.as_ref().map(|(cause, _)| cause);
    match follow {
        Follow::Link => (None, cause),
        Follow::Off | Follow::Parent => (cause, None),
    }
}

/// What a new span tells of its cause, if anything is inferred.
#[cold]
pub(super) fn inferred(attribution: &Attribution) -> Option<Box<Inferred>> {
    let rule = attribution.cause.as_ref().map(|(_, rule)| *rule);
    let undecided = attribution.command.filter(|_| attribution.is_undecided && rule.is_none());
    let has_more = rule.is_some() || undecided.is_some() || !attribution.links.is_empty();
    has_more.then(|| Box::new(Inferred { rule, links: attribution.links.clone(), undecided, ..Inferred::default() }))
}

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

/// A new CONSUMER span, of a message or of an item of a queue.
#[derive(Clone, Copy)]
pub(crate) struct Consumer<'a> {
    pub(crate) context: SpanContext,
    /// Whether the span is recorded.
    pub(crate) is_sampled: bool,
    /// The context that the message or the item carries, if it is believed.
    carried: Option<&'a Context>,
    relation: Relation,
}

impl<'a> Consumer<'a> {
    /// The span of what carries this context, below it or linked to it (`--relation`).
    #[inline(always)]
    pub(crate) fn of(carried: Option<&'a Context>, policy: &Policy, ids: &mut dyn Ids) -> Self {
        let (context, is_sampled) = match policy.relation {
            Relation::Parent => child_of(carried, policy, ids),
            Relation::Link => linked_to(carried, policy, ids),
        };
        Self { context, is_sampled, carried, relation: policy.relation }
    }

    /// The span of an item that carries no context, where another follows from what names the item. It begins the trace of that one if
    /// it `shares_trace`. The caller links its record to it.
    pub(crate) fn named(named: SpanContext, shares_trace: bool, policy: &Policy, ids: &mut dyn Ids) -> Self {
        let (context, is_sampled) = if shares_trace {
            (SpanContext { span_id: ids.span_id(), ..named }, named.flags.is_sampled())
        } else {
            child_of(None, policy, ids)
        };
        Self { context, is_sampled, carried: None, relation: policy.relation }
    }

    /// The record of the span, which has begun.
    #[inline(always)]
    pub(crate) fn record(&self, start: UnixNanos, payload: Change, operation: Operation) -> SpanRecord {
        let (parent, link) = match self.relation {
            Relation::Parent => (self.carried, None),
            Relation::Link => (None, self.carried),
        };
        record(self.context, parent, link, start, payload, operation)
    }

    /// The context of what the span causes.
    #[inline(always)]
    pub(crate) fn passed_on(&self) -> Context {
        Context {
            span: self.context,
            trace_state: self.carried.and_then(|carried| carried.trace_state.clone()),
            baggage: self.carried.and_then(|carried| carried.baggage.clone()),
            published: None,
        }
    }
}

/// The baggage of the parent, if it is passed on.
pub(super) fn passed_baggage(parent: Option<&Context>, policy: &Policy) -> Option<Arc<str>> {
    parent.and_then(|parent| parent.baggage.clone()).filter(|_| policy.propagators.baggage)
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
        None if matches!(rule.carrier, Carrier::Trailer | Carrier::Beside) && rule.read_json.is_none() => None,
        None => supplied_in(payload, rule, policy),
    }
}

/// The context that the application put into a payload, if the policy says that it is read.
#[cold]
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

/// The record of a message that has no span, for those who watch and measure messages. `id` is what the inference of causes knows
/// the message by, if there is one.
#[cold]
pub(crate) fn untraced(
    parent: Option<&Context>,
    id: Option<SpanId>,
    start: UnixNanos,
    payload: Change,
    operation: Operation,
) -> SpanRecord {
    let trace_id = parent.map_or(TraceId::MIN, |parent| parent.span.trace_id);
    // No id is taken from the source, so that the ids of spans do not depend on whether somebody watches.
    let context = SpanContext { trace_id, span_id: id.unwrap_or(SpanId::MIN), flags: TraceFlags::default() };
    let handling = Handling { payload, untraced: true };
    SpanRecord { handling, ..record(context, parent, None, start, payload, operation) }
}

/// The context that follows from what names an item.
pub(crate) fn derived_context(item: Identity<'_>, policy: &Policy) -> Option<SpanContext> {
    let (trace_id, span_id) = item.derive(&policy.keys)?;
    let sampled = policy.sampler.samples(trace_id, None);
    Some(SpanContext { trace_id, span_id, flags: TraceFlags::default().with_sampled(sampled) })
}

/// The PRODUCER span of a command that adds items, below the context that its only item carries, or else below its cause. There is
/// none if it is neither sampled nor measured, and nobody is told. If the span begins a trace, it has the context that follows from what names its only
/// item. Of an entry of a stream that comes with the reply (`awaits_id`), so whether such a span is sampled is decided then.
#[cold]
pub(crate) fn push_span(
    mut sent: Sent,
    awaits_id: bool,
    start: UnixNanos,
    carried: Option<&Context>,
    attribution: Option<&Attribution>,
    call: &mut Call<'_>,
) -> Option<SpanRecord> {
    let policy = &**call.env.policy;
    // As of a publish, what the item itself carries comes before what is inferred.
    let attribution = attribution.filter(|_| carried.is_none());
    let (parent, link) = attribution.map_or((carried, None), |attribution| parent_and_link(attribution, policy.follow));
    let inferred = attribution.and_then(inferred);
    let is_root = parent.is_none() && link.is_none();
    let may_get_cause = inferred.as_ref().is_some_and(|inferred| inferred.undecided.is_some());
    sent.is_named_by_item &= is_root;
    // What is not sampled is told as well, so that who takes the items decides alike.
    let is_told = sent.companion.is_some();
    let (context, sampled) = match link {
        None if sent.is_named_by_item => {
            let item = sent.items.pop()?;
            (item, item.flags.is_sampled())
        }
        None => child_of(parent, policy, call.env.ids),
        link => linked_to(link, policy, call.env.ids),
    };
    (sampled || may_get_cause || (is_root && awaits_id) || is_told || call.env.watched).then(|| {
        let record = record(context, parent, link, start, Change::None, Operation::Send(Box::new(sent)));
        SpanRecord { inferred, ..record }
    })
}

/// The CLIENT span of a command (`--commands`). There is none if it is not wanted, or if it is not sampled and not measured. Whether the
/// span of a command is sampled whose cause may still become known is decided then. A command that a transaction queues has one
/// whatever the sampler says, because the span of the transaction takes its name and its cause from it.
pub(crate) fn command_span(
    name: &[u8],
    database: u32,
    start: UnixNanos,
    is_transaction: bool,
    is_queued: bool,
    attribution: Option<&Attribution>,
    call: &mut Call<'_>,
) -> Option<SpanRecord> {
    let policy = &**call.env.policy;
    if !policy.commands.any() || !policy.enabled {
        return None;
    }
    // The span of a transaction begins before its first command, whose cause it has.
    let is_transaction = is_transaction && attribution.is_some();
    let (parent, link) = attribution.map_or((None, None), |attribution| parent_and_link(attribution, policy.follow));
    let inferred = attribution.and_then(inferred);
    let may_get_cause = is_transaction || inferred.as_ref().is_some_and(|inferred| inferred.undecided.is_some());
    if policy.commands == Commands::Caused && !may_get_cause && inferred.is_none() {
        return None;
    }
    let (context, sampled) = match link {
        None => child_of(parent, policy, call.env.ids),
        link => linked_to(link, policy, call.env.ids),
    };
    // The name is empty if it is too long to be a command's.
    let name = || if name.is_empty() { UNKNOWN_COMMAND.into() } else { text(name) };
    let operation = || Operation::Command { name: name(), summary: None, database, batch_size: None };
    (sampled || may_get_cause || is_queued || call.env.watched).then(|| {
        let record = record(context, parent, link, start, Change::None, operation());
        SpanRecord { inferred, ..record }
    })
}
