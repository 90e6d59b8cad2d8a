//! Whether the proxy still knows which reply answers which command, at the end of each conversation.
//!
//! A conversation ends with a publish to a channel of its own, where nobody listens. If the replies are paired, its span
//! says that nobody received it, or which error came; if the pairing was lost, its span ends with the request and says
//! neither. Spans arrive late, so all probes are judged at the end.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use otlp_receiver::ReceivedSpan;

/// Channels begin so.
const PREFIX: &str = "oracle-probe-";

/// What must be known at the end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Its replies are paired.
    Paired,
    /// They are not, or not on each server: the conversation says why.
    MayBeLost,
    /// Nothing: the conversation was closed before its probe was answered.
    Nothing,
}

#[derive(Debug)]
struct Probe {
    of: String,
    /// The probe before on the same connection. What that lost stays lost.
    before: Option<usize>,
    expected: Expected,
}

/// All probes that were sent.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    sent: Mutex<Vec<Probe>>,
}

/// What became of the probes.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) paired: usize,
    /// Conversations that lost the pairing, as their scripts say they may.
    pub(crate) lost: BTreeSet<String>,
    /// Those that must not.
    pub(crate) wrong: BTreeSet<String>,
}

impl Probes {
    /// A new probe at the end of `of`, on the connection that had the probe `before`.
    pub(crate) fn add(&self, of: &str, expected: Expected, before: Option<usize>) -> usize {
        let mut sent = self.sent();
        sent.push(Probe { of: of.to_owned(), before, expected });
        sent.len() - 1
    }

    /// What is published to, so that the probe can be recognised.
    pub(crate) fn channel(probe: usize) -> String {
        format!("{PREFIX}{probe}")
    }

    /// Its conversation was closed before.
    pub(crate) fn forget(&self, probe: usize) {
        self.sent()[probe].expected = Expected::Nothing;
    }

    /// Judges them by what has arrived at the collector. A probe without a span counts as lost: its conversation was
    /// closed or is not read any more.
    pub(crate) fn judge(&self, spans: &[ReceivedSpan]) -> Verdict {
        let mut known: HashMap<usize, bool> = HashMap::new();
        for span in spans {
            let channel = span.text("messaging.destination.name").unwrap_or_default();
            if let Some(index) = channel.strip_prefix(PREFIX).and_then(|digits| digits.parse().ok()) {
                let paired = span.attribute("redis.pubsub.receivers").is_some() || span.text("error.type").is_some();
                known.insert(index, paired);
            }
        }
        let mut verdict = Verdict::default();
        let sent = self.sent();
        let is_paired = |index: &usize| known.get(index) == Some(&true) || sent[*index].expected == Expected::Nothing;
        for (index, probe) in sent.iter().enumerate() {
            let was_lost_before = probe.before.is_some_and(|before| !is_paired(&before));
            match (known.get(&index), probe.expected) {
                (Some(true), _) => verdict.paired += 1,
                (_, Expected::Nothing) => {}
                _ if was_lost_before => {}
                (_, Expected::MayBeLost) => drop(verdict.lost.insert(probe.of.clone())),
                (Some(false), _) => drop(verdict.wrong.insert(format!("{}: pairing lost", probe.of))),
                (None, _) => drop(verdict.wrong.insert(format!("{}: no span of its last publish", probe.of))),
            }
        }
        verdict
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Probe>> {
        // What a comparison that failed has left is still a list.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
