//! Sockets that clients connect to, and the clients that come in on them.
//!
//! | module | what it knows |
//! |---|---|
//! | `bind_error` | an address that cannot be bound: why, and what to do |
//! | `socket_file` | the file of a Unix socket: whether one that is there is in use, and its removal |
//! | `passed` | sockets that the service manager has opened |
//! | `start_lock` | the lock under which a Unix socket's file is put in its place |
//! | `handshake` | from a client's connection to its TLS stream |

mod bind_error;
mod handshake;
mod passed;
mod socket_file;
mod start_lock;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host, unix};

use crate::net::stream::{Stream, tune};
use crate::settings::Route;
use crate::settings::{HostPort, ListenAddress, Settings, TcpTimeouts};
pub use bind_error::BindError;
pub use handshake::{HandshakeError, Handshakes};
pub use passed::PassedSockets;
use socket_file::SocketFile;

/// A bound socket and the route it serves.
#[derive(Debug)]
pub struct Listener {
    route: Route,
    socket: Socket,
}

/// A socket that is bound to its address and accepts connections once it is polled.
#[derive(Debug)]
pub struct Socket {
    kind: SocketKind,
    address: ListenAddress,
}

#[derive(Debug)]
enum SocketKind {
    Tcp(TcpListener),
    Unix {
        /// Dropped before the socket, for the reason that [`SocketFile`] gives. A socket that was passed keeps its file.
        _file: Option<SocketFile>,
        socket: UnixListener,
    },
}

/// A client that has been accepted, and from which nothing has been read yet.
#[derive(Debug)]
pub struct Client {
    socket: ClientSocket,
    /// The client's name in the log.
    pub peer: ClientName,
}

#[derive(Debug)]
enum ClientSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The name of a client in the log.
#[derive(Clone, Debug)]
pub enum ClientName {
    /// The address of a client on TCP.
    Address(SocketAddr),
    /// The process id of a client on a Unix socket, if the system knows it.
    Process(Option<i32>),
}

/// The most connections that wait to be accepted: twice as many as Redis's `tcp-backlog`, which a pool that fills or a fleet after
/// a restart may need in one moment. The system may allow fewer.
const BACKLOG: u32 = 1024;

/// The number of connections that may wait to be accepted, if this system allows fewer than 1,024.
pub fn shortened_backlog() -> Option<u32> {
    shorter_than_wanted(&std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?)
}

fn shorter_than_wanted(allowed: &str) -> Option<u32> {
    allowed.trim().parse().ok().filter(|&allowed| allowed < BACKLOG)
}

/// Takes the socket of a TCP address from those that were passed, or binds one. If a host name has several addresses, the first
/// that was passed is used, otherwise the first that can be bound.
async fn bind(setting: &'static str, address: &HostPort, passed: &mut PassedSockets) -> Result<TcpListener, BindError> {
    let failed = |source| BindError::tcp(setting, address, source);
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    let addresses: Vec<_> = lookup_host((address.host.as_str(), address.port)).await.map_err(failed)?.collect();
    if let Some(socket) = addresses.iter().find_map(|&address| passed.take_tcp(address)) {
        return TcpListener::from_std(socket).map_err(failed);
    }
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of a process that has ended must not keep the port from the next.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Socket {
    /// Binds `wanted`, which the option `setting` names, unless its socket is among those that were passed. If a host name has
    /// several addresses, the first that can be bound is used. `mode` is for the file of a Unix socket.
    ///
    /// # Errors
    /// [`BindError`] if it cannot be bound.
    pub async fn bind(
        setting: &'static str,
        wanted: &ListenAddress,
        mode: u32,
        passed: &mut PassedSockets,
    ) -> Result<Self, BindError> {
        let (kind, address) = match wanted {
            ListenAddress::Unix(path) => {
                let (socket, file) = match passed.take_unix(path).map(UnixListener::from_std) {
                    Some(socket) => (socket.map_err(|source| BindError::unix(setting, path, source))?, None),
                    None => socket_file::bind(setting, path, mode).map(|(socket, file)| (socket, Some(file)))?,
                };
                (SocketKind::Unix { _file: file, socket }, wanted.clone())
            }
            ListenAddress::Tcp(host_port) | ListenAddress::Tls(host_port) => {
                let failed = |source| BindError::tcp(setting, host_port, source);
                let socket = bind(setting, host_port, passed).await?;
                let bound = socket.local_addr().map_err(failed)?;
                let bound = HostPort { host: bound.ip().to_string(), port: bound.port() };
                let is_tls = matches!(wanted, ListenAddress::Tls(_));
                (SocketKind::Tcp(socket), if is_tls { ListenAddress::Tls(bound) } else { ListenAddress::Tcp(bound) })
            }
        };
        Ok(Self { kind, address })
    }

    /// The address that it listens on, with the port that the system chose if the settings say 0.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The TCP address that it listens on; `None` for a Unix socket.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match &self.kind {
            SocketKind::Tcp(socket) => socket.local_addr().ok(),
            SocketKind::Unix { .. } => None,
        }
    }

    /// The socket itself; `None` for a Unix socket.
    pub fn into_tcp(self) -> Option<TcpListener> {
        match self.kind {
            SocketKind::Tcp(socket) => Some(socket),
            SocketKind::Unix { .. } => None,
        }
    }

    /// Waits for the next client.
    ///
    /// # Errors
    /// The system's error.
    pub async fn accept(&self) -> io::Result<Client> {
        Ok(match &self.kind {
            SocketKind::Tcp(socket) => {
                let (socket, peer) = socket.accept().await?;
                Client { socket: ClientSocket::Tcp(socket), peer: ClientName::Address(peer) }
            }
            SocketKind::Unix { socket, .. } => {
                let (socket, _) = socket.accept().await?;
                let process = socket.peer_cred().ok().as_ref().and_then(unix::UCred::pid);
                Client { socket: ClientSocket::Unix(socket), peer: ClientName::Process(process) }
            }
        })
    }
}

impl Listener {
    /// Binds the route's listen address, unless its socket is among those that were passed.
    ///
    /// # Errors
    /// [`BindError`] if it cannot be bound.
    pub async fn bind(route: &Route, settings: &Settings, passed: &mut PassedSockets) -> Result<Self, BindError> {
        let socket = Socket::bind(route.setting("--listen"), &route.listen, settings.socket_mode, passed).await?;
        Ok(Self { route: route.clone(), socket })
    }

    /// The address that it listens on, with the port that the system chose if the settings say 0.
    pub fn address(&self) -> &ListenAddress {
        self.socket.address()
    }

    /// The TCP address that it listens on; `None` for a Unix socket.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.socket.socket_address()
    }

    /// The route it serves.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Its socket.
    pub fn into_socket(self) -> Socket {
        self.socket
    }
}

impl Client {
    /// Registers the socket with this thread's event loop, instead of that of the thread that accepted it, and sets its options.
    ///
    /// # Errors
    /// The event loop cannot watch another socket.
    pub fn move_here(self, timeouts: TcpTimeouts) -> io::Result<Self> {
        let socket = match self.socket {
            ClientSocket::Tcp(socket) => {
                // Fails only on a connection that is over already, and then reading from it says so.
                let _ = tune(&socket, timeouts);
                ClientSocket::Tcp(TcpStream::from_std(socket.into_std()?)?)
            }
            ClientSocket::Unix(socket) => ClientSocket::Unix(UnixStream::from_std(socket.into_std()?)?),
        };
        Ok(Self { socket, ..self })
    }

    /// Sends `last_words` if the socket takes them at once, and closes.
    pub fn refuse(self, last_words: &[u8]) {
        // As standard sockets, because tokio's do not try to write before they were once told that they can.
        let _ = match self.socket {
            ClientSocket::Tcp(socket) => socket.into_std().and_then(|mut socket| socket.write(last_words)),
            ClientSocket::Unix(socket) => socket.into_std().and_then(|mut socket| socket.write(last_words)),
        };
    }

    /// Turns the client into its stream, after the TLS handshake if there is to be one.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn into_stream(self, handshakes: Option<&Handshakes>) -> Result<Stream, HandshakeError> {
        match (self.socket, handshakes) {
            (ClientSocket::Tcp(socket), None) => Ok(Stream::Tcp(socket)),
            (ClientSocket::Tcp(socket), Some(handshakes)) => handshakes.accept(socket).await,
            (ClientSocket::Unix(socket), _) => Ok(Stream::Unix(socket)),
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process(Some(pid)) => write!(f, "process {pid}"),
            Self::Process(None) => f.write_str("a process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_shortened_where_the_system_allows_less() {
        for (allowed, told) in
            [("128\n", Some(128)), ("1023\n", Some(1023)), ("1024\n", None), ("4096\n", None), ("", None)]
        {
            assert_eq!(shorter_than_wanted(allowed), told, "{allowed:?}");
        }
    }
}
