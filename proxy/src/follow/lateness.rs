//! Whether the messages of a connection come as soon as they are published.

use std::sync::atomic::{AtomicU64, Ordering};

use redistributed_core::trace::UnixNanos;

/// How long the messages of a new subscription count as late, in nanoseconds: what is told may be of messages before it. Others
/// tell the context of a message after 150 ms if its cause is not known at once.
const YOUNG: u64 = 250_000_000;

/// How long messages count as late after the client has not taken what had come, in nanoseconds.
const AFTER_A_STALL: u64 = 1_000_000_000;

/// That there is no such time.
const NEVER: u64 = u64::MAX;

/// How far a connection lags behind, as far as it is known.
#[derive(Debug)]
pub(super) struct Lateness {
    /// Until when its messages count as late.
    late_until: AtomicU64,
    /// Since when the client does not take what has come.
    stalled_since: AtomicU64,
    /// Since when there was always more to be read than had been read, because other connections have their turn.
    behind_since: AtomicU64,
    /// Until when a subscription is young.
    young_until: AtomicU64,
    /// When it has ended a subscription last, or 0.
    ended: AtomicU64,
}

impl Default for Lateness {
    fn default() -> Self {
        let (stalled_since, behind_since) = (AtomicU64::new(NEVER), AtomicU64::new(NEVER));
        let young_until = AtomicU64::new(0);
        Self { late_until: AtomicU64::new(0), stalled_since, behind_since, young_until, ended: AtomicU64::new(0) }
    }
}

impl Lateness {
    /// The client has begun a subscription: what is told now may be of messages before it.
    pub(super) fn subscribed(&self, now: UnixNanos) {
        let until = now.0.saturating_add(YOUNG);
        self.late_until.fetch_max(until, Ordering::Relaxed);
        self.young_until.fetch_max(until, Ordering::Relaxed);
    }

    /// A subscription has ended, or messages of it may not be seen any more.
    pub(super) fn ended(&self, now: UnixNanos) {
        self.ended.fetch_max(now.0, Ordering::Relaxed);
    }

    /// Whether there are the same subscriptions as then, and none of them was young then.
    pub(super) fn is_unchanged_since(&self, then: UnixNanos) -> bool {
        self.ended.load(Ordering::Relaxed) < then.0 && self.young_until.load(Ordering::Relaxed) <= then.0
    }

    /// The client has stopped to take what comes, or takes it again.
    pub(super) fn stalled(&self, now: UnixNanos, is_stalled: bool) {
        self.stalled_since.store(if is_stalled { now.0 } else { NEVER }, Ordering::Relaxed);
        if !is_stalled {
            self.late_until.fetch_max(now.0.saturating_add(AFTER_A_STALL), Ordering::Relaxed);
        }
    }

    /// There is more to be read than was read in one turn, or all of it has been read.
    pub(super) fn behind(&self, now: UnixNanos, is_behind: bool) {
        self.behind_since.store(if is_behind { now.0 } else { NEVER }, Ordering::Relaxed);
    }

    /// Whether a message that is delivered now may have been published some time ago.
    pub(super) fn is_late(&self, now: UnixNanos) -> bool {
        now.0 < self.late_until.load(Ordering::Relaxed) || self.stalled_since.load(Ordering::Relaxed) != NEVER
    }

    /// Whether all that had come by then has been read since, if every thread has had its turn since.
    pub(super) fn has_been_read_since(&self, then: UnixNanos) -> bool {
        let began_later = |since: &AtomicU64| since.load(Ordering::Relaxed) > then.0;
        began_later(&self.stalled_since) && began_later(&self.behind_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> UnixNanos {
        UnixNanos(1_000 + nanos)
    }

    #[test]
    fn messages_are_late_at_first_and_while_the_client_does_not_take_them() {
        let lateness = Lateness::default();
        assert!(!lateness.is_late(at(0)));
        lateness.subscribed(at(0));
        assert!(lateness.is_late(at(YOUNG - 1)) && !lateness.is_late(at(YOUNG)));
        lateness.stalled(at(YOUNG), true);
        lateness.subscribed(at(YOUNG));
        assert!(lateness.is_late(at(10 * YOUNG)));
        lateness.stalled(at(10 * YOUNG), false);
        let end = 10 * YOUNG + AFTER_A_STALL;
        assert!(lateness.is_late(at(end - 1)) && !lateness.is_late(at(end)));
    }

    #[test]
    fn it_is_known_since_when_the_subscriptions_are_the_same() {
        let lateness = Lateness::default();
        assert!(lateness.is_unchanged_since(at(0)));
        lateness.ended(at(7));
        lateness.ended(at(5));
        assert!(!lateness.is_unchanged_since(at(7)) && lateness.is_unchanged_since(at(8)));
        lateness.subscribed(at(8));
        assert!(!lateness.is_unchanged_since(at(7 + YOUNG)) && lateness.is_unchanged_since(at(8 + YOUNG)));
    }

    #[test]
    fn what_had_come_has_been_read_unless_there_was_always_more() {
        let lateness = Lateness::default();
        assert!(lateness.has_been_read_since(at(0)));
        for lags in [Lateness::stalled, Lateness::behind] {
            lags(&lateness, at(5), true);
            assert!(lateness.has_been_read_since(at(4)) && !lateness.has_been_read_since(at(5)));
            lags(&lateness, at(6), false);
            assert!(lateness.has_been_read_since(at(7)));
        }
    }
}
