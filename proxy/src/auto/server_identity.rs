//! Which Redis server mode `auto` is about.
//!
//! What proxies announce to one server says nothing about the subscribers of another. A connection of a service therefore
//! counts only if it is certain to lead to the server that the proxy's own connections lead to: it has the same peer
//! address, and it was opened after the last time at which the address may have led to another server. That was when a
//! connection of the proxy's own was lost, or when an attempt to open one began that failed. What happens after an attempt
//! began does not count, because a service may reach the new server before the proxy learns that its attempt has failed.
//! For the same reason the proxy's own connections are looked at whenever a service opens one: the task that uses them may
//! learn only later that they are lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::net::hang_up::HangUp;

/// The server that the proxy's own connections of one route lead to.
#[derive(Debug, Default)]
pub struct ServerTracker {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    server: Option<ServerIdentity>,
    /// Grows by one whenever an attempt to connect begins, and whenever a connection of the proxy's own is lost.
    epoch: u64,
    /// The epoch that began with the latest loss or failed attempt.
    unreachable_until: u64,
    /// Connections that were opened in an earlier epoch may lead to a previous server.
    valid_from: u64,
    /// The proxy's own connections that are not known to be lost, by their number.
    watched: BTreeMap<u64, HangUp>,
    /// The number of connections watched so far.
    last_watched: u64,
}

impl State {
    fn disconnected(&mut self) {
        self.epoch += 1;
        self.unreachable_until = self.epoch;
    }
}

/// A connection of the proxy's own whose end is noticed early. The value must not outlive the connection.
#[derive(Debug)]
pub struct Watched {
    tracker: Arc<ServerTracker>,
    number: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.tracker.state.write().unwrap_or_else(PoisonError::into_inner);
        state.watched.remove(&self.number);
    }
}

/// A server, and the address at which it was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The peer address of the connection; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The field `run_id` of `INFO server`, which is new at each start of the server.
    pub run_id: Vec<u8>,
}

/// Where a connection of a service leads, as far as the proxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    peer: Option<SocketAddr>,
    epoch: u64,
}

/// An attempt to open a connection of the proxy's own.
#[derive(Debug)]
pub struct Attempt {
    epoch: u64,
}

impl ServerTracker {
    /// Records that the proxy begins to open a connection.
    pub fn begin_attempt(&self) -> Attempt {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.epoch += 1;
        Attempt { epoch: state.epoch }
    }

    /// Records that an attempt has failed. When it began, the address may not have led to the current server.
    pub fn attempt_failed(&self, attempt: &Attempt) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.unreachable_until = state.unreachable_until.max(attempt.epoch);
    }

    /// Records that a connection of the proxy's own was opened and leads to `server`.
    pub fn connected(&self, server: &ServerIdentity) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.server.as_ref() != Some(server) && state.server.replace(server.clone()).is_some() {
            state.valid_from = state.unreachable_until;
        }
    }

    /// Records that a connection of the proxy's own was lost. From now on the address may lead to another server.
    pub fn disconnected(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).disconnected();
    }

    /// Begins to watch a connection of the proxy's own.
    pub fn watch(self: &Arc<Self>, hang_up: HangUp) -> Watched {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.last_watched += 1;
        let number = state.last_watched;
        state.watched.insert(number, hang_up);
        Watched { tracker: Arc::clone(self), number }
    }

    /// Records that a connection was lost, unless that was noticed before.
    pub fn lost(&self, watched: &Watched) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.watched.remove(&watched.number).is_some() {
            state.disconnected();
        }
    }

    /// Looks whether connections of the proxy's own have ended, and records it. Returns whether there were any.
    pub fn notice_lost(&self) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.watched.len();
        state.watched.retain(|_, hang_up| !hang_up.has_happened());
        let any = state.watched.len() < before;
        if any {
            state.disconnected();
        }
        any
    }

    /// Whether `server` is the one that was connected last.
    pub fn is_current(&self, server: &ServerIdentity) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).server.as_ref() == Some(server)
    }

    /// The destination of a service's connection that has just been opened to `peer`.
    pub fn destination(&self, peer: Option<SocketAddr>) -> Destination {
        Destination { peer, epoch: self.state.read().unwrap_or_else(PoisonError::into_inner).epoch }
    }

    /// Whether a connection to `destination` is certain to lead to the current server.
    pub fn is_reached_by(&self, destination: Destination) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.server.as_ref().is_some_and(|server| server.peer == destination.peer)
            && destination.epoch >= state.valid_from
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn server(port: u16, run_id: &str) -> ServerIdentity {
        ServerIdentity { peer: Some(([127, 0, 0, 1], port).into()), run_id: run_id.into() }
    }

    #[test]
    fn a_connection_counts_if_it_has_the_peer_of_the_proxys_own_connections() {
        let tracker = ServerTracker::default();
        let [same, other] = [1, 2].map(|port| tracker.destination(server(port, "").peer));
        assert!(!tracker.is_reached_by(same), "no server is known yet");
        tracker.connected(&server(1, "a"));
        assert!(tracker.is_reached_by(same));
        assert!(!tracker.is_reached_by(other) && !tracker.is_reached_by(tracker.destination(None)));
        assert!(tracker.is_current(&server(1, "a")) && !tracker.is_current(&server(1, "b")));
    }

    #[test]
    fn connections_from_before_another_server_took_over_do_not_count() {
        let tracker = ServerTracker::default();
        tracker.connected(&server(1, "a"));
        let first = tracker.destination(server(1, "").peer);
        tracker.disconnected();
        let second = tracker.destination(server(1, "").peer);
        tracker.connected(&server(1, "a"));
        assert!(tracker.is_reached_by(first) && tracker.is_reached_by(second), "it is the same server as before");
        tracker.disconnected();
        let third = tracker.destination(server(1, "").peer);
        tracker.connected(&server(1, "b"));
        assert!(!tracker.is_reached_by(first) && !tracker.is_reached_by(second) && tracker.is_reached_by(third));
    }

    #[test]
    fn a_failed_attempt_excludes_the_connections_from_before_it_began_and_no_others() {
        let tracker = ServerTracker::default();
        tracker.connected(&server(1, "a"));
        tracker.disconnected();
        let before = tracker.destination(server(1, "").peer);
        let attempt = tracker.begin_attempt();
        let during = tracker.destination(server(1, "").peer);
        tracker.attempt_failed(&attempt);
        tracker.begin_attempt();
        let after = tracker.destination(server(1, "").peer);
        tracker.connected(&server(1, "b"));
        assert!(!tracker.is_reached_by(before) && tracker.is_reached_by(during) && tracker.is_reached_by(after));
    }

    #[test]
    fn a_loss_counts_from_when_a_service_connects_although_the_task_learns_of_it_later() {
        let tracker = Arc::<ServerTracker>::default();
        tracker.connected(&server(1, "a"));
        let (near, far) = UnixStream::pair().unwrap();
        let [early, late] = [(); 2].map(|()| tracker.watch(HangUp::of(&near).unwrap()));
        assert!(!tracker.notice_lost());
        let before = tracker.destination(server(1, "").peer);
        drop(far);
        tracker.lost(&early);
        assert!(tracker.notice_lost() && !tracker.notice_lost());
        let after = tracker.destination(server(1, "").peer);
        tracker.lost(&late);
        tracker.connected(&server(1, "b"));
        assert!(!tracker.is_reached_by(before) && tracker.is_reached_by(after));
    }

    #[test]
    fn an_attempt_that_succeeds_excludes_no_connections() {
        let tracker = ServerTracker::default();
        tracker.connected(&server(1, "a"));
        tracker.disconnected();
        let before = tracker.destination(server(1, "").peer);
        tracker.begin_attempt();
        tracker.connected(&server(1, "b"));
        assert!(tracker.is_reached_by(before));
    }
}
