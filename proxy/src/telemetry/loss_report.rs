//! The warnings about lost spans: the first loss at once, then a sum once a minute, and when it is over.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two warnings.
const INTERVAL: Duration = Duration::from_secs(60);

/// The warnings about one kind of loss.
#[derive(Debug, Default)]
pub(super) struct LossReport {
    last_warning: Option<Instant>,
    unreported: u64,
    /// Whether a warning has been written that has not been taken back.
    warned: bool,
}

impl LossReport {
    /// Adds lost spans. Returns the sum since the last warning if it is time for the next one.
    pub(super) fn lost(&mut self, spans: u64, now: Instant) -> Option<u64> {
        self.unreported += spans;
        if self.last_warning.is_some_and(|last| now < last + INTERVAL) {
            return None;
        }
        self.last_warning = Some(now);
        self.warned = true;
        Some(std::mem::take(&mut self.unreported))
    }

    /// Records a success. Returns the number of spans lost since the last warning if that has to be taken back.
    pub(super) fn recovered(&mut self) -> Option<u64> {
        std::mem::take(&mut self.warned).then(|| std::mem::take(&mut self.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_is_told_at_once_and_the_next_ones_as_a_sum_a_minute_later() {
        let start = Instant::now();
        let mut report = LossReport::default();
        assert_eq!(report.lost(5, start), Some(5));
        assert_eq!(report.lost(1, start + Duration::from_secs(1)), None);
        assert_eq!(report.lost(2, start + Duration::from_secs(59)), None);
        assert_eq!(report.lost(4, start + Duration::from_secs(60)), Some(7));
        assert_eq!(report.lost(1, start + Duration::from_secs(61)), None);
    }

    #[test]
    fn recovery_is_told_once_and_only_after_a_warning() {
        let start = Instant::now();
        let mut report = LossReport::default();
        assert_eq!(report.recovered(), None);
        report.lost(5, start);
        report.lost(3, start);
        assert_eq!(report.recovered(), Some(3));
        assert_eq!(report.recovered(), None);
    }

    #[test]
    fn a_collector_that_comes_and_goes_does_not_fill_the_log() {
        let start = Instant::now();
        let mut report = LossReport::default();
        let lines = (0..1_000)
            .map(|step| {
                let now = start + Duration::from_millis(step * 10);
                u32::from(report.lost(1, now).is_some()) + u32::from(report.recovered().is_some())
            })
            .sum::<u32>();
        assert_eq!(lines, 2, "ten seconds of it: one warning, one recovery");
    }
}
