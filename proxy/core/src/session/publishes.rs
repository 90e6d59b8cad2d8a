//! Publishes that are complete: what is decided about them, and what the pairing and the inference of causes learn of them.

use super::Parts;
use super::attribution;
use crate::counts::Counter;
use crate::pairing::Published;
use crate::policy::{MAX_CHANNEL_LEN, Mode};
use crate::resp::complete;
use crate::rewrite::{Admission, Bulk, Decision, Input, Publish, Standing};
use crate::trace::CommandId;

/// Takes a publish whose name ends at `pos`, if it is complete in the input.
pub(super) fn take_complete(pos: usize, sharded: bool, input: &mut Input<'_>, parts: &mut Parts<'_>) -> bool {
    let Some((channel, header)) = complete::bulk(input.bytes, pos) else { return false };
    let Some((payload, end)) = complete::bulk(input.bytes, header) else { return false };
    let (channel, start) = (Some(channel).filter(|channel| channel.len() <= MAX_CHANNEL_LEN), parts.call.env.now);
    let (publish, len) = (Publish { channel, sharded, start }, payload.len());
    match parts.publish.admit(&publish, u64::try_from(len).unwrap_or(u64::MAX), &mut parts.call) {
        Admission::Pass(span) => {
            let mut decision = Decision::pass(span);
            let command = passes(&mut decision, &publish, payload, parts);
            published(decision, command, &publish, parts);
        }
        Admission::Hold => {
            let standing = standing(input, end, parts);
            let attribution = attribution::of_publish(&publish, payload, parts);
            let (payload, known) = (Bulk::within(input.bytes, header, len, end), attribution.as_deref());
            let decision = parts.publish.decide(&publish, payload, standing, known, &mut parts.call);
            if decision.edited {
                input.edit(header, parts.publish.edits(), parts.call.out);
            }
            published(decision, known.and_then(|attribution| attribution.command), &publish, parts);
        }
    }
    input.pos = end;
    true
}

/// Adds to the decision about a publish that goes on as it came what is known of its cause. Returns what the publish is called
/// where its reply is reported.
pub(super) fn passes(
    decision: &mut Decision,
    publish: &Publish<'_>,
    payload: &[u8],
    parts: &mut Parts<'_>,
) -> Option<CommandId> {
    let attribution = attribution::of_publish(publish, payload, parts)?;
    decision.attribute(&attribution, parts.call.env.policy);
    attribution.command
}

/// The state of the connection that matters to a publish that is decided about now, and behind which the input goes on at
/// `end`.
pub(super) fn standing(input: &mut Input<'_>, end: usize, parts: &Parts<'_>) -> Standing {
    let pairing = &*parts.pairing;
    let prompt = pairing.answers_promptly() || is_executed_at_once(input, end, parts);
    Standing { authenticated: pairing.is_authenticated(), prompt }
}

/// Whether the publish is in a transaction that Redis executes as soon as it arrives, because the `EXEC` is there already.
#[cold]
fn is_executed_at_once(input: &mut Input<'_>, end: usize, parts: &Parts<'_>) -> bool {
    let env = &parts.call.env;
    let may_matter = env.sees_ahead && env.policy.uses(Mode::Auto);
    may_matter && parts.pairing.answers_promptly_or_at_exec() && input.has_exec_ahead(end)
}

/// Takes a complete publish.
pub(super) fn published(decision: Decision, command: Option<CommandId>, publish: &Publish<'_>, parts: &mut Parts<'_>) {
    let &Publish { channel, sharded, start } = publish;
    parts.call.out.counts.count(Counter::Commands);
    parts.call.out.counts.count(Counter::Published);
    parts.pairing.time(start);
    let to = Published { channel, sharded, injected: decision.injected, command };
    if let (Some(command), Some(span)) = (command, decision.injected)
        && let Some(inference) = parts.call.env.inference.as_deref_mut()
    {
        inference.injected(command, span);
    }
    parts.pairing.publish(decision.span, decision.expected, &to, &mut parts.call);
}
