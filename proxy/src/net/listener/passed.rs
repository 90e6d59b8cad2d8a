//! Listening sockets that the service manager has opened and passed to this process (`sd_listen_fds(3)`, systemd's socket
//! activation).
//!
//! The manager keeps them open while the process is exchanged for a newer one, so that clients which connect meanwhile wait
//! instead of being refused. A socket needs no setting of its own: it serves the listen address that it is bound to.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::unix;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use super::BindError;

/// The variable that tells how many sockets were passed.
const VARIABLE: &str = "LISTEN_FDS";

/// The sockets that were passed and that no listen address has taken yet.
#[derive(Debug, Default)]
pub struct PassedSockets {
    tcp: Vec<(SocketAddr, net::TcpListener)>,
    unix: Vec<(PathBuf, unix::net::UnixListener)>,
}

impl PassedSockets {
    /// The sockets of `LISTEN_FDS`, if `LISTEN_PID` names this process or nobody. Both variables are removed from the environment,
    /// so this has to be called before there are other threads.
    ///
    /// # Errors
    /// [`BindError`] if one of them is neither a TCP nor a Unix stream socket.
    pub fn from_environment() -> Result<Self, BindError> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            let added = match passed.take_tcp_listener(index) {
                Ok(Some(socket)) => sockets.add_tcp(socket),
                Ok(None) => Ok(()),
                Err(_) => {
                    passed.take_unix_listener(index).and_then(|socket| socket.map_or(Ok(()), |it| sockets.add_unix(it)))
                }
            };
            added.map_err(|source| unusable(&format!("socket {}", index + 1), source))?;
        }
        Ok(sockets)
    }

    fn add_tcp(&mut self, socket: net::TcpListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        self.tcp.push((socket.local_addr()?, socket));
        Ok(())
    }

    fn add_unix(&mut self, socket: unix::net::UnixListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| io::Error::other("it has no path"))?;
        self.unix.push((path.to_owned(), socket));
        Ok(())
    }

    /// Takes the socket that is bound to `address`.
    pub(super) fn take_tcp(&mut self, address: SocketAddr) -> Option<net::TcpListener> {
        let at = self.tcp.iter().position(|(bound, _)| *bound == address)?;
        Some(self.tcp.swap_remove(at).1)
    }

    /// Takes the Unix socket that is bound to `path`.
    pub(super) fn take_unix(&mut self, path: &Path) -> Option<unix::net::UnixListener> {
        let at = self.unix.iter().position(|(bound, _)| bound == path)?;
        Some(self.unix.swap_remove(at).1)
    }

    /// Checks that every socket has been taken. Clients that connect to one which was not would wait for ever.
    ///
    /// # Errors
    /// [`BindError`] that names the first one.
    pub fn all_taken(&self) -> Result<(), BindError> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let unix = self.unix.iter().map(|(path, _)| format!("unix:{}", path.display()));
        match tcp.chain(unix).next() {
            None => Ok(()),
            Some(address) => Err(unusable(&address, io::Error::other("no setting listens on its address"))),
        }
    }
}

fn unusable(address: &dyn fmt::Display, source: io::Error) -> BindError {
    BindError {
        setting: VARIABLE,
        address: address.to_string(),
        problem: "the service manager has passed this socket",
        source,
        remedy: "listen on the addresses of the socket unit, with --listen, --route, --http or --admin, or take it out there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_serves_the_address_that_it_is_bound_to_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis.sock");
        let mut sockets = PassedSockets::default();
        let tcp = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        sockets.add_tcp(tcp).unwrap();
        sockets.add_unix(unix::net::UnixListener::bind(&path).unwrap()).unwrap();

        let other = SocketAddr::from(([127, 0, 0, 2], address.port()));
        assert!(sockets.take_tcp(other).is_none());
        assert_eq!(sockets.take_tcp(address).unwrap().local_addr().unwrap(), address);
        assert!(sockets.take_tcp(address).is_none(), "it is taken once");
        let left = sockets.all_taken().unwrap_err().to_string();
        assert!(left.starts_with(&format!("LISTEN_FDS `unix:{}`: ", path.display())), "{left}");
        assert!(left.contains("no setting listens on its address; listen on the addresses"), "{left}");

        assert!(sockets.take_unix(&folder.path().join("other.sock")).is_none());
        assert!(sockets.take_unix(&path).is_some());
        sockets.all_taken().unwrap();
    }
}
