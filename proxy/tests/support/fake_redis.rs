//! A server that the test plays itself, on a port of its own.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use super::within;

/// The listening socket.
pub(crate) struct FakeRedis {
    listener: TcpListener,
    address: SocketAddr,
}

impl FakeRedis {
    /// Listens on a free port of the loopback interface.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        Self { listener, address }
    }

    /// The URL for `--upstream`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Accepts the next connection of the proxy.
    pub(crate) async fn accept(&self) -> TcpStream {
        let (stream, _) = within("the proxy to dial", self.listener.accept()).await.expect("a connection");
        stream.set_nodelay(true).expect("a live socket");
        stream
    }
}

/// An address where nobody listens.
pub(crate) async fn unused_address() -> SocketAddr {
    FakeRedis::start().await.address
}
