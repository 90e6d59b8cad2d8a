//! Who the proxy is to Redis, in types that cannot be shown by mistake.

use std::fmt;

/// A text that no log, error or page may hold. [`Secret::reveal`] is the only way to read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// An ACL user; `None` is the user that a password alone belongs to, `default`.
    pub username: Option<String>,
    /// Its password.
    pub password: Secret,
}

impl Secret {
    /// The text, for sending it to whom it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials { username: Some("orders".into()), password: "hunter2".into() };
        let shown = format!("{credentials:?} {credentials:#?}");
        assert!(shown.contains("orders") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(credentials.password.reveal(), "hunter2");
    }
}
