//! When a task tries again after its connection to Redis has failed, and what the log says about it.

use std::time::{Duration, Instant};

use super::Error;
use crate::logging::Throttle;
use crate::net::upstream::Dialer;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause after the first failure is twice this, or twice the interval if that is shorter.
const BASE_PAUSE: Duration = Duration::from_millis(250);

/// What a task uses its connection for, as the log says it.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// What the task is a part of, as in `mode auto`.
    pub feature: &'static str,
    /// The task, as in `announcing subscriptions`.
    pub task: &'static str,
    /// The consequence while the task cannot be done.
    pub without: &'static str,
    /// The page that lists the rights which the proxy needs on Redis.
    pub page: &'static str,
}

/// Counts the failures of one task in a row. The log has the first of them, and after that at most one line in each
/// [`Throttle::INTERVAL`].
#[derive(Debug)]
pub struct Backoff {
    purpose: Purpose,
    dialer: Dialer,
    /// How often the task would ask Redis if it could.
    interval: Duration,
    throttle: Throttle,
    failures: u32,
}

impl Backoff {
    /// No failure so far of a task that asks the Redis of `dialer` as often as `interval` says.
    pub fn new(purpose: Purpose, dialer: Dialer, interval: Duration) -> Self {
        Self { purpose, dialer, interval, throttle: Throttle::default(), failures: 0 }
    }

    /// Logs a failure, and returns how long to wait before the next attempt.
    pub fn failed(&mut self, error: &Error) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.throttle.admit(Instant::now()) {
            self.log(error, more);
        }
        match error {
            // Permissions and passwords are changed by hand.
            Error::Refused(_) | Error::Credentials(_) => LONGEST_PAUSE,
            _ => pause(self.failures, self.interval),
        }
    }

    /// Logs, after a failure, that Redis answers again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        if let Some(more) = self.throttle.settle(Instant::now()) {
            let Purpose { feature, task, .. } = self.purpose;
            tracing::warn!(upstream = %self.dialer.upstream(), more, "{feature} can ask Redis again ({task})");
        }
    }

    fn log(&self, error: &Error, more: u64) {
        let upstream = self.dialer.upstream();
        let Purpose { feature, task, without, page } = self.purpose;
        match error {
            // EXECABORT: a permission is missing for a queued command, or for EXEC itself.
            Error::Refused(refusal) if matches!(refusal.code(), "NOPERM" | "NOAUTH" | "EXECABORT") => tracing::warn!(
                %upstream, %error, more,
                "{feature} needs more rights than the proxy has on Redis ({task}); {without}. They are listed in {page}"
            ),
            _ => {
                tracing::warn!(%upstream, %error, more, "{feature} cannot ask Redis ({task}); until it can, {without}")
            }
        }
    }
}

/// The pause before the next attempt. It doubles with each failure in a row.
fn pause(failures: u32, interval: Duration) -> Duration {
    (interval.min(BASE_PAUSE) * 2_u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE)
}
