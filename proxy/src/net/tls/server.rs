//! TLS from clients: the certificate that the proxy shows, and the authorities of clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use super::files::{authorities, certificates, private_key, unfit_pair, valid_now};
use crate::files::FileError;
use crate::settings::tls::ServerFiles;

/// Reads the files and makes a configuration of them.
///
/// # Errors
/// [`FileError`] for the first file that cannot be used.
pub fn server_config(files: &ServerFiles) -> Result<ServerConfig, FileError> {
    const DEFECT: &str = "this is a defect of the program: report it";
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::unset(ServerFiles::CERTIFICATE, error, DEFECT))?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(ServerFiles::CLIENT_AUTHORITIES, path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let failed = |error| FileError::new(ServerFiles::CLIENT_AUTHORITIES, path, format!("{error}"), DEFECT);
            builder.with_client_cert_verifier(verifier.map_err(failed)?)
        }
    };
    valid_now(ServerFiles::CERTIFICATE, &files.certificate)?;
    let certificates = certificates(ServerFiles::CERTIFICATE, &files.certificate)?;
    let key = private_key(ServerFiles::KEY, &files.key)?;
    builder.with_single_cert(certificates, key).map_err(|error| unfit_pair(ServerFiles::KEY, &files.key, &error))
}
