//! What the session tells the inference of causes, and asks it (`--follow`).

use alloc::boxed::Box;

use super::{Parts, broadcasts, handovers, pushes};
use crate::commands::Answer;
use crate::rewrite::Publish;
use crate::service::{Attribution, Bulks, Event, ObservedCommand};
use crate::trace::{Operation, SpanContext};

/// The most spans that one is linked to because they have written what it has read.
const MAX_WRITERS: usize = 8;

/// What is known of the cause of a publish that is complete. `None` if causes are not followed.
#[inline]
pub(super) fn of_publish(publish: &Publish<'_>, payload: &[u8], parts: &mut Parts<'_>) -> Option<Box<Attribution>> {
    parts.call.env.inference.as_ref()?;
    ask_about_publish(publish, payload, parts)
}

#[cold]
#[inline(never)]
fn ask_about_publish(publish: &Publish<'_>, payload: &[u8], parts: &mut Parts<'_>) -> Option<Box<Attribution>> {
    let arguments = Bulks::new([publish.channel.unwrap_or_default(), payload]);
    let name: &[u8] = if publish.sharded { b"SPUBLISH" } else { b"PUBLISH" };
    ask(&ObservedCommand { name, database: parts.pairing.asked_database(), arguments }, parts)
}

/// What is known of the cause of the command `name`, which is complete and answered by `answer`. `frame` is its beginning in RESP.
/// `None` if causes are not followed, or if nothing causes such a command.
pub(super) fn of_command(answer: Answer, name: &[u8], frame: &[u8], parts: &mut Parts<'_>) -> Option<Box<Attribution>> {
    parts.call.env.inference.as_ref()?;
    if let Some(attribution) = handovers::of_read(answer, name, frame, parts) {
        return Some(attribution);
    }
    match answer {
        Answer::Replies(_) | Answer::Script | Answer::Multi | Answer::Exec { .. } | Answer::Discard => {
            let database = parts.pairing.asked_database();
            let attribution = ask(&ObservedCommand { name, database, arguments: Bulks::of_request(frame) }, parts);
            handovers::acknowledged(name, frame, parts);
            if matches!(answer, Answer::Script) {
                handovers::of_finish(attribution.as_ref().and_then(|asked| asked.command), name, frame, parts);
            }
            attribution
        }
        // One that blocks waits for something that is not there yet, which therefore did not cause it. The others set up the
        // connection.
        _ => None,
    }
}

fn ask(command: &ObservedCommand<'_>, parts: &mut Parts<'_>) -> Option<Box<Attribution>> {
    let now = parts.call.env.now;
    parts.call.env.inference.as_deref_mut().map(|inference| Box::new(inference.command(now, command)))
}

/// Tells the inference that the last reply has answered its command, if it wants to know. `frame` is the beginning of the reply
/// in RESP.
#[inline]
pub(super) fn replied<'a>(parts: &mut Parts<'_>, frame: impl FnOnce() -> &'a [u8]) {
    if parts.call.env.inference.is_some() {
        tell_reply(frame(), parts);
    }
}

#[cold]
#[inline(never)]
fn tell_reply(frame: &[u8], parts: &mut Parts<'_>) {
    let now = parts.call.env.now;
    pushes::added(frame, parts);
    broadcasts::ended(parts);
    if let Some(inference) = parts.call.env.inference.as_deref_mut()
        && let Some((command, event)) = parts.pairing.take_answered()
    {
        if let Some(read) = parts.reads.take(command) {
            return handovers::hand_over(&read, frame, parts);
        }
        let writers = inference.replied(now, command, Bulks::of_reply(frame));
        if !writers.is_empty() {
            link_to_writers(&writers, event, parts);
        }
    }
}

/// Links the span of the command that was answered to those who have written what it has read. If the span has ended, it is the
/// event with this number. In a transaction it is the transaction's span.
fn link_to_writers(writers: &[SpanContext], event: usize, parts: &mut Parts<'_>) {
    let span = match parts.call.out.events.get_mut(event) {
        Some(Event::SpanEnded(span)) => Some(span),
        _ => parts.pairing.executing_span(),
    };
    if let Some(span) = span.filter(|span| matches!(span.operation, Operation::Command { .. })) {
        let known = &mut span.inferred.get_or_insert_default().writers;
        for writer in writers {
            if known.len() < MAX_WRITERS && !known.contains(writer) {
                known.push(*writer);
            }
        }
    }
}
