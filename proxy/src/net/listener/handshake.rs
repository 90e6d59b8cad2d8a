//! The TLS handshake with a client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::files::{FileError, Rotating};
use crate::net::key_material::KeyMaterial;
use crate::net::protocol_hint::ProtocolHint;
use crate::net::stream::Stream;
use crate::settings::ListenAddress;
use crate::settings::tls::ServerFiles;

/// The configuration of TLS handshakes with clients, and their time limit.
#[derive(Debug)]
pub struct Handshakes {
    config: Arc<Rotating<ServerConfig>>,
    limit: Duration,
    /// The protocols that a client may choose from (ALPN), the preferred one first; none to leave it to what it says.
    protocols: Vec<Vec<u8>>,
}

/// The reason why a TLS handshake with a client failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client closed without sending a byte, as probes do that check whether a port is open.
    #[error("the client has closed without a word")]
    Probe,
    /// The client sent RESP, HTTP or something else that is not TLS.
    #[error("the client does not speak TLS{}", if *.http { " but HTTP" } else { "" })]
    NotTls {
        /// Whether the client sent HTTP instead of TLS.
        http: bool,
    },
    /// The client did not finish the handshake within the limit.
    #[error("the handshake took more than {0:?}")]
    Late(Duration),
    /// One side rejected the other's certificate, or the two have no version or cipher in common.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Handshakes {
    /// The handshakes of clients of `listen`, each with the certificate that is in force then; `None` if clients connect without
    /// TLS.
    ///
    /// # Errors
    /// Clients are to connect by TLS, and `material` has no certificate.
    pub fn of(listen: &ListenAddress, material: &KeyMaterial, limit: Duration) -> Result<Option<Self>, FileError> {
        match listen {
            ListenAddress::Tcp(_) | ListenAddress::Unix(_) => Ok(None),
            ListenAddress::Tls(_) => {
                let config = material.listen.clone().ok_or_else(|| {
                    FileError::unset(
                        ServerFiles::CERTIFICATE,
                        "it is missing",
                        "name it for rediss:// listen addresses",
                    )
                })?;
                Ok(Some(Self { config, limit, protocols: Vec::new() }))
            }
        }
    }

    /// Lets clients choose from these protocols, of which the first is preferred (RFC 7301).
    #[must_use]
    pub fn offering(self, protocols: &[&str]) -> Self {
        Self { protocols: protocols.iter().map(|name| name.as_bytes().to_vec()).collect(), ..self }
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// [`HandshakeError`]. A client that speaks TLS has been sent an alert.
    pub(super) async fn accept(&self, socket: TcpStream) -> Result<Stream, HandshakeError> {
        timeout(self.limit, self.handshake(socket)).await.unwrap_or(Err(HandshakeError::Late(self.limit)))
    }

    async fn handshake(&self, socket: TcpStream) -> Result<Stream, HandshakeError> {
        let mut first = [0; 1024];
        // Peeked, so that the handshake finds the bytes where they are.
        let seen = socket.peek(&mut first).await.unwrap_or(0);
        let first = &first[..seen];
        match first.first() {
            None => return Err(HandshakeError::Probe),
            // A handshake record (RFC 8446, section 5.1). Whatever else TLS could begin with is no beginning.
            Some(0x16) => {}
            Some(_) => {
                return Err(HandshakeError::NotTls {
                    http: ProtocolHint::recognise(first) == Some(ProtocolHint::Http),
                });
            }
        }
        let mut config = self.config.current();
        if !self.protocols.is_empty() {
            // What is copied is a list of pointers.
            Arc::make_mut(&mut config).alpn_protocols.clone_from(&self.protocols);
        }
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
    }
}
