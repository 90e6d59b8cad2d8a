//! The service whose HTTP port the proxies stand in front of: it answers `GET /N` with N bytes, and a request with content
//! with the number of bytes that it has received.
//!
//! It runs as a process of its own (`redistributed-bench web VERSION ADDRESS`), so that its time is not the proxy's.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::failure::Failure;
use crate::processes::{Process, free_address};

/// The version of HTTP that a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Version {
    /// The service speaks HTTP/1.1.
    #[value(name = "1")]
    One,
    /// The service speaks HTTP/2, of which clients know beforehand.
    #[value(name = "2")]
    Two,
}

/// The longest body that is served, in bytes.
const MAX_BODY: usize = 1 << 20;

/// The body of `size` bytes.
pub(crate) fn body(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size.min(MAX_BODY)).collect()
}

/// Starts this program as a service.
pub(crate) fn start(version: Version, folder: &Path) -> Result<Process, Failure> {
    let (name, number) = match version {
        Version::One => ("service-http1", "1"),
        Version::Two => ("service-http2", "2"),
    };
    let program = std::env::current_exe().map_err(|cause| Failure::Start { name: name.to_owned(), cause })?;
    let address = free_address()?;
    Process::start(name, folder, &program, ["web".to_owned(), number.to_owned(), address.to_string()], &[], address)
}

/// Serves at `address` until the process is killed.
pub(crate) fn serve(version: Version, address: SocketAddr) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::io("starting the service"))?;
    runtime.block_on(accept(version, address)).map_err(Failure::io("serving HTTP"))
}

async fn accept(version: Version, address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let bytes = Bytes::from(body(MAX_BODY));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(version, stream, bytes.clone()));
    }
}

async fn converse(version: Version, stream: TcpStream, bytes: Bytes) {
    let service = service_fn(move |request| answer(request, bytes.clone()));
    let io = TokioIo::new(stream);
    // The client sees a connection that breaks, and fails.
    let _ = match version {
        // The date would make each response another one.
        Version::One => http1::Builder::new().auto_date_header(false).serve_connection(io, service).await,
        Version::Two => {
            http2::Builder::new(TokioExecutor::new()).auto_date_header(false).serve_connection(io, service).await
        }
    };
}

async fn answer(mut request: Request<Incoming>, bytes: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let content = if *request.method() == Method::GET {
        let size = request.uri().path().trim_start_matches('/').parse().unwrap_or(0);
        bytes.slice(..bytes.len().min(size))
    } else {
        let mut received = 0;
        while let Some(Ok(frame)) = request.body_mut().frame().await {
            received += frame.data_ref().map_or(0, Bytes::len);
        }
        Bytes::from(received.to_string())
    };
    Ok(Response::new(Full::new(content)))
}
