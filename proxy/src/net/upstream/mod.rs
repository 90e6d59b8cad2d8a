//! Connecting to Redis.
//!
//! A service is connected to the proxy before Redis is reached, so it need not notice a Redis that is away for a moment: after a
//! failure that may pass, the proxy tries again, with growing pauses, until the time to connect is over. After one that would
//! repeat, it does not: a rejected certificate or password, or a lack of file descriptors.
//!
//! | module | what it knows |
//! |---|---|
//! | `resolve` | the addresses of a host name, looked up once at a time |
//! | `login` | `AUTH` and `SELECT` on a service's connection, if the proxy is to send them |

mod login;
mod resolve;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::{TlsConnector, TlsStream};

use crate::error::{RelayError, is_exhaustion};
use crate::files::{FileError, Rotating};
use crate::net::hop::{ANNOUNCEMENT, Neighbour};
use crate::net::key_material::KeyMaterial;
use crate::net::stream::{Stream, tune};
use crate::net::tls;
use crate::settings::Upstream;
use crate::settings::credentials::{Credentials, Secret};
use crate::settings::{Login, Route, Settings, TcpTimeouts};
use login::{LoginError, login};
pub use login::{error_code, refusal_at_the_door};
pub use resolve::{Resolve, Resolving};

/// The pause after the first failed attempt. Each later pause is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Makes connections to one Redis.
#[derive(Clone, Debug)]
pub struct Dialer {
    upstream: Upstream,
    login: Login,
    /// The password if `login` has none.
    password: Option<Arc<Rotating<Secret>>>,
    /// Whether services' connections are logged in by the proxy.
    logs_clients_in: bool,
    /// The configuration and the server's name, for `rediss://`.
    tls: Option<(Arc<Rotating<ClientConfig>>, ServerName<'static>)>,
    resolver: Arc<dyn Resolve>,
    /// What is known of the upstream; `None` if it is taken for a Redis.
    neighbour: Option<Arc<Neighbour>>,
    tcp: TcpTimeouts,
    limit: Duration,
    retries: bool,
}

/// The reason why a service gets no connection to Redis.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] RelayError),
    /// Redis refused what the proxy sent to log the service in.
    #[error("Redis refused the proxy's {command}: {}", error_code(.line.strip_prefix(b"-").unwrap_or(.line)))]
    Refused {
        /// The name of the command, `AUTH` or `SELECT`.
        command: &'static str,
        /// Redis's error line, with its CRLF.
        line: Vec<u8>,
    },
}

impl DialError {
    /// The words of a Redis that takes no connection, whoever asks.
    pub fn said_at_the_door(&self) -> Option<&'static str> {
        match self {
            Self::Refused { line, .. } => refusal_at_the_door(line.strip_prefix(b"-")?),
            Self::Connect(_) => None,
        }
    }
}

impl Dialer {
    /// The dialer of a route. A connection may take as long as `--connect-timeout`, name resolution, TLS handshake and login
    /// included.
    ///
    /// # Errors
    /// The host name cannot be a name in a certificate, or `material` lacks what `rediss://` needs.
    pub fn new(route: &Route, settings: &Settings, material: &KeyMaterial) -> Result<Self, FileError> {
        let tls = match &route.upstream {
            Upstream::Tcp(_) | Upstream::Unix(_) => None,
            Upstream::Tls(address) => {
                let config = material.upstream.clone().ok_or_else(|| {
                    FileError::unset("--upstream-ca", "nothing was read for rediss:// upstreams", "read it before")
                })?;
                let name = settings.upstream_tls.server_name.as_ref().unwrap_or(&address.host);
                let name = ServerName::try_from(name.clone()).map_err(|_| {
                    let problem = format!("`{name}` cannot be a name in a certificate");
                    FileError::unset("--upstream-server-name", problem, "name what Redis's certificate holds")
                })?;
                Some((config, name))
            }
        };
        Ok(Self {
            upstream: route.upstream.clone(),
            login: route.login.clone(),
            password: material.password.clone(),
            logs_clients_in: settings.upstream_login.clients,
            tls,
            resolver: resolve::system(),
            neighbour: settings.detect_proxies.then(Arc::default),
            tcp: settings.tcp,
            limit: settings.limits.connect_timeout,
            retries: settings.limits.connect_retry,
        })
    }

    /// The dialer of a service itself, by TCP or a Unix socket. A connection may take as long as `--connect-timeout`. There is one
    /// attempt, because it is the client that decides whether it tries again.
    pub fn to_service(service: &Upstream, settings: &Settings) -> Self {
        Self {
            upstream: service.clone(),
            login: Login::default(),
            password: None,
            logs_clients_in: false,
            tls: None,
            resolver: resolve::system(),
            neighbour: None,
            tcp: settings.tcp,
            limit: settings.limits.connect_timeout,
            retries: false,
        }
    }

    /// The Redis that it connects to.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What is known of the Redis, if that is asked.
    pub fn neighbour(&self) -> Option<&Neighbour> {
        self.neighbour.as_deref()
    }

    /// How soon a path without answers is given up.
    pub fn timeouts(&self) -> TcpTimeouts {
        self.tcp
    }

    /// The credentials of the proxy at that Redis, if it has any.
    pub fn credentials(&self) -> Option<Credentials> {
        let password = match (&self.login.password, &self.password) {
            (Some(password), _) => password.clone(),
            (None, Some(file)) => Secret::clone(&file.current()),
            (None, None) => return None,
        };
        Some(Credentials { username: self.login.username.clone(), password })
    }

    /// The database that services' connections use when they are handed over, if the proxy logs them in.
    pub fn logs_clients_in(&self) -> Option<u32> {
        self.logs_clients_in.then_some(self.login.database)
    }

    /// The same dialer with a shorter time limit.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self { limit: self.limit.min(limit), ..self.clone() }
    }

    /// The same dialer with another resolver.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// Connects for the proxy itself, in one attempt and without logging in. The name is resolved anew, so that a Redis that has
    /// moved is found, and its addresses are tried in turn.
    ///
    /// # Errors
    /// The system's error for the last address that was tried, the reason why the certificate was rejected, or a time-out.
    pub async fn connect(&self) -> Result<Stream, RelayError> {
        let deadline = Instant::now() + self.limit;
        timeout_at(deadline, self.attempt(deadline))
            .await
            .unwrap_or_else(|_| Err(self.late()))
            .map_err(RelayError::connect)
    }

    /// Connects for a service: tells another proxy of this one if it `announces` itself, logs the service in if the proxy is to do
    /// that, and tries again after failures that may pass. `tried_again` is called before each attempt but the first, with the
    /// failure of the one before.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), or Redis rejected the login.
    pub async fn dial(&self, announces: bool, mut tried_again: impl FnMut(&io::Error)) -> Result<Stream, DialError> {
        let deadline = Instant::now() + self.limit;
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            let failure = match timeout_at(deadline, self.attempt_for_client(announces, deadline)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(LoginError::Refused { command, line })) => return Err(DialError::Refused { command, line }),
                Ok(Err(LoginError::Broken(failure))) => failure,
                Err(_) => last.take().unwrap_or_else(|| self.late()),
            };
            let next = Instant::now() + pause;
            if let Some(neighbour) = &self.neighbour {
                neighbour.lost();
            }
            if !self.retries || !may_pass(&failure) || next >= deadline {
                return Err(RelayError::connect(failure).into());
            }
            tried_again(&failure);
            last = Some(failure);
            sleep_until(next).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt_for_client(&self, announces: bool, deadline: Instant) -> Result<Stream, LoginError> {
        let mut stream = self.attempt(deadline).await?;
        if announces
            && let Some(neighbour) = &self.neighbour
            && neighbour.is_proxy().await
        {
            stream.write_all(ANNOUNCEMENT).await?;
            stream.flush().await?;
        }
        if self.logs_clients_in {
            login(&mut stream, self.credentials().as_ref(), self.login.database).await?;
        }
        Ok(stream)
    }

    async fn attempt(&self, deadline: Instant) -> io::Result<Stream> {
        let address = match &self.upstream {
            Upstream::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
            Upstream::Tcp(address) | Upstream::Tls(address) => address,
        };
        let addresses = self.resolver.resolve(&address.host, address.port).await?;
        let stream = first_that_accepts(&addresses, deadline).await?;
        tune(&stream, self.tcp)?;
        match &self.tls {
            None => Ok(Stream::Tcp(stream)),
            Some((config, name)) => {
                let stream =
                    TlsConnector::from(config.current()).connect(name.clone(), stream).await.map_err(tls::in_words)?;
                Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
            }
        }
    }

    fn late(&self) -> io::Error {
        // A Redis without TLS takes the handshake for the beginning of a line, and waits for its end.
        let tls = if self.tls.is_some() { "; does it speak TLS on this port?" } else { "" };
        io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {:?}{tls}", self.limit))
    }
}

/// Tries the addresses in turn, each with its share of the remaining time, so that one that does not answer leaves time for the
/// others.
async fn first_that_accepts(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in (0_u32..).zip(addresses) {
        let left = u32::try_from(addresses.len()).unwrap_or(u32::MAX).saturating_sub(tried).max(1);
        let now = Instant::now();
        let share = now + deadline.saturating_duration_since(now) / left;
        last = match timeout_at(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
        };
    }
    Err(last)
}

/// Whether the next attempt may succeed. It cannot if a certificate was rejected, if the server is not Redis, or if the proxy has
/// run out of a resource.
fn may_pass(failure: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, PermissionDenied, Unsupported};
    !is_exhaustion(failure) && !matches!(failure.kind(), InvalidData | InvalidInput | PermissionDenied | Unsupported)
}
