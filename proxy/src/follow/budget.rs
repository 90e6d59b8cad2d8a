//! How much of a service is followed: following must not cost the service anything that it would notice.

use redistributed_core::trace::UnixNanos;

/// The events of a second that are followed for ever: a command with its reply is two. They take less than a tenth of a processor.
const EVENTS_A_SECOND: u64 = 50_000;

/// The events that may come at once, as when a service sends many commands in one write.
const AT_ONCE: u64 = 25_000;

/// For how long nothing is followed after there were more, in nanoseconds.
pub(super) const PAUSE: u64 = 10_000_000_000;

const SECOND: u64 = 1_000_000_000;

/// The events that may still come: a bucket that fills by [`EVENTS_A_SECOND`], up to [`AT_ONCE`].
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    spent: u64,
    /// When it was filled last.
    filled: UnixNanos,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AT_ONCE, spent: 0, filled: UnixNanos(0) }
    }
}

impl Budget {
    /// Takes one event of the service off the budget.
    pub(super) fn spend(&mut self) {
        self.spent += 1;
    }

    /// Whether there was no event since it was last asked whether the budget [is kept](Self::is_kept).
    pub(super) fn is_unused(&self) -> bool {
        self.spent == 0
    }

    /// Whether there were no more events than there may be. It is to be asked some times a second; after too many it is full again.
    pub(super) fn is_kept(&mut self, now: UnixNanos) -> bool {
        let passed = now.0.saturating_sub(self.filled.0).min(SECOND);
        self.filled = now;
        let filled = (self.left + EVENTS_A_SECOND * passed / SECOND).min(AT_ONCE);
        let left = filled.checked_sub(std::mem::take(&mut self.spent));
        self.left = left.unwrap_or(AT_ONCE);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends so many events in each of twenty ticks of 50 ms, and returns after how many it was too much.
    fn ticks_until_too_much(events: u64) -> Option<u64> {
        let mut budget = Budget::default();
        (1..=200).find(|tick| {
            (0..events).for_each(|_| budget.spend());
            !budget.is_kept(UnixNanos(tick * SECOND / 20))
        })
    }

    #[test]
    fn what_a_service_sends_for_ever_and_at_once_is_bounded() {
        assert_eq!(ticks_until_too_much(EVENTS_A_SECOND / 20), None);
        assert_eq!(ticks_until_too_much(AT_ONCE + 1), Some(1));
        let slowly = ticks_until_too_much(EVENTS_A_SECOND / 20 + 500);
        assert!(slowly.is_some_and(|ticks| ticks > 20), "{slowly:?}");
    }

    #[test]
    fn after_too_many_it_begins_anew() {
        let mut budget = Budget::default();
        (0..2 * AT_ONCE).for_each(|_| budget.spend());
        assert!(!budget.is_kept(UnixNanos(1)));
        (0..AT_ONCE).for_each(|_| budget.spend());
        assert!(budget.is_kept(UnixNanos(2)));
    }
}
