//! Whether the certificate of a Redis is believed, and what is wrong with one that is not.
//!
//! By default webpki decides, by the rules that browsers have. Many a Redis has a certificate that these refuse: without names,
//! or of X.509 version 1, as `openssl` makes them. Its operator may have the name left out, or name the one certificate that is
//! believed. In each case the server has to prove that it has the certificate's key.

use std::fmt;
use std::io;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::x509::{Certificate, PublicKey};
use crate::settings::{Fingerprint, Verification};

/// What is believed of servers.
#[derive(Debug)]
pub(super) struct Verifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Rule {
    Name(Arc<WebPkiServerVerifier>),
    Authority(RootCertStore),
    Fingerprints(Vec<Fingerprint>),
}

/// What is wrong with a certificate, in words for an operator.
#[derive(Debug)]
struct Unfit(String);

impl std::error::Error for Unfit {}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error of a handshake in words for an operator, if it is about a certificate of which `Verifier` knows them.
pub fn in_words(error: io::Error) -> io::Error {
    let refused = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let Some(Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) = refused else { return error };
    match why.downcast_ref::<Unfit>() {
        Some(unfit) => io::Error::new(error.kind(), format!("invalid peer certificate: {unfit}")),
        None => error,
    }
}

fn unfit(why: impl Into<String>) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Unfit(why.into())))))
}

impl Verifier {
    /// Verifies as `verification` says, with `roots` as the authorities.
    ///
    /// # Errors
    /// There is no authority where one is needed.
    pub(super) fn new(verification: &Verification, roots: RootCertStore) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let rule = match verification {
            Verification::Name => {
                let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                Rule::Name(built.map_err(|error| error.to_string())?)
            }
            Verification::Authority => Rule::Authority(roots),
            Verification::Fingerprints(all) => Rule::Fingerprints(all.clone()),
        };
        Ok(Self { rule, algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.rule {
            Rule::Name(webpki) => webpki
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| explained(error, end_entity)),
            Rule::Authority(roots) => {
                issued_by_authority(end_entity, intermediates, roots, now, self.algorithms.all)?;
                Ok(ServerCertVerified::assertion())
            }
            Rule::Fingerprints(all) => {
                let shown = Fingerprint::of_digest(digest(&SHA256, end_entity).as_ref());
                if shown.is_some_and(|shown| all.contains(&shown)) {
                    return Ok(ServerCertVerified::assertion());
                }
                let shown = shown.map(|shown| shown.to_string()).unwrap_or_default();
                Err(unfit(format!("it has the fingerprint {shown}, which --upstream-verify does not name")))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some(old) = of_old_version(certificate) else {
            return verify_tls12_signature(message, certificate, signed, &self.algorithms);
        };
        let of_scheme = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) = of_scheme.ok_or_else(|| unfit("it is used with a signature that was not offered"))?;
        let key = old.key().ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if is_signed(algorithms, key, None, message, signed.signature()) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match of_old_version(certificate) {
            None => verify_tls13_signature(message, certificate, signed, &self.algorithms),
            Some(old) => {
                let key = SubjectPublicKeyInfoDer::from(old.key_info);
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that webpki does not read, because of its version.
fn of_old_version<'a>(certificate: &'a CertificateDer<'_>) -> Option<Certificate<'a>> {
    Certificate::read(certificate).filter(|certificate| certificate.version < 3)
}

/// What is wrong with a certificate, instead of the error that results from it.
fn explained(error: Error, certificate: &CertificateDer<'_>) -> Error {
    const REMEDY: &str = "issue one with a subjectAltName, or see --upstream-verify";
    let Some(read) = Certificate::read(certificate) else { return error };
    let name = read.common_name().map(|name| format!(" `{name}`")).unwrap_or_default();
    if read.version < 3 {
        return unfit(format!(
            "it is of X.509 version {}, which has no names but the common name{name}, and that is no longer believed: {REMEDY}",
            read.version
        ));
    }
    if error.to_string().contains("CaUsedAsEndEntity") {
        let why = "it is an authority's own certificate (CaUsedAsEndEntity): let the authority issue one";
        return unfit(format!("{why}, or see --upstream-verify"));
    }
    let is_about_names = matches!(
        error,
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
    );
    if is_about_names && !read.has_alternative_names() {
        return unfit(format!("it has only the common name{name}, which is no longer believed: {REMEDY}"));
    }
    error
}

/// Whether one of `roots` has issued a certificate, and it is valid now, whatever its names.
fn issued_by_authority(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Error> {
    let read = Certificate::read(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let is_root = roots.roots.iter().any(|root| {
        root.subject.as_ref() == read.subject
            && PublicKey::read(&root.subject_public_key_info).is_some_and(|key| read.key() == Some(key))
    });
    if read.version == 3 && !is_root {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        return verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms);
    }
    let time = now.as_secs();
    if time > read.not_after {
        let not_after = UnixTime::since_unix_epoch(std::time::Duration::from_secs(read.not_after));
        return Err(Error::InvalidCertificate(CertificateError::ExpiredContext { time: now, not_after }));
    }
    if time < read.not_before {
        let not_before = UnixTime::since_unix_epoch(std::time::Duration::from_secs(read.not_before));
        return Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { time: now, not_before }));
    }
    // A certificate of an old version cannot say that it is an authority's, so there can be none between it and the root.
    let is_issued = || {
        let issuers = roots.roots.iter().filter(|root| root.subject.as_ref() == read.issuer);
        let mut keys = issuers.filter_map(|root| PublicKey::read(&root.subject_public_key_info));
        keys.any(|key| is_signed(algorithms, key, Some(read.signature_algorithm), read.signed, read.signature))
    };
    if is_root || is_issued() { Ok(()) } else { Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) }
}

/// Whether `signature` is one of `message` by `key`, with one of `algorithms`, which is the one with `identifier` if there is one.
fn is_signed(
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    key: PublicKey<'_>,
    identifier: Option<&[u8]>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    algorithms
        .iter()
        .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm)
        .filter(|algorithm| identifier.is_none_or(|identifier| algorithm.signature_alg_id().as_ref() == identifier))
        .any(|algorithm| algorithm.verify_signature(key.bits, message, signature).is_ok())
}
