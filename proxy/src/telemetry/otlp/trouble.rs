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
    /// A line about it has been written, and none that it is over.
    said: bool,
    quiet_until: Option<Instant>,
}

impl Trouble {
    /// An attempt has failed and will be repeated. Whether a line is to say so: the first time since it was over, and not
    /// within a minute of the last one.
    pub(super) fn repeated(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said || state.quiet_until.is_some_and(|until| until > now) {
            return false;
        }
        *state = State { said: true, quiet_until: Some(now + INTERVAL) };
        true
    }

    /// An attempt has succeeded. Whether there is a line to take back.
    pub(super) fn over(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_at_once_and_again_only_after_it_was_over_and_a_minute_has_passed() {
        let (trouble, now) = (Trouble::default(), Instant::now());
        assert!(!trouble.over(), "there was none");
        assert!(trouble.repeated(now));
        assert!(!trouble.repeated(now + 2 * INTERVAL), "it goes on");
        assert!(trouble.over());
        assert!(trouble.repeated(now + 2 * INTERVAL));
        assert!(trouble.over());
        assert!(!trouble.repeated(now + 2 * INTERVAL), "it comes and goes");
        assert!(!trouble.over(), "nothing was said");
        assert!(!trouble.repeated(now + 2 * INTERVAL));
        assert!(trouble.repeated(now + 3 * INTERVAL), "and it stays");
    }
}
