//! Spans that wait no longer, and what has become known of them.

use redistributed_core::policy::{Commands, Policy};
use redistributed_core::trace::{Context, Operation, SpanContext};

use super::Leaving;

/// What has become known of the cause of a command.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The context of its cause, if that is traced, and the rule by which it was found.
    Cause(Option<Context>, &'static str),
    /// The spans of a batch that it was sent for.
    Batch(Vec<SpanContext>),
}

/// The spans of a command that has ended. Only a script that publishes on several channels has more than one.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) first: Leaving,
    pub(super) others: Vec<Leaving>,
}

impl Ended {
    /// The spans, which wait no longer, because their cause was `found` or because it will not be.
    pub(super) fn finished(self, found: Option<&Found>) -> impl Iterator<Item = Finished> {
        let finished = move |span| Finished::Command { span, found: found.cloned() };
        std::iter::once(self.first).chain(self.others).map(finished)
    }
}

/// A span that waits no longer.
#[derive(Debug)]
pub(super) enum Finished {
    Delivery(Leaving),
    Command {
        span: Leaving,
        /// Its cause, if it became known.
        found: Option<Found>,
    },
}

impl Finished {
    /// The span as it is handed over; `None` if it is not wanted.
    pub(super) fn decide(self, policy: &Policy) -> Option<Leaving> {
        let (mut span, found) = match self {
            Self::Delivery(span) => return Some(span),
            Self::Command { span, found } => (span, found),
        };
        match found {
            Some(Found::Cause(Some(cause), rule)) => policy.attribute(&mut span.record, &cause, rule),
            Some(Found::Batch(links)) => {
                let inferred = span.record.inferred.get_or_insert_default();
                (inferred.links, inferred.undecided) = (links, None);
            }
            _ if is_command(&span) && policy.commands == Commands::Caused => return None,
            _ => {}
        }
        Some(span)
    }
}

fn is_command(span: &Leaving) -> bool {
    matches!(span.record.operation, Operation::Command { .. })
}
