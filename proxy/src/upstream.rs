//! Connecting to Redis.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::Upstream;
use crate::error::RelayError;

/// A connection to Redis.
#[derive(Debug)]
pub enum UpstreamStream {
    /// By TCP.
    Tcp(TcpStream),
    /// By a Unix socket.
    Unix(UnixStream),
}

/// Connects to `upstream`, whose name is resolved now, within `limit`.
///
/// # Errors
/// What the system said of the last address tried, or that the time is over.
pub async fn connect(upstream: &Upstream, limit: Duration) -> Result<UpstreamStream, RelayError> {
    let attempt = async {
        match upstream {
            Upstream::Tcp(address) => {
                let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
                tune(&stream)?;
                Ok(UpstreamStream::Tcp(stream))
            }
            Upstream::Unix(path) => UnixStream::connect(path).await.map(UpstreamStream::Unix),
        }
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}"));
    timeout(limit, attempt).await.unwrap_or_else(|_| Err(late())).map_err(RelayError::connect)
}

/// What both sides of a connection get: no waiting for more bytes before sending (Redis and its clients do the same),
/// and probes that find out within two minutes that a silent peer's machine has gone.
///
/// # Errors
/// The connection has already ended.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    const IDLE: Duration = Duration::from_secs(60);
    const BETWEEN_PROBES: Duration = Duration::from_secs(15);
    const PROBES: u32 = 4;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(BETWEEN_PROBES).with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
