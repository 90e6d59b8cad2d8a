//! The commands without a reply. They are passed over, so that the next reply answers the front of the queue.
//!
//! `CLIENT REPLY OFF` and `SKIP` suppress the replies to other commands and their own. Only the next reply shows whether
//! they took effect.

use core::mem;

use super::{Pairing, Reply, Transaction};
use crate::commands::{Answer, Protocol, ReplyMode};
use crate::output::Call;
use crate::service::SubscriptionKind;

impl Pairing {
    /// Passes over the commands without a reply, so that `reply` answers the front of the queue.
    pub(super) fn settle(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        self.pass_over_silent(reply, call);
        // Under OFF only CLIENT REPLY ON and RESET have a reply. Subscriptions before them were not confirmed,
        // so they were refused.
        while self.muted && matches!(self.front(), Some(Answer::Confirmations { .. })) {
            self.pass_over_front(call);
            self.pass_over_silent(reply, call);
        }
        if mem::take(&mut self.muted) && self.transaction.is_some() && self.front() != Some(Answer::Reset) {
            self.lose(call); // CLIENT REPLY ON was queued, and its reply comes with that of EXEC
        }
    }

    /// Passes over the commands at the front that have neither a reply nor a confirmation. `reply` is the next reply.
    pub(super) fn pass_over_silent(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        while let Some(front) = self.front() {
            match front {
                Answer::Skipping => {
                    self.pop_front();
                    self.skip_one(call);
                }
                Answer::ClientReply(ReplyMode::On) if self.muted && self.refuses_most() => self.pass_over_front(call),
                // `+RESET` is not its reply. So it was refused for lack of permission, and OFF suppressed that error.
                Answer::ClientReply(ReplyMode::On) if self.muted && reply == Reply::Status(b"RESET") => {
                    self.pass_over_front(call);
                }
                Answer::ClientReply(ReplyMode::On) | Answer::Reset | Answer::Confirmations { .. } => return,
                _ if self.muted => self.pass_over_front(call),
                Answer::Silent | Answer::ClientReply(_) if self.transaction.is_some() => return,
                Answer::Silent if !self.is_refused(reply, b"'replconf") => drop(self.pop_front()),
                Answer::ClientReply(ReplyMode::Off) if !matches!(reply, Reply::Error(_)) => {
                    self.pop_front();
                    self.muted = true;
                }
                Answer::ClientReply(ReplyMode::Skip) if !self.is_refused(reply, b"'client") => {
                    self.pop_front();
                    self.skip_one(call);
                }
                _ => return,
            }
        }
    }

    /// `CLIENT REPLY SKIP` took effect. The next command has no reply, unless its reply cannot be suppressed.
    fn skip_one(&mut self, call: &mut Call<'_>) {
        match self.front() {
            Some(Answer::Confirmations { .. } | Answer::Skipping) => {}
            // Another CLIENT REPLY replaces the SKIP, unless it is refused.
            Some(Answer::ClientReply(_)) if !self.refuses_most() => {}
            Some(_) => self.pass_over_front(call),
            None => self.lose(call),
        }
    }

    /// Passes over the commands without a reply, if a command that this confirmation answers comes right after them.
    /// Returns whether it does.
    pub(super) fn settle_for_confirmation(
        &mut self,
        kind: SubscriptionKind,
        subscribe: bool,
        call: &mut Call<'_>,
    ) -> bool {
        let answers = |answer: Answer| matches!(answer, Answer::Confirmations { kind: k, subscribe: s, .. } if (k, s) == (kind, subscribe));
        let (mut muted, mut skip) = (self.muted, false);
        let mut reachable = false;
        let executing = self.executing.iter().map(|entry| (entry.answer, false));
        let queued = self.queue.iter().map(|entry| (entry.answer, self.in_subscriber_mode()));
        for (answer, refused) in executing.chain(queued) {
            match answer {
                _ if answers(answer) => {
                    reachable = true;
                    break;
                }
                Answer::ClientReply(_) if skip && refused => skip = false,
                Answer::Reset if skip => skip = false,
                Answer::ClientReply(ReplyMode::On) if muted && refused => {}
                Answer::ClientReply(ReplyMode::On) | Answer::Reset | Answer::Unknown => break,
                _ if muted => {}
                Answer::Silent => {}
                Answer::ClientReply(ReplyMode::Off) => muted = true,
                Answer::ClientReply(ReplyMode::Skip) | Answer::Skipping => skip = true,
                Answer::Replies(1)
                | Answer::Publishes(1)
                | Answer::PublishesToItself { .. }
                | Answer::LateReplies(1)
                | Answer::Entries { .. }
                | Answer::SetName(_)
                    if skip =>
                {
                    skip = false;
                }
                Answer::Multi | Answer::Exec { .. } | Answer::Discard | Answer::Hello(..) | Answer::Select(_)
                    if skip =>
                {
                    skip = false;
                }
                _ => break,
            }
        }
        while reachable && self.front().is_some_and(|front| !answers(front)) {
            match self.front() {
                Some(Answer::ClientReply(ReplyMode::Off)) => {
                    self.pop_front();
                    self.muted = true;
                }
                Some(Answer::ClientReply(ReplyMode::Skip) | Answer::Skipping) => {
                    self.pop_front();
                    self.skip_one(call);
                }
                Some(Answer::Silent) => drop(self.pop_front()),
                _ => self.pass_over_front(call),
            }
        }
        reachable
    }

    /// Passes over the command at the front, which has no reply. It took effect unless it was refused.
    fn pass_over_front(&mut self, call: &mut Call<'_>) {
        let refused = self.refuses_most();
        let Some(entry) = self.pop_front() else { return };
        let own = self.own_messages_of(entry.answer);
        if !self.executing.is_empty() {
            self.expect_own_messages(own, None);
        }
        match entry.answer {
            Answer::Multi | Answer::Select(_) | Answer::Sync | Answer::Monitor if refused => {}
            Answer::Hello(_, Some(name)) | Answer::SetName(name) if refused => self.name_answered(name, false, call),
            Answer::Hello(..) if refused => {}
            Answer::Multi if self.transaction.is_some() => {} // MULTI inside MULTI is refused
            Answer::Multi => self.transaction = Some(Transaction::default()),
            Answer::Exec { .. } => {
                for span in self.drop_transaction() {
                    self.end_span(span, None, call);
                }
            }
            Answer::Discard => self.discard(),
            Answer::Reset => self.reset(call),
            Answer::Hello(protocol, name) => self.greeted(protocol, name, call),
            Answer::SetName(name) => self.name_answered(name, true, call),
            Answer::Select(database) => self.database = database,
            // Its feed is suppressed too, until `CLIENT REPLY ON`.
            Answer::Monitor => self.monitoring = true,
            Answer::Sync | Answer::Unknown => self.lose(call),
            _ => {}
        }
        if let Some(span) = entry.span {
            self.end_span(span, None, call);
        }
    }

    /// Whether the command at the front is refused unless it subscribes, unsubscribes, pings or resets. The commands of a
    /// running transaction are not refused, because Redis checks this when they are queued.
    pub(super) fn refuses_most(&self) -> bool {
        self.executing.is_empty() && self.in_subscriber_mode()
    }

    /// Whether `reply` is the error by which the command at the front was refused, and not the reply to a later command.
    /// The command at the front has no other reply. `quoted` is the beginning of its name in a `NOPERM` error, which is
    /// `'client|reply'` or, before Redis 7, `'client'`.
    fn is_refused(&self, reply: Reply<'_>, quoted: &[u8]) -> bool {
        let Reply::Error(line) = reply else { return false };
        let is_named = || line.windows(quoted.len()).any(|window| window.eq_ignore_ascii_case(quoted));
        self.refuses_most() || line.starts_with(b"NOAUTH") || line.starts_with(b"NOPERM") && is_named()
    }

    /// Whether the connection is in RESP2's subscriber mode.
    pub(super) fn in_subscriber_mode(&self) -> bool {
        self.subscriptions.protocol == Protocol::Resp2 && self.subscriptions.any()
    }
}
