//! The effect of a reply, which answers the entry at the front of the queue.

use super::queue::{Entry, give_back};
use super::spans::{forget_name, is_command, name_batch, not_added, take_cause};
use super::{MAX_ENTRIES, Pairing, Reply, Transaction};
use crate::commands::{Answer, Protocol, ReplyMode};
use crate::output::Call;
use crate::service::{Event, SubscriptionKind};
use crate::trace::{CommandId, ErrorType, Operation};

impl Pairing {
    /// The header of the array that answers `EXEC` has been read. Its `count` elements come next, each as a reply.
    pub(crate) fn exec_begins(&mut self, count: u64, call: &mut Call<'_>) {
        let Some(Entry { answer: Answer::Exec { scripts }, .. }) = self.pop_front() else { return };
        let Some(transaction) = self.transaction.take_if(|transaction| transaction.count == count) else {
            return self.lose(call);
        };
        self.executing_span = transaction.span;
        self.executing = transaction.entries;
        self.executing_scripts = scripts;
        self.own_messages.transaction_begins(self.subscriptions.any());
        self.after_element(call);
    }

    /// A reply has been read. It is neither a message nor a confirmation.
    #[inline]
    pub(crate) fn reply(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        if !self.is_ordinary_reply(reply, call) {
            self.other_reply(reply, call);
        }
    }

    #[inline(never)]
    fn other_reply(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        if self.executing.is_empty() {
            self.own_messages.forget_due();
        }
        if self.lost {
            if reply == Reply::Status(b"RESET") {
                self.subscriptions.reset();
            }
            return;
        }
        if self.monitoring && is_monitor_feed(reply) {
            return;
        }
        let error = matches!(reply, Reply::Error(_));
        self.settle(reply, call);
        let Some(entry) = self.pop_front() else {
            // Without a request Redis only sends an error, and closes: too many clients, protected mode, a protocol error.
            if !error {
                self.lose(call);
            }
            return;
        };
        if matches!(entry.answer, Answer::Unknown) {
            return self.lose(call);
        }
        if !error && !matches!(entry.answer, Answer::Reset) {
            self.authenticated = true;
        }
        if self.transaction.is_some() {
            self.transaction_reply(entry, reply, call);
        } else {
            self.plain_reply(entry, reply, call);
        }
        self.after_element(call);
    }

    /// The command that the last reply has answered, if its reply is to be reported, and the number of the event that
    /// is its span if it has ended. It is returned once.
    #[inline]
    pub(crate) fn take_answered(&mut self) -> Option<(CommandId, usize)> {
        self.answered.take()
    }

    /// The number of the event that is the span of a command that adds an entry to a stream, if the last reply has answered one
    /// without an error. It is returned once.
    #[inline]
    pub(crate) fn take_sent(&mut self) -> Option<usize> {
        self.sent.take()
    }

    /// Takes the reply to a publish, or to a command whose effect need not be followed, if no transaction and no
    /// `CLIENT REPLY` changes the order. Nearly all replies are taken here.
    #[inline(always)]
    fn is_ordinary_reply(&mut self, reply: Reply<'_>, call: &mut Call<'_>) -> bool {
        let in_order = self.transaction.is_none() && self.executing.is_empty() && self.executing_span.is_none();
        if !in_order || self.muted || self.monitoring || self.own_messages.are_due() {
            return false;
        }
        match (self.queue.front_mut(), reply) {
            (Some(Entry { answer: Answer::Replies(run), span: None, command }), _) => {
                self.authenticated |= !matches!(reply, Reply::Error(_));
                self.answered = command.map(|command| (command, call.out.events.len()));
                *run -= 1;
                if *run == 0 {
                    self.queue.pop_front();
                    give_back(&mut self.queue);
                }
                true
            }
            (_, Reply::Integer(receivers)) => self.is_reply_to_publish(receivers, call),
            _ => false,
        }
    }

    /// Takes the reply of so many `receivers` if the front of the queue is a publish.
    #[inline(never)]
    fn is_reply_to_publish(&mut self, receivers: Option<u64>, call: &mut Call<'_>) -> bool {
        let Some(Entry { answer, span, command }) = self.queue.front_mut() else { return false };
        let is_last = match answer {
            Answer::Publishes(run) => {
                *run -= 1;
                *run == 0
            }
            Answer::ExpectedReceivers { run, .. } => {
                *run -= 1;
                let is_last = *run == 0;
                call.out.events.extend(answer.contradicted_by(receivers).map(Event::Contradicted));
                is_last
            }
            _ => return false,
        };
        self.authenticated = true;
        self.answered = command.map(|command| (command, call.out.events.len()));
        let span = span.take();
        if is_last {
            self.queue.pop_front();
            give_back(&mut self.queue);
        }
        self.end_publish(span, receivers, call);
        true
    }

    /// A frame that looks like a confirmation has been read, with the `count` that it reports. Returns false if it is the
    /// reply of an ordinary command that looks like one.
    pub(crate) fn confirmation(
        &mut self,
        kind: SubscriptionKind,
        subscribe: bool,
        name: Option<&[u8]>,
        count: u64,
        push: bool,
        call: &mut Call<'_>,
    ) -> bool {
        if push {
            self.subscriptions.protocol = Protocol::Resp3; // if the pairing was lost before HELLO, only a push shows it
        }
        if self.lost {
            if !push {
                self.subscriptions.protocol = Protocol::Resp2; // only this shows a HELLO 2
            }
            self.subscriptions.confirm(kind, count);
            return true;
        }
        // In subscriber mode no other reply looks like this. In a transaction or in RESP3 one may.
        let certain = push || self.muted || self.refuses_most() || self.awaits_nothing();
        if !self.settle_for_confirmation(kind, subscribe, call) {
            // The server itself ends subscriptions to shard channels whose slot moves away. Any other push does no harm.
            if certain {
                self.subscriptions.confirm(kind, count);
            }
            return certain;
        }
        let subscriptions = self.subscriptions.count(kind);
        self.subscriptions.confirm(kind, count);
        if !self.executing.is_empty() {
            self.own_messages.confirmed(kind, subscribe, name);
        }
        self.authenticated = true;
        if let Some(Entry { answer: Answer::Confirmations { left, .. }, .. }) = self.front_mut() {
            let now_left = left.unwrap_or(subscriptions.max(1)) - 1;
            *left = Some(now_left);
            if now_left == 0
                && let Some(span) = self.pop_front().and_then(|entry| entry.span)
            {
                self.end_span(span, None, call);
            }
        }
        self.after_element(call);
        true
    }

    /// A reply to a command after `MULTI`, up to that of `EXEC` or `DISCARD`.
    fn transaction_reply(&mut self, mut entry: Entry, reply: Reply<'_>, call: &mut Call<'_>) {
        match (entry.answer, reply) {
            (Answer::Exec { .. }, Reply::Null) => self.abort(ErrorType::named(ErrorType::NOT_EXECUTED), call),
            (Answer::Exec { .. }, Reply::Error(line)) => self.abort(ErrorType::from_redis_error(line), call),
            (Answer::Discard, Reply::Status(_)) => self.discard(),
            (_, Reply::Status(b"QUEUED")) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.count += 1;
                    // The transaction has one span for all its commands, except for publishes.
                    let command = entry.span.take_if(|span| self.spans.get(span).is_some_and(|span| is_command(span)));
                    let command = command.and_then(|span| self.spans.take(span));
                    if let Some(batch) = transaction.span.as_ref().and_then(|span| self.spans.get(span)) {
                        name_batch(batch, transaction.count, command.as_ref());
                        take_cause(batch, command);
                    }
                    match &mut entry.answer {
                        // In a transaction nothing blocks.
                        Answer::LateReplies(_) => entry.answer = Answer::Replies(1),
                        Answer::Entries { waits, .. } => *waits = false,
                        _ => {}
                    }
                    let is_taken = transaction.entries.back_mut().is_some_and(|last| last.takes_in(&entry));
                    if !is_taken && transaction.entries.len() >= MAX_ENTRIES {
                        return self.lose_with(entry.span, call);
                    }
                    if !is_taken {
                        self.pending_subscriptions += usize::from(entry.is_subscription());
                        transaction.entries.push_back(entry);
                    }
                }
            }
            _ => self.plain_reply(entry, reply, call),
        }
    }

    fn plain_reply(&mut self, entry: Entry, reply: Reply<'_>, call: &mut Call<'_>) {
        self.answered = entry.command.map(|command| (command, call.out.events.len()));
        let mut span = entry.span;
        let own = self.own_messages_of(entry.answer);
        if let Reply::Error(line) = reply {
            self.timed = None;
            if let Some(span) = span {
                if let Some(record) = self.spans.get(&span) {
                    not_added(record, call);
                }
                if let Some(record) = self.spans.get(&span)
                    && UNCONFIRMING.iter().any(|beginning| line.starts_with(beginning))
                {
                    forget_name(record);
                }
                // By NOSCRIPT a client learns that it has to send the script itself, which it then does.
                let failed = !line.starts_with(b"NOSCRIPT");
                if !failed && self.spans.get(&span).is_some_and(|record| matches!(record.operation, Operation::Send(_)))
                {
                    // So what it would have added is added only then.
                    self.spans.take(span);
                } else {
                    self.end_span(span, failed.then(|| ErrorType::from_redis_error(line)), call);
                }
            }
            match entry.answer {
                Answer::ClientReply(_) => self.requested = ReplyMode::On,
                Answer::Hello(_, Some(name)) | Answer::SetName(name) => self.name_answered(name, false, call),
                _ => {}
            }
            return;
        }
        match (entry.answer, reply) {
            // Nothing came while the command waited, so it did nothing.
            (Answer::LateReplies(_) | Answer::Entries { waits: true, .. }, Reply::Null) => {
                drop(span.take().and_then(|span| self.spans.take(span)))
            }
            (Answer::Replies(_) | Answer::LateReplies(_) | Answer::Entries { .. }, _) => {}
            (publish, Reply::Integer(count)) if publish.is_publish() => {
                call.out.events.extend(publish.contradicted_by(count).map(Event::Contradicted));
                self.end_publish(span.take(), count, call);
                self.expect_own_messages(own, count);
            }
            (Answer::Multi, Reply::Status(_)) if self.transaction.is_none() => {
                self.transaction = Some(Transaction { span: span.take(), ..Transaction::default() });
            }
            (Answer::Reset, Reply::Status(b"RESET")) => self.reset(call),
            (Answer::Hello(protocol, name), _) => self.greeted(protocol, name, call),
            (Answer::SetName(name), Reply::Status(_)) => self.name_answered(name, true, call),
            (Answer::ClientReply(ReplyMode::On) | Answer::Discard, Reply::Status(_)) => {}
            (Answer::Monitor, Reply::Status(_)) => self.monitoring = true,
            (Answer::Select(database), Reply::Status(_)) => self.database = database,
            _ => return self.lose_with(span, call),
        }
        if let Some(span) = span {
            self.end_span(span, None, call);
        }
    }

    /// Passes over the queued commands that have no element in the reply of `EXEC`, and ends the transaction's span when
    /// its last element has come.
    fn after_element(&mut self, call: &mut Call<'_>) {
        while let Some(entry) = self.executing.front() {
            match entry.answer {
                Answer::Silent => drop(self.pop_front()),
                // It suppresses the reply to the command that follows the transaction, not the next element.
                Answer::ClientReply(ReplyMode::Skip) => {
                    self.pop_front();
                    self.queue.push_front(Entry::plain(Answer::Skipping));
                }
                Answer::Replies(_) | Answer::Entries { .. } => {
                    self.own_messages.unseen |= self.publishes_unseen() && self.own_messages.come_first != Some(true);
                    break;
                }
                _ => break,
            }
        }
        if self.executing.is_empty() {
            self.own_messages.transaction_ends();
        }
        if self.executing.is_empty()
            && let Some(span) = self.executing_span.take()
        {
            self.end_span(span, None, call);
        }
    }
}

/// The beginnings of the errors that do not show that a command exists.
const UNCONFIRMING: [&[u8]; 4] =
    [b"ERR unknown command", b"ERR max number of clients", b"ERR Protocol error", b"DENIED Redis is running"];

/// Whether the reply is a line of `MONITOR`'s feed: `<seconds>.<micros> [<db> <address>] "COMMAND" …`.
fn is_monitor_feed(reply: Reply<'_>) -> bool {
    let Reply::Status(line) = reply else { return false };
    let stamp = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    line.get(stamp.len()..).is_some_and(|rest| rest.starts_with(b" ["))
        && stamp.contains(&b'.')
        && stamp.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}
