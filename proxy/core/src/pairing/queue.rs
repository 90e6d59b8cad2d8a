//! The queue of unanswered requests.

use alloc::collections::VecDeque;

use super::open_spans::OpenSpan;
use super::{MAX_ENTRIES, Pairing};
use crate::commands::Answer;
use crate::output::Call;
use crate::trace::CommandId;

/// Capacity, in entries, above which the memory of an empty queue is released.
const KEPT_CAPACITY: usize = 64;

/// An unanswered request, or several like ones in a row without spans whose replies nobody wants to know.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) answer: Answer,
    pub(super) span: Option<OpenSpan>,
    /// What the request is called where its reply is reported.
    pub(super) command: Option<CommandId>,
}

impl Entry {
    /// A request without a span.
    pub(super) fn plain(answer: Answer) -> Self {
        Self { answer, span: None, command: None }
    }

    /// Counts `next` into this entry's run if it is a like request, and returns whether it is.
    pub(super) fn takes_in(&mut self, next: &Self) -> bool {
        if self.is_single() || next.is_single() {
            return false;
        }
        match (&mut self.answer, next.answer) {
            (Answer::Replies(run), Answer::Replies(more))
            | (Answer::LateReplies(run), Answer::LateReplies(more))
            | (Answer::Publishes(run), Answer::Publishes(more)) => *run += more,
            (
                Answer::ExpectedReceivers { evidence, count, run },
                Answer::ExpectedReceivers { evidence: next_evidence, count: next_count, run: 1 },
            ) if (*evidence, *count) == (next_evidence, next_count) => *run += 1,
            _ => return false,
        }
        true
    }

    /// Whether the request is not told from others by its answer alone.
    fn is_single(&self) -> bool {
        self.span.is_some() || self.command.is_some()
    }

    /// Splits one request off the run, unless it is the last.
    fn split_off(&mut self) -> Option<Self> {
        let one = match &mut self.answer {
            Answer::Replies(run @ 2..) => {
                *run -= 1;
                Answer::Replies(1)
            }
            Answer::LateReplies(run @ 2..) => {
                *run -= 1;
                Answer::LateReplies(1)
            }
            Answer::Publishes(run @ 2..) => {
                *run -= 1;
                Answer::Publishes(1)
            }
            Answer::ExpectedReceivers { evidence, count, run: run @ 2.. } => {
                *run -= 1;
                Answer::ExpectedReceivers { evidence: *evidence, count: *count, run: 1 }
            }
            _ => return None,
        };
        Some(Self::plain(one))
    }

    pub(super) fn is_subscription(&self) -> bool {
        matches!(self.answer, Answer::Confirmations { .. })
    }

    fn is_late(&self) -> bool {
        matches!(self.answer, Answer::LateReplies(_) | Answer::Entries { waits: true, .. })
    }
}

impl Answer {
    pub(super) fn is_publish(self) -> bool {
        matches!(self, Self::Publishes(_) | Self::ExpectedReceivers { .. } | Self::PublishesToItself { .. })
    }

    /// The number of the evidence that a reply of `receivers` to this publish contradicts.
    pub(super) fn contradicted_by(self, receivers: Option<u64>) -> Option<u64> {
        match self {
            Self::ExpectedReceivers { evidence, count, .. } if receivers != Some(u64::from(count)) => Some(evidence),
            _ => None,
        }
    }
}

impl Pairing {
    #[inline]
    pub(super) fn push(&mut self, entry: Entry, call: &mut Call<'_>) {
        if self.queue.is_empty() {
            self.doubt.nothing_unanswered();
        }
        if self.queue.back_mut().is_some_and(|last| last.takes_in(&entry)) {
            return;
        }
        if self.queue.len() >= MAX_ENTRIES {
            return self.lose_with(entry.span, call);
        }
        self.pending_subscriptions += usize::from(entry.is_subscription());
        self.pending_late += usize::from(entry.is_late());
        self.queue.push_back(entry);
    }

    pub(super) fn front(&self) -> Option<Answer> {
        self.executing.front().or(self.queue.front()).map(|entry| entry.answer)
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Entry> {
        self.executing.front_mut().or(self.queue.front_mut())
    }

    /// Removes the entry at the front, or one request of its run.
    pub(super) fn pop_front(&mut self) -> Option<Entry> {
        if let Some(one) = self.front_mut()?.split_off() {
            return Some(one);
        }
        let queue = if self.executing.is_empty() { &mut self.queue } else { &mut self.executing };
        let entry = queue.pop_front()?;
        give_back(queue);
        self.pending_subscriptions -= usize::from(entry.is_subscription());
        self.pending_late -= usize::from(entry.is_late());
        Some(entry)
    }
}

/// Releases the memory of an empty queue, so that an idle connection keeps none that a long pipeline needed.
pub(super) fn give_back(queue: &mut VecDeque<Entry>) {
    if queue.is_empty() && queue.capacity() > KEPT_CAPACITY {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::super::Reply;
    use super::*;
    use crate::output::Output;
    use crate::policy::Policy;
    use crate::service::Environment;
    use crate::trace::UnixNanos;
    use crate::trace::ids::CountingIds;

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let (mut out, mut ids, policy) = (Output::default(), CountingIds::default(), Arc::new(Policy::default()));
        let env = Environment::new(UnixNanos(1), &policy, &mut ids);
        let call = &mut Call { env, out: &mut out };
        let mut pairing = Pairing::new();
        for _ in 0..1000 {
            pairing.request(Answer::Select(0), None, None, call);
            pairing.ordinary_request(call);
        }
        for _ in 0..2000 {
            pairing.reply(Reply::Status(b"OK"), call);
        }
        assert!(pairing.queue.is_empty() && pairing.queue.capacity() <= KEPT_CAPACITY);
    }

    #[test]
    fn a_run_is_one_entry_and_is_taken_off_one_by_one() {
        let expected = |run| Answer::ExpectedReceivers { evidence: 7, count: 2, run };
        for (one, two) in [
            (Answer::Replies(1), Answer::Replies(2)),
            (Answer::LateReplies(1), Answer::LateReplies(2)),
            (Answer::Publishes(1), Answer::Publishes(2)),
            (expected(1), expected(2)),
        ] {
            let mut run = Entry::plain(one);
            assert!(run.takes_in(&Entry::plain(one)) && !run.takes_in(&Entry::plain(Answer::Multi)));
            assert_eq!(run.answer, two);
            assert_eq!(run.split_off().map(|entry| entry.answer), Some(one));
            assert_eq!((run.answer, run.split_off().is_none()), (one, true));
        }
    }
}
