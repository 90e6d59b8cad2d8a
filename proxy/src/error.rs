//! What can end one connection, and who was at fault.

use std::fmt;
use std::io;

/// Whose socket it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The service.
    Client,
    /// Redis.
    Server,
    /// The proxy itself, out of some resource.
    Proxy,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making the connection to Redis.
    Connect,
    /// Having the event loop watch a client's socket.
    Watch,
    /// Receiving.
    Read,
    /// Sending.
    Write,
}

/// A connection that did not end by both sides having said all they had to say.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {party}: {source}")]
pub struct RelayError {
    /// Whose socket it was.
    pub party: Party,
    /// What was being done.
    pub operation: Operation,
    /// What the system said.
    pub source: io::Error,
}

impl RelayError {
    /// A failed connection to Redis; the proxy's own fault if it has run out of sockets.
    pub fn connect(source: io::Error) -> Self {
        let party = if is_exhaustion(&source) { Party::Proxy } else { Party::Server };
        Self { party, operation: Operation::Connect, source }
    }

    /// A client that no event loop can watch, for want of a resource.
    pub fn watch(source: io::Error) -> Self {
        Self { party: Party::Proxy, operation: Operation::Watch, source }
    }

    /// Whether Redis has ended the connection because of TLS. By TLS 1.3 it says only after the handshake that it does not
    /// accept the proxy's certificate, or that there is none.
    pub fn is_refused_by_tls(&self) -> bool {
        let refusal = self.source.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
        self.party == Party::Server
            && self.operation != Operation::Connect
            && matches!(refusal, Some(rustls::Error::AlertReceived(_)))
    }

    /// Whether a peer has just gone away, as peers do.
    pub fn is_hang_up(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof};
        self.operation != Operation::Connect
            && matches!(
                self.source.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof
            )
    }
}

/// Whether the process or the machine has no more sockets or no memory for them.
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

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Watch => "watch",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}
