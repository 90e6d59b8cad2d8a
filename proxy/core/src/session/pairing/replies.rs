//! What a reply does: it answers the entry at the front of the queue.

use super::super::Call;
use super::super::command::{Protocol, ReplyMode};
use super::spans::name_batch;
use super::{Entry, Expect, MAX_ENTRIES, Pairing, Reply, Transaction, give_back};
use crate::service::SubscriptionKind;
use crate::trace::{ErrorType, Operation, SpanRecord, UNKNOWN_COMMAND};

impl Pairing {
    /// An array comes next. Outside subscriber mode it is behind what was sent before it, so that a `HELLO` or `MULTI`
    /// without an answer has taken effect.
    pub(in crate::session) fn array_begins(&mut self, call: &mut Call<'_>) {
        if !self.lost && !self.in_subscriber_mode() && !self.may_get_own_messages() {
            self.pass_over_silent(Reply::Other, call);
        }
    }

    /// The header of the array that answers `EXEC`: its `count` elements come next, each as a reply.
    pub(in crate::session) fn exec_begins(&mut self, count: u64, call: &mut Call<'_>) {
        self.pop_front();
        let Some(transaction) = self.transaction.take_if(|transaction| transaction.count == count) else {
            return self.lose(call);
        };
        self.executing_span = transaction.span;
        self.executing = transaction.entries;
        self.after_element(call);
    }

    /// One reply that is neither a message nor a confirmation.
    pub(in crate::session) fn reply(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        if self.is_ordinary_reply(reply, call) {
            return;
        }
        if self.executing.is_empty() {
            self.own_messages = 0;
        }
        if self.lost {
            if reply == Reply::Status(b"RESET") {
                self.pubsub.reset();
            }
            return;
        }
        if self.monitoring && is_monitor_feed(reply) {
            return;
        }
        let error = matches!(reply, Reply::Error(_));
        self.settle(reply, call);
        let Some(entry) = self.pop_front() else {
            // Redis speaks unasked only to say goodbye: too many clients, protected mode, a protocol error.
            if !error {
                self.lose(call);
            }
            return;
        };
        if entry.expect == Expect::Unknown {
            return self.lose(call);
        }
        if !error && entry.expect != Expect::Reset {
            self.authenticated = true;
        }
        if self.transaction.is_some() {
            self.transaction_reply(entry, reply, call);
        } else {
            self.plain_reply(entry, reply, call);
        }
        self.after_element(call);
    }

    /// Takes the reply to a command without effect here or to a publish, outside of all that bends the order: nearly all.
    fn is_ordinary_reply(&mut self, reply: Reply<'_>, call: &mut Call<'_>) -> bool {
        let in_order = self.transaction.is_none() && self.executing.is_empty() && self.executing_span.is_none();
        if !in_order || self.muted || self.monitoring || self.own_messages > 0 {
            return false;
        }
        match (self.queue.front_mut(), reply) {
            (Some(Entry { expect: Expect::Replies(run), span: None }), _) => {
                self.authenticated |= !matches!(reply, Reply::Error(_));
                *run -= 1;
                if *run > 0 {
                    return true;
                }
            }
            (Some(Entry { expect: Expect::Publishes(_), span: span @ Some(_) }), Reply::Integer(count)) => {
                self.authenticated = true;
                let span = span.take();
                self.end_publish(span, count, call);
            }
            _ => return false,
        }
        self.queue.pop_front();
        give_back(&mut self.queue);
        true
    }

    /// A frame `subscribe`, `unsubscribe` or their kin, with the count it reports. False if it must be the reply of an
    /// ordinary command that looks so.
    pub(in crate::session) fn confirmation(
        &mut self,
        kind: SubscriptionKind,
        subscribe: bool,
        count: u64,
        push: bool,
        call: &mut Call<'_>,
    ) -> bool {
        if push {
            self.pubsub.protocol = Protocol::Resp3; // not known otherwise if the pairing was lost before HELLO
        }
        if self.lost {
            // A script may answer so too, but then the worst is that messages are looked for where there are none.
            self.pubsub.confirm(kind, count);
            return true;
        }
        // In subscriber mode nothing else is answered so; a transaction's commands and RESP3's may be.
        let certain = push || self.refuses_most() || self.awaits_nothing();
        if !self.settle_for_confirmation(kind, subscribe, call) {
            // A slot that moved away unsubscribes by itself; pushes of any kind disturb nothing.
            if certain {
                self.pubsub.confirm(kind, count);
            }
            return certain;
        }
        let subscriptions = self.pubsub.count(kind);
        self.pubsub.confirm(kind, count);
        self.authenticated = true;
        if let Some(Entry { expect: Expect::Confirmations { left, .. }, .. }) = self.front_mut() {
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

    /// The answer to a command between `MULTI` and `EXEC`.
    fn transaction_reply(&mut self, mut entry: Entry, reply: Reply<'_>, call: &mut Call<'_>) {
        match (entry.expect, reply) {
            (Expect::Exec, Reply::Null) => self.abort(ErrorType::named(ErrorType::NOT_EXECUTED), call),
            (Expect::Exec, Reply::Error(line)) => self.abort(ErrorType::from_redis_error(line), call),
            (Expect::Discard, Reply::Status(_)) => self.discard(),
            (_, Reply::Status(b"QUEUED")) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.count += 1;
                    // The transaction's span stands for its commands.
                    let command = entry.span.take_if(|span| self.spans.get(span).is_some_and(|span| is_command(span)));
                    let command = command.and_then(|span| self.spans.take(span));
                    let batch = transaction.span.as_ref().and_then(|span| self.spans.get(span));
                    name_batch(batch, transaction.count, command.as_ref());
                    if entry.expect == Expect::MayBlock {
                        entry.expect = Expect::Replies(1); // in a transaction nothing blocks
                    }
                    let is_taken = transaction.entries.back_mut().is_some_and(|last| last.takes_in(&entry));
                    if !is_taken && transaction.entries.len() >= MAX_ENTRIES {
                        return self.lose_with(entry.span, call);
                    }
                    if !is_taken {
                        self.pending_subscriptions += usize::from(matches!(entry.expect, Expect::Confirmations { .. }));
                        transaction.entries.push_back(entry);
                    }
                }
            }
            _ => self.plain_reply(entry, reply, call),
        }
    }

    fn plain_reply(&mut self, entry: Entry, reply: Reply<'_>, call: &mut Call<'_>) {
        let mut span = entry.span;
        if let Reply::Error(line) = reply {
            self.timed = None;
            if let Some(span) = span {
                if let Some(SpanRecord { operation: Operation::Command { name, .. }, .. }) = self.spans.get(&span)
                    && UNCONFIRMING.iter().any(|beginning| line.starts_with(beginning))
                {
                    *name = UNKNOWN_COMMAND.into();
                }
                self.end_span(span, Some(ErrorType::from_redis_error(line)), call);
            }
            if let Expect::ClientReply(_) = entry.expect {
                self.requested = ReplyMode::On;
            }
            return;
        }
        match (entry.expect, reply) {
            (Expect::Replies(_) | Expect::MayBlock, _) => {}
            (Expect::Publishes(_) | Expect::Witnessed { .. }, Reply::Integer(count)) => {
                if let Expect::Witnessed { token, receivers, .. } = entry.expect
                    && count != Some(u64::from(receivers))
                {
                    call.out.contradicted.push(token);
                }
                // Subscriber mode refuses a publish, except in a transaction that was open before.
                if self.in_subscriber_mode() && !self.own_messages_come_first {
                    self.own_messages = self.own_messages.saturating_add(count.unwrap_or(0));
                }
                self.end_publish(span.take(), count, call);
            }
            (Expect::Multi, Reply::Status(_)) if self.transaction.is_none() => {
                self.transaction = Some(Transaction { span: span.take(), ..Transaction::default() });
            }
            (Expect::Reset, Reply::Status(b"RESET")) => self.reset(call),
            (Expect::Hello(protocol), _) => {
                self.pubsub.protocol = protocol.unwrap_or(self.pubsub.protocol);
            }
            (Expect::ClientReply(ReplyMode::On) | Expect::Discard, Reply::Status(_)) => {}
            (Expect::Monitor, Reply::Status(_)) => self.monitoring = true,
            (Expect::Select(database), Reply::Status(_)) => self.database = database,
            _ => return self.lose_with(span, call),
        }
        if let Some(span) = span {
            self.end_span(span, None, call);
        }
    }

    /// Passes over what is no element of `EXEC`, and ends it when its last element has come.
    fn after_element(&mut self, call: &mut Call<'_>) {
        while let Some(entry) = self.executing.front() {
            match entry.expect {
                Expect::Silent => drop(self.pop_front()),
                // It silences not the next element but the command that follows the transaction.
                Expect::ClientReply(ReplyMode::Skip) => {
                    self.pop_front();
                    self.queue.push_front(Entry { expect: Expect::Skipping, span: None });
                }
                _ => break,
            }
        }
        if self.executing.is_empty()
            && let Some(span) = self.executing_span.take()
        {
            self.end_span(span, None, call);
        }
    }
}

/// How errors begin that do not confirm that there is such a command.
const UNCONFIRMING: [&[u8]; 4] =
    [b"ERR unknown command", b"ERR max number of clients", b"ERR Protocol error", b"DENIED Redis is running"];

fn is_command(span: &SpanRecord) -> bool {
    matches!(span.operation, Operation::Command { .. })
}

/// A line of `MONITOR`'s feed: `<seconds>.<micros> [<db> <address>] "COMMAND" …`.
fn is_monitor_feed(reply: Reply<'_>) -> bool {
    let Reply::Status(line) = reply else { return false };
    let stamp = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    line.get(stamp.len()..).is_some_and(|rest| rest.starts_with(b" ["))
        && stamp.contains(&b'.')
        && stamp.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}
