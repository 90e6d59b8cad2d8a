//! The paths of the files that TLS needs. The files are read later, by `net::tls`.

use std::path::PathBuf;

/// The files of a TLS client: the authorities that it trusts, and the certificate that it presents.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClientFiles {
    /// A PEM file with the trusted authorities, in place of the system's.
    pub authorities: Option<PathBuf>,
    /// Two PEM files: the client's certificate, followed by the intermediate ones, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The options or variables that name the files of a TLS client.
#[derive(Clone, Copy, Debug)]
pub struct ClientFileNames {
    /// The setting that names the authorities.
    pub authorities: &'static str,
    /// The setting that names the certificate.
    pub certificate: &'static str,
    /// The setting that names the certificate's key.
    pub key: &'static str,
}

impl ClientFiles {
    /// The paths of all files that are named.
    pub fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.authorities.iter().chain(identity).cloned().collect()
    }
}

/// The files of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// A PEM file with the server's certificate, followed by the intermediate ones.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key.
    pub key: PathBuf,
    /// A PEM file with authorities. If it is set, a client needs a certificate of one of them.
    pub client_authorities: Option<PathBuf>,
}

impl ServerFiles {
    /// The option that names the certificate.
    pub const CERTIFICATE: &'static str = "--listen-cert";
    /// The option that names the certificate's key.
    pub const KEY: &'static str = "--listen-key";
    /// The option that names the authorities of clients.
    pub const CLIENT_AUTHORITIES: &'static str = "--listen-client-ca";

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_authorities).cloned().collect()
    }
}

/// The file that an option names; an empty name is none.
pub(super) fn named(file: &Option<PathBuf>) -> Option<PathBuf> {
    file.clone().filter(|path| !path.as_os_str().is_empty())
}
