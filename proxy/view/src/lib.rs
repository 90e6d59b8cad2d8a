//! An embedded collector with a web page: transactions through Redis as they happen.
//!
//! ```text
//! OTLP ──▶ receiver ──▶ store ◀── api ◀── page in a browser
//!        HTTP, gRPC    bounded   JSON, events
//! ```
//!
//! It connects to nothing. Spans come to its ports for OTLP and stay in memory of a stated size, and a page that is part of the
//! program shows them.
//!
//! Each module uses only those above it in this table.
//!
//! | module | what it knows |
//! |---|---|
//! | `ids`, `wire`, `proto` | the text of ids; protobuf fields; the messages of OTLP |
//! | `entry` | a span as it is kept |
//! | `request` | from a request in protobuf to spans |
//! | `store` | the spans that are kept, what is forgotten, and what is asked of them |
//! | `json`, `forms` | traces in OTLP's JSON and in Jaeger's, read and written |
//! | `body`, `access`, `page` | bodies with limits; who may ask; the page |
//! | `receiver` | OTLP over HTTP and gRPC |
//! | `api` | what the page asks for |
//! | `server` | listeners and connections |
#![warn(missing_docs)]

mod access;
mod api;
mod body;
mod entry;
mod forms;
mod ids;
mod json;
mod page;
mod proto;
mod receiver;
mod request;
mod server;
mod store;
mod wire;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use access::Access;
use api::{Api, Receivers};
use receiver::Receiver;
use store::Store;

/// The memory for spans unless another size is set, in bytes.
pub const DEFAULT_MEMORY: usize = 256 << 20;

/// The least memory for spans that can be set, in bytes.
pub const LEAST_MEMORY: usize = 1 << 20;

/// A viewer that does not serve yet.
#[derive(Debug)]
pub struct Viewer {
    store: Arc<Store>,
    hosts: Vec<String>,
}

/// The sockets of a viewer, bound and not yet polled.
#[derive(Debug)]
pub struct Sockets {
    /// The socket for the page.
    pub page: TcpListener,
    /// The socket that the page names for OTLP over HTTP. It takes gRPC too.
    pub http: Option<TcpListener>,
    /// The socket that the page names for OTLP over gRPC. It takes HTTP too.
    pub grpc: Option<TcpListener>,
}

impl Viewer {
    /// Keeps spans in `memory` bytes. `hosts` are names and addresses besides `localhost`, `127.0.0.1` and `[::1]` by which the
    /// page may be
    /// asked for.
    pub fn new(memory: usize, hosts: Vec<String>) -> Self {
        Self { store: Arc::new(Store::new(memory.max(LEAST_MEMORY))), hosts }
    }

    /// Takes the traces of a file in Jaeger's JSON or in OTLP's, and returns their number.
    ///
    /// # Errors
    /// What is wrong with the file, where, and what to do.
    pub fn open(&self, text: &[u8]) -> Result<usize, String> {
        self.store.open(text).map(|traces| traces.len())
    }

    /// Serves until `stop`. Connections that are open then are closed.
    pub async fn serve(self, sockets: Sockets, stop: impl Future<Output = ()>) {
        let address = |socket: &Option<TcpListener>| socket.as_ref()?.local_addr().ok();
        let receivers = Receivers { http: address(&sockets.http), grpc: address(&sockets.grpc) };
        let api = Arc::new(Api::new(Arc::clone(&self.store), Access::new(self.hosts), receivers));
        let receiver = Arc::new(Receiver::new(self.store));
        let mut servers = JoinSet::new();
        servers.spawn(server::serve(sockets.page, move |request| {
            let api = Arc::clone(&api);
            async move { api.answer(request).await }
        }));
        for socket in [sockets.http, sockets.grpc].into_iter().flatten() {
            let receiver = Arc::clone(&receiver);
            servers.spawn(server::serve(socket, move |request| {
                let receiver = Arc::clone(&receiver);
                async move { receiver.answer(request).await }
            }));
        }
        stop.await;
    }
}
