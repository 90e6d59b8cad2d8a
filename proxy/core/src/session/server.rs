//! The server's direction: replies, pushes and messages.
//!
//! A byte waits only from a message's payload header to the payload's last byte, and only if a context may be in it.
//! Whether an array is a message, a confirmation or somebody's reply is asked of the pairing when its header is read.

use alloc::vec::Vec;
use core::mem;

use super::Call;
use super::counts::Counter;
use super::hold::{Hold, Splice};
use super::message::{Meaning, Message, Role, Shape};
use super::pairing::{Pairing, Reply};
use super::policy::MAX_CHANNEL_LEN;
use super::tracer::{Delivery, Tracer};
use crate::resp::{MAX_BULK_LEN, NumberLine, Progress, Scan, end_of_line, whole};
use crate::trace::Ids;

/// How much of a status, error or integer line is kept, in bytes: enough for a refusal of `CLIENT REPLY`.
const MAX_LINE_LEN: usize = 128;

/// Lines up to this length, in bytes, are read where they are. `+QUEUED` and the receivers of a publish are shorter.
const MAX_SHORT_LINE_LEN: usize = 24;

/// Longest pattern that a span names, in bytes.
const MAX_PATTERN_LEN: usize = MAX_CHANNEL_LEN;

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
    ElementEnd { left: u8 },
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

    pub(super) fn receive(
        &mut self,
        input: &[u8],
        tracer: &mut Tracer,
        pairing: &mut Pairing,
        ids: &mut dyn Ids,
        call: &mut Call<'_>,
    ) {
        let mut pos = 0;
        let mut sent = 0;
        while pos < input.len() {
            match &mut self.state {
                State::Start => {
                    let kind = input[pos];
                    if kind != b'-' && pairing.awaits_sync() {
                        call.out.counts.count(Counter::OpaqueReplication);
                        self.state = State::Opaque;
                        self.replication = true;
                        pairing.close(None, call);
                        continue;
                    }
                    if let Some(end) = whole_reply(input, pos, kind, pairing, call) {
                        pos = end;
                        continue;
                    }
                    pos += 1;
                    match kind {
                        b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => {
                            self.line.clear();
                            self.state = State::Line { kind, carriage_return: false };
                        }
                        b'$' | b'=' | b'!' | b'*' | b'~' | b'%' | b'|' | b'>' => {
                            self.state = State::Header { kind, number: NumberLine::default() };
                        }
                        _ => self.give_up(pairing, call),
                    }
                }
                State::Line { kind, carriage_return } => {
                    let (kind, start) = (*kind, pos);
                    let ended = end_of_line(carriage_return, input, &mut pos);
                    let room = MAX_LINE_LEN.saturating_sub(self.line.len());
                    self.line.extend_from_slice(&input[start..pos.min(start + room)]);
                    if ended {
                        self.state = State::Start;
                        pairing.reply(reply_of_line(kind, without_end(&self.line)), call);
                    }
                }
                State::Header { kind, number } => {
                    let kind = *kind;
                    match number.read(input, &mut pos) {
                        Progress::More => {}
                        Progress::Invalid => self.give_up(pairing, call),
                        Progress::Done(number) => self.header(kind, number, pairing, call),
                    }
                }
                State::Rest { scan, meaning } => match scan.advance(input, &mut pos) {
                    Progress::More => {}
                    Progress::Invalid => self.give_up(pairing, call),
                    Progress::Done(()) => {
                        let meaning = *meaning;
                        self.state = State::Start;
                        if meaning == Meaning::Reply {
                            pairing.reply(Reply::Other, call);
                        }
                    }
                },
                State::ElementType => self.element_type(input[pos], &mut pos, &mut sent, call),
                State::ElementLength(number) => match number.read(input, &mut pos) {
                    Progress::More => {}
                    Progress::Done(len @ 0..) if len.unsigned_abs() <= MAX_BULK_LEN => {
                        let len = len.unsigned_abs();
                        self.element_begins(input, pos, &mut sent, len, tracer, call);
                        self.state = State::ElementBody { left: len, len };
                        if len == 0 {
                            self.element_ends(input, pos, &mut sent, 0, tracer, ids, call);
                        }
                    }
                    Progress::Done(-1) => {
                        // A null where a name or a payload may stand: `unsubscribe` without subscriptions, tracking.
                        if self.message.role() == Role::Payload {
                            self.hold.release(&mut sent, pos, call.out);
                        }
                        self.next_element(pairing, call);
                    }
                    _ => self.give_up(pairing, call),
                },
                State::ElementBody { left, len } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len() - pos);
                    let piece = &input[pos..pos + here];
                    pos += here;
                    *left -= here as u64;
                    let (left, len) = (*left, *len);
                    self.message.copy(piece);
                    if left == 0 {
                        self.element_ends(input, pos, &mut sent, len, tracer, ids, call);
                    }
                }
                State::ElementEnd { left } => {
                    let here = usize::from(*left).min(input.len() - pos);
                    pos += here;
                    *left -= here as u8; // at most 2
                    if *left == 0 {
                        self.next_element(pairing, call);
                    }
                }
                State::ConfirmationCount(number) => match number.read(input, &mut pos) {
                    Progress::More => {}
                    Progress::Done(count @ 0..) => {
                        self.state = State::Start;
                        self.confirmation(count.unsigned_abs(), pairing, call);
                    }
                    _ => self.give_up(pairing, call),
                },
                State::Opaque => break,
            }
        }
        self.hold.end_of_input(input, sent, call.out);
    }

    /// The server has sent its last byte: what was held goes on as it came.
    pub(super) fn end_of_stream(&mut self, call: &mut Call<'_>) {
        self.state = State::Opaque;
        self.hold.stop(call.out);
    }

    /// These bytes are no RESP: from here on they go on as they come.
    fn give_up(&mut self, pairing: &mut Pairing, call: &mut Call<'_>) {
        self.hold.stop(call.out);
        self.state = State::Opaque;
        call.out.counts.count(Counter::OpaqueServer);
        pairing.lose(call);
    }

    fn header(&mut self, kind: u8, number: i64, pairing: &mut Pairing, call: &mut Call<'_>) {
        let Ok(count) = u64::try_from(number) else {
            self.state = State::Start;
            return match (kind, number) {
                (b'$' | b'*', -1) => pairing.reply(Reply::Null, call),
                _ => self.give_up(pairing, call),
            };
        };
        if kind == b'*' {
            pairing.array_begins(call);
        }
        let rest = |scan, meaning| Some(State::Rest { scan, meaning });
        let state = match kind {
            b'*' if pairing.awaits_exec() => {
                pairing.exec_begins(count, call);
                Some(State::Start)
            }
            b'>' | b'*' if self.may_matter(kind, count, pairing) => {
                self.message.begin(kind == b'>', count, kind == b'>' || pairing.expects_messages());
                Some(State::ElementType)
            }
            b'$' | b'=' | b'!' => Scan::bulk_body(count, 0).and_then(|scan| rest(scan, Meaning::Reply)),
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
                    pairing.reply(Reply::Other, call);
                }
            }
            Some(state) => self.state = state,
            None => self.give_up(pairing, call),
        }
    }

    fn may_matter(&self, kind: u8, count: u64, pairing: &Pairing) -> bool {
        matches!(count, 3 | 4) && (kind == b'>' || pairing.awaits_confirmation() || pairing.expects_messages())
    }

    fn element_type(&mut self, kind: u8, pos: &mut usize, sent: &mut usize, call: &mut Call<'_>) {
        let message = &self.message;
        let is_confirmation = matches!(message.shape, Shape::Confirmation { .. });
        let is_last = message.index + 1 == message.count;
        self.state = match kind {
            b':' if is_confirmation && is_last => {
                *pos += 1;
                State::ConfirmationCount(NumberLine::default())
            }
            // RESP3's null for a name is a line without content.
            b'_' if is_confirmation && message.index == 1 => {
                *pos += 1;
                State::ElementEnd { left: 2 }
            }
            b'$' if !(is_confirmation && is_last) => {
                if message.role() == Role::Payload {
                    self.hold.begin(sent, *pos, call.out);
                }
                *pos += 1;
                State::ElementLength(NumberLine::default())
            }
            // Not what it looked like: somebody's reply, or an invalidation.
            _ => State::Rest { scan: Scan::values(message.count - message.index), meaning: message.meaning() },
        };
    }

    fn element_begins(
        &mut self,
        input: &[u8],
        pos: usize,
        sent: &mut usize,
        len: u64,
        tracer: &Tracer,
        call: &mut Call<'_>,
    ) {
        let message = &mut self.message;
        match message.role() {
            Role::Pattern => message.pattern_too_long = len > MAX_PATTERN_LEN as u64,
            Role::Channel => message.channel_too_long = len > MAX_CHANNEL_LEN as u64,
            Role::Payload => {
                let channel = (!message.channel_too_long).then_some(&*message.channel);
                message.holding = tracer.wants_delivery(channel, len, call);
                if message.holding {
                    self.hold.expect(len as usize, input.len() - pos); // within the strip limit
                } else {
                    self.hold.release(sent, pos, call.out);
                }
            }
            Role::Word | Role::Unread => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call's view of the session, passed down once")]
    fn element_ends(
        &mut self,
        input: &[u8],
        pos: usize,
        sent: &mut usize,
        len: u64,
        tracer: &mut Tracer,
        ids: &mut dyn Ids,
        call: &mut Call<'_>,
    ) {
        self.state = State::ElementEnd { left: 2 };
        let message = &mut self.message;
        match message.role() {
            Role::Word => message.word_ends(),
            Role::Payload => {
                call.out.counts.count(Counter::Delivered);
                if !mem::take(&mut message.holding) {
                    return;
                }
                let len = len as usize; // it was held, so it is within the strip limit
                let payload = self.hold.payload(input, sent, pos, len);
                let is_pattern = message.shape == Shape::PatternMessage && !message.pattern_too_long;
                let delivery = Delivery {
                    channel: &message.channel,
                    pattern: is_pattern.then_some(&*message.pattern),
                    payload,
                    sharded: message.shape == Shape::Message { sharded: true },
                };
                match tracer.deliver(&delivery, ids, call) {
                    Some(range) => {
                        let splice = Splice { range, insert: &[] };
                        self.hold.finish(input, sent, pos, len, &splice, call.out);
                    }
                    None => self.hold.release(sent, pos, call.out),
                }
            }
            _ => {}
        }
    }

    fn next_element(&mut self, pairing: &mut Pairing, call: &mut Call<'_>) {
        let message = &mut self.message;
        message.index += 1;
        let left = message.count - message.index;
        if left > 0 && message.shape != Shape::Unknown {
            self.state = State::ElementType;
            return;
        }
        let meaning = message.meaning();
        self.state = State::Rest { scan: Scan::values(left), meaning };
        if left == 0 {
            self.state = State::Start;
            if meaning == Meaning::Reply {
                pairing.reply(Reply::Other, call);
            }
        }
    }

    fn confirmation(&mut self, count: u64, pairing: &mut Pairing, call: &mut Call<'_>) {
        let Shape::Confirmation { kind, subscribe } = self.message.shape else { return };
        if !pairing.confirmation(kind, subscribe, count, self.message.push, call) {
            pairing.reply(Reply::Other, call);
        }
    }
}

/// Handles a scalar reply that is completely in the input, and gives the position behind it.
fn whole_reply(input: &[u8], pos: usize, kind: u8, pairing: &mut Pairing, call: &mut Call<'_>) -> Option<usize> {
    match kind {
        b'$' => {
            let (_, end) = whole::bulk(input, pos)?;
            pairing.reply(Reply::Other, call);
            Some(end)
        }
        b'+' | b':' => {
            let near = input.get(pos + 1..input.len().min(pos + MAX_SHORT_LINE_LEN))?;
            let len = near.iter().position(|&byte| byte == b'\r')?;
            if near.get(len + 1) != Some(&b'\n') {
                return None;
            }
            pairing.reply(reply_of_line(kind, near.get(..len)?), call);
            Some(pos + len + 3)
        }
        _ => None,
    }
}

/// The line without its CRLF, of which only a part may have been kept.
fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\r")).unwrap_or(line)
}

fn reply_of_line(kind: u8, line: &[u8]) -> Reply<'_> {
    match kind {
        b'+' => Reply::Status(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Integer(whole::decimal(line).map(|number| number as u64)),
        b'_' => Reply::Null,
        _ => Reply::Other,
    }
}
