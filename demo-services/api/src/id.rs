//! The name of a report: 128 random bits in hex, so that nobody can guess another's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 32 lower-case hex digits. Everything else is refused, so that an id can stand in a Redis key as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ReportId(String);

impl ReportId {
    /// A new id from the system's random source.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(hex)).then(|| Self(text.into()))
    }
}

impl TryFrom<String> for ReportId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a report id is 32 lower-case hex digits")
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ_and_are_read_back() {
        let (one, two) = (ReportId::random().unwrap(), ReportId::random().unwrap());
        assert_ne!(one, two);
        assert_eq!(ReportId::parse(&one.to_string()), Some(one));
    }

    #[test]
    fn what_could_reach_another_key_is_refused() {
        let upper = "ABCDEF00ABCDEF00ABCDEF00ABCDEF00";
        for text in ["", "*", "../x", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcde:", upper] {
            assert_eq!(ReportId::parse(text), None, "{text}");
        }
    }
}
