//! Reading PEM files, and errors about them.

use std::path::Path;
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use super::x509::Certificate;
use crate::clock;
use crate::files::{self, FileError};

/// The advice about a file that is not in PEM form.
const PEM: &str = "name a file in PEM form, which begins with -----BEGIN";

/// Reads all certificates in a file, of which there must be at least one.
pub(super) fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = files::read(setting, path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let reason = match parsed {
        Ok(parsed) if !parsed.is_empty() => return Ok(parsed),
        Ok(_) => "there is none in it".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(FileError::new(setting, path, format!("it holds no usable certificate: {reason}"), PEM))
}

/// Checks that the first certificate in a file is valid now, because a peer rejects one that is not. The certificates behind it are
/// not checked: a chain to an authority may lead around them.
///
/// # Errors
/// [`FileError`]: the file cannot be read, or the certificate has expired or is not valid yet.
pub fn valid_now(setting: &'static str, path: &Path) -> Result<(), FileError> {
    match certificates(setting, path)?.first().and_then(not_valid_now) {
        None => Ok(()),
        Some(problem) => {
            let remedy = "let a new certificate be issued, and check the clock of this machine";
            Err(FileError::new(setting, path, problem, remedy))
        }
    }
}

/// The time at which the first of the certificates in a file expires, in seconds since 1970: of a certificate and of those that
/// vouch for it, all are needed. `None` if the file cannot be used.
pub fn first_expiry(setting: &'static str, path: &Path) -> Option<u64> {
    expiries(setting, path).min()
}

/// The time at which the last of the certificates in a file expires: of authorities, one is enough.
pub fn last_expiry(setting: &'static str, path: &Path) -> Option<u64> {
    expiries(setting, path).max()
}

fn expiries(setting: &'static str, path: &Path) -> impl Iterator<Item = u64> {
    let all = certificates(setting, path).unwrap_or_default();
    all.into_iter().filter_map(|der| Certificate::read(&der).map(|certificate| certificate.not_after))
}

pub(super) fn private_key(setting: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = files::read(setting, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        FileError::new(
            setting,
            path,
            format!("it holds no usable private key: {error}"),
            "name a PEM file with a key that has no password",
        )
    })
}

/// Reads the authorities to trust, of which there must be at least one.
pub(super) fn authorities(setting: &'static str, path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(setting, path)? {
        roots.add(authority).map_err(|error| {
            let problem = format!("it holds a certificate that is none of an authority: {error}");
            FileError::new(setting, path, problem, "name the certificate of the authority that issues the others")
        })?;
    }
    Ok(roots)
}

/// The error for a certificate and a key that rustls does not accept together.
pub(super) fn unfit_pair(setting: &'static str, path: &Path, error: &Error) -> FileError {
    match error {
        Error::InconsistentKeys(_) => {
            let remedy = "name the key that the certificate was made for, and let both be replaced together";
            FileError::new(setting, path, "the key does not belong to the certificate", remedy)
        }
        error => {
            let remedy = "use an RSA, ECDSA or Ed25519 key and an X.509 certificate of version 3";
            FileError::new(setting, path, format!("the certificate cannot be used with its key: {error}"), remedy)
        }
    }
}

/// The reason why a certificate is not valid now, if it is not.
fn not_valid_now(certificate: &CertificateDer<'static>) -> Option<String> {
    let now = UnixTime::since_unix_epoch(Duration::from_nanos(clock::wall().0));
    // Without an authority this can only fail; the dates are what it checks first.
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let verdict = verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], now, &[]);
    let date = |time: UnixTime| {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(time.as_secs());
        humantime::format_rfc3339_seconds(time).to_string()
    };
    match verdict {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(format!("its certificate expired at {}", date(not_after)))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Some(format!("its certificate is not valid before {}", date(not_before)))
        }
        _ => None,
    }
}
