//! What may still be told apart on a RESP2 connection whose pairing is lost.
//!
//! In subscriber mode an array that looks like a message is one, because the commands that could answer so are refused. But
//! a confirmation that seems to begin the mode may be the answer of a script, and within a transaction anything may stand
//! beside a message. As soon as the client has sent what could answer so, an array is no longer taken for a message, because
//! a reply must not lose its end. Pushes always say what they are.

use super::Pairing;
use super::queue::Entry;
use crate::commands::{Answer, ReplyMode};

/// Whether replies may look like messages or confirmations where these could stand.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Whether a script may be unanswered.
    scripts: bool,
    /// Whether there is another reason. It stays for good.
    other: bool,
}

impl Doubt {
    pub(super) fn exists(&self) -> bool {
        self.scripts || self.other
    }

    /// A script was sent. Its answer may look like a confirmation.
    pub(super) fn script_sent(&mut self) {
        self.scripts = true;
    }

    /// All that was sent before has been answered.
    pub(super) fn nothing_unanswered(&mut self) {
        self.scripts = false;
    }

    /// The client sends what is not understood.
    pub(super) fn unknown_request(&mut self) {
        self.other = true;
    }

    /// Takes note of a request that no reply will be paired with. `skipped` means that `CLIENT REPLY SKIP` comes before it.
    pub(super) fn request(&mut self, answer: Answer, in_transaction: bool, skipped: bool) {
        self.other |= match answer {
            // Within a transaction these stand where a message could, or change unseen what an array is.
            Answer::Replies(_)
            | Answer::LateReplies(_)
            | Answer::Entries { .. }
            | Answer::ClientReply(_)
            | Answer::Hello(..) => in_transaction,
            // It ends subscriber mode unseen.
            Answer::Reset => skipped,
            _ => false,
        };
    }
}

impl Pairing {
    /// Takes note of all that is unanswered, because its replies will not be paired.
    pub(super) fn doubt_unanswered(&mut self) {
        let Self { doubt, executing, transaction, queue, .. } = self;
        let queued = transaction.iter().flat_map(|transaction| &transaction.entries);
        for Entry { answer, .. } in executing.iter().chain(queued) {
            doubt.request(*answer, true, false);
        }
        let (mut in_transaction, mut skipped) = (transaction.is_some(), false);
        for &Entry { answer, .. } in queue.iter() {
            doubt.request(answer, in_transaction, skipped);
            skipped = matches!(answer, Answer::ClientReply(ReplyMode::Skip) | Answer::Skipping);
            in_transaction = match answer {
                Answer::Multi => true,
                Answer::Exec { .. } | Answer::Discard | Answer::Reset => false,
                _ => in_transaction,
            };
        }
    }
}
