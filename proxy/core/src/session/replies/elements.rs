//! The reading of messages and confirmations, element by element.

use core::mem;

use super::{MAX_ADDRESS_LEN, ReplyReader, State, delivered, is_own};
use crate::counts::Counter;
use crate::pairing::{Frame, Messages, Reply};
use crate::policy::Mode;
use crate::resp::{NumberLine, Scan};
use crate::rewrite::{Bulk, Edits, Input};
use crate::session::pubsub_frame::{Role, Shape};
use crate::session::{Parts, attribution};

impl ReplyReader {
    pub(super) fn element_type(&mut self, kind: u8, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        let frame = &self.frame;
        let is_confirmation = matches!(frame.shape, Shape::Confirmation { .. });
        let is_last = frame.index + 1 == frame.count;
        self.state = match kind {
            b'+' if frame.may_be_moving() => {
                input.pos += 1;
                State::MovingWord { carriage_return: false }
            }
            _ if frame.shape == Shape::Moving => {
                if frame.role() == Role::Address {
                    self.hold.begin(input, input.pos, parts.call.out);
                }
                State::MovingElement { scan: Scan::values(1) }
            }
            b':' if is_confirmation && is_last => {
                input.pos += 1;
                State::ConfirmationCount(NumberLine::default())
            }
            // RESP3's null for a name is a line without content.
            b'_' if is_confirmation && frame.index == 1 => {
                input.pos += 1;
                State::ElementEnd { left: 2 }
            }
            b'$' if !(is_confirmation && is_last) => {
                if frame.role() == Role::Payload {
                    self.hold.begin(input, input.pos, parts.call.out);
                }
                input.pos += 1;
                State::ElementLength(NumberLine::default())
            }
            // The frame is not what it looked like. It may be another reply, or an invalidation.
            _ => return self.pass_over_elements(input, parts),
        };
    }

    /// Leaves out the address to which a `MOVING` push leads the client, past the proxy. Without an address the client connects
    /// again to where it is connected now, once half of the time is over that the push names.
    pub(super) fn address_ends(&mut self, input: &mut Input<'_>, parts: &mut Parts<'_>) {
        const NULL: &[u8] = b"_\r\n";
        let address = self.hold.held(input);
        if address == NULL || address == b"$-1\r\n" {
            return self.hold.release(input, parts.call.out);
        }
        if parts.call.env.policy.mode == Mode::Observe || address.len() > MAX_ADDRESS_LEN {
            parts.call.out.counts.count(Counter::RedirectionsMovingPassed);
            return self.hold.release(input, parts.call.out);
        }
        parts.call.out.counts.count(Counter::RedirectionsMoving);
        let mut edits = Edits::default();
        let whole = 0..address.len();
        edits.begin().extend_from_slice(NULL);
        edits.replace(whole, 0..NULL.len());
        self.hold.apply(&edits, input, parts.call.out);
    }

    pub(super) fn element_begins(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        self.frame.element_begins(len);
        if self.frame.role() == Role::Payload {
            self.admitted = parts.deliver.admit(&self.frame.message(), len, &mut parts.call);
            if self.admitted {
                self.hold.expect(input, usize::try_from(len).unwrap_or_default()); // it is within the limit
            } else {
                self.hold.release(input, parts.call.out);
            }
        }
    }

    pub(super) fn element_ends(&mut self, input: &mut Input<'_>, len: u64, parts: &mut Parts<'_>) {
        self.state = State::ElementEnd { left: 2 };
        match self.frame.role() {
            Role::Word => self.frame.word_ends(),
            Role::Payload => {
                let admitted = mem::take(&mut self.admitted);
                if self.frame.messages == Messages::Own {
                    if !admitted {
                        return;
                    }
                    let body = Bulk::new(self.hold.held(input), usize::try_from(len).unwrap_or_default()).body();
                    if !is_own(body, parts) {
                        return self.hold.release(input, parts.call.out);
                    }
                }
                delivered(self.frame.push, parts);
                if admitted {
                    let payload = Bulk::new(self.hold.held(input), usize::try_from(len).unwrap_or_default());
                    if parts.deliver.decide(&self.frame.message(), payload, &mut parts.call) {
                        self.hold.apply(parts.deliver.edits(), input, parts.call.out);
                    } else {
                        self.hold.release(input, parts.call.out);
                    }
                }
            }
            Role::Pattern | Role::Channel | Role::Name | Role::Address | Role::Unread => {}
        }
    }

    pub(super) fn next_element(&mut self, input: &Input<'_>, parts: &mut Parts<'_>) {
        self.frame.index += 1;
        if self.frame.index < self.frame.count && self.frame.shape != Shape::Unknown {
            self.state = State::ElementType;
        } else {
            self.pass_over_elements(input, parts);
        }
    }

    /// Passes over the elements that are left, because they are not needed.
    fn pass_over_elements(&mut self, input: &Input<'_>, parts: &mut Parts<'_>) {
        let frame = self.frame.otherwise();
        match self.frame.count - self.frame.index {
            1.. if frame != Frame::Elements => {
                self.state = State::Rest { scan: Scan::values(self.frame.count - self.frame.index), frame };
            }
            _ => self.frame_ends(frame, input, parts),
        }
    }

    pub(super) fn confirmation(&mut self, count: u64, input: &Input<'_>, parts: &mut Parts<'_>) {
        let Shape::Confirmation { kind, subscribe } = self.frame.shape else { return };
        let name = self.frame.name();
        if parts.pairing.confirmation(kind, subscribe, name, count, self.frame.push, &mut parts.call) {
            parts.pairing.report_confirmation(kind, subscribe, name, count, &mut parts.call);
        } else {
            parts.pairing.reply(Reply::Other, &mut parts.call);
            attribution::replied(parts, || self.capture.frame(input.bytes, input.pos));
        }
    }
}
