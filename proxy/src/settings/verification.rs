//! How the certificate of a server is checked, as `--upstream-verify` says.

use std::fmt;
use std::str::FromStr;

/// What a server's certificate is checked for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Verification {
    /// A known authority has issued it for the server's name.
    #[default]
    Name,
    /// A known authority has issued it, for whatever name.
    Authority,
    /// It is one of these certificates. Nothing else counts, not even its dates.
    Fingerprints(Vec<Fingerprint>),
}

/// The SHA-256 digest of a certificate in DER form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that does not say how a certificate is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerificationError {
    /// It is none of the three words.
    #[error("it is neither name, authority nor fingerprint:SHA256")]
    Unknown,
    /// What follows `fingerprint:` is not a SHA-256 digest.
    #[error("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons between pairs")]
    Fingerprint,
}

const FINGERPRINT: &str = "fingerprint:";

impl FromStr for Verification {
    type Err = VerificationError;

    /// Reads `name`, `authority`, or `fingerprint:` with digests in hexadecimal digits, separated by commas.
    fn from_str(text: &str) -> Result<Self, VerificationError> {
        match text {
            "name" => Ok(Self::Name),
            "authority" => Ok(Self::Authority),
            text => {
                let digests = text.strip_prefix(FINGERPRINT).ok_or(VerificationError::Unknown)?;
                let all: Option<Vec<_>> = digests.split(',').map(Fingerprint::parse).collect();
                all.map(Self::Fingerprints).ok_or(VerificationError::Fingerprint)
            }
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("name"),
            Self::Authority => f.write_str("authority"),
            Self::Fingerprints(all) => {
                let all: Vec<_> = all.iter().map(ToString::to_string).collect();
                write!(f, "{FINGERPRINT}{}", all.join(","))
            }
        }
    }
}

impl Fingerprint {
    /// The fingerprint with this digest; `None` if it has not 32 bytes.
    pub fn of_digest(digest: &[u8]) -> Option<Self> {
        digest.try_into().ok().map(Self)
    }

    /// Reads pairs of hexadecimal digits with colons between them, as `openssl` prints them, or without.
    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .trim()
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16)?.try_into().ok())
            .collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
        digits.len().is_multiple_of(2).then(|| Self::of_digest(&bytes))?
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_openssl_prints_them() {
        let plain = "00ff".repeat(16);
        let with_colons = vec!["00:FF"; 16].join(":");
        let shown = format!("fingerprint:{plain},{plain}");
        let read: Verification = format!("fingerprint:{with_colons},{plain}").parse().unwrap();
        assert_eq!(read.to_string(), shown);
        for text in ["name", "authority"] {
            assert_eq!(text.parse::<Verification>().unwrap().to_string(), text);
        }
        for (text, error) in [
            ("none", VerificationError::Unknown),
            ("", VerificationError::Unknown),
            ("fingerprint:", VerificationError::Fingerprint),
            ("fingerprint:00ff", VerificationError::Fingerprint),
            (&format!("fingerprint:{plain}0"), VerificationError::Fingerprint),
            (&format!("fingerprint:{plain},"), VerificationError::Fingerprint),
            (&format!("fingerprint:g{}", &plain[1..]), VerificationError::Fingerprint),
        ] {
            assert_eq!(text.parse::<Verification>(), Err(error), "{text}");
        }
    }
}
