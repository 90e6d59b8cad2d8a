//! The warning that exports are being repeated. That spans were lost is known only when an export's time is over, and an
//! operator who has just mistyped an address should not have to wait for that.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two warnings, for a collector that comes and goes.
const INTERVAL: Duration = Duration::from_secs(60);

/// The warning, which all exports to a collector share.
#[derive(Debug, Default)]
pub(super) struct RepeatWarning {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the warning has been written and not taken back.
    said: bool,
    quiet_until: Option<Instant>,
}

impl RepeatWarning {
    /// Records that a failed attempt will be repeated. Returns whether to warn: the first time since the last success, and not
    /// within a minute of the last warning.
    pub(super) fn repeated(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said || state.quiet_until.is_some_and(|until| until > now) {
            return false;
        }
        *state = State { said: true, quiet_until: Some(now + INTERVAL) };
        true
    }

    /// Records that an attempt has succeeded. Returns whether there is a warning to take back.
    pub(super) fn succeeded(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_at_once_and_again_only_after_it_was_over_and_a_minute_has_passed() {
        let (warning, now) = (RepeatWarning::default(), Instant::now());
        assert!(!warning.succeeded(), "nothing was repeated");
        assert!(warning.repeated(now));
        assert!(!warning.repeated(now + 2 * INTERVAL), "it goes on");
        assert!(warning.succeeded());
        assert!(warning.repeated(now + 2 * INTERVAL));
        assert!(warning.succeeded());
        assert!(!warning.repeated(now + 2 * INTERVAL), "it comes and goes");
        assert!(!warning.succeeded(), "nothing was said");
        assert!(!warning.repeated(now + 2 * INTERVAL));
        assert!(warning.repeated(now + 3 * INTERVAL), "and it stays");
    }
}
