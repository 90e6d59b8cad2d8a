//! The only reading of the wall clock, and the steady time by which spans are measured.
//!
//! A wall clock may be set back or forth while a span is open, by NTP or by hand, and the span would last an hour or end
//! before it began. So sessions are given [`now`], which only goes forward, and a finished span is [`date`]d: both its
//! ends are moved by what the wall clock is ahead of that time, so that the duration stays as it was measured.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use redistributed_core::trace::{SpanRecord, UnixNanos};

/// Reads the wall clock. A time before 1970 reads as 1970, one after 2554 as 2554.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn wall() -> UnixNanos {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixNanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

/// Reads the time for sessions: the wall clock at the first call, plus the time that has passed since.
pub fn now() -> UnixNanos {
    static FIRST: OnceLock<(Instant, UnixNanos)> = OnceLock::new();
    let (instant, wall) = FIRST.get_or_init(|| (Instant::now(), wall()));
    let passed = u64::try_from(instant.elapsed().as_nanos()).unwrap_or(u64::MAX);
    UnixNanos(wall.0.saturating_add(passed))
}

/// Moves `span` to the wall clock. It must have been finished by [`now`], a moment ago.
pub fn date(span: &mut SpanRecord) {
    OFFSET.date(span, read_offset);
}

/// The number of nanoseconds by which the wall clock is ahead of [`now`], which has just returned `now`.
pub fn wall_offset(now: UnixNanos) -> i64 {
    OFFSET.at(now, read_offset)
}

static OFFSET: Offset = Offset::new();

/// Measures by how many nanoseconds the wall clock is ahead of [`now`].
fn read_offset() -> i64 {
    /// The time, in nanoseconds, within which a measurement is accurate enough.
    const AT_ONCE: u64 = 1_000;
    let read = || {
        let (before, wall, after) = (now(), wall(), now());
        let took = after.0.saturating_sub(before.0);
        (took, i64::try_from(i128::from(wall.0) - i128::from(before.0 + took / 2)).unwrap_or_default())
    };
    let mut best = read();
    for _ in 0..3 {
        if best.0 <= AT_ONCE {
            break;
        }
        // The thread was interrupted between the clocks.
        best = best.min(read());
    }
    best.1
}

/// The last measurement, and its time.
struct Offset {
    nanos: AtomicI64,
    read_at: AtomicU64,
}

impl Offset {
    /// The time for which a measurement is used, in nanoseconds. The wall clock is slewed by 500 ppm at most, which is 5 µs in it.
    const HOLDS: u64 = 10_000_000;

    const fn new() -> Self {
        Self { nanos: AtomicI64::new(0), read_at: AtomicU64::new(0) }
    }

    fn at(&self, now: UnixNanos, read: impl FnOnce() -> i64) -> i64 {
        if now.0.saturating_sub(self.read_at.load(Ordering::Relaxed)) >= Self::HOLDS {
            self.nanos.store(read(), Ordering::Relaxed);
            self.read_at.store(now.0, Ordering::Relaxed);
        }
        self.nanos.load(Ordering::Relaxed)
    }

    fn date(&self, span: &mut SpanRecord, read: impl FnOnce() -> i64) {
        let nanos = self.at(span.end, read);
        span.start = UnixNanos(span.start.0.saturating_add_signed(nanos));
        span.end = UnixNanos(span.end.0.saturating_add_signed(nanos));
        if let Some(time) = span.inferred.as_mut().and_then(|inferred| inferred.handed_over.as_mut()) {
            *time = UnixNanos(time.0.saturating_add_signed(nanos));
        }
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::trace::{Operation, SpanContext};

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: i64 = 3_600_000_000_000;

    fn span(start: u64, end: u64) -> SpanRecord {
        let context =
            SpanContext::parse_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let operation = Operation::Publish { channel: "ch".into(), sharded: false, receivers: None, body_size: 0 };
        SpanRecord { end: UnixNanos(end), ..SpanRecord::new(context, UnixNanos(start), operation) }
    }

    fn dated(offset: &Offset, mut span: SpanRecord, read: impl FnOnce() -> i64) -> SpanRecord {
        offset.date(&mut span, read);
        span
    }

    #[test]
    fn a_wall_clock_that_jumps_moves_spans_and_changes_no_duration() {
        let offset = Offset::new();
        let mut began = 100_000 * SECOND;
        for ahead in [0, HOUR, -HOUR, 3 * HOUR, 0] {
            // Open while the clock jumps; the jump is seen when the span has ended.
            let moved = dated(&offset, span(began, began + 7 * SECOND), || ahead);
            assert_eq!(moved.end.0 - moved.start.0, 7 * SECOND);
            assert_eq!(moved.start.0, began.saturating_add_signed(ahead));
            began += 8 * SECOND;
        }
    }

    #[test]
    fn the_wall_clock_is_read_again_after_a_while_only() {
        let offset = Offset::new();
        assert_eq!(dated(&offset, span(SECOND, SECOND), || 5).end.0, SECOND + 5);
        let soon = SECOND + Offset::HOLDS - 1;
        assert_eq!(dated(&offset, span(soon, soon), || unreachable!()).end.0, soon + 5);
        assert_eq!(dated(&offset, span(soon + 1, soon + 1), || -3).end.0, soon + 1 - 3);
    }

    #[test]
    fn a_clock_before_1970_does_not_wrap() {
        assert_eq!(dated(&Offset::new(), span(SECOND, 2 * SECOND), || i64::MIN).start.0, 0);
    }

    #[test]
    fn time_goes_forward_and_agrees_with_the_wall_clock_while_that_is_not_set() {
        let first = now();
        assert!(now() >= first);
        let (before, time, after) = (wall(), now(), wall());
        let mut dated = span(time.0, time.0);
        date(&mut dated);
        // Within what the clocks are read apart, and a slew between two readings.
        let apart = 1_000_000;
        assert!(dated.end.0 + apart >= before.0 && dated.end.0 <= after.0 + apart, "{before:?} {dated:?} {after:?}");
    }
}
