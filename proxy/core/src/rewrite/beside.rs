//! Publishes whose context goes beside the message: what names it, and what other proxies are told of it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::channel_cache::ChannelCache;
use super::context::{carried_by, child_of, derived_context, passed_baggage};
use crate::carrier::derived::{self, Identity};
use crate::carrier::{self, Carrier};
use crate::counts::Counter;
use crate::output::Call;
use crate::policy::{Mode, Policy, Rule};
use crate::service::{Environment, Passage};
use crate::trace::ids::Ids;
use crate::trace::{Context, Inferred, PublishNumber, SpanContext, ToldMessage};

/// A message that other proxies are told the context of.
pub(super) struct Named {
    channel: Arc<[u8]>,
    is_sharded: bool,
    /// The context that follows from what names it.
    derived: SpanContext,
    /// Whether its payload holds an id besides other bytes, so that no other message has most probably the same name.
    is_unique: bool,
    /// Whether the service has published the same bytes before all the same.
    is_repeated: bool,
}

/// The identity of a publish without a cause, and whether it is sampled. The trace follows from what names the message. The id of the
/// span does not, because somebody else may publish the same bytes.
pub(super) fn root(named: &Named, policy: &Policy, ids: &mut dyn Ids) -> (SpanContext, bool) {
    if !named.is_unique || named.is_repeated {
        return child_of(None, policy, ids);
    }
    (SpanContext { span_id: ids.span_id(), ..named.derived }, named.derived.flags.is_sampled())
}

/// The numbers of the publishes of a connection that other proxies are told of.
#[derive(Debug, Default)]
pub(super) struct PublishNumbers(Option<PublishNumber>);

impl PublishNumbers {
    /// The number of the next one.
    fn next(&mut self, ids: &mut dyn Ids) -> PublishNumber {
        let next = self.0.and_then(|PublishNumber { connection, number }| {
            Some(PublishNumber { connection, number: number.checked_add(1)? })
        });
        // With too many publishes it counts as another connection.
        *self.0.insert(next.unwrap_or_else(|| PublishNumber { connection: ids.span_id(), number: 0 }))
    }
}

/// Whether the context of a publish that gets none in its payload for this reason goes beside the message.
#[cold]
pub(super) fn is_used(skipped: Counter, call: &Call<'_>) -> bool {
    match skipped {
        Counter::SkippedBeside => true,
        // Somebody may get the message who is not behind a proxy.
        Counter::SkippedAutoUnknown
        | Counter::SkippedAutoUnproxied
        | Counter::SkippedAutoProving
        | Counter::SkippedAutoContradicted
        | Counter::SkippedAutoOrder => companions_are_unseen(call),
        _ => false,
    }
}

fn companions_are_unseen(call: &Call<'_>) -> bool {
    call.env.audience.is_some_and(|audience| audience.companions_are_unseen())
}

/// A message on the channel that was looked up last, which carries no context and gets none.
#[cold]
pub(super) fn named(
    channel: &[u8],
    is_sharded: bool,
    payload: &[u8],
    channels: &mut ChannelCache,
    call: &mut Call<'_>,
) -> Option<Named> {
    let Environment { policy, inference, .. } = &mut call.env;
    let inference = inference.as_deref_mut().filter(|_| policy.tells_of_messages())?;
    let derived = derived_context(Identity::of_message(channel, is_sharded, payload)?, policy)?;
    let is_unique = derived::Ids::of(payload) == derived::Ids::WithMore;
    let is_repeated = is_unique && !inference.is_first(derived.span_id, Passage::Added);
    Some(Named { channel: channels.shared(), is_sharded, derived, is_unique, is_repeated })
}

/// A message that a script publishes on the channel that was looked up last, unless it carries a context, which other proxies find themselves.
#[cold]
pub(super) fn of_script(
    channel: &[u8],
    payload: &[u8],
    rule: Rule,
    channels: &mut ChannelCache,
    call: &mut Call<'_>,
) -> Option<Named> {
    let policy = &**call.env.policy;
    // Nothing may be added to the payload, whoever gets it: in mode `auto` also where all receivers are known to be behind proxies.
    if rule.carrier != Carrier::Beside && !(rule.mode == Mode::Auto && companions_are_unseen(call)) {
        return None;
    }
    let place = policy.place(channel, rule);
    let carries = carrier::find_added(payload, &place).is_some() || carried_by(payload, None, rule, policy).is_some();
    if carries { None } else { named(channel, false, payload, channels, call) }
}

/// What the span of a publish tells of its cause, and to other proxies of its message.
pub(super) fn telling(
    named: Option<Named>,
    numbers: &mut PublishNumbers,
    mut inferred: Option<Box<Inferred>>,
    parent: Option<&Context>,
    env: &mut Environment<'_>,
) -> Option<Box<Inferred>> {
    if let Some(Named { channel, is_sharded, derived, is_unique, .. }) = named {
        let (publish, baggage) = (numbers.next(env.ids), passed_baggage(parent, env.policy));
        let (name, derived) = (derived.trace_id, is_unique.then_some(derived));
        let told = ToldMessage { channel, is_sharded, name, derived, publish, baggage, is_told: false };
        inferred.get_or_insert_default().message = Some(Box::new(told));
    }
    inferred
}
