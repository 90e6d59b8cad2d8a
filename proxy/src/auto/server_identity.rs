//! Which Redis server mode `auto` is about.
//!
//! What proxies announce to one server says nothing about the subscribers of another. A connection of a service therefore
//! counts only if it is certain to lead to the server that the proxy's own connections lead to: it has the same peer
//! address, and it was opened after the last time at which another server took over that address.

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

/// The server that the proxy's own connections of one route lead to.
#[derive(Debug, Default)]
pub struct ServerTracker {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    server: Option<ServerIdentity>,
    /// Grows by one whenever a connection of the proxy's own is lost.
    epoch: u64,
    /// Connections that were opened in an earlier epoch may lead to a previous server.
    valid_from: u64,
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

impl ServerTracker {
    /// Records that a connection of the proxy's own was opened and leads to `server`.
    pub fn connected(&self, server: &ServerIdentity) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.server.as_ref() != Some(server) && state.server.replace(server.clone()).is_some() {
            state.valid_from = state.epoch;
        }
    }

    /// Records that a connection of the proxy's own was lost. From now on the address may lead to another server.
    pub fn disconnected(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).epoch += 1;
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
}
