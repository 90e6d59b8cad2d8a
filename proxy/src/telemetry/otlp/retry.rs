//! Whether and when a request is repeated, by the OTLP specification: after an answer that allows it and after none at all, for
//! as long as the export may take. Delays double up to a longest one, with a random part in each, so that a fleet of sidecars
//! does not come back in step.

use std::time::{Duration, Instant};

/// The delay before the first repetition, without its random part.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest delay that is not asked for, without its random part. A collector that is back is not left waiting.
const LONGEST_DELAY: Duration = Duration::from_millis(1600);

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) retry: Retry,
}

/// Whether the same request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The same request would fail again, so it is not repeated.
    Never,
    /// The request may be repeated after a pause.
    Later,
    /// It may be repeated after this time at the earliest.
    After(Duration),
}

/// The delays of one request.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The next delay, without its random part.
    base: Duration,
    /// The time after which an answer is of no use.
    deadline: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(deadline: Option<Instant>) -> Self {
        Self { base: FIRST_DELAY, deadline }
    }

    /// The delay before the next attempt; `None` if there is to be none. `random` chooses the random part.
    pub(super) fn next(&mut self, retry: Retry, now: Instant, random: u64) -> Option<Duration> {
        let least = match retry {
            Retry::Never => return None,
            Retry::Later => Duration::ZERO,
            Retry::After(delay) => delay,
        };
        let base = self.base;
        self.base = (base * 2).min(LONGEST_DELAY);
        let jitter = Duration::from_nanos(random % (base.as_nanos() as u64));
        let delay = base.max(least).saturating_add(jitter);
        let Some(left) = self.deadline.map(|deadline| deadline.saturating_duration_since(now)) else {
            return Some(delay);
        };
        // Rather a short delay than none: the collector may be back before the time is over.
        let last = left / 2;
        [delay, last].into_iter().find(|&delay| delay < left && delay >= least.max(FIRST_DELAY))
    }
}

/// A random number. Without randomness the delays are merely the same everywhere.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_up_to_the_longest_with_a_random_part() {
        let now = Instant::now();
        let mut backoff = Backoff::new(None);
        let delays: Vec<_> = std::iter::from_fn(|| backoff.next(Retry::Later, now, 7_000_000)).take(7).collect();
        assert_eq!(delays, [107, 207, 407, 807, 1607, 1607, 1607].map(|delay| delay * MS));
        let largest = Backoff::new(None).next(Retry::Later, now, 99_999_999).unwrap();
        assert!(largest < 200 * MS, "the random part is less than the delay: {largest:?}");
    }

    #[test]
    fn what_is_refused_for_good_is_not_sent_again() {
        assert_eq!(Backoff::new(None).next(Retry::Never, Instant::now(), 0), None);
    }

    #[test]
    fn the_collector_may_ask_for_a_longer_delay_but_not_for_a_shorter_one() {
        let now = Instant::now();
        let first = |retry| Backoff::new(None).next(retry, now, 1_000_000).unwrap();
        assert_eq!(first(Retry::After(Duration::from_secs(3))), 3_001 * MS);
        assert_eq!(first(Retry::After(Duration::ZERO)), 101 * MS);
    }

    #[test]
    fn the_last_delays_are_short_enough_for_the_time_that_is_left() {
        let (began, limit) = (Instant::now(), Duration::from_secs(10));
        let (mut backoff, mut now) = (Backoff::new(Some(began + limit)), began);
        while let Some(delay) = backoff.next(Retry::Later, now, 0) {
            now += delay;
        }
        assert!(now < began + limit && now > began + limit - 2 * FIRST_DELAY, "{:?}", now - began);
    }

    #[test]
    fn nothing_is_waited_for_beyond_the_deadline() {
        let now = Instant::now();
        let next = |retry| Backoff::new(Some(now + 200 * MS)).next(retry, now, 0);
        assert_eq!(next(Retry::Later), Some(100 * MS));
        assert_eq!(next(Retry::After(200 * MS)), None);
        assert_eq!(next(Retry::After(Duration::MAX)), None);
    }
}
