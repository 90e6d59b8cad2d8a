//! The addresses of listeners and of Redis, and the URLs that name them.
//!
//! A host name stays a name until a socket is bound or connected, so that a Redis that has moved is found again. A secret in
//! a URL is kept apart from the address, so that an address can always be shown.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::credentials::Secret;

/// The port on which Redis listens unless told otherwise.
pub const DEFAULT_REDIS_PORT: u16 = 6379;

/// A host and a port, not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    /// The port. 0, which lets the system choose one, is allowed only for listeners.
    pub port: u16,
}

/// The longest path of a Unix socket, in bytes. The system's address structure has 108, with the NUL at its end.
pub const MAX_SOCKET_PATH: usize = 107;

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Clients connect by TCP.
    Tcp(HostPort),
    /// Clients connect by TLS over TCP.
    Tls(HostPort),
    /// Clients connect to the Unix socket at this path.
    Unix(PathBuf),
}

/// The Redis behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Redis is reached by TCP.
    Tcp(HostPort),
    /// Redis is reached by TLS over TCP.
    Tls(HostPort),
    /// Redis is reached by the Unix socket at this path.
    Unix(PathBuf),
}

/// The URL of a Redis: its address, and the user and database there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// The address of the Redis.
    pub upstream: Upstream,
    /// The user, if the URL names one.
    pub username: Option<String>,
    /// The password, if the URL holds one.
    pub password: Option<Secret>,
    /// The number of the database. A new connection has database 0 anyway.
    pub database: u32,
}

/// The reason why an address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The URL has a scheme that is none of those that can stand here.
    #[error("its scheme is not known")]
    Scheme,
    /// The service behind an HTTP port is named by `https://`.
    #[error("the service is reached without TLS: only clients can use it here")]
    TlsToService,
    /// Credentials stand where none can.
    #[error("credentials cannot stand here: use --upstream-username and --upstream-password-file")]
    Credentials,
    /// The user or the password is not UTF-8 once it is percent-decoded.
    #[error("its user or its password is not UTF-8 once %XX is decoded")]
    NotText,
    /// The URL's path is not the number of a database.
    #[error("its database is not a number")]
    Database,
    /// The URL has a query or a fragment.
    #[error("it holds options, which the proxy does not have")]
    Options,
    /// The host is neither a name nor an IP address.
    #[error("its host is missing or malformed")]
    Host,
    /// The text is nothing but a number, which is most likely a port.
    #[error("its host is missing: it is only a number")]
    OnlyNumber,
    /// A URL stands where only a host and a port can.
    #[error("it is a URL, where a host and a port are needed")]
    Url,
    /// The port is missing where one is needed.
    #[error("its port is missing")]
    NoPort,
    /// The port is not a number from 1 to 65535. A listener may have 0 too.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// An IPv6 address has no brackets, so that its last group could be a port.
    #[error("an IPv6 address needs brackets, as in [::1]:6379")]
    Brackets,
    /// The path of a Unix socket is not absolute.
    #[error("the path of a Unix socket must be absolute, as in unix:/run/redis.sock")]
    Path,
    /// The path of a Unix socket is longer than the system allows.
    #[error("the path of a Unix socket may have {MAX_SOCKET_PATH} bytes at most")]
    LongPath,
}

impl ListenAddress {
    /// Reads `127.0.0.1:6380`, `[::1]:6380` or `localhost:6380`, with `redis://` or, for TLS, `rediss://` in front, or
    /// `unix:/path`. A port alone, as in `6380` or `:6380`, is one of 127.0.0.1. Port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`AddressError`], which says what is missing.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::parse_as(text, ["redis", "rediss"])
    }

    /// Reads the same with `http://` or, for TLS, `https://` in front.
    ///
    /// # Errors
    /// [`AddressError`], which says what is missing.
    pub fn parse_http(text: &str) -> Result<Self, AddressError> {
        Self::parse_as(text, ["http", "https"])
    }

    fn parse_as(text: &str, [plain, tls]: [&str; 2]) -> Result<Self, AddressError> {
        if let Some(path) = unix_path(text) {
            return socket_path(path).map(Self::Unix);
        }
        let (kind, authority): (fn(HostPort) -> Self, _) = match text.split_once("://") {
            Some((scheme, rest)) if scheme == plain => (Self::Tcp, rest),
            Some((scheme, rest)) if scheme == tls => (Self::Tls, rest),
            Some(_) => return Err(AddressError::Scheme),
            None => (Self::Tcp, text),
        };
        if authority.contains('@') {
            return Err(AddressError::Credentials);
        }
        HostPort::parse_local(authority.strip_suffix('/').unwrap_or(authority)).map(kind)
    }

    /// The host and the port, which a Unix socket does not have.
    pub fn host_port(&self) -> Option<&HostPort> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(address),
            Self::Unix(_) => None,
        }
    }

    /// Whether the two cannot both be bound. Port 0 is another one each time.
    pub fn is_same_socket(&self, other: &Self) -> bool {
        match (self.host_port(), other.host_port()) {
            (Some(one), Some(other)) => one == other && one.port != 0,
            _ => self == other,
        }
    }
}

impl HostPort {
    /// Reads a host and a port, which may be 0.
    ///
    /// # Errors
    /// [`AddressError`], which says what is missing.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split_host_port(text)?;
        Ok(Self { host, port: port.ok_or(AddressError::NoPort)? })
    }

    /// Reads a host and a port, or a port alone, with or without a `:` in front, which is one of 127.0.0.1.
    ///
    /// # Errors
    /// [`AddressError`], which says what is missing.
    pub fn parse_local(text: &str) -> Result<Self, AddressError> {
        let port = text.strip_prefix(':').unwrap_or(text);
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::parse(text);
        }
        let port = port.parse().map_err(|_| AddressError::Port)?;
        Ok(Self { host: "127.0.0.1".to_owned(), port })
    }
}

impl UpstreamUrl {
    /// Reads `redis://[user[:password]@]host[:port][/database]`, the same with `rediss://`, `host[:port]`, `unix:/path`
    /// or `redis+unix:///path`. In the user and the password `%XX` stands for a byte. They may hold any other character
    /// as it is, except for a `:` in the user.
    ///
    /// # Errors
    /// [`AddressError`], which never repeats the text, because that may hold a password.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let nobody = |upstream| Self { upstream, username: None, password: None, database: 0 };
        if let Some(path) = unix_path(text) {
            return socket_path(path).map(Upstream::Unix).map(nobody);
        }
        let (kind, authority): (fn(HostPort) -> Upstream, _) = match text.split_once("://") {
            Some(("redis", rest)) => (Upstream::Tcp, rest),
            Some(("rediss", rest)) => (Upstream::Tls, rest),
            Some(_) => return Err(AddressError::Scheme),
            None => (Upstream::Tcp, text),
        };
        // A password may hold any character, `/`, `?` and `@` among them, so this comes before everything else.
        let (user_info, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => (Some(user_info), authority),
            None => (None, authority),
        };
        if authority.contains(['?', '#']) {
            return Err(AddressError::Options);
        }
        let (authority, database) = match authority.split_once('/') {
            None | Some((_, "")) => (authority.trim_end_matches('/'), 0),
            Some((authority, number)) => (authority, database(number)?),
        };
        let (host, port) = split_host_port(authority)?;
        let upstream = match port.unwrap_or(DEFAULT_REDIS_PORT) {
            0 => return Err(AddressError::Port),
            port => kind(HostPort { host, port }),
        };
        let (username, password) = match user_info.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some((username, password)) => (decoded(username)?, decoded(password)?.map(Secret::from)),
            None => (None, None),
        };
        Ok(Self { upstream, username, password, database })
    }
}

impl Upstream {
    /// The value of the attribute `server.address`: the host, or the path of a Unix socket.
    pub fn server_address(&self) -> String {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.host.clone(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// The value of the attribute `server.port`, which a Unix socket does not have.
    pub fn server_port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(address.port),
            Self::Unix(_) => None,
        }
    }
}

/// The part after the scheme, if `text` is the URL of a Unix socket.
fn unix_path(text: &str) -> Option<&str> {
    text.strip_prefix("redis+unix://").or_else(|| text.strip_prefix("unix:"))
}

fn socket_path(path: &str) -> Result<PathBuf, AddressError> {
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
    if name.len() >= MAX_SOCKET_PATH || name.contains('\0') {
        return Err(AddressError::LongPath);
    }
    Ok(format!("/{name}").into())
}

fn database(number: &str) -> Result<u32, AddressError> {
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits).ok_or(AddressError::Database)
}

/// Percent-decodes a part of a URL's user information. An empty one is `None`.
fn decoded(text: &str) -> Result<Option<String>, AddressError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| AddressError::NotText)?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
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
            None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(AddressError::OnlyNumber);
            }
            None => (text, None),
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) {
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
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(address) => write!(f, "rediss://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
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
