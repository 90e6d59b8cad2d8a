//! Commands that are not answered, so that the front of the queue is what the next reply answers.
//!
//! `CLIENT REPLY OFF` and `SKIP` silence others and themselves. Whether they took effect shows only in what comes next.

use core::mem;

use super::super::Call;
use super::super::command::{Protocol, ReplyMode};
use super::{Expect, Pairing, Reply, Transaction};
use crate::service::SubscriptionKind;

impl Pairing {
    /// Passes over what is not answered, so that the front of the queue is what `reply` answers.
    pub(super) fn settle(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        self.pass_over_silent(reply, call);
        // Only CLIENT REPLY ON and RESET answer under OFF, so that subscriptions before them were refused.
        while self.muted && matches!(self.front(), Some(Expect::Confirmations { .. })) {
            self.pass_over_front(call);
            self.pass_over_silent(reply, call);
        }
        if mem::take(&mut self.muted) && self.transaction.is_some() && self.front() != Some(Expect::Reset) {
            self.lose(call); // CLIENT REPLY ON was queued: what answers it comes with EXEC
        }
    }

    /// Passes over what is not answered and not confirmed either. `reply` is what comes next.
    pub(super) fn pass_over_silent(&mut self, reply: Reply<'_>, call: &mut Call<'_>) {
        while let Some(front) = self.front() {
            match front {
                Expect::Skipping => {
                    self.pop_front();
                    self.skip_one(call);
                }
                Expect::ClientReply(ReplyMode::On) if self.muted && self.refuses_most() => self.pass_over_front(call),
                // It was refused for want of permission, which OFF silenced too. Only RESET is answered so.
                Expect::ClientReply(ReplyMode::On) if self.muted && reply == Reply::Status(b"RESET") => {
                    self.pass_over_front(call);
                }
                Expect::ClientReply(ReplyMode::On) | Expect::Reset | Expect::Confirmations { .. } => return,
                _ if self.muted => self.pass_over_front(call),
                Expect::Silent | Expect::ClientReply(_) if self.transaction.is_some() => return,
                Expect::Silent if !self.is_refused(reply, b"'replconf") => drop(self.pop_front()),
                Expect::ClientReply(ReplyMode::Off) if !matches!(reply, Reply::Error(_)) => {
                    self.pop_front();
                    self.muted = true;
                }
                Expect::ClientReply(ReplyMode::Skip) if !self.is_refused(reply, b"'client") => {
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
            Some(Expect::Confirmations { .. } | Expect::Skipping) => {}
            // It replaces the SKIP, unless it is refused.
            Some(Expect::ClientReply(_)) if !self.refuses_most() => {}
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
        let answers = |expect: Expect| matches!(expect, Expect::Confirmations { kind: k, subscribe: s, .. } if (k, s) == (kind, subscribe));
        let (mut muted, mut skip) = (self.muted, false);
        let mut reachable = false;
        let executing = self.executing.iter().map(|entry| (entry.expect, false));
        let queued = self.queue.iter().map(|entry| (entry.expect, self.in_subscriber_mode()));
        for (expect, refused) in executing.chain(queued) {
            match expect {
                _ if answers(expect) => {
                    reachable = true;
                    break;
                }
                Expect::ClientReply(_) if skip && refused => skip = false,
                Expect::Reset if skip => skip = false,
                Expect::ClientReply(ReplyMode::On) if muted && refused => {}
                Expect::ClientReply(ReplyMode::On) | Expect::Reset | Expect::Unknown => break,
                _ if muted => {}
                Expect::Silent => {}
                Expect::ClientReply(ReplyMode::Off) => muted = true,
                Expect::ClientReply(ReplyMode::Skip) | Expect::Skipping => skip = true,
                Expect::Replies(1) | Expect::Publishes(1) | Expect::MayBlock if skip => skip = false,
                Expect::Multi | Expect::Exec | Expect::Discard | Expect::Hello(_) | Expect::Select(_) if skip => {
                    skip = false;
                }
                _ => break,
            }
        }
        while reachable && self.front().is_some_and(|front| !answers(front)) {
            match self.front() {
                Some(Expect::ClientReply(ReplyMode::Off)) => {
                    self.pop_front();
                    self.muted = true;
                }
                Some(Expect::ClientReply(ReplyMode::Skip) | Expect::Skipping) => {
                    self.pop_front();
                    self.skip_one(call);
                }
                Some(Expect::Silent) => drop(self.pop_front()),
                _ => self.pass_over_front(call),
            }
        }
        reachable
    }

    /// The command at the front had no answer; it took effect unless it was refused.
    fn pass_over_front(&mut self, call: &mut Call<'_>) {
        let refused = self.refuses_most();
        let Some(entry) = self.pop_front() else { return };
        match entry.expect {
            Expect::Multi | Expect::Hello(_) | Expect::Select(_) | Expect::Sync | Expect::Monitor if refused => {}
            Expect::Multi if self.transaction.is_some() => {} // nested: refused
            Expect::Multi => self.transaction = Some(Transaction::default()),
            Expect::Exec => {
                for span in self.drop_transaction() {
                    self.end_span(span, None, call);
                }
            }
            Expect::Discard => self.discard(),
            Expect::Reset => self.reset(call),
            Expect::Hello(protocol) => self.pubsub.protocol = protocol.unwrap_or(self.pubsub.protocol),
            Expect::Select(database) => self.database = database,
            // Its feed begins with the replies that `CLIENT REPLY ON` brings back.
            Expect::Monitor => self.monitoring = true,
            Expect::Sync | Expect::Unknown => self.lose(call),
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
        self.pubsub.protocol == Protocol::Resp2 && self.pubsub.is_subscribed()
    }
}
