//! The meaning of the next frame from the server.

use super::Pairing;
use super::queue::Entry;
use crate::commands::{Answer, EntriesFrom, Protocol, ReplyMode};
use crate::output::Call;
use crate::trace::SpanId;

/// What the next frame from the server is, as far as its type byte and the unanswered requests tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The reply to `SYNC` or `PSYNC`. It and what follows are not RESP.
    Replication,
    /// The header of the array that answers `EXEC`. It is a frame of its own, and each element answers a queued command.
    Transaction,
    /// An array or push that is a message or a confirmation if it looks like one. `otherwise` says what the frame is if it is
    /// neither.
    PubSub { messages: Messages, otherwise: Frame },
    /// The reply to a command that reads entries of streams, from which contexts are removed.
    Entries(EntriesFrom),
    /// A frame that is none of these.
    Other(Frame),
}

/// What may be a message among the frames that look like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Messages {
    /// Each of them is a message.
    All,
    /// None of them is a message.
    None,
    /// Only one with a context that this connection itself has published is a message. What looks like a confirmation is
    /// none.
    Own,
}

/// What a frame is that is neither a message nor a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The frame is a reply.
    Reply,
    /// The frame answers nothing: a push, or an attribute of the reply that follows.
    Unasked,
    /// The pairing is lost, so the frame may be anything. Only its header is passed over. Each element is then looked at as
    /// a frame of its own, because it may be a push or a confirmation.
    Elements,
}

impl Pairing {
    /// What the frame is that begins with the type byte `kind`. The question is asked once for each frame, because the
    /// answer takes note that the frame has begun: an array is behind commands that are not answered.
    pub(crate) fn next(&mut self, kind: u8, call: &mut Call<'_>) -> Next {
        if kind != b'-' && self.awaits_sync() {
            return Next::Replication;
        }
        match kind {
            b'*' => {
                self.array_begins(call);
                self.next_array()
            }
            b'>' => Next::PubSub { messages: Messages::All, otherwise: Frame::Unasked },
            b'~' | b'%' if self.lost => Next::Other(Frame::Elements),
            b'%' if self.reads_entries => {
                // A map is no message, so the commands at the front that have no reply are done, as with an array.
                if !self.muted {
                    self.pass_over_silent(super::Reply::Other, call);
                }
                self.entries_due().map_or(Next::Other(Frame::Reply), Next::Entries)
            }
            b'|' => Next::Other(if self.lost { Frame::Elements } else { Frame::Unasked }),
            _ => Next::Other(Frame::Reply),
        }
    }

    fn next_array(&self) -> Next {
        if self.awaits_exec() {
            return Next::Transaction;
        }
        let otherwise = if self.lost { Frame::Elements } else { Frame::Reply };
        if self.expects_messages() {
            Next::PubSub { messages: Messages::All, otherwise }
        } else if let Some(from) = self.entries_due() {
            Next::Entries(from)
        } else if self.expects_confirmations() {
            Next::PubSub { messages: Messages::None, otherwise }
        } else if self.lost && self.own_messages.has_spans() {
            Next::PubSub { messages: Messages::Own, otherwise }
        } else {
            Next::Other(otherwise)
        }
    }

    /// Where the next reply has entries from which contexts are removed, if it is such a one.
    #[inline]
    fn entries_due(&self) -> Option<EntriesFrom> {
        if !self.reads_entries || self.lost || self.muted || self.transaction.is_some() {
            return None;
        }
        match self.front() {
            Some(Answer::Entries { from, .. }) => Some(from),
            _ => None,
        }
    }

    /// Whether the next reply belongs to `SYNC` or `PSYNC`.
    fn awaits_sync(&self) -> bool {
        matches!(self.front_answer(), Some(Answer::Sync)) && self.transaction.is_none() && self.executing.is_empty()
    }

    /// Whether the next reply is that of the open transaction's `EXEC`. Under `CLIENT REPLY OFF` that has no reply.
    fn awaits_exec(&self) -> bool {
        self.transaction.is_some()
            && matches!(self.queue.front(), Some(Entry { answer: Answer::Exec { .. }, .. }))
            && !self.muted
    }

    /// Whether an array may be a confirmation of a subscription.
    fn expects_confirmations(&self) -> bool {
        if self.lost {
            !self.doubt.exists()
        } else {
            self.pending_subscriptions > 0 || self.muted || self.awaits_nothing()
        }
    }

    /// Whether a RESP2 array that looks like a message is one.
    ///
    /// The reply to a command that is allowed in subscriber mode never looks like a message. That of a command in a
    /// running transaction may, unless its reply is an integer or replies are off.
    fn expects_messages(&self) -> bool {
        if self.lost {
            return !self.doubt.exists() && self.in_subscriber_mode();
        }
        // Under OFF no reply is an array. The protocol may have changed since a message was published.
        if self.muted || self.may_get_own_messages() {
            return true;
        }
        let no_array_is_due = || {
            self.executing
                .front()
                .is_none_or(|entry| entry.answer.is_publish() || entry.answer == Answer::ClientReply(ReplyMode::Off))
        };
        self.subscriptions.protocol == Protocol::Resp2
            && (self.subscriptions.any() && no_array_is_due() || self.awaits_nothing())
    }

    /// Whether a message with this span's context is one that this connection has published.
    pub(crate) fn is_own(&self, span: SpanId) -> bool {
        self.own_messages.has_span(span)
    }

    /// Whether no command is unanswered, so that an array cannot be a reply.
    pub(super) fn awaits_nothing(&self) -> bool {
        !self.lost && self.queue.is_empty() && self.executing.is_empty()
    }

    /// Whether the messages come next that the transaction that has just ended published to its own connection.
    pub(super) fn may_get_own_messages(&self) -> bool {
        !self.lost && self.own_messages.are_due() && self.executing.is_empty()
    }

    /// An array comes next. Outside subscriber mode no message comes out of order, so the commands at the front that have
    /// no reply are done, and a `HELLO` or `MULTI` among them has taken effect.
    fn array_begins(&mut self, call: &mut Call<'_>) {
        if self.lost || self.muted {
            return;
        }
        if self.cannot_tell_own_messages()
            || self.executing.is_empty() && matches!(self.front_answer(), Some(Answer::Unknown))
        {
            return self.lose(call);
        }
        if self.may_get_own_messages() {
            return;
        }
        if !self.in_subscriber_mode() {
            self.pass_over_silent(super::Reply::Other, call);
        } else if self.ends_subscriber_mode_unseen() {
            self.lose(call);
        }
    }

    /// Whether the next array may be a message or the reply to a command behind a `RESET` whose own reply is suppressed.
    fn ends_subscriber_mode_unseen(&self) -> bool {
        let mut queue = self.queue.iter().map(|entry| entry.answer);
        self.executing.is_empty()
            && queue.next() == Some(Answer::Skipping)
            && queue.find(|answer| *answer != Answer::Skipping) == Some(Answer::Reset)
            && queue.next().is_some()
    }

    /// To be matched, not compared: comparing costs a call for each reply.
    #[inline]
    fn front_answer(&self) -> Option<Answer> {
        self.queue.front().map(|entry| entry.answer)
    }
}
