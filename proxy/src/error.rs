//! Errors that end one connection: whose socket failed, during which operation, and why.

use std::fmt;
use std::io;

/// The party whose socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The service, which is the client.
    Client,
    /// Redis, which is the server.
    Server,
    /// The proxy itself, which has run out of a resource.
    Proxy,
}

/// The operation on a socket that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoOperation {
    /// The proxy was connecting to Redis.
    Connect,
    /// Registering a client's socket with an event loop.
    Watch,
    /// The proxy was reading from the party.
    Read,
    /// The proxy was writing to the party.
    Write,
}

/// The failure that ended a connection before both sides had finished.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {party}: {source}")]
pub struct RelayError {
    /// The party whose socket failed.
    pub party: Party,
    /// The operation that failed.
    pub operation: IoOperation,
    /// The system's error.
    pub source: io::Error,
}

impl RelayError {
    /// A failure to connect to Redis. It counts as the proxy's own if the proxy has run out of a resource.
    pub fn connect(source: io::Error) -> Self {
        let party = if is_exhaustion(&source) { Party::Proxy } else { Party::Server };
        Self { party, operation: IoOperation::Connect, source }
    }

    /// A client's socket that no event loop can watch, because the proxy has run out of a resource.
    pub fn watch(source: io::Error) -> Self {
        Self { party: Party::Proxy, operation: IoOperation::Watch, source }
    }

    /// Whether Redis has ended the connection by a TLS alert. With TLS 1.3, Redis rejects the proxy's certificate, or its
    /// absence, only after the handshake.
    pub fn is_refused_by_tls(&self) -> bool {
        let refusal = self.source.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
        self.party == Party::Server
            && self.operation != IoOperation::Connect
            && matches!(refusal, Some(rustls::Error::AlertReceived(_)))
    }

    /// Whether a peer has merely hung up, which is not worth a line in the log.
    pub fn is_hang_up(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof};
        self.operation != IoOperation::Connect
            && matches!(
                self.source.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof
            )
    }
}

/// Whether the process or the machine has run out of file descriptors, memory or local ports.
pub fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL)
    )
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Proxy => "proxy",
        })
    }
}

impl fmt::Display for IoOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Watch => "watch",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}
