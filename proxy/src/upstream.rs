//! Connecting to Redis.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Upstream;
use crate::config::settings::UpstreamTls;
use crate::error::RelayError;
use crate::tls::{self, TlsError};

/// A connection to Redis.
#[derive(Debug)]
pub enum UpstreamStream {
    /// By TCP.
    Tcp(TcpStream),
    /// By TLS on TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// By a Unix socket.
    Unix(UnixStream),
}

impl UpstreamStream {
    /// The address at the other end; `None` on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// Makes connections to one Redis.
#[derive(Clone, Debug)]
pub struct Dialer {
    upstream: Upstream,
    /// For `rediss://`.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    limit: Duration,
}

impl Dialer {
    /// Reads the certificates that `rediss://` needs. A connection, resolving the name and the handshake included, may
    /// take as long as `limit`.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be used, or the host cannot be the name in a certificate.
    pub fn new(upstream: &Upstream, tls: &UpstreamTls, limit: Duration) -> Result<Self, TlsError> {
        let tls = match upstream {
            Upstream::Tls(address) => {
                let name = tls.server_name.as_ref().unwrap_or(&address.host);
                let name = ServerName::try_from(name.clone())
                    .map_err(|_| TlsError::Setup(format!("`{name}` cannot be a name in a certificate")))?;
                Some((Arc::new(tls::client_config(&tls.files, UpstreamTls::NAMES)?), name))
            }
            Upstream::Tcp(_) | Upstream::Unix(_) => None,
        };
        Ok(Self { upstream: upstream.clone(), tls, limit })
    }

    /// Where it connects to.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The same, with less patience.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self { limit: self.limit.min(limit), ..self.clone() }
    }

    /// Connects. The name is resolved now, so that a Redis that moved is found.
    ///
    /// # Errors
    /// What the system said of the last address tried, why the certificate was refused, or that the time is over.
    pub async fn connect(&self) -> Result<UpstreamStream, RelayError> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {:?}", self.limit));
        timeout(self.limit, self.attempt()).await.unwrap_or_else(|_| Err(late())).map_err(RelayError::connect)
    }

    async fn attempt(&self) -> io::Result<UpstreamStream> {
        let address = match &self.upstream {
            Upstream::Unix(path) => return UnixStream::connect(path).await.map(UpstreamStream::Unix),
            Upstream::Tcp(address) | Upstream::Tls(address) => address,
        };
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        tune(&stream)?;
        match &self.tls {
            None => Ok(UpstreamStream::Tcp(stream)),
            Some((config, name)) => {
                let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
                Ok(UpstreamStream::Tls(Box::new(stream)))
            }
        }
    }
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
