//! Requests that may have a span or a cause, and how their replies are told from others.

use super::summary::summarize;
use super::{Parts, attribution, broadcasts, pushes, stream_reply};
use crate::commands::{self, Answer};
use crate::handover::Pushes;
use crate::policy::{Commands, Mode, Policy};
use crate::rewrite::command_span;
use crate::service::Attribution;
use crate::trace::{SpanRecord, UnixNanos};

/// Takes a request that may have a span, or a cause, or whose reply may have entries of streams.
#[cold]
#[inline(never)]
pub(super) fn described(answer: Answer, name: &[u8], start: UnixNanos, frame: &[u8], parts: &mut Parts<'_>) {
    let attribution = attribution::of_command(answer, name, frame, parts);
    let adds = commands::find(name).and_then(|row| row.pushes);
    let mut span = match adds {
        Some(_) => pushes::span_of(name, frame, start, attribution.as_deref(), parts),
        None => None,
    };
    if span.is_none() && adds == Some(Pushes::Script) {
        span = broadcasts::span_of(frame, start, attribution.as_deref(), parts);
    }
    expect_reply(answer, name, (start, frame), span, attribution.as_deref(), parts);
}

/// Expects the reply to a request that began at `start` and whose beginning is `frame`. If it has no `span` of what it adds or
/// publishes, it may have that of a command.
#[inline(always)]
pub(super) fn expect_reply(
    answer: Answer,
    name: &[u8],
    (start, frame): (UnixNanos, &[u8]),
    span: Option<Option<SpanRecord>>,
    attribution: Option<&Attribution>,
    parts: &mut Parts<'_>,
) {
    let command = attribution.and_then(|attribution| attribution.command);
    let policy = parts.call.env.policy;
    let answer = told_apart(stream_reply::with_entries(answer, name, frame, policy), policy);
    let mut span = match span {
        Some(span) => span,
        None => span_of(answer, name, start, attribution, parts),
    };
    if let Some(span) = &mut span {
        summarize(span, frame, parts.call.env.policy);
    }
    parts.pairing.request(answer, span, command, &mut parts.call);
}

/// Counts late replies among the others unless they have to be told apart: for mode `auto`, and for spans of commands. A
/// pipeline of mixed commands is otherwise one run, which takes less memory.
#[inline]
pub(super) fn told_apart(answer: Answer, policy: &Policy) -> Answer {
    match answer {
        Answer::LateReplies(count) if !policy.commands.any() && !policy.uses(Mode::Auto) => Answer::Replies(count),
        answer => answer,
    }
}

/// The span of a command. A transaction's span begins at `MULTI`, so `EXEC` has none of its own.
fn span_of(
    answer: Answer,
    name: &[u8],
    start: UnixNanos,
    attribution: Option<&Attribution>,
    parts: &mut Parts<'_>,
) -> Option<SpanRecord> {
    if parts.call.env.policy.commands == Commands::Caused && attribution.is_none() {
        return None;
    }
    let has_span = !matches!(answer, Answer::Exec { .. } | Answer::Discard | Answer::Silent | Answer::ClientReply(_));
    let has_span = has_span && !commands::manages_connection(name);
    let (begins_transaction, is_queued) = (matches!(answer, Answer::Multi), parts.pairing.is_queueing());
    let database = parts.pairing.database();
    let span = || command_span(name, database, start, begins_transaction, is_queued, attribution, &mut parts.call);
    has_span.then(span).flatten()
}
