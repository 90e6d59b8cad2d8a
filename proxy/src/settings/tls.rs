//! The names of the files that TLS needs. What is in them is read later, by `tls`.

use std::path::PathBuf;

/// Who is trusted, and what is shown to a server that asks who the proxy is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClientFiles {
    /// A PEM file with authorities, in place of the system's.
    pub authorities: Option<PathBuf>,
    /// PEM files with a certificate, those between it and its authority behind it, and with its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What the operator calls the files.
#[derive(Clone, Copy, Debug)]
pub struct ClientFileNames {
    /// The authorities.
    pub authorities: &'static str,
    /// The certificate that is shown.
    pub certificate: &'static str,
    /// Its key.
    pub key: &'static str,
}

impl ClientFiles {
    /// Those that are named.
    pub fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.authorities.iter().chain(identity).cloned().collect()
    }
}

/// The files of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// A PEM file with the certificate, and those between it and its authority behind it.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key.
    pub key: PathBuf,
    /// A PEM file with authorities. With it, only clients with a certificate of one of them are let in.
    pub client_authorities: Option<PathBuf>,
}

impl ServerFiles {
    /// What the operator calls the certificate.
    pub const CERTIFICATE: &'static str = "--listen-cert";
    /// What the operator calls its key.
    pub const KEY: &'static str = "--listen-key";
    /// What the operator calls the authorities of clients.
    pub const CLIENT_AUTHORITIES: &'static str = "--listen-client-ca";

    /// All of them.
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_authorities).cloned().collect()
    }
}

/// The file that an option names; an empty name is none.
pub(super) fn named(file: &Option<PathBuf>) -> Option<PathBuf> {
    file.clone().filter(|path| !path.as_os_str().is_empty())
}
