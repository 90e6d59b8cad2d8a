//! From a host's name to its addresses.
//!
//! A name is resolved at each dial and nothing is remembered: after a fail-over it leads elsewhere.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

/// Addresses, once they are known.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Knows the addresses of names.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of `host`, in the order in which they are to be tried.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The system's resolver: its hosts file, its name servers, and whatever else it is set up with.
#[derive(Debug)]
pub struct System;

impl Resolve for System {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            if let Ok(ip) = host.parse::<IpAddr>() {
                return Ok(vec![SocketAddr::new(ip, port)]);
            }
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for address in tokio::net::lookup_host((host, port)).await? {
                // A hosts file may name an address twice.
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        })
    }
}
