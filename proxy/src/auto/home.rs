//! Which server the evidence is about.
//!
//! What is announced to one server, and what is read from it, says nothing of another one. A connection of a service
//! therefore counts only if it surely leads to the server that the proxy's own connections lead to: it has the same address
//! at its other end, and it was not opened before that address began to lead to another server than before.

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

/// The server, as far as it is known.
#[derive(Debug, Default)]
pub struct Home {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    server: Option<Server>,
    /// Grows when a connection of the proxy's own breaks.
    epoch: u64,
    /// Connections of services opened in an earlier epoch may lead to an earlier server.
    valid_from: u64,
}

/// A server and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The address at the other end; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What Redis calls itself, new at each start.
    pub run_id: Vec<u8>,
}

/// Where a connection of a service leads, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    peer: Option<SocketAddr>,
    epoch: u64,
}

impl Home {
    /// A connection of the proxy's own has been made, and leads here. True if that is another server than before.
    pub fn found(&self, server: Server) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.server.as_ref() == Some(&server) {
            return false;
        }
        let moved = state.server.replace(server).is_some();
        if moved {
            state.valid_from = state.epoch;
        }
        moved
    }

    /// A connection of the proxy's own has broken: the address may lead elsewhere from now on.
    pub fn broke(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).epoch += 1;
    }

    /// Whether this is the server that is known.
    pub fn is(&self, server: &Server) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).server.as_ref() == Some(server)
    }

    /// To be noted before a service's connection is used.
    pub fn note(&self, peer: Option<SocketAddr>) -> Whereabouts {
        Whereabouts { peer, epoch: self.state.read().unwrap_or_else(PoisonError::into_inner).epoch }
    }

    /// Whether a service's connection surely leads to the server that is known.
    pub fn holds(&self, connection: Whereabouts) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.server.as_ref().is_some_and(|server| server.peer == connection.peer)
            && connection.epoch >= state.valid_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16, run_id: &str) -> Server {
        Server { peer: Some(([127, 0, 0, 1], port).into()), run_id: run_id.into() }
    }

    #[test]
    fn a_connection_counts_if_it_ends_where_the_proxys_own_do() {
        let home = Home::default();
        let (here, elsewhere) = (home.note(server(1, "").peer), home.note(server(2, "").peer));
        assert!(!home.holds(here), "nothing is known yet");
        assert!(!home.found(server(1, "a")));
        assert!(home.holds(here) && !home.holds(elsewhere) && !home.holds(home.note(None)));
        assert!(home.is(&server(1, "a")) && !home.is(&server(1, "b")));
    }

    #[test]
    fn connections_from_before_another_server_took_over_do_not_count() {
        let home = Home::default();
        home.found(server(1, "a"));
        let old = home.note(server(1, "").peer);
        home.broke();
        let between = home.note(server(1, "").peer);
        assert!(home.holds(old) && !home.found(server(1, "a")), "the same server again changes nothing");
        assert!(home.holds(old));
        home.broke();
        let after = home.note(server(1, "").peer);
        assert!(home.found(server(1, "b")));
        assert!(!home.holds(old) && !home.holds(between) && home.holds(after));
    }
}
