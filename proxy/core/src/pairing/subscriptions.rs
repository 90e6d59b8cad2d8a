//! The protocol and the subscriptions of the connection, as the server has confirmed them.

use crate::commands::Protocol;
use crate::service::SubscriptionKind;

/// The protocol and the number of subscriptions. Confirmations, the replies to `HELLO` and `+RESET` change them.
#[derive(Debug)]
pub(super) struct Subscriptions {
    pub(super) protocol: Protocol,
    channels: u64,
    patterns: u64,
    shards: u64,
}

impl Subscriptions {
    pub(super) fn new() -> Self {
        Self { protocol: Protocol::Resp2, channels: 0, patterns: 0, shards: 0 }
    }

    /// Whether there is a subscription of any kind. As long as there is, a RESP2 connection is in subscriber mode.
    pub(super) fn any(&self) -> bool {
        self.channels > 0 || self.patterns > 0 || self.shards > 0
    }

    /// The number of subscriptions of one kind.
    pub(super) fn count(&self, kind: SubscriptionKind) -> u64 {
        match kind {
            SubscriptionKind::Channel => self.channels,
            SubscriptionKind::Pattern => self.patterns,
            SubscriptionKind::Shard => self.shards,
        }
    }

    /// Takes the count of a confirmation. The server reports channels and patterns as one sum, and shard channels apart.
    pub(super) fn confirm(&mut self, kind: SubscriptionKind, count: u64) {
        match kind {
            SubscriptionKind::Channel => self.channels = count.saturating_sub(self.patterns),
            SubscriptionKind::Pattern => self.patterns = count.saturating_sub(self.channels),
            SubscriptionKind::Shard => self.shards = count,
        }
    }

    /// Takes `+RESET`, which ends all subscriptions without a confirmation and returns to RESP2.
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
        let mut subscriptions = Subscriptions::new();
        for (kind, count) in [(Channel, 1), (Pattern, 2), (Shard, 1), (Channel, 1), (Pattern, 0)] {
            subscriptions.confirm(kind, count);
            assert!(subscriptions.any());
        }
        assert_eq!((subscriptions.count(Channel), subscriptions.count(Pattern), subscriptions.count(Shard)), (0, 0, 1));
        subscriptions.confirm(Shard, 0);
        assert!(!subscriptions.any());
    }

    #[test]
    fn a_duplicate_subscription_does_not_count() {
        let mut subscriptions = Subscriptions::new();
        subscriptions.confirm(Pattern, 1);
        subscriptions.confirm(Channel, 2);
        subscriptions.confirm(Channel, 2);
        assert_eq!((subscriptions.count(Channel), subscriptions.count(Pattern)), (1, 1));
    }
}
