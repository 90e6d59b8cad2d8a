//! The policy in force, which an operator may change while connections are open.
//!
//! A connection looks at a number before each read it handles, and fetches the policy only when that number has changed.
//! So a switch reaches every connection with its next byte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redistributed_core::Session;
use redistributed_core::glob::Glob;
use redistributed_core::session::{Mode, Policy};

/// Shared by all connections of all routes.
#[derive(Debug)]
pub struct LivePolicy {
    configured: Arc<Policy>,
    current: RwLock<Arc<Policy>>,
    /// Changes with `current`.
    version: AtomicU64,
}

/// A connection's copy.
#[derive(Debug)]
pub struct PolicyView {
    live: Arc<LivePolicy>,
    version: u64,
}

/// The modes of a policy, which is what can be switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// For channels that no glob matches.
    pub general: Mode,
    /// The first that matches decides.
    pub channels: Vec<(Glob, Mode)>,
}

impl LivePolicy {
    /// As the settings say, until it is switched.
    pub fn new(configured: Arc<Policy>) -> Arc<Self> {
        let current = RwLock::new(Arc::clone(&configured));
        Arc::new(Self { configured, current, version: AtomicU64::new(0) })
    }

    /// The policy in force.
    pub fn current(&self) -> Arc<Policy> {
        // A panic elsewhere does not make a pointer wrong.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The modes in force.
    pub fn modes(&self) -> Modes {
        let current = self.current();
        Modes { general: current.mode, channels: current.modes.clone() }
    }

    /// Puts other modes in force, for all connections.
    pub fn switch(&self, modes: Modes) {
        let policy = Policy { mode: modes.general, modes: modes.channels, ..Policy::clone(&self.configured) };
        self.replace(Arc::new(policy));
    }

    /// Goes back to what the settings say.
    pub fn restore(&self) {
        self.replace(Arc::clone(&self.configured));
    }

    fn replace(&self, policy: Arc<Policy>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = policy;
        // Under the lock, so that who sees the number gets this policy or a later one.
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl PolicyView {
    /// A new connection's: its session, and what tells it of switches.
    pub fn open(live: &Arc<LivePolicy>) -> (Session, Self) {
        // The number first: if a switch comes in between, the session gets the policy again.
        let version = live.version.load(Ordering::Acquire);
        (Session::new(live.current()), Self { live: Arc::clone(live), version })
    }

    /// Hands the policy to the session if it has been switched.
    pub fn refresh(&mut self, session: &mut Session) {
        let version = self.live.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            session.set_policy(self.live.current());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_changes_the_modes_and_nothing_else_and_can_be_taken_back() {
        let configured = Arc::new(Policy {
            inject_limit: 77,
            modes: vec![(Glob::new("a*").unwrap(), Mode::Strip)],
            ..Policy::default()
        });
        let live = LivePolicy::new(Arc::clone(&configured));
        let off = Modes { general: Mode::Strip, channels: Vec::new() };
        live.switch(off.clone());
        assert_eq!((live.modes(), live.current().inject_limit), (off, 77));
        live.restore();
        assert_eq!(live.modes(), Modes { general: Mode::Inject, channels: configured.modes.clone() });
    }

    #[test]
    fn a_connection_fetches_the_policy_once_after_each_switch() {
        let live = LivePolicy::new(Arc::default());
        let (mut session, mut view) = PolicyView::open(&live);
        // The current policy's owners: the switch, this answer, and each session that has fetched it.
        let owners = |live: &LivePolicy| Arc::strong_count(&live.current());
        live.switch(Modes { general: Mode::Observe, channels: Vec::new() });
        assert_eq!(owners(&live), 2);
        view.refresh(&mut session);
        assert_eq!(owners(&live), 3);
        let fetched = live.current();
        view.refresh(&mut session);
        assert_eq!(Arc::strong_count(&fetched), 3, "nothing was switched, nothing is fetched");
    }
}
