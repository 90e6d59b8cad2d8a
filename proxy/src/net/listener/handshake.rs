//! From a client's connection to its TLS stream.

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

/// What clients that connect by TLS are shown, and how long they may take.
#[derive(Debug)]
pub struct Handshakes {
    config: Arc<Rotating<ServerConfig>>,
    limit: Duration,
}

/// Why there is no TLS connection with a client.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It has closed before it said anything: a probe that looks whether somebody listens.
    #[error("the client has closed without a word")]
    Probe,
    /// It speaks RESP, HTTP or something else without TLS.
    #[error("the client does not speak TLS{}", if *.http { " but HTTP" } else { "" })]
    NotTls {
        /// Whether it is HTTP.
        http: bool,
    },
    /// It has not finished in time.
    #[error("the handshake took more than {0:?}")]
    Late(Duration),
    /// A certificate was refused, by one side or the other, or there is nothing that both sides can do.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Handshakes {
    /// For clients of `listen`, with the certificate that is in force when they come; `None` if they connect without TLS.
    ///
    /// # Errors
    /// They are to connect by TLS, and there is no certificate.
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
                Ok(Some(Self { config, limit }))
            }
        }
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// [`HandshakeError`]; where TLS is spoken the client has been told by an alert.
    pub(super) async fn accept(&self, socket: TcpStream) -> Result<Stream, HandshakeError> {
        timeout(self.limit, self.handshake(socket)).await.unwrap_or(Err(HandshakeError::Late(self.limit)))
    }

    async fn handshake(&self, socket: TcpStream) -> Result<Stream, HandshakeError> {
        let mut first = [0; 1024];
        // Left where it is: whatever it is, it is judged by what reads it.
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
        let stream = TlsAcceptor::from(self.config.current()).accept(socket).await?;
        Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
    }
}
