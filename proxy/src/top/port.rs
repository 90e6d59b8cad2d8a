//! An admin port of a running proxy, asked over HTTP.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use redistributed_core::printable::printable;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time;

use crate::settings::{HostPort, ListenAddress};

/// The time that an answer may take. A proxy gives one ten seconds, and answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest page that is read, in bytes. A proxy with a hundred routes has one of a megabyte.
const MAX_PAGE: usize = 16 << 20;

/// The longest line of `/tap` that is read, in bytes. A channel's name has at most a kilobyte, which JSON may make six of.
const MAX_LINE: usize = 64 << 10;

/// The address of an admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(HostPort),
    Unix(PathBuf),
}

/// Reads the address of an admin port as `--admin` of the proxy takes it.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    if text.contains("://") {
        return Err("it is a URL, where a host and a port are needed".to_owned());
    }
    match ListenAddress::parse(text.trim()) {
        Ok(ListenAddress::Tcp(address)) if address.port > 0 => Ok(Address::Tcp(address)),
        Ok(ListenAddress::Unix(path)) => Ok(Address::Unix(path)),
        Ok(_) => Err("it names no port".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Address {
    /// The address as people write it.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Tcp(HostPort { host, port }) if host.contains(':') => {
                printable(format!("[{host}]:{port}")).to_string()
            }
            Self::Tcp(HostPort { host, port }) => printable(format!("{host}:{port}")).to_string(),
            Self::Unix(path) => printable(format!("unix:{}", path.display())).to_string(),
        }
    }

    /// Fetches `/metrics`.
    ///
    /// # Errors
    /// The reason in words why there is no page.
    pub(super) async fn metrics(&self) -> Result<String, String> {
        let page = async {
            let body = self.ask("/metrics", None).await?.into_body();
            let page = Limited::new(body, MAX_PAGE).collect().await.map_err(|error| broken_off(&*error))?;
            String::from_utf8(page.to_bytes().into()).map_err(|_| "its answer is no text".to_owned())
        };
        time::timeout(PATIENCE, page).await.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    /// Reads `/tap`, and hands on the news of each of its lines, until there are no more or nobody takes them.
    ///
    /// # Errors
    /// The reason in words why there are no lines.
    pub(super) async fn tap<N>(
        &self,
        token: Option<&str>,
        to: &mpsc::Sender<N>,
        news: impl Fn(String) -> N,
    ) -> Result<(), String> {
        let answer = time::timeout(PATIENCE, self.ask("/tap", token)).await;
        let mut body = answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))?.into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|error| broken_off(&error))?.into_data().unwrap_or_default();
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if to.send(news(String::from_utf8_lossy(&line).into_owned())).await.is_err() {
                    return Ok(());
                }
            }
            if rest.len() > MAX_LINE {
                return Err("its answer has a line without an end".to_owned());
            }
        }
        Err("the proxy has ended the stream".to_owned())
    }

    async fn ask(&self, path: &str, token: Option<&str>) -> Result<Response<Incoming>, String> {
        let refused = |error: io::Error| format!("cannot connect: {}", printable(error));
        match self {
            Self::Tcp(HostPort { host, port }) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(refused)?;
                let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                ask(stream, &host, path, token).await
            }
            Self::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(refused)?;
                ask(stream, "localhost", path, token).await
            }
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
    token: Option<&str>,
) -> Result<Response<Incoming>, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken_off(&error))?;
    tokio::spawn(connection);
    let mut request = Request::get(path).header("Host", host);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| printable(error).to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| broken_off(&error))?;
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let status = answer.status();
    let text = match Limited::new(answer.into_body(), MAX_LINE).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).lines().next().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    };
    Err(format!("{path} answered {}: {}", status.as_u16(), printable(text)))
}

/// What an error of HTTP says, with its cause.
fn broken_off(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    format!("is it an admin port? {}", printable(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_proxy_reads_it() {
        let label = |text| parse(text).map(|address| address.label());
        assert_eq!(label("9127"), Ok("127.0.0.1:9127".to_owned()));
        assert_eq!(label("worker:9127"), Ok("worker:9127".to_owned()));
        assert_eq!(label("[::1]:9127"), Ok("[::1]:9127".to_owned()));
        assert_eq!(label("unix:/run/admin.sock"), Ok("unix:/run/admin.sock".to_owned()));
        for text in ["", "0", "worker", "http://worker:9127", "rediss://worker:1", "unix:relative"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
