//! Requests that add an entry to a stream whose entries carry contexts (`--stream-carrier`).

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::described::expect_reply;
use super::items::carried;
use super::{Parts, attribution, pushes};
use crate::commands::{Answer, Command};
use crate::counts::Counter;
use crate::handover::{Awaited, Push, Pushes};
use crate::resp::complete::{self, Head};
use crate::rewrite::entries::{NewEntry, Producer};
use crate::rewrite::{Edits, Input};
use crate::service::Attribution;
use crate::trace::{Sent, SpanRecord, UnixNanos};

/// The command that adds an entry.
pub(super) const NAME: &[u8] = b"XADD";

/// Length of its name, in bytes.
pub(super) const NAME_LEN: u64 = 4;

/// Whether a request for this command, whose `head` is complete, may add an entry that gets a context.
pub(super) fn may_add(command: &Command, head: &Head<'_>, input: &Input<'_>, parts: &Parts<'_>) -> bool {
    let adds_entry = command.pushes == Some(Pushes::Entry);
    let key = || complete::bulk(input.bytes, head.end);
    adds_entry && key().is_some_and(|(key, _)| parts.call.env.policy.has_fields(key))
}

/// Takes an `XADD` for a stream whose entries carry contexts. Returns the edits by which it gets one.
#[cold]
#[inline(never)]
pub(super) fn add(request: &[u8], start: UnixNanos, parts: &mut Parts<'_>) -> Option<Box<Edits>> {
    parts.call.out.counts.count(Counter::Commands);
    let attribution = attribution::of_command(Answer::Replies(1), NAME, request, parts);
    let attribution = attribution.as_deref();
    let (edits, span) = match with_context(request, start, attribution, parts) {
        Ok((edits, span)) => (Some(edits), Some(span)),
        Err(skipped) => {
            skipped.into_iter().for_each(|skipped| parts.call.out.counts.count(skipped));
            (None, pushes::span_of(NAME, request, start, attribution, parts))
        }
    };
    expect_reply(Answer::Replies(1), NAME, (start, request), span, attribution, parts);
    edits
}

/// The edits by which an `XADD` gets a context, and the span that this is the context of, if it is recorded.
fn with_context(
    request: &[u8],
    start: UnixNanos,
    attribution: Option<&Attribution>,
    parts: &mut Parts<'_>,
) -> Result<(Box<Edits>, Option<SpanRecord>), Option<Counter>> {
    let policy = Arc::clone(parts.call.env.policy);
    if !parts.adds_fields {
        return Err(None); // another policy has come into force since the request began
    }
    let entry = NewEntry::read(request)?;
    let push = Push::of_request(Pushes::Entry, request).ok_or(Counter::EntriesSkippedCarrier)?;
    let carried = push.only().and_then(|item| carried(&item, &policy));
    let producer = Producer::of(carried.as_ref(), attribution, &mut parts.call);
    let mut edits = Box::<Edits>::default();
    entry.add(request, &producer.outgoing(), parts.pairing.is_authenticated(), &parts.call, &mut edits)?;
    parts.call.out.counts.count(Counter::EntriesInjected);
    let sent = Sent {
        queue: policy.key_template(&push.key).map(Arc::from),
        count: push.count,
        body_size: push.size,
        carries_context: true,
        ..Sent::default()
    };
    let span = producer.record(start, sent).map(|span| pushes::awaits_id(span, Awaited::Entry, &push.key, parts));
    Ok((edits, span))
}
