//! The reader of the server's direction: replies, pushes and messages.
//!
//! Bytes are held back only from the header of a message's payload to the last byte of the payload, and only if it
//! may contain a context. The reader asks the pairing once for each frame what it is. Most frames are complete in the
//! input and are taken in one step. Whatever is unusual, incomplete or invalid is read byte by byte. Both ways lead
//! to the same decisions.

mod elements;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::Parts;
use super::attribution;
use super::capture::Capture;
use super::complete_message::CompleteMessage;
use super::pubsub_frame::{PubSubFrame, Role, Shape};
use super::stream_reply::StreamReply;
use crate::carrier::trailer;
use crate::counts::Counter;
use crate::output::Output;
use crate::pairing::{Frame, Messages, Next, Reply};
use crate::resp::complete::{self, decimal};
use crate::resp::{MAX_BULK_LEN, NumberLine, Progress, Scan, end_of_line};
use crate::rewrite::{Bulk, Hold, Input};

/// Longest part of a status, error or integer line that is kept, in bytes. It is enough for the error
/// that refuses `CLIENT REPLY`.
const MAX_LINE_LEN: usize = 128;

/// Longest address of a `MOVING` push, in bytes, that is left out. A longer one is none.
const MAX_ADDRESS_LEN: usize = 1024;

/// Longest line, in bytes, that is taken in one step. `+QUEUED` and the number of receivers of a publish are shorter.
const MAX_SHORT_LINE_LEN: usize = 24;

/// A resumable reader of replies.
#[derive(Debug)]
pub(super) struct ReplyReader {
    state: State,
    /// The line that is being read, without its type byte.
    line: Vec<u8>,
    frame: PubSubFrame,
    hold: Hold,
    capture: Capture,
    /// Whether the payload that is being read was admitted.
    admitted: bool,
    /// Reads replies with entries of streams, once there was one from which contexts are removed.
    entries: Option<Box<StreamReply>>,
    replication: bool,
}

#[derive(Debug)]
enum State {
    /// At the first byte of a frame.
    Start,
    /// In a frame that is one line.
    Line { kind: u8, carriage_return: bool },
    /// In the number after the type byte of a frame that has one.
    Header { kind: u8, next: Next, number: NumberLine },
    /// In the rest of a frame whose content is not needed.
    Rest { scan: Scan, frame: Frame },
    /// In a reply with entries of streams.
    Entries,
    /// At the type byte of an element of an array that may be a message or a confirmation.
    ElementType,
    /// In the first element of a push, which is a line.
    MovingWord { carriage_return: bool },
    /// In a further element of a `MOVING` push.
    MovingElement { scan: Scan },
    /// In the number after an element's `$`.
    ElementLength(NumberLine),
    /// In the body of an element.
    ElementBody { left: u64, len: u64 },
    /// In the CRLF after the body of an element.
    ElementEnd { left: u64 },
    /// In the count of a confirmation.
    ConfirmationCount(NumberLine),
    /// In bytes that are not RESP and go on as they come.
    Opaque,
}

impl ReplyReader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            line: Vec::new(),
            frame: PubSubFrame::new(),
            hold: Hold::default(),
            capture: Capture::default(),
            admitted: false,
            entries: None,
            replication: false,
        }
    }

    /// Whether the connection has become a replication link.
    pub(super) fn is_replication(&self) -> bool {
        self.replication
    }

    /// Stops reading.
    pub(super) fn become_opaque(&mut self) {
        self.state = State::Opaque;
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_within_frame(&self) -> bool {
        !matches!(self.state, State::Start)
    }

    pub(super) fn receive(&mut self, bytes: &[u8], parts: &mut Parts<'_>) {
        let mut input = Input::new(bytes);
        let input = &mut input;
        while let Some(byte) = input.peek() {
            match &mut self.state {
                State::Start => self.start(byte, input, parts),
                State::Line { kind, carriage_return } => {
                    let (kind, start) = (*kind, input.pos);
                    let ended = end_of_line(carriage_return, input.bytes, &mut input.pos);
                    let piece = input.since(start);
                    let room = MAX_LINE_LEN.saturating_sub(self.line.len());
                    self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
                    if ended {
                        self.state = State::Start;
                        if kind == b'-' && self.line.starts_with(b"REDIRECT ") {
                            parts.call.out.counts.count(Counter::RedirectionsRedirect);
                        }
                        parts.pairing.reply(reply_of_line(kind, without_end(&self.line)), &mut parts.call);
                        attribution::replied(parts, || self.capture.frame(input.bytes, input.pos));
                    }
                }
                State::Header { kind, next, number } => {
                    let (kind, next) = (*kind, *next);
                    match number.read(input.bytes, &mut input.pos) {
                        Progress::More => {}
                        Progress::Invalid => self.give_up(parts),
                        Progress::Done(number) => self.header(kind, next, number, input, parts),
                    }
                }
                State::Rest { scan, frame } => match scan.advance(input.bytes, &mut input.pos) {
                    Progress::More => {}
                    Progress::Invalid => self.give_up(parts),
                    Progress::Done(()) => {
                        let frame = *frame;
                        self.frame_ends(frame, input, parts);
                    }
                },
                State::Entries => self.entries(input, parts),
                State::ElementType => self.element_type(byte, input, parts),
                State::MovingWord { carriage_return } => {
                    let start = input.pos;
                    let ended = end_of_line(carriage_return, input.bytes, &mut input.pos);
                    self.frame.copy(input.since(start));
                    if ended {
                        self.frame.moving_line_ends();
                        self.next_element(input, parts);
                    }
                }
                State::MovingElement { scan } => match scan.advance(input.bytes, &mut input.pos) {
                    Progress::More if self.hold.exceeds(input, MAX_ADDRESS_LEN) => {
                        if self.frame.role() == Role::Address {
                            parts.call.out.counts.count(Counter::RedirectionsMovingPassed);
                        }
                        let scan = mem::replace(scan, Scan::values(0));
                        self.hold.release(input, parts.call.out);
                        self.state = State::Rest { scan, frame: Frame::Unasked };
                    }
                    Progress::More => {}
                    Progress::Invalid => self.give_up(parts),
                    Progress::Done(()) => {
                        if self.frame.role() == Role::Address {
                            self.address_ends(input, parts);
                        }
                        self.next_element(input, parts);
                    }
                },
                State::ElementLength(number) => match number.read(input.bytes, &mut input.pos) {
                    Progress::More => {}
                    Progress::Done(len @ 0..) if len.unsigned_abs() <= MAX_BULK_LEN => {
                        let len = len.unsigned_abs();
                        self.element_begins(input, len, parts);
                        self.state = State::ElementBody { left: len, len };
                        if len == 0 {
                            self.element_ends(input, 0, parts);
                        }
                    }
                    Progress::Done(-1) => {
                        // A null may stand for a name (`unsubscribe` without subscriptions) or for a payload (tracking).
                        if self.frame.role() == Role::Payload {
                            self.hold.release(input, parts.call.out);
                        }
                        self.next_element(input, parts);
                    }
                    _ => self.give_up(parts),
                },
                State::ElementBody { left, len } => {
                    let piece = input.take(left);
                    let (left, len) = (*left, *len);
                    self.frame.copy(piece);
                    if left == 0 {
                        self.element_ends(input, len, parts);
                    }
                }
                State::ElementEnd { left } => {
                    input.take(left);
                    if *left == 0 {
                        self.next_element(input, parts);
                    }
                }
                State::ConfirmationCount(number) => match number.read(input.bytes, &mut input.pos) {
                    Progress::More => {}
                    Progress::Done(count @ 0..) => {
                        self.state = State::Start;
                        self.confirmation(count.unsigned_abs(), input, parts);
                    }
                    _ => self.give_up(parts),
                },
                State::Opaque => break,
            }
        }
        self.hold.end_of_input(input, parts.call.out);
        if parts.call.env.inference.is_some() {
            self.capture.end_of_input(input.bytes, !matches!(self.state, State::Start | State::Opaque));
        }
    }

    /// The bytes of memory that are taken for what is held back.
    pub(super) fn bytes(&self) -> usize {
        self.hold.bytes() + self.capture.bytes()
    }

    /// Takes the end of the stream. Held bytes go on as they came.
    pub(super) fn end_of_stream(&mut self, out: &mut Output) {
        self.state = State::Opaque;
        self.hold.stop(out);
    }

    /// Stops reading, because these bytes are not RESP. All bytes go on as they come.
    fn give_up(&mut self, parts: &mut Parts<'_>) {
        self.hold.stop(parts.call.out);
        self.state = State::Opaque;
        parts.call.out.counts.count(Counter::OpaqueServer);
        parts.pairing.lose(&mut parts.call);
    }

    /// Begins a frame, whose type byte `kind` has not been taken yet.
    fn start(&mut self, kind: u8, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        let next = parts.pairing.next(kind, &mut parts.call);
        match next {
            Next::Replication => {
                parts.call.out.counts.count(Counter::OpaqueReplication);
                self.state = State::Opaque;
                self.replication = true;
                parts.pairing.untracked(&mut parts.call);
                return parts.pairing.close(None, &mut parts.call);
            }
            Next::Other(Frame::Reply) if complete_reply(input, kind, parts) => return,
            Next::PubSub { messages: Messages::All, .. } if complete_message(input, kind, parts) => return,
            _ => {}
        }
        self.capture.begin(input.pos, parts.reads.most_kept(parts.call.env.memory_is_scarce));
        if let Next::Entries(from) = next {
            self.entries.get_or_insert_default().begin(from);
            self.state = State::Entries;
            return;
        }
        input.pos += 1;
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => {
                self.line.clear();
                self.state = State::Line { kind, carriage_return: false };
            }
            b'$' | b'=' | b'!' | b'*' | b'~' | b'%' | b'|' | b'>' => {
                self.state = State::Header { kind, next, number: NumberLine::default() };
            }
            _ => self.give_up(parts),
        }
    }

    fn header(&mut self, kind: u8, next: Next, number: i64, input: &Input<'_>, parts: &mut Parts<'_>) {
        let Ok(count) = u64::try_from(number) else {
            self.state = State::Start;
            return match (kind, number) {
                (b'$' | b'*', -1) => {
                    parts.pairing.reply(Reply::Null, &mut parts.call);
                    attribution::replied(parts, || &[]);
                }
                _ => self.give_up(parts),
            };
        };
        let frame = match next {
            Next::Transaction => {
                self.state = State::Start;
                return parts.pairing.exec_begins(count, &mut parts.call);
            }
            Next::PubSub { messages, otherwise } if Shape::is_possible(count) => {
                self.frame.begin(kind == b'>', count, messages, otherwise);
                self.state = State::ElementType;
                return;
            }
            Next::PubSub { otherwise, .. } | Next::Other(otherwise) => otherwise,
            // This does not happen, because a replication link ends the reading at its first byte, and entries have a reader of
            // their own.
            Next::Replication | Next::Entries(_) => Frame::Reply,
        };
        let scan = match kind {
            b'$' | b'=' | b'!' => Scan::bulk_body(count, 0),
            b'%' | b'|' => count.checked_mul(2).map(Scan::values),
            _ => Some(Scan::values(count)),
        };
        match scan {
            // The pairing is lost, so the end of the frame does not matter.
            Some(_) if frame == Frame::Elements => self.state = State::Start,
            Some(scan) if scan.is_done() => self.frame_ends(frame, input, parts),
            Some(scan) => self.state = State::Rest { scan, frame },
            None => self.give_up(parts),
        }
    }

    /// Reads on in a reply with entries of streams.
    fn entries(&mut self, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        let reader = self.entries.get_or_insert_default();
        match reader.advance(input, &mut self.hold, &mut parts.call) {
            Progress::More => {}
            Progress::Invalid => self.give_up(parts),
            Progress::Done(is_null) => {
                self.state = State::Start;
                parts.pairing.reply(if is_null { Reply::Null } else { Reply::Other }, &mut parts.call);
                attribution::replied(parts, || self.capture.frame(input.bytes, input.pos));
            }
        }
    }

    /// Ends a frame that is neither a message nor a confirmation.
    fn frame_ends(&mut self, frame: Frame, input: &Input<'_>, parts: &mut Parts<'_>) {
        self.state = State::Start;
        if frame == Frame::Reply {
            parts.pairing.reply(Reply::Other, &mut parts.call);
            attribution::replied(parts, || self.capture.frame(input.bytes, input.pos));
        }
    }
}

/// Takes a message that is complete in the input.
fn complete_message(input: &mut Input<'_>, kind: u8, parts: &mut Parts<'_>) -> bool {
    let Some(complete) = CompleteMessage::read(input.bytes, input.pos) else { return false };
    let CompleteMessage { message, len, header, end } = complete;
    delivered(kind == b'>', parts);
    if parts.deliver.admit(&message, u64::try_from(len).unwrap_or(u64::MAX), &mut parts.call) {
        let payload = Bulk::within(input.bytes, header, len, end);
        if parts.deliver.decide(&message, payload, &mut parts.call) {
            input.edit(header, parts.deliver.edits(), parts.call.out);
        }
    }
    input.pos = end;
    true
}

/// Whether a payload ends in a context that this connection has published.
fn is_own(payload: &[u8], parts: &Parts<'_>) -> bool {
    trailer::find(payload)
        .and_then(|added| added.context)
        .is_some_and(|context| parts.pairing.is_own(context.span.span_id))
}

fn delivered(push: bool, parts: &mut Parts<'_>) {
    parts.call.out.counts.count(Counter::Delivered);
    parts.pairing.message(push);
}

/// Takes a reply that is a bulk string or a short line and complete in the input. `kind` is its type byte.
fn complete_reply(input: &mut Input<'_>, kind: u8, parts: &mut Parts<'_>) -> bool {
    let (reply, end) = match kind {
        b'$' => match complete::bulk(input.bytes, input.pos) {
            Some((_, end)) => (Reply::Other, end),
            None => return false,
        },
        b'+' | b':' => match complete::line(input.bytes, input.pos, MAX_SHORT_LINE_LEN) {
            Some((line, end)) => (reply_of_line(kind, line), end),
            None => return false,
        },
        _ => return false,
    };
    parts.pairing.reply(reply, &mut parts.call);
    attribution::replied(parts, || input.bytes.get(input.pos..end).unwrap_or_default());
    input.pos = end;
    true
}

/// The line without its CRLF. Only a part of the CRLF may have been kept, or none.
fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\r")).unwrap_or(line)
}

fn reply_of_line(kind: u8, line: &[u8]) -> Reply<'_> {
    match kind {
        b'+' => Reply::Status(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Integer(decimal(line)),
        b'_' => Reply::Null,
        _ => Reply::Other,
    }
}
