//! The credentials that the proxy has for Redis, in types that cannot be shown by mistake.

use std::fmt;

/// A secret, which no log, error or page may hold. Its `Debug` shows three stars; [`Secret::reveal`] is the only way to read
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user. `None` stands for the user `default`, to which a password alone belongs.
    pub username: Option<String>,
    /// The user's password.
    pub password: Secret,
}

impl Secret {
    /// The secret itself, to be sent to the server that asks for it and used for nothing else.
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
