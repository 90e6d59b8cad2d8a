//! Which protocol the connection speaks and what it is subscribed to, on the server's word.

use super::command::Protocol;
use crate::service::SubscriptionKind;

/// Moved only by confirmations, `HELLO` replies and `+RESET`.
#[derive(Debug)]
pub(super) struct PubSub {
    pub(super) protocol: Protocol,
    channels: u64,
    patterns: u64,
    shards: u64,
}

impl PubSub {
    pub(super) fn new() -> Self {
        Self { protocol: Protocol::Resp2, channels: 0, patterns: 0, shards: 0 }
    }

    /// Whether a RESP2 connection is in subscriber mode now: it lasts until no subscription of any kind is left.
    pub(super) fn is_subscribed(&self) -> bool {
        self.channels > 0 || self.patterns > 0 || self.shards > 0
    }

    /// Subscriptions of one kind.
    pub(super) fn count(&self, kind: SubscriptionKind) -> u64 {
        match kind {
            SubscriptionKind::Channel => self.channels,
            SubscriptionKind::Pattern => self.patterns,
            SubscriptionKind::Shard => self.shards,
        }
    }

    /// Takes the count of a confirmation. Channels and patterns are reported as one sum, shard channels apart.
    pub(super) fn confirm(&mut self, kind: SubscriptionKind, count: u64) {
        match kind {
            SubscriptionKind::Channel => self.channels = count.saturating_sub(self.patterns),
            SubscriptionKind::Pattern => self.patterns = count.saturating_sub(self.channels),
            SubscriptionKind::Shard => self.shards = count,
        }
    }

    /// `+RESET`: no subscription is left, and there is no confirmation of that.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::SubscriptionKind::{Channel, Pattern, Shard};
    use super::*;

    #[test]
    fn subscriber_mode_ends_when_both_counts_are_zero() {
        let mut pubsub = PubSub::new();
        for (kind, count) in [(Channel, 1), (Pattern, 2), (Shard, 1), (Channel, 1), (Pattern, 0)] {
            pubsub.confirm(kind, count);
            assert!(pubsub.is_subscribed());
        }
        assert_eq!((pubsub.count(Channel), pubsub.count(Pattern), pubsub.count(Shard)), (0, 0, 1));
        pubsub.confirm(Shard, 0);
        assert!(!pubsub.is_subscribed());
    }

    #[test]
    fn a_duplicate_subscription_does_not_count() {
        let mut pubsub = PubSub::new();
        pubsub.confirm(Pattern, 1);
        pubsub.confirm(Channel, 2);
        pubsub.confirm(Channel, 2);
        assert_eq!((pubsub.count(Channel), pubsub.count(Pattern)), (1, 1));
    }
}
