//! The two ends of a client's connection, as its spans tell of them.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{ConnectionAttributes, SpanEncoder};

/// The two ends of a client's connection. What its spans tell of them is encoded once, with the first span. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The address of the client, or what else is known of it.
    client: Option<Arc<str>>,
    /// The name that the client has given the connection.
    name: Option<Arc<str>>,
    peer: Option<NetworkPeer>,
    /// Whether the peer of which spans tell is the client, as for HTTP, and not Redis.
    peer_is_client: bool,
    encoded: OnceCell<Arc<ConnectionAttributes>>,
}

/// The Redis that a connection leads to, or the client that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkPeer {
    /// The IP address and the port to which the proxy is connected.
    Socket(SocketAddr),
    /// The path of a Unix socket.
    Unix(Arc<str>),
}

impl Connection {
    /// A connection without a name. Without a client or a Redis, spans tell nothing of that end.
    pub fn new(client: Option<String>, redis: Option<NetworkPeer>) -> Self {
        Self { client: client.map(Into::into), peer: redis, ..Self::default() }
    }

    /// A connection of an HTTP client, if its address is known.
    pub fn of_http(client: Option<SocketAddr>) -> Self {
        Self { peer: client.map(NetworkPeer::Socket), peer_is_client: true, ..Self::default() }
    }

    /// Takes note of the connection's name; `None` if it has none any more.
    pub fn named(&mut self, name: Option<Arc<str>>) {
        self.name = name;
        self.encoded.take();
    }

    /// `messaging.client.id`: the name, otherwise the address of the client.
    pub fn client_id(&self) -> Option<&str> {
        self.name.as_deref().or(self.client.as_deref())
    }

    /// The other end of the connection of which spans tell: the Redis that it leads to, or the client of HTTP.
    pub fn peer(&self) -> Option<&NetworkPeer> {
        self.peer.as_ref()
    }

    /// Whether [`peer`](Self::peer) is the client of HTTP, and not Redis.
    pub fn peer_is_client(&self) -> bool {
        self.peer_is_client
    }

    /// The attributes of its spans. All spans of a connection have one encoder.
    pub(super) fn attributes(&self, encoder: &SpanEncoder) -> &ConnectionAttributes {
        self.encoded.get_or_init(|| Arc::new(encoder.connection(self)))
    }
}
