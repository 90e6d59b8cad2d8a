//! Certificates and keys for connections that the proxy makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key file cannot be read.
    #[error("cannot read {}, which {setting} names: {source}", path.display())]
    Read {
        /// The option or the variable; the `_TRACES_` form of a variable may have given the path.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what it should, in PEM form.
    #[error("{} holds no usable {what} in PEM form, which {setting} must name: {reason}", path.display())]
    Pem {
        /// The option or the variable.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// The certificates cannot be used together.
    #[error("cannot set up TLS: {0}")]
    Setup(String),
}

/// Who is trusted, and what is shown to a server that asks who the proxy is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Files {
    /// A PEM file with authorities, in place of the system's.
    pub authorities: Option<PathBuf>,
    /// PEM files with a certificate, those between it and its authority behind it, and with its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What the operator calls the files.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The authorities.
    pub authorities: &'static str,
    /// The certificate that is shown.
    pub certificate: &'static str,
    /// Its key.
    pub key: &'static str,
}

/// Reads the files and makes a configuration of them.
///
/// # Errors
/// [`TlsError`] for the first file that cannot be used, or if there is nobody to trust.
pub fn client_config(files: &Files, names: Names) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    match &files.authorities {
        Some(path) => {
            for authority in certificates(names.authorities, path)? {
                roots.add(authority).map_err(|error| TlsError::Setup(error.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let name = names.authorities;
                return Err(TlsError::Setup(format!(
                    "the system has no certificate authorities; name a file by {name}"
                )));
            }
        }
    }
    let config = builder()?.with_root_certificates(roots);
    match &files.identity {
        Some((certificate, key)) => config
            .with_client_auth_cert(certificates(names.certificate, certificate)?, private_key(names.key, key)?)
            .map_err(|error| TlsError::Setup(format!("{}, {}: {error}", names.certificate, names.key))),
        None => Ok(config.with_no_client_auth()),
    }
}

/// A configuration that trusts nobody.
///
/// # Errors
/// None that is known of; rustls says that there could be one.
pub fn empty() -> Result<ClientConfig, TlsError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Names the provider, so that another one in the dependency tree cannot make the choice ambiguous.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(setting, path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let reason = match parsed {
        Ok(parsed) if !parsed.is_empty() => return Ok(parsed),
        Ok(_) => "there is none in it".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(TlsError::Pem { setting, path: path.to_owned(), what: "certificate", reason })
}

fn private_key(setting: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(setting, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let reason = error.to_string();
        TlsError::Pem { setting, path: path.to_owned(), what: "private key", reason }
    })
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { setting, path: path.to_owned(), source })
}
