//! The policy in force, which an operator may change while connections are open.
//!
//! A connection looks at a number before each read it handles, and fetches the policy only when that number has changed.
//! So a switch reaches every connection with its next byte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redistributed_core::policy::Policy;

use crate::settings::modes::Modes;

/// Shared by all connections of all routes.
#[derive(Debug)]
pub struct LivePolicy {
    state: RwLock<State>,
    /// Changes with the policy in force.
    version: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// As the settings say.
    configured: Arc<Policy>,
    /// In place of the modes of `configured`, until they are taken back.
    switched: Option<Modes>,
    /// In force: what comes of both.
    current: Arc<Policy>,
}

/// A connection's copy.
#[derive(Debug)]
pub struct PolicyView {
    live: Arc<LivePolicy>,
    policy: Arc<Policy>,
    version: u64,
}

impl LivePolicy {
    /// As the settings say, until it is switched.
    pub fn new(configured: Arc<Policy>) -> Arc<Self> {
        let state = State { current: Arc::clone(&configured), configured, switched: None };
        Arc::new(Self { state: RwLock::new(state), version: AtomicU64::new(0) })
    }

    /// The policy in force.
    pub fn current(&self) -> Arc<Policy> {
        // A panic elsewhere does not make a pointer wrong.
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    /// What the settings say.
    pub fn configured(&self) -> Arc<Policy> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).configured)
    }

    /// The modes in force.
    pub fn modes(&self) -> Modes {
        let current = self.current();
        Modes { general: current.mode, channels: current.modes.clone() }
    }

    /// Whether modes are in force that the settings do not say.
    pub fn is_switched(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).switched.is_some()
    }

    /// Puts other modes in force, for all connections, until [`restore`](Self::restore).
    pub fn switch(&self, modes: Modes) {
        self.change(|state| state.switched = Some(modes));
    }

    /// Goes back to what the settings say.
    pub fn restore(&self) {
        self.change(|state| state.switched = None);
    }

    /// The settings say something else from now on. Modes that were switched stay in force: who has thrown a switch must
    /// not lose it to a file.
    pub fn configure(&self, configured: Arc<Policy>) {
        self.change(|state| state.configured = configured);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.current = match &state.switched {
            None => Arc::clone(&state.configured),
            Some(Modes { general, channels }) => {
                let policy = Policy::clone(&state.configured);
                Arc::new(Policy { mode: *general, modes: channels.clone(), ..policy })
            }
        };
        // Under the lock, so that who sees the number gets this policy or a later one.
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl PolicyView {
    /// A new connection's copy.
    pub fn open(live: &Arc<LivePolicy>) -> Self {
        // The number first: if a switch comes in between, the policy is fetched again.
        let version = live.version.load(Ordering::Acquire);
        Self { version, policy: live.current(), live: Arc::clone(live) }
    }

    /// The policy in force, which is fetched if it has been switched.
    pub fn current(&mut self) -> &Arc<Policy> {
        let version = self.live.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.policy = self.live.current();
        }
        &self.policy
    }
}

#[cfg(test)]
mod tests {
    use redistributed_core::glob::Glob;
    use redistributed_core::policy::Mode;

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
    fn a_switch_outlives_other_settings_and_then_gives_way_to_them() {
        let live = LivePolicy::new(Arc::default());
        let off = Modes { general: Mode::Strip, channels: Vec::new() };
        live.switch(off.clone());
        let exclude = vec![Glob::new("a*").unwrap()];
        live.configure(Arc::new(Policy { mode: Mode::Observe, exclude, ..Policy::default() }));
        assert_eq!((live.modes(), live.is_switched(), live.current().exclude.len()), (off, true, 1));
        live.restore();
        assert_eq!((live.modes().general, live.is_switched()), (Mode::Observe, false));
    }

    #[test]
    fn a_connection_fetches_the_policy_once_after_each_switch() {
        let live = LivePolicy::new(Arc::default());
        let mut view = PolicyView::open(&live);
        // The current policy's owners: the switch, this answer, and each connection that has fetched it.
        let owners = |live: &LivePolicy| Arc::strong_count(&live.current());
        live.switch(Modes { general: Mode::Observe, channels: Vec::new() });
        assert_eq!(owners(&live), 2);
        view.current();
        assert_eq!(owners(&live), 3);
        let fetched = live.current();
        view.current();
        assert_eq!(Arc::strong_count(&fetched), 3, "nothing was switched, nothing is fetched");
    }
}
