//! Who publishes on a channel and who receives, and which messages are not followed.
//!
//! Redis says how many subscriptions have received a publish, and the spans of deliveries say how many were seen. Where the first
//! number is greater, some subscribers are without a proxy, or their spans have not come.

use std::collections::BTreeMap;
use std::sync::Arc;

use redistributed_core::trace::{SpanId, TraceId};

use super::Store;
use crate::entry::{Channel, Role};

/// What is known of a channel.
#[derive(Debug, Default)]
pub(crate) struct ChannelReport {
    /// The number of publishes of each service.
    pub(crate) publishers: BTreeMap<Arc<str>, usize>,
    /// The number of deliveries to each service.
    pub(crate) receivers: BTreeMap<Arc<str>, usize>,
    /// The number of receivers that Redis reported.
    pub(crate) receivers_said: u64,
    /// The begin of the last publish or delivery, in nanoseconds since the epoch.
    pub(crate) last: u64,
    /// The number of messages without a context, by the reason.
    pub(crate) untraced: BTreeMap<Box<str>, usize>,
}

/// A message that got no context.
#[derive(Debug)]
pub(crate) struct Untraced {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    /// When it was published, in nanoseconds since the epoch.
    pub(crate) at: u64,
    pub(crate) service: Arc<str>,
    /// The channel, unless it is hidden.
    pub(crate) channel: Option<Arc<str>>,
    pub(crate) reason: Box<str>,
}

/// The messages that got no context.
#[derive(Debug, Default)]
pub(crate) struct UntracedReport {
    /// The newest of these messages.
    pub(crate) messages: Vec<Untraced>,
    /// The number of all of them, by the reason.
    pub(crate) reasons: BTreeMap<Box<str>, usize>,
}

impl Store {
    /// What is known of each channel.
    pub(crate) fn channels(&self) -> BTreeMap<Channel, ChannelReport> {
        let mut channels = BTreeMap::<Channel, ChannelReport>::new();
        let inner = self.lock();
        for span in inner.transactions.values().flat_map(|transaction| transaction.spans.values()) {
            let Some(channel) = &span.channel else { continue };
            let report = channels.entry(channel.clone()).or_default();
            let service = Arc::clone(&span.origin.resource.service);
            report.last = report.last.max(span.start);
            match &span.role {
                Role::Publish { receivers, skipped } => {
                    *report.publishers.entry(service).or_default() += 1;
                    report.receivers_said = report.receivers_said.saturating_add(receivers.unwrap_or(0));
                    if let Some(reason) = skipped {
                        *report.untraced.entry(reason.clone()).or_default() += 1;
                    }
                }
                _ => *report.receivers.entry(service).or_default() += 1,
            }
        }
        channels
    }

    /// The messages that got no context: the newest of them, as many as `most`.
    pub(crate) fn untraced(&self, most: usize) -> UntracedReport {
        let mut report = UntracedReport::default();
        let inner = self.lock();
        for transaction in inner.newest() {
            for span in transaction.spans.values() {
                let Role::Publish { skipped: Some(reason), .. } = &span.role else { continue };
                *report.reasons.entry(reason.clone()).or_default() += 1;
                if report.messages.len() < most {
                    report.messages.push(Untraced {
                        trace: transaction.trace,
                        span: span.id,
                        at: span.start,
                        service: Arc::clone(&span.origin.resource.service),
                        channel: span.channel.as_ref().map(|channel| Arc::clone(&channel.name)),
                        reason: reason.clone(),
                    });
                }
            }
        }
        drop(inner);
        report.messages.sort_by_key(|message| std::cmp::Reverse(message.at));
        report
    }
}
