//! The way to the collector: directly, through an HTTP proxy, or by a Unix socket.
//!
//! What a collector sends is metered. HTTP lets a server send `100 Continue`, `PING` and `SETTINGS` without end, and reading
//! them would occupy a core for as long as an export may take.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use super::answer::MAX_ANSWER;
use crate::settings::otel::Proxy;

/// The longest time for connecting: half of an export's default time.
const CONNECT: Duration = Duration::from_secs(5);

/// The longest time for which the collector's machine may leave bytes unacknowledged.
#[cfg(target_os = "linux")]
const UNANSWERED: Duration = Duration::from_secs(10);

/// Bytes that may be read for each request: the longest answer that is kept, its head, and a TLS handshake.
const FOR_A_REQUEST: u64 = MAX_ANSWER as u64 + 64 * 1024;

/// Bytes that may be read in each second, for what a server sends on its own account.
const IN_A_SECOND: u64 = 16 * 1024;

/// The most bytes that may be read at a time.
const MOST: u64 = 1 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects to the collector.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    way: Way,
    allowance: Arc<Allowance>,
}

#[derive(Clone, Debug)]
enum Way {
    Direct(HttpConnector),
    /// Requests are sent to the proxy, with the collector's whole address in them.
    Forwarded(HttpConnector, Uri),
    /// The proxy is asked for a connection to the collector.
    Tunnel(Tunnel<HttpConnector>),
    Unix(Arc<Path>),
}

impl Connector {
    /// For connections to the Unix socket `socket`, or through `proxy`, or else directly. Through a proxy, a request can be
    /// `forwarded` if it is not encrypted; otherwise the proxy provides a tunnel.
    pub(super) fn new(
        socket: Option<&Path>,
        proxy: Option<&Proxy>,
        forwarded: bool,
        allowance: Arc<Allowance>,
    ) -> Self {
        let way = match (socket, proxy) {
            (Some(path), _) => Way::Unix(path.into()),
            (None, None) => Way::Direct(tcp()),
            (None, Some(proxy)) if forwarded => Way::Forwarded(tcp(), proxy.address.clone()),
            (None, Some(proxy)) => {
                let tunnel = Tunnel::new(proxy.address.clone(), tcp());
                Way::Tunnel(match &proxy.authorization {
                    Some(authorization) => tunnel.with_auth(authorization.clone()),
                    None => tunnel,
                })
            }
        };
        Self { way, allowance }
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    // A collector's machine that is gone says nothing, and an HTTP/2 connection outlives its requests.
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNANSWERED));
    tcp
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Metered>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The connectors below are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, collector: Uri) -> Self::Future {
        let allowance = Arc::clone(&self.allowance);
        let metered = move |socket, is_proxied| Ok(TokioIo::new(Metered { socket, is_proxied, allowance }));
        match &mut self.way {
            Way::Direct(tcp) => {
                let connecting = tcp.call(collector);
                Box::pin(async move { metered(Socket::Tcp(connecting.await?.into_inner()), false) })
            }
            Way::Forwarded(tcp, proxy) => {
                let connecting = tcp.call(proxy.clone());
                Box::pin(async move { metered(Socket::Tcp(connecting.await?.into_inner()), true) })
            }
            Way::Tunnel(tunnel) => {
                let connecting = tunnel.call(with_port(collector));
                Box::pin(async move { metered(Socket::Tcp(connecting.await?.into_inner()), false) })
            }
            Way::Unix(path) => {
                let path = Arc::clone(path);
                Box::pin(async move { metered(Socket::Unix(UnixStream::connect(path).await?), false) })
            }
        }
    }
}

/// The address with the port of its scheme if it names none. Without one a tunnel is for HTTPS.
fn with_port(uri: Uri) -> Uri {
    if uri.port().is_some() || uri.scheme() != Some(&Scheme::HTTP) {
        return uri;
    }
    let authority: Option<Authority> = uri.host().and_then(|host| format!("{host}:80").parse().ok());
    let mut parts = uri.clone().into_parts();
    parts.authority = authority.or(parts.authority);
    Uri::from_parts(parts).unwrap_or(uri)
}

/// A connection from which only as much is read as a collector has reason to send.
#[derive(Debug)]
pub(super) struct Metered {
    socket: Socket,
    /// Whether the other end is a proxy that requests are sent to.
    is_proxied: bool,
    allowance: Arc<Allowance>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection for Metered {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, allowance, .. } = self.get_mut();
        let before = buf.filled().len();
        let read = match socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        };
        if allowance.spend((buf.filled().len() - before) as u64, Instant::now()) {
            read
        } else {
            Poll::Ready(Err(io::Error::other("the collector sends more than answers to exports")))
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// How much may still be read from the collector, over all connections: some for each request, and a little with time.
#[derive(Debug)]
pub(super) struct Allowance(Mutex<Left>);

#[derive(Debug)]
struct Left {
    bytes: u64,
    at: Instant,
}

impl Allowance {
    /// The allowance before the first request.
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Left { bytes: FOR_A_REQUEST, at: now }))
    }

    /// A request is about to be sent.
    pub(super) fn request(&self) {
        self.change(|left| left.bytes = left.bytes.saturating_add(FOR_A_REQUEST).min(MOST));
    }

    /// Takes off `bytes` that were read. Returns whether they were allowed.
    fn spend(&self, bytes: u64, now: Instant) -> bool {
        self.change(|left| {
            let earned = now.saturating_duration_since(left.at).as_millis() as u64 * IN_A_SECOND / 1_000;
            if earned > 0 {
                *left = Left { bytes: left.bytes.saturating_add(earned).min(MOST), at: now };
            }
            let is_allowed = bytes <= left.bytes;
            left.bytes = left.bytes.saturating_sub(bytes);
            is_allowed
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Left) -> T) -> T {
        // A panic elsewhere does not make a number wrong.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_pings_are_allowed_and_a_flood_is_not() {
        let now = Instant::now();
        let allowance = Allowance::new(now);
        for _ in 0..1_000 {
            allowance.request();
            assert!(allowance.spend(MAX_ANSWER as u64, now), "the longest answer to each request");
        }
        let mut read = 0;
        while allowance.spend(8 * 1024, now) {
            read += 8 * 1024;
        }
        assert!(read <= MOST, "{read}");
        let (mut now, mut refused) = (now, 0);
        for _ in 0..3_600 {
            now += Duration::from_secs(1);
            refused += usize::from(!allowance.spend(1_000, now));
        }
        assert_eq!(refused, 0, "a connection that is kept alive");
    }

    #[test]
    fn a_tunnel_leads_to_the_port_of_the_scheme() {
        let shown = |uri: &str| with_port(uri.parse().unwrap()).to_string();
        assert_eq!(shown("http://collector/v1/traces"), "http://collector:80/v1/traces");
        assert_eq!(shown("http://[::1]/v1/traces"), "http://[::1]:80/v1/traces");
        assert_eq!(shown("http://collector:4318/"), "http://collector:4318/");
        assert_eq!(shown("https://collector/"), "https://collector/");
    }
}
