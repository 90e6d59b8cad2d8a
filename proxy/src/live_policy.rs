//! The policy of a service, which may change while connections are open.
//!
//! A connection compares a version number before each read that it handles, and fetches the policy only when the number has
//! changed. So a change reaches every connection with its next byte.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redistributed_core::policy::Policy;

/// A policy that all connections of a service follow.
#[derive(Debug)]
pub struct LivePolicy {
    current: RwLock<Arc<Policy>>,
    /// The version of `current`, which grows with each change.
    version: AtomicU64,
}

/// One connection's view of the policy.
#[derive(Debug)]
pub struct PolicyView {
    live: Arc<LivePolicy>,
    policy: Arc<Policy>,
    version: u64,
}

impl LivePolicy {
    /// A live policy that begins with `policy`.
    pub fn new(policy: Arc<Policy>) -> Arc<Self> {
        Arc::new(Self { current: RwLock::new(policy), version: AtomicU64::new(0) })
    }

    /// The policy in force.
    pub fn current(&self) -> Arc<Policy> {
        // A panic elsewhere does not make a pointer wrong.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force, for open connections too.
    pub fn set(&self, policy: Arc<Policy>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = policy;
        // Under the lock, so that whoever sees the new number fetches this policy or a later one.
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl PolicyView {
    /// The view of a new connection.
    pub fn open(live: &Arc<LivePolicy>) -> Self {
        // The number first: if the policy changes in between, it is fetched again.
        let version = live.version.load(Ordering::Acquire);
        Self { version, policy: live.current(), live: Arc::clone(live) }
    }

    /// The policy in force, which is fetched if it has changed.
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
    use super::*;

    #[test]
    fn a_connection_fetches_the_policy_once_after_each_change() {
        let live = LivePolicy::new(Arc::default());
        let mut view = PolicyView::open(&live);
        // The current policy's owners: the service, this answer, and each connection that has fetched it.
        let owners = |live: &LivePolicy| Arc::strong_count(&live.current());
        live.set(Arc::default());
        assert_eq!(owners(&live), 2);
        view.current();
        assert_eq!(owners(&live), 3);
        let fetched = live.current();
        view.current();
        assert_eq!(Arc::strong_count(&fetched), 3, "nothing has changed, nothing is fetched");
    }
}
