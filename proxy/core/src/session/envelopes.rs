//! Requests that add a job to a queue, whose envelope gets a context (`--envelope`).

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::described::expect_reply;
use super::items::carried;
use super::{Parts, attribution, pushes};
use crate::commands::Answer;
use crate::counts::Counter;
use crate::policy::MAX_CHANNEL_LEN;
use crate::resp::complete::{self, Head};
use crate::rewrite::entries::Producer;
use crate::rewrite::envelopes::{NewJob, WORDS};
use crate::rewrite::{Edits, Input};
use crate::trace::{Sent, UnixNanos};

/// The command that adds a job.
const NAME: &[u8] = b"LPUSH";

/// Length of its name, in bytes.
pub(super) const NAME_LEN: u64 = 5;

/// Whether this is the name of a request of `count` words that may add a job.
pub(super) fn is_named(name: &[u8], count: u64) -> bool {
    count == WORDS && name.eq_ignore_ascii_case(NAME)
}

/// Whether jobs that are added to this key may get contexts: it is a queue.
pub(super) fn has_jobs(key: &[u8], parts: &mut Parts<'_>) -> bool {
    let now = parts.call.env.now;
    key.len() <= MAX_CHANNEL_LEN && (parts.call.env.policy.is_queue(key) || pushes::is_waited_for(key, now, parts))
}

/// Whether a request, whose `head` is complete, may add a job that gets a context.
pub(super) fn may_add(head: &Head<'_>, input: &Input<'_>, parts: &mut Parts<'_>) -> bool {
    is_named(head.name, head.count)
        && complete::bulk(input.bytes, head.end).is_some_and(|(key, _)| has_jobs(key, parts))
}

/// The job that a complete request adds, if its envelope may get a context. Otherwise it is a request like others.
pub(super) fn job<'a>(request: &'a [u8], parts: &mut Parts<'_>) -> Option<NewJob<'a>> {
    // Another policy may have come into force since the request began.
    let job = parts.adds_to_envelopes.then(|| NewJob::read(request, parts.call.env.policy)).flatten()?;
    has_jobs(job.key, parts).then_some(job)
}

/// Takes a request called `name` that adds this job. Returns the edits by which its envelope gets a context, unless it would be too
/// long with it.
#[cold]
#[inline(never)]
pub(super) fn add(
    job: &NewJob<'_>,
    name: &[u8],
    request: &[u8],
    start: UnixNanos,
    parts: &mut Parts<'_>,
) -> Option<Box<Edits>> {
    let policy = Arc::clone(parts.call.env.policy);
    let attribution = attribution::of_command(Answer::Replies(1), name, request, parts);
    let attribution = attribution.as_deref();
    parts.call.out.counts.count(Counter::Commands);
    let producer = Producer::of(None, attribution, &mut parts.call);
    let context = producer.outgoing();
    let added = job.with_context(request, &context, parts.pairing.is_authenticated(), &parts.call);
    let Some(added) = added else {
        let span = pushes::span_of(name, request, start, attribution, parts);
        expect_reply(Answer::Replies(1), name, (start, request), span, attribution, parts);
        return None;
    };
    let mut edits = Box::<Edits>::default();
    job.edit(&added, &mut edits);
    parts.call.out.counts.count(Counter::EntriesInjected);
    // Where nobody believes what an item carries, the ends are joined by what names it, which is what Redis gets.
    let is_believed = carried(&added.item(), &policy).is_some();
    let elements = [&*added.stored].into_iter().filter(|_| !is_believed);
    let (items, repeated) = pushes::named(elements, &policy, parts);
    let sent = Sent {
        queue: policy.key_template(job.key).map(Arc::from),
        count: 1,
        body_size: added.item().size,
        carries_context: true,
        items,
        repeated,
        ..Sent::default()
    };
    let span = producer.record(start, sent);
    expect_reply(Answer::Replies(1), name, (start, request), Some(span), attribution, parts);
    Some(edits)
}
