//! The first word of trouble with the collector: that exports are being repeated. That spans were lost is known only when
//! an export's time is over, and whoever has just mistyped an address should not have to wait for that.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines, for a collector that comes and goes.
const INTERVAL: Duration = Duration::from_secs(60);

/// What is known of the collector, by all exports to it.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last attempt has failed.
    failing: bool,
    quiet_until: Option<Instant>,
}

impl Trouble {
    /// An attempt has failed and will be repeated. Whether a line is to say so: if the one before has succeeded, or there
    /// was none.
    pub(super) fn repeated(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let news = !std::mem::replace(&mut state.failing, true) && state.quiet_until.is_none_or(|until| until <= now);
        if news {
            state.quiet_until = Some(now + INTERVAL);
        }
        news
    }

    /// An attempt has succeeded.
    pub(super) fn over(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_at_once_and_again_only_after_it_was_over_and_a_minute_has_passed() {
        let (trouble, now) = (Trouble::default(), Instant::now());
        assert!(trouble.repeated(now));
        assert!(!trouble.repeated(now + 2 * INTERVAL), "it goes on");
        trouble.over();
        assert!(trouble.repeated(now + 2 * INTERVAL));
        trouble.over();
        assert!(!trouble.repeated(now + 2 * INTERVAL), "it comes and goes");
    }
}
