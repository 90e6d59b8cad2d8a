//! TLS to servers: the authorities that are trusted, and the certificate that the proxy shows.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::files::{authorities, certificates, private_key, unfit_pair};
use super::verify::Verifier;
use crate::files::FileError;
use crate::settings::Verification;
use crate::settings::tls::{ClientFileNames, ClientFiles};

/// Makes a configuration of the files.
///
/// # Errors
/// [`FileError`] for the first file that cannot be used, or if there is no authority to trust.
pub fn client_config(files: &ClientFiles, names: ClientFileNames) -> Result<ClientConfig, FileError> {
    let config = builder(names.authorities)?.with_root_certificates(roots(files, names)?);
    with_identity(config, files, names)
}

/// The same, for servers whose certificate is checked as `verification` says.
///
/// # Errors
/// [`FileError`] for the first file that cannot be used, or if `verification` needs an authority and there is none.
pub fn client_config_verifying(
    verification: &Verification,
    files: &ClientFiles,
    names: ClientFileNames,
) -> Result<ClientConfig, FileError> {
    let roots = match verification {
        Verification::Fingerprints(_) => RootCertStore::empty(),
        Verification::Name | Verification::Authority => roots(files, names)?,
    };
    let verifier = Verifier::new(verification, roots)
        .map_err(|problem| FileError::unset(names.authorities, problem, "name a PEM file with the authority"))?;
    let config = builder(names.authorities)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    with_identity(config, files, names)
}

/// A configuration that trusts no authority.
///
/// # Errors
/// None is known; rustls declares that there may be one.
pub fn empty() -> Result<ClientConfig, FileError> {
    Ok(builder("TLS")?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn roots(files: &ClientFiles, names: ClientFileNames) -> Result<RootCertStore, FileError> {
    if let Some(path) = &files.authorities {
        return authorities(names.authorities, path);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let problem = "it is not set, and the system has no certificate authorities";
        return Err(FileError::unset(names.authorities, problem, "name a PEM file with the authority"));
    }
    Ok(roots)
}

fn with_identity(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    files: &ClientFiles,
    names: ClientFileNames,
) -> Result<ClientConfig, FileError> {
    match &files.identity {
        Some((certificate, key)) => config
            .with_client_auth_cert(certificates(names.certificate, certificate)?, private_key(names.key, key)?)
            .map_err(|error| unfit_pair(names.key, key, &error)),
        None => Ok(config.with_no_client_auth()),
    }
}

/// Names the cryptography provider, so that a second one in the dependency tree cannot make the choice ambiguous.
fn builder(setting: &'static str) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, FileError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::unset(setting, error, "this is a defect of the program: report it"))
}
