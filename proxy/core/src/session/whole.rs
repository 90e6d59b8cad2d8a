//! The short way: requests, replies and messages that are completely in the input.
//!
//! Most frames of a busy connection arrive whole and are nothing unusual. What is not handled here is left, untouched, to
//! the resumable readers, which decide alone what bytes mean; that both ways do the same is tested by cutting the same
//! stream in different ways.

use super::Parts;
use super::command::Command;
use super::hold::Splice;
use super::input::Input;
use super::output::Output;
use super::pairing::Reply;
use super::server::{MAX_PATTERN_LEN, reply_of_line};
use super::tracer::{Delivery, Publish, Traced, Unread};
use crate::counts::Counter;
use crate::policy::{Commands, MAX_CHANNEL_LEN};
use crate::resp::whole;

/// Lines up to this length, in bytes, are read where they are. `+QUEUED` and the receivers of a publish are shorter.
const MAX_SHORT_LINE_LEN: usize = 24;

/// Handles a request that needs no look at its arguments, as nearly all do, or that is a publish.
pub(super) fn request(input: &mut Input<'_>, parts: &mut Parts<'_>) -> bool {
    let Some(request) = whole::Request::read(input.bytes, input.pos) else { return false };
    if let Some(Command::Publish { sharded }) = Command::publish(request.name, request.count) {
        return publish(&request, sharded, input, parts);
    }
    let told_apart = parts.tracer.uses_auto() && Command::may_block(request.name);
    if !Command::is_ordinary(request.name) || told_apart || parts.tracer.policy().commands == Commands::All {
        return false;
    }
    parts.call.out.counts.count(Counter::Commands);
    parts.pairing.ordinary_request(&mut parts.call);
    input.pos = request.end;
    true
}

fn publish(request: &whole::Request<'_>, sharded: bool, input: &mut Input<'_>, parts: &mut Parts<'_>) -> bool {
    let Some((channel, header)) = whole::bulk(input.bytes, request.after_name) else { return false };
    let Some((payload, end)) = whole::bulk(input.bytes, header) else { return false };
    let channel = (channel.len() <= MAX_CHANNEL_LEN).then_some(channel);
    let (len, start) = (payload.len(), parts.call.now);
    parts.pairing.time(start);
    let wanted = parts.tracer.wants_publish(channel, len as u64, &mut parts.call);
    let (span, witness) = match channel {
        Some(channel) if wanted => {
            let authenticated = parts.pairing.is_authenticated();
            let prompt = parts.tracer.uses_auto() && parts.pairing.answers_promptly();
            let publish = Publish { channel, payload, sharded, authenticated, prompt, start };
            let Traced { splice, span, witness } = parts.tracer.publish(&publish, parts.ids, &mut parts.call);
            if let Some(splice) = splice {
                rewrite(header, len, end, &splice, input, parts.call.out);
            }
            (span, witness)
        }
        Some(channel) => {
            let watched = parts.call.out.watched;
            (parts.tracer.publish_unread(channel, sharded, len as u64, parts.ids, start, watched), None)
        }
        None => (None, None),
    };
    input.pos = end;
    parts.call.out.counts.count(Counter::Commands);
    parts.call.out.counts.count(Counter::Published);
    parts.pairing.publish(span, witness, &mut parts.call);
    true
}

/// Handles a reply that is a bulk string or a short line. `kind` is its type byte.
pub(super) fn reply(input: &mut Input<'_>, kind: u8, parts: &mut Parts<'_>) -> bool {
    let Some((reply, end)) = scalar(input.bytes, input.pos, kind) else { return false };
    parts.pairing.reply(reply, &mut parts.call);
    input.pos = end;
    true
}

fn scalar(bytes: &[u8], pos: usize, kind: u8) -> Option<(Reply<'_>, usize)> {
    match kind {
        b'$' => whole::bulk(bytes, pos).map(|(_, end)| (Reply::Other, end)),
        b'+' | b':' => {
            let near = bytes.get(pos + 1..bytes.len().min(pos + MAX_SHORT_LINE_LEN))?;
            let len = near.iter().position(|&byte| byte == b'\r')?;
            (near.get(len + 1) == Some(&b'\n')).then_some(())?;
            Some((reply_of_line(kind, near.get(..len)?), pos + len + 3))
        }
        _ => None,
    }
}

/// Handles a message on a subscription. `kind` is its type byte.
pub(super) fn message(input: &mut Input<'_>, kind: u8, parts: &mut Parts<'_>) -> bool {
    let certain = match kind {
        b'>' => true,
        b'*' => parts.pairing.expects_only_messages(),
        _ => false,
    };
    let Some(message) = certain.then(|| Message::read(input.bytes, input.pos, kind)).flatten() else { return false };
    let Message { channel, pattern, payload, sharded, header, end } = message;
    let len = payload.len();
    let channel = (channel.len() <= MAX_CHANNEL_LEN).then_some(channel);
    parts.call.out.counts.count(Counter::Delivered);
    if kind == b'*' {
        parts.pairing.message();
    }
    let wanted = parts.tracer.wants_delivery(channel, len as u64, &mut parts.call);
    let pattern = pattern.filter(|pattern| pattern.len() <= MAX_PATTERN_LEN);
    if let Some(channel) = channel.filter(|_| !wanted) {
        parts.tracer.deliver_unread(&Unread { channel, pattern, len: len as u64, sharded }, &mut parts.call);
    } else if let Some(channel) = channel {
        let delivery = Delivery { channel, pattern, payload, sharded };
        if let Some(range) = parts.tracer.deliver(&delivery, parts.ids, &mut parts.call) {
            rewrite(header, len, end, &Splice { range, insert: &[] }, input, parts.call.out);
        }
    }
    input.pos = end;
    true
}

/// Sends what lies before the payload as it came, and the payload with `splice` applied. `header` is the position of the
/// payload's length, `end` the one behind its terminator.
fn rewrite(header: usize, len: usize, end: usize, splice: &Splice<'_>, input: &mut Input<'_>, out: &mut Output) {
    out.forward(input.bytes, input.sent..header);
    splice.apply(end - 2 - len..end - 2, input, out);
}

/// A `message`, `smessage` or `pmessage`.
struct Message<'a> {
    channel: &'a [u8],
    pattern: Option<&'a [u8]>,
    payload: &'a [u8],
    sharded: bool,
    /// Position of the payload's header.
    header: usize,
    /// Position behind the message.
    end: usize,
}

impl<'a> Message<'a> {
    /// Reads the message at `pos`.
    fn read(bytes: &'a [u8], pos: usize, kind: u8) -> Option<Self> {
        let (count, pos) = whole::header(bytes, kind, pos)?;
        let (word, pos) = whole::bulk(bytes, pos)?;
        let (sharded, is_pattern) = match (word, count) {
            (b"message", 3) => (false, false),
            (b"smessage", 3) => (true, false),
            (b"pmessage", 4) => (false, true),
            _ => return None,
        };
        let (pattern, pos) = if is_pattern {
            let (pattern, pos) = whole::bulk(bytes, pos)?;
            (Some(pattern), pos)
        } else {
            (None, pos)
        };
        let (channel, header) = whole::bulk(bytes, pos)?;
        let (payload, end) = whole::bulk(bytes, header)?;
        Some(Self { channel, pattern, payload, sharded, header, end })
    }
}
