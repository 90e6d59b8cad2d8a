//! Where to listen and where Redis is.
//!
//! Names are kept as names: they are resolved when a socket is bound or dialled, so that a Redis that moves is found
//! again. A secret in a URL is never kept and never shown.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// Redis's own port.
pub const DEFAULT_REDIS_PORT: u16 = 6379;

/// A host and a port, not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    /// 0 lets the system choose; only listeners allow it.
    pub port: u16,
}

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress(HostPort);

/// The Redis behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// By TCP.
    Tcp(HostPort),
    /// By TLS on TCP.
    Tls(HostPort),
    /// By a Unix socket at this path.
    Unix(PathBuf),
}

/// Why an address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A URL of another kind.
    #[error("its scheme is not known")]
    Scheme,
    /// A URL with `user:password@`.
    #[error("it holds credentials, which the proxy does not use: the service's own AUTH or HELLO passes through")]
    Credentials,
    /// A URL with `/3`.
    #[error("it selects a database, which the proxy does not do: the service's own SELECT passes through")]
    Database,
    /// A URL with `?…` or `#…`.
    #[error("it holds options, which the proxy does not have")]
    Options,
    /// Neither a name nor an address.
    #[error("its host is missing or malformed")]
    Host,
    /// No port where one is needed.
    #[error("its port is missing")]
    NoPort,
    /// Not 1 to 65535 (a listener may have 0).
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// An IPv6 address whose last group could be a port.
    #[error("an IPv6 address needs brackets, as in [::1]:6379")]
    Brackets,
    /// A Unix socket without an absolute path.
    #[error("the path of a Unix socket must be absolute, as in unix:/run/redis.sock")]
    Path,
}

impl ListenAddress {
    /// Reads `127.0.0.1:6380`, `[::1]:6380` or `localhost:6380`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// [`AddressError`], which says what is missing.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split_host_port(text)?;
        Ok(Self(HostPort { host, port: port.ok_or(AddressError::NoPort)? }))
    }

    /// The same, or a port alone, which is on 127.0.0.1.
    ///
    /// # Errors
    /// [`AddressError`], which says what is missing.
    pub fn parse_local(text: &str) -> Result<Self, AddressError> {
        match text.parse::<u16>() {
            Ok(port) => Ok(Self(HostPort { host: "127.0.0.1".to_owned(), port })),
            Err(_) => Self::parse(text),
        }
    }

    /// Host and port.
    pub fn host_port(&self) -> &HostPort {
        &self.0
    }
}

impl Upstream {
    /// Reads `redis://host[:port]`, `rediss://host[:port]`, `host[:port]`, `unix:/path` or `redis+unix:///path`. The database `/0` is what a
    /// connection has anyway, so it is accepted.
    ///
    /// # Errors
    /// [`AddressError`]; none of them repeats the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("redis+unix://").or_else(|| text.strip_prefix("unix:")) {
            return unix(path);
        }
        let (kind, authority): (fn(HostPort) -> Self, _) = match text.split_once("://") {
            Some(("redis", rest)) => (Self::Tcp, rest),
            Some(("rediss", rest)) => (Self::Tls, rest),
            Some(_) => return Err(AddressError::Scheme),
            None => (Self::Tcp, text),
        };
        // A password may hold any character, `/` and `?` among them, so this comes before everything else.
        if authority.contains('@') {
            return Err(AddressError::Credentials);
        }
        if authority.contains(['?', '#']) {
            return Err(AddressError::Options);
        }
        let authority = match authority.split_once('/') {
            None => authority,
            Some((authority, "" | "0")) => authority,
            Some(_) => return Err(AddressError::Database),
        };
        let (host, port) = split_host_port(authority)?;
        match port.unwrap_or(DEFAULT_REDIS_PORT) {
            0 => Err(AddressError::Port),
            port => Ok(kind(HostPort { host, port })),
        }
    }

    /// `server.address` of the semantic conventions: the host, or the path of a Unix socket.
    pub fn server_address(&self) -> String {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.host.clone(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// `server.port`, which a Unix socket has not.
    pub fn server_port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(address.port),
            Self::Unix(_) => None,
        }
    }
}

fn unix(path: &str) -> Result<Upstream, AddressError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.contains('@') && !path.starts_with('/') {
        return Err(AddressError::Credentials);
    }
    if path.contains(['?', '#']) {
        return Err(AddressError::Options);
    }
    // Further slashes mean nothing to the system, and would be read as `unix://` where the address is shown.
    let name = path.trim_start_matches('/');
    if name.is_empty() || name.len() == path.len() {
        return Err(AddressError::Path);
    }
    Ok(Upstream::Unix(format!("/{name}").into()))
}

fn split_host_port(text: &str) -> Result<(String, Option<u16>), AddressError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(AddressError::Brackets)?;
        host.parse::<Ipv6Addr>().map_err(|_| AddressError::Host)?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(AddressError::Host),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(AddressError::Brackets),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(AddressError::Host);
    }
    let port = match port {
        // `u16::from_str` would also take a sign.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().map_err(|_| AddressError::Port)?),
        Some(_) => return Err(AddressError::Port),
        None => None,
    };
    Ok((host.to_owned(), port))
}

/// `text` fit to be shown: whatever could be a credential or an option is left out.
pub fn without_secrets(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphabetic() || c == '+') => {
            (format!("{scheme}://"), rest)
        }
        _ => (String::new(), text),
    };
    // The last `@`, because a password may hold one.
    let (mask, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let end = rest.find(['?', '#']);
    let tail = if end.is_some() { "?***" } else { "" };
    format!("{scheme}{mask}{}{tail}", &rest[..end.unwrap_or(rest.len())])
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "redis://{address}"),
            Self::Tls(address) => write!(f, "rediss://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_in_every_documented_form() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("rediss://cache", "rediss://cache:6379"),
            ("redis://cache", "redis://cache:6379"),
            ("redis://cache/", "redis://cache:6379"),
            ("redis://cache:7000/0", "redis://cache:7000"),
            ("cache:7000", "redis://cache:7000"),
            ("my_cache.internal", "redis://my_cache.internal:6379"),
            ("redis://[::1]:7000", "redis://[::1]:7000"),
            ("[::1]", "redis://[::1]:6379"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
            ("unix:///run/redis.sock", "unix:/run/redis.sock"),
            ("unix:////run/redis.sock", "unix:/run/redis.sock"),
            ("redis+unix:///run/redis.sock", "unix:/run/redis.sock"),
        ] {
            assert_eq!(Upstream::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn upstreams_that_would_be_misunderstood_are_refused() {
        for (text, error) in [
            ("http://cache", AddressError::Scheme),
            ("redis://:pw@cache", AddressError::Credentials),
            ("redis://user:p/w?@cache:6379", AddressError::Credentials),
            ("redis://cache/3", AddressError::Database),
            ("redis://cache?db=3", AddressError::Options),
            ("redis://", AddressError::Host),
            ("redis://ca che", AddressError::Host),
            ("redis://[::1", AddressError::Brackets),
            ("redis://[nonsense]:1", AddressError::Host),
            ("::1", AddressError::Brackets),
            ("cache:0", AddressError::Port),
            ("cache:65536", AddressError::Port),
            ("cache:+1", AddressError::Port),
            ("cache:", AddressError::Port),
            ("unix:run/redis.sock", AddressError::Path),
            ("unix:/", AddressError::Path),
            ("unix:////", AddressError::Path),
            ("redis+unix://user:pw@/run/redis.sock", AddressError::Credentials),
            ("", AddressError::Host),
        ] {
            assert_eq!(Upstream::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn listeners_need_a_port_and_may_leave_it_to_the_system() {
        assert_eq!(ListenAddress::parse("127.0.0.1:0").unwrap().host_port().port, 0);
        assert_eq!(ListenAddress::parse("[::]:6380").unwrap().to_string(), "[::]:6380");
        assert_eq!(ListenAddress::parse("127.0.0.1"), Err(AddressError::NoPort));
        assert_eq!(ListenAddress::parse(":6380"), Err(AddressError::Host));
        assert_eq!(ListenAddress::parse("::1:6380"), Err(AddressError::Brackets));
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, shown) in [
            ("redis://user:hunter2@cache:6379/3", "redis://***@cache:6379/3"),
            ("redis://:hun@ter2@cache", "redis://***@cache"),
            (":hunter2@cache", "***@cache"),
            ("user:hunter2://x@cache", "***@cache"),
            ("redis://cache?password=hunter2", "redis://cache?***"),
            ("redis://cache:6379", "redis://cache:6379"),
        ] {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
    }
}
