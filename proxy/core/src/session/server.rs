//! The server's direction: replies, pushes and messages.
//!
//! A byte waits only from a message's payload header to the payload's last byte, and only if a context may be in it.
//! Whether an array is a message, a confirmation or somebody's reply is asked of the pairing when its header is read.

use alloc::vec::Vec;
use core::mem;

use super::Parts;
use super::hold::{Hold, Splice};
use super::input::Input;
use super::message::{Meaning, Message, Role, Shape};
use super::output::Output;
use super::pairing::{Pairing, Reply};
use super::tracer::{Delivery, Unread};
use super::whole;
use crate::counts::Counter;
use crate::policy::MAX_CHANNEL_LEN;
use crate::resp::whole::decimal;
use crate::resp::{MAX_BULK_LEN, NumberLine, Progress, Scan, end_of_line};

/// How much of a status, error or integer line is kept, in bytes: enough for a refusal of `CLIENT REPLY`.
const MAX_LINE_LEN: usize = 128;

/// Longest pattern that a span names, in bytes.
pub(super) const MAX_PATTERN_LEN: usize = MAX_CHANNEL_LEN;

/// Reads replies, resumably.
#[derive(Debug)]
pub(super) struct ServerHalf {
    state: State,
    /// The line that is being read, without its type byte.
    line: Vec<u8>,
    message: Message,
    hold: Hold,
    replication: bool,
}

#[derive(Debug)]
enum State {
    /// At the first byte of a frame.
    Start,
    /// In a frame that is one line.
    Line { kind: u8, carriage_return: bool },
    /// In the number behind the type byte of a frame that has one.
    Header { kind: u8, number: NumberLine },
    /// In the rest of a frame whose content does not matter.
    Rest { scan: Scan, meaning: Meaning },
    /// At the type byte of an element of an array that may be a message or a confirmation.
    ElementType,
    /// In the number behind an element's `$`.
    ElementLength(NumberLine),
    /// In an element's bytes.
    ElementBody { left: u64, len: u64 },
    /// In the CRLF behind an element's bytes.
    ElementEnd { left: u64 },
    /// In the count of a confirmation.
    ConfirmationCount(NumberLine),
    /// Not RESP any more: bytes go on as they come.
    Opaque,
}

impl ServerHalf {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            line: Vec::new(),
            message: Message::default(),
            hold: Hold::default(),
            replication: false,
        }
    }

    /// Whether the connection has become a replica's link.
    pub(super) fn is_replication(&self) -> bool {
        self.replication
    }

    pub(super) fn receive(&mut self, bytes: &[u8], parts: &mut Parts<'_>) {
        let mut input = Input::new(bytes);
        let input = &mut input;
        while let Some(byte) = input.peek() {
            match &mut self.state {
                State::Start => {
                    let kind = byte;
                    if kind != b'-' && parts.pairing.awaits_sync() {
                        parts.call.out.counts.count(Counter::OpaqueReplication);
                        self.state = State::Opaque;
                        self.replication = true;
                        parts.pairing.unaccountable(&mut parts.call);
                        parts.pairing.close(None, &mut parts.call);
                        continue;
                    }
                    if whole::reply(input, kind, parts) || whole::message(input, kind, parts) {
                        continue;
                    }
                    input.pos += 1;
                    match kind {
                        b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => {
                            self.line.clear();
                            self.state = State::Line { kind, carriage_return: false };
                        }
                        b'$' | b'=' | b'!' | b'*' | b'~' | b'%' | b'|' | b'>' => {
                            self.state = State::Header { kind, number: NumberLine::default() };
                        }
                        _ => self.give_up(parts),
                    }
                }
                State::Line { kind, carriage_return } => {
                    let (kind, start) = (*kind, input.pos);
                    let ended = end_of_line(carriage_return, input.bytes, &mut input.pos);
                    let room = MAX_LINE_LEN.saturating_sub(self.line.len());
                    self.line.extend_from_slice(&input.bytes[start..input.pos.min(start + room)]);
                    if ended {
                        self.state = State::Start;
                        parts.pairing.reply(reply_of_line(kind, without_end(&self.line)), &mut parts.call);
                    }
                }
                State::Header { kind, number } => {
                    let kind = *kind;
                    match number.read(input.bytes, &mut input.pos) {
                        Progress::More => {}
                        Progress::Invalid => self.give_up(parts),
                        Progress::Done(number) => self.header(kind, number, parts),
                    }
                }
                State::Rest { scan, meaning } => match scan.advance(input.bytes, &mut input.pos) {
                    Progress::More => {}
                    Progress::Invalid => self.give_up(parts),
                    Progress::Done(()) => {
                        let meaning = *meaning;
                        self.state = State::Start;
                        if meaning == Meaning::Reply {
                            parts.pairing.reply(Reply::Other, &mut parts.call);
                        }
                    }
                },
                State::ElementType => self.element_type(byte, input, parts),
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
                        // A null where a name or a payload may stand: `unsubscribe` without subscriptions, tracking.
                        if self.message.role() == Role::Payload {
                            self.hold.release(input, parts.call.out);
                        }
                        self.next_element(parts);
                    }
                    _ => self.give_up(parts),
                },
                State::ElementBody { left, len } => {
                    let piece = input.take(left);
                    let (left, len) = (*left, *len);
                    self.message.copy(piece);
                    if left == 0 {
                        self.element_ends(input, len, parts);
                    }
                }
                State::ElementEnd { left } => {
                    input.take(left);
                    if *left == 0 {
                        self.next_element(parts);
                    }
                }
                State::ConfirmationCount(number) => match number.read(input.bytes, &mut input.pos) {
                    Progress::More => {}
                    Progress::Done(count @ 0..) => {
                        self.state = State::Start;
                        self.confirmation(count.unsigned_abs(), parts);
                    }
                    _ => self.give_up(parts),
                },
                State::Opaque => break,
            }
        }
        self.hold.end_of_input(input, parts.call.out);
    }

    /// The server has sent its last byte: what was held goes on as it came.
    pub(super) fn end_of_stream(&mut self, out: &mut Output) {
        self.state = State::Opaque;
        self.hold.stop(out);
    }

    /// These bytes are no RESP: from here on they go on as they come.
    fn give_up(&mut self, parts: &mut Parts<'_>) {
        self.hold.stop(parts.call.out);
        self.state = State::Opaque;
        parts.call.out.counts.count(Counter::OpaqueServer);
        parts.pairing.lose(&mut parts.call);
    }

    fn header(&mut self, kind: u8, number: i64, parts: &mut Parts<'_>) {
        let Ok(count) = u64::try_from(number) else {
            self.state = State::Start;
            return match (kind, number) {
                (b'$' | b'*', -1) => parts.pairing.reply(Reply::Null, &mut parts.call),
                _ => self.give_up(parts),
            };
        };
        if kind == b'*' {
            parts.pairing.array_begins(&mut parts.call);
        }
        let rest = |scan, meaning| Some(State::Rest { scan, meaning });
        let state = match kind {
            b'*' if parts.pairing.awaits_exec() => {
                parts.pairing.exec_begins(count, &mut parts.call);
                Some(State::Start)
            }
            b'>' | b'*' if may_matter(kind, count, parts.pairing) => {
                self.message.begin(kind == b'>', count, kind == b'>' || parts.pairing.expects_messages());
                Some(State::ElementType)
            }
            b'$' | b'=' | b'!' => Scan::bulk_body(count, 0).and_then(|scan| rest(scan, Meaning::Reply)),
            // Nobody waits for the end of a reply any more, but what is in it may be a push or a confirmation.
            b'*' | b'~' | b'%' | b'|' if parts.pairing.is_lost() => Some(State::Start),
            b'*' | b'~' => rest(Scan::values(count), Meaning::Reply),
            b'>' => rest(Scan::values(count), Meaning::Nothing),
            b'%' => count.checked_mul(2).and_then(|count| rest(Scan::values(count), Meaning::Reply)),
            _ => count.checked_mul(2).and_then(|count| rest(Scan::values(count), Meaning::Nothing)),
        };
        match state {
            // An aggregate without elements has no further byte to end at.
            Some(State::Rest { meaning, .. }) if count == 0 && !matches!(kind, b'$' | b'=' | b'!') => {
                self.state = State::Start;
                if meaning == Meaning::Reply {
                    parts.pairing.reply(Reply::Other, &mut parts.call);
                }
            }
            Some(state) => self.state = state,
            None => self.give_up(parts),
        }
    }

    fn element_type(&mut self, kind: u8, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        let message = &self.message;
        let is_confirmation = matches!(message.shape, Shape::Confirmation { .. });
        let is_last = message.index + 1 == message.count;
        self.state = match kind {
            b':' if is_confirmation && is_last => {
                input.pos += 1;
                State::ConfirmationCount(NumberLine::default())
            }
            // RESP3's null for a name is a line without content.
            b'_' if is_confirmation && message.index == 1 => {
                input.pos += 1;
                State::ElementEnd { left: 2 }
            }
            b'$' if !(is_confirmation && is_last) => {
                if message.role() == Role::Payload {
                    self.hold.begin(input, input.pos, parts.call.out);
                }
                input.pos += 1;
                State::ElementLength(NumberLine::default())
            }
            // Not what it looked like: somebody's reply, or an invalidation.
            _ if parts.pairing.is_lost() => State::Start,
            _ => State::Rest { scan: Scan::values(message.count - message.index), meaning: message.meaning() },
        };
    }

    fn element_begins(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        let message = &mut self.message;
        match message.role() {
            Role::Pattern => message.pattern_too_long = len > MAX_PATTERN_LEN as u64,
            Role::Channel | Role::Name => message.channel_too_long = len > MAX_CHANNEL_LEN as u64,
            Role::Payload => {
                let channel = (!message.channel_too_long).then_some(&*message.channel);
                message.holding = parts.tracer.wants_delivery(channel, len, &mut parts.call);
                if message.holding {
                    self.hold.expect(input, len as usize); // within the strip limit
                } else {
                    self.hold.release(input, parts.call.out);
                    if let Some(channel) = channel {
                        let (pattern, sharded) = (message.pattern(), message.is_sharded());
                        parts.tracer.deliver_unread(&Unread { channel, pattern, len, sharded }, &mut parts.call);
                    }
                }
            }
            Role::Word | Role::Unread => {}
        }
    }

    fn element_ends(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        self.state = State::ElementEnd { left: 2 };
        let message = &mut self.message;
        match message.role() {
            Role::Word => message.word_ends(),
            Role::Payload => {
                parts.call.out.counts.count(Counter::Delivered);
                if !message.push {
                    parts.pairing.message();
                }
                if !mem::take(&mut message.holding) {
                    return;
                }
                let len = len as usize; // it was held, so it is within the strip limit
                let payload = self.hold.payload(input, len);
                let delivery = Delivery {
                    channel: &message.channel,
                    pattern: message.pattern(),
                    payload,
                    sharded: message.is_sharded(),
                };
                match parts.tracer.deliver(&delivery, parts.ids, &mut parts.call) {
                    Some(range) => {
                        let splice = Splice { range, insert: &[] };
                        self.hold.finish(input, len, &splice, parts.call.out);
                    }
                    None => self.hold.release(input, parts.call.out),
                }
            }
            _ => {}
        }
    }

    fn next_element(&mut self, parts: &mut Parts<'_>) {
        let message = &mut self.message;
        message.index += 1;
        let left = message.count - message.index;
        if left > 0 && message.shape != Shape::Unknown {
            self.state = State::ElementType;
            return;
        }
        let meaning = message.meaning();
        self.state = State::Rest { scan: Scan::values(left), meaning };
        if left == 0 || parts.pairing.is_lost() {
            self.state = State::Start;
            if meaning == Meaning::Reply {
                parts.pairing.reply(Reply::Other, &mut parts.call);
            }
        }
    }

    fn confirmation(&mut self, count: u64, parts: &mut Parts<'_>) {
        let Shape::Confirmation { kind, subscribe } = self.message.shape else { return };
        if parts.pairing.confirmation(kind, subscribe, count, self.message.push, &mut parts.call) {
            let name = (!self.message.channel_too_long).then_some(&*self.message.channel);
            parts.pairing.report_confirmation(kind, subscribe, name, count, &mut parts.call);
        } else {
            parts.pairing.reply(Reply::Other, &mut parts.call);
        }
    }
}

/// Whether an array or push may be a message or a confirmation.
fn may_matter(kind: u8, count: u64, pairing: &Pairing) -> bool {
    matches!(count, 3 | 4) && (kind == b'>' || pairing.awaits_confirmation() || pairing.expects_messages())
}

/// The line without its CRLF, of which only a part may have been kept.
fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\r")).unwrap_or(line)
}

pub(super) fn reply_of_line(kind: u8, line: &[u8]) -> Reply<'_> {
    match kind {
        b'+' => Reply::Status(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Integer(decimal(line).map(|number| number as u64)),
        b'_' => Reply::Null,
        _ => Reply::Other,
    }
}
