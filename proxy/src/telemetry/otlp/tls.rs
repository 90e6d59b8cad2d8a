//! Certificates for a collector that is reached by https.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::OtlpError;
use crate::telemetry::otel_env::OtlpSettings;

const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CLIENT_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const CLIENT_KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";

/// What is in the files that the settings name.
pub(super) struct Material {
    authorities: Option<Vec<CertificateDer<'static>>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Material {
    pub(super) fn read(settings: &OtlpSettings) -> Result<Self, OtlpError> {
        let authorities = settings.certificate.as_deref().map(|path| certificates(CERTIFICATE, path)).transpose()?;
        let identity = match &settings.client_identity {
            Some(identity) => Some((
                certificates(CLIENT_CERTIFICATE, &identity.certificate)?,
                private_key(CLIENT_KEY, &identity.key)?,
            )),
            None => None,
        };
        Ok(Self { authorities, identity })
    }

    /// Without authorities of the operator the system's are used.
    pub(super) fn client_config(&self) -> Result<ClientConfig, OtlpError> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(authorities) => {
                for authority in authorities {
                    roots.add(authority.clone()).map_err(|error| OtlpError::Tls(error.to_string()))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let reason = format!("the system has no certificate authorities; name a file by {CERTIFICATE}");
                    return Err(OtlpError::Tls(reason));
                }
            }
        }
        let config = builder()?.with_root_certificates(roots);
        match &self.identity {
            Some((certificate, key)) => config
                .with_client_auth_cert(certificate.clone(), key.clone_key())
                .map_err(|error| OtlpError::Tls(format!("{CLIENT_CERTIFICATE}, {CLIENT_KEY}: {error}"))),
            None => Ok(config.with_no_client_auth()),
        }
    }
}

/// A configuration that trusts nobody.
pub(super) fn empty() -> Result<ClientConfig, OtlpError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Names the provider, so that another one in the dependency tree cannot make the choice ambiguous.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, OtlpError> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| OtlpError::Tls(error.to_string()))
}

fn certificates(variable: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, OtlpError> {
    let bytes = read(variable, path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let reason = match parsed {
        Ok(parsed) if !parsed.is_empty() => return Ok(parsed),
        Ok(_) => "there is none in it".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(OtlpError::Pem { variable, path: path.to_owned(), what: "certificate", reason })
}

fn private_key(variable: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, OtlpError> {
    let bytes = read(variable, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let reason = error.to_string();
        OtlpError::Pem { variable, path: path.to_owned(), what: "private key", reason }
    })
}

fn read(variable: &'static str, path: &Path) -> Result<Vec<u8>, OtlpError> {
    fs::read(path).map_err(|source| OtlpError::Read { variable, path: path.to_owned(), source })
}
