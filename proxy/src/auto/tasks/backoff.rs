//! When a task tries again after its connection to Redis has failed, and what the log says about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auto::AutoMode;
use crate::logging::Throttle;
use crate::redis::Error;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause after the first failure is twice this, or twice the interval if that is shorter.
const BASE_PAUSE: Duration = Duration::from_millis(250);

/// What a task uses its connection for, as the log says it.
#[derive(Clone, Copy)]
pub(super) struct Purpose {
    pub(super) task: &'static str,
    /// The consequence while the task cannot be done.
    pub(super) without: &'static str,
}

/// Counts the failures of one task in a row. The log has the first of them, and after that at most one line in each
/// [`Throttle::INTERVAL`].
pub(super) struct Backoff {
    purpose: Purpose,
    mode: Arc<AutoMode>,
    throttle: Throttle,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(purpose: Purpose, mode: &Arc<AutoMode>) -> Self {
        Self { purpose, mode: Arc::clone(mode), throttle: Throttle::default(), failures: 0 }
    }

    /// Logs a failure, and returns how long to wait before the next attempt.
    pub(super) fn failed(&mut self, error: &Error) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.throttle.admit(Instant::now()) {
            self.log(error, more);
        }
        match error {
            // Permissions and passwords are changed by hand.
            Error::Refused(_) | Error::Credentials(_) => LONGEST_PAUSE,
            _ => pause(self.failures, self.mode.settings.interval),
        }
    }

    /// Logs, after a failure, that Redis answers again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        if let Some(more) = self.throttle.settle(Instant::now()) {
            let task = self.purpose.task;
            tracing::warn!(upstream = %self.mode.dialer.upstream(), more, "mode auto can ask Redis again ({task})");
        }
    }

    fn log(&self, error: &Error, more: u64) {
        let upstream = self.mode.dialer.upstream();
        let Purpose { task, without } = self.purpose;
        match error {
            // EXECABORT: a permission is missing for a queued command, or for EXEC itself.
            Error::Refused(refusal) if matches!(refusal.code(), "NOPERM" | "NOAUTH" | "EXECABORT") => tracing::warn!(
                %upstream, %error, more,
                "mode auto needs more rights than the proxy has on Redis ({task}); {without}. They are listed in \
                 proxy/docs/auto.md"
            ),
            _ => {
                tracing::warn!(%upstream, %error, more, "mode auto cannot ask Redis ({task}); until it can, {without}")
            }
        }
    }
}

/// The pause before the next attempt. It doubles with each failure in a row.
fn pause(failures: u32, interval: Duration) -> Duration {
    (interval.min(BASE_PAUSE) * 2_u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE)
}
