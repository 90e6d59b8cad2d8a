//! Requests that add a job to a queue, whose envelope gets a context (`--envelope`).

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::described::expect_reply;
use super::items::carried;
use super::{Parts, attribution, pushes};
use crate::carrier::Envelope;
use crate::commands::{self, Answer};
use crate::counts::Counter;
use crate::handover::{Awaited, Pushes};
use crate::policy::{MAX_CHANNEL_LEN, Policy};
use crate::resp::complete::{self, Head};
use crate::rewrite::entries::Producer;
use crate::rewrite::envelopes::{NewJob, WORDS_OF_ELEMENT, WORDS_OF_SCRIPT};
use crate::rewrite::{Edits, Input};
use crate::trace::{Sent, UnixNanos};

/// The command that adds a job to a list.
const NAME: &[u8] = b"LPUSH";

/// How a request may add a job whose envelope gets a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adds {
    /// As an element of a list: `LPUSH`.
    Element,
    /// By a script: `EVAL` and `EVALSHA`.
    ByScript,
}

/// Whether a request of `count` words, whose name has this many bytes, may add a job.
pub(super) fn may_be_named(len: u64, count: u64, policy: &Policy) -> bool {
    let mut names = [NAME, b"EVAL", b"EVALSHA"].into_iter().filter(|name| u64::try_from(name.len()) == Ok(len));
    names.any(|name| adds(name, count, policy).is_some())
}

/// How a request with this name and `count` words may add a job.
pub(super) fn adds(name: &[u8], count: u64, policy: &Policy) -> Option<Adds> {
    if count == WORDS_OF_ELEMENT {
        return name.eq_ignore_ascii_case(NAME).then_some(Adds::Element);
    }
    let is_script = || commands::find(name).is_some_and(|command| command.pushes == Some(Pushes::Script));
    let by_script = WORDS_OF_SCRIPT.contains(&count) && policy.envelopes.contains(&Envelope::BullMq) && is_script();
    by_script.then_some(Adds::ByScript)
}

/// Whether jobs that are added to this key may get contexts: it is a queue.
pub(super) fn has_jobs(key: &[u8], parts: &mut Parts<'_>) -> bool {
    let now = parts.call.env.now;
    key.len() <= MAX_CHANNEL_LEN && (parts.call.env.policy.is_queue(key) || pushes::is_waited_for(key, now, parts))
}

/// Whether a request, whose `head` is complete, may add a job that gets a context.
pub(super) fn may_add(head: &Head<'_>, input: &Input<'_>, parts: &mut Parts<'_>) -> bool {
    match adds(head.name, head.count, parts.call.env.policy) {
        Some(Adds::Element) => complete::bulk(input.bytes, head.end).is_some_and(|(key, _)| has_jobs(key, parts)),
        Some(Adds::ByScript) => true,
        None => false,
    }
}

/// The job that a complete request adds, if its envelope may get a context. Otherwise it is a request like others.
pub(super) fn job<'a>(request: &'a [u8], parts: &mut Parts<'_>) -> Option<NewJob<'a>> {
    // Another policy may have come into force since the request began.
    let job = parts.adds_to_envelopes.then(|| NewJob::read(request, parts.call.env.policy)).flatten()?;
    let is_added = job.is_of_script && job.queue.len() <= MAX_CHANNEL_LEN || has_jobs(job.queue, parts);
    is_added.then_some(job)
}

/// Takes a request called `name` that adds this job. Returns the edits by which its envelope gets a context, unless it would be too
/// long with it.
#[cold]
#[inline(never)]
pub(super) fn add(
    job: &NewJob<'_>,
    answer: Answer,
    name: &[u8],
    request: &[u8],
    start: UnixNanos,
    parts: &mut Parts<'_>,
) -> Option<Box<Edits>> {
    let policy = Arc::clone(parts.call.env.policy);
    let attribution = attribution::of_command(answer, name, request, parts);
    let attribution = attribution.as_deref();
    parts.call.out.counts.count(Counter::Commands);
    let producer = Producer::of(None, attribution, &mut parts.call);
    let context = producer.outgoing();
    let added = job.with_context(request, &context, parts.pairing.is_authenticated(), &parts.call);
    let Some(added) = added else {
        let span = pushes::span_of(name, request, start, attribution, parts);
        expect_reply(answer, name, (start, request), span, attribution, parts);
        return None;
    };
    let mut edits = Box::<Edits>::default();
    job.edit(&added, &mut edits);
    parts.call.out.counts.count(Counter::EntriesInjected);
    // Where nobody believes what an item carries, the ends are joined by what names it, which is what Redis gets.
    let is_believed = carried(&added.item(), &policy).is_some();
    let elements = added.element().into_iter().filter(|_| !is_believed);
    let (items, repeated) = pushes::named(elements, &policy, parts);
    let sent = Sent {
        queue: policy.key_template(job.queue).map(Arc::from),
        count: 1,
        body_size: added.item().size,
        carries_context: is_believed,
        items,
        repeated,
        ..Sent::default()
    };
    let mut span = producer.record(start, sent);
    if job.is_of_script && !is_believed {
        span = span.map(|span| pushes::awaits_id(span, Awaited::Job, job.queue, parts));
    }
    expect_reply(answer, name, (start, request), Some(span), attribution, parts);
    Some(edits)
}
