//! Checks at the end of each conversation whether the proxy still pairs replies with commands.
//!
//! A conversation ends with a probe: a publish to a channel of its own, to which nobody subscribes. If replies are
//! paired, the span of the probe has a number of receivers, which is 0, or an error. If the pairing was lost, the span
//! ends with the request and has neither. Spans arrive late, so all probes are checked at the end of the run.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use otlp_receiver::ReceivedSpan;

/// The prefix of the channels of probes.
const PREFIX: &str = "oracle-probe-";

/// What is expected at the end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Replies are paired.
    Paired,
    /// Replies need not be paired, at least on some servers. The conversation says why.
    MayBeLost,
    /// Nothing, because the conversation was closed before its probe was answered.
    Nothing,
}

#[derive(Debug)]
struct Probe {
    of: String,
    /// The previous probe on the same connection. If the pairing was lost there, it stays lost.
    before: Option<usize>,
    expected: Expected,
}

/// All probes that were sent.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    sent: Mutex<Vec<Probe>>,
}

/// The outcome of the probes.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) paired: usize,
    /// Conversations that have lost the pairing, as their scripts allow.
    pub(crate) lost: BTreeSet<String>,
    /// Conversations that have lost the pairing and must not.
    pub(crate) wrong: BTreeSet<String>,
}

impl Probes {
    /// Makes a probe at the end of the conversation `of`, on the connection that had the probe `before`.
    pub(crate) fn add(&self, of: &str, expected: Expected, before: Option<usize>) -> usize {
        let mut sent = self.sent();
        sent.push(Probe { of: of.to_owned(), before, expected });
        sent.len() - 1
    }

    /// The channel of the probe, by which it is recognised.
    pub(crate) fn channel(probe: usize) -> String {
        format!("{PREFIX}{probe}")
    }

    /// Records that the conversation was closed before its probe was answered.
    pub(crate) fn forget(&self, probe: usize) {
        self.sent()[probe].expected = Expected::Nothing;
    }

    /// Evaluates the probes by the spans that have arrived at the collector. A probe without a span counts as lost,
    /// because its conversation was closed or is no longer parsed.
    pub(crate) fn evaluate(&self, spans: &[ReceivedSpan]) -> Outcome {
        let mut known: HashMap<usize, bool> = HashMap::new();
        for span in spans {
            let channel = span.text("messaging.destination.name").unwrap_or_default();
            if let Some(index) = channel.strip_prefix(PREFIX).and_then(|digits| digits.parse().ok()) {
                let paired = span.attribute("redis.pubsub.receivers").is_some() || span.text("error.type").is_some();
                known.insert(index, paired);
            }
        }
        let mut outcome = Outcome::default();
        let sent = self.sent();
        let is_paired = |index: &usize| known.get(index) == Some(&true) || sent[*index].expected == Expected::Nothing;
        for (index, probe) in sent.iter().enumerate() {
            let was_lost_before = probe.before.is_some_and(|before| !is_paired(&before));
            match (known.get(&index), probe.expected) {
                (Some(true), _) => outcome.paired += 1,
                (_, Expected::Nothing) => {}
                _ if was_lost_before => {}
                (_, Expected::MayBeLost) => drop(outcome.lost.insert(probe.of.clone())),
                (Some(false), _) => drop(outcome.wrong.insert(format!("{}: pairing lost", probe.of))),
                (None, _) => drop(outcome.wrong.insert(format!("{}: no span of its last publish", probe.of))),
            }
        }
        outcome
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Probe>> {
        // A comparison that has failed leaves the list intact.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
