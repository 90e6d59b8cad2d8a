//! What comes next from the server.

use super::Pairing;
use crate::commands::{Answer, Protocol, ReplyMode};
use crate::output::Call;

/// What the next frame from the server is, by all that is known before its first byte is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The end of RESP: the reply to `SYNC` or `PSYNC`.
    Replication,
    /// The header of the array that answers `EXEC`. It is a frame of its own, and each element answers a queued command.
    Transaction,
    /// An array or push that is a message or a confirmation if it looks like one. If `messages` is false an array that looks
    /// like a message is none. `otherwise` says what it is if it looks like neither.
    PubSub { messages: bool, otherwise: Frame },
    /// Something else.
    Other(Frame),
}

/// What the end of a frame means that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The frame is a reply.
    Reply,
    /// The frame answers nothing: a push, or an attribute of the reply that follows.
    Unasked,
    /// Replies can no longer be told apart. The header is passed over, so that each element is looked at as a frame of its
    /// own: it may be a push or a confirmation.
    Elements,
}

impl Pairing {
    /// What the frame is that begins with the type byte `kind`. To be asked once for each frame.
    pub(crate) fn next(&mut self, kind: u8, call: &mut Call<'_>) -> Next {
        if kind != b'-' && self.awaits_sync() {
            return Next::Replication;
        }
        match kind {
            b'*' => {
                self.array_begins(call);
                self.next_array()
            }
            b'>' => Next::PubSub { messages: true, otherwise: Frame::Unasked },
            b'~' | b'%' if self.lost => Next::Other(Frame::Elements),
            b'|' => Next::Other(if self.lost { Frame::Elements } else { Frame::Unasked }),
            _ => Next::Other(Frame::Reply),
        }
    }

    fn next_array(&self) -> Next {
        if self.awaits_exec() {
            return Next::Transaction;
        }
        let otherwise = if self.lost { Frame::Elements } else { Frame::Reply };
        let messages = self.expects_messages();
        if messages || self.expects_confirmations() {
            Next::PubSub { messages, otherwise }
        } else {
            Next::Other(otherwise)
        }
    }

    /// Whether the next reply belongs to `SYNC` or `PSYNC`.
    fn awaits_sync(&self) -> bool {
        self.front_is(Answer::Sync) && self.transaction.is_none() && self.executing.is_empty()
    }

    /// Whether the next reply is that of the open transaction's `EXEC`. Under `CLIENT REPLY OFF` it has none.
    fn awaits_exec(&self) -> bool {
        self.transaction.is_some() && self.front_is(Answer::Exec) && !self.muted
    }

    /// Whether an array may be a confirmation of a subscription.
    fn expects_confirmations(&self) -> bool {
        self.pending_subscriptions > 0 || self.awaits_nothing() || self.lost
    }

    /// Whether a RESP2 array that looks like a message is one. No command that is allowed in subscriber mode answers so,
    /// but a command of a running transaction may, unless an integer is due or replies are off. From Redis 7.2 on a
    /// transaction that subscribes, publishes and unsubscribes gets its messages when subscriber mode is over.
    fn expects_messages(&self) -> bool {
        if self.subscriptions.protocol != Protocol::Resp2 {
            return false;
        }
        let no_array_is_due = || {
            self.muted
                || self.executing.front().is_none_or(|entry| {
                    entry.answer.is_publish() || entry.answer == Answer::ClientReply(ReplyMode::Off)
                })
        };
        self.subscriptions.any() && no_array_is_due() || self.awaits_nothing() || self.may_get_own_messages()
    }

    /// Whether an array cannot be a reply, because no command is unanswered.
    pub(super) fn awaits_nothing(&self) -> bool {
        !self.lost && self.queue.is_empty() && self.executing.is_empty()
    }

    /// Whether the transaction that has just ended published, while it was subscribed, more than has come so far.
    pub(super) fn may_get_own_messages(&self) -> bool {
        !self.lost && self.own_messages > 0 && self.executing.is_empty()
    }

    /// An array comes next. Outside subscriber mode it is behind what was sent before it, so that a `HELLO` or `MULTI`
    /// without an answer has taken effect.
    fn array_begins(&mut self, call: &mut Call<'_>) {
        if !self.lost && !self.in_subscriber_mode() && !self.may_get_own_messages() {
            self.pass_over_silent(super::Reply::Other, call);
        }
    }

    fn front_is(&self, answer: Answer) -> bool {
        self.queue.front().is_some_and(|entry| entry.answer == answer)
    }
}
