//! Sockets that clients connect to, and what comes in on them.
//!
//! | module | what it knows |
//! |---|---|
//! | `bind_error` | an address that cannot be had: why, and what to do |
//! | `socket_file` | the file of a Unix socket: whether one that is there is in use, and its removal |
//! | `start_lock` | the right to put a Unix socket's file in its place |
//! | `handshake` | from a client's connection to its TLS stream |

mod bind_error;
mod handshake;
mod socket_file;
mod start_lock;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};

use crate::net::stream::{Stream, tune};
use crate::settings::Route;
use crate::settings::{HostPort, ListenAddress, Settings};
pub use bind_error::BindError;
pub use handshake::{HandshakeError, Handshakes};
use socket_file::SocketFile;

/// A bound socket and the route it serves.
#[derive(Debug)]
pub struct Listener {
    route: Route,
    socket: Socket,
    address: ListenAddress,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix {
        /// Removed with the listener, and first: see there.
        _file: SocketFile,
        socket: UnixListener,
    },
}

/// A client that has connected and said nothing yet.
#[derive(Debug)]
pub struct Client {
    socket: ClientSocket,
    /// Who it is, for the log.
    pub peer: Peer,
}

#[derive(Debug)]
enum ClientSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Who a client is.
#[derive(Clone, Debug)]
pub enum Peer {
    /// By its address.
    Address(SocketAddr),
    /// By its process, on this machine.
    Process(Option<i32>),
}

/// Binds a TCP address. Of a name's addresses the first that can be bound is taken.
///
/// # Errors
/// [`BindError`] if there is none; `setting` is what the operator calls the address.
pub async fn bind(setting: &'static str, address: &HostPort) -> Result<TcpListener, BindError> {
    let failed = |source| BindError::tcp(setting, address, source);
    TcpListener::bind((address.host.as_str(), address.port)).await.map_err(failed)
}

impl Listener {
    /// Binds the route's listen address.
    ///
    /// # Errors
    /// [`BindError`] if it cannot be had.
    pub async fn bind(route: &Route, settings: &Settings) -> Result<Self, BindError> {
        let setting = route.setting("--listen");
        let (socket, address) = match &route.listen {
            ListenAddress::Unix(path) => {
                let (socket, file) = socket_file::bind(setting, path, settings.socket_mode)?;
                (Socket::Unix { _file: file, socket }, route.listen.clone())
            }
            ListenAddress::Tcp(wanted) | ListenAddress::Tls(wanted) => {
                let socket = bind(setting, wanted).await?;
                let bound = socket.local_addr().map_err(|source| BindError::tcp(setting, wanted, source))?;
                let bound = HostPort { host: bound.ip().to_string(), port: bound.port() };
                let is_tls = matches!(route.listen, ListenAddress::Tls(_));
                (Socket::Tcp(socket), if is_tls { ListenAddress::Tls(bound) } else { ListenAddress::Tcp(bound) })
            }
        };
        Ok(Self { route: route.clone(), socket, address })
    }

    /// Where it listens, with the port that the system chose if it was left to it.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The same as a socket's address; a Unix socket has none.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    /// The route it serves.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The next client.
    ///
    /// # Errors
    /// What the system said.
    pub async fn accept(&self) -> io::Result<Client> {
        Ok(match &self.socket {
            Socket::Tcp(socket) => {
                let (socket, peer) = socket.accept().await?;
                Client { socket: ClientSocket::Tcp(socket), peer: Peer::Address(peer) }
            }
            Socket::Unix { socket, .. } => {
                let (socket, _) = socket.accept().await?;
                let process = socket.peer_cred().ok().as_ref().and_then(unix::UCred::pid);
                Client { socket: ClientSocket::Unix(socket), peer: Peer::Process(process) }
            }
        })
    }
}

impl Client {
    /// Has its socket watched by this thread instead of the one that accepted it.
    ///
    /// # Errors
    /// The thread cannot watch another socket.
    pub fn move_here(self) -> io::Result<Self> {
        let socket = match self.socket {
            ClientSocket::Tcp(socket) => {
                // Fails only on a connection that is over already, and then reading from it says so.
                let _ = tune(&socket);
                ClientSocket::Tcp(TcpStream::from_std(socket.into_std()?)?)
            }
            ClientSocket::Unix(socket) => ClientSocket::Unix(UnixStream::from_std(socket.into_std()?)?),
        };
        Ok(Self { socket, ..self })
    }

    /// Says `last_words` if the socket takes them at once, and closes.
    pub fn refuse(self, last_words: &[u8]) {
        // As standard sockets, because tokio's do not try to write before they were once told that they can.
        let _ = match self.socket {
            ClientSocket::Tcp(socket) => socket.into_std().and_then(|mut socket| socket.write(last_words)),
            ClientSocket::Unix(socket) => socket.into_std().and_then(|mut socket| socket.write(last_words)),
        };
    }

    /// Its connection, behind a handshake if it is to be TLS.
    ///
    /// # Errors
    /// The handshake did not succeed.
    pub async fn into_stream(self, handshakes: Option<&Handshakes>) -> Result<Stream, HandshakeError> {
        match (self.socket, handshakes) {
            (ClientSocket::Tcp(socket), None) => Ok(Stream::Tcp(socket)),
            (ClientSocket::Tcp(socket), Some(handshakes)) => handshakes.accept(socket).await,
            (ClientSocket::Unix(socket), _) => Ok(Stream::Unix(socket)),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process(Some(pid)) => write!(f, "process {pid}"),
            Self::Process(None) => f.write_str("a process"),
        }
    }
}
