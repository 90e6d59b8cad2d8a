//! A certificate authority of the test's own, with its files.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SigningKey, date_time_ymd};
use tempfile::TempDir;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// A certificate authority and the folder with its files.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL finds an issuer by name.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn file(&self) -> String {
        self.write("ca.pem", &self.issuer.pem()).display().to_string()
    }

    /// A certificate for `name` and its key, in PEM form.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The same, valid from the first day of the first year to the first day of the second.
    pub(crate) fn issue_between(&self, name: &str, (from, to): (i32, i32)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A certificate that has only a common name, and its key.
    pub(crate) fn issue_common_name(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = with_common_name(name);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The same as a certificate of X.509 version 1, which has neither a version nor extensions.
    pub(crate) fn issue_version_1(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let issued = with_common_name(name).signed_by(&key, &self.issuer).unwrap();
        let [signed, algorithm, _] = values(values(issued.der())[0].1)[..] else { panic!("not a certificate") };
        // The version, and the extensions.
        let fields = values(signed.1).into_iter().filter(|(whole, _)| ![0xa0, 0xa3].contains(&whole[0]));
        let fields: Vec<u8> = fields.flat_map(|(whole, _)| whole).copied().collect();
        let signed = value(0x30, &fields);
        let signature = [&[0], &self.issuer.key().sign(&signed).unwrap()[..]].concat();
        let certificate = value(0x30, &[&signed, algorithm.0, &value(0x03, &signature)].concat());
        let text = STANDARD.encode(certificate);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        (pem, key.serialize_pem())
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.issuer.pem().as_bytes()).unwrap()).unwrap();
        roots
    }
}

fn with_common_name(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The values in a piece of DER, each as a whole and by its body.
fn values(mut der: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut values = Vec::new();
    while let [_, first, ..] = *der {
        let more = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let len = if more == 0 {
            usize::from(first)
        } else {
            der[2..2 + more].iter().fold(0, |len, byte| len << 8 | usize::from(*byte))
        };
        let (whole, rest) = der.split_at(2 + more + len);
        values.push((whole, &whole[2 + more..]));
        der = rest;
    }
    values
}

/// A value in DER.
fn value(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    // As short as possible, which DER demands.
    match len {
        [0, len @ 0..0x80] => [&[tag, len], body].concat(),
        [0, len] => [&[tag, 0x81, len], body].concat(),
        len => [&[tag, 0x82], &len[..], body].concat(),
    }
}
