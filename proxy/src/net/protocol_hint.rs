//! A hint of which other protocol is spoken on a Redis port by mistake, taken from the first bytes of a connection.
//!
//! Forwarding does not depend on it: the bytes pass as all others do, and so does what Redis answers. The hint is for the log,
//! so that a line names the mistake instead of its effect.

/// A protocol that is spoken in place of RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolHint {
    /// TLS: a handshake record or an alert.
    Tls,
    /// HTTP: a request or a response of HTTP/1, or the connection preface of HTTP/2.
    Http,
}

impl ProtocolHint {
    /// Recognises a protocol by the first bytes that came from one side. They are the result of one read: a read that ends
    /// within a TLS record's header or a request's first line gives no hint.
    ///
    /// No Redis client begins like this: 0x16 begins no command, and an inline command with `HTTP/1.1` at its end is
    /// nothing that Redis would do.
    pub fn recognise(first: &[u8]) -> Option<Self> {
        match first {
            // Content type (RFC 8446, section 5.1) and the legacy version, which is 3.0 to 3.4.
            [0x15 | 0x16, 3, 0..=4, ..] => Some(Self::Tls),
            _ if is_http(first) => Some(Self::Http),
            _ => None,
        }
    }
}

/// A status line (`HTTP/1.1 200 OK`) or a request line (`GET / HTTP/1.1`, `PRI * HTTP/2.0`).
fn is_http(first: &[u8]) -> bool {
    if first.starts_with(b"HTTP/1.") {
        return true;
    }
    let Some(end) = first.iter().position(|&byte| byte == b'\n') else { return false };
    let line = first[..end].trim_ascii_end();
    line.first().is_some_and(u8::is_ascii_uppercase)
        && [&b" HTTP/1.1"[..], b" HTTP/1.0", b" HTTP/2.0"].iter().any(|version| line.ends_with(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hello_and_an_alert_are_tls() {
        assert_eq!(ProtocolHint::recognise(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), Some(ProtocolHint::Tls));
        assert_eq!(ProtocolHint::recognise(b"\x15\x03\x03\x00\x02\x02\x46"), Some(ProtocolHint::Tls));
    }

    #[test]
    fn requests_and_answers_are_http() {
        for first in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"POST /v1/traces HTTP/1.0\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert_eq!(ProtocolHint::recognise(first), Some(ProtocolHint::Http), "{}", first.escape_ascii());
        }
    }

    #[test]
    fn what_redis_and_its_clients_say_is_neither() {
        for first in [
            &b""[..],
            b"\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"GET HTTP/1.1",
            b"GET HTTP/1.1 x\r\n",
            b"SET a 1\r\nGET / HTTP/1.1\r\n",
            b"+OK\r\n",
            b"-ERR HTTP/1.1\r\n",
            b"\x16",
            b"\x16\x03\x05",
        ] {
            assert_eq!(ProtocolHint::recognise(first), None, "{}", first.escape_ascii());
        }
    }
}
