//! A decoded reply, and the errors of a server.

use std::fmt;

use redis_protocol::resp2::types::OwnedFrame;

use crate::net::upstream::{error_code, refusal_at_the_door};

/// The longest text of an error that is kept, in bytes. Every error of Redis fits.
const MAX_REFUSAL_LEN: usize = 256;

/// One complete reply, or one message of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A simple string, as in `+OK`.
    Status(Vec<u8>),
    /// An error, as in `-ERR …`.
    Error(Refusal),
    /// An integer, as in `:1`.
    Integer(i64),
    /// A bulk string (`$`), without its header and terminator.
    Bulk(Vec<u8>),
    /// An array (`*`), with its elements in order.
    Array(Vec<Reply>),
    /// A null, `$-1` or `*-1`.
    Null,
}

impl Reply {
    /// The content of a bulk string or a simple string.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(text) | Self::Status(text) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value of a field in a reply to `INFO`, without white space around it.
    pub fn info_field(&self, name: &str) -> Option<&str> {
        // Other fields, such as paths, may hold any bytes.
        let mut lines = self.text()?.split(|byte| *byte == b'\n');
        let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
        std::str::from_utf8(value.trim_ascii()).ok()
    }

    /// Turns an error reply into an `Err`, and returns any other as it is.
    ///
    /// # Errors
    /// The error of the server.
    pub fn accepted(self) -> Result<Self, Refusal> {
        match self {
            Self::Error(refusal) => Err(refusal),
            reply => Ok(reply),
        }
    }
}

impl From<OwnedFrame> for Reply {
    fn from(frame: OwnedFrame) -> Self {
        match frame {
            OwnedFrame::SimpleString(text) => Self::Status(text),
            OwnedFrame::Error(line) => Self::Error(Refusal::new(&line)),
            OwnedFrame::Integer(number) => Self::Integer(number),
            OwnedFrame::BulkString(text) => Self::Bulk(text),
            OwnedFrame::Array(elements) => Self::Array(elements.into_iter().map(Self::from).collect()),
            OwnedFrame::Null => Self::Null,
        }
    }
}

/// An error that Redis replied with.
///
/// It displays the server's text, which may repeat arguments of the command. Of commands with secrets, only
/// [`code`](Self::code) may be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    line: String,
    code: String,
}

impl Refusal {
    /// Keeps the first 256 bytes of an error line, which is given without its `-`.
    pub fn new(line: &str) -> Self {
        let code = error_code(line.as_bytes());
        Self { line: line.chars().scan(0, short_enough).collect(), code }
    }

    /// The error's code, as [`error_code`] finds it.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Redis's words, if it takes no connection at all.
    pub fn at_the_door(&self) -> Option<&'static str> {
        refusal_at_the_door(self.line.as_bytes())
    }

    /// Whether the user lacks a permission.
    pub fn is_permission(&self) -> bool {
        self.code() == "NOPERM"
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

fn short_enough(len: &mut usize, c: char) -> Option<char> {
    *len += c.len_utf8();
    (*len <= MAX_REFUSAL_LEN).then_some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_info_are_found_by_their_whole_name() {
        let info = Reply::Bulk(b"# Server\r\nconfig_file:/\xff\r\nrun_id:abc\r\nempty:\r\nrole:master".to_vec());
        assert_eq!(info.info_field("run_id"), Some("abc"));
        assert_eq!(info.info_field("role"), Some("master"));
        assert_eq!(info.info_field("empty"), Some(""));
        for name in ["run", "id", "config_file", "Server"] {
            assert_eq!(info.info_field(name), None, "{name}");
        }
        assert_eq!(Reply::Null.info_field("run_id"), None);
    }

    #[test]
    fn a_refusal_keeps_its_code_and_a_bounded_sentence() {
        let refusal = Refusal::new(&format!("NOPERM {}", "é".repeat(1000)));
        assert_eq!(refusal.code(), "NOPERM");
        assert!(refusal.is_permission());
        assert_eq!(refusal.to_string().len(), 255, "it ends before the character that would not fit");
        assert_eq!(Refusal::new("").code(), "");
        assert_eq!(error_code(b"WRONGPASS invalid username-password pair\r\n"), "WRONGPASS");
        assert_eq!(error_code(b"ERR\r\n"), "ERR");
        for line in ["hunter2 is wrong", "Hunter2", &"A".repeat(33)] {
            assert_eq!(Refusal::new(line).code(), "an error");
        }
    }
}
