//! Commands that are not answered, so that the front of the queue is what the next reply answers.
//!
//! `CLIENT REPLY OFF` and `SKIP` silence others and themselves. Whether they took effect shows only in what comes next.

use core::mem;

use super::{Pairing, Reply, Transaction};
use crate::commands::{Answer, Protocol, ReplyMode};
use crate::output::Call;
use crate::service::SubscriptionKind;

impl Pairing {
    /// Passes over what is not answered, so that the front of the queue is what `reply` answers.
    pub(super) fn settle(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        self.pass_over_silent(reply, call);
        // Only CLIENT REPLY ON and RESET answer under OFF, so that subscriptions before them were refused.
        while self.muted && matches!(self.front(), Some(Answer::Confirmations { .. })) {
            self.pass_over_front(call);
            self.pass_over_silent(reply, call);
        }
        if mem::take(&mut self.muted) && self.transaction.is_some() && self.front() != Some(Answer::Reset) {
            self.lose(call); // CLIENT REPLY ON was queued: what answers it comes with EXEC
        }
    }

    /// Passes over what is not answered and not confirmed either. `reply` is what comes next.
    pub(super) fn pass_over_silent(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        while let Some(front) = self.front() {
            match front {
                Answer::Skipping => {
                    self.pop_front();
                    self.skip_one(call);
                }
                Answer::ClientReply(ReplyMode::On) if self.muted && self.refuses_most() => self.pass_over_front(call),
                // It was refused for want of permission, which OFF silenced too. Only RESET is answered so.
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

    /// `CLIENT REPLY SKIP` took effect: the next command is not answered, if it is one that can be silenced.
    fn skip_one(&mut self, call: &mut Call<'_>) {
        match self.front() {
            Some(Answer::Confirmations { .. } | Answer::Skipping) => {}
            // It replaces the SKIP, unless it is refused.
            Some(Answer::ClientReply(_)) if !self.refuses_most() => {}
            Some(_) => self.pass_over_front(call),
            None => self.lose(call),
        }
    }

    /// Passes over what is not answered if that leads to a subscription which this confirmation answers.
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
                Answer::Replies(1) | Answer::Publishes(1) | Answer::LateReplies(1) if skip => skip = false,
                Answer::Multi | Answer::Exec | Answer::Discard | Answer::Hello(_) | Answer::Select(_) if skip => {
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

    /// The command at the front had no answer; it took effect unless it was refused.
    fn pass_over_front(&mut self, call: &mut Call<'_>) {
        let refused = self.refuses_most();
        let Some(entry) = self.pop_front() else { return };
        match entry.answer {
            Answer::Multi | Answer::Hello(_) | Answer::Select(_) | Answer::Sync | Answer::Monitor if refused => {}
            Answer::Multi if self.transaction.is_some() => {} // nested: refused
            Answer::Multi => self.transaction = Some(Transaction::default()),
            Answer::Exec => {
                for span in self.drop_transaction() {
                    self.end_span(span, None, call);
                }
            }
            Answer::Discard => self.discard(),
            Answer::Reset => self.reset(call),
            Answer::Hello(protocol) => self.subscriptions.protocol = protocol.unwrap_or(self.subscriptions.protocol),
            Answer::Select(database) => self.database = database,
            // Its feed begins with the replies that `CLIENT REPLY ON` brings back.
            Answer::Monitor => self.monitoring = true,
            Answer::Sync | Answer::Unknown => self.lose(call),
            _ => {}
        }
        if let Some(span) = entry.span {
            self.end_span(span, None, call);
        }
    }

    /// Whether the command at the front is refused unless it subscribes, unsubscribes, pings or resets. A transaction's
    /// commands are not: the rule is checked when they are queued.
    pub(super) fn refuses_most(&self) -> bool {
        self.executing.is_empty() && self.in_subscriber_mode()
    }

    /// Whether `reply` is an error of the command at the front, which answers nothing else, and not of a later command
    /// whose reply is the first to be seen. `NOPERM` names the command, as `'client|reply'` or, before Redis 7, as
    /// `'client'`.
    fn is_refused(&self, reply: Reply<'_>, quoted: &[u8]) -> bool {
        let Reply::Error(line) = reply else { return false };
        let is_named = || line.windows(quoted.len()).any(|window| window.eq_ignore_ascii_case(quoted));
        self.refuses_most() || line.starts_with(b"NOAUTH") || line.starts_with(b"NOPERM") && is_named()
    }

    /// RESP2's subscriber mode.
    pub(super) fn in_subscriber_mode(&self) -> bool {
        self.subscriptions.protocol == Protocol::Resp2 && self.subscriptions.any()
    }
}
