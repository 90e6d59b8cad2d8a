//! An address that cannot be bound: why, and what to do.

use std::io;
use std::path::Path;

use crate::settings::HostPort;

/// The first port that an unprivileged process may bind, unless the system is set up otherwise.
const FIRST_FREE_PORT: u16 = 1024;

/// A listen address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{setting} `{address}`: {problem}: {source}; {remedy}")]
pub struct BindError {
    /// The option that names the address.
    pub setting: &'static str,
    /// The address as it was set.
    pub address: String,
    /// The reason, in words for an operator.
    pub problem: &'static str,
    /// The system's error.
    pub source: io::Error,
    /// The advice to the operator.
    pub remedy: &'static str,
}

impl BindError {
    pub(super) fn tcp(setting: &'static str, address: &HostPort, source: io::Error) -> Self {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied, Unsupported};
        let (problem, remedy) = match source.kind() {
            AddrInUse => ("something else listens there", "stop it, or choose another port"),
            AddrNotAvailable => (
                "this machine does not have that address",
                "listen on 127.0.0.1, on an address that `ip addr` shows, or on 0.0.0.0 for all of them",
            ),
            PermissionDenied if address.port != 0 && address.port < FIRST_FREE_PORT => (
                "this process may not listen on a port below 1024",
                "choose a higher port, or grant it CAP_NET_BIND_SERVICE",
            ),
            PermissionDenied => {
                ("this process may not listen there", "ask who limits it: a security policy or a sandbox")
            }
            Unsupported => ("this machine has no such addresses", "choose an address of the other kind, IPv4 or IPv6"),
            _ if address.host.parse::<std::net::IpAddr>().is_err() => {
                ("the name cannot be resolved, or not be listened on", "write an IP address, as in 127.0.0.1:6380")
            }
            _ => ("it cannot be listened on", "choose another address"),
        };
        Self { setting, address: address.to_string(), problem, source, remedy }
    }

    pub(super) fn unix(setting: &'static str, path: &Path, source: io::Error) -> Self {
        use io::ErrorKind::{
            AddrInUse, AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, ResourceBusy,
        };
        let (problem, remedy) = match source.kind() {
            AddrInUse => ("another process listens there", "stop it, or choose another path"),
            ResourceBusy => (
                "another process has begun to listen there, and does not go on",
                "see what it waits for, or choose another path",
            ),
            AlreadyExists => ("there is a file that is no socket", "remove it, or choose another path"),
            NotFound | NotADirectory => ("its folder does not exist", "create the folder, or choose another path"),
            PermissionDenied | ReadOnlyFilesystem => (
                "this process may not create a socket in that folder",
                "choose a folder that it may write to, such as an emptyDir volume",
            ),
            _ => ("it cannot be listened on", "choose another path"),
        };
        Self { setting, address: format!("unix:{}", path.display()), problem, source, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_names_setting_value_problem_and_remedy() {
        let low = HostPort { host: "127.0.0.1".to_owned(), port: 80 };
        let high = HostPort { port: 6380, ..low.clone() };
        let named = HostPort { host: "no.such.host".to_owned(), ..high.clone() };
        let error = |kind: io::ErrorKind| io::Error::new(kind, "as the system says");
        for (error, expected) in [
            (
                BindError::tcp("--listen", &low, error(io::ErrorKind::PermissionDenied)),
                "--listen `127.0.0.1:80`: this process may not listen on a port below 1024: as the system says; choose a \
                 higher port, or grant it CAP_NET_BIND_SERVICE",
            ),
            (
                BindError::tcp("--admin", &high, error(io::ErrorKind::AddrInUse)),
                "--admin `127.0.0.1:6380`: something else listens there: as the system says; stop it, or choose another \
                 port",
            ),
            (
                BindError::tcp("--route", &named, error(io::ErrorKind::Other)),
                "--route `no.such.host:6380`: the name cannot be resolved, or not be listened on: as the system says; \
                 write an IP address, as in 127.0.0.1:6380",
            ),
            (
                BindError::unix("--listen", Path::new("/a/b"), error(io::ErrorKind::ReadOnlyFilesystem)),
                "--listen `unix:/a/b`: this process may not create a socket in that folder: as the system says; choose a \
                 folder that it may write to, such as an emptyDir volume",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
