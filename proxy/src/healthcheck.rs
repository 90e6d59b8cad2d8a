//! The health check of `--healthcheck`: whether the process with these settings accepts connections.
//!
//! It does not look at Redis. A sidecar whose Redis is away does its work by telling clients so, and a restart would not help.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::settings::{ListenAddress, Settings};

const TIMEOUT: Duration = Duration::from_secs(2);

/// The error about a listen address that does not accept connections.
#[derive(Debug, thiserror::Error)]
#[error("nobody accepts connections on {address}: {source}")]
pub struct Unhealthy {
    /// The address as it was set.
    pub address: String,
    /// The error of the system.
    pub source: io::Error,
}

/// Connects to the listen address of every route and of every HTTP port.
///
/// # Errors
/// [`Unhealthy`] for the first address that does not accept within two seconds.
pub fn check(settings: &Settings) -> Result<(), Unhealthy> {
    let routes = settings.routes.iter().map(|route| (&route.listen, route.listen.to_string()));
    let ports = settings.http.iter().map(|port| (&port.listen, port.listen_url()));
    routes
        .chain(ports)
        .try_for_each(|(listen, address)| accepts(listen).map_err(|source| Unhealthy { address, source }))
}

fn accepts(listen: &ListenAddress) -> io::Result<()> {
    let wanted = match listen {
        ListenAddress::Tcp(address) | ListenAddress::Tls(address) => address,
        ListenAddress::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            return socket.connect_timeout(&SockAddr::unix(path)?, TIMEOUT);
        }
    };
    if wanted.port == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "port 0 says nothing about where it listens"));
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    // The listener took the first of a name's addresses that it could bind, and any of them may be that one.
    for address in (wanted.host.as_str(), wanted.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&reachable(address), TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The address to connect to for one that was bound. A wildcard address can be bound, but connecting to it is not portable.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
