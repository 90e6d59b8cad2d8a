//! Ports for programs that have to be told theirs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::failure::Failure;

/// `count` different addresses of 127.0.0.1 whose ports are free now.
///
/// They are free again when this returns, so another program may take one before ours does. That is rare, and then the
/// program that could not listen ends and says why.
pub(crate) fn free(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let listeners: Result<Vec<_>, _> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    listeners.and_then(|listeners| listeners.iter().map(TcpListener::local_addr).collect()).map_err(Failure::Port)
}
